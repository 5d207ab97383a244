/* gemm_avx512_bf16.c - bf16 products with AVX512_BF16's dot instruction: f32 sums of products of pairs.
 *
 * The tile of gemm_avx512.c; a unit of K is a pair, so a panel of the same bytes holds twice the K. */
#include "simd/gemm_units_bf16.h"

#define MR 14
#define NV 2
#define KC 256
GEMM_FN vec v_mac(vec acc, vec a, vec b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}
#include "simd/gemm.inc"

const gemm_path gemm_avx512_bf16 = {1, LANES, 1, block, block_local, NULL, peak, NR, panels, pack_panels};
