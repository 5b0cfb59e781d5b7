/* Storage in files, randomness and clocks of a POSIX system. */
#ifndef DEPIN_POSIX_H
#define DEPIN_POSIX_H

#include "depin/depin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct depin_posix {
    int folder;            /* open, of mode 0700: it holds a key */
    int64_t began_ms;      /* of the monotonic clock: a boot is a start of the process */
    uint32_t clock_error_s; /* how wrong the wall clock may be; 0: there is none */
} depin_posix;

/* Open the folder, or make it. Another process that has it is refused. 0, or -1 with errno. */
int depin_posix_open(depin_posix *posix, const char *folder, uint32_t clock_error_s);
void depin_posix_close(depin_posix *posix);

/* The callbacks; their context is the depin_posix. A slot is a file that is replaced whole. */
int depin_posix_load(void *context, unsigned slot, uint8_t *data, size_t size);
int depin_posix_store(void *context, unsigned slot, const uint8_t *data, size_t size);
int depin_posix_random(void *context, uint8_t *out, size_t size);
int64_t depin_posix_uptime(void *context);
int depin_posix_wall(void *context, int64_t *ms, uint32_t *error_s);

#ifdef __cplusplus
}
#endif
#endif
