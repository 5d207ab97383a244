/* phi.c - Phi 1, 1.5 and 2 (Li et al. 2023): attention and feed-forward side by side behind one layer norm, biases everywhere, half of each head turns. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    bool on = false;
    RY_TRY(ry_json_bool(&on, j, what, "qk_layernorm", false));
    if (on) c->qk_norm = QK_NORM_HEAD, c->qk_norm_bias = true;
    return RY_OK;
}

static const model_key keys[] = {MODEL_REAL("layer_norm_eps", norm_eps, 0, 1), {0}};
const model_family model_family_phi = {.model_type = "phi",
                                       .architecture = "PhiForCausalLM",
                                       .base = {.norm_eps = 1e-5,
                                                .layer_norm = true,
                                                .norm_bias = true,
                                                .block = BLOCK_PARALLEL_ONE,
                                                .plain_mlp = true,
                                                .act = NN_GELU_TANH,
                                                .qkv_bias = true,
                                                .o_bias = true,
                                                .mlp_bias = true,
                                                .head_bias = true,
                                                .rope = {{.partial = 0.5}}},
                                       .keys = keys,
                                       .names = {[ROLE_NORM] = "final_layernorm.weight",
                                                 [ROLE_O] = "layers.#.self_attn.dense.weight",
                                                 [ROLE_Q_NORM] = "layers.#.self_attn.q_layernorm.weight",
                                                 [ROLE_K_NORM] = "layers.#.self_attn.k_layernorm.weight",
                                                 [ROLE_UP] = "layers.#.mlp.fc1.weight",
                                                 [ROLE_DOWN] = "layers.#.mlp.fc2.weight"},
                                       .finish = finish};
