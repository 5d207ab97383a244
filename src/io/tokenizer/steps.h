/* steps.h - the steps of a tokenizer around its model, and the tokenizer itself: normalizer, pre_tokenizer, post_processor, decoder, each
 * a list of steps (a Sequence within a Sequence is one list), and the added tokens.  A new step is one row in its table.
 *
 * A text goes through as a piece: bytes, and where spans are wanted, for each byte the range of the original text that it stands
 * for. Pre-tokenizers hand each part on to the next step at once: no list of pieces exists. */
#ifndef RY_IO_TOKENIZER_STEPS_H
#define RY_IO_TOKENIZER_STEPS_H
#include "base/os.h"
#include "io/tokenizer/tok.h"
#include "io/utf8.h"

typedef struct tok_pattern tok_pattern; /* a string or a regular expression; pattern.c */

/* One step with its settings. */
typedef struct tok_step {
    const struct tok_step_kind *kind;
    ry_text text, other;  /* texts of the settings: content, prefix, suffix ... */
    tok_pattern *pattern;
    void *data;           /* the kind's own, one block */
    int64_t from, to;     /* numbers: start, stop, behavior, length */
    bool on, also, third; /* switches */
} tok_step;
typedef RY_VEC(tok_step) tok_steps;

/* ---- normalizer and pre_tokenizer: pieces ---- */
typedef struct tok_piece {
    const char *at;
    size_t n;
    const ry_span *from; /* of each byte; NULL: byte i is the original's byte base + i */
    size_t base;
} tok_piece;
ry_span tok_piece_span(const tok_piece *p, size_t begin, size_t end); /* of its bytes [begin, end) */
tok_piece tok_piece_cut(const tok_piece *p, size_t begin, size_t end);

typedef struct tok_buffer { /* a text in the making; spans only where the work wants them */
    ry_text text;
    RY_VEC(ry_span) from;
} tok_buffer;
void tok_buffer_free(tok_buffer *b);

/* An edit reads a piece from its beginning and writes a buffer, as the reference's NormalizedString::transform. */
typedef struct tok_edit {
    const tok_piece *in;
    size_t at; /* bytes of `in` that were read */
    tok_buffer *out;
    bool spans;
} tok_edit;
/* Appends one character (n bytes). change 0: it replaces the next character of `in`; -k: and k further ones go; above 0: it is new and
 * shares the span of the character before. */
void tok_edit_put(tok_edit *e, const char *c, size_t n, int change);
void tok_edit_keep(tok_edit *e, size_t n); /* the next n bytes as they are */
static inline void tok_edit_drop(tok_edit *e, size_t n) { e->at += n; }
void tok_edit_prepend(tok_edit *e, const char *s, size_t n); /* at the beginning of what is not empty: s and the first character */
ry_status tok_edit_replace(tok_edit *e, tok_pattern *p, const char *with, size_t n); /* every match; without one nothing is done */
void tok_bytelevel_edit(tok_edit *e);                        /* GPT-2's characters for all bytes */
/* The next character of what is left: its bytes, 0 at the end. */
static inline size_t tok_edit_next(const tok_edit *e, size_t ahead, int32_t *cp) {
    size_t at = e->at + ahead;
    return at < e->in->n ? utf8_next(e->in->at + at, e->in->n - at, cp) : 0;
}

typedef struct tok_walk { /* what the pre-tokenizers of one text share */
    const ry_tokenizer *t;
    struct tok_state *state;
} tok_walk;
/* Hands a part to step `step`, or to the model behind the last; empty parts are dropped. */
ry_status tok_walk_on(tok_walk *k, size_t step, const tok_piece *p);
tok_edit tok_walk_edit(tok_walk *k, size_t step, const tok_piece *p); /* into the buffer of a step, which it may hand on */
tok_piece tok_edit_piece(const tok_edit *e);

/* What the pre-tokenizers amount to: */
bool tok_steps_ask_first(const tok_steps *s);    /* one asks whether a part begins the text */
bool tok_steps_end_in_bytes(const tok_steps *s); /* the last one only turns bytes into characters */
bool tok_steps_only_bytes(const tok_steps *s);   /* without that last one: they do nothing to a text */

