/* test_fused.c - elementwise chains: against plain loops over indices, and fused against unfused, bit for bit. */
#include "cm.h"
#include "base/rng.h"
#include "core/op.h"
#include <rusty.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ry_device *device;
static int open_device(void **state) {
    (void)state;
    return ry_device_open(&device, "cpu", &(ry_device_options){.threads = 2}) != RY_OK;
}
static int close_device(void **state) {
    (void)state;
    ry_device_close(device);
    return 0;
}

static uint32_t word(uint32_t seed, uint64_t i) { return ry_rng_word(seed, 77, i); }
static float value(uint32_t seed, int64_t i) { return 4 * ry_rng_unit(word(seed, (uint64_t)i)) - 2; }

/* An input full of values; the data are the caller's to free. */
typedef struct feed_list {
    ry_feed at[16];
    size_t n;
} feed_list;
static ry_tensor feed(ry_graph *g, feed_list *f, const ry_spec *s, uint32_t seed) {
    int64_t n = ry_numel(s);
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, s));
    char *data = calloc(bytes + 1, 1);
    assert_non_null(data);
    for (int64_t i = 0; i < n; i++) {
        float v = ry_is_float(s->dtype) ? value(seed, i) : (float)(word(seed, (uint64_t)i) % 200);
        ry_store_row(data, s->dtype, i, 1, &v);
    }
    ry_tensor t = ry_input(g, s, NULL);
    f->at[f->n++] = (ry_feed){t, data, bytes};
    return t;
}
static void drop(feed_list *f) {
    for (size_t i = 0; i < f->n; i++) free((void *)(uintptr_t)f->at[i].data);
    f->n = 0;
}

/* Bytes of the wanted tensors, one after the other. */
static char *compute(ry_graph *g, const feed_list *f, size_t n, const ry_tensor *want, const ry_compile_options *o,
                     size_t *bytes, size_t *fused) {
    ry_program *p = NULL;
    ry_plan_info info;
    char *all = NULL;
    assert_ok(ry_compile(&p, g, n, want, o));
    for (size_t i = 0; i < f->n; i++) assert_ok(ry_program_feed(p, i, f->at[i].data, f->at[i].bytes));
    assert_ok(ry_run(p));
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t b;
        assert_ok(ry_spec_bytes(&b, ry_program_spec(p, i)));
        all = realloc(all, *bytes + b + 1);
        assert_non_null(all);
        assert_ok(ry_fetch(p, i, all + *bytes, b));
        *bytes += b;
    }
    ry_program_plan(p, &info);
    if (fused) *fused = info.fused;
    ry_program_close(p);
    return all;
}

/* ---------------------------------------------------------------- against loops */

enum { LAYOUTS = 9 };
/* A source of layout k that broadcasts to [p,q,r], and which element of its data the element (i,j,l) of the result
 * reads. */
static ry_tensor source(ry_graph *g, feed_list *f, int k, int64_t p, int64_t q, int64_t r, ry_dtype t, uint32_t seed) {
    ry_tensor x;
    switch (k) {
    case 0: return feed(g, f, &RY_SHAPE(t, p, q, r), seed);
    case 1: return feed(g, f, &RY_SHAPE(t, r), seed);
    case 2: return feed(g, f, &RY_SHAPE(t, p, q, 1), seed);
    case 3: return feed(g, f, &(ry_spec){.dtype = t}, seed);
    case 4: return feed(g, f, &RY_SHAPE(t, q, 1), seed);
    case 5: /* transposed */ x = feed(g, f, &RY_SHAPE(t, r, q, p), seed); return ry_transpose(g, x, 0, 2);
    case 6: /* backwards rows, every second element */
        x = feed(g, f, &RY_SHAPE(t, p, q, 2 * r), seed);
        return ry_slice(g, ry_slice(g, x, 1, -1, -q - 1, -1), 2, 1, 2 * r, 2);
    case 7: /* a window of longer rows */
        x = feed(g, f, &RY_SHAPE(t, p, q, r + 3), seed);
        return ry_slice(g, x, 2, 2, r + 2, 1);
    default: /* middle broadcast */ return feed(g, f, &RY_SHAPE(t, p, 1, r), seed);
    }
}
static int64_t element(int k, int64_t p, int64_t q, int64_t r, int64_t i, int64_t j, int64_t l) {
    switch (k) {
    case 0: return (i * q + j) * r + l;
    case 1: return l;
    case 2: return i * q + j;
    case 3: return 0;
    case 4: return j;
    case 5: return (l * q + j) * p + i;
    case 6: return (i * q + (q - 1 - j)) * 2 * r + 2 * l + 1;
    case 7: return (i * q + j) * (r + 3) + l + 2;
    default: return i * r + l;
    }
}

