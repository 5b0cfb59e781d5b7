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

/* What is sealed, and when. */
typedef struct depin_sealing depin_sealing;
struct depin_sealing {
    depin_bytes type; /* label and value of the content type, encoded */
    int (*put_payload)(depin_writer *writer, const depin_device *device, const depin_sealing *what);
    void (*put_iat)(depin_writer *writer, const depin_sealing *what); /* NULL: its times say when */
    depin_bytes payload; /* where it is not what waits */
    int64_t uptime;
    int64_t wall; /* 0: not known */
    uint32_t error;
};

/* Canonical form of a decimal number (depin_id.senml.decimal64). DEPIN_E_ARGUMENT. */
int depin_canonical(int64_t *mantissa, int *exponent);

/* The readings that wait as a pack. DEPIN_E_ARGUMENT: one has a time since 1970, and there is no clock. */
int depin_put_pack(depin_writer *writer, const depin_device *device, const depin_sealing *what);

/* SHA-256 by what the signer has for it. */
int depin_hash(const depin_device *device, const depin_bytes *parts, size_t count, uint8_t *digest);

/* The COSE_Key of a signer in up to four parts; `head` has its 8 bytes in front. Gives how many. */
size_t depin_key_parts(const depin_signer *signer, uint8_t head[8], depin_bytes parts[4]);

/* The map of a protected header up to the kid: how many labels it has in all, `type` as encoded label
 * and value, or nothing. */
void depin_put_headers(depin_writer *writer, const depin_device *device, unsigned labels,
                       const depin_bytes *type);

#define DEPIN_SIGNED_PARTS 7

/* What is signed, a Sig_structure, in parts that lie where they are. */
typedef struct depin_signed {
    uint8_t between[40];
    depin_bytes parts[DEPIN_SIGNED_PARTS];
} depin_signed;

/* Of the byte strings protected header, header to middle, and payload, behind the byte at middle and
 * to the end, with their heads, by the key of a thumbprint. */
void depin_signed_parts(depin_signed *what, const char *network, const char *kind,
                        const uint8_t *thumbprint, const uint8_t *header, const uint8_t *middle,
                        const uint8_t *end);

/* Sign what lies there, as above, and write 66 bytes at `end`: the signature as a byte string.
 * `kind` NULL: an envelope. The device's position is used up just before the signer sees anything. */
int depin_sign1(depin_device *device, const char *kind, const uint8_t *header,
                const uint8_t *middle, uint8_t *end);

#endif
