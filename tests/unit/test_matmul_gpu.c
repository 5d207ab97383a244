/* test_matmul_gpu.c - the products' kernels on a GPU against double precision: ragged shapes, all ways in which operands may lie,
 * batches that broadcast, every storage type, and every variant in turn.  Skips where there is no adapter.
 * RUSTY_TEST_ROUNDS: random cases of each kind, more than the usual few dozen. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "base/rng.h"
#include "core/launch.h"
#include "core/sample.h"
#include "core/tune.h"
#include "unit/cm.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#define setenv(name, value, replace) _putenv_s(name, value)
#define unsetenv(name)               _putenv_s(name, "")
#endif

static ry_device *dev;
static uint64_t draws;

static int64_t pick(int64_t below) { return (int64_t)(ry_rng_word(77, 3, draws++) % (uint64_t)below); }
static int rounds(int usual) {
    const char *e = getenv("RUSTY_TEST_ROUNDS");
    return e ? atoi(e) : usual;
}

/* A factor [batch.., rows, cols] of the product, and how it lies. */
typedef enum lie { PLAIN, TURNED, STEPS, INSIDE, COLUMNS, TURNED_COLUMNS, LIES } lie;
typedef struct factor {
    ry_dtype t;
    lie lie;
    int64_t rows, cols, R, C; /* of the matrix; of its storage */
    int rank;                 /* of the batch */
    int64_t batch[2], n;
    void *data;
    float *x; /* the storage as numbers */
    ry_tensor input;
    size_t bytes;
} factor;

static void factor_make(factor *f, ry_graph *g, uint32_t stream, bool round) {
    static const char *const what = "a factor of the test";
    f->R = f->lie == TURNED || f->lie == TURNED_COLUMNS ? f->cols : f->rows;
    f->C = f->lie == TURNED || f->lie == TURNED_COLUMNS ? f->rows : f->cols;
    if (f->lie == STEPS) f->C *= 2;
    if (f->lie == INSIDE) f->R += 1, f->C += 3;
    if (f->lie == COLUMNS || f->lie == TURNED_COLUMNS) f->C += 4;
    ry_spec s = {.dtype = f->t, .rank = f->rank + 2};
    f->n = f->R * f->C;
    for (int i = 0; i < f->rank; i++) s.dim[i] = f->batch[i], f->n *= f->batch[i];
    s.dim[f->rank] = f->R, s.dim[f->rank + 1] = f->C;
    assert_ok(ry_spec_bytes(&f->bytes, &s));
    f->data = malloc(f->bytes + 1);
    f->x = malloc((size_t)f->n * sizeof(float) + 1);
    assert_true(f->data && f->x);
    assert_ok(ry_sample_fill(f->data, f->t, f->n, -1, 1, 9, stream));
    for (int64_t i = 0, step = ry_dtype_row(f->t)->block; i < f->n; i += step) {
        float buf[32];
        memcpy(f->x + i, ry_load_row(f->data, f->t, i, step, buf), (size_t)step * sizeof(float));
    }
    if (round && f->t != RY_BF16)
        for (int64_t i = 0; i < f->n; i++) {
            uint16_t bits;
            float back;
            ry_store_row(&bits, RY_BF16, 0, 1, &f->x[i]);
            f->x[i] = *ry_load_row(&bits, RY_BF16, 0, 1, &back);
        }
    f->input = ry_input(g, &s, what);
}
static ry_tensor factor_view(const factor *f, ry_graph *g) {
    ry_tensor y = f->input;
    if (f->lie == STEPS) y = ry_slice(g, y, -1, 0, 2 * f->cols - 1, 2);
    if (f->lie == INSIDE) y = ry_slice(g, ry_slice(g, y, -1, 1, f->cols + 1, 1), -2, 1, f->rows + 1, 1);
    if (f->lie == COLUMNS) y = ry_slice(g, y, -1, 4, f->cols + 4, 1);
    if (f->lie == TURNED_COLUMNS) y = ry_slice(g, y, -1, 4, f->rows + 4, 1);
    if (f->lie == TURNED || f->lie == TURNED_COLUMNS) y = ry_transpose(g, y, -1, -2);
    return y;
}
static double factor_at(const factor *f, int64_t z, int64_t i, int64_t j) {
    int64_t at = z * f->R * f->C;
    switch (f->lie) {
    case TURNED: return (double)f->x[at + j * f->C + i];
    case STEPS: return (double)f->x[at + i * f->C + 2 * j];
    case INSIDE: return (double)f->x[at + (i + 1) * f->C + j + 1];
    case COLUMNS: return (double)f->x[at + i * f->C + j + 4];
    case TURNED_COLUMNS: return (double)f->x[at + j * f->C + i + 4];
    default: return (double)f->x[at + i * f->C + j];
    }
}
/* Which of the factor's matrices meets batch [p, q] of the product. */
static int64_t factor_batch(const factor *f, int64_t p, int64_t q) {
    if (f->rank == 0) return 0;
    if (f->rank == 1) return f->batch[0] == 1 ? 0 : q;
    return (f->batch[0] == 1 ? 0 : p) * f->batch[1] + (f->batch[1] == 1 ? 0 : q);
}
static void factor_free(factor *f) {
    free(f->data);
    free(f->x);
}

