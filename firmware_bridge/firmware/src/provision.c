/* Provisioning over lines, the device's side. */
#include <string.h>

#include "depin/provision.h"

/* What is known of the record. */
enum { KEYED = 1, NETWORK = 2, LOCKED = 4, LOST = 8, READY = 16, BOTH = 32, OPEN = 64 };

/* A record: magic, number, flags, size of the network, two zeros, seed, network, checksum. */
enum {
    AT_NUMBER = 4,
    AT_FLAGS = 8,
    AT_SIZE = 9,
    AT_SEED = 12,
    AT_NETWORK = 44,
    AT_CRC = DEPIN_PROVISION_BYTES - 4,
    SEED = 32,
};
static const uint8_t magic[4] = {'D', 'P', 'R', '1'};

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A compiler may leave out a memset before the end of a buffer's life, but not these writes. */
static void wipe(void *memory, size_t size)
{
    volatile uint8_t *at = memory;
    while (size--)
        *at++ = 0;
}

static size_t length(const char *text)
{
    size_t size = 0;
    while (text[size] != '\0')
        size++;
    return size;
}

/* did:key:z and base58: whether it is a key is seen when something verifies under it. */
static int is_network(const char *did, size_t size)
{
    static const char head[] = "did:key:z";
    size_t begin = sizeof head - 1;
    if (size <= begin + 40 || size >= DEPIN_DID_SIZE || memcmp(did, head, begin) != 0)
        return 0;
    for (size_t i = begin; i < size; i++) {
        char c = did[i];
        int digit = c >= '1' && c <= '9';
        int upper = c >= 'A' && c <= 'Z' && c != 'I' && c != 'O';
        int lower = c >= 'a' && c <= 'z' && c != 'l';
        if (!digit && !upper && !lower)
            return 0;
    }
    return 1;
}

/* --- the record ---------------------------------------------------------------------------------- */

static int blank(const uint8_t *record)
{
    for (size_t i = 0; i < DEPIN_PROVISION_BYTES; i++)
        if (record[i] != record[0])
            return 0;
    return record[0] == 0 || record[0] == 0xFF;
}

static int good(const uint8_t *record)
{
    size_t size = record[AT_SIZE];
    return memcmp(record, magic, sizeof magic) == 0 &&
           get32(record + AT_CRC) == depin_lines_crc(record, AT_CRC) &&
           (size == 0 || is_network((const char *)record + AT_NETWORK, size));
}

static void take_record(depin_provision *provision, unsigned slot, const uint8_t *record)
{
    size_t size = record[AT_SIZE];
    provision->number = get32(record + AT_NUMBER);
    provision->newest = (uint8_t)slot;
    provision->state = record[AT_FLAGS] & (KEYED | LOCKED);
    memset(provision->network, 0, sizeof provision->network);
    memcpy(provision->network, record + AT_NETWORK, size);
    if (size != 0)
        provision->state |= NETWORK;
}

/* Load both records; the seed of the newest goes to seed. */
static int load(depin_provision *provision, uint8_t seed[SEED])
{
    const depin_storage *storage = provision->config.storage;
    uint8_t record[DEPIN_PROVISION_BYTES];
    int damaged = 0, found = 0, locks = 0;
    /* Until both are read: a locked device whose storage fails must not look like a new one. */
    provision->state = LOST;
    provision->number = 0;
    provision->newest = DEPIN_SLOT_PROVISION_B;
    for (unsigned slot = DEPIN_SLOT_PROVISION_A; slot <= DEPIN_SLOT_PROVISION_B; slot++) {
        if (storage->load(storage->context, slot, record, sizeof record) != 0) {
            wipe(record, sizeof record);
            return DEPIN_E_STORAGE;
        }
        if (!good(record)) {
            damaged += !blank(record);
            continue;
        }
        locks += (record[AT_FLAGS] & LOCKED) != 0;
        if (!found || get32(record + AT_NUMBER) > provision->number) {
            take_record(provision, slot, record);
            memcpy(seed, record + AT_SEED, SEED);
        }
        found = 1;
    }
    wipe(record, sizeof record);
    if (!found)
        provision->state = 0;
    /* A first write that was cut off leaves one damaged record beside a blank one: still new. */
    if (!found && damaged == 2) {
        provision->state = LOST;
        return DEPIN_E_LOST;
    }
    if (locks == 2)
        provision->state |= BOTH;
    return DEPIN_OK;
}

