/* arith.c - operators with Python's meaning; integers have 64 bits, and what does not fit is an error, never a wrong number. */
#include "io/template/jinja.h"
#include <math.h>
#include <string.h>

static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};

static ry_status overflow(jrun *r) { return jrun_fail(r, RY_EUNSUPPORTED, "limit: an integer beyond 64 bits"); }

static ry_status unfit(jrun *r, jop op, jv a, jv b) {
    if (a.kind == JV_UNDEF) return jv_no_undefined(r, a);
    if (b.kind == JV_UNDEF) return jv_no_undefined(r, b);
    if (a.kind == JV_LARGE || b.kind == JV_LARGE) return overflow(r);
    return jrun_fail(r, RY_EARG, "%s cannot be applied to %s and %s", signs[op], jv_type(a), jv_type(b));
}

static bool times(int64_t a, int64_t b, int64_t *out) { /* false: too large */
    if (a && b && (a > 0 ? (b > 0 ? a > INT64_MAX / b : b < INT64_MIN / a) : (b > 0 ? a < INT64_MIN / b : b < INT64_MAX / a))) return false;
    *out = a * b;
    return true;
}

static ry_status power(jrun *r, int64_t a, int64_t b, jv *out) {
    if (b < 0) {
        if (!a) return jrun_fail(r, RY_EARG, "0 cannot be raised to a negative power");
        *out = jv_real(pow((double)a, (double)b));
        return RY_OK;
    }
    int64_t y = 1;
    if (a == 0 || a == 1 || a == -1) {
        *out = jv_int(b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a);
        return RY_OK;
    }
    for (; b > 0; b--)
        if (!times(y, a, &y)) return overflow(r); /* at most 64 turns */
    *out = jv_int(y);
    return RY_OK;
}

static ry_status integers(jrun *r, jop op, int64_t a, int64_t b, jv *out) {
    int64_t y = 0;
    if (!b && (op == JO_DIV || op == JO_FLOOR || op == JO_MOD)) return jrun_fail(r, RY_EARG, "division by zero");
    switch (op) {
    case JO_ADD:
        if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) return overflow(r);
        y = a + b;
        break;
    case JO_SUB:
        if (b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b) return overflow(r);
        y = a - b;
        break;
    case JO_MUL:
        if (!times(a, b, &y)) return overflow(r);
        break;
    case JO_DIV: *out = jv_real((double)a / (double)b); return RY_OK;
    case JO_FLOOR:
        if (a == INT64_MIN && b == -1) return overflow(r);
        y = a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
        break;
    case JO_MOD:
        if (b == -1) break;
        y = a % b;
        if (y && ((y < 0) != (b < 0))) y += b;
        break;
    default: return power(r, a, b, out);
    }
    *out = jv_int(y);
    return RY_OK;
}

static ry_status reals(jrun *r, jop op, double a, double b, jv *out) {
    double y;
    if (b == 0 && (op == JO_DIV || op == JO_FLOOR || op == JO_MOD)) return jrun_fail(r, RY_EARG, "division by zero");
    switch (op) {
    case JO_ADD: y = a + b; break;
    case JO_SUB: y = a - b; break;
    case JO_MUL: y = a * b; break;
    case JO_DIV: y = a / b; break;
    case JO_FLOOR:
    case JO_MOD: { /* the remainder has b's sign, and the quotient goes with it */
        double m = fmod(a, b), q = (a - m) / b;
        if (m != 0 && (b < 0) != (m < 0)) m += b, q -= 1;
        if (m == 0) m = copysign(0, b);
        y = m;
        if (op == JO_FLOOR) {
            y = q == 0 ? copysign(0, a / b) : floor(q);
            if (q != 0 && q - y > 0.5) y += 1;
        }
        break;
    }
    default:
        if (a == 0 && b < 0) return jrun_fail(r, RY_EARG, "0 cannot be raised to a negative power");
        if (a < 0 && b != floor(b) && isfinite(b)) return jrun_fail(r, RY_EUNSUPPORTED, "complex numbers are not supported");
        y = pow(a, b);
        if (isinf(y) && isfinite(a) && isfinite(b)) return jrun_fail(r, RY_EARG, "a power too large for a float");
        break;
    }
    *out = jv_real(y);
    return RY_OK;
}

/* Room behind a text that was made by +, so that a text grown step by step is not copied each time. */
struct jroom { char *at; size_t used, cap; };

