/* text.c - growing strings, their hash, JSON strings, and the expander of kernel texts.
 *
 * Owns the little language of the expander (see text.h).  Never knows what the texts mean. */
#include "base/text.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- growing strings */

static bool room_for(ry_text *t, size_t n) {
    if (t->failed) return false;
    if (n >= SIZE_MAX - t->n) {
        t->failed = true;
        ry_nomem(SIZE_MAX);
    } else if (t->n + n + 1 > t->cap) {
        size_t need = t->n + n + 1, cap = need < SIZE_MAX / 2 ? need + need / 2 + 32 : need;
        char *p = ry_mem_grow(t->at, cap);
        if (p == NULL) {
            t->failed = true;
        } else {
            t->at = p;
            t->cap = cap;
        }
    }
    return !t->failed;
}

void ry_text_add(ry_text *t, const char *s, size_t n) {
    if (!room_for(t, n)) return;
    if (n > 0) memcpy(t->at + t->n, s, n);
    t->n += n;
    t->at[t->n] = 0;
}

uint64_t ry_text_hash(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * UINT64_C(1099511628211);
    return h;
}

void ry_text_puts(ry_text *t, const char *s) { ry_text_add(t, s, strlen(s)); }

void ry_text_printf(ry_text *t, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && room_for(t, (size_t)n)) {
        vsnprintf(t->at + t->n, (size_t)n + 1, fmt, again);
        t->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void ry_text_free(ry_text *t) {
    ry_mem_free(t->at);
    *t = (ry_text){0};
}

ry_status ry_text_status(const ry_text *t) {
    return t->failed ? ry_fail(RY_ENOMEM, "out of memory: a text of %zu bytes could not grow", t->n) : RY_OK;
}

/* Bytes of the UTF-8 character at s (n bytes are there), 0 if it is none: overlong forms, surrogates and numbers beyond
 * U+10FFFF are none (Unicode 15, table 3-7). */
static size_t utf8_bytes(const unsigned char *s, size_t n) {
    unsigned char c = s[0], lo = 0x80, hi = 0xBF;
    size_t more = c < 0x80                 ? 0
                  : c >= 0xC2 && c <= 0xDF ? 1
                  : c >= 0xE0 && c <= 0xEF ? 2
                  : c >= 0xF0 && c <= 0xF4 ? 3
                                           : 9;
    if (c == 0xE0) lo = 0xA0;
    if (c == 0xED) hi = 0x9F;
    if (c == 0xF0) lo = 0x90;
    if (c == 0xF4) hi = 0x8F;
    if (more >= n) return 0;
    for (size_t i = 1; i <= more; i++, lo = 0x80, hi = 0xBF)
        if (s[i] < lo || s[i] > hi) return 0;
    return more + 1;
}

void ry_text_json(ry_text *t, const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    ry_text_add(t, "\"", 1);
    for (size_t i = 0; i < n;) {
        size_t bytes = utf8_bytes(u + i, n - i);
        if (bytes == 0) {
            ry_text_puts(t, "\xEF\xBF\xBD");
            bytes = 1;
        } else if (u[i] == '"' || u[i] == '\\') {
            ry_text_add(t, "\\", 1);
            ry_text_add(t, s + i, 1);
        } else if (u[i] == '\n') {
            ry_text_puts(t, "\\n");
        } else if (u[i] == '\t') {
            ry_text_puts(t, "\\t");
        } else if (u[i] < 0x20 || u[i] == 0x7F) {
            ry_text_printf(t, "\\u%04x", (unsigned)u[i]);
        } else {
            ry_text_add(t, s + i, bytes);
        }
        i += bytes;
    }
    ry_text_add(t, "\"", 1);
}

/* ---------------------------------------------------------------- the expander: names */

enum { MAX_DEPTH = 32, MAX_OUTPUT = 64 << 20, NAME_BYTES = 64, MAX_TURNS = 1 << 20, MAX_LETS = 64, LET_BYTES = 128 };

typedef struct loop_name { /* innermost first */
    const struct loop_name *outer;
    char name[NAME_BYTES];
    int64_t value;
} loop_name;

typedef struct lets { /* what #let said */
    int n;
    struct { char name[NAME_BYTES], value[LET_BYTES]; } at[MAX_LETS];
} lets;

typedef struct expander {
    ry_text *out;
    const char *what; /* the file, for messages */
    int line;
    int depth;
    int *turns; /* of all loops together: nested ones multiply */
    lets *lets;
    const ry_text_var *vars;
    size_t n_vars;
    const loop_name *loops;
    ry_text_include inc;
    void *ud;
} expander;

static ry_status fault(const expander *x, const char *fmt, ...) RY_PRINTF(2, 3);
static ry_status fault(const expander *x, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    ry_failv(RY_EFORMAT, fmt, ap);
    va_end(ap);
    return ry_fail_in(RY_EFORMAT, "%s:%d", x->what, x->line);
}

static bool name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static size_t name_bytes(const char *s) {
    if (!name_start(s[0])) return 0;
    size_t n = 1;
    while (name_start(s[n]) || digit(s[n])) n++;
    return n;
}

static bool same(const char *name, const char *s, size_t n) { return strncmp(name, s, n) == 0 && name[n] == 0; }

static const char *var_text(const expander *x, const char *s, size_t n) {
    for (int i = 0; i < x->lets->n; i++)
        if (same(x->lets->at[i].name, s, n)) return x->lets->at[i].value;
    for (size_t i = 0; i < x->n_vars; i++)
        if (same(x->vars[i].name, s, n)) return x->vars[i].value;
    return NULL;
}

static const loop_name *find_loop(const expander *x, const char *s, size_t n) {
    for (const loop_name *l = x->loops; l; l = l->outer)
        if (same(l->name, s, n)) return l;
    return NULL;
}

/* ---------------------------------------------------------------- the expander: expressions */

/* Decimal or 0x; false on overflow or if nothing is there. *end is behind it. */
static bool read_int(const char *s, const char **end, int64_t *out) {
    uint64_t v = 0, base = 10;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    }
    const char *begin = s;
    for (;; s++) {
        uint64_t d = digit(*s)                              ? (uint64_t)(*s - '0')
                     : base == 16 && *s >= 'a' && *s <= 'f' ? (uint64_t)(*s - 'a') + 10
                     : base == 16 && *s >= 'A' && *s <= 'F' ? (uint64_t)(*s - 'A') + 10
                                                            : 16;
        if (d >= base) break;
        if (v > ((uint64_t)INT64_MAX - d) / base) return false;
        v = v * base + d;
    }
    *end = s;
    *out = (int64_t)v;
    return s > begin;
}

