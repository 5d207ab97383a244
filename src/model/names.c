/* names.c - what tensors are called: by role, in Hugging Face checkpoints (as Llama calls them; families say where they differ) and in GGUF
 * files.  Knows no graph. */
#include "model/model.h"
#include <stdio.h>
#include <string.h>

#define LAYER(hf, gguf) \
    { "layers.#." hf ".weight", "blk.#." gguf ".weight" }
const model_role_names model_roles[ROLES] = {
    [ROLE_EMBED] = {"embed_tokens.weight", "token_embd.weight"},
    [ROLE_POSITIONS] = {"embed_positions.weight", "position_embd.weight"},
    [ROLE_NORM] = {"norm.weight", "output_norm.weight"},
    [ROLE_HEAD] = {"lm_head.weight", "output.weight"},
    [ROLE_ATTN_NORM] = LAYER("input_layernorm", "attn_norm"),
    [ROLE_ATTN_POST_NORM] = LAYER("post_attention_layernorm", "post_attention_norm"),
    [ROLE_MLP_NORM] = LAYER("post_attention_layernorm", "ffn_norm"),
    [ROLE_MLP_POST_NORM] = LAYER("post_feedforward_layernorm", "post_ffw_norm"),
    [ROLE_Q] = LAYER("self_attn.q_proj", "attn_q"),
    [ROLE_K] = LAYER("self_attn.k_proj", "attn_k"),
    [ROLE_V] = LAYER("self_attn.v_proj", "attn_v"),
    [ROLE_QKV] = LAYER("self_attn.qkv_proj", "attn_qkv"),
    [ROLE_O] = LAYER("self_attn.o_proj", "attn_output"),
    [ROLE_Q_NORM] = LAYER("self_attn.q_norm", "attn_q_norm"),
    [ROLE_K_NORM] = LAYER("self_attn.k_norm", "attn_k_norm"),
    [ROLE_SINKS] = {"layers.#.self_attn.sinks", "blk.#.attn_sinks.weight"},
    [ROLE_Q_A] = LAYER("self_attn.q_a_proj", "attn_q_a"),
    [ROLE_Q_A_NORM] = LAYER("self_attn.q_a_layernorm", "attn_q_a_norm"),
    [ROLE_Q_B] = LAYER("self_attn.q_b_proj", "attn_q_b"),
    [ROLE_KV_A] = LAYER("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
    [ROLE_KV_A_NORM] = LAYER("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
    [ROLE_KV_B] = LAYER("self_attn.kv_b_proj", "attn_kv_b"),
    [ROLE_CONV_IN] = LAYER("conv.in_proj", "shortconv.in_proj"),
    [ROLE_CONV] = LAYER("conv.conv", "shortconv.conv"),
    [ROLE_CONV_OUT] = LAYER("conv.out_proj", "shortconv.out_proj"),
    [ROLE_GATE] = LAYER("mlp.gate_proj", "ffn_gate"),
    [ROLE_UP] = LAYER("mlp.up_proj", "ffn_up"),
    [ROLE_GATE_UP] = LAYER("mlp.gate_up_proj", "ffn_up"),
    [ROLE_DOWN] = LAYER("mlp.down_proj", "ffn_down"),
    [ROLE_ROUTER] = LAYER("mlp.gate", "ffn_gate_inp"),
    [ROLE_ROUTER_CORRECTION] = {"layers.#.mlp.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias"},
    [ROLE_EXPERT_GATE] = LAYER("mlp.experts.#.gate_proj", "ffn_gate_exps"),
    [ROLE_EXPERT_UP] = LAYER("mlp.experts.#.up_proj", "ffn_up_exps"),
    [ROLE_EXPERT_GATE_UP] = {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_up_exps.weight"},
    [ROLE_EXPERT_DOWN] = LAYER("mlp.experts.#.down_proj", "ffn_down_exps"),
    [ROLE_SHARED_GATE] = LAYER("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
    [ROLE_SHARED_UP] = LAYER("mlp.shared_expert.up_proj", "ffn_up_shexp"),
    [ROLE_SHARED_DOWN] = LAYER("mlp.shared_expert.down_proj", "ffn_down_shexp"),
    [ROLE_SHARED_ROUTER] = LAYER("mlp.shared_expert_gate", "ffn_gate_inp_shexp"),
};

static const char *pattern_of(const model_family *f, model_role role) {
    return f->names[role] ? f->names[role] : model_roles[role].hf;
}

bool model_has_parts(const model_family *f, model_role role) {
    const char *first = strchr(pattern_of(f, role), '#');
    return first && strchr(first + 1, '#');
}

void model_name(char *out, size_t size, const model_family *f, const char *prefix, const model_tensor *t,
                int64_t part) {
    static const char weight[] = ".weight";
    const char *from = pattern_of(f, t->role);
    size_t n = strlen(from), tail = sizeof weight - 1, at = 0;
    bool dotted = n >= tail && !strcmp(from + n - tail, weight);
    int64_t number[] = {t->layer, part};
    if (!size) return;
    out[0] = 0;
    if (t->role != ROLE_HEAD) at = (size_t)snprintf(out, size, "%s", prefix);
    for (int k = 0; *from && at < size; from++) {
        if (t->bias && dotted && !strcmp(from, weight)) break;
        if (*from != '#')
            at += (size_t)snprintf(out + at, size - at, "%c", *from);
        else if (k == 1 && part < 0)
            at += (size_t)snprintf(out + at, size - at, "*"), k++;
        else
            at += (size_t)snprintf(out + at, size - at, "%lld", (long long)number[k++ != 0]);
    }
    if (t->bias && at < size) snprintf(out + at, size - at, "%s", dotted ? ".bias" : "_bias");
}
