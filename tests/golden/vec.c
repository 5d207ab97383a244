/* vec.c - a case of operator vectors: inputs from a safetensors file, the run, the comparison.  Owns the case's constants. */
#include "vec.h"
#include "base/mem.h"
#include "core/op.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vec_open(vec *v, ry_graph *g, const ry_tensor_file *file) {
    memset(v, 0, sizeof *v);
    ry_graph_reset(g);
    v->g = g, v->file = file;
}

void vec_close(vec *v) {
    for (int i = 0; i < v->n_in; i++) free(v->in[i].own);
    v->n_in = 0;
}

ry_tensor vec_refuse(vec *v, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (!v->refused[0]) vsnprintf(v->refused, sizeof v->refused, fmt, ap);
    va_end(ap);
    return RY_NULL;
}

const st_entry *vec_entry(const ry_tensor_file *f, const char *name) {
    for (size_t i = 0; i < ry_tensor_file_count(f); i++)
        if (!strcmp(st_entry_at(f, i)->name, name)) return st_entry_at(f, i);
    return NULL;
}

int64_t vec_count(const st_entry *e) {
    int64_t n = 1;
    for (int i = 0; i < e->rank; i++) n *= e->dim[i];
    return n;
}

/* One byte of exponent bits e and mantissa bits m; finite-only (fn) formats have NaN at all ones and no infinity. */
static double float8(unsigned b, int e, int m, bool fn) {
    int bias = (1 << (e - 1)) - 1, exponent = (int)(b >> m & ((1u << e) - 1)), mantissa = (int)(b & ((1u << m) - 1));
    double sign = b >> 7 ? -1 : 1;
    if (fn ? (b & 0x7f) == 0x7f : exponent == (1 << e) - 1)
        return fn || mantissa ? (double)NAN : sign * (double)INFINITY;
    return sign *
           (exponent ? ldexp((double)(mantissa | 1 << m), exponent - bias - m) : ldexp((double)mantissa, 1 - bias - m));
}

double *vec_doubles(const st_entry *e) {
    int64_t n = vec_count(e);
    double *y = malloc(((size_t)n + 1) * sizeof *y);
    const unsigned char *d = e->data;
    if (!y) abort();
    for (int64_t i = 0; i < n; i++) {
        float buf;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        if (e->type == RY_F64)
            memcpy(&y[i], d + i * 8, 8);
        else if (e->type != RY_NONE && ry_is_float(e->type)) {
            size_t bytes = (size_t)ry_dtype_row(e->type)->bytes;
            uint64_t aligned;
            memcpy(&aligned, d + (size_t)i * bytes, bytes);
            y[i] = (double)*ry_load_row(&aligned, e->type, 0, 1, &buf);
        } else if (e->type != RY_NONE) {
            size_t bytes = (size_t)ry_dtype_row(e->type)->bytes;
            uint64_t aligned;
            memcpy(&aligned, d + (size_t)i * bytes, bytes);
            y[i] = (double)ry_load_index(&aligned, e->type, 0);
        } else if (!strcmp(e->dtype, "U16"))
            memcpy(&u16, d + i * 2, 2), y[i] = u16;
        else if (!strcmp(e->dtype, "I16"))
            memcpy(&u16, d + i * 2, 2), y[i] = (int16_t)u16;
        else if (!strcmp(e->dtype, "U32"))
            memcpy(&u32, d + i * 4, 4), y[i] = u32;
        else if (!strcmp(e->dtype, "U64"))
            memcpy(&u64, d + i * 8, 8), y[i] = (double)u64;
        else if (!strcmp(e->dtype, "F8_E4M3"))
            y[i] = float8(d[i], 4, 3, true);
        else if (!strcmp(e->dtype, "F8_E5M2"))
            y[i] = float8(d[i], 5, 2, false);
        else {
            free(y);
            return NULL;
        }
    }
    return y;
}

