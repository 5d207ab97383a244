/* gpt_neox.c - GPT-NeoX and Pythia (Black et al. 2022): attention and feed-forward side by side, each behind a layer norm; q, k and v of each head
 * lie together; a part of each head turns. */
#include "model/model.h"

static ry_status finish(model_config *c, const ry_json *j, const char *what) {
    bool side_by_side = true;
    RY_TRY(ry_json_bool(&side_by_side, j, what, "use_parallel_residual", false));
    if (!side_by_side) c->block = BLOCK_PRE;
    c->num_key_value_heads = c->head_dim = 0; /* no such keys */
    return RY_OK;
}

static const model_key keys[] = {MODEL_REAL("layer_norm_eps", norm_eps, 0, 1),
                                 MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 {0}};
const model_family model_family_gpt_neox = {
    .model_type = "gpt_neox",
    .architecture = "GPTNeoXForCausalLM",
    .base = {.norm_eps = 1e-5,
             .layer_norm = true,
             .norm_bias = true,
             .block = BLOCK_PARALLEL,
             .plain_mlp = true,
             .act = NN_GELU,
             .qkv = QKV_BY_HEAD,
             .qkv_bias = true,
             .o_bias = true,
             .mlp_bias = true,
             .rope = {{.partial = 0.25}}},
    .keys = keys,
    .theta_key = "rotary_emb_base",
    .partial_key = "rotary_pct",
    .prefix = "gpt_neox.",
    .names = {[ROLE_EMBED] = "embed_in.weight",
              [ROLE_NORM] = "final_layer_norm.weight",
              [ROLE_HEAD] = "embed_out.weight",
              [ROLE_QKV] = "layers.#.attention.query_key_value.weight",
              [ROLE_O] = "layers.#.attention.dense.weight",
              [ROLE_UP] = "layers.#.mlp.dense_h_to_4h.weight",
              [ROLE_DOWN] = "layers.#.mlp.dense_4h_to_h.weight"},
    .ignore = (const char *const[]){"*.attention.bias", "*.attention.masked_bias", NULL},
    .finish = finish};