/* ---- decoder: strings ---- */
typedef struct tok_strings {
    ry_text text; /* one behind the other */
    RY_VEC(size_t) ends;
    bool raw; /* bytes that are not UTF-8 stay as they are */
} tok_strings;
ry_status tok_strings_end(tok_strings *s); /* what was added to text since the last one is a string */
/* How a decoder of one string at a time is written: i of n. */
typedef void (*tok_string_fn)(const tok_step *s, const char *in, size_t n_in, size_t i, size_t n, ry_text *out);

/* For those who decode id by id. */
typedef enum { TOK_IS_OTHER, TOK_IS_BYTES, TOK_IS_RUNS, TOK_IS_FUSE, TOK_IS_STRIP, TOK_IS_LATE } tok_decoder_nature;
tok_decoder_nature tok_decoder_is(const tok_step *s);
void tok_add_bytes(ry_text *out, const char *s, size_t n);  /* the bytes of ByteLevel's characters; other strings stand for themselves */
void tok_add_mended(ry_text *out, const char *s, size_t n); /* every piece that is not UTF-8 becomes U+FFFD */
int tok_fallback_byte(const char *s, size_t n);             /* "<0x0A>" -> 10; else -1 */

typedef struct tok_step_kind {
    const char *name; /* type */
    /* Fills the step from its object. NULL: no settings. field: where it stands in the file, for messages. */
    ry_status (*read)(tok_step *s, const ry_json *j, const char *what, const char *field);
    ry_status (*expand)(tok_steps *out, const ry_json *j, const char *what, const char *field); /* instead: several steps of other kinds */
    void (*close)(tok_step *s); /* frees what hangs on s->data; may be NULL */
    /* one of: */
    ry_status (*normalize)(const tok_step *s, tok_edit *e);
    ry_status (*split)(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p);
    tok_string_fn decode;                                                           /* each string by itself */
    ry_status (*decode_all)(const tok_step *s, const tok_strings *in, tok_strings *out); /* or all */
} tok_step_kind;

/* A Sequence with an object "sentencepiece" is one step of that kind (spm.c), whatever its members are. */
ry_status tok_spm_read_normalizer(tok_step *s, const ry_json *j, const char *what, const char *field);
void tok_spm_close_normalizer(tok_step *s);
ry_status tok_spm_normalize(const tok_step *s, tok_edit *e);
ry_status tok_spm_read_decoder(tok_step *s, const ry_json *j, const char *what, const char *field);
ry_status tok_spm_decode(const tok_step *s, const tok_strings *in, tok_strings *out);

/* Reads root.field into steps; a table ends with a row without a name. list: the field of a Sequence that holds its members. */
ry_status tok_steps_read(tok_steps *out, const ry_json *root, const char *field, const char *list, const tok_step_kind *table,
                         const char *what);
void tok_steps_free(tok_steps *s);
extern const tok_step_kind tok_normalizers[], tok_pre_tokenizers[], tok_decoders[];
/* Metaspace, which is a pre-tokenizer and a decoder: text (replacement), from (prepend_scheme), on (split). */
enum { TOK_ALWAYS, TOK_FIRST, TOK_NEVER };
ry_status tok_metaspace_read(tok_step *s, const ry_json *j, const char *what, const char *field);
/* A string field into *out; absent: as it is unless needed. One character where one is set. */
ry_status tok_step_text(ry_text *out, const ry_json *j, const char *what, const char *field, const char *key, bool needed, bool one);
ry_status tok_step_fail(ry_status st, const char *what, const char *field, const char *key, const char *must);

/* Applies the normalizer: *p is what came out, in a buffer of the state or as it was. */
ry_status tok_normalize(const tok_steps *steps, struct tok_state *s, tok_piece *p);
ry_status tok_decode_steps(const tok_steps *steps, tok_strings *s);

/* ---- patterns ---- */
/* {"String": text} or {"Regex": expression}, or a bare string. */
ry_status tok_pattern_read(tok_pattern **out, const ry_json *j, const char *what, const char *field);
ry_status tok_pattern_regex(tok_pattern **out, const char *expression, size_t n, const char *what, const char *field);
ry_status tok_pattern_text(tok_pattern **out, const char *s, size_t n);
void tok_pattern_free(tok_pattern *p);
typedef struct tok_match { /* all matches in a text, in order; the first three are given, the rest is 0 */
    tok_pattern *pattern;
    const char *at;
    size_t n;
    size_t begin, end;  /* of the match */
    size_t next, last;  /* where to go on; where the last one ended */
    bool any;           /* there was a last one */
} tok_match;
ry_status tok_match_next(tok_match *m, bool *found);