static ry_tensor add_input(vec *v, const char *name, const ry_spec *s, const void *data, void *own) {
    size_t bytes;
    if (v->n_in == VEC_MAX_IN || ry_spec_bytes(&bytes, s) != RY_OK) {
        free(own);
        return vec_refuse(v, "too many inputs");
    }
    ry_tensor t = ry_input(v->g, s, NULL);
    v->in[v->n_in++] = (vec_in){name, t, data, bytes, own};
    return t;
}

ry_tensor vec_tensor(vec *v, const char *name) {
    for (int i = 0; i < v->n_in; i++)
        if (v->in[i].name && !strcmp(v->in[i].name, name)) return v->in[i].t;
    const st_entry *e = vec_entry(v->file, name);
    if (!e) return vec_refuse(v, "no tensor %s in the file", name);
    if (e->rank > RY_MAX_RANK) return vec_refuse(v, "rank %d", e->rank);
    ry_dtype t = e->type;
    if (t != RY_NONE) {
        ry_spec s = ry_shape(t, e->rank, e->dim);
        return add_input(v, e->name, &s, e->data, NULL);
    }
    t = e->dtype[0] == 'F' ? RY_F32 : e->dtype[1] == '1' ? RY_I32 : RY_I64;
    double *x = vec_doubles(e);
    if (!x) return vec_refuse(v, "dtype %s", e->dtype);
    int64_t n = vec_count(e);
    void *data = malloc((size_t)n * 8 + 8);
    if (!data) abort();
    for (int64_t i = 0; i < n; i++) {
        if (t == RY_F32)
            ((float *)data)[i] = (float)x[i];
        else if (t == RY_I32)
            ((int32_t *)data)[i] = (int32_t)x[i];
        else
            ((int64_t *)data)[i] = (int64_t)x[i];
    }
    free(x);
    ry_spec s = ry_shape(t, e->rank, e->dim);
    return add_input(v, e->name, &s, data, data);
}

ry_tensor vec_ints(vec *v, int rank, const int64_t *dim, const int64_t *values) {
    ry_spec s = ry_shape(RY_I32, rank, dim);
    int64_t n = ry_numel(&s);
    int32_t *data = malloc(((size_t)n + 1) * sizeof *data);
    if (!data) abort();
    for (int64_t i = 0; i < n; i++) data[i] = (int32_t)values[i];
    return add_input(v, NULL, &s, data, data);
}

ry_tensor vec_number(vec *v, double value, bool whole) {
    return ry_fill(v->g, &(ry_spec){.dtype = whole ? RY_I64 : RY_F32}, value);
}

void vec_out(vec *v, ry_tensor t) {
    if (v->n_out < VEC_MAX_OUT)
        v->out[v->n_out++] = t;
    else
        vec_refuse(v, "more than %d outputs", VEC_MAX_OUT);
}

/* ---------------------------------------------------------------- comparison */

/* floor: results smaller than this are differences of larger numbers; their errors are measured against it. */
static bool close_to(const char *where, const char *what, int j, const ry_spec *s, const void *data, const st_entry *e,
                     double tol, double floor) {
    int64_t n = ry_numel(s), bad = -1;
    bool shape = s->rank == e->rank;
    for (int i = 0; i < s->rank && shape; i++) shape = s->dim[i] == e->dim[i];
    if (!shape) {
        ry_spec want = ry_shape(s->dtype, e->rank, e->dim);
        printf("FAIL %s: %s %d is %s, want %s\n", where, what, j, ry_show(s).s, ry_show(&want).s);
        return false;
    }
    double *want = vec_doubles(e), scale = 0, err = 0;
    if (!want) return true; /* a dtype that the case was not refused for is always readable */
    bool exact = e->dtype[0] != 'F' && e->dtype[0] != 'B'; /* integers; F*, BF16 and BOOL otherwise */
    exact = exact || !strcmp(e->dtype, "BOOL");
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i]) && fabs(want[i]) > scale) scale = fabs(want[i]);
    double got_bad = 0;
    for (int64_t i = 0; i < n; i++) {
        float buf;
        double got = s->dtype == RY_F64      ? ((const double *)data)[i]
                     : ry_is_float(s->dtype) ? (double)*ry_load_row(data, s->dtype, i, 1, &buf)
                                             : (double)ry_load_index(data, s->dtype, i);
        double d;
        if (isnan(want[i]) || isinf(want[i]))
            d = (isnan(want[i]) ? isnan(got) : got == want[i]) ? 0 : (double)INFINITY;
        else if (exact)
            d = got == want[i] ? 0 : (double)INFINITY;
        else
            d = isfinite(got) ? fabs(got - want[i]) / (scale > floor ? scale : floor) : (double)INFINITY;
        if (d > tol && d > err) err = d, bad = i, got_bad = got;
    }
    if (bad >= 0)
        printf(
            "FAIL %s: %s %d %s at %lld: got %.9g, want %.9g (error %.2g of the largest entry %.4g, tolerance %.1g)\n",
            where, what, j, ry_show(s).s, (long long)bad, got_bad, want[bad], err, scale, tol);
    free(want);
    return bad < 0;
}

