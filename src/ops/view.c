/* view.c - shapes seen otherwise: reshape, permute, slice, expand. They move nothing; core makes a source dense where
 * a reshape cannot be expressed by strides. Also slice_grad, which puts a slice's gradient back among zeros. */
#include "core/rows.h"
#include "ops/_copy.h"
#include "ops/_move.h"
#include <string.h>

typedef struct shape_args {
    int64_t rank, dim[RY_MAX_RANK];
} shape_args;
static const ry_arg shape_fields[] = {
    RY_ARG(shape_args, rank, RY_ARG_I64), RY_ARG_ARRAY(shape_args, dim, RY_ARG_I64, RY_MAX_RANK), {0}};

static bool is_block(const ry_spec *s) { return ry_dtype_row(s->dtype)->kind == RY_KIND_BLOCK; }

static void set_shape(shape_args *a, int rank, const int64_t *dim) {
    *a = (shape_args){.rank = rank};
    for (int i = 0; i < rank && i < RY_MAX_RANK; i++) a->dim[i] = dim[i];
}

/* ---------------------------------------------------------------- reshape */

static ry_status reshape_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const shape_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    if (a->rank < 0 || a->rank > RY_MAX_RANK)
        return ry_fail_node(n, RY_ESHAPE, "rank %lld; at most %d", (long long)a->rank, RY_MAX_RANK);
    ry_spec y = ry_shape(x->dtype, (int)a->rank, a->dim);
    int64_t total = ry_count(x);
    int open = -1;
    for (int d = 0; d < y.rank; d++)
        if (y.dim[d] == -1) {
            if (open >= 0)
                return ry_fail_node(n, RY_EARG, "two dims of %s are -1; one can be worked out", ry_show(&y).s);
            open = d;
            y.dim[d] = 1;
        }
    int64_t known = ry_numel(&y);
    if (open >= 0 && known > 0 && total % known == 0) y.dim[open] = total / known, known = total;
    if (known != total || (open >= 0 && !known)) {
        ry_spec asked = ry_shape(x->dtype, (int)a->rank, a->dim);
        return ry_fail_node(n, RY_ESHAPE, "x is %s, which has %lld elements; %s does not hold as many", ry_show(x).s,
                            (long long)total, ry_show(&asked).s);
    }
    out[0] = y;
    return RY_OK;
}

/* Each dim of x is spread over the dims of y that make it up, or several merge that lie without gaps. */
static ry_status reshape_view(const ry_node *n, ry_value *out) {
    const ry_value *x = n->src[0];
    const ry_spec *y = &out->spec;
    int64_t dim[RY_MAX_RANK], stride[RY_MAX_RANK];
    int rank = 0;
    out->offset = x->offset;
    for (int d = 0; d < x->spec.rank; d++) {
        if (x->spec.dim[d] == 0) return RY_OK; /* nothing is read through these strides */
        if (x->spec.dim[d] == 1) continue;
        if (rank && stride[rank - 1] == x->stride[d] * x->spec.dim[d])
            dim[rank - 1] *= x->spec.dim[d], stride[rank - 1] = x->stride[d];
        else
            dim[rank] = x->spec.dim[d], stride[rank++] = x->stride[d];
    }
    int r = rank - 1;
    int64_t left = rank ? dim[r] : 1, step = rank ? stride[r] : 1;
    for (int d = y->rank - 1; d >= 0; d--) {
        if (y->dim[d] != 1 && left == 1 && --r >= 0) left = dim[r], step = stride[r];
        if (left % y->dim[d]) return RY_EUNSUPPORTED;
        out->stride[d] = step;
        left /= y->dim[d];
        step *= y->dim[d];
    }
    return RY_OK;
}

ry_tensor ry_reshape_like(ry_graph *g, ry_tensor x, const ry_spec *s) { return ry_reshape(g, x, s->rank, s->dim); }

static ry_status reshape_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = ry_reshape_like(g, gy[0], &n->src[0]->spec);
    return RY_OK;
}

