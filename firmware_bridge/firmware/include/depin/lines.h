/* The device's end of a serial line to a bridge or a provisioning station (docs/device-lines.md).
 *
 * Optional. Bytes come in one by one; answers go out through `write`. What the lines ask for is done
 * by callbacks, so that a maker decides what his device lets others do, and until when.
 */
#ifndef DEPIN_LINES_H
#define DEPIN_LINES_H

#include "depin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DEPIN_LINES_ARGUMENTS 7 /* words after the verb; a line with more is dropped */

typedef struct depin_lines depin_lines;

struct depin_lines {
    char *buffer;     /* of one line in, with its end */
    size_t capacity;  /* of it, at least 16 */
    size_t used;      /* private, 0 at first */
    uint32_t dropped; /* lines that were too long, or whose form or checksum was wrong */
    uint8_t skipping; /* private: an overlong line is given up to its end */
    /* A piece of a line out; a line comes in several pieces. */
    void (*write)(void *context, const char *text, size_t size);
    /* A whole line whose checksum held: its verb, and its arguments split at spaces. The texts are in
     * the buffer: they may be changed, and are wiped after the call. */
    void (*handle)(void *context, depin_lines *lines, const char *verb, char **arguments,
                   size_t count);
    void *context;
};

/* Feed one byte that came in. */
void depin_lines_feed(depin_lines *lines, char byte);

/* Write a line: verb, then texts separated by spaces (NULL ends the list), checksum, end. */
void depin_lines_say(depin_lines *lines, const char *verb, const char *const *texts);

/* Write a line: verb, texts (may be NULL), and bytes in hexadecimal as the last word. */
void depin_lines_send(depin_lines *lines, const char *verb, const char *const *texts,
                      depin_bytes bytes);

/* Hexadecimal text (lower case) to bytes, in place; gives how many, or -1. */
long depin_lines_bytes(char *text);

/* CRC-32 (IEEE 802.3), without a table. */
uint32_t depin_lines_crc(const void *data, size_t size);

/* Whether two texts are the same. */
int depin_lines_equal(const char *one, const char *other);

#ifdef __cplusplus
}
#endif
#endif
