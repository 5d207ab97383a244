/* dots_x86.h - rows times rows in registers of 256 bits, for the paths of dots.inc on x86.  Before it: dot_codes(c, x, less), eight
 * sums of four products of codes, which begin at 0, and signed bytes.  Private to dots_*.c. */
#ifndef RY_SIMD_DOTS_X86_H
#define RY_SIMD_DOTS_X86_H
#include "simd/blocks.inc"

typedef __m256 dots_sum;
BLOCK_FN void dots_zero(dots_sum *a) { *a = _mm256_setzero_ps(); }
BLOCK_FN float dots_total(const dots_sum *a, const dots_sum *b, const dots_sum *mins) {
    const __m256 t = _mm256_add_ps(_mm256_add_ps(*a, *b), *mins);
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
/* Weights to come: one row after another, farther ahead than the hardware looks. */
BLOCK_FN void dots_ahead(const void *at, size_t bytes) {
    enum { AHEAD = 2048 };
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + AHEAD + i, _MM_HINT_T0);
}
/* Scales and mins of eight blocks that begin with them. */
BLOCK_FN void eight_scales(float *s, float *m, const void *blocks, size_t size, size_t at, int has_min) {
    const char *b = (const char *)blocks + at;
    __m128i h[2] = {_mm_setzero_si128(), _mm_setzero_si128()};
    uint16_t v;
#define EIGHT(i)                                                                                        \
    memcpy(&v, b + (i) * size, sizeof v), h[0] = _mm_insert_epi16(h[0], v, i);                           \
    if (has_min) memcpy(&v, b + (i) * size + sizeof v, sizeof v), h[1] = _mm_insert_epi16(h[1], v, i);
    EIGHT(0) EIGHT(1) EIGHT(2) EIGHT(3) EIGHT(4) EIGHT(5) EIGHT(6) EIGHT(7)
#undef EIGHT
    _mm256_storeu_ps(s, _mm256_cvtph_ps(h[0]));
    if (has_min) _mm256_storeu_ps(m, _mm256_cvtph_ps(h[1]));
}
/* The scales of eight parts' groups times those of x. */
BLOCK_FN void group_scales(float *s, const float *scale, int of_part) {
    const __m256 d = _mm256_loadu_ps(scale);
    if (of_part == 1) {
        _mm256_storeu_ps(s, _mm256_mul_ps(_mm256_loadu_ps(s), d));
        return;
    }
    const __m256i lo = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3), hi = _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7);
    _mm256_storeu_ps(s, _mm256_mul_ps(_mm256_loadu_ps(s), _mm256_permutevar8x32_ps(d, lo)));
    _mm256_storeu_ps(s + 8, _mm256_mul_ps(_mm256_loadu_ps(s + 8), _mm256_permutevar8x32_ps(d, hi)));
}
/* What is added to products of codes that begin at 0: the min, or the scale times the least code; s not yet times x's. */
BLOCK_FN void group_mins(dots_sum *mins, const float *s, const float *m, int has_min, int less, const float *sum, int groups) {
    if (groups == 1) {
        const float v = has_min ? m[0] : s[0] * (float)-less;
        *mins = _mm256_fmadd_ps(_mm256_zextps128_ps256(_mm_set_ss(v)), _mm256_zextps128_ps256(_mm_load_ss(sum)), *mins);
        return;
    }
    for (int i = 0; i < groups; i += 8) {
        const __m256 v = has_min ? _mm256_loadu_ps(m + i) : _mm256_mul_ps(_mm256_loadu_ps(s + i), _mm256_set1_ps((float)-less));
        *mins = _mm256_fmadd_ps(v, _mm256_loadu_ps(sum + i), *mins);
    }
}
BLOCK_FN void part_sums(dots_sum *acc, const b32 *c, int less, const int8_t *code, const float *s, int group) {
    const __m256i sums = dot_codes((__m256i)*c, _mm256_loadu_si256((const __m256i *)(const void *)code), less);
    const __m256 scale = group == BLOCK_PART ? _mm256_set1_ps(s[0]) : _mm256_set_m128(_mm_set1_ps(s[1]), _mm_set1_ps(s[0]));
    *acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, *acc);
}

BLOCK_FN int32_t dots_greatest(const vi *v) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_epi32((__m512i)*v);
#else
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128((__m256i)*v), _mm256_extracti128_si256((__m256i)*v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
#endif
}
/* 32 values times `to`, rounded, and the sums of 16; what is no number gives 0. */
BLOCK_FN void dots_codes(int8_t *code, int32_t sum[2], const float *x, float to) {
    __m128i half[2];
    for (int i = 0; i < 2; i++) {
#if defined(__AVX512F__)
        half[i] = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), _mm512_set1_ps(to))));
#else
        const __m256 t = _mm256_set1_ps(to);
        const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * i), t)),
                      b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * i + 8), t));
        const __m256i low = _mm256_set1_epi32(0xff), p = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        const __m256i q = _mm256_permute4x64_epi64(p, 0xd8);
        half[i] = _mm_packus_epi16(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
#endif
        _mm_storeu_si128((__m128i *)(void *)(code + 16 * i), half[i]);
        __m128i s = _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), half[i]), _mm_set1_epi16(1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        sum[i] = _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
    }
}
#endif
