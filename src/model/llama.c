/* llama.c - the Llama family (Touvron et al. 2023; grouped heads as Llama 2 and 3): parameters under their checkpoint names and the graph. */
#include "core/op.h"
#include "model/model.h"
#include <rusty/ops.h>

typedef struct llama_layer {
    ry_var *input_norm, *post_norm, *q, *k, *v, *o, *gate, *up, *down;
    ry_var *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias; /* NULL without biases */
} llama_layer;

typedef struct llama {
    ry_var *embed, *norm, *head; /* head == embed where tied */
    llama_layer *layers;
} llama;

static ry_status matrix(ry_model *m, ry_var **w, ry_var **b, bool bias, int64_t layer, const char *name, int64_t n, int64_t k) {
    RY_TRY(model_param(m, w, INIT_NORMAL, 2, (int64_t[]){n, k}, "model.layers.%lld.%s.weight", (long long)layer, name));
    return bias ? model_param(m, b, INIT_ZEROS, 1, &n, "model.layers.%lld.%s.bias", (long long)layer, name) : RY_OK;
}

static ry_status declare(ry_model *m) {
    const model_config *c = &m->cfg;
    int64_t C = c->hidden_size, F = c->intermediate_size, Q = c->num_attention_heads * c->head_dim, KV = c->num_key_value_heads * c->head_dim;
    llama *p = RY_NEW(&m->arena, llama, 1);
    if (!p || !(p->layers = RY_NEW(&m->arena, llama_layer, c->num_hidden_layers))) return RY_ENOMEM;
    m->parts = p;
    RY_TRY(model_param(m, &p->embed, INIT_NORMAL, 2, (int64_t[]){c->vocab_size, C}, "model.embed_tokens.weight"));
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        llama_layer *l = &p->layers[i];
        bool ab = c->attention_bias, mb = c->mlp_bias;
        RY_TRY(model_param(m, &l->input_norm, INIT_ONES, 1, &C, "model.layers.%lld.input_layernorm.weight", (long long)i));
        RY_TRY(matrix(m, &l->q, &l->q_bias, ab, i, "self_attn.q_proj", Q, C));
        RY_TRY(matrix(m, &l->k, &l->k_bias, ab, i, "self_attn.k_proj", KV, C));
        RY_TRY(matrix(m, &l->v, &l->v_bias, ab, i, "self_attn.v_proj", KV, C));
        RY_TRY(matrix(m, &l->o, &l->o_bias, ab, i, "self_attn.o_proj", C, Q));
        RY_TRY(model_param(m, &l->post_norm, INIT_ONES, 1, &C, "model.layers.%lld.post_attention_layernorm.weight", (long long)i));
        RY_TRY(matrix(m, &l->gate, &l->gate_bias, mb, i, "mlp.gate_proj", F, C));
        RY_TRY(matrix(m, &l->up, &l->up_bias, mb, i, "mlp.up_proj", F, C));
        RY_TRY(matrix(m, &l->down, &l->down_bias, mb, i, "mlp.down_proj", C, F));
    }
    RY_TRY(model_param(m, &p->norm, INIT_ONES, 1, &C, "model.norm.weight"));
    p->head = p->embed;
    return c->tie_word_embeddings ? RY_OK : model_param(m, &p->head, INIT_NORMAL, 2, (int64_t[]){c->vocab_size, C}, "lm_head.weight");
}

static ry_tensor attention(const model_pass *p, const llama_layer *l, int64_t layer, ry_tensor x) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], H = c->num_attention_heads, G = c->num_key_value_heads, D = c->head_dim;
    ry_rope_options rope = {.rotary = rope_rotary(c), .scale = p->rope_scale};
    ry_tensor q = RY_RESHAPE(g, nn_linear(g, x, l->q, l->q_bias), B, T, H, D);
    ry_tensor k = RY_RESHAPE(g, nn_linear(g, x, l->k, l->k_bias), B, T, G, D);
    ry_tensor v = RY_RESHAPE(g, nn_linear(g, x, l->v, l->v_bias), B, T, G, D);
    q = ry_rope(g, q, p->pos, p->freq, &rope);
    k = ry_rope(g, k, p->pos, p->freq, &rope);
    if (p->cache) {
        k = model_append(p, p->cache[2 * layer], k);
        v = model_append(p, p->cache[2 * layer + 1], v);
    }
    ry_tensor o = ry_attention(g, q, k, v, &(ry_attention_options){.causal = true, .length = p->length});
    return nn_linear(g, RY_RESHAPE(g, o, B, T, H * D), l->o, l->o_bias);
}

static ry_tensor mlp(const model_pass *p, const llama_layer *l, ry_tensor x) {
    ry_graph *g = p->g;
    ry_tensor a = nn_linear(g, x, l->gate, l->gate_bias), b = nn_linear(g, x, l->up, l->up_bias);
    return nn_linear(g, nn_gated(g, p->m->cfg.act, a, b), l->down, l->down_bias);
}

static ry_tensor hidden(const model_pass *p) {
    ry_graph *g = p->g;
    const llama *w = p->m->parts;
    const model_config *c = &p->m->cfg;
    ry_tensor h = ry_cast(g, ry_embedding(g, ry_use(g, w->embed), p->ids), RY_F32);
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        const llama_layer *l = &w->layers[i];
        if (p->recompute) ry_recompute_begin(g);
        h = ry_add(g, h, attention(p, l, i, ry_rms_norm(g, h, ry_use(g, l->input_norm), c->rms_norm_eps)));
        h = ry_add(g, h, mlp(p, l, ry_rms_norm(g, h, ry_use(g, l->post_norm), c->rms_norm_eps)));
        if (p->recompute) ry_recompute_end(g);
    }
    return ry_rms_norm(g, h, ry_use(g, w->norm), c->rms_norm_eps);
}

static ry_var *head(const ry_model *m) { return ((const llama *)m->parts)->head; }

extern const model_family model_family_llama;
const model_family model_family_llama = {
    .model_type = "llama", .architecture = "LlamaForCausalLM", .declare = declare, .hidden = hidden, .head = head};
