/* gguf_write.h - GGUF files written (version 3): metadata collected in memory, tensors streamed one by one.  Knows no model. */
#ifndef RY_IO_GGUF_WRITE_H
#define RY_IO_GGUF_WRITE_H
#include "base/text.h"
#include "io/gguf.h"

/* Metadata in the order it is put; zero-init. Failures wait for gguf_write. The caller sees that no key is put twice (gguf_write checks). */
typedef struct gguf_meta { ry_text bytes; size_t n; } gguf_meta;
void gguf_put_u32(gguf_meta *m, const char *key, uint32_t v);
void gguf_put_f32(gguf_meta *m, const char *key, double v);
void gguf_put_bool(gguf_meta *m, const char *key, bool v);
void gguf_put_text(gguf_meta *m, const char *key, const char *s, size_t n);
/* Arrays. bools: one byte each, 0 or 1. */
void gguf_put_u8s(gguf_meta *m, const char *key, const void *v, size_t n);
void gguf_put_u32s(gguf_meta *m, const char *key, const uint32_t *v, size_t n);
void gguf_put_i32s(gguf_meta *m, const char *key, const int32_t *v, size_t n);
void gguf_put_f32s(gguf_meta *m, const char *key, const float *v, size_t n);
void gguf_put_bools(gguf_meta *m, const char *key, const bool *v, size_t n);
void gguf_put_texts(gguf_meta *m, const char *key, const gguf_text *v, size_t n);
void gguf_put_value(gguf_meta *m, const gguf_value *v); /* as it was read; arrays of arrays are left out */
void gguf_meta_free(gguf_meta *m);

/* Writes beside its place and renames. source gives the bytes of t[i] (t[i].data is not looked at), valid until its next call; it is
 * called in order. EARG: a key or a name twice, a name above 63 bytes (what llama.cpp takes), more than 4 dimensions. */
typedef ry_status (*gguf_source)(void *ud, size_t i, const void **data);
ry_status gguf_write(const char *path, const gguf_meta *m, size_t n, const ry_named_data *t, gguf_source source, void *ud);
#endif
