/* grouped_matmul.c - products of experts: rows of x are sorted by expert, each block of rows meets its own matrix.
 * Owns the rows grouped_matmul (also its gradient to x: w the other way round) and grouped_matmul_dw, and ry_grouped_matmul.
 *
 * How many rows each expert has is known only at run time, so work is cut into blocks of rows and columns; a block looks up which experts it meets. */
#include "ops/_gemm.h"
#include "ops/product.h"
#include "simd/rows.h"
#include <rusty/ops.h>

typedef struct grouped_args {
    int32_t product;
    bool w_rows; /* w is [E,N,K]; else [E,K,N] */
    int32_t numerics; /* ry_numerics: where w is of blocks */
} grouped_args;
static const ry_arg args_of[] = {RY_ARG(grouped_args, product, RY_ARG_I32),
                                 RY_ARG(grouped_args, w_rows, RY_ARG_BOOL),
                                 RY_ARG(grouped_args, numerics, RY_ARG_I32),
                                 {0}};
static const ry_op grouped_matmul_row, grouped_matmul_dw_row;
enum { X, W, OFFSETS };

static ry_status check_offsets(const ry_node *n, int src, int64_t experts) {
    const ry_spec *s = &n->src[src]->spec;
    if (s->dtype == RY_I32 && s->rank == 1 && s->dim[0] >= 1 && (experts < 0 || s->dim[0] == experts + 1)) return RY_OK;
    if (experts < 0) return ry_fail_node(n, RY_ESHAPE, "offsets are %s, they must be [E+1] i32", ry_show(s).s);
    return ry_fail_node(n, RY_ESHAPE, "offsets are %s, for %lld experts they must be [%lld] i32", ry_show(s).s,
                        (long long)experts, (long long)experts + 1);
}

/* Offsets must rise from 0 or more to at most R. */
static ry_status read_offsets(const ry_node *n, const int32_t *o, int64_t experts, int64_t rows) {
    for (int64_t e = 0; e <= experts; e++)
        if (o[e] < (e ? o[e - 1] : 0) || o[e] > rows)
            return ry_fail_node(n, RY_EARG, "offset %lld is %d: offsets must rise, from 0 to at most %lld rows",
                                (long long)e, (int)o[e], (long long)rows);
    return RY_OK;
}

/* First expert whose rows end after `row`. */
static int64_t expert_at(const int32_t *o, int64_t experts, int64_t row) {
    int64_t lo = 0, hi = experts;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (o[mid + 1] > row)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- forward, and dX ---- */

enum { ROWS = 128, COLUMNS = 256 };

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const grouped_args *a = n->args;
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec;
    bool rows = a && a->w_rows;
    RY_TRY(product_operand(n, X, "x"));
    RY_TRY(product_weight(n, W, "w"));
    if (a) RY_TRY(product_check(n, a->product));
    if (x->rank != 2 || w->rank != 3 || w->dim[rows ? 2 : 1] != x->dim[1])
        return ry_fail_node(n, RY_ESHAPE, "x is %s and w is %s; they must be [R,K] and %s", ry_show(x).s, ry_show(w).s,
                            rows ? "[E,N,K]" : "[E,K,N]");
    RY_TRY(check_offsets(n, OFFSETS, w->dim[0]));
    out[0] =
        (ry_spec){.dtype = product_result(x->dtype, w->dtype), .rank = 2, .dim = {x->dim[0], w->dim[rows ? 1 : 2]}};
    return RY_OK;
}

static simd_gemm shape(const ry_node *n) {
    const grouped_args *a = n->args;
    const ry_value *x = n->src[X], *w = n->src[W];
    const ry_spec *o = &n->out[0].spec;
    int k = a->w_rows ? 2 : 1, c = a->w_rows ? 1 : 2;
    simd_gemm g = {.m = least(o->dim[0], ROWS),
                       .n = least(o->dim[1], COLUMNS),
                       .k = x->spec.dim[1],
                       .a = {NULL, x->spec.dtype, x->stride[0], x->stride[1]},
                       .b = {NULL, w->spec.dtype, w->stride[k], w->stride[c]},
                       .c_dtype = o->dtype,
                       .ldc = o->dim[1],
                       .product = product_of(a->product)};
    if (a->numerics == RY_Q8) simd_gemm_q8(&g);
    return g;
}

