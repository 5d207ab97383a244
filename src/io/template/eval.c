/* eval.c - expressions: names, attributes, items, calls.  Owns nothing. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <string.h>

/* ---- attributes and items ---- */

static bool is_word(const char *s, size_t n, const char *w) { return strlen(w) == n && !memcmp(s, w, n); }

static bool listed(const char *s, size_t n, const char *const *words) {
    for (; *words; words++)
        if (is_word(s, n, *words)) return true;
    return false;
}

/* What Python's objects have and the immutable sandbox hides. */
static bool unsafe(jv object, const char *s, size_t n) {
    static const char *const of_list[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove", NULL};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    if (object.kind == JV_LIST) return listed(s, n, of_list) || (n > 4 && !memcmp(s, "__", 2));
    if (object.kind == JV_DICT) return listed(s, n, of_dict) || (n > 4 && !memcmp(s, "__", 2) && !memcmp(s + n - 2, "__", 2));
    return n > 4 && !memcmp(s, "__", 2) && !memcmp(s + n - 2, "__", 2) && object.kind != JV_SPACE;
}

static ry_status loop_length(jrun *r, jloop *l, int64_t *out) {
    if (l->length < 0 && jv_has_length(l->source)) RY_TRY(jv_length(r, l->source, &l->length));
    if (l->length < 0) {
        jv rest;
        RY_TRY(jv_collect(r, (jv){.kind = JV_ITER, .iter = l->iter}, &rest));
        RY_TRY(jiter_open(r, rest, &l->iter));
        l->length = (int64_t)rest.list->n + l->index0 + 1 + (l->after.kind != JV_MISSING);
    }
    *out = l->length;
    return RY_OK;
}

static ry_status peek(jrun *r, jloop *l, bool *more) {
    *more = true;
    if (l->after.kind != JV_MISSING) return RY_OK;
    jv x;
    RY_TRY(jiter_next(r, l->iter, &x, more));
    if (*more) l->after = x;
    return RY_OK;
}

static ry_status loop_attr(jrun *r, jloop *l, const char *s, size_t n, jv *out, bool *found) {
    int64_t len;
    bool more;
    if (is_word(s, n, "index")) *out = jv_int(l->index0 + 1);
    else if (is_word(s, n, "index0")) *out = jv_int(l->index0);
    else if (is_word(s, n, "first")) *out = jv_bool(l->index0 == 0);
    else if (is_word(s, n, "depth")) *out = jv_int(l->depth + 1);
    else if (is_word(s, n, "depth0")) *out = jv_int(l->depth);
    else if (is_word(s, n, "length") || is_word(s, n, "revindex") || is_word(s, n, "revindex0")) {
        RY_TRY(loop_length(r, l, &len));
        *out = jv_int(*s == 'l' ? len : n == 8 ? len - l->index0 : len - l->index0 - 1);
    } else if (is_word(s, n, "last")) {
        RY_TRY(peek(r, l, &more));
        *out = jv_bool(!more);
    } else if (is_word(s, n, "previtem")) {
        if (l->index0 == 0) return jv_undefined(r, out, false, "there is no previous item");
        *out = l->before;
    } else if (is_word(s, n, "nextitem")) {
        RY_TRY(peek(r, l, &more));
        if (!more) return jv_undefined(r, out, false, "there is no next item");
        *out = l->after;
    } else *found = false;
    return RY_OK;
}

static ry_status macro_attr(jrun *r, const jmacro *m, const char *s, size_t n, jv *out, bool *found) {
    const jnode *params = m->node->other;
    if (is_word(s, n, "name")) {
        if (m->name) return jv_text(r, out, m->name->at, m->name->n);
        *out = JV_NOTHING;
    } else if (is_word(s, n, "arguments")) {
        RY_TRY(jv_list(r, out, JV_TUPLE, params->n));
        for (size_t i = 0; i < params->n; i++) RY_TRY(jv_text(r, &out->list->at[i], params->list[i]->name->at, params->list[i]->name->n));
        out->list->n = params->n;
    } else if (is_word(s, n, "catch_varargs")) *out = jv_bool(m->node->flag);
    else if (is_word(s, n, "catch_kwargs")) *out = jv_bool(m->node->flag2);
    else if (is_word(s, n, "caller")) *out = jv_bool(m->node->flag3);
    else *found = false;
    return RY_OK;
}

/* Python's getattr, without what the sandbox hides. */
static ry_status attribute(jrun *r, jv o, const char *s, size_t n, jv *out, bool *found) {
    jv *there;
    const jrow *row;
    *found = true;
    if (unsafe(o, s, n)) return jv_undefined(r, out, true, "access to attribute '%.*s' of a %s is unsafe", (int)(n > 60 ? 60 : n), s, jv_type(o));
    if ((row = jinja_method(o, s, n)) != NULL) {
        jmethod *m = JRUN_NEW(r, jmethod, 1);
        if (!m) return jrun_nomem(r);
        *m = (jmethod){o, row};
        *out = (jv){.kind = JV_METHOD, .method = m};
        return RY_OK;
    }
    switch ((jkind)o.kind) {
    case JV_LOOP: return loop_attr(r, o.loop, s, n, out, found);
    case JV_MACRO: return macro_attr(r, o.macro, s, n, out, found);
    case JV_SPACE:
        there = n && *s == '_' ? NULL : jdict_text(o.dict, ry_text_hash(RY_TEXT_HASH, s, n), s, n);
        if (there) {
            *out = *there;
            return RY_OK;
        }
        break;
    case JV_TUPLE:
        if (o.list->group && (is_word(s, n, "grouper") || is_word(s, n, "list"))) {
            *out = o.list->at[*s == 'l'];
            return RY_OK;
        }
        break;
    case JV_CYCLER:
        if (is_word(s, n, "current")) {
            *out = o.cycler->items->at[o.cycler->at];
            return RY_OK;
        }
        break;
    case JV_RANGE:
        if (is_word(s, n, "start") || is_word(s, n, "stop") || is_word(s, n, "step")) {
            *out = jv_int(n == 5 ? o.range->start : s[2] == 'o' ? o.range->stop : o.range->step);
            return RY_OK;
        }
        break;
    case JV_BOOL:
    case JV_INT:
    case JV_REAL:
        if (is_word(s, n, "real") || is_word(s, n, "numerator")) {
            *out = o.kind == JV_REAL ? o : jv_int(jv_as_int(o));
            *found = o.kind != JV_REAL || *s == 'r';
            if (*found) return RY_OK;
        }
        break;
    default: break;
    }
    *found = false;
    return RY_OK;
}

static ry_status missing(jrun *r, jv o, const char *s, size_t n, jv *out) {
    return jv_undefined(r, out, false, "a %s has no attribute '%.*s'", jv_type(o), (int)(n > 60 ? 60 : n), s);
}

ry_status jinja_attr(jrun *r, jv o, const char *s, size_t n, jv *out) {
    bool found;
    if (o.kind == JV_UNDEF) return jv_no_undefined(r, o);
    RY_TRY(attribute(r, o, s, n, out, &found));
    if (found) return RY_OK;
    if (o.kind == JV_DICT) {
        jv *there = jdict_text(o.dict, ry_text_hash(RY_TEXT_HASH, s, n), s, n);
        RY_TRY(jrun_step(r, o.dict->n / 16));
        if (there) {
            *out = *there;
            return RY_OK;
        }
    }
    return missing(r, o, s, n, out);
}

static ry_status at_index(jrun *r, jv o, int64_t i, jv *out, bool *found) {
    int64_t n;
    RY_TRY(jv_length(r, o, &n));
    if (i < 0) i += n;
    *found = i >= 0 && i < n;
    if (!*found) return RY_OK;
    if (o.kind == JV_RANGE) *out = jv_int(o.range->start + i * o.range->step);
    else if (o.kind == JV_TEXT) {
        int32_t cp;
        size_t from = jtext_offset(o.text, (size_t)i);
        RY_TRY(jrun_step(r, jtext_chars(o.text) == o.text->n ? 0 : from / 16));
        RY_TRY(jv_text(r, out, o.text->at + from, utf8_next(o.text->at + from, o.text->n - from, &cp)));
        out->safe = o.safe;
    } else *out = o.list->at[i];
    return RY_OK;
}

ry_status jinja_item(jrun *r, jv o, jv key, jv *out) {
    bool found = false;
    if (o.kind == JV_UNDEF) return jv_no_undefined(r, o);
    if (o.kind == JV_DICT && key.kind != JV_LIST && key.kind != JV_DICT) {
        jv *there;
        RY_TRY(jdict_find(r, o.dict, key, &there));
        if (there) {
            *out = *there;
            return RY_OK;
        }
    } else if ((o.kind == JV_TEXT || o.kind == JV_LIST || o.kind == JV_TUPLE || o.kind == JV_RANGE) && jv_is_int(key)) RY_TRY(at_index(r, o, jv_as_int(key), out, &found));
    if (!found && key.kind == JV_TEXT) {
        RY_TRY(attribute(r, o, key.text->at, key.text->n, out, &found));
        if (!found) return missing(r, o, key.text->at, key.text->n, out);
    }
    if (found) return RY_OK;
    return jv_undefined(r, out, false, "a %s has no such item", jv_type(o));
}

ry_status jinja_path(jrun *r, jv x, jv path, jv standby, jv *out) {
    *out = x;
    if (path.kind == JV_NONE) return RY_OK;
    if (path.kind != JV_TEXT) {
        RY_TRY(jinja_item(r, x, path, out));
        if (out->kind == JV_UNDEF && standby.kind != JV_MISSING) *out = standby;
        return RY_OK;
    }
    const char *s = path.text->at, *end = s + path.text->n;
    for (;;) {
        const char *dot = memchr(s, '.', (size_t)(end - s));
        size_t n = (size_t)((dot ? dot : end) - s), digits = 0;
        int64_t i = 0;
        jv key;
        while (digits < n && digits < 18 && s[digits] >= '0' && s[digits] <= '9') i = i * 10 + (s[digits++] - '0');
        if (n && digits == n) key = jv_int(i);
        else RY_TRY(jv_text(r, &key, s, n));
        x = *out;
        RY_TRY(jinja_item(r, x, key, out));
        if (out->kind == JV_UNDEF && standby.kind != JV_MISSING) *out = standby;
        if (!dot) return RY_OK;
        s = dot + 1;
    }
}

static ry_status bound(jrun *r, jv v, int64_t n, int64_t low, int64_t high, int64_t standby, int64_t *out) { /* one end of a slice */
    *out = standby;
    if (v.kind == JV_NONE) return RY_OK;
    RY_TRY(jv_need_int(r, v, "a slice", out));
    if (*out < 0) *out = *out < -n ? -1 : *out + n; /* before the beginning is -1: clamped below */
    if (*out < low) *out = low;
    if (*out > high) *out = high;
    return RY_OK;
}

ry_status jinja_slice(jrun *r, jv o, jv start, jv stop, jv step, jv *out) {
    int64_t n, from, to, by = 1;
    if (o.kind == JV_UNDEF) return jv_no_undefined(r, o);
    if (o.kind != JV_TEXT && o.kind != JV_LIST && o.kind != JV_TUPLE && o.kind != JV_RANGE) return jrun_fail(r, RY_EARG, "a %s cannot be sliced", jv_type(o));
    RY_TRY(jv_length(r, o, &n));
    if (step.kind != JV_NONE) RY_TRY(jv_need_int(r, step, "a slice", &by));
    if (!by) return jrun_fail(r, RY_EARG, "a slice's step is 0");
    bool back = by < 0;
    RY_TRY(bound(r, start, n, back ? -1 : 0, back ? n - 1 : n, back ? n - 1 : 0, &from));
    RY_TRY(bound(r, stop, n, back ? -1 : 0, back ? n - 1 : n, back ? -1 : n, &to));
    uint64_t far = back ? (from > to ? (uint64_t)(from - to) : 0) : (to > from ? (uint64_t)(to - from) : 0);
    uint64_t width = back ? 0 - (uint64_t)by : (uint64_t)by;
    int64_t count = far ? (int64_t)((far - 1) / width + 1) : 0;
    int64_t asked = by;
    if (count <= 1) by = 1; /* so that no product overflows */
    RY_TRY(jrun_step(r, o.kind == JV_RANGE ? 1 : (size_t)count / 16));
    if (o.kind == JV_RANGE) {
        jrange *g = JRUN_NEW(r, jrange, 1);
        if (!g) return jrun_nomem(r);
        jv each, first, last; /* in checked arithmetic */
        RY_TRY(jv_binary(r, JO_MUL, jv_int(o.range->step), jv_int(asked), &each));
        RY_TRY(jv_binary(r, JO_MUL, jv_int(o.range->step), jv_int(from), &first));
        RY_TRY(jv_binary(r, JO_MUL, jv_int(o.range->step), jv_int(to), &last));
        RY_TRY(jv_binary(r, JO_ADD, jv_int(o.range->start), first, &first));
        RY_TRY(jv_binary(r, JO_ADD, jv_int(o.range->start), last, &last));
        *g = (jrange){first.i, last.i, each.i, count};
        *out = (jv){.kind = JV_RANGE, .range = g};
        return RY_OK;
    }
    if (o.kind != JV_TEXT) {
        RY_TRY(jv_list(r, out, o.kind, (size_t)count));
        for (int64_t i = 0; i < count; i++) out->list->at[i] = o.list->at[from + i * by];
        out->list->n = (size_t)count;
        return RY_OK;
    }
    if (by == 1) {
        size_t a = jtext_offset(o.text, (size_t)from), b = jtext_offset(o.text, (size_t)(from + count));
        RY_TRY(jv_text(r, out, o.text->at + a, count ? b - a : 0));
        out->text->room = o.text->room;
    } else {
        jbuf b = {0};
        bool ascii = jtext_chars(o.text) == o.text->n;
        size_t *at = ascii ? NULL : JRUN_NEW(r, size_t, n + 1); /* where each character begins */
        if (!ascii && !at) return jrun_nomem(r);
        for (size_t i = 0, k = 0; at && i < o.text->n; i++)
            if (((unsigned char)o.text->at[i] & 0xC0) != 0x80) at[k++] = i;
        if (at) at[n] = o.text->n;
        for (int64_t i = 0; i < count; i++) {
            size_t k = (size_t)(from + i * by), begin = at ? at[k] : k, end = at ? at[k + 1] : k + 1;
            RY_TRY(jbuf_add(r, &b, o.text->at + begin, end - begin));
        }
        RY_TRY(jv_text_buf(r, out, &b));
    }
    out->safe = o.safe;
    return RY_OK;
}

/* ---- calls ---- */

ry_status jinja_call_row(jrun *r, const jrow *row, const jargs *args, jv *out) {
    enum { MOST = 8 };
    jv a[MOST] = {0};
    if (row->params[0] == '*') {
        if (args->n < (size_t)row->need) return jrun_fail(r, RY_EARG, "%s needs an argument", row->name);
        return row->fn(r, a, args, out);
    }
    size_t count = 0;
    const char *name[MOST], *p = row->params;
    size_t len[MOST];
    while (*p && count < MOST) {
        name[count] = p;
        len[count] = strcspn(p, " ");
        p += len[count] + (p[len[count]] == ' ');
        count++;
    }
    if (args->n > count) return jrun_fail(r, RY_EARG, "%s takes %zu arguments at most, not %zu", row->name, count, args->n);
    if (args->n) memcpy(a, args->at, args->n * sizeof *a);
    for (size_t i = 0; i < args->keys; i++) {
        const jkey *k = &args->key[i];
        size_t at = 0;
        while (at < count && !(len[at] == k->n && !memcmp(name[at], k->text, k->n))) at++;
        if (at == count) return jrun_fail(r, RY_EARG, "%s has no argument '%.*s'", row->name, (int)(k->n > 60 ? 60 : k->n), k->text);
        if (a[at].kind != JV_MISSING) return jrun_fail(r, RY_EARG, "%s is given '%.*s' twice", row->name, (int)(k->n > 60 ? 60 : k->n), k->text);
        a[at] = k->value;
    }
    for (int i = 0; i < row->need; i++)
        if (a[i].kind == JV_MISSING) return jrun_fail(r, RY_EARG, "%s needs the argument '%.*s'", row->name, (int)len[i], name[i]);
    return row->fn(r, a, args, out);
}

ry_status jinja_call(jrun *r, jv f, const jargs *args, jv *out) {
    jargs with = *args;
    RY_TRY(jrun_step(r, 1));
    switch ((jkind)f.kind) {
    case JV_FUNC: return jinja_call_row(r, f.row, args, out);
    case JV_METHOD:
        with.n = args->n + 1;
        with.at = JRUN_NEW(r, jv, with.n);
        if (!with.at) return jrun_nomem(r);
        with.at[0] = f.method->self;
        if (args->n) memcpy(with.at + 1, args->at, args->n * sizeof *args->at);
        return jinja_call_row(r, f.method->row, &with, out);
    case JV_MACRO: return jinja_call_macro(r, f.macro, args, out);
    case JV_LOOP:
        if (args->n != 1 || args->keys) return jrun_fail(r, RY_EARG, "loop() takes one value");
        return jinja_call_loop(r, f.loop, args->at[0], out);
    case JV_JOINER:
        if (args->n || args->keys) return jrun_fail(r, RY_EARG, "a joiner takes no value");
        *out = f.cycler->sep;
        if (!f.cycler->used) RY_TRY(JV_LITERAL(r, out, ""));
        f.cycler->used = true;
        return RY_OK;
    case JV_UNDEF:
        if (f.undef && f.undef->security) return jrun_fail(r, RY_EARG, "the sandbox refuses: %s", f.undef->what);
        return jv_no_undefined(r, f);
    default: return jrun_fail(r, RY_EARG, "a %s cannot be called", jv_type(f));
    }
}

enum { FEW = 6, FEW_KEYS = 3 };
typedef struct call {
    jargs args;
    jv at[FEW];
    jkey key[FEW_KEYS];
    size_t cap, key_cap;
} call;

static ry_status push_arg(jrun *r, call *c, jv v) {
    if (c->args.n == c->cap) {
        jv *more = JRUN_NEW(r, jv, c->cap * 2);
        if (!more) return jrun_nomem(r);
        memcpy(more, c->args.at, c->args.n * sizeof *more);
        c->args.at = more, c->cap *= 2;
    }
    c->args.at[c->args.n++] = v;
    return RY_OK;
}

static ry_status push_key(jrun *r, call *c, const char *s, size_t n, jv v) {
    for (size_t i = 0; i < c->args.keys; i++)
        if (c->args.key[i].n == n && !memcmp(c->args.key[i].text, s, n)) return jrun_fail(r, RY_EARG, "two arguments named '%.*s'", (int)(n > 60 ? 60 : n), s);
    if (c->args.keys == c->key_cap) {
        jkey *more = JRUN_NEW(r, jkey, c->key_cap * 2);
        if (!more) return jrun_nomem(r);
        memcpy(more, c->args.key, c->args.keys * sizeof *more);
        c->args.key = more, c->key_cap *= 2;
    }
    RY_TRY(jrun_step(r, c->args.keys / 8));
    c->args.key[c->args.keys++] = (jkey){jinja_known(r->t, s, n), s, n, v};
    return RY_OK;
}

static ry_status fill(jrun *r, call *c, const jnode *args, jscope *s) {
    jv v;
    bool more;
    for (size_t i = 0; args && i < args->n; i++) {
        const jnode *x = args->list[i];
        if (x->kind == JN_KEYWORD) {
            RY_TRY(jinja_eval(r, x->a, s, &v));
            RY_TRY(push_key(r, c, x->name->at, x->name->n, v));
        } else {
            RY_TRY(jinja_eval(r, x, s, &v));
            RY_TRY(push_arg(r, c, v));
        }
    }
    if (args && args->a) {
        jiter *it = NULL;
        RY_TRY(jinja_eval(r, args->a, s, &v));
        RY_TRY(jiter_open(r, v, &it));
        for (;;) {
            RY_TRY(jiter_next(r, it, &v, &more));
            if (!more) break;
            RY_TRY(push_arg(r, c, v));
        }
    }
    if (args && args->b) {
        RY_TRY(jinja_eval(r, args->b, s, &v));
        if (v.kind != JV_DICT) return jrun_fail(r, RY_EARG, "** needs a dict, not %s", jv_type(v));
        for (size_t i = 0; i < v.dict->n; i++) {
            const jpair *p = &v.dict->at[i];
            if (p->key.kind != JV_TEXT) return jrun_fail(r, RY_EARG, "** needs names as keys");
            RY_TRY(push_key(r, c, p->key.text->at, p->key.text->n, p->value));
        }
    }
    return RY_OK;
}

static void begin(call *c) {
    c->args = (jargs){.at = c->at, .key = c->key};
    c->cap = FEW, c->key_cap = FEW_KEYS;
}

static ry_status eval_row(jrun *r, const jrow *row, jv self, const jnode *args, jscope *s, jv *out) {
    call c;
    begin(&c);
    RY_TRY(push_arg(r, &c, self));
    RY_TRY(fill(r, &c, args, s));
    return jinja_call_row(r, row, &c.args, out);
}

/* caller: of a call block, or NULL. */
ry_status jinja_eval_call(jrun *r, const jnode *e, jscope *s, const jv *caller, jv *out) {
    call c;
    jv f;
    begin(&c);
    if (e->a->kind == JN_ATTR && !caller) { /* the usual method call, without an object for the method */
        jv o;
        RY_TRY(jinja_eval(r, e->a->a, s, &o));
        const jrow *row = jinja_method(o, e->a->name->at, e->a->name->n);
        if (row) return eval_row(r, row, o, e->b, s, out);
        RY_TRY(jinja_attr(r, o, e->a->name->at, e->a->name->n, &f));
    } else RY_TRY(jinja_eval(r, e->a, s, &f));
    RY_TRY(fill(r, &c, e->b, s));
    if (caller) RY_TRY(push_key(r, &c, "caller", 6, *caller));
    r->line = e->line;
    return jinja_call(r, f, &c.args, out);
}

static ry_status eval_filter(jrun *r, const jnode *e, jscope *s, jv *out) {
    jv x = r->input;
    if (e->a) RY_TRY(jinja_eval(r, e->a, s, &x));
    r->line = e->line;
    if (!e->row) return jrun_fail(r, RY_EFORMAT, "there is no %s named '%s'", e->kind == JN_TEST ? "test" : "filter", e->name->at);
    return eval_row(r, e->row, x, e->b, s, out);
}

/* ---- the others ---- */

static ry_status eval_name(jrun *r, const jnode *e, jscope *s, jv *out) {
    const jv *v = jscope_find(s, e->name);
    if (v) {
        *out = *v;
        return RY_OK;
    }
    const jrow *row = jinja_global(e->name->at, e->name->n);
    if (row) {
        *out = (jv){.kind = JV_FUNC, .row = row};
        return RY_OK;
    }
    return jv_undefined(r, out, false, "'%.*s' is undefined", (int)(e->name->n > 80 ? 80 : e->name->n), e->name->at);
}

static ry_status eval_items(jrun *r, const jnode *e, jscope *s, jv *out) {
    RY_TRY(jv_list(r, out, e->kind == JN_LIST ? JV_LIST : JV_TUPLE, e->n));
    for (size_t i = 0; i < e->n; i++) RY_TRY(jinja_eval(r, e->list[i], s, &out->list->at[i]));
    out->list->n = e->n;
    return RY_OK;
}

static ry_status eval_dict(jrun *r, const jnode *e, jscope *s, jv *out) {
    RY_TRY(jv_dict(r, out, e->n));
    for (size_t i = 0; i < e->n; i++) {
        jv key, value;
        RY_TRY(jinja_eval(r, e->list[i]->a, s, &key));
        RY_TRY(jinja_eval(r, e->list[i]->b, s, &value));
        RY_TRY(jdict_put(r, out->dict, key, value));
    }
    return RY_OK;
}

static ry_status eval_concat(jrun *r, const jnode *e, jscope *s, jv *out) {
    jv first, x, rest;
    jbuf b = {0};
    RY_TRY(jinja_eval(r, e->list[0], s, &x));
    RY_TRY(jv_str(r, x, &first));
    for (size_t i = 1; i < e->n; i++) {
        RY_TRY(jinja_eval(r, e->list[i], s, &x));
        RY_TRY(jbuf_str(r, &b, x));
    }
    first.safe = false;
    RY_TRY(jv_text_buf(r, &rest, &b));
    return jv_binary(r, JO_ADD, first, rest, out);
}

static ry_status eval_compare(jrun *r, const jnode *e, jscope *s, jv *out) {
    jv a, b;
    bool yes = true;
    RY_TRY(jinja_eval(r, e->a, s, &a));
    for (size_t i = 0; i < e->n && yes; i++) {
        jop op = (jop)e->list[i]->op;
        RY_TRY(jinja_eval(r, e->list[i]->a, s, &b));
        if (op == JO_EQ || op == JO_NE) RY_TRY(jv_equal(r, a, b, &yes));
        else if (op == JO_IN || op == JO_NOT_IN) RY_TRY(jv_in(r, a, b, &yes));
        else RY_TRY(jv_less(r, a, b, op, &yes));
        if (op == JO_NE || op == JO_NOT_IN) yes = !yes;
        a = b;
    }
    *out = jv_bool(yes);
    return RY_OK;
}

static ry_status eval_item(jrun *r, const jnode *e, jscope *s, jv *out) {
    jv o, key, part[3] = {JV_NOTHING, JV_NOTHING, JV_NOTHING};
    RY_TRY(jinja_eval(r, e->a, s, &o));
    if (e->b->kind != JN_SLICE) {
        RY_TRY(jinja_eval(r, e->b, s, &key));
        return jinja_item(r, o, key, out);
    }
    if (e->b->a) RY_TRY(jinja_eval(r, e->b->a, s, &part[0]));
    if (e->b->b) RY_TRY(jinja_eval(r, e->b->b, s, &part[1]));
    if (e->b->c) RY_TRY(jinja_eval(r, e->b->c, s, &part[2]));
    return jinja_slice(r, o, part[0], part[1], part[2], out);
}

static ry_status eval_logic(jrun *r, const jnode *e, jscope *s, jv *out) {
    bool yes;
    RY_TRY(jinja_eval(r, e->a, s, out));
    RY_TRY(jv_true(r, *out, &yes));
    if (e->kind == JN_NOT) *out = jv_bool(!yes);
    else if (yes == (e->kind == JN_AND)) return jinja_eval(r, e->b, s, out);
    return RY_OK;
}

static ry_status eval_cond(jrun *r, const jnode *e, jscope *s, jv *out) {
    bool yes;
    jv c;
    RY_TRY(jinja_eval(r, e->b, s, &c));
    RY_TRY(jv_true(r, c, &yes));
    if (yes) return jinja_eval(r, e->a, s, out);
    if (e->c) return jinja_eval(r, e->c, s, out);
    return jv_undefined(r, out, false, "the inline if was false and has no else");
}

static ry_status eval_sum(jrun *r, const jnode *e, jscope *s, jv *out) {
    jv a, b;
    RY_TRY(jinja_eval(r, e->a, s, &a));
    if (e->kind == JN_BINARY) RY_TRY(jinja_eval(r, e->b, s, &b));
    r->line = e->line;
    return e->kind == JN_BINARY ? jv_binary(r, (jop)e->op, a, b, out) : jv_negate(r, a, e->kind == JN_NEG, out);
}

static ry_status eval(jrun *r, const jnode *e, jscope *s, jv *out) {
    jv o;
    switch ((jnode_kind)e->kind) {
    case JN_CONST: *out = e->value; return RY_OK;
    case JN_NAME: return eval_name(r, e, s, out);
    case JN_TUPLE:
    case JN_LIST: return eval_items(r, e, s, out);
    case JN_DICT: return eval_dict(r, e, s, out);
    case JN_COND: return eval_cond(r, e, s, out);
    case JN_OR:
    case JN_AND:
    case JN_NOT: return eval_logic(r, e, s, out);
    case JN_NEG:
    case JN_POS:
    case JN_BINARY: return eval_sum(r, e, s, out);
    case JN_CONCAT: return eval_concat(r, e, s, out);
    case JN_COMPARE: return eval_compare(r, e, s, out);
    case JN_ATTR:
        RY_TRY(jinja_eval(r, e->a, s, &o));
        r->line = e->line;
        return jinja_attr(r, o, e->name->at, e->name->n, out);
    case JN_ITEM: return eval_item(r, e, s, out);
    case JN_CALL: return jinja_eval_call(r, e, s, NULL, out);
    case JN_FILTER:
    case JN_TEST: return eval_filter(r, e, s, out);
    default: return jrun_fail(r, RY_EARG, "a slice can only stand alone in brackets");
    }
}

ry_status jinja_eval(jrun *r, const jnode *e, jscope *s, jv *out) {
    if (++r->depth > JINJA_MAX_DEPTH) return jrun_fail(r, RY_EUNSUPPORTED, "limit: calls or expressions more than %d levels deep", (int)JINJA_MAX_DEPTH);
    if (++r->steps > r->t->max_steps) return jrun_step(r, 0);
    jv v;
    RY_TRY(eval(r, e, s, &v));
    *out = v;
    r->depth--;
    return RY_OK;
}
