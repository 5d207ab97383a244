/* decoder.c - the decoder that all families are: embeddings, blocks of attention (or a short convolution) and feed-forward, a last norm, logits and
 * losses.  What differs stands in model_config; no family is named here.  Owns no tensor: builds graphs over the model's variables. */
#include "model/decoder.h"
#include "core/op.h"
#include <math.h>
#include <rusty/ops.h>

/* ---- parameters ---- */

static bool before(const model_config *c) { return c->block != BLOCK_POST; }
static bool after(const model_config *c) { return c->block == BLOCK_POST || c->block == BLOCK_SANDWICH; }
static bool parallel(const model_config *c) { return c->block == BLOCK_PARALLEL || c->block == BLOCK_PARALLEL_ONE; }

ry_status model_matrix(ry_model *m, model_role role, int64_t layer, int64_t n, int64_t k, bool bias) {
    int64_t dim[2] = {m->cfg.transposed ? k : n, m->cfg.transposed ? n : k};
    RY_TRY(model_param(m, role, false, layer, INIT_NORMAL, 2, dim));
    return bias ? model_param(m, role, true, layer, INIT_ZEROS, 1, &n) : RY_OK;
}

static ry_status norm_sized(ry_model *m, model_role role, int64_t layer, int rank, const int64_t *dim, bool bias) {
    RY_TRY(model_param(m, role, false, layer, m->cfg.norm_plus_one ? INIT_ZEROS : INIT_ONES, rank, dim));
    return bias ? model_param(m, role, true, layer, INIT_ZEROS, rank, dim) : RY_OK;
}

static ry_status norm(ry_model *m, model_role role, int64_t layer) {
    return m->cfg.norm_plain ? RY_OK : norm_sized(m, role, layer, 1, &m->cfg.hidden_size, m->cfg.norm_bias);
}

static ry_status declare_qk_norm(ry_model *m, model_role role, int64_t layer, int64_t heads) {
    const model_config *c = &m->cfg;
    int64_t both[2] = {heads, c->head_dim}, width = heads * c->head_dim;
    switch (c->qk_norm) {
    case QK_NORM_HEAD: return norm_sized(m, role, layer, 1, &c->head_dim, c->qk_norm_bias);
    case QK_NORM_HEADS: return norm_sized(m, role, layer, 2, both, false);
    case QK_NORM_WIDTH: return norm_sized(m, role, layer, 1, &width, c->qk_norm_bias);
    default: return RY_OK;
    }
}

static ry_status declare_attention(ry_model *m, int64_t i) {
    const model_config *c = &m->cfg;
    int64_t C = c->hidden_size, Q = c->num_attention_heads * c->head_dim, KV = c->num_key_value_heads * c->head_dim;
    if (c->kv_rank) return latent_declare(m, i);
    if (c->qkv != QKV_SEPARATE)
        RY_TRY(model_matrix(m, ROLE_QKV, i, Q + 2 * KV, C, c->qkv_bias));
    else {
        RY_TRY(model_matrix(m, ROLE_Q, i, Q, C, c->qkv_bias));
        RY_TRY(model_matrix(m, ROLE_K, i, KV, C, c->qkv_bias));
        RY_TRY(model_matrix(m, ROLE_V, i, KV, C, c->qkv_bias));
    }
    RY_TRY(model_matrix(m, ROLE_O, i, C, Q, c->o_bias));
    RY_TRY(declare_qk_norm(m, ROLE_Q_NORM, i, c->num_attention_heads));
    RY_TRY(declare_qk_norm(m, ROLE_K_NORM, i, c->num_key_value_heads));
    return c->sinks ? model_param(m, ROLE_SINKS, false, i, INIT_ZEROS, 1, &c->num_attention_heads) : RY_OK;
}

static ry_status declare_mlp(ry_model *m, int64_t i) {
    const model_config *c = &m->cfg;
    int64_t C = c->hidden_size, F = c->intermediate_size;
    if (c->layer[i].experts) return experts_declare(m, i);
    if (c->fused_gate_up)
        RY_TRY(model_matrix(m, ROLE_GATE_UP, i, 2 * F, C, c->mlp_bias));
    else {
        if (!c->plain_mlp) RY_TRY(model_matrix(m, ROLE_GATE, i, F, C, c->mlp_bias));
        RY_TRY(model_matrix(m, ROLE_UP, i, F, C, c->mlp_bias));
    }
    return model_matrix(m, ROLE_DOWN, i, C, F, c->mlp_bias);
}

