/* gemm.c - bench of simd_gemm alone: GFLOPS of products in all layouts beside the peak measured between the runs, and GB/s of
 * matrix-vector products. Random data, medians, some results checked in double.
 *
 *   gemm [threads [what]]     what: square, odd, bf16, llama, thin, tile or all
 *
 * One thread is timed by processor time, so that other programs matter less; several by the clock. Links librusty.a with internal
 * headers:  cc -O2 -Iinclude -Isrc bench/gemm.c build/release/librusty.a -lm -lpthread (and what librusty needs). */
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"
#include "simd/gemm.h"
#include "simd/halves.h"
#include "simd/simd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static ry_pool *pool;
static int threads = 1;

static double now(void) { return threads == 1 ? (double)clock() / CLOCKS_PER_SEC : os_now(); }
static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static float uniform(void) {
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) * 0x1p-23f - 1.0f;
}
static float get(const void *p, ry_dtype t, int64_t e) {
    if (t == RY_F32) return ((const float *)p)[e];
    const uint16_t h = ((const uint16_t *)p)[e];
    return t == RY_F16 ? half_f16_get(h) : half_bf16_get(h);
}
static double factor(const void *p, ry_dtype t, int64_t e, ry_dtype product) {
    const float v = get(p, t, e);
    return (double)(product == RY_BF16 ? half_bf16_get(half_bf16_set(v)) : v);
}
static void *filled(ry_dtype t, int64_t n) {
    void *p = ry_mem_alloc((size_t)n * (t == RY_F32 ? 4 : 2));
    if (!p) exit(1);
    for (int64_t i = 0; i < n; i++)
        if (t == RY_F32)
            ((float *)p)[i] = uniform();
        else
            ((uint16_t *)p)[i] = t == RY_F16 ? half_f16_set(uniform()) : half_bf16_set(uniform());
    return p;
}

static void one_part(void *g, int64_t part, int worker) { simd_gemm_part(g, part, ry_pool_scratch(pool, worker)); }
static void product(simd_gemm *g) { ry_pool_run(pool, simd_gemm_parts(g), one_part, g); }
static void peak_part(void *sum, int64_t part, int worker) {
    (void)worker;
    ((double *)sum)[part] = simd_peak_gflops(RY_F32, 0.004);
}

enum { RUNS = 201 };
typedef struct figures {
    double median, best, peak;
} figures;

/* Times a product for about half a second. flops: operations of one. */
static figures measure(simd_gemm *g, double flops) {
    static double took[RUNS], peaks[RUNS];
    int n = 0;
    if (ry_pool_reserve(pool, simd_gemm_local(g)) != RY_OK) exit(1);
    ry_pool_begin(pool);
    product(g);
    for (const double end = now() + 0.5 * threads; n < RUNS && (n < 3 || now() < end); n++) {
        const double from = now();
        product(g);
        took[n] = now() - from;
        double sum[64] = {0};
        ry_pool_run(pool, threads, peak_part, sum);
        for (int i = 0; i < threads; i++) peaks[n] = (i ? peaks[n] : 0) + sum[i];
    }
    ry_pool_end(pool);
    qsort(took, (size_t)n, sizeof *took, ascending);
    qsort(peaks, (size_t)n, sizeof *peaks, ascending);
    return (figures){flops / took[n / 2] * 1e-9, flops / took[0] * 1e-9, peaks[n / 2]};
}

