/* test_session.c - sessions against plain passes: caches of every dtype, that grow, of several sequences; dropping ends; speculation;
 * what is saved and loaded. */
#include "gen/gen.h"
#include "io/safetensors.h"
#include "unit/distance.h"
#include "unit/io_help.h"
#include <math.h>
#include <stdlib.h>

#define FOLDER "test_session.dir"
enum { V = 40 };
static const char tiny[] =
    "hidden_size: 64\nintermediate_size: 48\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 2\nhead_dim: 32\n"
    "vocab_size: 40\nmax_position_embeddings: 1024\nrope_theta: 10000.0\ninitializer_range: 0.3\n";
static const char small[] = "hidden_size: 16\nintermediate_size: 16\nnum_hidden_layers: 1\nnum_attention_heads: 2\nnum_key_value_heads: 1\n"
                            "vocab_size: 40\nmax_position_embeddings: 1024\ninitializer_range: 0.3\n";
static ry_device *dev;
static ry_model *m;

static int setup(void **state) {
    (void)state;
    fresh_folder(FOLDER);
    assert_ok(ry_device_open(&dev, "cpu", &(ry_device_options){.threads = 2}));
    assert_ok(ry_model_init_text(&m, dev, tiny, 0, 3, NULL));
    return 0;
}
static int teardown(void **state) {
    (void)state;
    ry_model_close(m);
    ry_device_close(dev);
    return os_remove_tree(FOLDER) == RY_OK ? 0 : 1;
}

static void some_ids(int32_t *ids, int64_t n, int from) {
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)((i * i * 7 + i * 13 + from * 5 + 3) % V);
}
static ry_session *session(ry_model *of, int64_t context, int64_t batch, ry_dtype cache) {
    ry_session *s = NULL;
    assert_ok(ry_session_open(&s, of, &(ry_session_options){.context = context, .batch = batch, .cache = cache}));
    return s;
}
/* Logits [n,V] of a pass without cache. */
static float *plain(const int32_t *ids, int64_t n) {
    float *y = malloc((size_t)(n * V) * sizeof *y);
    ry_graph *g;
    assert_non_null(y);
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, n), "ids"), t = ry_cast(g, ry_model_logits(g, m, in), RY_F32);
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){in, ids, (size_t)n * sizeof *ids}));
    assert_ok(ry_read(g, t, y, (size_t)(n * V) * sizeof *y));
    ry_graph_close(g);
    return y;
}

/* Lengths around those of runs and of caches, in pieces, for every dtype. */
static void test_caches(void **state) {
    (void)state;
    enum { N = 700 };
    static const struct {
        ry_dtype t;
        double tol;
    } kinds[] = {{RY_NONE, 1e-4}, {RY_F16, 0.1}, {RY_BF16, 0.6}, {RY_Q8_0, 1.2}};
    static const int64_t pieces[] = {1, 1, 3, 60, 64, 127, 1, 255, 100, 88};
    int32_t ids[N];
    some_ids(ids, N, 0);
    float *want = plain(ids, N), *got = malloc(N * V * sizeof *got);
    double size = 0;
    assert_non_null(got);
    for (int64_t i = 0; i < N * V; i++) size = fmax(size, fabs((double)want[i]));
    assert_true(size > 2); /* so that the tolerances say something */
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        ry_session *s = session(m, N, 0, kinds[k].t);
        int64_t at = 0;
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; at += pieces[i++]) assert_ok(ry_session_feed(s, ids + at, (size_t)pieces[i], got + at * V, true));
        assert_int_equal(at, N);
        double d = distance(want, got, N * V);
        print_message("%s: differs by %.2g of %.2g\n", ry_dtype_name(kinds[k].t ? kinds[k].t : RY_F32), d, size);
        assert_true(d < kinds[k].tol && (kinds[k].t == RY_NONE || d > 1e-5));
        assert_is(RY_EARG, ry_session_feed(s, ids, 1, NULL, false)); /* full */
        ry_session_close(s);
    }
    ry_session *s = NULL;
    assert_is(RY_EDTYPE, ry_session_open(&s, m, &(ry_session_options){.cache = RY_I8}));
    assert_says("i8", "q8_0");
    assert_is(RY_EARG, ry_session_open(&s, m, &(ry_session_options){.context = -1}));
    assert_is(RY_EARG, ry_session_open(&s, m, &(ry_session_options){.batch = 100000}));
    ry_model *odd;
    assert_ok(ry_model_init_text(&odd, dev, small, 0, 1, NULL));
    assert_is(RY_EUNSUPPORTED, ry_session_open(&s, odd, &(ry_session_options){.cache = RY_Q8_0}));
    assert_says("heads", "f16");
    ry_model_close(odd);
    assert_null(s);
    free(want), free(got);
}

