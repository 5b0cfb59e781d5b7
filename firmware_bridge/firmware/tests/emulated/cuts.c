/* Power cuts at random instructions, and a log of everything that was signed.
 *
 * A boot is: everything in RAM is junk, depin_init, then packs, until the power is cut or BOOT_PACKS
 * are sealed. Storage is an array outside of what a cut takes; a slot is erased and then written byte
 * by byte, and the byte at which the power goes is anything. Now and then both position slots are
 * damaged, after which the library must refuse until it was resumed, however often that is cut off.
 *
 * In: the file "seed", 4 bytes, and how many cuts, 4 bytes. Out: the file "cuts", records of
 *     kind (1 byte), boot (4), stores begun and stores done in this boot (2 each), size (2), bytes
 * little-endian. The test on the host judges; this image only tells.
 */
#include <string.h>

#include "depin/depin.h"
#include "depin/hash.h"
#include "port.h"
#include "semihost.h"

enum {
    TOLD_SIGNED = 's',  /* the to-be-signed bytes, before the signature is given back */
    TOLD_SEALED = 'e',  /* a whole envelope */
    TOLD_DAMAGED = 'd', /* position slots: a bit for each */
    TOLD_NONCE = 'n',   /* the nonce of a resume */
    TOLD_RESUMED = 'r', /* the floor that it was resumed with */
    TOLD_REFUSED = 'x', /* the status of a seal that failed */
    TOLD_CUT = 'c',     /* slot and offset of the byte that was written, or nothing */
    TOLD_LENGTH = 'l',  /* instructions of a boot that is not cut off, and some more */
    TOLD_END = 'z',
};

#define BOOT_PACKS 4
#define NETWORK "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"
#define NO_SLOT 0xFFu

/* What a power cut leaves. */
static uint8_t flash[2][DEPIN_POSITION_BYTES];
static uint32_t dice, boot, left, floor_of_network;
static uint16_t begun, done;
static volatile uint8_t writing_slot;
static volatile uint8_t writing_at;
static uint8_t whole; /* both records are, as far as is known */
static intptr_t log_file;
static uint32_t whole_boot; /* instructions */
static uint32_t cut_in_store; /* cut so many instructions after a store began, or 0 */

/* What a power cut takes. */
static struct {
    depin_device device;
    depin_reading readings[3];
    uint8_t out[512];
} ram;

static uint32_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 17;
    dice ^= dice << 5;
    return dice;
}

static void little(uint8_t *to, uint32_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
}

/* The log lies outside of the device: it is not cut off. */
static void tell(char kind, const depin_bytes *parts, size_t count)
{
    uint8_t head[11];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    head[0] = (uint8_t)kind;
    little(head + 1, boot, 4);
    little(head + 5, begun, 2);
    little(head + 7, done, 2);
    little(head + 9, (uint32_t)size, 2);
    (void)semihost_write(log_file, head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size != 0) {
            (void)semihost_write(log_file, parts[i].data, parts[i].size);
        }
    }
}

static void tell_bytes(char kind, const uint8_t *data, size_t size)
{
    depin_bytes part = {data, size};
    port_shield();
    tell(kind, &part, 1);
    port_unshield();
}

static void tell_number(char kind, uint32_t value)
{
    uint8_t data[4];
    little(data, value, 4);
    tell_bytes(kind, data, 4);
}

/* A signature is not what is looked at: two digests are quicker than a curve, so that a thousand
 * boots are seconds. The message is read twice, as by the real one. */
static int sign(void *context, const depin_bytes *parts, size_t count, uint8_t *signature)
{
    (void)context;
    depin_sha256(parts, count, signature);
    port_shield();
    tell(TOLD_SIGNED, parts, count);
    /* What is signed may be accepted: a resume has to be above it. */
    if (ram.device.epoch > floor_of_network) {
        floor_of_network = ram.device.epoch;
    }
    whole = 1;
    port_unshield();
    depin_sha256(parts, count, signature + 32);
    return 0;
}

static int load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    (void)context;
    if (slot > 1 || size > sizeof flash[0]) {
        return -1;
    }
    memcpy(data, flash[slot], size);
    return 0;
}

/* A timer is coarser than an instruction: some instructions after it was set, as many as it likes. */
static void dawdle(void)
{
    for (volatile uint32_t wait = roll() % 32u; wait > 0; wait--) {
    }
}

