/* _move.h - kernels that only move bits: an output put together from boxes of sources and one value.  Knows no formula. */
#ifndef RY_OPS_MOVE_H
#define RY_OPS_MOVE_H
#include "core/op.h"

/* Along dim d of the output, entries begin, begin + step, .. (len of them, step >= 1) are the box's; entry k of the box is `stride`
 * elements of the source further than k - 1. Block dtypes: whole last dims. */
typedef struct move_box {
    int src;        /* which source of the node */
    int64_t offset; /* of the box's first element in the source */
    int64_t begin[RY_MAX_RANK], len[RY_MAX_RANK], step[RY_MAX_RANK], stride[RY_MAX_RANK];
} move_box;

/* All of source `src`, at the head of the output. */
void move_whole(move_box *b, const ry_node *n, int src);
/* Output 0 from disjoint boxes, and the element whose bytes are at `fill` (NULL: boxes leave nothing out). File move.wgsl. */
ry_status move_launch(const ry_node *n, int n_box, const move_box *box, const void *fill, ry_launch *l);
#endif
