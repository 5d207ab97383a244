/* train.c - rusty train, eval, plan: the verbs that take a model, data and training options. */
#include "app.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct args {
    app_common common;
    const char *model, *config, *data, *eval_data, *out, *tokenizer, *type;
    int64_t seq_len, stride;
    double hold_out;
    ry_train_options t;
    ry_dtype save_dtype;
    const char *loss_norm, *grad_checkpoint, *decay, *log;
    bool no_shuffle, overwrite, decay_all, dry_run, per_sample;
    double lr, clip, weight_decay, beta1, beta2, eps, momentum;
    bool lr_given, clip_given, decay_given;
} args;

#define MODEL_OPTIONS(a)                                                                                                       \
    {"--model,-m", OPT_TEXT, &(a).model, "FOLDER", "a model: config.json and model.safetensors", NULL},                        \
    {"--config", OPT_TEXT, &(a).config, "FILE", "a new model of this shape: keys of a Llama config.json, YAML or JSON", NULL}, \
    {"--data", OPT_TEXT, &(a).data, "FILE", "text, or safetensors with input_ids [N,T] and maybe labels", NULL},               \
    {"--tokenizer", OPT_TEXT, &(a).tokenizer, "KIND", "bytes, chars, or a folder with tokenizer.json (the model's)", NULL},    \
    {"--seq-len", OPT_INT | OPT_FROM_1, &(a).seq_len, "T", "tokens a row (text 256; safetensors: whole rows)", NULL}

#define TRAIN_OPTIONS(a)                                                                                                        \
    {"--type,--fine-tune-type", OPT_TEXT, &(a).type, "KIND", "full (the only one yet)", NULL},                                  \
    {"--batch-size,-b", OPT_INT | OPT_FROM_1, &(a).t.batch_size, "B", "rows a micro-batch (1)", NULL},                          \
    {"--grad-accum,--grad-accumulation-steps", OPT_INT | OPT_FROM_1, &(a).t.grad_accum, "N", "micro-batches a step (1)", NULL}, \
    {"--iters", OPT_INT | OPT_FROM_1, &(a).t.iters, "N", "optimiser steps (default: by --epochs)", NULL},                       \
    {"--epochs", OPT_INT | OPT_FROM_1, &(a).t.epochs, "N", "times through the data (1)", NULL},                                 \
    {"--lr,--learning-rate", OPT_REAL | OPT_ABOVE_0, &(a).lr, "X", "learning rate (1e-3)", &(a).lr_given},                      \
    {"--schedule", OPT_TEXT, &(a).t.schedule, "S", "cosine, linear, constant (cosine)", NULL},                                  \
    {"--warmup", OPT_INT | OPT_FROM_0, &(a).t.warmup, "N", "steps of warm-up from rate 0 (0)", NULL},                           \
    {"--clip", OPT_REAL | OPT_FROM_0, &(a).clip, "X", "largest gradient norm; 0: none (1)", &(a).clip_given},                   \
    {"--optimizer", OPT_TEXT, &(a).t.optimizer, "O", "adamw, sgd (adamw)", NULL},                                               \
    {"--beta1", OPT_REAL | OPT_ABOVE_0 | OPT_TO_1, &(a).t.beta1, "X", "(0.9)", NULL},                                           \
    {"--beta2", OPT_REAL | OPT_ABOVE_0 | OPT_TO_1, &(a).t.beta2, "X", "(0.999)", NULL},                                         \
    {"--eps", OPT_REAL | OPT_ABOVE_0, &(a).t.eps, "X", "(1e-8)", NULL},                                                         \
    {"--momentum", OPT_REAL | OPT_FROM_0, &(a).t.momentum, "X", "of sgd (0)", NULL},                                            \
    {"--weight-decay", OPT_REAL | OPT_FROM_0, &(a).weight_decay, "X", "decoupled (0.01)", &(a).decay_given},                    \
    {"--decay", OPT_TEXT, &(a).decay, "WHAT", "matrices or all (matrices)", NULL},                                              \
    {"--grad-checkpoint", OPT_TEXT, &(a).grad_checkpoint, "HOW", "none, block, full: recompute in the backward pass (none)", NULL}

