/* filters.c - Jinja's filters, but those that give generators (iter.c) or numbers (numbers.c).  Owns the table of the others.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#builtin-filters, and transformers for tojson. */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <string.h>

#define FILTER(name) static ry_status name(jrun *r, jv *a, const jargs *all, jv *out)
#define GIVEN(v) ((v).kind != JV_MISSING)

static ry_status truth(jrun *r, jv v, bool *out) { /* an argument that is false where not given */
    *out = false;
    return GIVEN(v) ? jv_true(r, v, out) : RY_OK;
}

static ry_status method_of(jrun *r, const char *name, const jargs *all, jv *out) { /* str(value).name(...) */
    jargs args = *all;
    args.at = JRUN_NEW(r, jv, all->n);
    if (!args.at) return jrun_nomem(r);
    memcpy(args.at, all->at, all->n * sizeof *all->at);
    RY_TRY(jv_str(r, all->at[0], &args.at[0]));
    return jinja_call_row(r, jinja_method(args.at[0], name, strlen(name)), &args, out);
}

FILTER(f_upper) { return (void)a, method_of(r, "upper", all, out); }
FILTER(f_lower) { return (void)a, method_of(r, "lower", all, out); }
FILTER(f_capitalize) { return (void)a, method_of(r, "capitalize", all, out); }

FILTER(f_trim) {
    jv list[2] = {a[0], GIVEN(a[1]) ? a[1] : JV_NOTHING};
    (void)all;
    return method_of(r, "strip", &(jargs){.at = list, .n = 2}, out);
}

FILTER(f_center) {
    jv list[2] = {a[0], GIVEN(a[1]) ? a[1] : jv_int(80)};
    (void)all;
    return method_of(r, "center", &(jargs){.at = list, .n = 2}, out);
}

FILTER(f_replace) { /* of plain texts: the result is one too */
    jv list[4] = {a[0], {0}, {0}, GIVEN(a[3]) && a[3].kind != JV_NONE ? a[3] : jv_int(-1)};
    (void)all;
    RY_TRY(jv_str(r, a[0], &list[0]));
    list[0].safe = false;
    RY_TRY(jv_str(r, a[1], &list[1]));
    RY_TRY(jv_str(r, a[2], &list[2]));
    return method_of(r, "replace", &(jargs){.at = list, .n = 4}, out);
}

FILTER(f_title) { /* other words than str.title's: they begin after white space, - and opening brackets */
    jbuf b = {0};
    jtext *t, rest = {0};
    bool begins = true;
    (void)all;
    RY_TRY(jv_plain(r, a[0], &t));
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; i < t->n;) {
        int32_t cp;
        size_t len = utf8_next(t->at + i, t->n - i, &cp);
        bool between = cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || juni_space(cp);
        if (begins) RY_TRY(jbuf_case(r, &b, t, i, cp, JCASE_UPPER));
        else RY_TRY(jbuf_case(r, &b, &rest, i - (t->n - rest.n), cp, JCASE_LOWER));
        i += len;
        if (begins) rest = (jtext){.at = t->at + i, .n = t->n - i}; /* a word's rest is made small as a text of its own */
        begins = between;
    }
    return jv_text_buf(r, out, &b);
}

FILTER(f_length) {
    int64_t n;
    (void)all;
    RY_TRY(jv_length(r, a[0], &n));
    *out = jv_int(n);
    return RY_OK;
}

FILTER(f_default) {
    bool instead = a[0].kind == JV_UNDEF, by_truth, yes;
    (void)all;
    RY_TRY(truth(r, a[2], &by_truth));
    if (!instead && by_truth) {
        RY_TRY(jv_true(r, a[0], &yes));
        instead = !yes;
    }
    *out = instead ? a[1] : a[0];
    if (!GIVEN(*out)) return JV_LITERAL(r, out, "");
    return RY_OK;
}

FILTER(f_list) { return (void)all, jv_collect(r, a[0], out); }

FILTER(f_string) { return (void)all, jv_str(r, a[0], out); }

