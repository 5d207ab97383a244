/* bench_model.c - how fast models train and speak on a device: random tokens, medians, memory, the share of what the device can do.
 *
 * Owns no state; never prints. */
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "core/device.h"
#include "gen/gen.h"
#include "model/source.h"
#include "tools/bench.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static ry_status open_model(ry_model **out, ry_device *d, const char *path, const ry_model_options *o) {
    return source_is_model(path) ? ry_model_open(out, d, path, o) : ry_model_init(out, d, path, 0, 1, o);
}

/* Rows of a program's profile, to whoever asked. */
static ry_status tell_profile(const ry_bench_options *o, size_t n, size_t (*rows_of)(const void *what, ry_profile_row *rows, size_t cap), const void *what) {
    if (!o->on_profile || !n) return RY_OK;
    ry_profile_row *rows = ry_mem_alloc(ry_mem_size(n, sizeof *rows, 0));
    if (!rows) return RY_ENOMEM;
    o->on_profile(o->ud, rows_of(what, rows, n), rows);
    ry_mem_free(rows);
    return RY_OK;
}
static size_t program_rows(const void *p, ry_profile_row *rows, size_t cap) { return ry_program_profile(p, rows, cap); }
static size_t session_rows(const void *s, ry_profile_row *rows, size_t cap) { return ry_session_profile(s, rows, cap); }

/* Chips that rest run at a low clock, and take a second of work to leave it. */
static double warm_up(const ry_device *d) { return d->api->work && !(d->caps.features & RY_FEATURE_SOFTWARE) ? 1.5 : 0; }

ry_status ry_bench_train_run(ry_bench_train *out, ry_device *d, const char *config, int64_t batch, int64_t len, int64_t steps, ry_dtype precision,
                             const ry_bench_options *how) {
    static const ry_bench_options none;
    if (!how) how = &none;
    RY_TRY(bench_real_device(d, "bench train"));
    if (batch < 1 || len < 1 || steps < 1 || batch > (int64_t)1 << 20 || len > (int64_t)1 << 20)
        RY_FAIL(RY_EARG, "bench train: batch, length and steps must be positive numbers below 2^20");
    *out = (ry_bench_train){.batch = batch, .len = len, .steps = steps};
    const ry_train_options o = {.batch_size = batch, .grad_accum = 1, .lr = 1e-3, .clip = 1, .optimizer = "adamw", .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .profile = how->on_profile != NULL};
    size_t cells = (size_t)(batch * len);
    int32_t *ids = ry_mem_alloc(ry_mem_size(cells, 2 * sizeof *ids, 0));
    double *seconds = ry_mem_alloc(ry_mem_size((size_t)steps, sizeof *seconds, 0));
    ry_model *m = NULL;
    train_step *s = NULL;
    ry_plan_info plan;
    ry_status st = ids && seconds ? RY_OK : RY_ENOMEM;
    double begin = 0;
    if (st == RY_OK) st = open_model(&m, d, config, &(ry_model_options){.master_f32 = true, .precision = precision, .tune = how->tune});
    if (st == RY_OK) begin = os_now();
    if (st == RY_OK) st = train_step_open(&s, m, &o, batch, len);
    for (int64_t k = 0, done = -1; done < steps && st == RY_OK; k++) { /* done counts from the first timed step */
        double start = os_now(), loss, norm;
        for (size_t i = 0; i < cells; i++) {
            ids[i] = (int32_t)(ry_rng_word(2, (uint32_t)k, i) % (uint64_t)m->cfg.vocab_size);
            ids[cells + i] = (int32_t)(ry_rng_word(3, (uint32_t)k, i) % (uint64_t)m->cfg.vocab_size);
        }
        st = train_step_run(s, 0, ids, ids + cells, 1 / (double)cells, 1e-3, k + 1, &loss, &norm);
        if (st == RY_OK && !isfinite(loss)) st = ry_fail(RY_ENAN, "bench train: the loss of step %lld is %g", (long long)k + 1, loss);
        if (!k) out->ms_first = (os_now() - begin) * 1e3, out->loss_first = loss;
        if (done >= 0) seconds[done++] = os_now() - start;
        else if (os_now() - begin >= warm_up(d)) done = 0;
        out->loss_last = loss;
    }
    if (st == RY_OK) {
        train_step_plan(s, &plan);
        double median = bench_median(seconds, (int)steps);
        out->params = ry_model_params(m);
        out->ms_step = median * 1e3;
        out->tok_per_s = (double)cells / median;
        out->ms_forward = s->ms[0], out->ms_backward = s->ms[1], out->ms_update = s->ms[2];
        out->gflops = plan.flops / median * 1e-9;
        out->plan_bytes = plan.peak;
        out->device_bytes = device_held(d);
        st = tell_profile(how, ry_program_profile(s->whole, NULL, 0), program_rows, s->whole);
    }
    train_step_close(s);
    ry_model_close(m);
    if (st == RY_OK) st = bench_peak(&out->peak_gflops, d, precision ? precision : RY_F32);
    ry_mem_free(ids);
    ry_mem_free(seconds);
    return st;
}

