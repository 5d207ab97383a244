/* generation.c - generation_config.json: how the model's makers would have its tokens chosen.  Its end tokens are config.c's. */
#include "model/model.h"

ry_status model_generation(ry_model *m, const ry_json *j, const char *what) {
    ry_sampling *s = &m->sampling;
    const struct { const char *key; double *to, lo, hi; } reals[] = {
        {"temperature", &s->temp, 0, 1e6}, {"top_p", &s->top_p, 0, 1}, {"min_p", &s->min_p, 0, 1}, {"typical_p", &s->typical_p, 0, 1},
        {"epsilon_cutoff", &s->epsilon_cutoff, 0, 1}, {"eta_cutoff", &s->eta_cutoff, 0, 1}, {"repetition_penalty", &s->repetition_penalty, 0, 1e6}};
    bool samples = false;
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        RY_TRY(ry_json_real(reals[i].to, j, what, reals[i].key, reals[i].lo, reals[i].hi, false));
        samples |= i < 3 && ry_json_path(j, reals[i].key) != NULL;
    }
    RY_TRY(ry_json_int(&s->top_k, j, what, "top_k", -1, INT32_MAX, false));
    RY_TRY(ry_json_int(&s->no_repeat_ngram, j, what, "no_repeat_ngram_size", 0, INT32_MAX, false));
    RY_TRY(ry_json_int(&s->min_tokens, j, what, "min_new_tokens", 0, INT32_MAX, false));
    samples |= ry_json_path(j, "top_k") != NULL;
    m->samples = samples;
    RY_TRY(ry_json_bool(&samples, j, what, "do_sample", false));
    if (ry_json_path(j, "do_sample")) m->samples = true; /* said, one way or the other */
    /* What transformers does where the file is silent. */
    if (s->top_k < 0) s->top_k = 0;
    else if (!ry_json_path(j, "top_k")) s->top_k = 50;
    if (!ry_json_path(j, "temperature")) s->temp = 1;
    if (!samples) s->temp = 0;
    return RY_OK;
}

bool ry_model_sampling(const ry_model *m, ry_sampling *out) {
    *out = m->sampling;
    if (m->samples) return true;
    out->temp = 0.8, out->top_k = 40, out->top_p = 0.95;
    return false;
}