/* A session of short use holds little, however long it may become. */
static void test_growth(void **state) {
    (void)state;
    int32_t ids[20];
    some_ids(ids, 20, 1);
    size_t before = ry_mem_live();
    ry_session *s = session(m, (int64_t)1 << 20, 0, RY_F32);
    assert_ok(ry_session_feed(s, ids, 20, NULL, false));
    assert_in_range(ry_mem_live() - before, 1, 4 << 20);
    ry_session_close(s);
}

/* Sequences of their own lengths, fed one by one, speaking together: each as it would alone. */
static void test_batch(void **state) {
    (void)state;
    enum { B = 3, N = 300, STEPS = 12 };
    static const int64_t length[B] = {5, 250, 64};
    static const ry_sampling how = {.temp = 0.9, .top_k = 12, .seed = 4, .repetition_penalty = 1.2};
    int32_t ids[B][N], alone[B][STEPS], got[B];
    float last[B][V], together[V];
    ry_session *all = session(m, N, B, RY_F32);
    for (int b = 0; b < B; b++) {
        some_ids(ids[b], N, b);
        ry_session *s = session(m, N, 0, RY_F32);
        assert_ok(ry_session_feed(s, ids[b], (size_t)length[b], NULL, false));
        for (int i = 0; i < STEPS; i++) assert_ok(ry_session_next(s, b == 1 ? NULL : &how, &alone[b][i]));
        assert_ok(ry_session_feed(s, NULL, 0, last[b], false));
        ry_session_close(s);
    }
    assert_is(RY_EARG, ry_session_select(all, B));
    for (int b = B; b-- > 0;) {
        assert_ok(ry_session_select(all, b));
        assert_ok(ry_session_feed(all, ids[b], (size_t)length[b], NULL, false));
    }
    for (int i = 0, mine[B] = {0}; mine[0] < STEPS || mine[1] < STEPS || mine[2] < STEPS; i++) { /* now and then one pauses */
        static const ry_sampling greedy;
        const ry_sampling *each[B];
        for (int b = 0; b < B; b++) each[b] = mine[b] == STEPS || (i + b) % 4 == 3 ? NULL : b == 1 ? &greedy : &how;
        assert_ok(ry_session_next_each(all, each, got));
        for (int b = 0; b < B; b++)
            if (each[b]) assert_int_equal(got[b], alone[b][mine[b]++]);
            else assert_int_equal(got[b], -1);
    }
    for (int b = 0; b < B; b++) {
        size_t n;
        assert_ok(ry_session_select(all, b));
        assert_ok(ry_session_feed(all, NULL, 0, together, false));
        assert_true(distance(last[b], together, V) < 1e-4);
        const int32_t *have = ry_session_ids(all, &n);
        assert_int_equal(n, length[b] + STEPS);
        assert_memory_equal(have, ids[b], (size_t)length[b] * sizeof *have);
    }
    ry_session_close(all);
}

static void test_rewind(void **state) {
    (void)state;
    enum { N = 90 };
    int32_t ids[N], other[N], id, again;
    float want[V], got[V];
    size_t kept;
    some_ids(ids, N, 0);
    some_ids(other, N, 1);
    memcpy(other, ids, 30 * sizeof *ids);
    other[30] = (ids[30] + 1) % V;
    ry_session *s = session(m, N, 0, RY_F32), *t = session(m, N, 0, RY_F32);
    assert_ok(ry_session_feed(s, ids, N, NULL, false));
    assert_ok(ry_session_feed(t, other, N, want, false));
    assert_ok(ry_session_prompt(s, other, N, &kept)); /* what both begin with stays */
    assert_int_equal(kept, 30);
    assert_ok(ry_session_feed(s, NULL, 0, got, false));
    assert_true(distance(want, got, V) < 1e-4);
    assert_ok(ry_session_prompt(s, other, N, &kept));
    assert_int_equal(kept, N);
    assert_ok(ry_session_rewind(s, 50));
    assert_ok(ry_session_prompt(s, other, 50, &kept)); /* the logits of its end are wanted */
    assert_int_equal(kept, 49);
    assert_ok(ry_session_next(s, NULL, &id));
    assert_ok(ry_session_rewind(s, 50)); /* the sampled token is dropped, and the same one comes again */
    assert_ok(ry_session_next(s, NULL, &again));
    assert_int_equal(id, again);
    assert_is(RY_EARG, ry_session_rewind(s, 51 + 1));
    assert_is(RY_EARG, ry_session_rewind(s, -1));
    assert_is(RY_EARG, ry_session_prompt(s, other, 0, &kept));
    ry_session_close(s), ry_session_close(t);
}