static ry_status join(jrun *r, jtext *a, jtext *b, jv *out) {
    size_t n = a->n + b->n;
    struct jroom *room = a->room;
    if (!b->n || !a->n) {
        *out = (jv){.kind = JV_TEXT, .text = a->n ? a : b};
        return RY_OK;
    }
    RY_TRY(jv_text(r, out, a->at, n));
    if (!room || a->at + a->n != room->at + room->used || b->n > room->cap - room->used) {
        if (n > JINJA_MAX_BYTES) n = JINJA_MAX_BYTES;
        size_t cap = n < 512 ? n : n * 2;
        char *s = jrun_alloc(r, cap);
        room = n < 512 ? NULL : JRUN_NEW(r, struct jroom, 1);
        if (!s || (n >= 512 && !room)) return jrun_nomem(r);
        memcpy(s, a->at, a->n);
        if (room) *room = (struct jroom){s, a->n, cap};
        out->text->at = s;
    }
    memcpy((char *)(uintptr_t)(const void *)out->text->at + a->n, b->at, b->n);
    if (room) room->used += b->n;
    out->text->room = room;
    if (a->chars != SIZE_MAX && b->chars != SIZE_MAX) out->text->chars = a->chars + b->chars;
    return RY_OK;
}

static ry_status escaped(jrun *r, jv *v) {
    jbuf b = {0};
    if (v->safe) return RY_OK;
    RY_TRY(jbuf_escape(r, &b, v->text->at, v->text->n));
    return jv_text_buf(r, v, &b);
}

static ry_status repeat(jrun *r, jv a, int64_t times, jv *out) {
    if (times < 0) times = 0;
    size_t n = a.kind == JV_TEXT ? a.text->n : a.list->n, size = a.kind == JV_TEXT ? 1 : sizeof(jv);
    if (n && (uint64_t)times > JINJA_MAX_BYTES / size / n) {
        r->bytes = r->t->max_bytes;
        return jrun_nomem(r);
    }
    size_t total = n * (size_t)times;
    char *s = jrun_alloc(r, total * size);
    if (!s) return jrun_nomem(r);
    RY_TRY(jrun_step(r, n ? (size_t)times : 0));
    for (size_t i = 0; i < total; i += n) memcpy(s + i * size, a.kind == JV_TEXT ? (const void *)a.text->at : a.list->at, n * size);
    if (a.kind == JV_TEXT) {
        RY_TRY(jv_text(r, out, s, total));
        out->safe = a.safe;
        return RY_OK;
    }
    RY_TRY(jv_list(r, out, a.kind, 0));
    out->list->at = (jv *)(void *)s;
    out->list->n = out->list->cap = total;
    return RY_OK;
}

static bool repeats(jv a) { return a.kind == JV_TEXT || a.kind == JV_LIST || a.kind == JV_TUPLE; }

ry_status jv_binary(jrun *r, jop op, jv a, jv b, jv *out) {
    RY_TRY(jrun_step(r, 1));
    if (jv_is_number(a) && jv_is_number(b)) {
        if (a.kind == JV_REAL || b.kind == JV_REAL) return reals(r, op, jv_as_real(a), jv_as_real(b), out);
        return integers(r, op, jv_as_int(a), jv_as_int(b), out);
    }
    if (op == JO_ADD && a.kind == JV_TEXT && b.kind == JV_TEXT) {
        bool safe = a.safe || b.safe;
        if (safe) {
            RY_TRY(escaped(r, &a));
            RY_TRY(escaped(r, &b));
        }
        RY_TRY(join(r, a.text, b.text, out));
        out->safe = safe;
        return RY_OK;
    }
    if (op == JO_ADD && a.kind == b.kind && (a.kind == JV_LIST || a.kind == JV_TUPLE)) {
        size_t n = a.list->n + b.list->n;
        RY_TRY(jv_list(r, out, a.kind, n));
        if (a.list->n) memcpy(out->list->at, a.list->at, a.list->n * sizeof(jv));
        if (b.list->n) memcpy(out->list->at + a.list->n, b.list->at, b.list->n * sizeof(jv));
        out->list->n = n;
        return RY_OK;
    }
    if (op == JO_MUL && repeats(a) && jv_is_int(b)) return repeat(r, a, jv_as_int(b), out);
    if (op == JO_MUL && repeats(b) && jv_is_int(a)) return repeat(r, b, jv_as_int(a), out);
    if (op == JO_MOD && a.kind == JV_TEXT) return jinja_percent(r, a, b, out);
    return unfit(r, op, a, b);
}

ry_status jv_negate(jrun *r, jv a, bool minus, jv *out) {
    if (a.kind == JV_UNDEF) return jv_no_undefined(r, a);
    if (!jv_is_number(a)) return jrun_fail(r, RY_EARG, "a %s has no sign", jv_type(a));
    if (a.kind == JV_REAL) *out = jv_real(minus ? -a.f : a.f);
    else if (minus && jv_as_int(a) == INT64_MIN) return overflow(r);
    else *out = jv_int(minus ? -jv_as_int(a) : jv_as_int(a));
    return RY_OK;
}
