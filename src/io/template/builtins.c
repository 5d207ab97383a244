/* builtins.c - Jinja's tests and its global functions, with those that transformers adds.  Owns their tables. */
#include "io/template/jinja.h"
#include <string.h>

#define TEST(name) static ry_status name(jrun *r, jv *a, const jargs *all, jv *out)
#define KIND_TEST(name, expr)                                              \
    TEST(name) {                                                           \
        (void)r, (void)all;                                                \
        *out = jv_bool(expr);                                              \
        return RY_OK;                                                      \
    }
KIND_TEST(t_defined, a[0].kind != JV_UNDEF)
KIND_TEST(t_undefined, a[0].kind == JV_UNDEF)
KIND_TEST(t_none, a[0].kind == JV_NONE)
KIND_TEST(t_boolean, a[0].kind == JV_BOOL)
KIND_TEST(t_true, a[0].kind == JV_BOOL && a[0].yes)
KIND_TEST(t_false, a[0].kind == JV_BOOL && !a[0].yes)
KIND_TEST(t_integer, a[0].kind == JV_INT || a[0].kind == JV_LARGE)
KIND_TEST(t_float, a[0].kind == JV_REAL)
KIND_TEST(t_number, jv_is_number(a[0]) || a[0].kind == JV_LARGE)
KIND_TEST(t_string, a[0].kind == JV_TEXT)
KIND_TEST(t_mapping, a[0].kind == JV_DICT)
KIND_TEST(t_iterable, jv_can_iterate(a[0]) || a[0].kind == JV_LOOP)
KIND_TEST(t_sequence, jv_has_length(a[0]) && a[0].kind != JV_VIEW && a[0].kind != JV_LOOP)
KIND_TEST(t_callable, a[0].kind == JV_MACRO || a[0].kind == JV_FUNC || a[0].kind == JV_METHOD || a[0].kind == JV_JOINER || a[0].kind == JV_LOOP || a[0].kind == JV_UNDEF)
KIND_TEST(t_escaped, a[0].kind == JV_TEXT && a[0].safe)

static ry_status known(jrun *r, jv v, bool test, jv *out) { /* is there a filter or test of this name? */
    if (v.kind == JV_LIST || v.kind == JV_DICT || v.kind == JV_VIEW) return jrun_fail(r, RY_EARG, "a %s is no name", jv_type(v));
    *out = jv_bool(v.kind == JV_TEXT && (test ? jinja_test(v.text->at, v.text->n) : jinja_filter(v.text->at, v.text->n)) != NULL);
    return RY_OK;
}
TEST(t_filter) { return (void)all, known(r, a[0], false, out); }
TEST(t_test) { return (void)all, known(r, a[0], true, out); }

static ry_status divides(jrun *r, jv v, jv by, int64_t rest, jv *out) {
    jv m;
    bool same;
    RY_TRY(jv_binary(r, JO_MOD, v, by, &m));
    RY_TRY(jv_equal(r, m, jv_int(rest), &same));
    *out = jv_bool(same);
    return RY_OK;
}
TEST(t_odd) { return (void)all, divides(r, a[0], jv_int(2), 1, out); }
TEST(t_even) { return (void)all, divides(r, a[0], jv_int(2), 0, out); }
TEST(t_divisibleby) { return (void)all, divides(r, a[0], a[1], 0, out); }

static ry_status cased(jrun *r, jv v, const char *name, jv *out) {
    jv s;
    RY_TRY(jv_str(r, v, &s));
    return jinja_call_row(r, jinja_method(s, name, 7), &(jargs){.at = &s, .n = 1}, out);
}
TEST(t_lower) { return (void)all, cased(r, a[0], "islower", out); }
TEST(t_upper) { return (void)all, cased(r, a[0], "isupper", out); }

TEST(t_sameas) { /* the same object: small values are one with their equals of one kind, as in CPython */
    (void)all;
    *out = jv_bool(false);
    if (a[0].kind != a[1].kind || a[0].kind == JV_REAL) return RY_OK;
    if (a[0].kind == JV_LIST || a[0].kind == JV_TUPLE || a[0].kind == JV_DICT || a[0].kind == JV_RANGE) {
        *out = jv_bool(a[0].iter == a[1].iter);
        return RY_OK;
    }
    bool same;
    RY_TRY(jv_equal(r, a[0], a[1], &same));
    *out = jv_bool(same);
    return RY_OK;
}