/* End tokens wait for min_tokens; penalties look at what was fed and said. */
static void test_rules(void **state) {
    (void)state;
    int32_t ids[4], id, seen[V] = {0};
    some_ids(ids, 4, 2);
    ry_session *s = session(m, 64, 0, RY_F32);
    assert_ok(ry_session_feed(s, ids, 4, NULL, false));
    for (int i = 0; i < 4; i++) seen[ids[i]] = 1;
    for (int i = 0; i < 30; i++) {
        assert_ok(ry_session_next(s, &(ry_sampling){.no_repeat_ngram = 1}, &id));
        assert_int_equal(seen[id], 0);
        seen[id] = 1;
    }
    ry_session_close(s);
}

/* ---- speculation ---- */

static void test_speculation(void **state) {
    (void)state;
    enum { STEPS = 60 };
    static const ry_sampling how[] = {{0}, {.repetition_penalty = 1.3}, {.temp = 0.8, .top_k = 10, .seed = 3}, {.temp = 1.1, .top_p = 0.9, .seed = 9}};
    ry_model *draft;
    int32_t ids[9], want[STEPS], id;
    float end[V], got[V];
    some_ids(ids, 9, 4);
    assert_ok(ry_model_init_text(&draft, dev, small, 0, 3, NULL));
    for (size_t k = 0; k < sizeof how / sizeof *how; k++)
        for (int self = 0; self < 2; self++) {
            ry_session *s = session(m, STEPS + 12, 0, RY_F32);
            ry_draft_info info;
            assert_ok(ry_session_feed(s, ids, 9, NULL, false));
            for (int i = 0; i < STEPS; i++) assert_ok(ry_session_next(s, &how[k], &want[i]));
            assert_ok(ry_session_feed(s, NULL, 0, end, false));
            ry_session_reset(s);
            assert_ok(ry_session_draft(s, self ? m : draft, 5));
            assert_ok(ry_session_feed(s, ids, 9, NULL, false));
            for (int i = 0; i < STEPS; i++) {
                assert_ok(ry_session_next(s, &how[k], &id));
                assert_in_range(id, 0, V - 1);
                if (self || how[k].temp == 0) assert_int_equal(id, want[i]); /* drawn by the same numbers */
            }
            assert_ok(ry_session_feed(s, NULL, 0, got, false)); /* in the middle of a round: the rest of it is dropped */
            if (self || how[k].temp == 0) assert_true(distance(end, got, V) < 1e-4);
            ry_session_draft_info(s, &info);
            if (self) assert_int_equal(info.accepted, info.proposed);
            assert_true(info.runs < (self ? STEPS / 4 : STEPS + 1) && info.accepted <= info.proposed);
            while (ry_session_next(s, &how[k], &id) == RY_OK) {} /* to the end of the context */
            assert_says("context", "full");
            ry_session_close(s);
        }
    ry_session *s = session(m, 64, 2, RY_F32);
    assert_is(RY_EUNSUPPORTED, ry_session_draft(s, draft, 3));
    ry_session_close(s);
    s = session(m, 64, 0, RY_F32);
    assert_is(RY_EARG, ry_session_draft(s, draft, 0));
    ry_session_close(s);
    ry_model_close(draft);
}

