/* What comes down: one COSE_Sign1 each, by the pinned root or by a key of its card.
 *
 * The signature is verified first; nothing of a payload is looked at before but its first byte, which
 * tells the kinds apart. What is taken and what is refused is exactly what depin_id.network and
 * depin_id.ack take and refuse.
 */
#include "depin/downlink.h"

#include <string.h>

#include "parse.h"
#include "seal.h"

enum {
    MAX_CARD = 4096,
    MAX_MESSAGE = 131072,
    SECONDS = 40, /* powers of two */
    MILLISECONDS = 50,
    NUMBER = 62,
    SLOTS = DEPIN_SLOT_CARD_A ^ DEPIN_SLOT_CARD_B,
};

#define FIELDS(table) table, sizeof(table) / sizeof *(table)

/* A COSE_Sign1 whose unprotected header is empty, and a protected one of {1: alg, 4: kid}. */
static const depin_field MESSAGE[] = {
    {0xd2, DEPIN_CBOR_ARRAY, 4, 2},
    {DEPIN_BARE, DEPIN_CBOR_BYTES, 13, 13},
    {0xa0, DEPIN_CBOR_BYTES, 1, 0},
    {DEPIN_BARE, DEPIN_CBOR_BYTES, DEPIN_SIGNATURE, DEPIN_SIGNATURE},
};
static const depin_field PROTECTED[] = {
    {0xa2, DEPIN_CBOR_UINT, 1, 0},
    {DEPIN_BARE, DEPIN_CBOR_NEGATIVE, 0, 5},
    {4, DEPIN_CBOR_BYTES, 8, 8},
};

/* Payloads, without the head of their map. */
static const depin_field CARD[] = {
    {1, DEPIN_CBOR_TEXT, 1, 128},
    {2, DEPIN_CBOR_TEXT | DEPIN_LABEL, 1, 32},
    {3, DEPIN_CBOR_UINT, 0, SECONDS},
    {4, DEPIN_CBOR_UINT, 0, SECONDS},
    {5, DEPIN_CBOR_UINT, 0, SECONDS},
    {6, DEPIN_CBOR_ARRAY, 1, 3},
};
static const depin_field CARD_KEY[] = {{DEPIN_BARE, DEPIN_CBOR_BYTES, 40, 75}};
static const depin_field CARD_LOG[] = {
    {7, DEPIN_CBOR_TEXT | DEPIN_PATH, 1, 128},
    {8, DEPIN_CBOR_BYTES, 32, 32},
};
static const depin_field CARD_WITNESSES[] = {
    {9, DEPIN_CBOR_ARRAY, 2, 1},
    {DEPIN_BARE, DEPIN_CBOR_UINT, 1, 5},
    {DEPIN_BARE, DEPIN_CBOR_ARRAY, 1, 5},
};
static const depin_field WITNESS[] = {
    {0x82, DEPIN_CBOR_TEXT | DEPIN_VISIBLE, 1, 128},
    {DEPIN_BARE, DEPIN_CBOR_BYTES, 32, 32},
};
static const depin_field RECIPIENT[] = {{1, DEPIN_CBOR_BYTES, 32, 32}};
static const depin_field ACK[] = {
    {2, DEPIN_CBOR_UINT, 0, NUMBER},
    {3, DEPIN_CBOR_UINT, 0, MILLISECONDS},
    {4, DEPIN_CBOR_BYTES | DEPIN_OR_NULL, 8, 32},
    {5, DEPIN_CBOR_TEXT, 1, 128},
    {6, DEPIN_CBOR_ARRAY, 0, 10},
};
static const depin_field ACK_ITEM[] = {
    {0x84, DEPIN_CBOR_BYTES, 32, 32},
    {DEPIN_BARE, DEPIN_CBOR_TEXT, 1, 64},
    {DEPIN_BARE, DEPIN_CBOR_UINT | DEPIN_OR_NULL, 0, SECONDS},
    {DEPIN_BARE, DEPIN_CBOR_BYTES | DEPIN_OR_NULL, 32, 32},
};
static const depin_field ACK_BEACON[] = {{7, DEPIN_CBOR_BYTES | DEPIN_OR_NULL, 8, 32}};
/* Of a challenge the number is when it ends, of a resume the epoch floor. */
static const depin_field ANSWER[] = {
    {2, DEPIN_CBOR_BYTES, 16, 16},
    {3, DEPIN_CBOR_UINT, 0, SECONDS},
};

