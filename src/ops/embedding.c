/* embedding.c - whole slices by number: embedding (rows of a table), take (along any axis), and their gradient.
 *
 * The gradient adds rows that share an id in the order of their positions: parts own disjoint rows of the
 * result, so no two workers meet and the sum does not depend on their number. Never: single elements by number
 * (gather.c). */
#include "lines.h"

typedef struct take_args {
    int32_t axis;
} take_args;
static const ry_arg take_arg[] = {RY_ARG(take_args, axis, RY_ARG_I32), {0}};
typedef struct take_grad_args {
    int32_t axis; /* of the table, not negative */
    int64_t len;  /* slices of the table */
} take_grad_args;
static const ry_arg take_grad_arg[] = {
    RY_ARG(take_grad_args, axis, RY_ARG_I32), RY_ARG(take_grad_args, len, RY_ARG_I64), {0}};

static ry_status check_ids(const ry_node *n) {
    const ry_spec *ids = &n->src[1]->spec;
    if (ids->dtype != RY_I32 && ids->dtype != RY_I64)
        return ry_fail_node(n, RY_EDTYPE, "ids are %s, i32 or i64 are needed", ry_show(ids).s);
    return RY_OK;
}

/* ---- forward ---- */

static ry_status infer(const ry_node *n, int axis, ry_spec *out) {
    const ry_spec *x = &n->src[0]->spec, *ids = &n->src[1]->spec;
    RY_TRY(check_ids(n));
    if (x->rank - 1 + ids->rank > RY_MAX_RANK)
        return ry_fail_node(n, RY_ESHAPE, "x %s by ids %s has more than %d dims", ry_show(x).s, ry_show(ids).s,
                            RY_MAX_RANK);
    ry_spec y = {.dtype = x->dtype};
    for (int i = 0; i < axis; i++) y.dim[y.rank++] = x->dim[i];
    for (int i = 0; i < ids->rank; i++) y.dim[y.rank++] = ids->dim[i];
    for (int i = axis + 1; i < x->rank; i++) y.dim[y.rank++] = x->dim[i];
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK) y.dtype = RY_F32; /* rows of blocks are unpacked */
    *out = y;
    return RY_OK;
}
static ry_status embedding_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    if (n->src[0]->spec.rank != 2)
        return ry_fail_node(n, RY_ESHAPE, "w is %s, [V,C] is needed", ry_show(&n->src[0]->spec).s);
    return infer(n, 0, &out[0]);
}
static ry_status take_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec;
    int axis = ry_axis(x, ((const take_args *)n->args)->axis);
    if (axis < 0)
        return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", ((const take_args *)n->args)->axis,
                            ry_show(x).s);
    if (ry_dtype_row(x->dtype)->kind == RY_KIND_BLOCK && axis == x->rank - 1)
        return ry_fail_node(n, RY_EDTYPE, "x is %s: its blocks cannot be cut along the last axis", ry_show(x).s);
    return infer(n, axis, &out[0]);
}

static int axis_of(const ry_node *n) {
    return n->op->arg_size ? ry_axis(&n->src[0]->spec, ((const take_args *)n->args)->axis) : 0;
}

static ry_numbers numbers(const ry_node *n) {
    return (ry_numbers){.src = 1, .count = n->src[0]->spec.dim[axis_of(n)], .name = "ids"};
}

static ry_work work(const ry_node *n) {
    int64_t outer, len, inner;
    ry_around(&n->src[0]->spec, axis_of(n), &outer, &len, &inner);
    return (ry_work){.parts = {ry_row_parts(outer * ry_count(&n->src[1]->spec), inner)}};
}

static ry_status cpu(const ry_cpu *c) {
    const ry_value *x = c->n->src[0], *ids = c->n->src[1];
    int64_t outer, len, inner, begin, end, count = ry_count(&ids->spec);
    ry_around(&x->spec, axis_of(c->n), &outer, &len, &inner);
    bool blocks = ry_dtype_row(x->spec.dtype)->kind == RY_KIND_BLOCK;
    size_t bytes = ry_bytes_of(x->spec.dtype, inner);
    ry_row_range(outer * count, inner, c->part, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t i = r % count, id = ry_load_index(c->src[1], ids->spec.dtype, i);
        if (id < 0 || id >= len) return ry_fail_number(c->n, i, id);
        const char *from = (const char *)c->src[0] + (size_t)(r / count * len + id) * bytes;
        if (blocks)
            simd_rows()->to_f32((float *)c->out[0] + r * inner, from, x->spec.dtype, inner);
        else
            memcpy((char *)c->out[0] + (size_t)r * bytes, from, bytes);
    }
    return RY_OK;
}

