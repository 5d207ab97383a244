/* spm.c - what sentencepiece does with texts where that is not what Hugging Face's steps do: its normalizer, its decoder, and BPE with
 * user-defined and unused pieces. Settings are the "sentencepiece" objects that sentencepiece.c writes into the tree.
 * Behaviour: sentencepiece 0.2 (src/normalizer.cc, bpe_model.cc, sentencepiece_processor.cc). */
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/prefixes.h"
#include "io/tokenizer/steps.h"

#define SPM_SPACE "\xE2\x96\x81" /* U+2581 */

/* ---- normalizer ---- */
typedef struct spm_normalizer {
    tok_prefixes keep; /* user-defined symbols, left as they are */
    ry_text map_bytes;
    tok_charsmap map; /* in map_bytes, if there are any */
    bool prefix, suffix, extra, escape, first_only;
} spm_normalizer;

void tok_spm_close_normalizer(tok_step *s) {
    spm_normalizer *m = s->data;
    if (!m) return;
    tok_prefixes_free(&m->keep);
    ry_text_free(&m->map_bytes);
}

static ry_status spm_read_map(spm_normalizer *m, const ry_json *j, const char *what) {
    const ry_json *first = ry_json_at(ry_json_find(j, "normalizers"), 0);
    size_t n;
    const char *text = ry_json_as_text(ry_json_find(first, "precompiled_charsmap"), &n);
    if (!text) return RY_OK;
    if (!tok_base64_read(&m->map_bytes, text, n)) RY_FAIL(RY_EFORMAT, "%s: precompiled_charsmap is not base64", what);
    RY_TRY(ry_text_status(&m->map_bytes));
    return m->map_bytes.n ? tok_charsmap_open(&m->map, m->map_bytes.at, m->map_bytes.n, what) : RY_OK;
}

ry_status tok_spm_read_normalizer(tok_step *s, const ry_json *j, const char *what, const char *field) {
    (void)field;
    const ry_json *o = ry_json_find(j, "sentencepiece"), *keep = NULL;
    spm_normalizer *m = s->data = ry_mem_zalloc(sizeof *m);
    bool as_suffix = false;
    if (!m) return RY_ENOMEM;
    RY_TRY(ry_json_bool(&m->prefix, o, what, "add_dummy_prefix", false));
    RY_TRY(ry_json_bool(&m->extra, o, what, "remove_extra_whitespaces", false));
    RY_TRY(ry_json_bool(&m->escape, o, what, "escape_whitespaces", false));
    RY_TRY(ry_json_bool(&m->first_only, o, what, "first_only", false));
    RY_TRY(ry_json_bool(&as_suffix, o, what, "treat_whitespace_as_suffix", false));
    RY_TRY(ry_json_array(&keep, o, what, "user_defined", false));
    m->suffix = m->prefix && as_suffix;
    m->prefix &= !as_suffix;
    for (size_t i = 0; i < ry_json_count(keep); i++) {
        size_t n;
        const char *text = ry_json_as_text(ry_json_at(keep, i), &n);
        if (!text) RY_FAIL(RY_EFORMAT, "%s: normalizer.sentencepiece.user_defined[%zu] must be a string", what, i);
        RY_TRY(tok_prefixes_add(&m->keep, text, n, 0));
    }
    return spm_read_map(m, j, what);
}

/* Length of the longest text of the trie that s begins with; 0: none. */
static size_t spm_match(const tok_prefixes *p, const char *s, size_t n, int32_t *id) {
    size_t found = 0;
    uint32_t node = 0;
    if (!p->ids.n) return 0;
    for (size_t i = 0; i < n && (node = tok_prefixes_step(p, node, s[i])); i++)
        if (p->ids.at[node] >= 0) found = i + 1, *id = p->ids.at[node];
    return found;
}

/* What the text at s begins with (*len bytes of it) becomes *n_with bytes at *with. */
static void spm_next(const spm_normalizer *m, const char *s, size_t n, size_t *len, const char **with, size_t *n_with) {
    int32_t id, cp;
    *with = s;
    if ((*len = *n_with = spm_match(&m->keep, s, n, &id))) return;
    if (m->map_bytes.n && (*len = tok_charsmap_find(&m->map, s, n, true, with))) {
        *n_with = strlen(*with);
        return;
    }
    *len = *n_with = utf8_next(s, n, &cp);
}