static const ry_sample reshape_samples[] = {
    {.name = "merge", .src = {{RY_F32, 3, {2, 3, 4}, 0, 0, NULL}}, .args = &(const shape_args){2, {6, 4}}},
    {.name = "split", .src = {{RY_F32, 2, {6, 4}, 0, 0, NULL}}, .args = &(const shape_args){3, {-1, 3, 4}}},
    {.name = "scalar", .src = {{RY_F32, 2, {1, 1}, 0, 0, NULL}}, .args = &(const shape_args){0, {0}}},
    {.name = "rank 8",
     .src = {{RY_F32, 2, {4, 9}, 0, 0, NULL}},
     .args = &(const shape_args){8, {1, 2, 1, 2, 3, 1, 3, 1}}},
    {.name = "empty", .src = {{RY_F32, 2, {0, 4}, 0, 0, NULL}}, .args = &(const shape_args){3, {2, 0, 7}}},
    {0}};
static const ry_op row_reshape = {.name = "reshape",
                                  .doc = "x -> the same elements in another shape",
                                  .arg_size = sizeof(shape_args),
                                  .args = shape_fields,
                                  .min_src = 1,
                                  .max_src = 1,
                                  .flags = RY_OP_VIEW,
                                  .strided = 1,
                                  .infer = reshape_infer,
                                  .view = reshape_view,
                                  .vjp = reshape_vjp,
                                  .samples = reshape_samples};

ry_tensor ry_reshape(ry_graph *g, ry_tensor x, int rank, const int64_t *dim) {
    shape_args a;
    const ry_spec *s = ry_spec_of(g, x);
    if (s && rank == s->rank && (!rank || !memcmp(dim, s->dim, (size_t)rank * sizeof *dim))) return x;
    set_shape(&a, rank, dim);
    return RY_APPLY(g, &row_reshape, &a, x);
}

/* ---------------------------------------------------------------- permute */

typedef struct permute_args {
    int32_t perm[RY_MAX_RANK];
} permute_args;
static const ry_arg permute_fields[] = {RY_ARG_ARRAY(permute_args, perm, RY_ARG_I32, RY_MAX_RANK), {0}};

static ry_status permute_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const permute_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    unsigned seen = 0;
    out[0] = *x;
    for (int d = 0; d < x->rank; d++) {
        int32_t p = a->perm[d];
        if (p < 0 || p >= x->rank || seen >> p & 1u)
            return ry_fail_node(n, RY_EARG, "x is %s; entry %d of the order is %d, which is %s", ry_show(x).s, d, p,
                                p < 0 || p >= x->rank ? "no axis" : "there already");
        seen |= 1u << p;
        out[0].dim[d] = x->dim[p];
    }
    if (is_block(x) && x->rank && a->perm[x->rank - 1] != x->rank - 1)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; the last axis of block dtypes stays last: cast it first",
                            ry_show(x).s);
    return RY_OK;
}
static ry_status permute_view(const ry_node *n, ry_value *out) {
    const permute_args *a = n->args;
    for (int d = 0; d < out->spec.rank; d++) out->stride[d] = n->src[0]->stride[a->perm[d]];
    out->offset = n->src[0]->offset;
    return RY_OK;
}
static ry_status permute_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const permute_args *a = n->args;
    int inverse[RY_MAX_RANK];
    for (int d = 0; d < n->src[0]->spec.rank; d++) inverse[a->perm[d]] = d;
    gx[0] = ry_permute(g, gy[0], inverse);
    return RY_OK;
}
static const ry_sample permute_samples[] = {
    {.name = "transpose", .src = {{RY_F32, 2, {5, 70}, 0, 0, NULL}}, .args = &(const permute_args){{1, 0}}},
    {.name = "heads", .src = {{RY_F32, 4, {2, 5, 3, 8}, 0, 0, NULL}}, .args = &(const permute_args){{0, 2, 1, 3}}},
    {.name = "cycle", .src = {{RY_F32, 3, {2, 3, 4}, 0, 0, NULL}}, .args = &(const permute_args){{2, 0, 1}}},
    {.name = "empty", .src = {{RY_F32, 2, {0, 3}, 0, 0, NULL}}, .args = &(const permute_args){{1, 0}}},
    {.name = "scalar", .src = {{RY_F32, 0, {0}, 0, 0, NULL}}, .args = &(const permute_args){{0}}},
    {0}};
