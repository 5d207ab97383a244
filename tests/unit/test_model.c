/* test_model.c - models as folders and as graphs: what is refused and how it is named, what comes back from disk, sessions against plain
 * passes, evaluation, and plans of models far too large for this machine. */
#include "base/os.h"
#include "core/op.h"
#include "train/train.h"
#include "unit/distance.h"
#include "unit/io_help.h"
#include <math.h>
#include <rusty/ops.h>

#define FOLDER "test_model.dir"
static const char tiny[] =
    "hidden_size: 32\nintermediate_size: 48\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 2\n"
    "vocab_size: 50\nmax_position_embeddings: 256\nrope_theta: 10000.0\n";
static ry_device *dev;

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

static ry_model *new_model(uint64_t seed) {
    ry_model *m = NULL;
    assert_ok(ry_model_init_text(&m, dev, tiny, 0, seed, NULL));
    return m;
}
static int32_t *some_ids(int64_t n) {
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    assert_non_null(ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)((i * 37 + 11) % 50);
    return ids;
}
static float *logits_of(ry_model *m, const int32_t *ids, int64_t T) {
    float *y = malloc((size_t)(T * 50) * sizeof *y);
    ry_graph *g;
    assert_non_null(y);
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, T), "ids"), t = ry_cast(g, ry_model_logits(g, m, in), RY_F32);
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){in, ids, (size_t)T * sizeof *ids}));
    assert_ok(ry_read(g, t, y, (size_t)(T * 50) * sizeof *y));
    ry_graph_close(g);
    return y;
}

/* ---- weights from seeds, and to disk and back ---- */

static void test_init(void **state) {
    (void)state;
    ry_model *a = new_model(1), *b = new_model(1), *c = new_model(2), *json = NULL;
    assert_int_equal(ry_model_params(a), 2 * 50 * 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32 + 2 * 32) + 32);
    assert_int_equal(ry_model_vocab(a), 50);
    assert_int_equal(ry_model_context(a), 256);
    assert_int_equal(ry_model_var_count(a), 1 + 2 * 9 + 2);
    assert_string_equal(ry_var_name(ry_model_var(a, 0)), "model.embed_tokens.weight");
    assert_string_equal(ry_var_name(ry_model_var(a, 20)), "lm_head.weight");
    assert_null(ry_model_var(a, 21));
    bool differ = false;
    for (size_t i = 0; i < 21; i++) {
        float x[1600], y[1600], z[1600];
        size_t bytes = (size_t)ry_numel(ry_var_spec(ry_model_var(a, i))) * 4;
        assert_ok(ry_var_read(ry_model_var(a, i), x, bytes));
        assert_ok(ry_var_read(ry_model_var(b, i), y, bytes));
        assert_ok(ry_var_read(ry_model_var(c, i), z, bytes));
        assert_memory_equal(x, y, bytes);
        differ |= memcmp(x, z, bytes) != 0;
        double sum = 0, squares = 0;
        for (size_t k = 0; k < bytes / 4; k++) sum += (double)x[k], squares += (double)x[k] * (double)x[k];
        if (ry_var_spec(ry_model_var(a, i))->rank == 1)
            assert_true(sum == (double)(bytes / 4)); /* norms begin at one */
        else
            assert_in_range((int64_t)(1e6 * sqrt(squares / (double)(bytes / 4))), 17000, 23000);
    }
    assert_true(differ);
    assert_ok(ry_model_init_text(&json, dev,
                                 "{\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":1,\"num_attention_"
                                 "heads\":4,\"tie_word_embeddings\":true}",
                                 77, 0, NULL));
    assert_int_equal(ry_model_vocab(json), 77);
    ry_model_close(a), ry_model_close(b), ry_model_close(c), ry_model_close(json);
    ry_model_close(NULL);
}

