/* test_gpu_rows.c - rows that reduce, on a GPU against the CPU, at shapes that take every road of their kernels: several rows a group,
 * rows in registers and rows read again, lines that lie across, reductions in pieces, rounds and tiles of the fused loss; that two runs
 * give the same bits; and what the kernels say of NaN, large integers and ids that are no class.
 *
 * Samples of the rows (tests/ops, `rusty doctor`) are small and take few of these roads. */
#include "base/rng.h"
#include "unit/cm.h"
#include "unit/gpu_pair.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WANTED = 8 };
static ry_tensor noise(ry_graph *g, feeds *f, ry_spec s) {
    int64_t n = ry_numel(&s);
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    ry_rng_uniform(x, n, 11, (uint32_t)f->n, 0);
    for (int64_t i = 0; i < n; i++) x[i] = 4 * x[i] - 2;
    return feed(g, f, s, x);
}
static ry_tensor ids(ry_graph *g, feeds *f, int64_t n, int64_t classes) { /* some are ignored */
    int32_t *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = i % 7 == 3 ? -100 : (int32_t)(ry_rng_word(5, 1, (uint64_t)i) % (uint64_t)classes);
    return feed(g, f, RY_SHAPE(RY_I32, n), x);
}

static ry_tensor whole(ry_graph *g, feeds *f, ry_spec s, float scale) { /* i64 or i32 in [-2 scale, 2 scale) */
    int64_t n = ry_numel(&s);
    int64_t *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = (int64_t)(scale * (4 * ry_rng_unit(ry_rng_word(3, (uint32_t)f->n, (uint64_t)i)) - 2));
        if (s.dtype == RY_I64)
            x[i] = v;
        else
            ((int32_t *)x)[i] = (int32_t)v;
    }
    return feed(g, f, s, x);
}

typedef struct trial {
    const char *what;
    size_t (*build)(ry_graph *g, feeds *f, const struct trial *c, ry_tensor want[WANTED]);
    int rank;
    int64_t dim[4];
    int64_t a, b; /* as the builder says */
    ry_dtype dtype;
} trial;

typedef struct results {
    size_t n, bytes[WANTED];
    ry_dtype dtype[WANTED];
    void *data[WANTED];
} results;
static void compute(results *out, ry_device *dev, const trial *c) {
    ry_graph *g;
    feeds f = {.n = 0};
    ry_tensor want[WANTED];
    assert_ok(ry_graph_open(&g, dev));
    out->n = c->build(g, &f, c, want);
    assert_ok(ry_graph_status(g));
    for (size_t i = 0; i < out->n; i++) {
        ry_dtype t = ry_spec_of(g, want[i])->dtype;
        if (t == RY_F16 || t == RY_BF16) want[i] = ry_cast(g, want[i], RY_F32);
    }
    assert_ok(ry_eval(g, out->n, want, f.n, f.at));
    for (size_t i = 0; i < out->n; i++) {
        out->dtype[i] = ry_spec_of(g, want[i])->dtype;
        assert_ok(ry_spec_bytes(&out->bytes[i], ry_spec_of(g, want[i])));
        out->data[i] = malloc(out->bytes[i] + 1);
        assert_non_null(out->data[i]);
        assert_ok(ry_read(g, want[i], out->data[i], out->bytes[i]));
    }
    ry_graph_close(g);
    for (size_t i = 0; i < f.n; i++) free((void *)(uintptr_t)f.at[i].data);
}
static void drop(results *r) {
    for (size_t i = 0; i < r->n; i++) free(r->data[i]);
}

static int differ(const trial *c, const results *have, const results *want) {
    int wrong = 0;
    for (size_t k = 0; k < want->n; k++) {
        assert_int_equal(have->bytes[k], want->bytes[k]);
        if (want->dtype[k] != RY_F32) {
            if (memcmp(have->data[k], want->data[k], want->bytes[k]))
                print_error("%s: output %zu differs\n", c->what, k), wrong++;
            continue;
        }
        const float *a = have->data[k], *b = want->data[k];
        double most = 0, off = 0, allowed = c->dtype == RY_BF16 ? 1.5e-2 : 2e-5;
        size_t at = 0;
        for (size_t i = 0; i < want->bytes[k] / sizeof(float); i++) {
            double d = fabs((double)a[i] - (double)b[i]);
            if (!(d <= off)) off = d, at = i;
            if (fabs((double)b[i]) > most) most = fabs((double)b[i]);
        }
        if (off <= allowed * most) continue;
        print_error("%s: output %zu is off by %g of %g at %zu: %g, not %g\n", c->what, k, off, most, at, (double)a[at],
                    (double)b[at]);
        wrong++;
    }
    return wrong;
}

