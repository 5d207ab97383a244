/* bpe.c - byte pair encoding: the parts of a piece are joined, the strongest merge first, the leftmost among equals.  Owns the table of
 * merges and, in the work, a cache of short pieces.
 *
 * Behaviour: that of Hugging Face's tokenizers (models/bpe), oddities included: an unknown character without unk_token is left out,
 * and its neighbours meet; offsets are sums of the parts' lengths.
 *
 * Speed: where no merge has x at the end of its left side and y at the beginning of its right side, nothing is ever joined between
 * x and y, so a piece is cut there first. Texts without a pre-tokenizer (SentencePiece) fall into words by that. */
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/tok.h"
#include "io/utf8.h"

enum {
    BPE_NO_RANK = -1,         /* as uint32_t: no merge */
    BPE_SCAN = 40,            /* up to so many parts a scan for the best merge is faster than a heap */
    BPE_JOINTS = 1 << 18,     /* bits of the table of (x, y) */
    BPE_CACHE = 1 << 14,      /* cached pieces, 64 bytes each */
    BPE_CACHED_BYTES = 28,    /* of a piece, at most */
    BPE_CACHED_IDS = 8,
    BPE_AHEAD = 12,           /* merges */
    BPE_PAGE = 256,
    BPE_PAGES = 0x110000 / BPE_PAGE
};

typedef struct bpe_rule { /* of the open-addressed table of merges */
    int32_t a, b, made;
    uint32_t rank; /* BPE_NO_RANK: an empty slot */
} bpe_rule;

typedef struct bpe_cached { /* zero: empty */
    char text[BPE_CACHED_BYTES];
    uint8_t n, n_ids;
    int32_t ids[BPE_CACHED_IDS];
} bpe_cached;

typedef struct bpe_model {
    tok_model base;
    bpe_rule *rules;
    size_t mask;
    uint64_t *joints;            /* NULL: pieces are not cut */
    int32_t *page[BPE_PAGES];    /* code point -> id or -1 */
    int32_t byte_id[256];        /* of ByteLevel's characters, where pieces are bytes */
    int32_t fallback_id[256];    /* of "<0x00>" ...; -1 */
    ry_text prefix, suffix, unk; /* n 0: none */
    int32_t unk_id;              /* -1: not in the vocabulary */
    bool has_unk, fuse_unk, byte_fallback, ignore_merges, as_bytes, whole_fallback;
} bpe_model;

static void bpe_close(tok_model *base) {
    bpe_model *m = (bpe_model *)base;
    for (int i = 0; i < BPE_PAGES; i++) ry_mem_free(m->page[i]);
    ry_mem_free(m->rules);
    ry_mem_free(m->joints);
    ry_text_free(&m->prefix);
    ry_text_free(&m->suffix);
    ry_text_free(&m->unk);
    ry_mem_free(m);
}

/* ---- reading ---- */
static ry_status bpe_text(ry_text *out, bool *has, const ry_json *settings, const char *what, const char *key) {
    const char *s = NULL;
    RY_TRY(ry_json_text(&s, settings, what, key, false));
    if (has) *has = s != NULL;
    if (s) ry_text_puts(out, s);
    return ry_text_status(out);
}

static ry_status bpe_settings(bpe_model *m, const ry_json *settings, const char *what) {
    double dropout = 0;
    RY_TRY(ry_json_real(&dropout, settings, what, "dropout", 0, 1, false));
    if (dropout > 0)
        RY_FAIL(RY_EUNSUPPORTED, "%s: model.dropout is %g: merges left out at random have no ids to be equal to", what,
                dropout);
    RY_TRY(ry_json_bool(&m->fuse_unk, settings, what, "fuse_unk", false));
    RY_TRY(ry_json_bool(&m->byte_fallback, settings, what, "byte_fallback", false));
    RY_TRY(ry_json_bool(&m->ignore_merges, settings, what, "ignore_merges", false));
    RY_TRY(bpe_text(&m->prefix, NULL, settings, what, "continuing_subword_prefix"));
    RY_TRY(bpe_text(&m->suffix, NULL, settings, what, "end_of_word_suffix"));
    return bpe_text(&m->unk, &m->has_unk, settings, what, "unk_token");
}

