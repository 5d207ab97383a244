/* ref.c - finds a row's hand-written reference, and the arguments and index arithmetic that references share. */
#include "ref.h"
#include <string.h>

static const ref_row *const tables[] = {ref_rows_shape, ref_rows_reduce, ref_rows_product, ref_rows_update};

ref_fn ref_find(const char *name) {
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ref_row *r = tables[t]; r->name; r++)
            if (!strcmp(r->name, name)) return r->fn;
    return NULL;
}

static const ry_arg *find_arg(const ref_io *io, const char *field) {
    for (const ry_arg *a = io->op->args; a && a->name; a++)
        if (!strcmp(a->name, field)) return a;
    return NULL;
}

bool ref_has(const ref_io *io, const char *field) { return find_arg(io, field) != NULL; }

int64_t ref_int(ref_io *io, const char *field, int k) {
    const ry_arg *a = find_arg(io, field);
    if (!a || k >= (a->count ? a->count : 1)) {
        io->missing = field;
        return 0;
    }
    const char *at = (const char *)io->args + a->offset;
    switch (a->type) {
    case RY_ARG_I64: return ((const int64_t *)(const void *)at)[k];
    case RY_ARG_U64: return (int64_t)((const uint64_t *)(const void *)at)[k];
    case RY_ARG_I32: return ((const int32_t *)(const void *)at)[k];
    case RY_ARG_U32: return ((const uint32_t *)(const void *)at)[k];
    case RY_ARG_BOOL: return ((const bool *)(const void *)at)[k];
    case RY_ARG_F64: break;
    }
    io->missing = field;
    return 0;
}

double ref_num(ref_io *io, const char *field, int k) {
    const ry_arg *a = find_arg(io, field);
    if (!a || a->type != RY_ARG_F64 || k >= (a->count ? a->count : 1)) {
        io->missing = field;
        return 0;
    }
    return ((const double *)(const void *)((const char *)io->args + a->offset))[k];
}

double ref_round(const ref_io *io, ry_dtype t, double v) {
    if (io->smooth || (t != RY_F16 && t != RY_BF16)) return v;
    float x = (float)v, buf;
    uint16_t half;
    ry_store_row(&half, t, 0, 1, &x);
    return (double)*ry_load_row(&half, t, 0, 1, &buf);
}

void ref_unravel(const ry_spec *s, int64_t flat, int64_t idx[RY_MAX_RANK]) {
    for (int i = s->rank - 1; i >= 0; i--) {
        idx[i] = flat % s->dim[i];
        flat /= s->dim[i];
    }
}

int64_t ref_ravel(const ry_spec *s, const int64_t idx[RY_MAX_RANK]) {
    int64_t at = 0;
    for (int i = 0; i < s->rank; i++) at = at * s->dim[i] + idx[i];
    return at;
}

void ref_around(const ry_spec *s, int axis, int64_t *outer, int64_t *len, int64_t *inner) {
    *outer = *inner = 1;
    *len = s->rank ? s->dim[axis] : 1;
    for (int i = 0; i < s->rank; i++)
        if (i < axis)
            *outer *= s->dim[i];
        else if (i > axis)
            *inner *= s->dim[i];
}
