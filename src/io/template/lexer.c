/* lexer.c - a template's text as tokens, with Jinja's rules for white space around tags (trim_blocks and lstrip_blocks on, one newline at
 * the end dropped).  Owns nothing: names and texts live in the template's arena. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <stdio.h>
#include <string.h>

typedef struct lexer {
    jinja *t;
    jtokens *out;
    const char *s;
    size_t n, at;
    int line;
    bool line_starts; /* the last match ended with a newline */
    char open[JINJA_MAX_NEST + 1]; /* brackets to be closed */
    int opened;
} lexer;

static ry_status fail(const lexer *l, const char *what) { return ry_fail(RY_EFORMAT, "%s:%d: %s", l->t->what, l->line, what); }

static ry_status push(lexer *l, jtoken tok) {
    jtoken *to = RY_PUSH(l->out);
    if (!to) return RY_ENOMEM;
    *to = tok;
    to->line = l->line;
    return RY_OK;
}

/* Moves on, counting lines. */
static void pass(lexer *l, size_t n) {
    for (size_t i = 0; i < n; i++) l->line += l->s[l->at + i] == '\n';
    l->at += n;
    if (n) l->line_starts = l->s[l->at - 1] == '\n';
}

static bool here(const lexer *l, size_t at, const char *w) {
    size_t n = strlen(w);
    return l->n - at >= n && !memcmp(l->s + at, w, n);
}

static size_t spaces(const lexer *l, size_t at) { /* bytes of white space from there */
    size_t from = at;
    while (at < l->n) {
        int32_t cp;
        size_t len = utf8_next(l->s + at, l->n - at, &cp);
        if (!juni_space(cp)) break;
        at += len;
    }
    return at - from;
}

/* The end of a tag at `at`: "-%}" takes the white space that follows, "%}" one newline (trim), "+%}" nothing. 0: it is not there. */
static size_t tag_end(const lexer *l, size_t at, const char *end, bool plus, bool trim) {
    if (l->n - at >= 3 && l->s[at] == '-' && here(l, at + 1, end)) return 3 + spaces(l, at + 3);
    if (plus && l->n - at >= 3 && l->s[at] == '+' && here(l, at + 1, end)) return 3;
    if (here(l, at, end)) return trim && l->n - at > 2 && l->s[at + 2] == '\n' ? 3 : 2;
    return 0;
}

/* Length of "{%- raw -%}" (word: raw or endraw), or 0. */
static size_t raw_tag(const lexer *l, size_t at, const char *word) {
    size_t i = at;
    if (!here(l, i, "{%")) return 0;
    i += 2;
    if (i < l->n && (l->s[i] == '-' || l->s[i] == '+')) i++;
    i += spaces(l, i);
    if (!here(l, i, word)) return 0;
    i += strlen(word);
    i += spaces(l, i);
    bool ends = *word == 'e';
    size_t end = tag_end(l, i, "%}", ends, ends);
    return end ? i + end - at : 0;
}

/* The text from l->at to `to`, where a tag begins whose sign is at `to + 2`. */
static ry_status data(lexer *l, size_t to, bool variable) {
    size_t from = l->at, n = to - from;
    char sign = to + 2 < l->n ? l->s[to + 2] : 0;
    if (sign == '-') {
        while (n) { /* white space may be several bytes: find the last character's start */
            size_t k = n - 1;
            while (k && ((unsigned char)l->s[from + k] & 0xC0) == 0x80) k--;
            int32_t cp;
            utf8_next(l->s + from + k, n - k, &cp);
            if (!juni_space(cp)) break;
            n = k;
        }
    } else if (sign != '+' && !variable) {
        size_t line = n;
        while (line && l->s[from + line - 1] != '\n') line--;
        if ((line || l->line_starts) && line < n && spaces(l, from + line) >= n - line) n = line;
    }
    if (n) RY_TRY(push(l, (jtoken){.kind = JT_DATA, .at = l->s + from, .n = n}));
    pass(l, to - from);
    return RY_OK;
}

static int hex(const char *s, size_t n, size_t digits) { /* -1: not so many digits */
    uint32_t v = 0;
    if (n < digits) return -1;
    for (size_t i = 0; i < digits; i++) {
        char c = s[i];
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0) return -1;
        v = v << 4 | (uint32_t)d;
    }
    return v > 0x10FFFF ? -1 : (int)v;
}

