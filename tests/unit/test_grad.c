/* test_grad.c - differentiation of graphs: sums over uses, broadcasts, dtypes, what has no gradient, and gradients of gradients.
 * Each row's own gradient is checked in tests/ops. */
#include "core/op.h"
#include "unit/graph_fixture.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <string.h>

static ry_tensor input(ry_graph *g, int64_t n) { return ry_input(g, &RY_SHAPE(RY_F32, n), "x"); }
static void eval(ry_graph *g, ry_tensor t, float *y, size_t n, ry_tensor x, const float *data, size_t n_data) {
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){x, data, n_data * sizeof *data}));
    assert_ok(ry_read(g, t, y, n * sizeof *y));
}
static void near(float got, float want, float tol) {
    if (!(fabsf(got - want) <= tol * (fabsf(want) + 1))) print_error("%g, expected %g\n", (double)got, (double)want);
    assert_true(fabsf(got - want) <= tol * (fabsf(want) + 1));
}

/* ---- sums over paths ---- */

static void test_shared_use(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 3), s = ry_square(g, x), y = ry_add(g, ry_mul(g, s, x), ry_add(g, s, s)),
              gx; /* x^3 + 2 x^2 */
    float in[3] = {1, -2, 0.5f}, out[3];
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &gx));
    eval(g, gx, out, 3, x, in, 3);
    for (int i = 0; i < 3; i++) near(out[i], 3 * in[i] * in[i] + 4 * in[i], 1e-6f);
}

/* The same tensor as both factors of a product. */
static void test_same_source_twice(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 2, 2), "x"), y = ry_sum(g, ry_matmul(g, x, x), 0, false), gx;
    float in[4] = {1, 2, 3, 4}, out[4];
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &gx));
    eval(g, gx, out, 4, x, in, 4);
    /* sum_ij (x x)_ij: d/dx_ab = row sum of x at b + column sum of x at a */
    near(out[0], 3 + 4, 1e-6f), near(out[1], 7 + 4, 1e-6f), near(out[2], 3 + 6, 1e-6f), near(out[3], 7 + 6, 1e-6f);
}

static void test_intermediate(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 2), h = ry_mul(g, x, ry_scalar(g, 3)),
              y = ry_sum(g, ry_add(g, ry_square(g, h), x), 0, false), want[3], of[3] = {h, x, y};
    float in[2] = {1, -1}, gh[2], gx[2], gy;
    assert_ok(ry_grad(g, y, RY_NULL, 3, of, want));
    assert_ok(ry_eval(g, 3, want, 1, &(ry_feed){x, in, sizeof in}));
    assert_ok(ry_read(g, want[0], gh, sizeof gh));
    assert_ok(ry_read(g, want[1], gx, sizeof gx));
    assert_ok(ry_read(g, want[2], &gy, sizeof gy));
    assert_true(gh[0] == 6 && gh[1] == -6 && gx[0] == 19 && gx[1] == -17 && gy == 1);
}

static void test_broadcast(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 2, 3), "x"), row = ry_slice(g, x, 0, 0, 1, 1), one = ry_scalar(g, 2);
    ry_tensor col = ry_input(g, &RY_SHAPE(RY_F32, 2, 1), "col"), y = ry_mul(g, ry_mul(g, x, col), one),
              of[3] = {col, one, row}, want[3];
    float in[6] = {1, 2, 3, 4, 5, 6}, c[2] = {1, 10}, gcol[2], gone, grow[3];
    assert_ok(ry_grad(g, y, RY_NULL, 3, of, want));
    assert_true(ry_same_spec(ry_spec_of(g, want[0]), ry_spec_of(g, col)));
    assert_true(ry_same_spec(ry_spec_of(g, want[1]), ry_spec_of(g, one)));
    assert_ok(ry_eval(g, 3, want, 2, (ry_feed[]){{x, in, sizeof in}, {col, c, sizeof c}}));
    assert_ok(ry_read(g, want[0], gcol, sizeof gcol));
    assert_ok(ry_read(g, want[1], &gone, sizeof gone));
    assert_ok(ry_read(g, want[2], grow, sizeof grow));
    assert_true(gcol[0] == 12 && gcol[1] == 30 && gone == 6 + 150);
    assert_true(grow[0] == 0 && grow[2] == 0); /* y was made from x, not from this slice */
}

