/* random.c - uniform and normal numbers of a Philox stream (base/rng.h): element i of the result is number i of
 * (seed, stream), so the same node gives the same numbers whatever the parts, threads or device. The seed is
 * dynamic. */
#include "base/rng.h"
#include "core/rows.h"
#include "simd/rows.h"
#include <string.h>

typedef struct random_args {
    int32_t dtype;
    uint32_t stream;
    int64_t rank, dim[RY_MAX_RANK];
    uint64_t seed;
} random_args;
static const ry_arg fields[] = {
    RY_ARG(random_args, dtype, RY_ARG_I32),    RY_ARG(random_args, stream, RY_ARG_U32),
    RY_ARG(random_args, rank, RY_ARG_I64),     RY_ARG_ARRAY(random_args, dim, RY_ARG_I64, RY_MAX_RANK),
    RY_ARG_DYN(random_args, seed, RY_ARG_U64), {0}};

enum { PART = 8192 }; /* even: normals come in pairs */

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const random_args *a = n->args;
    if (a->dtype <= RY_NONE || a->dtype >= RY_DTYPE_COUNT || !ry_is_float((ry_dtype)a->dtype))
        return ry_fail_node(n, RY_EDTYPE, "random numbers are floats");
    if (a->rank < 0 || a->rank > RY_MAX_RANK)
        return ry_fail_node(n, RY_ESHAPE, "rank %lld; at most %d", (long long)a->rank, RY_MAX_RANK);
    out[0] = ry_shape((ry_dtype)a->dtype, (int)a->rank, a->dim);
    if (ry_numel(&out[0]) < 0) return ry_fail_node(n, RY_ESHAPE, "%s is no shape", ry_show(&out[0]).s);
    return RY_OK;
}
static ry_work work(const ry_node *n) {
    return (ry_work){.parts = {(ry_count(&n->out[0].spec) + PART - 1) / PART}, .local = PART * sizeof(float)};
}

static void numbers(const ry_cpu *c, void (*make)(float *, int64_t, uint64_t, uint32_t, uint64_t)) {
    const random_args *a = c->args;
    ry_dtype t = (ry_dtype)a->dtype;
    int64_t total = ry_count(&c->n->out[0].spec), i = c->part * PART, m = total - i < PART ? total - i : PART;
    if (m <= 0) return;
    float *y = ry_row_out(c->out[0], t, i, c->local);
    make(y, m, a->seed, a->stream, (uint64_t)i);
    ry_store_row(c->out[0], t, i, m, y);
}
static ry_status uniform_cpu(const ry_cpu *c) { return numbers(c, simd_rows()->uniform), RY_OK; }
static ry_status normal_cpu(const ry_cpu *c) { return numbers(c, ry_rng_normal), RY_OK; }

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    int64_t total = ry_count(&n->out[0].spec);
    ry_launch_knob_set(l, "NORMAL", n->op->cpu == normal_cpu);
    ry_launch_u32(l, "total", total);
    l->vec |= RY_USES_OUT(0);
    ry_launch_run(l, "main", (total + 1023) / 1024, 0); /* 4 numbers a thread */
    return RY_OK;
}

static const ry_sample samples[] = {
    {.name = "plain", .args = &(const random_args){RY_F32, 3, 2, {5, 33}, 7}},
    {.name = "bf16", .args = &(const random_args){RY_BF16, 1, 1, {101}, 1}},
    {.name = "parts", .args = &(const random_args){RY_F32, 0, 1, {20001}, 123456789}},
    {.name = "scalar", .args = &(const random_args){RY_F32, 0, 0, {0}, 2}},
    {.name = "empty", .args = &(const random_args){RY_F32, 0, 2, {0, 3}, 2}},
    {.name = "large", .args = &(const random_args){RY_F32, 0, 1, {16777216}, 2}, .flags = RY_SAMPLE_BENCH},
    {0}};
static const ry_op row_uniform = {.name = "uniform",
                                  .doc = "-> numbers of [0,1)",
                                  .arg_size = sizeof(random_args),
                                  .args = fields,
                                  .infer = infer,
                                  .work = work,
                                  .cpu = uniform_cpu,
                                  .wgsl = "random.wgsl",
                                  .launch = launch,
                                  .samples = samples};
static const ry_op row_normal = {.name = "normal",
                                 .doc = "-> numbers of the normal distribution, mean 0, deviation 1",
                                 .arg_size = sizeof(random_args),
                                 .args = fields,
                                 .infer = infer,
                                 .work = work,
                                 .cpu = normal_cpu,
                                 .wgsl = "random.wgsl",
                                 .launch = launch,
                                 .samples = samples};

static ry_tensor build(ry_graph *g, const ry_op *op, const ry_spec *s, uint64_t seed, uint32_t stream) {
    random_args a = {.dtype = (int32_t)s->dtype, .stream = stream, .rank = s->rank, .seed = seed};
    if (s->rank >= 0 && s->rank <= RY_MAX_RANK) memcpy(a.dim, s->dim, (size_t)s->rank * sizeof *a.dim);
    return ry_apply_row(g, op, 0, NULL, &a);
}
ry_tensor ry_uniform(ry_graph *g, const ry_spec *s, uint64_t seed, uint32_t stream) {
    return build(g, &row_uniform, s, seed, stream);
}
ry_tensor ry_normal(ry_graph *g, const ry_spec *s, uint64_t seed, uint32_t stream) {
    return build(g, &row_normal, s, seed, stream);
}

RY_OP_MODULE(random, &row_uniform, &row_normal);
