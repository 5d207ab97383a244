/* cohere.c - Command R (Cohere 2024): attention and feed-forward side by side behind one layer norm without bias, neighbours turn, logits are scaled. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    bool normed = false;
    RY_TRY(ry_json_bool(&normed, j, what, "use_qk_norm", false));
    if (normed) c->qk_norm = QK_NORM_HEADS;
    return RY_OK;
}

static const model_key keys[] = {MODEL_REAL("layer_norm_eps", norm_eps, 0, 1),
                                 MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_REAL("logit_scale", logits_multiplier, 1e-9, 1e9),
                                 {0}};
const model_family model_family_cohere = {.model_type = "cohere",
                                          .architecture = "CohereForCausalLM",
                                          .base = {.norm_eps = 1e-5,
                                                   .layer_norm = true,
                                                   .block = BLOCK_PARALLEL_ONE,
                                                   .max_position_embeddings = 8192,
                                                   .tie_word_embeddings = true,
                                                   .rope = {{.theta = 500000}},
                                                   .rope_interleaved = true,
                                                   .logits_multiplier = 0.0625},
                                          .keys = keys,
                                          .finish = finish};
