/* test_row_ops.c - reductions, order, indexing, norms, losses, optimisers: what the row samples (tests/ops) cannot say.
 *
 * NaN and ties, messages that name the place, split sums against plain ones, strided sources, torch's first steps. */
#include "base/rng.h"
#include "core/op.h"
#include "unit/cm.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    ry_device *dev;
    ry_graph *g;
    ry_feed feed[8];
    size_t n_feed;
} bench;

static int setup(void **state) {
    static bench b;
    b = (bench){0};
    assert_ok(ry_device_open(&b.dev, "cpu", &(ry_device_options){.threads = 2}));
    assert_ok(ry_graph_open(&b.g, b.dev));
    *state = &b;
    return 0;
}
static int teardown(void **state) {
    bench *b = *state;
    ry_graph_close(b->g);
    ry_device_close(b->dev);
    return 0;
}
static void again(bench *b) {
    ry_graph_reset(b->g);
    b->n_feed = 0;
}
static ry_tensor put(bench *b, ry_spec s, const void *data) {
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, &s));
    ry_tensor t = ry_input(b->g, &s, NULL);
    b->feed[b->n_feed++] = (ry_feed){t, data, bytes};
    return t;
}
static ry_status get(bench *b, ry_tensor t, void *data, size_t bytes) {
    ry_status st = ry_eval(b->g, 1, &t, b->n_feed, b->feed);
    return st == RY_OK ? ry_read(b->g, t, data, bytes) : st;
}
#define GET(b, t, y) assert_ok(get(b, t, y, sizeof(y)))
static void fails(bench *b, ry_status want, ry_tensor t, const char *text) {
    char buf[1 << 12];
    ry_status st = ry_graph_status(b->g);
    if (st == RY_OK) st = get(b, t, buf, ry_spec_of(b->g, t) ? (size_t)ry_numel(ry_spec_of(b->g, t)) * 4 : 0);
    assert_int_equal(st, want);
    if (!strstr(ry_message(), text)) print_error("message: %s\n", ry_message());
    assert_non_null(strstr(ry_message(), text));
}
static float *uniform(int64_t n, float lo, float hi, uint32_t stream) {
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    ry_rng_uniform(x, n, 5, stream, 0);
    for (int64_t i = 0; i < n; i++) x[i] = lo + (hi - lo) * x[i];
    return x;
}
static void near(double got, double want, double tol) {
    if (!(fabs(got - want) <= tol * (fabs(want) + 1))) print_error("got %.9g, want %.9g\n", got, want);
    assert_true(fabs(got - want) <= tol * (fabs(want) + 1));
}

/* ---- reductions ---- */

/* Every axes set of a permuted view against plain loops, large enough that sums are split. */
static void test_reduce_views(void **state) {
    bench *b = *state;
    enum { A = 3, B = 700, C = 130 };
    float *x = uniform(A * B * C, 0, 2, 1);
    static const int perms[4][3] = {{0, 1, 2}, {1, 2, 0}, {2, 1, 0}, {0, 2, 1}};
    static const int64_t dims[3] = {A, B, C}, steps[3] = {B * C, C, 1};
    for (int p = 0; p < 4; p++)
        for (unsigned axes = 1; axes < 8; axes++)
            for (int flip = 0; flip < 2; flip++) {
                again(b);
                ry_tensor t = ry_permute(b->g, put(b, RY_SHAPE(RY_F32, A, B, C), x), perms[p]);
                if (flip) t = ry_slice(b->g, t, 1, -1, INT64_MIN, -1);
                ry_tensor y = ry_sum(b->g, t, axes, true), m = ry_amax(b->g, t, axes, true),
                          l = ry_logsumexp(b->g, t, axes, true);
                ry_tensor want[3] = {y, m, l};
                assert_ok(ry_eval(b->g, 3, want, b->n_feed, b->feed));
                const ry_spec *s = ry_spec_of(b->g, y);
                int64_t n = ry_numel(s), full[3];
                float *got = malloc((size_t)n * 3 * sizeof *got);
                double *sum = calloc((size_t)n * 3, sizeof *sum);
                assert_true(got && sum);
                for (int k = 0; k < 3; k++) assert_ok(ry_read(b->g, want[k], got + k * n, (size_t)n * sizeof *got));
                for (int64_t i = 0; i < n; i++) sum[n + i] = -1e30;
                for (int d = 0; d < 3; d++) full[d] = dims[perms[p][d]];
                for (int64_t i = 0; i < full[0]; i++)
                    for (int64_t j = 0; j < full[1]; j++)
                        for (int64_t k = 0; k < full[2]; k++) {
                            int64_t at[3] = {i, j, k}, in[3] = {i, flip ? full[1] - 1 - j : j, k}, o = 0, from = 0;
                            for (int d = 0; d < 3; d++)
                                o = o * s->dim[d] + (s->dim[d] == 1 ? 0 : at[d]), from += in[d] * steps[perms[p][d]];
                            double v = (double)x[from];
                            sum[o] += v;
                            if (v > sum[n + o]) sum[n + o] = v;
                            sum[2 * n + o] += exp(v);
                        }
                for (int64_t i = 0; i < n; i++) {
                    near((double)got[i], sum[i], 1e-6);
                    near((double)got[n + i], sum[n + i], 0);
                    near((double)got[2 * n + i], log(sum[2 * n + i]), 1e-6);
                }
                free(got);
                free(sum);
            }
    free(x);
}