static ry_work work(const ry_node *n) {
    const ry_spec *o = &n->out[0].spec;
    if (ry_count(o) == 0) return (ry_work){0};
    simd_gemm g = shape(n);
    return (ry_work){.parts = {div_up(o->dim[0], ROWS) * div_up(o->dim[1], COLUMNS)},
                     .local = simd_gemm_tile_local(&g)};
}

static ry_status cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const ry_spec *o = &n->out[0].spec;
    const ry_value *x = n->src[X], *w = n->src[W];
    const int32_t *off = c->src[OFFSETS];
    int64_t R = o->dim[0], N = o->dim[1], experts = w->spec.dim[0], columns = div_up(N, COLUMNS);
    if (c->part == 0) RY_TRY(read_offsets(n, off, experts, R));
    if (R * N == 0) return RY_OK;
    simd_gemm g = shape(n);
    int64_t row = c->part / columns * ROWS, end = least(row + ROWS, R), col = c->part % columns * COLUMNS;
    g.n = least(COLUMNS, N - col);
    while (row < end) { /* runs of rows of one expert; rows before the first and after the last are zero */
        int64_t e = expert_at(off, experts, row), stop = end;
        bool none = e >= experts || off[e] > row;
        if (e < experts) stop = least(end, none ? off[e] : off[e + 1]);
        if (stop <= row) stop = end; /* offsets that do not rise: part 0 says so */
        g.m = stop - row;
        g.c = (char *)c->out[0] + ry_bytes_of(o->dtype, row * N + col);
        if (none) {
            simd_gemm zero = g;
            zero.k = 0, zero.q8 = false;
            zero.a.data = c->src[X], zero.b.data = c->src[W];
            simd_gemm_tile(&zero, c->local);
        } else {
            g.a.data = product_at(c->src[X], x->spec.dtype, row * x->stride[0]);
            g.b.data = product_at(c->src[W], w->spec.dtype, e * w->stride[0] + col * g.b.cs);
            simd_gemm_tile(&g, c->local);
        }
        row = stop;
    }
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec, *o = &n->out[0].spec;
    int64_t met = least(w->dim[0], x->dim[0]); /* experts, at most */
    return (ry_cost){.flops = 2 * (double)ry_count(o) * (double)x->dim[1],
                     .bytes = (double)ry_bytes_of(x->dtype, ry_count(x)) + (double)ry_bytes_of(w->dtype, met * ry_count_range(w, 1, 3)) +
                              (double)ry_bytes_of(o->dtype, ry_count(o))};
}

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const grouped_args *a = n->args;
    grouped_args turned = {.product = a->product, .w_rows = !a->w_rows};
    ry_tensor x = ry_src(g, n, X), off = ry_src(g, n, OFFSETS);
    gx[X] = RY_APPLY(g, &grouped_matmul_row, &turned, gy[0], ry_src(g, n, W), off);
    if (!ry_is_float(n->src[W]->spec.dtype)) return RY_OK;
    gx[W] = a->w_rows ? RY_APPLY(g, &grouped_matmul_dw_row, a, gy[0], x, off)
                      : RY_APPLY(g, &grouped_matmul_dw_row, a, x, gy[0], off);
    return RY_OK;
}

/* [E,R,1] f32: 1 where row r belongs to expert e. */
static ry_tensor members(ry_graph *g, ry_tensor offsets, int64_t experts, int64_t rows) {
    ry_spec count = {.dtype = RY_I32, .rank = 2, .dim = {1, rows}};
    ry_tensor r = ry_iota(g, &count, 1, 0, 1);
    ry_tensor from = RY_RESHAPE(g, ry_slice(g, offsets, 0, 0, experts, 1), experts, 1),
              to = RY_RESHAPE(g, ry_slice(g, offsets, 0, 1, experts + 1, 1), experts, 1);
    return RY_RESHAPE(g, ry_cast(g, ry_and(g, ry_ge(g, r, from), ry_lt(g, r, to)), RY_F32), experts, rows, 1);
}

