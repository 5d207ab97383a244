/* dots.h - products with weights of blocks in whole numbers: the other side is rounded to 8 bits, a scale for each 32 values of a
 * row.  What an instruction set gives to dots.c, and what dots.c gives to gemm.c.  Private to simd. */
#ifndef RY_SIMD_DOTS_H
#define RY_SIMD_DOTS_H
#include "simd/gemm.h"

/* A row of x: codes [K], and for each 32 of them a scale. For each group of the weights' format the sum of its codes, times the scale
 * (for mins), and times what is taken from `offset` of the path. */
typedef struct dots_row {
    const int8_t *code;
    const float *scale, *sum;
    const int32_t *off;
} dots_row;

typedef struct dots_path {
    int rows;   /* of weights in a panel */
    int tall;   /* rows of x that a tile takes at a time */
    int offset; /* added to the weights' codes in panels */
    /* One row: codes, scales, sums as above; n a multiple of 32. */
    void (*round)(const float *x, int64_t n, int group, int8_t *code, float *scale, float *sum, int32_t *off);
    /* Weights' values [k, k + n) of `rows` rows, which lie `stride` bytes apart: codes [n / 4][rows of a panel][4], then scales and
     * mins [n / group][rows of a panel]. Missing rows are zero. */
    void (*pack)(ry_dtype t, const void *w, size_t stride, int rows, int64_t k, int64_t n, int8_t *code, float *scale, float *min);
    /* sums[r][j] (+)= x's rows r times the panel's rows j; from x's value k on, n values. */
    void (*tiles)(ry_dtype t, const dots_row *x, int64_t rows, int64_t k, int64_t n, const int8_t *code, const float *scale,
                  const float *min, float *sums, bool add);
    /* A row of x times one row of weights that lies as in the file. */
    float (*dot)(ry_dtype t, const void *w, const dots_row *x, int64_t k);
} dots_path;

extern const dots_path dots_plain, dots_avx2, dots_avx_vnni, dots_avx512_vnni, dots_neon;

size_t dots_bytes(const simd_gemm *g);       /* of x rounded */
int64_t dots_round_parts(const simd_gemm *g);
void dots_round(const simd_gemm *g, int64_t part, void *to);
int64_t dots_parts(const simd_gemm *g);
size_t dots_local(const simd_gemm *g);
void dots_part(const simd_gemm *g, int64_t part, const void *rounded, void *local);
/* Whole product in the caller. */
void dots_tile(const simd_gemm *g, void *local);
size_t dots_tile_local(const simd_gemm *g);
#endif