static bool is(const char *s, const char *what) { return s && !strcmp(s, what); }

static ry_status settle(args *a) {
    ry_train_options *t = &a->t;
    if (a->type && strcmp(a->type, "full"))
        RY_FAIL(RY_EUNSUPPORTED, "--type %s: this version trains all weights (--type full)", a->type);
    t->lr = a->lr;
    t->clip = a->clip_given ? (a->clip > 0 ? a->clip : -1) : 0;
    t->weight_decay = a->decay_given ? (a->weight_decay > 0 ? a->weight_decay : -1) : 0;
    if (a->decay && !is(a->decay, "matrices") && !is(a->decay, "all")) RY_FAIL(RY_EARG, "--decay is matrices or all, not '%s'", a->decay);
    t->decay_all = is(a->decay, "all");
    const char *g = a->grad_checkpoint;
    if (g && !is(g, "none") && !is(g, "block") && !is(g, "full")) RY_FAIL(RY_EARG, "--grad-checkpoint is none, block or full, not '%s'", g);
    t->recompute = is(g, "block") || is(g, "full");
    if (a->loss_norm && !is(a->loss_norm, "tokens") && !is(a->loss_norm, "micro-batch"))
        RY_FAIL(RY_EARG, "--loss-norm is tokens or micro-batch, not '%s'", a->loss_norm);
    t->loss_norm_micro_batch = is(a->loss_norm, "micro-batch");
    t->seed = (uint64_t)a->common.seed;
    t->debug_nan = a->common.debug_nan;
    t->profile = a->common.profile;
    t->no_shuffle = a->no_shuffle, t->overwrite = a->overwrite;
    t->save_dtype = a->save_dtype;
    t->out = a->out;
    return RY_OK;
}

static bool is_tensors(const char *path) {
    size_t n = strlen(path);
    return n > 12 && !strcmp(path + n - 12, ".safetensors");
}

/* The model's own tokenizer, or the one that was named; none for data of ids. */
static ry_status find_tokenizer(const args *a, ry_tokenizer **out) {
    *out = NULL;
    if (a->tokenizer) return app_tokenizer(out, a->tokenizer, a->data);
    if (a->model) {
        ry_status st = ry_tokenizer_open(out, a->model);
        if (st == RY_OK || ((st == RY_ENOENT || st == RY_EUNSUPPORTED) && is_tensors(a->data))) return RY_OK;
        return app_no_tokenizer(st, a->model, "");
    }
    if (is_tensors(a->data)) return RY_OK;
    return ry_tokenizer_bytes(out);
}

static ry_status open_model(const args *a, ry_model **m, ry_device *d, const ry_tokenizer *tok) {
    ry_model_options o = {.master_f32 = true, .precision = a->common.precision};
    if (a->model) return ry_model_open(m, d, a->model, &o);
    return ry_model_init(m, d, a->config, tok ? ry_tokenizer_size(tok) : 0, (uint64_t)a->common.seed, &o);
}

