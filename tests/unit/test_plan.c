/* test_plan.c - plans: what is dropped, merged, fused, reused, recomputed and cached; that none of it changes a bit; and what running
 * one costs the host. */
#include "base/os.h"
#include "core/chain.h"
#include "io/json.h"
#include "unit/graph_fixture.h"
#include "unit/plan_fuzz.h"

static ry_program *compile(ry_graph *g, size_t n, const ry_tensor *want, ry_compile_options o) {
    ry_program *p = NULL;
    assert_ok(ry_compile(&p, g, n, want, &o));
    return p;
}
static ry_plan_info info_of(ry_graph *g, size_t n, const ry_tensor *want, ry_compile_options o) {
    ry_program *p = compile(g, n, want, o);
    ry_plan_info i;
    fuzz_slab unused = {0};
    ry_program_plan(p, &i);
    const char *wrong = fuzz_check_plan(p->plan, &unused);
    if (wrong) fail_msg("%s", wrong);
    ry_program_close(p);
    return i;
}
static ry_tensor input(ry_graph *g, int64_t n, int64_t m) { return ry_input(g, &RY_SHAPE(RY_F32, n, m), "x"); }
static ry_var *var_of(ry_device *d, int64_t n, float first) { /* first, first + 1, .. */
    ry_var *v;
    float x[64];
    assert_ok(ry_var_open(&v, d, &RY_SHAPE(RY_F32, n), "v"));
    for (int64_t i = 0; i < n; i++) x[i] = first + (float)i;
    assert_ok(ry_var_write(v, x, (size_t)n * sizeof *x));
    return v;
}

/* ---- what is left out ---- */

static void test_dead_and_equal(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_tensor x = input(g, 2, 3), a = ry_cumsum(g, x, 1, false, false), b = ry_cumsum(g, x, 1, false, false),
              c = ry_cumsum(g, x, 1, true, false);
    ry_tensor dead = ry_softmax(g, ry_cumsum(g, x, 0, false, false), 1);
    ry_tensor y = ry_concat(g, 3, (ry_tensor[]){a, b, c}, 0);
    ry_plan_info i = info_of(g, 1, &y, (ry_compile_options){0}),
                 all = info_of(g, 1, &y, (ry_compile_options){.no_cse = true});
    assert_int_equal(i.nodes, 3); /* two sums and the concat; the leaf is no step */
    assert_int_equal(all.nodes, 4);
    assert_int_equal(i.nodes_before, 5);
    ry_tensor both[2] = {y, dead};
    assert_int_equal(info_of(g, 2, both, (ry_compile_options){0}).nodes, 5);
}

/* Equal nodes that see different versions, have dynamic arguments, or write, stay apart. */
static void test_unequal(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v = var_of(f->dev, 4, 1);
    ry_tensor before = ry_cumsum(g, ry_use(g, v), 0, false, false), one = ry_fill(g, ry_var_spec(v), 1);
    ry_add_into(g, v, one);
    ry_add_into(g, v, one);
    ry_tensor after = ry_cumsum(g, ry_use(g, v), 0, false, false), want[2] = {before, after};
    ry_program *p = compile(g, 2, want, (ry_compile_options){0});
    float y[4], z[4], now[4];
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, sizeof y));
    assert_ok(ry_fetch(p, 1, z, sizeof z));
    assert_ok(ry_var_read(v, now, sizeof now));
    assert_true(y[3] == 1 + 2 + 3 + 4 && z[3] == 3 + 4 + 5 + 6 && now[0] == 3);
    ry_program_close(p);
    ry_graph_reset(g);
    ry_tensor x = input(g, 2, 3), d[2] = {ry_dropout(g, x, 0.5, 1, 0), ry_dropout(g, x, 0.5, 1, 0)};
    assert_int_equal(info_of(g, 2, d, (ry_compile_options){0}).nodes, 2);
    ry_var_close(v);
}

/* ---- fusion ---- */

