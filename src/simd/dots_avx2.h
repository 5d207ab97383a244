/* dots_avx2.h - the layer of dots.inc in registers of 256 bits: weights stay signed, x takes over their signs.  Private to
 * dots_avx2.c and dots_avx_vnni.c, which define dot_bytes first. */
#ifndef RY_SIMD_DOTS_AVX2_H
#define RY_SIMD_DOTS_AVX2_H
#define OFFSET 0
#define MR     2
#define NV     2
enum { LANES = 8 };
typedef __m256i ivec;
typedef __m256 fvec;
VM_FN ivec i_set(int32_t v) { return _mm256_set1_epi32(v); }
VM_FN ivec i_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
VM_FN ivec i_quad(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}
VM_FN ivec i_dot(ivec acc, ivec w, ivec x) { return dot_bytes(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)); }
VM_FN fvec f_set(float v) { return _mm256_set1_ps(v); }
VM_FN fvec f_load(const float *p) { return _mm256_loadu_ps(p); }
VM_FN void f_store(float *p, fvec v) { _mm256_storeu_ps(p, v); }
VM_FN fvec f_from(ivec v) { return _mm256_cvtepi32_ps(v); }
VM_FN fvec f_mul(fvec a, fvec b) { return _mm256_mul_ps(a, b); }
VM_FN fvec f_fma(fvec a, fvec b, fvec c) { return _mm256_fmadd_ps(a, b, c); }
#include "simd/dots_x86.h"
#include "simd/dots.inc"
#endif
