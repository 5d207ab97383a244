/* blocks.c - quantisers: floats to GGUF's block formats, the same bits on every machine.  Owns the searches; how blocks are read is
 * blocks.inc's.
 *
 * Formats with one scale a block take it from the extreme value, as ggml does. The others are searched: a few scales near that one
 * are tried, each with the codes that it gives, and the scale (and min) that fits those codes best, by least squares with larger
 * values weighed more, is kept where its error is the smallest. */
#include "simd/blocks.h"
#include "simd/halves.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef float f8 __attribute__((vector_size(32)));
typedef int32_t w8 __attribute__((vector_size(32)));
#define BLOCK_FN static inline __attribute__((always_inline, unused))

/* By address: by value their place depends on the instruction set. */
BLOCK_FN void f8_pick(f8 *out, const w8 *yes, const f8 *a, const f8 *b) { *out = (f8)(((w8)*a & *yes) | ((w8)*b & ~*yes)); }
/* The nearest whole numbers within [lo, hi], below 2^22 in magnitude; NaN gives lo. */
BLOCK_FN void f8_nearest(f8 *v, float lo, float hi) {
    const f8 l = lo - (f8){0}, h = hi - (f8){0};
    w8 in = (w8)(*v > l);
    f8_pick(v, &in, v, &l);
    in = (w8)(*v < h);
    f8_pick(v, &in, v, &h);
    *v = (*v + 0x1.8p23f) - 0x1.8p23f;
}
BLOCK_FN float f8_sum(const f8 *v) {
    const f8 a = *v;
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}
/* One whole number within [lo, hi]; NaN gives lo. */
static int nearest(float v, int lo, int hi) {
    v = v > (float)lo ? v : (float)lo;
    v = v < (float)hi ? v : (float)hi;
    return (int)((v + 0x1.8p23f) - 0x1.8p23f);
}
/* Toward zero. */
static int whole(float v, int hi) { return v > 0.0f ? v < (float)hi ? (int)v : hi : 0; }
static float inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/* ---- blocks of 32 ---- */

enum { N = BLOCK_PART };

/* The value of greatest magnitude, the first of equals. */
static float extreme(const float *x, int n) {
    float most = 0.0f, v = 0.0f;
    for (int i = 0; i < n; i++)
        if (most < fabsf(x[i])) most = fabsf(x[i]), v = x[i];
    return v;
}
static void bounds(const float *x, int n, float *lo, float *hi) {
    *lo = *hi = x[0];
    for (int i = 1; i < n; i++) *lo = x[i] < *lo ? x[i] : *lo, *hi = x[i] > *hi ? x[i] : *hi;
}

static void nibbles_set(uint8_t q[N / 2], const uint8_t code[N]) {
    for (int i = 0; i < N / 2; i++) q[i] = (uint8_t)((code[i] & 15) | code[N / 2 + i] << 4);
}
static void fifth_set(uint8_t high[4], const uint8_t code[N]) {
    for (int k = 0; k < 4; k++) high[k] = 0;
    for (int i = 0; i < N; i++) high[i / 8] |= (uint8_t)((code[i] >> 4 & 1) << i % 8);
}

/* scale (q - half), q of [0, 2 half) */
static uint16_t symmetric_set(uint8_t code[N], const float *x, int half) {
    const float d = extreme(x, N) / (float)-half, to = inverse(d);
    for (int i = 0; i < N; i++) code[i] = (uint8_t)whole(x[i] * to + ((float)half + 0.5f), 2 * half - 1);
    return half_f16_set(d);
}
/* scale q + min, q of [0, most] */
static uint16_t affine_set(uint8_t code[N], const float *x, int most, uint16_t *min) {
    float lo, hi;
    bounds(x, N, &lo, &hi);
    const float d = (hi - lo) / (float)most, to = inverse(d);
    for (int i = 0; i < N; i++) code[i] = (uint8_t)whole((x[i] - lo) * to + 0.5f, most);
    *min = half_f16_set(lo);
    return half_f16_set(d);
}

