/* alloc_fault.h - what a program does with the library, each time with another allocation refused.  Header of tests only.
 *
 * Every scenario must end in RY_ENOMEM, or succeed where the refused block could be done without; hold nothing afterwards; and
 * succeed again once there is memory. */
#ifndef TEST_ALLOC_FAULT_H
#define TEST_ALLOC_FAULT_H
#include "train/train.h"
#include "unit/io_help.h"
#include <rusty/ops.h>

#define FAULT_FOLDER "test_alloc.dir"
static const char fault_config[] =
    "hidden_size: 16\nintermediate_size: 24\nnum_hidden_layers: 2\nnum_attention_heads: 2\nnum_key_value_heads: 1\n"
    "max_position_embeddings: 32\nrope_theta: 10000.0\ntie_word_embeddings: true\n";
static const char fault_text[] =
    "the quick brown fox jumps over the lazy dog and the lazy dog sleeps on; the fox does not care at all about it. ";
enum { FAULT_VOCAB = 256, FAULT_T = 8 };

static inline ry_status fault_device(void *ud) {
    ry_device *d = NULL;
    ry_device_info info;
    (void)ud;
    RY_TRY(ry_device_open(&d, NULL, &(ry_device_options){.threads = 3}));
    ry_device_describe(d, &info);
    ry_device_close(d);
    RY_TRY(ry_device_open(&d, "null", NULL));
    ry_device_close(d);
    return RY_OK;
}

/* Builders, views, gradients through lowerings, fusion, recomputation, reading, keeping, profile and trace. */
static inline ry_status fault_graph(void *ud) {
    ry_device *d = NULL;
    ry_graph *g = NULL;
    ry_var *w = NULL, *kept = NULL;
    ry_program *p = NULL;
    float x[24] = {1, 2, 3}, y;
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 2}));
    RY_GO(st, done, ry_var_open(&w, d, &RY_SHAPE(RY_F32, 6, 6), "w"));
    RY_GO(st, done, ry_graph_open(&g, d));
    for (int step = 0; step < 2; step++) {
        ry_graph_reset(g);
        ry_tensor in = ry_input(g, &RY_SHAPE(RY_F32, 4, 6), "x"), wt = ry_use(g, w), gx[2], want[4];
        ry_recompute_begin(g);
        ry_tensor h = ry_softmax(g, ry_matmul(g, ry_rms_norm(g, in, RY_NULL, 1e-5), ry_transpose(g, wt, 0, 1)), -1);
        ry_recompute_end(g);
        h = ry_silu(g, ry_add(g, ry_mul(g, h, ry_scalar(g, 3)), in));
        want[0] =
            ry_sum(g, ry_out(g, ry_sort(g, RY_RESHAPE(g, ry_slice(g, h, 1, 5, 0, -2), -1), 0, false), 0), 0, false);
        st = ry_grad(g, want[0], RY_NULL, 2, (ry_tensor[]){in, wt}, gx);
        if (st == RY_OK)
            st =
                ry_grad(g, ry_sum(g, gx[0], 0, false), RY_NULL, 1, &in, &want[1]); /* second order: through lowerings */
        if (st != RY_OK) goto done;
        want[2] = ry_add_into(g, w, gx[1]);
        want[3] = ry_dropout(g, h, 0.5, (uint64_t)step, 0);
        RY_GO(st, done, ry_eval(g, 4, want, 1, &(ry_feed){in, x, sizeof x}));
        RY_GO(st, done, ry_read(g, want[0], &y, sizeof y));
        RY_GO(st, done, ry_keep(&kept, g, want[1], "kept"));
        ry_var_close(kept);
        kept = NULL;
        RY_GO(st, done,
              ry_compile(&p, g, 4, want, &(ry_compile_options){.profile = true, .no_cache = true, .debug_nan = true}));
        RY_GO(st, done, ry_program_feed(p, 0, x, sizeof x));
        RY_GO(st, done, ry_run(p));
        RY_GO(st, done, ry_program_trace(p, FAULT_FOLDER "/trace.json"));
        ry_program_close(p);
        p = NULL;
    }
done:
    ry_program_close(p);
    ry_var_close(kept);
    ry_graph_close(g);
    ry_var_close(w);
    ry_device_close(d);
    return st;
}

static inline ry_train_options fault_options(void) {
    return (ry_train_options){.batch_size = 2,
                              .grad_accum = 1,
                              .iters = 4,
                              .lr = 1e-3,
                              .schedule = "cosine",
                              .clip = 1,
                              .optimizer = "adamw",
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-8,
                              .weight_decay = 0.01};
}

