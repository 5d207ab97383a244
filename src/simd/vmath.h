/* vmath.h - elementary functions of one float, written without branches so that loops over them become vector code on
 * every path.
 *
 * Plain C11 for gcc and clang; the caller compiles it with -fno-math-errno -fno-trapping-math and the path's own
 * flags. Zeros, infinities, NaN, subnormals and overflow come out as C99's Annex F says. Knows no loop and no tensor.
 *
 * Hot functions (exp, exp2, expm1, log, log1p, tanh, sigmoid, erf, erfc) stay in float; the others compute in double
 * and round once. Coefficients: tools/vmath_fit.py (Remez). Methods are the textbook ones: Cody and Waite, "Software
 * Manual for the Elementary Functions" (1980); Muller, "Elementary Functions" (2016).
 *
 * Greatest error seen, in units of the last place (tests/unit/test_vmath.c; every exponent, against double libm), FMA
 * / plain:
 *   exp 0.89 / 1.17     exp2 0.94 / 1.18    expm1 1.34 / 1.46   log 0.80 / 0.81     log1p 1.41 / 1.41   tanh 1.50 / 1.46
 *   sigmoid 2.86 / 2.80 erf 1.18 / 1.39     erfc 5.51 / 5.79     rsqrt 1.49          recip, sqrt 0.5
 *   log2 log10 cbrt pow hypot sin cos tan asin acos atan atan2 sinh cosh asinh acosh atanh 0.51    fmod exact
 * sin, cos, tan: |x| <= VM_TRIG_MAX only; mod, fmod, floordiv: |a / b| <= VM_MOD_MAX only (map.inc takes the C
 * library beyond). */
#ifndef RY_SIMD_VMATH_H
#define RY_SIMD_VMATH_H
#include <stdint.h>
#include <string.h>

#define VM_TRIG_MAX 0x1p27f
#define VM_MOD_MAX  0x1p28f
#define VM_INF      __builtin_inff()
#define VM_NAN      __builtin_nanf("")

/* always_inline: a call inside a loop would keep it scalar */
#define VM_FN static inline __attribute__((always_inline, unused))

