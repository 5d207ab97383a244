/* config.c - config.json of Hugging Face's transformers (versions 4 and 5) to model_config and back: the keys that families share, and those of
 * the family's row.  Knows keys, no graph. */
#include "model/model.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    nn_act act;
} acts[] = {{"silu", NN_SILU},
            {"swish", NN_SILU},
            {"gelu", NN_GELU},
            {"gelu_python", NN_GELU},
            {"gelu_pytorch_tanh", NN_GELU_TANH},
            {"gelu_new", NN_GELU_TANH},
            {"gelu_fast", NN_GELU_TANH},
            {"gelu_python_tanh", NN_GELU_TANH},
            {"quick_gelu", NN_GELU_QUICK},
            {"relu", NN_RELU},
            {"relu2", NN_RELU2},
            {"sigmoid", NN_SIGMOID},
            {"tanh", NN_TANH}};
static const struct {
    const char *name;
    rope_kind kind;
} ropes[] = {{"default", ROPE_DEFAULT}, {"linear", ROPE_LINEAR},     {"dynamic", ROPE_DYNAMIC}, {"llama3", ROPE_LLAMA3},
             {"yarn", ROPE_YARN},       {"longrope", ROPE_LONGROPE}, {"su", ROPE_LONGROPE}};

enum { BIG = 1 << 30 };

/* Keys of every family. A family's own are read after them. */
const model_key model_common_keys[] = {MODEL_SIZE("hidden_size", hidden_size),
                                       MODEL_INT("num_hidden_layers", num_hidden_layers, 1, 100000),
                                       MODEL_INT("num_attention_heads", num_attention_heads, 1, 1 << 20),
                                       MODEL_INT("num_key_value_heads", num_key_value_heads, 1, 1 << 20),
                                       MODEL_SIZE("intermediate_size", intermediate_size),
                                       MODEL_INT("head_dim", head_dim, 1, 1 << 20),
                                       MODEL_SIZE("vocab_size", vocab_size),
                                       MODEL_SIZE("max_position_embeddings", max_position_embeddings),
                                       MODEL_REAL("rms_norm_eps", norm_eps, 0, 1),
                                       MODEL_REAL("initializer_range", initializer_range, 0, 10),
                                       MODEL_BOOL("tie_word_embeddings", tie_word_embeddings),
                                       MODEL_ACT("hidden_act"),
                                       MODEL_REFUSE("is_encoder_decoder"),
                                       MODEL_REFUSE("add_cross_attention"),
                                       {0}};

static ry_status read_act(nn_act *act, const ry_json *j, const char *what, const char *key) {
    const char *name = NULL;
    RY_TRY(ry_json_text(&name, j, what, key, false));
    for (size_t k = 0; name && k < sizeof acts / sizeof *acts; k++)
        if (!strcmp(acts[k].name, name)) {
            *act = acts[k].act;
            return RY_OK;
        }
    return name
               ? ry_fail(
                     RY_EUNSUPPORTED,
                     "%s: %s '%s' is not known (silu, gelu, gelu_pytorch_tanh, quick_gelu, relu, relu2, sigmoid, tanh)",
                     what, key, name)
               : RY_OK;
}

/* Only what says nothing: false, 0, null, an empty list. */
static ry_status refuse(const ry_json *j, const char *what, const char *key) {
    const ry_json *v = ry_json_path(j, key);
    double number = 1;
    bool yes = true, list = ry_json_kind_of(v) == RY_JSON_ARRAY || ry_json_kind_of(v) == RY_JSON_OBJECT;
    if (!v || (list && !ry_json_count(v)) || (ry_json_as_real(v, &number) && number == 0) ||
        (ry_json_as_bool(v, &yes) && !yes))
        return RY_OK;
    RY_FAIL(RY_EUNSUPPORTED, "%s: %s changes the result and is not supported", what, key);
}

