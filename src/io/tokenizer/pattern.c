/* pattern.c - what tokenizers look for in texts: a string, or a regular expression.  Owns compiled patterns.
 *
 * Expressions are written for Oniguruma (Ruby's syntax, Unicode); PCRE2 with its JIT runs them after a translation of what differs:
 * \w \s \d \b \h \v, $ and ^ at every line, X{n,m}+ as a repetition of X{n,m}, {,n}, lists within lists and their intersections, \p of scripts, (?m:. A limit on steps keeps
 * hostile ones from hanging. Without PCRE2 only strings are found. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "io/tokenizer/steps.h"
#ifdef RUSTY_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "io/tokenizer/later.h"

enum { PATTERN_LONGEST = 1 << 16, PATTERN_STEPS = 20000000, PATTERN_MEMORY_KIB = 64 << 10, PATTERN_SPARE = 4 };
#endif

struct tok_pattern {
    ry_text text; /* of a string */
#ifdef RUSTY_HAVE_PCRE2
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *code;                         /* NULL: a string */
    _Atomic(pcre2_match_data *) spare[PATTERN_SPARE]; /* results wait here for the next search, by any thread */
#endif
};

#ifdef RUSTY_HAVE_PCRE2
/* ---- translating ---- */
#define SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORD  LATER_L LATER_M LATER_ND "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD_TOO "\\xb2\\xb3\\xb9\\xbc-\\xbe" /* \\w outside lists has these too */
#define HEX   "0-9a-fA-F"

typedef struct translation {
    const char *at, *end;
    ry_text out;
    size_t atom; /* in out: where what a quantifier would repeat begins */
    int depth;   /* of lists */
} translation;

/* What a character may be: the text of a list, and whether it is all others. */
typedef struct char_set {
    ry_text body;
    bool inverse;
} char_set;

/* Is this the name of a script? PCRE2's \p{Name} would be its script extensions. */
static bool is_script(const char *name, size_t n) {
    char text[64];
    int error;
    PCRE2_SIZE at;
    if (n > 40) return false;
    int len = snprintf(text, sizeof text, "\\p{sc:%.*s}", (int)n, name);
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)len, PCRE2_UTF, &error, &at, NULL);
    pcre2_code_free(c);
    return c != NULL;
}

/* The property `name` of \p{name}. */
static void property(char_set *c, const char *name, size_t n) {
    static const char *const names[][2] = {
        {"Letter", "L"},   {"Mark", "M"},         {"Number", "N"},         {"Punctuation", "P"},   {"Symbol", "S"}, {"Separator", "Z"},
        {"Other", "C"},    {"Alnum", "[:alnum:]"}, {"Digit", "Nd"},         {"Lower", "Lowercase"}, {"Punct", "P"},  {"Space", "White_Space"},
        {"Upper", "Uppercase"}, {"Alpha", "Alphabetic"}};
    if (n && *name == '^') {
        c->inverse = !c->inverse;
        name++, n--;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == n && !memcmp(names[i][0], name, n)) name = names[i][1], n = strlen(name);
    if (*name == '[') ry_text_puts(&c->body, "\\p{Alphabetic}\\p{Nd}");
    else ry_text_printf(&c->body, n > 2 && is_script(name, n) ? "\\p{sc:%.*s}" : "\\p{%.*s}", (int)n, name);
    for (size_t i = 0; i < sizeof laters / sizeof *laters; i++)
        if (strlen(laters[i].name) == n && !memcmp(laters[i].name, name, n)) ry_text_puts(&c->body, laters[i].ranges);
}

/* The escape at t->at, a backslash, as a set of characters; false (and nothing taken) where it is something else. */
static bool escape_set(translation *t, char_set *c, bool in_list) {
    static const struct {
        char low, high;
        const char *body;
    } rows[] = {{'s', 'S', SPACE}, {'w', 'W', WORD}, {'d', 'D', "\\p{Nd}" LATER_ND}, {'h', 'H', HEX}};
    *c = (char_set){{0}, false};
    if (t->end - t->at < 2) return false;
    char e = t->at[1];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (e != rows[i].low && e != rows[i].high) continue;
        c->inverse = e == rows[i].high;
        if (rows[i].low == 'w' && !in_list) ry_text_puts(&c->body, WORD_TOO);
        ry_text_puts(&c->body, rows[i].body);
        t->at += 2;
        return true;
    }
    if ((e != 'p' && e != 'P') || t->end - t->at < 3) return false;
    c->inverse = e == 'P';
    const char *name = t->at + 2, *close = *name == '{' ? memchr(name, '}', (size_t)(t->end - name)) : name + 1;
    if (!close) return false;
    size_t n = (size_t)(close - name) - (*name == '{');
    t->at = close + (*name == '{');
    property(c, name + (*name == '{'), n);
    return true;
}

