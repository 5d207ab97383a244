/* test_gpu_programs.c - programs on a GPU: operands as they lie in storage (every dtype, odd offsets, strides, tails, one storage twice,
 * more sources than bindings), a slab that grows, graphs from two threads, programs that outlive their graph, profiles, the first value
 * that is not finite, a lost device, and bytes held against the plan.  Rows themselves: tests/ops. */
#define _POSIX_C_SOURCE 200809L
#include "base/mem.h"
#include "base/os.h"
#include "train/train.h"
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

static ry_device *dev[3]; /* the CPU, the GPU, and the GPU with the least features and limits */

static uint32_t next_random(uint32_t *seed) { return (*seed = *seed * 1664525u + 1013904223u) >> 8; }

/* ---- operands ---- */

enum { ROWS = 9, COLS = 23, BASE = ROWS * COLS };

static ry_var *filled(ry_device *d, ry_dtype t, uint32_t seed) {
    ry_var *v;
    ry_spec s = RY_SHAPE(t, ROWS, COLS);
    size_t bytes;
    unsigned char data[BASE * 8];
    assert_ok(ry_spec_bytes(&bytes, &s));
    for (int i = 0; i < BASE; i++) {
        float x = (float)((int)(next_random(&seed) % 201) - 100) / 4;
        if (ry_is_float(t)) ry_store_row(data, t, i, 1, &x);
        else if (t == RY_BOOL) data[i] = next_random(&seed) & 1;
        else if (t == RY_I64) ((int64_t *)(void *)data)[i] = (int64_t)(next_random(&seed) % 2000) - 1000;
        else if (t == RY_I32) ((int32_t *)(void *)data)[i] = (int32_t)(next_random(&seed) % 2000) - 1000;
        else data[i] = (unsigned char)(next_random(&seed) % 100);
    }
    assert_ok(ry_var_open(&v, d, &s, "w"));
    assert_ok(ry_var_write(v, data, bytes));
    return v;
}

/* A view of w: some rows and columns, forwards or backwards, perhaps transposed. */
static ry_tensor view(ry_graph *g, ry_tensor w, const int *rows, const int *cols, bool turn) {
    ry_tensor t = ry_slice(g, ry_slice(g, w, 0, rows[0], rows[1], rows[2]), 1, cols[0], cols[1], cols[2]);
    return turn ? ry_transpose(g, t, 0, 1) : t;
}

enum { WANTED = 6 };
static size_t views_of(ry_device *d, ry_dtype t, int round, unsigned char *out) {
    static const int rows[][3] = {{0, ROWS, 1}, {1, 8, 1}, {2, 9, 2}, {8, 1, -1}, {3, 4, 1}, {0, 7, 3}};
    static const int cols[][3] = {{0, COLS, 1}, {1, 22, 1}, {3, 23, 1}, {2, 9, 1}, {21, 2, -1}, {1, 20, 2}, {5, 6, 1}, {0, 4, 1}, {7, 23, 1}};
    const int *r = rows[round % 6], *c = cols[round % 9];
    bool turn = round % 2, number = t != RY_BOOL;
    ry_graph *g;
    ry_var *v = filled(d, t, (uint32_t)round + 1), *second = filled(d, t, (uint32_t)round + 99);
    assert_ok(ry_graph_open(&g, d));
    ry_tensor w = ry_use(g, v), x = view(g, w, r, c, turn), other = view(g, ry_use(g, second), r, c, turn);
    /* The same storage at two offsets: rows 0 .. 7 and 1 .. 8. */
    ry_tensor up = ry_slice(g, w, 0, 0, ROWS - 1, 1), down = ry_slice(g, w, 0, 1, ROWS, 1);
    ry_tensor want[WANTED] = {ry_contiguous(g, x), number ? ry_add(g, x, other) : ry_or(g, x, other), number ? ry_sub(g, up, down) : ry_and(g, up, down),
                              ry_concat(g, 3, (ry_tensor[]){x, other, x}, turn), ry_cast(g, x, t == RY_F32 ? RY_I32 : RY_F32), ry_cast(g, x, RY_BOOL)};
    ry_program *p;
    size_t at = 0;
    assert_ok(ry_compile(&p, g, WANTED, want, NULL));
    assert_ok(ry_run(p));
    for (size_t i = 0; i < WANTED; i++) {
        size_t bytes;
        assert_ok(ry_spec_bytes(&bytes, ry_program_spec(p, i)));
        assert_ok(ry_fetch(p, i, out + at, bytes));
        at += bytes;
    }
    ry_program_close(p);
    ry_graph_close(g);
    ry_var_close(v);
    ry_var_close(second);
    return at;
}

