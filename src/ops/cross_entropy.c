/* cross_entropy.c - the loss of rows of logits against target ids, with a fused gradient.
 *
 * loss = log(sum(exp(x))) - x[target]; rows whose target is `ignore` lose nothing. The gradient computes the
 * softmax again from the logits, which it must read anyway. Never: the product that makes the logits
 * (linear_cross_entropy). */
#include "base/mem.h"
#include "row_launch.h"
#include <math.h>
#include <rusty/ops.h>

typedef struct ce_args {
    int64_t ignore;
} ce_args;
static const ry_arg ce_arg[] = {RY_ARG(ce_args, ignore, RY_ARG_I64), {0}};

static ry_status check(const ry_node *n, int xi) {
    const ry_spec *x = &n->src[xi]->spec, *t = &n->src[xi + 1]->spec;
    if (!ry_is_float(x->dtype) || x->rank != 2)
        return ry_fail_node(n, RY_ESHAPE, "logits are %s, floats [R,V] are needed", ry_show(x).s);
    if ((t->dtype != RY_I32 && t->dtype != RY_I64) || t->rank != 1 || t->dim[0] != x->dim[0])
        return ry_fail_node(n, RY_ESHAPE, "targets are %s, logits %s need i32 or i64 [%lld]", ry_show(t).s,
                            ry_show(x).s, (long long)x->dim[0]);
    return RY_OK;
}

static ry_status cross_entropy_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, 0));
    out[0] = RY_SHAPE(RY_F32, n->src[0]->spec.dim[0]);
    return RY_OK;
}

static ry_numbers numbers_of(const ry_node *n, int xi) {
    return (ry_numbers){.src = xi + 1, .count = n->src[xi]->spec.dim[1], .ignore = &((const ce_args *)n->args)->ignore, .name = "targets"};
}
static ry_numbers cross_entropy_numbers(const ry_node *n) { return numbers_of(n, 0); }
static ry_numbers cross_entropy_grad_numbers(const ry_node *n) { return numbers_of(n, 1); }

/* The target of row i: -1 if ignored. */
static ry_status target_of(const ry_cpu *c, int src, int64_t i, int64_t v, int64_t *out) {
    int64_t t = ry_load_index(c->src[src], c->n->src[src]->spec.dtype, i), ignore = ((const ce_args *)c->args)->ignore;
    *out = t == ignore ? -1 : t;
    if (t == ignore || (t >= 0 && t < v)) return RY_OK;
    return ry_fail_number(c->n, i, t);
}

static ry_work work_of(const ry_node *n, int xi) {
    const ry_spec *x = &n->src[xi]->spec;
    size_t local = x->dtype == RY_F32 ? 0 : ry_mem_size((size_t)x->dim[1], 2 * sizeof(float), 0);
    return (ry_work){.parts = {ry_row_parts(x->dim[0], x->dim[1])}, .local = local};
}
static ry_work cross_entropy_work(const ry_node *n) { return work_of(n, 0); }

static ry_status cross_entropy_cpu(const ry_cpu *c) {
    const simd_rows_table *r = simd_rows();
    const ry_value *xv = c->n->src[0];
    int64_t v = xv->spec.dim[1], begin, end, t;
    ry_row_range(xv->spec.dim[0], v, c->part, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        float *y = (float *)c->out[0] + i;
        RY_TRY(target_of(c, 1, i, v, &t));
        *y = 0;
        if (t < 0) continue;
        const float *x = ry_load_row(c->src[0], xv->spec.dtype, i * xv->stride[0], v, c->local);
        float m = r->max(x, v);
        double sum = 0;
        for (int64_t k = 0; k < v; k += LINE_CHUNK)
            sum += (double)r->exp_sub_sum(x + k, m, line_min(v - k, LINE_CHUNK));
        *y = (float)(log(sum) + ((double)m - (double)x[t]));
    }
    return RY_OK;
}

/* The ignored target as a kernel sees it: ids that are no i32 read as -1 there. */
static int64_t ignore_of(const ry_node *n) {
    int64_t ignore = ((const ce_args *)n->args)->ignore;
    return ignore == (int32_t)ignore ? ignore : -1;
}

static ry_status cross_entropy_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    const ry_spec *x = &n->src[0]->spec;
    row_deal d = row_launch(l, x->dim[0], x->dim[1], 0);
    ry_launch_rows(l, "x_row", n, 0);
    ry_launch_u32(l, "ignore", ignore_of(n));
    ry_launch_u32(l, "nan_bits", 0x7fc00000);
    ry_launch_run(l, "main", line_div_up(x->dim[0], d.together), 0);
    return RY_OK;
}

