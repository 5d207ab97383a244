/* tok.h - the inside of a tokenizer: its vocabulary, and what a kind of model is: a row of functions.  A new kind is one file with
 * one row, named in models.c; a new file format is one that fills tok_lists and a tokenizer.json tree without them (tok_open_parts).
 * Everything else of the pipeline (added tokens, normalizer, pre_tokenizer, post_processor, decoder) is in steps.h. */
#ifndef RY_IO_TOKENIZER_TOK_H
#define RY_IO_TOKENIZER_TOK_H
#include <string.h>
#include "base/mem.h"
#include "base/status.h"
#include "base/text.h"
#include "io/json.h"

/* ---- the large lists of a model: vocabulary and merges ---- */
typedef struct tok_word {
    uint32_t at, n; /* its text in `bytes`; a 0 follows */
    int32_t id;
    double score; /* Unigram's log probability, else 0 */
} tok_word;

typedef struct tok_merge {
    uint32_t at, n_a, n_b; /* left and right text, one behind the other in `bytes` */
} tok_merge;

typedef struct tok_slot { /* of the table of words; as much as a search needs, in one place */
    uint32_t hash, at, n;
    uint32_t word; /* index + 1; 0: empty */
} tok_slot;

typedef struct tok_lists { /* zero-init */
    ry_text bytes;
    RY_VEC(tok_word) words;   /* in the order of the file */
    RY_VEC(tok_merge) merges; /* the first is the strongest */
    bool may_repeat;          /* a text may stand twice: the last one holds (Unigram's lists) */
    bool has_vocab, has_merges; /* they were given, even if they are empty */
    /* by tok_lists_index: */
    uint64_t seed;
    struct tok_slot *slots; /* open addressing */
    size_t mask;
    int32_t size;    /* largest id + 1 */
    uint32_t *by_id; /* [size] index of the word + 1 */
} tok_lists;

/* Words may come in any order and hold any bytes (NUL too). ENOMEM; EFORMAT beyond 2 GiB of text. */
ry_status tok_add_word(tok_lists *l, const char *text, size_t n, int32_t id, double score);
ry_status tok_add_merge(tok_lists *l, const char *a, size_t n_a, const char *b, size_t n_b);
/* Makes the two directions. EFORMAT for a word or an id that stands twice, an id below 0 or more than 2^22 beyond
 * their number. */
ry_status tok_lists_index(tok_lists *l, const char *what);
void tok_lists_free(tok_lists *l);
int32_t tok_word_id(const tok_lists *l, const char *text, size_t n);          /* -1: none */
/* Hints that tok_word_id will be asked: first early, then late. */
void tok_word_soon(const tok_lists *l, const char *text, size_t n, bool late);
const char *tok_word_text(const tok_lists *l, int32_t id, size_t *n);         /* NULL: none; 0-terminated */

/* A hash of bytes for tables in memory (the value differs from run to run with the seed; results never depend on it). */
static inline uint64_t tok_hash(uint64_t seed, const char *s, size_t n) {
    uint64_t h = seed ^ (n * UINT64_C(0x9E3779B97F4A7C15)), v;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&v, s, 8);
        h = (h ^ v) * UINT64_C(0xFF51AFD7ED558CCD);
        h ^= h >> 32;
    }
    v = 0;
    memcpy(&v, s, n);
    h = (h ^ v) * UINT64_C(0xFF51AFD7ED558CCD);
    h = (h ^ h >> 32) * UINT64_C(0xC4CEB9FE1A85EC53);
    return h ^ h >> 29;
}

/* ---- what one text is turned into ---- */
typedef struct tok_symbol { /* one part of a piece while a model joins parts */
    int32_t id;
    uint32_t n;    /* bytes */
    uint32_t rank; /* of the merge with the next part; UINT32_MAX: none */
    uint32_t before, next;
} tok_symbol;

typedef struct tok_work { /* scratch of one thread; the tokenizer keeps some between calls */
    RY_VEC(int32_t) ids;
    bool want_spans;        /* else spans stays empty */
    RY_VEC(ry_span) spans;  /* one for each id: while a model works, offsets in its piece */
    void *cache;            /* of the model: one block, NULL at first, freed with ry_mem_free */
    RY_VEC(tok_symbol) symbols;
    RY_VEC(uint64_t) heap;
    ry_text scratch; /* for a model's use while it encodes a piece */
} tok_work;
/* Appends an id that stands for the bytes [begin, end) of the piece. */
ry_status tok_emit(tok_work *w, int32_t id, size_t begin, size_t end);

/* ---- a kind of model ---- */
typedef struct tok_model {
    const struct tok_model_kind *kind;
    const tok_lists *lists; /* the tokenizer's, indexed */
} tok_model;

typedef struct tok_model_kind {
    const char *name; /* model.type */
    /* Makes *out (its own struct begins with tok_model; kind and lists are filled in by the caller) from the "model" object: settings
     * only, vocab and merges are in lists. what: the file's name for messages. EFORMAT with the field, EUNSUPPORTED with its name. */
    ry_status (*read)(tok_model **out, const ry_json *settings, const tok_lists *lists, const char *what);
    void (*close)(tok_model *m);
    /* The ids of one piece of n > 0 bytes, after normalisation and pre-tokenisation: by tok_emit. The piece is UTF-8 except where
     * `bytes` was set. */
    ry_status (*encode)(const tok_model *m, tok_work *w, const char *piece, size_t n);
    /* Where not NULL: asks whether pieces may come as bytes instead of as the characters that stand for them in ByteLevel; called at
     * most once, after read. */
    ry_status (*take_bytes)(tok_model *m, bool *taken);
    bool (*takes)(const ry_json *settings); /* NULL: every model of this name */
    bool vocab_is_list; /* vocab is [[text, score], ...] in the order of ids, not {text: id} */
} tok_model_kind;

extern const tok_model_kind tok_bpe, tok_spm, tok_unigram, tok_wordpiece, tok_wordlevel;
extern const tok_model_kind *const tok_model_kinds[]; /* models.c; ends with NULL */

/* ---- opening; both take over what they are given, also on failure ---- */
/* A whole tokenizer.json tree, vocab and merges inside. Small ones: the tree of 128,000 words takes its time. */
ry_status tok_open_tree(ry_tokenizer **out, ry_json *tree, const char *what);
/* A tokenizer.json tree whose model has no vocab and no merges: they are in lists (not yet indexed). */
ry_status tok_open_parts(ry_tokenizer **out, ry_json *tree, tok_lists *lists, const char *what);
/* A tokenizer.json in memory. */
ry_status tok_open_json(ry_tokenizer **out, const char *text, size_t n, const char *what);
/* The tokenizer.json that says what t is. */
ry_status tok_write_json(const ry_tokenizer *t, ry_text *out);

/* ---- special tokens by role, for readers whose format names them by id (GGUF): texts win over them ---- */
void tok_set_special(ry_tokenizer *t, ry_special which, int32_t id);
#endif
