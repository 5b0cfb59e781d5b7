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
    MAX_CARD = 4096,
    KID = 8,
    MILLISECONDS = 50, /* powers of two */
    NUMBER = 62,
};

/* A COSE_Sign1 with the protected header {1: alg, 4: kid}, 13 bytes, and an empty unprotected one. */
static const depin_field MESSAGE[] = {
    {0xd2, DEPIN_CBOR_ARRAY, 4, 2},
    {DEPIN_CBOR_BYTES + 13, DEPIN_CBOR_MAP, 2, 1},
    {1, DEPIN_CBOR_NEGATIVE, 0, 5},
    {4, DEPIN_CBOR_BYTES, KID, KID},
    {0xa0, DEPIN_CBOR_BYTES, 1, 0},
    {DEPIN_BARE, DEPIN_CBOR_BYTES, DEPIN_SIGNATURE, DEPIN_SIGNATURE},
};
typedef struct message {
    depin_value array, header, algorithm, kid, payload, signature;
} message;

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

/* --- signatures ---------------------------------------------------------------------------------- */

void depin_identify(depin_party *who, unsigned curve, const uint8_t *raw)
{
    depin_bytes parts[4];

    who->key.curve = curve == DEPIN_P256 ? DEPIN_P256 : DEPIN_ED25519;
    who->key.public_key = raw;
    depin_sha256(parts, depin_key_parts(&who->key, parts), who->thumbprint);
}

/* The key of the card that a message names. */
static int find_key(const depin_downlink *downlink, const uint8_t *kid, depin_party *signer)
{
    const depin_card_key *key = downlink->card.keys;

    for (unsigned left = downlink->card.count; left > 0; left--, key++) {
        depin_identify(signer, key->curve, key->raw);
        if (memcmp(signer->thumbprint, kid, KID) == 0) {
            return DEPIN_OK;
        }
    }
    return downlink->card.count == 0 ? DEPIN_E_NO_CARD : DEPIN_E_FOREIGN;
}

/* Verify as this party's, of this kind. */
static int verify(const depin_downlink *downlink, const depin_party *signer, const message *opened,
                  unsigned kind)
{
    static const char kinds[][10] = {"card", "ack", "challenge", "resume"};
    /* s of ESP256 is at most half the order: one message has one signature. */
    static const uint8_t half[32] = {
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
    };
    const uint8_t *kid = opened->kid.bytes.data, *signature = opened->signature.bytes.data;
    unsigned algorithm = 18; /* -19; of P-256 it is -9 */
    depin_signed what;
    /* The two byte strings with their heads, as they came: the kid ends the protected header, then
     * there is the empty one. */

    if (signer->key.curve == DEPIN_P256) {
        algorithm = 8;
        if (memcmp(signature + 32, half, sizeof half) > 0) {
            return DEPIN_E_SIGNATURE;
        }
    }
    if (opened->algorithm.number != algorithm) {
        return DEPIN_E_KEY;
    }
    /* The two byte strings with their heads, as they came: the kid ends the protected header, then
     * there is the empty one. */
    depin_signed_parts(&what, downlink->device->config.network, kinds[kind - 1], signer->thumbprint,
                       kid - 6, kid + KID, signature - 2);
    return downlink->verify(downlink->context, signer->key.curve, signer->key.public_key, what.parts,
                            DEPIN_SIGNED_PARTS, signature) == 0
               ? DEPIN_OK
               : DEPIN_E_SIGNATURE;
}

int depin_says(depin_bytes bytes, const char *text)
{
    return bytes.size == depin_length(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* --- what the keys of the card sign -------------------------------------------------------------- */

static int take_ack(depin_downlink *downlink, depin_reader *reader, depin_event *event)
{
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
                               !depin_says(item[1].bytes, "aggregator.retry"), item[1].bytes);
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

/* Open a message and verify it: what kind it is, and a reader behind the head of its payload's map. */
static int open_message(const depin_downlink *downlink, depin_bytes bytes, depin_reader *payload,
                        unsigned *members, depin_event *event)
{
    depin_reader reader = {bytes.data, bytes.data + bytes.size};
    message opened;
    depin_party signer;
    int status;

    depin_read(&reader, DEPIN_FIELDS(MESSAGE), &opened.array);
    if (bytes.size > MAX_MESSAGE || depin_read_end(&reader) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    payload->at = opened.payload.bytes.data;
    payload->end = payload->at + opened.payload.bytes.size;
    *members = *payload->at++ - DEPIN_CBOR_MAP;
    if ((*members | 1) == 9 && bytes.size <= MAX_CARD) {
        event->kind = DEPIN_DOWN_CARD;
        status = depin_find_root(downlink, &signer);
        if (status == DEPIN_OK && memcmp(opened.kid.bytes.data, signer.thumbprint, KID) != 0) {
            status = DEPIN_E_FOREIGN;
        }
    } else if (*members == 7 || *members == 3) {
        event->kind = *members == 7 ? DEPIN_DOWN_ACK : DEPIN_DOWN_CHALLENGE;
        status = find_key(downlink, opened.kid.bytes.data, &signer);
    } else {
        return DEPIN_E_MALFORMED;
    }
    /* What looks like a challenge may be a resume: what was signed tells them apart. */
    for (; status == DEPIN_OK; event->kind = DEPIN_DOWN_RESUME) {
        status = verify(downlink, &signer, &opened, event->kind);
        if (status != DEPIN_E_SIGNATURE || event->kind != DEPIN_DOWN_CHALLENGE) {
            return status;
        }
        status = DEPIN_OK;
    }
    return status;
}

/* What a key of the card has signed. */
static DEPIN_APART int take_answered(depin_downlink *downlink, depin_reader *reader,
                                     depin_event *event)
{
    depin_value recipient;

    if (depin_read(reader, DEPIN_FIELDS(RECIPIENT), &recipient) != DEPIN_OK) {
        return DEPIN_E_MALFORMED;
    }
    if (memcmp(recipient.bytes.data, downlink->device->thumbprint, 32) != 0) {
        return DEPIN_E_FOREIGN;
    }
    return event->kind == DEPIN_DOWN_ACK ? take_ack(downlink, reader, event)
                                         : take_answer(downlink, reader, event);
}

int depin_downlink_take(depin_downlink *downlink, depin_bytes message, depin_event *event)
{
    depin_reader reader;
    unsigned members;
    int status;

    memset(event, 0, sizeof *event);
    status = open_message(downlink, message, &reader, &members, event);
    if (status != DEPIN_OK) {
        return status;
    }
    return event->kind == DEPIN_DOWN_CARD ? depin_take_card(downlink, &reader, members == 9)
                                          : take_answered(downlink, &reader, event);
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
