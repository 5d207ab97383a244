/* concat.c - tensors side by side along one axis; and ry_repeat, which is composed of views. */
#include "core/rows.h"
#include "ops/_copy.h"
#include "ops/_move.h"
#include <string.h>

typedef struct concat_args {
    int32_t axis;
} concat_args;
static const ry_arg fields[] = {RY_ARG(concat_args, axis, RY_ARG_I32), {0}};

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    int axis = ((const concat_args *)n->args)->axis;
    const ry_spec *first = &n->src[0]->spec;
    if (axis < 0 || axis >= first->rank)
        return ry_fail_node(n, RY_EARG, "x[0] is %s; it has no axis %d", ry_show(first).s, axis);
    if (ry_dtype_row(first->dtype)->kind == RY_KIND_BLOCK && axis == first->rank - 1)
        return ry_fail_node(n, RY_EDTYPE, "x[0] is %s; block dtypes are not joined along their last axis",
                            ry_show(first).s);
    out[0] = *first;
    for (int i = 1; i < n->n_src; i++) {
        const ry_spec *s = &n->src[i]->spec;
        ry_spec like = *s;
        if (s->rank == first->rank) like.dim[axis] = first->dim[axis];
        if (!ry_same_spec(&like, first))
            return ry_fail_node(n, s->dtype == first->dtype ? RY_ESHAPE : RY_EDTYPE,
                                "x[%d] is %s, x[0] is %s: they may differ in axis %d only", i, ry_show(s).s,
                                ry_show(first).s, axis);
        if (out[0].dim[axis] > INT64_MAX - s->dim[axis])
            return ry_fail_node(n, RY_ESHAPE, "axis %d becomes too long", axis);
        out[0].dim[axis] += s->dim[axis];
    }
    return RY_OK;
}

static void job_of(copy_job *j, const ry_node *n, int i) {
    const ry_value *x = n->src[i];
    copy_plan(j, x->spec.dtype, x->spec.rank, x->spec.dim, n->out[0].stride, x->stride);
}
static ry_work work(const ry_node *n) {
    ry_work w = {.parts = {0}};
    copy_job j;
    for (int i = 0; i < n->n_src; i++) job_of(&j, n, i), w.parts[0] += j.parts;
    return w;
}
static ry_status cpu(const ry_cpu *c) {
    int axis = ((const concat_args *)c->args)->axis;
    const ry_dtype_info *info = ry_dtype_row(c->n->out[0].spec.dtype);
    int64_t part = c->part, at = 0;
    for (int i = 0; i < c->n->n_src; i++) {
        copy_job j;
        job_of(&j, c->n, i);
        if (part < j.parts) {
            copy_run(&j, (char *)c->out[0] + at * c->n->out[0].stride[axis] / info->block * info->bytes, c->src[i],
                     part);
            break;
        }
        part -= j.parts;
        at += c->n->src[i]->spec.dim[axis];
    }
    return RY_OK;
}
static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int axis = ((const concat_args *)n->args)->axis;
    move_box box[RY_MAX_SRC];
    int64_t at = 0;
    for (int i = 0; i < n->n_src; at += n->src[i++]->spec.dim[axis]) {
        move_whole(&box[i], n, i);
        box[i].begin[axis] = at;
    }
    return move_launch(n, n->n_src, box, NULL, l);
}
static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    int axis = ((const concat_args *)n->args)->axis;
    int64_t at = 0;
    for (int i = 0; i < n->n_src; at += n->src[i++]->spec.dim[axis])
        gx[i] = ry_slice(g, gy[0], axis, at, at + n->src[i]->spec.dim[axis], 1);
    return RY_OK;
}

