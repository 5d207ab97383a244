/* gguf_config_write.c - model_config as the metadata of a GGUF file: the way back of gguf_config.c, by the same table.  Owns nothing. */
#include "model/gguf_config.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    gguf_meta *m;
    const gguf_arch *a;
    const model_family *f;
    const model_config *c;
} writer;

enum { KEY_MAX = 128 };
static const char *full(char buf[KEY_MAX], const writer *w, const char *name) {
    snprintf(buf, KEY_MAX, "%s.%s", w->a->name, name);
    return buf;
}
static void put_int(const writer *w, const char *name, int64_t v) {
    char key[KEY_MAX];
    gguf_put_u32(w->m, full(key, w, name), (uint32_t)v);
}
static void put_real(const writer *w, const char *name, double v) {
    char key[KEY_MAX];
    gguf_put_f32(w->m, full(key, w, name), v);
}
static void put_text(const writer *w, const char *name, const char *v) {
    char key[KEY_MAX];
    gguf_put_text(w->m, full(key, w, name), v, strlen(v));
}

/* 0 stands where a layer has no attention. */
static ry_status put_kv_heads(const writer *w, const char *name) {
    const model_config *c = w->c;
    char key[KEY_MAX];
    int32_t *heads = ry_mem_alloc((size_t)c->num_hidden_layers * sizeof *heads);
    if (!heads) return RY_ENOMEM;
    for (int64_t i = 0; i < c->num_hidden_layers; i++) heads[i] = c->layer[i].conv ? 0 : (int32_t)c->num_key_value_heads;
    gguf_put_i32s(w->m, full(key, w, name), heads, (size_t)c->num_hidden_layers);
    ry_mem_free(heads);
    return RY_OK;
}

/* Layers with a window, where the family's files say so. */
static ry_status put_windows(const writer *w, const char *name) {
    const model_config *c = w->c;
    char key[KEY_MAX];
    bool *on = ry_mem_alloc((size_t)c->num_hidden_layers * sizeof *on), some = false;
    if (!on) return RY_ENOMEM;
    for (int64_t i = 0; i < c->num_hidden_layers; i++) some |= on[i] = c->layer[i].window;
    if (some) gguf_put_bools(w->m, full(key, w, name), on, (size_t)c->num_hidden_layers);
    ry_mem_free(on);
    return RY_OK;
}

static ry_status put_field(const writer *w, const gguf_field *d) {
    const model_config *c = w->c;
    const void *at = (const char *)c + d->at;
    const model_key *k = model_key_of(w->f, d->at);
    bool eps = d->at == offsetof(model_config, norm_eps);
    char key[KEY_MAX];
    if ((!k && !d->always) || (eps && (strstr(d->name, "rms") != NULL) == c->layer_norm)) return RY_OK;
    if (d->at == offsetof(model_config, window_pattern)) return put_windows(w, d->name);
    if (d->at == offsetof(model_config, num_key_value_heads) && c->conv_taps) return put_kv_heads(w, d->name);
    if (c->kv_rank && d->at == offsetof(model_config, head_dim)) return RY_OK;
    if (d->at == offsetof(model_config, sliding_window)) {
        int64_t window = 0;
        for (int64_t i = 0; i < c->num_hidden_layers; i++)
            if (c->layer[i].window) window = c->sliding_window;
        if (window || c->fused_gate_up) put_int(w, d->name, window); /* Phi-4 is known by a window of 0 */
        return RY_OK;
    }
    switch (k ? k->kind : KEY_INT) {
    case KEY_INT:
        if (*(const int64_t *)at > 0) put_int(w, d->name, *(const int64_t *)at);
        return RY_OK;
    case KEY_REAL:
        if (*(const double *)at > 0) put_real(w, d->name, *(const double *)at);
        return RY_OK;
    case KEY_BOOL:
        if (*(const bool *)at) gguf_put_bool(w->m, full(key, w, d->name), true);
        return RY_OK;
    default: return RY_OK;
    }
}

