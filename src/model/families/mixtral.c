/* mixtral.c - Mixtral (Jiang et al. 2024): Mistral with eight feed-forwards of which the router takes two. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    (void)j, (void)what;
    c->expert_size = c->intermediate_size;
    return RY_OK;
}

static const model_key keys[] = {MODEL_SIZE("sliding_window", sliding_window),
                                 MODEL_INT("num_local_experts", experts, 1, 1 << 16),
                                 MODEL_INT("num_experts_per_tok", experts_used, 1, 1 << 16),
                                 {0}};
const model_family model_family_mixtral = {
    .model_type = "mixtral",
    .architecture = "MixtralForCausalLM",
    .base = {.norm_eps = 1e-5,
             .num_key_value_heads = 8,
             .max_position_embeddings = 131072,
             .rope = {{.theta = 1e6}},
             .use_sliding_window = true,
             .experts = 8,
             .experts_used = 2,
             .norm_topk = true},
    .keys = keys,
    .names = {[ROLE_ROUTER] = "layers.#.block_sparse_moe.gate.weight",
              [ROLE_EXPERT_GATE] = "layers.#.block_sparse_moe.experts.#.w1.weight",
              [ROLE_EXPERT_UP] = "layers.#.block_sparse_moe.experts.#.w3.weight",
              [ROLE_EXPERT_DOWN] = "layers.#.block_sparse_moe.experts.#.w2.weight"},
    .finish = finish};