ry_status ry_bench_lm_run(ry_bench_lm *out, ry_device *d, const char *path, ry_dtype weights, int64_t prompt, int64_t generate, const ry_bench_options *how) {
    static const ry_bench_options none;
    if (!how) how = &none;
    enum { PROMPTS = 5 };
    RY_TRY(bench_real_device(d, "bench lm"));
    if (prompt < 1 || generate < 1 || prompt > (int64_t)1 << 20 || generate > (int64_t)1 << 20)
        RY_FAIL(RY_EARG, "bench lm: the lengths of prompt and answer must be positive numbers below 2^20");
    *out = (ry_bench_lm){.prompt = prompt, .generated = generate};
    int32_t *ids = ry_mem_alloc(ry_mem_size((size_t)prompt, sizeof *ids, 0)), id = 0;
    double *seconds = ry_mem_alloc(ry_mem_size((size_t)(generate > PROMPTS ? generate : PROMPTS), sizeof *seconds, 0)), copy = 0, begin;
    ry_model *m = NULL;
    ry_session *s = NULL;
    ry_status st = ids && seconds ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) st = open_model(&m, d, path, &(ry_model_options){.weights = weights, .numerics = how->numerics, .tune = how->tune, .profile = how->on_profile != NULL});
    begin = os_now();
    if (st == RY_OK) st = ry_session_open(&s, m, &(ry_session_options){.context = prompt + generate + 1});
    for (int64_t i = 0; i < prompt && st == RY_OK; i++) ids[i] = (int32_t)(ry_rng_word(4, 0, (uint64_t)i) % (uint64_t)m->cfg.vocab_size);
    for (int k = -1; k < PROMPTS && st == RY_OK;) {
        ry_session_reset(s);
        double start = os_now();
        st = ry_session_feed(s, ids, (size_t)prompt, NULL, false);
        if (out->ms_first <= 0) out->ms_first = (os_now() - begin) * 1e3;
        if (k >= 0) seconds[k++] = os_now() - start;
        else if (os_now() - begin >= warm_up(d)) k = 0;
    }
    if (st == RY_OK) out->prompt_tok_per_s = (double)prompt / bench_median(seconds, PROMPTS);
    for (int64_t k = -1; k < generate && st == RY_OK; k++) { /* the first one builds the program */
        double start = os_now();
        st = ry_session_next(s, NULL, &id);
        if (k >= 0) seconds[k] = os_now() - start;
    }
    if (st == RY_OK) {
        double median = bench_median(seconds, (int)generate);
        out->params = ry_model_params(m);
        out->ms_token = median * 1e3;
        out->tok_per_s = 1 / median;
        out->ms_device = gen_device_ms(s);
        for (size_t i = 0; i < m->vars.n; i++) out->weight_bytes += (double)m->vars.at[i]->bytes;
        if (!m->cfg.tie_word_embeddings) out->weight_bytes -= (double)m->vars.at[0]->bytes; /* one row of the embedding */
        out->gbps = out->weight_bytes / median * 1e-9;
        out->device_bytes = device_held(d);
        st = tell_profile(how, ry_session_profile(s, NULL, 0), session_rows, s);
    }
    ry_session_close(s);
    ry_model_close(m);
    if (st == RY_OK) st = bench_copy_speed(&copy, d);
    out->copy_gbps = copy * 1e-9;
    ry_mem_free(ids);
    ry_mem_free(seconds);
    return st;
}
