/* normalizer.c - normalizers: a text into another one, with the spans of its characters.  Owns nothing.  Behaviour: Hugging Face's
 * (normalizers/), whose alignments the changes given to tok_edit_put repeat. */
#include <string.h>
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/chars.h"
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/steps.h"

static void put(tok_edit *e, int32_t cp, int change) {
    char c[4];
    tok_edit_put(e, c, utf8_put(c, cp), change);
}

static ry_status read_chars(tok_step *s, const ry_json *j, const char *what, const char *field) {
    (void)s, (void)j;
    return tok_chars_known(what, field);
}

/* ---- NFC, NFD, NFKC, NFKD ---- */
/* A cluster: the next character and those that may change with it. */
static ry_status normal_cluster(tok_edit *e, int form, int32_t **buf, size_t *cap) {
    size_t n = 0, bytes = 0, len;
    int32_t cp;
    while ((len = tok_edit_next(e, bytes, &cp)) != 0 && (!n || !tok_is_start(cp, form))) {
        if (n == *cap) {
            int32_t *more = ry_mem_grow(*buf, ry_mem_size(*cap ? 2 * *cap : 64, sizeof **buf, 0));
            if (!more) return RY_ENOMEM;
            *buf = more;
            *cap = *cap ? 2 * *cap : 64;
        }
        (*buf)[n++] = cp;
        bytes += len;
    }
    size_t was = n, same = 0;
    RY_TRY(tok_normal(buf, cap, &n, form));
    for (size_t i = 0, at = 0; i < n; i++, same++) { /* characters that stay */
        len = tok_edit_next(e, at, &cp);
        if (!len || at >= bytes || cp != (*buf)[i]) break;
        at += len;
    }
    if (same == n && n == was) {
        tok_edit_keep(e, bytes);
        return RY_OK;
    }
    for (size_t i = 0; i < n; i++)
        put(e, (*buf)[i], i >= was ? 1 : i + 1 == n ? -(int)(was - n) : 0);
    return RY_OK;
}

static ry_status normalize_form(tok_edit *e, int form) {
    const char *s = e->in->at;
    size_t n = e->in->n, i = 0;
    unsigned char least = form == TOK_COMPOSE ? 0xCC : 0x80; /* NFC: nothing below U+0300 changes */
    while (i < n && (unsigned char)s[i] < least) i++;
    if (i == n) return RY_OK;
    int32_t *buf = NULL;
    size_t cap = 0;
    ry_status st = RY_OK;
    while (e->at < n && st == RY_OK) {
        size_t run = e->at;
        while (run < n && (unsigned char)s[run] < least) run++;
        if (run < n && run > e->at) { /* its last character may change with what follows */
            for (run--; run > e->at && ((unsigned char)s[run] & 0xC0) == 0x80;) run--;
        }
        tok_edit_keep(e, run - e->at);
        if (e->at < n) st = normal_cluster(e, form, &buf, &cap);
    }
    ry_mem_free(buf);
    return st;
}
static ry_status nfc(const tok_step *s, tok_edit *e) { return (void)s, normalize_form(e, TOK_COMPOSE); }
static ry_status nfd(const tok_step *s, tok_edit *e) { return (void)s, normalize_form(e, 0); }
static ry_status nfkc(const tok_step *s, tok_edit *e) { return (void)s, normalize_form(e, TOK_COMPAT | TOK_COMPOSE); }
static ry_status nfkd(const tok_step *s, tok_edit *e) { return (void)s, normalize_form(e, TOK_COMPAT); }

/* ---- character by character ---- */
static ry_status lowercase(const tok_step *s, tok_edit *e) {
    (void)s;
    int32_t cp, second;
    for (size_t len; (len = tok_edit_next(e, 0, &cp)) != 0;) {
        int32_t low = tok_lower(cp, &second);
        if (low == cp) {
            tok_edit_keep(e, len);
            continue;
        }
        put(e, low, 0);
        if (second) put(e, second, 1);
    }
    return RY_OK;
}

static ry_status filter(tok_edit *e, bool (*drop)(int32_t cp)) {
    int32_t cp;
    for (size_t len; (len = tok_edit_next(e, 0, &cp)) != 0;) {
        if (drop(cp)) tok_edit_drop(e, len);
        else tok_edit_keep(e, len);
    }
    return RY_OK;
}
static ry_status strip_accents(const tok_step *s, tok_edit *e) { return (void)s, filter(e, tok_is_mark); }

