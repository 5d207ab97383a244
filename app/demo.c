/* demo.c - rusty demo: the main job from end to end in a minute and a half. Trains a small Llama on text, shows samples, saves, reloads, completes;
 * then a real model answers. */
#include "app.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 128, BATCH = 8, CALIBRATE = 3, MAX_TEXT = 8 << 20 };
static const char shape[] = "hidden_size: 128\nintermediate_size: 344\nnum_hidden_layers: 5\nnum_attention_heads: 4\nnum_key_value_heads: 2\n"
                            "max_position_embeddings: 512\nrope_theta: 10000.0\ntie_word_embeddings: true\n";

/* ---- the default text: this project's own sources and documents ---- */

typedef struct gather { ry_text text; const char *folder; int depth; } gather;
static bool each(void *ud, const char *name);

static void gather_path(gather *g, const char *path) {
    size_t n = strlen(path);
    if (os_kind(path) == OS_FOLDER && g->depth < 4) {
        gather inner = {.text = g->text, .folder = path, .depth = g->depth + 1};
        os_list(path, each, &inner);
        g->text = inner.text;
        return;
    }
    bool wanted = (n > 2 && (!strcmp(path + n - 2, ".c") || !strcmp(path + n - 2, ".h"))) || (n > 3 && !strcmp(path + n - 3, ".md"));
    char *data;
    size_t bytes;
    if (!wanted || g->text.n > MAX_TEXT || os_file_read(path, &data, &bytes) != RY_OK) return;
    ry_text_add(&g->text, data, bytes);
    ry_mem_free(data);
}

static bool each(void *ud, const char *name) {
    gather *g = ud;
    if (name[0] == '.') return true;
    char *path = os_join(g->folder, name);
    if (!path) return false;
    gather_path(g, path);
    ry_mem_free(path);
    return true;
}

static ry_status read_text(ry_text *out, const char *file) {
    if (file) {
        char *data;
        size_t n;
        RY_TRY(os_file_read(file, &data, &n));
        ry_text_add(out, data, n < MAX_TEXT ? n : MAX_TEXT);
        ry_mem_free(data);
    } else {
        static const char *const folders[] = {"app", "docs", "README.md", "include", "tests", "src"};
        gather g = {0};
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
            if (os_kind(folders[i]) != OS_NOTHING) gather_path(&g, folders[i]);
        *out = g.text;
    }
    RY_TRY(ry_text_status(out));
    if (out->n < 20000) RY_FAIL(RY_EARG, "%s: the demo needs at least 20 KB of text; give --text FILE", file ? file : "no sources of this project here");
    return RY_OK;
}

/* ---- the run ---- */

