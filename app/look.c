/* look.c - rusty devices, doctor, inspect, and bench: verbs that look and measure. */
#include "app.h"
#include <stdlib.h>
#include <string.h>

/* ---- devices ---- */

static void print_device(const ry_device_info *d) {
    bool gpu = d->max_binding > 0;
    printf("%-8s  %s (%s%s%s)\n", d->device, d->name, d->type, gpu ? ", " : "", gpu ? d->backend : "");
    if (*d->driver) printf("          driver %s\n", d->driver);
    if (*d->features) printf("          %s\n", d->features);
    if (d->memory) printf("          %s of memory, %d threads\n", app_bytes((double)d->memory).s, d->threads);
    if (gpu)
        printf("          at most %s a buffer, %s a binding, %d bindings; workgroups of %d, %d bytes shared\n", app_bytes((double)d->max_buffer).s,
               app_bytes((double)d->max_binding).s, d->max_bindings, d->max_invocations, d->shared_bytes);
}

static void print_device_json(const ry_device_info *d, bool chosen) {
    const struct { const char *key, *text; } fields[] = {{"device", d->device}, {"name", d->name}, {"backend", d->backend}, {"type", d->type},
                                                         {"driver", d->driver}, {"features", d->features}};
    putchar('{');
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        printf("\"%s\":", fields[i].key);
        app_json_text(stdout, fields[i].text, strlen(fields[i].text));
        putchar(',');
    }
    printf("\"memory\":%zu,\"threads\":%d,\"max_buffer\":%zu,\"max_binding\":%zu,\"max_bindings\":%d,\"shared_bytes\":%d,\"max_invocations\":%d,"
           "\"preference\":%d,\"auto\":%s}\n", d->memory, d->threads, d->max_buffer, d->max_binding, d->max_bindings, d->shared_bytes, d->max_invocations,
           d->preference, chosen ? "true" : "false");
}

