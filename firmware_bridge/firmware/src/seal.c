/* One signed envelope (protocol, sections 3 and 4), and what comes before it. */
#include "seal.h"

#include <string.h>

#define MAX_PAYLOAD (131072 - 2048)
#define MAX_STATUS 4096

/* Most bytes of an envelope beside its payload, and of a reading beside its texts. */
#define ENVELOPE_BYTES 224
#define READING_BYTES 64

int depin_init(depin_device *device, const depin_config *config)
{
    memset(device, 0, sizeof *device);
    device->config = *config;
    depin_bytes parts[4];
    size_t count = depin_key_parts(config->signer, parts);
    return depin_hash(device, parts, count, device->thumbprint) ? DEPIN_E_SIGN : DEPIN_OK;
}

int depin_add(depin_device *device, const char *name, const char *unit, int64_t mantissa,
              int exponent, int64_t time_ms)
{
    if (device->count >= device->config.capacity) {
        return DEPIN_E_FULL;
    }
    int status = depin_canonical(&mantissa, &exponent);
    if (status != DEPIN_OK || (uint64_t)time_ms > DEPIN_MAX_MS) {
        return DEPIN_E_ARGUMENT;
    }
    depin_reading *reading = &device->config.readings[device->count++];
    reading->name = name;
    reading->unit = unit ? unit : "";
    reading->mantissa = mantissa;
    reading->time_ms = time_ms;
    reading->exponent = (int8_t)exponent;
    return DEPIN_OK;
}

static uint64_t seconds(int64_t ms)
{
    unsigned rest;
    return depin_divide((uint64_t)ms, 1000, &rest);
}

static void put_provenance(depin_writer *writer, const depin_device *device,
                           const depin_sealing *what)
{
    depin_put(writer, "\x3a\x00\x01\x00\x00\x86", 6);
    depin_put_head(writer, DEPIN_CBOR_UINT, device->epoch);
    depin_put_head(writer, DEPIN_CBOR_UINT, device->next);
    depin_put_string(writer, DEPIN_CBOR_BYTES, device->prev, sizeof device->prev);
    depin_put_head(writer, DEPIN_CBOR_UINT, seconds(what->uptime));
    if (what->wall) {
        depin_put_head(writer, DEPIN_CBOR_UINT, what->error);
    } else {
        depin_put_byte(writer, DEPIN_CBOR_NULL);
    }
    if (device->has_ear) {
        depin_put_string(writer, DEPIN_CBOR_BYTES, device->ear, sizeof device->ear);
    } else {
        depin_put_byte(writer, DEPIN_CBOR_NULL);
    }
}

static void read_clock(const depin_device *device, depin_sealing *what)
{
    const depin_clock *clock = device->config.clock;
    what->uptime = clock->uptime_ms(clock->context);
    /* A clock that stands before 1978 was never set. */
    if (!clock->wall || clock->wall(clock->context, &what->wall, &what->error) ||
        (uint64_t)what->wall - DEPIN_RELATIVE_MS > DEPIN_MAX_MS - DEPIN_RELATIVE_MS) {
        what->wall = 0;
    }
}

/* Tag and array, then the protected header: its size, how many labels it has and the algorithm are put
 * in at the end; the content type in between; the kid follows. */
#define HEAD "\xd2\x84\x58\x00\xa0\x01\x00\x03"
#define KID "\x04\x48"

