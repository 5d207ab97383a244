/* value.c - Python's values as far as templates see them: texts, lists, dicts, truth, equality, order.  Owns nothing: all is in a
 * rendering's arena, counted against its budget. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the budget ---- */

ry_status jrun_fail(jrun *r, ry_status st, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    ry_failv(st, fmt, ap);
    va_end(ap);
    return ry_fail_in(st, "%s:%d", r->t->what, r->line);
}

ry_status jrun_step(jrun *r, size_t n) {
    if (n > r->t->max_steps || (r->steps += n) > r->t->max_steps) {
        r->steps = r->t->max_steps;
        return jrun_fail(r, RY_EUNSUPPORTED, "limit: the template takes too many steps");
    }
    return RY_OK;
}

void *jrun_alloc(jrun *r, size_t bytes) {
    size_t most = r->t->max_bytes;
    if (bytes >= most - r->bytes) {
        r->bytes = most;
        return NULL;
    }
    r->bytes += bytes + 32 < most - r->bytes ? bytes + 32 : most - r->bytes;
    r->steps += bytes / 64;
    return ry_arena_alloc(&r->arena, bytes);
}

ry_status jrun_nomem(jrun *r) {
    if (r->bytes >= r->t->max_bytes) return jrun_fail(r, RY_EUNSUPPORTED, "limit: the template makes more than %zu MiB of values", r->t->max_bytes >> 20);
    return RY_ENOMEM;
}

/* ---- scopes ---- */

jv *jscope_find(jscope *s, const jname *name) {
    for (; s; s = s->parent)
        for (size_t i = s->n; i-- > 0;)
            if (s->at[i].name == name) return &s->at[i].value;
    return NULL;
}

ry_status jscope_put(jrun *r, jscope *s, const jname *name, jv v) {
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].name == name) {
            s->at[i].value = v;
            return RY_OK;
        }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        jbind *more = JRUN_NEW(r, jbind, cap);
        if (!more) return jrun_nomem(r);
        if (s->n) memcpy(more, s->at, s->n * sizeof *more);
        s->at = more, s->cap = cap;
    }
    s->at[s->n++] = (jbind){name, v};
    return RY_OK;
}

/* ---- texts ---- */

ry_status jv_text(jrun *r, jv *out, const char *s, size_t n) {
    jtext *t = JRUN_NEW(r, jtext, 1);
    if (!t) return jrun_nomem(r);
    *t = (jtext){.at = s, .n = n, .chars = SIZE_MAX};
    *out = (jv){.kind = JV_TEXT, .text = t};
    return RY_OK;
}

ry_status jv_text_buf(jrun *r, jv *out, const jbuf *b) { return jv_text(r, out, b->at ? b->at : "", b->n); }

size_t jtext_chars(jtext *t) {
    if (t->chars == SIZE_MAX) {
        size_t k = 0;
        for (size_t i = 0; i < t->n; i++) k += ((unsigned char)t->at[i] & 0xC0) != 0x80;
        t->chars = k;
    }
    return t->chars;
}

size_t jtext_offset(jtext *t, size_t chars) {
    if (jtext_chars(t) == t->n) return chars < t->n ? chars : t->n;
    size_t i = 0;
    while (i < t->n && chars) {
        i++;
        while (i < t->n && ((unsigned char)t->at[i] & 0xC0) == 0x80) i++;
        chars--;
    }
    return i;
}

ry_status jv_need_text(jrun *r, jv v, const char *what, jtext **out) {
    if (v.kind == JV_UNDEF) return jv_no_undefined(r, v);
    if (v.kind != JV_TEXT) return jrun_fail(r, RY_EARG, "%s needs a text, not %s", what, jv_type(v));
    *out = v.text;
    return RY_OK;
}

ry_status jv_need_int(jrun *r, jv v, const char *what, int64_t *out) {
    if (v.kind == JV_UNDEF) return jv_no_undefined(r, v);
    if (!jv_is_int(v)) return jrun_fail(r, RY_EARG, "%s needs an integer, not %s", what, jv_type(v));
    *out = jv_as_int(v);
    return RY_OK;
}

