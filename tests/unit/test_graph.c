/* test_graph.c - building graphs: shapes and views, messages that name the place, the first error, stale handles, versions of variables,
 * and rows of an application's own. */
#include "core/graph.h"
#include "unit/graph_fixture.h"
#include <rusty/ops.h>
#include <stdio.h>
#include <string.h>

static ry_tensor input(ry_graph *g, int64_t n, int64_t m) { return ry_input(g, &RY_SHAPE(RY_F32, n, m), "x"); }
/* The graph has failed with this status, the message holds the words; then begins anew. */
static void failed(ry_graph *g, ry_status st, const char *words, const char *file, int line) {
    ry_status got = ry_graph_status(g);
    if (got != st || !strstr(ry_message(), words)) {
        print_error("%s '%s', expected %s with '%s'\n", ry_status_name(got), ry_message(), ry_status_name(st), words);
        _fail(file, line);
    }
    ry_graph_reset(g);
}
#define FAILED(st, words) failed(g, st, words, __FILE__, __LINE__)

/* ---- shapes, strides, dense copies ---- */

static void check_value(ry_graph *g, ry_tensor t, int rank, const int64_t *dim, const int64_t *stride, int64_t offset,
                        const char *base) {
    const ry_value *v = ry_value_of(g, t);
    assert_non_null(v);
    assert_int_equal(v->spec.rank, rank);
    assert_memory_equal(v->spec.dim, dim, (size_t)rank * sizeof *dim);
    assert_memory_equal(v->stride, stride, (size_t)rank * sizeof *stride);
    assert_int_equal(v->offset, offset);
    assert_string_equal(v->base->node->op->name, base);
}
#define D(...) ((int64_t[]){__VA_ARGS__})

static void test_views(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 2, 3, 4), "x");
    check_value(g, x, 3, D(2, 3, 4), D(12, 4, 1), 0, "input");
    ry_tensor t = ry_permute(g, x, (int[]){2, 0, 1});
    check_value(g, t, 3, D(4, 2, 3), D(1, 12, 4), 0, "input");
    check_value(g, ry_slice(g, t, 0, 3, 0, -2), 3, D(2, 2, 3), D(-2, 12, 4), 3, "input");
    check_value(g, ry_slice(g, x, 1, -2, 100, 1), 3, D(2, 2, 4), D(12, 4, 1), 4, "input");
    check_value(g, ry_expand(g, ry_slice(g, x, 0, 1, 2, 1), 4, D(5, 7, 3, 4)), 4, D(5, 7, 3, 4), D(0, 0, 4, 1), 12,
                "input");
    check_value(g, RY_RESHAPE(g, x, -1, 2, 2), 3, D(6, 2, 2), D(4, 2, 1), 0, "input");
    check_value(g, RY_RESHAPE(g, ry_slice(g, x, 2, 0, 4, 2), 6, 2), 2, D(6, 2), D(4, 2), 0,
                "input"); /* strides say it */
    check_value(g, RY_RESHAPE(g, t, 4, 6), 2, D(4, 6), D(1, 4), 0, "input");
    size_t before = g->nodes.n;
    check_value(g, RY_RESHAPE(g, t, 8, 3), 2, D(8, 3), D(3, 1), 0, "contiguous"); /* they cannot: made dense first */
    assert_int_equal(g->nodes.n, before + 2);
    assert_true(ry_reshape(g, x, 3, D(2, 3, 4)).id == x.id && ry_transpose(g, x, 1, 1).id == x.id); /* nothing to do */
    assert_ok(ry_graph_status(g));
}

/* Rows get the strides they can take. */
static void test_dense(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 4, 6), t = ry_transpose(g, x, 0, 1);
    assert_string_equal(ry_node_of(g, ry_exp(g, t))->src[0]->node->op->name, "permute");
    assert_string_equal(
        ry_node_of(g, ry_embedding(g, t, ry_iota(g, &RY_SHAPE(RY_I32, 2), 0, 0, 1)))->src[0]->node->op->name,
        "contiguous");
    assert_string_equal(
        ry_node_of(g, ry_embedding(g, x, ry_iota(g, &RY_SHAPE(RY_I32, 2), 0, 0, 1)))->src[0]->node->op->name, "input");
    ry_tensor one = ry_transpose(g, ry_slice(g, x, 0, 0, 1, 1), 0, 1); /* [6,1]: dense, for dims of 1 do not count */
    assert_string_equal(
        ry_node_of(g, ry_embedding(g, one, ry_iota(g, &RY_SHAPE(RY_I32, 2), 0, 0, 1)))->src[0]->node->op->name,
        "permute");
    assert_ok(ry_graph_status(g));
}

