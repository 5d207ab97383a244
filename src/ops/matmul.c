/* matmul.c - matrix products with batches, any strides, a bias, and a quantised right side; ry_linear and ry_matmul.
 * Owns how batches and leading dims become rows and parts; the product itself is simd/gemm. */
#include "ops/_gemm.h"
#include "ops/fused.h"
#include "ops/linears.h"
#include "ops/product.h"
#include <rusty/ops.h>

typedef struct matmul_args {
    int32_t product; /* dtype of the factors */
    bool b_rows;     /* b is [..,N,K]: a linear layer's weight, or any right side kept by rows */
    int32_t numerics; /* ry_numerics: where b is of blocks */
} matmul_args;
static const ry_arg args_of[] = {RY_ARG(matmul_args, product, RY_ARG_I32),
                                 RY_ARG(matmul_args, b_rows, RY_ARG_BOOL),
                                 RY_ARG(matmul_args, numerics, RY_ARG_I32),
                                 {0}};

enum { A, W, BIAS };
static const ry_op matmul_row;

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const matmul_args *args = n->args;
    const ry_spec *a = &n->src[A]->spec, *b = &n->src[W]->spec;
    bool rows = args && args->b_rows;
    RY_TRY(product_check(n, args ? args->product : RY_NONE));
    RY_TRY(product_operand(n, A, "the left side"));
    RY_TRY(product_weight(n, W, "the right side"));
    if (a->rank < 2 || b->rank < 2)
        return ry_fail_node(n, RY_ESHAPE, "both sides need two dims, they are %s and %s", ry_show(a).s, ry_show(b).s);
    int64_t k = a->dim[a->rank - 1], kb = b->dim[b->rank - (rows ? 1 : 2)], nn = b->dim[b->rank - (rows ? 2 : 1)];
    if (k != kb)
        return ry_fail_node(n, RY_ESHAPE, "inner lengths differ: %s times %s%s has %lld and %lld", ry_show(a).s,
                            ry_show(b).s, rows ? " by rows" : "", (long long)k, (long long)kb);
    ry_spec ba = *a, bb = *b;
    ba.rank -= 2, bb.rank -= 2;
    if (ry_broadcast(&out[0], &ba, &bb) != RY_OK)
        return ry_fail_node(n, RY_ESHAPE, "batches of %s and %s do not broadcast", ry_show(a).s, ry_show(b).s);
    out[0].dim[out[0].rank++] = a->dim[a->rank - 2];
    out[0].dim[out[0].rank++] = nn;
    out[0].dtype = product_result(a->dtype, b->dtype);
    if (ry_numel(&out[0]) < 0)
        return ry_fail_node(n, RY_ESHAPE, "the product of %s and %s is too large", ry_show(a).s, ry_show(b).s);
    if (n->n_src > BIAS && n->src[BIAS]) {
        const ry_spec *s = &n->src[BIAS]->spec;
        if (!ry_is_float(s->dtype) || s->rank != 1 || s->dim[0] != nn)
            return ry_fail_node(n, RY_ESHAPE, "bias is %s, it must be [%lld] of floats", ry_show(s).s, (long long)nn);
    }
    return RY_OK;
}

/* The node as a batch of equal products. Batch dims that b does not have, and that continue a's rows, become rows. */
typedef struct layout {
    simd_gemm g; /* data pointers NULL */
    int rank;    /* batch dims left */
    int64_t dim[RY_MAX_RANK], sa[RY_MAX_RANK], sb[RY_MAX_RANK], batches;
    int64_t parts, group; /* parts of one product; or products of one part */
    int64_t columns;      /* of a round, where B is packed for all parts of it (g is the first round's); else all */
} layout;

enum {
    SMALL_FLOPS = 1000000, /* about ten microseconds */
    ROUND_BYTES = 16 << 20
}; /* of packed B, about: scratch */

static layout rows_and_batches(const ry_node *n) {
    const matmul_args *args = n->args;
    const ry_value *a = n->src[A], *b = n->src[W];
    const ry_spec *o = &n->out[0].spec;
    int ra = a->spec.rank, rb = b->spec.rank, batch = o->rank - 2;
    int bk = args->b_rows ? rb - 1 : rb - 2, bn = args->b_rows ? rb - 2 : rb - 1;
    layout l = {.batches = 1, .group = 1};
    l.g = (simd_gemm){.m = a->spec.dim[ra - 2],
                      .n = b->spec.dim[bn],
                      .k = a->spec.dim[ra - 1],
                      .a = {NULL, a->spec.dtype, a->stride[ra - 2], a->stride[ra - 1]},
                      .b = {NULL, b->spec.dtype, b->stride[bk], b->stride[bn]},
                      .c_dtype = o->dtype,
                      .product = product_of(args->product)};
    l.g.ldc = l.g.n;
    bool rows = true;
    for (int i = batch - 1; i >= 0; i--) {
        int ia = i - (batch - (ra - 2)), ib = i - (batch - (rb - 2));
        int64_t d = o->dim[i];
        int64_t sa = ia >= 0 && a->spec.dim[ia] != 1 ? a->stride[ia] : 0,
                sb = ib >= 0 && b->spec.dim[ib] != 1 ? b->stride[ib] : 0;
        if (d == 1) continue;
        if (rows && sb == 0 && (l.g.m == 1 || sa == l.g.m * l.g.a.rs)) {
            if (l.g.m == 1) l.g.a.rs = sa;
            l.g.m *= d;
            continue;
        }
        rows = false;
        l.dim[l.rank] = d, l.sa[l.rank] = sa, l.sb[l.rank++] = sb; /* innermost first */
        l.batches *= d;
    }
    if (ry_count(o) == 0) l.batches = 0;
    return l;
}

