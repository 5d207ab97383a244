/* sample.c - the inputs of an op row's samples, made from Philox streams.  Owns ry_sample_set; knows no formula and no row by name. */
#include "core/sample.h"
#include "base/mem.h"
#include "base/rng.h"
#include <string.h>

enum { FILL_BLOCK = 1024, FILL_MOST = 1 << 20 };

int ry_sample_sources(const ry_op *op, const ry_sample *s) {
    int n = s->n_src > 0 ? s->n_src : op->max_src;
    for (int i = 0; i < n; i++)
        if (s->src[i].rank < 0) n = i;
    if (s->n_src > 0) return n;
    /* A row of any number of sources (concat): trailing entries that nobody filled are not sources. */
    while (n > op->min_src && s->src[n - 1].dtype == RY_NONE && !((op->optional >> (n - 1)) & 1u)) n--;
    return n;
}

bool ry_sample_has_floats(const ry_op *op, const ry_sample *s) {
    int n = ry_sample_sources(op, s);
    for (int i = 0; i < n; i++)
        if (s->src[i].dtype == RY_F32 && s->src[i].rank > 0 && !((op->writes >> i) & 1u)) return true;
    return false;
}

static void fill_floats(void *data, ry_dtype t, int64_t n, float lo, float hi, uint64_t seed, uint32_t stream) {
    float buf[FILL_BLOCK];
    for (int64_t i = 0; i < n; i += FILL_BLOCK) {
        int64_t m = n - i < FILL_BLOCK ? n - i : FILL_BLOCK;
        float *y = ry_row_out(data, t, i, buf);
        ry_rng_uniform(y, m, seed, stream, (uint64_t)i);
        for (int64_t k = 0; k < m; k++) y[k] = lo + (hi - lo) * y[k];
        ry_store_row(data, t, i, m, y);
    }
}

/* Whole numbers below 2^24 pass through f32 exactly: conversions stay in one place. */
static void fill_integers(void *data, ry_dtype t, int64_t n, int64_t lo, int64_t hi, uint64_t seed, uint32_t stream) {
    float buf[FILL_BLOCK];
    uint64_t span = hi > lo ? (uint64_t)(hi - lo) : 1;
    for (int64_t i = 0; i < n; i += FILL_BLOCK) {
        int64_t m = n - i < FILL_BLOCK ? n - i : FILL_BLOCK;
        for (int64_t k = 0; k < m; k++)
            buf[k] = (float)(lo + (int64_t)(ry_rng_word(seed, stream, (uint64_t)(i + k)) % span));
        ry_store_row(data, t, i, m, buf);
    }
}

ry_status ry_sample_fill(void *data, ry_dtype t, int64_t n, float lo, float hi, uint64_t seed, uint32_t stream) {
    bool unset = lo == 0 && hi == 0;
    if (n > FILL_MOST) { /* random numbers are dear */
        RY_TRY(ry_sample_fill(data, t, FILL_MOST, lo, hi, seed, stream));
        size_t have = ry_bytes_of(t, FILL_MOST), all = ry_bytes_of(t, n);
        for (size_t at = have; at < all; at += have) memcpy((char *)data + at, data, all - at < have ? all - at : have);
        return RY_OK;
    }
    switch (ry_dtype_row(t)->kind) {
    case RY_KIND_FLOAT:
    case RY_KIND_BLOCK: fill_floats(data, t, n, unset ? -1 : lo, unset ? 1 : hi, seed, stream); return RY_OK;
    case RY_KIND_INT:
    case RY_KIND_BOOL: fill_integers(data, t, n, (int64_t)lo, unset ? 2 : (int64_t)hi, seed, stream); return RY_OK;
    }
    return RY_OK;
}

static ry_status open_source(ry_sample_set *out, int i, ry_dtype floats, uint64_t seed) {
    const ry_sample_src *src = &out->sample->src[i];
    if (src->dtype == RY_NONE) return RY_OK;
    bool fixed = src->rank == 0 || ((out->op->writes >> i) & 1u);
    ry_spec *spec = &out->spec[i];
    *spec = ry_shape(src->dtype == RY_F32 && !fixed ? floats : src->dtype, src->rank, src->dim);
    RY_TRY(ry_spec_bytes(&out->bytes[i], spec));
    out->data[i] = ry_mem_alloc(out->bytes[i]);
    if (!out->data[i]) return RY_ENOMEM;
    int64_t n = ry_numel(spec);
    if (!src->values) {
        bool own = src->lo != 0 || src->hi != 0 || spec->dtype == RY_BOOL; /* else the row's range */
        return ry_sample_fill(out->data[i], spec->dtype, n, own ? src->lo : out->op->lo, own ? src->hi : out->op->hi,
                              seed, (uint32_t)i);
    }
    for (int64_t k = 0; k < n; k++) {
        float v = (float)src->values[k];
        ry_store_row(out->data[i], spec->dtype, k, 1, &v);
    }
    return RY_OK;
}

ry_status ry_sample_open(ry_sample_set *out, const ry_op *op, const ry_sample *s, ry_dtype floats, uint64_t seed) {
    *out = (ry_sample_set){.op = op, .sample = s, .n_src = ry_sample_sources(op, s)};
    for (int i = 0; i < out->n_src; i++) {
        ry_status st = open_source(out, i, floats, seed);
        if (st != RY_OK) {
            ry_sample_close(out);
            return ry_fail_in(st, "%s: sample %s", op->name, s->name);
        }
    }
    return RY_OK;
}

void ry_sample_close(ry_sample_set *s) {
    for (int i = 0; i < s->n_src; i++) {
        ry_mem_free(s->data[i]);
        ry_var_close(s->var[i]);
    }
    *s = (ry_sample_set){0};
}

static bool is_var(const ry_sample_set *s, int i, bool as_vars) { return as_vars || ((s->op->writes >> i) & 1u); }

ry_status ry_sample_sources_build(ry_graph *g, ry_sample_set *s, bool as_vars, ry_tensor src[RY_MAX_SRC]) {
    for (int i = 0; i < s->n_src; i++) {
        src[i] = RY_NULL;
        if (s->spec[i].dtype == RY_NONE) continue;
        if (is_var(s, i, as_vars)) {
            if (!s->var[i]) RY_TRY(ry_var_open(&s->var[i], ry_graph_device(g), &s->spec[i], NULL));
            RY_TRY(ry_var_write(s->var[i], s->data[i], s->bytes[i]));
            src[i] = ry_use(g, s->var[i]);
        } else {
            src[i] = ry_input(g, &s->spec[i], NULL);
        }
    }
    return ry_graph_status(g);
}

ry_status ry_sample_feed(ry_program *p, const ry_sample_set *s, size_t first) {
    for (int i = 0; i < s->n_src; i++)
        if (s->spec[i].dtype != RY_NONE && !s->var[i]) RY_TRY(ry_program_feed(p, first++, s->data[i], s->bytes[i]));
    return RY_OK;
}

ry_tensor ry_sample_build(ry_graph *g, ry_sample_set *s, bool as_vars, ry_tensor src[RY_MAX_SRC]) {
    if (ry_sample_sources_build(g, s, as_vars, src) != RY_OK) return RY_NULL;
    return ry_apply_row(g, s->op, (size_t)s->n_src, src, s->sample->args);
}