/* f32 comes back bit for bit; the others by the rounding of their dtype, mapped or copied, alike. */
static void test_round_trip(void **state) {
    (void)state;
    ry_model *m = new_model(3), *back = NULL;
    int32_t *ids = some_ids(9);
    float *y = logits_of(m, ids, 9);
    static const struct {
        ry_dtype t;
        double tol;
    } kinds[] = {{RY_F32, 0}, {RY_BF16, 0.02}, {RY_F16, 0.003}};
    for (size_t k = 0; k < 3; k++)
        for (int master = 0; master < 2; master++) {
            assert_ok(ry_model_save(m, FOLDER "/saved", kinds[k].t));
            assert_ok(ry_model_open(&back, dev, FOLDER "/saved", &(ry_model_options){.master_f32 = master}));
            assert_int_equal(ry_var_spec(ry_model_var(back, 3))->dtype, master ? RY_F32 : kinds[k].t);
            float *z = logits_of(back, ids, 9);
            double d = distance(y, z, 9 * 50);
            assert_true(kinds[k].t == RY_F32 ? d == 0 : d > 0 && d < kinds[k].tol);
            free(z);
            ry_model_close(back);
        }
    assert_is(RY_EDTYPE, ry_model_save(m, FOLDER "/saved", RY_I32));
    ry_json *config;
    assert_ok(ry_json_read(&config, FOLDER "/saved/config.json", 0));
    int64_t v = 0;
    assert_true(ry_json_as_int(ry_json_find(config, "vocab_size"), &v) && v == 50);
    assert_string_equal(ry_json_as_text(ry_json_find(config, "model_type"), NULL), "llama");
    assert_string_equal(ry_json_as_text(ry_json_at(ry_json_find(config, "architectures"), 0), NULL),
                        "LlamaForCausalLM");
    ry_json_free(config);
    free(y), free(ids);
    ry_model_close(m);
}

/* Weights that are a file's mapped bytes cannot be written, by hand or by a graph. */
static void test_mapped(void **state) {
    (void)state;
    ry_model *m = new_model(8);
    float x[32] = {0};
    assert_ok(ry_model_save(m, FOLDER "/mapped", RY_F32));
    ry_model_close(m);
    for (int master = 0; master < 2; master++) {
        assert_ok(ry_model_open(&m, dev, FOLDER "/mapped", &(ry_model_options){.master_f32 = master}));
        ry_var *v = ry_model_var(m, 1);
        ry_graph *g;
        assert_is(master ? RY_OK : RY_EARG, ry_var_write(v, x, sizeof x));
        if (!master) assert_says("model.layers.0.input_layernorm.weight", "master_f32");
        assert_ok(ry_graph_open(&g, dev));
        ry_add_into(g, v, ry_fill(g, ry_var_spec(v), 1));
        assert_is(master ? RY_OK : RY_EARG, ry_graph_status(g));
        if (!master) assert_says("add_into: ", "master_f32", "input_layernorm");
        ry_graph_close(g);
        ry_model_close(m);
    }
}

/* ---- what is refused, by name ---- */

typedef struct tensors {
    ry_named_data t[32];
    size_t n;
} tensors;

static void read_tensors(tensors *x, ry_tensor_file **f, const char *path) {
    assert_ok(ry_tensor_file_open(f, path));
    x->n = ry_tensor_file_count(*f);
    for (size_t i = 0; i < x->n; i++) assert_ok(ry_tensor_file_get(*f, i, &x->t[i].name, &x->t[i].spec, &x->t[i].data));
}
static size_t find_tensor(const tensors *x, const char *name) {
    for (size_t i = 0; i < x->n; i++)
        if (!strcmp(x->t[i].name, name)) return i;
    fail_msg("%s is not there", name);
    return 0;
}
static void refused(const tensors *x, ry_status st, const char *a, const char *b) {
    ry_model *m = NULL;
    assert_ok(ry_tensor_file_write(FOLDER "/odd/model.safetensors", x->n, x->t, NULL));
    size_t live = ry_mem_live();
    assert_is(st, ry_model_open(&m, dev, FOLDER "/odd", NULL));
    assert_null(m);
    assert_int_equal(ry_mem_live(), live);
    assert_says(a, b);
}

