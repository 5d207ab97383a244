/* fuzz_config.c - any JSON as the config.json of any family: no crash, no leak; what is accepted has sizes a graph can be built from, and is read
 * again, once completed, as the same. */
#include "fuzz/seeds.h"
#include "model/model.h"

extern const model_family *const model_family_rows[];

static void check(const model_config *c) {
    must(c->hidden_size > 0 && c->num_hidden_layers > 0 && c->num_attention_heads > 0 && c->num_key_value_heads > 0 &&
         c->head_dim > 0);
    must(c->num_attention_heads % c->num_key_value_heads == 0 && c->n_end >= 0 && c->n_end <= MODEL_MAX_END);
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        const model_layer *l = &c->layer[i];
        must(l->rope < MODEL_ROPES && (!l->window || c->sliding_window > 0) && (!l->conv || c->conv_taps > 1));
        must(!l->experts || (c->experts_used > 0 && c->experts_used <= c->experts && c->expert_size > 0));
        if (l->rope < 0 || l->conv) continue;
        int64_t n = rope_rotary(c, l->rope);
        must(n >= 2 && n % 2 == 0 && n <= c->head_dim);
    }
    for (int w = 0; w < MODEL_ROPES; w++) {
        static float freq[4096];
        double scale;
        if (c->rope_layers == ROPE_NEVER || !(c->rope[w].theta > 0) || rope_rotary(c, w) / 2 > 4096) continue;
        rope_frequencies(c, w, 100, freq, &scale);
        rope_frequencies(c, w, 1 << 20, freq, &scale);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ry_json *j;
    if (ry_json_parse(&j, (const char *)data, size, "config.json", 0) == RY_OK) {
        const char *type = ry_json_as_text(ry_json_find(j, "model_type"), NULL);
        for (const model_family *const *f = model_family_rows; *f; f++) {
            model_config c = {0}, again = {0};
            ry_arena a = {0};
            if ((*f)->wrapped || (type && strcmp(type, (*f)->model_type) != 0)) continue;
            if (config_read(&c, *f, j, "config.json", &a, 0) == RY_OK) {
                check(&c);
                must(config_complete(j, &c, *f) == RY_OK);
                must(config_read(&again, *f, j, "config.json", &a, 0) == RY_OK);
                must(again.hidden_size == c.hidden_size && again.head_dim == c.head_dim &&
                     again.vocab_size == c.vocab_size && again.experts == c.experts);
                must(again.intermediate_size == c.intermediate_size && again.act == c.act &&
                     again.tie_word_embeddings == c.tie_word_embeddings);
            }
            ry_arena_free(&a);
            if (!type) break; /* the first family does for all that names none */
        }
        ry_json_free(j);
    }
    must(ry_mem_live() == 0);
    return 0;
}

#define SIZES \
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"vocab_size\":50"
size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const seeds[] = {
        "{\"model_type\":\"llama\"," SIZES ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
                                           "\"high_freq_factor\":4},\"eos_token_id\":[1,2]}",
        "{\"model_type\":\"gemma3_text\"," SIZES ",\"head_dim\":8,\"sliding_window\":5,\"sliding_window_pattern\":2,"
                                                 "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}}",
        "{\"model_type\":\"gemma2\"," SIZES ",\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_"
                                            "attention\"],\"attn_logit_softcapping\":null}",
        "{\"model_type\":\"phi3\"," SIZES
        ",\"original_max_position_embeddings\":20,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,"
        "1,1,1],\"long_factor\":[1,2,3,4,5,6,7,8]}}",
        "{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,\"vocab_size\":50,\"n_"
        "inner\":null,\"scale_attn_weights\":false}",
        "{\"model_type\":\"qwen2_moe\"," SIZES ",\"mlp_only_layers\":[0],\"decoder_sparse_step\":2,\"use_sliding_"
                                               "window\":true,\"sliding_window\":4,\"max_window_layers\":1}",
        "{\"model_type\":\"deepseek_v3\"," SIZES ",\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"mscale\":"
                                                 "1,\"mscale_all_dim\":1,\"rope_theta\":10000}}",
        "{\"model_type\":\"lfm2\"," SIZES
        ",\"full_attn_idxs\":[1],\"block_multiple_of\":32,\"block_ffn_dim_multiplier\":1.5}",
        "{\"model_type\":\"smollm3\"," SIZES
        ",\"no_rope_layers\":[1,0,true],\"use_sliding_window\":false,\"sliding_window\":null}",
        "{\"model_type\":\"gpt_oss\"," SIZES ",\"num_local_experts\":4,\"num_experts_per_tok\":2,\"rope_parameters\":{"
                                             "\"rope_type\":\"yarn\",\"factor\":32,\"truncate\":false}}",
    };
    return seed_of(seeds, sizeof seeds / sizeof *seeds, i, buf, cap);
}
