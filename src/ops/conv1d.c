/* conv1d.c - causal depthwise convolution over time, with the rows before the first kept as a state (the short convolutions of Mamba and
 * LFM2).  Owns the rows conv1d and conv1d_grad, and ry_conv1d.
 *
 * The input continues the state: at times -(K-1) .. -1 stands state, from 0 on x. y[t] = b + sum over k of w[k] input[t - (K-1) + k]. */
#include "core/op.h"
#include "simd/rows.h"
#include <rusty/ops.h>
#include <string.h>

static const ry_op conv1d_row, conv1d_grad_row;
enum { X, W, BIAS, STATE };
enum { GRAD_STATE = 2, GRAD_UP, GRAD_UP_NEXT };
enum { DX, DW, DB, DSTATE };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static ry_status check(const ry_node *n, int state) {
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec;
    if (!ry_is_float(x->dtype) || x->rank != 3)
        return ry_fail_node(n, RY_ESHAPE, "x is %s, it must be [B,T,C] of floats", ry_show(x).s);
    if (!ry_is_float(w->dtype) || w->rank != 2 || w->dim[0] != x->dim[2] || w->dim[1] < 1)
        return ry_fail_node(n, RY_ESHAPE, "w is %s, with x %s it must be [%lld,K] of floats, K at least 1",
                            ry_show(w).s, ry_show(x).s, (long long)x->dim[2]);
    ry_spec want = {.dtype = x->dtype, .rank = 3, .dim = {x->dim[0], w->dim[1] - 1, x->dim[2]}};
    if (state < n->n_src && n->src[state] &&
        (!ry_is_float(n->src[state]->spec.dtype) || !ry_same_shape(&n->src[state]->spec, &want)))
        return ry_fail_node(n, RY_ESHAPE, "state is %s, it must be %s", ry_show(&n->src[state]->spec).s,
                            ry_show(&want).s);
    return RY_OK;
}

/* ---- the input, and products of rows ---- */

typedef struct rows3 { /* [B,n,C] with rows of unit step */
    const void *data;
    ry_dtype dtype;
    int64_t b, t;
} rows3;

static rows3 rows_of(const ry_node *n, void *const *src, int i) {
    if (i >= n->n_src || !n->src[i]) return (rows3){0};
    const ry_value *v = n->src[i];
    return (rows3){src[i], v->spec.dtype, v->stride[0], v->stride[1]};
}

typedef struct input {
    rows3 state, x;
    int64_t before;
} input; /* before = K - 1 */

/* Row t, from channel c on, or NULL where it is zero. */
static const float *input_row(const input *in, int64_t b, int64_t t, int64_t c, int64_t n, float *buf) {
    if (t >= 0) return ry_load_row(in->x.data, in->x.dtype, b * in->x.b + t * in->x.t + c, n, buf);
    return in->state.data ? ry_load_row(in->state.data, in->state.dtype,
                                        b * in->state.b + (t + in->before) * in->state.t + c, n, buf)
                          : NULL;
}

/* y += a b */
static void add_product(float *y, const float *a, const float *b, int64_t n, float *tmp) {
    const simd_rows_table *r = simd_rows();
    r->mul(tmp, a, b, n);
    r->add(y, y, tmp, n);
}

/* Channels [first, first + m) of w [C,K] as [K,m]. */
static void turn_weights(float *to, const void *w, ry_dtype t, int64_t first, int64_t m, int64_t K, float *buf) {
    for (int64_t c = 0; c < m; c++) {
        const float *row = ry_load_row(w, t, (first + c) * K, K, buf);
        for (int64_t k = 0; k < K; k++) to[k * m + c] = row[k];
    }
}

