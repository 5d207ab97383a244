/* test_rows.c - the row loops on every path of this machine against plain definitions in double; all lengths to 70
 * with unaligned pointers and guard bytes; conversions between storage types bit by bit (blocks: test_blocks). */
#include "base/rng.h"
#include "simd/rows.h"
#include "simd/simd.h"
#define NOISE_SEED 12345
#include "unit/cm.h"
#include "unit/noise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 70, LONG = 10007, GUARD = 16 };

static float as_float(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static uint32_t as_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static bool near(double got, double want, double tol) { return fabs(got - want) <= tol * (1 + fabs(want)); }
#define NEAR(got, want, tol)                                                                                      \
    do {                                                                                                          \
        double got_ = (double)(got), want_ = (double)(want);                                                      \
        if (!near(got_, want_, tol)) fail_msg("n = %lld: %s is %.9g, not %.9g", (long long)n, #got, got_, want_); \
    } while (0)

/* A row in the middle of guard values, one element off an aligned address. */
typedef struct row {
    float at[LONG + 2 * GUARD];
} row;
static float *begin(row *r) { return r->at + GUARD + 1; }
static float *draw(row *r, int64_t n) {
    for (int i = 0; i < LONG + 2 * GUARD; i++) r->at[i] = 12345.0f;
    for (int64_t i = 0; i < n; i++) begin(r)[i] = uniform();
    return begin(r);
}
static void check_guards(const row *r, int64_t n) {
    for (int i = 0; i < LONG + 2 * GUARD; i++)
        if ((i < GUARD + 1 || i >= GUARD + 1 + n) && r->at[i] != 12345.0f)
            fail_msg("n = %lld: wrote at %lld", (long long)n, (long long)i - GUARD - 1);
}

static row rx, ry, rz, rw, ra, rb;

#define EACH_PATH(t)                              \
    for (int path = 0; path < SIMD_PATHS; path++) \
        for (const simd_rows_table *t = simd_rows_of(path); t; t = NULL)
#define EACH_LENGTH(n) for (int64_t n = 0; n <= LONG; n = n == LONGEST ? LONG : n + 1)

static void sums(void **state) {
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n) {
        float *x = draw(&rx, n), *y = draw(&ry, n);
        double sum = 0, size = 0, sumsq = 0, dot = 0, hi = -INFINITY, lo = INFINITY, mag = 0;
        for (int64_t i = 0; i < n; i++) {
            double v = (double)x[i];
            sum += v, size += fabs(v), sumsq += v * v, dot += v * (double)y[i];
            hi = fmax(hi, v), lo = fmin(lo, v), mag = fmax(mag, fabs(v));
        }
        assert_true(fabs((double)t->sum(x, n) - sum) <= 2e-7 * size);
        assert_true(fabs((double)t->dot(x, y, n) - dot) <= 2e-7 * size);
        NEAR(t->sumsq(x, n), sumsq, 3e-7);
        assert_true((double)t->max(x, n) == hi && (double)t->min(x, n) == lo && (double)t->absmax(x, n) == mag);
        for (int64_t i = 0; n <= LONGEST && i < n; i++) { /* the extreme, and NaN, at every place */
            float keep = x[i];
            x[i] = 7;
            assert_true(t->max(x, n) == 7 && t->absmax(x, n) == 7);
            x[i] = -7;
            assert_true(t->min(x, n) == -7 && t->absmax(x, n) == 7);
            x[i] = NAN;
            assert_true(isnan(t->max(x, n)) && isnan(t->min(x, n)) && isnan(t->absmax(x, n)));
            x[i] = keep;
        }
    }
}

static void vectors(void **state) {
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n) {
        float *x = draw(&rx, n), *y = draw(&ry, n), *z = draw(&rz, n);
        t->scale(z, x, 3, n);
        for (int64_t i = 0; i < n; i++) assert_true(z[i] == 3 * x[i]);
        t->axpy(z, 0.5f, y, n);
        for (int64_t i = 0; i < n; i++) NEAR(z[i], 3 * (double)x[i] + 0.5 * (double)y[i], 2e-7);
        t->add(z, x, y, n);
        for (int64_t i = 0; i < n; i++) assert_true(z[i] == x[i] + y[i]);
        t->mul(z, z, y, n); /* in place */
        for (int64_t i = 0; i < n; i++) assert_true(z[i] == (x[i] + y[i]) * y[i]);
        t->fill(z, 4, n);
        for (int64_t i = 0; i < n; i++) assert_true(z[i] == 4);
        check_guards(&rz, n);
    }
}

