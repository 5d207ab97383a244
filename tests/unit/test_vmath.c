/* test_vmath.c - elementary functions on every path of this machine: errors in units of the last place over all
 * exponents against double libm, special values as C99's Annex F has them, and NumPy's correctly rounded vectors. The
 * limits are those stated in vmath.h. */
#include "simd/map.h"
#include "simd/simd.h"
#include "test_data.h"
#include "unit/cm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* Error of got in units of the last place of a float near want; specials must be equal, the sign of zero too. */
static double ulps(float got, double want) {
    float rounded = (float)want;
    int e;
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (isinf(rounded) || isinf(got)) return got == rounded ? 0 : INFINITY;
    if (want == 0) return got == 0 && !signbit(got) == !signbit(want) ? 0 : INFINITY;
    frexp(want, &e);
    return isnan(got) ? INFINITY : fabs((double)got - want) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

static double sigmoid_d(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double rsqrt_d(double x) { return 1 / sqrt(x); }
static double recip_d(double x) { return 1 / x; }

typedef struct unary {
    int op;
    double (*f)(double);
    double limit;
    const char *csv;
} unary;
static const unary unaries[] = {
    {MAP_exp, exp, 1.18, "exp"},         {MAP_exp2, exp2, 1.20, NULL},     {MAP_expm1, expm1, 1.46, NULL},
    {MAP_log, log, 0.81, "log"},         {MAP_log1p, log1p, 1.42, NULL},   {MAP_log2, log2, 0.51, "log2"},
    {MAP_log10, log10, 0.51, "log10"},   {MAP_tanh, tanh, 1.50, NULL},     {MAP_sigmoid, sigmoid_d, 2.90, NULL},
    {MAP_erf, erf, 1.39, NULL},          {MAP_erfc, erfc, 5.80, NULL},     {MAP_sqrt, sqrt, 0.50, NULL},
    {MAP_rsqrt, rsqrt_d, 1.50, NULL},    {MAP_recip, recip_d, 0.50, NULL}, {MAP_cbrt, cbrt, 0.51, "cbrt"},
    {MAP_sin, sin, 0.51, NULL},          {MAP_cos, cos, 0.51, NULL},       {MAP_tan, tan, 0.51, "tan"},
    {MAP_asin, asin, 0.51, NULL},        {MAP_acos, acos, 0.51, NULL},     {MAP_atan, atan, 0.51, "arctan"},
    {MAP_sinh, sinh, 0.51, "sinh"},      {MAP_cosh, cosh, 0.51, "cosh"},   {MAP_asinh, asinh, 0.51, "arcsinh"},
    {MAP_acosh, acosh, 0.51, "arccosh"}, {MAP_atanh, atanh, 0.51, NULL},   {MAP_floor, floor, 0, NULL},
    {MAP_ceil, ceil, 0, NULL},           {MAP_trunc, trunc, 0, NULL},      {MAP_round, nearbyint, 0, NULL},
};
enum { UNARIES = sizeof unaries / sizeof unaries[0], BATCH = 512 };

static void run(int path, int op, float *y, const float *a, const float *b, int64_t n) {
    simd_map_of(path, op, MAP_VALUE, MAP_F32)(y, (const void *[]){a, b, NULL, NULL, NULL}, n);
}

static void check_batch(int path, const unary *f, const float *x, int n, double *worst) {
    float y[BATCH];
    run(path, f->op, y, x, NULL, n);
    for (int i = 0; i < n; i++) {
        /* beyond its fast range a trigonometric function is the C library's float function, good to a unit */
        bool far = (f->f == sin || f->f == cos || f->f == tan) && !(fabsf(x[i]) <= 0x1p27f);
        double e = ulps(y[i], f->f((double)x[i]));
        if (!(e <= (far ? 1.5 : f->limit)))
            fail_msg("%s(%a) on %s: %a, not %a: %g units", map_table[f->op].name, (double)x[i],
                     simd_name((simd_path)path), (double)y[i], f->f((double)x[i]), e);
        if (!far && e > *worst) *worst = e;
    }
}

/* Every exponent and sign: bit patterns a prime apart. */
static void errors(void **state) {
    (void)state;
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path)) continue;
        printf("%s:", simd_name((simd_path)path));
        for (const unary *f = unaries; f < unaries + UNARIES; f++) {
            float x[BATCH];
            double worst = 0;
            int n = 0;
            for (uint64_t u = 0; u <= UINT32_MAX; u += 30011) {
                x[n++] = as_float((uint32_t)u);
                if (n == BATCH) check_batch(path, f, x, n, &worst), n = 0;
            }
            check_batch(path, f, x, n, &worst);
            printf(" %s %.2f", map_table[f->op].name, worst);
        }
        printf("\n");
    }
}

