/* conv2d.c - convolution over planes: windows are laid out as columns, a tile of positions at a time, and multiplied by simd/gemm.
 * Owns the rows conv2d, conv2d_dx and conv2d_dw, which are each other's gradients, and ry_conv2d. */
#include "ops/product.h"
#include "ops/windows.h"
#include "simd/rows.h"
#include <string.h>

typedef struct conv_args {
    int64_t stride[2], pad[2], dilation[2], groups; /* 0 = 1, except pad */
    int64_t size[2];                                /* conv2d_dx: the plane; conv2d_dw: the kernel */
    int32_t product;
} conv_args;
static const ry_arg args_of[] = {RY_ARG_ARRAY(conv_args, stride, RY_ARG_I64, 2),
                                 RY_ARG_ARRAY(conv_args, pad, RY_ARG_I64, 2),
                                 RY_ARG_ARRAY(conv_args, dilation, RY_ARG_I64, 2),
                                 RY_ARG(conv_args, groups, RY_ARG_I64),
                                 RY_ARG_ARRAY(conv_args, size, RY_ARG_I64, 2),
                                 RY_ARG(conv_args, product, RY_ARG_I32),
                                 {0}};
static const ry_op conv2d_row, conv2d_dx_row, conv2d_dw_row;

/* A convolution, whichever of its three tensors a row computes. */
typedef struct conv {
    windows w;
    int64_t N, G, O, C;             /* O, C: channels of one group */
    int64_t taps, plane, positions; /* elements of a kernel, of a plane, of an output plane */
    ry_dtype product;
} conv;

static const conv_args *args_or(const ry_node *n) {
    static const conv_args unset;
    return n->args ? n->args : &unset;
}

/* x [N,G C,H,W], w [G O,C,h,w] as far as known; checks everything, also the shape of y. Called again after infer it cannot fail. */
static ry_status conv_of(conv *c, const ry_node *n, const int64_t x[4], const int64_t w[4], const ry_spec *y) {
    const conv_args *a = args_or(n);
    *c = (conv){.N = x[0], .G = a->groups ? a->groups : 1, .product = product_of(a->product)};
    if (c->G < 1 || x[1] % c->G || w[0] % c->G || x[1] / c->G != w[1])
        return ry_fail_node(n, RY_ESHAPE,
                            "%lld channels in %lld groups do not fit weights [%lld,%lld,..]: these need [groups O, "
                            "channels / groups, h, w]",
                            (long long)x[1], (long long)c->G, (long long)w[0], (long long)w[1]);
    c->C = w[1], c->O = w[0] / c->G;
    for (int i = 0; i < 2; i++) {
        c->w.in[i] = x[2 + i], c->w.size[i] = w[2 + i], c->w.pad[i] = a->pad[i];
        c->w.stride[i] = a->stride[i] ? a->stride[i] : 1, c->w.dilation[i] = a->dilation[i] ? a->dilation[i] : 1;
    }
    RY_TRY(product_check(n, a->product));
    RY_TRY(windows_check(&c->w, n));
    RY_TRY(windows_count(&c->w, n, false));
    ry_spec columns = {
        .dtype = RY_F32, .rank = 6, .dim = {c->N, c->G * c->C, c->w.size[0], c->w.size[1], c->w.out[0], c->w.out[1]}};
    if (ry_numel(&columns) < 0) return ry_fail_node(n, RY_ESHAPE, "so many windows cannot be counted");
    if (y && (y->dim[0] != c->N || y->dim[1] != c->G * c->O || y->dim[2] != c->w.out[0] || y->dim[3] != c->w.out[1]))
        return ry_fail_node(n, RY_ESHAPE, "the output's gradient is %s, it must be [%lld,%lld,%lld,%lld]", ry_show(y).s,
                            (long long)c->N, (long long)(c->G * c->O), (long long)c->w.out[0], (long long)c->w.out[1]);
    c->taps = c->w.size[0] * c->w.size[1];
    c->plane = c->w.in[0] * c->w.in[1];
    c->positions = c->w.out[0] * c->w.out[1];
    return RY_OK;
}

static ry_status check_rank(const ry_node *n, int src, const char *what) {
    RY_TRY(product_operand(n, src, what));
    if (n->src[src]->spec.rank == 4) return RY_OK;
    return ry_fail_node(n, RY_ESHAPE, "%s is %s, it must have four dims", what, ry_show(&n->src[src]->spec).s);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return b ? (a + b - 1) / b : 0; }

enum { COLUMN_FLOATS = 65536, LEAST_POSITIONS = 32, MOST_POSITIONS = 1024, CHANNEL_ROWS = 128 };

