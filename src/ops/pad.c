/* pad.c - a border of one value around a tensor. */
#include "core/rows.h"
#include "ops/_copy.h"
#include "ops/_move.h"
#include "ops/fused.h"
#include <string.h>

typedef struct pad_args {
    int64_t before[RY_MAX_RANK], after[RY_MAX_RANK];
    double value;
} pad_args;
static const ry_arg fields[] = {RY_ARG_ARRAY(pad_args, before, RY_ARG_I64, RY_MAX_RANK),
                                RY_ARG_ARRAY(pad_args, after, RY_ARG_I64, RY_MAX_RANK),
                                RY_ARG(pad_args, value, RY_ARG_F64),
                                {0}};

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const pad_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK)
        return ry_fail_node(n, RY_EDTYPE, "x is %s: cast it first", ry_show(x).s);
    out[0] = *x;
    for (int d = 0; d < x->rank; d++) {
        if (a->before[d] < 0 || a->after[d] < 0 || a->before[d] > INT64_MAX - x->dim[d] ||
            a->after[d] > INT64_MAX - x->dim[d] - a->before[d])
            return ry_fail_node(n, RY_EARG, "x is %s; axis %d cannot get %lld before and %lld after", ry_show(x).s, d,
                                (long long)a->before[d], (long long)a->after[d]);
        out[0].dim[d] += a->before[d] + a->after[d];
    }
    if (ry_numel(&out[0]) < 0) return ry_fail_node(n, RY_ESHAPE, "%s is too large", ry_show(&out[0]).s);
    return RY_OK;
}

/* Box k of the result: 0 is x; 2d + 1 and 2d + 2 are the borders before and after it along axis d, which span all
 * of the later axes and of the earlier ones only what x spans. Returns the element where the box begins. */
static int64_t box(copy_job *j, const ry_node *n, int k) {
    const pad_args *a = n->args;
    const ry_value *x = n->src[0], *y = &n->out[0];
    int axis = (k - 1) / 2, rank = x->spec.rank;
    int64_t dim[RY_MAX_RANK], at = 0;
    for (int d = 0; d < rank; d++) {
        int64_t begin = a->before[d];
        dim[d] = x->spec.dim[d];
        if (k && d > axis)
            begin = 0, dim[d] = y->spec.dim[d];
        else if (k && d == axis && k % 2)
            begin = 0, dim[d] = a->before[d];
        else if (k && d == axis)
            begin += x->spec.dim[d], dim[d] = a->after[d];
        at += begin * y->stride[d];
    }
    copy_plan(j, x->spec.dtype, rank, dim, y->stride, k ? NULL : x->stride);
    return at;
}

static ry_work work(const ry_node *n) {
    ry_work w = {.parts = {0}};
    copy_job j;
    for (int k = 0; k <= 2 * n->src[0]->spec.rank; k++) box(&j, n, k), w.parts[0] += j.parts;
    return w;
}
static ry_status cpu(const ry_cpu *c) {
    int64_t part = c->part;
    for (int k = 0; k <= 2 * c->n->src[0]->spec.rank; k++) {
        copy_job j;
        char element[8];
        int64_t at = box(&j, c->n, k);
        if (part >= j.parts) {
            part -= j.parts;
            continue;
        }
        if (k) fused_element(element, c->n->out[0].spec.dtype, ((const pad_args *)c->args)->value);
        copy_run(&j, (char *)c->out[0] + at * (int64_t)j.bytes, k ? element : c->src[0], part);
        break;
    }
    return RY_OK;
}
static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    const pad_args *a = n->args;
    char element[8];
    move_box box;
    move_whole(&box, n, 0);
    for (int d = 0; d < n->src[0]->spec.rank; d++) box.begin[d] = a->before[d];
    fused_element(element, n->out[0].spec.dtype, a->value);
    return move_launch(n, 1, &box, element, l);
}
static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const pad_args *a = n->args;
    gx[0] = gy[0];
    for (int d = 0; d < n->src[0]->spec.rank; d++)
        gx[0] = ry_slice(g, gx[0], d, a->before[d], a->before[d] + n->src[0]->spec.dim[d], 1);
    return RY_OK;
}

static const ry_sample samples[] = {
    {.name = "plain", .src = {{RY_F32, 2, {4, 5}, 0, 0, NULL}}, .args = &(const pad_args){{1, 2}, {3, 0}, 0}},
    {.name = "value",
     .src = {{RY_F32, 3, {2, 3, 40}, 0, 0, NULL}},
     .args = &(const pad_args){{0, 1, 0}, {0, 1, 7}, -1.5}},
    {.name = "i32", .src = {{RY_I32, 1, {5}, 0, 9, NULL}}, .args = &(const pad_args){{2}, {1}, -100}},
    {.name = "none", .src = {{RY_F32, 2, {2, 3}, 0, 0, NULL}}, .args = &(const pad_args){{0}, {0}, 1}},
    {.name = "from nothing", .src = {{RY_F32, 2, {0, 3}, 0, 0, NULL}}, .args = &(const pad_args){{1, 0}, {1, 1}, 2}},
    {.name = "large",
     .src = {{RY_F32, 4, {16, 64, 126, 126}, 0, 0, NULL}},
     .args = &(const pad_args){{0, 0, 1, 1}, {0, 0, 1, 1}, 0},
     .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_op row_pad = {.name = "pad",
                              .doc = "x -> x with before[d] and after[d] times value along each axis d",
                              .arg_size = sizeof(pad_args),
                              .args = fields,
                              .min_src = 1,
                              .max_src = 1,
                              .strided = 1,
                              .infer = infer,
                              .work = work,
                              .cpu = cpu,
                              .wgsl = "move.wgsl",
                              .launch = launch,
                              .vjp = vjp,
                              .samples = samples};

ry_tensor ry_pad(ry_graph *g, ry_tensor x, const int64_t *before, const int64_t *after, double value) {
    const ry_spec *s = ry_spec_of(g, x);
    pad_args a = {.value = value};
    for (int d = 0; s && d < s->rank; d++) a.before[d] = before[d], a.after[d] = after[d];
    return RY_APPLY(g, &row_pad, &a, x);
}

RY_OP_MODULE(pad, &row_pad);
