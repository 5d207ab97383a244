/* update.c - writes of variables: assign, add_into, set_rows.  Each yields the variable's next version.
 *
 * Values are converted to the variable's dtype. Never: optimisers (optim.c), copies with changes (gather.c:
 * scatter). */
#include "core/rows.h"
#include "ops/_move.h"
#include "ops/fused.h"
#include "lines.h"
#include "ops/rope_cache.h"
#include <rusty/ops.h>

enum { PART = 16384 };

/* n elements from `from` to `to`, either any number type. */
static void convert(void *to, ry_dtype tt, int64_t ti, const void *from, ry_dtype ft, int64_t fi, int64_t n) {
    if (tt == ft) {
        void *y = line_put(to, line_size(tt), ti);
        const void *x = line_at(from, line_size(ft), fi);
        if (y != x) memmove(y, x, (size_t)n * line_size(tt));
        return;
    }
    float buf[LINE_CHUNK];
    for (int64_t i = 0; i < n; i += LINE_CHUNK) {
        int64_t m = line_min(n - i, LINE_CHUNK);
        if (tt == RY_I64 && !ry_is_float(ft)) {
            line_integers((int64_t *)to + ti + i, from, ft, fi + i, 1, m);
            continue;
        }
        ry_store_row(to, tt, ti + i, m, ry_load_row(from, ft, fi + i, m, buf));
    }
}

static ry_status check_kinds(const ry_node *n, const ry_spec *v, const ry_spec *x, const char *name) {
    bool block = ry_dtype_row(v->dtype)->kind == RY_KIND_BLOCK || ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK;
    bool mixed = v->dtype != x->dtype && ry_is_float(v->dtype) != ry_is_float(x->dtype);
    bool narrow = v->dtype != x->dtype && !ry_is_float(v->dtype) && v->dtype != RY_I64;
    if (block || mixed || narrow)
        return ry_fail_node(n, RY_EDTYPE, "%s is %s, the variable %s; cast it first", name, ry_show(x).s, ry_show(v).s);
    return RY_OK;
}

static ry_status whole_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *v = &n->src[0]->spec, *x = &n->src[1]->spec;
    if (!ry_same_shape(v, x))
        return ry_fail_node(n, RY_ESHAPE, "x is %s, the variable %s: one shape is needed", ry_show(x).s, ry_show(v).s);
    RY_TRY(check_kinds(n, v, x, "x"));
    out[0] = *v;
    return RY_OK;
}
static ry_status add_into_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *v = &n->src[0]->spec;
    if (!ry_is_float(v->dtype))
        return ry_fail_node(n, RY_EDTYPE, "the variable is %s, floats are needed", ry_show(v).s);
    return whole_infer(n, out);
}
static ry_work whole_work(const ry_node *n) {
    return (ry_work){.parts = {line_max(1, line_div_up(ry_count(&n->src[0]->spec), PART))}};
}

static ry_status assign_cpu(const ry_cpu *c) {
    int64_t begin, end;
    line_range(ry_count(&c->n->src[0]->spec), PART, c->part, &begin, &end);
    convert(c->out[0], c->n->out[0].spec.dtype, begin, c->src[1], c->n->src[1]->spec.dtype, begin, end - begin);
    return RY_OK;
}

static ry_status add_into_cpu(const ry_cpu *c) {
    ry_dtype t = c->n->out[0].spec.dtype;
    float vb[LINE_CHUNK], xb[LINE_CHUNK];
    int64_t begin, end;
    line_range(ry_count(&c->n->src[0]->spec), PART, c->part, &begin, &end);
    for (int64_t i = begin; i < end; i += LINE_CHUNK) {
        int64_t m = line_min(end - i, LINE_CHUNK);
        const float *v = ry_load_row(c->src[0], t, i, m, vb),
                    *x = ry_load_row(c->src[1], c->n->src[1]->spec.dtype, i, m, xb);
        float *y = ry_row_out(c->out[0], t, i, vb);
        simd_rows()->add(y, v, x, m);
        ry_store_row(c->out[0], t, i, m, y);
    }
    return RY_OK;
}

