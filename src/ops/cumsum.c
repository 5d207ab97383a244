/* cumsum.c - running sums along one axis, from either end, with or without the element itself.
 *
 * Long single lines go in two phases: sums of blocks, then each block from where its predecessors end. Sums are
 * doubles (integers: i64). Never: other scans. */
#include "base/mem.h"
#include "row_launch.h"

typedef struct cumsum_args {
    int32_t axis;
    bool exclusive, reverse;
} cumsum_args;
static const ry_arg cumsum_arg[] = {RY_ARG(cumsum_args, axis, RY_ARG_I32),
                                    RY_ARG(cumsum_args, exclusive, RY_ARG_BOOL),
                                    RY_ARG(cumsum_args, reverse, RY_ARG_BOOL),
                                    {0}};

enum {
    TILE = 256,            /* neighbouring lines that run together where the axis is not the last */
    BLOCK = 8 * LINE_CHUNK /* elements of a piece of a long line */
};

static ry_status cumsum_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec;
    const cumsum_args *a = n->args;
    bool scalar = x->rank == 0 && (a->axis == 0 || a->axis == -1);
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; cast it to f32 first", ry_show(x).s);
    if (!scalar && ry_axis(x, a->axis) < 0)
        return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", a->axis, ry_show(x).s);
    out[0] = *x;
    if (!ry_is_float(x->dtype)) out[0].dtype = RY_I64;
    return RY_OK;
}

typedef struct shape {
    int64_t outer, len, inner;
    int64_t blocks; /* pieces of a line; 1 unless inner is 1 and the line long */
} shape;

static shape shape_of(const ry_node *n) {
    const ry_spec *x = &n->src[0]->spec;
    shape s = {1, 1, 1, 1};
    if (x->rank) ry_around(x, ry_axis(x, ((const cumsum_args *)n->args)->axis), &s.outer, &s.len, &s.inner);
    if (s.inner == 1 && s.len > 4 * BLOCK && ry_is_float(x->dtype)) s.blocks = line_div_up(s.len, BLOCK);
    return s;
}

static ry_work cumsum_work(const ry_node *n) {
    shape s = shape_of(n);
    if (s.blocks > 1) {
        int64_t parts = s.outer * s.blocks;
        return (ry_work){.phases = 2, .parts = {parts, parts}, .scratch = (size_t)parts * sizeof(double)};
    }
    return (ry_work){.parts = {ry_row_parts(s.outer * line_div_up(s.inner, TILE), s.len * line_min(s.inner, TILE))}};
}

/* Elements [from,to) of a line of floats, the sum of those before it being `sum`; returns the sum after it. */
static double scan_row(const ry_cpu *c, int64_t at, int64_t from, int64_t to, double sum) {
    const cumsum_args *a = c->args;
    ry_dtype t = c->n->src[0]->spec.dtype;
    float in[LINE_CHUNK], buf[LINE_CHUNK];
    for (int64_t done = 0; done < to - from;) {
        int64_t m = line_min(to - from - done, LINE_CHUNK), i = at + (a->reverse ? to - done - m : from + done);
        const float *x = ry_load_row(c->src[0], t, i, m, in);
        float *y = ry_row_out(c->out[0], t, i, buf);
        for (int64_t j = 0; j < m; j++) {
            int64_t k = a->reverse ? m - 1 - j : j;
            double next = sum + (double)x[k];
            y[k] = (float)(a->exclusive ? sum : next);
            sum = next;
        }
        ry_store_row(c->out[0], t, i, m, y);
        done += m;
    }
    return sum;
}

/* n <= TILE lines side by side. */
static void scan_tile(const ry_cpu *c, const shape *s, int64_t at, int64_t n) {
    const cumsum_args *a = c->args;
    ry_dtype t = c->n->src[0]->spec.dtype;
    double sum[TILE] = {0};
    float in[TILE], buf[TILE];
    for (int64_t l = 0; l < s->len; l++) {
        int64_t i = at + (a->reverse ? s->len - 1 - l : l) * s->inner;
        const float *x = ry_load_row(c->src[0], t, i, n, in);
        float *y = ry_row_out(c->out[0], t, i, buf);
        for (int64_t j = 0; j < n; j++) {
            double next = sum[j] + (double)x[j];
            y[j] = (float)(a->exclusive ? sum[j] : next);
            sum[j] = next;
        }
        ry_store_row(c->out[0], t, i, n, y);
    }
}

