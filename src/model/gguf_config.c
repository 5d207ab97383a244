/* gguf_config.c - one table of names for both directions: which metadata of GGUF fills which field of model_config.  What the field is
 * called in config.json says the family's row (or config.c), so that adding a family adds nothing here but its row below.
 *
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and what llama.cpp's files hold. */
#include "model/gguf_config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 128 };

#define FIELD(name, field) {name, offsetof(model_config, field), false}
#define ALWAYS(name, field) {name, offsetof(model_config, field), true}
const gguf_field gguf_fields[] = {
    ALWAYS("block_count", num_hidden_layers),
    ALWAYS("context_length", max_position_embeddings),
    ALWAYS("embedding_length", hidden_size),
    ALWAYS("feed_forward_length", intermediate_size),
    ALWAYS("attention.head_count", num_attention_heads),
    ALWAYS("attention.head_count_kv", num_key_value_heads),
    ALWAYS("attention.key_length", head_dim),
    ALWAYS("vocab_size", vocab_size),
    ALWAYS("attention.layer_norm_rms_epsilon", norm_eps),
    ALWAYS("attention.layer_norm_epsilon", norm_eps),
    FIELD("attention.sliding_window", sliding_window),
    FIELD("attention.sliding_window_pattern", window_pattern),
    FIELD("attention.clamp_kqv", clip_qkv),
    FIELD("attention.scale", attention_scale),
    FIELD("attn_logit_softcapping", attn_softcap),
    FIELD("final_logit_softcapping", final_softcap),
    FIELD("embedding_scale", embedding_multiplier),
    FIELD("residual_scale", residual_multiplier),
    FIELD("logit_scale", logits_multiplier),
    FIELD("attention.q_lora_rank", q_rank),
    FIELD("attention.kv_lora_rank", kv_rank),
    FIELD("expert_count", experts),
    FIELD("expert_used_count", experts_used),
    ALWAYS("expert_feed_forward_length", expert_size),
    FIELD("expert_shared_feed_forward_length", shared_size),
    FIELD("expert_group_count", groups),
    FIELD("expert_group_used_count", groups_used),
    FIELD("expert_weights_scale", routed_scaling),
    FIELD("expert_weights_norm", norm_topk),
    FIELD("leading_dense_block_count", dense_first),
    FIELD("shortconv.l_cache", conv_taps),
    {0}};

#define OWN static const gguf_own
OWN own_granite[] = {{OWN_NUMBER, "logit_scale", "logits_scaling"}, {0}};
OWN own_neox[] = {{OWN_BOOL, "use_parallel_residual", "use_parallel_residual"}, {0}};
OWN own_stablelm[] = {{OWN_WITHOUT, "blk.0.ffn_norm.weight", "use_parallel_residual"}, {OWN_WITH, "blk.0.attn_q_norm.weight", "qk_layernorm"}, {0}};
OWN own_cohere[] = {{OWN_WITH, "blk.0.attn_q_norm.weight", "use_qk_norm"}, {0}};
OWN own_phi[] = {{OWN_WITH, "blk.0.attn_q_norm.weight", "qk_layernorm"}, {0}};
OWN own_deepseek[] = {{OWN_NUMBER, "expert_shared_count", "n_shared_experts"}, {0}};

