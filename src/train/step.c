/* step.c - one optimiser step as planned programs: loss, gradients, clipping, update.  Owns moments and accumulated gradients. */
#include "base/rng.h"
#include "train/train.h"
#include <stdio.h>
#include <string.h>

static void close_vars(ry_var **v, size_t n) {
    for (size_t i = 0; v && i < n; i++) ry_var_close(v[i]);
    ry_mem_free(v);
}

void train_step_close(train_step *s) {
    if (!s) return;
    ry_program_close(s->whole);
    ry_program_close(s->first);
    ry_program_close(s->more);
    ry_program_close(s->update);
    close_vars(s->mom, s->n);
    close_vars(s->sq, s->n);
    close_vars(s->acc, s->n);
    ry_mem_free(s->w);
    ry_mem_free(s);
}

/* A lasting tensor beside each weight. */
static ry_status open_vars(ry_var ***out, const train_step *s, const char *suffix) {
    char name[300];
    *out = ry_mem_zalloc(ry_mem_size(s->n, sizeof **out, 1));
    if (!*out) return RY_ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        snprintf(name, sizeof name, "%s%s", ry_var_name(s->w[i]), suffix);
        RY_TRY(ry_var_open(&(*out)[i], s->m->dev, ry_var_spec(s->w[i]), name));
    }
    return RY_OK;
}

/* Inputs in order: ids, targets [B,T], scale []. Gradients of all trained variables into grad[n]. */
static ry_status loss_and_grads(ry_graph *g, ry_model *m, size_t n, ry_var *const *w, int64_t B, int64_t T, bool recompute, ry_tensor in[3], ry_tensor *loss,
                                ry_tensor *grad) {
    model_pass p;
    in[0] = ry_input(g, &RY_SHAPE(RY_I32, B, T), "ids"), in[1] = ry_input(g, &RY_SHAPE(RY_I32, B, T), "targets");
    in[2] = ry_input(g, &(ry_spec){.dtype = RY_F32}, "scale");
    RY_TRY(model_pass_plain(&p, g, m, in[0]));
    p.recompute = recompute;
    *loss = model_loss(&p, in[1], in[2], true);
    ry_tensor *x = ry_mem_alloc(ry_mem_size(n, sizeof *x, 1));
    if (!x) return RY_ENOMEM;
    for (size_t i = 0; i < n; i++) x[i] = ry_use(g, w[i]);
    ry_status st = ry_grad(g, *loss, RY_NULL, n, x, grad);
    ry_mem_free(x);
    return st;
}

typedef enum { WHOLE, FIRST, MORE, UPDATE } part;

/* The fastest kernels for the graph of a step, which updates nothing worth keeping yet: on random tokens, the weights put back. */
static ry_status tune(train_step *s, ry_graph *g, size_t n_want, const ry_tensor *want, const ry_tensor in[3]) {
    size_t cells = (size_t)(s->batch * s->len), n_kept = 0;
    float scale = 1.0f / (float)cells;
    int32_t *ids = ry_mem_alloc(ry_mem_size(cells, sizeof *ids, 0));
    void **kept = ry_mem_zalloc(ry_mem_size(s->n, sizeof *kept, 1));
    ry_status st = ids && kept ? RY_OK : RY_ENOMEM;
    for (size_t i = 0; i < cells && st == RY_OK; i++) ids[i] = (int32_t)(ry_rng_word(1, 0, i) % (uint64_t)s->m->cfg.vocab_size);
    for (; n_kept < s->n && st == RY_OK; n_kept++) {
        kept[n_kept] = ry_mem_alloc(s->w[n_kept]->bytes);
        st = kept[n_kept] ? ry_var_read(s->w[n_kept], kept[n_kept], s->w[n_kept]->bytes) : RY_ENOMEM;
    }
    ry_feed feed[3] = {{in[0], ids, cells * sizeof *ids}, {in[1], ids, cells * sizeof *ids}, {in[2], &scale, sizeof scale}};
    if (st == RY_OK) st = ry_tune(g, n_want, want, 3, feed, s->m->opt.tune);
    for (size_t i = 0; i < n_kept && kept; i++) {
        if (st == RY_OK) st = ry_var_write(s->w[i], kept[i], s->w[i]->bytes);
        for (int k = 0; k < 2 && st == RY_OK; k++) { /* moments begin at zero */
            ry_var *v = k ? (s->sq ? s->sq[i] : NULL) : s->mom ? s->mom[i] : NULL;
            if (v) memset(kept[i], 0, v->bytes), st = ry_var_write(v, kept[i], v->bytes);
        }
        ry_mem_free(kept[i]);
    }
    ry_mem_free(kept);
    ry_mem_free(ids);
    return st;
}