static void test_chains(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_tensor x = input(g, 8, 5), row = ry_input(g, &RY_SHAPE(RY_F32, 5), "row"), column = input(g, 8, 1);
    /* A chain with broadcasts and immediates is one node that keeps nothing between. */
    ry_tensor y =
        ry_tanh(g, ry_add(g, ry_mul(g, ry_add(g, ry_mul(g, x, row), column), ry_scalar(g, 3)), ry_scalar(g, 1)));
    ry_plan_info i = info_of(g, 1, &y, (ry_compile_options){0});
    assert_int_equal(i.nodes, 1);
    assert_int_equal(i.fused, 4);
    assert_int_equal(i.slab, 0);
    assert_int_equal(info_of(g, 1, &y, (ry_compile_options){.no_fusion = true}).nodes, 7);
    /* A wanted link is a second output. */
    ry_tensor mid = ry_exp(g, x), two[2] = {mid, ry_neg(g, mid)};
    assert_int_equal(info_of(g, 2, two, (ry_compile_options){0}).nodes, 1);
    /* Siblings that read the same tensor make one pass. */
    ry_tensor side[3] = {ry_mul(g, x, row), ry_add(g, x, column), ry_relu(g, x)};
    assert_int_equal(info_of(g, 3, side, (ry_compile_options){0}).nodes, 1);
    /* A reduction between two links is no part of a chain. */
    ry_tensor s = ry_sub(g, x, ry_amax(g, ry_neg(g, x), RY_AXIS(1), true));
    assert_int_equal(info_of(g, 1, &s, (ry_compile_options){0}).nodes, 3);
    /* A transposed reader needs the value in memory, even where it is wanted too. */
    ry_tensor q = ry_exp(g, input(g, 4, 4)), t[2] = {q, ry_mul(g, q, ry_transpose(g, q, 0, 1))};
    assert_int_equal(info_of(g, 2, t, (ry_compile_options){0}).nodes, 2);
}

static void test_chain_limits(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    float x[12], y[12];
    for (int i = 0; i < 12; i++) x[i] = (float)i;
    ry_tensor t = input(g, 3, 4), z = t, in[20];
    for (int i = 0; i < 200; i++) z = ry_add(g, z, ry_scalar(g, i % 7)); /* longer than a fused node may be */
    ry_program *p = compile(g, 1, &z, (ry_compile_options){0});
    ry_plan_info i;
    ry_program_plan(p, &i);
    assert_in_range(i.nodes, 200 / RY_MAX_LINKS, 12);
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, sizeof y));
    float sum = 0;
    for (int k = 0; k < 200; k++) sum += (float)(k % 7);
    for (int k = 0; k < 12; k++) assert_true(y[k] == x[k] + sum);
    ry_program_close(p);
    ry_graph_reset(g);
    z = in[0] = input(g, 3, 4);
    for (int k = 1; k < 20; k++) z = ry_add(g, z, in[k] = input(g, 3, 4)); /* more sources than a node may have */
    p = compile(g, 1, &z, (ry_compile_options){0});
    for (size_t k = 0; k < 20; k++) assert_ok(ry_program_feed(p, k, x, sizeof x));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, sizeof y));
    for (int k = 0; k < 12; k++) assert_true(y[k] == 20 * x[k]);
    ry_program_plan(p, &i);
    assert_in_range(i.nodes, 2, 3);
    ry_program_close(p);
}

/* A chain that reads a variable ends before the variable's writer. */
static void test_deadline(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v = var_of(f->dev, 4, 1);
    ry_tensor x = ry_input(g, ry_var_spec(v), "x"), y = ry_mul(g, ry_use(g, v), ry_scalar(g, 10));
    ry_tensor next = ry_add_into(g, v, ry_cumsum(g, x, 0, false, false));
    ry_tensor z = ry_add(g, y, next); /* of both versions */
    ry_program *p = compile(g, 1, &z, (ry_compile_options){0});
    float one[4] = {1, 1, 1, 1}, out[4];
    for (int run = 0; run < 2; run++) {
        assert_ok(ry_program_feed(p, 0, one, sizeof one));
        assert_ok(ry_run(p));
        assert_ok(ry_fetch(p, 0, out, sizeof out));
        for (int i = 0; i < 4; i++) {
            float was = (float)(i + 1 + run * (i + 1));
            assert_true(out[i] == 10 * was + was + (float)(i + 1));
        }
    }
    ry_program_close(p);
    ry_var_close(v);
}

