/* attention_grad.c - attention's backward pass, tile by tile (Dao 2023, "FlashAttention-2"): scores are computed again from q, k and
 * the log-sum-exp.  Owns the row attention_grad.
 *
 * A part owns the keys of one key head in one batch, or every n-th block of them, and adds to their dK and dV for all queries. Where a
 * key head has one part, that part adds dQ too; where it has several, each keeps its own dQ and a second phase adds them in order.
 * All sums thus run in an order that shapes decide.
 *
 * Tiles lie with keys as rows and queries as columns: then gemm reads K, V and the tiles where they lie, only small pieces of q and of
 * the gradient are packed; minus the log-sum-exp, and minus the row sums of o times its gradient, are what the products start from; and
 * exp runs over a whole tile. */
#include "ops/attention/attention.h"
#include "simd/map.h"
#include "simd/rows.h"
#include <math.h>
#include <rusty/ops.h>
#include <string.h>

enum { OUT = ATT_V + 1, LSE, UP, UP_LSE, OPTIONS };

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(attention_check(n, OPTIONS));
    const ry_spec *q = &n->src[ATT_Q]->spec, *v = &n->src[ATT_V]->spec;
    ry_spec o = *q, lse = {.dtype = RY_F32, .rank = 3, .dim = {q->dim[0], q->dim[2], q->dim[1]}};
    o.dim[3] = v->dim[3];
    for (int i = OUT; i <= UP; i++) {
        if (i == LSE) continue;
        RY_TRY(product_operand(n, i, i == OUT ? "o" : "its gradient"));
        if (!ry_same_shape(&n->src[i]->spec, &o))
            return ry_fail_node(n, RY_ESHAPE, "%s is %s, it must have the shape of %s", i == OUT ? "o" : "its gradient",
                                ry_show(&n->src[i]->spec).s, ry_show(&o).s);
    }
    for (int i = LSE; i <= UP_LSE; i += UP_LSE - LSE)
        if (i < n->n_src && n->src[i] &&
            (!ry_is_float(n->src[i]->spec.dtype) || !ry_same_shape(&n->src[i]->spec, &lse)))
            return ry_fail_node(n, RY_ESHAPE, "%s is %s, it must be %s", i == LSE ? "lse" : "its gradient",
                                ry_show(&n->src[i]->spec).s, ry_show(&lse).s);
    for (int i = ATT_Q; i <= ATT_V; i++) {
        out[i] = n->src[i]->spec;
        out[i].dtype = RY_F32;
    }
    return RY_OK;
}

enum { KEYS = 256, QUERIES = 64, LD = QUERIES }; /* a tile, and its row step: whole vectors */
enum { ENOUGH_PARTS = 48, MOST_PARTIAL_BYTES = 64 << 20, MOST_KEPT_BYTES = 256 << 20 };

/* Parts of one key head. */
static int64_t splits_of(const attention_job *j) {
    int64_t heads = j->B * j->G, blocks = (j->S + KEYS - 1) / KEYS;
    if (heads == 0 || heads >= ENOUGH_PARTS || blocks < 2) return 1;
    int64_t want = ENOUGH_PARTS / heads, splits = want < blocks ? want : blocks;
    double one = 4.0 * (double)(j->B * j->T) * (double)(j->H * j->D);
    while (splits > 1 && one * (double)splits > MOST_PARTIAL_BYTES) splits--;
    return splits;
}

typedef struct buffers {   /* of a part, in local */
    float *p, *ds, *slope; /* tiles: weights, gradients of scores, slopes of the cap */
    float *lse, *d;        /* what they start from, a value for each query */
    float *row;            /* two rows of o, or one of the mask */
    void *gemm;
} buffers;

static size_t local_floats(const attention_job *j) {
    size_t row = 2 * (size_t)j->Dv > KEYS ? 2 * (size_t)j->Dv : KEYS;
    return (size_t)(KEYS * LD) * (j->cap > 0 ? 3 : 2) + 2 * LD + row;
}

