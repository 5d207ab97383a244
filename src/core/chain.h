/* chain.h - a fused chain of elementwise nodes: core builds it, the row `fused` (src/ops/fused.c) runs and prints it.
 *
 * Register r < n_src is source r of the fused node, read through its strides (broadcast: stride 0); register n_src + i is the result
 * of link i.  All registers have the element count of the outputs, which share one shape. */
#ifndef RY_CORE_CHAIN_H
#define RY_CORE_CHAIN_H
#include "core/op.h"

enum { RY_MAX_LINKS = 48 };
typedef struct ry_link {
    const ry_op *op;     /* a RY_OP_MAP row; the cast row; or the fill row (an immediate) */
    int16_t in[5];       /* register of the row's k-th source; -1 past its last */
    ry_dtype dtype;      /* of the result: rounding to it happens here */
    double value;        /* fill: the immediate */
} ry_link;
typedef struct ry_chain {
    int n_src, n_link, n_out;
    ry_link link[RY_MAX_LINKS];
    int16_t out[RY_MAX_OUT]; /* register stored to output j */
} ry_chain;                  /* a fused node's args point at one */
#endif
