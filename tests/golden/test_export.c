/* test_export.c - models written anew: as GGUF in f32 and back, every tensor is what it was; a GGUF file written again is the same, block by
 * block; quantised files are as near as their blocks allow; what GGUF cannot express is refused by name. */
#include "unit/cm.h"

#include "golden/folder.h"
#include "io/gguf.h"
#include "unit/io_help.h"

#define HERE "tmp_export"
static int round_trips, refused, rewritten;
static ry_device *dev;

static void fresh(void) {
    if (os_kind(HERE) != OS_NOTHING) assert_ok(os_remove_tree(HERE));
    assert_ok(os_mkdirs(HERE));
}

static void compare_tensors(const char *a, const char *b) {
    ry_tensor_file *x, *y;
    assert_ok(ry_tensor_file_open(&x, a));
    assert_ok(ry_tensor_file_open(&y, b));
    for (size_t i = 0; i < ry_tensor_file_count(x); i++) {
        const char *name;
        ry_spec sx, sy;
        const void *dx, *dy;
        assert_ok(ry_tensor_file_get(x, i, &name, &sx, &dx));
        if (ry_tensor_file_find(y, name, &sy, &dy) != RY_OK) {
            if (strstr(name, "lm_head") || strstr(name, "rotary_emb")) continue; /* tied, or no weight */
            fail_msg("%s: %s is lost", a, name);
        }
        assert_int_equal(sx.rank, sy.rank);
        for (int k = 0; k < sx.rank; k++) assert_int_equal(sx.dim[k], sy.dim[k]);
        if (sx.dtype != RY_F32 || sy.dtype != RY_F32) continue; /* others: by logits */
        size_t n = (size_t)ry_numel(&sx);
        double err = largest_difference(dx, dy, n); /* norms that are stored plus one lose a bit */
        if (strstr(name, "norm") ? err > 1.2e-7 * (1 + largest(dx, n)) : err > 0) fail_msg("%s: %s differs by %.3g", a, name, err);
    }
    ry_tensor_file_close(x);
    ry_tensor_file_close(y);
}

static float *logits_of(const char *path, size_t *n) {
    ry_model *m;
    ry_graph *g;
    int32_t ids[20];
    assert_ok(ry_model_open(&m, dev, path, NULL));
    for (int32_t i = 0; i < 20; i++) ids[i] = (i * 37 + 5) % (int32_t)ry_model_vocab(m);
    *n = (size_t)(20 * ry_model_vocab(m));
    float *y = ry_mem_alloc(*n * sizeof *y);
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, 20), "ids"), t = ry_cast(g, ry_model_logits(g, m, in), RY_F32);
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){in, ids, sizeof ids}));
    assert_ok(ry_read(g, t, y, *n * sizeof *y));
    ry_graph_close(g);
    ry_model_close(m);
    return y;
}

static double apart(const char *a, const char *b) { /* as a share of the largest logit */
    size_t n, k;
    float *x = logits_of(a, &n), *y = logits_of(b, &k);
    assert_int_equal(n, k);
    double d = largest_difference(x, y, n) / largest(x, n);
    ry_mem_free(x);
    ry_mem_free(y);
    return d;
}

static bool round_trip(void *ud, const char *name) {
    char *path = os_join(ud, name), *config = path ? os_join(path, "config.json") : NULL;
    if (os_kind(config) == OS_FILE) {
        fresh();
        ry_status st = ry_export(path, HERE "/m.gguf", true, RY_F32);
        if (st == RY_EUNSUPPORTED) {
            printf("%s: %s\n", name, ry_message());
            assert_int_equal(os_kind(HERE "/m.gguf"), OS_NOTHING);
            refused++;
        } else {
            assert_ok(st);
            assert_ok(ry_export(HERE "/m.gguf", HERE "/back", false, RY_F32));
            compare_tensors(path, HERE "/back");
            double there = apart(path, HERE "/m.gguf"), back = apart(path, HERE "/back");
            if (there > 1e-5 || back > 1e-5) fail_msg("%s: logits differ by %.3g there, %.3g back", name, there, back);
            round_trips++;
        }
    }
    ry_mem_free(config);
    ry_mem_free(path);
    return true;
}

