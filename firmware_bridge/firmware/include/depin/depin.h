/* Sign sensor readings as envelopes of the depin protocol, version 1 (docs/protocol.md).
 *
 * The way of a reading:
 *
 *     depin_init(&device, &config);                        once a boot
 *     depin_add(&device, "laeq", "dB", 5231, -2, when);    52.31 dB, as often as the buffer holds
 *     depin_seal(&device, out, sizeof out, &size);         one signed pack; keep and resend its bytes
 *
 * No heap, no globals, no floating point, nothing of libc but memcpy, memset and memcmp. Every
 * buffer is the caller's. One depin_device is one device in one network; it is not reentrant.
 *
 * Functions give DEPIN_OK (0) or a negative depin_status, and change nothing but what they say.
 */
#ifndef DEPIN_DEPIN_H
#define DEPIN_DEPIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DEPIN_VERSION "0.1.0"

typedef enum depin_status {
    DEPIN_OK = 0,
    DEPIN_E_ARGUMENT = -1,  /* a value that the protocol does not allow: name, unit, exponent, time */
    DEPIN_E_ROOM = -2,      /* the caller's buffer is too small; nothing was signed */
    DEPIN_E_EMPTY = -3,     /* nothing to seal */
    DEPIN_E_FULL = -4,      /* no room for another reading: seal first */
    DEPIN_E_SIGN = -5,      /* the signer failed; the position it had is not used again */
    DEPIN_E_STORAGE = -6,   /* storage failed: nothing is signed until it works */
    DEPIN_E_LOST = -7,      /* both position records are damaged: only a resume helps */
    DEPIN_E_EXHAUSTED = -8, /* all positions of this boot, or all boots, are used */
    DEPIN_E_RANDOM = -9,    /* no randomness */
    DEPIN_E_MALFORMED = -10, /* downlink: not in the form of the protocol */
    DEPIN_E_FOREIGN = -11,  /* downlink: for another network or device, or by a key not of the card */
    DEPIN_E_SIGNATURE = -12, /* downlink: the signature does not verify */
    DEPIN_E_REPLAYED = -13, /* downlink: older than what was taken, or answers another nonce */
    DEPIN_E_NO_CARD = -14,  /* downlink: no network card taken yet */
    DEPIN_E_KEY = -15,      /* a key that is not admissible */
} depin_status;

/* A piece of bytes that are somebody else's. */
typedef struct depin_bytes {
    const uint8_t *data;
    size_t size;
} depin_bytes;

typedef enum depin_curve { DEPIN_ED25519 = 1, DEPIN_P256 = 2 } depin_curve;

/* The device's key. Exactly one of the two callbacks is set; both give 64 bytes and 0, or not 0.
 *
 * sign_message: Ed25519 (RFC 8032), or P-256 where the chip hashes by itself. The message is the
 *               parts one after another; Ed25519 reads it twice.
 * sign_digest:  ECDSA P-256 over a SHA-256 digest, as r || s.
 * s is at most half the order: a signer on P-256 whose hardware does not see to that calls
 * depin_p256_low, as every port here does. A high s is refused by everybody.
 * hash:         SHA-256 of the parts: 32 bytes and 0, or not 0. What signs mostly hashes too (secure
 *               element, PSA, an accelerator); else depin_software_hash, linked only where named.
 */
typedef struct depin_signer {
    depin_curve curve;
    const uint8_t *public_key; /* Ed25519: 32 bytes. P-256: x || y, 64 bytes */
    int (*sign_message)(void *context, const depin_bytes *parts, size_t count, uint8_t *signature);
    int (*sign_digest)(void *context, const uint8_t *digest, uint8_t *signature);
    void *context;
    int (*hash)(void *context, const depin_bytes *parts, size_t count, uint8_t *digest);
} depin_signer;

/* A depin_signer's hash in software; the context is not looked at. */
int depin_software_hash(void *context, const depin_bytes *parts, size_t count, uint8_t *digest);

