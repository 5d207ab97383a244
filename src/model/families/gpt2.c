/* gpt2.c - GPT-2 (Radford et al. 2019): learned positions, layer norms, one matrix for q, k and v, matrices stored [in, out]. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    bool scaled = true;
    RY_TRY(ry_json_bool(&scaled, j, what, "scale_attn_weights", false));
    if (!scaled) c->attention_scale = 1;
    if (!c->intermediate_size) c->intermediate_size = 4 * c->hidden_size;
    c->positions = c->max_position_embeddings;
    c->num_key_value_heads = c->head_dim = 0; /* no such keys */
    return RY_OK;
}

static const model_key keys[] = {MODEL_SIZE("n_embd", hidden_size),
                                 MODEL_INT("n_layer", num_hidden_layers, 1, 100000),
                                 MODEL_INT("n_head", num_attention_heads, 1, 1 << 20),
                                 MODEL_SIZE("n_positions", max_position_embeddings),
                                 MODEL_SIZE("n_inner", intermediate_size),
                                 MODEL_REAL("layer_norm_epsilon", norm_eps, 0, 1),
                                 MODEL_ACT("activation_function"),
                                 MODEL_BOOL("scale_attn_by_inverse_layer_idx", scale_by_layer),
                                 {0}};
const model_family model_family_gpt2 = {.model_type = "gpt2",
                                        .architecture = "GPT2LMHeadModel",
                                        .base = {.norm_eps = 1e-5,
                                                 .layer_norm = true,
                                                 .norm_bias = true,
                                                 .plain_mlp = true,
                                                 .transposed = true,
                                                 .act = NN_GELU_TANH,
                                                 .qkv = QKV_FUSED,
                                                 .qkv_bias = true,
                                                 .o_bias = true,
                                                 .mlp_bias = true,
                                                 .max_position_embeddings = 1024,
                                                 .rope_layers = ROPE_NEVER,
                                                 .tie_word_embeddings = true},
                                        .keys = keys,
                                        .prefix = "transformer.",
                                        .names = {[ROLE_EMBED] = "wte.weight",
                                                  [ROLE_POSITIONS] = "wpe.weight",
                                                  [ROLE_NORM] = "ln_f.weight",
                                                  [ROLE_ATTN_NORM] = "h.#.ln_1.weight",
                                                  [ROLE_QKV] = "h.#.attn.c_attn.weight",
                                                  [ROLE_O] = "h.#.attn.c_proj.weight",
                                                  [ROLE_MLP_NORM] = "h.#.ln_2.weight",
                                                  [ROLE_UP] = "h.#.mlp.c_fc.weight",
                                                  [ROLE_DOWN] = "h.#.mlp.c_proj.weight"},
                                        .ignore = (const char *const[]){"*.attn.bias", "*.attn.masked_bias", NULL},
                                        .finish = finish};
