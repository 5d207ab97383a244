/* basic.c - the rows that core appends by itself (all but add): sum_to, copy, contiguous, cast, fill; and the
 * quantising casts.
 *
 *  * sum_to reduces the gradient of a broadcast in a fixed order: groups of neighbouring dims that are kept or
 * reduced; rows of the innermost group are either summed (reduced) or added up as vectors (kept); many rows are split
 * into chunks whose partial sums a second phase adds. How it is split depends on shapes alone. */
#include "core/rows.h"
#include "ops/_copy.h"
#include "ops/_move.h"
#include "ops/fused.h"
#include "simd/rows.h"
#include <string.h>

/* ---------------------------------------------------------------- sum_to */

enum {
    WIDTH = 2048, /* columns added up at a time: their sums stay in L1 */
    SEGMENT = 16384,
    FLUSH = 64, /* rows added before the running sum goes to the total */
    PART = 32768,
    MANY = 256
}; /* elements of a part; parts that keep any machine busy */

typedef struct sum_plan {
    int n_keep, n_red; /* groups before the innermost */
    int64_t keep_len[RY_MAX_RANK], keep_step[RY_MAX_RANK], red_len[RY_MAX_RANK], red_step[RY_MAX_RANK];
    int64_t slots, rows, n; /* kept combinations, reduced combinations, innermost length */
    bool inner_red;
    int64_t width, pieces; /* of the innermost: columns at a time, or elements of a segment, and how many of them */
    int64_t chunk, chunks; /* of the rows (inner kept) or rows x segments (inner reduced) */
    int64_t slots_part, slot_parts;
} sum_plan;

static void make_sum_plan(sum_plan *p, const ry_node *n) {
    const ry_spec *x = &n->src[0]->spec, *y = &n->out[0].spec;
    int lead = x->rank - y->rank, n_group = 0;
    bool red[RY_MAX_RANK];
    int64_t len[RY_MAX_RANK];
    for (int d = 0; d < x->rank; d++) {
        if (x->dim[d] == 1) continue;
        bool r = d < lead || y->dim[d - lead] == 1;
        if (n_group && red[n_group - 1] == r)
            len[n_group - 1] *= x->dim[d];
        else
            red[n_group] = r, len[n_group++] = x->dim[d];
    }
    if (!n_group) red[n_group] = false, len[n_group++] = 1;
    *p = (sum_plan){.slots = 1, .rows = 1, .n = len[n_group - 1], .inner_red = red[n_group - 1]};
    int64_t step = p->n;
    for (int i = n_group - 2; i >= 0; i--) { /* innermost group first */
        if (red[i])
            p->red_len[p->n_red] = len[i], p->red_step[p->n_red++] = step, p->rows *= len[i];
        else
            p->keep_len[p->n_keep] = len[i], p->keep_step[p->n_keep++] = step, p->slots *= len[i];
        step *= len[i];
    }
    p->width = p->inner_red ? SEGMENT : WIDTH;
    if (p->width > p->n) p->width = p->n > 0 ? p->n : 1;
    p->pieces = (p->n + p->width - 1) / p->width;
    int64_t items = p->inner_red ? p->rows * p->pieces : p->rows,
            units = p->inner_red ? p->slots : p->slots * p->pieces;
    int64_t per = p->inner_red ? (PART + p->width - 1) / p->width : FLUSH; /* least items of a chunk */
    p->chunks = units >= MANY ? 1 : (items + per - 1) / per;
    if (units && p->chunks > MANY / units) p->chunks = MANY / units;
    if (p->chunks < 1) p->chunks = 1;
    p->chunk = (items + p->chunks - 1) / p->chunks;
    if (p->chunk < 1) p->chunk = 1;
    p->chunks = items > 0 ? (items + p->chunk - 1) / p->chunk : 1;
    int64_t each = p->rows * p->width; /* elements of a slot's piece */
    p->slots_part = p->chunks == 1 && each > 0 && PART / each > 1 ? PART / each : 1;
    p->slot_parts = (p->slots + p->slots_part - 1) / p->slots_part;
}

static int64_t offset_of(int n, const int64_t *len, const int64_t *step, int64_t i) {
    int64_t at = 0;
    for (int d = 0; d < n; d++) at += i % len[d] * step[d], i /= len[d];
    return at;
}

