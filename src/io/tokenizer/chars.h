/* chars.h - what is asked of single characters, with the Unicode versions of those who answer in the reference.  Owns nothing. */
#ifndef RY_IO_TOKENIZER_CHARS_H
#define RY_IO_TOKENIZER_CHARS_H
#include "base/status.h"

/* EUNSUPPORTED where Rusty was built without utf8proc: asked while a step that needs the functions below is read. */
ry_status tok_chars_known(const char *what, const char *field);

bool tok_is_space(int32_t cp);   /* White_Space */
bool tok_is_word(int32_t cp);    /* \w of Rust's regex */
bool tok_is_number(int32_t cp);  /* Nd, Nl, No */
bool tok_is_punct(int32_t cp);   /* P* of the crate unicode_categories, and ASCII's punctuation and symbols */
bool tok_is_mark(int32_t cp);    /* M* */
bool tok_is_mn(int32_t cp);      /* Mn of the crate unicode_categories */
bool tok_is_control(int32_t cp); /* Cc, Cf, Co of the crate unicode_categories, but not \t \n \r */
int32_t tok_lower(int32_t cp, int32_t *second); /* the lower case; *second: a further character, 0 if there is none */
/* Extended grapheme clusters: whether one ends between a and b; *state 0 at first. */
bool tok_grapheme_break(int32_t a, int32_t b, int32_t *state);

/* NFC, NFD, NFKC, NFKD. tok_is_start: nothing before this character changes with it. tok_normal: the n code points of buf in that form;
 * *buf [*cap] grows as needed (ry_mem). */
enum { TOK_COMPOSE = 1, TOK_COMPAT = 2 };
bool tok_is_start(int32_t cp, int form);
ry_status tok_normal(int32_t **buf, size_t *cap, size_t *n, int form);
#endif
