/* One case of the corpus, on any target: tests/firmware/corpus.py has the format. */
#ifndef DEPIN_TESTS_REPLAY_H
#define DEPIN_TESTS_REPLAY_H

#include <stddef.h>
#include <stdint.h>

/* Run a case and write its answer: a status (one byte, 0 or the negated depin_status), then what was
 * made. Gives the size of the answer, or 0 when the case is not of this format or `out` too small. */
size_t depin_replay(const uint8_t *bytes, size_t size, uint8_t *out, size_t capacity);

#endif
