/* The board "virt" of QEMU: mtime, a 16550 and its interrupt controller. */
#include "port.h"

#define MTIMECMP_LOW (*(volatile uint32_t *)0x02004000u)
#define MTIMECMP_HIGH (*(volatile uint32_t *)0x02004004u)
#define MTIME_LOW (*(volatile uint32_t *)0x0200BFF8u)
#define MTIME_HIGH (*(volatile uint32_t *)0x0200BFFCu)
#define MTIME_PER_MS 10000u
#define INSTRUCTIONS_PER_MTIME 100u

#define UART ((volatile uint8_t *)0x10000000u)
#define UART_LINE 5
#define UART_LINE_RECEIVED 0x01u
#define UART_LINE_SENT 0x20u
#define UART_IRQ 10u
#define PLIC_PRIORITY(irq) (*(volatile uint32_t *)(0x0C000000u + 4u * (irq)))
#define PLIC_ENABLE (*(volatile uint32_t *)0x0C002000u)
#define PLIC_THRESHOLD (*(volatile uint32_t *)0x0C200000u)
#define PLIC_CLAIM (*(volatile uint32_t *)0x0C200004u)

#define MIE_TIMER (1u << 7)
#define MIE_EXTERNAL (1u << 11)
#define MSTATUS_MIE 8u

static uint64_t began;
static uint32_t counted_from;

static uint64_t mtime(void)
{
    uint32_t high, low;
    do {
        high = MTIME_HIGH;
        low = MTIME_LOW;
    } while (high != MTIME_HIGH);
    return (uint64_t)high << 32 | low;
}

static void set_alarm(uint64_t at)
{
    MTIMECMP_HIGH = 0xFFFFFFFFu; /* no alarm between the two halves */
    MTIMECMP_LOW = (uint32_t)at;
    MTIMECMP_HIGH = (uint32_t)(at >> 32);
}

void port_time_start(void)
{
    began = mtime();
}

int64_t port_uptime_ms(void)
{
    return (int64_t)((mtime() - began) / MTIME_PER_MS);
}

void port_wait(void)
{
    /* WFI wakes up for what is pending while interrupts stay off: no handler is needed. */
    if (UART[UART_LINE] & UART_LINE_RECEIVED) {
        return;
    }
    set_alarm(mtime() + 10u * MTIME_PER_MS);
    port_shield();
    __asm volatile("csrs mie, %0\n\twfi" ::"r"(MIE_TIMER | MIE_EXTERNAL) : "memory");
    uint32_t claimed = PLIC_CLAIM;
    if (claimed != 0) {
        PLIC_CLAIM = claimed;
    }
}

void port_uart_start(void)
{
    UART[3] = 0x03u; /* 8 bits */
    UART[1] = 0x01u; /* interrupt on receipt */
    PLIC_PRIORITY(UART_IRQ) = 1;
    PLIC_ENABLE = 1u << UART_IRQ;
    PLIC_THRESHOLD = 0;
}

int port_uart_get(void)
{
    return (UART[UART_LINE] & UART_LINE_RECEIVED) ? UART[0] : -1;
}

void port_uart_put(char byte)
{
    while ((UART[UART_LINE] & UART_LINE_SENT) == 0) {
    }
    UART[0] = (uint8_t)byte;
}

static uint32_t retired(void)
{
    uint32_t count;
    __asm volatile("csrr %0, minstret" : "=r"(count));
    return count;
}

void port_count_start(void)
{
    counted_from = retired();
}

uint32_t port_count(void)
{
    return retired() - counted_from;
}

void port_cut_after(uint32_t instructions)
{
    set_alarm(mtime() + instructions / INSTRUCTIONS_PER_MTIME);
    __asm volatile("csrs mie, %0\n\tcsrs mstatus, %1" ::"r"(MIE_TIMER), "r"(MSTATUS_MIE) : "memory");
}

void port_cut_never(void)
{
    __asm volatile("csrc mie, %0" ::"r"(MIE_TIMER) : "memory");
    set_alarm(UINT64_MAX);
}

void port_shield(void)
{
    __asm volatile("csrc mstatus, %0" ::"r"(MSTATUS_MIE) : "memory");
}

void port_unshield(void)
{
    __asm volatile("csrs mstatus, %0" ::"r"(MSTATUS_MIE) : "memory");
}
