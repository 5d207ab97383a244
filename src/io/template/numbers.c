/* numbers.c - the filters that give numbers.  Owns their table. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name) static ry_status name(jrun *r, jv *a, const jargs *all, jv *out)
#define GIVEN(v) ((v).kind != JV_MISSING)

FILTER(f_sum) { /* iterable attribute start */
    jiter *it = NULL;
    jv x, y;
    bool more;
    (void)all;
    y = GIVEN(a[2]) ? a[2] : jv_int(0);
    if (y.kind == JV_TEXT) return jrun_fail(r, RY_EARG, "sum does not add texts: use join");
    RY_TRY(jiter_open(r, a[0], &it));
    for (;;) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) break;
        if (GIVEN(a[1]) && a[1].kind != JV_NONE) RY_TRY(jinja_path(r, x, a[1], (jv){0}, &x));
        jv before = y;
        RY_TRY(jv_binary(r, JO_ADD, before, x, &y));
    }
    *out = y;
    return RY_OK;
}

FILTER(f_abs) {
    (void)all;
    if (a[0].kind == JV_UNDEF) return jv_no_undefined(r, a[0]);
    if (!jv_is_number(a[0])) return jrun_fail(r, RY_EARG, "abs needs a number, not %s", jv_type(a[0]));
    bool minus = a[0].kind == JV_REAL ? signbit(a[0].f) != 0 : jv_as_int(a[0]) < 0;
    return jv_negate(r, a[0], minus, out);
}

static double rounded(double f, int64_t digits) { /* the nearest decimal, as its exact digits say; ties to even */
    char s[400];
    if (!isfinite(f) || digits > 300) return f;
    if (digits >= 0) {
        double y = 0;
        snprintf(s, sizeof s, "%.*f", (int)digits, f);
        for (char *p = s; *p; p++)
            if (*p == ',') *p = '.';
        return ry_json_number(s, &y) == RY_OK ? y : f;
    }
    if (digits < -308) return copysign(0, f);
    double unit = pow(10, (double)-digits);
    return nearbyint(f / unit) * unit;
}

FILTER(f_round) { /* value precision method */
    int64_t digits = 0;
    jtext *how = NULL;
    (void)all;
    if (GIVEN(a[1])) RY_TRY(jv_need_int(r, a[1], "round", &digits));
    if (GIVEN(a[2])) RY_TRY(jv_need_text(r, a[2], "round's method", &how));
    bool up = how && how->n == 4 && !memcmp(how->at, "ceil", 4), down = how && how->n == 5 && !memcmp(how->at, "floor", 5);
    if (how && !up && !down && !(how->n == 6 && !memcmp(how->at, "common", 6))) return jrun_fail(r, RY_EARG, "round's method is common, ceil or floor");
    if (a[0].kind == JV_UNDEF) return jv_no_undefined(r, a[0]);
    if (!jv_is_number(a[0])) return jrun_fail(r, RY_EARG, "round needs a number, not %s", jv_type(a[0]));
    if (up || down) {
        jv power, x, whole;
        RY_TRY(jv_binary(r, JO_POW, jv_int(10), jv_int(digits), &power));
        RY_TRY(jv_binary(r, JO_MUL, a[0], power, &x));
        double f = up ? ceil(jv_as_real(x)) : floor(jv_as_real(x));
        if (!(fabs(f) < 9.2e18)) return jrun_fail(r, RY_EUNSUPPORTED, "limit: an integer beyond 64 bits");
        whole = jv_int((int64_t)f);
        return jv_binary(r, JO_DIV, whole, power, out);
    }
    if (a[0].kind == JV_REAL) {
        *out = jv_real(rounded(a[0].f, digits));
        return RY_OK;
    }
    int64_t v = jv_as_int(a[0]), unit = 1;
    for (; digits < 0 && unit <= INT64_MAX / 10; digits++) unit *= 10;
    int64_t rest = v % unit, base = v - rest;
    if (rest < 0) { /* towards minus infinity, as far as there are integers */
        if (base < INT64_MIN + unit) return jrun_fail(r, RY_EUNSUPPORTED, "limit: an integer beyond 64 bits");
        rest += unit, base -= unit;
    }
    *out = jv_int(digits < 0 ? 0 : base);
    if (digits < 0 || !(rest > unit / 2 || (rest == unit / 2 && unit > 1 && (base / unit) % 2))) return RY_OK;
    return jv_binary(r, JO_ADD, jv_int(base), jv_int(unit), out);
}

