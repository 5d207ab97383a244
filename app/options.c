/* options.c - one parser for every verb: GNU-style long options, -c FILE, --help from the same table. */
#include "app.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 64 };

static bool has_name(const char *names, const char *name, size_t n) {
    for (const char *p = names; *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && !strncmp(p, name, n)) return true;
        p += len + (p[len] == ',');
    }
    return false;
}

static const app_option *find(const app_option *o, const char *name, size_t n) {
    for (; o->kind; o++)
        if (has_name(o->names, name, n)) return o;
    return NULL;
}

static ry_status in_range(const app_option *o, const char *name, const char *value, double v) {
    bool low = o->kind & OPT_FROM_0 ? v < 0 : o->kind & OPT_FROM_1 ? v < 1 : o->kind & OPT_ABOVE_0 ? v <= 0 : false;
    if (!low && !(o->kind & OPT_TO_1 && v > 1)) return RY_OK;
    RY_FAIL(RY_EARG, "%s must be %s%s, it is %s", name, o->kind & OPT_ABOVE_0 ? "above 0" : o->kind & OPT_FROM_1 ? "at least 1" : "at least 0",
            o->kind & OPT_TO_1 ? " and at most 1" : "", value);
}

ry_status app_set(const app_option *o, const char *name, const char *value) {
    char *end;
    errno = 0;
    switch (o->kind & OPT_KINDS) {
    case OPT_FLAG:
        if (!strcmp(value, "true") || !strcmp(value, "yes")) *(bool *)o->to = true;
        else if (!strcmp(value, "false") || !strcmp(value, "no")) *(bool *)o->to = false;
        else RY_FAIL(RY_EARG, "%s is a switch: true or false, not '%s'", name, value);
        break;
    case OPT_INT: {
        long long v = strtoll(value, &end, 10);
        if (*end || end == value || errno) RY_FAIL(RY_EARG, "%s needs a whole number, not '%s'", name, value);
        RY_TRY(in_range(o, name, value, (double)v));
        *(int64_t *)o->to = v;
        break;
    }
    case OPT_REAL: {
        double v = strtod(value, &end);
        if (*end || end == value || !isfinite(v)) RY_FAIL(RY_EARG, "%s needs a number, not '%s'", name, value);
        RY_TRY(in_range(o, name, value, v));
        *(double *)o->to = v;
        break;
    }
    case OPT_DTYPE: {
        ry_dtype t = RY_NONE;
        for (int i = 1; i < RY_DTYPE_COUNT; i++)
            if (!strcmp(ry_dtype_name((ry_dtype)i), value)) t = (ry_dtype)i;
        if (!t) RY_FAIL(RY_EARG, "%s needs a dtype (f32, bf16, f16), not '%s'", name, value);
        *(ry_dtype *)o->to = t;
        break;
    }
    case OPT_TEXTS: {
        app_texts *t = o->to;
        if (t->n == (int)(sizeof t->at / sizeof *t->at)) RY_FAIL(RY_EARG, "%s stands here more than %d times", name, t->n);
        t->at[t->n++] = value;
        break;
    }
    default: *(const char **)o->to = value;
    }
    if (o->given) *o->given = true;
    return RY_OK;
}

