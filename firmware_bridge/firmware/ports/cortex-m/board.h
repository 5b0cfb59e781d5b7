/* The three boards that are emulated. BOARD_TICK_PS is the period of the clock of SysTick. */
#ifndef BOARD_H
#define BOARD_H

#if defined(BOARD_AN386) /* Cortex-M4: Arm MPS2 with application note 386 */
#define BOARD_CLOCK_HZ 25000000u
#define BOARD_TICK_PS 40000u
#define BOARD_UART_IRQ 0
#elif defined(BOARD_LM3S6965) /* Cortex-M3: Stellaris, with the clock it has after reset */
#define BOARD_CLOCK_HZ 12500000u
#define BOARD_TICK_PS 80000u
#define BOARD_UART_IRQ 5
#elif defined(BOARD_MICROBIT) /* Cortex-M0: nRF51822 with 16 KB RAM */
#define BOARD_CLOCK_HZ 16000000u
#define BOARD_TICK_PS 62500u
#define BOARD_UART_IRQ 2
#else
#error "which board?"
#endif

int board_uart_waiting(void);

#endif
