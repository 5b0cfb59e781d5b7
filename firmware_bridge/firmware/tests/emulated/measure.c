/* How deep the stack goes and how many instructions it takes, in one image.
 *
 * In: files "seed" (32 bytes of the device's key), "network" (its DID), "card" and "ack" (what comes
 * down, signed). Out: the file "measured", a line for each figure: name, space, number.
 */
#include <string.h>

#include "depin/downlink.h"
#include "depin/ed25519.h"
#include "port.h"
#include "semihost.h"

#define MOST_READINGS 60
#define HOUR_MS 3600000

static uint8_t flash[4][DEPIN_CARD_RECORD];
static depin_device device;
static depin_downlink downlink;
static depin_reading readings[MOST_READINGS];
static depin_ed25519 key;
static char network[DEPIN_DID_SIZE + 1];
static uint8_t buffer[1536];
static intptr_t out;

static int load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    (void)context;
    memcpy(data, flash[slot & 3u], size);
    return 0;
}

static int store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    (void)context;
    memcpy(flash[slot & 3u], data, size);
    return 0;
}

static int64_t uptime(void *context)
{
    (void)context;
    return HOUR_MS;
}

static int wall(void *context, int64_t *ms, uint32_t *error_s)
{
    (void)context;
    *ms = 1795000000000;
    *error_s = 1;
    return 0;
}

/* A chip that signs: what is left is what the library does. */
static int elsewhere(void *context, const depin_bytes *parts, size_t count, uint8_t *signature)
{
    (void)context;
    (void)parts;
    (void)count;
    memset(signature, 1, 64);
    return 0;
}

static const depin_storage storage = {load, store, NULL};
static const depin_clock device_clock = {uptime, wall, NULL};
static const depin_signer in_software = {DEPIN_ED25519, key.public_key, depin_ed25519_sign, NULL,
                                         &key, depin_software_hash};
static const depin_signer in_a_chip = {DEPIN_ED25519, key.public_key, elsewhere, NULL, NULL,
                                       depin_software_hash};

static void tell(const char *name, uint32_t value)
{
    char line[48];
    size_t size = strlen(name);
    memcpy(line, name, size);
    line[size++] = ' ';
    char digits[10];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    while (count > 0) {
        line[size++] = digits[--count];
    }
    line[size++] = '\n';
    (void)semihost_write(out, line, size);
}

static size_t read_file(const char *name, void *data, size_t capacity)
{
    intptr_t file = semihost_open(name, SEMIHOST_READ);
    if (file == -1) {
        semihost_exit(2);
    }
    size_t size = semihost_read(file, data, capacity);
    (void)semihost_close(file);
    return size;
}

static void check(int status, int where)
{
    if (status != DEPIN_OK) {
        semihost_exit(where);
    }
}

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        check(depin_add(&device, "laeq", "dB", 5000 + 7 * i, -2, 1795000000000 - 1000 * (60 - i)),
              10);
    }
}

static void use(const depin_signer *signer)
{
    const depin_config config = {network, signer, &storage, &device_clock, readings, MOST_READINGS,
                                 NULL};
    check(depin_init(&device, &config), 11);
}

static void stack(void)
{
    size_t size;
    memset(flash, 0xFF, sizeof flash);
    use(&in_software);
    check(depin_position_create(&device), 12);
    fill(MOST_READINGS);
    /* The first of a boot: position, pack, both passes of the signature. */
    port_stack_paint();
    check(depin_seal(&device, buffer, sizeof buffer, &size), 13);
    tell("stack.seal", port_stack_used());

    depin_event event;
    check(depin_downlink_init(&downlink, &device, depin_ed25519_verify, depin_ed25519_admit, NULL),
          14);
    depin_bytes card = {buffer, read_file("card", buffer, sizeof buffer)};
    port_stack_paint();
    check(depin_downlink_take(&downlink, card, &event), 15);
    tell("stack.card", port_stack_used());
    depin_bytes ack = {buffer, read_file("ack", buffer, sizeof buffer)};
    port_stack_paint();
    check(depin_downlink_take(&downlink, ack, &event), 16);
    tell("stack.ack", port_stack_used());

    use(&in_a_chip);
    fill(MOST_READINGS);
    port_stack_paint();
    check(depin_seal(&device, buffer, sizeof buffer, &size), 17);
    tell("stack.seal_chip", port_stack_used());
}

static void seal_of(const char *name, int count)
{
    size_t size;
    fill(count);
    port_count_start();
    check(depin_seal(&device, buffer, sizeof buffer, &size), 20);
    tell(name, port_count());
}

static void instructions(void)
{
    use(&in_software);
    check(depin_position_begin(&device), 21);
    seal_of("ed25519.1", 1);
    seal_of("ed25519.10", 10);
    seal_of("ed25519.60", 60);
    use(&in_a_chip);
    check(depin_position_begin(&device), 22);
    seal_of("chip.1", 1);
    seal_of("chip.10", 10);
    seal_of("chip.60", 60);

    depin_event event;
    downlink.next_ack = 0;
    depin_bytes ack = {buffer, read_file("ack", buffer, sizeof buffer)};
    port_count_start();
    check(depin_downlink_take(&downlink, ack, &event), 23);
    tell("take_ack", port_count());
}

void port_after_cut(void)
{
    semihost_exit(3);
}

int main(void)
{
    if (read_file("seed", key.seed, sizeof key.seed) != sizeof key.seed) {
        return 4;
    }
    network[read_file("network", network, sizeof network - 1)] = 0;
    depin_ed25519_derive(&key);
    out = semihost_open("measured", SEMIHOST_WRITE);
    stack();
    instructions();
    return semihost_close(out);
}
