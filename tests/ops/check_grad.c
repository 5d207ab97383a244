/* check_grad.c - gradients against central differences of the oracle's double-precision forward pass, first order and second.
 *
 * With cotangents v the scalar is s = sum_j <y_j, v_j>. For a direction u of source x the gradient row promises <gx, u>; the
 * oracle gives (s(x + h u) - s(x - h u)) / 2h. Whole random directions find any error; single elements say where. */
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LEAF = 2 * RY_MAX_SRC + RY_MAX_OUT, DIRECTIONS = 3, SINGLES = 4 };
static const double STEP = 2e-7;

typedef struct leaf { /* an input of the graph and its value */
    ry_tensor t;
    ry_spec spec;
    void *data; /* f32 or the sample's storage */
    size_t bytes;
    double *x; /* the same as doubles */
    bool owned;
} leaf;

typedef struct problem {
    check *c;
    ry_graph *g;
    leaf leaf[MAX_LEAF];
    int n_leaf;
    int source[RY_MAX_SRC]; /* leaf of source i, -1 where left out */
} problem;

static bool add_leaf(problem *p, const ry_spec *s, void *data, size_t bytes) {
    leaf *l = &p->leaf[p->n_leaf];
    *l = (leaf){.t = ry_input(p->g, s, NULL), .spec = *s, .data = data, .bytes = bytes};
    if (ry_is_null(l->t)) return false;
    l->x = malloc(((size_t)ry_count(s) + 1) * sizeof *l->x);
    if (!l->x) abort();
    oracle_load(l->x, data, s->dtype, ry_count(s));
    p->n_leaf++;
    return true;
}

/* A random f32 input in the shape of t: a cotangent. */
static ry_tensor cotangent(problem *p, ry_tensor t, uint32_t stream) {
    ry_spec s = *ry_spec_of(p->g, t);
    s.dtype = RY_F32;
    size_t bytes;
    if (ry_spec_bytes(&bytes, &s) != RY_OK || p->n_leaf == MAX_LEAF) return RY_NULL;
    void *data = malloc(bytes + 1);
    if (!data) abort();
    ry_sample_fill(data, RY_F32, ry_count(&s), -1, 1, 7, stream);
    if (!add_leaf(p, &s, data, bytes)) {
        free(data);
        return RY_NULL;
    }
    p->leaf[p->n_leaf - 1].owned = true;
    return p->leaf[p->n_leaf - 1].t;
}

/* sum over the tensors of <t, v>, v random. */
static ry_tensor contract(problem *p, int n, const ry_tensor *t, uint32_t stream) {
    ry_tensor s = RY_NULL;
    for (int i = 0; i < n; i++) {
        if (ry_is_null(t[i]) || !ry_is_float(ry_spec_of(p->g, t[i])->dtype)) continue;
        ry_tensor one = ry_sum(p->g, ry_mul(p->g, t[i], cotangent(p, t[i], stream + (uint32_t)i)), 0, false);
        s = ry_is_null(s) ? one : ry_add(p->g, s, one);
    }
    return s;
}

static double scalar_at(problem *p, oracle *o, ry_tensor s, int which, const double *dir, double h) {
    oracle_forget(o);
    oracle_shift(o, p->leaf[which].t, p->leaf[which].x, dir, h);
    const double *v = oracle_value(o, s);
    return v ? *v : (double)NAN;
}

