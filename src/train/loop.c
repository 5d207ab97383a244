/* loop.c - the training loop: data order, steps, reports, evaluation, samples, checkpoints.
 * The data order is a function of seed and step alone, so a resume needs no more than the step number. */
#include "base/rng.h"
#include "core/tune.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHUFFLE_STREAM = 0x53485546u };

typedef struct loop {
    ry_model *m;
    const ry_data *data, *held;
    ry_train_options o;       /* with defaults filled in */
    train_schedule schedule;
    train_step *step;
    train_eval *eval;
    train_folder folder;
    train_state state;
    int32_t *ids, *targets;   /* [accum, batch, len] */
    int64_t *order, epoch;    /* the permutation of that epoch; -1 none */
    int64_t rows, len;
    double began;
    int64_t began_step;
} loop;

/* ---- options ---- */

static ry_status check(const ry_train_options *o) {
    const struct { const char *name; int64_t v; } whole[] = {{"--batch-size", o->batch_size}, {"--grad-accum", o->grad_accum}, {"--iters", o->iters}, {"--epochs", o->epochs},
                                                             {"--warmup", o->warmup}, {"--eval-every", o->eval_every}, {"--sample-every", o->sample_every}, {"--save-every", o->save_every}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (whole[i].v < 0) RY_FAIL(RY_EARG, "%s must not be negative", whole[i].name);
    if (o->batch_size > 1 << 20 || o->grad_accum > 1 << 20) RY_FAIL(RY_EARG, "--batch-size and --grad-accum must be at most %d", 1 << 20);
    if (!(o->lr > 0) || !isfinite(o->lr)) RY_FAIL(RY_EARG, "the learning rate must be a number above 0, not %g", o->lr);
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1)) RY_FAIL(RY_EARG, "beta1 and beta2 must be in [0, 1)");
    return RY_OK;
}

static void defaults(ry_train_options *o, int64_t rows) {
    if (!o->batch_size) o->batch_size = 1;
    if (!o->grad_accum) o->grad_accum = 1;
    if (!o->epochs) o->epochs = 1;
    int64_t a_step = o->batch_size * o->grad_accum;
    if (!o->iters) o->iters = (o->epochs * rows + a_step - 1) / a_step;
    if (o->lr == 0) o->lr = 1e-3;
    if (!o->schedule) o->schedule = "cosine";
    if (o->clip == 0) o->clip = 1;
    if (o->clip < 0) o->clip = 0;
    if (!o->optimizer) o->optimizer = "adamw";
    if (o->beta1 == 0) o->beta1 = 0.9;
    if (o->beta2 == 0) o->beta2 = 0.999;
    if (o->eps == 0) o->eps = 1e-8;
    if (o->weight_decay == 0) o->weight_decay = 0.01;
    if (o->weight_decay < 0) o->weight_decay = 0;
    if (!o->keep) o->keep = 2;
    if (!o->sample_tokens) o->sample_tokens = 80;
    if (!o->sample_prompt) o->sample_prompt = "";
}

/* ---- data ---- */

/* Row of the sequence position at: epochs follow each other, each in an order of its own. */
static int64_t row_at(loop *l, int64_t at) {
    int64_t epoch = at / l->rows, i = at % l->rows;
    if (l->o.no_shuffle) return i;
    if (epoch != l->epoch) {
        ry_rng_permute(l->order, l->rows, l->o.seed, SHUFFLE_STREAM + (uint32_t)epoch);
        l->epoch = epoch;
    }
    return l->order[i];
}

static ry_status load_batch(loop *l, int64_t step, int64_t *tokens) {
    int64_t a_step = l->o.batch_size * l->o.grad_accum, V = l->m->cfg.vocab_size;
    *tokens = 0;
    for (int64_t i = 0; i < a_step; i++) {
        int64_t row = row_at(l, step * a_step + i);
        int32_t *ids = l->ids + i * l->len, *targets = l->targets + i * l->len;
        RY_TRY(ry_data_row(l->data, row, ids, targets));
        for (int64_t t = 0; t < l->len; t++) {
            if (ids[t] < 0 || ids[t] >= V) RY_FAIL(RY_EARG, "data row %lld: id %d at %lld is outside the model's vocabulary of %lld", (long long)row, ids[t], (long long)t, (long long)V);
            if (targets[t] != -100 && (targets[t] < 0 || targets[t] >= V))
                RY_FAIL(RY_EARG, "data row %lld: label %d for %lld is outside the model's vocabulary of %lld", (long long)row, targets[t], (long long)t, (long long)V);
            *tokens += targets[t] != -100;
        }
    }
    return *tokens ? RY_OK : ry_fail(RY_EARG, "step %lld has no target tokens: every label of its rows is -100", (long long)step + 1);
}

