/* stream.c - streaming stores and transposed tiles, with the baseline instructions of x86-64 (SSE2; stores of whole lines
 * where there is AVX-512), plain C elsewhere. Owns nothing. */
#include "simd/stream.h"
#include "simd/simd.h"
#include "simd/stream_path.h"
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>

void simd_stream(void *y_, const void *x_, size_t bytes) {
    char *y = y_;
    const char *x = x_;
    size_t head = (64 - ((uintptr_t)y & 63)) & 63; /* whole lines only: parts of lines would go out one by one */
    if (bytes < head + 64) {
        memcpy(y, x, bytes);
        return;
    }
    memcpy(y, x, head);
    y += head, x += head, bytes -= head;
    if (simd_now() == SIMD_AVX512) {
        stream_lines_avx512(y, x, bytes / 64);
        y += bytes / 64 * 64, x += bytes / 64 * 64, bytes %= 64;
    }
    for (; bytes >= 64; bytes -= 64, x += 64, y += 64) {
        __m128i a = _mm_loadu_si128((const void *)x), b = _mm_loadu_si128((const void *)(x + 16));
        __m128i c = _mm_loadu_si128((const void *)(x + 32)), d = _mm_loadu_si128((const void *)(x + 48));
        _mm_stream_si128((void *)y, a);
        _mm_stream_si128((void *)(y + 16), b);
        _mm_stream_si128((void *)(y + 32), c);
        _mm_stream_si128((void *)(y + 48), d);
    }
    memcpy(y, x, bytes);
}
void simd_stream_end(void) { _mm_sfence(); }

/* Squares of 16 / bytes elements a side. */
static void square_2(uint16_t *y, int64_t ys, const uint16_t *x, int64_t xs) {
    __m128i r[8], s[8];
    for (int i = 0; i < 8; i++) r[i] = _mm_loadu_si128((const void *)(x + i * xs));
    for (int i = 0; i < 4; i++)
        s[2 * i] = _mm_unpacklo_epi16(r[i], r[i + 4]), s[2 * i + 1] = _mm_unpackhi_epi16(r[i], r[i + 4]);
    for (int i = 0; i < 4; i++)
        r[2 * i] = _mm_unpacklo_epi16(s[i], s[i + 4]), r[2 * i + 1] = _mm_unpackhi_epi16(s[i], s[i + 4]);
    for (int i = 0; i < 4; i++)
        s[2 * i] = _mm_unpacklo_epi16(r[i], r[i + 4]), s[2 * i + 1] = _mm_unpackhi_epi16(r[i], r[i + 4]);
    for (int k = 0; k < 8; k++) _mm_storeu_si128((void *)(y + k * ys), s[k]);
}
static void square_4(uint32_t *y, int64_t ys, const uint32_t *x, int64_t xs) {
    __m128i r[4], s[4];
    for (int i = 0; i < 4; i++) r[i] = _mm_loadu_si128((const void *)(x + i * xs));
    for (int i = 0; i < 2; i++)
        s[2 * i] = _mm_unpacklo_epi32(r[i], r[i + 2]), s[2 * i + 1] = _mm_unpackhi_epi32(r[i], r[i + 2]);
    for (int i = 0; i < 2; i++)
        r[2 * i] = _mm_unpacklo_epi32(s[i], s[i + 2]), r[2 * i + 1] = _mm_unpackhi_epi32(s[i], s[i + 2]);
    for (int k = 0; k < 4; k++) _mm_storeu_si128((void *)(y + k * ys), r[k]);
}
static void square_8(uint64_t *y, int64_t ys, const uint64_t *x, int64_t xs) {
    __m128i a = _mm_loadu_si128((const void *)x), b = _mm_loadu_si128((const void *)(x + xs));
    _mm_storeu_si128((void *)y, _mm_unpacklo_epi64(a, b));
    _mm_storeu_si128((void *)(y + ys), _mm_unpackhi_epi64(a, b));
}
#else
void simd_stream(void *y, const void *x, size_t bytes) { memcpy(y, x, bytes); }
void simd_stream_end(void) {}
#define SQUARE(bits, bytes)                                                                          \
    static void square_##bytes(uint##bits##_t *y, int64_t ys, const uint##bits##_t *x, int64_t xs) { \
        for (int k = 0; k < 16 / bytes; k++)                                                         \
            for (int i = 0; i < 16 / bytes; i++) y[k * ys + i] = x[i * xs + k];                      \
    }
SQUARE(16, 2)
SQUARE(32, 4)
SQUARE(64, 8)
#endif

static void square_1(uint8_t *y, int64_t ys, const uint8_t *x, int64_t xs) {
    for (int k = 0; k < 16; k++)
        for (int i = 0; i < 16; i++) y[k * ys + i] = x[i * xs + k];
}

#define BLOCK(bits, bytes)                                                                                    \
    static void block_##bytes(uint##bits##_t *y, int64_t ys, const uint##bits##_t *x, int64_t xs, int64_t nk, \
                              int64_t ni) {                                                                   \
        enum { S = 16 / bytes };                                                                              \
        int64_t k = 0;                                                                                        \
        for (; k + S <= nk; k += S) {                                                                         \
            int64_t i = 0;                                                                                    \
            for (; i + S <= ni; i += S) square_##bytes(y + k * ys + i, ys, x + i * xs + k, xs);               \
            for (; i < ni; i++)                                                                               \
                for (int64_t j = k; j < k + S; j++) y[j * ys + i] = x[i * xs + j];                            \
        }                                                                                                     \
        for (; k < nk; k++)                                                                                   \
            for (int64_t i = 0; i < ni; i++) y[k * ys + i] = x[i * xs + k];                                   \
    }
BLOCK(8, 1)
BLOCK(16, 2)
BLOCK(32, 4)
BLOCK(64, 8)

static void block(char *y, int64_t ys, const char *x, int64_t xs, int64_t nk, int64_t ni, size_t bytes) {
    switch (bytes) {
    case 1: block_1((void *)y, ys, (const void *)x, xs, nk, ni); break;
    case 2: block_2((void *)y, ys, (const void *)x, xs, nk, ni); break;
    case 4: block_4((void *)y, ys, (const void *)x, xs, nk, ni); break;
    default: block_8((void *)y, ys, (const void *)x, xs, nk, ni);
    }
}

/* Tiles read up to 128 bytes of each of their rows and write 128: whole cache lines on both sides. Where rows of
 * the result do not begin at lines they write 512, so that few lines are written in parts. */
void simd_transpose(void *y_, int64_t ys, const void *x_, int64_t xs, int64_t nk, int64_t ni, size_t bytes,
                    void *tile) {
    char *y = y_;
    const char *x = x_;
    bool lines = ((uintptr_t)y & 63) == 0 && (size_t)ys * bytes % 64 == 0;
    int64_t b = (int64_t)bytes, side = b < 4 ? 32 : 128 / b, wide = tile && !lines ? 512 / b : 128 / b;
    for (int64_t i = 0; i < ni; i += wide)
        for (int64_t k = 0; k < nk; k += side) {
            int64_t mi = ni - i < wide ? ni - i : wide, mk = nk - k < side ? nk - k : side;
            char *to = y + (k * ys + i) * b;
            const char *from = x + (i * xs + k) * b;
            if (!tile) {
                block(to, ys, from, xs, mk, mi, bytes);
                continue;
            }
            block(tile, wide, from, xs, mk, mi, bytes);
            for (int64_t j = 0; j < mk; j++)
                simd_stream(to + j * ys * b, (char *)tile + j * wide * b, (size_t)(mi * b));
        }
    if (tile) simd_stream_end();
}
