/* dots_avx2.c - products with weights of blocks on AVX2.
 *
 * Tile 2 x 16: 4 registers of floats, 4 of whole numbers, 2 of weights, 2 of their magnitudes and 1 of x of the 16. */
#include "simd/vec.h"

VM_FN __m256i dot_bytes(__m256i acc, __m256i u, __m256i s) {
    const __m256i pairs = _mm256_maddubs_epi16(u, s); /* 2 x 128 x 127 fits */
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/* Pairs of products of codes up to 255 would not fit: those take back their signs. */
VM_FN __m256i dot_codes(__m256i c, __m256i x, int less) {
    const __m256i zero = _mm256_setzero_si256();
    if (less < 128) return dot_bytes(zero, c, x);
    const __m256i w = _mm256_xor_si256(c, _mm256_set1_epi8(-128)), back = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), x), _mm256_set1_epi16(128));
    return _mm256_add_epi32(dot_bytes(zero, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)), back);
}
#include "simd/dots_avx2.h"

const dots_path dots_avx2 = {PANEL, MR, OFFSET, round_row, run_pack, run_tiles, run_dot};
