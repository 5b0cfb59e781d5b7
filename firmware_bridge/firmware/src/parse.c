#include "parse.h"

static void fail(depin_reader *reader)
{
    reader->at = reader->end = NULL;
}

static unsigned next(depin_reader *reader)
{
    if (reader->at == reader->end) {
        fail(reader);
        return 0;
    }
    return *reader->at++;
}

/* The argument of a head whose first byte was read. Only the shortest form is taken. */
static uint64_t argument(depin_reader *reader, unsigned info)
{
    /* The largest argument that still fits the next shorter head. */
    static const uint32_t shorter[4] = {23, 0xff, 0xffff, 0xffffffff};
    uint64_t value = 0;

    if (info < 24) {
        return info;
    }
    info -= 24;
    if (info < 4) {
        for (unsigned width = 1u << info; width > 0; width--) {
            value = value << 8 | next(reader);
        }
        if (value > shorter[info]) {
            return value;
        }
    }
    fail(reader);
    return 0;
}

static unsigned set_of(unsigned c)
{
    if (c - 'a' < 26 || c - '0' < 10 || c == '-') {
        return DEPIN_LABEL;
    }
    if (c - 'A' < 26 || c - '.' < 13 || c == '_') {
        return DEPIN_PATH; /* '.' to ':' are the full stop, the slash, digits and the colon */
    }
    return c - '!' < 94 && c != '+' ? DEPIN_VISIBLE : DEPIN_ANY;
}

/* How many characters of a set a text has, or 0 when it has others or is no UTF-8 (RFC 3629). */
static size_t characters(const uint8_t *text, const uint8_t *end, unsigned set)
{
    size_t count = 0;

    for (; text != end; count++) {
        unsigned c = *text++;
        if (c < 0x80 ? set_of(c) < set : set != DEPIN_ANY || c - 0xc2 > 0xf4 - 0xc2) {
            return 0;
        }
        if (c >= 0x80) {
            unsigned more = 1u + (c >= 0xe0) + (c >= 0xf0);
            unsigned code = c & (0x3fu >> more);
            for (unsigned i = more; i > 0; i--) {
                if (text == end || *text >> 6 != 2) {
                    return 0;
                }
                code = code << 6 | (*text++ & 0x3fu);
            }
            /* Overlong forms, surrogates, and what lies beyond Unicode. */
            if (code >> (5 * more + 1) == 0 || code >> 11 == 0x1b || code > 0x10ffff) {
                return 0;
            }
        }
    }
    return count;
}

static void read_one(depin_reader *reader, const depin_field *field, depin_value *value)
{
    unsigned first;
    uint64_t number;
    size_t size;
    int good;

    value->bytes.size = 0;
    value->number = 0;
    if (field->lead != DEPIN_BARE && next(reader) != field->lead) {
        fail(reader);
    }
    first = next(reader);
    if (first == DEPIN_CBOR_NULL && (field->type & DEPIN_OR_NULL)) {
        return;
    }
    number = argument(reader, first & 31);
    good = ((first ^ field->type) & 0xe0) == 0 && number >= field->least;
    if ((field->type & 0xc0) != DEPIN_CBOR_BYTES) {
        /* No shift of 64 bits by a variable: a helper of the compiler's on small processors. */
        uint64_t bound = (uint32_t)1 << (field->most & 31);
        if (field->most & 32) {
            bound <<= 32;
        }
        if (good && number <= bound) {
            value->number = number; /* else 0: nothing is counted up to what was refused */
            return;
        }
    } else if (good && number <= (size_t)(reader->end - reader->at)) {
        value->bytes.data = reader->at;
        value->bytes.size = size = (size_t)number;
        reader->at += size;
        if (field->type >= DEPIN_CBOR_TEXT) {
            size = characters(value->bytes.data, reader->at, field->type & 0x06);
        }
        if (size >= field->least && size - 1 < (field->most ? field->most : size)) {
            return;
        }
    }
    fail(reader);
}

int depin_read(depin_reader *reader, const depin_field *fields, size_t count, depin_value *values)
{
    while (count-- > 0) {
        read_one(reader, fields++, values++);
    }
    return reader->end == NULL ? DEPIN_E_MALFORMED : DEPIN_OK;
}

int depin_read_end(const depin_reader *reader)
{
    return reader->at == NULL || reader->at != reader->end ? DEPIN_E_MALFORMED : DEPIN_OK;
}
