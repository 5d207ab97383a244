/* iter.c - walking over values, one item at a time, and the filters whose answers are generators: nothing is computed before it is asked
 * for, and what was walked once is gone, as in Python.  Owns nothing. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <string.h>

static ry_status next_nothing(jrun *r, jiter *it, jv *out, bool *more) {
    (void)r, (void)it, (void)out;
    *more = false;
    return RY_OK;
}

static ry_status next_item(jrun *r, jiter *it, jv *out, bool *more) { /* lists and tuples; by = -1: backwards */
    *more = it->at < it->n;
    if (!*more) return RY_OK;
    int64_t i = it->wanted ? it->n - 1 - it->at : it->at;
    it->at++;
    *out = it->source.list->at[i];
    return jrun_step(r, 1);
}

static ry_status next_char(jrun *r, jiter *it, jv *out, bool *more) {
    const jtext *t = it->source.text;
    *more = it->at < (int64_t)t->n;
    if (!*more) return RY_OK;
    int32_t cp;
    size_t at = (size_t)it->at, len = utf8_next(t->at + at, t->n - at, &cp);
    it->at += (int64_t)len;
    RY_TRY(jrun_step(r, 1));
    return jv_text(r, out, t->at + at, len);
}

static ry_status next_number(jrun *r, jiter *it, jv *out, bool *more) {
    const jrange *g = it->source.range;
    *more = it->at < it->n;
    if (!*more) return RY_OK;
    int64_t i = it->wanted ? it->n - 1 - it->at : it->at;
    it->at++;
    *out = jv_int(g->start + i * g->step);
    return jrun_step(r, 1);
}

static ry_status next_pair(jrun *r, jiter *it, jv *out, bool *more) {
    const jdict *d = it->source.dict;
    int which = it->source.kind == JV_VIEW ? it->source.which : JVIEW_KEYS;
    *more = it->at < (int64_t)d->n;
    if (!*more) return RY_OK;
    const jpair *p = &d->at[it->wanted ? (int64_t)d->n - 1 - it->at : it->at];
    it->at++;
    RY_TRY(jrun_step(r, 1));
    if (which == JVIEW_ITEMS) return jdict_pair(r, p, out);
    *out = which == JVIEW_KEYS ? p->key : p->value;
    return RY_OK;
}

static jiter_fn walker(jv v) {
    switch ((jkind)v.kind) {
    case JV_LIST:
    case JV_TUPLE: return next_item;
    case JV_TEXT: return next_char;
    case JV_RANGE: return next_number;
    case JV_DICT:
    case JV_VIEW: return next_pair;
    case JV_UNDEF: return next_nothing;
    case JV_ITER: return v.iter->next;
    default: return NULL;
    }
}

bool jv_can_iterate(jv v) { return walker(v) != NULL; }

static ry_status make(jrun *r, jiter_fn next, jv source, jiter **out) {
    jiter *it = JRUN_NEW(r, jiter, 1);
    if (!it) return jrun_nomem(r);
    it->next = next;
    it->source = source;
    it->n = source.kind == JV_LIST || source.kind == JV_TUPLE ? (int64_t)source.list->n : source.kind == JV_RANGE ? source.range->n : 0;
    *out = it;
    return RY_OK;
}

ry_status jiter_open(jrun *r, jv v, jiter **out) {
    jiter_fn next = walker(v);
    if (!next) return jrun_fail(r, RY_EARG, "a %s cannot be walked over", jv_type(v));
    if (v.kind == JV_ITER) {
        *out = v.iter;
        return RY_OK;
    }
    return make(r, next, v, out);
}

ry_status jv_collect(jrun *r, jv v, jv *out) {
    jiter *it = NULL;
    jv x;
    bool more;
    RY_TRY(jiter_open(r, v, &it));
    RY_TRY(jv_list(r, out, JV_LIST, v.kind == JV_LIST || v.kind == JV_TUPLE ? v.list->n : 0));
    for (;;) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) return RY_OK;
        RY_TRY(jlist_push(r, out->list, x));
    }
}

