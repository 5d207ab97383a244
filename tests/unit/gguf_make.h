/* gguf_make.h - GGUF files piece by piece, also wrong ones, for tests.  Header of tests only. */
#ifndef TEST_GGUF_MAKE_H
#define TEST_GGUF_MAKE_H
#include "io/gguf.h"
#include <string.h>

typedef struct make_gguf { unsigned char at[8192]; size_t n; } make_gguf;

static inline void mk_bytes(make_gguf *m, const void *p, size_t n) {
    if (n > sizeof m->at - m->n) n = sizeof m->at - m->n;
    if (n) memcpy(m->at + m->n, p, n);
    m->n += n;
}
static inline void mk_int(make_gguf *m, uint64_t v, size_t bytes) {
    unsigned char b[8];
    for (size_t i = 0; i < bytes; i++) b[i] = (unsigned char)(v >> 8 * i);
    mk_bytes(m, b, bytes);
}
static inline void mk_text(make_gguf *m, const char *s) {
    mk_int(m, strlen(s), 8);
    mk_bytes(m, s, strlen(s));
}
static inline void mk_head(make_gguf *m, uint32_t version, uint64_t tensors, uint64_t values) {
    m->n = 0;
    mk_bytes(m, "GGUF", 4);
    mk_int(m, version, 4);
    mk_int(m, tensors, 8);
    mk_int(m, values, 8);
}
static inline void mk_key(make_gguf *m, const char *key, uint32_t type) {
    mk_text(m, key);
    mk_int(m, type, 4);
}
static inline void mk_value(make_gguf *m, const char *key, uint32_t type, uint64_t v, size_t bytes) {
    mk_key(m, key, type);
    mk_int(m, v, bytes);
}
static inline void mk_string(make_gguf *m, const char *key, const char *s) {
    mk_key(m, key, GGUF_TEXT);
    mk_text(m, s);
}
static inline void mk_array(make_gguf *m, const char *key, uint32_t item, uint64_t n) { /* the items follow */
    mk_key(m, key, GGUF_ARRAY);
    mk_int(m, item, 4);
    mk_int(m, n, 8);
}
/* dim: innermost first, as in the file */
static inline void mk_tensor(make_gguf *m, const char *name, uint32_t rank, const uint64_t *dim, uint32_t type, uint64_t offset) {
    mk_text(m, name);
    mk_int(m, rank, 4);
    for (uint32_t i = 0; i < rank; i++) mk_int(m, dim[i], 8);
    mk_int(m, type, 4);
    mk_int(m, offset, 8);
}
static inline void mk_pad(make_gguf *m, size_t to) {
    while (m->n % to) mk_int(m, 0, 1);
}
static inline void mk_fill(make_gguf *m, size_t n) {
    while (n-- > 0) mk_int(m, m->n & 0xFF, 1);
}

/* Seed i of well-formed files; false behind the last. */
static inline bool mk_seed(make_gguf *m, int i) {
    static const uint64_t d[] = {32, 2, 1, 1};
    switch (i) {
    case 0: mk_head(m, 3, 0, 0); return true;
    case 1:
        mk_head(m, 2, 2, 5);
        mk_string(m, "general.architecture", "llama");
        mk_value(m, "llama.block_count", GGUF_U32, 2, 4);
        mk_value(m, "general.alignment", GGUF_U32, 64, 4);
        mk_array(m, "tokenizer.ggml.tokens", GGUF_TEXT, 3);
        mk_text(m, "<s>"), mk_text(m, ""), mk_text(m, "\xc3\xa9");
        mk_array(m, "nested", GGUF_ARRAY, 2);
        mk_int(m, GGUF_U8, 4), mk_int(m, 2, 8), mk_int(m, 0x0102, 2);
        mk_int(m, GGUF_TEXT, 4), mk_int(m, 1, 8), mk_text(m, "x");
        mk_tensor(m, "a", 2, d, 0, 0); /* f32 [2,32] */
        mk_tensor(m, "b", 1, d, 8, 256);
        mk_pad(m, 64), mk_fill(m, 256 + 34), mk_pad(m, 64);
        return true;
    case 2:
        mk_head(m, 3, 3, 6);
        mk_value(m, "i8", GGUF_I8, 0xFE, 1);
        mk_value(m, "i64", GGUF_I64, UINT64_MAX, 8);
        mk_value(m, "u64", GGUF_U64, UINT64_MAX, 8);
        mk_value(m, "bool", GGUF_BOOL, 1, 1);
        mk_value(m, "f32", GGUF_F32, 0x3FC00000, 4);                 /* 1.5 */
        mk_value(m, "f64", GGUF_F64, UINT64_C(0xBFE0000000000000), 8); /* -0.5 */
        mk_tensor(m, "scalar", 0, d, 0, 0);
        mk_tensor(m, "iq", 1, (const uint64_t[]){256}, 16, 32); /* iq2_xxs: not ours */
        mk_tensor(m, "empty", 2, (const uint64_t[]){32, 0}, 2, 0);
        mk_pad(m, 32), mk_fill(m, 32 + 66); /* without the last padding */
        return true;
    default: return false;
    }
}
#endif
