/* vocab.c - the lists of a model: words with their ids in both directions, and the texts of merges.  Owns tok_lists; knows no file. */
#include <string.h>
#include "base/os.h"
#include "io/tokenizer/tok.h"

enum { TOK_IDS_BEYOND = 1 << 22 }; /* ids may leave so many gaps in all */

static ry_status tok_bytes_add(tok_lists *l, const char *a, size_t n_a, const char *b, size_t n_b, uint32_t *at) {
    if (n_a > INT32_MAX || n_b > INT32_MAX || l->bytes.n + n_a + n_b > INT32_MAX)
        RY_FAIL(RY_EFORMAT, "a vocabulary of more than 2 GiB of text");
    *at = (uint32_t)l->bytes.n;
    ry_text_add(&l->bytes, a, n_a);
    ry_text_add(&l->bytes, b, n_b);
    ry_text_add(&l->bytes, "", 1);
    return ry_text_status(&l->bytes);
}

ry_status tok_add_word(tok_lists *l, const char *text, size_t n, int32_t id, double score) {
    tok_word *w = RY_PUSH(&l->words);
    if (!w) return RY_ENOMEM;
    w->n = (uint32_t)n;
    w->id = id;
    w->score = score;
    return tok_bytes_add(l, text, n, NULL, 0, &w->at);
}

ry_status tok_add_merge(tok_lists *l, const char *a, size_t n_a, const char *b, size_t n_b) {
    tok_merge *m = RY_PUSH(&l->merges);
    if (!m) return RY_ENOMEM;
    m->n_a = (uint32_t)n_a;
    m->n_b = (uint32_t)n_b;
    return tok_bytes_add(l, a, n_a, b, n_b, &m->at);
}

void tok_lists_free(tok_lists *l) {
    ry_text_free(&l->bytes);
    RY_VEC_FREE(&l->words);
    RY_VEC_FREE(&l->merges);
    ry_mem_free(l->slots);
    ry_mem_free(l->by_id);
    *l = (tok_lists){0};
}

/* The table's slot of a text: where it stands, or the empty one where it would. */
static tok_slot *tok_find(const tok_lists *l, const char *text, size_t n) {
    uint32_t h = (uint32_t)(tok_hash(l->seed, text, n) >> 32);
    for (size_t i = h & l->mask;; i = (i + 1) & l->mask) {
        tok_slot *s = &l->slots[i];
        if (!s->word || (s->hash == h && s->n == n && !memcmp(l->bytes.at + s->at, text, n))) return s;
    }
}

static ry_status tok_index_word(tok_lists *l, size_t k, const char *what) {
    const tok_word *w = &l->words.at[k];
    const char *text = l->bytes.at + w->at;
    if (l->by_id[w->id])
        RY_FAIL(RY_EFORMAT, "%s: model.vocab: \"%.60s\" and \"%.60s\" have the same id %d", what,
                l->bytes.at + l->words.at[l->by_id[w->id] - 1].at, text, (int)w->id);
    l->by_id[w->id] = (uint32_t)k + 1;
    tok_slot *s = tok_find(l, text, w->n);
    if (s->word && !l->may_repeat) RY_FAIL(RY_EFORMAT, "%s: model.vocab: \"%.60s\" stands twice in the vocabulary", what, text);
    *s = (tok_slot){(uint32_t)(tok_hash(l->seed, text, w->n) >> 32), w->at, w->n, (uint32_t)k + 1};
    return RY_OK;
}

ry_status tok_lists_index(tok_lists *l, const char *what) {
    size_t n = l->words.n, slots = 16;
    if (n >= INT32_MAX / 2) RY_FAIL(RY_EFORMAT, "%s: model.vocab: %zu words are more than ids can number", what, n);
    int64_t most = (int64_t)n + TOK_IDS_BEYOND;
    for (size_t k = 0; k < n; k++) {
        int32_t id = l->words.at[k].id;
        if (id < 0 || id >= most)
            RY_FAIL(RY_EFORMAT, "%s: model.vocab: the id of \"%.60s\" must be an integer from 0 to %lld, it is %d", what,
                    l->bytes.at + l->words.at[k].at, (long long)most - 1, (int)id);
        if (id >= l->size) l->size = id + 1;
    }
    while (slots < 2 * n) slots *= 2;
    l->mask = slots - 1;
    l->slots = ry_mem_zalloc(slots * sizeof *l->slots);
    l->by_id = ry_mem_zalloc((size_t)l->size * sizeof *l->by_id);
    if (!l->slots || !l->by_id) return RY_ENOMEM;
    uint64_t clock[2] = {(uint64_t)(os_now() * 1e9), (uint64_t)(uintptr_t)l->slots};
    l->seed = tok_hash(0, (const char *)clock, sizeof clock); /* nobody can write a file of equal hashes */
    for (size_t k = 0; k < n; k++) RY_TRY(tok_index_word(l, k, what));
    return RY_OK;
}

int32_t tok_word_id(const tok_lists *l, const char *text, size_t n) {
    const tok_slot *s = tok_find(l, text, n);
    return s->word ? l->words.at[s->word - 1].id : -1;
}

void tok_word_soon(const tok_lists *l, const char *text, size_t n, bool late) {
#ifdef __GNUC__
    uint32_t h = (uint32_t)(tok_hash(l->seed, text, n) >> 32);
    const tok_slot *s = &l->slots[h & l->mask];
    __builtin_prefetch(s);
    if (!late || s->hash != h) return;
    __builtin_prefetch(l->bytes.at + s->at);
    __builtin_prefetch(&l->words.at[s->word - 1]);
#else
    (void)l, (void)text, (void)n, (void)late;
#endif
}

const char *tok_word_text(const tok_lists *l, int32_t id, size_t *n) {
    if (id < 0 || id >= l->size || !l->by_id[id]) return NULL;
    const tok_word *w = &l->words.at[l->by_id[id] - 1];
    if (n) *n = w->n;
    return l->bytes.at + w->at;
}
