/* test_gpu_alloc.c - host memory that runs out while a GPU is opened, a program is built on it and run: a clean status, nothing held, and
 * the device goes on. */
#include "unit/alloc_fault.h"

static ry_device *kept;

static ry_status open_and_close(void *ud) {
    ry_device *d = NULL, *plan = NULL;
    (void)ud;
    ry_status st = ry_device_open(&d, "webgpu", NULL);
    if (st == RY_OK) st = ry_device_open(&plan, "null", &(ry_device_options){.like = d});
    ry_device_close(plan);
    ry_device_close(d);
    return st;
}

/* On a device that has the kernels already. Views, a chain, a product, a reduction, an optimiser with dynamic arguments. */
static ry_status build_and_run(void *ud) {
    ry_graph *g = NULL;
    ry_var *w = NULL, *m = NULL, *v = NULL;
    ry_program *p = NULL;
    float x[24] = {1, 2, 3}, y;
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_var_open(&w, kept, &RY_SHAPE(RY_F32, 6, 6), "w"));
    RY_GO(st, done, ry_var_open(&m, kept, &RY_SHAPE(RY_F32, 6, 6), "m"));
    RY_GO(st, done, ry_var_open(&v, kept, &RY_SHAPE(RY_F32, 6, 6), "v"));
    RY_GO(st, done, ry_graph_open(&g, kept));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 4, 6), "x"), wt = ry_use(g, w), gx;
    ry_tensor h = ry_silu(g, ry_add(g, ry_linear(g, in, wt, RY_NULL), ry_slice(g, in, 1, 5, -7, -1)));
    ry_tensor loss = ry_sum(g, h, 0, false);
    RY_GO(st, done, ry_grad(g, loss, RY_NULL, 1, &wt, &gx));
    (void)ry_adamw(g, w, gx, m, v, RY_NULL, &(ry_adamw_options){.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .step = 1});
    RY_GO(st, done, ry_compile(&p, g, 1, &loss, &(ry_compile_options){.no_cache = true}));
    for (int step = 1; step < 3; step++) {
        RY_GO(st, done, ry_program_set(p, "step", step));
        RY_GO(st, done, ry_program_feed(p, 0, x, sizeof x));
        RY_GO(st, done, ry_run(p));
        RY_GO(st, done, ry_fetch(p, 0, &y, sizeof y));
    }
done:
    ry_program_close(p);
    ry_graph_close(g);
    ry_var_close(w);
    ry_var_close(m);
    ry_var_close(v);
    return st;
}

static ry_status open_build_and_run(void *ud) {
    ry_device *d = NULL, *was = kept;
    ry_status st = ry_device_open(&d, "webgpu", NULL);
    if (st == RY_OK) {
        kept = d;
        st = build_and_run(ud);
        kept = was;
    }
    ry_device_close(d);
    return st;
}

static void test_open(void **state) { (void)state, fault_sweep("opening a GPU", open_and_close, 60, 20); }
static void test_programs(void **state) { (void)state, fault_sweep("programs on a GPU", build_and_run, 400, 0); }
static void test_kernels(void **state) { (void)state, fault_sweep("kernels on a GPU", open_build_and_run, 20, 100); }

int main(void) {
    if (ry_device_open(&kept, "webgpu", NULL) != RY_OK) {
        printf("skipped: %s\n", ry_message());
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open), cmocka_unit_test(test_programs), cmocka_unit_test(test_kernels)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ry_device_close(kept);
    return failed;
}