static const float specials[] = {0.0f,
                                 -0.0f,
                                 1.0f,
                                 -1.0f,
                                 0.5f,
                                 -0.5f,
                                 2.0f,
                                 -2.0f,
                                 3.0f,
                                 -3.0f,
                                 2.5f,
                                 -2.5f,
                                 1.5f,
                                 1e-45f,
                                 -1e-45f,
                                 0x1p-126f,
                                 -0x1p-126f,
                                 0x1.fffffep-127f,
                                 0x1.fffffep127f,
                                 -0x1.fffffep127f,
                                 88.72f,
                                 88.73f,
                                 89.0f,
                                 -87.4f,
                                 -103.9f,
                                 -103.98f,
                                 -104.1f,
                                 127.9f,
                                 128.0f,
                                 -149.0f,
                                 -150.0f,
                                 -150.1f,
                                 1e10f,
                                 -1e10f,
                                 16777215.0f,
                                 -16777215.0f,
                                 16777216.0f,
                                 -16777217.0f,
                                 0x1.fffffep-1f,
                                 0x1.000002p0f,
                                 INFINITY,
                                 -INFINITY,
                                 NAN};
enum { SPECIALS = sizeof specials / sizeof specials[0] };

static void special_values(void **state) {
    (void)state;
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path)) continue;
        for (const unary *f = unaries; f < unaries + UNARIES; f++) {
            double worst = 0;
            check_batch(path, f, specials, SPECIALS, &worst);
        }
    }
}

/* Two arguments: all pairs of specials, and pairs drawn over all exponents and near one. */
typedef struct binary {
    int op;
    double (*f)(double, double);
    double limit;
    bool exact;
} binary;
static const binary binaries[] = {{MAP_pow, pow, 0.51, false},
                                  {MAP_atan2, atan2, 0.51, false},
                                  {MAP_hypot, hypot, 0.51, false},
                                  {MAP_fmod, fmod, 0, true}};

static void check_pair(int path, const binary *f, float a, float b) {
    float y;
    run(path, f->op, &y, &a, &b, 1);
    double want = f->f((double)a, (double)b), e = ulps(y, want);
    if (!(e <= f->limit))
        fail_msg("%s(%a, %a) on %s: %a, not %a: %g units", map_table[f->op].name, (double)a, (double)b,
                 simd_name((simd_path)path), (double)y, want, e);
}

static void two_arguments(void **state) {
    (void)state;
    uint32_t seed = 1;
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path)) continue;
        for (const binary *f = binaries; f < binaries + sizeof binaries / sizeof binaries[0]; f++) {
            for (int i = 0; i < SPECIALS; i++)
                for (int j = 0; j < SPECIALS; j++) check_pair(path, f, specials[i], specials[j]);
            for (int i = 0; i < 20000; i++) {
                uint32_t u = seed = seed * 1664525u + 1013904223u, v = seed = seed * 1664525u + 1013904223u;
                check_pair(path, f, as_float(u), as_float(v));
                check_pair(path, f, as_float(0x3f000000u + (u >> 7)),
                           as_float(0x40000000u + (v >> 7))); /* [0.5, 8) and [2, 32) */
                check_pair(path, f, (float)(u >> 20) - 2048, (float)(v >> 28) - 8);
            }
        }
    }
}

