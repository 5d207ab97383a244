/* phi3.c - Phi 3 and 4 (Abdin et al. 2024): Llama with one matrix for q, k and v and one for gate and up; long contexts by LongRoPE. */
#include "model/model.h"

static const model_key keys[] = {MODEL_SIZE("sliding_window", sliding_window), {0}};
const model_family model_family_phi3 = {.model_type = "phi3",
                                        .architecture = "Phi3ForCausalLM",
                                        .base = {.norm_eps = 1e-5,
                                                 .max_position_embeddings = 4096,
                                                 .qkv = QKV_FUSED,
                                                 .fused_gate_up = true,
                                                 .use_sliding_window = true},
                                        .keys = keys};