static void operands_as_they_lie(void **state) {
    static const ry_dtype types[] = {RY_F32, RY_F16, RY_BF16, RY_I32, RY_I64, RY_I8, RY_U8, RY_BOOL};
    enum { ROOM = 8 * BASE * 8 };
    (void)state;
    unsigned char *a = calloc(1, ROOM), *b = calloc(1, ROOM);
    assert_non_null(a);
    assert_non_null(b);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int round = 0; round < 18; round++)
            for (int k = 1; k < 3; k++) {
                if (k == 2 && (types[t] == RY_I64 || round % 2)) continue; /* no arithmetic of 64 bits */
                size_t n = views_of(dev[0], types[t], round, a), m = views_of(dev[k], types[t], round, b), i = 0;
                assert_int_equal(n, m);
                while (i < n && a[i] == b[i]) i++;
                if (i < n) fail_msg("%s, round %d, device %d: byte %zu of %zu is %d, not %d", ry_dtype_name(types[t]), round, k, i, n, b[i], a[i]);
            }
    free(a);
    free(b);
}

/* Twelve sources, fewer bindings, and a chain over them. */
static void many_sources(void **state) {
    enum { N = 12, LEN = 37 };
    (void)state;
    float got[3][2][N * LEN];
    assert_true(dev[2]->caps.max_bindings < N);
    for (int k = 0; k < 3; k++) {
        ry_graph *g;
        ry_tensor x[N], sum = RY_NULL;
        ry_feed feed[N];
        float data[N][LEN];
        assert_ok(ry_graph_open(&g, dev[k]));
        for (int i = 0; i < N; i++) {
            for (int e = 0; e < LEN; e++) data[i][e] = (float)(i * 100 + e);
            x[i] = ry_input(g, &RY_SHAPE(RY_F32, LEN), "x");
            feed[i] = (ry_feed){x[i], data[i], sizeof data[i]};
            sum = i ? ry_add(g, ry_mul(g, sum, ry_scalar(g, 0.5)), x[i]) : x[i];
        }
        ry_tensor want[2] = {ry_concat(g, N, x, 0), sum};
        assert_ok(ry_eval(g, 2, want, N, feed));
        assert_ok(ry_read(g, want[0], got[k][0], sizeof got[k][0]));
        assert_ok(ry_read(g, want[1], got[k][1], LEN * sizeof(float)));
        ry_graph_close(g);
    }
    for (int k = 1; k < 3; k++) {
        assert_memory_equal(got[0][0], got[k][0], sizeof got[0][0]);
        for (int e = 0; e < LEN; e++) assert_true(fabsf(got[0][1][e] - got[k][1][e]) <= 1e-3f);
    }
}

/* ---- life of programs ---- */

