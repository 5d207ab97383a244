/* reduce.c - reductions over any axes: sum, mean, amax, amin, any, all, logsumexp, norm, with their gradients.
 *
 * Sources are read through any strides: dims are sorted by stride and merged, then either runs of reduced
 * elements are folded (the run is a row) or rows of kept elements are added up (columns). Partial results are
 * doubles, combined in a fixed order. Never: argmax (arg.c), sum_to (core's own row). */
#include "lines.h"
#include "_reduce.h"
#include "simd/map.h"
#include <math.h>
#include <rusty/ops.h>

typedef struct reduce_args {
    uint32_t axes; /* ry_axes */
    bool keepdim;
} reduce_args;
static const ry_arg reduce_arg[] = {
    RY_ARG(reduce_args, axes, RY_ARG_U32), RY_ARG(reduce_args, keepdim, RY_ARG_BOOL), {0}};

enum {
    PART = 32768,     /* elements of a part that holds several outputs */
    SPLIT = 65536,    /* an output of more than twice this is summed in pieces */
    COLS = 2048,      /* columns of a block: their sums stay in the first-level cache */
    FLUSH = 64,       /* rows added in f32 before they go into doubles */
    SPLIT_ROWS = 128, /* least rows of a piece of columns: partial results stay 2 % of the reading */
    GROUP = 16,       /* strided runs side by side that are folded together, so many elements at a time that their */
    STRIDED = 256,    /* cache lines stay in the first level */
};

/* ---- shape ---- */

static unsigned reduced_bits(const ry_node *n) {
    return ry_axes_bits(&n->src[0]->spec, ((const reduce_args *)n->args)->axes);
}

static int64_t reduced_count(const ry_node *n) {
    unsigned bits = reduced_bits(n);
    int64_t count = 1;
    for (int i = 0; i < n->src[0]->spec.rank; i++)
        if (bits >> i & 1u) count *= n->src[0]->spec.dim[i];
    return count;
}

static ry_spec kept_spec(const ry_node *n, bool keepdim) {
    const ry_spec *x = &n->src[0]->spec;
    unsigned bits = reduced_bits(n);
    ry_spec s = {.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        if (!(bits >> i & 1u))
            s.dim[s.rank++] = x->dim[i];
        else if (keepdim)
            s.dim[s.rank++] = 1;
    }
    return s;
}

static ry_status infer(const ry_node *n, ry_spec *out, reduce_kind kind) {
    const ry_spec *x = &n->src[0]->spec;
    const reduce_args *a = n->args;
    for (int i = 0; i < 32; i++) {
        int rank = x->rank ? x->rank : 1; /* a scalar may be reduced over axis 0 or -1, as in PyTorch */
        if ((a->axes >> i & 1u) && i >= rank && i < 32 - rank)
            return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", i < 16 ? i : i - 32, ry_show(x).s);
    }
    bool is_float = ry_is_float(x->dtype);
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; cast it to f32 first", ry_show(x).s);
    if ((kind == REDUCE_MEAN || kind == REDUCE_NORM || kind == REDUCE_LOGSUMEXP) && !is_float)
        return ry_fail_node(n, RY_EDTYPE, "x is %s, floats are needed; cast first", ry_show(x).s);
    if ((kind == REDUCE_AMAX || kind == REDUCE_AMIN) && reduced_count(n) == 0)
        return ry_fail_node(n, RY_ESHAPE, "x is %s: no elements along the reduced axes, so there is no %s",
                            ry_show(x).s, kind == REDUCE_AMAX ? "largest" : "smallest");
    *out = kept_spec(n, a->keepdim);
    if (kind == REDUCE_ANY || kind == REDUCE_ALL)
        out->dtype = RY_BOOL;
    else if (kind == REDUCE_SUM && !is_float)
        out->dtype = RY_I64;
    return RY_OK;
}

/* ---- plan: from strides to two nests of loops around one run ---- */