/* Positions in a tile whose columns have `rows` rows: together about a quarter of a second-level cache. */
static int64_t tile_positions(const conv *c, int64_t rows) {
    int64_t p = rows ? COLUMN_FLOATS / rows / 16 * 16 : MOST_POSITIONS;
    p = p < LEAST_POSITIONS ? LEAST_POSITIONS : p > MOST_POSITIONS ? MOST_POSITIONS : p;
    return least(p, c->positions);
}

/* Channels whose rows are computed together. */
static int64_t block_channels(const conv *c) {
    int64_t n = c->taps ? CHANNEL_ROWS / c->taps : 1;
    return n < 1 ? 1 : least(n, c->C);
}

/* For a run of output positions in one output row: which input columns one tap reads. Input column of position x is x stride + shift. */
typedef struct run {
    int64_t first, last, shift;
} run; /* positions [first, last) read inside the plane */
static run run_of(const windows *w, int64_t j, int64_t x0, int64_t x1) {
    int64_t s = w->stride[1], shift = j * w->dilation[1] - w->pad[1];
    int64_t first = shift < 0 ? div_up(-shift, s) : 0, last = w->in[1] - shift > 0 ? div_up(w->in[1] - shift, s) : 0;
    run r = {first > x0 ? first : x0, last < x1 ? last : x1, shift};
    if (r.first > x1) r.first = x1;
    if (r.last < r.first) r.last = r.first;
    return r;
}

/* col[(channel, i, j)][ld] for channels [c0, c1) of the image whose first element is `at`, positions [p0, p1). */
static void lay_columns(float *col, int64_t ld, const conv *c, const void *x, ry_dtype t, int64_t at, int64_t c0,
                        int64_t c1, int64_t p0, int64_t p1, float *buf) {
    const windows *w = &c->w;
    for (int64_t ch = c0; ch < c1; ch++)
        for (int64_t i = 0; i < w->size[0]; i++)
            for (int64_t j = 0; j < w->size[1]; j++, col += ld)
                for (int64_t p = p0; p < p1;) {
                    int64_t oy = p / w->out[1], x0 = p - oy * w->out[1], x1 = least(w->out[1], x0 + p1 - p),
                            y = oy * w->stride[0] - w->pad[0] + i * w->dilation[0];
                    float *to = col + (p - p0) - x0;
                    run r = run_of(w, j, x0, x1);
                    if (y < 0 || y >= w->in[0]) r.first = r.last = x1;
                    for (int64_t k = x0; k < r.first; k++) to[k] = 0;
                    if (r.first < r.last) {
                        int64_t from = r.first * w->stride[1] + r.shift, n = (r.last - 1 - r.first) * w->stride[1] + 1;
                        const float *row = ry_load_row(x, t, at + ch * c->plane + y * w->in[1] + from, n, buf);
                        if (w->stride[1] == 1)
                            memcpy(to + r.first, row, (size_t)n * sizeof(float));
                        else
                            for (int64_t k = r.first; k < r.last; k++) to[k] = row[(k - r.first) * w->stride[1]];
                    }
                    for (int64_t k = r.last; k < x1; k++) to[k] = 0;
                    p += x1 - x0;
                }
}

/* The transpose: columns added to the planes of channels [c0, c1) of an f32 image. */
static void add_columns(float *x, const float *col, int64_t ld, const conv *c, int64_t c0, int64_t c1, int64_t p0,
                        int64_t p1) {
    const windows *w = &c->w;
    for (int64_t ch = c0; ch < c1; ch++)
        for (int64_t i = 0; i < w->size[0]; i++)
            for (int64_t j = 0; j < w->size[1]; j++, col += ld)
                for (int64_t p = p0; p < p1;) {
                    int64_t oy = p / w->out[1], x0 = p - oy * w->out[1], x1 = least(w->out[1], x0 + p1 - p),
                            y = oy * w->stride[0] - w->pad[0] + i * w->dilation[0];
                    const float *from = col + (p - p0) - x0;
                    run r = run_of(w, j, x0, x1);
                    if (y >= 0 && y < w->in[0]) {
                        float *row = x + ch * c->plane + y * w->in[1] + r.shift;
                        if (w->stride[1] == 1)
                            simd_rows()->add(row + r.first, row + r.first, from + r.first, r.last - r.first);
                        else
                            for (int64_t k = r.first; k < r.last; k++) row[k * w->stride[1]] += from[k];
                    }
                    p += x1 - x0;
                }
}

/* ---- kernels: a product a group of channels, see conv2d.wgsl ---- */

enum { FORWARD, TO_X, TO_W, TILE = 64 };