/* One optimiser step in one program, and one with accumulation and recomputation. */
static inline ry_status fault_step(void *ud) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    train_step *s = NULL;
    int32_t ids[2 * FAULT_T], targets[2 * FAULT_T];
    double loss, norm;
    ry_status st;
    (void)ud;
    for (int i = 0; i < 2 * FAULT_T; i++) ids[i] = i, targets[i] = i + 1;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 2}));
    RY_GO(st, done, ry_model_init_text(&m, d, fault_config, FAULT_VOCAB, 1, NULL));
    for (int accum = 1; accum < 3; accum++) {
        ry_train_options o = fault_options();
        o.grad_accum = accum;
        o.recompute = accum > 1;
        RY_GO(st, done, train_step_open(&s, m, &o, 2, FAULT_T));
        for (int step = 1; step < 3; step++)
            for (int k = 0; k < accum; k++)
                RY_GO(st, done, train_step_run(s, k, ids, targets, 0.1, 1e-3, step, &loss, &norm));
        train_step_close(s);
        s = NULL;
    }
done:
    train_step_close(s);
    ry_model_close(m);
    ry_device_close(d);
    return st;
}

/* A folder opened (mapped, then as masters), its logits, saved again. */
static inline ry_status fault_model(void *ud) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 1}));
    for (int master = 0; master < 2; master++) {
        RY_GO(st, done, ry_model_open(&m, d, FAULT_FOLDER "/model", &(ry_model_options){.master_f32 = master}));
        RY_GO(st, done, ry_model_save(m, FAULT_FOLDER "/saved", master ? RY_BF16 : RY_F32));
        ry_model_close(m);
        m = NULL;
    }
done:
    ry_model_close(m);
    ry_device_close(d);
    return st;
}

static inline ry_status fault_session(void *ud) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    ry_session *s = NULL;
    int32_t ids[5] = {1, 2, 3, 4, 5}, id;
    ry_status st;
    float *logits = NULL;
    (void)ud;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 1}));
    RY_GO(st, done, ry_model_open(&m, d, FAULT_FOLDER "/model", NULL));
    RY_GO(st, done, ry_session_open(&s, m, &(ry_session_options){.context = 20}));
    logits = ry_mem_alloc(5 * FAULT_VOCAB * sizeof *logits);
    if (!logits) RY_GO(st, done, RY_ENOMEM);
    RY_GO(st, done, ry_session_feed(s, ids, 5, logits, true));
    ry_session_reset(s);
    RY_GO(st, done, ry_session_feed(s, ids, 3, NULL, false));
    for (int i = 0; i < 4; i++)
        RY_GO(st, done, ry_session_next(s, &(ry_sampling){.temp = 0.8, .top_k = 5, .top_p = 0.9, .seed = 1}, &id));
    RY_GO(st, done, ry_session_save(s, FAULT_FOLDER "/session"));
    RY_GO(st, done, ry_session_load(s, FAULT_FOLDER "/session"));
    RY_GO(st, done, ry_session_draft(s, m, 2));
    for (int i = 0; i < 4; i++)
        RY_GO(st, done, ry_session_next(s, &(ry_sampling){.temp = 0.8, .repetition_penalty = 1.1, .seed = 1}, &id));
done:
    ry_mem_free(logits);
    ry_session_close(s);
    ry_model_close(m);
    ry_device_close(d);
    return st;
}

/* Variables of many tensors, opened, saved and restored; layers with a state, cut back. */
static inline ry_status fault_families(void *ud) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    ry_session *s = NULL;
    int32_t ids[5] = {1, 2, 3, 4, 5};
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 1}));
    RY_GO(st, done, ry_model_open(&m, d, FAULT_FOLDER "/experts", &(ry_model_options){.master_f32 = true}));
    RY_GO(st, done, ry_model_save(m, FAULT_FOLDER "/saved", RY_F32));
    RY_GO(st, done, weights_restore(m, FAULT_FOLDER "/saved/model.safetensors"));
    ry_model_close(m);
    m = NULL;
    RY_GO(st, done, ry_model_open(&m, d, FAULT_FOLDER "/conv", NULL));
    RY_GO(st, done, ry_session_open(&s, m, &(ry_session_options){.context = 8}));
    RY_GO(st, done, ry_session_feed(s, ids, 5, NULL, false));
    RY_GO(st, done, ry_session_rewind(s, 2));