static void run(const trial *c, size_t n) {
    if (!gpu) skip();
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        results want, have, again;
        compute(&want, cpu, &c[i]);
        compute(&have, gpu, &c[i]);
        wrong += differ(&c[i], &have, &want);
        if (i % 3 == 0) {
            compute(&again, gpu, &c[i]);
            for (size_t k = 0; k < have.n; k++) assert_memory_equal(have.data[k], again.data[k], have.bytes[k]);
            drop(&again);
        }
        drop(&want);
        drop(&have);
    }
    assert_int_equal(wrong, 0);
}
#define RUN(list) run(list, sizeof list / sizeof *list)

/* y, and the gradients of sum(y gy) */
static size_t with_grads(ry_graph *g, feeds *f, ry_tensor y, size_t n, const ry_tensor *x, ry_tensor want[WANTED]) {
    ry_spec s = *ry_spec_of(g, y);
    s.dtype = RY_F32;
    ry_tensor gy = ry_cast(g, noise(g, f, s), ry_spec_of(g, y)->dtype);
    want[0] = y;
    assert_ok(ry_grad(g, y, gy, n, x, want + 1));
    return n + 1;
}
static ry_tensor source(ry_graph *g, feeds *f, const trial *c) {
    ry_tensor x = noise(g, f, ry_shape(RY_F32, c->rank, c->dim));
    return c->dtype ? ry_cast(g, x, c->dtype) : x;
}

static size_t rms_norm(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x[2] = {source(g, f, c), noise(g, f, RY_SHAPE(RY_F32, c->dim[c->rank - 1]))};
    return with_grads(g, f, ry_rms_norm(g, x[0], x[1], 1e-5), 2, x, want);
}
static size_t layer_norm(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    int64_t len = c->dim[c->rank - 1];
    ry_tensor x[3] = {source(g, f, c), noise(g, f, RY_SHAPE(RY_F32, len)), noise(g, f, RY_SHAPE(RY_F32, len))};
    return with_grads(g, f, ry_layer_norm(g, x[0], x[1], x[2], 1e-5), 3, x, want);
}
static void test_norms(void **state) {
    static const trial list[] = {
        {"rms_norm, 4 a row", rms_norm, 2, {3000, 4}, 0, 0, 0},
        {"rms_norm, 64 a row", rms_norm, 3, {70, 10, 64}, 0, 0, 0},
        {"rms_norm, 288 a row", rms_norm, 2, {900, 288}, 0, 0, 0},
        {"rms_norm, 1030 a row", rms_norm, 2, {40, 1030}, 0, 0, 0},
        {"rms_norm, read again", rms_norm, 2, {9, 8200}, 0, 0, 0},
        {"rms_norm, long", rms_norm, 2, {2, 30001}, 0, 0, 0},
        {"rms_norm, bf16", rms_norm, 2, {200, 96}, 0, 0, RY_BF16},
        {"layer_norm, 5 a row", layer_norm, 2, {3000, 5}, 0, 0, 0},
        {"layer_norm, 64 a row", layer_norm, 2, {700, 64}, 0, 0, 0},
        {"layer_norm, 768 a row", layer_norm, 2, {300, 768}, 0, 0, 0},
        {"layer_norm, 1030 a row", layer_norm, 2, {40, 1030}, 0, 0, 0},
        {"layer_norm, read again", layer_norm, 2, {9, 8200}, 0, 0, 0},
        {"layer_norm, bf16", layer_norm, 2, {200, 98}, 0, 0, RY_BF16},
    };
    (void)state;
    RUN(list);
}

