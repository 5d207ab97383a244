/* dots_avx512_vnni.c - products with weights of blocks on AVX-512 with VNNI.
 *
 * Tile 6 x 32: 12 registers of floats, 12 of whole numbers, 2 of weights and 1 of x of the 32. */
#include "simd/vec.h"

#define OFFSET 128 /* the instruction takes one side unsigned: the weights */
#define MR     6
#define NV     2
enum { LANES = 16 };
typedef __m512i ivec;
typedef __m512 fvec;
VM_FN ivec i_set(int32_t v) { return _mm512_set1_epi32(v); }
VM_FN ivec i_load(const void *p) { return _mm512_loadu_si512(p); }
VM_FN ivec i_quad(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}
VM_FN ivec i_dot(ivec acc, ivec w, ivec x) { return _mm512_dpbusd_epi32(acc, w, x); }
VM_FN fvec f_set(float v) { return _mm512_set1_ps(v); }
VM_FN fvec f_load(const float *p) { return _mm512_loadu_ps(p); }
VM_FN void f_store(float *p, fvec v) { _mm512_storeu_ps(p, v); }
VM_FN fvec f_from(ivec v) { return _mm512_cvtepi32_ps(v); }
VM_FN fvec f_mul(fvec a, fvec b) { return _mm512_mul_ps(a, b); }
VM_FN fvec f_fma(fvec a, fvec b, fvec c) { return _mm512_fmadd_ps(a, b, c); }

VM_FN __m256i dot_codes(__m256i c, __m256i x, int less) {
    (void)less;
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, x);
}
#include "simd/dots_x86.h"
#include "simd/dots.inc"

const dots_path dots_avx512_vnni = {PANEL, MR, OFFSET, round_row, run_pack, run_tiles, run_dot};