static ry_status cross_entropy_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const ry_spec *t = &n->src[1]->spec;
    ry_tensor x = ry_src(g, n, 0), targets = ry_src(g, n, 1);
    ry_tensor used = ry_ne(g, targets, ry_fill(g, t, (double)((const ce_args *)n->args)->ignore));
    ry_spec zeros = *t;
    ry_tensor safe = ry_select(g, used, targets, ry_fill(g, &zeros, 0));
    ry_tensor hit = ry_reshape_like(g, ry_gather(g, x, RY_RESHAPE(g, safe, t->dim[0], 1), 1), &n->out[0].spec);
    out[0] =
        ry_cast(g, ry_select(g, used, ry_sub(g, ry_logsumexp(g, x, RY_AXIS(1), false), hit), ry_scalar(g, 0)), RY_F32);
    return RY_OK;
}

/* ---- gradient: gy [R], logits, targets -> gx [R,V] = gy (softmax(x) - onehot(target)) ---- */

static ry_status cross_entropy_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, 1));
    const ry_spec *gy = &n->src[0]->spec, *x = &n->src[1]->spec;
    if (gy->rank != 1 || gy->dim[0] != x->dim[0] || gy->dtype != RY_F32)
        return ry_fail_node(n, RY_ESHAPE, "gy is %s, logits %s need f32 [%lld]", ry_show(gy).s, ry_show(x).s,
                            (long long)x->dim[0]);
    out[0] = *x;
    return RY_OK;
}
static ry_work cross_entropy_grad_work(const ry_node *n) { return work_of(n, 1); }

static ry_status cross_entropy_grad_cpu(const ry_cpu *c) {
    const simd_rows_table *r = simd_rows();
    const ry_value *xv = c->n->src[1];
    ry_dtype dt = xv->spec.dtype;
    int64_t v = xv->spec.dim[1], begin, end, t;
    ry_row_range(xv->spec.dim[0], v, c->part, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        float g = *((const float *)c->src[0] + i * c->n->src[0]->stride[0]), *local = c->local;
        float *y = ry_row_out(c->out[0], dt, i * v, local);
        RY_TRY(target_of(c, 2, i, v, &t));
        if (t < 0) {
            r->fill(y, 0, v);
        } else {
            const float *x = ry_load_row(c->src[1], dt, i * xv->stride[0], v, local ? local + v : NULL);
            float m = r->max(x, v);
            double sum = 0;
            for (int64_t k = 0; k < v; k += LINE_CHUNK)
                sum += (double)r->exp_sub(y + k, x + k, m, line_min(v - k, LINE_CHUNK));
            r->scale(y, y, (float)((double)g / sum), v);
            y[t] -= g;
        }
        ry_store_row(c->out[0], dt, i * v, v, y);
    }
    return RY_OK;
}

static ry_status cross_entropy_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    const ry_spec *x = &n->src[1]->spec;
    row_deal d = row_launch(l, x->dim[0], x->dim[1], 2 * ROW_PER);
    ry_launch_walk(l, "g_at", n->src[0], 1, x->dim);
    ry_launch_rows(l, "x_row", n, 1);
    if (x->dim[1] % 4 == 0) l->vec |= RY_USES_OUT(0);
    ry_launch_u32(l, "ignore", ignore_of(n));
    ry_launch_run(l, "main", x->dim[1] ? line_div_up(x->dim[0], d.together) : 0, 0);
    return RY_OK;
}

static ry_status cross_entropy_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const ry_spec *t = &n->src[2]->spec, *x = &n->src[1]->spec;
    ry_tensor gy = ry_src(g, n, 0), targets = ry_src(g, n, 2);
    ry_tensor used = ry_ne(g, targets, ry_fill(g, t, (double)((const ce_args *)n->args)->ignore));
    ry_tensor up = RY_RESHAPE(g, ry_select(g, used, gy, ry_scalar(g, 0)), t->dim[0], 1);
    ry_spec ids = {.dtype = t->dtype, .rank = 2, .dim = {1, x->dim[1]}};
    ry_tensor onehot = ry_eq(g, RY_RESHAPE(g, targets, t->dim[0], 1), ry_iota(g, &ids, 1, 0, 1));
    out[0] = ry_mul(g, up, ry_sub(g, ry_softmax(g, ry_src(g, n, 1), 1), ry_cast(g, onehot, RY_F32)));
    out[0] = ry_cast(g, out[0], x->dtype);
    return RY_OK;
}