/* ---- errors ---- */

static void test_messages(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *w;
    assert_ok(ry_var_open(&w, f->dev, &RY_SHAPE(RY_F32, 64), "model.layers.3.input_layernorm.weight"));
    assert_true(ry_is_null(ry_rms_norm(g, ry_name(g, input(g, 2, 128), "hidden"), ry_use(g, w), 1e-5)));
    assert_is(RY_ESHAPE, ry_graph_status(g));
    assert_string_equal(
        ry_message(),
        "rms_norm: w is [64] f32, x [2,128] f32 needs floats [128] (model.layers.3.input_layernorm.weight)");
    ry_graph_reset(g);
    ry_add(g, ry_name(g, input(g, 2, 3), "left"), ry_name(g, input(g, 3, 2), "right"));
    FAILED(RY_ESHAPE, "add: ");
    ry_matmul(g, input(g, 2, 3), input(g, 4, 5));
    FAILED(RY_ESHAPE, "matmul: ");
    RY_RESHAPE(g, input(g, 2, 3), 4, 2);
    FAILED(RY_ESHAPE, "[4,2]");
    ry_input(g, &RY_SHAPE(RY_F32, 3, -1), "ids");
    FAILED(RY_EARG, "ids: ");
    ry_input(g, &RY_SHAPE(RY_F32, INT64_MAX, 2), "huge");
    FAILED(RY_EARG, "huge: ");
    ry_input(g, &RY_SHAPE(RY_F32, INT64_MAX / 2), "huge");
    FAILED(RY_EARG, "more bytes than can be counted");
    ry_input(g, &(ry_spec){.dtype = RY_F32, .rank = 9}, "deep");
    FAILED(RY_EARG, "deep");
    ry_input(g, &RY_SHAPE(RY_NONE, 3), "untyped");
    FAILED(RY_EARG, "dtype");
    ry_input(g, &RY_SHAPE(RY_Q8_0, 2, 33), "blocks");
    FAILED(RY_ESHAPE, "multiple of 32");
    ry_tensor x =
        ry_expand(g, ry_scalar(g, 1), 2, D(1 << 20, 1 << 20)); /* a view may be large; its dense copy is counted */
    ry_expand(g, x, 8, D(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1, 1, 1, 1));
    assert_true(ry_graph_status(g) != RY_OK);
    ry_graph_reset(g);
    ry_var_close(w);
}

static void test_sticky(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_program *p = NULL;
    ry_tensor x = input(g, 2, 3), y = ry_matmul(g, x, x), z = ry_softmax(g, ry_add(g, x, y), 5), gx;
    assert_true(ry_is_null(y) && ry_is_null(z) && ry_is_null(ry_input(g, ry_spec_of(g, x), "more")) &&
                ry_is_null(ry_scalar(g, 1)));
    assert_true(ry_is_null(ry_out(g, y, 0)));
    ry_fail(RY_EIO, "something else");
    assert_is(RY_ESHAPE, ry_compile(&p, g, 1, &z, NULL));
    assert_non_null(strstr(ry_message(), "matmul: "));
    assert_is(RY_ESHAPE, ry_eval(g, 1, &z, 0, NULL));
    assert_is(RY_ESHAPE, ry_grad(g, z, RY_NULL, 1, &x, &gx));
    assert_true(ry_is_null(gx) && !p);
    FAILED(RY_ESHAPE, "matmul: ");
    assert_ok(ry_graph_status(g));
    assert_ok(ry_compile(&p, g, 1, (ry_tensor[]){ry_exp(g, input(g, 1, 1))}, NULL));
    ry_program_close(p);
}