static void print_step(void *ud, const ry_train_step *s) {
    const args *a = ud;
    if (a->common.json) {
        if (s->sample) return;
        if (s->is_eval) printf("{\"step\":%lld,\"eval_loss\":%.9g,\"eval_tokens\":%lld}\n", (long long)s->step, s->eval_loss, (long long)s->eval_tokens);
        else
            printf("{\"step\":%lld,\"loss\":%.9g,\"grad_norm\":%.9g,\"lr\":%.9g,\"tokens\":%lld,\"tok_per_s\":%.1f,\"peak_bytes\":%zu,"
                   "\"ms\":{\"data\":%.3f,\"forward\":%.3f,\"backward\":%.3f,\"optimizer\":%.3f}}\n",
                   (long long)s->step, s->loss, s->grad_norm, s->lr, (long long)s->tokens, s->tok_per_s, s->peak_bytes, s->ms_data, s->ms_forward,
                   s->ms_backward, s->ms_optimizer);
        fflush(stdout);
        return;
    }
    if (s->sample) {
        app_progress_clear();
        printf("step %lld sample: %s\n", (long long)s->step, s->sample);
    } else if (s->is_eval) {
        app_progress_clear();
        printf("step %lld/%lld  eval loss %.4f  perplexity %.2f  (%lld tokens)\n", (long long)s->step, (long long)s->steps, s->eval_loss, exp(s->eval_loss), (long long)s->eval_tokens);
    } else {
        app_progress((double)s->step / (double)s->steps, "step %lld/%lld  loss %.4f  %s tok/s  %s left", (long long)s->step, (long long)s->steps, s->loss,
                     app_count(s->tok_per_s).s, app_time(s->eta_s).s);
        int64_t each = s->steps / 20 > 0 ? s->steps / 20 : 1; /* in a pipe: about twenty lines a run */
        if (!app_tty(stderr) && (s->step == 1 || s->step % each == 0 || s->step == s->steps))
            printf("step %lld/%lld  loss %.4f  grad norm %.3f  lr %.3g  %s tok/s\n", (long long)s->step, (long long)s->steps, s->loss, s->grad_norm, s->lr, app_count(s->tok_per_s).s);
    }
    fflush(stdout);
}

