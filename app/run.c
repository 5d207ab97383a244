/* run.c - rusty run: completes a prompt. */
#include "app.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct args {
    app_common common;
    app_speaker speaker;
    app_sampling sampling;
    const char *prompt, *file, *ids, *logits_out, *prompt_cache;
    int64_t n;
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

/* -p, or a file, or all of standard input; *text is the caller's (ry_text_free). */
static ry_status read_prompt(const args *a, ry_text *text) {
    char *data, piece[4096];
    size_t n;
    if (a->prompt) {
        ry_text_puts(text, a->prompt);
    } else if (a->file) {
        RY_TRY(os_file_read(a->file, &data, &n));
        ry_text_add(text, data, n);
        ry_mem_free(data);
    } else {
        while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) ry_text_add(text, piece, n);
        if (ferror(stdin)) RY_FAIL(RY_EIO, "cannot read standard input");
    }
    ry_text_add(text, "", 0);
    return ry_text_status(text);
}

static ry_status prompt_ids(const args *a, int32_t **ids, size_t *n) {
    ry_text text = {0};
    if (a->ids) return parse_ids(a->ids, ids, n);
    int32_t *coded = NULL;
    ry_status st = read_prompt(a, &text);
    if (st == RY_OK) st = ry_encode(a->speaker.tokenizer, text.at, text.n, true, &coded, n);
    ry_text_free(&text);
    if (st == RY_OK && !(*ids = ry_mem_alloc(ry_mem_size(*n, sizeof **ids, 1)))) st = RY_ENOMEM;
    if (st == RY_OK && *n) memcpy(*ids, coded, *n * sizeof *coded);
    ry_free(coded);
    return st;
}

static ry_status write_logits(const args *a, const int32_t *ids, size_t n) {
    int64_t V = ry_model_vocab(a->speaker.m);
    float *logits = ry_mem_alloc(ry_mem_size(n, (size_t)V * sizeof *logits, 0));
    if (!logits) return RY_ENOMEM;
    ry_status st = ry_session_feed(a->speaker.s, ids, n, logits, true);
    ry_named_data t[] = {{"logits", RY_SHAPE(RY_F32, (int64_t)n, V), logits}, {"ids", RY_SHAPE(RY_I32, (int64_t)n), ids}};
    if (st == RY_OK) st = ry_tensor_file_write(a->logits_out, 2, t, NULL);
    ry_mem_free(logits);
    return st;
}

/* The prompt into the session; what a file of an earlier run holds of its beginning is not computed again. */
static ry_status feed(const args *a, const int32_t *ids, size_t n, size_t *kept) {
    ry_session *s = a->speaker.s;
    const char *path = a->prompt_cache;
    size_t held = 0;
    *kept = 0;
    if (a->logits_out) return write_logits(a, ids, n);
    if (path && os_kind(path) == OS_FILE) RY_TRY(ry_session_load(s, path));
    ry_session_ids(s, &held);
    RY_TRY(ry_session_prompt(s, ids, n, kept));
    if (held && !*kept) fprintf(stderr, "rusty: %s: begins with another prompt, it is computed and kept anew\n", path);
    return path && *kept + 1 < n ? ry_session_save(s, path) : RY_OK;
}

