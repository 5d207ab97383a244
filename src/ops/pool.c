/* pool.c - maximum and average over windows of planes, and their gradients.
 * Owns the rows max_pool2d, max_pool2d_grad, avg_pool2d, avg_pool2d_grad, and ry_max_pool2d and ry_avg_pool2d. */
#include "ops/windows.h"
#include "simd/rows.h"
#include <math.h>

typedef struct pool_args {
    int64_t size[2], stride[2], pad[2]; /* stride 0 = size */
    int64_t in[2];                      /* avg_pool2d_grad: the plane's size */
    bool ceil_mode, count_pad;
} pool_args;
static const ry_arg args_of[] = {RY_ARG_ARRAY(pool_args, size, RY_ARG_I64, 2),
                                 RY_ARG_ARRAY(pool_args, stride, RY_ARG_I64, 2),
                                 RY_ARG_ARRAY(pool_args, pad, RY_ARG_I64, 2),
                                 RY_ARG_ARRAY(pool_args, in, RY_ARG_I64, 2),
                                 RY_ARG(pool_args, ceil_mode, RY_ARG_BOOL),
                                 RY_ARG(pool_args, count_pad, RY_ARG_BOOL),
                                 {0}};
static const ry_op max_pool2d_row, max_pool2d_grad_row, avg_pool2d_row, avg_pool2d_grad_row;

static ry_status geometry(windows *w, const ry_node *n, const int64_t in[2]) {
    static const pool_args unset;
    const pool_args *a = n->args ? n->args : &unset;
    for (int i = 0; i < 2; i++) {
        w->in[i] = in[i], w->size[i] = a->size[i], w->stride[i] = a->stride[i] ? a->stride[i] : a->size[i],
        w->pad[i] = a->pad[i], w->dilation[i] = 1;
        if (2 * w->pad[i] > w->size[i] && w->pad[i] > 0)
            return ry_fail_node(n, RY_EARG, "padding %lld is more than half of the window %lld", (long long)w->pad[i],
                                (long long)w->size[i]);
    }
    RY_TRY(windows_check(w, n));
    return windows_count(w, n, a->ceil_mode);
}

static ry_status check_planes(const ry_node *n, int src) {
    const ry_spec *x = &n->src[src]->spec;
    if (ry_is_float(x->dtype) && x->rank == 4 && x->dim[2] > 0 && x->dim[3] > 0) return RY_OK;
    return ry_fail_node(n, RY_ESHAPE, "x is %s, it must be [N,C,H,W] of floats, H and W not 0", ry_show(x).s);
}

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    windows w;
    RY_TRY(check_planes(n, 0));
    out[0] = n->src[0]->spec;
    RY_TRY(geometry(&w, n, out[0].dim + 2));
    out[0].dim[2] = w.out[0], out[0].dim[3] = w.out[1];
    return RY_OK;
}

/* One plane after the other; a part takes so many that it has work to do. */
typedef struct job {
    windows w;
    int64_t planes, each, in, out; /* elements of a plane */
} job;

