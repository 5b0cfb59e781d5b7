#include "replay.h"

#include <string.h>

#include "depin/ed25519.h"

enum { HAS_WALL = 1, HAS_BEACON = 2, HAS_EAR = 4, HAS_PLACE = 8 };
enum { PACK, STATUS, EVIDENCE, DOCUMENT, ENROL, CHALLENGE, ATTEST, IDENTITY };

#define READINGS 64

typedef struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    int bad;
} cursor;

static const uint8_t *take(cursor *in, size_t size)
{
    static const uint8_t nothing[64];
    const uint8_t *at = in->at;
    if ((size_t)(in->end - at) < size) {
        in->bad = 1;
        return nothing;
    }
    in->at += size;
    return at;
}

static uint64_t number(cursor *in, unsigned size)
{
    const uint8_t *bytes = take(in, size);
    uint64_t value = 0;
    while (size-- > 0) {
        value = value << 8 | bytes[size];
    }
    return value;
}

/* A text with its end stands in the case itself. */
static const char *text(cursor *in)
{
    size_t size = (size_t)number(in, 1);
    const char *at = (const char *)take(in, size + 1);
    return in->bad ? "" : at;
}

typedef struct world {
    int64_t uptime;
    int64_t wall;
    uint32_t error;
    int has_wall;
    depin_ed25519 key;
    uint8_t slots[2][DEPIN_POSITION_BYTES];
} world;

static int64_t uptime(void *context)
{
    return ((world *)context)->uptime;
}

static int wall(void *context, int64_t *ms, uint32_t *error)
{
    const world *now = context;
    *ms = now->wall;
    *error = now->error;
    return !now->has_wall;
}

static int load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    memcpy(data, ((world *)context)->slots[slot], size);
    return 0;
}

static int store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    memcpy(((world *)context)->slots[slot], data, size);
    return 0;
}

/* Stands for a chip: the digest as r, and an s that is 1 away from the order, made low as every port does. */
static int sign_digest(void *context, const uint8_t *digest, uint8_t *signature)
{
    static const uint8_t high[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x50,
    };
    (void)context;
    memcpy(signature, digest, 32);
    memcpy(signature + 32, high, 32);
    depin_p256_low(signature);
    return 0;
}

static int add_readings(depin_device *device, cursor *in)
{
    size_t count = (size_t)number(in, 2);
    int status = DEPIN_OK;
    while (count-- > 0 && !in->bad && status == DEPIN_OK) {
        const char *name = text(in);
        const char *unit = text(in);
        int64_t mantissa = (int64_t)number(in, 8);
        int exponent = (int16_t)number(in, 2);
        int64_t time = (int64_t)number(in, 8);
        unit = *unit ? unit : NULL;
        status = depin_check_reading(device, name, unit);
        if (status == DEPIN_OK) {
            status = depin_add(device, name, unit, mantissa, exponent, time);
        }
    }
    return status;
}

static depin_bytes bytes_of(cursor *in)
{
    depin_bytes found;
    found.size = (size_t)number(in, 2);
    found.data = take(in, found.size);
    found.size = in->bad ? 0 : found.size;
    return found;
}

static int identity(depin_device *device, uint8_t *out, size_t capacity, size_t *size)
{
    if (capacity < DEPIN_DID_SIZE + 80 + 32) {
        return DEPIN_E_ROOM;
    }
    memset(out, 0, DEPIN_DID_SIZE);
    depin_did(device, (char *)out);
    memcpy(out + DEPIN_DID_SIZE, device->thumbprint, 32);
    depin_cose_key(device, out + DEPIN_DID_SIZE + 32, size);
    *size += DEPIN_DID_SIZE + 32;
    return DEPIN_OK;
}

