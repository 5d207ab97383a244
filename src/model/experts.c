/* experts.c - feed-forward by experts: a router gives every row a few of them; rows are sorted by expert, each block of rows meets its expert's
 * matrices, and the results come back weighted (Shazeer et al. 2017; Mixtral, Qwen, gpt-oss, DeepSeek-V3).  Shapes never depend on the choice. */
#include "core/op.h"
#include "model/decoder.h"
#include <rusty/ops.h>

bool experts_by_rows(const model_config *c, model_role role, bool bias, ry_dtype t) {
    return c->packed_experts && !bias && (role == ROLE_EXPERT_GATE_UP || role == ROLE_EXPERT_DOWN) && ry_dtype_row(t)->kind == RY_KIND_BLOCK;
}

ry_status experts_declare(ry_model *m, int64_t i) {
    const model_config *c = &m->cfg;
    int64_t C = c->hidden_size, E = c->experts, F = c->expert_size, S = c->shared_size;
    RY_TRY(model_matrix(m, ROLE_ROUTER, i, E, C, c->router_bias));
    if (c->route == ROUTE_SIGMOID) RY_TRY(model_param(m, ROLE_ROUTER_CORRECTION, false, i, INIT_ZEROS, 1, &E));
    if (c->packed_experts) {
        RY_TRY(model_param(m, ROLE_EXPERT_GATE_UP, false, i, INIT_NORMAL, 3, (int64_t[]){E, C, 2 * F}));
        RY_TRY(model_param(m, ROLE_EXPERT_GATE_UP, true, i, INIT_ZEROS, 2, (int64_t[]){E, 2 * F}));
        RY_TRY(model_param(m, ROLE_EXPERT_DOWN, false, i, INIT_NORMAL, 3, (int64_t[]){E, F, C}));
        RY_TRY(model_param(m, ROLE_EXPERT_DOWN, true, i, INIT_ZEROS, 2, (int64_t[]){E, C}));
    } else {
        RY_TRY(model_param(m, ROLE_EXPERT_GATE, false, i, INIT_NORMAL, 3, (int64_t[]){E, F, C}));
        RY_TRY(model_param(m, ROLE_EXPERT_UP, false, i, INIT_NORMAL, 3, (int64_t[]){E, F, C}));
        RY_TRY(model_param(m, ROLE_EXPERT_DOWN, false, i, INIT_NORMAL, 3, (int64_t[]){E, C, F}));
    }
    if (!S) return RY_OK;
    RY_TRY(model_matrix(m, ROLE_SHARED_GATE, i, S, C, false));
    RY_TRY(model_matrix(m, ROLE_SHARED_UP, i, S, C, false));
    RY_TRY(model_matrix(m, ROLE_SHARED_DOWN, i, C, S, false));
    return c->shared_gate ? model_matrix(m, ROLE_SHARED_ROUTER, i, 1, C, false) : RY_OK;
}

/* DeepSeek-V3, equations 16 and section 2.1.2: only the best groups of experts are candidates, a group counts by its two best. */
static ry_tensor best_groups(ry_graph *g, const model_config *c, ry_tensor scores, int64_t R) {
    int64_t n = c->groups, each = c->experts / n;
    if (n < 2 || c->groups_used >= n) return scores;
    ry_tensor grouped = RY_RESHAPE(g, scores, R, n, each);
    ry_tensor worth = ry_sum(g, ry_top_k(g, grouped, each < 2 ? each : 2, 2), RY_AXIS(2), false);
    ry_tensor best = ry_out(g, ry_top_k(g, worth, c->groups_used, 1), 1);
    ry_tensor keep = ry_scatter(g, ry_fill(g, &RY_SHAPE(RY_F32, R, n), 0), best,
                                ry_fill(g, &RY_SHAPE(RY_F32, R, c->groups_used), 1), 1, false);
    keep = ry_gt(g, RY_RESHAPE(g, keep, R, n, 1), ry_scalar(g, 0));
    return RY_RESHAPE(g, ry_select(g, keep, grouped, ry_scalar(g, -1e30)), R, c->experts);
}

/* x [R,C] -> weights [R,k], and which experts they are for, [R,k] i32. */
static ry_tensor route(const model_pass *p, const model_pair *w, ry_tensor x, int64_t R, ry_tensor *chosen) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    int64_t k = c->experts_used;
    ry_tensor logits = ry_cast(g, decoder_linear(p, &w[ROLE_ROUTER], x), RY_F32), weight, best;
    if (c->route == ROUTE_SIGMOID) {
        ry_tensor score = ry_sigmoid(g, logits),
                  fair = ry_add(g, score, ry_cast(g, ry_use(g, w[ROLE_ROUTER_CORRECTION].w), RY_F32));
        best = ry_top_k(g, best_groups(g, c, fair, R), k, 1);
        weight = ry_gather(g, score, ry_out(g, best, 1), 1);
    } else if (c->route == ROUTE_BEST_SOFTMAX)
        weight = ry_softmax(g, best = ry_top_k(g, logits, k, 1), 1);
    else
        weight = best = ry_top_k(g, ry_softmax(g, logits, 1), k, 1);
    *chosen = ry_out(g, best, 1);
    if (c->norm_topk) weight = ry_div(g, weight, ry_add(g, ry_sum(g, weight, RY_AXIS(1), true), ry_scalar(g, 1e-20)));
    return c->routed_scaling == 1 ? weight : ry_mul(g, weight, ry_scalar(g, c->routed_scaling));
}

