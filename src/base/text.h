/* text.h - growing strings, their hash, and the one text expander that serves every .wgsl and .cu: names, conditions, loops. */
#ifndef RY_BASE_TEXT_H
#define RY_BASE_TEXT_H
#include "base/status.h"

typedef struct ry_text { char *at; size_t n, cap; bool failed; } ry_text; /* zero-init; at is 0-terminated once anything was added */
void ry_text_add(ry_text *t, const char *s, size_t n);
void ry_text_puts(ry_text *t, const char *s);
void ry_text_printf(ry_text *t, const char *fmt, ...) RY_PRINTF(2, 3);
void ry_text_json(ry_text *t, const char *s, size_t n); /* a quoted JSON string; bad UTF-8 becomes U+FFFD */
void ry_text_free(ry_text *t);
ry_status ry_text_status(const ry_text *t); /* ENOMEM if any addition failed */

/* FNV-1a, 64 bits (Fowler, Noll, Vo): h is RY_TEXT_HASH, or what the bytes before these gave. For tables and versions, not against malice. */
#define RY_TEXT_HASH UINT64_C(14695981039346656037)
uint64_t ry_text_hash(uint64_t h, const char *s, size_t n);

/* Expands a kernel text. A directive stands alone on its line:
 *   #if EXPR   #else   #end   #for NAME FROM TO   (TO exclusive; body repeated)   #include NAME
 *   #let NAME TEXT   (from here on, in included texts too, until said again; TEXT may be empty)
 * and ${EXPR} is replaced inside lines, also inside loops. EXPR: integers, names, + - * / % ( ) == != < > <= >= && || !.
 * A name's value is text; a text that is an integer can be calculated with. Unknown names are an error with file and line. */
typedef struct ry_text_var { const char *name, *value; } ry_text_var;
typedef const char *(*ry_text_include)(void *ud, const char *name); /* NULL: unknown */
ry_status ry_text_expand(ry_text *out, const char *what, const char *text, const ry_text_var *vars, size_t n_vars,
                         ry_text_include inc, void *ud);
#endif
