/* app.h - what the sub-commands share: options, messages, numbers for people.  Sees rusty.h and base, nothing else of the library. */
#ifndef RUSTY_APP_H
#define RUSTY_APP_H
#include "base/mem.h"
#include "base/os.h"
#include "base/text.h"
#include <rusty.h>
#include <stdio.h>

enum { APP_OK = 0, APP_FAILED = 1, APP_USAGE = 2, APP_STOPPED = 130 };

typedef enum { OPT_END, OPT_FLAG, OPT_INT, OPT_REAL, OPT_TEXT, OPT_DTYPE, OPT_TEXTS } opt_kind;
typedef struct app_texts { const char *at[64]; int n; } app_texts; /* of an option that may be repeated */
typedef struct app_option {
    const char *names;        /* "--lr,--learning-rate": the first is the one that help shows */
    opt_kind kind;
    void *to;                 /* bool, int64_t, double, const char *, ry_dtype, app_texts */
    const char *arg, *help;   /* "N", "learning rate (1e-3)" */
    bool *given;              /* set where the user said it; may be NULL */
} app_option;

typedef struct app_verb {
    const char *name, *args, *summary, *example;
    int (*run)(const struct app_verb *v, int argc, char **argv);
} app_verb;
extern const app_verb verb_demo, verb_devices, verb_doctor, verb_bench, verb_train, verb_run, verb_eval, verb_plan, verb_inspect, verb_pull, verb_template, verb_tokenizer;

/* Options that every computing verb has. */
typedef struct app_common {
    const char *device, *numerics;
    int64_t threads, seed;
    ry_dtype precision;
    bool json, profile, debug_nan;
} app_common;
#define APP_COMMON_OPTIONS(c)                                                                             \
    {"--device", OPT_TEXT, &(c).device, "D", "auto, cpu, webgpu, webgpu:1 (default auto)", NULL},         \
    {"--threads,-t", OPT_INT, &(c).threads, "N", "CPU threads (default: all)", NULL},                     \
    {"--seed,-s", OPT_INT, &(c).seed, "N", "seed of everything random (default 0)", NULL},                \
    {"--precision", OPT_DTYPE, &(c).precision, "T", "dtype of products: f32, bf16 (default f32)", NULL},  \
    {"--numerics", OPT_TEXT, &(c).numerics, "N", "products with quantised weights: exact, or q8 (faster; default of run, chat, serve, bench)", NULL}, \
    {"--profile", OPT_FLAG, &(c).profile, NULL, "time by operator on stderr, and a Chrome trace", NULL},    \
    {"--json", OPT_FLAG, &(c).json, NULL, "JSON Lines on stdout", NULL}

/* Parses argv; up to max_rest words without a dash go to rest[]. Returns APP_OK to go on; else what main should return is in *code:
 * help was printed (0), or usage was wrong (2). */
bool app_parse(const app_verb *v, const app_option *o, int argc, char **argv, const char **rest, int max_rest, int *code);
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

ry_status app_tokenizer(ry_tokenizer **out, const char *kind_or_path, const char *data_path); /* bytes, chars, or a path */
void app_profile(void *ud, size_t n, const ry_profile_row *rows); /* a table by operator, on stderr */
#define APP_TUNE_SECONDS 1.0 /* how long a line of the table may look for faster kernels */
int app_matmul_table(ry_device *d, const int64_t *sizes, int n, ry_dtype t, const char *layout, double tune_seconds, bool json); /* tune_seconds: a line; 0: no limit */
#endif
