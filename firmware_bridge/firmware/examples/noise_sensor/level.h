/* The level of a second of sound, in integers. */
#ifndef LEVEL_H
#define LEVEL_H

#include <stdint.h>

/* A simulated microphone, and the equivalent level of what it hears in one second in 0.01 dB.
 * street: another one hears something else. */
int32_t level_of_second(uint32_t second, uint32_t street);

/* 10 log10 of a mean square, in 0.01 dB; 0 for 0. */
int32_t level_decibel(uint32_t mean_square);

#endif
