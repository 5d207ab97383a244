/* linears.c - the row `linears`: up to three linear layers of the same few rows, after an RMS norm if there is one.
 *
 * Generating a token is a hundred products of one row, each so short that starting it takes as long as its work: so plans put q, k and v,
 * or gate and up, into one node (matmul's join), and then what stands before and behind them: the norm, and elementwise operators as the
 * node's tail. Its kernel reads every byte of the weights once (linears.wgsl). Only plans for devices with kernels make such nodes. */
#include "ops/linears.h"
#include "ops/fused.h"
#include "ops/product.h"
#include <rusty/ops.h>
#include <stdio.h>

typedef struct linears_args {
    double eps;
    bool norm;
} linears_args;
static const ry_arg args_of[] = {RY_ARG(linears_args, eps, RY_ARG_F64), RY_ARG(linears_args, norm, RY_ARG_BOOL), {0}};

enum { X, SCALE, W, MOST = 3, BIAS = W + MOST, OPERANDS = BIAS + MOST };
enum { FEW = 8, /* rows */
       UNIT = 16, /* elements that a thread takes at once */
       FOUR = 4 };
static const ry_op linears_row;

static int weights_of(const ry_node *n) {
    int k = 0;
    while (k < MOST && W + k < n->n_src && n->src[W + k]) k++;
    return k;
}
static int64_t depth_of(const ry_node *n) { return n->src[X]->spec.dim[n->src[X]->spec.rank - 1]; }
static int64_t rows_of(const ry_node *n) { return ry_count_range(&n->src[X]->spec, 0, n->src[X]->spec.rank - 1); }

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[X]->spec;
    if (!ry_is_float(x->dtype) || x->rank < 1) return ry_fail_node(n, RY_EDTYPE, "x is %s, floats are needed", ry_show(x).s);
    int64_t k = depth_of(n);
    if (k % UNIT || rows_of(n) > FEW) return ry_fail_node(n, RY_ESHAPE, "x is %s; at most %d rows of a multiple of %d are taken", ry_show(x).s, FEW, UNIT);
    if (n->src[SCALE] && (n->src[SCALE]->spec.rank != 1 || n->src[SCALE]->spec.dim[0] != k))
        return ry_fail_node(n, RY_ESHAPE, "the norm's weight is %s, it must be [%lld]", ry_show(&n->src[SCALE]->spec).s, (long long)k);
    for (int i = 0; i < weights_of(n); i++) {
        const ry_spec *w = &n->src[W + i]->spec;
        const ry_value *b = BIAS + i < n->n_src ? n->src[BIAS + i] : NULL;
        if (w->rank != 2 || w->dim[1] != k || !ry_dtype_row(w->dtype)->wgsl || !ry_dtype_row(w->dtype)->wgsl->load16)
            return ry_fail_node(n, RY_ESHAPE, "weight %d is %s, it must be [N,%lld]", i, ry_show(w).s, (long long)k);
        if (b && (b->spec.rank != 1 || b->spec.dim[0] != w->dim[0]))
            return ry_fail_node(n, RY_ESHAPE, "bias %d is %s, it must be [%lld]", i, ry_show(&b->spec).s, (long long)w->dim[0]);
        out[i] = *x;
        out[i].dim[x->rank - 1] = w->dim[0];
        out[i].dtype = RY_F32;
    }
    return RY_OK;
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const linears_args *a = n->args;
    ry_tensor x = ry_cast(g, ry_src(g, n, X), RY_F32);
    if (a->norm) x = ry_rms_norm(g, x, ry_src(g, n, SCALE), a->eps);
    for (int i = 0; i < weights_of(n); i++)
        out[i] = ry_linear(g, x, ry_src(g, n, W + i), BIAS + i < n->n_src ? ry_src(g, n, BIAS + i) : RY_NULL);
    return ry_graph_ok(g) ? RY_OK : ry_graph_status(g);
}

