/* linear_cross_entropy.c - the loss of a language model's head: logits = x w^T, cross-entropy against targets, and the gradients of
 * both, computed in chunks so that logits never exist whole.  Owns the row and ry_linear_cross_entropy.
 *
 * With gradients the row runs in rounds, one a chunk of rows: (0) a chunk of logits, block by block, each turned at once into
 * exp(z - m) with its m and sum; (1) row by row the log-sum-exp, then z becomes the gradient of the logits; (2) its two products.
 * dW adds up over the rounds in their order. Without gradients nothing is kept but (m, sum) of each block: one round. */
#include "base/mem.h"
#include "ops/_gemm.h"
#include "ops/product.h"
#include "ops/row_launch.h"
#include "simd/map.h"
#include "simd/rows.h"
#include <math.h>
#include <rusty/ops.h>

typedef struct lce_args {
    int64_t ignore;
    double softcap;
    int32_t product;
    bool with_grad;
} lce_args;
static const ry_arg args_of[] = {RY_ARG(lce_args, ignore, RY_ARG_I64),
                                 RY_ARG(lce_args, softcap, RY_ARG_F64),
                                 RY_ARG(lce_args, product, RY_ARG_I32),
                                 RY_ARG(lce_args, with_grad, RY_ARG_BOOL),
                                 {0}};
static const ry_op linear_cross_entropy_row;
enum { X, W, TARGETS, SCALE };
enum { LOSS, DX, DW };

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const lce_args *a = n->args;
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec, *t = &n->src[TARGETS]->spec;
    RY_TRY(product_operand(n, X, "x"));
    RY_TRY(product_weight(n, W, "w"));
    if (x->rank != 2 || w->rank != 2 || x->dim[1] != w->dim[1])
        return ry_fail_node(n, RY_ESHAPE, "x is %s and w is %s; they must be [R,C] and [V,C]", ry_show(x).s,
                            ry_show(w).s);
    if ((t->dtype != RY_I32 && t->dtype != RY_I64) || t->rank != 1 || t->dim[0] != x->dim[0])
        return ry_fail_node(n, RY_ESHAPE, "targets are %s, with x %s they must be [%lld] of i32 or i64", ry_show(t).s,
                            ry_show(x).s, (long long)x->dim[0]);
    if (n->n_src > SCALE && n->src[SCALE] &&
        (!ry_is_float(n->src[SCALE]->spec.dtype) || ry_numel(&n->src[SCALE]->spec) != 1))
        return ry_fail_node(n, RY_ESHAPE, "scale is %s, it must be one float", ry_show(&n->src[SCALE]->spec).s);
    out[LOSS] = (ry_spec){.dtype = RY_F32};
    if (!a) return RY_OK;
    RY_TRY(product_check(n, a->product));
    if (!(a->softcap >= 0) || !isfinite(a->softcap))
        return ry_fail_node(n, RY_EARG, "softcap %g must be 0 or positive", a->softcap);
    if (!a->with_grad) return RY_OK;
    out[DX] = *x;
    out[DX].dtype = RY_F32;
    if (product_blocks(w->dtype)) return RY_OK; /* a quantised w is not trained */
    out[DW] = *w;
    out[DW].dtype = RY_F32;
    return RY_OK;
}

/* ---- how the work is cut ---- */

enum {
    CHUNK_BYTES = 4 << 20,
    LEAST_ROWS = 256, /* w and its gradient pass through memory once a round */
    ROW_BLOCK = 256,
    MOST_COLUMNS = 512, /* of a block of logits, with gradients; half of it where there would be few blocks */
    FEW_COLUMNS = 8192,
    LOSS_ROWS = 128, /* the same without */
    LOSS_COLUMNS = 512,
    LOSS_SPLIT = 2048,
    SCALED_ELEMENTS = 65536 /* of a part of phase 1 */
};

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct cut {
    int64_t R, C, V, rounds, rows; /* of a round */
    int64_t ld;                    /* row step of the chunk: no power of two, so that rows do not share cache sets */
    int64_t columns, blocks;       /* of a block of columns, and blocks, each with its own (m, sum) a row */
    int64_t row_parts;             /* rows of one part of phase 1 */
    bool grad, dw;
    float cap;
    ry_dtype product;
} cut;

