/* train.c - makes a byte-level BPE from texts.  Owns what it counts while it works.
 *
 * The merges are those of Hugging Face's BpeTrainer for the same files (lines are cut apart first, as its reader of files does): the
 * most frequent pair is joined, of equals the one with the smaller ids; a pair that comes anew waits with the words where it came, so
 * that a later join of an old pair touches only those (visible where one text is made in two ways).
 * Algorithm: Sennrich, Haddow, Birch (2016), arXiv:1508.07909, over counted words, with counts of pairs kept up to date and a heap. */
#include <stdlib.h>
#include "base/os.h"
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/prefixes.h"
#include "io/tokenizer/steps.h"

typedef struct train_word { /* its ids: pool[at .. at + n), bytes of the text at first */
    uint64_t at;
    uint32_t n;
    int64_t count;
} train_word;

typedef struct train_pair { /* of an open-addressed table; a < 0: empty */
    int32_t a, b;
    int64_t count;
    uint32_t waiting; /* index in `waiting` + 1 while its words are collected */
} train_pair;

typedef RY_VEC(uint32_t) train_places;

typedef struct train_entry { /* of the heap */
    int64_t count;
    int32_t a, b;
    train_places words;
} train_entry;

typedef struct train_state {
    const ry_tokenizer_train_options *o;
    tok_pattern *pattern;
    RY_VEC(train_word) words;
    ry_text text; /* of the words */
    uint64_t *slots; /* hash << 32 | word + 1 */
    size_t mask;
    int32_t *pool;
    train_pair *pairs;
    size_t pair_mask, n_pairs;
    RY_VEC(train_entry) heap, waiting;
    tok_prefixes names; /* texts in ByteLevel's characters -> id */
    tok_bytes_file file;
    int64_t vocab;
} train_state;

/* ---- words ---- */
static ry_status train_slots(train_state *s) {
    size_t n = s->slots ? 2 * (s->mask + 1) : 1 << 16;
    uint64_t *slots = ry_mem_zalloc(ry_mem_size(n, sizeof *slots, 0));
    if (!slots) return RY_ENOMEM;
    for (size_t i = 0; s->slots && i <= s->mask; i++) {
        if (!s->slots[i]) continue;
        size_t k = (s->slots[i] >> 32) & (n - 1);
        while (slots[k]) k = (k + 1) & (n - 1);
        slots[k] = s->slots[i];
    }
    ry_mem_free(s->slots);
    s->slots = slots;
    s->mask = n - 1;
    return RY_OK;
}

static ry_status train_count(train_state *s, const char *word, size_t n) {
    if (2 * s->words.n >= s->mask || !s->slots) RY_TRY(train_slots(s));
    uint64_t h = tok_hash(0, word, n) >> 32;
    size_t i = h & s->mask;
    for (; s->slots[i]; i = (i + 1) & s->mask) {
        if (s->slots[i] >> 32 != h) continue;
        train_word *w = &s->words.at[(uint32_t)s->slots[i] - 1];
        if (w->n != n || memcmp(s->text.at + w->at, word, n)) continue;
        w->count++;
        return RY_OK;
    }
    if (s->words.n >= INT32_MAX || n > INT32_MAX) RY_FAIL(RY_EUNSUPPORTED, "more than 2^31 different words, or a longer word");
    train_word *w = RY_PUSH(&s->words);
    if (!w) return RY_ENOMEM;
    *w = (train_word){s->text.n, (uint32_t)n, 1};
    s->slots[i] = h << 32 | s->words.n;
    ry_text_add(&s->text, word, n);
    return ry_text_status(&s->text);
}

static ry_status train_line(train_state *s, const char *line, size_t n) {
    tok_match m = {.pattern = s->pattern, .at = line, .n = n};
    size_t done = 0;
    for (bool found;;) {
        RY_TRY(tok_match_next(&m, &found));
        if (!found) break;
        if (m.begin > done) RY_TRY(train_count(s, line + done, m.begin - done));
        if (m.end > m.begin) RY_TRY(train_count(s, line + m.begin, m.end - m.begin));
        done = m.end;
    }
    return done < n ? train_count(s, line + done, n - done) : RY_OK;
}

static void train_progress(const train_state *s, const char *what, double share) {
    if (s->o->progress) s->o->progress(s->o->ud, what, share);
}

