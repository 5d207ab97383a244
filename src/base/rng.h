/* rng.h - Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter is the whole state. */
#ifndef RY_BASE_RNG_H
#define RY_BASE_RNG_H
#include <stdint.h>

/* One block: four words from a 128-bit counter and a 64-bit key. */
static inline void ry_philox(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1];
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}
/* Word i of the stream (seed, stream): block i/4, lane i%4; counter = {block lo, block hi, stream, 0}. */
uint32_t ry_rng_word(uint64_t seed, uint32_t stream, uint64_t i);
static inline float ry_rng_unit(uint32_t w) { return (float)(w >> 8) * 0x1p-24f; } /* [0,1), 24 bits */
/* n uniforms, or normals by Box-Muller, of the stream from position i (normals: i even). */
void ry_rng_uniform(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i);
void ry_rng_normal(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i);
/* A random permutation of [0,n): p[rank of i]; stable for (seed, stream). Fisher-Yates on words of the stream. */
void ry_rng_permute(int64_t *p, int64_t n, uint64_t seed, uint32_t stream);
#endif