VM_FN uint32_t vm_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
VM_FN float vm_float(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
VM_FN uint64_t vm_bits_d(double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}
VM_FN double vm_double(uint64_t u) {
    double x;
    memcpy(&x, &u, 8);
    return x;
}

#if defined(__FMA__) || defined(__aarch64__)
VM_FN float vm_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
VM_FN double vm_fma_d(double a, double b, double c) { return __builtin_fma(a, b, c); }
VM_FN float vm_square_err(float x, float s) { return __builtin_fmaf(x, x, -s); }
#else
VM_FN float vm_fma(float a, float b, float c) { return a * b + c; }
VM_FN double vm_fma_d(double a, double b, double c) { return a * b + c; }
VM_FN float vm_square_err(float x, float s) { return (float)((double)x * (double)x - (double)s); }
#endif

/* Polynomials by Horner's rule, lowest coefficient first. */
#define VM_P2(x, a, b)    vm_fma(x, b, a)
#define VM_P3(x, a, ...)  vm_fma(x, VM_P2(x, __VA_ARGS__), a)
#define VM_P4(x, a, ...)  vm_fma(x, VM_P3(x, __VA_ARGS__), a)
#define VM_P5(x, a, ...)  vm_fma(x, VM_P4(x, __VA_ARGS__), a)
#define VM_P6(x, a, ...)  vm_fma(x, VM_P5(x, __VA_ARGS__), a)
#define VM_P7(x, a, ...)  vm_fma(x, VM_P6(x, __VA_ARGS__), a)
#define VM_P8(x, a, ...)  vm_fma(x, VM_P7(x, __VA_ARGS__), a)
#define VM_P9(x, a, ...)  vm_fma(x, VM_P8(x, __VA_ARGS__), a)
#define VM_P10(x, a, ...) vm_fma(x, VM_P9(x, __VA_ARGS__), a)
#define VM_P11(x, a, ...) vm_fma(x, VM_P10(x, __VA_ARGS__), a)
/* coefficients that are one macro */
#define VM_POLY(n, x, ...)  VM_POLY_(n, x, __VA_ARGS__)
#define VM_POLY_(n, x, ...) VM_P##n(x, __VA_ARGS__)
#define VM_D2(x, a, b)    vm_fma_d(x, b, a)
#define VM_D3(x, a, ...)  vm_fma_d(x, VM_D2(x, __VA_ARGS__), a)
#define VM_D4(x, a, ...)  vm_fma_d(x, VM_D3(x, __VA_ARGS__), a)
#define VM_D5(x, a, ...)  vm_fma_d(x, VM_D4(x, __VA_ARGS__), a)
#define VM_D6(x, a, ...)  vm_fma_d(x, VM_D5(x, __VA_ARGS__), a)
#define VM_D7(x, a, ...)  vm_fma_d(x, VM_D6(x, __VA_ARGS__), a)
#define VM_D8(x, a, ...)  vm_fma_d(x, VM_D7(x, __VA_ARGS__), a)
#define VM_D9(x, a, ...)  vm_fma_d(x, VM_D8(x, __VA_ARGS__), a)
#define VM_D10(x, a, ...) vm_fma_d(x, VM_D9(x, __VA_ARGS__), a)
#define VM_D11(x, a, ...) vm_fma_d(x, VM_D10(x, __VA_ARGS__), a)

/* ---- simple ones ---- */

VM_FN float vm_sel(int cond, float yes, float no) { return cond ? yes : no; }
VM_FN float vm_abs(float x) { return __builtin_fabsf(x); }
VM_FN double vm_abs_d(double x) { return __builtin_fabs(x); }
VM_FN float vm_copysign(float x, float s) { return vm_float((vm_bits(x) & 0x7fffffffu) | (vm_bits(s) & 0x80000000u)); }
VM_FN float vm_sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }
/* NaN if either is. A NaN in a is kept by its bits: written as a condition, gcc threads it through nested calls and gives up
 * vectorising (clamp took 15 times as long). */
VM_FN float vm_keep_nan(float a, float y) {
    uint32_t nan = 0u - (uint32_t)(a != a);
    return vm_float((vm_bits(y) & ~nan) | (vm_bits(a) & nan));
}
VM_FN float vm_max(float a, float b) { return vm_keep_nan(a, a > b ? a : b); }
VM_FN float vm_min(float a, float b) { return vm_keep_nan(a, a < b ? a : b); }
VM_FN float vm_floor(float x) { return __builtin_floorf(x); }
VM_FN float vm_ceil(float x) { return __builtin_ceilf(x); }
VM_FN float vm_trunc(float x) { return __builtin_truncf(x); }
VM_FN float vm_round(float x) { return __builtin_rintf(x); }
VM_FN float vm_sqrt(float x) { return __builtin_sqrtf(x); }
VM_FN float vm_rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
VM_FN int32_t vm_isnan(float x) { return (vm_bits(x) & 0x7fffffffu) > 0x7f800000u; }
VM_FN int32_t vm_isinf(float x) { return (vm_bits(x) & 0x7fffffffu) == 0x7f800000u; }
VM_FN int32_t vm_isfinite(float x) { return (vm_bits(x) & 0x7fffffffu) < 0x7f800000u; }
VM_FN float vm_hypot(float a, float b) {
    double s = (double)a * (double)a + (double)b * (double)b;
    float h = (float)__builtin_sqrt(s);
    return vm_abs(a) == VM_INF || vm_abs(b) == VM_INF ? VM_INF : h;
}

/* ---- exponentials in float ---- */

