/* methods.c - the methods of texts, lists, dicts, ranges, loops and cyclers that a template may call.  Owns their tables.
 * Source: https://docs.python.org/3/library/stdtypes.html */
#include "io/template/jinja.h"
#include "io/utf8.h"
#include <string.h>

#define METHOD(name) static ry_status name(jrun *r, jv *a, const jargs *all, jv *out)
#define GIVEN(v) ((v).kind != JV_MISSING && (v).kind != JV_NONE)

static ry_status cased(jrun *r, jv *a, jcase to, jv *out) {
    RY_TRY(jtext_case(r, a[0].text, to, out));
    out->safe = a[0].safe;
    return RY_OK;
}
METHOD(m_upper) { return (void)all, cased(r, a, JCASE_UPPER, out); }
METHOD(m_lower) { return (void)all, cased(r, a, JCASE_LOWER, out); }

METHOD(m_casefold) { /* the small letters of the capitals: ss of an eszett, one sigma for both */
    const jtext *t = a[0].text;
    jbuf b = {0};
    (void)all;
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; i < t->n;) {
        int32_t cp, up[3], low[3];
        i += utf8_next(t->at + i, t->n - i, &cp);
        int n = juni_case(up, cp, JCASE_UPPER);
        for (int k = 0; k < n; k++) {
            int m = juni_case(low, up[k], JCASE_LOWER);
            for (int j = 0; j < m; j++) RY_TRY(jbuf_char(r, &b, low[j]));
        }
    }
    return jv_text_buf(r, out, &b);
}

/* first: only the text's first character begins a word; swap: swapcase. */
static ry_status recase(jrun *r, const jv *a, bool first, bool swap, jv *out) {
    const jtext *t = a[0].text;
    jbuf b = {0};
    bool before = false;
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; i < t->n;) {
        int32_t cp;
        size_t len = utf8_next(t->at + i, t->n - i, &cp);
        bool begins = first ? i == 0 : !before;
        RY_TRY(jbuf_case(r, &b, t, i, cp, swap ? (juni_upper(cp) ? JCASE_LOWER : JCASE_UPPER) : begins ? JCASE_TITLE : JCASE_LOWER));
        before = juni_cased(cp);
        i += len;
    }
    RY_TRY(jv_text_buf(r, out, &b));
    out->safe = a[0].safe;
    return RY_OK;
}
METHOD(m_title) { return (void)all, recase(r, a, false, false, out); }
METHOD(m_capitalize) { return (void)all, recase(r, a, true, false, out); }
METHOD(m_swapcase) { return (void)all, recase(r, a, true, true, out); }

/* ---- ends ---- */

static bool has_char(const jtext *set, int32_t cp) {
    for (size_t i = 0; i < set->n;) {
        int32_t x;
        i += utf8_next(set->at + i, set->n - i, &x);
        if (x == cp) return true;
    }
    return false;
}

static ry_status strip(jrun *r, jv *a, bool left, bool right, jv *out) {
    const jtext *t = a[0].text;
    jtext *set = NULL;
    size_t from = 0, to = t->n;
    int32_t cp;
    if (GIVEN(a[1])) RY_TRY(jv_need_text(r, a[1], "strip", &set));
    RY_TRY(jrun_step(r, set ? t->n / 16 * (1 + set->n / 16) : t->n / 64));
    while (left && from < to) {
        size_t len = utf8_next(t->at + from, to - from, &cp);
        if (set ? !has_char(set, cp) : !juni_space(cp)) break;
        from += len;
    }
    while (right && to > from) {
        size_t k = to - 1;
        while (k > from && ((unsigned char)t->at[k] & 0xC0) == 0x80) k--;
        utf8_next(t->at + k, to - k, &cp);
        if (set ? !has_char(set, cp) : !juni_space(cp)) break;
        to = k;
    }
    if (from == 0 && to == t->n) {
        *out = a[0];
        return RY_OK;
    }
    RY_TRY(jv_text(r, out, t->at + from, to - from));
    out->text->room = to == t->n ? NULL : t->room;
    out->safe = a[0].safe;
    return RY_OK;
}
METHOD(m_strip) { return (void)all, strip(r, a, true, true, out); }
METHOD(m_lstrip) { return (void)all, strip(r, a, true, false, out); }
METHOD(m_rstrip) { return (void)all, strip(r, a, false, true, out); }