static void check_add(int ka, int kb, int64_t p, int64_t q, int64_t r, ry_dtype ta, ry_dtype tb) {
    ry_graph *g;
    feed_list f = {.n = 0};
    size_t bytes;
    assert_ok(ry_graph_open(&g, device));
    ry_tensor a = source(g, &f, ka, p, q, r, ta, 1), b = source(g, &f, kb, p, q, r, tb, 2);
    ry_tensor y = ry_expand(g, ry_add(g, a, b), 3, (int64_t[]){p, q, r});
    y = ry_contiguous(g, y);
    assert_ok(ry_graph_status(g));
    ry_dtype t = ry_spec_of(g, y)->dtype;
    char *got = compute(g, &f, 1, &y, NULL, &bytes, NULL);
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = 0; j < q; j++)
            for (int64_t l = 0; l < r; l++) {
                float x[2], v, want[2] = {0, 0}, have[2] = {0, 0};
                v = *ry_load_row(f.at[0].data, ta, element(ka, p, q, r, i, j, l), 1, x) +
                    *ry_load_row(f.at[1].data, tb, element(kb, p, q, r, i, j, l), 1, x + 1);
                ry_store_row(want, t, 0, 1, &v);
                memcpy(have, got + ry_bytes_of(t, (i * q + j) * r + l), ry_bytes_of(t, 1));
                if (memcmp(want, have, ry_bytes_of(t, 1))) {
                    print_error("layouts %d %d, [%d,%d,%d] %s %s: element %d %d %d differs\n", ka, kb, (int)p, (int)q,
                                (int)r, ry_dtype_name(ta), ry_dtype_name(tb), (int)i, (int)j, (int)l);
                    fail();
                }
            }
    free(got);
    drop(&f);
    ry_graph_close(g);
}

static void layouts_and_dtypes(void **state) {
    static const ry_dtype types[] = {RY_F32, RY_BF16, RY_F16, RY_I32, RY_I64, RY_F64};
    static const int64_t shape[][3] = {{2, 3, 5}, {3, 2, 300}, {1, 1, 1}, {2, 5, 1}, {1, 7, 1300}, {5, 1, 33}};
    (void)state;
    for (int ka = 0; ka < LAYOUTS; ka++)
        for (int kb = 0; kb < LAYOUTS; kb++) {
            const int64_t *s = shape[(ka * 7 + kb * 5) % 6], *u = shape[(ka + kb) % 6];
            check_add(ka, kb, s[0], s[1], s[2], RY_F32, RY_F32);
            check_add(ka, kb, u[0], u[1], u[2], types[ka % 6], types[ka % 6]);
            check_add(ka, kb, u[0], u[1], u[2], RY_BF16, RY_F32);
        }
    check_add(0, 1, 3, 200, 257, RY_F32, RY_F32); /* several parts */
    check_add(5, 2, 3, 200, 257, RY_BF16, RY_F32);
    check_add(6, 8, 40, 60, 31, RY_I64, RY_I64);
}

/* ---------------------------------------------------------------- fused against unfused */

