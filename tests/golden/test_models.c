/* test_models.c - every reference model whose family Rusty knows: logits, losses, gradients, greedy tokens against transformers in double
 * precision.  Tolerances: hf/README.md (2e-4 on logits, 1e-4 of the largest entry on gradients), twice that on a GPU. */
#include "unit/cm.h"

#include "golden/folder.h"
#include "golden/on_device.h"

enum { LOGITS_TOL_1E6 = 200, GRAD_TOL_1E6 = 100 };
static int checked, unknown;

typedef struct model_case {
    char path[600];
    ry_device *dev;
    ry_model *m;
    ry_tensor_file *ref;
} model_case;

static void check_logits(const model_case *c, const char *ids_name, int row, const char *want_name) {
    ry_spec is, ws;
    size_t n_ids = 0, n_want = 0;
    const int32_t *ids = reference(c->ref, ids_name, &is, &n_ids);
    const float *want = reference(c->ref, want_name, &ws, &n_want);
    if (!ids || !want) return;
    int64_t T = is.dim[1], rows = ws.dim[0], V = ws.dim[1];
    float *got = ry_mem_alloc((size_t)(T * V) * sizeof *got);
    ry_graph *g;
    assert_ok(ry_graph_open(&g, c->dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, T), "ids"), y = ry_model_logits(g, c->m, in);
    assert_ok(ry_eval(g, 1, &y, 1, &(ry_feed){in, ids + row * T, (size_t)T * sizeof *ids}));
    assert_ok(ry_read(g, y, got, (size_t)(T * V) * sizeof *got));
    ry_graph_close(g);
    double err = largest_difference(got, want, (size_t)(rows * V)); /* right padding changes nothing before it */
    ry_mem_free(got);
    if (err > slack * LOGITS_TOL_1E6 * 1e-6) fail_msg("%s: %s differs by %.3g", c->path, want_name, err);
}

static void check_greedy(const model_case *c) {
    ry_spec ps, ss;
    size_t n_prompt = 0, n = 0;
    const int32_t *prompt = reference(c->ref, "gen_a.prompt", &ps, &n_prompt), *want = reference(c->ref, "gen_a.sequence", &ss, &n);
    if (!prompt || !want) return;
    ry_session *s;
    assert_ok(ry_session_open(&s, c->m, &(ry_session_options){.context = (int64_t)n}));
    assert_ok(ry_session_feed(s, prompt, n_prompt, NULL, false));
    for (size_t i = n_prompt; i < n; i++) {
        int32_t id;
        assert_ok(ry_session_next(s, NULL, &id));
        if (id != want[i]) fail_msg("%s: greedy token %zu is %d, not %d", c->path, i, id, want[i]);
    }
    ry_session_close(s);
}

