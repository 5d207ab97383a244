/* _gemm.h - what the rows that multiply matrices tell their kernels: how operands lie, and the knobs of _gemm.wgsl.
 * Private to src/ops.  Knows no device. */
#ifndef RY_OPS_GEMM_H
#define RY_OPS_GEMM_H
#include "core/op.h"

/* A factor [rows, K] as kernels see it; the right one by its columns. */
typedef struct gemm_side {
    int kind;      /* 0: K is contiguous; 1: the rows lie side by side; 2: neither */
    bool fours;    /* quads along the contiguous dim begin at multiples of 4 elements, and none is cut */
    int64_t r, k;  /* strides */
} gemm_side;
gemm_side gemm_side_of(int64_t r, int64_t k, int64_t rows, int64_t depth);
void gemm_batch(gemm_side *s, int rank, const int64_t *stride); /* matrices of a batch begin so many elements apart */

/* A variant's knobs. */
#define GEMM_KNOBS(bm, bn, bk, tm, tn, db) .knobs = {{"BM", bm}, {"BN", bn}, {"BK", bk}, {"TM", tm}, {"TN", tn}, {"DB", db}}
int gemm_knob(const ry_variant *v, const char *name); /* 0 where the variant does not set it */
/* Does a group's tile fit the device? depth: the longest K. */
bool gemm_fits(const ry_caps *caps, int bm, int bn, int bk, int tm, int tn, int buffers, int64_t depth);

/* ---- which tiles, and how groups share them ---- */
/* A tile and what a chip with 132 multiprocessors (NVIDIA's H100 and H200) makes of it. Of other chips no more is known than that
 * integrated ones are small and read slowly; a multiprocessor is taken for as fast on each. */
typedef struct gemm_speed {
    int bm, bn, bk;
    int at_once;   /* groups on a multiprocessor */
    double tflops; /* with so many on each */
} gemm_speed;
/* Of `tiles` the first `whole` are a group's each; the others are made by `parts` groups each, of which the first takes `lead` steps of
 * K, the others `per`. seconds: what that takes, about. */
typedef struct gemm_deal {
    int64_t whole, shared, parts, lead, per;
    double seconds;
} gemm_deal;
/* The fastest deal. may_share: else all are whole. */
gemm_deal gemm_deal_of(const gemm_speed *tile, const ry_caps *caps, int64_t tiles, int64_t depth, bool may_share);
gemm_deal gemm_deal_even(const gemm_speed *tile, int64_t tiles, int64_t depth, int64_t parts); /* all shared by so many, or fewer */
size_t gemm_deal_bytes(const gemm_speed *tile, const gemm_deal *d); /* of tmp, from PARTS_AT on */
void gemm_deal_set(ry_launch *l, const gemm_deal *d);               /* uniforms of SPLIT */
static inline int64_t gemm_deal_groups(const gemm_deal *d) { return d->whole + d->shared * d->parts; }
/* Sets the knobs of a tile kernel that follow from the operands (s0 is A, s1 B), and their strides. */
void gemm_tile(ry_launch *l, const gemm_side *a, const gemm_side *b);
#endif
