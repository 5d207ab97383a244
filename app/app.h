/* app.h - what the sub-commands share: options, messages, numbers for people.  Sees rusty.h and base, nothing else of the library. */
#ifndef RUSTY_APP_H
#define RUSTY_APP_H
#include "base/mem.h"
#include "base/os.h"
#include "base/text.h"
#include <rusty.h>
#include <stdio.h>

enum { APP_OK = 0, APP_FAILED = 1, APP_USAGE = 2, APP_STOPPED = 130 };

typedef enum { OPT_END, OPT_FLAG, OPT_INT, OPT_REAL, OPT_TEXT, OPT_DTYPE, OPT_TEXTS, OPT_KINDS = 15,
               OPT_FROM_0 = 16, OPT_FROM_1 = 32, OPT_ABOVE_0 = 64, OPT_TO_1 = 128 /* of numbers: what is allowed */ } opt_kind;
typedef struct app_texts { const char *at[64]; int n; } app_texts; /* of an option that may be repeated */
typedef struct app_option {
    const char *names;        /* "--lr,--learning-rate": the first is the one that help shows */
    opt_kind kind;            /* one of them, and what is allowed */
    void *to;                 /* bool, int64_t, double, const char *, ry_dtype, app_texts */
    const char *arg, *help;   /* "N", "learning rate (1e-3)" */
    bool *given;              /* set where the user said it; may be NULL */
} app_option;

typedef struct app_verb {
    const char *name, *args, *summary, *example;
    int (*run)(const struct app_verb *v, int argc, char **argv);
} app_verb;
extern const app_verb verb_chat, verb_demo, verb_devices, verb_doctor, verb_bench, verb_train, verb_run, verb_eval, verb_plan, verb_inspect, verb_pull, verb_export, verb_template, verb_tokenizer, verb_tokenize, verb_detokenize;

/* Options that every computing verb has. */
typedef struct app_common {
    const char *device, *numerics;
    int64_t threads, seed;
    ry_dtype precision;
    bool json, profile, debug_nan;
} app_common;
#define APP_COMMON_OPTIONS(c)                                                                                                                         \
    {"--device", OPT_TEXT, &(c).device, "D", "auto, cpu, webgpu, webgpu:1 (default auto)", NULL},                                                     \
    {"--threads,-t", OPT_INT, &(c).threads, "N", "CPU threads (default: all)", NULL},                                                                 \
    {"--seed,-s", OPT_INT | OPT_FROM_0, &(c).seed, "N", "seed of everything random (default 0)", NULL},                                               \
    {"--precision", OPT_DTYPE, &(c).precision, "T", "dtype of products: f32, bf16 (default f32)", NULL},                                              \
    {"--numerics", OPT_TEXT, &(c).numerics, "N", "products with quantised weights: exact, or q8 (faster; default of run, chat, serve, bench)", NULL}, \
    {"--profile", OPT_FLAG, &(c).profile, NULL, "time by operator on stderr, and a Chrome trace", NULL},                                              \
    {"--json", OPT_FLAG, &(c).json, NULL, "JSON Lines on stdout", NULL}

/* Parses argv; up to max_rest words without a dash go to rest[]. Returns APP_OK to go on; else what main should return is in *code:
 * help was printed (0), or usage was wrong (2). */
bool app_parse(const app_verb *v, const app_option *o, int argc, char **argv, const char **rest, int max_rest, int *code);
ry_status app_set(const app_option *o, const char *name, const char *value); /* checked; name: for messages */
char *app_settings_text(const app_verb *v, const app_option *o); /* what was said, as YAML for -c; ry_mem_free */

ry_status app_numerics(ry_numerics *out, const app_common *c, ry_numerics otherwise); /* --numerics, or the verb's own default */
int app_fail(ry_status st);               /* prints ry_message() on stderr; the exit status */
int app_usage(const app_verb *v, const char *fmt, ...) RY_PRINTF(2, 3);
ry_status app_device(ry_device **out, const app_common *c); /* opens it, and says on stderr which it took */
void app_banner(void);
void app_describe(const ry_device *d);
ry_status app_auto(ry_device_info *out);  /* what `auto` takes, without opening it */
const char *app_why_auto(const ry_device_info *chosen);

bool app_tty(FILE *f);
bool app_colour(FILE *f);
typedef struct app_num { char s[32]; } app_num;
app_num app_bytes(double n);              /* "1.25 GB" */
app_num app_count(double n);              /* "15.2k" */
app_num app_time(double s);               /* "1:04" */
void app_json_text(FILE *f, const char *s, size_t n);

/* A progress line on stderr: drawn over itself on a terminal, absent elsewhere. */
void app_progress(double share, const char *fmt, ...) RY_PRINTF(2, 3);
void app_progress_clear(void);

/* A flag that SIGINT and SIGTERM set. */
const volatile int *app_stop_flag(void);
void app_stop_clear(void);