static ry_tensor link_of(ry_graph *g, uint32_t w, ry_tensor a, ry_tensor b, ry_tensor c) {
    switch (w % 16) {
    case 0: return ry_add(g, a, b);
    case 1: return ry_mul(g, a, b);
    case 2: return ry_sub(g, a, b);
    case 3: return ry_silu(g, a);
    case 4: return ry_tanh(g, a);
    case 5: return ry_max(g, a, b);
    case 6: return ry_cast(g, a, RY_BF16);
    case 7: return ry_cast(g, a, RY_F16);
    case 8: return ry_select(g, ry_lt(g, a, b), c, a);
    case 9: return ry_mul(g, a, ry_scalar(g, 0.37));
    case 10: return ry_swiglu(g, a, b);
    case 11: return ry_clamp(g, a, ry_scalar(g, -1), ry_scalar(g, 1));
    case 12: return ry_cast(g, ry_cast(g, ry_mul(g, a, ry_scalar(g, 50)), RY_I8), RY_F32);
    case 13: return ry_select(g, ry_and(g, ry_isfinite(g, a), ry_gt(g, c, b)), a, ry_scalar(g, 0.5));
    case 14:
        return ry_cast(g,
                       ry_add(g, ry_cast(g, ry_mul(g, a, ry_scalar(g, 9)), RY_I64),
                              ry_cast(g, ry_mul(g, b, ry_scalar(g, 9)), RY_I64)),
                       RY_F32);
    default: return ry_gelu(g, a);
    }
}

static void check_chain(uint32_t seed) {
    static const ry_dtype types[] = {RY_F32, RY_F32, RY_BF16, RY_F16};
    static const int64_t shape[][3] = {{2, 3, 5}, {3, 5, 300}, {1, 1, 1}, {4, 33, 17}, {2, 3, 1500}, {7, 130, 64}};
    ry_graph *g;
    feed_list f = {.n = 0};
    ry_tensor pool[40];
    size_t n = 0, n_src = 2 + word(seed, 0) % 4, n_links = 1 + word(seed, 1) % 14, n_want = 1 + word(seed, 2) % 3,
           bytes[2], fused;
    const int64_t *s = shape[word(seed, 3) % 6];
    assert_ok(ry_graph_open(&g, device));
    for (size_t i = 0; i < n_src; i++, n++)
        pool[n] = source(g, &f, i ? (int)(word(seed, 10 + i) % LAYOUTS) : 0, s[0], s[1], s[2],
                         types[word(seed, 20 + i) % 4], seed + (uint32_t)i);
    for (size_t i = 0; i < n_links; i++, n++) {
        ry_tensor a = pool[word(seed, 100 + 4 * i) % n], b = pool[word(seed, 101 + 4 * i) % n],
                  c = pool[word(seed, 102 + 4 * i) % n];
        if (i == 0) a = pool[0];
        pool[n] = link_of(g, word(seed, 103 + 4 * i), a, b, c);
    }
    for (size_t i = 0; i < n_want; i++) pool[n - 1 - i] = ry_contiguous(g, pool[n - 1 - i]);
    if (n_want > n - n_src) n_want = n - n_src;
    assert_ok(ry_graph_status(g));
    char *plain =
        compute(g, &f, n_want, pool + n - n_want,
                &(ry_compile_options){.no_fusion = true, .no_inplace = true, .no_cse = true, .no_cache = true},
                &bytes[0], NULL);
    char *quick = compute(g, &f, n_want, pool + n - n_want, &(ry_compile_options){.no_cache = true}, &bytes[1], &fused);
    assert_int_equal(bytes[0], bytes[1]);
    if (memcmp(plain, quick, bytes[0])) {
        size_t at = 0;
        while (plain[at] == quick[at]) at++;
        print_error("chain %u: %zu links, %zu fused: byte %zu of %zu differs\n", seed, n_links, fused, at, bytes[0]);
        fail();
    }
    free(plain);
    free(quick);
    drop(&f);
    ry_graph_close(g);
}

static void fused_equals_unfused(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 150; seed++) check_chain(seed);
}

/* A chain is really one node. */
static void chain_is_one_node(void **state) {
    ry_graph *g;
    feed_list f = {.n = 0};
    size_t bytes, fused;
    (void)state;
    assert_ok(ry_graph_open(&g, device));
    ry_tensor x = feed(g, &f, &RY_SHAPE(RY_F32, 9, 40), 1), b = feed(g, &f, &RY_SHAPE(RY_F32, 40), 2);
    ry_tensor y = ry_tanh(g, ry_add(g, ry_mul(g, x, ry_scalar(g, 0.5)), b));
    free(compute(g, &f, 1, &y, NULL, &bytes, &fused));
    assert_int_equal(fused, 2);
    drop(&f);
    ry_graph_close(g);
}

