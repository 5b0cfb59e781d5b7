/* A pack of readings in the common form of the protocol, section 5 (depin_id.senml.records.packed). */
#include <string.h>

#include "seal.h"

/* Labels as they are encoded. A reading without a unit has an empty one here. */
enum { BN = 0x21, BT = 0x22, BU = 0x23, N = 0, U = 1, V = 2, T = 6 };

int depin_canonical(int64_t *mantissa, int *exponent)
{
    uint64_t size = (uint64_t)*mantissa;
    int power = *exponent;
    if (size == 0) {
        power = 0;
    }
    if (*mantissa < 0) {
        size = -size;
    }
    while (power < 0) {
        unsigned rest;
        uint64_t tenth = depin_tenth(size, &rest);
        if (rest != 0) {
            break;
        }
        size = tenth;
        power++;
    }
    while (power > 0 && size <= (uint64_t)INT64_MAX / 10) {
        size *= 10;
        power--;
    }
    *mantissa = (int64_t)(*mantissa < 0 ? -size : size);
    *exponent = power;
    return power < -18 || power > 18 ? DEPIN_E_ARGUMENT : DEPIN_OK;
}

static void put_number(depin_writer *writer, int64_t mantissa, int exponent)
{
    if (exponent != 0) {
        depin_put(writer, "\xc4\x82", 2);
        depin_put_int(writer, exponent);
    }
    depin_put_int(writer, mantissa);
}

static void put_time(depin_writer *writer, unsigned label, int64_t ms)
{
    int exponent = -3;
    depin_canonical(&ms, &exponent);
    depin_put_byte(writer, label);
    put_number(writer, ms, exponent);
}

static void put_text(depin_writer *writer, unsigned label, const char *text)
{
    depin_put_byte(writer, label);
    depin_put_string(writer, DEPIN_CBOR_TEXT, text, depin_length(text));
}

static int same(const char *left, const char *right)
{
    for (; *left == *right; left++, right++) {
        if (!*left) {
            return 1;
        }
    }
    return 0;
}

/* The most frequent unit, the first seen of several, when all have one and it is there twice. */
static const char *common_unit(const depin_device *device)
{
    const depin_reading *readings = device->config.readings;
    const char *unit = NULL;
    unsigned best = 1;
    /* Counting forward only: a unit is counted in full where it is seen first. */
    for (unsigned i = 0; i < device->count; i++) {
        if (!*readings[i].unit) {
            return NULL;
        }
        unsigned count = 0;
        for (unsigned j = i; j < device->count; j++) {
            count += (unsigned)same(readings[i].unit, readings[j].unit);
        }
        if (count > best) {
            best = count;
            unit = readings[i].unit;
        }
    }
    return unit;
}

static const char *common_name(const depin_device *device)
{
    const depin_reading *readings = device->config.readings;
    const char *name = readings->name;
    for (unsigned i = 1; i < device->count; i++) {
        if (!same(name, readings[i].name)) {
            return NULL;
        }
    }
    for (const char *at = name; *at; at++) {
        if (*at == ':') {
            return NULL;
        }
    }
    return name;
}

/* Units of RFC 8798: a pack with one of them says so by its version. */
static int is_secondary(const char *unit)
{
    static const char known[] =
        "ms\0min\0h\0MHz\0kW\0kVA\0kvar\0Ah\0Wh\0kWh\0varh\0kvarh\0kVAh\0Wh/km\0KiB\0GB\0Mbit/s\0"
        "B/s\0MB/s\0mV\0mA\0dBm\0ug/m3\0mm/h\0m/h\0ppm\0/100\0/1000\0hPa\0mm\0cm\0km\0km/h\0";
    for (const char *at = known; *at; at += depin_length(at) + 1) {
        if (same(unit, at)) {
            return 1;
        }
    }
    return 0;
}

static int64_t time_of(const depin_reading *reading, int64_t shift)
{
    int64_t ms = reading->time_ms;
    return ms < DEPIN_RELATIVE_MS ? ms + shift : ms;
}

void depin_put_pack(depin_writer *writer, const depin_device *device, int64_t shift)
{
    const depin_reading *reading = device->config.readings;
    const char *name = NULL;
    const char *unit = NULL;
    int64_t base = 0;
    if (device->count > 1) {
        name = common_name(device);
        unit = common_unit(device);
        base = time_of(reading, shift);
    }
    depin_put_head(writer, DEPIN_CBOR_ARRAY, device->count);
    const depin_reading *end = reading + device->count;
    int secondary = 0;
    for (const depin_reading *at = reading; at < end; at++) {
        secondary |= is_secondary(at->unit);
    }
    int first = secondary + (name != NULL) + (unit != NULL) + (base != 0);
    for (; reading < end; reading++) {
        int64_t after = time_of(reading, shift) - base;
        const char *own = reading->unit;
        if (unit && same(unit, own)) {
            own = "";
        }
        /* Keys in the order of their encodings: 0, 1, 2, 6, then -1, -2, -3, -4. */
        depin_put_byte(writer, (unsigned)(DEPIN_CBOR_MAP + first + 1 + (name == NULL) +
                                          (*own != 0) + (after != 0)));
        if (!name) {
            put_text(writer, N, reading->name);
        }
        if (*own) {
            put_text(writer, U, own);
        }
        depin_put_byte(writer, V);
        put_number(writer, reading->mantissa, reading->exponent);
        if (after != 0) {
            put_time(writer, T, after);
        }
        if (first != 0) {
            if (secondary) {
                depin_put(writer, "\x20\x18\x1a", 3); /* bver: 26 */
            }
            if (name) {
                put_text(writer, BN, name);
            }
            if (base != 0) {
                put_time(writer, BT, base);
            }
            if (unit) {
                put_text(writer, BU, unit);
            }
            first = 0;
        }
    }
}