/* A part takes a block of times and of channels: few enough channels that the rows a tap needs again are still in the first cache. */
enum { PART_ELEMENTS = 32768, CHANNELS = 512 };
typedef struct cut {
    int64_t channels, across, times, down; /* of a block, and how many blocks */
} cut;
static cut cut_of(int64_t T, int64_t C, int64_t K) {
    cut c = {.channels = least(C, CHANNELS)};
    c.times = c.channels ? PART_ELEMENTS / c.channels : PART_ELEMENTS;
    if (c.times < 4 * K) c.times = 4 * K; /* turning the weights must stay small beside their use */
    c.across = c.channels ? (C + c.channels - 1) / c.channels : 0;
    c.down = (T + c.times - 1) / c.times;
    return c;
}

/* ---- forward ---- */

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, STATE));
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec;
    if (n->n_src > BIAS && n->src[BIAS]) {
        const ry_spec *b = &n->src[BIAS]->spec;
        if (!ry_is_float(b->dtype) || b->rank != 1 || b->dim[0] != x->dim[2])
            return ry_fail_node(n, RY_ESHAPE, "b is %s, it must be [%lld] of floats", ry_show(b).s,
                                (long long)x->dim[2]);
    }
    out[0] = out[1] = *x;
    out[1].dim[1] = w->dim[1] - 1;
    return RY_OK;
}

static ry_work work(const ry_node *n) {
    const ry_spec *x = &n->src[X]->spec;
    int64_t K = n->src[W]->spec.dim[1];
    cut c = cut_of(x->dim[1], x->dim[2], K);
    return (ry_work){.parts = {x->dim[0] * (c.down * c.across + 1)},
                     .local = sizeof(float) * (size_t)(c.channels * (K + 4) + K)};
}

/* The last rows of the input are the next state. */
static void next_state(const ry_cpu *c, const input *src, int64_t b, const cut *p, float *buf) {
    const ry_spec *x = &c->n->src[X]->spec;
    int64_t T = x->dim[1], C = x->dim[2];
    for (int64_t i = 0; i < src->before; i++)
        for (int64_t first = 0; first < C; first += p->channels) {
            int64_t m = least(p->channels, C - first), at = (b * src->before + i) * C + first;
            const float *from = input_row(src, b, T - src->before + i, first, m, buf);
            if (!from) {
                simd_rows()->fill(buf, 0, m);
                from = buf;
            }
            ry_store_row(c->out[1], x->dtype, at, m, from);
        }
}

static ry_status cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const ry_spec *x = &n->src[X]->spec;
    const simd_rows_table *r = simd_rows();
    int64_t T = x->dim[1], C = x->dim[2], K = n->src[W]->spec.dim[1];
    if (x->dim[0] * C == 0) return RY_OK;
    cut p = cut_of(T, C, K);
    input src = {rows_of(n, c->src, STATE), rows_of(n, c->src, X), K - 1};
    int64_t parts = p.down * p.across + 1, b = c->part / parts, block = c->part % parts;
    if (block == parts - 1) {
        next_state(c, &src, b, &p, c->local);
        return RY_OK;
    }
    int64_t first = block % p.across * p.channels, m = least(p.channels, C - first), from = block / p.across * p.times;
    float *w = c->local, *in = w + p.channels * K, *res = in + p.channels, *tmp = res + p.channels,
          *bias = tmp + p.channels;
    ry_dtype t = x->dtype;
    turn_weights(w, c->src[W], n->src[W]->spec.dtype, first, m, K, bias + p.channels);
    const float *add =
        n->n_src > BIAS && n->src[BIAS] ? ry_load_row(c->src[BIAS], n->src[BIAS]->spec.dtype, first, m, bias) : NULL;
    for (int64_t time = from; time < least(from + p.times, T); time++) {
        int64_t at = (b * T + time) * C + first;
        float *y = ry_row_out(c->out[0], t, at, res);
        r->mul(y, w + (K - 1) * m, input_row(&src, b, time, first, m, in), m);
        for (int64_t k = K - 2; k >= 0; k--) {
            const float *row = input_row(&src, b, time - (K - 1) + k, first, m, in);
            if (row) add_product(y, w + k * m, row, m, tmp);
        }
        if (add) r->add(y, y, add, m);
        ry_store_row(c->out[0], t, at, m, y);
    }
    return RY_OK;
}

