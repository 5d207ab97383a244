/* test_sampling.c - the next token: penalties, biases and bans; that drawing follows the probabilities, with and without a draft; edges and
 * time. Which tokens may be drawn, and how likely, is golden/test_sampling.c's. */
#include "base/mem.h"
#include "base/os.h"
#include "gen/gen.h"
#include "unit/cm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one choice from x leaves: *c is the sampler's. */
static int64_t candidates(gen_sampler *s, const float *x, int64_t n, const ry_sampling *o) {
    gen_chain chain;
    gen_chain_of(&chain, o);
    assert_ok(gen_candidates(s, &(gen_scores){.logits = x, .n = n}, o, &chain));
    return s->n;
}

static ry_status choose(const float *x, int64_t n, const ry_sampling *o, uint64_t at, int32_t *id) {
    return ry_sample_logits(x, n, o, NULL, 0, at, id);
}

/* Frequencies of many draws follow the probabilities; a seed and a position give one token. */
static void test_draws(void **state) {
    (void)state;
    enum { N = 12, DRAWS = 20000 };
    float x[N];
    int count[N] = {0};
    double p[N] = {0};
    gen_sampler s = {0};
    ry_sampling o = {.temp = 0.9, .top_k = 8, .top_p = 0.97, .min_p = 0.01, .seed = 3};
    for (int i = 0; i < N; i++) x[i] = sinf((float)i * 2.1f) * 3;
    int64_t m = candidates(&s, x, N, &o);
    assert_in_range(m, 3, 8);
    for (int64_t i = 0; i < m; i++) p[s.c[i].id] = s.c[i].p;
    gen_sampler_free(&s);
    for (uint64_t at = 0; at < DRAWS; at++) {
        int32_t id, again;
        assert_ok(choose(x, N, &o, at, &id));
        count[id]++;
        if (at % 1000) continue;
        assert_ok(choose(x, N, &o, at, &again));
        assert_int_equal(id, again);
    }
    for (int i = 0; i < N; i++) {
        double sigma = sqrt(p[i] * (1 - p[i]) * DRAWS);
        assert_true(fabs(count[i] - p[i] * DRAWS) <= 4.5 * sigma);
        if (p[i] == 0) assert_int_equal(count[i], 0);
    }
}

static void test_edges(void **state) {
    (void)state;
    int32_t id = -1;
    float x[4] = {1, 3, 3, -INFINITY}, same[3] = {2, 2, 2}, nothing[2] = {-INFINITY, -INFINITY},
          high[3] = {0, INFINITY, 1}, bad[2] = {0, NAN};
    gen_sampler s = {0};
    assert_ok(choose(x, 4, &(ry_sampling){0}, 0, &id)); /* greedy: the first of equals */
    assert_int_equal(id, 1);
    assert_int_equal(candidates(&s, x, 4, &(ry_sampling){.temp = 1, .top_k = 1}), 2); /* equals of the k-th stay */
    assert_int_equal(candidates(&s, same, 3, &(ry_sampling){.temp = 1, .top_k = 2}), 3);
    gen_sampler_free(&s);
    for (uint64_t i = 0; i < 50; i++) {
        assert_ok(choose(x, 4, &(ry_sampling){.temp = 5, .seed = i}, i, &id));
        assert_in_range(id, 0, 2);
        assert_ok(choose(high, 3, &(ry_sampling){.temp = 1, .top_k = 2, .seed = i}, i, &id));
        assert_int_equal(id, 1);
        assert_ok(choose(x, 4, &(ry_sampling){.temp = 1e-30, .top_p = 0.5, .seed = i}, i, &id));
        assert_in_range(id, 1, 2);
        assert_ok(choose(nothing, 2, &(ry_sampling){.temp = 1, .top_k = 3, .top_p = 0.9, .min_p = 0.1, .seed = i}, i, &id));
        assert_int_equal(id, 0);
    }
    assert_is(RY_ENAN, choose(bad, 2, &(ry_sampling){.temp = 1}, 0, &id));
    assert_is(RY_ENAN, choose(bad, 2, &(ry_sampling){0}, 0, &id));
    assert_is(RY_EARG, choose(x, 0, &(ry_sampling){.temp = 1}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.temp = -1}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.temp = (double)NAN}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.temp = 1, .top_p = -0.1}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.temp = 1, .min_p = 1.5}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.repetition_penalty = -1}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.top_k = -1}, 0, &id));
    assert_is(RY_EARG, choose(x, 4, &(ry_sampling){.bias = &(ry_token_bias){4, 1}, .n_bias = 1}, 0, &id));
    assert_non_null(strstr(ry_message(), "token 4"));
}

