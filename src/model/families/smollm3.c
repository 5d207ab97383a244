/* smollm3.c - SmolLM3 (Hugging Face 2025): Llama in which every fourth layer does not turn. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_BOOL("mlp_bias", mlp_bias),
                                 MODEL_INT("no_rope_layer_interval", no_rope_interval, 1, 100000),
                                 MODEL_BOOL("use_sliding_window", use_sliding_window),
                                 MODEL_INT("sliding_window", sliding_window, 0, 1 << 30),
                                 {0}};
const model_family model_family_smollm3 = {.model_type = "smollm3",
                                           .architecture = "SmolLM3ForCausalLM",
                                           .base = {.norm_eps = 1e-6,
                                                    .num_key_value_heads = 4,
                                                    .max_position_embeddings = 32768,
                                                    .rope = {{.theta = 2e6}},
                                                    .rope_layers = ROPE_LISTED,
                                                    .no_rope_interval = 4,
                                                    .layer_types = true,
                                                    .tie_word_embeddings = true},
                                           .keys = keys};
