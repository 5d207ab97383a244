/* checkpoint.c - everything for a bit-exact resume: weights, moments, state.json.  Written beside its place, then renamed. */
#include "core/tune.h"
#include "io/safetensors.h"
#include "train/train.h"
#include <stdio.h>
#include <string.h>

/* ---- state.json ---- */

/* What must be as it was: the data order, the schedule and the update depend on it. */
static ry_status fingerprint(ry_json *j, const train_step *s, const ry_train_options *o, int64_t rows) {
    RY_TRY(ry_json_put(j, "batch_size", ry_json_new_int(s->batch)));
    RY_TRY(ry_json_put(j, "seq_len", ry_json_new_int(s->len)));
    RY_TRY(ry_json_put(j, "grad_accum", ry_json_new_int(o->grad_accum)));
    RY_TRY(ry_json_put(j, "iters", ry_json_new_int(o->iters)));
    RY_TRY(ry_json_put(j, "seed", ry_json_new_int((int64_t)o->seed)));
    RY_TRY(ry_json_put(j, "shuffle", ry_json_new_bool(!o->no_shuffle)));
    RY_TRY(ry_json_put(j, "data_rows", ry_json_new_int(rows)));
    RY_TRY(ry_json_put(j, "lr", ry_json_new_real(o->lr)));
    RY_TRY(ry_json_put(j, "schedule", ry_json_new_text(o->schedule)));
    RY_TRY(ry_json_put(j, "warmup", ry_json_new_int(o->warmup)));
    RY_TRY(ry_json_put(j, "clip", ry_json_new_real(o->clip)));
    RY_TRY(ry_json_put(j, "optimizer", ry_json_new_text(o->optimizer)));
    RY_TRY(ry_json_put(j, "beta1", ry_json_new_real(o->beta1)));
    RY_TRY(ry_json_put(j, "beta2", ry_json_new_real(o->beta2)));
    RY_TRY(ry_json_put(j, "eps", ry_json_new_real(o->eps)));
    RY_TRY(ry_json_put(j, "weight_decay", ry_json_new_real(o->weight_decay)));
    RY_TRY(ry_json_put(j, "momentum", ry_json_new_real(o->momentum)));
    RY_TRY(ry_json_put(j, "decay_all", ry_json_new_bool(o->decay_all)));
    RY_TRY(ry_json_put(j, "loss_norm_micro_batch", ry_json_new_bool(o->loss_norm_micro_batch)));
    return ry_json_put(j, "precision", ry_json_new_text(ry_dtype_name(s->m->opt.precision)));
}

static ry_status make_state(ry_json **out, const train_step *s, const ry_train_options *o, const train_state *t, int64_t rows) {
    ry_json *j = ry_json_new_object(), *settings = ry_json_new_object();
    ry_status st = j && settings ? fingerprint(settings, s, o, rows) : RY_ENOMEM;
    if (st == RY_OK) st = ry_json_put(j, "format", ry_json_new_int(1));
    if (st == RY_OK) st = ry_json_put(j, "step", ry_json_new_int(t->step));
    if (st == RY_OK) st = ry_json_put(j, "finished", ry_json_new_bool(t->finished));
    if (st == RY_OK) st = ry_json_put(j, "log_bytes", ry_json_new_int(t->log_bytes));
    ry_text kernels = {0}; /* a resumed run computes with the same ones */
    if (st == RY_OK) st = tune_taken(s->m->dev->tuning, &kernels);
    if (st == RY_OK) st = ry_json_put(j, "kernels", ry_json_new_text(kernels.at ? kernels.at : ""));
    ry_text_free(&kernels);
    if (st == RY_OK) {
        st = ry_json_put(j, "settings", settings);
        settings = NULL;
    }
    if (st != RY_OK) {
        ry_json_free(j);
        ry_json_free(settings);
        return st;
    }
    *out = j;
    return RY_OK;
}

/* ---- moments ---- */

typedef struct moments {
    const train_step *s;
    void *buf;
} moments;

static ry_var *moment(const train_step *s, size_t i) { return i < s->n ? s->mom[i] : s->sq[i - s->n]; }
static size_t moment_count(const train_step *s) { return (s->mom ? s->n : 0) + (s->sq ? s->n : 0); }

