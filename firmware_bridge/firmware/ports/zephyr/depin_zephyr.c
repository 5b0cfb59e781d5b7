#include "depin_zephyr.h"

#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/settings/settings.h>

typedef struct wanted {
    uint8_t *data;
    size_t size;
    int failed;
} wanted;

static void name_slot(char name[12], unsigned slot)
{
    memcpy(name, "depin/slot0", 12);
    name[10] = (char)('0' + slot % 10);
}

static int take(const char *key, size_t length, settings_read_cb read, void *argument, void *param)
{
    wanted *found = param;
    (void)key;
    if (length > found->size || read(argument, found->data, length) != (ssize_t)length)
        found->failed = 1;
    return 0;
}

int depin_zephyr_load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    char name[12];
    wanted found = {data, size, 0};
    (void)context;
    name_slot(name, slot);
    memset(data, 0xFF, size);
    return settings_load_subtree_direct(name, take, &found) != 0 || found.failed;
}

int depin_zephyr_store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    char name[12];
    (void)context;
    name_slot(name, slot);
    return settings_save_one(name, data, size);
}

int64_t depin_zephyr_uptime(void *context)
{
    (void)context;
    return k_uptime_get();
}
