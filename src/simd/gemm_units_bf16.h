/* gemm_units_bf16.h - units of panels that are pairs of bf16, made with AVX512_BF16's conversions (subnormals become zero). Private to
 * gemm_avx512_bf16.c and gemm_amx.c. */
#ifndef RY_SIMD_GEMM_UNITS_BF16_H
#define RY_SIMD_GEMM_UNITS_BF16_H
#include "simd/gemm_vec_avx512.h"

#define KU 2

/* 16 values from element e on as bf16; the first n of them, the rest zero. */
GEMM_FN __m256i u_half(const void *d, ry_dtype t, int64_t e, int n) {
    if (t == RY_BF16) {
        const uint16_t *p = (const uint16_t *)d + e;
        return n == LANES ? _mm256_loadu_si256((const __m256i *)(const void *)p)
                          : _mm256_maskz_loadu_epi16(v_mask(n), p);
    }
    return (__m256i)_mm512_cvtneps_pbh(v_from(d, t, e, n));
}

/* n values (at most 32) along K as pairs. */
GEMM_FN vec u_along_k(const void *d, ry_dtype t, bool round, int64_t e, int n) {
    (void)round;
    const int lo = n < LANES ? n : LANES;
    if (t == RY_BF16) {
        const uint16_t *p = (const uint16_t *)d + e;
        const __mmask32 mask = n < 32 ? (1u << n) - 1u : ~0u;
        return _mm512_castsi512_ps(n == 32 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(mask, p));
    }
    return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(v_from(d, t, e + LANES, n - lo), v_from(d, t, e, lo)));
}

/* Pairs of k and k + 1 (zero if only one is left) of n neighbours. */
GEMM_FN vec u_across(const void *d, ry_dtype t, bool round, int64_t e, int64_t sk, int n, int64_t left) {
    (void)round;
    const __m512i lo = _mm512_cvtepu16_epi32(u_half(d, t, e, n));
    if (left < 2) return _mm512_castsi512_ps(lo);
    const __m512i hi = _mm512_cvtepu16_epi32(u_half(d, t, e + sk, n));
    return _mm512_castsi512_ps(_mm512_or_si512(lo, _mm512_slli_epi32(hi, 16)));
}
#endif