static buffers buffers_of(const attention_job *j, void *local) {
    buffers b = {.p = local};
    b.ds = b.p + KEYS * LD;
    b.slope = j->cap > 0 ? b.ds + KEYS * LD : NULL;
    b.lse = b.ds + KEYS * LD * (j->cap > 0 ? 2 : 1);
    b.d = b.lse + LD;
    b.row = b.d + LD;
    b.gemm = (char *)local + product_align(local_floats(j) * sizeof(float));
    return b;
}

static ry_work work(const ry_node *n) {
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    if (j.B * j.G == 0) return (ry_work){0};
    int64_t keys = j.S < KEYS ? j.S : KEYS, rows = j.T < QUERIES ? j.T : QUERIES, splits = splits_of(&j);
    attention_operand up = attention_of(n->src[UP], NULL, UP);
    simd_mat tile = {NULL, RY_F32, LD, 1}, turned = {NULL, RY_F32, 1, LD};
    simd_mat q = {NULL, j.q.dtype, j.q.t, 1}, qt = {NULL, j.q.dtype, 1, j.q.t}, k = {NULL, j.k.dtype, j.k.t, 1},
             v = {NULL, j.v.dtype, j.v.t, 1}, u = {NULL, up.dtype, up.t, 1}, ut = {NULL, up.dtype, 1, up.t};
    size_t need[] = {attention_local(&j, keys, rows, j.D, k, qt), attention_local(&j, keys, rows, j.Dv, v, ut),
                     attention_local(&j, keys, j.Dv, rows, tile, u), attention_local(&j, keys, j.D, rows, tile, q),
                     attention_local(&j, rows, j.D, keys, turned, k)};
    ry_work w = {.parts = {j.B * j.G * splits}, .local = 0};
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        if (need[i] > w.local) w.local = need[i];
    w.local += product_align(local_floats(&j) * sizeof(float));
    if (splits > 1) {
        w.phases = 2;
        w.parts[1] = ry_row_parts(j.B * j.T, j.H * j.D);
        w.scratch = (size_t)(splits * j.B * j.T * j.H * j.D) * sizeof(float);
    }
    return w;
}

/* The node's other operands. */
typedef struct upstream {
    attention_operand out, up;
    const void *lse, *up_lse; /* [B,H,T] */
    ry_dtype lse_dtype, up_lse_dtype;
} upstream;

/* buf->lse and buf->d of the tile's queries: minus the log-sum-exp, minus the sum over keys of weight times its gradient (which is the
 * dot product of o and its gradient). Returns whether some query saw nothing. */
static bool begin_queries(const attention_job *j, const upstream *u, const attention_tile *a, const buffers *buf) {
    const simd_rows_table *r = simd_rows();
    const attention_operand *up = &u->up, *out = &u->out;
    int64_t at = (a->b * j->H + a->h) * j->T + a->t;
    bool blind = false;
    r->fill(buf->lse, 0, LD);
    r->fill(buf->d, 0, LD);
    for (int i = 0; i < a->rows; i++) {
        float one, lse = *ry_load_row(u->lse, u->lse_dtype, at + i, 1, &one), *row = buf->row;
        if (lse == -INFINITY) lse = 0, blind = true;
        const float *y =
            ry_load_row(out->data, out->dtype, a->b * out->b + (a->t + i) * out->t + a->h * out->h, j->Dv, row);
        const float *g =
            ry_load_row(up->data, up->dtype, a->b * up->b + (a->t + i) * up->t + a->h * up->h, j->Dv, row + j->Dv);
        float d = r->dot(y, g, j->Dv);
        if (u->up_lse) d -= *ry_load_row(u->up_lse, u->up_lse_dtype, at + i, 1, &one);
        buf->lse[i] = -lse;
        buf->d[i] = -d;
    }
    return blind;
}

