/* test_gpu_decode.c - tokens one by one on a GPU against the CPU: caches of every dtype that grow, heads of many widths, one sequence and
 * several; that rope, the writes of the caches and attention are one kernel where they may be; and that two runs give the same bits. */
#include "unit/distance.h"
#include "unit/gpu_pair.h"
#include <math.h>
#include <stdio.h>

enum { V = 40, PROMPT = 250, TOKENS = 12, LAYERS = 2 };
static const char *const heads[] = {
    "num_attention_heads: 4\nnum_key_value_heads: 2\nhead_dim: 32\n",
    "num_attention_heads: 6\nnum_key_value_heads: 2\nhead_dim: 64\n",
    "num_attention_heads: 2\nnum_key_value_heads: 2\nhead_dim: 96\npartial_rotary_factor: 0.5\n",
    "num_attention_heads: 2\nnum_key_value_heads: 1\nhead_dim: 128\nsliding_window: 20\nmodel_type: mistral\n",
};
enum { MODELS = sizeof heads / sizeof *heads };

static void yaml_of(char text[512], size_t i) {
    snprintf(text, 512, "hidden_size: 64\nintermediate_size: 48\nnum_hidden_layers: %d\nvocab_size: %d\nmax_position_embeddings: 1024\ninitializer_range: 0.3\n%s", LAYERS, V, heads[i]);
}
static void some_ids(int32_t *ids, int64_t n, int at) {
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)((i * i * 7 + i * 13 + at * 5 + 3) % V);
}

/* Logits [TOKENS,V] of each of `batch` sequences after prompts of different lengths. */
static float *speak(ry_model *m, ry_dtype cache, int64_t batch) {
    ry_session *s;
    int32_t ids[PROMPT + TOKENS];
    float *y = malloc((size_t)(batch * TOKENS * V) * sizeof *y);
    assert_non_null(y);
    assert_ok(ry_session_open(&s, m, &(ry_session_options){.batch = batch, .cache = cache, .context = 600}));
    for (int64_t b = 0; b < batch; b++) {
        int64_t n = PROMPT - 70 * b;
        some_ids(ids, PROMPT + TOKENS, (int)b);
        assert_ok(ry_session_select(s, b));
        assert_ok(ry_session_feed(s, ids, (size_t)n, NULL, false));
        for (int64_t t = 0; t < TOKENS; t++) assert_ok(ry_session_feed(s, ids + n + t, 1, y + (b * TOKENS + t) * V, false));
    }
    ry_session_close(s);
    return y;
}

static void tokens_agree(void **state) {
    static const ry_dtype caches[] = {RY_F32, RY_F16, RY_BF16, RY_Q8_0};
    (void)state;
    if (!gpu) skip();
    for (size_t i = 0; i < MODELS; i++) {
        char yaml[512];
        ry_model *here, *there;
        yaml_of(yaml, i);
        assert_ok(ry_model_init_text(&here, cpu, yaml, 0, 3, NULL));
        assert_ok(ry_model_init_text(&there, gpu, yaml, 0, 3, NULL));
        for (size_t c = 0; c < sizeof caches / sizeof *caches; c++) {
            if (i && caches[c] == RY_Q8_0) continue;
            int64_t batch = c == 1 ? 2 : 1, n = batch * TOKENS * V;
            float *want = speak(here, caches[c], batch), *have = speak(there, caches[c], batch), *again = speak(there, caches[c], batch);
            double off = distance(want, have, n), allowed = caches[c] == RY_F32 ? 2e-4 : 3e-2;
            if (!(off <= allowed)) print_error("model %zu, a cache of %s: logits are off by %g\n", i, ry_dtype_name(caches[c]), off);
            assert_true(off <= allowed);
            assert_memory_equal(have, again, (size_t)n * sizeof *have);
            free(want), free(have), free(again);
        }
        ry_model_close(here);
        ry_model_close(there);
    }
}

static void one_kernel(void **state) {
    const char *limits = getenv("RUSTY_WEBGPU_LIMITS");
    (void)state;
    if (!gpu || (limits && !strcmp(limits, "default"))) skip(); /* eight storages are too few */
    for (size_t i = 0; i < MODELS; i++) {
        char yaml[512];
        ry_model *m;
        ry_session *s;
        ry_profile_row rows[64];
        int32_t id = 1, steps = 0;
        yaml_of(yaml, i);
        assert_ok(ry_model_init_text(&m, gpu, yaml, 0, 3, &(ry_model_options){.profile = true}));
        assert_ok(ry_session_open(&s, m, &(ry_session_options){.context = 600}));
        for (int t = 0; t < 3; t++) assert_ok(ry_session_feed(s, &id, 1, NULL, false));
        size_t n = ry_session_profile(s, rows, 64);
        assert_true(n > 0 && n <= 64);
        for (size_t k = 0; k < n; k++) steps += !strcmp(rows[k].op, "attention_step");
        assert_int_equal(steps, LAYERS);
        ry_session_close(s);
        ry_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tokens_agree), cmocka_unit_test(one_kernel)};
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
