/* softmax.c - softmax and log_softmax along one axis, with fused gradients: each byte is moved once.
 *
 * A line is held whole (in place where it is contiguous f32, else in local memory). Never: attention's tiles
 * (attention.c). */
#include "base/mem.h"
#include "row_launch.h"
#include <math.h>
#include <rusty/ops.h>

typedef struct axis_args {
    int32_t axis;
} axis_args;
static const ry_arg axis_arg[] = {RY_ARG(axis_args, axis, RY_ARG_I32), {0}};

static int axis_of(const ry_node *n) { return ry_axis(&n->src[0]->spec, ((const axis_args *)n->args)->axis); }

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec;
    int32_t axis = ((const axis_args *)n->args)->axis;
    if (!ry_is_float(x->dtype)) return ry_fail_node(n, RY_EDTYPE, "x is %s, floats are needed", ry_show(x).s);
    if (ry_axis(x, axis) < 0 && !(x->rank == 0 && (axis == 0 || axis == -1)))
        return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", axis, ry_show(x).s);
    for (int i = 1; i < n->n_src; i++)
        if (!ry_same_shape(&n->src[i]->spec, x) || !ry_is_float(n->src[i]->spec.dtype))
            return ry_fail_node(n, RY_ESHAPE, "y is %s, gy is %s: one shape is needed", ry_show(x).s,
                                ry_show(&n->src[i]->spec).s);
    out[0] = *x;
    return RY_OK;
}

/* lines, their length, and the step along them in a dense tensor */
static void extent(const ry_node *n, int64_t *lines, int64_t *len, int64_t *inner) {
    int64_t outer = 1;
    *len = *inner = 1;
    if (n->src[0]->spec.rank) ry_around(&n->src[0]->spec, axis_of(n), &outer, len, inner);
    *lines = outer * *inner;
}

static ry_work work(const ry_node *n) {
    int64_t lines, len, inner;
    extent(n, &lines, &len, &inner);
    size_t buffers = (size_t)n->n_src + 1;
    bool in_place = inner == 1 && n->out[0].spec.dtype == RY_F32;
    for (int i = 0; i < n->n_src; i++)
        in_place = in_place && n->src[i]->spec.dtype == RY_F32 && (len == 1 || n->src[i]->stride[axis_of(n)] == 1);
    return (ry_work){.parts = {ry_row_parts(lines, len)},
                     .local = in_place ? 0 : ry_mem_size((size_t)len, buffers * sizeof(float), 0)};
}

typedef void (*line_fn)(float *y, const float *a, const float *b, int64_t n);

/* y = fn(src 0, src 1) on every line. y may be a. */
static ry_status run(const ry_cpu *c, line_fn fn) {
    const ry_node *n = c->n;
    int64_t lines, len, inner, begin, end;
    extent(n, &lines, &len, &inner);
    if (lines * len == 0) return RY_OK;
    int axis = n->src[0]->spec.rank ? axis_of(n) : -1;
    ry_row_range(lines, len, c->part, &begin, &end);
    line_walk w[RY_MAX_SRC + 1];
    const ry_value *v[RY_MAX_SRC + 1] = {&n->out[0]};
    int64_t step[RY_MAX_SRC + 1] = {1};
    for (int i = 0; i <= n->n_src; i++) {
        if (i) v[i] = n->src[i - 1];
        if (axis >= 0) step[i] = v[i]->stride[axis];
        if (len == 1) step[i] = 1;
        line_walk_begin(&w[i], v[i], axis, begin);
    }
    for (int64_t l = begin; l < end; l++) {
        const float *x[2] = {NULL, NULL};
        float *local = c->local, *y = line_out(c->out[0], v[0]->spec.dtype, w[0].at, step[0], local);
        for (int i = 0; i < n->n_src; i++)
            x[i] = line_whole(c->src[i], v[i + 1]->spec.dtype, w[i + 1].at, step[i + 1], len,
                              local ? local + (i + 1) * len : NULL);
        int64_t now = w[0].at;
        for (int i = 0; i <= n->n_src; i++) {
            line_walk_next(&w[i]);
            if (i && step[i] == 1 && l + 1 < end) line_ahead(c->src[i - 1], v[i]->spec.dtype, w[i].at, len);
        }
        fn(y, x[0], x[1], len);
        line_store_whole(c->out[0], v[0]->spec.dtype, now, step[0], len, y);
    }
    return RY_OK;
}

static void softmax_line(float *y, const float *x, const float *none, int64_t n) {
    (void)none;
    simd_rows()->softmax(y, x, n);
}
static void softmax_grad_line(float *gx, const float *y, const float *gy, int64_t n) {
    simd_rows()->softmax_grad(gx, y, gy, n);
}

