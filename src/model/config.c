/* config.c - config.json of Hugging Face's transformers (versions 4 and 5) to model_config and back.  Knows keys, no graph. */
#include "model/model.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct { const char *name; nn_act act; } acts[] = {
    {"silu", NN_SILU}, {"swish", NN_SILU}, {"gelu", NN_GELU}, {"gelu_pytorch_tanh", NN_GELU_TANH}, {"gelu_new", NN_GELU_TANH}, {"gelu_fast", NN_GELU_TANH}, {"relu", NN_RELU}};
static const struct { const char *name; rope_kind kind; } ropes[] = {
    {"default", ROPE_DEFAULT}, {"linear", ROPE_LINEAR}, {"dynamic", ROPE_DYNAMIC}, {"llama3", ROPE_LLAMA3}, {"yarn", ROPE_YARN}, {"longrope", ROPE_LONGROPE}, {"su", ROPE_LONGROPE}};

enum { BIG = 1 << 30 };

static ry_status factors(double **out, const ry_json *rope, const char *what, const char *key, int64_t n, ry_arena *a) {
    const ry_json *list;
    RY_TRY(ry_json_array(&list, rope, what, key, true));
    if ((int64_t)ry_json_count(list) != n) RY_FAIL(RY_EFORMAT, "%s: %s needs %lld entries, it has %zu", what, key, (long long)n, ry_json_count(list));
    *out = RY_NEW(a, double, n);
    if (!*out) return RY_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        if (!ry_json_as_real(ry_json_at(list, (size_t)i), &(*out)[i]) || !((*out)[i] > 0))
            RY_FAIL(RY_EFORMAT, "%s: %s[%lld] must be a number above 0", what, key, (long long)i);
    return RY_OK;
}

/* Version 5 puts all in rope_parameters; version 4 has rope_theta beside rope_scaling {rope_type or type, ...}. */
static ry_status read_rope(model_config *c, const ry_json *j, const char *what, ry_arena *a) {
    rope_config *r = &c->rope;
    const ry_json *p = NULL;
    const char *name = NULL;
    *r = (rope_config){.theta = 10000, .factor = 1, .beta_fast = 32, .beta_slow = 1, .partial = 1, .truncate = true};
    RY_TRY(ry_json_real(&r->theta, j, what, "rope_theta", 1e-6, 1e18, false));
    RY_TRY(ry_json_real(&r->partial, j, what, "partial_rotary_factor", 1e-6, 1, false));
    RY_TRY(ry_json_object(&p, j, what, "rope_parameters", false));
    if (!p) RY_TRY(ry_json_object(&p, j, what, "rope_scaling", false));
    if (!p) return RY_OK;
    RY_TRY(ry_json_real(&r->theta, p, what, "rope_theta", 1e-6, 1e18, false));
    RY_TRY(ry_json_real(&r->partial, p, what, "partial_rotary_factor", 1e-6, 1, false));
    RY_TRY(ry_json_text(&name, p, what, "type", false));
    RY_TRY(ry_json_text(&name, p, what, "rope_type", false));
    if (!name) return RY_OK;
    size_t k = 0;
    while (k < sizeof ropes / sizeof *ropes && strcmp(ropes[k].name, name)) k++;
    if (k == sizeof ropes / sizeof *ropes) RY_FAIL(RY_EUNSUPPORTED, "%s: rope_type '%s' is not known (default, linear, dynamic, llama3, yarn, longrope)", what, name);
    r->kind = ropes[k].kind;
    bool scaled = r->kind == ROPE_LINEAR || r->kind == ROPE_DYNAMIC || r->kind == ROPE_LLAMA3;
    r->factor = 0;
    RY_TRY(ry_json_real(&r->factor, p, what, "factor", 1, 1e6, scaled));
    RY_TRY(ry_json_int(&r->original, j, what, "original_max_position_embeddings", 1, BIG, false)); /* Phi-3 keeps it outside */
    RY_TRY(ry_json_int(&r->original, p, what, "original_max_position_embeddings", 1, BIG, r->kind == ROPE_LLAMA3));
    RY_TRY(ry_json_real(&r->low_freq_factor, p, what, "low_freq_factor", 1e-6, 1e6, r->kind == ROPE_LLAMA3));
    RY_TRY(ry_json_real(&r->high_freq_factor, p, what, "high_freq_factor", 1e-6, 1e6, r->kind == ROPE_LLAMA3));
    RY_TRY(ry_json_real(&r->attention_factor, p, what, "attention_factor", 0, 1e6, false));
    RY_TRY(ry_json_real(&r->mscale, p, what, "mscale", 0, 1e6, false));
    RY_TRY(ry_json_real(&r->mscale_all_dim, p, what, "mscale_all_dim", 0, 1e6, false));
    RY_TRY(ry_json_real(&r->beta_fast, p, what, "beta_fast", 1e-6, 1e6, false));
    RY_TRY(ry_json_real(&r->beta_slow, p, what, "beta_slow", 1e-6, 1e6, false));
    RY_TRY(ry_json_bool(&r->truncate, p, what, "truncate", false));
    if (r->kind == ROPE_LLAMA3 && r->high_freq_factor <= r->low_freq_factor)
        RY_FAIL(RY_EFORMAT, "%s: high_freq_factor must exceed low_freq_factor", what);
    if (r->kind == ROPE_LONGROPE) {
        RY_TRY(factors(&r->short_factor, p, what, "short_factor", rope_rotary(c) / 2, a));
        RY_TRY(factors(&r->long_factor, p, what, "long_factor", rope_rotary(c) / 2, a));
    }
    return RY_OK;
}