static const ry_op row_permute = {.name = "permute",
                                  .doc = "x -> axis d of the result is axis perm[d] of x",
                                  .arg_size = sizeof(permute_args),
                                  .args = permute_fields,
                                  .min_src = 1,
                                  .max_src = 1,
                                  .flags = RY_OP_VIEW,
                                  .strided = 1,
                                  .infer = permute_infer,
                                  .view = permute_view,
                                  .vjp = permute_vjp,
                                  .samples = permute_samples};

ry_tensor ry_permute(ry_graph *g, ry_tensor x, const int *perm) {
    const ry_spec *s = ry_spec_of(g, x);
    permute_args a = {{0}};
    bool same = s != NULL;
    for (int d = 0; s && d < s->rank; d++) a.perm[d] = perm[d], same &= perm[d] == d;
    return same ? x : RY_APPLY(g, &row_permute, &a, x);
}
ry_tensor ry_transpose(ry_graph *g, ry_tensor x, int axis0, int axis1) {
    const ry_spec *s = ry_spec_of(g, x);
    int perm[RY_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    if (s) {
        int a = ry_axis(s, axis0), b = ry_axis(s, axis1);
        if (a < 0 || b < 0)
            return ry_graph_fail(g, RY_EARG, "transpose: x is %s; it has no axes %d and %d", ry_show(s).s, axis0,
                                 axis1);
        perm[a] = b, perm[b] = a;
    }
    return ry_permute(g, x, perm);
}

/* ---------------------------------------------------------------- expand */

static ry_status expand_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const shape_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    if (a->rank < x->rank || a->rank > RY_MAX_RANK)
        return ry_fail_node(n, RY_ESHAPE, "x is %s; it cannot be spread to rank %lld", ry_show(x).s,
                            (long long)a->rank);
    out[0] = ry_shape(x->dtype, (int)a->rank, a->dim);
    int lead = out[0].rank - x->rank;
    for (int d = 0; d < x->rank; d++)
        if (x->dim[d] != a->dim[lead + d] && (x->dim[d] != 1 || a->dim[lead + d] < 0))
            return ry_fail_node(n, RY_ESHAPE, "x is %s, which does not broadcast to %s", ry_show(x).s,
                                ry_show(&out[0]).s);
    if (ry_numel(&out[0]) < 0) return ry_fail_node(n, RY_ESHAPE, "%s is no shape", ry_show(&out[0]).s);
    return RY_OK;
}
static ry_status expand_view(const ry_node *n, ry_value *out) {
    const ry_value *x = n->src[0];
    int lead = out->spec.rank - x->spec.rank;
    for (int d = 0; d < out->spec.rank; d++)
        out->stride[d] = d < lead || (x->spec.dim[d - lead] == 1 && out->spec.dim[d] != 1) ? 0 : x->stride[d - lead];
    out->offset = x->offset;
    return RY_OK;
}
static ry_status expand_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[],
                            ry_tensor gx[]) { /* core sums it to x's shape */
    (void)g, (void)n;
    gx[0] = gy[0];
    return RY_OK;
}
static const ry_sample expand_samples[] = {
    {.name = "row", .src = {{RY_F32, 1, {7}, 0, 0, NULL}}, .args = &(const shape_args){2, {5, 7}}},
    {.name = "column", .src = {{RY_F32, 2, {5, 1}, 0, 0, NULL}}, .args = &(const shape_args){3, {2, 5, 6}}},
    {.name = "scalar", .src = {{RY_F32, 0, {0}, 0, 0, NULL}}, .args = &(const shape_args){2, {3, 4}}},
    {.name = "same", .src = {{RY_F32, 2, {3, 4}, 0, 0, NULL}}, .args = &(const shape_args){2, {3, 4}}},
    {.name = "to nothing", .src = {{RY_F32, 2, {1, 4}, 0, 0, NULL}}, .args = &(const shape_args){2, {0, 4}}},
    {0}};
