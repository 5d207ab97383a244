/* wordpiece.c - the model of type WordPiece: again and again the longest entry that the rest of the word begins with.  Owns the trie.
 * Behaviour: that of Hugging Face's tokenizers (models/wordpiece): a word with a part that no entry fits is unknown as a whole. */
#include "io/tokenizer/prefixes.h"
#include "io/tokenizer/tok.h"
#include "io/utf8.h"

typedef struct wordpiece_model {
    tok_model base;
    tok_prefixes entries;
    uint32_t inside; /* node of the prefix that marks entries within a word; 0 with has_inside unset: no entry has it */
    bool has_inside;
    int64_t longest; /* characters of a word */
    int32_t unk;
} wordpiece_model;

static void wordpiece_close(tok_model *base) {
    wordpiece_model *m = (wordpiece_model *)base;
    tok_prefixes_free(&m->entries);
    ry_mem_free(m);
}

static ry_status wordpiece_fill(wordpiece_model *m, const ry_json *settings, const char *what) {
    const tok_lists *l = m->base.lists;
    const char *unk = "[UNK]", *prefix = "##";
    m->longest = 100;
    RY_TRY(ry_json_text(&unk, settings, what, "unk_token", false));
    RY_TRY(ry_json_text(&prefix, settings, what, "continuing_subword_prefix", false));
    RY_TRY(ry_json_int(&m->longest, settings, what, "max_input_chars_per_word", 0, INT32_MAX, false));
    m->unk = tok_word_id(l, unk, strlen(unk));
    m->entries.seed = l->seed;
    RY_TRY(tok_prefixes_add(&m->entries, "", 0, -1)); /* the root, also of an empty vocabulary */
    for (size_t k = 0; k < l->words.n; k++)
        if (l->words.at[k].n)
            RY_TRY(tok_prefixes_add(&m->entries, l->bytes.at + l->words.at[k].at, l->words.at[k].n, l->words.at[k].id));
    size_t i = 0, n = strlen(prefix);
    for (; i < n && (!i || m->inside); i++) m->inside = tok_prefixes_step(&m->entries, m->inside, prefix[i]);
    m->has_inside = !n || m->inside;
    if (m->unk < 0) RY_FAIL(RY_EFORMAT, "%s: model.unk_token \"%.60s\" is not in model.vocab", what, unk);
    return RY_OK;
}

static ry_status wordpiece_read(tok_model **out, const ry_json *settings, const tok_lists *lists, const char *what) {
    wordpiece_model *m = ry_mem_zalloc(sizeof *m);
    if (!m) return RY_ENOMEM;
    m->base.lists = lists;
    ry_status st = wordpiece_fill(m, settings, what);
    if (st == RY_OK) {
        *out = &m->base;
    } else {
        wordpiece_close(&m->base);
    }
    return st;
}

static ry_status wordpiece_encode(const tok_model *base, tok_work *w, const char *s, size_t n) {
    const wordpiece_model *m = (const wordpiece_model *)base;
    size_t first = w->ids.n, first_span = w->spans.n, at = 0;
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++) chars += ((unsigned char)s[i] & 0xC0) != 0x80;
    if (chars > m->longest) return tok_emit(w, m->unk, 0, n);
    while (at < n) {
        uint32_t node = at ? m->inside : 0;
        size_t end = at;
        int32_t id = -1;
        for (size_t i = at; i < n && (!at || m->has_inside) && (node = tok_prefixes_step(&m->entries, node, s[i])); i++)
            if (m->entries.ids.at[node] >= 0) id = m->entries.ids.at[node], end = i + 1;
        if (id < 0) {
            w->ids.n = first;
            w->spans.n = first_span;
            return tok_emit(w, m->unk, 0, n);
        }
        RY_TRY(tok_emit(w, id, at, end));
        at = end;
    }
    return RY_OK;
}

const tok_model_kind tok_wordpiece = {
    .name = "WordPiece",
    .read = wordpiece_read,
    .close = wordpiece_close,
    .encode = wordpiece_encode,
};