static ry_cost cross_entropy_cost(const ry_node *n) {
    double e = (double)ry_count(&n->src[0]->spec), r = (double)n->src[0]->spec.dim[0];
    return (ry_cost){4 * e,
                     e * (double)line_size(n->src[0]->spec.dtype) + r * (4 + (double)line_size(n->src[1]->spec.dtype))};
}

/* clang-format off */
static const int32_t targets[] = {4, -100, 0, 16, 2}, all_ignored[] = {-100, -100};
#define A .args = &(const ce_args){-100}
#define X(...) SRC_RANGE(-4, 4, __VA_ARGS__)
#define T(t, ...) SRC_LIST(t, targets, __VA_ARGS__)
static const ry_sample cross_entropy_samples[] = {
    {.name = "with ignored", .src = {X(5, 17), T(RY_I32, 5)}, .n_src = 2, A},
    {.name = "i64, ignore 0", .src = {X(5, 17), SRC_I(RY_I64, 0, 17, 5)}, .n_src = 2, .args = &(const ce_args){0}},
    {.name = "one", .src = {X(1, 5), T(RY_I32, 1)}, .n_src = 2, A},
    {.name = "all ignored", .src = {X(2, 3), SRC_LIST(RY_I32, all_ignored, 2)}, .n_src = 2, A},
    {.name = "long rows", .src = {X(2, 5000), SRC_I(RY_I32, 0, 5000, 2)}, .n_src = 2, A, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {X(0, 3), SRC_I(RY_I32, 0, 1, 0)}, .n_src = 2, A},
    {.name = "large", .src = {X(1024, 32768), SRC_I(RY_I32, 0, 32768, 1024)}, .n_src = 2, A, .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_sample cross_entropy_grad_samples[] = {
    {.name = "with ignored", .src = {{.dtype = RY_F32, SRC_DIMS(5)}, X(5, 17), T(RY_I32, 5)}, .n_src = 3, A,
     .flags = RY_SAMPLE_F32_ONLY},
    {.name = "i64", .src = {SRC_F(5), X(5, 17), SRC_I(RY_I64, 0, 17, 5)}, .n_src = 3, A, .flags = RY_SAMPLE_F32_ONLY},
    {.name = "all ignored", .src = {SRC_F(2), X(2, 3), SRC_LIST(RY_I32, all_ignored, 2)}, .n_src = 3, A,
     .flags = RY_SAMPLE_F32_ONLY},
    {.name = "no rows", .src = {SRC_F(0), X(0, 3), SRC_I(RY_I32, 0, 1, 0)}, .n_src = 3, A, .flags = RY_SAMPLE_F32_ONLY},
    {.name = "large", .src = {SRC_F(1024), X(1024, 16384), SRC_I(RY_I32, 0, 16384, 1024)}, .n_src = 3, A,
     .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op cross_entropy_grad_row = {
    .name = "cross_entropy_grad", .doc = "gy [R], logits [R,V], targets [R] -> [R,V]; on a GPU a target that is no class gives zeros", .arg_size = sizeof(ce_args),
    .args = ce_arg, .min_src = 3, .max_src = 3, .flags = RY_OP_CHECKED, .rows = 2, .strided = 1,
    .infer = cross_entropy_grad_infer, .work = cross_entropy_grad_work, .cpu = cross_entropy_grad_cpu, .numbers = cross_entropy_grad_numbers,
    .lower = cross_entropy_grad_lower, .launch = cross_entropy_grad_launch, .samples = cross_entropy_grad_samples};

static ry_status cross_entropy_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &cross_entropy_grad_row, n->args, gy[0], ry_src(g, n, 0), ry_src(g, n, 1));
    return RY_OK;
}

static const ry_op cross_entropy_row = {
    .name = "cross_entropy", .doc = "logits [R,V], targets [R] -> f32 [R]; 0 where target == ignore; on a GPU a target that is no class gives NaN",
    .arg_size = sizeof(ce_args), .args = ce_arg, .min_src = 2, .max_src = 2, .flags = RY_OP_CHECKED, .rows = 1,
    .infer = cross_entropy_infer, .work = cross_entropy_work, .cpu = cross_entropy_cpu, .numbers = cross_entropy_numbers, .lower = cross_entropy_lower,
    .launch = cross_entropy_launch, .vjp = cross_entropy_vjp, .cost = cross_entropy_cost, .samples = cross_entropy_samples};

ry_tensor ry_cross_entropy(ry_graph *g, ry_tensor logits, ry_tensor t, int64_t ignore) {
    return RY_APPLY(g, &cross_entropy_row, (&(ce_args){ignore}), logits, t);
}

RY_OP_MODULE(cross_entropy, &cross_entropy_row, &cross_entropy_grad_row);
