/* plan.c - from a graph to a list of steps: live nodes and their key, equal nodes merged, recomputation, order.
 * Fusion is plan_fuse.c, memory plan_place.c, the cache plan_cache.c.  Knows no formula and no vendor. */
#include "core/graph.h"
#include "core/plan.h"
#include "core/rows.h"
#include "core/tune.h"
#include <stdlib.h>
#include <string.h>

/* ---- live nodes and the key ---- */

typedef struct keybuf { RY_VEC(unsigned char) bytes; bool failed; } keybuf;

static void key_add(keybuf *k, const void *data, size_t n) {
    while (!k->failed && k->bytes.cap - k->bytes.n < n) {
        size_t cap = k->bytes.cap * 2 + n + 1024;
        void *at = ry_mem_grow(k->bytes.at, cap);
        if (at) k->bytes.at = at, k->bytes.cap = cap;
        else k->failed = true;
    }
    if (k->failed) return;
    if (n) memcpy(k->bytes.at + k->bytes.n, data, n);
    k->bytes.n += n;
}
static void key_int(keybuf *k, int64_t v) { key_add(k, &v, sizeof v); }

static uint64_t hash_bytes(const unsigned char *p, size_t n) {
    uint64_t h = 0x9E3779B97F4A7C15u ^ n; /* multiply-rotate over words; collisions only cost a comparison */
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    for (; n; p++, n--) h = (h ^ *p) * 0x100000001B3u;
    return h ^ h >> 29;
}

static int var_slot(plan_live *l, ry_var *v) {
    for (int i = l->n_vars; i-- > 0;)
        if (l->vars[i] == v) return i;
    l->vars[l->n_vars] = v;
    return l->n_vars++;
}

/* A row that lists no fields but has arguments: all its bytes count. */
static bool args_unlisted(const ry_op *op) { return !op->args && op->arg_size; }

static void key_node(keybuf *k, plan_live *l, const ry_node *n) {
    unsigned char args[GRAPH_MAX_ARGS];
    key_add(k, &n->op, sizeof n->op);
    key_int(k, (int64_t)n->n_src << 32 | n->n_out << 24 | (int64_t)n->backward);
    key_int(k, n->scope);
    for (int i = 0; i < n->n_src; i++) {
        const ry_value *v = n->src[i] ? graph_real(n->src[i]) : NULL;
        key_int(k, v ? l->index[v->node->id] << 2 | v->index : -1);
    }
    if (n->op->flags & RY_OP_LEAF) {
        const ry_spec *s = &n->out[0].spec;
        key_int(k, (int64_t)s->dtype << 32 | s->rank);
        key_add(k, s->dim, (size_t)s->rank * sizeof *s->dim);
        if (n->out[0].var) key_int(k, var_slot(l, n->out[0].var));
    }
    size_t bytes = graph_args_key(n->op, n->args, NULL);
    if (args_unlisted(n->op)) key_add(k, n->args, n->op->arg_size);
    if (bytes <= sizeof args) {
        graph_args_key(n->op, n->args, args);
        key_add(k, args, bytes);
    } else k->failed = true; /* no row comes near */
}

