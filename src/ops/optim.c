/* optim.c - optimiser steps on variables (sgd, adamw), the norm of all gradients, and the factor that clips it.
 *
 * One pass over memory: weight, moments and gradient are read once, weight and moments written once. Semantics
 * are those of torch.optim.SGD and torch.optim.AdamW. Never: schedules or parameter groups (train). */
#include "lines.h"
#include <math.h>
#include <stdio.h>
#include <rusty/ops.h>

enum { PART = 65536 };

static int64_t parts_of(int64_t n) { return line_max(1, line_div_up(n, PART)); }
static ry_work work(const ry_node *n) { return (ry_work){.parts = {parts_of(ry_count(&n->src[0]->spec))}}; }

static ry_status check(const ry_node *n, int grad, int scale) {
    const ry_spec *w = &n->src[0]->spec, *g = &n->src[grad]->spec;
    if (!ry_is_float(w->dtype)) return ry_fail_node(n, RY_EDTYPE, "w is %s, floats are needed", ry_show(w).s);
    if (!ry_same_shape(w, g) || !ry_is_float(g->dtype))
        return ry_fail_node(n, RY_ESHAPE, "grad is %s, w %s: floats of one shape are needed", ry_show(g).s,
                            ry_show(w).s);
    if (n->n_src > scale && n->src[scale] &&
        (!ry_is_float(n->src[scale]->spec.dtype) || ry_count(&n->src[scale]->spec) != 1))
        return ry_fail_node(n, RY_ESHAPE, "scale is %s, one float is needed", ry_show(&n->src[scale]->spec).s);
    return RY_OK;
}
static ry_status check_moment(const ry_node *n, int i, const char *name) {
    const ry_spec *w = &n->src[0]->spec, *m = &n->src[i]->spec;
    if (!ry_same_shape(w, m) || m->dtype != RY_F32)
        return ry_fail_node(n, RY_ESHAPE, "%s is %s, w %s: f32 of one shape is needed", name, ry_show(m).s,
                            ry_show(w).s);
    return RY_OK;
}
static float scale_of(const ry_cpu *c, int i) {
    float buf;
    return c->n->n_src > i && c->n->src[i] ? *ry_load_row(c->src[i], c->n->src[i]->spec.dtype, 0, 1, &buf) : 1;
}

/* ---- sgd ---- */

typedef struct sgd_args {
    double lr, momentum, dampening, weight_decay;
    int64_t step; /* 1: the first: the buffer becomes the gradient, undamped */
    bool nesterov;
} sgd_args;
static const ry_arg sgd_arg[] = {RY_ARG_DYN(sgd_args, lr, RY_ARG_F64),
                                 RY_ARG(sgd_args, momentum, RY_ARG_F64),
                                 RY_ARG(sgd_args, dampening, RY_ARG_F64),
                                 RY_ARG(sgd_args, weight_decay, RY_ARG_F64),
                                 RY_ARG_DYN(sgd_args, step, RY_ARG_I64),
                                 RY_ARG(sgd_args, nesterov, RY_ARG_BOOL),
                                 {0}};
enum { SGD_W, SGD_GRAD, SGD_MOMENTUM, SGD_SCALE };

static ry_status sgd_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const sgd_args *a = n->args;
    RY_TRY(check(n, SGD_GRAD, SGD_SCALE));
    out[0] = n->src[0]->spec;
    if ((n->src[SGD_MOMENTUM] != NULL) != (a->momentum != 0))
        return ry_fail_node(n, RY_EARG, "momentum is %g: %s", a->momentum,
                            a->momentum != 0 ? "it needs a variable" : "it takes no variable");
    if (a->nesterov && (a->momentum <= 0 || a->dampening != 0))
        return ry_fail_node(n, RY_EARG, "Nesterov needs a momentum above 0 and no dampening; they are %g and %g",
                            a->momentum, a->dampening);
    if (!n->src[SGD_MOMENTUM]) return RY_OK;
    out[1] = n->src[SGD_MOMENTUM]->spec;
    return check_moment(n, SGD_MOMENTUM, "momentum");
}