static ry_status launch_of(const ry_node *n, const conv *c, int form, ry_launch *l) {
    enum { GROUPS = 512, SLAB = 256 }; /* groups that fill a device; a slab is no shorter */
    int64_t M = form == TO_X ? c->C : c->O,
            N = form == FORWARD ? c->N * c->positions
                : form == TO_X  ? c->N * c->plane
                                : c->C * c->taps,
            K = form == FORWARD ? c->C * c->taps
                : form == TO_X  ? c->O * c->taps
                                : c->N * c->positions;
    int64_t tiles_m = div_up(M, TILE), tiles_n = div_up(N, TILE), slabs = 1, total = ry_count(&n->out[0].spec);
    while (form == TO_W && tiles_m * tiles_n * c->G * slabs < GROUPS && K / (2 * slabs) >= SLAB) slabs *= 2;
    int64_t slab = div_up(div_up(K, slabs), 16) * 16;
    slabs = slab ? div_up(K, slab) : 1;
    ry_launch_knob_set(l, "FORM", form);
    ry_launch_knob_set(l, "SLABS", slabs > 1);
    const struct {
        const char *name;
        int64_t value;
    } u[] = {{"G", c->G},
             {"O", c->O},
             {"C", c->C},
             {"M", M},
             {"N", N},
             {"K", K},
             {"taps", c->taps},
             {"plane", c->plane},
             {"positions", c->positions},
             {"size_x", c->w.size[1]},
             {"stride_y", c->w.stride[0]},
             {"stride_x", c->w.stride[1]},
             {"pad_y", c->w.pad[0]},
             {"pad_x", c->w.pad[1]},
             {"dilation_y", c->w.dilation[0]},
             {"dilation_x", c->w.dilation[1]},
             {"in_y", c->w.in[0]},
             {"in_x", c->w.in[1]},
             {"out_y", c->w.out[0]},
             {"out_x", c->w.out[1]},
             {"tiles_m", tiles_m},
             {"tiles_n", tiles_n},
             {"slab", slab},
             {"slabs", slabs}};
    for (size_t i = 0; i < sizeof u / sizeof *u; i++) ry_launch_u32(l, u[i].name, u[i].value);
    ry_launch_run(l, "main", total ? tiles_m * tiles_n * c->G * slabs : 0, 0);
    if (slabs > 1) {
        l->scratch = (size_t)(slabs * total + 1) * sizeof(float); /* never none: the text names it */
        ry_launch_run(l, "total", div_up(total, 256), 0);
    }
    return RY_OK;
}

/* ---- forward ---- */

enum { X, W, BIAS };

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    conv c;
    RY_TRY(check_rank(n, X, "x"));
    RY_TRY(check_rank(n, W, "w"));
    RY_TRY(conv_of(&c, n, n->src[X]->spec.dim, n->src[W]->spec.dim, NULL));
    if (n->n_src > BIAS && n->src[BIAS]) {
        const ry_spec *b = &n->src[BIAS]->spec;
        if (!ry_is_float(b->dtype) || b->rank != 1 || b->dim[0] != c.G * c.O)
            return ry_fail_node(n, RY_ESHAPE, "b is %s, it must be [%lld] of floats", ry_show(b).s,
                                (long long)(c.G * c.O));
    }
    out[0] = (ry_spec){.dtype = product_result(n->src[X]->spec.dtype, n->src[W]->spec.dtype),
                       .rank = 4,
                       .dim = {c.N, c.G * c.O, c.w.out[0], c.w.out[1]}};
    return RY_OK;
}

typedef struct forward {
    conv c;
    int64_t rows, tile, tiles; /* rows of columns; positions of a tile, tiles of an image */
    size_t col, own, buf; /* floats in local: columns, the tile of y where y is not f32, an input row; then gemm's */
} forward;

static forward forward_of(const ry_node *n) {
    forward f;
    (void)conv_of(&f.c, n, n->src[X]->spec.dim, n->src[W]->spec.dim, NULL); /* infer has checked it */
    f.rows = f.c.C * f.c.taps;
    f.tile = tile_positions(&f.c, f.rows);
    f.tiles = div_up(f.c.positions, f.tile);
    f.col = (size_t)(f.rows * f.tile);
    f.own = n->out[0].spec.dtype == RY_F32 ? 0 : (size_t)(f.c.O * f.tile);
    f.buf = (size_t)f.c.w.in[1];
    return f;
}

static simd_gemm forward_gemm(const ry_node *n, const forward *f) {
    return (simd_gemm){.m = f->c.O,
                       .n = f->tile,
                       .k = f->rows,
                       .a = {NULL, n->src[W]->spec.dtype, f->rows, 1},
                       .b = {NULL, RY_F32, f->tile, 1},
                       .c_dtype = RY_F32,
                       .ldc = f->tile,
                       .product = f->c.product};
}

static ry_work work(const ry_node *n) {
    forward f = forward_of(n);
    if (ry_count(&n->out[0].spec) == 0) return (ry_work){0};
    simd_gemm g = forward_gemm(n, &f);
    return (ry_work){.parts = {f.c.N * f.c.G * f.tiles},
                     .local = product_align((f.col + f.own + f.buf) * sizeof(float)) + simd_gemm_tile_local(&g)};
}