static void repeat_row(float *tile, const float *row, int64_t n) { /* n rows of LD */
    memcpy(tile, row, LD * sizeof(float));
    for (int64_t have = 1; have < n; have *= 2)
        memcpy(tile + have * LD, tile, (size_t)((n - have < have ? n - have : have) * LD) * sizeof(float));
}

/* The additive mask, query by query. */
static void add_mask(const attention_job *j, const attention_tile *a, int64_t k0, int64_t n, const buffers *buf) {
    for (int i = 0; i < a->rows; i++) {
        int64_t at = a->b * j->mask_step[0] + a->h * j->mask_step[1] + (a->t + i) * j->mask_step[2];
        bool wide = j->mask_step[3] != 0;
        const float *m = ry_load_row(j->mask, j->mask_dtype, at + (wide ? k0 : 0), wide ? n : 1, buf->row);
        for (int64_t y = 0; y < n; y++) buf->p[y * LD + i] += m[wide ? y : 0];
    }
}

/* Weights of what a query does not see become 0. */
static void hide(const attention_job *j, const upstream *u, const attention_tile *a, int64_t k0, int64_t n, bool blind,
                 float *p) {
    int64_t at = (a->b * j->H + a->h) * j->T + a->t;
    for (int64_t y = n - 1; y >= 0; y--) {
        int64_t first, last;
        float *row = p + y * LD;
        attention_seen_by(j, a, k0 + y, &first, &last);
        if (first == 0 && !j->window && !j->seg_q) break; /* so it is for all earlier keys */
        for (int64_t i = 0; i < first; i++) row[i] = 0;
        for (int64_t i = last; i < a->rows; i++) row[i] = 0;
        if (!j->seg_q) continue;
        const int32_t *seg = j->seg_q + a->b * j->T + a->t, own = j->seg_k[a->b * j->S + k0 + y];
        for (int64_t i = first; i < last; i++)
            if (seg[i] != own) row[i] = 0;
    }
    for (int i = 0; blind && i < a->rows; i++) {
        float one;
        if (*ry_load_row(u->lse, u->lse_dtype, at + i, 1, &one) != -INFINITY) continue;
        for (int64_t y = 0; y < n; y++) p[y * LD + i] = 0;
    }
}

/* Where a tile's gradients go: dq: the tile's first row, H D apart; dk, dv: the first key's rows, of this key head; whether something
 * is there to be added to. */
typedef struct sums {
    float *dq, *dk, *dv;
    bool add_q, add_kv;
} sums;

