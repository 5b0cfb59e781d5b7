/* A reader of deterministic CBOR (RFC 8949, 4.2.1) that takes what a table of fields expects, or
 * fails. It copies nothing and never calls itself.
 *
 * After a failure it stands at its end and every further read fails too: the caller asks once, after
 * the last field, and uses no value before.
 */
#ifndef DEPIN_SRC_PARSE_H
#define DEPIN_SRC_PARSE_H

#include "cbor.h"

typedef struct depin_reader {
    const uint8_t *at;
    const uint8_t *end; /* NULL: it failed */
} depin_reader;

/* One field: the byte before it, and the value.
 *
 * lead: a label, the head of a container, or DEPIN_BARE for none.
 * type: major type, with DEPIN_OR_NULL, and of a text its characters.
 * least, most: byte string: its bytes, most 0 for no bound of its own. Text: its characters.
 *              Integer, array: least, and the power of two that it is at most. */
typedef struct depin_field {
    uint8_t lead, type, least, most;
} depin_field;

enum {
    DEPIN_BARE = 0xff,
    DEPIN_OR_NULL = 0x01,
    /* Characters that a text has; each set holds those after it. */
    DEPIN_ANY = 0x00,     /* UTF-8 */
    DEPIN_VISIBLE = 0x02, /* of ASCII, without the plus */
    DEPIN_PATH = 0x04,    /* A-Z a-z 0-9 . _ / : - */
    DEPIN_LABEL = 0x06,   /* a-z 0-9 - */
};

typedef struct depin_value {
    depin_bytes bytes; /* of a string; else nothing */
    uint64_t number;   /* of an integer; of an array how many */
} depin_value;

/* DEPIN_OK, or DEPIN_E_MALFORMED once anything failed. */
int depin_read(depin_reader *reader, const depin_field *fields, size_t count, depin_value *values);

/* DEPIN_OK when nothing failed and nothing follows, else DEPIN_E_MALFORMED. */
int depin_read_end(const depin_reader *reader);

#endif