/* Writes `with` in place of len bytes, without the spaces at its beginning where these are too many. */
static void spm_put(const spm_normalizer *m, tok_edit *e, size_t len, const char *with, size_t n_with, bool after_space) {
    size_t i = 0, chars = 0, end = e->at + len;
    while (after_space && i < n_with && with[i] == ' ') i++;
    for (size_t k = e->at; k < end; k++) chars += ((unsigned char)e->in->at[k] & 0xC0) != 0x80;
    for (int change = chars > 1 ? 1 - (int)chars : 0; i < n_with; change = 1) {
        int32_t cp;
        size_t n = utf8_next(with + i, n_with - i, &cp);
        if (m->escape && with[i] == ' ') {
            tok_edit_put(e, SPM_SPACE, 3, change);
        } else {
            tok_edit_put(e, with + i, n, change);
        }
        i += n;
    }
    tok_edit_drop(e, end - e->at);
}

ry_status tok_spm_normalize(const tok_step *step, tok_edit *e) {
    const spm_normalizer *m = step->data;
    const char *s = e->in->at, *with, *space = m->escape ? SPM_SPACE : " ";
    size_t n = e->in->n, len, n_with, n_space = strlen(space);
    for (; m->extra && e->at < n; tok_edit_drop(e, len)) {
        spm_next(m, s + e->at, n - e->at, &len, &with, &n_with);
        if (n_with != 1 || *with != ' ') break;
    }
    if (e->at == n) return RY_OK;
    bool dummy = !m->first_only || tok_piece_span(e->in, 0, 0).begin == 0;
    if (m->prefix && dummy) tok_edit_put(e, space, n_space, 1);
    bool after_space = m->extra;
    while (e->at < n) {
        spm_next(m, s + e->at, n - e->at, &len, &with, &n_with);
        size_t had = e->out->text.n;
        bool ends_in_space = n_with && with[n_with - 1] == ' ';
        spm_put(m, e, len, with, n_with, after_space);
        if (m->extra && e->out->text.n > had) after_space = ends_in_space;
    }
    tok_buffer *out = e->out;
    while (m->extra && out->text.n >= n_space && !memcmp(out->text.at + out->text.n - n_space, space, n_space)) {
        out->text.n -= n_space;
        if (e->spans) out->from.n -= n_space;
    }
    if (m->suffix && dummy) tok_edit_put(e, space, n_space, 1);
    return RY_OK;
}

/* ---- decoder ---- */
ry_status tok_spm_read_decoder(tok_step *s, const ry_json *j, const char *what, const char *field) {
    (void)field;
    const ry_json *o = ry_json_find(j, "sentencepiece");
    const char *unk = NULL, *surface = "";
    RY_TRY(ry_json_bool(&s->on, o, what, "strip_one", false));
    RY_TRY(ry_json_bool(&s->also, o, what, "strip_all", false));
    RY_TRY(ry_json_bool(&s->third, o, what, "byte_fallback", false));
    RY_TRY(ry_json_text(&unk, o, what, "unk", false));
    RY_TRY(ry_json_text(&surface, o, what, "unk_surface", false));
    if (unk) ry_text_puts(&s->text, unk);
    ry_text_puts(&s->other, surface);
    RY_TRY(ry_text_status(&s->text));
    return ry_text_status(&s->other);
}

/* Bytes that came one by one since `from`: what is not UTF-8 becomes U+FFFD, each byte for itself. */
static void spm_bytes(const tok_strings *in, ry_text *bytes, ry_text *out) {
    for (size_t i = 0, len; i < bytes->n; i += len) {
        int32_t cp;
        len = utf8_next(bytes->at + i, bytes->n - i, &cp);
        if (cp < 0) len = 1;
        if (cp < 0 && !in->raw) {
            ry_text_add(out, "\xEF\xBF\xBD", 3);
        } else {
            ry_text_add(out, bytes->at + i, len);
        }
    }
    bytes->n = 0;
}