static bool rewrite(void *ud, const char *name) {
    size_t n = strlen(name);
    if (n < 5 || strcmp(name + n - 5, ".gguf") || strstr(name, ".lora.")) return true;
    char *path = os_join(ud, name);
    gguf_file *a, *b;
    fresh();
    ry_status st = ry_export(path, HERE "/again.gguf", true, RY_NONE);
    if (st != RY_OK) fail_msg("%s: %s", path, ry_message());
    assert_ok(gguf_open(&a, path));
    assert_ok(gguf_open(&b, HERE "/again.gguf"));
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_find(b, x->name);
        if (!y || x->type != y->type || x->spec.rank != y->spec.rank || x->bytes != y->bytes) fail_msg("%s: %s is not as it was", path, x->name);
        if (!memcmp(x->data, y->data, x->bytes)) continue;
        double err = x->type == RY_F32 ? largest_difference(x->data, y->data, x->bytes / 4) : INFINITY;
        if (!strstr(x->name, "norm") || err > 2.4e-7) fail_msg("%s: %s differs by %.3g", path, x->name, err);
    }
    for (size_t i = 0; i < gguf_value_count(a); i++) { /* what says how to compute */
        const gguf_value *x = gguf_value_at(a, i);
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)x->key.n, x->key.at);
        if (!strncmp(key, "general.", 8) || !strncmp(key, "tokenizer.", 10) || strstr(key, "original_context_length")) continue;
        const gguf_value *y = gguf_find(b, key);
        if (!y || y->n != x->n) fail_msg("%s: %s is lost", path, key);
        for (size_t k = 0; x->item != GGUF_TEXT && k < x->n; k++)
            if (fabs(gguf_item_real(x, k) - gguf_item_real(y, k)) > 1e-6 * fabs(gguf_item_real(x, k))) fail_msg("%s: %s is %g, was %g", path, key, gguf_item_real(y, k), gguf_item_real(x, k));
    }
    gguf_close(a);
    gguf_close(b);
    ry_mem_free(path);
    rewritten++;
    return true;
}

static bool rewrite_folder(void *ud, const char *name) {
    char *path = os_join(ud, name);
    if (os_kind(path) == OS_FOLDER) assert_ok(os_list(path, rewrite, path));
    ry_mem_free(path);
    return true;
}

static int setup(void **state) {
    (void)state;
    return ry_device_open(&dev, "cpu", NULL) == RY_OK ? 0 : 1;
}
static int teardown(void **state) {
    (void)state;
    ry_device_close(dev);
    return os_kind(HERE) == OS_NOTHING || os_remove_tree(HERE) == RY_OK ? 0 : 1;
}

static void checkpoints(void **state) {
    (void)state;
    char buf[512];
    if (!test_data(buf, sizeof buf, "hf/models")) skip();
    assert_ok(os_list(buf, round_trip, buf));
    printf("%d round trips, %d refused\n", round_trips, refused);
    assert_true(round_trips > 0);
}

static void files(void **state) {
    (void)state;
    char buf[512];
    if (!test_data(buf, sizeof buf, "hf/gguf")) skip();
    assert_ok(os_list(buf, rewrite_folder, buf));
    printf("%d files written again\n", rewritten);
    assert_true(rewritten > 0);
}