typedef struct expression {
    const expander *x;
    const char *at;
    int depth;
    bool skip; /* the side of && or || that does not count: names in it need not be known */
} expression;

static ry_status read_or(expression *e, int64_t *out);

static void skip_space(expression *e) {
    while (space(*e->at)) e->at++;
}

static bool accept(expression *e, const char *token) {
    skip_space(e);
    size_t n = strlen(token);
    if (strncmp(e->at, token, n) != 0) return false;
    if (n == 1 && (*token == '<' || *token == '>' || *token == '!') && e->at[1] == '=') return false;
    e->at += n;
    return true;
}

static ry_status read_name(expression *e, int64_t *out) {
    size_t n = name_bytes(e->at);
    const char *name = e->at;
    e->at += n;
    *out = 0;
    if (e->skip) return RY_OK;
    const loop_name *l = find_loop(e->x, name, n);
    if (l) {
        *out = l->value;
        return RY_OK;
    }
    const char *text = var_text(e->x, name, n);
    if (text == NULL) return fault(e->x, "unknown name %.*s", (int)n, name);
    bool negative = text[0] == '-';
    const char *end = NULL;
    if (!read_int(text + negative, &end, out) || *end != 0)
        return fault(e->x, "%.*s is \"%s\", which is no integer to calculate with", (int)n, name, text);
    if (negative) *out = -*out;
    return RY_OK;
}

static ry_status read_unary(expression *e, int64_t *out) {
    if (++e->depth > MAX_DEPTH) return fault(e->x, "expression nested too deeply");
    ry_status st = RY_OK;
    if (accept(e, "!")) {
        st = read_unary(e, out);
        *out = !*out;
    } else if (accept(e, "-")) {
        st = read_unary(e, out);
        *out = (int64_t)(0 - (uint64_t)*out);
    } else if (accept(e, "+")) {
        st = read_unary(e, out);
    } else if (accept(e, "(")) {
        st = read_or(e, out);
        if (st == RY_OK && !accept(e, ")")) st = fault(e->x, "')' is missing before \"%.20s\"", e->at);
    } else if (digit(*e->at)) {
        if (!read_int(e->at, &e->at, out)) st = fault(e->x, "\"%.24s\" is no integer of 64 bits", e->at);
    } else if (name_start(*e->at)) {
        st = read_name(e, out);
    } else {
        *out = 0;
        st = fault(e->x, "a number, name or '(' is expected at \"%.20s\"", e->at);
    }
    e->depth--;
    return st;
}