/* ---- memory ---- */

static void test_inplace(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    enum { N = 1 << 16 };
    ry_tensor x = input(g, 1, N), y = x;
    for (int i = 0; i < 10; i++) y = ry_tanh(g, y);
    assert_int_equal(info_of(g, 1, &y, (ry_compile_options){.no_fusion = true}).slab, N * 4);
    assert_int_equal(info_of(g, 1, &y, (ry_compile_options){.no_fusion = true, .no_inplace = true}).slab, 2 * N * 4);
    /* A fused node with two outputs takes the places of two sources that die in it. */
    ry_tensor a = ry_cumsum(g, x, 1, false, false), b = ry_cumsum(g, x, 1, true, false);
    ry_tensor p = ry_mul(g, a, b), q = ry_sub(g, a, b),
              want =
                  ry_concat(g, 2, (ry_tensor[]){ry_cumsum(g, p, 1, false, false), ry_cumsum(g, q, 1, false, false)}, 0);
    assert_int_equal(info_of(g, 1, &want, (ry_compile_options){0}).slab,
                     3 * N * 4); /* at the last sums: one is done, its source gone */
    /* What is read again later keeps its place. */
    ry_tensor s = ry_softmax(g, a, 1), both = ry_concat(g, 2, (ry_tensor[]){a, s}, 0);
    assert_int_equal(info_of(g, 1, &both, (ry_compile_options){0}).slab, 2 * N * 4);
}

/* Layers in recomputation scopes: less memory, the same bits. */
static void test_recompute(void **state) {
    fixture *f = *state;
    enum { LAYERS = 8, D = 24, R = 32 };
    ry_var *w[LAYERS];
    float data[D * D], out[2][1 + LAYERS][D * D], x[R * D];
    ry_plan_info info[2];
    fuzz_data(x, &RY_SHAPE(RY_F32, R, D), 5);
    for (int i = 0; i < LAYERS; i++) {
        assert_ok(ry_var_open(&w[i], f->dev, &RY_SHAPE(RY_F32, D, D), "w"));
        fuzz_data(data, &RY_SHAPE(RY_F32, D, D), (uint64_t)i);
        for (int k = 0; k < D * D; k++) data[k] /= 8;
        assert_ok(ry_var_write(w[i], data, sizeof data));
    }
    for (int scopes = 0; scopes < 2; scopes++) {
        ry_graph *g = f->g;
        ry_graph_reset(g);
        ry_tensor h = input(g, R, D), wt[LAYERS], want[1 + LAYERS];
        for (int i = 0; i < LAYERS; i++) {
            wt[i] = ry_use(g, w[i]);
            if (scopes) ry_recompute_begin(g);
            ry_tensor a = ry_dropout(g, ry_silu(g, ry_linear(g, ry_rms_norm(g, h, RY_NULL, 1e-5), wt[i], RY_NULL)),
                                     0.25, 9, (uint32_t)i);
            h = ry_add(g, h, ry_linear(g, ry_tanh(g, a), wt[i], RY_NULL));
            if (scopes) ry_recompute_end(g);
        }
        want[0] = ry_mean(g, ry_square(g, h), 0, false);
        assert_ok(ry_grad(g, want[0], RY_NULL, LAYERS, wt, want + 1));
        info[scopes] = info_of(g, 1 + LAYERS, want, (ry_compile_options){0});
        ry_program *p = compile(g, 1 + LAYERS, want, (ry_compile_options){0});
        assert_ok(ry_program_set(p, "seed", 1234)); /* reaches the clones too */
        assert_ok(ry_program_feed(p, 0, x, sizeof x));
        assert_ok(ry_run(p));
        assert_ok(ry_fetch(p, 0, out[scopes][0], 4));
        for (size_t i = 1; i <= LAYERS; i++) assert_ok(ry_fetch(p, i, out[scopes][i], sizeof data));
        ry_program_close(p);
    }
    assert_memory_equal(out[0][0], out[1][0], 4);
    assert_true(isfinite(out[0][0][0]) && out[0][1][0] != 0);
    for (int i = 1; i <= LAYERS; i++) assert_memory_equal(out[0][i], out[1][i], sizeof data);
    assert_true(info[1].slab * 2 < info[0].slab);
    assert_true(info[1].flops > info[0].flops);
    for (int i = 0; i < LAYERS; i++) ry_var_close(w[i]);
}

