/* ref_shape.c - references of rows that move elements: shapes, copies, casts, joining, indexing, makers. */
#include "base/rng.h"
#include "ref.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void same(ref_io *io) { memcpy(io->out[0], io->src[0], (size_t)ref_numel(&io->out_spec[0]) * sizeof(double)); }

static void sum_to(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *y = &io->out_spec[0];
    int64_t idx[RY_MAX_RANK], n = ref_numel(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        ref_unravel(x, i, idx);
        for (int d = 0; d < y->rank; d++) at = at * y->dim[d] + (y->dim[d] == 1 ? 0 : idx[x->rank - y->rank + d]);
        io->out[0][at] += io->src[0][i];
    }
}

static double saturate(double v, double lo, double hi) { return isnan(v) ? 0 : v < lo ? lo : v > hi ? hi : trunc(v); }
static void cast(ref_io *io) {
    ry_dtype from = io->src_spec[0].dtype, to = io->out_spec[0].dtype;
    int64_t n = ref_numel(&io->out_spec[0]);
    bool from_float = ry_dtype_row(from)->kind == RY_KIND_FLOAT;
    for (int64_t i = 0; i < n; i++) {
        double x = io->src[0][i], y = x;
        if (to == RY_BOOL)
            y = x != 0;
        else if (!from_float && ry_dtype_row(to)->kind == RY_KIND_INT) {
            uint64_t u = (uint64_t)(int64_t)x; /* integers keep their low bits */
            y = to == RY_I8    ? (double)(int8_t)(uint8_t)u
                : to == RY_U8  ? (double)(uint8_t)u
                : to == RY_I32 ? (double)(int32_t)(uint32_t)u
                               : x;
        } else {
            switch (to) {
            case RY_I8: y = saturate(x, -128, 127); break;
            case RY_U8: y = saturate(x, 0, 255); break;
            case RY_I32: y = saturate(x, -2147483648.0, 2147483647.0); break;
            case RY_I64: y = saturate(x, -0x1p63, 0x1p63); break;
            default: y = ref_round(io, to, x); break;
            }
        }
        io->out[0][i] = y;
    }
}

static void fill(ref_io *io) {
    int64_t n = ref_numel(&io->out_spec[0]);
    for (int64_t i = 0; i < n; i++) io->out[0][i] = ref_num(io, "value", 0);
}

/* Q8_0 as ggml defines it: scale = largest magnitude / 127 in f16, whole numbers rounded half away from zero. */
static void quantize(ref_io *io) {
    int64_t n = ref_numel(&io->out_spec[0]);
    for (int64_t b = 0; b + 32 <= n; b += 32) {
        float big = 0, buf;
        for (int64_t i = b; i < b + 32; i++) big = fmaxf(big, fabsf((float)io->src[0][i]));
        float scale = big / 127.0f, inverse = scale != 0 ? 1.0f / scale : 0;
        uint16_t half;
        ry_store_row(&half, RY_F16, 0, 1, &scale);
        double stored = (double)*ry_load_row(&half, RY_F16, 0, 1, &buf);
        for (int64_t i = b; i < b + 32; i++) io->out[0][i] = stored * (double)roundf((float)io->src[0][i] * inverse);
    }
}

static void permute(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *y = &io->out_spec[0];
    int64_t idx[RY_MAX_RANK], from[RY_MAX_RANK], n = ref_numel(y);
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(y, i, idx);
        for (int d = 0; d < y->rank; d++) from[ref_axis(x, ref_int(io, "perm", d))] = idx[d];
        io->out[0][i] = io->src[0][ref_ravel(x, from)];
    }
}

static void expand(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *y = &io->out_spec[0];
    int64_t idx[RY_MAX_RANK], from[RY_MAX_RANK], n = ref_numel(y);
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(y, i, idx);
        for (int d = 0; d < x->rank; d++) from[d] = x->dim[d] == 1 ? 0 : idx[y->rank - x->rank + d];
        io->out[0][i] = io->src[0][ref_ravel(x, from)];
    }
}

static void slice(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *y = &io->out_spec[0];
    int axis = ref_axis(x, ref_int(io, "axis", 0));
    int64_t idx[RY_MAX_RANK], n = ref_numel(y);
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(y, i, idx);
        idx[axis] = ref_int(io, "start", 0) + idx[axis] * ref_int(io, "step", 0);
        io->out[0][i] = io->src[0][ref_ravel(x, idx)];
    }
}

static void slice_grad(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *y = &io->out_spec[0];
    int axis = ref_axis(x, ref_int(io, "axis", 0));
    int64_t idx[RY_MAX_RANK], n = ref_numel(x);
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(x, i, idx);
        idx[axis] = ref_int(io, "start", 0) + idx[axis] * ref_int(io, "step", 0);
        io->out[0][ref_ravel(y, idx)] += io->src[0][i];
    }
}

static void concat(ref_io *io) {
    const ry_spec *y = &io->out_spec[0];
    int axis = ref_axis(y, ref_int(io, "axis", 0));
    int64_t at = 0, idx[RY_MAX_RANK];
    for (int k = 0; k < io->n_src; k++) {
        int64_t n = ref_numel(&io->src_spec[k]);
        for (int64_t i = 0; i < n; i++) {
            ref_unravel(&io->src_spec[k], i, idx);
            idx[axis] += at;
            io->out[0][ref_ravel(y, idx)] = io->src[k][i];
        }
        at += io->src_spec[k].dim[axis];
    }
}

