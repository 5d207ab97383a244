/* rope.c - rotary position embedding (Su et al. 2021): pairs of dims turn by position times frequency.  Owns the row and ry_rope. */
#include "ops/rope.h"
#include "simd/rows.h"
#include <math.h>
#include <rusty/ops.h>
#include <string.h>

const ry_arg rope_args_of[] = {RY_ARG(rope_args, scale, RY_ARG_F64),
                                 RY_ARG(rope_args, rotary, RY_ARG_I64),
                                 RY_ARG(rope_args, interleaved, RY_ARG_BOOL),
                                 RY_ARG(rope_args, inverse, RY_ARG_BOOL),
                                 {0}};
static const ry_op rope_row;
enum { X, POS, FREQ };

static int64_t rotary_of(const ry_node *n) {
    const rope_args *a = n->args;
    return a && a->rotary ? a->rotary : n->src[X]->spec.dim[3];
}

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[X]->spec, *p = &n->src[POS]->spec, *f = &n->src[FREQ]->spec;
    if (!ry_is_float(x->dtype) || x->rank != 4)
        return ry_fail_node(n, RY_ESHAPE, "x is %s, it must be [B,T,H,D] of floats", ry_show(x).s);
    int64_t rotary = rotary_of(n);
    if (rotary < 0 || rotary > x->dim[3] || rotary % 2)
        return ry_fail_node(n, RY_EARG, "%lld dims cannot turn in pairs: rotary must be even and at most D of x %s",
                            (long long)rotary, ry_show(x).s);
    bool shared = p->rank == 1 && p->dim[0] == x->dim[1],
         own = p->rank == 2 && p->dim[0] == x->dim[0] && p->dim[1] == x->dim[1];
    if ((p->dtype != RY_I32 && p->dtype != RY_I64) || (!shared && !own))
        return ry_fail_node(n, RY_ESHAPE, "pos is %s, with x %s it must be [B,T] or [T] of i32", ry_show(p).s,
                            ry_show(x).s);
    if (!ry_is_float(f->dtype) || f->rank != 1 || f->dim[0] != rotary / 2)
        return ry_fail_node(n, RY_ESHAPE, "freq is %s, it must be [%lld] of floats", ry_show(f).s,
                            (long long)(rotary / 2));
    out[0] = *x;
    return RY_OK;
}

enum { PART_ELEMENTS = 16384 };

static int64_t rows_each(const ry_spec *s) {
    int64_t n = s->dim[2] * s->dim[3];
    return n >= PART_ELEMENTS || n == 0 ? 1 : PART_ELEMENTS / n;
}

static ry_work work(const ry_node *n) {
    const ry_spec *s = &n->out[0].spec;
    int64_t rows = s->dim[0] * s->dim[1], each = rows_each(s), half = rotary_of(n) / 2;
    return (ry_work){.parts = {(rows + each - 1) / each}, .local = sizeof(float) * (size_t)(4 * half + 2 * s->dim[3])};
}