/* A long chain in one scope: nothing recurses. */
static void test_long_scope(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    enum { LONG = 10000 };
    float in[4] = {1, 2, 3, 4}, y[4];
    ry_tensor x = input(g, 2, 2), h = x, gx;
    ry_recompute_begin(g);
    for (int i = 0; i < LONG; i++) h = i % 3 ? ry_cumsum(g, h, 1, false, i % 2) : ry_tanh(g, h);
    ry_recompute_end(g);
    h = ry_sum(g, h, 0, false);
    assert_ok(ry_grad(g, h, RY_NULL, 1, &x, &gx));
    ry_program *p = compile(g, 1, &gx, (ry_compile_options){0});
    assert_true(p->plan->n_steps > LONG);
    assert_true(p->plan->slab <
                LONG * 64); /* the forward pass kept nothing: only one of the two passes is there at a time */
    assert_ok(ry_program_feed(p, 0, in, sizeof in));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, y, sizeof y));
    for (int i = 0; i < 4; i++) assert_true(isfinite(y[i]));
    ry_program_close(p);
}

/* ---- what can be wanted ---- */

static void test_wants(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v = var_of(f->dev, 6, 1);
    float in[6] = {9, 8, 7, 6, 5, 4}, y[12];
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 2, 3), "x"), old = ry_use(g, v), half = ry_slice(g, old, 0, 3, 6, 1);
    ry_tensor next = ry_add_into(g, v, RY_RESHAPE(g, x, 6)), e = ry_neg(g, x);
    ry_tensor want[] = {x,    ry_transpose(g, x, 0, 1),        old, next, e, e, ry_fill(g, &RY_SHAPE(RY_F32, 2), 4),
                        half, ry_slice(g, next, 0, -1, -7, -2)};
    enum { N = sizeof want / sizeof *want };
    static const float expect[N][6] = {{9, 8, 7, 6, 5, 4},
                                       {9, 6, 8, 5, 7, 4},
                                       {1, 2, 3, 4, 5, 6},
                                       {10, 10, 10, 10, 10, 10},
                                       {-9, -8, -7, -6, -5, -4},
                                       {-9, -8, -7, -6, -5, -4},
                                       {4, 4},
                                       {4, 5, 6},
                                       {10, 10, 10}};
    ry_program *p = compile(g, N, want, (ry_compile_options){0});
    assert_ok(ry_program_feed(p, 0, in, sizeof in));
    assert_ok(ry_run(p));
    for (size_t i = 0; i < N; i++) {
        size_t n = (size_t)ry_numel(ry_program_spec(p, i)) * 4;
        assert_ok(ry_fetch(p, i, y, n));
        assert_memory_equal(y, expect[i], n);
        assert_is(RY_EARG, ry_fetch(p, i, y, n + 4));
    }
    assert_null(ry_program_spec(p, N));
    assert_is(RY_EARG, ry_fetch(p, N, y, 4));
    assert_is(RY_EARG, ry_program_feed(p, 1, in, sizeof in));
    assert_is(RY_EARG, ry_program_feed(p, 0, in, 8));
    ry_program_close(p);
    ry_var_close(v);
}

/* ---- programs, dynamic arguments, the cache ---- */

