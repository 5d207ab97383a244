/* json.c - the JSON layer: reader, field helpers, writer over jansson's tree.  Owns nothing but the trees it hands out.
 *
 * The reader is ours: jansson 2.14's own ends in an assertion when memory runs out in the middle of a token, refuses a whole file
 * for one integer beyond 64 bits, and recurses as deep as a stranger asks. Grammar: RFC 8259. */
#include "io/json.h"
#include <errno.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "io/utf8.h"

/* ---- jansson's memory ---- */
static _Thread_local bool no_memory; /* an allocation failed since json_begin: why jansson refused */

static void *json_alloc(size_t bytes) {
    void *p = ry_mem_alloc(bytes);
    if (!p) no_memory = true;
    return p;
}
static void json_release(void *p) { ry_mem_free(p); }

/* jansson keeps its allocator in globals: set once, before its first node. */
static void json_begin(void) {
    static atomic_bool ready;
    if (!atomic_load_explicit(&ready, memory_order_acquire)) {
        os_static_lock();
        if (!atomic_load_explicit(&ready, memory_order_relaxed)) {
            json_set_alloc_funcs(json_alloc, json_release);
            atomic_store_explicit(&ready, true, memory_order_release);
        }
        os_static_unlock();
    }
    no_memory = false;
}

/* ---- reading ---- */
typedef struct ry_json_reader {
    const char *begin, *at, *end, *what;
    unsigned flags;
    int depth;
    ry_text words; /* a stack of 0-terminated words: keys that wait for their values, the string or number being read */
    const ry_json_hook *hook;
    bool in_hook; /* within the value of the member that the hook names */
} reader;

static ry_status json_bad(const reader *r, const char *at, const char *text) {
    int line = 1, column = 1;
    for (const char *c = r->begin; c < at; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    RY_FAIL(RY_EFORMAT, "%s:%d:%d: %s", r->what, line, column,
            at == r->end && r->end == r->begin ? "the file is empty" : text);
}

static void json_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n')) r->at++;
}
static bool json_is(const reader *r, char c) { return r->at < r->end && *r->at == c; }
static bool json_take(reader *r, char c) {
    bool is = json_is(r, c);
    r->at += is;
    return is;
}

/* Four hexadecimal digits after \u; -1 if they are not there. */
static int32_t json_hex4(reader *r) {
    int32_t v = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        char c = r->at < r->end ? *r->at : ' ';
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* What follows a backslash, appended to the word. */
static ry_status json_escape(reader *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *start = r->at - 1, *known = r->at < r->end && *r->at ? strchr(from, *r->at) : NULL;
    if (known) {
        r->at++;
        ry_text_add(&r->words, &to[known - from], 1);
        return RY_OK;
    }
    if (!json_take(r, 'u')) return json_bad(r, start, "an escape that JSON does not know");
    int32_t cp = json_hex4(r);
    if (cp < 0) return json_bad(r, start, "\\u needs four hexadecimal digits");
    if (cp >= 0xD800 && cp < 0xDC00 && json_take(r, '\\') && json_take(r, 'u')) {
        int32_t low = json_hex4(r);
        if (low < 0xDC00 || low > 0xDFFF) return json_bad(r, start, "half of a surrogate pair");
        cp = 0x10000 + (cp - 0xD800) * 0x400 + (low - 0xDC00);
    } else if (cp >= 0xD800 && cp < 0xE000) {
        return json_bad(r, start, "half of a surrogate pair");
    }
    char out[4];
    ry_text_add(&r->words, out, utf8_put(out, cp));
    return RY_OK;
}

/* Pushes a string as a word; r->at stands behind its opening quote. */
static ry_status json_string_word(reader *r) {
    const char *open = r->at - 1;
    for (;;) {
        const char *run = r->at;
        int32_t cp = 0;
        while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20) {
            if ((unsigned char)*r->at < 0x80) {
                r->at++;
                continue;
            }
            size_t len = utf8_next(r->at, (size_t)(r->end - r->at), &cp);
            if (cp < 0) return json_bad(r, r->at, "a byte that is not UTF-8");
            r->at += len;
        }
        ry_text_add(&r->words, run, (size_t)(r->at - run));
        if (r->at == r->end) return json_bad(r, open, "a string without an end");
        if (json_take(r, '"')) break;
        if (!json_take(r, '\\')) return json_bad(r, r->at, "a control character in a string");
        RY_TRY(json_escape(r));
    }
    ry_text_add(&r->words, "", 1);
    return ry_text_status(&r->words);
}

