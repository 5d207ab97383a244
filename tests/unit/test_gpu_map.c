/* test_gpu_map.c - elementwise rows, chains and moves on a GPU against the CPU: values at the edges of every formula, integers of all
 * widths, layouts that chains and copies walk differently, sums of many shapes.
 *
 * Samples of the rows are tame and dense; what goes wrong with infinities, strides and tails shows here. */
#include "base/os.h"
#include "base/rng.h"
#include "core/op.h"
#include "unit/cm.h"
#include "unit/gpu_pair.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WANTED = 8 };
static ry_tensor noise(ry_graph *g, feeds *f, ry_spec s) { /* small whole numbers for integers, else of [-2, 2) */
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, &s));
    char *x = calloc(bytes + 1, 1);
    assert_non_null(x);
    if (s.dtype == RY_Q8_0)
        for (size_t i = 0; i < bytes; i++) x[i] = (char)(ry_rng_word(5, (uint32_t)f->n, i) & 31);
    else
        for (int64_t i = 0; i < ry_numel(&s); i++) {
            float u = ry_rng_unit(ry_rng_word(3, (uint32_t)f->n, (uint64_t)i)), v = ry_is_float(s.dtype) ? 4 * u - 2 : floorf(u * 100);
            ry_store_row(x, s.dtype, i, 1, &v);
        }
    return feed(g, f, s, x);
}

/* What `build` makes on either device; returns the number of tensors. */
typedef size_t (*builder)(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]);
typedef struct results {
    size_t n, bytes[WANTED];
    ry_spec spec[WANTED];
    char *data[WANTED];
} results;
static ry_status compute(results *out, ry_device *dev, builder build, const void *ud) {
    ry_graph *g;
    feeds f = {.n = 0};
    ry_tensor want[WANTED];
    assert_ok(ry_graph_open(&g, dev));
    out->n = build(g, &f, ud, want);
    assert_ok(ry_graph_status(g));
    ry_program *p = NULL;
    ry_status st = ry_compile(&p, g, out->n, want, NULL);
    if (st == RY_OK) {
        for (size_t i = 0; i < f.n; i++) assert_ok(ry_program_feed(p, i, f.at[i].data, f.at[i].bytes));
        assert_ok(ry_run(p));
    }
    for (size_t i = 0; st == RY_OK && i < out->n; i++) {
        out->spec[i] = *ry_program_spec(p, i);
        assert_ok(ry_spec_bytes(&out->bytes[i], &out->spec[i]));
        out->data[i] = malloc(out->bytes[i] + 1);
        assert_non_null(out->data[i]);
        assert_ok(ry_fetch(p, i, out->data[i], out->bytes[i]));
    }
    ry_program_close(p);
    ry_graph_close(g);
    for (size_t i = 0; i < f.n; i++) free((void *)(uintptr_t)f.at[i].data);
    return st;
}
static void drop(results *r) {
    for (size_t i = 0; i < r->n; i++) free(r->data[i]);
}

/* rel: allowed error of floats, of each value; 0: the same bytes. What is near the least float may be made of what chips read as 0. */
static int check(const char *what, builder build, const void *ud, double rel) {
    results have, want;
    int wrong = 0;
    ry_status st = compute(&have, gpu, build, ud);
    if (st == RY_EUNSUPPORTED) return 0;
    assert_ok(st);
    assert_ok(compute(&want, cpu, build, ud));
    for (size_t k = 0; k < want.n; k++) {
        assert_int_equal(have.bytes[k], want.bytes[k]);
        if (rel == 0 || !ry_is_float(want.spec[k].dtype)) {
            if (!memcmp(have.data[k], want.data[k], want.bytes[k])) continue;
            size_t i = 0;
            while (have.data[k][i] == want.data[k][i]) i++;
            print_error("%s: output %zu differs from byte %zu of %zu on\n", what, k, i, want.bytes[k]);
            wrong++;
            continue;
        }
        double worst = 0;
        int64_t at = 0;
        for (int64_t i = 0; i < ry_numel(&want.spec[k]); i++) {
            float a, b;
            a = *ry_load_row(have.data[k], want.spec[k].dtype, i, 1, &a);
            b = *ry_load_row(want.data[k], want.spec[k].dtype, i, 1, &b);
            double off = 0;
            if (isnan(b) || isnan(a)) off = isnan(a) != isnan(b);
            else if (isinf(b) || isinf(a)) off = a == b || (a * b > 0 && (fabsf(a) > 1e38f && fabsf(b) > 1e38f)) ? 0 : 2;
            else if (fabs((double)b) > 1e-30 || fabs((double)a) > 1e-30) off = fabs((double)a - (double)b) / fmax(fabs((double)b), 1e-30);
            if (off > worst) worst = off, at = i;
        }
        if (worst <= rel) continue;
        float a = *ry_load_row(have.data[k], want.spec[k].dtype, at, 1, &a), b = *ry_load_row(want.data[k], want.spec[k].dtype, at, 1, &b);
        print_error("%s: output %zu is off by %.3g at %lld: %.9g, not %.9g\n", what, k, worst, (long long)at, (double)a, (double)b);
        wrong++;
    }
    drop(&have);
    drop(&want);
    return wrong;
}

