/* format.c - the three small languages within texts: "%5.2f" % x, "{:>5}".format(x) and strftime.  Owns nothing. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_PRECISION = 1000, NUMBER_TEXT = 1400 };

typedef struct spec {
    int32_t fill, align; /* align: '<' '>' '^' '=' or 0 */
    char sign, type, group;
    bool alt;
    int64_t width, precision; /* precision -1: none */
} spec;

static ry_status pad(jrun *r, jbuf *b, const spec *o, int32_t align, const char *head, const char *s, size_t n) {
    jtext t = {.at = s, .n = n, .chars = SIZE_MAX};
    int64_t len = (int64_t)(jtext_chars(&t) + strlen(head)), room = o->width > len ? o->width - len : 0;
    int64_t left = align == '<' ? 0 : align == '^' ? room / 2 : room;
    if (align == '=') RY_TRY(jbuf_puts(r, b, head));
    for (int64_t i = 0; i < left; i++) RY_TRY(jbuf_char(r, b, o->fill));
    if (align != '=') RY_TRY(jbuf_puts(r, b, head));
    RY_TRY(jbuf_add(r, b, s, n));
    for (int64_t i = left; i < room; i++) RY_TRY(jbuf_char(r, b, o->fill));
    return RY_OK;
}

static ry_status put_text(jrun *r, jbuf *b, const spec *o, jtext *t) {
    size_t n = o->precision >= 0 ? jtext_offset(t, (size_t)o->precision) : t->n;
    return pad(r, b, o, o->align ? o->align : '<', "", t->at, n);
}

/* digits: without a sign; the whole part is grouped. */
static ry_status put_digits(jrun *r, jbuf *b, const spec *o, bool minus, const char *prefix, const char *digits) {
    char head[8];
    jbuf grouped = {0};
    size_t whole = strspn(digits, "0123456789abcdefABCDEF"), every = strchr("xXob", o->type) && o->type ? 4 : 3;
    snprintf(head, sizeof head, "%s%s", minus ? "-" : o->sign == '+' ? "+" : o->sign == ' ' ? " " : "", prefix);
    for (size_t i = 0; digits[i]; i++) {
        if (o->group && i && i < whole && (whole - i) % every == 0) RY_TRY(jbuf_add(r, &grouped, &o->group, 1));
        RY_TRY(jbuf_add(r, &grouped, digits + i, 1));
    }
    return pad(r, b, o, o->align ? o->align : '>', head, grouped.at, grouped.n);
}

