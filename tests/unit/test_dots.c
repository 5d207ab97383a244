/* test_dots.c - products with weights of blocks in whole numbers, on every path of this machine: against sums in double over the rounded
 * factors, which are exact but for f32 sums; against the exact product within what rounding to 8 bits may cost; ragged sizes, guards. */
#include "core/op.h"
#include "simd/gemm.h"
#include "simd/simd.h"
#include "unit/cm.h"
#include "unit/noise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *bytes_of(size_t n) {
    void *p = aligned_alloc(64, (n + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0x5a, (n + 127) / 64 * 64);
    return p;
}

typedef struct problem {
    int64_t m, n, k;
    ry_dtype w, c;
    bool bias, tile;
    float alpha;
} problem;

static void check(const problem *q, const char *path) {
    const int64_t m = q->m, n = q->n, k = q->k, gap = 3;
    float *x = bytes_of((size_t)(m * (k + gap)) * 4), *line = bytes_of((size_t)k * 4), *bias = bytes_of((size_t)n * 4);
    double *rounded = bytes_of((size_t)(m * k) * 8), *w = bytes_of((size_t)(n * k) * 8);
    void *blocks = bytes_of(ry_bytes_of(q->w, n * k));
    for (int64_t i = 0; i < m; i++)
        for (int64_t b = 0; b < k; b += 32) {
            float most = 0;
            const float size = expf(3 * uniform()); /* scales differ */
            for (int64_t j = b; j < b + 32; j++) {
                const float v = x[i * (k + gap) + j] = size * uniform();
                most = fmaxf(most, fabsf(v));
            }
            for (int64_t j = b; j < b + 32; j++)
                rounded[i * k + j] = (double)nearbyintf(x[i * (k + gap) + j] * (127.0f / most)) * (double)(most / 127.0f);
        }
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < k; i++) line[i] = uniform() + 0.25f;
        ry_store_row(blocks, q->w, j * k, k, line);
        const float *back = ry_load_row(blocks, q->w, j * k, k, line);
        for (int64_t i = 0; i < k; i++) w[j * k + i] = (double)back[i];
        bias[j] = uniform();
    }
    simd_gemm g = {.m = m, .n = n, .k = k, .a = {x, RY_F32, k + gap, 1}, .b = {blocks, q->w, 1, k}, .c_dtype = q->c, .ldc = n + 1, .bias = q->bias ? bias : NULL, .alpha = q->alpha};
    assert_true(simd_gemm_q8(&g));
    const size_t one = q->c == RY_F32 ? 4 : 2, c_bytes = (size_t)(m * (n + 1)) * one;
    char *c = bytes_of(c_bytes);
    g.c = c;
    const size_t local_bytes = q->tile ? simd_gemm_tile_local(&g) : simd_gemm_local(&g), panels = simd_gemm_panels(&g);
    char *local = bytes_of(local_bytes), *space = bytes_of(panels);
    if (q->tile)
        simd_gemm_tile(&g, local);
    else {
        g.panels = space;
        for (int64_t p = simd_gemm_pack_parts(&g); p-- > 0;) simd_gemm_pack(&g, p);
        for (int64_t p = simd_gemm_parts(&g); p-- > 0;) simd_gemm_part(&g, p, local);
    }
    for (int i = 0; i < 32; i++) assert_true(local[local_bytes + (size_t)i] == 0x5a && space[panels + (size_t)i] == 0x5a && c[c_bytes + (size_t)i] == 0x5a);
    for (int64_t i = 0; i < m; i++) {
        assert_int_equal(c[(size_t)(i * (n + 1) + n) * one], 0x5a);
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, size = 0, exact = 0, noise = 0;
            float buf;
            for (int64_t b = 0; b < k; b++) {
                sum += rounded[i * k + b] * w[j * k + b];
                size += fabs(rounded[i * k + b] * w[j * k + b]);
                exact += (double)x[i * (k + gap) + b] * w[j * k + b];
            }
            for (int64_t b = 0; b < k; b += 32) { /* half a step of each value */
                double most = 0;
                for (int64_t e = b; e < b + 32; e++) most = fmax(most, fabs((double)x[i * (k + gap) + e]));
                for (int64_t e = b; e < b + 32; e++) noise += 0.501 * most / 127 * fabs(w[j * k + e]);
            }
            const double alpha = q->alpha == 0 ? 1 : (double)q->alpha, plus = q->bias ? (double)bias[j] : 0, got = (double)*ry_load_row(c, q->c, i * (n + 1) + j, 1, &buf);
            const double tol = fabs(alpha) * 3e-6 * size + (q->c == RY_F32 ? 1e-6 : ldexp(1.01, -ry_dtype_row(q->c)->bits)) * fabs(alpha * sum + plus) + 1e-6;
            /* A value that lies halfway may go either way. */
            if (!(fabs(got - (alpha * sum + plus)) <= tol + fabs(alpha) * noise / (double)k * 2) || !(fabs(got - (alpha * exact + plus)) <= tol + fabs(alpha) * noise))
                fail_msg("%s, %s, %lld x %lld x %lld: [%lld,%lld] is %g, not %g (exact %g, tolerance %g)", path, ry_dtype_name(q->w), (long long)m, (long long)n, (long long)k, (long long)i, (long long)j,
                         got, alpha * sum + plus, alpha * exact + plus, tol);
        }
    }
    free(x), free(line), free(bias), free(rounded), free(w), free(blocks), free(c), free(local), free(space);
}

