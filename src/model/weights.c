/* weights.c - parameters by name: from a source, at random, and back into safetensors.  Knows no family. */
#include "base/os.h"
#include "base/rng.h"
#include "core/device.h"
#include "core/op.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "simd/rows.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static ry_status convert(void *out, ry_dtype to, const void *data, ry_dtype from, int64_t n) {
    float buf[4096];
    for (int64_t i = 0; i < n; i += 4096) {
        int64_t k = n - i < 4096 ? n - i : 4096;
        ry_store_row(out, to, i, k, ry_load_row(data, from, i, k, buf));
    }
    return RY_OK;
}

static bool is_weight(ry_dtype t) {
    ry_kind kind = ry_dtype_row(t)->kind;
    return t != RY_NONE && (kind == RY_KIND_FLOAT || kind == RY_KIND_BLOCK);
}

/* Of the same dtype as it is stored, or widened to f32; in place where it lies ready. */
static ry_status from_source(ry_model *m, ry_var **out, const ry_spec *want, const char *name) {
    model_stored *t = source_find(m->source, name);
    if (!t) RY_FAIL(RY_EFORMAT, "%s: tensor %s is missing", m->source->what, name);
    t->used = true;
    if (!is_weight(t->spec.dtype))
        RY_FAIL(RY_EDTYPE, "%s: tensor %s is %s, which no weights of Rusty's can be", t->file, name, t->type);
    if (!ry_same_shape(&t->spec, want))
        RY_FAIL(RY_ESHAPE, "%s: tensor %s is %s, the config wants %s", t->file, name, ry_show(&t->spec).s, ry_show(want).s);
    ry_spec s = t->spec;
    if (m->opt.master_f32 || s.dtype == RY_F64) s.dtype = RY_F32;
    if (s.dtype == t->spec.dtype && !m->opt.master_f32 && t->data) {
        RY_TRY(ry_var_wrap(out, m->dev, &s, name, (void *)(uintptr_t)t->data, NULL, NULL));
        (*out)->read_only = (*out)->buf.borrowed;
        return RY_OK;
    }
    size_t bytes;
    RY_TRY(ry_spec_bytes(&bytes, &s));
    RY_TRY(ry_var_open(out, m->dev, &s, name));
    bool same = s.dtype == t->spec.dtype;
    void *made = t->data ? NULL : ry_mem_alloc(t->bytes), *x = same ? NULL : ry_mem_alloc(bytes);
    const void *raw = t->data ? t->data : made;
    ry_status st = raw && (same || x) ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && made) st = source_read(m->source, t, made);
    if (st == RY_OK && x) st = convert(x, s.dtype, raw, t->spec.dtype, ry_count(&s));
    if (st == RY_OK) st = ry_var_write(*out, same ? raw : x, bytes);
    ry_mem_free(made);
    ry_mem_free(x);
    if (st != RY_OK) {
        ry_var_close(*out);
        *out = NULL;
    }
    return st;
}

static ry_status at_random(ry_model *m, ry_var **out, const ry_spec *f32, model_init init, const char *name) {
    ry_device_info dev;
    ry_spec as = *f32, *s = &as;
    size_t bytes;
    if (m->opt.weights && !m->opt.master_f32) as.dtype = m->opt.weights;
    RY_TRY(ry_var_open(out, m->dev, s, name));
    ry_device_describe(m->dev, &dev);
    if (init == INIT_ZEROS || !strcmp(dev.backend, "null")) return RY_OK;
    RY_TRY(ry_spec_bytes(&bytes, f32));
    float *x = ry_mem_alloc(bytes);
    int64_t n = ry_count(s);
    ry_status st = x ? RY_OK : RY_ENOMEM;
    if (x && init == INIT_NORMAL) {
        ry_rng_normal(x, n, m->seed, (uint32_t)m->vars.n, 0); /* each parameter has a stream of its own */
        simd_rows()->scale(x, x, (float)m->cfg.initializer_range, n);
    } else if (x) simd_rows()->fill(x, 1, n);
    if (st == RY_OK && s->dtype != RY_F32) st = convert(x, s->dtype, x, RY_F32, n); /* narrower: never ahead of what is read */
    if (st == RY_OK) st = ry_var_write(*out, x, ry_bytes_of(s->dtype, n));
    ry_mem_free(x);
    if (st != RY_OK) {
        ry_var_close(*out);
        *out = NULL;
    }
    return st;
}