static const gguf_arch archs[] = {
    {.name = "llama", .model_type = "mixtral", .only_with = "expert_count", .pairs = true},
    {.name = "llama", .model_type = "mistral", .only_with = "attention.sliding_window", .pairs = true},
    {.name = "llama", .model_type = "llama", .pairs = true},
    {.name = "qwen2", .model_type = "qwen2"},
    {.name = "qwen2moe", .model_type = "qwen2_moe", .fixed = "{\"norm_topk_prob\": false}"},
    {.name = "qwen3", .model_type = "qwen3"},
    {.name = "qwen3moe", .model_type = "qwen3_moe", .fixed = "{\"norm_topk_prob\": true}"},
    {.name = "gemma", .model_type = "gemma"},
    {.name = "gemma2", .model_type = "gemma2", .windows = true},
    {.name = "gemma3", .model_type = "gemma3_text", .windows = true},
    {.name = "phi2", .model_type = "phi", .own = own_phi},
    {.name = "phi3", .model_type = "phi3", .windows = true},
    {.name = "gpt2", .model_type = "gpt2"},
    {.name = "gptneox", .model_type = "gpt_neox", .own = own_neox},
    {.name = "gpt-oss", .model_type = "gpt_oss", .windows = true},
    {.name = "starcoder2", .model_type = "starcoder2"},
    {.name = "stablelm", .model_type = "stablelm", .own = own_stablelm},
    {.name = "smollm3", .model_type = "smollm3", .pairs = true},
    {.name = "olmo", .model_type = "olmo", .pairs = true},
    {.name = "olmo2", .model_type = "olmo2"},
    {.name = "granite", .model_type = "granite", .own = own_granite, .pairs = true},
    {.name = "command-r", .model_type = "cohere", .own = own_cohere},
    {.name = "cohere2", .model_type = "cohere2", .windows = true},
    {.name = "glm4", .model_type = "glm4"},
    {.name = "nemotron", .model_type = "nemotron"},
    {.name = "deepseek2", .model_type = "deepseek_v3", .own = own_deepseek, .fixed = "{\"norm_topk_prob\": false, \"n_group\": 1, \"topk_group\": 1}"},
    {.name = "lfm2", .model_type = "lfm2", .fixed = "{\"block_auto_adjust_ff_dim\": false}"},
};
enum { ARCHS = sizeof archs / sizeof *archs };

/* "llama.rope.freq_base" */
static const char *full(char buf[KEY_MAX], const gguf_arch *a, const char *name) {
    snprintf(buf, KEY_MAX, "%s.%s", a->name, name);
    return buf;
}

ry_status gguf_arch_of(const gguf_arch **out, const gguf_file *f) {
    gguf_text name = {0}, type = {0};
    char buf[KEY_MAX];
    RY_TRY(gguf_string(&type, f, "general.type", false));
    if (type.n && (type.n != 5 || memcmp(type.at, "model", 5)))
        RY_FAIL(RY_EUNSUPPORTED, "%s: general.type is '%.*s': this file is no model of its own", gguf_name(f), (int)type.n, type.at);
    RY_TRY(gguf_string(&name, f, "general.architecture", true));
    for (size_t i = 0; i < ARCHS; i++) {
        const gguf_arch *a = &archs[i];
        if (strlen(a->name) != name.n || memcmp(a->name, name.at, name.n)) continue;
        int64_t with = 0;
        if (a->only_with) RY_TRY(gguf_int(&with, f, full(buf, a, a->only_with), 0, INT32_MAX, false));
        if (a->only_with && !with) continue;
        *out = a;
        return RY_OK;
    }
    ry_text list = {0};
    for (size_t i = 0; i < ARCHS; i++)
        if (!i || strcmp(archs[i - 1].name, archs[i].name)) ry_text_printf(&list, "%s%s", i ? ", " : "", archs[i].name);
    ry_fail(RY_EUNSUPPORTED, "%s: general.architecture '%.*s' is not known (%s)", gguf_name(f), (int)name.n, name.at, list.at ? list.at : "");
    ry_text_free(&list);
    return RY_EUNSUPPORTED;
}

const gguf_arch *gguf_arch_for(const model_family *f) {
    for (size_t i = 0; i < ARCHS; i++)
        if (!strcmp(archs[i].model_type, f->model_type)) return &archs[i];
    return NULL;
}

/* ---- reading ---- */

typedef struct reader {
    const gguf_file *f;
    const gguf_arch *a;
    const model_family *family;
    ry_json *j;
} reader;

