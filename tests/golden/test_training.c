/* test_training.c - full fine-tuning of every reference run whose family Rusty knows: 20 optimiser steps, losses, norms, final weights;
 * and the learning-rate schedules.  Tolerances: hf/README.md (1e-4 on losses, 2e-4 on weights), twice that on a GPU. */
#include "unit/cm.h"

#include "golden/folder.h"
#include "golden/on_device.h"
#include "train/train.h"

typedef struct run { double loss[64], norm[64]; int n; } run;

static void on_step(void *ud, const ry_train_step *s) {
    run *r = ud;
    if (s->is_eval || r->n == 64) return;
    r->loss[r->n] = s->loss;
    r->norm[r->n++] = s->grad_norm;
}

static const char *text_of(const ry_json *j, const char *key) {
    const char *s = "";
    assert_ok(ry_json_text(&s, j, "ref.json", key, false));
    return s;
}

/* Micro-batches as rows of one data file: [step, micro-batch, row, token] -> [rows, token]. */
static void flatten(const char *from, const char *to, int64_t *batch, int64_t *accum) {
    ry_tensor_file *f;
    ry_named_data t[2] = {{.name = "input_ids"}, {.name = "labels"}};
    assert_ok(ry_tensor_file_open(&f, from));
    for (int i = 0; i < 2; i++) {
        assert_ok(ry_tensor_file_find(f, t[i].name, &t[i].spec, &t[i].data));
        assert_int_equal(t[i].spec.rank, 4);
        *accum = t[i].spec.dim[1];
        *batch = t[i].spec.dim[2];
        t[i].spec = RY_SHAPE(t[i].spec.dtype, t[i].spec.dim[0] * *accum * *batch, t[i].spec.dim[3]);
    }
    assert_ok(ry_tensor_file_write(to, 2, t, NULL));
    ry_tensor_file_close(f);
}

static double at(const ry_json *array, int i) {
    double v = NAN;
    assert_true(ry_json_as_real(ry_json_at(array, (size_t)i), &v));
    return v;
}

static int checked;

static bool check_family(void *ud, const char *family) {
    char root[512], path[700], base[700], data[64];
    run r = {.n = 0};
    ry_json *ref;
    ry_model *m;
    ry_data *d;
    const ry_json *losses, *norms;
    if (!test_data(root, sizeof root, "hf")) return false;
    snprintf(path, sizeof path, "%s/training/%s/full/ref.json", root, family);
    if (os_kind(path) != OS_FILE) return true;
    snprintf(base, sizeof base, "%s/models/%s", root, family);
    ry_status st = ry_model_open(&m, ud, base, &(ry_model_options){.master_f32 = true});
    if (st == RY_EUNSUPPORTED) return true;
    assert_ok(st);
    assert_ok(ry_json_read(&ref, path, RY_JSON_LENIENT));
    ry_train_options o = {.no_shuffle = true, .on_step = on_step, .ud = &r, .weight_decay = -1};
    snprintf(path, sizeof path, "%s/training/%s/batches.safetensors", root, family);
    snprintf(data, sizeof data, "golden_training_%s.safetensors", device_name); /* CPU and GPU may run at one time */
    flatten(path, data, &o.batch_size, &o.grad_accum);
    assert_ok(ry_data_open(&d, data, NULL, NULL));
    assert_ok(ry_json_array(&losses, ref, "ref.json", "losses_f32", true));
    assert_ok(ry_json_array(&norms, ref, "ref.json", "grad_norms_f32", true));
    o.iters = (int64_t)ry_json_count(losses);
    assert_ok(ry_json_real(&o.lr, ref, "ref.json", "lr", 0, 1, true));
    assert_ok(ry_json_real(&o.weight_decay, ref, "ref.json", "weight_decay", 0, 1, false));
    o.warmup = strtol(strpbrk(text_of(ref, "schedule"), "0123456789"), NULL, 10);
    o.decay_all = strstr(text_of(ref, "decay_on"), "all parameters") != NULL;
    o.loss_norm_micro_batch = strstr(text_of(ref, "loss_norm"), "mean loss times") != NULL;
    assert_ok(ry_train(m, d, NULL, &o));
    assert_int_equal(r.n, o.iters);
    for (int i = 0; i < r.n; i++) {
        if (!(fabs(r.loss[i] - at(losses, i)) <= slack * 1e-4)) fail_msg("%s: loss of step %d is %.7f, not %.7f", family, i + 1, r.loss[i], at(losses, i));
        if (!(fabs(r.norm[i] - at(norms, i)) <= slack * 1e-3)) fail_msg("%s: norm of step %d is %.7f, not %.7f", family, i + 1, r.norm[i], at(norms, i));
    }
    ry_tensor_file *f;
    double most = 0;
    snprintf(path, sizeof path, "%s/training/%s/full/final_weights.safetensors", root, family);
    assert_ok(ry_tensor_file_open(&f, path));
    for (size_t i = 0; i < ry_model_var_count(m); i++) {
        ry_var *v = ry_model_var(m, i);
        ry_spec s;
        size_t n = 0;
        const float *want = reference(f, ry_var_name(v), &s, &n);
        if (!want) continue; /* tied: saved once */
        float *got = ry_mem_alloc(n * sizeof *got);
        assert_ok(ry_var_read(v, got, n * sizeof *got));
        double err = largest_difference(got, want, n);
        ry_mem_free(got);
        if (err > most) most = err;
        if (!(err <= slack * 2e-4)) fail_msg("%s: %s differs by %.3g after training", family, ry_var_name(v), err);
    }
    printf("%s: %d steps, weights differ by %.3g\n", family, r.n, most);
    checked++;
    ry_tensor_file_close(f);
    ry_json_free(ref);
    ry_data_close(d);
    ry_model_close(m);
    os_remove_tree(data);
    return true;
}