static const ry_op row_expand = {.name = "expand",
                                 .doc = "x -> x repeated to a shape that it broadcasts to",
                                 .arg_size = sizeof(shape_args),
                                 .args = shape_fields,
                                 .min_src = 1,
                                 .max_src = 1,
                                 .flags = RY_OP_VIEW,
                                 .strided = 1,
                                 .infer = expand_infer,
                                 .view = expand_view,
                                 .vjp = expand_vjp,
                                 .samples = expand_samples};

ry_tensor ry_expand(ry_graph *g, ry_tensor x, int rank, const int64_t *dim) {
    shape_args a;
    const ry_spec *s = ry_spec_of(g, x);
    if (s && rank == s->rank && (!rank || !memcmp(dim, s->dim, (size_t)rank * sizeof *dim))) return x;
    set_shape(&a, rank, dim);
    return RY_APPLY(g, &row_expand, &a, x);
}

/* ---------------------------------------------------------------- slice and its gradient */

/* len elements of axis: start, start + step, .. size: the axis' length before the slice (what slice_grad restores). */
typedef struct slice_args {
    int32_t axis;
    int64_t start, step, len, size;
} slice_args;
static const ry_arg slice_fields[] = {RY_ARG(slice_args, axis, RY_ARG_I32), RY_ARG(slice_args, start, RY_ARG_I64),
                                      RY_ARG(slice_args, step, RY_ARG_I64), RY_ARG(slice_args, len, RY_ARG_I64),
                                      RY_ARG(slice_args, size, RY_ARG_I64), {0}};

/* axis in range; all elements inside [0, size). */
static ry_status check_slice(const ry_node *n, const slice_args *a, int64_t size) {
    const ry_spec *x = &n->src[0]->spec;
    if (a->axis < 0 || a->axis >= x->rank)
        return ry_fail_node(n, RY_EARG, "x is %s; it has no axis %d", ry_show(x).s, a->axis);
    bool ok = a->len == 0 || (a->len > 0 && a->step != 0 && a->start >= 0 && a->start < size);
    if (ok && a->len > 1)
        ok = a->step > 0 ? a->step <= (size - 1 - a->start) / (a->len - 1) : a->step >= -(a->start / (a->len - 1));
    if (!ok || a->size != size)
        return ry_fail_node(n, RY_EARG, "x is %s; %lld elements from %lld in steps of %lld leave axis %d", ry_show(x).s,
                            (long long)a->len, (long long)a->start, (long long)a->step, a->axis);
    if (is_block(x) && a->axis == x->rank - 1)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; the last axis of block dtypes is not cut: cast it first",
                            ry_show(x).s);
    return RY_OK;
}
static ry_status slice_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const slice_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    RY_TRY(check_slice(n, a, a->axis >= 0 && a->axis < x->rank ? x->dim[a->axis] : 0));
    out[0] = *x;
    out[0].dim[a->axis] = a->len;
    return RY_OK;
}
static ry_status slice_view(const ry_node *n, ry_value *out) {
    const slice_args *a = n->args;
    const ry_value *x = n->src[0];
    memcpy(out->stride, x->stride, sizeof out->stride);
    out->stride[a->axis] = a->len > 1 ? x->stride[a->axis] * a->step : x->stride[a->axis];
    out->offset = x->offset + (a->len ? x->stride[a->axis] * a->start : 0);
    return RY_OK;
}
static const ry_op row_slice_grad;
static ry_status slice_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &row_slice_grad, n->args, gy[0]);
    return RY_OK;
}
static const ry_sample slice_samples[] = {
    {.name = "middle", .src = {{RY_F32, 2, {9, 5}, 0, 0, NULL}}, .args = &(const slice_args){0, 2, 1, 4, 9}},
    {.name = "columns", .src = {{RY_F32, 2, {4, 70}, 0, 0, NULL}}, .args = &(const slice_args){1, 1, 3, 20, 70}},
    {.name = "backwards", .src = {{RY_F32, 3, {2, 6, 3}, 0, 0, NULL}}, .args = &(const slice_args){1, 5, -2, 3, 6}},
    {.name = "reversed", .src = {{RY_F32, 1, {33}, 0, 0, NULL}}, .args = &(const slice_args){0, 32, -1, 33, 33}},
    {.name = "one", .src = {{RY_F32, 2, {3, 4}, 0, 0, NULL}}, .args = &(const slice_args){0, 1, 1, 1, 3}},
    {.name = "nothing", .src = {{RY_F32, 2, {3, 4}, 0, 0, NULL}}, .args = &(const slice_args){1, 0, 1, 0, 4}},
    {0}};
