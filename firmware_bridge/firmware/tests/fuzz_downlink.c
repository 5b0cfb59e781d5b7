/* Any bytes as a message from the network, with a verifier that takes every signature: all that can
 * happen after a signature verified is reached. The first bytes are the network's DID and the device's
 * thumbprint, so that messages made elsewhere are for this device. */
#include "hostile.h"

enum { DID = 56, HEAD = DID + 32 };

static int believe(void *context, depin_curve curve, const uint8_t *key, const depin_bytes *parts,
                   size_t count, const uint8_t signature[64])
{
    /* Every byte that a verifier reads is read: a sanitizer sees whether it may be. */
    unsigned sum = signature[63];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < parts[i].size; j++) {
            sum += parts[i].data[j];
        }
    }
    for (size_t i = 0; i < (curve == DEPIN_P256 ? 64u : 32u); i++) {
        sum += key[i];
    }
    *(volatile unsigned *)context = sum;
    return 0;
}

static int welcome(void *context, depin_curve curve, const uint8_t *key)
{
    (void)context;
    (void)curve;
    return key[31] == 0xff;
}

static void told(void *context, const uint8_t id[32], int final, depin_bytes code)
{
    unsigned *count = context;
    if (code.size < 1 || code.size > 256 || (final != 0 && final != 1)) {
        abort();
    }
    *count += id[31];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hostile world;
    char network[DID + 1];
    depin_downlink downlink;
    depin_event event;
    unsigned sum = 0, count = 0;

    if (size < HEAD) {
        return 0;
    }
    memcpy(network, data, DID);
    network[DID] = 0;
    if (strlen(network) < 24) {
        return 0;
    }
    memset(&world, 0xff, sizeof world);
    hostile_begin(&world, network);
    memcpy(world.device.thumbprint, data + DID, 32);
    if (depin_downlink_init(&downlink, &world.device, believe, welcome, &sum) != DEPIN_OK) {
        return 0;
    }
    downlink.acknowledged = told;
    downlink.acknowledged_context = &count;
    data += HEAD;
    size -= HEAD;
    /* Messages one after another, each with its size in two bytes before it. */
    while (size >= 2) {
        size_t length = (size_t)data[0] << 8 | data[1];
        depin_bytes message;
        uint8_t *copy;
        int status;
        data += 2;
        size -= 2;
        length = length < size ? length : size;
        copy = malloc(length + 1); /* of its own, so that reading past it is seen */
        if (copy == NULL) {
            abort();
        }
        copy = memcpy(copy, data, length);
        copy = realloc(copy, length ? length : 1);
        message.data = copy;
        message.size = length;
        status = depin_downlink_take(&downlink, message, &event);
        if (status > 0 || downlink.card.count > DEPIN_CARD_KEYS || world.device.beacon_size > 32) {
            abort();
        }
        free(copy);
        data += length;
        size -= length;
    }
    return 0;
}