/* Out of range numbers that a device computed are no error there: NaN, or 0 where there is none. */
static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t outer, len, inner, count = ry_count(&n->src[1]->spec), total = ry_count(&n->out[0].spec);
    ry_around(&n->src[0]->spec, axis_of(n), &outer, &len, &inner);
    if (n->src[0]->spec.dtype == RY_I64) { /* moved as pairs of words */
        l->raw = RY_USES_SRC(0) | RY_USES_OUT(0);
        inner *= ry_raw_units(RY_I64), total *= ry_raw_units(RY_I64);
    }
    ry_launch_knob_set(l, "FOURS", inner % 4 == 0);
    ry_launch_knob_set(l, "FLOATS", ry_is_float(n->out[0].spec.dtype));
    if (inner % 4 == 0) l->vec |= RY_USES_SRC(0);
    l->vec |= RY_USES_OUT(0);
    ry_launch_u32(l, "len", len);
    ry_launch_u32(l, "inner", inner);
    ry_launch_u32(l, "count", count);
    ry_launch_u32(l, "total", total);
    ry_launch_u32(l, "nan", 0x7fc00000);
    ry_launch_run(l, "main", line_div_up(total, 4 * 256), 0);
    return RY_OK;
}

/* Slices along axis 0 of a table: a piece writes the slices that it holds, the first one those that nobody has. */
static bool cut(const ry_node *n, ry_cut *c) {
    const ry_spec *x = &n->src[0]->spec;
    if (axis_of(n) || ry_count_range(x, 1, x->rank) % 4) return false;
    c->length = x->dim[0];
    c->axis[0] = 0;
    return true;
}

static ry_cost cost(const ry_node *n) { /* only the rows that are asked for are read */
    const ry_spec *y = &n->out[0].spec;
    double e = (double)ry_count(y);
    return (ry_cost){0, e * (double)line_size(y->dtype) + (double)ry_bytes_of(n->src[0]->spec.dtype, ry_count(y))};
}

/* ---- gradient: gy [..,ids..,..], ids -> f32 table ---- */

static ry_status take_grad_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *gy = &n->src[0]->spec, *ids = &n->src[1]->spec;
    const take_grad_args *a = n->args;
    RY_TRY(check_ids(n));
    bool fits = a->axis >= 0 && a->axis + ids->rank <= gy->rank && gy->rank - ids->rank < RY_MAX_RANK;
    for (int i = 0; fits && i < ids->rank; i++) fits = gy->dim[a->axis + i] == ids->dim[i];
    if (!fits)
        return ry_fail_node(n, RY_ESHAPE, "gy %s does not have the dims of ids %s from axis %d on", ry_show(gy).s,
                            ry_show(ids).s, a->axis);
    if (!ry_is_float(gy->dtype)) return ry_fail_node(n, RY_EDTYPE, "gy is %s, floats are needed", ry_show(gy).s);
    if (a->len < 0 || ry_numel(ids) > INT32_MAX)
        return ry_fail_node(n, RY_EARG, "len is %lld, ids are %s", (long long)a->len, ry_show(ids).s);
    ry_spec y = {.dtype = RY_F32};
    for (int i = 0; i < a->axis; i++) y.dim[y.rank++] = gy->dim[i];
    y.dim[y.rank++] = a->len;
    for (int i = a->axis + ids->rank; i < gy->rank; i++) y.dim[y.rank++] = gy->dim[i];
    out[0] = y;
    if (ry_numel(&y) < 0) return ry_fail_node(n, RY_ESHAPE, "the table %s is too large", ry_show(&y).s);
    return RY_OK;
}

static ry_numbers take_grad_numbers(const ry_node *n) {
    return (ry_numbers){.src = 1, .count = ((const take_grad_args *)n->args)->len, .name = "ids"};
}

typedef struct grid {
    int64_t outer, len, inner, ids;
    int64_t rows, cols; /* of the table in a part */
    int64_t row_blocks, col_blocks;
} grid;