/* One tile of queries against keys [k0, k1). */
static void tile_grad(const attention_job *j, const upstream *u, const attention_tile *a, int64_t k0, int64_t k1,
                      const buffers *buf, const sums *to) {
    const simd_rows_table *r = simd_rows();
    const attention_operand *q = &j->q, *k = &j->k, *v = &j->v, *up = &u->up;
    int64_t n = k1 - k0, g = a->h / (j->H / j->G), m = a->rows;
    simd_mat qm = {product_at(q->data, q->dtype, a->b * q->b + a->t * q->t + a->h * q->h), q->dtype, q->t, 1};
    simd_mat um = {product_at(up->data, up->dtype, a->b * up->b + a->t * up->t + a->h * up->h), up->dtype, up->t, 1};
    simd_mat km = {product_at(k->data, k->dtype, a->b * k->b + k0 * k->t + g * k->h), k->dtype, k->t, 1};
    simd_mat vm = {product_at(v->data, v->dtype, a->b * v->b + k0 * v->t + g * v->h), v->dtype, v->t, 1};
    simd_mat qt = {qm.data, qm.dtype, 1, qm.rs}, ut = {um.data, um.dtype, 1, um.rs};
    simd_mat p = {buf->p, RY_F32, LD, 1}, ds = {buf->ds, RY_F32, LD, 1}, dst = {buf->ds, RY_F32, 1, LD};
    bool blind = begin_queries(j, u, a, buf), capped = j->cap > 0;

    repeat_row(buf->p, buf->lse, n);
    if (!capped) {
        attention_product(j, n, m, j->D, km, qt, buf->p, LD, j->scale, true, buf->gemm);
    } else {
        attention_product(j, n, m, j->D, km, qt, buf->p, LD, j->scale / j->cap, false, buf->gemm);
        simd_map(MAP_tanh, MAP_VALUE, MAP_F32)(buf->p, (const void *[]){buf->p, NULL, NULL, NULL, NULL}, n * LD);
        r->mul(buf->slope, buf->p, buf->p, n * LD);
        for (int64_t i = 0; i < n * LD; i++) buf->slope[i] = 1.0f - buf->slope[i];
        r->scale(buf->p, buf->p, j->cap, n * LD);
        for (int64_t y = 0; y < n; y++) r->add(buf->p + y * LD, buf->p + y * LD, buf->lse, LD);
    }
    if (j->mask) add_mask(j, a, k0, n, buf);
    simd_map(MAP_exp, MAP_VALUE, MAP_F32)(buf->p, (const void *[]){buf->p, NULL, NULL, NULL, NULL}, n * LD);
    hide(j, u, a, k0, n, blind, buf->p);
    attention_product(j, n, j->Dv, m, p, um, to->dv, j->G * j->Dv, 1, to->add_kv, buf->gemm);
    repeat_row(buf->ds, buf->d, n);
    attention_product(j, n, m, j->Dv, vm, ut, buf->ds, LD, 1, true, buf->gemm);
    r->mul(buf->ds, buf->ds, buf->p, n * LD);
    if (capped) r->mul(buf->ds, buf->ds, buf->slope, n * LD);
    attention_product(j, n, j->D, m, ds, qm, to->dk, j->G * j->D, j->scale, to->add_kv, buf->gemm);
    attention_product(j, m, j->D, n, dst, km, to->dq, j->H * j->D, j->scale, to->add_q, buf->gemm);
}

static void zero_rows(float *x, int64_t rows, int64_t step, int64_t n) {
    for (int64_t i = 0; i < rows; i++) simd_rows()->fill(x + i * step, 0, n);
}

/* A block of keys against all queries of its heads. The last queries come first: without a window they see all that others see, and
 * so begin the sums. add_q: an earlier block has begun those of dq. */
static void block_grad(const attention_job *j, const upstream *u, int64_t b, int64_t g, int64_t k0, const buffers *buf,
                       float *dq, bool add_q, float *dk, float *dv) {
    int64_t k1 = k0 + KEYS < j->S ? k0 + KEYS : j->S, group = j->H / j->G, wk = j->G * j->D, wv = j->G * j->Dv,
            tiles = (j->T + QUERIES - 1) / QUERIES;
    bool begun = false;
    dk += (b * j->S + k0) * wk + g * j->D;
    dv += (b * j->S + k0) * wv + g * j->Dv;
    for (int64_t h = 0; h < group; h++)
        for (int64_t i = tiles - 1; i >= 0; i--) {
            int64_t t = i * QUERIES, lo, hi;
            attention_tile a = {
                .b = b, .h = g * group + h, .t = t, .rows = (int)(j->T - t < QUERIES ? j->T - t : QUERIES)};
            attention_range(j, &a, &lo, &hi);
            lo = lo < k0 ? k0 : lo < k1 ? lo : k1;
            hi = hi < lo ? lo : hi < k1 ? hi : k1;
            sums to = {dq + (t * j->H + h) * j->D, dk + (lo - k0) * wk, dv + (lo - k0) * wv, add_q, begun};
            if (!begun) { /* keys that this tile does not see */
                zero_rows(dk, lo - k0, wk, j->D);
                zero_rows(dv, lo - k0, wv, j->Dv);
                zero_rows(dk + (hi - k0) * wk, k1 - hi, wk, j->D);
                zero_rows(dv + (hi - k0) * wv, k1 - hi, wv, j->Dv);
                begun = true;
            }
            if (lo < hi)
                tile_grad(j, u, &a, lo, hi, buf, &to);
            else if (!add_q)
                zero_rows(to.dq, a.rows, j->H * j->D, j->D);
        }
    if (begun) return; /* else there was no query */
    zero_rows(dk, k1 - k0, wk, j->D);
    zero_rows(dv, k1 - k0, wv, j->Dv);
}

