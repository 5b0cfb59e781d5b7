/* Files and the end of a run, through the emulator or debugger (Arm semihosting, RISC-V likewise). */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stddef.h>
#include <stdint.h>

enum { SEMIHOST_READ = 1, SEMIHOST_WRITE = 5, SEMIHOST_APPEND = 9 };

intptr_t semihost_open(const char *name, int mode); /* a handle, or -1 */
size_t semihost_read(intptr_t file, void *data, size_t size); /* how many came */
int semihost_write(intptr_t file, const void *data, size_t size); /* 0 when all were written */
int semihost_close(intptr_t file);
uint32_t semihost_seconds(void); /* since 1970 */
__attribute__((noreturn)) void semihost_exit(int status);

#endif