static ry_status cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    if (ry_count(&n->out[0].spec) == 0) return RY_OK;
    forward f = forward_of(n);
    const conv *v = &f.c;
    int64_t p0 = c->part % f.tiles * f.tile, p1 = least(p0 + f.tile, v->positions), group = c->part / f.tiles % v->G,
            image = c->part / f.tiles / v->G;
    float *col = c->local, *own = col + f.col, *buf = own + f.own, bias[1];
    lay_columns(col, f.tile, v, c->src[X], n->src[X]->spec.dtype, (image * v->G + group) * v->C * v->plane, 0, v->C, p0,
                p1, buf);
    simd_gemm g = forward_gemm(n, &f);
    ry_dtype t = n->out[0].spec.dtype;
    int64_t at = (image * v->G + group) * v->O * v->positions + p0;
    g.n = p1 - p0;
    g.a.data = product_at(c->src[W], g.a.dtype, group * v->O * f.rows);
    g.b.data = col;
    g.c = own;
    if (t == RY_F32) {
        g.c = (float *)c->out[0] + at;
        g.ldc = v->positions;
    }
    if (n->n_src > BIAS && n->src[BIAS]) {
        for (int64_t o = 0; o < v->O; o++)
            simd_rows()->fill((float *)g.c + o * g.ldc,
                              *ry_load_row(c->src[BIAS], n->src[BIAS]->spec.dtype, group * v->O + o, 1, bias), g.n);
        g.accumulate = true;
    }
    simd_gemm_tile(&g, (char *)c->local + product_align((f.col + f.own + f.buf) * sizeof(float)));
    for (int64_t o = 0; t != RY_F32 && o < v->O; o++)
        ry_store_row(c->out[0], t, at + o * v->positions, g.n, own + o * f.tile);
    return RY_OK;
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    forward f = forward_of(n);
    return launch_of(n, &f.c, FORWARD, l);
}

static ry_cost cost_of(const ry_node *n, const conv *c) {
    ry_cost r = {.flops = 2 * (double)(c->N * c->G * c->O) * (double)c->positions * (double)(c->C * c->taps)};
    for (int i = 0; i < 2; i++) r.bytes += (double)ry_bytes_of(n->src[i]->spec.dtype, ry_count(&n->src[i]->spec));
    r.bytes += (double)ry_bytes_of(n->out[0].spec.dtype, ry_count(&n->out[0].spec));
    return r;
}
static ry_cost cost(const ry_node *n) {
    forward f = forward_of(n);
    return cost_of(n, &f.c);
}

static conv_args with_size(const ry_node *n, const ry_spec *s) {
    conv_args a = *(const conv_args *)n->args;
    a.size[0] = s->dim[2], a.size[1] = s->dim[3];
    return a;
}

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    conv_args dx = with_size(n, &n->src[X]->spec), dw = with_size(n, &n->src[W]->spec);
    gx[X] = RY_APPLY(g, &conv2d_dx_row, &dx, ry_src(g, n, W), gy[0]);
    gx[W] = RY_APPLY(g, &conv2d_dw_row, &dw, ry_src(g, n, X), gy[0]);
    if (n->n_src > BIAS && n->src[BIAS]) gx[BIAS] = ry_sum(g, gy[0], RY_AXIS(0) | RY_AXIS(2) | RY_AXIS(3), false);
    return RY_OK;
}

/* Product precision as the node has it, for its composed form. */
static ry_dtype precision(ry_graph *g, ry_dtype t) {
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, t);
    return was;
}

/* w[:, :, i, j] as [1,G,O,C] f32 */
static ry_tensor weight_tap(ry_graph *g, ry_tensor w, const conv *c, int64_t i, int64_t j) {
    w = ry_slice(g, ry_slice(g, ry_cast(g, w, RY_F32), 2, i, i + 1, 1), 3, j, j + 1, 1);
    return RY_RESHAPE(g, w, 1, c->G, c->O, c->C);
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    forward f = forward_of(n);
    const conv *c = &f.c;
    ry_dtype was = precision(g, c->product);
    ry_tensor x = windows_pad(g, ry_cast(g, ry_src(g, n, X), RY_F32), &c->w, 0), y = RY_NULL;
    for (int64_t i = 0; i < c->w.size[0]; i++)
        for (int64_t j = 0; j < c->w.size[1]; j++) {
            ry_tensor tap = RY_RESHAPE(g, windows_tap(g, x, &c->w, i, j), c->N, c->G, c->C, c->positions);
            ry_tensor part = ry_matmul(g, weight_tap(g, ry_src(g, n, W), c, i, j), tap);
            y = ry_is_null(y) ? part : ry_add(g, y, part);
        }
    precision(g, was);
    y = RY_RESHAPE(g, y, c->N, c->G * c->O, c->w.out[0], c->w.out[1]);
    if (n->n_src > BIAS && n->src[BIAS])
        y = ry_add(g, y, RY_RESHAPE(g, ry_cast(g, ry_src(g, n, BIAS), RY_F32), c->G * c->O, 1, 1));
    out[0] = ry_cast(g, y, n->out[0].spec.dtype);
    return RY_OK;
}

