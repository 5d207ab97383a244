/* gemm_vec_avx512.h - the vector layer of gemm.inc on AVX-512 (F, BW, DQ, VL, and F16C).  Private to gemm_avx512*.c and gemm_amx.c. */
#ifndef RY_SIMD_GEMM_VEC_AVX512_H
#define RY_SIMD_GEMM_VEC_AVX512_H
#include "simd/gemm_path.h"

#include <immintrin.h>

enum { LANES = 16 };
typedef __m512 vec;

GEMM_FN __mmask16 v_mask(int n) { return (__mmask16)((1u << n) - 1u); }
GEMM_FN vec v_zero(void) { return _mm512_setzero_ps(); }
GEMM_FN vec v_set(float x) { return _mm512_set1_ps(x); }
GEMM_FN vec v_load(const float *p) { return _mm512_loadu_ps(p); }
GEMM_FN vec v_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(v_mask(n), p); }
GEMM_FN void v_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
GEMM_FN void v_store_n(float *p, vec v, int n) { _mm512_mask_storeu_ps(p, v_mask(n), v); }
GEMM_FN vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
GEMM_FN vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
GEMM_FN void v_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
GEMM_FN void v_prefetch_far(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); } /* into L2 */
GEMM_FN float v_sum(vec a) { return _mm512_reduce_add_ps(a); }

/* To the nearest bf16, ties to even; NaN stays NaN. */
GEMM_FN vec v_round(vec a) {
    __m512i u = _mm512_castps_si512(a), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    r = _mm512_mask_mov_epi32(r, nan, _mm512_or_si512(u, _mm512_set1_epi32(0x400000)));
    return _mm512_castsi512_ps(_mm512_and_si512(r, _mm512_set1_epi32((int)0xffff0000u)));
}

/* n values from element e on; the rest zero. */
GEMM_FN vec v_from(const void *data, ry_dtype t, int64_t e, int n) {
    if (t == RY_F32) return n == LANES ? v_load((const float *)data + e) : v_load_n((const float *)data + e, n);
    const uint16_t *p = (const uint16_t *)data + e;
    __m256i h =
        n == LANES ? _mm256_loadu_si256((const __m256i *)(const void *)p) : _mm256_maskz_loadu_epi16(v_mask(n), p);
    if (t == RY_F16) return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

GEMM_FN void v_to(void *data, ry_dtype t, int64_t e, vec v, int n) {
    if (t == RY_F32) {
        v_store_n((float *)data + e, v, n);
        return;
    }
    __m256i h = t == RY_F16 ? _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)
                            : _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(v_round(v)), 16));
    _mm256_mask_storeu_epi16((uint16_t *)data + e, v_mask(n), h);
}

GEMM_FN void v_transpose(vec r[LANES]) {
    __m512 t[LANES];
    GEMM_UNROLL
    for (int i = 0; i < 16; i += 2) { /* pairs of rows: 2 x 2 blocks within 128 bits */
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    GEMM_UNROLL
    for (int i = 0; i < 16; i += 4) { /* groups of four rows: columns within 128 bits */
        __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]), c = _mm512_castps_pd(t[i + 2]),
                d = _mm512_castps_pd(t[i + 3]);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    GEMM_UNROLL
    for (int i = 0; i < 4; i++) { /* 4 x 4 blocks of 128 bits: first rows 0-7 and 8-15, then both */
        __m512 lo0 = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), lo1 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        __m512 hi0 = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd), hi1 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(lo0, lo1, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(lo0, lo1, 0xdd);
        t[i + 4] = _mm512_shuffle_f32x4(hi0, hi1, 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(hi0, hi1, 0xdd);
    }
    GEMM_UNROLL
    for (int i = 0; i < 16; i++) r[i] = t[i];
}
#endif
