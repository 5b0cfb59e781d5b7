/* Writing deterministic CBOR (RFC 8949, section 4.2.1). Private to the library. */
#ifndef DEPIN_SRC_CBOR_H
#define DEPIN_SRC_CBOR_H

#include "depin/depin.h"

/* Major types, as the upper three bits of a head. */
enum {
    DEPIN_CBOR_UINT = 0x00,
    DEPIN_CBOR_NEGATIVE = 0x20,
    DEPIN_CBOR_BYTES = 0x40,
    DEPIN_CBOR_TEXT = 0x60,
    DEPIN_CBOR_ARRAY = 0x80,
    DEPIN_CBOR_MAP = 0xa0,
    DEPIN_CBOR_NULL = 0xf6,
};

/* Whatever does not fit is counted and not written, so one pass without room tells the size. */
typedef struct depin_writer {
    uint8_t *out;
    size_t capacity;
    size_t size;
} depin_writer;

void depin_put(depin_writer *writer, const void *data, size_t size);
void depin_put_byte(depin_writer *writer, unsigned byte);
void depin_put_head(depin_writer *writer, unsigned major, uint64_t value);
void depin_put_int(depin_writer *writer, int64_t value);
void depin_put_string(depin_writer *writer, unsigned major, const void *data, size_t size);
void depin_put_text(depin_writer *writer, const char *text);

size_t depin_length(const char *text);
int depin_same(const char *left, const char *right);

/* Quotient of a division by at most 1000, without the compiler's division; the rest is left in *rest. */
uint64_t depin_divide(uint64_t value, unsigned by, unsigned *rest);

#endif