static ry_status build(train_step *s, ry_program **out, part what, bool recompute) {
    ry_graph *g = NULL;
    ry_tensor want[2] = {RY_NULL, RY_NULL}, *grad = ry_mem_zalloc(ry_mem_size(s->n, sizeof *grad, 1));
    ry_tensor in[3];
    size_t n_want = 0;
    ry_status st = grad ? ry_graph_open(&g, s->m->dev) : RY_ENOMEM;
    if (st == RY_OK && what != UPDATE) st = loss_and_grads(g, s->m, s->n, s->w, s->batch, s->len, recompute, in, &want[n_want++], grad);
    for (size_t i = 0; st == RY_OK && i < s->n; i++) {
        if (what == FIRST) ry_assign(g, s->acc[i], grad[i]);
        else if (what == MORE) ry_add_into(g, s->acc[i], grad[i]);
        else if (what == UPDATE) grad[i] = ry_use(g, s->acc[i]);
    }
    if (st == RY_OK && (what == WHOLE || what == UPDATE)) nn_update(g, &s->optim, s->n, s->w, grad, s->mom, s->sq, &want[n_want++]);
    if (st == RY_OK && what == WHOLE && s->m->opt.tune) st = tune(s, g, n_want, want, in);
    if (st == RY_OK) st = ry_compile(out, g, n_want, want, &(ry_compile_options){.debug_nan = s->debug_nan, .profile = s->profile});
    ry_graph_close(g);
    ry_mem_free(grad);
    return st;
}

ry_status train_step_open(train_step **out, ry_model *m, const ry_train_options *o, int64_t batch, int64_t len) {
    train_step *s = ry_mem_zalloc(sizeof *s);
    ry_status st = RY_ENOMEM;
    if (!s) return st;
    *s = (train_step){.m = m, .batch = batch, .len = len, .accum = o->grad_accum, .n = m->vars.n, .debug_nan = o->debug_nan, .profile = o->profile};
    s->optim = (nn_optim){.beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .weight_decay = o->weight_decay, .momentum = o->momentum,
                          .decay_all = o->decay_all, .clip = o->clip};
    if (!strcmp(o->optimizer, "sgd")) s->optim.sgd = true;
    else if (strcmp(o->optimizer, "adamw")) RY_GO(st, fail, ry_fail(RY_EUNSUPPORTED, "optimizer '%s' is not known (adamw, sgd)", o->optimizer));
    s->w = ry_mem_alloc(ry_mem_size(s->n, sizeof *s->w, 1));
    if (!s->w) goto fail;
    for (size_t i = 0; i < s->n; i++) {
        s->w[i] = m->vars.at[i];
        if (s->w[i]->spec.dtype != RY_F32 || s->w[i]->buf.borrowed)
            RY_GO(st, fail, ry_fail(RY_EARG, "%s is %s%s: open the model with master_f32 to train it", s->w[i]->name,
                                    ry_show(&s->w[i]->spec).s, s->w[i]->buf.borrowed ? ", mapped from its file" : ""));
    }
    if (!s->optim.sgd || s->optim.momentum > 0) RY_GO(st, fail, open_vars(&s->mom, s, s->optim.sgd ? ".momentum" : ".m"));
    if (!s->optim.sgd) RY_GO(st, fail, open_vars(&s->sq, s, ".v"));
    if (s->accum == 1) RY_GO(st, fail, build(s, &s->whole, WHOLE, o->recompute));
    else {
        RY_GO(st, fail, open_vars(&s->acc, s, ".grad"));
        RY_GO(st, fail, build(s, &s->first, FIRST, o->recompute));
        RY_GO(st, fail, build(s, &s->more, MORE, o->recompute));
        RY_GO(st, fail, build(s, &s->update, UPDATE, false));
    }
    *out = s;
    return RY_OK;
fail:
    train_step_close(s);
    return st;
}

