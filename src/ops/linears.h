/* linears.h - several linear layers of the same few rows as one node; see linears.c. For the rows that become part of it. */
#ifndef RY_OPS_LINEARS_H
#define RY_OPS_LINEARS_H
#include "core/join.h"

/* The linear layer n (a matmul whose right side lies by rows), and others of the same x, as one node. Did it? */
bool linears_join(ry_joiner *j, ry_node *n);
double rms_norm_eps(const ry_node *n); /* of a rms_norm node */
#endif