static ry_work sum_work(const ry_node *n) {
    sum_plan p;
    make_sum_plan(&p, n);
    int64_t total = ry_count(&n->out[0].spec);
    ry_work w = {.phases = p.chunks > 1 ? 2 : 1, .local = 4 * WIDTH * sizeof(float)};
    w.parts[0] = p.slot_parts * p.chunks * (p.inner_red ? 1 : p.pieces);
    w.parts[1] = (total + PART - 1) / PART;
    if (p.inner_red && w.local < SEGMENT * sizeof(float)) w.local = SEGMENT * sizeof(float);
    if (p.chunks > 1) w.scratch = (size_t)(p.chunks * total) * (p.inner_red ? sizeof(double) : sizeof(float));
    return w;
}

/* rows [r0,r1) of one slot, columns [c, c+w), into total. */
static void add_rows(const sum_plan *p, const ry_cpu *c, int64_t base, int64_t r0, int64_t r1, int64_t w, float *total,
                     float *acc, float *buf) {
    const simd_rows_table *simd = simd_rows();
    ry_dtype t = c->n->src[0]->spec.dtype;
    int64_t fold =
        p->n * 2 <= WIDTH / 2 && w == p->n ? WIDTH / 2 / p->n : 1; /* short rows: so many at a time as one long row */
    simd->fill(total, 0, w);
    simd->fill(acc, 0, w * fold);
    int64_t since = 0;
    for (int64_t r = r0, m; r < r1; r += m) {
        int64_t run = 1; /* neighbouring rows that also lie side by side */
        if (p->n_red && p->red_step[0] == p->n) run = p->red_len[0] - r % p->red_len[0];
        if (run > r1 - r) run = r1 - r;
        m = run >= fold ? fold : 1;
        const float *x = ry_load_row(c->src[0], t, base + offset_of(p->n_red, p->red_len, p->red_step, r), w * m, buf);
        simd->add(acc, acc, x, w * m);
        if (++since == FLUSH) {
            for (int64_t k = 0; k < fold; k++) simd->add(total, total, acc + k * w, w);
            simd->fill(acc, 0, w * fold);
            since = 0;
        }
    }
    if (since)
        for (int64_t k = 0; k < fold; k++) simd->add(total, total, acc + k * w, w);
}

static double add_items(const sum_plan *p, const ry_cpu *c, int64_t base, int64_t i0, int64_t i1, float *buf) {
    const simd_rows_table *simd = simd_rows();
    ry_dtype t = c->n->src[0]->spec.dtype;
    double sum = 0;
    for (int64_t i = i0; i < i1; i++) {
        int64_t at = i % p->pieces * p->width, m = p->n - at < p->width ? p->n - at : p->width;
        sum += simd->sum(
            ry_load_row(c->src[0], t, base + offset_of(p->n_red, p->red_len, p->red_step, i / p->pieces) + at, m, buf),
            m);
    }
    return sum;
}

static ry_status sum_cpu(const ry_cpu *c) {
    sum_plan p;
    make_sum_plan(&p, c->n);
    ry_dtype t = c->n->out[0].spec.dtype;
    int64_t total = ry_count(&c->n->out[0].spec);
    float *buf = c->local, *sums = buf + WIDTH, *acc = sums + WIDTH, *store = acc + WIDTH;
    if (c->phase == 1) { /* add the chunks */
        int64_t end = (c->part + 1) * PART < total ? (c->part + 1) * PART : total;
        for (int64_t i = c->part * PART, m; i < end; i += m) {
            m = end - i < WIDTH ? end - i : WIDTH;
            float *y = ry_row_out(c->out[0], t, i, store);
            if (p.inner_red) {
                const double *s = c->scratch;
                for (int64_t k = 0; k < m; k++) {
                    double v = 0;
                    for (int64_t j = 0; j < p.chunks; j++) v += s[(i + k) * p.chunks + j];
                    y[k] = (float)v;
                }
            } else {
                const float *s = c->scratch;
                memcpy(y, s + i, (size_t)m * sizeof *y);
                for (int64_t j = 1; j < p.chunks; j++) simd_rows()->add(y, y, s + j * total + i, m);
            }
            ry_store_row(c->out[0], t, i, m, y);
        }
        return RY_OK;
    }
    if (!total) return RY_OK;
    int64_t part = c->part, chunk = part % p.chunks, piece = 0;
    part /= p.chunks;
    if (!p.inner_red) piece = part % p.pieces, part /= p.pieces;
    int64_t items = p.inner_red ? p.rows * p.pieces : p.rows;
    int64_t i0 = chunk * p.chunk, i1 = i0 + p.chunk < items ? i0 + p.chunk : items;
    int64_t s1 = (part + 1) * p.slots_part < p.slots ? (part + 1) * p.slots_part : p.slots;
    for (int64_t s = part * p.slots_part; s < s1; s++) {
        int64_t base = offset_of(p.n_keep, p.keep_len, p.keep_step, s);
        if (p.inner_red) {
            double v = add_items(&p, c, base, i0, i1, c->local);
            if (p.chunks > 1)
                ((double *)c->scratch)[s * p.chunks + chunk] = v;
            else
                ry_store_row(c->out[0], t, s, 1, &(float){(float)v});
            continue;
        }
        int64_t at = piece * p.width, w = p.n - at < p.width ? p.n - at : p.width;
        add_rows(&p, c, base + at, i0, i1, w, sums, acc, buf);
        if (p.chunks > 1)
            memcpy((float *)c->scratch + chunk * total + s * p.n + at, sums, (size_t)w * sizeof *sums);
        else
            ry_store_row(c->out[0], t, s * p.n + at, w, sums);
    }
    return RY_OK;
}