/* text[start:end], as the searching methods take it; skipped: characters before it. */
static ry_status window(jrun *r, const jv *a, jv start, jv end, jtext *out, int64_t *skipped, bool *beyond) {
    jv part;
    int64_t n = (int64_t)jtext_chars(a[0].text), from = 0;
    *out = *a[0].text;
    *skipped = 0;
    *beyond = false;
    if (!GIVEN(start) && !GIVEN(end)) return RY_OK;
    if (GIVEN(start)) RY_TRY(jv_need_int(r, start, "start", &from));
    if (from < 0) from = from < -n ? 0 : from + n;
    *beyond = from > n;
    *skipped = from;
    RY_TRY(jinja_slice(r, a[0], GIVEN(start) ? start : JV_NOTHING, GIVEN(end) ? end : JV_NOTHING, JV_NOTHING, &part));
    *out = *part.text;
    return RY_OK;
}

static ry_status affix(jrun *r, jv *a, bool end, jv *out) {
    jtext w, *s;
    int64_t skipped;
    bool beyond, yes = false, many = a[1].kind == JV_TUPLE;
    RY_TRY(window(r, a, a[2], a[3], &w, &skipped, &beyond));
    for (size_t i = 0; i < (many ? a[1].list->n : 1) && !yes; i++) {
        RY_TRY(jrun_step(r, 1));
        RY_TRY(jv_need_text(r, many ? a[1].list->at[i] : a[1], end ? "endswith" : "startswith", &s));
        yes = !beyond && s->n <= w.n && !memcmp(end ? w.at + w.n - s->n : w.at, s->at, s->n);
    }
    *out = jv_bool(yes);
    return RY_OK;
}
METHOD(m_startswith) { return (void)all, affix(r, a, false, out); }
METHOD(m_endswith) { return (void)all, affix(r, a, true, out); }

static ry_status remove_affix(jrun *r, jv *a, bool end, jv *out) {
    const jtext *t = a[0].text;
    jtext *s;
    RY_TRY(jv_need_text(r, a[1], end ? "removesuffix" : "removeprefix", &s));
    *out = a[0];
    if (s->n > t->n || memcmp(end ? t->at + t->n - s->n : t->at, s->at, s->n)) return RY_OK;
    return jv_text(r, out, end ? t->at : t->at + s->n, t->n - s->n);
}
METHOD(m_removeprefix) { return (void)all, remove_affix(r, a, false, out); }
METHOD(m_removesuffix) { return (void)all, remove_affix(r, a, true, out); }

/* ---- searching ---- */

static ry_status last_place(jrun *r, const char *s, size_t n, const char *w, size_t m, size_t *at) {
    *at = SIZE_MAX;
    for (size_t i = n + 1; m <= n && i-- > 0;) {
        if (i > n - m) continue;
        if (i % 64 == 0) RY_TRY(jrun_step(r, 1 + m / 16));
        if (memcmp(s + i, w, m)) continue;
        *at = i;
        break;
    }
    return RY_OK;
}

static ry_status search(jrun *r, jv *a, bool last, bool needed, jv *out) {
    jtext w, *s;
    int64_t skipped;
    bool beyond;
    size_t at;
    RY_TRY(jv_need_text(r, a[1], "find or index", &s));
    RY_TRY(window(r, a, a[2], a[3], &w, &skipped, &beyond));
    if (last) RY_TRY(last_place(r, w.at, w.n, s->at, s->n, &at));
    else RY_TRY(jtext_find(r, w.at, w.n, s->at, s->n, &at));
    if (at == SIZE_MAX || beyond) {
        if (needed) return jrun_fail(r, RY_EARG, "index: the text is not in it");
        *out = jv_int(-1);
        return RY_OK;
    }
    jtext before = {.at = w.at, .n = at, .chars = SIZE_MAX};
    *out = jv_int(skipped + (int64_t)jtext_chars(&before));
    return RY_OK;
}
METHOD(m_find) { return (void)all, search(r, a, false, false, out); }
METHOD(m_rfind) { return (void)all, search(r, a, true, false, out); }
METHOD(m_index) { return (void)all, search(r, a, false, true, out); }
METHOD(m_rindex) { return (void)all, search(r, a, true, true, out); }

