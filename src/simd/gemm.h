/* gemm.h - matrix products on packed panels.  C[M,N] = (beta ? C : 0) + A[M,K] B[K,N] (+ bias[N]).
 * A and B are read through strides, so all transposes come without a copy: only panels of a cache's size are packed.
 * Blocked after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008). */
#ifndef RY_SIMD_GEMM_H
#define RY_SIMD_GEMM_H
#include <rusty.h>

typedef struct simd_mat {
    const void *data;
    ry_dtype dtype; /* f32, f16, bf16; B also blocks, which are widened a tile at a time */
    int64_t rs, cs; /* element strides of a row step and a column step; of blocks one is 1, the other a multiple of a block */
} simd_mat;

typedef struct simd_gemm {
    int64_t m, n, k;
    simd_mat a, b;
    void *c;
    ry_dtype c_dtype; /* f32, f16, bf16 */
    int64_t ldc;      /* elements; columns are contiguous */
    ry_dtype
        product; /* RY_F32: fp32 FMA. RY_BF16: factors rounded to bf16 (AMX, AVX512_BF16 or emulated by rounding), f32 sums */
    bool accumulate;   /* add to C (f32 C only) */
    const float *bias; /* [N] or NULL */
    float alpha;       /* multiplies A B; 0 means 1 */
    bool q8;           /* whole numbers: parts read A rounded to 8 bits before, in `panels` (simd_gemm_q8) */
    bool shared;       /* parts read B packed before, in `panels` (simd_gemm_share) */
    void *panels;
} simd_gemm;

/* The work is cut into parts from the shape (and path) alone, never from the number of threads; parts are independent, write
 * disjoint blocks of C, and each adds over K in one fixed order. */
int64_t simd_gemm_parts(const simd_gemm *g);
size_t simd_gemm_local(const simd_gemm *g); /* scratch bytes of one part in flight, 64-byte aligned */
void simd_gemm_part(const simd_gemm *g, int64_t part, void *local);

/* Where several parts read the same columns of B it may be packed once, before them. simd_gemm_share looks at the shape and sets
 * g->shared if that pays (m, n, k, product and the matrices' types and strides must be set). Then run the parts of packing, with
 * g->panels the 64-byte aligned space, wait for all of them, and run the parts of the product, which are others than without. */
bool simd_gemm_share(simd_gemm *g);
/* With B of blocks along K: sets g->q8 if that can be computed in whole numbers, A rounded to 8 bits with a scale for each 32 values
 * of a row. Then A is what is packed. */
bool simd_gemm_q8(simd_gemm *g);
size_t simd_gemm_panels(const simd_gemm *g); /* bytes; 0 if neither */
int64_t simd_gemm_pack_parts(const simd_gemm *g);
void simd_gemm_pack(const simd_gemm *g, int64_t part);

/* Whole product in the caller, not cut, for tiles inside attention and convolution. simd_gemm_tile_local: scratch that suffices for g and
 * for every product of the same types and strides with no larger m, n and k. */
void simd_gemm_tile(const simd_gemm *g, void *local);
size_t simd_gemm_tile_local(const simd_gemm *g);

double simd_peak_gflops(ry_dtype product,
                        double seconds); /* measured FMA (or bf16 dot) peak of one thread, no memory */
#endif
