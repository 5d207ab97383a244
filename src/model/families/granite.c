/* granite.c - Granite 3 (IBM 2024): Llama with four multipliers. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    double by = 1;
    RY_TRY(ry_json_real(&by, j, what, "logits_scaling", 1e-9, 1e9, false));
    c->logits_multiplier = 1 / by;
    return RY_OK;
}

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_BOOL("mlp_bias", mlp_bias),
                                 MODEL_REAL("attention_multiplier", attention_scale, 1e-9, 1e9),
                                 MODEL_REAL("embedding_multiplier", embedding_multiplier, 1e-9, 1e9),
                                 MODEL_REAL("residual_multiplier", residual_multiplier, 1e-9, 1e9),
                                 {0}};
const model_family model_family_granite = {.model_type = "granite",
                                           .architecture = "GraniteForCausalLM",
                                           .base = {.norm_eps = 1e-6, .attention_scale = 1},
                                           .keys = keys,
                                           .finish = finish};
