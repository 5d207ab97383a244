/* gemm_avx2.c - fp32 products on AVX2 with FMA and F16C.
 *
 * Tile 6 x 16: 12 registers of sums, 2 of B and 1 of A of the 16. A step of K takes 12 multiply-adds and 8 loads: both 6 cycles or
 * less on two ports each. KC: a panel of B is 16 KiB, half of the smallest L1. */
#include "simd/gemm_path.h"

#include <immintrin.h>

enum { LANES = 8 };
typedef __m256 vec;
#define MR 6
#define NV 2
#define KU 1
#define KC 256

static const int32_t v_masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1}; /* n lanes of ones begin at 8 - n */
GEMM_FN __m256i v_mask(int n) { return _mm256_loadu_si256((const __m256i *)(const void *)(v_masks + 8 - n)); }
GEMM_FN vec v_zero(void) { return _mm256_setzero_ps(); }
GEMM_FN vec v_set(float x) { return _mm256_set1_ps(x); }
GEMM_FN vec v_load(const float *p) { return _mm256_loadu_ps(p); }
GEMM_FN vec v_load_n(const float *p, int n) { return n == LANES ? v_load(p) : _mm256_maskload_ps(p, v_mask(n)); }
GEMM_FN void v_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
GEMM_FN void v_store_n(float *p, vec v, int n) {
    if (n == LANES)
        v_store(p, v);
    else
        _mm256_maskstore_ps(p, v_mask(n), v);
}
GEMM_FN vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
GEMM_FN vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
GEMM_FN vec v_mac(vec acc, vec a, vec b) { return _mm256_fmadd_ps(a, b, acc); }
GEMM_FN void v_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
GEMM_FN void v_prefetch_far(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); } /* into L2 */
GEMM_FN float v_sum(vec a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* To the nearest bf16, ties to even; NaN stays NaN. */
GEMM_FN vec v_round(vec a) {
    const __m256i u = _mm256_castps_si256(a), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256 nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q),
                 quiet = _mm256_castsi256_ps(_mm256_or_si256(u, _mm256_set1_epi32(0x400000)));
    return _mm256_and_ps(_mm256_blendv_ps(_mm256_castsi256_ps(r), quiet, nan),
                         _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u)));
}

/* n values from element e on; the rest zero. */
GEMM_FN vec v_from(const void *data, ry_dtype t, int64_t e, int n) {
    if (t == RY_F32) return v_load_n((const float *)data + e, n);
    const uint16_t *p = (const uint16_t *)data + e;
    uint16_t part[LANES] = {0};
    if (n != LANES) {
        for (int i = 0; i < n; i++) part[i] = p[i];
        p = part;
    }
    const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return t == RY_F16 ? _mm256_cvtph_ps(h) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

GEMM_FN void v_to(void *data, ry_dtype t, int64_t e, vec v, int n) {
    uint16_t part[LANES];
    const __m256i u = _mm256_srli_epi32(_mm256_castps_si256(v_round(v)), 16);
    const __m128i b = _mm_packus_epi32(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
    const __m128i h = t == RY_F16 ? _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT) : b;
    _mm_storeu_si128((__m128i *)(void *)part, h);
    for (int i = 0; i < n; i++) ((uint16_t *)data)[e + i] = part[i];
}

GEMM_FN void v_transpose(vec r[LANES]) {
    vec t[LANES];
    GEMM_UNROLL
    for (int i = 0; i < 8; i += 4) { /* 4 x 4 blocks within 128 bits */
        const vec a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        const vec c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    GEMM_UNROLL
    for (int i = 0; i < 4; i++) { /* rows 0-3 and 4-7 */
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#include "simd/gemm.inc"
#include "simd/gemm_thin.inc"

const gemm_path gemm_avx2 = {1, LANES, 1, block, block_local, thin, peak, NR, panels, pack_panels};
