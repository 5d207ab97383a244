/* test_real_model.c - a real pretrained model against transformers in double precision on its dequantised weights: log-probabilities at
 * every position, greedy continuations, perplexity, and the ids of texts.  The model is what tools/fetch_model.sh fetches into build/models;
 * without it this test skips.  The stored values: hf/real_*\/ref.json. */
#include "unit/cm.h"

#include "golden/folder.h"

static const double tolerance = 2e-3; /* of log-probabilities; 30 layers in f32 */
static ry_device *dev;
static int checked;

static double logsumexp(const float *x, int64_t n) {
    double top = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - top);
    return top + log(sum);
}

static size_t ids_of(const ry_json *j, int32_t *out, size_t cap) {
    size_t n = ry_json_count(j);
    assert_true(n <= cap);
    for (size_t i = 0; i < n; i++) {
        int64_t id = -1;
        assert_true(ry_json_as_int(ry_json_at(j, i), &id));
        out[i] = (int32_t)id;
    }
    return n;
}

static void check_encode(const ry_tokenizer *tok, const char *text, size_t n, const int32_t *want, size_t n_want) {
    int32_t *ids;
    size_t got;
    assert_ok(ry_encode(tok, text, n, true, &ids, &got));
    if (got != n_want || (got && memcmp(ids, want, got * sizeof *ids))) fail_msg("other ids (%zu, %zu expected) for: %.200s", got, n_want, text);
    ry_free(ids);
}

/* Prompt `i`: its ids, what every position expects, and how it goes on while the two best logits lie apart. */
static void check_prompt(ry_model *m, const ry_tokenizer *tok, const ry_json *p, const ry_tensor_file *ref, size_t i) {
    enum { MOST = 4096, BEST = 10 };
    int64_t V = ry_model_vocab(m);
    int32_t ids[MOST], greedy[MOST];
    size_t n = ids_of(ry_json_path(p, "ids"), ids, MOST), n_greedy = ids_of(ry_json_path(p, "greedy_ids"), greedy, MOST), k, n_text;
    char key[64];
    ry_spec s;
    const char *text = ry_json_as_text(ry_json_path(p, "text"), &n_text);
    check_encode(tok, text, n_text, ids, n);
    snprintf(key, sizeof key, "p%zu.top10_ids", i);
    const int32_t *top = reference(ref, key, &s, &k);
    snprintf(key, sizeof key, "p%zu.top10_logprobs", i);
    const float *logprobs = reference(ref, key, &s, &k);
    assert_true(top && logprobs && k == n * BEST);
    float *logits = ry_mem_alloc(n * (size_t)V * sizeof *logits);
    ry_session *session;
    assert_ok(ry_session_open(&session, m, &(ry_session_options){.context = (int64_t)(n + n_greedy)}));
    assert_ok(ry_session_feed(session, ids, n, logits, true));
    for (size_t t = 0; t < n; t++) {
        double all = logsumexp(logits + (int64_t)t * V, V);
        for (size_t b = 0; b < BEST; b++) {
            double have = logits[(int64_t)t * V + top[t * BEST + b]] - all, want = logprobs[t * BEST + b];
            if (!(fabs(have - want) <= tolerance)) fail_msg("prompt %zu, position %zu, id %d: log-probability %.5f, expected %.5f", i, t, top[t * BEST + b], have, want);
        }
    }
    const ry_json *close = ry_json_path(p, "margins_below_0_1");
    int64_t until = (int64_t)n_greedy;
    if (ry_json_count(close)) assert_true(ry_json_as_int(ry_json_at(close, 0), &until));
    for (int64_t t = 0; t < until; t++) {
        int32_t id;
        assert_ok(ry_session_next(session, NULL, &id));
        if (id != greedy[t]) fail_msg("prompt %zu: token %lld is %d, expected %d", i, (long long)t, id, greedy[t]);
    }
    ry_session_close(session);
    ry_mem_free(logits);
}

