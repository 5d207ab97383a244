/* bench.c - how fast this machine is and how fast we are on it: matmul against a measured peak, rows against measured copying.
 *
 * Medians after a warm-up, random data, and no speed of a product without a check of the result. Owns no state; never prints. */
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/rng.h"
#include "core/program.h"
#include "core/rows.h"
#include "core/sample.h"
#include "simd/simd.h"
#include "simd/gemm.h"
#include "simd/stream.h"
#include "tools/bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 50, CHECKED = 64 };
static const double WARM_S = 0.1; /* threads, pages and clocks that have rested */

ry_status bench_real_device(ry_device *d, const char *what) {
    ry_device_info info;
    if (!d) RY_FAIL(RY_EARG, "%s needs a device", what);
    ry_device_describe(d, &info);
    if (!strcmp(info.backend, "null"))
        RY_FAIL(RY_EUNSUPPORTED, "%s: the null device plans and computes nothing; open another", what);
    return RY_OK;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* Devices that run kernels are timed by their own clock: programs are compiled for a profile there. */
static bool own_clock(const ry_device *d) { return d->api->work != NULL; }

/* Seconds of one run. */
static ry_status run_seconds(double *out, ry_program *p) {
    double start = os_now();
    RY_TRY(ry_run(p));
    *out = os_now() - start;
    if (!p->step_s) return RY_OK;
    *out = 0;
    for (int i = 0; i < p->plan->n_steps; i++) *out += p->step_s[i];
    return RY_OK;
}

/* Median seconds of a run, after a warm-up; at least 3 runs, then as many as fit into `budget` seconds. */
static ry_status time_program(double *out, ry_program *p, double budget) {
    double t[MAX_RUNS];
    int n = 0;
    for (double start = os_now(); n == 0 || os_now() - start < WARM_S; n = 1) RY_TRY(run_seconds(&t[0], p));
    n = 0;
    if (p->step_s) { /* many in a row: the clock's own cost must not count */
        p->repeat = t[0] < 1e-4 ? 100 : t[0] < 1e-2 ? (int)(1e-2 / t[0]) : 1;
        RY_TRY(ry_run(p));
    }
    for (double start = os_now(); n < 3 || (n < MAX_RUNS && os_now() - start < budget); n++) RY_TRY(run_seconds(&t[n], p));
    *out = bench_median(t, n);
    return RY_OK;
}

/* ---------------------------------------------------------------- matmul */

typedef struct peak_job {
    ry_dtype product;
    double *gflops;
} peak_job;
static void peak_part(void *ud, int64_t part, int worker) {
    peak_job *j = ud;
    (void)worker;
    j->gflops[part] = simd_peak_gflops(j->product, 0.05);
}

/* ---- a device's peak: chains of multiply-adds in registers, which memory does not slow ---- */

enum { PEAK_GROUP = 256, PEAK_CHAINS = 8, PEAK_STEPS = 1024 };
typedef struct peak_args { int64_t groups; } peak_args;
static const ry_arg peak_arg[] = {RY_ARG(peak_args, groups, RY_ARG_I64), {0}};
static const char peak_text[] = "@compute @workgroup_size(${WG}) fn main(${ARGS}) {\n"
                                "    ${BEGIN}\n"
                                "    let f = vec4<f32>(u.factor);\n"
                                "    let b = vec4<f32>(f32(t) * 1e-6);\n"
                                "    var sum = vec4<f32>();\n"
                                "#for C 0 CHAINS\n"
                                "    var a${C} = b + ${C}.0;\n"
                                "#end\n"
                                "    for (var i = 0u; i < ${STEPS / 4}u; i++) {\n"
                                "#for K 0 4\n"
                                "#for C 0 CHAINS\n"
                                "        a${C} = fma(a${C}, f, b);\n"
                                "#end\n"
                                "#end\n"
                                "    }\n"
                                "#for C 0 CHAINS\n"
                                "    sum += a${C};\n"
                                "#end\n"
                                "    st4_o0((group * ${WG}u + t) * 4u, 4u, sum);\n"
                                "}\n";
static ry_status peak_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = RY_SHAPE(RY_F32, ((const peak_args *)n->args)->groups * PEAK_GROUP * 4);
    return RY_OK;
}
static ry_status peak_launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    l->vec = RY_USES_OUT(0);
    ry_launch_knob_set(l, "WG", PEAK_GROUP);
    ry_launch_knob_set(l, "CHAINS", PEAK_CHAINS);
    ry_launch_knob_set(l, "STEPS", PEAK_STEPS);
    ry_launch_f32(l, "factor", 0.999);
    ry_launch_run(l, "main", ((const peak_args *)n->args)->groups, 0);
    return RY_OK;
}
static const ry_op peak_row = {.name = "peak", .doc = "-> f32 [..]", .arg_size = sizeof(peak_args), .args = peak_arg, .flags = RY_OP_NO_GRAD,
                               .infer = peak_infer, .wgsl = peak_text, .launch = peak_launch};