/* Sums in double, and what rounding may do to them. */
typedef struct sums {
    double *value, *size;
} sums;
static sums sums_new(int64_t n) {
    sums s = {calloc((size_t)n + 1, sizeof(double)), calloc((size_t)n + 1, sizeof(double))};
    assert_true(s.value && s.size);
    return s;
}
static void sums_free(sums s) { free(s.value), free(s.size); }

/* Runs y with every variant that its node may take, and compares. */
static int all_variants(ry_graph *g, ry_tensor y, size_t n_feed, const ry_feed *feed, sums want, const char *what) {
    const ry_node *n = ry_node_of(g, y);
    int count = 0, wrong = 0;
    assert_ok(ry_graph_status(g));
    assert_non_null(n);
    launch_variant(n, &dev->caps, &count);
    assert_true(count > 0);
    for (int r = 0; r < count; r++) {
        ry_program *p = NULL;
        const char *name = launch_variant_at(n, &dev->caps, r)->name;
        tune_try(dev->tuning, r);
        assert_ok(ry_compile(&p, g, 1, &y, &(ry_compile_options){.no_cache = true}));
        for (size_t i = 0; i < n_feed; i++) assert_ok(ry_program_feed(p, i, feed[i].data, feed[i].bytes));
        assert_ok(ry_run(p));
        const ry_spec *s = ry_program_spec(p, 0);
        int64_t size = ry_count(s);
        size_t bytes;
        assert_ok(ry_spec_bytes(&bytes, s));
        void *got = malloc(bytes + 1);
        assert_non_null(got);
        assert_ok(ry_fetch(p, 0, got, bytes));
        double rounding = ry_dtype_row(s->dtype)->bits < 24 ? ldexp(0.51, 1 - ry_dtype_row(s->dtype)->bits) : 0;
        for (int64_t i = 0; i < size; i++) {
            float buf;
            double x = (double)*ry_load_row(got, s->dtype, i, 1, &buf),
                   limit = 2e-6 * want.size[i] + 1e-6 + rounding * fabs(want.value[i]);
            if (fabs(x - want.value[i]) <= limit) continue;
            print_error("%s, variant %s: element %lld is %g, not %g (allowed %g)\n", what, name, (long long)i, x,
                        want.value[i], limit);
            wrong++;
            break;
        }
        free(got);
        ry_program_close(p);
    }
    tune_try(dev->tuning, -1);
    return wrong;
}