static job job_of(const ry_node *n, const ry_spec *in, const ry_spec *out) {
    job j = {.planes = in->dim[0] * in->dim[1], .in = in->dim[2] * in->dim[3], .out = out->dim[2] * out->dim[3]};
    (void)geometry(&j.w, n, in->dim + 2); /* infer has checked it */
    int64_t cost = j.in + j.out * j.w.size[0] * j.w.size[1];
    j.each = cost > 0 && cost < 32768 ? 32768 / cost : 1;
    return j;
}
static ry_work work_of(const job *j) {
    return (ry_work){.parts = {(j->planes + j->each - 1) / j->each}, .local = sizeof(float) * (size_t)(j->in + j->out)};
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

typedef struct box {
    int64_t y0, y1, x0, x1;
} box;
static box window_at(const windows *w, int64_t oy, int64_t ox,
                     bool padding) { /* clipped to the plane, or to the plane with its padding */
    int64_t y = oy * w->stride[0] - w->pad[0], x = ox * w->stride[1] - w->pad[1];
    box b = {y, least(y + w->size[0], w->in[0] + w->pad[0]), x, least(x + w->size[1], w->in[1] + w->pad[1])};
    if (!padding) b = (box){most(b.y0, 0), least(b.y1, w->in[0]), most(b.x0, 0), least(b.x1, w->in[1])};
    return b;
}

static int64_t first_max(const windows *w, const float *x, int64_t oy,
                         int64_t ox) { /* index into the plane; a NaN is the maximum */
    box b = window_at(w, oy, ox, false);
    int64_t at = b.y0 * w->in[1] + b.x0;
    for (int64_t y = b.y0; y < b.y1; y++)
        for (int64_t k = y * w->in[1] + b.x0; k < y * w->in[1] + b.x1; k++)
            if (x[k] > x[at] || (isnan(x[k]) && !isnan(x[at]))) at = k;
    return at;
}

/* Columns of the result whose windows lie between the plane's left and right edge. */
static void whole_windows(const windows *w, int64_t *from, int64_t *to) {
    int64_t room = w->in[1] + w->pad[1] - w->size[1];
    *from = least((w->pad[1] + w->stride[1] - 1) / w->stride[1], w->out[1]);
    *to = room < 0 ? *from : least(room / w->stride[1] + 1, w->out[1]);
}
/* Those of row oy side by side, element by element of the windows in reading order. */
static void many_windows(const windows *w, const float *x, int64_t oy, int64_t from, int64_t to, float *y,
                         void (*into)(float *y, const float *x, int64_t step, int64_t n)) {
    box b = window_at(w, oy, from, false);
    const float *first = x + b.y0 * w->in[1] + b.x0;
    for (int64_t i = from; i < to; i++) y[i] = first[(i - from) * w->stride[1]];
    for (int64_t r = b.y0; r < b.y1; r++)
        for (int64_t k = 0; k < w->size[1]; k++)
            if (r > b.y0 || k) into(y + from, x + r * w->in[1] + b.x0 + k, w->stride[1], to - from);
}

/* ---- maximum ---- */

static ry_work work(const ry_node *n) {
    job j = job_of(n, &n->src[0]->spec, &n->out[0].spec);
    return work_of(&j);
}

static ry_status max_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    job j = job_of(n, &n->src[0]->spec, &n->out[0].spec);
    ry_dtype t = n->out[0].spec.dtype;
    float *in = c->local, *res = in + j.in;
    if (j.in == 0 || j.out == 0) return RY_OK;
    for (int64_t p = c->part * j.each; p < least((c->part + 1) * j.each, j.planes); p++) {
        const float *x = ry_load_row(c->src[0], t, p * j.in, j.in, in);
        float *y = ry_row_out(c->out[0], t, p * j.out, res);
        for (int64_t oy = 0; oy < j.w.out[0]; oy++) {
            int64_t from, to;
            whole_windows(&j.w, &from, &to);
            float *row = y + oy * j.w.out[1];
            for (int64_t ox = 0; ox < j.w.out[1]; ox++)
                if (ox < from || ox >= to) row[ox] = x[first_max(&j.w, x, oy, ox)];
            if (from < to) many_windows(&j.w, x, oy, from, to, row, simd_rows()->max_into);
        }
        ry_store_row(c->out[0], t, p * j.out, j.out, y);
    }
    return RY_OK;
}

/* in, out: the plane that windows lie on, and what has an element a window. */
static ry_status launch_of(const ry_node *n, const ry_spec *in, const ry_spec *out, bool max, bool grad, ry_launch *l) {
    job j = job_of(n, in, out);
    int64_t total = ry_count(&n->out[0].spec);
    int each = ry_dtype_row(n->out[0].spec.dtype)->bytes < 4 ? 4 : 1;
    l->vec = RY_USES_OUT(0);
    ry_launch_knob_set(l, "MAX", max);
    ry_launch_knob_set(l, "GRAD", grad);
    ry_launch_knob_set(l, "FOURS", each == 4);
    ry_launch_u32(l, "total", total);
    ry_launch_u32(l, "in_y", j.w.in[0]);
    ry_launch_u32(l, "in_x", j.w.in[1]);
    ry_launch_u32(l, "out_y", j.w.out[0]);
    ry_launch_u32(l, "out_x", j.w.out[1]);
    ry_launch_u32(l, "size_y", j.w.size[0]);
    ry_launch_u32(l, "size_x", j.w.size[1]);
    ry_launch_u32(l, "stride_y", j.w.stride[0]);
    ry_launch_u32(l, "stride_x", j.w.stride[1]);
    ry_launch_u32(l, "pad_y", j.w.pad[0]);
    ry_launch_u32(l, "pad_x", j.w.pad[1]);
    ry_launch_run(l, "main", (total + 256 * each - 1) / (256 * each), 0);
    return RY_OK;
}
static ry_status max_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return launch_of(n, &n->src[0]->spec, &n->out[0].spec, true, false, l);
}

