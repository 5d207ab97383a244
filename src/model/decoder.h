/* decoder.h - between the files that build the decoder's graph: latent attention, experts and convolutions have files of their own. */
#ifndef RY_MODEL_DECODER_H
#define RY_MODEL_DECODER_H
#include "model/model.h"

/* x [..,K] -> [..,N] with a matrix of the model. */
ry_tensor decoder_linear(const model_pass *p, const model_pair *w, ry_tensor x);
ry_tensor decoder_norm(const model_pass *p, const model_pair *w, ry_tensor x);
/* act(gate) up, as the family has it. */
ry_tensor decoder_mlp(const model_pass *p, const model_pair *gate, const model_pair *up, const model_pair *down,
                      ry_tensor x);
/* New keys or values [B,T,G,D] into the layer's cache; what attention reads. Without a cache x itself. */
ry_tensor decoder_cache(const model_pass *p, int64_t layer, int which, ry_tensor x);
/* q [B,T,H,D], k and v as they came from decoder_cache -> [B,T,H*Dv] */
ry_tensor decoder_attend(const model_pass *p, int64_t layer, ry_tensor q, ry_tensor k, ry_tensor v);
ry_tensor decoder_rope(const model_pass *p, int64_t layer, ry_tensor x);

ry_status latent_declare(ry_model *m, int64_t layer);
ry_tensor latent_attention(const model_pass *p, int64_t layer, ry_tensor x);
ry_status experts_declare(ry_model *m, int64_t layer);
ry_tensor experts_mlp(const model_pass *p, int64_t layer, ry_tensor x);
ry_status conv_declare(ry_model *m, int64_t layer);
ry_tensor conv_mix(const model_pass *p, int64_t layer, ry_tensor x);
#endif