size_t jtext_search(const char *s, size_t n, const char *w, size_t m) {
    if (!m) return 0;
    for (size_t i = 0; i + m <= n;) {
        const char *hit = memchr(s + i, w[0], n - m + 1 - i);
        if (!hit) break;
        if (!memcmp(hit, w, m)) return (size_t)(hit - s);
        i = (size_t)(hit - s) + 1;
    }
    return SIZE_MAX;
}

ry_status jtext_find(jrun *r, const char *s, size_t n, const char *w, size_t m, size_t *at) {
    *at = SIZE_MAX;
    if (!m) *at = 0;
    for (size_t i = 0; m && i + m <= n;) {
        const char *hit = memchr(s + i, w[0], n - m + 1 - i);
        RY_TRY(jrun_step(r, 1 + m / 16 + ((hit ? (size_t)(hit - s) : n) - i) / 64));
        if (!hit) break;
        if (!memcmp(hit, w, m)) {
            *at = (size_t)(hit - s);
            break;
        }
        i = (size_t)(hit - s) + 1;
    }
    return RY_OK;
}

/* ---- lists and dicts ---- */

ry_status jv_list(jrun *r, jv *out, jkind kind, size_t cap) {
    jlist *l = JRUN_NEW(r, jlist, 1);
    if (!l) return jrun_nomem(r);
    if (cap) {
        l->at = JRUN_NEW(r, jv, cap);
        if (!l->at) return jrun_nomem(r);
        l->cap = cap;
    }
    *out = (jv){.kind = (uint8_t)kind, .list = l};
    return RY_OK;
}

ry_status jlist_push(jrun *r, jlist *l, jv v) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        jv *more = JRUN_NEW(r, jv, cap);
        if (!more) return jrun_nomem(r);
        if (l->n) memcpy(more, l->at, l->n * sizeof *more);
        l->at = more, l->cap = cap;
    }
    l->at[l->n++] = v;
    return RY_OK;
}

ry_status jv_dict(jrun *r, jv *out, size_t cap) {
    jdict *d = JRUN_NEW(r, jdict, 1);
    if (!d) return jrun_nomem(r);
    if (cap) {
        d->at = JRUN_NEW(r, jpair, cap);
        if (!d->at) return jrun_nomem(r);
        d->cap = cap;
    }
    *out = (jv){.kind = JV_DICT, .dict = d};
    return RY_OK;
}

static ry_status hash_of(jrun *r, jv k, uint64_t *out) {
    double f;
    switch ((jkind)k.kind) {
    case JV_LARGE:
    case JV_TEXT: *out = ry_text_hash(RY_TEXT_HASH, k.text->at, k.text->n); return RY_OK;
    case JV_BOOL:
    case JV_INT: /* 1, 1.0 and True are one key */
    case JV_REAL: f = jv_as_real(k) + 0.0; *out = ry_text_hash(RY_TEXT_HASH, (const char *)&f, sizeof f); return RY_OK;
    case JV_TUPLE: {
        if (++r->value_depth > JINJA_MAX_VALUE_DEPTH) return jrun_fail(r, RY_EUNSUPPORTED, "limit: tuples are nested too deeply");
        uint64_t h = RY_TEXT_HASH, one;
        for (size_t i = 0; i < k.list->n; i++) {
            RY_TRY(jrun_step(r, 1));
            RY_TRY(hash_of(r, k.list->at[i], &one));
            h = ry_text_hash(h, (const char *)&one, sizeof one);
        }
        r->value_depth--;
        *out = h;
        return RY_OK;
    }
    case JV_LIST:
    case JV_DICT:
    case JV_VIEW: return jrun_fail(r, RY_EARG, "a %s cannot be a key", jv_type(k));
    default: *out = RY_TEXT_HASH + k.kind; return RY_OK;
    }
}

static ry_status find(jrun *r, const jdict *d, jv key, uint64_t hash, jv **out) {
    *out = NULL;
    RY_TRY(jrun_step(r, 1 + d->n / 16));
    for (size_t i = 0; i < d->n; i++) {
        if (d->at[i].hash != hash) continue;
        bool same;
        RY_TRY(jv_equal(r, d->at[i].key, key, &same));
        if (!same) continue;
        *out = &d->at[i].value;
        break;
    }
    return RY_OK;
}

