/* gather.c - single elements by number along one axis, as torch.gather and torch.scatter(_add).
 *
 * scatter works on a copy of x (or in x's place where it dies); parts own disjoint lines, so equal numbers are
 * met in order and the result does not depend on the number of threads. Never: whole slices (embedding.c),
 * writes of variables (update.c). */
#include "core/rows.h"
#include "lines.h"

typedef struct gather_args {
    int32_t axis;
} gather_args;
static const ry_arg gather_arg[] = {RY_ARG(gather_args, axis, RY_ARG_I32), {0}};
typedef struct scatter_args {
    int32_t axis;
    bool add;
} scatter_args;
static const ry_arg scatter_arg[] = {
    RY_ARG(scatter_args, axis, RY_ARG_I32), RY_ARG(scatter_args, add, RY_ARG_BOOL), {0}};

enum { PART = 16384 };

/* ---- shapes ---- */

/* A scalar is a line of one. */
static ry_value lined(const ry_value *v) {
    ry_value r = *v;
    if (r.spec.rank == 0) r.spec.rank = 1, r.spec.dim[0] = 1, r.stride[0] = 1;
    return r;
}

static ry_status check(const ry_node *n, int32_t axis, const ry_value *x0, const ry_value *idx0) {
    ry_value x = lined(x0), idx = lined(idx0);
    if (ry_dtype_row(x.spec.dtype)->kind == RY_KIND_BLOCK)
        return ry_fail_node(n, RY_EDTYPE, "x is %s; cast it to f32 first", ry_show(&x0->spec).s);
    if (idx.spec.dtype != RY_I32 && idx.spec.dtype != RY_I64)
        return ry_fail_node(n, RY_EDTYPE, "idx is %s, i32 or i64 is needed", ry_show(&idx0->spec).s);
    int a = ry_axis(&x.spec, axis);
    if (a < 0) return ry_fail_node(n, RY_EARG, "axis %d is out of range for x %s", axis, ry_show(&x0->spec).s);
    bool fits = x.spec.rank == idx.spec.rank;
    for (int i = 0; fits && i < x.spec.rank; i++) fits = i == a || idx.spec.dim[i] <= x.spec.dim[i];
    if (!fits && ry_count(&idx0->spec) > 0)
        return ry_fail_node(n, RY_ESHAPE,
                            "idx %s must have as many dims as x %s and be no larger, except along axis %d",
                            ry_show(&idx0->spec).s, ry_show(&x0->spec).s, axis);
    return RY_OK;
}

static ry_status gather_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(check(n, ((const gather_args *)n->args)->axis, n->src[0], n->src[1]));
    out[0] = n->src[1]->spec;
    out[0].dtype = n->src[0]->spec.dtype;
    return RY_OK;
}

static ry_status scatter_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec, *idx = &n->src[1]->spec, *src = &n->src[2]->spec;
    RY_TRY(check(n, ((const scatter_args *)n->args)->axis, n->src[0], n->src[1]));
    if (src->dtype != x->dtype)
        return ry_fail_node(n, RY_EDTYPE, "src is %s, x is %s: one dtype is needed", ry_show(src).s, ry_show(x).s);
    bool fits = src->rank == idx->rank || ry_count(idx) == 0;
    for (int i = 0; fits && ry_count(idx) && i < idx->rank; i++) fits = idx->dim[i] <= src->dim[i];
    if (!fits)
        return ry_fail_node(n, RY_ESHAPE, "src %s must be at least as large as idx %s", ry_show(src).s, ry_show(idx).s);
    if (((const scatter_args *)n->args)->add && x->dtype == RY_BOOL)
        return ry_fail_node(n, RY_EDTYPE, "bools cannot be added");
    out[0] = *x;
    return RY_OK;
}

/* ---- one row of idx at a time: offsets into the indexed tensor and into the other one ---- */

typedef struct rows_of {
    ry_value idx;
    int64_t len;            /* of x along the axis */
    int64_t step;           /* of the indexed tensor along the axis */
    int64_t x_last, o_last; /* steps along idx's last dim */
    line_walk wi, wx, wo;
} rows_of;