typedef struct loop {
    int64_t len, in, out;
} loop; /* steps in the source and (kept dims) in the output */
typedef struct plan {
    loop kept[RY_MAX_RANK], red[RY_MAX_RANK], run;
    int n_kept, n_red;
    int64_t kept_n, red_n; /* products of the loops, without the run */
    bool columns;          /* the run is kept: add rows; else the run is reduced: fold it */
    int64_t widen;         /* columns: so many short rows are added as one */
    int64_t units, pieces; /* outputs (columns: x blocks); pieces an output's reduction is cut into */
    int64_t group;         /* units folded together */
    int64_t per;           /* units in a part */
    int64_t piece_len;     /* chunks (columns: rows) in a piece */
    int64_t blocks;        /* column blocks of a run */
    int64_t chunk, chunks; /* elements of a reduced run folded at a time; how many times */
} plan;

static int64_t loops_at(const loop *l, int n, int64_t i, int64_t *out) {
    int64_t in = 0;
    for (int d = n - 1; d >= 0; d--) {
        int64_t at = d ? i % l[d].len : i;
        if (d) i /= l[d].len;
        in += at * l[d].in;
        *out += at * l[d].out;
    }
    return in;
}

static bool wider(const loop *a, const loop *b) { /* a belongs outside of b; broadcasts (step 0) outermost */
    int64_t x = a->in < 0 ? -a->in : a->in, y = b->in < 0 ? -b->in : b->in;
    return (x == 0 && y != 0) || (y != 0 && x > y);
}

static void make_plan(plan *p, const ry_node *n, reduce_kind kind) {
    const ry_value *x = n->src[0];
    unsigned bits = reduced_bits(n);
    loop dim[RY_MAX_RANK];
    bool red[RY_MAX_RANK];
    int nd = 0;
    int64_t out_step[RY_MAX_RANK], step = 1;
    for (int i = x->spec.rank - 1; i >= 0; i--) {
        out_step[i] = bits >> i & 1u ? 0 : step;
        if (!(bits >> i & 1u)) step *= x->spec.dim[i];
    }
    for (int i = 0; i < x->spec.rank; i++) { /* insertion sort by step, dims of 1 left out */
        if (x->spec.dim[i] == 1) continue;
        loop l = {x->spec.dim[i], x->stride[i], out_step[i]};
        int at = nd++;
        for (; at > 0 && wider(&l, &dim[at - 1]); at--) dim[at] = dim[at - 1], red[at] = red[at - 1];
        dim[at] = l, red[at] = bits >> i & 1u;
    }
    int m = 0;
    for (int i = 0; i < nd; i++) {
        if (m && red[m - 1] == red[i] && dim[m - 1].in == dim[i].in * dim[i].len &&
            dim[m - 1].out == dim[i].out * dim[i].len)
            dim[m - 1] = (loop){dim[m - 1].len * dim[i].len, dim[i].in, dim[i].out};
        else
            dim[m] = dim[i], red[m++] = red[i];
    }
    *p = (plan){.kept_n = 1, .red_n = 1, .widen = 1, .pieces = 1, .blocks = 1, .run = {1, 1, 0}};
    bool sums = ry_is_float(x->spec.dtype) && kind <= REDUCE_AMIN;
    int run = m - 1;
    p->columns = m && !red[run] && sums && dim[run].in == 1;
    if (p->columns &&
        dim[run].len < 64) { /* short rows: several as one, if they follow each other; else as strided runs */
        bool follow = m > 1 && red[m - 2] && dim[m - 2].in == dim[run].len;
        for (int i = 0; i < m - 2; i++) follow = follow && !red[i];
        if (follow)
            p->widen = line_max(1, line_min(512 / dim[run].len, dim[m - 2].len));
        else if (dim[run].len < 8)
            p->columns = false;
    }
    if (!p->columns)
        while (run >= 0 && !red[run]) run--;
    for (int i = 0; i < m; i++) {
        if (i == run)
            p->run = dim[i];
        else if (red[i])
            p->red[p->n_red++] = dim[i], p->red_n *= dim[i].len;
        else
            p->kept[p->n_kept++] = dim[i], p->kept_n *= dim[i].len;
    }
    int64_t work, least;
    p->chunk = p->run.in == 1 ? LINE_CHUNK : STRIDED;
    p->chunks = line_max(1, line_div_up(p->run.len, p->chunk));
    p->group = p->run.in == 1 ? 1 : GROUP;
    if (p->columns) {
        int64_t width = line_min(p->run.len, COLS);
        p->blocks = line_div_up(p->run.len, COLS);
        work = p->red_n * width;
        p->piece_len = p->red_n;
        least = line_max(SPLIT_ROWS, SPLIT / line_max(width, 1));
        least = line_div_up(least, p->widen) * p->widen;
    } else {
        work = p->red_n * p->run.len;
        p->piece_len = p->red_n * p->chunks;
        least = line_max(1, SPLIT / line_max(1, line_min(p->run.len, p->chunk) * p->group));
    }
    p->units = p->kept_n * p->blocks;
    p->per = line_max(p->group, PART / line_max(work, 1));
    if (work > 2 * SPLIT && p->piece_len > least) {
        p->pieces = line_div_up(p->piece_len, least);
        p->piece_len = least;
        p->per = p->group;
    }
}

