/* oracle.h - a second, slow opinion on every graph: its nodes evaluated in double, one by one, without planner, fusion or simd.
 *
 * A map row is its formula with libm's functions; a row in the table of ref.h is a hand-written loop; any other row is its `lower`.
 * What has none of them has no reference, and the oracle says so by name. */
#ifndef TESTS_OPS_ORACLE_H
#define TESTS_OPS_ORACLE_H
#include "core/op.h"

typedef struct oracle oracle;
oracle *oracle_open(ry_graph *g);
void oracle_close(oracle *o);
void oracle_smooth(oracle *o); /* for differences: what rounds to a shorter float type lets the value through */
/* The value of a leaf (input or variable): dense, copied. */
void oracle_bind(oracle *o, ry_tensor leaf, const double *data);
/* Binds again to a shifted value: data + h * dir. */
void oracle_shift(oracle *o, ry_tensor leaf, const double *data, const double *dir, double h);
void oracle_forget(oracle *o); /* everything but leaves: after a new binding */
/* The dense value of t, or NULL: oracle_why. Valid until the next forget. */
const double *oracle_value(oracle *o, ry_tensor t);
const char *oracle_why(const oracle *o);
/* The same without looking at the hand-written table for this one node (its lower must serve). */
const double *oracle_lowered(oracle *o, ry_tensor t);
bool oracle_has_ref(const ry_op *op);

/* n elements of storage as doubles, exactly. */
void oracle_load(double *y, const void *data, ry_dtype t, int64_t n);

/* Formula `form` of map row `op` on one element; in = {a, b, c, y, g}; integer: computed as whole numbers. */
double oracle_map(int op, int form, bool integer, const double in[5]);
int64_t oracle_wrap(ry_dtype t, int64_t v); /* what an integer type keeps of v */
#endif