ry_status plan_find_live(plan_live *l, ry_graph *g, size_t n_want, const ry_tensor *want, const ry_compile_options *opt) {
    size_t n = g->nodes.n;
    keybuf k = {0};
    ry_status st = RY_OK;
    l->index = RY_NEW(&l->arena, int64_t, n + 1);
    l->nodes = RY_NEW(&l->arena, ry_node *, n + 1);
    l->vars = RY_NEW(&l->arena, ry_var *, g->vars.n + 1);
    if (!l->index || !l->nodes || !l->vars) return RY_ENOMEM;
    /* Roots: what is wanted, and every write. Sources have smaller ids, so one backward sweep marks all. */
    for (size_t i = 0; i < n_want; i++) {
        const ry_value *w = ry_value_of(g, want[i]);
        if (!w) RY_GO(st, done, ry_fail(RY_ESTALE, "wanted tensor %zu is null or of an earlier step", i));
        l->index[graph_real(w)->node->id] = 1;
    }
    for (uint32_t id = (uint32_t)n; id-- > 0;) {
        const ry_node *node = graph_node(g, id);
        if (node->op->writes) l->index[id] = 1;
        for (int i = 0; l->index[id] && i < node->n_src; i++)
            if (node->src[i]) l->index[graph_real(node->src[i])->node->id] = 1;
    }
    for (uint32_t id = 0; id < n; id++) {
        if (l->index[id]) {
            l->index[id] = (int64_t)l->n;
            l->nodes[l->n++] = graph_node(g, id);
        } else l->index[id] = -1;
    }
    key_int(&k, (int64_t)(opt->no_fusion | opt->no_cse << 1 | opt->no_inplace << 2));
    key_int(&k, (int64_t)tune_version(g->dev->tuning));
    key_int(&k, (int64_t)g->inputs.n);
    for (size_t i = 0; i < g->inputs.n; i++) {
        size_t bytes;
        RY_GO(st, done, ry_spec_bytes(&bytes, &g->inputs.at[i]->spec));
        key_int(&k, (int64_t)bytes);
    }
    for (size_t i = 0; i < l->n; i++) key_node(&k, l, l->nodes[i]);
    for (size_t i = 0; i < n_want; i++) {
        const ry_value *v = graph_real(ry_value_of(g, want[i]));
        key_int(&k, l->index[v->node->id] << 2 | v->index);
    }
    if (k.failed) RY_GO(st, done, ry_nomem(k.bytes.cap));
    l->key = RY_NEW(&l->arena, unsigned char, k.bytes.n);
    if (!l->key) st = RY_ENOMEM;
    else memcpy(l->key, k.bytes.at, k.bytes.n);
    l->key_bytes = k.bytes.n;
    l->hash = st == RY_OK ? hash_bytes(l->key, l->key_bytes) : 0;
done:
    RY_VEC_FREE(&k.bytes);
    return st;
}

/* ---- working copies ---- */

typedef struct work { /* the pass's state: nodes of the plan by id, before order */
    ry_plan *p;
    RY_VEC(ry_node *) nodes;
    RY_VEC(double) when;      /* priority: build order, clones just before their first reader */
    RY_VEC(uint32_t) origin;  /* live position */
} work;

/* A copy of node in the plan with its sources mapped by the caller. */
static ry_node *copy_node(work *w, const ry_node *n, ry_value *const *src, double when, uint32_t origin) {
    ry_arena *a = &w->p->arena;
    ry_node *c = RY_NEW(a, ry_node, 1);
    ry_value *out = RY_NEW(a, ry_value, n->n_out ? n->n_out : 1);
    if (!c || !out) return NULL;
    *c = *n;
    c->out = out;
    c->id = (uint32_t)w->nodes.n;
    if (n->op->arg_size && n->args) {
        c->args = ry_arena_alloc(a, n->op->arg_size);
        if (!c->args) return NULL;
        memcpy(c->args, n->args, n->op->arg_size);
    }
    for (int i = 0; i < n->n_src; i++) c->src[i] = src[i];
    int written = 0;
    for (int j = 0; j < n->n_out; j++) {
        out[j] = n->out[j];
        out[j].node = c;
        out[j].base = &out[j];
        if (n->op->flags & RY_OP_VIEW) out[j].base = c->src[0]->base;
    }
    for (int i = 0; i < n->n_src; i++)
        if ((n->op->writes >> i & 1u) && c->src[i]) out[written++].base = c->src[i]->base;
    for (int j = 0; j < n->n_out; j++)
        if (out[j].name && !(out[j].name = ry_arena_strdup(a, out[j].name))) return NULL;
    if (c->name && !(c->name = ry_arena_strdup(a, c->name))) return NULL;
    ry_node **slot = RY_PUSH(&w->nodes);
    double *t = slot ? RY_PUSH(&w->when) : NULL;
    uint32_t *o = t ? RY_PUSH(&w->origin) : NULL;
    if (!o) return NULL;
    *slot = c, *t = when, *o = origin;
    return c;
}

static bool mergeable(const ry_node *n) {
    return !n->op->writes && !(n->op->flags & RY_OP_LEAF) && !graph_has_dynamic(n->op);
}

static bool equal_node(const ry_node *n, ry_value *const *src, const ry_node *c) {
    unsigned char a[GRAPH_MAX_ARGS], b[GRAPH_MAX_ARGS];
    if (n->op != c->op || n->n_src != c->n_src || n->scope != c->scope || n->backward != c->backward) return false;
    for (int i = 0; i < n->n_src; i++)
        if (src[i] != c->src[i]) return false;
    size_t bytes = graph_args_key(n->op, n->args, NULL);
    if (bytes > sizeof a || (args_unlisted(n->op) && memcmp(n->args, c->args, n->op->arg_size))) return false;
    graph_args_key(n->op, n->args, a);
    graph_args_key(c->op, c->args, b);
    return !memcmp(a, b, bytes);
}

