#include "depin_p256.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <string.h>

#include "depin/hash.h"

int depin_p256_derive(depin_p256 *key)
{
    uint8_t point[65];
    int failed = 1;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *secret = BN_bin2bn(key->secret, sizeof key->secret, NULL);
    EC_POINT *public_key = group == NULL ? NULL : EC_POINT_new(group);
    if (group != NULL && secret != NULL && public_key != NULL && !BN_is_zero(secret) &&
        BN_cmp(secret, EC_GROUP_get0_order(group)) < 0 &&
        EC_POINT_mul(group, public_key, secret, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, public_key, POINT_CONVERSION_UNCOMPRESSED, point, sizeof point,
                           NULL) == sizeof point) {
        memcpy(key->public_key, point + 1, sizeof key->public_key);
        failed = 0;
    }
    EC_POINT_free(public_key);
    BN_clear_free(secret);
    EC_GROUP_free(group);
    return failed;
}

/* A key of OpenSSL's; with secret NULL a public one. */
static EVP_PKEY *make_key(const uint8_t *point, size_t size, const uint8_t *secret)
{
    EVP_PKEY *made = NULL;
    OSSL_PARAM *params = NULL;
    BIGNUM *number = secret == NULL ? NULL : BN_bin2bn(secret, 32, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    int what = secret == NULL ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR;
    if (builder != NULL && context != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, size) &&
        (secret == NULL ||
         (number != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number))) &&
        (params = OSSL_PARAM_BLD_to_param(builder)) != NULL &&
        EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &made, what, params) != 1)
        made = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    BN_clear_free(number);
    return made;
}

int depin_p256_sign(void *context, const uint8_t *digest, uint8_t *signature)
{
    const depin_p256 *key = context;
    uint8_t point[65], der[80];
    size_t size = sizeof der;
    int failed = 1;
    point[0] = 4;
    memcpy(point + 1, key->public_key, sizeof key->public_key);
    EVP_PKEY *pkey = make_key(point, sizeof point, key->secret);
    EVP_PKEY_CTX *signer = pkey == NULL ? NULL : EVP_PKEY_CTX_new(pkey, NULL);
    ECDSA_SIG *pair = NULL;
    if (signer != NULL && EVP_PKEY_sign_init(signer) == 1 &&
        EVP_PKEY_sign(signer, der, &size, digest, 32) == 1) {
        const uint8_t *at = der;
        pair = d2i_ECDSA_SIG(NULL, &at, (long)size);
    }
    if (pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, 32) == 32 &&
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + 32, 32) == 32) {
        depin_p256_low(signature);
        failed = 0;
    }
    ECDSA_SIG_free(pair);
    EVP_PKEY_CTX_free(signer);
    EVP_PKEY_free(pkey);
    return failed;
}

/* Whether s is at most half the order: else the same signature has a second spelling. */
static int is_low(const uint8_t s[32])
{
    static const uint8_t half[32] = {
        0x7F, 0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00, 0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xDE, 0x73, 0x7D, 0x56, 0xD3, 0x8B, 0xCF, 0x42, 0x79, 0xDC, 0xE5, 0x61, 0x7E, 0x31,
        0x92, 0xA8,
    };
    return memcmp(s, half, sizeof half) <= 0;
}

int depin_p256_verify(void *context, depin_curve curve, const uint8_t *public_key,
                      const depin_bytes *parts, size_t count, const uint8_t signature[64])
{
    uint8_t digest[32], *der = NULL;
    int failed = 1;
    (void)context;
    if (curve != DEPIN_P256 || !is_low(signature + 32))
        return -1;
    depin_sha256(parts, count, digest);
    EVP_PKEY *pkey = make_key(public_key, 33, NULL);
    EVP_PKEY_CTX *verifier = pkey == NULL ? NULL : EVP_PKEY_CTX_new(pkey, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, 32, NULL), *s = BN_bin2bn(signature + 32, 32, NULL);
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        int size = i2d_ECDSA_SIG(pair, &der);
        if (verifier != NULL && size > 0 && EVP_PKEY_verify_init(verifier) == 1 &&
            EVP_PKEY_verify(verifier, der, (size_t)size, digest, sizeof digest) == 1)
            failed = 0;
    }
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    EVP_PKEY_CTX_free(verifier);
    EVP_PKEY_free(pkey);
    return failed;
}

int depin_p256_admit(void *context, depin_curve curve, const uint8_t *public_key)
{
    (void)context;
    if (curve != DEPIN_P256 || (public_key[0] != 2 && public_key[0] != 3))
        return -1;
    EVP_PKEY *pkey = make_key(public_key, 33, NULL);
    EVP_PKEY_free(pkey);
    return pkey == NULL;
}

int depin_p256_open(void *context, const uint8_t *seed, depin_signer *signer)
{
    depin_p256 *key = context;
    if (seed == NULL)
        return -1;
    memcpy(key->secret, seed, sizeof key->secret);
    if (depin_p256_derive(key) != 0)
        return -1;
    memset(signer, 0, sizeof *signer);
    signer->curve = DEPIN_P256;
    signer->public_key = key->public_key;
    signer->sign_digest = depin_p256_sign;
    signer->context = key;
    signer->hash = depin_software_hash;
    return 0;
}
