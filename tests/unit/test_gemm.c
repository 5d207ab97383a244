/* test_gemm.c - matrix products on every path of this machine: layouts, storage types, ragged sizes, bias, alpha, accumulation, against
 * sums in double; guards around C and scratch, factors in blocks of exact size (AddressSanitizer sees reads beyond); the same bits
 * whatever the order of parts. */
#include "core/op.h"
#include "simd/gemm.h"
#include "simd/halves.h"
#include "simd/simd.h"
#include "unit/cm.h"
#include "unit/noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A matrix of rows x cols in any layout: the block it lies in has exactly the bytes it needs. */
typedef struct matrix {
    void *block;
    simd_mat mat;
    double *value; /* what was stored, [rows, cols] */
} matrix;

enum { ROW_MAJOR, COLUMN_MAJOR, GAPS, LAYOUTS }; /* GAPS: no unit stride */

static size_t size_of(ry_dtype t) { return t == RY_F32 ? 4 : 2; }

static float stored(void *data, ry_dtype t, int64_t e, float v) {
    if (t == RY_F32) return ((float *)data)[e] = v;
    uint16_t h = t == RY_F16 ? half_f16_set(v) : half_bf16_set(v);
    memcpy((char *)data + 2 * e, &h, 2);
    return t == RY_F16 ? half_f16_get(h) : half_bf16_get(h);
}

static float read_back(const void *data, ry_dtype t, int64_t e) {
    if (t == RY_F32) return ((const float *)data)[e];
    uint16_t h = ((const uint16_t *)data)[e];
    return t == RY_F16 ? half_f16_get(h) : half_bf16_get(h);
}

static void *block_of(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    return p;
}

/* pad: elements between the end of a row (column) and the next. */
static matrix make(int64_t rows, int64_t cols, ry_dtype t, int layout, int64_t pad) {
    matrix m = {.mat = {.dtype = t}};
    m.value = block_of((size_t)(rows * cols) * sizeof(double));
    if (ry_dtype_row(t)->kind == RY_KIND_BLOCK) { /* columns are rows of blocks, or rows are */
        const bool across = layout != COLUMN_MAJOR;
        const int64_t lines = across ? rows : cols, length = across ? cols : rows;
        float *line = block_of((size_t)length * sizeof *line);
        m.block = block_of(ry_bytes_of(t, lines * length));
        m.mat.rs = across ? cols : 1;
        m.mat.cs = across ? 1 : rows;
        for (int64_t i = 0; i < lines; i++) {
            for (int64_t k = 0; k < length; k++) line[k] = uniform();
            ry_store_row(m.block, t, i * length, length, line);
            const float *back = ry_load_row(m.block, t, i * length, length, line);
            for (int64_t k = 0; k < length; k++) m.value[across ? i * cols + k : k * cols + i] = (double)back[k];
        }
        free(line);
    } else {
        const int64_t gap = layout == GAPS ? 2 : 1;
        m.mat.rs = layout == COLUMN_MAJOR ? 1 : (cols + pad) * gap;
        m.mat.cs = layout == COLUMN_MAJOR ? rows + pad : gap;
        const int64_t n = rows && cols ? (rows - 1) * m.mat.rs + (cols - 1) * m.mat.cs + 1 : 0;
        m.block = block_of((size_t)n * size_of(t));
        memset(m.block, 0xff, (size_t)n * size_of(t)); /* NaN: gaps must not be used */
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                m.value[i * cols + j] = (double)stored(m.block, t, i * m.mat.rs + j * m.mat.cs, uniform());
    }
    m.mat.data = m.block;
    return m;
}
static void drop(matrix *m) {
    free(m->block);
    free(m->value);
}

enum { GUARD = 64 };

