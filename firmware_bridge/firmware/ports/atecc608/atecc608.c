#include "atecc608.h"

#include <string.h>

enum { WORD_RESET = 0, WORD_SLEEP = 1, WORD_IDLE = 2, WORD_COMMAND = 3 };
enum {
    OP_READ = 0x02,
    OP_NONCE = 0x16,
    OP_LOCK = 0x17,
    OP_RANDOM = 0x1B,
    OP_COUNTER = 0x24,
    OP_INFO = 0x30,
    OP_GENKEY = 0x40,
    OP_SIGN = 0x41,
};
enum {
    NONCE_TO_DIGEST_BUFFER = 0x43, /* passed through, 32 bytes, into the message digest buffer */
    SIGN_EXTERNAL_OF_BUFFER = 0xA0,
    GENKEY_PRIVATE = 0x04,
    GENKEY_PUBLIC = 0x00,
    READ_CONFIG_32 = 0x80,
    LOCK_SLOT = 0x02,
};
/* What the chip answers instead of data. */
enum {
    SAYS_OK = 0x00,
    SAYS_PARSE = 0x03,
    SAYS_ECC = 0x05,
    SAYS_EXECUTION = 0x0F,
    SAYS_AWAKE = 0x11,
    SAYS_WATCHDOG = 0xEE,
    SAYS_CRC = 0xFF,
};
/* Offsets in the configuration zone. */
enum { AT_SLOT = 20, AT_LOCK_DATA = 86, AT_LOCK_CONFIG = 87, AT_SLOT_LOCKED = 88, AT_KEY = 96 };

#define TRIES 3
#define POLL_MS 2
#define LONGEST_MS 700 /* of any command here, in the chip's slowest clock mode */
#define MOST_DATA 32
#define MOST_ANSWER 64

/* Polynomial 0x8005, bits of each byte from the lowest. */
static uint16_t crc16(const uint8_t *data, size_t size)
{
    uint16_t crc = 0;
    while (size--) {
        uint8_t byte = *data++;
        for (int bit = 0; bit < 8; bit++) {
            unsigned differs = (unsigned)(crc >> 15) ^ ((byte >> bit) & 1u);
            crc = (uint16_t)(crc << 1);
            if (differs)
                crc ^= 0x8005u;
        }
    }
    return crc;
}

static int crc_holds(const uint8_t *packet, size_t size)
{
    uint16_t crc = crc16(packet, size - 2);
    return packet[size - 2] == (uint8_t)crc && packet[size - 1] == (uint8_t)(crc >> 8);
}

static int wake(const atecc608_bus *bus)
{
    uint8_t answer[4];
    for (int i = 0; i < TRIES; i++) {
        if (bus->wake(bus->context) == 0 &&
            bus->receive(bus->context, answer, sizeof answer) == 0 && answer[0] == sizeof answer &&
            answer[1] == SAYS_AWAKE && crc_holds(answer, sizeof answer))
            return ATECC608_OK;
        /* One that is awake does not answer a wake: asleep it loses nothing that is needed. */
        (void)bus->send(bus->context, WORD_SLEEP, NULL, 0);
        bus->wait_ms(bus->context, POLL_MS);
    }
    return ATECC608_E_WAKE;
}

static int meaning(uint8_t says)
{
    switch (says) {
    case SAYS_OK:
        return ATECC608_OK;
    case SAYS_PARSE:
    case SAYS_EXECUTION:
        return ATECC608_E_REFUSED;
    case SAYS_CRC:
    case SAYS_WATCHDOG:
    case SAYS_AWAKE: /* it slept, and has heard nothing of the command */
        return ATECC608_E_BUS;
    default:
        return ATECC608_E_CHIP;
    }
}

/* One command to an awake chip; the answer has `expect` bytes, or is a single status. */
static int command(const atecc608_bus *bus, const uint8_t head[4], const uint8_t *data,
                   size_t size, uint8_t *answer, size_t expect)
{
    uint8_t packet[MOST_ANSWER + 8];
    size_t whole = 7 + size;
    packet[0] = (uint8_t)whole;
    memcpy(packet + 1, head, 4);
    if (size != 0)
        memcpy(packet + 5, data, size);
    uint16_t crc = crc16(packet, 5 + size);
    packet[5 + size] = (uint8_t)crc;
    packet[6 + size] = (uint8_t)(crc >> 8);
    if (bus->send(bus->context, WORD_COMMAND, packet, whole) != 0)
        return ATECC608_E_BUS;
    whole = expect + 3;
    memset(packet, 0xFF, sizeof packet);
    unsigned waited = 0;
    do {
        bus->wait_ms(bus->context, POLL_MS);
        waited += POLL_MS;
    } while (bus->receive(bus->context, packet, whole) != 0 && waited < LONGEST_MS);
    if (packet[0] == 4 && crc_holds(packet, 4) && !(expect == 1 && packet[1] == SAYS_OK))
        return packet[1] == SAYS_OK ? ATECC608_E_BUS : meaning(packet[1]);
    if (packet[0] != whole || !crc_holds(packet, whole))
        return ATECC608_E_BUS;
    memcpy(answer, packet + 1, expect);
    return ATECC608_OK;
}