static ry_status source(void *ud, size_t i, const void **data) {
    moments *m = ud;
    ry_var *v = moment(m->s, i);
    ry_mem_free(m->buf);
    m->buf = ry_mem_alloc(v->bytes);
    if (!m->buf) return RY_ENOMEM;
    *data = m->buf;
    return ry_var_read(v, m->buf, v->bytes);
}

static ry_status save_moments(const train_step *s, const char *path) {
    size_t n = moment_count(s);
    moments m = {.s = s};
    ry_named_data *d = ry_mem_zalloc(ry_mem_size(n, sizeof *d, 1));
    if (!d) return RY_ENOMEM;
    for (size_t i = 0; i < n; i++) d[i].name = moment(s, i)->name, d[i].spec = moment(s, i)->spec;
    ry_status st = st_write(path, n, d, NULL, source, &m);
    ry_mem_free(m.buf);
    ry_mem_free(d);
    return st;
}

static ry_status load_vars(const char *path, ry_var *const *v, size_t n) {
    ry_tensor_file *f;
    ry_status st = RY_OK;
    RY_TRY(ry_tensor_file_open(&f, path));
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        ry_spec spec;
        const void *data;
        st = ry_tensor_file_find(f, v[i]->name, &spec, &data);
        if (st == RY_OK && (spec.dtype != v[i]->spec.dtype || spec.rank != v[i]->spec.rank || memcmp(spec.dim, v[i]->spec.dim, sizeof(int64_t) * (size_t)spec.rank)))
            st = ry_fail(RY_ESHAPE, "%s: %s is %s, the model has %s", path, v[i]->name, ry_show(&spec).s, ry_show(&v[i]->spec).s);
        if (st == RY_OK) st = ry_var_write(v[i], data, v[i]->bytes);
    }
    ry_tensor_file_close(f);
    return st;
}

/* ---- whole checkpoints ---- */

typedef struct old { int64_t step[256]; int n; } old;

static bool collect(void *ud, const char *name) {
    old *o = ud;
    int64_t step = train_checkpoint_step(name);
    if (step >= 0 && o->n < 256) o->step[o->n++] = step;
    return true;
}

/* Keeps the newest `keep`; a failure to remove an old one is no reason to stop. */
static void prune(const char *dir, int64_t keep) {
    old o = {.n = 0};
    char name[64];
    if (os_list(dir, collect, &o) != RY_OK) return;
    for (int i = 0; i < o.n; i++) {
        int64_t newer = 0;
        for (int k = 0; k < o.n; k++) newer += o.step[k] > o.step[i];
        if (newer < keep) continue;
        snprintf(name, sizeof name, "step-%lld", (long long)o.step[i]);
        char *path = os_join(dir, name);
        if (path && os_remove_tree(path) != RY_OK) ry_log_line(RY_LOG_WARN, "cannot remove the old checkpoint %s: %s", path, ry_message());
        ry_mem_free(path);
    }
}

static ry_status write_parts(const char *tmp, const train_step *s, const ry_train_options *o, const train_state *t, int64_t rows) {
    char *opt = os_join(tmp, "optimizer.safetensors"), *state = os_join(tmp, "state.json");
    ry_json *j = NULL;
    ry_status st = opt && state ? ry_model_save(s->m, tmp, RY_F32) : RY_ENOMEM;
    if (st == RY_OK && o->tokenizer) st = ry_tokenizer_save(o->tokenizer, tmp);
    if (st == RY_OK && moment_count(s)) st = save_moments(s, opt);
    if (st == RY_OK) st = make_state(&j, s, o, t, rows);
    if (st == RY_OK) st = ry_json_save(j, state);
    ry_json_free(j);
    ry_mem_free(opt);
    ry_mem_free(state);
    return st;
}