static void test_null_and_stale(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g, *other;
    ry_tensor x = input(g, 2, 3);
    ry_add(g, x, RY_NULL);
    FAILED(RY_EARG, "add: source 1 is null");
    assert_null(ry_spec_of(g, x));
    assert_null(ry_value_of(g, x));
    assert_null(ry_node_of(g, RY_NULL));
    ry_exp(g, x);
    FAILED(RY_ESTALE, "exp: source 0");
    assert_ok(ry_graph_open(&other, f->dev));
    x = input(other, 2, 3);
    ry_exp(g, x);
    FAILED(RY_ESTALE, "another graph");
    ry_graph_close(other);
    ry_exp(g, x);
    FAILED(RY_ESTALE, "another graph");
    ry_out(g, x, 0);
    FAILED(RY_ESTALE, "ry_out");
    ry_out(g, input(g, 2, 2), 1);
    FAILED(RY_EARG, "1 outputs, no output 1");
    ry_out(g, input(g, 2, 2), -1);
    FAILED(RY_EARG, "ry_out");
    x = input(g, 2, 2);
    ry_exp(g, (ry_tensor){x.id + 4000, x.gen}); /* no such node */
    FAILED(RY_ESTALE, "exp");
    x = input(g, 2, 2);
    ry_exp(g, (ry_tensor){x.id + 1, x.gen}); /* no such output */
    FAILED(RY_ESTALE, "exp");
    assert_true(ry_is_null(ry_name(g, RY_NULL, "nobody")));
    x = input(g, 2, 2);
    assert_true(ry_name(g, x, NULL).id == x.id);
    ry_use(g, NULL);
    FAILED(RY_EARG, "ry_use");
    ry_apply(g, NULL, 1, &x, NULL);
    FAILED(RY_EARG, "no such operator");
    x = input(g, 2, 2);
    ry_apply(g, ry_op_find("exp"), 2, (ry_tensor[]){x, x}, NULL);
    FAILED(RY_EARG, "exp takes 1 to 1 sources, not 2");
    ry_apply(g, ry_op_find("input"), 0, NULL, NULL);
    FAILED(RY_EARG, "no such operator");
    ry_apply(g, &graph_input_row, 0, NULL, NULL);
    FAILED(RY_EARG, "ry_input");
    assert_is(RY_EARG, ry_graph_open(&other, NULL));
}

/* Sources that may be left out. */
static void test_optional(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    ry_tensor x = input(g, 2, 3), y = ry_rms_norm(g, x, RY_NULL, 1e-5);
    const ry_node *n = ry_node_of(g, y);
    assert_non_null(n);
    assert_null(n->src[1]);
    assert_true(ry_is_null(ry_src(g, n, 1)) && ry_is_null(ry_src(g, n, 7)) && !ry_is_null(ry_src(g, n, 0)));
    assert_true(ry_is_null(ry_linear(g, RY_NULL, x, RY_NULL)));
    FAILED(RY_EARG, "source 0 is null");
}

static void test_fill(void **state) {
    ry_graph *g = ((fixture *)*state)->g;
    double v = 0;
    assert_true(ry_is_fill(g, ry_expand(g, ry_scalar(g, 2.5), 2, D(3, 3)), &v) && v == 2.5);
    assert_false(ry_is_fill(g, input(g, 1, 1), &v));
    assert_false(ry_is_fill(g, RY_NULL, &v));
}

/* ---- variables and their versions ---- */

