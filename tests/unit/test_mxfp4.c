/* test_mxfp4.c - gpt-oss as it is published: experts of codes and scales in safetensors, against the same weights written wide; kept as blocks,
 * widened for training, exported and read back; what is refused. */
#include "core/op.h"
#include "model/model.h"
#include "unit/io_help.h"
#include <math.h>
#include <rusty/ops.h>

#define HERE  "test_mxfp4.dir"
#define PLAIN HERE "/plain"
#define WIDE  HERE "/wide"
#define MX    HERE "/mx"
enum { V = 50, T = 24, MOST_TENSORS = 128 };
static ry_device *dev;
static int32_t ids[T];

static const char config[] = "{\"model_type\":\"gpt_oss\",\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                             "\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":50,\"max_position_embeddings\":128,\"sliding_window\":5,"
                             "\"num_local_experts\":4,\"num_experts_per_tok\":2,\"initializer_range\":0.2}";

static bool is_expert(const char *name) { return strstr(name, "experts.") && !strstr(name, "_bias"); }

typedef struct tensors {
    ry_named_data at[MOST_TENSORS];
    char name[MOST_TENSORS][96];
    size_t n;
} tensors;
static void put(tensors *x, const char *name, const char *tail, ry_spec s, const void *data) {
    snprintf(x->name[x->n], sizeof *x->name, "%s%s", name, tail);
    x->at[x->n] = (ry_named_data){x->name[x->n], s, data};
    x->n++;
}

/* w [E,K,N] -> the published codes and scales, by the words of the format (the quantiser has tests of its own); w becomes what they stand for. */
static void quantise(float *w, int64_t E, int64_t K, int64_t N, uint8_t *codes, uint8_t *scales) {
    static const float value[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    for (int64_t e = 0; e < E; e++)
        for (int64_t n = 0; n < N; n++)
            for (int64_t b = 0; b < K / 32; b++, codes += 16) {
                float *x = w + (e * K + 32 * b) * N + n, most = 0;
                for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i * N]));
                const int scale = (int)floor(log2((double)most)) - 2;
                *scales++ = (uint8_t)(scale + 127);
                memset(codes, 0, 16);
                for (int i = 0; i < 32; i++) {
                    int best = 0;
                    for (int k = 1; k < 8; k++)
                        if (fabsf(fabsf(x[i * N]) - ldexpf(value[k], scale)) < fabsf(fabsf(x[i * N]) - ldexpf(value[best], scale))) best = k;
                    const bool less = x[i * N] < 0;
                    codes[i / 2] |= (uint8_t)((best | less << 3) << i % 2 * 4);
                    x[i * N] = ldexpf(less ? -value[best] : value[best], scale);
                }
            }
}

