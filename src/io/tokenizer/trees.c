/* trees.c - what readers of other formats share: merges found from a vocabulary, parts of a tokenizer.json as text, the tokenizer of a
 * byte-level BPE.  Owns nothing. */
#include <stdlib.h>
#include "io/tokenizer/foreign.h"
#include "io/utf8.h"

/* ---- merges ---- */
enum {
    HALVES_LONGEST = 1024, /* bytes of a word that is made by merges; those of published vocabularies have at most 256 */
    HALVES_SPREAD = 64     /* merges may have so many times the text of the words */
};

typedef struct halves_merge {
    double score;
    uint32_t word, n_a;
} halves_merge;

static int halves_order(const void *a, const void *b) {
    const halves_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->word != y->word) return x->word < y->word ? -1 : 1;
    return x->n_a > y->n_a ? -1 : x->n_a < y->n_a;
}

ry_status tok_add_halves(tok_lists *l, const tok_lists *words, const char *what) {
    RY_VEC(halves_merge) merges = {0};
    ry_status st = RY_OK;
    size_t bytes = 0, spread = 0;
    for (size_t i = 0; i < words->words.n; i++) {
        const tok_word *w = &words->words.at[i];
        const char *text = words->bytes.at + w->at;
        bytes += w->n;
        if (w->n > HALVES_LONGEST)
            RY_GO(st, out, ry_fail(RY_EUNSUPPORTED, "%s: entry %zu of the vocabulary has %u bytes, at most %d are read", what, i, w->n,
                                   HALVES_LONGEST));
        for (uint32_t k = 1; k < w->n; k++) {
            if (((unsigned char)text[k] & 0xC0) == 0x80 || tok_word_id(words, text, k) < 0 ||
                tok_word_id(words, text + k, w->n - k) < 0)
                continue;
            halves_merge *m = RY_PUSH(&merges);
            if (!m) RY_GO(st, out, RY_ENOMEM);
            *m = (halves_merge){w->score, (uint32_t)i, k};
            spread += w->n;
        }
        if (spread / HALVES_SPREAD > bytes + (1 << 20))
            RY_GO(st, out, ry_fail(RY_EFORMAT, "%s: its vocabulary can be put together in too many ways", what));
    }
    if (merges.n) qsort(merges.at, merges.n, sizeof *merges.at, halves_order);
    for (size_t i = 0; i < merges.n && st == RY_OK; i++) {
        const tok_word *w = &words->words.at[merges.at[i].word];
        const char *text = words->bytes.at + w->at;
        st = tok_add_merge(l, text, merges.at[i].n_a, text + merges.at[i].n_a, w->n - merges.at[i].n_a);
    }
out:
    RY_VEC_FREE(&merges);
    return st;
}

/* ---- parts of a tree ---- */
static const char *tree_bool(bool v) { return v ? "true" : "false"; }

void tok_put_added(ry_text *t, const tok_special *added, size_t n) {
    ry_text_puts(t, "\"added_tokens\":[");
    for (size_t i = 0; i < n; i++) {
        ry_text_printf(t, "%s{\"id\":%lld,\"content\":", i ? "," : "", (long long)added[i].id);
        ry_text_json(t, added[i].text, added[i].n);
        ry_text_printf(t, ",\"single_word\":false,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":false,\"special\":%s}",
                       tree_bool(added[i].lstrip), tree_bool(added[i].rstrip), tree_bool(added[i].special));
    }
    ry_text_puts(t, "],");
}

static void tree_special(ry_text *t, const char *s, size_t n, int type, const char *comma) {
    ry_text_puts(t, comma);
    ry_text_puts(t, "{\"SpecialToken\":{\"id\":");
    ry_text_json(t, s, n);
    ry_text_printf(t, ",\"type_id\":%d}}", type);
}

void tok_put_template(ry_text *t, const char *before, size_t n_before, int64_t before_id, const char *behind, size_t n_behind,
                      int64_t behind_id) {
    if (!before && !behind) {
        ry_text_puts(t, "\"post_processor\":null,");
        return;
    }
    ry_text_puts(t, "\"post_processor\":{\"type\":\"TemplateProcessing\"");
    for (int texts = 1; texts <= 2; texts++) {
        ry_text_printf(t, ",\"%s\":[", texts == 1 ? "single" : "pair");
        for (int i = 0; i < texts; i++) {
            if (before) tree_special(t, before, n_before, i, i ? "," : "");
            ry_text_printf(t, "%s{\"Sequence\":{\"id\":\"%c\",\"type_id\":%d}}", before || i ? "," : "", 'A' + i, i);
            if (behind) tree_special(t, behind, n_behind, i, ",");
        }
        ry_text_puts(t, "]");
    }
    ry_text_puts(t, ",\"special_tokens\":{");
    bool same = before && behind && n_before == n_behind && !memcmp(before, behind, n_before);
    for (int k = 0; k < 2; k++) {
        const char *s = k ? behind : before;
        size_t n = k ? n_behind : n_before;
        if (!s || (k && same)) continue;
        if (k && before) ry_text_puts(t, ",");
        ry_text_json(t, s, n);
        ry_text_puts(t, ":{\"id\":");
        ry_text_json(t, s, n);
        ry_text_printf(t, ",\"ids\":[%lld],\"tokens\":[", (long long)(k ? behind_id : before_id));
        ry_text_json(t, s, n);
        ry_text_puts(t, "]}");
    }
    ry_text_puts(t, "}},");
}