static void add_partials(const attention_job *j, const ry_cpu *c, int64_t splits) {
    const simd_rows_table *r = simd_rows();
    int64_t width = j->H * j->D, begin, end, total = j->B * j->T * width;
    ry_row_range(j->B * j->T, width, c->part, &begin, &end);
    float *y = (float *)c->out[ATT_Q] + begin * width;
    const float *x = (const float *)c->scratch + begin * width;
    int64_t n = (end - begin) * width;
    if (n == 0) return;
    r->add(y, x, x + total, n);
    for (int64_t s = 2; s < splits; s++) r->add(y, y, x + s * total, n);
}

static ry_status cpu(const ry_cpu *c) {
    attention_job j;
    attention_open(&j, c->n, c->src, OPTIONS);
    if (j.B * j.G == 0) return RY_OK;
    int64_t splits = splits_of(&j), split = c->part % splits, g = c->part / splits % j.G, b = c->part / splits / j.G,
            group = j.H / j.G;
    if (c->phase == 1) {
        add_partials(&j, c, splits);
        return RY_OK;
    }
    upstream u = {.out = attention_of(c->n->src[OUT], c->src, OUT),
                  .up = attention_of(c->n->src[UP], c->src, UP),
                  .lse = c->src[LSE],
                  .lse_dtype = c->n->src[LSE]->spec.dtype};
    if (c->n->src[UP_LSE]) u.up_lse = c->src[UP_LSE], u.up_lse_dtype = c->n->src[UP_LSE]->spec.dtype;
    buffers buf = buffers_of(&j, c->local);
    float *dq = splits > 1 ? (float *)c->scratch + split * j.B * j.T * j.H * j.D : c->out[ATT_Q];
    dq += (b * j.T * j.H + g * group) * j.D;
    if (j.S == 0) zero_rows(dq, j.T, j.H * j.D, group * j.D);
    for (int64_t k0 = split * KEYS; k0 < j.S; k0 += splits * KEYS)
        block_grad(&j, &u, b, g, k0, &buf, dq, k0 >= splits * KEYS, c->out[ATT_K], c->out[ATT_V]);
    return RY_OK;
}

/* ---- on GPUs ---- */

/* Cells of weights and of scores' gradients that a round may keep. */
static int64_t cells_allowed(const ry_caps *caps) {
    int64_t most = caps->max_binding < MOST_KEPT_BYTES ? (int64_t)caps->max_binding : MOST_KEPT_BYTES;
    return most / (int64_t)sizeof(float);
}
/* Whether there is room for a strip of 64 queries of all heads that share their keys; with 32 there is for twice as many keys. */
static bool large(const ry_node *n, const ry_caps *caps) {
    enum { ROWS = 64 };
    const ry_spec *q = &n->src[ATT_Q]->spec, *k = &n->src[ATT_K]->spec;
    int64_t share = k->dim[2] ? q->dim[2] / k->dim[2] : 1, kept = 2 * share * ROWS * (k->dim[1] + ROWS);
    return attention_large(n, caps, 8192) &&
           kept + 3 * ry_count(&n->src[LSE]->spec) + q->dim[0] * (k->dim[1] + 1) + 64 <= cells_allowed(caps);
}
/* BM queries or keys, BN columns (no more than BM), TM x TN of them a thread, BK deep. */
#define TILES(bm, bn, tm, tn, bk)                                    \
    {                                                                \
        {"BM", bm}, {"BN", bn}, {"TM", tm}, {"TN", tn}, { "BK", bk } \
    }
