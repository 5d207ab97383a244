/* sample.c - choosing the next token: temperature, top-k, top-p, min-p in the order and with the rules of transformers' warpers. */
#include "base/mem.h"
#include "base/rng.h"
#include <math.h>
#include <rusty.h>
#include <stdlib.h>

typedef struct candidate { float logit; int32_t id; double p; } candidate;

static int compare(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Sorts the best k to the front by a heap of size k: the vocabulary is large, k is small. */
static int64_t best(candidate *c, const float *logits, int64_t n, int64_t k) {
    int64_t m = 0;
    if (k <= 0 || k >= n) {
        for (; m < n; m++) c[m] = (candidate){.logit = logits[m], .id = (int32_t)m};
        qsort(c, (size_t)m, sizeof *c, compare);
        return m;
    }
    for (int64_t i = 0; i < n; i++) { /* the worst of the kept is at the root */
        candidate x = {.logit = logits[i], .id = (int32_t)i};
        int64_t at;
        if (m < k) {
            for (at = m++; at && compare(&x, &c[(at - 1) / 2]) > 0; at = (at - 1) / 2) c[at] = c[(at - 1) / 2];
        } else {
            if (compare(&x, &c[0]) > 0) continue;
            for (at = 0;;) {
                int64_t child = 2 * at + 1;
                if (child >= m) break;
                if (child + 1 < m && compare(&c[child + 1], &c[child]) > 0) child++;
                if (compare(&c[child], &x) <= 0) break;
                c[at] = c[child];
                at = child;
            }
        }
        c[at] = x;
    }
    qsort(c, (size_t)m, sizeof *c, compare);
    float least = c[m - 1].logit; /* equals of the k-th stay too */
    for (int64_t i = 0; i < n && m < n; i++)
        if (logits[i] == least) {
            bool kept = false;
            for (int64_t j = m - 1; j >= 0 && c[j].logit == least && !kept; j--) kept = c[j].id == (int32_t)i;
            if (!kept) c[m++] = (candidate){.logit = least, .id = (int32_t)i};
        }
    return m;
}

ry_status ry_sample_logits(const float *logits, int64_t n, const ry_sampling *o, uint64_t position, int32_t *id) {
    if (n < 1) RY_FAIL(RY_EARG, "nothing to sample from");
    int64_t top = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(logits[i])) RY_FAIL(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
        if (logits[i] > logits[top]) top = i;
    }
    if (o->temp < 0 || o->top_p < 0 || o->min_p < 0 || o->min_p > 1) RY_FAIL(RY_EARG, "temperature, top-p and min-p must not be negative");
    if (o->temp == 0 || isinf(logits[top])) {
        *id = (int32_t)top;
        return RY_OK;
    }
    candidate *c = ry_mem_alloc(ry_mem_size((size_t)n, sizeof *c, 0));
    if (!c) return RY_ENOMEM;
    int64_t m = best(c, logits, n, o->top_k);
    double sum = 0, kept = 0, target = 0;
    for (int64_t i = 0; i < m; i++) sum += c[i].p = exp(((double)c[i].logit - (double)c[0].logit) / o->temp);
    if (o->top_p > 0 && o->top_p < 1) { /* the smallest set whose probability reaches top_p */
        int64_t i = 0;
        for (double cum = 0; i < m && cum < o->top_p; i++) cum += c[i].p / sum;
        m = i;
    }
    if (o->min_p > 0) {
        int64_t i = 1;
        while (i < m && c[i].p >= o->min_p * c[0].p) i++;
        m = i;
    }
    for (int64_t i = 0; i < m; i++) kept += c[i].p;
    uint64_t word = (uint64_t)ry_rng_word(o->seed, 0x5A4D504Cu, 2 * position) << 32 | ry_rng_word(o->seed, 0x5A4D504Cu, 2 * position + 1);
    target = (double)(word >> 11) * 0x1p-53 * kept;
    int64_t i = 0;
    while (i + 1 < m && (target -= c[i].p) >= 0) i++;
    *id = c[i].id;
    ry_mem_free(c);
    return RY_OK;
}
