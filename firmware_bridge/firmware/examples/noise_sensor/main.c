/* A noise sensor: measures a level each second, seals packs, sends them over its serial line, and
 * keeps each until the network has acknowledged it.
 *
 * Its line speaks docs/device-lines.md. Sealed packs wait in RAM: what a power cut takes there is lost,
 * and the network sees the gap; positions go on with the next boot's epoch, and none is used twice.
 * With flash to spare, store each pack before it is sent, and send the stored bytes after a boot.
 */
#include <string.h>

#include "depin/downlink.h"
#include "depin/ed25519.h"
#include "depin/provision.h"
#include "level.h"
#include "port.h"
#include "ring.h"
#include "semihost.h"
#include "storage_file.h"

#ifndef SENSOR_PACK
#define SENSOR_PACK 4 /* readings in a pack */
#endif
#define PERIOD_MS 1000
#define RESEND_MS 15000
#define FIRMWARE "noise-sensor-0.1.0"

typedef struct sensor {
    depin_ed25519 key;
    depin_key_place key_place;
    depin_clock clock;
    depin_provision provision;
    depin_device device;
    depin_downlink downlink;
    depin_lines lines;
    depin_reading readings[SENSOR_PACK];
    ring packs;
    uint32_t booted_s; /* when, since 1970 */
    uint8_t measures;  /* it is provisioned and locked */
    uint8_t told;      /* that it does not know its positions any more */
    char line[8192];
    uint8_t room[DEPIN_PROVISION_ROOM];
} sensor;

static sensor the_sensor;

/* --- what it stands on --------------------------------------------------------------------------- */

static int64_t uptime_ms(void *context)
{
    (void)context;
    return port_uptime_ms();
}

/* A real-time clock, in place of which the emulator is asked once a boot. */
static int wall(void *context, int64_t *ms, uint32_t *error_s)
{
    const sensor *self = (const sensor *)context;
    *ms = (int64_t)self->booted_s * 1000 + port_uptime_ms();
    *error_s = 2;
    return 0;
}

/* A noise source, in place of which the emulating computer's is read. */
static int randomness(void *context, uint8_t *data, size_t size)
{
    (void)context;
    intptr_t file = semihost_open("/dev/urandom", SEMIHOST_READ);
    if (file == -1) {
        return -1;
    }
    size_t came = semihost_read(file, data, size);
    return (semihost_close(file) != 0 || came != size) ? -1 : 0;
}

static void put(void *context, const char *text, size_t size)
{
    (void)context;
    for (size_t i = 0; i < size; i++) {
        port_uart_put(text[i]);
    }
}

static void say_log(const char *text)
{
    put(NULL, text, strlen(text));
    port_uart_put('\n');
}

/* --- begin ---------------------------------------------------------------------------------------- */

static void acknowledged(void *context, const uint8_t id[32], int final, depin_bytes code)
{
    sensor *self = (sensor *)context;
    (void)code;
    if (final && ring_drop(&self->packs, id) && ring_count(&self->packs) == 0) {
        say_log("noise sensor: all acknowledged");
    }
}

/* From the lock on it measures. */
static void begin(sensor *self)
{
    if (self->measures || !depin_provision_ready(&self->provision) ||
        !depin_provision_locked(&self->provision)) {
        return;
    }
    if (depin_downlink_init(&self->downlink, &self->device, depin_ed25519_verify,
                            depin_ed25519_admit, NULL) != DEPIN_OK) {
        say_log("noise sensor: storage fails");
        return;
    }
    self->downlink.acknowledged = acknowledged;
    self->downlink.acknowledged_context = self;
    self->measures = 1;
}

static void down(sensor *self, char *message)
{
    depin_event event;
    long size = depin_lines_bytes(message);
    if (!self->measures || size < 0) {
        return;
    }
    depin_bytes bytes = {(const uint8_t *)message, (size_t)size};
    if (depin_downlink_take(&self->downlink, bytes, &event) != DEPIN_OK) {
        say_log("noise sensor: a message from the network was refused");
    }
}

static void handle(void *context, depin_lines *lines, const char *verb, char **arguments,
                   size_t count)
{
    sensor *self = (sensor *)context;
    if (strcmp(verb, "down") == 0 && count == 1) {
        down(self, arguments[0]);
    } else if (depin_provision_handle(&self->provision, lines, verb, arguments, count)) {
        begin(self);
    } else {
        const char *texts[3] = {verb, "unknown", NULL};
        depin_lines_say(lines, "no", texts);
    }
}