static void pad(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *y = &io->out_spec[0];
    int64_t idx[RY_MAX_RANK], n = ref_numel(y);
    for (int64_t i = 0; i < n; i++) {
        bool inside = true;
        ref_unravel(y, i, idx);
        for (int d = 0; d < x->rank; d++) {
            idx[d] -= ref_int(io, "before", d);
            inside = inside && idx[d] >= 0 && idx[d] < x->dim[d];
        }
        io->out[0][i] = inside ? io->src[0][ref_ravel(x, idx)] : ref_num(io, "value", 0);
    }
}

/* x [..,N,..], ids [R..] -> [..,R..,..] */
static void take_along(ref_io *io, int axis) {
    const ry_spec *x = &io->src_spec[0];
    int64_t outer, len, inner, n_ids = ref_numel(&io->src_spec[1]);
    ref_around(x, axis, &outer, &len, &inner);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t r = 0; r < n_ids; r++)
            memcpy(io->out[0] + (o * n_ids + r) * inner, io->src[0] + (o * len + (int64_t)io->src[1][r]) * inner,
                   (size_t)inner * sizeof(double));
}
static void take(ref_io *io) { take_along(io, ref_axis(&io->src_spec[0], ref_int(io, "axis", 0))); }
static void embedding(ref_io *io) { take_along(io, 0); }

static void take_grad(ref_io *io) {
    int axis = ref_axis(&io->out_spec[0], ref_int(io, "axis", 0));
    int64_t outer, len, inner, n_ids = ref_numel(&io->src_spec[1]);
    ref_around(&io->out_spec[0], axis, &outer, &len, &inner);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t r = 0; r < n_ids; r++)
            for (int64_t i = 0; i < inner; i++)
                io->out[0][(o * len + (int64_t)io->src[1][r]) * inner + i] += io->src[0][(o * n_ids + r) * inner + i];
}

static void gather(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *s = &io->src_spec[1];
    int axis = ref_axis(x, ref_int(io, "axis", 0));
    int64_t idx[RY_MAX_RANK] = {0}, n = ref_numel(s);
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(s, i, idx);
        if (x->rank) idx[axis] = (int64_t)io->src[1][i];
        io->out[0][i] = io->src[0][ref_ravel(x, idx)];
    }
}

static void scatter(ref_io *io) {
    const ry_spec *x = &io->src_spec[0], *s = &io->src_spec[1], *u = &io->src_spec[2];
    int axis = ref_axis(x, ref_int(io, "axis", 0));
    int64_t idx[RY_MAX_RANK] = {0}, n = ref_numel(s);
    same(io);
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(s, i, idx);
        double v = io->src[2][ref_ravel(u, idx)];
        if (x->rank) idx[axis] = (int64_t)io->src[1][i];
        double *y = &io->out[0][ref_ravel(x, idx)];
        *y = ref_int(io, "add", 0) ? *y + v : v;
    }
}

static void iota(ref_io *io) {
    int64_t idx[RY_MAX_RANK] = {0}, n = ref_numel(&io->out_spec[0]);
    int axis = ref_axis(&io->out_spec[0], ref_int(io, "axis", 0));
    for (int64_t i = 0; i < n; i++) {
        ref_unravel(&io->out_spec[0], i, idx);
        io->out[0][i] = ref_num(io, "start", 0) + ref_num(io, "step", 0) * (double)idx[axis];
    }
}

/* Streams are checked against NumPy's elsewhere; here: which part of which stream an element is. */
static void uniform(ref_io *io) {
    int64_t n = ref_numel(&io->out_spec[0]);
    for (int64_t i = 0; i < n; i++)
        io->out[0][i] = (double)ry_rng_unit(
            ry_rng_word((uint64_t)ref_int(io, "seed", 0), (uint32_t)ref_int(io, "stream", 0), (uint64_t)i));
}
static void normal(ref_io *io) {
    int64_t n = ref_numel(&io->out_spec[0]);
    float *y = malloc((size_t)(n + 2) * sizeof *y);
    if (!y) abort();
    ry_rng_normal(y, n, (uint64_t)ref_int(io, "seed", 0), (uint32_t)ref_int(io, "stream", 0), 0);
    for (int64_t i = 0; i < n; i++) io->out[0][i] = (double)y[i];
    free(y);
}

const ref_row ref_rows_shape[] = {
    {"copy", same},           {"contiguous", same}, {"dequantize", same}, {"reshape", same},
    {"sum_to", sum_to},       {"cast", cast},       {"fill", fill},       {"quantize", quantize},
    {"permute", permute},     {"expand", expand},   {"slice", slice},     {"slice_grad", slice_grad},
    {"concat", concat},       {"pad", pad},         {"take", take},       {"embedding", embedding},
    {"take_grad", take_grad}, {"gather", gather},   {"scatter", scatter}, {"iota", iota},
    {"uniform", uniform},     {"normal", normal},   {NULL, NULL}};
