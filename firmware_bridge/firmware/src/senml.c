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
        depin_put_byte(writer, (unsigned)(exponent < 0 ? DEPIN_CBOR_NEGATIVE - 1 - exponent : exponent));
    }
    depin_put_int(writer, mantissa);
}

/* Nothing for 0, as for texts that are not there. */
static void put_time(depin_writer *writer, unsigned label, int64_t ms)
{
    int exponent = -3;
    if (ms == 0) {
        return;
    }
    depin_canonical(&ms, &exponent);
    depin_put_byte(writer, label);
    put_number(writer, ms, exponent);
}

static void put_text(depin_writer *writer, unsigned label, const char *text)
{
    if (*text) {
        depin_put_byte(writer, label);
        depin_put_text(writer, text);
    }
}

static int64_t time_of(const depin_reading *reading, int64_t shift)
{
    int64_t ms = reading->time_ms;
    return ms < DEPIN_RELATIVE_MS ? ms + shift : ms;
}

int depin_put_pack(depin_writer *writer, const depin_device *device, const depin_sealing *what)
{
    const depin_reading *const first = device->config.readings;
    const depin_reading *const end = first + device->count;
    const int64_t shift = what->wall - what->uptime;
    const char *name = "";  /* what all have, if it has no ':' */
    const char *unit = "";  /* the most frequent, the first seen of several, when all have one, and twice */
    int64_t base = 0;
    unsigned secondary = 0;
    unsigned best = 1;
    if (device->count > 1) {
        name = first->name;
        base = time_of(first, shift);
    }
    for (const char *at = name; *at; at++) {
        if (*at == ':') {
            name = "";
            break;
        }
    }
    for (const depin_reading *at = first; at < end; at++) {
        if (!what->wall && at->time_ms >= DEPIN_RELATIVE_MS) {
            return DEPIN_E_ARGUMENT;
        }
        if (!depin_same(at->name, first->name)) {
            name = "";
        }
        if (device->config.secondary && device->config.secondary(at->unit)) {
            secondary = 3;
        }
        /* Counting forward only: a unit is counted in full where it is seen first. */
        unsigned count = 0;
        for (const depin_reading *other = at; other < end; other++) {
            count += (unsigned)depin_same(at->unit, other->unit);
        }
        if (!*at->unit) {
            count = UINT16_MAX; /* more than any unit reaches: it stays empty */
        }
        if (count > best) {
            best = count;
            unit = at->unit;
        }
    }
    depin_put_head(writer, DEPIN_CBOR_ARRAY, device->count);
    unsigned shared = (secondary != 0) + (*name != 0) + (*unit != 0) + (base != 0);
    for (const depin_reading *at = first; at < end; at++) {
        int64_t after = time_of(at, shift) - base;
        const char *own_name = *name ? "" : at->name;
        const char *own = depin_same(unit, at->unit) ? "" : at->unit;
        /* Keys in the order of their encodings: 0, 1, 2, 6, then -1, -2, -3, -4. */
        depin_put_byte(writer, DEPIN_CBOR_MAP + shared + 1 + (*own_name != 0) + (*own != 0) +
                                   (after != 0));
        put_text(writer, N, own_name);
        put_text(writer, U, own);
        depin_put_byte(writer, V);
        put_number(writer, at->mantissa, at->exponent);
        put_time(writer, T, after);
        if (at == first) {
            depin_put(writer, "\x20\x18\x1a", secondary); /* bver: 26 */
            put_text(writer, BN, name);
            put_time(writer, BT, base);
            put_text(writer, BU, unit);
            shared = 0;
        }
    }
    return DEPIN_OK;
}
