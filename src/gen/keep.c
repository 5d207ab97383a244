/* keep.c - a sequence's ids and caches in a file, to go on from later: safetensors with the tensors ids [n] and, by layer, layer.<i>.0 and
 * layer.<i>.1 (keys and values, [n,..]), and metadata that says whose they are.
 *
 * Owns nothing; what it reads is checked against the session before anything changes. */
#include "base/text.h"
#include "gen/session.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <string.h>

/* Which model: names, shapes, dtypes and some bytes of all its weights. */
static ry_status fingerprint(const ry_model *m, char out[17]) {
    enum { BYTES = 256 };
    uint64_t h = RY_TEXT_HASH;
    ry_status st = RY_OK;
    ry_device_lock(m->dev);
    for (size_t i = 0; i < m->vars.n && st == RY_OK; i++) {
        const ry_var *v = m->vars.at[i];
        char bytes[BYTES] = {0};
        size_t n = v->bytes < BYTES ? v->bytes : BYTES;
        h = ry_text_hash(h, v->name, strlen(v->name) + 1);
        h = ry_text_hash(h, (const char *)&v->spec.dtype, sizeof v->spec.dtype);
        h = ry_text_hash(h, (const char *)v->spec.dim, sizeof *v->spec.dim * (size_t)v->spec.rank);
        st = m->dev->api->read(m->dev, &v->buf, (v->bytes - n) / 2 / 4 * 4, bytes, n / 4 * 4);
        h = ry_text_hash(h, bytes, n / 4 * 4);
    }
    ry_device_unlock(m->dev);
    snprintf(out, 17, "%016llx", (unsigned long long)h);
    return st;
}

static bool by_position(const ry_session *s, size_t i) { return model_cache_of(s->m, (int64_t)i / 2, 1, 1, RY_F32).by_position; }

/* Bytes of a cache that belong to the sequence's n positions, and where they begin. */
static size_t span(const ry_session *s, size_t i, int64_t n, size_t *first) {
    size_t all = s->cache[i]->bytes / (size_t)s->opt.batch;
    *first = all * (size_t)s->at;
    return by_position(s, i) ? all / (size_t)s->rows * (size_t)n : all;
}

/* How n positions of a cache lie in the file: block formats, which it cannot name, as bytes. */
static ry_spec spec_in_file(const ry_session *s, size_t i, int64_t n) {
    const ry_var *v = s->cache[i];
    if (!by_position(s, i)) return RY_SHAPE(v->spec.dtype, v->spec.dim[1], v->spec.dim[2]);
    ry_spec x = RY_SHAPE(v->spec.dtype, n, v->spec.dim[2], v->spec.dim[3]);
    if (ry_dtype_row(x.dtype)->kind == RY_KIND_BLOCK) x = RY_SHAPE(RY_U8, n, (int64_t)(v->bytes / (size_t)(s->opt.batch * s->rows)));
    return x;
}

static size_t count_of(const ry_session *s) { return 2 * (size_t)s->m->cfg.num_hidden_layers; }

ry_status gen_save(ry_session *s, const char *path, const char *key, const char *text) {
    const gen_sequence *q = &s->seq[s->at];
    size_t n = count_of(s);
    int64_t positions = (int64_t)q->ids.n;
    char print[17];
    if (!positions) RY_FAIL(RY_EARG, "%s: nothing has been fed yet, there is nothing to save", path);
    RY_TRY(fingerprint(s->m, print));
    struct { char text[32]; } *names = ry_mem_zalloc(n * sizeof *names);
    ry_named_data *t = ry_mem_zalloc((n + 1) * sizeof *t);
    ry_status st = names && t ? RY_OK : RY_ENOMEM;
    size_t k = 0, first;
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        const ry_var *v = s->cache[i];
        if (!v) continue;
        size_t bytes = span(s, i, positions, &first);
        void *data = ry_mem_alloc(bytes);
        snprintf(names[k].text, sizeof names[k].text, "layer.%zu.%zu", i / 2, i % 2);
        t[k] = (ry_named_data){names[k].text, spec_in_file(s, i, positions), data};
        k++;
        if (!data) st = RY_ENOMEM;
        ry_device_lock(s->m->dev);
        if (st == RY_OK) st = s->m->dev->api->read(s->m->dev, &v->buf, first, data, bytes);
        ry_device_unlock(s->m->dev);
    }
    if (st == RY_OK) {
        t[k] = (ry_named_data){"ids", RY_SHAPE(RY_I32, positions), q->ids.at};
        st = ry_tensor_file_write(path, k + 1, t, (const char *const[]){"format", "rusty session 1", "model", print, "cache", ry_dtype_name(s->opt.cache), key, text, NULL});
    }
    for (size_t i = 0; i < k; i++) ry_mem_free((void *)(uintptr_t)t[i].data);
    ry_mem_free(t);
    ry_mem_free(names);
    return st;
}