/* ---- gradient to x: columns of gradients, added where they came from ---- */

enum { DX_W, DX_UP };

static ry_status dx_conv(conv *c, const ry_node *n) {
    const conv_args *a = args_or(n);
    const ry_spec *w = &n->src[DX_W]->spec, *up = &n->src[DX_UP]->spec;
    int64_t groups = a->groups > 0 ? a->groups : 1;
    if (w->dim[1] > INT64_MAX / groups || a->size[0] < 0 || a->size[1] < 0)
        return ry_fail_node(n, RY_EARG, "a plane of %lld x %lld in %lld groups", (long long)a->size[0],
                            (long long)a->size[1], (long long)a->groups);
    int64_t x[] = {up->dim[0], w->dim[1] * groups, a->size[0], a->size[1]};
    return conv_of(c, n, x, w->dim, up);
}

static ry_status dx_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    conv c;
    RY_TRY(check_rank(n, DX_W, "w"));
    RY_TRY(check_rank(n, DX_UP, "the gradient"));
    RY_TRY(dx_conv(&c, n));
    out[0] = (ry_spec){.dtype = RY_F32, .rank = 4, .dim = {c.N, c.G * c.C, c.w.in[0], c.w.in[1]}};
    return RY_OK;
}

typedef struct backward { /* of a block of channels */
    conv c;
    int64_t channels, blocks, rows, tile; /* channels of a block, blocks, rows of its columns, positions of a tile */
} backward;

static backward backward_of(conv c) {
    backward b = {.c = c, .channels = block_channels(&c)};
    b.blocks = div_up(c.C, b.channels);
    b.rows = b.channels * c.taps;
    b.tile = tile_positions(&c, b.rows);
    return b;
}

static simd_gemm dx_gemm(const ry_node *n, const backward *b) {
    return (simd_gemm){.m = b->rows,
                       .n = b->tile,
                       .k = b->c.O,
                       .a = {NULL, n->src[DX_W]->spec.dtype, 1, b->c.C * b->c.taps},
                       .b = {NULL, n->src[DX_UP]->spec.dtype, b->c.positions, 1},
                       .c_dtype = RY_F32,
                       .ldc = b->tile,
                       .product = b->c.product};
}

static ry_work dx_work(const ry_node *n) {
    conv c;
    if (dx_conv(&c, n) != RY_OK || ry_count(&n->out[0].spec) == 0) return (ry_work){0};
    backward b = backward_of(c);
    simd_gemm g = dx_gemm(n, &b);
    return (ry_work){.parts = {c.N * c.G * b.blocks},
                     .local = product_align((size_t)(b.rows * b.tile) * sizeof(float)) + simd_gemm_tile_local(&g)};
}

static ry_status dx_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    conv v;
    RY_TRY(dx_conv(&v, n));
    if (ry_count(&n->out[0].spec) == 0) return RY_OK;
    backward b = backward_of(v);
    int64_t c0 = c->part % b.blocks * b.channels, c1 = least(c0 + b.channels, v.C), group = c->part / b.blocks % v.G,
            image = c->part / b.blocks / v.G;
    float *col = c->local, *x = (float *)c->out[0] + (image * v.G + group) * v.C * v.plane;
    simd_rows()->fill(x + c0 * v.plane, 0, (c1 - c0) * v.plane);
    simd_gemm g = dx_gemm(n, &b);
    g.m = (c1 - c0) * v.taps;
    g.a.data = product_at(c->src[DX_W], g.a.dtype, group * v.O * v.C * v.taps + c0 * v.taps);
    g.c = col;
    for (int64_t p = 0; p < v.positions; p += b.tile) {
        g.n = least(b.tile, v.positions - p);
        g.b.data = product_at(c->src[DX_UP], g.b.dtype, (image * v.G + group) * v.O * v.positions + p);
        if (g.m) simd_gemm_tile(&g, (char *)c->local + product_align((size_t)(b.rows * b.tile) * sizeof(float)));
        add_columns(x, col, b.tile, &v, c0, c1, p, p + g.n);
    }
    return RY_OK;
}

static ry_status dx_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    conv c;
    (void)v;
    RY_TRY(dx_conv(&c, n));
    return launch_of(n, &c, TO_X, l);
}

