/* deepseek_v3.c - DeepSeek-V3 and -R1 (DeepSeek-AI 2024): latent attention; experts chosen by groups, beside shared ones, after a few dense layers.
 * The layers that predict further tokens are not read. */
#include "model/model.h"

#include <string.h>

/* The published models say how their experts are chosen, transformers has only that way. */
static ry_status only(const ry_json *j, const char *what, const char *key, const char *known) {
    const char *is = known;
    RY_TRY(ry_json_text(&is, j, what, key, false));
    return !strcmp(is, known) ? RY_OK : ry_fail(RY_EUNSUPPORTED, "%s: %s '%s' is not known (%s)", what, key, is, known);
}

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    int64_t shared = 1;
    bool interleaved = true;
    RY_TRY(ry_json_int(&shared, j, what, "n_shared_experts", 0, 1 << 16, false));
    RY_TRY(ry_json_bool(&interleaved, j, what, "rope_interleave", false));
    RY_TRY(only(j, what, "scoring_func", "sigmoid"));
    RY_TRY(only(j, what, "topk_method", "noaux_tc"));
    c->shared_size = shared * c->expert_size;
    c->rope_interleaved = interleaved;
    c->head_dim = c->rope_dim; /* what turns */
    c->num_key_value_heads = c->num_attention_heads;
    if (!c->kv_rank || !c->rope_dim || !c->value_dim)
        RY_FAIL(RY_EFORMAT, "%s: kv_lora_rank, qk_rope_head_dim and v_head_dim must be above 0", what);
    return RY_OK;
}

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_SIZE("moe_intermediate_size", expert_size),
                                 MODEL_INT("n_routed_experts", experts, 0, 1 << 16),
                                 MODEL_INT("num_experts_per_tok", experts_used, 1, 1 << 16),
                                 MODEL_INT("n_group", groups, 1, 1 << 16),
                                 MODEL_INT("topk_group", groups_used, 1, 1 << 16),
                                 MODEL_REAL("routed_scaling_factor", routed_scaling, 1e-9, 1e9),
                                 MODEL_BOOL("norm_topk_prob", norm_topk),
                                 MODEL_INT("first_k_dense_replace", dense_first, 0, 100000),
                                 MODEL_SIZE("q_lora_rank", q_rank),
                                 MODEL_SIZE("kv_lora_rank", kv_rank),
                                 MODEL_INT("qk_nope_head_dim", nope_dim, 0, 1 << 20),
                                 MODEL_INT("qk_rope_head_dim", rope_dim, 1, 1 << 20),
                                 MODEL_INT("v_head_dim", value_dim, 1, 1 << 20),
                                 {0}};
const model_family model_family_deepseek_v3 = {
    .model_type = "deepseek_v3",
    .architecture = "DeepseekV3ForCausalLM",
    .base = {.norm_eps = 1e-6,
             .max_position_embeddings = 4096,
             .q_rank = 1536,
             .kv_rank = 512,
             .nope_dim = 128,
             .rope_dim = 64,
             .value_dim = 128,
             .experts = 256,
             .experts_used = 8,
             .expert_size = 2048,
             .groups = 8,
             .groups_used = 4,
             .route = ROUTE_SIGMOID,
             .norm_topk = true,
             .routed_scaling = 2.5,
             .dense_first = 3},
    .keys = keys,
    .names = {[ROLE_SHARED_GATE] = "layers.#.mlp.shared_experts.gate_proj.weight",
              [ROLE_SHARED_UP] = "layers.#.mlp.shared_experts.up_proj.weight",
              [ROLE_SHARED_DOWN] = "layers.#.mlp.shared_experts.down_proj.weight"},
    .ignore = (const char *const[]){"model.layers.#.*", NULL},
    .finish = finish};