static ry_tensor loss_of(vec *v, const vec_expect *e) {
    ry_tensor total = RY_NULL;
    for (int j = 0; j < e->n && j < v->n_out; j++) {
        if (!e->gout[j] || ry_is_null(v->out[j])) continue;
        ry_tensor one = ry_sum(v->g, ry_mul(v->g, v->out[j], vec_tensor(v, e->gout[j]->name)), 0, false);
        total = ry_is_null(total) ? one : ry_add(v->g, total, one);
    }
    return total;
}

bool vec_check(vec *v, const vec_expect *e, const char *where) {
    ry_tensor want[VEC_MAX_OUT + VEC_MAX_IN], x[VEC_MAX_IN], gx[VEC_MAX_IN];
    const st_entry *entry[VEC_MAX_OUT + VEC_MAX_IN];
    int n = 0, n_x = 0, n_first;
    ry_program *p = NULL;
    bool ok = true;
    if (v->n_out < e->n) {
        printf("FAIL %s: %d outputs built, %d expected\n", where, v->n_out, e->n);
        return false;
    }
    for (int j = 0; j < e->n; j++)
        if (e->out[j] && !ry_is_null(v->out[j])) want[n] = v->out[j], entry[n++] = e->out[j];
    n_first = n;
    for (int i = 0; i < v->n_in; i++)
        if (e->gin[i]) x[n_x] = v->in[i].t, entry[n + n_x] = e->gin[i], n_x++;
    ry_status st = ry_graph_status(v->g);
    if (st == RY_OK && n_x) {
        ry_tensor loss = loss_of(v, e);
        st = ry_graph_status(v->g);
        if (st == RY_OK && !ry_is_null(loss))
            st = ry_grad(v->g, loss, RY_NULL, (size_t)n_x, x, gx);
        else
            n_x = 0;
        for (int i = 0; i < n_x; i++) want[n++] = gx[i];
    }
    if (st == RY_OK) st = ry_compile(&p, v->g, (size_t)n, want, &(ry_compile_options){.no_cache = true});
    for (int i = 0; i < v->n_in && st == RY_OK; i++) st = ry_program_feed(p, (size_t)i, v->in[i].data, v->in[i].bytes);
    if (st == RY_OK) st = ry_run(p);
    for (int j = 0; j < n && st == RY_OK; j++) {
        ry_spec s = *ry_program_spec(p, (size_t)j);
        size_t bytes;
        st = ry_spec_bytes(&bytes, &s);
        void *data = malloc(bytes + 8);
        if (!data) abort();
        if (st == RY_OK) st = ry_fetch(p, (size_t)j, data, bytes);
        if (st == RY_OK)
            ok &= j < n_first ? close_to(where, "output", j, &s, data, entry[j], e->tol, 0.01)
                              : close_to(where, "gradient", j - n_first, &s, data, entry[j], e->grad_tol, 0.1);
        free(data);
    }
    ry_program_close(p);
    if (st == RY_EUNSUPPORTED && strstr(ry_message(), "f64 does not exist on this device")) /* no GPU language has it */
        vec_refuse(v, "f64");
    else if (st != RY_OK)
        printf("FAIL %s: %s\n", where, ry_message());
    return ok && st == RY_OK;
}