static ry_status one_end(model_config *c, const ry_json *j, const char *what) {
    int64_t id;
    if (!ry_json_as_int(j, &id) || id < 0 || id > INT32_MAX) RY_FAIL(RY_EFORMAT, "%s: eos_token_id must be an id or a list of ids", what);
    for (int i = 0; i < c->n_end; i++)
        if (c->end[i] == id) return RY_OK;
    if (c->n_end < MODEL_MAX_END) c->end[c->n_end++] = id;
    return RY_OK;
}

ry_status config_end_tokens(model_config *c, const ry_json *j, const char *what) {
    const ry_json *e = ry_json_path(j, "eos_token_id");
    if (!e) return RY_OK;
    if (ry_json_kind_of(e) != RY_JSON_ARRAY) return one_end(c, e, what);
    for (size_t i = 0; i < ry_json_count(e); i++) RY_TRY(one_end(c, ry_json_at(e, i), what));
    return RY_OK;
}

ry_status config_read(model_config *c, ry_json *j, const char *what, ry_arena *a, int64_t vocab_size) {
    const char *act = "silu";
    *c = (model_config){.rms_norm_eps = 1e-6, .initializer_range = 0.02, .max_position_embeddings = 2048, .vocab_size = vocab_size};
    RY_TRY(ry_json_need_object(j, what));
    RY_TRY(ry_json_int(&c->hidden_size, j, what, "hidden_size", 1, BIG, true));
    RY_TRY(ry_json_int(&c->num_hidden_layers, j, what, "num_hidden_layers", 1, 100000, true));
    RY_TRY(ry_json_int(&c->num_attention_heads, j, what, "num_attention_heads", 1, 1 << 20, true));
    c->num_key_value_heads = c->num_attention_heads;
    RY_TRY(ry_json_int(&c->num_key_value_heads, j, what, "num_key_value_heads", 1, 1 << 20, false));
    RY_TRY(ry_json_int(&c->intermediate_size, j, what, "intermediate_size", 1, BIG, true));
    RY_TRY(ry_json_int(&c->head_dim, j, what, "head_dim", 1, 1 << 20, false));
    RY_TRY(ry_json_int(&c->vocab_size, j, what, "vocab_size", 1, BIG, vocab_size == 0));
    RY_TRY(ry_json_int(&c->max_position_embeddings, j, what, "max_position_embeddings", 1, BIG, false));
    RY_TRY(ry_json_real(&c->rms_norm_eps, j, what, "rms_norm_eps", 0, 1, false));
    RY_TRY(ry_json_real(&c->initializer_range, j, what, "initializer_range", 0, 10, false));
    RY_TRY(ry_json_bool(&c->tie_word_embeddings, j, what, "tie_word_embeddings", false));
    RY_TRY(ry_json_bool(&c->attention_bias, j, what, "attention_bias", false));
    RY_TRY(ry_json_bool(&c->mlp_bias, j, what, "mlp_bias", false));
    RY_TRY(ry_json_text(&act, j, what, "hidden_act", false));
    size_t k = 0;
    while (k < sizeof acts / sizeof *acts && strcmp(acts[k].name, act)) k++;
    if (k == sizeof acts / sizeof *acts) RY_FAIL(RY_EUNSUPPORTED, "%s: hidden_act '%s' is not known (silu, gelu, gelu_pytorch_tanh, relu)", what, act);
    c->act = acts[k].act;
    if (c->num_attention_heads % c->num_key_value_heads)
        RY_FAIL(RY_EFORMAT, "%s: num_attention_heads (%lld) must be a multiple of num_key_value_heads (%lld)", what,
                (long long)c->num_attention_heads, (long long)c->num_key_value_heads);
    if (!c->head_dim) {
        if (c->hidden_size % c->num_attention_heads)
            RY_FAIL(RY_EFORMAT, "%s: hidden_size (%lld) must be a multiple of num_attention_heads (%lld), or head_dim be given", what,
                    (long long)c->hidden_size, (long long)c->num_attention_heads);
        c->head_dim = c->hidden_size / c->num_attention_heads;
    }
    c->rope.partial = 1;
    RY_TRY(ry_json_real(&c->rope.partial, j, what, "partial_rotary_factor", 1e-6, 1, false));
    RY_TRY(read_rope(c, j, what, a));
    if (rope_rotary(c) < 2 || rope_rotary(c) % 2)
        RY_FAIL(RY_EFORMAT, "%s: rotary embeddings turn pairs: head_dim %lld gives %lld turning dims, which must be even", what,
                (long long)c->head_dim, (long long)rope_rotary(c));
    return config_end_tokens(c, j, what);
}

