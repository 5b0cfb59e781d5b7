#include "depin_esp.h"

#include <esp_timer.h>
#include <nvs.h>
#include <string.h>

static void name_slot(char name[6], unsigned slot)
{
    memcpy(name, "slot0", 6);
    name[4] = (char)('0' + slot % 10);
}

int depin_esp_load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    char name[6];
    nvs_handle_t store;
    size_t have = size;
    (void)context;
    name_slot(name, slot);
    memset(data, 0xFF, size);
    esp_err_t status = nvs_open("depin", NVS_READONLY, &store);
    if (status == ESP_OK) {
        status = nvs_get_blob(store, name, data, &have);
        nvs_close(store);
    }
    return status != ESP_OK && status != ESP_ERR_NVS_NOT_FOUND;
}

int depin_esp_store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    char name[6];
    nvs_handle_t store;
    (void)context;
    name_slot(name, slot);
    if (nvs_open("depin", NVS_READWRITE, &store) != ESP_OK)
        return -1;
    esp_err_t status = nvs_set_blob(store, name, data, size);
    if (status == ESP_OK)
        status = nvs_commit(store);
    nvs_close(store);
    return status != ESP_OK;
}

int64_t depin_esp_uptime(void *context)
{
    (void)context;
    return esp_timer_get_time() / 1000;
}
