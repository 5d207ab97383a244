/* run.c - rusty run: completes a prompt. */
#include "app.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct args {
    app_common common;
    const char *model, *prompt, *ids, *logits_out;
    int64_t n, ctx, top_k;
    double temp, top_p, min_p;
    bool ignore_eos;
} args;

static ry_status parse_ids(const char *s, int32_t **out, size_t *n) {
    size_t cap = strlen(s) / 2 + 1;
    *n = 0;
    *out = ry_mem_alloc(cap * sizeof **out);
    if (!*out) return RY_ENOMEM;
    for (;;) {
        char *end;
        errno = 0;
        long long v = strtoll(s, &end, 10);
        if (end == s || errno || v < 0 || v > INT32_MAX || (*end && *end != ',')) RY_FAIL(RY_EARG, "--ids needs ids joined by commas, not '%s'", s);
        (*out)[(*n)++] = (int32_t)v;
        if (!*end) return RY_OK;
        s = end + 1;
    }
}

/* The longest prefix that is whole UTF-8: a character's bytes may come as several tokens. */
static size_t whole(const char *s, size_t n) {
    size_t back = 0;
    while (back < 4 && back < n && ((unsigned char)s[n - 1 - back] & 0xC0) == 0x80) back++;
    if (back == n || back == 4) return n;
    unsigned char lead = (unsigned char)s[n - 1 - back];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return need > back + 1 ? n - 1 - back : n;
}

static ry_status write_logits(const args *a, ry_session *s, ry_model *m, const int32_t *ids, size_t n) {
    int64_t V = ry_model_vocab(m);
    float *logits = ry_mem_alloc(ry_mem_size(n, (size_t)V * sizeof *logits, 0));
    if (!logits) return RY_ENOMEM;
    ry_status st = ry_session_feed(s, ids, n, logits, true);
    ry_named_data t[] = {{"logits", RY_SHAPE(RY_F32, (int64_t)n, V), logits}, {"ids", RY_SHAPE(RY_I32, (int64_t)n), ids}};
    if (st == RY_OK) st = ry_tensor_file_write(a->logits_out, 2, t, NULL);
    ry_mem_free(logits);
    return st;
}

static ry_status generate(const args *a, ry_session *s, ry_model *m, const ry_tokenizer *tok, int32_t *ids, size_t *n_ids, double *tok_per_s) {
    ry_sampling how = {.temp = a->temp, .top_k = a->top_k, .top_p = a->top_p, .min_p = a->min_p, .seed = (uint64_t)a->common.seed};
    size_t shown = 0, n = 0;
    double began = os_now();
    while ((int64_t)n < a->n) {
        RY_TRY(ry_session_next(s, &how, &ids[n]));
        if (!a->ignore_eos && ry_model_is_end(m, ids[n])) break;
        n++;
        if (a->common.json) continue;
        if (!tok) {
            printf(n == 1 ? "%d" : ",%d", ids[n - 1]);
            continue;
        }
        char *text;
        size_t n_text;
        RY_TRY(ry_decode(tok, ids, n, true, true, &text, &n_text));
        size_t ok = whole(text, n_text);
        if (ok > shown) fwrite(text + shown, 1, ok - shown, stdout);
        fflush(stdout);
        shown = ok > shown ? ok : shown;
        ry_free(text);
    }
    if (!a->common.json && a->n > 0) putchar('\n');
    *n_ids = n;
    double took = os_now() - began;
    *tok_per_s = took > 0 ? (double)n / took : 0;
    return RY_OK;
}

static ry_status print_json(const ry_tokenizer *tok, const int32_t *ids, size_t n, size_t n_prompt, double tok_per_s) {
    char *text = NULL;
    size_t n_text = 0;
    if (tok) RY_TRY(ry_decode(tok, ids, n, true, false, &text, &n_text));
    printf("{\"text\":");
    if (tok) app_json_text(stdout, text, n_text);
    else fputs("null", stdout);
    printf(",\"ids\":[");
    for (size_t i = 0; i < n; i++) printf(i ? ",%d" : "%d", ids[i]);
    printf("],\"prompt_tokens\":%zu,\"tok_per_s\":%.2f}\n", n_prompt, tok_per_s);
    ry_free(text);
    return RY_OK;
}

static ry_status profile(const ry_session *s) {
    size_t n = ry_session_profile(s, NULL, 0);
    ry_profile_row *rows = ry_mem_alloc(ry_mem_size(n, sizeof *rows, 1));
    if (!rows) return RY_ENOMEM;
    ry_session_profile(s, rows, n);
    app_profile(NULL, n, rows);
    ry_mem_free(rows);
    return n ? ry_session_trace(s, "trace.json") : RY_OK;
}

