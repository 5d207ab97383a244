/* stablelm.c - StableLM (Stability AI 2023): Llama with layer norms; a quarter of each head turns; optional biases, norms by head, and blocks side by side. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    bool side_by_side = false, normed = false;
    RY_TRY(ry_json_bool(&side_by_side, j, what, "use_parallel_residual", false));
    RY_TRY(ry_json_bool(&normed, j, what, "qk_layernorm", false));
    if (side_by_side) c->block = BLOCK_PARALLEL_ONE;
    if (normed) c->qk_norm = QK_NORM_HEADS;
    return RY_OK;
}

static const model_key keys[] = {
    MODEL_REAL("layer_norm_eps", norm_eps, 0, 1), MODEL_BOOL("use_qkv_bias", qkv_bias), {0}};
const model_family model_family_stablelm = {.model_type = "stablelm",
                                            .architecture = "StableLmForCausalLM",
                                            .base = {.norm_eps = 1e-5,
                                                     .layer_norm = true,
                                                     .norm_bias = true,
                                                     .num_key_value_heads = 32,
                                                     .max_position_embeddings = 4096,
                                                     .rope = {{.partial = 0.25}}},
                                            .keys = keys,
                                            .names = {[ROLE_Q_NORM] = "layers.#.self_attn.q_layernorm.norms.#.weight",
                                                      [ROLE_K_NORM] = "layers.#.self_attn.k_layernorm.norms.#.weight"},
                                            .finish = finish};
