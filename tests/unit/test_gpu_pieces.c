/* test_gpu_pieces.c - tensors that no binding, and no buffer, of a poor GPU can hold: nodes run in pieces and compute what the CPU does;
 * where that cannot be, the error names the node.  Memory that is not there: how much was asked and held. */
#define _POSIX_C_SOURCE 200809L
#include "base/mem.h"
#include "base/rng.h"
#include "unit/cm.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#define setenv(name, value, replace) _putenv_s(name, value)
#else
#include <sys/resource.h>
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUSTY_SANITIZED /* they hold terabytes of addresses themselves */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RUSTY_SANITIZED
#endif
#endif

enum { V = 3000, LARGE = 20000, C = 128, N = 600, MOST = 16 };
typedef struct result {
    float *at[MOST];
    size_t n[MOST];
    int count;
} result;

static ry_var *noise(ry_device *d, int64_t rows, uint32_t seed) {
    ry_var *v;
    size_t n = (size_t)rows * C;
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    ry_rng_uniform(x, (int64_t)n, 5, seed, 0);
    for (size_t i = 0; i < n; i++) x[i] -= 0.5f;
    assert_ok(ry_var_open(&v, d, &RY_SHAPE(RY_F32, rows, C), "w"));
    assert_ok(ry_var_write(v, x, n * sizeof *x));
    free(x);
    return v;
}

static void keep(result *r, ry_program *p, size_t want, ry_var *v) {
    const ry_spec *s = p ? ry_program_spec(p, want) : ry_var_spec(v);
    size_t bytes, n = (size_t)ry_numel(s);
    assert_ok(ry_spec_bytes(&bytes, s));
    assert_int_equal(bytes, n * sizeof(float));
    r->n[r->count] = n;
    r->at[r->count] = malloc(bytes);
    assert_non_null(r->at[r->count]);
    if (p) assert_ok(ry_fetch(p, want, r->at[r->count], bytes));
    else assert_ok(ry_var_read(v, r->at[r->count], bytes));
    r->count++;
}

static void run(ry_device *d, result *r) {
    ry_graph *g;
    ry_program *p;
    ry_var *w = noise(d, V, 1), *m = noise(d, V, 2), *v = noise(d, V, 3), *large = noise(d, LARGE, 4);
    int32_t ids[N], far[N];
    float up[N * C];
    for (int i = 0; i < N; i++) {
        ids[i] = i < 4 ? (const int32_t[]){0, V - 1, 1, V - 2}[i] : (i * 7919) % V / 3 * 3; /* some often, some never */
        far[i] = (int32_t)((i * 104729LL) % LARGE);
    }
    far[0] = LARGE - 1;
    ry_rng_uniform(up, N * C, 6, 1, 0);
    assert_ok(ry_graph_open(&g, d));
    ry_tensor i = ry_input(g, &RY_SHAPE(RY_I32, N), "ids"), f = ry_input(g, &RY_SHAPE(RY_I32, N), "far"), u = ry_input(g, &RY_SHAPE(RY_F32, N, C), "up"), x = ry_use(g, w), dx;
    ry_tensor y = ry_embedding(g, x, i);
    assert_ok(ry_grad(g, y, u, 1, &x, &dx));
    ry_tensor few = ry_slice(g, u, 0, 0, 8, 1), dw, dh;
    ry_tensor loss = ry_linear_cross_entropy(g, u, x, i, &(ry_linear_ce_options){.ignore = 1, .with_grad = true}), both[] = {u, x}, grads[2];
    assert_ok(ry_grad(g, loss, RY_NULL, 2, both, grads));
    dh = grads[0], dw = grads[1];
    ry_tensor want[] = {y, dx, ry_add(g, ry_exp(g, ry_mul(g, x, ry_scalar(g, 0.1))), ry_use(g, m)), ry_cast(g, ry_cast(g, x, RY_BF16), RY_F32), ry_embedding(g, ry_use(g, large), f), loss, dw, dh,
                        ry_global_norm(g, 3, (ry_tensor[]){dw, dh, x}), ry_linear(g, few, x, RY_NULL), ry_linear(g, few, ry_use(g, large), RY_NULL),
                        ry_matmul(g, few, ry_transpose(g, x, 0, 1))};
    enum { WANTED = sizeof want / sizeof *want };
    ry_adamw_options o = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1, .step = 3};
    (void)ry_adamw(g, w, dx, m, v, RY_NULL, &o);
    assert_ok(ry_compile(&p, g, WANTED, want, NULL));
    assert_ok(ry_program_feed(p, 0, ids, sizeof ids));
    assert_ok(ry_program_feed(p, 1, far, sizeof far));
    assert_ok(ry_program_feed(p, 2, up, sizeof up));
    assert_ok(ry_run(p));
    for (size_t k = 0; k < WANTED; k++) keep(r, p, k, NULL);
    keep(r, NULL, 0, w);
    keep(r, NULL, 0, m);
    ry_program_close(p);
    ry_graph_close(g);
    ry_var_close(w);
    ry_var_close(m);
    ry_var_close(v);
    ry_var_close(large);
}