ry_status tok_spm_decode(const tok_step *step, const tok_strings *in, tok_strings *out) {
    ry_text bytes = {0};
    ry_text *text = &out->text;
    bool at_start = true, stripped = false;
    for (size_t i = 0, begin = 0; i < in->ends.n; begin = in->ends.at[i++]) {
        const char *s = in->text.at + begin;
        size_t n = in->ends.at[i] - begin;
        int b = step->third ? tok_fallback_byte(s, n) : -1;
        if (b >= 0) {
            char c = (char)(unsigned char)b;
            ry_text_add(&bytes, &c, 1);
            continue;
        }
        spm_bytes(in, &bytes, text);
        if (stripped || text->n) at_start = false;
        stripped = false;
        if (step->text.n && n == step->text.n && !memcmp(s, step->text.at, n)) {
            ry_text_add(text, step->other.at ? step->other.at : "", step->other.n);
            continue;
        }
        size_t k = 0;
        if (at_start && (step->on || step->also) && n >= 3 && !memcmp(s, SPM_SPACE, 3)) {
            k = 3;
            stripped = !step->also;
        }
        while (k < n) {
            bool space = n - k >= 3 && !memcmp(s + k, SPM_SPACE, 3);
            ry_text_add(text, space ? " " : s + k, 1);
            k += space ? 3 : 1;
        }
    }
    spm_bytes(in, &bytes, text);
    ry_status st = ry_text_status(&bytes);
    ry_text_free(&bytes);
    return st == RY_OK ? tok_strings_end(out) : st;
}

/* ---- BPE with pieces of other types ---- */
typedef struct spm_model {
    tok_model base;
    tok_model *bpe;
    tok_prefixes user;     /* their ids; no merge touches them */
    unsigned char *unused; /* [lists.size]; NULL: none */
} spm_model;

static void spm_close(tok_model *base) {
    spm_model *m = (spm_model *)base;
    if (m->bpe) m->bpe->kind->close(m->bpe);
    tok_prefixes_free(&m->user);
    ry_mem_free(m->unused);
    ry_mem_free(m);
}

static ry_status spm_id(int64_t *id, const ry_json *list, size_t i, const tok_lists *l, const char *what) {
    if (ry_json_as_int(ry_json_at(list, i), id) && *id >= 0 && *id < l->size && l->by_id[*id]) return RY_OK;
    RY_FAIL(RY_EFORMAT, "%s: model.sentencepiece: entry %zu of a list is no id of the vocabulary", what, i);
}

static ry_status spm_fill(spm_model *m, const ry_json *settings, const char *what) {
    const tok_lists *l = m->base.lists;
    const ry_json *user = NULL, *unused = NULL;
    int64_t id;
    RY_TRY(tok_bpe.read(&m->bpe, settings, l, what));
    m->bpe->kind = &tok_bpe;
    m->bpe->lists = l;
    RY_TRY(ry_json_array(&user, settings, what, "sentencepiece.user_defined", false));
    RY_TRY(ry_json_array(&unused, settings, what, "sentencepiece.unused", false));
    m->user.seed = l->seed;
    for (size_t i = 0; i < ry_json_count(user); i++) {
        RY_TRY(spm_id(&id, user, i, l, what));
        const tok_word *w = &l->words.at[l->by_id[id] - 1];
        if (w->n) RY_TRY(tok_prefixes_add(&m->user, l->bytes.at + w->at, w->n, w->id));
    }
    if (ry_json_count(unused) && !(m->unused = ry_mem_zalloc((size_t)l->size))) return RY_ENOMEM;
    for (size_t i = 0; i < ry_json_count(unused); i++) {
        RY_TRY(spm_id(&id, unused, i, l, what));
        m->unused[id] = 1;
    }
    return RY_OK;
}

static ry_status spm_read(tok_model **out, const ry_json *settings, const tok_lists *lists, const char *what) {
    spm_model *m = ry_mem_zalloc(sizeof *m);
    if (!m) return RY_ENOMEM;
    m->base.lists = lists;
    ry_status st = spm_fill(m, settings, what);
    if (st == RY_OK) {
        *out = &m->base;
    } else {
        spm_close(&m->base);
    }
    return st;
}

