/* test_gpu_attention.c - attention's kernels on a GPU against the CPU, at shapes that fill and cut several tiles: forward, log-sum-exp
 * and all gradients; and that two runs give the same bits.
 *
 * Samples of the rows (tests/ops, `rusty doctor`) are small; what goes wrong between tiles shows here. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "base/rng.h"
#include "unit/cm.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#define setenv(name, value, replace) _putenv_s(name, value)
#define unsetenv(name)               _putenv_s(name, "")
#endif

enum { CAUSAL = 1, MASK = 2, SEGMENTS = 4, LENGTH = 8, NO_GRAD = 16 };
typedef struct shape {
    int64_t B, T, S, H, G, D, Dv;
    unsigned with;
    int64_t window;
    double cap;
    ry_dtype dtype;
} shape;

enum { OUTPUTS = 5, FEEDS = 8 };
typedef struct feeds {
    ry_feed at[FEEDS];
    size_t n;
} feeds;

static ry_tensor feed(ry_graph *g, feeds *f, ry_spec s, void *data) {
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, &s));
    ry_tensor t = ry_input(g, &s, NULL);
    f->at[f->n++] = (ry_feed){t, data, bytes};
    return t;
}
static ry_tensor noise(ry_graph *g, feeds *f, ry_spec s) {
    int64_t n = ry_numel(&s);
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    ry_rng_uniform(x, n, 11, (uint32_t)f->n, 0);
    for (int64_t i = 0; i < n; i++) x[i] = 4 * x[i] - 2;
    return feed(g, f, s, x);
}
static ry_tensor ids(ry_graph *g, feeds *f, ry_spec s, int32_t first,
                     int32_t each) { /* first, first, ..: the next after `each` */
    int64_t n = ry_numel(&s);
    int32_t *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = each ? (int32_t)(i / each) : first - 7 * (int32_t)i;
    return feed(g, f, s, x);
}

/* o, lse, dq, dk, dv in f32, each to be freed. */
static size_t compute(ry_device *dev, const shape *s, float *out[OUTPUTS], size_t bytes[OUTPUTS]) {
    ry_graph *g;
    feeds f = {.n = 0};
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor raw[3] = {noise(g, &f, RY_SHAPE(RY_F32, s->B, s->T, s->H, s->D)),
                        noise(g, &f, RY_SHAPE(RY_F32, s->B, s->S, s->G, s->D)),
                        noise(g, &f, RY_SHAPE(RY_F32, s->B, s->S, s->G, s->Dv))};
    ry_tensor up = noise(g, &f, RY_SHAPE(RY_F32, s->B, s->T, s->H, s->Dv)), x[3], want[OUTPUTS];
    for (int i = 0; i < 3; i++) x[i] = ry_cast(g, raw[i], s->dtype);
    ry_attention_options o = {
        .causal = (s->with & CAUSAL) != 0, .window = s->window, .softcap = s->cap, .mask = RY_NULL};
    if (s->with & MASK) o.mask = noise(g, &f, RY_SHAPE(RY_F32, s->T, s->S));
    if (s->with & SEGMENTS) {
        o.segment_q = ids(g, &f, RY_SHAPE(RY_I32, s->B, s->T), 0, 37);
        o.segment_k = ids(g, &f, RY_SHAPE(RY_I32, s->B, s->S), 0, 37);
    }
    if (s->with & LENGTH) o.length = ids(g, &f, RY_SHAPE(RY_I32, s->B), (int32_t)s->S - 3, 0);
    size_t n = 2;
    want[0] = ry_attention(g, x[0], x[1], x[2], &o);
    want[1] = ry_out(g, want[0], 1);
    if (!(s->with & NO_GRAD)) {
        assert_ok(ry_grad(g, want[0], ry_cast(g, up, s->dtype), 3, x, want + 2));
        n = OUTPUTS;
    }
    for (size_t i = 0; i < n; i++) want[i] = ry_cast(g, want[i], RY_F32);
    assert_ok(ry_graph_status(g));
    assert_ok(ry_eval(g, n, want, f.n, f.at));
    for (size_t i = 0; i < n; i++) {
        assert_ok(ry_spec_bytes(&bytes[i], ry_spec_of(g, want[i])));
        out[i] = malloc(bytes[i] + 1);
        assert_non_null(out[i]);
        assert_ok(ry_read(g, want[i], out[i], bytes[i]));
    }
    ry_graph_close(g);
    for (size_t i = 0; i < f.n; i++) free((void *)(uintptr_t)f.at[i].data);
    return n;
}

static void agree(const shape *s, const char *what, const float *have, const float *want, size_t n) {
    double most = 0, off = 0, allowed = s->dtype == RY_F32 ? 3e-5 : 1.5e-2;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(want[i])) { /* a row that sees nothing */
            assert_true(have[i] == want[i]);
            continue;
        }
        double d = fabs((double)have[i] - (double)want[i]);
        if (!(d <= off)) off = d, at = i;
        if (fabs((double)want[i]) > most) most = fabs((double)want[i]);
    }
    if (off <= allowed * most) return;
    print_error("B %d T %d S %d H %d G %d D %d Dv %d with %u window %d cap %g %s: %s is off by %g of %g at %zu\n",
                (int)s->B, (int)s->T, (int)s->S, (int)s->H, (int)s->G, (int)s->D, (int)s->Dv, s->with, (int)s->window,
                s->cap, ry_dtype_name(s->dtype), what, off, most, at);
    fail();
}