/* One product, all parts in the given order, into a guarded copy of `c0`; returns C. */
enum { FORWARD, BACKWARD, TILE, SHARED };
static void *compute(simd_gemm g, const void *c0, size_t c_bytes, int order) {
    char *c = block_of(c_bytes + 2 * GUARD);
    memset(c, 0x5a, c_bytes + 2 * GUARD);
    memcpy(c + GUARD, c0, c_bytes);
    g.c = c + GUARD;
    char *panels = NULL;
    if (order == SHARED && simd_gemm_share(&g)) {
        const size_t bytes = simd_gemm_panels(&g);
        g.panels = panels = aligned_alloc(64, (bytes + 127) / 64 * 64);
        assert_non_null(panels);
        memset(panels, 0xff, bytes);
        memset(panels + bytes, 0x5a, 64);
    }
    const size_t local_bytes = order == TILE ? simd_gemm_tile_local(&g) : simd_gemm_local(&g);
    char *local = aligned_alloc(64, (local_bytes + GUARD + 63) / 64 * 64);
    assert_non_null(local);
    memset(local, 0xff, local_bytes);
    memset(local + local_bytes, 0x5a, GUARD);
    const int64_t parts = simd_gemm_parts(&g);
    if (g.shared)
        for (int64_t p = simd_gemm_pack_parts(&g); p-- > 0;) simd_gemm_pack(&g, p);
    if (order == TILE)
        simd_gemm_tile(&g, local);
    else
        for (int64_t p = 0; p < parts; p++) simd_gemm_part(&g, order != BACKWARD ? p : parts - 1 - p, local);
    for (int i = 0; i < GUARD; i++) {
        assert_int_equal(local[local_bytes + (size_t)i], 0x5a);
        assert_int_equal(c[i], 0x5a);
        assert_int_equal(c[GUARD + c_bytes + (size_t)i], 0x5a);
    }
    if (panels)
        for (size_t i = 0; i < 64; i++) assert_int_equal(panels[simd_gemm_panels(&g) + i], 0x5a);
    free(panels);
    free(local);
    return c;
}

typedef struct problem {
    int64_t m, n, k;
    ry_dtype a, b, c, product;
    int la, lb;
    int64_t pad;
    bool accumulate, bias;
    float alpha;
} problem;

static void check(const problem *q) {
    matrix a = make(q->m, q->k, q->a, q->la, q->pad), b = make(q->k, q->n, q->b, q->lb, q->pad);
    float *bias = block_of((size_t)q->n * sizeof *bias);
    for (int64_t j = 0; j < q->n; j++) bias[j] = uniform();
    const int64_t ldc = q->n + q->pad;
    const size_t c_bytes = q->m ? (size_t)((q->m - 1) * ldc + q->n) * size_of(q->c) : 0;
    char *c0 = block_of(c_bytes);
    memset(c0, 0x5a, c_bytes);
    for (int64_t i = 0; i < q->m; i++)
        for (int64_t j = 0; j < q->n; j++) stored(c0, q->c, i * ldc + j, uniform());
    const simd_gemm g = {.m = q->m,
                         .n = q->n,
                         .k = q->k,
                         .a = a.mat,
                         .b = b.mat,
                         .c_dtype = q->c,
                         .ldc = ldc,
                         .product = q->product,
                         .accumulate = q->accumulate,
                         .bias = q->bias ? bias : NULL,
                         .alpha = q->alpha};
    char *c = compute(g, c0, c_bytes, FORWARD), *again = compute(g, c0, c_bytes, BACKWARD),
         *tile = compute(g, c0, c_bytes, TILE), *shared = compute(g, c0, c_bytes, SHARED);
    assert_memory_equal(c, again, c_bytes + GUARD);
    assert_memory_equal(c, tile, c_bytes + GUARD);
    assert_memory_equal(c, shared, c_bytes + GUARD);
    for (int64_t i = 0; i < q->m; i++) {
        for (int64_t j = 0; j < q->n; j++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < q->k; k++) {
                double x = a.value[i * q->k + k], y = b.value[k * q->n + j];
                if (q->product == RY_BF16) {
                    x = (double)half_bf16_get(half_bf16_set((float)x));
                    y = (double)half_bf16_get(half_bf16_set((float)y));
                }
                sum += x * y;
                size += fabs(x * y);
            }
            const double alpha = q->alpha == 0 ? 1 : (double)q->alpha;
            sum *= alpha;
            size *= fabs(alpha);
            const double old = q->accumulate ? (double)read_back(c0, q->c, i * ldc + j) : 0,
                         add = q->bias ? (double)bias[j] : 0;
            sum += old + add;
            size += fabs(old) + fabs(add);
            double tol = 4 * 0x1p-24 * size * (1 + sqrt((double)q->k) / 4);
            if (q->c == RY_F16) tol += fabs(sum) * 0x1p-11 + 0x1p-25;
            if (q->c == RY_BF16) tol += fabs(sum) * 0x1p-8;
            const double got = (double)read_back(c + GUARD, q->c, i * ldc + j);
            if (!(fabs(got - sum) <= tol))
                fail_msg("%s extras %u: %lld x %lld x %lld, a dtype %d layout %d, b %d %d, c %d, product %d, "
                         "accumulate %d, bias %d, alpha %g: "
                         "C[%lld, %lld] is %.9g, not %.9g (within %.3g)",
                         simd_name(simd_now()), simd_extras(), (long long)q->m, (long long)q->n, (long long)q->k,
                         (int)q->a, q->la, (int)q->b, q->lb, (int)q->c, (int)q->product, q->accumulate, q->bias,
                         (double)q->alpha, (long long)i, (long long)j, got, sum, tol);
        }
        if (i + 1 < q->m) /* the gap between rows is untouched */
            assert_memory_equal(c + GUARD + (size_t)(i * ldc + q->n) * size_of(q->c),
                                c0 + (size_t)(i * ldc + q->n) * size_of(q->c), (size_t)q->pad * size_of(q->c));
    }
    drop(&a);
    drop(&b);
    free(bias);
    free(c0);
    free(c);
    free(again);
    free(tile);
    free(shared);
}

