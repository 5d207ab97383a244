/* olmo2.c - OLMo 2 (2025): norms only after attention and feed-forward; q and k are normed over their whole width. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias), MODEL_BOOL("attention_bias", o_bias), {0}};
const model_family model_family_olmo2 = {.model_type = "olmo2",
                                         .architecture = "Olmo2ForCausalLM",
                                         .base = {.norm_eps = 1e-5, .block = BLOCK_POST, .qk_norm = QK_NORM_WIDTH},
                                         .keys = keys};