FILTER(f_join) {
    jiter *it = NULL;
    jv x;
    bool more, first = true;
    jbuf b = {0};
    jtext *between = NULL;
    (void)all;
    if (GIVEN(a[1])) RY_TRY(jv_plain(r, a[1], &between));
    RY_TRY(jiter_open(r, a[0], &it));
    for (;; first = false) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) break;
        if (GIVEN(a[2])) RY_TRY(jinja_path(r, x, a[2], (jv){0}, &x));
        if (!first && between) RY_TRY(jbuf_add(r, &b, between->at, between->n));
        RY_TRY(jbuf_str(r, &b, x));
    }
    return jv_text_buf(r, out, &b);
}

FILTER(f_first) {
    jiter *it = NULL;
    bool more;
    (void)all;
    RY_TRY(jiter_open(r, a[0], &it));
    RY_TRY(jiter_next(r, it, out, &more));
    return more ? RY_OK : jv_undefined(r, out, false, "no first item: the sequence is empty");
}

FILTER(f_last) {
    int64_t n;
    (void)all;
    if (a[0].kind == JV_ITER || a[0].kind == JV_LOOP) return jrun_fail(r, RY_EARG, "a %s has no last item", jv_type(a[0]));
    RY_TRY(jv_length(r, a[0], &n));
    if (!n) return jv_undefined(r, out, false, "no last item: the sequence is empty");
    if (a[0].kind != JV_DICT && a[0].kind != JV_VIEW) return jinja_item(r, a[0], jv_int(-1), out);
    const jpair *p = &a[0].dict->at[n - 1];
    if (a[0].kind == JV_VIEW && a[0].which == JVIEW_ITEMS) return jdict_pair(r, p, out);
    *out = a[0].kind == JV_VIEW && a[0].which == JVIEW_VALUES ? p->value : p->key;
    return RY_OK;
}

/* ---- order ---- */

typedef struct sortable { jv item, key; } sortable;

static ry_status fold(jrun *r, jv *v) { return v->kind == JV_TEXT ? jtext_case(r, v->text, JCASE_LOWER, v) : RY_OK; }

/* A stable merge sort, which may fail at a comparison. */
static ry_status merge_sort(jrun *r, sortable *x, sortable *spare, size_t n, bool reverse) {
    if (n < 2) return RY_OK;
    size_t half = n / 2, i = 0, k = half, to = 0;
    RY_TRY(merge_sort(r, x, spare, half, reverse));
    RY_TRY(merge_sort(r, x + half, spare, n - half, reverse));
    while (i < half && k < n) {
        bool later;
        if (reverse) RY_TRY(jv_less(r, x[i].key, x[k].key, JO_LT, &later));
        else RY_TRY(jv_less(r, x[k].key, x[i].key, JO_LT, &later));
        spare[to++] = later ? x[k++] : x[i++];
    }
    while (i < half) spare[to++] = x[i++];
    memcpy(x, spare, to * sizeof *x);
    return RY_OK;
}

/* The items of `value` with their keys: an attribute (several, joined by commas, if many), folded in case unless exact. */
static ry_status keyed(jrun *r, jv value, jv attribute, jv standby, bool many, bool exact, sortable **out, size_t *n) {
    jv list;
    RY_TRY(jv_collect(r, value, &list));
    *n = list.list->n;
    sortable *x = JRUN_NEW(r, sortable, *n ? *n : 1);
    if (!x) return jrun_nomem(r);
    for (size_t i = 0; i < *n; i++) {
        x[i].item = list.list->at[i];
        x[i].key = x[i].item;
        if (GIVEN(attribute) && attribute.kind == JV_TEXT && many) {
            const char *s = attribute.text->at, *end = s + attribute.text->n;
            RY_TRY(jv_list(r, &x[i].key, JV_LIST, 0));
            for (;;) {
                const char *comma = memchr(s, ',', (size_t)(end - s));
                jv part, v;
                RY_TRY(jv_text(r, &part, s, (size_t)((comma ? comma : end) - s)));
                RY_TRY(jinja_path(r, x[i].item, part, standby, &v));
                if (!exact) RY_TRY(fold(r, &v));
                RY_TRY(jlist_push(r, x[i].key.list, v));
                if (!comma) break;
                s = comma + 1;
            }
        } else {
            if (GIVEN(attribute)) RY_TRY(jinja_path(r, x[i].item, attribute, standby, &x[i].key));
            if (!exact) RY_TRY(fold(r, &x[i].key));
        }
    }
    *out = x;
    return RY_OK;
}