/* Strides of a [B,n,C] source by the names NAME_b, NAME_t; returns whether its rows begin at multiples of four elements. */
static bool row_strides(ry_launch *l, const ry_node *n, int i, const char *b, const char *t) {
    if (i >= n->n_src || !n->src[i]) return false;
    const ry_value *v = n->src[i];
    ry_launch_u32(l, b, v->stride[0]);
    ry_launch_u32(l, t, v->stride[1]);
    return v->spec.dim[2] % 4 == 0 && (v->spec.dim[0] == 1 || v->stride[0] % 4 == 0) &&
           (v->spec.dim[1] == 1 || v->stride[1] % 4 == 0);
}

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    const ry_spec *x = &n->src[X]->spec;
    int64_t B = x->dim[0], T = x->dim[1], C = x->dim[2], K = n->src[W]->spec.dim[1], columns = div_up(C, 4);
    if (row_strides(l, n, X, "x_b", "x_t")) l->vec |= RY_USES_SRC(X);
    if (row_strides(l, n, STATE, "state_b", "state_t")) l->vec |= RY_USES_SRC(STATE);
    if (C % 4 == 0) l->vec |= RY_USES_SRC(BIAS) | RY_USES_OUT(0) | RY_USES_OUT(1);
    ry_launch_u32(l, "T", T);
    ry_launch_u32(l, "C", C);
    ry_launch_u32(l, "K", K);
    ry_launch_u32(l, "before", K - 1);
    ry_launch_u32(l, "columns", columns);
    ry_launch_u32(l, "total", B * T * columns);
    ry_launch_u32(l, "states", B * (K - 1) * columns);
    ry_launch_run(l, "main", div_up(B * T * columns, 256), 0);
    ry_launch_run(l, "next", div_up(B * (K - 1) * columns, 256), 0);
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    const ry_spec *x = &n->src[X]->spec;
    return (ry_cost){.flops = 2 * (double)ry_count(x) * (double)n->src[W]->spec.dim[1],
                     .bytes = 2 * (double)ry_bytes_of(x->dtype, ry_count(x))};
}

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    ry_tensor up = gy[0], state = ry_src(g, n, STATE);
    if (ry_is_null(up)) up = ry_fill(g, &n->out[0].spec, 0);
    ry_tensor d = RY_APPLY(g, &conv1d_grad_row, NULL, ry_src(g, n, X), ry_src(g, n, W), state, up, gy[1]);
    gx[X] = d;
    gx[W] = ry_out(g, d, DW);
    if (!ry_is_null(ry_src(g, n, BIAS))) gx[BIAS] = ry_out(g, d, DB);
    if (!ry_is_null(state)) gx[STATE] = ry_out(g, d, DSTATE);
    return RY_OK;
}

/* The whole input [B,K-1+T,C] in f32. */
static ry_tensor whole_input(ry_graph *g, const ry_node *n, int state) {
    int64_t before = n->src[W]->spec.dim[1] - 1;
    ry_tensor now = ry_cast(g, ry_src(g, n, X), RY_F32), s = ry_src(g, n, state);
    if (!ry_is_null(s)) return ry_concat(g, 2, (ry_tensor[]){ry_cast(g, s, RY_F32), now}, 1);
    return ry_pad(g, now, (int64_t[]){0, before, 0}, (int64_t[]){0, 0, 0}, 0);
}

