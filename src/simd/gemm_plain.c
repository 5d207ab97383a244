/* gemm_plain.c - fp32 products in plain C: always there, the reference of the other paths. Groups of four floats, which compilers
 * turn into whatever vectors the build allows.
 *
 * Tile 4 x 8: 8 groups of sums, 2 of B, 1 of A of the 16 registers that the least of today's machines have. */
#include "simd/gemm_path.h"

#include <string.h>

enum { LANES = 4 };
typedef struct vec {
    float f[LANES];
} vec;
#define MR   4
#define NV   2
#define KU   1
#define KC   256
#define EACH for (int i_ = 0; i_ < LANES; i_++)

GEMM_FN vec v_set(float x) {
    vec v;
    EACH v.f[i_] = x;
    return v;
}
GEMM_FN vec v_zero(void) { return v_set(0); }
GEMM_FN vec v_load(const float *p) {
    vec v;
    memcpy(v.f, p, sizeof v.f);
    return v;
}
GEMM_FN vec v_load_n(const float *p, int n) {
    if (n == LANES) return v_load(p);
    vec v = v_zero();
    for (int i = 0; i < n; i++) v.f[i] = p[i];
    return v;
}
GEMM_FN void v_store(float *p, vec v) { memcpy(p, v.f, sizeof v.f); }
GEMM_FN void v_store_n(float *p, vec v, int n) {
    for (int i = 0; i < n; i++) p[i] = v.f[i];
}
GEMM_FN vec v_add(vec a, vec b) {
    EACH a.f[i_] += b.f[i_];
    return a;
}
GEMM_FN vec v_fma(vec a, vec b, vec c) {
    EACH c.f[i_] += a.f[i_] * b.f[i_];
    return c;
}
GEMM_FN vec v_mac(vec acc, vec a, vec b) { return v_fma(a, b, acc); }
GEMM_FN void v_prefetch(const void *p) { (void)p; }
GEMM_FN void v_prefetch_far(const void *p) { (void)p; }
GEMM_FN float v_sum(vec a) { return (a.f[0] + a.f[2]) + (a.f[1] + a.f[3]); }
GEMM_FN vec v_round(vec a) {
    EACH a.f[i_] = half_bf16_get(half_bf16_set(a.f[i_]));
    return a;
}
GEMM_FN vec v_from(const void *data, ry_dtype t, int64_t e, int n) {
    if (t == RY_F32) return v_load_n((const float *)data + e, n);
    vec v = v_zero();
    for (int i = 0; i < n; i++) v.f[i] = gemm_get(data, t, e + i);
    return v;
}
GEMM_FN void v_to(void *data, ry_dtype t, int64_t e, vec v, int n) {
    for (int i = 0; i < n; i++) gemm_put(data, t, e + i, v.f[i]);
}
GEMM_FN void v_transpose(vec r[LANES]) {
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < i; j++) {
            const float x = r[i].f[j];
            r[i].f[j] = r[j].f[i];
            r[j].f[i] = x;
        }
}

#include "simd/gemm.inc"
#include "simd/gemm_thin.inc"

const gemm_path gemm_plain = {1, LANES, 1, block, block_local, thin, peak, NR, panels, pack_panels};
