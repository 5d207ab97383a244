/* iota.c - numbers in a row along one axis. */
#include "core/rows.h"
#include <string.h>

typedef struct iota_args {
    int32_t dtype, axis;
    int64_t rank, dim[RY_MAX_RANK];
    double start, step;
} iota_args;
static const ry_arg fields[] = {RY_ARG(iota_args, dtype, RY_ARG_I32),
                                RY_ARG(iota_args, axis, RY_ARG_I32),
                                RY_ARG(iota_args, rank, RY_ARG_I64),
                                RY_ARG_ARRAY(iota_args, dim, RY_ARG_I64, RY_MAX_RANK),
                                RY_ARG(iota_args, start, RY_ARG_F64),
                                RY_ARG(iota_args, step, RY_ARG_F64),
                                {0}};

enum { PART = 16384, BLOCK = 256 };

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const iota_args *a = n->args;
    if (a->dtype <= RY_NONE || a->dtype >= RY_DTYPE_COUNT ||
        !(ry_is_float((ry_dtype)a->dtype) || ry_is_int((ry_dtype)a->dtype)))
        return ry_fail_node(n, RY_EDTYPE, "numbers in a row are floats or integers");
    if (a->rank < 1 || a->rank > RY_MAX_RANK)
        return ry_fail_node(n, RY_ESHAPE, "rank %lld; from 1 to %d", (long long)a->rank, RY_MAX_RANK);
    out[0] = ry_shape((ry_dtype)a->dtype, (int)a->rank, a->dim);
    if (ry_numel(&out[0]) < 0) return ry_fail_node(n, RY_ESHAPE, "%s is no shape", ry_show(&out[0]).s);
    if (a->axis < 0 || a->axis >= a->rank)
        return ry_fail_node(n, RY_EARG, "%s has no axis %d", ry_show(&out[0]).s, a->axis);
    return RY_OK;
}
static ry_work work(const ry_node *n) { return (ry_work){.parts = {(ry_count(&n->out[0].spec) + PART - 1) / PART}}; }

static int64_t whole(double v) {
    return !(v == v) ? 0 : v <= -0x1p63 ? INT64_MIN : v >= 0x1p63 ? INT64_MAX : (int64_t)v;
}

/* Called with BLOCK where it can be, so that the loops have a length that compilers make vectors of. */
static inline void ramp(double *v, const iota_args *a, double first, double along, int32_t n) {
    for (int32_t k = 0; k < n; k++) v[k] = a->start + a->step * (first + along * k);
}
static inline void round_all(float *f, const double *v, int64_t n) {
    for (int64_t k = 0; k < n; k++) f[k] = (float)v[k];
}

static ry_status cpu(const ry_cpu *c) {
    const iota_args *a = c->args;
    ry_dtype t = (ry_dtype)a->dtype;
    int64_t outer, len, inner, total = ry_count(&c->n->out[0].spec),
                               end = (c->part + 1) * PART < total ? (c->part + 1) * PART : total;
    ry_around(&c->n->out[0].spec, a->axis, &outer, &len, &inner);
    for (int64_t i = c->part * PART, m; i < end; i += m) {
        m = end - i < BLOCK ? end - i : BLOCK;
        double v[BLOCK];
        /* run by run: along the axis, or of one value where the axis is not the last; no division for every element */
        for (int64_t k = 0, run; k < m; k += run) {
            int64_t index = (i + k) / inner % len;
            run = inner == 1 ? len - index : inner - (i + k) % inner;
            run = run < m - k ? run : m - k;
            double first = (double)index, along = inner == 1 ? 1 : 0;
            if (run == BLOCK)
                ramp(v, a, first, along, BLOCK);
            else
                ramp(v + k, a, first, along, (int32_t)run);
        }
        float f[BLOCK];
        if (t == RY_F64)
            memcpy((double *)c->out[0] + i, v, (size_t)m * sizeof *v);
        else if (t == RY_I64)
            for (int64_t k = 0; k < m; k++) ((int64_t *)c->out[0])[i + k] = whole(v[k]);
        else if (t == RY_I32)
            for (int64_t k = 0; k < m; k++) ((int32_t *)c->out[0])[i + k] = (int32_t)(uint32_t)(uint64_t)whole(v[k]);
        else {
            if (m == BLOCK)
                round_all(f, v, BLOCK);
            else
                round_all(f, v, m);
            ry_store_row(c->out[0], t, i, m, f);
        }
    }
    return RY_OK;
}