static ry_status read_keys(model_config *c, const model_key *key, const ry_json *j, const char *what) {
    for (; key && key->name; key++) {
        void *at = (char *)c + key->at;
        const ry_json *v = ry_json_find(j, key->name);
        bool none = ry_json_kind_of(v) == RY_JSON_NULL;
        switch (key->kind) {
        case KEY_INT:
            if (none) *(int64_t *)at = 0;
            RY_TRY(ry_json_int(at, j, what, key->name, (int64_t)key->lo, (int64_t)key->hi, false));
            break;
        case KEY_REAL:
            if (none) *(double *)at = 0;
            RY_TRY(ry_json_real(at, j, what, key->name, key->lo, key->hi, false));
            break;
        case KEY_BOOL:
            if (none) *(bool *)at = false;
            RY_TRY(ry_json_bool(at, j, what, key->name, false));
            break;
        case KEY_ACT: RY_TRY(read_act(at, j, what, key->name)); break;
        case KEY_REFUSE: RY_TRY(refuse(j, what, key->name)); break;
        }
    }
    return RY_OK;
}

/* ---- rotary embeddings ---- */

static ry_status factors(double **out, const ry_json *rope, const char *what, const char *key, int64_t n, ry_arena *a) {
    const ry_json *list;
    RY_TRY(ry_json_array(&list, rope, what, key, true));
    if ((int64_t)ry_json_count(list) != n)
        RY_FAIL(RY_EFORMAT, "%s: %s needs %lld entries, it has %zu", what, key, (long long)n, ry_json_count(list));
    *out = RY_NEW(a, double, n);
    if (!*out) return RY_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        if (!ry_json_as_real(ry_json_at(list, (size_t)i), &(*out)[i]) || !((*out)[i] > 0))
            RY_FAIL(RY_EFORMAT, "%s: %s[%lld] must be a number above 0", what, key, (long long)i);
    return RY_OK;
}

/* One set of rope parameters: p is version 5's rope_parameters or version 4's rope_scaling; j the whole config. */
static ry_status read_scaling(model_config *c, int which, const ry_json *p, const ry_json *j, const char *what,
                              ry_arena *a) {
    rope_config *r = &c->rope[which];
    const char *name = NULL;
    RY_TRY(ry_json_real(&r->theta, p, what, "rope_theta", 1e-6, 1e18, false));
    RY_TRY(ry_json_real(&r->partial, p, what, "partial_rotary_factor", 1e-6, 1, false));
    RY_TRY(ry_json_text(&name, p, what, "type", false));
    RY_TRY(ry_json_text(&name, p, what, "rope_type", false));
    if (!name) return RY_OK;
    size_t k = 0;
    while (k < sizeof ropes / sizeof *ropes && strcmp(ropes[k].name, name)) k++;
    if (k == sizeof ropes / sizeof *ropes)
        RY_FAIL(RY_EUNSUPPORTED, "%s: rope_type '%s' is not known (default, linear, dynamic, llama3, yarn, longrope)",
                what, name);
    *r = (rope_config){.kind = ropes[k].kind,
                       .theta = r->theta,
                       .partial = r->partial,
                       .beta_fast = 32,
                       .beta_slow = 1,
                       .truncate = true};
    bool scaled = r->kind == ROPE_LINEAR || r->kind == ROPE_DYNAMIC || r->kind == ROPE_LLAMA3;
    RY_TRY(ry_json_real(&r->factor, p, what, "factor", 1, 1e6, scaled));
    RY_TRY(ry_json_int(&r->original, p, what, "original_max_position_embeddings", 1, BIG, false));
    RY_TRY(ry_json_int(&r->original, j, what, "original_max_position_embeddings", 1, BIG,
                       false)); /* Phi-3 keeps it outside; that one counts */
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
        RY_TRY(factors(&r->short_factor, p, what, "short_factor", rope_rotary(c, which) / 2, a));
        RY_TRY(factors(&r->long_factor, p, what, "long_factor", rope_rotary(c, which) / 2, a));
    }
    return RY_OK;
}

/* Version 5 puts all in rope_parameters, by kind of layer where there are two; version 4 has rope_theta beside rope_scaling {rope_type or type, ...}
 * and rope_local_base_freq. */