static grid grid_of(const ry_node *n) {
    enum { PART = 32768 };
    grid k;
    ry_around(&n->out[0].spec, ((const take_grad_args *)n->args)->axis, &k.outer, &k.len, &k.inner);
    k.ids = ry_count(&n->src[1]->spec);
    k.cols = line_min(line_max(k.inner, 1), LINE_CHUNK);
    /* Few rows with many hits (bytes, characters) are cut by columns too: one busy row would hold a worker alone. */
    if (k.ids > 4 * k.len) k.cols = line_min(k.cols, line_max(64, line_div_up(k.cols, 256) * 64));
    double each = (1 + (double)k.ids / (double)line_max(k.len, 1)) * (double)k.cols;
    k.rows = line_max(1, (int64_t)((double)PART / each));
    k.row_blocks = line_max(1, line_div_up(k.len, k.rows));
    k.col_blocks = line_max(1, line_div_up(k.inner, k.cols));
    return k;
}

static ry_work take_grad_work(const ry_node *n) {
    grid k = grid_of(n);
    int64_t parts = line_max(1, k.outer) * k.row_blocks * k.col_blocks;
    if (k.row_blocks == 1) return (ry_work){.parts = {parts}};
    return (ry_work){.phases = 2, .parts = {1, parts}, .scratch = (size_t)(k.row_blocks + 1 + k.ids) * sizeof(int32_t)};
}

/* Positions by the block of rows that they belong to, in order: start[b] .. start[b+1] of list. */
static ry_status sort_ids(const ry_cpu *c, const grid *k, int32_t *start, int32_t *list) {
    ry_dtype t = c->n->src[1]->spec.dtype;
    memset(start, 0, (size_t)(k->row_blocks + 1) * sizeof *start);
    for (int64_t i = 0; i < k->ids; i++) {
        int64_t id = ry_load_index(c->src[1], t, i);
        if (id < 0 || id >= k->len) return ry_fail_number(c->n, i, id);
        start[id / k->rows + 1]++;
    }
    for (int64_t b = 0; b < k->row_blocks; b++) start[b + 1] += start[b];
    for (int64_t i = 0; i < k->ids; i++) list[start[ry_load_index(c->src[1], t, i) / k->rows]++] = (int32_t)i;
    for (int64_t b = k->row_blocks; b > 0; b--) start[b] = start[b - 1];
    start[0] = 0;
    return RY_OK;
}

static ry_status take_grad_cpu(const ry_cpu *c) {
    grid k = grid_of(c->n);
    int32_t *start = c->scratch, *list = start ? start + k.row_blocks + 1 : NULL;
    if (k.row_blocks > 1 && c->phase == 0) return sort_ids(c, &k, start, list);
    if (k.outer * k.inner * k.len == 0) {
        for (int64_t i = 0; i < k.ids; i++)
            if (k.len == 0) return ry_fail_number(c->n, i, ry_load_index(c->src[1], c->n->src[1]->spec.dtype, i));
        return RY_OK;
    }
    int64_t col = c->part % k.col_blocks * k.cols, block = c->part / k.col_blocks % k.row_blocks;
    int64_t o = c->part / k.col_blocks / k.row_blocks, n = line_min(k.inner - col, k.cols), row, row_end;
    line_range(k.len, k.rows, block, &row, &row_end);
    float *y = (float *)c->out[0] + o * k.len * k.inner + col, buf[LINE_CHUNK];
    if (n == k.inner)
        memset(y + row * k.inner, 0, (size_t)((row_end - row) * n) * sizeof *y);
    else
        for (int64_t r = row; r < row_end; r++) memset(y + r * k.inner, 0, (size_t)n * sizeof *y);
    int64_t from = k.row_blocks > 1 ? start[block] : 0, to = k.row_blocks > 1 ? start[block + 1] : k.ids;
    for (int64_t p = from; p < to; p++) {
        int64_t i = k.row_blocks > 1 ? list[p] : p, id = ry_load_index(c->src[1], c->n->src[1]->spec.dtype, i);
        if (id < 0 || id >= k.len) return ry_fail_number(c->n, i, id);
        const float *x = ry_load_row(c->src[0], c->n->src[0]->spec.dtype, (o * k.ids + i) * k.inner + col, n, buf);
        simd_rows()->add(y + id * k.inner, y + id * k.inner, x, n);
    }
    return RY_OK;
}