static int64_t power_at_least(int64_t from, int64_t most, int64_t n) {
    while (from < most && from < n) from *= 2;
    return from;
}

/* How the kernels (sum_to.wgsl) share the work: by shapes alone. */
static ry_status sum_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { THREADS = 1 << 18, GROUP = 256, LONGEST = 2048 }; /* enough to fill any GPU; terms that a thread adds up, so that few are lost by rounding */
    sum_plan p;
    make_sum_plan(&p, n);
    int64_t dim[RY_MAX_RANK + 1], step[RY_MAX_RANK + 1];
    int rank = 0;
    for (int i = p.n_keep - 1; i >= 0; i--) dim[rank] = p.keep_len[i], step[rank++] = p.keep_step[i];
    ry_launch_walk_strides(l, "keep", rank, dim, step);
    rank = 0;
    for (int i = p.n_red - 1; i >= 0; i--) dim[rank] = p.red_len[i], step[rank++] = p.red_step[i];
    if (p.inner_red) dim[rank] = p.n, step[rank++] = 1;
    ry_launch_walk_strides(l, "term", rank, dim, step);
    bool fours = p.n % 4 == 0;
    int64_t quads = (p.n + 3) / 4, items = p.inner_red ? p.slots : p.slots * quads, terms = p.inner_red ? p.rows * p.n : p.rows, lanes, chunks = 1;
    if (p.inner_red) {
        lanes = power_at_least(1, GROUP, (terms + 15) / 16);
        while ((chunks < 256 && items * lanes * chunks < THREADS && terms / (lanes * chunks) > 64) || terms / (lanes * chunks) > 4 * LONGEST) chunks *= 2;
    } else {
        for (lanes = 1; lanes < 32 && lanes * 4 <= terms && items * lanes < THREADS;) lanes *= 2;
        while ((chunks < 128 && items * lanes * chunks < THREADS && terms / (lanes * chunks) > 16) || terms / (lanes * chunks) > LONGEST) chunks *= 2;
    }
    int64_t unit = p.inner_red ? 4 * lanes : lanes, chunk = ((terms + chunks - 1) / chunks + unit - 1) / unit * unit;
    chunks = chunk ? (terms + chunk - 1) / chunk : 1;
    if (fours) l->vec |= RY_USES_SRC(0);
    if (!p.inner_red && (fours || p.slots == 1)) l->vec |= RY_USES_OUT(0);
    l->vec |= RY_USES_SCRATCH;
    ry_launch_knob_set(l, "INNER", p.inner_red);
    ry_launch_knob_set(l, "FOURS", fours);
    ry_launch_knob_set(l, "LANES", (int)lanes);
    ry_launch_knob_set(l, "CHUNKED", chunks > 1);
    ry_launch_u32(l, "chunks", chunks);
    ry_launch_u32(l, "chunk", chunk);
    ry_launch_u32(l, "terms", terms);
    ry_launch_u32(l, "items", items);
    ry_launch_u32(l, "quads", quads);
    ry_launch_u32(l, "cols", p.n);
    int64_t per = GROUP / lanes, groups = items ? (items + per - 1) / per * chunks : 0;
    if (chunks == 1) {
        ry_launch_run(l, "main", groups, 0);
        return RY_OK;
    }
    l->scratch = (size_t)(items * chunks) * (p.inner_red ? 4 : 16);
    ry_launch_run(l, "main", groups, RY_USES_SRC(0) | RY_USES_SCRATCH);
    ry_launch_run(l, "finish", p.inner_red ? items : (items + 63) / 64, RY_USES_SCRATCH | RY_USES_OUT(0));
    return RY_OK;
}

