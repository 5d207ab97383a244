/* gemm_path.h - what an instruction set gives to gemm.c: a row of functions and the shape of its tile.  Private to gemm*.
 *
 * gemm_<path>.c defines a small vector layer (the v_ functions) and includes gemm.inc, which holds the tile kernel, packing,
 * blocking and the matrix-vector loops once for all of them. */
#ifndef RY_SIMD_GEMM_PATH_H
#define RY_SIMD_GEMM_PATH_H
#include "simd/blocks.h"
#include "simd/gemm.h"
#include "simd/halves.h"
#include "simd/rows.h"

#include <assert.h>

#define GEMM_FN     static inline __attribute__((always_inline, unused))
#define GEMM_UNROLL _Pragma("GCC unroll 32")

typedef struct gemm_rect {
    int64_t i, m, j, n; /* rows [i, i + m), columns [j, j + n) of C */
} gemm_rect;

/* A few rows of x times a large matrix that is read once: out[r][c] = sum over k of x[r][k] b(k, j + c). */
typedef struct gemm_thin {
    float *out; /* rows of whole vectors, ldo apart */
    int64_t ldo;
    const float *x; /* rows of k values, ldx apart */
    int64_t ldx;
    int rows;
    simd_mat b; /* rs or cs is 1 */
    int64_t j, n, k;
    bool round; /* b to bf16 */
} gemm_thin;

typedef struct gemm_panels {
    size_t bytes;
    int64_t parts; /* of packing */
} gemm_panels;

typedef struct gemm_path {
    int row_unit, col_unit; /* parts are cut at multiples of these */
    int tall;               /* a part of given size is packed fastest with m : n about tall : 2 */
    /* One part. With `round` the factors are rounded to bf16 first: the path has no instruction for bf16 products. */
    void (*block)(const simd_gemm *g, const gemm_rect *r, bool round, void *local);
    size_t (*local)(const simd_gemm *g, int64_t m, int64_t n); /* scratch of a block of at most m x n */
    void (*thin)(const gemm_thin *t);                          /* NULL where `product` paths leave it to the f32 path */
    double (*peak)(int64_t loops); /* runs independent multiply-adds without memory; returns the number of operations */
    /* B packed once for all parts, which then begin at multiples of nr; nr 0: the path cannot. */
    int nr;
    gemm_panels (*panels)(const simd_gemm *g);
    void (*pack)(const simd_gemm *g, bool round, int64_t part, float *to);
} gemm_path;

extern const gemm_path gemm_plain, gemm_avx2, gemm_avx512, gemm_neon, gemm_avx512_bf16, gemm_amx;

GEMM_FN bool gemm_blocks(ry_dtype t) { return t != RY_F32 && t != RY_F16 && t != RY_BF16; }

/* Element e of a matrix of floats. */
GEMM_FN float gemm_get(const void *data, ry_dtype t, int64_t e) {
    if (t == RY_F32) return ((const float *)data)[e];
    const uint16_t h = ((const uint16_t *)data)[e];
    return t == RY_F16 ? half_f16_get(h) : half_bf16_get(h);
}

GEMM_FN void gemm_put(void *data, ry_dtype t, int64_t e, float v) {
    if (t == RY_F32)
        ((float *)data)[e] = v;
    else
        ((uint16_t *)data)[e] = t == RY_F16 ? half_f16_set(v) : half_bf16_set(v);
}
#endif
