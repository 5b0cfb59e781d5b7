/* What the fuzz targets share: a device in memory whose storage, clock and verifier are test doubles. */
#ifndef DEPIN_TESTS_HOSTILE_H
#define DEPIN_TESTS_HOSTILE_H

#include <stdlib.h>
#include <string.h>

#include "depin/downlink.h"
#include "depin/ed25519.h"

#define HOSTILE_SLOT 640

typedef struct hostile {
    uint8_t slots[4][HOSTILE_SLOT];
    depin_ed25519 key;
    depin_signer signer;
    depin_storage storage;
    depin_clock clock;
    depin_reading readings[2];
    depin_device device;
    int64_t now;
} hostile;

static int hostile_load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    memcpy(data, ((hostile *)context)->slots[slot], size);
    return 0;
}

static int hostile_store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    memcpy(((hostile *)context)->slots[slot], data, size);
    return 0;
}

static int64_t hostile_uptime(void *context)
{
    return ++((hostile *)context)->now;
}

/* A device whose slots are as the caller left them. */
static void hostile_begin(hostile *world, const char *network)
{
    depin_config config;

    memset(world->key.seed, 7, sizeof world->key.seed);
    depin_ed25519_derive(&world->key);
    memset(&world->signer, 0, sizeof world->signer);
    world->signer.curve = DEPIN_ED25519;
    world->signer.public_key = world->key.public_key;
    world->signer.sign_message = depin_ed25519_sign;
    world->signer.context = &world->key;
    world->signer.hash = depin_software_hash;
    world->storage.load = hostile_load;
    world->storage.store = hostile_store;
    world->storage.context = world;
    world->clock.uptime_ms = hostile_uptime;
    world->clock.wall = NULL;
    world->clock.context = world;
    world->now = 0;
    memset(&config, 0, sizeof config);
    config.network = network;
    config.signer = &world->signer;
    config.storage = &world->storage;
    config.clock = &world->clock;
    config.readings = world->readings;
    config.capacity = 2;
    if (depin_init(&world->device, &config) != DEPIN_OK) {
        abort();
    }
}

#endif