static ry_status sum_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_sum_to_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    if (!ry_is_float(x->dtype)) return ry_fail_node(n, RY_EDTYPE, "x is %s; sums are of floats", ry_show(x).s);
    if (a->rank < 0 || a->rank > x->rank)
        return ry_fail_node(n, RY_ESHAPE, "x is %s; the target has rank %lld", ry_show(x).s, (long long)a->rank);
    out[0] = ry_shape(x->dtype, (int)a->rank, a->dim);
    for (int d = 0; d < out[0].rank; d++) {
        int64_t from = x->dim[x->rank - out[0].rank + d];
        if (a->dim[d] != from && a->dim[d] != 1)
            return ry_fail_node(n, RY_ESHAPE, "x is %s, which is no broadcast of %s", ry_show(x).s, ry_show(&out[0]).s);
    }
    return RY_OK;
}

static ry_tensor expand_like(ry_graph *g, ry_tensor x, const ry_spec *s) { return ry_expand(g, x, s->rank, s->dim); }

static ry_status sum_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = expand_like(g, gy[0], &n->src[0]->spec);
    return RY_OK;
}

static const ry_arg sum_args[] = {
    RY_ARG(ry_sum_to_args, rank, RY_ARG_I64), RY_ARG_ARRAY(ry_sum_to_args, dim, RY_ARG_I64, RY_MAX_RANK), {0}};
