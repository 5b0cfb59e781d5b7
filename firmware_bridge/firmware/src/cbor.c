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

int depin_same(const char *left, const char *right)
{
    while (*left == *right && *left) {
        left++;
        right++;
    }
    return *left == *right;
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
    unsigned at = sizeof head;
    do {
        head[--at] = (uint8_t)value;
        value >>= 8;
    } while (value != 0);
    unsigned size = sizeof head - at;
    if (size == 1 && head[at] < 24) {
        head[at] = (uint8_t)(head[at] + major);
    } else {
        /* As many bytes as a power of two. */
        for (; size & (size - 1); size++) {
            head[--at] = 0;
        }
        for (major += 24; size > 1; size >>= 1) {
            major++;
        }
        head[--at] = (uint8_t)major;
    }
    depin_put(writer, head + at, sizeof head - at);
}

void depin_put_int(depin_writer *writer, int64_t value)
{
    uint32_t sign = -(uint32_t)((uint64_t)value >> 63);
    uint64_t bits = (uint64_t)value ^ ((uint64_t)sign << 32 | sign);
    depin_put_head(writer, sign & DEPIN_CBOR_NEGATIVE, bits);
}

void depin_put_string(depin_writer *writer, unsigned major, const void *data, size_t size)
{
    depin_put_head(writer, major, size);
    depin_put(writer, data, size);
}

void depin_put_text(depin_writer *writer, const char *text)
{
    depin_put_string(writer, DEPIN_CBOR_TEXT, text, depin_length(text));
}

uint64_t depin_divide(uint64_t value, unsigned by, unsigned *rest)
{
    unsigned left = 0;
    /* Long division bit by bit: small, and no helper of the compiler's on any target. */
    for (unsigned bit = 0; bit < 64; bit++) {
        left = left << 1 | (unsigned)((uint32_t)(value >> 32) >> 31);
        value <<= 1;
        if (left >= by) {
            left -= by;
            value |= 1;
        }
    }
    *rest = left;
    return value;
}