/* Copies the live nodes, merging equal ones (common subexpressions). map[live] is the plan's node.
 * Equal nodes of forward and backward are kept apart: merging them would undo recomputation's freedom to drop the value. */
static ry_status copy_live(work *w, const plan_live *l, bool cse, ry_node **map) {
    size_t cap = 64;
    while (cap < l->n * 2) cap *= 2;
    ry_node **table = ry_mem_zalloc(cap * sizeof *table);
    if (!table) return RY_ENOMEM;
    ry_status st = RY_OK;
    for (size_t i = 0; i < l->n && st == RY_OK; i++) {
        const ry_node *n = l->nodes[i];
        ry_value *src[RY_MAX_SRC] = {0};
        uint64_t h = (uint64_t)(uintptr_t)n->op;
        for (int s = 0; s < n->n_src; s++) {
            const ry_value *v = n->src[s] ? graph_real(n->src[s]) : NULL;
            if (v) src[s] = &map[l->index[v->node->id]]->out[v->index];
            h = (h ^ (uint64_t)(uintptr_t)src[s]) * 0xFF51AFD7ED558CCDu;
            h ^= h >> 31;
        }
        bool merge = cse && mergeable(n);
        size_t at = h & (cap - 1);
        for (; merge && table[at] && !map[i]; at = (at + 1) & (cap - 1))
            if (equal_node(n, src, table[at])) map[i] = table[at];
        if (map[i]) continue;
        map[i] = copy_node(w, n, src, (double)i, (uint32_t)i);
        if (!map[i]) st = RY_ENOMEM;
        else if (merge) table[at] = map[i];
    }
    ry_mem_free(table);
    return st;
}

/* ---- recomputation ---- */

typedef struct recompute {
    work *w;
    unsigned char *kept; /* by node: some output leaves its scope forward (or is wanted): stored, not computed again */
    ry_node **clone;     /* by node */
    RY_VEC(ry_node *) todo;
} recompute;

static bool computed_again(const recompute *r, const ry_node *n) { return n->scope && !n->backward && !r->kept[n->id] && !n->op->writes; }

static ry_value *moved(const recompute *r, ry_value *v) { return computed_again(r, v->node) ? &r->clone[v->node->id]->out[v->index] : v; }

/* The clone's output that stands for v, or v itself. Sources are cloned first: a stack, for chains may be long. */
static ry_value *again(recompute *r, ry_value *v, double when, bool *failed) {
    if (*failed || !computed_again(r, v->node)) return v;
    ry_node **slot = RY_PUSH(&r->todo);
    if (slot) *slot = v->node;
    else *failed = true;
    while (r->todo.n && !*failed) {
        ry_node *n = r->todo.at[r->todo.n - 1], *first = NULL;
        ry_value *src[RY_MAX_SRC] = {0};
        for (int i = 0; i < n->n_src && !first; i++)
            if (n->src[i] && computed_again(r, n->src[i]->node) && !r->clone[n->src[i]->node->id]) first = n->src[i]->node;
        if (first) {
            slot = RY_PUSH(&r->todo);
            if (slot) *slot = first;
            else *failed = true;
            continue;
        }
        r->todo.n--;
        if (r->clone[n->id]) continue;
        for (int i = 0; i < n->n_src; i++)
            if (n->src[i]) src[i] = moved(r, n->src[i]);
        ry_node *c = copy_node(r->w, n, src, when, r->w->origin.at[n->id]);
        if (c) c->backward = true, c->scope = 0, r->clone[n->id] = c;
        else *failed = true;
    }
    return *failed ? v : moved(r, v);
}

/* Backward readers of a value inside a recomputation scope read a clone instead (Chen et al. 2016, "Training deep nets with
 * sublinear memory cost"). Values that leave the scope are its checkpoints. */
