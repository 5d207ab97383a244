/* plan_fuse.c - chains of elementwise nodes become one node each, so that every byte moves once.
 *
 * Nodes are taken in order. A node joins the group of a producer, or of a sibling that reads the same bytes, and the group then runs
 * at the newest member's place; that is right exactly if no reader outside the group runs before it. */
#include "core/chain.h"
#include "core/plan.h"
#include "core/rows.h"
#include <string.h>

enum { MAX_MEMBERS = RY_MAX_LINKS };

typedef struct group {
    uint32_t *member;     /* positions, ascending */
    int n;
    uint32_t deadline;    /* position of the first writer of something a member reads from a variable; UINT32_MAX none */
} group;

typedef struct fuser {
    ry_plan *p;
    plan_list *l;
    uint32_t *pos;        /* by id */
    uint32_t *read_at, *reads; /* readers of a base node's storage, by id: reads[read_at[id] .. read_at[id + 1]) are positions */
    unsigned char *wanted;/* by id: some output is wanted */
    group **of;           /* by position; NULL: not elementwise */
    ry_arena arena;
    int max_operands;
} fuser;

static bool is_fill(const ry_value *v) { return v->base->node->op == &ry_op_fill_row; }
static bool fusible(const ry_node *n) {
    return (n->op->flags & RY_OP_MAP) && n->op != &ry_op_fill_row && n->n_out == 1 && ry_dtype_row(n->out[0].spec.dtype)->block == 1;
}
static uint32_t run_at(const fuser *f, uint32_t pos) {
    const group *g = f->of[pos];
    return g ? g->member[g->n - 1] : pos;
}

static ry_status index_list(fuser *f, size_t n_ids, size_t n_want, ry_value *const *want) {
    ry_arena *a = &f->arena;
    plan_list *l = f->l;
    f->pos = RY_NEW(a, uint32_t, n_ids + 1);
    f->read_at = RY_NEW(a, uint32_t, n_ids + 2);
    f->wanted = RY_NEW(a, unsigned char, n_ids + 1);
    f->of = RY_NEW(a, group *, l->n + 1);
    if (!f->pos || !f->read_at || !f->wanted || !f->of) return RY_ENOMEM;
    size_t n_reads = 0;
    for (size_t i = 0; i < l->n; i++) {
        const ry_node *n = l->at[i];
        f->pos[n->id] = (uint32_t)i;
        if (n->op->flags & RY_OP_VIEW) continue; /* who reads the view reads the storage */
        for (int s = 0; s < n->n_src; s++)
            if (n->src[s]) f->read_at[n->src[s]->base->node->id + 1]++, n_reads++;
    }
    for (size_t i = 0; i < n_ids; i++) f->read_at[i + 1] += f->read_at[i];
    f->reads = RY_NEW(a, uint32_t, n_reads + 1);
    uint32_t *fill = RY_NEW(a, uint32_t, n_ids + 1);
    if (!f->reads || !fill) return RY_ENOMEM;
    for (size_t i = 0; i < l->n; i++) {
        const ry_node *n = l->at[i];
        if (n->op->flags & RY_OP_VIEW) continue;
        for (int s = 0; s < n->n_src; s++)
            if (n->src[s]) {
                uint32_t id = n->src[s]->base->node->id;
                f->reads[f->read_at[id] + fill[id]++] = (uint32_t)i;
            }
    }
    for (size_t i = 0; i < n_want; i++) f->wanted[want[i]->base->node->id] = 1;
    return RY_OK;
}

/* The first writer, after position pos, of the variable version that v sees. */
static uint32_t writer_of(const fuser *f, const ry_value *v) {
    uint32_t first = UINT32_MAX;
    if (!v->var) return first;
    uint32_t id = v->base->node->id;
    for (uint32_t r = f->read_at[id]; r < f->read_at[id + 1]; r++) {
        const ry_node *n = f->l->at[f->reads[r]];
        for (int s = 0; s < n->n_src; s++)
            if ((n->op->writes >> s & 1u) && n->src[s] && n->src[s]->var == v->var && n->src[s]->version >= v->version && f->reads[r] < first)
                first = f->reads[r];
    }
    return first;
}