static void q4_0_set(q4_0_block *b, const float *x) {
    uint8_t code[N];
    b->scale = symmetric_set(code, x, 8);
    nibbles_set(b->q, code);
}
static void q4_1_set(q4_1_block *b, const float *x) {
    uint8_t code[N];
    b->scale = affine_set(code, x, 15, &b->min);
    nibbles_set(b->q, code);
}
static void q5_0_set(q5_0_block *b, const float *x) {
    uint8_t code[N];
    b->scale = symmetric_set(code, x, 16);
    nibbles_set(b->q, code);
    fifth_set(b->high, code);
}
static void q5_1_set(q5_1_block *b, const float *x) {
    uint8_t code[N];
    b->scale = affine_set(code, x, 31, &b->min);
    nibbles_set(b->q, code);
    fifth_set(b->high, code);
}
static void q8_0_set(q8_0_block *b, const float *x) {
    const float d = fabsf(extreme(x, N)) / 127.0f, to = inverse(d);
    for (int i = 0; i < N; i++) { /* halves away from zero; NaN, and what overflowed: the least */
        float v = x[i] * to;
        v = v >= -128.0f ? v < 127.0f ? v : 127.0f : -128.0f;
        const int t = (int)v;
        b->q[i] = (int8_t)(t + (v - (float)t >= 0.5f) - (v - (float)t <= -0.5f));
    }
    b->scale = half_f16_set(d);
}

static const int8_t nl_codes[16] = {IQ4_NL_CODES};
static int nl_index(float v) {
    int i = 0;
    while (i < 15 && v > 0.5f * (float)(nl_codes[i] + nl_codes[i + 1])) i++;
    return i;
}
static void iq4_nl_set(iq4_nl_block *b, const float *x) {
    enum { TRIES = 7 };
    const float most = extreme(x, N);
    float best = 0.0f, d = 0.0f;
    for (int t = -TRIES; t <= TRIES && most != 0.0f; t++) {
        const float to = (float)(t + nl_codes[0]) / most;
        float xq = 0.0f, qq = 0.0f;
        for (int i = 0; i < N; i++) {
            const float q = (float)nl_codes[nl_index(to * x[i])], w = x[i] * x[i];
            xq += w * q * x[i];
            qq += w * q * q;
        }
        if (qq > 0.0f && xq * xq > best * qq) d = xq / qq, best = d * xq;
    }
    uint8_t code[N];
    for (int i = 0; i < N; i++) code[i] = (uint8_t)nl_index(inverse(d) * x[i]);
    nibbles_set(b->q, code);
    b->scale = half_f16_set(d);
}

