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

static ry_spec turned(const ry_spec *s) { /* the last two axes swapped */
    ry_spec t = *s;
    t.dim[s->rank - 1] = s->dim[s->rank - 2];
    t.dim[s->rank - 2] = s->dim[s->rank - 1];
    return t;
}

/* The same, data of shape s [E,N,K]; out [E,K,N]. */
static ry_status convert_turned(void *out, ry_dtype to, const void *data, ry_dtype from, const ry_spec *s) {
    enum { ROWS = 16 };
    int64_t N = s->dim[1], K = s->dim[2];
    float *rows = ry_mem_alloc(ry_mem_size((size_t)K, ROWS * sizeof *rows, 1)), column[ROWS];
    if (!rows) return RY_ENOMEM;
    for (int64_t e = 0; e < s->dim[0]; e++)
        for (int64_t i = 0; i < N; i += ROWS) {
            int64_t n = N - i < ROWS ? N - i : ROWS;
            const float *row[ROWS];
            for (int64_t r = 0; r < n; r++) row[r] = ry_load_row(data, from, (e * N + i + r) * K, K, rows + r * K);
            for (int64_t k = 0; k < K; k++) {
                for (int64_t r = 0; r < n; r++) column[r] = row[r][k];
                ry_store_row(out, to, (e * K + k) * N + i, n, column);
            }
        }
    ry_mem_free(rows);
    return RY_OK;
}

static const char *prefix_of(const model_family *f) { return f->prefix ? f->prefix : "model."; }

const char *weights_prefix(const ry_model *m) {
    static const model_tensor embed = {.role = ROLE_EMBED, .layer = -1};
    const char *usual = prefix_of(m->family);
    char name[256];
    model_name(name, sizeof name, m->family, usual, &embed, 0);
    if (source_find(m->source, name)) return usual;
    for (const char *const *p = m->family->prefixes; p && *p; p++) {
        model_name(name, sizeof name, m->family, *p, &embed, 0);
        if (source_find(m->source, name)) return *p;
    }
    model_name(name, sizeof name, m->family, "", &embed, 0); /* the body was saved without the head around it */
    if (source_find(m->source, name)) return "";
    return usual;
}

static bool is_weight(ry_dtype t) {
    ry_kind kind = ry_dtype_row(t)->kind;
    return t != RY_NONE && (kind == RY_KIND_FLOAT || kind == RY_KIND_BLOCK);
}

/* The tensor of the source, checked: of a shape want, of a dtype that weights may have. */
static ry_status stored(ry_model *m, model_stored **out, const ry_spec *want, const model_tensor *t, int64_t part) {
    char name[256];
    model_name(name, sizeof name, m->family, m->prefix, t, part);
    model_stored *e = *out = source_find(m->source, name);
    if (!e) RY_FAIL(RY_EFORMAT, "%s: tensor %s is missing", m->source->what, name);
    e->used = true;
    if (!is_weight(e->spec.dtype)) RY_FAIL(RY_EDTYPE, "%s: tensor %s is %s, which no weights of Rusty's can be", e->file, name, e->type);
    if (e->turned && !experts_by_rows(&m->cfg, t->role, t->bias, e->spec.dtype))
        RY_FAIL(RY_EUNSUPPORTED, "%s: tensor %s is %s by rows, which this family's never are", e->file, name, e->type);
    ry_spec here = e->turned ? turned(&e->spec) : e->spec;
    if (!ry_same_shape(&here, want))
        RY_FAIL(RY_ESHAPE, "%s: tensor %s is %s, the config wants %s", e->file, name, ry_show(&here).s, ry_show(want).s);
    return RY_OK;
}

/* Reads a tensor into out, as dtype to. */
static ry_status read_as(const ry_model *m, const model_stored *e, void *out, ry_dtype to) {
    if (to == e->spec.dtype) return source_read(m->source, e, out);
    void *made = e->data ? NULL : ry_mem_alloc(e->bytes);
    const void *raw = e->data ? e->data : made;
    ry_status st = raw ? RY_OK : RY_ENOMEM;
    if (made) st = source_read(m->source, e, made);
    if (st == RY_OK)
        st = e->turned ? convert_turned(out, to, raw, e->spec.dtype, &e->spec) : convert(out, to, raw, e->spec.dtype, ry_count(&e->spec));
    ry_mem_free(made);
    return st;
}

