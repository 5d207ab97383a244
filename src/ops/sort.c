/* sort.c - order along one axis: sort (stable, both directions) and top_k. Outputs: 0 values, 1 places (i32).
 *
 * Values become unsigned keys in the wanted order, keys are sorted by radix with their places, values are
 * gathered by place. NaN sorts last ascending and first descending; -0 equals 0. Never: argmax (arg.c). */
#include "base/mem.h"
#include "lines.h"
#include <math.h>

typedef struct sort_args {
    int32_t axis;
    bool descending;
} sort_args;
static const ry_arg sort_arg[] = {RY_ARG(sort_args, axis, RY_ARG_I32), RY_ARG(sort_args, descending, RY_ARG_BOOL), {0}};
typedef struct top_k_args {
    int64_t k;
    int32_t axis;
} top_k_args;
static const ry_arg top_k_arg[] = {RY_ARG(top_k_args, k, RY_ARG_I64), RY_ARG(top_k_args, axis, RY_ARG_I32), {0}};

enum {
    PART = 4096, /* elements of a part */
    SMALL = 48,  /* shorter lines are sorted by insertion */
    SKIP = 256,  /* elements that top_k passes over at once if none is large enough */
};
typedef struct entry {
    uint64_t key;
    uint32_t place;
} entry;

/* ---- keys ---- */

static uint64_t key_of_bits(uint64_t b, uint64_t sign) { return b & sign ? ~b & (sign | (sign - 1)) : b | sign; }
static uint64_t key_of_float(float x) {
    uint32_t b;
    if (isnan(x)) return UINT32_MAX;
    x += 0.0f; /* -0 becomes 0 */
    memcpy(&b, &x, sizeof b);
    return key_of_bits(b, (uint64_t)1 << 31);
}
static uint64_t key_of_double(double x) {
    uint64_t b;
    if (isnan(x)) return UINT64_MAX;
    x += 0.0;
    memcpy(&b, &x, sizeof b);
    return key_of_bits(b, (uint64_t)1 << 63);
}

/* Keys of elements [from, from + m) of a line, m <= LINE_CHUNK. */
static void load_keys(entry *e, const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t from, int64_t m,
                      bool descending) {
    float buf[LINE_CHUNK];
    at += from * stride;
    if (t == RY_F64) {
        for (int64_t i = 0; i < m; i++) e[i].key = key_of_double(((const double *)data)[at + i * stride]);
    } else if (ry_is_float(t)) {
        const float *x = line_load(data, t, at, stride, m, buf);
        for (int64_t i = 0; i < m; i++) e[i].key = key_of_float(x[i]);
    } else {
        for (int64_t i = 0; i < m; i++)
            e[i].key = (uint64_t)ry_load_index(data, t, at + i * stride) ^ (uint64_t)1 << 63;
    }
    uint64_t flip = descending ? UINT64_MAX : 0;
    for (int64_t i = 0; i < m; i++) e[i].key ^= flip, e[i].place = (uint32_t)(from + i);
}

static void load_line(entry *e, const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n, bool descending) {
    for (int64_t i = 0; i < n; i += LINE_CHUNK)
        load_keys(e + i, data, t, at, stride, i, line_min(n - i, LINE_CHUNK), descending);
}

/* ---- sorting ---- */

/* Stable, by key; the result is a or b, whichever is returned. */
static entry *sort_entries(entry *a, entry *b, int64_t n) {
    if (n <= SMALL) {
        for (int64_t i = 1; i < n; i++) {
            entry e = a[i];
            int64_t k = i;
            for (; k > 0 && a[k - 1].key > e.key; k--) a[k] = a[k - 1];
            a[k] = e;
        }
        return a;
    }
    uint32_t count[8][256];
    memset(count, 0, sizeof count);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < 8; d++) count[d][a[i].key >> (8 * d) & 255]++;
    for (int d = 0; d < 8; d++) {
        uint32_t *c = count[d], sum = 0;
        if (c[a[0].key >> (8 * d) & 255] == n) continue; /* all share this digit */
        for (int k = 0; k < 256; k++) {
            uint32_t m = c[k];
            c[k] = sum, sum += m;
        }
        for (int64_t i = 0; i < n; i++) b[c[a[i].key >> (8 * d) & 255]++] = a[i];
        entry *swap = a;
        a = b, b = swap;
    }
    return a;
}

/* A heap with the worst on top: the largest key (keys are descending ones), of equals the last place. */
static bool worse(const entry *a, const entry *b) {
    return a->key > b->key || (a->key == b->key && a->place > b->place);
}
static void sift(entry *h, int64_t n, int64_t i) {
    for (;;) {
        int64_t k = 2 * i + 1;
        if (k >= n) return;
        if (k + 1 < n && worse(&h[k + 1], &h[k])) k++;
        if (!worse(&h[k], &h[i])) return;
        entry e = h[i];
        h[i] = h[k], h[k] = e;
        i = k;
    }
}

