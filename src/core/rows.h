/* rows.h - the six rows that core itself appends.  It knows no others by name. */
#ifndef RY_CORE_ROWS_H
#define RY_CORE_ROWS_H
#include "core/op.h"
extern const ry_op ry_op_add_row, ry_op_sum_to_row, ry_op_copy_row, ry_op_cast_row, ry_op_fill_row, ry_op_contiguous_row;
/* Their argument structs. */
typedef struct ry_sum_to_args { int64_t rank, dim[RY_MAX_RANK]; } ry_sum_to_args; /* target shape, broadcastable to the source's */
typedef struct ry_cast_args { int32_t dtype; } ry_cast_args;
typedef struct ry_fill_args { int32_t dtype; int64_t rank, dim[RY_MAX_RANK]; double value; } ry_fill_args;
#endif