static ry_status in_order(jrun *r, sortable *x, size_t n, bool reverse) {
    sortable *spare = JRUN_NEW(r, sortable, n ? n : 1);
    return spare ? merge_sort(r, x, spare, n, reverse) : jrun_nomem(r);
}

static ry_status items_of(jrun *r, const sortable *x, size_t n, jv *out) {
    RY_TRY(jv_list(r, out, JV_LIST, n));
    for (size_t i = 0; i < n; i++) out->list->at[i] = x[i].item;
    out->list->n = n;
    return RY_OK;
}

FILTER(f_sort) { /* value reverse case_sensitive attribute */
    bool reverse, exact;
    sortable *x;
    size_t n;
    (void)all;
    RY_TRY(truth(r, a[1], &reverse));
    RY_TRY(truth(r, a[2], &exact));
    RY_TRY(keyed(r, a[0], a[3], (jv){0}, true, exact, &x, &n));
    RY_TRY(in_order(r, x, n, reverse));
    return items_of(r, x, n, out);
}

FILTER(f_dictsort) { /* value case_sensitive by reverse */
    bool reverse, exact, by_value = false;
    sortable *x;
    size_t n;
    (void)all;
    RY_TRY(truth(r, a[1], &exact));
    RY_TRY(truth(r, a[3], &reverse));
    if (GIVEN(a[2])) {
        jtext *by;
        RY_TRY(jv_need_text(r, a[2], "dictsort's by", &by));
        by_value = by->n == 5 && !memcmp(by->at, "value", 5);
        if (!by_value && !(by->n == 3 && !memcmp(by->at, "key", 3))) return jrun_fail(r, RY_EARG, "dictsort is by 'key' or by 'value'");
    }
    if (a[0].kind == JV_UNDEF) return jv_no_undefined(r, a[0]);
    if (a[0].kind != JV_DICT) return jrun_fail(r, RY_EARG, "dictsort needs a dict, not %s", jv_type(a[0]));
    jv items = {.kind = JV_VIEW, .which = JVIEW_ITEMS, .dict = a[0].dict};
    RY_TRY(keyed(r, items, jv_int(by_value), (jv){0}, false, exact, &x, &n));
    RY_TRY(in_order(r, x, n, reverse));
    return items_of(r, x, n, out);
}

static ry_status most(jrun *r, jv *a, jop op, jv *out) { /* value case_sensitive attribute */
    bool exact, better;
    sortable *x;
    size_t n, best = 0;
    RY_TRY(truth(r, a[1], &exact));
    RY_TRY(keyed(r, a[0], a[2], (jv){0}, false, exact, &x, &n));
    if (!n) return jv_undefined(r, out, false, "no aggregated item: the sequence is empty");
    for (size_t i = 1; i < n; i++) {
        RY_TRY(jv_less(r, x[i].key, x[best].key, op, &better));
        if (better) best = i;
    }
    *out = x[best].item;
    return RY_OK;
}
FILTER(f_min) { return (void)all, most(r, a, JO_LT, out); }
FILTER(f_max) { return (void)all, most(r, a, JO_GT, out); }

FILTER(f_groupby) { /* value attribute default case_sensitive */
    bool exact, same;
    sortable *x;
    size_t n;
    jv standby = GIVEN(a[2]) && a[2].kind != JV_NONE ? a[2] : (jv){0};
    (void)all;
    RY_TRY(truth(r, a[3], &exact));
    RY_TRY(keyed(r, a[0], a[1], standby, false, exact, &x, &n));
    RY_TRY(in_order(r, x, n, false));
    RY_TRY(jv_list(r, out, JV_LIST, 0));
    for (size_t i = 0; i < n;) {
        jv pair, group, key = x[i].key;
        RY_TRY(jv_list(r, &group, JV_LIST, 0));
        if (!exact) RY_TRY(jinja_path(r, x[i].item, a[1], standby, &key)); /* as the first item spells it */
        for (size_t first = i; i < n; i++) {
            RY_TRY(jv_equal(r, x[first].key, x[i].key, &same));
            if (!same) break;
            RY_TRY(jlist_push(r, group.list, x[i].item));
        }
        RY_TRY(jdict_pair(r, &(jpair){.key = key, .value = group}, &pair));
        pair.list->group = true;
        RY_TRY(jlist_push(r, out->list, pair));
    }
    return RY_OK;
}

