/* test_shapes.c - views, copies, concat, pad, repeat, sums of broadcasts: against plain loops, at sizes of several
 * parts and beyond the caches, which the samples of the op walker do not reach. */
#include "cm.h"
#include "core/op.h"
#include "core/rows.h"
#include "simd/stream.h"
#include <math.h>
#include <rusty.h>
#include <rusty/ops.h>
#include <stdlib.h>
#include <string.h>

static ry_device *device;
static ry_graph *g;
static int open_all(void **state) {
    (void)state;
    return ry_device_open(&device, "cpu", &(ry_device_options){.threads = 2}) != RY_OK ||
           ry_graph_open(&g, device) != RY_OK;
}
static int close_all(void **state) {
    (void)state;
    ry_graph_close(g);
    ry_device_close(device);
    return 0;
}

/* y, evaluated, whose graph has no inputs; the caller's to free. */
static void *value_of(ry_tensor y) {
    size_t bytes;
    assert_ok(ry_graph_status(g));
    assert_ok(ry_spec_bytes(&bytes, ry_spec_of(g, y)));
    void *data = malloc(bytes + 1);
    assert_non_null(data);
    assert_ok(ry_eval(g, 1, &y, 0, NULL));
    assert_ok(ry_read(g, y, data, bytes));
    return data;
}
static ry_tensor counting(ry_dtype t, int rank, const int64_t *dim) { /* 0, 1, 2, .. in row-major order */
    ry_spec s = ry_shape(t, rank, dim), flat = RY_SHAPE(t, ry_numel(&s));
    return ry_reshape(g, ry_iota(g, &flat, 0, 0, 1), rank, dim);
}

/* ---------------------------------------------------------------- slices */

static void slices_follow_python(void **state) {
    static const int64_t bounds[] = {INT64_MIN, -9, -6, -5, -4, -1, 0, 1, 3, 4, 5, 6, 9, INT64_MAX},
                         steps[] = {-7, -3, -2, -1, 1, 2, 3, 7};
    enum { N = 5 };
    (void)state;
    for (size_t a = 0; a < sizeof bounds / sizeof *bounds; a++)
        for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++)
            for (size_t c = 0; c < sizeof steps / sizeof *steps; c++) {
                /* Python's rule, said another way: walk from the clamped start until stop is passed. */
                int64_t start = bounds[a] < 0 ? bounds[a] + N : bounds[a],
                        stop = bounds[b] < 0 ? bounds[b] + N : bounds[b], want[16];
                int n = 0;
                if (steps[c] > 0) {
                    if (start < 0) start = 0;
                    for (int64_t i = start; i < N && i < stop; i += steps[c]) want[n++] = i;
                } else {
                    if (start > N - 1) start = N - 1;
                    for (int64_t i = start; i >= 0 && i > stop; i += steps[c]) want[n++] = i;
                }
                ry_graph_reset(g);
                ry_tensor y = ry_slice(g, counting(RY_I64, 1, (int64_t[]){N}), 0, bounds[a], bounds[b], steps[c]);
                assert_ok(ry_graph_status(g));
                assert_int_equal(ry_spec_of(g, y)->dim[0], n);
                int64_t *got = value_of(ry_contiguous(g, y));
                assert_memory_equal(got, want, (size_t)n * sizeof *want);
                free(got);
            }
    ry_graph_reset(g);
    assert_true(ry_is_null(ry_slice(g, counting(RY_F32, 1, (int64_t[]){3}), 1, 0, 1, 1)));
    assert_is(RY_EARG, ry_graph_status(g));
    ry_graph_reset(g);
    ry_slice(g, counting(RY_F32, 1, (int64_t[]){3}), 0, 0, 3, 0);
    assert_is(RY_EARG, ry_graph_status(g));
}

/* ---------------------------------------------------------------- permuted copies */

static void check_permute(ry_dtype t, int64_t a, int64_t b, int64_t c, const int *perm) {
    int64_t dim[3] = {a, b, c};
    ry_graph_reset(g);
    /* integers below 251 survive every dtype but i8 */
    ry_tensor x = ry_cast(g, ry_mod(g, counting(RY_I64, 3, dim), ry_fill(g, &(ry_spec){.dtype = RY_I64}, 127)), t);
    char *got = value_of(ry_contiguous(g, ry_permute(g, x, perm)));
    int64_t q = dim[perm[1]], r = dim[perm[2]], n = a * b * c, bad = 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t at[3];
        at[perm[0]] = k / (q * r), at[perm[1]] = k / r % q, at[perm[2]] = k % r;
        float buf;
        bad += *ry_load_row(got, t, k, 1, &buf) != (float)(((at[0] * b + at[1]) * c + at[2]) % 127);
    }
    if (bad)
        print_error("[%d,%d,%d] %s by %d %d %d: %d wrong\n", (int)a, (int)b, (int)c, ry_dtype_name(t), perm[0], perm[1],
                    perm[2], (int)bad);
    assert_int_equal(bad, 0);
    free(got);
}