static ry_status put_own(const writer *w, const gguf_own *o, const ry_json *config) {
    const ry_json *v = ry_json_path(config, o->key);
    char key[KEY_MAX];
    double x;
    int64_t i;
    bool b = w->c->block != BLOCK_PRE;
    if (o->kind == OWN_NUMBER && ry_json_kind_of(v) == RY_JSON_INT && ry_json_as_int(v, &i)) put_int(w, o->name, i);
    else if (o->kind == OWN_NUMBER && ry_json_as_real(v, &x)) put_real(w, o->name, x);
    if (o->kind != OWN_BOOL) return RY_OK;
    ry_json_as_bool(v, &b);
    gguf_put_bool(w->m, full(key, w, o->name), b);
    return RY_OK;
}

static ry_status put_rope(const writer *w) {
    const model_config *c = w->c;
    const rope_config *r = &c->rope[0];
    double factor, scale = 1;
    if (c->rope_layers == ROPE_NEVER) return RY_OK;
    float *freq = ry_mem_alloc((size_t)rope_rotary(c, 0) * sizeof *freq);
    if (!freq) return RY_ENOMEM;
    rope_frequencies(c, 0, 1, freq, &scale);
    ry_mem_free(freq);
    put_real(w, "rope.freq_base", r->theta);
    if (c->rope[1].theta > 0) {
        put_real(w, "rope.freq_base_swa", c->rope[1].theta);
        if (c->rope[1].kind != ROPE_DEFAULT) RY_FAIL(RY_EUNSUPPORTED, "GGUF has no scaling for the frequencies of layers with a window");
    }
    put_int(w, "rope.dimension_count", rope_rotary(c, 0));
    if (r->original && r->kind != ROPE_LLAMA3) put_int(w, "rope.scaling.original_context_length", r->original);
    switch (r->kind) {
    case ROPE_DYNAMIC: RY_FAIL(RY_EUNSUPPORTED, "GGUF has no frequencies that depend on the length (rope_type dynamic)");
    case ROPE_LINEAR:
        put_text(w, "rope.scaling.type", "linear");
        put_real(w, "rope.scaling.factor", r->factor);
        return RY_OK;
    case ROPE_YARN:
        put_text(w, "rope.scaling.type", "yarn");
        factor = r->factor > 0 ? r->factor : r->original ? (double)c->max_position_embeddings / (double)r->original : 1;
        put_real(w, "rope.scaling.factor", factor);
        put_real(w, "rope.scaling.yarn_beta_fast", r->beta_fast);
        put_real(w, "rope.scaling.yarn_beta_slow", r->beta_slow);
        if (c->kv_rank && r->mscale_all_dim > 0) put_real(w, "rope.scaling.yarn_log_multiplier", 0.1 * r->mscale_all_dim);
        else if (fabs(scale - (0.1 * log(factor) + 1)) > 1e-6) { /* the first is what converters write, the second what llama.cpp reads */
            put_real(w, "rope.scaling.yarn_attn_factor", scale);
            put_real(w, "rope.scaling.attn_factor", scale / (0.1 * log(factor) + 1));
        }
        return RY_OK;
    case ROPE_LONGROPE:
        put_text(w, "rope.scaling.type", "longrope");
        put_real(w, "rope.scaling.attn_factor", scale);
        return RY_OK;
    default: return RY_OK; /* llama3's is in its tensor */
    }
}

static ry_status put_latent(const writer *w) {
    const model_config *c = w->c;
    put_int(w, "attention.key_length", c->nope_dim + c->rope_dim);
    put_int(w, "attention.value_length", c->value_dim);
    put_int(w, "expert_gating_func", 2); /* sigmoid */
    return RY_OK;
}

ry_status gguf_config_write(gguf_meta *m, const gguf_arch *a, const model_family *f, const model_config *c, const ry_json *config) {
    writer w = {m, a, f, c};
    gguf_put_text(m, "general.architecture", a->name, strlen(a->name));
    gguf_put_text(m, "general.type", "model", 5);
    for (const gguf_field *d = gguf_fields; d->name; d++) {
        const gguf_own *own = a->own;
        while (own && own->name && strcmp(own->name, d->name)) own++;
        if (!own || !own->name) RY_TRY(put_field(&w, d));
    }
    for (const gguf_own *o = a->own; o && o->name; o++) RY_TRY(put_own(&w, o, config));
    if (c->kv_rank) RY_TRY(put_latent(&w));
    else put_int(&w, "attention.value_length", c->head_dim);
    return put_rope(&w);
}