/* Tokens after a wrong draft's proposals come as often as the model says. */
static void test_speculated_distribution(void **state) {
    (void)state;
    enum { DRAWS = 4000 };
    ry_model *draft;
    int32_t ids[6] = {1, 2, 3, 4, 5}, id;
    int count[V] = {0};
    double p[V] = {0}, miss = 0;
    gen_sampler g = {0};
    gen_chain chain;
    float logits[V], first[V];
    ry_sampling how = {.temp = 1, .top_k = 6};
    assert_ok(ry_model_init_text(&draft, dev, small, 0, 5, NULL));
    ry_session *s = session(m, 16, 0, RY_F32);
    /* The second token's distribution: over all first ones. */
    gen_chain_of(&chain, &how);
    assert_ok(ry_session_feed(s, ids, 5, first, false));
    assert_ok(gen_candidates(&g, &(gen_scores){.logits = first, .n = V}, &how, &chain));
    int64_t n = g.n;
    gen_candidate c[V];
    memcpy(c, g.c, (size_t)n * sizeof *c);
    for (int64_t i = 0; i < n; i++) {
        assert_ok(ry_session_rewind(s, 5));
        assert_ok(ry_session_feed(s, &c[i].id, 1, logits, false));
        assert_ok(gen_candidates(&g, &(gen_scores){.logits = logits, .n = V}, &how, &chain));
        for (int64_t k = 0; k < g.n; k++) p[g.c[k].id] += c[i].p * g.c[k].p;
    }
    assert_ok(ry_session_draft(s, draft, 2));
    for (int i = 0; i < DRAWS; i++) {
        how.seed = (uint64_t)i;
        assert_ok(ry_session_prompt(s, ids, 5, NULL));
        assert_ok(ry_session_next(s, &how, &id));
        assert_ok(ry_session_next(s, &how, &id));
        count[id]++;
    }
    for (int i = 0; i < V; i++) {
        miss = fmax(miss, fabs(count[i] - p[i] * DRAWS) / (4.5 * sqrt(p[i] * (1 - p[i]) * DRAWS) + 1e-9));
        if (p[i] == 0) assert_int_equal(count[i], 0);
    }
    assert_true(miss <= 1);
    gen_sampler_free(&g);
    ry_session_close(s);
    ry_model_close(draft);
}

/* ---- files ---- */

static void test_keep(void **state) {
    (void)state;
    enum { N = 300 };
    int32_t ids[N];
    float want[V], got[V];
    size_t n, kept;
    some_ids(ids, N, 6);
    for (int k = 0; k < 3; k++) {
        ry_dtype t = k == 0 ? RY_F32 : k == 1 ? RY_BF16 : RY_Q8_0;
        ry_session *s = session(m, 400, k == 2 ? 2 : 1, t);
        assert_ok(ry_session_select(s, k == 2));
        assert_is(RY_EARG, ry_session_save(s, FOLDER "/s"));
        assert_ok(ry_session_feed(s, ids, N, want, false));
        assert_ok(ry_session_save(s, FOLDER "/s"));
        ry_session_close(s);
        s = session(m, 400, 1, t);
        assert_ok(ry_session_load(s, FOLDER "/s"));
        const int32_t *have = ry_session_ids(s, &n);
        assert_int_equal(n, N);
        assert_memory_equal(have, ids, sizeof ids);
        assert_ok(ry_session_prompt(s, ids, N, &kept));
        assert_int_equal(kept, N - 1);
        assert_ok(ry_session_feed(s, NULL, 0, got, false));
        assert_true(distance(want, got, V) < (k ? 0.01 : 1e-4));
        ry_session_close(s);
    }
    ry_session *s = session(m, 400, 1, RY_F16);
    assert_is(RY_EARG, ry_session_load(s, FOLDER "/s"));
    assert_says("q8_0", "f16");
    ry_session_close(s);
    s = session(m, 200, 1, RY_Q8_0);
    assert_is(RY_EARG, ry_session_load(s, FOLDER "/s"));
    assert_says("300", "--ctx-size");
    assert_is(RY_ENOENT, ry_session_load(s, FOLDER "/nothing"));
    ry_session_close(s);
    ry_model *other;
    assert_ok(ry_model_init_text(&other, dev, tiny, 0, 4, NULL));
    s = session(other, 400, 1, RY_Q8_0);
    assert_is(RY_EARG, ry_session_load(s, FOLDER "/s"));
    assert_says("another model");
    ry_session_close(s);
    ry_model_close(other);
    assert_ok(ry_tensor_file_write(FOLDER "/odd", 1, &(ry_named_data){"ids", RY_SHAPE(RY_I32, N), ids}, NULL));
    s = session(m, 400, 1, RY_Q8_0);
    assert_is(RY_EFORMAT, ry_session_load(s, FOLDER "/odd"));
    ry_session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_caches), cmocka_unit_test(test_growth), cmocka_unit_test(test_batch),
                                       cmocka_unit_test(test_rewind), cmocka_unit_test(test_rules), cmocka_unit_test(test_speculation),
                                       cmocka_unit_test(test_speculated_distribution), cmocka_unit_test(test_keep)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