static ry_program *step_of(fixture *f, ry_var *w, ry_var *m, double momentum, double lr, int64_t rows, bool norm,
                           ry_compile_options o) {
    ry_graph *g = f->g;
    ry_graph_reset(g);
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, rows, 4), "x"), want[2];
    want[0] = ry_sum(g, ry_mul(g, x, ry_use(g, w)), 0, false);
    ry_tensor wt = ry_use(g, w), gw;
    assert_ok(ry_grad(g, want[0], RY_NULL, 1, &wt, &gw));
    want[1] = ry_global_norm(g, 1, &gw);
    ry_sgd(g, w, gw, m, RY_NULL, &(ry_sgd_options){.lr = lr, .momentum = momentum, .step = 1});
    return compile(g, norm ? 2 : 1, want, o);
}

static void test_cache_key(void **state) {
    fixture *f = *state;
    ry_var *w = var_of(f->dev, 4, 0), *m = var_of(f->dev, 4, 0), *w2 = var_of(f->dev, 4, 5), *m2 = var_of(f->dev, 4, 0);
    ry_program *a = step_of(f, w, m, 0.9, 0.1, 3, true, (ry_compile_options){0});
    ry_program *same[3] = {step_of(f, w, m, 0.9, 0.7, 3, true, (ry_compile_options){0}),   /* the rate is data */
                           step_of(f, w2, m2, 0.9, 0.1, 3, true, (ry_compile_options){0}), /* so is which variables */
                           step_of(f, w, m, 0.9, 0.1, 3, true, (ry_compile_options){.profile = true})};
    ry_program *other[7] = {step_of(f, w, m, 0.8, 0.1, 3, true, (ry_compile_options){0}),
                            step_of(f, w, m, 0.9, 0.1, 5, true, (ry_compile_options){0}),
                            step_of(f, w, m, 0.9, 0.1, 3, false, (ry_compile_options){0}),
                            step_of(f, w, NULL, 0, 0.1, 3, true, (ry_compile_options){0}),
                            step_of(f, w, m, 0.9, 0.1, 3, true, (ry_compile_options){.no_fusion = true}),
                            step_of(f, w, m, 0.9, 0.1, 3, true, (ry_compile_options){.no_cache = true}),
                            step_of(f, w, w2, 0.9, 0.1, 3, true, (ry_compile_options){.no_cse = true})};
    for (int i = 0; i < 3; i++) assert_ptr_equal(same[i]->plan, a->plan);
    for (int i = 0; i < 7; i++) assert_ptr_not_equal(other[i]->plan, a->plan);
    /* One plan, two programs: each its own variables and rates. */
    float x[12], y[4];
    for (int i = 0; i < 12; i++) x[i] = 1;
    assert_is(RY_EARG, ry_program_set(a, "learning_rate", 1));
    assert_non_null(strstr(ry_message(), "learning_rate"));
    assert_ok(ry_program_set(same[1], "lr", 1));
    assert_ok(ry_program_feed(a, 0, x, sizeof x));
    assert_ok(ry_program_feed(same[1], 0, x, sizeof x));
    assert_ok(ry_run(a));
    assert_ok(ry_var_read(w, y, sizeof y));
    assert_true(fabsf(y[0] - (0 - 0.1f * 3)) < 1e-6f && fabsf(y[3] - (3 - 0.1f * 3)) < 1e-6f);
    assert_ok(ry_run(same[1]));
    assert_ok(ry_var_read(w2, y, sizeof y));
    assert_true(y[0] == 5 - 3 && y[3] == 8 - 3);
    ry_program_close(a);
    for (int i = 0; i < 3; i++) ry_program_close(same[i]);
    for (int i = 0; i < 7; i++) ry_program_close(other[i]);
    ry_var_close(w), ry_var_close(m), ry_var_close(w2), ry_var_close(m2);
}