static ry_status read_product(expression *e, int64_t *out) {
    RY_TRY(read_unary(e, out));
    for (;;) {
        char op = accept(e, "*") ? '*' : accept(e, "/") ? '/' : accept(e, "%") ? '%' : 0;
        if (op == 0) return RY_OK;
        int64_t r = 0;
        RY_TRY(read_unary(e, &r));
        if (op == '*') {
            *out = (int64_t)((uint64_t)*out * (uint64_t)r);
        } else if (e->skip) {
            *out = 0;
        } else if (r == 0) {
            return fault(e->x, "division by zero");
        } else if (r == -1) { /* INT64_MIN / -1 has no value */
            *out = op == '/' ? (int64_t)(0 - (uint64_t)*out) : 0;
        } else {
            *out = op == '/' ? *out / r : *out % r;
        }
    }
}

static ry_status read_sum(expression *e, int64_t *out) {
    RY_TRY(read_product(e, out));
    for (;;) {
        char op = accept(e, "+") ? '+' : accept(e, "-") ? '-' : 0;
        if (op == 0) return RY_OK;
        int64_t r = 0;
        RY_TRY(read_product(e, &r));
        *out = (int64_t)(op == '+' ? (uint64_t)*out + (uint64_t)r : (uint64_t)*out - (uint64_t)r);
    }
}

static ry_status read_comparison(expression *e, int64_t *out) {
    static const char *const tokens[] = {"==", "!=", "<=", ">=", "<", ">"};
    RY_TRY(read_sum(e, out));
    for (;;) {
        int op = 0;
        while (op < 6 && !accept(e, tokens[op])) op++;
        if (op == 6) return RY_OK;
        int64_t l = *out, r = 0;
        RY_TRY(read_sum(e, &r));
        *out = op == 0 ? l == r : op == 1 ? l != r : op == 2 ? l <= r : op == 3 ? l >= r : op == 4 ? l < r : l > r;
    }
}

static ry_status read_and(expression *e, int64_t *out) {
    RY_TRY(read_comparison(e, out));
    bool skip = e->skip;
    while (accept(e, "&&")) {
        int64_t r = 0;
        e->skip = skip || *out == 0;
        RY_TRY(read_comparison(e, &r));
        *out = *out != 0 && r != 0;
    }
    e->skip = skip;
    return RY_OK;
}

static ry_status read_or(expression *e, int64_t *out) {
    RY_TRY(read_and(e, out));
    bool skip = e->skip;
    while (accept(e, "||")) {
        int64_t r = 0;
        e->skip = skip || *out != 0;
        RY_TRY(read_and(e, &r));
        *out = *out != 0 || r != 0;
    }
    e->skip = skip;
    return RY_OK;
}

/* One expression at s; *end is behind it and the space that follows. */
static ry_status calculate(const expander *x, const char *s, const char **end, int64_t *out) {
    expression e = {.x = x, .at = s};
    RY_TRY(read_or(&e, out));
    skip_space(&e);
    *end = e.at;
    return RY_OK;
}

/* ---------------------------------------------------------------- the expander: lines */

enum { LINE_TEXT, LINE_IF, LINE_ELSE, LINE_END, LINE_FOR, LINE_INCLUDE, LINE_LET, LINE_NONE };

/* What stands on the line at s, and where its argument begins. Preprocessor lines that are not ours are text. */
static int line_kind(const char *s, const char **argument) {
    static const struct {
        const char *word;
        int kind;
    } words[] = {{"if", LINE_IF},   {"else", LINE_ELSE},       {"end", LINE_END},
                 {"for", LINE_FOR}, {"include", LINE_INCLUDE}, {"let", LINE_LET}};
    if (*s == 0) return LINE_NONE;
    while (space(*s)) s++;
    if (*s != '#') return LINE_TEXT;
    for (s++; space(*s);) s++;
    size_t n = name_bytes(s);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!same(words[i].word, s, n)) continue;
        for (s += n; space(*s);) s++;
        if (words[i].kind == LINE_INCLUDE && (*s == '<' || *s == '"')) return LINE_TEXT;
        *argument = s;
        return words[i].kind;
    }
    return LINE_TEXT;
}