static void scan_integers(const ry_cpu *c, const shape *s, int64_t at, int64_t n) {
    const cumsum_args *a = c->args;
    ry_dtype t = c->n->src[0]->spec.dtype;
    for (int64_t j = 0; j < n; j++) {
        uint64_t sum = 0;
        for (int64_t l = 0; l < s->len; l++) {
            int64_t i = at + j + (a->reverse ? s->len - 1 - l : l) * s->inner;
            uint64_t next = sum + (uint64_t)ry_load_index(c->src[0], t, i);
            ((int64_t *)c->out[0])[i] = (int64_t)(a->exclusive ? sum : next);
            sum = next;
        }
    }
}

static ry_status cumsum_cpu(const ry_cpu *c) {
    const cumsum_args *a = c->args;
    ry_dtype t = c->n->src[0]->spec.dtype;
    shape s = shape_of(c->n);
    if (s.outer * s.len * s.inner == 0) return RY_OK;
    if (s.blocks > 1) {
        double *sums = c->scratch;
        int64_t block = c->part % s.blocks, from = block * BLOCK, to = line_min(from + BLOCK, s.len),
                at = c->part / s.blocks * s.len;
        const double *line = sums + c->part / s.blocks * s.blocks;
        if (c->phase == 0) {
            float buf[LINE_CHUNK];
            double sum = 0;
            for (int64_t i = from; i < to; i += LINE_CHUNK) {
                int64_t m = line_min(to - i, LINE_CHUNK);
                sum += line_sum(ry_load_row(c->src[0], t, at + i, m, buf), m);
            }
            sums[c->part] = sum;
            return RY_OK;
        }
        double before = 0;
        if (a->reverse)
            for (int64_t b = s.blocks - 1; b > block; b--) before += line[b];
        else
            for (int64_t b = 0; b < block; b++) before += line[b];
        (void)scan_row(c, at, from, to, before);
        return RY_OK;
    }
    int64_t tiles = line_div_up(s.inner, TILE), begin, end;
    ry_row_range(s.outer * tiles, s.len * line_min(s.inner, TILE), c->part, &begin, &end);
    for (int64_t u = begin; u < end; u++) {
        int64_t col = u % tiles * TILE, n = line_min(s.inner - col, TILE), at = u / tiles * s.len * s.inner + col;
        if (!ry_is_float(t))
            scan_integers(c, &s, at, n);
        else if (s.inner == 1)
            (void)scan_row(c, at, 0, s.len, 0);
        else
            scan_tile(c, &s, at, n);
    }
    return RY_OK;
}

