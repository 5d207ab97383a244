/* rope.h - what the rows that turn pairs share: their arguments. Private to src/ops. */
#ifndef RY_OPS_ROPE_H
#define RY_OPS_ROPE_H
#include "core/op.h"

typedef struct rope_args {
    double scale;   /* 0 = 1 */
    int64_t rotary; /* 0 = all of D */
    bool interleaved, inverse;
} rope_args;
extern const ry_arg rope_args_of[];
static inline double rope_scale_of(const rope_args *a) { return a->scale != 0 ? a->scale : 1; }
#endif
