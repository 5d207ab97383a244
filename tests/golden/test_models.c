/* test_models.c - every reference model whose family Rusty knows: hidden states, logits, losses, gradients, greedy tokens, padding on both sides
 * and in batches, against transformers in double precision.  Tolerances: hf/README.md (2e-4 on logits, 1e-4 of the largest entry on
 * gradients), twice that on a GPU. */
#include "unit/cm.h"

#include "golden/folder.h"
#include "golden/on_device.h"
#include "model/model.h"

enum { LOGITS_TOL_1E6 = 200, GRAD_TOL_1E6 = 100 };
#define LEAST_GRAD 1e-3 /* gradients that are zero but for rounding (keys' biases where nothing turns) are compared with this */
static int checked, unknown;

typedef struct model_case {
    char path[600];
    ry_device *dev;
    ry_model *m;
    ry_tensor_file *ref;
} model_case;

static void compare(const model_case *c, const char *name, const float *got, const float *want, size_t n) {
    double err = largest_difference(got, want, n), most = largest(want, n);
    if (err > slack * LOGITS_TOL_1E6 * 1e-6 * (most > 25 ? most / 25 : 1)) fail_msg("%s: %s differs by %.3g", c->path, name, err);
}

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
    compare(c, want_name, got, want, (size_t)(rows * V)); /* right padding changes nothing before it */
    ry_mem_free(got);
}

/* Both rows at once, the second padded on the left: segments keep the padding away from what is read. */
static void check_left_padding(const model_case *c) {
    ry_spec is, ws;
    size_t n = 0, n_want = 0;
    const int32_t *ids = reference(c->ref, "lpad.input_ids", &is, &n), *real = reference(c->ref, "lpad.attention_mask", &is, &n),
                  *pos = reference(c->ref, "lpad.position_ids", &is, &n);
    const float *want = reference(c->ref, "lpad.logits_row1", &ws, &n_want);
    if (!ids || !real || !pos || !want) return;
    int64_t V = ws.dim[1];
    size_t rows = (size_t)ws.dim[0];
    float *got = ry_mem_alloc(n * (size_t)V * sizeof *got), *kept = ry_mem_alloc(n * sizeof *kept);
    for (size_t i = 0; i < n; i++) kept[i] = (float)real[i];
    ry_spec fs = is;
    fs.dtype = RY_F32;
    model_pass p;
    ry_graph *g;
    assert_ok(ry_graph_open(&g, c->dev));
    ry_tensor in[4] = {ry_input(g, &is, "ids"), ry_input(g, &is, "pos"), ry_input(g, &is, "segments"), ry_input(g, &fs, "real")};
    assert_ok(model_pass_plain(&p, g, c->m, in[0]));
    p.pos = in[1], p.segment_q = p.segment_k = in[2], p.real = in[3];
    ry_tensor y = model_logits(g, c->m, model_hidden(&p));
    ry_feed feed[] = {{in[0], ids, n * sizeof *ids}, {in[1], pos, n * sizeof *pos}, {in[2], real, n * sizeof *real}, {in[3], kept, n * sizeof *kept}};
    assert_ok(ry_eval(g, 1, &y, 4, feed));
    assert_ok(ry_read(g, y, got, n * (size_t)V * sizeof *got));
    ry_graph_close(g);
    compare(c, "lpad.logits_row1", got + (n - rows) * (size_t)V, want, rows * (size_t)V);
    ry_mem_free(got);
    ry_mem_free(kept);
}