METHOD(m_count) {
    jtext w, *s;
    int64_t skipped, n = 0;
    bool beyond;
    (void)all;
    RY_TRY(jv_need_text(r, a[1], "count", &s));
    RY_TRY(window(r, a, a[2], a[3], &w, &skipped, &beyond));
    if (!s->n) n = beyond ? 0 : (int64_t)jtext_chars(&w) + 1;
    for (size_t from = 0, at; s->n; from += at + s->n, n++) {
        RY_TRY(jtext_find(r, w.at + from, w.n - from, s->at, s->n, &at));
        if (at == SIZE_MAX) break;
    }
    *out = jv_int(n);
    return RY_OK;
}

METHOD(m_replace) {
    const jtext *t = a[0].text;
    jtext *old, *to;
    int64_t most = -1;
    jbuf b = {0};
    size_t from = 0, at;
    (void)all;
    RY_TRY(jv_need_text(r, a[1], "replace", &old));
    RY_TRY(jv_need_text(r, a[2], "replace", &to));
    if (GIVEN(a[3])) RY_TRY(jv_need_int(r, a[3], "replace's count", &most));
    for (; most; most -= most > 0) {
        if (old->n) {
            RY_TRY(jtext_find(r, t->at + from, t->n - from, old->at, old->n, &at));
            if (at == SIZE_MAX) break;
            RY_TRY(jbuf_add(r, &b, t->at + from, at));
            RY_TRY(jbuf_add(r, &b, to->at, to->n));
            from += at + old->n;
        } else { /* before every character and at the end */
            int32_t cp;
            RY_TRY(jrun_step(r, 1));
            RY_TRY(jbuf_add(r, &b, to->at, to->n));
            if (from == t->n) break;
            size_t len = utf8_next(t->at + from, t->n - from, &cp);
            RY_TRY(jbuf_add(r, &b, t->at + from, len));
            from += len;
        }
    }
    if (!b.n && !from) {
        *out = a[0];
        return RY_OK;
    }
    RY_TRY(jbuf_add(r, &b, t->at + from, t->n - from));
    RY_TRY(jv_text_buf(r, out, &b));
    out->safe = a[0].safe;
    return RY_OK;
}

/* ---- cutting ---- */

static ry_status piece(jrun *r, jv list, const jtext *t, size_t from, size_t to) {
    jv x;
    RY_TRY(jv_text(r, &x, t->at + from, to - from));
    return jlist_push(r, list.list, x);
}

static void turn(jlist *l) {
    for (size_t i = 0; i < l->n / 2; i++) {
        jv x = l->at[i];
        l->at[i] = l->at[l->n - 1 - i], l->at[l->n - 1 - i] = x;
    }
}

static size_t before(const jtext *t, size_t to, int32_t *cp) { /* where the character before `to` begins */
    size_t k = to - 1;
    while (k && ((unsigned char)t->at[k] & 0xC0) == 0x80) k--;
    utf8_next(t->at + k, to - k, cp);
    return k;
}

static ry_status split_words(jrun *r, const jtext *t, int64_t most, jv out) {
    size_t i = 0;
    int32_t cp;
    for (;;) {
        while (i < t->n) {
            size_t len = utf8_next(t->at + i, t->n - i, &cp);
            if (!juni_space(cp)) break;
            i += len;
        }
        if (i == t->n) return RY_OK;
        size_t from = i;
        if (!most) i = t->n;
        while (i < t->n) {
            size_t len = utf8_next(t->at + i, t->n - i, &cp);
            if (juni_space(cp)) break;
            i += len;
        }
        if (!most) /* the rest, but for white space at its end */
            return piece(r, out, t, from, i);
        RY_TRY(piece(r, out, t, from, i));
        most -= most > 0;
    }
}

