/* added.c - added tokens: found in a text before (raw) and after (normalized) normalisation, the leftmost and of those the longest.
 * Owns their list and the tries.
 *
 * Behaviour: Hugging Face's AddedVocabulary, also where it is odd: ids are not those of the file but the vocabulary's, or the next free
 * ones; stripped space on the right may belong to the next match too. */
#include <stdio.h>
#include <string.h>
#include "io/tokenizer/chars.h"
#include "io/tokenizer/steps.h"

enum { ADDED_LONGEST = 1024 }; /* bytes; bounds the time of a search */

typedef struct trie_node {
    uint32_t child, sibling; /* 0: none */
    uint32_t token;          /* index + 1 */
    unsigned char byte;
} trie_node;

struct tok_trie {
    RY_VEC(trie_node) nodes; /* [0] is the root */
    uint32_t first[256];     /* the root's children */
};

static void trie_free(tok_trie *t) {
    if (t) RY_VEC_FREE(&t->nodes);
    ry_mem_free(t);
}

static uint32_t trie_child(const tok_trie *t, uint32_t node, unsigned char c) {
    if (!node) return t->first[c];
    uint32_t i = t->nodes.at[node].child;
    while (i && t->nodes.at[i].byte != c) i = t->nodes.at[i].sibling;
    return i;
}

static ry_status trie_add(tok_trie **trie, const char *s, size_t n, size_t token) {
    if (!*trie && (!(*trie = ry_mem_zalloc(sizeof **trie)) || !RY_PUSH(&(*trie)->nodes))) return RY_ENOMEM;
    tok_trie *t = *trie;
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        uint32_t next = trie_child(t, at, c);
        if (!next) {
            if (t->nodes.n >= UINT32_MAX / 2 || !RY_PUSH(&t->nodes)) return RY_ENOMEM;
            next = (uint32_t)t->nodes.n - 1;
            t->nodes.at[next].byte = c;
            if (at) {
                t->nodes.at[next].sibling = t->nodes.at[at].child;
                t->nodes.at[at].child = next;
            } else {
                t->first[c] = next;
            }
        }
        at = next;
    }
    if (!t->nodes.at[at].token) t->nodes.at[at].token = (uint32_t)token + 1; /* of equal ones the first */
    return RY_OK;
}

/* The longest token at s: its index and length; false: none. */
static bool trie_find(const tok_trie *t, const char *s, size_t n, size_t *token, size_t *length) {
    bool found = false;
    uint32_t at = t->first[(unsigned char)*s];
    for (size_t i = 1; at; i++) {
        if (t->nodes.at[at].token) {
            found = true;
            *token = t->nodes.at[at].token - 1;
            *length = i;
        }
        if (i == n) break;
        at = trie_child(t, at, (unsigned char)s[i]);
    }
    return found;
}

/* ---- reading ---- */
int32_t tok_added_id(const tok_added *a, const char *s, size_t n) {
    uint32_t at = 0;
    for (size_t i = 0; i < n && a->names; i++)
        if (!(at = trie_child(a->names, at, (unsigned char)s[i]))) break;
    return at && a->names->nodes.at[at].token ? a->tokens.at[a->names->nodes.at[at].token - 1].id : -1;
}

const tok_added_token *tok_added_of(const tok_added *a, int32_t id) {
    return id >= 0 && (size_t)id < a->of_id.n && a->of_id.at[id] ? &a->tokens.at[a->of_id.at[id] - 1] : NULL;
}

static ry_status added_flags(tok_added_token *k, const ry_json *j, const char *what, const char *field) {
    struct {
        const char *key;
        bool *to;
    } flags[] = {{"single_word", &k->single_word}, {"lstrip", &k->lstrip},   {"rstrip", &k->rstrip},
                 {"normalized", &k->normalized},   {"special", &k->special},
                 {"sentencepiece", &k->spm}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const ry_json *v = ry_json_find(j, flags[i].key);
        if (v && !ry_json_as_bool(v, flags[i].to)) return tok_step_fail(RY_EFORMAT, what, field, flags[i].key, "must be true or false");
    }
    return RY_OK;
}

/* The id of an added token: the vocabulary's own, an earlier one's, or the next behind all. */
static int32_t added_id(const ry_tokenizer *t, const char *s, size_t n) {
    int32_t id = tok_any_id(t, s, n), size = (int32_t)t->lists.words.n, most = -1;
    if (id >= 0) return id;
    if (t->added.of_id.n) most = (int32_t)t->added.of_id.n - 1;
    return most >= size || (!size && most >= 0) ? most + 1 : size;
}

static ry_status added_one(ry_tokenizer *t, const ry_json *j, const char *what, const char *field) {
    tok_added *a = &t->added;
    tok_added_token k = {.normalized = true};
    size_t n;
    const char *s = ry_json_as_text(ry_json_find(j, "content"), &n);
    if (!s) return tok_step_fail(RY_EFORMAT, what, field, "content", "must be a string");
    if (n > ADDED_LONGEST) return tok_step_fail(RY_EUNSUPPORTED, what, field, "content", "is longer than 1024 bytes");
    RY_TRY(added_flags(&k, j, what, field));
    if (!n) return RY_OK;
    k.id = added_id(t, s, n);
    const tok_added_token *old = tok_added_of(a, k.id);
    k.at = (uint32_t)a->bytes.n;
    k.n = (uint32_t)n;
    k.shown_at = k.at;
    k.shown_n = k.n;
    ry_text_add(&a->bytes, s, n);
    ry_text_add(&a->bytes, "", 1);
    RY_TRY(ry_text_status(&a->bytes));
    size_t at = old ? (size_t)(old - a->tokens.at) : a->tokens.n;
    if (!old && !RY_PUSH(&a->tokens)) return RY_ENOMEM;
    a->tokens.at[at] = k;
    while (a->of_id.n <= (size_t)k.id)
        if (!RY_PUSH(&a->of_id)) return RY_ENOMEM;
    a->of_id.at[k.id] = (int32_t)at + 1;
    return trie_add(&a->names, a->bytes.at + k.at, n, at);
}

