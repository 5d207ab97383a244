/* gguf_vocab.c - the tokenizer in a GGUF file's metadata (tokenizer.ggml.*), read into a tokenizer.json and its lists, and written from
 * one.  Knows the keys; how texts are cut stands in pre.c, what SentencePiece does in sentencepiece.c.
 * Sources: docs/gguf.md of github.com/ggml-org/ggml; llama.cpp's reader (src/llama-vocab.cpp) for defaults. Where llama.cpp and Hugging
 * Face's library give different ids (Unicode normalisation), these are Hugging Face's. */
#include <math.h>
#include <stdio.h>
#include "io/tokenizer/gguf_vocab.h"
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/steps.h"

#define KEY "tokenizer.ggml."

typedef struct vocab_file {
    const gguf_file *f;
    const gguf_text *tokens;
    size_t n;
    const gguf_value *types, *scores; /* NULL: none */
    int64_t bos, eos, unk, sep, pad;  /* ids; -1 */
    tok_beside b;
    ry_arena arena;
} vocab_file;

static ry_status vocab_list(const gguf_value **out, const vocab_file *v, const char *key, bool number) {
    const gguf_value *l = *out = gguf_find(v->f, key);
    if (!l) return RY_OK;
    bool right = l->type == GGUF_ARRAY && (l->item == GGUF_I32 || l->item == GGUF_U32 || (number && l->item == GGUF_F32));
    if (!right || l->n < v->n)
        RY_FAIL(RY_EFORMAT, "%s: %s must be a list of %zu %s", gguf_name(v->f), key, v->n, number ? "numbers" : "integers");
    return RY_OK;
}

static int vocab_type(const vocab_file *v, size_t i) {
    int64_t t = v->types ? gguf_item_int(v->types, i) : SPM_NORMAL;
    return t < SPM_NORMAL || t > SPM_BYTE ? SPM_NORMAL : (int)t;
}

/* An id among the special ones; one beyond the vocabulary counts as absent, as in llama.cpp. */
static ry_status vocab_id(int64_t *id, const vocab_file *v, const char *key) {
    int64_t read = *id;
    RY_TRY(gguf_int(&read, v->f, key, -1, UINT32_MAX, false));
    if (read >= 0 && (uint64_t)read < v->n) *id = read;
    if (*id >= 0 && (uint64_t)*id >= v->n) *id = -1;
    return RY_OK;
}

static ry_status vocab_common(vocab_file *v) {
    if (v->n > INT32_MAX / 2) RY_FAIL(RY_EFORMAT, "%s: " KEY "tokens: %zu are more than ids can number", gguf_name(v->f), v->n);
    RY_TRY(vocab_list(&v->types, v, KEY "token_type", false));
    RY_TRY(vocab_list(&v->scores, v, KEY "scores", true));
    RY_TRY(vocab_id(&v->bos, v, KEY "bos_token_id"));
    RY_TRY(vocab_id(&v->eos, v, KEY "eos_token_id"));
    RY_TRY(vocab_id(&v->unk, v, KEY "unknown_token_id"));
    RY_TRY(vocab_id(&v->sep, v, KEY "seperator_token_id"));
    RY_TRY(vocab_id(&v->pad, v, KEY "padding_token_id"));
    RY_TRY(gguf_bool(&v->b.add_bos, v->f, KEY "add_bos_token", false));
    return gguf_bool(&v->b.add_eos, v->f, KEY "add_eos_token", false);
}

/* ---- gpt2: byte-level BPE ---- */
static ry_status vocab_words(tok_bytes_file *b, const vocab_file *v) {
    for (size_t i = 0; i < v->n; i++) {
        char name[40];
        gguf_text t = v->tokens[i];
        if (!t.n) t = (gguf_text){name, (size_t)snprintf(name, sizeof name, "[EMPTY_%zu]", i)};
        RY_TRY(tok_add_word(&b->lists, t.at, t.n, (int32_t)i, 0));
        int type = vocab_type(v, i);
        if (type != SPM_CONTROL && type != SPM_USER && type != SPM_UNKNOWN) continue;
        tok_special *s = RY_PUSH(&b->added);
        char *copy = RY_NEW((ry_arena *)&v->arena, char, t.n + 1);
        if (!s || !copy) return RY_ENOMEM;
        memcpy(copy, t.at, t.n);
        *s = (tok_special){copy, t.n, (int64_t)i, type != SPM_USER, false, false};
    }
    return RY_OK;
}