static void each_path(void (*test)(const char *path)) {
    const unsigned all = simd_extras();
    const simd_path best = simd_now();
    for (int p = 0; p < SIMD_PATHS; p++)
        for (unsigned extras = 0; extras < 2 && simd_has((simd_path)p); extras++) {
            char name[64];
            simd_force((simd_path)p, extras ? ~0u : 0);
            if (extras && !simd_extras()) continue;
            simd_describe(name, sizeof name);
            test(name);
        }
    simd_force(best, all);
}

static ry_dtype format(void) {
    for (;;) {
        const ry_dtype t = (ry_dtype)pick(RY_DTYPE_COUNT);
        if (ry_dtype_row(t)->kind == RY_KIND_BLOCK) return t;
    }
}
static void some(const char *path) {
    static const int64_t rows[] = {1, 1, 2, 3, 4, 5, 7, 13, 33}, columns[] = {1, 3, 8, 31, 32, 33, 70, 150};
    for (int i = 0; i < 120; i++) {
        problem q = {.m = rows[pick(9)], .n = columns[pick(8)], .w = format(), .c = pick(3) ? RY_F32 : pick(2) ? RY_BF16 : RY_F16, .bias = pick(2), .tile = pick(2), .alpha = pick(2) ? 0.0f : -0.75f};
        const int block = ry_dtype_row(q.w)->block;
        q.k = block * (1 + pick(block == 32 ? 40 : 6));
        check(&q, path);
    }
}
static void large(const char *path) {
    const problem q[] = {{.m = 600, .n = 40, .k = 1280, .w = RY_Q4_K, .c = RY_F32, .bias = true}, {.m = 70, .n = 700, .k = 544, .w = RY_Q8_0, .c = RY_F32}, {.m = 1, .n = 3000, .k = 768, .w = RY_Q6_K, .c = RY_F32}};
    for (size_t i = 0; i < sizeof q / sizeof *q; i++) check(&q[i], path);
}
static void some_problems(void **state) {
    (void)state;
    each_path(some);
}
static void large_problems(void **state) {
    (void)state;
    each_path(large);
}

/* Not what it cannot do; and NaN and infinity are not lost. */
static void odd(const char *path) {
    enum { K = 64 };
    float x[K] = {0}, c[2];
    unsigned char w[2 * 68];
    float wide[2 * K];
    for (int i = 0; i < 2 * K; i++) wide[i] = uniform();
    ry_store_row(w, RY_Q8_0, 0, 2 * K, wide);
    simd_gemm g = {.m = 1, .n = 2, .k = K, .a = {x, RY_F32, K, 1}, .b = {w, RY_Q8_0, 1, K}, .c = c, .c_dtype = RY_F32, .ldc = 2};
    assert_true(simd_gemm_q8(&g));
    char *local = bytes_of(simd_gemm_tile_local(&g));
    simd_gemm_tile(&g, local);
    assert_true(c[0] == 0.0f && c[1] == 0.0f);
    x[3] = INFINITY;
    simd_gemm_tile(&g, local);
    assert_true(!isfinite(c[0]) && !isfinite(c[1]));
    x[3] = NAN;
    simd_gemm_tile(&g, local);
    if (!isnan(c[0])) fail_msg("%s: NaN became %g", path, (double)c[0]);
    free(local);
    g.a.cs = 2;
    assert_false(simd_gemm_q8(&g));
    g.a.cs = 1, g.b = (simd_mat){w, RY_F32, 1, K};
    assert_false(simd_gemm_q8(&g) || g.q8);
}
static void odd_values(void **state) {
    (void)state;
    each_path(odd);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(some_problems), cmocka_unit_test(large_problems), cmocka_unit_test(odd_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
