/* Ed25519 (RFC 8032) in software, on Monocypher's curve arithmetic and SHA-512. */
#ifndef DEPIN_ED25519_H
#define DEPIN_ED25519_H

#include "depin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A key: the seed of RFC 8032 and its public half. */
typedef struct depin_ed25519 {
    uint8_t seed[32];
    uint8_t public_key[32];
} depin_ed25519;

/* The public key of key->seed. */
void depin_ed25519_derive(depin_ed25519 *key);

/* A depin_signer's sign_message; context is the depin_ed25519. */
int depin_ed25519_sign(void *context, const depin_bytes *parts, size_t count, uint8_t *signature);

/* A depin_signer's hash beside that: SHA-256 that shares SHA-512's constants, so some 270 bytes smaller
 * than depin_software_hash there. */
int depin_ed25519_hash(void *context, const depin_bytes *parts, size_t count, uint8_t *digest);

/* A depin_verify for Ed25519 keys: canonical S, no point of small order. */
int depin_ed25519_verify(void *context, depin_curve curve, const uint8_t *public_key,
                         const depin_bytes *parts, size_t count, const uint8_t signature[64]);

/* A depin_admit for Ed25519 keys: canonical encoding of a point of prime order. */
int depin_ed25519_admit(void *context, depin_curve curve, const uint8_t *public_key);

#ifdef __cplusplus
}
#endif
#endif