/* ---- texts ---- */

FILTER(f_format) {
    (void)a;
    jv list, value;
    RY_TRY(jv_str(r, all->at[0], &value));
    if (all->keys && all->n > 1) return jrun_fail(r, RY_EARG, "format takes values or named values, not both");
    if (all->keys) {
        RY_TRY(jv_dict(r, &list, all->keys));
        for (size_t i = 0; i < all->keys; i++) {
            jv key;
            RY_TRY(jv_text(r, &key, all->key[i].text, all->key[i].n));
            RY_TRY(jdict_put(r, list.dict, key, all->key[i].value));
        }
    } else {
        RY_TRY(jv_list(r, &list, JV_TUPLE, all->n));
        for (size_t i = 1; i < all->n; i++) RY_TRY(jlist_push(r, list.list, all->at[i]));
    }
    return jinja_percent(r, value, list, out);
}

FILTER(f_indent) { /* s width first blank */
    jtext *t, *by = NULL;
    jv lines, spaces;
    int64_t width = 4;
    bool first, blank;
    jbuf b = {0};
    (void)all;
    RY_TRY(truth(r, a[2], &first));
    RY_TRY(truth(r, a[3], &blank));
    if (GIVEN(a[1]) && a[1].kind == JV_TEXT) by = a[1].text;
    else {
        if (GIVEN(a[1])) RY_TRY(jv_need_int(r, a[1], "indent", &width));
        RY_TRY(JV_LITERAL(r, &spaces, " "));
        RY_TRY(jv_binary(r, JO_MUL, spaces, jv_int(width), &spaces));
        by = spaces.text;
    }
    RY_TRY(jv_need_text(r, a[0], "indent", &t));
    jv text = {.kind = JV_TEXT, .text = t}, newline;
    RY_TRY(JV_LITERAL(r, &newline, "\n"));
    RY_TRY(jv_binary(r, JO_ADD, text, newline, &text));
    RY_TRY(jinja_call_row(r, jinja_method(text, "splitlines", 10), &(jargs){.at = &text, .n = 1}, &lines));
    for (size_t i = 0; i < lines.list->n; i++) {
        const jtext *line = lines.list->at[i].text;
        if (i) RY_TRY(jbuf_add(r, &b, "\n", 1));
        if (i ? blank || line->n : first) RY_TRY(jbuf_add(r, &b, by->at, by->n));
        RY_TRY(jbuf_add(r, &b, line->at, line->n));
    }
    RY_TRY(jv_text_buf(r, out, &b));
    out->safe = a[0].safe;
    return RY_OK;
}

FILTER(f_truncate) { /* s length killwords end leeway */
    jtext *t, *end;
    int64_t length = 255, leeway = 5, n_items;
    bool kill;
    jv mark;
    jbuf b = {0};
    (void)all;
    RY_TRY(truth(r, a[2], &kill));
    if (GIVEN(a[1])) RY_TRY(jv_need_int(r, a[1], "truncate", &length));
    if (GIVEN(a[4]) && a[4].kind != JV_NONE) RY_TRY(jv_need_int(r, a[4], "truncate's leeway", &leeway));
    RY_TRY(JV_LITERAL(r, &mark, "..."));
    if (GIVEN(a[3])) mark = a[3];
    RY_TRY(jv_need_text(r, mark, "truncate's end", &end));
    if (length < (int64_t)jtext_chars(end) || leeway < 0) return jrun_fail(r, RY_EARG, "truncate: the length must reach for the end mark, the leeway cannot be negative");
    RY_TRY(jv_length(r, a[0], &n_items)); /* what is short enough need not be a text */
    *out = a[0];
    if (leeway > INT32_MAX || length > INT32_MAX || n_items <= length + leeway) return RY_OK;
    RY_TRY(jv_need_text(r, a[0], "truncate", &t));
    size_t n = jtext_offset(t, (size_t)length - jtext_chars(end)), cut = n;
    while (!kill && cut && t->at[cut - 1] != ' ') cut--;
    if (!kill && cut) n = cut - 1;
    RY_TRY(jbuf_add(r, &b, t->at, n));
    RY_TRY(jbuf_add(r, &b, end->at, end->n));
    return jv_text_buf(r, out, &b);
}