static ry_status feed_batch(ry_program *p, int64_t n, const int32_t *ids, const int32_t *targets, double scale) {
    float factor = (float)scale;
    RY_TRY(ry_program_feed(p, 0, ids, (size_t)n * sizeof *ids));
    RY_TRY(ry_program_feed(p, 1, targets, (size_t)n * sizeof *targets));
    return ry_program_feed(p, 2, &factor, sizeof factor);
}

static ry_status run_timed(train_step *s, ry_program *p) {
    RY_TRY(ry_run(p));
    for (int i = 0; i < 3; i++) s->ms[i] += p->ms[i];
    return RY_OK;
}

static ry_status fetch_number(ry_program *p, size_t want, double *out) {
    float x;
    RY_TRY(ry_fetch(p, want, &x, sizeof x));
    *out = x;
    return RY_OK;
}

static ry_status set_rates(train_step *s, ry_program *p, double lr, int64_t step) {
    RY_TRY(ry_program_set(p, "lr", lr));
    return s->optim.sgd ? RY_OK : ry_program_set(p, "step", (double)step);
}

ry_status train_step_run(train_step *s, int64_t k, const int32_t *ids, const int32_t *targets, double scale, double lr, int64_t step, double *loss, double *norm) {
    ry_program *p = s->whole ? s->whole : k == 0 ? s->first : s->more;
    if (k == 0) memset(s->ms, 0, sizeof s->ms);
    RY_TRY(feed_batch(p, s->batch * s->len, ids, targets, scale));
    if (s->whole) RY_TRY(set_rates(s, p, lr, step));
    RY_TRY(run_timed(s, p));
    RY_TRY(fetch_number(p, 0, loss));
    if (s->whole) return fetch_number(p, 1, norm);
    if (k + 1 < s->accum) return RY_OK;
    RY_TRY(set_rates(s, s->update, lr, step));
    RY_TRY(run_timed(s, s->update));
    return fetch_number(s->update, 0, norm);
}

void train_step_plan(const train_step *s, ry_plan_info *out) {
    ry_plan_info u;
    ry_program_plan(s->whole ? s->whole : s->more, out);
    size_t lasting = 0;
    for (size_t i = 0; i < s->n; i++) lasting += s->w[i]->bytes * (1 + (size_t)(s->mom != NULL) + (size_t)(s->sq != NULL) + (size_t)(s->acc != NULL));
    if (s->update) {
        ry_program_plan(s->update, &u);
        if (u.slab > out->slab) out->slab = u.slab;
        out->flops = out->flops * (double)s->accum + u.flops;
        out->bytes_moved = out->bytes_moved * (double)s->accum + u.bytes_moved;
        out->nodes += u.nodes;
    }
    out->weights = lasting;
    out->peak = lasting + out->inputs + out->outputs + out->slab;
}

ry_status train_grads(ry_model *m, int64_t batch, int64_t len, const int32_t *ids, const int32_t *targets, double scale, float **sum, double *loss) {
    size_t n = m->vars.n;
    ry_graph *g = NULL;
    ry_program *p = NULL;
    float *buf = NULL;
    ry_tensor *want = ry_mem_zalloc(ry_mem_size(n + 1, sizeof *want, 0));
    ry_status st = want ? ry_graph_open(&g, m->dev) : RY_ENOMEM;
    ry_tensor in[3];
    if (st == RY_OK) st = loss_and_grads(g, m, n, m->vars.at, batch, len, false, in, &want[0], want + 1);
    if (st == RY_OK) st = ry_compile(&p, g, n + 1, want, NULL);
    if (st == RY_OK) st = feed_batch(p, batch * len, ids, targets, scale);
    if (st == RY_OK) st = ry_run(p);
    if (st == RY_OK) st = fetch_number(p, 0, loss);
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        size_t bytes = m->vars.at[i]->bytes;
        ry_mem_free(buf);
        buf = ry_mem_alloc(bytes);
        st = buf ? ry_fetch(p, i + 1, buf, bytes) : RY_ENOMEM;
        for (size_t k = 0; st == RY_OK && k < bytes / sizeof *buf; k++) sum[i][k] += buf[k];
    }
    ry_mem_free(buf);
    ry_program_close(p);
    ry_graph_close(g);
    ry_mem_free(want);
    return st;
}