static ry_status recompute_scopes(work *w, size_t n_want, ry_node *const *want_node) {
    size_t n = w->nodes.n;
    recompute r = {.w = w, .kept = ry_mem_zalloc(n + 1), .clone = ry_mem_zalloc((n + 1) * sizeof *r.clone)};
    bool failed = !r.kept || !r.clone;
    for (size_t i = 0; i < n && !failed; i++)
        for (int s = 0; s < w->nodes.at[i]->n_src; s++) {
            const ry_node *c = w->nodes.at[i];
            const ry_value *v = c->src[s];
            if (v && v->node->scope && v->node->scope != c->scope && !c->backward) r.kept[v->node->id] = 1;
        }
    for (size_t i = 0; i < n_want && !failed; i++) r.kept[want_node[i]->id] = 1;
    for (size_t i = n; i-- > 0 && !failed;) { /* a kept view keeps what it views */
        const ry_node *c = w->nodes.at[i];
        if ((c->op->flags & RY_OP_VIEW) && r.kept[i] && c->src[0]->node->scope) r.kept[c->src[0]->node->id] = 1;
    }
    for (size_t i = 0; i < n && !failed; i++) {
        ry_node *c = w->nodes.at[i];
        for (int s = 0; c->backward && s < c->n_src && !failed; s++)
            if (c->src[s]) c->src[s] = again(&r, c->src[s], w->when.at[i] - 0.5, &failed);
        if (c->backward && !failed && (c->op->flags & RY_OP_VIEW)) c->out[0].base = c->src[0]->base;
    }
    ry_mem_free(r.kept);
    ry_mem_free(r.clone);
    RY_VEC_FREE(&r.todo);
    return failed ? ry_nomem(n) : RY_OK;
}

/* ---- order ---- */

typedef struct edge { uint32_t to; int64_t next; } edge;
typedef struct order {
    work *w;
    int64_t *head; /* by node: first edge, -1 none */
    RY_VEC(edge) edges;
    uint32_t *waits;
    uint32_t *heap;
    size_t n_heap;
} order;

static bool add_edge(order *o, uint32_t from, uint32_t to) {
    edge *e = RY_PUSH(&o->edges);
    if (!e) return false;
    *e = (edge){to, o->head[from]};
    o->head[from] = (int64_t)o->edges.n - 1;
    o->waits[to]++;
    return true;
}
static bool before(const order *o, uint32_t a, uint32_t b) {
    double x = o->w->when.at[a], y = o->w->when.at[b];
    return x != y ? x < y : a < b;
}
static void heap_push(order *o, uint32_t id) {
    size_t i = o->n_heap++;
    for (; i && before(o, id, o->heap[(i - 1) / 2]); i = (i - 1) / 2) o->heap[i] = o->heap[(i - 1) / 2];
    o->heap[i] = id;
}
static uint32_t heap_pop(order *o) {
    uint32_t top = o->heap[0], last = o->heap[--o->n_heap];
    size_t i = 0, c;
    while ((c = 2 * i + 1) < o->n_heap) {
        if (c + 1 < o->n_heap && before(o, o->heap[c + 1], o->heap[c])) c++;
        if (!before(o, o->heap[c], last)) break;
        o->heap[i] = o->heap[c];
        i = c;
    }
    o->heap[i] = last;
    return top;
}

typedef struct use { const ry_var *var; uint32_t version, node; } use;

static int compare_use(const void *a, const void *b) {
    const use *x = a, *y = b;
    if (x->var != y->var) return (uintptr_t)x->var < (uintptr_t)y->var ? -1 : 1;
    if (x->version != y->version) return x->version < y->version ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* Readers of a variable's version k run before the writer of k + 1. */
static bool version_edges(order *o) {
    work *w = o->w;
    RY_VEC(use) reads = {0};
    bool ok = true;
    for (size_t i = 0; i < w->nodes.n && ok; i++)
        for (int s = 0; s < w->nodes.at[i]->n_src && ok; s++) {
            const ry_value *v = w->nodes.at[i]->src[s];
            if (!v || !v->var) continue;
            use *u = RY_PUSH(&reads);
            if (u) *u = (use){v->var, v->version, (uint32_t)i};
            else ok = false;
        }
    if (reads.n) qsort(reads.at, reads.n, sizeof *reads.at, compare_use);
    for (size_t i = 0; i < w->nodes.n && ok; i++) {
        const ry_node *writer = w->nodes.at[i];
        for (int s = 0; s < writer->n_src && ok; s++) {
            if (!(writer->op->writes >> s & 1u) || !writer->src[s]) continue;
            use key = {writer->src[s]->var, writer->src[s]->version, 0};
            size_t lo = 0, hi = reads.n;
            while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (compare_use(&reads.at[mid], &key) < 0) lo = mid + 1;
                else hi = mid;
            }
            for (; lo < reads.n && reads.at[lo].var == key.var && reads.at[lo].version == key.version && ok; lo++)
                if (reads.at[lo].node != i) ok = add_edge(o, reads.at[lo].node, (uint32_t)i);
        }
    }
    RY_VEC_FREE(&reads);
    return ok;
}