/* Python's int(text, base): white space around, a sign, single underscores between digits. */
static bool parse_int(const jtext *t, int64_t base, int64_t *out, bool *large) {
    const char *s = t->at, *end = s + t->n;
    int32_t cp;
    while (s < end && (utf8_next(s, (size_t)(end - s), &cp), juni_space(cp))) s += utf8_next(s, (size_t)(end - s), &cp);
    while (end > s && (unsigned char)end[-1] <= 32 && juni_space(end[-1])) end--;
    bool minus = s < end && *s == '-', any = false;
    *large = false;
    if (s < end && (*s == '-' || *s == '+')) s++;
    if (end - s > 2 && s[0] == '0') {
        char c = (char)(s[1] | 32);
        int64_t is = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (is && (base == is || base == 0)) {
            base = is;
            s += 2;
            if (s < end && *s == '_') s++;
        }
    }
    if (!base) base = 10;
    uint64_t v = 0;
    for (; s < end; s++) {
        if (*s == '_' && any && s + 1 < end && s[1] != '_') continue;
        int c = (unsigned char)*s, d = c >= '0' && c <= '9' ? c - '0' : c < 128 && (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10 : 99;
        if (d >= base) return false;
        any = true;
        if (v > ((uint64_t)INT64_MAX - (uint64_t)d) / (uint64_t)base) *large = true;
        else v = v * (uint64_t)base + (uint64_t)d;
    }
    *out = minus ? -(int64_t)v : (int64_t)v;
    return any;
}

static ry_status parse_real(jrun *r, const jtext *t, double *out, bool *ok) {
    char *s = jrun_alloc(r, t->n + 1), *end;
    size_t n = 0;
    *ok = false;
    if (!s) return jrun_nomem(r);
    const char *from = t->at, *to = from + t->n;
    int32_t cp;
    while (from < to && (utf8_next(from, (size_t)(to - from), &cp), juni_space(cp))) from += utf8_next(from, (size_t)(to - from), &cp);
    while (to > from && (unsigned char)to[-1] <= 32 && juni_space(to[-1])) to--;
    for (; from < to; from++) {
        bool inner = n && s[n - 1] >= '0' && s[n - 1] <= '9' && from + 1 < to && from[1] >= '0' && from[1] <= '9';
        if (*from == '_' && inner) continue;
        s[n++] = (char)(*from >= 'A' && *from <= 'Z' ? *from | 32 : *from);
    }
    s[n] = 0;
    const char *p = s + (*s == '-' || *s == '+');
    if (!strcmp(p, "inf") || !strcmp(p, "infinity") || !strcmp(p, "nan")) {
        *out = *p == 'n' ? NAN : *s == '-' ? -INFINITY : INFINITY;
        *ok = true;
        return RY_OK;
    }
    if (!*p || strspn(p, "0123456789.e+-") != strlen(p) || strlen(p) != n - (size_t)(p - s)) return RY_OK;
    RY_TRY(ry_json_number(s, out));
    strtod(s, &end); /* a decimal comma of the locale would stop it at the point: then the text was read above all the same */
    *ok = !*end || (*end == '.' && strspn(end + 1, "0123456789e+-") == strlen(end + 1) && end > p);
    return RY_OK;
}

FILTER(f_int) { /* value default base */
    int64_t base = 10, i = 0;
    double f = 0;
    bool ok = false, large = false;
    (void)all;
    if (GIVEN(a[2])) RY_TRY(jv_need_int(r, a[2], "int's base", &base));
    if (a[0].kind == JV_UNDEF) return jv_no_undefined(r, a[0]);
    if (jv_is_int(a[0])) {
        *out = jv_int(jv_as_int(a[0]));
        return RY_OK;
    }
    if (a[0].kind == JV_TEXT) {
        if (base != 0 && (base < 2 || base > 36)) ok = false;
        else ok = parse_int(a[0].text, base, &i, &large);
        if (large) return jrun_fail(r, RY_EUNSUPPORTED, "limit: an integer beyond 64 bits");
        if (!ok) {
            RY_TRY(parse_real(r, a[0].text, &f, &ok));
            if (ok && !isfinite(f)) ok = false;
            if (ok && !(fabs(f) < 9.2e18)) return jrun_fail(r, RY_EUNSUPPORTED, "limit: an integer beyond 64 bits");
            i = ok ? (int64_t)f : 0;
        }
    } else if (a[0].kind == JV_REAL) {
        if (isinf(a[0].f)) return jrun_fail(r, RY_EARG, "infinity is no integer");
        if (!isnan(a[0].f) && !(fabs(a[0].f) < 9.2e18)) return jrun_fail(r, RY_EUNSUPPORTED, "limit: an integer beyond 64 bits");
        ok = !isnan(a[0].f);
        i = ok ? (int64_t)a[0].f : 0;
    }
    *out = ok ? jv_int(i) : GIVEN(a[1]) ? a[1] : jv_int(0);
    return RY_OK;
}

FILTER(f_float) { /* value default */
    double f = 0;
    bool ok = false;
    (void)all;
    if (a[0].kind == JV_UNDEF) return jv_no_undefined(r, a[0]);
    if (jv_is_number(a[0])) f = jv_as_real(a[0]), ok = true;
    else if (a[0].kind == JV_TEXT) RY_TRY(parse_real(r, a[0].text, &f, &ok));
    *out = ok ? jv_real(f) : GIVEN(a[1]) ? a[1] : jv_real(0);
    return RY_OK;
}

FILTER(f_filesizeformat) {
    jv x;
    bool binary = false;
    jbuf b = {0};
    if (GIVEN(a[1])) RY_TRY(jv_true(r, a[1], &binary));
    if (a[0].kind != JV_TEXT && !jv_is_number(a[0])) return jrun_fail(r, RY_EARG, "filesizeformat needs a number, not %s", jv_type(a[0]));
    jv one[2] = {a[0], JV_NOTHING};
    RY_TRY(f_float(r, one, all, &x));
    if (x.kind != JV_REAL) return jrun_fail(r, RY_EARG, "filesizeformat needs a number");
    double base = binary ? 1024 : 1000, f = x.f;
    if (f == 1) RY_TRY(jbuf_puts(r, &b, "1 Byte"));
    else if (f < base) RY_TRY(jbuf_printf(r, &b, "%.0f Bytes", trunc(f) + 0.0));
    else {
        int i = 0;
        double unit = base * base;
        for (; i < 7 && f >= unit; unit *= base) i++;
        RY_TRY(jbuf_printf(r, &b, "%.1f %c%s", base * f / unit, (binary ? "KMGTPEZY" : "kMGTPEZY")[i], binary ? "iB" : "B"));
    }
    return jv_text_buf(r, out, &b);
}

const jrow jinja_numeric[] = {
    {"sum", f_sum, "iterable attribute start", 1},
    {"abs", f_abs, "value", 1},
    {"round", f_round, "value precision method", 1},
    {"int", f_int, "value default base", 1},
    {"float", f_float, "value default", 1},
    {"filesizeformat", f_filesizeformat, "value binary", 1},
    {0},
};