/* Drops the words from offset `from` on. */
static void json_drop(reader *r, size_t from) { r->words.n = from; }

static const char *json_digits(const reader *r, const char *s) {
    while (s < r->end && *s >= '0' && *s <= '9') s++;
    return s;
}

static ry_status json_read_number(reader *r, ry_json **out) {
    const char *start = r->at, *s = start + (*start == '-'), *whole = s;
    s = json_digits(r, s);
    if (s == whole || (*whole == '0' && s - whole > 1)) return json_bad(r, start, "neither a value nor a number");
    bool real = false;
    if (s < r->end && *s == '.') {
        const char *part = ++s;
        real = true;
        if ((s = json_digits(r, s)) == part) return json_bad(r, start, "a number with no digit after its point");
    }
    if (s < r->end && (*s == 'e' || *s == 'E')) {
        real = true;
        s += 1 + (s + 1 < r->end && (s[1] == '-' || s[1] == '+'));
        const char *power = s;
        if ((s = json_digits(r, s)) == power) return json_bad(r, start, "a number with no digit in its exponent");
    }
    size_t word = r->words.n;
    ry_text_add(&r->words, start, (size_t)(s - start));
    ry_text_add(&r->words, "", 1);
    RY_TRY(ry_text_status(&r->words));
    const char *text = r->words.at + word;
    if (!real) {
        errno = 0;
        long long v = strtoll(text, NULL, 10);
        if (!errno) {
            *out = json_integer(v);
        } else if (r->flags & RY_JSON_EXACT) {
            return json_bad(r, start, "an integer beyond 64 bits");
        } else {
            real = true;
        }
    }
    if (real) {
        double v;
        RY_TRY(ry_json_number(text, &v));
        if (!isfinite(v)) return json_bad(r, start, "a number too large for a double");
        *out = json_real(v);
    }
    json_drop(r, word);
    r->at = s;
    return *out ? RY_OK : RY_ENOMEM;
}

static ry_status json_read_value(reader *r, ry_json **out);

static ry_status json_read_array(reader *r, ry_json **out) {
    ry_json *list = json_array(), *value;
    ry_status st = list ? RY_OK : RY_ENOMEM;
    json_space(r);
    for (bool more = st == RY_OK && !json_take(r, ']'); more;) {
        RY_GO(st, fail, json_read_value(r, &value));
        if (json_array_append_new(list, value)) {
            st = RY_ENOMEM;
            goto fail;
        }
        json_space(r);
        more = json_take(r, ',');
        if (!more && !json_take(r, ']')) {
            st = json_bad(r, r->at, "a list goes on with , or ends with ]");
            goto fail;
        }
    }
    *out = list;
    return st;
fail:
    json_decref(list);
    return st;
}

/* One "key": value. */
static ry_status json_read_member(reader *r, ry_json *object) {
    json_space(r);
    const char *start = r->at;
    size_t word = r->words.n;
    if (!json_take(r, '"')) return json_bad(r, start, "a field begins with its name in \"\"");
    RY_TRY(json_string_word(r));
    size_t end = r->words.n - 1;
    if (strlen(r->words.at + word) != end - word) {
        if (!(r->flags & RY_JSON_LENIENT)) return json_bad(r, start, "a name that holds NUL");
        ry_text shown = {0}; /* "\u0000" as U+2400 */
        for (size_t i = word; i < end; i++)
            ry_text_add(&shown, r->words.at[i] ? r->words.at + i : "\xE2\x90\x80", r->words.at[i] ? 1 : 3);
        json_drop(r, word);
        ry_text_add(&r->words, shown.at, shown.failed ? 0 : shown.n + 1);
        ry_status st = shown.failed ? RY_ENOMEM : ry_text_status(&r->words);
        ry_text_free(&shown);
        RY_TRY(st);
    }
    if (!(r->flags & RY_JSON_LENIENT) && json_object_get(object, r->words.at + word)) {
        json_bad(r, start, "the name stands here twice: ");
        return ry_fail(RY_EFORMAT, "%s%.80s", ry_message(), r->words.at + word);
    }
    json_space(r);
    if (!json_take(r, ':')) return json_bad(r, r->at, "a : must follow a field's name");
    bool taken = false, outer = r->in_hook;
    int failed = 0;
    if (r->in_hook && r->depth == 2) {
        char name[32]; /* the stack of words moves while the hook reads */
        snprintf(name, sizeof name, "%s", r->words.at + word);
        RY_TRY(r->hook->member(r->hook->ud, r, name, &taken));
    }
    if (!taken) {
        ry_json *value;
        if (r->hook && r->depth == 1) r->in_hook = !strcmp(r->words.at + word, r->hook->object);
        RY_TRY(json_read_value(r, &value));
        failed = json_object_set_new_nocheck(object, r->words.at + word, value);
    }
    r->in_hook = outer;
    json_drop(r, word);
    return failed ? RY_ENOMEM : RY_OK;
}

