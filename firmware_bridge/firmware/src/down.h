/* Between the two halves of the downlink module: downlink.c and card.c. Private to the library. */
#ifndef DEPIN_SRC_DOWN_H
#define DEPIN_SRC_DOWN_H

#include "depin/downlink.h"
#include "parse.h"
#include "seal.h"

#define DEPIN_FIELDS(table) table, sizeof(table) / sizeof *(table)
enum { DEPIN_SECONDS = 40 }; /* power of two that seconds and log indices are at most */

/* A key with its thumbprint: who signed. */
typedef struct depin_party {
    depin_signer key;
    uint8_t thumbprint[32];
} depin_party;

/* A message, in pieces of its own bytes. */
typedef struct depin_message {
    depin_value parts[4]; /* array, protected header, payload, signature */
    depin_reader reader;  /* of the payload, behind the head of its map */
    size_t size;          /* of it all */
} depin_message;

enum { PROTECTED = 1, PAYLOAD = 2, SIGNATURE = 3 };

/* The protected header is {1: alg, 4: kid}: 13 bytes. */
enum { ALGORITHM_AT = 2, KID_AT = 5, KID_SIZE = 8, PROTECTED_SIZE = 13 };

/* A key with its thumbprint. */
void depin_identify(depin_party *who, unsigned curve, const uint8_t *raw);

/* Verify as this party's, of this kind. DEPIN_E_KEY, DEPIN_E_SIGNATURE. */
int depin_verified(const depin_downlink *downlink, const depin_party *signer,
                   const depin_message *message, const char *kind);

int depin_take_card(depin_downlink *downlink, const depin_message *message);

/* The card of storage into memory, or none. DEPIN_E_STORAGE. */
int depin_read_card_slots(depin_downlink *downlink);

#endif