/* <gx, dir> against the central difference. */
static bool direction(problem *p, oracle *o, const char *how, ry_tensor s, int which, int source, const double *gx,
                      const double *dir, int64_t single) {
    int64_t n = ry_count(&p->leaf[which].spec);
    double got = 0, size = 0, biggest = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        got += gx[i] * dir[i];
        size += fabs(gx[i] * dir[i]);
        norm += fabs(dir[i]);
        if (fabs(gx[i]) > biggest) biggest = fabs(gx[i]);
    }
    double hi = scalar_at(p, o, s, which, dir, STEP), lo = scalar_at(p, o, s, which, dir, -STEP);
    oracle_forget(o);
    oracle_shift(o, p->leaf[which].t, p->leaf[which].x, NULL, 0);
    double want = (hi - lo) / (2 * STEP);
    double tol = 4 * check_tol(p->c, RY_F32) + 1e-6,
           scale = size > biggest * norm * 0.1 ? size : biggest * norm * 0.1;
    double noise = 1e-15 * (fabs(hi) + fabs(lo)) / (2 * STEP) * 8 + 1e-7;
    p->c->compared++;
    if (fabs(got - want) <= tol * scale + noise) return true;
    if (single >= 0)
        return check_fail(p->c, how, "source %d at %lld: gradient %.7g, central difference %.7g", source,
                          (long long)single, got, want);
    return check_fail(p->c, how,
                      "source %d, a random direction: gradient %.7g, central difference %.7g (sum of magnitudes %.4g, "
                      "tolerance %.1g)",
                      source, got, want, size, tol);
}

static void compare_source(problem *p, oracle *o, const char *how, ry_tensor s, int which, int source,
                           const double *gx) {
    int64_t n = ry_count(&p->leaf[which].spec);
    double *dir = calloc((size_t)n + 1, sizeof *dir);
    if (!dir) abort();
    bool ok = true;
    for (uint32_t d = 0; d < DIRECTIONS && n > 0 && ok; d++) {
        for (int64_t i = 0; i < n; i++) dir[i] = 2 * (double)ry_rng_unit(ry_rng_word(99, d, (uint64_t)i)) - 1;
        ok = direction(p, o, how, s, which, source, gx, dir, -1);
    }
    for (uint32_t d = 0; d < SINGLES && n > 0; d++) {
        int64_t at = (int64_t)(ry_rng_word(100, d, 0) % (uint64_t)n);
        memset(dir, 0, (size_t)n * sizeof *dir);
        dir[at] = 1;
        direction(p, o, how, s, which, source, gx, dir, at);
    }
    free(dir);
}

/* Gradients of s with respect to the leaves xs, on the device and by differences. */
static void compare(problem *p, const char *how, ry_tensor s, int n, const int *leaves, const int *sources,
                    const ry_tensor *gx) {
    feed f[MAX_LEAF];
    result r = {0};
    for (int i = 0; i < p->n_leaf; i++) f[i] = (feed){p->leaf[i].data, p->leaf[i].bytes};
    if (run_graph(&r, p->g, n, gx, p->n_leaf, f, &(ry_compile_options){.no_cache = true}, 1) != RY_OK) {
        check_fail(p->c, how, "%s", ry_message());
        return;
    }
    oracle *o = oracle_open(p->g);
    oracle_smooth(o);
    for (int i = 0; i < p->n_leaf; i++) oracle_bind(o, p->leaf[i].t, p->leaf[i].x);
    if (!oracle_value(o, s))
        check_fail(p->c, how, "%s", oracle_why(o));
    else
        for (int i = 0; i < n; i++) {
            double *g = result_doubles(&r, i);
            if (!ry_same_shape(&r.spec[i], &p->leaf[leaves[i]].spec))
                check_fail(p->c, how, "source %d is %s, its gradient %s", sources[i],
                           ry_show(&p->leaf[leaves[i]].spec).s, ry_show(&r.spec[i]).s);
            else
                compare_source(p, o, how, s, leaves[i], sources[i], g);
            free(g);
        }
    oracle_close(o);
    result_free(&r);
}

/* Sources whose gradient a row leaves out on purpose; each is said in its doc. */
static const struct {
    const char *op;
    int source;
} no_grad[] = {{"rope", 1}, {"rope", 2}, {NULL, 0}};
static bool left_out(const ry_op *op, int source) {
    for (int i = 0; no_grad[i].op; i++)
        if (!strcmp(no_grad[i].op, op->name) && no_grad[i].source == source) return true;
    return false;
}

