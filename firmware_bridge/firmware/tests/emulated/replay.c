/* Runs the corpus on an emulated board. In: the file "cases"; out: the file "answers"; both in the
 * form of tests/firmware/corpus.py. */
#include <string.h>

#include "../replay.h"
#include "port.h"
#include "semihost.h"

#define ROOM 4096 /* of a case, and of an answer: the smallest board has 16 KB of RAM */

static uint8_t given[ROOM];
static uint8_t answer[4 + ROOM];

static uint32_t little(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void need(int holds, int where)
{
    if (!holds) {
        semihost_exit(where);
    }
}

static void one(intptr_t cases, intptr_t answers)
{
    need(semihost_read(cases, given, 4) == 4, 3);
    uint32_t size = little(given);
    need(size <= ROOM && semihost_read(cases, given, size) == size, 4);
    size_t made = depin_replay(given, size, answer + 4, ROOM);
    for (unsigned i = 0; i < 4; i++) {
        answer[i] = (uint8_t)(made >> 8 * i);
    }
    need(semihost_write(answers, answer, 4 + made) == 0, 5);
}

int main(void)
{
    intptr_t cases = semihost_open("cases", SEMIHOST_READ);
    intptr_t answers = semihost_open("answers", SEMIHOST_WRITE);
    need(semihost_read(cases, given, 8) == 8 && memcmp(given, "DPC1", 4) == 0, 2);
    uint32_t count = little(given + 4);
    need(semihost_write(answers, "DPA1", 4) == 0 && semihost_write(answers, given + 4, 4) == 0, 5);
    while (count-- > 0) {
        one(cases, answers);
    }
    return semihost_close(answers);
}

void port_after_cut(void)
{
    semihost_exit(1);
}