/* How tokens are chosen, for verbs that speak. Values that were not given come from `base` of app_sampling_of. */
typedef struct app_sampling {
    ry_sampling o;
    bool given[16];
    app_texts bias, stop; /* "ID+1.5", "ID-inf" */
    ry_token_bias biases[64];
} app_sampling;
#define APP_SAMPLING_OPTIONS(a)                                                                                                                                      \
    {"--temp,--temperature", OPT_REAL | OPT_FROM_0, &(a).o.temp, "X", "temperature; 0: always the likeliest", &(a).given[0]},                                        \
    {"--top-k", OPT_INT | OPT_FROM_0, &(a).o.top_k, "K", "only the K likeliest tokens; 0: all", &(a).given[1]},                                                      \
    {"--top-p", OPT_REAL | OPT_ABOVE_0 | OPT_TO_1, &(a).o.top_p, "P", "the likeliest tokens that reach probability P; 1: all", &(a).given[2]},                       \
    {"--min-p", OPT_REAL | OPT_FROM_0 | OPT_TO_1, &(a).o.min_p, "P", "least share of the best one's probability (0)", &(a).given[3]},                                \
    {"--typical,--typical-p", OPT_REAL | OPT_ABOVE_0 | OPT_TO_1, &(a).o.typical_p, "P", "locally typical sampling (1: off)", &(a).given[4]},                         \
    {"--epsilon-cutoff", OPT_REAL | OPT_FROM_0 | OPT_TO_1, &(a).o.epsilon_cutoff, "P", "least probability (0)", &(a).given[5]},                                      \
    {"--eta-cutoff", OPT_REAL | OPT_FROM_0 | OPT_TO_1, &(a).o.eta_cutoff, "P", "least probability, less where many are likely (0)", &(a).given[6]},                  \
    {"--repeat-penalty,--repetition-penalty", OPT_REAL | OPT_ABOVE_0, &(a).o.repetition_penalty, "X", "divides logits of tokens that came (1: off)", &(a).given[7]}, \
    {"--presence-penalty", OPT_REAL, &(a).o.presence_penalty, "X", "off the logits of tokens that came (0)", &(a).given[8]},                                         \
    {"--frequency-penalty", OPT_REAL, &(a).o.frequency_penalty, "X", "the same, as often as they came (0)", &(a).given[9]},                                          \
    {"--repeat-last-n", OPT_INT | OPT_FROM_0, &(a).o.penalty_window, "N", "the penalties look at so many last tokens (0: all)", &(a).given[10]},                     \
    {"--no-repeat-ngram-size", OPT_INT | OPT_FROM_0, &(a).o.no_repeat_ngram, "N", "no N tokens in a row twice (0: off)", &(a).given[11]},                            \
    {"--min-tokens", OPT_INT | OPT_FROM_0, &(a).o.min_tokens, "N", "no end before so many tokens (0)", &(a).given[12]},                                              \
    {"--logit-bias,-l", OPT_TEXTS, &(a).bias, "ID+X", "added to a token's logit (ID-inf: never); repeatable", NULL},                                                 \
    {"--stop,-r,--reverse-prompt", OPT_TEXTS, &(a).stop, "TEXT", "ends the answer and is left out; repeatable", NULL}
ry_status app_sampling_of(app_sampling *a, const ry_sampling *base, int64_t seed); /* fills a->o */
/* "temp", "0.7": as the option of that name, later. ENOENT: there is none. */
ry_status app_sampling_set(app_sampling *a, const char *name, const char *value);
void app_sampling_list(const app_sampling *a, void (*each)(void *ud, const char *name, double value), void *ud);

/* A model as a verb that speaks needs it: tokenizer, device, weights, draft, session. */
typedef struct app_speaker {
    const char *model, *draft, *cache_type;
    int64_t ctx, ahead;
    char *path, *draft_path;
    ry_tokenizer *tokenizer; /* NULL: the model has none that can be read */
    ry_device *device;
    ry_model *m, *small;
    ry_session *s;
} app_speaker;
#define APP_SPEAKER_OPTIONS(a)                                                                                            \
    {"--model,-m", OPT_TEXT, &(a).model, "MODEL", "a folder, a .gguf file, or org/name in the Hugging Face cache", NULL}, \
    {"--ctx-size", OPT_INT | OPT_FROM_0, &(a).ctx, "N", "positions of the cache", NULL},                                  \
    {"--cache-type,-ctk", OPT_TEXT, &(a).cache_type, "T", "dtype of the KV cache: f32, f16, bf16, q8_0 (f32)", NULL},     \
    {"--draft-model,-md,--model-draft", OPT_TEXT, &(a).draft, "MODEL", "a small model that proposes tokens", NULL},       \
    {"--draft,--draft-max", OPT_INT | OPT_FROM_1, &(a).ahead, "N", "how many at a time (5)", NULL}
/* model, tokenizer and device; then the session, for `context` positions where --ctx-size was not given. */
ry_status app_speaker_open(app_speaker *a, const app_common *c, bool needs_text, ry_numerics otherwise);
ry_status app_speaker_session(app_speaker *a, int64_t context);
void app_speaker_close(app_speaker *a);
const char *app_ending(ry_ending e);  /* "token", "stop", "length", "request" */
double app_speed(const ry_speech *r); /* tokens a second */

/* The error of ry_tokenizer_open, and advice; where the model cannot be opened either, that error, which says more. */
ry_status app_no_tokenizer(ry_status st, const char *model, const char *advice);
ry_status app_tokenizer(ry_tokenizer **out, const char *kind_or_path, const char *data_path); /* bytes, chars, or a path */
void app_profile(void *ud, size_t n, const ry_profile_row *rows); /* a table by operator, on stderr */
#define APP_TUNE_SECONDS 1.0 /* how long a line of the table may look for faster kernels */
int app_matmul_table(ry_device *d, const int64_t *sizes, int n, ry_dtype t, const char *layout, double tune_seconds, bool json); /* tune_seconds: a line; 0: no limit */
#endif