static cut cut_of(const ry_node *n) {
    const lce_args *a = n->args;
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec;
    cut c = {.R = x->dim[0],
             .C = x->dim[1],
             .V = w->dim[0],
             .rounds = 1,
             .grad = a->with_grad,
             .dw = ry_is_float(w->dtype),
             .cap = (float)a->softcap,
             .product = product_of(a->product)};
    c.rows = c.R;
    c.ld = (c.V + 15) / 16 * 16 + 16;
    if (c.grad) {
        int64_t fit = CHUNK_BYTES / 4 / c.ld;
        if (fit < LEAST_ROWS) fit = LEAST_ROWS;
        c.rounds = c.R ? div_up(c.R, fit) : 1;
        c.rows = least(c.R, (div_up(c.R, c.rounds) + 15) / 16 * 16);
        if (c.rows) c.rounds = div_up(c.R, c.rows);
    }
    c.columns = !c.grad ? LOSS_SPLIT : c.V < FEW_COLUMNS ? MOST_COLUMNS / 2 : MOST_COLUMNS;
    c.blocks = div_up(c.V, c.columns);
    c.row_parts = c.V ? SCALED_ELEMENTS / c.V : 1;
    if (c.row_parts < 1) c.row_parts = 1;
    if (!c.grad) c.row_parts = 256;
    return c;
}

/* Scratch: a loss for every row; (m, sum) for every row and block; the target's logit for every row; the chunk. */
typedef struct buffers {
    float *loss, *stat, *target, *chunk;
} buffers;
static size_t scratch_floats(const cut *c) {
    return (size_t)(c->R + c->rows * (2 * c->blocks + 1) + 16 + (c->grad ? c->rows * c->ld : 0));
}
static buffers buffers_of(const cut *c, void *scratch) {
    buffers b = {.loss = scratch};
    b.stat = b.loss + c->R;
    b.target = b.stat + c->rows * 2 * c->blocks;
    b.chunk = (float *)scratch + (c->R + c->rows * (2 * c->blocks + 1) + 15) / 16 * 16;
    return b;
}

/* The products of a round of m rows; data pointers from c, or NULL. */
static simd_gemm logits_of(const cut *p, const ry_node *n, const ry_cpu *c, int64_t row, int64_t m, int64_t col,
                           int64_t cols) {
    ry_dtype xt = n->src[X]->spec.dtype, wt = n->src[W]->spec.dtype;
    return (simd_gemm){.m = m,
                       .n = cols,
                       .k = p->C,
                       .a = {product_at(c ? c->src[X] : NULL, xt, row * p->C), xt, p->C, 1},
                       .b = {product_at(c ? c->src[W] : NULL, wt, col * p->C), wt, 1, p->C},
                       .c_dtype = RY_F32,
                       .product = p->product};
}
static simd_gemm dx_of(const cut *p, const ry_node *n, const ry_cpu *c, const float *chunk, int64_t row, int64_t m) {
    ry_dtype wt = n->src[W]->spec.dtype;
    return (simd_gemm){.m = m,
                       .n = p->C,
                       .k = p->V,
                       .a = {chunk, RY_F32, p->ld, 1},
                       .b = {c ? c->src[W] : NULL, wt, p->C, 1},
                       .c = c ? (float *)c->out[DX] + row * p->C : NULL,
                       .c_dtype = RY_F32,
                       .ldc = p->C,
                       .product = p->product};
}
static simd_gemm dw_of(const cut *p, const ry_node *n, const ry_cpu *c, const float *chunk, int64_t row, int64_t m) {
    ry_dtype xt = n->src[X]->spec.dtype;
    return (simd_gemm){.m = p->V,
                       .n = p->C,
                       .k = m,
                       .a = {chunk, RY_F32, 1, p->ld},
                       .b = {product_at(c ? c->src[X] : NULL, xt, row * p->C), xt, p->C, 1},
                       .c = c ? c->out[DW] : NULL,
                       .c_dtype = RY_F32,
                       .ldc = p->C,
                       .product = p->product,
                       .accumulate = row > 0};
}