ry_status model_declare(ry_model *m) {
    const model_config *c = &m->cfg;
    m->layers = RY_NEW(&m->arena, model_parts, c->num_hidden_layers);
    if (!m->layers) return RY_ENOMEM;
    int64_t words[2] = {c->vocab_size, c->hidden_size}, places[2] = {c->positions, c->hidden_size};
    RY_TRY(model_param(m, ROLE_EMBED, false, -1, INIT_NORMAL, 2, words));
    if (c->positions) RY_TRY(model_param(m, ROLE_POSITIONS, false, -1, INIT_NORMAL, 2, places));
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        if (before(c)) RY_TRY(norm(m, ROLE_ATTN_NORM, i));
        RY_TRY(c->layer[i].conv ? conv_declare(m, i) : declare_attention(m, i));
        if (after(c)) RY_TRY(norm(m, ROLE_ATTN_POST_NORM, i));
        if (before(c) && c->block != BLOCK_PARALLEL_ONE) RY_TRY(norm(m, ROLE_MLP_NORM, i));
        RY_TRY(declare_mlp(m, i));
        if (after(c)) RY_TRY(norm(m, ROLE_MLP_POST_NORM, i));
    }
    RY_TRY(norm(m, ROLE_NORM, -1));
    m->top.at[ROLE_HEAD] = m->top.at[ROLE_EMBED];
    if (!c->tie_word_embeddings) RY_TRY(model_param(m, ROLE_HEAD, false, -1, INIT_NORMAL, 2, words));
    return c->head_bias ? model_param(m, ROLE_HEAD, true, -1, INIT_ZEROS, 1, &c->vocab_size) : RY_OK;
}

/* ---- pieces ---- */

ry_tensor decoder_linear(const model_pass *p, const model_pair *w, ry_tensor x) {
    if (!p->m->cfg.transposed) return nn_linear(p->g, x, w->w, w->b);
    return ry_linear(p->g, x, ry_transpose(p->g, ry_use(p->g, w->w), 0, 1), w->b ? ry_use(p->g, w->b) : RY_NULL);
}

static ry_tensor norm_by(const model_pass *p, ry_tensor w, ry_tensor b, ry_tensor x) {
    double eps = p->m->cfg.norm_eps;
    return p->m->cfg.layer_norm ? ry_layer_norm(p->g, x, w, b, eps) : ry_rms_norm(p->g, x, w, eps);
}

ry_tensor decoder_norm(const model_pass *p, const model_pair *w, ry_tensor x) {
    ry_graph *g = p->g;
    if (!w->w) return norm_by(p, RY_NULL, RY_NULL, x);
    ry_tensor s = ry_use(g, w->w);
    if (p->m->cfg.norm_plus_one) s = ry_add(g, ry_cast(g, s, RY_F32), ry_scalar(g, 1));
    return norm_by(p, s, w->b ? ry_use(g, w->b) : RY_NULL, x);
}

ry_tensor decoder_mlp(const model_pass *p, const model_pair *gate, const model_pair *up, const model_pair *down,
                      ry_tensor x) {
    ry_tensor a = decoder_linear(p, gate, x), b = decoder_linear(p, up, x);
    return decoder_linear(p, down, nn_gated(p->g, p->m->cfg.act, a, b));
}

ry_tensor decoder_rope(const model_pass *p, int64_t layer, ry_tensor x) {
    const model_config *c = &p->m->cfg;
    int which = c->layer[layer].rope;
    if (which < 0) return x;
    ry_rope_options o = {
        .rotary = rope_rotary(c, which), .scale = p->rope_scale[which], .interleaved = c->rope_interleaved};
    return ry_rope(p->g, x, p->pos, p->freq[which], &o);
}

ry_tensor decoder_cache(const model_pass *p, int64_t layer, int which, ry_tensor x) {
    return p->cache ? model_append(p, p->cache[2 * layer + which], x) : x;
}

ry_tensor model_append(const model_pass *p, ry_var *cache, ry_tensor x) {
    const ry_spec *s = ry_spec_of(p->g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], G = s->dim[2], D = s->dim[3],
            rows = ry_var_spec(cache)->dim[1] / p->sequences;
    ry_dtype t = ry_var_spec(cache)->dtype;
    if (ry_dtype_row(t)->kind == RY_KIND_BLOCK) x = ry_cast(p->g, x, t);
    x = ry_set_rows(p->g, cache, RY_RESHAPE(p->g, x, 1, B * T, G, D), p->cache_at, 1);
    if (p->sequences > 1 && p->sequence >= 0)
        return ry_slice(p->g, x, 1, p->sequence * rows, (p->sequence + 1) * rows, 1);
    return RY_RESHAPE(p->g, x, p->sequences, rows, G, D);
}

/* A sink (gpt_oss; Xiao et al. 2023) is one more score per head that takes its share of the softmax and gives no value: with the
 * log-sum-exp L of the others, what remains to them is exp(L) / (exp(L) + exp(sink)). */