static void log_softmax_line(float *y, const float *x, const float *none, int64_t n) {
    const simd_rows_table *r = simd_rows();
    float m = r->max(x, n), shift[LINE_CHUNK];
    double sum = 0;
    (void)none;
    for (int64_t i = 0; i < n; i += LINE_CHUNK) sum += (double)r->exp_sub_sum(x + i, m, line_min(n - i, LINE_CHUNK));
    r->fill(shift, -(float)((double)m + log(sum)), line_min(n, LINE_CHUNK));
    for (int64_t i = 0; i < n; i += LINE_CHUNK) r->add(y + i, x + i, shift, line_min(n - i, LINE_CHUNK));
}
static void log_softmax_grad_line(float *gx, const float *y, const float *gy, int64_t n) { /* gy - exp(y) sum gy */
    const simd_rows_table *r = simd_rows();
    float sum = (float)line_sum(gy, n), p[LINE_CHUNK];
    for (int64_t i = 0; i < n; i += LINE_CHUNK) {
        int64_t m = line_min(n - i, LINE_CHUNK);
        (void)r->exp_sub(p, y + i, 0, m);
        r->scale(p, p, -sum, m);
        r->add(gx + i, gy + i, p, m);
    }
}

static ry_status softmax_cpu(const ry_cpu *c) { return run(c, softmax_line); }
static ry_status softmax_grad_cpu(const ry_cpu *c) { return run(c, softmax_grad_line); }
static ry_status log_softmax_cpu(const ry_cpu *c) { return run(c, log_softmax_line); }
static ry_status log_softmax_grad_cpu(const ry_cpu *c) { return run(c, log_softmax_grad_line); }

/* ---- on a GPU (softmax.wgsl) ---- */

static ry_status launch(const ry_node *n, ry_launch *l, int kind) {
    enum { GROUP = 256, OWN = 8 /* least elements of a thread of several that share a line */ };
    const ry_spec *s = &n->src[0]->spec;
    int64_t lines, len, inner, dim[RY_MAX_RANK], stride[RY_MAX_RANK], step[2] = {0};
    extent(n, &lines, &len, &inner);
    bool rows = inner == 1;
    for (int i = 0; i < n->n_src; i++) {
        const ry_value *v = n->src[i];
        bool fours = len % 4 == 0;
        int axis = s->rank ? axis_of(n) : -1, rank = 0;
        for (int k = 0; k < s->rank; k++) {
            if (k == axis) continue;
            dim[rank] = s->dim[k], stride[rank] = s->dim[k] == 1 ? 0 : v->stride[k];
            fours &= stride[rank++] % 4 == 0;
        }
        step[i] = len > 1 && axis >= 0 ? v->stride[axis] : 1;
        rows = rows && step[i] == 1;
        if (fours) l->vec |= RY_USES_SRC(i);
        ry_launch_walk_strides(l, i ? "g_line" : "x_line", rank, dim, stride);
    }
    ry_launch_knob_set(l, "KIND", kind);
    ry_launch_knob_set(l, "ROWS", rows);
    if (rows) {
        row_deal d = row_launch(l, lines, len, kind < 2 ? 2 * ROW_PER : ROW_PER);
        if (len % 4 == 0) l->vec |= RY_USES_OUT(0);
        ry_launch_run(l, "rows", len ? line_div_up(lines, d.together) : 0, 0);
        return RY_OK;
    }
    int64_t group = line_min(GROUP, l->caps->max_invocations), across = 1;
    l->vec = 0;
    while (across < group && across < lines && (across < 32 || group / across * OWN > len)) across *= 2;
    ry_launch_knob_set(l, "LANES", (int)group);
    ry_launch_knob_set(l, "WG", (int)group);
    ry_launch_u32(l, "rows", lines);
    ry_launch_u32(l, "len", len);
    ry_launch_u32(l, "inner", inner);
    ry_launch_u32(l, "across", across);
    ry_launch_u32(l, "x_step", step[0]);
    ry_launch_u32(l, "g_step", step[1]);
    ry_launch_run(l, "lines", len ? line_div_up(lines, across) : 0, 0);
    return RY_OK;
}
#define LAUNCH(id, kind)                                                                \
    static ry_status id##_launch(const ry_node *n, const ry_variant *v, ry_launch *l) { \
        (void)v;                                                                        \
        return launch(n, l, kind);                                                      \
    }
LAUNCH(softmax, 0)
LAUNCH(log_softmax, 1)
LAUNCH(softmax_grad, 2)
LAUNCH(log_softmax_grad, 3)

/* ---- the same of simpler rows ---- */

static ry_axes axes_of(const ry_node *n) { return n->src[0]->spec.rank ? RY_AXIS(axis_of(n)) : 0; }