static void softmaxes(void **state) {
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n) {
        float *x = draw(&rx, n), *y = draw(&ry, n), *z = draw(&rz, n), *g = draw(&ra, n);
        double m = -INFINITY, s = 0, d = 0;
        for (int64_t i = 0; i < n; i++) x[i] *= 30, m = fmax(m, (double)x[i]);
        for (int64_t i = 0; i < n; i++) s += exp((double)x[i] - m);
        if (n) {
            NEAR(t->exp_sub(y, x, (float)m, n), s, 1e-6);
            NEAR(t->exp_sub_sum(x, (float)m, n), s, 1e-6);
            for (int64_t i = 0; i < n; i++) NEAR(y[i], exp((double)x[i] - m), 1e-6);
        }
        t->softmax(z, x, n);
        for (int64_t i = 0; i < n; i++) {
            double want = exp((double)x[i] - m) / s;
            assert_true(fabs((double)z[i] - want) <= 4e-6 * want + 1e-37); /* x - m is rounded: 2^-24 of 60 */
            d += (double)z[i] * (double)g[i];
        }
        t->softmax_grad(y, z, g, n);
        for (int64_t i = 0; i < n; i++) NEAR(y[i], (double)z[i] * ((double)g[i] - d), 1e-6);
        t->softmax(x, x, n);
        assert_memory_equal(x, z, (size_t)n * 4);
        check_guards(&rx, n);
        check_guards(&ry, n);
        check_guards(&rz, n);
    }
    EACH_PATH(t) {
        float x[3] = {-INFINITY, 0, -INFINITY}, y[3];
        t->softmax(y, x, 3);
        assert_true(y[0] == 0 && y[1] == 1 && y[2] == 0);
        x[1] = -INFINITY;
        t->softmax(y, x, 3);
        assert_true(isnan(y[0]) && isnan(y[1]) && isnan(y[2]));
    }
}

static void norms(void **state) {
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n) {
        if (n == 0) continue;
        float *x = draw(&rx, n), *y = draw(&ry, n), *w = draw(&rw, n), *b = draw(&rb, n), stat[2], eps = 1e-3f;
        double ss = 0, mean = 0, var = 0;
        for (int64_t i = 0; i < n; i++) {
            x[i] += 100; /* far from 0: the variance must not come from a difference of squares */
            ss += (double)x[i] * (double)x[i];
            mean += (double)x[i] / (double)n;
        }
        for (int64_t i = 0; i < n; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
        double r = 1 / sqrt(ss / (double)n + (double)eps), s = 1 / sqrt(var + (double)eps);
        NEAR(t->rms_norm(y, x, NULL, eps, n), r, 1e-6);
        for (int64_t i = 0; i < n; i++) NEAR(y[i], (double)x[i] * r, 1e-6);
        NEAR(t->rms_norm(y, x, w, eps, n), r, 1e-6);
        for (int64_t i = 0; i < n; i++) NEAR(y[i], (double)x[i] * r * (double)w[i], 1e-6);
        for (int k = 0; k < 4; k++) {
            t->layer_norm(y, x, k & 1 ? w : NULL, k & 2 ? b : NULL, eps, n, stat);
            NEAR(stat[0], mean, 3e-7);
            NEAR(stat[1], s, 3e-4); /* the mean is rounded: 4e-6 of spreads down to 0 beside eps */
            for (int64_t i = 0; i < n; i++)
                NEAR(y[i],
                     ((double)x[i] - (double)stat[0]) * (double)stat[1] * (k & 1 ? (double)w[i] : 1) +
                         (k & 2 ? (double)b[i] : 0),
                     1e-6);
        }
        check_guards(&ry, n);
    }
}