/* A key with its thumbprint: who signed. */
typedef struct party {
    depin_signer key;
    uint8_t thumbprint[32];
} party;

/* A message, in pieces of its own bytes. */
typedef struct sign1 {
    depin_value parts[4];  /* of MESSAGE */
    depin_value fields[3]; /* of PROTECTED */
    const uint8_t *header; /* the protected header */
} sign1;

enum { PAYLOAD = 2, SIGNATURE = 3, ALGORITHM = 1, KID = 2, KID_SIZE = 8, HEADER_SIZE = 13 };

/* Its payload behind the head of the map. */
static depin_reader payload_of(const sign1 *message)
{
    const depin_bytes *payload = &message->parts[PAYLOAD].bytes;
    depin_reader reader;

    reader.at = payload->data + 1;
    reader.end = payload->data + payload->size;
    reader.failed = 0;
    return reader;
}

/* --- keys ---------------------------------------------------------------------------------------- */

static void identify(party *who, unsigned curve, const uint8_t *raw)
{
    uint8_t head[8];
    depin_bytes parts[4];

    who->key.curve = curve == DEPIN_P256 ? DEPIN_P256 : DEPIN_ED25519;
    who->key.public_key = raw;
    depin_sha256(parts, depin_key_parts(&who->key, head, parts), who->thumbprint);
}

static int admitted(const depin_downlink *downlink, depin_curve curve, const uint8_t *raw)
{
    return downlink->admit != NULL && downlink->admit(downlink->context, curve, raw) == 0
               ? DEPIN_OK
               : DEPIN_E_KEY;
}

/* The key of a did:key: multicodec and raw key right-aligned in 35 bytes. */
static int multikey(const char *did, uint8_t bytes[35])
{
    static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    const char *at = did + 9;

    memset(bytes, 0, 35);
    /* A leading 1 is a zero byte: another spelling. */
    if (depin_length(did) < 10 || memcmp(did, "did:key:z", 9) != 0 || *at == '1') {
        return DEPIN_E_ARGUMENT;
    }
    for (; *at != 0; at++) {
        unsigned carry = 0;
        while (alphabet[carry] != *at) {
            if (++carry == 58) {
                return DEPIN_E_ARGUMENT;
            }
        }
        for (unsigned i = 35; i-- > 0;) {
            carry += bytes[i] * 58u;
            bytes[i] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry != 0) {
            return DEPIN_E_ARGUMENT;
        }
    }
    return memcmp(bytes, "\0\xed\x01", 3) == 0 || memcmp(bytes, "\x80\x24", 2) == 0
               ? DEPIN_OK
               : DEPIN_E_ARGUMENT;
}

/* The network's root: its key is in `bytes`, or pinned beside the DID. */
static int root_of(const depin_downlink *downlink, uint8_t bytes[35], party *root)
{
    const uint8_t *raw = bytes + 3;
    unsigned curve = DEPIN_ED25519;

    if (multikey(downlink->device->config.network, bytes) != DEPIN_OK) {
        return DEPIN_E_KEY;
    }
    if (bytes[0] != 0) {
        raw = downlink->root_point;
        curve = DEPIN_P256;
        if (raw == NULL || memcmp(raw, bytes + 3, 32) != 0 || bytes[2] != 2 + (raw[63] & 1)) {
            return DEPIN_E_KEY;
        }
    }
    identify(root, curve, raw);
    return admitted(downlink, root->key.curve, raw);
}

/* --- signatures ---------------------------------------------------------------------------------- */

static int verified(const depin_downlink *downlink, const party *signer, const sign1 *message,
                    const char *kind)
{
    /* s of ESP256 is at most half the order: one message has one signature. */
    static const uint8_t half[32] = {
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
    };
    const uint8_t *signature = message->parts[SIGNATURE].bytes.data;
    unsigned algorithm = 18; /* -19; of P-256 it is -9 */
    depin_bytes protected_header, payload;
    depin_signed what;

    if (signer->key.curve == DEPIN_P256) {
        algorithm = 8;
        if (memcmp(signature + 32, half, sizeof half) > 0) {
            return DEPIN_E_SIGNATURE;
        }
    }
    if (message->fields[ALGORITHM].number != algorithm) {
        return DEPIN_E_KEY;
    }
    /* The two byte strings with their heads, as they came. */
    protected_header.data = message->header - 1;
    protected_header.size = 1 + HEADER_SIZE;
    payload.data = message->header + HEADER_SIZE + 1;
    payload.size = (size_t)(signature - 2 - payload.data);
    depin_signed_parts(&what, downlink->device->config.network, kind, signer->thumbprint,
                       protected_header, payload);
    return downlink->verify(downlink->context, signer->key.curve, signer->key.public_key, what.parts,
                            DEPIN_SIGNED_PARTS, signature) == 0
               ? DEPIN_OK
               : DEPIN_E_SIGNATURE;
}

