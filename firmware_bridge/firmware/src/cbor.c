#include "cbor.h"

#include <string.h>

size_t depin_length(const char *text)
{
    size_t size = 0;
    while (text[size] != 0) {
        size++;
    }
    return size;
}

void depin_put(depin_writer *writer, const void *data, size_t size)
{
    size_t at = writer->size;
    writer->size = at + size;
    if (size > 0 && writer->size <= writer->capacity) { /* no bytes may come as NULL */
        memcpy(writer->out + at, data, size);
    }
}

void depin_put_byte(depin_writer *writer, unsigned byte)
{
    uint8_t one = (uint8_t)byte;
    depin_put(writer, &one, 1);
}

void depin_put_head(depin_writer *writer, unsigned major, uint64_t value)
{
    uint8_t head[9];
    uint32_t part = (uint32_t)(value >> 32);
    unsigned at = 1;
    unsigned skip = 0;
    /* Big-endian, both halves with shifts of 32 bits only. */
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < 4; i++) {
            head[at++] = (uint8_t)(part >> 24);
            part <<= 8;
        }
        part = (uint32_t)value;
    }
    /* Of 8, 4, 2 or 1 bytes the fewest that hold it; below 24 none. */
    if ((uint32_t)(value >> 32) != 0) {
        major += 27;
    } else if (part >> 16 != 0) {
        major += 26;
        skip = 4;
    } else if (part >> 8 != 0) {
        major += 25;
        skip = 6;
    } else if (part >= 24) {
        major += 24;
        skip = 7;
    } else {
        major += (unsigned)part;
        skip = 8;
    }
    head[skip] = (uint8_t)major;
    depin_put(writer, head + skip, 9 - skip);
}

void depin_put_int(depin_writer *writer, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    unsigned major = DEPIN_CBOR_UINT;
    if (value < 0) {
        bits = ~bits;
        major = 0x20;
    }
    depin_put_head(writer, major, bits);
}

void depin_put_string(depin_writer *writer, unsigned major, const void *data, size_t size)
{
    depin_put_head(writer, major, size);
    depin_put(writer, data, size);
}

uint64_t depin_tenth(uint64_t value, unsigned *rest)
{
    unsigned left = 0;
    /* Long division bit by bit: small, and no helper of the compiler's on any target. */
    for (unsigned bit = 0; bit < 64; bit++) {
        left = left << 1 | (unsigned)((uint32_t)(value >> 32) >> 31);
        value <<= 1;
        if (left >= 10) {
            left -= 10;
            value |= 1;
        }
    }
    *rest = left;
    return value;
}
