/* test_threads_graph.c - graphs and models of several threads on one device, and several devices at once; run under TSan too.
 *
 * What every thread computes alone it must compute in company, bit for bit. */
#include "base/os.h"
#include "core/graph.h"
#include "core/program.h"
#include "train/train.h"
#include "unit/cm.h"
#include <rusty/ops.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 4 };
typedef struct worker {
    ry_device *dev;
    ry_var *shared; /* read by all */
    int number, rounds;
    double result;
    ry_status status;
    char message[300];
} worker;

static void finish(worker *w, ry_status st) {
    w->status = st;
    if (st != RY_OK) snprintf(w->message, sizeof w->message, "%s", ry_message());
}

static void run_all(void (*fn)(void *), worker *w, int n) {
    os_thread *t[MOST];
    for (int i = 0; i < n; i++) assert_ok(os_thread_start(&t[i], fn, &w[i]));
    for (int i = 0; i < n; i++) os_thread_join(t[i]);
    for (int i = 0; i < n; i++)
        if (w[i].status != RY_OK) fail_msg("thread %d: %s: %s", i, ry_status_name(w[i].status), w[i].message);
}

/* ---- graphs that read one variable, each with one of its own that it writes; all compile the same structures at the same time ---- */

static ry_status graph_rounds(worker *w) {
    ry_graph *g = NULL;
    ry_var *own = NULL;
    float x[64 * 32], y;
    ry_status st;
    for (int i = 0; i < 64 * 32; i++) x[i] = (float)((i + w->number) % 17) / 16;
    RY_GO(st, done, ry_var_open(&own, w->dev, &RY_SHAPE(RY_F32, 64, 32), "own"));
    RY_GO(st, done, ry_graph_open(&g, w->dev));
    w->result = 0;
    for (int round = 0; round < w->rounds; round++) {
        ry_graph_reset(g);
        ry_tensor first = ry_input(g, &RY_SHAPE(RY_F32, 64, 32), "x"), in = first, wt = ry_use(g, w->shared), gx,
                  want[2];
        for (int i = 0; i < round % 3; i++) in = ry_tanh(g, in); /* several structures */
        ry_tensor h = ry_softmax(g, ry_linear(g, ry_rms_norm(g, in, RY_NULL, 1e-5), wt, RY_NULL), -1);
        want[0] = ry_sum(g, ry_square(g, ry_add(g, h, ry_use(g, own))), 0, false);
        st = ry_grad(g, want[0], RY_NULL, 1, &in, &gx);
        if (st != RY_OK) goto done;
        want[1] = ry_add_into(g, own, gx);
        RY_GO(st, done, ry_eval(g, 2, want, 1, &(ry_feed){first, x, sizeof x}));
        RY_GO(st, done, ry_read(g, want[0], &y, sizeof y));
        w->result = w->result * 0.5 + (double)y;
    }
done:
    ry_graph_close(g);
    ry_var_close(own);
    return st;
}
static void graph_thread(void *arg) {
    worker *w = arg;
    finish(w, graph_rounds(w));
}

static void test_graphs(void **state) {
    (void)state;
    ry_device *d;
    ry_var *shared;
    float x[32 * 32];
    double alone[MOST];
    worker w[MOST];
    assert_ok(
        ry_device_open(&d, "cpu", &(ry_device_options){.threads = 2, .cache_bytes = 20000})); /* plans come and go */
    assert_ok(ry_var_open(&shared, d, &RY_SHAPE(RY_F32, 32, 32), "shared"));
    for (int i = 0; i < 32 * 32; i++) x[i] = (float)(i % 23 - 11) / 40;
    assert_ok(ry_var_write(shared, x, sizeof x));
    for (int i = 0; i < MOST; i++) w[i] = (worker){.dev = d, .shared = shared, .number = i, .rounds = 30};
    for (int i = 0; i < MOST; i++) {
        assert_ok(graph_rounds(&w[i]));
        alone[i] = w[i].result;
    }
    for (int times = 0; times < 2; times++) {
        run_all(graph_thread, w, MOST);
        for (int i = 0; i < MOST; i++) assert_true(w[i].result == alone[i]);
    }
    ry_var_close(shared);
    ry_device_close(d);
}

