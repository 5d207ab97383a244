/* test_sampling.c - which tokens may be drawn and how likely they are, against transformers' logits processors, alone and chained. */
#include "gen/gen.h"
#include "golden/folder.h"
#include "unit/cm.h"
#include <stdlib.h>

/* The penalties and bans go to o, the others into the chain, as they come. False: a processor that Rusty does not have. */
static bool read_chain(const ry_json *list, ry_sampling *o, gen_chain *chain) {
    *o = (ry_sampling){.temp = 1};
    chain->n = 0;
    for (size_t i = 0; i < ry_json_count(list); i++) {
        const char *name = ry_json_as_text(ry_json_at(ry_json_at(list, i), 0), NULL);
        double v = 0;
        assert_true(name && ry_json_as_real(ry_json_at(ry_json_at(list, i), 1), &v));
        int w = 0;
        while (w < GEN_WARPERS && strcmp(name, gen_warper_name[w])) w++;
        if (w < GEN_WARPERS && chain->n < GEN_WARPERS) {
            chain->at[chain->n].what = (gen_warper)w;
            chain->at[chain->n++].value = v;
        } else if (!strcmp(name, "repetition_penalty")) {
            o->repetition_penalty = v;
        } else if (!strcmp(name, "no_repeat_ngram_size")) {
            o->no_repeat_ngram = (int64_t)v;
        } else {
            print_message("%s is not here: skipped\n", name);
            return false;
        }
    }
    return true;
}

/* Where one processor stands alone or all stand in Rusty's order, the options give the same chain. */
static void check_options(const gen_chain *want, ry_sampling o) {
    gen_chain got;
    for (int i = 0; i < want->n; i++) {
        double v = want->at[i].value;
        if (i && want->at[i].what <= want->at[i - 1].what) return;
        switch (want->at[i].what) {
        case GEN_TEMPERATURE: o.temp = v; break;
        case GEN_TOP_K: o.top_k = (int64_t)v; break;
        case GEN_TOP_P: o.top_p = v; break;
        case GEN_MIN_P: o.min_p = v; break;
        case GEN_TYPICAL_P: o.typical_p = v; break;
        case GEN_EPSILON: o.epsilon_cutoff = v; break;
        default: o.eta_cutoff = v;
        }
    }
    gen_chain_of(&got, &o);
    for (int i = 0, k = 0; i < want->n; i++) {
        double v = want->at[i].value;
        bool idle = (want->at[i].what == GEN_MIN_P && v == 0) || (want->at[i].what != GEN_TOP_K && want->at[i].what != GEN_MIN_P && v == 1);
        if (idle) continue;
        assert_true(k < got.n && got.at[k].what == want->at[i].what && got.at[k].value == v);
        k++;
    }
}

static void test_transformers(void **state) {
    (void)state;
    char path[512];
    ry_json *j;
    gen_sampler s = {0};
    int checked = 0, chained = 0;
    if (!test_data(path, sizeof path, "hf/sampling/ref.json")) skip();
    assert_ok(ry_json_read(&j, path, 0));
    const ry_json *cases = ry_json_find(j, "cases"), *logits = ry_json_find(j, "logits");
    for (size_t k = 0; k < ry_json_count(cases); k++) {
        const ry_json *c = ry_json_at(cases, k), *kept = ry_json_find(c, "kept"), *probs = ry_json_find(c, "probs");
        const ry_json *from = ry_json_find(logits, ry_json_as_text(ry_json_find(c, "logits"), NULL)), *x = ry_json_find(from, "logits"),
                      *past = ry_json_find(from, "history");
        int64_t n = (int64_t)ry_json_count(x);
        size_t n_past = ry_json_count(past);
        ry_sampling o;
        gen_chain chain;
        float *row = malloc((size_t)n * sizeof *row + 1);
        double *p = malloc((size_t)n * sizeof *p + 1), coldest = 1;
        int32_t *history = malloc(n_past * sizeof *history + 1);
        assert_true(row && p && history);
        if (!read_chain(ry_json_find(c, "chain"), &o, &chain)) goto next;
        for (int64_t i = 0; i < n; i++) {
            double v = -INFINITY;
            ry_json_as_real(ry_json_at(x, (size_t)i), &v);
            row[i] = (float)v;
            p[i] = -1;
        }
        for (size_t i = 0; i < n_past; i++) {
            int64_t id = -1;
            assert_true(ry_json_as_int(ry_json_at(past, i), &id));
            history[i] = (int32_t)id;
        }
        check_options(&chain, o);
        for (int i = 0; i < chain.n; i++)
            if (chain.at[i].what == GEN_TEMPERATURE && chain.at[i].value < coldest) coldest = chain.at[i].value;
        assert_ok(gen_candidates(&s, &(gen_scores){.logits = row, .n = n, .history = history, .n_history = n_past}, &o, &chain));
        for (int64_t i = 0; i < s.n; i++) p[s.c[i].id] = s.c[i].p;
        if (s.n != (int64_t)ry_json_count(kept)) print_error("case %zu keeps %lld, expected %zu\n", k, (long long)s.n, ry_json_count(kept));
        assert_int_equal(s.n, ry_json_count(kept));
        for (int64_t i = 0; i < s.n; i++) {
            int64_t id = -1;
            double want = 0;
            assert_true(ry_json_as_int(ry_json_at(kept, (size_t)i), &id) && id >= 0 && id < n && ry_json_as_real(ry_json_at(probs, (size_t)i), &want));
            /* The logits are doubles there and floats here: a relative rounding of 2^-24 of a logit, times 1 / temperature. */
            double tol = want * 30 * 0x1p-24 / coldest + 1e-12;
            if (!(fabs(p[id] - want) <= tol)) print_error("case %zu: token %lld has %.12g, expected %.12g\n", k, (long long)id, p[id], want);
            assert_true(fabs(p[id] - want) <= tol);
        }
        checked++;
        chained += ry_json_count(ry_json_find(c, "chain")) > 1;
    next:
        free(row), free(p), free(history);
    }
    print_message("%d cases, %d of them chains\n", checked, chained);
    assert_true(checked > 0);
    gen_sampler_free(&s);
    ry_json_free(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
