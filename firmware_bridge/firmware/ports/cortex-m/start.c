/* Start-up of Cortex-M: vector table, memory, SysTick, semihosting. Same code on M0, M3 and M4. */
#include "board.h"
#include "port.h"
#include "semihost.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define SYST_RUN 5u /* from the processor's clock */
#define SYST_INTERRUPT 2u
#define SYST_MOST 0xFFFFFFu
#define ICSR (*(volatile uint32_t *)0xE000ED04u)
#define ICSR_SYSTICK_CLEAR (1u << 25)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)
#define NVIC_ENABLE_CLEAR (*(volatile uint32_t *)0xE000E180u)
#define NVIC_UNPEND (*(volatile uint32_t *)0xE000E280u)

#define TICK_MS 10u
#define FRAME_PC 6
#define FRAME_PSR 7
#define PSR_THUMB (1u << 24)

extern uint32_t image_data_load[], image_data[], image_data_end[], image_bss[], image_bss_end[];

static volatile uint32_t ticks;
static volatile uint8_t cutting;

__attribute__((noreturn)) void reset_handler(void);
void systick_handler(void);
void on_tick(uint32_t *frame);
static void stuck(void);

__attribute__((noreturn)) void reset_handler(void)
{
    const uint32_t *from = image_data_load;
    for (uint32_t *to = image_data; to < image_data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = image_bss; to < image_bss_end; to++) {
        *to = 0;
    }
    semihost_exit(main());
}

static void stuck(void)
{
    semihost_exit(99);
}

/* As if the power came back: an empty stack, and nothing of what ran. */
__attribute__((naked)) static void restart(void)
{
    __asm volatile("ldr r0, =port_stack_top\n"
                   "mov sp, r0\n"
                   "ldr r0, =port_after_cut\n"
                   "bx r0\n"
                   ".ltorg\n");
}

/* What was interrupted is not gone back to when the power is to be cut. */
__attribute__((used)) void on_tick(uint32_t *frame)
{
    if (cutting) {
        port_cut_never();
        frame[FRAME_PC] = (uint32_t)restart & ~1u;
        frame[FRAME_PSR] = PSR_THUMB;
        return;
    }
    ticks++;
}

__attribute__((naked)) void systick_handler(void)
{
    __asm volatile("mrs r0, msp\n"
                   "ldr r1, =on_tick\n"
                   "bx r1\n"
                   ".ltorg\n");
}

/* Interrupts of the board's devices only wake it up; none is ever taken. */
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16 + 32] = {
    (uintptr_t)port_stack_top,
    (uintptr_t)reset_handler,
    (uintptr_t)stuck,
    (uintptr_t)stuck,
    (uintptr_t)stuck,
    (uintptr_t)stuck,
    (uintptr_t)stuck,
    [11] = (uintptr_t)stuck,
    [14] = (uintptr_t)stuck,
    [15] = (uintptr_t)systick_handler,
};

static void run_systick(uint32_t reload, uint32_t flags)
{
    SYST_CSR = 0;
    SYST_RVR = reload;
    SYST_CVR = 0;
    ICSR = ICSR_SYSTICK_CLEAR;
    SYST_CSR = SYST_RUN | flags;
}

void port_time_start(void)
{
    cutting = 0;
    ticks = 0;
    run_systick(BOARD_CLOCK_HZ / 1000u * TICK_MS - 1u, SYST_INTERRUPT);
}

int64_t port_uptime_ms(void)
{
    return (int64_t)ticks * TICK_MS;
}

void port_wait(void)
{
    /* WFI wakes up for what is pending even while interrupts are off: no wake-up is missed between
     * the look at the line and the sleep, and no handler is needed for the line. */
    __asm volatile("cpsid i" ::: "memory");
    NVIC_ENABLE = 1u << BOARD_UART_IRQ;
    if (!board_uart_waiting()) {
        __asm volatile("wfi");
    }
    NVIC_ENABLE_CLEAR = 1u << BOARD_UART_IRQ;
    NVIC_UNPEND = 1u << BOARD_UART_IRQ;
    __asm volatile("cpsie i" ::: "memory");
}

void port_count_start(void)
{
    run_systick(SYST_MOST, 0);
}

uint32_t port_count(void)
{
    /* Half nanoseconds: 62.5 ns is the tick of one board. No 64-bit division. */
    return (SYST_MOST - SYST_CVR) / 2u * (BOARD_TICK_PS / 500u);
}

void port_cut_after(uint32_t instructions)
{
    uint32_t count = instructions * 2u / (BOARD_TICK_PS / 500u);
    cutting = 1;
    run_systick(count > 1 ? count : 1, SYST_INTERRUPT);
}

void port_cut_never(void)
{
    SYST_CSR = 0;
    ICSR = ICSR_SYSTICK_CLEAR;
    cutting = 0;
}

void port_shield(void)
{
    __asm volatile("cpsid i" ::: "memory");
}

void port_unshield(void)
{
    __asm volatile("cpsie i" ::: "memory");
}

intptr_t port_semihost(intptr_t operation, const void *arguments)
{
    register intptr_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
