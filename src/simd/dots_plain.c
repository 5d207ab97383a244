/* dots_plain.c - products with weights of blocks in plain C: always there, the reference of the other paths. */
#include "simd/vec.h"

#define OFFSET 0
#define MR     2
#define NV     1
enum { LANES = 4 };
typedef int32_t ivec __attribute__((vector_size(16)));
typedef float fvec __attribute__((vector_size(16)));
VM_FN ivec i_set(int32_t v) { return (ivec){v, v, v, v}; }
VM_FN ivec i_load(const void *p) {
    ivec v;
    memcpy(&v, p, sizeof v);
    return v;
}
VM_FN ivec i_quad(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return i_set(v);
}
VM_FN ivec i_dot(ivec acc, ivec w, ivec x) {
    for (int i = 0; i < 4; i++) {
        const int8_t *a = (const int8_t *)&w + 4 * i, *b = (const int8_t *)&x + 4 * i;
        acc[i] += (a[0] * b[0] + a[1] * b[1]) + (a[2] * b[2] + a[3] * b[3]);
    }
    return acc;
}
VM_FN fvec f_set(float v) { return (fvec){v, v, v, v}; }
VM_FN fvec f_load(const float *p) {
    fvec v;
    memcpy(&v, p, sizeof v);
    return v;
}
VM_FN void f_store(float *p, fvec v) { memcpy(p, &v, sizeof v); }
VM_FN fvec f_from(ivec v) { return __builtin_convertvector(v, fvec); }
VM_FN fvec f_mul(fvec a, fvec b) { return a * b; }
VM_FN fvec f_fma(fvec a, fvec b, fvec c) { return a * b + c; }

VM_FN int32_t dot_16(const int8_t *w, const int8_t *x) {
    int32_t s = 0;
    for (int i = 0; i < 16; i++) s += w[i] * x[i];
    return s;
}
#include "simd/dots_row.h"
#include "simd/dots.inc"

const dots_path dots_plain = {PANEL, MR, OFFSET, round_row, run_pack, run_tiles, run_dot};