/* Write a record with these flags and this seed into the older slot. */
static int store(depin_provision *provision, uint8_t flags, const uint8_t seed[SEED])
{
    const depin_storage *storage = provision->config.storage;
    uint8_t record[DEPIN_PROVISION_BYTES];
    uint8_t check[DEPIN_PROVISION_BYTES];
    unsigned slot = DEPIN_SLOT_PROVISION_A + DEPIN_SLOT_PROVISION_B - provision->newest;
    size_t size = length(provision->network);
    memset(record, 0, sizeof record);
    memcpy(record, magic, sizeof magic);
    put32(record + AT_NUMBER, provision->number + 1);
    record[AT_FLAGS] = flags;
    record[AT_SIZE] = (uint8_t)size;
    memcpy(record + AT_SEED, seed, SEED);
    memcpy(record + AT_NETWORK, provision->network, size);
    put32(record + AT_CRC, depin_lines_crc(record, AT_CRC));
    int failed = storage->store(storage->context, slot, record, sizeof record) != 0 ||
                 storage->load(storage->context, slot, check, sizeof check) != 0 ||
                 memcmp(record, check, sizeof record) != 0;
    if (!failed) {
        provision->number++;
        provision->newest = (uint8_t)slot;
    }
    wipe(record, sizeof record);
    wipe(check, sizeof check);
    return failed ? DEPIN_E_STORAGE : DEPIN_OK;
}

/* --- the device ---------------------------------------------------------------------------------- */

/* Load, open the key, and initialise the device once there are both. */
static int open_all(depin_provision *provision)
{
    uint8_t seed[SEED];
    memset(seed, 0, sizeof seed);
    int status = load(provision, seed);
    if (status == DEPIN_OK && provision->state & KEYED) {
        const depin_key_place *key = provision->key;
        if (key->open(key->context, key->make == NULL ? seed : NULL, &provision->signer) != 0)
            status = DEPIN_E_KEY;
        else
            provision->state |= OPEN;
        if (provision->state & OPEN && provision->state & NETWORK) {
            provision->config.network = provision->network;
            provision->config.signer = &provision->signer;
            status = depin_check_config(&provision->config);
            if (status == DEPIN_OK)
                status = depin_init(provision->device, &provision->config);
            if (status == DEPIN_OK)
                provision->state |= READY;
        }
    }
    wipe(seed, sizeof seed);
    return status;
}

int depin_provision_ready(const depin_provision *provision)
{
    return (provision->state & READY) != 0;
}

int depin_provision_locked(const depin_provision *provision)
{
    return (provision->state & LOCKED) != 0;
}

/* --- what is asked for: NULL when it is done, else why it is not --------------------------------- */

static const char *make_key(depin_provision *provision, const uint8_t *given)
{
    const depin_key_place *key = provision->key;
    uint8_t seed[SEED];
    const char *why = NULL;
    memset(seed, 0, sizeof seed);
    if (key->make != NULL) {
        if (given != NULL)
            why = "unknown";
        else if (key->make(key->context) != 0)
            why = "storage";
    } else if (given != NULL) {
        memcpy(seed, given, SEED);
    } else if (key->random(key->context, seed, SEED) != 0) {
        why = "random";
    }
    /* Opened before it is stored: a scalar that is no key must not get into a record. */
    if (why == NULL && key->make == NULL &&
        key->open(key->context, seed, &provision->signer) != 0)
        why = "malformed";
    if (why == NULL && store(provision, KEYED, seed) != DEPIN_OK)
        why = "storage";
    wipe(seed, sizeof seed);
    /* Also after a failure: what the record says is what the device has. */
    if (open_all(provision) != DEPIN_OK && why == NULL)
        why = "storage";
    return why;
}

/* The seed of the record, for a record with something else changed. */
static const char *store_again(depin_provision *provision, uint8_t flags)
{
    uint8_t seed[SEED];
    char network[DEPIN_DID_SIZE];
    const char *why = NULL;
    memset(seed, 0, sizeof seed);
    memcpy(network, provision->network, sizeof network);
    if (load(provision, seed) != DEPIN_OK)
        why = "storage";
    memcpy(provision->network, network, sizeof network);
    if (why == NULL &&
        store(provision, (uint8_t)(flags | (provision->state & (KEYED | LOCKED))), seed) !=
            DEPIN_OK)
        why = "storage";
    wipe(seed, sizeof seed);
    return why;
}

static const char *write_network(depin_provision *provision, const char *did)
{
    size_t size = length(did);
    if (!is_network(did, size))
        return "malformed";
    memset(provision->network, 0, sizeof provision->network);
    memcpy(provision->network, did, size);
    const char *why = store_again(provision, 0);
    return open_all(provision) != DEPIN_OK && why == NULL ? "storage" : why;
}

static const char *lock(depin_provision *provision)
{
    const depin_key_place *key = provision->key;
    const char *why = NULL;
    if (!(provision->state & READY))
        return "unknown";
    if (!(provision->state & LOCKED)) {
        int status = depin_position_create(provision->device);
        if (status != DEPIN_OK && status != DEPIN_E_ARGUMENT)
            return status == DEPIN_E_LOST ? "lost" : "storage";
        if (key->lock != NULL && key->lock(key->context) != 0)
            return "storage";
    }
    /* Both records: a damaged one must not bring back one that was not locked yet. */
    while (why == NULL && (provision->state & (LOCKED | BOTH)) != (LOCKED | BOTH)) {
        why = store_again(provision, LOCKED);
        uint8_t seed[SEED];
        if (why == NULL && load(provision, seed) != DEPIN_OK)
            why = "storage";
        wipe(seed, sizeof seed);
    }
    provision->state |= READY | OPEN;
    return why;
}

