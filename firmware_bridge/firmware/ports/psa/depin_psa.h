/* A P-256 key in PSA Crypto (Zephyr, ESP-IDF with Mbed TLS 3): it is named by its number. */
#ifndef DEPIN_PSA_H
#define DEPIN_PSA_H

#include <psa/crypto.h>

#include "depin/depin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct depin_psa {
    psa_key_id_t key; /* a persistent one of the application's range */
    uint8_t public_key[65];
} depin_psa;

/* A depin_key_place's callbacks (depin/provision.h); the context is the depin_psa. A key that is there
 * is kept by make: psa_destroy_key is the application's. Destroy it whenever the
 * records in storage are erased: a key that outlives its positions signs them again, and is suspended. */
int depin_psa_open(void *context, const uint8_t *seed, depin_signer *signer);
int depin_psa_make(void *context);
int depin_psa_random(void *context, uint8_t *out, size_t size);

/* A depin_signer's sign_digest, s made low, and hash. */
int depin_psa_sign(void *context, const uint8_t *digest, uint8_t *signature);
int depin_psa_hash(void *context, const depin_bytes *parts, size_t count, uint8_t *digest);

#ifdef __cplusplus
}
#endif
#endif