/* out[0] is v itself: elementwise chains of v (register 0) and x (register 1). */
static ry_status assign_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_chain ch = {.n_src = 2, .n_link = 1, .n_out = 1, .out = {2}};
    ch.link[0] = (ry_link){&ry_op_cast_row, {1, -1, -1, -1, -1}, n->out[0].spec.dtype, 0};
    return fused_launch(&ch, n, l);
}
static ry_status add_into_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_chain ch = {.n_src = 2, .n_link = 1, .n_out = 1, .out = {2}};
    ch.link[0] = (ry_link){&ry_op_add_row, {0, 1, -1, -1, -1}, n->out[0].spec.dtype, 0};
    return fused_launch(&ch, n, l);
}

static ry_status assign_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    (void)g, (void)n;
    gx[1] = gy[0];
    return RY_OK;
}
static ry_status add_into_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    (void)g, (void)n;
    gx[0] = gx[1] = gy[0];
    return RY_OK;
}
static ry_status assign_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    out[0] = ry_cast(g, ry_src(g, n, 1), n->out[0].spec.dtype);
    return RY_OK;
}
static ry_status add_into_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    out[0] = ry_cast(g, ry_add(g, ry_src(g, n, 0), ry_src(g, n, 1)), n->out[0].spec.dtype);
    return RY_OK;
}

/* ---- set_rows: v, rows, idx -> v with v[.., idx[r], ..] = rows[.., r, ..] ---- */

typedef struct set_rows_args {
    int32_t axis;
} set_rows_args;
static const ry_arg set_rows_arg[] = {RY_ARG(set_rows_args, axis, RY_ARG_I32), {0}};

static int axis_of(const ry_node *n) { return ry_axis(&n->src[0]->spec, ((const set_rows_args *)n->args)->axis); }

static ry_status set_rows_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *v = &n->src[0]->spec, *x = &n->src[1]->spec, *idx = &n->src[2]->spec;
    int axis = axis_of(n);
    if (axis < 0)
        return ry_fail_node(n, RY_EARG, "axis %d is out of range for %s", ((const set_rows_args *)n->args)->axis,
                            ry_show(v).s);
    if ((idx->dtype != RY_I32 && idx->dtype != RY_I64) || idx->rank != 1)
        return ry_fail_node(n, RY_EDTYPE, "idx is %s, i32 or i64 [R] is needed", ry_show(idx).s);
    bool fits = v->rank == x->rank;
    for (int i = 0; fits && i < v->rank; i++) fits = x->dim[i] == (i == axis ? idx->dim[0] : v->dim[i]);
    if (!fits)
        return ry_fail_node(n, RY_ESHAPE, "rows are %s; the variable %s with idx %s along axis %d needs others",
                            ry_show(x).s, ry_show(v).s, ry_show(idx).s, axis);
    bool blocks = v->dtype == x->dtype && ry_dtype_row(v->dtype)->kind == RY_KIND_BLOCK && axis < v->rank - 1; /* whole ones */
    if (!blocks) RY_TRY(check_kinds(n, v, x, "rows"));
    out[0] = *v;
    return RY_OK;
}

/* Parts own ranges of outer lines, or of columns where there is one: equal numbers are met in order. */
typedef struct cut {
    int64_t outer, len, inner, count, per, cols; /* inner and cols in blocks, where the dtype has them */
} cut;
static cut cut_of(const ry_node *n) {
    cut k;
    ry_around(&n->src[0]->spec, axis_of(n), &k.outer, &k.len, &k.inner);
    k.inner /= ry_dtype_row(n->src[0]->spec.dtype)->block;
    k.count = n->src[2]->spec.dim[0];
    k.per = line_max(1, PART / line_max(1, k.count * line_max(k.inner, 1)));
    k.cols = k.outer == 1 ? line_max(64, PART / line_max(1, k.count)) : line_max(k.inner, 1);
    return k;
}
static ry_work set_rows_work(const ry_node *n) {
    cut k = cut_of(n);
    return (ry_work){.parts = {line_max(1, line_div_up(k.outer, k.per) * line_div_up(k.inner, k.cols))}};
}