static ry_status rsplit_words(jrun *r, const jtext *t, int64_t most, jv out) {
    size_t i = t->n, k;
    int32_t cp;
    for (;;) {
        while (i && (k = before(t, i, &cp), juni_space(cp))) i = k;
        if (!i) return RY_OK;
        size_t to = i;
        if (!most) return piece(r, out, t, 0, to);
        while (i && (k = before(t, i, &cp), !juni_space(cp))) i = k;
        RY_TRY(piece(r, out, t, i, to));
        most -= most > 0;
    }
}

METHOD(m_split) {
    const jtext *t = a[0].text;
    jtext *by;
    int64_t most = -1;
    (void)all;
    if (GIVEN(a[2])) RY_TRY(jv_need_int(r, a[2], "split", &most));
    RY_TRY(jv_list(r, out, JV_LIST, 0));
    RY_TRY(jrun_step(r, t->n / 16));
    if (!GIVEN(a[1])) return split_words(r, t, most, *out);
    RY_TRY(jv_need_text(r, a[1], "split", &by));
    if (!by->n) return jrun_fail(r, RY_EARG, "split: an empty separator");
    size_t from = 0, at;
    for (; most; most -= most > 0) {
        RY_TRY(jtext_find(r, t->at + from, t->n - from, by->at, by->n, &at));
        if (at == SIZE_MAX) break;
        RY_TRY(piece(r, *out, t, from, from + at));
        from += at + by->n;
    }
    return piece(r, *out, t, from, t->n);
}

METHOD(m_rsplit) {
    const jtext *t = a[0].text;
    jtext *by;
    int64_t most = -1;
    (void)all;
    if (GIVEN(a[2])) RY_TRY(jv_need_int(r, a[2], "rsplit", &most));
    RY_TRY(jv_list(r, out, JV_LIST, 0));
    RY_TRY(jrun_step(r, t->n / 16));
    if (!GIVEN(a[1])) RY_TRY(rsplit_words(r, t, most, *out));
    else {
        size_t to = t->n, at;
        RY_TRY(jv_need_text(r, a[1], "rsplit", &by));
        if (!by->n) return jrun_fail(r, RY_EARG, "rsplit: an empty separator");
        for (; most; most -= most > 0) {
            RY_TRY(last_place(r, t->at, to, by->at, by->n, &at));
            if (at == SIZE_MAX) break;
            RY_TRY(piece(r, *out, t, at + by->n, to));
            to = at;
        }
        RY_TRY(piece(r, *out, t, 0, to));
    }
    turn(out->list);
    return RY_OK;
}

METHOD(m_splitlines) {
    const jtext *t = a[0].text;
    bool keep = false;
    (void)all;
    if (GIVEN(a[1])) RY_TRY(jv_true(r, a[1], &keep));
    RY_TRY(jv_list(r, out, JV_LIST, 0));
    RY_TRY(jrun_step(r, t->n / 16));
    for (size_t i = 0, from = 0; i < t->n;) {
        int32_t cp;
        size_t at = i;
        i += utf8_next(t->at + i, t->n - i, &cp);
        if (!juni_line(cp)) {
            if (i == t->n) RY_TRY(piece(r, *out, t, from, i));
            continue;
        }
        if (cp == '\r' && i < t->n && t->at[i] == '\n') i++;
        RY_TRY(piece(r, *out, t, from, keep ? i : at));
        from = i;
    }
    return RY_OK;
}

