/* test_optimizers.c - trajectories of torch's optimisers over 12 steps: one program per optimiser, its step number fed as data.
 *
 * Reference: hf/losses/optimizers.* (float64); settings that Rusty's sgd and adamw do not have are not compared, and said. */
#include "unit/cm.h"

#include "golden/folder.h"
#include "golden/on_device.h"

enum { STEPS = 12, SAVED = 4 };
static const int saved_after[SAVED] = {1, 2, 6, 12};

typedef struct bed { /* one parameter under one optimiser */
    ry_device *dev;
    ry_graph *g;
    ry_var *w, *m, *v;
    ry_program *p;
} bed;

static double number(const ry_json *o, const char *key) {
    double v = 0;
    bool b = false;
    const ry_json *j = ry_json_find(o, key);
    if (ry_json_as_bool(j, &b)) return b;
    (void)ry_json_as_real(j, &v);
    return v;
}

static void make(bed *b, const ry_json *o, const ry_spec *s) {
    assert_ok(ry_device_open(&b->dev, device_name, NULL));
    assert_ok(ry_graph_open(&b->g, b->dev));
    assert_ok(ry_var_open(&b->w, b->dev, s, "w"));
    assert_ok(ry_var_open(&b->m, b->dev, s, "m"));
    assert_ok(ry_var_open(&b->v, b->dev, s, "v"));
    ry_tensor grad = ry_input(b->g, s, "grad"), w;
    const ry_json *betas = ry_json_find(o, "betas");
    if (betas) {
        ry_adamw_options a = {
            .lr = number(o, "lr"), .eps = number(o, "eps"), .weight_decay = number(o, "weight_decay"), .step = 1};
        assert_true(ry_json_as_real(ry_json_at(betas, 0), &a.beta1) && ry_json_as_real(ry_json_at(betas, 1), &a.beta2));
        w = ry_adamw(b->g, b->w, grad, b->m, b->v, RY_NULL, &a);
    } else {
        ry_sgd_options a = {.lr = number(o, "lr"),
                            .momentum = number(o, "momentum"),
                            .dampening = number(o, "dampening"),
                            .weight_decay = number(o, "weight_decay"),
                            .nesterov = number(o, "nesterov") != 0,
                            .step = 1};
        w = ry_sgd(b->g, b->w, grad, b->m, RY_NULL, &a);
    }
    assert_ok(ry_compile(&b->p, b->g, 1, &w, NULL));
}

static void end(bed *b) {
    ry_program_close(b->p);
    ry_graph_close(b->g);
    ry_var_close(b->w);
    ry_var_close(b->m);
    ry_var_close(b->v);
    ry_device_close(b->dev);
}

static void follow(const ry_tensor_file *f, const char *name, const ry_json *o, const char *which) {
    char key[96];
    ry_spec s, all, steps;
    size_t n = 0, count = 0, unused = 0;
    bed b = {0};
    snprintf(key, sizeof key, "%s0", which);
    const float *start = reference(f, key, &s, &n);
    snprintf(key, sizeof key, "grad_%s", which);
    const float *grad = reference(f, key, &steps, &unused);
    snprintf(key, sizeof key, "%s.%s", name, which);
    const float *want = reference(f, key, &all, &count);
    assert_true(start && grad && want && count == SAVED * n && steps.dim[0] == STEPS);
    make(&b, o, &s);
    assert_ok(ry_var_write(b.w, start, n * sizeof *start));
    float *got = ry_mem_alloc(n * sizeof *got);
    assert_non_null(got);
    for (int step = 1, k = 0; step <= STEPS; step++) {
        assert_ok(ry_program_set(b.p, "step", step));
        assert_ok(ry_program_feed(b.p, 0, grad + (size_t)(step - 1) * n, n * sizeof *grad));
        assert_ok(ry_run(b.p));
        if (step != saved_after[k]) continue;
        assert_ok(ry_fetch(b.p, 0, got, n * sizeof *got));
        double d = largest_difference(got, want + (size_t)k++ * n, n);
        if (d > 2e-6) print_error("%s.%s after step %d: off by %.3g\n", name, which, step, d);
        assert_true(d <= 2e-6);
    }
    ry_mem_free(got);
    end(&b);
}

static void test_trajectories(void **state) {
    char path[512];
    ry_tensor_file *f;
    ry_json *j;
    int compared = 0;
    (void)state;
    if (!test_data(path, sizeof path, "hf/losses/optimizers.json")) skip();
    assert_ok(ry_json_read(&j, path, 0));
    assert_non_null(test_data(path, sizeof path, "hf/losses/optimizers.safetensors"));
    assert_ok(ry_tensor_file_open(&f, path));
    const ry_json *settings = ry_json_find(j, "settings");
    for (ry_json_it it = ry_json_first(settings); it.value; it = ry_json_next(settings, it)) {
        bool ours = !strncmp(it.key, "sgd", 3) || !strncmp(it.key, "adamw", 5);
        if (!ours || number(it.value, "amsgrad") != 0 || number(it.value, "maximize") != 0) {
            print_message("not compared: %s\n", it.key);
            continue;
        }
        follow(f, it.key, it.value, "w");
        follow(f, it.key, it.value, "b");
        compared++;
    }
    assert_true(compared >= 6);
    ry_tensor_file_close(f);
    ry_json_free(j);
}

int main(int argc, char **argv) {
    if (!take_device(&argc, &argv)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trajectories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