static int run_devices(const app_verb *v, int argc, char **argv) {
    bool json = false;
    const app_option o[] = {{"--json", OPT_FLAG, &json, NULL, "JSON Lines on stdout", NULL}, {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    ry_device_info chosen, d;
    ry_status st = app_auto(&chosen);
    if (st != RY_OK) return app_fail(st);
    for (size_t i = 0; i < ry_device_count(); i++) {
        if ((st = ry_device_list(i, &d)) != RY_OK) return app_fail(st);
        json ? print_device_json(&d, !strcmp(d.device, chosen.device)) : print_device(&d);
    }
    for (size_t i = 0; ry_backend_name(i); i++) {
        const char *name = ry_backend_name(i), *why;
        if (ry_backend_check(i) == RY_OK) continue;
        why = ry_message();
        if (!strncmp(why, name, strlen(name)) && !strncmp(why + strlen(name), ": ", 2)) why += strlen(name) + 2;
        if (json) {
            printf("{\"device\":\"%s\",\"missing\":", name);
            app_json_text(stdout, why, strlen(why));
            puts("}");
        } else printf("%-8s  not here: %s\n", name, why);
    }
    if (!json) fprintf(stderr, "auto takes: %s (%s)\n", chosen.device, app_why_auto(&chosen));
    return APP_OK;
}

/* ---- doctor ---- */

typedef struct doctor { int64_t ok, skipped, wrong; bool json; } doctor;

static void doctor_row(void *ud, const ry_doctor_row *r) {
    doctor *d = ud;
    static const char *const result[] = {"ok", "wrong", "skipped"};
    int64_t *count[] = {&d->ok, &d->wrong, &d->skipped};
    ++*count[r->result];
    if (d->json) {
        printf("{\"op\":\"%s\",\"sample\":\"%s\",\"result\":\"%s\",\"err\":%.3g,\"tol\":%.3g,\"message\":", r->op, r->sample, result[r->result], r->err, r->tol);
        app_json_text(stdout, r->message ? r->message : "", r->message ? strlen(r->message) : 0);
        puts("}");
    } else if (r->result == 1) {
        app_progress_clear();
        printf("WRONG  %s / %s: error %.3g, allowed %.3g  %s\n", r->op, r->sample, r->err, r->tol, r->message ? r->message : "");
    } else app_progress(0, "%s / %s", r->op, r->sample);
}

static int run_doctor(const app_verb *v, int argc, char **argv) {
    app_common c = {0};
    const char *filter = NULL;
    const app_option o[] = {{"--ops", OPT_TEXT, &filter, "NAME", "only operators whose name begins so", NULL}, APP_COMMON_OPTIONS(c), {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    ry_device *d = NULL;
    doctor x = {.json = c.json};
    int64_t wrong = 0;
    ry_status st = app_device(&d, &c);
    if (st == RY_OK && !c.json) app_describe(d);
    if (st == RY_OK) st = ry_doctor_run(d, filter, doctor_row, &x, &wrong);
    app_progress_clear();
    if (st == RY_OK && !c.json) printf("%lld checks agree, %lld disagree, %lld skipped\n", (long long)x.ok, (long long)x.wrong, (long long)x.skipped);
    ry_device_close(d);
    return st == RY_OK ? wrong ? APP_FAILED : APP_OK : app_fail(st);
}

/* ---- inspect ---- */

static void print_line(void *ud, const char *text) {
    (void)ud;
    puts(text);
}

static int run_inspect(const app_verb *v, int argc, char **argv) {
    bool json = false;
    const char *path = NULL;
    const app_option o[] = {{"--json", OPT_FLAG, &json, NULL, "JSON Lines on stdout", NULL}, {0}};
    int code;
    if (!app_parse(v, o, argc, argv, &path, 1, &code)) return code;
    if (!path) return app_usage(v, "give a file or folder");
    ry_status st = ry_inspect(path, json, print_line, NULL);
    return st == RY_OK ? APP_OK : app_fail(st);
}

/* ---- bench ---- */

int app_matmul_table(ry_device *d, const int64_t *sizes, int n, ry_dtype t, const char *layout, double tune_seconds, bool json) {
    ry_device_info info;
    ry_device_describe(d, &info);
    for (int i = 0; i < n; i++) {
        ry_bench_matmul r;
        ry_status st = ry_bench_matmul_run(&r, d, sizes[3 * i], sizes[3 * i + 1], sizes[3 * i + 2], t, layout, &(ry_tune_options){.seconds = tune_seconds});
        if (st != RY_OK) return app_fail(st);
        if (json) {
            printf("{\"bench\":\"matmul\",\"device\":");
            app_json_text(stdout, info.name, strlen(info.name));
            printf(",\"backend\":\"%s\",\"type\":\"%s\",\"dtype\":\"%s\",\"layout\":\"%s\",\"m\":%lld,\"n\":%lld,\"k\":%lld,\"ms\":%.6g,\"gflops\":%.6g,"
                   "\"peak_gflops\":%.6g,\"max_rel_err\":%.3g}\n", info.backend, info.type, ry_dtype_name(t), layout, (long long)r.m, (long long)r.n, (long long)r.k,
                   r.ms, r.gflops, r.peak_gflops, r.max_rel_err);
        } else
            printf("  MatMul [%4lldx%4lldx%4lld]: %9.3f ms  │ %9.2f GFLOPS  │ %4.1f %% of measured peak\n", (long long)r.m, (long long)r.n, (long long)r.k, r.ms, r.gflops,
                   r.peak_gflops > 0 ? 100 * r.gflops / r.peak_gflops : 0);
        fflush(stdout);
    }
    return APP_OK;
}

/* "512,4096x50304x768": M, N, K of each product into out[3 i]. 0: malformed. */
static int parse_sizes(const char *s, int64_t *out, int cap) {
    for (int n = 0; n < cap; n++) {
        int dims = 0;
        while (dims < 3) {
            char *end;
            long long v = strtoll(s, &end, 10);
            if (end == s || v < 1 || v > 1 << 20) return 0;
            out[3 * n + dims++] = v;
            s = end;
            if (*s != 'x') break;
            s++;
        }
        if (dims == 1) out[3 * n + 1] = out[3 * n + 2] = out[3 * n];
        else if (dims != 3) return 0;
        if (!*s) return n + 1;
        if (*s++ != ',') return 0;
    }
    return 0;
}

typedef struct ops_table { bool json; } ops_table;

static void ops_row(void *ud, const ry_bench_op *r) {
    const ops_table *t = ud;
    if (t->json) printf("{\"bench\":\"ops\",\"op\":\"%s\",\"ms\":%.6g,\"gbps\":%.6g,\"gflops\":%.6g,\"share_of_copy\":%.4g}\n", r->name, r->ms, r->gbps, r->gflops, r->share);
    else printf("  %-36s %9.3f ms  │ %8.2f GB/s  │ %9.2f GFLOPS  │ %5.1f %% of copy\n", r->name, r->ms, r->gbps, r->gflops, 100 * r->share);
    fflush(stdout);
}

static int bench_train(ry_device *d, const char *config, int64_t batch, int64_t len, int64_t steps, ry_dtype precision, const ry_bench_options *o, bool json) {
    ry_bench_train r;
    ry_status st = ry_bench_train_run(&r, d, config, batch, len, steps, precision, o);
    app_progress_clear();
    if (st != RY_OK) return app_fail(st);
    if (json)
        printf("{\"bench\":\"train\",\"params\":%lld,\"batch\":%lld,\"seq_len\":%lld,\"tok_per_s\":%.6g,\"ms_step\":%.6g,\"ms_first\":%.6g,\"ms_forward\":%.6g,"
               "\"ms_backward\":%.6g,\"ms_update\":%.6g,\"gflops\":%.6g,\"peak_gflops\":%.6g,\"plan_bytes\":%zu,\"device_bytes\":%zu,\"loss_first\":%.6g,\"loss_last\":%.6g}\n",
               (long long)r.params, (long long)r.batch, (long long)r.len, r.tok_per_s, r.ms_step, r.ms_first, r.ms_forward, r.ms_backward, r.ms_update, r.gflops, r.peak_gflops,
               r.plan_bytes, r.device_bytes, r.loss_first, r.loss_last);
    else {
        printf("  %.1f M parameters, batch %lld of %lld tokens, loss %.3f -> %.3f in %lld steps\n", (double)r.params / 1e6, (long long)r.batch, (long long)r.len, r.loss_first,
               r.loss_last, (long long)r.steps);
        printf("  training       %10.0f tokens/s  │ %9.2f ms a step (first: %.2f s)\n", r.tok_per_s, r.ms_step, r.ms_first / 1e3);
        printf("  arithmetic     %10.0f GFLOPS    │ %4.1f %% of measured peak\n", r.gflops, r.peak_gflops > 0 ? 100 * r.gflops / r.peak_gflops : 0);
        if (r.ms_forward > 0) printf("  phases         %10.2f ms forward, %.2f ms backward, %.2f ms update\n", r.ms_forward, r.ms_backward, r.ms_update);
        printf("  memory         %10.1f MB held, %.1f MB planned\n", (double)r.device_bytes / 1e6, (double)r.plan_bytes / 1e6);
    }
    return APP_OK;
}

static int bench_lm(ry_device *d, const char *model, ry_dtype weights, int64_t prompt, int64_t generate, const ry_bench_options *o, bool json) {
    ry_bench_lm r;
    ry_status st = ry_bench_lm_run(&r, d, model, weights, prompt, generate, o);
    app_progress_clear();
    if (st != RY_OK) return app_fail(st);
    if (json)
        printf("{\"bench\":\"lm\",\"params\":%lld,\"prompt\":%lld,\"generated\":%lld,\"prompt_tok_per_s\":%.6g,\"tok_per_s\":%.6g,\"ms_token\":%.6g,\"ms_device\":%.6g,\"ms_first\":%.6g,"
               "\"gbps\":%.6g,\"copy_gbps\":%.6g,\"device_bytes\":%zu}\n",
               (long long)r.params, (long long)r.prompt, (long long)r.generated, r.prompt_tok_per_s, r.tok_per_s, r.ms_token, r.ms_device, r.ms_first, r.gbps, r.copy_gbps, r.device_bytes);
    else {
        printf("  %.1f M parameters, %.1f MB of weights\n", (double)r.params / 1e6, r.weight_bytes / 1e6);
        printf("  prompt of %-5lld %9.0f tokens/s  │ first one after opening: %.2f s\n", (long long)r.prompt, r.prompt_tok_per_s, r.ms_first / 1e3);
        printf("  generation      %9.1f tokens/s  │ %.3f ms a token (%.3f on the device), weights read at %.1f GB/s (copying: %.1f GB/s read and written)\n", r.tok_per_s, r.ms_token, r.ms_device, r.gbps, r.copy_gbps);
        printf("  memory          %9.1f MB held\n", (double)r.device_bytes / 1e6);
    }
    return APP_OK;
}

static void tune_progress(void *ud, const char *text) {
    (void)ud;
    app_progress(0, "%s", text);
}

static int run_bench(const app_verb *v, int argc, char **argv) {
    app_common c = {0};
    const char *what = NULL, *sizes_text = "512,1024,2048,4096", *layout = "NN", *filter = NULL;
    ry_dtype dtype = RY_F32;
    bool tune = false;
    const char *model = NULL;
    int64_t batch = 1, len = 256, steps = 10, prompt = 512, generate = 128, rows = 1;
    const app_option o[] = {
        {"--tune", OPT_FLAG, &tune, NULL, "GPUs: try all kernel variants and keep the fastest (matmul alone does, for a second a line)", NULL},
        {"--sizes", OPT_TEXT, &sizes_text, "512,1024", "matmul: cubes, or MxNxK (512,1024,2048,4096)", NULL},
        {"--dtype", OPT_DTYPE, &dtype, "T", "f32, bf16, f16; lm: also q8_0, q4_K and the other blocks (f32)", NULL},
        {"--layout", OPT_TEXT, &layout, "L", "NN, NT, TN (NN)", NULL},
        {"--ops", OPT_TEXT, &filter, "NAME", "only operators whose name begins so", NULL},
        {"--rows", OPT_INT | OPT_FROM_1, &rows, "N", "ops: N times the rows of each sample (1)", NULL},
        {"--model,-m", OPT_TEXT, &model, "PATH", "train, lm: a model's folder, or its config (YAML or JSON) for random weights", NULL},
        {"--batch,-b", OPT_INT | OPT_FROM_1, &batch, "N", "train: rows of a batch (1)", NULL},
        {"--seq-len", OPT_INT | OPT_FROM_1, &len, "N", "train: tokens of a row (256)", NULL},
        {"--steps", OPT_INT | OPT_FROM_1, &steps, "N", "train: steps that are timed (10)", NULL},
        {"--prompt,-p", OPT_INT | OPT_FROM_0, &prompt, "N", "lm: tokens of the prompt (512)", NULL},
        {"--generate,-n", OPT_INT | OPT_FROM_0, &generate, "N", "lm: tokens generated (128)", NULL},
        APP_COMMON_OPTIONS(c), {0}};
    int code;
    int64_t sizes[3 * 32];
    if (!app_parse(v, o, argc, argv, &what, 1, &code)) return code;
    bool whole = what && (!strcmp(what, "train") || !strcmp(what, "lm"));
    if (!what || (!whole && strcmp(what, "matmul") && strcmp(what, "ops"))) return app_usage(v, "bench what? matmul, ops, train or lm");
    if (whole && !model) return app_usage(v, "bench %s needs -m: a model's folder or a config", what);
    int n = parse_sizes(sizes_text, sizes, 32);
    if (!n) return app_usage(v, "--sizes needs up to 32 sizes (N or MxNxK) joined by commas, not '%s'", sizes_text);
    if (strcmp(layout, "NN") && strcmp(layout, "NT") && strcmp(layout, "TN")) return app_usage(v, "--layout is NN, NT or TN, not '%s'", layout);
    ry_device *d = NULL;
    ry_numerics numerics;
    ry_status st = app_numerics(&numerics, &c, RY_Q8);
    if (st != RY_OK) return app_usage(v, "%s", ry_message());
    st = app_device(&d, &c);
    if (st != RY_OK) return app_fail(st);
    if (!c.json) {
        app_banner();
        app_describe(d);
        puts("");
    }
    if (!strcmp(what, "matmul")) code = app_matmul_table(d, sizes, n, dtype, layout, tune ? 0 : APP_TUNE_SECONDS, c.json);
    else if (whole) {
        ry_tune_options how = {.progress = c.json ? NULL : tune_progress};
        ry_bench_options b = {.tune = tune ? &how : NULL, .numerics = numerics, .on_profile = c.profile ? app_profile : NULL};
        code = !strcmp(what, "lm") ? bench_lm(d, model, dtype, prompt, generate, &b, c.json) : bench_train(d, model, batch, len, steps, c.precision, &b, c.json);
    } else {
        ops_table t = {c.json};
        st = ry_bench_ops_run(d, filter, rows, ops_row, &t);
        code = st == RY_OK ? APP_OK : app_fail(st);
    }
    ry_device_close(d);
    return code;
}

const app_verb verb_devices = {"devices", "[--json]", "what this machine has", "rusty devices", run_devices};
const app_verb verb_doctor = {"doctor", "[--device D]", "compares every kernel with its reference on this machine", "rusty doctor", run_doctor};
const app_verb verb_inspect = {"inspect", "FILE", "what is inside a safetensors or GGUF file, a model folder or a checkpoint", "rusty inspect out/model.safetensors", run_inspect};
const app_verb verb_bench = {"bench", "matmul|ops|train|lm [options]", "speed of products, operators and models, results checked", "rusty bench matmul --sizes 512,1024 --dtype bf16", run_bench};