static ry_status compare(jrun *r, const jv *a, jop op, jv *out) {
    bool yes;
    if (op == JO_EQ || op == JO_NE) RY_TRY(jv_equal(r, a[0], a[1], &yes));
    else if (op == JO_IN) RY_TRY(jv_in(r, a[0], a[1], &yes));
    else RY_TRY(jv_less(r, a[0], a[1], op, &yes));
    *out = jv_bool(op == JO_NE ? !yes : yes);
    return RY_OK;
}
TEST(t_eq) { return (void)all, compare(r, a, JO_EQ, out); }
TEST(t_ne) { return (void)all, compare(r, a, JO_NE, out); }
TEST(t_lt) { return (void)all, compare(r, a, JO_LT, out); }
TEST(t_le) { return (void)all, compare(r, a, JO_LE, out); }
TEST(t_gt) { return (void)all, compare(r, a, JO_GT, out); }
TEST(t_ge) { return (void)all, compare(r, a, JO_GE, out); }
TEST(t_in) { return (void)all, compare(r, a, JO_IN, out); }

static const jrow tests[] = {
    {"defined", t_defined, "value", 1}, {"undefined", t_undefined, "value", 1}, {"none", t_none, "value", 1}, {"boolean", t_boolean, "value", 1},
    {"true", t_true, "value", 1}, {"false", t_false, "value", 1}, {"integer", t_integer, "value", 1}, {"float", t_float, "value", 1},
    {"number", t_number, "value", 1}, {"string", t_string, "value", 1}, {"mapping", t_mapping, "value", 1}, {"iterable", t_iterable, "value", 1},
    {"sequence", t_sequence, "value", 1}, {"callable", t_callable, "value", 1}, {"escaped", t_escaped, "value", 1}, {"filter", t_filter, "value", 1},
    {"test", t_test, "value", 1}, {"odd", t_odd, "value", 1}, {"even", t_even, "value", 1}, {"divisibleby", t_divisibleby, "value num", 2},
    {"lower", t_lower, "value", 1}, {"upper", t_upper, "value", 1}, {"sameas", t_sameas, "value other", 2}, {"in", t_in, "value seq", 2},
    {"eq", t_eq, "a b", 2}, {"equalto", t_eq, "a b", 2}, {"==", t_eq, "a b", 2}, {"ne", t_ne, "a b", 2}, {"!=", t_ne, "a b", 2},
    {"lt", t_lt, "a b", 2}, {"lessthan", t_lt, "a b", 2}, {"<", t_lt, "a b", 2}, {"le", t_le, "a b", 2}, {"<=", t_le, "a b", 2},
    {"gt", t_gt, "a b", 2}, {"greaterthan", t_gt, "a b", 2}, {">", t_gt, "a b", 2}, {"ge", t_ge, "a b", 2}, {">=", t_ge, "a b", 2},
    {0},
};

const jrow *jinja_test(const char *name, size_t n) { return jrow_find(tests, name, n); }

/* ---- globals ---- */

static ry_status g_range(jrun *r, jv *a, const jargs *all, jv *out) {
    int64_t part[3] = {0, 0, 1};
    (void)a;
    if (all->keys || all->n > 3) return jrun_fail(r, RY_EARG, "range takes one to three integers");
    for (size_t i = 0; i < all->n; i++) RY_TRY(jv_need_int(r, all->at[i], "range", &part[all->n == 1 ? 1 : i]));
    if (!part[2]) return jrun_fail(r, RY_EARG, "range: a step of 0");
    uint64_t width = part[2] < 0 ? 0 - (uint64_t)part[2] : (uint64_t)part[2];
    uint64_t far = part[2] > 0 ? (part[1] > part[0] ? (uint64_t)part[1] - (uint64_t)part[0] : 0) : (part[0] > part[1] ? (uint64_t)part[0] - (uint64_t)part[1] : 0);
    uint64_t n = far ? (far - 1) / width + 1 : 0;
    if (n > JINJA_MAX_RANGE) return jrun_fail(r, RY_EUNSUPPORTED, "limit: a range of more than %d numbers", (int)JINJA_MAX_RANGE);
    jrange *g = JRUN_NEW(r, jrange, 1);
    if (!g) return jrun_nomem(r);
    *g = (jrange){part[0], part[1], part[2], (int64_t)n};
    *out = (jv){.kind = JV_RANGE, .range = g};
    return RY_OK;
}

