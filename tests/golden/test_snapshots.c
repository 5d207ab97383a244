/* test_snapshots.c - attention, rotary embedding and AdamW against the snapshots of Stanford's CS336 course (vectors/cs336_snapshots). */
#include "unit/cm.h"

#include "golden/folder.h"
#include <rusty/ops.h>

static ry_tensor_file *file;
static ry_device *dev;
static ry_graph *g;

static ry_tensor input(const char *name, ry_feed *f) {
    ry_spec s;
    const void *data;
    size_t bytes;
    assert_ok(ry_tensor_file_find(file, name, &s, &data));
    assert_ok(ry_spec_bytes(&bytes, &s));
    *f = (ry_feed){ry_input(g, &s, name), data, bytes};
    return f->input;
}
static void matches(ry_tensor y, const char *name, double tol) {
    ry_spec s;
    size_t n = 0;
    const float *want = reference(file, name, &s, &n);
    float *got = calloc(n, sizeof *got);
    assert_non_null(want);
    assert_ok(ry_read(g, y, got, n * sizeof *got));
    double d = largest_difference(got, want, n);
    if (d > tol) fail_msg("%s: difference %.3g, allowed %.1g", name, d, tol);
    free(got);
}

/* heads: batches of the file that are heads of one batch */
static void attention(int64_t heads, const char *expected) {
    ry_feed f[4];
    ry_tensor x[4];
    const char *names[] = {"sdpa.q", "sdpa.k", "sdpa.v", "sdpa.mask_keep"};
    ry_graph_reset(g);
    for (int i = 0; i < 4; i++) {
        x[i] = input(names[i], &f[i]);
        const ry_spec *s = ry_spec_of(g, x[i]);
        int64_t b = s->dim[0] / heads, rows = s->dim[1], cols = s->dim[2];
        x[i] = RY_RESHAPE(g, x[i], b, heads, rows, cols);
        if (i < 3) x[i] = ry_transpose(g, x[i], 1, 2); /* [B,T,H,D] */
    }
    ry_tensor hidden = ry_scalar(g, -INFINITY), mask = ry_select(g, x[3], ry_scalar(g, 0), hidden);
    ry_tensor y = ry_attention(g, x[0], x[1], x[2], &(ry_attention_options){.mask = mask});
    y = ry_contiguous(g, ry_transpose(g, y, 1, 2));
    assert_ok(ry_eval(g, 1, &y, 4, f));
    matches(y, expected, 2e-6);
}
static void test_attention(void **state) {
    (void)state;
    attention(1, "sdpa.expected");
    attention(2, "sdpa4d.expected");
}

static void test_rope(void **state) {
    enum { HALF = 32, T = 12 };
    float freq[HALF];
    int32_t pos[T];
    ry_feed f[3];
    (void)state;
    ry_graph_reset(g);
    for (int i = 0; i < HALF; i++) freq[i] = (float)pow(10000, -(double)i / HALF);
    for (int i = 0; i < T; i++) pos[i] = i;
    ry_tensor x = input("rope.x", &f[0]);
    f[1] = (ry_feed){ry_input(g, &RY_SHAPE(RY_I32, T), "pos"), pos, sizeof pos};
    f[2] = (ry_feed){ry_input(g, &RY_SHAPE(RY_F32, HALF), "freq"), freq, sizeof freq};
    ry_tensor y = ry_rope(g, RY_RESHAPE(g, x, 4, T, 1, 2 * HALF), f[1].input, f[2].input,
                          &(ry_rope_options){.interleaved = true});
    assert_ok(ry_eval(g, 1, &y, 3, f));
    matches(y, "rope.expected_interleaved_theta10000", 5e-6);
}

/* y = W x trained to [x0 + x1, -x2] by the square of the error, 1,000 steps of one program. */
static void test_adamw(void **state) {
    ry_spec s;
    size_t n = 0;
    const float *w0 = reference(file, "adamw.w0", &s, &n), *xs, *want;
    ry_var *w, *m, *v;
    ry_program *p;
    (void)state;
    assert_non_null(w0);
    ry_graph_reset(g);
    assert_ok(ry_var_open(&w, dev, &s, "w"));
    assert_ok(ry_var_open(&m, dev, &s, "m"));
    assert_ok(ry_var_open(&v, dev, &s, "v"));
    assert_ok(ry_var_write(w, w0, n * sizeof *w0));
    xs = reference(file, "adamw.inputs", &s, &n);
    assert_non_null(xs);
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 3), "x"), weight = ry_use(g, w), grad;
    ry_tensor parts[] = {ry_add(g, ry_slice(g, x, 0, 0, 1, 1), ry_slice(g, x, 0, 1, 2, 1)),
                         ry_neg(g, ry_slice(g, x, 0, 2, 3, 1))};
    ry_tensor y = ry_linear(g, RY_RESHAPE(g, x, 1, 3), weight, RY_NULL), target = ry_concat(g, 2, parts, 0);
    ry_tensor loss = ry_sum(g, ry_square(g, ry_sub(g, RY_RESHAPE(g, y, 2), target)), 0, false);
    assert_ok(ry_grad(g, loss, RY_NULL, 1, &weight, &grad));
    ry_adamw(
        g, w, grad, m, v, RY_NULL,
        &(ry_adamw_options){.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .step = 1});
    assert_ok(ry_compile(&p, g, 1, &loss, NULL));
    for (int64_t i = 0; i < s.dim[0]; i++) {
        assert_ok(ry_program_set(p, "step", (double)(i + 1)));
        assert_ok(ry_program_feed(p, 0, xs + 3 * i, 3 * sizeof *xs));
        assert_ok(ry_run(p));
    }
    float got[6];
    want = reference(file, "adamw.torch_result", &s, &n);
    assert_non_null(want);
    assert_ok(ry_var_read(w, got, sizeof got));
    double d = largest_difference(got, want, 6);
    if (d > 2e-5) fail_msg("weights after %d steps: difference %.3g", 1000, d);
    ry_program_close(p);
    ry_graph_reset(g);
    ry_var_close(w);
    ry_var_close(m);
    ry_var_close(v);
}

int main(void) {
    char path[1024];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attention), cmocka_unit_test(test_rope),
                                       cmocka_unit_test(test_adamw)};
    if (!test_data(path, sizeof path, "vectors/cs336_snapshots/cs336_attention_rope_adamw.safetensors")) return 77;
    if (ry_tensor_file_open(&file, path) != RY_OK || ry_device_open(&dev, "cpu", NULL) != RY_OK ||
        ry_graph_open(&g, dev) != RY_OK) {
        fprintf(stderr, "%s\n", ry_message());
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ry_graph_close(g);
    ry_device_close(dev);
    ry_tensor_file_close(file);
    return failed;
}