static ry_status read_rope(model_config *c, const model_family *f, const ry_json *j, const char *what, ry_arena *a) {
    static const char *const kinds[MODEL_ROPES] = {"full_attention", "sliding_attention"};
    const ry_json *p = NULL;
    for (int i = 0; i < MODEL_ROPES; i++)
        if (!(c->rope[i].partial > 0)) c->rope[i].partial = 1;
    if (c->rope_layers == ROPE_NEVER) return RY_OK;
    RY_TRY(ry_json_real(&c->rope[0].theta, j, what, "rope_theta", 1e-6, 1e18, false));
    RY_TRY(ry_json_real(&c->rope[0].partial, j, what, "partial_rotary_factor", 1e-6, 1, false));
    if (f->theta_key) RY_TRY(ry_json_real(&c->rope[0].theta, j, what, f->theta_key, 1e-6, 1e18, false));
    if (f->partial_key) RY_TRY(ry_json_real(&c->rope[0].partial, j, what, f->partial_key, 1e-6, 1, false));
    if (c->rope[1].theta > 0)
        RY_TRY(ry_json_real(&c->rope[1].theta, j, what, "rope_local_base_freq", 1e-6, 1e18, false));
    RY_TRY(ry_json_object(&p, j, what, "rope_parameters", false));
    if (!p) RY_TRY(ry_json_object(&p, j, what, "rope_scaling", false));
    for (int i = 0; p && i < MODEL_ROPES; i++) {
        const ry_json *own = NULL;
        RY_TRY(ry_json_object(&own, p, what, kinds[i], false));
        if (own && i && !(c->rope[i].theta > 0)) c->rope[i].theta = c->rope[0].theta;
        if (own || !i) RY_TRY(read_scaling(c, i, own ? own : p, j, what, a));
    }
    for (int i = 0; i < MODEL_ROPES; i++) {
        int64_t n = rope_rotary(c, i);
        if (c->rope[i].theta > 0 && (n < 2 || n % 2))
            RY_FAIL(RY_EFORMAT,
                    "%s: rotary embeddings turn pairs: head_dim %lld gives %lld turning dims, which must be even", what,
                    (long long)c->head_dim, (long long)n);
    }
    return RY_OK;
}

/* ---- layers ---- */

static ry_status list_of(const ry_json **list, const ry_json *j, const char *what, const char *key, int64_t layers) {
    *list = NULL;
    RY_TRY(ry_json_array(list, j, what, key, false));
    if (*list && layers && (int64_t)ry_json_count(*list) < layers)
        RY_FAIL(RY_EFORMAT, "%s: %s has %zu entries for %lld layers", what, key, ry_json_count(*list),
                (long long)layers);
    return RY_OK;
}

static ry_status read_layers(model_config *c, const ry_json *j, const char *what, ry_arena *a) {
    const ry_json *types = NULL, *turns = NULL, *plain = NULL, *full = NULL;
    int64_t L = c->num_hidden_layers;
    bool window = c->use_sliding_window && c->sliding_window > 0;
    if (!(c->layer = RY_NEW(a, model_layer, L))) return RY_ENOMEM;
    if (c->layer_types) RY_TRY(list_of(&types, j, what, "layer_types", L));
    if (c->rope_layers == ROPE_LISTED) RY_TRY(list_of(&turns, j, what, "no_rope_layers", L));
    if (c->mlp_only_layers) RY_TRY(list_of(&plain, j, what, "mlp_only_layers", 0));
    if (c->conv_taps && !types) RY_TRY(list_of(&full, j, what, "full_attn_idxs", 0));
    for (int64_t i = 0; i < L; i++) {
        model_layer *l = &c->layer[i];
        const char *type = types ? ry_json_as_text(ry_json_at(types, (size_t)i), NULL) : NULL;
        int64_t turn = c->no_rope_interval ? (i + 1) % c->no_rope_interval != 0 : 1, at;
        bool on;
        if (turns && ry_json_as_bool(ry_json_at(turns, (size_t)i), &on))
            turn = on;
        else if (turns && !ry_json_as_int(ry_json_at(turns, (size_t)i), &turn))
            RY_FAIL(RY_EFORMAT, "%s: no_rope_layers[%lld] must be 0 or 1", what, (long long)i);
        l->window = window && i >= c->window_first && (!c->window_end || i < c->window_end) &&
                    (c->window_pattern ? (i + 1) % c->window_pattern != 0 : c->rope_layers != ROPE_LISTED || !turn);
        if (types && !type) RY_FAIL(RY_EFORMAT, "%s: layer_types[%lld] must be a string", what, (long long)i);
        if (type) {
            l->window = !strcmp(type, "sliding_attention");
            l->conv = c->conv_taps && !strcmp(type, "conv");
            if (!l->window && !l->conv && strcmp(type, "full_attention"))
                RY_FAIL(RY_EUNSUPPORTED, "%s: layer_types has '%s', which this model_type does not know", what, type);
            if (l->window && c->sliding_window <= 0)
                RY_FAIL(RY_EFORMAT, "%s: layer_types has sliding_attention, but sliding_window is not given", what);
        }
        if (full) {
            l->conv = true;
            for (size_t k = 0; k < ry_json_count(full); k++)
                if (ry_json_as_int(ry_json_at(full, k), &at) && at == i) l->conv = false;
        }
        l->experts = c->experts > 0 && i >= c->dense_first && (i + 1) % c->sparse_step == 0;
        for (size_t k = 0; plain && k < ry_json_count(plain); k++)
            if (ry_json_as_int(ry_json_at(plain, k), &at) && at == i) l->experts = false;
        bool rotates = c->rope_layers == ROPE_EVERY || (c->rope_layers == ROPE_WINDOWED && l->window) ||
                       (c->rope_layers == ROPE_LISTED && turn);
        l->rope = !rotates ? -1 : l->window && c->rope[1].theta > 0 ? 1 : 0;
    }
    return RY_OK;
}

