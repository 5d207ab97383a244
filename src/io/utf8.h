/* utf8.h - one code point at a time.  Strict: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#ifndef RY_IO_UTF8_H
#define RY_IO_UTF8_H
#include <stddef.h>
#include <stdint.h>

/* Reads the code point at s (n > 0 bytes there) into *cp and returns its length in bytes. Where the bytes are not UTF-8, *cp is -1
 * and the length is that of the longest piece that could have begun one (at least 1): what becomes one U+FFFD (Unicode 15, 3.9,
 * "substitution of maximal subparts"). */
static inline size_t utf8_next(const char *text, size_t n, int32_t *cp) {
    const unsigned char *s = (const unsigned char *)text;
    unsigned lead = s[0];
    *cp = -1;
    if (lead < 0x80) {
        *cp = (int32_t)lead;
        return 1;
    }
    size_t len = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (!len) return 1;
    /* the second byte's range is narrower after E0 (overlong), ED (surrogates), F0 (overlong) and F4 (too large) */
    unsigned lo = lead == 0xE0   ? 0xA0
                  : lead == 0xF0 ? 0x90
                                 : 0x80,
             hi = lead == 0xED   ? 0x9F
                  : lead == 0xF4 ? 0x8F
                                 : 0xBF;
    uint32_t v = lead & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (i >= n || s[i] < lo || s[i] > hi) return i;
        v = v << 6 | (s[i] & 0x3Fu);
        lo = 0x80, hi = 0xBF;
    }
    *cp = (int32_t)v;
    return len;
}

/* Writes cp (a valid code point) and returns its length, 1 to 4. */
static inline size_t utf8_put(char out[4], int32_t cp) {
    uint32_t c = (uint32_t)cp;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; c >>= 6) out[i] = (char)(0x80u | (c & 0x3Fu));
    out[0] = (char)((0xF00u >> len & 0xFFu) | c);
    return len;
}

/* Offset of the first byte that is not UTF-8, or n. */
static inline size_t utf8_valid(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        int32_t cp;
        size_t len = utf8_next(s + i, n - i, &cp);
        if (cp < 0) break;
        i += len;
    }
    return i;
}
#endif
