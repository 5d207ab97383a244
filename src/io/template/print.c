/* print.c - values as text: Python's str and repr, and json.dumps.  Owns nothing; buffers grow in the rendering's arena. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ry_status jbuf_add(jrun *r, jbuf *b, const char *s, size_t n) {
    if (n > b->cap - b->n) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        if (n > SIZE_MAX / 4 || cap < b->n + n) cap = n > SIZE_MAX / 4 ? SIZE_MAX : b->n + n;
        char *more = jrun_alloc(r, cap);
        if (!more) return jrun_nomem(r);
        if (b->n) memcpy(more, b->at, b->n);
        b->at = more, b->cap = cap;
    }
    if (n) memcpy(b->at + b->n, s, n);
    b->n += n;
    return RY_OK;
}

ry_status jbuf_printf(jrun *r, jbuf *b, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return jbuf_add(r, b, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

ry_status jbuf_char(jrun *r, jbuf *b, int32_t cp) {
    char s[4];
    return jbuf_add(r, b, s, utf8_put(s, cp));
}

/* The shortest digits that read back equal; an exponent below 1e-4 and from 1e16. */
void jinja_real(char out[40], double f) {
    char s[40], digits[32];
    int n = 0, power = 0, k = 0;
    if (isnan(f) || isinf(f)) {
        strcpy(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        snprintf(s, sizeof s, "%.*e", precision, f); /* whatever the locale's point is, only the digits are taken */
        if (strtod(s, NULL) == f) break;
    }
    for (char *p = s; *p; p++) {
        if (*p == 'e') {
            power = atoi(p + 1);
            break;
        }
        if (*p >= '0' && *p <= '9' && n < 30) digits[n++] = *p;
    }
    while (n > 1 && digits[n - 1] == '0') n--;
    if (signbit(f)) out[k++] = '-';
    if (power < -4 || power >= 16) {
        out[k++] = digits[0];
        if (n > 1) {
            out[k++] = '.';
            memcpy(out + k, digits + 1, (size_t)n - 1);
            k += n - 1;
        }
        snprintf(out + k, 14, "e%c%02d", power < 0 ? '-' : '+', abs(power));
        return;
    }
    if (power < 0) {
        out[k++] = '0', out[k++] = '.';
        for (int i = power; i < -1; i++) out[k++] = '0';
        memcpy(out + k, digits, (size_t)n);
        k += n;
    } else {
        for (int i = 0; i < n || i <= power + 1; i++) {
            if (i == power + 1) {
                out[k++] = '.';
                if (i >= n) out[k++] = '0';
            }
            if (i < n || i <= power) out[k++] = i < n ? digits[i] : '0';
        }
    }
    out[k] = 0;
}

ry_status jbuf_escape(jrun *r, jbuf *b, const char *s, size_t n) {
    RY_TRY(jrun_step(r, n / 16));
    for (size_t i = 0; i < n; i++) {
        const char *e = s[i] == '&' ? "&amp;" : s[i] == '<' ? "&lt;" : s[i] == '>' ? "&gt;" : s[i] == '"' ? "&#34;" : s[i] == '\'' ? "&#39;" : NULL;
        RY_TRY(e ? jbuf_puts(r, b, e) : jbuf_add(r, b, s + i, 1));
    }
    return RY_OK;
}

static ry_status repr_text(jrun *r, jbuf *b, const jtext *t) {
    bool one = memchr(t->at, '\'', t->n) != NULL, two = memchr(t->at, '"', t->n) != NULL;
    char quote = one && !two ? '"' : '\'';
    RY_TRY(jrun_step(r, t->n / 8));
    RY_TRY(jbuf_add(r, b, &quote, 1));
    for (size_t i = 0; i < t->n;) {
        int32_t cp;
        size_t len = utf8_next(t->at + i, t->n - i, &cp);
        if (cp == quote || cp == '\\') RY_TRY(jbuf_printf(r, b, "\\%c", (char)cp));
        else if (cp == '\n') RY_TRY(jbuf_puts(r, b, "\\n"));
        else if (cp == '\r') RY_TRY(jbuf_puts(r, b, "\\r"));
        else if (cp == '\t') RY_TRY(jbuf_puts(r, b, "\\t"));
        else if (juni_printable(cp)) RY_TRY(jbuf_add(r, b, t->at + i, len));
        else RY_TRY(jbuf_printf(r, b, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp));
        i += len;
    }
    return jbuf_add(r, b, &quote, 1);
}

static ry_status deeper(jrun *r) {
    if (++r->value_depth > JINJA_MAX_VALUE_DEPTH) return jrun_fail(r, RY_EUNSUPPORTED, "limit: values are nested too deeply to be printed");
    return RY_OK;
}

static ry_status repr_items(jrun *r, jbuf *b, const jlist *l, const char *open, const char *close) {
    RY_TRY(deeper(r));
    RY_TRY(jbuf_puts(r, b, open));
    for (size_t i = 0; i < l->n; i++) {
        if (i) RY_TRY(jbuf_puts(r, b, ", "));
        RY_TRY(jbuf_repr(r, b, l->at[i]));
    }
    r->value_depth--;
    return jbuf_puts(r, b, close);
}

static ry_status repr_dict(jrun *r, jbuf *b, const jdict *d, bool pairs) { /* pairs: as a view of items shows them */
    RY_TRY(deeper(r));
    RY_TRY(jbuf_puts(r, b, pairs ? "[" : "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i) RY_TRY(jbuf_puts(r, b, ", "));
        if (pairs) RY_TRY(jbuf_puts(r, b, "("));
        RY_TRY(jbuf_repr(r, b, d->at[i].key));
        RY_TRY(jbuf_puts(r, b, pairs ? ", " : ": "));
        RY_TRY(jbuf_repr(r, b, d->at[i].value));
        if (pairs) RY_TRY(jbuf_puts(r, b, ")"));
    }
    r->value_depth--;
    return jbuf_puts(r, b, pairs ? "]" : "}");
}

static ry_status repr_view(jrun *r, jbuf *b, jv v) {
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items("};
    RY_TRY(jbuf_puts(r, b, names[v.which]));
    if (v.which == JVIEW_ITEMS) {
        RY_TRY(repr_dict(r, b, v.dict, true));
        return jbuf_puts(r, b, ")");
    }
    RY_TRY(deeper(r));
    for (size_t i = 0; i < v.dict->n; i++) {
        if (i) RY_TRY(jbuf_puts(r, b, ", "));
        RY_TRY(jbuf_repr(r, b, v.which == JVIEW_KEYS ? v.dict->at[i].key : v.dict->at[i].value));
    }
    r->value_depth--;
    return jbuf_puts(r, b, "])");
}

ry_status jbuf_repr(jrun *r, jbuf *b, jv v) {
    char s[40];
    RY_TRY(jrun_step(r, 1));
    switch ((jkind)v.kind) {
    case JV_MISSING:
    case JV_UNDEF: return jbuf_puts(r, b, "Undefined");
    case JV_NONE: return jbuf_puts(r, b, "None");
    case JV_BOOL: return jbuf_puts(r, b, v.yes ? "True" : "False");
    case JV_INT: return jbuf_printf(r, b, "%lld", (long long)v.i);
    case JV_REAL: jinja_real(s, v.f); return jbuf_puts(r, b, s);
    case JV_LARGE: return jbuf_add(r, b, v.text->at, v.text->n);
    case JV_TEXT:
        if (v.safe) RY_TRY(jbuf_puts(r, b, "Markup("));
        RY_TRY(repr_text(r, b, v.text));
        return v.safe ? jbuf_puts(r, b, ")") : RY_OK;
    case JV_LIST: return repr_items(r, b, v.list, "[", "]");
    case JV_TUPLE: return repr_items(r, b, v.list, "(", v.list->n == 1 ? ",)" : ")");
    case JV_DICT: return repr_dict(r, b, v.dict, false);
    case JV_RANGE:
        RY_TRY(jbuf_printf(r, b, "range(%lld, %lld", (long long)v.range->start, (long long)v.range->stop));
        return v.range->step == 1 ? jbuf_puts(r, b, ")") : jbuf_printf(r, b, ", %lld)", (long long)v.range->step);
    case JV_VIEW: return repr_view(r, b, v);
    case JV_SPACE:
        RY_TRY(jbuf_puts(r, b, "<Namespace "));
        RY_TRY(repr_dict(r, b, v.dict, false));
        return jbuf_puts(r, b, ">");
    case JV_MACRO:
        if (!v.macro->name) return jbuf_puts(r, b, "<Macro anonymous>");
        return jbuf_printf(r, b, "<Macro '%.*s'>", (int)(v.macro->name->n > 300 ? 300 : v.macro->name->n), v.macro->name->at);
    case JV_LOOP: {
        int64_t n;
        RY_TRY(jv_length(r, v, &n));
        return jbuf_printf(r, b, "<LoopContext %lld/%lld>", (long long)v.loop->index0 + 1, (long long)n);
    }
    default: return jbuf_printf(r, b, "<%s>", jv_type(v)); /* Python prints an address here */
    }
}

ry_status jbuf_str(jrun *r, jbuf *b, jv v) {
    if (v.kind == JV_TEXT) return jbuf_add(r, b, v.text->at, v.text->n);
    if (v.kind == JV_UNDEF || v.kind == JV_MISSING) return RY_OK;
    return jbuf_repr(r, b, v);
}

ry_status jv_str(jrun *r, jv v, jv *out) {
    if (v.kind == JV_TEXT) {
        *out = v;
        return RY_OK;
    }
    jbuf b = {0};
    RY_TRY(jbuf_str(r, &b, v));
    return jv_text_buf(r, out, &b);
}

ry_status jv_plain(jrun *r, jv v, jtext **out) {
    jv s;
    RY_TRY(jv_str(r, v, &s));
    *out = s.text;
    return RY_OK;
}

/* ---- json.dumps ---- */

static ry_status json_text(jrun *r, jbuf *b, const jtext *t, bool ascii) {
    RY_TRY(jrun_step(r, t->n / 8));
    RY_TRY(jbuf_puts(r, b, "\""));
    for (size_t i = 0; i < t->n;) {
        static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
        int32_t cp;
        size_t len = utf8_next(t->at + i, t->n - i, &cp);
        const char *e = cp > 0 && cp < 128 ? strchr(from, (char)cp) : NULL;
        if (e) RY_TRY(jbuf_printf(r, b, "\\%c", to[e - from]));
        else if (cp < 0x20 || (ascii && cp > 0x7e && cp < 0x10000)) RY_TRY(jbuf_printf(r, b, "\\u%04x", (unsigned)cp));
        else if (ascii && cp > 0xFFFF) RY_TRY(jbuf_printf(r, b, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((cp - 0x10000) >> 10)), (unsigned)(0xDC00 + ((cp - 0x10000) & 0x3FF))));
        else RY_TRY(jbuf_add(r, b, t->at + i, len));
        i += len;
    }
    return jbuf_puts(r, b, "\"");
}

static ry_status json_line(jrun *r, jbuf *b, const jjson *o, int level) { /* a new line and its indent */
    if (!o->indent) return RY_OK;
    RY_TRY(jbuf_puts(r, b, "\n"));
    for (int i = 0; i < level; i++) RY_TRY(jbuf_add(r, b, o->indent->at, o->indent->n));
    return RY_OK;
}

static ry_status json_scalar(jrun *r, jbuf *b, jv v, bool key) {
    char s[40];
    if (key) RY_TRY(jbuf_puts(r, b, "\""));
    switch ((jkind)v.kind) {
    case JV_NONE: RY_TRY(jbuf_puts(r, b, "null")); break;
    case JV_BOOL: RY_TRY(jbuf_puts(r, b, v.yes ? "true" : "false")); break;
    case JV_INT:
    case JV_LARGE: RY_TRY(jbuf_repr(r, b, v)); break;
    case JV_REAL:
        jinja_real(s, v.f);
        RY_TRY(jbuf_puts(r, b, isnan(v.f) ? "NaN" : isinf(v.f) ? (v.f < 0 ? "-Infinity" : "Infinity") : s));
        break;
    case JV_UNDEF: return jv_no_undefined(r, v);
    default: return jrun_fail(r, RY_EARG, "tojson: a %s cannot be JSON%s", jv_type(v), key ? "'s key" : "");
    }
    return key ? jbuf_puts(r, b, "\"") : RY_OK;
}

static ry_status json_key(jrun *r, jbuf *b, jv k, const jjson *o) { return k.kind == JV_TEXT ? json_text(r, b, k.text, o->ascii) : json_scalar(r, b, k, true); }

/* Insertion into order by key: dicts with sort_keys are small, and the steps are counted. */
static ry_status sorted_pairs(jrun *r, const jdict *d, jpair **out) {
    jpair *p = JRUN_NEW(r, jpair, d->n ? d->n : 1);
    if (!p) return jrun_nomem(r);
    for (size_t i = 0; i < d->n; i++) {
        size_t k = i;
        for (bool less; k > 0; k--) {
            RY_TRY(jv_less(r, d->at[i].key, p[k - 1].key, JO_LT, &less));
            if (!less) break;
            p[k] = p[k - 1];
        }
        p[k] = d->at[i];
    }
    *out = p;
    return RY_OK;
}

ry_status jbuf_json(jrun *r, jbuf *b, jv v, const jjson *o, int level) {
    RY_TRY(jrun_step(r, 1));
    if (v.kind == JV_TEXT) return json_text(r, b, v.text, o->ascii);
    if (v.kind != JV_LIST && v.kind != JV_TUPLE && v.kind != JV_DICT) return json_scalar(r, b, v, false);
    bool dict = v.kind == JV_DICT;
    size_t n = dict ? v.dict->n : v.list->n;
    jpair *pairs = dict ? v.dict->at : NULL;
    if (!n) return jbuf_puts(r, b, dict ? "{}" : "[]");
    if (dict && o->sort) RY_TRY(sorted_pairs(r, v.dict, &pairs));
    RY_TRY(deeper(r));
    RY_TRY(jbuf_puts(r, b, dict ? "{" : "["));
    for (size_t i = 0; i < n; i++) {
        if (i) RY_TRY(jbuf_add(r, b, o->item->at, o->item->n));
        RY_TRY(json_line(r, b, o, level + 1));
        if (dict) {
            RY_TRY(json_key(r, b, pairs[i].key, o));
            RY_TRY(jbuf_add(r, b, o->key->at, o->key->n));
        }
        RY_TRY(jbuf_json(r, b, dict ? pairs[i].value : v.list->at[i], o, level + 1));
    }
    RY_TRY(json_line(r, b, o, level));
    r->value_depth--;
    return jbuf_puts(r, b, dict ? "}" : "]");
}