static ry_program *softmax_of(ry_device *d, int64_t rows) {
    ry_graph *g;
    ry_program *p;
    assert_ok(ry_graph_open(&g, d));
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, rows, 64), "x");
    ry_tensor y = ry_sum(g, ry_softmax(g, ry_transpose(g, ry_contiguous(g, ry_transpose(g, x, 0, 1)), 0, 1), 1), 1u << 1, false);
    assert_ok(ry_compile(&p, g, 1, &y, NULL));
    ry_graph_close(g); /* the program lives on */
    return p;
}
static void check_softmax(ry_program *p, int64_t rows, float with) {
    size_t n = (size_t)rows * 64;
    float *x = malloc(n * sizeof *x), *y = malloc((size_t)rows * sizeof *y);
    assert_non_null(x);
    assert_non_null(y);
    for (size_t i = 0; i < n; i++) x[i] = with * (float)(i % 13);
    assert_ok(ry_program_feed(p, 0, x, n * sizeof *x));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, (size_t)rows * sizeof *y));
    for (int64_t r = 0; r < rows; r++)
        if (!(fabsf(y[r] - 1) < 1e-5f)) fail_msg("row %lld of %lld sums up to %g", (long long)r, (long long)rows, (double)y[r]);
    free(x);
    free(y);
}

static void the_slab_grows(void **state) {
    (void)state;
    ry_program *small = softmax_of(dev[1], 3), *large;
    check_softmax(small, 3, 0.5f);
    large = softmax_of(dev[1], 3000); /* the slab moves: the first is bound again */
    check_softmax(large, 3000, 0.25f);
    check_softmax(small, 3, 0.125f);
    check_softmax(large, 3000, 0.5f);
    ry_program_close(large);
    check_softmax(small, 3, 1);
    ry_program_close(small);
}

typedef struct worker { int64_t rows; int failed; } worker;
static void work(void *ud) {
    worker *w = ud;
    enum { N = 16 };
    for (int round = 0; round < 40; round++) {
        ry_graph *g = NULL;
        float x[64 * N], y[64 * N];
        int64_t rows = w->rows + round % 3;
        for (int64_t i = 0; i < rows * N; i++) x[i] = (float)(i + round) * 0.01f;
        if (ry_graph_open(&g, dev[1]) != RY_OK) w->failed++;
        ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, rows, N), "x"), out = ry_add(g, ry_mul(g, in, in), ry_scalar(g, (double)w->rows));
        if (ry_eval(g, 1, &out, 1, &(ry_feed){in, x, (size_t)(rows * N) * sizeof *x}) != RY_OK || ry_read(g, out, y, (size_t)(rows * N) * sizeof *y) != RY_OK) w->failed++;
        for (int64_t i = 0; i < rows * N; i++) w->failed += !(fabsf(y[i] - (x[i] * x[i] + (float)w->rows)) <= 1e-4f * y[i]);
        ry_graph_close(g);
    }
}

static void two_threads(void **state) {
    (void)state;
    worker w[2] = {{.rows = 5}, {.rows = 61}};
    os_thread *t[2];
    for (int i = 0; i < 2; i++) assert_ok(os_thread_start(&t[i], work, &w[i]));
    for (int i = 0; i < 2; i++) os_thread_join(t[i]);
    assert_int_equal(w[0].failed, 0);
    assert_int_equal(w[1].failed, 0);
}

/* ---- reports ---- */

static void profile_and_trace(void **state) {
    (void)state;
    ry_graph *g;
    ry_program *p;
    ry_profile_row rows[32];
    float x[64] = {1};
    assert_ok(ry_graph_open(&g, dev[1]));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 8, 8), "x"), y = ry_name(g, ry_softmax(g, ry_matmul(g, in, in), 1), "likely");
    assert_ok(ry_compile(&p, g, 1, &y, &(ry_compile_options){.profile = true}));
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    for (int i = 0; i < 3; i++) assert_ok(ry_run(p));
    size_t n = ry_program_profile(p, rows, 32);
    bool found = false;
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(rows[i].calls, 3);
        assert_true(rows[i].ms >= 0);
        total += rows[i].ms;
        found |= !strcmp(rows[i].op, "softmax") && !strcmp(rows[i].name, "likely");
    }
    assert_true(found);
    assert_true(total > 0);
    assert_ok(ry_program_trace(p, "test_gpu_programs.json"));
    char *text;
    size_t bytes;
    assert_ok(os_file_read("test_gpu_programs.json", &text, &bytes));
    assert_non_null(strstr(text, "\"traceEvents\""));
    assert_non_null(strstr(text, "\"softmax\""));
    ry_mem_free(text);
    os_remove_tree("test_gpu_programs.json");
    ry_program_close(p);
    ry_graph_close(g);
}