static int64_t micro_tokens(const loop *l, int64_t k) {
    int64_t n = l->o.batch_size * l->len, tokens = 0;
    for (int64_t i = 0; i < n; i++) tokens += l->targets[k * n + i] != -100;
    return tokens;
}

/* Factor of micro-batch k's summed loss. */
static double micro_scale(const loop *l, int64_t k, int64_t tokens) {
    if (!l->o.loss_norm_micro_batch) return 1 / (double)tokens;
    int64_t own = micro_tokens(l, k);
    return own ? 1 / ((double)own * (double)l->o.grad_accum) : 0;
}

/* ---- reports ---- */

static void report(loop *l, const ry_train_step *s) {
    if (l->o.on_step) l->o.on_step(l->o.ud, s);
}

static ry_status evaluate(loop *l, int64_t step) {
    ry_eval_result r;
    if (!l->eval) RY_TRY(train_eval_open(&l->eval, l->m, l->o.batch_size, ry_data_len(l->held)));
    RY_TRY(train_eval_run(l->eval, l->held, &r, NULL, NULL));
    ry_train_step s = {.step = step, .steps = l->o.iters, .is_eval = true, .eval_loss = r.loss, .eval_tokens = r.tokens};
    RY_TRY(train_log_line(&l->folder, &s));
    report(l, &s);
    return RY_OK;
}

static ry_status sample(loop *l, int64_t step) {
    const char *prompt = l->o.sample_prompt;
    int32_t *ids = NULL, *all = NULL;
    size_t n = 0, n_text = 0;
    char *text = NULL;
    ry_session *s = NULL;
    ry_sampling how = {.temp = 0.8, .top_k = 40, .top_p = 0.95, .seed = l->o.seed};
    ry_status st;
    RY_TRY(ry_encode(l->o.tokenizer, *prompt ? prompt : "\n", *prompt ? strlen(prompt) : 1, true, &ids, &n));
    int64_t room = l->o.sample_tokens + (int64_t)n;
    all = ry_mem_alloc(ry_mem_size((size_t)room, sizeof *all, 0));
    if (!all) RY_GO(st, done, RY_ENOMEM);
    memcpy(all, ids, n * sizeof *ids);
    RY_GO(st, done, ry_session_open(&s, l->m, &(ry_session_options){.context = room}));
    RY_GO(st, done, ry_session_feed(s, ids, n, NULL, false));
    size_t have = n;
    for (; have < (size_t)room && (have == n || !ry_model_is_end(l->m, all[have - 1])); have++) RY_GO(st, done, ry_session_next(s, &how, &all[have]));
    RY_GO(st, done, ry_decode(l->o.tokenizer, all, have, true, false, &text, &n_text));
    ry_train_step r = {.step = step, .steps = l->o.iters, .is_eval = true, .eval_loss = NAN, .sample = text};
    report(l, &r);
done:
    ry_session_close(s);
    ry_free(ids);
    ry_free(text);
    ry_mem_free(all);
    return st;
}

/* ---- first gradients ---- */

static ry_status write_grads(loop *l, int64_t tokens) {
    size_t n = l->m->vars.n, stored = weights_stored(l->m);
    ry_arena names = {0};
    float **sum = ry_mem_zalloc(ry_mem_size(n, sizeof *sum, 1));
    ry_named_data *d = ry_mem_zalloc(ry_mem_size(stored, sizeof *d, 1));
    weights_part *parts = ry_mem_zalloc(ry_mem_size(stored, sizeof *parts, 1));
    ry_status st = sum && d && parts ? weights_list(&names, l->m, parts) : RY_ENOMEM;
    double loss = 0, part = 0;
    char text[64];
    for (size_t i = 0; i < n && st == RY_OK; i++)
        if (!(sum[i] = ry_mem_zalloc(l->m->vars.at[i]->bytes))) st = RY_ENOMEM;
    for (size_t i = 0; i < stored && st == RY_OK; i++) d[i] = (ry_named_data){parts[i].name, parts[i].spec, sum[parts[i].var] + parts[i].first};
    int64_t cells = l->o.batch_size * l->len;
    for (int64_t k = 0; k < l->o.grad_accum && st == RY_OK; k++) {
        st = train_grads(l->m, l->o.batch_size, l->len, l->ids + k * cells, l->targets + k * cells, micro_scale(l, k, tokens), sum, &part);
        loss += part;
    }
    snprintf(text, sizeof text, "%.9g", loss);
    if (st == RY_OK) st = ry_tensor_file_write(l->o.grads_out, stored, d, (const char *const[]){"loss", text, NULL});
    for (size_t i = 0; sum && i < n; i++) ry_mem_free(sum[i]);
    ry_mem_free(sum);
    ry_mem_free(d);
    ry_mem_free(parts);
    ry_arena_free(&names);
    return st;
}

