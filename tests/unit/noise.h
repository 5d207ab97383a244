/* noise.h - numbers that look random and are the same in every run: a linear congruence (Numerical Recipes).  Header of tests only. */
#ifndef TEST_NOISE_H
#define TEST_NOISE_H
#include <stdint.h>

#ifndef NOISE_SEED
#define NOISE_SEED 1
#endif
static uint32_t seed = NOISE_SEED;
static inline uint32_t next(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}
static inline int pick(int n) { return (int)(next() % (uint32_t)n); }
static inline float uniform(void) { return (float)next() * 0x1p-23f - 1.0f; } /* [-1, 1) */
#endif
