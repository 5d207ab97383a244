/* ref.h - hand-written references: a row's meaning as plain loops over doubles, by row name.
 *
 * What a reference sees is dense, in double, shapes already checked by the row's infer. It fills every output. */
#ifndef TESTS_OPS_REF_H
#define TESTS_OPS_REF_H
#include "core/op.h"

typedef struct ref_io {
    const ry_op *op;
    const void *args;
    int n_src, n_out;
    ry_spec src_spec[RY_MAX_SRC], out_spec[RY_MAX_OUT];
    const double *src[RY_MAX_SRC]; /* NULL: left out */
    double *out[RY_MAX_OUT];
    bool smooth;         /* differences are being taken: no rounding to shorter floats */
    const char *missing; /* set where the row has no argument of the name asked for */
} ref_io;

/* Argument `field` (element k of an array) of the row's own struct. */
int64_t ref_int(ref_io *io, const char *field, int k);
double ref_num(ref_io *io, const char *field, int k);
bool ref_has(const ref_io *io, const char *field);

typedef void (*ref_fn)(ref_io *io);
typedef struct ref_row {
    const char *name;
    ref_fn fn;
} ref_row;
extern const ref_row ref_rows_shape[], ref_rows_reduce[], ref_rows_product[],
    ref_rows_update[];             /* each ends with name NULL */
ref_fn ref_find(const char *name); /* NULL: none */

/* Index arithmetic that references share. */
static inline int64_t ref_numel(const ry_spec *s) {
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++) n *= s->dim[i];
    return n;
}
double ref_round(const ref_io *io, ry_dtype t, double v); /* to a float of type t, unless smooth */
void ref_unravel(const ry_spec *s, int64_t flat, int64_t idx[RY_MAX_RANK]);
int64_t ref_ravel(const ry_spec *s, const int64_t idx[RY_MAX_RANK]);
void ref_around(const ry_spec *s, int axis, int64_t *outer, int64_t *len, int64_t *inner);
static inline int ref_axis(const ry_spec *s, int64_t axis) { return (int)(axis < 0 ? axis + s->rank : axis); }
#endif
