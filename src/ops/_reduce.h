/* _reduce.h - the kernels of reduce.wgsl for a node: shared by reduce.c and arg.c.  Private to src/ops. */
#ifndef RY_OPS_REDUCE_H
#define RY_OPS_REDUCE_H
#include "core/op.h"

/* In the order of KIND in reduce.wgsl. */
typedef enum reduce_kind {
    REDUCE_SUM,
    REDUCE_MEAN,
    REDUCE_NORM,
    REDUCE_AMAX,
    REDUCE_AMIN,
    REDUCE_LOGSUMEXP,
    REDUCE_ANY,
    REDUCE_ALL,
    REDUCE_ARGMAX,
    REDUCE_ARGMIN
} reduce_kind;

/* Source 0 over the axes in bits (argmax and argmin: one, whose index is the place) to output 0. */
ry_status reduce_launch(const ry_node *n, ry_launch *l, reduce_kind kind, unsigned bits);
#endif
