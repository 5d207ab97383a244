/* qwen2_moe.c - Qwen 1.5 and 2 with experts: many small ones beside one that all tokens share, behind a gate of its own; a
 * window, if asked for, in every second of the lower layers. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    (void)j, (void)what;
    if (!c->window_end) c->use_sliding_window = false; /* every second of no layers */
    return RY_OK;
}

static const model_key keys[] = {MODEL_BOOL("qkv_bias", qkv_bias),
                                 MODEL_BOOL("use_sliding_window", use_sliding_window),
                                 MODEL_INT("sliding_window", sliding_window, 0, 1 << 30),
                                 MODEL_INT("max_window_layers", window_end, 0, 100000),
                                 MODEL_INT("decoder_sparse_step", sparse_step, 1, 100000),
                                 MODEL_SIZE("moe_intermediate_size", expert_size),
                                 MODEL_SIZE("shared_expert_intermediate_size", shared_size),
                                 MODEL_INT("num_experts_per_tok", experts_used, 1, 1 << 16),
                                 MODEL_INT("num_experts", experts, 0, 1 << 16),
                                 MODEL_BOOL("norm_topk_prob", norm_topk),
                                 {0}};
const model_family model_family_qwen2_moe = {.model_type = "qwen2_moe",
                                             .architecture = "Qwen2MoeForCausalLM",
                                             .base = {.norm_eps = 1e-6,
                                                      .num_key_value_heads = 16,
                                                      .max_position_embeddings = 32768,
                                                      .qkv_bias = true,
                                                      .sliding_window = 4096,
                                                      .window_end = 28,
                                                      .window_pattern = 2,
                                                      .layer_types = true,
                                                      .experts = 60,
                                                      .experts_used = 4,
                                                      .expert_size = 1408,
                                                      .shared_size = 5632,
                                                      .shared_gate = true,
                                                      .mlp_only_layers = true},
                                             .keys = keys,
                                             .finish = finish};
