/* Ed25519 as RFC 8032 has it: Monocypher's arithmetic with SHA-512, for Monocypher's own signatures
 * hash with BLAKE2b.
 *
 * Monocypher is taken in as source: its check of a signature multiplies by the cofactor and so takes
 * signatures that Python (libsodium) refuses, and its points are not in its interface. Do not build
 * monocypher.c beside this file. What is not used of it goes with -ffunction-sections and
 * --gc-sections.
 */
#include "depin/ed25519.h"

#include <string.h>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#if defined(DEPIN_ED25519_FAST)
#include "monocypher.c"
#else
#include "monocypher_small.c" /* squares are products: smaller, and slower */
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "sha512.h"

/* Of a seed: the secret scalar, and the prefix of what makes nonces. */
static void expand(const depin_ed25519 *key, uint8_t secret[64])
{
    depin_bytes seed = {key->seed, sizeof key->seed};
    depin_sha512_after(NULL, 0, &seed, 1, secret);
    crypto_eddsa_trim_scalar(secret, secret);
}

void depin_ed25519_derive(depin_ed25519 *key)
{
    uint8_t secret[64];
    expand(key, secret);
    crypto_eddsa_scalarbase(key->public_key, secret);
    crypto_wipe(secret, sizeof secret);
}

static void hash_reduced(const depin_bytes *before, size_t before_count, const depin_bytes *parts,
                         size_t count, uint8_t reduced[32])
{
    uint8_t digest[64];
    depin_sha512_after(before, before_count, parts, count, digest);
    crypto_eddsa_reduce(reduced, digest);
    crypto_wipe(digest, sizeof digest);
}

int depin_ed25519_sign(void *context, const depin_bytes *parts, size_t count, uint8_t *signature)
{
    const depin_ed25519 *key = context;
    uint8_t secret[64];
    uint8_t nonce[32];
    uint8_t challenge[32];
    expand(key, secret);
    depin_bytes before[2] = {{secret + 32, 32}, {key->public_key, sizeof key->public_key}};
    hash_reduced(before, 1, parts, count, nonce);
    crypto_eddsa_scalarbase(signature, nonce);
    before[0].data = signature;
    hash_reduced(before, 2, parts, count, challenge);
    crypto_eddsa_mul_add(signature + 32, challenge, secret, nonce);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(nonce, sizeof nonce);
    return 0;
}

static const uint8_t one[32] = {1}; /* as a scalar, and as the encoding of the neutral point */

static const uint8_t order[32] = {
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
};

/* point = -[scalar]encoded; not 0 when that is no canonical encoding of a point. Variable time. */
static int multiply_point(ge *point, const uint8_t encoded[32], const uint8_t scalar[32])
{
    ge base;
    ge_cached cached;
    uint8_t again[32];
    if (ge_frombytes_neg_vartime(&base, encoded)) {
        return -1;
    }
    /* It is the negative: with the sign turned it has to be what was given. */
    ge_tobytes(again, &base);
    again[31] ^= 0x80;
    if (memcmp(again, encoded, sizeof again) != 0) {
        return -1;
    }
    ge_cache(&cached, &base);
    ge_zero(point);
    for (int bit = 255; bit >= 0; bit--) {
        ge_double(point, point, &base);
        if (scalar_bit(scalar, bit)) {
            ge_add(point, point, &cached);
        }
    }
    return 0;
}

/* Whether [scalar]encoded is the neutral point, of what encodes a point. `point` is the caller's, to be
 * written over: the stack has room for it once. */
static int vanishes(ge *point, const uint8_t encoded[32], const uint8_t scalar[32])
{
    uint8_t product[32];
    if (multiply_point(point, encoded, scalar)) {
        return -1;
    }
    ge_tobytes(product, point);
    return memcmp(product, one, sizeof product) == 0;
}

int depin_ed25519_admit(void *context, depin_curve curve, const uint8_t *public_key)
{
    ge point;
    (void)context;
    /* The neutral point has a second spelling, so it is looked for as a point. */
    return curve == DEPIN_ED25519 && vanishes(&point, public_key, one) == 0 &&
                   vanishes(&point, public_key, order) == 1
               ? 0
               : -1;
}

/* Whether little-endian s is below the order. */
static int is_canonical(const uint8_t s[32])
{
    int carry = 0;
    for (unsigned i = 0; i < 32; i++) {
        carry = (carry + s[i] - order[i]) >> 8;
    }
    return carry < 0;
}

int depin_ed25519_verify(void *context, depin_curve curve, const uint8_t *public_key,
                         const depin_bytes *parts, size_t count, const uint8_t signature[64])
{
    static const uint8_t cofactor[32] = {8};
    ge point;
    (void)context;
    if (curve != DEPIN_ED25519 || !is_canonical(signature + 32) ||
        vanishes(&point, public_key, cofactor) != 0 ||
        vanishes(&point, signature, cofactor) != 0) {
        return -1;
    }
    uint8_t challenge[32];
    depin_bytes before[2] = {{signature, 32}, {public_key, 32}};
    hash_reduced(before, 2, parts, count, challenge);
    ge_cached cached;
    uint8_t expected[32];
    if (multiply_point(&point, public_key, challenge)) {
        return -1;
    }
    ge_cache(&cached, &point);
    ge_scalarmult_base(&point, signature + 32);
    ge_add(&point, &point, &cached);
    ge_tobytes(expected, &point);
    return memcmp(expected, signature, sizeof expected) == 0 ? 0 : -1;
}
