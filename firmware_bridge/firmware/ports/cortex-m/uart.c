/* The serial line of each board, polled; its interrupt only ends a sleep. */
#include "board.h"
#include "port.h"

#define REGISTER(base, offset) (*(volatile uint32_t *)((base) + (offset)))

#if defined(BOARD_AN386) /* CMSDK APB UART */

#define UART 0x40004000u
#define DATA REGISTER(UART, 0x00)
#define STATE REGISTER(UART, 0x04)
#define CONTROL REGISTER(UART, 0x08)
#define INTERRUPT REGISTER(UART, 0x0C)
#define DIVIDER REGISTER(UART, 0x10)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u

void port_uart_start(void)
{
    DIVIDER = BOARD_CLOCK_HZ / 115200u;
    CONTROL = 1u | 2u | 8u; /* send, receive, interrupt on receipt */
}

int board_uart_waiting(void)
{
    return (STATE & STATE_RX_FULL) != 0;
}

int port_uart_get(void)
{
    if (!board_uart_waiting()) {
        return -1;
    }
    int byte = (int)(DATA & 0xFFu);
    INTERRUPT = 2u;
    return byte;
}

void port_uart_put(char byte)
{
    while (STATE & STATE_TX_FULL) {
    }
    DATA = (uint8_t)byte;
}

#elif defined(BOARD_LM3S6965) /* PL011 */

#define UART 0x4000C000u
#define DATA REGISTER(UART, 0x00)
#define FLAGS REGISTER(UART, 0x18)
#define LINE REGISTER(UART, 0x2C)
#define CONTROL REGISTER(UART, 0x30)
#define MASK REGISTER(UART, 0x38)
#define FLAGS_RX_EMPTY 0x10u
#define FLAGS_TX_FULL 0x20u

void port_uart_start(void)
{
    LINE = 0x60u;     /* 8 bits, no queue: every byte is told at once */
    MASK = 0x10u;     /* interrupt on receipt */
    CONTROL = 0x301u; /* on, send, receive */
}

int board_uart_waiting(void)
{
    return (FLAGS & FLAGS_RX_EMPTY) == 0;
}

int port_uart_get(void)
{
    return board_uart_waiting() ? (int)(DATA & 0xFFu) : -1;
}

void port_uart_put(char byte)
{
    while (FLAGS & FLAGS_TX_FULL) {
    }
    DATA = (uint8_t)byte;
}

#elif defined(BOARD_MICROBIT) /* nRF51 UART */

#define UART 0x40002000u
#define START_RX REGISTER(UART, 0x000)
#define START_TX REGISTER(UART, 0x008)
#define RX_READY REGISTER(UART, 0x108)
#define TX_READY REGISTER(UART, 0x11C)
#define INTERRUPT_ON REGISTER(UART, 0x304)
#define ENABLE REGISTER(UART, 0x500)
#define RX_DATA REGISTER(UART, 0x518)
#define TX_DATA REGISTER(UART, 0x51C)

void port_uart_start(void)
{
    ENABLE = 4u;
    INTERRUPT_ON = 1u << 2; /* on receipt */
    START_RX = 1;
    START_TX = 1;
}

int board_uart_waiting(void)
{
    return RX_READY != 0;
}

int port_uart_get(void)
{
    if (!board_uart_waiting()) {
        return -1;
    }
    RX_READY = 0;
    return (int)(RX_DATA & 0xFFu);
}

void port_uart_put(char byte)
{
    TX_READY = 0;
    TX_DATA = (uint8_t)byte;
    while (TX_READY == 0) {
    }
}

#endif