static ry_status json_read_object(reader *r, ry_json **out) {
    ry_json *object = json_object();
    ry_status st = object ? RY_OK : RY_ENOMEM;
    json_space(r);
    for (bool more = st == RY_OK && !json_take(r, '}'); more;) {
        RY_GO(st, fail, json_read_member(r, object));
        json_space(r);
        more = json_take(r, ',');
        if (!more && !json_take(r, '}')) {
            st = json_bad(r, r->at, "an object goes on with , or ends with }");
            goto fail;
        }
    }
    *out = object;
    return st;
fail:
    json_decref(object);
    return st;
}

static bool json_literal(reader *r, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n)) return false;
    r->at += n;
    return true;
}

static ry_status json_read_value(reader *r, ry_json **out) {
    *out = NULL;
    json_space(r);
    if (r->at == r->end) return json_bad(r, r->at, "the text ends where a value must stand (truncated?)");
    if (json_is(r, '[') || json_is(r, '{')) {
        if (r->depth == RY_JSON_MAX_DEPTH) return json_bad(r, r->at, "too many brackets within each other");
        r->depth++;
        bool list = *r->at++ == '[';
        RY_TRY(list ? json_read_array(r, out) : json_read_object(r, out));
        r->depth--;
        return RY_OK;
    }
    if (json_take(r, '"')) {
        size_t word = r->words.n;
        RY_TRY(json_string_word(r));
        *out = json_stringn_nocheck(r->words.at + word, r->words.n - 1 - word);
        json_drop(r, word);
    } else if (json_literal(r, "true")) {
        *out = json_true();
    } else if (json_literal(r, "false")) {
        *out = json_false();
    } else if (json_literal(r, "null")) {
        *out = json_null();
    } else {
        return json_read_number(r, out);
    }
    return *out ? RY_OK : RY_ENOMEM;
}

/* ---- reading without a tree ---- */
char ry_json_peek(reader *r) {
    json_space(r);
    return r->at < r->end ? *r->at : 0;
}
ry_status ry_json_wrong(reader *r, const char *text) { return json_bad(r, r->at, text); }

ry_status ry_json_next_in(reader *r, char bracket, bool *first, bool *more) {
    bool list = bracket == '[';
    json_space(r);
    if (*first && !json_take(r, bracket)) return json_bad(r, r->at, list ? "a list must stand here" : "an object must stand here");
    json_space(r);
    *more = !json_take(r, list ? ']' : '}');
    if (*more && !*first && !json_take(r, ','))
        return json_bad(r, r->at, list ? "a list goes on with , or ends with ]" : "an object goes on with , or ends with }");
    *first = false;
    return RY_OK;
}

ry_status ry_json_pull_text(reader *r, const char **s, size_t *n) {
    json_space(r);
    size_t word = r->words.n;
    if (!json_take(r, '"')) return json_bad(r, r->at, "a string must stand here");
    RY_TRY(json_string_word(r));
    *s = r->words.at + word;
    *n = r->words.n - 1 - word;
    json_drop(r, word);
    return RY_OK;
}

ry_status ry_json_pull_colon(reader *r) {
    json_space(r);
    return json_take(r, ':') ? RY_OK : json_bad(r, r->at, "a : must follow a field's name");
}

ry_status ry_json_pull_number(reader *r, double *out) {
    json_space(r);
    if (r->at == r->end) return json_bad(r, r->at, "a number must stand here");
    const char *end = json_digits(r, r->at);
    if (end > r->at && end - r->at < 10 && *r->at != '0' && end < r->end && *end != '.' && *end != 'e' && *end != 'E') {
        int64_t v = 0; /* most are small integers */
        for (; r->at < end; r->at++) v = v * 10 + (*r->at - '0');
        *out = (double)v;
        return RY_OK;
    }
    ry_json *j = NULL;
    ry_status st = json_read_number(r, &j);
    if (st == RY_OK) ry_json_as_real(j, out);
    json_decref(j);
    return st;
}