static ry_status max_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &max_pool2d_grad_row, n->args, ry_src(g, n, 0), gy[0]);
    return RY_OK;
}

static ry_tensor window_max(ry_graph *g, ry_tensor padded, const windows *w) {
    ry_tensor y = RY_NULL;
    for (int64_t i = 0; i < w->size[0]; i++)
        for (int64_t k = 0; k < w->size[1]; k++) {
            ry_tensor tap = windows_tap(g, padded, w, i, k);
            y = ry_is_null(y) ? tap : ry_max(g, y, tap);
        }
    return y;
}

static ry_status max_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    job j = job_of(n, &n->src[0]->spec, &n->out[0].spec);
    ry_tensor x = windows_pad(g, ry_cast(g, ry_src(g, n, 0), RY_F32), &j.w, -INFINITY);
    out[0] = ry_cast(g, window_max(g, x, &j.w), n->out[0].spec.dtype);
    return RY_OK;
}

static ry_status max_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    windows w;
    RY_TRY(check_planes(n, 0));
    RY_TRY(check_planes(n, 1));
    ry_spec y = n->src[0]->spec;
    RY_TRY(geometry(&w, n, y.dim + 2));
    y.dim[2] = w.out[0], y.dim[3] = w.out[1];
    if (!ry_same_shape(&y, &n->src[1]->spec))
        return ry_fail_node(n, RY_ESHAPE, "the gradient is %s, it must have the shape of %s",
                            ry_show(&n->src[1]->spec).s, ry_show(&y).s);
    out[0] = n->src[0]->spec;
    out[0].dtype = RY_F32;
    return RY_OK;
}

static ry_work max_grad_work(const ry_node *n) {
    job j = job_of(n, &n->src[0]->spec, &n->src[1]->spec);
    return work_of(&j);
}

static ry_status max_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return launch_of(n, &n->src[0]->spec, &n->src[1]->spec, true, true, l);
}

static ry_status max_grad_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    job j = job_of(n, &n->src[0]->spec, &n->src[1]->spec);
    float *in = c->local, *up = in + j.in;
    if (j.in == 0) return RY_OK;
    for (int64_t p = c->part * j.each; p < least((c->part + 1) * j.each, j.planes); p++) {
        const float *x = ry_load_row(c->src[0], n->src[0]->spec.dtype, p * j.in, j.in, in);
        const float *u = ry_load_row(c->src[1], n->src[1]->spec.dtype, p * j.out, j.out, up);
        float *d = (float *)c->out[0] + p * j.in;
        simd_rows()->fill(d, 0, j.in);
        for (int64_t oy = 0; oy < j.w.out[0]; oy++)
            for (int64_t ox = 0; ox < j.w.out[1]; ox++) d[first_max(&j.w, x, oy, ox)] += u[oy * j.w.out[1] + ox];
    }
    return RY_OK;
}

/* Windows in reading order: the first that holds the maximum takes the gradient. */
static ry_status max_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    job j = job_of(n, &n->src[0]->spec, &n->src[1]->spec);
    ry_tensor x = windows_pad(g, ry_cast(g, ry_src(g, n, 0), RY_F32), &j.w, -INFINITY), top = window_max(g, x, &j.w);
    ry_tensor up = ry_cast(g, ry_src(g, n, 1), RY_F32), zero = ry_scalar(g, 0), taken = RY_NULL, d = RY_NULL;
    for (int64_t i = 0; i < j.w.size[0]; i++)
        for (int64_t k = 0; k < j.w.size[1]; k++) {
            ry_tensor hit = ry_eq(g, windows_tap(g, x, &j.w, i, k), top),
                      own = ry_is_null(taken) ? hit : ry_and(g, hit, ry_not(g, taken));
            taken = ry_is_null(taken) ? hit : ry_or(g, taken, hit);
            ry_tensor part = windows_place(g, ry_select(g, own, up, zero), &j.w, i, k);
            d = ry_is_null(d) ? part : ry_add(g, d, part);
        }
    out[0] = d;
    return RY_OK;
}