/* ---- the whole ---- */

static ry_status one_end(model_config *c, const ry_json *j, const char *what) {
    int64_t id;
    if (!ry_json_as_int(j, &id) || id < 0 || id > INT32_MAX)
        RY_FAIL(RY_EFORMAT, "%s: eos_token_id must be an id or a list of ids", what);
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

const model_key *model_key_of(const model_family *f, size_t at) {
    for (int k = 0; k < 2; k++)
        for (const model_key *key = k ? model_common_keys : f->keys; key && key->name; key++)
            if (key->at == at && !key->second) return key;
    return NULL;
}

static ry_status need(const model_config *c, const model_family *f, size_t at, const char *what) {
    int64_t v = *(const int64_t *)((const char *)c + at);
    return v > 0 ? RY_OK : ry_fail(RY_EFORMAT, "%s: %s is missing", what, model_key_of(f, at)->name);
}

static void once(double *x) {
    if (*x == 0) *x = 1;
}

ry_status config_quantization(ry_json *j, const char *what) {
    const char *key = "quantization_config", *method = NULL;
    const ry_json *q = NULL;
    RY_TRY(ry_json_object(&q, j, what, key, false));
    if (q && ry_json_count(q)) {
        RY_TRY(ry_json_text(&method, q, what, "quant_method", false));
        if (!method || strcmp(method, "mxfp4") != 0)
            RY_FAIL(RY_EUNSUPPORTED, "%s: %s: weights quantised by %s are not read (only by mxfp4); take the model without, or a GGUF file of it", what, key,
                    method ? method : "a method without quant_method");
    }
    ry_json_drop(j, key);
    return RY_OK;
}

ry_status config_read(model_config *c, const model_family *f, ry_json *j, const char *what, ry_arena *a,
                      int64_t vocab_size) {
    model_config was = *c; /* it may know end tokens */
    *c = f->base;
    memcpy(c->end, was.end, sizeof c->end), c->n_end = was.n_end;
    if (vocab_size > 0) c->vocab_size = vocab_size;
    if (c->initializer_range == 0) c->initializer_range = 0.02;
    if (c->max_position_embeddings == 0) c->max_position_embeddings = 2048;
    if (c->rope[0].theta == 0) c->rope[0].theta = 10000;
    if (c->sparse_step == 0) c->sparse_step = 1;
    RY_TRY(ry_json_need_object(j, what));
    RY_TRY(config_quantization(j, what));
    RY_TRY(read_keys(c, model_common_keys, j, what));
    RY_TRY(read_keys(c, f->keys, j, what));
    if (f->finish) RY_TRY(f->finish(c, j, what));
    RY_TRY(need(c, f, offsetof(model_config, hidden_size), what));
    RY_TRY(need(c, f, offsetof(model_config, num_hidden_layers), what));
    RY_TRY(need(c, f, offsetof(model_config, num_attention_heads), what));
    RY_TRY(need(c, f, offsetof(model_config, intermediate_size), what));
    RY_TRY(need(c, f, offsetof(model_config, vocab_size), what));
    if (!c->num_key_value_heads) c->num_key_value_heads = c->num_attention_heads;
    if (c->num_attention_heads % c->num_key_value_heads)
        RY_FAIL(RY_EFORMAT, "%s: num_attention_heads (%lld) must be a multiple of num_key_value_heads (%lld)", what,
                (long long)c->num_attention_heads, (long long)c->num_key_value_heads);
    if (!c->head_dim) {
        if (c->hidden_size % c->num_attention_heads)
            RY_FAIL(RY_EFORMAT,
                    "%s: hidden_size (%lld) must be a multiple of num_attention_heads (%lld), or head_dim be given",
                    what, (long long)c->hidden_size, (long long)c->num_attention_heads);
        c->head_dim = c->hidden_size / c->num_attention_heads;
    }
    if (c->experts > 0 && (!c->experts_used || c->experts_used > c->experts || !c->expert_size))
        RY_FAIL(RY_EFORMAT, "%s: of %lld experts %lld are used, of size %lld; there must be from 1 to all, and a size",
                what, (long long)c->experts, (long long)c->experts_used, (long long)c->expert_size);
    if (c->groups > 1 && (c->experts % c->groups || !c->groups_used || c->groups_used > c->groups ||
                          c->experts_used > c->experts / c->groups * c->groups_used))
        RY_FAIL(RY_EFORMAT, "%s: %lld experts in %lld groups of which %lld count do not give %lld for a token", what,
                (long long)c->experts, (long long)c->groups, (long long)c->groups_used, (long long)c->experts_used);
    if (c->query_pre_attn_scalar) c->attention_scale = 1 / sqrt((double)c->query_pre_attn_scalar);
    if (c->embedding_sqrt) c->embedding_multiplier = sqrt((double)c->hidden_size);
    once(&c->embedding_multiplier), once(&c->residual_multiplier), once(&c->logits_multiplier),
        once(&c->routed_scaling);
    RY_TRY(read_rope(c, f, j, what, a));
    if (c->kv_rank) c->attention_scale = rope_attention_scale(c) / sqrt((double)(c->nope_dim + c->rope_dim));
    RY_TRY(read_layers(c, j, what, a));
    RY_TRY(config_end_tokens(c, j, what));
    if (!c->n_end) memcpy(c->end, f->base.end, sizeof c->end), c->n_end = f->base.n_end;
    return RY_OK;
}

/* ---- writing ---- */

static ry_status put_missing(ry_json *j, const char *key, ry_json *v) {
    if (!ry_json_find(j, key)) return ry_json_put(j, key, v);
    ry_json_free(v);
    return RY_OK;
}

static ry_json *value_of(const model_config *c, const model_key *key) {
    const void *at = (const char *)c + key->at;
    switch (key->kind) {
    case KEY_INT:
        return (double)*(const int64_t *)at < key->lo ? ry_json_new_null() : ry_json_new_int(*(const int64_t *)at);
    case KEY_REAL: return *(const double *)at < key->lo ? ry_json_new_null() : ry_json_new_real(*(const double *)at);
    case KEY_BOOL: return ry_json_new_bool(*(const bool *)at);
    default: break;
    }
    size_t k = 0;
    while (acts[k].act != *(const nn_act *)at) k++;
    return ry_json_new_text(acts[k].name);
}

/* Does a family's own key fill the same field? Then the common one is not its. */
static bool replaced(const model_family *f, const model_key *key) {
    for (const model_key *own = f->keys; own && own->name; own++)
        if (!own->second && own->at == key->at) return true;
    return false;
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
    RY_TRY(
        put_missing(j, "pad_token_id", ry_json_new_null())); /* some families' default lies beyond a small vocabulary */
    for (int k = 0; k < 2; k++)
        for (const model_key *key = k ? f->keys : model_common_keys; key && key->name; key++)
            if (!key->second && (k || !replaced(f, key))) RY_TRY(put_missing(j, key->name, value_of(c, key)));
    RY_TRY(ry_json_put(j, model_key_of(f, offsetof(model_config, vocab_size))->name, ry_json_new_int(c->vocab_size)));
    if (!ry_json_find(j, "rope_parameters") && c->rope_layers != ROPE_NEVER)
        RY_TRY(put_missing(j, f->theta_key ? f->theta_key : "rope_theta", ry_json_new_real(c->rope[0].theta)));
    return RY_OK;
}