/* ---- a group's interface: distinct sources, immediates, outputs ---- */

typedef struct face {
    ry_value *src[RY_MAX_SRC];
    ry_value *fill[RY_MAX_LINKS];
    uint32_t out[RY_MAX_OUT];
    int n_src, n_fill, n_out;
} face;

static bool same_view(const ry_value *a, const ry_value *b) {
    return a == b || (a->base == b->base && a->offset == b->offset && ry_same_spec(&a->spec, &b->spec) &&
                      !memcmp(a->stride, b->stride, (size_t)a->spec.rank * sizeof *a->stride));
}
static double fill_value(const ry_value *v) { return ((const ry_fill_args *)v->base->node->args)->value; }
static bool same_fill(const ry_value *a, const ry_value *b) {
    double x = fill_value(a), y = fill_value(b);
    return a->spec.dtype == b->spec.dtype && !memcmp(&x, &y, sizeof x);
}
static bool among(const uint32_t *m, int n, uint32_t pos) {
    for (int i = 0; i < n; i++)
        if (m[i] == pos) return true;
    return false;
}

/* False where it exceeds the limits of a node. */
static bool make_face(const fuser *f, const uint32_t *member, int n, face *x) {
    memset(x, 0, sizeof *x);
    for (int i = 0; i < n; i++) {
        const ry_node *node = f->l->at[member[i]];
        for (int s = 0; s < node->n_src; s++) {
            ry_value *v = node->src[s];
            int k = 0;
            if (is_fill(v)) {
                while (k < x->n_fill && !same_fill(x->fill[k], v)) k++;
                if (k < x->n_fill) continue;
                if (k == RY_MAX_LINKS) return false;
                x->fill[x->n_fill++] = v;
            } else if (v->base == v && among(member, n, f->pos[v->node->id])) {
                continue;
            } else {
                while (k < x->n_src && !same_view(x->src[k], v)) k++;
                if (k < x->n_src) continue;
                if (k == RY_MAX_SRC) return false;
                x->src[x->n_src++] = v;
            }
        }
        bool seen = f->wanted[node->id];
        for (uint32_t r = f->read_at[node->id]; r < f->read_at[node->id + 1]; r++) {
            /* outside readers, and members that read it through a view, need it in memory (the latter forbids the merge) */
            const ry_node *reader = f->l->at[f->reads[r]];
            if (!among(member, n, f->reads[r])) seen = true;
            else
                for (int s = 0; s < reader->n_src; s++)
                    if (reader->src[s] && reader->src[s]->base == &node->out[0] && reader->src[s] != &node->out[0]) return false;
        }
        if (seen) {
            if (x->n_out == RY_MAX_OUT) return false;
            x->out[x->n_out++] = member[i];
        }
    }
    return x->n_out > 0 && n + x->n_fill <= RY_MAX_LINKS;
}

static bool try_merge(fuser *f, group *a, group *b) { /* b holds the newest node; a's members move to its place */
    if (a == b || a->n + b->n > MAX_MEMBERS) return false;
    const ry_node *x = f->l->at[a->member[0]], *y = f->l->at[b->member[0]];
    uint32_t at = b->member[b->n - 1], member[MAX_MEMBERS];
    face unused;
    if (!ry_same_shape(&x->out[0].spec, &y->out[0].spec) || x->backward != y->backward || a->deadline <= at || a->member[a->n - 1] > at)
        return false;
    for (int i = 0; i < a->n; i++) {
        uint32_t id = f->l->at[a->member[i]]->id;
        for (uint32_t r = f->read_at[id]; r < f->read_at[id + 1]; r++) {
            group *g = f->of[f->reads[r]];
            if (g != a && g != b && run_at(f, f->reads[r]) <= at) return false;
        }
    }
    int n = 0, i = 0, k = 0;
    while (i < a->n || k < b->n) member[n++] = k == b->n || (i < a->n && a->member[i] < b->member[k]) ? a->member[i++] : b->member[k++];
    if (!make_face(f, member, n, &unused) || unused.n_src + unused.n_out > f->max_operands) return false;
    uint32_t *m = RY_NEW(&f->arena, uint32_t, n);
    if (!m) return false; /* no memory: stays unfused */
    memcpy(m, member, (size_t)n * sizeof *m);
    b->member = m;
    b->n = n;
    if (a->deadline < b->deadline) b->deadline = a->deadline;
    for (i = 0; i < n; i++) f->of[m[i]] = b;
    return true;
}

