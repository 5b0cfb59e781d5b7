/* A device on a POSIX system: provisioned over lines, signs readings that come as lines.
 *
 *     posix_sender FOLDER [ed25519|p256]
 *
 * Standard input: lines of docs/device-lines.md, and readings, one a line: NAME UNIT MANTISSA EXPONENT
 * (`laeq dB 5231 -2` is 52.31 dB). An empty line signs everything that waits as one pack. Standard
 * output: answers, and `depin up HEX` for each pack.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "depin/ed25519.h"
#include "depin/provision.h"
#include "depin_p256.h"
#include "depin_posix.h"

#define READINGS 64

typedef struct sender {
    depin_posix posix;
    depin_device device;
    depin_provision provision;
    depin_lines lines;
    depin_reading readings[READINGS];
    char texts[READINGS][2][32]; /* names and units of what waits */
} sender;

static void on_write(void *context, const char *text, size_t size)
{
    (void)context;
    (void)fwrite(text, 1, size, stdout);
    if (text[size - 1] == '\n')
        (void)fflush(stdout);
}

static void on_line(void *context, depin_lines *lines, const char *verb, char **arguments,
                    size_t count)
{
    sender *self = context;
    (void)depin_provision_handle(&self->provision, lines, verb, arguments, count);
}

static void say_status(const char *what, int status)
{
    (void)printf("%s: %d\n", what, status);
    (void)fflush(stdout);
}

static void seal(sender *self)
{
    static uint8_t out[8192];
    depin_bytes pack = {out, 0};
    int status = depin_seal(&self->device, out, sizeof out, &pack.size);
    if (status == DEPIN_OK)
        depin_lines_send(&self->lines, "up", NULL, pack);
    else if (status != DEPIN_E_EMPTY)
        say_status("not signed", status);
}

static void take_reading(sender *self, const char *line)
{
    long long mantissa;
    int exponent;
    int64_t now;
    uint32_t error;
    size_t at = self->device.count;
    if (at == READINGS) {
        seal(self);
        at = self->device.count;
    }
    if (at == READINGS)
        return;
    char *name = self->texts[at][0], *unit = self->texts[at][1];
    if (sscanf(line, "%31s %31s %lld %d", name, unit, &mantissa, &exponent) != 4)
        return;
    if (depin_posix_wall(&self->posix, &now, &error) != 0)
        now = depin_posix_uptime(&self->posix);
    int status = depin_check_reading(&self->device, name, unit); /* they come from outside */
    if (status == DEPIN_OK)
        status = depin_add(&self->device, name, unit, mantissa, exponent, now);
    if (status != DEPIN_OK)
        say_status("not taken", status);
}

static int serve(sender *self)
{
    char line[128], bytes[4096];
    size_t used = 0;
    ssize_t got;
    while ((got = read(STDIN_FILENO, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            depin_lines_feed(&self->lines, bytes[i]);
            if (bytes[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = bytes[i];
                continue;
            }
            line[used] = '\0';
            if (depin_provision_ready(&self->provision) && strncmp(line, "depin ", 6) != 0) {
                if (used == 0)
                    seal(self);
                else
                    take_reading(self, line);
            }
            used = 0;
        }
    }
    return got == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static sender self;
    static char buffer[1024];
    static uint8_t room[DEPIN_PROVISION_ROOM];
    static depin_ed25519 ed25519;
    static depin_p256 p256;
    int is_p256 = argc > 2 && strcmp(argv[2], "p256") == 0;
    if (argc < 2 || depin_posix_open(&self.posix, argv[1], 1) != 0) {
        (void)fprintf(stderr, "usage: posix_sender FOLDER [ed25519|p256]\n");
        return 2;
    }
    const depin_storage storage = {depin_posix_load, depin_posix_store, &self.posix};
    const depin_clock clock = {depin_posix_uptime, depin_posix_wall, &self.posix};
    const depin_enrolment enrolment = {"posix sender", "", "", 0, 0, 0};
    depin_key_place key = {depin_provision_ed25519, NULL, NULL, depin_posix_random, &ed25519};
    if (is_p256) {
        key.open = depin_p256_open;
        key.context = &p256;
    }
    self.provision.device = &self.device;
    self.provision.config.storage = &storage;
    self.provision.config.clock = &clock;
    self.provision.config.readings = self.readings;
    self.provision.config.capacity = READINGS;
    self.provision.config.secondary = depin_secondary_unit;
    self.provision.key = &key;
    self.provision.enrolment = &enrolment;
    self.provision.version = "posix-sender-" DEPIN_VERSION;
    self.provision.room = room;
    self.lines.buffer = buffer;
    self.lines.capacity = sizeof buffer;
    self.lines.write = on_write;
    self.lines.handle = on_line;
    self.lines.context = &self;
    int status = depin_provision_begin(&self.provision);
    if (status != DEPIN_OK)
        say_status("provisioning record", status);
    int failed = serve(&self);
    depin_posix_close(&self.posix);
    return failed;
}