static const ry_sample sum_samples[] = {
    {.name = "rows", .src = {{RY_F32, 2, {37, 50}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){1, {50}}},
    {.name = "columns", .src = {{RY_F32, 2, {37, 50}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){2, {37, 1}}},
    {.name = "middle",
     .src = {{RY_F32, 4, {3, 5, 1, 7}, 0, 0, NULL}},
     .args = &(const ry_sum_to_args){4, {3, 1, 1, 7}}},
    {.name = "outside", .src = {{RY_F32, 3, {4, 6, 5}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){2, {6, 1}}},
    {.name = "chunks", .src = {{RY_F32, 2, {700, 130}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){2, {1, 130}}},
    {.name = "wide", .src = {{RY_F32, 2, {70, 2500}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){1, {2500}}},
    {.name = "all", .src = {{RY_F32, 2, {300, 301}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){0, {0}}},
    {.name = "nothing", .src = {{RY_F32, 2, {0, 5}, 0, 0, NULL}}, .args = &(const ry_sum_to_args){1, {5}}},
    {.name = "large",
     .src = {{RY_F32, 2, {16384, 2048}, 0, 0, NULL}},
     .args = &(const ry_sum_to_args){1, {2048}},
     .flags = RY_SAMPLE_BENCH},
    {0}};
const ry_op ry_op_sum_to_row = {.name = "sum_to",
                                .doc = "x -> the shape that x is a broadcast of: sums over the dims that were repeated",
                                .arg_size = sizeof(ry_sum_to_args),
                                .args = sum_args,
                                .min_src = 1,
                                .max_src = 1,
                                .infer = sum_infer,
                                .work = sum_work,
                                .cpu = sum_cpu,
                                .launch = sum_launch,
                                .vjp = sum_vjp,
                                .samples = sum_samples,
                                .tol = 1e-5f};

/* ---------------------------------------------------------------- copy, contiguous */

static ry_status same_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = n->src[0]->spec;
    return RY_OK;
}

static void copy_job_of(copy_job *j, const ry_node *n) {
    const ry_value *x = n->src[0], *y = &n->out[0];
    copy_plan(j, x->spec.dtype, x->spec.rank, x->spec.dim, y->stride, x->stride);
}
static ry_work copy_work(const ry_node *n) {
    copy_job j;
    copy_job_of(&j, n);
    return (ry_work){.parts = {j.parts}};
}
static ry_status copy_cpu(const ry_cpu *c) {
    copy_job j;
    copy_job_of(&j, c->n);
    if (c->part < j.parts) copy_run(&j, c->out[0], c->src[0], c->part);
    return RY_OK;
}
static ry_status copy_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    move_box all;
    move_whole(&all, n, 0);
    return move_launch(n, 1, &all, NULL, l);
}
static ry_status copy_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    (void)g, (void)n;
    gx[0] = gy[0];
    return RY_OK;
}

static const ry_sample copy_samples[] = {
    {.name = "plain", .src = {{RY_F32, 2, {5, 33}, 0, 0, NULL}}},
    {.name = "bytes", .src = {{RY_U8, 3, {3, 1, 70}, 0, 9, NULL}}},
    {.name = "i64", .src = {{RY_I64, 2, {40, 41}, 0, 9, NULL}}},
    {.name = "blocks", .src = {{RY_Q8_0, 2, {3, 64}, 0, 0, NULL}}},
    {.name = "scalar", .src = {{RY_F32, 0, {0}, 0, 0, NULL}}},
    {.name = "empty", .src = {{RY_F32, 2, {3, 0}, 0, 0, NULL}}},
    {.name = "large", .src = {{RY_F32, 2, {4096, 4096}, 0, 0, NULL}}, .flags = RY_SAMPLE_BENCH},
    {0}};
const ry_op ry_op_copy_row = {.name = "copy",
                              .doc = "x -> the same in storage of its own",
                              .min_src = 1,
                              .max_src = 1,
                              .strided = 1,
                              .infer = same_infer,
                              .work = copy_work,
                              .cpu = copy_cpu,
                              .wgsl = "move.wgsl",
                              .launch = copy_launch,
                              .cut = ry_cut_elements,
                              .vjp = copy_vjp,
                              .samples = copy_samples};
const ry_op ry_op_contiguous_row = {.name = "contiguous",
                                    .doc = "x -> the same, dense and row-major",
                                    .min_src = 1,
                                    .max_src = 1,
                                    .strided = 1,
                                    .infer = same_infer,
                                    .work = copy_work,
                                    .cpu = copy_cpu,
                                    .wgsl = "move.wgsl",
                                    .launch = copy_launch,
                                    .cut = ry_cut_elements,
                                    .vjp = copy_vjp,
                                    .samples = copy_samples};

ry_tensor ry_contiguous(ry_graph *g, ry_tensor x) {
    const ry_value *v = ry_value_of(g, x);
    return v && ry_is_dense(v) ? x : RY_APPLY(g, &ry_op_contiguous_row, NULL, x);
}

/* ---------------------------------------------------------------- cast, fill */

static bool is_dtype(int32_t t) { return t > RY_NONE && t < RY_DTYPE_COUNT; }
static bool is_block(ry_dtype t) { return ry_dtype_row(t)->kind == RY_KIND_BLOCK; }

static ry_work chain_work(const ry_node *n) {
    ry_chain ch;
    fused_single(&ch, n, n->args);
    return fused_work(n, &ch);
}
static ry_status chain_cpu(const ry_cpu *c) {
    ry_chain ch;
    fused_single(&ch, c->n, c->args);
    fused_run(&ch, c);
    return RY_OK;
}

static ry_status chain_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_chain ch;
    fused_single(&ch, n, n->args);
    return fused_launch(&ch, n, l);
}

static ry_status cast_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_cast_args *a = n->args;
    if (!is_dtype(a->dtype)) return ry_fail_node(n, RY_EDTYPE, "%d is no dtype", a->dtype);
    out[0] = n->src[0]->spec;
    out[0].dtype = (ry_dtype)a->dtype;
    if (is_block(out[0].dtype) || is_block(n->src[0]->spec.dtype))
        return ry_fail_node(n, RY_EDTYPE, "%s to %s is done by the rows quantize and dequantize",
                            ry_dtype_name(n->src[0]->spec.dtype), ry_dtype_name(out[0].dtype));
    return RY_OK;
}
static ry_status cast_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    ry_dtype from = n->src[0]->spec.dtype;
    if (ry_is_float(from) && ry_is_float(n->out[0].spec.dtype)) gx[0] = ry_cast(g, gy[0], from);
    return RY_OK;
}
static const ry_arg cast_args[] = {RY_ARG(ry_cast_args, dtype, RY_ARG_I32), {0}};
#define CAST_SAMPLE(title, from, to, lo, hi, more) \
    { .name = title, .src = {{from, 2, {6, 43}, lo, hi, NULL}}, .args = &(const ry_cast_args){to}, .flags = more }
