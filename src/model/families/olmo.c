/* olmo.c - OLMo (Groeneveld et al. 2024): Llama with layer norms that have no weights, and clipped q, k and v. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_REAL("clip_qkv", clip_qkv, 1e-6, 1e9),
                                 {0}};
const model_family model_family_olmo = {.model_type = "olmo",
                                        .architecture = "OlmoForCausalLM",
                                        .base = {.norm_eps = 1e-5, .layer_norm = true, .norm_plain = true},
                                        .keys = keys};