/* Two results of a source that dies: the first may take its place, and the second still needs it. */
static void in_place_waits(void **state) {
    ry_graph *g;
    feed_list f = {.n = 0};
    size_t bytes[2];
    (void)state;
    assert_ok(ry_graph_open(&g, device));
    ry_tensor x = feed(g, &f, &RY_SHAPE(RY_F32, 70, 50), 3);
    ry_tensor t = ry_contiguous(g, ry_transpose(g, x, 0, 1));
    ry_tensor a = ry_mul(g, t, ry_scalar(g, 2)), b = ry_add(g, ry_exp(g, a), t);
    ry_tensor want[2] = {ry_contiguous(g, ry_transpose(g, a, 0, 1)), ry_contiguous(g, ry_transpose(g, b, 0, 1))};
    char *plain =
        compute(g, &f, 2, want, &(ry_compile_options){.no_fusion = true, .no_inplace = true}, &bytes[0], NULL);
    char *quick = compute(g, &f, 2, want, NULL, &bytes[1], NULL);
    assert_memory_equal(plain, quick, bytes[0]);
    free(plain);
    free(quick);
    drop(&f);
    ry_graph_close(g);
}

/* ---------------------------------------------------------------- integers and casts */

static void check_values(ry_graph *g, ry_tensor y, int n, const double *want) {
    char data[16 * 8];
    assert_ok(ry_graph_status(g));
    const ry_spec *s = ry_spec_of(g, y);
    assert_ok(ry_eval(g, 1, &y, 0, NULL));
    assert_ok(ry_read(g, y, data, ry_bytes_of(s->dtype, n)));
    for (int i = 0; i < n; i++) {
        float buf;
        double got = ry_is_float(s->dtype) ? (double)*ry_load_row(data, s->dtype, i, 1, &buf)
                                           : (double)ry_load_index(data, s->dtype, i);
        if (got != want[i]) print_error("%s element %d: %g, not %g\n", ry_dtype_name(s->dtype), i, got, want[i]);
        assert_true(got == want[i]);
    }
}
static ry_tensor scalar(ry_graph *g, ry_dtype t, double v) { return ry_fill(g, &RY_SHAPE(t, 1), v); }

static void integers_wrap_and_casts_saturate(void **state) {
    ry_graph *g;
    (void)state;
    assert_ok(ry_graph_open(&g, device));
    check_values(g, ry_add(g, scalar(g, RY_U8, 200), scalar(g, RY_U8, 100)), 1, (double[]){44});
    check_values(g, ry_add(g, scalar(g, RY_I8, 100), scalar(g, RY_I8, 100)), 1, (double[]){-56});
    check_values(g, ry_mul(g, scalar(g, RY_I32, 65536), scalar(g, RY_I32, 65537)), 1, (double[]){65536});
    check_values(g, ry_mul(g, scalar(g, RY_I64, 65536), scalar(g, RY_I64, 65537)), 1, (double[]){65536.0 * 65537.0});
    check_values(g, ry_bit_not(g, scalar(g, RY_U8, 5)), 1, (double[]){250});
    check_values(g, ry_cast(g, scalar(g, RY_F32, 300), RY_I8), 1, (double[]){127});
    check_values(g, ry_cast(g, scalar(g, RY_F32, -2.7), RY_I32), 1, (double[]){-2});
    check_values(g, ry_cast(g, scalar(g, RY_F32, -5), RY_U8), 1, (double[]){0});
    check_values(g, ry_cast(g, scalar(g, RY_I32, 300), RY_U8), 1, (double[]){44});
    check_values(g, ry_cast(g, scalar(g, RY_I64, 256), RY_BOOL), 1, (double[]){1});
    check_values(g, ry_cast(g, scalar(g, RY_I64, 3000000000.0), RY_F32), 1, (double[]){3000000000.0});
    check_values(g, ry_cast(g, scalar(g, RY_F32, 0.5), RY_BOOL), 1, (double[]){1});
    check_values(g, ry_add(g, scalar(g, RY_BOOL, 1), scalar(g, RY_BOOL, 1)), 1, (double[]){1});
    check_values(g, ry_add(g, scalar(g, RY_I32, 3), scalar(g, RY_F32, 0.5)), 1, (double[]){3.5});
    check_values(g, ry_exp(g, scalar(g, RY_I32, 0)), 1, (double[]){1});
    check_values(g, ry_lt(g, scalar(g, RY_I64, -1), scalar(g, RY_I32, 2)), 1, (double[]){1});
    check_values(g, ry_select(g, scalar(g, RY_I32, 7), scalar(g, RY_I64, 1), scalar(g, RY_I64, 2)), 1, (double[]){1});
    check_values(g, ry_fill(g, &RY_SHAPE(RY_BF16, 2), 1.00390625), 2, (double[]){1, 1});
    check_values(g, ry_fill(g, &RY_SHAPE(RY_I8, 1), 1e9), 1, (double[]){127});
    ry_graph_close(g);
}

