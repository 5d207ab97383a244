/* test_program.c - running programs: ry_eval and its kept program, feeds, ry_read, ry_keep, lasting values, errors that depend on values. */
#include "core/graph.h"
#include "core/program.h"
#include "unit/graph_fixture.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <string.h>

/* Inputs are numbered as they were created, used or not. */
static void test_input_order(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_program *p;
    float a = 5, b[2] = {3, 4}, y[2];
    ry_tensor x = ry_input(g, &(ry_spec){.dtype = RY_F32}, "a"), unused = ry_input(g, &RY_SHAPE(RY_I64, 3), "unused"),
              z = ry_input(g, &RY_SHAPE(RY_F32, 2), "b");
    ry_tensor t = ry_sub(g, z, x);
    assert_ok(ry_compile(&p, g, 1, &t, NULL));
    assert_ok(ry_program_feed(p, 2, b, sizeof b));
    assert_ok(ry_program_feed(p, 0, &a, sizeof a));
    assert_ok(ry_program_feed(p, 1, (int64_t[3]){0}, 24));
    assert_is(RY_EARG, ry_program_feed(p, 1, b, sizeof b));
    assert_non_null(strstr(ry_message(), "24 bytes"));
    assert_is(RY_EARG, ry_program_feed(p, 3, b, sizeof b));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, sizeof y));
    assert_true(y[0] == -2 && y[1] == -1 && !ry_is_null(unused));
    ry_program_close(p);
}

static float one(ry_graph *g, ry_tensor t) {
    float y;
    assert_ok(ry_read(g, t, &y, sizeof y));
    return y;
}

static void test_eval(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_program *kept = NULL;
    for (int step = 0; step < 4; step++) { /* the same step again and again: one program, new data, new rates */
        float x[3] = {1, 2, (float)step};
        ry_graph_reset(g);
        ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 3), "x"), y = ry_sum(g, in, 0, false),
                  d = ry_dropout(g, in, 0.5, (uint64_t)step, 0), want[2] = {y, d};
        assert_ok(ry_eval(g, 2, want, 1, &(ry_feed){in, x, sizeof x}));
        assert_true(one(g, y) == 3 + (float)step);
        if (step == 0) kept = g->last;
        assert_ptr_equal(g->last, kept);
        assert_is(RY_EARG, ry_read(g, in, x, sizeof x)); /* it was not wanted */
        assert_is(RY_EARG, ry_read(g, y, x, sizeof x));  /* too much room */
    }
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 3), "x"), y = ry_amax(g, in, 0, false);
    float x[3] = {1, 7, 3};
    assert_is(RY_EARG, ry_eval(g, 1, &y, 1, &(ry_feed){y, x, sizeof x}));
    assert_non_null(strstr(ry_message(), "not an input"));
    assert_is(RY_EARG, ry_eval(g, 1, &y, 1, &(ry_feed){in, x, 4}));
    ry_graph_reset(g);
    assert_is(RY_ESTALE, ry_read(g, y, x, 4));
    assert_is(RY_ESTALE, ry_eval(g, 1, &y, 0, NULL));
}

/* Evaluating twice in one step: what was wanted last can be read. */
static void test_eval_twice(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor a = ry_fill(g, &RY_SHAPE(RY_F32, 1), 2), b = ry_exp2(g, a), c = ry_add(g, b, b);
    assert_ok(ry_eval(g, 1, &b, 0, NULL));
    assert_true(one(g, b) == 4);
    assert_ok(ry_eval(g, 2, (ry_tensor[]){c, a}, 0, NULL));
    assert_true(one(g, c) == 8 && one(g, a) == 2);
    float y;
    assert_is(RY_EARG, ry_read(g, b, &y, sizeof y));
}