/* A row that forgot to list its arguments: they count all the same. */
static ry_status scale_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = n->src[0]->spec;
    return RY_OK;
}
static ry_status scale_cpu(const ry_cpu *c) {
    for (int64_t i = 0; i < ry_count(&c->n->out[0].spec); i++)
        ((float *)c->out[0])[i] = ((const float *)c->src[0])[i] * *(const float *)c->args;
    return RY_OK;
}
static void test_unlisted_arguments(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    static const ry_op row = {.name = "scale",
                              .doc = "x",
                              .arg_size = sizeof(float),
                              .min_src = 1,
                              .max_src = 1,
                              .infer = scale_infer,
                              .cpu = scale_cpu};
    ry_program *p[2];
    float x = 1, y;
    for (int k = 0; k < 2; k++) {
        ry_graph_reset(g);
        ry_tensor in = input(g, 1, 1), a = ry_apply(g, &row, 1, &in, &(float){2}),
                  b = ry_apply(g, &row, 1, &in, &(float){k ? 5 : 3});
        ry_tensor z = ry_sum(g, ry_concat(g, 2, (ry_tensor[]){a, b}, 0), 0, false);
        p[k] = compile(g, 1, &z, (ry_compile_options){0});
        assert_ok(ry_program_feed(p[k], 0, &x, sizeof x));
        assert_ok(ry_run(p[k]));
        assert_ok(ry_fetch(p[k], 0, &y, sizeof y));
        assert_true(y == (k ? 7 : 5));
    }
    assert_ptr_not_equal(p[0]->plan, p[1]->plan);
    ry_program_close(p[0]);
    ry_program_close(p[1]);
}

/* One variable twice is another structure than two variables. */
static void test_cache_aliases(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *v[2] = {var_of(f->dev, 4, 1), var_of(f->dev, 4, 10)};
    ry_program *p[2];
    float y[4];
    for (int k = 0; k < 2; k++) {
        ry_graph_reset(g);
        ry_add_into(g, v[0], ry_use(g, v[k]));
        ry_tensor z = ry_mul(g, ry_use(g, v[0]), ry_use(g, v[1]));
        p[k] = compile(g, 1, &z, (ry_compile_options){0});
    }
    assert_ptr_not_equal(p[0]->plan, p[1]->plan);
    assert_ok(ry_run(p[0]));
    assert_ok(ry_fetch(p[0], 0, y, sizeof y));
    assert_true(y[0] == 2 * 10 && y[3] == 8 * 13);
    assert_ok(ry_run(p[1]));
    assert_ok(ry_fetch(p[1], 0, y, sizeof y));
    assert_true(y[0] == 12 * 10);
    for (int k = 0; k < 2; k++) ry_program_close(p[k]), ry_var_close(v[k]);
}

static void test_cache_cap(void **state) {
    (void)state;
    size_t held[2];
    for (int small = 0; small < 2; small++) {
        ry_device *d;
        ry_graph *g;
        assert_ok(ry_device_open(&d, "cpu", &(ry_device_options){.threads = 1, .cache_bytes = small ? 64 << 10 : 0}));
        assert_ok(ry_graph_open(&g, d));
        size_t before = ry_mem_live();
        ry_tensor x = input(g, 1, 4), y = ry_tanh(g, x);
        ry_program *used = compile(g, 1, &y, (ry_compile_options){0}), *p;
        for (int64_t i = 1; i <= 200; i++) {
            ry_graph_reset(g);
            x = input(g, i + 1, 4);
            y = ry_tanh(g, x);
            p = compile(g, 1, &y, (ry_compile_options){0});
            ry_program_close(p);
        }
        held[small] = ry_mem_live() - before;
        ry_graph_reset(g); /* a plan in use stays, and is found */
        y = ry_tanh(g, input(g, 1, 4));
        p = compile(g, 1, &y, (ry_compile_options){0});
        assert_ptr_equal(p->plan, used->plan);
        ry_program_close(p);
        ry_program_close(used);
        ry_graph_close(g);
        ry_device_close(d);
    }
    print_message("200 plans: %zu bytes; under a cap of 65536, with a program and a graph: %zu\n", held[0], held[1]);
    assert_true(held[1] < 200 << 10 && held[0] > 200 * 2000 &&
                held[0] < 200 * 20000); /* the cap, a program, a graph; a few KiB a plan */
}