static void permuted_copies(void **state) {
    static const ry_dtype types[] = {RY_U8, RY_BF16, RY_F32, RY_I64};
    static const int perms[][3] = {{0, 2, 1}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 5; k++) {
            check_permute(types[i], 3, 5, 7, perms[k]);
            check_permute(types[i], 2, 67, 131, perms[k]);
            check_permute(types[i], 1, 300, 260, perms[k]);
        }
    check_permute(RY_F32, 1, 1040, 1100, perms[0]); /* streamed; rows of 1040 begin at lines */
    check_permute(RY_BF16, 1, 1501, 1499, perms[0]);
    check_permute(RY_F32, 1, 1201, 999, perms[0]);
    check_permute(RY_U8, 1, 2100, 2051, perms[0]);
    check_permute(RY_I64, 7, 300, 260, perms[0]);
}

static void tiles_and_streams(void **state) {
    enum { K = 70, I = 150, S = 160 };
    static uint32_t x[I * K], y[K * S + 16], want[K * S + 16];
    static char tile[SIMD_TILE];
    (void)state;
    for (int i = 0; i < I * K; i++) x[i] = (uint32_t)i * 2654435761u;
    for (int skew = 0; skew < 2; skew++)
        for (int streamed = 0; streamed < 2; streamed++) {
            memset(y, 7, sizeof y);
            memset(want, 7, sizeof want);
            for (int k = 0; k < K; k++)
                for (int i = 0; i < I; i++) want[skew + k * (S - skew) + i] = x[i * K + k];
            simd_transpose(y + skew, S - skew, x, K, K, I, 4, streamed ? tile : NULL);
            assert_memory_equal(y, want, sizeof y);
        }
    for (size_t n = 0; n < 700; n += 13)
        for (size_t at = 0; at < 70; at += 9) {
            memset(y, 7, sizeof y);
            memset(want, 7, sizeof want);
            memcpy((char *)want + at, (char *)x + 3, n);
            simd_stream((char *)y + at, (char *)x + 3, n);
            simd_stream_end();
            assert_memory_equal(y, want, sizeof y);
        }
}

/* A result beyond SIMD_STREAM_BYTES: streamed, in parts, the last one ragged. */
static void large_results(void **state) {
    int64_t n = SIMD_STREAM_BYTES / 4 + 12345, bad = 0;
    (void)state;
    ry_graph_reset(g);
    ry_tensor x = ry_cast(
        g, ry_mod(g, ry_iota(g, &RY_SHAPE(RY_I32, n), 0, 0, 1), ry_fill(g, &(ry_spec){.dtype = RY_I32}, 1000)), RY_F32);
    ry_tensor want[2] = {ry_add(g, x, ry_scalar(g, 0.5)), RY_NULL};
    want[1] = ry_cast(g, ry_mul(g, x, ry_scalar(g, 0.25)), RY_BF16);
    assert_ok(ry_eval(g, 2, want, 0, NULL));
    float *y = malloc((size_t)n * 4), buf;
    uint16_t *h = malloc((size_t)n * 2);
    assert_true(y && h);
    assert_ok(ry_read(g, want[0], y, (size_t)n * 4));
    assert_ok(ry_read(g, want[1], h, (size_t)n * 2));
    for (int64_t i = 0; i < n; i++) bad += y[i] != (float)(i % 1000) + 0.5f;
    for (int64_t i = 0; i < n; i += 61) {
        float v = (float)(i % 1000) * 0.25f;
        uint16_t b;
        ry_store_row(&b, RY_BF16, 0, 1, &v);
        bad += *ry_load_row(h, RY_BF16, i, 1, &buf) != *ry_load_row(&b, RY_BF16, 0, 1, &v);
    }
    assert_int_equal(bad, 0);
    free(y);
    free(h);
}

/* ---------------------------------------------------------------- sums of broadcasts */