/* Out of range numbers add nothing on GPUs. */
static ry_status take_grad_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { THREADS = 1 << 18 }; /* that a device keeps in flight, about: more work goes into longer chunks */
    int64_t outer, len, inner, count = ry_count(&n->src[1]->spec), chunk = 8, total = ry_count(&n->out[0].spec);
    ry_around(&n->out[0].spec, ((const take_grad_args *)n->args)->axis, &outer, &len, &inner);
    int64_t columns = line_div_up(inner, 4);
    while (chunk < 128 && line_div_up(count, chunk) * columns * outer > THREADS) chunk *= 2;
    int64_t chunks = line_div_up(count, chunk), lines = line_div_up(2 * count, 4) * 4;
    int64_t sums = total ? line_div_up(outer * chunks * columns, 256) : 0;
    l->vec |= RY_USES_SCRATCH | (inner % 4 ? 0 : RY_USES_SRC(0) | RY_USES_OUT(0));
    l->scratch = (size_t)(lines + line_max(1, outer * chunks * columns) * 4) * sizeof(float);
    ry_launch_u32(l, "outer", outer);
    ry_launch_u32(l, "len", len);
    ry_launch_u32(l, "inner", inner);
    ry_launch_u32(l, "columns", columns);
    ry_launch_u32(l, "count", count);
    ry_launch_u32(l, "chunk", chunk);
    ry_launch_u32(l, "chunks", chunks);
    ry_launch_u32(l, "lines", lines);
    ry_launch_u32(l, "total", total);
    ry_launch_run(l, "zero", line_div_up(total, 4 * 256), RY_USES_OUT(0));
    ry_launch_run(l, "rank", sums ? line_div_up(count, 16) : 0, RY_USES_SRC(1) | RY_USES_SCRATCH);
    ry_launch_run(l, "sums", sums, RY_USES_SRC(0) | RY_USES_OUT(0) | RY_USES_SCRATCH);
    ry_launch_run(l, "joins", sums, RY_USES_OUT(0) | RY_USES_SCRATCH);
    return RY_OK;
}

/* Rows of the table: to a piece, ids of other pieces are out of range. */
static bool take_grad_cut(const ry_node *n, ry_cut *c) {
    if (((const take_grad_args *)n->args)->axis) return false;
    c->length = n->out[0].spec.dim[0];
    c->axis[RY_OPERAND_OUT] = 0;
    return true;
}

static ry_status take_grad_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    gx[0] = ry_take(g, gy[0], ry_src(g, n, 1), ((const take_grad_args *)n->args)->axis);
    return RY_OK;
}

/* clang-format off */
/* ---- samples ---- */