/* Gradients come in the type of what they belong to. */
static void test_dtypes(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 4), "x"), b = ry_cast(g, x, RY_BF16),
              w = ry_input(g, &RY_SHAPE(RY_F16, 4), "w");
    ry_tensor y = ry_sum(g, ry_mul(g, ry_cast(g, b, RY_F32), ry_cast(g, w, RY_F32)), 0, false), of[3] = {x, b, w},
              want[3];
    float in[4] = {1, 2, 3, 4}, out[4];
    uint16_t half[4] = {0x3C00, 0x4000, 0x3800, 0xBC00}, gb[4]; /* 1 2 0.5 -1 */
    assert_ok(ry_grad(g, y, RY_NULL, 3, of, want));
    for (int i = 0; i < 3; i++) assert_int_equal(ry_spec_of(g, want[i])->dtype, ry_spec_of(g, of[i])->dtype);
    assert_ok(ry_eval(g, 3, want, 2, (ry_feed[]){{x, in, sizeof in}, {w, half, sizeof half}}));
    assert_ok(ry_read(g, want[0], out, sizeof out));
    assert_ok(ry_read(g, want[1], gb, sizeof gb));
    assert_true(out[0] == 1 && out[1] == 2 && out[2] == 0.5f && out[3] == -1);
    assert_true(gb[0] == 0x3F80 && gb[3] == 0xBF80);
}

static void test_upstream(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 3), y = ry_square(g, x), gy = ry_iota(g, &RY_SHAPE(RY_F32, 3), 0, 1, 1), gx;
    float in[3] = {1, 2, 3}, out[3];
    assert_ok(ry_grad(g, y, gy, 1, &x, &gx));
    eval(g, gx, out, 3, x, in, 3);
    assert_true(out[0] == 2 && out[1] == 8 && out[2] == 18);
}

/* Several outputs of one row, of which some are used. */
static void test_outputs(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 4), s = ry_sort(g, x, 0, true), y = ry_mul(g, s, ry_iota(g, &RY_SHAPE(RY_F32, 4), 0, 0, 1)),
              gx;
    float in[4] = {3, 9, 1, 5}, out[4];
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &gx));
    eval(g, gx, out, 4, x, in, 4);
    assert_true(out[0] == 2 && out[1] == 0 && out[2] == 3 && out[3] == 1);
}

/* ---- no dependence, no gradient ---- */

static void test_zeros(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 3), w = ry_input(g, &RY_SHAPE(RY_BF16, 2, 2), "w"),
              step = ry_cast(g, ry_gt(g, x, ry_scalar(g, 0)), RY_F32);
    ry_tensor y = ry_sum(g, step, 0, false), later = ry_exp(g, y), of[3] = {x, w, later}, want[3];
    float in[3] = {1, -2, 3}, out[3] = {7, 7, 7}, end = 7;
    uint16_t bytes[4] = {1, 2, 3, 4};
    assert_ok(ry_grad(g, y, RY_NULL, 3, of, want));
    assert_true(ry_same_spec(ry_spec_of(g, want[1]), ry_spec_of(g, w)));
    assert_ok(ry_eval(g, 3, want, 1, &(ry_feed){x, in, sizeof in}));
    assert_ok(ry_read(g, want[0], out, sizeof out)); /* comparisons are flat */
    assert_ok(ry_read(g, want[1], bytes, sizeof bytes));
    assert_ok(ry_read(g, want[2], &end, sizeof end)); /* y came before it */
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0 && !bytes[0] && !bytes[3] && end == 0);
}

#define REFUSED(status, word, expr)                                         \
    do {                                                                    \
        assert_is(status, expr);                                            \
        if (!strstr(ry_message(), word)) print_error("%s\n", ry_message()); \
        assert_non_null(strstr(ry_message(), word));                        \
        assert_is(status, ry_graph_status(g)); /* it stays */               \
        ry_graph_reset(g);                                                  \
    } while (0)

