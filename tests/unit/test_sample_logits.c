/* test_sample_logits.c - the next token: which may be drawn and how likely, against transformers' warpers; and that drawing follows it. */
#include "base/mem.h"
#include "base/os.h"
#include "gen/gen.h"
#include "io/json.h"
#include "unit/cm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 600 };

/* Chains of temperature, top-k, top-p and min-p, in this order, are ours; others need processors that are not here. */
static bool ours(const ry_json *chain, ry_sampling *o) {
    static const char *const names[] = {"temperature", "top_k", "top_p", "min_p"};
    size_t at = 0;
    *o = (ry_sampling){.temp = 1};
    for (size_t i = 0; i < ry_json_count(chain); i++) {
        const char *name = ry_json_as_text(ry_json_at(ry_json_at(chain, i), 0), NULL);
        double v = 0;
        assert_true(ry_json_as_real(ry_json_at(ry_json_at(chain, i), 1), &v));
        while (at < 4 && strcmp(names[at], name)) at++;
        switch (at) {
        case 0: o->temp = v; break;
        case 1: o->top_k = (int64_t)v; break;
        case 2: o->top_p = v; break;
        case 3: o->min_p = v; break;
        default: return false;
        }
    }
    return true;
}

static void test_transformers(void **state) {
    (void)state;
    ry_json *j;
    const char *data = os_env("RUSTY_TEST_DATA");
    char *path = os_join(data ? data : RUSTY_TEST_DATA_DEFAULT, "hf/sampling/ref.json");
    if (os_kind(path) != OS_FILE) {
        print_message("%s is not here: skipped\n", path);
        ry_mem_free(path);
        skip();
    }
    assert_ok(ry_json_read(&j, path, 0));
    ry_mem_free(path);
    const ry_json *cases = ry_json_find(j, "cases"), *logits = ry_json_find(j, "logits");
    int checked = 0, chained = 0;
    for (size_t k = 0; k < ry_json_count(cases); k++) {
        const ry_json *c = ry_json_at(cases, k), *chain = ry_json_find(c, "chain"), *kept = ry_json_find(c, "kept"),
                      *probs = ry_json_find(c, "probs");
        const ry_json *x =
            ry_json_find(ry_json_find(logits, ry_json_as_text(ry_json_find(c, "logits"), NULL)), "logits");
        ry_sampling o;
        float row[MOST];
        double p[MOST];
        gen_candidate *got;
        int64_t m, n = (int64_t)ry_json_count(x);
        if (!ours(chain, &o)) continue;
        for (int64_t i = 0; i < n; i++) {
            double v = -INFINITY;
            ry_json_as_real(ry_json_at(x, (size_t)i), &v);
            row[i] = (float)v;
            p[i] = -1;
        }
        assert_ok(gen_candidates(&got, &m, row, n, &o));
        for (int64_t i = 0; i < m; i++) p[got[i].id] = got[i].p;
        assert_int_equal(m, ry_json_count(kept));
        for (int64_t i = 0; i < m; i++) {
            int64_t id = 0;
            double want = 0;
            assert_true(ry_json_as_int(ry_json_at(kept, (size_t)i), &id) &&
                        ry_json_as_real(ry_json_at(probs, (size_t)i), &want));
            /* The logits are doubles there and floats here: a relative rounding of 2^-24 of a logit, times 1 / temperature */
            double tol = want * 30 * 0x1p-24 / (o.temp < 1 ? o.temp : 1) + 1e-12;
            if (!(fabs(p[id] - want) <= tol))
                print_error("case %zu: token %lld has %.12g, expected %.12g\n", k, (long long)id, p[id], want);
            assert_true(fabs(p[id] - want) <= tol);
        }
        ry_mem_free(got);
        checked++;
        chained += ry_json_count(chain) > 1;
    }
    print_message("%d cases, %d of them chains\n", checked, chained);
    assert_true(checked >= 80 && chained >= 10);
    ry_json_free(j);
}