/* GGUF holds floats; what was written was a short decimal number, 1e-06: the shortest that gives the same float. */
static double short_real(double v) {
    char word[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(word, sizeof word, "%.*g", digits, v);
        double back = strtod(word, NULL);
        if ((float)back == (float)v) return back;
    }
    return v;
}

static ry_status get_real(double *out, const reader *r, const char *name) {
    char key[KEY_MAX];
    double v = NAN;
    RY_TRY(gguf_real(&v, r->f, full(key, r->a, name), false));
    if (!isnan(v)) *out = short_real(v);
    return RY_OK;
}
static ry_status get_int(int64_t *out, const reader *r, const char *name) {
    char key[KEY_MAX];
    return gguf_int(out, r->f, full(key, r->a, name), 0, INT32_MAX, false);
}

/* One number where the file may have one for each layer: the largest; 0 stands for layers that have no such thing. */
static ry_status by_layer(int64_t *out, const reader *r, const gguf_value *v, const char *name) {
    int64_t most = 0;
    for (size_t i = 0; i < v->n; i++)
        if (gguf_item_int(v, i) > most) most = gguf_item_int(v, i);
    for (size_t i = 0; i < v->n; i++)
        if (gguf_item_int(v, i) != most && gguf_item_int(v, i) != 0)
            RY_FAIL(RY_EUNSUPPORTED, "%s: %s.%s differs from layer to layer", gguf_name(r->f), r->a->name, name);
    *out = most;
    return RY_OK;
}

/* As Hugging Face has it: a list of what each layer is. */
static ry_status layer_types(const reader *r, const gguf_value *v, const char *nonzero, const char *zero) {
    ry_json *list = ry_json_new_array();
    for (size_t i = 0; list && i < v->n; i++) {
        ry_status st = ry_json_push(list, ry_json_new_text(gguf_item_int(v, i) ? nonzero : zero));
        if (st == RY_OK) continue;
        ry_json_free(list);
        return st;
    }
    return list ? ry_json_put(r->j, "layer_types", list) : RY_ENOMEM;
}

static ry_status read_field(const reader *r, const gguf_field *d) {
    char name[KEY_MAX];
    const model_key *k = model_key_of(r->family, d->at);
    const gguf_value *v = gguf_find(r->f, full(name, r->a, d->name));
    bool rms = d->at == offsetof(model_config, norm_eps) && strstr(d->name, "rms");
    if (!v || !k || (d->at == offsetof(model_config, norm_eps) && rms == r->family->base.layer_norm)) return RY_OK;
    int64_t i = 0;
    double x = 0;
    bool b = false;
    if (v->type == GGUF_ARRAY && (v->item == GGUF_BOOL || d->at == offsetof(model_config, window_pattern))) return layer_types(r, v, "sliding_attention", "full_attention");
    switch (k->kind) {
    case KEY_INT:
        if (v->type == GGUF_ARRAY) RY_TRY(by_layer(&i, r, v, d->name));
        else RY_TRY(gguf_int(&i, r->f, name, 0, INT32_MAX, true));
        if (v->type == GGUF_ARRAY && r->family->base.conv_taps && d->at == offsetof(model_config, num_key_value_heads)) RY_TRY(layer_types(r, v, "full_attention", "conv"));
        return ry_json_put(r->j, k->name, (double)i < k->lo ? ry_json_new_null() : ry_json_new_int(i));
    case KEY_REAL:
        RY_TRY(gguf_real(&x, r->f, name, true));
        return ry_json_put(r->j, k->name, x == 0 && k->lo > 0 ? ry_json_new_null() : ry_json_new_real(short_real(x)));
    case KEY_BOOL:
        RY_TRY(gguf_bool(&b, r->f, name, true));
        return ry_json_put(r->j, k->name, ry_json_new_bool(b));
    default: return RY_OK;
    }
}