ry_status model_param(ry_model *m, ry_var **out, model_init init, int rank, const int64_t *dim, const char *fmt, ...) {
    char name[256];
    ry_spec s = ry_shape(RY_F32, rank, dim);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    ry_var *v = NULL;
    RY_TRY(m->source ? from_source(m, &v, &s, name) : at_random(m, &v, &s, init, name));
    ry_var **slot = RY_PUSH(&m->vars);
    if (!slot) {
        ry_var_close(v);
        return RY_ENOMEM;
    }
    *slot = *out = v;
    return RY_OK;
}

/* ---- saving ---- */

typedef struct saver {
    const ry_model *m;
    ry_dtype dtype;
    void *raw, *out; /* one tensor as it is held, and as it is written */
} saver;

static ry_status source(void *ud, size_t i, const void **data) {
    saver *s = ud;
    ry_var *v = s->m->vars.at[i];
    const ry_spec *spec = ry_var_spec(v);
    size_t bytes;
    ry_spec to = *spec;
    to.dtype = s->dtype;
    ry_mem_free(s->raw);
    ry_mem_free(s->out);
    s->raw = s->out = NULL;
    RY_TRY(ry_spec_bytes(&bytes, spec));
    if (!(s->raw = ry_mem_alloc(bytes))) return RY_ENOMEM;
    RY_TRY(ry_var_read(v, s->raw, bytes));
    *data = s->raw;
    if (spec->dtype == s->dtype) return RY_OK;
    RY_TRY(ry_spec_bytes(&bytes, &to));
    if (!(s->out = ry_mem_alloc(bytes))) return RY_ENOMEM;
    *data = s->out;
    return convert(s->out, to.dtype, s->raw, spec->dtype, ry_count(spec));
}

static ry_status save_weights(const ry_model *m, const char *path, ry_dtype t) {
    static const char *const meta[] = {"format", "pt", NULL};
    size_t n = m->vars.n;
    saver s = {.m = m, .dtype = t};
    ry_named_data *d = ry_mem_zalloc(ry_mem_size(n, sizeof *d, 1));
    if (!d) return RY_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        d[i].name = ry_var_name(m->vars.at[i]);
        d[i].spec = *ry_var_spec(m->vars.at[i]);
        d[i].spec.dtype = t;
    }
    ry_status st = st_write(path, n, d, meta, source, &s);
    ry_mem_free(s.raw);
    ry_mem_free(s.out);
    ry_mem_free(d);
    return st;
}

ry_status ry_model_save(const ry_model *m, const char *folder, ry_dtype t) {
    if (!t) t = RY_F32;
    if (t != RY_F32 && t != RY_F16 && t != RY_BF16) RY_FAIL(RY_EDTYPE, "weights are saved as f32, f16 or bf16, not %s", ry_dtype_name(t));
    RY_TRY(os_mkdirs(folder));
    char *weights = os_join(folder, "model.safetensors"), *config = os_join(folder, "config.json");
    static const char *const torch[] = {[RY_F32] = "float32", [RY_F16] = "float16", [RY_BF16] = "bfloat16"};
    ry_status st = weights && config ? save_weights(m, weights, t) : RY_ENOMEM;
    const char *key = ry_json_find(m->json, "dtype") ? "dtype" : "torch_dtype";
    if (st == RY_OK) st = ry_json_put(m->json, key, ry_json_new_text(torch[t]));
    if (st == RY_OK) st = ry_json_save(m->json, config);
    ry_mem_free(weights);
    ry_mem_free(config);
    return st;
}