static ry_status vocab_merges(tok_bytes_file *b, const vocab_file *v) {
    const gguf_text *merges;
    size_t n;
    RY_TRY(gguf_texts(&merges, &n, v->f, KEY "merges", true));
    b->lists.has_merges = true;
    for (size_t i = 0; i < n; i++) {
        const char *space = merges[i].n ? memchr(merges[i].at + 1, ' ', merges[i].n - 1) : NULL;
        if (!space || space + 1 == merges[i].at + merges[i].n)
            RY_FAIL(RY_EFORMAT, "%s: " KEY "merges[%zu] is not two parts with a space between", gguf_name(v->f), i);
        size_t n_a = (size_t)(space - merges[i].at);
        RY_TRY(tok_add_merge(&b->lists, merges[i].at, n_a, space + 1, merges[i].n - n_a - 1));
    }
    return RY_OK;
}

static ry_status vocab_open_bytes(ry_tokenizer **out, vocab_file *v) {
    tok_bytes_file b = {.what = gguf_name(v->f)};
    gguf_text pre = {"default", 7};
    RY_TRY(gguf_string(&pre, v->f, KEY "pre", false));
    b.pre = tok_pre_find(pre.at, pre.n);
    if (!b.pre)
        RY_FAIL(RY_EUNSUPPORTED, "%s: " KEY "pre is \"%.*s\", a way to cut texts that this version does not know", b.what,
                (int)(pre.n < 60 ? pre.n : 60), pre.at);
    v->b.add_bos = b.pre->add_bos;
    RY_TRY(vocab_common(v));
    b.bos = v->bos;
    b.eos = v->eos;
    ry_status st = vocab_words(&b, v);
    if (st == RY_OK) st = vocab_merges(&b, v);
    return tok_open_bytes(out, st, &b, &v->b);
}

/* ---- llama and t5: SentencePiece ---- */
static ry_status vocab_piece(tok_spm_piece *p, vocab_file *v, size_t i) {
    gguf_text t = v->tokens[i];
    *p = (tok_spm_piece){t.at, (uint32_t)t.n, v->scores ? (float)gguf_item_real(v->scores, i) : 0, vocab_type(v, i)};
    if (t.n > INT32_MAX) RY_FAIL(RY_EFORMAT, "%s: " KEY "tokens[%zu] is too long", gguf_name(v->f), i);
    if (t.n) return RY_OK;
    if (!(p->text = ry_arena_printf(&v->arena, "[EMPTY_%zu]", i))) return RY_ENOMEM;
    p->n = (uint32_t)strlen(p->text);
    return RY_OK;
}

static tok_spm_text vocab_text(const vocab_file *v, int64_t id) {
    return id < 0 ? (tok_spm_text){"", 0} : (tok_spm_text){v->tokens[id].at, v->tokens[id].n};
}