/* The exponent from the greatest magnitude (the logarithm rounded as an f32's is in ggml), the nearest code, the smaller of two. */
static void mxfp4_set(mxfp4_block *b, const float *x) {
    static const float between[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    const float most = fabsf(extreme(x, N));
    const int e = most > 0.0f ? nearest(floorf((float)log2((double)most)) + 125.0f, 0, 254) : 0;
    const float d = ldexpf(1.0f, e - 128);
    uint8_t code[N];
    for (int i = 0; i < N; i++) {
        const float v = fabsf(x[i]);
        int k = 0;
        for (int c = 0; c < 7; c++) k += v > between[c] * d;
        code[i] = (uint8_t)(k | (k && x[i] < 0.0f) << 3);
    }
    nibbles_set(b->q, code);
    b->scale = (uint8_t)e;
}

/* ---- super-blocks ---- */

enum { MOST_GROUP = 32 };

/* The scale of x[n] in codes of [-half, half), errors weighed by x squared. */
static float search_scale(const float *x, int n, int half) {
    enum { TRIES = 9 };
    const float most = extreme(x, n);
    float best = 0.0f, d = 0.0f;
    f8 v[MOST_GROUP / 8], w[MOST_GROUP / 8];
    if (!(fabsf(most) >= 1e-15f)) return 0.0f;
    for (int i = 0; i < n / 8; i++) {
        for (int k = 0; k < 8; k++) v[i][k] = x[8 * i + k];
        w[i] = v[i] * v[i];
    }
    for (int t = -TRIES; t <= TRIES; t++) {
        const float to = -((float)half + 0.1f * (float)t) / most;
        f8 sxq = {0}, sqq = {0};
        for (int i = 0; i < n / 8; i++) {
            f8 q = v[i] * to;
            f8_nearest(&q, (float)-half, (float)(half - 1));
            sxq += w[i] * v[i] * q;
            sqq += w[i] * q * q;
        }
        const float xq = f8_sum(&sxq), qq = f8_sum(&sqq);
        if (qq > 0.0f && xq * xq > best * qq) d = xq / qq, best = d * xq;
    }
    return d;
}

/* Scale and min (returned as *m = -min, not negative) of x[n] in codes of [0, top]. How far the tries go and whether the errors count
 * squared differ from format to format, as does what is added to |x| for a weight. */
typedef struct affine_search {
    int top, tries;
    float from; /* the first try, in codes beyond the top; a tenth more each time */
    bool rms_weights, squared;
} affine_search;
static float search_affine(const float *x, int n, const affine_search *a, float *m) {
    float lo, hi, plus = 0.0f, best = INFINITY, d = 0.0f;
    f8 v[MOST_GROUP / 8], w[MOST_GROUP / 8], sw = {0}, sx = {0};
    bounds(x, n, &lo, &hi);
    if (!(lo <= 0.0f)) lo = 0.0f;
    *m = -lo;
    if (!(hi > lo)) return 0.0f;
    if (a->rms_weights) {
        for (int i = 0; i < n; i++) plus += x[i] * x[i];
        plus = sqrtf(plus / (float)n);
    }
    for (int i = 0; i < n / 8; i++) {
        for (int k = 0; k < 8; k++) v[i][k] = x[8 * i + k], w[i][k] = plus + fabsf(x[8 * i + k]);
        sw += w[i];
        sx += w[i] * v[i];
    }
    const float all_w = f8_sum(&sw), all_x = f8_sum(&sx);
    for (int t = -1; t <= a->tries; t++) { /* -1: from end to end, as it lies */
        const float to = ((float)a->top + (t < 0 ? 0.0f : a->from + 0.1f * (float)t)) / (hi - lo);
        f8 q[MOST_GROUP / 8], sq = {0}, sqq = {0}, sxq = {0}, err = {0};
        for (int i = 0; i < n / 8; i++) {
            q[i] = (v[i] - lo) * to;
            f8_nearest(&q[i], 0.0f, (float)a->top);
            sq += w[i] * q[i];
            sqq += w[i] * q[i] * q[i];
            sxq += w[i] * v[i] * q[i];
        }
        float scale = 1.0f / to, min = lo;
        if (t >= 0) {
            const float all_q = f8_sum(&sq), qq = f8_sum(&sqq), xq = f8_sum(&sxq), det = all_w * qq - all_q * all_q;
            if (!(det > 0.0f)) continue;
            scale = (all_w * xq - all_x * all_q) / det;
            min = (qq * all_x - all_q * xq) / det;
            if (min > 0.0f) min = 0.0f, scale = xq / qq;
        }
        for (int i = 0; i < n / 8; i++) {
            f8 e = scale * q[i] + min - v[i];
            err += w[i] * (a->squared ? e * e : (f8)((w8)e & 0x7fffffff));
        }
        const float error = f8_sum(&err);
        if (error < best) best = error, d = scale, *m = -min;
    }
    return d;
}

/* Codes of a super-block whose groups have these scales and mins. */
static void codes_set(uint8_t code[SUPER_BLOCK], const float *x, int group, const float *d, const float *m, int top, int plus) {
    for (int g = 0; g < SUPER_BLOCK / group; g++) {
        const float to = inverse(d[g]);
        for (int i = g * group; i < (g + 1) * group; i++)
            code[i] = (uint8_t)(nearest((x[i] + (m ? m[g] : 0.0f)) * to, -plus, top - plus) + plus);
    }
}
/* Scales of groups as whole numbers of [0, top] times one scale, which is returned; they become what they will be read as. */
static uint16_t scales_set(uint8_t *s, float *d, int groups, int top) {
    float most = 0.0f;
    for (int g = 0; g < groups; g++) most = d[g] > most ? d[g] : most;
    const uint16_t scale = half_f16_set(most / (float)top);
    const float one = half_f16_get(scale), to = inverse(most / (float)top);
    for (int g = 0; g < groups; g++) s[g] = (uint8_t)nearest(d[g] * to, 0, top), d[g] = one * (float)s[g];
    return scale;
}
/* The same of [-half, half). */
static uint16_t signed_scales_set(int8_t *s, float *d, int groups, int half) {
    const float one = extreme(d, groups) / (float)-half, to = inverse(one);
    const uint16_t scale = half_f16_set(one);
    for (int g = 0; g < groups; g++) s[g] = (int8_t)nearest(d[g] * to, -half, half - 1), d[g] = half_f16_get(scale) * (float)s[g];
    return scale;
}
/* Two bits a code: 32 codes side by side, four of them above one another. */
static void pairs_set(uint8_t q[SUPER_BLOCK / 4], const uint8_t code[SUPER_BLOCK]) {
    for (int i = 0; i < SUPER_BLOCK / 4; i++) {
        const uint8_t *c = code + i / 32 * 128 + i % 32;
        q[i] = (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
    }
}
/* Bit `bit` of codes, one above another for the eight parts. */
static void high_set(uint8_t high[32], const uint8_t code[SUPER_BLOCK], int bit) {
    for (int i = 0; i < 32; i++) {
        high[i] = 0;
        for (int p = 0; p < 8; p++) high[i] |= (uint8_t)((code[32 * p + i] >> bit & 1) << p);
    }
}

static void q2_K_set(q2_K_block *b, const float *x) {
    static const affine_search search = {.top = 3, .tries = 15, .from = -0.5f};
    float d[16], m[16];
    uint8_t s[16], t[16], code[SUPER_BLOCK];
    for (int g = 0; g < 16; g++) d[g] = search_affine(x + 16 * g, 16, &search, &m[g]);
    b->scale = scales_set(s, d, 16, 15);
    b->min = scales_set(t, m, 16, 15);
    for (int g = 0; g < 16; g++) b->s[g] = (uint8_t)(s[g] | t[g] << 4);
    codes_set(code, x, 16, d, m, 3, 0);
    pairs_set(b->q, code);
}
static void q3_K_set(q3_K_block *b, const float *x) {
    float d[16];
    int8_t s[16];
    uint8_t code[SUPER_BLOCK];
    for (int g = 0; g < 16; g++) d[g] = search_scale(x + 16 * g, 16, 4);
    b->scale = signed_scales_set(s, d, 16, 32);
    for (int i = 0; i < 12; i++) b->s[i] = 0;
    for (int g = 0; g < 16; g++) {
        const unsigned v = (unsigned)(s[g] + 32);
        b->s[g % 8] |= (uint8_t)((v & 15) << g / 8 * 4);
        b->s[8 + g % 4] |= (uint8_t)((v >> 4) << g / 4 * 2);
    }
    codes_set(code, x, 16, d, NULL, 7, 4);
    pairs_set(b->q, code);
    high_set(b->high, code, 2);
}
/* The twelve bytes of Q4_K's and Q5_K's scales and mins. */
static void six_bits_set(uint8_t packed[12], const uint8_t s[8], const uint8_t m[8]) {
    for (int i = 0; i < 4; i++) {
        packed[i] = (uint8_t)(s[i] | (s[4 + i] >> 4) << 6);
        packed[4 + i] = (uint8_t)(m[i] | (m[4 + i] >> 4) << 6);
        packed[8 + i] = (uint8_t)((s[4 + i] & 15) | (m[4 + i] & 15) << 4);
    }
}
static void k_set(uint16_t *scale, uint16_t *min, uint8_t packed[12], uint8_t code[SUPER_BLOCK], const float *x,
                  const affine_search *search) {
    float d[8], m[8];
    uint8_t s[8], t[8];
    for (int g = 0; g < 8; g++) d[g] = search_affine(x + 32 * g, 32, search, &m[g]);
    *scale = scales_set(s, d, 8, 63);
    *min = scales_set(t, m, 8, 63);
    six_bits_set(packed, s, t);
    codes_set(code, x, 32, d, m, search->top, 0);
}
static void q4_K_set(q4_K_block *b, const float *x) {
    static const affine_search search = {.top = 15, .tries = 20, .from = -1.0f, .rms_weights = true, .squared = true};
    uint8_t code[SUPER_BLOCK];
    k_set(&b->scale, &b->min, b->s, code, x, &search);
    for (int i = 0; i < 128; i++) b->q[i] = (uint8_t)(code[i / 32 * 64 + i % 32] | code[i / 32 * 64 + 32 + i % 32] << 4);
}
static void q5_K_set(q5_K_block *b, const float *x) {
    static const affine_search search = {.top = 31, .tries = 15, .from = -0.5f, .rms_weights = true, .squared = true};
    uint8_t code[SUPER_BLOCK];
    k_set(&b->scale, &b->min, b->s, code, x, &search);
    for (int i = 0; i < 128; i++)
        b->q[i] = (uint8_t)((code[i / 32 * 64 + i % 32] & 15) | (code[i / 32 * 64 + 32 + i % 32] & 15) << 4);
    high_set(b->high, code, 4);
}
static void q6_K_set(q6_K_block *b, const float *x) {
    float d[16];
    uint8_t code[SUPER_BLOCK], upper[SUPER_BLOCK];
    for (int g = 0; g < 16; g++) d[g] = search_scale(x + 16 * g, 16, 32);
    b->scale = signed_scales_set(b->s, d, 16, 128);
    codes_set(code, x, 16, d, NULL, 63, 32);
    for (int i = 0; i < 128; i++) { /* low halves: 64 of each 128 values below the other 64 */
        const uint8_t *c = code + i / 64 * 128 + i % 64;
        b->q[i] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
    }
    for (int i = 0; i < SUPER_BLOCK; i++) upper[i] = code[i] >> 4;
    pairs_set(b->high, upper);
}

void blocks_from_f32(void *y, const float *x, ry_dtype t, int64_t n) {
    switch (t) {
#define SET_CASE(NAME, name, block, group, min, less)                                                       \
    case RY_##NAME:                                                                                   \
        for (int64_t i = 0; i < n / (block); i++) name##_set((name##_block *)y + i, x + i * (block)); \
        break;
        BLOCK_FORMATS(SET_CASE)
    default: assert(0); /* not a block format */
    }
}

/* Four bytes to every other one of eight. */
static uint64_t apart(uint32_t v) {
    uint64_t x = v;
    x = (x | x << 16) & 0x0000ffff0000ffff;
    return (x | x << 8) & 0x00ff00ff00ff00ff;
}
void blocks_from_mxfp4(void *y, const uint8_t *codes, const uint8_t *scales, int64_t n) {
    enum { HALF = 8 };
    const uint32_t low_halves = 0x0f0f0f0f;
    mxfp4_block *b = y;
    for (int64_t i = 0; i < n / N; i++, b++, codes += sizeof b->q) {
        b->scale = scales[i];
        for (int k = 0; k < HALF; k += 4) { /* values 2k .. 2k + 7, and those 16 later */
            uint32_t first, later;
            memcpy(&first, codes + k, sizeof first);
            memcpy(&later, codes + HALF + k, sizeof later);
            const uint64_t q = apart((first & low_halves) | (later & low_halves) << 4) | apart((first >> 4 & low_halves) | (later & ~low_halves)) << 8;
            memcpy(b->q + 2 * k, &q, sizeof q);
        }
    }
}
