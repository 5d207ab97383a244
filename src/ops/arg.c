/* arg.c - argmax and argmin along one axis: the first of equals; NaN wins, as in PyTorch.
 *
 * Owns only these two rows. Never: values with their places (sort.c). */
#include "lines.h"
#include "_reduce.h"
#include <math.h>

typedef struct arg_args {
    int32_t axis;
    bool keepdim;
} arg_args;
static const ry_arg arg_arg[] = {RY_ARG(arg_args, axis, RY_ARG_I32), RY_ARG(arg_args, keepdim, RY_ARG_BOOL), {0}};

enum {
    TILE = 256, /* neighbouring lines that are searched together where the axis is not the last */
    BLOCK = 16,
};

static ry_status arg_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec;
    const arg_args *a = n->args;
    ry_spec y = {.dtype = RY_I32};
    bool scalar = x->rank == 0 && (a->axis == 0 || a->axis == -1);
    int axis = ry_axis(x, a->axis);
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; cast it to f32 first", ry_show(x).s);
    if (!scalar && axis < 0) return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", a->axis, ry_show(x).s);
    if (!scalar && x->dim[axis] == 0)
        return ry_fail_node(n, RY_ESHAPE, "x is %s: nothing to choose from along axis %d", ry_show(x).s, axis);
    if (!scalar && x->dim[axis] > INT32_MAX)
        return ry_fail_node(n, RY_ESHAPE, "x is %s: places along axis %d do not fit i32", ry_show(x).s, axis);
    for (int i = 0; i < x->rank; i++)
        if (i != axis)
            y.dim[y.rank++] = x->dim[i];
        else if (a->keepdim)
            y.dim[y.rank++] = 1;
    out[0] = y;
    return RY_OK;
}

static void around(const ry_node *n, int64_t *outer, int64_t *len, int64_t *inner) {
    const ry_spec *x = &n->src[0]->spec;
    *outer = *len = *inner = 1;
    if (x->rank) ry_around(x, ry_axis(x, ((const arg_args *)n->args)->axis), outer, len, inner);
}

static ry_work arg_work(const ry_node *n) {
    int64_t outer, len, inner;
    around(n, &outer, &len, &inner);
    return (ry_work){.parts = {ry_row_parts(outer * line_div_up(inner, TILE), len * line_min(inner, TILE))}};
}

/* A row of floats: the extreme of each chunk by vector code, then one chunk is searched. */
static int32_t find_row(const void *data, ry_dtype t, int64_t at, int64_t n, bool largest) {
    const simd_rows_table *r = simd_rows();
    float buf[LINE_CHUNK], best = 0;
    int64_t chunk = -1;
    for (int64_t i = 0; i < n; i += LINE_CHUNK) {
        int64_t m = line_min(n - i, LINE_CHUNK);
        const float *x = ry_load_row(data, t, at + i, m, buf);
        float v = largest ? r->max(x, m) : r->min(x, m);
        if (chunk < 0 || isnan(v) || (largest ? v > best : v < best)) best = v, chunk = i;
        if (isnan(v)) break;
    }
    int64_t m = line_min(n - chunk, LINE_CHUNK), k = 0;
    const float *x = ry_load_row(data, t, at + chunk, m, buf);
    for (; k + BLOCK <= m; k += BLOCK) { /* a loop of known length becomes vector code */
        int hit = 0;
        for (int j = 0; j < BLOCK; j++) hit |= (x[k + j] == best) | ((x[k + j] != x[k + j]) & (best != best));
        if (hit) break;
    }
    while (k < m - 1 && !(isnan(best) ? isnan(x[k]) : x[k] == best)) k++;
    return (int32_t)(chunk + k);
}

static int32_t find_integers(const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n, bool largest) {
    int64_t best = ry_load_index(data, t, at), place = 0;
    for (int64_t i = 1; i < n; i++) {
        int64_t v = ry_load_index(data, t, at + i * stride);
        if (largest ? v > best : v < best) best = v, place = i;
    }
    return (int32_t)place;
}

/* n <= TILE lines side by side, `stride` elements between the members of a line. */
static void find_tile(int32_t *y, const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t len, int64_t n,
                      bool largest) {
    float buf[TILE], best[TILE];
    memcpy(best, ry_load_row(data, t, at, n, buf), (size_t)n * sizeof *best);
    memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t i = 1; i < len; i++) {
        const float *x = ry_load_row(data, t, at + i * stride, n, buf);
        for (int64_t j = 0; j < n; j++) {
            bool better = (largest ? x[j] > best[j] : x[j] < best[j]) || (isnan(x[j]) && !isnan(best[j]));
            best[j] = better ? x[j] : best[j];
            y[j] = better ? (int32_t)i : y[j];
        }
    }
}