/* Many tensors become one variable, in the first one's dtype. */
static ry_status from_parts(ry_model *m, ry_var **out, const ry_spec *want, const model_tensor *t, const char *name) {
    model_stored *e, *last = NULL;
    ry_spec one = {.dtype = want->dtype, .rank = want->rank - 1}, s = *want;
    size_t bytes, each;
    bool in_place = !m->opt.master_f32;
    memcpy(one.dim, want->dim + 1, (size_t)one.rank * sizeof *one.dim);
    for (int64_t i = 0; i < t->parts; i++, last = e) {
        RY_TRY(stored(m, &e, &one, t, i));
        in_place &= e->data && (!last || source_next_to(last, e));
    }
    RY_TRY(stored(m, &e, &one, t, 0));
    one.dtype = s.dtype = m->opt.master_f32 || e->spec.dtype == RY_F64 ? RY_F32 : e->spec.dtype;
    if (in_place && s.dtype == e->spec.dtype) {
        RY_TRY(ry_var_wrap(out, m->dev, &s, name, (void *)(uintptr_t)e->data, NULL, NULL));
        (*out)->read_only = (*out)->buf.borrowed;
        return RY_OK;
    }
    RY_TRY(ry_spec_bytes(&bytes, &s));
    RY_TRY(ry_spec_bytes(&each, &one));
    char *x = ry_mem_alloc(bytes);
    ry_status st = x ? ry_var_open(out, m->dev, &s, name) : RY_ENOMEM;
    for (int64_t i = 0; i < t->parts && st == RY_OK; i++) {
        st = stored(m, &e, &one, t, i);
        if (st == RY_OK) st = read_as(m, e, x + (size_t)i * each, s.dtype);
    }
    if (st == RY_OK) st = ry_var_write(*out, x, bytes);
    ry_mem_free(x);
    return st;
}

/* Of the same dtype as it is stored, or widened to want's f32; in place where it lies ready. */
static ry_status from_one(ry_model *m, ry_var **out, const ry_spec *want, const model_tensor *t, const char *name) {
    model_stored *e;
    size_t bytes;
    RY_TRY(stored(m, &e, want, t, 0));
    ry_spec s = m->opt.master_f32 || e->spec.dtype == RY_F64 ? *want : e->spec;
    bool same = s.dtype == e->spec.dtype;
    if (same && !m->opt.master_f32 && e->data) {
        RY_TRY(ry_var_wrap(out, m->dev, &s, name, (void *)(uintptr_t)e->data, NULL, NULL));
        (*out)->read_only = (*out)->buf.borrowed;
        return RY_OK;
    }
    RY_TRY(ry_spec_bytes(&bytes, &s));
    RY_TRY(ry_var_open(out, m->dev, &s, name));
    if (same && e->data) return ry_var_write(*out, e->data, bytes);
    void *x = ry_mem_alloc(bytes);
    ry_status st = x ? read_as(m, e, x, s.dtype) : RY_ENOMEM;
    if (st == RY_OK) st = ry_var_write(*out, x, bytes);
    ry_mem_free(x);
    return st;
}