static int64_t parts_of(const plan *p) { return line_div_up(p->units, p->per) * p->pieces; }

/* ---- folding runs ---- */

typedef struct state {
    double a, b;
    int64_t i;
} state; /* sum | extreme | (maximum, sum of exponentials) | integer */

static bool in_integers(reduce_kind kind, ry_dtype t) { return kind >= REDUCE_ANY || !ry_is_float(t); }

static state start(reduce_kind kind) {
    state s = {0, 0, 0};
    if (kind == REDUCE_AMAX || kind == REDUCE_LOGSUMEXP) s.a = -(double)INFINITY, s.i = INT64_MIN;
    if (kind == REDUCE_AMIN) s.a = (double)INFINITY, s.i = INT64_MAX;
    if (kind == REDUCE_ALL) s.i = 1;
    return s;
}

static void merge(reduce_kind kind, bool ints, state *s, const state *t) {
    if (ints) {
        switch (kind) {
        case REDUCE_AMAX: s->i = line_max(s->i, t->i); break;
        case REDUCE_AMIN: s->i = line_min(s->i, t->i); break;
        case REDUCE_ANY: s->i |= t->i; break;
        case REDUCE_ALL: s->i &= t->i; break;
        default: s->i = (int64_t)((uint64_t)s->i + (uint64_t)t->i); break;
        }
        return;
    }
    switch (kind) {
    case REDUCE_AMAX: s->a = isnan(t->a) || t->a > s->a ? t->a : s->a; break;
    case REDUCE_AMIN: s->a = isnan(t->a) || t->a < s->a ? t->a : s->a; break;
    case REDUCE_LOGSUMEXP:
        if (isnan(s->a) || t->a == -(double)INFINITY) break;
        if (isnan(t->a) || s->a == -(double)INFINITY || (isinf(t->a) && t->a > 0))
            *s = *t;
        else if (!(isinf(s->a) && s->a > 0)) {
            double m = s->a > t->a ? s->a : t->a;
            s->b = s->b * exp(s->a - m) + t->b * exp(t->a - m);
            s->a = m;
        }
        break;
    default: s->a += t->a; break;
    }
}

static void fold_integers(reduce_kind kind, state *s, const int64_t *x, int64_t n) {
    uint64_t sum = 0;
    int64_t v = s->i;
    switch (kind) {
    case REDUCE_AMAX:
        for (int64_t i = 0; i < n; i++) v = line_max(v, x[i]);
        break;
    case REDUCE_AMIN:
        for (int64_t i = 0; i < n; i++) v = line_min(v, x[i]);
        break;
    case REDUCE_ANY:
        for (int64_t i = 0; i < n; i++) v |= x[i] != 0;
        break;
    case REDUCE_ALL:
        for (int64_t i = 0; i < n; i++) v &= x[i] != 0;
        break;
    default:
        for (int64_t i = 0; i < n; i++) sum += (uint64_t)x[i];
        v = (int64_t)((uint64_t)v + sum);
        break;
    }
    s->i = v;
}