static ry_tensor tap(ry_graph *g, const ry_node *n, int64_t k) { /* w[:,k] as [C] f32 */
    return RY_RESHAPE(g, ry_slice(g, ry_cast(g, ry_src(g, n, W), RY_F32), 1, k, k + 1, 1), n->src[W]->spec.dim[0]);
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    int64_t T = n->src[X]->spec.dim[1], K = n->src[W]->spec.dim[1];
    ry_dtype t = n->out[0].spec.dtype;
    ry_tensor in = whole_input(g, n, STATE), y = RY_NULL;
    for (int64_t k = 0; k < K; k++) {
        ry_tensor part = ry_mul(g, ry_slice(g, in, 1, k, k + T, 1), tap(g, n, k));
        y = k ? ry_add(g, y, part) : part;
    }
    if (n->n_src > BIAS && n->src[BIAS]) y = ry_add(g, y, ry_cast(g, ry_src(g, n, BIAS), RY_F32));
    out[0] = ry_cast(g, y, t);
    out[1] = ry_cast(g, ry_slice(g, in, 1, T, T + K - 1, 1), t);
    return RY_OK;
}

/* ---- backward ---- */

static ry_status grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, GRAD_STATE));
    const ry_spec *x = &n->src[X]->spec, *w = &n->src[W]->spec, *up = &n->src[GRAD_UP]->spec;
    ry_spec next = {.dtype = RY_F32, .rank = 3, .dim = {x->dim[0], w->dim[1] - 1, x->dim[2]}};
    if (!ry_is_float(up->dtype) || !ry_same_shape(up, x))
        return ry_fail_node(n, RY_ESHAPE, "the gradient is %s, it must have x's shape %s", ry_show(up).s, ry_show(x).s);
    if (n->n_src > GRAD_UP_NEXT && n->src[GRAD_UP_NEXT] &&
        (!ry_is_float(n->src[GRAD_UP_NEXT]->spec.dtype) || !ry_same_shape(&n->src[GRAD_UP_NEXT]->spec, &next)))
        return ry_fail_node(n, RY_ESHAPE, "the next state's gradient is %s, it must be %s",
                            ry_show(&n->src[GRAD_UP_NEXT]->spec).s, ry_show(&next).s);
    out[DX] = *x, out[DW] = *w, out[DB] = (ry_spec){.rank = 1, .dim = {x->dim[2]}}, out[DSTATE] = next;
    for (int i = DX; i <= DSTATE; i++) out[i].dtype = RY_F32;
    return RY_OK;
}

/* Parts: blocks of the input (state and x), then blocks of channels of dw and db. */
static int64_t input_parts(const cut *c, int64_t B) { return B * c->down * c->across; }
static int64_t weight_channels(int64_t C) { /* about eight parts, of whole vectors */
    int64_t m = (C / 8 + 15) / 16 * 16;
    return m < 64 ? 64 : least(m, CHANNELS);
}

static ry_work grad_work(const ry_node *n) {
    const ry_spec *x = &n->src[X]->spec;
    int64_t C = x->dim[2], K = n->src[W]->spec.dim[1], m = weight_channels(C);
    cut c = cut_of(x->dim[1] + K - 1, C, K);
    size_t one = (size_t)(c.channels * (K + 2) + K), two = (size_t)(m * (2 * (K + 1) + 3));
    return (ry_work){.parts = {input_parts(&c, x->dim[0]) + (C + m - 1) / m},
                     .local = sizeof(float) * (one > two ? one : two)};
}

