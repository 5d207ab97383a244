/* rms_norm.c - root mean square normalisation of rows (Zhang and Sennrich, 2019), with a fused gradient.
 *
 * y = x r w, r = 1 / sqrt(mean(x^2) + eps). The gradient computes r again: x must be read anyway. Never:
 * layer_norm. */
#include "ops/linears.h"
#include "row_launch.h"
#include "row_sums.h"
#include <math.h>
#include <rusty/ops.h>

typedef struct norm_args {
    double eps;
} norm_args;
double rms_norm_eps(const ry_node *n) { return ((const norm_args *)n->args)->eps; }
static const ry_arg norm_arg[] = {RY_ARG(norm_args, eps, RY_ARG_F64), {0}};

static int64_t width(const ry_node *n, int x) { return n->src[x]->spec.dim[n->src[x]->spec.rank - 1]; }
static int64_t rows_of(const ry_node *n, int x) {
    return ry_count_range(&n->src[x]->spec, 0, n->src[x]->spec.rank - 1);
}

static ry_status check(const ry_node *n, int xi, int wi) {
    const ry_spec *x = &n->src[xi]->spec;
    if (!ry_is_float(x->dtype) || x->rank < 1)
        return ry_fail_node(n, RY_EDTYPE, "x is %s, floats [..,N] are needed", ry_show(x).s);
    if (n->src[wi]) {
        const ry_spec *w = &n->src[wi]->spec;
        if (w->rank != 1 || w->dim[0] != x->dim[x->rank - 1] || !ry_is_float(w->dtype))
            return ry_fail_node(n, RY_ESHAPE, "w is %s, x %s needs floats [%lld]", ry_show(w).s, ry_show(x).s,
                                (long long)x->dim[x->rank - 1]);
    }
    return RY_OK;
}

static ry_status rms_norm_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, 0, 1));
    out[0] = n->src[0]->spec;
    return RY_OK;
}

static ry_work rms_norm_work(const ry_node *n) {
    return (ry_work){.parts = {ry_row_parts(rows_of(n, 0), width(n, 0))},
                     .local = ry_mem_size((size_t)width(n, 0), 3 * sizeof(float), 0)};
}

static ry_status rms_norm_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const simd_rows_table *r = simd_rows();
    ry_dtype t = n->src[0]->spec.dtype;
    float *buf = c->local, eps = (float)((const norm_args *)c->args)->eps;
    int64_t len = width(n, 0), begin, end;
    ry_row_range(rows_of(n, 0), len, c->part, &begin, &end);
    const float *w = n->src[1] ? ry_load_row(c->src[1], n->src[1]->spec.dtype, 0, len, buf) : NULL;
    line_walk at;
    line_walk_begin(&at, n->src[0], n->src[0]->spec.rank - 1, begin);
    for (int64_t i = begin; i < end; i++, line_walk_next(&at)) {
        float *y = ry_row_out(c->out[0], t, i * len, buf + len);
        (void)r->rms_norm(y, ry_load_row(c->src[0], t, at.at, len, buf + 2 * len), w, eps, len);
        ry_store_row(c->out[0], t, i * len, len, y);
    }
    return RY_OK;
}

static ry_status rms_norm_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t len = width(n, 0), rows = rows_of(n, 0), together = row_launch(l, rows, len, 2 * ROW_PER).together;
    ry_launch_rows(l, "x_row", n, 0);
    if (len % 4 == 0) l->vec |= RY_USES_SRC(1) | RY_USES_OUT(0);
    ry_launch_run(l, "main", len ? line_div_up(rows, together) : 0, 0);
    return RY_OK;
}

static ry_status rms_norm_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor x = ry_src(g, n, 0), w = ry_src(g, n, 1), eps = ry_scalar(g, ((const norm_args *)n->args)->eps);
    ry_tensor y = ry_mul(g, x, ry_rsqrt(g, ry_add(g, ry_mean(g, ry_square(g, x), RY_AXIS(-1), true), eps)));
    out[0] = ry_cast(g, n->src[1] ? ry_mul(g, y, w) : y, n->out[0].spec.dtype);
    return RY_OK;
}

/* ---- gradient: gy, x, w -> gx, gw ----
 * t = gy w:  gx = r t - r^3 mean(t x) x,  gw = sum over rows of r gy x */