static ry_status measure_kernels_peak(double *out, ry_device *d) {
    peak_args args = {d->caps.features & RY_FEATURE_SOFTWARE ? 16 : 16384};
    ry_graph *g = NULL;
    ry_program *p = NULL;
    double seconds = 0;
    ry_status st = ry_graph_open(&g, d);
    ry_tensor x = st == RY_OK ? ry_apply_row(g, &peak_row, 0, NULL, &args) : (ry_tensor){0, 0};
    if (st == RY_OK) st = ry_compile(&p, g, 1, &x, &(ry_compile_options){.profile = true});
    if (st == RY_OK) st = time_program(&seconds, p, 0.3);
    if (st == RY_OK) *out = 2.0 * 4 * PEAK_CHAINS * PEAK_STEPS * PEAK_GROUP * (double)args.groups / seconds * 1e-9;
    ry_program_close(p);
    ry_graph_close(g);
    return st;
}

/* Sum over as many threads as the device uses, all at once. */
ry_status bench_peak(double *out, ry_device *d, ry_dtype product) {
    if (own_clock(d)) return measure_kernels_peak(out, d);
    ry_device_info info;
    ry_device_describe(d, &info);
    ry_pool *pool = NULL;
    RY_TRY(ry_pool_open(&pool, info.threads));
    int n = ry_pool_threads(pool);
    peak_job j = {product, ry_mem_zalloc(ry_mem_size((size_t)n, sizeof(double), 0))};
    if (j.gflops) {
        ry_pool_begin(pool);
        ry_pool_run(pool, n, peak_part, &j);
        ry_pool_end(pool);
        *out = 0;
        for (int i = 0; i < n; i++) *out += j.gflops[i];
    }
    ry_status st = j.gflops ? RY_OK : RY_ENOMEM;
    ry_mem_free(j.gflops);
    ry_pool_close(pool);
    return st;
}

typedef struct factor {
    ry_var *var;
    void *data;
    ry_spec spec;
    size_t bytes;
} factor;

static ry_status factor_open(factor *f, ry_device *d, ry_dtype t, int64_t rows, int64_t cols, uint32_t stream) {
    f->spec = RY_SHAPE(t, rows, cols);
    RY_TRY(ry_spec_bytes(&f->bytes, &f->spec));
    if (!(f->data = ry_mem_alloc(f->bytes))) return RY_ENOMEM;
    RY_TRY(ry_sample_fill(f->data, t, rows * cols, -1, 1, 1, stream));
    RY_TRY(ry_var_open(&f->var, d, &f->spec, NULL));
    return ry_var_write(f->var, f->data, f->bytes);
}

static double at(const factor *f, int64_t i, int64_t j) {
    float x;
    return (double)*ry_load_row(f->data, f->spec.dtype, i * f->spec.dim[1] + j, 1, &x);
}