static int64_t parts_of(const simd_gemm *g) { return g->m && g->n ? simd_gemm_parts(g) : 0; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static ry_work work(const ry_node *n) {
    cut c = cut_of(n);
    ry_work w = {.scratch = scratch_floats(&c) * sizeof(float)};
    if (!c.grad) {
        simd_gemm g = logits_of(&c, n, NULL, 0, least(c.R, LOSS_ROWS), 0, least(c.V, LOSS_COLUMNS));
        g.ldc = LOSS_COLUMNS;
        w.phases = 3;
        w.parts[0] = div_up(c.R, LOSS_ROWS) * c.blocks;
        w.parts[1] = div_up(c.R, c.row_parts);
        w.local = sizeof(float) * LOSS_ROWS * LOSS_COLUMNS + simd_gemm_tile_local(&g);
        return w;
    }
    simd_gemm g = logits_of(&c, n, NULL, 0, least(c.rows, ROW_BLOCK), 0, least(c.V, c.columns));
    g.ldc = c.ld;
    w.phases = 3;
    w.rounds = c.rounds;
    w.parts[0] = div_up(c.rows, ROW_BLOCK) * c.blocks;
    w.parts[1] = div_up(c.rows, c.row_parts);
    w.local = simd_gemm_tile_local(&g);
    w.parts[2] = 1; /* the sum of losses */
    int64_t last = c.R - (c.rounds - 1) * c.rows, dx = 0, dw = 0;
    for (int i = 0; i < 2; i++) { /* a round in full, and the last one */
        simd_gemm gx = dx_of(&c, n, NULL, NULL, 0, i ? last : c.rows),
                  gw = dw_of(&c, n, NULL, NULL, 0, i ? last : c.rows);
        dx = most(dx, parts_of(&gx));
        w.local = product_align((size_t)most((int64_t)w.local, (int64_t)simd_gemm_local(&gx)));
        if (!c.dw) continue;
        dw = most(dw, parts_of(&gw));
        w.local = product_align((size_t)most((int64_t)w.local, (int64_t)simd_gemm_local(&gw)));
    }
    w.parts[2] += dx + dw;
    return w;
}

/* ---- the phases ---- */

static void cap_row(float *z, float cap, int64_t n) { /* z holds z / cap */
    simd_map(MAP_tanh, MAP_VALUE, MAP_F32)(z, (const void *[]){z, NULL, NULL, NULL, NULL}, n);
    simd_rows()->scale(z, z, cap, n);
}

static ry_numbers numbers(const ry_node *n) {
    return (ry_numbers){.src = TARGETS, .count = n->src[W]->spec.dim[0], .ignore = &((const lce_args *)n->args)->ignore, .name = "targets"};
}

/* Target of a row: -1 if it is ignored. */
static ry_status target_of(const ry_cpu *c, const cut *p, int64_t row, int64_t *out) {
    const lce_args *a = c->args;
    int64_t t = ry_load_index(c->src[TARGETS], c->n->src[TARGETS]->spec.dtype, row);
    *out = -1;
    if (t == a->ignore) return RY_OK;
    if (t < 0 || t >= p->V) return ry_fail_number(c->n, row, t);
    *out = t;
    return RY_OK;
}

/* Logits of rows [row, row + m) and columns [col, col + cols) into z; m and sum of each row join those in stat. */
static void logits(const ry_cpu *c, const cut *p, int64_t row, int64_t m, int64_t col, int64_t cols, float *z,
                   int64_t ld, float *stat, int64_t stat_step, float *target, bool keep_exp, void *local) {
    const simd_rows_table *r = simd_rows();
    simd_gemm g = logits_of(p, c->n, c, row, m, col, cols);
    g.c = z;
    g.ldc = ld;
    if (p->cap > 0) g.alpha = 1 / p->cap;
    simd_gemm_tile(&g, local);
    for (int64_t i = 0; i < m; i++, z += ld, stat += stat_step) {
        if (p->cap > 0) cap_row(z, p->cap, cols);
        int64_t t = ry_load_index(c->src[TARGETS], c->n->src[TARGETS]->spec.dtype, row + i);
        if (t >= col && t < col + cols) target[i] = z[t - col];
        float top = r->max(z, cols);
        if (top <= stat[0]) top = stat[0];
        float sum = keep_exp ? r->exp_sub(z, z, top, cols) : r->exp_sub_sum(z, top, cols);
        stat[1] = (stat[0] == -INFINITY ? 0 : stat[1] * expf(stat[0] - top)) + sum;
        stat[0] = top;
    }
}

static float log_sum(const float *stat, int64_t blocks) {
    float top = -INFINITY, sum = 0;
    for (int64_t b = 0; b < blocks; b++) top = stat[2 * b] <= top ? top : stat[2 * b];
    for (int64_t b = 0; b < blocks; b++) sum += stat[2 * b + 1] * expf(stat[2 * b] - top);
    return top + logf(sum);
}

static void sum_losses(const ry_cpu *c, const cut *p, const float *loss, float scale) {
    double sum = 0;
    for (int64_t i = 0; i < p->R; i++) sum += (double)loss[i];
    *(float *)c->out[LOSS] = (float)(sum * (double)scale);
}

/* One row of the chunk becomes the gradient of its logits. */
static void grad_row(const cut *p, float *z, const float *stat, float lse, int64_t target, float scale) {
    const simd_rows_table *r = simd_rows();
    if (target < 0) {
        r->fill(z, 0, p->V);
        return;
    }
    if (p->cap > 0) {
        float slope[MOST_COLUMNS], at = z[target] / p->cap, inverse = 1 / p->cap;
        for (int64_t b = 0; b < p->blocks; b++) {
            float *x = z + b * p->columns;
            int64_t cols = least(p->columns, p->V - b * p->columns);
            r->scale(slope, x, inverse, cols);
            r->mul(slope, slope, slope, cols);
            r->exp_sub(x, x, lse, cols);
            r->mul(slope, slope, x, cols);
            r->axpy(x, -1, slope, cols); /* p (1 - tanh^2) */
            r->scale(x, x, scale, cols);
        }
        z[target] -= scale * (1 - at * at);
        return;
    }
    for (int64_t b = 0; b < p->blocks; b++) {
        float *x = z + b * p->columns;
        r->scale(x, x, scale * expf(stat[2 * b] - lse), least(p->columns, p->V - b * p->columns));
    }
    z[target] -= scale;
}

static ry_status finish_rows(const ry_cpu *c, const cut *p, const buffers *buf, int64_t first, int64_t m, float scale) {
    int64_t end = least((c->part + 1) * p->row_parts, m);
    for (int64_t i = c->part * p->row_parts; i < end; i++) {
        const float *stat = buf->stat + i * 2 * p->blocks;
        int64_t target;
        RY_TRY(target_of(c, p, first + i, &target));
        float lse = target < 0 ? 0 : log_sum(stat, p->blocks);
        buf->loss[first + i] = target < 0 ? 0 : lse - buf->target[i];
        if (p->grad) grad_row(p, buf->chunk + i * p->ld, stat, lse, target, scale);
    }
    return RY_OK;
}

static void reset_stat(float *stat, int64_t m, int64_t step) {
    for (int64_t i = 0; i < m; i++) stat[i * step] = -INFINITY, stat[i * step + 1] = 0;
}

static void loss_part(const ry_cpu *c, const cut *p, const buffers *buf) {
    int64_t row = c->part / p->blocks * LOSS_ROWS, b = c->part % p->blocks, m = least(LOSS_ROWS, p->R - row),
            end = least((b + 1) * LOSS_SPLIT, p->V);
    float *z = c->local, *stat = buf->stat + (row * p->blocks + b) * 2;
    reset_stat(stat, m, 2 * p->blocks);
    for (int64_t col = b * LOSS_SPLIT; col < end; col += LOSS_COLUMNS)
        logits(c, p, row, m, col, least(LOSS_COLUMNS, end - col), z, LOSS_COLUMNS, stat, 2 * p->blocks,
               buf->target + row, false, (float *)c->local + LOSS_ROWS * LOSS_COLUMNS);
}

static ry_status cpu(const ry_cpu *c) {
    cut p = cut_of(c->n);
    buffers buf = buffers_of(&p, c->scratch);
    float scale = 1;
    if (c->n->n_src > SCALE && c->n->src[SCALE])
        scale = *ry_load_row(c->src[SCALE], c->n->src[SCALE]->spec.dtype, 0, 1, &scale);
    int64_t first = c->round * p.rows, m = least(p.rows, p.R - first);
    if (c->phase == 0 && !p.grad) {
        if (p.R && p.V) loss_part(c, &p, &buf);
    } else if (c->phase == 0) {
        int64_t row = p.blocks ? c->part / p.blocks * ROW_BLOCK : 0, b = p.blocks ? c->part % p.blocks : 0,
                col = b * p.columns, rows = least(ROW_BLOCK, m - row);
        if (rows <= 0 || !p.V) return RY_OK;
        float *stat = buf.stat + (row * p.blocks + b) * 2;
        reset_stat(stat, rows, 2 * p.blocks);
        logits(c, &p, first + row, rows, col, least(p.columns, p.V - col), buf.chunk + row * p.ld + col, p.ld, stat,
               2 * p.blocks, buf.target + row, p.cap == 0, c->local);
    } else if (c->phase == 1) {
        return finish_rows(c, &p, &buf, first, m, scale);
    } else if (c->part == 0) {
        if (c->round == p.rounds - 1) sum_losses(c, &p, buf.loss, scale);
    } else {
        simd_gemm gx = dx_of(&p, c->n, c, buf.chunk, first, m);
        int64_t part = c->part - 1, dx = parts_of(&gx);
        if (part < dx) {
            simd_gemm_part(&gx, part, c->local);
        } else if (p.dw) {
            simd_gemm gw = dw_of(&p, c->n, c, buf.chunk, first, m);
            if (part - dx < parts_of(&gw)) simd_gemm_part(&gw, part - dx, c->local);
        }
    }
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    cut c = cut_of(n);
    double product = 2 * (double)c.R * (double)c.C * (double)c.V, bytes = 0;
    for (int i = X; i <= TARGETS; i++) bytes += (double)ry_bytes_of(n->src[i]->spec.dtype, ry_count(&n->src[i]->spec));
    for (int i = 0; i < n->n_out; i++) bytes += 4.0 * (double)ry_count(&n->out[i].spec);
    return (ry_cost){.flops = product * (c.grad ? c.dw ? 3 : 2 : 1), .bytes = bytes};
}

/* ---- the same on a GPU ---- */

enum {
    GPU_CHUNK_BYTES = 256 << 20,    /* of logits; half of what may be bound, where that is less */
    GPU_GROUPS = 528,               /* that keep a large GPU busy */
    SOFTWARE_CHUNK_BYTES = 2 << 20, /* the same where a CPU computes */
    SOFTWARE_GROUPS = 16,
    GPU_LEAST_K = 256, /* of a part of dx */
    GPU_UNIT = 8,      /* of rows: no more kinds of kernels than must be */
    GPU_LINE = 128,    /* rows of logits begin at multiples of so many: of whole lines of a cache */
    MOST_WINDOWS = 10  /* of classes, where w or its gradient is larger than a binding: three dispatches each */
};

static int64_t up_to(int64_t x, int64_t unit) { return div_up(x, unit) * unit; }
static int64_t busy_of(const ry_caps *caps) { return caps->features & RY_FEATURE_SOFTWARE ? SOFTWARE_GROUPS : GPU_GROUPS; }

/* Rows of a round. */
static int64_t chunk_rows(const ry_caps *caps, int64_t R, int64_t ld) {
    const bool software = caps->features & RY_FEATURE_SOFTWARE;
    const int64_t chunk = least(software ? SOFTWARE_CHUNK_BYTES : GPU_CHUNK_BYTES, (int64_t)(caps->max_binding / 2)) / 4 / most(ld, 1);
    const int64_t fit = most(chunk >= 128 ? chunk / 128 * 128 : chunk / GPU_UNIT * GPU_UNIT, GPU_UNIT),
                  rounds = most(1, div_up(R, fit));
    return least(fit, up_to(div_up(R, rounds), fit >= 128 && R >= 128 ? 128 : GPU_UNIT));
}

/* May tiles be so large? Where logits and dw have enough of them. */
static bool tiles_fit(const ry_node *n, const ry_caps *caps, int bm, int bn, int bk, int tm, int tn, int db) {
    const int64_t R = n->src[X]->spec.dim[0], C = n->src[X]->spec.dim[1], V = n->src[W]->spec.dim[0],
                  rows = chunk_rows(caps, R, up_to(V, GPU_LINE)), busy = busy_of(caps);
    return gemm_fits(caps, bm, bn, bk, tm, tn, db, most(V, C)) &&
           (bm <= 64 || (div_up(rows, bm) * div_up(V, bn) >= busy && div_up(V, bm) * div_up(C, bn) >= busy));
}
#define TILE(name, ...) \
    static bool name(const ry_node *n, const ry_caps *caps) { return tiles_fit(n, caps, __VA_ARGS__); }
TILE(when_128x128, 128, 128, 8, 8, 16, 1)
static bool when_128x96(const ry_node *n, const ry_caps *caps) { /* faster where no columns are cut */
    return n->src[W]->spec.dim[0] % 96 == 0 && n->src[X]->spec.dim[1] % 96 == 0 && tiles_fit(n, caps, 128, 96, 16, 8, 12, 1);
}
TILE(when_64x64, 64, 64, 16, 4, 8, 1)
static const ry_variant variants[] = {{.name = "128x96", .when = when_128x96, GEMM_KNOBS(128, 96, 16, 8, 12, 1)},
                                      {.name = "128x128", .when = when_128x128, GEMM_KNOBS(128, 128, 8, 8, 16, 1)},
                                      {.name = "64x64", .when = when_64x64, GEMM_KNOBS(64, 64, 16, 4, 8, 1)},
                                      {.name = "32x64", GEMM_KNOBS(32, 64, 16, 4, 4, 2)},
                                      {0}};

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const lce_args *a = n->args;
    const int64_t R = n->src[X]->spec.dim[0], C = n->src[X]->spec.dim[1], V = n->src[W]->spec.dim[0];
    const bool dw = a->with_grad && ry_is_float(n->src[W]->spec.dtype);
    const int64_t ld = up_to(V, GPU_LINE), rows = chunk_rows(l->caps, R, ld),
                  rounds = rows ? most(1, div_up(R, rows)) : 1, last = R - (rounds - 1) * rows;
    const int bm = gemm_knob(v, "BM"), bn = gemm_knob(v, "BN"), bk = gemm_knob(v, "BK");
    const int64_t piece = least(ry_launch_part(l->caps, n->src[W]), dw ? ry_launch_part(l->caps, &n->out[DW]) : V),
                  windows = piece ? most(1, div_up(V, piece)) : 1;
    if (windows > MOST_WINDOWS || (V && !piece))
        return ry_fail_node(n, RY_EUNSUPPORTED, "w %s is larger than %d times what a kernel of this device sees",
                            ry_show(&n->src[W]->spec).s, MOST_WINDOWS);
    const int64_t tall = div_up(rows, bm), wide_c = div_up(C, bn);
    const gemm_speed tile = {bm, bn, bk, 1, 1};
    const gemm_deal dx = gemm_deal_even(&tile, tall * wide_c, V, windows > 1 ? 1 : least(div_up(busy_of(l->caps), most(1, tall * wide_c)), V / GPU_LEAST_K));
    row_deal d = row_launch(l, rows, V, 0);
    const int64_t z_at = up_to(R, GPU_LINE), dx_at = z_at + rows * ld;
    l->rounds = rounds;
    l->scratch = ry_mem_size((size_t)(dx_at + 4), sizeof(float), a->with_grad && dx.parts > 1 ? gemm_deal_bytes(&tile, &dx) : 0);
    l->vec = RY_USES_SCRATCH;
    if (C % 4 == 0) l->vec |= RY_USES_SRC(X) | RY_USES_SRC(W) | RY_USES_OUT(DX) | RY_USES_OUT(DW);
    ry_launch_knob_set(l, "WINDOWS", windows > 1);
    ry_launch_knob_set(l, "DX_SPLIT", a->with_grad && dx.parts > 1);
    ry_launch_knob_set(l, "EDGE_R", rows % bm != 0 || last % bm != 0);
    ry_launch_knob_set(l, "EDGE_V", V % bm != 0 || V % bn != 0 || windows > 1);
    ry_launch_knob_set(l, "EDGE_C", C % bn != 0);
    ry_launch_knob_set(l, "SAFE", C < bk || V - (windows - 1) * piece < bk || last < bk);
    ry_launch_knob_set(l, "QUAD", C % 4 ? 1 : 4);
    ry_launch_knob_set(l, "CAP", a->softcap > 0);
    ry_launch_knob_set(l, "BF16", product_of(a->product) == RY_BF16);
    ry_launch_u32(l, "R", R);
    ry_launch_u32(l, "C", C);
    ry_launch_u32(l, "V", V);
    ry_launch_u32(l, "ld", ld);
    ry_launch_u32(l, "z_at", z_at);
    ry_launch_u32(l, "dx_at", dx_at);
    ry_launch_u32(l, "rounds", rounds);
    gemm_deal_set(l, &dx);
    ry_launch_u32(l, "ignore", a->ignore == (int32_t)a->ignore ? a->ignore : -1); /* ids that are no i32 read as -1 */
    ry_launch_u32(l, "nan_bits", 0x7fc00000);
    const uint32_t x = RY_USES_SRC(X), w = RY_USES_SRC(W), t = RY_USES_SRC(TARGETS), tmp = RY_USES_SCRATCH,
                   scale = n->n_src > SCALE && n->src[SCALE] ? RY_USES_SRC(SCALE) : 0, whole = windows > 1;
    /* Of a single window nothing is a part: bindings are shared, and their begin is where it ever is. */
    for (int64_t i = 0; i < windows; i++) {
        const int64_t from = i * piece, to = least(V, from + piece);
        ry_launch_run_part(l, "logits", tall * div_up(to - from, bn), x | w | tmp, whole * w, from, to);
    }
    ry_launch_run(l, "rows", div_up(rows, d.together), t | scale | tmp);
    for (int64_t i = 0; i < windows && a->with_grad; i++) {
        const int64_t from = i * piece, to = least(V, from + piece);
        ry_launch_run_part(l, "dx", gemm_deal_groups(&dx), w | tmp | RY_USES_OUT(DX), whole * w, from, to);
        if (dx.parts > 1) ry_launch_run(l, "dx_sum", dx.shared * gemm_knob(v, "TM") * gemm_knob(v, "TN") / 4, tmp | RY_USES_OUT(DX));
        if (dw)
            ry_launch_run_part(l, "dw", div_up(to - from, bm) * wide_c, x | tmp | RY_USES_OUT(DW),
                               whole * RY_USES_OUT(DW), from, to);
    }
    ry_launch_run(l, "total", 1, scale | tmp | RY_USES_OUT(LOSS));
    return RY_OK;
}

