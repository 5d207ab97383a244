/* model.h - what a model is inside: configuration, named parameters, caches, and the one decoder that all families are.
 *
 * A family is a row (model_family) in a file of src/model/families: its configuration before config.json is read, the keys it reads, and
 * the names of its tensors. decoder.c builds the graph from the configuration; config.c reads it; names.c has the names by role; weights.c
 * loads and saves; rope.c has the frequencies. */
#ifndef RY_MODEL_MODEL_H
#define RY_MODEL_MODEL_H
#include "base/mem.h"
#include "io/json.h"
#include "model/source.h"
#include "nn/nn.h"

/* ---------------------------------------------------------------- configuration ---- */

typedef enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_DYNAMIC, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE } rope_kind;
typedef struct rope_config {
    rope_kind kind;
    double theta, factor, low_freq_factor, high_freq_factor, attention_factor, mscale, mscale_all_dim, beta_fast, beta_slow, partial;
    int64_t original;                 /* original_max_position_embeddings; 0 = not given */
    bool truncate;
    double *short_factor, *long_factor; /* longrope: rotary/2 entries */
} rope_config;

/* Norms of a block: before attention and feed-forward; before and after; only after; attention and feed-forward side by side, each with
 * its norm; side by side behind one norm. */
typedef enum { BLOCK_PRE, BLOCK_SANDWICH, BLOCK_POST, BLOCK_PARALLEL, BLOCK_PARALLEL_ONE } block_kind;
/* Of queries and keys, before they turn: none; a weight [D] for all heads; [H,D]; over the whole width, [H*D]. */
typedef enum { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_HEADS, QK_NORM_WIDTH } qk_norm_kind;
/* One matrix for q, k and v: none; all q, all k, all v; q, k, v of each head. */
typedef enum { QKV_SEPARATE, QKV_FUSED, QKV_BY_HEAD } qkv_kind;
typedef enum { ROPE_EVERY, ROPE_WINDOWED, ROPE_LISTED, ROPE_NEVER } rope_layers; /* which layers turn: all, those with a window, no_rope_layers */
/* Scores of experts: softmax, then the best; the best, then softmax; sigmoid with a correction and groups (DeepSeek-V3). */
typedef enum { ROUTE_SOFTMAX, ROUTE_BEST_SOFTMAX, ROUTE_SIGMOID } route_kind;

typedef struct model_layer {
    bool conv;                        /* a short convolution instead of attention */
    bool window;                      /* attention sees sliding_window keys */
    bool experts;
    int8_t rope;                      /* which of the two tables; -1: positions do not enter */
} model_layer;

enum { MODEL_MAX_END = 16, MODEL_ROPES = 2 };
/* The keys of a Hugging Face config.json that matter, in its words, and what a family fixes. Zero: absent, none, or the usual. */
typedef struct model_config {
    int64_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, vocab_size,
        max_position_embeddings;
    double norm_eps, initializer_range;
    bool tie_word_embeddings;
    /* the block */
    block_kind block;
    bool layer_norm, norm_plain, norm_plus_one, norm_bias; /* else RMS; no weight; weights are stored minus one; with a bias */
    nn_act act;
    bool plain_mlp;                   /* down(act(up)) instead of down(act(gate) up) */
    bool fused_gate_up;               /* gate rows, then up rows */
    bool transposed;                  /* matrices are [K,N] (GPT-2's Conv1D) */
    bool mlp_bias, qkv_bias, o_bias, head_bias;
    double embedding_multiplier, residual_multiplier, logits_multiplier;
    bool embedding_sqrt;              /* embedding_multiplier is the square root of hidden_size */
    /* attention */
    qkv_kind qkv;
    qk_norm_kind qk_norm;
    bool qk_norm_bias, sinks;
    double clip_qkv, attention_scale, attn_softcap, final_softcap; /* scale 0: 1/sqrt(D) */
    bool scale_by_layer;              /* divided by the layer's number, from 1 */
    int64_t query_pre_attn_scalar;    /* scale = its -1/2nd power */
    rope_config rope[MODEL_ROPES];    /* 1: of layers with a window, where theta is given */
    rope_layers rope_layers;
    bool rope_interleaved;            /* pairs are neighbours */
    int64_t positions;                /* learned positions: rows of the table */
    /* layers */
    bool use_sliding_window;
    int64_t sliding_window;
    int64_t window_pattern;           /* every so many-th layer sees all; 0: every layer has the window */
    int64_t window_first, window_end; /* layers before it, and from it on (0: none), see all */
    bool layer_types;                 /* reads layer_types */
    int64_t no_rope_interval;         /* without no_rope_layers: every so many-th layer does not turn */
    model_layer *layer;               /* [num_hidden_layers] */
    /* latent attention (DeepSeek-V2, -V3); kv_rank 0: none */
    int64_t q_rank, kv_rank, nope_dim, rope_dim, value_dim; /* q_rank 0: one matrix */
    /* experts */
    int64_t experts, experts_used, expert_size, shared_size, groups, groups_used;
    route_kind route;
    bool norm_topk, router_bias, shared_gate;
    bool packed_experts;              /* [E,K,N] with biases, gate and up alternating, clamped (gpt_oss); see experts_by_rows */
    double routed_scaling, swiglu_limit, swiglu_alpha; /* limit: gpt_oss's clamped gate */
    int64_t sparse_step, dense_first; /* experts in every so many-th layer, not in the first ones, */
    bool mlp_only_layers;             /* and not in those listed */
    /* short convolutions (LFM2) */
    int64_t conv_taps;
    bool conv_bias;
    int64_t end[MODEL_MAX_END];
    int n_end;
} model_config;