static void test_odd_weights(void **state) {
    (void)state;
    ry_model *m = new_model(4);
    ry_tensor_file *f;
    tensors whole, x;
    static const float zeros[4096];
    assert_ok(ry_model_save(m, FOLDER "/good", RY_F32));
    assert_ok(ry_model_save(m, FOLDER "/odd", RY_F32));
    ry_model_close(m);
    read_tensors(&whole, &f, FOLDER "/good/model.safetensors");
    x = whole;
    size_t at = find_tensor(&x, "model.layers.1.mlp.up_proj.weight");
    x.t[at] = x.t[--x.n];
    refused(&x, RY_EFORMAT, "model.layers.1.mlp.up_proj.weight", "missing");
    x = whole;
    x.t[x.n++] =
        (ry_named_data){.name = "model.layers.2.mlp.up_proj.weight", .spec = RY_SHAPE(RY_F32, 4, 4), .data = zeros};
    refused(&x, RY_EFORMAT, "model.layers.2.mlp.up_proj.weight", "not part");
    x = whole;
    x.t[at].spec = RY_SHAPE(RY_F32, 32, 48);
    refused(&x, RY_ESHAPE, "model.layers.1.mlp.up_proj.weight", "[48,32]");
    x = whole;
    x.t[at].spec.dtype = RY_I32;
    refused(&x, RY_EDTYPE, "model.layers.1.mlp.up_proj.weight", "I32");
    x = whole; /* what checkpoints carry and nobody needs */
    x.t[x.n++] = (ry_named_data){
        .name = "model.layers.0.self_attn.rotary_emb.inv_freq", .spec = RY_SHAPE(RY_F32, 4), .data = zeros};
    assert_ok(ry_tensor_file_write(FOLDER "/odd/model.safetensors", x.n, x.t, NULL));
    assert_ok(ry_model_open(&m, dev, FOLDER "/odd", NULL));
    ry_model_close(m);
    ry_tensor_file_close(f);
}