static const int32_t five[] = {2, 0, 6, 2, 2}, six[] = {1, 1, 0, 2, 1, 0}, zeros[] = {0, 0, 0};
static const ry_sample embedding_samples[] = {
    {.name = "repeated ids", .src = {SRC_F(7, 5), SRC_LIST(RY_I32, five, 5)}, .n_src = 2},
    {.name = "ids [2,3]", .src = {SRC_F(3, 40), SRC_LIST(RY_I64, six, 2, 3)}, .n_src = 2},
    {.name = "one id", .src = {SRC_F(1, 4), {.dtype = RY_I32, .values = zeros}}, .n_src = 2},
    {.name = "no ids", .src = {SRC_F(3, 4), SRC_I(RY_I32, 0, 1, 0)}, .n_src = 2},
    {.name = "no columns", .src = {SRC_F(3, 0), SRC_LIST(RY_I32, zeros, 3)}, .n_src = 2},
    {.name = "q8_0", .src = {{.dtype = RY_Q8_0, SRC_DIMS(7, 64)}, SRC_LIST(RY_I32, five, 5)}, .n_src = 2,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "large", .src = {SRC_F(50257, 768), SRC_I(RY_I32, 0, 50257, 16384)}, .n_src = 2, .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_sample take_samples[] = {
    {.name = "first", .src = {SRC_F(7, 5), SRC_LIST(RY_I32, five, 5)}, .n_src = 2, .args = &(const take_args){0}},
    {.name = "middle", .src = {SRC_F(2, 3, 4), SRC_LIST(RY_I64, six, 6)}, .n_src = 2, .args = &(const take_args){1}},
    {.name = "last", .src = {SRC_F(3, 7), SRC_LIST(RY_I32, five, 5)}, .n_src = 2, .args = &(const take_args){-1}},
    {.name = "integers", .src = {SRC_I(RY_I64, -9e15f, 9e15f, 7, 2), SRC_LIST(RY_I32, five, 5)}, .n_src = 2,
     .args = &(const take_args){0}},
    {0}};
#define A(axis, len) &(const take_grad_args){(axis), (len)}
static const ry_sample take_grad_samples[] = {
    {.name = "repeated ids", .src = {SRC_F(5, 4), SRC_LIST(RY_I32, five, 5)}, .n_src = 2, .args = A(0, 7)},
    {.name = "middle", .src = {SRC_F(2, 2, 3, 4), SRC_LIST(RY_I64, six, 2, 3)}, .n_src = 2, .args = A(1, 3)},
    {.name = "blocks of rows", .src = {SRC_F(90, 288), SRC_I(RY_I32, 0, 700, 90)}, .n_src = 2, .args = A(0, 700),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "blocks of columns", .src = {SRC_F(900, 300), SRC_I(RY_I32, 0, 20, 900)}, .n_src = 2, .args = A(0, 20),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "no ids", .src = {SRC_F(0, 4), SRC_I(RY_I32, 0, 1, 0)}, .n_src = 2, .args = A(0, 3)},
    {.name = "one id", .src = {SRC_F(3000, 3), SRC_I(RY_I64, 2, 3, 3000)}, .n_src = 2, .args = A(0, 4),
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "small model", .src = {SRC_F(1024, 288), SRC_I(RY_I32, 0, 4096, 1024)}, .n_src = 2, .args = A(0, 4096),
     .flags = RY_SAMPLE_BENCH},
    {.name = "large", .src = {SRC_F(1024, 768), SRC_I(RY_I32, 0, 50257, 1024)}, .n_src = 2, .args = A(0, 50257),
     .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A

static const ry_op take_grad_row = {
    .name = "take_grad", .doc = "gy [..,ids..,..], ids -> f32 [..,len,..]: rows with one id are added",
    .arg_size = sizeof(take_grad_args), .args = take_grad_arg, .min_src = 2, .max_src = 2, .flags = RY_OP_CHECKED,
    .infer = take_grad_infer, .work = take_grad_work, .cpu = take_grad_cpu, .numbers = take_grad_numbers, .launch = take_grad_launch, .cut = take_grad_cut, .vjp = take_grad_vjp, .tol = 1e-4f,
    .samples = take_grad_samples};

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    if (!ry_is_float(n->src[0]->spec.dtype)) return RY_OK;
    int axis = axis_of(n);
    gx[0] = RY_APPLY(g, &take_grad_row, (&(take_grad_args){axis, n->src[0]->spec.dim[axis]}), gy[0], ry_src(g, n, 1));
    return RY_OK;
}

static const ry_op embedding_row = {
    .name = "embedding", .doc = "w [V,C], ids [..] -> [..,C]; Q8_0 rows give f32", .min_src = 2, .max_src = 2,
    .flags = RY_OP_CHECKED, .infer = embedding_infer, .work = work, .cpu = cpu, .numbers = numbers, .launch = launch, .cut = cut, .vjp = vjp, .cost = cost,
    .samples = embedding_samples};
static const ry_op take_row = {
    .name = "take", .doc = "x [..,N,..], ids [R..] -> [..,R..,..]: slices along axis", .arg_size = sizeof(take_args),
    .args = take_arg, .min_src = 2, .max_src = 2, .flags = RY_OP_CHECKED, .infer = take_infer, .work = work, .cpu = cpu,
    .numbers = numbers, .wgsl = "embedding.wgsl", .launch = launch, .cut = cut, .vjp = vjp, .cost = cost, .samples = take_samples};

ry_tensor ry_embedding(ry_graph *g, ry_tensor w, ry_tensor ids) { return RY_APPLY(g, &embedding_row, NULL, w, ids); }
ry_tensor ry_take(ry_graph *g, ry_tensor x, ry_tensor ids, int axis) {
    return RY_APPLY(g, &take_row, (&(take_args){axis}), x, ids);
}

RY_OP_MODULE(embedding, &embedding_row, &take_row, &take_grad_row);