static ry_tensor with_sinks(const model_pass *p, const model_pair *sinks, ry_tensor o) {
    ry_graph *g = p->g;
    const ry_spec *s = ry_spec_of(g, o);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], H = s->dim[2];
    ry_tensor rest = ry_sub(g, ry_out(g, o, 1), RY_RESHAPE(g, ry_cast(g, ry_use(g, sinks->w), RY_F32), 1, H, 1));
    return ry_mul(g, o, RY_RESHAPE(g, ry_transpose(g, ry_sigmoid(g, rest), 1, 2), B, T, H, 1));
}

ry_tensor decoder_attend(const model_pass *p, int64_t layer, ry_tensor q, ry_tensor k, ry_tensor v) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const ry_spec *s = ry_spec_of(g, q);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1];
    double scale = c->attention_scale != 0 ? c->attention_scale : 1 / sqrt((double)s->dim[3]);
    ry_attention_options o = {.scale = c->scale_by_layer ? scale / (double)(layer + 1) : scale,
                              .causal = true,
                              .window = c->layer[layer].window ? c->sliding_window : 0,
                              .softcap = c->attn_softcap,
                              .segment_q = p->segment_q,
                              .segment_k = p->segment_k,
                              .length = p->length};
    ry_tensor y = ry_attention(g, q, k, v, &o);
    if (c->sinks) y = with_sinks(p, &p->m->layers[layer].at[ROLE_SINKS], y);
    return RY_RESHAPE(g, y, B, T, -1);
}

static ry_tensor qk_norm(const model_pass *p, const model_pair *w, ry_tensor x) {
    ry_graph *g = p->g;
    const ry_spec *s = ry_spec_of(g, x);
    if (p->m->cfg.qk_norm == QK_NORM_NONE || !s) return x;
    if (p->m->cfg.qk_norm == QK_NORM_HEAD) return decoder_norm(p, w, x);
    if (p->m->cfg.qk_norm == QK_NORM_HEADS) return ry_mul(g, norm_by(p, RY_NULL, RY_NULL, x), ry_use(g, w->w));
    ry_tensor flat = decoder_norm(p, w, RY_RESHAPE(g, x, s->dim[0], s->dim[1], s->dim[2] * s->dim[3]));
    return ry_reshape(g, flat, 4, s->dim);
}

static ry_tensor attention(const model_pass *p, int64_t i, ry_tensor x) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *w = p->m->layers[i].at;
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], H = c->num_attention_heads, G = c->num_key_value_heads, D = c->head_dim;
    ry_tensor y[3];
    if (c->qkv == QKV_SEPARATE) {
        for (int k = 0; k < 3; k++) y[k] = RY_RESHAPE(g, decoder_linear(p, &w[ROLE_Q + k], x), B, T, k ? G : H, D);
    } else if (c->qkv == QKV_FUSED) {
        ry_tensor all = RY_RESHAPE(g, decoder_linear(p, &w[ROLE_QKV], x), B, T, H + 2 * G, D);
        for (int k = 0; k < 3; k++) y[k] = ry_slice(g, all, 2, k ? H + (k - 1) * G : 0, H + k * G, 1);
    } else {
        ry_tensor all = RY_RESHAPE(g, decoder_linear(p, &w[ROLE_QKV], x), B, T, H, 3 * D);
        for (int k = 0; k < 3; k++) y[k] = ry_slice(g, all, 3, k * D, (k + 1) * D, 1);
    }
    for (int k = 0; k < 3 && c->clip_qkv > 0; k++)
        y[k] = ry_clamp(g, y[k], ry_scalar(g, -c->clip_qkv), ry_scalar(g, c->clip_qkv));
    ry_tensor q = decoder_rope(p, i, qk_norm(p, &w[ROLE_Q_NORM], y[0]));
    ry_tensor k = decoder_cache(p, i, 0, decoder_rope(p, i, qk_norm(p, &w[ROLE_K_NORM], y[1])));
    ry_tensor v = decoder_cache(p, i, 1, y[2]);
    return decoder_linear(p, &w[ROLE_O], decoder_attend(p, i, q, k, v));
}

static ry_tensor mlp(const model_pass *p, int64_t i, ry_tensor x) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *w = p->m->layers[i].at;
    int64_t F = c->intermediate_size;
    if (c->layer[i].experts) return experts_mlp(p, i, x);
    if (c->plain_mlp)
        return decoder_linear(p, &w[ROLE_DOWN], nn_activate(g, c->act, decoder_linear(p, &w[ROLE_UP], x)));
    if (!c->fused_gate_up) return decoder_mlp(p, &w[ROLE_GATE], &w[ROLE_UP], &w[ROLE_DOWN], x);
    ry_tensor both = decoder_linear(p, &w[ROLE_GATE_UP], x);
    return decoder_linear(p, &w[ROLE_DOWN],
                          nn_gated(g, c->act, ry_slice(g, both, -1, 0, F, 1), ry_slice(g, both, -1, F, 2 * F, 1)));
}

