/* The network card: read, verified under the pinned root, and kept. */
#include "down.h"

#include <string.h>

enum { SLOTS = DEPIN_SLOT_CARD_A ^ DEPIN_SLOT_CARD_B };

/* Payloads, without the head of their map. */
static const depin_field CARD[] = {
    {1, DEPIN_CBOR_TEXT, 1, 128},
    {2, DEPIN_CBOR_TEXT | DEPIN_LABEL, 1, 32},
    {3, DEPIN_CBOR_UINT, 0, DEPIN_SECONDS},
    {4, DEPIN_CBOR_UINT, 0, DEPIN_SECONDS},
    {5, DEPIN_CBOR_UINT, 0, DEPIN_SECONDS},
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

/* --- the network's root ---------------------------------------------------------------------------- */

static int admitted(const depin_downlink *downlink, unsigned curve, const uint8_t *raw)
{
    return downlink->admit != NULL && downlink->admit(downlink->context, (depin_curve)curve, raw) == 0
               ? DEPIN_OK
               : DEPIN_E_KEY;
}

/* The key of a did:key, multicodec and raw key, right-aligned in 35 bytes. Gives the first three. */
static unsigned multikey(const char *did, uint8_t bytes[35])
{
    static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    const char *at = did + 9;
    unsigned carry;

    memset(bytes, 0, 35);
    /* A leading 1 is a zero byte: another spelling. */
    if (memcmp(did, "did:key:z", 9) != 0 || *at == alphabet[0]) {
        return 0;
    }
    for (; *at != 0; at++) {
        for (carry = 0; alphabet[carry] != *at; carry++) {
            if (carry == 57) {
                return 0;
            }
        }
        for (unsigned i = 35; i-- > 0; carry >>= 8) {
            carry += bytes[i] * 58u;
            bytes[i] = (uint8_t)carry;
        }
        if (carry != 0) {
            return 0;
        }
    }
    return (unsigned)bytes[0] << 16 | (unsigned)bytes[1] << 8 | bytes[2];
}

int depin_find_root(const depin_downlink *downlink, depin_party *root)
{
    const uint8_t *raw = root->bytes + 3;
    unsigned codec = multikey(downlink->device->config.network, root->bytes);
    unsigned curve = DEPIN_ED25519;

    if (codec != 0xed01) {
        /* P-256: of the point, the DID has x and the sign of y. */
        curve = DEPIN_P256;
        raw = downlink->root_point;
        if (raw == NULL || codec != 0x802402u + (raw[63] & 1) ||
            memcmp(raw, root->bytes + 3, 32) != 0) {
            return DEPIN_E_KEY;
        }
    }
    depin_identify(root, curve, raw);
    return admitted(downlink, curve, raw);
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
int depin_read_card_slots(depin_downlink *downlink)
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

/* Keys on Ed25519 that a card has named, so that no witness is one of them. */
typedef struct seen {
    const uint8_t *keys[1 + DEPIN_CARD_KEYS + 32];
    unsigned count;
} seen;

/* A COSE_Key into memory. It has the one form that its thumbprint is of. */
static int read_key(depin_downlink *downlink, depin_reader *reader, seen *known)
{
    depin_card_key *key = &downlink->card.keys[downlink->card.count++];
    depin_value value;
    uint8_t digest[32];
    depin_party who;

    if (depin_read(reader, DEPIN_FIELDS(CARD_KEY), &value) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    memcpy(key->raw, value.bytes.data + 8, 32);
    if (value.bytes.size == 75) {
        key->curve = DEPIN_P256;
        memcpy(key->raw + 32, value.bytes.data + 43, 32);
    } else {
        key->curve = DEPIN_ED25519;
        known->keys[known->count++] = key->raw;
    }
    depin_sha256(&value.bytes, 1, digest);
    depin_identify(&who, key->curve, key->raw);
    return memcmp(digest, who.thumbprint, sizeof digest) == 0
               ? admitted(downlink, key->curve, key->raw)
               : DEPIN_E_KEY;
}

/* Who cosigns the log is the business of its readers: here witnesses only are what others take. */
static int read_witnesses(const depin_downlink *downlink, depin_reader *reader, seen *known)
{
    depin_value values[3];
    size_t count;
    int status = DEPIN_OK;

    if (depin_read(reader, DEPIN_FIELDS(CARD_WITNESSES), values) != DEPIN_OK ||
        values[1].number > values[2].number) {
        return DEPIN_E_MALFORMED;
    }
    count = (size_t)values[2].number;
    for (; status == DEPIN_OK && count > 0; count--) {
        const uint8_t *key;
        if (depin_read(reader, DEPIN_FIELDS(WITNESS), values) != DEPIN_OK) {
            return DEPIN_E_MALFORMED;
        }
        key = values[1].bytes.data;
        for (unsigned i = 0; i < known->count; i++) {
            if (memcmp(key, known->keys[i], 32) == 0) {
                return DEPIN_E_MALFORMED;
            }
        }
        known->keys[known->count++] = key;
        status = admitted(downlink, DEPIN_ED25519, key);
    }
    return status;
}

/* The card's payload into memory; `number`: the lowest that is taken. */
static int read_card(depin_downlink *downlink, depin_reader reader, uint64_t number,
                     int has_witnesses)
{
    depin_card *card = &downlink->card;
    depin_value values[6];
    uint8_t digest[32];
    seen known;
    int status;

    if (depin_read(&reader, DEPIN_FIELDS(CARD), values) != DEPIN_OK ||
        values[4].number <= values[3].number) {
        return DEPIN_E_MALFORMED;
    }
    if (!depin_says(values[0].bytes, downlink->device->config.network)) {
        return DEPIN_E_FOREIGN;
    }
    if (values[2].number < number) {
        return DEPIN_E_REPLAYED;
    }
    memset(card, 0, sizeof *card);
    card->number = values[2].number;
    known.count = 0;
    do {
        status = read_key(downlink, &reader, &known);
        if (status != DEPIN_OK) {
            return status;
        }
    } while (card->count < values[5].number);
    if (depin_read(&reader, DEPIN_FIELDS(CARD_LOG), values) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    depin_sha256(&values[0].bytes, 1, digest);
    memcpy(card->origin, digest, sizeof card->origin);
    known.keys[known.count++] = values[1].bytes.data;
    status = admitted(downlink, DEPIN_ED25519, values[1].bytes.data);
    if (status == DEPIN_OK && has_witnesses) {
        status = read_witnesses(downlink, &reader, &known);
    }
    return status == DEPIN_OK ? depin_read_end(&reader) : status;
}

int depin_take_card(depin_downlink *downlink, const depin_reader *payload, int has_witnesses)
{
    uint64_t number = downlink->card.number;
    unsigned count = downlink->card.count;
    int status = read_card(downlink, *payload, number, has_witnesses);

    if (status == DEPIN_OK && (count == 0 || downlink->card.number > number)) {
        status = write_slots(downlink);
        if (status == DEPIN_OK) {
            return status;
        }
    }
    /* It was not taken: back to what storage has. */
    return depin_read_card_slots(downlink) == DEPIN_OK ? status : DEPIN_E_STORAGE;
}