static size_t bpe_rule_hash(const bpe_model *m, int32_t a, int32_t b) {
    uint64_t h = ((uint64_t)(uint32_t)a << 32 | (uint32_t)b) * UINT64_C(0x9E3779B97F4A7C15);
    h ^= m->base.lists->seed; /* the order of slots is nobody's to choose */
    h = (h ^ h >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return h >> 32 & m->mask;
}

static size_t bpe_rule_slot(const bpe_model *m, int32_t a, int32_t b) {
    for (size_t i = bpe_rule_hash(m, a, b);; i = (i + 1) & m->mask) {
        const bpe_rule *r = &m->rules[i];
        if (r->rank == (uint32_t)BPE_NO_RANK || (r->a == a && r->b == b)) return i;
    }
}

static void bpe_rule_soon(const bpe_model *m, int32_t a, int32_t b) {
#ifdef __GNUC__
    __builtin_prefetch(&m->rules[bpe_rule_hash(m, a, b)]);
#else
    (void)m, (void)a, (void)b;
#endif
}

static ry_status bpe_missing(const char *what, size_t k, const char *text, size_t n) {
    RY_FAIL(RY_EFORMAT, "%s: model.merges[%zu]: \"%.*s\" is not in model.vocab", what, k, (int)(n < 60 ? n : 60), text);
}

/* The id of what a merge makes. Merges mostly make the words of the vocabulary in their order: *last and the next are tried first. */
static int32_t bpe_made(const bpe_model *m, const char *text, size_t n, int32_t *last) {
    for (int32_t id = *last; id <= *last + 1; id++) {
        size_t n_word;
        const char *word = tok_word_text(m->base.lists, id, &n_word);
        if (word && n_word == n && !memcmp(word, text, n)) return *last = id;
    }
    int32_t id = tok_word_id(m->base.lists, text, n);
    return id < 0 ? id : (*last = id);
}

static ry_status bpe_rule_of(const bpe_model *m, size_t k, bpe_rule *out, int32_t *last, const char *what) {
    const tok_lists *l = m->base.lists;
    const tok_merge *g = &l->merges.at[k];
    const char *a = l->bytes.at + g->at, *b = a + g->n_a;
    bpe_rule r = {tok_word_id(l, a, g->n_a), tok_word_id(l, b, g->n_b), -1, (uint32_t)k};
    if (r.a < 0) return bpe_missing(what, k, a, g->n_a);
    if (r.b < 0) return bpe_missing(what, k, b, g->n_b);
    if (!m->prefix.n) {
        r.made = bpe_made(m, a, (size_t)g->n_a + g->n_b, last);
        if (r.made < 0) return bpe_missing(what, k, a, (size_t)g->n_a + g->n_b);
    } else { /* the right side's prefix goes */
        ry_text t = {0};
        ry_text_add(&t, a, g->n_a);
        if (g->n_b > m->prefix.n) ry_text_add(&t, b + m->prefix.n, g->n_b - m->prefix.n);
        ry_status st = ry_text_status(&t);
        if (st == RY_OK && (r.made = tok_word_id(l, t.at, t.n)) < 0) st = bpe_missing(what, k, t.at, t.n);
        ry_text_free(&t);
        RY_TRY(st);
    }
    *out = r;
    return RY_OK;
}

/* The tables are larger than the caches: each entry is asked for some merges before it is needed. */
static void bpe_soon(const tok_lists *l, size_t k, bool late) {
    if (k >= l->merges.n) return;
    const tok_merge *g = &l->merges.at[k];
    tok_word_soon(l, l->bytes.at + g->at, g->n_a, late);
    tok_word_soon(l, l->bytes.at + g->at + g->n_a, g->n_b, late);
}

static ry_status bpe_rules(bpe_model *m, const char *what) {
    const tok_lists *l = m->base.lists;
    bpe_rule waiting[BPE_AHEAD];
    size_t slots = 16, n = l->merges.n;
    int32_t last = 0;
    if (n >= INT32_MAX / 2) RY_FAIL(RY_EFORMAT, "%s: model.merges: too many", what);
    while (slots < n + n / 2) slots *= 2;
    m->mask = slots - 1;
    if (!(m->rules = ry_mem_alloc(slots * sizeof *m->rules))) return RY_ENOMEM;
    memset(m->rules, 0xFF, slots * sizeof *m->rules);
    for (size_t k = 0; k < n + BPE_AHEAD; k++) {
        bpe_rule *r = &waiting[k % BPE_AHEAD];
        if (k >= BPE_AHEAD) m->rules[bpe_rule_slot(m, r->a, r->b)] = *r;
        if (k >= n) continue;
        bpe_soon(l, k + 2 * BPE_AHEAD, false);
        bpe_soon(l, k + BPE_AHEAD, true);
        RY_TRY(bpe_rule_of(m, k, r, &last, what));
        bpe_rule_soon(m, r->a, r->b);
    }
    return RY_OK;
}

static ry_status bpe_pages(bpe_model *m) {
    const tok_lists *l = m->base.lists;
    for (size_t k = 0; k < l->words.n; k++) {
        const tok_word *w = &l->words.at[k];
        int32_t cp;
        if (!w->n || w->n > 4 || utf8_next(l->bytes.at + w->at, w->n, &cp) != w->n || cp < 0) continue;
        int32_t **page = &m->page[cp / BPE_PAGE];
        if (!*page) {
            if (!(*page = ry_mem_alloc(BPE_PAGE * sizeof **page))) return RY_ENOMEM;
            memset(*page, 0xFF, BPE_PAGE * sizeof **page);
        }
        (*page)[cp % BPE_PAGE] = w->id;
    }
    return RY_OK;
}

static int32_t bpe_char_id(const bpe_model *m, int32_t cp) {
    const int32_t *page = m->page[cp / BPE_PAGE];
    return page ? page[cp % BPE_PAGE] : -1;
}

/* Two characters (or bytes) beside each other. */
static size_t bpe_joint(int32_t x, int32_t y) {
    return ((uint32_t)x * 0x9E3779B1u ^ (uint32_t)y * 0x85EBCA77u) >> 14 & (BPE_JOINTS - 1);
}

/* The first or last code point of a text, or -1 where it is not UTF-8. */
static int32_t bpe_edge(const char *s, size_t n, bool last) {
    int32_t cp;
    size_t from = 0;
    if (!n) return -1;
    if (last)
        for (from = n - 1; from > 0 && n - from < 4 && ((unsigned char)s[from] & 0xC0) == 0x80;) from--;
    size_t len = utf8_next(s + from, n - from, &cp);
    return last && from + len != n ? -1 : cp;
}

/* The six bytes before `end` are the name of a byte; n: how many are there, or behind their beginning. */
static bool bpe_is_fallback(const char *end, size_t n) {
    return n >= 6 && !memcmp(end - 6, "<0x", 3) && end[-1] == '>';
}

/* Marks where merges can join. Pieces are not cut (joints stay NULL) where the parts are not simply the characters of the texts. */
static ry_status bpe_joints(bpe_model *m) {
    const tok_lists *l = m->base.lists;
    if (m->prefix.n || m->suffix.n) return RY_OK;
    if (m->byte_fallback && !m->whole_fallback && m->has_unk) return RY_OK; /* an unknown part is put behind later ones */
    if (!(m->joints = ry_mem_zalloc(BPE_JOINTS / 8))) return RY_ENOMEM;
    for (size_t k = 0; k < l->merges.n; k++) {
        const tok_merge *g = &l->merges.at[k];
        const char *a = l->bytes.at + g->at, *b = a + g->n_a;
        bool odd = m->byte_fallback && (bpe_is_fallback(a + g->n_a, g->n_a) || bpe_is_fallback(b + 6, g->n_b));
        odd |= m->has_unk && ((g->n_a >= m->unk.n && !memcmp(a + g->n_a - m->unk.n, m->unk.at, m->unk.n)) ||
                              (g->n_b >= m->unk.n && !memcmp(b, m->unk.at, m->unk.n)));
        int32_t x = bpe_edge(a, g->n_a, true), y = bpe_edge(b, g->n_b, false);
        if (m->as_bytes && x >= 0 && y >= 0) x = bytelevel_byte(x), y = bytelevel_byte(y);
        if (odd || ((x < 0 || y < 0) && !m->as_bytes)) {
            ry_mem_free(m->joints);
            m->joints = NULL;
            return RY_OK;
        }
        if (x < 0 || y < 0) continue; /* a text that bytes never give */
        size_t bit = bpe_joint(x, y);
        m->joints[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    return RY_OK;
}

static ry_status bpe_fill(bpe_model *m, const ry_json *settings, const char *what) {
    RY_TRY(bpe_settings(m, settings, what));
    RY_TRY(bpe_rules(m, what));
    RY_TRY(bpe_pages(m));
    m->unk_id = m->has_unk ? tok_word_id(m->base.lists, m->unk.at ? m->unk.at : "", m->unk.n) : -1;
    m->whole_fallback = m->byte_fallback;
    for (int b = 0; b < 256; b++) {
        char name[] = "<0x00>";
        name[3] = "0123456789ABCDEF"[b / 16];
        name[4] = "0123456789ABCDEF"[b % 16];
        m->fallback_id[b] = m->byte_fallback ? tok_word_id(m->base.lists, name, 6) : -1;
        m->whole_fallback &= m->fallback_id[b] >= 0;
    }
    return bpe_joints(m);
}

static ry_status bpe_read(tok_model **out, const ry_json *settings, const tok_lists *lists, const char *what) {
    bpe_model *m = ry_mem_zalloc(sizeof *m);
    if (!m) return RY_ENOMEM;
    m->base.lists = lists;
    ry_status st = bpe_fill(m, settings, what);
    if (st != RY_OK) {
        bpe_close(&m->base);
        return st;
    }
    *out = &m->base;
    return RY_OK;
}

static ry_status bpe_take_bytes(tok_model *base, bool *taken) {
    bpe_model *m = (bpe_model *)base;
    bool whole = true;
    for (int b = 0; b < 256; b++) {
        m->byte_id[b] = bpe_char_id(m, bytelevel_char(b));
        whole &= m->byte_id[b] >= 0;
    }
    *taken = !m->prefix.n && !m->suffix.n && (whole || (!m->has_unk && !m->byte_fallback));
    if (!*taken) return RY_OK;
    m->as_bytes = true;
    ry_mem_free(m->joints);
    m->joints = NULL;
    return bpe_joints(m);
}

/* ---- joining ---- */
static uint32_t bpe_rank(const bpe_model *m, int32_t a, int32_t b, int32_t *made) {
    const bpe_rule *r = &m->rules[bpe_rule_slot(m, a, b)];
    *made = r->made;
    return r->rank;
}

static void bpe_sift(uint64_t *h, size_t n, size_t i) {
    uint64_t v = h[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && h[c + 1] < h[c]) c++;
        if (h[c] >= v) break;
        h[i] = h[c];
    }
    h[i] = v;
}

static ry_status bpe_push(tok_work *w, uint64_t v) {
    uint64_t *slot = RY_PUSH(&w->heap);
    if (!slot) return RY_ENOMEM;
    size_t i = w->heap.n - 1;
    for (; i && w->heap.at[(i - 1) / 2] > v; i = (i - 1) / 2) w->heap.at[i] = w->heap.at[(i - 1) / 2];
    w->heap.at[i] = v;
    return RY_OK;
}

/* Joins part i with the next one and renews the ranks of its two sides. */
static void bpe_merge(const bpe_model *m, tok_symbol *s, uint32_t i) {
    int32_t made;
    uint32_t j = s[i].next;
    bpe_rank(m, s[i].id, s[j].id, &made);
    s[i].id = made;
    s[i].n += s[j].n;
    s[i].next = s[j].next;
    s[j].rank = (uint32_t)BPE_NO_RANK; /* entries of the heap that name it are void */
    if (s[i].next != UINT32_MAX) s[s[i].next].before = i;
    s[i].rank = s[i].next == UINT32_MAX ? (uint32_t)BPE_NO_RANK : bpe_rank(m, s[i].id, s[s[i].next].id, &made);
    if (s[i].before != UINT32_MAX) s[s[i].before].rank = bpe_rank(m, s[s[i].before].id, s[i].id, &made);
}

static ry_status bpe_join_heap(const bpe_model *m, tok_work *w) {
    tok_symbol *s = w->symbols.at;
    w->heap.n = 0;
    for (size_t i = 0; i < w->symbols.n; i++) {
        if (s[i].rank == (uint32_t)BPE_NO_RANK) continue;
        uint64_t *slot = RY_PUSH(&w->heap);
        if (!slot) return RY_ENOMEM;
        *slot = (uint64_t)s[i].rank << 32 | i;
    }
    for (size_t i = w->heap.n / 2; i-- > 0;) bpe_sift(w->heap.at, w->heap.n, i);
    while (w->heap.n) {
        uint64_t best = w->heap.at[0];
        w->heap.at[0] = w->heap.at[--w->heap.n];
        if (w->heap.n) bpe_sift(w->heap.at, w->heap.n, 0);
        uint32_t i = (uint32_t)best, before = s[i].before;
        if (s[i].rank != best >> 32) continue;
        bpe_merge(m, s, i);
        if (s[i].rank != (uint32_t)BPE_NO_RANK) RY_TRY(bpe_push(w, (uint64_t)s[i].rank << 32 | i));
        if (before != UINT32_MAX && s[before].rank != (uint32_t)BPE_NO_RANK)
            RY_TRY(bpe_push(w, (uint64_t)s[before].rank << 32 | before));
    }
    return RY_OK;
}

static void bpe_join_scan(const bpe_model *m, tok_symbol *s) {
    for (;;) {
        uint32_t best = 0, rank = s[0].rank;
        for (uint32_t i = s[0].next; i != UINT32_MAX; i = s[i].next)
            if (s[i].rank < rank) best = i, rank = s[i].rank;
        if (rank == (uint32_t)BPE_NO_RANK) return;
        bpe_merge(m, s, best);
    }
}

static ry_status bpe_join(const bpe_model *m, tok_work *w) {
    tok_symbol *s = w->symbols.at;
    size_t n = w->symbols.n;
    if (n >= UINT32_MAX) RY_FAIL(RY_EARG, "a piece of %zu characters is too long for the tokenizer", n);
    int32_t made;
    for (size_t i = 0; i < n; i++) {
        s[i].before = i ? (uint32_t)i - 1 : UINT32_MAX;
        s[i].next = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
        s[i].rank = i + 1 < n ? bpe_rank(m, s[i].id, s[i + 1].id, &made) : (uint32_t)BPE_NO_RANK;
    }
    if (n > BPE_SCAN) return bpe_join_heap(m, w);
    if (n > 1) bpe_join_scan(m, s);
    return RY_OK;
}

/* ---- parts ---- */
static ry_status bpe_part(tok_work *w, int32_t id, size_t n) {
    tok_symbol *s = RY_PUSH(&w->symbols);
    if (!s) return RY_ENOMEM;
    s->id = id;
    s->n = (uint32_t)n;
    return RY_OK;
}

/* A character that the vocabulary lacks; *unk: bytes of unknown characters that wait. text: with prefix and suffix. */
static ry_status bpe_unknown(const bpe_model *m, tok_work *w, const char *text, size_t n_text, size_t n, size_t *unk) {
    bool all = m->byte_fallback;
    for (size_t i = 0; i < n_text && all; i++) all = m->fallback_id[(unsigned char)text[i]] >= 0;
    if (all) {
        for (size_t i = 0; i < n_text; i++) RY_TRY(bpe_part(w, m->fallback_id[(unsigned char)text[i]], 1));
        return RY_OK;
    }
    if (!m->has_unk) return RY_OK;
    if (m->unk_id < 0)
        RY_FAIL(RY_EFORMAT, "the tokenizer's unk_token \"%.60s\" is not in its vocabulary", m->unk.n ? m->unk.at : "");
    if (*unk && !m->fuse_unk) {
        RY_TRY(bpe_part(w, m->unk_id, *unk));
        *unk = 0;
    }
    *unk += n;
    return RY_OK;
}

/* The parts of a piece into w->symbols. */
static ry_status bpe_parts(const bpe_model *m, tok_work *w, const char *s, size_t n) {
    size_t unk = 0;
    w->symbols.n = 0;
    for (size_t i = 0, len; i < n; i += len) {
        int32_t id, cp;
        const char *text = s + i;
        size_t n_text;
        if (m->as_bytes) {
            len = 1;
            id = m->byte_id[(unsigned char)*text];
            if (id >= 0) RY_TRY(bpe_part(w, id, 1));
            continue;
        }
        n_text = len = utf8_next(text, n - i, &cp);
        if ((i && m->prefix.n) || (i + len == n && m->suffix.n)) {
            w->scratch.n = 0;
            if (i) ry_text_add(&w->scratch, m->prefix.at, m->prefix.n);
            ry_text_add(&w->scratch, text, len);
            if (i + len == n) ry_text_add(&w->scratch, m->suffix.at, m->suffix.n);
            RY_TRY(ry_text_status(&w->scratch));
            text = w->scratch.at;
            n_text = w->scratch.n;
            id = tok_word_id(m->base.lists, text, n_text);
        } else {
            id = bpe_char_id(m, cp);
        }
        if (id < 0) {
            RY_TRY(bpe_unknown(m, w, text, n_text, len, &unk));
            continue;
        }
        if (unk) RY_TRY(bpe_part(w, m->unk_id, unk));
        unk = 0;
        RY_TRY(bpe_part(w, id, len));
    }
    return unk ? bpe_part(w, m->unk_id, unk) : RY_OK;
}

/* ---- pieces ---- */
/* The cache's entry for a text, NULL where it has none; *hit: its ids were given. */
static ry_status bpe_cached_ids(tok_work *w, const char *s, size_t n, bpe_cached **entry, bool *hit) {
    bpe_cached *all = w->cache, *c = &all[tok_hash(0, s, n) % BPE_CACHE];
    *hit = false;
    *entry = NULL;
    if (n > BPE_CACHED_BYTES || w->want_spans) return RY_OK;
    *entry = c;
    if (c->n != n || memcmp(c->text, s, n)) return RY_OK;
    *hit = true;
    for (int i = 0; i < c->n_ids; i++) RY_TRY(tok_emit(w, c->ids[i], 0, 0));
    return RY_OK;
}

static void bpe_keep_ids(bpe_cached *c, const char *s, size_t n, const int32_t *ids, size_t n_ids) {
    if (!c || n_ids > BPE_CACHED_IDS) return;
    memcpy(c->text, s, n);
    if (n_ids) memcpy(c->ids, ids, n_ids * sizeof *ids);
    c->n = (uint8_t)n;
    c->n_ids = (uint8_t)n_ids;
}

/* A stretch that no merge leaves. *covered: the offset in the piece that the parts so far add up to. */
static ry_status bpe_stretch(const bpe_model *m, tok_work *w, const char *s, size_t n, size_t *covered) {
    bpe_cached *c = NULL;
    bool hit = false;
    if (!m->ignore_merges) RY_TRY(bpe_cached_ids(w, s, n, &c, &hit));
    if (hit) return RY_OK;
    RY_TRY(bpe_parts(m, w, s, n));
    if (!w->symbols.n) return RY_OK;
    RY_TRY(bpe_join(m, w));
    size_t first = w->ids.n;
    for (uint32_t i = 0; i != UINT32_MAX; i = w->symbols.at[i].next) {
        RY_TRY(tok_emit(w, w->symbols.at[i].id, *covered, *covered + w->symbols.at[i].n));
        *covered += w->symbols.at[i].n;
    }
    bpe_keep_ids(c, s, n, w->ids.n > first ? w->ids.at + first : NULL, w->ids.n - first);
    return RY_OK;
}

/* The next character (or byte) of s into *c; its length. */
static size_t bpe_next(const bpe_model *m, const char *s, size_t n, int32_t *c) {
    if (!m->as_bytes) return utf8_next(s, n, c);
    *c = (unsigned char)*s;
    return 1;
}

static bool bpe_known(const bpe_model *m, int32_t c) {
    if (m->as_bytes) return m->byte_id[c] >= 0;
    return m->whole_fallback || bpe_char_id(m, c) >= 0;
}

/* The vocabulary's id of a whole piece, or -1. */
static ry_status bpe_whole(const bpe_model *m, tok_work *w, const char *s, size_t n, int32_t *id) {
    if (!m->as_bytes) {
        *id = tok_word_id(m->base.lists, s, n);
        return RY_OK;
    }
    w->scratch.n = 0;
    bytelevel_add(&w->scratch, s, n);
    RY_TRY(ry_text_status(&w->scratch));
    *id = tok_word_id(m->base.lists, w->scratch.at, w->scratch.n);
    return RY_OK;
}

static ry_status bpe_cut(const bpe_model *m, tok_work *w, const char *s, size_t n) {
    size_t begin = 0, covered = 0;
    int32_t x, y;
    if (m->joints)
        for (size_t i = bpe_next(m, s, n, &x), len; i < n; i += len, x = y) {
            len = bpe_next(m, s + i, n - i, &y);
            size_t bit = bpe_joint(x, y);
            if (m->joints[bit / 64] >> bit % 64 & 1 || !bpe_known(m, x) || !bpe_known(m, y)) continue;
            RY_TRY(bpe_stretch(m, w, s + begin, i - begin, &covered));
            begin = i;
        }
    return bpe_stretch(m, w, s + begin, n - begin, &covered);
}

static ry_status bpe_encode(const tok_model *base, tok_work *w, const char *s, size_t n) {
    const bpe_model *m = (const bpe_model *)base;
    if (!w->cache && !(w->cache = ry_mem_zalloc(BPE_CACHE * sizeof(bpe_cached)))) return RY_ENOMEM;
    if (!m->ignore_merges) return bpe_cut(m, w, s, n);
    bpe_cached *c; /* holds whole pieces: the same bytes within a longer one may be something else */
    bool hit;
    int32_t id;
    RY_TRY(bpe_cached_ids(w, s, n, &c, &hit));
    if (hit) return RY_OK;
    size_t first = w->ids.n;
    RY_TRY(bpe_whole(m, w, s, n, &id));
    RY_TRY(id >= 0 ? tok_emit(w, id, 0, n) : bpe_cut(m, w, s, n));
    bpe_keep_ids(c, s, n, w->ids.n > first ? w->ids.at + first : NULL, w->ids.n - first);
    return RY_OK;
}

const tok_model_kind tok_bpe = {
    .name = "BPE",
    .read = bpe_read,
    .close = bpe_close,
    .encode = bpe_encode,
    .take_bytes = bpe_take_bytes,
};