static ry_cost dx_cost(const ry_node *n) {
    conv c;
    return dx_conv(&c, n) == RY_OK ? cost_of(n, &c) : (ry_cost){0};
}

static ry_status dx_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    conv_args dw = with_size(n, &n->src[DX_W]->spec);
    gx[DX_W] = RY_APPLY(g, &conv2d_dw_row, &dw, gy[0], ry_src(g, n, DX_UP));
    gx[DX_UP] = RY_APPLY(g, &conv2d_row, n->args, gy[0], ry_src(g, n, DX_W));
    return RY_OK;
}

static ry_status dx_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    conv c;
    RY_TRY(dx_conv(&c, n));
    ry_dtype was = precision(g, c.product);
    ry_tensor up = RY_RESHAPE(g, ry_cast(g, ry_src(g, n, DX_UP), RY_F32), c.N, c.G, c.O, c.positions), d = RY_NULL;
    for (int64_t i = 0; i < c.w.size[0]; i++)
        for (int64_t j = 0; j < c.w.size[1]; j++) {
            ry_tensor part = ry_matmul(g, ry_transpose(g, weight_tap(g, ry_src(g, n, DX_W), &c, i, j), -1, -2), up);
            part = windows_place(g, RY_RESHAPE(g, part, c.N, c.G * c.C, c.w.out[0], c.w.out[1]), &c.w, i, j);
            d = ry_is_null(d) ? part : ry_add(g, d, part);
        }
    precision(g, was);
    out[0] = d;
    return RY_OK;
}

/* ---- gradient to w: images in slabs, each with its own sum where there are few other parts, then the sums added in order ---- */

enum { DW_X, DW_UP, ENOUGH_PARTS = 32 };

static ry_status dw_conv(conv *c, const ry_node *n) {
    const conv_args *a = args_or(n);
    const ry_spec *x = &n->src[DW_X]->spec, *up = &n->src[DW_UP]->spec;
    int64_t groups = a->groups > 0 ? a->groups : 1, w[] = {up->dim[1], x->dim[1] / groups, a->size[0], a->size[1]};
    return conv_of(c, n, x->dim, w, up);
}

static ry_status dw_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    conv c;
    RY_TRY(check_rank(n, DW_X, "x"));
    RY_TRY(check_rank(n, DW_UP, "the gradient"));
    RY_TRY(dw_conv(&c, n));
    out[0] = (ry_spec){.dtype = RY_F32, .rank = 4, .dim = {c.G * c.O, c.C, c.w.size[0], c.w.size[1]}};
    return RY_OK;
}

static int64_t slabs_of(const backward *b) {
    int64_t others = b->c.G * b->blocks, want = others ? div_up(ENOUGH_PARTS, others) : 1;
    int64_t slabs = least(want, b->c.N);
    return slabs < 1 ? 1 : slabs;
}

static simd_gemm dw_gemm(const ry_node *n, const backward *b) {
    return (simd_gemm){.m = b->c.O,
                       .n = b->rows,
                       .k = b->tile,
                       .a = {NULL, n->src[DW_UP]->spec.dtype, b->c.positions, 1},
                       .b = {NULL, RY_F32, 1, b->tile},
                       .c_dtype = RY_F32,
                       .ldc = b->c.C * b->c.taps,
                       .product = b->c.product};
}

static ry_work dw_work(const ry_node *n) {
    conv c;
    int64_t total = ry_count(&n->out[0].spec);
    if (dw_conv(&c, n) != RY_OK || total == 0) return (ry_work){0};
    backward b = backward_of(c);
    int64_t slabs = slabs_of(&b);
    simd_gemm g = dw_gemm(n, &b);
    ry_work w = {.parts = {c.G * b.blocks * slabs}};
    w.local = product_align(((size_t)(b.rows * b.tile) + (size_t)c.w.in[1]) * sizeof(float)) + simd_gemm_tile_local(&g);
    if (slabs > 1) {
        w.phases = 2;
        w.parts[1] = ry_row_parts(total, 1);
        w.scratch = (size_t)(slabs * total) * sizeof(float);
    }
    return w;
}

