/* gen.h - between the files of this folder and their tests. */
#ifndef RY_GEN_GEN_H
#define RY_GEN_GEN_H
#include "base/mem.h"

typedef struct gen_candidate {
    double logit, p, key; /* p sums to 1 over the candidates; key: what they were ordered by last */
    int32_t id;
} gen_candidate;

typedef struct gen_edit {
    int32_t id;
    int64_t count; /* in the history that penalties look at */
    double value;  /* the logit after penalties and biases */
} gen_edit;

/* Memory that sampling needs again and again; zero at first, gen_sampler_free at last. After gen_candidates c[0..n) may be drawn. */
typedef struct gen_sampler {
    gen_candidate *c;
    int64_t n, vocab;
    bool weighed;      /* p holds */
    double *heap;      /* [vocab] */
    int32_t *edit_of;  /* [vocab]: place in edits + 1; 0: none */
    RY_VEC(gen_edit) edits;
} gen_sampler;
void gen_sampler_free(gen_sampler *s);

/* What is sampled from: the logits of one position, the ids before it, and ids that must not come (end tokens before min_tokens). */
typedef struct gen_scores {
    const float *logits;
    int64_t n;
    const int32_t *history;
    size_t n_history;
    const int64_t *banned;
    int n_banned;
} gen_scores;

/* The processors that narrow or reshape the distribution, under transformers' names, in its order. */
typedef enum { GEN_TEMPERATURE, GEN_TOP_K, GEN_TOP_P, GEN_MIN_P, GEN_TYPICAL_P, GEN_EPSILON, GEN_ETA, GEN_WARPERS } gen_warper;
extern const char *const gen_warper_name[GEN_WARPERS]; /* "temperature", "top_k", ... */
typedef struct gen_chain {
    int n;
    struct { gen_warper what; double value; } at[GEN_WARPERS];
} gen_chain;
void gen_chain_of(gen_chain *out, const ry_sampling *o); /* temperature 0 counts as 1 */

/* The tokens that may be drawn: bias, penalties and bans, then the chain. EARG, ENAN; ENOMEM. n is 0 where every logit is -inf. */
ry_status gen_candidates(gen_sampler *s, const gen_scores *x, const ry_sampling *o, const gen_chain *chain);
/* The likeliest token, or for temp > 0 one drawn by position's number of the seed's stream. */
ry_status gen_sample(gen_sampler *s, const gen_scores *x, const ry_sampling *o, uint64_t position, int32_t *id);
/* Number `position` of stream `stream` of the seed: [0,1), 53 bits. */
double gen_unit(uint64_t seed, uint32_t stream, uint64_t position);
/* Speculative sampling (Leviathan et al. 2023): candidates p of the model against a draft's q, which proposed *id. True: it stays;
 * false: *id was drawn anew, from max(0, p - q). Either way *id follows p. u, v: two numbers of [0,1). Both lists are used up. */
bool gen_accept(gen_candidate *p, int64_t n_p, gen_candidate *q, int64_t n_q, double u, double v, int32_t *id);

double gen_device_ms(const ry_session *s); /* of the last token's program, by the device's clock; 0: unknown */
#endif
