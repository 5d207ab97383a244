/* unigram.c - the model of type Unigram: the sequence of pieces with the highest sum of scores.  Owns the trie of its pieces.
 *
 * Behaviour: that of Hugging Face's tokenizers (models/unigram, the optimized Viterbi), ties included: of two ways with equal sums the
 * one whose last piece is longest stays. Where the tree has "sentencepiece" (sentencepiece.c), that of sentencepiece 0.2.3: sums rounded
 * to float, and only normal and user-defined pieces stand for text.
 *
 * Speed and memory: where no piece that was found so far reaches beyond a place, every way leads through it: what comes before is
 * settled and written, and only the stretch since the last such place is kept. Time is linear in the text, for each byte at most the
 * longest piece. */
#include <float.h>
#include <math.h>
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/prefixes.h"
#include "io/utf8.h"

#define UNIGRAM_LARGE   100000.0
#define UNIGRAM_PENALTY 10.0 /* an unknown character scores so much less than the worst piece */

typedef struct unigram_model {
    tok_model base;
    tok_prefixes pieces;
    double *score; /* [pieces.ids.n] of the piece that ends at a node */
    double unk_score;
    int32_t unk; /* -1: none */
    int32_t byte_id[256]; /* of "<0x00>" ...; -1 */
    bool bytes;           /* an unknown character becomes its bytes, where all of them are there */
    bool rounded;         /* as sentencepiece */
} unigram_model;

static void unigram_close(tok_model *base) {
    unigram_model *m = (unigram_model *)base;
    tok_prefixes_free(&m->pieces);
    ry_mem_free(m->score);
    ry_mem_free(m);
}

/* Marks the ids of settings.sentencepiece.field. */
static ry_status unigram_mark(unsigned char *mark, int32_t size, unsigned char with, const ry_json *settings, const char *field,
                              const char *what) {
    const ry_json *list = NULL;
    RY_TRY(ry_json_array(&list, settings, what, field, false));
    for (size_t i = 0; i < ry_json_count(list); i++) {
        int64_t id;
        if (!ry_json_as_int(ry_json_at(list, i), &id) || id < 0 || id >= size)
            RY_FAIL(RY_EFORMAT, "%s: model.%s[%zu] must be an id of the vocabulary", what, field, i);
        mark[id] = with;
    }
    return RY_OK;
}

enum { UNIGRAM_NORMAL, UNIGRAM_USER, UNIGRAM_HIDDEN }; /* hidden: stands for no text */

static ry_status unigram_fill(unigram_model *m, const ry_json *settings, unsigned char *mark, const char *what) {
    const tok_lists *l = m->base.lists;
    int64_t unk = -1;
    double least = HUGE_VAL;
    RY_TRY(ry_json_bool(&m->bytes, settings, what, "byte_fallback", false));
    if (!l->words.n) RY_FAIL(RY_EFORMAT, "%s: model.vocab is empty", what);
    RY_TRY(ry_json_int(&unk, settings, what, "unk_id", 0, (int64_t)l->words.n - 1, false));
    m->unk = (int32_t)unk;
    m->rounded = ry_json_path(settings, "sentencepiece") != NULL;
    m->pieces.seed = l->seed;
    RY_TRY(unigram_mark(mark, l->size, UNIGRAM_USER, settings, "sentencepiece.user_defined", what));
    RY_TRY(unigram_mark(mark, l->size, UNIGRAM_HIDDEN, settings, "sentencepiece.unused", what));
    RY_TRY(unigram_mark(mark, l->size, UNIGRAM_HIDDEN, settings, "sentencepiece.hidden", what));
    for (size_t k = 0; k < l->words.n; k++) {
        const tok_word *w = &l->words.at[k];
        if (!isfinite(w->score)) RY_FAIL(RY_EFORMAT, "%s: model.vocab[%zu]: its score must be a finite number", what, k);
        if (mark[w->id] == UNIGRAM_HIDDEN) continue;
        if (w->score < least && mark[w->id] == UNIGRAM_NORMAL) least = w->score;
        if (w->n) RY_TRY(tok_prefixes_add(&m->pieces, l->bytes.at + w->at, w->n, (int32_t)k));
    }
    if (!m->pieces.ids.n) RY_FAIL(RY_EFORMAT, "%s: model.vocab has no piece that stands for text", what);
    m->unk_score = m->rounded ? (double)((float)least - (float)UNIGRAM_PENALTY) : least - UNIGRAM_PENALTY;
    if (!(m->score = ry_mem_zalloc(ry_mem_size(m->pieces.ids.n, sizeof *m->score, 0)))) return RY_ENOMEM;
    for (size_t i = 0; i < m->pieces.ids.n; i++) {
        int32_t *k = &m->pieces.ids.at[i];
        if (*k < 0) continue;
        m->score[i] = l->words.at[*k].score;
        *k = l->words.at[*k].id;
    }
    for (int b = 0; b < 256; b++) {
        char name[7];
        m->byte_id[b] = m->bytes ? tok_word_id(l, name, tok_byte_name(name, b)) : -1;
    }
    return RY_OK;
}