static int run(depin_device *device, cursor *in, unsigned kind, unsigned flags, uint8_t *out,
               size_t capacity, size_t *size)
{
    depin_enrolment about;
    depin_bytes bytes;
    const uint8_t *nonce;
    const char *media_type;
    uint64_t expires;
    int status;
    switch (kind) {
    case PACK:
        status = add_readings(device, in);
        return status == DEPIN_OK ? depin_seal(device, out, capacity, size) : status;
    case STATUS:
    case EVIDENCE:
        return depin_seal_bytes(device, kind == STATUS ? DEPIN_STATUS : DEPIN_EVIDENCE,
                                bytes_of(in), out, capacity, size);
    case CHALLENGE:
        return depin_challenge_statement(device, out, capacity, size);
    case ATTEST:
        nonce = take(in, 16);
        expires = number(in, 8);
        media_type = text(in);
        return depin_attest_statement(device, nonce, expires, media_type, bytes_of(in), out,
                                      capacity, size);
    case IDENTITY:
        return identity(device, out, capacity, size);
    default:
        about.name = text(in);
        about.profile = text(in);
        about.owner = text(in);
        about.has_place = (flags & HAS_PLACE) != 0;
        about.lat_e7 = (int32_t)number(in, 4);
        about.lon_e7 = (int32_t)number(in, 4);
        if (kind == DOCUMENT) {
            return depin_enrolment_document(device, &about, (char *)out, capacity, size);
        }
        nonce = take(in, 16);
        bytes = bytes_of(in);
        return depin_enrolment_statement(device, &about, nonce, bytes, out, capacity, size);
    }
}

size_t depin_replay(const uint8_t *data, size_t data_size, uint8_t *out, size_t capacity)
{
    cursor in = {data, data + data_size, 0};
    world now;
    depin_reading readings[READINGS];
    depin_device device;
    memset(&now, 0, sizeof now);
    unsigned curve = (unsigned)number(&in, 1);
    unsigned flags = (unsigned)number(&in, 1);
    unsigned kind = (unsigned)number(&in, 1);
    uint32_t epoch = (uint32_t)number(&in, 4);
    uint32_t n = (uint32_t)number(&in, 4);
    const uint8_t *prev = take(&in, 16);
    now.has_wall = (flags & HAS_WALL) != 0;
    now.uptime = (int64_t)number(&in, 8);
    now.wall = (int64_t)number(&in, 8);
    now.error = (uint32_t)number(&in, 4);
    const uint8_t *key = take(&in, 64);
    const uint8_t *beacon = take(&in, 16);
    const uint8_t *ear = take(&in, 16);
    const char *network = text(&in);
    memcpy(now.key.seed, key, 32);
    memcpy(now.key.public_key, key + 32, 32);
    const depin_signer ed25519 = {DEPIN_ED25519, now.key.public_key, depin_ed25519_sign, NULL,
                                  &now.key, depin_ed25519_hash};
    const depin_signer p256 = {DEPIN_P256, key, NULL, sign_digest, NULL,
                               depin_software_hash};
    const depin_storage storage = {load, store, &now};
    const depin_clock clock = {uptime, wall, &now};
    const depin_config config = {network, curve == DEPIN_ED25519 ? &ed25519 : &p256, &storage,
                                 &clock, readings, READINGS, depin_secondary_unit};
    if (in.bad || capacity < 1) {
        return 0;
    }
    size_t size = 0;
    int status = depin_init(&device, &config);
    if (status == DEPIN_OK) {
        /* A boot that was begun and has gone on: no program does this. */
        device.state = 1;
        device.epoch = epoch;
        device.next = n;
        memcpy(device.prev, prev, sizeof device.prev);
        device.beacon_size = flags & HAS_BEACON ? 16 : 0;
        memcpy(device.beacon, beacon, 16);
        device.has_ear = (flags & HAS_EAR) != 0;
        memcpy(device.ear, ear, 16);
        status = run(&device, &in, kind, flags, out + 1, capacity - 1, &size);
    }
    out[0] = (uint8_t)-status;
    return in.bad ? 0 : 1 + (status == DEPIN_OK ? size : 0);
}
