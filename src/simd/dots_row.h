/* dots_row.h - rows times rows for the paths of dots.inc that have no code of their own for it.  Before it: dot_16(w, x), the sum of
 * 16 products of signed bytes.  Private to dots_*.c. */
#ifndef RY_SIMD_DOTS_ROW_H
#define RY_SIMD_DOTS_ROW_H
#include "simd/blocks.inc"

typedef float dots_sum;
BLOCK_FN void dots_zero(dots_sum *a) { *a = 0.0f; }
BLOCK_FN float dots_total(const dots_sum *a, const dots_sum *b, const dots_sum *mins) { return *a + *b + *mins; }
BLOCK_FN void dots_ahead(const void *at, size_t bytes) {
    enum { AHEAD = 1024 };
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)at + AHEAD + i);
}
BLOCK_FN void eight_scales(float *s, float *m, const void *blocks, size_t size, size_t at, int has_min) {
    for (int i = 0; i < 8; i++) {
        uint16_t v[2];
        memcpy(v, (const char *)blocks + (size_t)i * size + at, has_min ? sizeof v : sizeof *v);
        s[i] = block_half(v[0]);
        if (has_min) m[i] = block_half(v[1]);
    }
}
BLOCK_FN void group_scales(float *s, const float *scale, int of_part) {
    for (int i = 0; i < 8 * of_part; i++) s[i] *= scale[i / of_part];
}
BLOCK_FN void group_mins(dots_sum *mins, const float *s, const float *m, int has_min, int less, const float *sum, int groups) {
    (void)s, (void)less; /* codes are taken with their signs */
    for (int i = 0; has_min && i < groups; i++) *mins += m[i] * sum[i];
}
BLOCK_FN void part_sums(dots_sum *acc, const b32 *c, int less, const int8_t *code, const float *s, int group) {
    const b32 own = *c - (uint8_t)less;
    int8_t w[BLOCK_PART];
    memcpy(w, &own, sizeof w);
    const int32_t lo = dot_16(w, code), hi = dot_16(w + 16, code + 16);
    *acc += group == BLOCK_PART ? s[0] * (float)(lo + hi) : s[0] * (float)lo + s[1] * (float)hi;
}
BLOCK_FN int32_t dots_greatest(const vi *v) {
    int32_t t[VL], most;
    memcpy(t, v, sizeof t);
    most = t[0];
    for (int i = 1; i < VL; i++) most = t[i] > most ? t[i] : most;
    return most;
}
BLOCK_FN void dots_codes(int8_t *code, int32_t sum[2], const float *x, float to) {
    sum[0] = sum[1] = 0;
    for (int k = 0; k < BLOCK_PART; k++) {
        float v = x[k] * to;
        v = v == v ? v : 0.0f; /* infinity times 0: the scale tells */
        const int32_t w = (int32_t)((v + 0x1.8p23f) - 0x1.8p23f);
        code[k] = (int8_t)w;
        sum[k / 16] += w;
    }
}
#endif
