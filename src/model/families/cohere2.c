/* cohere2.c - Command R7B (Cohere 2024): Command R in which three layers of four have a window, and only these turn. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    (void)j, (void)what;
    c->head_dim = 0; /* always C / H */
    return RY_OK;
}

static const model_key keys[] = {MODEL_REAL("layer_norm_eps", norm_eps, 0, 1),
                                 MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_REAL("logit_scale", logits_multiplier, 1e-9, 1e9),
                                 MODEL_SIZE("sliding_window", sliding_window),
                                 MODEL_INT("sliding_window_pattern", window_pattern, 1, 100000),
                                 {0}};
const model_family model_family_cohere2 = {.model_type = "cohere2",
                                           .architecture = "Cohere2ForCausalLM",
                                           .base = {.norm_eps = 1e-5,
                                                    .layer_norm = true,
                                                    .block = BLOCK_PARALLEL_ONE,
                                                    .max_position_embeddings = 8192,
                                                    .tie_word_embeddings = true,
                                                    .rope_layers = ROPE_WINDOWED,
                                                    .rope_interleaved = true,
                                                    .use_sliding_window = true,
                                                    .sliding_window = 4096,
                                                    .window_pattern = 4,
                                                    .layer_types = true,
                                                    .logits_multiplier = 0.0625},
                                           .keys = keys,
                                           .finish = finish};