static ry_status read_own(const reader *r, const gguf_own *o) {
    double x = NAN;
    bool b = false;
    char key[KEY_MAX];
    bool there = gguf_tensor_find(r->f, o->name) != NULL;
    switch (o->kind) {
    case OWN_NUMBER:
        RY_TRY(get_real(&x, r, o->name));
        return isnan(x) ? RY_OK : ry_json_put(r->j, o->key, x == floor(x) && fabs(x) < 1e9 ? ry_json_new_int((int64_t)x) : ry_json_new_real(x));
    case OWN_BOOL:
        RY_TRY(gguf_bool(&b, r->f, full(key, r->a, o->name), true));
        return ry_json_put(r->j, o->key, ry_json_new_bool(b));
    default: return ry_json_put(r->j, o->key, ry_json_new_bool(there == (o->kind == OWN_WITH)));
    }
}

/* Biases are there where their tensors are. */
static ry_status read_biases(const reader *r) {
    static const struct { size_t at; const char *tensor[2]; } biases[] = {
        {offsetof(model_config, qkv_bias), {"blk.0.attn_q.bias", "blk.0.attn_qkv.bias"}},
        {offsetof(model_config, o_bias), {"blk.0.attn_output.bias", NULL}},
        {offsetof(model_config, mlp_bias), {"blk.0.ffn_down.bias", "blk.0.ffn_up.bias"}},
    };
    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++) {
        const model_key *k = model_key_of(r->family, biases[i].at);
        bool there = false, known = false;
        for (int t = 0; t < 2; t++) there |= biases[i].tensor[t] && gguf_tensor_find(r->f, biases[i].tensor[t]);
        if (!k || (ry_json_as_bool(ry_json_find(r->j, k->name), &known) && known)) continue;
        RY_TRY(ry_json_put(r->j, k->name, ry_json_new_bool(there)));
    }
    return RY_OK;
}

/* ---- rotary embeddings ---- */

static ry_status put_factors(ry_json *rope, const char *key, const float *v, int64_t n) {
    ry_json *list = ry_json_new_array();
    for (int64_t i = 0; list && i < n; i++) {
        ry_status st = ry_json_push(list, ry_json_new_real(short_real((double)v[i])));
        if (st == RY_OK) continue;
        ry_json_free(list);
        return st;
    }
    return list ? ry_json_put(rope, key, list) : RY_ENOMEM;
}

/* A tensor of divisors of the frequencies. */
static ry_status divisors(const float **out, int64_t *n, const reader *r, const char *name) {
    const gguf_tensor *t = gguf_tensor_find(r->f, name);
    *out = NULL;
    if (!t) return RY_OK;
    if (t->type != RY_F32 || t->spec.rank != 1 || (uintptr_t)t->data % sizeof(float))
        RY_FAIL(RY_EFORMAT, "%s: tensor %s must be a list of f32", gguf_name(r->f), name);
    *out = t->data, *n = t->spec.dim[0];
    for (int64_t i = 0; i < *n; i++)
        if (!((*out)[i] > 0)) RY_FAIL(RY_EFORMAT, "%s: tensor %s: entry %lld must be above 0", gguf_name(r->f), name, (long long)i);
    return RY_OK;
}

/* Llama 3's scaling is stored as its result. Its parameters are known if they give this result. */
static bool is_llama3(const float *v, int64_t n, double theta, double factor, double original) {
    const double low = 1, high = 4;
    for (int64_t i = 0; i < n; i++) {
        double turns = original * pow(theta, -(double)i / (double)n) / 6.283185307179586; /* in the original context */
        double smooth = (turns - low) / (high - low);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        double want = 1 / ((1 - smooth) / factor + smooth);
        if (fabs((double)v[i] / want - 1) > 1e-5) return false;
    }
    return true;
}