/* One split row, one split column, columns of few; means of a large offset stay exact to f32. */
static void test_reduce_split(void **state) {
    bench *b = *state;
    enum { N = 1 << 20 };
    float *x = uniform(N, 999, 1001, 2), y[2], rows[1], cols[16];
    double want = 0, each[16] = {0};
    for (int64_t i = 0; i < N; i++) want += (double)x[i], each[i % 16] += (double)x[i];
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 1, N), x);
    GET(b, ry_mean(b->g, t, RY_AXIS(1), false), rows);
    near((double)rows[0], want / N, 1e-7);
    again(b);
    t = put(b, RY_SHAPE(RY_F32, N / 16, 16), x);
    GET(b, ry_sum(b->g, t, RY_AXIS(0), false), cols);
    for (int j = 0; j < 16; j++) near((double)cols[j], each[j], 1e-7);
    again(b);
    t = put(b, RY_SHAPE(RY_F32, 2, N / 2), x);
    GET(b, ry_norm(b->g, t, RY_AXIS(1), false), y);
    double squares = 0;
    for (int64_t i = 0; i < N / 2; i++) squares += (double)x[i] * (double)x[i];
    near((double)y[0], sqrt(squares), 1e-7);
    free(x);
}

static void test_reduce_special(void **state) {
    bench *b = *state;
    const float x[2][3] = {{1, NAN, 3}, {-INFINITY, -INFINITY, -INFINITY}};
    float y[2], z[3];
    bool any[2];
    int64_t total[1];
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 2, 3), x);
    GET(b, ry_amax(b->g, t, RY_AXIS(1), false), y);
    assert_true(isnan(y[0]) && isinf(y[1]));
    GET(b, ry_amin(b->g, t, RY_AXIS(0), false), z);
    assert_true(isinf(z[0]) && isnan(z[1]) && isinf(z[2]));
    GET(b, ry_logsumexp(b->g, t, RY_AXIS(1), false), y);
    assert_true(isnan(y[0]) && y[1] == -INFINITY);
    GET(b, ry_any(b->g, t, RY_AXIS(1), false), any);
    assert_true(any[0] && any[1]);
    again(b);
    GET(b, ry_sum(b->g, put(b, RY_SHAPE(RY_BOOL, 2, 2), "\1\0\1\1"), 0, false), total);
    assert_int_equal(total[0], 3);
    again(b);
    GET(b, ry_mean(b->g, put(b, RY_SHAPE(RY_F32, 2, 0), ""), RY_AXIS(1), false), y);
    assert_true(isnan(y[0]) && isnan(y[1]));
    again(b);
    fails(b, RY_ESHAPE, ry_amax(b->g, put(b, RY_SHAPE(RY_F32, 2, 0), ""), RY_AXIS(1), false), "no elements");
    again(b);
    fails(b, RY_EARG, ry_sum(b->g, put(b, RY_SHAPE(RY_F32, 2, 2), ""), RY_AXIS(-3), false), "axis -3");
    again(b);
    fails(b, RY_EDTYPE, ry_mean(b->g, put(b, RY_SHAPE(RY_I32, 2, 2), ""), 0, false), "floats are needed");
}

