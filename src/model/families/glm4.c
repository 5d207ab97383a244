/* glm4.c - GLM-4 (Zhipu 2024, 2025): norms before and after, one matrix for gate and up, biases on q, k and v, half of each head turns in neighbours. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias), {0}};
const model_family model_family_glm4 = {.model_type = "glm4",
                                        .architecture = "Glm4ForCausalLM",
                                        .base = {.norm_eps = 1.5625e-07,
                                                 .block = BLOCK_SANDWICH,
                                                 .num_key_value_heads = 2,
                                                 .head_dim = 128,
                                                 .max_position_embeddings = 131072,
                                                 .fused_gate_up = true,
                                                 .qkv_bias = true,
                                                 .rope = {{.partial = 0.5}},
                                                 .rope_interleaved = true,
                                                 .end = {151329, 151336, 151338},
                                                 .n_end = 3},
                                        .keys = keys,
                                        .names = {[ROLE_ATTN_POST_NORM] = "layers.#.post_self_attn_layernorm.weight",
                                                  [ROLE_MLP_POST_NORM] = "layers.#.post_mlp_layernorm.weight"}};
