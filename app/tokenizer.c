/* tokenizer.c - bytes, chars or a path, as --tokenizer says. */
#include "app.h"
#include <string.h>

ry_status app_tokenizer(ry_tokenizer **out, const char *kind, const char *data) {
    if (!strcmp(kind, "bytes")) return ry_tokenizer_bytes(out);
    if (strcmp(kind, "chars")) return ry_tokenizer_open(out, kind);
    char *text;
    size_t n;
    RY_TRY(os_file_read(data, &text, &n));
    ry_status st = ry_tokenizer_chars(out, text, n);
    ry_mem_free(text);
    return st;
}