/* ---- the filters' generators ---- */

static ry_status lazy(jrun *r, jiter_fn next, jv source, const jargs *all, jv *out) {
    jiter *it = NULL;
    RY_TRY(make(r, next, source, &it));
    if (all) { /* the arguments live only as long as the call */
        it->args = *all;
        it->args.at = JRUN_NEW(r, jv, all->n);
        it->args.key = JRUN_NEW(r, jkey, all->keys);
        if (!it->args.at || !it->args.key) return jrun_nomem(r);
        memcpy(it->args.at, all->at, all->n * sizeof *all->at);
        if (all->keys) memcpy(it->args.key, all->key, all->keys * sizeof *all->key);
    }
    *out = (jv){.kind = JV_ITER, .iter = it};
    return RY_OK;
}

/* Opens the source at the first step; *empty where Python's `if value` says so. */
static ry_status begin(jrun *r, jiter *it, bool if_true, bool *first) {
    *first = !it->from;
    if (it->from) return RY_OK;
    bool yes = true;
    if (if_true) RY_TRY(jv_true(r, it->source, &yes));
    if (!yes) return make(r, next_nothing, JV_NOTHING, &it->from);
    return jiter_open(r, it->source, &it->from);
}

/* A generator that asks itself would never end; a chain of them is as deep as the calls it makes. */
static ry_status pull(jrun *r, jiter *it, jv *out, bool *more) {
    if (++r->depth > JINJA_MAX_DEPTH) return jrun_fail(r, RY_EUNSUPPORTED, "limit: generators within generators");
    RY_TRY(jiter_next(r, it->from, out, more));
    r->depth--;
    return RY_OK;
}

/* Drops the first n arguments after the value. */
static void drop(jargs *a, size_t n) {
    a->at[n] = a->at[0];
    a->at += n, a->n -= n;
}

static ry_status named_row(jrun *r, jv name, bool test, const jrow **out) {
    jtext *t;
    RY_TRY(jv_need_text(r, name, test ? "the name of a test" : "the name of a filter", &t));
    *out = test ? jinja_test(t->at, t->n) : jinja_filter(t->at, t->n);
    if (*out) return RY_OK;
    return jrun_fail(r, RY_EARG, "there is no %s named '%.*s'", test ? "test" : "filter", (int)(t->n > 40 ? 40 : t->n), t->at);
}

static ry_status next_map(jrun *r, jiter *it, jv *out, bool *more) {
    bool first;
    jv x;
    RY_TRY(begin(r, it, true, &first));
    if (first && it->from->next != next_nothing) {
        jargs *a = &it->args;
        if (a->n == 1) {
            for (size_t i = 0; i < a->keys; i++) {
                const jkey *k = &a->key[i];
                if (k->n == 9 && !memcmp(k->text, "attribute", 9)) it->by = k->value, it->by_attr = true;
                else if (k->n == 7 && !memcmp(k->text, "default", 7)) it->standby = k->value;
                else return jrun_fail(r, RY_EARG, "map has no argument '%.*s'", (int)k->n, k->text);
            }
            if (!it->by_attr) return jrun_fail(r, RY_EARG, "map needs a filter or attribute=");
            if (it->standby.kind == JV_NONE) it->standby.kind = JV_MISSING;
        } else {
            RY_TRY(named_row(r, a->at[1], false, &it->row));
            drop(a, 1);
        }
    }
    RY_TRY(pull(r, it, &x, more));
    if (!*more) return RY_OK;
    if (it->by_attr) return jinja_path(r, x, it->by, it->standby, out);
    it->args.at[0] = x;
    return jinja_call_row(r, it->row, &it->args, out);
}