static const ry_op row_slice = {.name = "slice",
                                .doc = "x -> elements start, start + step, .. of one axis",
                                .arg_size = sizeof(slice_args),
                                .args = slice_fields,
                                .min_src = 1,
                                .max_src = 1,
                                .flags = RY_OP_VIEW,
                                .strided = 1,
                                .infer = slice_infer,
                                .view = slice_view,
                                .vjp = slice_vjp,
                                .samples = slice_samples};

/* As Python's x[start:stop:step] along axis. */
ry_tensor ry_slice(ry_graph *g, ry_tensor x, int axis, int64_t start, int64_t stop, int64_t step) {
    const ry_spec *s = ry_spec_of(g, x);
    slice_args a = {.step = step};
    if (s) {
        int at = ry_axis(s, axis);
        if (at < 0 || step == 0 || step == INT64_MIN)
            return ry_graph_fail(g, RY_EARG, "slice: x is %s; %s", ry_show(s).s,
                                 at < 0 ? "it has no such axis" : "the step cannot be 0");
        int64_t n = s->dim[at], lo = step > 0 ? 0 : -1, hi = step > 0 ? n : n - 1;
        if (start < 0) start += n;
        if (stop < 0) stop += n;
        start = start < lo ? lo : start > hi ? hi : start;
        stop = stop < lo ? lo : stop > hi ? hi : stop;
        int64_t span = step > 0 ? stop - start : start - stop, by = step > 0 ? step : -step;
        a.axis = at;
        a.size = n;
        a.len = span > 0 ? (span - 1) / by + 1 : 0;
        a.start = a.len ? start : 0;
        if (a.len <= 1) a.step = 1;
        if (a.len == n && a.step == 1) return x;
    }
    return RY_APPLY(g, &row_slice, &a, x);
}

static ry_status slice_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const slice_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    RY_TRY(check_slice(n, a, a->size));
    if (is_block(x)) return ry_fail_node(n, RY_EDTYPE, "gy is %s; gradients are floats", ry_show(x).s);
    if (x->dim[a->axis] != a->len)
        return ry_fail_node(n, RY_ESHAPE, "x is %s; axis %d of the slice has %lld", ry_show(x).s, a->axis,
                            (long long)a->len);
    out[0] = *x;
    out[0].dim[a->axis] = a->size;
    return RY_OK;
}

/* Disjoint boxes that make up the result. With steps of 1: zeros before, the slice, zeros after. Else phase 0
 * writes zeros all over and phase 1 the slice. */