static void rotations(void **state) {
    (void)state;
    EACH_PATH(t)
    for (int64_t n = 0; n <= LONGEST; n++) {
        float *x = draw(&rx, 2 * n), *y = draw(&ry, 2 * n), *c = draw(&ra, n), *s = draw(&rb, n), *p = draw(&rz, n);
        for (int64_t i = 0; i < n; i++) p[i] *= i % 3 == 0 ? 1e6f : 10;
        t->sin_cos(s, c, p, n);
        for (int64_t i = 0; i < n; i++) {
            NEAR(s[i], sin((double)p[i]), 6e-8);
            NEAR(c[i], cos((double)p[i]), 6e-8);
        }
        check_guards(&ra, n);
        check_guards(&rb, n);
        for (int pairs = 0; pairs < 2; pairs++) {
            (pairs ? t->rope_pairs : t->rope_half)(y, x, c, s, n);
            for (int64_t i = 0; i < n; i++) {
                int64_t u = pairs ? 2 * i : i, v = pairs ? 2 * i + 1 : i + n;
                NEAR(y[u], (double)x[u] * (double)c[i] - (double)x[v] * (double)s[i], 2e-7);
                NEAR(y[v], (double)x[v] * (double)c[i] + (double)x[u] * (double)s[i], 2e-7);
            }
            check_guards(&ry, 2 * n);
        }
        t->rope_pairs(x, x, c, s, n); /* in place; y holds the same */
        assert_memory_equal(x, y, (size_t)n * 8);
    }
}

/* Ten steps of torch.optim.AdamW's formula in double. */
static void adamw(void **state) {
    (void)state;
    const double lr = 0.01, b1 = 0.9, b2 = 0.999, eps = 1e-8, wd = 0.1, scale = 0.5;
    static double dw[LONG], dm[LONG], dv[LONG];
    EACH_PATH(t)
    EACH_LENGTH(n) {
        float *w = draw(&rw, n), *m = draw(&ra, n), *v = draw(&rb, n), *g = draw(&rx, n);
        for (int64_t i = 0; i < n; i++) m[i] = v[i] = 0, dw[i] = (double)w[i], dm[i] = dv[i] = 0;
        for (int step = 1; step <= 10; step++) {
            double bc1 = 1 / (1 - pow(b1, step)), bc2 = 1 / (1 - pow(b2, step));
            for (int64_t i = 0; i < n; i++) {
                double d = scale * (double)(g[i] = uniform());
                dm[i] = b1 * dm[i] + (1 - b1) * d;
                dv[i] = b2 * dv[i] + (1 - b2) * d * d;
                dw[i] = dw[i] * (1 - lr * wd) - lr * dm[i] * bc1 / (sqrt(dv[i] * bc2) + eps);
            }
            t->adamw(w, m, v, g, (float)scale, lr, b1, b2, eps, wd, bc1, bc2, n);
        }
        for (int64_t i = 0; i < n; i++) {
            NEAR(w[i], dw[i], 1e-6);
            NEAR(m[i], dm[i], 1e-6);
            NEAR(v[i], dv[i], 1e-6);
        }
        check_guards(&rw, n);
        check_guards(&ra, n);
        check_guards(&rb, n);
    }
}

/* ---- storage types ---- */

static double f16_value(uint32_t h) {
    int e = (int)(h >> 10 & 31);
    double f = (double)(h & 1023), s = h & 0x8000 ? -1 : 1;
    return e == 31 ? (f != 0 ? NAN : s * INFINITY) : s * (e ? ldexp(1024 + f, e - 25) : ldexp(f, -24));
}

static void f16_to_f32(void **state) {
    (void)state;
    EACH_PATH(t)
    for (uint32_t n = 1; n < 40; n += 19) { /* whole vectors, and their rest */
        for (uint32_t h = 0; h + n <= 65536; h += n) {
            uint16_t x[64];
            float y[64];
            for (uint32_t i = 0; i < n; i++) x[i] = (uint16_t)(h + i);
            t->to_f32(y, x, RY_F16, n);
            for (uint32_t i = 0; i < n; i++) {
                float want = (float)f16_value(h + i);
                uint32_t quiet = ((h + i) & 0x8000u) << 16 | 0x7fc00000u | ((h + i) & 0x3ffu) << 13;
                assert_int_equal(as_bits(y[i]), isnan(want) ? quiet : as_bits(want));
            }
        }
    }
}

