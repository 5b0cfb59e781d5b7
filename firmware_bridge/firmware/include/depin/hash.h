/* SHA-256 and SHA-512 (FIPS 180-4) over pieces. */
#ifndef DEPIN_HASH_H
#define DEPIN_HASH_H

#include "depin.h"

#ifdef __cplusplus
extern "C" {
#endif

void depin_sha256(const depin_bytes *parts, size_t count, uint8_t digest[32]);
void depin_sha512(const depin_bytes *parts, size_t count, uint8_t digest[64]);

#ifdef __cplusplus
}
#endif
#endif
