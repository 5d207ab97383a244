/* vec.h - one register of floats on the path that is compiled: loads, choices, exp and sigmoid.
 *
 * For loops that are written register by register (rows.inc) and for the formulas of map.def that are little more than an
 * exponential (map.inc): compilers make two comparisons and three blends of a clamp and divide where a few products will
 * do.  exp is vmath.h's, with the same coefficients.  Knows no loop and no tensor. */
#ifndef RY_SIMD_VEC_H
#define RY_SIMD_VEC_H
#include "simd/vmath.h"

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX2__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif
#if defined(__F16C__)
#include <immintrin.h>
#elif defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float vf __attribute__((vector_size(VEC_BYTES)));
typedef int32_t vi __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t vu __attribute__((vector_size(VEC_BYTES))); /* for sums of bits, which wrap */
enum { VL = VEC_BYTES / 4 };

VM_FN vf vf_load(const float *x) {
    vf v;
    memcpy(&v, x, sizeof v);
    return v;
}
VM_FN void vf_store(float *y, vf v) { memcpy(y, &v, sizeof v); }
/* n < VL elements, the others are `fill` */
VM_FN vf vf_load_some(const float *x, int64_t n, float fill) {
    float t[VL];
    for (int i = 0; i < VL; i++) t[i] = i < n ? x[i] : fill;
    return vf_load(t);
}
VM_FN void vf_store_some(float *y, vf v, int64_t n) {
    float t[VL];
    vf_store(t, v);
    for (int i = 0; i < n; i++) y[i] = t[i];
}
VM_FN vf vf_all(float x) { return x - (vf){0.0f}; }
VM_FN vf vf_pick(vi k, vf yes, vf no) { return (vf)(((vi)yes & k) | ((vi)no & ~k)); }
/* x as a product rounded by itself: the compiler may not make the sum that follows a fused multiply-add. */
VM_FN vf vf_rounded(vf x) {
#if defined(__x86_64__)
    __asm__("" : "+x"(x));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x));
#else
    __asm__("" : "+m"(x));
#endif
    return x;
}
VM_FN vf vf_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }

/* a b + c, rounded once where the machine can; x held at one end, NaN stays; yes where x < 0 (-0.0: either). */
#if defined(__AVX512F__)
VM_FN vf vf_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
VM_FN vf vf_at_least(vf x, float lo) { return (vf)_mm512_max_ps(_mm512_set1_ps(lo), (__m512)x); }
VM_FN vf vf_at_most(vf x, float hi) { return (vf)_mm512_min_ps(_mm512_set1_ps(hi), (__m512)x); }
VM_FN vf vf_where_negative(vf x, vf yes, vf no) {
    return (vf)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_LT_OQ), (__m512)no,
                                    (__m512)yes);
}
VM_FN vf vf_zero_below(vf y, vf x, float least) { /* y, but 0 where x < least */
    return (vf)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(least), _CMP_NLT_UQ), (__m512)y);
}
#else
#if defined(__AVX2__)
VM_FN vf vf_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
VM_FN vf vf_at_least(vf x, float lo) { return (vf)_mm256_max_ps(_mm256_set1_ps(lo), (__m256)x); }
VM_FN vf vf_at_most(vf x, float hi) { return (vf)_mm256_min_ps(_mm256_set1_ps(hi), (__m256)x); }
VM_FN vf vf_where_negative(vf x, vf yes, vf no) { return (vf)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)x); }
#else
#if defined(__aarch64__)
VM_FN vf vf_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
VM_FN vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
#endif
VM_FN vf vf_at_least(vf x, float lo) { return vf_pick((vi)(x < vf_all(lo)), vf_all(lo), x); }
VM_FN vf vf_at_most(vf x, float hi) { return vf_pick((vi)(x > vf_all(hi)), vf_all(hi), x); }
VM_FN vf vf_where_negative(vf x, vf yes, vf no) { return vf_pick((vi)x >> 31, yes, no); }
#endif
VM_FN vf vf_zero_below(vf y, vf x, float least) { return (vf)((vi)y & ~(vi)(x < vf_all(least))); }
#endif

