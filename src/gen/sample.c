/* sample.c - choosing the next token: biases, penalties, bans and the warpers of transformers, in its order and with its rules.
 *
 * Owns the sampler's memory; knows no model. Penalties touch few tokens, so they are a list of edits beside the logits; top-k comes
 * from a heap, top-p and typical from sorted pieces: a vocabulary is never sorted whole unless all of it may be drawn. */
#include "base/rng.h"
#include "gen/gen.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const gen_warper_name[GEN_WARPERS] = {"temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"};

void gen_sampler_free(gen_sampler *s) {
    ry_mem_free(s->c);
    ry_mem_free(s->heap);
    ry_mem_free(s->edit_of);
    RY_VEC_FREE(&s->edits);
    *s = (gen_sampler){0};
}

static ry_status reserve(gen_sampler *s, int64_t n) {
    if (s->vocab == n) return RY_OK;
    gen_sampler_free(s);
    s->c = ry_mem_alloc(ry_mem_size((size_t)n, sizeof *s->c, 0));
    s->heap = ry_mem_alloc(ry_mem_size((size_t)n, sizeof *s->heap, 0));
    s->edit_of = ry_mem_zalloc(ry_mem_size((size_t)n, sizeof *s->edit_of, 0));
    if (!s->c || !s->heap || !s->edit_of) {
        gen_sampler_free(s);
        return RY_ENOMEM;
    }
    s->vocab = n;
    return RY_OK;
}

static ry_status check(const gen_scores *x, const ry_sampling *o) {
    if (x->n < 1) RY_FAIL(RY_EARG, "nothing to sample from");
    const double *const shares[] = {&o->min_p, &o->epsilon_cutoff, &o->eta_cutoff, &o->top_p, &o->typical_p};
    static const char *const names[] = {"min-p", "epsilon cutoff", "eta cutoff", "top-p", "typical-p"};
    for (int i = 0; i < 5; i++)
        if (!(*shares[i] >= 0 && *shares[i] <= 1)) RY_FAIL(RY_EARG, "%s is %g, it must be between 0 and 1", names[i], *shares[i]);
    if (!(o->temp >= 0)) RY_FAIL(RY_EARG, "the temperature must not be negative");
    if (!(o->repetition_penalty >= 0) || !isfinite(o->presence_penalty) || !isfinite(o->frequency_penalty))
        RY_FAIL(RY_EARG, "penalties must be finite, the repetition penalty above 0");
    if (o->top_k < 0 || o->penalty_window < 0 || o->no_repeat_ngram < 0)
        RY_FAIL(RY_EARG, "top-k, the window of penalties and the length of n-grams must not be negative");
    return RY_OK;
}

/* ---- edits ---- */

/* *out: the edit of id, or NULL for an id that has no logit. */
static ry_status edit(gen_sampler *s, const gen_scores *x, int64_t id, gen_edit **out) {
    *out = NULL;
    if (id < 0 || id >= x->n) return RY_OK;
    if (!s->edit_of[id]) {
        gen_edit *e = RY_PUSH(&s->edits);
        if (!e) return RY_ENOMEM;
        *e = (gen_edit){.id = (int32_t)id, .value = (double)x->logits[id]};
        s->edit_of[id] = (int32_t)s->edits.n;
    }
    *out = &s->edits.at[s->edit_of[id] - 1];
    return RY_OK;
}

static void forget_edits(gen_sampler *s) {
    for (size_t i = 0; i < s->edits.n; i++) s->edit_of[s->edits.at[i].id] = 0;
    s->edits.n = 0;
}

static ry_status ban(gen_sampler *s, const gen_scores *x, int64_t id) {
    gen_edit *e;
    RY_TRY(edit(s, x, id, &e));
    if (e) e->value = -INFINITY;
    return RY_OK;
}

/* Tokens that would repeat n ids in a row. */
static ry_status ban_ngrams(gen_sampler *s, const gen_scores *x, size_t n) {
    for (size_t i = 0; i + n <= x->n_history; i++)
        if (!memcmp(x->history + i, x->history + x->n_history - (n - 1), (n - 1) * sizeof *x->history)) RY_TRY(ban(s, x, x->history[i + n - 1]));
    return RY_OK;
}

