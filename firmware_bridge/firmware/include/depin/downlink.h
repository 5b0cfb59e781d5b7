/* What comes down from the network: card, acknowledgement, challenge, resume (protocol, 7 and 8).
 *
 * Optional. A device without it keeps a ring of sealed packs and lets the oldest go; it frees nothing
 * on an acknowledgement. Everything is verified against the pinned network root before it is believed.
 *
 *     depin_downlink_init(&downlink, &device, depin_ed25519_verify, depin_ed25519_admit, NULL);
 *     downlink.acknowledged = drop_what_has_this_id;
 *     ...
 *     depin_downlink_take(&downlink, message, &event);     for each message, as it came
 */
#ifndef DEPIN_DOWNLINK_H
#define DEPIN_DOWNLINK_H

#include "depin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DEPIN_CARD_KEYS 8
#define DEPIN_CARD_RECORD 640 /* bytes of a card slot */

/* Public keys here are 32 bytes (Ed25519) or x || y, 64 bytes (P-256). */

/* Verify a signature over the parts one after another: 0 when it is good.
 * P-256: over SHA-256 of the parts (a chip, PSA). s is at most half the order, as was looked at. */
typedef int (*depin_verify)(void *context, depin_curve curve, const uint8_t *public_key,
                            const depin_bytes *parts, size_t count, const uint8_t signature[64]);

/* Give 0 when a key may be used (protocol, section 2): a point of prime order, of the curve. */
typedef int (*depin_admit)(void *context, depin_curve curve, const uint8_t *public_key);

typedef struct depin_card_key {
    uint8_t raw[64];
    uint8_t curve;
} depin_card_key;

/* The newest card, as far as a device needs it: as it lies in storage. */
typedef struct depin_card {
    uint64_t number;
    uint8_t origin[16]; /* head of the SHA-256 of the log's origin */
    depin_card_key keys[DEPIN_CARD_KEYS];
    uint8_t count;      /* of keys; 0: no card was taken */
    uint8_t unused[79];
    uint8_t check[16];
} depin_card;

typedef struct depin_downlink {
    depin_device *device;
    depin_verify verify;
    depin_admit admit; /* NULL: no card is taken, for nobody looks at its keys */
    void *context;
    /* x || y of the network's root key where that is on P-256, pinned with the network's DID, which
     * has only x and the sign of y. NULL with a root on Ed25519. Set it after depin_downlink_init. */
    const uint8_t *root_point;
    /* One call for each item of an acknowledgement: the identity (32 bytes) and whether the envelope
     * may be dropped (everything but aggregator.retry). Only after the signature was verified and the
     * whole message was read. */
    void (*acknowledged)(void *context, const uint8_t id[32], int final, depin_bytes code);
    void *acknowledged_context;
    /* The lowest number of an acknowledgement that is taken. In memory only: after a boot an old one
     * is taken once more. It can free nothing but what was acknowledged under its exact identity, and
     * set an older beacon, which bounds the time of what follows less tightly. */
    uint64_t next_ack;
    uint8_t slot; /* private: of the card below */
    depin_card card;
} depin_downlink;

typedef enum depin_downlink_kind {
    DEPIN_DOWN_CARD = 1,
    DEPIN_DOWN_ACK = 2,
    DEPIN_DOWN_CHALLENGE = 3,
    DEPIN_DOWN_RESUME = 4,
} depin_downlink_kind;

typedef struct depin_event {
    depin_downlink_kind kind;
    uint64_t time_ms;  /* ack: the network's time. challenge: when it ends, in ms */
    uint8_t nonce[16]; /* challenge */
} depin_event;

/* Begin with the card that storage holds, if there is a good one. The device is initialised.
 * DEPIN_E_ARGUMENT: no verifier. DEPIN_E_STORAGE. */
int depin_downlink_init(depin_downlink *downlink, depin_device *device, depin_verify verify,
                        depin_admit admit, void *context);

/* Take one message as it came. DEPIN_OK and the event, or why it was refused:
 * DEPIN_E_MALFORMED, DEPIN_E_FOREIGN, DEPIN_E_SIGNATURE, DEPIN_E_REPLAYED, DEPIN_E_NO_CARD,
 * DEPIN_E_KEY, DEPIN_E_STORAGE, and of a resume DEPIN_E_EXHAUSTED. A card is stored; an
 * acknowledgement's beacon goes into what is sealed next; a resume lets the device sign again. */
int depin_downlink_take(depin_downlink *downlink, depin_bytes message, depin_event *event);

#ifdef __cplusplus
}
#endif
#endif
