/* Between the two halves of the downlink module: downlink.c and card.c. Private to the library. */
#ifndef DEPIN_SRC_DOWN_H
#define DEPIN_SRC_DOWN_H

#include "depin/downlink.h"
#include "parse.h"
#include "seal.h"

/* Not merged with its caller: what it needs is not on the stack while a signature is verified. */
#if defined(__GNUC__)
#define DEPIN_APART __attribute__((noinline))
#else
#define DEPIN_APART
#endif
#define DEPIN_FIELDS(table) table, sizeof(table) / sizeof *(table)
enum { DEPIN_SECONDS = 40 }; /* power of two that seconds and log indices are at most */

/* Who signed: a key with its thumbprint. */
typedef struct depin_party {
    depin_signer key;
    uint8_t thumbprint[32];
    uint8_t bytes[35]; /* of the root: its DID, decoded */
} depin_party;

void depin_identify(depin_party *who, unsigned curve, const uint8_t *raw);

/* Whether bytes are this text. */
int depin_says(depin_bytes bytes, const char *text);

/* The network's root. DEPIN_E_KEY. */
int depin_find_root(const depin_downlink *downlink, depin_party *root);

/* Take a card's payload, from behind the head of its map, that the root signed. */
int depin_take_card(depin_downlink *downlink, const depin_reader *payload, int has_witnesses);

/* The card of storage into memory, or none. DEPIN_E_STORAGE. */
int depin_read_card_slots(depin_downlink *downlink);

#endif