static void show(const char *title, const char *text) {
    const char *dim = app_colour(stdout) ? "\033[2m" : "", *off = *dim ? "\033[0m" : "";
    printf("%s\n%s", title, dim);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        printf("  │ %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
    printf("%s", off);
}

static void on_step(void *ud, const ry_train_step *s) {
    double *speed = ud;
    char title[96];
    if (s->sample) {
        app_progress_clear();
        snprintf(title, sizeof title, "sample after step %lld:", (long long)s->step);
        show(title, s->sample);
    } else if (s->is_eval) {
        app_progress_clear();
        printf("step %4lld/%lld  held-out loss %.3f nats a byte (%.2f bits)\n", (long long)s->step, (long long)s->steps, s->eval_loss, s->eval_loss / log(2));
    } else {
        *speed = s->tok_per_s;
        app_progress((double)s->step / (double)s->steps, "step %lld/%lld  loss %.3f  %s tok/s  %s left", (long long)s->step, (long long)s->steps, s->loss,
                     app_count(s->tok_per_s).s, app_time(s->eta_s).s);
        int64_t tenth = s->steps / 10 > 0 ? s->steps / 10 : 1;
        if (!app_tty(stderr) && (s->step == 1 || s->step % tenth == 0))
            printf("step %4lld/%lld  loss %.3f  %s tok/s  %s left\n", (long long)s->step, (long long)s->steps, s->loss, app_count(s->tok_per_s).s, app_time(s->eta_s).s);
    }
    fflush(stdout);
}

static void quiet(void *ud, const ry_train_step *s) {
    double *best = ud;
    if (!s->is_eval && s->tok_per_s > *best) *best = s->tok_per_s;
}

/* How many steps fit into `seconds`: a few steps of a throw-away model tell. */
static ry_status calibrate(ry_device *d, const ry_data *data, double seconds, int64_t *steps) {
    ry_model *m = NULL;
    double best = 0;
    ry_train_options o = {.batch_size = BATCH, .iters = CALIBRATE, .on_step = quiet, .ud = &best};
    ry_status st = ry_model_init_text(&m, d, shape, 256, 0, &(ry_model_options){.master_f32 = true});
    if (st == RY_OK) st = ry_train(m, data, NULL, &o);
    ry_model_close(m);
    double n = best * seconds / (BATCH * CONTEXT);
    *steps = n < 60 ? 60 : n > 3000 ? 3000 : (int64_t)n;
    return st;
}

static ry_status complete(ry_device *d, const char *folder, const char *prompt, uint64_t seed) {
    ry_model *m = NULL;
    ry_tokenizer *tok = NULL;
    ry_session *s = NULL;
    int32_t *ids = NULL, all[512];
    size_t n = 0, have = 0;
    char *text = NULL;
    ry_sampling how = {.temp = 0.7, .top_k = 40, .top_p = 0.95, .seed = seed};
    ry_status st = ry_model_open(&m, d, folder, NULL);
    if (st == RY_OK) st = ry_tokenizer_open(&tok, folder);
    if (st == RY_OK) st = ry_encode(tok, prompt, strlen(prompt), true, &ids, &n);
    if (st == RY_OK && n > 128) n = 128;
    if (st == RY_OK) st = ry_session_open(&s, m, &(ry_session_options){.context = (int64_t)n + 300});
    if (st == RY_OK) st = ry_session_feed(s, ids, n, NULL, false);
    if (st == RY_OK) memcpy(all, ids, n * sizeof *all);
    double began = os_now();
    for (have = n; st == RY_OK && have < n + 300; have++) st = ry_session_next(s, &how, &all[have]);
    double took = os_now() - began;
    if (st == RY_OK) st = ry_decode(tok, all, have, true, false, &text, &n);
    if (st == RY_OK) {
        show("\nreloaded from disk; it completes the prompt:", text);
        printf("generated 300 tokens at %.0f tokens/s\n", 300 / took);
    }
    ry_free(text);
    ry_free(ids);
    ry_session_close(s);
    ry_tokenizer_close(tok);
    ry_model_close(m);
    return st;
}

/* ---- a real model ---- */

static void in_file(void *ud, const char *line) { /* the first line, then the totals by type */
    (void)ud;
    if (line[0] != ' ' || strstr(line, "tensor")) puts(line);
}

static void say(void *ud, const char *text, size_t n) {
    (void)ud;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

/* One question, answered from the beginning of a conversation. */
static ry_status ask(ry_session *s, const ry_tokenizer *tok, const ry_template *template_, const char *question) {
    ry_chat *chat = NULL;
    ry_speech said = {0};
    printf("\n  > %s\n  ", question);
    ry_status st = ry_chat_open(&chat, s, tok, template_);
    if (st == RY_OK) st = ry_chat_add(chat, "user", question, strlen(question));
    if (st == RY_OK) st = ry_chat_answer(chat, &(ry_sampling){0}, &(ry_speak_options){.max_tokens = 80, .on_text = say}, &said, NULL, NULL);
    if (st == RY_OK) printf("\n  (%zu tokens, %.0f tokens/s)\n", said.n_ids, app_speed(&said));
    ry_speech_free(&said);
    ry_chat_close(chat);
    return st;
}

static ry_status real(ry_device *d, const char *path) {
    ry_model *m = NULL;
    ry_tokenizer *tok = NULL;
    ry_template *chat = NULL;
    ry_session *s = NULL;
    ry_bench_lm b;
    puts("\nA real model:");
    ry_status st = ry_inspect(path, false, in_file, NULL);
    if (st == RY_OK) st = ry_model_open(&m, d, path, &(ry_model_options){.numerics = RY_Q8});
    if (st == RY_OK) st = ry_tokenizer_open(&tok, path);
    if (st == RY_OK) st = ry_template_open(&chat, path);
    if (st == RY_OK) st = ry_session_open(&s, m, NULL);
    if (st == RY_OK) st = ask(s, tok, chat, "How many days are in a week?");
    if (st == RY_OK) st = ask(s, tok, chat, "Write one sentence about the sea.");
    ry_session_close(s);
    ry_template_close(chat);
    ry_tokenizer_close(tok);
    ry_model_close(m);
    if (st == RY_OK) st = ry_bench_lm_run(&b, d, path, RY_NONE, 64, 48, NULL);
    if (st == RY_OK)
        printf("\nmeasured: prompts at %.0f, answers at %.0f tokens/s; every token reads %s of weights, %.0f %% of what this machine's memory can copy\n",
               b.prompt_tok_per_s, b.tok_per_s, app_bytes(b.weight_bytes).s, 100 * b.gbps / b.copy_gbps);
    return st;
}

/* A line of the held-out part that begins with a letter: text that the model has not seen. */
static void pick_prompt(char *out, size_t cap, const ry_text *t) {
    size_t at = t->n - t->n / 20, n = 0;
    bool whole = false;
    out[0] = 0;
    for (const char *p = memchr(t->at + at, '\n', t->n - at); p && !whole; p = memchr(p, '\n', t->n - (size_t)(p - t->at))) {
        n = strcspn(++p, "\n");
        if (n < 24 || !((*p | 32) >= 'a' && (*p | 32) <= 'z')) continue;
        whole = n + 1 < cap && p[n]; /* with its end: what follows is a line of the model's own */
        if (!whole && out[0]) continue;
        n = whole ? n + 1 : n < cap ? n : cap - 1;
        memcpy(out, p, n);
        out[n] = 0;
    }
}

static int run(const app_verb *v, int argc, char **argv) {
    app_common c = {0};
    const char *file = NULL, *out = "rusty-demo", *model = NULL;
    double seconds = 60;
    const app_option o[] = {{"--text", OPT_TEXT, &file, "FILE", "text to learn (default: this project's sources and documents)", NULL},
                            {"--out,-o", OPT_TEXT, &out, "OUT", "folder of the run (rusty-demo)", NULL},
                            {"--model,-m", OPT_TEXT, &model, "FILE", "a real model that answers two questions at the end", NULL},
                            {"--seconds", OPT_REAL | OPT_ABOVE_0, &seconds, "N", "about how long to train (60)", NULL},
                            APP_COMMON_OPTIONS(c), {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    ry_device *d = NULL;
    ry_tokenizer *tok = NULL;
    ry_data *train = NULL, *held = NULL;
    ry_model *m = NULL;
    ry_text text = {0};
    double speed = 0;
    int64_t steps = 0;
    char prompt[96] = "";
    ry_data_options how = {.seq_len = CONTEXT, .hold_out = 0.05}, hold = {.seq_len = CONTEXT, .hold_out = 0.05, .held_part = true};
    app_banner();
    ry_status st = read_text(&text, file);
    if (st == RY_OK) st = app_device(&d, &c);
    if (st != RY_OK) goto failed;
    app_describe(d);
    puts("\nMatrix products, checked against double precision:");
    const int64_t sizes[] = {512, 512, 512, 1024, 1024, 1024, 2048, 2048, 2048};
    code = app_matmul_table(d, sizes, 3, RY_F32, "NN", APP_TUNE_SECONDS, false);
    if (code != APP_OK) goto done;
    RY_GO(st, failed, ry_tokenizer_bytes(&tok));
    RY_GO(st, failed, ry_data_text(&train, text.at, text.n, tok, &how));
    RY_GO(st, failed, ry_data_text(&held, text.at, text.n - text.n / 20 + (text.n / 20 < 65536 ? text.n / 20 : 65536), tok, &hold));
    RY_GO(st, failed, ry_model_init_text(&m, d, shape, ry_tokenizer_size(tok), (uint64_t)c.seed, &(ry_model_options){.master_f32 = true, .precision = c.precision}));
    RY_GO(st, failed, calibrate(d, train, seconds, &steps));
    pick_prompt(prompt, sizeof prompt, &text);
    printf("\nTraining a Llama of %s parameters on %s of text, %lld steps of %d tokens:\n", app_count((double)ry_model_params(m)).s, app_bytes((double)text.n).s, (long long)steps, BATCH * CONTEXT);
    fflush(stdout);
    ry_train_options t = {.out = out, .batch_size = BATCH, .iters = steps, .lr = 3e-3, .warmup = steps / 20, .weight_decay = 0.1, .beta2 = 0.99, .overwrite = true,
                          .eval_every = (steps + 3) / 4, .sample_every = (steps + 3) / 4, .sample_tokens = 160, .sample_prompt = prompt, .seed = (uint64_t)c.seed, .tokenizer = tok,
                          .on_step = on_step, .ud = &speed, .stop = app_stop_flag()};
    RY_GO(st, failed, ry_train(m, train, held, &t));
    app_progress_clear();
    printf("saved to %s/ as a Hugging Face model (config.json, model.safetensors, tokenizer.json)\n", out);
    ry_model_close(m);
    m = NULL;
    RY_GO(st, failed, complete(d, out, prompt, (uint64_t)c.seed));
    if (model) RY_GO(st, failed, real(d, model));
    printf("\ngo on:  rusty run -m %s -p \"...\" -n 200     rusty train --help\n", out);
    if (model) printf("        rusty chat -m %s\n", model);
    goto done;
failed:
    code = app_fail(st);
done:
    ry_text_free(&text);
    ry_model_close(m);
    ry_data_close(held);
    ry_data_close(train);
    ry_tokenizer_close(tok);
    ry_device_close(d);
    return code;
}

const app_verb verb_demo = {"demo", "[--text FILE]", "trains a small model on text, shows it learn, saves and reloads it", "rusty demo --text book.txt", run};