/* Any other escape, from its backslash on. */
static void translate_escape(translation *t, ry_text *out, bool in_list) {
    const char *s = ++t->at;
    if (s == t->end) {
        ry_text_puts(out, "\\");
        return;
    }
    t->at++;
    if (*s == 'v') {
        ry_text_puts(out, "\\x0b");
    } else if (*s == 'b' && !in_list) {
        ry_text_printf(out, "(?:(?<=[%s])(?![%s])|(?<![%s])(?=[%s]))", WORD_TOO WORD, WORD_TOO WORD, WORD_TOO WORD, WORD_TOO WORD);
    } else if (*s == 'B' && !in_list) {
        ry_text_printf(out, "(?:(?<=[%s])(?=[%s])|(?<![%s])(?![%s]))", WORD_TOO WORD, WORD_TOO WORD, WORD_TOO WORD, WORD_TOO WORD);
    } else if (*s == 'u' && t->end - s > 4) { /* \u4e00 */
        ry_text_printf(out, "\\x{%.4s}", s + 1);
        t->at = s + 5;
    } else {
        const char *close = t->at < t->end && *t->at == '{' && strchr("xkg", *s) ? memchr(s, '}', (size_t)(t->end - s)) : NULL;
        if (close) t->at = close + 1;
        ry_text_puts(out, "\\");
        ry_text_add(out, s, (size_t)(t->at - s));
    }
}

/* [:alpha:] at t->at, its [ : to the list. False: no such thing. */
static bool translate_posix(translation *t, ry_text *body) {
    static const char *const names[][2] = {{"alpha", "\\p{Alphabetic}"}, {"alnum", "\\p{Alphabetic}\\p{Nd}"}, {"digit", "\\p{Nd}"}, {"lower", "\\p{Lowercase}"},
                                           {"upper", "\\p{Uppercase}"}, {"punct", "\\p{P}\\p{S}" LATER_P LATER_S}, {"space", SPACE}, {"word", WORD}};
    const char *name = t->at + 2, *end = name;
    while (end < t->end && ((*end >= 'a' && *end <= 'z') || *end == '^')) end++;
    if (t->end - t->at < 4 || t->at[1] != ':' || t->end - end < 2 || end[0] != ':' || end[1] != ']') return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == (size_t)(end - name) && !memcmp(names[i][0], name, (size_t)(end - name))) {
            ry_text_puts(body, names[i][1]);
            t->at = end + 2;
            return true;
        }
    ry_text_add(body, t->at, (size_t)(end + 2 - t->at));
    t->at = end + 2;
    return true;
}

/* What one list says, between its && : characters, or something else that takes one character ("|..."). */
static void add_union(ry_text *out, const ry_text *body, const ry_text *others) {
    if (!others->n) {
        ry_text_printf(out, "[%s]", body->at ? body->at : "");
        return;
    }
    ry_text_puts(out, "(?:");
    if (body->n) ry_text_printf(out, "[%s]", body->at);
    ry_text_add(out, others->at + !body->n, others->n - !body->n);
    ry_text_puts(out, ")");
}

static bool translate_list(translation *t, ry_text *out, ry_text *flat);

/* One item of a list; *more: there are others. */
static bool translate_item(translation *t, ry_text *body, ry_text *others) {
    char_set c;
    if (*t->at == '[') {
        if (translate_posix(t, body)) return true;
        ry_text inner = {0};
        bool ok = translate_list(t, &inner, body);
        if (inner.n) ry_text_printf(others, "|%s", inner.at);
        body->failed |= inner.failed;
        ry_text_free(&inner);
        return ok;
    }
    if (*t->at != '\\') {
        ry_text_add(body, t->at++, 1);
        return true;
    }
    if (!escape_set(t, &c, true)) {
        translate_escape(t, body, true);
        return true;
    }
    if (c.inverse) ry_text_printf(others, "|[^%s]", c.body.at ? c.body.at : "");
    else ry_text_add(body, c.body.at, c.body.n);
    body->failed |= c.body.failed;
    ry_text_free(&c.body);
    return true;
}

