/* gguf_vocab_write.c - a tokenizer as metadata of a GGUF file (tokenizer.ggml.*), as llama.cpp's converter writes them.  Knows the keys
 * that gguf_vocab.c reads; owns what it collects. */
#include <stdio.h>
#include "base/os.h"
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/gguf_vocab.h"
#include "io/tokenizer/steps.h"

#define KEY "tokenizer.ggml."

typedef struct vocab_put {
    gguf_meta *m;
    const ry_tokenizer *t;
    size_t n;
    gguf_text *texts;
    int32_t *types;
    float *scores;
    ry_arena arena;
    const char *what;
} vocab_put;

static const char *model_name(const ry_tokenizer *t) { return t->model->kind->name; }

/* ---- a step within a tree ---- */
/* Calls fn for each member of a field, those within a Sequence one by one; fn returning false stops. */
static bool tree_steps(const ry_json *j, const char *list, bool (*fn)(void *ud, const ry_json *step, const char *type), void *ud) {
    const char *type = ry_json_as_text(ry_json_find(j, "type"), NULL);
    if (!type) return true;
    const ry_json *members = ry_json_find(j, list);
    if (strcmp(type, "Sequence")) return fn(ud, j, type);
    for (size_t i = 0; i < ry_json_count(members); i++)
        if (!tree_steps(ry_json_at(members, i), list, fn, ud)) return false;
    return true;
}

static bool tree_flag(const ry_json *j, const char *key, bool otherwise) {
    (void)ry_json_as_bool(ry_json_path(j, key), &otherwise);
    return otherwise;
}

static bool is_bytelevel(void *ud, const ry_json *step, const char *type) {
    (void)step;
    if (!strcmp(type, "ByteLevel")) *(bool *)ud = true;
    return true;
}

static bool has_prefix(void *ud, const ry_json *step, const char *type) {
    const char *scheme = ry_json_as_text(ry_json_find(step, "prepend_scheme"), NULL);
    if (!strcmp(type, "Prepend")) *(bool *)ud = true;
    if (!strcmp(type, "Metaspace")) *(bool *)ud = scheme ? strcmp(scheme, "never") != 0 : tree_flag(step, "add_prefix_space", true);
    return true;
}

/* ---- the name of a way to cut texts ---- */
typedef struct pre_list {
    const char *regex[8];
    size_t n;
    bool nfc, other;
} pre_list;

static bool pre_step(void *ud, const ry_json *step, const char *type) {
    pre_list *p = ud;
    const char *regex = NULL, *behavior = ry_json_as_text(ry_json_find(step, "behavior"), NULL);
    if (!strcmp(type, "ByteLevel")) {
        p->other |= tree_flag(step, "add_prefix_space", true);
        if (!tree_flag(step, "use_regex", true)) return true;
        regex = tok_pres[0].regex[0];
    } else if (!strcmp(type, "Digits")) {
        regex = tree_flag(step, "individual_digits", false) ? "\\p{N}" : "\\p{N}+";
    } else if (!strcmp(type, "Split") && (!behavior || !strcmp(behavior, "Isolated"))) {
        regex = ry_json_as_text(ry_json_path(step, "pattern.Regex"), NULL);
    } else if (!strcmp(type, "Split") && !strcmp(behavior, "Removed") && tree_flag(step, "invert", false)) {
        regex = ry_json_as_text(ry_json_path(step, "pattern.Regex"), NULL); /* the matches stay, as where nothing else is left */
    }
    if (!regex || p->n == sizeof p->regex / sizeof *p->regex) {
        p->other = true;
    } else {
        p->regex[p->n++] = regex;
    }
    return true;
}

static bool pre_normalizer(void *ud, const ry_json *step, const char *type) {
    pre_list *p = ud;
    (void)step;
    p->nfc |= !strcmp(type, "NFC");
    p->other |= strcmp(type, "NFC") != 0;
    return true;
}

/* The next character of an expression: a line's end may be spelt as it is or with a backslash. */
static char regex_next(const char **s) {
    char c = *(*s)++;
    if (c != '\\' || (**s != 'r' && **s != 'n')) return c;
    return *(*s)++ == 'r' ? '\r' : '\n';
}

static bool same_regex(const char *a, const char *b) {
    while (*a && *b)
        if (regex_next(&a) != regex_next(&b)) return false;
    return !*a && !*b;
}