/* Bools that lie together, eight at a time. */
static void fold_bools(reduce_kind kind, state *s, const uint8_t *x, int64_t n) {
    uint64_t any = 0, all = 0x0101010101010101u, word;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, x + i, sizeof word);
        any |= word, all &= word;
    }
    bool y = kind == REDUCE_ANY ? any != 0 : all == 0x0101010101010101u;
    for (; i < n; i++) y = kind == REDUCE_ANY ? y || x[i] : y && x[i];
    s->i = kind == REDUCE_ANY ? s->i | y : s->i & y;
}

/* Folds n <= LINE_CHUNK elements into s. */
static void fold(reduce_kind kind, state *s, const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n) {
    const simd_rows_table *r = simd_rows();
    float buf[LINE_CHUNK];
    if (t == RY_BOOL && kind >= REDUCE_ANY && stride == 1) {
        fold_bools(kind, s, (const uint8_t *)data + at, n);
        return;
    }
    if (in_integers(kind, t)) {
        int64_t x[LINE_CHUNK];
        if (ry_is_float(t)) {
            const float *f = line_load(data, t, at, stride, n, buf);
            for (int64_t i = 0; i < n; i++) x[i] = f[i] != 0;
        } else {
            line_integers(x, data, t, at, stride, n);
        }
        fold_integers(kind, s, x, n);
        return;
    }
    const float *x = line_load(data, t, at, stride, n, buf);
    state one = {0, 0, 0};
    switch (kind) {
    case REDUCE_NORM: one.a = (double)r->sumsq(x, n); break;
    case REDUCE_AMAX: one.a = (double)r->max(x, n); break;
    case REDUCE_AMIN: one.a = (double)r->min(x, n); break;
    case REDUCE_LOGSUMEXP: {
        float m = r->max(x, n);
        one.a = (double)m;
        one.b = isfinite(m) ? (double)r->exp_sub_sum(x, m, n) : 1;
        break;
    }
    default: one.a = (double)r->sum(x, n); break;
    }
    merge(kind, false, s, &one);
}

static double finish(reduce_kind kind, double a, double b, int64_t count) {
    switch (kind) {
    case REDUCE_MEAN: return a / (double)count;
    case REDUCE_NORM: return sqrt(a);
    case REDUCE_LOGSUMEXP: return isfinite(a) ? a + log(b) : a;
    default: return a;
    }
}

static void store(const ry_cpu *c, reduce_kind kind, int64_t at, const state *s, int64_t count) {
    ry_dtype t = c->n->out[0].spec.dtype;
    if (in_integers(kind, c->n->src[0]->spec.dtype)) {
        switch (t) {
        case RY_I64: ((int64_t *)c->out[0])[at] = s->i; break;
        case RY_I32: ((int32_t *)c->out[0])[at] = (int32_t)s->i; break;
        default: ((uint8_t *)c->out[0])[at] = (uint8_t)s->i; break; /* bool, u8, and i8 by its bits */
        }
        return;
    }
    float y = (float)finish(kind, s->a, s->b, count);
    ry_store_row(c->out[0], t, at, 1, &y);
}

static void run_rows(const ry_cpu *c, const plan *p, reduce_kind kind, int64_t count) {
    ry_dtype t = c->n->src[0]->spec.dtype;
    state *partial = c->scratch;
    bool ints = in_integers(kind, t);
    int64_t begin, end;
    if (c->phase == 1) {
        line_range(p->units, 256, c->part, &begin, &end);
        for (int64_t u = begin; u < end; u++) {
            state s = start(kind);
            int64_t at = 0;
            for (int64_t i = 0; i < p->pieces; i++) merge(kind, ints, &s, &partial[u * p->pieces + i]);
            (void)loops_at(p->kept, p->n_kept, u, &at);
            store(c, kind, at, &s, count);
        }
        return;
    }
    int64_t first, last, base[GROUP], at[GROUP];
    state s[GROUP];
    line_range(p->units, p->per, c->part / p->pieces, &begin, &end);
    line_range(p->red_n * p->chunks, p->piece_len, c->part % p->pieces, &first, &last);
    for (int64_t u = begin; u < end; u += p->group) {
        int64_t m = line_min(end - u, p->group), unused = 0;
        for (int64_t k = 0; k < m; k++) {
            s[k] = start(kind);
            at[k] = 0;
            base[k] = loops_at(p->kept, p->n_kept, u + k, &at[k]);
        }
        for (int64_t i = first; i < last; i++) {
            int64_t row = p->chunks > 1 ? i / p->chunks : i, from = (i - row * p->chunks) * p->chunk;
            int64_t n = line_min(p->run.len - from, p->chunk),
                    step = loops_at(p->red, p->n_red, row, &unused) + from * p->run.in;
            for (int64_t k = 0; k < m && n > 0; k++) fold(kind, &s[k], c->src[0], t, base[k] + step, p->run.in, n);
        }
        for (int64_t k = 0; k < m; k++)
            if (p->pieces > 1)
                partial[(u + k) * p->pieces + c->part % p->pieces] = s[k];
            else
                store(c, kind, at[k], &s[k], count);
    }
}