ry_status ry_json_parse(ry_json **out, const char *text, size_t n, const char *what, unsigned flags) {
    return ry_json_parse_hook(out, text, n, what, flags, NULL);
}

ry_status ry_json_parse_hook(ry_json **out, const char *text, size_t n, const char *what, unsigned flags,
                             const ry_json_hook *hook) {
    json_begin();
    if (!n) text = "";
    reader r = {.begin = text, .at = text, .end = text + n, .what = what, .flags = flags, .hook = hook};
    ry_json *j;
    ry_status st = json_read_value(&r, &j);
    if (st == RY_OK) {
        json_space(&r);
        if (r.at == r.end) {
            *out = j;
        } else {
            st = json_bad(&r, r.at, "more text after the value");
            json_decref(j);
        }
    }
    ry_text_free(&r.words);
    return st;
}

ry_status ry_json_read(ry_json **out, const char *path, unsigned flags) {
    char *text;
    size_t n;
    RY_TRY(os_file_read(path, &text, &n));
    ry_status st = ry_json_parse(out, text, n, path, flags);
    ry_mem_free(text);
    return st;
}

void ry_json_free(ry_json *j) { json_decref(j); }

/* ---- looking ---- */
ry_json_kind ry_json_kind_of(const ry_json *j) {
    if (!j) return RY_JSON_NONE;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return RY_JSON_OBJECT;
    case JSON_ARRAY:
        return RY_JSON_ARRAY;
    case JSON_STRING:
        return RY_JSON_STRING;
    case JSON_INTEGER:
        return RY_JSON_INT;
    case JSON_REAL:
        return RY_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return RY_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return RY_JSON_NULL;
}

size_t ry_json_count(const ry_json *j) { return json_is_object(j) ? json_object_size(j) : json_array_size(j); }
const ry_json *ry_json_at(const ry_json *array, size_t i) { return json_array_get(array, i); }
const ry_json *ry_json_find(const ry_json *object, const char *key) { return json_object_get(object, key); }

bool ry_json_as_int(const ry_json *j, int64_t *out) {
    if (json_is_integer(j)) {
        *out = json_integer_value(j);
        return true;
    }
    double v = json_real_value(j);
    if (!json_is_real(j) || v != floor(v) || fabs(v) > 0x1p53) return false;
    *out = (int64_t)v;
    return true;
}

bool ry_json_as_real(const ry_json *j, double *out) {
    if (!json_is_number(j)) return false;
    *out = json_number_value(j);
    return true;
}

bool ry_json_as_bool(const ry_json *j, bool *out) {
    if (!json_is_boolean(j)) return false;
    *out = json_is_true(j);
    return true;
}

const char *ry_json_as_text(const ry_json *j, size_t *n) {
    if (!json_is_string(j)) return NULL;
    if (n) *n = json_string_length(j);
    return json_string_value(j);
}

ry_status ry_json_number(const char *s, double *out) {
    const char *dot = strchr(s, '.'), *point = localeconv()->decimal_point;
    if (!dot || !strcmp(point, ".")) {
        *out = strtod(s, NULL);
        return RY_OK;
    }
    ry_text t = {0};
    ry_text_printf(&t, "%.*s%s%s", (int)(dot - s), s, point, dot + 1);
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) *out = strtod(t.at, NULL);
    ry_text_free(&t);
    return st;
}

/* jansson's iterators take the object as mutable although they only walk it. */
static json_t *json_mutable(const ry_json *j) {
    union {
        const json_t *in;
        json_t *out;
    } u = {.in = j};
    return u.out;
}
static ry_json_it json_it(void *at) {
    return at ? (ry_json_it){json_object_iter_key(at), json_object_iter_value(at), at} : (ry_json_it){NULL, NULL, NULL};
}
ry_json_it ry_json_first(const ry_json *object) { return json_it(json_object_iter(json_mutable(object))); }
ry_json_it ry_json_next(const ry_json *object, ry_json_it it) {
    return json_it(json_object_iter_next(json_mutable(object), it.at));
}

/* ---- fields ---- */
const ry_json *ry_json_path(const ry_json *object, const char *key) {
    const ry_json *j = json_object_get(object, key);
    for (const char *dot = key; !j && (dot = strchr(dot, '.')); dot++) {
        char head[128];
        size_t n = (size_t)(dot - key);
        if (n >= sizeof head) break;
        memcpy(head, key, n);
        head[n] = 0;
        const ry_json *inner = json_object_get(object, head);
        if (json_is_object(inner)) j = ry_json_path(inner, dot + 1);
    }
    return json_is_null(j) ? NULL : j;
}