/* idx restricted to [begin,end) along dim d (d < 0: all), from its row `row` on. */
static int64_t rows_begin(rows_of *r, const ry_value *x0, const ry_value *idx0, const ry_value *other0, int32_t axis_,
                          int d, int64_t begin, int64_t end, int64_t row) {
    ry_value x = lined(x0), o = lined(other0);
    r->idx = lined(idx0);
    int axis = ry_axis(&x.spec, axis_), last = x.spec.rank - 1;
    int64_t xi = 0, oi = 0, ii = 0;
    if (d >= 0) {
        r->idx.spec.dim[d] = line_max(0, line_min(end, r->idx.spec.dim[d]) - begin);
        xi = begin * x.stride[d], oi = begin * o.stride[d], ii = begin * r->idx.stride[d];
    }
    r->len = x.spec.dim[axis], r->step = x.stride[axis];
    x.stride[axis] = 0; /* the number itself says where along the axis */
    r->x_last = x.stride[last], r->o_last = o.stride[last];
    for (int i = 0; i <= last; i++) x.spec.dim[i] = o.spec.dim[i] = r->idx.spec.dim[i];
    line_walk_begin(&r->wi, &r->idx, last, row);
    line_walk_begin(&r->wx, &x, last, row);
    line_walk_begin(&r->wo, &o, last, row);
    r->wi.at += ii, r->wx.at += xi, r->wo.at += oi;
    return ry_count_range(&r->idx.spec, 0, last);
}
static void rows_next(rows_of *r) {
    line_walk_next(&r->wi);
    line_walk_next(&r->wx);
    line_walk_next(&r->wo);
}

/* Offsets into the indexed tensor of elements [from, from + m) of the row, m <= LINE_CHUNK. */
static ry_status row_offsets(const ry_cpu *c, const rows_of *r, int64_t from, int64_t m, int64_t *at) {
    int64_t i = r->wi.at + from;
    line_integers(at, c->src[1], r->idx.spec.dtype, i, 1, m);
    for (int64_t j = 0; j < m; j++) {
        if (at[j] < 0 || at[j] >= r->len)
            return ry_fail_number(c->n, i + j, at[j]);
        at[j] = r->wx.at + (from + j) * r->x_last + at[j] * r->step;
    }
    return RY_OK;
}

static ry_numbers numbers_of(const ry_node *n, int axis) {
    ry_value x = lined(n->src[0]);
    return (ry_numbers){.src = 1, .count = x.spec.dim[ry_axis(&x.spec, axis)], .name = "idx"};
}

/* ---- gather ---- */

static ry_numbers gather_numbers(const ry_node *n) { return numbers_of(n, ((const gather_args *)n->args)->axis); }

static ry_work gather_work(const ry_node *n) {
    ry_value idx = lined(n->src[1]);
    int last = idx.spec.rank - 1;
    return (ry_work){.parts = {ry_row_parts(ry_count_range(&idx.spec, 0, last), idx.spec.dim[last])}};
}

static void pick(void *y, const void *x, size_t size, const int64_t *at, int64_t n) {
    if (size == 4)
        for (int64_t i = 0; i < n; i++) ((uint32_t *)y)[i] = ((const uint32_t *)x)[at[i]];
    else if (size == 2)
        for (int64_t i = 0; i < n; i++) ((uint16_t *)y)[i] = ((const uint16_t *)x)[at[i]];
    else if (size == 8)
        for (int64_t i = 0; i < n; i++) ((uint64_t *)y)[i] = ((const uint64_t *)x)[at[i]];
    else
        for (int64_t i = 0; i < n; i++) ((uint8_t *)y)[i] = ((const uint8_t *)x)[at[i]];
}

static ry_status gather_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    size_t size = line_size(n->out[0].spec.dtype);
    if (ry_count(&n->out[0].spec) == 0) return RY_OK;
    ry_value idx = lined(n->src[1]);
    int64_t at[LINE_CHUNK], begin, end, len = idx.spec.dim[idx.spec.rank - 1];
    ry_row_range(ry_count_range(&idx.spec, 0, idx.spec.rank - 1), len, c->part, &begin, &end);
    rows_of r;
    (void)rows_begin(&r, n->src[0], n->src[1], &n->out[0], ((const gather_args *)c->args)->axis, -1, 0, 0, begin);
    for (int64_t row = begin; row < end; row++, rows_next(&r))
        for (int64_t i = 0; i < len; i += LINE_CHUNK) {
            int64_t m = line_min(len - i, LINE_CHUNK);
            RY_TRY(row_offsets(c, &r, i, m, at));
            pick(line_put(c->out[0], size, row * len + i), c->src[0], size, at, m);
        }
    return RY_OK;
}