static void test_full(void **state) {
    char root[512];
    ry_device *d;
    (void)state;
    if (!test_data(root, sizeof root, "hf/training")) skip();
    assert_ok(ry_device_open(&d, device_name, NULL));
    assert_ok(os_list(root, check_family, d));
    ry_device_close(d);
    assert_true(checked > 0);
}

static void test_schedules(void **state) {
    char path[512];
    ry_json *j;
    int known = 0;
    (void)state;
    if (!test_data(path, sizeof path, "hf/losses/schedules.json")) skip();
    assert_ok(ry_json_read(&j, path, 0));
    for (size_t i = 0; i < ry_json_count(j); i++) {
        const ry_json *s = ry_json_at(j, i), *values;
        const char *name = text_of(s, "name");
        int64_t warmup = 0, steps = 0;
        double lr = 0;
        train_schedule kind;
        if (!strcmp(name, "constant_with_warmup")) name = "constant";
        else if (!strcmp(name, "constant")) warmup = -1; /* transformers' plain constant ignores warm-up */
        if (ry_json_count(ry_json_path(s, "args")) || train_schedule_find(&kind, name) != RY_OK) continue;
        bool plain = warmup < 0;
        assert_ok(ry_json_int(&warmup, s, path, "warmup", 0, 1000, true));
        assert_ok(ry_json_int(&steps, s, path, "steps", 1, 100000, true));
        assert_ok(ry_json_real(&lr, s, path, "lr", 0, 1, true));
        assert_ok(ry_json_array(&values, s, path, "values", true));
        for (size_t k = 0; k < ry_json_count(values); k++) {
            double got = lr * train_schedule_at(kind, (int64_t)k, plain ? 0 : warmup, steps);
            if (fabs(got - at(values, (int)k)) > 1e-12) fail_msg("%s, warm-up %lld: step %zu has %.12g, not %.12g", name, (long long)warmup, k, got, at(values, (int)k));
        }
        known++;
    }
    printf("%d schedules\n", known);
    assert_true(known >= 4);
    ry_json_free(j);
}

int main(int argc, char **argv) {
    if (!take_device(&argc, &argv)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full), cmocka_unit_test(test_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