/* Wake, one command, or the one after a digest was loaded, and idle; again after a bus error.
 *
 * Before a signature and a new key the chip's generator gets a new seed: without, it may go on after
 * a power cut as it did after the one before, and two signatures with one secret number give away
 * the key. */
static int run_tries(const atecc608_bus *bus, const uint8_t *digest, const uint8_t head[4],
                     uint8_t *answer, size_t expect, int tries)
{
    static const uint8_t load[4] = {OP_NONCE, NONCE_TO_DIGEST_BUFFER, 0, 0};
    static const uint8_t reseed[4] = {OP_RANDOM, 0, 0, 0};
    int secret = digest != NULL || (head[0] == OP_GENKEY && head[1] == GENKEY_PRIVATE);
    int status = ATECC608_E_BUS;
    for (int i = 0; i < tries && status == ATECC608_E_BUS; i++) {
        uint8_t said[MOST_DATA];
        status = wake(bus);
        if (status != ATECC608_OK)
            return status;
        if (secret)
            status = command(bus, reseed, NULL, 0, said, sizeof said);
        /* Within one wake: what was loaded is gone when the chip's watchdog puts it to sleep. */
        if (status == ATECC608_OK && digest != NULL)
            status = command(bus, load, digest, MOST_DATA, said, 1);
        if (status == ATECC608_OK)
            status = command(bus, head, NULL, 0, answer, expect);
        (void)bus->send(bus->context, status == ATECC608_OK ? WORD_IDLE : WORD_SLEEP, NULL, 0);
    }
    return status;
}

static int run(const atecc608_bus *bus, const uint8_t *digest, const uint8_t head[4],
               uint8_t *answer, size_t expect)
{
    return run_tries(bus, digest, head, answer, expect, TRIES);
}

int atecc608_probe(atecc608 *chip)
{
    static const uint8_t head[4] = {OP_INFO, 0, 0, 0};
    uint8_t revision[4];
    int status = run(chip->bus, NULL, head, revision, sizeof revision);
    if (status == ATECC608_OK && revision[2] != 0x60)
        status = ATECC608_E_CHIP;
    return status;
}

int atecc608_config(atecc608 *chip, uint8_t config[ATECC608_CONFIG_BYTES])
{
    int status = ATECC608_OK;
    for (unsigned block = 0; block < ATECC608_CONFIG_BYTES / 32 && status == ATECC608_OK; block++) {
        uint8_t head[4] = {OP_READ, READ_CONFIG_32, (uint8_t)(block << 3), 0};
        status = run(chip->bus, NULL, head, config + (size_t)32 * block, 32);
    }
    return status;
}

int atecc608_check(const uint8_t config[ATECC608_CONFIG_BYTES], uint8_t slot, int locked,
                   int limited)
{
    if (slot > 15)
        return ATECC608_E_REFUSED;
    const uint8_t *slots = config + AT_SLOT + 2 * slot, *keys = config + AT_KEY + 2 * slot;
    unsigned policy = (unsigned)slots[0] | (unsigned)slots[1] << 8;
    unsigned key = (unsigned)keys[0] | (unsigned)keys[1] << 8;
    unsigned open = (unsigned)config[AT_SLOT_LOCKED] | (unsigned)config[AT_SLOT_LOCKED + 1] << 8;
    if (config[AT_LOCK_CONFIG] != 0 || config[AT_LOCK_DATA] != 0)
        return ATECC608_E_OPEN;
    /* Private, P-256, its public key may be computed; secret; no PrivWrite. */
    if ((key & 0x1F) != 0x13 || !(policy & 0x0080) || policy & 0x4000)
        return ATECC608_E_READABLE;
    if (!(policy & 0x0001))
        return ATECC608_E_SIGNS;
    /* Authorisation, persistent latch. A random nonce (0x40) is asked of others than Sign. */
    if (key & 0x1080)
        return ATECC608_E_AUTH;
    if (!(policy & 0x0020) != !limited)
        return ATECC608_E_LIMITED;
    /* GenKey makes another key in a slot that allows it, until the slot is locked. */
    int is_open = (open >> slot & 1u) != 0;
    if (is_open && policy & 0x2000 && !(key & 0x0020))
        return ATECC608_E_UNLOCKABLE;
    if (locked && is_open && policy & 0x2000)
        return ATECC608_E_UNLOCKED;
    return ATECC608_OK;
}