/* ---- writing ---- */

static ry_status put_missing(ry_json *j, const char *key, ry_json *v) {
    if (!ry_json_find(j, key)) return ry_json_put(j, key, v);
    ry_json_free(v);
    return RY_OK;
}

ry_status config_complete(ry_json *j, const model_config *c, const model_family *f) {
    if (!ry_json_find(j, "architectures")) {
        ry_json *list = ry_json_new_array();
        ry_status st = list ? ry_json_push(list, ry_json_new_text(f->architecture)) : RY_ENOMEM;
        if (st != RY_OK) {
            ry_json_free(list);
            return st;
        }
        RY_TRY(ry_json_put(j, "architectures", list));
    }
    RY_TRY(put_missing(j, "model_type", ry_json_new_text(f->model_type)));
    RY_TRY(put_missing(j, "num_key_value_heads", ry_json_new_int(c->num_key_value_heads)));
    RY_TRY(put_missing(j, "head_dim", ry_json_new_int(c->head_dim)));
    RY_TRY(ry_json_put(j, "vocab_size", ry_json_new_int(c->vocab_size)));
    RY_TRY(put_missing(j, "max_position_embeddings", ry_json_new_int(c->max_position_embeddings)));
    RY_TRY(put_missing(j, "rms_norm_eps", ry_json_new_real(c->rms_norm_eps)));
    RY_TRY(put_missing(j, "tie_word_embeddings", ry_json_new_bool(c->tie_word_embeddings)));
    RY_TRY(put_missing(j, "attention_bias", ry_json_new_bool(c->attention_bias)));
    RY_TRY(put_missing(j, "mlp_bias", ry_json_new_bool(c->mlp_bias)));
    RY_TRY(put_missing(j, "hidden_act", ry_json_new_text("silu")));
    RY_TRY(put_missing(j, "initializer_range", ry_json_new_real(c->initializer_range)));
    if (!ry_json_find(j, "rope_parameters")) RY_TRY(put_missing(j, "rope_theta", ry_json_new_real(c->rope.theta)));
    return RY_OK;
}