/* A topological order that follows `when`. */
static ry_status sort_nodes(work *w, plan_list *out) {
    size_t n = w->nodes.n;
    order o = {.w = w};
    ry_status st = RY_ENOMEM;
    o.head = ry_mem_alloc((n + 1) * sizeof *o.head);
    o.waits = ry_mem_zalloc((n + 1) * sizeof *o.waits);
    o.heap = ry_mem_alloc((n + 1) * sizeof *o.heap);
    out->at = RY_NEW(&w->p->arena, ry_node *, n + 1);
    if (!o.head || !o.waits || !o.heap || !out->at) goto done;
    for (size_t i = 0; i < n; i++) o.head[i] = -1;
    for (size_t i = 0; i < n; i++)
        for (int s = 0; s < w->nodes.at[i]->n_src; s++)
            if (w->nodes.at[i]->src[s] && !add_edge(&o, w->nodes.at[i]->src[s]->node->id, (uint32_t)i)) goto done;
    if (!version_edges(&o)) goto done;
    for (size_t i = 0; i < n; i++)
        if (!o.waits[i]) heap_push(&o, (uint32_t)i);
    while (o.n_heap) {
        uint32_t id = heap_pop(&o);
        out->at[out->n++] = w->nodes.at[id];
        for (int64_t e = o.head[id]; e >= 0; e = o.edges.at[e].next)
            if (!--o.waits[o.edges.at[e].to]) heap_push(&o, o.edges.at[e].to);
    }
    st = RY_OK;
    for (size_t i = 0; i < n && out->n < n; i++)
        if (o.waits[i] && w->nodes.at[i]->op->writes) {
            st = ry_fail_node(w->nodes.at[i], RY_EARG, "a value from before this update is needed by something that needs the updated one");
            break;
        }
    if (st == RY_OK && out->n < n) st = ry_fail(RY_EINTERNAL, "plan: the graph has a cycle");
done:
    ry_mem_free(o.head);
    ry_mem_free(o.waits);
    ry_mem_free(o.heap);
    RY_VEC_FREE(&o.edges);
    return st;
}

/* ---- all together ---- */

/* Wanted values are read after the run: strided ones and old versions of variables are copied at their time. */
static ry_status settle_wants(work *w, ry_graph *g, size_t n_want, ry_value **want) {
    for (size_t i = 0; i < n_want; i++) {
        ry_value *v = want[i];
        bool old = false;
        for (size_t k = 0; v->var && k < g->vars.n; k++)
            if (g->vars.at[k].var == v->var && g->vars.at[k].now->version != v->version) old = true;
        if (ry_is_dense(v) && !old) continue;
        const ry_op *op = old && ry_is_dense(v) ? &ry_op_copy_row : &ry_op_contiguous_row;
        ry_node n = {.op = op, .n_src = 1, .n_out = 1, .backward = v->node->backward};
        ry_value out = {.spec = v->spec, .name = v->name};
        int64_t step = 1;
        for (int d = v->spec.rank - 1; d >= 0; step *= v->spec.dim[d] ? v->spec.dim[d] : 1, d--) out.stride[d] = step;
        n.out = &out;
        n.src[0] = v;
        ry_node *c = copy_node(w, &n, n.src, w->when.at[v->node->id] + 0.25, 0);
        if (!c) return RY_ENOMEM;
        want[i] = &c->out[0];
    }
    return RY_OK;
}

ry_cost plan_cost(const ry_node *n) {
    if (n->op->cost) return n->op->cost(n);
    ry_cost c = {0};
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i]) c.bytes += (double)ry_bytes_of(n->src[i]->spec.dtype, ry_count(&n->src[i]->spec));
    for (int i = 0; i < n->n_out; i++) {
        c.bytes += (double)ry_bytes_of(n->out[i].spec.dtype, ry_count(&n->out[i].spec));
        c.flops += (double)ry_count(&n->out[i].spec);
    }
    return c;
}