static int rows_knob(const ry_node *n) {
    int64_t m = rows_of(n);
    return m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8;
}
static bool fits(const ry_node *n, const ry_caps *caps, int lanes, int rows, int threads) {
    int parts = caps->features & RY_FEATURE_SUBGROUPS ? lanes / 4 : lanes, sums = n->tail ? weights_of(n) : 1;
    return (uint32_t)(rows_knob(n) * (sums * rows * threads / lanes + 1) * parts) * sizeof(float) <= caps->shared_bytes && (uint32_t)threads <= caps->max_invocations;
}

/* LANES threads along K for R rows each, WG in a group: a multiple of four rows. */
#define SHAPE(lanes, rows, threads) \
    static bool may_##lanes##x##rows##_##threads(const ry_node *n, const ry_caps *caps) { return fits(n, caps, lanes, rows, threads); }
SHAPE(128, 2, 256)
SHAPE(64, 2, 128)
SHAPE(32, 1, 128)
SHAPE(128, 1, 512)
SHAPE(32, 4, 32)
#undef SHAPE
#define SHAPE(lanes, rows, threads) {.name = #lanes "x" #rows, .when = may_##lanes##x##rows##_##threads, .knobs = {{"LANES", lanes}, {"R", rows}, {"WG", threads}}}
static const ry_variant variants[] = {SHAPE(128, 2, 256), SHAPE(64, 2, 128), SHAPE(32, 1, 128), SHAPE(128, 1, 512), SHAPE(32, 4, 32), {0}};

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const linears_args *a = n->args;
    int count = weights_of(n), rows_each = v->knobs[1].value * v->knobs[2].value / v->knobs[0].value;
    int64_t k = depth_of(n), m = rows_of(n), groups = 0;
    bool together = n->tail && count > 1; /* a group makes the same rows of all of them, for the tail */
    char name[16];
    ry_launch_knob_set(l, "MR", rows_knob(n));
    ry_launch_knob_set(l, "NW", count);
    ry_launch_knob_set(l, "NORM", a->norm);
    ry_launch_knob_set(l, "TOGETHER", together);
    ry_launch_knob_set(l, "ROWS", rows_each);
    ry_launch_knob_set(l, "NT", together ? count : 1);
    ry_launch_u32(l, "m", m);
    ry_launch_u32(l, "k", k);
    ry_launch_f32(l, "eps", a->eps);
    l->vec |= RY_USES_SRC(X) | RY_USES_SRC(SCALE);
    for (int i = 0; i < MOST; i++) {
        const ry_dtype_text *t = i < count ? ry_dtype_row(n->src[W + i]->spec.dtype)->wgsl : NULL;
        int64_t rows = t ? n->src[W + i]->spec.dim[0] : 0;
        snprintf(name, sizeof name, "NEAR%d", i);
        ry_launch_knob_set(l, name, t ? t->near : 0);
        snprintf(name, sizeof name, "FAR%d", i);
        ry_launch_knob_set(l, name, t ? product_far(t, k) : 0);
        if (!t) continue;
        snprintf(name, sizeof name, "n%d", i);
        ry_launch_u32(l, name, rows);
        snprintf(name, sizeof name, "g%d", i);
        ry_launch_u32(l, name, together ? 0 : groups);
        groups = (together ? 0 : groups) + (rows + rows_each - 1) / rows_each;
        if (rows % FOUR == 0) l->vec |= RY_USES_SRC(BIAS + i) | (n->tail ? 0 : RY_USES_OUT(i));
    }
    RY_TRY(fused_tail(n, l, count));
    ry_launch_run(l, "main", m && k ? groups : 0, 0);
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    ry_cost c = {0};
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i]) c.bytes += (double)ry_bytes_of(n->src[i]->spec.dtype, ry_count(&n->src[i]->spec));
    for (int i = 0; i < n->n_out; i++) c.bytes += (double)ry_bytes_of(n->out[i].spec.dtype, ry_count(&n->out[i].spec));
    for (int i = 0; i < weights_of(n); i++) c.flops += 2 * (double)rows_of(n) * (double)ry_count(&n->src[W + i]->spec);
    return c;
}

