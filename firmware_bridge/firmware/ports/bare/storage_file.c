#include "storage_file.h"

#include <string.h>

#include "semihost.h"

/* A name for each slot: "slot-0" and so on, in the emulator's working folder. */
static void name_of(unsigned slot, char name[8])
{
    memcpy(name, "slot-0", 7);
    name[5] = (char)('0' + slot % 10u);
}

static int load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    char name[8];
    (void)context;
    name_of(slot, name);
    return storage_file_load(name, data, size);
}

static int store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    char name[8];
    (void)context;
    name_of(slot, name);
    return storage_file_store(name, data, size);
}

int storage_file_load(const char *name, void *data, size_t size)
{
    /* As flash: what was never written reads as ones. */
    memset(data, 0xFF, size);
    intptr_t file = semihost_open(name, SEMIHOST_READ);
    if (file == -1) {
        return 0;
    }
    (void)semihost_read(file, data, size);
    return semihost_close(file);
}

int storage_file_store(const char *name, const void *data, size_t size)
{
    intptr_t file = semihost_open(name, SEMIHOST_WRITE);
    if (file == -1) {
        return -1;
    }
    int failed = semihost_write(file, data, size);
    return (semihost_close(file) != 0 || failed) ? -1 : 0;
}

const depin_storage storage_file = {load, store, NULL};