static int run_train(const app_verb *v, int argc, char **argv) {
    args a = {0};
    const app_option o[] = {
        MODEL_OPTIONS(a), TRAIN_OPTIONS(a), APP_COMMON_OPTIONS(a.common),
        {"--out,-o,--adapter-path", OPT_TEXT, &a.out, "OUT", "folder of the run", NULL},
        {"--eval-data", OPT_TEXT, &a.eval_data, "FILE", "data to evaluate on", NULL},
        {"--hold-out", OPT_REAL, &a.hold_out, "X", "share of a text kept for evaluation (0.1 with --eval-every)", NULL},
        {"--eval-every,--steps-per-eval", OPT_INT | OPT_FROM_0, &a.t.eval_every, "N", "steps between evaluations (never)", NULL},
        {"--sample-every", OPT_INT | OPT_FROM_0, &a.t.sample_every, "N", "steps between samples of text (never)", NULL},
        {"--sample-prompt", OPT_TEXT, &a.t.sample_prompt, "TEXT", "what they begin with", NULL},
        {"--save-every", OPT_INT | OPT_FROM_0, &a.t.save_every, "N", "steps between checkpoints (only at the end and on a signal)", NULL},
        {"--keep", OPT_INT | OPT_FROM_1, &a.t.keep, "N", "checkpoints to keep (2)", NULL},
        {"--resume", OPT_TEXT, &a.t.resume, "auto|PATH", "go on from a checkpoint", NULL},
        {"--overwrite", OPT_FLAG, &a.overwrite, NULL, "remove the run that OUT holds", NULL},
        {"--no-shuffle", OPT_FLAG, &a.no_shuffle, NULL, "rows in file order", NULL},
        {"--loss-norm", OPT_TEXT, &a.loss_norm, "HOW", "tokens or micro-batch (tokens)", NULL},
        {"--save-dtype", OPT_DTYPE, &a.save_dtype, "T", "dtype of the saved model (f32)", NULL},
        {"--grads-out", OPT_TEXT, &a.t.grads_out, "FILE", "safetensors of the first step's gradients", NULL},
        {"--dry-run", OPT_FLAG, &a.dry_run, NULL, "say what would run, and stop", NULL},
        {"--debug-nan", OPT_FLAG, &a.common.debug_nan, NULL, "name the first operator whose result is not finite", NULL},
        {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!a.model == !a.config) return app_usage(v, "give -m MODEL or --config shape.yaml");
    if (!a.data) return app_usage(v, "give --data FILE");
    if (!a.out && !a.dry_run) return app_usage(v, "give -o OUT");
    ry_device *d = NULL;
    ry_tokenizer *tok = NULL;
    ry_data *data = NULL, *held = NULL;
    ry_model *m = NULL;
    char *yaml = NULL;
    ry_data_options how = {.seq_len = a.seq_len}, hold;
    ry_status st = settle(&a);
    if (st == RY_OK) st = find_tokenizer(&a, &tok);
    if (st == RY_OK && a.t.eval_every && !a.eval_data && !is_tensors(a.data) && a.hold_out == 0) a.hold_out = 0.1;
    how.hold_out = a.hold_out;
    hold = how;
    hold.held_part = true;
    if (st == RY_OK) st = ry_data_open(&data, a.data, tok, &how);
    if (st == RY_OK && a.eval_data) st = ry_data_open(&held, a.eval_data, tok, &(ry_data_options){.seq_len = a.seq_len});
    else if (st == RY_OK && a.hold_out > 0) st = ry_data_open(&held, a.data, tok, &hold);
    if (st == RY_OK) st = app_device(&d, &a.common);
    if (st == RY_OK) st = open_model(&a, &m, d, tok);
    if (st == RY_OK && !a.common.json)
        fprintf(stderr, "model: %s parameters, vocabulary %lld; data: %lld rows of %lld tokens\n", app_count((double)ry_model_params(m)).s,
                (long long)ry_model_vocab(m), (long long)ry_data_rows(data), (long long)ry_data_len(data));
    a.t.tokenizer = tok;
    a.t.on_profile = app_profile;
    a.t.on_step = print_step;
    a.t.ud = &a;
    a.t.stop = app_stop_flag();
    a.t.run_yaml = yaml = app_settings_text(v, o);
    if (st == RY_OK && !a.dry_run) st = ry_train(m, data, held, &a.t);
    app_progress_clear();
    if (st == RY_OK && a.dry_run) puts("dry run: everything opened; nothing was trained");
    else if (st == RY_OK && !a.common.json) fprintf(stderr, "saved to %s\n", a.out);
    code = st == RY_OK ? APP_OK : app_fail(st);
    ry_mem_free(yaml);
    ry_model_close(m);
    ry_data_close(held);
    ry_data_close(data);
    ry_tokenizer_close(tok);
    ry_device_close(d);
    return code;
}

/* ---- eval ---- */

static void print_row(void *ud, int64_t row, double loss, int64_t tokens) {
    (void)ud;
    printf("{\"sample\":%lld,\"loss\":%.9g,\"tokens\":%lld}\n", (long long)row, tokens ? loss / (double)tokens : 0, (long long)tokens);
}

static int run_eval(const app_verb *v, int argc, char **argv) {
    args a = {0};
    const app_option o[] = {
        MODEL_OPTIONS(a), APP_COMMON_OPTIONS(a.common),
        {"--batch-size,-b", OPT_INT | OPT_FROM_1, &a.t.batch_size, "B", "rows at a time (1)", NULL},
        {"--stride", OPT_INT | OPT_FROM_1, &a.stride, "N", "tokens between windows of text (seq-len)", NULL},
        {"--hold-out", OPT_REAL, &a.hold_out, "X", "only this last share of a text", NULL},
        {"--per-sample", OPT_FLAG, &a.per_sample, NULL, "one line a row", NULL},
        {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!a.model || !a.data) return app_usage(v, "give -m MODEL and --data FILE");
    ry_device *d = NULL;
    ry_tokenizer *tok = NULL;
    ry_data *data = NULL;
    ry_model *m = NULL;
    ry_eval_result r;
    ry_data_options how = {.seq_len = a.seq_len, .stride = a.stride, .hold_out = a.hold_out, .held_part = a.hold_out > 0};
    ry_status st = find_tokenizer(&a, &tok);
    if (st == RY_OK) st = ry_data_open(&data, a.data, tok, &how);
    ry_numerics numerics = RY_EXACT;
    if (st == RY_OK) st = app_numerics(&numerics, &a.common, RY_EXACT);
    if (st == RY_OK) st = app_device(&d, &a.common);
    if (st == RY_OK) st = ry_model_open(&m, d, a.model, &(ry_model_options){.precision = a.common.precision, .numerics = numerics});
    if (st == RY_OK) st = ry_evaluate(&r, m, data, a.t.batch_size, a.per_sample ? print_row : NULL, NULL);
    if (st == RY_OK && a.common.json)
        printf("{\"loss\":%.9g,\"perplexity\":%.9g,\"tokens\":%lld,\"samples\":%lld}\n", r.loss, r.perplexity, (long long)r.tokens, (long long)r.samples);
    else if (st == RY_OK) printf("loss %.5f  perplexity %.4f  tokens %lld  samples %lld\n", r.loss, r.perplexity, (long long)r.tokens, (long long)r.samples);
    code = st == RY_OK ? APP_OK : app_fail(st);
    ry_model_close(m);
    ry_data_close(data);
    ry_tokenizer_close(tok);
    ry_device_close(d);
    return code;
}

/* ---- plan ---- */

static int run_plan(const app_verb *v, int argc, char **argv) {
    args a = {0};
    const app_option o[] = {MODEL_OPTIONS(a), TRAIN_OPTIONS(a), APP_COMMON_OPTIONS(a.common), {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!a.model == !a.config) return app_usage(v, "give -m MODEL or --config shape.yaml");
    ry_tokenizer *tok = NULL;
    ry_data *data = NULL;
    ry_plan_info p;
    ry_device *d = NULL;
    int64_t len = a.seq_len, vocab = 0;
    ry_status st = settle(&a);
    if (st == RY_OK && a.data) st = find_tokenizer(&a, &tok);
    if (st == RY_OK && a.data) st = ry_data_open(&data, a.data, tok, &(ry_data_options){.seq_len = a.seq_len});
    if (data) len = ry_data_len(data);
    if (tok) vocab = ry_tokenizer_size(tok);
    else if (a.config && !a.data) vocab = 256;
    if (st == RY_OK) st = app_device(&d, &a.common);
    if (st == RY_OK) st = ry_train_plan(&p, a.model ? a.model : a.config, vocab, len, &a.t, a.common.precision, d);
    if (st == RY_OK && a.common.json)
        printf("{\"lasting\":%zu,\"inputs\":%zu,\"outputs\":%zu,\"activations\":%zu,\"scratch\":%zu,\"slab\":%zu,\"peak\":%zu,\"nodes\":%zu,\"fused\":%zu,"
               "\"flops_per_step\":%.6g,\"bytes_per_step\":%.6g}\n", p.weights, p.inputs, p.outputs, p.activations, p.scratch, p.slab, p.peak, p.nodes, p.fused, p.flops, p.bytes_moved);
    else if (st == RY_OK) {
        printf("weights, moments, gradients kept   %12s\n", app_bytes((double)p.weights).s);
        printf("activations and gradients          %12s\n", app_bytes((double)p.activations).s);
        printf("scratch of kernels                 %12s\n", app_bytes((double)p.scratch).s);
        printf("inputs and outputs                 %12s\n", app_bytes((double)(p.inputs + p.outputs)).s);
        printf("peak                               %12s\n\n", app_bytes((double)p.peak).s);
        printf("a step: %zu nodes (%zu elementwise ones fused away), %s operations, %s moved at least\n", p.nodes, p.fused, app_count(p.flops).s, app_bytes(p.bytes_moved).s);
    }
    code = st == RY_OK ? APP_OK : app_fail(st);
    ry_data_close(data);
    ry_tokenizer_close(tok);
    ry_device_close(d);
    return code;
}

const app_verb verb_train = {"train", "-m MODEL|--config shape.yaml --data FILE -o OUT [options]", "trains a model on text or token ids",
                             "rusty train --config shape.yaml --data book.txt --tokenizer chars --iters 500 -b 8 -o out/", run_train};
const app_verb verb_eval = {"eval", "-m MODEL --data FILE [options]", "loss and perplexity of a model on data", "rusty eval -m out/ --data book.txt --seq-len 256 --json", run_eval};
const app_verb verb_plan = {"plan", "-m MODEL|--config shape.yaml [train options]", "bytes by category before anything runs",
                            "rusty plan --config shape.yaml --seq-len 256 -b 8", run_plan};