/* gpt-oss: gate and up alternate, both are clamped, and up has one added. */
static ry_tensor clamped(ry_graph *g, const model_config *c, ry_tensor both) {
    int64_t n = 2 * c->expert_size;
    ry_tensor limit = ry_scalar(g, c->swiglu_limit);
    ry_tensor gate = ry_clamp_max(g, ry_slice(g, both, 1, 0, n, 2), limit);
    ry_tensor up = ry_clamp(g, ry_slice(g, both, 1, 1, n, 2), ry_scalar(g, -c->swiglu_limit), limit);
    gate = ry_mul(g, gate, ry_sigmoid(g, ry_mul(g, gate, ry_scalar(g, c->swiglu_alpha))));
    return ry_mul(g, ry_add(g, up, ry_scalar(g, 1)), gate);
}

/* x [N,C], sorted by expert: owner [N], offsets [E+1]. -> [N,C] */
static ry_tensor each_expert(const model_pass *p, const model_pair *w, ry_tensor x, ry_tensor owner,
                             ry_tensor offsets) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    if (!c->packed_experts) {
        ry_tensor a = ry_grouped_matmul(g, x, ry_use(g, w[ROLE_EXPERT_GATE].w), offsets);
        ry_tensor b = ry_grouped_matmul(g, x, ry_use(g, w[ROLE_EXPERT_UP].w), offsets);
        return ry_grouped_matmul(g, nn_gated(g, c->act, a, b), ry_use(g, w[ROLE_EXPERT_DOWN].w), offsets);
    }
    for (int k = 0; k < 2; k++) {
        model_role role = k ? ROLE_EXPERT_DOWN : ROLE_EXPERT_GATE_UP;
        const model_pair *m = &w[role];
        ry_tensor held = ry_use(g, m->w);
        bool rows = experts_by_rows(c, role, false, ry_var_spec(m->w)->dtype);
        x = ry_grouped_matmul(g, x, rows ? held : ry_transpose(g, held, 1, 2), offsets);
        x = ry_add(g, x, ry_take(g, ry_use(g, m->b), owner, 0));
        if (!k) x = clamped(g, c, x);
    }
    return x;
}

ry_tensor experts_mlp(const model_pass *p, int64_t i, ry_tensor x) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *w = p->m->layers[i].at;
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], C = c->hidden_size, R = B * T, k = c->experts_used, E = c->experts;
    ry_tensor rows = RY_RESHAPE(g, x, R, C), chosen;
    ry_tensor weight = route(p, w, rows, R, &chosen);
    ry_tensor owner = ry_sort(g, RY_RESHAPE(g, chosen, R * k), 0, false), order = ry_out(g, owner, 1);
    ry_tensor earlier = ry_lt(g, RY_RESHAPE(g, owner, 1, R * k), ry_iota(g, &RY_SHAPE(RY_I32, E + 1, 1), 0, 0, 1));
    ry_tensor offsets = ry_cast(g, ry_sum(g, ry_cast(g, earlier, RY_F32), RY_AXIS(1), false), RY_I32);
    ry_tensor row = ry_div(g, order, ry_fill(g, &(ry_spec){.dtype = RY_I32}, (double)k));
    ry_tensor y = each_expert(p, w, ry_take(g, rows, row, 0), owner, offsets);
    y = RY_RESHAPE(g, ry_take(g, y, ry_out(g, ry_sort(g, order, 0, false), 1), 0), R, k,
                   C); /* back in the rows' order */
    y = ry_sum(g, ry_mul(g, y, RY_RESHAPE(g, weight, R, k, 1)), RY_AXIS(1), false);
    if (c->shared_size) {
        ry_tensor shared = decoder_mlp(p, &w[ROLE_SHARED_GATE], &w[ROLE_SHARED_UP], &w[ROLE_SHARED_DOWN], rows);
        if (c->shared_gate) shared = ry_mul(g, shared, ry_sigmoid(g, decoder_linear(p, &w[ROLE_SHARED_ROUTER], rows)));
        y = ry_add(g, y, shared);
    }
    return RY_RESHAPE(g, y, B, T, C);
}