static ry_status sgd_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const sgd_args *a = c->args;
    const simd_rows_table *r = simd_rows();
    ry_dtype wt = n->src[SGD_W]->spec.dtype, gt = n->src[SGD_GRAD]->spec.dtype;
    float s = scale_of(c, SGD_SCALE), wb[LINE_CHUNK], t[LINE_CHUNK];
    int64_t begin, end;
    line_range(ry_count(&n->src[0]->spec), PART, c->part, &begin, &end);
    for (int64_t i = begin; i < end; i += LINE_CHUNK) {
        int64_t m = line_min(end - i, LINE_CHUNK);
        float *w = ry_row_out(c->out[0], wt, i, wb), *step = t;
        if (wt != RY_F32) (void)ry_load_row(c->src[SGD_W], wt, i, m, wb);
        r->scale(t, ry_load_row(c->src[SGD_GRAD], gt, i, m, t), s, m);
        if (a->weight_decay != 0) r->axpy(t, (float)a->weight_decay, w, m);
        if (n->src[SGD_MOMENTUM]) {
            float *buf = (float *)c->out[1] + i;
            if (a->step == 1) {
                memcpy(buf, t, (size_t)m * sizeof *buf);
            } else {
                r->scale(buf, buf, (float)a->momentum, m);
                r->axpy(buf, (float)(1 - a->dampening), t, m);
            }
            if (a->nesterov)
                r->axpy(t, (float)a->momentum, buf, m);
            else
                step = buf;
        }
        r->axpy(w, (float)-a->lr, step, m);
        ry_store_row(c->out[0], wt, i, m, w);
    }
    return RY_OK;
}

/* One pass over n elements, 4 a thread. */
static void launch_pass(const ry_node *n, ry_launch *l) {
    int64_t count = ry_count(&n->src[0]->spec), group = line_min(256, l->caps->max_invocations);
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i] && ry_count(&n->src[i]->spec) == count) l->vec |= RY_USES_SRC(i);
    for (int i = 0; i < n->n_out; i++) l->vec |= RY_USES_OUT(i);
    ry_launch_u32(l, "n", count);
    ry_launch_knob_set(l, "WG", (int)group);
    ry_launch_run(l, "main", line_div_up(count, 4 * group), 0);
}

static ry_status sgd_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const sgd_args *a = n->args;
    (void)v;
    ry_launch_f32(l, "take", 1 - a->dampening);
    ry_launch_u32(l, "first", a->step == 1);
    launch_pass(n, l);
    return RY_OK;
}

static ry_tensor scaled(ry_graph *g, const ry_node *n, int grad, int scale) {
    ry_tensor t = ry_cast(g, ry_src(g, n, grad), RY_F32), s = ry_src(g, n, scale);
    return ry_is_null(s) ? t : ry_mul(g, t, ry_cast(g, RY_RESHAPE(g, s, 1), RY_F32));
}

static ry_status sgd_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const sgd_args *a = n->args;
    ry_tensor w = ry_src(g, n, SGD_W), t = ry_reshape_like(g, scaled(g, n, SGD_GRAD, SGD_SCALE), &n->src[0]->spec);
    if (a->weight_decay != 0) t = ry_add(g, t, ry_mul(g, w, ry_scalar(g, a->weight_decay)));
    if (n->src[SGD_MOMENTUM]) {
        ry_tensor old = ry_mul(g, ry_src(g, n, SGD_MOMENTUM), ry_scalar(g, a->momentum));
        ry_tensor buf = a->step == 1 ? t : ry_add(g, old, ry_mul(g, t, ry_scalar(g, 1 - a->dampening)));
        out[1] = ry_cast(g, buf, RY_F32);
        t = a->nesterov ? ry_add(g, t, ry_mul(g, buf, ry_scalar(g, a->momentum))) : buf;
    }
    out[0] = ry_cast(g, ry_sub(g, w, ry_mul(g, t, ry_scalar(g, a->lr))), n->out[0].spec.dtype);
    return RY_OK;
}

/* ---- adamw ---- */