/* The corners and random places of the product, in double. */
static ry_status check_product(double *err, ry_program *p, const factor *a, const factor *b, bool ta, bool tb,
                               int64_t m, int64_t n, int64_t k) {
    const ry_spec *s = ry_program_spec(p, 0);
    size_t bytes;
    RY_TRY(ry_spec_bytes(&bytes, s));
    void *c = ry_mem_alloc(bytes);
    if (!c) return RY_ENOMEM;
    ry_status st = ry_fetch(p, 0, c, bytes);
    double worst = 0, scale = 0;
    for (int q = 0; q < CHECKED && st == RY_OK; q++) {
        int64_t i = q < 4 ? (q & 1 ? m - 1 : 0) : (int64_t)(ry_rng_word(3, 0, (uint64_t)q) % (uint64_t)m);
        int64_t j = q < 4 ? (q & 2 ? n - 1 : 0) : (int64_t)(ry_rng_word(3, 1, (uint64_t)q) % (uint64_t)n);
        double want = 0;
        for (int64_t x = 0; x < k; x++) want += (ta ? at(a, x, i) : at(a, i, x)) * (tb ? at(b, j, x) : at(b, x, j));
        float buf;
        double got = (double)*ry_load_row(c, s->dtype, i * n + j, 1, &buf);
        worst = isfinite(got) ? fmax(worst, fabs(got - want)) : (double)INFINITY;
        scale = fmax(scale, fabs(want));
        if (!isfinite(got)) break;
    }
    *err = scale > 0 ? worst / scale : worst;
    double limit = 1e-5 * fmax(1, sqrt((double)k / 1024)) + (s->dtype == RY_F32 ? 0 : ldexp(1.01, -ry_dtype_row(s->dtype)->bits));
    ry_mem_free(c);
    if (st == RY_OK && !(*err <= limit))
        st = ry_fail(
            RY_EINTERNAL,
            "bench matmul: the product is wrong by %.3g of its largest entry (allowed %.1g); run `rusty doctor`", *err,
            limit);
    return st;
}

ry_status ry_bench_matmul_run(ry_bench_matmul *out, ry_device *d, int64_t m, int64_t n, int64_t k, ry_dtype t,
                              const char *layout, const ry_tune_options *tune) {
    RY_TRY(bench_real_device(d, "bench matmul"));
    if (m < 1 || n < 1 || k < 1)
        RY_FAIL(RY_EARG, "bench matmul: sizes must be positive, not %lldx%lldx%lld", (long long)m, (long long)n,
                (long long)k);
    if (!t) t = RY_F32;
    if (t != RY_F32 && t != RY_F16 && t != RY_BF16)
        RY_FAIL(RY_EDTYPE, "bench matmul: dtype %s; f32, f16 and bf16 can be measured", ry_dtype_name(t));
    if (!layout) layout = "NN";
    bool ta = layout[0] == 'T', tb = layout[0] && layout[1] == 'T';
    if (strcmp(layout, "NN") && strcmp(layout, "NT") && strcmp(layout, "TN"))
        RY_FAIL(RY_EARG, "bench matmul: layout '%s'; NN, NT or TN", layout);
    factor a = {0}, b = {0};
    ry_graph *g = NULL;
    ry_program *p = NULL;
    ry_status st;
    double before = 0, after = 0, seconds = 0;
    ry_dtype product = t == RY_BF16 ? RY_BF16 : RY_F32;
    *out = (ry_bench_matmul){.m = m, .n = n, .k = k};
    RY_GO(st, done, factor_open(&a, d, t, ta ? k : m, ta ? m : k, 0));
    RY_GO(st, done, factor_open(&b, d, t, tb ? n : k, tb ? k : n, 1));
    RY_GO(st, done, ry_graph_open(&g, d));
    ry_graph_precision(g, product);
    ry_tensor x = ry_use(g, a.var), y = ry_use(g, b.var);
    ry_tensor c = ry_matmul(g, ta ? ry_transpose(g, x, 0, 1) : x, tb ? ry_transpose(g, y, 0, 1) : y);
    if (tune) RY_GO(st, done, ry_tune(g, 1, &c, 0, NULL, tune));
    RY_GO(st, done, ry_compile(&p, g, 1, &c, &(ry_compile_options){.profile = own_clock(d)}));
    RY_GO(st, done, bench_peak(&before, d, product));
    RY_GO(st, done, time_program(&seconds, p, 1.0));
    RY_GO(st, done, bench_peak(&after, d, product));
    RY_GO(st, done, check_product(&out->max_rel_err, p, &a, &b, ta, tb, m, n, k));
    out->ms = seconds * 1e3;
    out->gflops = 2 * (double)m * (double)n * (double)k / seconds * 1e-9;
    out->peak_gflops = fmax(before, after);
done:
    ry_program_close(p);
    ry_graph_close(g);
    ry_var_close(a.var);
    ry_var_close(b.var);
    ry_mem_free(a.data);
    ry_mem_free(b.data);
    return st;
}