static void test_amax_ties(void **state) {
    bench *b = *state;
    const float x[5] = {2, 7, 7, 1, 7};
    float g[5];
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 5), x), gx;
    assert_ok(ry_grad(b->g, ry_amax(b->g, t, 0, false), RY_NULL, 1, &t, &gx));
    GET(b, gx, g);
    for (int i = 0; i < 5; i++) near((double)g[i], x[i] == 7 ? 1.0 / 3 : 0, 1e-7);
}

/* ---- order ---- */

static void test_arg(void **state) {
    bench *b = *state;
    const float x[3][4] = {{1, 5, 5, 0}, {NAN, 9, NAN, 1}, {-1, -1, 2, NAN}};
    int32_t y[3], z[4];
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 3, 4), x);
    GET(b, ry_argmax(b->g, t, 1, false), y);
    assert_true(y[0] == 1 && y[1] == 0 && y[2] == 3);
    GET(b, ry_argmin(b->g, t, 0, false), z);
    assert_true(z[0] == 1 && z[1] == 2 && z[2] == 1 && z[3] == 2);
    float *big = uniform(10000, 0, 1, 3);
    big[7777] = big[9000] = 2;
    again(b);
    int32_t one[1];
    GET(b, ry_argmax(b->g, put(b, RY_SHAPE(RY_F32, 10000), big), 0, true), one);
    assert_int_equal(one[0], 7777);
    free(big);
}

static void test_sort(void **state) {
    bench *b = *state;
    const float x[7] = {3, NAN, -0.0f, 0.0f, -INFINITY, 3, INFINITY};
    int32_t up[7] = {4, 2, 3, 0, 5, 6, 1}, down[7] = {1, 6, 0, 5, 2, 3, 4}, got[7];
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 7), x);
    GET(b, ry_out(b->g, ry_sort(b->g, t, 0, false), 1), got);
    assert_memory_equal(got, up, sizeof up);
    GET(b, ry_out(b->g, ry_sort(b->g, t, 0, true), 1), got);
    assert_memory_equal(got, down, sizeof down);
    assert_ok(get(b, ry_out(b->g, ry_top_k(b->g, t, 4, 0), 1), got, 4 * sizeof *got));
    assert_memory_equal(got, down, 4 * sizeof *down);

    /* top_k by heap equals the head of a stable sort, with many ties, along both axes */
    enum { N = 3000, K = 50 };
    float *many = uniform(2 * N, 0, 40, 4);
    for (int i = 0; i < 2 * N; i++) many[i] = floorf(many[i]);
    for (int axis = 0; axis < 2; axis++) {
        again(b);
        int32_t a[2 * K], c[2 * K];
        t = put(b, axis ? RY_SHAPE(RY_F32, 2, N) : RY_SHAPE(RY_F32, N, 2), many);
        ry_tensor all = ry_slice(b->g, ry_out(b->g, ry_sort(b->g, t, axis, true), 1), axis, 0, K, 1);
        GET(b, ry_out(b->g, ry_top_k(b->g, t, K, axis), 1), a);
        GET(b, ry_contiguous(b->g, all), c);
        assert_memory_equal(a, c, sizeof a);
    }
    free(many);
    again(b);
    fails(b, RY_EARG, ry_top_k(b->g, put(b, RY_SHAPE(RY_F32, 3), x), 4, 0), "k is 4");
    again(b);
    const int64_t wide[4] = {INT64_MAX, INT64_MIN, 0, -1};
    int64_t sorted[4];
    GET(b, ry_sort(b->g, put(b, RY_SHAPE(RY_I64, 4), wide), 0, false), sorted);
    assert_true(sorted[0] == INT64_MIN && sorted[1] == -1 && sorted[2] == 0 && sorted[3] == INT64_MAX);
}

static void test_cumsum_long(void **state) {
    bench *b = *state;
    enum { N = 100003 };
    float *x = uniform(N, 0, 1, 6), *y = malloc(N * sizeof *y);
    assert_non_null(y);
    for (int rev = 0; rev < 2; rev++) {
        again(b);
        assert_ok(get(b, ry_cumsum(b->g, put(b, RY_SHAPE(RY_F32, N), x), 0, true, rev), y, N * sizeof *y));
        double sum = 0;
        for (int i = 0; i < N; i++) {
            int k = rev ? N - 1 - i : i;
            near((double)y[k], sum, 5e-7);
            sum += (double)x[k];
        }
    }
    free(x);
    free(y);
}