typedef struct grad_plan {
    int n, phases;
    copy_job job[3];
    int64_t at[3];
    bool zeros[3];
} grad_plan;
static void grad_box(grad_plan *p, const ry_node *n, int64_t begin, int64_t len, int64_t step, bool zeros) {
    const ry_value *x = n->src[0], *y = &n->out[0];
    int axis = ((const slice_args *)n->args)->axis, k = p->n++;
    int64_t dim[RY_MAX_RANK], to[RY_MAX_RANK];
    memcpy(dim, y->spec.dim, sizeof dim);
    memcpy(to, y->stride, sizeof to);
    dim[axis] = len;
    to[axis] *= step;
    p->at[k] = len > 0 ? begin * y->stride[axis] : 0;
    p->zeros[k] = zeros;
    copy_plan(&p->job[k], y->spec.dtype, y->spec.rank, dim, to, zeros ? NULL : x->stride);
}
static void make_grad_plan(grad_plan *p, const ry_node *n) {
    const slice_args *a = n->args;
    bool whole = a->step == 1 || a->step == -1 || a->len == 0;
    int64_t first = a->step > 0 || a->len == 0 ? a->start : a->start - (a->len - 1);
    p->n = 0;
    p->phases = whole ? 1 : 2;
    if (whole) {
        if (a->len == 0) first = 0;
        grad_box(p, n, 0, first, 1, true);
        grad_box(p, n, first + a->len, a->size - first - a->len, 1, true);
    } else {
        grad_box(p, n, 0, a->size, 1, true);
    }
    grad_box(p, n, a->start, a->len, a->len > 1 ? a->step : 1, false);
}
static ry_work slice_grad_work(const ry_node *n) {
    grad_plan p;
    make_grad_plan(&p, n);
    ry_work w = {.phases = p.phases};
    for (int k = 0; k < p.n; k++) w.parts[p.phases == 2 ? k : 0] += p.job[k].parts;
    return w;
}
static ry_status slice_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    static const char zero[8] = {0};
    const slice_args *a = n->args;
    move_box box;
    move_whole(&box, n, 0);
    box.begin[a->axis] = a->start;
    if (a->len > 1) box.step[a->axis] = a->step;
    if (a->len > 1 && a->step < 0) { /* from its other end */
        box.begin[a->axis] += (a->len - 1) * a->step;
        box.step[a->axis] = -a->step;
        box.offset = (a->len - 1) * box.stride[a->axis];
        box.stride[a->axis] = -box.stride[a->axis];
    }
    return move_launch(n, 1, &box, zero, l);
}
static ry_status slice_grad_cpu(const ry_cpu *c) {
    static const char zero[8] = {0};
    grad_plan p;
    make_grad_plan(&p, c->n);
    int64_t part = c->part;
    for (int k = p.phases == 2 ? c->phase : 0; k < p.n; part -= p.job[k++].parts) {
        if (part < p.job[k].parts) {
            char *to = (char *)c->out[0] + p.at[k] * (int64_t)p.job[k].bytes;
            copy_run(&p.job[k], to, p.zeros[k] ? zero : c->src[0], part);
            break;
        }
        if (p.phases == 2) break;
    }
    return RY_OK;
}
static ry_status slice_grad_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &row_slice, n->args, gy[0]);
    return RY_OK;
}
static const ry_sample slice_grad_samples[] = {
    {.name = "middle", .src = {{RY_F32, 2, {4, 5}, 0, 0, NULL}}, .args = &(const slice_args){0, 2, 1, 4, 9}},
    {.name = "columns", .src = {{RY_F32, 2, {4, 20}, 0, 0, NULL}}, .args = &(const slice_args){1, 1, 3, 20, 70}},
    {.name = "backwards", .src = {{RY_F32, 3, {2, 3, 3}, 0, 0, NULL}}, .args = &(const slice_args){1, 5, -2, 3, 6}},
    {.name = "reversed", .src = {{RY_F32, 1, {30}, 0, 0, NULL}}, .args = &(const slice_args){0, 31, -1, 30, 33}},
    {.name = "nothing", .src = {{RY_F32, 2, {3, 0}, 0, 0, NULL}}, .args = &(const slice_args){1, 0, 1, 0, 4}},
    {0}};
static const ry_op row_slice_grad = {.name = "slice_grad",
                                     .doc = "gy -> gy at start, start + step, .. of one axis, zeros elsewhere",
                                     .arg_size = sizeof(slice_args),
                                     .args = slice_fields,
                                     .min_src = 1,
                                     .max_src = 1,
                                     .strided = 1,
                                     .infer = slice_grad_infer,
                                     .work = slice_grad_work,
                                     .cpu = slice_grad_cpu,
                                     .wgsl = "move.wgsl",
                                     .launch = slice_grad_launch,
                                     .vjp = slice_grad_vjp,
                                     .samples = slice_grad_samples};

RY_OP_MODULE(view, &row_reshape, &row_permute, &row_expand, &row_slice, &row_slice_grad);