/* ---------------------------------------------------------------- formulas at their edges */

/* The last ones are only for the kind of result: not a number, infinite, how large. */
static const float edges[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, -0.5f, 2.0f, -2.0f, 1e-4f, -1e-4f, 1e-10f, 0.7f, -0.3f, 1.5f, -2.5f, 3.5f, 7.25f, -8.0f, 20.0f, -20.0f, 33.0f, -33.0f,
                              12345.678f, -4e5f, 3e9f, 1e12f, 88.0f, -88.0f, 100.0f, -100.0f, 1e20f, -1e30f, 3.2e38f, INFINITY, -INFINITY, NAN};
enum { EDGES = sizeof edges / sizeof *edges, TAME = EDGES - 10 };
static const int64_t integers[] = {0, 1, -1, 2, -2, 3, 7, -7, 31, 32, 33, 63, 64, -64, 100, -100, 127, -128, 255, 1000, -99999, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1LL << 40};
enum { INTEGERS = sizeof integers / sizeof *integers };

typedef struct map_case {
    const ry_op *op;
    ry_dtype t;
    int edges;
} map_case;
static size_t build_map(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    const map_case *c = ud;
    bool choice = false; /* is the first source a condition? */
    for (const ry_sample *s = c->op->samples; s->name; s++) choice |= s->src[0].dtype == RY_BOOL && s->src[1].dtype != RY_BOOL;
    int n = ry_is_float(c->t) ? c->edges : INTEGERS, pairs = c->op->min_src > 1 ? n * n : n;
    ry_tensor src[5];
    for (int k = 0; k < c->op->min_src; k++) {
        ry_dtype t = choice && k == 0 ? RY_BOOL : c->t;
        ry_spec s = RY_SHAPE(t, pairs);
        size_t bytes;
        assert_ok(ry_spec_bytes(&bytes, &s));
        char *x = calloc(bytes + 1, 1);
        assert_non_null(x);
        for (int i = 0; i < pairs; i++) {
            int e = k == 0 ? i % n : k == 1 ? i / n : (i * 7 + i / n * 3 + k) % n;
            if (ry_is_float(t)) ry_store_row(x, t, i, 1, &edges[e]);
            else if (t == RY_I64) memcpy(x + 8 * i, &integers[e], 8);
            else if (t == RY_I32) memcpy(x + 4 * i, &(int32_t){(int32_t)integers[e]}, 4);
            else x[i] = t == RY_BOOL ? (char)(e & 1) : (char)integers[e];
        }
        src[k] = feed(g, f, s, x);
    }
    want[0] = ry_apply_row(g, c->op, (size_t)c->op->min_src, src, NULL);
    return 1;
}

