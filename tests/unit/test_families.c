/* test_families.c - every family's row with a small configuration and random weights: sessions against plain passes, whatever the pieces; to disk and
 * back; what is refused.  That the numbers are the reference's is golden/test_models.c's business. */
#include "base/os.h"
#include "core/op.h"
#include "model/model.h"
#include "unit/io_help.h"
#include <math.h>

#define FOLDER "test_families.dir"
enum { V = 50, T = 40 };
extern const model_family *const model_family_rows[];
static ry_device *dev;

/* Keys of all families at once: each takes its own. */
static const char keys[] = "\"hidden_size\":32,\"n_embd\":32,\"intermediate_size\":48,\"num_hidden_layers\":4,\"n_"
                           "layer\":4,\"num_attention_heads\":4,\"n_head\":4,"
                           "\"num_key_value_heads\":2,\"head_dim\":8,\"vocab_size\":50,\"max_position_embeddings\":128,"
                           "\"n_positions\":128,\"sliding_window\":5,"
                           "\"use_sliding_window\":true,\"max_window_layers\":1,\"moe_intermediate_size\":16,\"shared_"
                           "expert_intermediate_size\":24,\"num_experts\":6,"
                           "\"num_local_experts\":6,\"n_routed_experts\":6,\"num_experts_per_tok\":2,\"n_group\":2,"
                           "\"topk_group\":1,\"kv_lora_rank\":12,\"q_lora_rank\":20,"
                           "\"qk_nope_head_dim\":8,\"qk_rope_head_dim\":8,\"v_head_dim\":6,\"first_k_dense_replace\":1,"
                           "\"full_attn_idxs\":[1,3],\"block_multiple_of\":8,"
                           "\"initializer_range\":0.3";

static int setup(void **state) {
    (void)state;
    fresh_folder(FOLDER);
    assert_ok(ry_device_open(&dev, "cpu", &(ry_device_options){.threads = 2}));
    return 0;
}
static int teardown(void **state) {
    (void)state;
    ry_device_close(dev);
    return os_remove_tree(FOLDER) == RY_OK ? 0 : 1;
}

/* more: keys of its own, which replace those above; each followed by a comma. */
static ry_status make(ry_model **m, const char *type, const char *more) {
    char text[2048];
    size_t at = (size_t)snprintf(text, sizeof text, "{%s", more);
    for (const char *key = keys, *next; key; key = next) {
        char name[64];
        next = strstr(key + 1, ",\"");
        if (next) next++;
        snprintf(name, sizeof name, "%.*s:", (int)(strchr(key, ':') - key), key);
        if (!strstr(more, name))
            at +=
                (size_t)snprintf(text + at, sizeof text - at, "%.*s", next ? (int)(next - key) : (int)strlen(key), key);
        if (!strstr(more, name) && !next) at += (size_t)snprintf(text + at, sizeof text - at, ",");
    }
    snprintf(text + at, sizeof text - at, "\"model_type\":\"%s\"}", type);
    return ry_model_init_text(m, dev, text, 0, 7, NULL);
}

static void logits_of(ry_model *m, const int32_t *ids, int64_t n, float *y) {
    ry_graph *g;
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, n), "ids"), t = ry_model_logits(g, m, in);
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){in, ids, (size_t)n * sizeof *ids}));
    assert_ok(ry_read(g, t, y, (size_t)(n * V) * sizeof *y));
    ry_graph_close(g);
}

static void same(const char *type, const char *what, const float *a, const float *b, int64_t n, double tol) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tol))
            fail_msg("%s: %s: %g and %g at %d", type, what, (double)a[i], (double)b[i], (int)i);
}

static void check_session(const char *type, ry_model *m, const int32_t *ids, const float *whole) {
    static float y[T * V], other[T * V];
    int32_t second[T];
    ry_session *s;
    assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = T}));
    for (int64_t i = 0, k = 1; i < T; i += k, k++) {
        if (k > T - i) k = T - i;
        assert_ok(ry_session_feed(s, ids + i, (size_t)k, y + i * V, true));
    }
    same(type, "in pieces", y, whole, T * V, 2e-4);
    for (int64_t i = 0; i < T; i++)
        second[i] = i < 9 ? ids[i] : ids[T - 1 - i]; /* another ending after the first nine */
    logits_of(m, second, 20, other);
    assert_ok(ry_session_rewind(s, 9));
    assert_ok(ry_session_feed(s, second + 9, 11, y, true));
    same(type, "after rewinding", y, other + 9 * V, 11 * V, 2e-4);
    assert_ok(ry_session_rewind(s, 15));
    assert_ok(ry_session_feed(s, NULL, 0, y, false));
    same(type, "last token again", y, other + 14 * V, V, 2e-4);
    ry_session_reset(s);
    assert_ok(ry_session_feed(s, ids, T, y, false));
    same(type, "from the beginning", y, whole + (T - 1) * V, V, 2e-4);
    ry_session_close(s);
}

