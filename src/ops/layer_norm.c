/* layer_norm.c - layer normalisation of rows (Ba et al., 2016), with a fused gradient.
 *
 * y = (x - mean) r w + b, r = 1 / sqrt(variance + eps). The gradient computes both again: x must be read anyway. */
#include "row_launch.h"
#include "row_sums.h"
#include <rusty/ops.h>

typedef struct norm_args {
    double eps;
} norm_args;
static const ry_arg norm_arg[] = {RY_ARG(norm_args, eps, RY_ARG_F64), {0}};
typedef struct grad_args {
    double eps;
    bool bias; /* gb is wanted */
} grad_args;
static const ry_arg grad_arg[] = {RY_ARG(grad_args, eps, RY_ARG_F64), RY_ARG(grad_args, bias, RY_ARG_BOOL), {0}};

static int64_t width(const ry_node *n, int x) { return n->src[x]->spec.dim[n->src[x]->spec.rank - 1]; }
static int64_t rows_of(const ry_node *n, int x) {
    return ry_count_range(&n->src[x]->spec, 0, n->src[x]->spec.rank - 1);
}

static ry_status check(const ry_node *n, int xi, int first, int last) {
    const ry_spec *x = &n->src[xi]->spec;
    if (!ry_is_float(x->dtype) || x->rank < 1)
        return ry_fail_node(n, RY_EDTYPE, "x is %s, floats [..,N] are needed", ry_show(x).s);
    for (int i = first; i <= last; i++) {
        const ry_spec *w = n->src[i] ? &n->src[i]->spec : NULL;
        if (w && (w->rank != 1 || w->dim[0] != x->dim[x->rank - 1] || !ry_is_float(w->dtype)))
            return ry_fail_node(n, RY_ESHAPE, "%s is %s, x %s needs floats [%lld]", i == first ? "w" : "b",
                                ry_show(w).s, ry_show(x).s, (long long)x->dim[x->rank - 1]);
    }
    return RY_OK;
}

static ry_status layer_norm_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, 0, 1, 2));
    out[0] = n->src[0]->spec;
    return RY_OK;
}

static ry_work layer_norm_work(const ry_node *n) {
    return (ry_work){.parts = {ry_row_parts(rows_of(n, 0), width(n, 0))},
                     .local = ry_mem_size((size_t)width(n, 0), 4 * sizeof(float), 0)};
}

static ry_status layer_norm_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    ry_dtype t = n->src[0]->spec.dtype;
    float *buf = c->local, eps = (float)((const norm_args *)c->args)->eps, stat[2];
    int64_t len = width(n, 0), begin, end;
    ry_row_range(rows_of(n, 0), len, c->part, &begin, &end);
    const float *w = n->src[1] ? ry_load_row(c->src[1], n->src[1]->spec.dtype, 0, len, buf) : NULL;
    const float *b = n->src[2] ? ry_load_row(c->src[2], n->src[2]->spec.dtype, 0, len, buf + len) : NULL;
    line_walk at;
    line_walk_begin(&at, n->src[0], n->src[0]->spec.rank - 1, begin);
    for (int64_t i = begin; i < end && len; i++, line_walk_next(&at)) {
        float *y = ry_row_out(c->out[0], t, i * len, buf + 2 * len);
        simd_rows()->layer_norm(y, ry_load_row(c->src[0], t, at.at, len, buf + 3 * len), w, b, eps, len, stat);
        ry_store_row(c->out[0], t, i * len, len, y);
    }
    return RY_OK;
}

static ry_status layer_norm_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t len = width(n, 0), rows = rows_of(n, 0), together = row_launch(l, rows, len, 2 * ROW_PER).together;
    ry_launch_rows(l, "x_row", n, 0);
    if (len % 4 == 0) l->vec |= RY_USES_SRC(1) | RY_USES_SRC(2) | RY_USES_OUT(0);
    ry_launch_run(l, "main", len ? line_div_up(rows, together) : 0, 0);
    return RY_OK;
}

static ry_status layer_norm_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor x = ry_src(g, n, 0), eps = ry_scalar(g, ((const norm_args *)n->args)->eps);
    ry_tensor d = ry_sub(g, x, ry_mean(g, x, RY_AXIS(-1), true));
    ry_tensor y = ry_mul(g, d, ry_rsqrt(g, ry_add(g, ry_mean(g, ry_square(g, d), RY_AXIS(-1), true), eps)));
    if (n->src[1]) y = ry_mul(g, y, ry_src(g, n, 1));
    if (n->src[2]) y = ry_add(g, y, ry_src(g, n, 2));
    out[0] = ry_cast(g, y, n->out[0].spec.dtype);
    return RY_OK;
}

/* ---- gradient: gy, x, w -> gx, gw, gb (those that exist) ----
 * h = (x - mean) r, t = gy w:  gx = r (t - mean(t) - h mean(t h)),  gw = sum of gy h,  gb = sum of gy over rows */

static bool with_bias(const ry_node *n) { return ((const grad_args *)n->args)->bias; }
static int sums_of(const ry_node *n) { return (n->src[2] != NULL) + with_bias(n); }