static const ry_variant variants[] = {{"software", attention_software, TILES(32, 32, 4, 4, 8)},
                                      {"large", large, TILES(64, 64, 8, 8, 8)},
                                      {"small", NULL, TILES(32, 32, 4, 4, 8)},
                                      {0}};

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    attention_launch(l, n, &j, OPTIONS);
    attention_launch_operand(l, n, OUT);
    attention_launch_operand(l, n, UP);
    if (j.D % 4 == 0) l->vec |= RY_USES_OUT(ATT_Q) | RY_USES_OUT(ATT_K);
    if (j.Dv % 4 == 0) l->vec |= RY_USES_OUT(ATT_V);
    l->vec |= RY_USES_SCRATCH;
    int64_t bm = attention_knob(l, "BM"), bn = attention_knob(l, "BN"), bk = attention_knob(l, "BK"),
            threads = bm / attention_knob(l, "TM") * (bn / attention_knob(l, "TN"));
    ry_launch_knob_set(l, "WG", (int)threads);
    ry_launch_knob_set(l, "TT", (int)threads);
    ry_launch_knob_set(l, "ENDS", j.D % bk || j.Dv % bk);
    ry_launch_knob_set(l, "SHARED", j.H != j.G);
    /* Cells of w and of ds: strip i of bm queries has blocks + more * i blocks of bm keys. A round has some heads, or some strips of one. */
    bool less = j.causal && j.S >= j.T;
    int64_t share = j.G ? j.H / j.G : 1, all_units = j.B * j.G, all_strips = div_up(j.T, bm), all = j.B * j.H * j.T,
            kept_at = (2 * all + j.B * (j.T + j.S + 1) + 3) / 4 * 4,
            most = (cells_allowed(l->caps) - kept_at) / (2 * share), more = less ? 1 : 0,
            blocks = less ? 1 + div_up(j.S - j.T, bm) : div_up(j.S, bm), strips = all_strips + 1, cells;
    do { /* the last strips have most */
        strips--;
        int64_t others = all_strips - strips;
        cells = bm * bm * (strips * blocks + more * (all_strips * (all_strips - 1) - others * (others - 1)) / 2);
    } while (cells > most && strips > 1);
    int64_t units = strips < all_strips || cells == 0 ? 1 : most / cells;
    if (units > all_units) units = all_units;
    if (units < 1) units = 1;
    int64_t turns = strips ? div_up(all_strips, strips) : 1, columns_k = div_up(j.D, bn), columns_v = div_up(j.Dv, bn),
            key_tiles = div_up(j.S, bn), levels = div_up(j.S, bm) > strips ? div_up(j.S, bm) : strips;
    l->rounds = div_up(all_units, units) * turns;
    ry_launch_u32(l, "all_rows", all);
    ry_launch_u32(l, "kv_heads", j.G);
    ry_launch_u32(l, "all_units", all_units);
    ry_launch_u32(l, "units", units);
    ry_launch_u32(l, "turns", turns);
    ry_launch_u32(l, "strips", strips);
    ry_launch_u32(l, "blocks", blocks);
    ry_launch_u32(l, "more", more);
    ry_launch_u32(l, "cells", cells);
    ry_launch_u32(l, "w_at", kept_at);
    ry_launch_u32(l, "ds_far", units * share * cells);
    ry_launch_u32(l, "key_tiles", key_tiles);
    ry_launch_u32(l, "columns_k", columns_k);
    ry_launch_u32(l, "columns_v", columns_v);
    attention_launch_pack(l, n, &j, OPTIONS, 2 * all);
    l->scratch = (size_t)(kept_at + 2 * units * share * cells) * sizeof(float);
    uint32_t factors = RY_USES_SRC(ATT_Q) | RY_USES_SRC(ATT_K) | RY_USES_SRC(UP) | RY_USES_SCRATCH;
    ry_launch_run(l, "prepare", div_up(all, threads / 8),
                  RY_USES_SRC(OUT) | RY_USES_SRC(UP) | RY_USES_SRC(LSE) | RY_USES_SRC(UP_LSE) | RY_USES_SCRATCH);
    ry_launch_run(l, "scores", units * share * strips * key_tiles,
                  factors | RY_USES_SRC(ATT_V) | RY_USES_SRC(OPTIONS + ATT_MASK));
    ry_launch_run(l, "gradients", units * ((share + 1) * columns_k + columns_v) * levels,
                  factors | RY_USES_OUT(ATT_Q) | RY_USES_OUT(ATT_K) | RY_USES_OUT(ATT_V));
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    double keys = (double)j.S, bytes = 0;
    if (j.causal && j.S >= j.T) keys -= ((double)j.T - 1) / 2;
    if (j.window && keys > (double)j.window) keys = (double)j.window;
    for (int i = 0; i <= UP; i++) bytes += (double)ry_bytes_of(n->src[i]->spec.dtype, ry_count(&n->src[i]->spec));
    for (int i = 0; i < n->n_out; i++) bytes += 4.0 * (double)ry_count(&n->out[i].spec);
    return (ry_cost){.flops = 2 * (double)(j.B * j.H * j.T) * keys * (double)(3 * j.D + 2 * j.Dv), .bytes = bytes};
}