/* ---------------------------------------------------------------- rows */

typedef struct copy_job {
    char *to;
    const char *from;
    size_t bytes, piece;
    bool stream;
} copy_job;
static void copy_part(void *ud, int64_t part, int worker) {
    copy_job *j = ud;
    (void)worker;
    size_t begin = (size_t)part * j->piece, n = j->bytes - begin < j->piece ? j->bytes - begin : j->piece;
    if (j->stream)
        simd_stream(j->to + begin, j->from + begin, n);
    else
        memcpy(j->to + begin, j->from + begin, n);
}

/* A device's own copy of 256 MiB (a software driver's: 16). */
static ry_status kernels_copy_speed(double *out, ry_device *d) {
    ry_spec s = RY_SHAPE(RY_F32, d->caps.features & RY_FEATURE_SOFTWARE ? 4 << 20 : 64 << 20);
    ry_graph *g = NULL;
    ry_program *p = NULL;
    ry_var *v = NULL;
    double seconds = 0;
    ry_status st = ry_var_open(&v, d, &s, NULL);
    if (st == RY_OK) st = ry_graph_open(&g, d);
    ry_tensor x = st == RY_OK ? ry_use(g, v) : (ry_tensor){0, 0}, y = st == RY_OK ? ry_apply_row(g, &ry_op_copy_row, 1, &x, NULL) : x;
    if (st == RY_OK) st = ry_compile(&p, g, 1, &y, &(ry_compile_options){.profile = true});
    if (st == RY_OK) st = time_program(&seconds, p, 0.3);
    if (st == RY_OK) *out = 2.0 * 4 * (double)ry_count(&s) / seconds;
    ry_program_close(p);
    ry_graph_close(g);
    ry_var_close(v);
    return st;
}

/* Bytes a second that pass when memory is copied by the device's number of threads, the better of plain and streaming stores:
 * every byte counted twice, read and written. */
ry_status bench_copy_speed(double *out, ry_device *d) {
    if (own_clock(d)) return kernels_copy_speed(out, d);
    enum { PIECE = 1 << 20 };
    const size_t bytes = (size_t)128 << 20;
    ry_device_info info;
    ry_device_describe(d, &info);
    ry_pool *pool = NULL;
    RY_TRY(ry_pool_open(&pool, info.threads));
    char *to = ry_mem_zalloc(bytes), *from = ry_mem_zalloc(bytes);
    *out = 0;
    if (to && from) {
        memset(from, 1, bytes); /* pages of our own */
        memset(to, 1, bytes);
        ry_pool_begin(pool);
        for (int i = 0; i < 12; i++) {
            copy_job j = {to, from, bytes, PIECE, i % 2 == 1};
            double start = os_now();
            ry_pool_run(pool, (int64_t)(bytes / PIECE), copy_part, &j);
            double speed = 2 * (double)bytes / (os_now() - start);
            if (i >= 2 && speed > *out) *out = speed;
        }
        ry_pool_end(pool);
    }
    ry_status st = to && from ? RY_OK : RY_ENOMEM;
    ry_mem_free(to);
    ry_mem_free(from);
    ry_pool_close(pool);
    return st;
}