/* ---- the whole ---- */

static ry_tensor scaled(ry_graph *g, ry_tensor x, double by) { return by == 1 ? x : ry_mul(g, x, ry_scalar(g, by)); }

static ry_tensor block(const model_pass *p, int64_t i, ry_tensor h) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *w = p->m->layers[i].at;
    ry_tensor x = before(c) ? decoder_norm(p, &w[ROLE_ATTN_NORM], h) : h;
    ry_tensor a = c->layer[i].conv ? conv_mix(p, i, x) : c->kv_rank ? latent_attention(p, i, x) : attention(p, i, x);
    if (after(c)) a = decoder_norm(p, &w[ROLE_ATTN_POST_NORM], a);
    a = scaled(g, a, c->residual_multiplier);
    ry_tensor mid = ry_add(g, h, a), in = parallel(c) ? h : mid;
    ry_tensor y = c->block == BLOCK_PARALLEL_ONE ? x : before(c) ? decoder_norm(p, &w[ROLE_MLP_NORM], in) : in;
    y = mlp(p, i, y);
    if (after(c)) y = decoder_norm(p, &w[ROLE_MLP_POST_NORM], y);
    return ry_add(g, mid, scaled(g, y, c->residual_multiplier));
}

ry_tensor model_hidden(const model_pass *p) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *top = p->m->top.at;
    ry_tensor h =
        scaled(g, ry_cast(g, ry_embedding(g, ry_use(g, top[ROLE_EMBED].w), p->ids), RY_F32), c->embedding_multiplier);
    if (c->positions) h = ry_add(g, h, ry_cast(g, ry_embedding(g, ry_use(g, top[ROLE_POSITIONS].w), p->pos), RY_F32));
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        if (p->states) p->states[i] = h;
        if (p->recompute) ry_recompute_begin(g);
        h = block(p, i, h);
        if (p->recompute) ry_recompute_end(g);
    }
    h = decoder_norm(p, &top[ROLE_NORM], h);
    if (p->states) p->states[c->num_hidden_layers] = h;
    return h;
}

ry_tensor model_logits(ry_graph *g, ry_model *m, ry_tensor hidden) {
    const model_config *c = &m->cfg;
    const model_pair *head = &m->top.at[ROLE_HEAD];
    ry_tensor y = ry_cast(g, nn_linear(g, scaled(g, hidden, c->logits_multiplier), head->w, head->b), RY_F32);
    if (c->final_softcap > 0) y = scaled(g, ry_tanh(g, scaled(g, y, 1 / c->final_softcap)), c->final_softcap);
    return y;
}

ry_tensor model_loss(const model_pass *p, ry_tensor targets, ry_tensor scale, bool with_grad) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *head = &p->m->top.at[ROLE_HEAD];
    ry_tensor h = scaled(g, model_hidden(p), c->logits_multiplier);
    const ry_spec *s = ry_spec_of(g, h);
    if (!s) return RY_NULL;
    int64_t R = s->dim[0] * s->dim[1];
    ry_tensor x = RY_RESHAPE(g, h, R, s->dim[2]), w = ry_use(g, head->w);
    if (head->b) { /* as one more column, which ones meet */
        ry_tensor one = ry_fill(g, &RY_SHAPE(RY_F32, R, 1), 1),
                  b = RY_RESHAPE(g, ry_cast(g, ry_use(g, head->b), RY_F32), c->vocab_size, 1);
        x = ry_concat(g, 2, (ry_tensor[]){x, one}, 1);
        w = ry_concat(g, 2, (ry_tensor[]){ry_cast(g, w, RY_F32), b}, 1);
    }
    return ry_linear_cross_entropy(
        g, x, w, RY_RESHAPE(g, targets, R),
        &(ry_linear_ce_options){.ignore = -100, .scale = scale, .softcap = c->final_softcap, .with_grad = with_grad});
}

model_cache_spec model_cache_of(const ry_model *m, int64_t layer, int64_t sequences, int64_t rows, ry_dtype t) {
    const model_config *c = &m->cfg;
    int64_t G = c->kv_rank ? c->num_attention_heads : c->num_key_value_heads,
            D = c->kv_rank ? c->nope_dim + c->rope_dim : c->head_dim, Dv = c->kv_rank ? c->value_dim : c->head_dim;
    if (c->layer[layer].conv)
        return (model_cache_spec){.at = {RY_SHAPE(RY_F32, sequences, c->conv_taps - 1, c->hidden_size)}};
    return (model_cache_spec){.at = {RY_SHAPE(t, 1, sequences * rows, G, D), RY_SHAPE(t, 1, sequences * rows, G, Dv)},
                              .by_position = true};
}
