/* gemm_neon.c - fp32 products on NEON (aarch64).
 *
 * Tile 8 x 12: 24 registers of sums, 3 of B and 1 or more of A of the 32; a step of K takes 24 multiply-adds and 11 loads. KC: a
 * panel of B is 12 KiB of the 32 KiB or more of L1. */
#include "simd/gemm_path.h"

#include <arm_neon.h>

enum { LANES = 4 };
typedef float32x4_t vec;
#define MR 8
#define NV 3
#define KU 1
#define KC 256

GEMM_FN vec v_zero(void) { return vdupq_n_f32(0); }
GEMM_FN vec v_set(float x) { return vdupq_n_f32(x); }
GEMM_FN vec v_load(const float *p) { return vld1q_f32(p); }
GEMM_FN vec v_load_n(const float *p, int n) {
    if (n == LANES) return v_load(p);
    float part[LANES] = {0};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return v_load(part);
}
GEMM_FN void v_store(float *p, vec v) { vst1q_f32(p, v); }
GEMM_FN void v_store_n(float *p, vec v, int n) {
    if (n == LANES) {
        v_store(p, v);
        return;
    }
    float part[LANES];
    v_store(part, v);
    for (int i = 0; i < n; i++) p[i] = part[i];
}
GEMM_FN vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
GEMM_FN vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
GEMM_FN vec v_mac(vec acc, vec a, vec b) { return vfmaq_f32(acc, a, b); }
GEMM_FN void v_prefetch(const void *p) { __builtin_prefetch(p); }
GEMM_FN void v_prefetch_far(const void *p) { __builtin_prefetch(p, 0, 2); } /* into L2 */
GEMM_FN float v_sum(vec a) { return vaddvq_f32(a); }

/* To the nearest bf16, ties to even; NaN stays NaN. */
GEMM_FN vec v_round(vec a) {
    const uint32x4_t u = vreinterpretq_u32_f32(a), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint32x4_t r = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd), quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
    return vreinterpretq_f32_u32(vandq_u32(vbslq_u32(vceqq_f32(a, a), r, quiet), vdupq_n_u32(0xffff0000u)));
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
    const uint16x4_t h = vld1_u16(p);
    return t == RY_F16 ? vcvt_f32_f16(vreinterpret_f16_u16(h)) : vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}

GEMM_FN void v_to(void *data, ry_dtype t, int64_t e, vec v, int n) {
    uint16_t part[LANES];
    if (t == RY_F16)
        vst1_u16(part, vreinterpret_u16_f16(vcvt_f16_f32(v)));
    else
        vst1_u16(part, vshrn_n_u32(vreinterpretq_u32_f32(v_round(v)), 16));
    for (int i = 0; i < n; i++) ((uint16_t *)data)[e + i] = part[i];
}

GEMM_FN void v_transpose(vec r[LANES]) {
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#include "simd/gemm.inc"
#include "simd/gemm_thin.inc"

const gemm_path gemm_neon = {1, LANES, 1, block, block_local, thin, peak, NR, panels, pack_panels};