/* ---- training beside evaluation and generation of another model, on one device; and on devices of their own ---- */

static const char config[] =
    "hidden_size: 32\nintermediate_size: 48\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 2\n"
    "max_position_embeddings: 64\nrope_theta: 10000.0\ntie_word_embeddings: true\n";
static const char text[] = "Every sentence that is long enough to be cut into windows serves: this one is read by a "
                           "model that learns, and by one that does not. "
                           "Both share a device, and neither may notice the other, except by the clock.";

static void last_loss(void *ud, const ry_train_step *s) {
    if (!s->is_eval) *(double *)ud = s->loss;
}

static ry_status train_one(worker *w) {
    ry_model *m = NULL;
    ry_tokenizer *t = NULL;
    ry_data *d = NULL;
    ry_status st;
    RY_GO(st, done, ry_tokenizer_bytes(&t));
    RY_GO(st, done, ry_data_text(&d, text, sizeof text - 1, t, &(ry_data_options){.seq_len = 16}));
    RY_GO(st, done,
          ry_model_init_text(&m, w->dev, config, 256, (uint64_t)w->number, &(ry_model_options){.master_f32 = true}));
    RY_GO(st, done,
          ry_train(m, d, NULL,
                   &(ry_train_options){
                       .batch_size = 2, .grad_accum = 2, .iters = w->rounds, .on_step = last_loss, .ud = &w->result}));
done:
    ry_model_close(m);
    ry_data_close(d);
    ry_tokenizer_close(t);
    return st;
}

static ry_status watch_one(worker *w) { /* evaluates and speaks, again and again */
    ry_model *m = NULL;
    ry_tokenizer *t = NULL;
    ry_data *d = NULL;
    train_eval *e = NULL;
    ry_session *s = NULL;
    ry_eval_result r;
    int32_t id, prompt[3] = {10, 20, 30};
    ry_status st;
    w->result = 0;
    RY_GO(st, done, ry_tokenizer_bytes(&t));
    RY_GO(st, done, ry_data_text(&d, text, sizeof text - 1, t, &(ry_data_options){.seq_len = 16}));
    RY_GO(st, done, ry_model_init_text(&m, w->dev, config, 256, (uint64_t)w->number, NULL));
    RY_GO(st, done, train_eval_open(&e, m, 2, 16));
    RY_GO(st, done, ry_session_open(&s, m, &(ry_session_options){.context = 32}));
    for (int i = 0; i < w->rounds; i++) {
        RY_GO(st, done, train_eval_run(e, d, &r, NULL, NULL));
        w->result += r.loss;
        RY_GO(st, done, ry_evaluate(&r, m, d, 1, NULL, NULL)); /* compiles its own program */
        w->result += r.loss;
        ry_session_reset(s);
        RY_GO(st, done, ry_session_feed(s, prompt, 3, NULL, false));
        for (int k = 0; k < 3; k++) {
            RY_GO(st, done, ry_session_next(s, &(ry_sampling){.temp = 1, .top_k = 20, .seed = 5}, &id));
            w->result += id;
        }
    }
done:
    ry_session_close(s);
    train_eval_close(e);
    ry_model_close(m);
    ry_data_close(d);
    ry_tokenizer_close(t);
    return st;
}
static void model_thread(void *arg) {
    worker *w = arg;
    finish(w, w->number % 2 ? watch_one(w) : train_one(w));
}

static atomic_int lines;
static void on_log(void *ud, ry_log_level level, const char *line) {
    (void)ud, (void)level;
    atomic_fetch_add(&lines, line[0] != 0);
}

static void models(bool one_device) {
    ry_device *d[MOST];
    worker w[MOST];
    double alone[MOST];
    for (int i = 0; i < MOST; i++) {
        if (i == 0 || !one_device)
            assert_ok(ry_device_open(&d[i], "cpu", &(ry_device_options){.threads = 2}));
        else
            d[i] = d[0];
        w[i] = (worker){.dev = d[i], .number = i, .rounds = i % 2 ? 4 : 6};
    }
    for (int i = 0; i < MOST; i++) {
        model_thread(&w[i]);
        assert_ok(w[i].status);
        alone[i] = w[i].result;
        assert_true(alone[i] > 0);
    }
    ry_log_set(on_log, NULL);
    run_all(model_thread, w, MOST);
    ry_log_set(NULL, NULL);
    for (int i = 0; i < MOST; i++) assert_true(w[i].result == alone[i]);
    for (int i = 0; i < (one_device ? 1 : MOST); i++) ry_device_close(d[i]);
}
static void test_one_device(void **state) { (void)state, models(true); }
static void test_own_devices(void **state) { (void)state, models(false); }

