/* fused.h - the executor of elementwise chains, for the rows that are chains of one link (map.c, basic.c).  Knows
 * no formula. */
#ifndef RY_OPS_FUSED_H
#define RY_OPS_FUSED_H
#include "core/chain.h"

/* Letters of a formula: bit k of a mask is letter k of "abcyg"; a row's sources are the letters it uses, in this
 * order. */
enum { MAP_LETTERS = 5 };
unsigned map_letters(const ry_op *op); /* op: a row of map.c */

/* Work and one part of it, for a node whose formula is the chain: out[j] of the node receives register ch->out[j]. */
ry_work fused_work(const ry_node *n, const ry_chain *ch);
void fused_run(const ry_chain *ch, const ry_cpu *c);
/* The one-link chain of a map, cast or fill node. The rest of *ch is left as it is. */
void fused_single(ry_chain *ch, const ry_node *n, const void *args);
/* The chain as a WGSL kernel (file fused.wgsl), for a node as above. */
ry_status fused_launch(const ry_chain *ch, const ry_node *n, ry_launch *l);
/* For the launch of a row whose join calls join_tail: sets TAIL, and where it is not 0 (2: with the file bf16, which may stand there once) adds `fn tail(i, n, r0, r1, ..)`, which the text
 * calls instead of st4_o0(i, n, r0), st4_o1(..), ..: own of them, at multiples of 4. */
ry_status fused_tail(const ry_node *n, ry_launch *l, int own);
/* One element of dtype t (not a block dtype) that holds value, as casting from f32 would give it; integers from
 * the double. */
void fused_element(void *out, ry_dtype t, double value);
#endif