static void test_formulas(void **state) {
    (void)state;
    if (!cpu) skip();
    int wrong = 0, rows = 0;
    char what[80];
    for (size_t i = 0; ry_op_at(i); i++) {
        const ry_op *op = ry_op_at(i);
        if (!(op->flags & RY_OP_MAP) || op->arg_size) continue;
        rows++;
        for (ry_dtype t = RY_F32; t < RY_DTYPE_COUNT; t++) {
            bool fits = false; /* is there a sample of such numbers? */
            for (const ry_sample *s = op->samples; s->name; s++) fits |= s->src[0].dtype == t || (s->src[0].dtype == RY_BOOL && s->src[1].dtype == t);
            if (!fits) continue;
            snprintf(what, sizeof what, "%s of %s", op->name, ry_dtype_name(t));
            bool choice = op->samples->src[0].dtype == RY_BOOL && op->samples->src[1].dtype == RY_F32;
            if (choice && t == RY_BOOL) continue;
            bool cancels = !strcmp(op->name, "celu_db"); /* expm1(x) - x exp(x), for small x of rounding errors alone */
            wrong += check(what, build_map, &(map_case){op, t, TAME}, cancels ? 1 : 4e-6);
            if (ry_is_float(t)) wrong += check(what, build_map, &(map_case){op, t, EDGES}, cancels ? 1 : 1e-3);
        }
    }
    assert_true(rows > 100);
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- layouts */

enum { LAYOUTS = 9 };
/* A source that broadcasts to [p,q,r]. */
static ry_tensor source(ry_graph *g, feeds *f, int k, int64_t p, int64_t q, int64_t r, ry_dtype t) {
    switch (k) {
    case 0: return noise(g, f, RY_SHAPE(t, p, q, r));
    case 1: return noise(g, f, RY_SHAPE(t, r));
    case 2: return noise(g, f, RY_SHAPE(t, p, 1, 1));
    case 3: return noise(g, f, RY_SHAPE(t, p, q, 1));
    case 4: return ry_permute(g, noise(g, f, RY_SHAPE(t, p, r, q)), (int[]){0, 2, 1});
    case 5: return ry_permute(g, noise(g, f, RY_SHAPE(t, q, p, r)), (int[]){1, 0, 2});
    case 6: return ry_slice(g, noise(g, f, RY_SHAPE(t, p, q, 2 * r + 3)), 2, 3, 3 + r, 1);
    case 7: return ry_slice(g, noise(g, f, RY_SHAPE(t, p, q, r)), 1, -1, -q - 1, -1);
    default: return ry_slice(g, noise(g, f, RY_SHAPE(t, p, q, 2 * r)), 2, 1, 2 * r, 2);
    }
}
typedef struct layout_case {
    int a, b, c;
    int64_t p, q, r;
    ry_dtype t;
} layout_case;
static size_t build_chain(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    const layout_case *k = ud;
    ry_tensor a = source(g, f, k->a, k->p, k->q, k->r, k->t), b = source(g, f, k->b, k->p, k->q, k->r, k->t), c = source(g, f, k->c, k->p, k->q, k->r, RY_F32);
    want[0] = ry_silu(g, ry_add(g, ry_mul(g, a, b), ry_cast(g, c, k->t)));
    want[1] = ry_cast(g, ry_add(g, a, ry_scalar(g, 0.5)), RY_BF16);
    want[2] = ry_select(g, ry_lt(g, b, ry_scalar(g, 0.25)), a, b);
    return 3;
}
static size_t build_copy(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    const layout_case *k = ud;
    want[0] = ry_contiguous(g, ry_expand(g, source(g, f, k->a, k->p, k->q, k->r, k->t), 3, (int64_t[]){k->p, k->q, k->r}));
    return 1;
}
static const int64_t shapes[][3] = {{3, 5, 8}, {2, 3, 7}, {4, 64, 33}, {1, 40, 36}, {5, 1, 300}, {2, 70, 9}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static size_t build_large(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) { /* several fours a thread */
    (void)ud;
    ry_tensor a = noise(g, f, RY_SHAPE(RY_BF16, 1030, 2049)), b = noise(g, f, RY_SHAPE(RY_BF16, 2049));
    want[0] = ry_mul(g, a, b);
    want[1] = ry_contiguous(g, ry_slice(g, a, 0, 3, 1030, 1));
    want[2] = ry_contiguous(g, ry_slice(g, a, 1, 1, 2049, 1));
    return 3;
}
static void test_large(void **state) {
    (void)state;
    if (!cpu) skip();
    assert_int_equal(check("large", build_large, NULL, 0), 0);
}

static void test_layouts(void **state) {
    (void)state;
    if (!cpu) skip();
    int wrong = 0;
    char what[120];
    for (int i = 0; i < 60; i++) {
        const int64_t *d = shapes[i % SHAPES];
        layout_case k = {i % LAYOUTS, i * 5 / 2 % LAYOUTS, i * 7 / 4 % LAYOUTS, d[0], d[1], d[2], i % 3 ? RY_F32 : i % 2 ? RY_F16 : RY_BF16};
        snprintf(what, sizeof what, "chain of layouts %d %d %d at [%d,%d,%d] %s", k.a, k.b, k.c, (int)d[0], (int)d[1], (int)d[2], ry_dtype_name(k.t));
        wrong += check(what, build_chain, &k, k.t == RY_F32 ? 4e-6 : k.t == RY_F16 ? 1e-3 : 8e-3);
    }
    static const ry_dtype types[] = {RY_F32, RY_BF16, RY_U8, RY_I64, RY_BOOL, RY_F16, RY_I32, RY_I8};
    for (int i = 0; i < LAYOUTS * SHAPES; i++) {
        const int64_t *d = shapes[i / LAYOUTS];
        layout_case k = {.a = i % LAYOUTS, .p = d[0], .q = d[1], .r = d[2], .t = types[i * 5 % 8]};
        snprintf(what, sizeof what, "copy of layout %d at [%d,%d,%d] %s", k.a, (int)d[0], (int)d[1], (int)d[2], ry_dtype_name(k.t));
        wrong += check(what, build_copy, &k, 0);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- moves */

static size_t build_moves(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    ry_dtype t = *(const ry_dtype *)ud;
    ry_tensor part[11];
    for (int i = 0; i < 11; i++) part[i] = noise(g, f, RY_SHAPE(t, 3, 1 + i % 4, 5)); /* more than one dispatch binds */
    want[0] = ry_concat(g, 11, part, 1);
    want[1] = ry_concat(g, 2, (ry_tensor[]){ry_permute(g, part[3], (int[]){2, 0, 1}), ry_permute(g, part[7], (int[]){2, 0, 1})}, 0);
    want[2] = ry_pad(g, part[2], (int64_t[]){1, 0, 3}, (int64_t[]){0, 2, 1}, 7);
    want[3] = ry_concat(g, 2, (ry_tensor[]){noise(g, f, RY_SHAPE(t, 6, 8)), noise(g, f, RY_SHAPE(t, 6, 12))}, 1);
    want[4] = ry_pad(g, ry_permute(g, part[1], (int[]){1, 2, 0}), (int64_t[]){0, 4, 0}, (int64_t[]){4, 0, 1}, 1);
    return 5;
}
static size_t build_blocks(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    (void)ud;
    ry_tensor x = noise(g, f, RY_SHAPE(RY_Q8_0, 3, 5, 64)), y = noise(g, f, RY_SHAPE(RY_Q8_0, 3, 2, 64));
    want[0] = ry_contiguous(g, ry_permute(g, x, (int[]){1, 0, 2}));
    want[1] = ry_concat(g, 2, (ry_tensor[]){x, y}, 1);
    want[2] = ry_cast(g, ry_slice(g, x, 1, 1, 4, 1), RY_F32);
    return 3;
}
static size_t build_slice_grad(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    (void)ud;
    ry_tensor x = noise(g, f, RY_SHAPE(RY_F32, 6, 20, 3));
    ry_tensor y[3] = {ry_slice(g, x, 1, 18, 2, -3), ry_slice(g, x, 0, 2, 4, 1), ry_slice(g, x, 1, 4, 12, 1)};
    for (int i = 0; i < 3; i++) assert_ok(ry_grad(g, ry_square(g, y[i]), noise(g, f, *ry_spec_of(g, y[i])), 1, &x, &want[i]));
    return 3;
}
static void test_moves(void **state) {
    (void)state;
    if (!cpu) skip();
    static const ry_dtype types[] = {RY_F32, RY_BF16, RY_U8, RY_I64};
    int wrong = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) wrong += check(ry_dtype_name(types[i]), build_moves, &types[i], 0);
    wrong += check("q8_0", build_blocks, NULL, 0);
    wrong += check("slice_grad", build_slice_grad, NULL, 0);
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- sums, numbers */

typedef struct sum_case {
    int64_t dim[4];
    unsigned kept; /* bit i: axis i is */
    ry_dtype t;
} sum_case;
static size_t build_sum(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    const sum_case *c = ud;
    ry_tensor x = ry_add(g, noise(g, f, ry_shape(c->t, 4, c->dim)), ry_scalar(g, 3)); /* no sums near 0 */
    ry_tensor b = noise(g, f, RY_SHAPE(RY_F32, c->kept & 1 ? c->dim[0] : 1, c->kept & 2 ? c->dim[1] : 1, c->kept & 4 ? c->dim[2] : 1, c->kept & 8 ? c->dim[3] : 1));
    ry_tensor y = ry_mul(g, ry_cast(g, x, RY_F32), b); /* the gradient of b is a sum */
    assert_ok(ry_grad(g, y, ry_cast(g, x, RY_F32), 1, &b, want));
    return 1;
}
static void test_sums(void **state) {
    (void)state;
    if (!cpu) skip();
    static const sum_case cases[] = {{{1, 1, 3, 70000}, 4, RY_F32},   {{1, 1, 70000, 3}, 8, RY_F32},  {{1, 1, 3000, 256}, 8, RY_F32}, {{1, 1, 1, 300001}, 0, RY_F32},
                                     {{5, 7, 9, 11}, 5, RY_F32},      {{5, 7, 9, 11}, 10, RY_F32},    {{5, 7, 8, 12}, 9, RY_BF16},    {{40, 30, 20, 4}, 8, RY_F16},
                                     {{3, 200, 5, 130}, 9, RY_F32},   {{2, 3, 1000, 37}, 11, RY_F32}, {{300, 2, 3, 64}, 6, RY_F32},   {{600, 33, 1, 5}, 1, RY_F32}};
    int wrong = 0;
    char what[80];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t *d = cases[i].dim;
        snprintf(what, sizeof what, "sum over [%d,%d,%d,%d] keeping %u", (int)d[0], (int)d[1], (int)d[2], (int)d[3], cases[i].kept);
        wrong += check(what, build_sum, &cases[i], 1e-5);
    }
    assert_int_equal(wrong, 0);
}

static size_t build_numbers(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    (void)ud, (void)f;
    want[0] = ry_uniform(g, &RY_SHAPE(RY_F32, 1001), 0x123456789abcdef0u, 9);
    want[1] = ry_iota(g, &RY_SHAPE(RY_I64, 3, 5, 7), 1, -1e12, 3e9);
    want[2] = ry_iota(g, &RY_SHAPE(RY_I32, 9), 0, 7, -3);
    want[3] = ry_iota(g, &RY_SHAPE(RY_I32, 2, 333), 1, 2147483000, 5);
    want[4] = ry_fill(g, &RY_SHAPE(RY_I64, 11), -5e15);
    want[5] = ry_fill(g, &RY_SHAPE(RY_F16, 11), (double)INFINITY);
    return 6;
}
static size_t build_normals(ry_graph *g, feeds *f, const void *ud, ry_tensor want[WANTED]) {
    (void)ud, (void)f;
    want[0] = ry_normal(g, &RY_SHAPE(RY_F32, 5003), 77, 1);
    want[1] = ry_iota(g, &RY_SHAPE(RY_F32, 100000), 0, 1000.1, 0.001);
    return 2;
}
static void test_numbers(void **state) {
    (void)state;
    if (!cpu) skip();
    assert_int_equal(check("numbers", build_numbers, NULL, 0) + check("normals", build_normals, NULL, 2e-6), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formulas), cmocka_unit_test(test_layouts), cmocka_unit_test(test_large), cmocka_unit_test(test_moves),
                                       cmocka_unit_test(test_sums), cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