static void check_sum(int64_t a, int64_t b, int64_t c, unsigned kept) {
    int64_t dim[3] = {a, b, c}, n = a * b * c;
    ry_sum_to_args to = {.rank = 3, .dim = {kept & 1 ? a : 1, kept & 2 ? b : 1, kept & 4 ? c : 1}};
    ry_graph_reset(g);
    ry_tensor x = ry_normal(g, &RY_SHAPE(RY_F32, a, b, c), 5, kept), y = ry_apply(g, &ry_op_sum_to_row, 1, &x, &to);
    float *in = value_of(x), *got = value_of(y);
    double *want = calloc((size_t)(to.dim[0] * to.dim[1] * to.dim[2]), sizeof *want), largest = 0, worst = 0;
    assert_non_null(want);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = k / (b * c), j = k / c % b, l = k % c;
        want[((kept & 1 ? i : 0) * to.dim[1] + (kept & 2 ? j : 0)) * to.dim[2] + (kept & 4 ? l : 0)] += (double)in[k];
    }
    for (int64_t k = 0; k < to.dim[0] * to.dim[1] * to.dim[2]; k++) {
        if (fabs(want[k]) > largest) largest = fabs(want[k]);
        if (!(fabs(want[k] - (double)got[k]) <= worst)) worst = fabs(want[k] - (double)got[k]);
    }
    if (!(worst <= 2e-6 * (largest + 1)))
        print_error("[%d,%d,%d] keeping %u: off by %g of %g\n", (int)dim[0], (int)dim[1], (int)dim[2], kept, worst,
                    largest);
    assert_true(worst <= 2e-6 * (largest + 1));
    free(in);
    free(got);
    free(want);
}

static void sums(void **state) {
    (void)state;
    for (unsigned kept = 0; kept < 8; kept++) {
        check_sum(3, 4, 5, kept);
        check_sum(70, 3, 900, kept);
        check_sum(2, 40000, 3, kept);
        check_sum(1, 1, 100003, kept);
        check_sum(5000, 1, 7, kept);
        check_sum(3, 65, 4100, kept);
    }
}

/* ---------------------------------------------------------------- concat, pad, repeat */

static void many_parts_join(void **state) {
    enum { N = 29 };
    ry_tensor x[N], gx[N];
    float at = 0, *y;
    (void)state;
    ry_graph_reset(g);
    for (int i = 0; i < N; i++) x[i] = ry_fill(g, &RY_SHAPE(RY_F32, 2, i % 3 + 1), i);
    ry_tensor all = ry_concat(g, N, x, -1);
    y = value_of(all);
    int64_t width = ry_spec_of(g, all)->dim[1], col = 0;
    for (int i = 0; i < N; i++)
        for (int k = 0; k <= i % 3; k++, col++) {
            assert_true(y[col] == (float)i);
            assert_true(y[width + col] == (float)i);
        }
    assert_int_equal(col, width);
    free(y);
    /* d sum(all * weight) / d x[i] is the slice of weight that x[i] stands in */
    ry_tensor weight = counting(RY_F32, 2, (int64_t[]){2, width});
    assert_ok(ry_grad(g, all, weight, N, x, gx));
    for (int i = 0; i < N; i++) {
        float *gi = value_of(gx[i]);
        assert_true(gi[0] == at);
        assert_true(gi[i % 3 + 1] == at + (float)width);
        at += (float)(i % 3 + 1);
        free(gi);
    }
    ry_graph_reset(g);
    ry_tensor mixed[2] = {ry_fill(g, &RY_SHAPE(RY_I32, 1), 3), ry_fill(g, &RY_SHAPE(RY_F32, 1), 0.5)};
    y = value_of(ry_concat(g, 2, mixed, 0));
    assert_true(y[0] == 3 && y[1] == 0.5f);
    free(y);
    ry_graph_reset(g);
    mixed[0] = ry_fill(g, &RY_SHAPE(RY_F32, 2, 3), 0), mixed[1] = ry_fill(g, &RY_SHAPE(RY_F32, 3, 3), 0);
    ry_concat(g, 2, mixed, 1);
    assert_is(RY_ESHAPE, ry_graph_status(g));
    assert_non_null(strstr(ry_message(), "[3,3] f32"));
}