/* And cut into parts for the CPU: where B is packed for all, g is a round's columns. */
static layout lay_out(const ry_node *n) {
    layout l = rows_and_batches(n);
    if (l.batches == 0) return l;
    l.columns = l.g.n;
    const bool q8 = ((const matmul_args *)n->args)->numerics == RY_Q8;
    if (l.batches == 1 && !(q8 && simd_gemm_q8(&l.g)) && simd_gemm_share(&l.g)) {
        const int64_t rounds = (int64_t)(simd_gemm_panels(&l.g) / ROUND_BYTES) + 1;
        const int64_t unit = ry_dtype_row(l.g.b.dtype)->block > 64 ? ry_dtype_row(l.g.b.dtype)->block : 64;
        l.columns = ((l.g.n + rounds - 1) / rounds + unit - 1) / unit * unit;
        if (l.columns < l.g.n) l.g.n = l.columns;
    }
    l.parts = simd_gemm_parts(&l.g);
    double flops = 2.0 * (double)l.g.m * (double)l.g.n * (double)l.g.k;
    if (l.parts == 1 && flops < SMALL_FLOPS) {
        double fit = SMALL_FLOPS / (flops + 1000.0);
        l.group = fit < (double)l.batches ? (int64_t)fit : l.batches;
        if (l.group < 1) l.group = 1;
    }
    return l;
}

static const void *bias_of(const ry_node *n) { return n->n_src > BIAS ? n->src[BIAS] : NULL; }

/* A bias that is not f32 is converted, once a part. */
static size_t bias_bytes(const ry_node *n) {
    if (!bias_of(n) || n->src[BIAS]->spec.dtype == RY_F32) return 0;
    return (size_t)n->src[BIAS]->spec.dim[0] * sizeof(float);
}

static ry_work work(const ry_node *n) {
    layout l = lay_out(n);
    if (l.batches == 0) return (ry_work){0};
    if (l.g.shared || l.g.q8) {
        const int64_t all = n->out[0].spec.dim[n->out[0].spec.rank - 1], rounds = (all + l.columns - 1) / l.columns;
        simd_gemm rest = l.g;
        rest.n = all - (rounds - 1) * l.columns; /* cut otherwise, perhaps */
        const int64_t parts = simd_gemm_parts(&rest);
        const size_t local = simd_gemm_local(&rest), first = simd_gemm_local(&l.g);
        return (ry_work){.phases = 2,
                         .rounds = rounds,
                         .parts = {simd_gemm_pack_parts(&l.g), parts > l.parts ? parts : l.parts},
                         .scratch = simd_gemm_panels(&l.g),
                         .local = product_align(local > first ? local : first) + bias_bytes(n)};
    }
    ry_work w = {.parts = {l.parts > 1 ? l.batches * l.parts : (l.batches + l.group - 1) / l.group}};
    w.local = product_align(simd_gemm_local(&l.g)) + bias_bytes(n);
    return w;
}

/* A round's columns of one product whose B is packed for all parts, or all of one whose A is rounded for them: first that, then
 * multiplying. */
static ry_status round_part(const ry_cpu *c, const layout *l) {
    const ry_node *n = c->n;
    simd_gemm g = l->g;
    const int64_t j = c->round * l->columns, left = g.ldc - j;
    if (left < g.n) g.n = left;
    g.a.data = c->src[A];
    g.b.data = product_at(c->src[W], g.b.dtype, j * g.b.cs);
    g.panels = c->scratch;
    if (c->phase == 0) {
        if (c->part < simd_gemm_pack_parts(&g)) simd_gemm_pack(&g, c->part);
        return RY_OK;
    }
    if (c->part >= simd_gemm_parts(&g)) return RY_OK;
    g.c = (char *)c->out[0] + ry_bytes_of(g.c_dtype, j);
    if (bias_of(n))
        g.bias = ry_load_row(c->src[BIAS], n->src[BIAS]->spec.dtype, j, g.n,
                             (float *)((char *)c->local + product_align(simd_gemm_local(&g))));
    simd_gemm_part(&g, c->part, c->local);
    return RY_OK;
}

