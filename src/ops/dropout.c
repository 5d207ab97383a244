/* dropout.c - elements set to 0 with probability p, the others multiplied by 1/(1-p) (Srivastava et al., 2014).
 *
 * Element i is kept where uniform i of the Philox stream (seed, stream) is at least p: the mask is never stored,
 * the gradient computes it again. */
#include "lines.h"
#include <rusty/ops.h>

typedef struct dropout_args {
    double p;
    uint64_t seed;
    uint32_t stream;
} dropout_args;
static const ry_arg dropout_arg[] = {RY_ARG(dropout_args, p, RY_ARG_F64),
                                     RY_ARG_DYN(dropout_args, seed, RY_ARG_U64),
                                     RY_ARG(dropout_args, stream, RY_ARG_U32),
                                     {0}};

enum { PART = 16384 };

static ry_status dropout_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec;
    double p = ((const dropout_args *)n->args)->p;
    if (!ry_is_float(x->dtype)) return ry_fail_node(n, RY_EDTYPE, "x is %s, floats are needed", ry_show(x).s);
    if (!(p >= 0 && p <= 1)) return ry_fail_node(n, RY_EARG, "p is %g; it must be 0 to 1", p);
    out[0] = *x;
    return RY_OK;
}
static ry_work dropout_work(const ry_node *n) {
    return (ry_work){.parts = {line_max(1, line_div_up(ry_count(&n->src[0]->spec), PART))}};
}

static ry_status dropout_cpu(const ry_cpu *c) {
    const dropout_args *a = c->args;
    ry_dtype t = c->n->src[0]->spec.dtype;
    float buf[LINE_CHUNK], p = (float)a->p, keep = a->p < 1 ? (float)(1 / (1 - a->p)) : 0;
    int64_t begin, end;
    line_range(ry_count(&c->n->src[0]->spec), PART, c->part, &begin, &end);
    for (int64_t i = begin; i < end; i += LINE_CHUNK) {
        int64_t m = line_min(end - i, LINE_CHUNK);
        const float *x = ry_load_row(c->src[0], t, i, m, buf);
        float *y = ry_row_out(c->out[0], t, i, buf);
        simd_rows()->dropout(y, x, p, keep, m, a->seed, a->stream, (uint64_t)i);
        ry_store_row(c->out[0], t, i, m, y);
    }
    return RY_OK;
}

static ry_status dropout_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    const dropout_args *a = n->args;
    int64_t total = ry_count(&n->src[0]->spec);
    ry_launch_u32(l, "total", total);
    ry_launch_f32(l, "keep", a->p < 1 ? 1 / (1 - a->p) : 0);
    l->vec |= RY_USES_SRC(0) | RY_USES_OUT(0);
    ry_launch_run(l, "main", line_div_up(total, 1024), 0); /* 4 elements a thread */
    return RY_OK;
}

static ry_status dropout_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const dropout_args *a = n->args;
    ry_spec s = n->src[0]->spec;
    s.dtype = RY_F32;
    ry_tensor u = ry_uniform(g, &s, a->seed, a->stream), keep = ry_scalar(g, a->p < 1 ? 1 / (1 - a->p) : 0);
    ry_tensor mask = ry_select(g, ry_ge(g, u, ry_scalar(g, a->p)), keep, ry_scalar(g, 0));
    out[0] = ry_cast(g, ry_mul(g, ry_src(g, n, 0), mask), n->out[0].spec.dtype);
    return RY_OK;
}

static ry_status dropout_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = RY_APPLY(g, n->op, n->args, gy[0]);
    return RY_OK;
}

/* clang-format off */
#define A(p, seed) .args = &(const dropout_args){p, seed, 3}
static const ry_sample dropout_samples[] = {
    {.name = "tenth", .src = {SRC_F(3, 170)}, .n_src = 1, A(0.1, 1)},
    {.name = "half", .src = {SRC_F(5000)}, .n_src = 1, A(0.5, UINT64_MAX), .flags = RY_SAMPLE_NO_GRAD},
    {.name = "none", .src = {SRC_F(2, 3)}, .n_src = 1, A(0, 7)},
    {.name = "all", .src = {SRC_F(2, 3)}, .n_src = 1, A(1, 7)},
    {.name = "empty", .src = {SRC_F(0, 3)}, .n_src = 1, A(0.5, 7)},
    {.name = "large", .src = {SRC_F(16384, 1024)}, .n_src = 1, A(0.1, 7), .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op dropout_row = {
    .name = "dropout", .doc = "x [..] -> x mask / (1 - p); seed is dynamic", .arg_size = sizeof(dropout_args),
    .args = dropout_arg, .min_src = 1, .max_src = 1, .flags = RY_OP_INPLACE0, .infer = dropout_infer,
    .work = dropout_work, .cpu = dropout_cpu, .launch = dropout_launch, .lower = dropout_lower, .vjp = dropout_vjp, .samples = dropout_samples};

ry_tensor ry_dropout(ry_graph *g, ry_tensor x, double p, uint64_t seed, uint32_t stream) {
    if (p == 0) return x;
    return RY_APPLY(g, &dropout_row, (&(dropout_args){p, seed, stream}), x);
}

RY_OP_MODULE(dropout, &dropout_row);