/* A quoted text's inside with its escapes undone, as Python's unicode-escape after backslashreplace does. */
static ry_status text(lexer *l, const char *s, size_t n, jtoken *out) {
    char *to = ry_arena_alloc(&l->t->arena, ry_mem_size(n, 2, 16)); /* a backslash before a character of four bytes becomes ten */
    if (!to) return RY_ENOMEM;
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        if (s[i] != '\\') {
            to[k++] = s[i++];
            continue;
        }
        static const char from[] = "ntrabfv\\'\"", made[] = "\n\t\r\a\b\f\v\\'\"";
        char c = s[++i];
        const char *simple = c ? strchr(from, c) : NULL;
        if (c == '\n') i++;
        else if (simple) to[k++] = made[simple - from], i++;
        else if (c >= '0' && c <= '7') {
            int32_t v = 0;
            for (int d = 0; d < 3 && i < n && s[i] >= '0' && s[i] <= '7'; d++) v = v * 8 + (s[i++] - '0');
            k += utf8_put(to + k, v);
        } else if (c == 'x' || c == 'u' || c == 'U') {
            size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
            int v = hex(s + i + 1, n - i - 1, digits);
            if (v < 0) return fail(l, "a \\x, \\u or \\U in a text needs 2, 4 or 8 hexadecimal digits and a character that exists");
            if (v >= 0xD800 && v < 0xE000) return fail(l, "a surrogate in a text is no character");
            k += utf8_put(to + k, v);
            i += 1 + digits;
        } else if (c == 'N') return ry_fail(RY_EUNSUPPORTED, "%s:%d: \\N{...} in a text is not supported: write the character itself", l->t->what, l->line);
        else {
            int32_t cp;
            to[k++] = '\\';
            size_t len = utf8_next(s + i, n - i, &cp);
            if (cp >= 0x80) k += (size_t)snprintf(to + k, 10, cp < 0x100 ? "x%02x" : cp < 0x10000 ? "u%04x" : "U%08x", (unsigned)cp);
            else to[k++] = c;
            i += len;
        }
    }
    out->kind = JT_TEXT, out->at = to, out->n = k;
    return RY_OK;
}

static size_t digits(const lexer *l, size_t at) { /* (\d+_)*\d+ */
    size_t i = at;
    for (;;) {
        size_t from = i;
        while (i < l->n && l->s[i] >= '0' && l->s[i] <= '9') i++;
        if (i == from) return from == at ? 0 : from - 1 - at; /* no digit after '_' */
        if (i == l->n || l->s[i] != '_') return i - at;
        i++;
    }
}

static size_t based(const lexer *l, size_t at, int base) { /* (_?digit)+ */
    size_t i = at;
    for (;;) {
        size_t k = i + (i < l->n && l->s[i] == '_');
        if (k >= l->n) break;
        int c = (unsigned char)l->s[k], d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
        if (d >= base) break;
        i = k + 1;
    }
    return i - at;
}

static ry_status number(lexer *l, size_t *len) {
    size_t i = l->at, whole = digits(l, i), end = i + whole;
    jtoken tok = {.kind = JT_REAL};
    if (!i || l->s[i - 1] != '.') { /* a.0.1 is two items */
        size_t part = end < l->n && l->s[end] == '.' ? digits(l, end + 1) : 0, e = end + (part ? part + 1 : 0), power = 0;
        if (e < l->n && (l->s[e] | 32) == 'e') {
            size_t sign = e + 1 < l->n && (l->s[e + 1] == '+' || l->s[e + 1] == '-');
            power = digits(l, e + 1 + sign);
            if (power) power += 1 + sign;
        }
        if (part || power) {
            char *s = ry_arena_alloc(&l->t->arena, e + power - i + 1);
            if (!s) return RY_ENOMEM;
            size_t k = 0;
            for (size_t j = i; j < e + power; j++)
                if (l->s[j] != '_') s[k++] = l->s[j];
            *len = e + power - i;
            RY_TRY(ry_json_number(s, &tok.f));
            return push(l, tok);
        }
    }
    int base = 10;
    size_t from = i;
    if (l->s[i] == '0') {
        char c = i + 1 < l->n ? (char)(l->s[i + 1] | 32) : 0;
        int b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (b && based(l, i + 2, b)) base = b, from = i + 2, end = from + based(l, from, b);
        else end = i + 1 + based(l, i + 1, 1); /* 0, 00, 0_0 */
    }
    tok.kind = JT_INT;
    for (size_t j = from; j < end; j++) {
        int c = (unsigned char)l->s[j];
        if (c == '_') continue;
        int d = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
        if (tok.i > (INT64_MAX - d) / base) return fail(l, "an integer beyond 64 bits");
        tok.i = tok.i * base + d;
    }
    *len = end - i;
    return push(l, tok);
}