static ry_status cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    layout l = lay_out(n);
    if (l.batches == 0) return RY_OK;
    simd_gemm g = l.g;
    if (g.shared || g.q8) return round_part(c, &l);
    if (bias_of(n))
        g.bias = ry_load_row(c->src[BIAS], n->src[BIAS]->spec.dtype, 0, g.n,
                             (float *)((char *)c->local + product_align(simd_gemm_local(&l.g))));
    int64_t first = l.parts > 1 ? c->part / l.parts : c->part * l.group, last = first + l.group;
    if (last > l.batches) last = l.batches;
    for (int64_t i = first; i < last; i++) {
        int64_t at = i, oa = 0, ob = 0;
        for (int d = 0; d < l.rank; d++) {
            oa += at % l.dim[d] * l.sa[d], ob += at % l.dim[d] * l.sb[d];
            at /= l.dim[d];
        }
        g.a.data = product_at(c->src[A], g.a.dtype, oa);
        g.b.data = product_at(c->src[W], g.b.dtype, ob);
        g.c = (char *)c->out[0] + ry_bytes_of(g.c_dtype, i * g.m * g.n);
        simd_gemm_part(&g, l.parts > 1 ? c->part % l.parts : 0, c->local);
    }
    return RY_OK;
}

/* ---- kernels: matmul.wgsl ---- */

enum { BY_TILES, DOT, ACROSS, EACH }; /* KERNEL there */
enum {
    FEW = 8, /* vectors that share one pass over a matrix */
    THREADS = 128 * 1024
}; /* that keep a large chip's memory busy */

typedef struct shape {
    layout l;
    gemm_side a, b;
    int64_t ldc; /* from row to row of C: more than its columns in a piece of a cut node */
} shape;

static shape shape_of(const ry_node *n) {
    shape s = {.l = rows_and_batches(n), .ldc = n->out[0].stride[n->out[0].spec.rank - 2]};
    const simd_gemm *g = &s.l.g;
    s.a = gemm_side_of(g->a.rs, g->a.cs, g->m, g->k);
    s.b = gemm_side_of(g->b.cs, g->b.rs, g->n, g->k);
    gemm_batch(&s.a, s.l.rank, s.l.sa);
    gemm_batch(&s.b, s.l.rank, s.l.sb);
    return s;
}

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t tiles_of(const shape *s, int bm, int bn) {
    return div_up(s->l.g.m, bm) * div_up(s->l.g.n, bn) * s->l.batches;
}

/* Few rows times b, or few columns times a, whose kind is `kind`. */
static bool is_thin(const shape *s, int kind, bool *swap) {
    *swap = !(s->l.g.m <= FEW && s->b.kind == kind);
    return !*swap || (s->l.g.n <= FEW && s->a.kind == kind);
}
static bool when_dot(const ry_node *n, const ry_caps *caps) {
    shape s = shape_of(n);
    bool swap;
    (void)caps;
    return is_thin(&s, 0, &swap);
}
static bool when_dot_alone(const ry_node *n, const ry_caps *caps) { return !n->tail && when_dot(n, caps); } /* tails take fours */
static bool when_across(const ry_node *n, const ry_caps *caps) {
    shape s = shape_of(n);
    bool swap;
    return is_thin(&s, 1, &swap) && (!(caps->features & RY_FEATURE_SOFTWARE) || s.l.g.k < 65000 * 64);
}
static bool when_tiny(const ry_node *n, const ry_caps *caps) {
    const simd_gemm g = rows_and_batches(n).g;
    (void)caps;
    return (g.m <= 16 && g.n <= 16 && g.k <= 256) || ((g.m <= FEW || g.n <= FEW) && g.k <= 32);
}
/* A sum over a few rows or columns that is long: among so many groups as are wanted. Not in pieces of columns, whose C has gaps. */
enum { SHARED_K = 256, THIN_GROUPS = 512 };
static int64_t thin_parts(const shape *s, int bm, int bn) {
    int64_t tiles = tiles_of(s, bm, bn), parts = tiles ? THIN_GROUPS / tiles : 1, most = s->l.g.k / SHARED_K;
    return parts < most ? parts : most;
}
static bool may_share(const shape *s, int64_t least) { return s->l.g.k >= least && s->ldc == s->l.g.n; }
static bool thin_shared(const ry_node *n, const ry_caps *caps, int bm, int bn, int bk, int tm, int tn) {
    shape s = shape_of(n);
    return may_share(&s, 1024) && gemm_fits(caps, bm, bn, bk, tm, tn, 1, 0) && thin_parts(&s, bm, bn) > 1;
}
static bool when_thin_split(const ry_node *n, const ry_caps *caps) {
    return rows_and_batches(n).g.m <= 48 && thin_shared(n, caps, 32, 64, 32, 4, 4);
}
static bool when_narrow_split(const ry_node *n, const ry_caps *caps) {
    const simd_gemm g = rows_and_batches(n).g;
    return g.n <= 48 && g.m >= 128 && thin_shared(n, caps, 128, 32, 16, 8, 4);
}
static bool when_128x32(const ry_node *n, const ry_caps *caps) {
    const simd_gemm g = rows_and_batches(n).g;
    return g.n <= 48 && g.m >= 128 && gemm_fits(caps, 128, 32, 16, 8, 4, 1, g.k);
}

/* Tiles for all else: M, N, K of a step, M and N of a thread, buffers; groups on a multiprocessor and what they make, in TFLOPS. Larger
 * ones read less and leave more of a chip idle at the end: the model says which is fastest, and how it shares K. */