/* Every expert's product of all rows, of which only its own are kept. */
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const grouped_args *a = n->args;
    const ry_spec *sx = &n->src[X]->spec, *sw = &n->src[W]->spec;
    ry_tensor w = ry_cast(g, ry_src(g, n, W), RY_F32), x = ry_cast(g, ry_src(g, n, X), RY_F32);
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, product_of(a->product));
    ry_tensor y = ry_matmul(g, RY_RESHAPE(g, x, 1, sx->dim[0], sx->dim[1]), a->w_rows ? ry_transpose(g, w, 1, 2) : w);
    ry_graph_precision(g, was);
    y = ry_sum(g, ry_mul(g, y, members(g, ry_src(g, n, OFFSETS), sw->dim[0], sx->dim[0])), RY_AXIS(0), false);
    out[0] = ry_cast(g, y, n->out[0].spec.dtype);
    return RY_OK;
}

/* ---- dW ---- */

enum { DW_A, DW_B, DW_OFFSETS }; /* out[e] = a[rows of e]^T b[rows of e] */

static ry_status dw_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const grouped_args *args = n->args;
    const ry_spec *a = &n->src[DW_A]->spec, *b = &n->src[DW_B]->spec;
    RY_TRY(product_operand(n, DW_A, "a"));
    RY_TRY(product_operand(n, DW_B, "b"));
    if (args) RY_TRY(product_check(n, args->product));
    if (a->rank != 2 || b->rank != 2 || a->dim[0] != b->dim[0])
        return ry_fail_node(n, RY_ESHAPE, "a is %s and b is %s; they must be [R,N] and [R,K]", ry_show(a).s,
                            ry_show(b).s);
    RY_TRY(check_offsets(n, DW_OFFSETS, -1));
    out[0] = (ry_spec){.dtype = RY_F32, .rank = 3, .dim = {n->src[DW_OFFSETS]->spec.dim[0] - 1, a->dim[1], b->dim[1]}};
    if (ry_numel(&out[0]) < 0)
        return ry_fail_node(n, RY_ESHAPE, "%s by %s for each expert is too large", ry_show(a).s, ry_show(b).s);
    return RY_OK;
}

static simd_gemm dw_shape(const ry_node *n) {
    const grouped_args *args = n->args;
    const ry_value *a = n->src[DW_A], *b = n->src[DW_B];
    return (simd_gemm){.m = least(a->spec.dim[1], COLUMNS),
                       .n = least(b->spec.dim[1], COLUMNS),
                       .k = a->spec.dim[0],
                       .a = {NULL, a->spec.dtype, a->stride[1], a->stride[0]},
                       .b = {NULL, b->spec.dtype, b->stride[0], b->stride[1]},
                       .c_dtype = RY_F32,
                       .ldc = b->spec.dim[1],
                       .product = product_of(args->product)};
}

static ry_work dw_work(const ry_node *n) {
    const ry_spec *o = &n->out[0].spec;
    if (ry_count(o) == 0) return (ry_work){0};
    simd_gemm g = dw_shape(n);
    return (ry_work){.parts = {o->dim[0] * div_up(o->dim[1], COLUMNS) * div_up(o->dim[2], COLUMNS)},
                     .local = simd_gemm_tile_local(&g)};
}