static const ry_sample cast_samples[] = {CAST_SAMPLE("to f32", RY_F32, RY_F32, 0, 0, 0),
                                         CAST_SAMPLE("to bf16", RY_F32, RY_BF16, 0, 0, RY_SAMPLE_NO_GRAD),
                                         CAST_SAMPLE("to f16", RY_F32, RY_F16, 0, 0, RY_SAMPLE_NO_GRAD),
                                         CAST_SAMPLE("to i32", RY_F32, RY_I32, -90, 90, RY_SAMPLE_NO_GRAD),
                                         CAST_SAMPLE("to u8", RY_I32, RY_U8, 0, 900, RY_SAMPLE_NO_GRAD),
                                         CAST_SAMPLE("to bool", RY_I64, RY_BOOL, 0, 3, RY_SAMPLE_NO_GRAD),
                                         CAST_SAMPLE("from i64", RY_I64, RY_F32, 0, 900, RY_SAMPLE_NO_GRAD),
                                         {.name = "empty",
                                          .src = {{RY_F32, 2, {0, 2}, 0, 0, NULL}},
                                          .args = &(const ry_cast_args){RY_BF16},
                                          .flags = RY_SAMPLE_NO_GRAD},
                                         {.name = "large",
                                          .src = {{RY_F32, 1, {33554432}, 0, 0, NULL}},
                                          .args = &(const ry_cast_args){RY_BF16},
                                          .flags = RY_SAMPLE_BENCH | RY_SAMPLE_NO_GRAD},
                                         {0}};
const ry_op ry_op_cast_row = {
    .name = "cast",
    .doc = "x -> x in another dtype; floats to integers truncate and saturate, integers wrap, bool is x != 0",
    .arg_size = sizeof(ry_cast_args),
    .args = cast_args,
    .min_src = 1,
    .max_src = 1,
    .flags = RY_OP_MAP | RY_OP_INPLACE0,
    .strided = 1,
    .infer = cast_infer,
    .work = chain_work,
    .cpu = chain_cpu,
    .wgsl = "fused.wgsl",
    .launch = chain_launch,
    .cut = ry_cut_elements,
    .vjp = cast_vjp,
    .samples = cast_samples};

static ry_status fill_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_fill_args *a = n->args;
    if (!is_dtype(a->dtype) || is_block((ry_dtype)a->dtype))
        return ry_fail_node(n, RY_EDTYPE, "%s cannot be filled",
                            is_dtype(a->dtype) ? ry_dtype_name((ry_dtype)a->dtype) : "no dtype");
    if (a->rank < 0 || a->rank > RY_MAX_RANK)
        return ry_fail_node(n, RY_ESHAPE, "rank %lld; at most %d", (long long)a->rank, RY_MAX_RANK);
    out[0] = ry_shape((ry_dtype)a->dtype, (int)a->rank, a->dim);
    if (ry_numel(&out[0]) < 0) return ry_fail_node(n, RY_ESHAPE, "%s is no shape", ry_show(&out[0]).s);
    return RY_OK;
}
static void fill_job(copy_job *j, const ry_node *n) {
    copy_plan(j, n->out[0].spec.dtype, n->out[0].spec.rank, n->out[0].spec.dim, n->out[0].stride, NULL);
}
static ry_work fill_work(const ry_node *n) {
    copy_job j;
    fill_job(&j, n);
    return (ry_work){.parts = {j.parts}};
}
static ry_status fill_cpu(const ry_cpu *c) {
    copy_job j;
    char element[8];
    fill_job(&j, c->n);
    fused_element(element, c->n->out[0].spec.dtype, ((const ry_fill_args *)c->args)->value);
    if (c->part < j.parts) copy_run(&j, c->out[0], element, c->part);
    return RY_OK;
}
static ry_status fill_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    char element[8];
    fused_element(element, n->out[0].spec.dtype, ((const ry_fill_args *)n->args)->value);
    return move_launch(n, 0, NULL, element, l);
}
static const ry_arg fill_args[] = {RY_ARG(ry_fill_args, dtype, RY_ARG_I32),
                                   RY_ARG(ry_fill_args, rank, RY_ARG_I64),
                                   RY_ARG_ARRAY(ry_fill_args, dim, RY_ARG_I64, RY_MAX_RANK),
                                   RY_ARG(ry_fill_args, value, RY_ARG_F64),
                                   {0}};
static const ry_sample fill_samples[] = {
    {.name = "f32", .args = &(const ry_fill_args){RY_F32, 2, {5, 7}, 1.5}},
    {.name = "bf16", .args = &(const ry_fill_args){RY_BF16, 1, {300}, -0.1}},
    {.name = "i64", .args = &(const ry_fill_args){RY_I64, 1, {3}, -7}},
    {.name = "bool", .args = &(const ry_fill_args){RY_BOOL, 0, {0}, 1}},
    {.name = "empty", .args = &(const ry_fill_args){RY_F32, 2, {0, 3}, 1}},
    {.name = "large", .args = &(const ry_fill_args){RY_F32, 1, {33554432}, 1}, .flags = RY_SAMPLE_BENCH},
    {0}};