static ry_status gather_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    ry_spec s = n->src[0]->spec;
    const ry_spec *sy = ry_spec_of(g, gy[0]);
    if (!ry_is_float(s.dtype) || !sy) return RY_OK;
    s.dtype = sy->dtype;
    gx[0] = ry_scatter(g, ry_fill(g, &s, 0), ry_src(g, n, 1), gy[0], ((const gather_args *)n->args)->axis, true);
    return RY_OK;
}

static ry_status gather_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_value x = lined(n->src[0]), idx = lined(n->src[1]);
    int axis = ry_axis(&x.spec, ((const gather_args *)n->args)->axis);
    int64_t count = ry_count(&idx.spec), stride[RY_MAX_RANK];
    for (int i = 0; i < x.spec.rank; i++) stride[i] = i == axis ? 0 : x.stride[i]; /* the number says where along it */
    ry_launch_walk_strides(l, "x_at", count ? idx.spec.rank : 0, idx.spec.dim, stride);
    l->vec = RY_USES_SRC(1) | RY_USES_OUT(0);
    int units = x.spec.dtype == RY_I64 ? ry_raw_units(RY_I64) : 1;
    if (units > 1) l->raw = RY_USES_SRC(0) | RY_USES_OUT(0);
    ry_launch_knob_set(l, "UNITS", units);
    ry_launch_knob_set(l, "FLOATS", ry_is_float(x.spec.dtype));
    ry_launch_u32(l, "step", x.stride[axis]);
    ry_launch_u32(l, "len", x.spec.dim[axis]);
    ry_launch_u32(l, "count", count);
    ry_launch_u32(l, "nan", 0x7fc00000);
    ry_launch_run(l, "main", line_div_up(count, units > 1 ? 256 : 4 * 256), 0);
    return RY_OK;
}

static ry_cost gather_cost(const ry_node *n) {
    double e = (double)ry_count(&n->out[0].spec);
    return (ry_cost){0, e * (double)(2 * line_size(n->out[0].spec.dtype) + line_size(n->src[1]->spec.dtype))};
}

/* ---- scatter ---- */

static ry_numbers scatter_numbers(const ry_node *n) { return numbers_of(n, ((const scatter_args *)n->args)->axis); }

typedef struct cut {
    int dim;     /* the longest that is not the axis; -1: x is one line */
    int64_t per; /* coordinates in a part */
    int64_t parts;
} cut;

static cut cut_of(const ry_node *n) {
    ry_value x = lined(n->src[0]);
    int axis = ry_axis(&x.spec, ((const scatter_args *)n->args)->axis);
    cut k = {-1, 1, 1};
    for (int i = 0; i < x.spec.rank; i++)
        if (i != axis && (k.dim < 0 || x.spec.dim[i] > x.spec.dim[k.dim])) k.dim = i;
    if (k.dim < 0) return k;
    int64_t len = x.spec.dim[k.dim];
    double each = ((double)ry_count(&x.spec) + (double)ry_count(&n->src[1]->spec)) / (double)line_max(len, 1);
    k.per = line_max(1, (int64_t)((double)PART / (each < 1 ? 1 : each)));
    k.parts = line_max(1, line_div_up(len, k.per));
    return k;
}
static ry_work scatter_work(const ry_node *n) { return (ry_work){.parts = {cut_of(n).parts}}; }

static void put(void *y, size_t size, const int64_t *at, const void *x, int64_t step, int64_t n) {
    if (size == 4)
        for (int64_t i = 0; i < n; i++) ((uint32_t *)y)[at[i]] = ((const uint32_t *)x)[i * step];
    else if (size == 2)
        for (int64_t i = 0; i < n; i++) ((uint16_t *)y)[at[i]] = ((const uint16_t *)x)[i * step];
    else if (size == 8)
        for (int64_t i = 0; i < n; i++) ((uint64_t *)y)[at[i]] = ((const uint64_t *)x)[i * step];
    else
        for (int64_t i = 0; i < n; i++) ((uint8_t *)y)[at[i]] = ((const uint8_t *)x)[i * step];
}

