/* nn.c - layers and the optimiser step as graphs. */
#include "nn/nn.h"
#include "core/op.h"
#include <rusty/ops.h>

ry_tensor nn_linear(ry_graph *g, ry_tensor x, ry_var *w, ry_var *b) { return ry_linear(g, x, ry_use(g, w), b ? ry_use(g, b) : RY_NULL); }

ry_tensor nn_activate(ry_graph *g, nn_act act, ry_tensor x) {
    switch (act) {
    case NN_SILU: return ry_silu(g, x);
    case NN_GELU: return ry_gelu(g, x);
    case NN_GELU_TANH: return ry_gelu_tanh(g, x);
    case NN_GELU_QUICK: return ry_gelu_quick(g, x);
    case NN_RELU2: return ry_square(g, ry_relu(g, x));
    case NN_SIGMOID: return ry_sigmoid(g, x);
    case NN_TANH: return ry_tanh(g, x);
    default: return ry_relu(g, x);
    }
}

ry_tensor nn_gated(ry_graph *g, nn_act act, ry_tensor a, ry_tensor b) {
    switch (act) {
    case NN_SILU: return ry_swiglu(g, a, b);
    case NN_GELU: return ry_geglu_erf(g, a, b);
    case NN_GELU_TANH: return ry_geglu(g, a, b);
    default: return ry_mul(g, nn_activate(g, act, a), b);
    }
}

void nn_update(ry_graph *g, const nn_optim *o, size_t n, ry_var *const *w, const ry_tensor *grad, ry_var *const *m, ry_var *const *v, ry_tensor *norm) {
    *norm = ry_global_norm(g, n, grad);
    ry_tensor scale = o->clip > 0 ? ry_clip_scale(g, *norm, o->clip) : RY_NULL;
    for (size_t i = 0; i < n; i++) {
        double decay = o->decay_all || ry_var_spec(w[i])->rank >= 2 ? o->weight_decay : 0;
        if (o->sgd)
            ry_sgd(g, w[i], grad[i], m ? m[i] : NULL, scale, &(ry_sgd_options){.momentum = o->momentum, .weight_decay = decay});
        else
            ry_adamw(g, w[i], grad[i], m[i], v[i], scale,
                     &(ry_adamw_options){.beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .weight_decay = decay, .step = 1});
    }
}