static ry_status edit_scores(gen_sampler *s, const gen_scores *x, const ry_sampling *o) {
    double repeat = o->repetition_penalty > 0 ? o->repetition_penalty : 1;
    gen_edit *e;
    for (size_t i = 0; i < o->n_bias; i++) {
        RY_TRY(edit(s, x, o->bias[i].id, &e));
        if (!e) RY_FAIL(RY_EARG, "a bias is given for token %d, the vocabulary has %lld", o->bias[i].id, (long long)x->n);
        e->value += (double)o->bias[i].bias;
    }
    if (repeat != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0) {
        size_t window = o->penalty_window ? (size_t)o->penalty_window : SIZE_MAX, n = window < x->n_history ? window : x->n_history;
        for (size_t i = x->n_history - n; i < x->n_history; i++) {
            RY_TRY(edit(s, x, x->history[i], &e));
            if (e) e->count++;
        }
        for (size_t i = 0; i < s->edits.n; i++) {
            e = &s->edits.at[i];
            if (!e->count) continue;
            e->value = e->value < 0 ? e->value * repeat : e->value / repeat;
            e->value -= o->presence_penalty + o->frequency_penalty * (double)e->count;
        }
    }
    if (o->no_repeat_ngram) RY_TRY(ban_ngrams(s, x, (size_t)o->no_repeat_ngram));
    for (int i = 0; i < x->n_banned; i++) RY_TRY(ban(s, x, x->banned[i]));
    for (size_t i = 0; i < s->edits.n; i++)
        if (isnan(s->edits.at[i].value)) RY_FAIL(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
    return RY_OK;
}

/* ---- collecting ---- */

/* heap: the k largest so far, the least of them at the root. */
static void sink(double *heap, int64_t k, int64_t at, double x) {
    for (int64_t child; (child = 2 * at + 1) < k; at = child) {
        if (child + 1 < k && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= x) break;
        heap[at] = heap[child];
    }
    heap[at] = x;
}

/* The first i from `from` on whose score is not below low (NaN is not), or n: by pieces, which compilers turn into vectors. */
static int64_t next_from(const float *x, int64_t n, int64_t from, float low) {
    enum { PIECE = 32 };
    for (; from + PIECE <= n; from += PIECE) {
        int any = 0;
        for (int j = 0; j < PIECE; j++) any |= !(x[from + j] < low);
        if (any) break;
    }
    while (from < n && x[from] < low) from++;
    return from;
}

static float at_most(double x) { /* the largest float that is not above x */
    float f = (float)x;
    return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

/* The k-th largest score. */
static ry_status threshold(gen_sampler *s, const gen_scores *x, int64_t k, double *out) {
    const float *l = x->logits;
    for (int64_t i = 0; i < k; i++) s->heap[i] = -INFINITY;
    for (size_t i = 0; i < s->edits.n; i++)
        if (s->edits.at[i].value > s->heap[0]) sink(s->heap, k, 0, s->edits.at[i].value);
    for (int64_t i = next_from(l, x->n, 0, at_most(s->heap[0])); i < x->n; i = next_from(l, x->n, i + 1, at_most(s->heap[0]))) {
        if (isnan(l[i])) RY_FAIL(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
        if (!s->edit_of[i] && (double)l[i] > s->heap[0]) sink(s->heap, k, 0, (double)l[i]);
    }
    *out = s->heap[0];
    return RY_OK;
}

static void add(gen_sampler *s, int32_t id, double logit) { s->c[s->n++] = (gen_candidate){.id = id, .logit = logit}; }

/* All whose score is not -inf; of those the k best and their equals, where k > 0. */
static ry_status collect(gen_sampler *s, const gen_scores *x, int64_t k) {
    double low = -INFINITY;
    s->n = 0;
    s->weighed = false;
    if (k > 0 && k < x->n) RY_TRY(threshold(s, x, k, &low));
    for (int64_t i = next_from(x->logits, x->n, 0, at_most(low)); i < x->n; i = next_from(x->logits, x->n, i + 1, at_most(low))) {
        float v = x->logits[i];
        if (isnan(v)) RY_FAIL(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
        if (!s->edit_of[i] && v != -INFINITY && (double)v >= low) add(s, (int32_t)i, (double)v);
    }
    for (size_t i = 0; i < s->edits.n; i++)
        if (s->edits.at[i].value >= low && s->edits.at[i].value != -INFINITY) add(s, s->edits.at[i].id, s->edits.at[i].value);
    return RY_OK;
}

/* ---- warpers ---- */

static double top_logit(const gen_sampler *s) {
    double top = -INFINITY;
    for (int64_t i = 0; i < s->n; i++)
        if (s->c[i].logit > top) top = s->c[i].logit;
    return top;
}

static void weigh(gen_sampler *s) {
    double top = s->weighed ? 0 : top_logit(s), sum = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (!s->weighed) s->c[i].p = s->c[i].logit == top ? 1 : exp(s->c[i].logit - top);
        sum += s->c[i].p;
    }
    for (int64_t i = 0; i < s->n; i++) s->c[i].p /= sum;
    s->weighed = true;
}

static int by_key(const void *a, const void *b) {
    const gen_candidate *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->id > y->id ? -1 : x->id < y->id; /* as a stable ascending sort of the logits would leave them */
}

static void swap(gen_candidate *a, gen_candidate *b) {
    gen_candidate t = *a;
    *a = *b, *b = t;
}

/* The k of least key to the front, in order: quickselect (Hoare), then a sort of these. Equal keys are there in order of their ids. */
static void front(gen_candidate *c, int64_t n, int64_t k) {
    int64_t lo = 0, hi = n - 1, i = 1;
    while (i < n && by_key(&c[i - 1], &c[i]) < 0) i++;
    if (i >= n) return;
    for (i = 1; i < n && by_key(&c[i - 1], &c[i]) > 0;) i++;
    if (i >= n) { /* the wrong way round */
        for (; lo < hi; lo++, hi--) swap(&c[lo], &c[hi]);
        return;
    }
    if (k > n) k = n;
    while (k < n && lo < hi) { /* what belongs before k is in [0, hi], what belongs from k on in [lo, n) */
        int64_t mid = lo + (hi - lo) / 2, j = hi;
        i = lo;
        if (by_key(&c[mid], &c[lo]) < 0) swap(&c[mid], &c[lo]);
        if (by_key(&c[hi], &c[lo]) < 0) swap(&c[hi], &c[lo]);
        if (by_key(&c[hi], &c[mid]) < 0) swap(&c[hi], &c[mid]);
        gen_candidate pivot = c[mid];
        while (i <= j) {
            while (by_key(&c[i], &pivot) < 0) i++;
            while (by_key(&pivot, &c[j]) < 0) j--;
            if (i <= j) swap(&c[i++], &c[j--]);
        }
        if (k - 1 <= j) hi = j;
        else if (k - 1 >= i) lo = i;
        else break;
    }
    qsort(c, (size_t)k, sizeof *c, by_key);
}

/* The shortest run, by key, whose probability reaches mass; equals of its last one too, where asked. */
static void nucleus(gen_sampler *s, double mass, bool equals) {
    double below = 0;
    int64_t done = 0, i = 0;
    while (i < s->n && (below < mass || !i)) {
        if (i == done) {
            int64_t rest = s->n - done, more = done ? 15 * done : 64;
            if (2 * more > rest) more = rest;
            front(s->c + done, rest, more);
            done += more;
        }
        below += s->c[i++].p;
    }
    int64_t kept = i;
    for (; equals && kept && i < s->n; i++)
        if (s->c[i].key == s->c[kept - 1].key) swap(&s->c[i], &s->c[kept]), kept++;
    s->n = kept;
}

static void by_logit(gen_sampler *s) {
    for (int64_t i = 0; i < s->n; i++) s->c[i].key = -s->c[i].logit;
}

static void temperature(gen_sampler *s, double t) {
    double top = top_logit(s);
    for (int64_t i = 0; i < s->n; i++) s->c[i].logit = s->c[i].logit == top ? 0 : (s->c[i].logit - top) / t;
    s->weighed = false;
}

static void top_k(gen_sampler *s, double k) {
    if (!(k < (double)s->n)) return;
    by_logit(s);
    front(s->c, s->n, (int64_t)k);
    int64_t kept = (int64_t)k;
    for (int64_t i = kept; i < s->n; i++)
        if (s->c[i].key == s->c[(int64_t)k - 1].key) swap(&s->c[i], &s->c[kept]), kept++;
    s->n = kept;
}

static void top_p(gen_sampler *s, double p) {
    weigh(s);
    by_logit(s);
    nucleus(s, p, false);
}

static double entropy(gen_sampler *s) {
    double h = 0;
    weigh(s);
    for (int64_t i = 0; i < s->n; i++) h -= s->c[i].p > 0 ? s->c[i].p * log(s->c[i].p) : 0;
    return h;
}

/* Locally typical sampling (Meister et al. 2022): tokens whose information is nearest to the entropy. */
static void typical_p(gen_sampler *s, double mass) {
    double h = entropy(s), top = top_logit(s), sum = 0;
    for (int64_t i = 0; i < s->n; i++) sum += s->c[i].logit == top ? 1 : exp(s->c[i].logit - top);
    for (int64_t i = 0; i < s->n; i++) {
        double away = s->c[i].logit == top ? 0 : s->c[i].logit - top;
        s->c[i].key = fabs(log(sum) - away - h);
    }
    nucleus(s, mass, true);
}

/* Those of at least this probability, and the likeliest ones in any case. */
static void at_least(gen_sampler *s, double p) {
    double top = top_logit(s);
    int64_t kept = 0;
    weigh(s);
    for (int64_t i = 0; i < s->n; i++)
        if (s->c[i].p >= p || s->c[i].logit == top) s->c[kept++] = s->c[i];
    s->n = kept;
}

static void min_p(gen_sampler *s, double share) {
    double best = 0;
    weigh(s);
    for (int64_t i = 0; i < s->n; i++)
        if (s->c[i].p > best) best = s->c[i].p;
    at_least(s, share * best);
}

/* Truncation sampling (Hewitt et al. 2022). */
static void eta_cutoff(gen_sampler *s, double e) { at_least(s, fmin(e, sqrt(e) * exp(-entropy(s)))); }

static void (*const warpers[GEN_WARPERS])(gen_sampler *s, double value) = {temperature, top_k, top_p, min_p, typical_p, at_least, eta_cutoff};

static void link(gen_chain *c, gen_warper what, double value) {
    c->at[c->n].what = what;
    c->at[c->n++].value = value;
}

void gen_chain_of(gen_chain *c, const ry_sampling *o) {
    c->n = 0;
    if (o->temp > 0 && o->temp != 1) link(c, GEN_TEMPERATURE, o->temp);
    if (o->top_k > 0) link(c, GEN_TOP_K, (double)o->top_k);
    if (o->top_p > 0 && o->top_p < 1) link(c, GEN_TOP_P, o->top_p);
    if (o->min_p > 0) link(c, GEN_MIN_P, o->min_p);
    if (o->typical_p > 0 && o->typical_p < 1) link(c, GEN_TYPICAL_P, o->typical_p);
    if (o->epsilon_cutoff > 0 && o->epsilon_cutoff < 1) link(c, GEN_EPSILON, o->epsilon_cutoff);
    if (o->eta_cutoff > 0 && o->eta_cutoff < 1) link(c, GEN_ETA, o->eta_cutoff);
}

static ry_status prepare(gen_sampler *s, const gen_scores *x, const ry_sampling *o) {
    RY_TRY(check(x, o));
    RY_TRY(reserve(s, x->n));
    forget_edits(s);
    return edit_scores(s, x, o);
}

ry_status gen_candidates(gen_sampler *s, const gen_scores *x, const ry_sampling *o, const gen_chain *chain) {
    int first = 0;
    RY_TRY(prepare(s, x, o));
    while (first < chain->n && chain->at[first].what == GEN_TEMPERATURE) first++; /* it changes no order */
    double k = first < chain->n && chain->at[first].what == GEN_TOP_K ? chain->at[first].value : 0;
    RY_TRY(collect(s, x, k < (double)x->n ? (int64_t)k : 0));
    for (int i = 0; i < chain->n && s->n; i++) warpers[chain->at[i].what](s, chain->at[i].value);
    weigh(s);
    return RY_OK;
}

/* ---- drawing ---- */

double gen_unit(uint64_t seed, uint32_t stream, uint64_t position) {
    uint64_t word = (uint64_t)ry_rng_word(seed, stream, 2 * position) << 32 | ry_rng_word(seed, stream, 2 * position + 1);
    return (double)(word >> 11) * 0x1p-53;
}

static int32_t draw(const gen_candidate *c, int64_t n, double u) {
    int64_t i = 0;
    while (i + 1 < n && (u -= c[i].p) >= 0) i++;
    while (i > 0 && c[i].p == 0) i--; /* rounding may have passed the last that can come */
    return c[i].id;
}

/* The best score, the first of equals; NaN is refused. */
static ry_status best_token(const gen_sampler *s, const gen_scores *x, int32_t *id) {
    double best = -INFINITY;
    int64_t at = -1;
    for (size_t i = 0; i < s->edits.n; i++) {
        const gen_edit *e = &s->edits.at[i];
        if (e->value > best || (e->value == best && e->id < at)) best = e->value, at = e->id;
    }
    for (int64_t i = next_from(x->logits, x->n, 0, at_most(best)); i < x->n; i = next_from(x->logits, x->n, i + 1, at_most(best))) {
        double v = (double)x->logits[i];
        if (isnan(v)) RY_FAIL(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
        if (!s->edit_of[i] && (v > best || (v == best && (at < 0 || i < at)))) best = v, at = i;
    }
    *id = at < 0 ? 0 : (int32_t)at;
    return RY_OK;
}

ry_status gen_sample(gen_sampler *s, const gen_scores *x, const ry_sampling *o, uint64_t position, int32_t *id) {
    gen_chain chain;
    if (o->temp == 0) {
        RY_TRY(prepare(s, x, o));
        return best_token(s, x, id);
    }
    gen_chain_of(&chain, o);
    RY_TRY(gen_candidates(s, x, o, &chain));
    if (!s->n) return best_token(s, x, id);
    *id = draw(s->c, s->n, gen_unit(o->seed, 0x5A4D504Cu, position));
    return RY_OK;
}

ry_status ry_sample_logits(const float *logits, int64_t n, const ry_sampling *o, const int32_t *history, size_t n_history, uint64_t position, int32_t *id) {
    static const ry_sampling greedy;
    gen_sampler s = {0};
    ry_status st = gen_sample(&s, &(gen_scores){.logits = logits, .n = n, .history = history, .n_history = n_history}, o ? o : &greedy, position, id);
    gen_sampler_free(&s);
    return st;
}

/* ---- speculation ---- */

static double share_of(const gen_candidate *c, int64_t n, int32_t id) {
    for (int64_t i = 0; i < n; i++)
        if (c[i].id == id) return c[i].p;
    return 0;
}

static int by_id(const void *a, const void *b) {
    const gen_candidate *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

bool gen_accept(gen_candidate *p, int64_t n_p, gen_candidate *q, int64_t n_q, double u, double v, int32_t *id) {
    double has = share_of(p, n_p, *id), was = share_of(q, n_q, *id), sum = 0;
    if (u * was < has) return true;
    qsort(p, (size_t)n_p, sizeof *p, by_id);
    qsort(q, (size_t)n_q, sizeof *q, by_id);
    for (int64_t i = 0, k = 0; i < n_p; i++) {
        while (k < n_q && q[k].id < p[i].id) k++;
        double less = k < n_q && q[k].id == p[i].id ? q[k].p : 0;
        p[i].p = p[i].p > less ? p[i].p - less : 0;
        sum += p[i].p;
    }
    for (int64_t i = 0; i < n_p && sum > 0; i++) p[i].p /= sum;
    *id = draw(p, n_p, v); /* sum 0: equal distributions, which refuse nothing but by rounding */
    return false;
}
