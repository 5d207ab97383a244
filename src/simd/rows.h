/* rows.h - loops over contiguous floats, and conversions between storage types.  Each is one function per path; sums run in a
 * fixed order (a fixed number of lanes, then a fixed tree), so that the same path gives the same bits.  No alignment needed. */
#ifndef RY_SIMD_ROWS_H
#define RY_SIMD_ROWS_H
#include <rusty.h>

typedef struct simd_rows_table {
    float (*sum)(const float *x, int64_t n);
    float (*sumsq)(const float *x, int64_t n);
    float (*dot)(const float *x, const float *y, int64_t n);
    float (*max)(const float *x, int64_t n);                 /* NaN if any is NaN; -inf for n = 0 */
    float (*min)(const float *x, int64_t n);
    float (*absmax)(const float *x, int64_t n);
    void (*scale)(float *y, const float *x, float a, int64_t n);        /* y = a x */
    void (*axpy)(float *y, float a, const float *x, int64_t n);         /* y += a x */
    void (*add)(float *y, const float *a, const float *b, int64_t n);
    void (*mul)(float *y, const float *a, const float *b, int64_t n);
    void (*fill)(float *y, float v, int64_t n);
    float (*exp_sub)(float *y, const float *x, float m, int64_t n);     /* y = exp(x - m), 0 below exp(-87); x - m <= 88; returns sum y; y may be x */
    float (*exp_sub_sum)(const float *x, float m, int64_t n);           /* sum exp(x - m), nothing stored */
    void (*softmax)(float *y, const float *x, int64_t n);               /* all -inf gives NaN, as elsewhere */
    void (*softmax_grad)(float *gx, const float *y, const float *gy, int64_t n);
    float (*rms_norm)(float *y, const float *x, const float *w, float eps, int64_t n); /* w may be NULL; returns 1/rms */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, float eps, int64_t n, float stat[2]); /* mean, 1/std */
    /* Gradients of norms. u = gy w (w NULL: gy): sum u, sum u (x - mean). */
    void (*norm_sums)(double sum[2], const float *gy, const float *w, const float *x, float mean, int64_t n);
    /* h = (x - mean) r: gx = r (u - shift - slope h); gw += gy h where there is w; gb += gy unless NULL. */
    void (*norm_back)(float *gx, float *gw, float *gb, const float *gy, const float *w, const float *x, float mean, float r, float shift,
                      float slope, int64_t n);
    void (*rope_half)(float *y, const float *x, const float *cos, const float *sin, int64_t half);        /* pairs (i, i+half) */
    void (*rope_pairs)(float *y, const float *x, const float *cos, const float *sin, int64_t half);       /* pairs (2i, 2i+1) */
    void (*sin_cos)(float *s, float *c, const float *x, int64_t n);     /* arguments up to 1e6 in magnitude, <= 2 ULP */
    /* AdamW, decoupled decay: w -= lr (mh / (sqrt(vh) + eps) + wd w); bc1 = 1/(1-b1^t), bc2 = 1/(1-b2^t); g is multiplied by scale.
     * double: 1 - b2 would lose five digits in float. */
    void (*adamw)(float *w, float *m, float *v, const float *g, float scale, double lr, double b1, double b2, double eps, double wd,
                  double bc1, double bc2, int64_t n);
    void (*to_f32)(float *y, const void *x, ry_dtype t, int64_t n);     /* every dtype; of blocks n is a multiple */
    void (*from_f32)(void *y, const float *x, ry_dtype t, int64_t n);   /* round to nearest even; ints truncate and saturate, NaN -> 0; bool: != 0;
                                                                         * blocks: blocks_from_f32 */
    void (*widen_blocks)(float *y, const void *x, ry_dtype t, int64_t first, int64_t n); /* values [first, first + n) of a row of blocks; both multiples of 32 */
    void (*widen)(int32_t *y, const void *x, ry_dtype t, int64_t n);    /* i8 u8 bool */
    void (*narrow)(void *y, const int32_t *x, ry_dtype t, int64_t n);   /* low bytes; bool: != 0 */
    void (*max_into)(float *y, const float *x, int64_t step, int64_t n); /* y[i] = the greater of y[i] and x[i step]; NaN above all, the first of equals stays */
    void (*add_into)(float *y, const float *x, int64_t step, int64_t n); /* y[i] += x[i step] */
    void (*uniform)(float *y, int64_t n, uint64_t seed, uint32_t stream, uint64_t i); /* ry_rng_uniform's numbers, to the bit */
    void (*dropout)(float *y, const float *x, float least, float scale, int64_t n, uint64_t seed, uint32_t stream,
                    uint64_t i); /* y = x scale where the stream's uniform is at least `least`, else 0 x; y may be x */
} simd_rows_table;

const simd_rows_table *simd_rows(void); /* of simd_now() */
const simd_rows_table *simd_rows_of(int path); /* NULL where absent */
#endif