/* ---- average ---- */

static float share(const windows *w, const pool_args *a, int64_t oy, int64_t ox) { /* 1 / what a window counts */
    box b = window_at(w, oy, ox, a->count_pad);
    return 1.0f / (float)((b.y1 - b.y0) * (b.x1 - b.x0));
}

static ry_status avg_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    job j = job_of(n, &n->src[0]->spec, &n->out[0].spec);
    ry_dtype t = n->out[0].spec.dtype;
    float *in = c->local, *res = in + j.in;
    if (j.in == 0 || j.out == 0) return RY_OK;
    for (int64_t p = c->part * j.each; p < least((c->part + 1) * j.each, j.planes); p++) {
        const float *x = ry_load_row(c->src[0], t, p * j.in, j.in, in);
        float *y = ry_row_out(c->out[0], t, p * j.out, res);
        for (int64_t oy = 0; oy < j.w.out[0]; oy++) {
            int64_t from, to;
            whole_windows(&j.w, &from, &to);
            float *row = y + oy * j.w.out[1];
            for (int64_t ox = 0; ox < j.w.out[1]; ox++) {
                if (ox >= from && ox < to) continue;
                box b = window_at(&j.w, oy, ox, false);
                float sum = 0;
                for (int64_t r = b.y0; r < b.y1; r++)
                    for (int64_t k = b.x0; k < b.x1; k++) sum += x[r * j.w.in[1] + k];
                row[ox] = sum * share(&j.w, n->args, oy, ox);
            }
            if (from >= to) continue;
            many_windows(&j.w, x, oy, from, to, row, simd_rows()->add_into);
            simd_rows()->scale(row + from, row + from, share(&j.w, n->args, oy, from), to - from); /* all count alike */
        }
        ry_store_row(c->out[0], t, p * j.out, j.out, y);
    }
    return RY_OK;
}

static ry_status avg_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return launch_of(n, &n->src[0]->spec, &n->out[0].spec, false, false, l);
}

static ry_status avg_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    pool_args a = *(const pool_args *)n->args;
    a.in[0] = n->src[0]->spec.dim[2], a.in[1] = n->src[0]->spec.dim[3];
    gx[0] = RY_APPLY(g, &avg_pool2d_grad_row, &a, gy[0]);
    return RY_OK;
}

/* [1,1,OH,OW]: what each window counts. */
static ry_tensor counts(ry_graph *g, const windows *w, const pool_args *a) {
    ry_spec s = {.dtype = RY_F32, .rank = 4, .dim = {1, 1, w->in[0], w->in[1]}};
    ry_tensor ones = ry_fill(g, &s, 1), sum = RY_NULL;
    if (a->count_pad) { /* padding counts, what lies beyond it does not */
        int64_t before[] = {0, 0, w->pad[0], w->pad[1]}, after[] = {0, 0, 0, 0}, rest[] = {0, 0, 0, 0},
                none[] = {0, 0, 0, 0};
        for (int i = 0; i < 2; i++) {
            int64_t beyond = windows_span(w, i) - w->pad[i] - w->in[i];
            after[2 + i] = least(beyond, w->pad[i]);
            rest[2 + i] = beyond - after[2 + i];
        }
        ones = ry_pad(g, ry_pad(g, ones, before, after, 1), none, rest, 0);
    } else {
        ones = windows_pad(g, ones, w, 0);
    }
    for (int64_t i = 0; i < w->size[0]; i++)
        for (int64_t k = 0; k < w->size[1]; k++) {
            ry_tensor tap = windows_tap(g, ones, w, i, k);
            sum = ry_is_null(sum) ? tap : ry_add(g, sum, tap);
        }
    return sum;
}

static ry_status avg_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    job j = job_of(n, &n->src[0]->spec, &n->out[0].spec);
    ry_tensor x = windows_pad(g, ry_cast(g, ry_src(g, n, 0), RY_F32), &j.w, 0), sum = RY_NULL;
    for (int64_t i = 0; i < j.w.size[0]; i++)
        for (int64_t k = 0; k < j.w.size[1]; k++) {
            ry_tensor tap = windows_tap(g, x, &j.w, i, k);
            sum = ry_is_null(sum) ? tap : ry_add(g, sum, tap);
        }
    out[0] = ry_cast(g, ry_div(g, sum, counts(g, &j.w, n->args)), n->out[0].spec.dtype);
    return RY_OK;
}