static ry_status unigram_read(tok_model **out, const ry_json *settings, const tok_lists *lists, const char *what) {
    unigram_model *m = ry_mem_zalloc(sizeof *m);
    unsigned char *mark = ry_mem_zalloc((size_t)lists->size + 1);
    if (m) m->base.lists = lists;
    ry_status st = m && mark ? unigram_fill(m, settings, mark, what) : RY_ENOMEM;
    ry_mem_free(mark);
    if (st == RY_OK) {
        *out = &m->base;
    } else if (m) {
        unigram_close(&m->base);
    }
    return st;
}

/* ---- the best way ---- */
typedef struct unigram_place { /* of a byte of the stretch, and its end: the best way that ends here */
    double sum;
    uint32_t from, to; /* its last piece begins there (NOWHERE: nothing ends here); where the best way goes on */
    int32_t id;
} unigram_place;

enum { UNIGRAM_NOWHERE = -1 };

typedef struct unigram_walk {
    const unigram_model *m;
    tok_work *w;
    const char *s;
    size_t n, begin;               /* begin: of the stretch */
    size_t unk_begin, unk_end;     /* unknown characters that wait, as they become one; equal: none */
} unigram_walk;

/* places[0 .. to] of the stretch exist; new ones are marked. `have` counts them. */
static ry_status unigram_room(tok_work *w, size_t *have, size_t to) {
    if (to < *have) return RY_OK;
    if (to >= UINT32_MAX) RY_FAIL(RY_EARG, "a text of more than 4 GiB without a place to cut it");
    size_t bytes = ry_mem_size(to + 1, sizeof(unigram_place), 0);
    if (bytes > w->scratch.cap) {
        size_t cap = bytes < 4096 ? 4096 : bytes + bytes / 2;
        char *at = ry_mem_grow(w->scratch.at, cap);
        if (!at) return RY_ENOMEM;
        w->scratch.at = at;
        w->scratch.cap = cap;
    }
    unigram_place *p = (unigram_place *)(void *)w->scratch.at;
    for (; *have <= to; ++*have) p[*have] = (unigram_place){0, (uint32_t)UNIGRAM_NOWHERE, 0, 0};
    return RY_OK;
}

static void unigram_offer(const unigram_model *m, unigram_place *p, double sum, size_t from, int32_t id) {
    if (m->rounded) sum = (double)(float)sum;
    if (p->from != (uint32_t)UNIGRAM_NOWHERE && !(sum > p->sum)) return;
    p->sum = sum;
    p->from = (uint32_t)from;
    p->id = id;
}

/* As sentencepiece: sums begin anew before they are so large that a float holds no fractions. */
static void unigram_lower(unigram_place *p, size_t at, size_t reach) {
    double sum = p[at].sum;
    if (sum >= -UNIGRAM_LARGE && sum <= UNIGRAM_LARGE) return;
    for (size_t i = at; i <= reach || i == at; i++)
        if (i == at || p[i].from != (uint32_t)UNIGRAM_NOWHERE) p[i].sum = (double)(float)(p[i].sum - sum);
}

