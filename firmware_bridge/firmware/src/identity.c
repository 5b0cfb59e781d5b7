/* Who a device is, and the statements by which it says so (protocol, sections 2, 14 and 15). */
#include <string.h>

#include "seal.h"

#define MAX_TEXT 128
#define MAX_STATEMENT 98304
#define MAX_EVIDENCE 65536
#define MAX_MEDIA_TYPE 120
#define MAX_SECONDS ((uint64_t)1 << 40)
#define NONCE 16
#define KEY_BYTES 77 /* most of a COSE_Key */
#define BASE58 48    /* most digits of a key with its prefix */

int depin_cose_key(const depin_device *device, uint8_t out[80], size_t *size)
{
    depin_bytes parts[4];
    size_t count = depin_key_parts(device->config.signer, parts);
    depin_writer writer = {out, KEY_BYTES, 0};
    for (size_t i = 0; i < count; i++) {
        depin_put(&writer, parts[i].data, parts[i].size);
    }
    *size = writer.size;
    return DEPIN_OK;
}

/* base58btc of bytes that do not begin with a zero, with its end. */
static void put_base58(const uint8_t *bytes, size_t size, char *text)
{
    static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    uint8_t digits[BASE58];
    memset(digits, 0, sizeof digits);
    /* Doubling the number bit by bit needs no division. */
    for (size_t bit = 0; bit < size * 8; bit++) {
        unsigned carry = bytes[bit >> 3] >> (7 - (bit & 7)) & 1;
        for (unsigned i = 0; i < sizeof digits; i++) {
            unsigned digit = digits[i] * 2u + carry;
            carry = digit >= 58;
            digits[i] = (uint8_t)(carry ? digit - 58 : digit);
        }
    }
    unsigned at = sizeof digits;
    while (digits[at - 1] == 0) {
        at--;
    }
    while (at > 0) {
        *text++ = alphabet[digits[--at]];
    }
    *text = 0;
}

int depin_did(const depin_device *device, char did[DEPIN_DID_SIZE])
{
    const depin_signer *signer = device->config.signer;
    uint8_t raw[35];
    size_t size = 2;
    raw[0] = 0xed;
    raw[1] = 0x01;
    if (signer->curve == DEPIN_P256) {
        raw[0] = 0x80;
        raw[1] = 0x24;
        raw[size++] = 2 + (signer->public_key[63] & 1);
    }
    memcpy(raw + size, signer->public_key, 32);
    memcpy(did, "did:key:z", 9);
    put_base58(raw, size + 32, did + 9);
    return DEPIN_OK;
}

/* --- the enrolment document, as JSON ------------------------------------------------------------ */

static void put_plain(depin_writer *writer, const char *text)
{
    depin_put(writer, text, depin_length(text));
}

static void put_hex(depin_writer *writer, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size * 2; i++) {
        unsigned digit = bytes[i >> 1] >> (i & 1 ? 0 : 4) & 15;
        depin_put_byte(writer, (unsigned char)"0123456789abcdef"[digit]);
    }
}

static void put_quoted(depin_writer *writer, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            depin_put_byte(writer, '\\');
        }
        depin_put(writer, text, 1);
    }
}

/* ", "label": " and the text, from within one text to within the next. */
static void put_member(depin_writer *writer, const char *label, const char *text)
{
    put_plain(writer, "\", \"");
    put_plain(writer, label);
    put_plain(writer, "\": \"");
    put_quoted(writer, text);
}

/* Units of 1e-7 degree as decimal text, exactly. */
static void put_degrees(depin_writer *writer, int32_t value)
{
    char digits[11];
    uint32_t left = value < 0 ? -(uint32_t)value : (uint32_t)value;
    unsigned used = 0;
    unsigned zeros = 0;
    for (unsigned i = 0; i < 10; i++) {
        unsigned rest;
        left = (uint32_t)depin_divide(left, 10, &rest);
        digits[i] = (char)('0' + rest);
        used = rest ? i + 1 : used;
        zeros += zeros == i && !rest;
    }
    depin_put(writer, "\"-", value < 0 ? 2 : 1);
    for (unsigned i = used > 8 ? used : 8; i-- > 0;) {
        if (i < 7 && i < zeros) {
            break;
        }
        if (i == 6) {
            depin_put_byte(writer, '.');
        }
        depin_put_byte(writer, (unsigned char)digits[i]);
    }
    depin_put_byte(writer, '"');
}

/* Texts that need no escapes but two; what is not ASCII is the caller's care. */
static int is_printable(const char *text)
{
    size_t size = 0;
    for (; text[size]; size++) {
        unsigned byte = (unsigned char)text[size];
        if (byte < 0x20 || byte == 0x7f) {
            return 0;
        }
    }
    return size <= MAX_TEXT;
}

