/* grad.c - reverse-mode differentiation: walks the graph backwards and lets rows append their gradient nodes.  Computes nothing. */
#include "core/graph.h"
#include "core/rows.h"
#include <string.h>

typedef struct sweep {
    ry_graph *g;
    uint32_t lo, hi;     /* node ids [lo, hi) are looked at */
    unsigned char *need; /* [hi - lo] the node depends on a target */
    ry_tensor *grad;     /* [(hi - lo) * RY_MAX_OUT] */
} sweep;

static bool inside(const sweep *s, const ry_value *v) { return v->node->id >= s->lo && v->node->id < s->hi; }
static ry_tensor *slot(const sweep *s, const ry_value *v) {
    return &s->grad[(size_t)(v->node->id - s->lo) * RY_MAX_OUT + (size_t)v->index];
}

/* In the shape and float type of the value that it belongs to. */
static ry_tensor fit(ry_graph *g, ry_tensor gx, const ry_value *v) {
    const ry_spec *s = ry_spec_of(g, gx);
    if (!s) return gx;
    if (!ry_same_shape(s, &v->spec)) {
        ry_sum_to_args a = {.rank = v->spec.rank};
        memcpy(a.dim, v->spec.dim, sizeof a.dim);
        gx = RY_APPLY(g, &ry_op_sum_to_row, &a, gx);
    }
    s = ry_spec_of(g, gx);
    if (s && s->dtype != v->spec.dtype) gx = RY_APPLY(g, &ry_op_cast_row, &(ry_cast_args){(int32_t)v->spec.dtype}, gx);
    return gx;
}

static void accumulate(const sweep *s, const ry_value *v, ry_tensor gx) {
    if (ry_is_null(gx) || !inside(s, v) || !ry_is_float(v->spec.dtype)) return;
    ry_tensor *at = slot(s, v);
    gx = fit(s->g, gx, v);
    *at = ry_is_null(*at) ? gx : RY_APPLY(s->g, &ry_op_add_row, NULL, *at, gx);
}

static ry_status run(ry_graph *g, uint32_t from, size_t n_y, const ry_tensor *y, const ry_tensor *gy, size_t n_x, ry_value *const *x, ry_tensor *gx);

/* No vjp, but a lowering: differentiate what it is composed of. */
static ry_status through_lower(ry_graph *g, const ry_node *n, const ry_tensor *gy, ry_tensor *gx) {
    ry_tensor low[RY_MAX_OUT] = {{0, 0}}, used_y[RY_MAX_OUT], used_gy[RY_MAX_OUT];
    ry_value *x[RY_MAX_SRC];
    ry_tensor gs[RY_MAX_SRC];
    int at[RY_MAX_SRC];
    size_t n_y = 0, n_x = 0;
    uint32_t from = (uint32_t)g->nodes.n; /* partial derivatives: sources that depend on each other do so outside */
    RY_TRY(n->op->lower(g, n, low));
    RY_TRY(ry_graph_status(g));
    for (int j = 0; j < n->n_out; j++)
        if (!ry_is_null(gy[j]) && !ry_is_null(low[j])) used_y[n_y] = low[j], used_gy[n_y++] = gy[j];
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i] && ry_is_float(n->src[i]->spec.dtype)) at[n_x] = i, x[n_x++] = n->src[i];
    RY_TRY(run(g, from, n_y, used_y, used_gy, n_x, x, gs));
    for (size_t i = 0; i < n_x; i++) {
        bool again = false; /* the same value as two sources: its gradient is whole already in the first */
        for (size_t k = 0; k < i; k++) again |= x[k] == x[i];
        if (!again) gx[at[i]] = gs[i];
    }
    return RY_OK;
}

static ry_status node_grad(ry_graph *g, const ry_node *n, const ry_tensor *gy, ry_tensor *gx) {
    const ry_op *op = n->op;
    if (op->flags & RY_OP_NO_GRAD) return RY_OK;
    if (op->vjp) {
        ry_status st = op->vjp(g, n, gy, gx);
        return st != RY_OK ? st : ry_graph_status(g);
    }
    if (op->lower) return through_lower(g, n, gy, gx);
    return ry_fail_node(n, RY_EUNSUPPORTED, "has no gradient%s", n->backward ? " of its own: second derivatives end here" : "");
}

