/* llama.c - Llama 1 to 3 (Touvron et al. 2023; grouped heads, Dubey et al. 2024): what model_config is where nothing is said. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_BOOL("mlp_bias", mlp_bias),
                                 {0}};
const model_family model_family_llama = {
    .model_type = "llama", .architecture = "LlamaForCausalLM", .base = {.norm_eps = 1e-6}, .keys = keys};