static const char *next_line(expander *x, const char *s) {
    s += strcspn(s, "\n");
    x->line++;
    return *s ? s + 1 : s;
}

static bool line_ends(const char *s) {
    while (space(*s)) s++;
    return *s == '\n' || *s == 0;
}

/* One line of text with its ${...}. */
static ry_status put_line(expander *x, const char *s) {
    size_t n = strcspn(s, "\n");
    const char *stop = s + n;
    while (s < stop) {
        const char *dollar = s;
        while (dollar < stop && !(dollar[0] == '$' && dollar[1] == '{')) dollar++;
        ry_text_add(x->out, s, (size_t)(dollar - s));
        if (dollar == stop) break;
        s = dollar + 2;
        size_t name = name_bytes(s);
        const char *text = name > 0 && s[name] == '}' && find_loop(x, s, name) == NULL ? var_text(x, s, name) : NULL;
        if (text) {
            ry_text_puts(x->out, text);
            s += name + 1;
            continue;
        }
        int64_t value = 0;
        RY_TRY(calculate(x, s, &s, &value));
        if (*s != '}') return fault(x, "'}' is missing before \"%.*s\"", (int)(stop - s < 20 ? stop - s : 20), s);
        s++;
        ry_text_printf(x->out, "%lld", (long long)value);
    }
    if (*stop == '\n') ry_text_add(x->out, "\n", 1);
    if (x->out->failed) return ry_text_status(x->out);
    if (x->out->n > MAX_OUTPUT) return fault(x, "the expanded text is longer than %d bytes", MAX_OUTPUT);
    return RY_OK;
}

static ry_status set_let(expander *x, const char *argument) {
    size_t n = name_bytes(argument), before = x->out->n;
    if (n == 0 || n >= NAME_BYTES) return fault(x, "#let needs a name of at most %d letters", NAME_BYTES - 1);
    const char *value = argument + n;
    while (space(*value)) value++;
    RY_TRY(put_line(x, value));
    size_t bytes = x->out->n - before;
    while (bytes && (x->out->at[before + bytes - 1] == '\n' || space(x->out->at[before + bytes - 1]))) bytes--;
    x->out->n = before;
    int i = 0;
    while (i < x->lets->n && !same(x->lets->at[i].name, argument, n)) i++;
    if (i == MAX_LETS) return fault(x, "more than %d names by #let", MAX_LETS);
    if (bytes >= LET_BYTES) return fault(x, "the value of %.*s is longer than %d letters", (int)n, argument, LET_BYTES - 1);
    if (i == x->lets->n) x->lets->n++;
    memcpy(x->lets->at[i].name, argument, n);
    x->lets->at[i].name[n] = 0;
    if (bytes) memcpy(x->lets->at[i].value, x->out->at + before, bytes);
    x->lets->at[i].value[bytes] = 0;
    return RY_OK;
}

static ry_status expand_lines(expander *x, const char **at, bool active, int *closed_by);

static ry_status expand_if(expander *x, const char **at, const char *argument, bool active) {
    int64_t condition = 0;
    int opened = x->line, closed_by = LINE_NONE;
    if (active) {
        const char *end = NULL;
        RY_TRY(calculate(x, argument, &end, &condition));
        if (!line_ends(end)) return fault(x, "unexpected \"%.*s\" after the condition", (int)strcspn(end, "\n"), end);
    }
    *at = next_line(x, *at);
    RY_TRY(expand_lines(x, at, active && condition != 0, &closed_by));
    if (closed_by == LINE_ELSE) RY_TRY(expand_lines(x, at, active && condition == 0, &closed_by));
    if (closed_by == LINE_END) return RY_OK;
    if (closed_by == LINE_ELSE) return fault(x, "a second #else");
    x->line = opened;
    return fault(x, "this #if has no #end");
}