ry_status train_checkpoint_save(const train_folder *f, const train_step *s, const ry_train_options *o, const train_state *t, int64_t rows) {
    char name[64], hidden[80], *dir = os_join(f->path, "checkpoints"), *tmp = NULL, *final = NULL;
    snprintf(name, sizeof name, "step-%lld", (long long)t->step);
    snprintf(hidden, sizeof hidden, ".new-%s", name);
    ry_status st = RY_ENOMEM;
    if (!dir || !(tmp = os_join(dir, hidden)) || !(final = os_join(dir, name))) goto done;
    RY_GO(st, done, os_mkdirs(dir));
    if (os_kind(tmp) != OS_NOTHING) RY_GO(st, done, os_remove_tree(tmp)); /* of a killed process */
    RY_GO(st, done, os_mkdirs(tmp));
    st = write_parts(tmp, s, o, t, rows);
    if (st == RY_OK && os_kind(final) != OS_NOTHING) st = os_remove_tree(final); /* the same step again: equal bits */
    if (st == RY_OK) st = os_sync_folder(tmp);
    if (st == RY_OK) st = os_rename(tmp, final);
    if (st == RY_OK) prune(dir, o->keep);
    else {
        st = ry_fail_in(st, "checkpoint %s (earlier checkpoints are whole)", final);
        char message[512];
        snprintf(message, sizeof message, "%s", ry_message());
        os_remove_tree(tmp);
        st = ry_fail(st, "%s", message);
    }
done:
    ry_mem_free(dir);
    ry_mem_free(tmp);
    ry_mem_free(final);
    return st;
}

static ry_status compare_settings(const ry_json *was, const train_step *s, const ry_train_options *o, int64_t rows, const char *what) {
    ry_json *now = ry_json_new_object();
    ry_text a = {0}, b = {0};
    ry_status st = now ? fingerprint(now, s, o, rows) : RY_ENOMEM;
    for (ry_json_it it = ry_json_first(now); st == RY_OK && it.value; it = ry_json_next(now, it)) {
        const ry_json *x = ry_json_find(was, it.key);
        a.n = b.n = 0;
        ry_json_write(&a, it.value, 0);
        if (x) ry_json_write(&b, x, 0);
        else ry_text_puts(&b, "nothing");
        if ((st = ry_text_status(&a)) == RY_OK) st = ry_text_status(&b);
        if (st == RY_OK && strcmp(a.at, b.at))
            st = ry_fail(RY_EARG, "%s: it was made with %s %s, now it is %s: the run would not go on as it was; give the old value, or start anew elsewhere", what,
                         it.key, b.at, a.at);
    }
    ry_text_free(&a);
    ry_text_free(&b);
    ry_json_free(now);
    return st;
}

ry_status train_checkpoint_kernels(const char *path, ry_device *d) {
    char *state = os_join(path, "state.json");
    const char *kernels = "";
    ry_json *j = NULL;
    ry_status st = state ? ry_json_read(&j, state, 0) : RY_ENOMEM;
    if (st == RY_OK) st = ry_json_need_object(j, state);
    if (st == RY_OK) st = ry_json_text(&kernels, j, state, "kernels", false);
    if (st == RY_OK) st = tune_take(d->tuning, kernels);
    ry_json_free(j);
    ry_mem_free(state);
    return st;
}

ry_status train_checkpoint_load(const char *path, const train_step *s, const ry_train_options *o, train_state *t, int64_t rows) {
    char *weights = os_join(path, "model.safetensors"), *opt = os_join(path, "optimizer.safetensors"), *state = os_join(path, "state.json");
    ry_json *j = NULL;
    const ry_json *settings;
    int64_t format = 0;
    ry_status st = RY_ENOMEM;
    if (!weights || !opt || !state) goto done;
    RY_GO(st, done, ry_json_read(&j, state, 0));
    RY_GO(st, done, ry_json_need_object(j, state));
    RY_GO(st, done, ry_json_int(&format, j, state, "format", 1, 1, true));
    RY_GO(st, done, ry_json_int(&t->step, j, state, "step", 0, INT64_MAX, true));
    RY_GO(st, done, ry_json_int(&t->log_bytes, j, state, "log_bytes", 0, INT64_MAX, true));
    RY_GO(st, done, ry_json_bool(&t->finished, j, state, "finished", true));
    RY_GO(st, done, ry_json_object(&settings, j, state, "settings", true));
    RY_GO(st, done, compare_settings(settings, s, o, rows, state));
    RY_GO(st, done, weights_restore(s->m, weights));
    if (s->mom) RY_GO(st, done, load_vars(opt, s->mom, s->n));
    if (s->sq) RY_GO(st, done, load_vars(opt, s->sq, s->n));
done:
    ry_json_free(j);
    ry_mem_free(weights);
    ry_mem_free(opt);
    ry_mem_free(state);
    return st;
}
