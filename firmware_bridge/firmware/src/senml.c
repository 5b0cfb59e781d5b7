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
        uint64_t tenth = depin_divide(size, 10, &rest);
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
    depin_put_text(writer, text);
}

static int64_t time_of(const depin_reading *reading, int64_t shift)
{
    int64_t ms = reading->time_ms;
    return ms < DEPIN_RELATIVE_MS ? ms + shift : ms;
}

/* What all readings of a pack share, in its first one. */
typedef struct common {
    const char *name; /* when all have it, and it has no ':' */
    const char *unit; /* the most frequent, the first seen of several, when all have one and it is twice */
    int secondary;
} common;

static int find_common(common *found, const depin_device *device, int has_wall)
{
    const depin_reading *first = device->config.readings;
    const depin_reading *end = first + device->count;
    unsigned best = 1;
    found->name = device->count > 1 ? first->name : NULL;
    found->unit = NULL;
    found->secondary = 0;
    for (const depin_reading *at = first; at < end; at++) {
        if (!has_wall && at->time_ms >= DEPIN_RELATIVE_MS) {
            return DEPIN_E_ARGUMENT;
        }
        if (!depin_same(at->name, first->name)) {
            found->name = NULL;
        }
        if (device->config.secondary && device->config.secondary(at->unit)) {
            found->secondary = 1;
        }
        /* Counting forward only: a unit is counted in full where it is seen first. */
        unsigned count = 0;
        for (const depin_reading *other = at; other < end; other++) {
            count += (unsigned)depin_same(at->unit, other->unit);
        }
        if (!*at->unit) {
            count = best = UINT16_MAX; /* beyond what any unit reaches */
            found->unit = NULL;
        }
        if (count > best) {
            best = count;
            found->unit = at->unit;
        }
    }
    for (const char *at = first->name; *at; at++) {
        if (*at == ':') {
            found->name = NULL;
        }
    }
    return DEPIN_OK;
}

int depin_put_pack(depin_writer *writer, const depin_device *device, const depin_sealing *what)
{
    const depin_reading *reading = device->config.readings;
    int64_t shift = what->wall - what->uptime; 
    int64_t base = 0;
    common shared;
    if (find_common(&shared, device, what->wall != 0)) {
        return DEPIN_E_ARGUMENT;
    }
    if (device->count > 1) {
        base = time_of(reading, shift);
    }
    depin_put_head(writer, DEPIN_CBOR_ARRAY, device->count);
    int first = shared.secondary + (shared.name != NULL) + (shared.unit != NULL) + (base != 0);
    for (const depin_reading *end = reading + device->count; reading < end; reading++) {
        int64_t after = time_of(reading, shift) - base;
        const char *own = reading->unit;
        if (shared.unit && depin_same(shared.unit, own)) {
            own = "";
        }
        /* Keys in the order of their encodings: 0, 1, 2, 6, then -1, -2, -3, -4. */
        depin_put_byte(writer, (unsigned)(DEPIN_CBOR_MAP + first + 1 + (shared.name == NULL) +
                                          (*own != 0) + (after != 0)));
        if (!shared.name) {
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
            if (shared.secondary) {
                depin_put(writer, "\x20\x18\x1a", 3); /* bver: 26 */
            }
            if (shared.name) {
                put_text(writer, BN, shared.name);
            }
            if (base != 0) {
                put_time(writer, BT, base);
            }
            if (shared.unit) {
                put_text(writer, BU, shared.unit);
            }
            first = 0;
        }
    }
    return DEPIN_OK;
}