/* a: the axis; b: 1 through a transposed view */
static size_t softmax(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x = source(g, f, c), v = c->b ? ry_transpose(g, x, 0, 1) : x;
    return with_grads(g, f, ry_softmax(g, v, (int)c->a), 1, &x, want);
}
static size_t log_softmax(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x = source(g, f, c), v = c->b ? ry_transpose(g, x, 0, 1) : x;
    return with_grads(g, f, ry_log_softmax(g, v, (int)c->a), 1, &x, want);
}
static void test_softmax(void **state) {
    static const trial list[] = {
        {"softmax of 2048", softmax, 2, {130, 2048}, 1, 0, 0},
        {"softmax of 10", softmax, 2, {5000, 10}, 1, 0, 0},
        {"softmax, read again", softmax, 2, {7, 9001}, 1, 0, 0},
        {"softmax in the middle", softmax, 3, {3, 500, 70}, 1, 0, 0},
        {"softmax of few lines", softmax, 2, {3000, 5}, 0, 0, 0},
        {"softmax of a view", softmax, 2, {300, 70}, 1, 1, 0},
        {"softmax, bf16", softmax, 2, {50, 513}, 1, 0, RY_BF16},
        {"log_softmax of 300", log_softmax, 2, {100, 300}, 1, 0, 0},
        {"log_softmax, read again", log_softmax, 2, {7, 9004}, 1, 0, 0},
        {"log_softmax of columns", log_softmax, 2, {70, 300}, 0, 0, 0},
        {"log_softmax of a view", log_softmax, 3, {30, 20, 50}, 2, 1, 0},
    };
    (void)state;
    RUN(list);
}

static size_t cross_entropy(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x = source(g, f, c);
    return with_grads(g, f, ry_cross_entropy(g, x, ids(g, f, c->dim[0], c->dim[1]), -100), 1, &x, want);
}
/* dim: rows, inner, classes; a: 1 without gradients; b: 1 with softcap and scale */
static size_t linear_cross_entropy(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x[3] = {noise(g, f, RY_SHAPE(RY_F32, c->dim[0], c->dim[1])),
                      noise(g, f, RY_SHAPE(RY_F32, c->dim[2], c->dim[1]))};
    ry_linear_ce_options o = {.ignore = -100, .with_grad = !c->a};
    if (c->b) o.softcap = 3, o.scale = x[2] = noise(g, f, RY_SHAPE(RY_F32, 1));
    want[0] = ry_linear_cross_entropy(g, x[0], x[1], ids(g, f, c->dim[0], c->dim[2]), &o);
    if (c->a) return 1;
    size_t n = c->b ? 3 : 2;
    assert_ok(ry_grad(g, want[0], RY_NULL, n, x, want + 1));
    return n + 1;
}
static void test_losses(void **state) {
    static const trial list[] = {
        {"cross_entropy of 65", cross_entropy, 2, {3000, 65}, 0, 0, 0},
        {"cross_entropy of 4096", cross_entropy, 2, {50, 4096}, 0, 0, 0},
        {"cross_entropy of 50257", cross_entropy, 2, {9, 50257}, 0, 0, 0},
        {"cross_entropy, bf16", cross_entropy, 2, {30, 2050}, 0, 0, RY_BF16},
        {"fused loss", linear_cross_entropy, 3, {300, 64, 700}, 1, 0, 0},
        {"fused loss and gradients", linear_cross_entropy, 3, {130, 64, 700}, 0, 0, 0},
        {"fused loss, large tiles and rounds", linear_cross_entropy, 3, {300, 40, 5003}, 0, 0, 0},
        {"fused loss, odd sizes", linear_cross_entropy, 3, {77, 35, 301}, 0, 1, 0},
        {"fused loss, softcap, rounds", linear_cross_entropy, 3, {270, 12, 4100}, 0, 1, 0},
    };
    (void)state;
    RUN(list);
}

