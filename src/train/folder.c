/* folder.c - the folder of a run: its lock, its log, and what is there already.  Never touches tensors. */
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const parts[] = {"checkpoints", "log.jsonl", "train.yaml", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"};

static ry_status each_part(const char *folder, bool remove, bool *found) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *path = os_join(folder, parts[i]);
        if (!path) return RY_ENOMEM;
        ry_status st = RY_OK;
        if (os_kind(path) != OS_NOTHING) {
            *found = true;
            if (remove) st = os_remove_tree(path);
        }
        ry_mem_free(path);
        RY_TRY(st);
    }
    return RY_OK;
}

typedef struct newest { int64_t step; } newest;

int64_t train_checkpoint_step(const char *name) {
    char *end;
    if (strncmp(name, "step-", 5)) return -1;
    long long step = strtoll(name + 5, &end, 10);
    return !*end && end != name + 5 ? step : -1;
}

static bool look(void *ud, const char *name) {
    newest *n = ud;
    int64_t step = train_checkpoint_step(name);
    if (step > n->step) n->step = step;
    return true;
}

/* The checkpoint with the highest step. A checkpoint appears by rename, so what is there is whole. */
static ry_status find_newest(char **out, const char *folder) {
    newest n = {-1};
    char *dir = os_join(folder, "checkpoints"), name[64];
    if (!dir) return RY_ENOMEM;
    ry_status st = os_kind(dir) == OS_FOLDER ? os_list(dir, look, &n) : RY_OK;
    if (st == RY_OK && n.step >= 0) {
        snprintf(name, sizeof name, "step-%lld", (long long)n.step);
        *out = os_join(dir, name);
        if (!*out) st = RY_ENOMEM;
    }
    ry_mem_free(dir);
    return st;
}

static ry_status copy_text(char **out, const char *s) {
    *out = ry_mem_alloc(strlen(s) + 1);
    if (!*out) return RY_ENOMEM;
    strcpy(*out, s);
    return RY_OK;
}

ry_status train_folder_open(train_folder *f, const ry_train_options *o, char **from) {
    bool found = false;
    *from = NULL;
    f->path = o->out;
    RY_TRY(os_mkdirs(o->out));
    char *lock = os_join(o->out, ".lock");
    if (!lock) return RY_ENOMEM;
    ry_status st = os_lock_open(&f->lock, lock);
    ry_mem_free(lock);
    if (st == RY_EBUSY) RY_FAIL(RY_EBUSY, "%s: another process is training into this folder", o->out);
    RY_TRY(st);
    if (o->resume && !strcmp(o->resume, "auto")) return find_newest(from, o->out);
    if (o->resume) {
        if (os_kind(o->resume) != OS_FOLDER) RY_FAIL(RY_ENOENT, "%s: no such checkpoint folder", o->resume);
        return copy_text(from, o->resume);
    }
    RY_TRY(each_part(o->out, o->overwrite, &found));
    if (found && !o->overwrite) RY_FAIL(RY_EARG, "%s holds a run already: give --resume auto to go on with it, or --overwrite to begin anew", o->out);
    return RY_OK;
}

ry_status train_folder_log(train_folder *f, const train_state *from) {
    char *path = os_join(f->path, "log.jsonl");
    if (!path) return RY_ENOMEM;
    f->log_bytes = from->log_bytes;
    ry_status st = os_append_open(&f->log, path, from->log_bytes);
    ry_mem_free(path);
    return st;
}

static void number(ry_text *t, const char *key, double v) {
    if (isfinite(v)) ry_text_printf(t, ",\"%s\":%.9g", key, v);
    else ry_text_printf(t, ",\"%s\":null", key);
}

ry_status train_log_line(train_folder *f, const ry_train_step *s) {
    ry_text t = {0};
    if (!f->log) return RY_OK;
    ry_text_printf(&t, "{\"step\":%lld", (long long)s->step);
    if (s->is_eval) {
        number(&t, "eval_loss", s->eval_loss);
        ry_text_printf(&t, ",\"eval_tokens\":%lld}\n", (long long)s->eval_tokens);
    } else {
        number(&t, "loss", s->loss);
        number(&t, "grad_norm", s->grad_norm);
        number(&t, "lr", s->lr);
        ry_text_printf(&t, ",\"tokens\":%lld", (long long)s->tokens);
        number(&t, "tok_per_s", s->tok_per_s);
        ry_text_printf(&t, ",\"peak_bytes\":%zu,\"ms\":{\"data\":%.3f,\"forward\":%.3f,\"backward\":%.3f,\"optimizer\":%.3f}}\n", s->peak_bytes,
                       s->ms_data, s->ms_forward, s->ms_backward, s->ms_optimizer);
    }
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) st = os_out_write(f->log, t.at, t.n);
    if (st == RY_OK) st = os_append_flush(f->log);
    f->log_bytes += (int64_t)t.n;
    ry_text_free(&t);
    return st;
}

void train_folder_close(train_folder *f) {
    if (f->log) os_append_close(f->log);
    os_lock_close(f->lock);
    *f = (train_folder){0};
}
