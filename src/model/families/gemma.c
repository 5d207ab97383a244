/* gemma.c - Gemma (Google 2024): norms whose weights are stored minus one, embeddings times sqrt(C), gated by gelu. */
#include "model/model.h"

static const model_key keys[] = {MODEL_BOOL("attention_bias", qkv_bias),
                                 MODEL_BOOL("attention_bias", o_bias),
                                 MODEL_REFUSE("use_bidirectional_attention"),
                                 {0}};
const model_family model_family_gemma = {.model_type = "gemma",
                                         .architecture = "GemmaForCausalLM",
                                         .base = {.norm_eps = 1e-6,
                                                  .norm_plus_one = true,
                                                  .embedding_sqrt = true,
                                                  .num_key_value_heads = 16,
                                                  .head_dim = 256,
                                                  .max_position_embeddings = 8192,
                                                  .tie_word_embeddings = true,
                                                  .act = NN_GELU_TANH},
                                         .keys = keys};