static ry_status step_work(ry_device *d, const ry_node *n, ry_work *w) {
    if (d->api->work) return d->api->work(d, n, w);
    if (!n->op->cpu) return ry_fail_node(n, RY_EUNSUPPORTED, "has no kernel here");
    if (n->op->work) *w = n->op->work(n);
    return RY_OK;
}

static ry_status make_steps(ry_plan *p, ry_device *d, work *w, const plan_list *l) {
    p->steps = RY_NEW(&p->arena, plan_step, l->n + 1);
    if (!p->steps) return RY_ENOMEM;
    for (size_t i = 0; i < l->n; i++) {
        ry_node *n = l->at[i];
        if (n->op->flags & (RY_OP_LEAF | RY_OP_VIEW)) continue;
        plan_step *s = &p->steps[p->n_steps++];
        s->node = n;
        RY_TRY(step_work(d, n, &s->work));
        if (s->work.phases < 1) s->work.phases = 1;
        for (int k = 0; k < RY_MAX_PHASES; k++)
            if (s->work.parts[k] < 1) s->work.parts[k] = 1;
        if (s->work.local > p->local) p->local = s->work.local;
        s->dynamic = graph_has_dynamic(n->op);
        s->origin = n->id < w->origin.n ? w->origin.at[n->id] : 0;
        s->phase = n->op->writes ? 2 : n->backward ? 1 : 0;
        ry_cost c = plan_cost(n);
        p->info.flops += c.flops;
        p->info.bytes_moved += c.bytes;
    }
    return RY_OK;
}

/* The value of an input whose elements v has in their order, or NULL: through copies and other integer types. */
static const ry_value *fed_value(const ry_value *v) {
    for (;;) {
        const ry_node *n = v->base->node;
        if (n->op->flags & RY_OP_LEAF) return n->op == &graph_input_row ? v : NULL;
        bool same = (n->op == &ry_op_contiguous_row || n->op == &ry_op_copy_row || n->op == &ry_op_cast_row) && ry_is_dense(v) &&
                    ry_count(&v->spec) == ry_count(&n->out[0].spec) && ry_dtype_row(n->src[0]->spec.dtype)->kind == RY_KIND_INT;
        if (!same) return NULL;
        v = n->src[0];
    }
}

static ry_status find_fed(ry_plan *p) {
    p->fed = RY_NEW(&p->arena, plan_fed, p->n_steps + 1);
    if (!p->fed) return RY_ENOMEM;
    for (int i = 0; i < p->n_steps; i++) {
        const ry_node *n = p->steps[i].node;
        const ry_value *v = n->op->numbers ? fed_value(n->src[n->op->numbers(n).src]) : NULL;
        if (v) p->fed[p->n_fed++] = (plan_fed){n, v, p->storages[plan_storage_of(p, v)].slot};
    }
    return RY_OK;
}

enum { FIRST_CHUNK = 4096 }; /* small plans are many: they are kept, and counted */