static bool in_windows(const ry_node *n, ry_cut *c) { /* of w and dw, by launch() */
    (void)n;
    c->length = 0;
    return true;
}

/* ---- gradients and the composed form ---- */

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    lce_args args = *(const lce_args *)n->args;
    ry_tensor loss = ry_res(g, n, LOSS), scale = ry_src(g, n, SCALE), up = gy[LOSS];
    if (args.with_grad && (!ry_is_null(gy[DX]) || !ry_is_null(gy[DW])))
        return ry_fail_node(n, RY_EUNSUPPORTED,
                            "has no second derivative: build the loss from ry_linear and ry_cross_entropy");
    if (!args.with_grad) { /* asked for after all: the whole pass once more */
        args.with_grad = true;
        loss = ry_apply_row(g, &linear_cross_entropy_row, (size_t)n->n_src,
                            (ry_tensor[]){ry_src(g, n, X), ry_src(g, n, W), ry_src(g, n, TARGETS), scale}, &args);
    }
    double one;
    bool unit = ry_is_fill(g, up, &one) && one == 1;
    for (int i = X; i <= W; i++) {
        if (i == W && !ry_is_float(n->src[W]->spec.dtype)) continue;
        ry_tensor d = ry_out(g, loss, i == X ? DX : DW);
        gx[i] = unit ? d : ry_mul(g, d, up);
    }
    if (!ry_is_null(scale)) gx[SCALE] = ry_mul(g, up, ry_div(g, loss, scale));
    return RY_OK;
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const lce_args *a = n->args;
    int64_t R = n->src[X]->spec.dim[0], V = n->src[W]->spec.dim[0];
    ry_tensor x = ry_cast(g, ry_src(g, n, X), RY_F32), w = ry_cast(g, ry_src(g, n, W), RY_F32),
              scale = ry_src(g, n, SCALE), slope = RY_NULL;
    if (!ry_is_null(scale)) scale = ry_cast(g, scale, RY_F32);
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, product_of(a->product));
    ry_tensor z = ry_linear(g, x, w, RY_NULL), t = RY_RESHAPE(g, ry_src(g, n, TARGETS), R, 1);
    if (a->softcap > 0) {
        ry_tensor cap = ry_scalar(g, a->softcap), u = ry_tanh(g, ry_div(g, z, cap));
        slope = ry_sub(g, ry_scalar(g, 1), ry_square(g, u));
        z = ry_mul(g, u, cap);
    }
    ry_spec count = {.dtype = RY_I32, .rank = 1, .dim = {V}}, ignore = {.dtype = RY_I32, .rank = 1, .dim = {1}};
    ry_tensor hit = ry_cast(g, ry_eq(g, ry_iota(g, &count, 0, 0, 1), t), RY_F32);
    ry_tensor counts = ry_cast(g, ry_ne(g, t, ry_fill(g, &ignore, (double)a->ignore)), RY_F32); /* [R,1] */
    ry_tensor loss = ry_neg(g, ry_sum(g, ry_mul(g, ry_mul(g, hit, counts), ry_log_softmax(g, z, 1)), 0, false));
    out[LOSS] = ry_is_null(scale) ? loss : ry_mul(g, loss, RY_RESHAPE(g, scale, 1));
    out[LOSS] = ry_reshape(g, out[LOSS], 0, (int64_t[]){1});
    if (a->with_grad) {
        ry_tensor d = ry_mul(g, ry_sub(g, ry_softmax(g, z, 1), hit), counts);
        if (!ry_is_null(scale)) d = ry_mul(g, d, scale);
        if (!ry_is_null(slope)) d = ry_mul(g, d, slope);
        out[DX] = ry_matmul(g, d, w);
        if (ry_is_float(n->src[W]->spec.dtype)) out[DW] = ry_matmul(g, ry_transpose(g, d, 0, 1), x);
    }
    ry_graph_precision(g, was);
    return RY_OK;
}

