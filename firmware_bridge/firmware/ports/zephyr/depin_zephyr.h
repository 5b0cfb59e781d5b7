/* Storage by Zephyr's settings (NVS or ZMS below it), and its clock. settings_subsys_init() first. */
#ifndef DEPIN_ZEPHYR_H
#define DEPIN_ZEPHYR_H

#include "depin/depin.h"

int depin_zephyr_load(void *context, unsigned slot, uint8_t *data, size_t size);
int depin_zephyr_store(void *context, unsigned slot, const uint8_t *data, size_t size);
int64_t depin_zephyr_uptime(void *context);

#endif
