/* sample.c - choosing the next token: temperature, top-k, top-p, min-p in the order and with the rules of transformers' warpers. */
#include "base/mem.h"
#include "base/rng.h"
#include "gen/gen.h"
#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const gen_candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The first m of c are a heap with its worst at the root, but for position `at`: x belongs there or below. */
static void sink(gen_candidate *c, int64_t m, int64_t at, gen_candidate x) {
    for (int64_t child; (child = 2 * at + 1) < m; at = child) {
        if (child + 1 < m && compare(&c[child + 1], &c[child]) > 0) child++;
        if (compare(&c[child], &x) <= 0) break;
        c[at] = c[child];
    }
    c[at] = x;
}

/* The best k of the n to the front, in order, and those that equal the last of them; by a heap of size k, for the vocabulary is
 * large and k small. Returns how many. */
static int64_t best(gen_candidate *c, int64_t n, int64_t k) {
    if (k < n) {
        for (int64_t i = k / 2; i-- > 0;) sink(c, k, i, c[i]);
        for (int64_t i = k; i < n; i++) {
            if (compare(&c[i], &c[0]) > 0) continue;
            gen_candidate worst = c[0];
            sink(c, k, 0, c[i]);
            c[i] = worst; /* it may equal the k-th */
        }
    } else {
        k = n;
    }
    qsort(c, (size_t)k, sizeof *c, compare);
    int64_t m = k;
    for (int64_t i = k; i < n; i++)
        if (c[i].logit == c[k - 1].logit) {
            gen_candidate x = c[i];
            c[i] = c[m];
            c[m++] = x;
        }
    return m;
}

static ry_status check(const float *logits, int64_t n, const ry_sampling *o) {
    if (n < 1) RY_FAIL(RY_EARG, "nothing to sample from");
    for (int64_t i = 0; i < n; i++)
        if (isnan(logits[i])) RY_FAIL(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
    if (!(o->temp >= 0 && o->top_p >= 0 && o->min_p >= 0 && o->min_p <= 1))
        RY_FAIL(RY_EARG, "temperature and top-p must not be negative, min-p must be between 0 and 1");
    return RY_OK;
}

ry_status gen_candidates(gen_candidate **out, int64_t *kept, const float *logits, int64_t n, const ry_sampling *o) {
    RY_TRY(check(logits, n, o));
    bool cut = o->top_p > 0 && o->top_p < 1;
    double temp = o->temp > 0 ? o->temp : 1, sum = 0;
    float top = -INFINITY;
    gen_candidate *c = ry_mem_alloc(ry_mem_size((size_t)n, sizeof *c, 0));
    if (!c) return RY_ENOMEM;
    int64_t m = 0, i;
    for (i = 0; i < n; i++) {
        if (logits[i] == -INFINITY) continue;
        c[m++] = (gen_candidate){.logit = logits[i], .id = (int32_t)i};
        if (logits[i] > top) top = logits[i];
    }
    if (m && (o->top_k > 0 || cut)) m = best(c, m, o->top_k > 0 ? o->top_k : m);
    for (i = 0; i < m; i++) sum += c[i].p = c[i].logit == top ? 1 : exp(((double)c[i].logit - (double)top) / temp);
    if (cut) { /* the smallest set whose probability reaches top_p */
        double below = 0;
        for (i = 0; i < m && below < o->top_p * sum; i++) below += c[i].p;
        m = i;
    }
    if (o->min_p > 0) {
        int64_t left = 0;
        for (i = 0; i < m; i++)
            if (c[i].p >= o->min_p) c[left++] = c[i]; /* the best has 1 */
        m = left;
    }
    for (sum = 0, i = 0; i < m; i++) sum += c[i].p;
    for (i = 0; i < m; i++) c[i].p /= sum;
    *out = c;
    *kept = m;
    return RY_OK;
}

static int32_t best_token(const float *logits, int64_t n) {
    int64_t top = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    return (int32_t)top;
}

ry_status ry_sample_logits(const float *logits, int64_t n, const ry_sampling *o, uint64_t position, int32_t *id) {
    gen_candidate *c = NULL;
    int64_t m = 0, i = 0;
    if (o->temp == 0) {
        RY_TRY(check(logits, n, o));
        *id = best_token(logits, n);
        return RY_OK;
    }
    RY_TRY(gen_candidates(&c, &m, logits, n, o));
    uint64_t word = (uint64_t)ry_rng_word(o->seed, 0x5A4D504Cu, 2 * position) << 32 |
                    ry_rng_word(o->seed, 0x5A4D504Cu, 2 * position + 1);
    double target = (double)(word >> 11) * 0x1p-53;
    while (i + 1 < m && (target -= c[i].p) >= 0) i++;
    while (i > 0 && c[i].p == 0) i--; /* rounding may have passed the last that can come */
    *id = m ? c[i].id : best_token(logits, n);
    ry_mem_free(c);
    return RY_OK;
}