/* Special tokens come before others: of two that normalisation makes equal, the first holds. */
static ry_status added_tries(ry_tokenizer *t, bool special) {
    tok_added *a = &t->added;
    for (size_t i = 0; i < a->tokens.n; i++) {
        tok_added_token *k = &a->tokens.at[i];
        if (k->special != special || k->spm) continue;
        tok_piece p = {a->bytes.at + k->at, k->n, NULL, 0};
        if (!k->normalized) {
            RY_TRY(trie_add(&a->raw, p.at, p.n, i));
            continue;
        }
        tok_state s = {0};
        ry_status st = tok_normalize(&t->normalizer, &s, &p);
        if (st == RY_OK && p.n) st = trie_add(&a->normalized, p.at, p.n, i);
        if (st == RY_OK && p.at != a->bytes.at + k->at) {
            k->shown_at = (uint32_t)a->bytes.n;
            k->shown_n = (uint32_t)p.n;
            ry_text_add(&a->bytes, p.at, p.n);
            ry_text_add(&a->bytes, "", 1);
            st = ry_text_status(&a->bytes);
        }
        tok_buffer_free(&s.ping);
        tok_buffer_free(&s.pong);
        RY_TRY(st);
    }
    return RY_OK;
}

bool tok_added_hidden(const tok_added *a, const tok_added_token *k) {
    return k->special && k->shown_n == k->n && !memcmp(a->bytes.at + k->at, a->bytes.at + k->shown_at, k->n);
}

ry_status tok_added_read(ry_tokenizer *t, const char *what) {
    const ry_json *list = NULL;
    char field[64];
    RY_TRY(ry_json_array(&list, t->tree, what, "added_tokens", false));
    for (size_t i = 0; i < ry_json_count(list); i++) {
        snprintf(field, sizeof field, "added_tokens[%zu]", i);
        RY_TRY(added_one(t, ry_json_at(list, i), what, field));
    }
    RY_TRY(added_tries(t, true));
    return added_tries(t, false);
}

void tok_added_free(tok_added *a) {
    ry_text_free(&a->bytes);
    RY_VEC_FREE(&a->tokens);
    RY_VEC_FREE(&a->of_id);
    trie_free(a->names);
    trie_free(a->raw);
    trie_free(a->normalized);
}

/* ---- finding ---- */
static bool space_before(const char *s, size_t *at) {
    size_t i = *at;
    int32_t cp;
    if (!i) return false;
    for (i--; i > 0 && *at - i < 4 && ((unsigned char)s[i] & 0xC0) == 0x80;) i--;
    if (i + utf8_next(s + i, *at - i, &cp) != *at || !tok_is_space(cp)) return false;
    *at = i;
    return true;
}

static bool word_at(const char *s, size_t n, size_t at) {
    int32_t cp;
    return at < n && (utf8_next(s + at, n - at, &cp), cp >= 0) && tok_is_word(cp);
}

static bool word_before(const char *s, size_t at) {
    size_t i = at;
    if (!i) return false;
    for (i--; i > 0 && at - i < 4 && ((unsigned char)s[i] & 0xC0) == 0x80;) i--;
    return word_at(s, at, i);
}

ry_status tok_added_cut(const tok_added *a, const tok_trie *trie, const tok_piece *p,
                        ry_status (*fn)(void *ud, const tok_piece *part, int32_t id), void *ud) {
    size_t done = 0, token, length;
    for (size_t i = 0; trie && i < p->n; i++) {
        if (!trie->first[(unsigned char)p->at[i]] || !trie_find(trie, p->at + i, p->n - i, &token, &length)) continue;
        const tok_added_token *k = &a->tokens.at[token];
        size_t begin = i, end = i + length;
        i = end - 1;
        if (k->single_word && (word_before(p->at, begin) || word_at(p->at, p->n, end))) continue;
        if (k->lstrip)
            while (begin > done && space_before(p->at, &begin)) {}
        if (k->lstrip && begin < done) begin = done;
        for (int32_t cp; k->rstrip && end < p->n;) {
            size_t len = utf8_next(p->at + end, p->n - end, &cp);
            if (!tok_is_space(cp)) break;
            end += len;
        }
        if (done < begin) {
            tok_piece part = tok_piece_cut(p, done, begin);
            RY_TRY(fn(ud, &part, -1));
        }
        if (begin >= end) continue; /* all of it went with the match before */
        tok_piece part = tok_piece_cut(p, begin, end);
        RY_TRY(fn(ud, &part, k->id));
        done = end;
    }
    if (done >= p->n) return RY_OK;
    tok_piece part = tok_piece_cut(p, done, p->n);
    return fn(ud, &part, -1);
}