static int is_enrolment(const depin_enrolment *enrolment)
{
    return is_printable(enrolment->name) && is_printable(enrolment->profile) &&
           is_printable(enrolment->owner) &&
           (!enrolment->has_place ||
            (enrolment->lat_e7 >= -900000000 && enrolment->lat_e7 <= 900000000 &&
             enrolment->lon_e7 >= -1800000000 && enrolment->lon_e7 <= 1800000000));
}

int depin_enrolment_document(const depin_device *device, const depin_enrolment *enrolment, char *out,
                             size_t capacity, size_t *size)
{
    char did[DEPIN_DID_SIZE];
    uint8_t key[80];
    size_t key_size;
    depin_writer writer = {(uint8_t *)out, capacity, 0};
    if (!is_enrolment(enrolment)) {
        return DEPIN_E_ARGUMENT;
    }
    (void)depin_did(device, did);
    (void)depin_cose_key(device, key, &key_size);
    put_plain(&writer, "{\"type\": \"depin-enrolment/1");
    put_member(&writer, "did", did);
    put_member(&writer, "key", "");
    put_hex(&writer, key, key_size);
    put_member(&writer, "curve",
               device->config.signer->curve == DEPIN_ED25519 ? "ed25519" : "p256");
    put_member(&writer, "thumbprint", "");
    put_hex(&writer, device->thumbprint, sizeof device->thumbprint);
    put_member(&writer, "name", enrolment->name);
    put_member(&writer, "profile", enrolment->profile);
    put_member(&writer, "owner", enrolment->owner);
    put_member(&writer, "role", "device");
    put_plain(&writer, "\", \"lat\": ");
    if (enrolment->has_place) {
        put_degrees(&writer, enrolment->lat_e7);
        put_plain(&writer, ", \"lon\": ");
        put_degrees(&writer, enrolment->lon_e7);
    } else {
        put_plain(&writer, "null, \"lon\": null");
    }
    depin_put(&writer, "}", 2); /* and the end of the text */
    if (writer.size > capacity) {
        return DEPIN_E_ROOM;
    }
    *size = writer.size - 1;
    return DEPIN_OK;
}

/* --- statements ---------------------------------------------------------------------------------- */

static void put_statement(depin_writer *writer, const char *kind, unsigned parts)
{
    depin_put_byte(writer, DEPIN_CBOR_ARRAY + 2 + parts);
    depin_put_text(writer, "depin-statement/1");
    depin_put_text(writer, kind);
}

int depin_challenge_statement(const depin_device *device, uint8_t *out, size_t capacity,
                              size_t *size)
{
    depin_writer writer = {out, capacity, 0};
    put_statement(&writer, "challenge", 1);
    depin_put_string(&writer, DEPIN_CBOR_BYTES, device->thumbprint, sizeof device->thumbprint);
    *size = writer.size;
    return writer.size > capacity ? DEPIN_E_ROOM : DEPIN_OK;
}

/* What is proved: of an enrolment, or evidence when that is NULL. */
typedef struct claim {
    const depin_enrolment *enrolment;
    const uint8_t *nonce;
    depin_bytes shown; /* certificate, or evidence */
    const char *media_type;
    uint64_t expires;
    uint8_t digest[32]; /* of a certificate */
} claim;

static void put_enrolment(depin_writer *writer, const depin_device *device, const claim *what)
{
    const depin_enrolment *enrolment = what->enrolment;
    uint8_t key[80];
    size_t size;
    (void)depin_cose_key(device, key, &size);
    depin_put_byte(writer, DEPIN_CBOR_MAP + 4);
    depin_put_byte(writer, 1);
    depin_put_string(writer, DEPIN_CBOR_BYTES, what->nonce, NONCE);
    depin_put_byte(writer, 2);
    depin_put_byte(writer, DEPIN_CBOR_ARRAY + 6);
    depin_put_string(writer, DEPIN_CBOR_BYTES, key, size);
    depin_put_text(writer, enrolment->name);
    depin_put_text(writer, enrolment->profile);
    depin_put_text(writer, enrolment->owner);
    depin_put_text(writer, "device");
    if (enrolment->has_place) {
        depin_put_byte(writer, DEPIN_CBOR_ARRAY + 2);
        depin_put_int(writer, enrolment->lat_e7);
        depin_put_int(writer, enrolment->lon_e7);
    } else {
        depin_put_byte(writer, DEPIN_CBOR_NULL);
    }
    depin_put_byte(writer, 3);
    if (what->shown.size) {
        depin_put_string(writer, DEPIN_CBOR_BYTES, what->digest, sizeof what->digest);
    } else {
        depin_put_byte(writer, DEPIN_CBOR_NULL);
    }
    depin_put(writer, "\x04\xf5", 2); /* what was sent before is to count */
}