static ry_status avg_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    static const pool_args unset;
    const pool_args *a = n->args ? n->args : &unset;
    windows w;
    RY_TRY(check_planes(n, 0));
    const ry_spec *up = &n->src[0]->spec;
    if (a->in[0] < 0 || a->in[1] < 0)
        return ry_fail_node(n, RY_EARG, "a plane of %lld x %lld", (long long)a->in[0], (long long)a->in[1]);
    RY_TRY(geometry(&w, n, a->in));
    if (up->dim[2] != w.out[0] || up->dim[3] != w.out[1])
        return ry_fail_node(n, RY_ESHAPE, "the gradient is %s, its planes must be %lld x %lld", ry_show(up).s,
                            (long long)w.out[0], (long long)w.out[1]);
    out[0] = *up;
    out[0].dtype = RY_F32;
    out[0].dim[2] = a->in[0], out[0].dim[3] = a->in[1];
    return RY_OK;
}

static ry_work avg_grad_work(const ry_node *n) {
    job j = job_of(n, &n->out[0].spec, &n->src[0]->spec);
    return work_of(&j);
}

static ry_status avg_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return launch_of(n, &n->out[0].spec, &n->src[0]->spec, false, true, l);
}

static ry_status avg_grad_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    job j = job_of(n, &n->out[0].spec, &n->src[0]->spec);
    if (j.in == 0) return RY_OK;
    for (int64_t p = c->part * j.each; p < least((c->part + 1) * j.each, j.planes); p++) {
        const float *u = ry_load_row(c->src[0], n->src[0]->spec.dtype, p * j.out, j.out, c->local);
        float *d = (float *)c->out[0] + p * j.in;
        simd_rows()->fill(d, 0, j.in);
        for (int64_t oy = 0; oy < j.w.out[0]; oy++)
            for (int64_t ox = 0; ox < j.w.out[1]; ox++) {
                box b = window_at(&j.w, oy, ox, false);
                float part = u[oy * j.w.out[1] + ox] * share(&j.w, n->args, oy, ox);
                for (int64_t r = b.y0; r < b.y1; r++)
                    for (int64_t k = b.x0; k < b.x1; k++) d[r * j.w.in[1] + k] += part;
            }
    }
    return RY_OK;
}

static ry_status avg_grad_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, &avg_pool2d_row, n->args, gy[0]);
    return RY_OK;
}

static ry_status avg_grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    job j = job_of(n, &n->out[0].spec, &n->src[0]->spec);
    ry_tensor part = ry_div(g, ry_cast(g, ry_src(g, n, 0), RY_F32), counts(g, &j.w, n->args)), d = RY_NULL;
    for (int64_t i = 0; i < j.w.size[0]; i++)
        for (int64_t k = 0; k < j.w.size[1]; k++) {
            ry_tensor at = windows_place(g, part, &j.w, i, k);
            d = ry_is_null(d) ? at : ry_add(g, d, at);
        }
    out[0] = d;
    return RY_OK;
}

static const pool_args two = {.size = {2, 2}}, padded = {.size = {3, 2}, .stride = {2, 1}, .pad = {1, 1}},
                       ceiled = {.size = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .ceil_mode = true},
                       counted = {
                           .size = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .ceil_mode = true, .count_pad = true};
static const pool_args two_in = {.size = {2, 2}, .in = {6, 4}},
                       padded_in = {.size = {3, 2}, .stride = {2, 1}, .pad = {1, 1}, .in = {7, 5}},
                       counted_in = {.size = {3, 3},
                                     .stride = {2, 2},
                                     .pad = {1, 1},
                                     .in = {8, 6},
                                     .ceil_mode = true,
                                     .count_pad = true};
#define P4(n, c, h, w)                                    \
    {                                                     \
        .dtype = RY_F32, .rank = 4, .dim = { n, c, h, w } \
    }
#define POOL_SAMPLES                                                                                \
    {.name = "two by two", .src = {P4(2, 3, 6, 4)}, .args = &two},                                  \
        {.name = "padded", .src = {P4(1, 2, 7, 5)}, .args = &padded},                               \
        {.name = "ceil", .src = {P4(2, 1, 8, 6)}, .args = &ceiled},                                 \
        {.name = "ceil, padding counts", .src = {P4(2, 1, 8, 6)}, .args = &counted},                \
        {.name = "no images", .src = {P4(0, 3, 6, 4)}, .args = &two},                               \
        {.name = "64 MB", .src = {P4(16, 64, 112, 112)}, .args = &two, .flags = RY_SAMPLE_BENCH}, { \
        0                                                                                           \
    }