static ry_status set_rows_cpu(const ry_cpu *c) {
    cut k = cut_of(c->n);
    ry_dtype vt = c->n->src[0]->spec.dtype, xt = c->n->src[1]->spec.dtype, it = c->n->src[2]->spec.dtype;
    int64_t blocks = line_max(1, line_div_up(k.inner, k.cols)), col = c->part % blocks * k.cols,
            n = line_min(k.inner - col, k.cols), begin, end;
    line_range(k.outer, k.per, c->part / blocks, &begin, &end);
    for (int64_t o = begin; o < end; o++)
        for (int64_t r = 0; r < k.count; r++) {
            int64_t id = ry_load_index(c->src[2], it, r);
            if (id < 0 || id >= k.len)
                return ry_fail_node(c->n, RY_EARG, "idx[%lld] is %lld; it must be 0 to %lld", (long long)r,
                                    (long long)id, (long long)k.len - 1);
            convert(c->out[0], vt, (o * k.len + id) * k.inner + col, c->src[1], xt, (o * k.count + r) * k.inner + col,
                    n);
        }
    return RY_OK;
}

/* Numbers out of range write nothing: a kernel cannot fail. */
static ry_status set_rows_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    cut k = cut_of(n);
    ry_dtype vt = n->src[0]->spec.dtype, it = n->src[2]->spec.dtype;
    bool raw = vt == n->src[1]->spec.dtype;
    int64_t inner = raw ? k.inner * ry_raw_units(vt) : k.inner, total = k.outer * inner, blocks = line_div_up(total, 1024);
    if (raw && k.outer * k.len * inner > UINT32_MAX)
        return ry_fail_node(n, RY_EUNSUPPORTED, "%s has more words than kernels count (2^32 - 1)", ry_show(&n->src[0]->spec).s);
    if (raw) l->raw = ~0u;
    ry_launch_knob_set(l, "RAW", raw);
    ry_launch_knob_set(l, "WORDS", it == RY_I64 ? 2 : 1);
    ry_launch_knob_set(l, "FOURS", inner % 4 == 0);
    if (inner % 4 == 0) l->vec |= RY_USES_SRC(1) | RY_USES_OUT(0);
    ry_launch_u32(l, "len", k.len);
    ry_launch_u32(l, "inner", inner);
    ry_launch_u32(l, "count", k.count);
    ry_launch_u32(l, "total", total);
    ry_launch_u32(l, "blocks", blocks);
    ry_launch_run(l, "main", k.count * blocks, 0);
    return RY_OK;
}

static ry_cost set_rows_cost(const ry_node *n) {
    const ry_spec *x = &n->src[1]->spec, *v = &n->src[0]->spec;
    double e = (double)ry_count(x);
    return (ry_cost){0, e * (double)(line_size(x->dtype) + line_size(v->dtype))};
}

/* idx [R] seen in the shape of rows. */
static ry_tensor spread_idx(ry_graph *g, const ry_node *n) {
    const ry_spec *x = &n->src[1]->spec;
    int64_t dim[RY_MAX_RANK];
    for (int i = 0; i < x->rank; i++) dim[i] = i == axis_of(n) ? x->dim[i] : 1;
    return ry_expand(g, ry_reshape(g, ry_src(g, n, 2), x->rank, dim), x->rank, x->dim);
}

static ry_status set_rows_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const ry_spec *sy = ry_spec_of(g, gy[0]);
    if (!sy || !ry_is_float(n->src[0]->spec.dtype)) return RY_OK;
    ry_spec zeros = n->src[1]->spec;
    zeros.dtype = sy->dtype;
    gx[0] = ry_scatter(g, gy[0], spread_idx(g, n), ry_fill(g, &zeros, 0), axis_of(n), false);
    gx[1] = ry_take(g, gy[0], ry_src(g, n, 2), axis_of(n));
    return RY_OK;
}
static ry_status set_rows_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_tensor rows = ry_cast(g, ry_src(g, n, 1), n->out[0].spec.dtype);
    out[0] = ry_scatter(g, ry_src(g, n, 0), spread_idx(g, n), rows, axis_of(n), false);
    return RY_OK;
}

/* clang-format off */
/* ---- samples ---- */

static const ry_sample whole_samples[] = {
    {.name = "plain", .src = {SRC_F(3, 17), SRC_F(3, 17)}, .n_src = 2},
    {.name = "bf16 variable", .src = {{.dtype = RY_BF16, SRC_DIMS(40)}, SRC_F(40)}, .n_src = 2,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "scalar", .src = {SRC_SCALAR, SRC_SCALAR}, .n_src = 2},
    {.name = "empty", .src = {SRC_F(0, 2), SRC_F(0, 2)}, .n_src = 2},
    {.name = "large", .src = {SRC_F(16384, 1024), SRC_F(16384, 1024)}, .n_src = 2, .flags = RY_SAMPLE_BENCH},
    {0}};
