/* stream_avx512.c - streaming stores of whole cache lines: a quarter of the store buffer's entries that 16 bytes a time
 * would take, so that what is computed next does not wait for them.  Owns nothing. */
#include "simd/stream_path.h"
#include <immintrin.h>

void stream_lines_avx512(char *y, const char *x, size_t lines) {
    for (; lines; lines--, x += 64, y += 64) _mm512_stream_si512((void *)y, _mm512_loadu_si512((const void *)x));
}