/* x 2^k for k within +-252, in two steps, so that results below 2^-126 round once */
VM_FN float vm_scale(float x, int32_t k) {
    int32_t h = k >> 1;
    return x * vm_float((uint32_t)(h + 127) << 23) * vm_float((uint32_t)(k - h + 127) << 23);
}

#define VM_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer in the low bits */

/* the same where the low bits of t hold k + 254 */
VM_FN float vm_scale_by(float x, float t) {
    uint32_t half = vm_bits(t) << 22 & 0xff800000u, rest = (vm_bits(t) << 23) - half;
    return x * vm_float(half) * vm_float(rest);
}

/* log2 e; ln 2 in two parts, the first of few bits, the second to be added; (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2 */
#define VM_LOG2E    1.44269504f
#define VM_LN2_HIGH 0.693359375f
#define VM_LN2_LOW  2.12194440e-4f
#define VM_EXP_POLY 0.4999999341f, 0.166665201f, 0.04166839415f, 0.00836878069f, 0.001381447122f

/* exp(x - low) = result * 2^k, low small beside x; |x| at most 110, or NaN.  (No struct: clang keeps loops over small
 * ones scalar.) */
VM_FN float vm_exp_core(float x, float low, int32_t *k) {
    float t = vm_fma(x, VM_LOG2E, VM_MAGIC), n = t - VM_MAGIC;
    float r = vm_fma(n, VM_LN2_LOW, vm_fma(n, -VM_LN2_HIGH, x)) - low;
    float q = VM_POLY(5, r, VM_EXP_POLY);
    float hi = 1.0f + r;
    *k = (int32_t)(vm_bits(t) - vm_bits(VM_MAGIC));
    return hi + vm_fma(r * r, q, r - (hi - 1.0f));
}

VM_FN float vm_exp(float x) {
    const float magic = VM_MAGIC + 254.0f;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float t = vm_fma(x, VM_LOG2E, magic), n = t - magic;
    float r = vm_fma(n, VM_LN2_LOW, vm_fma(n, -VM_LN2_HIGH, x));
    return vm_scale_by(vm_fma(r, vm_fma(r, VM_POLY(5, r, VM_EXP_POLY), 1.0f), 1.0f), t);
}

VM_FN float vm_exp2(float x) {
    x = x > 129.0f ? 129.0f : x;
    x = x < -151.0f ? -151.0f : x;
    const float magic = VM_MAGIC + 254.0f;
    float t = x + magic, r = x - (t - magic);
    float p = vm_fma(
        r, VM_P6(r, 0.693147203f, 0.240226479f, 0.05550332165f, 0.009618438679f, 0.001339900303f, 0.0001535323672f),
        1.0f);
    return vm_scale_by(p, t);
}

VM_FN float vm_expm1(float x) {
    float v = x > 89.0f ? 89.0f : x;
    v = v < -30.0f ? -30.0f : v;
    float t = vm_fma(v, VM_LOG2E, VM_MAGIC), n = t - VM_MAGIC;
    float r = vm_fma(n, VM_LN2_LOW, vm_fma(n, -VM_LN2_HIGH, v));
    float q = VM_POLY(5, r, VM_EXP_POLY);
    float p = vm_fma(r * r, q, r);
    float half = vm_float((vm_bits(t) - vm_bits(VM_MAGIC) + 126u) << 23); /* 2^k / 2: 2^128 is no float */
    float y = 2.0f * vm_fma(p, half, half - 0.5f);
    return x == 0.0f ? x : y;
}

VM_FN float vm_sigmoid(float x) {
    float e = vm_exp(-vm_abs(x)), r = 1.0f / (1.0f + e);
    return x < 0.0f ? vm_fma(-e, e * r, e) : r; /* e r, where the rounding of 1 + e weighs less */
}

VM_FN float vm_tanh(float x) {
    float v = vm_abs(x), z = v * v;
    float small =
        vm_fma(v * z, VM_P5(z, -0.3333331805f, 0.1333260169f, -0.05385385866f, 0.02107776067f, -0.006282475842f), v);
    float big = 1.0f - 2.0f / (1.0f + vm_exp(2.0f * v));
    return vm_copysign(v < 0.55f ? small : big, x);
}