enum { BLOCK_VALUES = 1 << 20 };
static ry_status at_random(ry_model *m, ry_var **out, const ry_spec *f32, model_init init, const model_tensor *t, const char *name) {
    ry_device_info dev;
    ry_spec as = experts_by_rows(&m->cfg, t->role, t->bias, m->opt.weights) ? turned(f32) : *f32, *s = &as;
    size_t bytes;
    const ry_dtype_info *want = ry_dtype_row(m->opt.weights);
    bool blocks = want->kind == RY_KIND_BLOCK, fit = s->rank > 1 && s->dim[s->rank - 1] % want->block == 0;
    if (m->opt.weights && !m->opt.master_f32 && (!blocks || fit)) as.dtype = m->opt.weights;
    else as = *f32;
    RY_TRY(ry_var_open(out, m->dev, s, name));
    ry_device_describe(m->dev, &dev);
    if (init == INIT_ZEROS || !strcmp(dev.backend, "null")) return RY_OK;
    /* Blocks are for benchmarks, and dear to make: the first million values again and again. */
    int64_t n = ry_count(s), all = n;
    if (as.dtype != RY_F32 && blocks && n > BLOCK_VALUES) n = BLOCK_VALUES;
    RY_TRY(ry_spec_bytes(&bytes, s));
    float *x = ry_mem_alloc(bytes > (size_t)n * sizeof *x ? bytes : (size_t)n * sizeof *x);
    ry_status st = x ? RY_OK : RY_ENOMEM;
    if (x && init == INIT_NORMAL) {
        ry_rng_normal(x, n, m->seed, (uint32_t)m->vars.n, 0); /* each parameter has a stream of its own */
        simd_rows()->scale(x, x, (float)m->cfg.initializer_range, n);
    } else if (x) simd_rows()->fill(x, 1, n);
    if (st == RY_OK && s->dtype != RY_F32) st = convert(x, s->dtype, x, RY_F32, n); /* narrower: never ahead of what is read */
    size_t have = ry_bytes_of(s->dtype, n), total = ry_bytes_of(s->dtype, all);
    for (size_t at = have; at < total && st == RY_OK; at += have)
        memcpy((char *)x + at, x, total - at < have ? total - at : have);
    if (st == RY_OK) st = ry_var_write(*out, x, total);
    ry_mem_free(x);
    if (st != RY_OK) {
        ry_var_close(*out);
        *out = NULL;
    }
    return st;
}

ry_status model_param(ry_model *m, model_role role, bool bias, int64_t layer, model_init init, int rank, const int64_t *dim) {
    char name[256];
    model_tensor t = {.role = role, .bias = bias, .layer = layer};
    ry_spec s = ry_shape(RY_F32, rank, dim);
    ry_var *v = NULL;
    if (model_has_parts(m->family, role)) t.parts = dim[0];
    if (ry_numel(&s) < 0) RY_FAIL(RY_EFORMAT, "%s of this config is too large", ry_show(&s).s);
    model_name(name, sizeof name, m->family, prefix_of(m->family), &t, -1);
    ry_status st = !m->source ? at_random(m, &v, &s, init, &t, name) : t.parts ? from_parts(m, &v, &s, &t, name) : from_one(m, &v, &s, &t, name);
    ry_var **slot = st == RY_OK ? RY_PUSH(&m->vars) : NULL;
    model_tensor *beside = slot ? RY_PUSH(&m->tensors) : NULL;
    if (!beside) {
        if (slot) m->vars.n--;
        ry_var_close(v);
        return st == RY_OK ? RY_ENOMEM : st;
    }
    *beside = t;
    *slot = v;
    model_pair *pair = layer < 0 ? &m->top.at[role] : &m->layers[layer].at[role];
    if (bias) pair->b = v;
    else pair->w = v;
    return RY_OK;
}

/* ---- saving ---- */

size_t weights_stored(const ry_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->tensors.n; i++) n += m->tensors.at[i].parts ? (size_t)m->tensors.at[i].parts : 1;
    return n;
}

ry_status weights_list(ry_arena *a, const ry_model *m, weights_part *out) {
    char name[256];
    for (size_t i = 0; i < m->vars.n; i++) {
        const model_tensor *t = &m->tensors.at[i];
        ry_spec s = *ry_var_spec(m->vars.at[i]);
        if (t->parts) {
            s.rank--;
            memmove(s.dim, s.dim + 1, (size_t)s.rank * sizeof *s.dim);
        }
        for (int64_t k = 0; k < (t->parts ? t->parts : 1); k++, out++) {
            model_name(name, sizeof name, m->family, prefix_of(m->family), t, k);
            *out = (weights_part){.name = ry_arena_strdup(a, name), .var = i, .spec = s, .first = k * ry_count(&s)};
            if ((out->turned = experts_by_rows(&m->cfg, t->role, t->bias, s.dtype))) out->spec = turned(&s);
            if (!out->name) return RY_ENOMEM;
        }
    }
    return RY_OK;
}