typedef enum { KEY_INT, KEY_REAL, KEY_BOOL, KEY_ACT, KEY_REFUSE } key_kind;
typedef struct model_key {            /* config.json's key, where its value goes, its range; null means 0 */
    const char *name;
    size_t at;
    key_kind kind;
    double lo, hi;
    bool second;                      /* another name of a key: read, never written */
} model_key;
#define MODEL_INT(name, field, lo, hi) {name, offsetof(model_config, field), KEY_INT, lo, hi, false}
#define MODEL_SIZE(name, field) MODEL_INT(name, field, 1, 1 << 30)
#define MODEL_REAL(name, field, lo, hi) {name, offsetof(model_config, field), KEY_REAL, lo, hi, false}
#define MODEL_BOOL(name, field) {name, offsetof(model_config, field), KEY_BOOL, 0, 1, false}
#define MODEL_ACT(name) {name, offsetof(model_config, act), KEY_ACT, 0, 0, false}
#define MODEL_REFUSE(name) {name, 0, KEY_REFUSE, 0, 0, true} /* only false, 0, null or empty is known */
#define MODEL_ALSO_SIZE(name, field) {name, offsetof(model_config, field), KEY_INT, 1, 1 << 30, true}
#define MODEL_ALSO_BOOL(name, field) {name, offsetof(model_config, field), KEY_BOOL, 0, 1, true}

/* ---------------------------------------------------------------- parameters ---- */

/* What a tensor is for. names.c has each role's names. Those before ROLE_LAYERS are of the model, the others of a layer. */
typedef enum model_role {
    ROLE_EMBED, ROLE_POSITIONS, ROLE_NORM, ROLE_HEAD,
    ROLE_LAYERS, /* from here on: of a layer */
    ROLE_ATTN_NORM = ROLE_LAYERS, ROLE_ATTN_POST_NORM, ROLE_MLP_NORM, ROLE_MLP_POST_NORM,
    ROLE_Q, ROLE_K, ROLE_V, ROLE_QKV, ROLE_O, ROLE_Q_NORM, ROLE_K_NORM, ROLE_SINKS,
    ROLE_Q_A, ROLE_Q_A_NORM, ROLE_Q_B, ROLE_KV_A, ROLE_KV_A_NORM, ROLE_KV_B,
    ROLE_CONV_IN, ROLE_CONV, ROLE_CONV_OUT,
    ROLE_GATE, ROLE_UP, ROLE_GATE_UP, ROLE_DOWN,
    ROLE_ROUTER, ROLE_ROUTER_CORRECTION, ROLE_EXPERT_GATE, ROLE_EXPERT_UP, ROLE_EXPERT_GATE_UP, ROLE_EXPERT_DOWN,
    ROLE_SHARED_GATE, ROLE_SHARED_UP, ROLE_SHARED_DOWN, ROLE_SHARED_ROUTER,
    ROLES
} model_role;
/* Names: the first '#' is the layer, a second one the number of a part (an expert, a head): then one variable holds many tensors of the
 * checkpoint, one after the other along its first axis. The bias of X.weight is X.bias, of any other name X_bias. */
typedef struct model_role_names { const char *hf, *gguf; } model_role_names; /* hf: without the family's prefix, but for ROLE_HEAD */
extern const model_role_names model_roles[ROLES];