static ry_status arg_run(const ry_cpu *c, bool largest) {
    ry_dtype t = c->n->src[0]->spec.dtype;
    int64_t outer, len, inner, begin, end;
    around(c->n, &outer, &len, &inner);
    if (outer * inner == 0) return RY_OK;
    int64_t tiles = line_div_up(inner, TILE);
    ry_row_range(outer * tiles, len * line_min(inner, TILE), c->part, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t o = u / tiles, col = u % tiles * TILE, n = line_min(inner - col, TILE), at = o * len * inner + col;
        int32_t *y = (int32_t *)c->out[0] + o * inner + col;
        if (!ry_is_float(t))
            for (int64_t j = 0; j < n; j++) y[j] = find_integers(c->src[0], t, at + j, inner, len, largest);
        else if (inner == 1)
            *y = find_row(c->src[0], t, at, len, largest);
        else
            find_tile(y, c->src[0], t, at, inner, len, n, largest);
    }
    return RY_OK;
}
static ry_status argmax_cpu(const ry_cpu *c) { return arg_run(c, true); }
static ry_status argmin_cpu(const ry_cpu *c) { return arg_run(c, false); }

static ry_status arg_launch(const ry_node *n, ry_launch *l, reduce_kind kind) {
    const ry_spec *x = &n->src[0]->spec;
    return reduce_launch(n, l, kind, x->rank ? 1u << ry_axis(x, ((const arg_args *)n->args)->axis) : 0);
}
static ry_status argmax_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return arg_launch(n, l, REDUCE_ARGMAX);
}
static ry_status argmin_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return arg_launch(n, l, REDUCE_ARGMIN);
}

/* clang-format off */
#define A(axis, keep) &(const arg_args){(axis), (keep)}
static const int32_t ties[] = {3, 7, 7, 1, 1, 3};
static const ry_sample arg_samples[] = {
    {.name = "last", .src = {SRC_F(4, 21)}, .n_src = 1, .args = A(-1, false)},
    {.name = "first", .src = {SRC_F(9, 300)}, .n_src = 1, .args = A(0, true)},
    {.name = "middle", .src = {SRC_F(2, 5, 3)}, .n_src = 1, .args = A(1, false)},
    {.name = "several chunks", .src = {SRC_F(2, 5000)}, .n_src = 1, .args = A(1, false)},
    {.name = "ties", .src = {SRC_LIST(RY_I32, ties, 6)}, .n_src = 1, .args = A(0, false)},
    {.name = "i64", .src = {SRC_I(RY_I64, -50, 50, 3, 4, 2)}, .n_src = 1, .args = A(1, false)},
    {.name = "scalar", .src = {SRC_SCALAR}, .n_src = 1, .args = A(0, false)},
    {.name = "no outputs", .src = {SRC_F(0, 3)}, .n_src = 1, .args = A(1, false)},
    {.name = "large", .src = {SRC_F(16384, 2048)}, .n_src = 1, .args = A(1, false), .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op argmax_row = {
    .name = "argmax", .doc = "x [..] -> i32 place of the largest along axis, the first of equals",
    .arg_size = sizeof(arg_args), .args = arg_arg, .min_src = 1, .max_src = 1, .flags = RY_OP_NO_GRAD,
    .infer = arg_infer, .work = arg_work, .cpu = argmax_cpu, .wgsl = "reduce.wgsl", .launch = argmax_launch, .samples = arg_samples};
static const ry_op argmin_row = {
    .name = "argmin", .doc = "x [..] -> i32 place of the smallest along axis, the first of equals",
    .arg_size = sizeof(arg_args), .args = arg_arg, .min_src = 1, .max_src = 1, .flags = RY_OP_NO_GRAD,
    .infer = arg_infer, .work = arg_work, .cpu = argmin_cpu, .wgsl = "reduce.wgsl", .launch = argmin_launch, .samples = arg_samples};

ry_tensor ry_argmax(ry_graph *g, ry_tensor x, int axis, bool keepdim) {
    return RY_APPLY(g, &argmax_row, (&(arg_args){axis, keepdim}), x);
}
ry_tensor ry_argmin(ry_graph *g, ry_tensor x, int axis, bool keepdim) {
    return RY_APPLY(g, &argmin_row, (&(arg_args){axis, keepdim}), x);
}

RY_OP_MODULE(arg, &argmax_row, &argmin_row);