ry_status weights_restore(ry_model *m, const char *path) {
    size_t n = weights_stored(m);
    ry_tensor_file *f;
    ry_arena names = {0};
    RY_TRY(ry_tensor_file_open(&f, path));
    weights_part *part = ry_mem_zalloc(ry_mem_size(n, sizeof *part, 1));
    ry_status st = part ? weights_list(&names, m, part) : RY_ENOMEM;
    char *x = NULL;
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        const weights_part *p = &part[i];
        ry_var *v = m->vars.at[p->var];
        ry_spec have;
        const void *data;
        bool first = i == 0 || part[i - 1].var != p->var, last = i + 1 == n || part[i + 1].var != p->var;
        if (first) {
            ry_mem_free(x);
            x = ry_mem_alloc(v->bytes);
        }
        st = x ? ry_tensor_file_find(f, p->name, &have, &data) : RY_ENOMEM;
        if (st == RY_OK && (have.dtype != p->spec.dtype || !ry_same_shape(&have, &p->spec)))
            st = ry_fail(RY_ESHAPE, "%s: %s is %s, the model has %s", path, p->name, ry_show(&have).s, ry_show(&p->spec).s);
        if (st == RY_OK) memcpy(x + ry_bytes_of(have.dtype, p->first), data, ry_bytes_of(have.dtype, ry_count(&have)));
        if (st == RY_OK && last) st = ry_var_write(v, x, v->bytes);
    }
    ry_mem_free(x);
    ry_mem_free(part);
    ry_arena_free(&names);
    ry_tensor_file_close(f);
    return st;
}

typedef struct saver {
    const ry_model *m;
    const weights_part *part;
    ry_dtype dtype;
    void *raw, *out; /* one variable as it is held, one tensor as it is written */
    size_t held;     /* which variable, plus 1 */
} saver;

static ry_status source(void *ud, size_t i, const void **data) {
    saver *s = ud;
    const weights_part *p = &s->part[i];
    ry_var *v = s->m->vars.at[p->var];
    const ry_spec *spec = ry_var_spec(v);
    size_t bytes;
    ry_spec to = p->spec;
    to.dtype = s->dtype;
    if (s->held != p->var + 1) {
        s->held = 0;
        ry_mem_free(s->raw);
        RY_TRY(ry_spec_bytes(&bytes, spec));
        if (!(s->raw = ry_mem_alloc(bytes))) return RY_ENOMEM;
        RY_TRY(ry_var_read(v, s->raw, bytes));
        s->held = p->var + 1;
    }
    const char *from = (const char *)s->raw + ry_bytes_of(spec->dtype, p->first);
    *data = from;
    if (spec->dtype == s->dtype) return RY_OK;
    ry_mem_free(s->out);
    s->out = NULL;
    RY_TRY(ry_spec_bytes(&bytes, &to));
    if (!(s->out = ry_mem_alloc(bytes))) return RY_ENOMEM;
    *data = s->out;
    return p->turned ? convert_turned(s->out, to.dtype, from, spec->dtype, spec) : convert(s->out, to.dtype, from, spec->dtype, ry_count(&to));
}

static ry_status save_weights(const ry_model *m, const char *path, ry_dtype t) {
    static const char *const meta[] = {"format", "pt", NULL};
    size_t n = weights_stored(m);
    ry_arena names = {0};
    saver s = {.m = m, .dtype = t};
    ry_named_data *d = ry_mem_zalloc(ry_mem_size(n, sizeof *d, 1));
    weights_part *part = ry_mem_zalloc(ry_mem_size(n, sizeof *part, 1));
    ry_status st = d && part ? weights_list(&names, m, part) : RY_ENOMEM;
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        d[i] = (ry_named_data){.name = part[i].name, .spec = part[i].spec};
        d[i].spec.dtype = t;
    }
    s.part = part;
    if (st == RY_OK) st = st_write(path, n, d, meta, source, &s);
    ry_mem_free(s.raw);
    ry_mem_free(s.out);
    ry_mem_free(d);
    ry_mem_free(part);
    ry_arena_free(&names);
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