static void second_order(problem *p, int n, const int *leaves, const int *sources, const ry_tensor *gx) {
    ry_tensor s2 = contract(p, n, gx, 500), x[RY_MAX_SRC], hx[RY_MAX_SRC];
    if (ry_is_null(s2)) return;
    for (int i = 0; i < n; i++) x[i] = p->leaf[leaves[i]].t;
    ry_status st = ry_grad(p->g, s2, RY_NULL, (size_t)n, x, hx);
    if (st == RY_OK)
        compare(p, "second order", s2, n, leaves, sources, hx);
    else if (st != RY_EUNSUPPORTED || (p->c->op->flags & RY_OP_MAP) || (p->c->op->lower && !p->c->op->vjp))
        check_fail(p->c, "second order", "%s",
                   ry_message()); /* a row whose gradient row has neither vjp nor lower says so */
}

static bool finite_at_start(problem *p, ry_tensor s) {
    oracle *o = oracle_open(p->g);
    oracle_smooth(o);
    for (int i = 0; i < p->n_leaf; i++) oracle_bind(o, p->leaf[i].t, p->leaf[i].x);
    const double *v = oracle_value(o, s);
    bool finite = !v || isfinite(*v); /* without a value compare() says why */
    oracle_close(o);
    return finite;
}

/* With the first n_out outputs; true: this row's further outputs have no gradient, so the first alone is to be tried. */
static bool check_outputs(check *c, int n_out) {
    problem p = {.c = c};
    bool again = false;
    ry_sample_set s;
    ry_tensor src[RY_MAX_SRC], y[RY_MAX_OUT], x[RY_MAX_SRC], gx[RY_MAX_SRC];
    int leaves[RY_MAX_SRC], sources[RY_MAX_SRC], n = 0;
    if (ry_sample_open(&s, c->op, c->sample, RY_F32, 42) != RY_OK) {
        check_fail(c, "gradient", "%s", ry_message());
        return false;
    }
    if (ry_graph_open(&p.g, c->dev[1]) != RY_OK) goto done;
    for (int i = 0; i < s.n_src; i++) {
        src[i] = RY_NULL;
        if (s.spec[i].dtype == RY_NONE) continue;
        if (!add_leaf(&p, &s.spec[i], s.data[i], s.bytes[i])) goto done;
        src[i] = p.leaf[p.n_leaf - 1].t;
        if (!ry_is_float(s.spec[i].dtype) || left_out(c->op, i)) continue;
        leaves[n] = p.n_leaf - 1, sources[n] = i, x[n++] = src[i];
    }
    ry_tensor t = ry_apply_row(p.g, c->op, (size_t)s.n_src, src, c->sample->args);
    const ry_node *node = ry_node_of(p.g, t);
    if (!node || !n) goto done; /* the forward check told why */
    if (n_out > node->n_out) n_out = node->n_out;
    for (int j = 0; j < n_out; j++) y[j] = ry_res(p.g, node, j);
    ry_tensor total = contract(&p, n_out, y, 300);
    if (ry_is_null(total)) goto done;
    ry_status st = ry_grad(p.g, total, RY_NULL, (size_t)n, x, gx);
    if (st != RY_OK) {
        again = st == RY_EUNSUPPORTED && n_out > 1; /* further outputs may be there for the gradient row's use only */
        if (!again) check_fail(c, "gradient", "%s", ry_message());
        goto done;
    }
    if (n_out > 1 && !finite_at_start(&p, total)) { /* a log-sum-exp of nothing is -inf: the other outputs alone */
        again = true;
        goto done;
    }
    compare(&p, "gradient", total, n, leaves, sources, gx);
    if (ry_graph_status(p.g) == RY_OK && !c->device) second_order(&p, n, leaves, sources, gx);
done:
    for (int i = 0; i < p.n_leaf; i++) {
        free(p.leaf[i].x);
        if (p.leaf[i].owned) free(p.leaf[i].data);
    }
    ry_graph_close(p.g);
    ry_sample_close(&s);
    return again;
}

void check_grad(check *c) {
    if (c->op->writes || !(c->op->vjp || c->op->lower) || (c->op->flags & RY_OP_NO_GRAD)) return;
    if (!check_devices(c)) return;
    if (check_outputs(c, RY_MAX_OUT)) check_outputs(c, 1);
}