static ry_status part(jrun *r, jv *a, bool last, jv *out) {
    const jtext *t = a[0].text;
    jtext *by;
    size_t at;
    RY_TRY(jv_need_text(r, a[1], "partition", &by));
    if (!by->n) return jrun_fail(r, RY_EARG, "partition: an empty separator");
    RY_TRY(jv_list(r, out, JV_TUPLE, 3));
    if (last) RY_TRY(last_place(r, t->at, t->n, by->at, by->n, &at));
    else RY_TRY(jtext_find(r, t->at, t->n, by->at, by->n, &at));
    if (at != SIZE_MAX) {
        RY_TRY(piece(r, *out, t, 0, at));
        RY_TRY(piece(r, *out, t, at, at + by->n));
        return piece(r, *out, t, at + by->n, t->n);
    }
    if (!last) RY_TRY(piece(r, *out, t, 0, t->n));
    RY_TRY(piece(r, *out, t, 0, 0));
    RY_TRY(piece(r, *out, t, 0, 0));
    return last ? piece(r, *out, t, 0, t->n) : RY_OK;
}
METHOD(m_partition) { return (void)all, part(r, a, false, out); }
METHOD(m_rpartition) { return (void)all, part(r, a, true, out); }

METHOD(m_join) {
    jiter *it = NULL;
    jv x;
    jtext *t;
    bool more;
    jbuf b = {0};
    (void)all;
    RY_TRY(jiter_open(r, a[1], &it));
    for (bool first = true;; first = false) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) break;
        if (!first) RY_TRY(jbuf_add(r, &b, a[0].text->at, a[0].text->n));
        if (a[0].safe && !x.safe && x.kind == JV_TEXT) {
            RY_TRY(jbuf_escape(r, &b, x.text->at, x.text->n));
            continue;
        }
        RY_TRY(jv_need_text(r, x, "join", &t));
        RY_TRY(jbuf_add(r, &b, t->at, t->n));
    }
    RY_TRY(jv_text_buf(r, out, &b));
    out->safe = a[0].safe;
    return RY_OK;
}

/* ---- width ---- */

static ry_status justify(jrun *r, jv *a, int left, jv *out) { /* left: of the room, 0 all on the right, 2 all on the left, 1 shared */
    jtext *t = a[0].text, *fill = NULL;
    int64_t width, n = (int64_t)jtext_chars(t);
    jbuf b = {0};
    RY_TRY(jv_need_int(r, a[1], "a width", &width));
    if (GIVEN(a[2])) RY_TRY(jv_need_text(r, a[2], "a fill character", &fill));
    if (fill && jtext_chars(fill) != 1) return jrun_fail(r, RY_EARG, "a fill character is one character");
    *out = a[0];
    if (width <= n) return RY_OK;
    int64_t room = width - n, before_it = left == 0 ? 0 : left == 2 ? room : room / 2 + (room & width & 1);
    RY_TRY(jrun_step(r, (size_t)room));
    for (int64_t i = 0; i < before_it; i++) RY_TRY(jbuf_add(r, &b, fill ? fill->at : " ", fill ? fill->n : 1));
    RY_TRY(jbuf_add(r, &b, t->at, t->n));
    for (int64_t i = before_it; i < room; i++) RY_TRY(jbuf_add(r, &b, fill ? fill->at : " ", fill ? fill->n : 1));
    return jv_text_buf(r, out, &b);
}
METHOD(m_ljust) { return (void)all, justify(r, a, 0, out); }
METHOD(m_center) { return (void)all, justify(r, a, 1, out); }
METHOD(m_rjust) { return (void)all, justify(r, a, 2, out); }

METHOD(m_zfill) {
    jtext *t = a[0].text;
    int64_t width, n = (int64_t)jtext_chars(t);
    jbuf b = {0};
    (void)all;
    RY_TRY(jv_need_int(r, a[1], "zfill", &width));
    *out = a[0];
    if (width <= n) return RY_OK;
    RY_TRY(jrun_step(r, (size_t)(width - n)));
    size_t sign = t->n && (*t->at == '-' || *t->at == '+');
    RY_TRY(jbuf_add(r, &b, t->at, sign));
    for (int64_t i = n; i < width; i++) RY_TRY(jbuf_add(r, &b, "0", 1));
    RY_TRY(jbuf_add(r, &b, t->at + sign, t->n - sign));
    return jv_text_buf(r, out, &b);
}