/* ---- how plans come to it ---- */

/* A linear layer as this row does it. */
static bool is_one(const ry_node *n, const ry_value *x) {
    const ry_op *matmul = ry_row("matmul");
    if (n->op != matmul || n->tail || n->src[0] != x || !product_is_linear(n) || n->out[0].spec.dtype != RY_F32) return false;
    const ry_value *w = n->src[1], *b = n->n_src > 2 ? n->src[2] : NULL;
    const ry_dtype_text *t = ry_dtype_row(w->spec.dtype)->wgsl;
    int64_t k = x->spec.dim[x->spec.rank - 1];
    return w->spec.rank == 2 && ry_is_dense(w) && w->offset % UNIT == 0 && t && t->load16 && k && k % UNIT == 0 && w->spec.dim[0] && (!b || ry_is_dense(b));
}

bool linears_join(ry_joiner *j, ry_node *n) {
    enum { READERS = 8 };
    ry_node *reader[READERS], *member[MOST];
    ry_value *old[MOST], *x = n->src[0];
    if (!ry_is_float(x->spec.dtype) || !ry_is_dense(x) || !is_one(n, x) || ry_count_range(&x->spec, 0, x->spec.rank - 1) > FEW || !ry_count(&x->spec)) return false;
    int found = join_readers(j, x, reader, READERS), most = MOST;
    for (; most > 0; most--) { /* fewer where a kernel cannot bind them all */
        int count = 0;
        for (int i = 0; i < found && count < most; i++)
            if (is_one(reader[i], x)) member[count++] = reader[i];
        if (most == 1 || count == 0) member[0] = n, count = 1;
        if (count < most) continue;
        ry_node *y = join_node(j, &linears_row, &(linears_args){0}, OPERANDS, count);
        if (!y) return false;
        y->src[X] = x;
        for (int i = 0; i < count; i++) {
            y->src[W + i] = member[i]->src[1];
            y->src[BIAS + i] = member[i]->n_src > 2 ? member[i]->src[2] : NULL;
            old[i] = &member[i]->out[0];
            y->out[i] = *old[i], y->out[i].base = &y->out[i];
        }
        if (join_fits(j, y) && join_replace(j, y, count, member, old)) return true;
    }
    return false;
}

/* The norm that only this node reads. */
static bool take_norm(ry_joiner *j, ry_node *n) {
    ry_node *norm = n->src[X]->node, *reader;
    const linears_args *a = n->args;
    if (a->norm || norm->op != ry_row("rms_norm") || n->src[X] != &norm->out[0] || n->src[X]->spec.dtype != RY_F32) return false;
    const ry_value *w = norm->src[1];
    if (!ry_is_dense(norm->src[0]) || norm->src[0]->offset % FOUR || (w && !ry_is_dense(w))) return false;
    if (join_readers(j, n->src[X], &reader, 1) != 1) return false;
    ry_node *y = join_node(j, &linears_row, &(linears_args){.eps = rms_norm_eps(norm), .norm = true}, n->n_src, n->n_out);
    ry_value *old[MOST];
    if (!y) return false;
    for (int i = 0; i < n->n_src; i++) y->src[i] = n->src[i];
    y->src[X] = norm->src[0];
    y->src[SCALE] = norm->src[1];
    for (int i = 0; i < n->n_out; i++) old[i] = &n->out[i], y->out[i] = n->out[i], y->out[i].base = &y->out[i];
    return join_fits(j, y) && join_replace(j, y, 2, (ry_node *[]){norm, n}, old);
}

static bool join(ry_joiner *j, ry_node *n) {
    if (n->tail) return false;
    if (take_norm(j, n)) return true;
    for (int i = 0; i < n->n_out; i++) { /* a tail of several weights: rows of the same units */
        const ry_dtype_text *t = ry_dtype_row(n->src[W + i]->spec.dtype)->wgsl, *first = ry_dtype_row(n->src[W]->spec.dtype)->wgsl;
        if (!ry_same_shape(&n->out[i].spec, &n->out[0].spec) || t->near != first->near || t->far != first->far) return false;
    }
    return n->out[0].spec.dim[n->out[0].spec.rank - 1] % FOUR == 0 && join_tail(j, n);
}