static void show(void *ud, const char *text, size_t n) {
    (void)ud;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void print_ids(const ry_speech *r) {
    for (size_t i = 0; i < r->n_ids; i++) printf(i ? ",%d" : "%d", r->ids[i]);
}

static void print_json(const ry_speech *r, bool with_text, size_t n_prompt, size_t kept) {
    printf("{\"text\":");
    if (with_text) app_json_text(stdout, r->text ? r->text : "", r->n_text);
    else fputs("null", stdout);
    printf(",\"ids\":[");
    print_ids(r);
    printf("],\"prompt_tokens\":%zu,\"cached_tokens\":%zu,\"ending\":\"%s\",\"tok_per_s\":%.2f}\n", n_prompt, kept, app_ending(r->ending), app_speed(r));
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

static ry_status work(args *a) {
    app_speaker *m = &a->speaker;
    const ry_sampling plain = {.temp = 0.8, .top_k = 40, .top_p = 0.95};
    int32_t *ids = NULL;
    size_t n = 0, kept = 0;
    ry_speech r = {.ending = RY_ENDED_BY_LENGTH};
    ry_speak_options o = {.max_tokens = a->n, .stop = a->sampling.stop.at, .n_stop = (size_t)a->sampling.stop.n, .ignore_end = a->ignore_eos, .on_text = a->common.json ? NULL : show, .cancel = app_stop_flag()};
    if (a->n < 0) o.max_tokens = 0; /* to the end of the context */
    RY_TRY(app_sampling_of(&a->sampling, &plain, a->common.seed));
    RY_TRY(app_speaker_open(m, &a->common, !a->ids, a->logits_out ? RY_EXACT : RY_Q8));
    ry_status st = prompt_ids(a, &ids, &n);
    if (st == RY_OK && !n) st = ry_fail(RY_EARG, "the prompt is empty: a model needs at least one token to go on from");
    if (st == RY_OK && a->n > INT32_MAX - (int64_t)n) st = ry_fail(RY_EARG, "-n %lld is too large", (long long)a->n);
    if (st == RY_OK) st = app_speaker_session(m, a->prompt_cache || a->n < 0 ? 0 : (int64_t)n + a->n);
    if (st == RY_OK) st = feed(a, ids, n, &kept);
    if (st == RY_OK && a->n) st = ry_speak(m->s, m->tokenizer, &a->sampling.o, &o, &r);
    if (!a->common.json && !m->tokenizer) print_ids(&r);
    if (!a->common.json && a->n && (st == RY_OK || r.n_ids)) putchar('\n');
    if (st == RY_OK && a->common.json) print_json(&r, m->tokenizer != NULL, n, kept);
    else if (st == RY_OK && app_tty(stderr)) fprintf(stderr, "%zu prompt tokens, %zu generated, %.1f tokens/s\n", n, r.n_ids, app_speed(&r));
    if (st == RY_OK && a->common.profile) st = profile(m->s);
    if (st == RY_OK && r.ending == RY_ENDED_ON_REQUEST) st = ry_fail(RY_ESTOPPED, "stopped by a signal");
    ry_speech_free(&r);
    ry_mem_free(ids);
    return st;
}

static int run(const app_verb *v, int argc, char **argv) {
    args a = {.n = 128, .speaker.ahead = 5};
    const app_option o[] = {
        APP_SPEAKER_OPTIONS(a.speaker),
        {"--prompt,-p", OPT_TEXT, &a.prompt, "TEXT", "what to complete (default: standard input)", NULL},
        {"--file,-f", OPT_TEXT, &a.file, "FILE", "the prompt is a file's text", NULL},
        {"--ids", OPT_TEXT, &a.ids, "1,2,3", "the prompt as ids, as they are", NULL},
        {"--n-predict,-n,--max-tokens,--predict", OPT_INT, &a.n, "N", "tokens at most (128); -1: to the end of the context", NULL},
        APP_SAMPLING_OPTIONS(a.sampling),
        {"--ignore-eos", OPT_FLAG, &a.ignore_eos, NULL, "go on after the model's end tokens", NULL},
        {"--prompt-cache", OPT_TEXT, &a.prompt_cache, "FILE", "keeps the computed prompt there, for prompts that begin alike", NULL},
        {"--logits-out", OPT_TEXT, &a.logits_out, "FILE", "safetensors with the prompt's logits [T,V]", NULL},
        APP_COMMON_OPTIONS(a.common), {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (a.n < -1) return app_usage(v, "-n must be at least -1, it is %lld", (long long)a.n);
    if (!a.speaker.model) return app_usage(v, "give -m MODEL");
    if ((a.prompt != NULL) + (a.file != NULL) + (a.ids != NULL) > 1) return app_usage(v, "give one of -p TEXT, -f FILE and --ids 1,2,3");
    if (!a.prompt && !a.file && !a.ids && app_tty(stdin)) return app_usage(v, "give -p TEXT, -f FILE or --ids 1,2,3");
    if (a.logits_out && a.prompt_cache) return app_usage(v, "--logits-out computes the whole prompt: give it without --prompt-cache");
    ry_status st = work(&a);
    code = st == RY_OK ? APP_OK : app_fail(st);
    app_speaker_close(&a.speaker);
    return code;
}

const app_verb verb_run = {"run", "-m MODEL -p TEXT|-f FILE|--ids 1,2,3 [options]", "completes a text, prints the completion only",
                           "rusty run -m out/ -p \"ROMEO:\" -n 200 --temp 0.8 --top-k 40 --top-p 0.95 --seed 1", run};
