/* test_lowered.c - rows that a device has no kernel for, run as simpler rows: values, gradients of the row itself, several outputs,
 * views, programs that are met again. The device is the CPU that claims to need kernels. */
#include "core/graph.h"
#include "core/plan.h"
#include "unit/cm.h"
#include <rusty/ops.h>
#include <string.h>

static int row_runs; /* of the row's own cpu(): stays 0 */

/* twice: x -> 2 x as a view, 3 x; a gradient that no formula would give tells that the row was differentiated. */
static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = out[1] = n->src[0]->spec;
    out[0].dim[0] = n->src[0]->spec.dim[1], out[0].dim[1] = n->src[0]->spec.dim[0];
    return RY_OK;
}
static ry_status cpu(const ry_cpu *c) {
    (void)c;
    row_runs++;
    return RY_OK;
}
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor x = ry_src(g, n, 0);
    out[0] = ry_transpose(g, ry_add(g, x, x), 0, 1);
    out[1] = ry_mul(g, x, ry_scalar(g, 3));
    return RY_OK;
}
static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    (void)n;
    gx[0] = ry_mul(g, ry_transpose(g, ry_mul(g, gy[0], ry_res(g, n, 0)), 0, 1), ry_scalar(g, 100));
    return RY_OK;
}
static const ry_op twice = {.name = "lowered_twice", .min_src = 1, .max_src = 1, .infer = infer, .cpu = cpu, .lower = lower, .vjp = vjp};

static ry_status wrong_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    out[0] = ry_src(g, n, 0);
    return RY_OK;
}
static const ry_op wrong = {.name = "lowered_wrong", .min_src = 1, .max_src = 1, .infer = infer, .cpu = cpu, .lower = wrong_lower};

static ry_status work(ry_device *d, const ry_node *n, ry_work *w) {
    (void)d;
    if (n->op == &twice) return ry_fail_node(n, RY_EUNSUPPORTED, "has no kernel");
    if (n->op->work) *w = n->op->work(n);
    return RY_OK;
}

typedef struct fixture {
    ry_device *dev;
    ry_device_api api;
    ry_graph *g;
} fixture;
static int setup(void **state) {
    static fixture f;
    assert_ok(ry_device_open(&f.dev, "cpu", &(ry_device_options){.threads = 1}));
    f.api = *f.dev->api;
    f.api.work = work;
    f.dev->api = &f.api;
    assert_ok(ry_graph_open(&f.g, f.dev));
    row_runs = 0;
    *state = &f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    ry_graph_close(f->g);
    ry_device_close(f->dev);
    return 0;
}

static void test_values(void **state) {
    fixture *f = *state;
    float in[6] = {1, 2, 3, 4, 5, 6}, a[6], b[6], c[3];
    for (int turn = 0; turn < 2; turn++) { /* the second time from the plan cache */
        ry_tensor x = ry_input(f->g, &RY_SHAPE(RY_F32, 2, 3), "x"), y = ry_apply(f->g, &twice, 1, &x, NULL);
        assert_ok(ry_graph_status(f->g));
        assert_int_equal(ry_spec_of(f->g, y)->dim[0], 3);
        ry_tensor want[3] = {y, ry_out(f->g, y, 1), ry_sum(f->g, ry_slice(f->g, y, 1, 1, 2, 1), RY_AXIS(1), false)};
        assert_ok(ry_eval(f->g, 3, want, 1, &(ry_feed){x, in, sizeof in}));
        assert_ok(ry_read(f->g, want[0], a, sizeof a));
        assert_ok(ry_read(f->g, want[1], b, sizeof b));
        assert_ok(ry_read(f->g, want[2], c, sizeof c));
        for (int i = 0; i < 6; i++) {
            assert_true(a[i % 3 * 2 + i / 3] == 2 * in[i]);
            assert_true(b[i] == 3 * in[i]);
        }
        for (int i = 0; i < 3; i++) assert_true(c[i] == 2 * in[3 + i]);
        for (int i = 0; i < 6; i++) in[i] += 7;
        ry_graph_reset(f->g);
    }
    assert_int_equal(row_runs, 0);
}

static void test_gradient_is_the_rows(void **state) {
    fixture *f = *state;
    ry_tensor x = ry_input(f->g, &RY_SHAPE(RY_F32, 2, 2), "x"), y = ry_apply(f->g, &twice, 1, &x, NULL), gx;
    float in[4] = {1, 2, 3, 4}, out[4];
    assert_ok(ry_grad(f->g, y, RY_NULL, 1, &x, &gx));
    assert_ok(ry_eval(f->g, 1, &gx, 1, &(ry_feed){x, in, sizeof in}));
    assert_ok(ry_read(f->g, gx, out, sizeof out));
    for (int i = 0; i < 4; i++) assert_true(out[i] == 200 * in[i]);
    assert_int_equal(row_runs, 0);
}

static void test_in_recomputation(void **state) {
    fixture *f = *state;
    ry_tensor x = ry_input(f->g, &RY_SHAPE(RY_F32, 2, 2), "x"), gx;
    ry_recompute_begin(f->g);
    ry_tensor y = ry_square(f->g, ry_apply(f->g, &twice, 1, &x, NULL));
    ry_recompute_end(f->g);
    float in[4] = {1, 2, 3, 4}, out[4];
    assert_ok(ry_grad(f->g, ry_sum(f->g, y, 0, false), RY_NULL, 1, &x, &gx));
    assert_ok(ry_eval(f->g, 1, &gx, 1, &(ry_feed){x, in, sizeof in}));
    assert_ok(ry_read(f->g, gx, out, sizeof out));
    for (int i = 0; i < 4; i++) assert_true(out[i] == 2 * (2 * in[i]) * (2 * in[i]) * 100);
}

static void test_wrong_shape_is_an_error(void **state) {
    fixture *f = *state;
    ry_tensor x = ry_input(f->g, &RY_SHAPE(RY_F32, 2, 3), "x");
    assert_true(ry_is_null(ry_apply(f->g, &wrong, 1, &x, NULL)));
    assert_int_equal(ry_graph_status(f->g), RY_EINTERNAL);
    assert_non_null(strstr(ry_message(), "lowered_wrong"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gradient_is_the_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_recomputation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_shape_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