static ry_status bench_sample(ry_bench_op *r, ry_device *d, const ry_op *op, const ry_sample *s, double copy) {
    ry_sample_set set;
    ry_graph *g = NULL;
    ry_program *p = NULL;
    ry_tensor src[RY_MAX_SRC], want[RY_MAX_OUT];
    ry_plan_info info;
    double seconds;
    ry_status st;
    RY_TRY(ry_sample_open(&set, op, s, RY_F32, 1));
    RY_GO(st, done, ry_graph_open(&g, d));
    ry_tensor y = ry_sample_build(g, &set, true, src);
    const ry_node *n = ry_node_of(g, y);
    if (!n) RY_GO(st, done, ry_graph_status(g));
    for (int j = 0; j < n->n_out; j++) want[j] = ry_res(g, n, j);
    size_t n_want = op->writes ? 0 : (size_t)n->n_out; /* what is written stays in its variable: no copy of it */
    RY_GO(st, done, ry_compile(&p, g, n_want, want, &(ry_compile_options){.no_cache = true, .profile = own_clock(d)}));
    RY_GO(st, done, time_program(&seconds, p, 0.4));
    ry_program_plan(p, &info);
    snprintf(r->name, sizeof r->name, "%s %s", op->name, s->name);
    r->ms = seconds * 1e3;
    r->gbps = info.bytes_moved / seconds * 1e-9;
    r->gflops = info.flops / seconds * 1e-9;
    r->share = copy > 0 ? info.bytes_moved / seconds / copy : 0;
    st = RY_OK;
done:
    ry_program_close(p);
    ry_graph_close(g);
    ry_sample_close(&set);
    return st == RY_OK ? RY_OK : ry_fail_in(st, "bench %s %s", op->name, s->name);
}

/* The sample with `rows` times the rows: the first dim of every source that shares it with the first source. */
static void longer(ry_sample *out, const ry_sample *s, int n_src, int64_t rows) {
    *out = *s;
    int64_t first = n_src && s->src[0].rank > 0 ? s->src[0].dim[0] : 0;
    for (int i = 0; i < n_src; i++)
        if (s->src[i].rank > 0 && s->src[i].dim[0] == first && !s->src[i].values) out->src[i].dim[0] = first * rows;
}

ry_status ry_bench_ops_run(ry_device *d, const char *filter, int64_t rows, void (*row)(void *ud, const ry_bench_op *r), void *ud) {
    double copy = 0;
    bool found = false;
    RY_TRY(bench_real_device(d, "bench ops"));
    RY_TRY(bench_copy_speed(&copy, d));
    row(ud, &(ry_bench_op){
                .name = "memory copy", .ms = 2.0 * 128 * (1 << 20) / copy * 1e3, .gbps = copy * 1e-9, .share = 1});
    const ry_op *op;
    for (size_t i = 0; (op = ry_op_at(i)) != NULL; i++) {
        if (filter && strncmp(op->name, filter, strlen(filter))) continue;
        for (const ry_sample *s = op->samples; s && s->name; s++) {
            if (!(s->flags & RY_SAMPLE_BENCH)) continue;
            ry_bench_op r = {.ms = 0};
            ry_sample more;
            if (rows > 1) longer(&more, s, ry_sample_sources(op, s), rows);
            RY_TRY(bench_sample(&r, d, op, rows > 1 ? &more : s, copy));
            row(ud, &r);
            found = true;
        }
    }
    if (!found)
        RY_FAIL(RY_ENOENT, "bench ops: no operator with a benchmark has a name that begins with '%s'",
                filter ? filter : "");
    return RY_OK;
}
