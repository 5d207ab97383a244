/* test_gemm_amx.c - AMX's packing and blocking on machines without AMX: gemm_amx.c itself with its tile instructions replaced by plain loops,
 * against sums in double. Needs AVX512_BF16 for the rest of the file; skips where that is absent or the compiler is not for x86. */
#include "simd/simd.h"
#include "unit/cm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,f16c")
#endif
#include "simd/gemm_units_bf16.h"

/* Eight registers of 16 rows of 64 bytes. */
static union {
    uint16_t h[16][32];
    float f[16][16];
} reg[8];
static int open_blocks;

static void amx_begin(void) { open_blocks++; }
static void amx_end(void) { open_blocks--; }
static void amx_zero(int t) { memset(&reg[t], 0, sizeof reg[t]); }
static void amx_load(int t, const void *p, int64_t stride) {
    for (int i = 0; i < 16; i++) memcpy(reg[t].h[i], (const char *)p + i * stride, 64);
}
static void amx_store(int t, void *p, int64_t stride) {
    for (int i = 0; i < 16; i++) memcpy((char *)p + i * stride, reg[t].h[i], 64);
}
static void amx_dot(int c, int a, int b) {
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++)
            for (int k = 0; k < 32; k++)
                reg[c].f[i][j] += half_bf16_get(reg[a].h[i][k]) * half_bf16_get(reg[b].h[k / 2][2 * j + k % 2]);
}

#define AMX_EMULATED
#define gemm_amx emulated_amx
extern const gemm_path emulated_amx;
#include "simd/gemm_amx.c"

static uint32_t seed = 7;
static float uniform(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) * 0x1p-23f - 1.0f;
}

static void check(int64_t m, int64_t n, int64_t k, ry_dtype ta, bool a_turned, ry_dtype tb, bool b_turned,
                  bool accumulate) {
    const size_t sa = ta == RY_F32 ? 4 : 2, sb = tb == RY_F32 ? 4 : 2;
    char *a = malloc((size_t)(m * k) * sa + 1), *b = malloc((size_t)(k * n) * sb + 1);
    float *c = malloc((size_t)(m * n) * sizeof *c), *c0 = malloc((size_t)(m * n) * sizeof *c);
    float *bias = malloc((size_t)n * sizeof *bias);
    assert_true(a && b && c && c0 && bias);
    for (int64_t i = 0; i < m * k; i++) gemm_put(a, ta, i, uniform());
    for (int64_t i = 0; i < k * n; i++) gemm_put(b, tb, i, uniform());
    for (int64_t i = 0; i < m * n; i++) c[i] = c0[i] = uniform();
    for (int64_t j = 0; j < n; j++) bias[j] = uniform();
    const simd_gemm g = {.m = m,
                         .n = n,
                         .k = k,
                         .a = {a, ta, a_turned ? 1 : k, a_turned ? m : 1},
                         .b = {b, tb, b_turned ? 1 : n, b_turned ? k : 1},
                         .c = c,
                         .c_dtype = RY_F32,
                         .ldc = n,
                         .product = RY_BF16,
                         .accumulate = accumulate,
                         .bias = bias,
                         .alpha = 0.5f};
    char *local = aligned_alloc(64, emulated_amx.local(&g, m, n) + 64);
    assert_non_null(local);
    memset(local, 0xff, emulated_amx.local(&g, m, n));
    emulated_amx.block(&g, &(gemm_rect){0, m, 0, n}, false, local);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, size = 1;
            for (int64_t x = 0; x < k; x++) {
                const float va = gemm_get(a, ta, i * g.a.rs + x * g.a.cs),
                            vb = gemm_get(b, tb, x * g.b.rs + j * g.b.cs);
                const double p = (double)half_bf16_get(half_bf16_set(va)) * (double)half_bf16_get(half_bf16_set(vb));
                sum += p;
                size += fabs(p);
            }
            sum = 0.5 * sum + (double)bias[j] + (accumulate ? (double)c0[i * n + j] : 0);
            if (!(fabs(sum - (double)c[i * n + j]) <= 0x1p-20 * size))
                fail_msg("%lld x %lld x %lld: C[%lld, %lld] is %.9g, not %.9g", (long long)m, (long long)n,
                         (long long)k, (long long)i, (long long)j, (double)c[i * n + j], sum);
        }
    assert_int_equal(open_blocks, 0);
    free(a);
    free(b);
    free(c);
    free(c0);
    free(bias);
    free(local);
}

static void test_packing(void **s) {
    (void)s;
    simd_force(simd_best(), ~0u);
    if (!(simd_extras() & SIMD_AVX512_BF16)) skip();
    static const ry_dtype types[] = {RY_F32, RY_BF16, RY_F16};
    static const int64_t sizes[] = {1, 3, 15, 16, 17, 31, 32, 33, 48, 64, 65};
    for (int i = 0; i < 300; i++) {
        int64_t d[3];
        int bits = (int)(fabsf(uniform()) * 1000);
        for (int x = 0; x < 3; x++) d[x] = sizes[(int)(fabsf(uniform()) * 10.99f)];
        check(d[0], d[1], d[2], types[bits % 3], bits & 1, types[bits / 3 % 3], bits & 2, bits & 4);
    }
    check(48, 40, 2048, RY_BF16, false, RY_BF16, true, false); /* A in place, blocks of K */
    check(40, 48, 1500, RY_F32, true, RY_F32, false, true);
    check(5, 5, 0, RY_F32, false, RY_F32, false, true);
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
static void test_packing(void **s) {
    (void)s;
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_packing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
