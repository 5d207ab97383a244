/* rope.c - frequencies of rotary position embeddings with all common scalings.  Numbers in, numbers out; no graph.
 * After transformers' modeling_rope_utils (documentation) and the papers named below. */
#include "model/model.h"
#include <math.h>

static const double two_pi = 6.283185307179586;

int64_t rope_rotary(const model_config *c) { return (int64_t)((double)c->head_dim * c->rope.partial); }

bool rope_varies(const model_config *c, int64_t length) {
    const rope_config *r = &c->rope;
    if (r->kind == ROPE_DYNAMIC) return length > c->max_position_embeddings;
    return r->kind == ROPE_LONGROPE && length > (r->original ? r->original : c->max_position_embeddings);
}

/* Llama 3.1: low frequencies are divided by the factor, high ones kept, between them a blend. */
static double llama3(const rope_config *r, double f) {
    double wavelength = two_pi / f, original = (double)r->original;
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

static void yarn(const model_config *c, float *freq, double *scale) {
    const rope_config *r = &c->rope;
    int64_t rotary = rope_rotary(c);
    double dim = (double)rotary, original = (double)(r->original ? r->original : c->max_position_embeddings);
    double factor = r->factor > 0 ? r->factor : (double)c->max_position_embeddings / original;
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

void rope_frequencies(const model_config *c, int64_t length, float *freq, double *scale) {
    const rope_config *r = &c->rope;
    int64_t rotary = rope_rotary(c), context = c->max_position_embeddings;
    double theta = r->theta, dim = (double)rotary;
    *scale = 1;
    if (r->kind == ROPE_YARN) {
        yarn(c, freq, scale);
        return;
    }
    if (r->kind == ROPE_DYNAMIC && length > context) /* NTK-aware: the base grows with the sequence */
        theta *= pow(r->factor * (double)length / (double)context - (r->factor - 1), dim / (dim - 2));
    if (r->kind == ROPE_LONGROPE) { /* LongRoPE (Ding et al. 2024) */
        double original = (double)(r->original ? r->original : context);
        double factor = r->factor > 0 ? r->factor : (double)context / original;
        *scale = r->attention_factor > 0 ? r->attention_factor : factor <= 1 ? 1 : sqrt(1 + log(factor) / log(original));
    }
    for (int64_t i = 0; i < rotary / 2; i++) {
        double f = pow(theta, -2.0 * (double)i / dim);
        if (r->kind == ROPE_LINEAR) f /= r->factor;
        else if (r->kind == ROPE_LLAMA3) f = llama3(r, f);
        else if (r->kind == ROPE_LONGROPE) f /= (rope_varies(c, length) ? r->long_factor : r->short_factor)[i];
        freq[i] = (float)f;
    }
}

ry_status model_rope(ry_model *m, int64_t length, ry_var **freq, double *scale) {
    int64_t key = rope_varies(&m->cfg, length) ? length : 0;
    for (size_t i = 0; i < m->ropes.n; i++)
        if (m->ropes.at[i].length == key) {
            *freq = m->ropes.at[i].freq, *scale = m->ropes.at[i].scale;
            return RY_OK;
        }
    int64_t half = rope_rotary(&m->cfg) / 2;
    rope_table t = {.length = key};
    float *x = ry_mem_alloc((size_t)half * sizeof *x);
    if (!x) return RY_ENOMEM;
    rope_frequencies(&m->cfg, length, x, &t.scale);
    ry_status st = ry_var_open(&t.freq, m->dev, &RY_SHAPE(RY_F32, half), "rope.freq");
    if (st == RY_OK) st = ry_var_write(t.freq, x, (size_t)half * sizeof *x);
    ry_mem_free(x);
    rope_table *slot = st == RY_OK ? RY_PUSH(&m->ropes) : NULL;
    if (!slot) {
        ry_var_close(t.freq);
        return st == RY_OK ? RY_ENOMEM : st;
    }
    *slot = t;
    *freq = t.freq, *scale = t.scale;
    return RY_OK;
}