static ry_status g_dict(jrun *r, jv *a, const jargs *all, jv *out) { /* of a dict or of pairs, then named values */
    (void)a;
    if (all->n > 1) return jrun_fail(r, RY_EARG, "dict takes one value and named ones");
    RY_TRY(jv_dict(r, out, 0));
    if (all->n) {
        jiter *it = NULL;
        jv from = all->at[0], x, pair;
        bool more;
        if (from.kind == JV_DICT) from.kind = JV_VIEW, from.which = JVIEW_ITEMS;
        RY_TRY(jiter_open(r, from, &it));
        for (;;) {
            RY_TRY(jiter_next(r, it, &x, &more));
            if (!more) break;
            RY_TRY(jv_collect(r, x, &pair));
            if (pair.list->n != 2) return jrun_fail(r, RY_EARG, "dict needs pairs");
            RY_TRY(jdict_put(r, out->dict, pair.list->at[0], pair.list->at[1]));
        }
    }
    for (size_t i = 0; i < all->keys; i++) {
        jv key;
        RY_TRY(jv_text(r, &key, all->key[i].text, all->key[i].n));
        RY_TRY(jdict_put(r, out->dict, key, all->key[i].value));
    }
    return RY_OK;
}

static ry_status g_namespace(jrun *r, jv *a, const jargs *all, jv *out) {
    RY_TRY(g_dict(r, a, all, out));
    for (size_t i = 0; i < out->dict->n; i++) {
        const jv *k = &out->dict->at[i].key;
        if (k->kind == JV_TEXT && k->text->n && k->text->at[0] == '_') return jrun_fail(r, RY_EARG, "the sandbox refuses a namespace's attribute that begins with _");
    }
    out->kind = JV_SPACE;
    return RY_OK;
}

static ry_status make_cycler(jrun *r, jkind kind, jv *out) {
    jcycler *c = JRUN_NEW(r, jcycler, 1);
    if (!c) return jrun_nomem(r);
    *out = (jv){.kind = (uint8_t)kind, .cycler = c};
    return RY_OK;
}

static ry_status g_cycler(jrun *r, jv *a, const jargs *all, jv *out) {
    jv items;
    (void)a;
    if (!all->n || all->keys) return jrun_fail(r, RY_EARG, "cycler needs values");
    RY_TRY(make_cycler(r, JV_CYCLER, out));
    RY_TRY(jv_list(r, &items, JV_TUPLE, all->n));
    for (size_t i = 0; i < all->n; i++) RY_TRY(jlist_push(r, items.list, all->at[i]));
    out->cycler->items = items.list;
    return RY_OK;
}

static ry_status g_joiner(jrun *r, jv *a, const jargs *all, jv *out) {
    (void)all;
    RY_TRY(make_cycler(r, JV_JOINER, out));
    out->cycler->sep = a[0];
    return a[0].kind == JV_MISSING ? JV_LITERAL(r, &out->cycler->sep, ", ") : RY_OK;
}

static ry_status g_raise(jrun *r, jv *a, const jargs *all, jv *out) {
    jtext *t;
    (void)all, (void)out;
    RY_TRY(jv_plain(r, a[0], &t));
    return jrun_fail(r, RY_EARG, "the template says: %.*s", (int)(t->n > 400 ? 400 : t->n), t->at);
}

static ry_status g_strftime(jrun *r, jv *a, const jargs *all, jv *out) {
    jtext *t;
    (void)all;
    RY_TRY(jv_need_text(r, a[0], "strftime_now", &t));
    return jinja_strftime(r, t, out);
}

static ry_status g_lipsum(jrun *r, jv *a, const jargs *all, jv *out) { return (void)a, (void)all, (void)out, jrun_fail(r, RY_EUNSUPPORTED, "lipsum is not supported"); }

static const jrow globals[] = {
    {"range", g_range, "*", 1}, {"dict", g_dict, "*", 0}, {"namespace", g_namespace, "*", 0}, {"cycler", g_cycler, "*", 0}, {"joiner", g_joiner, "sep", 0},
    {"raise_exception", g_raise, "message", 1}, {"strftime_now", g_strftime, "format", 1}, {"lipsum", g_lipsum, "*", 0}, {0},
};

const jrow *jinja_global(const char *name, size_t n) { return jrow_find(globals, name, n); }
