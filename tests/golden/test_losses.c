/* test_losses.c - cross-entropy and what is built around it, values and gradients: hf/losses (float64): mean, given divisor, label
 * smoothing, z-loss, forward and reverse Kullback-Leibler divergence at two temperatures. Labels are shifted by one here. */
#include "unit/cm.h"

#include "golden/folder.h"
#include "golden/on_device.h"
#include <rusty/ops.h>

static ry_tensor_file *file;
static ry_json *numbers;
static ry_device *dev;
static ry_graph *g;

typedef struct setting { /* logits and targets of the positions that have a next one */
    ry_feed feed[3];
    ry_tensor logits, rows, teacher, labels, count, keep; /* [2,T,V], [R,V], [R,V], [R], [], [R] */
    int64_t V;
} setting;

static ry_tensor input(const char *name, ry_feed *f) {
    ry_spec s;
    const void *data;
    size_t bytes;
    assert_ok(ry_tensor_file_find(file, name, &s, &data));
    assert_ok(ry_spec_bytes(&bytes, &s));
    *f = (ry_feed){ry_input(g, &s, name), data, bytes};
    return f->input;
}
static ry_tensor num(double x) { return ry_scalar(g, x); }
static ry_tensor flat(ry_tensor x) {
    const ry_spec *s = ry_spec_of(g, x);
    int64_t T = s->dim[1] - 1, V = s->dim[2];
    return RY_RESHAPE(g, ry_slice(g, x, 1, 0, T, 1), s->dim[0] * T, V);
}
static setting begin(void) {
    setting s;
    ry_graph_reset(g);
    s.logits = input("ce.logits", &s.feed[0]);
    s.teacher = flat(input("ce.teacher_logits", &s.feed[1]));
    ry_tensor labels = input("ce.labels", &s.feed[2]);
    int64_t T = ry_spec_of(g, labels)->dim[1];
    s.labels = RY_RESHAPE(g, ry_slice(g, labels, 1, 1, T, 1), -1);
    s.rows = flat(s.logits);
    s.V = ry_spec_of(g, s.rows)->dim[1];
    s.keep = ry_cast(g, ry_ne(g, s.labels, ry_cast(g, num(-100), RY_I64)), RY_F32);
    s.count = ry_sum(g, s.keep, 0, false);
    return s;
}

static void check(const setting *s, const char *name, ry_tensor loss) {
    double want = 0;
    float got;
    char grad_name[64];
    ry_spec spec;
    size_t n = 0;
    assert_true(ry_json_as_real(ry_json_find(ry_json_find(numbers, "cross_entropy"), name), &want));
    snprintf(grad_name, sizeof grad_name, "ce.grad.%s", name);
    const float *want_grad = reference(file, grad_name, &spec, &n);
    float *grad = calloc(n, sizeof *grad);
    assert_non_null(want_grad);
    ry_tensor y[2] = {loss};
    assert_ok(ry_grad(g, loss, RY_NULL, 1, &s->logits, &y[1]));
    assert_ok(ry_eval(g, 2, y, 3, s->feed));
    assert_ok(ry_read(g, y[0], &got, sizeof got));
    assert_ok(ry_read(g, y[1], grad, n * sizeof *grad));
    if (fabs((double)got - want) > 3e-6 * fabs(want)) fail_msg("%s: %.9g, want %.9g", name, (double)got, want);
    double d = largest_difference(grad, want_grad, n) / largest(want_grad, n);
    if (d > slack * 1e-5) fail_msg("%s: gradient off by %.3g of its largest entry", name, d);
    free(grad);
}

static ry_tensor mean(const setting *s, ry_tensor each) {
    return ry_div(g, ry_sum(g, ry_mul(g, each, s->keep), 0, false), s->count);
}

static void test_cross_entropy(void **state) {
    (void)state;
    setting s = begin();
    check(&s, "mean", ry_div(g, ry_sum(g, ry_cross_entropy(g, s.rows, s.labels, -100), 0, false), s.count));
    s = begin();
    check(&s, "sum_over_17", ry_div(g, ry_sum(g, ry_cross_entropy(g, s.rows, s.labels, -100), 0, false), num(17)));
    s = begin();
    ry_tensor smooth = ry_neg(g, ry_mean(g, ry_log_softmax(g, s.rows, -1), RY_AXIS(-1), false));
    check(&s, "label_smoothing_0.1",
          ry_add(g, ry_mul(g, num(0.9), mean(&s, ry_cross_entropy(g, s.rows, s.labels, -100))),
                 ry_mul(g, num(0.1), mean(&s, smooth))));
    s = begin();
    ry_tensor z = ry_square(g, ry_logsumexp(g, s.rows, RY_AXIS(-1), false));
    check(&s, "z_loss_1e-2",
          ry_add(g, mean(&s, ry_cross_entropy(g, s.rows, s.labels, -100)), ry_mul(g, num(1e-2), mean(&s, z))));
}

/* T^2 KL(a || b) of distributions softened by T */
static ry_tensor divergence(const setting *s, double T, bool forward) {
    ry_tensor student = ry_log_softmax(g, ry_div(g, s->rows, num(T)), -1),
              teacher = ry_log_softmax(g, ry_div(g, s->teacher, num(T)), -1);
    ry_tensor a = forward ? teacher : student, b = forward ? student : teacher;
    ry_tensor each = ry_sum(g, ry_mul(g, ry_exp(g, a), ry_sub(g, a, b)), RY_AXIS(-1), false);
    return ry_mul(g, num(T * T), mean(s, each));
}
static void test_divergence(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double T;
        bool forward;
    } cases[] = {{"forward_kl_T1", 1, true},
                 {"reverse_kl_T1", 1, false},
                 {"forward_kl_T2", 2, true},
                 {"reverse_kl_T2", 2, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setting s = begin();
        check(&s, cases[i].name, divergence(&s, cases[i].T, cases[i].forward));
    }
}

int main(int argc, char **argv) {
    char path[1024], json[1024];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_divergence)};
    if (!take_device(&argc, &argv)) return 77;
    if (!test_data(path, sizeof path, "hf/losses/losses.safetensors") ||
        !test_data(json, sizeof json, "hf/losses/losses.json"))
        return 77;
    if (ry_tensor_file_open(&file, path) != RY_OK || ry_json_read(&numbers, json, 0) != RY_OK ||
        ry_device_open(&dev, device_name, NULL) != RY_OK || ry_graph_open(&g, dev) != RY_OK) {
        fprintf(stderr, "%s\n", ry_message());
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ry_graph_close(g);
    ry_device_close(dev);
    ry_json_free(numbers);
    ry_tensor_file_close(file);
    return failed;
}
