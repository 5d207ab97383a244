/* lfm2.c - LFM2 (Liquid AI 2025): short convolutions in most layers, attention in some. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    bool adjust = true;
    double by = 1;
    int64_t unit = 256;
    RY_TRY(ry_json_bool(&adjust, j, what, "block_auto_adjust_ff_dim", false));
    RY_TRY(ry_json_real(&by, j, what, "block_ffn_dim_multiplier", 1e-6, 1e6, false));
    RY_TRY(ry_json_int(&unit, j, what, "block_multiple_of", 1, 1 << 30, false));
    if (adjust)
        c->intermediate_size = ((int64_t)(by * (double)(2 * c->intermediate_size / 3)) + unit - 1) / unit * unit;
    return RY_OK;
}

static const model_key keys[] = {MODEL_REAL("norm_eps", norm_eps, 0, 1),
                                 MODEL_BOOL("conv_bias", conv_bias),
                                 MODEL_INT("conv_L_cache", conv_taps, 2, 1 << 10),
                                 MODEL_ALSO_SIZE("block_ff_dim", intermediate_size),
                                 MODEL_ALSO_BOOL("tie_embedding", tie_word_embeddings),
                                 {0}};
const model_family model_family_lfm2 = {.model_type = "lfm2",
                                        .architecture = "Lfm2ForCausalLM",
                                        .base = {.norm_eps = 1e-5,
                                                 .num_key_value_heads = 8,
                                                 .max_position_embeddings = 128000,
                                                 .rope = {{.theta = 1e6}},
                                                 .qk_norm = QK_NORM_HEAD,
                                                 .conv_taps = 3,
                                                 .layer_types = true,
                                                 .tie_word_embeddings = true,
                                                 .use_sliding_window = true},
                                        .keys = keys,
                                        .names = {[ROLE_NORM] = "embedding_norm.weight",
                                                  [ROLE_ATTN_NORM] = "layers.#.operator_norm.weight",
                                                  [ROLE_MLP_NORM] = "layers.#.ffn_norm.weight",
                                                  [ROLE_O] = "layers.#.self_attn.out_proj.weight",
                                                  [ROLE_Q_NORM] = "layers.#.self_attn.q_layernorm.weight",
                                                  [ROLE_K_NORM] = "layers.#.self_attn.k_layernorm.weight",
                                                  [ROLE_GATE] = "layers.#.feed_forward.w1.weight",
                                                  [ROLE_UP] = "layers.#.feed_forward.w3.weight",
                                                  [ROLE_DOWN] = "layers.#.feed_forward.w2.weight"},
                                        .gguf_names = {[ROLE_NORM] = "token_embd_norm.weight"},
                                        .finish = finish};