/* Every path here, and every way to multiply bf16. */
static void on_each_path(void (*test)(void)) {
    const unsigned has = (simd_force(simd_best(), ~0u), simd_extras());
    const unsigned sets[] = {0, SIMD_AVX512_BF16, SIMD_AVX512_BF16 | SIMD_AMX_BF16};
    for (int p = 0; p < SIMD_PATHS; p++)
        for (size_t e = 0; e < sizeof sets / sizeof *sets; e++) {
            if (!simd_has((simd_path)p) || (sets[e] && (p != SIMD_AVX512 || (sets[e] & has) != sets[e]))) continue;
            simd_force((simd_path)p, sets[e]);
            seed = 1;
            test();
        }
    simd_force(simd_best(), has);
}

static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 129};
enum { SIZES = sizeof sizes / sizeof *sizes };
static const ry_dtype types[] = {RY_F32, RY_BF16, RY_F16};

static problem random_problem(void) {
    problem q = {.m = sizes[pick(SIZES)],
                 .n = sizes[pick(SIZES)],
                 .k = sizes[pick(SIZES)],
                 .a = types[pick(3)],
                 .b = types[pick(3)],
                 .c = types[pick(3)],
                 .product = pick(2) ? RY_BF16 : RY_F32,
                 .la = pick(LAYOUTS),
                 .lb = pick(LAYOUTS),
                 .pad = pick(3),
                 .bias = pick(2),
                 .alpha = pick(2) ? 0.0f : -0.75f};
    q.accumulate = q.c == RY_F32 && pick(2);
    if (pick(4) == 0) {
        do
            q.b = (ry_dtype)pick(RY_DTYPE_COUNT);
        while (ry_dtype_row(q.b)->kind != RY_KIND_BLOCK);
        const int block = ry_dtype_row(q.b)->block;
        q.lb = pick(2);
        *(q.lb == COLUMN_MAJOR ? &q.k : &q.n) = block * (1 + pick(block == 32 ? 9 : 3));
    }
    return q;
}
static void ragged(void) {
    for (int i = 0; i < 400; i++) {
        const problem q = random_problem();
        check(&q);
    }
}
/* The plain case in all three layouts and both products over all sizes of m and n around the tiles. */
static void around_tiles(void) {
    for (int64_t m = 1; m <= 30; m += 1 + pick(3))
        for (int64_t n = 1; n <= 50; n += 1 + pick(5)) {
            problem q = {.m = m,
                         .n = n,
                         .k = 1 + pick(70),
                         .a = RY_F32,
                         .b = RY_F32,
                         .c = RY_F32,
                         .product = pick(2) ? RY_BF16 : RY_F32};
            q.la = pick(2);
            q.lb = pick(2);
            check(&q);
        }
}
/* Several blocks of K and several parts. */
static void large(void) {
    static const problem q[] = {
        {.m = 150, .n = 300, .k = 700, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_F32, .bias = true},
        {.m = 150,
         .n = 300,
         .k = 700,
         .a = RY_F32,
         .b = RY_F32,
         .c = RY_F32,
         .product = RY_F32,
         .la = COLUMN_MAJOR,
         .accumulate = true},
        {.m = 150, .n = 300, .k = 1300, .a = RY_F32, .b = RY_F32, .c = RY_BF16, .product = RY_F32, .lb = COLUMN_MAJOR},
        {.m = 129,
         .n = 257,
         .k = 1100,
         .a = RY_BF16,
         .b = RY_BF16,
         .c = RY_BF16,
         .product = RY_BF16,
         .lb = COLUMN_MAJOR},
        {.m = 257,
         .n = 129,
         .k = 1100,
         .a = RY_BF16,
         .b = RY_F32,
         .c = RY_F32,
         .product = RY_BF16,
         .accumulate = true,
         .alpha = 0.5f},
        {.m = 257, .n = 129, .k = 1100, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_BF16, .la = COLUMN_MAJOR},
        {.m = 300, .n = 130, .k = 520, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_F32, .bias = true},
        {.m = 260,
         .n = 310,
         .k = 515,
         .a = RY_F32,
         .b = RY_F32,
         .c = RY_F32,
         .product = RY_F32,
         .la = COLUMN_MAJOR,
         .lb = COLUMN_MAJOR,
         .pad = 1,
         .accumulate = true},
        {.m = 257, .n = 65, .k = 300, .a = RY_BF16, .b = RY_F16, .c = RY_F16, .product = RY_BF16, .lb = GAPS},
        {.m = 256, .n = 67, .k = 352, .a = RY_F32, .b = RY_Q8_0, .c = RY_F32, .product = RY_F32, .lb = COLUMN_MAJOR},
        {.m = 1030, .n = 1100, .k = 33, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_F32, .la = COLUMN_MAJOR},
        {.m = 40, .n = 100, .k = 1312, .a = RY_F32, .b = RY_Q8_0, .c = RY_F32, .product = RY_F32, .lb = COLUMN_MAJOR},
        {.m = 1, .n = 3000, .k = 300, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_F32, .bias = true},
        {.m = 4, .n = 2000, .k = 320, .a = RY_F32, .b = RY_Q8_0, .c = RY_F32, .product = RY_F32, .lb = COLUMN_MAJOR, .accumulate = true},
        {.m = 700, .n = 130, .k = 1280, .a = RY_F32, .b = RY_Q4_K, .c = RY_F32, .product = RY_F32, .lb = COLUMN_MAJOR, .bias = true},
        {.m = 700, .n = 768, .k = 530, .a = RY_F32, .b = RY_Q6_K, .c = RY_BF16, .product = RY_BF16},
        {.m = 7, .n = 1500, .k = 301, .a = RY_F32, .b = RY_BF16, .c = RY_F16, .product = RY_BF16, .lb = COLUMN_MAJOR},
        {.m = 1500,
         .n = 3,
         .k = 301,
         .a = RY_F32,
         .b = RY_F32,
         .c = RY_F32,
         .product = RY_F32,
         .la = COLUMN_MAJOR,
         .bias = true},
        {.m = 9, .n = 9, .k = 5000, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_F32, .lb = COLUMN_MAJOR},
    };
    for (size_t i = 0; i < sizeof q / sizeof *q; i++) check(&q[i]);
}
/* Rows a power of two apart choose packing instead of reading in place. */
static void powers_of_two(void) {
    for (int layout = 0; layout < 4; layout++) {
        problem q = {.m = 64,
                     .n = 512,
                     .k = 512,
                     .a = RY_F32,
                     .b = RY_F32,
                     .c = RY_F32,
                     .product = RY_F32,
                     .la = layout & 1,
                     .lb = layout >> 1};
        check(&q);
    }
}
static void nothing(void) {
    problem q = {.m = 5, .n = 6, .k = 0, .a = RY_F32, .b = RY_F32, .c = RY_F32, .product = RY_F32, .bias = true};
    check(&q); /* K = 0: C = bias */
    q.accumulate = true;
    check(&q); /* C += bias */
    q.bias = false;
    q.m = 50;
    q.n = 60;
    check(&q);
    q.accumulate = false;
    q.c = RY_BF16;
    check(&q); /* zeros */
    q.product = RY_BF16;
    check(&q);
    const simd_gemm none[] = {{.m = 0, .n = 7, .k = 3}, {.m = 7, .n = 0, .k = 3}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(simd_gemm_parts(&none[i]), 0);
        simd_gemm_tile(&none[i], NULL);
    }
}
/* An infinity or NaN reaches its own row or column only. */
static void not_finite(void) {
    enum { M = 20, N = 40, K = 33 };
    static float a[M * K], b[K * N], c[M * N];
    for (int i = 0; i < M * K; i++) a[i] = 1;
    for (int i = 0; i < K * N; i++) b[i] = 1;
    a[3 * K + 5] = NAN;
    b[7 * N + 11] = INFINITY;
    for (int product = 0; product < 2; product++) {
        const simd_gemm g = {.m = M,
                             .n = N,
                             .k = K,
                             .a = {a, RY_F32, K, 1},
                             .b = {b, RY_F32, N, 1},
                             .c = c,
                             .c_dtype = RY_F32,
                             .ldc = N,
                             .product = product ? RY_BF16 : RY_F32};
        char *local = aligned_alloc(64, simd_gemm_tile_local(&g));
        assert_non_null(local);
        simd_gemm_tile(&g, local);
        free(local);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++)
                assert_true(i == 3 ? isnan(c[i * N + j]) : j == 11 ? isinf(c[i * N + j]) : c[i * N + j] == K);
    }
}

