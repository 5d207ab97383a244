/* plan_fuzz.h - random graphs, and two judges of what the planner made of them.  Header of tests only.
 *
 * fuzz_build makes a graph from a seed: elementwise chains, views, reductions, products, writers of variables, recomputation scopes,
 * gradients. fuzz_interpret computes every node in the order of building, each value and each version of a variable in memory of its
 * own: what the graph means. fuzz_check_plan walks a plan's steps and watches that nobody reads bytes that another value has taken. */
#ifndef TEST_PLAN_FUZZ_H
#define TEST_PLAN_FUZZ_H
#include "core/graph.h"
#include "core/program.h"
#include "core/rows.h"
#include "unit/cm.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- random numbers */

typedef struct fuzz_rng {
    uint64_t s;
} fuzz_rng;
static inline uint64_t fuzz_next(fuzz_rng *r) { /* splitmix64 */
    uint64_t z = r->s += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
static inline int fuzz_below(fuzz_rng *r, int n) { return (int)(fuzz_next(r) % (uint64_t)n); }

/* ---------------------------------------------------------------- graphs */

enum { FUZZ_POOL = 160, FUZZ_VARS = 4, FUZZ_INPUTS = 4, FUZZ_WANTS = 6 };
typedef struct fuzz_case {
    fuzz_rng rng;
    bool recompute; /* scopes are opened; else the same graph without */
    ry_graph *g;
    ry_var *var[FUZZ_VARS]; /* opened once per device; data in var_data */
    ry_tensor pool[FUZZ_POOL];
    int n_pool, n_want, n_input;
    ry_tensor want[FUZZ_WANTS];
    ry_spec input[FUZZ_INPUTS];
    int64_t limit; /* elements of the largest value */
} fuzz_case;

static inline void fuzz_push(fuzz_case *c, ry_tensor t) {
    if (!ry_spec_of(c->g, t)) return;
    if (c->n_pool < FUZZ_POOL)
        c->pool[c->n_pool++] = t;
    else
        c->pool[fuzz_below(&c->rng, FUZZ_POOL)] = t;
}
/* Newer values more often than older ones. */
static inline ry_tensor fuzz_pick(fuzz_case *c) {
    int recent = c->n_pool > 12 ? 12 : c->n_pool, a = fuzz_below(&c->rng, c->n_pool),
        b = c->n_pool - 1 - fuzz_below(&c->rng, recent);
    return c->pool[a > b || fuzz_below(&c->rng, 3) == 0 ? a : b];
}
static inline ry_tensor fuzz_float(fuzz_case *c) {
    for (int i = 0; i < 8; i++) {
        ry_tensor t = fuzz_pick(c);
        if (ry_is_float(ry_spec_of(c->g, t)->dtype)) return t;
    }
    return ry_cast(c->g, fuzz_pick(c), RY_F32);
}
/* A float that broadcasts with a. */
static inline ry_tensor fuzz_partner(fuzz_case *c, ry_tensor a) {
    for (int i = 0; i < 8; i++) {
        ry_tensor b = fuzz_float(c);
        ry_spec s = {.dtype = RY_F32};
        if (ry_broadcast(&s, ry_spec_of(c->g, a), ry_spec_of(c->g, b)) == RY_OK && ry_numel(&s) <= c->limit) return b;
    }
    return ry_scalar(c->g, fuzz_below(&c->rng, 4) * 0.5 - 0.5);
}

static inline ry_tensor fuzz_map(fuzz_case *c) {
    ry_graph *g = c->g;
    ry_tensor a = fuzz_float(c), b;
    switch (fuzz_below(&c->rng, 16)) {
    case 0: return ry_tanh(g, a);
    case 1: return ry_sigmoid(g, a);
    case 2: return ry_neg(g, a);
    case 3: return ry_silu(g, a);
    case 4: return ry_relu(g, a);
    case 5: return ry_exp(g, ry_min(g, a, ry_scalar(g, 2)));
    case 6: b = fuzz_partner(c, a); return ry_select(g, ry_lt(g, a, b), b, a);
    case 7: b = fuzz_partner(c, a); return ry_max(g, a, b);
    case 8: b = fuzz_partner(c, a); return ry_sub(g, a, b);
    case 9: b = fuzz_partner(c, a); return ry_swiglu(g, a, b);
    case 10: return ry_mul(g, a, ry_scalar(g, 0.5));
    case 11:
    case 12: b = fuzz_partner(c, a); return ry_mul(g, a, b);
    default: b = fuzz_partner(c, a); return ry_add(g, a, b);
    }
}

static inline ry_tensor fuzz_view(fuzz_case *c) {
    ry_graph *g = c->g;
    ry_tensor a = fuzz_pick(c);
    ry_spec s = *ry_spec_of(g, a);
    int perm[RY_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7}, kind = fuzz_below(&c->rng, 5);
    if (kind == 0) return RY_RESHAPE(g, a, -1);
    if (kind == 1 && s.rank) return RY_RESHAPE(g, a, s.dim[0], -1);
    if (kind == 2 && s.rank) {
        for (int i = s.rank - 1; i > 0; i--) {
            int k = fuzz_below(&c->rng, i + 1), t = perm[i];
            perm[i] = perm[k], perm[k] = t;
        }
        return ry_permute(g, a, perm);
    }
    if (kind == 3 && s.rank) {
        int axis = fuzz_below(&c->rng, s.rank);
        int64_t n = s.dim[axis], from = fuzz_below(&c->rng, (int)n);
        if (fuzz_below(&c->rng, 3) == 0) return ry_slice(g, a, axis, -1, -n - 1, -1 - fuzz_below(&c->rng, 2));
        return ry_slice(g, a, axis, from, n, 1 + fuzz_below(&c->rng, 2));
    }
    if (s.rank < 4 && ry_count(&s) * 3 <= c->limit) {
        int64_t dim[RY_MAX_RANK] = {1 + fuzz_below(&c->rng, 3)};
        memcpy(dim + 1, s.dim, (size_t)s.rank * sizeof *dim);
        return ry_expand(g, a, s.rank + 1, dim);
    }
    return a;
}

static inline ry_tensor fuzz_row(fuzz_case *c) { /* structured rows */
    ry_graph *g = c->g;
    ry_tensor a = fuzz_float(c);
    const ry_spec *s = ry_spec_of(g, a);
    int axis = s->rank ? fuzz_below(&c->rng, s->rank) : 0;
    if (!s->rank) return ry_sum(g, a, 0, false);
    switch (fuzz_below(&c->rng, 9)) {
    case 0: return ry_sum(g, a, RY_AXIS(axis), fuzz_below(&c->rng, 2));
    case 1: return ry_mean(g, a, RY_AXIS(axis), true);
    case 2: return ry_amax(g, a, RY_AXIS(axis), fuzz_below(&c->rng, 2));
    case 3: return ry_softmax(g, a, axis);
    case 4: return ry_rms_norm(g, a, RY_NULL, 1e-5);
    case 5: return ry_cumsum(g, a, axis, false, fuzz_below(&c->rng, 2));
    case 6: return ry_out(g, ry_sort(g, a, axis, false), 0);
    case 7: return ry_count(s) * 2 <= c->limit ? ry_concat(g, 2, (ry_tensor[]){a, a}, axis) : a;
    default: {
        ry_tensor x = s->rank == 1 ? RY_RESHAPE(g, a, 1, -1) : a;
        s = ry_spec_of(g, x);
        if (s->dim[s->rank - 2] > 64 || ry_count(s) > 4096) return a;
        return ry_matmul(g, x, ry_transpose(g, x, -1, -2));
    }
    }
}

static inline ry_tensor fuzz_other(fuzz_case *c) {
    static const ry_dtype to[] = {RY_BF16, RY_F16, RY_I32, RY_F32, RY_BF16, RY_I8, RY_F32, RY_BOOL};
    ry_graph *g = c->g;
    ry_tensor a = fuzz_float(c);
    ry_spec s = *ry_spec_of(g, a);
    switch (fuzz_below(&c->rng, 6)) {
    case 0: s.dtype = RY_F32; return ry_fill(g, &s, fuzz_below(&c->rng, 3));
    case 1: return ry_dropout(g, a, 0.25, 7 + (uint64_t)fuzz_below(&c->rng, 2), 3);
    case 2: s.dtype = RY_F32; return ry_uniform(g, &s, 11, (uint32_t)fuzz_below(&c->rng, 2));
    case 3: return ry_contiguous(g, a);
    default: return ry_cast(g, a, to[fuzz_below(&c->rng, 8)]);
    }
}

/* A float of the variable's shape. */
static inline ry_tensor fuzz_like(fuzz_case *c, const ry_var *v) {
    const ry_spec *s = ry_var_spec(v);
    for (int i = 0; i < 12; i++) {
        ry_tensor t = fuzz_float(c);
        if (ry_same_shape(ry_spec_of(c->g, t), s)) return t;
    }
    ry_tensor t = fuzz_partner(c, ry_use(c->g, (ry_var *)(uintptr_t)v));
    ry_spec b = {.dtype = RY_F32};
    if (ry_broadcast(&b, ry_spec_of(c->g, t), s) == RY_OK && ry_same_shape(&b, s))
        return ry_expand(c->g, t, s->rank, s->dim);
    return ry_fill(c->g, s, 0.25);
}

static inline void fuzz_write(fuzz_case *c) {
    ry_graph *g = c->g;
    ry_var *v = c->var[fuzz_below(&c->rng, FUZZ_VARS)];
    const ry_spec *s = ry_var_spec(v);
    ry_tensor x = fuzz_like(c, v);
    switch (fuzz_below(&c->rng, 4)) {
    case 0: fuzz_push(c, ry_assign(g, v, x)); break;
    case 1: { /* rows of the variable itself, perhaps: they are read before they are written */
        ry_tensor idx = ry_iota(g, &RY_SHAPE(RY_I32, s->dim[0] - 1), 0, 1, 1);
        ry_tensor rows = ry_slice(g, fuzz_below(&c->rng, 2) ? ry_use(g, v) : x, 0, 0, s->dim[0] - 1, 1);
        if (s->dim[0] > 1) fuzz_push(c, ry_set_rows(g, v, rows, idx, 0));
        break;
    }
    default: fuzz_push(c, ry_add_into(g, v, x));
    }
    if (fuzz_below(&c->rng, 2)) fuzz_push(c, ry_use(g, v));
}

static inline void fuzz_nodes(fuzz_case *c, int n, bool writes) {
    bool scope = false;
    for (int i = 0; i < n && ry_graph_ok(c->g); i++) {
        int kind = fuzz_below(&c->rng, 40);
        if (kind < 17)
            fuzz_push(c, fuzz_map(c));
        else if (kind < 23)
            fuzz_push(c, fuzz_view(c));
        else if (kind < 30)
            fuzz_push(c, fuzz_row(c));
        else if (kind < 34)
            fuzz_push(c, fuzz_other(c));
        else if (kind < 36)
            fuzz_push(c, ry_use(c->g, c->var[fuzz_below(&c->rng, FUZZ_VARS)]));
        else if (kind < 38 && writes)
            fuzz_write(c);
        else if (kind >= 38) {
            if (c->recompute && !scope) ry_recompute_begin(c->g);
            if (c->recompute && scope) ry_recompute_end(c->g);
            scope = !scope;
        }
    }
    if (c->recompute && scope) ry_recompute_end(c->g);
}

static inline void fuzz_grads(fuzz_case *c) {
    ry_tensor x[6], gx[6], y = fuzz_float(c);
    int n = 1 + fuzz_below(&c->rng, 6);
    for (int i = 0; i < n; i++) x[i] = fuzz_float(c);
    y = ry_mean(c->g, ry_cast(c->g, y, RY_F32), 0, false);
    if (ry_grad(c->g, y, RY_NULL, (size_t)n, x, gx) != RY_OK) return;
    for (int i = 0; i < n; i++) fuzz_push(c, gx[i]);
}

/* The graph of seed; false if a builder refused something (the graph then says what). */
static inline bool fuzz_build(fuzz_case *c, ry_graph *g, uint64_t seed, bool recompute) {
    c->rng.s = seed * 0x5851F42D4C957F2Du + 1;
    c->g = g;
    c->recompute = recompute;
    c->n_pool = c->n_want = 0;
    c->limit = fuzz_below(&c->rng, 50) == 0 ? 60000 : 600;
    c->n_input = 1 + fuzz_below(&c->rng, FUZZ_INPUTS - 1);
    static const int64_t sizes[] = {1, 2, 3, 4, 6, 6, 6};
    for (int i = 0; i < c->n_input; i++) {
        ry_spec s = {.dtype = fuzz_below(&c->rng, 4) ? RY_F32 : RY_BF16, .rank = fuzz_below(&c->rng, 4)};
        for (int d = 0; d < s.rank; d++) s.dim[d] = sizes[fuzz_below(&c->rng, 7)];
        if (c->limit > 600 && s.rank) s.dim[s.rank - 1] = 1100;
        c->input[i] = s;
        fuzz_push(c, ry_input(g, &s, "x"));
    }
    for (int i = 0; i < 2; i++) fuzz_push(c, ry_use(g, c->var[fuzz_below(&c->rng, FUZZ_VARS)]));
    bool writes = fuzz_below(&c->rng, 2);
    fuzz_nodes(c, 6 + fuzz_below(&c->rng, 60), writes);
    if (fuzz_below(&c->rng, 2) && ry_graph_ok(g)) {
        fuzz_grads(c);
        fuzz_nodes(c, fuzz_below(&c->rng, 8), writes);
    }
    if (!ry_graph_ok(g)) return false;
    c->n_want = 1 + fuzz_below(&c->rng, FUZZ_WANTS - 1);
    for (int i = 0; i < c->n_want; i++) c->want[i] = fuzz_pick(c);
    return true;
}

/* Numbers for inputs and variables: multiples of 1/8, so that nothing depends on a generator's last bits. */
static inline void fuzz_data(void *data, const ry_spec *s, uint64_t seed) {
    fuzz_rng r = {seed};
    int64_t n = ry_count(s);
    for (int64_t i = 0; i < n; i++) {
        float x = (float)(fuzz_below(&r, 33) - 16) / 8;
        ry_store_row(data, s->dtype, i, 1, &x);
    }
}

/* ---------------------------------------------------------------- what a graph means */

typedef struct fuzz_truth {
    void **cell; /* by node and output: the storage of a value that has its own */
    size_t n;
} fuzz_truth;

static inline void *fuzz_at(const fuzz_truth *t, const ry_value *v) {
    if (!v) return NULL;
    return (char *)t->cell[v->base->node->id * RY_MAX_OUT + (uint32_t)v->base->index] +
           ry_bytes_of(v->spec.dtype, v->offset);
}
static inline size_t fuzz_size(const ry_value *v) { return ry_bytes_of(v->spec.dtype, ry_count(&v->spec)); }

static inline void fuzz_run_node(const fuzz_truth *t, const ry_node *n) {
    ry_work w = n->op->work ? n->op->work(n) : (ry_work){0};
    void *src[RY_MAX_SRC], *out[RY_MAX_OUT];
    char *scratch = aligned_alloc(64, (w.scratch + 127) / 64 * 64),
         *local = aligned_alloc(64, (w.local + 127) / 64 * 64);
    assert_true(scratch && local);
    ry_cpu c = {.n = n, .args = n->args, .src = src, .out = out, .scratch = scratch};
    for (int i = 0; i < n->n_src; i++) src[i] = fuzz_at(t, n->src[i]);
    for (int i = 0; i < n->n_out; i++) out[i] = fuzz_at(t, &n->out[i]);
    for (int i = 0, j = 0; i < n->n_src; i++)
        if (n->op->writes >> i & 1u) src[i] = out[j++];
    for (c.round = 0; c.round < (w.rounds ? w.rounds : 1); c.round++)
        for (c.phase = 0; c.phase < (w.phases ? w.phases : 1); c.phase++)
            for (c.part = 0; c.part < (w.parts[c.phase] ? w.parts[c.phase] : 1); c.part++) {
                c.local = local;
                assert_ok(n->op->cpu(&c));
            }
    free(scratch);
    free(local);
}

static inline void fuzz_interpret(fuzz_truth *t, fuzz_case *c, void *const *input) {
    ry_graph *g = c->g;
    t->n = g->nodes.n * RY_MAX_OUT;
    t->cell = calloc(t->n, sizeof *t->cell);
    for (size_t id = 0; id < g->nodes.n; id++) {
        const ry_node *n = g->nodes.at[id];
        for (int o = 0; o < n->n_out; o++) {
            if (n->out[o].base != &n->out[o]) continue;
            size_t bytes = fuzz_size(&n->out[o]);
            void *at = t->cell[id * RY_MAX_OUT + (size_t)o] = aligned_alloc(64, (bytes + 127) / 64 * 64);
            assert_non_null(at);
            memset(at, 0xA5, bytes);
        }
        if (n->op->flags & RY_OP_VIEW) continue;
        if (n->op->flags & RY_OP_LEAF) {
            void *at = t->cell[id * RY_MAX_OUT];
            if (n->out[0].var)
                assert_ok(ry_var_read(n->out[0].var, at, fuzz_size(&n->out[0])));
            else
                memcpy(at, input[((const graph_input_args *)n->args)->index], fuzz_size(&n->out[0]));
            continue;
        }
        for (int i = 0, j = 0; i < n->n_src; i++)
            if (n->op->writes >> i & 1u) {
                memcpy(fuzz_at(t, &n->out[j]), fuzz_at(t, n->src[i]), fuzz_size(n->src[i]));
                j++;
            }
        fuzz_run_node(t, n);
    }
}
static inline void fuzz_forget(fuzz_truth *t) {
    for (size_t i = 0; i < t->n; i++) free(t->cell[i]);
    free(t->cell);
}

/* The value's elements, dense. */
static inline void fuzz_gather(const fuzz_truth *t, const ry_value *v, char *out) {
    const char *at = fuzz_at(t, v);
    size_t size = (size_t)ry_dtype_row(v->spec.dtype)->bytes;
    int64_t n = ry_count(&v->spec);
    for (int64_t i = 0; i < n; i++, out += size) {
        int64_t k = i, offset = 0;
        for (int d = v->spec.rank - 1; d >= 0; k /= v->spec.dim[d], d--) offset += k % v->spec.dim[d] * v->stride[d];
        memcpy(out, at + offset * (int64_t)size, size);
    }
}

/* Bit for bit; NaNs are all alike. -1, or the first element that differs. */
static inline int64_t fuzz_differs(const void *a, const void *b, const ry_spec *s) {
    int64_t n = ry_count(s);
    size_t size = (size_t)ry_dtype_row(s->dtype)->bytes;
    for (int64_t i = 0; i < n; i++) {
        const char *x = (const char *)a + (size_t)i * size, *y = (const char *)b + (size_t)i * size;
        if (!memcmp(x, y, size)) continue;
        float p, q;
        if (ry_is_float(s->dtype) && isnan(*ry_load_row(x, s->dtype, 0, 1, &p)) &&
            isnan(*ry_load_row(y, s->dtype, 0, 1, &q)))
            continue;
        return i;
    }
    return -1;
}

/* ---------------------------------------------------------------- what a plan does to memory */

typedef struct fuzz_slab {
    size_t sum, bound, slab;
} fuzz_slab; /* all intermediates; the largest sum alive at a step; as planned */

/* Follows the steps: which value's bytes lie where. NULL, or what is wrong. */
static inline const char *fuzz_check_plan(const ry_plan *p, fuzz_slab *size) {
    static char text[200];
    const ry_value **holds = calloc((size_t)p->n_storages + 1, sizeof *holds);
    size_t *alive = calloc((size_t)p->n_steps + 1, sizeof *alive);
    int *last = malloc(((size_t)p->n_storages + 1) * sizeof *last),
        *first = malloc(((size_t)p->n_storages + 1) * sizeof *first);
    const char *wrong = NULL;
    assert_true(holds && alive && last && first);
    for (int i = 0; i < p->n_storages; i++) first[i] = last[i] = -1;
    for (int i = 0; i < p->n_steps && !wrong; i++) {
        const plan_step *s = &p->steps[i];
        for (int k = 0; k < s->node->n_src; k++) {
            const ry_value *v = s->node->src[k];
            if (!v) continue;
            int at = plan_storage_of(p, v);
            if (at < 0)
                wrong = "a source without storage";
            else if (p->storages[at].where == PLAN_SLAB || p->storages[at].where == PLAN_OUTPUT) {
                if (holds[at] != v->base) wrong = "a source whose bytes were taken by another value";
                last[at] = i;
            }
        }
        /* While the step runs: outputs and scratch must not lie over sources, nor over each other. */
        for (int a = 0; a < s->node->n_src + s->node->n_out + 1 && !wrong; a++)
            for (int b = a + 1; b < s->node->n_src + s->node->n_out + 1 && !wrong; b++) {
                size_t at[2], bytes[2];
                int store[2] = {-1, -2}, ends[2] = {a, b};
                if (b < s->node->n_src) continue; /* two sources */
                for (int e = 0; e < 2; e++) {
                    const ry_value *v = ends[e] < s->node->n_src ? s->node->src[ends[e]]
                                        : ends[e] < s->node->n_src + s->node->n_out
                                            ? &s->node->out[ends[e] - s->node->n_src]
                                            : NULL;
                    if (v) {
                        store[e] = plan_storage_of(p, v);
                        at[e] = p->storages[store[e]].at;
                        bytes[e] = p->storages[store[e]].where == PLAN_SLAB ? p->storages[store[e]].bytes : 0;
                    } else
                        at[e] = s->scratch_at,
                        bytes[e] = ends[e] == s->node->n_src + s->node->n_out ? s->work.scratch : 0;
                    if (bytes[e] && at[e] + bytes[e] > p->slab) wrong = "bytes past the slab's end";
                }
                if (store[0] == store[1]) { /* in place: only where the row allows it */
                    const ry_node *n = s->node;
                    bool writes = a < n->n_src && n->op->writes >> a & 1u;
                    if (!writes && !(n->op->flags & (RY_OP_INPLACE | RY_OP_MAP)) &&
                        !(n->op->flags & RY_OP_INPLACE0 && a == 0 && b == n->n_src))
                        wrong = "an output in place of a source, which its row does not allow";
                    if (a >= n->n_src) wrong = "two outputs in one storage";
                    continue;
                }
                if (bytes[0] && bytes[1] && at[0] < at[1] + bytes[1] && at[1] < at[0] + bytes[0])
                    wrong = "an operand over another";
            }
        for (int k = 0; k < s->node->n_out && !wrong; k++) {
            const ry_value *v = &s->node->out[k];
            int at = plan_storage_of(p, v);
            if (at < 0)
                wrong = "an output without storage";
            else if (p->storages[at].where == PLAN_SLAB || p->storages[at].where == PLAN_OUTPUT) {
                holds[at] = v->base;
                if (first[at] < 0) first[at] = i;
                last[at] = i;
            }
        }
        for (int x = 0; x < p->n_storages && !wrong; x++) /* what this step wrote is what lies there now */
            for (int k = 0; k <= s->node->n_out; k++) {
                int o = k < s->node->n_out ? plan_storage_of(p, &s->node->out[k]) : -1;
                size_t at = k < s->node->n_out ? p->storages[o].at : s->scratch_at;
                size_t bytes =
                    k < s->node->n_out ? p->storages[o].where == PLAN_SLAB ? p->storages[o].bytes : 0 : s->work.scratch;
                const plan_storage *y = &p->storages[x];
                if (o == x || y->where != PLAN_SLAB || !bytes || !y->bytes || !holds[x]) continue;
                if (y->at < at + bytes && at < y->at + y->bytes) holds[x] = NULL;
            }
        if (wrong) snprintf(text, sizeof text, "step %d (%s): %s", i, s->node->op->name, wrong), wrong = text;
    }
    for (int i = 0; i < p->n_want && !wrong; i++) {
        const plan_want *w = &p->want[i];
        if (p->storages[w->storage].where == PLAN_SLAB)
            wrong = "a wanted value in the slab";
        else if (p->storages[w->storage].where == PLAN_OUTPUT && holds[w->storage] != w->value->base)
            wrong = "a wanted value was overwritten";
    }
    for (int x = 0; x < p->n_storages; x++) {
        const plan_storage *y = &p->storages[x];
        if (y->where != PLAN_SLAB || first[x] < 0) continue;
        size_t bytes = (y->bytes + 63) / 64 * 64;
        size->sum += bytes;
        for (int i = first[x]; i <= last[x]; i++) alive[i] += bytes;
    }
    size_t bound = 0;
    for (int i = 0; i < p->n_steps; i++) {
        size_t now = alive[i] + (p->steps[i].work.scratch + 63) / 64 * 64;
        if (now > bound) bound = now;
        size->sum += (p->steps[i].work.scratch + 63) / 64 * 64;
    }
    size->bound += bound;
    size->slab += p->slab;
    if (!wrong && p->slab < bound) wrong = "a slab below what is alive at once";
    free(holds);
    free(alive);
    free(last);
    free(first);
    return wrong;
}

/* ---------------------------------------------------------------- one seed, many plans */

enum { FUZZ_DEVICES = 3 }; /* with 1, 2 and 3 threads */
typedef struct fuzz_bench {
    ry_device *dev[FUZZ_DEVICES];
    fuzz_case c[FUZZ_DEVICES];
    int64_t graphs, plans, refused, cycles, nodes, steps, fused;
    fuzz_slab size;
} fuzz_bench;

static inline void fuzz_open(fuzz_bench *b) {
    static const ry_spec spec[FUZZ_VARS] = {
        {RY_F32, 2, {4, 6}}, {RY_F32, 1, {6}}, {RY_BF16, 2, {6, 6}}, {RY_F32, 3, {2, 3, 6}}};
    memset(b, 0, sizeof *b);
    for (int d = 0; d < FUZZ_DEVICES; d++) {
        assert_ok(ry_device_open(&b->dev[d], "cpu", &(ry_device_options){.threads = d + 1, .cache_bytes = 1 << 20}));
        for (int v = 0; v < FUZZ_VARS; v++) assert_ok(ry_var_open(&b->c[d].var[v], b->dev[d], &spec[v], "v"));
    }
}
static inline void fuzz_close(fuzz_bench *b) {
    for (int d = 0; d < FUZZ_DEVICES; d++) {
        for (int v = 0; v < FUZZ_VARS; v++) ry_var_close(b->c[d].var[v]);
        ry_device_close(b->dev[d]);
    }
}

static inline void fuzz_reset_vars(fuzz_case *c, uint64_t seed) {
    char data[1024];
    for (int v = 0; v < FUZZ_VARS; v++) {
        const ry_spec *s = ry_var_spec(c->var[v]);
        fuzz_data(data, s, seed + (uint64_t)v);
        assert_ok(ry_var_write(c->var[v], data, ry_bytes_of(s->dtype, ry_count(s))));
    }
}

#define FUZZ_FAIL(...)                                                                                               \
    do {                                                                                                             \
        print_error("seed %llu, variant %d (%s%s%s%s): ", (unsigned long long)seed, k, o.no_fusion ? "" : "fusion ", \
                    o.no_cse ? "" : "cse ", o.no_inplace ? "" : "inplace ", recompute ? "recompute" : "");           \
        print_error(__VA_ARGS__);                                                                                    \
        print_error("\n");                                                                                           \
        fail();                                                                                                      \
    } while (0)

/* Interprets the graph of seed, then plans and runs it in `variants` of the 16 ways {fusion, cse, inplace, recompute}, on devices with
 * 1, 2 and 3 threads. All must agree bit for bit, twice in a row. */
static inline void fuzz_seed(fuzz_bench *b, uint64_t seed, int variants) {
    void *input[FUZZ_INPUTS];
    ry_graph *g0;
    fuzz_truth t = {0};
    char *got = malloc(1 << 20), *should = malloc(1 << 20);
    assert_true(got && should);
    assert_ok(ry_graph_open(&g0, b->dev[0]));
    fuzz_reset_vars(&b->c[0], seed);
    if (!fuzz_build(&b->c[0], g0, seed, false)) {
        b->refused++;
        ry_graph_close(g0);
        free(got), free(should);
        return;
    }
    for (int i = 0; i < b->c[0].n_input; i++) {
        size_t bytes = ry_bytes_of(b->c[0].input[i].dtype, ry_count(&b->c[0].input[i]));
        input[i] = malloc(bytes);
        assert_non_null(input[i]);
        fuzz_data(input[i], &b->c[0].input[i], seed * 31 + (uint64_t)i);
    }
    fuzz_interpret(&t, &b->c[0], input);
    fuzz_case truth = b->c[0];
    const ry_value *now[FUZZ_VARS] = {NULL};
    for (size_t i = 0; i < g0->vars.n; i++)
        for (int v = 0; v < FUZZ_VARS; v++)
            if (g0->vars.at[i].var == truth.var[v]) now[v] = g0->vars.at[i].now;
    b->graphs++;
    ry_status first = RY_OK;
    for (int n = 0; n < variants; n++) {
        int k = n == 0   ? 15
                : n == 1 ? 7
                : n == 2 ? 0
                         : (int)((seed * 7 + (uint64_t)n * 5) % 16),
            d = (n + (int)(seed % 3)) % FUZZ_DEVICES;
        ry_compile_options o = {
            .no_fusion = !(k & 1), .no_cse = !(k & 2), .no_inplace = !(k & 4), .no_cache = seed % 5 == 0};
        bool recompute = k >> 3 & 1;
        fuzz_case *c = &b->c[d];
        ry_graph *g;
        ry_program *p = NULL;
        assert_ok(ry_graph_open(&g, b->dev[d]));
        fuzz_reset_vars(c, seed);
        if (!fuzz_build(c, g, seed, recompute)) FUZZ_FAIL("builders refused: %s", ry_message());
        ry_status st = ry_compile(&p, g, (size_t)c->n_want, c->want, &o);
        if (n == 0) first = st, b->cycles += st != RY_OK;
        if (st != first) FUZZ_FAIL("%s, but %s before: %s", ry_status_name(st), ry_status_name(first), ry_message());
        if (st != RY_OK) {
            if (st != RY_EARG || !strstr(ry_message(), "before this update")) FUZZ_FAIL("%s", ry_message());
            ry_graph_close(g);
            break;
        }
        const char *wrong = fuzz_check_plan(p->plan, &b->size);
        if (wrong) FUZZ_FAIL("%s", wrong);
        b->plans++, b->nodes += (int64_t)p->plan->info.nodes_before, b->steps += p->plan->n_steps,
            b->fused += (int64_t)p->plan->info.fused;
        for (int times = 0; times < 2; times++) {
            if (times) fuzz_reset_vars(c, seed);
            for (int i = 0; i < c->n_input; i++)
                assert_ok(
                    ry_program_feed(p, (size_t)i, input[i], ry_bytes_of(c->input[i].dtype, ry_count(&c->input[i]))));
            st = ry_run(p);
            if (st != RY_OK) FUZZ_FAIL("run: %s", ry_message());
            for (int i = 0; i < c->n_want; i++) {
                const ry_value *v = ry_value_of(g0, truth.want[i]);
                fuzz_gather(&t, v, should);
                assert_true(ry_same_spec(ry_program_spec(p, (size_t)i), &v->spec));
                assert_ok(ry_fetch(p, (size_t)i, got, fuzz_size(v)));
                int64_t at = fuzz_differs(got, should, &v->spec);
                if (at >= 0)
                    FUZZ_FAIL("want %d (%s %s): element %lld differs, run %d", i, v->node->op->name,
                              ry_show(&v->spec).s, (long long)at, times);
            }
            for (int i = 0; i < FUZZ_VARS; i++) {
                if (!now[i]) continue;
                assert_ok(ry_var_read(c->var[i], got, fuzz_size(now[i])));
                int64_t at = fuzz_differs(got, fuzz_at(&t, now[i]), &now[i]->spec);
                if (at >= 0) FUZZ_FAIL("variable %d: element %lld differs, run %d", i, (long long)at, times);
            }
        }
        ry_program_close(p);
        ry_graph_close(g);
    }
    fuzz_forget(&t);
    for (int i = 0; i < truth.n_input; i++) free(input[i]);
    ry_graph_close(g0);
    free(got);
    free(should);
}

static inline void fuzz_report(const fuzz_bench *b) {
    print_message("%lld graphs (%lld refused by builders, %lld cycles), %lld plans, %lld nodes in %lld steps, %lld "
                  "fused; slab %.3f of the lower bound, %.3f of the sum\n",
                  (long long)b->graphs, (long long)b->refused, (long long)b->cycles, (long long)b->plans,
                  (long long)b->nodes, (long long)b->steps, (long long)b->fused,
                  (double)b->size.slab / (double)b->size.bound, (double)b->size.slab / (double)b->size.sum);
}
#endif