static bool is_whole(double v) { return v >= -0x1p53 && v <= 0x1p53 && v == (double)(int64_t)v; }

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { FLOATS, I32S, I64S, NARROW };
    const iota_args *a = n->args;
    ry_dtype t = (ry_dtype)a->dtype;
    int64_t outer, len, inner, total = ry_count(&n->out[0].spec);
    ry_around(&n->out[0].spec, a->axis, &outer, &len, &inner);
    ry_launch_u32(l, "total", total);
    ry_launch_u32(l, "len", len);
    ry_launch_u32(l, "inner", inner);
    l->vec |= RY_USES_OUT(0);
    if (ry_is_float(t)) { /* a float and what it leaves */
        ry_launch_f32(l, "start_f", a->start);
        ry_launch_f32(l, "start_rest", a->start - (double)(float)a->start);
        ry_launch_f32(l, "step_f", a->step);
        ry_launch_f32(l, "step_rest", a->step - (double)(float)a->step);
    } else {
        if (!is_whole(a->start) || !is_whole(a->step)) return ry_fail_node(n, RY_EUNSUPPORTED, "integers in steps of fractions: make floats and cast them");
        int64_t start = (int64_t)a->start, step = (int64_t)a->step;
        ry_launch_u32(l, "start_low", start & UINT32_MAX);
        ry_launch_u32(l, "start_high", start >> 32);
        ry_launch_u32(l, "step_low", step & UINT32_MAX);
        ry_launch_u32(l, "step_high", step >> 32);
        ry_launch_u32(l, "least", t == RY_I8 ? -128 : 0);
        ry_launch_u32(l, "most", t == RY_I8 ? 127 : 255);
        if (t == RY_I64 && total > UINT32_MAX / 2)
            return ry_fail_node(n, RY_EUNSUPPORTED, "%s has more words than kernels count (2^32 - 1)", ry_show(&n->out[0].spec).s);
        if (t == RY_I64) l->raw = RY_USES_OUT(0);
    }
    ry_launch_knob_set(l, "KIND", ry_is_float(t) ? FLOATS : t == RY_I32 ? I32S : t == RY_I64 ? I64S : NARROW);
    ry_launch_run(l, "main", (total + 1023) / 1024, 0); /* 4 elements a thread */
    return RY_OK;
}

static const ry_sample samples[] = {
    {.name = "positions", .args = &(const iota_args){RY_I32, 0, 1, {70}, 0, 1}},
    {.name = "columns", .args = &(const iota_args){RY_F32, 1, 3, {2, 5, 3}, 1.5, -0.25}},
    {.name = "i64", .args = &(const iota_args){RY_I64, 0, 2, {4, 1}, -9, 3}},
    {.name = "one", .args = &(const iota_args){RY_BF16, 0, 1, {1}, 0.1, 1}},
    {.name = "empty", .args = &(const iota_args){RY_F32, 1, 2, {3, 0}, 0, 1}},
    {.name = "large", .args = &(const iota_args){RY_F32, 0, 1, {16777216}, 0, 1}, .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_op row_iota = {.name = "iota",
                               .doc = "-> start + step i, i the index along axis",
                               .arg_size = sizeof(iota_args),
                               .args = fields,
                               .infer = infer,
                               .work = work,
                               .cpu = cpu,
                               .launch = launch,
                               .samples = samples};

ry_tensor ry_iota(ry_graph *g, const ry_spec *s, int axis, double start, double step) {
    iota_args a = {.dtype = (int32_t)s->dtype, .rank = s->rank, .start = start, .step = step};
    if (s->rank >= 0 && s->rank <= RY_MAX_RANK) memcpy(a.dim, s->dim, (size_t)s->rank * sizeof *a.dim);
    a.axis = axis < 0 ? axis + s->rank : axis;
    return ry_apply_row(g, &row_iota, 0, NULL, &a);
}

RY_OP_MODULE(iota, &row_iota);