static ry_status same_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = n->src[0]->spec;
    return RY_OK;
}

static void test_refused(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor gx, x = ry_input(g, &RY_SHAPE(RY_I32, 3), "ids"), y = ry_sum(g, ry_cast(g, x, RY_F32), 0, false);
    REFUSED(RY_EDTYPE, "x[0] is [3] i32", ry_grad(g, y, RY_NULL, 1, &x, &gx));
    assert_true(ry_is_null(gx));
    x = input(g, 3), y = ry_argmax(g, x, 0, false);
    REFUSED(RY_EDTYPE, "y is [] i32", ry_grad(g, y, RY_NULL, 1, &x, &gx));
    x = input(g, 3), y = ry_exp(g, x);
    REFUSED(RY_ESHAPE, "gy is [] f32", ry_grad(g, y, ry_scalar(g, 1), 1, &x, &gx));
    ry_tensor old = ry_scalar(g, 1);
    ry_graph_reset(g);
    x = input(g, 3), y = ry_exp(g, x);
    REFUSED(RY_ESTALE, "gy", ry_grad(g, y, old, 1, &x, &gx));
    x = input(g, 3), y = ry_exp(g, x);
    REFUSED(RY_ESTALE, "x[0]", ry_grad(g, y, RY_NULL, 1, &old, &gx));
    x = input(g, 3);
    REFUSED(RY_ESTALE, "y is null", ry_grad(g, RY_NULL, RY_NULL, 1, &x, &gx));
    static const ry_op flat = {.name = "one_way", .doc = "x", .min_src = 1, .max_src = 1, .infer = same_infer};
    x = input(g, 3), y = ry_name(g, ry_apply(g, &flat, 1, &x, NULL), "layer 7");
    REFUSED(RY_EUNSUPPORTED, "one_way: has no gradient (layer 7)", ry_grad(g, y, RY_NULL, 1, &x, &gx));
}

/* ---- second order ---- */

enum { N = 6, M = 4 };
static ry_tensor weights(ry_graph *g, int64_t n, double step) {
    return ry_sin(g, ry_iota(g, &RY_SHAPE(RY_F32, n), 0, 0.5, step));
}
static ry_tensor matrix(ry_graph *g, ry_tensor x) { return RY_RESHAPE(g, x, M, N); }