static void grad_input(const ry_cpu *c, const cut *p, int64_t part) {
    const ry_node *n = c->n;
    const ry_spec *x = &n->src[X]->spec;
    const simd_rows_table *r = simd_rows();
    int64_t T = x->dim[1], C = x->dim[2], K = n->src[W]->spec.dim[1], b = part / (p->down * p->across);
    int64_t first = part % p->across * p->channels, m = least(p->channels, C - first),
            from = part / p->across % p->down * p->times;
    float *w = c->local, *buf = w + p->channels * K, *tmp = buf + p->channels;
    rows3 up = rows_of(n, c->src, GRAD_UP), next = rows_of(n, c->src, GRAD_UP_NEXT);
    turn_weights(w, c->src[W], n->src[W]->spec.dtype, first, m, K, tmp + p->channels);
    for (int64_t i = from; i < least(from + p->times, T + K - 1); i++) { /* row i of the input, at time i - (K-1) */
        int64_t time = i - (K - 1);
        float *y =
            (time < 0 ? (float *)c->out[DSTATE] + (b * (K - 1) + i) * C : (float *)c->out[DX] + (b * T + time) * C) +
            first;
        bool begun = false;
        for (int64_t k = K - 1; k >= 0; k--) {
            int64_t at = i - k; /* the output that sees it through tap k */
            if (at < 0 || at >= T) continue;
            const float *u = ry_load_row(up.data, up.dtype, b * up.b + at * up.t + first, m, buf);
            if (begun)
                add_product(y, w + k * m, u, m, tmp);
            else
                r->mul(y, w + k * m, u, m);
            begun = true;
        }
        if (!begun) r->fill(y, 0, m);
        if (next.data && i >= T)
            r->add(y, y, ry_load_row(next.data, next.dtype, b * next.b + (i - T) * next.t + first, m, buf), m);
    }
}

enum { SUM_ROWS = 256 }; /* rows added up before they join the total: keeps rounding small over long inputs */

static void grad_weights(const ry_cpu *c, int64_t part) {
    const ry_node *n = c->n;
    const ry_spec *x = &n->src[X]->spec;
    const simd_rows_table *r = simd_rows();
    int64_t B = x->dim[0], T = x->dim[1], C = x->dim[2], K = n->src[W]->spec.dim[1], first = part * weight_channels(C),
            m = least(weight_channels(C), C - first);
    float *total = c->local, *sum = total + (K + 1) * m, *in = sum + (K + 1) * m, *grad = in + m, *tmp = grad + m;
    input src = {rows_of(n, c->src, GRAD_STATE), rows_of(n, c->src, X), K - 1};
    rows3 up = rows_of(n, c->src, GRAD_UP);
    r->fill(total, 0, (K + 1) * m);
    r->fill(sum, 0, (K + 1) * m);
    for (int64_t row = 0, end = B * T; row < end; row++) {
        int64_t b = row / T, time = row % T;
        const float *u = ry_load_row(up.data, up.dtype, b * up.b + time * up.t + first, m, grad);
        for (int64_t k = 0; k < K; k++) {
            const float *from = input_row(&src, b, time - (K - 1) + k, first, m, in);
            if (from) add_product(sum + k * m, u, from, m, tmp);
        }
        r->add(sum + K * m, sum + K * m, u, m);
        if (row % SUM_ROWS == SUM_ROWS - 1 || row == end - 1) {
            r->add(total, total, sum, (K + 1) * m);
            r->fill(sum, 0, (K + 1) * m);
        }
    }
    float *dw = (float *)c->out[DW] + first * K;
    for (int64_t ch = 0; ch < m; ch++)
        for (int64_t k = 0; k < K; k++) dw[ch * K + k] = total[k * m + ch];
    memcpy((float *)c->out[DB] + first, total + K * m, (size_t)m * sizeof(float));
}

static ry_status grad_cpu(const ry_cpu *c) {
    const ry_spec *x = &c->n->src[X]->spec;
    if (x->dim[2] == 0) return RY_OK;
    int64_t K = c->n->src[W]->spec.dim[1];
    cut p = cut_of(x->dim[1] + K - 1, x->dim[2], K);
    int64_t parts = input_parts(&p, x->dim[0]);
    if (c->part < parts)
        grad_input(c, &p, c->part);
    else
        grad_weights(c, c->part - parts);
    return RY_OK;
}

