#include "semihost.h"

#include "port.h"

#define SYS_OPEN 0x01
#define SYS_CLOSE 0x02
#define SYS_WRITE 0x05
#define SYS_READ 0x06
#define SYS_TIME 0x11
#define SYS_EXIT_EXTENDED 0x20
#define APPLICATION_EXIT 0x20026

static size_t length(const char *text)
{
    size_t size = 0;
    while (text[size] != 0) {
        size++;
    }
    return size;
}

intptr_t semihost_open(const char *name, int mode)
{
    const intptr_t arguments[3] = {(intptr_t)name, mode, (intptr_t)length(name)};
    return port_semihost(SYS_OPEN, arguments);
}

size_t semihost_read(intptr_t file, void *data, size_t size)
{
    const intptr_t arguments[3] = {file, (intptr_t)data, (intptr_t)size};
    /* The answer is how many are missing; -1 is an error. */
    size_t missing = (size_t)port_semihost(SYS_READ, arguments);
    return missing > size ? 0 : size - missing;
}

int semihost_write(intptr_t file, const void *data, size_t size)
{
    const intptr_t arguments[3] = {file, (intptr_t)data, (intptr_t)size};
    return port_semihost(SYS_WRITE, arguments) == 0 ? 0 : -1;
}

int semihost_close(intptr_t file)
{
    const intptr_t arguments[1] = {file};
    return (int)port_semihost(SYS_CLOSE, arguments);
}

uint32_t semihost_seconds(void)
{
    return (uint32_t)port_semihost(SYS_TIME, NULL);
}

__attribute__((noreturn)) void semihost_exit(int status)
{
    const intptr_t arguments[2] = {APPLICATION_EXIT, status};
    for (;;) {
        port_semihost(SYS_EXIT_EXTENDED, arguments);
    }
}