static const ry_sample samples[] = {
    {.name = "rows",
     .src = {{RY_F32, 2, {3, 5}, 0, 0, NULL}, {RY_F32, 2, {4, 5}, 0, 0, NULL}},
     .n_src = 2,
     .args = &(const concat_args){0}},
    {.name = "columns",
     .src = {{RY_F32, 2, {3, 5}, 0, 0, NULL}, {RY_F32, 2, {3, 1}, 0, 0, NULL}, {RY_F32, 2, {3, 40}, 0, 0, NULL}},
     .n_src = 3,
     .args = &(const concat_args){1}},
    {.name = "middle",
     .src = {{RY_F32, 3, {2, 1, 4}, 0, 0, NULL}, {RY_F32, 3, {2, 3, 4}, 0, 0, NULL}},
     .n_src = 2,
     .args = &(const concat_args){1}},
    {.name = "single", .src = {{RY_F32, 1, {4}, 0, 0, NULL}}, .n_src = 1, .args = &(const concat_args){0}},
    {.name = "empty part",
     .src = {{RY_F32, 2, {0, 2}, 0, 0, NULL}, {RY_F32, 2, {3, 2}, 0, 0, NULL}},
     .n_src = 2,
     .args = &(const concat_args){0}},
    {.name = "i64",
     .src = {{RY_I64, 1, {3}, 0, 9, NULL}, {RY_I64, 1, {4}, 0, 9, NULL}},
     .n_src = 2,
     .args = &(const concat_args){0}},
    {.name = "large",
     .src = {{RY_F32, 2, {4096, 2048}, 0, 0, NULL}, {RY_F32, 2, {4096, 2048}, 0, 0, NULL}},
     .n_src = 2,
     .args = &(const concat_args){1},
     .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_op row_concat = {.name = "concat",
                                 .doc = "x[0..n) side by side along axis",
                                 .arg_size = sizeof(concat_args),
                                 .args = fields,
                                 .min_src = 1,
                                 .max_src = RY_MAX_SRC,
                                 .strided = (1u << RY_MAX_SRC) - 1,
                                 .infer = infer,
                                 .work = work,
                                 .cpu = cpu,
                                 .wgsl = "move.wgsl",
                                 .launch = launch,
                                 .vjp = vjp,
                                 .samples = samples};

/* Mixed dtypes become the promoted one; beyond RY_MAX_SRC tensors it is done in steps. */
ry_tensor ry_concat(ry_graph *g, size_t n, const ry_tensor *x, int axis) {
    const ry_spec *first = n ? ry_spec_of(g, x[0]) : NULL;
    if (!n) return ry_graph_fail(g, RY_EARG, "concat: nothing to join");
    if (!first) return RY_APPLY(g, &row_concat, NULL, x[0]);
    concat_args a = {axis < 0 ? axis + first->rank : axis};
    ry_dtype t = first->dtype;
    for (size_t i = 1; i < n; i++) {
        const ry_spec *s = ry_spec_of(g, x[i]);
        if (s && s->dtype != t)
            t = ry_promote(
                (const ry_spec *[]){&(ry_spec){.dtype = t, .rank = 1}, &(ry_spec){.dtype = s->dtype, .rank = 1}}, 2);
    }
    ry_tensor part[RY_MAX_SRC];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (used == RY_MAX_SRC) part[0] = ry_apply_row(g, &row_concat, used, part, &a), used = 1;
        const ry_spec *s = ry_spec_of(g, x[i]);
        part[used++] = s && s->dtype != t ? ry_cast(g, x[i], t) : x[i];
    }
    return n == 1 ? part[0] : ry_apply_row(g, &row_concat, used, part, &a);
}

/* Axis by axis from the last: [outer, 1, rest] spread to [outer, times, rest]. */
ry_tensor ry_repeat(ry_graph *g, ry_tensor x, const int64_t *times) {
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return RY_APPLY(g, &row_concat, NULL, x); /* it says what is wrong */
    ry_spec y = *s;
    for (int d = y.rank - 1; d >= 0; d--) {
        if (times[d] == 1) continue;
        if (times[d] < 0 || (times[d] && y.dim[d] > INT64_MAX / times[d]))
            return ry_graph_fail(g, RY_EARG, "repeat: x is %s; axis %d cannot be repeated %lld times", ry_show(s).s, d,
                                 (long long)times[d]);
        int64_t outer = ry_count_range(&y, 0, d), rest = ry_count_range(&y, d, y.rank);
        y.dim[d] *= times[d];
        if (ry_numel(&y) < 0) return ry_graph_fail(g, RY_ESHAPE, "repeat: %s is too large", ry_show(&y).s);
        x = ry_expand(g, ry_reshape(g, x, 3, (int64_t[]){outer, 1, rest}), 3, (int64_t[]){outer, times[d], rest});
        x = ry_reshape_like(g, x, &y);
    }
    return x;
}

RY_OP_MODULE(concat, &row_concat);