static ry_status unigram_unknown(unigram_walk *k) {
    const unigram_model *m = k->m;
    size_t begin = k->unk_begin, end = k->unk_end;
    k->unk_begin = k->unk_end = 0;
    if (begin == end) return RY_OK;
    int32_t id = m->rounded ? -1 : tok_word_id(m->base.lists, k->s + begin, end - begin);
    if (id >= 0) return tok_emit(k->w, id, begin, end);
    bool all = m->bytes;
    for (size_t i = begin; i < end && all; i++) all = m->byte_id[(unsigned char)k->s[i]] >= 0;
    if (!all) return tok_emit(k->w, m->unk, begin, end);
    for (size_t i = begin; i < end; i++) RY_TRY(tok_emit(k->w, m->byte_id[(unsigned char)k->s[i]], begin, end));
    return RY_OK;
}

/* Writes the best way through the stretch, whose last place is `last`, and begins the next one there. */
static ry_status unigram_settle(unigram_walk *k, size_t last) {
    unigram_place *p = (unigram_place *)(void *)k->w->scratch.at;
    for (size_t i = last; i; i = p[i].from) p[p[i].from].to = (uint32_t)i;
    for (size_t i = 0; i < last;) {
        size_t to = p[i].to, begin = k->begin + i, end = k->begin + to;
        if (p[to].id == k->m->unk) {
            if (k->unk_begin == k->unk_end) k->unk_begin = begin;
            k->unk_end = end;
        } else {
            RY_TRY(unigram_unknown(k));
            RY_TRY(tok_emit(k->w, p[to].id, begin, end));
        }
        i = to;
    }
    k->begin += last;
    p[0] = p[last];
    return RY_OK;
}

static ry_status unigram_encode(const tok_model *base, tok_work *w, const char *s, size_t n) {
    const unigram_model *m = (const unigram_model *)base;
    unigram_walk k = {.m = m, .w = w, .s = s, .n = n};
    size_t have = 0, at = 0, reach = 0; /* at, reach: in the stretch */
    RY_TRY(unigram_room(w, &have, 0));
    while (k.begin + at < n) {
        const char *c = s + k.begin + at;
        size_t left = n - k.begin - at;
        int32_t cp;
        size_t len = utf8_next(c, left, &cp);
        bool single = false;
        if (m->rounded) unigram_lower((unigram_place *)(void *)w->scratch.at, at, reach);
        double sum = ((unigram_place *)(void *)w->scratch.at)[at].sum;
        uint32_t node = 0;
        for (size_t i = 0; i < left && (node = tok_prefixes_step(&m->pieces, node, c[i])); i++) {
            if (m->pieces.ids.at[node] < 0) continue;
            size_t end = at + i + 1;
            RY_TRY(unigram_room(w, &have, end));
            unigram_offer(m, (unigram_place *)(void *)w->scratch.at + end, m->score[node] + sum, at, m->pieces.ids.at[node]);
            single |= i + 1 == len;
            if (end > reach) reach = end;
        }
        if (!single) {
            RY_TRY(unigram_room(w, &have, at + len));
            unigram_place *p = (unigram_place *)(void *)w->scratch.at + at + len;
            unigram_offer(m, p, m->unk_score + sum, at, m->unk);
            if (p->id < 0)
                RY_FAIL(RY_EFORMAT, "the tokenizer has no unk_id and lacks the character \"%.*s\"", (int)len, c);
            if (at + len > reach) reach = at + len;
        }
        at += len;
        if (at < reach) continue;
        RY_TRY(unigram_settle(&k, at));
        at = reach = 0;
        have = 1;
    }
    return unigram_unknown(&k);
}

const tok_model_kind tok_unigram = {
    .name = "Unigram",
    .read = unigram_read,
    .close = unigram_close,
    .encode = unigram_encode,
    .vocab_is_list = true,
};