/* Published, from random weights: MX with codes and scales, WIDE with their values. */
static void publish(void) {
    ry_model *m;
    ry_tensor_file *f;
    ry_json *j;
    static tensors mx, wide;
    assert_ok(ry_model_init_text(&m, dev, config, 0, 7, NULL));
    assert_ok(ry_model_save(m, PLAIN, RY_F32));
    ry_model_close(m);
    assert_ok(ry_tensor_file_open(&f, PLAIN));
    for (size_t i = 0; i < ry_tensor_file_count(f); i++) {
        const char *name;
        const void *data;
        ry_spec s;
        assert_ok(ry_tensor_file_get(f, i, &name, &s, &data));
        if (!is_expert(name)) {
            put(&mx, name, "", s, data);
            put(&wide, name, "", s, data);
            continue;
        }
        const int64_t E = s.dim[0], K = s.dim[1], N = s.dim[2];
        float *w = malloc((size_t)(E * K * N) * sizeof *w);
        uint8_t *codes = malloc((size_t)(E * K * N) / 2), *scales = malloc((size_t)(E * K * N) / 32);
        assert_true(w && codes && scales);
        memcpy(w, data, (size_t)(E * K * N) * sizeof *w);
        quantise(w, E, K, N, codes, scales);
        put(&mx, name, "_blocks", RY_SHAPE(RY_U8, E, N, K / 32, 16), codes);
        put(&mx, name, "_scales", RY_SHAPE(RY_U8, E, N, K / 32), scales);
        put(&wide, name, "", s, w);
    }
    assert_ok(os_mkdirs(MX));
    assert_ok(os_mkdirs(WIDE));
    assert_ok(ry_tensor_file_write(MX "/model.safetensors", mx.n, mx.at, NULL));
    assert_ok(ry_tensor_file_write(WIDE "/model.safetensors", wide.n, wide.at, NULL));
    assert_ok(ry_json_read(&j, PLAIN "/config.json", 0));
    assert_ok(ry_json_save(j, WIDE "/config.json"));
    ry_json *q = ry_json_new_object();
    assert_ok(ry_json_put(q, "quant_method", ry_json_new_text("mxfp4")));
    assert_ok(ry_json_put(q, "modules_to_not_convert", ry_json_new_array()));
    assert_ok(ry_json_put(j, "quantization_config", q));
    assert_ok(ry_json_save(j, MX "/config.json"));
    ry_json_free(j);
    for (size_t i = 0; i < mx.n; i++)
        if (mx.at[i].spec.dtype == RY_U8) free((void *)(uintptr_t)mx.at[i].data);
    for (size_t i = 0; i < wide.n; i++)
        if (is_expert(wide.name[i])) free((void *)(uintptr_t)wide.at[i].data);
    ry_tensor_file_close(f);
}

static int setup(void **state) {
    (void)state;
    fresh_folder(HERE);
    assert_ok(ry_device_open(&dev, "cpu", &(ry_device_options){.threads = 2}));
    for (int i = 0; i < T; i++) ids[i] = (i * 37 + i * i * 3 + 11) % V;
    publish();
    return 0;
}
static int teardown(void **state) {
    (void)state;
    ry_device_close(dev);
    return os_remove_tree(HERE) == RY_OK ? 0 : 1;
}

/* Logits; with grad also the loss's gradient to the embeddings, which passes through every expert. */
static void run(const char *path, const ry_model_options *o, float *y, float *grad) {
    ry_model *m;
    ry_graph *g;
    assert_ok(ry_model_open(&m, dev, path, o));
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, T), "ids"), t[2] = {ry_model_logits(g, m, in)};
    if (grad) {
        ry_tensor loss = ry_mean(g, ry_mul(g, t[0], t[0]), RY_AXIS(0) | RY_AXIS(1) | RY_AXIS(2), false), embed = ry_use(g, ry_model_var(m, 0));
        assert_ok(ry_grad(g, loss, RY_NULL, 1, &embed, &t[1]));
    }
    assert_ok(ry_eval(g, grad ? 2 : 1, t, 1, &(ry_feed){in, ids, sizeof ids}));
    assert_ok(ry_read(g, t[0], y, T * V * sizeof *y));
    if (grad) assert_ok(ry_read(g, t[1], grad, V * 64 * sizeof *grad));
    ry_graph_close(g);
    ry_model_close(m);
}

static void same(const float *a, const float *b, int64_t n, double tol) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)b[i]));
    assert_true(most > 0);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tol * most)) fail_msg("%g, not %g, at %d", (double)a[i], (double)b[i], (int)i);
}

static void experts_are(const char *path, const ry_model_options *o, ry_dtype t, bool by_rows) {
    ry_model *m;
    int found = 0;
    assert_ok(ry_model_open(&m, dev, path, o));
    for (size_t i = 0; i < ry_model_var_count(m); i++) {
        const ry_spec *s = ry_var_spec(ry_model_var(m, i));
        if (!is_expert(ry_var_name(ry_model_var(m, i)))) continue;
        const bool down = strstr(ry_var_name(ry_model_var(m, i)), "down");
        const ry_spec want = RY_SHAPE(t, 4, down ? 96 : 64, down ? 64 : 192), rows = RY_SHAPE(t, 4, want.dim[2], want.dim[1]);
        assert_true(s->dtype == t && ry_same_shape(s, by_rows ? &rows : &want));
        found++;
    }
    assert_int_equal(found, 4);
    ry_model_close(m);
}