static ry_status put_int(jrun *r, jbuf *b, const spec *o, int64_t v) {
    char s[72];
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    unsigned base = o->type == 'x' || o->type == 'X' ? 16 : o->type == 'o' ? 8 : o->type == 'b' ? 2 : 10;
    size_t k = sizeof s;
    s[--k] = 0;
    do s[--k] = (o->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
    while (u /= base);
    const char *prefix = !o->alt || base == 10 ? "" : base == 16 ? (o->type == 'X' ? "0X" : "0x") : base == 8 ? "0o" : "0b";
    return put_digits(r, b, o, v < 0, prefix, s + k);
}

static ry_status put_real(jrun *r, jbuf *b, const spec *o, double f) {
    char s[NUMBER_TEXT];
    char type = o->type == '%' ? 'f' : o->type == 'n' ? 'g' : o->type;
    if (o->type == '%') f *= 100;
    if (isnan(f) || isinf(f)) snprintf(s, sizeof s, "%s", isnan(f) ? (type == 'F' || type == 'E' || type == 'G' ? "NAN" : "nan") : type == 'F' || type == 'E' || type == 'G' ? "INF" : "inf");
    else if (!type && o->precision < 0) jinja_real(s, fabs(f));
    else {
        char fmt[12];
        snprintf(fmt, sizeof fmt, o->alt ? "%%#.*%c" : "%%.*%c", type ? type : 'g');
        int precision = o->precision >= 0 ? (int)o->precision : 6;
        if (!type && !precision) precision = 1;
        snprintf(s, sizeof s, fmt, precision, fabs(f));
        for (char *p = s; *p; p++)
            if (*p == ',') *p = '.';
        if (!type && !strpbrk(s, ".e")) strcat(s, ".0");
    }
    if (o->type == '%') strcat(s, "%");
    return put_digits(r, b, o, signbit(f) && !isnan(f), "", s);
}

/* ---- "..." % values ---- */

typedef struct percent { jv args; size_t used; bool many; } percent;

static ry_status next_arg(jrun *r, percent *p, jv *out) {
    size_t n = p->many ? p->args.list->n : 1;
    if (p->used >= n) return jrun_fail(r, RY_EARG, "%%: not enough values for the format");
    *out = p->many ? p->args.list->at[p->used] : p->args;
    p->used++;
    return RY_OK;
}

static ry_status count(jrun *r, percent *p, const jtext *t, size_t *i, int64_t *out, int64_t most) { /* digits or * */
    jv v;
    *out = 0;
    if (*i < t->n && t->at[*i] == '*') {
        ++*i;
        RY_TRY(next_arg(r, p, &v));
        RY_TRY(jv_need_int(r, v, "*", out));
    } else
        while (*i < t->n && t->at[*i] >= '0' && t->at[*i] <= '9' && *out <= most) *out = *out * 10 + (t->at[(*i)++] - '0');
    if (*out > most || *out < -most) return jrun_fail(r, RY_EUNSUPPORTED, "limit: a width or precision beyond %lld", (long long)most);
    return RY_OK;
}

static ry_status ascii_only(jrun *r, jbuf *b) { /* of a repr: what is beyond ASCII becomes an escape */
    jbuf from = *b;
    *b = (jbuf){0};
    for (size_t i = 0; i < from.n;) {
        int32_t cp;
        size_t len = utf8_next(from.at + i, from.n - i, &cp);
        RY_TRY(cp < 128 ? jbuf_add(r, b, from.at + i, 1) : jbuf_printf(r, b, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp));
        i += len;
    }
    return RY_OK;
}

static ry_status convert(jrun *r, jbuf *b, spec *o, jv v, bool zero) {
    jv s;
    jbuf t = {0};
    if (o->precision > MAX_PRECISION) return jrun_fail(r, RY_EUNSUPPORTED, "limit: a precision beyond %d", (int)MAX_PRECISION);
    if (strchr("srac", o->type)) {
        if (o->type == 'c' && jv_is_int(v)) {
            int64_t cp = jv_as_int(v);
            if (cp < 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return jrun_fail(r, RY_EARG, "%%c: no character has this number");
            RY_TRY(jbuf_char(r, &t, (int32_t)cp));
        } else if (o->type == 'c' && (v.kind != JV_TEXT || jtext_chars(v.text) != 1)) return jrun_fail(r, RY_EARG, "%%c needs one character");
        else RY_TRY(o->type == 's' || o->type == 'c' ? jbuf_str(r, &t, v) : jbuf_repr(r, &t, v));
        if (o->type == 'a') RY_TRY(ascii_only(r, &t));
        RY_TRY(jv_text_buf(r, &s, &t));
        if (!o->align) o->align = '>';
        return put_text(r, b, o, s.text);
    }
    if (v.kind == JV_UNDEF) return jv_no_undefined(r, v);
    if (!jv_is_number(v)) return jrun_fail(r, RY_EARG, "%%%c needs a number, not %s", o->type, jv_type(v));
    if (zero && o->align != '<') o->fill = '0', o->align = '=';
    if (strchr("eEfFgG", o->type)) {
        if (!isfinite(jv_as_real(v)) && o->align == '=') o->fill = ' ', o->align = '>';
        return put_real(r, b, o, jv_as_real(v));
    }
    if (v.kind == JV_REAL) {
        if (strchr("oxX", o->type) || !(fabs(v.f) < 9.2e18)) return jrun_fail(r, RY_EARG, "%%%c needs an integer", o->type);
        v = jv_int((int64_t)v.f);
    }
    if (o->precision > 0) { /* at least so many digits */
        spec d = *o;
        d.width = o->precision, d.fill = '0', d.align = '=', d.sign = 0, d.alt = false;
        int64_t i = jv_as_int(v);
        if (i == INT64_MIN) i++;
        RY_TRY(put_int(r, &t, &d, i < 0 ? -i : i));
        RY_TRY(jbuf_add(r, &t, "", 1));
        return put_digits(r, b, o, i < 0, "", t.at);
    }
    return put_int(r, b, o, jv_as_int(v));
}

ry_status jinja_percent(jrun *r, jv format, jv args, jv *out) {
    const jtext *t = format.text;
    percent p = {.args = args, .many = args.kind == JV_TUPLE};
    jbuf b = {0};
    for (size_t i = 0; i < t->n;) {
        const char *hit = memchr(t->at + i, '%', t->n - i);
        size_t n = hit ? (size_t)(hit - t->at) - i : t->n - i;
        RY_TRY(jbuf_add(r, &b, t->at + i, n));
        if (!hit) break;
        i += n + 1;
        spec o = {.fill = ' ', .precision = -1};
        bool zero = false, named = false;
        jv v = {0};
        if (i < t->n && t->at[i] == '(') {
            size_t from = ++i, deep = 1;
            for (; i < t->n; i++) {
                deep += (t->at[i] == '(');
                deep -= (t->at[i] == ')');
                if (!deep) break;
            }
            if (i >= t->n) return jrun_fail(r, RY_EARG, "%%: a key without its bracket");
            if (args.kind != JV_DICT) return jrun_fail(r, RY_EARG, "%%(key) needs a dict");
            jv *there = jdict_text(args.dict, ry_text_hash(RY_TEXT_HASH, t->at + from, i - from), t->at + from, i - from);
            if (!there) return jrun_fail(r, RY_EARG, "%%: there is no key '%.*s'", (int)(i - from > 40 ? 40 : i - from), t->at + from);
            v = *there;
            named = true;
            i++;
        }
        for (; i < t->n && strchr("-+ #0", t->at[i]) && t->at[i]; i++) {
            if (t->at[i] == '-') o.align = '<';
            else if (t->at[i] == '+' || (t->at[i] == ' ' && !o.sign)) o.sign = t->at[i];
            else if (t->at[i] == '#') o.alt = true;
            else zero = zero || t->at[i] == '0';
        }
        RY_TRY(count(r, &p, t, &i, &o.width, MAX_WIDTH));
        if (o.width < 0) o.align = '<', o.width = -o.width;
        if (i < t->n && t->at[i] == '.') {
            i++;
            RY_TRY(count(r, &p, t, &i, &o.precision, MAX_WIDTH));
            if (o.precision < 0) o.precision = 0;
        }
        while (i < t->n && t->at[i] && strchr("hlL", t->at[i])) i++;
        if (i >= t->n) return jrun_fail(r, RY_EARG, "%%: the format ends within a directive");
        o.type = t->at[i++];
        if (o.type == '%' && t->at[i - 2] == '%') {
            RY_TRY(jbuf_add(r, &b, "%", 1));
            continue;
        }
        if (!o.type || !strchr("diouxXeEfFgGcrsa", o.type)) return jrun_fail(r, RY_EARG, "%%: there is no directive '%c'", o.type);
        if (!named) RY_TRY(next_arg(r, &p, &v));
        if (o.type == 'u' || o.type == 'i') o.type = 'd';
        RY_TRY(convert(r, &b, &o, v, zero));
    }
    bool all = p.many ? p.used == args.list->n : p.used || args.kind == JV_DICT || args.kind == JV_LIST || args.kind == JV_UNDEF || args.kind == JV_RANGE;
    if (!all) return jrun_fail(r, RY_EARG, "%%: more values than the format takes");
    return jv_text_buf(r, out, &b);
}

/* ---- "...".format(values) ---- */

static bool parse_spec(spec *o, const char *s, size_t n) {
    size_t i = 0;
    int32_t cp;
    *o = (spec){.fill = ' ', .precision = -1};
    if (n) {
        size_t len = utf8_next(s, n, &cp);
        if (len < n && strchr("<>=^", s[len])) o->fill = cp, o->align = s[len], i = len + 1;
        else if (strchr("<>=^", s[0])) o->align = s[0], i = 1;
    }
    if (i < n && strchr("+- ", s[i])) o->sign = s[i++];
    if (i < n && s[i] == '#') o->alt = true, i++;
    if (i < n && s[i] == '0') {
        i++;
        if (!o->align) o->fill = '0', o->align = '=';
    }
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        if ((o->width = o->width * 10 + (s[i] - '0')) > MAX_WIDTH) return false;
    if (i < n && (s[i] == ',' || s[i] == '_')) o->group = s[i++];
    if (i < n && s[i] == '.') {
        o->precision = 0;
        size_t from = ++i;
        for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
            if ((o->precision = o->precision * 10 + (s[i] - '0')) > MAX_WIDTH) return false;
        if (i == from) return false;
    }
    if (i < n) o->type = s[i++];
    return i == n;
}

static ry_status format_value(jrun *r, jbuf *b, jv v, const char *s, size_t n) {
    spec o;
    jtext *t;
    if (!n) return jbuf_str(r, b, v);
    if (!parse_spec(&o, s, n)) return jrun_fail(r, RY_EARG, "format: '%.*s' is no format", (int)(n > 40 ? 40 : n), s);
    if (v.kind == JV_TEXT) {
        if ((o.type && o.type != 's') || o.sign || o.alt || o.group || (o.align == '=' && o.fill != '0')) return jrun_fail(r, RY_EARG, "format: '%.*s' is no format of a text", (int)(n > 40 ? 40 : n), s);
        if (o.align == '=') o.align = '<';
        RY_TRY(jv_plain(r, v, &t));
        return put_text(r, b, &o, t);
    }
    bool real = v.kind == JV_REAL;
    if (!jv_is_number(v) || !(real ? strchr("eEfFgG%n", o.type) : strchr("dxXobcneEfFgG%", o.type)) || (!real && o.precision >= 0 && (!o.type || strchr("dxXobcn", o.type))) || o.precision > MAX_PRECISION)
        return jrun_fail(r, RY_EARG, "format: '%.*s' is no format of a %s", (int)(n > 40 ? 40 : n), s, jv_type(v));
    if (real || (o.type && strchr("eEfFgG%", o.type))) return put_real(r, b, &o, jv_as_real(v));
    if (o.type == 'c') {
        int64_t cp = jv_as_int(v);
        char c[4];
        if (cp < 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return jrun_fail(r, RY_EARG, "format: no character has this number");
        return pad(r, b, &o, o.align ? o.align : '<', "", c, utf8_put(c, (int32_t)cp));
    }
    return put_int(r, b, &o, jv_as_int(v));
}

typedef struct fields { const jargs *args; size_t next; bool manual; } fields;

static ry_status field(jrun *r, fields *f, const char *s, size_t n, jv *out) { /* name.attr[item] */
    size_t i = 0;
    while (i < n && s[i] != '.' && s[i] != '[') i++;
    size_t k = 0, digits = 0;
    while (digits < i && s[digits] >= '0' && s[digits] <= '9') digits++;
    if (digits == i) { /* a number, or none */
        if (!i) {
            if (f->manual) return jrun_fail(r, RY_EARG, "format: {} beside {0}");
            k = f->next++;
        } else {
            f->manual = true;
            if (f->next) return jrun_fail(r, RY_EARG, "format: {0} beside {}");
            for (size_t d = 0; d < i && k < 100000; d++) k = k * 10 + (size_t)(s[d] - '0');
        }
        if (k + 1 >= f->args->n) return jrun_fail(r, RY_EARG, "format: there is no value %zu", k);
        *out = f->args->at[k + 1];
    } else {
        for (k = 0; k < f->args->keys; k++)
            if (f->args->key[k].n == i && !memcmp(f->args->key[k].text, s, i)) break;
        if (k == f->args->keys) return jrun_fail(r, RY_EARG, "format: there is no value '%.*s'", (int)(i > 40 ? 40 : i), s);
        *out = f->args->key[k].value;
    }
    while (i < n) {
        bool item = s[i] == '[';
        size_t from = ++i;
        while (i < n && (item ? s[i] != ']' : s[i] != '.' && s[i] != '[')) i++;
        if (i == from || (item && i >= n)) return jrun_fail(r, RY_EARG, "format: an empty attribute or an open bracket");
        jv key, x = *out;
        bool number = item;
        int64_t at = 0;
        for (size_t d = from; d < i; d++) {
            number = number && s[d] >= '0' && s[d] <= '9';
            if (number && at < INT32_MAX) at = at * 10 + (s[d] - '0');
        }
        if (!item) RY_TRY(jinja_attr(r, x, s + from, i - from, out));
        else {
            if (number) key = jv_int(at);
            else RY_TRY(jv_text(r, &key, s + from, i - from));
            RY_TRY(jinja_item(r, x, key, out));
        }
        i += item;
    }
    return RY_OK;
}

static ry_status expand(jrun *r, jbuf *b, fields *f, const char *s, size_t n, int depth) {
    if (depth > 2) return jrun_fail(r, RY_EARG, "format: formats within formats");
    for (size_t i = 0; i < n;) {
        char c = s[i];
        if (c != '{' && c != '}') {
            RY_TRY(jbuf_add(r, b, s + i++, 1));
            continue;
        }
        if (i + 1 < n && s[i + 1] == c && depth == 1) {
            RY_TRY(jbuf_add(r, b, &c, 1));
            i += 2;
            continue;
        }
        if (c == '}') return jrun_fail(r, RY_EARG, "format: a single }");
        size_t from = ++i, deep = 1, end, conv = 0, colon = 0;
        for (; i < n; i++) {
            if (s[i] == '{') deep++;
            if (s[i] == '}' && !--deep) break;
            if (s[i] == '[' && !colon && !conv)
                while (i + 1 < n && s[i] != ']') i++;
            if (deep == 1 && s[i] == '!' && !conv && !colon) conv = i;
            if (deep == 1 && s[i] == ':' && !colon) colon = i;
        }
        if (i >= n) return jrun_fail(r, RY_EARG, "format: { without }");
        end = conv ? conv : colon ? colon : i;
        jv v;
        RY_TRY(field(r, f, s + from, end - from, &v));
        if (conv) {
            if ((colon ? colon : i) != conv + 2 || !strchr("sra", s[conv + 1])) return jrun_fail(r, RY_EARG, "format: a conversion is !s, !r or !a");
            jbuf t = {0};
            RY_TRY(s[conv + 1] == 's' ? jbuf_str(r, &t, v) : jbuf_repr(r, &t, v));
            if (s[conv + 1] == 'a') RY_TRY(ascii_only(r, &t));
            RY_TRY(jv_text_buf(r, &v, &t));
        }
        jbuf how = {0};
        if (colon) RY_TRY(expand(r, &how, f, s + colon + 1, i - colon - 1, depth + 1));
        RY_TRY(format_value(r, b, v, how.at, how.n));
        i++;
    }
    return RY_OK;
}

ry_status jinja_format(jrun *r, jtext *format, const jargs *args, jv *out) {
    fields f = {.args = args};
    jbuf b = {0};
    RY_TRY(jrun_step(r, format->n));
    RY_TRY(expand(r, &b, &f, format->at, format->n, 1));
    return jv_text_buf(r, out, &b);
}

/* ---- strftime, in C's locale ---- */

static int iso_week(const jtime *t, int *year) { /* ISO 8601: weeks begin on Monday, the first has the year's first Thursday */
    int week = (t->year_day - t->week_day + 10) / 7; /* year_day from 1, Monday = 1 in the standard's formula; ours are 0-based */
    *year = t->year;
    if (week < 1) {
        int y = --*year, leap = (y % 4 == 0 && y % 100) || y % 400 == 0;
        return (t->year_day + 365 + leap - t->week_day + 10) / 7;
    }
    int leap = (t->year % 4 == 0 && t->year % 100) || t->year % 400 == 0;
    if (week == 53 && t->year_day - t->week_day + 3 >= 365 + leap) {
        ++*year;
        return 1;
    }
    return week;
}

static ry_status moment(jrun *r, jbuf *b, char c, char flag) {
    static const char *const days[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
    static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"};
    const jtime *t = &r->now;
    int v, width = 2, fill = '0', letters = 9, year, week = iso_week(t, &year), hour12 = t->hour % 12 ? t->hour % 12 : 12;
    const char *word = NULL, *parts = NULL;
    switch (c) {
    case 'A': word = days[t->week_day]; break;
    case 'a': word = days[t->week_day], letters = 3; break;
    case 'B': word = months[t->month - 1]; break;
    case 'b':
    case 'h': word = months[t->month - 1], letters = 3; break;
    case 'p': word = t->hour < 12 ? "AM" : "PM"; break;
    case 'P': word = t->hour < 12 ? "am" : "pm"; break;
    case 'c': parts = "a b e H:M:S Y"; break;
    case 'D':
    case 'x': parts = "m/d/y"; break;
    case 'F': parts = "Y-m-d"; break;
    case 'T':
    case 'X': parts = "H:M:S"; break;
    case 'R': parts = "H:M"; break;
    case 'r': parts = "I:M:S p"; break;
    case 'n': word = "\n"; break;
    case 't': word = "\t"; break;
    case '%': word = "%"; break;
    case 'Z':
    case 'z': return RY_OK; /* a time without a zone */
    case 'd': v = t->day; goto number;
    case 'e': v = t->day, fill = ' '; goto number;
    case 'm': v = t->month; goto number;
    case 'Y': v = t->year, width = 1; goto number;
    case 'G': v = year, width = 1; goto number;
    case 'y': v = t->year % 100; goto number;
    case 'g': v = year % 100; goto number;
    case 'C': v = t->year / 100; goto number;
    case 'H': v = t->hour; goto number;
    case 'k': v = t->hour, fill = ' '; goto number;
    case 'I': v = hour12; goto number;
    case 'l': v = hour12, fill = ' '; goto number;
    case 'M': v = t->minute; goto number;
    case 'S': v = t->second; goto number;
    case 'f': v = t->micro, width = 6; goto number;
    case 'j': v = t->year_day + 1, width = 3; goto number;
    case 'u': v = t->week_day + 1, width = 1; goto number;
    case 'w': v = (t->week_day + 1) % 7, width = 1; goto number;
    case 'V': v = week; goto number;
    case 'U': v = (t->year_day + 7 - (t->week_day + 1) % 7) / 7; goto number;
    case 'W': v = (t->year_day + 7 - t->week_day) / 7; goto number;
    default: return jbuf_printf(r, b, "%%%s%c", flag ? (char[]){flag, 0} : "", c);
    }
    for (const char *p = parts; p && *p; p++) RY_TRY((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ? moment(r, b, *p, 0) : jbuf_add(r, b, p, 1));
    if (!word) return RY_OK;
    for (; *word && letters; word++, letters--) {
        char x = *word;
        if ((flag == '^' || (flag == '#' && c != 'p')) && x >= 'a' && x <= 'z') x = (char)(x - 32);
        else if (flag == '#' && c == 'p') x = (char)(x | 32);
        RY_TRY(jbuf_add(r, b, &x, 1));
    }
    return RY_OK;
number:
    if (flag == '-') width = 1;
    if (flag == '_') fill = ' ';
    if (flag == '0') fill = '0';
    return jbuf_printf(r, b, fill == '0' ? "%0*d" : "%*d", width, v);
}

ry_status jinja_strftime(jrun *r, jtext *format, jv *out) {
    jbuf b = {0};
    for (size_t i = 0; i < format->n; i++) {
        char c = format->at[i], flag = 0;
        if (c != '%' || i + 1 == format->n) {
            RY_TRY(jbuf_add(r, &b, &c, 1));
            continue;
        }
        c = format->at[++i];
        if (c && strchr("-_0^#", c) && i + 1 < format->n) flag = c, c = format->at[++i];
        RY_TRY(moment(r, &b, c, flag));
    }
    return jv_text_buf(r, out, &b);
}