/* x rounded to `bits` of significand, halves to even, in units no smaller than 2^least; at 2^over it is infinite */
static double rounded(float x, int bits, int least, int over) {
    int e;
    frexp((double)x, &e);
    double unit = ldexp(1, e - bits > least ? e - bits : least), r = nearbyint((double)x / unit) * unit;
    return fabs(r) >= ldexp(1, over) ? copysign(INFINITY, r) : r;
}

static void check_halves(const simd_rows_table *t, const float *x, int64_t n) {
    uint16_t h[64];
    float back[64];
    t->from_f32(h, x, RY_F16, n);
    t->to_f32(back, h, RY_F16, n);
    for (int64_t i = 0; i < n; i++) {
        double want = rounded(x[i], 11, -24, 16);
        if (isnan(x[i]))
            assert_int_equal(h[i], (as_bits(x[i]) >> 16 & 0x8000) | 0x7e00 | (as_bits(x[i]) >> 13 & 0x3ff));
        else if (!((double)back[i] == want && !signbit(back[i]) == !signbit(x[i])))
            fail_msg("f16 of %a: %a, not %a", (double)x[i], (double)back[i], want);
    }
    t->from_f32(h, x, RY_BF16, n);
    t->to_f32(back, h, RY_BF16, n);
    for (int64_t i = 0; i < n; i++) {
        double want = rounded(x[i], 8, -133, 128);
        assert_int_equal(as_bits(back[i]), (uint32_t)h[i] << 16);
        if (isnan(x[i]))
            assert_true(isnan(back[i]));
        else if (!((double)back[i] == want && !signbit(back[i]) == !signbit(x[i])))
            fail_msg("bf16 of %a: %a, not %a", (double)x[i], (double)back[i], want);
    }
}

static void f32_to_halves(void **state) {
    (void)state;
    EACH_PATH(t) {
        float x[33];
        int64_t n = 0;
        for (uint64_t u = 0; u <= UINT32_MAX; u += 65521) {
            x[n++] = as_float((uint32_t)u);
            if (n == 33) check_halves(t, x, n), n = 0;
        }
        for (uint32_t h = 0; h < 0x7bff; h++) { /* ties of f16, their neighbours, and the same of bf16 */
            float tie = (float)((f16_value(h) + f16_value(h + 1)) / 2);
            uint32_t b = h << 16 | 0x8000u;
            float v[6] = {tie,
                          as_float(as_bits(tie) + 1),
                          as_float(as_bits(tie) - 1),
                          as_float(b),
                          as_float(b + 1),
                          as_float(b - 1)};
            for (int i = 0; i < 6; i++) {
                x[n++] = h & 1 ? -v[i] : v[i];
                if (n == 33) check_halves(t, x, n), n = 0;
            }
        }
        check_halves(t, (float[]){65519.0f, 65520.0f, -65519.996f, INFINITY, -INFINITY, NAN, 0.0f, -0.0f}, 8);
    }
}

