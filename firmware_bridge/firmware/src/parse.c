#include "parse.h"

static void fail(depin_reader *reader)
{
    reader->at = reader->end;
    reader->failed = 1;
}

static unsigned next(depin_reader *reader)
{
    if (reader->at == reader->end) {
        reader->failed = 1;
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
    unsigned width = 1;

    if (info < 24) {
        return info;
    }
    info -= 24;
    if (info < 4) {
        for (width <<= info; width > 0; width--) {
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
    unsigned more = 0, low = 0x80, high = 0xbf;
    size_t count = 0;

    while (text != end) {
        unsigned c = *text++;
        if (more > 0) {
            if (c < low || c > high) {
                return 0;
            }
            low = 0x80;
            high = 0xbf;
            more--;
            continue;
        }
        count++;
        if (c < 0x80 ? set_of(c) < set : set != DEPIN_ANY || c - 0xc2 > 0xf4 - 0xc2) {
            return 0;
        }
        if (c >= 0xc2) {
            more = 1u + (c >= 0xe0) + (c >= 0xf0);
            /* Overlong forms, surrogates, and what lies beyond Unicode. */
            if (c == 0xe0) {
                low = 0xa0;
            } else if (c == 0xed) {
                high = 0x9f;
            } else if (c == 0xf0) {
                low = 0x90;
            } else if (c == 0xf4) {
                high = 0x8f;
            }
        }
    }
    return more > 0 ? 0 : count;
}

static void read_one(depin_reader *reader, const depin_field *field, depin_value *value)
{
    unsigned major = field->type & 0xe0, first;
    uint64_t number;
    size_t size;

    value->bytes.size = 0;
    value->number = 0;
    if (field->lead != DEPIN_BARE && next(reader) != field->lead) {
        reader->failed = 1;
    }
    first = next(reader);
    if (first == DEPIN_CBOR_NULL && (field->type & DEPIN_OR_NULL)) {
        return;
    }
    number = argument(reader, first & 31);
    if ((first & 0xe0) != major || number < field->least) {
        reader->failed = 1;
    }
    if (major != DEPIN_CBOR_BYTES && major != DEPIN_CBOR_TEXT) {
        if (number > (uint64_t)1 << field->most) {
            reader->failed = 1;
        }
        if (!reader->failed) {
            value->number = number; /* else 0: nothing is counted up to what was refused */
        }
        return;
    }
    if (reader->failed || number > (size_t)(reader->end - reader->at)) {
        fail(reader);
        return;
    }
    value->bytes.data = reader->at;
    value->bytes.size = size = (size_t)number;
    reader->at += size;
    if (major == DEPIN_CBOR_TEXT) {
        size = characters(value->bytes.data, reader->at, field->type & 0x06);
    }
    if (size < field->least || (field->most != 0 && size > field->most)) {
        reader->failed = 1;
    }
}

void depin_read(depin_reader *reader, const depin_field *fields, size_t count, depin_value *values)
{
    while (count-- > 0) {
        read_one(reader, fields++, values++);
    }
}

int depin_read_end(const depin_reader *reader)
{
    return reader->failed || reader->at != reader->end ? DEPIN_E_MALFORMED : DEPIN_OK;
}