FILTER(f_wordcount) {
    jtext *t;
    int64_t words = 0;
    bool in = false;
    (void)all;
    RY_TRY(jv_plain(r, a[0], &t));
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; i < t->n;) {
        int32_t cp;
        i += utf8_next(t->at + i, t->n - i, &cp);
        bool word = juni_word(cp);
        words += word && !in;
        in = word;
    }
    *out = jv_int(words);
    return RY_OK;
}

static ry_status quote(jrun *r, jbuf *b, jv v, bool query) {
    jtext *t;
    RY_TRY(jv_plain(r, v, &t));
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; i < t->n; i++) {
        unsigned char c = (unsigned char)t->at[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("_.-~", c)) || (c == '/' && !query);
        if (query && c == ' ') RY_TRY(jbuf_puts(r, b, "+"));
        else if (plain) RY_TRY(jbuf_add(r, b, t->at + i, 1));
        else RY_TRY(jbuf_printf(r, b, "%%%02X", c));
    }
    return RY_OK;
}

FILTER(f_urlencode) {
    jbuf b = {0};
    (void)all;
    if (a[0].kind == JV_TEXT || !jv_can_iterate(a[0])) RY_TRY(quote(r, &b, a[0], false));
    else {
        jiter *it = NULL;
        jv x, pair;
        bool more;
        if (a[0].kind == JV_DICT) a[0].kind = JV_VIEW, a[0].which = JVIEW_ITEMS;
        RY_TRY(jiter_open(r, a[0], &it));
        for (bool first = true;; first = false) {
            RY_TRY(jiter_next(r, it, &x, &more));
            if (!more) break;
            RY_TRY(jv_collect(r, x, &pair));
            if (pair.list->n != 2) return jrun_fail(r, RY_EARG, "urlencode needs pairs");
            if (!first) RY_TRY(jbuf_puts(r, &b, "&"));
            RY_TRY(quote(r, &b, pair.list->at[0], true));
            RY_TRY(jbuf_puts(r, &b, "="));
            RY_TRY(quote(r, &b, pair.list->at[1], true));
        }
    }
    return jv_text_buf(r, out, &b);
}

static ry_status escape(jrun *r, jv v, bool again, jv *out) {
    jtext *t;
    jbuf b = {0};
    RY_TRY(jv_plain(r, v, &t));
    if (v.safe && !again) *out = v;
    else {
        RY_TRY(jbuf_escape(r, &b, t->at, t->n));
        RY_TRY(jv_text_buf(r, out, &b));
    }
    out->safe = true;
    return RY_OK;
}
FILTER(f_escape) { return (void)all, escape(r, a[0], false, out); }
FILTER(f_forceescape) { return (void)all, escape(r, a[0], true, out); }
FILTER(f_safe) {
    (void)all;
    RY_TRY(jv_str(r, a[0], out));
    out->safe = true;
    return RY_OK;
}