static ry_status dw_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const ry_spec *o = &n->out[0].spec;
    const int32_t *off = c->src[DW_OFFSETS];
    int64_t N = o->dim[1], K = o->dim[2], across = div_up(K, COLUMNS), down = div_up(N, COLUMNS);
    if (c->part == 0) RY_TRY(read_offsets(n, off, o->dim[0], n->src[DW_A]->spec.dim[0]));
    if (ry_count(o) == 0) return RY_OK;
    simd_gemm g = dw_shape(n);
    int64_t e = c->part / (across * down), i = c->part / across % down * COLUMNS, j = c->part % across * COLUMNS,
            from = off[e], rows = off[e + 1] - from;
    if (from < 0 || rows < 0 || from + rows > n->src[DW_A]->spec.dim[0]) return RY_OK; /* part 0 says so */
    g.m = least(COLUMNS, N - i), g.n = least(COLUMNS, K - j), g.k = rows;
    g.a.data = product_at(c->src[DW_A], g.a.dtype, from * g.a.cs + i * g.a.rs);
    g.b.data = product_at(c->src[DW_B], g.b.dtype, from * g.b.rs + j * g.b.cs);
    g.c = (float *)c->out[0] + (e * N + i) * K + j;
    simd_gemm_tile(&g, c->local);
    return RY_OK;
}

static ry_cost dw_cost(const ry_node *n) {
    const ry_spec *a = &n->src[DW_A]->spec, *b = &n->src[DW_B]->spec;
    return (ry_cost){.flops = 2 * (double)ry_count(a) * (double)b->dim[1],
                     .bytes = (double)ry_bytes_of(a->dtype, ry_count(a)) + (double)ry_bytes_of(b->dtype, ry_count(b)) +
                              4 * (double)ry_count(&n->out[0].spec)};
}

/* out[e,n,k] = sum over r of a[r,n] b[r,k]: linear in both. */
static ry_status dw_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    grouped_args rows = {.product = ((const grouped_args *)n->args)->product, .w_rows = true},
                 columns = {.product = rows.product};
    ry_tensor off = ry_src(g, n, DW_OFFSETS);
    gx[DW_A] = RY_APPLY(g, &grouped_matmul_row, &rows, ry_src(g, n, DW_B), gy[0], off);
    gx[DW_B] = RY_APPLY(g, &grouped_matmul_row, &columns, ry_src(g, n, DW_A), gy[0], off);
    return RY_OK;
}

static ry_status dw_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const ry_spec *sa = &n->src[DW_A]->spec;
    ry_tensor a = ry_cast(g, ry_src(g, n, DW_A), RY_F32), b = ry_cast(g, ry_src(g, n, DW_B), RY_F32);
    ry_tensor own = ry_mul(g, a, members(g, ry_src(g, n, DW_OFFSETS), n->out[0].spec.dim[0], sa->dim[0])); /* [E,R,N] */
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, product_of(((const grouped_args *)n->args)->product));
    out[0] = ry_matmul(g, ry_transpose(g, own, 1, 2), b);
    ry_graph_precision(g, was);
    return RY_OK;
}

/* ---- kernels: _gemm.wgsl ---- */

/* Tiles that the rows fill, if each expert's last one is half full. */
static bool fits(const ry_node *n, const ry_caps *caps, int bm, int bn, int bk, int tm, int tn, int db, int64_t least) {
    const ry_spec *o = &n->out[0].spec, *x = &n->src[X]->spec;
    bool dw = n->op != &grouped_matmul_row;
    int64_t tiles = dw ? o->dim[0] * div_up(o->dim[1], bm) * div_up(o->dim[2], bn)
                       : (o->dim[0] / bm + n->src[W]->spec.dim[0] / 2) * div_up(o->dim[1], bn);
    bool wide = o->dim[dw ? 2 : 1] * 2 >= bn && (!dw || o->dim[1] * 2 >= bm);
    return gemm_fits(caps, bm, bn, bk, tm, tn, db, x->dim[dw ? 0 : 1]) && tiles >= least && wide;
}
#define TILE(name, bm, bn, bk, tm, tn, db, least) \
    static bool name(const ry_node *n, const ry_caps *caps) { return fits(n, caps, bm, bn, bk, tm, tn, db, least); }