/* ---- the log's callback may change while others write; messages are each thread's own ---- */

static void log_thread(void *arg) {
    worker *w = arg;
    for (int i = 0; i < w->rounds; i++) {
        ry_log_line(RY_LOG_INFO, "line %d of thread %d", i, w->number);
        if (i % 16 == w->number) ry_log_set(i % 32 < 16 ? on_log : NULL, NULL);
        ry_fail(RY_EIO, "thread %d", w->number);
        char own[32];
        snprintf(own, sizeof own, "thread %d", w->number);
        if (strcmp(ry_message(), own)) {
            finish(w, RY_EINTERNAL);
            return;
        }
    }
    finish(w, RY_OK);
}
static void test_log(void **state) {
    (void)state;
    worker w[MOST];
    for (int i = 0; i < MOST; i++) w[i] = (worker){.number = i, .rounds = 400};
    atomic_store(&lines, 0);
    ry_log_set(on_log, NULL);
    run_all(log_thread, w, MOST);
    assert_true(atomic_load(&lines) > 0);
    ry_log_set(NULL, NULL);
}

/* Devices come and go while others work. */
static void device_thread(void *arg) {
    worker *w = arg;
    ry_status st = RY_OK;
    for (int i = 0; i < w->rounds && st == RY_OK; i++) {
        ry_device *d = NULL;
        ry_graph *g = NULL;
        float y;
        st = ry_device_open(&d, "cpu", &(ry_device_options){.threads = 1 + w->number % 3});
        if (st == RY_OK) st = ry_graph_open(&g, d);
        ry_tensor t = st == RY_OK ? ry_sum(g, ry_iota(g, &RY_SHAPE(RY_F32, 100000), 0, 1, 0), 0, false) : RY_NULL;
        if (st == RY_OK) st = ry_eval(g, 1, &t, 0, NULL);
        if (st == RY_OK) st = ry_read(g, t, &y, sizeof y);
        if (st == RY_OK && y != 100000) st = ry_fail(RY_EINTERNAL, "the sum is %g", (double)y);
        ry_graph_close(g);
        ry_device_close(d);
    }
    finish(w, st);
}
static void test_devices(void **state) {
    (void)state;
    worker w[MOST];
    for (int i = 0; i < MOST; i++) w[i] = (worker){.number = i, .rounds = 20};
    run_all(device_thread, w, MOST);
}

/* Who asks for a device again at once does not pass somebody who waits. */
static void turn_thread(void *arg) {
    worker *w = arg;
    ry_device_lock(w->dev);
    w->result = 1;
    ry_device_unlock(w->dev);
}
static void test_turns(void **state) {
    (void)state;
    worker w = {.number = 0};
    assert_ok(ry_device_open(&w.dev, "cpu", &(ry_device_options){.threads = 1}));
    for (int i = 0; i < 20; i++) {
        os_thread *t;
        uint64_t asked = 0;
        w.result = 0;
        ry_device_lock(w.dev);
        uint64_t mine = w.dev->now_serving;
        assert_ok(os_thread_start(&t, turn_thread, &w));
        while (asked != mine + 2) { /* until the other waits */
            os_cpu_yield();
            os_mutex_lock(w.dev->lock);
            asked = w.dev->next_turn;
            os_mutex_unlock(w.dev->lock);
        }
        assert_true(w.result == 0);
        ry_device_unlock(w.dev);
        ry_device_lock(w.dev);
        assert_true(w.result == 1);
        ry_device_unlock(w.dev);
        os_thread_join(t);
    }
    ry_device_close(w.dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs),      cmocka_unit_test(test_one_device),
                                       cmocka_unit_test(test_own_devices), cmocka_unit_test(test_log),
                                       cmocka_unit_test(test_devices),     cmocka_unit_test(test_turns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