done:
    ry_session_close(s);
    ry_model_close(m);
    ry_device_close(d);
    return st;
}

/* A conversation of two turns, kept and gone on with. */
static inline ry_status fault_chat(void *ud) {
    static const char form[] = "{% for m in messages %}{{ m.content }}{% endfor %}";
    static const char *const stop[] = {"no such text"};
    ry_device *d = NULL;
    ry_model *m = NULL;
    ry_session *s = NULL;
    ry_tokenizer *t = NULL;
    ry_template *f = NULL;
    ry_chat *c = NULL;
    ry_speech r = {0};
    ry_sampling how;
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 1}));
    RY_GO(st, done, ry_model_open(&m, d, FAULT_FOLDER "/model", NULL));
    RY_GO(st, done, ry_tokenizer_bytes(&t));
    RY_GO(st, done, ry_template_text(&f, form, sizeof form - 1));
    RY_GO(st, done, ry_session_open(&s, m, &(ry_session_options){.context = 30, .cache = RY_BF16}));
    RY_GO(st, done, ry_chat_open(&c, s, t, f));
    RY_GO(st, done, ry_chat_system(c, "s"));
    RY_GO(st, done, ry_chat_variables(c, "{\"x\":1}"));
    ry_model_sampling(m, &how);
    for (int i = 0; i < 2; i++) {
        RY_GO(st, done, ry_chat_add(c, "user", "hi", 2));
        ry_speech_free(&r);
        RY_GO(st, done, ry_chat_answer(c, &how, &(ry_speak_options){.max_tokens = 4, .stop = stop, .n_stop = 1}, &r, NULL, NULL));
        RY_GO(st, done, ry_chat_save(c, FAULT_FOLDER "/chat"));
        RY_GO(st, done, ry_chat_load(c, FAULT_FOLDER "/chat"));
    }
    RY_GO(st, done, ry_chat_cut(c, 2));
done:
    ry_speech_free(&r);
    ry_chat_close(c);
    ry_session_close(s);
    ry_template_close(f);
    ry_tokenizer_close(t);
    ry_model_close(m);
    ry_device_close(d);
    return st;
}

static inline ry_status fault_tokenizers(void *ud) {
    ry_tokenizer *t[2] = {NULL, NULL}, *read = NULL;
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n_ids, n_text;
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_tokenizer_bytes(&t[0]));
    RY_GO(st, done, ry_tokenizer_chars(&t[1], fault_text, sizeof fault_text - 1));
    for (int i = 0; i < 2; i++) {
        RY_GO(st, done, ry_encode(t[i], fault_text, 20, true, &ids, &n_ids));
        RY_GO(st, done, ry_decode(t[i], ids, n_ids, true, false, &text, &n_text));
        ry_free(text);
        text = NULL;
        RY_GO(st, done, ry_tokenizer_save(t[i], FAULT_FOLDER "/tokenizer"));
        RY_GO(st, done, ry_tokenizer_open(&read, FAULT_FOLDER "/tokenizer"));
        ry_tokenizer_close(read);
        read = NULL;
        ry_free(ids);
        ids = NULL;
    }
done:
    ry_free(ids);
    ry_free(text);
    ry_tokenizer_close(read);
    ry_tokenizer_close(t[0]);
    ry_tokenizer_close(t[1]);
    return st;
}

typedef struct fault_watch {
    volatile int stop;
    int64_t stop_at;
} fault_watch;
static inline void fault_on_step(void *ud, const ry_train_step *s) {
    fault_watch *w = ud;
    if (!s->is_eval && s->step == w->stop_at) w->stop = 1;
}