typedef struct adamw_args {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step; /* from 1 */
} adamw_args;
static const ry_arg adamw_arg[] = {RY_ARG_DYN(adamw_args, lr, RY_ARG_F64),
                                   RY_ARG(adamw_args, beta1, RY_ARG_F64),
                                   RY_ARG(adamw_args, beta2, RY_ARG_F64),
                                   RY_ARG(adamw_args, eps, RY_ARG_F64),
                                   RY_ARG(adamw_args, weight_decay, RY_ARG_F64),
                                   RY_ARG_DYN(adamw_args, step, RY_ARG_I64),
                                   {0}};
enum { ADAMW_W, ADAMW_GRAD, ADAMW_M, ADAMW_V, ADAMW_SCALE };

static ry_status adamw_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const adamw_args *a = n->args;
    RY_TRY(check(n, ADAMW_GRAD, ADAMW_SCALE));
    RY_TRY(check_moment(n, ADAMW_M, "m"));
    RY_TRY(check_moment(n, ADAMW_V, "v"));
    if (!(a->beta1 >= 0 && a->beta1 < 1 && a->beta2 >= 0 && a->beta2 < 1))
        return ry_fail_node(n, RY_EARG, "betas are %g and %g; they must be at least 0 and below 1", a->beta1, a->beta2);
    if (a->step < 1) return ry_fail_node(n, RY_EARG, "step is %lld; steps count from 1", (long long)a->step);
    out[0] = n->src[ADAMW_W]->spec;
    out[1] = n->src[ADAMW_M]->spec;
    out[2] = n->src[ADAMW_V]->spec;
    return RY_OK;
}

static double correction(double beta, int64_t step) { return 1 / (1 - pow(beta, (double)line_max(step, 1))); }

static ry_status adamw_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const adamw_args *a = c->args;
    const simd_rows_table *r = simd_rows();
    ry_dtype wt = n->src[ADAMW_W]->spec.dtype, gt = n->src[ADAMW_GRAD]->spec.dtype;
    float s = scale_of(c, ADAMW_SCALE), wb[LINE_CHUNK], gb[LINE_CHUNK];
    double bc1 = correction(a->beta1, a->step), bc2 = correction(a->beta2, a->step);
    int64_t begin, end;
    line_range(ry_count(&n->src[0]->spec), PART, c->part, &begin, &end);
    for (int64_t i = begin; i < end; i += LINE_CHUNK) {
        int64_t m = line_min(end - i, LINE_CHUNK);
        float *w = ry_row_out(c->out[0], wt, i, wb);
        if (wt != RY_F32) (void)ry_load_row(c->src[ADAMW_W], wt, i, m, wb);
        r->adamw(w, (float *)c->out[1] + i, (float *)c->out[2] + i, ry_load_row(c->src[ADAMW_GRAD], gt, i, m, gb), s,
                 a->lr, a->beta1, a->beta2, a->eps, a->weight_decay, bc1, bc2, m);
        ry_store_row(c->out[0], wt, i, m, w);
    }
    return RY_OK;
}

static ry_status adamw_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const adamw_args *a = n->args;
    (void)v;
    ry_launch_f32(l, "keep_m", a->beta1);
    ry_launch_f32(l, "take_m", 1 - a->beta1);
    ry_launch_f32(l, "keep_v", a->beta2);
    ry_launch_f32(l, "take_v", 1 - a->beta2);
    ry_launch_f32(l, "keep_w", 1 - a->lr * a->weight_decay);
    ry_launch_f32(l, "rate", a->lr * correction(a->beta1, a->step));
    ry_launch_f32(l, "scale_v", correction(a->beta2, a->step));
    launch_pass(n, l);
    return RY_OK;
}

