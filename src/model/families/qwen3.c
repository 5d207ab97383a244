/* qwen3.c - Qwen3 (Yang et al. 2025): a norm on each head of q and k, heads of a size of their own, no biases. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_BOOL("use_sliding_window", use_sliding_window),
                                 MODEL_INT("sliding_window", sliding_window, 0, 1 << 30),
                                 MODEL_INT("max_window_layers", window_first, 0, 100000),
                                 {0}};
const model_family model_family_qwen3 = {.model_type = "qwen3",
                                         .architecture = "Qwen3ForCausalLM",
                                         .base = {.norm_eps = 1e-6,
                                                  .num_key_value_heads = 32,
                                                  .head_dim = 128,
                                                  .max_position_embeddings = 32768,
                                                  .qk_norm = QK_NORM_HEAD,
                                                  .sliding_window = 4096,
                                                  .window_first = 28,
                                                  .layer_types = true},
                                         .keys = keys};