/* A run that stops after two steps, and its resumption to the end: data, evaluation, samples, log, checkpoints, gradients to a file. */
static inline ry_status fault_train(void *ud) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    ry_tokenizer *t = NULL;
    ry_data *train = NULL, *held = NULL;
    ry_eval_result r;
    ry_status st;
    (void)ud;
    RY_GO(st, done, ry_device_open(&d, "cpu", &(ry_device_options){.threads = 2}));
    RY_GO(st, done, ry_tokenizer_bytes(&t));
    RY_GO(st, done,
          ry_data_text(&train, fault_text, sizeof fault_text - 1, t,
                       &(ry_data_options){.seq_len = FAULT_T, .hold_out = 0.3}));
    RY_GO(st, done,
          ry_data_text(&held, fault_text, sizeof fault_text - 1, t,
                       &(ry_data_options){.seq_len = FAULT_T, .hold_out = 0.3, .held_part = true}));
    for (int part = 0; part < 2; part++) {
        fault_watch w = {.stop_at = part ? 0 : 2};
        ry_train_options o = fault_options();
        o.out = FAULT_FOLDER "/run";
        o.eval_every = o.sample_every = 3;
        o.save_every = 1;
        o.keep = 1;
        o.sample_tokens = 3;
        o.tokenizer = t;
        o.run_yaml = "a: 1\n";
        o.overwrite = part == 0;
        o.resume = part ? "auto" : NULL;
        if (!part) o.grads_out = FAULT_FOLDER "/grads.safetensors";
        o.on_step = fault_on_step, o.ud = &w, o.stop = &w.stop;
        RY_GO(st, done,
              ry_model_init_text(&m, d, fault_config, FAULT_VOCAB, 1, &(ry_model_options){.master_f32 = true}));
        st = ry_train(m, train, held, &o);
        if (st != (part ? RY_OK : RY_ESTOPPED)) goto done;
        st = RY_OK;
        if (part) RY_GO(st, done, ry_evaluate(&r, m, held, 2, NULL, NULL));
        ry_model_close(m);
        m = NULL;
    }
done:
    ry_model_close(m);
    ry_data_close(train);
    ry_data_close(held);
    ry_tokenizer_close(t);
    ry_device_close(d);
    return st;
}

/* ---- the harness ---- */

static inline int fault_setup(void **state) {
    ry_device *d;
    ry_model *m;
    (void)state;
    if (os_kind(FAULT_FOLDER) != OS_NOTHING) assert_ok(os_remove_tree(FAULT_FOLDER));
    assert_ok(os_mkdirs(FAULT_FOLDER "/tokenizer"));
    assert_ok(ry_device_open(&d, "cpu", NULL));
    assert_ok(ry_model_init_text(&m, d, fault_config, FAULT_VOCAB, 1, NULL));
    assert_ok(ry_model_save(m, FAULT_FOLDER "/model", RY_BF16));
    ry_model_close(m);
    for (int k = 0; k < 2; k++) { /* experts; convolutions */
        char text[512];
        snprintf(text, sizeof text, "%s%s", fault_config,
                 k ? "model_type: lfm2\nblock_multiple_of: 8\nfull_attn_idxs: [1]\n" : "model_type: mixtral\nnum_local_experts: 3\nnum_experts_per_tok: 2\n");
        assert_ok(ry_model_init_text(&m, d, text, FAULT_VOCAB, 1, NULL));
        assert_ok(ry_model_save(m, k ? FAULT_FOLDER "/conv" : FAULT_FOLDER "/experts", RY_BF16));
        ry_model_close(m);
    }
    ry_device_close(d);
    return 0;
}
static inline int fault_teardown(void **state) {
    (void)state;
    assert_ok(os_remove_tree(FAULT_FOLDER));
    return 0;
}

static inline long fault_once(ry_status (*fn)(void *ud), long n, bool later_too) {
    failing f = {.refuse = n, .later_too = later_too};
    size_t held = ry_mem_live();
    ry_alloc_set(failing_alloc, &f);
    ry_status st = fn(NULL);
    ry_alloc_set(NULL, NULL);
    if (st != RY_ENOMEM && st != RY_OK)
        print_error("allocation %ld%s refused: %s: %s\n", n, later_too ? " and all later" : "", ry_status_name(st),
                    ry_message());
    if (ry_mem_live() != held)
        print_error("allocation %ld%s refused: %zu bytes are held\n", n, later_too ? " and all later" : "",
                    ry_mem_live() - held);
    assert_true(st == RY_ENOMEM || st == RY_OK);
    assert_int_equal(ry_mem_live(), held);
    assert_true(f.refused || st == RY_OK);
    return f.calls;
}

/* The first `first` allocations each, and of the rest about `more`, evenly; both single failures and memory that stays away. */
static inline void fault_sweep(const char *name, ry_status (*fn)(void *ud), long first, long more) {
    long total = 0, runs = 0;
    assert_ok(fn(NULL)); /* what lasts as long as the process is made here */
    total = fault_once(fn, -1, false);
    long step = total > first && more ? (total - first) / more + 1 : 1;
    for (int later = 0; later < 2; later++)
        for (long n = 1; n <= total; n += n <= first ? 1 : step) fault_once(fn, n, later), runs++;
    assert_ok(fn(NULL));
    print_message("%s: %ld allocations, %ld runs\n", name, total, runs);
}
#endif