static ry_status check_meta(const ry_session *s, const ry_tensor_file *f, const char *path) {
    char print[17];
    const char *format = ry_tensor_file_meta(f, "format"), *model = ry_tensor_file_meta(f, "model"), *cache = ry_tensor_file_meta(f, "cache");
    if (!format || strcmp(format, "rusty session 1") || !model || !cache) RY_FAIL(RY_EFORMAT, "%s: not a saved session of this version", path);
    RY_TRY(fingerprint(s->m, print));
    if (strcmp(model, print)) RY_FAIL(RY_EARG, "%s: was saved by another model: remove it, or give that model", path);
    if (strcmp(cache, ry_dtype_name(s->opt.cache)))
        RY_FAIL(RY_EARG, "%s: its cache is %s, this session's %s: open it with that dtype (--cache-type)", path, cache, ry_dtype_name(s->opt.cache));
    return RY_OK;
}

static ry_status load_from(ry_session *s, const ry_tensor_file *f, const char *path) {
    gen_sequence *q = &s->seq[s->at];
    ry_spec have;
    const void *data;
    RY_TRY(check_meta(s, f, path));
    RY_TRY(ry_tensor_file_find(f, "ids", &have, &data));
    if (have.dtype != RY_I32 || have.rank != 1) RY_FAIL(RY_EFORMAT, "%s: ids is %s, it must be i32 [n]", path, ry_show(&have).s);
    int64_t n = have.dim[0];
    const int32_t *ids = data;
    if (n > s->opt.context) RY_FAIL(RY_EARG, "%s: holds %lld positions, the context is %lld: use a larger --ctx-size", path, (long long)n, (long long)s->opt.context);
    RY_TRY(gen_reserve(s, n));
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->m->cfg.vocab_size) RY_FAIL(RY_EFORMAT, "%s: id %d is outside the vocabulary of %lld", path, ids[i], (long long)s->m->cfg.vocab_size);
    for (size_t i = 0; i < count_of(s); i++) {
        char name[32];
        if (!s->cache[i]) continue;
        snprintf(name, sizeof name, "layer.%zu.%zu", i / 2, i % 2);
        RY_TRY(ry_tensor_file_find(f, name, &have, &data));
        ry_spec want = spec_in_file(s, i, n);
        if (have.dtype != want.dtype || !ry_same_shape(&have, &want)) RY_FAIL(RY_EFORMAT, "%s: %s is %s, it must be %s", path, name, ry_show(&have).s, ry_show(&want).s);
    }
    ry_session_reset(s);
    for (size_t i = 0; i < count_of(s); i++) {
        char name[32];
        ry_var *v = s->cache[i];
        size_t first, bytes;
        if (!v) continue;
        bytes = span(s, i, n, &first);
        snprintf(name, sizeof name, "layer.%zu.%zu", i / 2, i % 2);
        RY_TRY(ry_tensor_file_find(f, name, &have, &data));
        ry_device_lock(s->m->dev);
        ry_status st = s->m->dev->api->write(s->m->dev, &v->buf, first, data, bytes);
        ry_device_unlock(s->m->dev);
        RY_TRY(st);
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t *slot = RY_PUSH(&q->ids);
        if (!slot) {
            q->ids.n = 0;
            return RY_ENOMEM;
        }
        *slot = ids[i];
    }
    return RY_OK;
}

ry_status ry_session_save(ry_session *s, const char *path) { return gen_save(s, path, NULL, NULL); }

ry_status gen_load(ry_session *s, const char *path, const char *key, char **text) {
    ry_tensor_file *f;
    RY_TRY(ry_tensor_file_open(&f, path));
    ry_status st = load_from(s, f, path);
    const char *found = key ? ry_tensor_file_meta(f, key) : NULL;
    if (st == RY_OK && found) {
        *text = ry_mem_alloc(strlen(found) + 1);
        if (*text) strcpy(*text, found);
        else st = RY_ENOMEM;
    }
    ry_tensor_file_close(f);
    return st;
}

ry_status ry_session_load(ry_session *s, const char *path) { return gen_load(s, path, NULL, NULL); }