ry_status plan_make(ry_plan **out, ry_graph *g, plan_live *l, size_t n_want, const ry_tensor *want, const ry_compile_options *opt) {
    ry_plan *p = ry_mem_zalloc(sizeof *p);
    if (!p) return RY_ENOMEM;
    work w = {.p = p};
    plan_list list = {0};
    p->arena.chunk_bytes = FIRST_CHUNK;
    ry_status st = RY_ENOMEM;
    ry_node **map = ry_mem_zalloc((l->n + 1) * sizeof *map);
    ry_value **wv = ry_mem_zalloc((n_want + 1) * sizeof *wv);
    ry_node **wn = ry_mem_zalloc((n_want + 1) * sizeof *wn);
    p->key = RY_NEW(&p->arena, unsigned char, l->key_bytes);
    if (!map || !wv || !wn || !p->key) goto fail;
    memcpy(p->key, l->key, l->key_bytes);
    p->key_bytes = l->key_bytes;
    p->hash = l->hash;
    p->info.nodes_before = l->n;
    RY_GO(st, fail, copy_live(&w, l, !opt->no_cse, map));
    for (size_t i = 0; i < n_want; i++) {
        const ry_value *v = graph_real(ry_value_of(g, want[i]));
        wn[i] = map[l->index[v->node->id]];
        wv[i] = &wn[i]->out[v->index];
    }
    if (g->scopes) RY_GO(st, fail, recompute_scopes(&w, n_want, wn));
    RY_GO(st, fail, settle_wants(&w, g, n_want, wv));
    RY_GO(st, fail, sort_nodes(&w, &list));
    if (!opt->no_fusion) RY_GO(st, fail, plan_fuse(p, &list, w.nodes.n, n_want, wv, (int)g->dev->caps.max_bindings));
    if (!opt->no_fusion && g->dev->api->work) RY_GO(st, fail, plan_join(p, &list, n_want, wv, &g->dev->caps));
    /* New ids: positions in the final list, so that values index tables. */
    st = RY_ENOMEM;
    uint32_t *origin = RY_NEW(&p->arena, uint32_t, list.n + 1);
    if (!origin) goto fail;
    for (size_t i = 0; i < list.n; i++) {
        origin[i] = list.at[i]->id < w.origin.n ? w.origin.at[list.at[i]->id] : 0;
        list.at[i]->id = (uint32_t)i;
    }
    if (w.origin.n) memset(w.origin.at, 0, w.origin.n * sizeof *w.origin.at);
    for (size_t i = 0; i < list.n && i < w.origin.n; i++) w.origin.at[i] = origin[i];
    RY_GO(st, fail, make_steps(p, g->dev, &w, &list));
    st = RY_ENOMEM;
    p->n_want = (int)n_want;
    p->n_inputs = (int)g->inputs.n;
    p->n_vars = l->n_vars;
    p->want = RY_NEW(&p->arena, plan_want, n_want + 1);
    p->input_bytes = RY_NEW(&p->arena, size_t, p->n_inputs + 1);
    p->storage_of = RY_NEW(&p->arena, int, list.n * RY_MAX_OUT + 1);
    p->storages = RY_NEW(&p->arena, plan_storage, list.n * RY_MAX_OUT + 1);
    if (!p->want || !p->input_bytes || !p->storage_of || !p->storages) goto fail;
    for (int i = 0; i < p->n_inputs; i++) RY_GO(st, fail, ry_spec_bytes(&p->input_bytes[i], &g->inputs.at[i]->spec));
    for (size_t i = 0; i < n_want; i++) p->want[i].value = wv[i];
    for (size_t i = 0; i < list.n * RY_MAX_OUT; i++) p->storage_of[i] = -1;
    /* Leaves have storages of their own kind; plan_place finds the others. */
    for (size_t i = 0; i < list.n; i++) {
        ry_node *n = list.at[i];
        if (!(n->op->flags & RY_OP_LEAF)) continue;
        plan_storage *s = &p->storages[p->n_storages];
        p->storage_of[i * RY_MAX_OUT] = p->n_storages++;
        s->bytes = ry_bytes_of(n->out[0].spec.dtype, ry_count(&n->out[0].spec));
        s->where = n->out[0].var ? PLAN_VAR : PLAN_INPUT;
        if (n->out[0].var) s->slot = var_slot(l, n->out[0].var);
        else s->slot = (int)((const graph_input_args *)n->args)->index;
        if (n->out[0].var) p->info.weights += s->bytes;
        else p->info.inputs += s->bytes;
        n->out[0].var = NULL; /* the plan serves other variables too */
    }
    if (g->dev->api->work) RY_GO(st, fail, find_fed(p));
    RY_GO(st, fail, plan_place(p, !opt->no_inplace, g->dev->caps.align, g->dev->caps.max_buffer));
    p->info.nodes = (size_t)p->n_steps;
    p->info.slab = p->slab;
    p->info.peak = p->info.weights + p->info.inputs + p->info.outputs + p->slab;
    *out = p;
    st = RY_OK;
fail:
    ry_mem_free(map);
    ry_mem_free(wv);
    ry_mem_free(wn);
    RY_VEC_FREE(&w.nodes);
    RY_VEC_FREE(&w.when);
    RY_VEC_FREE(&w.origin);
    if (st != RY_OK) plan_free(p);
    return st;
}

void plan_free(ry_plan *p) {
    if (!p) return;
    ry_arena_free(&p->arena);
    ry_mem_free(p);
}

int plan_storage_of(const ry_plan *p, const ry_value *v) {
    return p->storage_of[(size_t)v->base->node->id * RY_MAX_OUT + (size_t)v->base->index];
}