static ry_tensor of_softmax(ry_graph *g, ry_tensor x) {
    return ry_mul(g, ry_softmax(g, matrix(g, x), -1), weights(g, N, 1));
}
static ry_tensor of_log_softmax(ry_graph *g, ry_tensor x) {
    return ry_mul(g, ry_log_softmax(g, matrix(g, x), 0), weights(g, N, 1));
}
static ry_tensor of_rms_norm(ry_graph *g, ry_tensor x) {
    return ry_mul(g, ry_rms_norm(g, matrix(g, x), ry_slice(g, x, 0, 0, N, 1), 1e-3), weights(g, N, 0.7));
}
static ry_tensor of_layer_norm(ry_graph *g, ry_tensor x) {
    return ry_mul(g, ry_layer_norm(g, matrix(g, x), ry_slice(g, x, 0, N, 2 * N, 1), ry_slice(g, x, 0, 0, N, 1), 1e-3),
                  weights(g, N, 0.7));
}
static ry_tensor of_silu(ry_graph *g, ry_tensor x) { return ry_silu(g, x); }
static ry_tensor of_gelu(ry_graph *g, ry_tensor x) { return ry_gelu(g, x); }
static ry_tensor of_swiglu(ry_graph *g, ry_tensor x) { return ry_swiglu(g, x, ry_mul(g, x, weights(g, M * N, 0.3))); }
static ry_tensor of_matmul(ry_graph *g, ry_tensor x) {
    ry_tensor a = matrix(g, x);
    return ry_tanh(g, ry_matmul(g, a, ry_matmul(g, ry_transpose(g, a, 0, 1), a)));
}
static ry_tensor of_linear(ry_graph *g, ry_tensor x) {
    return ry_square(g, ry_linear(g, matrix(g, x), ry_slice(g, matrix(g, x), 0, 0, 2, 1), ry_slice(g, x, 0, 0, 2, 1)));
}
static ry_tensor of_logsumexp(ry_graph *g, ry_tensor x) {
    return ry_square(g, ry_logsumexp(g, matrix(g, x), RY_AXIS(1), false));
}
static ry_tensor of_norm(ry_graph *g, ry_tensor x) { return ry_norm(g, matrix(g, x), RY_AXIS(0), false); }
static ry_tensor of_reductions(ry_graph *g, ry_tensor x) {
    ry_tensor a = matrix(g, x);
    return ry_mul(g, ry_square(g, ry_mean(g, a, RY_AXIS(1), true)), ry_sum(g, ry_square(g, a), RY_AXIS(1), true));
}
static ry_tensor of_shapes(ry_graph *g, ry_tensor x) {
    ry_tensor a = matrix(g, x),
              b = ry_concat(g, 2, (ry_tensor[]){ry_slice(g, a, 1, 4, 0, -1), ry_slice(g, a, 1, 0, 3, 2)}, 1);
    return ry_exp(g, ry_cumsum(g, RY_RESHAPE(g, ry_square(g, ry_transpose(g, b, 0, 1)), -1, 3), 0, false, true));
}
static ry_tensor of_division(ry_graph *g, ry_tensor x) {
    return ry_div(g, ry_exp(g, x), ry_add(g, ry_square(g, x), ry_scalar(g, 1)));
}
static ry_tensor of_rope(ry_graph *g, ry_tensor x) {
    ry_tensor y = ry_rope(g, RY_RESHAPE(g, x, 1, 3, 2, 4), ry_iota(g, &RY_SHAPE(RY_I32, 3), 0, 1, 1),
                          ry_iota(g, &RY_SHAPE(RY_F32, 2), 0, 0.3, 0.4), NULL);
    return ry_exp(g, y);
}
static ry_tensor of_cross_entropy(ry_graph *g, ry_tensor x) {
    return ry_square(g, ry_cross_entropy(g, matrix(g, x), ry_iota(g, &RY_SHAPE(RY_I32, M), 0, 1, 1), -100));
}
static ry_tensor of_embedding(ry_graph *g, ry_tensor x) {
    ry_tensor e = ry_embedding(
        g, matrix(g, x), ry_div(g, ry_iota(g, &RY_SHAPE(RY_I32, 5), 0, 0, 1), ry_cast(g, ry_scalar(g, 2), RY_I32)));
    return ry_exp(g, ry_cast(g, e, RY_F32));
}
static ry_tensor of_attention(ry_graph *g, ry_tensor x) {
    ry_tensor q = RY_RESHAPE(g, x, 1, 3, 2, 4), k = ry_slice(g, q, 2, 0, 1, 1), v = ry_slice(g, q, 2, 1, 2, 1);
    return ry_mul(g, RY_RESHAPE(g, ry_attention(g, q, k, v, &(ry_attention_options){.causal = true}), M * N),
                  weights(g, M * N, 0.9));
}

typedef struct second {
    const char *name;
    ry_tensor (*fn)(ry_graph *g, ry_tensor x);
} second;
static const second seconds[] = {{"softmax", of_softmax},     {"log_softmax", of_log_softmax},
                                 {"rms_norm", of_rms_norm},   {"layer_norm", of_layer_norm},
                                 {"silu", of_silu},           {"gelu", of_gelu},
                                 {"swiglu", of_swiglu},       {"matmul", of_matmul},
                                 {"linear", of_linear},       {"logsumexp", of_logsumexp},
                                 {"norm", of_norm},           {"reductions", of_reductions},
                                 {"shapes", of_shapes},       {"division", of_division},
                                 {"rope", of_rope},           {"cross_entropy", of_cross_entropy},
                                 {"embedding", of_embedding}, {"attention", of_attention}};

