/* plan_join.c - nodes that rows know to be faster as one: asks each row, and keeps the plan right. Knows no formula. */
#include "core/join.h"
#include "core/launch.h"
#include "core/rows.h"
#include <string.h>

static size_t place_of(const ry_joiner *j, const ry_node *n) {
    size_t i = 0;
    while (i < j->l->n && j->l->at[i] != n) i++;
    return i;
}

/* Does n read this output, or what a writer made of its variable? */
static bool reads(const ry_node *n, const ry_value *v) {
    if (n->op->flags & RY_OP_VIEW) return false; /* who reads the view reads the storage */
    for (int s = 0; s < n->n_src; s++)
        if (n->src[s] && n->src[s]->base == v->base && (v->base == v || n->src[s]->version >= v->version)) return true;
    return false;
}

static bool is_wanted(const ry_joiner *j, const ry_value *v) {
    for (size_t i = 0; i < j->n_want; i++)
        if (j->want[i]->base == v->base) return true;
    return false;
}

int join_readers(const ry_joiner *j, const ry_value *v, ry_node **out, int most) {
    int n = 0;
    if (is_wanted(j, v)) return -1;
    for (size_t i = place_of(j, v->base->node) + 1; i < j->l->n; i++) {
        if (!j->l->at[i] || !reads(j->l->at[i], v)) continue;
        if (n == most) return -1;
        out[n++] = j->l->at[i];
    }
    return n;
}

ry_node *join_node(ry_joiner *j, const ry_op *op, const void *args, int n_src, int n_out) {
    ry_arena *a = &j->p->arena;
    ry_node *n = RY_NEW(a, ry_node, 1);
    ry_value *out = RY_NEW(a, ry_value, n_out);
    void *own = op->arg_size ? ry_arena_alloc(a, op->arg_size) : NULL;
    if (!n || !out || (op->arg_size && !own)) {
        j->st = RY_ENOMEM;
        return NULL;
    }
    if (own) memcpy(own, args, op->arg_size);
    *n = (ry_node){.op = op, .n_src = n_src, .n_out = n_out, .out = out, .args = own};
    return n;
}

static bool among(const ry_node *n, int count, ry_node *const *member) {
    for (int i = 0; i < count; i++)
        if (member[i] == n) return true;
    return false;
}

/* May m run at `last` instead of where it is? Its outputs that are not kept must have no reader but the members. */
static bool may_move(const ry_joiner *j, const ry_node *m, size_t last, int n, ry_node *const *member, int n_old, ry_value *const *old) {
    size_t own = place_of(j, m);
    for (int o = 0; o < m->n_out; o++) {
        const ry_value *v = &m->out[o];
        bool kept = false;
        for (int k = 0; k < n_old; k++) kept |= old[k] == v;
        if (!kept && is_wanted(j, v)) return false;
        for (size_t i = own + 1; i < (kept ? last : j->l->n); i++)
            if (j->l->at[i] && !among(j->l->at[i], n, member) && reads(j->l->at[i], v)) return false;
    }
    for (size_t i = own + 1; i <= last; i++) {
        const ry_node *w = j->l->at[i];
        if (!w || !w->op->writes || among(w, n, member)) continue;
        for (int s = 0; s < m->n_src; s++)
            for (int k = 0; k < w->n_src; k++)
                if ((w->op->writes >> k & 1u) && w->src[k] && m->src[s] && w->src[k]->base == m->src[s]->base) return false;
    }
    return true;
}

bool join_replace(ry_joiner *j, ry_node *x, int n, ry_node *const *member, ry_value *const *old) {
    size_t last = 0;
    for (int i = 0; i < n; i++) {
        size_t at = place_of(j, member[i]);
        if (at > last) last = at;
    }
    for (int i = 0; i < n; i++)
        if (!may_move(j, member[i], last, n, member, x->n_out, old)) return false;
    x->id = j->l->at[last]->id;
    x->backward = j->l->at[last]->backward;
    if (!x->name) x->name = j->l->at[last]->name;
    for (int o = 0; o < x->n_out; o++) {
        bool own = old[o]->base == old[o];
        x->out[o] = *old[o];
        x->out[o].node = x, x->out[o].index = o;
        if (own) x->out[o].base = &x->out[o];
    }
    for (int i = 0; i < n; i++) j->l->at[place_of(j, member[i])] = NULL;
    j->l->at[last] = x;
    for (int o = 0; o < x->n_out; o++) {
        for (size_t i = 0; i < j->l->n; i++) {
            ry_node *r = j->l->at[i];
            for (int s = 0; r && r != x && s < r->n_src; s++)
                if (r->src[s] == old[o]) r->src[s] = &x->out[o];
            for (int k = 0; r && r != x && k < r->n_out; k++)
                if (r->out[k].base == old[o]) r->out[k].base = &x->out[o];
        }
        for (size_t i = 0; i < j->n_want; i++)
            if (j->want[i] == old[o]) j->want[i] = &x->out[o];
    }
    j->p->info.fused += (size_t)n - 1;
    return true;
}