/* ---- adding rows ---- */

static void take_row(reduce_kind kind, float *y, const float *x, int64_t n, bool first) {
    const simd_rows_table *r = simd_rows();
    float square[COLS];
    if (kind == REDUCE_NORM) {
        r->mul(first ? y : square, x, x, n);
        if (!first) r->add(y, y, square, n);
    } else if (first) {
        memcpy(y, x, (size_t)n * sizeof *y);
    } else if (kind == REDUCE_AMAX || kind == REDUCE_AMIN) {
        simd_map(kind == REDUCE_AMAX ? MAP_max : MAP_min, MAP_VALUE, MAP_F32)(y, (const void *[5]){y, x}, n);
    } else {
        r->add(y, y, x, n);
    }
}

static void take_sums(reduce_kind kind, double *acc, const float *y, int64_t n, bool first) {
    if (first || kind == REDUCE_AMAX || kind == REDUCE_AMIN) /* y goes on holding the extremes */
        for (int64_t i = 0; i < n; i++) acc[i] = (double)y[i];
    else
        for (int64_t i = 0; i < n; i++) acc[i] += (double)y[i];
}

/* Rows [first,last) of one block of columns into acc[width]. */
static void add_rows(const ry_cpu *c, const plan *p, reduce_kind kind, int64_t base, int64_t first, int64_t last,
                     int64_t width, double *acc) {
    ry_dtype t = c->n->src[0]->spec.dtype;
    bool extreme = kind == REDUCE_AMAX || kind == REDUCE_AMIN;
    float y[COLS], buf[COLS];
    int64_t wide = width * p->widen, unused = 0, held = 0, i = first;
    bool empty = true;
    for (; i + p->widen <= last; i += p->widen) {
        const float *x = ry_load_row(c->src[0], t, base + loops_at(p->red, p->n_red, i, &unused), wide, buf);
        take_row(kind, y, x, wide, held == 0);
        if (++held == FLUSH && !extreme) take_sums(kind, acc, y, wide, empty), held = 0, empty = false;
    }
    if (held) take_sums(kind, acc, y, wide, empty), empty = false;
    if (empty)
        for (int64_t j = 0; j < wide; j++) acc[j] = start(kind).a;
    for (int64_t k = 1; k < p->widen; k++) /* what was added as one row falls back into its columns */
        for (int64_t j = 0; j < width; j++) {
            state s = {acc[j], 0, 0};
            merge(kind, false, &s, &(state){acc[k * width + j], 0, 0});
            acc[j] = s.a;
        }
    for (; i < last; i++) {
        const float *x = ry_load_row(c->src[0], t, base + loops_at(p->red, p->n_red, i, &unused), width, buf);
        for (int64_t j = 0; j < width; j++) {
            state s = {acc[j], 0, 0};
            float v = kind == REDUCE_NORM ? x[j] * x[j] : x[j];
            merge(kind, false, &s, &(state){(double)v, 0, 0});
            acc[j] = s.a;
        }
    }
}

static void store_columns(const ry_cpu *c, const plan *p, reduce_kind kind, int64_t at, const double *acc, int64_t n,
                          int64_t count) {
    float y[COLS];
    for (int64_t j = 0; j < n; j++) y[j] = (float)finish(kind, acc[j], 0, count);
    line_store(c->out[0], c->n->out[0].spec.dtype, at, p->run.out, n, y);
}