static void test_odd_configs(void **state) {
    (void)state;
    static const struct {
        const char *text;
        ry_status st;
        const char *words[2];
    } bad[] = {
        {"hidden_size: 32\n", RY_EFORMAT, {"num_hidden_layers", "config"}},
        {"hidden_size: 30\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\nvocab_size: 5\n",
         RY_EFORMAT,
         {"hidden_size (30)", "multiple"}},
        {"hidden_size: 32\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\nnum_key_value_heads: "
         "3\nvocab_size: 5\n",
         RY_EFORMAT,
         {"num_key_value_heads (3)", "multiple"}},
        {"hidden_size: 32\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\n",
         RY_EFORMAT,
         {"vocab_size", "config"}},
        {"hidden_size: 32\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\nvocab_size: "
         "5\nmodel_type: gpt9\n",
         RY_EUNSUPPORTED,
         {"gpt9", "llama"}},
        {"hidden_size: 32\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\nvocab_size: "
         "5\nhidden_act: sine\n",
         RY_EUNSUPPORTED,
         {"sine", "hidden_act"}},
        {"hidden_size: 12\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\nvocab_size: 5\n",
         RY_EFORMAT,
         {"head_dim 3", "even"}},
        {"hidden_size: -4\nintermediate_size: 8\nnum_hidden_layers: 1\nnum_attention_heads: 4\nvocab_size: 5\n",
         RY_EFORMAT,
         {"hidden_size", "config"}},
        {"[1, 2]", RY_EFORMAT, {"config", ""}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ry_model *m = NULL;
        size_t live = ry_mem_live();
        assert_is(bad[i].st, ry_model_init_text(&m, dev, bad[i].text, 0, 0, NULL));
        assert_null(m);
        assert_int_equal(ry_mem_live(), live);
        assert_says(bad[i].words[0], bad[i].words[1]);
    }
    ry_model *m = NULL;
    assert_is(RY_ENOENT, ry_model_open(&m, dev, FOLDER "/nowhere", NULL));
    assert_says("nowhere");
    assert_is(RY_EARG, ry_model_open(&m, dev, NULL, NULL));
}

/* Shapes that are no model input. */
static void test_odd_ids(void **state) {
    (void)state;
    ry_model *m = new_model(1);
    ry_graph *g;
    assert_ok(ry_graph_open(&g, dev));
    assert_true(ry_is_null(ry_model_logits(g, m, ry_input(g, &RY_SHAPE(RY_I32, 5), "ids"))));
    assert_is(RY_ESHAPE, ry_graph_status(g));
    assert_says("[5] i32");
    ry_graph_reset(g);
    assert_true(ry_is_null(ry_model_logits(g, m, RY_NULL)));
    assert_is(RY_ESTALE, ry_graph_status(g));
    ry_graph_reset(g);
    ry_tensor ids = ry_input(g, &RY_SHAPE(RY_I32, 1, 2), "ids"), y = ry_model_logits(g, m, ids);
    assert_true(ry_eval(g, 1, &y, 1, &(ry_feed){ids, (int32_t[]){3, 50}, 8}) != RY_OK); /* outside the vocabulary */
    assert_says("50", "embed_tokens");
    ry_graph_close(g);
    ry_model_close(m);
}

/* ---- sessions ---- */

static void test_session(void **state) {
    (void)state;
    enum { T = 150 }; /* beyond two chunks */
    ry_model *m = new_model(5);
    int32_t *ids = some_ids(T), id;
    float *plain = logits_of(m, ids, T), *all = malloc(T * 50 * sizeof *all), last[50];
    ry_session *s;
    assert_non_null(all);
    assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = T + 3}));
    assert_is(RY_EARG, ry_session_next(s, NULL, &id)); /* nothing fed */
    assert_ok(ry_session_feed(s, ids, T, all, true));
    assert_true(distance(plain, all, T * 50) < 1e-5);
    ry_session_reset(s);
    assert_ok(ry_session_feed(s, ids, 70, NULL, false)); /* in pieces, and one by one */
    for (int64_t i = 70; i < T; i++) {
        assert_ok(ry_session_feed(s, ids + i, 1, last, false));
        assert_true(distance(plain + i * 50, last, 50) < 1e-5);
    }
    int64_t best = 0;
    for (int64_t i = 1; i < 50; i++)
        if (last[i] > last[best]) best = i;
    assert_ok(ry_session_next(s, NULL, &id)); /* greedy without options */
    assert_int_equal(id, best);
    assert_ok(ry_session_next(s, NULL, &id));
    assert_ok(ry_session_next(s, NULL, &id));
    assert_ok(
        ry_session_feed(s, NULL, 0, last, false)); /* the token sampled last counts too: now the context is full */
    assert_is(RY_EARG, ry_session_feed(s, ids, 1, NULL, false));
    assert_says("full", "--ctx-size");
    ry_session_reset(s);
    assert_is(RY_EARG, ry_session_feed(s, (int32_t[]){50}, 1, NULL, false));
    assert_says("50", "vocabulary");
    assert_is(RY_EARG, ry_session_feed(s, (int32_t[]){-1}, 1, NULL, false));
    assert_ok(ry_session_feed(s, ids, 3, last, false)); /* refusals change nothing */
    assert_true(distance(plain + 2 * 50, last, 50) < 1e-5);
    /* One program for every token: once each has run, speaking takes no memory. */
    assert_ok(ry_session_next(s, NULL, &id));
    assert_ok(ry_session_next(s, NULL, &id));
    size_t live = ry_mem_live();
    for (int i = 0; i < 20; i++) assert_ok(ry_session_next(s, NULL, &id));
    assert_int_equal(ry_mem_live(), live);
    ry_session_close(s);
    ry_session_close(NULL);
    free(ids), free(plain), free(all);
    ry_model_close(m);
}