static const ry_sample samples[] = {POOL_SAMPLES};
static const ry_sample max_grad_samples[] = {
    {.name = "two by two", .src = {P4(2, 3, 6, 4), P4(2, 3, 3, 2)}, .args = &two},
    {.name = "padded", .src = {P4(1, 2, 7, 5), P4(1, 2, 4, 6)}, .args = &padded},
    {.name = "ceil", .src = {P4(2, 1, 8, 6), P4(2, 1, 5, 4)}, .args = &ceiled},
    {0}};
static const ry_sample avg_grad_samples[] = {
    {.name = "two by two", .src = {P4(2, 3, 3, 2)}, .args = &two_in},
    {.name = "padded", .src = {P4(1, 2, 4, 6)}, .args = &padded_in},
    {.name = "ceil, padding counts", .src = {P4(2, 1, 5, 4)}, .args = &counted_in},
    {0}};

#define POOL(name_, sources, doc_)                                                                  \
    .name = name_, .doc = doc_, .arg_size = sizeof(pool_args), .args = args_of, .min_src = sources, \
    .max_src = sources, .tol = 1e-5f
static const ry_op max_pool2d_row = {POOL("max_pool2d", 1, "x [N,C,H,W] -> [N,C,OH,OW]"),
                                     .infer = infer,
                                     .work = work,
                                     .cpu = max_cpu,
                                     .wgsl = "pool.wgsl",
                                     .launch = max_launch,
                                     .lower = max_lower,
                                     .vjp = max_vjp,
                                     .samples = samples};
static const ry_op max_pool2d_grad_row = {
    POOL("max_pool2d_grad", 2,
         "x [N,C,H,W], gradient [N,C,OH,OW] -> [N,C,H,W] f32, to the first maximum of each window"),
    .infer = max_grad_infer,
    .work = max_grad_work,
    .cpu = max_grad_cpu,
    .wgsl = "pool.wgsl",
    .launch = max_grad_launch,
    .lower = max_grad_lower,
    .samples = max_grad_samples};
static const ry_op avg_pool2d_row = {POOL("avg_pool2d", 1, "x [N,C,H,W] -> [N,C,OH,OW]"),
                                     .infer = infer,
                                     .work = work,
                                     .cpu = avg_cpu,
                                     .wgsl = "pool.wgsl",
                                     .launch = avg_launch,
                                     .lower = avg_lower,
                                     .vjp = avg_vjp,
                                     .samples = samples};
static const ry_op avg_pool2d_grad_row = {POOL("avg_pool2d_grad", 1, "gradient [N,C,OH,OW] -> [N,C,H,W] f32"),
                                          .infer = avg_grad_infer,
                                          .work = avg_grad_work,
                                          .cpu = avg_grad_cpu,
                                          .wgsl = "pool.wgsl",
                                          .launch = avg_grad_launch,
                                          .lower = avg_grad_lower,
                                          .vjp = avg_grad_vjp,
                                          .samples = avg_grad_samples};

static ry_tensor pool(ry_graph *g, const ry_op *row, ry_tensor x, const ry_pool2d_options *o) {
    if (!o) return ry_graph_fail(g, RY_EARG, "%s: the size of the window is missing", row->name);
    pool_args a = {.ceil_mode = o->ceil_mode, .count_pad = o->count_pad};
    for (int i = 0; i < 2; i++) a.size[i] = o->size[i], a.stride[i] = o->stride[i], a.pad[i] = o->pad[i];
    return RY_APPLY(g, row, &a, x);
}
ry_tensor ry_max_pool2d(ry_graph *g, ry_tensor x, const ry_pool2d_options *o) { return pool(g, &max_pool2d_row, x, o); }
ry_tensor ry_avg_pool2d(ry_graph *g, ry_tensor x, const ry_pool2d_options *o) { return pool(g, &avg_pool2d_row, x, o); }

RY_OP_MODULE(pool, &max_pool2d_row, &max_pool2d_grad_row, &avg_pool2d_row, &avg_pool2d_grad_row);
