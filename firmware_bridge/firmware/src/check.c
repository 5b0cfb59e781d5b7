/* What the protocol allows as names and units: for tests of a firmware, and for texts from outside. */
#include "cbor.h"

#define MAX_NAME 128
#define MAX_UNIT 16

static int is_letter_or_digit(unsigned byte)
{
    return (byte | 32) - 'a' < 26 || byte - '0' < 10;
}

/* 1 to 128 of A-Z a-z 0-9 - : . / _, a letter or digit in front. */
static int is_name(const char *text)
{
    size_t size = 0;
    for (; text[size]; size++) {
        unsigned byte = (unsigned char)text[size];
        /* '-' '.' '/' and digits and ':' lie in one row */
        if (!is_letter_or_digit(byte) && (!size || (byte - '-' > ':' - '-' && byte != '_'))) {
            return 0;
        }
    }
    return size - 1 < MAX_NAME;
}

/* 1 to 16 visible ASCII characters. */
static int is_unit(const char *text)
{
    size_t size = 0;
    for (; text[size]; size++) {
        if ((unsigned char)text[size] - 0x21u > 0x7e - 0x21) {
            return 0;
        }
    }
    return size - 1 < MAX_UNIT;
}

int depin_secondary_unit(const char *unit)
{
    static const char known[] =
        "ms\0min\0h\0MHz\0kW\0kVA\0kvar\0Ah\0Wh\0kWh\0varh\0kvarh\0kVAh\0Wh/km\0KiB\0GB\0Mbit/s\0"
        "B/s\0MB/s\0mV\0mA\0dBm\0ug/m3\0mm/h\0m/h\0ppm\0/100\0/1000\0hPa\0mm\0cm\0km\0km/h\0";
    for (const char *at = known; *at; at += depin_length(at) + 1) {
        if (depin_same(unit, at)) {
            return 1;
        }
    }
    return 0;
}

int depin_check_reading(const depin_device *device, const char *name, const char *unit)
{
    return is_name(name) &&
                   (!unit || (is_unit(unit) &&
                              (device->config.secondary || !depin_secondary_unit(unit))))
               ? DEPIN_OK
               : DEPIN_E_ARGUMENT;
}
