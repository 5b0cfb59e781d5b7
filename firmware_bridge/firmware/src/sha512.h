/* Private to the library. */
#ifndef DEPIN_SRC_SHA512_H
#define DEPIN_SRC_SHA512_H

#include "depin/hash.h"

/* SHA-512 over two lists of parts, one after the other. */
void depin_sha512_after(const depin_bytes *before, size_t before_count, const depin_bytes *parts,
                        size_t count, uint8_t digest[64]);

/* SHA-256 with the state at first and the constants in every step-th word of a table. */
void depin_sha256_by(const uint32_t *table, unsigned step, const depin_bytes *parts, size_t count,
                     uint8_t *digest);

#endif