/* ---- logarithms in float ---- */

/* log(1 + f) + k log 2 for f in [sqrt(1/2) - 1, sqrt(2) - 1] */
VM_FN float vm_log_core(float f, float k) {
    float q = VM_P9(f, 0.3333331261f, -0.250000096f, 0.2000211863f, -0.1666799578f, 0.1421955254f, -0.124055896f,
                    0.1188816289f, -0.116756507f, 0.06746637556f);
    float r = f + vm_fma(f * f, vm_fma(f, q, -0.5f), k * -2.12194440e-4f);
    return vm_fma(k, 0.693359375f, r);
}

VM_FN float vm_log(float x) {
    int tiny = x < 0x1p-126f;
    uint32_t u = vm_bits(tiny ? x * 0x1p23f : x) - 0x3f3504f3u; /* sqrt(1/2) */
    float k = (float)((int32_t)u >> 23) - (tiny ? 23.0f : 0.0f);
    float y = vm_log_core(vm_float((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f, k);
    y = x < VM_INF ? y : x; /* infinity, NaN */
    y = x == 0.0f ? -VM_INF : y;
    return x < 0.0f ? VM_NAN : y;
}

VM_FN float vm_log1p(float x) {
    float s = 1.0f + x, v = s - x, c = (x - (s - v)) + (1.0f - v); /* s + c = 1 + x exactly (Knuth) */
    uint32_t u = vm_bits(s) - 0x3f3504f3u;
    int32_t k = (int32_t)u >> 23, e = 127 - k;
    float scale = vm_float((uint32_t)(e < 1 ? 1 : e) << 23); /* 2^-k */
    float f = vm_fma(c, scale, vm_float((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f);
    float y = vm_log_core(f, (float)k);
    y = x < VM_INF ? y : x;
    y = x == -1.0f ? -VM_INF : y;
    y = x == 0.0f ? x : y;
    return x < -1.0f ? VM_NAN : y;
}

/* ---- error function ---- */

VM_FN float vm_erf(float x) {
    float z = x * x, ax = vm_abs(x), v = ax > 4.0f ? 4.0f : ax;
    float small = vm_fma(x,
                         VM_P7(z, 0.1283791659f, -0.3761262714f, 0.1128360018f, -0.02685444486f, 0.005189535819f,
                               -0.0008020845283f, 7.88913209e-5f),
                         x);
    float big = 1.0f - vm_exp(VM_P7(v, -0.0003537268421f, -1.127040004f, -0.6382257343f, -0.1030373159f, 0.02180529133f,
                                    -0.002939600097f, 0.000185573223f));
    return ax < 1.0f ? small : vm_copysign(big, x);
}

/* exp(-x x) W(t) / (1 + 1.5 x) for x >= 0, t = x / (x + 2), in the manner of Shepherd and Laframboise (1981) */
VM_FN float vm_erfc(float x) {
    float v = vm_abs(x);
    v = v > 10.2f ? 10.2f : v;
    int32_t k;
    float s = v * v, e = vm_exp_core(-s, vm_square_err(v, s), &k);
    float u = vm_fma(1.5f, v, 1.0f), w = v + 2.0f, r = 1.0f / (u * w);
    float t = v * (u * r);
    float p = VM_P11(t, 1.0f, 0.7432393693f, -2.026927866f, 1.182797916f, 0.3411116928f, -0.3778421505f, 0.07814356557f,
                     -0.5051978259f, 0.6597287682f, -0.2814791448f, 0.03266233931f);
    float y = vm_scale(e * (p * (w * r)), k);
    y = x < 0.0f ? 2.0f - y : y;
    return x == x ? y : x;
}

/* ---- double inside, for a float result ---- */

#define VM_MAGIC_D 6755399441055744.0 /* 1.5 * 2^52 */

/* 2^x to 2^-40; x clamped to +-200 (outside the range of float); NaN passes */
VM_FN double vm_exp2_d(double x) {
    x = x > 200.0 ? 200.0 : x;
    x = x < -200.0 ? -200.0 : x;
    double t = x + VM_MAGIC_D, r = x - (t - VM_MAGIC_D);
    double p = VM_D9(r, 0.99999999999976238, 0.69314718054651426, 0.24022650698879799, 0.055504109393417045,
                     0.0096181285429716949, 0.0013333452062115299, 0.00015403851677392223, 1.5309737477805883e-5,
                     1.3175872771255866e-6);
    return p * vm_double((vm_bits_d(t) - vm_bits_d(VM_MAGIC_D) + 1023u) << 52);
}

/* log2(x) to 2^-43, relative, for positive normal x; 0 gives about -1023, infinity 1024 */
VM_FN double vm_log2_d(double x) {
    uint64_t u = vm_bits_d(x) - 0x3fe6a09e667f3bcdu; /* sqrt(1/2) */
    /* the exponent, made unsigned and put into the low bits of 2^52, without a conversion of 64-bit integers */
    double k = vm_double(((u + 0x4000000000000000u) >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1024.0);
    double f = vm_double((u & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
    double s = f / (2.0 + f), z = s * s;
    double p = VM_D6(z, 2.8853900817778496, 0.96179669411395491, 0.57707794220027833, 0.41220926786706372,
                     0.31990510166526894, 0.28290816774541438);
    return vm_fma_d(s, p, k);
}

/* as log2 of C99 times c */
VM_FN float vm_log2_times(float x, double c) {
    float y = (float)(vm_log2_d((double)x) * c);
    y = x < VM_INF ? y : x;
    y = x == 0.0f ? -VM_INF : y;
    return x < 0.0f ? VM_NAN : y;
}
VM_FN float vm_log2(float x) { return vm_log2_times(x, 1.0); }
VM_FN float vm_log10(float x) { return vm_log2_times(x, 0.30102999566398120); }

VM_FN float vm_pow(float a, float b) {
    float aa = vm_abs(a), ab = vm_abs(b);
    double l = vm_log2_d((double)aa);
    l = aa == 0.0f ? (double)-VM_INF : l;
    l = aa < VM_INF ? l : (double)aa; /* infinity, NaN */
    double t = (double)b * l;
    float y = (float)vm_exp2_d(t);
    float h = 0.5f * b;
    int whole = vm_trunc(b) == b, odd = whole && vm_trunc(h) != h;
    float signed_y = odd ? -y : y;
    y = vm_bits(a) >> 31 ? signed_y : y;
    y = a < 0.0f && aa < VM_INF && !whole ? VM_NAN : y;
    y = aa == 1.0f && ab == VM_INF ? 1.0f : y;
    return b == 0.0f || a == 1.0f ? 1.0f : y;
}

VM_FN float vm_cbrt(float x) {
    float y = (float)vm_exp2_d(vm_log2_d((double)vm_abs(x)) * (1.0 / 3.0));
    y = vm_copysign(y, x);
    return x == 0.0f || !(vm_abs(x) < VM_INF) ? x : y;
}

/* sin and cos of |x| <= VM_TRIG_MAX: pi/2 in three parts, two of 26 bits, so that their products are exact */
typedef struct vm_sincos {
    double s, c;
    uint64_t quadrant;
} vm_sincos;
VM_FN vm_sincos vm_trig(float x) {
    double d = (double)x, t = vm_fma_d(d, 0.63661977236758134, VM_MAGIC_D), n = t - VM_MAGIC_D;
    double r =
        vm_fma_d(n, -0x1.1a62633145c07p-54, vm_fma_d(n, -0x1.110b460000000p-26, vm_fma_d(n, -0x1.921fb50000000p+0, d)));
    double z = r * r;
    double s = vm_fma_d(
        r * z, VM_D4(z, -0.16666666641527181, 0.0083333293741514174, -0.00019839331004194222, 2.7182745246527808e-6),
        r);
    double c = vm_fma_d(
        z * z, VM_D4(z, 0.04166666662265346, -0.0013888883738070781, 2.4799515895918663e-5, -2.7209893250139575e-7),
        vm_fma_d(z, -0.5, 1.0));
    return (vm_sincos){s, c, vm_bits_d(t)};
}
/* sine of quadrant + shift */
VM_FN float vm_trig_turn(vm_sincos v, uint64_t shift) {
    uint64_t q = v.quadrant + shift, odd = 0u - (q & 1u);
    uint64_t y = (vm_bits_d(v.c) & odd) | (vm_bits_d(v.s) & ~odd);
    return (float)vm_double(y ^ ((q & 2u) << 62));
}
VM_FN float vm_sin(float x) {
    float y = vm_trig_turn(vm_trig(x), 0);
    return x == 0.0f ? x : y;
}
VM_FN float vm_cos(float x) { return vm_trig_turn(vm_trig(x), 1); }
VM_FN float vm_tan(float x) {
    vm_sincos v = vm_trig(x);
    uint64_t odd = 0u - (v.quadrant & 1u), s = vm_bits_d(v.s), c = vm_bits_d(v.c);
    double up = vm_double((s & ~odd) | (c & odd)), down = vm_double((c & ~odd) | ((s ^ 0x8000000000000000u) & odd));
    float y = (float)(up / down);
    return x == 0.0f ? x : y;
}

/* atan of t in [0, 1] */
VM_FN double vm_atan_d(double t) {
    double z = t * t;
    return vm_fma_d(t * z,
                    VM_D11(z, -0.33333332235411967, 0.19999932202251827, -0.14284250951081571, 0.11095203196820487,
                           -0.089887957823544588, 0.072693956202144442, -0.054704708417916316, 0.034704933136427405,
                           -0.016471668048111048, 0.0049994078202491066, -0.00071132165394065252),
                    t);
}
VM_FN float vm_atan(float x) {
    double d = vm_abs_d((double)x);
    double p = vm_atan_d(d > 1.0 ? 1.0 / d : d);
    return vm_copysign((float)(d > 1.0 ? 1.5707963267948966 - p : p), x);
}
VM_FN float vm_atan2(float y, float x) {
    double ay = vm_abs_d((double)y), ax = vm_abs_d((double)x);
    double lo = ay < ax ? ay : ax, hi = ay < ax ? ax : ay;
    double t = lo / hi;
    t = hi == 0.0 ? 0.0 : t;
    t = lo == (double)VM_INF ? 1.0 : t;
    double p = vm_atan_d(t);
    p = ay > ax ? 1.5707963267948966 - p : p;
    p = vm_bits(x) >> 31 ? 3.1415926535897932 - p : p;
    float r = vm_copysign((float)p, y);
    return x != x || y != y ? VM_NAN : r;
}

/* asin of s in [0, 1/2], z = s s */
VM_FN double vm_asin_d(double s, double z) {
    return vm_fma_d(s * z,
                    VM_D8(z, 0.16666666626723011, 0.075000050421811088, 0.044640687673922805, 0.030426843277410736,
                          0.021862995906639311, 0.020659100732904688, 0.0019482941312863353, 0.032941921522743309),
                    s);
}
VM_FN float vm_asin(float x) {
    double d = vm_abs_d((double)x);
    double z = d > 0.5 ? 0.5 - 0.5 * d : d * d, s = __builtin_sqrt(z);
    double p = vm_asin_d(d > 0.5 ? s : d, z);
    return vm_copysign((float)(d > 0.5 ? 1.5707963267948966 - 2.0 * p : p), x);
}
VM_FN float vm_acos(float x) {
    double d = vm_abs_d((double)x);
    double z = d > 0.5 ? 0.5 - 0.5 * d : d * d, s = __builtin_sqrt(z);
    double p = vm_asin_d(d > 0.5 ? s : d, z);
    double q = d > 0.5 ? 2.0 * p : 1.5707963267948966 - p; /* acos |x| */
    return (float)(x < 0.0f ? 3.1415926535897932 - q : q);
}

VM_FN float vm_sinh(float x) {
    double d = (double)x, z = d * d;
    double small = vm_fma_d(d * z, VM_D4(z, 1.0 / 6.0, 1.0 / 120.0, 1.0 / 5040.0, 1.0 / 362880.0), d);
    double e = vm_exp2_d(vm_abs_d(d) * 1.4426950408889634);
    float big = vm_copysign((float)(0.5 * (e - 1.0 / e)), x);
    return x == 0.0f ? x : z < 0.25 ? (float)small : big;
}
VM_FN float vm_cosh(float x) {
    double e = vm_exp2_d(vm_abs_d((double)x) * 1.4426950408889634);
    return (float)(0.5 * (e + 1.0 / e));
}
VM_FN float vm_asinh(float x) {
    double d = vm_abs_d((double)x), z = d * d;
    double small = vm_fma_d(d * z, VM_D2(z, -1.0 / 6.0, 0.075), d);
    double big = vm_log2_d(1.0 + (d + z / (1.0 + __builtin_sqrt(1.0 + z)))) * 0.69314718055994531;
    float y = vm_copysign((float)(d < 0.0078125 ? small : big), x);
    return vm_abs(x) < VM_INF ? y : x;
}
VM_FN float vm_acosh(float x) {
    double d = (double)x;
    float y = (float)(vm_log2_d(d + __builtin_sqrt((d - 1.0) * (d + 1.0))) * 0.69314718055994531);
    y = x < VM_INF ? y : x;
    return x < 1.0f ? VM_NAN : y;
}
VM_FN float vm_atanh(float x) {
    double d = (double)x, a = vm_abs_d(d), z = d * d;
    double small = vm_fma_d(a * z, VM_D2(z, 1.0 / 3.0, 0.2), a);
    double big = vm_log2_d((1.0 + a) / (1.0 - a)) * 0.34657359027997265;
    float y = vm_copysign((float)(a < 0.0078125 ? small : big), x);
    y = a == 1.0 ? vm_copysign(VM_INF, x) : y;
    return a <= 1.0 ? y : VM_NAN;
}

/* ---- division with remainder ---- */

/* Exact while |a / b| <= VM_MOD_MAX: the quotient, its distance from the next integer and the product all fit in a
 * double. */
VM_FN float vm_fmod(float a, float b) {
    double da = (double)a, db = (double)b, q = __builtin_trunc(da / db), r = da - q * db;
    return vm_abs(b) == VM_INF && vm_abs(a) < VM_INF ? a : vm_copysign((float)r, a);
}
VM_FN float vm_mod_of(float m, float b) /* m: fmod */
{
    float turned = m + b;
    m = m != 0.0f && (m < 0.0f) != (b < 0.0f) ? turned : m;
    return m == 0.0f ? vm_copysign(0.0f, b) : m;
}
VM_FN float vm_mod(float a, float b) { return vm_mod_of(vm_fmod(a, b), b); }
VM_FN float vm_floordiv(float a, float b) {
    double da = (double)a, db = (double)b, q = __builtin_floor(da / db);
    float m = vm_fmod(a, b), exact = a / b;
    float far = (m < 0.0f) == (b < 0.0f) || m == 0.0f ? vm_copysign(0.0f, exact) : -1.0f; /* for infinite b */
    float y = vm_abs(b) == VM_INF ? far : (float)q;
    y = m == m ? y : VM_NAN;
    return b == 0.0f ? exact : y;
}
VM_FN float vm_div(float a, float b) { return a / b; }
#endif