static int64_t length(void) {
    switch (pick(4)) {
    case 0: return 1 + pick(8);
    case 1: return 4 * (1 + pick(33));
    case 2: return 16 * (1 + pick(8));
    default: return 1 + pick(130);
    }
}
static ry_dtype number(void) {
    static const ry_dtype t[] = {RY_F32, RY_F32, RY_F16, RY_BF16};
    return t[pick(4)];
}
static void batch_of(factor *f, const int64_t b[2]) {
    f->rank = (int)pick(3);
    if (f->rank == 1) f->batch[0] = pick(4) ? b[1] : 1;
    if (f->rank == 2) f->batch[0] = pick(4) ? b[0] : 1, f->batch[1] = pick(4) ? b[1] : 1;
}

typedef enum how { ANY, AS_IT_LIES, LINEAR } how;

static int one_product(int64_t m, int64_t n, int64_t k, const int64_t b[2], bool batched, how h) {
    ry_graph *g = NULL;
    factor a = {.t = number(), .rows = m, .cols = k, .lie = h != ANY ? PLAIN : (lie)pick(LIES)};
    factor w = {.t = number(), .rows = k, .cols = n, .lie = h != ANY ? PLAIN : (lie)pick(LIES)}, bias = {0};
    bool round = pick(4) == 0, linear = h == LINEAR || (h == ANY && !batched && pick(2)), with_bias = linear && pick(2),
         q8 = !batched && pick(5) == 0;
    if (batched)
        batch_of(&a, b), batch_of(&w, b);
    else if (pick(3) == 0)
        a.rank = 1, a.batch[0] = b[1];
    if (linear) w.lie = TURNED;
    if (q8 && (linear ? k : n) % 32 == 0 && (linear || w.lie == PLAIN)) w.t = RY_Q8_0;
    assert_ok(ry_graph_open(&g, dev));
    if (round) ry_graph_precision(g, RY_BF16);
    factor_make(&a, g, 1, round);
    factor_make(&w, g, 2, round);
    ry_feed feed[3] = {{a.input, a.data, a.bytes}, {w.input, w.data, w.bytes}};
    ry_tensor y;
    if (with_bias) {
        bias = (factor){.t = number(), .rows = 1, .cols = n};
        factor_make(&bias, g, 3, false);
        feed[2] = (ry_feed){bias.input, bias.data, bias.bytes};
    }
    if (linear)
        y = ry_linear(g, factor_view(&a, g), w.input, with_bias ? RY_RESHAPE(g, bias.input, n) : RY_NULL);
    else
        y = ry_matmul(g, factor_view(&a, g), factor_view(&w, g));
    const ry_spec *s = ry_spec_of(g, y);
    assert_ok(ry_graph_status(g));
    int64_t P = s->rank > 3 ? s->dim[s->rank - 4] : 1, Q = s->rank > 2 ? s->dim[s->rank - 3] : 1;
    sums want = sums_new(ry_count(s));
    for (int64_t z = 0, at = 0; z < P * Q; z++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++, at++) {
                int64_t za = factor_batch(&a, z / Q, z % Q), zw = factor_batch(&w, z / Q, z % Q);
                double sum = with_bias ? (double)bias.x[j] : 0, size = fabs(sum);
                for (int64_t c = 0; c < k; c++) {
                    double q = factor_at(&a, za, i, c) * factor_at(&w, zw, c, j);
                    sum += q, size += fabs(q);
                }
                want.value[at] = sum, want.size[at] = size;
            }
    char what[200];
    snprintf(what, sizeof what, "[%lld,%lld]x[%lld,%lld] of %lldx%lld, %s %d by %s %d%s%s", (long long)m, (long long)k,
             (long long)k, (long long)n, (long long)P, (long long)Q, ry_dtype_name(a.t), (int)a.lie, ry_dtype_name(w.t),
             (int)w.lie, round ? ", bf16 factors" : "", with_bias ? ", bias" : "");
    int wrong = all_variants(g, y, with_bias ? 3 : 2, feed, want, what);
    sums_free(want);
    factor_free(&a);
    factor_free(&w);
    factor_free(&bias);
    ry_graph_close(g);
    return wrong;
}

static void ragged(void **state) {
    int wrong = 0;
    (void)state;
    for (int i = 0; i < rounds(8); i++)
        wrong += one_product(length(), length(), length(), (int64_t[]){1, 1 + pick(3)}, false, ANY);
    assert_int_equal(wrong, 0);
}