/* Of a P-256 signature r || s: replace s by n - s when that is smaller. */
void depin_p256_low(uint8_t signature[64]);

/* Slots of non-volatile storage: two records each, written in turn. */
enum {
    DEPIN_SLOT_POSITION_A = 0,
    DEPIN_SLOT_POSITION_B = 1,
    DEPIN_SLOT_CARD_A = 2, /* the downlink module only */
    DEPIN_SLOT_CARD_B = 3,
};
#define DEPIN_POSITION_BYTES 64 /* of a position slot */

/* Slots lie in different erase blocks. A store that was cut off may leave anything in its slot, and
 * nothing in the others. Both give 0, or not 0 when the hardware failed; an erased slot is no failure.
 */
typedef struct depin_storage {
    int (*load)(void *context, unsigned slot, uint8_t *data, size_t size);
    int (*store)(void *context, unsigned slot, const uint8_t *data, size_t size); /* durable after */
    void *context;
} depin_storage;

/* uptime_ms: milliseconds since this boot began, never backwards.
 * wall: milliseconds since 1970 and a bound on their error in seconds; not 0 when it is not known.
 *       NULL for a device without a clock.
 */
typedef struct depin_clock {
    int64_t (*uptime_ms)(void *context);
    int (*wall)(void *context, int64_t *ms, uint32_t *error_s);
    void *context;
} depin_clock;

/* One reading that waits: mantissa * 10^exponent. Texts have to outlive depin_seal. */
typedef struct depin_reading {
    const char *name;
    const char *unit; /* or NULL */
    int64_t mantissa;
    int64_t time_ms;
    int8_t exponent;
} depin_reading;

typedef struct depin_config {
    const char *network;          /* DID of the network: did:key of its root key, pinned */
    const depin_signer *signer;
    const depin_storage *storage;
    const depin_clock *clock;
    depin_reading *readings;      /* room for readings that wait */
    size_t capacity;              /* how many fit, 1 to 4096 */
    /* depin_secondary_unit where units of RFC 8798 are used (ms, Wh, hPa, ppm, ...): a pack with one
     * says so. NULL where there is none. */
    int (*secondary)(const char *unit);
} depin_config;

/* State of a device in a network. Read it, never write it. */
typedef struct depin_device {
    depin_config config;
    uint8_t thumbprint[32]; /* of the key (RFC 9679); its first 8 bytes are the kid */
    uint8_t prev[16];       /* head of this boot's stream */
    uint8_t beacon[32];     /* newest nonce from the network, claim 10; size 0 without one */
    uint8_t ear[16];        /* attestation result it stands on */
    uint32_t epoch;         /* of this boot, once begun */
    uint32_t next;          /* n of the next envelope */
    uint16_t count;         /* readings that wait */
    uint8_t beacon_size;
    uint8_t has_ear;
    uint8_t state;          /* private: begun or not, lost or not */
} depin_device;

/* Take a configuration; nothing is read or written yet. Compute the thumbprint.
 * DEPIN_E_ARGUMENT. */
int depin_init(depin_device *device, const depin_config *config);

/* Add one reading. time_ms: since 1970 with a wall clock, else of uptime_ms.
 * From 2^28 s on a time is since 1970, below it is of uptime_ms: 0 to 2^50 ms.
 * Numbers and times are checked; name and unit are not, for in firmware they are literals: look at
 * them with depin_check_reading in a test, or here where they come from outside. A pack with a name
 * that is none is refused by the network as a whole.
 * DEPIN_E_ARGUMENT, DEPIN_E_FULL. */
int depin_add(depin_device *device, const char *name, const char *unit, int64_t mantissa,
              int exponent, int64_t time_ms);

/* Whether the protocol allows a name and a unit (or NULL), and whether a unit of RFC 8798 will be
 * seen (depin_config.secondary). DEPIN_E_ARGUMENT. */
int depin_check_reading(const depin_device *device, const char *name, const char *unit);

/* Whether a unit is one of RFC 8798. */
int depin_secondary_unit(const char *unit);