/* a: bits of axes; b: 1 through a transposed view. All the reductions of floats */
static size_t reductions(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x = source(g, f, c);
    ry_axes axes = (ry_axes)c->a;
    if (c->b) x = ry_transpose(g, x, 0, c->rank - 1);
    want[0] = ry_sum(g, ry_square(g, x), axes, false); /* no cancelling */
    want[1] = ry_mean(g, ry_abs(g, x), axes, true);
    want[2] = ry_norm(g, x, axes, false);
    want[3] = ry_amax(g, x, axes, false);
    want[4] = ry_amin(g, x, axes, true);
    want[5] = ry_logsumexp(g, x, axes, false);
    want[6] = ry_any(g, ry_gt(g, x, ry_scalar(g, 1.999)), axes, false);
    want[7] = ry_all(g, ry_lt(g, x, ry_scalar(g, 1.999)), axes, false);
    return 8;
}
static size_t places(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x = source(g, f, c);
    want[0] = ry_argmax(g, x, (int)c->a, false);
    want[1] = ry_argmin(g, x, (int)c->a, true);
    want[2] = ry_argmax(g, whole(g, f, ry_shape(RY_I64, c->rank, c->dim), 9), (int)c->a, false);
    want[3] = ry_argmin(g, whole(g, f, ry_shape(RY_I32, c->rank, c->dim), 1e9f), (int)c->a, false);
    return 4;
}
static void test_reductions(void **state) {
    static const trial list[] = {
        {"all of 3 million", reductions, 1, {3000001}, 0, 0, 0},
        {"few long rows", reductions, 2, {5, 200004}, RY_AXIS(1), 0, 0},
        {"many short rows", reductions, 2, {30000, 19}, RY_AXIS(1), 0, 0},
        {"rows", reductions, 2, {600, 512}, RY_AXIS(1), 0, 0},
        {"long columns", reductions, 2, {5000, 132}, RY_AXIS(0), 0, 0},
        {"three columns", reductions, 2, {70000, 3}, RY_AXIS(0), 0, 0},
        {"wide columns", reductions, 2, {3, 60000}, RY_AXIS(0), 0, 0},
        {"the middle", reductions, 3, {17, 130, 65}, RY_AXIS(1), 0, 0},
        {"the outer two", reductions, 3, {17, 130, 64}, RY_AXIS(0) | RY_AXIS(1), 0, 0},
        {"outer and inner", reductions, 3, {17, 130, 64}, RY_AXIS(0) | RY_AXIS(2), 0, 0},
        {"a view's rows", reductions, 2, {700, 300}, RY_AXIS(1), 1, 0},
        {"a view's columns", reductions, 3, {60, 30, 44}, RY_AXIS(0), 1, 0},
        {"bf16 rows", reductions, 2, {70, 1000}, RY_AXIS(1), 0, RY_BF16},
        {"bf16 columns", reductions, 2, {1000, 70}, RY_AXIS(0), 0, RY_BF16},
        {"places in long rows", places, 2, {3, 100003}, 1, 0, 0},
        {"places in columns", places, 2, {5000, 7}, 0, 0, 0},
        {"places in the middle", places, 3, {20, 90, 33}, 1, 0, 0},
    };
    (void)state;
    RUN(list);
}

/* a: axis; b: 1 exclusive, 2 reverse. The second one counts in integers, beyond 32 bits. */
static size_t running(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x = ry_abs(g, source(g, f, c));
    want[0] = ry_cumsum(g, x, (int)c->a, c->b & 1, (c->b & 2) != 0);
    want[1] = ry_cumsum(g, whole(g, f, ry_shape(RY_I64, c->rank, c->dim), 1e9f), (int)c->a, c->b & 1, (c->b & 2) != 0);
    return 2;
}
static void test_running_sums(void **state) {
    static const trial list[] = {
        {"one long line", running, 1, {300000}, 0, 0, 0},
        {"a long line backwards", running, 2, {2, 100003}, 1, 3, 0},
        {"many lines", running, 2, {700, 260}, 1, 2, 0},
        {"short lines", running, 2, {5000, 7}, 1, 1, 0},
        {"long lines across", running, 2, {20000, 3}, 0, 0, 0},
        {"lines in the middle", running, 3, {5, 300, 70}, 1, 3, 0},
    };
    (void)state;
    RUN(list);
}

static size_t norm_of_many(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    ry_tensor x[14];
    for (int i = 0; i < 14; i++) x[i] = noise(g, f, RY_SHAPE(RY_F32, i == 4 ? c->a : 3 + i * i));
    want[0] = ry_global_norm(g, 14, x);
    return 1;
}
static void test_global_norm(void **state) {
    static const trial list[] = {{"norm of 14", norm_of_many, 0, {0}, 20, 0, 0},
                                 {"norm of a large one", norm_of_many, 0, {0}, 3000003, 0, 0}};
    (void)state;
    RUN(list);
}