static const lce_args plain = {.ignore = -100}, grads = {.ignore = -100, .with_grad = true},
                      capped = {.ignore = -100, .softcap = 1.5},
                      capped_grads = {.ignore = -100, .softcap = 1.5, .with_grad = true};
static const int32_t some[] = {3, -100, 0, 6, 2}, none[] = {-100, -100, -100};
#define M2(r, c)                                    \
    {                                               \
        .dtype = RY_F32, .rank = 2, .dim = { r, c } \
    }
#define T1(n, v) \
    { .dtype = RY_I32, .rank = 1, .dim = {n}, .values = v }
#define T1_BELOW(n, v) \
    { .dtype = RY_I32, .rank = 1, .dim = {n}, .lo = 0, .hi = v }
#define S0 \
    { .dtype = RY_F32, .rank = 0, .lo = 0.5f, .hi = 1.5f }
static const ry_sample samples[] = {
    {.name = "loss", .src = {M2(5, 4), M2(7, 4), T1(5, some)}, .n_src = 3, .args = &plain},
    {.name = "loss and gradients", .src = {M2(5, 4), M2(7, 4), T1(5, some)}, .n_src = 3, .args = &grads},
    {.name = "scaled", .src = {M2(5, 4), M2(7, 4), T1(5, some), S0}, .n_src = 4, .args = &plain},
    {.name = "scaled, with gradients", .src = {M2(5, 4), M2(7, 4), T1(5, some), S0}, .n_src = 4, .args = &grads},
    {.name = "softcap", .src = {M2(5, 4), M2(7, 4), T1(5, some)}, .n_src = 3, .args = &capped},
    {.name = "softcap, with gradients", .src = {M2(5, 4), M2(7, 4), T1(5, some)}, .n_src = 3, .args = &capped_grads},
    {.name = "all ignored", .src = {M2(3, 4), M2(7, 4), T1(3, none)}, .n_src = 3, .args = &grads},
    {.name = "several blocks",
     .src = {M2(150, 5), M2(2600, 5), T1_BELOW(150, 2600)},
     .n_src = 3,
     .args = &plain,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "several blocks, with gradients",
     .src = {M2(300, 5), M2(600, 5), T1_BELOW(300, 600)},
     .n_src = 3,
     .args = &grads,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "several rounds",
     .src = {M2(200, 3), M2(9000, 3), T1_BELOW(200, 9000)},
     .n_src = 3,
     .args = &grads,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {M2(0, 4), M2(7, 4), T1_BELOW(0, 7)}, .n_src = 3, .args = &grads},
    {.name = "q8_0 head",
     .src = {M2(3, 32), {.dtype = RY_Q8_0, .rank = 2, .dim = {7, 32}}, T1_BELOW(3, 7)},
     .n_src = 3,
     .args = &grads,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "train 1024 x 4096",
     .src = {M2(1024, 288), M2(4096, 288), T1_BELOW(1024, 4096)},
     .n_src = 3,
     .args = &grads,
     .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op linear_cross_entropy_row = {.name = "linear_cross_entropy",
                                               .doc = "x [R,C], w [V,C], targets [R], scale [] or none -> loss [], and "
                                                      "with_grad: dx [R,C], dw [V,C] in f32; on a GPU a "
                                                      "target that is no class gives a loss of NaN and no gradient",
                                               .arg_size = sizeof(lce_args),
                                               .args = args_of,
                                               .min_src = 3,
                                               .max_src = 4,
                                               .flags = RY_OP_CHECKED,
                                               .optional = 1u << SCALE,
                                               .infer = infer,
                                               .work = work,
                                               .cpu = cpu,
                                               .numbers = numbers,
                                               .lower = lower,
                                               .variants = variants,
                                               .launch = launch,
                                               .cut = in_windows,
                                               .vjp = vjp,
                                               .cost = cost,
                                               .tol = 1e-5f,
                                               .samples = samples};

ry_tensor ry_linear_cross_entropy(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor targets,
                                  const ry_linear_ce_options *o) {
    static const ry_linear_ce_options defaults = {.ignore = -100};
    if (!o) o = &defaults;
    lce_args args = {
        .ignore = o->ignore, .softcap = o->softcap, .product = (int32_t)ry_graph_product(g), .with_grad = o->with_grad};
    return ry_apply_row(g, &linear_cross_entropy_row, ry_is_null(o->scale) ? 3 : 4,
                        (ry_tensor[]){x, w, targets, o->scale}, &args);
}

RY_OP_MODULE(linear_cross_entropy, &linear_cross_entropy_row);