/* The first k of n entries in descending order of value, for k well below n. */
static void select_entries(entry *h, int64_t k, const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n) {
    entry e[SKIP];
    float buf[SKIP];
    load_line(h, data, t, at, stride, k, true);
    for (int64_t i = k / 2 - 1; i >= 0; i--) sift(h, k, i);
    for (int64_t i = k; i < n; i += SKIP) {
        int64_t m = line_min(n - i, SKIP);
        if (t == RY_F32 || t == RY_F16 || t == RY_BF16) {
            float best = simd_rows()->max(line_load(data, t, at + i * stride, stride, m, buf), m);
            if (~key_of_float(best) >= h->key) continue;
        }
        load_keys(e, data, t, at, stride, i, m, true);
        for (int64_t j = 0; j < m; j++)
            if (e[j].key < h->key) *h = e[j], sift(h, k, 0);
    }
    for (int64_t m = k - 1; m > 0; m--) { /* the worst goes to the end */
        entry last = h[m];
        h[m] = h[0], h[0] = last;
        sift(h, m, 0);
    }
}

/* ---- rows ---- */

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT], int32_t axis, int64_t k) { /* k < 0: all */
    const ry_spec *x = &n->src[0]->spec;
    int a = ry_axis(x, axis);
    bool scalar = x->rank == 0 && (axis == 0 || axis == -1);
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; cast it to f32 first", ry_show(x).s);
    if (!scalar && a < 0) return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", axis, ry_show(x).s);
    int64_t len = scalar ? 1 : x->dim[a];
    if (len > INT32_MAX)
        return ry_fail_node(n, RY_ESHAPE, "x is %s: places along axis %d do not fit i32", ry_show(x).s, axis);
    if (k > len)
        return ry_fail_node(n, RY_EARG, "k is %lld, x %s has %lld along axis %d", (long long)k, ry_show(x).s,
                            (long long)len, axis);
    out[0] = *x;
    if (k >= 0 && !scalar) out[0].dim[a] = k;
    out[1] = out[0];
    out[1].dtype = RY_I32;
    return RY_OK;
}
static ry_status sort_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    return infer(n, out, ((const sort_args *)n->args)->axis, -1);
}
static ry_status top_k_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const top_k_args *a = n->args;
    if (a->k < 0) return ry_fail_node(n, RY_EARG, "k is %lld", (long long)a->k);
    return infer(n, out, a->axis, a->k);
}

static void around(const ry_node *n, int32_t axis, int64_t *outer, int64_t *len, int64_t *inner) {
    const ry_spec *x = &n->src[0]->spec;
    *outer = *len = *inner = 1;
    if (x->rank) ry_around(x, ry_axis(x, axis), outer, len, inner);
}

static bool few(int64_t k, int64_t n) {
    return k > 0 && n > SKIP && k <= n / 8;
} /* then the heap is faster than sorting all */

static ry_work work(const ry_node *n, int32_t axis, int64_t k) {
    int64_t outer, len, inner;
    around(n, axis, &outer, &len, &inner);
    size_t held = few(k, len) ? (size_t)k : 2 * (size_t)len;
    return (ry_work){.parts = {line_div_up(outer * inner, line_max(1, PART / line_max(1, len)))},
                     .local = ry_mem_size(held, sizeof(entry), 0)};
}
static ry_work sort_work(const ry_node *n) { return work(n, ((const sort_args *)n->args)->axis, -1); }
static ry_work top_k_work(const ry_node *n) {
    const top_k_args *a = n->args;
    return work(n, a->axis, a->k);
}

static ry_status run(const ry_cpu *c, int32_t axis, int64_t k, bool descending) {
    ry_dtype t = c->n->src[0]->spec.dtype;
    size_t size = line_size(t);
    int64_t outer, len, inner, begin, end;
    around(c->n, axis, &outer, &len, &inner);
    int64_t keep = k < 0 ? len : k;
    if (outer * inner * keep == 0) return RY_OK;
    line_range(outer * inner, line_max(1, PART / len), c->part, &begin, &end);
    for (int64_t l = begin; l < end; l++) {
        int64_t at = l / inner * len * inner + l % inner, to = l / inner * keep * inner + l % inner;
        entry *e = c->local;
        if (few(k, len)) {
            select_entries(e, k, c->src[0], t, at, inner, len);
        } else {
            load_line(e, c->src[0], t, at, inner, len, descending);
            e = sort_entries(e, e + len, len);
        }
        int32_t *place = (int32_t *)c->out[1] + to;
        for (int64_t i = 0; i < keep; i++) {
            memcpy(line_put(c->out[0], size, to + i * inner),
                   line_at(c->src[0], size, at + (int64_t)e[i].place * inner), size);
            place[i * inner] = (int32_t)e[i].place;
        }
    }
    return RY_OK;
}
static ry_status sort_cpu(const ry_cpu *c) {
    const sort_args *a = c->args;
    return run(c, a->axis, -1, a->descending);
}
static ry_status top_k_cpu(const ry_cpu *c) {
    const top_k_args *a = c->args;
    return run(c, a->axis, a->k, true);
}