static void put_sum(void *y, ry_dtype t, const int64_t *at, const void *x, int64_t step, int64_t n) {
    switch (t) {
    case RY_F32:
        for (int64_t i = 0; i < n; i++) ((float *)y)[at[i]] += ((const float *)x)[i * step];
        break;
    case RY_F64:
        for (int64_t i = 0; i < n; i++) ((double *)y)[at[i]] += ((const double *)x)[i * step];
        break;
    case RY_I64:
        for (int64_t i = 0; i < n; i++) ((uint64_t *)y)[at[i]] += ((const uint64_t *)x)[i * step];
        break;
    case RY_I32:
        for (int64_t i = 0; i < n; i++) ((uint32_t *)y)[at[i]] += ((const uint32_t *)x)[i * step];
        break;
    case RY_I8:
    case RY_U8:
        for (int64_t i = 0; i < n; i++) {
            uint8_t *p = (uint8_t *)y + at[i];
            *p = (uint8_t)(*p + ((const uint8_t *)x)[i * step]);
        }
        break;
    default: /* bf16, f16: each sum is rounded to storage, as in PyTorch */
        for (int64_t i = 0; i < n; i++) {
            float a, b, s = *ry_load_row(y, t, at[i], 1, &a) + *ry_load_row(x, t, i * step, 1, &b);
            ry_store_row(y, t, at[i], 1, &s);
        }
        break;
    }
}

static ry_status scatter_cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    const scatter_args *a = c->args;
    ry_value x = lined(n->src[0]);
    ry_dtype t = x.spec.dtype;
    size_t size = line_size(t);
    cut k = cut_of(n);
    int64_t begin = 0, end = 1, total = ry_count(&x.spec);
    if (total == 0 && ry_count(&n->src[1]->spec) == 0) return RY_OK;
    if (k.dim >= 0) line_range(x.spec.dim[k.dim], k.per, c->part, &begin, &end);
    if (c->out[0] != c->src[0] && total) { /* else x died here and gave us its place */
        int64_t line = k.dim < 0 ? total : ry_count_range(&x.spec, k.dim + 1, x.spec.rank),
                len = k.dim < 0 ? 1 : x.spec.dim[k.dim];
        for (int64_t o = 0; o < total / (line * len); o++) {
            int64_t at = (o * len + begin) * line;
            memcpy(line_put(c->out[0], size, at), line_at(c->src[0], size, at), (size_t)((end - begin) * line) * size);
        }
    }
    if (ry_count(&n->src[1]->spec) == 0) return RY_OK;
    rows_of r;
    ry_value y = n->out[0];
    int64_t rows = rows_begin(&r, &y, n->src[1], n->src[2], a->axis, k.dim, begin, end, 0), at[LINE_CHUNK];
    int64_t len = r.idx.spec.dim[r.idx.spec.rank - 1];
    for (int64_t row = 0; row < rows; row++, rows_next(&r))
        for (int64_t i = 0; i < len; i += LINE_CHUNK) {
            int64_t m = line_min(len - i, LINE_CHUNK);
            RY_TRY(row_offsets(c, &r, i, m, at));
            const void *from = line_at(c->src[2], size, r.wo.at + i * r.o_last);
            if (a->add)
                put_sum(c->out[0], t, at, from, r.o_last, m);
            else
                put(c->out[0], size, at, from, r.o_last, m);
        }
    return RY_OK;
}

static ry_status scatter_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { SHORT = 32, MANY = 16384 };
    ry_value y = lined(&n->out[0]), idx = lined(n->src[1]), src = lined(n->src[2]);
    int axis = ry_axis(&y.spec, ((const scatter_args *)n->args)->axis), rank = 0;
    int64_t total = ry_count(&y.spec), count = ry_count(&idx.spec), lines = 1, dim[RY_MAX_RANK], is[RY_MAX_RANK],
            ys[RY_MAX_RANK], vs[RY_MAX_RANK];
    for (int i = 0; count && i < idx.spec.rank; i++) /* lines of idx */
        if (i != axis) {
            dim[rank] = idx.spec.dim[i], is[rank] = idx.stride[i], ys[rank] = y.stride[i], vs[rank++] = src.stride[i];
            lines *= idx.spec.dim[i];
        }
    ry_launch_walk_strides(l, "i_line", rank, dim, is);
    ry_launch_walk_strides(l, "y_line", rank, dim, ys);
    ry_launch_walk_strides(l, "v_line", rank, dim, vs);
    int64_t length = count ? idx.spec.dim[axis] : 0;
    bool one = length <= SHORT || (axis != idx.spec.rank - 1 && lines >= MANY);
    bool wide = y.spec.dtype == RY_I64;
    if (wide) l->raw = RY_USES_SRC(0) | RY_USES_SRC(2) | RY_USES_OUT(0), total *= ry_raw_units(RY_I64);
    ry_launch_knob_set(l, "WIDE", wide);
    ry_launch_u32(l, "total", total);
    ry_launch_u32(l, "lines", lines);
    ry_launch_u32(l, "length", length);
    ry_launch_u32(l, "len", y.spec.dim[axis]);
    ry_launch_u32(l, "i_step", count ? idx.stride[axis] : 0);
    ry_launch_u32(l, "y_step", y.stride[axis]);
    ry_launch_u32(l, "v_step", count ? src.stride[axis] : 0);
    ry_launch_run(l, "copy", line_div_up(total, 4 * 256), RY_USES_SRC(0) | RY_USES_OUT(0));
    ry_launch_run(l, one ? "short" : "long",
                  !count ? 0
                  : one  ? line_div_up(lines, 256)
                         : lines,
                  RY_USES_SRC(1) | RY_USES_SRC(2) | RY_USES_OUT(0));
    return RY_OK;
}