static void first_not_finite(void **state) {
    (void)state;
    ry_graph *g;
    ry_program *p;
    float x[16];
    for (int i = 0; i < 16; i++) x[i] = (float)i - 3;
    assert_ok(ry_graph_open(&g, dev[1]));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 16), "x"), root = ry_name(g, ry_log(g, in), "root_of_evil"), y = ry_exp(g, ry_mul(g, root, ry_scalar(g, 2)));
    assert_ok(ry_compile(&p, g, 1, &y, &(ry_compile_options){.debug_nan = true}));
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    assert_is(RY_ENAN, ry_run(p));
    assert_non_null(strstr(ry_message(), "log"));
    assert_non_null(strstr(ry_message(), "root_of_evil"));
    assert_non_null(strstr(ry_message(), "element 0"));
    ry_program_close(p);
    ry_graph_close(g);
    p = softmax_of(dev[1], 5); /* nothing was written: the device goes on */
    check_softmax(p, 5, 1);
    ry_program_close(p);
}

/* What the device holds for a program is what the plan says, within 2 % (and the sizes that memory is rounded up to). */
static void held_as_planned(void **state) {
    (void)state;
    ry_device *d;
    ry_graph *g;
    ry_program *p;
    ry_plan_info info;
    ry_var *w;
    enum { N = 512, C = 256 };
    assert_ok(ry_device_open(&d, "webgpu", NULL));
    size_t before = d->api->held(d);
    assert_ok(ry_var_open(&w, d, &RY_SHAPE(RY_F32, C, C), "w"));
    assert_ok(ry_graph_open(&g, d));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, N, C), "x"), x = ry_use(g, w), dx;
    ry_tensor y = ry_sum(g, ry_square(g, ry_silu(g, ry_linear(g, ry_softmax(g, in, 1), x, RY_NULL))), 0, false);
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &dx));
    ry_tensor want[2] = {y, dx};
    assert_ok(ry_compile(&p, g, 2, want, NULL));
    float *data = calloc(N * C, sizeof *data);
    assert_non_null(data);
    assert_ok(ry_program_feed(p, 0, data, N * C * sizeof *data));
    assert_ok(ry_run(p));
    free(data);
    ry_program_plan(p, &info);
    double held = (double)(d->api->held(d) - before), planned = (double)info.peak;
    if (fabs(held - planned) > 0.02 * planned + 4096) fail_msg("%.0f bytes are held, %.0f were planned", held, planned);
    ry_program_close(p);
    ry_graph_close(g);
    ry_var_close(w);
    ry_device_close(d);
}