static void put_evidence(depin_writer *writer, const depin_device *device, const claim *what)
{
    char did[DEPIN_DID_SIZE];
    (void)depin_did(device, did);
    depin_put_byte(writer, DEPIN_CBOR_MAP + 7);
    depin_put_byte(writer, 1);
    depin_put_text(writer, did);
    depin_put_byte(writer, 2);
    depin_put_string(writer, DEPIN_CBOR_BYTES, what->nonce, NONCE);
    depin_put_byte(writer, 3);
    depin_put_head(writer, DEPIN_CBOR_UINT, what->expires);
    depin_put_byte(writer, 4);
    depin_put_head(writer, DEPIN_CBOR_UINT, device->epoch);
    depin_put_byte(writer, 5);
    depin_put_text(writer, what->media_type);
    depin_put_byte(writer, 6);
    depin_put_string(writer, DEPIN_CBOR_BYTES, what->shown.data, what->shown.size);
    depin_put(writer, "\x07\xf6", 2); /* no secret of a TPM */
}

static void put_claim(depin_writer *writer, const depin_device *device, const claim *what)
{
    if (what->enrolment) {
        put_enrolment(writer, device, what);
    } else {
        put_evidence(writer, device, what);
    }
}

/* A statement whose first part is a claim that the device's key signed. */
static int sign_claim(depin_device *device, const claim *what, uint8_t *out, size_t capacity,
                      size_t *size)
{
    depin_writer writer = {out, capacity, 0};
    depin_writer count = {NULL, 0, 0};
    put_claim(&count, device, what);
    size_t claim_size = count.size;
    depin_put_head(&count, DEPIN_CBOR_BYTES, claim_size); /* now with its head */
    /* Tag, array, a header of 14, an empty header, the claim, the signature. */
    size_t signed_size = 2 + 14 + 1 + count.size + DEPIN_TAIL;
    put_statement(&writer, what->enrolment ? "enrol" : "attest", what->enrolment ? 2 : 1);
    depin_put_head(&writer, DEPIN_CBOR_BYTES, signed_size);
    depin_put(&writer, "\xd2\x84\x4d", 3);
    size_t header = writer.size - 1;
    depin_put(&writer, "\xa2\x01", 2);
    depin_put_byte(&writer, device->config.signer->curve == DEPIN_ED25519 ? 0x32 : 0x28);
    depin_put_byte(&writer, 4);
    depin_put_string(&writer, DEPIN_CBOR_BYTES, device->thumbprint, 8);
    size_t middle = writer.size;
    depin_put_byte(&writer, DEPIN_CBOR_MAP);
    depin_put_head(&writer, DEPIN_CBOR_BYTES, claim_size);
    put_claim(&writer, device, what);
    size_t end = writer.size;
    writer.size += DEPIN_TAIL;
    if (what->enrolment) {
        depin_put_string(&writer, DEPIN_CBOR_BYTES, what->shown.data, what->shown.size);
    }
    if (writer.size > capacity || writer.size > MAX_STATEMENT) {
        return DEPIN_E_ROOM;
    }
    *size = writer.size;
    return depin_sign1(device, what->enrolment ? "enrolment" : "attest", out + header, out + middle,
                       out + end);
}

int depin_enrolment_statement(depin_device *device, const depin_enrolment *enrolment,
                              const uint8_t nonce[16], depin_bytes certificate, uint8_t *out,
                              size_t capacity, size_t *size)
{
    claim what = {enrolment, nonce, certificate, NULL, 0, {0}};
    if (!is_enrolment(enrolment) || certificate.size > MAX_STATEMENT) {
        return DEPIN_E_ARGUMENT;
    }
    if (certificate.size && depin_hash(device, &certificate, 1, what.digest)) {
        return DEPIN_E_SIGN;
    }
    return sign_claim(device, &what, out, capacity, size);
}

int depin_attest_statement(depin_device *device, const uint8_t nonce[16], uint64_t expires,
                           const char *media_type, depin_bytes evidence, uint8_t *out,
                           size_t capacity, size_t *size)
{
    claim what = {NULL, nonce, evidence, media_type, expires, {0}};
    if (evidence.size - 1 >= MAX_EVIDENCE || depin_length(media_type) - 1 >= MAX_MEDIA_TYPE ||
        expires > MAX_SECONDS) {
        return DEPIN_E_ARGUMENT;
    }
    int status = depin_position_begin(device);
    return status == DEPIN_OK ? sign_claim(device, &what, out, capacity, size) : status;
}