static ry_status rms_norm_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, 1, 2));
    const ry_spec *gy = &n->src[0]->spec, *x = &n->src[1]->spec;
    if (!ry_same_shape(gy, x) || !ry_is_float(gy->dtype))
        return ry_fail_node(n, RY_ESHAPE, "gy is %s, x is %s: one shape is needed", ry_show(gy).s, ry_show(x).s);
    out[0] = *x;
    if (n->src[2]) out[1] = RY_SHAPE(RY_F32, width(n, 1));
    return RY_OK;
}

static ry_work rms_norm_grad_work(const ry_node *n) {
    return row_sums_work(rows_of(n, 1), width(n, 1), n->src[2] != NULL,
                         ry_mem_size((size_t)width(n, 1), 4 * sizeof(float), 0));
}

static ry_status rms_norm_grad_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const simd_rows_table *r = simd_rows();
    ry_dtype t = n->src[1]->spec.dtype;
    int64_t len = width(n, 1), rows = rows_of(n, 1), parts = row_sums_parts(rows, len), begin, end;
    float *buf = c->local;
    double eps = ((const norm_args *)c->args)->eps;
    float *sums = n->src[2] ? (float *)c->scratch + c->part * len : NULL;
    if (c->phase == 1) {
        row_sums_finish(c, parts, len, 1, (float *const[]){c->out[1]});
        return RY_OK;
    }
    row_sums_range(rows, parts, c->part, &begin, &end);
    const float *w = n->src[2] ? ry_load_row(c->src[2], n->src[2]->spec.dtype, 0, len, buf) : NULL;
    if (sums) r->fill(sums, 0, len);
    line_walk gat, xat;
    line_walk_begin(&gat, n->src[0], n->src[0]->spec.rank - 1, begin);
    line_walk_begin(&xat, n->src[1], n->src[1]->spec.rank - 1, begin);
    for (int64_t i = begin; i < end && len; i++) {
        int64_t gnow = gat.at, xnow = xat.at;
        line_walk_next(&gat);
        line_walk_next(&xat);
        if (i + 1 < end) {
            line_ahead(c->src[0], n->src[0]->spec.dtype, gat.at, len);
            line_ahead(c->src[1], t, xat.at, len);
        }
        const float *gy = ry_load_row(c->src[0], n->src[0]->spec.dtype, gnow, len, buf + len);
        const float *x = ry_load_row(c->src[1], t, xnow, len, buf + 2 * len);
        float *gx = ry_row_out(c->out[0], t, i * len, buf + 3 * len);
        double sum[2], q = 1 / sqrt(line_dot(x, x, len) / (double)len + eps);
        r->norm_sums(sum, gy, w, x, 0, len);
        r->norm_back(gx, sums, NULL, gy, w, x, 0, (float)q, 0, (float)(q * sum[1] / (double)len), len);
        ry_store_row(c->out[0], t, i * len, len, gx);
    }
    return RY_OK;
}

static ry_status rms_norm_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t len = width(n, 1), rows = rows_of(n, 1), wide = line_div_up(len, 4) * 4;
    row_deal d = row_launch(l, rows, len, 2 * ROW_PER);
    int64_t walkers = n->src[2] ? row_walkers(l, &d, rows) : line_div_up(rows, d.together) * d.together;
    ry_launch_rows(l, "g_row", n, 0);
    ry_launch_rows(l, "x_row", n, 1);
    if (len % 4 == 0) l->vec |= RY_USES_SRC(2) | RY_USES_OUT(0) | RY_USES_OUT(1);
    l->vec |= RY_USES_SCRATCH;
    ry_launch_u32(l, "walkers", walkers);
    ry_launch_u32(l, "wide", wide);
    ry_launch_run(l, "main", len ? walkers / d.together : 0, 0);
    if (!n->src[2]) return RY_OK;
    l->scratch = ry_mem_size((size_t)line_max(d.per ? walkers / d.together : walkers, 1), (d.per ? (size_t)wide : 1) * sizeof(float), 0);
    ry_launch_run(l, "columns", line_div_up(len, ROW_COLUMNS), 0);
    return RY_OK;
}

static ry_status rms_norm_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor gy = ry_src(g, n, 0), x = ry_src(g, n, 1), w = ry_src(g, n, 2),
              eps = ry_scalar(g, ((const norm_args *)n->args)->eps);
    ry_tensor r = ry_rsqrt(g, ry_add(g, ry_mean(g, ry_square(g, x), RY_AXIS(-1), true), eps));
    ry_tensor h = ry_mul(g, x, r), t = n->src[2] ? ry_mul(g, gy, w) : gy;
    ry_tensor gx = ry_mul(g, r, ry_sub(g, t, ry_mul(g, h, ry_mean(g, ry_mul(g, t, h), RY_AXIS(-1), true))));
    out[0] = ry_cast(g, gx, n->out[0].spec.dtype);
    if (n->src[2]) {
        ry_axes rows = ((ry_axes)1 << (n->src[1]->spec.rank - 1)) - 1;
        ry_tensor gw = ry_mul(g, gy, h);
        out[1] = ry_cast(g, rows ? ry_sum(g, gw, rows, false) : gw, RY_F32);
    }
    return RY_OK;
}

