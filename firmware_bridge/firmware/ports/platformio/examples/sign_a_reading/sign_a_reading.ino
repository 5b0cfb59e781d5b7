// One reading a minute, signed by an ATECC608 on the I2C bus, as a line on the serial port.
// Provision it first: depin-id device provision.
//
// STORAGE HERE IS RAM, to keep the sketch short: after a reset it has forgotten its network and which
// positions it signed at, and can not be provisioned again, for its chip is locked. Put your flash or
// EEPROM into load and store, slots of a pair in different erase blocks, before you lock a chip.
#include <Arduino.h>
#include <Wire.h>
#include <string.h>

#include "atecc608.h"
#include "depin/provision.h"

static const uint8_t kAddress = 0x60;
static uint8_t slots[6][DEPIN_PROVISION_BYTES];

static int busWake(void *) {
  Wire.beginTransmission(0);  // at 100 kHz the address alone holds SDA low long enough
  Wire.endTransmission();
  delay(2);
  return 0;
}

static int busSend(void *, uint8_t word, const uint8_t *data, size_t size) {
  Wire.beginTransmission(kAddress);
  Wire.write(word);
  if (size) Wire.write(data, size);
  return Wire.endTransmission();
}

static int busReceive(void *, uint8_t *data, size_t size) {
  if (Wire.requestFrom(kAddress, (uint8_t)size) != size) return -1;
  for (size_t i = 0; i < size; i++) data[i] = Wire.read();
  return 0;
}

static void busWait(void *, unsigned ms) { delay(ms); }

static int load(void *, unsigned slot, uint8_t *data, size_t size) {
  memcpy(data, slots[slot], size);
  return 0;
}

static int store(void *, unsigned slot, const uint8_t *data, size_t size) {
  memcpy(slots[slot], data, size);
  return 0;
}

// millis() begins anew after 49 days, and uptime never may: the turns are counted. The loop asks often.
static int64_t uptime(void *) {
  static uint32_t last, turns;
  uint32_t now = millis();
  if (now < last) turns++;
  last = now;
  return ((int64_t)turns << 32) | now;
}

static atecc608_bus bus = {busWake, busSend, busReceive, busWait, nullptr};
static atecc608 chip = {&bus, 0, {0}};
static depin_storage storage = {load, store, nullptr};
static depin_clock deviceClock = {uptime, nullptr, nullptr};
static depin_key_place key = {atecc608_open, atecc608_make, atecc608_lock, nullptr, &chip};
static depin_enrolment enrolment = {"noise sensor", "noise@1", "", 0, 0, 0};
static depin_reading readings[4];
static depin_device device;
static depin_provision provision;
static depin_lines lines;
static char line[512];
static uint8_t room[DEPIN_PROVISION_ROOM];

static void onWrite(void *, const char *text, size_t size) { Serial.write(text, size); }

static void onLine(void *, depin_lines *from, const char *verb, char **arguments, size_t count) {
  depin_provision_handle(&provision, from, verb, arguments, count);
}

void setup() {
  Serial.begin(115200);
  Wire.begin();
  lines.buffer = line;
  lines.capacity = sizeof line;
  lines.write = onWrite;
  lines.handle = onLine;
  provision.device = &device;
  provision.config.storage = &storage;
  provision.config.clock = &deviceClock;
  provision.config.readings = readings;
  provision.config.capacity = 4;
  provision.key = &key;
  provision.enrolment = &enrolment;
  provision.version = "sign-a-reading-1";
  provision.room = room;
  depin_provision_begin(&provision);
}

void loop() {
  static uint32_t last;
  while (Serial.available()) depin_lines_feed(&lines, (char)Serial.read());
  int64_t now = uptime(nullptr);
  if (!depin_provision_ready(&provision) || !depin_provision_locked(&provision)) return;
  if (millis() - last < 60000) return;
  last = millis();
  static uint8_t out[512];
  size_t size = 0;
  depin_add(&device, "laeq", "dB", 5231, -2, now);
  if (depin_seal(&device, out, sizeof out, &size) == DEPIN_OK) {
    depin_bytes pack = {out, size};
    depin_lines_send(&lines, "up", nullptr, pack);
  }
}