TILE(when_128x128, 128, 128, 8, 8, 16, 1, 200)
TILE(when_64x128, 64, 128, 8, 8, 8, 2, 96)
TILE(when_64x64, 64, 64, 16, 4, 8, 1, 96)
/* Few rows, a token's: each by itself, weights by sixteen elements. */
static bool when_few(const ry_node *n, const ry_caps *caps) {
    enum { FEW = 32, UNIT = 16 };
    const grouped_args *a = n->args;
    const ry_value *x = n->src[X], *w = n->src[W];
    (void)caps;
    if (n->op != &grouped_matmul_row || !a->w_rows || product_of(a->product) != RY_F32) return false;
    const ry_dtype_text *t = ry_dtype_row(w->spec.dtype)->wgsl;
    int64_t k = x->spec.dim[1];
    return x->spec.dim[0] <= FEW && n->out[0].spec.dtype == RY_F32 && k && k % UNIT == 0 && t && t->load16 && w->stride[2] == 1 && w->stride[1] == k && w->offset % UNIT == 0 &&
           w->stride[0] % UNIT == 0 && x->stride[1] == 1 && x->stride[0] % 4 == 0 && x->offset % 4 == 0;
}
static const ry_variant variants[] = {{.name = "few", .when = when_few, .knobs = {{"LANES", 64}}},
                                      {.name = "128x128", .when = when_128x128, GEMM_KNOBS(128, 128, 8, 8, 16, 1)},
                                      {.name = "64x128", .when = when_64x128, GEMM_KNOBS(64, 128, 8, 8, 8, 2)},
                                      {.name = "64x64", .when = when_64x64, GEMM_KNOBS(64, 64, 16, 4, 8, 1)},
                                      {.name = "32x64", GEMM_KNOBS(32, 64, 16, 4, 4, 2)},
                                      {0}};

static ry_status launch_grouped(const ry_node *n, const ry_variant *v, ry_launch *l, gemm_side a, gemm_side b,
                                int64_t rows, int64_t columns, int64_t depth) {
    const grouped_args *args = n->args;
    bool dw = n->op != &grouped_matmul_row, bf16 = product_of(args->product) == RY_BF16;
    int bm = gemm_knob(v, "BM"), bk = gemm_knob(v, "BK");
    int64_t experts = n->src[OFFSETS]->spec.dim[0] - 1, gx = div_up(columns, gemm_knob(v, "BN")),
            gy = div_up(rows, bm);
    gemm_tile(l, &a, &b);
    ry_launch_knob_set(l, "FEW", 0);
    ry_launch_knob_set(l, "GROUPED", dw ? 2 : 1);
    ry_launch_knob_set(l, "BATCH", dw);
    ry_launch_knob_set(l, "SPLIT", 0);
    ry_launch_knob_set(l, "BIAS", 0);
    ry_launch_knob_set(l, "EDGE_M", !dw || rows % bm != 0);
    ry_launch_knob_set(l, "EDGE_N", columns % gemm_knob(v, "BN") != 0);
    ry_launch_knob_set(l, "SAFE", dw || depth < bk);
    ry_launch_knob_set(l, "BF16", bf16 && !(n->src[0]->spec.dtype == RY_BF16 && n->src[1]->spec.dtype == RY_BF16));
    if (columns % 4 == 0) l->vec |= RY_USES_OUT(0);
    ry_launch_u32(l, "experts", experts);
    ry_launch_u32(l, "rows", n->src[0]->spec.dim[0]);
    ry_launch_u32(l, "m", rows);
    ry_launch_u32(l, "n", columns);
    ry_launch_u32(l, "c_r", columns);
    ry_launch_u32(l, "c_z", rows * columns);
    ry_launch_u32(l, "k", depth);
    /* Without dw: every segment (experts, rows before and after) may have one more block than its rows fill. */
    ry_launch_run(l, "main", dw ? experts * gx * gy : rows ? (rows / bm + experts + 2) * gx : 0, 0);
    return RY_OK;
}