/* A list from its [ on, as an expression that takes one character. flat: where its characters go instead if it is a mere union. */
static bool translate_list(translation *t, ry_text *out, ry_text *flat) {
    ry_text body = {0}, others = {0}, all = {0};
    bool inverse = ++t->at < t->end && *t->at == '^', ok = t->depth++ < 20, first = true;
    if (inverse) t->at++;
    for (; ok && t->at < t->end && (first || *t->at != ']'); first = false) {
        if (first && *t->at == ']') { /* it is itself */
            ry_text_puts(&body, "\\]");
            t->at++;
        } else if (t->end - t->at > 1 && t->at[0] == '&' && t->at[1] == '&') {
            ry_text_puts(&all, "(?=");
            add_union(&all, &body, &others);
            ry_text_puts(&all, ")");
            body.n = others.n = 0;
            if (body.at) *body.at = 0;
            t->at += 2;
        } else {
            ok = translate_item(t, &body, &others);
        }
    }
    ok &= t->at < t->end;
    t->at += ok;
    t->depth--;
    if (flat && !inverse && !others.n && !all.n) {
        ry_text_add(flat, body.at, body.n);
    } else if (!all.n && !others.n) {
        ry_text_printf(out, inverse ? "[^%s]" : "[%s]", body.at ? body.at : "");
    } else {
        ry_text_puts(out, inverse ? "(?:(?!" : "(?:");
        ry_text_add(out, all.at, all.n);
        add_union(out, &body, &others);
        ry_text_puts(out, inverse ? ")(?s:.))" : ")");
    }
    out->failed |= body.failed || others.failed || all.failed;
    ry_text_free(&body);
    ry_text_free(&others);
    ry_text_free(&all);
    return ok;
}

/* {n}, {n,}, {,m}, {n,m} at t->at: its length, 0 if it is none. */
static size_t interval(const translation *t) {
    const char *s = t->at + 1;
    size_t digits = 0;
    while (s < t->end && ((*s >= '0' && *s <= '9') || *s == ',')) digits += *s++ != ',';
    return digits && s < t->end && *s == '}' ? (size_t)(s + 1 - t->at) : 0;
}

/* Puts "(?:" before the text of out that begins at `from`. */
static void wrap(ry_text *out, size_t from, const char *close) {
    ry_text tail = {0};
    ry_text_add(&tail, out->at + from, out->n - from);
    out->n = from;
    ry_text_puts(out, "(?:");
    ry_text_add(out, tail.at, tail.n);
    ry_text_puts(out, close);
    out->failed |= tail.failed;
    ry_text_free(&tail);
}

static void translate_interval(translation *t, size_t n) {
    if (t->at[1] == ',') ry_text_printf(&t->out, "{0%.*s", (int)n - 1, t->at + 1);
    else ry_text_add(&t->out, t->at, n);
    t->at += n;
    if (t->at < t->end && *t->at == '+') wrap(&t->out, t->atom, ")"); /* the + that follows repeats it all */
}

/* "(" and what belongs to it. False: what PCRE2 lacks. */
static bool translate_open(translation *t) {
    if (t->end - t->at > 1 && t->at[1] == '*') return false;
    ry_text_puts(&t->out, "(");
    t->at++;
    if (t->at == t->end || *t->at != '?') return true;
    if (t->end - t->at > 1 && (t->at[1] == '~' || t->at[1] == 'R' || t->at[1] == 'C')) return false;
    do { /* switches: m is what PCRE2 calls s */
        ry_text_add(&t->out, *t->at == 'm' ? "s" : t->at, 1);
        t->at++;
    } while (t->at < t->end && (*t->at == 'i' || *t->at == 'm' || *t->at == 'x' || *t->at == '-'));
    return true;
}