static ry_status read_divisors(const reader *r, ry_json *rope, const float *v, int64_t n, double theta) {
    double factor = 1;
    for (int64_t i = 0; i < n; i++)
        if ((double)v[i] > factor) factor = short_real((double)v[i]);
    for (double original = 1024; original <= 131072; original *= 2) {
        if (!is_llama3(v, n, theta, factor, original)) continue;
        RY_TRY(ry_json_put(rope, "rope_type", ry_json_new_text("llama3")));
        RY_TRY(ry_json_put(rope, "factor", ry_json_new_real(factor)));
        RY_TRY(ry_json_put(rope, "low_freq_factor", ry_json_new_real(1)));
        RY_TRY(ry_json_put(rope, "high_freq_factor", ry_json_new_real(4)));
        return ry_json_put(rope, "original_max_position_embeddings", ry_json_new_int((int64_t)original));
    }
    (void)r; /* any divisors at all: LongRoPE with one set of factors */
    RY_TRY(ry_json_put(rope, "rope_type", ry_json_new_text("longrope")));
    RY_TRY(ry_json_put(rope, "attention_factor", ry_json_new_real(1)));
    RY_TRY(put_factors(rope, "short_factor", v, n));
    return put_factors(rope, "long_factor", v, n);
}

static ry_status put_if(ry_json *j, const char *key, double v) { return isnan(v) ? RY_OK : ry_json_put(j, key, ry_json_new_real(v)); }

static ry_status read_scaling(const reader *r, ry_json *rope, double theta) {
    gguf_text type = {0};
    char key[KEY_MAX];
    double factor = NAN, attn = NAN, fast = NAN, slow = NAN, log_mul = NAN, ext = NAN;
    int64_t original = 0, n = 0, n_short = 0;
    const float *longer, *shorter, *divide;
    RY_TRY(gguf_string(&type, r->f, full(key, r->a, "rope.scaling.type"), false));
    RY_TRY(get_real(&factor, r, "rope.scale_linear")); /* before there were types */
    RY_TRY(get_real(&factor, r, "rope.scaling.factor"));
    RY_TRY(get_int(&original, r, "rope.scaling.original_context_length"));
    RY_TRY(divisors(&longer, &n, r, "rope_factors_long.weight"));
    RY_TRY(divisors(&shorter, &n_short, r, "rope_factors_short.weight"));
    bool yarn = type.n == 4 && !memcmp(type.at, "yarn", 4), linear = !yarn && factor > 1 && (type.n == 0 || (type.n == 6 && !memcmp(type.at, "linear", 6)));
    if (longer && shorter) {
        RY_TRY(get_real(&attn, r, "rope.scaling.attn_factor"));
        RY_TRY(ry_json_put(rope, "rope_type", ry_json_new_text("longrope")));
        RY_TRY(ry_json_put(rope, "attention_factor", ry_json_new_real(isnan(attn) ? 1 : attn)));
        if (original) RY_TRY(ry_json_put(rope, "original_max_position_embeddings", ry_json_new_int(original)));
        RY_TRY(put_factors(rope, "short_factor", shorter, n_short));
        return put_factors(rope, "long_factor", longer, n);
    }
    RY_TRY(divisors(&divide, &n, r, "rope_freqs.weight"));
    if (divide) return read_divisors(r, rope, divide, n, theta);
    if (linear) {
        RY_TRY(ry_json_put(rope, "rope_type", ry_json_new_text("linear")));
        return ry_json_put(rope, "factor", ry_json_new_real(factor));
    }
    if (!yarn) return ry_json_put(rope, "rope_type", ry_json_new_text("default"));
    RY_TRY(get_real(&ext, r, "rope.scaling.yarn_ext_factor"));
    RY_TRY(get_real(&attn, r, "rope.scaling.attn_factor"));
    if (!isnan(attn) && factor > 1) attn *= 0.1 * log(factor) + 1;
    RY_TRY(get_real(&attn, r, "rope.scaling.yarn_attn_factor"));
    RY_TRY(get_real(&fast, r, "rope.scaling.yarn_beta_fast"));
    RY_TRY(get_real(&slow, r, "rope.scaling.yarn_beta_slow"));
    RY_TRY(get_real(&log_mul, r, "rope.scaling.yarn_log_multiplier"));
    if (!isnan(ext) && ext != 1) RY_FAIL(RY_EUNSUPPORTED, "%s: rope.scaling.yarn_ext_factor must be 1, it is %g", gguf_name(r->f), ext);
    RY_TRY(ry_json_put(rope, "rope_type", ry_json_new_text("yarn")));
    RY_TRY(put_if(rope, "factor", factor));
    if (original) RY_TRY(ry_json_put(rope, "original_max_position_embeddings", ry_json_new_int(original)));
    RY_TRY(put_if(rope, "attention_factor", attn));
    RY_TRY(put_if(rope, "beta_fast", fast));
    RY_TRY(put_if(rope, "beta_slow", slow));
    if (!r->family->base.rope[0].truncate && r->family->base.rope[0].kind == ROPE_YARN) RY_TRY(ry_json_put(rope, "truncate", ry_json_new_bool(false)));
    if (isnan(log_mul)) return RY_OK;
    bool latent = r->family->base.kv_rank > 0; /* there it is a tenth of what it says, and stands for both */
    RY_TRY(put_if(rope, "mscale", latent ? short_real(10 * log_mul) : 1));
    return put_if(rope, "mscale_all_dim", latent ? short_real(10 * log_mul) : log_mul);
}

