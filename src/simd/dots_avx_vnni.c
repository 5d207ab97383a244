/* dots_avx_vnni.c - products with weights of blocks on AVX2 with AVX-VNNI.
 *
 * Tile 2 x 16: 4 registers of floats, 4 of whole numbers, 2 of weights, 2 of their magnitudes and 1 of x of the 16. */
#include "simd/vec.h"

VM_FN __m256i dot_bytes(__m256i acc, __m256i u, __m256i s) {
    return _mm256_dpbusd_avx_epi32(acc, u, s);
}
VM_FN __m256i dot_codes(__m256i c, __m256i x, int less) {
    (void)less;
    return dot_bytes(_mm256_setzero_si256(), c, x);
}
#include "simd/dots_avx2.h"

const dots_path dots_avx_vnni = {PANEL, MR, OFFSET, round_row, run_pack, run_tiles, run_dot};