static void run_columns(const ry_cpu *c, const plan *p, reduce_kind kind, int64_t count) {
    double acc[COLS], *partial = c->scratch; /* [units][pieces][width] */
    int64_t begin, end, width = line_min(p->run.len, COLS);
    if (c->phase == 1) {
        begin = c->part, end = begin + 1;
    } else {
        line_range(p->units, p->per, c->part / p->pieces, &begin, &end);
    }
    for (int64_t u = begin; u < end; u++) {
        int64_t at = 0, col = u % p->blocks * COLS, n = line_min(p->run.len - col, COLS);
        int64_t base = loops_at(p->kept, p->n_kept, u / p->blocks, &at) + col;
        at += col * p->run.out;
        if (c->phase == 1) {
            for (int64_t i = 0; i < p->pieces; i++) {
                const double *x = partial + (u * p->pieces + i) * width;
                for (int64_t j = 0; j < n; j++) {
                    state s = {i ? acc[j] : start(kind).a, 0, 0};
                    merge(kind, false, &s, &(state){x[j], 0, 0});
                    acc[j] = s.a;
                }
            }
        } else if (p->pieces > 1) {
            int64_t first, last;
            line_range(p->red_n, p->piece_len, c->part % p->pieces, &first, &last);
            add_rows(c, p, kind, base, first, last, n, acc);
            memcpy(partial + c->part * width, acc, (size_t)n * sizeof *acc);
            continue;
        } else {
            add_rows(c, p, kind, base, 0, p->red_n, n, acc);
        }
        store_columns(c, p, kind, at, acc, n, count);
    }
}

static ry_work work(const ry_node *n, reduce_kind kind) {
    plan p;
    make_plan(&p, n, kind);
    if (p.pieces == 1) return (ry_work){.parts = {parts_of(&p)}};
    ry_work w = {.phases = 2, .parts = {parts_of(&p), p.columns ? p.units : line_div_up(p.units, 256)}};
    w.scratch =
        (size_t)(p.units * p.pieces) * (p.columns ? (size_t)line_min(p.run.len, COLS) * sizeof(double) : sizeof(state));
    return w;
}

static ry_status run(const ry_cpu *c, reduce_kind kind) {
    if (ry_count(&c->n->out[0].spec) == 0) return RY_OK;
    plan p;
    make_plan(&p, c->n, kind);
    (p.columns ? run_columns : run_rows)(c, &p, kind, reduced_count(c->n));
    return RY_OK;
}

/* ---- gradients ---- */

static ry_tensor keep(ry_graph *g, const ry_node *n, ry_tensor t) {
    ry_spec s = kept_spec(n, true);
    return ry_reshape_like(g, t, &s);
}
static ry_tensor spread(ry_graph *g, const ry_node *n, ry_tensor t) {
    return ry_expand(g, t, n->src[0]->spec.rank, n->src[0]->spec.dim);
}

static ry_status sum_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    if (ry_is_float(n->src[0]->spec.dtype)) gx[0] = spread(g, n, keep(g, n, gy[0]));
    return RY_OK;
}
static ry_status mean_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    int64_t count = reduced_count(n);
    ry_tensor one = count ? ry_mul(g, gy[0], ry_scalar(g, 1.0 / (double)count)) : gy[0];
    gx[0] = spread(g, n, keep(g, n, one));
    return RY_OK;
}
/* Ties share the gradient evenly, as torch.amax. */
static ry_status extreme_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    if (!ry_is_float(n->src[0]->spec.dtype)) return RY_OK;
    ry_tensor hit = ry_cast(g, ry_eq(g, ry_src(g, n, 0), keep(g, n, ry_res(g, n, 0))), RY_F32);
    ry_tensor hits = ry_sum(g, hit, ((const reduce_args *)n->args)->axes, true);
    gx[0] = ry_mul(g, hit, ry_div(g, keep(g, n, gy[0]), hits));
    return RY_OK;
}
static ry_status logsumexp_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    ry_tensor p = ry_exp(g, ry_sub(g, ry_src(g, n, 0), keep(g, n, ry_res(g, n, 0))));
    gx[0] = ry_mul(g, p, keep(g, n, gy[0]));
    return RY_OK;
}
static ry_status norm_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    ry_tensor y = keep(g, n, ry_res(g, n, 0)), zero = ry_scalar(g, 0);
    ry_tensor q =
        ry_select(g, ry_eq(g, y, zero), zero, ry_div(g, keep(g, n, gy[0]), y)); /* 0 at the origin, as PyTorch */
    gx[0] = ry_mul(g, ry_src(g, n, 0), q);
    return RY_OK;
}

