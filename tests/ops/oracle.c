/* oracle.c - evaluates a graph's nodes in double, one at a time.  Owns the values; reads the graph, and lets rows append their lowering. */
#include "oracle.h"
#include "core/rows.h"
#include "ops/fused.h"
#include "ref.h"
#include "simd/map.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct memo {
    double *out[RY_MAX_OUT];
    bool bound;   /* a leaf's value: not forgotten */
    bool lowered; /* low[] is there */
    ry_tensor low[RY_MAX_OUT];
} memo;

struct oracle {
    ry_graph *g;
    memo *at; /* by node id */
    size_t n;
    bool smooth;
    char why[400];
};

oracle *oracle_open(ry_graph *g) {
    oracle *o = calloc(1, sizeof *o);
    if (o) o->g = g;
    return o;
}

void oracle_smooth(oracle *o) { o->smooth = true; }

static memo *memo_of(oracle *o, uint32_t id) {
    if (id >= o->n) {
        size_t n = (size_t)id + 64;
        memo *at = realloc(o->at, n * sizeof *at);
        if (!at) abort(); /* a test without memory has nothing to say */
        memset(at + o->n, 0, (n - o->n) * sizeof *at);
        o->at = at, o->n = n;
    }
    return &o->at[id];
}

static double *new_doubles(int64_t n) {
    double *p = calloc((size_t)n + 1, sizeof *p);
    if (!p) abort();
    return p;
}

static void drop(memo *m) {
    for (int j = 0; j < RY_MAX_OUT; j++) {
        free(m->out[j]);
        m->out[j] = NULL;
    }
}

void oracle_forget(oracle *o) {
    for (size_t i = 0; i < o->n; i++)
        if (!o->at[i].bound) drop(&o->at[i]);
}

void oracle_close(oracle *o) {
    if (!o) return;
    for (size_t i = 0; i < o->n; i++) drop(&o->at[i]);
    free(o->at);
    free(o);
}

void oracle_shift(oracle *o, ry_tensor leaf, const double *data, const double *dir, double h) {
    const ry_value *v = ry_value_of(o->g, leaf);
    if (!v) return;
    memo *m = memo_of(o, v->node->id);
    int64_t n = ry_count(&v->spec);
    if (!m->out[v->index]) m->out[v->index] = new_doubles(n);
    for (int64_t i = 0; i < n; i++) m->out[v->index][i] = data[i] + (dir ? h * dir[i] : 0);
    m->bound = true;
}
void oracle_bind(oracle *o, ry_tensor leaf, const double *data) { oracle_shift(o, leaf, data, NULL, 0); }
const char *oracle_why(const oracle *o) { return o->why; }
bool oracle_has_ref(const ry_op *op) { return (op->flags & RY_OP_MAP) || ref_find(op->name) || op->lower; }

void oracle_load(double *y, const void *data, ry_dtype t, int64_t n) {
    enum { MOST = 256 }; /* a whole block of any dtype */
    float buf[MOST];
    if (t == RY_F64) {
        memcpy(y, data, (size_t)n * sizeof *y);
    } else if (ry_dtype_row(t)->kind == RY_KIND_INT || t == RY_BOOL) {
        for (int64_t i = 0; i < n; i++) y[i] = (double)ry_load_index(data, t, i);
    } else {
        for (int64_t i = 0; i < n; i += MOST) {
            int64_t m = n - i < MOST ? n - i : MOST;
            const float *x = ry_load_row(data, t, i, m, buf);
            for (int64_t k = 0; k < m; k++) y[i + k] = x[k];
        }
    }
}

static const double *eval_value(oracle *o, const ry_value *v);

/* ---------------------------------------------------------------- kinds of nodes */

static double at_broadcast(const double *x, const ry_spec *s, const ry_spec *out, const int64_t idx[RY_MAX_RANK]) {
    int64_t at = 0;
    for (int i = 0; i < s->rank; i++) {
        int64_t k = idx[out->rank - s->rank + i];
        at = at * s->dim[i] + (s->dim[i] == 1 ? 0 : k);
    }
    return x[at];
}

static void eval_map(const ry_node *n, const double *const src[], double *out) {
    const ry_spec *os = &n->out[0].spec;
    unsigned letters = map_letters(n->op); /* a row's sources are the letters of its formula, in the order a b c y g */
    int slot[MAP_LETTERS], n_slot = 0;
    for (int k = 0; k < MAP_LETTERS; k++)
        if (letters >> k & 1u) slot[n_slot++] = k;
    bool whole = true;
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i] && ry_is_float(n->src[i]->spec.dtype)) whole = false;
    int64_t idx[RY_MAX_RANK], count = ry_count(os);
    for (int64_t k = 0; k < count; k++) {
        double in[5] = {0};
        ref_unravel(os, k, idx);
        for (int i = 0; i < n->n_src; i++)
            if (n->src[i]) in[slot[i]] = at_broadcast(src[i], &n->src[i]->spec, os, idx);
        bool logic = map_table[n->op->map].cls[0] == 'L' || map_table[n->op->map].cls[0] == 'I';
        double y;
        if (map_table[n->op->map].cls[0] == 'S' && n->op->form == MAP_VALUE)
            y = in[0] != 0 ? in[1] : in[2];
        else
            y = oracle_map(n->op->map, n->op->form, (whole || logic) && map_table[n->op->map].cls[0] != 'F', in);
        out[k] = ry_dtype_row(os->dtype)->kind == RY_KIND_INT && whole ? (double)oracle_wrap(os->dtype, (int64_t)y) : y;
    }
}