static void test_keep(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v = NULL, *w = NULL;
    float y[4], x[4] = {1, 2, 3, 4};
    ry_tensor t = ry_iota(g, &RY_SHAPE(RY_F32, 2, 2), 1, 5, 1);
    assert_ok(ry_keep(&v, g, ry_transpose(g, t, 0, 1), "kept")); /* evaluated at need */
    ry_graph_reset(g);
    assert_ok(ry_var_read(v, y, sizeof y));
    assert_true(y[0] == 5 && y[1] == 5 && y[2] == 6 && y[3] == 6);
    assert_string_equal(ry_var_name(v), "kept");
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 2, 2), "x"), sum = ry_add(g, in, ry_use(g, v));
    assert_is(RY_EARG, ry_keep(&w, g, sum, "sum")); /* what should the input be? */
    assert_null(w);
    assert_ok(ry_eval(g, 1, &sum, 1, &(ry_feed){in, x, sizeof x}));
    assert_ok(ry_keep(&w, g, sum, "sum"));
    assert_ok(ry_var_read(w, y, sizeof y));
    assert_true(y[0] == 6 && y[3] == 10);
    ry_graph_reset(g);
    ry_var_close(w);
    w = NULL;
    assert_is(RY_ESTALE, ry_keep(&w, g, sum, "sum"));
    assert_null(w);
    ry_var_close(v);
}

/* An index that no row has is an error of the run, by name; the program can run again. */
static void test_checked(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_program *p;
    float w[6] = {1, 2, 3, 4, 5, 6}, y[4];
    int32_t ids[2] = {0, 3};
    ry_tensor table = ry_input(g, &RY_SHAPE(RY_F32, 3, 2), "embed_tokens"),
              t = ry_embedding(g, table, ry_input(g, &RY_SHAPE(RY_I32, 2), NULL));
    assert_ok(ry_compile(&p, g, 1, &t, NULL));
    assert_ok(ry_program_feed(p, 0, w, sizeof w));
    assert_ok(ry_program_feed(p, 1, ids, sizeof ids));
    ry_status st = ry_run(p);
    assert_true(st != RY_OK);
    assert_non_null(strstr(ry_message(), "embed_tokens"));
    assert_non_null(strstr(ry_message(), "3"));
    ids[1] = 2;
    assert_ok(ry_program_feed(p, 1, ids, sizeof ids));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, sizeof y));
    assert_true(y[2] == 5);
    ry_program_close(p);
}

/* Nothing wanted, nothing in it, numbers that no field can hold. */
static void test_nothing(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_program *p;
    float x[3] = {1, 2, 3}, y[3];
    assert_ok(ry_compile(&p, g, 0, NULL, NULL));
    assert_ok(ry_run(p));
    ry_program_close(p);
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 0, 3), "empty"), e = ry_exp(g, in),
              s = ry_sum(g, e, RY_AXIS(0), false);
    assert_ok(ry_compile(&p, g, 2, (ry_tensor[]){e, s}, NULL));
    assert_ok(ry_program_feed(p, 0, NULL, 0));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, NULL, 0));
    assert_ok(ry_fetch(p, 1, y, sizeof y));
    assert_true(y[0] == 0 && y[2] == 0);
    ry_program_close(p);
    ry_graph_reset(g);
    in = ry_input(g, &RY_SHAPE(RY_F32, 3), "x");
    ry_tensor d = ry_dropout(g, in, 0.5, 5, 0);
    assert_ok(ry_compile(&p, g, 1, &d, NULL));
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    static const double odd[] = {-1, 1e30, (double)NAN, (double)INFINITY, -(double)INFINITY, 0.5};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_ok(ry_program_set(p, "seed", odd[i]));
        assert_ok(ry_run(p));
        assert_ok(ry_fetch(p, 0, y, sizeof y));
        for (int k = 0; k < 3; k++) assert_true(y[k] == 0 || y[k] == 2 * x[k]);
    }
    ry_program_close(p);
}

/* A run that ends after it has begun to write: nobody may take its variables for whole. */
static void test_half_way(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_program *p;
    ry_var *v;
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 2), "x");
    assert_ok(ry_var_open(&v, f->dev, &RY_SHAPE(RY_F32, 2), "v"));
    ry_tensor next = ry_add_into(g, v, x), ids = ry_cast(g, next, RY_I32),
              e = ry_embedding(g, ry_fill(g, &RY_SHAPE(RY_F32, 3, 2), 1), ids);
    assert_ok(ry_compile(&p, g, 1, &e, NULL));
    assert_ok(ry_program_feed(p, 0, (float[2]){1, 2}, 8));
    assert_ok(ry_run(p));
    assert_true(ry_run(p) != RY_OK); /* 4 is no row */
    assert_is(RY_ELOST, ry_run(p));
    assert_non_null(strstr(ry_message(), "half-way"));
    ry_program_close(p);
    ry_var_close(v);
}

