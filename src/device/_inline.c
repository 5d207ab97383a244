/* _inline.c - puts functions that read a storage in the places of their calls, as text.
 *
 * A driver was seen to run the same product at 37 instead of 47 TFLOPS (NVIDIA 580, 4096 cubed) because its loads stood in functions:
 * it does not move a load across the end of a call. So every function that is one expression, `fn f(..) -> T { return E; }`, and reads
 * a binding (bN[..]), itself or through others like it, is written out where it is called; so is one that uses each parameter once.
 * Definitions stay; who calls them before they are defined still can. Knows the language's brackets and names, no more. */
#include "_wgsl.h"
#include "base/mem.h"
#include <string.h>

enum { MOST_PARAMS = 8 };
typedef struct span { const char *at; size_t n; } span;
typedef struct macro {
    span name, param[MOST_PARAMS];
    int n_param;
    char *value; /* with macros before it written out */
} macro;
typedef struct inliner { RY_VEC(macro) macro; } inliner;

static bool same(span a, span b) { return a.n == b.n && !memcmp(a.at, b.at, a.n); }
static const char *skip_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t')) p++;
    return p;
}
static span name_at(const char *p, const char *end) {
    span s = {p, 0};
    if (p < end && wgsl_letter(*p))
        while (p + s.n < end && wgsl_name_part(p[s.n])) s.n++;
    return s;
}
/* The bracket that closes the one at p; end where it is missing. */
static const char *closing(const char *p, const char *end) {
    int depth = 0;
    for (; p < end; p++) {
        if (*p == '(' || *p == '{' || *p == '[') depth++;
        if ((*p == ')' || *p == '}' || *p == ']') && --depth == 0) return p;
    }
    return end;
}
static const char *comma(const char *p, const char *end) { /* the next one outside brackets, or end */
    for (; p < end && *p != ','; p++)
        if (*p == '(' || *p == '[') p = closing(p, end);
    return p < end ? p : end;
}

static const macro *find(const inliner *x, span name) {
    for (size_t i = 0; i < x->macro.n; i++)
        if (same(x->macro.at[i].name, name)) return &x->macro.at[i];
    return NULL;
}

static void expand(const inliner *x, ry_text *out, const char *p, const char *end);

/* m's value with its parameters replaced by the arguments in [p, end). */
static void call(const inliner *x, ry_text *out, const macro *m, const char *p, const char *end) {
    ry_text arg[MOST_PARAMS] = {{0}};
    int n = 0;
    for (; n < m->n_param && p < end; n++) {
        const char *stop = comma(p, end);
        expand(x, &arg[n], p, stop);
        p = stop < end ? stop + 1 : end;
    }
    ry_text_puts(out, "(");
    for (const char *q = m->value; *q;) {
        span s = name_at(q, q + strlen(q));
        int k = 0;
        if (!s.n) {
            const char *from = q++;
            if (*from >= '0' && *from <= '9') /* numbers carry letters */
                while (wgsl_name_part(*q) || *q == '.') q++;
            ry_text_add(out, from, (size_t)(q - from));
            continue;
        }
        while (k < m->n_param && !same(m->param[k], s)) k++;
        bool member = q > m->value && q[-1] == '.';
        if (k < m->n_param && !member) ry_text_printf(out, "(%s)", arg[k].at ? arg[k].at : "");
        else ry_text_add(out, q, s.n);
        q += s.n;
    }
    ry_text_puts(out, ")");
    for (int i = 0; i < n; i++) {
        if (arg[i].failed) out->failed = true;
        ry_text_free(&arg[i]);
    }
}