static void check_disk(const char *type, ry_model *m, const int32_t *ids, const float *whole) {
    static float y[T * V];
    ry_model *back;
    assert_ok(ry_model_save(m, FOLDER, RY_F32));
    assert_ok(ry_model_open(&back, dev, FOLDER, &(ry_model_options){.master_f32 = true}));
    assert_int_equal(ry_model_var_count(back), ry_model_var_count(m));
    logits_of(back, ids, T, y);
    same(type, "from disk", y, whole, T * V, 0);
    for (size_t i = 0; i < ry_model_var_count(back); i++) {
        ry_var *v = ry_model_var(back, i);
        size_t bytes = (size_t)ry_numel(ry_var_spec(v)) * sizeof(float);
        void *zero = calloc(1, bytes);
        assert_ok(ry_var_write(v, zero, bytes));
        free(zero);
    }
    assert_ok(weights_restore(back, FOLDER "/model.safetensors"));
    logits_of(back, ids, T, y);
    same(type, "restored", y, whole, T * V, 0);
    ry_model_close(back);
}

/* Narrow weights used where they lie, against the same weights widened. */
static void check_narrow(const char *type, ry_model *m, const int32_t *ids) {
    static float a[T * V], b[T * V];
    for (int k = 0; k < 2; k++) {
        ry_model *mapped, *wide;
        assert_ok(ry_model_save(m, FOLDER, k ? RY_F16 : RY_BF16));
        assert_ok(ry_model_open(&mapped, dev, FOLDER, NULL));
        assert_ok(ry_model_open(&wide, dev, FOLDER, &(ry_model_options){.master_f32 = true}));
        logits_of(mapped, ids, T, a);
        logits_of(wide, ids, T, b);
        same(type, k ? "f16" : "bf16", a, b, T * V, 1e-4);
        ry_model_close(mapped);
        ry_model_close(wide);
    }
}

static void test_every(void **state) {
    static float whole[T * V];
    int32_t ids[T];
    (void)state;
    for (int i = 0; i < T; i++) ids[i] = (i * 37 + i * i * 3 + 11) % V;
    for (const model_family *const *f = model_family_rows; *f; f++) {
        const char *type = (*f)->model_type;
        ry_model *m;
        if ((*f)->wrapped) continue;
        assert_ok(make(&m, type, ""));
        logits_of(m, ids, T, whole);
        check_session(type, m, ids, whole);
        check_disk(type, m, ids, whole);
        check_narrow(type, m, ids);
        ry_model_close(m);
    }
}

/* Names of a checkpoint that a family has beside its own. */
static void rename_all(const char *from, const char *to) {
    ry_tensor_file *f;
    assert_ok(ry_tensor_file_open(&f, FOLDER "/model.safetensors"));
    size_t n = ry_tensor_file_count(f);
    ry_named_data *d = calloc(n + 2, sizeof *d);
    char(*names)[256] = calloc(n, sizeof *names);
    for (size_t i = 0; i < n; i++) {
        const char *name;
        assert_ok(ry_tensor_file_get(f, i, &name, &d[i].spec, &d[i].data));
        assert_int_equal(strncmp(name, from, strlen(from)), 0);
        snprintf(names[i], sizeof names[i], "%s%s", to, name + strlen(from));
        d[i].name = names[i];
    }
    static const float extra[4];
    d[n] = (ry_named_data){"vision_tower.patch.weight", RY_SHAPE(RY_F32, 4), extra};
    d[n + 1] = (ry_named_data){"h.0.attn.bias", RY_SHAPE(RY_F32, 4), extra};
    bool gpt2 = !*to;
    assert_ok(ry_tensor_file_write(FOLDER "/other.safetensors", n + 1, gpt2 ? (d[n] = d[n + 1], d) : d, NULL));
    ry_tensor_file_close(f);
    assert_int_equal(remove(FOLDER "/model.safetensors"), 0);
    assert_int_equal(rename(FOLDER "/other.safetensors", FOLDER "/model.safetensors"), 0);
    free(d);
    free(names);
}

static void test_other_names(void **state) {
    static float a[T * V], b[T * V];
    int32_t ids[T];
    ry_model *m, *back;
    (void)state;
    for (int i = 0; i < T; i++) ids[i] = i;
    for (int k = 0; k < 2; k++) {
        assert_ok(make(&m, k ? "gemma3_text" : "gpt2", ""));
        logits_of(m, ids, T, a);
        fresh_folder(FOLDER);
        assert_ok(ry_model_save(m, FOLDER, RY_F32));
        rename_all(k ? "model." : "transformer.", k ? "language_model.model." : "");
        if (k) { /* as the model with pictures is published */
            ry_json *inner, *outer = ry_json_new_object();
            assert_ok(ry_json_read(&inner, FOLDER "/config.json", 0));
            assert_ok(ry_json_put(outer, "model_type", ry_json_new_text("gemma3")));
            assert_ok(ry_json_put(outer, "eos_token_id", ry_json_new_int(17)));
            assert_ok(ry_json_put(outer, "text_config", inner));
            assert_ok(ry_json_save(outer, FOLDER "/config.json"));
            ry_json_free(outer);
        }
        assert_ok(ry_model_open(&back, dev, FOLDER, NULL));
        logits_of(back, ids, T, b);
        same(k ? "gemma3" : "gpt2", "under other names", a, b, T * V, 0);
        assert_int_equal(ry_model_is_end(back, 17), k);
        assert_string_equal(ry_var_name(ry_model_var(back, 0)),
                            k ? "model.embed_tokens.weight" : "transformer.wte.weight");
        ry_model_close(back);
        ry_model_close(m);
    }
}

