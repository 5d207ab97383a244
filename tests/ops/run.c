/* run.c - runs a graph and compares what comes out.  Owns results and the text of failures; knows no row. */
#include "base/mem.h"
#include "check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool check_fail(check *c, const char *how, const char *fmt, ...) {
    c->failed++;
    if (c->failed > CHECK_MAX_SHOWN) return false;
    printf("FAIL %s/%s %s %s, %s: ", c->op->name, c->sample ? c->sample->name : "-", ry_dtype_name(c->floats), c->path,
           how);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    if (c->failed == CHECK_MAX_SHOWN) printf("     (further failures of this row are only counted)\n");
    fflush(stdout);
    return false;
}

void check_devices_close(check *c) {
    for (int t = 0; t < CHECK_DEVICES; t++) {
        if (!t || !c->device) ry_device_close(c->dev[t]);
        c->dev[t] = NULL;
    }
    c->stale = false;
}

bool check_devices(check *c) {
    if (c->dev[0] && !c->stale) return true;
    check_devices_close(c);
    if (c->device && ry_device_open(&c->dev[0], c->device, NULL) != RY_OK)
        return check_fail(c, "device", "%s", ry_message());
    for (int t = 0; t < CHECK_DEVICES; t++)
        if (c->device)
            c->dev[t] = c->dev[0];
        else if (ry_device_open(&c->dev[t], "cpu", &(ry_device_options){.threads = t + 1}) != RY_OK)
            return check_fail(c, "device", "%s", ry_message());
    return true;
}

void result_free(result *r) {
    for (int i = 0; i < r->n; i++) free(r->data[i]);
    *r = (result){0};
}

bool result_equal(const result *a, const result *b) {
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++)
        if (a->bytes[i] != b->bytes[i] || memcmp(a->data[i], b->data[i], a->bytes[i])) return false;
    return true;
}

ry_status run_graph(result *out, ry_graph *g, int n_want, const ry_tensor *want, int n_feed, const feed *f,
                    const ry_compile_options *opt, int runs) {
    ry_program *p = NULL;
    ry_status st;
    *out = (result){0};
    RY_TRY(ry_compile(&p, g, (size_t)n_want, want, opt));
    for (int i = 0; i < n_feed; i++) RY_GO(st, done, ry_program_feed(p, (size_t)i, f[i].data, f[i].bytes));
    for (int i = 0; i < runs; i++) RY_GO(st, done, ry_run(p));
    for (int i = 0; i < n_want; i++) {
        out->spec[i] = *ry_program_spec(p, (size_t)i);
        RY_GO(st, done, ry_spec_bytes(&out->bytes[i], &out->spec[i]));
        out->data[i] = calloc(1, out->bytes[i] + 1);
        if (!out->data[i]) abort();
        out->n = i + 1;
        RY_GO(st, done, ry_fetch(p, (size_t)i, out->data[i], out->bytes[i]));
    }
    st = RY_OK;
done:
    ry_program_close(p);
    if (st != RY_OK) result_free(out);
    return st;
}

double *result_doubles(const result *r, int j) {
    int64_t n = ry_count(&r->spec[j]);
    double *y = calloc((size_t)n + 1, sizeof *y);
    if (!y) abort();
    oracle_load(y, r->data[j], r->spec[j].dtype, n);
    return y;
}

double check_tol(const check *c, ry_dtype out) {
    float given = c->sample && c->sample->tol > 0 ? c->sample->tol : c->op->tol;
    double tol = given > 0 ? (double)given : 1e-5;
    if (out == RY_F16 || out == RY_BF16) tol += 1.01 * ldexp(1, -ry_dtype_row(out)->bits);
    return tol;
}

bool check_close(check *c, const char *how, int j, const result *r, const double *want, double tol) {
    const ry_spec *s = &r->spec[j];
    int64_t n = ry_count(s), worst = -1;
    double *got = result_doubles(r, j), scale = 0, err = -1;
    bool exact = !ry_is_float(s->dtype);
    double limit = s->dtype == RY_F16 ? 65520 : 3.4028235677973366e38; /* from here on the nearest value is infinite */
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i]) && fabs(want[i]) < limit && fabs(want[i]) > scale) scale = fabs(want[i]);
    if (j < RY_MAX_OUT && c->usual[j] > scale) scale = c->usual[j];
    for (int64_t i = 0; i < n; i++) {
        double w = fabs(want[i]) >= limit && !exact ? copysign((double)INFINITY, want[i]) : want[i], e;
        if (exact)
            e = got[i] == w ? 0 : (double)INFINITY;
        else if (isnan(w) || isinf(w))
            e = (isnan(w) ? isnan(got[i]) : got[i] == w) ? 0 : (double)INFINITY;
        else
            e = isfinite(got[i]) ? fabs(got[i] - w) / (scale > 0 ? scale : 1) : (double)INFINITY;
        if (e > err) err = e, worst = i;
    }
    c->compared++;
    bool ok = !(err > tol);
    if (!ok)
        check_fail(c, how,
                   "output %d %s at %lld: got %.9g, want %.9g (error %.2g of the largest entry %.4g, tolerance %.2g)",
                   j, ry_show(s).s, (long long)worst, got[worst], want[worst], err, scale, tol);
    free(got);
    return ok;
}