METHOD(m_expandtabs) {
    const jtext *t = a[0].text;
    int64_t size = 8, column = 0;
    jbuf b = {0};
    (void)all;
    if (GIVEN(a[1])) RY_TRY(jv_need_int(r, a[1], "expandtabs", &size));
    for (size_t i = 0; i < t->n; i++) {
        char c = t->at[i];
        if (c == '\t') {
            for (int64_t k = size > 0 ? size - column % size : 0; k > 0; k--, column++) {
                RY_TRY(jrun_step(r, 1));
                RY_TRY(jbuf_add(r, &b, " ", 1));
            }
            continue;
        }
        column = c == '\n' || c == '\r' ? 0 : column + (((unsigned char)c & 0xC0) != 0x80);
        RY_TRY(jbuf_add(r, &b, &c, 1));
    }
    return jv_text_buf(r, out, &b);
}

METHOD(m_format) {
    jargs args = *all;
    RY_TRY(jinja_format(r, a[0].kind == JV_TEXT ? a[0].text : all->at[0].text, &args, out));
    return RY_OK;
}

METHOD(m_format_map) {
    (void)all;
    if (a[1].kind != JV_DICT) return jrun_fail(r, RY_EARG, "format_map needs a dict, not %s", jv_type(a[1]));
    jargs args = {.at = a, .n = 1};
    args.key = JRUN_NEW(r, jkey, a[1].dict->n);
    if (!args.key) return jrun_nomem(r);
    for (size_t i = 0; i < a[1].dict->n; i++) {
        const jpair *p = &a[1].dict->at[i];
        if (p->key.kind == JV_TEXT) args.key[args.keys++] = (jkey){.text = p->key.text->at, .n = p->key.text->n, .value = p->value};
    }
    return jinja_format(r, a[0].text, &args, out);
}

/* ---- questions ---- */

static ry_status every(jrun *r, const jv *a, bool (*is)(int32_t cp), bool empty, jv *out) {
    const jtext *t = a[0].text;
    bool yes = t->n || empty;
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; yes && i < t->n;) {
        int32_t cp;
        i += utf8_next(t->at + i, t->n - i, &cp);
        yes = is(cp);
    }
    *out = jv_bool(yes);
    return RY_OK;
}
static bool is_alnum(int32_t cp) { return cp != '_' && juni_word(cp); }
static bool is_numeric(int32_t cp) { return juni_word(cp) && !juni_alpha(cp) && cp != '_'; }
static bool is_ascii(int32_t cp) { return cp < 128; }
METHOD(m_isalpha) { return (void)all, every(r, a, juni_alpha, false, out); }
METHOD(m_isdigit) { return (void)all, every(r, a, juni_digit, false, out); }
METHOD(m_isdecimal) { return (void)all, every(r, a, juni_decimal, false, out); }
METHOD(m_isnumeric) { return (void)all, every(r, a, is_numeric, false, out); }
METHOD(m_isalnum) { return (void)all, every(r, a, is_alnum, false, out); }
METHOD(m_isspace) { return (void)all, every(r, a, juni_space, false, out); }
METHOD(m_isprintable) { return (void)all, every(r, a, juni_printable, true, out); }
METHOD(m_isascii) { return (void)all, every(r, a, is_ascii, true, out); }
METHOD(m_isidentifier) {
    RY_TRY(every(r, a, juni_word, false, out));
    if (out->yes && *a[0].text->at >= '0' && *a[0].text->at <= '9') *out = jv_bool(false);
    (void)all;
    return RY_OK;
}

static ry_status is_cased(jrun *r, const jv *a, bool upper, jv *out) { /* some cased, none of the other case */
    const jtext *t = a[0].text;
    bool any = false, other = false;
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; i < t->n;) {
        int32_t cp;
        i += utf8_next(t->at + i, t->n - i, &cp);
        any = any || (upper ? juni_upper(cp) : juni_lower(cp));
        other = other || juni_title(cp) || (upper ? juni_lower(cp) : juni_upper(cp));
    }
    *out = jv_bool(any && !other);
    return RY_OK;
}
METHOD(m_isupper) { return (void)all, is_cased(r, a, true, out); }
METHOD(m_islower) { return (void)all, is_cased(r, a, false, out); }
METHOD(m_istitle) {
    const jtext *t = a[0].text;
    bool before_cased = false, any = false, yes = true;
    (void)all;
    RY_TRY(jrun_step(r, t->n / 8));
    for (size_t i = 0; yes && i < t->n;) {
        int32_t cp;
        i += utf8_next(t->at + i, t->n - i, &cp);
        bool up = juni_upper(cp) || juni_title(cp), low = juni_lower(cp);
        if ((up && before_cased) || (low && !before_cased)) yes = false;
        before_cased = up || low;
        any = any || before_cased;
    }
    *out = jv_bool(yes && any);
    return RY_OK;
}