static const shape shapes[] = {
    {2, 150, 150, 4, 2, 64, 64, CAUSAL | NO_GRAD, 20, 0, RY_F32}, /* FORWARD of them without gradients */
    {1, 130, 200, 2, 1, 96, 80, CAUSAL | NO_GRAD, 0, 0, RY_F32},
    {2, 150, 150, 4, 2, 64, 64, CAUSAL, 0, 0, RY_F32},
    {1, 130, 200, 2, 1, 128, 128, CAUSAL, 0, 0, RY_F32},
    {1, 70, 190, 2, 2, 16, 24, CAUSAL | LENGTH, 50, 1.5, RY_F32},
    {2, 110, 110, 4, 2, 16, 16, CAUSAL | SEGMENTS, 0, 0, RY_BF16},
    {2, 90, 90, 2, 1, 16, 16, MASK | SEGMENTS | LENGTH | CAUSAL, 0, 3, RY_F32},
    {1, 66, 70, 2, 2, 192, 161, 0, 0, 0, RY_F16},
    {2, 1, 300, 8, 2, 64, 64, CAUSAL | LENGTH | NO_GRAD, 0, 0, RY_F32},
    {2, 1, 300, 4, 4, 128, 128, CAUSAL | LENGTH | NO_GRAD, 100, 0, RY_F16},
    {1, 3, 300, 6, 2, 80, 80, CAUSAL | LENGTH | NO_GRAD, 0, 2, RY_F32},
    {2, 2, 300, 4, 2, 30, 27, CAUSAL | MASK | SEGMENTS | LENGTH | NO_GRAD, 0, 0, RY_F32},
    {2, 1, 900, 20, 2, 16, 16, CAUSAL | NO_GRAD, 0, 0, RY_F32},
    {2, 2, 300, 4, 2, 32, 28, CAUSAL | MASK | SEGMENTS | LENGTH | NO_GRAD, 0, 0, RY_F32},
    {3, 4, 70, 6, 2, 48, 80, CAUSAL | SEGMENTS | LENGTH | NO_GRAD, 0, 0, RY_F32},
    {1, 2, 90, 3, 3, 256, 192, CAUSAL | MASK | NO_GRAD, 30, 0, RY_BF16},
    {1, 1, 4000, 6, 2, 64, 64, CAUSAL | LENGTH | NO_GRAD, 0, 0, RY_F32}, /* in parts */
};

/* Shapes [from, to) with the kernels' variant of that name, where it may be; NULL: the default. */
static void check(ry_device *cpu, const char *variant, size_t from, size_t to) {
    static const char *const what[OUTPUTS] = {"o", "the log-sum-exp", "dq", "dk", "dv"};
    ry_device *gpu;
    if (variant) setenv("RUSTY_VARIANT", variant, 1);
    ry_status st = ry_device_open(&gpu, "webgpu", NULL);
    if (st != RY_OK) {
        print_message("no GPU: %s\n", ry_message());
        unsetenv("RUSTY_VARIANT");
        skip();
    }
    for (size_t i = from; i < to; i++) {
        float *want[OUTPUTS], *have[OUTPUTS], *again[OUTPUTS];
        size_t bytes[OUTPUTS], n = compute(cpu, &shapes[i], want, bytes);
        compute(gpu, &shapes[i], have, bytes);
        compute(gpu, &shapes[i], again, bytes);
        for (size_t k = 0; k < n; k++) {
            agree(&shapes[i], what[k], have[k], want[k], bytes[k] / sizeof(float));
            assert_memory_equal(have[k], again[k], bytes[k]);
            free(again[k]);
            free(want[k]);
            free(have[k]);
        }
    }
    ry_device_close(gpu);
    unsetenv("RUSTY_VARIANT");
}

enum { SHAPES = sizeof shapes / sizeof *shapes, FORWARD = 2 };
static void defaults(void **state) { check(*state, NULL, 0, SHAPES); }
static void other_tiles(void **state) { /* the software driver's default is none of these */
    check(*state, "small", 0, 1);
    check(*state, "64", 0, 1);
    check(*state, "128", 1, 2);
    check(*state, "large", FORWARD, FORWARD + 2);
}
/* Where there is no room to keep all weights and scores' gradients at once: rounds of some heads, and of some strips of one head's queries. */
static void rounds(void **state) {
    for (int i = 0; i < 2; i++) {
        setenv("RUSTY_WEBGPU_LIMITS", i ? "binding=100000" : "binding=500000", 1);
        check(*state, NULL, FORWARD + 2, FORWARD + 5);
        unsetenv("RUSTY_WEBGPU_LIMITS");
    }
}

static int setup(void **state) { return ry_device_open((ry_device **)state, "cpu", NULL) != RY_OK; }
static int teardown(void **state) {
    ry_device_close(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults), cmocka_unit_test(other_tiles),
                                       cmocka_unit_test(rounds)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