static ry_status cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const rope_args *a = n->args;
    const ry_value *x = n->src[X];
    const ry_spec *s = &n->out[0].spec;
    const simd_rows_table *r = simd_rows();
    int64_t T = s->dim[1], H = s->dim[2], D = s->dim[3], rotary = rotary_of(n), half = rotary / 2;
    if (ry_count(s) == 0) return RY_OK;
    float *angle = c->local, *cosine = angle + half, *sine = cosine + half, *freq = sine + half, *in = freq + half,
          *res = in + D;
    const float *f = ry_load_row(c->src[FREQ], n->src[FREQ]->spec.dtype, 0, half, freq);
    float scale = (float)rope_scale_of(a), turn = a->inverse ? -scale : scale;
    int64_t each = rows_each(s), end = (c->part + 1) * each < s->dim[0] * T ? (c->part + 1) * each : s->dim[0] * T;
    ry_dtype t = s->dtype, pt = n->src[POS]->spec.dtype;
    for (int64_t row = c->part * each; row < end; row++) {
        int64_t b = row / T, time = row % T, at = b * x->stride[0] + time * x->stride[1];
        float pos = (float)ry_load_index(c->src[POS], pt, n->src[POS]->spec.rank == 2 ? row : time);
        r->scale(angle, f, pos, half);
        r->sin_cos(sine, cosine, angle, half);
        r->scale(cosine, cosine, scale, half);
        r->scale(sine, sine, turn, half);
        for (int64_t h = 0; h < H; h++) {
            const float *from = ry_load_row(c->src[X], t, at + h * x->stride[2], D, in);
            int64_t to = (row * H + h) * D;
            float *y = ry_row_out(c->out[0], t, to, res);
            (a->interleaved ? r->rope_pairs : r->rope_half)(y, from, cosine, sine, half);
            if (y != from && rotary < D) memcpy(y + rotary, from + rotary, (size_t)(D - rotary) * sizeof(float));
            ry_store_row(c->out[0], t, to, D, y);
        }
    }
    return RY_OK;
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { HEADS = 4, THREADS = 256 };
    const rope_args *a = n->args;
    const ry_spec *s = &n->out[0].spec, *p = &n->src[POS]->spec;
    const int64_t heads = s->dim[2] < 1 ? 1 : s->dim[2] < HEADS ? s->dim[2] : HEADS; /* of a thread */
    int64_t D = s->dim[3], rotary = rotary_of(n), half = rotary / 2, pair_units = (half + 3) / 4,
            units = pair_units + (D - rotary + 3) / 4, chunks = (s->dim[2] + heads - 1) / heads,
            threads = s->dim[0] * s->dim[1] * units * chunks;
    double scale = rope_scale_of(a);
    ry_launch_rows(l, "x_row", n, X);
    if (rotary % 4 == 0 && D % 4 == 0 && (a->interleaved || half % 4 == 0))
        l->vec |= RY_USES_SRC(FREQ) | RY_USES_OUT(0);
    else
        l->vec &= ~RY_USES_SRC(X);
    if (half % 4) l->vec &= ~RY_USES_SRC(FREQ);
    ry_launch_knob_set(l, "HEADS", (int)heads);
    ry_launch_knob_set(l, "WG", THREADS);
    ry_launch_u32(l, "threads", threads);
    ry_launch_u32(l, "units", units);
    ry_launch_u32(l, "pair_units", pair_units);
    ry_launch_u32(l, "chunks", chunks);
    ry_launch_u32(l, "heads", s->dim[2]);
    ry_launch_u32(l, "len", D);
    ry_launch_u32(l, "half", half);
    ry_launch_u32(l, "rotary", rotary); /* not the argument, which may be 0 */
    ry_launch_u32(l, "positions", ry_count(p));
    ry_launch_u32(l, "zero", 0);
    ry_launch_f32(l, "cosine", scale);
    ry_launch_f32(l, "sine", a->inverse ? -scale : scale);
    ry_launch_run(l, "main", (threads + THREADS - 1) / THREADS, 0);
    return RY_OK;
}

/* A rotation's transpose turns back. Positions and frequencies are data. */
static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    rope_args back = *(const rope_args *)n->args;
    back.inverse = !back.inverse;
    gx[X] = RY_APPLY(g, &rope_row, &back, gy[0], ry_src(g, n, POS), ry_src(g, n, FREQ));
    return RY_OK;
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const rope_args *a = n->args;
    const ry_spec x = n->src[X]->spec, pos = n->src[POS]->spec;
    int64_t rotary = rotary_of(n), half = rotary / 2, B = x.dim[0], T = x.dim[1], H = x.dim[2];
    ry_tensor f = ry_cast(g, ry_src(g, n, FREQ), RY_F32), p = ry_cast(g, ry_src(g, n, POS), RY_F32);
    ry_tensor angle = ry_mul(g, RY_RESHAPE(g, p, pos.rank == 2 ? B : 1, T, 1, 1), f), scale = ry_scalar(g, rope_scale_of(a));
    ry_tensor c = ry_mul(g, ry_cos(g, angle), scale),
              s = ry_mul(g, ry_sin(g, angle), a->inverse ? ry_neg(g, scale) : scale);
    ry_tensor all = ry_cast(g, ry_src(g, n, X), RY_F32), turned = ry_slice(g, all, 3, 0, rotary, 1), u, v;
    if (a->interleaved) {
        u = ry_slice(g, turned, 3, 0, rotary, 2);
        v = ry_slice(g, turned, 3, 1, rotary, 2);
    } else {
        u = ry_slice(g, turned, 3, 0, half, 1);
        v = ry_slice(g, turned, 3, half, rotary, 1);
    }
    ry_tensor first = ry_sub(g, ry_mul(g, u, c), ry_mul(g, v, s)), second = ry_add(g, ry_mul(g, v, c), ry_mul(g, u, s)),
              y;
    if (a->interleaved) {
        ry_tensor pair[] = {RY_RESHAPE(g, first, B, T, H, half, 1), RY_RESHAPE(g, second, B, T, H, half, 1)};
        y = RY_RESHAPE(g, ry_concat(g, 2, pair, 4), B, T, H, rotary);
    } else {
        y = ry_concat(g, 2, (ry_tensor[]){first, second}, 3);
    }
    if (rotary < x.dim[3]) y = ry_concat(g, 2, (ry_tensor[]){y, ry_slice(g, all, 3, rotary, x.dim[3], 1)}, 3);
    out[0] = ry_cast(g, y, x.dtype);
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    double elements = (double)ry_count(&n->out[0].spec), turned = (double)rotary_of(n);
    double share = n->out[0].spec.dim[3] ? turned / (double)n->out[0].spec.dim[3] : 0;
    return (ry_cost){.flops = 3 * elements * share,
                     .bytes = 2 * elements * (double)ry_bytes_of(n->out[0].spec.dtype, 1)};
}

