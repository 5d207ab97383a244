/* nemotron.c - Nemotron-4 and Minitron (NVIDIA 2024): layer norms whose weights are stored minus one, a plain feed-forward of squared relu. */
#include "model/model.h"

static const model_key keys[] = {MODEL_REAL("norm_eps", norm_eps, 0, 1),
                                 MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_BOOL("mlp_bias", mlp_bias),
                                 {0}};
const model_family model_family_nemotron = {.model_type = "nemotron",
                                            .architecture = "NemotronForCausalLM",
                                            .base = {.norm_eps = 1e-5,
                                                     .layer_norm = true,
                                                     .norm_plus_one = true,
                                                     .norm_bias = true,
                                                     .plain_mlp = true,
                                                     .act = NN_RELU2,
                                                     .max_position_embeddings = 4096,
                                                     .initializer_range = 0.0134,
                                                     .rope = {{.partial = 0.5}}},
                                            .keys = keys};