static ry_status next_selected(jrun *r, jiter *it, jv *out, bool *more) {
    bool first, yes;
    RY_TRY(begin(r, it, true, &first));
    if (first && it->from->next != next_nothing) {
        jargs *a = &it->args;
        if (it->by_attr) {
            if (a->n < 2) return jrun_fail(r, RY_EARG, "selectattr and rejectattr need the attribute's name");
            it->by = a->at[1];
            drop(a, 1);
        }
        if (a->n > 1) {
            RY_TRY(named_row(r, a->at[1], true, &it->row));
            drop(a, 1);
        }
    }
    for (;;) {
        jv x, answer;
        RY_TRY(pull(r, it, out, more));
        if (!*more) return RY_OK;
        x = *out;
        if (it->by_attr) RY_TRY(jinja_path(r, *out, it->by, (jv){0}, &x));
        if (it->row) {
            it->args.at[0] = x;
            RY_TRY(jinja_call_row(r, it->row, &it->args, &answer));
            x = answer;
        }
        RY_TRY(jv_true(r, x, &yes));
        if (yes == it->wanted) return RY_OK;
    }
}

static ry_status next_unique(jrun *r, jiter *it, jv *out, bool *more) {
    bool first;
    jv key, *there;
    RY_TRY(begin(r, it, false, &first));
    for (;;) {
        RY_TRY(pull(r, it, out, more));
        if (!*more) return RY_OK;
        key = *out;
        if (it->by.kind != JV_MISSING && it->by.kind != JV_NONE) RY_TRY(jinja_path(r, *out, it->by, (jv){0}, &key));
        if (it->fold && key.kind == JV_TEXT) RY_TRY(jtext_case(r, key.text, JCASE_LOWER, &key));
        RY_TRY(jdict_find(r, it->seen, key, &there));
        if (!there) return jdict_put(r, it->seen, key, JV_NOTHING);
    }
}

static ry_status next_batch(jrun *r, jiter *it, jv *out, bool *more) {
    bool first, any = true;
    jv x;
    RY_TRY(begin(r, it, false, &first));
    RY_TRY(jv_list(r, out, JV_LIST, 0));
    while ((int64_t)out->list->n < it->n || (!out->list->n && it->n < 1)) { /* a batch of none still takes one */
        RY_TRY(pull(r, it, &x, &any));
        if (!any) break;
        RY_TRY(jlist_push(r, out->list, x));
    }
    *more = out->list->n != 0;
    if (*more && it->standby.kind != JV_NONE && it->standby.kind != JV_MISSING)
        while ((int64_t)out->list->n < it->n) RY_TRY(jlist_push(r, out->list, it->standby));
    return RY_OK;
}

static ry_status next_slice(jrun *r, jiter *it, jv *out, bool *more) {
    bool first;
    RY_TRY(begin(r, it, false, &first));
    if (first) {
        jv whole;
        RY_TRY(jv_collect(r, it->source, &whole));
        it->source = whole;
        if (!it->n) return jrun_fail(r, RY_EARG, "slice into 0 parts");
    }
    *more = it->at < it->n;
    if (!*more) return RY_OK;
    int64_t len = (int64_t)it->source.list->n, each = len / it->n, extra = len % it->n, i = it->at++;
    int64_t from = i * each + (i < extra ? i : extra), to = from + each + (i < extra);
    RY_TRY(jrun_step(r, 1));
    RY_TRY(jv_list(r, out, JV_LIST, 0));
    for (int64_t k = from; k < to; k++) RY_TRY(jlist_push(r, out->list, it->source.list->at[k]));
    if (it->standby.kind != JV_NONE && it->standby.kind != JV_MISSING && i >= extra) return jlist_push(r, out->list, it->standby);
    return RY_OK;
}

static ry_status f_map(jrun *r, jv *a, const jargs *all, jv *out) {
    (void)a;
    return lazy(r, next_map, all->at[0], all, out);
}