ry_status jdict_find(jrun *r, const jdict *d, jv key, jv **out) {
    uint64_t hash;
    RY_TRY(hash_of(r, key, &hash));
    return find(r, d, key, hash, out);
}

jv *jdict_text(const jdict *d, uint64_t hash, const char *s, size_t n) {
    for (size_t i = 0; i < d->n; i++) {
        const jpair *p = &d->at[i];
        if (p->hash == hash && p->key.kind == JV_TEXT && p->key.text->n == n && !memcmp(p->key.text->at, s, n)) return &d->at[i].value;
    }
    return NULL;
}

static ry_status append(jrun *r, jdict *d, jv key, jv value, uint64_t hash) {
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        jpair *more = JRUN_NEW(r, jpair, cap);
        if (!more) return jrun_nomem(r);
        if (d->n) memcpy(more, d->at, d->n * sizeof *more);
        d->at = more, d->cap = cap;
    }
    d->at[d->n++] = (jpair){key, value, hash};
    return RY_OK;
}

ry_status jdict_put(jrun *r, jdict *d, jv key, jv value) {
    uint64_t hash;
    jv *there;
    RY_TRY(hash_of(r, key, &hash));
    RY_TRY(find(r, d, key, hash, &there));
    if (!there) return append(r, d, key, value, hash);
    *there = value;
    return RY_OK;
}

ry_status jdict_pair(jrun *r, const jpair *p, jv *out) {
    RY_TRY(jv_list(r, out, JV_TUPLE, 2));
    out->list->at[0] = p->key, out->list->at[1] = p->value;
    out->list->n = 2;
    return RY_OK;
}

ry_status jv_json(jrun *r, jv *out, const ry_json *j) {
    size_t n = ry_json_count(j);
    const char *s;
    switch (ry_json_kind_of(j)) {
    case RY_JSON_BOOL: *out = jv_bool(false); ry_json_as_bool(j, &out->yes); return RY_OK;
    case RY_JSON_INT: *out = jv_int(0); ry_json_as_int(j, &out->i); return RY_OK;
    case RY_JSON_REAL: *out = jv_real(0); ry_json_as_real(j, &out->f); return RY_OK;
    case RY_JSON_STRING:
        s = ry_json_as_text(j, &n);
        if (!r->large || n < sizeof JINJA_LARGE || memcmp(s, JINJA_LARGE, sizeof JINJA_LARGE - 1)) return jv_text(r, out, s, n);
        RY_TRY(jv_text(r, out, s + sizeof JINJA_LARGE - 1, n - sizeof JINJA_LARGE + 1));
        out->kind = JV_LARGE;
        return RY_OK;
    case RY_JSON_ARRAY:
        RY_TRY(jv_list(r, out, JV_LIST, n));
        for (size_t i = 0; i < n; i++) RY_TRY(jv_json(r, &out->list->at[i], ry_json_at(j, i)));
        out->list->n = n;
        return RY_OK;
    case RY_JSON_OBJECT:
        RY_TRY(jv_dict(r, out, n));
        for (ry_json_it it = ry_json_first(j); it.value; it = ry_json_next(j, it)) {
            jv key, value;
            RY_TRY(jv_text(r, &key, it.key, strlen(it.key)));
            RY_TRY(jv_json(r, &value, it.value));
            RY_TRY(append(r, out->dict, key, value, ry_text_hash(RY_TEXT_HASH, key.text->at, key.text->n))); /* the reader refuses equal keys */
        }
        return RY_OK;
    default: *out = JV_NOTHING; return RY_OK;
    }
}

/* ---- undefined ---- */

ry_status jv_undefined(jrun *r, jv *out, bool security, const char *fmt, ...) {
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    jundef *u = jrun_alloc(r, sizeof *u + len + 1);
    if (!u) return jrun_nomem(r);
    char *s = (char *)(u + 1);
    memcpy(s, text, len);
    *u = (jundef){s, len, security};
    *out = (jv){.kind = JV_UNDEF, .undef = u};
    return RY_OK;
}

ry_status jv_no_undefined(jrun *r, jv v) { return jrun_fail(r, RY_EARG, "%s", v.undef ? v.undef->what : "an undefined value is used"); }

/* ---- kinds ---- */