/* h = sum(c * d y / d x) for fixed c; d h / d x against differences of d y / d x. */
static void test_second_order(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    enum { X = M * N };
    for (size_t k = 0; k < sizeof seconds / sizeof *seconds; k++) {
        float x[X], h2[X], up[X], down[X], c[X];
        ry_graph_reset(g);
        ry_tensor in = input(g, X), y = seconds[k].fn(g, in), want[2];
        assert_ok(ry_graph_status(g));
        assert_ok(ry_grad(g, y, RY_NULL, 1, &in, &want[0]));
        ry_status st = ry_grad(g, ry_mul(g, want[0], weights(g, X, 1.3)), RY_NULL, 1, &in, &want[1]);
        if (st != RY_OK) print_error("%s: %s\n", seconds[k].name, ry_message());
        assert_ok(st);
        for (int i = 0; i < X; i++) x[i] = sinf((float)i * 1.7f + 0.4f), c[i] = sinf(0.5f + 1.3f * (float)i);
        ry_program *p = NULL;
        assert_ok(ry_compile(&p, g, 2, want, NULL));
        assert_ok(ry_program_feed(p, 0, x, sizeof x));
        assert_ok(ry_run(p));
        assert_ok(ry_fetch(p, 1, h2, sizeof h2));
        float scale = 0;
        for (int i = 0; i < X; i++) scale = fmaxf(scale, fabsf(h2[i]));
        assert_true(scale > 1e-3f);
        for (int i = 0; i < X; i++) {
            const float step = 1.0f / 128;
            double d = 0;
            float keep = x[i];
            for (int side = 0; side < 2; side++) {
                x[i] = side ? keep - step : keep + step;
                assert_ok(ry_program_feed(p, 0, x, sizeof x));
                assert_ok(ry_run(p));
                assert_ok(ry_fetch(p, 0, side ? down : up, sizeof up));
            }
            x[i] = keep;
            for (int j = 0; j < X; j++) d += (double)c[j] * ((double)up[j] - (double)down[j]);
            d /= 2 * (double)step;
            if (!(fabs(d - (double)h2[i]) <= 5e-3 * (double)scale))
                print_error("%s: d2 at %d is %g, differences say %g (largest %g)\n", seconds[k].name, i, (double)h2[i],
                            d, (double)scale);
            assert_true(fabs(d - (double)h2[i]) <= 5e-3 * (double)scale);
        }
        ry_program_close(p);
    }
}

/* Third order of something with a known one. */
static void test_third_order(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 2), d = ry_exp(g, ry_mul(g, x, ry_scalar(g, 2)));
    float in[2] = {0, 0.5f}, out[2];
    for (int i = 0; i < 3; i++) assert_ok(ry_grad(g, d, RY_NULL, 1, &x, &d));
    eval(g, d, out, 2, x, in, 2);
    near(out[0], 8, 1e-5f), near(out[1], 8 * expf(1), 1e-5f);
}

static ry_status one_way_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    static const ry_op grad_row = {
        .name = "one_way_grad", .doc = "gy", .min_src = 2, .max_src = 2, .infer = same_infer};
    gx[0] = RY_APPLY(g, &grad_row, NULL, gy[0], ry_src(g, n, 0));
    return RY_OK;
}

static void test_no_second(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    static const ry_op row = {
        .name = "one_way", .doc = "x", .min_src = 1, .max_src = 1, .infer = same_infer, .vjp = one_way_vjp};
    ry_tensor x = input(g, 3), y = ry_apply(g, &row, 1, &x, NULL), gx, gxx;
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &gx));
    REFUSED(RY_EUNSUPPORTED, "one_way_grad: has no gradient of its own: second derivatives end here",
            ry_grad(g, gx, RY_NULL, 1, &x, &gxx));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_shared_use), T(test_same_source_twice), T(test_intermediate), T(test_broadcast),
        T(test_dtypes),     T(test_upstream),          T(test_outputs),      T(test_zeros),
        T(test_refused),    T(test_second_order),      T(test_third_order),  T(test_no_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
