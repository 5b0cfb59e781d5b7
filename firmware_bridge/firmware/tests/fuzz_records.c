/* Any bytes in storage: position and card records. A device may refuse to sign; it never signs two
 * things under one position, nor reads outside of a record. With the first byte odd, the checksums are
 * made right, as somebody would who writes storage on purpose. */
#include "depin/hash.h"
#include "hostile.h"

static const char NETWORK[] = "did:key:z6MkhjYWn3d8FASyKVrzCdpJ48qBwfNwkJ1ogAPhcw8tXjfr";

static void seal_card(hostile *world, unsigned slot)
{
    depin_card card;
    uint8_t digest[32];
    depin_bytes parts[2] = {{(const uint8_t *)NETWORK, sizeof NETWORK - 1},
                            {world->slots[slot], offsetof(depin_card, check)}};
    depin_sha256(parts, 2, digest);
    memcpy(world->slots[slot] + sizeof card - sizeof card.check, digest, sizeof card.check);
}

static void seal_position(hostile *world, unsigned slot)
{
    uint8_t *record = world->slots[slot];
    depin_bytes parts[3] = {{record, 32},
                            {world->device.thumbprint, 32},
                            {(const uint8_t *)NETWORK, sizeof NETWORK - 1}};
    depin_sha256(parts, 3, record + 32);
}

static int deny(void *context, depin_curve curve, const uint8_t *key, const depin_bytes *parts,
                size_t count, const uint8_t signature[64])
{
    (void)context, (void)curve, (void)key, (void)parts, (void)count, (void)signature;
    return 1;
}

static int sealed_at(hostile *world, uint32_t *epoch, uint32_t *n)
{
    uint8_t out[512];
    size_t size = 0;
    int status;

    status = depin_add(&world->device, "t", "Cel", 215, -1, 5000);
    if (status != DEPIN_OK && status != DEPIN_E_FULL) {
        abort();
    }
    status = depin_seal(&world->device, out, sizeof out, &size);
    *epoch = world->device.epoch;
    *n = world->device.next;
    if (status == DEPIN_OK && (size == 0 || size > sizeof out || *n == 0)) {
        abort();
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hostile world;
    depin_downlink downlink;
    depin_event event;
    depin_bytes message;
    uint32_t epoch, n, later, again;
    int forged;

    if (size < 1) {
        return 0;
    }
    forged = *data++ & 1;
    size--;
    memset(&world, 0xff, sizeof world);
    for (unsigned slot = 0; slot < 4; slot++) {
        size_t record = slot < 2 ? DEPIN_POSITION_BYTES : HOSTILE_SLOT;
        size_t length = size < record ? size : record;
        memcpy(world.slots[slot], data, length);
        data += length;
        size -= length;
    }
    hostile_begin(&world, NETWORK);
    if (forged) {
        seal_position(&world, 0);
        seal_position(&world, 1);
        seal_card(&world, 2);
        seal_card(&world, 3);
    }
    if (depin_downlink_init(&downlink, &world.device, deny, NULL, NULL) != DEPIN_OK ||
        downlink.card.count > DEPIN_CARD_KEYS) {
        abort();
    }
    message.data = data;
    message.size = size;
    if (depin_downlink_take(&downlink, message, &event) == DEPIN_OK) {
        abort(); /* whatever keys lie in storage, nothing verifies */
    }
    if (sealed_at(&world, &epoch, &n) == DEPIN_OK) {
        if (sealed_at(&world, &later, &again) != DEPIN_OK || later != epoch || again != n + 1) {
            abort();
        }
        /* The next boot. */
        hostile_begin(&world, NETWORK);
        if (sealed_at(&world, &later, &again) == DEPIN_OK && later <= epoch) {
            abort();
        }
    }
    return 0;
}