static void test_published(void **state) {
    static float want[T * V], got[T * V], want_grad[V * 64], got_grad[V * 64];
    const ry_model_options master = {.master_f32 = true};
    (void)state;
    run(WIDE, NULL, want, want_grad);
    experts_are(MX, NULL, RY_MXFP4, true);
    run(MX, NULL, got, got_grad);
    same(got, want, T * V, 1e-6);
    same(got_grad, want_grad, V * 64, 1e-5);
    experts_are(MX, &master, RY_F32, false);
    run(MX, &master, got, NULL);
    same(got, want, T * V, 0);
    run(MX, &(ry_model_options){.numerics = RY_Q8}, got, NULL);
    same(got, want, T * V, 0.1);
    assert_true(memcmp(got, want, sizeof got) != 0);
}

/* Every tensor of WIDE, as it was. */
static void same_tensors(const char *folder) {
    ry_tensor_file *a, *b;
    assert_ok(ry_tensor_file_open(&a, WIDE));
    assert_ok(ry_tensor_file_open(&b, folder));
    assert_int_equal(ry_tensor_file_count(a), ry_tensor_file_count(b));
    for (size_t i = 0; i < ry_tensor_file_count(a); i++) {
        const char *name;
        const void *x, *y;
        ry_spec s, t;
        assert_ok(ry_tensor_file_get(a, i, &name, &s, &x));
        assert_ok(ry_tensor_file_find(b, name, &t, &y));
        assert_true(s.dtype == t.dtype && ry_same_shape(&s, &t));
        for (int64_t k = 0; k < ry_count(&s); k++) assert_true(((const float *)x)[k] == ((const float *)y)[k]);
    }
    ry_tensor_file_close(a);
    ry_tensor_file_close(b);
}

/* Experts in blocks, by their values: those of MX. (Logits would not do where other weights lose something: routers jump.) */
static void near_experts(const char *path, double tol) {
    ry_model *m[2];
    assert_ok(ry_model_open(&m[0], dev, path, NULL));
    assert_ok(ry_model_open(&m[1], dev, MX, NULL));
    for (size_t i = 0; i < ry_model_var_count(m[1]); i++) {
        if (!is_expert(ry_var_name(ry_model_var(m[1], i)))) continue;
        float *x[2];
        const int64_t n = ry_count(ry_var_spec(ry_model_var(m[1], i)));
        for (int k = 0; k < 2; k++) {
            ry_var *v = ry_model_var(m[k], i);
            const size_t bytes = ry_bytes_of(ry_var_spec(v)->dtype, n);
            void *raw = malloc(bytes);
            x[k] = malloc((size_t)n * sizeof(float));
            assert_true(raw && x[k]);
            assert_ok(ry_var_read(v, raw, bytes));
            ry_load_row(raw, ry_var_spec(v)->dtype, 0, n, x[k]);
            free(raw);
        }
        same(x[0], x[1], n, tol);
        free(x[0]);
        free(x[1]);
    }
    ry_model_close(m[0]);
    ry_model_close(m[1]);
}

static void test_exported(void **state) {
    static const struct {
        ry_dtype as;
        double tol;
    } each[] = {{RY_NONE, 0}, {RY_MXFP4, 0}, {RY_Q8_0, 0.01}, {RY_Q5_1, 0.05}};
    static float want[T * V], got[T * V];
    ry_json *j;
    (void)state;
    run(WIDE, NULL, want, NULL);
    assert_ok(ry_export(MX, HERE "/out", false, RY_F32));
    same_tensors(HERE "/out");
    assert_ok(ry_json_read(&j, HERE "/out/config.json", 0));
    assert_null(ry_json_find(j, "quantization_config"));
    ry_json_free(j);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        assert_ok(ry_export(MX, HERE "/out.gguf", true, each[i].as));
        experts_are(HERE "/out.gguf", NULL, each[i].as ? each[i].as : RY_MXFP4, true);
        near_experts(HERE "/out.gguf", each[i].tol);
    }
    assert_ok(ry_export(MX, HERE "/out.gguf", true, RY_F32));
    experts_are(HERE "/out.gguf", NULL, RY_F32, false);
    run(HERE "/out.gguf", NULL, got, NULL);
    same(got, want, T * V, 1e-6);
    /* From GGUF's two tensors on: as they are, and back. */
    assert_ok(ry_export(MX, HERE "/one.gguf", true, RY_NONE));
    assert_ok(ry_export(HERE "/one.gguf", HERE "/two.gguf", true, RY_NONE));
    run(HERE "/two.gguf", NULL, got, NULL);
    same(got, want, T * V, 1e-6);
    assert_ok(ry_export(HERE "/two.gguf", HERE "/out", false, RY_F32));
    same_tensors(HERE "/out");
    assert_ok(ry_export(WIDE, HERE "/wide.gguf", true, RY_MXFP4)); /* quantised by us: the same blocks */
    near_experts(HERE "/wide.gguf", 0);
}