static int store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    (void)context;
    if (slot > 1 || size > sizeof flash[0]) {
        return -1;
    }
    begun++;
    whole = 0;
    if (cut_in_store != 0) {
        port_cut_after(cut_in_store);
        dawdle();
    }
    writing_slot = (uint8_t)slot;
    for (size_t i = 0; i < sizeof flash[0]; i++) {
        writing_at = (uint8_t)i;
        *(volatile uint8_t *)&flash[slot][i] = 0xFF;
    }
    for (size_t i = 0; i < size; i++) {
        writing_at = (uint8_t)i;
        *(volatile uint8_t *)&flash[slot][i] = data[i];
    }
    port_shield();
    writing_slot = NO_SLOT;
    done++;
    port_unshield();
    return 0;
}

static int64_t uptime(void *context)
{
    (void)context;
    return 1000;
}

static int randomness(void *context, uint8_t *data, size_t size)
{
    (void)context;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)roll();
    }
    return 0;
}

static const uint8_t public_key[32] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a,
                                       0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
                                       0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c,
                                       0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
static const depin_signer signer = {DEPIN_ED25519, public_key, sign, NULL, NULL,
                                    depin_software_hash};
static const depin_storage storage = {load, store, NULL};
static const depin_clock device_clock = {uptime, NULL, NULL};

static int start(void)
{
    const depin_config config = {NETWORK, &signer, &storage, &device_clock, ram.readings, 3, NULL};
    return depin_init(&ram.device, &config);
}

/* The network answers with what it knows; the device may be cut off before, while and after. */
static void resume(void)
{
    uint8_t nonce[16];
    if (depin_position_resume_nonce(&ram.device, randomness, NULL, nonce) != DEPIN_OK) {
        return;
    }
    tell_bytes(TOLD_NONCE, nonce, sizeof nonce);
    if (depin_position_resume(&ram.device, nonce, floor_of_network) == DEPIN_OK) {
        tell_number(TOLD_RESUMED, floor_of_network);
    }
}

static void one_boot(void)
{
    if (start() != DEPIN_OK) {
        semihost_exit(2);
    }
    for (int pack = 0; pack < BOOT_PACKS; pack++) {
        size_t size = 0;
        (void)depin_add(&ram.device, "laeq", "dB", (int64_t)(roll() % 9000u), -2, 1000);
        int status = depin_seal(&ram.device, ram.out, sizeof ram.out, &size);
        if (status == DEPIN_E_LOST) {
            resume();
        }
        if (status == DEPIN_OK) {
            tell_bytes(TOLD_SEALED, ram.out, size);
        } else {
            tell_number(TOLD_REFUSED, (uint32_t)status);
        }
    }
}

/* One record is no loss, if the other is whole; two are. */
static void damage(unsigned slots)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        if (slots & 1u << slot) {
            flash[slot][roll() % sizeof flash[0]] ^= (uint8_t)(1u + roll() % 255u);
        }
    }
    whole = 0;
    tell_number(TOLD_DAMAGED, slots);
}

/* Boots that reach their end are followed by others, until the power is cut. */
static __attribute__((noreturn)) void boots(void)
{
    while (left > 0) {
        boot++;
        begun = done = 0;
        memset(&ram, (int)(roll() & 0xFFu), sizeof ram);
        if (roll() % 40u == 0) {
            damage(3);
        } else if (whole && roll() % 20u == 0) {
            damage(1u + roll() % 2u);
        }
        uint32_t in_boot = 1 + roll() % whole_boot;
        cut_in_store = roll() % 3u == 0 ? 1 + roll() % 2000u : 0;
        if (cut_in_store == 0) {
            port_cut_after(in_boot);
            dawdle();
        }
        one_boot();
        port_cut_never();
    }
    tell_number(TOLD_END, boot);
    (void)semihost_close(log_file);
    semihost_exit(0);
}

/* The power is back. The byte that was being written is anything. */
void port_after_cut(void)
{
    uint8_t where[2] = {writing_slot, writing_at};
    if (writing_slot != NO_SLOT) {
        flash[writing_slot][writing_at] = (uint8_t)roll();
        writing_slot = NO_SLOT;
    }
    tell_bytes(TOLD_CUT, where, where[0] == NO_SLOT ? 0 : 2);
    left--;
    boots();
}

int main(void)
{
    uint8_t order[8] = {0};
    intptr_t file = semihost_open("seed", SEMIHOST_READ);
    if (semihost_read(file, order, sizeof order) != sizeof order) {
        return 1;
    }
    (void)semihost_close(file);
    memcpy(&dice, order, 4);
    memcpy(&left, order + 4, 4);
    log_file = semihost_open("cuts", SEMIHOST_WRITE);
    memset(flash, 0xFF, sizeof flash);
    if (start() != DEPIN_OK || depin_position_create(&ram.device) != DEPIN_OK) {
        return 3;
    }
    writing_slot = NO_SLOT;
    port_count_start();
    one_boot();
    whole_boot = port_count() + port_count() / 8;
    tell_number(TOLD_LENGTH, whole_boot);
    boots();
}