/* --- measuring ------------------------------------------------------------------------------------ */

/* The operator reads the nonce and answers with a resume. */
static void lose(sensor *self)
{
    uint8_t nonce[16];
    char text[] = "noise sensor: positions lost, resume 00000000000000000000000000000000";
    if (self->told ||
        depin_position_resume_nonce(&self->device, randomness, NULL, nonce) != DEPIN_OK) {
        return;
    }
    char *hex = text + sizeof text - 33;
    for (unsigned i = 0; i < 16; i++) {
        hex[2 * i] = "0123456789abcdef"[nonce[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[nonce[i] & 15];
    }
    self->told = 1;
    say_log(text);
}

static void send(sensor *self, ring_pack *pack)
{
    depin_bytes bytes = {pack->bytes, pack->size};
    pack->sent_ms = port_uptime_ms();
    depin_lines_send(&self->lines, "up", NULL, bytes);
}

static void seal(sensor *self)
{
    uint8_t out[RING_BYTES];
    size_t size;
    int status = depin_seal(&self->device, out, sizeof out, &size);
    if (status == DEPIN_E_LOST) {
        lose(self);
    }
    if (status != DEPIN_OK) {
        return;
    }
    ring_pack *pack = ring_room(&self->packs);
    memcpy(pack->bytes, out, size);
    /* After sealing the head of the stream is the envelope's own identity. */
    memcpy(pack->head, self->device.prev, sizeof pack->head);
    pack->size = (uint16_t)size;
    send(self, pack);
}

static void measure(sensor *self)
{
    int64_t now;
    uint32_t error_s;
    (void)wall(self, &now, &error_s);
    /* Full: sealing fails, of which the last attempt told. The newest is not taken. */
    uint32_t second = self->booted_s + (uint32_t)(port_uptime_ms() / 1000);
    uint32_t street;
    memcpy(&street, self->device.thumbprint, sizeof street);
    (void)depin_add(&self->device, "laeq", "dB", level_of_second(second, street), -2, now);
    if (self->device.count == SENSOR_PACK) {
        seal(self);
    }
}

static void resend(sensor *self)
{
    for (unsigned i = 0; i < RING_PACKS; i++) {
        ring_pack *pack = &self->packs.packs[i];
        if (pack->size != 0 && port_uptime_ms() - pack->sent_ms >= RESEND_MS) {
            send(self, pack);
        }
    }
}

static const depin_enrolment about = {"noise sensor", "noise@1", "", 0, 0, 0};

static void start(sensor *self)
{
    self->booted_s = semihost_seconds();
    self->clock = (depin_clock){uptime_ms, wall, self};
    self->key_place = (depin_key_place){depin_provision_ed25519, NULL, NULL, randomness, &self->key};
    self->lines = (depin_lines){.buffer = self->line,
                                .capacity = sizeof self->line,
                                .write = put,
                                .handle = handle,
                                .context = self};
    self->provision = (depin_provision){.device = &self->device,
                                        .key = &self->key_place,
                                        .enrolment = &about,
                                        .version = FIRMWARE,
                                        .room = self->room};
    self->provision.config = (depin_config){NULL,         NULL,           &storage_file,
                                            &self->clock, self->readings, SENSOR_PACK, NULL};
    if (depin_provision_begin(&self->provision) != DEPIN_OK) {
        say_log("noise sensor: storage fails");
    }
    begin(self);
}

int main(void)
{
    sensor *self = &the_sensor;
    port_uart_start();
    port_time_start();
    start(self);
    say_log("noise sensor: " FIRMWARE);
    for (int64_t due = PERIOD_MS;;) {
        int byte = port_uart_get();
        if (byte >= 0) {
            depin_lines_feed(&self->lines, (char)byte);
        } else if (port_uptime_ms() < due) {
            port_wait();
        } else {
            due += PERIOD_MS;
            if (self->measures) {
                measure(self);
                resend(self);
            }
        }
    }
}

/* Nothing here cuts the power; the emulator is killed. */
void port_after_cut(void)
{
    semihost_exit(1);
}