static ry_status expand_for(expander *x, const char **at, const char *argument, bool active) {
    loop_name loop = {.outer = x->loops};
    int64_t from = 0, to = 0;
    int opened = x->line;
    if (active) {
        size_t n = name_bytes(argument);
        if (n == 0 || n >= NAME_BYTES)
            return fault(x, "#for needs a name of at most %d letters, a first number and one past the last",
                         NAME_BYTES - 1);
        memcpy(loop.name, argument, n);
        const char *end = argument + n;
        RY_TRY(calculate(x, end, &end, &from));
        RY_TRY(calculate(x, end, &end, &to));
        if (!line_ends(end)) return fault(x, "unexpected \"%.*s\" after #for", (int)strcspn(end, "\n"), end);
        x->loops = &loop;
    }
    const char *body = next_line(x, *at);
    int body_line = x->line;
    ry_status st = RY_OK;
    loop.value = from;
    do { /* a body that runs no time is still read, for its #end */
        int closed_by = LINE_NONE;
        if (++*x->turns > MAX_TURNS) return fault(x, "#for turns more than %d times", MAX_TURNS);
        *at = body;
        x->line = body_line;
        st = expand_lines(x, at, active && loop.value < to, &closed_by);
        if (st == RY_OK && closed_by != LINE_END) {
            x->line = opened;
            st = fault(x, "this #for has no #end");
        }
        loop.value++;
    } while (st == RY_OK && active && loop.value < to);
    x->loops = loop.outer;
    return st;
}

static ry_status expand_include(expander *x, const char *argument) {
    char name[256];
    size_t n = strcspn(argument, " \t\r\n");
    if (n == 0 || n >= sizeof name || !line_ends(argument + n)) return fault(x, "#include needs one name");
    memcpy(name, argument, n);
    name[n] = 0;
    const char *text = x->inc ? x->inc(x->ud, name) : NULL;
    if (text == NULL) return fault(x, "#include: there is no text %s", name);
    expander inner = *x;
    inner.what = name;
    inner.line = 1;
    int closed_by = LINE_NONE;
    size_t before = x->out->n;
    RY_TRY(expand_lines(&inner, &text, true, &closed_by));
    if (closed_by != LINE_NONE)
        return fault(&inner, "#%s without #if or #for", closed_by == LINE_ELSE ? "else" : "end");
    if (x->out->n > before && x->out->at[x->out->n - 1] != '\n') ry_text_add(x->out, "\n", 1);
    return RY_OK;
}

/* Lines up to the #else or #end that closes the block, or the end of the text; that line is passed. */
static ry_status expand_lines(expander *x, const char **at, bool active, int *closed_by) {
    if (++x->depth > MAX_DEPTH) return fault(x, "blocks or includes nested more than %d deep", MAX_DEPTH);
    for (;;) {
        const char *argument = NULL;
        int kind = line_kind(*at, &argument);
        if (kind == LINE_IF) {
            RY_TRY(expand_if(x, at, argument, active));
        } else if (kind == LINE_FOR) {
            RY_TRY(expand_for(x, at, argument, active));
        } else if (kind == LINE_TEXT || kind == LINE_INCLUDE || kind == LINE_LET) {
            if (active)
                RY_TRY(kind == LINE_TEXT  ? put_line(x, *at)
                       : kind == LINE_LET ? set_let(x, argument)
                                          : expand_include(x, argument));
            *at = next_line(x, *at);
        } else {
            if (kind != LINE_NONE) {
                if (!line_ends(argument))
                    return fault(x, "unexpected text after #%s", kind == LINE_ELSE ? "else" : "end");
                *at = next_line(x, *at);
            }
            *closed_by = kind;
            x->depth--;
            return RY_OK;
        }
    }
}

ry_status ry_text_expand(ry_text *out, const char *what, const char *text, const ry_text_var *vars, size_t n_vars,
                         ry_text_include inc, void *ud) {
    int turns = 0;
    lets said;
    said.n = 0;
    expander x = {.out = out,
                  .what = what,
                  .line = 1,
                  .turns = &turns,
                  .lets = &said,
                  .vars = vars,
                  .n_vars = n_vars,
                  .inc = inc,
                  .ud = ud};
    int closed_by = LINE_NONE;
    RY_TRY(expand_lines(&x, &text, true, &closed_by));
    if (closed_by != LINE_NONE) {
        x.line--; /* the line was passed */
        return fault(&x, "#%s without #if or #for", closed_by == LINE_ELSE ? "else" : "end");
    }
    return ry_text_status(out);
}