/* ---- indexing ---- */

static void test_bad_ids(void **state) {
    bench *b = *state;
    const float w[12] = {0};
    const int32_t ids[2][2] = {{0, 1}, {2, 70}}, negative[2] = {0, -1};
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 3, 4), w), i = put(b, RY_SHAPE(RY_I32, 2, 2), ids);
    fails(b, RY_EARG, ry_embedding(b->g, t, i), "embedding: ids[1,1] is 70; it must be 0 to 2");
    again(b);
    t = put(b, RY_SHAPE(RY_F32, 3, 4), w), i = put(b, RY_SHAPE(RY_I32, 2), negative);
    fails(b, RY_EARG, ry_take(b->g, t, i, 1), "take: ids[1] is -1");
    again(b);
    t = put(b, RY_SHAPE(RY_F32, 2, 4), w), i = put(b, RY_SHAPE(RY_I32, 2, 2), ids);
    fails(b, RY_EARG, ry_gather(b->g, t, i, 1), "gather: idx[1,1] is 70");
    again(b);
    t = put(b, RY_SHAPE(RY_F32, 2, 4), w), i = put(b, RY_SHAPE(RY_I32, 2, 2), ids);
    fails(b, RY_EARG, ry_scatter(b->g, t, i, put(b, RY_SHAPE(RY_F32, 2, 2), w), 1, true), "scatter: idx[1,1] is 70");
    again(b);
    t = put(b, RY_SHAPE(RY_F32, 2, 3), w), i = put(b, RY_SHAPE(RY_I32, 2), negative);
    fails(b, RY_EARG, ry_cross_entropy(b->g, t, i, -100), "cross_entropy: targets[1] is -1");
    again(b);
    fails(b, RY_EDTYPE, ry_embedding(b->g, put(b, RY_SHAPE(RY_F32, 3, 4), w), put(b, RY_SHAPE(RY_F32, 2), w)),
          "ids are [2] f32");
}

/* Large tables and many hits: every cut of the work gives the plain sums. */
static void test_embedding_grad(void **state) {
    bench *b = *state;
    static const struct { int64_t v, c, r; } cases[] = {{3000, 33, 700}, {17, 300, 900}, {2, 5, 40}, {5000, 8, 3}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        again(b);
        int64_t v = cases[k].v, c = cases[k].c, r = cases[k].r;
        float *gy = uniform(r * c, -1, 1, 7), *got = malloc((size_t)(v * c) * sizeof *got);
        double *want = calloc((size_t)(v * c), sizeof *want);
        int64_t *ids = malloc((size_t)r * sizeof *ids);
        assert_true(got && want && ids);
        for (int64_t i = 0; i < r; i++) {
            ids[i] = (int64_t)(ry_rng_word(8, 0, (uint64_t)i) % (uint64_t)v);
            for (int64_t j = 0; j < c; j++) want[ids[i] * c + j] += (double)gy[i * c + j];
        }
        ry_spec ws = RY_SHAPE(RY_F32, v, c);
        ry_tensor w = ry_fill(b->g, &ws, 0), gw;
        ry_tensor y = ry_embedding(b->g, w, put(b, RY_SHAPE(RY_I64, r), ids));
        assert_ok(ry_grad(b->g, y, put(b, RY_SHAPE(RY_F32, r, c), gy), 1, &w, &gw));
        assert_ok(get(b, gw, got, (size_t)(v * c) * sizeof *got));
        for (int64_t i = 0; i < v * c; i++) near((double)got[i], want[i], 5e-6);
        free(gy), free(got), free(want), free(ids);
    }
}