static double mean_loss(const model_case *c, const char *ids_name, const char *labels_name, ry_tensor_file *grads) {
    ry_spec is, ls;
    size_t n = 0, n_labels = 0;
    const int32_t *ids = reference(c->ref, ids_name, &is, &n), *labels = reference(c->ref, labels_name, &ls, &n_labels);
    if (!ids || !labels) return NAN;
    int64_t B = is.dim[0], T = is.dim[1];
    int32_t *targets = ry_mem_alloc(n * sizeof *targets);
    float tokens = 0, loss;
    for (int64_t i = 0; i < B * T; i++) {
        targets[i] = i % T == T - 1 ? -100 : labels[i + 1];
        tokens += targets[i] != -100;
    }
    float scale = 1 / tokens;
    size_t n_vars = grads ? ry_model_var_count(c->m) : 0, bytes;
    ry_tensor *x = ry_mem_alloc((n_vars + 1) * sizeof *x), *want = ry_mem_alloc((n_vars + 1) * sizeof *want);
    ry_graph *g;
    assert_ok(ry_graph_open(&g, c->dev));
    ry_tensor in = ry_input(g, &is, "ids"), t = ry_input(g, &is, "targets"), sc = ry_input(g, &(ry_spec){.dtype = RY_F32}, "scale");
    want[0] = ry_model_loss(g, c->m, in, t, sc, grads != NULL);
    for (size_t i = 0; i < n_vars; i++) x[i] = ry_use(g, ry_model_var(c->m, i));
    if (grads) assert_ok(ry_grad(g, want[0], RY_NULL, n_vars, x, want + 1));
    ry_feed feed[] = {{in, ids, n * sizeof *ids}, {t, targets, n * sizeof *targets}, {sc, &scale, sizeof scale}};
    assert_ok(ry_eval(g, n_vars + 1, want, 3, feed));
    assert_ok(ry_read(g, want[0], &loss, sizeof loss));
    for (size_t i = 0; i < n_vars; i++) {
        ry_spec gs;
        size_t count = 0;
        const char *name = ry_var_name(ry_model_var(c->m, i));
        const float *ref = reference(grads, name, &gs, &count);
        if (!ref) fail_msg("%s: no reference gradient for %s", c->path, name);
        assert_ok(ry_spec_bytes(&bytes, ry_var_spec(ry_model_var(c->m, i))));
        assert_int_equal(bytes, count * sizeof(float));
        float *got = ry_mem_alloc(bytes);
        assert_ok(ry_read(g, want[i + 1], got, bytes));
        double err = largest_difference(got, ref, count) / largest(ref, count);
        ry_mem_free(got);
        if (err > slack * GRAD_TOL_1E6 * 1e-6) fail_msg("%s: gradient of %s differs by %.3g of its largest entry", c->path, name, err);
    }
    ry_graph_close(g);
    ry_mem_free(x);
    ry_mem_free(want);
    ry_mem_free(targets);
    return loss;
}

static double number_of(const char *folder, const char *key) {
    char *path = os_join(folder, "ref.json");
    ry_json *j;
    double v = NAN;
    assert_ok(ry_json_read(&j, path, RY_JSON_LENIENT));
    assert_ok(ry_json_real(&v, j, "ref.json", key, -1e30, 1e30, false));
    ry_json_free(j);
    ry_mem_free(path);
    return v;
}

static void check_loss(const model_case *c, const char *which, ry_tensor_file *grads) {
    char ids[64], labels[64], key[64];
    snprintf(ids, sizeof ids, "%s.input_ids", which);
    snprintf(labels, sizeof labels, "%s.labels", which);
    snprintf(key, sizeof key, "loss_%s", which);
    double want = number_of(c->path, key), got = mean_loss(c, ids, labels, grads);
    if (isnan(want) || isnan(got)) return;
    if (fabs(got - want) > slack * 1e-4) fail_msg("%s: %s is %.7f, not %.7f", c->path, key, got, want);
}

static bool check_model(void *ud, const char *name) {
    model_case c = {.dev = ud};
    char root[512];
    char *ref, *grads;
    ry_tensor_file *gf = NULL;
    if (!test_data(root, sizeof root, "hf/models")) return false;
    snprintf(c.path, sizeof c.path, "%s/%s", root, name);
    if (os_kind(c.path) != OS_FOLDER) return true;
    ry_status st = ry_model_open(&c.m, c.dev, c.path, &(ry_model_options){.master_f32 = true});
    if (st == RY_EUNSUPPORTED) { /* another family: comes with another file of src/model */
        unknown++;
        return true;
    }
    assert_ok(st);
    ref = os_join(c.path, "ref.safetensors");
    grads = os_join(c.path, "grads.safetensors");
    assert_ok(ry_tensor_file_open(&c.ref, ref));
    if (os_kind(grads) == OS_FILE) assert_ok(ry_tensor_file_open(&gf, grads));
    check_logits(&c, "full.input_ids", 0, "full.logits");
    check_logits(&c, "rpad.input_ids", 1, "rpad.logits_row1");
    check_loss(&c, "full", NULL);
    check_loss(&c, "rpad", gf);
    check_greedy(&c);
    printf("%s: ok%s\n", name, gf ? ", gradients too" : "");
    checked++;
    ry_tensor_file_close(gf);
    ry_tensor_file_close(c.ref);
    ry_model_close(c.m);
    ry_mem_free(ref);
    ry_mem_free(grads);
    return true;
}

