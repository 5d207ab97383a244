/* test_map.c - the elementwise loops on every path of this machine, against map.def's formulas evaluated on doubles
 * and whole numbers by the C library; the derivatives against central differences; edges, aliases, guard bytes;
 * PyTorch's conventions at kinks. */
#include "simd/map.h"
#include "simd/simd.h"
#include "unit/cm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the formulas on doubles ---- */

typedef double (*eval_d)(double a, double b, double c, double y, double g);
typedef int64_t (*eval_i)(int64_t a, int64_t b, int64_t c);

static double d_max(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }
static double d_min(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double d_sign(double a) { return a > 0 ? 1 : a < 0 ? -1 : 0; }
static double d_sigmoid(double a) { return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a)); }
static double d_mod(double a, double b) {
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static double d_floordiv(double a, double b) { return floor((a - d_mod(a, b)) / b + 0.5); }

#define NONE                        ~, 0
#define ZERO                        ~, 0
#define CAT(x, y)                   CAT_(x, y)
#define CAT_(x, y)                  x##y
#define EXISTS(...)                 EXISTS_(__VA_ARGS__, 1, 0)
#define EXISTS_(first, exists, ...) exists
#define IF(...)                     CAT(IF_, EXISTS(__VA_ARGS__))
#define IF_0(...)
#define IF_1(...) __VA_ARGS__
#define D_F(...)  __VA_ARGS__
#define D_N(...)  __VA_ARGS__
#define D_C(...)  __VA_ARGS__
#define D_S(...)  __VA_ARGS__
#define D_P(...)  __VA_ARGS__
#define D_L(...)
#define D_I(...)
#define EVAL_D(id, expr)                                                 \
    static double id(double a, double b, double c, double y, double g) { \
        (void)a, (void)b, (void)c, (void)y, (void)g;                     \
        return (double)(expr);                                           \
    }

#define T(x)               ((double)(x))
#define sel(cond, yes, no) ((cond) != 0 ? (yes) : (no))
#define abs(x)             fabs(x)
#define max(x, z)          d_max(x, z)
#define min(x, z)          d_min(x, z)
#define sign(x)            d_sign(x)
#define sigmoid(x)         d_sigmoid(x)
#define rsqrt(x)           (1 / sqrt(x))
#define round(x)           nearbyint(x)
#define mod(x, z)          d_mod(x, z)
#define floordiv(x, z)     d_floordiv(x, z)
#define div(x, z)          ((x) / (z))
#define RY_MAP(name, cls, lo, hi, formula, da, db, dc, doc)                                                        \
    D_##cls(EVAL_D(d_##name##_value, formula)) IF(da)(EVAL_D(d_##name##_da, da)) IF(db)(EVAL_D(d_##name##_db, db)) \
        IF(dc)(EVAL_D(d_##name##_dc, dc))
#include "map.def"
#undef RY_MAP
#undef T
#undef abs
#undef max
#undef min
#undef sign
#undef round
#undef mod
#undef floordiv
#undef div

static const eval_d doubles[MAP_COUNT][MAP_FORMS] = {
#define RY_MAP(name, cls, lo, hi, formula, da, db, dc, doc)                                              \
    D_##cls([MAP_##name][MAP_VALUE] = d_##name##_value, ) IF(da)([MAP_##name][MAP_DA] = d_##name##_da, ) \
        IF(db)([MAP_##name][MAP_DB] = d_##name##_db, ) IF(dc)([MAP_##name][MAP_DC] = d_##name##_dc, )
#include "map.def"
#undef RY_MAP
};

/* ---- the formulas on whole numbers of 64 bits; results of 32 bits are their low halves ---- */

#define S(x) ((int64_t)(x))
static int64_t i_fmod(int64_t a, int64_t b) { return b == 0 ? a : b == -1 ? 0 : a % b; }
static int64_t i_mod(int64_t a, int64_t b) {
    int64_t r = i_fmod(a, b);
    return b && r && (r < 0) != (b < 0) ? r + b : r;
}
static uint64_t i_div(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? -(uint64_t)a : (uint64_t)(a / b); }
static uint64_t i_floordiv(int64_t a, int64_t b) { return i_div(a, b) - (uint64_t)(i_mod(a, b) != i_fmod(a, b)); }
static uint64_t i_pow(uint64_t a, int64_t b) {
    uint64_t y = 1;
    if (b < 0) return S(a) == 1 ? 1 : S(a) == -1 ? (b % 2 ? a : 1) : 0;
    for (int64_t i = 0; i < b; i++) y *= a;
    return y;
}
#define I_F(...)
#define I_P(...)
#define I_N(id, expr) EVAL_I(id, uint64_t, expr)
#define I_I(id, expr) EVAL_I(id, uint64_t, expr)
#define I_C(id, expr) EVAL_I(id, int64_t, expr)
#define I_L(id, expr) EVAL_I(id, int64_t, expr)
#define I_S(id, expr) EVAL_I(id, int64_t, expr)
#define EVAL_I(id, type, expr)                              \
    static int64_t id(int64_t a_, int64_t b_, int64_t c_) { \
        type a = (type)a_, b = (type)b_, c = (type)c_;      \
        (void)a, (void)b, (void)c;                          \
        return (int64_t)(expr);                             \
    }
#define T(x)                                                ((uint64_t)(x))
#define abs(x)                                              (S(x) < 0 ? -(x) : (x))
#define max(x, z)                                           (S(x) > S(z) ? (x) : (z))
#define min(x, z)                                           (S(x) < S(z) ? (x) : (z))
#define sign(x)                                             ((S(x) > 0) - (S(x) < 0))
#define floor(x)                                            (x)
#define ceil(x)                                             (x)
#define round(x)                                            (x)
#define trunc(x)                                            (x)
#define mod(x, z)                                           i_mod(S(x), S(z))
#define fmod(x, z)                                          i_fmod(S(x), S(z))
#define div(x, z)                                           i_div(S(x), S(z))
#define floordiv(x, z)                                      i_floordiv(S(x), S(z))
#define pow(x, z)                                           i_pow(x, S(z))
#define shl(x, z)                                           ((z) < 64 ? (x) << ((z)&63) : 0)
#define shr(x, z)                                           (S(x) >> (S(z) < 0 ? 0 : S(z) > 63 ? 63 : S(z)))
#define RY_MAP(name, cls, lo, hi, formula, da, db, dc, doc) I_##cls(whole_##name, formula)
#include "map.def"
#undef RY_MAP
#undef T
#undef abs
#undef max
#undef min
#undef sign
#undef floor
#undef ceil
#undef round
#undef trunc
#undef mod
#undef fmod
#undef div
#undef floordiv
#undef pow

#define IS_F(...)
#define IS_P(...)
#define IS_N(...) __VA_ARGS__
#define IS_I(...) __VA_ARGS__
#define IS_C(...) __VA_ARGS__
#define IS_L(...) __VA_ARGS__
#define IS_S(...) __VA_ARGS__
static const eval_i wholes[MAP_COUNT] = {
#define RY_MAP(name, cls, ...) IS_##cls([MAP_##name] = whole_##name, )
#include "map.def"
#undef RY_MAP
};

/* ---- helpers ---- */

static uint32_t seed;
static uint32_t next(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}
static double uniform(double lo, double hi) { return lo + (hi - lo) * (double)next() / 0x1p24; }
static char class_of(int op) { return map_table[op].cls[0]; }

/* Buffers with guard bytes on both sides, at an odd multiple of the element's size from an aligned address. */
enum { LONGEST = 70, GUARD = 64 };
typedef struct buffer {
    _Alignas(64) unsigned char at[GUARD * 2 + (LONGEST + 1) * 8 + 64];
} buffer;
static void *inside(buffer *b, size_t size) { return b->at + GUARD + size; }
static void fill_guarded(buffer *b) { memset(b->at, 0xa5, sizeof b->at); }
static void check_guards(const buffer *b, size_t size, int64_t n, const char *what) {
    for (size_t i = 0; i < sizeof b->at; i++) {
        size_t from = GUARD + size, to = from + (size_t)n * size;
        if ((i < from || i >= to) && b->at[i] != 0xa5)
            fail_msg("%s, n = %d: wrote at byte %d", what, (int)n, (int)i - (int)from);
    }
}

static const char *place(int path, int op, int form, map_reg t) {
    static char s[96];
    static const char *const forms[] = {"", "_da", "_db", "_dc"}, *const regs[] = {"f32", "i32", "i64"};
    snprintf(s, sizeof s, "%s%s %s on %s", map_table[op].name, forms[form], regs[t], simd_name((simd_path)path));
    return s;
}

/* ---- floats: every form, every length, unaligned; in place; the same bits alone as in a row ---- */

static void check_floats(int path, int op, int form) {
    map_fn fn = simd_map_of(path, op, form, MAP_F32);
    eval_d eval = doubles[op][form];
    const char *what = place(path, op, form, MAP_F32);
    char cls = class_of(op);
    bool select = cls == 'S', flag = form == MAP_VALUE && (cls == 'C' || cls == 'P');
    static buffer in[5], out;
    for (int64_t n = 0; n <= LONGEST; n++) {
        const void *src[5];
        for (int k = 0; k < 5; k++) {
            fill_guarded(&in[k]);
            src[k] = inside(&in[k], 4);
            for (int64_t i = 0; i < n; i++) {
                float v = (float)uniform((double)map_table[op].lo, (double)map_table[op].hi);
                int32_t bit = next() & 1;
                if (cls == 'C' && k == 1 && next() % 4 == 0)
                    memcpy(&v, (const float *)src[0] + i, 4); /* equal ones too */
                memcpy((float *)inside(&in[k], 4) + i, select && k == 0 ? (void *)&bit : (void *)&v, 4);
            }
        }
        fill_guarded(&out);
        float *y = inside(&out, 4);
        fn(y, src, n);
        check_guards(&out, 4, n, what);
        for (int64_t i = 0; i < n; i++) {
            double v[5], want, got;
            for (int k = 0; k < 5; k++)
                v[k] = select && k == 0 ? ((const int32_t *)src[0])[i] : (double)((const float *)src[k])[i];
            want = eval(v[0], v[1], v[2], v[3], v[4]);
            got = flag ? ((const int32_t *)(const void *)y)[i] : (double)y[i];
            if (!(fabs(got - want) <= 2e-6 * (1 + fabs(want))))
                fail_msg("%s: element %d of %d is %.9g, not %.9g", what, (int)i, (int)n, got, want);
            if (n % 16 > 1 && n < LONGEST) continue;
            float alone;
            const void *one[5];
            for (int k = 0; k < 5; k++) one[k] = (const float *)src[k] + i;
            fn(&alone, one, 1);
            if (memcmp(&alone, y + i, 4) != 0)
                fail_msg("%s: element %d of %d has other bits alone", what, (int)i, (int)n);
        }
        for (int k = 0; k < 5; k++) { /* y in the place of each source */
            unsigned char keep[LONGEST * 4];
            if (n == 0) break;
            memcpy(keep, src[k], (size_t)n * 4);
            fn(inside(&in[k], 4), src, n);
            if (memcmp(src[k], y, (size_t)n * 4) != 0) fail_msg("%s: n = %d, in place of source %d", what, (int)n, k);
            check_guards(&in[k], 4, n, what);
            memcpy(inside(&in[k], 4), keep, (size_t)n * 4);
        }
    }
}

static void floats(void **state) {
    (void)state;
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path)) continue;
        for (int op = 0; op < MAP_COUNT; op++)
            for (int form = 0; form < MAP_FORMS; form++) {
                bool exists = simd_map_of(path, op, form, MAP_F32) != NULL;
                assert_int_equal(exists, doubles[op][form] != NULL);
                if (form > 0) assert_int_equal(exists, map_table[op].d[form - 1] != NULL);
                if (exists) check_floats(path, op, form);
            }
    }
}

/* ---- integers ---- */

static int64_t whole_sample(char cls, int k, bool wide) {
    static const int64_t odd[] = {0,  1,  -1, 2,  -2,  3,         7,         31,        32,
                                  33, 63, 64, 65, -31, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    enum { ODD = sizeof odd / sizeof odd[0] };
    if (cls == 'L' || (cls == 'S' && k == 0)) return next() & 1;
    int64_t v = next() % 2 ? odd[next() % ODD] : (int64_t)(next() % 200) - 100;
    return wide ? v : v < INT32_MIN || v > INT32_MAX ? 5 : v;
}

static void check_integers(int path, int op, map_reg t) {
    map_fn fn = simd_map_of(path, op, MAP_VALUE, t);
    const char *what = place(path, op, MAP_VALUE, t);
    char cls = class_of(op);
    size_t size = t == MAP_I64 ? 8 : 4, size_a = cls == 'S' ? 4 : size, size_y = cls == 'C' || cls == 'L' ? 4 : size;
    static buffer in[3], out;
    for (int64_t n = 0; n <= LONGEST; n++) {
        const void *src[5] = {NULL};
        int64_t v[3][LONGEST];
        for (int k = 0; k < 3; k++) {
            size_t s = k ? size : size_a;
            src[k] = inside(&in[k], s);
            for (int64_t i = 0; i < n; i++) {
                int64_t x = v[k][i] = whole_sample(cls, k, t == MAP_I64);
                int32_t x32 = (int32_t)x;
                if (op == MAP_pow && k == 1 && (x > 100 || x < -100))
                    v[k][i] = x = x32 = 9; /* the reference multiplies one by one */
                memcpy((unsigned char *)inside(&in[k], s) + (size_t)i * s, s == 8 ? (void *)&x : (void *)&x32, s);
            }
        }
        fill_guarded(&out);
        fn(inside(&out, size_y), src, n);
        check_guards(&out, size_y, n, what);
        for (int64_t i = 0; i < n; i++) {
            int64_t want = wholes[op](v[0][i], v[1][i], v[2][i]), got;
            int32_t low = (int32_t)(uint32_t)(uint64_t)want;
            if (size_y == 4)
                want = low, got = ((const int32_t *)inside(&out, 4))[i];
            else
                got = ((const int64_t *)inside(&out, 8))[i];
            if (got != want)
                fail_msg("%s: (%lld, %lld, %lld) gives %lld, not %lld", what, (long long)v[0][i], (long long)v[1][i],
                         (long long)v[2][i], (long long)got, (long long)want);
        }
    }
}

static void integers(void **state) {
    (void)state;
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path)) continue;
        for (int op = 0; op < MAP_COUNT; op++)
            for (map_reg t = MAP_I32; t <= MAP_I64; t++) {
                bool want = wholes[op] && !(class_of(op) == 'L' && t == MAP_I64);
                assert_int_equal(simd_map_of(path, op, MAP_VALUE, t) != NULL, want);
                for (int form = MAP_DA; form < MAP_FORMS; form++) assert_null(simd_map_of(path, op, form, t));
                if (want) check_integers(path, op, t);
            }
    }
}