static ry_status adamw_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const adamw_args *a = n->args;
    ry_tensor w = ry_src(g, n, ADAMW_W),
              t = ry_reshape_like(g, scaled(g, n, ADAMW_GRAD, ADAMW_SCALE), &n->src[0]->spec);
    out[1] =
        ry_add(g, ry_mul(g, ry_src(g, n, ADAMW_M), ry_scalar(g, a->beta1)), ry_mul(g, t, ry_scalar(g, 1 - a->beta1)));
    out[2] = ry_add(g, ry_mul(g, ry_src(g, n, ADAMW_V), ry_scalar(g, a->beta2)),
                    ry_mul(g, ry_square(g, t), ry_scalar(g, 1 - a->beta2)));
    ry_tensor mh = ry_mul(g, out[1], ry_scalar(g, correction(a->beta1, a->step)));
    ry_tensor vh = ry_mul(g, out[2], ry_scalar(g, correction(a->beta2, a->step)));
    ry_tensor step = ry_div(g, mh, ry_add(g, ry_sqrt(g, vh), ry_scalar(g, a->eps)));
    step = ry_add(g, step, ry_mul(g, w, ry_scalar(g, a->weight_decay)));
    out[0] = ry_cast(g, ry_sub(g, w, ry_mul(g, step, ry_scalar(g, a->lr))), n->out[0].spec.dtype);
    return RY_OK;
}

static ry_cost adamw_cost(const ry_node *n) {
    double e = (double)ry_count(&n->src[0]->spec);
    return (ry_cost){
        14 * e, e * (2 * (double)line_size(n->src[0]->spec.dtype) + (double)line_size(n->src[1]->spec.dtype) + 16)};
}

/* ---- global_norm: the square root of the sum of squares of all tensors ---- */

static ry_status global_norm_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    for (int i = 0; i < n->n_src; i++)
        if (!ry_is_float(n->src[i]->spec.dtype))
            return ry_fail_node(n, RY_EDTYPE, "tensor %d is %s, floats are needed", i, ry_show(&n->src[i]->spec).s);
    out[0] = (ry_spec){.dtype = RY_F32};
    return RY_OK;
}

static int64_t total(const ry_node *n) {
    int64_t sum = 0;
    for (int i = 0; i < n->n_src; i++) sum += ry_count(&n->src[i]->spec);
    return sum;
}
static int64_t pieces(const ry_node *n) {
    int64_t sum = 0;
    for (int i = 0; i < n->n_src; i++) sum += parts_of(ry_count(&n->src[i]->spec));
    return sum;
}

static ry_work global_norm_work(const ry_node *n) {
    if (total(n) <= PART) return (ry_work){.parts = {1}};
    return (ry_work){.phases = 2, .parts = {pieces(n), 1}, .scratch = (size_t)pieces(n) * sizeof(double)};
}

static double sum_squares(const ry_cpu *c, int src, int64_t part) {
    ry_dtype t = c->n->src[src]->spec.dtype;
    float buf[LINE_CHUNK];
    double sum = 0;
    int64_t begin, end;
    line_range(ry_count(&c->n->src[src]->spec), PART, part, &begin, &end);
    for (int64_t i = begin; i < end; i += LINE_CHUNK) {
        int64_t m = line_min(end - i, LINE_CHUNK);
        sum += (double)simd_rows()->sumsq(ry_load_row(c->src[src], t, i, m, buf), m);
    }
    return sum;
}

static ry_status global_norm_cpu(const ry_cpu *c) {
    double sum = 0, *partial = c->scratch;
    bool small = total(c->n) <= PART;
    if (small) {
        for (int i = 0; i < c->n->n_src; i++) sum += sum_squares(c, i, 0);
    } else if (c->phase == 0) {
        int64_t p = c->part;
        int i = 0;
        for (; p >= parts_of(ry_count(&c->n->src[i]->spec)); i++) p -= parts_of(ry_count(&c->n->src[i]->spec));
        partial[c->part] = sum_squares(c, i, p);
        return RY_OK;
    } else {
        for (int64_t i = 0, m = pieces(c->n); i < m; i++) sum += partial[i];
    }
    *(float *)c->out[0] = (float)sqrt(sum);
    return RY_OK;
}

static const char *const norm_entry[] = {"parts0", "parts1", "parts2", "parts3", "parts4", "parts5", "parts6", "parts7", "parts8", "parts9", "parts10", "parts11"};