static ry_tensor sum_group(ry_graph *g, ry_tensor x) { /* [B,G,R,S,D] -> [B,S,G,D] */
    return ry_permute(g, ry_sum(g, x, RY_AXIS(2), false), (int[]){0, 2, 1, 3});
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, product_of(((const attention_args *)n->args)->product));
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    attention_composed c = attention_compose(g, n, OPTIONS);
    ry_tensor p, up = ry_src(g, n, UP),
                 ds = attention_compose_ds(g, &c, ry_src(g, n, OUT), ry_src(g, n, LSE), up, ry_src(g, n, UP_LSE), &p);
    if (!ry_is_null(c.slope)) ds = ry_mul(g, ds, c.slope);
    ds = ry_mul(g, ds, ry_scalar(g, (double)j.scale));
    int64_t R = j.G ? j.H / j.G : 1;
    ds = RY_RESHAPE(g, ds, j.B, j.G, R, j.T, j.S);
    p = RY_RESHAPE(g, p, j.B, j.G, R, j.T, j.S);
    out[ATT_Q] = attention_heads_last(g, ry_matmul(g, ds, c.k));
    out[ATT_K] = sum_group(g, ry_matmul(g, ry_transpose(g, ds, -1, -2), c.q));
    out[ATT_V] = sum_group(g, ry_matmul(g, ry_transpose(g, p, -1, -2), attention_heads_first(g, up, j.G)));
    ry_graph_precision(g, was);
    return RY_OK;
}

static const attention_args causal = {.causal = true}, capped = {.causal = true, .softcap = 2, .scale = 0.7},
                            window = {.causal = true, .window = 5};
#define Q4(b, t, h, d)                                    \
    {                                                     \
        .dtype = RY_F32, .rank = 4, .dim = { b, t, h, d } \
    }
/* o and lse as a forward pass could have made them: lse well above the scores, so that weights stay below one. */
#define LSE3(b, h, t) \
    { .dtype = RY_F32, .rank = 3, .dim = {b, h, t}, .lo = 2, .hi = 3 }