/* A failure between two tokens loses none: the call is made again, and all goes on as if nothing had happened. */
static void test_session_failure(void **state) {
    (void)state;
    ry_model *m = new_model(5);
    ry_session *s;
    int32_t ids[5] = {7, 8, 9}, next;
    float all[5 * 50], last[50];
    for (int fails = 0; fails < 2; fails++) {
        assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = 16}));
        assert_ok(ry_session_feed(s, ids, 3, NULL, false));
        assert_ok(ry_session_next(s, NULL, &ids[3]));
        if (fails) { /* the program for single tokens is not there yet, and cannot be made */
            failing f = {.refuse = 1, .later_too = true};
            ry_alloc_set(failing_alloc, &f);
            ry_status st = ry_session_next(s, NULL, &next);
            ry_alloc_set(NULL, NULL);
            assert_is(RY_ENOMEM, st);
        }
        assert_ok(ry_session_next(s, NULL, &next));
        assert_true(!fails || next == ids[4]);
        ids[4] = next;
        assert_ok(ry_session_feed(s, NULL, 0, last, false));
        ry_session_reset(s);
        assert_ok(ry_session_feed(s, ids, 5, all, true));
        assert_true(distance(all + 4 * 50, last, 50) < 1e-5);
        ry_session_close(s);
    }
    ry_model_close(m);
}

/* ---- evaluation ---- */

static void test_evaluate(void **state) {
    (void)state;
    enum { ROWS = 5, T = 12 };
    ry_model *m = new_model(6);
    int32_t *ids = some_ids(ROWS * T), targets[ROWS * T];
    for (int i = 0; i < ROWS * T; i++) targets[i] = i % 7 == 3 ? -100 : ids[(i + 5) % (ROWS * T)];
    for (int i = 0; i < T; i++) targets[2 * T + i] = -100; /* a row without targets */
    int64_t counted = 0;
    double sum = 0;
    float *y = malloc(ROWS * T * 50 * sizeof *y);
    ry_graph *g;
    assert_non_null(y);
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, ROWS, T), "ids"), t = ry_model_logits(g, m, in);
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){in, ids, ROWS * T * sizeof *ids}));
    assert_ok(ry_read(g, t, y, ROWS * T * 50 * sizeof *y));
    ry_graph_close(g);
    /* labels as the file holds them: label[t] is what position t is, the target of t - 1 */
    int32_t labels[ROWS * T];
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < T; k++) labels[r * T + k] = k ? targets[r * T + k - 1] : -100;
    for (int i = 0; i < ROWS * T; i++) {
        if (i % T == T - 1 || targets[i] < 0) continue;
        double z = 0;
        for (int k = 0; k < 50; k++) z += exp((double)y[i * 50 + k]);
        sum += log(z) - (double)y[i * 50 + targets[i]];
        counted++;
    }
    ry_named_data d[2] = {{"input_ids", RY_SHAPE(RY_I32, ROWS, T), ids}, {"labels", RY_SHAPE(RY_I32, ROWS, T), labels}};
    assert_ok(ry_tensor_file_write(FOLDER "/data.safetensors", 2, d, NULL));
    ry_data *data;
    assert_ok(ry_data_open(&data, FOLDER "/data.safetensors", NULL, NULL));
    ry_eval_result r;
    for (int64_t batch = 0; batch <= 4; batch++) { /* 2 and 4 leave a part of a batch */
        assert_ok(ry_evaluate(&r, m, data, batch, NULL, NULL));
        assert_int_equal(r.tokens, counted);
        assert_int_equal(r.samples, ROWS);
        assert_true(fabs(r.loss - sum / (double)counted) < 1e-5);
        assert_true(fabs(r.perplexity - exp(r.loss)) < 1e-9 * r.perplexity);
    }
    assert_is(RY_EARG, ry_evaluate(&r, m, data, -1, NULL, NULL));
    ry_data_close(data);
    free(y), free(ids);
    ry_model_close(m);
}

/* ---- plans ---- */

