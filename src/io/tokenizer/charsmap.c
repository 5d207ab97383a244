/* charsmap.c - SentencePiece's precompiled_charsmap, and base64, in which a tokenizer.json holds it.  Owns nothing.
 *
 * The map is: u32 bytes of the array; the array, u32 units; texts. A unit (darts-clone's format): bits 0-7 label, bit 8 "a value
 * hangs here", bits 10-30 offset, shifted by 8 more where bit 9 is set; a value's unit has bit 31 set and the value below. */
#include <string.h>
#include "io/tokenizer/foreign.h"

enum { CHARSMAP_TEXT = 1024 }; /* bytes of a replacement at most: no file makes a short text endless */

static uint32_t charsmap_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

ry_status tok_charsmap_open(tok_charsmap *out, const void *data, size_t n, const char *what) {
    const unsigned char *p = data;
    if (n < 8) RY_FAIL(RY_EFORMAT, "%s: precompiled_charsmap has %zu bytes, too few for a map", what, n);
    size_t bytes = charsmap_u32(p);
    if (bytes < 4 || bytes % 4 || bytes > n - 4)
        RY_FAIL(RY_EFORMAT, "%s: precompiled_charsmap: an array of %zu bytes in %zu", what, bytes, n - 4);
    *out = (tok_charsmap){p + 4, bytes / 4, (const char *)p + 4 + bytes, n - 4 - bytes};
    const char *end;
    for (size_t at = 0; at < out->n_texts; at = (size_t)(end - out->texts) + 1) {
        size_t left = out->n_texts - at;
        if (!(end = memchr(out->texts + at, 0, left < CHARSMAP_TEXT ? left : CHARSMAP_TEXT)))
            RY_FAIL(RY_EFORMAT, "%s: precompiled_charsmap: the text at %zu has no end within %d bytes", what, at, CHARSMAP_TEXT);
    }
    return RY_OK;
}

static uint32_t charsmap_step(uint32_t unit) { return (unit & 0x7FFFFFFF) >> 10 << ((unit & 1u << 9) >> 6); }

size_t tok_charsmap_find(const tok_charsmap *m, const char *s, size_t n, bool longest, const char **with) {
    size_t found = 0;
    uint32_t at = 0, unit = charsmap_u32(m->units);
    at ^= charsmap_step(unit);
    for (size_t i = 0; i < n; i++) {
        uint32_t c = (unsigned char)s[i];
        if ((at ^= c) >= m->n_units) break;
        unit = charsmap_u32(m->units + 4 * (size_t)at);
        if ((unit & 0x800000FF) != c) break;
        at ^= charsmap_step(unit);
        if (!(unit >> 8 & 1)) continue;
        if (at >= m->n_units) break;
        uint32_t value = charsmap_u32(m->units + 4 * (size_t)at) & 0x7FFFFFFF;
        if (value >= m->n_texts) break;
        found = i + 1;
        *with = m->texts + value;
        if (!longest) break;
    }
    return found;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void tok_base64_add(ry_text *out, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t v = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);
        char c[4];
        for (size_t k = 0; k < 4; k++) c[k] = k <= have ? base64_digits[v >> (18 - 6 * k) & 63] : '=';
        ry_text_add(out, c, 4);
    }
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool tok_base64_read(ry_text *out, const char *s, size_t n) {
    for (int pad = 0; pad < 2 && n && s[n - 1] == '='; pad++) n--;
    if (n % 4 == 1) return false;
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int d = base64_value(s[i]);
        if (d < 0) return false;
        v = v << 6 | (uint32_t)d;
        if (i % 4 == 0) continue;
        char byte = (char)(unsigned char)(v >> (6 - 2 * (i % 4)) & 255);
        ry_text_add(out, &byte, 1);
    }
    return true;
}