/* BPE of [begin, end) of the piece; *n_ids: how many it gave. */
static ry_status spm_join(const spm_model *m, tok_work *w, const char *piece, size_t begin, size_t end, size_t *n_ids) {
    size_t first = w->ids.n, first_span = w->spans.n;
    RY_TRY(m->bpe->kind->encode(m->bpe, w, piece + begin, end - begin));
    for (size_t i = first_span; i < w->spans.n; i++) w->spans.at[i].begin += begin, w->spans.at[i].end += begin;
    *n_ids = w->ids.n - first;
    return RY_OK;
}

/* An unused piece falls back into the two that made it, and so on: the way to halve it that leaves single pieces. */
static ry_status spm_emit(const spm_model *m, tok_work *w, const char *piece, int32_t id, size_t begin, size_t end) {
    size_t ids = w->ids.n, spans = w->spans.n;
    for (size_t k = begin + 1; k < end && m->unused[id]; k++) {
        if (((unsigned char)piece[k] & 0xC0) == 0x80) continue;
        size_t a, b = 0;
        RY_TRY(spm_join(m, w, piece, begin, k, &a));
        if (a == 1) RY_TRY(spm_join(m, w, piece, k, end, &b));
        int32_t left = w->ids.at[ids], right = w->ids.at[w->ids.n - 1];
        w->ids.n = ids;
        w->spans.n = spans;
        if (a != 1 || b != 1) continue;
        RY_TRY(spm_emit(m, w, piece, left, begin, k));
        return spm_emit(m, w, piece, right, k, end);
    }
    return tok_emit(w, id, begin, end);
}

static ry_status spm_segment(const spm_model *m, tok_work *w, const char *piece, size_t begin, size_t end) {
    size_t first = w->ids.n, first_span = w->spans.n, n, at = begin;
    bool any = false;
    if (begin == end) return RY_OK;
    RY_TRY(spm_join(m, w, piece, begin, end, &n));
    for (size_t i = 0; i < n && m->unused; i++) any |= m->unused[w->ids.at[first + i]] != 0;
    if (!any) return RY_OK;
    int32_t *ids = ry_mem_alloc(ry_mem_size(n, sizeof *ids, 0));
    if (!ids) return RY_ENOMEM;
    memcpy(ids, w->ids.at + first, n * sizeof *ids);
    w->ids.n = first;
    w->spans.n = first_span;
    ry_status st = RY_OK;
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        const tok_word *word = &m->base.lists->words.at[m->base.lists->by_id[ids[i]] - 1];
        size_t left = end - at, len = word->n <= left && !memcmp(piece + at, m->base.lists->bytes.at + word->at, word->n) ? word->n : 0;
        if (!len) { /* a byte, or unknown characters: their length does not matter, nothing in them is unused */
            int32_t cp;
            len = tok_fallback_byte(m->base.lists->bytes.at + word->at, word->n) >= 0 ? 1 : utf8_next(piece + at, left, &cp);
            st = tok_emit(w, ids[i], at, at + len);
        } else {
            st = spm_emit(m, w, piece, ids[i], at, at + len);
        }
        at += len;
    }
    ry_mem_free(ids);
    return st;
}

static ry_status spm_encode(const tok_model *base, tok_work *w, const char *s, size_t n) {
    const spm_model *m = (const spm_model *)base;
    size_t begin = 0;
    for (size_t i = 0, len; i < n; i += len) {
        int32_t id, cp;
        if (!(len = spm_match(&m->user, s + i, n - i, &id))) {
            len = utf8_next(s + i, n - i, &cp);
            continue;
        }
        RY_TRY(spm_segment(m, w, s, begin, i));
        RY_TRY(tok_emit(w, id, i, i + len));
        begin = i + len;
    }
    return spm_segment(m, w, s, begin, n);
}

static bool spm_takes(const ry_json *settings) {
    return ry_json_count(ry_json_path(settings, "sentencepiece.user_defined")) + ry_json_count(ry_json_path(settings, "sentencepiece.unused")) > 0;
}

const tok_model_kind tok_spm = {.name = "BPE", .takes = spm_takes, .read = spm_read, .close = spm_close, .encode = spm_encode};