/* A program outlives the reset and the end of its graph. */
static void test_outlives_graph(void **state) {
    fixture *f = *state;
    ry_graph *g;
    float x[4] = {1, 2, 3, 4}, y;
    assert_ok(ry_graph_open(&g, f->dev));
    ry_tensor t = ry_sum(g, input(g, 2, 2), 0, false);
    ry_program *p = compile(g, 1, &t, (ry_compile_options){0});
    ry_graph_close(g);
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    assert_ok(ry_run(p));
    assert_ok(ry_fetch(p, 0, &y, sizeof y));
    assert_true(y == 10);
    ry_program_close(p);
}

/* ---- errors ---- */

static ry_status nothing_infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    out[0] = n->src[0]->spec;
    return RY_OK;
}

static void test_errors(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_program *p = NULL;
    ry_var *v;
    assert_ok(ry_var_open(&v, f->dev, &RY_SHAPE(RY_F32, 4), "cache"));
    ry_tensor old = ry_use(g, v), next = ry_add_into(g, v, ry_cumsum(g, old, 0, false, false));
    ry_tensor both = ry_cumsum(g, ry_add(g, old, ry_cumsum(g, next, 0, false, false)), 0, false,
                               false); /* needs the old one after the update */
    assert_is(RY_EARG, ry_compile(&p, g, 1, &both, NULL));
    assert_non_null(strstr(ry_message(), "cache"));
    assert_non_null(strstr(ry_message(), "before this update"));
    assert_null(p);
    ry_tensor t = input(g, 2, 2);
    ry_graph_reset(g);
    assert_is(RY_ESTALE, ry_compile(&p, g, 1, &t, NULL));
    assert_is(RY_ESTALE, ry_compile(&p, g, 1, &RY_NULL, NULL));
    static const ry_op bare = {
        .name = "bare", .doc = "nobody runs it", .min_src = 1, .max_src = 1, .infer = nothing_infer};
    t = ry_name(g, ry_apply(g, &bare, 1, (ry_tensor[]){input(g, 2, 2)}, NULL), "layer 3");
    assert_is(RY_EUNSUPPORTED, ry_compile(&p, g, 1, &t, NULL));
    assert_non_null(strstr(ry_message(), "bare"));
    assert_non_null(strstr(ry_message(), "layer 3"));
    assert_null(p);
    ry_var_close(v);
}

static void test_debug_nan(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    float x[4] = {1, 2, -3, 4};
    ry_tensor t = input(g, 2, 2), a = ry_name(g, ry_log(g, ry_mul(g, t, ry_scalar(g, 2))), "layers.1.gate"),
              y = ry_sum(g, ry_exp(g, a), 0, false);
    ry_program *p = compile(g, 1, &y, (ry_compile_options){.debug_nan = true});
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    assert_is(RY_ENAN, ry_run(p));
    assert_non_null(strstr(ry_message(), "log: "));
    assert_non_null(strstr(ry_message(), "element 2"));
    assert_non_null(strstr(ry_message(), "layers.1.gate"));
    x[2] = 3;
    assert_ok(ry_program_feed(p, 0, x, sizeof x));
    assert_ok(ry_run(p));
    ry_program_close(p);
}

/* ---- reports ---- */