static void batches(void **state) {
    int wrong = 0;
    (void)state;
    for (int i = 0; i < rounds(4); i++)
        wrong +=
            one_product(1 + pick(70), 1 + pick(70), 1 + pick(40), (int64_t[]){1 + pick(3), 1 + pick(3)}, true, ANY);
    wrong += one_product(3, 5, 4, (int64_t[]){20, 30}, true, AS_IT_LIES);
    assert_int_equal(wrong, 0);
}

/* Enough of them for the largest tiles. */
static void many_tiles(void **state) {
    int wrong = 0;
    (void)state;
    for (int i = 0; i < rounds(3); i++) {
        bool even = i % 3 == 0;
        int64_t m = even ? 256 : 220 + pick(36), n = even ? 128 : 220 + pick(36);
        wrong +=
            one_product(m, n, even ? 16 : 1 + pick(20), (int64_t[]){even ? 14 : 7, 8}, true, i == 0 ? AS_IT_LIES : ANY);
    }
    assert_int_equal(wrong, 0);
}

static void shared_depth(void **state) {
    int wrong = 0;
    (void)state;
    for (int i = 0; i < rounds(4); i++)
        wrong += one_product(length(), length(), 1024 + pick(100), (int64_t[]){1, 1}, false, ANY);
    wrong += one_product(150, 20, 1030, (int64_t[]){1, 1}, false, AS_IT_LIES);
    wrong += one_product(20, 150, 1030, (int64_t[]){1, 1}, false, LINEAR);
    assert_int_equal(wrong, 0);
}

static void thin(void **state) {
    int wrong = 0;
    (void)state;
    for (int i = 0; i < rounds(4); i++) {
        int64_t few = 1 + pick(8), many = 1 + pick(300), k = length() * (1 + pick(8));
        wrong += pick(3) ? one_product(few, many, k, (int64_t[]){1, 1}, false, i < 3 ? AS_IT_LIES : ANY)
                         : one_product(many, few, k, (int64_t[]){1, 1}, false, ANY);
    }
    assert_int_equal(wrong, 0);
}

/* ---- experts ---- */

/* Rising offsets within `rows`: gaps at both ends, experts without rows. */
static void offsets_of(int32_t *o, int64_t experts, int64_t rows) {
    for (int64_t e = 0; e <= experts; e++) {
        o[e] = (int32_t)pick(rows + 1);
        for (int64_t i = e; i > 0 && o[i] < o[i - 1]; i--) {
            int32_t t = o[i];
            o[i] = o[i - 1], o[i - 1] = t;
        }
    }
    if (pick(2)) o[0] = 0, o[experts] = (int32_t)rows;
}