static const tok_pre *pre_of(const ry_tokenizer *t) {
    pre_list p = {.n = 0};
    bool ignore = tree_flag(t->tree, "model.ignore_merges", false);
    const tok_pre *found = NULL;
    tree_steps(ry_json_path(t->tree, "normalizer"), "normalizers", pre_normalizer, &p);
    tree_steps(ry_json_path(t->tree, "pre_tokenizer"), "pretokenizers", pre_step, &p);
    for (const tok_pre *row = tok_pres; row->names && !p.other; row++) {
        size_t n = 0;
        while (n < sizeof row->regex / sizeof *row->regex && row->regex[n]) n++;
        bool same = n == p.n;
        for (size_t i = 0; i < n && same; i++) same = same_regex(row->regex[i], p.regex[i]);
        if (!same) continue;
        if (!found || (row->ignore_merges == ignore && row->nfc == p.nfc)) found = row;
        if (found->ignore_merges == ignore && found->nfc == p.nfc) return found;
    }
    return found;
}

/* ---- entries ---- */
static ry_status put_entry(vocab_put *p, size_t i) {
    const tok_added_token *added = tok_added_of(&p->t->added, (int32_t)i);
    size_t n;
    const char *text = tok_any_text(p->t, (int32_t)i, &n);
    p->types[i] = !text ? SPM_UNUSED : !added ? SPM_NORMAL : added->special ? SPM_CONTROL : SPM_USER;
    if (!text) {
        if (!(text = ry_arena_printf(&p->arena, "[PAD%zu]", i))) return RY_ENOMEM;
        n = strlen(text);
    }
    p->texts[i] = (gguf_text){text, n};
    return RY_OK;
}

/* User-defined pieces stand in GGUF with spaces as they are. */
static ry_status put_spaces(vocab_put *p, gguf_text *t) {
    char *text = RY_NEW(&p->arena, char, t->n + 1);
    size_t n = 0;
    if (!text) return RY_ENOMEM;
    for (size_t i = 0; i < t->n; n++) {
        bool space = t->n - i >= 3 && !memcmp(t->at + i, "\xE2\x96\x81", 3);
        text[n] = space ? ' ' : t->at[i];
        i += space ? 3 : 1;
    }
    *t = (gguf_text){text, n};
    return RY_OK;
}

/* Types of a SentencePiece vocabulary. */
static ry_status put_types(vocab_put *p) {
    const ry_json *model = ry_json_path(p->t->tree, "model"), *unused = ry_json_path(model, "sentencepiece.unused"),
                  *user = ry_json_path(model, "sentencepiece.user_defined");
    int64_t id, unk = -1;
    const char *unk_text = ry_json_as_text(ry_json_path(model, "unk_token"), NULL);
    if (unk_text) unk = tok_any_id(p->t, unk_text, strlen(unk_text));
    (void)ry_json_as_int(ry_json_path(model, "unk_id"), &unk);
    for (size_t i = 0; i < p->n; i++)
        if (tok_fallback_byte(p->texts[i].at, p->texts[i].n) >= 0) p->types[i] = SPM_BYTE;
    for (size_t i = 0; i < ry_json_count(unused); i++)
        if (ry_json_as_int(ry_json_at(unused, i), &id) && id >= 0 && (size_t)id < p->n) p->types[id] = SPM_UNUSED;
    for (size_t i = 0; i < ry_json_count(user); i++)
        if (ry_json_as_int(ry_json_at(user, i), &id) && id >= 0 && (size_t)id < p->n) p->types[id] = SPM_USER;
    if (unk >= 0 && (size_t)unk < p->n) p->types[unk] = SPM_UNKNOWN;
    for (size_t i = 0; i < p->n; i++)
        if (p->types[i] == SPM_USER) RY_TRY(put_spaces(p, &p->texts[i]));
    return RY_OK;
}

/* A piece that the k-th merge makes scores -k, so that the order of merges is that of scores; else what the file said. */
static void put_scores(vocab_put *p) {
    const tok_lists *l = &p->t->lists;
    bool own = l->may_repeat || ry_json_path(p->t->tree, "model.sentencepiece");
    for (size_t i = 0; i < p->n; i++) p->scores[i] = p->types[i] == SPM_NORMAL ? -1e6f : p->types[i] == SPM_USER ? -1000.f : 0.f;
    for (size_t k = 0; k < l->words.n && own; k++) p->scores[l->words.at[k].id] = (float)l->words.at[k].score;
    for (size_t k = l->merges.n; k-- > 0 && !own;) {
        const tok_merge *m = &l->merges.at[k];
        int32_t id = tok_word_id(l, l->bytes.at + m->at, (size_t)m->n_a + m->n_b);
        if (id >= 0) p->scores[id] = -(float)k;
    }
}