static ry_status operator(lexer *l, size_t *len) {
    static const char two[][3] = {"//", "**", "==", "!=", ">=", "<="}, one[] = "+-/*%~[](){}><=.:|,;";
    jtoken tok = {.kind = JT_OP};
    char c = l->s[l->at];
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (here(l, l->at, two[i])) {
            tok.op = JT_OP2(two[i][0], two[i][1]);
            *len = 2;
            return push(l, tok);
        }
    if (!c || !strchr(one, c)) return ry_fail(RY_EFORMAT, "%s:%d: unexpected character '%.*s' within a tag", l->t->what, l->line, (int)(utf8_next(l->s + l->at, l->n - l->at, &(int32_t){0})), l->s + l->at);
    if (strchr("([{", c)) {
        if (l->opened == JINJA_MAX_NEST) return fail(l, "limit: brackets are nested too deeply");
        l->open[l->opened++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (!l->opened || l->open[--l->opened] != c) return ry_fail(RY_EFORMAT, "%s:%d: unexpected '%c'", l->t->what, l->line, c);
    }
    tok.op = JT_OP1(c);
    *len = 1;
    return push(l, tok);
}

/* What stands between {{ and }}, or {% and %}. */
static ry_status inside(lexer *l, bool variable) {
    l->opened = 0;
    while (l->at < l->n) {
        size_t len = l->opened ? 0 : variable ? tag_end(l, l->at, "}}", false, false) : tag_end(l, l->at, "%}", true, true);
        if (len) {
            RY_TRY(push(l, (jtoken){.kind = variable ? JT_PRINT_END : JT_BLOCK_END}));
            pass(l, len);
            return RY_OK;
        }
        int32_t cp;
        size_t first = utf8_next(l->s + l->at, l->n - l->at, &cp);
        if ((len = spaces(l, l->at)) != 0) {
            pass(l, len);
            continue;
        }
        if (cp >= '0' && cp <= '9') RY_TRY(number(l, &len));
        else if (juni_word(cp) || cp == '_') {
            len = first;
            while (l->at + len < l->n) {
                first = utf8_next(l->s + l->at + len, l->n - l->at - len, &cp);
                if (!juni_word(cp) && cp != '_') break;
                len += first;
            }
            RY_TRY(push(l, (jtoken){.kind = JT_NAME, .at = l->s + l->at, .n = len}));
        } else if (cp == '\'' || cp == '"') {
            size_t i = l->at + 1;
            while (i < l->n && l->s[i] != (char)cp) i += l->s[i] == '\\' && i + 1 < l->n ? 2 : 1;
            if (i >= l->n) return fail(l, "a text without its closing quote");
            jtoken tok = {0};
            RY_TRY(text(l, l->s + l->at + 1, i - l->at - 1, &tok));
            RY_TRY(push(l, tok));
            len = i + 1 - l->at;
        } else RY_TRY(operator(l, &len));
        pass(l, len);
    }
    return push(l, (jtoken){.kind = JT_EOF}); /* the parser says what is missing */
}

ry_status jinja_lex(jinja *t, jtokens *out, const char *source, size_t n) {
    lexer l = {.t = t, .out = out, .line = 1, .line_starts = true};
    size_t bad = utf8_valid(source, n);
    if (n > JINJA_MAX_SOURCE) RY_FAIL(RY_EUNSUPPORTED, "%s: limit: a template of %zu bytes; at most %d", t->what, n, (int)JINJA_MAX_SOURCE);
    if (bad < n) RY_FAIL(RY_EFORMAT, "%s: not UTF-8 at byte %zu", t->what, bad);
    char *s = ry_arena_alloc(&t->arena, n + 1);
    if (!s) return RY_ENOMEM;
    for (size_t i = 0; i < n; i++) { /* \r\n and \r are newlines */
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n') continue;
        s[l.n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (l.n && s[l.n - 1] == '\n') l.n--;
    l.s = s;
    while (l.at < l.n) {
        size_t to = l.at;
        while (to < l.n && !(s[to] == '{' && to + 1 < l.n && (s[to + 1] == '{' || s[to + 1] == '%' || s[to + 1] == '#'))) to++;
        if (to >= l.n) {
            RY_TRY(push(&l, (jtoken){.kind = JT_DATA, .at = s + l.at, .n = l.n - l.at}));
            break;
        }
        RY_TRY(data(&l, to, s[to + 1] == '{'));
        size_t raw = raw_tag(&l, to, "raw"), begin = to + 2 < l.n && (s[to + 2] == '-' || s[to + 2] == '+') ? 3 : 2;
        if (raw) {
            pass(&l, raw);
            size_t end = l.at, len = 0;
            while (end < l.n && !(s[end] == '{' && (len = raw_tag(&l, end, "endraw")) != 0)) end++;
            if (end >= l.n && l.at == l.n) break; /* Jinja looks for the end only where there is something */
            if (end >= l.n) return fail(&l, "missing end of raw directive");
            RY_TRY(data(&l, end, false));
            pass(&l, len);
        } else if (s[to + 1] == '#') {
            pass(&l, begin);
            size_t end = l.at, len = 0;
            while (end < l.n && (len = tag_end(&l, end, "#}", true, true)) == 0) end++;
            if (end >= l.n && l.at == l.n) break;
            if (end >= l.n) return fail(&l, "missing end of comment tag");
            pass(&l, end - l.at + len);
        } else {
            bool variable = s[to + 1] == '{';
            RY_TRY(push(&l, (jtoken){.kind = variable ? JT_PRINT_BEGIN : JT_BLOCK_BEGIN}));
            pass(&l, begin);
            RY_TRY(inside(&l, variable));
        }
    }
    return push(&l, (jtoken){.kind = JT_EOF});
}