static ry_cost rms_norm_cost(const ry_node *n) {
    const ry_spec *x = &n->src[0]->spec;
    double e = (double)ry_count(x), size = (double)line_size(x->dtype);
    return (ry_cost){4 * e, 2 * e * size + (n->src[1] ? (double)width(n, 0) * 4 : 0)};
}

/* clang-format off */
#define A .args = &(const norm_args){1e-5}
#define LARGE_EPS .args = &(const norm_args){0.5} /* where gy may be x: else all of the gradient cancels */
static const ry_sample rms_norm_samples[] = {
    {.name = "rows", .src = {SRC_F(3, 17), SRC_F(17)}, .n_src = 2, A},
    {.name = "no w", .src = {SRC_F(2, 3, 8), SRC_NONE}, .n_src = 2, A},
    {.name = "one row", .src = {SRC_F(300), SRC_F(300)}, .n_src = 2, A},
    {.name = "large eps", .src = {SRC_F(4, 5), SRC_F(5)}, .n_src = 2, LARGE_EPS},
    {.name = "no rows", .src = {SRC_F(0, 4), SRC_F(4)}, .n_src = 2, A},
    {.name = "empty rows", .src = {SRC_F(4, 0), SRC_F(0)}, .n_src = 2, A},
    {.name = "large", .src = {SRC_F(16384, 1024), SRC_F(1024)}, .n_src = 2, A, .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_sample rms_norm_grad_samples[] = {
    {.name = "rows", .src = {SRC_F(3, 17), SRC_F(3, 17), SRC_F(17)}, .n_src = 3, A},
    {.name = "no w", .src = {SRC_F(2, 3, 8), SRC_F(2, 3, 8), SRC_NONE}, .n_src = 3, LARGE_EPS},
    {.name = "one row", .src = {SRC_F(30), SRC_F(30), SRC_F(30)}, .n_src = 3, LARGE_EPS},
    {.name = "parts", .src = {SRC_F(230, 300), SRC_F(230, 300), SRC_F(300)}, .n_src = 3, A, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {SRC_F(0, 4), SRC_F(0, 4), SRC_F(4)}, .n_src = 3, A},
    {.name = "large", .src = {SRC_F(16384, 1024), SRC_F(16384, 1024), SRC_F(1024)}, .n_src = 3, A,
     .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op rms_norm_grad_row = {
    .name = "rms_norm_grad", .doc = "gy, x [..,N], w [N] or none -> gx [..,N], gw f32 [N]",
    .arg_size = sizeof(norm_args), .args = norm_arg, .min_src = 3, .max_src = 3, .optional = 4, .rows = 3,
    .infer = rms_norm_grad_infer, .work = rms_norm_grad_work, .cpu = rms_norm_grad_cpu, .lower = rms_norm_grad_lower,
    .launch = rms_norm_grad_launch, .samples = rms_norm_grad_samples};

static ry_status rms_norm_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &rms_norm_grad_row, n->args, gy[0], ry_src(g, n, 0), ry_src(g, n, 1));
    if (n->src[1]) gx[1] = ry_out(g, gx[0], 1);
    return RY_OK;
}

static const ry_op rms_norm_row = {
    .name = "rms_norm", .doc = "x [..,N], w [N] or none -> [..,N]: x / sqrt(mean(x^2) + eps) w",
    .arg_size = sizeof(norm_args), .args = norm_arg, .min_src = 2, .max_src = 2, .optional = 2, .rows = 1,
    .flags = RY_OP_INPLACE0, .infer = rms_norm_infer, .work = rms_norm_work, .cpu = rms_norm_cpu,
    .lower = rms_norm_lower, .launch = rms_norm_launch, .vjp = rms_norm_vjp, .cost = rms_norm_cost, .samples = rms_norm_samples};

ry_tensor ry_rms_norm(ry_graph *g, ry_tensor x, ry_tensor w, double eps) {
    return RY_APPLY(g, &rms_norm_row, (&(norm_args){eps}), x, w);
}

RY_OP_MODULE(rms_norm, &rms_norm_row, &rms_norm_grad_row);