/* The part of a head that turns, so that (int)(head * part) gives turning again. */
static double part_of(int64_t turning, int64_t head) {
    double part = (double)turning / (double)head;
    while ((int64_t)((double)head * part) < turning) part = nextafter(part, 2);
    return part;
}

static ry_status read_rope(const reader *r) {
    const model_config *base = &r->family->base;
    int64_t turning = 0, head = 0, hidden = 0, heads = 0;
    double theta = 10000, local = 10000;
    if (base->rope_layers == ROPE_NEVER) return RY_OK;
    RY_TRY(get_real(&theta, r, "rope.freq_base"));
    RY_TRY(get_real(&local, r, "rope.freq_base_swa"));
    RY_TRY(get_int(&turning, r, "rope.dimension_count"));
    RY_TRY(get_int(&head, r, "attention.key_length"));
    RY_TRY(get_int(&hidden, r, "embedding_length"));
    RY_TRY(get_int(&heads, r, "attention.head_count"));
    RY_TRY(ry_json_put(r->j, r->family->theta_key ? r->family->theta_key : "rope_theta", ry_json_new_real(theta)));
    if (base->rope[1].theta > 0) RY_TRY(ry_json_put(r->j, "rope_local_base_freq", ry_json_new_real(local)));
    if (!head && heads) head = hidden / heads;
    bool usual = base->rope[0].partial == 0 || base->rope[0].partial == 1;
    if (!turning) turning = head;
    if (!base->kv_rank && head && (turning != head || !usual)) {
        if (turning > head) RY_FAIL(RY_EFORMAT, "%s: %s.rope.dimension_count (%lld) exceeds the size of a head (%lld)", gguf_name(r->f), r->a->name, (long long)turning, (long long)head);
        RY_TRY(ry_json_put(r->j, r->family->partial_key ? r->family->partial_key : "partial_rotary_factor", ry_json_new_real(part_of(turning, head))));
    }
    ry_json *rope = ry_json_new_object();
    ry_status st = rope ? read_scaling(r, rope, theta) : RY_ENOMEM;
    if (st == RY_OK) return ry_json_put(r->j, "rope_scaling", rope);
    ry_json_free(rope);
    return st;
}

/* ---- end tokens ---- */