/* scatter whose source is the tensor itself, and set_rows from the variable's own rows */
static void test_aliased_writes(void **state) {
    bench *b = *state;
    const float x[4] = {1, 2, 3, 4};
    const int32_t idx[4] = {1, 2, 3, 0}, two[2] = {1, 2};
    float y[4], z[4][2];
    ry_tensor t = ry_mul(b->g, put(b, RY_SHAPE(RY_F32, 4), x), ry_scalar(b->g, 10));
    GET(b, ry_scatter(b->g, t, put(b, RY_SHAPE(RY_I32, 4), idx), t, 0, false), y);
    for (int i = 0; i < 4; i++) assert_true(y[idx[i]] == 10 * x[i]);
    again(b);
    const float w[4][2] = {{0, 1}, {2, 3}, {4, 5}, {6, 7}}, want[4][2] = {{0, 1}, {0, 1}, {2, 3}, {6, 7}};
    ry_var *v;
    assert_ok(ry_var_open(&v, b->dev, &RY_SHAPE(RY_F32, 4, 2), "v"));
    assert_ok(ry_var_write(v, w, sizeof w));
    ry_tensor rows = ry_slice(b->g, ry_use(b->g, v), 0, 0, 2, 1);
    GET(b, ry_set_rows(b->g, v, rows, put(b, RY_SHAPE(RY_I32, 2), two), 0), z);
    assert_memory_equal(z, want, sizeof z);
    ry_var_close(v);
}

/* ---- losses and norms ---- */

static void test_ignored_rows(void **state) {
    bench *b = *state;
    const float x[3][4] = {{1, 2, 3, 4}, {NAN, NAN, NAN, NAN}, {0, 0, 0, 1000}};
    const int64_t targets[3] = {3, -100, 0};
    float loss[3], gx[3][4];
    ry_tensor t = put(b, RY_SHAPE(RY_F32, 3, 4), x), g;
    ry_tensor y = ry_cross_entropy(b->g, t, put(b, RY_SHAPE(RY_I64, 3), targets), -100);
    GET(b, y, loss);
    near((double)loss[0], 0.4401896985611953, 1e-6);
    assert_true(loss[1] == 0 && loss[2] == 1000);
    assert_ok(ry_grad(b->g, y, RY_NULL, 1, &t, &g));
    GET(b, g, gx);
    for (int j = 0; j < 4; j++) assert_true(gx[1][j] == 0);
    assert_true(gx[2][0] == -1 && gx[2][3] == 1);
}

static void test_dropout(void **state) {
    bench *b = *state;
    enum { N = 40000 };
    float *x = uniform(N, 1, 2, 9), *y = malloc(2 * N * sizeof *y);
    assert_non_null(y);
    ry_tensor t = put(b, RY_SHAPE(RY_F32, N), x), gx;
    ry_tensor d = ry_dropout(b->g, t, 0.25, 11, 4);
    assert_ok(ry_grad(b->g, d, RY_NULL, 1, &t, &gx));
    ry_tensor want[2] = {d, gx};
    assert_ok(ry_eval(b->g, 2, want, b->n_feed, b->feed));
    assert_ok(ry_read(b->g, d, y, N * sizeof *y));
    assert_ok(ry_read(b->g, gx, y + N, N * sizeof *y));
    int kept = 0;
    for (int i = 0; i < N; i++) {
        bool keep = ry_rng_unit(ry_rng_word(11, 4, (uint64_t)i)) >= 0.25f;
        kept += keep;
        near((double)y[i], keep ? (double)x[i] / 0.75 : 0, 1e-6);
        near((double)y[N + i], keep ? 1 / 0.75 : 0, 1e-6);
    }
    assert_true(kept > 29500 && kept < 30500);
    free(x);
    free(y);
}

/* ---- optimisers: torch's rules written out in double ---- */

static void test_sgd_steps(void **state) {
    bench *b = *state;
    enum { N = 100 };
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        const ry_sgd_options o = {
            .lr = 0.1, .momentum = 0.9, .dampening = nesterov ? 0 : 0.3, .weight_decay = 0.01, .nesterov = nesterov};
        ry_var *w, *m;
        assert_ok(ry_var_open(&w, b->dev, &RY_SHAPE(RY_F32, N), "w"));
        assert_ok(ry_var_open(&m, b->dev, &RY_SHAPE(RY_F32, N), "m"));
        float *x = uniform(N, -1, 1, 12), y[N], scale = 0.5f;
        double wd[N], buf[N];
        assert_ok(ry_var_write(w, x, N * sizeof *x));
        for (int i = 0; i < N; i++) wd[i] = (double)x[i];
        for (int step = 1; step <= 4; step++) {
            again(b);
            float *g = uniform(N, -1, 1, 20 + (uint32_t)step);
            ry_sgd_options now = o;
            now.step = step;
            GET(b, ry_sgd(b->g, w, put(b, RY_SHAPE(RY_F32, N), g), m, put(b, (ry_spec){.dtype = RY_F32}, &scale), &now),
                y);
            for (int i = 0; i < N; i++) {
                double t = 0.5 * (double)g[i] + o.weight_decay * wd[i];
                buf[i] = step == 1 ? t : o.momentum * buf[i] + (1 - o.dampening) * t;
                wd[i] -= o.lr * (nesterov ? t + o.momentum * buf[i] : buf[i]);
                near((double)y[i], wd[i], 1e-6);
            }
            free(g);
        }
        free(x);
        again(b);
        ry_var_close(w);
        ry_var_close(m);
    }
}