/* "what: key must be ..., it is VALUE", the value cut to a glance. */
static ry_status json_wrong(const ry_json *j, const char *what, const char *key, const char *fmt, ...) RY_PRINTF(4, 5);
static ry_status json_wrong(const ry_json *j, const char *what, const char *key, const char *fmt, ...) {
    char must[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(must, sizeof must, fmt, ap);
    va_end(ap);
    if (!j) RY_FAIL(RY_EFORMAT, "%s: %s is missing (it must be %s)", what, key, must);
    ry_text t = {0};
    ry_json_write(&t, j, 0);
    ry_status st = ry_text_status(&t);
    if (st == RY_OK)
        st = ry_fail(RY_EFORMAT, "%s: %s must be %s, it is %.60s%s", what, key, must, t.at, t.n > 60 ? "..." : "");
    ry_text_free(&t);
    return st;
}

ry_status ry_json_int(int64_t *out, const ry_json *object, const char *what, const char *key, int64_t lo, int64_t hi,
                      bool needed) {
    const ry_json *j = ry_json_path(object, key);
    if (!j && !needed) return RY_OK;
    int64_t v;
    if (ry_json_as_int(j, &v) && v >= lo && v <= hi) {
        *out = v;
        return RY_OK;
    }
    if (lo == INT64_MIN && hi == INT64_MAX) return json_wrong(j, what, key, "an integer");
    if (hi == INT64_MAX && lo == 1) return json_wrong(j, what, key, "a positive integer");
    if (hi == INT64_MAX) return json_wrong(j, what, key, "an integer of at least %lld", (long long)lo);
    return json_wrong(j, what, key, "an integer from %lld to %lld", (long long)lo, (long long)hi);
}

ry_status ry_json_real(double *out, const ry_json *object, const char *what, const char *key, double lo, double hi,
                       bool needed) {
    const ry_json *j = ry_json_path(object, key);
    if (!j && !needed) return RY_OK;
    double v;
    if (ry_json_as_real(j, &v) && v >= lo && v <= hi) {
        *out = v;
        return RY_OK;
    }
    if (isinf(lo) && isinf(hi)) return json_wrong(j, what, key, "a number");
    if (isinf(hi)) return json_wrong(j, what, key, "a number of at least %g", lo);
    return json_wrong(j, what, key, "a number from %g to %g", lo, hi);
}

ry_status ry_json_bool(bool *out, const ry_json *object, const char *what, const char *key, bool needed) {
    const ry_json *j = ry_json_path(object, key);
    if (!j && !needed) return RY_OK;
    return ry_json_as_bool(j, out) ? RY_OK : json_wrong(j, what, key, "true or false");
}

ry_status ry_json_text(const char **out, const ry_json *object, const char *what, const char *key, bool needed) {
    const ry_json *j = ry_json_path(object, key);
    if (!j && !needed) return RY_OK;
    size_t n;
    const char *s = ry_json_as_text(j, &n);
    if (!s || strlen(s) != n) return json_wrong(j, what, key, "a string%s", s ? " without NUL" : "");
    *out = s;
    return RY_OK;
}

ry_status ry_json_array(const ry_json **out, const ry_json *object, const char *what, const char *key, bool needed) {
    const ry_json *j = ry_json_path(object, key);
    if (!j && !needed) return RY_OK;
    if (!json_is_array(j)) return json_wrong(j, what, key, "a list");
    *out = j;
    return RY_OK;
}

ry_status ry_json_object(const ry_json **out, const ry_json *object, const char *what, const char *key, bool needed) {
    const ry_json *j = ry_json_path(object, key);
    if (!j && !needed) return RY_OK;
    if (!json_is_object(j)) return json_wrong(j, what, key, "an object");
    *out = j;
    return RY_OK;
}

ry_status ry_json_need_object(const ry_json *j, const char *what) {
    if (json_is_object(j)) return RY_OK;
    RY_FAIL(RY_EFORMAT, "%s: must hold an object of named fields", what);
}

/* ---- making ---- */
static _Thread_local ry_status refusal; /* why the newest value that could not be made is NULL */

static ry_json *json_made(ry_json *v) {
    if (v) return v;
    refusal =
        no_memory ? RY_ENOMEM : ry_fail(RY_EARG, "JSON cannot hold this value (not finite, or text that is not UTF-8)");
    return NULL;
}

ry_json *ry_json_new_object(void) {
    json_begin();
    return json_made(json_object());
}
ry_json *ry_json_new_array(void) {
    json_begin();
    return json_made(json_array());
}
ry_json *ry_json_new_null(void) { return json_null(); }
ry_json *ry_json_new_bool(bool v) { return json_boolean(v); }
ry_json *ry_json_new_int(int64_t v) {
    json_begin();
    return json_made(json_integer(v));
}
ry_json *ry_json_new_real(double v) {
    json_begin();
    return json_made(json_real(v));
}
ry_json *ry_json_new_text(const char *s) { return ry_json_new_text_n(s, strlen(s)); }
ry_json *ry_json_new_text_n(const char *s, size_t n) {
    json_begin();
    return json_made(json_stringn(s, n));
}

ry_status ry_json_put(ry_json *object, const char *key, ry_json *value) {
    if (!object || !value) {
        json_decref(value);
        return object ? refusal : RY_ENOMEM;
    }
    json_begin();
    return json_made(json_object_set_new(object, key, value) ? NULL : object) ? RY_OK : refusal;
}

void ry_json_drop(ry_json *object, const char *key) { (void)json_object_del(object, key); }

ry_status ry_json_push(ry_json *array, ry_json *value) {
    if (!array || !value) {
        json_decref(value);
        return array ? refusal : RY_ENOMEM;
    }
    json_begin();
    return json_made(json_array_append_new(array, value) ? NULL : array) ? RY_OK : refusal;
}

/* ---- writing ---- */
/* The shortest of 15, 16, 17 digits that reads back equal; with a point or an exponent, so that it stays a real. */
static void json_write_real(ry_text *out, double v) {
    char buf[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, sizeof buf, "%.*g", digits, v);
        if (strtod(buf, NULL) == v) break;
    }
    bool marked = false;
    for (char *c = buf; *c; c++) {
        if (!strchr("0123456789+-eE", *c)) *c = '.'; /* a locale's decimal point */
        marked |= *c == '.' || *c == 'e';
    }
    ry_text_puts(out, buf);
    if (!marked) ry_text_puts(out, ".0");
}