/* --- cards in storage ---------------------------------------------------------------------------- */

/* Compute the checksum of the card in memory, bound to the network; not 0 when it had another. */
static int check(depin_downlink *downlink)
{
    const char *network = downlink->device->config.network;
    depin_card *card = &downlink->card;
    uint8_t digest[32];
    depin_bytes parts[2];
    int differs;

    parts[0].data = (const uint8_t *)network;
    parts[0].size = depin_length(network);
    parts[1].data = (const uint8_t *)card;
    parts[1].size = offsetof(depin_card, check);
    depin_sha256(parts, 2, digest);
    differs = memcmp(card->check, digest, sizeof card->check);
    memcpy(card->check, digest, sizeof card->check);
    return differs;
}

/* The card of the first good slot into memory, or none. Both slots hold the same but for a moment. */
static int read_slots(depin_downlink *downlink)
{
    const depin_storage *storage = downlink->device->config.storage;
    depin_card *card = &downlink->card;

    for (unsigned slot = DEPIN_SLOT_CARD_A; slot <= DEPIN_SLOT_CARD_B; slot++) {
        int failed = storage->load(storage->context, slot, (uint8_t *)card, DEPIN_CARD_RECORD);
        downlink->slot = (uint8_t)slot;
        if (!failed && check(downlink) == 0 && card->count <= DEPIN_CARD_KEYS) {
            return DEPIN_OK;
        }
        memset(card, 0, sizeof *card);
        if (failed) {
            return DEPIN_E_STORAGE;
        }
    }
    return DEPIN_OK;
}

/* Write the card in memory into both slots; the one that was read last, so that it stays until the
 * other is whole. With one slot damaged the number does not go back. */
static int write_slots(depin_downlink *downlink)
{
    const depin_storage *storage = downlink->device->config.storage;

    (void)check(downlink);
    for (unsigned i = 0; i < 2; i++) {
        downlink->slot ^= SLOTS;
        if (storage->store(storage->context, downlink->slot, (const uint8_t *)&downlink->card,
                           DEPIN_CARD_RECORD)) {
            return DEPIN_E_STORAGE;
        }
    }
    return DEPIN_OK;
}

/* --- card ---------------------------------------------------------------------------------------- */

/* A COSE_Key into memory. It has the one form that its thumbprint is of. */
static int read_key(depin_downlink *downlink, depin_reader *reader)
{
    depin_card_key *key = &downlink->card.keys[downlink->card.count++];
    depin_value value;
    uint8_t digest[32];
    party who;

    depin_read(reader, FIELDS(CARD_KEY), &value);
    if (reader->failed) {
        return DEPIN_E_MALFORMED;
    }
    key->curve = DEPIN_ED25519;
    memcpy(key->raw, value.bytes.data + 8, 32);
    if (value.bytes.size == 75) {
        key->curve = DEPIN_P256;
        memcpy(key->raw + 32, value.bytes.data + 43, 32);
    }
    depin_sha256(&value.bytes, 1, digest);
    identify(&who, key->curve, key->raw);
    memcpy(key->kid, digest, sizeof key->kid);
    return memcmp(digest, who.thumbprint, sizeof digest) == 0
               ? admitted(downlink, who.key.curve, key->raw)
               : DEPIN_E_KEY;
}

/* Who cosigns the log is the business of its readers: here witnesses only are what others take. */
static int read_witnesses(const depin_downlink *downlink, depin_reader *reader,
                          const uint8_t *log_key)
{
    const depin_card *card = &downlink->card;
    depin_reader first;
    depin_value values[3];
    size_t count;

    depin_read(reader, FIELDS(CARD_WITNESSES), values);
    first = *reader;
    count = (size_t)values[2].number;
    if (values[1].number > count) {
        return DEPIN_E_MALFORMED;
    }
    for (size_t i = 0; i < count; i++) {
        depin_reader before = first;
        const uint8_t *key;
        int same;
        depin_read(reader, FIELDS(WITNESS), values);
        if (reader->failed) {
            return DEPIN_E_MALFORMED;
        }
        key = values[1].bytes.data;
        same = memcmp(key, log_key, 32) == 0;
        for (size_t j = 0; j < card->count; j++) {
            same |= card->keys[j].curve == DEPIN_ED25519 && memcmp(key, card->keys[j].raw, 32) == 0;
        }
        for (size_t j = 0; j < i; j++) {
            depin_read(&before, FIELDS(WITNESS), values);
            same |= memcmp(key, values[1].bytes.data, 32) == 0;
        }
        if (same) {
            return DEPIN_E_MALFORMED;
        }
        if (admitted(downlink, DEPIN_ED25519, key) != DEPIN_OK) {
            return DEPIN_E_KEY;
        }
    }
    return DEPIN_OK;
}