static bool train_stopped(const train_state *s) { return s->o->stop && *s->o->stop; }

static ry_status train_read(train_state *s, size_t n, const char *const *texts, const size_t *bytes) {
    double all = 0, done = 0;
    size_t shown = 0;
    for (size_t i = 0; i < n; i++) all += (double)bytes[i];
    for (size_t i = 0; i < n; i++) {
        size_t good = utf8_valid(texts[i], bytes[i]);
        if (good != bytes[i]) RY_FAIL(RY_EFORMAT, "text %zu is not UTF-8 at byte %zu", i, good);
        for (size_t at = 0, len; at < bytes[i]; at += len) {
            const char *stop = memchr(texts[i] + at, '\n', bytes[i] - at);
            len = stop ? (size_t)(stop - (texts[i] + at)) + 1 : bytes[i] - at;
            RY_TRY(train_line(s, texts[i] + at, len));
            done += (double)len;
            if ((size_t)done >> 20 == shown) continue;
            shown = (size_t)done >> 20;
            train_progress(s, "counting words", done / all);
            if (train_stopped(s)) RY_FAIL(RY_ESTOPPED, "stopped while words were counted");
        }
    }
    return RY_OK;
}

/* ---- pairs ---- */
static size_t train_slot(const train_state *s, int32_t a, int32_t b) {
    uint64_t h = ((uint64_t)(uint32_t)a << 32 | (uint32_t)b) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    size_t i = (size_t)(h >> 32) & s->pair_mask;
    while (s->pairs[i].a >= 0 && (s->pairs[i].a != a || s->pairs[i].b != b)) i = (i + 1) & s->pair_mask;
    return i;
}

static ry_status train_pairs(train_state *s) {
    size_t old = s->pairs ? s->pair_mask + 1 : 0, n = old ? 2 * old : 1 << 16;
    train_pair *had = s->pairs;
    if (!(s->pairs = ry_mem_alloc(ry_mem_size(n, sizeof *s->pairs, 0)))) {
        s->pairs = had;
        return RY_ENOMEM;
    }
    s->pair_mask = n - 1;
    for (size_t i = 0; i < n; i++) s->pairs[i] = (train_pair){-1, -1, 0, 0};
    for (size_t i = 0; i < old; i++)
        if (had[i].a >= 0) s->pairs[train_slot(s, had[i].a, had[i].b)] = had[i];
    ry_mem_free(had);
    return RY_OK;
}

/* Adds to a pair's count; where it grows, the word is put among those that wait with it. */
static ry_status train_change(train_state *s, int32_t a, int32_t b, int64_t by, uint32_t word) {
    if (!s->pairs || 2 * s->n_pairs > s->pair_mask) RY_TRY(train_pairs(s));
    train_pair *p = &s->pairs[train_slot(s, a, b)];
    if (p->a < 0) {
        *p = (train_pair){a, b, 0, 0};
        s->n_pairs++;
    }
    p->count += by;
    if (by < 0) return RY_OK;
    if (!p->waiting) {
        train_entry *e = RY_PUSH(&s->waiting);
        if (!e) return RY_ENOMEM;
        e->a = a;
        e->b = b;
        p->waiting = (uint32_t)s->waiting.n;
    }
    train_places *places = &s->waiting.at[p->waiting - 1].words;
    if (places->n && places->at[places->n - 1] == word) return RY_OK;
    uint32_t *place = RY_PUSH(places);
    if (!place) return RY_ENOMEM;
    *place = word;
    return RY_OK;
}

/* ---- the heap ---- */
static bool train_before(const train_entry *x, const train_entry *y) {
    if (x->count != y->count) return x->count > y->count;
    return x->a != y->a ? x->a < y->a : x->b < y->b;
}

static void train_sift(train_state *s) { /* the first entry goes where it belongs */
    train_entry *h = s->heap.at, v = h[0];
    size_t n = s->heap.n, i = 0;
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && train_before(&h[c + 1], &h[c])) c++;
        if (!train_before(&h[c], &v)) break;
        h[i] = h[c];
    }
    h[i] = v;
}