/* A view reads its base through strides. */
static bool eval_view(oracle *o, const ry_node *n, double *out) {
    const ry_value *v = &n->out[0];
    const double *base = eval_value(o, v->base);
    if (!base) return false;
    int64_t idx[RY_MAX_RANK], count = ry_count(&v->spec);
    for (int64_t k = 0; k < count; k++) {
        int64_t at = v->offset;
        ref_unravel(&v->spec, k, idx);
        for (int i = 0; i < v->spec.rank; i++) at += idx[i] * v->stride[i];
        out[k] = base[at];
    }
    return true;
}

static bool eval_ref(oracle *o, const ry_node *n, ref_fn fn, const double *const src[], double *const out[]) {
    ref_io io = {.op = n->op, .args = n->args, .n_src = n->n_src, .n_out = n->n_out, .smooth = o->smooth};
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i]) io.src_spec[i] = n->src[i]->spec, io.src[i] = src[i];
    for (int j = 0; j < n->n_out; j++) io.out_spec[j] = n->out[j].spec, io.out[j] = out[j];
    fn(&io);
    if (io.missing)
        snprintf(o->why, sizeof o->why, "%s: the reference wants an argument '%s'", n->op->name, io.missing);
    return !io.missing;
}

static bool eval_lower(oracle *o, const ry_node *n) {
    memo *m = memo_of(o, n->id);
    if (!m->lowered) {
        ry_tensor low[RY_MAX_OUT] = {{0, 0}};
        ry_status st = n->op->lower(o->g, n, low);
        if (st == RY_OK) st = ry_graph_status(o->g);
        if (st != RY_OK) {
            snprintf(o->why, sizeof o->why, "%s: lower failed: %s", n->op->name, ry_message());
            return false;
        }
        m = memo_of(o, n->id);
        memcpy(m->low, low, sizeof low);
        m->lowered = true;
    }
    for (int j = 0; j < n->n_out; j++) {
        ry_tensor t = memo_of(o, n->id)->low[j];
        if (ry_is_null(t)) continue;
        const ry_spec *s = ry_spec_of(o->g, t);
        if (!s || !ry_same_shape(s, &n->out[j].spec)) {
            snprintf(o->why, sizeof o->why, "%s: lower gives output %d as %s, infer says %s", n->op->name, j,
                     s ? ry_show(s).s : "nothing", ry_show(&n->out[j].spec).s);
            return false;
        }
        const double *x = oracle_value(o, t);
        if (!x) return false;
        int64_t count = ry_count(&n->out[j].spec);
        m = memo_of(o, n->id);
        if (!m->out[j]) m->out[j] = new_doubles(count);
        memcpy(m->out[j], x, (size_t)count * sizeof *x);
    }
    return true;
}

static bool eval_node(oracle *o, const ry_node *n, bool use_ref) {
    if (n->op->flags & RY_OP_LEAF) {
        snprintf(o->why, sizeof o->why, "%s %s has no value", n->op->name, n->name ? n->name : "");
        return false;
    }
    ref_fn fn = use_ref ? ref_find(n->op->name) : NULL;
    bool map = n->op->flags & RY_OP_MAP, view = n->op->flags & RY_OP_VIEW;
    if (!fn && !map && !view && n->op->lower) return eval_lower(o, n);
    if (!fn && !map && !view) {
        snprintf(o->why, sizeof o->why,
                 "no reference: row %s has no formula, no lower and no entry in tests/ops/ref_*.c", n->op->name);
        return false;
    }
    const double *src[RY_MAX_SRC] = {NULL};
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i] && !(src[i] = eval_value(o, n->src[i]))) return false;
    double *out[RY_MAX_OUT];
    for (int j = 0; j < n->n_out; j++) out[j] = new_doubles(ry_count(&n->out[j].spec));
    bool ok = true;
    if (fn)
        ok = eval_ref(o, n, fn, src, out);
    else if (map)
        eval_map(n, src, out[0]);
    else
        ok = eval_view(o, n, out[0]);
    memo *m = memo_of(o, n->id);
    for (int j = 0; j < n->n_out; j++) {
        free(m->out[j]);
        m->out[j] = out[j];
    }
    if (!ok) drop(m);
    return ok;
}

static const double *eval_value(oracle *o, const ry_value *v) {
    memo *m = memo_of(o, v->node->id);
    if (!m->out[v->index] && !eval_node(o, v->node, true)) return NULL;
    return memo_of(o, v->node->id)->out[v->index];
}

const double *oracle_value(oracle *o, ry_tensor t) {
    const ry_value *v = ry_value_of(o->g, t);
    if (!v) {
        snprintf(o->why, sizeof o->why, "the tensor is null or stale");
        return NULL;
    }
    return eval_value(o, v);
}

const double *oracle_lowered(oracle *o, ry_tensor t) {
    const ry_value *v = ry_value_of(o->g, t);
    if (!v || !v->node->op->lower) return NULL;
    drop(memo_of(o, v->node->id));
    if (!eval_lower(o, v->node)) return NULL;
    return memo_of(o, v->node->id)->out[v->index];
}