FILTER(f_xmlattr) {
    bool space = true, first = true;
    jbuf b = {0};
    (void)all;
    if (GIVEN(a[1])) RY_TRY(jv_true(r, a[1], &space));
    if (a[0].kind == JV_UNDEF) return jv_no_undefined(r, a[0]);
    if (a[0].kind != JV_DICT) return jrun_fail(r, RY_EARG, "xmlattr needs a dict, not %s", jv_type(a[0]));
    for (size_t i = 0; i < a[0].dict->n; i++) {
        const jpair *p = &a[0].dict->at[i];
        jtext *key;
        jv k, v;
        if (p->value.kind == JV_NONE || p->value.kind == JV_UNDEF) continue;
        RY_TRY(jv_need_text(r, p->key, "a key of xmlattr", &key));
        for (size_t c = 0; c < key->n; c++)
            if (strchr(" \t\n\r\f\v/>=", key->at[c]) && key->at[c]) return jrun_fail(r, RY_EARG, "xmlattr: a key with white space, /, > or =");
        RY_TRY(escape(r, p->key, false, &k));
        RY_TRY(escape(r, p->value, false, &v));
        if (!first || space) RY_TRY(jbuf_puts(r, &b, " "));
        first = false;
        RY_TRY(jbuf_str(r, &b, k));
        RY_TRY(jbuf_puts(r, &b, "=\""));
        RY_TRY(jbuf_str(r, &b, v));
        RY_TRY(jbuf_puts(r, &b, "\""));
    }
    return jv_text_buf(r, out, &b);
}

FILTER(f_attr) { /* an attribute only, never an item */
    jtext *name;
    jv hidden = a[0];
    (void)all;
    RY_TRY(jv_need_text(r, a[1], "attr", &name));
    if (a[0].kind == JV_DICT) { /* an empty one has the same attributes */
        RY_TRY(jv_dict(r, &hidden, 0));
        RY_TRY(jinja_attr(r, hidden, name->at, name->n, out));
        if (out->kind == JV_METHOD) out->method->self = a[0];
        return RY_OK;
    }
    return jinja_attr(r, a[0], name->at, name->n, out);
}

FILTER(f_tojson) { /* value ensure_ascii indent separators sort_keys */
    jjson o = {0};
    jbuf b = {0};
    jv s;
    (void)all;
    RY_TRY(truth(r, a[1], &o.ascii));
    RY_TRY(truth(r, a[4], &o.sort));
    if (GIVEN(a[2]) && a[2].kind != JV_NONE) {
        int64_t n = 0;
        if (a[2].kind != JV_TEXT) {
            RY_TRY(jv_need_int(r, a[2], "tojson's indent", &n));
            RY_TRY(JV_LITERAL(r, &s, " "));
            RY_TRY(jv_binary(r, JO_MUL, s, jv_int(n), &s));
            o.indent = s.text;
        } else o.indent = a[2].text;
    }
    if (o.indent) RY_TRY(JV_LITERAL(r, &s, ","));
    else RY_TRY(JV_LITERAL(r, &s, ", "));
    o.item = s.text;
    RY_TRY(JV_LITERAL(r, &s, ": "));
    o.key = s.text;
    if (GIVEN(a[3]) && a[3].kind != JV_NONE) {
        RY_TRY(jv_collect(r, a[3], &s));
        if (s.list->n != 2) return jrun_fail(r, RY_EARG, "tojson: separators are two");
        RY_TRY(jv_need_text(r, s.list->at[0], "tojson's separators", &o.item));
        RY_TRY(jv_need_text(r, s.list->at[1], "tojson's separators", &o.key));
    }
    RY_TRY(jbuf_json(r, &b, a[0], &o, 0));
    return jv_text_buf(r, out, &b);
}

FILTER(f_refused) { return (void)a, (void)all, (void)out, jrun_fail(r, RY_EUNSUPPORTED, "the filters random, urlize, wordwrap and striptags of several lines are not supported"); }

FILTER(f_pprint) {
    jbuf b = {0};
    (void)all;
    RY_TRY(jbuf_repr(r, &b, a[0]));
    if (b.n > 80) return jrun_fail(r, RY_EUNSUPPORTED, "pprint of more than a line is not supported");
    return jv_text_buf(r, out, &b);
}

