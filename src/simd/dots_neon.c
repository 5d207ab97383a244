/* dots_neon.c - products with weights of blocks on NEON; with the dot-product instructions where the compiler may use them.
 *
 * Tile 6 x 8: 12 registers of floats, 12 of whole numbers, 2 of weights and 1 of x of the 32. */
#include "simd/vec.h"

#include <arm_neon.h>

#define OFFSET 0
#define MR     6
#define NV     2
enum { LANES = 4 };
typedef int32x4_t ivec;
typedef float32x4_t fvec;
VM_FN ivec i_set(int32_t v) { return vdupq_n_s32(v); }
VM_FN ivec i_load(const void *p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
VM_FN ivec i_quad(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return vdupq_n_s32(v);
}
VM_FN ivec i_dot(ivec acc, ivec w, ivec x) {
    const int8x16_t a = vreinterpretq_s8_s32(w), b = vreinterpretq_s8_s32(x);
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(acc, a, b);
#else
    const int16x8_t lo = vmull_s8(vget_low_s8(a), vget_low_s8(b)), hi = vmull_high_s8(a, b);
    return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(lo), vpaddlq_s16(hi)));
#endif
}
VM_FN fvec f_set(float v) { return vdupq_n_f32(v); }
VM_FN fvec f_load(const float *p) { return vld1q_f32(p); }
VM_FN void f_store(float *p, fvec v) { vst1q_f32(p, v); }
VM_FN fvec f_from(ivec v) { return vcvtq_f32_s32(v); }
VM_FN fvec f_mul(fvec a, fvec b) { return vmulq_f32(a, b); }
VM_FN fvec f_fma(fvec a, fvec b, fvec c) { return vfmaq_f32(c, a, b); }

VM_FN int32_t dot_16(const int8_t *w, const int8_t *x) {
    return vaddvq_s32(i_dot(vdupq_n_s32(0), i_load(w), i_load(x)));
}
#include "simd/dots_row.h"
#include "simd/dots.inc"

const dots_path dots_neon = {PANEL, MR, OFFSET, round_row, run_pack, run_tiles, run_dot};
