/* What a bare-metal board gives the images that run on it. One board is linked into an image. */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>
#include <stdint.h>

/* --- time ---------------------------------------------------------------------------------------- */

void port_time_start(void);   /* count from now on, with an interrupt every 10 ms on Cortex-M */
int64_t port_uptime_ms(void);
void port_wait(void);         /* sleep until a byte came in or some milliseconds went by */

/* --- serial line --------------------------------------------------------------------------------- */

void port_uart_start(void);
int port_uart_get(void); /* a byte, or -1 when there is none */
void port_uart_put(char byte);

/* --- what only an emulator can tell -------------------------------------------------------------- */

/* Instructions since the counter was started, under `-icount shift=0`: exact on RV32, to within one
 * tick of SysTick (16 to 80 instructions) on Cortex-M. */
void port_count_start(void);
uint32_t port_count(void);

/* Cut the power after about so many instructions: whatever runs then is abandoned where it is, and
 * port_after_cut is entered on an empty stack. port_cut_never takes it back. */
void port_cut_after(uint32_t instructions);
void port_cut_never(void);
__attribute__((noreturn)) void port_after_cut(void);

/* Between these no cut happens: what lies outside of the device is not cut off. They do not nest. */
void port_shield(void);
void port_unshield(void);

/* --- the stack ----------------------------------------------------------------------------------- */

extern uint32_t port_stack_low[], port_stack_top[];

void port_stack_paint(void);    /* everything below the caller */
uint32_t port_stack_used(void); /* bytes below the caller of port_stack_paint that were written */

/* The board's end of semihosting: a request to the emulator or debugger. */
intptr_t port_semihost(intptr_t operation, const void *arguments);

int main(void);

#endif
