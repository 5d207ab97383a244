/* json.c - the JSON layer: checks that jansson does not make, field helpers, a writer.  Owns nothing but the trees it hands out.
 *
 * What is added to jansson's reader: a depth limit that is counted before it recurses; integers beyond 64 bits; its allocations
 * through ry_mem, where a failure is noticed here (jansson's lexer drops a character when its buffer cannot grow). */
#include "io/json.h"
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/os.h"

/* ---- jansson's memory ---- */
static _Thread_local bool no_memory; /* an allocation failed since this was cleared */

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
static void json_place(const char *text, size_t at, int *line, int *column) {
    *line = 1, *column = 1;
    for (size_t i = 0; i < at; i++) {
        *column = text[i] == '\n' ? 1 : *column + 1;
        *line += text[i] == '\n';
    }
}

/* One pass over the bytes before jansson sees them: depth, and (lenient) NULs in keys. edit is a writable copy or NULL. */
static ry_status json_survey(const char *text, size_t n, const char *what, char *edit) {
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '[' || c == '{') {
            if (++depth > RY_JSON_MAX_DEPTH) {
                int line, column;
                json_place(text, i, &line, &column);
                RY_FAIL(RY_EFORMAT, "%s:%d:%d: more than %d brackets within each other", what, line, column, RY_JSON_MAX_DEPTH);
            }
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == '"') {
            size_t begin = i++;
            while (i < n && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
            size_t end = i < n ? i : n, next = end + 1;
            while (next < n && strchr(" \t\r\n", text[next]) && text[next]) next++;
            if (!edit || next >= n || text[next] != ':') continue;
            for (size_t k = begin + 1; k + 5 < end; k += text[k] == '\\' ? 2 : 1)
                if (!memcmp(text + k, "\\u0000", 6)) memcpy(edit + k + 2, "2400", 4);
        }
    }
    return RY_OK;
}

ry_status ry_json_parse(ry_json **out, const char *text, size_t n, const char *what, unsigned flags) {
    json_begin();
    char *edit = NULL;
    if (flags & RY_JSON_LENIENT) {
        if (!(edit = ry_mem_alloc(n))) return RY_ENOMEM;
        if (n) memcpy(edit, text, n);
    }
    ry_status st = json_survey(text, n, what, edit);
    if (st != RY_OK) {
        ry_mem_free(edit);
        return st;
    }
    size_t how = JSON_DECODE_ANY | JSON_ALLOW_NUL | (edit ? 0 : JSON_REJECT_DUPLICATES);
    json_error_t e;
    const char *from = edit ? edit : n ? text : ""; /* jansson refuses a NULL buffer */
    json_t *j = json_loadb(from, n, how, &e);
    if (!j && !no_memory && json_error_code(&e) == json_error_numeric_overflow && !(flags & RY_JSON_EXACT))
        j = json_loadb(from, n, how | JSON_DECODE_INT_AS_REAL, &e);
    ry_mem_free(edit);
    if (no_memory) {
        json_decref(j);
        return RY_ENOMEM; /* the hook has recorded it */
    }
    if (!j) RY_FAIL(RY_EFORMAT, "%s:%d:%d: %s", what, e.line, e.column, e.text);
    *out = j;
    return RY_OK;
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
    case JSON_OBJECT: return RY_JSON_OBJECT;
    case JSON_ARRAY: return RY_JSON_ARRAY;
    case JSON_STRING: return RY_JSON_STRING;
    case JSON_INTEGER: return RY_JSON_INT;
    case JSON_REAL: return RY_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return RY_JSON_BOOL;
    case JSON_NULL: break;
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
    union { const json_t *in; json_t *out; } u = {.in = j};
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

ry_status ry_json_int(int64_t *out, const ry_json *object, const char *what, const char *key, int64_t lo, int64_t hi, bool needed) {
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

ry_status ry_json_real(double *out, const ry_json *object, const char *what, const char *key, double lo, double hi, bool needed) {
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
ry_json *ry_json_new_object(void) {
    json_begin();
    return json_object();
}
ry_json *ry_json_new_array(void) {
    json_begin();
    return json_array();
}
ry_json *ry_json_new_null(void) { return json_null(); }
ry_json *ry_json_new_bool(bool v) { return json_boolean(v); }
ry_json *ry_json_new_int(int64_t v) {
    json_begin();
    return json_integer(v);
}
ry_json *ry_json_new_real(double v) {
    json_begin();
    return json_real(v);
}
ry_json *ry_json_new_text(const char *s) { return ry_json_new_text_n(s, strlen(s)); }
ry_json *ry_json_new_text_n(const char *s, size_t n) {
    json_begin();
    return json_stringn(s, n);
}

/* Why jansson refused a value: memory, or a value that JSON cannot say. */
static ry_status json_refused(void) {
    return no_memory ? RY_ENOMEM : ry_fail(RY_EARG, "JSON cannot hold this value (not finite, or text that is not UTF-8)");
}

ry_status ry_json_put(ry_json *object, const char *key, ry_json *value) {
    if (!object) {
        json_decref(value);
        return RY_ENOMEM; /* recorded when the object was to be made */
    }
    if (value) json_begin();
    return !value || json_object_set_new(object, key, value) ? json_refused() : RY_OK;
}

ry_status ry_json_push(ry_json *array, ry_json *value) {
    if (!array) {
        json_decref(value);
        return RY_ENOMEM;
    }
    if (value) json_begin();
    return !value || json_array_append_new(array, value) ? json_refused() : RY_OK;
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
    case RY_JSON_NULL: ry_text_puts(out, "null"); return;
    case RY_JSON_BOOL: ry_text_puts(out, json_is_true(j) ? "true" : "false"); return;
    case RY_JSON_INT: ry_text_printf(out, "%lld", (long long)json_integer_value(j)); return;
    case RY_JSON_REAL: json_write_real(out, json_real_value(j)); return;
    case RY_JSON_STRING: ry_text_json(out, json_string_value(j), json_string_length(j)); return;
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