static ry_status put_spm(vocab_put *p, const char *model) {
    const ry_json *spm = ry_json_path(p->t->tree, "normalizer.sentencepiece");
    bool prefix = tree_flag(spm, "add_dummy_prefix", false);
    if (!spm) {
        tree_steps(ry_json_path(p->t->tree, "normalizer"), "normalizers", has_prefix, &prefix);
        tree_steps(ry_json_path(p->t->tree, "pre_tokenizer"), "pretokenizers", has_prefix, &prefix);
    }
    RY_TRY(put_types(p));
    put_scores(p);
    gguf_put_text(p->m, KEY "model", model, strlen(model));
    gguf_put_text(p->m, KEY "pre", "default", 7);
    gguf_put_f32s(p->m, KEY "scores", p->scores, p->n);
    gguf_put_bool(p->m, KEY "add_space_prefix", prefix);
    gguf_put_bool(p->m, KEY "remove_extra_whitespaces", tree_flag(spm, "remove_extra_whitespaces", false));
    const ry_json *first = ry_json_at(ry_json_path(p->t->tree, "normalizer.normalizers"), 0);
    size_t n;
    const char *map = ry_json_as_text(ry_json_find(first, "precompiled_charsmap"), &n);
    if (!map) return RY_OK;
    ry_text bytes = {0};
    bool good = tok_base64_read(&bytes, map, n);
    ry_status st = ry_text_status(&bytes);
    if (good && st == RY_OK) gguf_put_u8s(p->m, KEY "precompiled_charsmap", bytes.at, bytes.n);
    ry_text_free(&bytes);
    return st;
}

static ry_status put_bytes(vocab_put *p) {
    const tok_lists *l = &p->t->lists;
    const tok_pre *pre = pre_of(p->t);
    if (!pre)
        RY_FAIL(RY_EUNSUPPORTED, "GGUF has no name for the way in which this tokenizer cuts texts (pre_tokenizer); it cannot be exported");
    gguf_text *merges = RY_NEW(&p->arena, gguf_text, l->merges.n + 1);
    if (!merges) return RY_ENOMEM;
    for (size_t k = 0; k < l->merges.n; k++) {
        const tok_merge *m = &l->merges.at[k];
        char *text = RY_NEW(&p->arena, char, (size_t)m->n_a + m->n_b + 1);
        if (!text) return RY_ENOMEM;
        memcpy(text, l->bytes.at + m->at, m->n_a);
        text[m->n_a] = ' ';
        memcpy(text + m->n_a + 1, l->bytes.at + m->at + m->n_a, m->n_b);
        merges[k] = (gguf_text){text, (size_t)m->n_a + m->n_b + 1};
    }
    gguf_put_text(p->m, KEY "model", "gpt2", 4);
    gguf_put_text(p->m, KEY "pre", pre->names, strcspn(pre->names, " "));
    gguf_put_texts(p->m, KEY "merges", merges, l->merges.n);
    return RY_OK;
}

static ry_status put_bert(vocab_put *p, const int32_t *ids, size_t n_ids) {
    const ry_json *normalizer = ry_json_path(p->t->tree, "normalizer");
    const char *prefix = ry_json_as_text(ry_json_path(p->t->tree, "model.continuing_subword_prefix"), NULL);
    if (!prefix) prefix = "##";
    for (size_t i = 0; i < p->n; i++) {
        gguf_text *t = &p->texts[i];
        size_t k = strlen(prefix);
        if (p->types[i] != SPM_NORMAL) continue;
        if (t->n >= k && !memcmp(t->at, prefix, k)) {
            *t = (gguf_text){t->at + k, t->n - k};
            continue;
        }
        char *text = RY_NEW(&p->arena, char, t->n + 4);
        if (!text) return RY_ENOMEM;
        memcpy(text, "\xE2\x96\x81", 3);
        memcpy(text + 3, t->at, t->n);
        *t = (gguf_text){text, t->n + 3};
    }
    bool lower = tree_flag(normalizer, "lowercase", true);
    gguf_put_text(p->m, KEY "model", "bert", 4);
    gguf_put_bool(p->m, KEY "normalizer.lowercase", lower);
    gguf_put_bool(p->m, KEY "normalizer.strip_accents", tree_flag(normalizer, "strip_accents", lower));
    if (n_ids > 0) gguf_put_u32(p->m, KEY "cls_token_id", (uint32_t)ids[0]);
    if (n_ids > 1) gguf_put_u32(p->m, KEY "seperator_token_id", (uint32_t)ids[n_ids - 1]);
    return RY_OK;
}