int depin_provision_begin(depin_provision *provision)
{
    int status = open_all(provision);
    /* A lock that was cut off between its records, or one of them is damaged. If it fails now, the
     * other still locks, and the next boot tries again. */
    if (status == DEPIN_OK && (provision->state & (LOCKED | BOTH)) == LOCKED)
        (void)lock(provision);
    return status;
}

static const char *prove(depin_provision *provision, depin_lines *lines, char *text)
{
    static const char *const what[] = {"proof", NULL};
    depin_bytes none = {NULL, 0}, out = {provision->room, 0};
    uint8_t nonce[16];
    if (depin_lines_bytes(text) != (long)sizeof nonce)
        return "malformed";
    if (!(provision->state & READY))
        return "unknown";
    memcpy(nonce, text, sizeof nonce);
    if (depin_enrolment_statement(provision->device, provision->enrolment, nonce, none,
                                  provision->room, DEPIN_PROVISION_ROOM, &out.size) != DEPIN_OK)
        return "storage";
    depin_lines_send(lines, "is", what, out);
    return NULL;
}

/* --- lines --------------------------------------------------------------------------------------- */

static const char *state_name(depin_provision *provision)
{
    if (provision->state & LOST)
        return "lost";
    if (provision->state & LOCKED) {
        /* Whether positions are lost is seen only when the boot begins. */
        if (provision->state & READY && depin_position_begin(provision->device) == DEPIN_E_LOST)
            return "lost";
        return "locked";
    }
    return provision->state & KEYED ? "keyed" : "new";
}

static const char *ask(depin_provision *provision, depin_lines *lines, const char *what)
{
    if (depin_lines_equal(what, "info")) {
        const char *texts[] = {"info", provision->version, state_name(provision), NULL};
        depin_lines_say(lines, "is", texts);
    } else if (depin_lines_equal(what, "key") && provision->state & OPEN) {
        int ed25519 = provision->signer.curve == DEPIN_ED25519;
        const char *texts[] = {"key", ed25519 ? "ed25519" : "p256", NULL};
        depin_bytes raw = {provision->signer.public_key, ed25519 ? 32 : 64};
        depin_lines_send(lines, "is", texts, raw);
    } else if (depin_lines_equal(what, "network") && provision->state & NETWORK) {
        const char *texts[] = {"network", provision->network, NULL};
        depin_lines_say(lines, "is", texts);
    } else {
        return "unknown";
    }
    return NULL;
}

static const char *write(depin_provision *provision, char **arguments, size_t count)
{
    if (provision->state & LOST)
        return "lost";
    if (provision->state & LOCKED)
        return "locked";
    if (count == 2 && depin_lines_equal(arguments[0], "key")) {
        /* The seed stays in the line's buffer until lines.c wipes it, after this. */
        return depin_lines_bytes(arguments[1]) == SEED
                   ? make_key(provision, (const uint8_t *)arguments[1])
                   : "malformed";
    }
    if (count == 2 && depin_lines_equal(arguments[0], "network"))
        return write_network(provision, arguments[1]);
    return "unknown";
}

static const char *make(depin_provision *provision, char **arguments, size_t count)
{
    if (provision->state & LOST)
        return "lost";
    if (provision->state & LOCKED)
        return "locked";
    if (count != 1 || !depin_lines_equal(arguments[0], "key"))
        return "unknown";
    return make_key(provision, NULL);
}

int depin_provision_handle(depin_provision *provision, depin_lines *lines, const char *verb,
                           char **arguments, size_t count)
{
    const char *why;
    int answers = 1; /* with `done`, once it is */
    if (depin_lines_equal(verb, "ask")) {
        why = count == 1 ? ask(provision, lines, arguments[0]) : "unknown";
        answers = 0;
    } else if (depin_lines_equal(verb, "prove")) {
        why = count == 1 ? prove(provision, lines, arguments[0]) : "malformed";
        answers = 0;
    } else if (depin_lines_equal(verb, "write")) {
        why = write(provision, arguments, count);
    } else if (depin_lines_equal(verb, "make")) {
        why = make(provision, arguments, count);
    } else if (depin_lines_equal(verb, "lock")) {
        why = provision->state & LOST ? "lost" : count == 0 ? lock(provision) : "malformed";
    } else {
        return 0;
    }
    const char *texts[] = {verb, why, NULL};
    if (why != NULL || answers)
        depin_lines_say(lines, why == NULL ? "done" : "no", texts);
    return 1;
}