static ry_status read_strip(tok_step *s, const ry_json *j, const char *what, const char *field) {
    (void)field;
    RY_TRY(ry_json_bool(&s->on, j, what, "strip_left", true));
    return ry_json_bool(&s->also, j, what, "strip_right", true);
}

static ry_status strip(const tok_step *s, tok_edit *e) {
    size_t end = 0, kept = 0, len;
    int32_t cp;
    for (size_t at = 0; (len = tok_edit_next(e, at, &cp)) != 0; at += len)
        if (!tok_is_space(cp)) kept = at + len;
    end = s->also ? kept : e->in->n;
    while (s->on && e->at < end && (len = tok_edit_next(e, 0, &cp)) != 0 && tok_is_space(cp)) tok_edit_drop(e, len);
    if (end > e->at) tok_edit_keep(e, end - e->at);
    tok_edit_drop(e, e->in->n - e->at);
    return RY_OK;
}

static bool nmt_drops(int32_t c) { return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F; }

static ry_status nmt(const tok_step *s, tok_edit *e) {
    (void)s;
    int32_t c;
    for (size_t len; (len = tok_edit_next(e, 0, &c)) != 0;) {
        if (nmt_drops(c)) tok_edit_drop(e, len);
        else if (c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                 c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
            put(e, ' ', 0);
        else tok_edit_keep(e, len);
    }
    return RY_OK;
}

static ry_status byte_level(const tok_step *s, tok_edit *e) {
    (void)s;
    tok_bytelevel_edit(e);
    return RY_OK;
}

/* ---- with settings ---- */
static ry_status read_prepend(tok_step *s, const ry_json *j, const char *what, const char *field) {
    return tok_step_text(&s->text, j, what, field, "prepend", true, false);
}

static ry_status prepend(const tok_step *s, tok_edit *e) {
    if (e->in->n) tok_edit_prepend(e, s->text.at, s->text.n);
    if (e->at) tok_edit_keep(e, e->in->n - e->at);
    return RY_OK;
}

static ry_status read_replace(tok_step *s, const ry_json *j, const char *what, const char *field) {
    RY_TRY(tok_step_text(&s->text, j, what, field, "content", true, false));
    return tok_pattern_read(&s->pattern, ry_json_find(j, "pattern"), what, field);
}

static ry_status replace(const tok_step *s, tok_edit *e) { return tok_edit_replace(e, s->pattern, s->text.at, s->text.n); }

static ry_status read_precompiled(tok_step *s, const ry_json *j, const char *what, const char *field) {
    RY_TRY(tok_chars_known(what, field));
    size_t n;
    const char *text = ry_json_as_text(ry_json_find(j, "precompiled_charsmap"), &n);
    tok_charsmap *map = s->data = ry_mem_zalloc(sizeof *map);
    if (!map) return RY_ENOMEM;
    if (!text || !tok_base64_read(&s->text, text, n)) return tok_step_fail(RY_EFORMAT, what, field, "precompiled_charsmap", "must be base64");
    RY_TRY(ry_text_status(&s->text));
    return s->text.n ? tok_charsmap_open(map, s->text.at, s->text.n, what) : RY_OK;
}

/* Whether the map has something that this text of `count` characters begins with; then it stands for all of it. */
static bool precompiled_put(tok_edit *e, const tok_charsmap *map, const char *at, size_t n, int count) {
    const char *with;
    if (!map->n_units || !tok_charsmap_find(map, at, n, false, &with)) return false;
    size_t n_with = strlen(with), len;
    int made = 0, i = 0;
    int32_t cp;
    for (size_t k = 0; k < n_with; k += utf8_next(with + k, n_with - k, &cp)) made++;
    for (size_t k = 0; k < n_with; k += len, i++) {
        len = utf8_next(with + k, n_with - k, &cp);
        tok_edit_put(e, with + k, len, i ? i : made - count);
    }
    return true;
}

/* The reference asks for whole grapheme clusters of less than six bytes first, then for single characters. Its alignments drift, for
 * the changes that it gives are of another kind than those it means: the text is read by `at`, and e->at goes where it goes. */
static ry_status precompiled(const tok_step *s, tok_edit *e) {
    const tok_charsmap *map = s->data;
    const tok_piece *in = e->in;
    for (size_t at = 0; at < in->n;) {
        int32_t a, b, state = 0;
        size_t n = utf8_next(in->at + at, in->n - at, &a);
        int count = 1;
        for (size_t len; at + n < in->n; n += len, a = b, count++) {
            len = utf8_next(in->at + at + n, in->n - at - n, &b);
            if (tok_grapheme_break(a, b, &state)) break;
        }
        size_t end = at + n;
        if (n < 6 && precompiled_put(e, map, in->at + at, n, count)) at = end;
        for (size_t len; at < end; at += len) {
            len = utf8_next(in->at + at, in->n - at, &a);
            if (!precompiled_put(e, map, in->at + at, len, 1)) tok_edit_put(e, in->at + at, len, 0);
        }
    }
    e->at = in->n;
    return RY_OK;
}

/* ---- BertNormalizer ---- */
static bool is_chinese(int32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static ry_status bert_clean(const tok_step *s, tok_edit *e) {
    (void)s;
    int32_t c;
    for (size_t len; (len = tok_edit_next(e, 0, &c)) != 0;) {
        if (!c || c == 0xFFFD || tok_is_control(c)) tok_edit_drop(e, len);
        else if (tok_is_space(c)) put(e, ' ', 0);
        else tok_edit_keep(e, len);
    }
    return RY_OK;
}

static ry_status bert_chinese(const tok_step *s, tok_edit *e) {
    (void)s;
    int32_t c;
    for (size_t len; (len = tok_edit_next(e, 0, &c)) != 0;) {
        bool chinese = is_chinese(c);
        if (chinese) put(e, ' ', 1);
        tok_edit_keep(e, len);
        if (chinese) put(e, ' ', 1);
    }
    return RY_OK;
}

static ry_status bert_accents(const tok_step *s, tok_edit *e) { return (void)s, filter(e, tok_is_mn); }

/* The steps of a BertNormalizer, as its switches say. */
static ry_status bert_expand(tok_steps *out, const ry_json *j, const char *what, const char *field) {
    static const tok_step_kind steps[] = {{.normalize = bert_clean}, {.normalize = bert_chinese}, {.normalize = nfd},
                                          {.normalize = bert_accents}, {.normalize = lowercase}};
    bool clean = true, chinese = true, lower = true;
    RY_TRY(tok_chars_known(what, field));
    RY_TRY(ry_json_bool(&clean, j, what, "clean_text", false));
    RY_TRY(ry_json_bool(&chinese, j, what, "handle_chinese_chars", false));
    RY_TRY(ry_json_bool(&lower, j, what, "lowercase", false));
    bool accents = lower;
    RY_TRY(ry_json_bool(&accents, j, what, "strip_accents", false));
    const bool on[] = {clean, chinese, accents, accents, lower};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        tok_step *s = on[i] ? RY_PUSH(out) : NULL;
        if (on[i] && !s) return RY_ENOMEM;
        if (s) s->kind = &steps[i];
    }
    return RY_OK;
}

const tok_step_kind tok_normalizers[] = {
    {.name = "NFC", .read = read_chars, .normalize = nfc},
    {.name = "NFD", .read = read_chars, .normalize = nfd},
    {.name = "NFKC", .read = read_chars, .normalize = nfkc},
    {.name = "NFKD", .read = read_chars, .normalize = nfkd},
    {.name = "Lowercase", .read = read_chars, .normalize = lowercase},
    {.name = "Strip", .read = read_strip, .normalize = strip},
    {.name = "StripAccents", .read = read_chars, .normalize = strip_accents},
    {.name = "Nmt", .normalize = nmt},
    {.name = "ByteLevel", .normalize = byte_level},
    {.name = "Prepend", .read = read_prepend, .normalize = prepend},
    {.name = "Replace", .read = read_replace, .normalize = replace},
    {.name = "Precompiled", .read = read_precompiled, .normalize = precompiled},
    {.name = "BertNormalizer", .expand = bert_expand},
    {.name = "Sequence", .read = tok_spm_read_normalizer, .normalize = tok_spm_normalize, .close = tok_spm_close_normalizer},
    {.name = NULL},
};