static ry_status layer_norm_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, 1, 2, 2));
    const ry_spec *gy = &n->src[0]->spec, *x = &n->src[1]->spec;
    if (!ry_same_shape(gy, x) || !ry_is_float(gy->dtype))
        return ry_fail_node(n, RY_ESHAPE, "gy is %s, x is %s: one shape is needed", ry_show(gy).s, ry_show(x).s);
    out[0] = *x;
    for (int i = 0; i < sums_of(n); i++) out[1 + i] = RY_SHAPE(RY_F32, width(n, 1));
    return RY_OK;
}

static ry_work layer_norm_grad_work(const ry_node *n) {
    return row_sums_work(rows_of(n, 1), width(n, 1), sums_of(n),
                         ry_mem_size((size_t)width(n, 1), 5 * sizeof(float), 0));
}

static ry_status layer_norm_grad_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const simd_rows_table *r = simd_rows();
    ry_dtype t = n->src[1]->spec.dtype;
    int sums = sums_of(n);
    int64_t len = width(n, 1), rows = rows_of(n, 1), parts = row_sums_parts(rows, len), begin, end;
    float eps = (float)((const grad_args *)c->args)->eps, *buf = c->local;
    float *own = sums ? (float *)c->scratch + c->part * sums * len : NULL;
    if (c->phase == 1) {
        row_sums_finish(c, parts, len, sums, (float *const[]){c->out[1], sums > 1 ? c->out[2] : NULL});
        return RY_OK;
    }
    row_sums_range(rows, parts, c->part, &begin, &end);
    const float *w = n->src[2] ? ry_load_row(c->src[2], n->src[2]->spec.dtype, 0, len, buf) : NULL;
    float *gw = w ? own : NULL, *gb = with_bias(n) ? own + (w ? len : 0) : NULL;
    if (own) r->fill(own, 0, len * sums);
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
        float *gx = ry_row_out(c->out[0], t, i * len, buf + 3 * len), stat[2];
        double sum[2];
        r->layer_norm(buf + 4 * len, x, NULL, NULL, eps, len, stat); /* for stat alone */
        r->norm_sums(sum, gy, w, x, stat[0], len);
        r->norm_back(gx, gw, gb, gy, w, x, stat[0], stat[1], (float)(sum[0] / (double)len),
                     (float)((double)stat[1] * sum[1] / (double)len), len);
        ry_store_row(c->out[0], t, i * len, len, gx);
    }
    return RY_OK;
}

static ry_status layer_norm_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t len = width(n, 1), rows = rows_of(n, 1), wide = line_div_up(len, 4) * 4, sums = sums_of(n);
    row_deal d = row_launch(l, rows, len, 2 * ROW_PER);
    int64_t walkers = sums ? row_walkers(l, &d, rows) : line_div_up(rows, d.together) * d.together;
    int64_t blocks = line_div_up(len, ROW_COLUMNS);
    ry_launch_rows(l, "g_row", n, 0);
    ry_launch_rows(l, "x_row", n, 1);
    if (len % 4 == 0) l->vec |= RY_USES_SRC(2) | RY_USES_OUT(0) | RY_USES_OUT(1) | RY_USES_OUT(2);
    l->vec |= RY_USES_SCRATCH;
    ry_launch_knob_set(l, "SUMS", (int)sums);
    ry_launch_u32(l, "walkers", walkers);
    ry_launch_u32(l, "wide", wide);
    ry_launch_u32(l, "blocks", blocks);
    ry_launch_run(l, "main", len ? walkers / d.together : 0, 0);
    if (!sums) return RY_OK;
    l->scratch = ry_mem_size((size_t)line_max(walkers, 1), (d.per ? (size_t)(sums * wide) : 2) * sizeof(float), 0);
    ry_launch_run(l, "columns", sums * blocks, 0);
    return RY_OK;
}

static ry_status layer_norm_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor gy = ry_src(g, n, 0), x = ry_src(g, n, 1), eps = ry_scalar(g, ((const grad_args *)n->args)->eps);
    ry_axes row = RY_AXIS(-1), rows = ((ry_axes)1 << (n->src[1]->spec.rank - 1)) - 1;
    ry_tensor d = ry_sub(g, x, ry_mean(g, x, row, true));
    ry_tensor r = ry_rsqrt(g, ry_add(g, ry_mean(g, ry_square(g, d), row, true), eps));
    ry_tensor h = ry_mul(g, d, r), t = n->src[2] ? ry_mul(g, gy, ry_src(g, n, 2)) : gy;
    ry_tensor slope = ry_mean(g, ry_mul(g, t, h), row, true);
    ry_tensor gx = ry_mul(g, r, ry_sub(g, ry_sub(g, t, ry_mean(g, t, row, true)), ry_mul(g, h, slope)));
    int k = 1;
    out[0] = ry_cast(g, gx, n->out[0].spec.dtype);
    if (n->src[2]) {
        ry_tensor gw = ry_mul(g, gy, h);
        out[k++] = ry_cast(g, rows ? ry_sum(g, gw, rows, false) : gw, RY_F32);
    }
    if (with_bias(n)) out[k] = ry_cast(g, rows ? ry_sum(g, gy, rows, false) : gy, RY_F32);
    return RY_OK;
}

