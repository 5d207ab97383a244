/* launch.h - a row's kernel for a node: what devices that run kernels share.  Knows no vendor and no formula. */
#ifndef RY_CORE_LAUNCH_H
#define RY_CORE_LAUNCH_H
#include "core/op.h"

const ry_value *launch_operand(const ry_node *n, int operand);   /* NULL: left out, or the scratch */
void launch_operand_name(char name[8], int operand);             /* s0 .. s11, o0 .. o3, tmp */
/* The default variant: the first whose condition holds. NULL: the row has none. *count: how many of the row's variants hold. */
const ry_variant *launch_variant(const ry_node *n, const ry_caps *caps, int *count);
const ry_variant *launch_variant_at(const ry_node *n, const ry_caps *caps, int i); /* the i-th that holds */
/* Calls the row's launch. args: with the dynamic fields of this run. Scalar fields of the argument struct become uniforms by their
 * names (u64: NAME and NAME_hi), static flags knobs. EUNSUPPORTED by the node's name where the row has no kernel. */
ry_status launch_node(ry_launch *l, const ry_node *n, const void *args, const ry_variant *v, const ry_caps *caps, ry_text *text);
/* Rows of row_bytes, of length in all, that lie together in one binding and one buffer: all, or what a tensor is cut into. */
int64_t launch_piece(const ry_caps *caps, double row_bytes, int64_t length);
#endif