/* ---- the loop ---- */

static ry_status one_step(loop *l, int64_t step) {
    double t0 = os_now(), loss = 0, norm = 0;
    int64_t tokens, cells = l->o.batch_size * l->len;
    RY_TRY(load_batch(l, step, &tokens));
    double t1 = os_now(), lr = l->o.lr * train_schedule_at(l->schedule, step, l->o.warmup, l->o.iters);
    if (step == 0 && l->o.grads_out) RY_TRY(write_grads(l, tokens));
    for (int64_t k = 0; k < l->o.grad_accum; k++) {
        double part;
        ry_status st = train_step_run(l->step, k, l->ids + k * cells, l->targets + k * cells, micro_scale(l, k, tokens), lr, step + 1, &part, &norm);
        if (st != RY_OK) return ry_fail_in(st, "step %lld", (long long)step + 1);
        loss += part;
    }
    double t2 = os_now(), each = (t2 - l->began) / (double)(step + 1 - l->began_step);
    ry_train_step s = {.step = step + 1, .steps = l->o.iters, .tokens = tokens, .loss = loss, .grad_norm = norm, .lr = lr,
                       .tok_per_s = (double)tokens / (t2 - t0), .eta_s = each * (double)(l->o.iters - step - 1), .ms_data = (t1 - t0) * 1e3,
                       .ms_forward = l->step->ms[0], .ms_backward = l->step->ms[1], .ms_optimizer = l->step->ms[2], .peak_bytes = device_held(l->m->dev)};
    if (!isfinite(loss) || !isfinite(norm))
        RY_FAIL(RY_ENAN, "step %lld: the %s is %g; the run stops, the last checkpoint is as it was (--debug-nan names the first operator that made it)",
                (long long)step + 1, isfinite(loss) ? "gradient norm" : "loss", isfinite(loss) ? norm : loss);
    RY_TRY(train_log_line(&l->folder, &s));
    report(l, &s);
    return RY_OK;
}

static bool due(int64_t every, int64_t step, int64_t last) { return every > 0 && (step % every == 0 || step == last); }

static ry_status save(loop *l, int64_t step, bool finished) {
    if (!l->o.out) return RY_OK;
    l->state = (train_state){.step = step, .log_bytes = l->folder.log_bytes, .finished = finished};
    return train_checkpoint_save(&l->folder, l->step, &l->o, &l->state, l->rows);
}

static ry_status write_result(loop *l) {
    if (!l->o.out) return RY_OK;
    RY_TRY(ry_model_save(l->m, l->o.out, l->o.save_dtype));
    return l->o.tokenizer ? ry_tokenizer_save(l->o.tokenizer, l->o.out) : RY_OK;
}

/* The program that takes the time: the whole step, or with accumulation a micro-batch. */
static ry_status write_profile(loop *l) {
    ry_program *p = l->step->whole ? l->step->whole : l->step->more;
    size_t n = ry_program_profile(p, NULL, 0);
    ry_profile_row *rows = ry_mem_alloc(ry_mem_size(n, sizeof *rows, 1));
    if (!rows) return RY_ENOMEM;
    ry_program_profile(p, rows, n);
    if (n && l->o.on_profile) l->o.on_profile(l->o.ud, n, rows);
    ry_mem_free(rows);
    if (!n || !l->o.out) return RY_OK;
    char *path = os_join(l->o.out, "trace.json");
    ry_status st = path ? ry_program_trace(p, path) : RY_ENOMEM;
    ry_mem_free(path);
    return st;
}

static ry_status begin(loop *l, char *from) {
    if (from) {
        RY_TRY(train_checkpoint_load(from, l->step, &l->o, &l->state, l->rows));
        ry_log_line(RY_LOG_INFO, "%s from %s (step %lld of %lld)", l->state.finished ? "the run is finished: nothing to do" : "resuming", from,
                    (long long)l->state.step, (long long)l->o.iters);
    }
    if (!l->o.out || l->state.finished) return RY_OK;
    if (l->o.run_yaml) {
        char *path = os_join(l->o.out, "train.yaml");
        ry_status st = path ? os_file_write(path, l->o.run_yaml, strlen(l->o.run_yaml)) : RY_ENOMEM;
        ry_mem_free(path);
        RY_TRY(st);
    }
    return train_folder_log(&l->folder, &l->state);
}

