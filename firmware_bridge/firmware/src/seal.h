/* Between the parts of the core. Private to the library. */
#ifndef DEPIN_SRC_SEAL_H
#define DEPIN_SRC_SEAL_H

#include "cbor.h"
#include "depin/hash.h"

/* depin_device.state */
enum {
    DEPIN_STATE_FRESH = 0, /* this boot has no epoch yet */
    DEPIN_STATE_BEGUN = 1,
};

#define DEPIN_SIGNATURE 64
#define DEPIN_TAIL (2 + DEPIN_SIGNATURE) /* the signature as a byte string */

/* A time is bounded so that nothing computed from two of them leaves int64; protocol, section 12. */
#define DEPIN_MAX_MS ((int64_t)1 << 50)
/* From here on a time is since 1970, below it is relative: 2^28 s (RFC 8428, section 4.5.3). */
#define DEPIN_RELATIVE_MS (((int64_t)1 << 28) * 1000)

/* Canonical form of a decimal number (depin_id.senml.decimal64). DEPIN_E_ARGUMENT. */
int depin_canonical(int64_t *mantissa, int *exponent);

/* The readings that wait as a pack; `shift` leads from the uptime of a reading to its time. */
void depin_put_pack(depin_writer *writer, const depin_device *device, int64_t shift);

/* The COSE_Key of a signer in up to four parts; `head` has its 8 bytes in front. Gives how many. */
size_t depin_key_parts(const depin_signer *signer, uint8_t head[8], depin_bytes parts[4]);

/* The map of a protected header up to the kid: how many labels it has in all, `type` as encoded label
 * and value, or nothing. */
void depin_put_headers(depin_writer *writer, const depin_device *device, unsigned labels,
                       depin_bytes type);

#define DEPIN_SIGNED_PARTS 7

/* What is signed, a Sig_structure, in parts that lie where they are. */
typedef struct depin_signed {
    uint8_t between[32];
    depin_bytes parts[DEPIN_SIGNED_PARTS];
} depin_signed;

/* Of the byte strings protected header and payload, with their heads, by the key of a thumbprint. */
void depin_signed_parts(depin_signed *what, const char *network, const char *kind,
                        const uint8_t thumbprint[32], depin_bytes protected_header,
                        depin_bytes payload);

/* Sign what lies in `out`: the byte strings protected header and payload, with their heads.
 * `position`: the device's position is used up just before the signer sees anything.
 * Writes 66 bytes: the signature as a byte string. */
int depin_sign1(depin_device *device, const char *kind, depin_bytes protected_header,
                depin_bytes payload, int position, uint8_t *out);

#endif