static ry_status launch_few(const ry_node *n, const ry_variant *v, ry_launch *l) {
    enum { THREADS = 128, TWO = 2 };
    const ry_value *x = n->src[X], *w = n->src[W];
    const ry_dtype_text *t = ry_dtype_row(w->spec.dtype)->wgsl;
    int64_t k = x->spec.dim[1], columns = n->out[0].spec.dim[1], each = THREADS / gemm_knob(v, "LANES") * TWO;
    ry_launch_knob_set(l, "FEW", 1);
    ry_launch_knob_set(l, "WG", THREADS);
    ry_launch_knob_set(l, "NEAR", t->near);
    ry_launch_knob_set(l, "FAR", product_far(t, k));
    ry_launch_u32(l, "experts", w->spec.dim[0]);
    ry_launch_u32(l, "n", columns);
    ry_launch_u32(l, "k", k);
    ry_launch_u32(l, "x_row", x->stride[0]);
    ry_launch_u32(l, "w_expert", w->stride[0]);
    l->vec |= RY_USES_SRC(X);
    ry_launch_run(l, "main", n->out[0].spec.dim[0] * div_up(columns, each), 0);
    return RY_OK;
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    if (gemm_knob(v, "LANES")) return launch_few(n, v, l);
    simd_gemm g = shape(n);
    const ry_value *w = n->src[W];
    int64_t rows = n->out[0].spec.dim[0], columns = n->out[0].spec.dim[1];
    gemm_side a = gemm_side_of(g.a.rs, g.a.cs, rows, g.k), b = gemm_side_of(g.b.cs, g.b.rs, columns, g.k);
    if (a.kind == 1) a.fours = false; /* blocks begin at any row */
    gemm_batch(&b, 1, &w->stride[0]);
    ry_launch_u32(l, "b_expert", w->stride[0]);
    return launch_grouped(n, v, l, a, b, rows, columns, g.k);
}

static ry_status dw_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    simd_gemm g = dw_shape(n);
    int64_t rows = n->out[0].spec.dim[1], columns = n->out[0].spec.dim[2];
    gemm_side a = gemm_side_of(g.a.rs, g.a.cs, rows, g.k), b = gemm_side_of(g.b.cs, g.b.rs, columns, g.k);
    if (a.kind == 0) a.fours = false; /* an expert's rows begin anywhere */
    if (b.kind == 0) b.fours = false;
    return launch_grouped(n, v, l, a, b, rows, columns, g.k);
}

static const grouped_args by_rows = {.w_rows = true}, q8_rows = {.w_rows = true, .numerics = RY_Q8};
static const int32_t three[] = {0, 4, 4, 9}, outside[] = {2, 5, 7}, big[] = {0, 200, 210, 210, 300},
                     one_expert[] = {0, 1}, even[] = {0, 512, 1024, 1536, 2048}, forty[] = {0, 17, 17, 40},
                     token[] = {0, 1, 1, 3, 4, 4}, token_of_32[33] = {[3] = 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4};
#define M2(r, c)                                    \
    {                                               \
        .dtype = RY_F32, .rank = 2, .dim = { r, c } \
    }
#define M3(e, r, c)                                    \
    {                                                  \
        .dtype = RY_F32, .rank = 3, .dim = { e, r, c } \
    }
#define OFF(n, v) \
    { .dtype = RY_I32, .rank = 1, .dim = {n}, .values = v }