#define TILES(T)                              \
    T(0, 128, 128, 8, 8, 16, 1, 2, 46.5)      \
    T(1, 128, 96, 16, 8, 12, 1, 2, 47.5)      \
    T(2, 64, 128, 8, 8, 8, 2, 4, 43)          \
    T(3, 64, 128, 16, 8, 8, 2, 1, 40)         \
    T(4, 64, 64, 16, 4, 8, 1, 5, 36)          \
    T(5, 32, 64, 16, 4, 4, 2, 8, 30)
#define SPEED(i, bm, bn, bk, tm, tn, db, at_once, tflops) {bm, bn, bk, at_once, tflops},
static const gemm_speed speeds[] = {TILES(SPEED)};
enum { N_TILES = sizeof speeds / sizeof *speeds };
#define FITS(i, bm, bn, bk, tm, tn, db, at_once, tflops) \
    case i: return gemm_fits(caps, bm, bn, bk, tm, tn, db, s->l.g.k);
static bool fits(const shape *s, const ry_caps *caps, int tile) {
    switch (tile) { TILES(FITS) }
    return false;
}
static gemm_deal deal_of(const shape *s, const ry_caps *caps, const gemm_speed *t) {
    return gemm_deal_of(t, caps, tiles_of(s, t->bm, t->bn), s->l.g.k, may_share(s, 2 * SHARED_K));
}
/* The fastest tile, or N_TILES: none. */
static int best_tile(const shape *s, const ry_caps *caps, double *seconds) {
    int best = N_TILES;
    for (int i = 0; i < N_TILES; i++) {
        if (!fits(s, caps, i)) continue;
        double x = deal_of(s, caps, &speeds[i]).seconds;
        if (best == N_TILES || x < *seconds) best = i, *seconds = x;
    }
    return best;
}
/* first: the best one; else others that may be as good on a chip that the model does not know. */
static bool when_tile(const ry_node *n, const ry_caps *caps, int tile, bool first) {
    shape s = shape_of(n);
    double seconds = 0;
    if (!fits(&s, caps, tile)) return false;
    bool best = best_tile(&s, caps, &seconds) == tile;
    return first ? best : !best && deal_of(&s, caps, &speeds[tile]).seconds < 1.5 * seconds;
}
#define WHEN(i, ...)                                                                                          \
    static bool when_##i(const ry_node *n, const ry_caps *caps) { return when_tile(n, caps, i, true); } \
    static bool late_##i(const ry_node *n, const ry_caps *caps) { return when_tile(n, caps, i, false); }
TILES(WHEN)
static bool when_each(const ry_node *n, const ry_caps *caps) { /* slow where much is to be done, but always possible */
    shape s = shape_of(n);
    const simd_gemm *g = &s.l.g;
    double seconds = 0;
    return best_tile(&s, caps, &seconds) == N_TILES || (double)g->m * (double)g->n * (double)g->k < 1e6;
}
#define KNOBS(bm, bn, bk, tm, tn, db) \
    .knobs = {{"KERNEL", BY_TILES}, {"BM", bm}, {"BN", bn}, {"BK", bk}, {"TM", tm}, {"TN", tn}, {"DB", db}}
/* The best one first; the search tries the others too. */
#define FIRST(i, bm, bn, bk, tm, tn, db, at_once, tflops) {.name = #bm "x" #bn " by " #bk, .when = when_##i, KNOBS(bm, bn, bk, tm, tn, db)},
#define LATE(i, bm, bn, bk, tm, tn, db, at_once, tflops) {.name = #bm "x" #bn " by " #bk, .when = late_##i, KNOBS(bm, bn, bk, tm, tn, db)},
static const ry_variant variants[] = {
    {.name = "tiny", .when = when_tiny, .knobs = {{"KERNEL", EACH}}},
    {.name = "dot 4", .when = when_dot, .knobs = {{"KERNEL", DOT}, {"NR", 4}}},
    {.name = "dot 2", .when = when_dot_alone, .knobs = {{"KERNEL", DOT}, {"NR", 2}}},
    {.name = "dot 1", .when = when_dot_alone, .knobs = {{"KERNEL", DOT}, {"NR", 1}}},
    {.name = "across", .when = when_across, .knobs = {{"KERNEL", ACROSS}, {"LANES", 16}}},
    {.name = "split 32x64", .when = when_thin_split, KNOBS(32, 64, 32, 4, 4, 1)},
    {.name = "split 128x32", .when = when_narrow_split, KNOBS(128, 32, 16, 8, 4, 1)},
    {.name = "128x32", .when = when_128x32, KNOBS(128, 32, 16, 8, 4, 1)},
    TILES(FIRST) TILES(LATE)
    {.name = "each", .when = when_each, .knobs = {{"KERNEL", EACH}}},
    {0}};

static void batch_walk(ry_launch *l, const char *name, const layout *x, const int64_t *stride) {
    int64_t dim[RY_MAX_RANK], s[RY_MAX_RANK];
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[x->rank - 1 - i], s[i] = stride[x->rank - 1 - i];
    ry_launch_walk_strides(l, name, x->rank, dim, s);
}

/* Partial sums in tmp, `splits` of them, and the dispatch that adds them up. */
static void finish(ry_launch *l, int64_t splits, int64_t count, int threads, int64_t quads) {
    l->scratch = (size_t)(splits * count) * sizeof(float);
    ry_launch_u32(l, "quads", quads);
    ry_launch_run(l, "finish", div_up(quads, threads), 0);
}

