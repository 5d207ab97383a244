/* bench.c - how fast this machine is and how fast we are on it: matmul against a measured peak, rows against measured copying.
 *
 * Medians after a warm-up, random data, and no speed without a check of the result. Owns no state; never prints. */
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/rng.h"
#include "core/sample.h"
#include "simd/simd.h"
#include "simd/gemm.h"
#include "simd/stream.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 50, CHECKED = 64 };

static ry_status real_device(ry_device *d, const char *what) {
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

/* Median seconds of a run, after one warm-up; at least 3 runs, then as many as fit into `budget` seconds. */
static ry_status time_program(double *out, ry_program *p, double budget) {
    double t[MAX_RUNS];
    int n = 0;
    RY_TRY(ry_run(p));
    for (double start = os_now(); n < 3 || (n < MAX_RUNS && os_now() - start < budget); n++) {
        double at = os_now();
        RY_TRY(ry_run(p));
        t[n] = os_now() - at;
    }
    qsort(t, (size_t)n, sizeof *t, by_value);
    *out = n % 2 ? t[n / 2] : (t[n / 2 - 1] + t[n / 2]) / 2;
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

/* Sum over as many threads as the device uses, all at once. */
static ry_status measure_peak(double *out, const ry_device *d, ry_dtype product) {
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
    double limit = 1e-5 + (s->dtype == RY_F32 ? 0 : ldexp(1.01, -ry_dtype_row(s->dtype)->bits));
    ry_mem_free(c);
    if (st == RY_OK && !(*err <= limit))
        st = ry_fail(
            RY_EINTERNAL,
            "bench matmul: the product is wrong by %.3g of its largest entry (allowed %.1g); run `rusty doctor`", *err,
            limit);
    return st;
}

ry_status ry_bench_matmul_run(ry_bench_matmul *out, ry_device *d, int64_t m, int64_t n, int64_t k, ry_dtype t,
                              const char *layout) {
    RY_TRY(real_device(d, "bench matmul"));
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
    RY_GO(st, done, ry_compile(&p, g, 1, &c, NULL));
    RY_GO(st, done, measure_peak(&before, d, product));
    RY_GO(st, done, time_program(&seconds, p, 1.0));
    RY_GO(st, done, measure_peak(&after, d, product));
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

/* Bytes a second that pass when memory is copied by the device's number of threads, the better of plain and streaming stores:
 * every byte counted twice, read and written. */
static ry_status copy_speed(double *out, const ry_device *d) {
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
    RY_GO(st, done, ry_compile(&p, g, n_want, want, &(ry_compile_options){.no_cache = true}));
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

ry_status ry_bench_ops_run(ry_device *d, const char *filter, void (*row)(void *ud, const ry_bench_op *r), void *ud) {
    double copy;
    bool found = false;
    RY_TRY(real_device(d, "bench ops"));
    RY_TRY(copy_speed(&copy, d));
    row(ud, &(ry_bench_op){
                .name = "memory copy", .ms = 2.0 * 128 * (1 << 20) / copy * 1e3, .gbps = copy * 1e-9, .share = 1});
    const ry_op *op;
    for (size_t i = 0; (op = ry_op_at(i)) != NULL; i++) {
        if (filter && strncmp(op->name, filter, strlen(filter))) continue;
        for (const ry_sample *s = op->samples; s && s->name; s++) {
            if (!(s->flags & RY_SAMPLE_BENCH)) continue;
            ry_bench_op r = {.ms = 0};
            RY_TRY(bench_sample(&r, d, op, s, copy));
            row(ud, &r);
            found = true;
        }
    }
    if (!found)
        RY_FAIL(RY_ENOENT, "bench ops: no operator with a benchmark has a name that begins with '%s'",
                filter ? filter : "");
    return RY_OK;
}
