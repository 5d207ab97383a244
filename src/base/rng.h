/* rng.h - Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter is the whole state. */
#ifndef RY_BASE_RNG_H
#define RY_BASE_RNG_H
#include <stdint.h>

/* One block: four words from a counter of four words and a key of two. The text serves both word sizes of the paper: ours is
 * 32 bits; at 64 bits it gives NumPy's streams, by which the tests check it. */
#define RY_PHILOX(name, word, wide, bits, M0, M1, W0, W1)                          \
    static inline void name(const word ctr[4], const word key[2], word out[4]) {   \
        word c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1]; \
        RY_UNROLL_10                                                               \
        for (int i = 0; i < 10; i++) {                                             \
            wide p0 = (wide)(M0)*c0, p1 = (wide)(M1)*c2;                           \
            c0 = (word)(p1 >> bits) ^ c1 ^ k0;                                     \
            c1 = (word)p1;                                                         \
            c2 = (word)(p0 >> bits) ^ c3 ^ k1;                                     \
            c3 = (word)p0;                                                         \
            k0 += (W0);                                                            \
            k1 += (W1);                                                            \
        }                                                                          \
        out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;                        \
    }
#if defined(__clang__)
#define RY_UNROLL_10 _Pragma("unroll 10")
#elif defined(__GNUC__)
#define RY_UNROLL_10 _Pragma("GCC unroll 10") /* so that a loop over blocks is one that compilers turn into vectors */
#else
#define RY_UNROLL_10
#endif
RY_PHILOX(ry_philox, uint32_t, uint64_t, 32, 0xD2511F53u, 0xCD9E8D57u, 0x9E3779B9u, 0xBB67AE85u)
/* Word i of the stream (seed, stream): block i/4, lane i%4; counter = {block lo, block hi, stream, 0}. */
uint32_t ry_rng_word(uint64_t seed, uint32_t stream, uint64_t i);
static inline float ry_rng_unit(uint32_t w) { return (float)(w >> 8) * 0x1p-24f; } /* [0,1), 24 bits */
/* n uniforms, or normals by Box-Muller, of the stream from position i (normals: i even; words 2k and 2k+1 give normals 2k and
 * 2k+1). The same bits on every machine: only IEEE additions, products and square roots, in one order. */
void ry_rng_uniform(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i);
void ry_rng_normal(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i);
/* A random permutation of [0,n): p[rank of i]; stable for (seed, stream). Fisher-Yates on words of the stream. */
void ry_rng_permute(int64_t *p, int64_t n, uint64_t seed, uint32_t stream);
#endif
