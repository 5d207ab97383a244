/* tokenizer.h - what a kind of tokenizer is: a row of functions.  A new kind is one file with one row, named in tokenizer.c. */
#ifndef RY_IO_TOKENIZER_H
#define RY_IO_TOKENIZER_H
#include "base/status.h"
#include "base/text.h"
#include "io/json.h"

typedef struct tok_kind {
    const char *name;
    /* From the root of a tokenizer.json. *out stays NULL (with RY_OK) where the file is of another kind. what: the file's name. */
    ry_status (*read)(ry_tokenizer **out, const ry_json *root, const char *what);
    void (*close)(ry_tokenizer *t);
    /* Room for ids: what n bytes of text can give at most (SIZE_MAX: too many); then the ids themselves. */
    size_t (*room)(const ry_tokenizer *t, size_t n);
    ry_status (*encode)(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t *ids,
                        size_t *n_ids);
    /* Appends the bytes that the ids stand for, UTF-8 or not. Ids without a meaning give nothing, as in Hugging Face's. */
    void (*decode)(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ry_text *out);
    /* Adds pre_tokenizer, decoder and model to the root of a tokenizer.json that tokenizer.c began. */
    ry_status (*write)(const ry_tokenizer *t, ry_json *root);
} tok_kind;

struct ry_tokenizer { /* each kind's own struct begins with it */
    const tok_kind *kind;
    int64_t size; /* ids */
};

extern const tok_kind tok_bytes, tok_chars;

/* A tokenizer.json in memory. EUNSUPPORTED, with a word on what it is, for kinds that have no row. */
ry_status tok_open_json(ry_tokenizer **out, const char *text, size_t n, const char *what);

/* ---- for kinds that are a BPE without merges ---- */
/* The vocabulary, if the file is a BPE without merges, normalizer, added tokens or post-processor; else NULL. */
const ry_json *tok_plain_vocab(const ry_json *root);
/* root.field is an object of this type ("pre_tokenizer", "ByteLevel"); type NULL: the field is null or absent. */
bool tok_has(const ry_json *root, const char *field, const char *type);
/* model: { BPE over vocab, without merges }; takes vocab over. */
ry_status tok_put_plain_model(ry_json *root, ry_json *vocab);
#endif