static ry_status scatter_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const scatter_args *a = n->args;
    const ry_spec *sy = ry_spec_of(g, gy[0]), *src = &n->src[2]->spec, *idx = &n->src[1]->spec;
    if (!ry_is_float(n->src[0]->spec.dtype) || !sy) return RY_OK;
    ry_tensor at = ry_src(g, n, 1);
    ry_spec zeros = *idx;
    zeros.dtype = sy->dtype;
    gx[0] = a->add ? gy[0] : ry_scatter(g, gy[0], at, ry_fill(g, &zeros, 0), a->axis, false);
    gx[2] = ry_gather(g, gy[0], at, a->axis);
    if (!ry_same_shape(idx, src)) { /* what lies beyond idx was not used */
        int64_t before[RY_MAX_RANK] = {0}, after[RY_MAX_RANK] = {0};
        for (int i = 0; i < src->rank && i < idx->rank; i++) after[i] = src->dim[i] - idx->dim[i];
        gx[2] = src->rank == idx->rank ? ry_pad(g, gx[2], before, after, 0) : RY_NULL;
    }
    return RY_OK;
}

static ry_cost scatter_cost(const ry_node *n) {
    double x = (double)ry_count(&n->src[0]->spec), e = (double)ry_count(&n->src[1]->spec),
           size = (double)line_size(n->src[0]->spec.dtype);
    return (ry_cost){((const scatter_args *)n->args)->add ? e : 0,
                     (2 * x + 3 * e) * size + e * (double)line_size(n->src[1]->spec.dtype)};
}

/* clang-format off */
/* ---- samples ---- */

static const int32_t g6[] = {1, 0, 4, 2, 2, 1}, unique[] = {1, 0, 2, 3, 0, 4}, column[] = {2, 0, 1, 1, 2, 0},
    nought[] = {0};