static ry_status read_ends(const reader *r) {
    static const char *const ids[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    /* chat models whose files name only the token that ends a document */
    static const char *const words[] = {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|eom_id|>", "<|return|>", "<|call|>", "<|user|>"};
    const gguf_value *types = gguf_find(r->f, "tokenizer.ggml.token_type"), *tokens = gguf_find(r->f, "tokenizer.ggml.tokens");
    gguf_text template = {0};
    int64_t found[MODEL_MAX_END], n = 0, id;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        id = -1;
        RY_TRY(gguf_int(&id, r->f, ids[i], 0, INT32_MAX, false));
        if (id >= 0) found[n++] = id;
    }
    RY_TRY(gguf_string(&template, r->f, "tokenizer.chat_template", false));
    for (size_t i = 0; types && tokens && tokens->texts && template.n && types->n == tokens->n && i < tokens->n; i++) {
        const gguf_text *t = &tokens->texts[i];
        if (t->n < 5 || t->at[0] != '<' || gguf_item_int(types, i) != 3 /* control */) continue;
        for (size_t w = 0; w < sizeof words / sizeof *words && n < MODEL_MAX_END; w++)
            if (strlen(words[w]) == t->n && !memcmp(words[w], t->at, t->n)) found[n++] = (int64_t)i;
    }
    if (!n) return RY_OK;
    ry_json *list = ry_json_new_array();
    ry_status st = list ? RY_OK : RY_ENOMEM;
    for (int64_t i = 0; i < n && st == RY_OK; i++) {
        bool seen = false;
        for (int64_t k = 0; k < i; k++) seen |= found[k] == found[i];
        if (!seen) st = ry_json_push(list, ry_json_new_int(found[i]));
    }
    id = -1;
    if (st == RY_OK) st = gguf_int(&id, r->f, "tokenizer.ggml.bos_token_id", 0, INT32_MAX, false);
    if (st == RY_OK && id >= 0) st = ry_json_put(r->j, "bos_token_id", ry_json_new_int(id));
    if (st != RY_OK) {
        ry_json_free(list);
        return st;
    }
    if (ry_json_count(list) > 1) return ry_json_put(r->j, "eos_token_id", list);
    st = ry_json_put(r->j, "eos_token_id", ry_json_new_int(found[0]));
    ry_json_free(list);
    return st;
}

/* ---- what is peculiar ---- */

static ry_status read_latent(const reader *r) {
    int64_t rope = 0, key = 0, value = 0, gating = 0;
    RY_TRY(get_int(&rope, r, "rope.dimension_count"));
    RY_TRY(get_int(&key, r, "attention.key_length"));
    RY_TRY(get_int(&value, r, "attention.value_length"));
    RY_TRY(get_int(&key, r, "attention.key_length_mla")); /* since keys are stored decompressed, the plain ones are of the short vector */
    RY_TRY(get_int(&value, r, "attention.value_length_mla"));
    RY_TRY(get_int(&gating, r, "expert_gating_func"));
    if (gating != 2) RY_FAIL(RY_EUNSUPPORTED, "%s: deepseek2 whose experts are chosen by softmax (DeepSeek-V2) is not supported", gguf_name(r->f));
    if (!rope || key < rope) RY_FAIL(RY_EFORMAT, "%s: deepseek2.rope.dimension_count (%lld) and attention.key_length (%lld) do not fit", gguf_name(r->f), (long long)rope, (long long)key);
    if (!gguf_find(r->f, "deepseek2.attention.q_lora_rank")) RY_TRY(ry_json_put(r->j, "q_lora_rank", ry_json_new_null()));
    RY_TRY(ry_json_put(r->j, "head_dim", ry_json_new_int(rope))); /* what turns, to transformers; not the length of a key */
    RY_TRY(ry_json_put(r->j, "qk_rope_head_dim", ry_json_new_int(rope)));
    RY_TRY(ry_json_put(r->j, "qk_nope_head_dim", ry_json_new_int(key - rope)));
    return ry_json_put(r->j, "v_head_dim", ry_json_new_int(value));
}

/* Layers that predict further tokens are counted but not used. */
static ry_status skip_next(const reader *r) {
    int64_t next = 0, layers = 0;
    RY_TRY(get_int(&next, r, "nextn_predict_layers"));
    RY_TRY(get_int(&layers, r, "block_count"));
    const model_key *k = model_key_of(r->family, offsetof(model_config, num_hidden_layers));
    return next && layers > next ? ry_json_put(r->j, k->name, ry_json_new_int(layers - next)) : RY_OK;
}

static ry_status read_peculiar(const reader *r) {
    int64_t key = 0, value = 0, layers = 0, hidden = 0, heads = 1;
    bool causal = true;
    char name[KEY_MAX];
    RY_TRY(gguf_bool(&causal, r->f, full(name, r->a, "attention.causal"), false));
    if (!causal) RY_FAIL(RY_EUNSUPPORTED, "%s: %s: only causal models are supported", gguf_name(r->f), name);
    RY_TRY(skip_next(r));
    if (r->family->base.kv_rank) return read_latent(r);
    RY_TRY(get_int(&key, r, "attention.key_length"));
    RY_TRY(get_int(&value, r, "attention.value_length"));
    if (key && value && key != value)
        RY_FAIL(RY_EUNSUPPORTED, "%s: %s: keys of size %lld and values of size %lld are not supported", gguf_name(r->f), r->a->name, (long long)key, (long long)value);
    if (!r->family->base.query_pre_attn_scalar) return RY_OK;
    /* Gemma 2 and 3: the scale is by the size of a head, but in their largest models, which are known by their layers */
    RY_TRY(get_int(&layers, r, "block_count"));
    RY_TRY(get_int(&hidden, r, "embedding_length"));
    RY_TRY(get_int(&heads, r, "attention.head_count"));
    bool largest = layers == (r->family->base.attn_softcap > 0 ? 46 : 62);
    return ry_json_put(r->j, "query_pre_attn_scalar", ry_json_new_int(largest && heads ? hidden / heads : key));
}

static ry_status read_all(const reader *r, const ry_json *fixed) {
    const gguf_tensor *embd = gguf_tensor_find(r->f, "token_embd.weight");
    if (!embd || embd->spec.rank != 2) RY_FAIL(RY_EFORMAT, "%s: tensor token_embd.weight is missing: this file holds no model", gguf_name(r->f));
    RY_TRY(ry_json_put(r->j, "model_type", ry_json_new_text(r->a->model_type)));
    for (ry_json_it it = ry_json_first(fixed); it.value; it = ry_json_next(fixed, it)) {
        bool b;
        int64_t i;
        RY_TRY(ry_json_put(r->j, it.key, ry_json_as_bool(it.value, &b) ? ry_json_new_bool(b) : ry_json_as_int(it.value, &i) ? ry_json_new_int(i) : ry_json_new_null()));
    }
    for (const gguf_field *d = gguf_fields; d->name; d++) RY_TRY(read_field(r, d));
    for (const gguf_own *o = r->a->own; o && o->name; o++) RY_TRY(read_own(r, o));
    RY_TRY(read_biases(r));
    RY_TRY(read_rope(r));
    RY_TRY(read_peculiar(r));
    RY_TRY(ry_json_put(r->j, model_key_of(r->family, offsetof(model_config, vocab_size))->name, ry_json_new_int(embd->spec.dim[0])));
    RY_TRY(ry_json_put(r->j, "tie_word_embeddings", ry_json_new_bool(!gguf_tensor_find(r->f, "output.weight"))));
    return read_ends(r);
}

ry_status gguf_config_read(ry_json **out, const gguf_file *f) {
    reader r = {.f = f};
    ry_json *fixed = NULL;
    RY_TRY(gguf_arch_of(&r.a, f));
    r.family = model_family_find(r.a->model_type);
    if (!r.family) RY_FAIL(RY_EUNSUPPORTED, "%s: %s models are not built in", gguf_name(f), r.a->model_type);
    ry_status st = (r.j = ry_json_new_object()) ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && r.a->fixed) st = ry_json_parse(&fixed, r.a->fixed, strlen(r.a->fixed), r.a->name, 0);
    if (st == RY_OK) st = read_all(&r, fixed);
    ry_json_free(fixed);
    if (st == RY_OK) *out = r.j;
    else ry_json_free(r.j);
    return st;
}