static ry_status norm_of_windows(const ry_node *n, ry_launch *l) {
    enum { PIECES = 256 }; /* of a window */
    int64_t group = line_min(256, l->caps->max_invocations), start = 0;
    char name[20];
    ry_launch_knob_set(l, "WG", (int)group);
    ry_launch_knob_set(l, "BATCH", 1);
    ry_launch_knob_set(l, "BATCHES", n->n_src);
    for (int i = 0; i < n->n_src; i++) {
        const ry_value *x = n->src[i];
        int64_t rows = x->spec.rank ? x->spec.dim[0] : 1, row = rows ? ry_count(&x->spec) / rows : 0, piece = ry_launch_part(l->caps, x),
                per = line_max(1, line_min(PIECES, line_div_up(piece * row, 8 * group)));
        const struct { const char *name; int64_t value; } field[] = {{"start", start}, {"row", row}, {"piece", line_max(1, piece)}, {"per", per}};
        for (size_t k = 0; k < sizeof field / sizeof *field; k++) {
            snprintf(name, sizeof name, "%s_%d", field[k].name, i);
            ry_launch_u32(l, name, field[k].value);
        }
        l->vec |= RY_USES_SRC(i);
        for (int64_t from = 0; from < rows; from += piece) {
            if (!piece || l->n_dispatch == RY_MAX_DISPATCH - 1)
                return ry_fail_node(n, RY_EUNSUPPORTED, "%s is too large for what a kernel of this device sees", ry_show(&x->spec).s);
            ry_launch_run_part(l, norm_entry[i], per, RY_USES_SCRATCH | RY_USES_SRC(i), piece < rows ? RY_USES_SRC(i) : 0, from, line_min(rows, from + piece));
            start += per;
        }
    }
    ry_launch_u32(l, "parts", start);
    l->scratch = (size_t)line_max(1, start) * sizeof(float);
    ry_launch_run(l, "finish", 1, RY_USES_SCRATCH | RY_USES_OUT(0));
    return RY_OK;
}

static bool norm_in_windows(const ry_node *n, ry_cut *c) { /* by launch() */
    (void)n;
    c->length = 0;
    return true;
}

static ry_status global_norm_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    enum { PIECES = 1024 }; /* of a source: so many groups fill a large GPU */
    int64_t group = line_min(256, l->caps->max_invocations), start[RY_MAX_SRC + 1] = {0};
    int batch = (int)line_max(1, line_min(n->n_src, (int64_t)l->caps->max_bindings - 1));
    char name[20];
    bool windows = false; /* a source that no binding holds: all are seen one by one, in parts of rows */
    (void)v;
    for (int i = 0; i < n->n_src; i++) windows |= n->src[i]->spec.rank && ry_launch_part(l->caps, n->src[i]) < n->src[i]->spec.dim[0];
    ry_launch_knob_set(l, "WINDOWS", windows);
    if (windows) return norm_of_windows(n, l);
    for (int i = 0; i < n->n_src; i++) {
        int64_t count = ry_count(&n->src[i]->spec);
        snprintf(name, sizeof name, "n_%d", i);
        ry_launch_u32(l, name, count);
        start[i + 1] = start[i] + line_min(PIECES, line_div_up(count, 8 * group));
        l->vec |= RY_USES_SRC(i);
    }
    for (int i = 0; i <= n->n_src; i++) {
        snprintf(name, sizeof name, "start_%d", i);
        ry_launch_u32(l, name, start[i]);
    }
    ry_launch_knob_set(l, "WG", (int)group);
    ry_launch_knob_set(l, "BATCH", batch);
    ry_launch_knob_set(l, "BATCHES", (n->n_src + batch - 1) / batch);
    ry_launch_u32(l, "parts", start[n->n_src]);
    for (int b = 0; b * batch < n->n_src; b++) {
        int from = b * batch, to = from + batch < n->n_src ? from + batch : n->n_src;
        uint32_t uses = RY_USES_SCRATCH;
        for (int i = from; i < to; i++) uses |= RY_USES_SRC(i);
        ry_launch_run(l, norm_entry[b], start[to] - start[from], uses);
    }
    l->scratch = (size_t)line_max(1, start[n->n_src]) * sizeof(float);
    ry_launch_run(l, "finish", 1, RY_USES_SCRATCH | RY_USES_OUT(0));
    return RY_OK;
}

