/* gguf.h - GGUF files (version 2 and 3), read from a mapping and written.  Knows the container and its types, no model.
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#ifndef RY_IO_GGUF_H
#define RY_IO_GGUF_H
#include "base/status.h"

typedef enum gguf_type { /* the numbers of the file format */
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_TEXT, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64
} gguf_type;

const char *gguf_type_name(gguf_type t); /* "u32" */
size_t gguf_type_bytes(gguf_type t);     /* 0: texts and arrays */

/* Not 0-terminated; may hold 0. Keys are UTF-8; so is what gguf_string and gguf_texts give, which check it. */
typedef struct gguf_text { const char *at; size_t n; } gguf_text;

/* One metadata value. An array of texts is unpacked into `texts`; other arrays lie at `data` as in the file, maybe unaligned. */
typedef struct gguf_value {
    gguf_text key;
    gguf_type type, item;   /* item: of an array, else type */
    size_t n;               /* items of an array, else 1 */
    const void *data;       /* little-endian numbers */
    const gguf_text *texts; /* GGUF_TEXT (one), or an array of them */
} gguf_value;

typedef struct gguf_tensor {
    const char *name;
    ry_dtype type;          /* RY_NONE: a type that Rusty does not compute with */
    uint32_t type_number;   /* as in the file */
    ry_spec spec;           /* row-major: dim[0] outermost (the file has them the other way round) */
    size_t bytes;
    const void *data;       /* in the mapping */
} gguf_tensor;

typedef struct gguf_file gguf_file;
/* Everything is checked before it is used: EFORMAT names the file, the field and what is wrong. EUNSUPPORTED: version, byte order. */
ry_status gguf_open(gguf_file **out, const char *path);
/* From memory that stays the caller's and outlives *out. what: its name for messages. */
ry_status gguf_open_memory(gguf_file **out, const void *data, size_t bytes, const char *what);
void gguf_close(gguf_file *f);
const char *gguf_name(const gguf_file *f);      /* for messages */
uint32_t gguf_version(const gguf_file *f);
size_t gguf_value_count(const gguf_file *f);
const gguf_value *gguf_value_at(const gguf_file *f, size_t i);
const gguf_value *gguf_find(const gguf_file *f, const char *key); /* NULL if absent */
/* Typed reading: absent keeps *out where not needed, is EFORMAT where needed; another type, or out of [min,max], is EFORMAT. */
ry_status gguf_int(int64_t *out, const gguf_file *f, const char *key, int64_t min, int64_t max, bool need);
ry_status gguf_real(double *out, const gguf_file *f, const char *key, bool need);
ry_status gguf_bool(bool *out, const gguf_file *f, const char *key, bool need);
ry_status gguf_string(gguf_text *out, const gguf_file *f, const char *key, bool need);
ry_status gguf_texts(const gguf_text **out, size_t *n, const gguf_file *f, const char *key, bool need);
int64_t gguf_item_int(const gguf_value *v, size_t i); /* of an array (or i = 0 of a value) of integers or bools */
double gguf_item_real(const gguf_value *v, size_t i); /* the same of any number */
const char *gguf_tensor_type_name(uint32_t type_number); /* "q4_K" */
size_t gguf_tensor_count(const gguf_file *f);
const gguf_tensor *gguf_tensor_at(const gguf_file *f, size_t i);
const gguf_tensor *gguf_tensor_find(const gguf_file *f, const char *name); /* NULL if absent */
#endif