static bool translate(translation *t) {
    size_t open[256]; /* where groups begin in out */
    int depth = 0;
    while (t->at < t->end) {
        char c = *t->at;
        size_t here = t->out.n, n;
        char_set set;
        if (c == '\\' && escape_set(t, &set, false)) {
            ry_text_printf(&t->out, set.inverse ? "[^%s]" : "[%s]", set.body.at ? set.body.at : "");
            t->out.failed |= set.body.failed;
            ry_text_free(&set.body);
        } else if (c == '\\') {
            translate_escape(t, &t->out, false);
        } else if (c == '[') {
            if (!translate_list(t, &t->out, NULL)) return false;
        } else if (c == '(') {
            if (depth == 256 || !translate_open(t)) return false;
            open[depth++] = here;
        } else if (c == ')') {
            ry_text_add(&t->out, t->at++, 1);
            if (depth) here = open[--depth];
        } else if (c == '{' && (n = interval(t)) != 0) {
            translate_interval(t, n);
            continue; /* the atom stays */
        } else if (c == '*' || c == '+' || c == '?') {
            ry_text_add(&t->out, t->at++, 1);
            continue;
        } else {
            int32_t cp;
            n = utf8_next(t->at, (size_t)(t->end - t->at), &cp);
            ry_text_add(&t->out, t->at, n);
            t->at += n;
        }
        t->atom = here;
    }
    return true;
}

/* ---- compiling ---- */
static void *pattern_alloc(size_t n, void *ud) {
    (void)ud;
    return ry_mem_alloc(n);
}
static void pattern_release(void *p, void *ud) {
    (void)ud;
    ry_mem_free(p);
}

static ry_status pattern_compile(tok_pattern *p, const char *expression, const char *what, const char *field) {
    int error = 0;
    PCRE2_SIZE at = 0;
    if (!(p->memory = pcre2_general_context_create(pattern_alloc, pattern_release, NULL))) return RY_ENOMEM;
    pcre2_compile_context *how = pcre2_compile_context_create(p->memory);
    p->limits = pcre2_match_context_create(p->memory);
    if (!how || !p->limits) {
        pcre2_compile_context_free(how);
        return RY_ENOMEM;
    }
    pcre2_set_newline(how, PCRE2_NEWLINE_LF);
    pcre2_set_max_pattern_length(how, 16 * PATTERN_LONGEST);
    pcre2_set_match_limit(p->limits, PATTERN_STEPS);
    pcre2_set_heap_limit(p->limits, PATTERN_MEMORY_KIB);
    p->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, how);
    pcre2_compile_context_free(how);
    if (!p->code && error == PCRE2_ERROR_HEAP_FAILED) return RY_ENOMEM;
    if (!p->code) {
        unsigned char why[128] = "";
        pcre2_get_error_message(error, why, sizeof why);
        RY_FAIL(RY_EUNSUPPORTED, "%s: %s: this regular expression cannot be used: %s, at \"%.40s\"", what, field, (char *)why,
                expression + (at < strlen(expression) ? at : 0));
    }
    int jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs it */
    return jit == PCRE2_ERROR_NOMEMORY ? RY_ENOMEM : RY_OK;
}

static ry_status pattern_failed(int error) {
    if (error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAPLIMIT) RY_FAIL(RY_ENOMEM, "a search for the tokenizer's pattern takes too much memory");
    if (error == PCRE2_ERROR_MATCHLIMIT || error == PCRE2_ERROR_DEPTHLIMIT || error == PCRE2_ERROR_JIT_STACKLIMIT)
        RY_FAIL(RY_EARG, "a search for the tokenizer's pattern in this text takes more than %d steps", PATTERN_STEPS);
    RY_FAIL(RY_EARG, "a search for the tokenizer's pattern failed (PCRE2 error %d)", error);
}

static ry_status pattern_search(tok_pattern *p, const char *s, size_t n, size_t from, size_t *begin, size_t *end) {
    pcre2_match_data *data = NULL;
    for (int i = 0; i < PATTERN_SPARE && !data; i++) data = atomic_exchange_explicit(&p->spare[i], NULL, memory_order_acquire);
    if (!data && !(data = pcre2_match_data_create(1, p->memory))) return RY_ENOMEM;
    int got = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, data, p->limits);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
        got = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, p->limits);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    *begin = got >= 0 ? at[0] : SIZE_MAX;
    *end = got >= 0 ? at[1] : SIZE_MAX;
    for (int i = 0; i < PATTERN_SPARE && data; i++) data = atomic_exchange_explicit(&p->spare[i], data, memory_order_release);
    pcre2_match_data_free(data);
    return got >= 0 || got == PCRE2_ERROR_NOMATCH ? RY_OK : pattern_failed(got);
}
#endif