/* ---- derivative texts against central differences of the formula, both on doubles ---- */

static void derivatives(void **state) {
    (void)state;
    enum { TRIES = 200 };
    const double h = 1e-5;
    for (int op = 0; op < MAP_COUNT; op++)
        for (int form = MAP_DA; form < MAP_FORMS; form++) {
            int k = form - MAP_DA, kinks = 0, first = class_of(op) == 'S' ? 1 : 0;
            bool zero = map_table[op].zero >> k & 1;
            eval_d f = doubles[op][MAP_VALUE], d = doubles[op][form];
            assert_false(zero && d);
            if (!d && !zero) continue;
            for (int i = 0; i < TRIES; i++) {
                double v[3], at[3], g = uniform(-2, 2);
                for (int j = 0; j < 3; j++)
                    v[j] =
                        j < first ? (double)(next() & 1) : uniform((double)map_table[op].lo, (double)map_table[op].hi);
                double mid = f(v[0], v[1], v[2], 0, 0);
                memcpy(at, v, sizeof at);
                at[k] = v[k] + h;
                double up = (f(at[0], at[1], at[2], 0, 0) - mid) / h;
                at[k] = v[k] - h;
                double down = (mid - f(at[0], at[1], at[2], 0, 0)) / h;
                if (fabs(up - down) > 1e-2) { /* a corner or a jump lies between */
                    kinks++;
                    continue;
                }
                double want = g * (up + down) / 2, got = d ? d(v[0], v[1], v[2], mid, g) : 0;
                if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want))))
                    fail_msg("%s, source %d: at (%g, %g, %g) %.9g, differences give %.9g", map_table[op].name, k, v[0],
                             v[1], v[2], got, want);
            }
            assert_true(kinks < TRIES / 10);
        }
}