#define F1(a) {.dtype = RY_F32, .rank = 1, .dim = {a}}
#define F2(a, b) {.dtype = RY_F32, .rank = 2, .dim = {a, b}}
#define F3(a, b, c) {.dtype = RY_F32, .rank = 3, .dim = {a, b, c}}
#define T2(t, a, b) {.dtype = t, .rank = 2, .dim = {a, b}}
#define NO {.dtype = RY_NONE}
static const linears_args plain = {0}, norm = {.eps = 1e-5, .norm = true};
static const ry_sample samples[] = {
    {.name = "one row", .src = {F2(1, 64), NO, F2(37, 64), NO, NO, NO, NO, NO}, .n_src = 8, .args = &plain, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "norm, three weights", .src = {F3(1, 1, 2112), F1(2112), F2(20, 2112), F2(8, 2112), F2(9, 2112), F1(20), NO, F1(9)}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "rows, blocks", .src = {F2(3, 256), NO, T2(RY_Q8_0, 10, 256), T2(RY_BF16, 5, 256), T2(RY_F16, 4, 256), F1(10), F1(5), F1(4)}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "eight rows", .src = {F2(7, 32), F1(32), F2(12, 32), T2(RY_Q8_0, 6, 32), NO, NO, F1(6), NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "decode, f16", .src = {F2(1, 2048), F1(2048), T2(RY_F16, 5632, 2048), T2(RY_F16, 5632, 2048), NO, NO, NO, NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_BENCH},
    {.name = "decode, q8_0", .src = {F2(1, 2048), F1(2048), T2(RY_Q8_0, 5632, 2048), T2(RY_Q8_0, 5632, 2048), NO, NO, NO, NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_BENCH},
    {.name = "decode, q4_K", .src = {F2(1, 2048), F1(2048), T2(RY_Q4_K, 5632, 2048), T2(RY_Q4_K, 5632, 2048), NO, NO, NO, NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_BENCH},
    {.name = "decode, q6_K", .src = {F2(1, 2048), F1(2048), T2(RY_Q6_K, 5632, 2048), T2(RY_Q6_K, 5632, 2048), NO, NO, NO, NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_BENCH},
    {.name = "decode, q4_0", .src = {F2(1, 2048), F1(2048), T2(RY_Q4_0, 5632, 2048), T2(RY_Q4_0, 5632, 2048), NO, NO, NO, NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_BENCH},
    {.name = "decode, f16, 2048", .src = {F2(1, 2048), NO, T2(RY_F16, 2048, 2048), NO, NO, NO, NO, NO}, .n_src = 8, .args = &plain, .flags = RY_SAMPLE_BENCH},
    {.name = "decode, f16, down", .src = {F2(1, 5632), NO, T2(RY_F16, 2048, 5632), NO, NO, NO, NO, NO}, .n_src = 8, .args = &plain, .flags = RY_SAMPLE_BENCH},
    {.name = "output layer, f16", .src = {F2(1, 2048), F1(2048), T2(RY_F16, 128000, 2048), NO, NO, NO, NO, NO}, .n_src = 8, .args = &norm, .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op linears_row = {
    .name = "linears",
    .doc = "x [..,K], norm's weight [K] or none, w0, w1, w2 [N,K] (the last ones may be left out), biases [N] or none -> x w^T + bias f32 [..,N] for each",
    .arg_size = sizeof(linears_args),
    .args = args_of,
    .min_src = 3,
    .max_src = OPERANDS,
    .optional = ((1u << OPERANDS) - 1) & ~(1u << X | 1u << W),
    .infer = infer,
    .lower = lower,
    .variants = variants,
    .launch = launch,
    .join = join,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};
RY_OP_MODULE(linears, &linears_row);