static ry_status group_nodes(fuser *f) {
    for (uint32_t i = 0; i < f->l->n; i++) {
        const ry_node *n = f->l->at[i];
        if (!fusible(n)) continue;
        group *g = RY_NEW(&f->arena, group, 1);
        if (!g || !(g->member = RY_NEW(&f->arena, uint32_t, 1))) return RY_ENOMEM;
        g->member[0] = i, g->n = 1, g->deadline = UINT32_MAX;
        f->of[i] = g;
        for (int s = 0; s < n->n_src; s++) {
            uint32_t d = writer_of(f, n->src[s]);
            if (d > i && d < g->deadline) g->deadline = d;
        }
        for (int s = 0; s < n->n_src; s++) { /* producers */
            const ry_value *v = n->src[s];
            if (v->base == v && f->of[f->pos[v->node->id]]) try_merge(f, f->of[f->pos[v->node->id]], g);
        }
        for (int s = 0; s < n->n_src; s++) { /* siblings: earlier readers of the same whole tensor */
            const ry_value *v = n->src[s];
            if (is_fill(v) || !ry_same_shape(&v->spec, &n->out[0].spec)) continue;
            uint32_t id = v->base->node->id;
            for (uint32_t r = f->read_at[id]; r < f->read_at[id + 1] && f->reads[r] < i; r++)
                if (f->of[f->reads[r]]) try_merge(f, f->of[f->reads[r]], g);
        }
    }
    return RY_OK;
}

/* ---- the fused node ---- */

static const char *chain_name(fuser *f, const group *g) {
    char text[64] = "";
    for (int i = 0; i < g->n; i++) {
        const char *name = f->l->at[g->member[i]]->op->name;
        if (strlen(text) + strlen(name) + 5 >= sizeof text) {
            strcat(text, "+..");
            break;
        }
        if (i) strcat(text, "+");
        strcat(text, name);
    }
    return ry_arena_strdup(&f->p->arena, text);
}

