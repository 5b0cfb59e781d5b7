/* One signed envelope (protocol, sections 3 and 4), and what comes before it. */
#include "seal.h"

#include <string.h>

#define MAX_PAYLOAD (131072 - 2048)
#define MAX_STATUS 4096
#define MAX_READINGS 4096
#define MAX_NAME 128
#define MAX_UNIT 16

/* Most bytes of an envelope beside its payload, and of a reading beside its texts. */
#define ENVELOPE_BYTES 224
#define READING_BYTES 64

int depin_init(depin_device *device, const depin_config *config)
{
    const depin_signer *signer = config->signer;
    memset(device, 0, sizeof *device);
    device->config = *config;
    size_t network = depin_length(config->network);
    if (network < 24 || network > 255 || config->capacity - 1 >= MAX_READINGS ||
        !signer->sign_message == !signer->sign_digest ||
        (signer->sign_digest && signer->curve != DEPIN_P256)) {
        return DEPIN_E_ARGUMENT;
    }
    depin_bytes parts[4];
    uint8_t head[8];
    size_t count = depin_key_parts(signer, head, parts);
    depin_sha256(parts, count, device->thumbprint);
    return DEPIN_OK;
}

static int is_letter_or_digit(unsigned byte)
{
    return (byte | 32) - 'a' < 26 || byte - '0' < 10;
}

/* 1 to 128 of A-Z a-z 0-9 - : . / _, a letter or digit in front. */
static int is_name(const char *text)
{
    size_t size = 0;
    for (; text[size]; size++) {
        unsigned byte = (unsigned char)text[size];
        /* '-' '.' '/' and digits and ':' lie in one row */
        if (!is_letter_or_digit(byte) && (!size || (byte - '-' > ':' - '-' && byte != '_'))) {
            return 0;
        }
    }
    return size - 1 < MAX_NAME;
}

/* 1 to 16 visible ASCII characters. */
static int is_unit(const char *text)
{
    size_t size = 0;
    for (; text[size]; size++) {
        if ((unsigned char)text[size] - 0x21u > 0x7e - 0x21) {
            return 0;
        }
    }
    return size - 1 < MAX_UNIT;
}