static ry_status vocab_fill_spm(tok_spm_file *s, vocab_file *v) {
    const gguf_value *map = gguf_find(v->f, KEY "precompiled_charsmap");
    bool has_unk = false;
    RY_TRY(vocab_common(v));
    RY_TRY(gguf_bool(&s->dummy_prefix, v->f, KEY "add_space_prefix", false));
    RY_TRY(gguf_bool(&s->remove_extra, v->f, KEY "remove_extra_whitespaces", false));
    if (map && s->model_type == SPM_UNIGRAM) {
        if (map->type != GGUF_ARRAY || (map->item != GGUF_U8 && map->item != GGUF_I8))
            RY_FAIL(RY_EFORMAT, "%s: " KEY "precompiled_charsmap must be a list of bytes", s->what);
        s->charsmap = (tok_spm_text){map->data, map->n};
    }
    for (size_t i = 0; i < v->n; i++) {
        tok_spm_piece *p = RY_PUSH(&s->pieces);
        if (!p) return RY_ENOMEM;
        RY_TRY(vocab_piece(p, v, i));
        s->byte_fallback |= p->type == SPM_BYTE;
        has_unk |= p->type == SPM_UNKNOWN;
    }
    if (!has_unk && v->unk >= 0) s->pieces.at[v->unk].type = SPM_UNKNOWN;
    s->bos = vocab_text(v, v->bos);
    s->eos = vocab_text(v, v->eos);
    /* what a template adds must be a special token, whatever its type says */
    if (v->bos >= 0 && s->pieces.at[v->bos].type == SPM_NORMAL) s->pieces.at[v->bos].type = SPM_CONTROL;
    if (v->eos >= 0 && s->pieces.at[v->eos].type == SPM_NORMAL) s->pieces.at[v->eos].type = SPM_CONTROL;
    return RY_OK;
}

static ry_status vocab_open_spm(ry_tokenizer **out, vocab_file *v, bool unigram) {
    tok_spm_file s = {.model_type = unigram ? SPM_UNIGRAM : SPM_BPE, .dummy_prefix = true, .escape = true, .what = gguf_name(v->f)};
    s.unk_surface = (tok_spm_text){" \xE2\x81\x87 ", 5};
    v->bos = unigram ? -1 : 1;
    v->eos = unigram ? 1 : 2;
    v->unk = unigram ? 2 : 0;
    v->b.add_bos = !unigram;
    v->b.add_eos = unigram;
    ry_status st = vocab_fill_spm(&s, v);
    if (st == RY_OK) st = tok_open_spm(out, &s, &v->b);
    RY_VEC_FREE(&s.pieces);
    return st;
}

/* ---- bert: WordPiece ---- */
/* GGUF marks where words begin, a WordPiece vocabulary where they go on. */
static ry_status vocab_bert_words(tok_lists *l, ry_text *added, const vocab_file *v) {
    l->has_vocab = true;
    RY_VEC(tok_special) list = {0};
    ry_text name = {0};
    ry_status st = RY_OK;
    for (size_t i = 0; i < v->n && st == RY_OK; i++) {
        gguf_text t = v->tokens[i];
        int type = vocab_type(v, i);
        name.n = 0;
        if (type == SPM_NORMAL && t.n >= 3 && !memcmp(t.at, "\xE2\x96\x81", 3)) {
            ry_text_add(&name, t.at + 3, t.n - 3);
        } else {
            if (type == SPM_NORMAL) ry_text_puts(&name, "##");
            ry_text_add(&name, t.at, t.n);
        }
        if ((st = ry_text_status(&name)) == RY_OK) st = tok_add_word(l, name.at ? name.at : "", name.n, (int32_t)i, 0);
        if (st != RY_OK || (type != SPM_CONTROL && type != SPM_UNKNOWN && type != SPM_USER)) continue;
        tok_special *s = RY_PUSH(&list);
        if (!s)
            st = RY_ENOMEM;
        else
            *s = (tok_special){t.at, t.n, (int64_t)i, type != SPM_USER, false, false};
    }
    if (st == RY_OK) tok_put_added(added, list.at, list.n);
    RY_VEC_FREE(&list);
    ry_text_free(&name);
    return st;
}

static ry_status vocab_bert_tree(ry_text *t, vocab_file *v) {
    bool lower = true, accents, add_sep = true;
    int64_t cls = v->bos;
    RY_TRY(gguf_bool(&lower, v->f, KEY "normalizer.lowercase", false));
    accents = lower;
    RY_TRY(gguf_bool(&accents, v->f, KEY "normalizer.strip_accents", false));
    RY_TRY(gguf_bool(&add_sep, v->f, KEY "add_sep_token", false));
    RY_TRY(vocab_id(&cls, v, KEY "cls_token_id"));
    tok_spm_text before = vocab_text(v, v->b.add_bos ? cls : -1), behind = vocab_text(v, add_sep ? v->sep : -1), unk = vocab_text(v, v->unk);
    ry_text_printf(t,
                   "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":%s,"
                   "\"lowercase\":%s},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},",
                   accents ? "true" : "false", lower ? "true" : "false");
    tok_put_template(t, before.n ? before.at : NULL, before.n, cls, behind.n ? behind.at : NULL, behind.n, v->sep);
    ry_text_puts(t, "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\",\"unk_token\":");
    ry_text_json(t, unk.at, unk.n);
    ry_text_puts(t, ",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100}}");
    return ry_text_status(t);
}