static ry_status fuse_group(fuser *f, const group *g, const face *x, ry_value **moved) {
    ry_arena *a = &f->p->arena;
    ry_node *n = RY_NEW(a, ry_node, 1);
    ry_chain *c = RY_NEW(a, ry_chain, 1);
    ry_value *out = RY_NEW(a, ry_value, x->n_out);
    if (!n || !c || !out) return RY_ENOMEM;
    const ry_node *last = f->l->at[g->member[g->n - 1]];
    *n = (ry_node){.op = ry_row("fused"), .id = last->id, .n_src = x->n_src, .n_out = x->n_out, .out = out, .args = c, .backward = last->backward};
    n->name = chain_name(f, g);
    c->n_src = x->n_src, c->n_out = x->n_out;
    for (int i = 0; i < x->n_src; i++) n->src[i] = x->src[i];
    for (int i = 0; i < x->n_fill; i++) {
        ry_link *k = &c->link[c->n_link++];
        *k = (ry_link){.op = &ry_op_fill_row, .in = {-1, -1, -1, -1, -1}, .dtype = x->fill[i]->spec.dtype, .value = fill_value(x->fill[i])};
    }
    for (int i = 0; i < g->n; i++) {
        const ry_node *m = f->l->at[g->member[i]];
        ry_link *k = &c->link[c->n_link++];
        *k = (ry_link){.op = m->op, .in = {-1, -1, -1, -1, -1}, .dtype = m->out[0].spec.dtype};
        for (int s = 0; s < m->n_src; s++) {
            const ry_value *v = m->src[s];
            int r = 0;
            if (is_fill(v)) {
                while (!same_fill(x->fill[r], v)) r++;
                k->in[s] = (int16_t)(x->n_src + r);
            } else if (v->base == v && among(g->member, g->n, f->pos[v->node->id])) {
                while (g->member[r] != f->pos[v->node->id]) r++;
                k->in[s] = (int16_t)(x->n_src + x->n_fill + r);
            } else {
                while (!same_view(x->src[r], v)) r++;
                k->in[s] = (int16_t)r;
            }
        }
        for (int o = 0; o < x->n_out; o++)
            if (x->out[o] == g->member[i]) {
                out[o] = m->out[0];
                out[o].node = n, out[o].index = o, out[o].base = &out[o];
                c->out[o] = (int16_t)(x->n_src + c->n_link - 1);
                moved[m->id] = &out[o];
            }
    }
    f->l->at[g->member[g->n - 1]] = n;
    for (int i = 0; i < g->n - 1; i++) f->l->at[g->member[i]] = NULL;
    return n->name ? RY_OK : RY_ENOMEM;
}

static ry_value *follow(ry_value *const *moved, ry_value *v) { return moved[v->node->id] && v->base == v ? moved[v->node->id] : v; }

ry_status plan_fuse(ry_plan *p, plan_list *l, size_t n_ids, size_t n_want, ry_value **want, int max_operands) {
    fuser f = {.p = p, .l = l, .max_operands = max_operands ? max_operands : RY_MAX_SRC + RY_MAX_OUT};
    ry_status st;
    size_t n = 0;
    ry_value **moved = NULL;
    RY_GO(st, done, index_list(&f, n_ids, n_want, want));
    RY_GO(st, done, group_nodes(&f));
    moved = RY_NEW(&f.arena, ry_value *, n_ids + 1);
    st = moved ? RY_OK : RY_ENOMEM;
    for (uint32_t i = 0; i < l->n && st == RY_OK; i++) {
        group *g = f.of[i];
        face x;
        if (!g || g->member[g->n - 1] != i || !make_face(&f, g->member, g->n, &x)) continue;
        if (g->n == 1 && !x.n_fill) continue;
        if (g->n > 1) p->info.fused += (size_t)g->n - 1;
        st = fuse_group(&f, g, &x, moved);
    }
    if (st != RY_OK) goto done;
    /* Readers and views follow the values that moved; then fills that nobody reads any more go. */
    for (size_t i = 0; i < l->n; i++) {
        ry_node *node = l->at[i];
        if (!node) continue;
        for (int s = 0; s < node->n_src; s++)
            if (node->src[s]) node->src[s] = follow(moved, node->src[s]);
        for (int o = 0; o < node->n_out; o++) /* views; a fused node's own outputs are where they belong */
            if (node->out[o].base != &node->out[o]) node->out[o].base = follow(moved, node->out[o].base);
    }
    for (size_t i = 0; i < n_want; i++) want[i] = follow(moved, want[i]);
    memset(f.wanted, 0, n_ids);
    for (size_t i = 0; i < n_want; i++) f.wanted[want[i]->base->node->id] = 1;
    for (size_t i = 0; i < l->n; i++) {
        const ry_node *node = l->at[i];
        for (int s = 0; node && !(node->op->flags & RY_OP_VIEW) && s < node->n_src; s++)
            if (node->src[s]) f.wanted[node->src[s]->base->node->id] = 1;
    }
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i] && (l->at[i]->op != &ry_op_fill_row || f.wanted[l->at[i]->id])) l->at[n++] = l->at[i];
    l->n = n;
done:
    ry_arena_free(&f.arena);
    return st;
}
