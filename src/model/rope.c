/* rope.c - frequencies of rotary position embeddings with all common scalings, and the variables that hold them for a pass.
 * After transformers' modeling_rope_utils (documentation) and the papers named below. */
#include "model/model.h"
#include "core/op.h"
#include <math.h>

static const double two_pi = 6.283185307179586;

int64_t rope_rotary(const model_config *c, int which) { return (int64_t)((double)c->head_dim * c->rope[which].partial); }

bool rope_varies(const model_config *c, int which, int64_t length) {
    const rope_config *r = &c->rope[which];
    if (r->kind == ROPE_DYNAMIC) return length > c->max_position_embeddings;
    return r->kind == ROPE_LONGROPE && length > (r->original ? r->original : c->max_position_embeddings);
}

static double original_of(const model_config *c, const rope_config *r) { return (double)(r->original ? r->original : c->max_position_embeddings); }
static double factor_of(const model_config *c, const rope_config *r) {
    return r->factor > 0 ? r->factor : (double)c->max_position_embeddings / original_of(c, r);
}

/* Llama 3.1: low frequencies are divided by the factor, high ones kept, between them a blend. */
static double llama3(const rope_config *r, double original, double f) {
    double wavelength = two_pi / f;
    if (wavelength < original / r->high_freq_factor) return f;
    if (wavelength > original / r->low_freq_factor) return f / r->factor;
    double smooth = (original / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->factor + smooth * f;
}

/* YaRN (Peng et al. 2023): interpolation where a dim turns seldom, extrapolation where it turns often. */
static double yarn_dim(double rotations, double dim, double theta, double original) {
    return dim * log(original / (rotations * two_pi)) / (2 * log(theta));
}
static double yarn_mscale(double scale, double m) { return scale <= 1 ? 1 : 0.1 * m * log(scale) + 1; }

double rope_attention_scale(const model_config *c) {
    const rope_config *r = &c->rope[0];
    if (r->kind == ROPE_DEFAULT || !(r->mscale_all_dim > 0)) return 1;
    double m = yarn_mscale(factor_of(c, r), r->mscale_all_dim);
    return m * m;
}

static void yarn(const model_config *c, int which, float *freq, double *scale) {
    const rope_config *r = &c->rope[which];
    int64_t rotary = rope_rotary(c, which);
    double dim = (double)rotary, original = original_of(c, r), factor = factor_of(c, r);
    double low = yarn_dim(r->beta_fast, dim, r->theta, original), high = yarn_dim(r->beta_slow, dim, r->theta, original);
    if (r->truncate) low = floor(low), high = ceil(high);
    if (low < 0) low = 0;
    if (high > dim - 1) high = dim - 1;
    if (low == high) high += 0.001; /* as the reference: no division by zero */
    for (int64_t i = 0; i < rotary / 2; i++) {
        double f = pow(r->theta, -2.0 * (double)i / dim), ramp = ((double)i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        freq[i] = (float)(f / factor * ramp + f * (1 - ramp));
    }
    if (r->attention_factor > 0) *scale = r->attention_factor;
    else if (r->mscale > 0 && r->mscale_all_dim > 0) *scale = yarn_mscale(factor, r->mscale) / yarn_mscale(factor, r->mscale_all_dim);
    else *scale = yarn_mscale(factor, 1);
}

void rope_frequencies(const model_config *c, int which, int64_t length, float *freq, double *scale) {
    const rope_config *r = &c->rope[which];
    int64_t rotary = rope_rotary(c, which), context = c->max_position_embeddings;
    double theta = r->theta, dim = (double)rotary;
    *scale = 1;
    if (r->kind == ROPE_YARN) {
        yarn(c, which, freq, scale);
        return;
    }
    if (r->kind == ROPE_DYNAMIC && length > context) /* NTK-aware: the base grows with the sequence */
        theta *= pow(r->factor * (double)length / (double)context - (r->factor - 1), dim / (dim - 2));
    if (r->kind == ROPE_LONGROPE) { /* LongRoPE (Ding et al. 2024) */
        double original = original_of(c, r), factor = factor_of(c, r);
        *scale = r->attention_factor > 0 ? r->attention_factor : factor <= 1 ? 1 : sqrt(1 + log(factor) / log(original));
    }
    for (int64_t i = 0; i < rotary / 2; i++) {
        double f = pow(theta, -2.0 * (double)i / dim);
        if (r->kind == ROPE_LINEAR) f /= r->factor;
        else if (r->kind == ROPE_LLAMA3) f = llama3(r, original_of(c, r), f);
        else if (r->kind == ROPE_LONGROPE) f /= (rope_varies(c, which, length) ? r->long_factor : r->short_factor)[i];
        freq[i] = (float)f;
    }
}

static ry_status write_table(const model_config *c, int which, int64_t length, ry_var *v, double *scale) {
    int64_t half = rope_rotary(c, which) / 2;
    float *x = ry_mem_alloc((size_t)half * sizeof *x);
    if (!x) return RY_ENOMEM;
    rope_frequencies(c, which, length, x, scale);
    ry_status st = ry_var_write(v, x, (size_t)half * sizeof *x);
    ry_mem_free(x);
    return st;
}

static bool used(const model_config *c, int which) { return c->rope_layers != ROPE_NEVER && c->rope[which].theta > 0; }

static ry_status open_table(ry_var **v, ry_model *m, int which) {
    return ry_var_open(v, m->dev, &RY_SHAPE(RY_F32, rope_rotary(&m->cfg, which) / 2), which ? "rope.freq_window" : "rope.freq");
}

/* The table as a variable of the model, for sequences up to length. */
static ry_status kept_table(ry_model *m, int which, int64_t length, ry_var **freq, double *scale) {
    int64_t key = rope_varies(&m->cfg, which, length) ? length : 0;
    for (size_t i = 0; i < m->ropes.n; i++)
        if (m->ropes.at[i].which == which && m->ropes.at[i].length == key) {
            *freq = m->ropes.at[i].freq, *scale = m->ropes.at[i].scale;
            return RY_OK;
        }
    rope_table t = {.which = which, .length = key};
    ry_status st = open_table(&t.freq, m, which);
    if (st == RY_OK) st = write_table(&m->cfg, which, length, t.freq, &t.scale);
    rope_table *slot = st == RY_OK ? RY_PUSH(&m->ropes) : NULL;
    if (!slot) {
        ry_var_close(t.freq);
        return st == RY_OK ? RY_ENOMEM : st;
    }
    *slot = t;
    *freq = t.freq, *scale = t.scale;
    return RY_OK;
}

ry_status model_pass_plain(model_pass *p, ry_graph *g, ry_model *m, ry_tensor ids) {
    const ry_spec *s = ry_spec_of(g, ids);
    model_ropes r = {.length = 0};
    *p = (model_pass){.g = g, .m = m, .ids = ids};
    if (!s) return ry_graph_status(g) != RY_OK ? ry_graph_status(g) : ry_fail(RY_ESTALE, "model: ids is null or of an earlier step");
    if (s->rank != 2) RY_FAIL(RY_ESHAPE, "model: ids must be [B,T], it is %s", ry_show(s).s);
    for (int i = 0; i < MODEL_ROPES; i++)
        if (used(&m->cfg, i)) RY_TRY(kept_table(m, i, s->dim[1], &r.freq[i], &r.scale[i]));
    ry_graph_precision(g, m->opt.precision);
    ry_graph_numerics(g, m->opt.numerics);
    model_pass_ropes(p, &r);
    p->pos = ry_iota(g, &RY_SHAPE(RY_I32, s->dim[1]), 0, 0, 1);
    return RY_OK;
}

void model_pass_ropes(model_pass *p, const model_ropes *r) {
    for (int i = 0; i < MODEL_ROPES; i++)
        if (r->freq[i]) p->freq[i] = ry_use(p->g, r->freq[i]), p->rope_scale[i] = r->scale[i];
}

ry_status model_ropes_open(model_ropes *r, ry_model *m) {
    *r = (model_ropes){.length = -1};
    for (int i = 0; i < MODEL_ROPES; i++)
        if (used(&m->cfg, i)) RY_TRY(open_table(&r->freq[i], m, i));
    return RY_OK;
}

ry_status model_ropes_set(model_ropes *r, ry_model *m, int64_t length, bool *changed) {
    const model_config *c = &m->cfg;
    bool first = r->length < 0, again = false;
    for (int i = 0; i < MODEL_ROPES; i++) {
        if (!used(c, i)) continue;
        bool varies = rope_varies(c, i, length), varied = !first && rope_varies(c, i, r->length);
        if (!first && varies == varied && (!varies || c->rope[i].kind == ROPE_LONGROPE || r->length == length)) continue;
        RY_TRY(write_table(c, i, length, r->freq[i], &r->scale[i]));
        again |= !first && c->rope[i].kind == ROPE_LONGROPE;
    }
    r->length = length;
    if (changed) *changed = again;
    return RY_OK;
}

void model_ropes_close(model_ropes *r) {
    for (int i = 0; i < MODEL_ROPES; i++) ry_var_close(r->freq[i]);
    *r = (model_ropes){.length = -1};
}
