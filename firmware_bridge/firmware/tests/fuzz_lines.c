/* Any bytes on the serial line, and any bytes in storage: lines and provisioning. A locked device stays
 * locked with the key and the network it has, and no line is answered by its seed.
 *
 * A case: flags (1: checksums of records made right, 2: the key is in a chip, 4: checksums of lines made
 * right, 8: storage fails now and then), two records of provisioning, two of positions, then the line. */
#include "depin/lines.h"
#include "depin/provision.h"
#include "hostile.h"

enum { FORGED = 1, CHIP = 2, SPOKEN = 4, FAILING = 8, LINE = 300 };

typedef struct station {
    hostile world;
    uint8_t records[2][DEPIN_PROVISION_BYTES];
    depin_provision provision;
    uint8_t room[DEPIN_PROVISION_ROOM];
    char said[8192]; /* of one line in */
    size_t size;
    unsigned flags, count;
} station;

static int fails(station *at)
{
    return at->flags & FAILING && ++at->count % 13 == 0;
}

static int load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    station *at = context;
    if (slot >= DEPIN_SLOT_PROVISION_A) {
        memcpy(data, at->records[slot - DEPIN_SLOT_PROVISION_A], size);
    } else {
        (void)hostile_load(&at->world, slot, data, size);
    }
    return fails(at);
}

static int store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    station *at = context;
    if (slot >= DEPIN_SLOT_PROVISION_A) {
        memcpy(at->records[slot - DEPIN_SLOT_PROVISION_A], data, size);
    } else {
        (void)hostile_store(&at->world, slot, data, size);
    }
    return fails(at);
}

static int open_key(void *context, const uint8_t *seed, depin_signer *signer)
{
    station *at = context;
    static const uint8_t chip[32] = {1};
    return depin_provision_ed25519(&at->world.key, seed == NULL ? chip : seed, signer);
}

static int make_key_in_chip(void *context)
{
    return fails(context);
}

static int some(void *context, uint8_t *out, size_t size)
{
    memset(out, 0x5a, size);
    return fails(context);
}

static void say(void *context, const char *text, size_t size)
{
    station *at = context;
    if (at->size + size > sizeof at->said) {
        abort();
    }
    memcpy(at->said + at->size, text, size);
    at->size += size;
}

static void handle(void *context, depin_lines *lines, const char *verb, char **arguments,
                   size_t count)
{
    station *at = context;
    depin_provision *provision = &at->provision;
    int locked = depin_provision_locked(provision);
    uint8_t key[32];
    char network[DEPIN_DID_SIZE];

    memcpy(key, at->world.key.public_key, sizeof key);
    memcpy(network, provision->network, sizeof network);
    if (count > DEPIN_LINES_ARGUMENTS) {
        abort();
    }
    (void)depin_provision_handle(provision, lines, verb, arguments, count);
    if (locked && !(at->flags & FAILING) &&
        (!depin_provision_locked(provision) || memcmp(network, provision->network, sizeof network) ||
         (depin_provision_ready(provision) && memcmp(key, at->world.key.public_key, sizeof key)))) {
        abort();
    }
    if (depin_provision_ready(provision) && provision->network[sizeof network - 1] != 0) {
        abort();
    }
}

/* The seed of the key in use, in hexadecimal, in what was said. */
static int tells(const station *at)
{
    char seed[65];
    for (unsigned i = 0; i < 64; i++) {
        unsigned byte = at->world.key.seed[i >> 1];
        seed[i] = "0123456789abcdef"[i & 1 ? byte & 15 : byte >> 4];
    }
    for (size_t i = 0; i + 64 <= at->size; i++) {
        if (memcmp(at->said + i, seed, 64) == 0) {
            return 1;
        }
    }
    return 0;
}

static void begin(station *at)
{
    static const depin_enrolment enrolment = {"n", "p", "o", 1, 2, 1};
    static depin_key_place place;
    depin_provision *provision = &at->provision;

    hostile_begin(&at->world, "did:key:z6MkhjYWn3d8FASyKVrzCdpJ48qBwfNwkJ1ogAPhcw8tXjfr");
    memset(provision, 0, sizeof *provision);
    provision->device = &at->world.device;
    provision->config = at->world.device.config;
    at->world.storage.load = load;
    at->world.storage.store = store;
    at->world.storage.context = at;
    place.open = open_key;
    place.make = at->flags & CHIP ? make_key_in_chip : NULL;
    place.lock = at->flags & CHIP ? make_key_in_chip : NULL;
    place.random = some;
    place.context = at;
    provision->key = &place;
    provision->enrolment = &enrolment;
    provision->version = "1.0";
    provision->room = at->room;
    (void)depin_provision_begin(provision);
}

static const uint8_t *fill(uint8_t *slot, size_t room, const uint8_t *data, const uint8_t *end)
{
    size_t size = (size_t)(end - data) < room ? (size_t)(end - data) : room;
    memset(slot, 0xff, room);
    memcpy(slot, data, size);
    return data + size;
}

/* A line as somebody writes it who can compute its checksum. */
static void speak(depin_lines *lines, const uint8_t *data, size_t size)
{
    char whole[LINE + 32] = "depin ", tail[11];
    uint32_t crc;

    size = size < LINE ? size : LINE;
    memcpy(whole + 6, data, size);
    crc = depin_lines_crc(whole, 6 + size);
    tail[0] = ' ';
    tail[1] = '*';
    for (unsigned i = 0; i < 8; i++) {
        tail[2 + i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
    }
    tail[10] = '\n';
    memcpy(whole + 6 + size, tail, sizeof tail);
    for (size_t i = 0; i < 6 + size + sizeof tail; i++) {
        depin_lines_feed(lines, whole[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static station at;
    const uint8_t *end = data + size;
    depin_lines lines;

    if (size < 1) {
        return 0;
    }
    memset(&at, 0, sizeof at);
    at.flags = *data++;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *record = at.records[i];
        data = fill(record, DEPIN_PROVISION_BYTES, data, end);
        if (at.flags & FORGED) {
            uint32_t crc = depin_lines_crc(record, DEPIN_PROVISION_BYTES - 4);
            for (unsigned j = 0; j < 4; j++) {
                record[DEPIN_PROVISION_BYTES - 4 + j] = (uint8_t)(crc >> (24 - 8 * j));
            }
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        data = fill(at.world.slots[i], DEPIN_POSITION_BYTES, data, end);
    }
    begin(&at);
    memset(&lines, 0, sizeof lines);
    lines.capacity = LINE;
    lines.buffer = malloc(lines.capacity); /* of its own, so that reading past it is seen */
    lines.write = say;
    lines.handle = handle;
    lines.context = &at;
    if (lines.buffer == NULL) {
        abort();
    }
    while (data < end) {
        const uint8_t *next = memchr(data, '\n', (size_t)(end - data));
        next = next == NULL ? end : next + 1;
        at.size = 0;
        if (at.flags & SPOKEN) {
            speak(&lines, data, (size_t)(next - data) - (next[-1] == '\n'));
        } else {
            for (const uint8_t *byte = data; byte < next; byte++) {
                depin_lines_feed(&lines, (char)*byte);
            }
        }
        if (lines.used >= lines.capacity || tells(&at)) {
            abort();
        }
        data = next;
    }
    free(lines.buffer);
    return 0;
}
