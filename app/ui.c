/* ui.c - what a person reads: banner, device line, numbers, the progress line, failures. */
#define _POSIX_C_SOURCE 200809L /* fileno, isatty */
#include "app.h"
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <io.h>
#define isatty _isatty
#define fileno _fileno
#else
#include <unistd.h>
#endif

bool app_tty(FILE *f) { return isatty(fileno(f)) != 0; }
bool app_colour(FILE *f) { return app_tty(f) && !os_env("NO_COLOR"); }

int app_fail(ry_status st) {
    app_progress_clear();
    if (st == RY_ESTOPPED) {
        fprintf(stderr, "rusty: %s\n", ry_message());
        return APP_STOPPED;
    }
    fprintf(stderr, "rusty: %s\n", *ry_message() ? ry_message() : ry_status_text(st));
    return APP_FAILED;
}

int app_usage(const app_verb *v, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "rusty %s: %s\nusage: rusty %s %s   (rusty %s --help shows all)\n", v->name, text, v->name, v->args, v->name);
    return APP_USAGE;
}

ry_status app_auto(ry_device_info *out) {
    size_t n = ry_device_count();
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        ry_device_info d;
        ry_status st = ry_device_list(i, &d);
        if (st != RY_OK) return st;
        if (d.preference > out->preference) *out = d;
    }
    return RY_OK;
}

const char *app_why_auto(const ry_device_info *chosen) {
    if (!strcmp(chosen->type, "DiscreteGpu")) return "a discrete GPU comes before integrated ones and the CPU";
    if (chosen->max_binding) return "a GPU comes before the CPU";
    for (size_t i = 0; i < ry_device_count(); i++) {
        ry_device_info d;
        if (ry_device_list(i, &d) == RY_OK && d.max_binding) return "a GPU driver in software is slower than the CPU's own kernels";
    }
    return "no GPU is usable here";
}

ry_status app_numerics(ry_numerics *out, const app_common *c, ry_numerics otherwise) {
    *out = otherwise;
    if (!c->numerics) return RY_OK;
    if (strcmp(c->numerics, "exact") && strcmp(c->numerics, "q8")) RY_FAIL(RY_EARG, "--numerics is exact or q8, not '%s'", c->numerics);
    *out = strcmp(c->numerics, "q8") ? RY_EXACT : RY_Q8;
    return RY_OK;
}

ry_status app_device(ry_device **out, const app_common *c) {
    ry_device_info info;
    if (c->threads < 0 || c->threads > 4096) RY_FAIL(RY_EARG, "--threads must be from 1 to 4096");
    RY_TRY(ry_device_open(out, c->device, &(ry_device_options){.threads = (int)c->threads}));
    ry_device_describe(*out, &info);
    const char *why = c->device && strcmp(c->device, "auto") ? "as asked" : app_why_auto(&info);
    char threads[24] = "";
    if (info.threads) snprintf(threads, sizeof threads, ", %d threads", info.threads);
    if (!c->json && app_tty(stderr)) fprintf(stderr, "device: %s, %s%s (%s)\n", info.name, info.backend, threads, why);
    return RY_OK;
}

void app_banner(void) {
    const char *on = app_colour(stdout) ? "\033[1;33m" : "", *off = *on ? "\033[0m" : "";
    printf("%s╭──────────────────────────────────────────────╮\n"
           "│  RUSTY %-7s train and run language models │\n"
           "╰──────────────────────────────────────────────╯%s\n", on, ry_version(), off);
}

void app_describe(const ry_device *d) {
    ry_device_info i;
    ry_device_describe(d, &i);
    printf("Device:   %s\nBackend:  %s (%s)\n", i.name, i.backend, i.type);
    if (*i.driver) printf("Driver:   %s\nFeatures: %s\n", i.driver, i.features);
    else if (i.threads) printf("Driver:   %s, %d threads\n", i.features, i.threads);
    if (i.memory) printf("Memory:   %s\n", app_bytes((double)i.memory).s);
}

app_num app_bytes(double n) {
    static const char *const unit[] = {"B", "KB", "MB", "GB", "TB"};
    app_num r;
    int u = 0;
    while (n >= 1000 && u < 4) n /= 1000, u++;
    snprintf(r.s, sizeof r.s, u ? "%.2f %s" : "%.0f %s", n, unit[u]);
    return r;
}

