/* qwen3_moe.c - Qwen3 with experts (Yang et al. 2025). */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_BOOL("use_sliding_window", use_sliding_window),
                                 MODEL_INT("sliding_window", sliding_window, 0, 1 << 30),
                                 MODEL_INT("decoder_sparse_step", sparse_step, 1, 100000),
                                 MODEL_SIZE("moe_intermediate_size", expert_size),
                                 MODEL_INT("num_experts_per_tok", experts_used, 1, 1 << 16),
                                 MODEL_INT("num_experts", experts, 0, 1 << 16),
                                 MODEL_ALSO_SIZE("num_local_experts", experts),
                                 MODEL_BOOL("norm_topk_prob", norm_topk),
                                 {0}};
const model_family model_family_qwen3_moe = {.model_type = "qwen3_moe",
                                             .architecture = "Qwen3MoeForCausalLM",
                                             .base = {.norm_eps = 1e-6,
                                                      .num_key_value_heads = 4,
                                                      .max_position_embeddings = 32768,
                                                      .qk_norm = QK_NORM_HEAD,
                                                      .sliding_window = 4096,
                                                      .experts = 128,
                                                      .experts_used = 8,
                                                      .expert_size = 768,
                                                      .mlp_only_layers = true},
                                             .keys = keys};