/* The card's payload into memory; `number`: the lowest that is taken. */
static int read_card(depin_downlink *downlink, const sign1 *message, uint64_t number)
{
    const char *network = downlink->device->config.network;
    depin_card *card = &downlink->card;
    depin_reader reader = payload_of(message);
    depin_value values[6];
    uint8_t digest[32];
    int status;

    depin_read(&reader, FIELDS(CARD), values);
    if (reader.failed || values[4].number <= values[3].number) {
        return DEPIN_E_MALFORMED;
    }
    if (values[0].bytes.size != depin_length(network) ||
        memcmp(values[0].bytes.data, network, values[0].bytes.size) != 0) {
        return DEPIN_E_FOREIGN;
    }
    if (values[2].number < number) {
        return DEPIN_E_REPLAYED;
    }
    memset(card, 0, sizeof *card);
    card->number = values[2].number;
    do {
        status = read_key(downlink, &reader);
        if (status != DEPIN_OK) {
            return status;
        }
    } while (card->count < values[5].number);
    depin_read(&reader, FIELDS(CARD_LOG), values);
    if (reader.failed) {
        return DEPIN_E_MALFORMED;
    }
    depin_sha256(&values[0].bytes, 1, digest);
    memcpy(card->origin, digest, sizeof card->origin);
    status = admitted(downlink, DEPIN_ED25519, values[1].bytes.data);
    if (status == DEPIN_OK && message->parts[PAYLOAD].bytes.data[0] == 0xa9) {
        status = read_witnesses(downlink, &reader, values[1].bytes.data);
    }
    return status == DEPIN_OK ? depin_read_end(&reader) : status;
}

static int take_card(depin_downlink *downlink, const sign1 *message)
{
    uint64_t number = downlink->card.number;
    unsigned count = downlink->card.count;
    uint8_t bytes[35];
    party root;
    int status = root_of(downlink, bytes, &root);

    if (status != DEPIN_OK) {
        return status;
    }
    if (memcmp(message->fields[KID].bytes.data, root.thumbprint, KID_SIZE) != 0) {
        return DEPIN_E_FOREIGN;
    }
    status = verified(downlink, &root, message, "card");
    if (status != DEPIN_OK) {
        return status;
    }
    status = read_card(downlink, message, number);
    if (status == DEPIN_OK && (count == 0 || downlink->card.number > number)) {
        status = write_slots(downlink);
        if (status == DEPIN_OK) {
            return status;
        }
    }
    /* It was not taken: back to what storage has. */
    return read_slots(downlink) == DEPIN_OK ? status : DEPIN_E_STORAGE;
}

/* --- what the keys of the card sign -------------------------------------------------------------- */