static ry_status grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { CHUNK_ROWS = 64 };
    const ry_spec *x = &n->src[X]->spec;
    int64_t B = x->dim[0], T = x->dim[1], C = x->dim[2], K = n->src[W]->spec.dim[1], columns = div_up(C, 4),
            rows = B * T, chunks = div_up(rows, CHUNK_ROWS), sums = C * (K + 1), all = B * (T + K - 1) * columns;
    (void)row_strides(l, n, X, "x_b", "x_t");
    (void)row_strides(l, n, GRAD_STATE, "state_b", "state_t");
    if (row_strides(l, n, GRAD_UP, "up_b", "up_t")) l->vec |= RY_USES_SRC(GRAD_UP);
    if (row_strides(l, n, GRAD_UP_NEXT, "next_b", "next_t")) l->vec |= RY_USES_SRC(GRAD_UP_NEXT);
    if (C % 4 == 0) l->vec |= RY_USES_OUT(DX) | RY_USES_OUT(DSTATE);
    ry_launch_u32(l, "T", T);
    ry_launch_u32(l, "C", C);
    ry_launch_u32(l, "K", K);
    ry_launch_u32(l, "before", K - 1);
    ry_launch_u32(l, "columns", columns);
    ry_launch_u32(l, "total", all);
    ry_launch_u32(l, "rows", rows);
    ry_launch_u32(l, "chunk", CHUNK_ROWS);
    ry_launch_u32(l, "chunks", chunks);
    l->scratch = (size_t)(chunks * sums + 1) * sizeof(float); /* never none: the text names it */
    ry_launch_run(l, "input", div_up(all, 256),
                  RY_USES_SRC(W) | RY_USES_SRC(GRAD_UP) | RY_USES_SRC(GRAD_UP_NEXT) | RY_USES_OUT(DX) |
                      RY_USES_OUT(DSTATE));
    ry_launch_run(l, "weights", div_up(chunks * sums, 256),
                  RY_USES_SRC(X) | RY_USES_SRC(GRAD_STATE) | RY_USES_SRC(GRAD_UP) | RY_USES_SCRATCH);
    ry_launch_run(l, "total", div_up(sums, 256), RY_USES_SCRATCH | RY_USES_OUT(DW) | RY_USES_OUT(DB));
    return RY_OK;
}

static ry_cost grad_cost(const ry_node *n) {
    const ry_spec *x = &n->src[X]->spec;
    return (ry_cost){.flops = 4 * (double)ry_count(x) * (double)n->src[W]->spec.dim[1],
                     .bytes = 3 * (double)ry_bytes_of(x->dtype, ry_count(x))};
}

static ry_status grad_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    int64_t T = n->src[X]->spec.dim[1], C = n->src[X]->spec.dim[2], K = n->src[W]->spec.dim[1];
    ry_tensor in = whole_input(g, n, GRAD_STATE), up = ry_cast(g, ry_src(g, n, GRAD_UP), RY_F32),
              next = ry_src(g, n, GRAD_UP_NEXT), d = RY_NULL, dw = RY_NULL;
    for (int64_t k = 0; k < K; k++) {
        ry_tensor part = ry_pad(g, ry_mul(g, up, tap(g, n, k)), (int64_t[]){0, k, 0}, (int64_t[]){0, K - 1 - k, 0}, 0);
        ry_tensor column = RY_RESHAPE(
            g, ry_sum(g, ry_mul(g, up, ry_slice(g, in, 1, k, k + T, 1)), RY_AXIS(0) | RY_AXIS(1), false), C, 1);
        d = k ? ry_add(g, d, part) : part;
        dw = k ? ry_concat(g, 2, (ry_tensor[]){dw, column}, 1) : column;
    }
    if (!ry_is_null(next))
        d = ry_add(g, d, ry_pad(g, ry_cast(g, next, RY_F32), (int64_t[]){0, T, 0}, (int64_t[]){0, 0, 0}, 0));
    out[DX] = ry_slice(g, d, 1, K - 1, K - 1 + T, 1);
    out[DW] = dw;
    out[DB] = ry_sum(g, up, RY_AXIS(0) | RY_AXIS(1), false);
    out[DSTATE] = ry_slice(g, d, 1, 0, K - 1, 1);
    return RY_OK;
}

