/* bytelevel.h - GPT-2's characters for bytes (github.com/openai/gpt-2, src/encoder.py): printable bytes are themselves, the others
 * follow from U+0100 in their order.  Owns nothing. */
#ifndef RY_IO_TOKENIZER_BYTELEVEL_H
#define RY_IO_TOKENIZER_BYTELEVEL_H
#include "base/text.h"
#include "io/utf8.h"

static inline int32_t bytelevel_char(int b) {
    return b < 33 ? 256 + b : b < 127 ? b : b < 161 ? 256 + 33 + b - 127 : b == 173 ? 256 + 67 : b;
}

/* The byte of a character, or -1. */
static inline int32_t bytelevel_byte(int32_t cp) {
    if (cp >= 33 && cp < 127) return cp;
    if (cp >= 161 && cp < 256 && cp != 173) return cp;
    if (cp < 256 || cp > 256 + 67) return -1;
    return cp < 256 + 33 ? cp - 256 : cp < 256 + 67 ? cp - 256 - 33 + 127 : 173;
}

static inline void bytelevel_add(ry_text *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c[4];
        ry_text_add(out, c, utf8_put(c, bytelevel_char((unsigned char)s[i])));
    }
}
#endif