static const ry_sample samples[] = {
    {.name = "three experts, one idle", .src = {M2(9, 5), M3(3, 4, 5), OFF(4, three)}, .args = &by_rows},
    {.name = "w by columns", .src = {M2(9, 5), M3(3, 5, 4), OFF(4, three)}},
    {.name = "rows of no expert", .src = {M2(9, 3), M3(2, 4, 3), OFF(3, outside)}, .args = &by_rows},
    {.name = "several blocks",
     .src = {M2(300, 7), M3(4, 270, 7), OFF(5, big)},
     .args = &by_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "one row", .src = {M2(1, 3), M3(1, 2, 3), OFF(2, one_expert)}, .args = &by_rows},
    {.name = "q8_0",
     .src = {M2(9, 32), {.dtype = RY_Q8_0, .rank = 3, .dim = {3, 4, 32}}, OFF(4, three)},
     .args = &by_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "mxfp4",
     .src = {M2(9, 64), {.dtype = RY_MXFP4, .rank = 3, .dim = {3, 5, 64}}, OFF(4, three)},
     .args = &by_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "many columns and rows, mxfp4",
     .src = {M2(40, 96), {.dtype = RY_MXFP4, .rank = 3, .dim = {3, 70, 96}}, OFF(4, forty)},
     .args = &by_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "a token, bf16",
     .src = {M2(4, 160), {.dtype = RY_BF16, .rank = 3, .dim = {5, 37, 160}}, OFF(6, token)},
     .args = &by_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "a token, mxfp4",
     .src = {M2(4, 2880), {.dtype = RY_MXFP4, .rank = 3, .dim = {32, 5760, 2880}}, OFF(33, token_of_32)},
     .args = &by_rows,
     .flags = RY_SAMPLE_BENCH},
    {.name = "mxfp4 in whole numbers",
     .src = {M2(9, 320), {.dtype = RY_MXFP4, .rank = 3, .dim = {3, 40, 320}}, OFF(4, three)},
     .args = &q8_rows,
     .flags = RY_SAMPLE_NO_GRAD,
     .tol = 0.02f},
    {.name = "q6_K in whole numbers",
     .src = {M2(9, 256), {.dtype = RY_Q6_K, .rank = 3, .dim = {3, 40, 256}}, OFF(4, three)},
     .args = &q8_rows,
     .flags = RY_SAMPLE_NO_GRAD,
     .tol = 0.02f},
    {.name = "2048 rows",
     .src = {M2(2048, 512), M3(4, 1024, 512), OFF(5, even)},
     .args = &by_rows,
     .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_sample dw_samples[] = {
    {.name = "three experts, one idle", .src = {M2(9, 4), M2(9, 5), OFF(4, three)}},
    {.name = "rows of no expert", .src = {M2(9, 4), M2(9, 3), OFF(3, outside)}},
    {.name = "several blocks", .src = {M2(300, 270), M2(300, 7), OFF(5, big)}, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "one row", .src = {M2(1, 3), M2(1, 2), OFF(2, one_expert)}},
    {.name = "2048 rows", .src = {M2(2048, 1024), M2(2048, 512), OFF(5, even)}, .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op grouped_matmul_row = {
    .name = "grouped_matmul",
    .doc = "x [R,K], w [E,K,N] (w_rows: [E,N,K]), offsets [E+1] -> [R,N]; rows of no expert are 0",
    .arg_size = sizeof(grouped_args),
    .args = args_of,
    .min_src = 3,
    .max_src = 3,
    .flags = RY_OP_CHECKED,
    .strided = 1u << X | 1u << W,
    .infer = infer,
    .work = work,
    .cpu = cpu,
    .variants = variants,
    .launch = launch,
    .lower = lower,
    .vjp = vjp,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};
static const ry_op grouped_matmul_dw_row = {
    .name = "grouped_matmul_dw",
    .doc = "a [R,N], b [R,K], offsets [E+1] -> [E,N,K] f32: a^T b over each expert's rows",
    .arg_size = sizeof(grouped_args),
    .args = args_of,
    .min_src = 3,
    .max_src = 3,
    .flags = RY_OP_CHECKED,
    .strided = 1u << DW_A | 1u << DW_B,
    .infer = dw_infer,
    .work = dw_work,
    .cpu = dw_cpu,
    .wgsl = "grouped_matmul.wgsl",
    .variants = variants,
    .launch = dw_launch,
    .lower = dw_lower,
    .vjp = dw_vjp,
    .cost = dw_cost,
    .tol = 1e-5f,
    .samples = dw_samples};

ry_tensor ry_grouped_matmul(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor offsets) {
    grouped_args args = {.product = (int32_t)ry_graph_product(g), .w_rows = true};
    const ry_spec *sw = ry_spec_of(g, w);
    if (sw && product_blocks(sw->dtype)) args.numerics = (int32_t)ry_graph_numerics_of(g);
    return RY_APPLY(g, &grouped_matmul_row, &args, x, w, offsets);
}

RY_OP_MODULE(grouped_matmul, &grouped_matmul_row, &grouped_matmul_dw_row);