static void test_profile(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *w;
    ry_profile_row rows[32];
    assert_ok(ry_var_open(&w, f->dev, &RY_SHAPE(RY_F32, 64, 64), "w"));
    ry_tensor x = input(g, 64, 64), wt = ry_use(g, w), y = ry_name(g, ry_matmul(g, x, wt), "quoted \"name\"\n"),
              loss = ry_mean(g, ry_square(g, y), 0, false), gw;
    assert_ok(ry_grad(g, loss, RY_NULL, 1, &wt, &gw));
    ry_add_into(g, w, gw);
    ry_program *p = compile(g, 1, &loss, (ry_compile_options){.profile = true});
    char path[] = "test_plan_trace.json";
    assert_is(RY_EARG, ry_program_trace(p, path));
    assert_int_equal(ry_program_profile(p, rows, 32), 0);
    for (int i = 0; i < 3; i++) assert_ok(ry_run(p));
    size_t n = ry_program_profile(p, rows, 32);
    assert_int_equal(n, p->plan->n_steps);
    assert_int_equal(ry_program_profile(p, rows, 1), n);
    n = ry_program_profile(p, rows, 32);
    bool product = false;
    for (size_t i = 0; i < n; i++) {
        assert_true(rows[i].calls == 3 && rows[i].ms >= 0 && rows[i].name);
        if (!strcmp(rows[i].op, "matmul") && !strcmp(rows[i].name, "quoted \"name\"\n"))
            product = rows[i].gflops > 0 && rows[i].gbps > 0;
    }
    assert_true(product);
    assert_ok(ry_program_trace(p, path));
    ry_json *j, *bad = NULL;
    assert_ok(ry_json_read(&j, path, 0));
    const ry_json *events = ry_json_find(j, "traceEvents");
    assert_int_equal(ry_json_count(events), n);
    bool seen[3] = {false};
    for (size_t i = 0; i < n; i++) {
        const ry_json *e = ry_json_at(events, i);
        double ts, dur;
        assert_true(ry_json_as_real(ry_json_find(e, "ts"), &ts) && ry_json_as_real(ry_json_find(e, "dur"), &dur) &&
                    ts >= 0 && dur >= 0);
        const char *cat = ry_json_as_text(ry_json_find(e, "cat"), NULL);
        seen[0] |= !strcmp(cat, "forward"), seen[1] |= !strcmp(cat, "backward"), seen[2] |= !strcmp(cat, "update");
    }
    assert_true(seen[0] && seen[1] && seen[2] && !bad);
    ry_json_free(j);
    remove(path);
    ry_program_close(p);
    ry_var_close(w);
}

/* ---- the host's part ---- */

/* A thousand nodes of a few numbers each, none of which fuse. */
static void test_overhead(void **state) {
    fixture *f = *state;
    ry_graph *g = f->g;
    ry_var *w;
    assert_ok(ry_var_open(&w, f->dev, &RY_SHAPE(RY_F32, 4, 4), "w"));
    ry_tensor x = input(g, 1, 4), wt = ry_use(g, w);
    for (int i = 0; i < 250; i++) {
        x = ry_softmax(g, ry_matmul(g, x, wt), -1);
        x = ry_cumsum(g, ry_rms_norm(g, x, RY_NULL, 1e-5), 1, false, false);
    }
    ry_program *p = compile(g, 1, &x, (ry_compile_options){0});
    assert_int_equal(p->plan->n_steps, 1000);
    double best = 1;
    size_t live = ry_mem_live();
    for (int i = 0; i < 200; i++) {
        double t = os_now();
        assert_ok(ry_run(p));
        t = os_now() - t;
        if (t < best) best = t;
        if (i == 0) live = ry_mem_live();
    }
    assert_int_equal(ry_mem_live(), live); /* replay allocates nothing */
    print_message("host overhead: %.3f microseconds a node\n", best * 1e3);
    assert_true(best * 1e3 < 20); /* sanitizers and busy machines included; the target is 1 */
    ry_program_close(p);
    ry_var_close(w);
}

/* ---- random graphs ---- */

static void test_random(void **state) {
    (void)state;
    fuzz_bench b;
    fuzz_open(&b);
    for (uint64_t seed = 1; seed <= 4000; seed++) fuzz_seed(&b, seed, 7);
    fuzz_report(&b);
    assert_true(b.graphs > 3900 && b.fused > 10000);
    assert_true((double)b.size.slab < 1.05 * (double)b.size.bound);
    fuzz_close(&b);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_dead_and_equal),
                                       T(test_unequal),
                                       T(test_chains),
                                       T(test_chain_limits),
                                       T(test_deadline),
                                       T(test_inplace),
                                       T(test_recompute),
                                       T(test_long_scope),
                                       T(test_wants),
                                       T(test_cache_key),
                                       T(test_unlisted_arguments),
                                       T(test_cache_aliases),
                                       T(test_cache_cap),
                                       T(test_outlives_graph),
                                       T(test_errors),
                                       T(test_debug_nan),
                                       T(test_profile),
                                       T(test_overhead),
                                       cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