/* Only nodes from id `from` on are differentiated. */
static ry_status run(ry_graph *g, uint32_t from, size_t n_y, const ry_tensor *y, const ry_tensor *gy, size_t n_x, ry_value *const *x, ry_tensor *gx) {
    sweep s = {.g = g, .lo = UINT32_MAX};
    for (size_t i = 0; i < n_x; i++)
        if (x[i]->node->id < s.lo) s.lo = x[i]->node->id;
    for (size_t i = 0; i < n_y; i++)
        if (ry_value_of(g, y[i])->node->id + 1 > s.hi) s.hi = ry_value_of(g, y[i])->node->id + 1;
    for (size_t i = 0; i < n_x; i++) gx[i] = RY_NULL;
    if (s.lo >= s.hi) return RY_OK; /* y came before every x: no dependence */
    size_t n = s.hi - s.lo;
    s.need = ry_mem_zalloc(n);
    s.grad = ry_mem_zalloc(ry_mem_size(n, RY_MAX_OUT * sizeof *s.grad, 0));
    ry_status st = s.need && s.grad ? RY_OK : RY_ENOMEM;
    if (st != RY_OK) goto done;
    for (size_t i = 0; i < n_x; i++)
        if (inside(&s, x[i])) s.need[x[i]->node->id - s.lo] = 1;
    for (uint32_t id = s.lo > from ? s.lo : from; id < s.hi; id++) {
        const ry_node *node = graph_node(g, id);
        for (int i = 0; i < node->n_src && !(s.need[id - s.lo] & 2); i++)
            if (node->src[i] && inside(&s, node->src[i]) && s.need[node->src[i]->node->id - s.lo]) s.need[id - s.lo] |= 2;
    }
    for (size_t i = 0; i < n_y; i++) accumulate(&s, ry_value_of(g, y[i]), gy[i]);
    for (uint32_t id = s.hi; id-- > s.lo && id >= from && st == RY_OK;) {
        const ry_node *node = graph_node(g, id);
        ry_tensor *g_out = &s.grad[(size_t)(id - s.lo) * RY_MAX_OUT], g_src[RY_MAX_SRC] = {{0, 0}};
        bool any = false;
        for (int j = 0; j < node->n_out; j++) any |= !ry_is_null(g_out[j]);
        if (!any || !(s.need[id - s.lo] & 2)) continue;
        st = node_grad(g, node, g_out, g_src);
        for (int i = 0; i < node->n_src && st == RY_OK; i++)
            if (node->src[i] && inside(&s, node->src[i]) && s.need[node->src[i]->node->id - s.lo]) accumulate(&s, node->src[i], g_src[i]);
        if (st == RY_OK) st = ry_graph_status(g);
    }
    for (size_t i = 0; i < n_x; i++)
        if (inside(&s, x[i])) gx[i] = *slot(&s, x[i]);
done:
    ry_mem_free(s.need);
    ry_mem_free(s.grad);
    return st;
}

static ry_tensor fill_like(ry_graph *g, const ry_spec *s, double value) {
    ry_fill_args a = {.dtype = (int32_t)s->dtype, .rank = s->rank, .value = value};
    memcpy(a.dim, s->dim, sizeof a.dim);
    return ry_apply_row(g, &ry_op_fill_row, 0, NULL, &a);
}

ry_status ry_grad(ry_graph *g, ry_tensor y, ry_tensor gy, size_t n, const ry_tensor *x, ry_tensor *gx) {
    for (size_t i = 0; i < n; i++) gx[i] = RY_NULL;
    RY_TRY(ry_graph_status(g));
    const ry_value *yv = ry_value_of(g, y);
    ry_status st = RY_OK;
    ry_value **xv = ry_mem_zalloc(ry_mem_size(n, sizeof *xv, 1));
    if (!xv) return RY_ENOMEM;
    if (!yv) st = ry_fail(RY_ESTALE, "ry_grad: y is null or of an earlier step");
    else if (!ry_is_float(yv->spec.dtype)) st = ry_fail(RY_EDTYPE, "ry_grad: y is %s; only floats have gradients", ry_show(&yv->spec).s);
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        xv[i] = (ry_value *)(uintptr_t)ry_value_of(g, x[i]);
        if (!xv[i]) st = ry_fail(RY_ESTALE, "ry_grad: x[%zu] is null or of an earlier step", i);
        else if (!ry_is_float(xv[i]->spec.dtype))
            st = ry_fail(RY_EDTYPE, "ry_grad: x[%zu] is %s; only floats have gradients", i, ry_show(&xv[i]->spec).s);
    }
    bool was = g->backward;
    g->backward = true;
    if (st == RY_OK) {
        if (ry_is_null(gy)) gy = fill_like(g, &yv->spec, 1);
        else if (!ry_spec_of(g, gy)) st = ry_fail(RY_ESTALE, "ry_grad: gy is of an earlier step");
        else if (!ry_same_shape(ry_spec_of(g, gy), &yv->spec))
            st = ry_fail(RY_ESHAPE, "ry_grad: gy is %s; it must have y's shape %s", ry_show(ry_spec_of(g, gy)).s, ry_show(&yv->spec).s);
    }
    if (st == RY_OK) st = run(g, 0, 1, &y, &gy, n, xv, gx);
    for (size_t i = 0; i < n && st == RY_OK; i++)
        if (ry_is_null(gx[i])) gx[i] = fill_like(g, &xv[i]->spec, 0);
    g->backward = was;
    ry_mem_free(xv);
    if (st == RY_OK) st = ry_graph_status(g);
    else graph_sticky(g, st);
    return st;
}