/* On a GPU (cumsum.wgsl): lines are cut into blocks where they are too few to fill one. */
static ry_status cumsum_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    enum { GROUP = 256, BUSY = 65536 /* threads */, ROW_BLOCK = 8192, LINE_BLOCK = 64 /* least numbers of a block */ };
    const ry_dtype t = n->src[0]->spec.dtype;
    const bool ints = !ry_is_float(t);
    shape s = shape_of(n);
    const bool rows = s.inner == 1, quads = rows && !ints && s.len % 4 == 0;
    const int64_t lines = s.outer * s.inner, most = rows ? BUSY / GROUP : BUSY, least = rows ? ROW_BLOCK : LINE_BLOCK;
    int64_t blocks = line_max(1, line_min(line_div_up(most, line_max(1, lines)), s.len / least));
    const int64_t per = line_div_up(line_div_up(s.len, blocks), 4) * 4;
    int64_t a_group = line_min(GROUP, l->caps->max_invocations);
    (void)v;
    blocks = line_max(1, line_div_up(s.len, line_max(1, per)));
    if (rows)
        a_group = row_launch(l, lines * blocks, per, 0).together;
    else
        ry_launch_knob_set(l, "WG", (int)a_group);
    ry_launch_knob_set(l, "ROWS", rows);
    ry_launch_knob_set(l, "QUADS", quads);
    ry_launch_knob_set(l, "INTS", ints);
    ry_launch_knob_set(l, "WORDS", t == RY_I64);
    ry_launch_knob_set(l, "BLOCKS", blocks > 1);
    ry_launch_u32(l, "rows", lines * blocks);
    ry_launch_u32(l, "lines", lines);
    ry_launch_u32(l, "blocks", blocks);
    ry_launch_u32(l, "per", per);
    ry_launch_u32(l, "len", s.len);
    ry_launch_u32(l, "inner", s.inner);
    if (quads) l->vec |= RY_USES_SRC(0) | RY_USES_OUT(0);
    l->raw |= RY_USES_SCRATCH | (t == RY_I64 ? RY_USES_SRC(0) : 0) | (ints ? RY_USES_OUT(0) : 0);
    const int64_t groups = s.len ? line_div_up(lines * blocks, a_group) : 0;
    if (blocks > 1) {
        l->scratch = ry_mem_size((size_t)(lines * blocks), (ints ? 2 : 1) * sizeof(uint32_t), 0);
        ry_launch_run(l, "sums", groups, RY_USES_SRC(0) | RY_USES_SCRATCH);
        ry_launch_run(l, "offsets", line_div_up(lines, a_group), RY_USES_SCRATCH);
    }
    ry_launch_run(l, "scan", groups, 0);
    return RY_OK;
}

static ry_status cumsum_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const cumsum_args *a = n->args;
    if (ry_is_float(n->src[0]->spec.dtype)) gx[0] = ry_cumsum(g, gy[0], a->axis, a->exclusive, !a->reverse);
    return RY_OK;
}

/* clang-format off */
#define A(axis, ex, rev) &(const cumsum_args){(axis), (ex), (rev)}
static const ry_sample cumsum_samples[] = {
    {.name = "last", .src = {SRC_F(3, 17)}, .n_src = 1, .args = A(-1, false, false)},
    {.name = "exclusive", .src = {SRC_F(2, 9)}, .n_src = 1, .args = A(1, true, false)},
    {.name = "reverse", .src = {SRC_F(2, 9)}, .n_src = 1, .args = A(1, false, true)},
    {.name = "first", .src = {SRC_F(5, 300)}, .n_src = 1, .args = A(0, true, true)},
    {.name = "long", .src = {SRC_F(2, 70001)}, .n_src = 1, .args = A(1, false, true), .flags = RY_SAMPLE_NO_GRAD},
    {.name = "i32", .src = {SRC_I(RY_I32, -9, 9, 3, 4, 2)}, .n_src = 1, .args = A(1, false, false)},
    {.name = "scalar", .src = {SRC_SCALAR}, .n_src = 1, .args = A(0, false, false)},
    {.name = "empty", .src = {SRC_F(0, 4)}, .n_src = 1, .args = A(0, false, false)},
    {.name = "large", .src = {SRC_F(16384, 1024)}, .n_src = 1, .args = A(1, false, false), .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op cumsum_row = {
    .name = "cumsum", .doc = "x [..] -> running sums along axis; integers give i64", .arg_size = sizeof(cumsum_args),
    .args = cumsum_arg, .min_src = 1, .max_src = 1, .infer = cumsum_infer, .work = cumsum_work, .cpu = cumsum_cpu,
    .launch = cumsum_launch, .vjp = cumsum_vjp, .samples = cumsum_samples};

ry_tensor ry_cumsum(ry_graph *g, ry_tensor x, int axis, bool exclusive, bool reverse) {
    return RY_APPLY(g, &cumsum_row, (&(cumsum_args){axis, exclusive, reverse}), x);
}

RY_OP_MODULE(cumsum, &cumsum_row);