static ry_status mean_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const reduce_args *a = n->args;
    out[0] = ry_mul(g, ry_sum(g, ry_src(g, n, 0), a->axes, a->keepdim), ry_scalar(g, 1.0 / (double)reduced_count(n)));
    return RY_OK;
}
static ry_status norm_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const reduce_args *a = n->args;
    out[0] = ry_sqrt(g, ry_sum(g, ry_square(g, ry_src(g, n, 0)), a->axes, a->keepdim));
    return RY_OK;
}
static ry_status logsumexp_lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const reduce_args *a = n->args;
    ry_tensor x = ry_src(g, n, 0), zero = ry_scalar(g, 0);
    if (reduced_count(n) == 0) {
        ry_spec s = kept_spec(n, a->keepdim);
        out[0] = ry_fill(g, &s, -(double)INFINITY);
        return RY_OK;
    }
    ry_tensor m = ry_amax(g, x, a->axes, true), safe = ry_select(g, ry_isfinite(g, m), m, zero);
    ry_tensor y = ry_add(g, safe, ry_log(g, ry_sum(g, ry_exp(g, ry_sub(g, x, safe)), a->axes, true)));
    ry_spec s = kept_spec(n, a->keepdim);
    out[0] = ry_reshape_like(g, y, &s);
    return RY_OK;
}

/* One operation a source element; the source is read once. */
static ry_cost cost(const ry_node *n) {
    double e = (double)ry_count(&n->src[0]->spec), y = (double)ry_count(&n->out[0].spec);
    return (ry_cost){e, e * (double)line_size(n->src[0]->spec.dtype) + y * (double)line_size(n->out[0].spec.dtype)};
}

/* clang-format off */
/* ---- samples ---- */

#define A(bits, keep) &(const reduce_args){(bits), (keep)}
#define ONE(title, source, axes, keep) {.name = title, .src = {source}, .n_src = 1, .args = A(axes, keep)}
#define WITH(flag, title, source, axes) \
    {.name = title, .src = {source}, .n_src = 1, .args = A(axes, false), .flags = flag}
#define SHAPES \
    ONE("last", SRC_F(5, 19), RY_AXIS(-1), false), ONE("first", SRC_F(33, 70), RY_AXIS(0), false), \
    ONE("all", SRC_F(3, 4, 5), 0, false), ONE("middle", SRC_F(3, 7, 9), RY_AXIS(1), true), \
    ONE("outer and inner", SRC_F(2, 3, 4, 5), RY_AXIS(0) | RY_AXIS(-1), true), \
    ONE("two columns", SRC_F(300, 2), RY_AXIS(0), false), ONE("one", SRC_F(1), 0, false), \
    ONE("scalar", SRC_SCALAR, 0, false), ONE("rank 6", SRC_F(1, 2, 1, 2, 3, 2), RY_AXIS(1) | RY_AXIS(4), false), \
    ONE("no outputs", SRC_F(0, 3), RY_AXIS(1), false), \
    WITH(RY_SAMPLE_NO_GRAD, "split row", SRC_F(2, 140001), RY_AXIS(1)), \
    WITH(RY_SAMPLE_NO_GRAD, "split columns", SRC_F(2100, 77), RY_AXIS(0))
