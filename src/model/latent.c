/* latent.c - latent attention (DeepSeek-V2, 2024, section 2.1): keys and values of all heads come from one short vector, and one part of the key,
 * the one that turns, is shared by all heads.  The cache holds the keys and values of all heads. */
#include "core/op.h"
#include "model/decoder.h"
#include <rusty/ops.h>

static const double inner_eps = 1e-6; /* the inner norms do not follow rms_norm_eps */

ry_status latent_declare(ry_model *m, int64_t i) {
    const model_config *c = &m->cfg;
    int64_t C = c->hidden_size, H = c->num_attention_heads, D = c->nope_dim + c->rope_dim;
    if (!c->q_rank)
        RY_TRY(model_matrix(m, ROLE_Q, i, H * D, C, false));
    else {
        RY_TRY(model_matrix(m, ROLE_Q_A, i, c->q_rank, C, c->qkv_bias));
        RY_TRY(model_param(m, ROLE_Q_A_NORM, false, i, INIT_ONES, 1, &c->q_rank));
        RY_TRY(model_matrix(m, ROLE_Q_B, i, H * D, c->q_rank, false));
    }
    RY_TRY(model_matrix(m, ROLE_KV_A, i, c->kv_rank + c->rope_dim, C, c->qkv_bias));
    RY_TRY(model_param(m, ROLE_KV_A_NORM, false, i, INIT_ONES, 1, &c->kv_rank));
    RY_TRY(model_matrix(m, ROLE_KV_B, i, H * (c->nope_dim + c->value_dim), c->kv_rank, false));
    return model_matrix(m, ROLE_O, i, C, H * c->value_dim, c->o_bias);
}

static ry_tensor last(ry_graph *g, ry_tensor x, int64_t from, int64_t to) { return ry_slice(g, x, -1, from, to, 1); }

ry_tensor latent_attention(const model_pass *p, int64_t i, ry_tensor x) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *w = p->m->layers[i].at;
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], H = c->num_attention_heads, N = c->nope_dim, R = c->rope_dim,
            V = c->value_dim, K = c->kv_rank;
    ry_tensor from = x;
    if (c->q_rank) from = ry_rms_norm(g, decoder_linear(p, &w[ROLE_Q_A], x), ry_use(g, w[ROLE_Q_A_NORM].w), inner_eps);
    ry_tensor q = RY_RESHAPE(g, decoder_linear(p, &w[c->q_rank ? ROLE_Q_B : ROLE_Q], from), B, T, H, N + R);
    q = ry_concat(g, 2, (ry_tensor[]){last(g, q, 0, N), decoder_rope(p, i, last(g, q, N, N + R))}, 3);
    ry_tensor down = decoder_linear(p, &w[ROLE_KV_A], x); /* [B,T,K+R] */
    ry_tensor turning = decoder_rope(p, i, RY_RESHAPE(g, last(g, down, K, K + R), B, T, 1, R));
    ry_tensor short_kv = ry_rms_norm(g, last(g, down, 0, K), ry_use(g, w[ROLE_KV_A_NORM].w), inner_eps);
    ry_tensor kv = RY_RESHAPE(g, decoder_linear(p, &w[ROLE_KV_B], short_kv), B, T, H, N + V);
    ry_tensor k =
        ry_concat(g, 2, (ry_tensor[]){last(g, kv, 0, N), ry_expand(g, turning, 4, (int64_t[]){B, T, H, R})}, 3);
    k = decoder_cache(p, i, 0, k);
    ry_tensor v = decoder_cache(p, i, 1, last(g, kv, N, N + V));
    return decoder_linear(p, &w[ROLE_O], decoder_attend(p, i, q, k, v));
}