static void same_as_cpu(void **state) {
    (void)state;
    result r[2] = {0};
    for (int k = 0; k < 2; k++) {
        ry_device *d;
        assert_ok(ry_device_open(&d, k ? "webgpu" : "cpu", NULL));
        run(d, &r[k]);
        ry_device_close(d);
    }
    for (int k = 0; k < r[0].count; k++) {
        double most = 0, scale = 0;
        assert_int_equal(r[0].n[k], r[1].n[k]);
        for (size_t i = 0; i < r[0].n[k]; i++) {
            double e = fabs((double)r[0].at[k][i] - (double)r[1].at[k][i]);
            if (!(e <= most)) most = e;
            scale = fmax(scale, fabs((double)r[0].at[k][i]));
        }
        if (!(most <= 1e-5 * scale)) fail_msg("result %d differs by %.3g of %.3g", k, most, scale);
        free(r[0].at[k]);
        free(r[1].at[k]);
    }
    assert_int_equal(ry_mem_live(), 0);
}

static void others_are_named(void **state) {
    (void)state;
    ry_device *d;
    ry_graph *g;
    ry_program *p = NULL;
    assert_ok(ry_device_open(&d, "webgpu", NULL));
    ry_var *w = noise(d, V, 1);
    assert_ok(ry_graph_open(&g, d));
    ry_tensor y = ry_name(g, ry_cumsum(g, ry_use(g, w), 0, false, false), "rising");
    assert_is(RY_EUNSUPPORTED, ry_compile(&p, g, 1, &y, NULL));
    assert_non_null(strstr(ry_message(), "cumsum"));
    assert_non_null(strstr(ry_message(), "rising"));
    assert_non_null(strstr(ry_message(), "MB"));
    ry_graph_close(g);
    ry_var_close(w);
    ry_device_close(d);
}

/* More than there is: a status that says how much, and all goes on. */
static void memory_refused(void **state) {
    (void)state;
#if defined(_WIN32) || defined(RUSTY_SANITIZED)
    skip();
#else
    ry_device *d;
    ry_var *w = NULL;
    struct rlimit was, less;
    assert_ok(ry_device_open(&d, "webgpu", NULL));
    ry_device_info info;
    ry_device_describe(d, &info);
    ry_var *small = noise(d, V, 1);
    assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
    less = was;
    if (!strcmp(info.type, "SoftwareGpu")) less.rlim_cur = (rlim_t)16 << 30; /* which else promises anything */
    assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    ry_status st = ry_var_open(&w, d, &RY_SHAPE(RY_F32, 400000, 1000000), "everything"); /* 1.6 TB */
    assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
    assert_is(RY_ENOMEM, st);
    assert_non_null(strstr(ry_message(), "everything"));
    assert_non_null(strstr(ry_message(), "1600000.0 MB were asked, 1.5 MB are held"));
    assert_non_null(strstr(ry_message(), info.name));
    result r = {.count = 0};
    run(d, &r);
    for (int k = 0; k < r.count; k++) free(r.at[k]);
    ry_var_close(small);
    ry_device_close(d);
    assert_int_equal(ry_mem_live(), 0);
#endif
}

int main(void) {
    setenv("RUSTY_WEBGPU_LIMITS", "default,binding=1048576,buffer=4194304", 1);
    ry_device *d;
    if (ry_device_open(&d, "webgpu", NULL) != RY_OK) {
        printf("skipped: %s\n", ry_message());
        return 77;
    }
    ry_device_close(d);
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_cpu), cmocka_unit_test(others_are_named), cmocka_unit_test(memory_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
