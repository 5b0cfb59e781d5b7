/* What comes down: one COSE_Sign1 each, by the pinned root or by a key of its card.
 *
 * The signature is verified first; nothing of a payload is looked at before but its first byte, which
 * tells the kinds apart. What is taken and what is refused is exactly what depin_id.network and
 * depin_id.ack take and refuse.
 */
#include "down.h"

#include <string.h>

enum {
    MAX_MESSAGE = 131072,
    MILLISECONDS = 50, /* powers of two */
    NUMBER = 62,
};

/* A COSE_Sign1 whose unprotected header is empty, and a protected one of {1: alg, 4: kid}. */
static const depin_field MESSAGE[] = {
    {0xd2, DEPIN_CBOR_ARRAY, 4, 2},
    {DEPIN_BARE, DEPIN_CBOR_BYTES, PROTECTED_SIZE, PROTECTED_SIZE},
    {0xa0, DEPIN_CBOR_BYTES, 1, 0},
    {DEPIN_BARE, DEPIN_CBOR_BYTES, DEPIN_SIGNATURE, DEPIN_SIGNATURE},
};

/* Payloads, without the head of their map. */
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
    {DEPIN_BARE, DEPIN_CBOR_UINT | DEPIN_OR_NULL, 0, DEPIN_SECONDS},
    {DEPIN_BARE, DEPIN_CBOR_BYTES | DEPIN_OR_NULL, 32, 32},
};
static const depin_field ACK_BEACON[] = {{7, DEPIN_CBOR_BYTES | DEPIN_OR_NULL, 8, 32}};
/* Of a challenge the number is when it ends, of a resume the epoch floor. */
static const depin_field ANSWER[] = {
    {2, DEPIN_CBOR_BYTES, 16, 16},
    {3, DEPIN_CBOR_UINT, 0, DEPIN_SECONDS},
};

/* --- keys ---------------------------------------------------------------------------------------- */

void depin_identify(depin_party *who, unsigned curve, const uint8_t *raw)
{
    uint8_t head[8];
    depin_bytes parts[4];

    who->key.curve = curve == DEPIN_P256 ? DEPIN_P256 : DEPIN_ED25519;
    who->key.public_key = raw;
    depin_sha256(parts, depin_key_parts(&who->key, head, parts), who->thumbprint);
}

/* --- signatures ---------------------------------------------------------------------------------- */

int depin_verified(const depin_downlink *downlink, const depin_party *signer, const depin_message *message,
                    const char *kind)
{
    /* s of ESP256 is at most half the order: one message has one signature. */
    static const uint8_t half[32] = {
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
    };
    const uint8_t *header = message->parts[PROTECTED].bytes.data;
    const uint8_t *signature = message->parts[SIGNATURE].bytes.data;
    unsigned algorithm = 0x32; /* -19; of P-256 it is -9 */
    depin_signed what;

    if (signer->key.curve == DEPIN_P256) {
        algorithm = 0x28;
        if (memcmp(signature + 32, half, sizeof half) > 0) {
            return DEPIN_E_SIGNATURE;
        }
    }
    if (header[ALGORITHM_AT] != algorithm) {
        return DEPIN_E_KEY;
    }
    /* The two byte strings with their heads, as they came. */
    depin_signed_parts(&what, downlink->device->config.network, kind, signer->thumbprint,
                       header - 1, header + PROTECTED_SIZE, signature - 2);
    return downlink->verify(downlink->context, signer->key.curve, signer->key.public_key, what.parts,
                            DEPIN_SIGNED_PARTS, signature) == 0
               ? DEPIN_OK
               : DEPIN_E_SIGNATURE;
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

    depin_read(reader, DEPIN_FIELDS(ACK), values);
    items = *reader;
    for (count = (size_t)values[4].number; count > 0; count--) {
        depin_read(reader, DEPIN_FIELDS(ACK_ITEM), item);
    }
    depin_read(reader, DEPIN_FIELDS(ACK_BEACON), item);
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
        depin_read(&items, DEPIN_FIELDS(ACK_ITEM), item);
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

    depin_read(reader, DEPIN_FIELDS(ANSWER), values);
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
static int find_key(const depin_downlink *downlink, const depin_message *message, depin_party *signer)
{
    const depin_card *card = &downlink->card;
    unsigned i = 0;

    if (card->count == 0) {
        return DEPIN_E_NO_CARD;
    }
    while (memcmp(card->keys[i].kid, message->parts[PROTECTED].bytes.data + KID_AT, KID_SIZE) != 0) {
        if (++i >= card->count) {
            return DEPIN_E_FOREIGN;
        }
    }
    depin_identify(signer, card->keys[i].curve, card->keys[i].raw);
    return DEPIN_OK;
}

int depin_downlink_take(depin_downlink *downlink, depin_bytes message, depin_event *event)
{
    depin_message opened;
    depin_reader *reader;
    const uint8_t *header;
    depin_value recipient;
    depin_party signer;
    unsigned members;
    int status;

    memset(event, 0, sizeof *event);
    if (message.size > MAX_MESSAGE) {
        return DEPIN_E_MALFORMED;
    }
    reader = &opened.reader;
    reader->at = message.data;
    reader->end = message.data + message.size;
    reader->failed = 0;
    depin_read(reader, DEPIN_FIELDS(MESSAGE), opened.parts);
    if (depin_read_end(reader) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    header = opened.parts[PROTECTED].bytes.data;
    if (memcmp(header, "\xa2\x01", ALGORITHM_AT) != 0 ||
        memcmp(header + ALGORITHM_AT + 1, "\x04\x48", 2) != 0) {
        return DEPIN_E_MALFORMED;
    }
    opened.size = message.size;
    reader->at = opened.parts[PAYLOAD].bytes.data;
    reader->end = reader->at + opened.parts[PAYLOAD].bytes.size;
    members = *reader->at++ - DEPIN_CBOR_MAP;
    if ((members | 1) == 9) {
        event->kind = DEPIN_DOWN_CARD;
        return depin_take_card(downlink, &opened);
    }
    if (members != 7 && members != 3) {
        return DEPIN_E_MALFORMED;
    }
    status = find_key(downlink, &opened, &signer);
    if (status != DEPIN_OK) {
        return status;
    }
    event->kind = members == 7 ? DEPIN_DOWN_ACK : DEPIN_DOWN_CHALLENGE;
    status = depin_verified(downlink, &signer, &opened, members == 7 ? "ack" : "challenge");
    if (status == DEPIN_E_SIGNATURE && members == 3) {
        /* It looks like a challenge: what was signed tells them apart. */
        event->kind = DEPIN_DOWN_RESUME;
        status = depin_verified(downlink, &signer, &opened, "resume");
    }
    if (status != DEPIN_OK) {
        return status;
    }
    depin_read(reader, DEPIN_FIELDS(RECIPIENT), &recipient);
    if (reader->failed) {
        return DEPIN_E_MALFORMED;
    }
    if (memcmp(recipient.bytes.data, downlink->device->thumbprint, 32) != 0) {
        return DEPIN_E_FOREIGN;
    }
    return members == 7 ? take_ack(downlink, reader, event) : take_answer(downlink, reader, event);
}

int depin_downlink_init(depin_downlink *downlink, depin_device *device, depin_verify verify,
                        depin_admit admit, void *context)
{
    memset(downlink, 0, sizeof *downlink);
    if (verify == NULL) {
        return DEPIN_E_ARGUMENT;
    }
    downlink->device = device;
    downlink->verify = verify;
    downlink->admit = admit;
    downlink->context = context;
    return depin_read_card_slots(downlink);
}
