/* gemma2.c - Gemma 2 (Google 2024): norms before and after, soft caps, every other layer with a window. */
#include "model/model.h"
#include <math.h>

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    (void)j, (void)what;
    c->embedding_multiplier = sqrt((double)c->hidden_size);
    return RY_OK;
}

static const model_key keys[] = {MODEL_ACT("hidden_activation"),
                                 MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_INT("query_pre_attn_scalar", query_pre_attn_scalar, 1, 1 << 20),
                                 MODEL_SIZE("sliding_window", sliding_window),
                                 MODEL_REAL("attn_logit_softcapping", attn_softcap, 1e-6, 1e9),
                                 MODEL_REAL("final_logit_softcapping", final_softcap, 1e-6, 1e9),
                                 MODEL_REFUSE("use_bidirectional_attention"),
                                 {0}};
const model_family model_family_gemma2 = {.model_type = "gemma2",
                                          .architecture = "Gemma2ForCausalLM",
                                          .base = {.norm_eps = 1e-6,
                                                   .norm_plus_one = true,
                                                   .block = BLOCK_SANDWICH,
                                                   .num_key_value_heads = 4,
                                                   .head_dim = 256,
                                                   .max_position_embeddings = 8192,
                                                   .tie_word_embeddings = true,
                                                   .act = NN_GELU_TANH,
                                                   .query_pre_attn_scalar = 256,
                                                   .use_sliding_window = true,
                                                   .sliding_window = 4096,
                                                   .window_pattern = 2,
                                                   .layer_types = true,
                                                   .attn_softcap = 50,
                                                   .final_softcap = 30},
                                          .keys = keys,
                                          .names = {[ROLE_MLP_NORM] = "layers.#.pre_feedforward_layernorm.weight"},
                                          .finish = finish};