static int released;
static void release(void *ud) { released += *(int *)ud; }

static void test_vars(void **state) {
    fixture *f = *state;
    ry_var *v;
    float x[3] = {1, 2, 3}, y[3];
    int two = 2;
    static _Alignas(64) char own[64];
    assert_ok(ry_var_open(&v, f->dev, &RY_SHAPE(RY_F32, 3), NULL));
    assert_string_equal(ry_var_name(v), "");
    assert_ok(ry_var_read(v, y, sizeof y));
    assert_true(y[0] == 0 && y[2] == 0);
    assert_is(RY_EARG, ry_var_write(v, x, 8));
    assert_is(RY_EARG, ry_var_read(NULL, x, 8));
    assert_ok(ry_var_write(v, x, sizeof x));
    assert_ok(ry_var_read(v, y, sizeof y));
    assert_memory_equal(x, y, sizeof x);
    ry_var_close(v);
    ry_var_close(NULL);
    for (int shift = 0; shift < 2; shift++) { /* in place where aligned, else a copy; released once either way */
        released = 0;
        memcpy(own + shift, (float[]){0, 1, 2, 3}, 16);
        assert_ok(ry_var_wrap(&v, f->dev, &RY_SHAPE(RY_F32, 4), "mapped", own + shift, release, &two));
        assert_true((v->buf.at == own + shift) == (shift == 0));
        ry_graph_reset(f->g);
        ry_tensor t = ry_sum(f->g, ry_use(f->g, v), 0, false);
        assert_ok(ry_eval(f->g, 1, &t, 0, NULL));
        assert_true(one(f->g, t) == 6);
        ry_var_close(v);
        assert_int_equal(released, 2);
    }
    v = NULL;
    assert_is(RY_EARG, ry_var_open(&v, f->dev, &RY_SHAPE(RY_F32, -3), "negative"));
    assert_is(RY_EARG, ry_var_open(&v, NULL, &RY_SHAPE(RY_F32, 3), "nowhere"));
    assert_null(v);
}

static void test_devices(void **state) {
    (void)state;
    ry_device *d = NULL;
    ry_device_info info;
    assert_is(RY_ENOENT, ry_device_open(&d, "tpu", NULL));
    assert_non_null(strstr(ry_message(), "cpu") && strstr(ry_message(), "null") ? ry_message() : NULL);
    assert_is(RY_ENOENT, ry_device_open(&d, "cpu:7", NULL));
    assert_is(RY_EARG, ry_device_open(&d, "cpu:x", NULL));
    assert_is(RY_EARG, ry_device_open(&d, "cpu", &(ry_device_options){.threads = -1}));
    assert_null(d);
    for (size_t i = 0; i < ry_device_count(); i++) {
        assert_ok(ry_device_list(i, &info));
        assert_true(info.name[0] && info.backend[0] && info.type[0] && info.device[0]);
    }
    assert_is(RY_ENOENT, ry_device_list(ry_device_count(), &info));
    bool cpu = false;
    size_t backends = 0;
    for (; ry_backend_name(backends); backends++)
        if (!strcmp(ry_backend_name(backends), "cpu")) {
            assert_ok(ry_backend_check(backends));
            cpu = true;
        }
    assert_true(cpu);
    assert_is(RY_EARG, ry_backend_check(backends));
    assert_ok(ry_device_open(&d, NULL, &(ry_device_options){.threads = 3}));
    ry_device_describe(d, &info);
    if (!strcmp(info.backend, "cpu")) assert_int_equal(info.threads, 3);
    ry_device_close(d);
    ry_device_close(NULL);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_input_order), T(test_eval),    T(test_eval_twice),
                                       T(test_keep),        T(test_checked), T(test_nothing),
                                       T(test_half_way),    T(test_vars),    T(test_devices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