static ry_status global_norm_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor sum = RY_NULL;
    for (int i = 0; i < n->n_src; i++) {
        ry_tensor s = ry_sum(g, ry_square(g, ry_cast(g, ry_src(g, n, i), RY_F32)), 0, false);
        sum = i ? ry_add(g, sum, s) : s;
    }
    out[0] = ry_sqrt(g, sum);
    return RY_OK;
}

static ry_status global_norm_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    ry_tensor y = ry_res(g, n, 0), zero = ry_scalar(g, 0);
    ry_tensor q = ry_select(g, ry_eq(g, y, zero), zero, ry_div(g, gy[0], y));
    for (int i = 0; i < n->n_src; i++) gx[i] = ry_mul(g, ry_src(g, n, i), q);
    return RY_OK;
}

/* clang-format off */
/* ---- samples ---- */

#define V(...) SRC_RANGE(0, 1, __VA_ARGS__)
#define A(...) .args = &(const sgd_args){__VA_ARGS__}
static const ry_sample sgd_samples[] = {
    {.name = "plain", .src = {SRC_F(3, 17), SRC_F(3, 17), SRC_NONE, SRC_NONE}, .n_src = 4, A(0.1, 0, 0, 0, 0, false)},
    {.name = "momentum", .src = {SRC_F(300), SRC_F(300), SRC_F(300), SRC_SCALAR}, .n_src = 4,
     A(0.1, 0.9, 0.1, 0.01, 2, false)},
    {.name = "first step", .src = {SRC_F(300), SRC_F(300), SRC_F(300), SRC_NONE}, .n_src = 4,
     A(0.1, 0.9, 0.5, 0.01, 1, false)},
    {.name = "nesterov", .src = {SRC_F(5, 5), SRC_F(5, 5), SRC_F(5, 5), SRC_NONE}, .n_src = 4,
     A(0.1, 0.9, 0, 0, 3, true)},
    {.name = "empty", .src = {SRC_F(0), SRC_F(0), SRC_F(0), SRC_NONE}, .n_src = 4, A(0.1, 0.9, 0, 0, 3, true)},
    {.name = "large", .src = {SRC_F(8388608), SRC_F(8388608), SRC_F(8388608), SRC_SCALAR}, .n_src = 4,
     A(0.1, 0.9, 0, 0.01, 2, false), .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A
#define A(lr, wd, step) .args = &(const adamw_args){lr, 0.9, 0.999, 1e-8, wd, step}
static const ry_sample adamw_samples[] = {
    {.name = "first step", .src = {SRC_F(3, 17), SRC_F(3, 17), SRC_F(3, 17), V(3, 17), SRC_NONE}, .n_src = 5,
     A(0.01, 0.01, 1)},
    {.name = "scaled", .src = {SRC_F(5000), SRC_F(5000), SRC_F(5000), V(5000), SRC_SCALAR}, .n_src = 5,
     A(0.01, 0.1, 100)},
    {.name = "bf16 w", .src = {{.dtype = RY_BF16, SRC_DIMS(40)}, SRC_F(40), SRC_F(40), V(40), SRC_NONE}, .n_src = 5,
     A(0.1, 0, 3)},
    {.name = "scalar", .src = {SRC_SCALAR, SRC_SCALAR, SRC_SCALAR, {.dtype = RY_F32, .hi = 1}, SRC_NONE}, .n_src = 5,
     A(0.1, 0, 3)},
    {.name = "empty", .src = {SRC_F(0), SRC_F(0), SRC_F(0), V(0), SRC_NONE}, .n_src = 5, A(0.1, 0, 3)},
    {.name = "large", .src = {SRC_F(8388608), SRC_F(8388608), SRC_F(8388608), V(8388608), SRC_SCALAR}, .n_src = 5,
     A(0.01, 0.1, 100), .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A
static const ry_sample global_norm_samples[] = {
    {.name = "one", .src = {SRC_F(3, 17)}, .n_src = 1},
    {.name = "three", .src = {SRC_F(3, 17), SRC_SCALAR, SRC_F(300)}, .n_src = 3},
    {.name = "pieces", .src = {SRC_F(70000), SRC_F(5), SRC_F(3, 50000)}, .n_src = 3, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "empty", .src = {SRC_F(0), SRC_F(4)}, .n_src = 2},
    {.name = "large", .src = {SRC_F(16777216), SRC_F(1048576)}, .n_src = 2, .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op sgd_row = {
    .name = "sgd",
    .doc = "w, grad, momentum or none, scale [] or none -> w, momentum (torch.optim.SGD); lr, step dynamic",
    .arg_size = sizeof(sgd_args), .args = sgd_arg, .min_src = 4, .max_src = 4, .flags = RY_OP_NO_GRAD, .writes = 1 | 4,
    .optional = 4 | 8, .infer = sgd_infer, .work = work, .cpu = sgd_cpu, .lower = sgd_lower, .launch = sgd_launch, .cut = ry_cut_elements,
    .samples = sgd_samples};
static const ry_op adamw_row = {
    .name = "adamw", .doc = "w, grad, m, v, scale [] or none -> w, m, v (torch.optim.AdamW); lr, step dynamic",
    .arg_size = sizeof(adamw_args), .args = adamw_arg, .min_src = 5, .max_src = 5, .flags = RY_OP_NO_GRAD,
    .writes = 1 | 4 | 8, .optional = 16, .infer = adamw_infer, .work = work, .cpu = adamw_cpu, .lower = adamw_lower,
    .launch = adamw_launch, .cut = ry_cut_elements, .cost = adamw_cost, .samples = adamw_samples};
static const ry_op global_norm_row = {
    .name = "global_norm", .doc = "1 to 12 tensors -> f32 []: square root of the sum of all squares", .min_src = 1,
    .max_src = RY_MAX_SRC, .infer = global_norm_infer, .work = global_norm_work, .cpu = global_norm_cpu,
    .lower = global_norm_lower, .launch = global_norm_launch, .cut = norm_in_windows, .vjp = global_norm_vjp, .samples = global_norm_samples};

/* ---- builders ---- */

ry_tensor ry_sgd(ry_graph *g, ry_var *w, ry_tensor grad, ry_var *momentum, ry_tensor scale, const ry_sgd_options *o) {
    const ry_sgd_options none = {0};
    if (!o) o = &none;
    sgd_args a = {o->lr, o->momentum, o->dampening, o->weight_decay, o->step, o->nesterov};
    return RY_APPLY(g, &sgd_row, &a, ry_use(g, w), grad, momentum && o->momentum != 0 ? ry_use(g, momentum) : RY_NULL,
        scale);
}

ry_tensor ry_adamw(ry_graph *g, ry_var *w, ry_tensor grad, ry_var *m, ry_var *v, ry_tensor scale,
    const ry_adamw_options *o) {
    const ry_adamw_options none = {0};
    if (!o) o = &none;
    adamw_args a = {o->lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->step};
    return RY_APPLY(g, &adamw_row, &a, ry_use(g, w), grad, ry_use(g, m), ry_use(g, v), scale);
}

/* More tensors than a node takes: the norm so far is one of the next node's, which gives the same number. */
ry_tensor ry_global_norm(ry_graph *g, size_t n, const ry_tensor *x) {
    ry_tensor held[RY_MAX_SRC], norm = RY_NULL;
    for (size_t i = 0; i < n;) {
        size_t m = 0;
        if (i) held[m++] = norm;
        while (m < RY_MAX_SRC && i < n) held[m++] = x[i++];
        norm = ry_apply_row(g, &global_norm_row, m, held, NULL);
    }
    return n ? norm : ry_scalar(g, 0);
}

ry_tensor ry_clip_scale(ry_graph *g, ry_tensor norm, double clip) {
    ry_tensor ratio = ry_div(g, ry_scalar(g, clip), ry_add(g, norm, ry_scalar(g, 1e-6)));
    return ry_min(g, ratio, ry_scalar(g, 1));
}

RY_OP_MODULE(optim, &sgd_row, &adamw_row, &global_norm_row);