static int take_ack(depin_downlink *downlink, depin_reader *reader, depin_event *event)
{
    static const char retry[] = "aggregator.retry";
    depin_device *device = downlink->device;
    depin_reader items;
    depin_value values[5], item[4];
    uint8_t digest[32];
    size_t count;

    depin_read(reader, FIELDS(ACK), values);
    items = *reader;
    for (count = (size_t)values[4].number; count > 0; count--) {
        depin_read(reader, FIELDS(ACK_ITEM), item);
    }
    depin_read(reader, FIELDS(ACK_BEACON), item);
    if (depin_read_end(reader) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    depin_sha256(&values[3].bytes, 1, digest);
    if (memcmp(digest, downlink->card.origin, sizeof downlink->card.origin) != 0) {
        return DEPIN_E_MALFORMED;
    }
    if (values[0].number < downlink->next_ack) {
        return DEPIN_E_REPLAYED;
    }
    downlink->next_ack = values[0].number + 1;
    event->time_ms = values[1].number;
    if (item[0].bytes.size > 0) {
        device->beacon_size = (uint8_t)item[0].bytes.size;
        memcpy(device->beacon, item[0].bytes.data, device->beacon_size);
    }
    if (downlink->acknowledged == NULL) {
        return DEPIN_OK;
    }
    for (count = (size_t)values[4].number; count > 0; count--) {
        depin_read(&items, FIELDS(ACK_ITEM), item);
        downlink->acknowledged(downlink->acknowledged_context, item[0].bytes.data,
                               item[1].bytes.size != sizeof retry - 1 ||
                                   memcmp(item[1].bytes.data, retry, sizeof retry - 1) != 0,
                               item[1].bytes);
    }
    return DEPIN_OK;
}

/* A challenge or a resume. */
static int take_answer(depin_downlink *downlink, depin_reader *reader, depin_event *event)
{
    depin_value values[2];

    depin_read(reader, FIELDS(ANSWER), values);
    if (depin_read_end(reader) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    if (event->kind == DEPIN_DOWN_RESUME) {
        return values[1].number < UINT32_MAX
                   ? depin_position_resume(downlink->device, values[0].bytes.data,
                                           (uint32_t)values[1].number)
                   : DEPIN_E_MALFORMED;
    }
    event->time_ms = values[1].number * 1000;
    memcpy(event->nonce, values[0].bytes.data, sizeof event->nonce);
    return DEPIN_OK;
}

/* The key of the card that signed a message. */
static int find_key(const depin_downlink *downlink, const sign1 *message, party *signer)
{
    const depin_card *card = &downlink->card;
    unsigned i = 0;

    if (card->count == 0) {
        return DEPIN_E_NO_CARD;
    }
    while (memcmp(card->keys[i].kid, message->fields[KID].bytes.data, KID_SIZE) != 0) {
        if (++i >= card->count) {
            return DEPIN_E_FOREIGN;
        }
    }
    identify(signer, card->keys[i].curve, card->keys[i].raw);
    return DEPIN_OK;
}

int depin_downlink_take(depin_downlink *downlink, depin_bytes message, depin_event *event)
{
    sign1 opened;
    depin_reader reader;
    depin_value recipient;
    party signer;
    unsigned members;
    int status;

    memset(event, 0, sizeof *event);
    if (message.size > MAX_MESSAGE) {
        return DEPIN_E_MALFORMED;
    }
    status = depin_read_all(message.data, message.size, FIELDS(MESSAGE), opened.parts);
    if (status == DEPIN_OK) {
        opened.header = opened.parts[1].bytes.data;
        status = depin_read_all(opened.header, HEADER_SIZE, FIELDS(PROTECTED), opened.fields);
    }
    if (status != DEPIN_OK) {
        return status;
    }
    reader = payload_of(&opened);
    members = reader.at[-1] - DEPIN_CBOR_MAP;
    if ((members | 1) == 9) {
        event->kind = DEPIN_DOWN_CARD;
        return message.size > MAX_CARD ? DEPIN_E_MALFORMED : take_card(downlink, &opened);
    }
    if (members != 7 && members != 3) {
        return DEPIN_E_MALFORMED;
    }
    status = find_key(downlink, &opened, &signer);
    if (status != DEPIN_OK) {
        return status;
    }
    event->kind = members == 7 ? DEPIN_DOWN_ACK : DEPIN_DOWN_CHALLENGE;
    status = verified(downlink, &signer, &opened, members == 7 ? "ack" : "challenge");
    if (status == DEPIN_E_SIGNATURE && members == 3) {
        /* It looks like a challenge: what was signed tells them apart. */
        event->kind = DEPIN_DOWN_RESUME;
        status = verified(downlink, &signer, &opened, "resume");
    }
    if (status != DEPIN_OK) {
        return status;
    }
    depin_read(&reader, FIELDS(RECIPIENT), &recipient);
    if (reader.failed) {
        return DEPIN_E_MALFORMED;
    }
    if (memcmp(recipient.bytes.data, downlink->device->thumbprint, 32) != 0) {
        return DEPIN_E_FOREIGN;
    }
    return members == 7 ? take_ack(downlink, &reader, event)
                        : take_answer(downlink, &reader, event);
}

int depin_downlink_init(depin_downlink *downlink, depin_device *device, depin_verify verify,
                        depin_admit admit, void *context)
{
    uint8_t bytes[35];

    memset(downlink, 0, sizeof *downlink);
    if (verify == NULL || multikey(device->config.network, bytes) != DEPIN_OK) {
        return DEPIN_E_ARGUMENT;
    }
    downlink->device = device;
    downlink->verify = verify;
    downlink->admit = admit;
    downlink->context = context;
    return read_slots(downlink);
}
