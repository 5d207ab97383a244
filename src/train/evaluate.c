/* evaluate.c - loss over a data set with the weights as they are.  Owns one program. */
#include "train/train.h"
#include <math.h>
#include <string.h>

void train_eval_close(train_eval *e) {
    if (!e) return;
    ry_program_close(e->p);
    ry_mem_free(e->ids);
    ry_mem_free(e->targets);
    ry_mem_free(e);
}

ry_status train_eval_open(train_eval **out, ry_model *m, int64_t batch, int64_t len) {
    train_eval *e = ry_mem_zalloc(sizeof *e);
    ry_graph *g = NULL;
    ry_status st = RY_ENOMEM;
    if (!e) return st;
    *e = (train_eval){.m = m, .batch = batch, .len = len};
    e->ids = ry_mem_zalloc(ry_mem_size((size_t)(batch * len), sizeof *e->ids, 0));
    e->targets = ry_mem_zalloc(ry_mem_size((size_t)(batch * len), sizeof *e->targets, 0));
    if (!e->ids || !e->targets) goto done;
    RY_GO(st, done, ry_graph_open(&g, m->dev));
    ry_tensor ids = ry_input(g, &RY_SHAPE(RY_I32, batch, len), "ids"), targets = ry_input(g, &RY_SHAPE(RY_I32, batch, len), "targets");
    ry_tensor loss = ry_model_loss(g, m, ids, targets, RY_NULL, false);
    st = ry_compile(&e->p, g, 1, &loss, NULL);
done:
    ry_graph_close(g);
    if (st != RY_OK) train_eval_close(e);
    else *out = e;
    return st;
}

ry_status train_eval_run(train_eval *e, const ry_data *d, ry_eval_result *out, ry_eval_sample_fn fn, void *ud) {
    int64_t rows = ry_data_rows(d), cells = e->batch * e->len;
    double sum = 0;
    *out = (ry_eval_result){0};
    if (ry_data_len(d) != e->len) RY_FAIL(RY_EARG, "evaluation rows have %lld tokens, the program takes %lld", (long long)ry_data_len(d), (long long)e->len);
    for (int64_t row = 0; row < rows; row += e->batch) {
        int64_t n = rows - row < e->batch ? rows - row : e->batch, tokens = 0;
        float loss;
        for (int64_t i = 0; i < cells; i++) e->ids[i] = 0, e->targets[i] = -100;
        for (int64_t i = 0; i < n; i++) RY_TRY(ry_data_row(d, row + i, e->ids + i * e->len, e->targets + i * e->len));
        for (int64_t i = 0; i < cells; i++) tokens += e->targets[i] != -100;
        RY_TRY(ry_program_feed(e->p, 0, e->ids, (size_t)cells * sizeof *e->ids));
        RY_TRY(ry_program_feed(e->p, 1, e->targets, (size_t)cells * sizeof *e->targets));
        RY_TRY(ry_run(e->p));
        RY_TRY(ry_fetch(e->p, 0, &loss, sizeof loss));
        if (fn) fn(ud, row, loss, tokens);
        sum += loss;
        out->tokens += tokens;
        out->samples += n;
    }
    if (!out->tokens) RY_FAIL(RY_EARG, "the evaluation data has no target tokens");
    out->loss = sum / (double)out->tokens;
    out->perplexity = exp(out->loss);
    return isfinite(out->loss) ? RY_OK : ry_fail(RY_ENAN, "the evaluation loss is %g", out->loss);
}

ry_status ry_evaluate(ry_eval_result *out, ry_model *m, const ry_data *d, int64_t batch_size, ry_eval_sample_fn fn, void *ud) {
    train_eval *e = NULL;
    if (batch_size < 0) RY_FAIL(RY_EARG, "the batch size must be at least 1");
    RY_TRY(train_eval_open(&e, m, fn || batch_size == 0 ? 1 : batch_size, ry_data_len(d)));
    ry_status st = train_eval_run(e, d, out, fn, ud);
    train_eval_close(e);
    return st;
}