static void launch_tiles(ry_launch *l, const ry_variant *v, const shape *s) {
    const simd_gemm *g = &s->l.g;
    const int bm = gemm_knob(v, "BM"), bn = gemm_knob(v, "BN"), bk = gemm_knob(v, "BK");
    gemm_speed tile = {bm, bn, bk, 1, 1};
    gemm_deal d = gemm_deal_even(&tile, tiles_of(s, bm, bn), g->k, v->when == when_thin_split || v->when == when_narrow_split ? thin_parts(s, bm, bn) : 1);
    for (int i = 0; i < N_TILES; i++)
        if (speeds[i].bm == bm && speeds[i].bn == bn && speeds[i].bk == bk) d = deal_of(s, l->caps, &speeds[i]);
    ry_launch_knob_set(l, "SPLIT", d.parts > 1);
    gemm_tile(l, &s->a, &s->b);
    if (s->l.batches != 1) batch_walk(l, "batch_a", &s->l, s->l.sa), batch_walk(l, "batch_b", &s->l, s->l.sb);
    ry_launch_knob_set(l, "GROUPED", 0);
    ry_launch_knob_set(l, "BATCH", s->l.batches != 1);
    ry_launch_knob_set(l, "SAFE", g->k < bk);
    ry_launch_knob_set(l, "EDGE_M", g->m % bm == 0 ? 0 : g->m < bm ? 1 : 2);
    ry_launch_knob_set(l, "EDGE_N", g->n % bn == 0 ? 0 : g->n < bn || g->n % 4 ? 1 : 2);
    gemm_deal_set(l, &d);
    ry_launch_run(l, "main", gemm_deal_groups(&d), 0);
    if (d.parts == 1) return;
    l->scratch = gemm_deal_bytes(&tile, &d);
    l->vec |= RY_USES_SCRATCH;
    ry_launch_run(l, "main_sum", d.shared * gemm_knob(v, "TM") * gemm_knob(v, "TN") / 4, 0);
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const matmul_args *args = n->args;
    shape s = shape_of(n);
    const simd_gemm *g = &s.l.g;
    int kernel = gemm_knob(v, "KERNEL");
    bool swap = false, split = false, bf16 = product_of(args->product) == RY_BF16;
    if (kernel == DOT) is_thin(&s, 0, &swap);
    if (kernel == ACROSS) is_thin(&s, 1, &swap);
    ry_launch_u32(l, "m", swap ? g->n : g->m);
    ry_launch_u32(l, "n", swap ? g->m : g->n);
    ry_launch_u32(l, "k", g->k);
    ry_launch_u32(l, "c_r", s.ldc);
    ry_launch_u32(l, "c_z", g->m * s.ldc);
    ry_launch_knob_set(l, "BF16", bf16 && !(g->a.dtype == RY_BF16 && g->b.dtype == RY_BF16));
    ry_launch_knob_set(l, "BIAS", bias_of(n) != NULL);
    ry_launch_knob_set(l, "SWAP", swap);
    if (!swap && g->n % 4 == 0 && s.ldc % 4 == 0 && (kernel != DOT || gemm_knob(v, "NR") == 4))
        l->vec |= RY_USES_SRC(BIAS) | RY_USES_OUT(0);
    if (g->n % 4 == 0) l->vec |= RY_USES_SCRATCH;
    RY_TRY(fused_tail(n, l, 1));
    if (kernel == BY_TILES) {
        launch_tiles(l, v, &s);
        return RY_OK;
    }
    const gemm_side *x = swap ? &s.b : &s.a, *w = swap ? &s.a : &s.b;
    int64_t m = swap ? g->n : g->m, rows = swap ? g->m : g->n;
    ry_launch_knob_set(l, "X", swap);
    ry_launch_knob_set(l, "W", !swap);
    ry_launch_knob_set(l, "X_KIND", x->kind);
    ry_launch_knob_set(l, "W_KIND", w->kind);
    ry_launch_u32(l, "x_r", x->r);
    ry_launch_u32(l, "x_k", x->kind ? x->k : 1);
    ry_launch_u32(l, "w_r", w->kind == 1 ? 1 : w->r);
    ry_launch_u32(l, "w_k", w->kind ? w->k : 1);
    batch_walk(l, "batch_x", &s.l, swap ? s.l.sb : s.l.sa);
    batch_walk(l, "batch_w", &s.l, swap ? s.l.sa : s.l.sb);
    if (x->fours && x->kind == 0) l->vec |= RY_USES_SRC(swap ? W : A);
    if (w->fours) l->vec |= RY_USES_SRC(swap ? A : W);
    ry_launch_knob_set(l, "MR", m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8);
    int64_t quads = s.l.batches * m * div_up(rows, 4);
    if (kernel == DOT) {
        int nr = gemm_knob(v, "NR"), threads = 32;
        int64_t groups = div_up(rows, nr) * s.l.batches;
        while (threads < 256 && groups * threads < THREADS && threads * 4 < g->k) threads *= 2;
        ry_launch_knob_set(l, "SPLIT", 0);
        ry_launch_knob_set(l, "WG", threads);
        ry_launch_u32(l, "tiles", div_up(rows, nr));
        ry_launch_run(l, "main", groups, 0);
    } else if (kernel == ACROSS) {
        enum { GROUP = 256 };
        int lanes = gemm_knob(v, "LANES");
        int64_t tiles = div_up(rows, 4 * lanes), slices = GROUP / lanes, per = g->k, splits = 1;
        while (tiles * s.l.batches * splits * GROUP < THREADS && per > 16 * slices)
            splits *= 2, per = div_up(g->k, splits);
        per = div_up(per, 4) * 4;
        splits = g->k ? div_up(g->k, per) : 1;
        split = splits > 1;
        ry_launch_knob_set(l, "SPLIT", split);
        ry_launch_knob_set(l, "WG", GROUP);
        ry_launch_knob_set(l, "W_QUAD", w->fours ? 4 : 1);
        ry_launch_u32(l, "tiles", tiles);
        ry_launch_u32(l, "splits", splits);
        ry_launch_u32(l, "per_split", per);
        ry_launch_run(l, "main", tiles * splits * s.l.batches, 0);
        if (rows % 4 == 0)
            l->vec |= RY_USES_SCRATCH;
        else
            l->vec &= ~RY_USES_SCRATCH;
        if (split) finish(l, splits, s.l.batches * m * rows, GROUP, quads);
    } else {
        ry_launch_knob_set(l, "SPLIT", 0);
        ry_launch_knob_set(l, "WG", 64);
        ry_launch_u32(l, "quads", quads);
        ry_launch_run(l, "main", div_up(quads, 64), 0);
    }
    return RY_OK;
}