static void run(int64_t m, int64_t n, int64_t k, const char *layout, ry_dtype ta, ry_dtype tb, ry_dtype product_type) {
    void *a = filled(ta, m * k), *b = filled(tb, k * n);
    float *c = filled(RY_F32, m * n);
    const bool at = layout[0] == 'T', bt = layout[1] == 'T';
    simd_gemm g = {.m = m, .n = n, .k = k, .c = c, .c_dtype = RY_F32, .ldc = n, .product = product_type};
    g.a = (simd_mat){a, ta, at ? 1 : k, at ? m : 1};
    g.b = (simd_mat){b, tb, bt ? 1 : n, bt ? k : 1};
    const figures f = measure(&g, 2.0 * (double)m * (double)n * (double)k);
    double error = 0;
    for (int i = 0; i < 100; i++) {
        const int64_t r = (int64_t)(fabsf(uniform()) * (float)m) % m, s = (int64_t)(fabsf(uniform()) * (float)n) % n;
        double sum = 0;
        for (int64_t x = 0; x < k; x++)
            sum += factor(a, ta, r * g.a.rs + x * g.a.cs, product_type) *
                   factor(b, tb, x * g.b.rs + s * g.b.cs, product_type);
        error = fmax(error, fabs(sum - (double)c[r * n + s]));
    }
    const double bytes =
        (double)m * (double)k * (ta == RY_F32 ? 4 : 2) + (double)k * (double)n * (tb == RY_F32 ? 4 : 2);
    printf("%5lld x %5lld x %5lld %s %s*%s %s: %7.1f GFLOPS (best %7.1f), %5.1f %% of the f32 peak %.1f, %5.1f GB/s, "
           "%lld parts, error %.1g\n",
           (long long)m, (long long)n, (long long)k, layout, ta == RY_F32 ? "f32" : "bf16",
           tb == RY_F32 ? "f32" : "bf16", product_type == RY_F32 ? "fp32" : "bf16", f.median, f.best,
           100 * f.median / f.peak, f.peak, bytes * f.median / (2.0 * (double)m * (double)n * (double)k),
           (long long)simd_gemm_parts(&g), error);
    fflush(stdout);
    ry_mem_free(a);
    ry_mem_free(b);
    ry_mem_free(c);
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[2] : "square";
    const bool all = strcmp(what, "all") == 0;
    static const char *const layouts[] = {"NN", "NT", "TN"};
    threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > 64 || ry_pool_open(&pool, threads) != RY_OK) return 1;
    char text[64];
    simd_describe(text, sizeof text);
    printf("%s, %d thread%s; peak of one: %.1f GFLOPS fp32, %.1f bf16\n", text, threads, threads > 1 ? "s" : "",
           simd_peak_gflops(RY_F32, 0.2), simd_peak_gflops(RY_BF16, 0.2));
    for (int l = 0; l < 3; l++) {
        if (all || strcmp(what, "square") == 0)
            for (int64_t s = 512; s <= 4096; s *= 2) run(s, s, s, layouts[l], RY_F32, RY_F32, RY_F32);
        if (all || strcmp(what, "bf16") == 0)
            for (int64_t s = 512; s <= 4096; s *= 2) {
                run(s, s, s, layouts[l], RY_F32, RY_F32, RY_BF16);
                run(s, s, s, layouts[l], RY_BF16, RY_BF16, RY_BF16);
            }
        if (all || strcmp(what, "odd") == 0)
            for (int64_t s = 500; s <= 2000; s *= 2) run(s, s, s, layouts[l], RY_F32, RY_F32, RY_F32);
        if (all || strcmp(what, "tile") == 0)
            for (int64_t s = 32; s <= 256; s *= 2) run(s, s, s, layouts[l], RY_F32, RY_F32, RY_F32);
    }
    if (all || strcmp(what, "llama") ==
                   0) { /* dim 288, ffn 768, vocabulary 4,096, 1,024 rows: forward, dX, dW; GPT-2's dim 768, 256 rows */
        static const int64_t shapes[][3] = {{1024, 288, 288},  {1024, 768, 288}, {1024, 288, 768},
                                            {1024, 4096, 288}, {256, 768, 768},  {256, 3072, 768}};
        for (int i = 0; i < 6; i++) {
            const int64_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
            run(m, n, k, "NT", RY_F32, RY_F32, RY_F32);
            run(m, k, n, "NN", RY_F32, RY_F32, RY_F32);
            run(n, k, m, "TN", RY_F32, RY_F32, RY_F32);
        }
    }
    if (all || strcmp(what, "thin") == 0)
        for (int64_t m = 1; m <= 8; m *= 2)
            for (int bt = 0; bt < 2; bt++) {
                run(m, 4096, 4096, bt ? "NT" : "NN", RY_F32, RY_F32, RY_F32);
                run(m, 4096, 4096, bt ? "NT" : "NN", RY_F32, RY_BF16, RY_F32);
            }
    ry_pool_close(pool);
    return 0;
}