/* A model of its own, wide enough for every block. */
static void types(void **state) {
    (void)state;
    static const struct { ry_dtype t; double most; } each[] = {{RY_F32, 1e-5}, {RY_F16, 2e-3}, {RY_BF16, 2e-2}, {RY_Q8_0, 2e-2}, {RY_Q6_K, 6e-2}, {RY_Q5_K, 0.1}, {RY_Q4_K, 0.25},
        {RY_Q5_0, 0.12}, {RY_Q5_1, 0.12}, {RY_Q4_0, 0.3}, {RY_Q4_1, 0.25}, {RY_IQ4_NL, 0.25}, {RY_MXFP4, 0.5}, {RY_Q3_K, 0.5}, {RY_Q2_K, 0.9}};
    ry_model *m;
    fresh();
    assert_ok(ry_model_init_text(&m, dev, "hidden_size: 256\nintermediate_size: 320\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 2\nvocab_size: 90\n", 0, 3, NULL));
    assert_ok(ry_model_save(m, HERE "/hf", RY_F32));
    ry_model_close(m);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        gguf_file *f;
        assert_ok(ry_export(HERE "/hf", HERE "/q.gguf", true, each[i].t));
        assert_ok(gguf_open(&f, HERE "/q.gguf"));
        assert_int_equal(gguf_tensor_find(f, "blk.0.attn_q.weight")->type, each[i].t);
        assert_int_equal(gguf_tensor_find(f, "blk.0.attn_norm.weight")->type, RY_F32);
        gguf_close(f);
        double d = apart(HERE "/hf", HERE "/q.gguf");
        printf("%s: %.2g\n", ry_dtype_name(each[i].t), d);
        assert_true(d <= each[i].most);
    }
    gguf_file *f; /* rows of 320 are no multiple of 256; the head has more bits */
    assert_ok(ry_export(HERE "/hf", HERE "/q.gguf", true, RY_Q4_K));
    assert_ok(gguf_open(&f, HERE "/q.gguf"));
    assert_int_equal(gguf_tensor_find(f, "blk.1.ffn_down.weight")->type, RY_Q5_0);
    assert_int_equal(gguf_tensor_find(f, "output.weight")->type, RY_Q6_K);
    gguf_close(f);
    assert_int_equal(ry_export(HERE "/hf", HERE "/no.gguf", true, RY_I32), RY_EDTYPE);
    assert_int_equal(ry_export(HERE "/hf", HERE "/no", false, RY_Q4_0), RY_EDTYPE);
    assert_int_equal(ry_export(HERE "/none", HERE "/no.gguf", true, RY_F32), RY_ENOENT);
    assert_int_equal(os_kind(HERE "/no.gguf"), OS_NOTHING);
}

static ry_status there(void *from) { return ry_export(from, HERE "/q.gguf", true, RY_Q8_0); }
static ry_status back(void *from) { return ry_export(from, HERE "/back", false, RY_F16); }

/* Each allocation refused once: no memory, or (a device with fewer threads) none the worse; nothing is held. */
static void sweep(ry_status (*fn)(void *), void *ud) {
    for (long n = 1;; n++) {
        failing f = {.refuse = n};
        size_t held = ry_mem_live();
        ry_alloc_set(failing_alloc, &f);
        ry_status st = fn(ud);
        ry_alloc_set(NULL, NULL);
        if (st != RY_OK && st != RY_ENOMEM) fail_msg("allocation %ld refused: %s", n, ry_message());
        if (ry_mem_live() != held) fail_msg("allocation %ld refused: a leak", n);
        if (!f.refused) break;
    }
}

static void memory(void **state) {
    (void)state;
    ry_model *m;
    fresh();
    assert_ok(ry_model_init_text(&m, dev, "hidden_size: 32\nintermediate_size: 32\nnum_hidden_layers: 1\nnum_attention_heads: 2\nvocab_size: 9\n", 0, 3, NULL));
    assert_ok(ry_model_save(m, HERE "/hf", RY_F32));
    ry_model_close(m);
    char hf[] = HERE "/hf", gguf[] = HERE "/q.gguf";
    sweep(there, hf);
    sweep(back, gguf);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(types), cmocka_unit_test(memory), cmocka_unit_test(checkpoints), cmocka_unit_test(files)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