bool product_is_linear(const ry_node *n) {
    const matmul_args *args = n->args;
    return args->b_rows && product_of(args->product) == RY_F32;
}

static bool join(ry_joiner *j, ry_node *n) {
    if (n->tail) return false;
    if (linears_join(j, n)) return true;
    int64_t across = n->out[0].spec.dim[n->out[0].spec.rank - 1];
    return across % 4 == 0 && across > FEW && join_tail(j, n); /* a C that is written turned has none */
}

/* In pieces: of N where b is the largest and its columns are its outermost dim, else of the outermost dim of C. */
static bool cut(const ry_node *n, ry_cut *c) {
    const matmul_args *args = n->args;
    const ry_value *a = n->src[A], *b = n->src[W];
    const ry_spec *o = &n->out[0].spec;
    int ra = a->spec.rank, rb = b->spec.rank, r = o->rank, bn = args->b_rows ? rb - 2 : rb - 1,
        bk = args->b_rows ? rb - 1 : rb - 2;
    int64_t largest = ry_count(&a->spec) > ry_count(o) ? ry_count(&a->spec) : ry_count(o);
    int8_t *out = &c->axis[RY_OPERAND_OUT];
    if (ry_count(&b->spec) > largest && ry_count_range(&b->spec, 0, rb - 2) == 1 &&
        b->stride[bn] >= b->stride[bk] * b->spec.dim[bk]) {
        c->length = o->dim[r - 1];
        c->axis[W] = (int8_t)bn, out[0] = (int8_t)(r - 1);
        if (bias_of(n)) c->axis[BIAS] = 0;
        return true;
    }
    int axis = 0;
    while (axis < r - 2 && o->dim[axis] == 1) axis++;
    int ia = axis - (r - ra), ib = axis - (r - rb);
    c->length = o->dim[axis];
    out[0] = (int8_t)axis;
    if (ia >= 0 && a->spec.dim[ia] == c->length) c->axis[A] = (int8_t)ia;
    if (ib >= 0 && ib < rb - 2 && b->spec.dim[ib] == c->length) c->axis[W] = (int8_t)ib;
    return true;
}

static ry_cost cost(const ry_node *n) {
    const ry_spec *a = &n->src[A]->spec, *b = &n->src[W]->spec, *o = &n->out[0].spec;
    double bytes_b = (double)ry_bytes_of(b->dtype, ry_count(b));
    return (ry_cost){.flops = 2.0 * (double)ry_count(o) * (double)a->dim[a->rank - 1],
                     .bytes = (double)ry_bytes_of(a->dtype, ry_count(a)) + bytes_b +
                              (double)ry_bytes_of(o->dtype, ry_count(o))};
}

static ry_tensor swap_last(ry_graph *g, ry_tensor x) { return ry_transpose(g, x, -1, -2); }

static ry_tensor as_rows(ry_graph *g, ry_tensor x) { /* [..,C] -> [R,C] */
    const ry_spec *s = ry_spec_of(g, x);
    if (!s || s->rank == 2) return x;
    return RY_RESHAPE(g, x, ry_count_range(s, 0, s->rank - 1), s->dim[s->rank - 1]);
}

