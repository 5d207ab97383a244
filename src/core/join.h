/* join.h - what a row's `join` sees: a plan's nodes in order, and one of them put in the place of several.
 *
 * A joined node runs where the last of those that it stands for ran. Nodes are the plan's own copies. */
#ifndef RY_CORE_JOIN_H
#define RY_CORE_JOIN_H
#include "core/chain.h"
#include "core/plan.h"

struct ry_joiner {
    ry_plan *p;
    plan_list *l;       /* NULL where a node is gone */
    ry_value **want;
    size_t n_want;
    const ry_caps *caps;
    ry_status st;       /* ENOMEM ends the pass */
};

/* The nodes that read v, itself or through a view; their number, -1 where there are more than `most` or v is wanted of the plan. */
int join_readers(const ry_joiner *j, const ry_value *v, ry_node **out, int most);
/* A node of the plan: op's, with room for its outputs; args copied. NULL: no memory. */
ry_node *join_node(ry_joiner *j, const ry_op *op, const void *args, int n_src, int n_out);
/* x in the place of the n members (all different). old[i]: the member's output that x's i-th output is. False where that may not be:
 * somebody needs an output before, or one that is not among old, or a variable changes between. */
bool join_replace(ry_joiner *j, ry_node *x, int n, ry_node *const *member, ry_value *const *old);
/* Does every storage of n fit one binding, and all of them a kernel? */
bool join_fits(const ry_joiner *j, const ry_node *n);
/* n, whose outputs one elementwise node alone reads (an operator or a chain of them), takes it as its tail: n's row says by calling this
 * that its kernels store each element of all outputs at one place, once, through fused_tail (ops/fused.h). Registers of the tail: n's
 * outputs, then sources max_src .. of the joined node. */
bool join_tail(ry_joiner *j, ry_node *n);
#endif