bool join_fits(const ry_joiner *j, const ry_node *n) {
    const ry_value *base[RY_OPERANDS];
    uint32_t bindings = 1; /* scratch */
    int seen = 0;
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) {
        const ry_value *v = launch_operand(n, i);
        int k = 0;
        if (!v) continue;
        if (ry_count(&v->base->spec) < 0 || (j->caps->max_binding && ry_bytes_of(v->base->spec.dtype, ry_count(&v->base->spec)) > j->caps->max_binding)) return false;
        while (k < seen && base[k] != v->base) k++;
        if (k == seen) base[seen++] = v->base, bindings++;
    }
    return bindings <= j->caps->max_bindings;
}

static bool is_elementwise(const ry_node *n) {
    return n->n_out >= 1 && !n->tail && (n->op == ry_row("fused") || (n->op->flags & RY_OP_MAP) || n->op == &ry_op_cast_row) && n->op != &ry_op_fill_row;
}

/* The elementwise node as a chain of its own: the node's sources in order. */
static bool chain_of(ry_chain *c, const ry_node *n) {
    if (n->op == ry_row("fused")) {
        *c = *(const ry_chain *)n->args;
        return true;
    }
    if (n->n_src > 5) return false;
    *c = (ry_chain){.n_src = n->n_src, .n_link = 1, .n_out = 1, .out = {(int16_t)n->n_src}};
    c->link[0] = (ry_link){.op = n->op, .in = {-1, -1, -1, -1, -1}, .dtype = n->out[0].spec.dtype};
    for (int i = 0; i < n->n_src; i++) c->link[0].in[i] = (int16_t)i;
    return true;
}

bool join_tail(ry_joiner *j, ry_node *n) {
    ry_node *reader = NULL, *one;
    ry_chain c, *tail;
    int first = n->op->max_src, reg[RY_MAX_SRC];
    for (int o = 0; o < n->n_out; o++) {
        if (n->out[o].base != &n->out[o] || n->out[o].spec.dtype != RY_F32) return false;
        if (join_readers(j, &n->out[o], &one, 1) != 1 || (reader && one != reader)) return false;
        reader = one;
    }
    if (!reader || n->tail || !is_elementwise(reader) || !ry_same_shape(&reader->out[0].spec, &n->out[0].spec) || !chain_of(&c, reader)) return false;
    ry_node *x = join_node(j, n->op, n->args, first, reader->n_out);
    if (!x || !(tail = RY_NEW(&j->p->arena, ry_chain, 1))) return false;
    for (int i = 0; i < n->n_src; i++) x->src[i] = n->src[i];
    for (int r = 0; r < c.n_src; r++) {
        int own = 0;
        while (own < n->n_out && reader->src[r] != &n->out[own]) own++;
        if (own < n->n_out) {
            reg[r] = own;
            continue;
        }
        if (reader->src[r]->base->node == n || x->n_src == RY_MAX_SRC) return false; /* through a view */
        reg[r] = n->n_out + x->n_src - first;
        x->src[x->n_src++] = reader->src[r];
    }
    *tail = c;
    tail->n_src = n->n_out + x->n_src - first;
    int shift = tail->n_src - c.n_src;
    for (int k = 0; k < c.n_link; k++)
        for (int i = 0; i < 5; i++)
            if (c.link[k].in[i] >= 0) tail->link[k].in[i] = (int16_t)(c.link[k].in[i] < c.n_src ? reg[c.link[k].in[i]] : c.link[k].in[i] + shift);
    for (int o = 0; o < c.n_out; o++) tail->out[o] = (int16_t)(c.out[o] + shift);
    x->tail = tail;
    ry_value *old[RY_MAX_OUT];
    for (int o = 0; o < reader->n_out; o++) {
        old[o] = &reader->out[o];
        x->out[o] = reader->out[o], x->out[o].base = &x->out[o]; /* for join_fits */
    }
    return join_fits(j, x) && join_replace(j, x, 2, (ry_node *[]){n, reader}, old);
}

ry_status plan_join(ry_plan *p, plan_list *l, size_t n_want, ry_value **want, const ry_caps *caps) {
    ry_joiner j = {.p = p, .l = l, .want = want, .n_want = n_want, .caps = caps};
    size_t n = 0;
    for (size_t i = 0; i < l->n && j.st == RY_OK; i++)
        while (l->at[i] && l->at[i]->op->join && j.st == RY_OK && l->at[i]->op->join(&j, l->at[i])) {}
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i]) l->at[n++] = l->at[i];
    l->n = n;
    return j.st;
}