static ry_status dw_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const simd_rows_table *r = simd_rows();
    conv v;
    RY_TRY(dw_conv(&v, n));
    int64_t total = ry_count(&n->out[0].spec), width = v.C * v.taps;
    if (total == 0) return RY_OK;
    backward b = backward_of(v);
    int64_t slabs = slabs_of(&b), slab = c->part % slabs, block = c->part / slabs % b.blocks,
            group = c->part / slabs / b.blocks;
    if (c->phase == 1) {
        int64_t begin, end;
        ry_row_range(total, 1, c->part, &begin, &end);
        float *y = (float *)c->out[0] + begin;
        const float *x = (const float *)c->scratch + begin;
        r->add(y, x, x + total, end - begin);
        for (int64_t s = 2; s < slabs; s++) r->add(y, y, x + s * total, end - begin);
        return RY_OK;
    }
    int64_t c0 = block * b.channels, c1 = least(c0 + b.channels, v.C);
    float *col = c->local, *buf = col + b.rows * b.tile,
          *sum =
              (slabs > 1 ? (float *)c->scratch + slab * total : (float *)c->out[0]) + group * v.O * width + c0 * v.taps;
    simd_gemm g = dw_gemm(n, &b);
    g.n = (c1 - c0) * v.taps;
    g.b.data = col;
    g.c = sum;
    for (int64_t o = 0; o < v.O; o++) r->fill(sum + o * width, 0, g.n);
    g.accumulate = true;
    for (int64_t image = v.N * slab / slabs; image < v.N * (slab + 1) / slabs; image++)
        for (int64_t p = 0; p < v.positions; p += b.tile) {
            g.k = least(b.tile, v.positions - p);
            lay_columns(col, b.tile, &v, c->src[DW_X], n->src[DW_X]->spec.dtype, (image * v.G + group) * v.C * v.plane,
                        c0, c1, p, p + g.k, buf);
            g.a.data = product_at(c->src[DW_UP], g.a.dtype, (image * v.G + group) * v.O * v.positions + p);
            simd_gemm_tile(&g, (char *)c->local +
                                   product_align(((size_t)(b.rows * b.tile) + (size_t)v.w.in[1]) * sizeof(float)));
        }
    return RY_OK;
}

static ry_status dw_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    conv c;
    (void)v;
    RY_TRY(dw_conv(&c, n));
    return launch_of(n, &c, TO_W, l);
}

static ry_cost dw_cost(const ry_node *n) {
    conv c;
    return dw_conv(&c, n) == RY_OK ? cost_of(n, &c) : (ry_cost){0};
}

static ry_status dw_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    conv_args dx = with_size(n, &n->src[DW_X]->spec);
    gx[DW_X] = RY_APPLY(g, &conv2d_dx_row, &dx, gy[0], ry_src(g, n, DW_UP));
    gx[DW_UP] = RY_APPLY(g, &conv2d_row, n->args, ry_src(g, n, DW_X), gy[0]);
    return RY_OK;
}

static ry_status dw_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    conv c;
    RY_TRY(dw_conv(&c, n));
    ry_dtype was = precision(g, c.product);
    ry_tensor up = RY_RESHAPE(g, ry_cast(g, ry_src(g, n, DW_UP), RY_F32), c.N, c.G, c.O, c.positions), d = RY_NULL;
    ry_tensor x = windows_pad(g, ry_cast(g, ry_src(g, n, DW_X), RY_F32), &c.w, 0);
    for (int64_t i = 0; i < c.w.size[0]; i++)
        for (int64_t j = 0; j < c.w.size[1]; j++) {
            ry_tensor tap =
                ry_transpose(g, RY_RESHAPE(g, windows_tap(g, x, &c.w, i, j), c.N, c.G, c.C, c.positions), -1, -2);
            ry_tensor part = RY_RESHAPE(g, ry_sum(g, ry_matmul(g, up, tap), RY_AXIS(0), false), c.G * c.O, c.C, 1);
            d = ry_is_null(d) ? part : ry_concat(g, 2, (ry_tensor[]){d, part}, 2);
        }
    precision(g, was);
    out[0] = RY_RESHAPE(g, d, c.G * c.O, c.C, c.w.size[0], c.w.size[1]);
    return RY_OK;
}

static const conv_args strided = {.stride = {2, 1}, .pad = {1, 2}},
                       dilated = {.pad = {2, 1}, .dilation = {2, 1}, .stride = {1, 2}},
                       grouped = {.groups = 2, .pad = {1, 1}}, same = {.pad = {1, 1}};
static const conv_args plain_dx = {.size = {6, 5}}, strided_dx = {.stride = {2, 1}, .pad = {1, 2}, .size = {8, 6}},
                       grouped_dx = {.groups = 2, .pad = {1, 1}, .size = {5, 4}};
static const conv_args plain_dw = {.size = {3, 2}}, strided_dw = {.stride = {2, 1}, .pad = {1, 2}, .size = {3, 3}},
                       grouped_dw = {.groups = 2, .pad = {1, 1}, .size = {3, 3}};
#define P4(n, c, h, w)                                    \
    {                                                     \
        .dtype = RY_F32, .rank = 4, .dim = { n, c, h, w } \
    }
#define V1(n)                                    \
    {                                            \
        .dtype = RY_F32, .rank = 1, .dim = { n } \
    }