/* What ry_train_plan foretells is what the CPU's step then takes. */
static void test_train_plan(void **state) {
    (void)state;
    write_text(FOLDER "/tiny.yaml", tiny);
    for (int kind = 0; kind < 4; kind++) {
        ry_train_options o = {.batch_size = 2,
                              .grad_accum = kind & 1 ? 3 : 1,
                              .recompute = kind & 2,
                              .optimizer = "adamw",
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-8,
                              .clip = 1};
        ry_plan_info far, here;
        ry_model *m = NULL;
        train_step *s;
        assert_ok(ry_train_plan(&far, FOLDER "/tiny.yaml", 0, 24, &o, RY_F32, NULL));
        assert_ok(ry_model_init(&m, dev, FOLDER "/tiny.yaml", 0, 0, NULL));
        assert_ok(train_step_open(&s, m, &o, 2, 24));
        train_step_plan(s, &here);
        assert_memory_equal(&far, &here, sizeof far);
        assert_true(here.weights == (size_t)ry_model_params(m) * 4 * (kind & 1 ? 4 : 3));
        assert_true(here.peak == here.weights + here.inputs + here.outputs + here.slab && here.flops > 0);
        train_step_close(s);
        ry_model_close(m);
    }
    ry_plan_info i;
    assert_true(ry_train_plan(&i, FOLDER "/absent.yaml", 0, 24, &(ry_train_options){0}, RY_F32, NULL) != RY_OK);
    assert_says("absent.yaml");
}

/* Llama 70B on the null device. */
static void test_70b(void **state) {
    static const char config[] = "hidden_size: 8192\nintermediate_size: 28672\nnum_hidden_layers: "
                                 "80\nnum_attention_heads: 64\nnum_key_value_heads: 8\n"
                                 "vocab_size: 128256\nmax_position_embeddings: 8192\nrope_theta: 500000.0\n";
    static const double params = 70553706496.0;
    (void)state;
    ry_device *null;
    ry_model *m = NULL;
    ry_graph *g;
    ry_program *p = NULL;
    ry_plan_info i;
    size_t held = ry_mem_live();
    ry_mem_peak_reset();
    double began = os_now();
    assert_ok(ry_device_open(&null, "null", NULL));
    assert_ok(ry_model_init_text(&m, null, config, 0, 0, NULL));
    assert_true((double)ry_model_params(m) == params);
    assert_ok(ry_graph_open(&g, null));
    ry_tensor y = ry_model_logits(g, m, ry_input(g, &RY_SHAPE(RY_I32, 1, 4096), "ids"));
    assert_ok(ry_compile(&p, g, 1, &y, NULL));
    ry_program_plan(p, &i);
    ry_program_close(p);
    ry_graph_close(g);
    ry_model_close(m);
    ry_device_close(null);
    double took = os_now() - began;
    print_message("70B, 4096 tokens: %.3f s, %.1f MB of the host's; slab %.2f GB\n", took,
                  (double)(ry_mem_peak() - held) / 1e6, (double)i.slab / 1e9);
    assert_true(took < 3 && ry_mem_peak() - held < 100 << 20);
    assert_true((double)i.weights > params * 4 && (double)i.weights < params * 4 + 1e6);
    assert_true((double)i.slab < 2e9);
    assert_true(i.flops > 2 * (params - 1.1e9) * 4096 && i.flops < 2.2 * params * 4096);
    write_text(FOLDER "/70b.yaml", config);
    for (int recompute = 0; recompute < 2; recompute++) {
        ry_mem_peak_reset();
        began = os_now();
        assert_ok(ry_train_plan(&i, FOLDER "/70b.yaml", 0, 4096,
                                &(ry_train_options){.batch_size = 1, .recompute = recompute}, RY_BF16, NULL));
        took = os_now() - began;
        print_message("70B, a training step%s: %.3f s, %.1f MB of the host's; slab %.2f GB, in all %.2f GB\n",
                      recompute ? ", recomputing" : "", took, (double)(ry_mem_peak() - held) / 1e6,
                      (double)i.slab / 1e9, (double)i.peak / 1e9);
        assert_true(took < 10 && ry_mem_peak() - held < 200 << 20);
        assert_true((double)i.weights >= params * 12 &&
                    (double)i.slab >= params * 4); /* moments; gradients until the clip is known */
    }
    assert_int_equal(ry_mem_live(), held);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_init),        cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_mapped),      cmocka_unit_test(test_odd_weights),
                                       cmocka_unit_test(test_odd_configs), cmocka_unit_test(test_odd_ids),
                                       cmocka_unit_test(test_session),     cmocka_unit_test(test_session_failure),
                                       cmocka_unit_test(test_evaluate),    cmocka_unit_test(test_train_plan),
                                       cmocka_unit_test(test_70b)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