static void help(const app_verb *v, const app_option *o) {
    printf("rusty %s %s\n%s\n\n", v->name, v->args, v->summary);
    for (; o->kind; o++) {
        char left[96];
        snprintf(left, sizeof left, "%s%s%s", o->names, o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-34s %s\n", left, o->help);
    }
    printf("  %-34s %s\n  %-34s %s\n\nexample:\n  %s\n", "-c FILE", "options from a YAML or JSON file; flags win", "--help", "this", v->example);
}

/* ---- -c FILE: applied first, so that flags win ---- */

typedef struct file_options { const app_option *o; const char *path; } file_options;
static struct { char *at[MAX_OPTIONS]; int n; } kept; /* texts of settings files live as long as the program */

static ry_status from_file(void *ud, const char *key, const char *value) {
    file_options *f = ud;
    char name[64];
    snprintf(name, sizeof name, "--%s", key);
    for (char *p = name; *p; p++)
        if (*p == '_') *p = '-';
    const app_option *o = find(f->o, name, strlen(name));
    if (!o) RY_FAIL(RY_EARG, "%s: there is no option %s", f->path, name);
    if (kept.n == MAX_OPTIONS) RY_FAIL(RY_EARG, "%s: too many options", f->path);
    char *copy = ry_mem_alloc(strlen(value) + 1);
    if (!copy) return RY_ENOMEM;
    strcpy(copy, value);
    kept.at[kept.n++] = copy;
    return app_set(o, name, copy);
}

static void free_kept(void) {
    while (kept.n) ry_mem_free(kept.at[--kept.n]);
}

static ry_status apply_file(const app_option *o, const char *path) {
    file_options f = {o, path};
    atexit(free_kept);
    return ry_settings_read(path, from_file, &f);
}

static const char *nearest(const app_option *o, const char *name, size_t n) { /* same first letters: a typing error's usual remedy */
    const char *best = NULL;
    size_t most = 3;
    for (; o->kind; o++) {
        size_t k = 0, len = strcspn(o->names, ",");
        while (k < n && k < len && name[k] == o->names[k]) k++;
        if (k > most) most = k, best = o->names;
    }
    return best;
}

static bool wrong(int *code, const app_verb *v, const char *text) {
    *code = app_usage(v, "%s", text);
    return false;
}

bool app_parse(const app_verb *v, const app_option *o, int argc, char **argv, const char **rest, int max_rest, int *code) {
    int n_rest = 0;
    for (int i = 0; i + 1 < argc; i++)
        if (!strcmp(argv[i], "-c") && !find(o, "-c", 2) && apply_file(o, argv[i + 1]) != RY_OK) return wrong(code, v, ry_message());
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *eq = strchr(a, '=');
        if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
            help(v, o);
            *code = APP_OK;
            return false;
        }
        if (a[0] != '-' || !a[1]) {
            if (n_rest == max_rest) {
                *code = app_usage(v, "'%s' is one word too many", a);
                return false;
            }
            rest[n_rest++] = a;
            continue;
        }
        size_t n = !strncmp(a, "--", 2) && eq ? (size_t)(eq - a) : strlen(a);
        const app_option *x = find(o, a, n);
        if (!x && !strcmp(a, "-c")) {
            if (++i == argc) return wrong(code, v, "-c needs a file");
            continue;
        }
        if (!x) {
            const char *near = nearest(o, a, n);
            if (near) *code = app_usage(v, "there is no option %.*s; did you mean %.*s?", (int)n, a, (int)strcspn(near, ","), near);
            else *code = app_usage(v, "there is no option %.*s", (int)n, a);
            return false;
        }
        const char *value = x->kind == OPT_FLAG ? "true" : NULL;
        if (a[n] == '=') value = a + n + 1;
        else if (!value) {
            if (i + 1 == argc) {
                *code = app_usage(v, "%.*s needs a value: %s", (int)n, a, x->arg);
                return false;
            }
            value = argv[++i];
        }
        if (app_set(x, a, value) != RY_OK) return wrong(code, v, ry_message());
    }
    return true;
}

char *app_settings_text(const app_verb *v, const app_option *o) {
    ry_text t = {0};
    ry_text_printf(&t, "# rusty %s -c FILE\n", v->name);
    for (; o->kind; o++) {
        const char *name = o->names + 2;
        int n = (int)strcspn(name, ","), kind = o->kind & OPT_KINDS;
        if (strncmp(o->names, "--", 2)) continue;
        if (kind == OPT_FLAG && *(bool *)o->to) ry_text_printf(&t, "%.*s: true\n", n, name);
        else if (kind == OPT_INT && *(int64_t *)o->to) ry_text_printf(&t, "%.*s: %lld\n", n, name, (long long)*(int64_t *)o->to);
        else if (kind == OPT_REAL && (o->given ? *o->given : *(double *)o->to != 0) && !isnan(*(double *)o->to)) ry_text_printf(&t, "%.*s: %.9g\n", n, name, *(double *)o->to);
        else if (kind == OPT_DTYPE && *(ry_dtype *)o->to) ry_text_printf(&t, "%.*s: %s\n", n, name, ry_dtype_name(*(ry_dtype *)o->to));
        else if (kind == OPT_TEXT && *(const char **)o->to) {
            ry_text_printf(&t, "%.*s: ", n, name);
            ry_text_json(&t, *(const char **)o->to, strlen(*(const char **)o->to));
            ry_text_puts(&t, "\n");
        }
    }
    if (ry_text_status(&t) == RY_OK) return t.at;
    ry_text_free(&t);
    return NULL;
}
