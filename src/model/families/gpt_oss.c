/* gpt_oss.c - gpt-oss (OpenAI 2025): experts with biases and a clamped gate, attention sinks, every other layer with a window, YaRN. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    (void)j, (void)what;
    c->expert_size = c->intermediate_size;
    return RY_OK;
}

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_SIZE("sliding_window", sliding_window),
                                 MODEL_INT("num_local_experts", experts, 1, 1 << 16),
                                 MODEL_INT("num_experts_per_tok", experts_used, 1, 1 << 16),
                                 MODEL_ALSO_SIZE("experts_per_token", experts_used),
                                 MODEL_REAL("swiglu_limit", swiglu_limit, 1e-6, 1e9),
                                 MODEL_REAL("swiglu_alpha", swiglu_alpha, 1e-6, 1e9),
                                 {0}};
const model_family model_family_gpt_oss = {
    .model_type = "gpt_oss",
    .architecture = "GptOssForCausalLM",
    .base =
        {.norm_eps = 1e-5,
         .num_key_value_heads = 8,
         .head_dim = 64,
         .max_position_embeddings = 131072,
         .qkv_bias = true,
         .o_bias = true,
         .sinks = true,
         .use_sliding_window = true,
         .sliding_window = 128,
         .window_pattern = 2,
         .layer_types = true,
         .experts = 128,
         .experts_used = 4,
         .route = ROUTE_BEST_SOFTMAX,
         .router_bias = true,
         .packed_experts = true,
         .swiglu_limit = 7,
         .swiglu_alpha = 1.702,
         .rope =
             {{.kind = ROPE_YARN, .theta = 150000, .factor = 32, .beta_fast = 32, .beta_slow = 1, .original = 4096}}},
    .keys = keys,
    .names = {[ROLE_ROUTER] = "layers.#.mlp.router.weight", [ROLE_EXPERT_DOWN] = "layers.#.mlp.experts.down_proj"},
    .gguf_names = {[ROLE_MLP_NORM] = "blk.#.post_attention_norm.weight"},
    .finish = finish};
