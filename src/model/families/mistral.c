/* mistral.c - Mistral (Jiang et al. 2023): Llama with a window of keys. */
#include "model/model.h"

static const model_key keys[] = {MODEL_SIZE("sliding_window", sliding_window), {0}};
const model_family model_family_mistral = {.model_type = "mistral",
                                           .architecture = "MistralForCausalLM",
                                           .base = {.norm_eps = 1e-6,
                                                    .num_key_value_heads = 8,
                                                    .max_position_embeddings = 131072,
                                                    .use_sliding_window = true,
                                                    .sliding_window = 4096},
                                           .keys = keys};