const ry_op ry_op_fill_row = {.name = "fill",
                              .doc = "-> a shape full of one value",
                              .arg_size = sizeof(ry_fill_args),
                              .args = fill_args,
                              .flags = RY_OP_MAP,
                              .infer = fill_infer,
                              .work = fill_work,
                              .cpu = fill_cpu,
                              .wgsl = "move.wgsl",
                              .launch = fill_launch,
                              .cut = ry_cut_elements,
                              .samples = fill_samples};

ry_tensor ry_fill(ry_graph *g, const ry_spec *s, double value) {
    ry_fill_args a = {.dtype = (int32_t)s->dtype, .rank = s->rank, .value = value};
    if (s->rank >= 0 && s->rank <= RY_MAX_RANK) memcpy(a.dim, s->dim, (size_t)s->rank * sizeof *a.dim);
    return ry_apply_row(g, &ry_op_fill_row, 0, NULL, &a);
}
ry_tensor ry_scalar(ry_graph *g, double value) { return ry_fill(g, &(ry_spec){.dtype = RY_F32}, value); }

/* ---------------------------------------------------------------- blocks */

enum { BLOCKS_PART = 32768 }; /* values of a part, a multiple of every block */

static ry_work quant_work(const ry_node *n) {
    return (ry_work){.parts = {(ry_count(&n->out[0].spec) + BLOCKS_PART - 1) / BLOCKS_PART}, .local = BLOCKS_PART * sizeof(float)};
}
static bool quant_range(const ry_cpu *c, int64_t *begin, int64_t *n) {
    int64_t total = ry_count(&c->n->out[0].spec);
    *begin = c->part * BLOCKS_PART;
    *n = total - *begin < BLOCKS_PART ? total - *begin : BLOCKS_PART;
    return *n > 0;
}

static ry_status dequantize_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_cast_args *a = n->args;
    if (!is_block(n->src[0]->spec.dtype))
        return ry_fail_node(n, RY_EDTYPE, "x is %s, not of blocks", ry_show(&n->src[0]->spec).s);
    if (!is_dtype(a->dtype) || !ry_is_float((ry_dtype)a->dtype))
        return ry_fail_node(n, RY_EDTYPE, "the result is of a float dtype");
    out[0] = n->src[0]->spec;
    out[0].dtype = (ry_dtype)a->dtype;
    return RY_OK;
}
static ry_status dequantize_cpu(const ry_cpu *c) {
    int64_t i, m;
    if (!quant_range(c, &i, &m)) return RY_OK;
    ry_dtype t = c->n->out[0].spec.dtype, from = c->n->src[0]->spec.dtype;
    float *y = ry_row_out(c->out[0], t, i, c->local);
    simd_rows()->to_f32(y, (const char *)c->src[0] + ry_bytes_of(from, i), from, m);
    ry_store_row(c->out[0], t, i, m, y);
    return RY_OK;
}

static ry_status dequantize_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_chain ch = {.n_src = 1, .n_link = 1, .n_out = 1, .out = {1}};
    ch.link[0] = (ry_link){&ry_op_cast_row, {0, -1, -1, -1, -1}, n->out[0].spec.dtype, 0};
    return fused_launch(&ch, n, l);
}
static ry_status quantize_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t blocks = ry_count(&n->out[0].spec) / ry_dtype_row(n->out[0].spec.dtype)->block;
    ry_launch_u32(l, "blocks", blocks);
    l->raw = RY_USES_OUT(0);
    l->vec |= RY_USES_SRC(0);
    ry_launch_run(l, "main", (blocks + 255) / 256, 0);
    return RY_OK;
}