static void test_adamw_steps(void **state) {
    bench *b = *state;
    enum { N = 70000 };
    const ry_adamw_options o = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1};
    ry_var *w, *m, *v;
    assert_ok(ry_var_open(&w, b->dev, &RY_SHAPE(RY_F32, N), "w"));
    assert_ok(ry_var_open(&m, b->dev, &RY_SHAPE(RY_F32, N), "m"));
    assert_ok(ry_var_open(&v, b->dev, &RY_SHAPE(RY_F32, N), "v"));
    float *x = uniform(N, -1, 1, 12), *y = malloc(N * sizeof *y);
    double *s = calloc(3 * N, sizeof *s);
    assert_true(x && y && s);
    assert_ok(ry_var_write(w, x, N * sizeof *x));
    for (int i = 0; i < N; i++) s[i] = (double)x[i];
    for (int step = 1; step <= 3; step++) {
        again(b);
        float *g = uniform(N, -1, 1, 20 + (uint32_t)step);
        ry_adamw_options now = o;
        now.step = step;
        assert_ok(get(b, ry_adamw(b->g, w, put(b, RY_SHAPE(RY_F32, N), g), m, v, RY_NULL, &now), y, N * sizeof *y));
        for (int i = 0; i < N; i++) {
            double t = (double)g[i], *mm = &s[N + i], *vv = &s[2 * N + i];
            s[i] *= 1 - o.lr * o.weight_decay;
            *mm = o.beta1 * *mm + (1 - o.beta1) * t;
            *vv = o.beta2 * *vv + (1 - o.beta2) * t * t;
            s[i] -= o.lr / (1 - pow(o.beta1, step)) * *mm / (sqrt(*vv) / sqrt(1 - pow(o.beta2, step)) + o.eps);
            near((double)y[i], s[i], 1e-6);
        }
        free(g);
    }
    again(b);
    fails(b, RY_EARG, ry_adamw(b->g, w, ry_use(b->g, w), m, v, RY_NULL, &o), "steps count from 1");
    again(b);
    free(x), free(y), free(s);
    ry_var_close(w), ry_var_close(m), ry_var_close(v);
}

static void test_global_norm(void **state) {
    bench *b = *state;
    static const size_t counts[] = {0, 1, 12, 13, 150};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        again(b);
        ry_tensor t[150];
        double want = 0;
        float y[1], s[1];
        for (size_t i = 0; i < counts[k]; i++) {
            int64_t n = i == 3 ? 200000 : (int64_t)i + 1;
            double v = 0.5 + 0.01 * (double)i;
            t[i] = ry_fill(b->g, &RY_SHAPE(RY_F32, n), v);
            want += (double)n * (double)(float)v * (double)(float)v;
        }
        ry_tensor norm = ry_global_norm(b->g, counts[k], t);
        GET(b, norm, y);
        near((double)y[0], sqrt(want), 1e-6);
        GET(b, ry_clip_scale(b->g, norm, 1), s);
        double clip = 1 / (sqrt(want) + 1e-6);
        near((double)s[0], clip < 1 ? clip : 1, 1e-6);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reduce_views),   TEST(test_reduce_split), TEST(test_reduce_special),
        TEST(test_amax_ties),      TEST(test_arg),          TEST(test_sort),
        TEST(test_cumsum_long),    TEST(test_bad_ids),      TEST(test_embedding_grad),
        TEST(test_aliased_writes), TEST(test_ignored_rows), TEST(test_dropout),
        TEST(test_sgd_steps),      TEST(test_adamw_steps),  TEST(test_global_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