/* ---- kernels: the CPU's order, lines in tiles that fit shared memory ---- */

enum { TILE = 2048, WIDE_TILE = 1024, SHORT_TILE = 256, CHUNK = 8192, KEEP = 512 };

static ry_status launch(const ry_node *n, ry_launch *l, int32_t axis, int64_t k, bool descending) {
    int64_t outer, len, inner;
    around(n, axis, &outer, &len, &inner);
    int64_t keep = k < 0 ? len : k, lines = keep ? outer * inner : 0, rounds = 1, size = 2;
    bool wide = n->src[0]->spec.dtype == RY_I64, select = k <= KEEP && few(k, len) && !wide;
    l->raw = wide ? RY_USES_SCRATCH | RY_USES_SRC(0) | RY_USES_OUT(0) : RY_USES_SCRATCH;
    ry_launch_knob_set(l, "WIDE", wide);
    ry_launch_knob_set(l, "FLOATS", ry_is_float(n->src[0]->spec.dtype));
    ry_launch_knob_set(l, "FEW", select);
    ry_launch_u32(l, "len", len);
    ry_launch_u32(l, "inner", inner);
    ry_launch_u32(l, "keep", keep);
    if (select) {
        int64_t chunk = line_div_up(len, line_div_up(len, CHUNK)), chunks = line_div_up(len, chunk);
        ry_launch_knob_set(l, "CHUNKED", chunks > 1);
        ry_launch_u32(l, "chunk", chunk);
        ry_launch_u32(l, "chunks", chunks);
        ry_launch_run(l, "chunks", lines * chunks, 0);
        if (chunks > 1) {
            l->scratch = 2 * sizeof(float) * (size_t)(line_max(lines, 1) * chunks * keep);
            ry_launch_run(l, "last", lines, 0);
        }
        return RY_OK;
    }
    int64_t tile = len <= SHORT_TILE ? SHORT_TILE : wide ? WIDE_TILE : TILE, tiles = line_div_up(len, tile);
    while (size < len && size < tile) size *= 2;
    while (tile << rounds < len) rounds++; /* the first merge is round 0, after the tiles */
    ry_launch_knob_set(l, "DOWN", descending);
    ry_launch_knob_set(l, "TILE", (int)tile);
    ry_launch_knob_set(l, "WG", tile > SHORT_TILE ? 256 : 64);
    ry_launch_knob_set(l, "MERGES", tiles > 1);
    ry_launch_u32(l, "size", size);
    ry_launch_u32(l, "tiles", tiles);
    ry_launch_u32(l, "total", lines * len);
    ry_launch_u32(l, "rounds", rounds);
    ry_launch_run(l, "tiles", lines * tiles, 0);
    if (tiles > 1) {
        l->rounds = rounds;
        l->scratch = (wide ? 6 : 4) * sizeof(float) * (size_t)line_max(lines * len, 1);
        ry_launch_run(l, "merge", line_div_up(lines * len, 256), 0);
    }
    return RY_OK;
}
static ry_status sort_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const sort_args *a = n->args;
    (void)v;
    return launch(n, l, a->axis, -1, a->descending);
}
static ry_status top_k_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    const top_k_args *a = n->args;
    (void)v;
    return launch(n, l, a->axis, a->k, true);
}

/* Each value came from one place: its gradient goes back there. */
static ry_status back(ry_graph *g, const ry_node *n, int32_t axis, ry_tensor gy, ry_tensor *gx) {
    if (ry_is_null(gy) || !ry_is_float(n->src[0]->spec.dtype)) return RY_OK;
    if (n->src[0]->spec.rank == 0) {
        *gx = gy;
        return RY_OK;
    }
    ry_spec s = n->src[0]->spec;
    const ry_spec *sy = ry_spec_of(g, gy);
    if (sy) s.dtype = sy->dtype;
    *gx = ry_scatter(g, ry_fill(g, &s, 0), ry_res(g, n, 1), gy, axis, false);
    return RY_OK;
}
static ry_status sort_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    return back(g, n, ((const sort_args *)n->args)->axis, gy[0], &gx[0]);
}
static ry_status top_k_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    return back(g, n, ((const top_k_args *)n->args)->axis, gy[0], &gx[0]);
}