/* ids: of an empty text with what the post-processor adds. */
static ry_status put_all(vocab_put *p, const int32_t *ids, size_t n_ids, const char *chat_template) {
    static const char *const keys[] = {KEY "bos_token_id", KEY "eos_token_id", KEY "padding_token_id", KEY "unknown_token_id"};
    const ry_tokenizer *t = p->t;
    bool bytes = false, bert = !strcmp(model_name(t), "WordPiece"), unigram = !strcmp(model_name(t), "Unigram");
    tree_steps(ry_json_path(t->tree, "pre_tokenizer"), "pretokenizers", is_bytelevel, &bytes);
    p->texts = RY_NEW(&p->arena, gguf_text, p->n);
    p->types = RY_NEW(&p->arena, int32_t, p->n);
    p->scores = RY_NEW(&p->arena, float, p->n);
    if (!p->texts || !p->types || !p->scores) return RY_ENOMEM;
    for (size_t i = 0; i < p->n; i++) RY_TRY(put_entry(p, i));
    if (!bert && !unigram && !bytes && !tree_flag(t->tree, "model.byte_fallback", false) && !ry_json_path(t->tree, "model.sentencepiece"))
        RY_FAIL(RY_EUNSUPPORTED, "GGUF has no name for this tokenizer (a %s without bytes); it cannot be exported", model_name(t));
    RY_TRY(bert ? put_bert(p, ids, n_ids) : unigram ? put_spm(p, "t5") : bytes ? put_bytes(p) : put_spm(p, "llama"));
    gguf_put_texts(p->m, KEY "tokens", p->texts, p->n);
    gguf_put_i32s(p->m, KEY "token_type", p->types, p->n);
    int32_t special[4];
    for (int i = 0; i < 4; i++) special[i] = t->special[i];
    if (special[RY_BOS] < 0 && n_ids && !unigram && !bert) special[RY_BOS] = ids[0];
    if (special[RY_EOS] < 0 && n_ids && unigram) special[RY_EOS] = ids[n_ids - 1];
    for (int i = 0; i < 4; i++)
        if (special[i] >= 0) gguf_put_u32(p->m, keys[i], (uint32_t)special[i]);
    if (!bert) {
        gguf_put_bool(p->m, KEY "add_bos_token", n_ids > 0 && special[RY_BOS] >= 0 && ids[0] == special[RY_BOS]);
        gguf_put_bool(p->m, KEY "add_eos_token", n_ids > 0 && special[RY_EOS] >= 0 && ids[n_ids - 1] == special[RY_EOS] && (n_ids > 1 || ids[0] != special[RY_BOS]));
    }
    if (!chat_template) chat_template = ry_json_as_text(ry_json_path(t->config, "chat_template"), NULL);
    if (chat_template) gguf_put_text(p->m, "tokenizer.chat_template", chat_template, strlen(chat_template));
    return RY_OK;
}

ry_status tok_put_gguf(gguf_meta *m, const ry_tokenizer *t, int64_t n_vocab, const char *chat_template) {
    int64_t size = ry_tokenizer_size(t);
    if (n_vocab && n_vocab < size)
        RY_FAIL(RY_EARG, "the tokenizer has %lld ids, more than the model's %lld", (long long)size, (long long)n_vocab);
    vocab_put p = {.m = m, .t = t, .n = (size_t)(n_vocab ? n_vocab : size)};
    int32_t *ids;
    size_t n_ids;
    RY_TRY(ry_encode(t, "", 0, true, &ids, &n_ids));
    ry_status st = put_all(&p, ids, n_ids, chat_template);
    ry_free(ids);
    ry_arena_free(&p.arena);
    return st;
}