/* The greater; b where either is NaN. */
#if defined(__AVX512F__)
VM_FN vf vf_greater(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
VM_FN vf vf_greater(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
#else
VM_FN vf vf_greater(vf a, vf b) { return vf_pick((vi)(a > b), a, b); }
#endif

VM_FN float vf_sum(vf v) {
    float t[VL];
    memcpy(t, &v, sizeof t);
    for (int h = VL / 2; h; h /= 2)
        for (int i = 0; i < h; i++) t[i] += t[i + h];
    return t[0];
}

/* e^x = result * 2^k: *t gets k + bias in its low bits. */
VM_FN vf vf_exp_core(vf x, int bias, vf *t) {
    float magic = VM_MAGIC + (float)bias;
    *t = vf_fma(x, vf_all(VM_LOG2E), vf_all(magic));
    vf n = *t - magic, r = vf_fma(n, vf_all(VM_LN2_LOW), vf_fma(n, vf_all(-VM_LN2_HIGH), x));
    const float c[] = {VM_EXP_POLY};
    vf p = vf_all(c[4]);
    for (int i = 3; i >= 0; i--) p = vf_fma(r, p, vf_all(c[i]));
    return vf_fma(r, vf_fma(r, p, vf_all(1.0f)), vf_all(1.0f));
}
VM_FN vf vf_exp(vf x) {
    vf t;
    x = vf_at_least(vf_at_most(x, 89.0f), -104.0f);
#if defined(__AVX512F__)
    vf p = vf_exp_core(x, 0, &t);
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)(t - VM_MAGIC));
#else
    vf p = vf_exp_core(x, 254, &t); /* two factors 2^h and 2^(k - h), as in vm_scale_by */
    vu half = ((vu)t << 22) & (vu)vf_all(-VM_INF), rest = ((vu)t << 23) - half;
    return p * (vf)half * (vf)rest;
#endif
}
/* e^x for x <= 88; 0 for x < -87, where results would be denormal */
VM_FN vf vf_exp_flushed(vf x) {
    vf t, p = vf_exp_core(x, 127, &t);
    return vf_zero_below(p * (vf)((vu)t << 23), x, -87.0f);
}

#if defined(__AVX512F__)
/* 1 / (1 + e^-x); 1 + e^-x is kept times 2^-24, so that it stays finite and what is below 2^-126 rounds once. The estimate
 * is good to 2^-14, a step of Newton's squares its error. */
VM_FN vf vf_sigmoid(vf x) {
    vf t, p = vf_exp_core(-vf_at_least(vf_at_most(x, 60.0f), -104.0f), 127 - 24, &t);
    __m512 d = (__m512)(p * (vf)((vi)t << 23) + 0x1p-24f), r = _mm512_rcp14_ps(d);
    return (vf)_mm512_fmadd_ps(r, _mm512_fnmadd_ps(d, r, _mm512_set1_ps(1.0f)), r) * 0x1p-24f;
}
#else
/* 1 / d for d in [1, 2] */
VM_FN vf vf_recip_12(vf d) {
#if defined(__FMA__) || defined(__aarch64__)
    /* minimax parabola, error 1/99, whose square is squared by two of Newton's steps: faster than dividing, and the same
     * bits on every make of processor, which its own estimate would not be */
    vf y = vf_fma(vf_fma(d, vf_all(32.0f / 99), vf_all(-144.0f / 99)), d, vf_all(210.0f / 99));
    y = vf_fma(y, vf_fma(-d, y, vf_all(1.0f)), y);
    return vf_fma(y, vf_fma(-d, y, vf_all(1.0f)), y);
#else
    return 1.0f / d;
#endif
}
/* 1 / (1 + e^-x), as e / (1 + e) for negative x; e = e^-|x| is kept times 2^64, so that what is below 2^-126 rounds once */
VM_FN vf vf_sigmoid(vf x) {
    vf t, p = vf_exp_core(vf_at_least((vf)((vi)x | INT32_MIN), -104.0f), 127 + 64, &t);
    vf e = p * (vf)((vi)t << 23);
    vf r = vf_recip_12(vf_fma(e, vf_all(0x1p-64f), vf_all(1.0f)));
    return vf_where_negative(x, e * 0x1p-64f, vf_all(1.0f)) * r;
}
#endif
#endif
