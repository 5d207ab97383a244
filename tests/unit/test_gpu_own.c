/* test_gpu_own.c - an application's row with a kernel text of its own: it computes, bounds are checked until the doctor agrees on this
 * device, and again when the doctor does not. */
#include "core/tune.h"
#include "device/_gpu.h"
#include "unit/cm.h"
#include <rusty/ops.h>
#include <string.h>

#if defined(RUSTY_HAVE_WGPU)

enum { N = 1000 };
static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = n->src[0]->spec;
    return RY_OK;
}
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    out[0] = ry_mul(g, ry_src(g, n, 0), ry_scalar(g, 3));
    return RY_OK;
}
static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_launch_u32(l, "count", ry_count(&n->out[0].spec));
    ry_launch_run(l, "main", (ry_count(&n->out[0].spec) + 255) / 256, 0);
    return RY_OK;
}
static const char text[] = "@compute @workgroup_size(${WG}) fn main(${ARGS}) {\n"
                           "    ${BEGIN}\n"
                           "    let i = 256u * group + t;\n"
                           "    if (i < u.count) { st_o0(i, 3.0 * ld_s0(i)); }\n"
                           "}\n",
                  wrong[] = "@compute @workgroup_size(${WG}) fn main(${ARGS}) {\n"
                            "    ${BEGIN}\n"
                            "    let i = 256u * group + t;\n"
                            "    if (i < u.count) { st_o0(i, 2.0 * ld_s0(i)); }\n"
                            "}\n";
#define SAMPLES {{.name = "some", .src = {{RY_F32, 1, {N}, -1, 1, NULL}}, .n_src = 1}, {0}}
static const ry_sample samples[] = SAMPLES;
#define ROW(called, kernel) \
    {.name = called, .doc = "x -> 3 x", .min_src = 1, .max_src = 1, .infer = infer, .lower = lower, .launch = launch, .wgsl = kernel, .samples = samples}
static const ry_op triple = ROW("own_triple", text), bad = ROW("own_bad", wrong);

static void compute(ry_device *d, const ry_op *op, float y[N]) {
    ry_graph *g;
    float x[N];
    for (int i = 0; i < N; i++) x[i] = (float)(i % 17);
    assert_ok(ry_graph_open(&g, d));
    ry_tensor t = ry_input(g, &RY_SHAPE(RY_F32, N), "x"), out = ry_apply(g, op, 1, &t, NULL);
    assert_ok(ry_eval(g, 1, &out, 1, &(ry_feed){t, x, sizeof x}));
    assert_ok(ry_read(g, out, y, N * sizeof *y));
    ry_graph_close(g);
}

/* How many modules of triple's kernel there are with bounds checks, or without. */
static int modules(ry_device *d, bool trusted) {
    const gpu *g = d->impl;
    int n = 0;
    for (int i = 0; i < GPU_BUCKETS; i++)
        for (const gpu_module *m = g->modules[i]; m; m = m->next) n += m->trusted == trusted && strstr(m->text, "3.0 * ") != NULL;
    return n;
}

static void test_trust(void **state) {
    (void)state;
    ry_device *d;
    float y[N];
    int64_t errors;
    if (ry_device_open(&d, "webgpu", NULL) != RY_OK) skip();
    bool safe = ((const gpu *)d->impl)->safe;
    assert_ok(ry_op_add(&triple));
    assert_ok(ry_op_add(&bad));
    assert_true(tune_trusts(d->tuning, ry_op_find("matmul")));
    for (int round = 0; round < 2; round++) { /* checked, then not */
        compute(d, &triple, y);
        for (int i = 0; i < N; i++) assert_true(y[i] == 3 * (float)(i % 17));
        assert_true((modules(d, true) > 0) == (round == 1 && !safe));
        assert_true(modules(d, false) > 0);
        assert_ok(ry_doctor_run(d, "own_", NULL, NULL, &errors));
        assert_true(errors > 0);
        assert_true(tune_trusts(d->tuning, &triple));
        assert_false(tune_trusts(d->tuning, &bad));
    }
    assert_ok(tune_trust(d->tuning, &triple, false)); /* as the doctor says when it finds one wrong */
    assert_false(tune_trusts(d->tuning, &triple));
    ry_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trust)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