ry_status tok_pattern_regex(tok_pattern **out, const char *expression, size_t n, const char *what, const char *field) {
#ifdef RUSTY_HAVE_PCRE2
    translation t = {.at = expression, .end = expression + n};
    if (n > PATTERN_LONGEST) RY_FAIL(RY_EUNSUPPORTED, "%s: %s: a regular expression of %zu bytes", what, field, n);
    if (memchr(expression, 0, n)) RY_FAIL(RY_EUNSUPPORTED, "%s: %s: a regular expression that holds NUL", what, field);
    tok_pattern *p = ry_mem_zalloc(sizeof *p);
    bool known = translate(&t);
    ry_text_add(&t.out, "", 0);
    ry_status st = p ? ry_text_status(&t.out) : RY_ENOMEM;
    if (st == RY_OK && !known)
        st = ry_fail(RY_EUNSUPPORTED, "%s: %s: this regular expression cannot be used, from \"%.40s\" on", what, field, t.at);
    if (st == RY_OK) st = pattern_compile(p, t.out.at, what, field);
    ry_text_free(&t.out);
    if (st != RY_OK) tok_pattern_free(p);
    else *out = p;
    return st;
#else
    (void)out, (void)expression, (void)n;
    RY_FAIL(RY_EUNSUPPORTED, "%s: %s is a regular expression, and this Rusty was built without PCRE2", what, field);
#endif
}

ry_status tok_pattern_text(tok_pattern **out, const char *s, size_t n) {
    tok_pattern *p = *out = ry_mem_zalloc(sizeof *p);
    if (!p) return RY_ENOMEM;
    ry_text_add(&p->text, s, n);
    return ry_text_status(&p->text);
}

ry_status tok_pattern_read(tok_pattern **out, const ry_json *j, const char *what, const char *field) {
    size_t n;
    const char *s = ry_json_as_text(ry_json_find(j, "Regex"), &n);
    if (s) return tok_pattern_regex(out, s, n, what, field);
    if ((s = ry_json_as_text(ry_json_find(j, "String"), &n)) || (s = ry_json_as_text(j, &n))) return tok_pattern_text(out, s, n);
    return tok_step_fail(RY_EFORMAT, what, field, "pattern", "must be {\"String\": ..} or {\"Regex\": ..}");
}

void tok_pattern_free(tok_pattern *p) {
    if (!p) return;
#ifdef RUSTY_HAVE_PCRE2
    for (int i = 0; i < PATTERN_SPARE; i++) pcre2_match_data_free(atomic_load(&p->spare[i]));
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
#endif
    ry_text_free(&p->text);
    ry_mem_free(p);
}

/* A string's next place. */
static void text_search(const tok_pattern *p, const char *s, size_t n, size_t from, size_t *begin, size_t *end) {
    size_t len = p->text.n;
    *begin = SIZE_MAX;
    for (const char *at = s + from; len && (size_t)(s + n - at) >= len; at++) {
        if (!(at = memchr(at, p->text.at[0], (size_t)(s + n - at) - len + 1))) return;
        if (memcmp(at, p->text.at, len)) continue;
        *begin = (size_t)(at - s);
        *end = *begin + len;
        return;
    }
}

ry_status tok_match_next(tok_match *m, bool *found) {
    for (;;) {
        *found = false;
        if (m->next > m->n || !m->n) return RY_OK;
#ifdef RUSTY_HAVE_PCRE2
        if (m->pattern->code) RY_TRY(pattern_search(m->pattern, m->at, m->n, m->next, &m->begin, &m->end));
        else
#endif
            text_search(m->pattern, m->at, m->n, m->next, &m->begin, &m->end);
        if (m->begin == SIZE_MAX) return RY_OK;
        if (m->begin == m->end && m->any && m->end == m->last) { /* nothing, right behind the last match */
            int32_t cp;
            m->next += m->next < m->n ? utf8_next(m->at + m->next, m->n - m->next, &cp) : 1;
            continue;
        }
        m->next = m->last = m->end;
        m->any = *found = true;
        return RY_OK;
    }
}