static int run(const app_verb *v, int argc, char **argv) {
    args a = {.n = 128, .temp = 0.8, .top_k = 40, .top_p = 0.95};
    const app_option o[] = {
        {"--model,-m", OPT_TEXT, &a.model, "FOLDER", "a model: config.json and model.safetensors", NULL},
        {"--prompt,-p", OPT_TEXT, &a.prompt, "TEXT", "what to complete", NULL},
        {"--ids", OPT_TEXT, &a.ids, "1,2,3", "the prompt as ids, as they are", NULL},
        {"--n-predict,-n,--max-tokens,--predict", OPT_INT, &a.n, "N", "tokens at most (128)", NULL},
        {"--temp,--temperature", OPT_REAL, &a.temp, "X", "0: greedy (0.8)", NULL},
        {"--top-k", OPT_INT, &a.top_k, "K", "0: all (40)", NULL},
        {"--top-p", OPT_REAL, &a.top_p, "P", "1: all (0.95)", NULL},
        {"--min-p", OPT_REAL, &a.min_p, "P", "least share of the best one's probability (0)", NULL},
        {"--ctx-size", OPT_INT, &a.ctx, "N", "positions of the cache (what prompt and -n need)", NULL},
        {"--ignore-eos", OPT_FLAG, &a.ignore_eos, NULL, "go on after the model's end tokens", NULL},
        {"--logits-out", OPT_TEXT, &a.logits_out, "FILE", "safetensors with the prompt's logits [T,V]", NULL},
        APP_COMMON_OPTIONS(a.common), {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!a.model) return app_usage(v, "give -m MODEL");
    if (!a.prompt == !a.ids) return app_usage(v, "give -p TEXT or --ids 1,2,3");
    if (a.n < 0 || a.ctx < 0 || a.common.seed < 0 || a.top_k < 0) return app_usage(v, "-n, --ctx-size, --top-k and --seed must not be negative");
    ry_device *d = NULL;
    ry_model *m = NULL;
    ry_tokenizer *tok = NULL;
    ry_session *s = NULL;
    int32_t *prompt = NULL, *ids = NULL;
    size_t n_prompt = 0, n_ids = 0;
    double tok_per_s = 0;
    ry_status st = os_kind(a.model) != OS_NOTHING ? RY_OK : ry_fail(RY_ENOENT, "%s: a model is a folder with config.json and model.safetensors, or a GGUF file", a.model);
    if (st == RY_OK) st = ry_tokenizer_open(&tok, a.model);
    bool there = os_kind(a.model) != OS_NOTHING, folder = os_kind(a.model) == OS_FOLDER;
    if (st != RY_OK && there && a.ids && (st == RY_ENOENT || st == RY_EUNSUPPORTED)) st = RY_OK; /* ids in, ids out */
    if (st == RY_ENOENT && folder) st = ry_fail(st, "%s has no tokenizer.json: give the prompt as --ids", a.model);
    ry_numerics numerics = RY_EXACT;
    if (st == RY_OK) st = app_numerics(&numerics, &a.common, a.logits_out ? RY_EXACT : RY_Q8);
    if (st == RY_OK) st = app_device(&d, &a.common);
    if (st == RY_OK) st = ry_model_open(&m, d, a.model, &(ry_model_options){.precision = a.common.precision, .numerics = numerics, .profile = a.common.profile});
    if (st == RY_OK && a.ids) st = parse_ids(a.ids, &prompt, &n_prompt);
    else if (st == RY_OK) st = ry_encode(tok, a.prompt, strlen(a.prompt), true, &prompt, &n_prompt);
    if (st == RY_OK && !n_prompt) st = ry_fail(RY_EARG, "the prompt is empty: a model needs at least one token to go on from");
    if (st == RY_OK && a.n > INT32_MAX - (int64_t)n_prompt) st = ry_fail(RY_EARG, "-n %lld is too large", (long long)a.n);
    if (st == RY_OK) st = ry_session_open(&s, m, &(ry_session_options){.context = a.ctx ? a.ctx : (int64_t)n_prompt + a.n});
    if (st == RY_OK) st = a.logits_out ? write_logits(&a, s, m, prompt, n_prompt) : ry_session_feed(s, prompt, n_prompt, NULL, false);
    if (st == RY_OK && !(ids = ry_mem_alloc(ry_mem_size((size_t)a.n + 1, sizeof *ids, 0)))) st = RY_ENOMEM;
    if (st == RY_OK) st = generate(&a, s, m, tok, ids, &n_ids, &tok_per_s);
    if (st == RY_OK && a.common.json) st = print_json(tok, ids, n_ids, n_prompt, tok_per_s);
    else if (st == RY_OK && app_tty(stderr)) fprintf(stderr, "%zu prompt tokens, %zu generated, %.1f tokens/s\n", n_prompt, n_ids, tok_per_s);
    if (st == RY_OK && a.common.profile) st = profile(s);
    code = st == RY_OK ? APP_OK : app_fail(st);
    ry_mem_free(ids);
    if (a.ids) ry_mem_free(prompt);
    else ry_free(prompt);
    ry_session_close(s);
    ry_model_close(m);
    ry_tokenizer_close(tok);
    ry_device_close(d);
    return code;
}

const app_verb verb_run = {"run", "-m MODEL -p TEXT|--ids 1,2,3 [options]", "completes a text, prints the completion only",
                           "rusty run -m out/ -p \"ROMEO:\" -n 200 --temp 0.8 --top-k 40 --top-p 0.95 --seed 1", run};