static void test_at_random(void **state) {
    ry_model *m;
    (void)state;
    assert_ok(ry_model_init_text(&m, dev, config, 0, 7, &(ry_model_options){.weights = RY_MXFP4}));
    const ry_spec *s = ry_var_spec(m->layers[0].at[ROLE_EXPERT_GATE_UP].w);
    assert_true(s->dtype == RY_MXFP4 && s->dim[1] == 192 && s->dim[2] == 64);
    ry_model_close(m);
    assert_ok(ry_model_init_text(&m, dev, config, 0, 7, &(ry_model_options){.weights = RY_Q4_K})); /* 64 is no multiple of 256 */
    s = ry_var_spec(m->layers[0].at[ROLE_EXPERT_GATE_UP].w);
    assert_true(s->dtype == RY_F32 && s->dim[1] == 64 && s->dim[2] == 192);
    ry_model_close(m);
}

static ry_status open_and_close(void *folder) {
    ry_model *m = NULL;
    RY_TRY(ry_model_open(&m, dev, folder, NULL));
    ry_model_close(m);
    return RY_OK;
}

/* MX without a tensor, or with one cut or renamed. */
static ry_status open_odd(const char *which, const char *to, bool cut) {
    static tensors x;
    ry_tensor_file *f;
    char *text;
    size_t n;
    x.n = 0;
    fresh_folder(HERE "/odd");
    assert_ok(ry_tensor_file_open(&f, MX));
    for (size_t i = 0; i < ry_tensor_file_count(f); i++) {
        const char *name;
        const void *data;
        ry_spec s;
        assert_ok(ry_tensor_file_get(f, i, &name, &s, &data));
        const bool odd = !strcmp(name, which);
        if (odd && cut) s.dim[0]--;
        if (!odd || cut || to) put(&x, odd && to ? to : name, "", s, data);
    }
    assert_ok(ry_tensor_file_write(HERE "/odd/model.safetensors", x.n, x.at, NULL));
    ry_tensor_file_close(f);
    assert_ok(os_file_read(MX "/config.json", &text, &n));
    write_file(HERE "/odd/config.json", text, n);
    ry_mem_free(text);
    return open_and_close((char[]){HERE "/odd"});
}

static void test_refused(void **state) {
    static const char scales[] = "model.layers.1.mlp.experts.down_proj_scales", blocks[] = "model.layers.1.mlp.experts.down_proj_blocks";
    (void)state;
    assert_int_equal(open_odd(scales, NULL, false), RY_EFORMAT);
    assert_says(blocks, "has no", scales);
    assert_int_equal(open_odd(scales, NULL, true), RY_EFORMAT);
    assert_says(blocks, "[4,64,3] u8");
    assert_int_equal(open_odd(blocks, NULL, false), RY_EFORMAT);
    assert_says("down_proj is missing");
    assert_int_equal(open_odd("model.layers.1.mlp.experts.down_proj_bias", "model.layers.1.mlp.router.weight_blocks", false), RY_EFORMAT); /* not of that form */
    assert_says("down_proj_bias is missing");
    sweep_allocations(open_and_close, (char[]){MX});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_exported), cmocka_unit_test(test_at_random), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