static const ry_sample samples[] = {
    {.name = "plain",
     .src = {Q4(2, 5, 2, 4), Q4(2, 7, 2, 4), Q4(2, 7, 2, 6), Q4(2, 5, 2, 6), LSE3(2, 2, 5), Q4(2, 5, 2, 6)},
     .n_src = 6},
    {.name = "causal, grouped heads",
     .src = {Q4(2, 9, 4, 4), Q4(2, 9, 2, 4), Q4(2, 9, 2, 4), Q4(2, 9, 4, 4), LSE3(2, 4, 9), Q4(2, 9, 4, 4),
             LSE3(2, 4, 9)},
     .n_src = 7,
     .args = &causal},
    {.name = "several tiles and blocks",
     .src = {Q4(1, 130, 2, 4), Q4(1, 530, 1, 4), Q4(1, 530, 1, 5), Q4(1, 130, 2, 5), LSE3(1, 2, 130), Q4(1, 130, 2, 5)},
     .n_src = 6,
     .args = &causal,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "softcap",
     .src = {Q4(1, 6, 2, 4), Q4(1, 6, 2, 4), Q4(1, 6, 2, 4), Q4(1, 6, 2, 4), LSE3(1, 2, 6), Q4(1, 6, 2, 4)},
     .n_src = 6,
     .args = &capped},
    {.name = "window",
     .src = {Q4(1, 12, 2, 4), Q4(1, 14, 2, 4), Q4(1, 14, 2, 4), Q4(1, 12, 2, 4), LSE3(1, 2, 12), Q4(1, 12, 2, 4)},
     .n_src = 6,
     .args = &window},
    {.name = "mask",
     .src = {Q4(1, 4, 2, 4),
             Q4(1, 6, 2, 4),
             Q4(1, 6, 2, 4),
             Q4(1, 4, 2, 4),
             LSE3(1, 2, 4),
             Q4(1, 4, 2, 4),
             {.dtype = RY_NONE},
             Q4(1, 1, 4, 6)},
     .n_src = 8},
    {.name = "no rows",
     .src = {Q4(2, 0, 2, 4), Q4(2, 3, 2, 4), Q4(2, 3, 2, 4), Q4(2, 0, 2, 4), LSE3(2, 2, 0), Q4(2, 0, 2, 4)},
     .n_src = 6},
    {.name = "train 256",
     .src = {Q4(4, 256, 6, 48), Q4(4, 256, 6, 48), Q4(4, 256, 6, 48), Q4(4, 256, 6, 48), LSE3(4, 6, 256),
             Q4(4, 256, 6, 48)},
     .n_src = 6,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {.name = "train 1024",
     .src = {Q4(1, 1024, 12, 64), Q4(1, 1024, 12, 64), Q4(1, 1024, 12, 64), Q4(1, 1024, 12, 64), LSE3(1, 12, 1024),
             Q4(1, 1024, 12, 64)},
     .n_src = 6,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {.name = "4096, heads of 128",
     .src = {Q4(1, 4096, 16, 128), Q4(1, 4096, 16, 128), Q4(1, 4096, 16, 128), Q4(1, 4096, 16, 128), LSE3(1, 16, 4096),
             Q4(1, 4096, 16, 128)},
     .n_src = 6,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {0}};

const ry_op attention_grad_row = {.name = "attention_grad",
                                  .doc = "q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv], o and its gradient [B,T,H,Dv], lse "
                                         "[B,H,T] and its gradient or none, then as attention -> dq, dk, dv in f32",
                                  .arg_size = sizeof(attention_args),
                                  .args = attention_args_of,
                                  .min_src = UP + 1,
                                  .max_src = OPTIONS + ATT_OPTIONS,
                                  .rows = 1u << ATT_Q | 1u << ATT_K | 1u << ATT_V | 1u << OUT | 1u << UP |
                                          1u << (OPTIONS + ATT_MASK),
                                  .optional = ((1u << ATT_OPTIONS) - 1) << OPTIONS | 1u << UP_LSE,
                                  .infer = infer,
                                  .work = work,
                                  .cpu = cpu,
                                  .lower = lower,
                                  .wgsl = "attention/attention_grad.wgsl",
                                  .variants = variants,
                                  .launch = launch,
                                  .cost = cost,
                                  .tol = 1e-5f,
                                  .samples = samples};

RY_OP_MODULE(attention_grad, &attention_grad_row);