static ry_status train_push(train_state *s, train_entry *e) { /* takes its words over */
    train_entry v = *e;
    if (!RY_PUSH(&s->heap)) return RY_ENOMEM;
    e->words = (train_places){0};
    train_entry *h = s->heap.at;
    size_t i = s->heap.n - 1;
    for (; i && train_before(&v, &h[(i - 1) / 2]); i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
    h[i] = v;
    return RY_OK;
}

/* What waited comes into the heap. */
static ry_status train_flush(train_state *s) {
    for (size_t i = 0; i < s->waiting.n; i++) {
        train_entry *e = &s->waiting.at[i];
        train_pair *p = &s->pairs[train_slot(s, e->a, e->b)];
        p->waiting = 0;
        e->count = p->count;
        if (e->count > 0) RY_TRY(train_push(s, e));
        RY_VEC_FREE(&e->words);
    }
    s->waiting.n = 0;
    return RY_OK;
}

/* ---- joining ---- */
static ry_status train_join(train_state *s, uint32_t word, int32_t a, int32_t b, int32_t made) {
    train_word *w = &s->words.at[word];
    int32_t *ids = s->pool + w->at;
    uint32_t to = 0;
    for (uint32_t i = 0; i < w->n; to++) {
        if (ids[i] != a || i + 1 >= w->n || ids[i + 1] != b) {
            ids[to] = ids[i++];
            continue;
        }
        if (to) {
            RY_TRY(train_change(s, ids[to - 1], a, -w->count, word));
            RY_TRY(train_change(s, ids[to - 1], made, w->count, word));
        }
        if (i + 2 < w->n) {
            RY_TRY(train_change(s, b, ids[i + 2], -w->count, word));
            RY_TRY(train_change(s, made, ids[i + 2], w->count, word));
        }
        ids[to] = made;
        i += 2;
    }
    w->n = to;
    return RY_OK;
}

static const tok_word *train_text(const train_state *s, int32_t id) { return &s->file.lists.words.at[id]; }

static ry_status train_name(train_state *s, const char *text, size_t n, int32_t *id) {
    uint32_t node = 0;
    for (size_t i = 0; i < n && (node || !i) && s->names.ids.n; i++) node = tok_prefixes_step(&s->names, node, text[i]);
    if (node && s->names.ids.at[node] >= 0) {
        *id = s->names.ids.at[node];
        return RY_OK;
    }
    *id = (int32_t)s->file.lists.words.n;
    RY_TRY(tok_prefixes_add(&s->names, text, n, *id));
    return tok_add_word(&s->file.lists, text, n, *id, 0);
}

static ry_status train_merge(train_state *s, int32_t a, int32_t b, int32_t *made) {
    ry_text t = {0};
    const char *bytes = s->file.lists.bytes.at;
    ry_text_add(&t, bytes + train_text(s, a)->at, train_text(s, a)->n);
    ry_text_add(&t, bytes + train_text(s, b)->at, train_text(s, b)->n);
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) st = train_name(s, t.at, t.n, made);
    if (st == RY_OK) st = tok_add_merge(&s->file.lists, t.at, train_text(s, a)->n, t.at + train_text(s, a)->n, train_text(s, b)->n);
    ry_text_free(&t);
    return st;
}

static ry_status train_merges(train_state *s) {
    int64_t least = s->o->min_count > 1 ? s->o->min_count : 1, begin = (int64_t)s->file.lists.words.n;
    while (s->heap.n && (int64_t)s->file.lists.words.n < s->vocab) {
        train_entry *top = &s->heap.at[0];
        int64_t count = s->pairs[train_slot(s, top->a, top->b)].count;
        if (top->count != count) {
            top->count = count;
            train_sift(s);
            continue;
        }
        if (count < least) break;
        train_entry e = *top;
        *top = s->heap.at[--s->heap.n];
        if (s->heap.n) train_sift(s);
        int32_t made;
        ry_status st = train_merge(s, e.a, e.b, &made);
        for (size_t i = 0; i < e.words.n && st == RY_OK; i++) st = train_join(s, e.words.at[i], e.a, e.b, made);
        RY_VEC_FREE(&e.words);
        RY_TRY(st);
        RY_TRY(train_flush(s));
        if (s->file.lists.words.n % 64) continue;
        train_progress(s, "merging", (double)((int64_t)s->file.lists.words.n - begin) / (double)(s->vocab - begin));
        if (train_stopped(s)) RY_FAIL(RY_ESTOPPED, "stopped with %zu of %lld entries", s->file.lists.words.n, (long long)s->vocab);
    }
    return RY_OK;
}

