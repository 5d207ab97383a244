/* inspect.h - between the files that say what is inside a file: lines, words, tables.  For these only. */
#ifndef RY_IO_INSPECT_H
#define RY_IO_INSPECT_H
#include "base/status.h"
#include "base/text.h"

enum { INSPECT_FEW = 16, INSPECT_VALUE = 120, INSPECT_NAME = 72 };

typedef struct inspector {
    bool json;
    void (*line)(void *ud, const char *text);
    void *ud;
    ry_text text; /* the line being made */
} inspector;

ry_status inspect_emit(inspector *v);
/* A stranger's word on a terminal: control characters become '?', a long one is cut. Returns the columns (bytes) it took. */
size_t inspect_word(ry_text *out, const char *s, size_t most);
void inspect_bytes(ry_text *out, size_t bytes);
void inspect_key(ry_text *out, const char *key, const char *value); /* "key": "value" */

typedef struct inspect_row {
    const char *name, *dtype, *file;
    int rank;
    const int64_t *dim;
    size_t bytes;
} inspect_row;
ry_status inspect_rows(inspector *v, size_t n, inspect_row (*row)(const void *f, size_t i), const void *f);

ry_status inspect_gguf(inspector *v, const char *path);
#endif
