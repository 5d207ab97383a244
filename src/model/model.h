/* model.h - what a model is inside: configuration, named parameters, a family that builds the forward graph.
 *
 * A family is one file with one row (model_family): it declares its parameters under their checkpoint names and builds the graph.
 * Loading, saving, tying, random weights and rope tables are common and live in weights.c, config.c and rope.c. */
#ifndef RY_MODEL_MODEL_H
#define RY_MODEL_MODEL_H
#include "base/mem.h"
#include "io/json.h"
#include "model/source.h"
#include "nn/nn.h"

typedef enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_DYNAMIC, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE } rope_kind;
typedef struct rope_config {
    rope_kind kind;
    double theta, factor, low_freq_factor, high_freq_factor, attention_factor, mscale, mscale_all_dim, beta_fast, beta_slow, partial;
    int64_t original;                 /* original_max_position_embeddings; 0 = not given */
    bool truncate;
    double *short_factor, *long_factor; /* longrope: rotary/2 entries */
} rope_config;

enum { MODEL_MAX_END = 16 };
typedef struct model_config {         /* the keys of a Hugging Face config.json that matter, in its words */
    int64_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, vocab_size,
        max_position_embeddings;
    double rms_norm_eps, initializer_range;
    bool tie_word_embeddings, attention_bias, mlp_bias;
    nn_act act;
    rope_config rope;
    int64_t end[MODEL_MAX_END];
    int n_end;
} model_config;

typedef enum { INIT_NORMAL, INIT_ONES, INIT_ZEROS } model_init;

/* One forward pass: what the family's graph is built from. Null tensors where something is not used. */
typedef struct model_pass {
    ry_graph *g;
    ry_model *m;
    ry_tensor ids;                    /* [B,T] i32 */
    ry_tensor pos;                    /* [T] or [B,T] i32 */
    ry_tensor freq;                   /* [rotary/2] f32 */
    double rope_scale;
    ry_var **cache;                   /* by layer, keys and values: [1,sequences*S,G,D]; NULL: no cache */
    int64_t sequences, sequence;      /* that the cache holds; and the only one that this pass is of, or -1: of all */
    ry_tensor cache_at, length;       /* [B*T] i32: where the new rows go; [B] i32: keys in use afterwards */
    bool recompute;                   /* keep only the block boundaries for the backward pass */
} model_pass;

typedef struct model_family {
    const char *model_type;           /* "llama": config.json dispatches on it */
    const char *architecture;         /* "LlamaForCausalLM" */
    ry_status (*declare)(ry_model *m);/* calls model_param for each tensor, in checkpoint order */
    ry_tensor (*hidden)(const model_pass *p); /* ids -> [B,T,C], after the last norm */
    ry_var *(*head)(const ry_model *m);       /* [V,C] */
} model_family;

typedef struct rope_table { int64_t length; ry_var *freq; double scale; } rope_table;

struct ry_model {
    ry_device *dev;
    const model_family *family;
    model_config cfg;
    ry_model_options opt;
    ry_arena arena;                   /* the family's own structs */
    void *parts;                      /* the family's parameters by role */
    RY_VEC(ry_var *) vars;            /* by declaration */
    ry_json *json;                    /* config.json as it will be written */
    /* while it is opened: */
    model_source *source;             /* NULL: random weights; kept while weights are used in place */
    uint64_t seed;
    RY_VEC(rope_table) ropes;         /* one, or one per length where the scaling depends on it */
};

ry_status config_read(model_config *c, ry_json *json, const char *what, ry_arena *a, int64_t vocab_size);
ry_status config_complete(ry_json *json, const model_config *c, const model_family *f); /* a config.json that transformers loads */
ry_status config_end_tokens(model_config *c, const ry_json *json, const char *what);
/* Frequencies (radians a position) for sequences of `length` positions; freq [rotary/2]; *scale multiplies cos and sin. */
int64_t rope_rotary(const model_config *c);
void rope_frequencies(const model_config *c, int64_t length, float *freq, double *scale);
bool rope_varies(const model_config *c, int64_t length); /* does the table depend on the length, at this length? */
/* The table as a variable of the model, for sequences up to length. */
ry_status model_rope(ry_model *m, int64_t length, ry_var **freq, double *scale);

/* One parameter: opened, filled from the file or at random, named by fmt. */
ry_status model_param(ry_model *m, ry_var **out, model_init init, int rank, const int64_t *dim, const char *fmt, ...) RY_PRINTF(6, 7);
const model_family *model_family_find(const char *model_type);
/* New keys or values [B,T,G,D] into a cache; what attention reads: [B,S,G,D]. */
ry_tensor model_append(const model_pass *p, ry_var *cache, ry_tensor x);
/* hidden [B,T,C] -> logits [B,T,V] */
ry_tensor model_logits(ry_graph *g, ry_model *m, ry_tensor hidden);
ry_tensor model_loss(const model_pass *p, ry_tensor targets, ry_tensor scale, bool with_grad);
/* Fills pos, freq for a plain pass over ids [B,T]. */
ry_status model_pass_plain(model_pass *p, ry_graph *g, ry_model *m, ry_tensor ids);
#endif