static ry_status go(loop *l) {
    int64_t last = l->o.iters;
    l->began = os_now();
    l->began_step = l->state.step;
    if (l->state.finished) return RY_OK;
    for (int64_t step = l->state.step; step < last; step++) {
        RY_TRY(one_step(l, step));
        int64_t done = step + 1;
        if (l->held && due(l->o.eval_every, done, last)) RY_TRY(evaluate(l, done));
        if (l->o.tokenizer && due(l->o.sample_every, done, last)) RY_TRY(sample(l, done));
        bool stop = l->o.stop && *l->o.stop;
        if (done < last && (stop || due(l->o.save_every, done, 0))) RY_TRY(save(l, done, false));
        if (stop && done < last)
            RY_FAIL(RY_ESTOPPED, "stopped after step %lld of %lld%s", (long long)done, (long long)last, l->o.out ? "; --resume auto goes on from here" : "");
    }
    if (l->o.profile) RY_TRY(write_profile(l));
    RY_TRY(write_result(l));
    return save(l, last, true);
}

ry_status ry_train(ry_model *m, const ry_data *train, const ry_data *eval, const ry_train_options *o) {
    loop l = {.m = m, .data = train, .held = eval, .o = *o, .rows = ry_data_rows(train), .len = ry_data_len(train), .epoch = -1};
    char *from = NULL;
    ry_status st;
    if (l.rows < 1) RY_FAIL(RY_EARG, "the training data has no rows");
    defaults(&l.o, l.rows);
    RY_TRY(check(&l.o));
    RY_TRY(train_schedule_find(&l.schedule, l.o.schedule));
    if (l.o.tokenizer && ry_tokenizer_size(l.o.tokenizer) > m->cfg.vocab_size)
        RY_FAIL(RY_EARG, "the tokenizer has %lld ids, the model a vocabulary of only %lld", (long long)ry_tokenizer_size(l.o.tokenizer), (long long)m->cfg.vocab_size);
    if (l.len > m->cfg.max_position_embeddings)
        ry_log_line(RY_LOG_WARN, "rows of %lld tokens exceed the model's max_position_embeddings of %lld", (long long)l.len, (long long)m->cfg.max_position_embeddings);
    size_t cells = ry_mem_size((size_t)(l.o.batch_size * l.o.grad_accum), (size_t)l.len * sizeof(int32_t), 0);
    l.ids = ry_mem_alloc(cells);
    l.targets = ry_mem_alloc(cells);
    l.order = ry_mem_alloc(ry_mem_size((size_t)l.rows, sizeof *l.order, 0));
    st = l.ids && l.targets && l.order ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && o->out) st = train_folder_open(&l.folder, &l.o, &from);
    if (st == RY_OK && from) st = train_checkpoint_kernels(from, m->dev);
    if (st == RY_OK) st = train_step_open(&l.step, m, &l.o, l.o.batch_size, l.len);
    if (st == RY_OK) st = begin(&l, from);
    if (st == RY_OK) st = go(&l);
    train_folder_close(&l.folder);
    train_eval_close(l.eval);
    train_step_close(l.step);
    if (from) (void)tune_take(m->dev->tuning, NULL); /* the next run on this device chooses for itself; cannot fail */
    ry_mem_free(from);
    ry_mem_free(l.order);
    ry_mem_free(l.targets);
    ry_mem_free(l.ids);
    return st;
}

ry_status ry_train_plan(ry_plan_info *out, const char *config, int64_t vocab_size, int64_t seq_len, const ry_train_options *o, ry_dtype precision, const ry_device *like) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    train_step *s = NULL;
    ry_train_options full = *o;
    ry_status st = ry_device_open(&d, "null", &(ry_device_options){.like = like});
    defaults(&full, 1);
    if (st == RY_OK) st = check(&full);
    if (st == RY_OK) st = ry_model_init(&m, d, config, vocab_size, 0, &(ry_model_options){.master_f32 = true, .precision = precision});
    if (st == RY_OK) st = train_step_open(&s, m, &full, full.batch_size, seq_len > 0 ? seq_len : 256);
    if (st == RY_OK) train_step_plan(s, out);
    train_step_close(s);
    ry_model_close(m);
    ry_device_close(d);
    return st;
}