static void integers_and_doubles(void **state) {
    (void)state;
    static const float odd[] = {0.0f,
                                -0.0f,
                                0.9f,
                                -0.9f,
                                1.5f,
                                -1.5f,
                                126.9f,
                                127.0f,
                                128.0f,
                                -128.9f,
                                -129.0f,
                                255.9f,
                                256.0f,
                                2147483520.0f,
                                0x1p31f,
                                -0x1p31f,
                                -2147483904.0f,
                                0x1p62f,
                                9223371487098961920.0f,
                                0x1p63f,
                                -0x1p63f,
                                -0x1.000002p63f,
                                1e30f,
                                -1e30f,
                                INFINITY,
                                -INFINITY,
                                NAN};
    enum { ODD = sizeof odd / sizeof odd[0] };
    EACH_PATH(t)
    for (int64_t n = 0; n <= LONGEST; n++) {
        float x[LONGEST], y[LONGEST];
        union {
            int8_t i8[LONGEST + 1];
            uint8_t u8[LONGEST + 1];
            int32_t i32[LONGEST + 1];
            int64_t i64[LONGEST + 1];
            double f64[LONGEST + 1];
        } z;
        for (int64_t i = 0; i < n; i++) x[i] = odd[next() % ODD];
#define CHECK_INT(dtype, field, low, high)                                                                         \
    memset(&z, 0x5a, sizeof z);                                                                                    \
    t->from_f32(z.field, x, dtype, n);                                                                             \
    for (int64_t i = 0; i < n; i++) {                                                                              \
        double v = trunc((double)x[i]);                                                                            \
        long long want = isnan(v) ? 0 : v <= (double)(low) ? (low) : v >= (double)(high) ? (high) : (long long)v;  \
        if ((long long)z.field[i] != want) fail_msg(#dtype " of %a is %lld", (double)x[i], (long long)z.field[i]); \
    }                                                                                                              \
    for (size_t i = 0; i < sizeof z.field[0]; i++) assert_int_equal(((unsigned char *)&z.field[n])[i], 0x5a);      \
    t->to_f32(y, z.field, dtype, n);                                                                               \
    for (int64_t i = 0; i < n; i++) assert_true(y[i] == (float)z.field[i]);
        CHECK_INT(RY_I8, i8, -128LL, 127LL)
        CHECK_INT(RY_U8, u8, 0LL, 255LL)
        CHECK_INT(RY_I32, i32, (long long)INT32_MIN, (long long)INT32_MAX)
        CHECK_INT(RY_I64, i64, INT64_MIN, INT64_MAX)
        t->from_f32(z.u8, x, RY_BOOL, n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(z.u8[i], x[i] != 0);
        for (int64_t i = 0; i < n; i++) z.u8[i] = (uint8_t)(next() % 3);
        t->to_f32(y, z.u8, RY_BOOL, n);
        for (int64_t i = 0; i < n; i++) assert_true(y[i] == (float)(z.u8[i] != 0));
        t->from_f32(z.f64, x, RY_F64, n);
        t->to_f32(y, z.f64, RY_F64, n);
        for (int64_t i = 0; i < n; i++)
            assert_true(isnan(x[i]) ? isnan(y[i]) : (double)x[i] == z.f64[i] && x[i] == y[i]);
        t->from_f32(y, x, RY_F32, n);
        assert_memory_equal(x, y, (size_t)n * 4);
        t->to_f32(x, y, RY_F32, n);
        assert_memory_equal(x, y, (size_t)n * 4);
    }
}

static void norm_gradients(void **state) {
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n)
    for (int form = 0; form < 4; form++) {
        float *gy = draw(&ry, n), *x = draw(&rx, n), *w = form & 1 ? draw(&rw, n) : NULL, *gx = draw(&rz, n);
        float *gw = draw(&ra, n), *gb = draw(&rb, n), mean = 0.25f, r = 1.5f, shift = 0.125f, slope = -0.75f;
        double sum[2], want[2] = {0, 0}, size = 0;
        for (int64_t i = 0; i < n; i++) {
            double u = (double)gy[i] * (w ? (double)w[i] : 1);
            want[0] += u, want[1] += u * ((double)x[i] - 0.25), size += fabs(u) * 2;
            gw[i] = gb[i] = (float)(i % 3);
        }
        t->norm_sums(sum, gy, w, x, mean, n);
        for (int k = 0; k < 2; k++) assert_true(fabs(sum[k] - want[k]) <= 3e-7 * size);
        t->norm_back(gx, w ? gw : NULL, form & 2 ? gb : NULL, gy, w, x, mean, r, shift, slope, n);
        for (int64_t i = 0; i < n; i++) {
            double g = (double)gy[i], h = ((double)x[i] - 0.25) * 1.5;
            NEAR(gx[i], 1.5 * (g * (w ? (double)w[i] : 1) - 0.125 + 0.75 * h), 1e-6);
            NEAR(gw[i], (double)(i % 3) + (w ? g * h : 0), 1e-6);
            NEAR(gb[i], (double)(i % 3) + (form & 2 ? g : 0), 1e-6);
        }
        check_guards(&rz, n), check_guards(&ra, n), check_guards(&rb, n);
    }
}

static void narrow_integers(void **state) {
    static int32_t wide[LONG];
    static unsigned char bytes[LONG + 1], got[LONG + 1];
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n) {
        for (int64_t i = 0; i < n; i++) bytes[i] = (unsigned char)next();
        t->widen(wide, bytes, RY_I8, n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(wide[i], (signed char)bytes[i]);
        t->widen(wide, bytes, RY_U8, n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(wide[i], bytes[i]);
        for (int64_t i = 0; i < n; i++) wide[i] = i % 3 ? (int32_t)(next() << 8 ^ next()) : (int32_t)(i % 2 * 256);
        got[n] = 0x5a;
        t->narrow(got, wide, RY_U8, n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(got[i], wide[i] & 255);
        t->narrow(got, wide, RY_BOOL, n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(got[i], wide[i] != 0);
        assert_int_equal(got[n], 0x5a);
    }
}

/* The greater with a NaN above all and the first of equals, bit by bit; sums in the same places. */
static void windows(void **state) {
    (void)state;
    EACH_PATH(t)
    for (int64_t step = 1; step <= 3; step++)
        for (int64_t n = 0; n <= LONGEST; n++) {
            float *y = draw(&ry, n), *x = draw(&rx, n * step), *z = draw(&rz, n);
            for (int64_t i = 0; i < n * step; i++)
                if (i % 7 == 0) x[i] = i % 2 ? 0.0f : as_float(0x7fc00001u + (uint32_t)i);
            for (int64_t i = 0; i < n; i++)
                if (i % 5 == 0) y[i] = i % 2 ? -0.0f : as_float(0xffc12345u + (uint32_t)i);
            memcpy(z, y, (size_t)n * sizeof *z);
            t->max_into(y, x, step, n);
            for (int64_t i = 0; i < n; i++) {
                float v = x[i * step];
                assert_int_equal(as_bits(y[i]), as_bits(v > z[i] || (isnan(v) && !isnan(z[i])) ? v : z[i]));
            }
            check_guards(&ry, n);
            y = draw(&ry, n), x = draw(&rx, n * step);
            memcpy(z, y, (size_t)n * sizeof *z);
            t->add_into(y, x, step, n);
            for (int64_t i = 0; i < n; i++) assert_true(y[i] == z[i] + x[i * step]);
            check_guards(&ry, n);
        }
}

/* The stream of base/rng.h to the bit, from every place of a block and beyond 2^32 blocks. */
static void random_numbers(void **state) {
    static const uint64_t at[] = {0, 1, 2, 3, 4, 61, 0x3fffffff0u, 0x3fffffffeu, 0x400000001u};
    (void)state;
    EACH_PATH(t)
    EACH_LENGTH(n)
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        float *y = draw(&ry, n), *x = draw(&rx, n), *z = draw(&rz, n);
        uint64_t s = 0x9876543210fedcbau + (uint64_t)n;
        ry_rng_uniform(z, n, s, 7, at[k]);
        t->uniform(y, n, s, 7, at[k]);
        assert_memory_equal(y, z, (size_t)n * sizeof *y);
        check_guards(&ry, n);
        t->dropout(y, x, 0.25f, 4.0f / 3, n, s, 7, at[k]);
        for (int64_t i = 0; i < n; i++) assert_true(y[i] == (z[i] >= 0.25f ? x[i] * (4.0f / 3) : 0.0f));
        check_guards(&ry, n);
        if (n > LONGEST && k > 3) break; /* two places are enough for the long one */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),       cmocka_unit_test(vectors),        cmocka_unit_test(softmaxes),
        cmocka_unit_test(norms),      cmocka_unit_test(rotations),      cmocka_unit_test(adamw),
        cmocka_unit_test(f16_to_f32), cmocka_unit_test(f32_to_halves),  cmocka_unit_test(integers_and_doubles),
        cmocka_unit_test(narrow_integers),
        cmocka_unit_test(windows),    cmocka_unit_test(random_numbers), cmocka_unit_test(norm_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
