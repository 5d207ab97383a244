/* _gemm.c - operands and knobs of the matrix products' kernels; see _gemm.h. */
#include "ops/_gemm.h"
#include <string.h>

gemm_side gemm_side_of(int64_t r, int64_t k, int64_t rows, int64_t depth) {
    bool along_k = k == 1 || (depth <= 1 && r != 1);
    gemm_side s = {.kind = along_k ? 0 : r == 1 || rows <= 1 ? 1 : 2, .r = r, .k = k};
    if (s.kind == 0) s.fours = depth % 4 == 0 && (rows <= 1 || r % 4 == 0);
    if (s.kind == 1) s.fours = rows % 4 == 0 && (depth <= 1 || k % 4 == 0);
    return s;
}

void gemm_batch(gemm_side *s, int rank, const int64_t *stride) {
    for (int i = 0; i < rank; i++) s->fours &= stride[i] % 4 == 0;
}

int gemm_knob(const ry_variant *v, const char *name) {
    for (int i = 0; i < 16 && v->knobs[i].name; i++)
        if (!strcmp(v->knobs[i].name, name)) return v->knobs[i].value;
    return 0;
}

int gemm_threads(const ry_variant *v) {
    return gemm_knob(v, "BM") / gemm_knob(v, "TM") * (gemm_knob(v, "BN") / gemm_knob(v, "TN"));
}

bool gemm_fits(const ry_caps *caps, int bm, int bn, int bk, int tm, int tn, int buffers, int64_t depth) {
    enum { LONGEST = 65000 }; /* turns of a loop: a software driver ends it there */
    uint32_t threads = (uint32_t)(bm / tm * (bn / tn)), bytes = (uint32_t)(buffers * bk * (bm + 4 + bn + 4) * 4);
    return threads <= caps->max_invocations && bytes <= caps->shared_bytes && depth / bk < LONGEST;
}

void gemm_tile(ry_launch *l, const gemm_side *a, const gemm_side *b) {
    ry_launch_knob_set(l, "A_KIND", a->kind);
    ry_launch_knob_set(l, "B_KIND", b->kind);
    ry_launch_knob_set(l, "A_QUAD", a->fours ? 4 : 1);
    ry_launch_knob_set(l, "B_QUAD", b->fours ? 4 : 1);
    ry_launch_u32(l, "a_r", a->r);
    ry_launch_u32(l, "a_k", a->k);
    ry_launch_u32(l, "b_r", b->r);
    ry_launch_u32(l, "b_k", b->k);
    if (a->fours) l->vec |= RY_USES_SRC(0);
    if (b->fours) l->vec |= RY_USES_SRC(1);
}