/* Penalties, biases and bans, worked out by hand; they hold for greedy choice too. */
static void test_edits(void **state) {
    (void)state;
    const float x[5] = {2, -1, 3, 0.5f, -2};
    const int32_t history[] = {2, 1, 2, 0, 2, 1};
    gen_sampler s = {0};
    gen_chain chain;
    static const ry_token_bias bias[] = {{3, 4.5f}, {0, -INFINITY}};
    const int64_t banned[] = {3};
    static const struct {
        ry_sampling o;
        double want[5]; /* logits; 99: not there */
        int n_banned;
    } cases[] = {
        {{.temp = 1, .repetition_penalty = 2}, {1, -2, 1.5, 0.5, -2}, 0},
        {{.temp = 1, .presence_penalty = 0.5, .frequency_penalty = 0.25}, {1.25, -2, 1.75, 0.5, -2}, 0},
        {{.temp = 1, .frequency_penalty = 1, .penalty_window = 3}, {1, -2, 2, 0.5, -2}, 0},
        {{.temp = 1, .repetition_penalty = 2, .penalty_window = 1}, {2, -2, 3, 0.5, -2}, 0},
        {{.temp = 1, .bias = bias, .n_bias = 2}, {99, -1, 3, 5, -2}, 0},
        {{.temp = 1, .no_repeat_ngram = 3}, {2, -1, 99, 0.5, -2}, 0},  /* 2 1 2 came */
        {{.temp = 1, .no_repeat_ngram = 1}, {99, 99, 99, 0.5, -2}, 0}, /* nothing twice */
        {{.temp = 1, .no_repeat_ngram = 9}, {2, -1, 3, 0.5, -2}, 0},
        {{.temp = 1, .top_k = 2, .repetition_penalty = 4}, {0.5, 99, 0.75, 0.5, 99}, 0}, /* equals of the second */
        {{.temp = 1, .repetition_penalty = 2}, {1, -2, 1.5, 99, -2}, 1},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const gen_scores in = {.logits = x, .n = 5, .history = history, .n_history = 6, .banned = banned, .n_banned = cases[k].n_banned};
        double got[5] = {99, 99, 99, 99, 99}, best = -INFINITY;
        ry_sampling o = cases[k].o;
        int32_t id, top = -1;
        gen_chain_of(&chain, &o);
        assert_ok(gen_candidates(&s, &in, &o, &chain));
        for (int64_t i = 0; i < s.n; i++) got[s.c[i].id] = s.c[i].logit;
        for (int i = 0; i < 5; i++) {
            if (fabs(got[i] - cases[k].want[i]) > 1e-6) print_error("case %zu: token %d is %g, expected %g\n", k, i, got[i], cases[k].want[i]);
            assert_true(fabs(got[i] - cases[k].want[i]) <= 1e-6);
            if (cases[k].want[i] != 99 && cases[k].want[i] > best) best = cases[k].want[i], top = i;
        }
        o.temp = 0;
        assert_ok(gen_sample(&s, &in, &o, 0, &id));
        assert_int_equal(id, top);
    }
    gen_sampler_free(&s);
}

/* What speculation leaves follows the model's distribution, however wrong the draft's is. */
static void test_accept(void **state) {
    (void)state;
    enum { DRAWS = 40000, N = 6 };
    static const double p[N] = {0.4, 0.25, 0.2, 0.15, 0, 0}, q[N] = {0.1, 0.5, 0, 0.1, 0.3, 0};
    int count[N] = {0}, kept = 0;
    for (uint64_t at = 0; at < DRAWS; at++) {
        gen_candidate a[N], b[N];
        double u = gen_unit(1, 1, at);
        int32_t id = 0;
        int64_t n_b = 0;
        for (int i = 0; i < 4; i++) a[i] = (gen_candidate){.id = 3 - i, .p = p[3 - i]};
        for (int i = 0; i < N; i++)
            if (q[i] > 0) b[n_b++] = (gen_candidate){.id = i, .p = q[i]};
        while (id + 1 < N && (u -= q[id]) >= 0) id++;
        kept += gen_accept(a, 4, b, n_b, gen_unit(1, 2, at), gen_unit(1, 3, at), &id);
        count[id]++;
    }
    double both = 0;
    for (int i = 0; i < N; i++) {
        both += fmin(p[i], q[i]);
        assert_true(fabs(count[i] - p[i] * DRAWS) <= 4.5 * sqrt(p[i] * (1 - p[i]) * DRAWS));
    }
    assert_true(fabs(kept - both * DRAWS) <= 4.5 * sqrt(both * (1 - both) * DRAWS)); /* as often as it can be */
}

/* A vocabulary of equal logits (an untrained model) must not take longer than another. */
static void test_time(void **state) {
    (void)state;
    enum { V = 200000 };
    float *x = calloc(V, sizeof *x);
    int32_t id;
    double took[2];
    assert_non_null(x);
    for (int equal = 0; equal < 2; equal++) {
        for (int i = 0; i < V; i++) x[i] = equal ? 0 : (float)(((uint32_t)i * 2654435761u) >> 8) * 0x1p-20f;
        double t = os_now();
        for (uint64_t i = 0; i < 5; i++)
            assert_ok(choose(x, V, &(ry_sampling){.temp = 0.8, .top_k = 40, .top_p = 0.95}, i, &id));
        took[equal] = os_now() - t;
    }
    print_message("top-k 40 of %d: %.2f ms, of equals %.2f ms\n", V, took[0] * 200, took[1] * 200);
    assert_true(took[1] < 1);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_draws), cmocka_unit_test(test_edges), cmocka_unit_test(test_edits),
                                       cmocka_unit_test(test_accept), cmocka_unit_test(test_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