static void check_perplexity(ry_model *m, const ry_json *want, const ry_tensor_file *ref) {
    enum { WINDOW = 256 };
    int64_t V = ry_model_vocab(m);
    ry_spec s;
    size_t n;
    const int32_t *ids = reference(ref, "ppl.input_ids", &s, &n);
    float *logits = ry_mem_alloc(WINDOW * (size_t)V * sizeof *logits);
    ry_session *session;
    double all = 0, expected = 0;
    assert_ok(ry_session_open(&session, m, &(ry_session_options){.context = WINDOW}));
    for (size_t w = 0; ids && w + WINDOW <= n; w += WINDOW) {
        ry_session_reset(session);
        assert_ok(ry_session_feed(session, ids + w, WINDOW, logits, true));
        for (size_t t = 0; t + 1 < WINDOW; t++) all += logsumexp(logits + (int64_t)t * V, V) - logits[(int64_t)t * V + ids[w + t + 1]];
    }
    assert_true(ry_json_as_real(ry_json_path(want, "nll"), &expected));
    printf("negative log-likelihood %.4f, expected %.4f\n", all, expected);
    assert_true(fabs(all - expected) < 1e-4 * expected);
    ry_session_close(session);
    ry_mem_free(logits);
}

static void check_texts(const ry_tokenizer *tok, const char *folder, const ry_json *what) {
    const char *strings = ry_json_as_text(ry_json_path(what, "strings"), NULL), *file = ry_json_as_text(ry_json_path(what, "file"), NULL);
    char path[1024], name[256];
    ry_json *texts, *ids;
    if (!strings || !file) return;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(strings, ","), strings); /* "../tokenizers/strings.json, in order" */
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(ry_json_read(&texts, path, 0));
    snprintf(path, sizeof path, "%s/%s", folder, file);
    assert_ok(ry_json_read(&ids, path, 0));
    for (size_t i = 0; i < ry_json_count(ids); i++) {
        static int32_t want[1 << 16];
        size_t n, n_want = ids_of(ry_json_path(ry_json_at(ids, i), "llama_cpp"), want, sizeof want / sizeof *want);
        const char *text = ry_json_as_text(ry_json_at(texts, i), &n);
        assert_non_null(text);
        check_encode(tok, text, n, want, n_want);
    }
    ry_json_free(texts);
    ry_json_free(ids);
}

static bool check_folder(void *ud, const char *name) {
    char folder[768], path[1024];
    ry_json *j;
    ry_tensor_file *ref;
    ry_model *m;
    ry_tokenizer *tok;
    if (strncmp(name, "real_", 5)) return true;
    snprintf(folder, sizeof folder, "%s/%s", (const char *)ud, name);
    snprintf(path, sizeof path, "%s/ref.json", folder);
    assert_ok(ry_json_read(&j, path, 0));
    const char *file = ry_json_as_text(ry_json_path(j, "model.file"), NULL), *base = file ? strrchr(file, '/') : NULL;
    snprintf(path, sizeof path, RUSTY_SOURCE_DIR "/build/models/%s", base ? base + 1 : file ? file : "none");
    if (os_kind(path) != OS_FILE) {
        fprintf(stderr, "skipped: %s is not there (tools/fetch_model.sh fetches it)\n", path);
        ry_json_free(j);
        return true;
    }
    assert_ok(ry_model_open(&m, dev, path, NULL));
    assert_ok(ry_tokenizer_open(&tok, path));
    snprintf(path, sizeof path, "%s/ref.safetensors", folder);
    assert_ok(ry_tensor_file_open(&ref, path));
    const ry_json *prompts = ry_json_path(j, "prompts");
    for (size_t i = 0; i < ry_json_count(prompts); i++) check_prompt(m, tok, ry_json_at(prompts, i), ref, i);
    check_perplexity(m, ry_json_path(j, "perplexity"), ref);
    check_texts(tok, folder, ry_json_path(j, "tokenizer"));
    checked++;
    ry_tensor_file_close(ref);
    ry_tokenizer_close(tok);
    ry_model_close(m);
    ry_json_free(j);
    return true;
}

static void all(void **state) {
    (void)state;
    char buf[512];
    if (!test_data(buf, sizeof buf, "hf")) skip();
    assert_ok(ry_device_open(&dev, "cpu", NULL));
    assert_ok(os_list(buf, check_folder, buf));
    ry_device_close(dev);
    if (!checked) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