static void dtype_of(ry_graph *g, ry_tensor y, ry_dtype t) {
    assert_ok(ry_graph_status(g));
    assert_int_equal(ry_spec_of(g, y)->dtype, t);
}
static void results_are_promoted(void **state) {
    ry_graph *g;
    (void)state;
    assert_ok(ry_graph_open(&g, device));
    ry_tensor bf = scalar(g, RY_BF16, 1), hf = scalar(g, RY_F16, 1), f = scalar(g, RY_F32, 1), i8 = scalar(g, RY_I8, 1),
              i64 = scalar(g, RY_I64, 1), one = ry_scalar(g, 1);
    dtype_of(g, ry_add(g, bf, f), RY_F32);
    dtype_of(g, ry_add(g, bf, hf), RY_F32);
    dtype_of(g, ry_add(g, bf, one), RY_BF16);
    dtype_of(g, ry_add(g, one, hf), RY_F16);
    dtype_of(g, ry_mul(g, i8, i64), RY_I64);
    dtype_of(g, ry_mul(g, i8, bf), RY_BF16);
    dtype_of(g, ry_mul(g, i8, one), RY_F32);
    dtype_of(g, ry_tanh(g, i8), RY_F32);
    dtype_of(g, ry_atan2(g, i8, hf), RY_F16);
    dtype_of(g, ry_eq(g, i8, f), RY_BOOL);
    dtype_of(g, ry_isnan(g, i64), RY_BOOL);
    dtype_of(g, ry_select(g, i8, bf, one), RY_BF16);
    dtype_of(g, ry_bit_and(g, i8, i64), RY_I64);
    ry_graph_close(g);
}

static void errors_say_what(void **state) {
    ry_graph *g;
    (void)state;
    assert_ok(ry_graph_open(&g, device));
    assert_true(ry_is_null(ry_add(g, ry_fill(g, &RY_SHAPE(RY_F32, 2, 3), 0), ry_fill(g, &RY_SHAPE(RY_F32, 4), 0))));
    assert_is(RY_ESHAPE, ry_graph_status(g));
    assert_non_null(strstr(ry_message(), "[2,3] f32"));
    assert_non_null(strstr(ry_message(), "[4] f32"));
    ry_graph_reset(g);
    ry_bit_or(g, ry_scalar(g, 1), ry_scalar(g, 2));
    assert_is(RY_EDTYPE, ry_graph_status(g));
    ry_graph_reset(g);
    ry_add(g, ry_scalar(g, 1), RY_NULL);
    assert_is(RY_EARG, ry_graph_status(g));
    ry_graph_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(layouts_and_dtypes),
                                       cmocka_unit_test(fused_equals_unfused),
                                       cmocka_unit_test(chain_is_one_node),
                                       cmocka_unit_test(in_place_waits),
                                       cmocka_unit_test(integers_wrap_and_casts_saturate),
                                       cmocka_unit_test(results_are_promoted),
                                       cmocka_unit_test(errors_say_what)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