static ry_status softmax_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor x = ry_src(g, n, 0);
    if (ry_count(&n->src[0]->spec) == 0) {
        out[0] = x;
        return RY_OK;
    }
    ry_tensor e = ry_exp(g, ry_sub(g, x, ry_amax(g, x, axes_of(n), true)));
    out[0] = ry_div(g, e, ry_sum(g, e, axes_of(n), true));
    return RY_OK;
}
static ry_status log_softmax_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor x = ry_src(g, n, 0);
    out[0] = ry_sub(g, x, ry_logsumexp(g, x, axes_of(n), true));
    return RY_OK;
}
static ry_status softmax_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor y = ry_src(g, n, 0), gy = ry_src(g, n, 1);
    out[0] = ry_mul(g, y, ry_sub(g, gy, ry_sum(g, ry_mul(g, y, gy), axes_of(n), true)));
    out[0] = ry_cast(g, out[0], n->out[0].spec.dtype);
    return RY_OK;
}
static ry_status log_softmax_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor y = ry_src(g, n, 0), gy = ry_src(g, n, 1);
    out[0] = ry_sub(g, gy, ry_mul(g, ry_exp(g, y), ry_sum(g, gy, axes_of(n), true)));
    out[0] = ry_cast(g, out[0], n->out[0].spec.dtype);
    return RY_OK;
}

/* clang-format off */
#define A(axis) .args = &(const axis_args){axis}
#define SAMPLES(id, n, ...) \
    static const ry_sample id[] = { \
        {.name = "last", .src = {__VA_ARGS__(3, 17)}, .n_src = n, A(-1)}, \
        {.name = "first", .src = {__VA_ARGS__(5, 6)}, .n_src = n, A(0)}, \
        {.name = "middle", .src = {__VA_ARGS__(2, 40, 3)}, .n_src = n, A(1)}, \
        {.name = "long", .src = {__VA_ARGS__(2, 5000)}, .n_src = n, A(1), .flags = RY_SAMPLE_NO_GRAD}, \
        {.name = "one", .src = {__VA_ARGS__(1)}, .n_src = n, A(0)}, \
        {.name = "empty lines", .src = {__VA_ARGS__(3, 0)}, .n_src = n, A(1)}, \
        {.name = "large", .src = {__VA_ARGS__(16384, 1024)}, .n_src = n, A(1), .flags = RY_SAMPLE_BENCH}, \
        {0}}
#define X(...) SRC_RANGE(-4, 4, __VA_ARGS__)
#define P_G(...) SRC_RANGE(0, 1, __VA_ARGS__), SRC_F(__VA_ARGS__)
#define L_G(...) SRC_RANGE(-5, 0, __VA_ARGS__), SRC_F(__VA_ARGS__)
SAMPLES(x_samples, 1, X);
SAMPLES(softmax_grad_samples, 2, P_G);
SAMPLES(log_softmax_grad_samples, 2, L_G);

#define ROW(id, n_src, text, ...) \
    static const ry_op id##_row = {.name = #id, .doc = text, .arg_size = sizeof(axis_args), .args = axis_arg, \
        .min_src = n_src, .max_src = n_src, .strided = (1u << n_src) - 1, .infer = infer, .work = work, \
        .cpu = id##_cpu, \
        .lower = id##_lower, .wgsl = "softmax.wgsl", .launch = id##_launch, __VA_ARGS__}
ROW(softmax_grad, 2, "y, gy [..] -> y (gy - sum(y gy)) along axis", .samples = softmax_grad_samples);
ROW(log_softmax_grad, 2, "y, gy [..] -> gy - exp(y) sum(gy) along axis", .samples = log_softmax_grad_samples);

static ry_status softmax_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &softmax_grad_row, n->args, ry_res(g, n, 0), gy[0]);
    return RY_OK;
}
static ry_status log_softmax_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &log_softmax_grad_row, n->args, ry_res(g, n, 0), gy[0]);
    return RY_OK;
}
ROW(softmax, 1, "x [..] -> exp(x) / sum(exp(x)) along axis", .flags = RY_OP_INPLACE0, .vjp = softmax_vjp,
    .samples = x_samples);
ROW(log_softmax, 1, "x [..] -> x - log(sum(exp(x))) along axis", .flags = RY_OP_INPLACE0, .vjp = log_softmax_vjp,
    .samples = x_samples);

ry_tensor ry_softmax(ry_graph *g, ry_tensor x, int axis) { return RY_APPLY(g, &softmax_row, (&(axis_args){axis}), x); }
ry_tensor ry_log_softmax(ry_graph *g, ry_tensor x, int axis) { return RY_APPLY(g, &log_softmax_row,
    (&(axis_args){axis}), x); }

RY_OP_MODULE(softmax, &softmax_row, &log_softmax_row, &softmax_grad_row, &log_softmax_grad_row);