/* Every product keeps its right side as it lies: the gradient to a reads b the other way round. */
static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const matmul_args *args = n->args;
    ry_tensor a = ry_src(g, n, A), b = ry_src(g, n, W), up = gy[0];
    const ry_spec *sb = &n->src[W]->spec, *so = &n->out[0].spec;
    gx[A] = RY_APPLY(g, &matmul_row, (&(matmul_args){args->product, !args->b_rows, RY_EXACT}), up, b);
    if (ry_is_float(sb->dtype)) {
        ry_tensor left = args->b_rows ? up : a, right = args->b_rows ? a : up;
        bool flat = ry_count_range(sb, 0, sb->rank - 2) == 1 && n->src[A]->spec.rank == so->rank;
        if (flat)
            left = as_rows(g, left),
            right = as_rows(g, right); /* one b for all rows: no batched product to be summed */
        gx[W] = RY_APPLY(g, &matmul_row, (&(matmul_args){args->product, false, RY_EXACT}), swap_last(g, left), right);
        if (flat) gx[W] = ry_reshape_like(g, gx[W], sb);
    }
    if (bias_of(n)) {
        ry_axes leading = 0;
        for (int i = 0; i < so->rank - 1; i++) leading |= RY_AXIS(i);
        gx[BIAS] = ry_sum(g, up, leading, false);
    }
    return RY_OK;
}

/* Broadcast, multiply, add up: the definition. */
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const matmul_args *args = n->args;
    ry_tensor a = ry_src(g, n, A), b = ry_cast(g, ry_src(g, n, W), RY_F32);
    if (!args->b_rows) b = swap_last(g, b);
    if (product_of(args->product) == RY_BF16)
        a = ry_cast(g, a, RY_BF16), b = ry_cast(g, ry_cast(g, b, RY_BF16), RY_F32);
    a = ry_cast(g, a, RY_F32);
    const ry_spec *sa = ry_spec_of(g, a), *sb = ry_spec_of(g, b);
    if (!sa || !sb) return ry_graph_status(g);
    if (n->out[0].spec.rank >= RY_MAX_RANK)
        return ry_fail_node(n, RY_EUNSUPPORTED, "lowered products have at most %d dims", RY_MAX_RANK - 1);
    int64_t da[RY_MAX_RANK], db[RY_MAX_RANK];
    int ra = 0, rb = 0;
    for (int i = 0; i < sa->rank; i++) {
        if (i == sa->rank - 1) da[ra++] = 1;
        da[ra++] = sa->dim[i];
    }
    for (int i = 0; i < sb->rank; i++) {
        if (i == sb->rank - 2) db[rb++] = 1;
        db[rb++] = sb->dim[i];
    }
    ry_tensor y = ry_sum(g, ry_mul(g, ry_reshape(g, a, ra, da), ry_reshape(g, b, rb, db)), RY_AXIS(-1), false);
    if (bias_of(n)) y = ry_add(g, y, ry_cast(g, ry_src(g, n, BIAS), RY_F32));
    out[0] = ry_cast(g, y, n->out[0].spec.dtype);
    return RY_OK;
}

static const matmul_args by_rows = {.b_rows = true}, bf16_args = {.product = RY_BF16},
                         bf16_rows = {.product = RY_BF16, .b_rows = true},
                         q8_rows = {.b_rows = true, .numerics = RY_Q8};
#define M2(r, c)                                    \
    {                                               \
        .dtype = RY_F32, .rank = 2, .dim = { r, c } \
    }
#define M3(b, r, c)                                    \
    {                                                  \
        .dtype = RY_F32, .rank = 3, .dim = { b, r, c } \
    }
#define M4(x, b, r, c)                                    \
    {                                                     \
        .dtype = RY_F32, .rank = 4, .dim = { x, b, r, c } \
    }
#define V1(c)                                    \
    {                                            \
        .dtype = RY_F32, .rank = 1, .dim = { c } \
    }
