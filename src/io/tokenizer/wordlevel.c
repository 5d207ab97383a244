/* wordlevel.c - a piece is a word of the vocabulary, or unknown.  Owns nothing but its settings. */
#include "io/tokenizer/tok.h"

typedef struct wordlevel_model {
    tok_model base;
    int32_t unk_id; /* -1: not in the vocabulary */
} wordlevel_model;

static void wordlevel_close(tok_model *base) { ry_mem_free(base); }

static ry_status wordlevel_read(tok_model **out, const ry_json *settings, const tok_lists *lists, const char *what) {
    const char *unk = "<unk>";
    RY_TRY(ry_json_text(&unk, settings, what, "unk_token", false));
    wordlevel_model *m = ry_mem_zalloc(sizeof *m);
    if (!m) return RY_ENOMEM;
    m->base.lists = lists;
    m->unk_id = tok_word_id(lists, unk, strlen(unk));
    *out = &m->base;
    return RY_OK;
}

static ry_status wordlevel_encode(const tok_model *base, tok_work *w, const char *piece, size_t n) {
    const wordlevel_model *m = (const wordlevel_model *)base;
    int32_t id = tok_word_id(base->lists, piece, n);
    if (id < 0) id = m->unk_id;
    if (id < 0) RY_FAIL(RY_EFORMAT, "\"%.*s\" is not in the tokenizer's vocabulary, and neither is its unk_token", (int)(n < 60 ? n : 60), piece);
    return tok_emit(w, id, 0, n);
}

const tok_model_kind tok_wordlevel = {.name = "WordLevel", .read = wordlevel_read, .close = wordlevel_close, .encode = wordlevel_encode};
