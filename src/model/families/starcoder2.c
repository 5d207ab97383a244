/* starcoder2.c - StarCoder 2 (Lozhkov et al. 2024): grouped heads, layer norms, a plain feed-forward, biases, a window. */
#include "model/model.h"

static const model_key keys[] = {
    MODEL_REAL("norm_epsilon", norm_eps, 0, 1), MODEL_SIZE("sliding_window", sliding_window),
    MODEL_BOOL("use_bias", qkv_bias),           MODEL_BOOL("use_bias", o_bias),
    MODEL_BOOL("use_bias", mlp_bias),           {0}};
const model_family model_family_starcoder2 = {
    .model_type = "starcoder2",
    .architecture = "Starcoder2ForCausalLM",
    .base = {.norm_eps = 1e-5,
             .layer_norm = true,
             .norm_bias = true,
             .plain_mlp = true,
             .act = NN_GELU_TANH,
             .num_key_value_heads = 2,
             .qkv_bias = true,
             .o_bias = true,
             .mlp_bias = true,
             .max_position_embeddings = 4096,
             .initializer_range = 0.018042,
             .tie_word_embeddings = true,
             .use_sliding_window = true},
    .keys = keys,
    .names = {[ROLE_UP] = "layers.#.mlp.c_fc.weight", [ROLE_DOWN] = "layers.#.mlp.c_proj.weight"}};