/* ---- all of it ---- */
static int train_char_order(const void *a, const void *b) {
    int32_t x = bytelevel_char(*(const unsigned char *)a), y = bytelevel_char(*(const unsigned char *)b);
    return x < y ? -1 : x > y;
}

/* Special tokens, then the 256 characters in their order, as the vocabulary begins; words become ids. */
static ry_status train_alphabet(train_state *s) {
    unsigned char order[256];
    int32_t id, of[256];
    for (const char *const *t = s->o->special; t && *t; t++) {
        size_t n = strlen(*t);
        if (!n) RY_FAIL(RY_EARG, "an empty special token");
        RY_TRY(train_name(s, *t, n, &id));
        tok_special *added = RY_PUSH(&s->file.added);
        if (!added) return RY_ENOMEM;
        *added = (tok_special){*t, n, id, true, false, false};
    }
    for (int b = 0; b < 256; b++) order[b] = (unsigned char)b;
    qsort(order, 256, 1, train_char_order);
    for (int i = 0; i < 256; i++) {
        char name[4];
        RY_TRY(train_name(s, name, utf8_put(name, bytelevel_char(order[i])), &of[order[i]]));
    }
    if ((int64_t)s->file.lists.words.n > s->vocab)
        RY_FAIL(RY_EARG, "a vocabulary of %lld entries has no room for the 256 bytes and the special tokens; give at least %zu",
                (long long)s->vocab, s->file.lists.words.n);
    if (!(s->pool = ry_mem_alloc(ry_mem_size(s->text.n, sizeof *s->pool, 0)))) return RY_ENOMEM;
    for (size_t i = 0; i < s->text.n; i++) s->pool[i] = of[(unsigned char)s->text.at[i]];
    return RY_OK;
}

static ry_status train_run(train_state *s, size_t n, const char *const *texts, const size_t *bytes) {
    const char *pattern = s->o->pattern ? s->o->pattern : tok_pres[0].regex[0];
    RY_TRY(tok_pattern_regex(&s->pattern, pattern, strlen(pattern), "the tokenizer's trainer", "pattern"));
    RY_TRY(train_read(s, n, texts, bytes));
    RY_TRY(train_alphabet(s));
    for (size_t i = 0; i < s->words.n; i++) {
        const train_word *w = &s->words.at[i];
        for (uint32_t k = 0; k + 1 < w->n; k++) RY_TRY(train_change(s, s->pool[w->at + k], s->pool[w->at + k + 1], w->count, (uint32_t)i));
    }
    RY_TRY(train_flush(s));
    return train_merges(s);
}

static void train_free(train_state *s) {
    for (size_t i = 0; i < s->heap.n; i++) RY_VEC_FREE(&s->heap.at[i].words);
    for (size_t i = 0; i < s->waiting.n; i++) RY_VEC_FREE(&s->waiting.at[i].words);
    RY_VEC_FREE(&s->heap);
    RY_VEC_FREE(&s->waiting);
    RY_VEC_FREE(&s->words);
    ry_text_free(&s->text);
    tok_pattern_free(s->pattern);
    tok_prefixes_free(&s->names);
    ry_mem_free(s->slots);
    ry_mem_free(s->pool);
    ry_mem_free(s->pairs);
}

ry_status ry_tokenizer_train(ry_tokenizer **out, size_t n, const char *const *texts, const size_t *bytes, const ry_tokenizer_train_options *o) {
    static const ry_tokenizer_train_options none = {0};
    if (!out || (n && (!texts || !bytes))) RY_FAIL(RY_EARG, "ry_tokenizer_train: out and texts must be given");
    train_state s = {.o = o ? o : &none, .file = {.bos = -1, .eos = -1, .what = "the trained tokenizer"}};
    s.file.lists.has_merges = true;
    s.vocab = s.o->vocab ? s.o->vocab : 4096;
    s.file.regex = s.o->pattern ? s.o->pattern : tok_pres[0].regex[0];
    if (s.vocab < 0 || s.vocab > INT32_MAX / 4) RY_FAIL(RY_EARG, "a vocabulary of %lld entries", (long long)s.vocab);
    ry_status st = train_run(&s, n, texts, bytes);
    train_free(&s);
    tok_beside b = {.special = true};
    return tok_open_bytes(out, st, &s.file, &b);
}