static ry_status quantize_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_cast_args *a = n->args;
    const ry_spec *x = &n->src[0]->spec;
    if (!ry_is_float(x->dtype)) return ry_fail_node(n, RY_EDTYPE, "x is %s; floats are quantised", ry_show(x).s);
    if (!is_block((ry_dtype)a->dtype)) return ry_fail_node(n, RY_EDTYPE, "the result is of a dtype of blocks");
    int block = ry_dtype_row((ry_dtype)a->dtype)->block;
    if (!x->rank || x->dim[x->rank - 1] % block)
        return ry_fail_node(n, RY_ESHAPE, "x is %s; its last dim must be a multiple of %d for %s", ry_show(x).s, block,
                            ry_dtype_name((ry_dtype)a->dtype));
    out[0] = *x;
    out[0].dtype = (ry_dtype)a->dtype;
    return RY_OK;
}
static ry_status quantize_cpu(const ry_cpu *c) {
    int64_t i, m;
    if (!quant_range(c, &i, &m)) return RY_OK;
    const float *x = ry_load_row(c->src[0], c->n->src[0]->spec.dtype, i, m, c->local);
    ry_dtype t = c->n->out[0].spec.dtype;
    simd_rows()->from_f32((char *)c->out[0] + ry_bytes_of(t, i), x, t, m);
    return RY_OK;
}

static const ry_sample dequantize_samples[] = {
    {.name = "plain", .src = {{RY_Q8_0, 2, {5, 96}, 0, 0, NULL}}, .args = &(const ry_cast_args){RY_F32}},
    {.name = "bf16", .src = {{RY_Q8_0, 1, {32}, 0, 0, NULL}}, .args = &(const ry_cast_args){RY_BF16}},
    {.name = "q3_K", .src = {{RY_Q3_K, 2, {3, 512}, 0, 0, NULL}}, .args = &(const ry_cast_args){RY_F32}},
    {.name = "empty", .src = {{RY_Q8_0, 2, {0, 32}, 0, 0, NULL}}, .args = &(const ry_cast_args){RY_F32}},
    {.name = "large",
     .src = {{RY_Q8_0, 2, {4096, 8192}, 0, 0, NULL}},
     .args = &(const ry_cast_args){RY_F32},
     .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_cast_args to_q8_0 = {RY_Q8_0};
static const ry_sample quantize_samples[] = {
    {.name = "plain", .src = {{RY_F32, 2, {5, 96}, 0, 0, NULL}}, .args = &to_q8_0, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "empty", .src = {{RY_F32, 2, {0, 32}, 0, 0, NULL}}, .args = &to_q8_0, .flags = RY_SAMPLE_NO_GRAD},
    {.name = "large",
     .src = {{RY_F32, 2, {4096, 8192}, 0, 0, NULL}},
     .args = &to_q8_0,
     .flags = RY_SAMPLE_BENCH | RY_SAMPLE_NO_GRAD},
    {0}};
static const ry_op row_dequantize = {.name = "dequantize",
                                     .doc = "x of blocks [..,N] -> the floats that it stands for",
                                     .arg_size = sizeof(ry_cast_args),
                                     .args = cast_args,
                                     .min_src = 1,
                                     .max_src = 1,
                                     .flags = RY_OP_NO_GRAD,
                                     .infer = dequantize_infer,
                                     .work = quant_work,
                                     .cpu = dequantize_cpu,
                                     .wgsl = "fused.wgsl",
                                     .launch = dequantize_launch,
                                     .cut = ry_cut_elements,
                                     .samples = dequantize_samples};
static const ry_op row_quantize = {.name = "quantize",
                                   .doc = "x [..,N], N whole blocks -> a dtype of blocks",
                                   .arg_size = sizeof(ry_cast_args),
                                   .args = cast_args,
                                   .min_src = 1,
                                   .max_src = 1,
                                   .flags = RY_OP_NO_GRAD,
                                   .infer = quantize_infer,
                                   .work = quant_work,
                                   .cpu = quantize_cpu,
                                   .launch = quantize_launch,
                                   .samples = quantize_samples};

ry_tensor ry_cast(ry_graph *g, ry_tensor x, ry_dtype t) {
    const ry_spec *s = ry_spec_of(g, x);
    if (s && s->dtype == t) return x;
    ry_cast_args a = {(int32_t)t};
    if (s && is_block(t)) return RY_APPLY(g, &row_quantize, &a, ry_is_float(s->dtype) ? x : ry_cast(g, x, RY_F32));
    if (s && is_block(s->dtype)) {
        bool floats = is_dtype((int32_t)t) && ry_is_float(t);
        ry_tensor f = RY_APPLY(g, &row_dequantize, floats ? &a : &(ry_cast_args){RY_F32}, x);
        return floats ? f : ry_cast(g, f, t);
    }
    return RY_APPLY(g, &ry_op_cast_row, &a, x);
}

RY_OP_MODULE(basic, &ry_op_sum_to_row, &ry_op_copy_row, &ry_op_contiguous_row, &ry_op_cast_row, &ry_op_fill_row,
             &row_dequantize, &row_quantize);