/* ---- lists, dicts and the rest ---- */

METHOD(m_items_index) { /* value start stop */
    int64_t n, from = 0, to;
    (void)all;
    RY_TRY(jv_length(r, a[0], &n));
    to = n;
    if (GIVEN(a[2])) RY_TRY(jv_need_int(r, a[2], "index", &from));
    if (GIVEN(a[3])) RY_TRY(jv_need_int(r, a[3], "index", &to));
    if (from < 0) from = from < -n ? 0 : from + n;
    if (to < 0) to += n;
    for (int64_t i = from; i < to && i < n; i++) {
        jv x;
        bool same;
        RY_TRY(jinja_item(r, a[0], jv_int(i), &x));
        RY_TRY(jv_equal(r, x, a[1], &same));
        if (!same) continue;
        *out = jv_int(i);
        return RY_OK;
    }
    return jrun_fail(r, RY_EARG, "index: the value is not in the %s", jv_type(a[0]));
}

METHOD(m_items_count) {
    jiter *it = NULL;
    jv x;
    bool more, same;
    int64_t n = 0;
    (void)all;
    RY_TRY(jiter_open(r, a[0], &it));
    for (;;) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) break;
        RY_TRY(jv_equal(r, x, a[1], &same));
        n += same;
    }
    *out = jv_int(n);
    return RY_OK;
}

METHOD(m_copy) {
    (void)all, (void)r;
    *out = a[0]; /* nothing can change the one or the other */
    return RY_OK;
}

static ry_status view(const jv *a, int which, jv *out) {
    *out = (jv){.kind = JV_VIEW, .which = (uint8_t)which, .dict = a[0].dict};
    return RY_OK;
}
METHOD(m_keys) { return (void)r, (void)all, view(a, JVIEW_KEYS, out); }
METHOD(m_values) { return (void)r, (void)all, view(a, JVIEW_VALUES, out); }
METHOD(m_items) { return (void)r, (void)all, view(a, JVIEW_ITEMS, out); }

METHOD(m_get) {
    jv *there;
    (void)all;
    RY_TRY(jdict_find(r, a[0].dict, a[1], &there));
    *out = there ? *there : a[2].kind != JV_MISSING ? a[2] : JV_NOTHING;
    return RY_OK;
}

METHOD(m_cycle) {
    (void)a;
    if (all->n < 2) return jrun_fail(r, RY_EARG, "loop.cycle needs values");
    *out = all->at[1 + all->at[0].loop->index0 % (int64_t)(all->n - 1)];
    return RY_OK;
}

METHOD(m_changed) {
    jloop *l = all->at[0].loop;
    jv now;
    bool same = false;
    (void)a;
    RY_TRY(jv_list(r, &now, JV_TUPLE, all->n));
    for (size_t i = 1; i < all->n; i++) RY_TRY(jlist_push(r, now.list, all->at[i]));
    if (l->changed.kind == JV_TUPLE) RY_TRY(jv_equal(r, l->changed, now, &same));
    l->changed = now;
    *out = jv_bool(!same);
    return RY_OK;
}

METHOD(m_next) {
    jcycler *c = a[0].cycler;
    (void)r, (void)all;
    *out = c->items->at[c->at];
    c->at = (c->at + 1) % c->items->n;
    return RY_OK;
}

METHOD(m_reset) {
    (void)r, (void)all;
    a[0].cycler->at = 0;
    *out = JV_NOTHING;
    return RY_OK;
}

