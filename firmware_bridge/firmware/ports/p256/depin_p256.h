/* P-256 in software by OpenSSL's libcrypto: for POSIX systems, and for tests of what chips do. */
#ifndef DEPIN_P256_H
#define DEPIN_P256_H

#include "depin/depin.h"
#include "depin/downlink.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct depin_p256 {
    uint8_t secret[32];
    uint8_t public_key[64]; /* x || y */
} depin_p256;

/* The public key of key->secret. Not 0 when it is no secret key: 0, or not below the order. */
int depin_p256_derive(depin_p256 *key);

/* A depin_signer's sign_digest; the context is the depin_p256. */
int depin_p256_sign(void *context, const uint8_t *digest, uint8_t *signature);

/* A depin_verify for P-256 keys; a high s does not verify. */
int depin_p256_verify(void *context, depin_curve curve, const uint8_t *public_key,
                      const depin_bytes *parts, size_t count, const uint8_t signature[64]);

/* A depin_admit for P-256 keys: a point of the curve. */
int depin_p256_admit(void *context, depin_curve curve, const uint8_t *public_key);

/* A depin_key_place's open (depin/provision.h) for a key in software. */
int depin_p256_open(void *context, const uint8_t *seed, depin_signer *signer);

#ifdef __cplusplus
}
#endif
#endif