app_num app_count(double n) {
    app_num r;
    if (n >= 1e9) snprintf(r.s, sizeof r.s, "%.2fG", n * 1e-9);
    else if (n >= 1e6) snprintf(r.s, sizeof r.s, "%.2fM", n * 1e-6);
    else if (n >= 1e4) snprintf(r.s, sizeof r.s, "%.1fk", n * 1e-3);
    else snprintf(r.s, sizeof r.s, "%.0f", n);
    return r;
}

app_num app_time(double s) {
    app_num r;
    long n = s > 0 && s < 1e9 ? (long)(s + 0.5) : 0;
    if (n >= 3600) snprintf(r.s, sizeof r.s, "%ld:%02ld:%02ld", n / 3600, n / 60 % 60, n % 60);
    else snprintf(r.s, sizeof r.s, "%ld:%02ld", n / 60, n % 60);
    return r;
}

void app_json_text(FILE *f, const char *s, size_t n) {
    ry_text t = {0};
    ry_text_json(&t, s, n);
    fputs(ry_text_status(&t) == RY_OK ? t.at : "null", f);
    ry_text_free(&t);
}

/* ---- progress ---- */

static bool drawn;

void app_progress(double share, const char *fmt, ...) {
    static const char *const eighth[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    enum { WIDTH = 24 };
    char text[256];
    va_list ap;
    if (!app_tty(stderr)) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    int cells = (int)(share * WIDTH * 8), full = cells / 8;
    const char *on = app_colour(stderr) ? "\033[33m" : "", *off = *on ? "\033[0m" : "";
    fprintf(stderr, "\r\033[K%s", on);
    for (int i = 0; i < full; i++) fputs("█", stderr);
    if (full < WIDTH) fprintf(stderr, "%s", eighth[cells % 8]);
    fprintf(stderr, "%s%*s %s", off, WIDTH - full - (cells % 8 != 0), "", text);
    fflush(stderr);
    drawn = true;
}

void app_progress_clear(void) {
    if (drawn) fputs("\r\033[K", stderr);
    drawn = false;
}

/* ---- profile ---- */

typedef struct by_op { const char *op; double ms, gflop, gbyte; int nodes; } by_op;

static int slower(const void *a, const void *b) {
    const by_op *x = a, *y = b;
    return x->ms > y->ms ? -1 : x->ms < y->ms;
}

void app_profile(void *ud, size_t n, const ry_profile_row *rows) {
    by_op *t = ry_mem_zalloc(ry_mem_size(n, sizeof *t, 1));
    size_t m = 0;
    double total = 0;
    (void)ud;
    if (!t) return;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < m && strcmp(t[k].op, rows[i].op)) k++;
        if (k == m) t[m++].op = rows[i].op;
        t[k].ms += rows[i].ms;
        t[k].gflop += rows[i].gflops * rows[i].ms * 1e-3;
        t[k].gbyte += rows[i].gbps * rows[i].ms * 1e-3;
        t[k].nodes++;
        total += rows[i].ms;
    }
    qsort(t, m, sizeof *t, slower);
    app_progress_clear();
    fprintf(stderr, "%-28s %6s %10s %7s %10s %8s\n", "operator", "nodes", "ms", "share", "GFLOPS", "GB/s");
    for (size_t k = 0; k < m; k++)
        fprintf(stderr, "%-28s %6d %10.3f %6.1f%% %10.2f %8.2f\n", t[k].op, t[k].nodes, t[k].ms, 100 * t[k].ms / (total > 0 ? total : 1),
                t[k].ms > 0 ? t[k].gflop / t[k].ms * 1e3 : 0, t[k].ms > 0 ? t[k].gbyte / t[k].ms * 1e3 : 0);
    fprintf(stderr, "%-28s %6zu %10.3f\n", "all", n, total);
    ry_mem_free(t);
}

/* ---- signals ---- */

static volatile int stop_seen;
static void on_signal(int sig) {
    (void)sig;
    stop_seen = 1;
}

void app_stop_clear(void) { stop_seen = 0; }

const volatile int *app_stop_flag(void) {
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return &stop_seen;
}
