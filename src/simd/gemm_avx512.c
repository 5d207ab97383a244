/* gemm_avx512.c - fp32 products on AVX-512.
 *
 * Tile 14 x 32: 28 registers of sums, 2 of B and 1 of A of the 32. A step of K takes 28 multiply-adds (14 cycles on two ports) and
 * 16 loads (8 cycles); 8 x 48 and 12 x 32 measured 1 to 3 % slower. KC: a panel of B is 32 KiB, two thirds of L1.
 * The rest is A's, so what comes next is asked for into L2, and evenly: a burst would take the buffers of A's misses. */
#include "simd/gemm_vec_avx512.h"

#define MR 14
#define NV 2
#define KU 1
#define KC 256
GEMM_FN vec v_mac(vec acc, vec a, vec b) { return _mm512_fmadd_ps(a, b, acc); }
#include "simd/gemm.inc"
#include "simd/gemm_thin.inc"

const gemm_path gemm_avx512 = {1, LANES, 1, block, block_local, thin, peak, NR, panels, pack_panels};