/* ---- single values by hand ---- */

static float one(int path, int op, int form, float a, float b, float c, float y, float g) {
    float r;
    simd_map_of(path, op, form, MAP_F32)(&r, (const void *[]){&a, &b, &c, &y, &g}, 1);
    return r;
}

static void conventions(void **state) {
    (void)state;
    for (int p = 0; p < SIMD_PATHS; p++) {
        if (!simd_has((simd_path)p)) continue;
#define VALUE(name, a, b, c)      one(p, MAP_##name, MAP_VALUE, a, b, c, 0, 0)
#define GRAD(name, form, a, b, c) one(p, MAP_##name, MAP_##form, a, b, c, VALUE(name, a, b, c), 2)
#define IS(got, want)             assert_true((got) == (want))
        IS(GRAD(max, DA, 1, 1, 0), 1); /* ties: half each */
        IS(GRAD(max, DB, 1, 1, 0), 1);
        IS(GRAD(min, DA, 1, 1, 0), 1);
        IS(GRAD(min, DB, 1, 2, 0), 0);
        IS(GRAD(clamp, DA, -1, -1, 1), 2); /* inside and at the bounds: all to a */
        IS(GRAD(clamp, DA, 1, -1, 1), 2);
        IS(GRAD(clamp, DA, 1.5f, -1, 1), 0);
        IS(GRAD(clamp, DB, -1.5f, -1, 1), 2);
        IS(GRAD(clamp, DC, 1.5f, -1, 1), 2);
        IS(GRAD(clamp_min, DA, 1, 1, 0), 2);
        IS(GRAD(clamp_max, DA, 1, 1, 0), 2);
        IS(GRAD(relu, DA, 0, 0, 0), 0);
        IS(GRAD(abs, DA, 0, 0, 0), 0);
        IS(GRAD(pow, DA, 0, 0, 0), 0); /* 0^0 = 1, flat in a */
        IS(GRAD(pow, DA, 0, 1, 0), 2);
        IS(GRAD(pow, DA, 0, 2, 0), 0);
        IS(GRAD(pow, DB, 0, 2, 0), 0);
        IS(GRAD(pow, DA, -2, 3, 0), 24);
        assert_true(isnan(GRAD(pow, DB, -2, 3, 0)));
        IS(GRAD(hypot, DA, 0, 0, 0), 0);
        IS(GRAD(xlogy, DA, 0, 0, 0), 0);
        IS(VALUE(xlogy, 0, 0, 0), 0);
        assert_true(isnan(VALUE(xlogy, 0, NAN, 0)));
        IS(VALUE(logaddexp, -INFINITY, -INFINITY, 0), -INFINITY);
        IS(VALUE(logaddexp, INFINITY, 1, 0), INFINITY);
        for (int k = 0; k < 2; k++) {
            float a = k ? 1 : NAN, b = k ? NAN : 1;
            assert_true(isnan(VALUE(max, a, b, 0)) && isnan(VALUE(min, a, b, 0)));
        }
        assert_true(isnan(VALUE(relu, NAN, 0, 0)) && isnan(VALUE(clamp, NAN, 0, 1)));
        IS(VALUE(round, 2.5f, 0, 0), 2);
        IS(VALUE(round, 3.5f, 0, 0), 4);
        IS(VALUE(round, -0.5f, 0, 0), 0);
        IS(VALUE(mod, -7, 3, 0), 2);
        IS(VALUE(mod, 7, -3, 0), -2);
        IS(VALUE(fmod, -7, 3, 0), -1);
        IS(VALUE(floordiv, -7, 3, 0), -3);
        IS(VALUE(floordiv, 7, 0, 0), INFINITY);
        IS(VALUE(mod, -1, INFINITY, 0), INFINITY);
        IS(VALUE(floordiv, -1, INFINITY, 0), -1);
        assert_true(isnan(VALUE(mod, 1, 0, 0)) && isnan(VALUE(fmod, INFINITY, 2, 0)));
        /* finite where the derivative is: far out, nothing overflows into NaN */
        for (float x = 1; x < 1e38f; x *= 7) {
            static const int smooth[] = {MAP_silu,     MAP_gelu,        MAP_gelu_tanh, MAP_gelu_quick, MAP_mish,
                                         MAP_softplus, MAP_log_sigmoid, MAP_softsign,  MAP_asinh,      MAP_atan,
                                         MAP_erf,      MAP_erfc,        MAP_tanh,      MAP_sigmoid,    MAP_elu,
                                         MAP_selu,     MAP_celu,        MAP_swiglu,    MAP_geglu,      MAP_geglu_erf,
                                         MAP_rsqrt,    MAP_log};
            for (size_t i = 0; i < sizeof smooth / sizeof smooth[0]; i++)
                for (int s = -1; s <= 1; s += 2) {
                    float a = (float)s * x, v = one(p, smooth[i], MAP_VALUE, a, 1, 0, 0, 0);
                    if (a < 0 && (smooth[i] == MAP_rsqrt || smooth[i] == MAP_log)) continue;
                    if (!isfinite(v) || !isfinite(one(p, smooth[i], MAP_DA, a, 1, 0, v, 1)))
                        fail_msg("%s(%g) or its derivative is not finite", map_table[smooth[i]].name, (double)a);
                }
        }
    }
}