static int one_grouped(bool dw, int64_t rows, int64_t m, int64_t n, int64_t experts) {
    ry_graph *g = NULL;
    assert_true(experts <= 8);
    int32_t off[9];
    bool round = pick(4) == 0;
    /* forward: x [rows,m], w [E,m,n] -> [rows,n]; dw: a [rows,m], b [rows,n] -> [E,m,n] */
    factor a = {.t = number(), .rows = rows, .cols = m, .lie = (lie)pick(LIES)};
    factor w = {.t = number(), .rows = dw ? rows : m, .cols = n, .lie = (lie)pick(LIES)};
    if (!dw) w.rank = 1, w.batch[0] = experts;
    offsets_of(off, experts, rows);
    assert_ok(ry_graph_open(&g, dev));
    if (round) ry_graph_precision(g, RY_BF16);
    factor_make(&a, g, 4, round);
    factor_make(&w, g, 5, round);
    ry_spec so = {.dtype = RY_I32, .rank = 1, .dim = {experts + 1}};
    ry_tensor o = ry_input(g, &so, "offsets"), y;
    ry_feed feed[3] = {
        {a.input, a.data, a.bytes}, {w.input, w.data, w.bytes}, {o, off, (size_t)(experts + 1) * sizeof *off}};
    if (dw) {
        struct {
            int32_t product;
            bool w_rows;
            int32_t numerics;
        } args = {(int32_t)ry_graph_product(g), true, RY_EXACT}; /* as the row's */
        y = ry_apply_row(g, ry_op_find("grouped_matmul_dw"), 3,
                         (ry_tensor[]){factor_view(&a, g), factor_view(&w, g), o}, &args);
    } else
        y = ry_grouped_matmul(g, factor_view(&a, g), ry_transpose(g, factor_view(&w, g), 1, 2), o);
    assert_ok(ry_graph_status(g));
    sums want = sums_new(dw ? experts * m * n : rows * n);
    for (int64_t e = 0; e < experts; e++)
        for (int64_t r = off[e]; r < off[e + 1]; r++)
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    double q = factor_at(&a, 0, r, i) * (dw ? factor_at(&w, 0, r, j) : factor_at(&w, e, i, j));
                    int64_t at = dw ? (e * m + i) * n + j : r * n + j;
                    want.value[at] += q, want.size[at] += fabs(q);
                }
    char what[160];
    snprintf(what, sizeof what, "%s of %lld rows, %lld by %lld, %lld experts, %s %d by %s %d%s", dw ? "dw" : "grouped",
             (long long)rows, (long long)m, (long long)n, (long long)experts, ry_dtype_name(a.t), (int)a.lie,
             ry_dtype_name(w.t), (int)w.lie, round ? ", bf16 factors" : "");
    int wrong = all_variants(g, y, 3, feed, want, what);
    sums_free(want);
    factor_free(&a);
    factor_free(&w);
    ry_graph_close(g);
    return wrong;
}

static void experts(void **state) {
    int wrong = 0;
    (void)state;
    for (int i = 0; i < rounds(3); i++) {
        wrong += one_grouped(false, 1 + pick(200), length(), length(), 1 + pick(8));
        wrong += one_grouped(true, 1 + pick(200), length(), length(), 1 + pick(8));
    }
    wrong += one_grouped(false, 700, 12, 1300, 3);
    wrong += one_grouped(true, 40, 700, 600, 8);
    assert_int_equal(wrong, 0);
}

/* A device whose kernels see 64 KiB of a tensor: b is cut by columns, or C and a by rows. */
static void in_pieces(void **state) {
    int wrong = 0;
    ry_device *whole = dev;
    (void)state;
    setenv("RUSTY_WEBGPU_LIMITS", "binding=65536", 1);
    assert_ok(ry_device_open(&dev, "webgpu", NULL));
    unsetenv("RUSTY_WEBGPU_LIMITS");
    wrong += one_product(5, 500, 96, (int64_t[]){1, 1}, false, LINEAR);
    wrong += one_product(40, 333, 201, (int64_t[]){1, 1}, false, LINEAR);
    wrong += one_product(333, 120, 50, (int64_t[]){1, 1}, false, AS_IT_LIES);
    wrong += one_product(60, 70, 50, (int64_t[]){3, 5}, true, AS_IT_LIES);
    ry_device_close(dev);
    dev = whole;
    assert_int_equal(wrong, 0);
}

/* Tiles moved back from both ends of C; and so many that some are whole and some share K. */
static void moved_and_dealt(void **state) {
    int wrong = one_product(203, 260, 520, (int64_t[]){1, 1}, false, LINEAR);
    (void)state;
    wrong += one_product(66, 68, 516, (int64_t[]){15, 9}, true, AS_IT_LIES);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ragged),     cmocka_unit_test(batches),
                                       cmocka_unit_test(many_tiles), cmocka_unit_test(shared_depth),
                                       cmocka_unit_test(thin),       cmocka_unit_test(experts),
                                       cmocka_unit_test(in_pieces),  cmocka_unit_test(moved_and_dealt)};
    if (ry_device_open(&dev, "webgpu", NULL) != RY_OK) {
        print_message("skipped: %s\n", ry_message());
        return 77;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ry_device_close(dev);
    return failed;
}
