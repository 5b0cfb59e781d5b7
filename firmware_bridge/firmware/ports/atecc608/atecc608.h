/* ATECC608 secure element: a key that never leaves it, and its counter as a witness of boots.
 *
 * Over bus callbacks, so that it works behind any I2C driver. The chip's signatures are randomised,
 * and half of them have a high s: depin_seal makes it low.
 */
#ifndef DEPIN_ATECC608_H
#define DEPIN_ATECC608_H

#include "depin/depin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ATECC608_CONFIG_BYTES 128
#define ATECC608_COUNTER_END 2097151u /* the chip counts no further, for ever */

typedef enum atecc608_status {
    ATECC608_OK = 0,
    ATECC608_E_WAKE = -100,    /* it does not wake up: wiring, address, power */
    ATECC608_E_BUS = -101,     /* nothing that can be read came, after several tries */
    ATECC608_E_CHIP = -102,    /* another chip, or it found a fault in itself */
    ATECC608_E_REFUSED = -103, /* the configuration does not allow it */
    ATECC608_E_OPEN = -104,    /* configuration or data zone is not locked: the policy holds nothing */
    ATECC608_E_READABLE = -105, /* the slot is no P-256 private key that cannot be read or written */
    ATECC608_E_SIGNS = -106,   /* the slot may not sign what is made outside of the chip */
    ATECC608_E_AUTH = -107,    /* the slot wants an authorisation first */
    ATECC608_E_LIMITED = -108, /* each signature takes from the counter, which ends */
    ATECC608_E_UNLOCKABLE = -109, /* the slot can never be locked: anybody on the bus can change the key */
    ATECC608_E_UNLOCKED = -110, /* the slot could be locked, and is not yet */
    ATECC608_E_ROLLBACK = -111, /* flash is behind the counter: an older copy was put back */
    ATECC608_E_AHEAD = -112,   /* flash is further ahead than it may be */
    ATECC608_E_ENDED = -113,   /* the counter is at its end: this chip witnesses no further boot */
} atecc608_status;

typedef struct atecc608_bus {
    /* SDA low for 60 us or more, then 1.5 ms. Gives 0, or not 0. */
    int (*wake)(void *context);
    /* Word address and bytes to the chip. Not 0: it did not acknowledge. */
    int (*send)(void *context, uint8_t word, const uint8_t *data, size_t size);
    /* So many bytes of the chip (0xFF after its last). Not 0: it did not acknowledge, it is busy. */
    int (*receive)(void *context, uint8_t *data, size_t size);
    void (*wait_ms)(void *context, unsigned ms);
    void *context;
} atecc608_bus;

typedef struct atecc608 {
    const atecc608_bus *bus;
    uint8_t slot;
    uint8_t public_key[64];
} atecc608;

/* Is it an ATECC608? */
int atecc608_probe(atecc608 *chip);

/* The configuration zone. */
int atecc608_config(atecc608 *chip, uint8_t config[ATECC608_CONFIG_BYTES]);

/* Whether a slot's policy is that of a device key. locked: the slot has to be locked as well.
 * limited: a key of limited use is wanted. */
int atecc608_check(const uint8_t config[ATECC608_CONFIG_BYTES], uint8_t slot, int locked,
                   int limited);

/* Read the public key of the slot into chip->public_key. */
int atecc608_public_key(atecc608 *chip);

/* One of its two counters: read, or count one. */
int atecc608_counter(atecc608 *chip, uint8_t counter, int increment, uint32_t *value);

/* Witness a boot, after depin_position_begin and before anything is signed: the epoch in flash has to
 * be above the counter, which is counted up to it, at most `most` steps (each 20 ms; 1 in a usual
 * boot, more after power cuts or a resume). Refused epochs were never signed in, so a device that was
 * rolled back signs no position twice. Per boot only: with a count for each reading it would end in
 * weeks. */
int atecc608_witness(atecc608 *chip, uint8_t counter, uint32_t epoch, uint32_t most);

/* A depin_signer's sign_digest; the context is the atecc608. */
int atecc608_sign_digest(void *context, const uint8_t *digest, uint8_t *signature);

/* A depin_key_place's callbacks (depin/provision.h): the context is the atecc608. Opening checks the
 * policy; locking locks the slot, reads back, and is harmless when it is locked already. */
int atecc608_open(void *context, const uint8_t *seed, depin_signer *signer);
int atecc608_make(void *context);
int atecc608_lock(void *context);

#ifdef __cplusplus
}
#endif
#endif
