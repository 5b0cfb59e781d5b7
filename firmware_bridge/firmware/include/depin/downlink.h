/* What comes down from the network: card, acknowledgement, challenge, resume (protocol, 7 and 8).
 *
 * Optional. A device without it keeps a ring of sealed packs and lets the oldest go; it frees nothing
 * on an acknowledgement. Everything is verified against the pinned network root before it is believed.
 */
#ifndef DEPIN_DOWNLINK_H
#define DEPIN_DOWNLINK_H

#include "depin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DEPIN_CARD_KEYS 8
#define DEPIN_CARD_RECORD 384 /* bytes of a card slot */

/* Verify a signature over the parts one after another: 0 when it is good.
 * Ed25519: public_key of 32 bytes (depin_ed25519_verify, or a chip).
 * P-256: compressed point of 33 bytes; over SHA-256 of the parts (a chip, PSA). */
typedef int (*depin_verify)(void *context, depin_curve curve, const uint8_t *public_key,
                            const depin_bytes *parts, size_t count, const uint8_t signature[64]);

/* Give 0 when a key may be used (protocol, section 2), or NULL where the verifier looks itself. */
typedef int (*depin_admit)(void *context, depin_curve curve, const uint8_t *public_key);

typedef struct depin_card_key {
    uint8_t kid[8];
    uint8_t curve;
    uint8_t raw[33];
} depin_card_key;

/* The newest card, as far as a device needs it. */
typedef struct depin_card {
    uint64_t number;
    uint8_t origin[16]; /* head of the SHA-256 of the log's origin */
    uint8_t count;      /* 0: none taken */
    depin_card_key keys[DEPIN_CARD_KEYS];
} depin_card;

typedef struct depin_downlink {
    depin_device *device;
    depin_verify verify;
    depin_admit admit;
    void *context;
    uint64_t last_ack; /* number of the last acknowledgement of this boot */
    depin_card card;
    /* One call for each item of an acknowledgement: the identity (32 bytes) and whether the envelope
     * may be dropped (everything but aggregator.retry). Only after the signature was verified. */
    void (*acknowledged)(void *context, const uint8_t id[32], int final, depin_bytes code);
    void *acknowledged_context;
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

/* Begin with the card that storage holds, if there is a good one. */
int depin_downlink_init(depin_downlink *downlink, depin_device *device, depin_verify verify,
                        depin_admit admit, void *context);

/* Take one message as it came. DEPIN_OK and the event, or why it was refused:
 * DEPIN_E_MALFORMED, DEPIN_E_FOREIGN, DEPIN_E_SIGNATURE, DEPIN_E_REPLAYED, DEPIN_E_NO_CARD,
 * DEPIN_E_KEY, DEPIN_E_STORAGE. A card is stored; an acknowledgement's beacon goes into what is
 * sealed next; a resume lets the device sign again. */
int depin_downlink_take(depin_downlink *downlink, depin_bytes message, depin_event *event);

#ifdef __cplusplus
}
#endif
#endif
