/* pattern.c - what tokenizers look for in texts: a string, or a regular expression.  Owns compiled patterns.
 *
 * Expressions are written for Oniguruma (Ruby's syntax, Unicode); PCRE2 with its JIT runs them after a translation of what differs:
 * \w \s \d \b \h \v, $ and ^ at every line, X{n,m}+ as a repetition of X{n,m}, {,n}, lists within lists, (?m:. A limit on steps keeps
 * hostile ones from hanging. Without PCRE2 only strings are found. */
#include <stdatomic.h>
#include "io/tokenizer/steps.h"
#ifdef RUSTY_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

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
#define WORD  "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define HEX   "0-9a-fA-F"

typedef struct translation {
    const char *at, *end;
    ry_text out;
    size_t atom; /* in out: where what a quantifier would repeat begins */
} translation;

/* The escape at t->at (behind its backslash) to out; true if it was one that differs. */
static bool escape_differs(translation *t, bool in_list) {
    static const struct {
        char c;
        const char *alone, *listed;
    } rows[] = {
        {'s', "[" SPACE "]", SPACE},
        {'S', "[^" SPACE "]", NULL},
        {'w', "[" WORD "]", WORD},
        {'W', "[^" WORD "]", NULL},
        {'d', "\\p{Nd}", "\\p{Nd}"},
        {'D', "\\P{Nd}", "\\P{Nd}"},
        {'h', "[" HEX "]", HEX},
        {'H', "[^" HEX "]", NULL},
        {'v', "\\x0b", "\\x0b"},
        {'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", NULL},
        {'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *with = in_list ? rows[i].listed : rows[i].alone;
        if (*t->at != rows[i].c || !with) continue;
        ry_text_puts(&t->out, with);
        t->at++;
        return true;
    }
    return false;
}

/* A backslash and what belongs to it. */
static void translate_escape(translation *t, bool in_list) {
    t->at++;
    if (t->at == t->end) {
        ry_text_puts(&t->out, "\\");
        return;
    }
    if (escape_differs(t, in_list)) return;
    if (*t->at == 'u' && t->end - t->at > 4) { /* \u4e00 */
        ry_text_printf(&t->out, "\\x{%.4s}", t->at + 1);
        t->at += 5;
        return;
    }
    size_t n = 1;
    if ((*t->at == 'p' || *t->at == 'P' || *t->at == 'x' || *t->at == 'k' || *t->at == 'g') && t->end - t->at > 1 && t->at[1] == '{') {
        const char *close = memchr(t->at, '}', (size_t)(t->end - t->at));
        n = close ? (size_t)(close - t->at) + 1 : 1;
    }
    ry_text_puts(&t->out, "\\");
    ry_text_add(&t->out, t->at, n);
    t->at += n;
}

/* A list, from its [ on. Lists within it lose their brackets: the union is the same. False: an intersection, or an inner ^. */
static bool translate_list(translation *t) {
    int depth = 0;
    do {
        char c = *t->at;
        if (c == '\\') {
            translate_escape(t, true);
            continue;
        }
        t->at++;
        if (c == '[' && depth && t->at < t->end && *t->at == ':') { /* [:alpha:] */
            const char *s = t->at;
            while (s + 1 < t->end && !(s[0] == ':' && s[1] == ']' && s > t->at)) s++;
            if (s + 1 >= t->end) return false;
            ry_text_puts(&t->out, "[");
            ry_text_add(&t->out, t->at, (size_t)(s + 2 - t->at));
            t->at = s + 2;
            continue;
        }
        if (c == '[') {
            if (depth++ && t->at < t->end && *t->at == '^') return false;
            if (depth > 1) continue;
            ry_text_puts(&t->out, "[");
            if (t->at < t->end && *t->at == '^') {
                ry_text_puts(&t->out, "^");
                t->at++;
            }
            if (t->at < t->end && *t->at == ']') { /* a ] that comes first is itself */
                ry_text_puts(&t->out, "\\]");
                t->at++;
            }
            continue;
        }
        if (c == ']') {
            if (--depth == 0) ry_text_puts(&t->out, "]");
            continue;
        }
        if (c == '&' && t->at < t->end && *t->at == '&') return false;
        ry_text_add(&t->out, &c, 1);
    } while (depth && t->at < t->end);
    return true;
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
        if (c == '\\') {
            translate_escape(t, false);
        } else if (c == '[') {
            if (!translate_list(t)) return false;
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