static const ry_sample samples[] = {
    {.name = "plain", .src = {P4(2, 3, 6, 5), P4(4, 3, 3, 2)}, .n_src = 2},
    {.name = "bias, strides, padding", .src = {P4(2, 2, 8, 6), P4(3, 2, 3, 3), V1(3)}, .n_src = 3, .args = &strided},
    {.name = "dilation", .src = {P4(1, 2, 7, 7), P4(2, 2, 3, 3)}, .n_src = 2, .args = &dilated},
    {.name = "groups", .src = {P4(2, 4, 5, 4), P4(6, 2, 3, 3), V1(6)}, .n_src = 3, .args = &grouped},
    {.name = "one by one", .src = {P4(2, 5, 3, 3), P4(4, 5, 1, 1)}, .n_src = 2},
    {.name = "several tiles",
     .src = {P4(1, 20, 24, 30), P4(5, 20, 5, 5)},
     .n_src = 2,
     .args = &same,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no images", .src = {P4(0, 3, 6, 5), P4(4, 3, 3, 2)}, .n_src = 2},
    {.name = "64 channels",
     .src = {P4(4, 64, 56, 56), P4(64, 64, 3, 3)},
     .n_src = 2,
     .args = &same,
     .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_sample dx_samples[] = {
    {.name = "plain", .src = {P4(4, 3, 3, 2), P4(2, 4, 4, 4)}, .args = &plain_dx},
    {.name = "strides, padding", .src = {P4(3, 2, 3, 3), P4(2, 3, 4, 8)}, .args = &strided_dx},
    {.name = "groups", .src = {P4(6, 2, 3, 3), P4(2, 6, 5, 4)}, .args = &grouped_dx},
    {0}};
static const ry_sample dw_samples[] = {
    {.name = "plain", .src = {P4(2, 3, 6, 5), P4(2, 4, 4, 4)}, .args = &plain_dw},
    {.name = "strides, padding", .src = {P4(3, 2, 8, 6), P4(3, 3, 4, 8)}, .args = &strided_dw},
    {.name = "groups", .src = {P4(2, 4, 5, 4), P4(2, 6, 5, 4)}, .args = &grouped_dw},
    {.name = "slabs",
     .src = {P4(3, 3, 30, 20), P4(3, 4, 29, 19)},
     .args = &(const conv_args){.size = {2, 2}},
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no images", .src = {P4(0, 3, 6, 5), P4(0, 4, 4, 4)}, .args = &plain_dw},
    {0}};

#define CONV(name_, doc_) \
    .name = name_, .doc = doc_, .arg_size = sizeof(conv_args), .args = args_of, .min_src = 2, .tol = 1e-5f
static const ry_op conv2d_row = {CONV("conv2d", "x [N,C,H,W], w [O,C/groups,h,w], b [O] or none -> [N,O,OH,OW]"),
                                 .max_src = 3,
                                 .optional = 1u << BIAS,
                                 .infer = infer,
                                 .work = work,
                                 .cpu = cpu,
                                 .launch = launch,
                                 .lower = lower,
                                 .vjp = vjp,
                                 .cost = cost,
                                 .samples = samples};
static const ry_op conv2d_dx_row = {CONV("conv2d_dx", "w [O,C/groups,h,w], gradient [N,O,OH,OW] -> [N,C,H,W] f32"),
                                    .max_src = 2,
                                    .infer = dx_infer,
                                    .work = dx_work,
                                    .cpu = dx_cpu,
                                    .wgsl = "conv2d.wgsl",
                                    .launch = dx_launch,
                                    .lower = dx_lower,
                                    .vjp = dx_vjp,
                                    .cost = dx_cost,
                                    .samples = dx_samples};
static const ry_op conv2d_dw_row = {CONV("conv2d_dw", "x [N,C,H,W], gradient [N,O,OH,OW] -> [O,C/groups,h,w] f32"),
                                    .max_src = 2,
                                    .infer = dw_infer,
                                    .work = dw_work,
                                    .cpu = dw_cpu,
                                    .wgsl = "conv2d.wgsl",
                                    .launch = dw_launch,
                                    .lower = dw_lower,
                                    .vjp = dw_vjp,
                                    .cost = dw_cost,
                                    .samples = dw_samples};

ry_tensor ry_conv2d(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b, const ry_conv2d_options *o) {
    conv_args a = {.product = (int32_t)ry_graph_product(g)};
    if (o) {
        a.groups = o->groups;
        for (int i = 0; i < 2; i++) a.stride[i] = o->stride[i], a.pad[i] = o->pad[i], a.dilation[i] = o->dilation[i];
    }
    return ry_apply_row(g, &conv2d_row, ry_is_null(b) ? 2 : 3, (ry_tensor[]){x, w, b}, &a);
}

RY_OP_MODULE(conv2d, &conv2d_row, &conv2d_dx_row, &conv2d_dw_row);