/* Python's remainder and quotient against fmod's, for quotients of all sizes. */
static void remainders(void **state) {
    (void)state;
    uint32_t seed = 7;
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path)) continue;
        for (int i = 0; i < 20000; i++) {
            uint32_t u = seed = seed * 1664525u + 1013904223u, v = seed = seed * 1664525u + 1013904223u;
            float a = as_float(0x30000000u + (u >> 3) % 0x18000000u), b = as_float(0x3c000000u + (v >> 6)), m, q;
            if (u & 1) a = -a;
            if (v & 1) b = -b;
            if (u % 5 == 0) a = b * (float)(v % 1000); /* no remainder */
            run(path, MAP_mod, &m, &a, &b, 1);
            run(path, MAP_floordiv, &q, &a, &b, 1);
            float r = fmodf(a, b), want = r != 0 && (r < 0) != (b < 0) ? r + b : r;
            assert_true(m == want && (want != 0 || !signbit(m) == !signbit(b)));
            double exact = floor((double)a / (double)b); /* |a / b| < 2^29: rounding cannot cross an integer */
            if (fabs(exact) < 0x1p28) assert_true(q == (float)exact);
        }
    }
}

/* NumPy: "dtype,input,output,ulperrortol" in hex; only float32 here. */
static void numpy_vectors(void **state) {
    (void)state;
    for (const unary *f = unaries; f < unaries + UNARIES; f++) {
        char name[128], path_buf[4096], line[256];
        int rows = 0;
        if (!f->csv) continue;
        snprintf(name, sizeof name, "vectors/numpy_umath/umath-validation-set-%s.csv", f->csv);
        const char *file = test_data(path_buf, sizeof path_buf, name);
        if (!file) skip();
        FILE *in = fopen(file, "r");
        assert_non_null(in);
        while (fgets(line, sizeof line, in)) {
            uint32_t x, want;
            double tol;
            char *end;
            if (strncmp(line, "np.float32,", 11) != 0) continue;
            x = (uint32_t)strtoul(line + 11, &end, 16);
            want = (uint32_t)strtoul(end + 1, &end, 16);
            tol = strtod(end + 1, &end);
            rows++;
            for (int path = 0; path < SIMD_PATHS; path++) {
                float a = as_float(x), w = as_float(want), y;
                if (!simd_has((simd_path)path)) continue;
                run(path, f->op, &y, &a, NULL, 1);
                /* against a rounded value: half a unit more than against the exact one */
                if (!(ulps(y, (double)w) <= tol))
                    fail_msg("%s(%a) on %s: %a, not %a", f->csv, (double)a, simd_name((simd_path)path), (double)y,
                             (double)w);
            }
        }
        fclose(in);
        assert_true(rows > 100);
    }
}

/* Predicates see every kind of value. */
static void predicates(void **state) {
    (void)state;
    for (int path = 0; path < SIMD_PATHS; path++) {
        int32_t y[SPECIALS];
        static const struct {
            int op;
            int kind;
        } rows[] = {{MAP_isfinite, 0}, {MAP_isnan, 1}, {MAP_isinf, 2}};
        if (!simd_has((simd_path)path)) continue;
        for (int k = 0; k < 3; k++) {
            simd_map_of(path, rows[k].op, MAP_VALUE, MAP_F32)(y, (const void *[]){specials, NULL, NULL, NULL, NULL},
                                                              SPECIALS);
            for (int i = 0; i < SPECIALS; i++) {
                uint32_t mag = as_bits(specials[i]) & 0x7fffffffu;
                assert_int_equal(y[i], rows[k].kind == (mag < 0x7f800000u ? 0 : mag > 0x7f800000u ? 1 : 2));
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),     cmocka_unit_test(special_values), cmocka_unit_test(two_arguments),
        cmocka_unit_test(remainders), cmocka_unit_test(numpy_vectors),  cmocka_unit_test(predicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
