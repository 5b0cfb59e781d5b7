/* How deep the stack went, by painting what lies below and looking how much paint is left. */
#include "port.h"

#define PAINT 0xC5C5C5C5u
#define OWN_WORDS 8 /* what port_stack_paint may need itself below its caller */

static uint32_t *painted_from;

__attribute__((noinline)) void port_stack_paint(void)
{
    uint32_t *here = (uint32_t *)__builtin_frame_address(0);
    painted_from = here;
    for (volatile uint32_t *word = port_stack_low; word < here - OWN_WORDS; word++) {
        *word = PAINT;
    }
}

uint32_t port_stack_used(void)
{
    const volatile uint32_t *word = port_stack_low;
    while (word < painted_from && *word == PAINT) {
        word++;
    }
    return (uint32_t)(painted_from - (const uint32_t *)word) * 4u;
}