/* What enters each layer, and what leaves the last norm. */
static void check_states(const model_case *c) {
    enum { MOST = 16 };
    ry_spec is, ws;
    size_t n_ids = 0, n = 0;
    const int32_t *ids = reference(c->ref, "full.input_ids", &is, &n_ids);
    int64_t L = c->m->cfg.num_hidden_layers, T = ids ? is.dim[1] : 0;
    ry_tensor states[MOST + 1];
    model_pass p;
    ry_graph *g;
    if (!ids || L > MOST) return;
    assert_ok(ry_graph_open(&g, c->dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, T), "ids");
    assert_ok(model_pass_plain(&p, g, c->m, in));
    p.states = states;
    assert_false(ry_is_null(model_hidden(&p)));
    assert_ok(ry_eval(g, (size_t)L + 1, states, 1, &(ry_feed){in, ids, (size_t)T * sizeof *ids}));
    for (int64_t i = 0; i <= L; i++) {
        char name[32];
        snprintf(name, sizeof name, "full.hidden.%02d", (int)i);
        const float *want = reference(c->ref, name, &ws, &n);
        if (!want) continue;
        float *got = ry_mem_alloc(n * sizeof *got);
        assert_ok(ry_read(g, states[i], got, n * sizeof *got));
        compare(c, name, got, want, n);
        ry_mem_free(got);
    }
    ry_graph_close(g);
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

/* Two prompts of different lengths in one session. */
static void check_batch(const model_case *c) {
    ry_spec ps, ss;
    size_t n_prompt = 0, n = 0;
    const int32_t *prompt = reference(c->ref, "gen_b.prompt", &ps, &n_prompt), *mask = reference(c->ref, "gen_b.attention_mask", &ps, &n_prompt),
                  *want = reference(c->ref, "gen_b.sequence", &ss, &n);
    if (!prompt || !mask || !want) return;
    enum { MOST = 8 };
    int64_t B = ps.dim[0], T = ps.dim[1], all = ss.dim[1];
    static const ry_sampling greedy;
    const ry_sampling *how[MOST];
    int32_t ids[MOST];
    ry_session *s;
    assert_in_range(B, 1, MOST);
    assert_ok(ry_session_open(&s, c->m, &(ry_session_options){.context = all, .batch = B}));
    for (int64_t b = 0; b < B; b++) {
        int64_t pad = 0;
        while (pad < T && !mask[b * T + pad]) pad++;
        how[b] = &greedy;
        assert_ok(ry_session_select(s, b));
        assert_ok(ry_session_feed(s, prompt + b * T + pad, (size_t)(T - pad), NULL, false));
    }
    for (int64_t t = T; t < all; t++) {
        assert_ok(ry_session_next_each(s, how, ids));
        for (int64_t b = 0; b < B; b++)
            if (ids[b] != want[b * all + t]) fail_msg("%s: token %d of sequence %d is %d, not %d", c->path, (int)t, (int)b, ids[b], want[b * all + t]);
    }
    ry_session_close(s);
}

/* ---- losses and gradients ---- */

typedef struct gradients {
    float **of;         /* by variable */
    weights_part *part; /* the checkpoint's tensors */
    size_t n_vars, n;
    ry_arena names;
} gradients;

static void gradients_open(gradients *r, const ry_model *m) {
    *r = (gradients){.n_vars = ry_model_var_count(m), .n = weights_stored(m)};
    r->of = ry_mem_zalloc(r->n_vars * sizeof *r->of);
    r->part = ry_mem_alloc(r->n * sizeof *r->part);
    assert_ok(weights_list(&r->names, m, r->part));
}
static void gradients_close(gradients *r) {
    for (size_t i = 0; i < r->n_vars; i++) ry_mem_free(r->of[i]);
    ry_mem_free(r->of);
    ry_mem_free(r->part);
    ry_arena_free(&r->names);
}

/* grads NULL: only the loss. */
static double mean_loss(const model_case *c, const char *ids_name, const char *labels_name, gradients *grads) {
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
    size_t n_vars = grads ? grads->n_vars : 0, bytes;
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
        assert_ok(ry_spec_bytes(&bytes, ry_var_spec(ry_model_var(c->m, i))));
        grads->of[i] = ry_mem_alloc(bytes);
        assert_ok(ry_read(g, want[i + 1], grads->of[i], bytes));
    }
    ry_graph_close(g);
    ry_mem_free(x);
    ry_mem_free(want);
    ry_mem_free(targets);
    return loss;
}

/* Every entry of every gradient. */
static void check_entries(const model_case *c, const gradients *r, const ry_tensor_file *file) {
    for (size_t i = 0; i < r->n; i++) {
        ry_spec gs;
        size_t count = 0;
        const float *ref = reference(file, r->part[i].name, &gs, &count);
        if (!ref) fail_msg("%s: no reference gradient for %s", c->path, r->part[i].name);
        assert_int_equal(ry_numel(&r->part[i].spec), count);
        double most = largest(ref, count), err = largest_difference(r->of[r->part[i].var] + r->part[i].first, ref, count) / fmax(most, LEAST_GRAD);
        if (err > slack * GRAD_TOL_1E6 * 1e-6) fail_msg("%s: gradient of %s differs by %.3g of its largest entry", c->path, r->part[i].name, err);
    }
}

