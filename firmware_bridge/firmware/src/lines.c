/* Lines of text between a device and what stands beside it (docs/device-lines.md). */
#include <string.h>

#include "depin/lines.h"

#define CRC_DIGITS 8
#define TAIL (CRC_DIGITS + 2) /* " *" and the checksum */

static const char digits[] = "0123456789abcdef";
static const char intro[] = "depin ";
#define INTRO (sizeof intro - 1)

/* IEEE 802.3, reflected, bit by bit: a table would cost a kilobyte, and a UART is slower anyhow. */
static uint32_t crc_update(uint32_t crc, const char *text, size_t size)
{
    while (size--) {
        crc ^= (uint8_t)*text++;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return crc;
}

uint32_t depin_lines_crc(const void *data, size_t size)
{
    return ~crc_update(0xFFFFFFFFu, data, size);
}

static size_t length(const char *text)
{
    size_t size = 0;
    while (text[size] != '\0')
        size++;
    return size;
}

int depin_lines_equal(const char *one, const char *other)
{
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

/* --- out ----------------------------------------------------------------------------------------- */

static uint32_t put(depin_lines *lines, uint32_t crc, const char *text, size_t size)
{
    lines->write(lines->context, text, size);
    return crc_update(crc, text, size);
}

static uint32_t put_words(depin_lines *lines, const char *verb, const char *const *texts)
{
    uint32_t crc = put(lines, 0xFFFFFFFFu, intro, INTRO);
    crc = put(lines, crc, verb, length(verb));
    for (; texts != NULL && *texts != NULL; texts++) {
        crc = put(lines, crc, " ", 1);
        crc = put(lines, crc, *texts, length(*texts));
    }
    return crc;
}

static void put_end(depin_lines *lines, uint32_t crc)
{
    char tail[TAIL + 1];
    crc = ~crc;
    tail[0] = ' ';
    tail[1] = '*';
    for (int i = 0; i < CRC_DIGITS; i++)
        tail[2 + i] = digits[(crc >> (28 - 4 * i)) & 15u];
    tail[TAIL] = '\n';
    lines->write(lines->context, tail, sizeof tail);
}

void depin_lines_say(depin_lines *lines, const char *verb, const char *const *texts)
{
    put_end(lines, put_words(lines, verb, texts));
}

void depin_lines_send(depin_lines *lines, const char *verb, const char *const *texts,
                      depin_bytes bytes)
{
    char piece[32];
    uint32_t crc = put_words(lines, verb, texts);
    crc = put(lines, crc, " ", 1);
    size_t used = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        piece[used++] = digits[bytes.data[i] >> 4];
        piece[used++] = digits[bytes.data[i] & 15u];
        if (used == sizeof piece || i + 1 == bytes.size) {
            crc = put(lines, crc, piece, used);
            used = 0;
        }
    }
    put_end(lines, crc);
}

/* --- in ------------------------------------------------------------------------------------------ */

static int nibble(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return -1;
}

long depin_lines_bytes(char *text)
{
    uint8_t *out = (uint8_t *)text;
    long count = 0;
    for (; text[0] != '\0'; text += 2) {
        int high = nibble(text[0]);
        int low = high < 0 ? -1 : nibble(text[1]);
        if (low < 0)
            return -1;
        out[count++] = (uint8_t)(high << 4 | low);
    }
    return count;
}

/* Whether the line ends with the checksum of what is before. */
static int intact(const char *line, size_t size)
{
    if (size < INTRO + 1 + TAIL)
        return 0;
    const char *tail = line + size - TAIL;
    uint32_t said = 0;
    if (tail[0] != ' ' || tail[1] != '*')
        return 0;
    for (int i = 0; i < CRC_DIGITS; i++) {
        int value = nibble(tail[2 + i]);
        if (value < 0)
            return 0;
        said = said << 4 | (uint32_t)value;
    }
    return said == depin_lines_crc(line, size - TAIL);
}

/* Split at single spaces; gives how many words there are, or 0 when that is not their form. */
static size_t split(char *text, char *end, char **words, size_t most)
{
    size_t count = 0;
    char *word = text;
    for (char *at = text;; at++) {
        if (at != end && *at != ' ') {
            if (*at < '!' || *at > '~')
                return 0;
            continue;
        }
        if (at == word || *word == '*' || count == most)
            return 0;
        words[count++] = word;
        word = at + 1;
        if (at == end)
            break;
        *at = '\0';
    }
    *end = '\0'; /* where the checksum began */
    return count;
}

static void take(depin_lines *lines, size_t size)
{
    char *words[1 + DEPIN_LINES_ARGUMENTS];
    char *line = lines->buffer;
    size_t count;
    if (size > 0 && line[size - 1] == '\r')
        size--;
    if (size < INTRO || memcmp(line, intro, INTRO) != 0)
        return;
    if (!intact(line, size) ||
        (count = split(line + INTRO, line + size - TAIL, words, 1 + DEPIN_LINES_ARGUMENTS)) == 0) {
        lines->dropped++;
        return;
    }
    lines->handle(lines->context, lines, words[0], words + 1, count - 1);
}

void depin_lines_feed(depin_lines *lines, char byte)
{
    if (byte == '\n') {
        size_t size = lines->used;
        lines->used = 0;
        if (!lines->skipping)
            take(lines, size);
        lines->skipping = 0;
        /* A key may have come with it, wanted or not. */
        memset(lines->buffer, 0, size);
    } else if (lines->skipping) {
        return;
    } else if (lines->used + 1 >= lines->capacity) {
        if (memcmp(lines->buffer, intro, INTRO) == 0)
            lines->dropped++;
        lines->skipping = 1;
        memset(lines->buffer, 0, lines->used);
    } else {
        lines->buffer[lines->used++] = byte;
    }
}
