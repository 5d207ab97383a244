/* _copy.h - strided copies between tensors of one dtype, in parts: contiguous, concat, pad, slices.  Knows no
 * formula. */
#ifndef RY_OPS_COPY_H
#define RY_OPS_COPY_H
#include "core/op.h"

/* A box of elements, copied from one strided layout to another. Strides count elements (blocks, for block dtypes). */
typedef struct copy_job {
    size_t bytes; /* of an element */
    int rank;     /* of the collapsed box; dims of 1 are gone */
    int64_t dim[RY_MAX_RANK], to[RY_MAX_RANK], from[RY_MAX_RANK];
    int axis;                     /* parts: each index of the dims before axis, times chunks of axis */
    int64_t chunk, chunks, parts; /* parts is 0 for an empty box */
    int64_t total;                /* elements */
} copy_job;

/* dim, to and from have `rank` entries; `from` NULL: zeros, so that one element fills the box. */
void copy_plan(copy_job *j, ry_dtype t, int rank, const int64_t *dim, const int64_t *to, const int64_t *from);
void copy_run(const copy_job *j, void *to, const void *from,
              int64_t part); /* pointers to element [0,..,0] of the box */
#endif
