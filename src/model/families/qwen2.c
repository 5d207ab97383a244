/* qwen2.c - Qwen 1.5, 2 and 2.5 (Yang et al. 2024): Llama with biases on q, k and v; a window in the upper layers, if asked for. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("use_sliding_window", use_sliding_window),
                                 MODEL_INT("sliding_window", sliding_window, 0, 1 << 30),
                                 MODEL_INT("max_window_layers", window_first, 0, 100000),
                                 {0}};
const model_family model_family_qwen2 = {.model_type = "qwen2",
                                         .architecture = "Qwen2ForCausalLM",
                                         .base = {.norm_eps = 1e-6,
                                                  .num_key_value_heads = 32,
                                                  .max_position_embeddings = 32768,
                                                  .qkv_bias = true,
                                                  .sliding_window = 4096,
                                                  .window_first = 28,
                                                  .layer_types = true},
                                         .keys = keys};