typedef enum { INIT_NORMAL, INIT_ONES, INIT_ZEROS } model_init;

typedef struct model_tensor {         /* beside each variable: which tensors of a checkpoint it is */
    model_role role;
    bool bias;
    int64_t layer;                    /* -1: of the model */
    int64_t parts;                    /* 0: one tensor; else so many, of the shape without the first axis */
} model_tensor;

typedef struct model_pair { ry_var *w, *b; } model_pair; /* b NULL: without */
typedef struct model_parts { model_pair at[ROLES]; } model_parts;

/* ---------------------------------------------------------------- a pass ---- */

/* What layer i keeps of the tokens before, of so many sequences with room for rows tokens each: keys and values by position,
 * [1,sequences*rows,G,D] and [1,sequences*rows,G,Dv] of dtype t; or at[0]: the last inputs of a convolution, [sequences,taps-1,C] in f32, which
 * every pass replaces: such a sequence can be continued, not cut back. rank 0: no such variable. All begin with zeros. */
typedef struct model_cache_spec { ry_spec at[2]; bool by_position; } model_cache_spec;
model_cache_spec model_cache_of(const ry_model *m, int64_t layer, int64_t sequences, int64_t rows, ry_dtype t);

/* Rotary frequencies as variables of their own, for programs that are kept while the length grows. */
typedef struct model_ropes { ry_var *freq[MODEL_ROPES]; double scale[MODEL_ROPES]; int64_t length; } model_ropes;

/* One forward pass: what the graph is built from. Null tensors where something is not used. */
typedef struct model_pass {
    ry_graph *g;
    ry_model *m;
    ry_tensor ids;                    /* [B,T] i32 */
    ry_tensor pos;                    /* [T] or [B,T] i32 */
    ry_tensor freq[MODEL_ROPES];      /* [rotary/2] f32 */
    double rope_scale[MODEL_ROPES];
    ry_tensor segment_q, segment_k;   /* as ry_attention's: padding, packing */
    ry_tensor real;                   /* [B,T] f32, 0 at padding before the sequence: convolutions must not see it */
    ry_var **cache;                   /* by layer, two each: model_cache_of; NULL: no cache */
    int64_t sequences, sequence;      /* that the cache holds; and the only one that this pass is of, or -1: of all */
    ry_tensor cache_at, length;       /* [B*T] i32: where the new rows go; [B] i32: keys in use afterwards */
    ry_tensor fresh;                  /* [B] i32: how many of the T rows count (the rest is padding behind them); null: all */
    bool recompute;                   /* keep only the block boundaries for the backward pass */
    ry_tensor *states;                /* NULL, or [num_hidden_layers + 1]: what enters each layer, and what leaves the last norm */
} model_pass;

typedef struct model_family {
    const char *model_type;           /* "llama": config.json dispatches on it */
    const char *architecture;         /* "LlamaForCausalLM" */
    model_config base;                /* the configuration where config.json says nothing; sizes that are 0 here must be given */
    const model_key *keys;            /* read beside the common ones; ends with a row without a name; NULL: none */
    const char *theta_key, *partial_key; /* other names of rope_theta and partial_rotary_factor */
    const char *prefix;               /* of all tensors but the head's; NULL: "model." */
    const char *const *prefixes;      /* other prefixes that checkpoints have; ends with NULL; may be NULL */
    const char *names[ROLES];         /* where they differ from names.c */
    const char *gguf_names[ROLES];
    const char *const *ignore;        /* tensors that checkpoints carry and nobody needs: "*" stands for anything, "#" for num_hidden_layers; ends with NULL */
    /* Models of more than text: the object of config.json that holds the keys ("text_config"), and the model_type that it is read as. */
    const char *wrapped, *inner;
    /* What no key says; after all keys were read. NULL: nothing. */
    ry_status (*finish)(model_config *c, const ry_json *json, const char *what);
} model_family;

typedef struct rope_table { int which; int64_t length; ry_var *freq; double scale; } rope_table;

struct ry_model {
    ry_device *dev;
    const model_family *family;
    model_config cfg;
    ry_model_options opt;
    ry_arena arena;
    model_parts top, *layers;         /* parameters by role; [num_hidden_layers] */
    RY_VEC(ry_var *) vars;            /* by declaration */
    RY_VEC(model_tensor) tensors;     /* beside vars */
    ry_json *json;                    /* config.json as it will be written */
    ry_sampling sampling;             /* generation_config.json's, */
    bool samples;                     /* where it says how */
    /* while it is opened: */
    model_source *source;             /* NULL: random weights; kept while weights are used in place */
    const char *prefix;               /* of the source's names */
    uint64_t seed;
    RY_VEC(rope_table) ropes;         /* one, or one per length where the scaling depends on it */
};