static ry_cost layer_norm_cost(const ry_node *n) {
    const ry_spec *x = &n->src[0]->spec;
    double e = (double)ry_count(x), size = (double)line_size(x->dtype);
    return (ry_cost){7 * e,
                     2 * e * size + (double)((n->src[1] != NULL) + (n->src[2] != NULL)) * (double)width(n, 0) * 4};
}

/* clang-format off */
#define A .args = &(const norm_args){1e-5}
static const ry_sample layer_norm_samples[] = {
    {.name = "rows", .src = {SRC_F(3, 17), SRC_F(17), SRC_F(17)}, .n_src = 3, A},
    {.name = "no b", .src = {SRC_F(2, 3, 8), SRC_F(8), SRC_NONE}, .n_src = 3, A},
    {.name = "no w", .src = {SRC_F(4, 6), SRC_NONE, SRC_F(6)}, .n_src = 3, A},
    {.name = "bare", .src = {SRC_F(2, 300), SRC_NONE, SRC_NONE}, .n_src = 3, A},
    {.name = "large eps", .src = {SRC_F(3, 9), SRC_F(9), SRC_F(9)}, .n_src = 3, .args = &(const norm_args){0.3}},
    {.name = "far from zero", .src = {SRC_RANGE(99, 101, 3, 33), SRC_F(33), SRC_F(33)}, .n_src = 3, A,
     .flags = RY_SAMPLE_F32_ONLY | RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {SRC_F(0, 4), SRC_F(4), SRC_F(4)}, .n_src = 3, A},
    {.name = "large", .src = {SRC_F(16384, 1024), SRC_F(1024), SRC_F(1024)}, .n_src = 3, A, .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A
#define A(bias) .args = &(const grad_args){1e-5, bias}
#define LARGE_EPS(bias) .args = &(const grad_args){0.5, bias} /* where gy may be x: else all of the gradient cancels */
static const ry_sample layer_norm_grad_samples[] = {
    {.name = "rows", .src = {SRC_F(3, 17), SRC_F(3, 17), SRC_F(17)}, .n_src = 3, A(true)},
    {.name = "no b", .src = {SRC_F(2, 3, 8), SRC_F(2, 3, 8), SRC_F(8)}, .n_src = 3, A(false)},
    {.name = "no w", .src = {SRC_F(4, 6), SRC_F(4, 6), SRC_NONE}, .n_src = 3, LARGE_EPS(true)},
    {.name = "bare", .src = {SRC_F(2, 30), SRC_F(2, 30), SRC_NONE}, .n_src = 3, LARGE_EPS(false)},
    {.name = "parts", .src = {SRC_F(230, 300), SRC_F(230, 300), SRC_F(300)}, .n_src = 3, A(true),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {SRC_F(0, 4), SRC_F(0, 4), SRC_F(4)}, .n_src = 3, A(true)},
    {.name = "large", .src = {SRC_F(16384, 1024), SRC_F(16384, 1024), SRC_F(1024)}, .n_src = 3, A(true),
     .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A

static const ry_op layer_norm_grad_row = {
    .name = "layer_norm_grad", .doc = "gy, x [..,N], w [N] or none -> gx [..,N], gw, gb f32 [N]",
    .arg_size = sizeof(grad_args), .args = grad_arg, .min_src = 3, .max_src = 3, .optional = 4, .rows = 3,
    .infer = layer_norm_grad_infer, .work = layer_norm_grad_work, .cpu = layer_norm_grad_cpu,
    .lower = layer_norm_grad_lower, .launch = layer_norm_grad_launch, .samples = layer_norm_grad_samples};

static ry_status layer_norm_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    grad_args a = {((const norm_args *)n->args)->eps, n->src[2] != NULL};
    gx[0] = RY_APPLY(g, &layer_norm_grad_row, &a, gy[0], ry_src(g, n, 0), ry_src(g, n, 1));
    if (n->src[1]) gx[1] = ry_out(g, gx[0], 1);
    if (n->src[2]) gx[2] = ry_out(g, gx[0], n->src[1] ? 2 : 1);
    return RY_OK;
}

static const ry_op layer_norm_row = {
    .name = "layer_norm", .doc = "x [..,N], w, b [N] or none -> [..,N]: (x - mean) / sqrt(variance + eps) w + b",
    .arg_size = sizeof(norm_args), .args = norm_arg, .min_src = 3, .max_src = 3, .optional = 6, .rows = 1,
    .flags = RY_OP_INPLACE0, .infer = layer_norm_infer, .work = layer_norm_work, .cpu = layer_norm_cpu,
    .lower = layer_norm_lower, .launch = layer_norm_launch, .vjp = layer_norm_vjp, .cost = layer_norm_cost, .samples = layer_norm_samples};

ry_tensor ry_layer_norm(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b, double eps) {
    return RY_APPLY(g, &layer_norm_row, (&(norm_args){eps}), x, w, b);
}

RY_OP_MODULE(layer_norm, &layer_norm_row, &layer_norm_grad_row);
