/* Where a device stands: the boot epoch in two records, written in turn (depin_id.position).
 *
 *     0   4  magic: "DPP1" an epoch that may be used up, "DPW1" a nonce that waits for its resume
 *     4   4  epoch, little-endian
 *     8  16  nonce
 *    24   8  zeros
 *    32  32  SHA-256 of what is before, the key's thumbprint and the network's DID
 *
 * The checksum binds a record to one device in one network: a copied one is no position. Of two good
 * records that with the higher epoch is the newer. A store that was cut off damages one record, and
 * nothing was signed under what it was to hold. With one record damaged the other may be one epoch
 * behind: the next boot skips one, and writes both before anything is signed.
 */
#include <string.h>

#include "seal.h"

enum { BODY = 32, NONCE_AT = 8, NONCE = 16 };

static void check_of(const depin_device *device, const uint8_t *record, uint8_t check[32])
{
    const char *network = device->config.network;
    depin_bytes parts[3] = {
        {record, BODY},
        {device->thumbprint, sizeof device->thumbprint},
        {(const uint8_t *)network, depin_length(network)},
    };
    depin_sha256(parts, 3, check);
}

static int write_slot(const depin_device *device, unsigned slot, uint32_t epoch,
                      const uint8_t *nonce)
{
    uint8_t record[DEPIN_POSITION_BYTES];
    memset(record, 0, BODY);
    memcpy(record, nonce ? "DPW1" : "DPP1", 4);
    for (unsigned i = 4; i < 8; i++) {
        record[i] = (uint8_t)epoch;
        epoch >>= 8;
    }
    if (nonce) {
        memcpy(record + NONCE_AT, nonce, NONCE);
    }
    check_of(device, record, record + BODY);
    const depin_storage *storage = device->config.storage;
    return storage->store(storage->context, slot, record, sizeof record) ? DEPIN_E_STORAGE
                                                                        : DEPIN_OK;
}

/* What the two slots say. */
typedef struct reading {
    uint8_t good[2];    /* whether a record holds an epoch */
    uint8_t waiting;    /* whether one holds a nonce */
    uint8_t nonce[NONCE];
    uint32_t epoch[2];  /* 0 where it is not good */
} reading;

static int read_slots(const depin_device *device, reading *found)
{
    const depin_storage *storage = device->config.storage;
    memset(found, 0, sizeof *found);
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t record[DEPIN_POSITION_BYTES];
        uint8_t check[32];
        if (storage->load(storage->context, slot, record, sizeof record)) {
            return DEPIN_E_STORAGE;
        }
        check_of(device, record, check);
        if (memcmp(check, record + BODY, sizeof check) != 0) {
            continue;
        }
        if (memcmp(record, "DPP1", 4) == 0) {
            found->good[slot] = 1;
            for (unsigned i = 8; i > 4;) {
                found->epoch[slot] = found->epoch[slot] << 8 | record[--i];
            }
        } else if (memcmp(record, "DPW1", 4) == 0) {
            found->waiting = 1;
            memcpy(found->nonce, record + NONCE_AT, NONCE);
        }
    }
    return DEPIN_OK;
}

/* Make `epoch` this boot's. The older or damaged record first: the good one stays until then. */
static int enter(depin_device *device, unsigned first, uint32_t epoch, int both)
{
    int status = write_slot(device, first, epoch, NULL);
    if (status == DEPIN_OK && both) {
        status = write_slot(device, first ^ 1, epoch, NULL);
    }
    if (status == DEPIN_OK) {
        device->epoch = epoch;
        device->next = 0;
        memset(device->prev, 0, sizeof device->prev);
        device->state = DEPIN_STATE_BEGUN;
    }
    return status;
}

int depin_position_begin(depin_device *device)
{
    if (device->state == DEPIN_STATE_BEGUN) {
        return DEPIN_OK;
    }
    reading found;
    int status = read_slots(device, &found);
    if (status != DEPIN_OK) {
        return status;
    }
    unsigned good = found.good[0] + found.good[1];
    if (good == 0) {
        return DEPIN_E_LOST;
    }
    /* A damaged record has epoch 0 here, so it is the one that is written first. */
    unsigned first = found.good[0] && (!found.good[1] || found.epoch[0] > found.epoch[1]);
    uint32_t last = found.epoch[first ^ 1];
    uint32_t step = 3 - good;
    if (last > UINT32_MAX - step) {
        return DEPIN_E_EXHAUSTED;
    }
    return enter(device, first, last + step, good < 2);
}

int depin_position_create(depin_device *device)
{
    reading found;
    int status = read_slots(device, &found);
    if (status != DEPIN_OK) {
        return status;
    }
    if (found.good[0] || found.good[1] || found.waiting) {
        return DEPIN_E_ARGUMENT;
    }
    status = write_slot(device, 0, 0, NULL);
    return status == DEPIN_OK ? write_slot(device, 1, 0, NULL) : status;
}

int depin_position_resume_nonce(depin_device *device, int (*random)(void *, uint8_t *, size_t),
                                void *context, uint8_t nonce[16])
{
    reading found;
    int status = read_slots(device, &found);
    if (status != DEPIN_OK) {
        return status;
    }
    if (found.good[0] || found.good[1]) {
        return DEPIN_E_ARGUMENT;
    }
    if (!found.waiting) {
        if (random(context, found.nonce, NONCE)) {
            return DEPIN_E_RANDOM;
        }
        status = write_slot(device, 0, 0, found.nonce);
    }
    if (status == DEPIN_OK) {
        memcpy(nonce, found.nonce, NONCE);
    }
    return status;
}

int depin_position_resume(depin_device *device, const uint8_t nonce[16], uint32_t floor)
{
    reading found;
    int status = read_slots(device, &found);
    if (status != DEPIN_OK) {
        return status;
    }
    /* An epoch in either record means that it was answered, or that there was no loss. */
    if (found.good[0] || found.good[1] || !found.waiting ||
        memcmp(nonce, found.nonce, NONCE) != 0) {
        return DEPIN_E_REPLAYED;
    }
    if (floor == UINT32_MAX) {
        return DEPIN_E_EXHAUSTED;
    }
    /* The record without the nonce first: cut off before it is whole, the nonce still waits. */
    return enter(device, 1, floor + 1, 1);
}