static void expand(const inliner *x, ry_text *out, const char *p, const char *end) {
    const char *kept = p;
    while (p < end) {
        if (*p == '/' && p + 1 < end && p[1] == '/') {
            while (p < end && *p != '\n') p++;
        } else if (*p >= '0' && *p <= '9') {
            while (p < end && (wgsl_name_part(*p) || *p == '.')) p++;
        } else if (wgsl_letter(*p)) {
            span s = name_at(p, end);
            const macro *m = p[s.n] == '(' ? find(x, s) : NULL;
            if (!m) {
                p += s.n;
                continue;
            }
            const char *open = p + s.n, *close = closing(open, end);
            ry_text_add(out, kept, (size_t)(p - kept));
            call(x, out, m, open + 1, close);
            kept = p = close < end ? close + 1 : end;
        } else p++;
    }
    ry_text_add(out, kept, (size_t)(end - kept));
}

static bool reads_storage(const char *p) { /* bN[ */
    for (; (p = strchr(p, 'b')); p++)
        if (p[1] >= '0' && p[1] <= '9') {
            const char *q = p + 1;
            while (*q >= '0' && *q <= '9') q++;
            if (*q == '[') return true;
        }
    return false;
}

/* Does every parameter stand there at most once? Then writing it out repeats nothing. */
static bool once(const macro *m, const char *value) {
    int uses[MOST_PARAMS] = {0};
    for (const char *q = value; *q;) {
        span s = name_at(q, q + strlen(q));
        for (int k = 0; k < m->n_param && s.n; k++)
            if (same(m->param[k], s) && ++uses[k] > 1) return false;
        q += s.n ? s.n : 1;
    }
    return true;
}

/* `fn` stands at p: a macro if the function is one expression fit to be written out. Returns the place after its closing bracket, and
 * where its body begins. */
static ry_status define(inliner *x, const char *p, const char *end, const char **body, const char **after) {
    macro m = {.name = name_at(skip_space(p + 2, end), end)};
    const char *open = m.name.at + m.name.n, *close = closing(open, end);
    *body = close;
    while (*body < end && **body != '{') ++*body;
    *after = closing(*body, end);
    if (*after < end) ++*after;
    if (!m.name.n || open >= end || *open != '(' || *body >= end) return RY_OK;
    for (const char *q = open + 1; q < close && m.n_param < MOST_PARAMS;) {
        const char *stop = comma(q, close);
        m.param[m.n_param] = name_at(skip_space(q, stop), stop);
        if (!m.param[m.n_param++].n) return RY_OK;
        q = stop < close ? stop + 1 : close;
    }
    const char *from = skip_space(*body + 1, *after), *semicolon = from;
    if (*after - from < 8 || memcmp(from, "return ", 7) != 0) return RY_OK;
    while (semicolon < *after && *semicolon != ';') semicolon++;
    if (skip_space(semicolon + 1, *after) + 1 != *after) return RY_OK; /* more than that */
    ry_text value = {0};
    expand(x, &value, from + 7, semicolon);
    if (value.failed || !value.at || !(reads_storage(value.at) || once(&m, value.at))) {
        ry_status st = ry_text_status(&value);
        ry_text_free(&value);
        return st;
    }
    macro *slot = RY_PUSH(&x->macro);
    if (!slot) {
        ry_text_free(&value);
        return RY_ENOMEM;
    }
    m.value = value.at;
    *slot = m;
    return RY_OK;
}

ry_status wgsl_inline(ry_text *out, const char *text) {
    inliner x = {{0}};
    ry_status st = RY_OK;
    const char *end = text + strlen(text), *kept = text;
    for (const char *p = text; p < end && st == RY_OK;) {
        bool line = p == text || p[-1] == '\n' || p[-1] == ' ';
        if (*p == '/' && p + 1 < end && p[1] == '/') {
            while (p < end && *p != '\n') p++;
        } else if (line && !strncmp(p, "fn ", 3)) {
            const char *body, *after;
            st = define(&x, p, end, &body, &after);
            ry_text_add(out, kept, (size_t)(body - kept));
            if (st == RY_OK) expand(&x, out, body, after);
            kept = p = after;
        } else p++;
    }
    ry_text_add(out, kept, (size_t)(end - kept));
    for (size_t i = 0; i < x.macro.n; i++) ry_mem_free(x.macro.at[i].value);
    RY_VEC_FREE(&x.macro);
    return st == RY_OK ? ry_text_status(out) : st;
}
