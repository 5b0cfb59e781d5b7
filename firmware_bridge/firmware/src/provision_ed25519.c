/* A key in software for provisioning: Ed25519. */
#include <string.h>

#include "depin/ed25519.h"
#include "depin/provision.h"

int depin_provision_ed25519(void *context, const uint8_t *seed, depin_signer *signer)
{
    depin_ed25519 *key = context;
    if (seed == NULL)
        return -1;
    memcpy(key->seed, seed, sizeof key->seed);
    depin_ed25519_derive(key);
    memset(signer, 0, sizeof *signer);
    signer->curve = DEPIN_ED25519;
    signer->public_key = key->public_key;
    signer->sign_message = depin_ed25519_sign;
    signer->context = key;
    signer->hash = depin_ed25519_hash;
    return 0;
}
