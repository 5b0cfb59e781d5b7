#include "depin_psa.h"

#include <string.h>

int depin_psa_sign(void *context, const uint8_t *digest, uint8_t *signature)
{
    const depin_psa *psa = context;
    size_t size = 0;
    if (psa_sign_hash(psa->key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), digest, 32, signature, 64, &size) !=
            PSA_SUCCESS ||
        size != 64)
        return -1;
    depin_p256_low(signature);
    return 0;
}

int depin_psa_hash(void *context, const depin_bytes *parts, size_t count, uint8_t *digest)
{
    psa_hash_operation_t operation = PSA_HASH_OPERATION_INIT;
    size_t size = 0;
    (void)context;
    psa_status_t status = psa_hash_setup(&operation, PSA_ALG_SHA_256);
    for (; count > 0 && status == PSA_SUCCESS; parts++, count--)
        status = psa_hash_update(&operation, parts->data, parts->size);
    if (status == PSA_SUCCESS)
        status = psa_hash_finish(&operation, digest, 32, &size);
    (void)psa_hash_abort(&operation);
    return status != PSA_SUCCESS || size != 32;
}

int depin_psa_open(void *context, const uint8_t *seed, depin_signer *signer)
{
    depin_psa *psa = context;
    size_t size = 0;
    if (seed != NULL || psa_crypto_init() != PSA_SUCCESS ||
        psa_export_public_key(psa->key, psa->public_key, sizeof psa->public_key, &size) !=
            PSA_SUCCESS ||
        size != sizeof psa->public_key)
        return -1;
    memset(signer, 0, sizeof *signer);
    signer->curve = DEPIN_P256;
    signer->public_key = psa->public_key + 1; /* after the 04 of an uncompressed point */
    signer->sign_digest = depin_psa_sign;
    signer->context = psa;
    signer->hash = depin_psa_hash;
    return 0;
}

int depin_psa_make(void *context)
{
    depin_psa *psa = context;
    psa_key_attributes_t about = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t made = psa->key;
    psa_set_key_id(&about, psa->key);
    psa_set_key_lifetime(&about, PSA_KEY_LIFETIME_PERSISTENT);
    psa_set_key_type(&about, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&about, 256);
    /* Neither export nor copy: what makes it here stays here. */
    psa_set_key_usage_flags(&about, PSA_KEY_USAGE_SIGN_HASH);
    psa_set_key_algorithm(&about, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    if (psa_crypto_init() != PSA_SUCCESS)
        return -1;
    psa_status_t status = psa_generate_key(&about, &made);
    return status != PSA_SUCCESS && status != PSA_ERROR_ALREADY_EXISTS;
}

int depin_psa_random(void *context, uint8_t *out, size_t size)
{
    (void)context;
    return psa_crypto_init() != PSA_SUCCESS || psa_generate_random(out, size) != PSA_SUCCESS;
}