/* Beyond the fast range the C library takes over, element by element, and the others keep their bits. */
static void wide(void **state) {
    (void)state;
    enum { N = 600 };
    static float a[N], b[N], g[N], y[N];
    static const struct {
        int op, form;
        double (*f)(double);
        double sign;
    } trig[] = {{MAP_sin, MAP_VALUE, sin, 1},
                {MAP_sin, MAP_DA, cos, 1},
                {MAP_cos, MAP_VALUE, cos, 1},
                {MAP_cos, MAP_DA, sin, -1},
                {MAP_tan, MAP_VALUE, tan, 1}};
    for (int p = 0; p < SIMD_PATHS; p++) {
        if (!simd_has((simd_path)p)) continue;
        for (int i = 0; i < N; i++) {
            a[i] = (float)(uniform(-1, 1) * (i % 7 == 3 ? 1e38 : i % 7 == 5 ? 1e9 : 100));
            b[i] = (float)uniform(0.5, 2);
            g[i] = 1;
        }
        for (size_t t = 0; t < sizeof trig / sizeof trig[0]; t++) {
            simd_map_of(p, trig[t].op, trig[t].form, MAP_F32)(y, (const void *[]){a, NULL, NULL, NULL, g}, N);
            for (int i = 0; i < N; i++) {
                double want = trig[t].sign * trig[t].f((double)a[i]);
                assert_true(fabs((double)y[i] - want) <= 2e-7 * fabs(want));
            }
        }
        float kept[N];
        memcpy(kept, a, sizeof a);
        simd_map_of(p, MAP_fmod, MAP_VALUE, MAP_F32)(a, (const void *[]){a, b, NULL, NULL, NULL}, N); /* in place */
        for (int i = 0; i < N; i++) assert_true(a[i] == fmodf(kept[i], b[i]));
        simd_map_of(p, MAP_mod, MAP_VALUE, MAP_F32)(y, (const void *[]){kept, b, NULL, NULL, NULL}, N);
        for (int i = 0; i < N; i++) {
            float m = fmodf(kept[i], b[i]);
            assert_true(y[i] == (m < 0 ? m + b[i] : m));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats),      cmocka_unit_test(integers), cmocka_unit_test(derivatives),
        cmocka_unit_test(conventions), cmocka_unit_test(wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
