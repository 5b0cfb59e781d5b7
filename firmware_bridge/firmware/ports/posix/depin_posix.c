#define _DEFAULT_SOURCE
#include "depin_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        return -1;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int depin_posix_open(depin_posix *posix, const char *folder, uint32_t clock_error_s)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return -1;
    posix->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (posix->folder < 0)
        return -1;
    /* Two processes in one folder would sign twice at one position. */
    if (flock(posix->folder, LOCK_EX | LOCK_NB) != 0) {
        depin_posix_close(posix);
        return -1;
    }
    posix->began_ms = now_ms(CLOCK_MONOTONIC);
    posix->clock_error_s = clock_error_s;
    return 0;
}

void depin_posix_close(depin_posix *posix)
{
    (void)close(posix->folder);
    posix->folder = -1;
}

int depin_posix_load(void *context, unsigned slot, uint8_t *data, size_t size)
{
    depin_posix *posix = context;
    char name[24];
    (void)snprintf(name, sizeof name, "slot-%u", slot);
    memset(data, 0xFF, size); /* as erased */
    int file = openat(posix->folder, name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT ? 0 : -1;
    size_t have = 0;
    ssize_t got = 0;
    while (have < size && (got = read(file, data + have, size - have)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        if (got > 0)
            have += (size_t)got;
    }
    (void)close(file);
    return got < 0 ? -1 : 0;
}

static int write_all(int file, const uint8_t *data, size_t size)
{
    while (size != 0) {
        ssize_t put = write(file, data, size);
        if (put < 0 && errno != EINTR)
            return -1;
        if (put > 0) {
            data += put;
            size -= (size_t)put;
        }
    }
    return fsync(file);
}

int depin_posix_store(void *context, unsigned slot, const uint8_t *data, size_t size)
{
    depin_posix *posix = context;
    char name[24], beside[28];
    (void)snprintf(name, sizeof name, "slot-%u", slot);
    (void)snprintf(beside, sizeof beside, "%s.new", name);
    int file = openat(posix->folder, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return -1;
    int failed = write_all(file, data, size) != 0;
    failed |= close(file) != 0;
    if (failed || renameat(posix->folder, beside, posix->folder, name) != 0)
        return -1;
    return fsync(posix->folder); /* the name, too, has to be there after a power cut */
}

int depin_posix_random(void *context, uint8_t *out, size_t size)
{
    (void)context;
    while (size != 0) {
        ssize_t got = getrandom(out, size, 0);
        if (got < 0 && errno != EINTR)
            return -1;
        if (got > 0) {
            out += got;
            size -= (size_t)got;
        }
    }
    return 0;
}

int64_t depin_posix_uptime(void *context)
{
    depin_posix *posix = context;
    return now_ms(CLOCK_MONOTONIC) - posix->began_ms;
}

int depin_posix_wall(void *context, int64_t *ms, uint32_t *error_s)
{
    depin_posix *posix = context;
    *ms = now_ms(CLOCK_REALTIME);
    *error_s = posix->clock_error_s;
    return posix->clock_error_s == 0 || *ms < 0 ? -1 : 0;
}