bool jv_is_int(jv v) { return v.kind == JV_INT || v.kind == JV_BOOL; }
bool jv_is_number(jv v) { return jv_is_int(v) || v.kind == JV_REAL; }
int64_t jv_as_int(jv v) { return v.kind == JV_BOOL ? v.yes : v.i; }
double jv_as_real(jv v) { return v.kind == JV_REAL ? v.f : (double)jv_as_int(v); }

const char *jv_type(jv v) {
    static const char *const names[] = {"nothing", "undefined", "None", "bool", "int", "float", "large int", "str", "list", "tuple", "dict", "range", "generator",
                                        "dict view", "namespace", "macro", "loop", "function", "method", "cycler", "joiner"};
    return names[v.kind];
}

bool jv_has_length(jv v) {
    return v.kind == JV_TEXT || v.kind == JV_LIST || v.kind == JV_TUPLE || v.kind == JV_DICT || v.kind == JV_RANGE || v.kind == JV_VIEW || v.kind == JV_UNDEF || v.kind == JV_LOOP;
}

ry_status jv_length(jrun *r, jv v, int64_t *out) {
    switch ((jkind)v.kind) {
    case JV_TEXT: *out = (int64_t)jtext_chars(v.text); return RY_OK;
    case JV_LIST:
    case JV_TUPLE: *out = (int64_t)v.list->n; return RY_OK;
    case JV_DICT:
    case JV_VIEW: *out = (int64_t)v.dict->n; return RY_OK;
    case JV_RANGE: *out = v.range->n; return RY_OK;
    case JV_UNDEF: *out = 0; return RY_OK;
    case JV_LOOP: {
        jv n;
        RY_TRY(jinja_attr(r, v, "length", 6, &n));
        *out = n.i;
        return RY_OK;
    }
    default: return jrun_fail(r, RY_EARG, "a %s has no length", jv_type(v));
    }
}

ry_status jv_true(jrun *r, jv v, bool *out) {
    int64_t n;
    switch ((jkind)v.kind) {
    case JV_NONE: *out = false; return RY_OK;
    case JV_BOOL: *out = v.yes; return RY_OK;
    case JV_INT: *out = v.i != 0; return RY_OK;
    case JV_REAL: *out = v.f != 0; return RY_OK;
    case JV_TEXT: *out = v.text->n != 0; return RY_OK;
    default:
        *out = true;
        if (!jv_has_length(v)) return RY_OK;
        RY_TRY(jv_length(r, v, &n));
        *out = n != 0;
        return RY_OK;
    }
}

/* ---- equality and order ---- */

static int compare_numbers(jv a, jv b) { /* -1, 0, 1; 2: a NaN */
    if (jv_is_int(a) && jv_is_int(b)) return (jv_as_int(a) > jv_as_int(b)) - (jv_as_int(a) < jv_as_int(b));
    double x = jv_as_real(a), y = jv_as_real(b);
    if (isnan(x) || isnan(y)) return 2;
    if (x != y || (a.kind == JV_REAL && b.kind == JV_REAL)) return (x > y) - (x < y);
    /* an integer that a double rounds: compare as integers where the double is one */
    double f = a.kind == JV_REAL ? a.f : b.f;
    if (f >= 9223372036854775808.0 || f < -9223372036854775808.0) return a.kind == JV_REAL ? (f > 0 ? 1 : -1) : (f > 0 ? -1 : 1);
    int64_t i = a.kind == JV_REAL ? (int64_t)a.f : jv_as_int(a), k = b.kind == JV_REAL ? (int64_t)b.f : jv_as_int(b);
    return (i > k) - (i < k);
}

static ry_status deeper(jrun *r) {
    if (++r->value_depth > JINJA_MAX_VALUE_DEPTH) return jrun_fail(r, RY_EUNSUPPORTED, "limit: values are nested too deeply to be compared");
    return RY_OK;
}