ry_status config_read(model_config *c, const model_family *f, ry_json *json, const char *what, ry_arena *a, int64_t vocab_size);
/* Is what it says of quantised weights known? Then it says so no more: whoever writes them writes them plain. */
ry_status config_quantization(ry_json *j, const char *what);
ry_status config_complete(ry_json *j, const model_config *c, const model_family *f); /* a config.json that transformers loads */
ry_status config_end_tokens(model_config *c, const ry_json *json, const char *what);
ry_status model_generation(ry_model *m, const ry_json *json, const char *what); /* generation_config.json, but for end tokens */

/* Frequencies (radians a position) for sequences of `length` positions; freq [rotary/2]; *scale multiplies cos and sin. */
int64_t rope_rotary(const model_config *c, int which);
void rope_frequencies(const model_config *c, int which, int64_t length, float *freq, double *scale);
bool rope_varies(const model_config *c, int which, int64_t length); /* does the table depend on the length, at this length? */
double rope_attention_scale(const model_config *c); /* factor on the softmax scale of latent attention (YaRN) */
/* Variables of the caller's; _set rewrites them for sequences up to length. *changed (may be NULL): keys in a cache turned otherwise, and
 * the family wants them computed again (longrope does, dynamic does not). */
ry_status model_ropes_open(model_ropes *r, ry_model *m);
ry_status model_ropes_set(model_ropes *r, ry_model *m, int64_t length, bool *changed);
void model_ropes_close(model_ropes *r);
void model_pass_ropes(model_pass *p, const model_ropes *r);

/* The tensors of a checkpoint that the variables are: weights_stored of them, by declaration. */
typedef struct weights_part {
    const char *name;
    size_t var;
    ry_spec spec;
    int64_t first; /* element of m->vars.at[var] */
    bool turned;   /* the variable's last two axes are swapped against spec: experts_by_rows */
} weights_part;
size_t weights_stored(const ry_model *m);
ry_status weights_list(ry_arena *names, const ry_model *m, weights_part *out);
ry_status weights_restore(ry_model *m, const char *path); /* all variables, from a file of these tensors in the variables' dtypes */
const char *weights_prefix(const ry_model *m); /* which of the family's prefixes the file has */
extern const model_key model_common_keys[]; /* of every family; ends with a row without a name */
const model_key *model_key_of(const model_family *f, size_t at); /* the key that fills a field: the family's own, else the common one; NULL */
const model_family *model_family_find(const char *model_type);
/* The name of a tensor: role and layer (-1: of the model) of the family; part: which of several; -1: "*" for all of them. */
void model_name(char *out, size_t size, const model_family *f, const char *prefix, const model_tensor *t, int64_t part);
bool model_has_parts(const model_family *f, model_role role); /* has its name a second number? */
/* Packed experts that are held in blocks are [E,N,K], for blocks lie along K; the checkpoint has [E,K,N]. */
bool experts_by_rows(const model_config *c, model_role role, bool bias, ry_dtype t);
/* One parameter: opened, filled from the file or at random. dim: of the variable, parts along the first axis where the name has a second '#'. */
ry_status model_param(ry_model *m, model_role role, bool bias, int64_t layer, model_init init, int rank, const int64_t *dim);
/* w [n,k], or [k,n] where the model's matrices are transposed, and its bias [n]. */
ry_status model_matrix(ry_model *m, model_role role, int64_t layer, int64_t n, int64_t k, bool bias);

/* New keys or values [B,T,G,D] into a cache; what attention reads: [B,S,G,D]. */
ry_tensor model_append(const model_pass *p, ry_var *cache, ry_tensor x);
/* decoder.c: all parameters; ids -> hidden [B,T,C], after the last norm; hidden -> logits [B,T,V] in f32. */
ry_status model_declare(ry_model *m);
ry_tensor model_hidden(const model_pass *p);
ry_tensor model_logits(ry_graph *g, ry_model *m, ry_tensor hidden);
ry_tensor model_loss(const model_pass *p, ry_tensor targets, ry_tensor scale, bool with_grad);
/* Fills pos, freq for a plain pass over ids [B,T]. */
ry_status model_pass_plain(model_pass *p, ry_graph *g, ry_model *m, ry_tensor ids);
#endif