/* Frequencies of many draws follow the probabilities; a seed and a position give one token. */
static void test_draws(void **state) {
    (void)state;
    enum { N = 12, DRAWS = 20000 };
    float x[N];
    int count[N] = {0};
    double p[N] = {0};
    gen_candidate *c;
    int64_t m;
    ry_sampling o = {.temp = 0.9, .top_k = 8, .top_p = 0.97, .min_p = 0.01, .seed = 3};
    for (int i = 0; i < N; i++) x[i] = sinf((float)i * 2.1f) * 3;
    assert_ok(gen_candidates(&c, &m, x, N, &o));
    assert_in_range(m, 3, 8);
    for (int64_t i = 0; i < m; i++) p[c[i].id] = c[i].p;
    ry_mem_free(c);
    for (uint64_t at = 0; at < DRAWS; at++) {
        int32_t id, again;
        assert_ok(ry_sample_logits(x, N, &o, at, &id));
        count[id]++;
        if (at % 1000) continue;
        assert_ok(ry_sample_logits(x, N, &o, at, &again));
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
    gen_candidate *c;
    int64_t m;
    assert_ok(ry_sample_logits(x, 4, &(ry_sampling){0}, 0, &id)); /* greedy: the first of equals */
    assert_int_equal(id, 1);
    assert_ok(gen_candidates(&c, &m, x, 4, &(ry_sampling){.temp = 1, .top_k = 1})); /* equals of the k-th stay */
    assert_int_equal(m, 2);
    ry_mem_free(c);
    assert_ok(gen_candidates(&c, &m, same, 3, &(ry_sampling){.temp = 1, .top_k = 2}));
    assert_int_equal(m, 3);
    ry_mem_free(c);
    for (uint64_t i = 0; i < 50; i++) {
        assert_ok(ry_sample_logits(x, 4, &(ry_sampling){.temp = 5, .seed = i}, i, &id));
        assert_in_range(id, 0, 2);
        assert_ok(ry_sample_logits(high, 3, &(ry_sampling){.temp = 1, .top_k = 2, .seed = i}, i, &id));
        assert_int_equal(id, 1);
        assert_ok(ry_sample_logits(x, 4, &(ry_sampling){.temp = 1e-30, .top_p = 0.5, .seed = i}, i, &id));
        assert_in_range(id, 1, 2);
        assert_ok(ry_sample_logits(
            nothing, 2, &(ry_sampling){.temp = 1, .top_k = 3, .top_p = 0.9, .min_p = 0.1, .seed = i}, i, &id));
        assert_int_equal(id, 0);
    }
    assert_is(RY_ENAN, ry_sample_logits(bad, 2, &(ry_sampling){.temp = 1}, 0, &id));
    assert_is(RY_ENAN, ry_sample_logits(bad, 2, &(ry_sampling){0}, 0, &id));
    assert_is(RY_EARG, ry_sample_logits(x, 0, &(ry_sampling){.temp = 1}, 0, &id));
    assert_is(RY_EARG, ry_sample_logits(x, 4, &(ry_sampling){.temp = -1}, 0, &id));
    assert_is(RY_EARG, ry_sample_logits(x, 4, &(ry_sampling){.temp = (double)NAN}, 0, &id));
    assert_is(RY_EARG, ry_sample_logits(x, 4, &(ry_sampling){.temp = 1, .top_p = -0.1}, 0, &id));
    assert_is(RY_EARG, ry_sample_logits(x, 4, &(ry_sampling){.temp = 1, .min_p = 1.5}, 0, &id));
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
            assert_ok(ry_sample_logits(x, V, &(ry_sampling){.temp = 0.8, .top_k = 40, .top_p = 0.95}, i, &id));
        took[equal] = os_now() - t;
    }
    print_message("top-k 40 of %d: %.2f ms, of equals %.2f ms\n", V, took[0] * 200, took[1] * 200);
    assert_true(took[1] < 1);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers), cmocka_unit_test(test_draws),
                                       cmocka_unit_test(test_edges), cmocka_unit_test(test_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