int depin_add(depin_device *device, const char *name, const char *unit, int64_t mantissa,
              int exponent, int64_t time_ms)
{
    if (device->count >= device->config.capacity) {
        return DEPIN_E_FULL;
    }
    if (!is_name(name) || (unit && !is_unit(unit)) || (uint64_t)time_ms > DEPIN_MAX_MS ||
        depin_canonical(&mantissa, &exponent)) {
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

static uint64_t seconds(uint64_t ms)
{
    unsigned rest;
    return depin_tenth(depin_tenth(depin_tenth(ms, &rest), &rest), &rest);
}

/* What is sealed, and when. */
typedef struct sealing sealing;
struct sealing {
    depin_bytes type;    /* label and value of the content type, encoded */
    depin_bytes payload; /* no data: the readings that wait */
    int64_t uptime;
    int64_t wall;
    uint32_t error;
    int has_wall;
    void (*put_iat)(depin_writer *writer, const sealing *what); /* no pack has it: its times say when */
};

static void put_provenance(depin_writer *writer, const depin_device *device, const sealing *what)
{
    depin_put(writer, "\x3a\x00\x01\x00\x00\x86", 6);
    depin_put_head(writer, DEPIN_CBOR_UINT, device->epoch);
    depin_put_head(writer, DEPIN_CBOR_UINT, device->next);
    depin_put_string(writer, DEPIN_CBOR_BYTES, device->prev, sizeof device->prev);
    depin_put_head(writer, DEPIN_CBOR_UINT, seconds((uint64_t)what->uptime));
    if (what->has_wall) {
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

static void read_clock(const depin_device *device, sealing *what)
{
    const depin_clock *clock = device->config.clock;
    what->uptime = clock->uptime_ms(clock->context);
    /* A clock that stands before 1978 was never set. */
    what->has_wall = clock->wall && clock->wall(clock->context, &what->wall, &what->error) == 0 &&
                     what->wall >= DEPIN_RELATIVE_MS && what->wall <= DEPIN_MAX_MS;
}

/* Whether every reading has a time that can be said: one since 1970 needs a clock. */
static int has_times(const depin_device *device, const sealing *what)
{
    for (unsigned i = 0; i < device->count; i++) {
        if (device->config.readings[i].time_ms >= DEPIN_RELATIVE_MS && !what->has_wall) {
            return 0;
        }
    }
    return 1;
}

static void put_payload(depin_writer *writer, const depin_device *device, const sealing *what)
{
    if (what->payload.data) {
        depin_put(writer, what->payload.data, what->payload.size);
    } else {
        depin_put_pack(writer, device, (what->has_wall ? what->wall : 0) - what->uptime);
    }
}

static int seal(depin_device *device, sealing *what, uint8_t *out, size_t capacity, size_t *size)
{
    int status = depin_position_begin(device);
    if (status != DEPIN_OK) {
        return status;
    }
    if (device->next == UINT32_MAX) {
        return DEPIN_E_EXHAUSTED;
    }
    read_clock(device, what);
    if ((uint64_t)what->uptime > DEPIN_MAX_MS ||
        (!what->payload.data && !has_times(device, what))) {
        return DEPIN_E_ARGUMENT;
    }
    int claims = what->has_wall ? what->put_iat != NULL : device->beacon_size != 0;
    depin_writer writer = {out, capacity, 0};
    depin_put(&writer, "\xd2\x84\x58", 4);
    depin_put_headers(&writer, device, (unsigned)(4 + claims), what->type);
    if (claims && what->has_wall) {
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
    put_payload(&count, device, what);
    depin_put_head(&writer, DEPIN_CBOR_BYTES, count.size);
    put_payload(&writer, device, what);
    if (count.size > MAX_PAYLOAD || writer.size + DEPIN_TAIL > capacity) {
        return DEPIN_E_ROOM;
    }
    out[3] = (uint8_t)(middle - 4);
    depin_bytes headers = {out + 2, middle - 2};
    depin_bytes payload = {out + middle + 1, writer.size - middle - 1};
    status = depin_sign1(device, "envelope", headers, payload, 1, out + writer.size);
    if (status == DEPIN_OK) {
        *size = writer.size + DEPIN_TAIL;
    }
    return status;
}

int depin_seal(depin_device *device, uint8_t *out, size_t capacity, size_t *size)
{
    sealing what = {{(const uint8_t *)"\x03\x18\x70", 3}, {NULL, 0}, 0, 0, 0, 0, NULL};
    if (!device->count) {
        return DEPIN_E_EMPTY;
    }
    int status = seal(device, &what, out, capacity, size);
    if (status == DEPIN_OK) {
        device->count = 0;
    }
    return status;
}

/* To the nearest second, halves to the even one. */
static void put_iat(depin_writer *writer, const sealing *what)
{
    uint64_t ms = (uint64_t)what->wall;
    depin_put(writer, "\x0f\xa1\x06", 3);
    depin_put_head(writer, DEPIN_CBOR_UINT, seconds(ms + 499 + (seconds(ms) & 1)));
}

int depin_seal_bytes(depin_device *device, depin_content content, depin_bytes payload, uint8_t *out,
                     size_t capacity, size_t *size)
{
    static const char status[] = "\x03\x78\x1d" "application/depin-status+cbor";
    static const char evidence[] = "\x03\x78\x1f" "application/depin-evidence+cbor";
    sealing what = {{(const uint8_t *)status, sizeof status - 1}, payload, 0, 0, 0, 0, put_iat};
    if (content == DEPIN_EVIDENCE) {
        what.type.data = (const uint8_t *)evidence;
        what.type.size = sizeof evidence - 1;
    } else if (payload.size > MAX_STATUS) {
        return DEPIN_E_ARGUMENT;
    }
    return payload.data ? seal(device, &what, out, capacity, size) : DEPIN_E_ARGUMENT;
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
