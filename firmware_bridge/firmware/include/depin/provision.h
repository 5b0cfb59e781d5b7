/* Provisioning over lines, the device's side: key, network, proof, lock (docs/device-lines.md).
 *
 * Optional, on top of lines.h. Key and network are kept as a record in two slots of storage, written
 * in turn, so that a power cut leaves the record before or the one after. Locking writes both: from
 * then on nothing here writes again, but a second record to be like the first.
 *
 *     depin_provision_begin(&provision);                       once a boot
 *     depin_provision_handle(&provision, lines, verb, ...);    from depin_lines.handle
 *     if (depin_provision_ready(&provision)) ...               the device may sign
 */
#ifndef DEPIN_PROVISION_H
#define DEPIN_PROVISION_H

#include "depin.h"
#include "lines.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DEPIN_SLOT_PROVISION_A = 4, DEPIN_SLOT_PROVISION_B = 5 };
#define DEPIN_PROVISION_BYTES 128 /* of a provisioning slot */
#define DEPIN_PROVISION_ROOM 1024 /* of the buffer that a proof is made in */

/* Where the key is. In software: its seed is in the record, and make and lock are NULL. In a chip:
 * make is set, and no seed is ever written or taken. All give 0, or not 0 when they failed.
 */
typedef struct depin_key_place {
    /* The signer for this seed; for the chip's own key when seed is NULL. */
    int (*open)(void *context, const uint8_t *seed, depin_signer *signer);
    /* Make a key in the chip. */
    int (*make)(void *context);
    /* Make the chip refuse another key. After a power cut it is called again. */
    int (*lock)(void *context);
    /* A seed's worth of randomness. */
    int (*random)(void *context, uint8_t *out, size_t size);
    void *context;
} depin_key_place;

typedef struct depin_provision {
    /* The caller's. config: all but network and signer, which are put in here. */
    depin_device *device;
    depin_config config;
    const depin_key_place *key;
    const depin_enrolment *enrolment;
    const char *version; /* of the firmware, one word */
    uint8_t *room;       /* DEPIN_PROVISION_ROOM bytes, used only while a line is handled */
    /* Private. */
    depin_signer signer;
    char network[DEPIN_DID_SIZE];
    uint32_t number;
    uint8_t newest;
    uint8_t state;
} depin_provision;

/* Read the record, and finish a lock that was cut off. DEPIN_OK, also when nothing is provisioned yet; DEPIN_E_STORAGE; DEPIN_E_LOST when
 * both records are damaged; DEPIN_E_KEY when the key of the record cannot be opened. */
int depin_provision_begin(depin_provision *provision);

/* Whether the device is initialised: it has a key and a network. */
int depin_provision_ready(const depin_provision *provision);

int depin_provision_locked(const depin_provision *provision);

/* Answer a line, if it is one of provisioning; gives whether it was. */
int depin_provision_handle(depin_provision *provision, depin_lines *lines, const char *verb,
                           char **arguments, size_t count);

/* A depin_key_place's open for Ed25519 in software; its context is a depin_ed25519. */
int depin_provision_ed25519(void *context, const uint8_t *seed, depin_signer *signer);

#ifdef __cplusplus
}
#endif
#endif