static void borders_and_tiles(void **state) {
    (void)state;
    ry_graph_reset(g);
    int64_t A = 70, B = 601;
    ry_tensor x = counting(RY_F32, 2, (int64_t[]){A, B}), gx;
    ry_tensor y = ry_pad(g, x, (int64_t[]){2, 3}, (int64_t[]){1, 5}, -7);
    float *p = value_of(y), *r, *q;
    int64_t bad = 0;
    for (int64_t i = 0; i < A + 3; i++)
        for (int64_t j = 0; j < B + 8; j++) {
            bool in = i >= 2 && i < A + 2 && j >= 3 && j < B + 3;
            bad += p[i * (B + 8) + j] != (in ? (float)((i - 2) * B + j - 3) : -7.0f);
        }
    assert_ok(ry_grad(g, y, y, 1, &x, &gx));
    q = value_of(gx);
    for (int64_t k = 0; k < A * B; k++) bad += q[k] != (float)k;
    free(p);
    free(q);
    ry_tensor t = ry_repeat(g, counting(RY_F32, 3, (int64_t[]){2, 3, 4}), (int64_t[]){3, 1, 2});
    r = value_of(t);
    assert_int_equal(ry_spec_of(g, t)->dim[0], 6);
    assert_int_equal(ry_spec_of(g, t)->dim[2], 8);
    for (int64_t k = 0; k < 6 * 3 * 8; k++) bad += r[k] != (float)((k / 24 % 2 * 3 + k / 8 % 3) * 4 + k % 8 % 4);
    free(r);
    int64_t none[8] = {2, 1, 1, 2, 1, 1, 1, 3};
    ry_tensor u =
        ry_repeat(g, counting(RY_F32, 8, (int64_t[]){1, 2, 1, 2, 1, 2, 1, 2}), none); /* of the highest rank */
    r = value_of(u);
    bad += r[0] != 0 || r[1] != 1 || r[2] != 0 || ry_numel(ry_spec_of(g, u)) != 16 * 12;
    free(r);
    assert_int_equal(bad, 0);
}

/* ---------------------------------------------------------------- reshape, quantising */

static void reshapes(void **state) {
    (void)state;
    ry_graph_reset(g);
    ry_tensor x = counting(RY_I32, 2, (int64_t[]){6, 4}), t = ry_transpose(g, x, 0, 1);
    ry_tensor y = RY_RESHAPE(g, t, 2, -1); /* no strides say this: made dense */
    assert_int_equal(ry_spec_of(g, y)->dim[1], 12);
    int32_t *v = value_of(ry_contiguous(g, y));
    for (int k = 0; k < 24; k++) assert_int_equal(v[k], k % 6 * 4 + k / 6);
    free(v);
    ry_tensor s = RY_RESHAPE(g, ry_slice(g, x, 0, 0, 6, 2), 3, 2, 2); /* splits stay views */
    assert_ptr_equal(ry_value_of(g, s)->base, ry_value_of(g, x)->base);
    v = value_of(ry_contiguous(g, s));
    for (int k = 0; k < 12; k++) assert_int_equal(v[k], k / 4 * 8 + k % 4);
    free(v);
    assert_true(ry_is_null(RY_RESHAPE(g, x, 5, -1)));
    assert_is(RY_ESHAPE, ry_graph_status(g));
    assert_non_null(strstr(ry_message(), "[6,4] i32"));
    ry_graph_reset(g);
    assert_true(ry_is_null(RY_RESHAPE(g, counting(RY_F32, 1, (int64_t[]){4}), -1, -1)));
    ry_graph_reset(g);
    ry_expand(g, counting(RY_F32, 1, (int64_t[]){4}), 2, (int64_t[]){3, 5});
    assert_is(RY_ESHAPE, ry_graph_status(g));
}

static void quantised_there_and_back(void **state) {
    enum { N = 96 };
    (void)state;
    ry_graph_reset(g);
    ry_tensor x = ry_normal(g, &RY_SHAPE(RY_F32, 5, N), 9, 0), q = ry_cast(g, x, RY_Q8_0), y = ry_cast(g, q, RY_F32),
              h = ry_cast(g, q, RY_BF16);
    assert_int_equal(ry_spec_of(g, q)->dtype, RY_Q8_0);
    assert_int_equal(ry_spec_of(g, h)->dtype, RY_BF16);
    float *a = value_of(x), *b = value_of(y);
    for (int k = 0; k < 5 * N; k += 32) {
        float largest = 0;
        for (int i = k; i < k + 32; i++) largest = fmaxf(largest, fabsf(a[i]));
        for (int i = k; i < k + 32; i++) assert_true(fabsf(a[i] - b[i]) <= largest * (0.5f / 127 + 1e-3f));
    }
    free(a);
    free(b);
    ry_graph_reset(g);
    ry_cast(g, ry_fill(g, &RY_SHAPE(RY_F32, 5, 33), 1), RY_Q8_0);
    assert_is(RY_ESHAPE, ry_graph_status(g));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(slices_follow_python),
                                       cmocka_unit_test(permuted_copies),
                                       cmocka_unit_test(tiles_and_streams),
                                       cmocka_unit_test(large_results),
                                       cmocka_unit_test(sums),
                                       cmocka_unit_test(many_parts_join),
                                       cmocka_unit_test(borders_and_tiles),
                                       cmocka_unit_test(reshapes),
                                       cmocka_unit_test(quantised_there_and_back)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