#define X3(b, t, c)                                    \
    {                                                  \
        .dtype = RY_F32, .rank = 3, .dim = { b, t, c } \
    }
#define M2(r, c)                                    \
    {                                               \
        .dtype = RY_F32, .rank = 2, .dim = { r, c } \
    }
#define V1(n)                                    \
    {                                            \
        .dtype = RY_F32, .rank = 1, .dim = { n } \
    }
#define NO \
    { .dtype = RY_NONE }
static const ry_sample samples[] = {
    {.name = "plain", .src = {X3(2, 6, 5), M2(5, 3)}, .n_src = 2},
    {.name = "bias and state", .src = {X3(2, 6, 5), M2(5, 4), V1(5), X3(2, 3, 5)}, .n_src = 4},
    {.name = "one step", .src = {X3(2, 1, 6), M2(6, 4), NO, X3(2, 3, 6)}, .n_src = 4},
    {.name = "one tap", .src = {X3(1, 4, 3), M2(3, 1), V1(3)}, .n_src = 3},
    {.name = "several blocks", .src = {X3(1, 70, 1030), M2(1030, 3)}, .n_src = 2, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {X3(2, 0, 3), M2(3, 3), NO, X3(2, 2, 3)}, .n_src = 4},
    {.name = "32 MB", .src = {X3(4, 1024, 2048), M2(2048, 4)}, .n_src = 2, .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_sample grad_samples[] = {
    {.name = "plain", .src = {X3(2, 6, 5), M2(5, 3), NO, X3(2, 6, 5)}, .n_src = 4},
    {.name = "state", .src = {X3(2, 6, 5), M2(5, 4), X3(2, 3, 5), X3(2, 6, 5), X3(2, 3, 5)}, .n_src = 5},
    {.name = "one step", .src = {X3(2, 1, 6), M2(6, 4), X3(2, 3, 6), X3(2, 1, 6), X3(2, 3, 6)}, .n_src = 5},
    {.name = "several blocks",
     .src = {X3(3, 200, 140), M2(140, 3), NO, X3(3, 200, 140)},
     .n_src = 4,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no rows", .src = {X3(2, 0, 3), M2(3, 3), NO, X3(2, 0, 3)}, .n_src = 4},
    {.name = "32 MB",
     .src = {X3(4, 1024, 2048), M2(2048, 4), NO, X3(4, 1024, 2048)},
     .n_src = 4,
     .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op conv1d_row = {
    .name = "conv1d",
    .doc = "x [B,T,C], w [C,K], b [C] or none, state [B,K-1,C] or none -> y [B,T,C], next state [B,K-1,C]",
    .min_src = 2,
    .max_src = 4,
    .rows = 1u << X | 1u << STATE,
    .optional = 1u << BIAS | 1u << STATE,
    .infer = infer,
    .work = work,
    .cpu = cpu,
    .launch = launch,
    .lower = lower,
    .vjp = vjp,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};
static const ry_op conv1d_grad_row = {.name = "conv1d_grad",
                                      .doc = "x [B,T,C], w [C,K], state or none, gradients of y and (or none) of the "
                                             "next state -> dx, dw, db, dstate in f32",
                                      .min_src = 4,
                                      .max_src = 5,
                                      .rows = 1u << X | 1u << GRAD_STATE | 1u << GRAD_UP | 1u << GRAD_UP_NEXT,
                                      .optional = 1u << GRAD_STATE | 1u << GRAD_UP_NEXT,
                                      .infer = grad_infer,
                                      .work = grad_work,
                                      .cpu = grad_cpu,
                                      .launch = grad_launch,
                                      .lower = grad_lower,
                                      .cost = grad_cost,
                                      .tol = 1e-5f,
                                      .samples = grad_samples};

ry_tensor ry_conv1d(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b, ry_tensor state) {
    return RY_APPLY(g, &conv1d_row, NULL, x, w, b, state);
}

RY_OP_MODULE(conv1d, &conv1d_row, &conv1d_grad_row);