static int seal(depin_device *device, depin_sealing *what, uint8_t *out, size_t capacity,
                size_t *size)
{
    int status = depin_position_begin(device);
    if (status != DEPIN_OK) {
        return status;
    }
    if (device->next == UINT32_MAX) {
        return DEPIN_E_EXHAUSTED;
    }
    read_clock(device, what);
    if ((uint64_t)what->uptime >> 50) { /* DEPIN_MAX_MS, and smaller than to compare */
        return DEPIN_E_ARGUMENT;
    }
    int claims = what->wall ? what->put_iat != NULL : device->beacon_size != 0;
    depin_writer writer = {out, capacity, 0};
    depin_put(&writer, what->head.data, what->head.size);
    depin_put(&writer, device->thumbprint, 8);
    if (claims && what->wall) {
        what->put_iat(&writer, what);
    } else if (claims) {
        depin_put(&writer, "\x0f\xa1\x0a", 3);
        depin_put_string(&writer, DEPIN_CBOR_BYTES, device->beacon, device->beacon_size);
    }
    put_provenance(&writer, device, what);
    size_t middle = writer.size;
    depin_put_byte(&writer, DEPIN_CBOR_MAP);
    /* The head of the payload has its size, so that is found out first. */
    depin_writer count = {NULL, 0, 0};
    status = what->put_payload(&count, device, what);
    if (status != DEPIN_OK) {
        return status;
    }
    depin_put_head(&writer, DEPIN_CBOR_BYTES, count.size);
    what->put_payload(&writer, device, what);
    *size = writer.size + DEPIN_TAIL;
    if (count.size > MAX_PAYLOAD || *size > capacity) {
        return DEPIN_E_ROOM;
    }
    out[3] = (uint8_t)(middle - 4);
    out[4] = (uint8_t)(DEPIN_CBOR_MAP + 4 + claims);
    out[6] = device->config.signer->curve == DEPIN_ED25519 ? 0x32 : 0x28;
    return depin_sign1(device, NULL, out + 2, out + middle, out + writer.size);
}

int depin_seal(depin_device *device, uint8_t *out, size_t capacity, size_t *size)
{
    depin_sealing what = {
        {(const uint8_t *)HEAD "\x18\x70" KID, sizeof(HEAD KID) + 1}, depin_put_pack, NULL, {NULL, 0}, 0, 0, 0};
    if (!device->count) {
        return DEPIN_E_EMPTY;
    }
    int status = seal(device, &what, out, capacity, size);
    if (status == DEPIN_OK) {
        device->count = 0;
    }
    return status;
}

static int put_bytes(depin_writer *writer, const depin_device *device, const depin_sealing *what)
{
    (void)device;
    depin_put(writer, what->payload.data, what->payload.size);
    return DEPIN_OK;
}

/* To the nearest second, halves to the even one. */
static void put_iat(depin_writer *writer, const depin_sealing *what)
{
    int64_t ms = what->wall;
    depin_put(writer, "\x0f\xa1\x06", 3);
    depin_put_head(writer, DEPIN_CBOR_UINT, seconds(ms + 499 + (int)(seconds(ms) & 1)));
}

int depin_seal_bytes(depin_device *device, depin_content content, depin_bytes payload, uint8_t *out,
                     size_t capacity, size_t *size)
{
    static const char status[] = HEAD "\x78\x1d" "application/depin-status+cbor" KID;
    static const char evidence[] = HEAD "\x78\x1f" "application/depin-evidence+cbor" KID;
    depin_sealing what = {
        {(const uint8_t *)status, sizeof status - 1}, put_bytes, put_iat, payload, 0, 0, 0};
    size_t most = MAX_STATUS;
    if (content == DEPIN_EVIDENCE) {
        most = MAX_PAYLOAD;
        what.head.data = (const uint8_t *)evidence;
        what.head.size = sizeof evidence - 1;
    }
    /* Before it is counted: a size that was -1 would end before it begins. */
    return payload.data && payload.size <= most ? seal(device, &what, out, capacity, size)
                                                : DEPIN_E_ARGUMENT;
}

size_t depin_sealed_bound(const depin_device *device)
{
    size_t bound = ENVELOPE_BYTES;
    for (unsigned i = 0; i < device->count; i++) {
        const depin_reading *reading = &device->config.readings[i];
        bound += READING_BYTES + depin_length(reading->name);
        bound += depin_length(reading->unit);
    }
    return bound;
}
