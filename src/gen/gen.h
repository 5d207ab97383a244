/* gen.h - between the files of this folder and their tests. */
#ifndef RY_GEN_GEN_H
#define RY_GEN_GEN_H
#include "base/status.h"

typedef struct gen_candidate {
    float logit;
    int32_t id;
    double p; /* sums to 1 over the candidates */
} gen_candidate;
/* The tokens that may be drawn: what temperature (0 counts as 1), top-k, top-p and min-p leave of those whose logit is not -inf.
 * *out is the caller's (ry_mem_free). EARG, ENAN; ENOMEM. */
ry_status gen_candidates(gen_candidate **out, int64_t *kept, const float *logits, int64_t n, const ry_sampling *o);
double gen_device_ms(const ry_session *s); /* of the last token's program, by the device's clock; 0: unknown */
#endif