int atecc608_public_key(atecc608 *chip)
{
    const uint8_t head[4] = {OP_GENKEY, GENKEY_PUBLIC, chip->slot, 0};
    return run(chip->bus, NULL, head, chip->public_key, sizeof chip->public_key);
}

static int count(atecc608 *chip, uint8_t counter, int increment, uint32_t *value, int tries)
{
    const uint8_t head[4] = {OP_COUNTER, increment != 0, counter, 0};
    uint8_t raw[4];
    int status = run_tries(chip->bus, NULL, head, raw, sizeof raw, tries);
    if (status == ATECC608_OK)
        *value = (uint32_t)raw[3] << 24 | (uint32_t)raw[2] << 16 | (uint32_t)raw[1] << 8 | raw[0];
    return status;
}

int atecc608_counter(atecc608 *chip, uint8_t counter, int increment, uint32_t *value)
{
    /* Counting is not tried again: a count whose answer was lost would be two. */
    return count(chip, counter, increment, value, increment ? 1 : TRIES);
}

int atecc608_witness(atecc608 *chip, uint8_t counter, uint32_t epoch, uint32_t most)
{
    uint32_t value = 0;
    int status = atecc608_counter(chip, counter, 0, &value);
    if (status != ATECC608_OK)
        return status;
    if (value >= ATECC608_COUNTER_END || epoch > ATECC608_COUNTER_END)
        return ATECC608_E_ENDED;
    if (epoch <= value)
        return ATECC608_E_ROLLBACK;
    if (epoch - value > most)
        return ATECC608_E_AHEAD;
    int lost = 0;
    while (status == ATECC608_OK && value < epoch) {
        uint32_t before = value;
        status = atecc608_counter(chip, counter, 1, &value);
        if (status == ATECC608_OK && value != before + 1)
            status = ATECC608_E_CHIP;
        /* It may have counted, or not: the counter itself says. */
        if (status == ATECC608_E_BUS && ++lost <= TRIES)
            status = atecc608_counter(chip, counter, 0, &value);
    }
    return status;
}

int atecc608_sign_digest(void *context, const uint8_t *digest, uint8_t *signature)
{
    atecc608 *chip = context;
    const uint8_t head[4] = {OP_SIGN, SIGN_EXTERNAL_OF_BUFFER, chip->slot, 0};
    int status = run(chip->bus, digest, head, signature, 64);
    if (status == ATECC608_OK)
        depin_p256_low(signature); /* the chip gives either */
    return status;
}

/* --- a place for the key, for provisioning ------------------------------------------------------- */

static int check(atecc608 *chip, int locked)
{
    uint8_t config[ATECC608_CONFIG_BYTES];
    int status = atecc608_config(chip, config);
    return status == ATECC608_OK ? atecc608_check(config, chip->slot, locked, 0) : status;
}

int atecc608_open(void *context, const uint8_t *seed, depin_signer *signer)
{
    atecc608 *chip = context;
    int status = seed != NULL ? ATECC608_E_REFUSED : check(chip, 0);
    if (status == ATECC608_OK)
        status = atecc608_public_key(chip);
    if (status != ATECC608_OK)
        return status;
    memset(signer, 0, sizeof *signer);
    signer->curve = DEPIN_P256;
    signer->public_key = chip->public_key;
    signer->sign_digest = atecc608_sign_digest;
    signer->context = chip;
    signer->hash = depin_software_hash;
    return 0;
}

int atecc608_make(void *context)
{
    atecc608 *chip = context;
    const uint8_t head[4] = {OP_GENKEY, GENKEY_PRIVATE, chip->slot, 0};
    int status = check(chip, 0);
    return status == ATECC608_OK ? run(chip->bus, NULL, head, chip->public_key, 64) : status;
}

int atecc608_lock(void *context)
{
    atecc608 *chip = context;
    const uint8_t head[4] = {OP_LOCK, (uint8_t)(LOCK_SLOT | chip->slot << 2), 0, 0};
    uint8_t said = 0;
    int status = check(chip, 1);
    if (status != ATECC608_E_UNLOCKED)
        return status;
    /* Whatever it answered: a lock whose answer was lost is refused the second time. */
    (void)run(chip->bus, NULL, head, &said, 1);
    return check(chip, 1);
}
