/* Where a device stands: the boot epoch in two records, written in turn (depin_id.position).
 *
 *     0   4  1 an epoch that may be used up, 2 a nonce that waits for its resume
 *     4   4  epoch; both in the byte order of the processor, for nobody else reads them
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

enum { BODY = 32, NONCE = 16, EPOCH = 1, WAITING = 2 };

typedef struct record {
    uint32_t kind;
    uint32_t epoch;
    uint8_t nonce[NONCE];
    uint8_t zeros[8];
    uint8_t check[32];
} record;

static int check_of(const depin_device *device, const record *of, uint8_t check[32])
{
    const char *network = device->config.network;
    depin_bytes parts[3] = {
        {(const uint8_t *)of, BODY},
        {device->thumbprint, sizeof device->thumbprint},
        {(const uint8_t *)network, depin_length(network)},
    };
    return depin_hash(device, parts, 3, check);
}

/* Read back as well: memory whose write protection is on takes a store and keeps what it had, and
 * every boot would begin the same epoch. */
static int write_slot(const depin_device *device, unsigned slot, record *made)
{
    const depin_storage *storage = device->config.storage;
    record there;
    return check_of(device, made, made->check) ||
                   storage->store(storage->context, slot, (const uint8_t *)made, sizeof *made) ||
                   storage->load(storage->context, slot, (uint8_t *)&there, sizeof there) ||
                   memcmp(&there, made, sizeof there) != 0
               ? DEPIN_E_STORAGE
               : DEPIN_OK;
}

/* Read both slots; a record that is not this device's in this network gets the kind 0. */
static int read_slots(const depin_device *device, record found[2])
{
    const depin_storage *storage = device->config.storage;
    for (unsigned slot = 0; slot < 2; slot++) {
        record *one = &found[slot];
        uint8_t check[32];
        if (storage->load(storage->context, slot, (uint8_t *)one, sizeof *one) ||
            check_of(device, one, check)) {
            return DEPIN_E_STORAGE;
        }
        if (memcmp(check, one->check, sizeof check) != 0) {
            one->kind = 0;
        }
    }
    return DEPIN_OK;
}

/* Make `epoch` this boot's. The older or damaged record first: the good one stays until then. */
static int enter(depin_device *device, unsigned first, uint32_t epoch, int both)
{
    record made;
    memset(&made, 0, sizeof made);
    made.kind = EPOCH;
    made.epoch = epoch;
    int status;
    do {
        status = write_slot(device, first, &made);
        first ^= 1;
    } while (status == DEPIN_OK && both--);
    if (status == DEPIN_OK) {
        device->epoch = epoch;
        device->state = DEPIN_STATE_BEGUN;
    }
    return status;
}

/* Where nothing is known of the epoch: the record that waits, or NULL. */
static const record *waiting(const record found[2])
{
    return found[0].kind == WAITING ? &found[0] : found[1].kind == WAITING ? &found[1] : NULL;
}

static int knows_epoch(const record found[2])
{
    return found[0].kind == EPOCH || found[1].kind == EPOCH;
}

int depin_position_begin(depin_device *device)
{
    if (device->state == DEPIN_STATE_BEGUN) {
        return DEPIN_OK;
    }
    record found[2];
    int status = read_slots(device, found);
    if (status != DEPIN_OK) {
        return status;
    }
    unsigned newer = found[1].kind == EPOCH;
    int both = 1; /* one is damaged: the other may be an epoch behind */
    if (found[0].kind == EPOCH && newer) {
        newer = found[1].epoch >= found[0].epoch;
        both = 0;
    }
    if (found[newer].kind != EPOCH) {
        return DEPIN_E_LOST;
    }
    uint32_t epoch = found[newer].epoch + 1u + (unsigned)both;
    if (epoch < found[newer].epoch) {
        return DEPIN_E_EXHAUSTED;
    }
    /* The one to write first: the damaged one, or the older. */
    return enter(device, newer ^ 1, epoch, both);
}

/* An epoch that is no boot's first step: n and the head begin again with it. */
static int enter_anew(depin_device *device, unsigned first, uint32_t epoch)
{
    device->next = 0;
    memset(device->prev, 0, sizeof device->prev);
    return enter(device, first, epoch, 1);
}

int depin_position_create(depin_device *device)
{
    record found[2];
    int status = read_slots(device, found);
    if (status != DEPIN_OK) {
        return status;
    }
    if (found[0].kind || found[1].kind) {
        return DEPIN_E_ARGUMENT;
    }
    status = enter_anew(device, 0, 0);
    device->state = DEPIN_STATE_FRESH; /* nothing is signed under epoch 0 */
    return status;
}

int depin_position_resume_nonce(depin_device *device, int (*random)(void *, uint8_t *, size_t),
                                void *context, uint8_t nonce[16])
{
    record found[2];
    int status = read_slots(device, found);
    if (status != DEPIN_OK) {
        return status;
    }
    if (knows_epoch(found)) {
        return DEPIN_E_ARGUMENT;
    }
    const record *there = waiting(found);
    if (!there) {
        record *made = &found[0];
        memset(made, 0, sizeof *made);
        made->kind = WAITING;
        if (random(context, made->nonce, NONCE)) {
            return DEPIN_E_RANDOM;
        }
        status = write_slot(device, 0, made);
        there = made;
    }
    if (status == DEPIN_OK) {
        memcpy(nonce, there->nonce, NONCE);
    }
    return status;
}

int depin_position_resume(depin_device *device, const uint8_t nonce[16], uint32_t floor)
{
    record found[2];
    int status = read_slots(device, found);
    if (status != DEPIN_OK) {
        return status;
    }
    /* An epoch in either record means that it was answered, or that there was no loss. */
    const record *there = waiting(found);
    if (knows_epoch(found) || !there || memcmp(nonce, there->nonce, NONCE) != 0) {
        return DEPIN_E_REPLAYED;
    }
    if (floor == UINT32_MAX) {
        return DEPIN_E_EXHAUSTED;
    }
    /* The record without the nonce first: cut off before it is whole, the nonce still waits. */
    return enter_anew(device, there == &found[0], floor + 1);
}