static const int32_t idx[] = {4, 0, 2}, again[] = {1, 1, 0};
#define A(axis) .args = &(const set_rows_args){axis}
static const ry_sample set_rows_samples[] = {
    {.name = "first", .src = {SRC_F(5, 7), SRC_F(3, 7), SRC_LIST(RY_I32, idx, 3)}, .n_src = 3, A(0)},
    {.name = "cache", .src = {SRC_F(2, 5, 2, 4), SRC_F(2, 3, 2, 4), SRC_LIST(RY_I32, idx, 3)}, .n_src = 3, A(1)},
    {.name = "bf16 cache",
     .src = {{.dtype = RY_BF16, SRC_DIMS(1, 5, 2, 4)}, SRC_F(1, 3, 2, 4), SRC_LIST(RY_I32, idx, 3)}, .n_src = 3, A(1),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "last, i64", .src = {SRC_F(4, 5), SRC_F(4, 3), SRC_LIST(RY_I64, idx, 3)}, .n_src = 3, A(-1)},
    {.name = "a row twice", .src = {SRC_F(5, 7), SRC_F(3, 7), SRC_LIST(RY_I32, again, 3)}, .n_src = 3, A(0),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "columns in parts", .src = {SRC_F(40, 3000), SRC_F(30, 3000), SRC_I(RY_I32, 0, 40, 30)}, .n_src = 3, A(0),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {SRC_F(5, 7), SRC_F(0, 7), SRC_I(RY_I32, 0, 1, 0)}, .n_src = 3, A(0)},
    {.name = "large", .src = {SRC_F(8192, 2048), SRC_F(4096, 2048), SRC_I(RY_I32, 0, 8192, 4096)}, .n_src = 3, A(0),
     .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op assign_row = {
    .name = "assign", .doc = "v variable, x of its shape -> v = x", .min_src = 2, .max_src = 2, .writes = 1,
    .infer = whole_infer, .work = whole_work, .cpu = assign_cpu, .wgsl = "fused.wgsl", .launch = assign_launch, .cut = ry_cut_elements, .vjp = assign_vjp, .lower = assign_lower,
    .samples = whole_samples};
static const ry_op add_into_row = {
    .name = "add_into", .doc = "v variable, x of its shape -> v = v + x", .min_src = 2, .max_src = 2, .writes = 1,
    .infer = add_into_infer, .work = whole_work, .cpu = add_into_cpu, .wgsl = "fused.wgsl", .launch = add_into_launch, .cut = ry_cut_elements, .vjp = add_into_vjp, .lower = add_into_lower,
    .samples = whole_samples};
static const ry_op set_rows_row = {
    .name = "set_rows", .doc = "v variable, rows, idx [R] -> v[.., idx[r], ..] = rows[.., r, ..] along axis",
    .arg_size = sizeof(set_rows_args), .args = set_rows_arg, .min_src = 3, .max_src = 3, .flags = RY_OP_CHECKED,
    .writes = 1, .infer = set_rows_infer, .work = set_rows_work, .cpu = set_rows_cpu, .launch = set_rows_launch, .join = rope_cache_join, .vjp = set_rows_vjp,
    .lower = set_rows_lower, .cost = set_rows_cost, .samples = set_rows_samples};

ry_tensor ry_assign(ry_graph *g, ry_var *v, ry_tensor x) { return RY_APPLY(g, &assign_row, NULL, ry_use(g, v), x); }
ry_tensor ry_add_into(ry_graph *g, ry_var *v, ry_tensor x) { return RY_APPLY(g, &add_into_row, NULL, ry_use(g, v), x); }
ry_tensor ry_set_rows(ry_graph *g, ry_var *v, ry_tensor rows, ry_tensor at, int axis) {
    return RY_APPLY(g, &set_rows_row, (&(set_rows_args){axis}), ry_use(g, v), rows, at);
}

RY_OP_MODULE(update, &assign_row, &add_into_row, &set_rows_row);