static void json_newline(ry_text *out, int indent, int depth) {
    if (indent) ry_text_printf(out, "\n%*s", indent * depth, "");
}

static void json_write_at(ry_text *out, const ry_json *j, int indent, int depth) {
    switch (ry_json_kind_of(j)) {
    case RY_JSON_NONE:
    case RY_JSON_NULL:
        ry_text_puts(out, "null");
        return;
    case RY_JSON_BOOL:
        ry_text_puts(out, json_is_true(j) ? "true" : "false");
        return;
    case RY_JSON_INT:
        ry_text_printf(out, "%lld", (long long)json_integer_value(j));
        return;
    case RY_JSON_REAL:
        json_write_real(out, json_real_value(j));
        return;
    case RY_JSON_STRING:
        ry_text_json(out, json_string_value(j), json_string_length(j));
        return;
    case RY_JSON_ARRAY:
        ry_text_puts(out, "[");
        for (size_t i = 0; i < json_array_size(j); i++) {
            if (i) ry_text_puts(out, indent ? "," : ", ");
            json_newline(out, indent, depth + 1);
            json_write_at(out, json_array_get(j, i), indent, depth + 1);
        }
        if (json_array_size(j)) json_newline(out, indent, depth);
        ry_text_puts(out, "]");
        return;
    case RY_JSON_OBJECT:
        ry_text_puts(out, "{");
        for (ry_json_it first = ry_json_first(j), it = first; it.value; it = ry_json_next(j, it)) {
            if (it.at != first.at) ry_text_puts(out, indent ? "," : ", ");
            json_newline(out, indent, depth + 1);
            ry_text_json(out, it.key, strlen(it.key));
            ry_text_puts(out, ": ");
            json_write_at(out, it.value, indent, depth + 1);
        }
        if (json_object_size(j)) json_newline(out, indent, depth);
        ry_text_puts(out, "}");
        return;
    }
}

void ry_json_write(ry_text *out, const ry_json *j, int indent) { json_write_at(out, j, indent, 0); }

ry_status ry_json_save(const ry_json *j, const char *path) {
    ry_text t = {0};
    ry_json_write(&t, j, 2);
    ry_text_puts(&t, "\n");
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) st = os_file_write(path, t.at, t.n);
    ry_text_free(&t);
    return st;
}