static void test_versions(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v, *far;
    ry_device *dev2;
    float data[4] = {1, 2, 3, 4}, y[4];
    assert_ok(ry_var_open(&v, f->dev, &RY_SHAPE(RY_F32, 4), "w"));
    assert_ok(ry_var_write(v, data, sizeof data));
    ry_tensor v0 = ry_use(g, v);
    assert_true(ry_use(g, v).id == v0.id);
    ry_tensor v1 = ry_add_into(g, v, v0), v2 = ry_assign(g, v, ry_exp(g, v1));
    assert_int_equal(ry_value_of(g, v0)->version, 0);
    assert_int_equal(ry_value_of(g, v1)->version, 1);
    assert_int_equal(ry_value_of(g, v2)->version, 2);
    assert_true(ry_use(g, v).id == v2.id);
    assert_string_equal(ry_value_of(g, v2)->name, "w");
    const ry_value *view = ry_value_of(g, ry_slice(g, v1, 0, 1, 3, 1)); /* a view of a version is of that version */
    assert_true(view->var == v && view->version == 1);
    /* Only the newest version can be written. */
    ry_apply(g, ry_op_find("add_into"), 2, (ry_tensor[]){v1, v1}, NULL);
    FAILED(RY_EARG, "newest version (w)");
    ry_apply(g, ry_op_find("add_into"), 2,
             (ry_tensor[]){ry_input(g, &RY_SHAPE(RY_F32, 4), "x"), ry_input(g, &RY_SHAPE(RY_F32, 4), "y")}, NULL);
    FAILED(RY_EARG, "whole variable");
    v0 = ry_use(g, v);
    ry_apply(g, ry_op_find("add_into"), 2,
             (ry_tensor[]){ry_slice(g, v0, 0, 0, 2, 1), ry_input(g, &RY_SHAPE(RY_F32, 2), "y")}, NULL);
    FAILED(RY_EARG, "whole variable");
    assert_ok(ry_device_open(&dev2, "cpu", &(ry_device_options){.threads = 1}));
    assert_ok(ry_var_open(&far, dev2, &RY_SHAPE(RY_F32, 4), "elsewhere"));
    ry_use(g, far);
    FAILED(RY_EARG, "elsewhere");
    ry_var_close(far);
    ry_device_close(dev2);
    /* All readers of a version run before its writer, however they were built; and nothing was written above. */
    v0 = ry_use(g, v);
    v1 = ry_add_into(g, v, ry_fill(g, ry_var_spec(v), 1));
    ry_tensor late = ry_cumsum(g, v0, 0, false, false), want[3] = {late, v1, v0};
    assert_ok(ry_eval(g, 3, want, 0, NULL));
    assert_ok(ry_read(g, late, y, sizeof y));
    assert_true(y[0] == 1 && y[3] == 10);
    assert_ok(ry_read(g, v1, y, sizeof y));
    assert_true(y[0] == 2 && y[3] == 5);
    assert_ok(ry_read(g, v0, y, sizeof y));
    assert_true(y[0] == 1 && y[3] == 4);
    ry_graph_reset(g); /* a new step begins with what lies there */
    assert_ok(ry_eval(g, 1, (ry_tensor[]){v0 = ry_use(g, v)}, 0, NULL));
    assert_ok(ry_read(g, v0, y, sizeof y));
    assert_true(y[0] == 2);
    ry_var_close(v);
}

/* A write that reads the same variable elsewhere sees it as it was. */
static void test_write_from_itself(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v;
    float data[8] = {0, 1, 2, 3, 4, 5, 6, 7}, y[8];
    assert_ok(ry_var_open(&v, f->dev, &RY_SHAPE(RY_F32, 4, 2), "cache"));
    assert_ok(ry_var_write(v, data, sizeof data));
    ry_tensor t =
        ry_set_rows(g, v, ry_slice(g, ry_use(g, v), 0, 0, 3, 1), ry_iota(g, &RY_SHAPE(RY_I32, 3), 0, 1, 1), 0);
    assert_ok(ry_eval(g, 1, &t, 0, NULL));
    assert_ok(ry_read(g, t, y, sizeof y));
    static const float moved[8] = {0, 1, 0, 1, 2, 3, 4, 5};
    assert_memory_equal(y, moved, sizeof y);
    ry_graph_reset(g);
    assert_ok(ry_eval(g, 1, (ry_tensor[]){t = ry_add_into(g, v, ry_slice(g, ry_use(g, v), 0, -1, -5, -1))}, 0, NULL));
    assert_ok(ry_read(g, t, y, sizeof y));
    static const float sum[8] = {4, 6, 2, 4, 2, 4, 4, 6};
    assert_memory_equal(y, sum, sizeof y);
    ry_var_close(v);
}

/* ---- rows of an application's own ---- */