FILTER(f_striptags) { /* markup out, white space to single spaces, entities undone */
    static const struct { const char *name, *is; } entities[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&#34;", "\""}, {"&quot;", "\""}, {"&#39;", "'"}, {"&nbsp;", "\xC2\xA0"}};
    jtext *t;
    jbuf plain = {0}, b = {0};
    (void)all;
    RY_TRY(jv_plain(r, a[0], &t));
    RY_TRY(jrun_step(r, t->n));
    for (size_t i = 0, end; i < t->n;) {
        bool comment = t->n - i >= 4 && !memcmp(t->at + i, "<!--", 4);
        end = t->at[i] == '<' ? jtext_search(t->at + i, t->n - i, comment ? "-->" : ">", comment ? 3 : 1) : SIZE_MAX;
        if (end == SIZE_MAX && t->at[i] == '<') { /* nothing closes it: all that follows is text */
            RY_TRY(jbuf_add(r, &plain, t->at + i, t->n - i));
            break;
        }
        if (end != SIZE_MAX) i += end + (comment ? 3 : 1);
        else RY_TRY(jbuf_add(r, &plain, t->at + i++, 1));
    }
    bool gap = false;
    for (size_t i = 0; i < plain.n;) {
        int32_t cp;
        size_t len = utf8_next(plain.at + i, plain.n - i, &cp), k = 0;
        if (juni_space(cp)) {
            gap = b.n != 0;
            i += len;
            continue;
        }
        if (gap) RY_TRY(jbuf_add(r, &b, " ", 1));
        gap = false;
        for (k = 0; cp == '&' && k < sizeof entities / sizeof *entities; k++)
            if (strlen(entities[k].name) <= plain.n - i && !memcmp(entities[k].name, plain.at + i, strlen(entities[k].name))) break;
        bool entity = cp == '&' && k < sizeof entities / sizeof *entities;
        RY_TRY(entity ? jbuf_puts(r, &b, entities[k].is) : jbuf_add(r, &b, plain.at + i, len));
        i += entity ? strlen(entities[k].name) : len;
    }
    return jv_text_buf(r, out, &b);
}

static const jrow rows[] = {
    {"attr", f_attr, "obj name", 2},
    {"capitalize", f_capitalize, "s", 1},
    {"center", f_center, "value width", 1},
    {"count", f_length, "value", 1},
    {"d", f_default, "value default_value boolean", 1},
    {"default", f_default, "value default_value boolean", 1},
    {"dictsort", f_dictsort, "value case_sensitive by reverse", 1},
    {"e", f_escape, "s", 1},
    {"escape", f_escape, "s", 1},
    {"first", f_first, "seq", 1},
    {"forceescape", f_forceescape, "value", 1},
    {"format", f_format, "*", 1},
    {"groupby", f_groupby, "value attribute default case_sensitive", 2},
    {"indent", f_indent, "s width first blank", 1},
    {"join", f_join, "value d attribute", 1},
    {"last", f_last, "seq", 1},
    {"length", f_length, "value", 1},
    {"list", f_list, "value", 1},
    {"lower", f_lower, "s", 1},
    {"max", f_max, "value case_sensitive attribute", 1},
    {"min", f_min, "value case_sensitive attribute", 1},
    {"pprint", f_pprint, "value", 1},
    {"random", f_refused, "*", 1},
    {"replace", f_replace, "s old new count", 3},
    {"safe", f_safe, "value", 1},
    {"sort", f_sort, "value reverse case_sensitive attribute", 1},
    {"string", f_string, "value", 1},
    {"striptags", f_striptags, "value", 1},
    {"title", f_title, "s", 1},
    {"tojson", f_tojson, "x ensure_ascii indent separators sort_keys", 1},
    {"trim", f_trim, "value chars", 1},
    {"truncate", f_truncate, "s length killwords end leeway", 1},
    {"upper", f_upper, "s", 1},
    {"urlencode", f_urlencode, "value", 1},
    {"urlize", f_refused, "*", 1},
    {"wordcount", f_wordcount, "s", 1},
    {"wordwrap", f_refused, "*", 1},
    {"xmlattr", f_xmlattr, "d autospace", 1},
    {0},
};

const jrow *jrow_find(const jrow *table, const char *name, size_t n) {
    for (; table->name; table++)
        if (strlen(table->name) == n && !memcmp(table->name, name, n)) return table;
    return NULL;
}

const jrow *jinja_filter(const char *name, size_t n) {
    const jrow *row = jrow_find(jinja_lazy, name, n);
    if (!row) row = jrow_find(jinja_numeric, name, n);
    return row ? row : jrow_find(rows, name, n);
}