/* ---- byte-level BPE ---- */
static void tree_split(ry_text *t, const char *regex) {
    ry_text_puts(t, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
    ry_text_json(t, regex, strlen(regex));
    ry_text_puts(t, "},\"behavior\":\"Isolated\",\"invert\":false},");
}

static const tok_special *tree_role(const tok_bytes_file *f, int64_t id) {
    for (size_t i = 0; i < f->added.n; i++)
        if (f->added.at[i].id == id) return &f->added.at[i];
    return NULL;
}

static ry_status bytes_tree(ry_json **out, const tok_bytes_file *f, const tok_beside *b) {
    ry_text t = {0};
    bool nfc = f->nfc || (f->pre && f->pre->nfc), ignore = f->ignore_merges || (f->pre && f->pre->ignore_merges);
    const tok_special *bos = b && b->add_bos ? tree_role(f, f->bos) : NULL, *eos = b && b->add_eos ? tree_role(f, f->eos) : NULL;
    ry_text_puts(&t, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    tok_put_added(&t, f->added.at, f->added.n);
    ry_text_printf(&t, "\"normalizer\":%s,", nfc ? "{\"type\":\"NFC\"}" : "null");
    ry_text_puts(&t, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
    if (f->regex) tree_split(&t, f->regex);
    for (size_t i = 0; f->pre && i < sizeof f->pre->regex / sizeof *f->pre->regex && f->pre->regex[i]; i++)
        tree_split(&t, f->pre->regex[i]);
    ry_text_puts(&t, "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]},");
    tok_put_template(&t, bos ? bos->text : NULL, bos ? bos->n : 0, f->bos, eos ? eos->text : NULL, eos ? eos->n : 0, f->eos);
    ry_text_printf(&t,
                   "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false},"
                   "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
                   "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":%s}}",
                   tree_bool(ignore));
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) st = ry_json_parse(out, t.at, t.n, f->what, 0);
    ry_text_free(&t);
    return st;
}

static ry_status bytes_merges(tok_bytes_file *f) {
    tok_lists words = {0};
    ry_status st = RY_OK;
    for (size_t i = 0; i < f->lists.words.n && st == RY_OK; i++) {
        const tok_word *w = &f->lists.words.at[i];
        st = tok_add_word(&words, f->lists.bytes.at + w->at, w->n, w->id, -(double)w->id);
    }
    if (st == RY_OK) st = tok_lists_index(&words, f->what);
    if (st == RY_OK) st = tok_add_halves(&f->lists, &words, f->what);
    tok_lists_free(&words);
    return st;
}

/* Special tokens without a word get one: an added token's id is that of its word. */
static ry_status bytes_added(tok_bytes_file *f) {
    int64_t size = 0;
    for (size_t i = 0; i < f->added.n; i++)
        if (f->added.at[i].id >= size) size = f->added.at[i].id + 1;
    if (size > (int64_t)(f->lists.words.n + f->added.n) + (1 << 22))
        RY_FAIL(RY_EFORMAT, "%s: a special token has the id %lld, far beyond the vocabulary of %zu words", f->what, (long long)size - 1,
                f->lists.words.n);
    bool *has = ry_mem_zalloc((size_t)size + 1);
    if (!has) return RY_ENOMEM;
    for (size_t i = 0; i < f->lists.words.n; i++)
        if (f->lists.words.at[i].id >= 0 && f->lists.words.at[i].id < size) has[f->lists.words.at[i].id] = true;
    ry_status st = RY_OK;
    for (size_t i = 0; i < f->added.n && st == RY_OK; i++) {
        const tok_special *s = &f->added.at[i];
        if (!has[s->id]) st = tok_add_word(&f->lists, s->text, s->n, (int32_t)s->id, 0);
    }
    ry_mem_free(has);
    return st;
}

ry_status tok_open_bytes(ry_tokenizer **out, ry_status read, tok_bytes_file *f, const tok_beside *b) {
    ry_json *tree = NULL;
    ry_status st = read;
    if (st == RY_OK && !f->lists.has_merges) st = bytes_merges(f);
    f->lists.has_vocab = f->lists.has_merges = true;
    if (st == RY_OK) st = bytes_added(f);
    if (st == RY_OK) st = bytes_tree(&tree, f, b);
    RY_VEC_FREE(&f->added);
    if (st == RY_OK) return tok_open_parts(out, tree, &f->lists, f->what);
    tok_lists_free(&f->lists);
    return st;
}