static const ry_sample samples[] = {
    {.name = "plain", .src = {M2(4, 6), M2(6, 5)}, .n_src = 2},
    {.name = "linear", .src = {M3(2, 3, 8), M2(5, 8), V1(5)}, .n_src = 3, .args = &by_rows},
    {.name = "ragged", .src = {M2(67, 45), M2(45, 83)}, .n_src = 2},
    {.name = "packed once", .src = {M2(650, 33), M2(33, 70)}, .n_src = 2},
    {.name = "packed once by rows", .src = {M3(2, 330, 34), M2(67, 34), V1(67)}, .n_src = 3, .args = &by_rows},
    {.name = "batches", .src = {M4(2, 1, 3, 4), M3(3, 4, 5)}, .n_src = 2},
    {.name = "one matrix for a batch", .src = {M2(3, 4), M3(2, 4, 5), V1(5)}, .n_src = 3},
    {.name = "batch by rows", .src = {M3(3, 7, 4), M3(3, 5, 4)}, .n_src = 2, .args = &by_rows},
    {.name = "one element", .src = {M2(1, 1), M2(1, 1)}, .n_src = 2},
    {.name = "empty inner", .src = {M2(3, 0), M2(0, 4), V1(4)}, .n_src = 3},
    {.name = "empty rows", .src = {M3(2, 0, 4), M2(4, 3)}, .n_src = 2},
    {.name = "one row", .src = {M2(1, 70), M2(37, 70), V1(37)}, .n_src = 3, .args = &by_rows},
    {.name = "bf16 factors",
     .src = {M2(9, 40), M2(17, 40)},
     .n_src = 2,
     .args = &bf16_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "q8_0 by rows",
     .src = {M2(5, 64), {.dtype = RY_Q8_0, .rank = 2, .dim = {33, 64}}, V1(33)},
     .n_src = 3,
     .args = &by_rows,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "q8_0",
     .src = {M2(5, 33), {.dtype = RY_Q8_0, .rank = 2, .dim = {33, 64}}},
     .n_src = 2,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "q4_K by rows",
     .src = {M3(2, 3, 256), {.dtype = RY_Q4_K, .rank = 2, .dim = {37, 256}}},
     .n_src = 2,
     .args = &by_rows},
    {.name = "q4_K in whole numbers",
     .src = {M3(2, 3, 512), {.dtype = RY_Q4_K, .rank = 2, .dim = {37, 512}}, V1(37)},
     .n_src = 3,
     .args = &q8_rows,
     .flags = RY_SAMPLE_NO_GRAD,
     .tol = 0.02f},
    {.name = "q8_0 in whole numbers",
     .src = {M2(1, 352), {.dtype = RY_Q8_0, .rank = 2, .dim = {50, 352}}},
     .n_src = 2,
     .args = &q8_rows,
     .flags = RY_SAMPLE_NO_GRAD,
     .tol = 0.02f},
    {.name = "1024", .src = {M2(1024, 1024), M2(1024, 1024)}, .n_src = 2, .flags = RY_SAMPLE_BENCH},
    {.name = "1024 bf16 factors",
     .src = {M2(1024, 1024), M2(1024, 1024)},
     .n_src = 2,
     .args = &bf16_args,
     .flags = RY_SAMPLE_BENCH},
    {.name = "decode", .src = {M2(1, 2048), M2(8192, 2048)}, .n_src = 2, .args = &by_rows, .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op matmul_row = {.name = "matmul",
                                 .doc = "a [..,T,K], b [..,K,N] (b_rows: [..,N,K]), bias [N] or none -> [..,T,N]",
                                 .arg_size = sizeof(matmul_args),
                                 .args = args_of,
                                 .min_src = 2,
                                 .max_src = 3,
                                 .strided = 1u << A | 1u << W,
                                 .optional = 1u << BIAS,
                                 .infer = infer,
                                 .work = work,
                                 .cpu = cpu,
                                 .variants = variants,
                                 .launch = launch,
                                 .join = join,
                                 .cut = cut,
                                 .lower = lower,
                                 .vjp = vjp,
                                 .cost = cost,
                                 .tol = 1e-5f,
                                 .samples = samples};

/* f64 is stored, never multiplied. */
static ry_tensor product(ry_graph *g, ry_tensor a, ry_tensor b, ry_tensor bias, bool b_rows) {
    const ry_spec *sa = ry_spec_of(g, a), *sb = ry_spec_of(g, b);
    matmul_args args = {.product = (int32_t)ry_graph_product(g), .b_rows = b_rows};
    if (sb && product_blocks(sb->dtype)) args.numerics = (int32_t)ry_graph_numerics_of(g);
    bool wide = (sa && sa->dtype == RY_F64) || (sb && sb->dtype == RY_F64);
    if (sa && sa->dtype == RY_F64) a = ry_cast(g, a, RY_F32);
    if (sb && sb->dtype == RY_F64) b = ry_cast(g, b, RY_F32);
    ry_tensor y = ry_apply_row(g, &matmul_row, ry_is_null(bias) ? 2 : 3, (ry_tensor[]){a, b, bias}, &args);
    return wide ? ry_cast(g, y, RY_F64) : y;
}

ry_tensor ry_matmul(ry_graph *g, ry_tensor a, ry_tensor b) {
    const ry_spec *sa = ry_spec_of(g, a), *sb = ry_spec_of(g, b);
    bool row = sa && sa->rank == 1, column = sb && sb->rank == 1;
    if (row) a = RY_RESHAPE(g, a, 1, sa->dim[0]);
    if (column) b = RY_RESHAPE(g, b, sb->dim[0], 1);
    ry_tensor y = product(g, a, b, RY_NULL, false);
    const ry_spec *sy = ry_spec_of(g, y);
    if (!sy || (!row && !column)) return y;
    int64_t dim[RY_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < sy->rank; i++)
        if (!(row && i == sy->rank - 2) && !(column && i == sy->rank - 1)) dim[rank++] = sy->dim[i];
    return ry_reshape(g, y, rank, dim);
}

ry_tensor ry_linear(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b) {
    const ry_spec *s = ry_spec_of(g, x), *sw = ry_spec_of(g, w);
    if (sw && sw->rank != 2) return ry_graph_fail(g, RY_ESHAPE, "linear: w is %s, it must be [N,K]", ry_show(sw).s);
    if (!s || s->rank != 1) return product(g, x, w, b, true);
    ry_tensor y = product(g, RY_RESHAPE(g, x, 1, s->dim[0]), w, b, true);
    const ry_spec *sy = ry_spec_of(g, y);
    return sy ? RY_RESHAPE(g, y, sy->dim[1]) : y;
}

RY_OP_MODULE(matmul, &matmul_row);