static const rope_args pairs = {.interleaved = true}, partial = {.rotary = 6, .scale = 1.25}, back = {.inverse = true},
                       pairs_back = {.interleaved = true, .inverse = true, .rotary = 4};
#define Q4(b, t, h, d)                                    \
    {                                                     \
        .dtype = RY_F32, .rank = 4, .dim = { b, t, h, d } \
    }
#define POS1(t) \
    { .dtype = RY_I32, .rank = 1, .dim = {t}, .lo = 0, .hi = 50 }
#define POS2(b, t) \
    { .dtype = RY_I32, .rank = 2, .dim = {b, t}, .lo = 0, .hi = 50 }
#define FREQS(n) \
    { .dtype = RY_F32, .rank = 1, .dim = {n}, .lo = 0.01f, .hi = 1 }
static const ry_sample samples[] = {
    {.name = "half split", .src = {Q4(2, 5, 3, 8), POS1(5), FREQS(4)}},
    {.name = "interleaved", .src = {Q4(2, 5, 3, 8), POS2(2, 5), FREQS(4)}, .args = &pairs},
    {.name = "partial, scaled", .src = {Q4(1, 4, 2, 10), POS2(1, 4), FREQS(3)}, .args = &partial},
    {.name = "inverse", .src = {Q4(1, 4, 1, 6), POS1(4), FREQS(3)}, .args = &back},
    {.name = "interleaved, partial, inverse", .src = {Q4(2, 3, 1, 7), POS2(2, 3), FREQS(2)}, .args = &pairs_back},
    {.name = "wide heads", .src = {Q4(1, 3, 2, 128), POS1(3), FREQS(64)}},
    {.name = "no rows", .src = {Q4(2, 0, 3, 8), POS1(0), FREQS(4)}},
    {.name = "64 MB", .src = {Q4(4, 1024, 32, 128), POS2(4, 1024), FREQS(64)}, .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op rope_row = {
    .name = "rope",
    .doc = "x [B,T,H,D], pos [B,T] or [T], freq [rotary/2] -> [B,T,H,D]; pos and freq are data and have no gradient",
    .arg_size = sizeof(rope_args),
    .args = rope_args_of,
    .min_src = 3,
    .max_src = 3,
    .rows = 1u << X,
    .flags = RY_OP_INPLACE0,
    .infer = infer,
    .work = work,
    .cpu = cpu,
    .lower = lower,
    .launch = launch,
    .vjp = vjp,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};

ry_tensor ry_rope(ry_graph *g, ry_tensor x, ry_tensor pos, ry_tensor freq, const ry_rope_options *o) {
    static const ry_rope_options none;
    if (!o) o = &none;
    rope_args args = {.scale = o->scale, .rotary = o->rotary, .interleaved = o->interleaved, .inverse = o->inverse};
    return RY_APPLY(g, &rope_row, &args, x, pos, freq);
}

RY_OP_MODULE(rope, &rope_row);
