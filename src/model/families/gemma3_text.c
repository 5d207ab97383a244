/* gemma3_text.c - Gemma 3 (Google 2025), its text: Gemma 2 with norms on q and k instead of soft caps, five layers with a window to one
 * without, which turn by other frequencies. */
#include "model/model.h"
#include <math.h>

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    (void)j, (void)what;
    c->embedding_multiplier = sqrt((double)c->hidden_size);
    return RY_OK;
}

static const model_key keys[] = {MODEL_ACT("hidden_activation"),
                                 MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_INT("query_pre_attn_scalar", query_pre_attn_scalar, 1, 1 << 20),
                                 MODEL_SIZE("sliding_window", sliding_window),
                                 MODEL_INT("sliding_window_pattern", window_pattern, 1, 100000),
                                 MODEL_REAL("attn_logit_softcapping", attn_softcap, 1e-6, 1e9),
                                 MODEL_REAL("final_logit_softcapping", final_softcap, 1e-6, 1e9),
                                 MODEL_REFUSE("use_bidirectional_attention"),
                                 {0}};
const model_family model_family_gemma3_text = {
    .model_type = "gemma3_text",
    .architecture = "Gemma3ForCausalLM",
    .base = {.norm_eps = 1e-6,
             .norm_plus_one = true,
             .block = BLOCK_SANDWICH,
             .num_attention_heads = 8,
             .num_key_value_heads = 4,
             .head_dim = 256,
             .vocab_size = 262208,
             .max_position_embeddings = 131072,
             .tie_word_embeddings = true,
             .act = NN_GELU_TANH,
             .query_pre_attn_scalar = 256,
             .qk_norm = QK_NORM_HEAD,
             .use_sliding_window = true,
             .sliding_window = 4096,
             .window_pattern = 6,
             .layer_types = true,
             .rope = {{.theta = 1e6}, {.theta = 1e4}}},
    .keys = keys,
    .prefixes = (const char *const[]){"language_model.model.", "model.language_model.", NULL},
    .names = {[ROLE_MLP_NORM] = "layers.#.pre_feedforward_layernorm.weight"},
    .ignore = (const char *const[]){"vision_tower.*", "multi_modal_projector.*", "model.vision_tower.*",
                                    "model.multi_modal_projector.*", NULL},
    .finish = finish};
