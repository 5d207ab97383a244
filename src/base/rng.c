/* rng.c - uniforms, normals and permutations from Philox streams.
 *
 * Owns no state: a position in a stream is an argument.  Calls nothing of libm but the square root, which is rounded correctly
 * everywhere: logarithm and sine are polynomials of our own (minimax fits; errors below 1e-8 before rounding). */
#include "base/rng.h"
#include <math.h>
#include <string.h>

enum { BLOCKS = 32, WORDS = 4 * BLOCKS }; /* what is made at a time: loops of known length become vectors */

static void make_words(uint32_t w[WORDS], uint64_t seed, uint32_t stream, uint64_t block) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int j = 0; j < BLOCKS; j++) {
        uint64_t b = block + (uint64_t)j;
        const uint32_t ctr[4] = {(uint32_t)b, (uint32_t)(b >> 32), stream, 0};
        ry_philox(ctr, key, w + 4 * j);
    }
}

uint32_t ry_rng_word(uint64_t seed, uint32_t stream, uint64_t i) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t ctr[4] = {(uint32_t)(i >> 2), (uint32_t)(i >> 34), stream, 0};
    uint32_t w[4];
    ry_philox(ctr, key, w);
    return w[i & 3];
}

static void units(float y[WORDS], const uint32_t w[WORDS]) {
    for (int j = 0; j < WORDS; j++)
        y[j] = (float)(int32_t)(w[j] >> 8) * 0x1p-24f; /* ry_rng_unit; signed converts faster */
}

/* ln x for x in (0, 1]: x = m 2^e with m in [sqrt(1/2), sqrt(2)). */
static inline float log_unit(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits -= 0x3f3504f3u;
    float e = (float)((int32_t)bits >> 23);
    bits = (bits & 0x007fffffu) + 0x3f3504f3u;
    float m;
    memcpy(&m, &bits, sizeof m);
    float t = m - 1.0f, p = -0x1.38b576p-4f;
    p = p * t + 0x1.055b68p-3f;
    p = p * t - 0x1.0d8542p-3f;
    p = p * t + 0x1.22da1ep-3f;
    p = p * t - 0x1.547244p-3f;
    p = p * t + 0x1.99a008p-3f;
    p = p * t - 0x1.000226p-2f;
    p = p * t + 0x1.555554p-2f;
    float square = t * t;
    return (square * t * p - 0.5f * square + t) + e * 0x1.62e430p-1f;
}

/* Box-Muller (1958) on pairs: radius from the first word of a pair, angle from all 32 bits of the second. */
static void normals(float y[WORDS], const uint32_t w[WORDS]) {
    for (int j = 0; j < WORDS / 2; j++) {
        float u = (float)(int32_t)(w[2 * j] >> 1) * 0x1p-31f + 0x1p-32f; /* (0, 1] */
        float r = sqrtf(-2.0f * log_unit(u));
        /* The angle as a quarter turn q and the rest x in [-pi/4, pi/4]. */
        uint32_t turn = w[2 * j + 1], q = (turn + 0x20000000u) >> 30;
        float x = (float)(int32_t)(turn - (q << 30)) * 0x1.921fb6p-30f;
        float z = x * x;
        float s = x + x * z * (-0x1.555546p-3f + z * (0x1.110760p-7f + z * -0x1.994eb4p-13f));
        float c = 1.0f - 0.5f * z + z * z * (0x1.55554ap-5f + z * (-0x1.6c0c8cp-10f + z * 0x1.9a025ap-16f));
        uint32_t sb, cb, swap = 0u - (q & 1u);
        memcpy(&sb, &s, sizeof sb);
        memcpy(&cb, &c, sizeof cb);
        uint32_t cosine = ((cb & ~swap) | (sb & swap)) ^ ((q + 1u) << 30 & 0x80000000u);
        uint32_t sine = ((sb & ~swap) | (cb & swap)) ^ (q << 30 & 0x80000000u);
        memcpy(&c, &cosine, sizeof c);
        memcpy(&s, &sine, sizeof s);
        y[2 * j] = r * c;
        y[2 * j + 1] = r * s;
    }
}

static void fill(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i,
                 void (*make)(float y[WORDS], const uint32_t w[WORDS])) {
    uint32_t w[WORDS];
    float values[WORDS];
    uint64_t block = i / 4;
    size_t from = (size_t)(i % 4);
    while (n > 0) {
        make_words(w, seed, stream, block);
        make(values, w);
        size_t take = WORDS - from < (uint64_t)n ? WORDS - from : (size_t)n;
        memcpy(y, values + from, take * sizeof *y);
        y += take;
        n -= (int64_t)take;
        block += BLOCKS;
        from = 0;
    }
}

void ry_rng_uniform(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i) {
    fill(y, n, seed, stream, i, units);
}

void ry_rng_normal(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i) {
    fill(y, n, seed, stream, i, normals);
}

/* A number below n from two words: the high half of a product of 64 bits, whose bias is below n / 2^64. */
static uint64_t below(uint64_t n, uint64_t seed, uint32_t stream, uint64_t i) {
    uint64_t a = (uint64_t)ry_rng_word(seed, stream, i) << 32 | ry_rng_word(seed, stream, i + 1);
    uint64_t al = a & 0xffffffffu, ah = a >> 32, nl = n & 0xffffffffu, nh = n >> 32;
    uint64_t middle = (al * nl >> 32) + (ah * nl & 0xffffffffu) + al * nh;
    return ah * nh + (ah * nl >> 32) + (middle >> 32);
}

void ry_rng_permute(int64_t *p, int64_t n, uint64_t seed, uint32_t stream) {
    for (int64_t i = 0; i < n; i++) p[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)below((uint64_t)i + 1, seed, stream, 2 * (uint64_t)i);
        int64_t t = p[i];
        p[i] = p[j];
        p[j] = t;
    }
}