static void test_ragged(void **s) {
    (void)s;
    on_each_path(ragged);
}
static void test_around_tiles(void **s) {
    (void)s;
    on_each_path(around_tiles);
}
static void test_large(void **s) {
    (void)s;
    on_each_path(large);
}
static void test_powers_of_two(void **s) {
    (void)s;
    on_each_path(powers_of_two);
}
static void test_nothing(void **s) {
    (void)s;
    on_each_path(nothing);
}
static void test_not_finite(void **s) {
    (void)s;
    on_each_path(not_finite);
}

/* Parts are many enough for threads and cover C; their number depends on the shape alone. */
static void test_parts(void **s) {
    (void)s;
    static const int64_t shapes[][4] = {{512, 512, 512, 8},  {1024, 1024, 1024, 16}, {4096, 4096, 4096, 64},
                                        {1024, 288, 288, 8}, {288, 288, 1024, 8},    {1, 4096, 4096, 16},
                                        {64, 64, 64, 1},     {1000, 1000, 1000, 8}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const simd_gemm g = {.m = shapes[i][0],
                             .n = shapes[i][1],
                             .k = shapes[i][2],
                             .a = {NULL, RY_F32, shapes[i][2], 1},
                             .b = {NULL, RY_F32, shapes[i][1], 1},
                             .c_dtype = RY_F32,
                             .ldc = shapes[i][1],
                             .product = RY_F32};
        if (shapes[i][0] < 100 && shapes[i][1] < 100)
            assert_int_equal(simd_gemm_parts(&g), 1);
        else
            assert_true(simd_gemm_parts(&g) >= shapes[i][3]);
    }
}

static void test_peak(void **s) {
    (void)s;
    assert_true(simd_peak_gflops(RY_F32, 0.01) > 0.1);
    assert_true(simd_peak_gflops(RY_BF16, 0.01) > 0.1);
    assert_true(simd_peak_gflops(RY_I32, 0.01) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ragged),        cmocka_unit_test(test_around_tiles), cmocka_unit_test(test_large),
        cmocka_unit_test(test_powers_of_two), cmocka_unit_test(test_nothing),      cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_parts),         cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