ry_status jv_equal(jrun *r, jv a, jv b, bool *out) {
    RY_TRY(jrun_step(r, 1));
    *out = false;
    if (jv_is_number(a) && jv_is_number(b)) *out = compare_numbers(a, b) == 0;
    else if (a.kind != b.kind) return RY_OK;
    else
        switch ((jkind)a.kind) {
        case JV_UNDEF:
        case JV_NONE: *out = true; break;
        case JV_LARGE:
        case JV_TEXT:
            *out = a.text->n == b.text->n && (a.text->at == b.text->at || !memcmp(a.text->at, b.text->at, a.text->n));
            if (*out) return jrun_step(r, a.text->n / 64);
            break;
        case JV_LIST:
        case JV_TUPLE:
            if (a.list->n != b.list->n) break;
            *out = true;
            RY_TRY(deeper(r));
            for (size_t i = 0; *out && i < a.list->n; i++) RY_TRY(jv_equal(r, a.list->at[i], b.list->at[i], out));
            r->value_depth--;
            break;
        case JV_DICT:
            if (a.dict->n != b.dict->n) break;
            *out = true;
            RY_TRY(deeper(r));
            for (size_t i = 0; *out && i < a.dict->n; i++) {
                jv *there;
                RY_TRY(find(r, b.dict, a.dict->at[i].key, a.dict->at[i].hash, &there));
                *out = there != NULL;
                if (there) RY_TRY(jv_equal(r, a.dict->at[i].value, *there, out));
            }
            r->value_depth--;
            break;
        case JV_RANGE:
            *out = a.range->n == b.range->n && (!a.range->n || (a.range->start == b.range->start && (a.range->n == 1 || a.range->step == b.range->step)));
            break;
        default: *out = a.iter == b.iter; break;
        }
    return RY_OK;
}

static bool holds(int c, jop op) { return c != 2 && (op == JO_LT ? c < 0 : op == JO_LE ? c <= 0 : op == JO_GT ? c > 0 : c >= 0); }

ry_status jv_less(jrun *r, jv a, jv b, jop op, bool *out) {
    RY_TRY(jrun_step(r, 1));
    if (a.kind == JV_UNDEF || b.kind == JV_UNDEF) return jv_no_undefined(r, a.kind == JV_UNDEF ? a : b);
    if (jv_is_number(a) && jv_is_number(b)) *out = holds(compare_numbers(a, b), op);
    else if (a.kind == JV_TEXT && b.kind == JV_TEXT) {
        size_t n = a.text->n < b.text->n ? a.text->n : b.text->n;
        int c = memcmp(a.text->at, b.text->at, n); /* UTF-8 keeps the order of code points */
        *out = holds(c < 0 ? -1 : c > 0 ? 1 : (a.text->n > b.text->n) - (a.text->n < b.text->n), op);
        return jrun_step(r, n / 64);
    } else if (a.kind == b.kind && (a.kind == JV_LIST || a.kind == JV_TUPLE)) {
        size_t i = 0, n = a.list->n < b.list->n ? a.list->n : b.list->n;
        bool same = true;
        RY_TRY(deeper(r));
        while (i < n) {
            RY_TRY(jv_equal(r, a.list->at[i], b.list->at[i], &same));
            if (!same) break;
            i++;
        }
        if (i < n) RY_TRY(jv_less(r, a.list->at[i], b.list->at[i], op, out));
        else *out = holds((a.list->n > b.list->n) - (a.list->n < b.list->n), op);
        r->value_depth--;
    } else return jrun_fail(r, RY_EARG, "%s and %s have no order", jv_type(a), jv_type(b));
    return RY_OK;
}

ry_status jv_in(jrun *r, jv item, jv box, bool *out) {
    jv *there;
    jv x;
    bool more;
    jiter *it = NULL;
    *out = false;
    if (box.kind == JV_TEXT) {
        size_t at;
        if (item.kind != JV_TEXT) return jrun_fail(r, RY_EARG, "'in' a text needs a text, not %s", jv_type(item));
        RY_TRY(jtext_find(r, box.text->at, box.text->n, item.text->at, item.text->n, &at));
        *out = at != SIZE_MAX;
        return RY_OK;
    }
    if (box.kind == JV_DICT || (box.kind == JV_VIEW && box.which == JVIEW_KEYS)) {
        RY_TRY(jdict_find(r, box.dict, item, &there));
        *out = there != NULL;
        return RY_OK;
    }
    RY_TRY(jiter_open(r, box, &it));
    for (;;) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) return RY_OK;
        RY_TRY(jv_equal(r, x, item, out));
        if (*out) return RY_OK;
    }
}