/* Does the tensor belong to what the reference calls `name`, where experts may be one tensor, and their gates and ups together? */
static bool belongs(const ry_model *m, const weights_part *p, const char *name) {
    static const char up[] = ".mlp.experts.gate_up_proj", down[] = ".mlp.experts.down_proj";
    const model_tensor *t = &m->tensors.at[p->var];
    char prefix[64];
    if (!strcmp(p->name, name)) return true;
    bool gates = t->role == ROLE_EXPERT_GATE || t->role == ROLE_EXPERT_UP;
    if (!t->parts || (!gates && t->role != ROLE_EXPERT_DOWN)) return false;
    snprintf(prefix, sizeof prefix, "model.layers.%lld%s", (long long)t->layer, gates ? up : down);
    return !strcmp(prefix, name);
}

/* Length, sum and largest entry of every gradient, as ref.json has them. */
static void check_stats(const model_case *c, const gradients *r, const ry_json *rows, const ry_json *renamed) {
    for (ry_json_it it = ry_json_first(rows); it.value; it = ry_json_next(rows, it)) {
        double square = 0, sum = 0, most = 0, want[3];
        int64_t count = 0;
        const char *other = ry_json_as_text(ry_json_find(renamed, it.key), NULL), *name = other ? other : it.key;
        for (size_t i = 0; i < r->n; i++) {
            if (!belongs(c->m, &r->part[i], name)) continue;
            const float *x = r->of[r->part[i].var] + r->part[i].first;
            int64_t n = ry_numel(&r->part[i].spec);
            for (int64_t k = 0; k < n; k++) square += (double)x[k] * (double)x[k], sum += (double)x[k], most = fmax(most, fabs((double)x[k]));
            count += n;
        }
        if (!count) fail_msg("%s: the model has no %s", c->path, name);
        for (size_t k = 0; k < 3; k++) assert_true(ry_json_as_real(ry_json_at(it.value, k + 1), &want[k]));
        double tol = slack * GRAD_TOL_1E6 * 1e-6, least = fmax(want[2], LEAST_GRAD);
        if (fabs(sqrt(square) - want[0]) > tol * fmax(want[0], LEAST_GRAD) || fabs(most - want[2]) > tol * least || fabs(sum - want[1]) > tol * least * sqrt((double)count))
            fail_msg("%s: gradient of %s has length %.7g, sum %.7g, largest %.7g, not %.7g, %.7g, %.7g", c->path, name, sqrt(square), sum, most, want[0], want[1], want[2]);
    }
}

static void check_loss(const model_case *c, const ry_json *ref, const char *which, gradients *grads) {
    char ids[64], labels[64], key[64];
    snprintf(ids, sizeof ids, "%s.input_ids", which);
    snprintf(labels, sizeof labels, "%s.labels", which);
    snprintf(key, sizeof key, "loss_%s", which);
    double want = NAN, got = mean_loss(c, ids, labels, grads);
    assert_ok(ry_json_real(&want, ref, "ref.json", key, -1e30, 1e30, false));
    if (isnan(want) || isnan(got)) return;
    if (fabs(got - want) > slack * 1e-4) fail_msg("%s: %s is %.7f, not %.7f", c->path, key, got, want);
}

static bool check_model(void *ud, const char *name) {
    model_case c = {.dev = ud};
    char root[512];
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
    char *ref = os_join(c.path, "ref.safetensors"), *json = os_join(c.path, "ref.json"), *grads = os_join(c.path, "grads.safetensors");
    ry_json *j;
    gradients r;
    assert_ok(ry_tensor_file_open(&c.ref, ref));
    assert_ok(ry_json_read(&j, json, RY_JSON_LENIENT));
    if (os_kind(grads) == OS_FILE) assert_ok(ry_tensor_file_open(&gf, grads));
    if (on_cpu()) check_states(&c);
    check_logits(&c, "full.input_ids", 0, "full.logits");
    check_logits(&c, "rpad.input_ids", 1, "rpad.logits_row1");
    check_left_padding(&c);
    gradients_open(&r, c.m);
    check_loss(&c, j, "full", NULL);
    check_loss(&c, j, "rpad", &r);
    if (gf) check_entries(&c, &r, gf);
    check_stats(&c, &r, ry_json_find(j, "grad_stats_rows"), ry_json_find(j, "renamed_parameters"));
    gradients_close(&r);
    check_greedy(&c);
    if (on_cpu()) check_batch(&c); /* on a GPU time goes into making kernels */
    printf("%s: ok%s\n", name, gf ? ", every entry of the gradients too" : "");
    checked++;
    ry_tensor_file_close(gf);
    ry_tensor_file_close(c.ref);
    ry_model_close(c.m);
    ry_json_free(j);
    ry_mem_free(ref);
    ry_mem_free(json);
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