static ry_status vocab_open_bert(ry_tokenizer **out, vocab_file *v) {
    tok_lists lists = {0};
    ry_text t = {0};
    ry_json *tree = NULL;
    v->bos = 101, v->unk = 100, v->sep = 102, v->pad = 0;
    v->b.add_bos = true;
    RY_TRY(vocab_common(v));
    ry_text_puts(&t, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    ry_status st = vocab_bert_words(&lists, &t, v);
    if (st == RY_OK) st = vocab_bert_tree(&t, v);
    if (st == RY_OK) st = ry_json_parse(&tree, t.at, t.n, gguf_name(v->f), 0);
    ry_text_free(&t);
    if (st == RY_OK) return tok_open_parts(out, tree, &lists, gguf_name(v->f));
    tok_lists_free(&lists);
    return st;
}

/* What a tokenizer_config.json would say, so that it is saved with the tokenizer. */
static ry_status vocab_config(ry_tokenizer *t, const gguf_file *f) {
    gguf_text text = {0};
    RY_TRY(gguf_string(&text, f, "tokenizer.chat_template", false));
    if (!(t->config = ry_json_new_object())) return RY_ENOMEM;
    RY_TRY(ry_json_put(t->config, "tokenizer_class", ry_json_new_text("PreTrainedTokenizerFast")));
    RY_TRY(ry_json_put(t->config, "clean_up_tokenization_spaces", ry_json_new_bool(false)));
    return text.at ? ry_json_put(t->config, "chat_template", ry_json_new_text_n(text.at, text.n)) : RY_OK;
}

ry_status tok_open_gguf(ry_tokenizer **out, const gguf_file *f) {
    vocab_file v = {.f = f, .bos = -1, .eos = -1, .unk = -1, .sep = -1, .pad = -1, .b = {.special = true, .raw_user = true}};
    gguf_text model;
    ry_tokenizer *t = NULL;
    if (!gguf_find(f, KEY "tokens")) RY_FAIL(RY_ENOENT, "%s: no tokenizer in this file (" KEY "tokens is missing)", gguf_name(f));
    RY_TRY(gguf_string(&model, f, KEY "model", true));
    RY_TRY(gguf_texts(&v.tokens, &v.n, f, KEY "tokens", true));
    static const char *const names[] = {"gpt2", "llama", "t5", "bert"};
    size_t kind = 0;
    while (kind < 4 && (strlen(names[kind]) != model.n || memcmp(names[kind], model.at, model.n))) kind++;
    if (kind == 4)
        RY_FAIL(RY_EUNSUPPORTED, "%s: " KEY "model is \"%.*s\"; gpt2, llama, t5 and bert are read", gguf_name(f),
                (int)(model.n < 40 ? model.n : 40), model.at);
    ry_status st = kind == 0   ? vocab_open_bytes(&t, &v)
                   : kind == 3 ? vocab_open_bert(&t, &v)
                               : vocab_open_spm(&t, &v, kind == 2);
    if (st == RY_OK) st = vocab_config(t, f);
    if (st != RY_OK) ry_tokenizer_close(t);
    if (st == RY_OK) {
        tok_set_special(t, RY_BOS, (int32_t)v.bos);
        tok_set_special(t, RY_EOS, (int32_t)v.eos);
        tok_set_special(t, RY_UNK, (int32_t)v.unk);
        tok_set_special(t, RY_PAD, (int32_t)v.pad);
        *out = t;
    }
    ry_arena_free(&v.arena);
    return st;
}
