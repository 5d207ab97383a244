/* foreign.h - tokenizers of other formats, each read into the tree of a tokenizer.json and the lists of its model (tok.h).
 * Every reader checks each size before it is used; EFORMAT names the file and what is wrong in it. */
#ifndef RY_IO_TOKENIZER_FOREIGN_H
#define RY_IO_TOKENIZER_FOREIGN_H
#include "io/tokenizer/tok.h"

/* What is said beside the tokenizer's file (tokenizer_config.json, GGUF's keys). */
typedef struct tok_beside {
    bool special;          /* special tokens are found in texts; without it a SentencePiece model is read as sentencepiece does */
    bool add_bos, add_eos; /* the post-processor adds them */
    bool raw_user;         /* user-defined pieces are found before anything is normalised (GGUF), not by sentencepiece's rules */
    bool first_only;       /* SentencePiece's space before a text, not before what follows a special token ("legacy": false) */
} tok_beside;

/* ---- SentencePiece ---- */
enum { SPM_NORMAL = 1, SPM_UNKNOWN, SPM_CONTROL, SPM_USER, SPM_UNUSED, SPM_BYTE }; /* types of pieces; GGUF has the same */
enum { SPM_UNIGRAM = 1, SPM_BPE, SPM_WORD, SPM_CHAR };

typedef struct tok_spm_piece {
    const char *text; /* n bytes */
    uint32_t n;
    float score;
    int type;
} tok_spm_piece;

typedef struct tok_spm_text { const char *at; size_t n; } tok_spm_text;

typedef struct tok_spm_file { /* texts are the caller's */
    RY_VEC(tok_spm_piece) pieces;
    uint64_t model_type;
    bool byte_fallback, as_suffix, dummy_prefix, remove_extra, escape;
    tok_spm_text unk_surface, charsmap, bos, eos; /* bos, eos: texts of pieces */
    int32_t unk;                                  /* its id; found when the pieces are checked */
    const char *what;
} tok_spm_file;

/* A ModelProto (github.com/google/sentencepiece, src/sentencepiece_model.proto). b may be NULL: nothing is said. */
ry_status tok_open_sentencepiece(ry_tokenizer **out, const void *data, size_t n, const tok_beside *b, const char *what);
/* From what such a file holds; it was not yet checked. */
ry_status tok_open_spm(ry_tokenizer **out, tok_spm_file *s, const tok_beside *b);

/* ---- byte-level BPE ---- */
/* How texts are cut before BPE, by the name that llama.cpp gives it (tokenizer.ggml.pre); pre.c. */
typedef struct tok_pre {
    const char *names;          /* with a space behind each */
    const char *regex[6];       /* one after the other, each within the parts that the ones before it left */
    bool nfc, ignore_merges;    /* normalizer; model */
    bool add_bos;               /* llama.cpp's default */
} tok_pre;
extern const tok_pre tok_pres[]; /* ends with a row without names; the first is GPT-2's */
const tok_pre *tok_pre_find(const char *name, size_t n); /* NULL: none */

typedef struct tok_special {
    const char *text;
    size_t n;
    int64_t id;
    bool special, lstrip, rstrip;
} tok_special;

typedef struct tok_bytes_file {
    tok_lists lists;          /* words in ByteLevel's characters; merges are made where there are none */
    RY_VEC(tok_special) added; /* texts are the caller's */
    const tok_pre *pre;       /* or: */
    const char *regex;
    bool ignore_merges, nfc;
    int64_t bos, eos;         /* ids of the list above; -1 */
    const char *what;
} tok_bytes_file;
/* The tokenizer; takes lists and added over, also on failure. read: how reading the file ended; if badly, that is returned. */
ry_status tok_open_bytes(ry_tokenizer **out, ry_status read, tok_bytes_file *f, const tok_beside *b);

/* Lines of "base64 rank", as tiktoken reads them. config: tokenizer_config.json beside it, or NULL. EUNSUPPORTED where nothing tells
 * how texts are cut and which special tokens there are: they are not in the file. */
ry_status tok_open_tiktoken(ry_tokenizer **out, const char *text, size_t n, const ry_json *config, const char *what);
bool tok_is_tiktoken(const char *text, size_t n);
/* mistral's tekken.json; takes root over. */
ry_status tok_open_tekken(ry_tokenizer **out, ry_json *root, const char *what);
/* vocab.json and merges.txt, as GPT-2's folder has them. */
ry_status tok_open_merges(ry_tokenizer **out, const char *vocab, const char *merges, const ry_json *config);

/* ---- which of them ---- */
/* By its first bytes. in_folder: the tokenizer of a model's folder is meant, with what its tokenizer_config.json (or NULL) says. */
ry_status tok_open_any(ry_tokenizer **out, const void *data, size_t n, const ry_json *config, bool in_folder, const char *what);
/* The file of a folder that holds its tokenizer; NULL: none. ry_mem_free. */
ry_status tok_folder_file(char **out, const char *folder);
ry_status tok_open_pair(ry_tokenizer **out, const char *folder, const ry_json *config); /* vocab.json and merges.txt; ENOENT */

/* ---- what they share ---- */
/* A merge for each way to halve one of `words` (indexed) into two of them; those with the highest score are the strongest. */
ry_status tok_add_halves(tok_lists *l, const tok_lists *words, const char *what);

/* ---- precompiled_charsmap: replacements of texts, found by a double array (github.com/s-yata/darts-clone) ---- */
typedef struct tok_charsmap {
    const unsigned char *units; /* [n_units] little-endian */
    size_t n_units;
    const char *texts; /* 0-terminated ones, one behind the other */
    size_t n_texts;
} tok_charsmap;
/* data stays the caller's. EFORMAT where its sizes lie. */
ry_status tok_charsmap_open(tok_charsmap *out, const void *data, size_t n, const char *what);
/* A text of the map that s begins with, the longest or the shortest: its length, and what replaces it; 0: none. */
size_t tok_charsmap_find(const tok_charsmap *m, const char *s, size_t n, bool longest, const char **with);

/* Writes "<0x0A>" and returns its length, 6. */
static inline size_t tok_byte_name(char name[7], int b) {
    memcpy(name, "<0x00>", 7);
    name[3] = "0123456789ABCDEF"[b / 16];
    name[4] = "0123456789ABCDEF"[b % 16];
    return 6;
}

/* Appends "added_tokens":[...], */
void tok_put_added(ry_text *t, const tok_special *added, size_t n);
/* Appends "post_processor":...,  for one special token before and one behind a text; NULL: none. */
void tok_put_template(ry_text *t, const char *before, size_t n_before, int64_t before_id, const char *behind, size_t n_behind,
                      int64_t behind_id);

void tok_base64_add(ry_text *out, const void *data, size_t n);
/* Appends the bytes; false where s is not base64 (with or without its padding). */
bool tok_base64_read(ry_text *out, const char *s, size_t n);
#endif