/* Seal everything that waits as one signed pack of content type 112 (SenML), and empty the buffer.
 * The first call of a boot writes storage once. On any error the readings stay where they are.
 * DEPIN_E_ARGUMENT: a time since 1970 waits, and the wall clock is not known (or before 1978);
 * `count` may be set to 0 to give up what waits.
 * DEPIN_E_EMPTY, DEPIN_E_ROOM, DEPIN_E_SIGN, DEPIN_E_STORAGE, DEPIN_E_LOST, DEPIN_E_EXHAUSTED. */
int depin_seal(depin_device *device, uint8_t *out, size_t capacity, size_t *size);

/* Seal bytes that are made elsewhere: a status map or evidence, deterministic CBOR of the caller's.
 * As depin_seal. */
typedef enum depin_content { DEPIN_STATUS = 1, DEPIN_EVIDENCE = 2 } depin_content;
int depin_seal_bytes(depin_device *device, depin_content content, depin_bytes payload, uint8_t *out,
                     size_t capacity, size_t *size);

/* Upper bound of what depin_seal needs for these readings, in bytes. */
size_t depin_sealed_bound(const depin_device *device);

/* --- position.c: once in a device's life, and after a loss -------------------------------------- */

/* Write the first position records, at provisioning. DEPIN_E_ARGUMENT when there is a good one.
 * Never after DEPIN_E_LOST: positions would be signed twice. */
int depin_position_create(depin_device *device);

/* Begin this boot now (depin_seal does it by itself): one durable write.
 * DEPIN_E_STORAGE, DEPIN_E_LOST, DEPIN_E_EXHAUSTED. */
int depin_position_begin(depin_device *device);

/* After DEPIN_E_LOST: the nonce (16 bytes) to send to the operator; the same one until answered.
 * random gives 0 and fills, or not 0. */
int depin_position_resume_nonce(depin_device *device, int (*random)(void *, uint8_t *, size_t),
                                void *context, uint8_t nonce[16]);

/* Go on above this floor; the nonce was answered (the downlink module calls it).
 * DEPIN_E_REPLAYED: no such nonce waits. DEPIN_E_STORAGE, DEPIN_E_EXHAUSTED. */
int depin_position_resume(depin_device *device, const uint8_t nonce[16], uint32_t floor);

/* --- identity.c ---------------------------------------------------------------------------------- */

#define DEPIN_DID_SIZE 64 /* did:key text with its end, either curve */

/* The device's did:key. */
int depin_did(const depin_device *device, char did[DEPIN_DID_SIZE]);

/* The COSE_Key with required members only; 40 or 75 bytes. */
int depin_cose_key(const depin_device *device, uint8_t out[80], size_t *size);

/* What the network is told of the device; texts may be empty. */
typedef struct depin_enrolment {
    const char *name, *profile, *owner; /* UTF-8, at most 128 bytes each */
    int32_t lat_e7, lon_e7;
    uint8_t has_place;
} depin_enrolment;

/* The enrolment document as JSON text, byte for byte what `depin-id device show --json` prints. */
int depin_enrolment_document(const depin_device *device, const depin_enrolment *enrolment, char *out,
                             size_t capacity, size_t *size);

/* The statement "enrol": proof of possession for a challenge (protocol, section 14), with the birth
 * certificate; with an empty one the proof says that there is none. */
int depin_enrolment_statement(depin_device *device, const depin_enrolment *enrolment,
                              const uint8_t nonce[16], depin_bytes certificate, uint8_t *out,
                              size_t capacity, size_t *size);

/* The statement "challenge": asks for a nonce. */
int depin_challenge_statement(const depin_device *device, uint8_t *out, size_t capacity,
                              size_t *size);

/* The statement "attest" around evidence of any format (protocol, section 15); begins the boot. */
int depin_attest_statement(depin_device *device, const uint8_t nonce[16], uint64_t expires,
                           const char *media_type, depin_bytes evidence, uint8_t *out,
                           size_t capacity, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