#define EMPTY ONE("nothing", SRC_F(2, 0), RY_AXIS(1), false)
#define INTS \
    ONE("i64", SRC_I(RY_I64, -9, 9, 4, 6), RY_AXIS(0), false), ONE("i32", SRC_I(RY_I32, -9, 9, 3, 5), 0, false), \
    ONE("u8", SRC_I(RY_U8, 0, 200, 3, 5), RY_AXIS(1), true), \
    ONE("bool", SRC_I(RY_BOOL, 0, 2, 7, 3), RY_AXIS(0), false), \
    ONE("bool rows", SRC_I(RY_BOOL, 0, 2, 3, 21), RY_AXIS(1), false)
#define BENCH \
    WITH(RY_SAMPLE_BENCH, "rows", SRC_F(65536, 512), RY_AXIS(1)), \
    WITH(RY_SAMPLE_BENCH, "columns", SRC_F(65536, 512), RY_AXIS(0))

static const ry_sample sum_samples[] = {SHAPES, EMPTY, INTS, BENCH, {0}};
static const ry_sample float_samples[] = {SHAPES, BENCH, {0}};
static const ry_sample norm_samples[] = {SHAPES, EMPTY, BENCH, {0}};
static const ry_sample extreme_samples[] = {SHAPES, INTS, BENCH, {0}};
static const ry_sample logic_samples[] = {
    EMPTY, INTS, ONE("floats", SRC_F(4, 6), RY_AXIS(1), false),
    WITH(RY_SAMPLE_BENCH, "large", SRC_I(RY_BOOL, 0, 2, 16384, 4096), RY_AXIS(1)), {0}};

#define REDUCE(id, kind, doc_, ...) \
    static ry_status id##_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) { return infer(n, &out[0], kind); } \
    static ry_work id##_work(const ry_node *n) { return work(n, kind); } \
    static ry_status id##_cpu(const ry_cpu *c) { return run(c, kind); } \
    static ry_status id##_launch(const ry_node *n, const ry_variant *v, ry_launch *l) { \
        (void)v; \
        return reduce_launch(n, l, kind, reduced_bits(n)); \
    } \
    static const ry_op id##_row = {.name = #id, .doc = doc_, .arg_size = sizeof(reduce_args), .args = reduce_arg, \
        .min_src = 1, .max_src = 1, .strided = 1, .infer = id##_infer, .work = id##_work, .cpu = id##_cpu, \
        .wgsl = "reduce.wgsl", .launch = id##_launch, .cost = cost, __VA_ARGS__}; \
    ry_tensor ry_##id(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim) { \
        return RY_APPLY(g, &id##_row, (&(reduce_args){axes, keepdim}), x); \
    }
REDUCE(sum, REDUCE_SUM, "x [..] -> sum over axes; integers and bools give i64; nothing gives 0", .vjp = sum_vjp,
    .samples = sum_samples)
REDUCE(mean, REDUCE_MEAN, "x [..] -> mean over axes; nothing gives NaN", .vjp = mean_vjp, .lower = mean_lower,
    .samples = float_samples)
REDUCE(norm, REDUCE_NORM, "x [..] -> square root of the sum of squares over axes", .vjp = norm_vjp, .lower = norm_lower,
       .samples = norm_samples)
REDUCE(amax, REDUCE_AMAX, "x [..] -> largest over axes; NaN if one is", .vjp = extreme_vjp, .samples = extreme_samples)
REDUCE(amin, REDUCE_AMIN, "x [..] -> smallest over axes; NaN if one is", .vjp = extreme_vjp, .samples = extreme_samples)
REDUCE(logsumexp, REDUCE_LOGSUMEXP, "x [..] -> log of the sum of exp over axes; nothing gives -inf", .vjp = logsumexp_vjp,
       .lower = logsumexp_lower, .samples = float_samples)
REDUCE(any, REDUCE_ANY, "x [..] -> bool: one is not 0 (NaN is not)", .flags = RY_OP_NO_GRAD, .samples = logic_samples)
REDUCE(all, REDUCE_ALL, "x [..] -> bool: none is 0", .flags = RY_OP_NO_GRAD, .samples = logic_samples)

RY_OP_MODULE(reduce, &sum_row, &mean_row, &norm_row, &amax_row, &amin_row, &logsumexp_row, &any_row, &all_row);