#define A(axis) &(const gather_args){axis}
static const ry_sample gather_samples[] = {
    {.name = "last", .src = {SRC_F(2, 5), SRC_LIST(RY_I32, g6, 2, 3)}, .n_src = 2, .args = A(-1)},
    {.name = "first", .src = {SRC_F(5, 3), SRC_LIST(RY_I64, g6, 2, 3)}, .n_src = 2, .args = A(0)},
    {.name = "idx smaller", .src = {SRC_F(3, 5, 4), SRC_LIST(RY_I32, g6, 2, 3, 1)}, .n_src = 2, .args = A(1)},
    {.name = "integers", .src = {SRC_I(RY_I64, -9e15f, 9e15f, 5), SRC_LIST(RY_I32, g6, 6)}, .n_src = 2, .args = A(0)},
    {.name = "scalar", .src = {SRC_SCALAR, {.dtype = RY_I32, .values = nought}}, .n_src = 2, .args = A(0)},
    {.name = "empty", .src = {SRC_F(2, 5), SRC_I(RY_I32, 0, 1, 2, 0)}, .n_src = 2, .args = A(1)},
    {.name = "large", .src = {SRC_F(8192, 1024), SRC_I(RY_I32, 0, 1024, 8192, 1024)}, .n_src = 2, .args = A(1),
     .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A
#define A(axis, add) &(const scatter_args){(axis), (add)}
static const ry_sample scatter_samples[] = {
    {.name = "set last", .src = {SRC_F(2, 5), SRC_LIST(RY_I32, unique, 2, 3), SRC_F(2, 3)}, .n_src = 3,
     .args = A(-1, false)},
    {.name = "wide integers", .src = {SRC_I(RY_I64, -9e15f, 9e15f, 4, 3), SRC_LIST(RY_I64, column, 2, 3), SRC_I(RY_I64, -9e15f, 9e15f, 2, 3)}, .n_src = 3,
     .args = A(0, true)},
    {.name = "set first", .src = {SRC_F(4, 3), SRC_LIST(RY_I64, column, 2, 3), SRC_F(2, 3)}, .n_src = 3,
     .args = A(0, false)},
    {.name = "add last", .src = {SRC_F(2, 5), SRC_LIST(RY_I32, g6, 2, 3), SRC_F(2, 3)}, .n_src = 3, .args = A(1, true),
     .flags = RY_SAMPLE_F32_ONLY},
    {.name = "add middle", .src = {SRC_F(2, 5, 2), SRC_LIST(RY_I32, g6, 2, 3, 1), SRC_F(2, 4, 2)}, .n_src = 3,
     .args = A(1, true), .flags = RY_SAMPLE_F32_ONLY},
    {.name = "add i32", .src = {SRC_I(RY_I32, -9, 9, 5), SRC_LIST(RY_I32, g6, 6), SRC_I(RY_I32, -9, 9, 6)}, .n_src = 3,
     .args = A(0, true)},
    {.name = "no idx", .src = {SRC_F(3, 2), SRC_I(RY_I32, 0, 1, 0, 2), SRC_F(0, 2)}, .n_src = 3, .args = A(0, false)},
    {.name = "set many", .src = {SRC_F(3, 400), SRC_I(RY_I32, 0, 400, 3, 1500), SRC_F(3, 1500)}, .n_src = 3,
     .args = A(1, false), .flags = RY_SAMPLE_NO_GRAD},
    {.name = "many parts", .src = {SRC_F(300, 200), SRC_I(RY_I32, 0, 200, 300, 50), SRC_F(300, 50)}, .n_src = 3,
     .args = A(1, true), .flags = RY_SAMPLE_NO_GRAD | RY_SAMPLE_F32_ONLY},
    {.name = "large", .src = {SRC_F(8192, 1024), SRC_I(RY_I32, 0, 1024, 8192, 512), SRC_F(8192, 512)}, .n_src = 3,
     .args = A(1, true), .flags = RY_SAMPLE_BENCH},
    {0}};
#undef A

static const ry_op gather_row = {
    .name = "gather", .doc = "x [..], idx [..] -> y of idx's shape: y[i,j] = x[i,idx[i,j]] along axis",
    .arg_size = sizeof(gather_args), .args = gather_arg, .min_src = 2, .max_src = 2, .flags = RY_OP_CHECKED,
    .strided = 1, .infer = gather_infer, .work = gather_work, .cpu = gather_cpu, .numbers = gather_numbers, .launch = gather_launch, .vjp = gather_vjp, .cost = gather_cost,
    .samples = gather_samples};
static const ry_op scatter_row = {
    .name = "scatter", .doc = "x [..], idx, src -> copy of x with y[i,idx[i,j]] = (or +=) src[i,j] along axis",
    .arg_size = sizeof(scatter_args), .args = scatter_arg, .min_src = 3, .max_src = 3,
    .flags = RY_OP_CHECKED | RY_OP_INPLACE0, .strided = 4, .infer = scatter_infer, .work = scatter_work,
    .cpu = scatter_cpu, .numbers = scatter_numbers, .launch = scatter_launch, .vjp = scatter_vjp, .cost = scatter_cost, .samples = scatter_samples};

ry_tensor ry_gather(ry_graph *g, ry_tensor x, ry_tensor idx, int axis) {
    return RY_APPLY(g, &gather_row, (&(gather_args){axis}), x, idx);
}
/* A source that shares x's storage is copied: x's place may be written. */
static ry_tensor apart(ry_graph *g, ry_tensor x, ry_tensor t) {
    const ry_value *a = ry_value_of(g, x), *b = ry_value_of(g, t);
    return a && b && a->base == b->base ? RY_APPLY(g, &ry_op_copy_row, NULL, t) : t;
}
ry_tensor ry_scatter(ry_graph *g, ry_tensor x, ry_tensor idx, ry_tensor src, int axis, bool add) {
    idx = apart(g, x, idx), src = apart(g, x, src);
    return RY_APPLY(g, &scatter_row, (&(scatter_args){axis, add}), x, idx, src);
}

RY_OP_MODULE(gather, &gather_row, &scatter_row);
