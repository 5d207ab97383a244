/* nn.h - graph-building functions that more than one model or trainer uses.  Builds graphs; owns nothing. */
#ifndef RY_NN_NN_H
#define RY_NN_NN_H
#include <rusty.h>

typedef enum { NN_SILU, NN_GELU, NN_GELU_TANH, NN_GELU_QUICK, NN_RELU, NN_RELU2, NN_SIGMOID, NN_TANH } nn_act; /* relu2: relu squared */

ry_tensor nn_linear(ry_graph *g, ry_tensor x, ry_var *w, ry_var *b); /* x [..,K], w [N,K], b [N] or NULL -> [..,N] */
ry_tensor nn_activate(ry_graph *g, nn_act act, ry_tensor x);
/* act(a) * b: SwiGLU, GeGLU and kin (Shazeer 2020, "GLU variants improve transformer"). */
ry_tensor nn_gated(ry_graph *g, nn_act act, ry_tensor a, ry_tensor b);

/* One update of many variables from their gradients. */
typedef struct nn_optim {
    bool sgd;                         /* else AdamW */
    double beta1, beta2, eps, weight_decay, momentum;
    bool decay_all;                   /* else only tensors of rank 2 and more */
    double clip;                      /* global norm; <= 0: none */
} nn_optim;
/* w, grad, m, v: n each (v NULL for sgd; m NULL for sgd without momentum). *norm: the gradients' norm before clipping. lr and step are
 * dynamic ("lr", "step"). Without clipping the norm is computed all the same: it belongs to the report. */
void nn_update(ry_graph *g, const nn_optim *o, size_t n, ry_var *const *w, const ry_tensor *grad, ry_var *const *m, ry_var *const *v, ry_tensor *norm);
#endif