/* Whatever changes the result and is not known has a message that names it. */
static void test_refused(void **state) {
    static const struct {
        const char *type, *more;
        ry_status st;
        const char *say;
    } odd[] = {
        {"nonsense", "", RY_EUNSUPPORTED, "model_type 'nonsense' is not known (cohere, "},
        {"llama", "\"quantization_config\":{\"quant_method\":\"gptq\"},", RY_EUNSUPPORTED, "quantised by gptq"},
        {"llama", "\"hidden_act\":\"snake\",", RY_EUNSUPPORTED, "hidden_act 'snake'"},
        {"llama", "\"rope_scaling\":{\"rope_type\":\"spiral\"},", RY_EUNSUPPORTED, "rope_type 'spiral'"},
        {"gemma2", "\"use_bidirectional_attention\":true,", RY_EUNSUPPORTED, "use_bidirectional_attention"},
        {"deepseek_v3", "\"scoring_func\":\"softmax\",", RY_EUNSUPPORTED, "scoring_func 'softmax'"},
        {"deepseek_v3", "\"topk_method\":\"greedy\",", RY_EUNSUPPORTED, "topk_method 'greedy'"},
        {"gemma2", "\"layer_types\":[\"full_attention\",\"linear_attention\",\"full_attention\",\"full_attention\"],",
         RY_EUNSUPPORTED, "'linear_attention'"},
        {"gemma3_text", "\"layer_types\":[\"full_attention\"],", RY_EFORMAT, "1 entries for 4 layers"},
        {"qwen3", "\"layer_types\":[1,2,3,4],", RY_EFORMAT, "layer_types[0] must be a string"},
        {"mixtral", "\"num_experts_per_tok\":7,", RY_EFORMAT, "of 6 experts 7 are used"},
        {"deepseek_v3", "\"n_group\":4,", RY_EFORMAT, "6 experts in 4 groups"},
        {"deepseek_v3", "\"kv_lora_rank\":null,", RY_EFORMAT, "kv_lora_rank"},
        {"smollm3", "\"no_rope_layers\":[1,\"a\",1,1],", RY_EFORMAT, "no_rope_layers[1]"},
        {"gpt2", "\"n_embd\":null,\"hidden_size\":null,", RY_EFORMAT, "n_embd is missing"},
        {"gemma3", "", RY_EFORMAT, "text_config"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        ry_model *m = NULL;
        ry_status st = make(&m, odd[i].type, odd[i].more);
        if (st != odd[i].st || !strstr(ry_message(), odd[i].say))
            fail_msg("%s %s: %s, %s", odd[i].type, odd[i].more, ry_status_name(st), ry_message());
    }
}

/* The table of positions is the longest context, whatever is asked for. */
static void test_positions_end(void **state) {
    static float y[V];
    int32_t ids[24] = {1, 2, 3};
    ry_session *s;
    ry_model *m;
    (void)state;
    assert_ok(make(&m, "gpt2", "\"n_positions\":24,"));
    assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = 1000}));
    assert_ok(ry_session_feed(s, ids, 24, y, false));
    assert_int_equal(ry_session_feed(s, ids, 1, y, false), RY_EARG);
    assert_non_null(strstr(ry_message(), "context of 24 positions"));
    ry_session_close(s);
    ry_model_close(m);
}

/* transformers takes head_dim for the part of a key that turns. */
static void test_latent_back(void **state) {
    int64_t head = 0, turns = -1;
    ry_model *m;
    ry_json *j;
    (void)state;
    assert_ok(make(&m, "deepseek_v3", ""));
    fresh_folder(FOLDER);
    assert_ok(ry_model_save(m, FOLDER, RY_F32));
    ry_model_close(m);
    assert_ok(ry_export(FOLDER, FOLDER "/x.gguf", true, RY_F32));
    assert_ok(ry_export(FOLDER "/x.gguf", FOLDER "/back", false, RY_F32));
    assert_ok(ry_json_read(&j, FOLDER "/back/config.json", 0));
    assert_ok(ry_json_int(&head, j, "config", "head_dim", 1, 1000, true));
    assert_ok(ry_json_int(&turns, j, "config", "qk_rope_head_dim", 1, 1000, true));
    assert_int_equal(head, turns);
    ry_json_free(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every), cmocka_unit_test(test_other_names),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_positions_end),
                                       cmocka_unit_test(test_latent_back)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