/* clang-format off */
static const int32_t ties[] = {3, -7, 7, 1, 1, 3, -7, 0};
#define A(axis, down) &(const sort_args){(axis), (down)}
static const ry_sample sort_samples[] = {
    {.name = "last", .src = {SRC_F(3, 17)}, .n_src = 1, .args = A(-1, false)},
    {.name = "descending", .src = {SRC_F(2, 300)}, .n_src = 1, .args = A(1, true)},
    {.name = "first", .src = {SRC_F(70, 3)}, .n_src = 1, .args = A(0, false)},
    {.name = "ties", .src = {SRC_LIST(RY_I32, ties, 8)}, .n_src = 1, .args = A(0, true)},
    {.name = "i64", .src = {SRC_I(RY_I64, -9e15f, 9e15f, 2, 200)}, .n_src = 1, .args = A(1, false)},
    {.name = "i64, tiles", .src = {SRC_I(RY_I64, -9e15f, 9e15f, 2500)}, .n_src = 1, .args = A(0, true)},
    {.name = "u8", .src = {SRC_I(RY_U8, 0, 255, 100)}, .n_src = 1, .args = A(0, false)},
    {.name = "one", .src = {SRC_F(1, 1)}, .n_src = 1, .args = A(1, true)},
    {.name = "scalar", .src = {SRC_SCALAR}, .n_src = 1, .args = A(0, false)},
    {.name = "empty", .src = {SRC_F(3, 0)}, .n_src = 1, .args = A(1, false)},
    {.name = "long", .src = {SRC_F(2, 5001)}, .n_src = 1, .args = A(1, true), .flags = RY_SAMPLE_NO_GRAD},
    {.name = "long, ties", .src = {SRC_I(RY_I32, -3, 4, 9000, 2)}, .n_src = 1, .args = A(0, false)},
    {.name = "large", .src = {SRC_F(64, 32768)}, .n_src = 1, .args = A(1, false), .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A
#define A(k, axis) &(const top_k_args){(k), (axis)}
static const ry_sample top_k_samples[] = {
    {.name = "last", .src = {SRC_F(3, 17)}, .n_src = 1, .args = A(5, -1)},
    /* no gradient: differences would reach a neighbour's value */
    {.name = "few of many", .src = {SRC_F(2, 3000)}, .n_src = 1, .args = A(40, 1), .flags = RY_SAMPLE_NO_GRAD},
    {.name = "first", .src = {SRC_F(500, 3)}, .n_src = 1, .args = A(4, 0)},
    {.name = "chunks, ties", .src = {SRC_I(RY_I32, -3, 4, 20000, 2)}, .n_src = 1, .args = A(300, 0)},
    {.name = "many of many", .src = {SRC_F(2, 5000)}, .n_src = 1, .args = A(4000, 1), .flags = RY_SAMPLE_NO_GRAD},
    {.name = "all", .src = {SRC_F(9)}, .n_src = 1, .args = A(9, 0)},
    {.name = "ties", .src = {SRC_LIST(RY_I32, ties, 8)}, .n_src = 1, .args = A(3, 0)},
    {.name = "none", .src = {SRC_F(2, 4)}, .n_src = 1, .args = A(0, 1)},
    {.name = "large", .src = {SRC_F(128, 131072)}, .n_src = 1, .args = A(40, 1), .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A

static const ry_op sort_row = {
    .name = "sort", .doc = "x [..] -> values in order along axis, places i32; stable", .arg_size = sizeof(sort_args),
    .args = sort_arg, .min_src = 1, .max_src = 1, .infer = sort_infer, .work = sort_work, .cpu = sort_cpu,
    .launch = sort_launch, .vjp = sort_vjp, .samples = sort_samples};
static const ry_op top_k_row = {
    .name = "top_k", .doc = "x [..] -> the k largest along axis, largest first, and their places i32",
    .arg_size = sizeof(top_k_args), .args = top_k_arg, .min_src = 1, .max_src = 1, .infer = top_k_infer,
    .work = top_k_work, .cpu = top_k_cpu, .wgsl = "sort.wgsl",
    .launch = top_k_launch, .vjp = top_k_vjp, .samples = top_k_samples};

ry_tensor ry_sort(ry_graph *g, ry_tensor x, int axis, bool descending) {
    return RY_APPLY(g, &sort_row, (&(sort_args){axis, descending}), x);
}
ry_tensor ry_top_k(ry_graph *g, ry_tensor x, int64_t k, int axis) {
    return RY_APPLY(g, &top_k_row, (&(top_k_args){k, axis}), x);
}

RY_OP_MODULE(sort, &sort_row, &top_k_row);