/* ---- added tokens ---- */
typedef struct tok_added_token {
    uint32_t at, n;             /* content, in `bytes` */
    uint32_t shown_at, shown_n; /* what the decoder gets: the content, or what the normalizer makes of it */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool spm; /* not looked for in texts: sentencepiece itself finds user-defined ones, and no others */
} tok_added_token;
typedef struct tok_trie tok_trie;
typedef struct tok_added {
    ry_text bytes;
    RY_VEC(tok_added_token) tokens;
    tok_trie *names;            /* all contents */
    tok_trie *raw, *normalized; /* what is looked for in texts; NULL: none */
    RY_VEC(int32_t) of_id;      /* id -> index in tokens + 1; 0: none */
} tok_added;
ry_status tok_added_read(ry_tokenizer *t, const char *what);
void tok_added_free(tok_added *a);
const tok_added_token *tok_added_of(const tok_added *a, int32_t id);     /* NULL: none */
bool tok_added_hidden(const tok_added *a, const tok_added_token *k); /* skip_special leaves it out */
int32_t tok_added_id(const tok_added *a, const char *s, size_t n);       /* -1: none */
/* Cuts a piece at the added tokens of a trie: fn gets each part, with the token's id, or -1. */
ry_status tok_added_cut(const tok_added *a, const tok_trie *trie, const tok_piece *p,
                        ry_status (*fn)(void *ud, const tok_piece *part, int32_t id), void *ud);

/* ---- post_processor ---- */
typedef struct tok_post tok_post;
ry_status tok_post_read(tok_post **out, const ry_json *root, const char *what);
void tok_post_free(tok_post *p);
typedef struct tok_text_work { /* a text and what the model made of it */
    tok_work *work;
    const char *text;
} tok_text_work;
typedef struct tok_sequence { /* the ids of all texts together; blocks of ry_mem, never NULL when done */
    bool add_special, want_spans, want_types;
    RY_VEC(int32_t) ids; /* n counts for all three */
    RY_VEC(int32_t) types;
    RY_VEC(ry_span) spans;
} tok_sequence;
ry_status tok_post_apply(const tok_post *p, const ry_tokenizer *t, tok_text_work in[], size_t n, tok_sequence *out); /* n: 1 or 2 */

/* ---- all of it ---- */
enum { TOK_IDLE = 4, TOK_IDLE_BYTES = 1 << 24 }; /* so many states wait for use, none larger than this by far */
typedef struct tok_state { /* scratch of one call; the tokenizer keeps some between calls */
    tok_work work;
    tok_buffer mended, ping, pong; /* text that was not UTF-8; normalizers */
    tok_buffer *steps;             /* [pre-tokenizers] for those that change the text */
} tok_state;

struct ry_tokenizer {
    ry_json *tree;   /* the tokenizer.json, without its lists where they were read apart */
    ry_json *config; /* tokenizer_config.json as it was read; NULL: none */
    tok_lists lists;
    tok_model *model;
    tok_added added;
    tok_steps normalizer, pre_tokenizer, decoder;
    tok_post *post;
    int32_t special[4]; /* ry_special; -1 */
    int32_t size;       /* ids */
    bool bytes;         /* the model takes bytes: the last pre-tokenizer, ByteLevel, leaves them as they are */
    bool raw;           /* nothing needs characters: a text need not be UTF-8 */
    bool align;         /* spans are needed in any case */
    bool strict;        /* a character that gives no id is an error */
    os_mutex *lock;     /* of idle */
    tok_state *idle[TOK_IDLE];
};
const char *tok_any_text(const ry_tokenizer *t, int32_t id, size_t *n); /* of an added token or a word; NULL: none */
/* What the decoder gets for an id; NULL: nothing. */
const char *tok_shown_text(const ry_tokenizer *t, int32_t id, bool skip_special, size_t *n);
/* The strings that ids stand for, through the decoder. */
ry_status tok_decode(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, tok_strings *s);
int32_t tok_any_id(const ry_tokenizer *t, const char *s, size_t n);
#endif