typedef struct cube_args {
    double scale;
    int64_t calls;
} cube_args;
static const ry_arg cube_fields[] = {
    RY_ARG(cube_args, scale, RY_ARG_F64), RY_ARG_DYN(cube_args, calls, RY_ARG_I64), {0}};
static ry_status cube_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    if (n->src[0]->spec.dtype != RY_F32)
        return ry_fail_node(n, RY_EDTYPE, "x is %s, f32 is needed", ry_show(&n->src[0]->spec).s);
    out[0] = n->src[0]->spec;
    return RY_OK;
}
static ry_status cube_cpu(const ry_cpu *c) {
    const float *x = c->src[0];
    float *y = c->out[0];
    const cube_args *a = c->args;
    for (int64_t i = 0; i < ry_count(&c->n->out[0].spec); i++)
        y[i] = (float)a->scale * x[i] * x[i] * x[i] + (float)a->calls;
    return RY_OK;
}
static ry_status cube_vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const cube_args *a = n->args;
    gx[0] = ry_mul(g, gy[0], ry_mul(g, ry_square(g, ry_src(g, n, 0)), ry_scalar(g, 3 * a->scale)));
    return RY_OK;
}

static void test_own_row(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    static const ry_op cube = {.name = "test_cube",
                               .doc = "x -> scale x^3",
                               .arg_size = sizeof(cube_args),
                               .args = cube_fields,
                               .min_src = 1,
                               .max_src = 1,
                               .infer = cube_infer,
                               .cpu = cube_cpu,
                               .vjp = cube_vjp};
    static const ry_op unnamed = {.infer = cube_infer, .cpu = cube_cpu, .max_src = 1},
                       idle = {.name = "idle", .infer = cube_infer, .max_src = 1},
                       wide = {.name = "wide", .infer = cube_infer, .cpu = cube_cpu, .max_src = RY_MAX_SRC + 1},
                       taken = {.name = "exp", .infer = cube_infer, .cpu = cube_cpu, .max_src = 1};
    assert_null(ry_op_find("test_cube"));
    assert_is(RY_EARG, ry_op_add(NULL));
    assert_is(RY_EARG, ry_op_add(&unnamed));
    assert_is(RY_EARG, ry_op_add(&idle));
    assert_is(RY_EARG, ry_op_add(&wide));
    assert_is(RY_EARG, ry_op_add(&taken));
    assert_ok(ry_op_add(&cube));
    assert_is(RY_EARG, ry_op_add(&cube));
    assert_ptr_equal(ry_op_find("test_cube"), &cube);
    size_t n = 0;
    bool listed = false;
    for (; ry_op_at(n); n++) listed |= ry_op_at(n) == &cube;
    assert_true(listed && ry_op_at(n - 1) == &cube);
    ry_tensor x = input(g, 1, 3), y = ry_apply(g, ry_op_find("test_cube"), 1, &x, &(cube_args){.scale = 2}),
              s = ry_exp(g, ry_mul(g, y, ry_scalar(g, 0))), gx;
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &gx));
    ry_program *p;
    float in[3] = {1, 2, -1}, out[3];
    assert_ok(ry_compile(&p, g, 3, (ry_tensor[]){y, gx, s}, NULL));
    assert_ok(ry_program_feed(p, 0, in, sizeof in));
    assert_ok(ry_program_set(p, "calls", 5));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, out, sizeof out));
    assert_true(out[0] == 7 && out[1] == 21 && out[2] == 3);
    assert_ok(ry_fetch(p, 1, out, sizeof out));
    assert_true(out[0] == 6 && out[1] == 24 && out[2] == 6);
    ry_program_close(p);
    ry_apply(g, &cube, 1, (ry_tensor[]){ry_name(g, ry_input(g, &RY_SHAPE(RY_I32, 3), NULL), "counts")}, NULL);
    FAILED(RY_EDTYPE, "test_cube: x is [3] i32, f32 is needed (counts)");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_views),  T(test_dense),          T(test_messages),
                                       T(test_sticky), T(test_null_and_stale), T(test_optional),
                                       T(test_fill),   T(test_versions),       T(test_write_from_itself),
                                       T(test_own_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