/* `rusty plan` for this device, which runs nothing on it, against what a training step then holds. */
static void training_as_planned(void **state) {
    static const char config[] = "hidden_size: 64\nintermediate_size: 128\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 2\n"
                                 "vocab_size: 500\nmax_position_embeddings: 128\ntie_word_embeddings: true\n";
    enum { B = 4, T = 64 };
    (void)state;
    assert_ok(os_file_write("test_gpu_programs.yaml", config, sizeof config - 1));
    for (int accum = 1; accum < 3; accum++) {
        ry_train_options o = {.batch_size = B, .grad_accum = accum, .optimizer = "adamw", .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 1};
        ry_plan_info plan, cpu;
        ry_device *d;
        ry_model *m;
        train_step *s;
        int32_t ids[B * T];
        double loss, norm;
        for (int i = 0; i < B * T; i++) ids[i] = i * 7 % 500;
        assert_ok(ry_train_plan(&plan, "test_gpu_programs.yaml", 0, T, &o, RY_F32, dev[1]));
        assert_ok(ry_train_plan(&cpu, "test_gpu_programs.yaml", 0, T, &o, RY_F32, NULL));
        assert_int_equal(plan.weights, cpu.weights);
        assert_ok(ry_device_open(&d, "webgpu", NULL));
        assert_ok(ry_model_init(&m, d, "test_gpu_programs.yaml", 0, 1, &(ry_model_options){.master_f32 = true}));
        assert_ok(train_step_open(&s, m, &o, B, T));
        for (int k = 0; k < accum; k++) assert_ok(train_step_run(s, k, ids, ids, 1.0 / (B * T * accum), 1e-3, 1, &loss, &norm));
        double held = (double)d->api->held(d), planned = (double)plan.peak;
        if (fabs(held - planned) > 0.02 * planned) fail_msg("accumulation %d: %.0f bytes are held, %.0f were planned (%.0f of slab), %.0f for the CPU", accum, held, planned, (double)plan.slab, (double)cpu.peak);
        train_step_close(s);
        ry_model_close(m);
        ry_device_close(d);
    }
    os_remove_tree("test_gpu_programs.yaml");
}

static void lost_for_good(void **state) {
    (void)state;
    ry_device *d;
    setenv("RUSTY_FAULT", "device:2", 1);
    assert_ok(ry_device_open(&d, "webgpu", NULL));
    unsetenv("RUSTY_FAULT");
    ry_program *p = softmax_of(d, 5);
    check_softmax(p, 5, 1);
    float x[5 * 64] = {0}, y[5];
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    assert_is(RY_ELOST, ry_run(p));
    assert_non_null(strstr(ry_message(), "lost"));
    /* Nothing works on it any more, and nothing breaks. */
    assert_is(RY_ELOST, ry_program_feed(p, 0, x, sizeof x));
    assert_is(RY_ELOST, ry_run(p));
    assert_is(RY_ELOST, ry_fetch(p, 0, y, sizeof y));
    ry_program_close(p);
    ry_var *v = NULL;
    assert_is(RY_ELOST, ry_var_open(&v, d, &RY_SHAPE(RY_F32, 4), "v"));
    ry_device_close(d);
    /* Another one does. */
    assert_ok(ry_device_open(&d, "webgpu", NULL));
    p = softmax_of(d, 5);
    check_softmax(p, 5, 1);
    ry_program_close(p);
    ry_device_close(d);
}

int main(void) {
    if (ry_device_open(&dev[1], "webgpu", NULL) != RY_OK) {
        printf("skipped: %s\n", ry_message());
        return 77;
    }
    setenv("RUSTY_WEBGPU_LIMITS", "default", 1);
    setenv("RUSTY_WEBGPU_FEATURES", "none", 1);
    if (ry_device_open(&dev[0], "cpu", NULL) != RY_OK || ry_device_open(&dev[2], "webgpu", NULL) != RY_OK) return 1;
    unsetenv("RUSTY_WEBGPU_LIMITS");
    unsetenv("RUSTY_WEBGPU_FEATURES");
    const struct CMUnitTest tests[] = {cmocka_unit_test(operands_as_they_lie), cmocka_unit_test(many_sources), cmocka_unit_test(the_slab_grows), cmocka_unit_test(two_threads),
                                       cmocka_unit_test(profile_and_trace), cmocka_unit_test(first_not_finite), cmocka_unit_test(held_as_planned), cmocka_unit_test(training_as_planned), cmocka_unit_test(lost_for_good)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int k = 0; k < 3; k++) ry_device_close(dev[k]);
    if (ry_mem_live()) printf("%zu bytes are held at the end\n", ry_mem_live());
    return failed + (ry_mem_live() != 0);
}