static const jrow of_text[] = {
    {"strip", m_strip, "self chars", 1},
    {"split", m_split, "self sep maxsplit", 1},
    {"startswith", m_startswith, "self prefix start end", 2},
    {"endswith", m_endswith, "self suffix start end", 2},
    {"replace", m_replace, "self old new count", 3},
    {"lstrip", m_lstrip, "self chars", 1},
    {"rstrip", m_rstrip, "self chars", 1},
    {"upper", m_upper, "self", 1},
    {"lower", m_lower, "self", 1},
    {"casefold", m_casefold, "self", 1},
    {"title", m_title, "self", 1},
    {"capitalize", m_capitalize, "self", 1},
    {"swapcase", m_swapcase, "self", 1},
    {"removeprefix", m_removeprefix, "self prefix", 2},
    {"removesuffix", m_removesuffix, "self suffix", 2},
    {"find", m_find, "self sub start end", 2},
    {"rfind", m_rfind, "self sub start end", 2},
    {"index", m_index, "self sub start end", 2},
    {"rindex", m_rindex, "self sub start end", 2},
    {"count", m_count, "self sub start end", 2},
    {"rsplit", m_rsplit, "self sep maxsplit", 1},
    {"splitlines", m_splitlines, "self keepends", 1},
    {"partition", m_partition, "self sep", 2},
    {"rpartition", m_rpartition, "self sep", 2},
    {"join", m_join, "self iterable", 2},
    {"ljust", m_ljust, "self width fillchar", 2},
    {"rjust", m_rjust, "self width fillchar", 2},
    {"center", m_center, "self width fillchar", 2},
    {"zfill", m_zfill, "self width", 2},
    {"expandtabs", m_expandtabs, "self tabsize", 1},
    {"format", m_format, "*", 1},
    {"format_map", m_format_map, "self mapping", 2},
    {"isalpha", m_isalpha, "self", 1},
    {"isdigit", m_isdigit, "self", 1},
    {"isdecimal", m_isdecimal, "self", 1},
    {"isnumeric", m_isnumeric, "self", 1},
    {"isalnum", m_isalnum, "self", 1},
    {"isspace", m_isspace, "self", 1},
    {"isupper", m_isupper, "self", 1},
    {"islower", m_islower, "self", 1},
    {"istitle", m_istitle, "self", 1},
    {"isprintable", m_isprintable, "self", 1},
    {"isascii", m_isascii, "self", 1},
    {"isidentifier", m_isidentifier, "self", 1},
    {0},
};
static const jrow of_items[] = {{"index", m_items_index, "self value start stop", 2}, {"count", m_items_count, "self value", 2}, {0}, };
static const jrow of_list[] = {{"index", m_items_index, "self value start stop", 2}, {"count", m_items_count, "self value", 2}, {"copy", m_copy, "self", 1}, {0}};
static const jrow of_dict[] = {{"get", m_get, "self key default", 2}, {"items", m_items, "self", 1}, {"keys", m_keys, "self", 1}, {"values", m_values, "self", 1}, {"copy", m_copy, "self", 1}, {0}};
static const jrow of_loop[] = {{"cycle", m_cycle, "*", 1}, {"changed", m_changed, "*", 1}, {0}};
static const jrow of_cycler[] = {{"next", m_next, "self", 1}, {"reset", m_reset, "self", 1}, {0}};

const jrow *jinja_method(jv self, const char *name, size_t n) {
    switch ((jkind)self.kind) {
    case JV_TEXT: return jrow_find(of_text, name, n);
    case JV_LIST: return jrow_find(of_list, name, n);
    case JV_TUPLE: return self.list->group && n == 4 && !memcmp(name, "list", 4) ? NULL : jrow_find(of_items, name, n);
    case JV_RANGE: return jrow_find(of_items, name, n);
    case JV_DICT: return jrow_find(of_dict, name, n);
    case JV_LOOP: return jrow_find(of_loop, name, n);
    case JV_CYCLER: return jrow_find(of_cycler, name, n);
    default: return NULL;
    }
}