static void test_models(void **state) {
    char root[512];
    (void)state;
    if (!test_data(root, sizeof root, "hf/models")) skip();
    for (int threads = 1; threads <= (on_cpu() ? 3 : 1); threads += 2) {
        ry_device *d;
        assert_ok(ry_device_open(&d, device_name, &(ry_device_options){.threads = threads}));
        assert_ok(os_list(root, check_model, d));
        ry_device_close(d);
    }
    printf("%d checks of models, %d of families that are not there yet\n", checked, unknown);
    assert_true(checked > 0);
    assert_int_equal(ry_mem_live(), 0);
}

/* A trained model: logits at every position, and the cache against the whole sequence. */
static void test_stories(void **state) {
    char folder[512], file[512];
    (void)state;
    if (!test_data(folder, sizeof folder, "weights/stories260K/hf") || !test_data(file, sizeof file, "weights/stories260K/reference_logits.safetensors")) skip();
    ry_device *d;
    ry_model *m;
    ry_session *s;
    ry_tensor_file *f;
    ry_spec is, ls;
    size_t n = 0, count = 0;
    assert_ok(ry_device_open(&d, device_name, NULL));
    assert_ok(ry_model_open(&m, d, folder, NULL));
    assert_ok(ry_tensor_file_open(&f, file));
    const int32_t *ids = reference(f, "token_ids", &is, &n);
    const float *want = reference(f, "logits_llama2c_model_py_torch", &ls, &count);
    assert_non_null(ids);
    assert_non_null(want);
    size_t V = (size_t)ry_model_vocab(m);
    float *got = ry_mem_alloc(count * sizeof *got);
    assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = (int64_t)n}));
    for (size_t i = 0, k = 1; i < n; i += k) { /* pieces of 1, 2, 3, ... and chunks longer than the program's */
        k = i < 10 ? i + 1 : 70;
        if (k > n - i) k = n - i;
        assert_ok(ry_session_feed(s, ids + i, k, got + i * V, true));
    }
    double err = largest_difference(got, want, count);
    printf("stories260K: logits differ by %.3g\n", err);
    assert_true(err < slack * 2e-4);
    assert_int_equal(ry_session_feed(s, ids, 1, NULL, false), RY_EARG); /* the context is full */
    ry_mem_free(got);
    ry_session_close(s);
    ry_tensor_file_close(f);
    ry_model_close(m);
    ry_device_close(d);
}

/* The same tokens as the CPU, 200 of them one by one through the cache: programs replayed with other inputs. */
static void test_long(void **state) {
    enum { TOKENS = 200 };
    static const int32_t prompt[] = {1, 403, 407, 261}; /* "Once upon a time" in this tokenizer, or any other words */
    char folder[512];
    int32_t id[2][TOKENS];
    (void)state;
    if (on_cpu() || !test_data(folder, sizeof folder, "weights/stories260K/hf")) skip();
    for (int i = 0; i < 2; i++) {
        ry_device *d;
        ry_model *m;
        ry_session *s;
        assert_ok(ry_device_open(&d, i ? device_name : "cpu", NULL));
        assert_ok(ry_model_open(&m, d, folder, NULL));
        assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = 256}));
        assert_ok(ry_session_feed(s, prompt, sizeof prompt / sizeof *prompt, NULL, false));
        for (int t = 0; t < TOKENS; t++) assert_ok(ry_session_next(s, NULL, &id[i][t]));
        ry_session_close(s);
        ry_model_close(m);
        ry_device_close(d);
    }
    for (int t = 0; t < TOKENS; t++)
        if (id[0][t] != id[1][t]) fail_msg("token %d is %d, on the CPU %d", t, id[1][t], id[0][t]);
    assert_int_equal(ry_mem_live(), 0);
}

int main(int argc, char **argv) {
    if (!take_device(&argc, &argv)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models), cmocka_unit_test(test_stories), cmocka_unit_test(test_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
