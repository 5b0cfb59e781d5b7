/* Storage in NVS, and the clock of ESP-IDF. nvs_flash_init() first. */
#ifndef DEPIN_ESP_H
#define DEPIN_ESP_H

#include "depin/depin.h"

int depin_esp_load(void *context, unsigned slot, uint8_t *data, size_t size);
int depin_esp_store(void *context, unsigned slot, const uint8_t *data, size_t size);
int64_t depin_esp_uptime(void *context);

#endif