static ry_status select_by(jrun *r, const jargs *all, bool wanted, bool by_attr, jv *out) {
    RY_TRY(lazy(r, next_selected, all->at[0], all, out));
    out->iter->wanted = wanted, out->iter->by_attr = by_attr;
    return RY_OK;
}
static ry_status f_select(jrun *r, jv *a, const jargs *all, jv *out) { return (void)a, select_by(r, all, true, false, out); }
static ry_status f_reject(jrun *r, jv *a, const jargs *all, jv *out) { return (void)a, select_by(r, all, false, false, out); }
static ry_status f_selectattr(jrun *r, jv *a, const jargs *all, jv *out) { return (void)a, select_by(r, all, true, true, out); }
static ry_status f_rejectattr(jrun *r, jv *a, const jargs *all, jv *out) { return (void)a, select_by(r, all, false, true, out); }

static ry_status f_unique(jrun *r, jv *a, const jargs *all, jv *out) {
    jv seen;
    bool exact = false;
    (void)all;
    if (a[1].kind != JV_MISSING) RY_TRY(jv_true(r, a[1], &exact));
    RY_TRY(lazy(r, next_unique, a[0], NULL, out));
    RY_TRY(jv_dict(r, &seen, 0));
    out->iter->seen = seen.dict;
    out->iter->fold = !exact;
    out->iter->by = a[2];
    return RY_OK;
}

static ry_status cut(jrun *r, jiter_fn next, jv *a, jv *out) {
    int64_t n;
    RY_TRY(jv_need_int(r, a[1], "batch or slice", &n));
    RY_TRY(lazy(r, next, a[0], NULL, out));
    out->iter->n = n;
    out->iter->standby = a[2];
    return RY_OK;
}
static ry_status f_batch(jrun *r, jv *a, const jargs *all, jv *out) { return (void)all, cut(r, next_batch, a, out); }
static ry_status f_slice(jrun *r, jv *a, const jargs *all, jv *out) { return (void)all, cut(r, next_slice, a, out); }

static ry_status next_items(jrun *r, jiter *it, jv *out, bool *more) { /* the filter `items`, whose error waits for the first step */
    if (it->source.kind == JV_UNDEF) return next_nothing(r, it, out, more);
    if (it->source.kind != JV_DICT && it->source.kind != JV_VIEW) return jrun_fail(r, RY_EARG, "items needs a dict, not %s", jv_type(it->source));
    it->source.kind = JV_VIEW;
    it->source.which = JVIEW_ITEMS;
    return next_pair(r, it, out, more);
}
static ry_status f_items(jrun *r, jv *a, const jargs *all, jv *out) { return (void)all, lazy(r, next_items, a[0], NULL, out); }

static ry_status f_reverse(jrun *r, jv *a, const jargs *all, jv *out) {
    (void)all;
    if (a[0].kind == JV_TEXT) return jinja_slice(r, a[0], JV_NOTHING, JV_NOTHING, jv_int(-1), out);
    if (a[0].kind == JV_UNDEF) return jv_list(r, out, JV_LIST, 0);
    if (a[0].kind == JV_ITER) {
        RY_TRY(jv_collect(r, a[0], out));
        jlist *l = out->list;
        for (size_t i = 0; i < l->n / 2; i++) {
            jv x = l->at[i];
            l->at[i] = l->at[l->n - 1 - i], l->at[l->n - 1 - i] = x;
        }
        return RY_OK;
    }
    jiter *it = NULL;
    RY_TRY(jiter_open(r, a[0], &it));
    it->wanted = true;
    *out = (jv){.kind = JV_ITER, .iter = it};
    return RY_OK;
}

const jrow jinja_lazy[] = {
    {"map", f_map, "*", 1},
    {"select", f_select, "*", 1},
    {"reject", f_reject, "*", 1},
    {"selectattr", f_selectattr, "*", 1},
    {"rejectattr", f_rejectattr, "*", 1},
    {"unique", f_unique, "value case_sensitive attribute", 1},
    {"batch", f_batch, "value linecount fill_with", 2},
    {"slice", f_slice, "value slices fill_with", 2},
    {"items", f_items, "value", 1},
    {"reverse", f_reverse, "value", 1},
    {0},
};
