#include "level.h"

#define SAMPLES_LOG2 12 /* samples in a second; what is weighted and heard is made up */

/* Noise whose loudness goes up and down in the course of a minute. The same second is the same. */
static int32_t sample(uint32_t *noise, int32_t loudness)
{
    *noise = *noise * 1664525u + 1013904223u;
    int32_t wave = (int32_t)(*noise >> 16) - 32768;
    return wave * loudness / 32768;
}

int32_t level_of_second(uint32_t second, uint32_t street)
{
    uint32_t noise = (second ^ street) * 2654435761u + 1u;
    int32_t phase = (int32_t)(second & 63u);
    int32_t loudness = 500 + 60 * (phase < 32 ? phase : 63 - phase);
    uint64_t squares = 0;
    for (int i = 0; i < 1 << SAMPLES_LOG2; i++) {
        int32_t wave = sample(&noise, loudness);
        squares += (uint32_t)(wave * wave);
    }
    return level_decibel((uint32_t)(squares >> SAMPLES_LOG2));
}

int32_t level_decibel(uint32_t mean_square)
{
    if (mean_square == 0) {
        return 0;
    }
    /* log2 with 16 binary places: the place of the highest bit, then one place for each squaring. */
    uint32_t log2 = 31u << 16;
    while ((mean_square & 0x80000000u) == 0) {
        mean_square <<= 1;
        log2 -= 1u << 16;
    }
    for (uint32_t place = 1u << 15; place != 0; place >>= 1) {
        uint64_t square = (uint64_t)mean_square * mean_square;
        if (square >> 63) {
            log2 |= place;
            mean_square = (uint32_t)(square >> 32);
        } else {
            mean_square = (uint32_t)(square >> 31);
        }
    }
    /* 1000 log10(2) = 301.03, times 2^8. */
    return (int32_t)((uint64_t)log2 * 77064u >> 24);
}