/* What samples cannot hold: NaN and infinities, sums beyond 32 bits, ids that are no class. */
static size_t odd_numbers(ry_graph *g, feeds *f, const trial *c, ry_tensor want[WANTED]) {
    static const float rows[4][5] = {{1, NAN, 3, -2, 0},
                                     {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY},
                                     {2, INFINITY, 1, 0, -1},
                                     {-0.0f, 0, -5, -0.0f, -1}};
    static const int64_t large[2][3] = {{3000000000, 3000000000, -1}, {-5000000000, 7, INT64_MAX}};
    (void)c;
    ry_tensor x = feed_copy(g, f, RY_SHAPE(RY_F32, 4, 5), rows), i = feed_copy(g, f, RY_SHAPE(RY_I64, 2, 3), large);
    want[0] = ry_isnan(g, ry_amax(g, x, RY_AXIS(1), false));
    want[1] = ry_isnan(g, ry_amin(g, x, RY_AXIS(1), false));
    want[2] = ry_argmax(g, x, 1, false);
    want[3] = ry_argmin(g, x, 1, false);
    want[4] = ry_sum(g, i, RY_AXIS(1), false);
    want[5] = ry_amax(g, i, RY_AXIS(1), false);
    want[6] = ry_argmin(g, i, 0, false);
    want[7] = ry_eq(g, ry_logsumexp(g, x, RY_AXIS(1), false), ry_amax(g, x, RY_AXIS(1), false)); /* of infinities */
    return 8;
}
static void test_odd_numbers(void **state) {
    static const trial list[] = {{"odd numbers", odd_numbers, 0, {0}, 0, 0, 0}};
    (void)state;
    RUN(list);
}

static void test_no_class(void **state) {
    static const int32_t inverse[3] = {~1, ~5, ~-100}; /* of the targets: what the host feeds is checked */
    ry_graph *g;
    feeds f = {.n = 0};
    float loss[3], gx[15], fused, dx[6];
    (void)state;
    if (!gpu) skip();
    assert_ok(ry_graph_open(&g, gpu));
    ry_tensor x = noise(g, &f, RY_SHAPE(RY_F32, 3, 5)), t = ry_bit_not(g, feed_copy(g, &f, RY_SHAPE(RY_I32, 3), inverse)), want[4];
    ry_tensor h = noise(g, &f, RY_SHAPE(RY_F32, 3, 2)), w = noise(g, &f, RY_SHAPE(RY_F32, 5, 2));
    want[0] = ry_cross_entropy(g, x, t, -100);
    assert_ok(ry_grad(g, ry_sum(g, want[0], 0, false), RY_NULL, 1, &x, &want[1]));
    want[2] = ry_linear_cross_entropy(g, h, w, t, &(ry_linear_ce_options){.ignore = -100, .with_grad = true});
    assert_ok(ry_grad(g, want[2], RY_NULL, 1, &h, &want[3]));
    assert_ok(ry_eval(g, 4, want, f.n, f.at));
    assert_ok(ry_read(g, want[0], loss, sizeof loss));
    assert_ok(ry_read(g, want[1], gx, sizeof gx));
    assert_ok(ry_read(g, want[2], &fused, sizeof fused));
    assert_ok(ry_read(g, want[3], dx, sizeof dx));
    assert_true(isfinite(loss[0]) && isnan(loss[1]) && loss[2] == 0);
    for (int i = 0; i < 5; i++) assert_true(gx[i] != 0 && gx[5 + i] == 0 && gx[10 + i] == 0);
    assert_true(isnan(fused));
    for (int i = 0; i < 2; i++) assert_true(dx[i] != 0 && dx[2 + i] == 0 && dx[4 + i] == 0);
    ry_graph_close(g);
    for (size_t i = 0; i < f.n; i++) free((void *)(uintptr_t)f.at[i].data);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_norms),        cmocka_unit_test(test_softmax),
                                       cmocka_unit_test(test_losses),       cmocka_unit_test(test_reductions),
                                       cmocka_unit_test(test_running_sums), cmocka_unit_test(test_global_norm),
                                       cmocka_unit_test(test_odd_numbers),  cmocka_unit_test(test_no_class)};
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
