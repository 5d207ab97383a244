/* conv.c - the short convolution of LFM2 (Liquid AI 2025): a gate, a causal convolution of a few taps for each channel, another gate.  Its state
 * is the last inputs, which a cache holds. */
#include "core/op.h"
#include "model/decoder.h"
#include <rusty/ops.h>

ry_status conv_declare(ry_model *m, int64_t i) {
    const model_config *c = &m->cfg;
    int64_t C = c->hidden_size, taps[3] = {C, 1, c->conv_taps};
    RY_TRY(model_matrix(m, ROLE_CONV_IN, i, 3 * C, C, c->conv_bias));
    RY_TRY(model_param(m, ROLE_CONV, false, i, INIT_NORMAL, 3, taps));
    if (c->conv_bias) RY_TRY(model_param(m, ROLE_CONV, true, i, INIT_ZEROS, 1, &C));
    return model_matrix(m, ROLE_CONV_OUT, i, C, C, c->conv_bias);
}

/* The state after this pass: the taps - 1 inputs before the first padded row. */
static ry_tensor next_state(const model_pass *p, ry_tensor state, ry_tensor u, ry_tensor next) {
    ry_graph *g = p->g;
    const ry_spec *s = ry_spec_of(g, next);
    if (ry_is_null(p->fresh) || !s) return next;
    int64_t B = s->dim[0], K = s->dim[1], C = s->dim[2];
    ry_tensor at = ry_add(g, RY_RESHAPE(g, p->fresh, B, 1, 1), ry_iota(g, &RY_SHAPE(RY_I32, 1, K, 1), 1, 0, 1));
    return ry_gather(g, ry_concat(g, 2, (ry_tensor[]){state, u}, 1), ry_expand(g, at, 3, (int64_t[]){B, K, C}), 1);
}

ry_tensor conv_mix(const model_pass *p, int64_t i, ry_tensor x) {
    ry_graph *g = p->g;
    const model_config *c = &p->m->cfg;
    const model_pair *w = p->m->layers[i].at;
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], C = c->hidden_size;
    if (!ry_is_null(p->real)) x = ry_mul(g, x, RY_RESHAPE(g, p->real, B, T, 1));
    ry_tensor in = decoder_linear(p, &w[ROLE_CONV_IN], x), part[3];
    for (int k = 0; k < 3; k++) part[k] = ry_slice(g, in, 2, k * C, (k + 1) * C, 1);
    ry_tensor u = ry_mul(g, part[0], part[2]), taps = RY_RESHAPE(g, ry_use(g, w[ROLE_CONV].w), C, c->conv_taps);
    ry_var *kept = p->cache ? p->cache[2 * i] : NULL;
    bool one = kept && p->sequences > 1 && p->sequence >= 0;
    ry_tensor state = kept ? ry_use(g, kept) : RY_NULL;
    if (one) state = ry_slice(g, state, 0, p->sequence, p->sequence + 1, 1);
    ry_tensor y = ry_conv1d(g, u, taps, w[ROLE_CONV].b ? ry_use(g, w[ROLE_CONV].b) : RY_NULL, state);
    if (kept) {
        ry_tensor next = next_state(p, state, u, ry_out(g, y, 1));
        if (one)
            ry_set_rows(g, kept, next, ry_iota(g, &RY_SHAPE(RY_I32, 1), 0, (double)p->sequence, 1), 0);
        else
            ry_assign(g, kept, next);
    }
    return decoder_linear(p, &w[ROLE_CONV_OUT], ry_mul(g, part[1], y));
}
