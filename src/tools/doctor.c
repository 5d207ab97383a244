/* doctor.c - does every kernel agree with a second opinion on this machine?  The device against the CPU; the CPU's fastest path
 * against its plain path and against each row's lowering.  Owns no state; never prints. */
#include "base/mem.h"
#include "core/sample.h"
#include "core/tune.h"
#include "simd/simd.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct outputs {
    int n;
    ry_spec spec[RY_MAX_OUT];
    void *data[RY_MAX_OUT];
    size_t bytes[RY_MAX_OUT];
} outputs;

static void outputs_free(outputs *o) {
    for (int i = 0; i < o->n; i++) ry_mem_free(o->data[i]);
    *o = (outputs){0};
}

/* Runs the row, or its lowering, on d. */
static ry_status run(outputs *out, ry_device *d, const ry_op *op, const ry_sample *s, ry_dtype floats, bool lowered) {
    ry_sample_set set;
    ry_graph *g = NULL;
    ry_program *p = NULL;
    ry_tensor src[RY_MAX_SRC], want[RY_MAX_OUT] = {{0, 0}};
    ry_status st;
    *out = (outputs){0};
    RY_TRY(ry_sample_open(&set, op, s, floats, 42));
    RY_GO(st, done, ry_graph_open(&g, d));
    const ry_node *n = ry_node_of(g, ry_sample_build(g, &set, false, src));
    if (!n) RY_GO(st, done, ry_graph_status(g));
    size_t n_want = (size_t)n->n_out;
    if (lowered) RY_GO(st, done, op->lower(g, n, want));
    for (int j = 0; j < n->n_out; j++)
        if (!lowered)
            want[j] = ry_res(g, n, j);
        else if (ry_is_null(want[j]))
            n_want = (size_t)j < n_want ? (size_t)j : n_want; /* outputs that the lowering leaves out are last */
    RY_GO(st, done, ry_compile(&p, g, n_want, want, &(ry_compile_options){.no_cache = true}));
    RY_GO(st, done, ry_sample_feed(p, &set, 0));
    RY_GO(st, done, ry_run(p));
    for (size_t j = 0; j < n_want; j++) {
        out->spec[j] = *ry_program_spec(p, j);
        RY_GO(st, done, ry_spec_bytes(&out->bytes[j], &out->spec[j]));
        if (!(out->data[j] = ry_mem_zalloc(out->bytes[j]))) {
            st = RY_ENOMEM;
            goto done;
        }
        out->n = (int)j + 1;
        RY_GO(st, done, ry_fetch(p, j, out->data[j], out->bytes[j]));
    }
done:
    ry_program_close(p);
    ry_graph_close(g);
    ry_sample_close(&set);
    if (st != RY_OK) outputs_free(out);
    return st;
}

/* Largest difference relative to b's largest entry; integers and truths must be equal. */
static double difference(const outputs *a, const outputs *b, double *tol) {
    double worst = 0;
    for (int j = 0; j < a->n && j < b->n; j++) {
        const ry_dtype_info *r = ry_dtype_row(a->spec[j].dtype);
        int64_t n = ry_count(&a->spec[j]);
        if (!ry_same_shape(&a->spec[j], &b->spec[j])) return (double)INFINITY;
        if (r->kind == RY_KIND_INT || r->kind == RY_KIND_BOOL) {
            if (a->bytes[j] != b->bytes[j] || memcmp(a->data[j], b->data[j], a->bytes[j])) return (double)INFINITY;
            continue;
        }
        if (r->bits < 24) *tol = fmax(*tol, ldexp(2.02, -r->bits));
        double scale = 0, err = 0;
        for (int64_t i = 0; i < n; i += r->block) {
            float x[32], y[32];
            const float *u = ry_load_row(a->data[j], a->spec[j].dtype, i, r->block, x),
                        *v = ry_load_row(b->data[j], b->spec[j].dtype, i, r->block, y);
            for (int k = 0; k < r->block; k++) {
                if (isfinite(v[k])) scale = fmax(scale, fabs((double)v[k]));
                if (isfinite(u[k]) && isfinite(v[k]))
                    err = fmax(err, fabs((double)u[k] - (double)v[k]));
                else if (!(u[k] == v[k] || (isnan(u[k]) && isnan(v[k]))))
                    return (double)INFINITY;
            }
        }
        worst = fmax(worst, scale > 0 ? err / scale : err);
    }
    return worst;
}

typedef struct visit {
    ry_device *dev, *other;
    void (*row)(void *ud, const ry_doctor_row *r);
    void *ud;
    int64_t *wrong;
    bool *agrees; /* the present row, somewhere */
} visit;

static void tell(const visit *v, const ry_op *op, const ry_sample *s, const char *message, double err, double tol,
                 int result) {
    *v->wrong += result == 1;
    *v->agrees |= result == 0;
    if (v->row) v->row(v->ud, &(ry_doctor_row){op->name, s->name, message, err, tol, result});
}

/* One comparison of what the device gave with another opinion. */
static void judge(const visit *v, const ry_op *op, const ry_sample *s, const char *what, ry_dtype floats,
                  const outputs *got, ry_status st, const outputs *other) {
    char text[256];
    if (st == RY_ENOMEM || st == RY_EUNSUPPORTED) {
        tell(v, op, s, ry_message(), 0, 0, 2);
        return;
    }
    if (st != RY_OK) {
        tell(v, op, s, ry_message(), 0, 0, 1);
        return;
    }
    double tol = 2 * (s->tol > 0 ? (double)s->tol : op->tol > 0 ? (double)op->tol : 1e-5), err = difference(got, other, &tol);
    bool ok = err <= tol;
    snprintf(text, sizeof text, "%s%s against %s", ok ? "" : "differs: ", ry_dtype_name(floats), what);
    tell(v, op, s, text, err, tol, ok ? 0 : 1);
}

static void visit_sample(const visit *v, const ry_op *op, const ry_sample *s, ry_dtype floats) {
    outputs got, other;
    ry_status st = run(&got, v->dev, op, s, floats, false);
    if (st != RY_OK) {
        bool skip = st == RY_EUNSUPPORTED || st == RY_ENOMEM || (floats != RY_F32 && st == RY_EDTYPE);
        if (floats == RY_F32 || !skip) tell(v, op, s, ry_message(), 0, 0, skip ? 2 : 1);
        return;
    }
    int opinions = 0;
    if (v->other) {
        st = run(&other, v->other, op, s, floats, false);
        judge(v, op, s, "the CPU", floats, &got, st, &other);
        outputs_free(&other);
        opinions++;
    } else if (simd_now() != SIMD_PLAIN) {
        simd_path path = simd_now();
        unsigned extras = simd_extras();
        simd_force(SIMD_PLAIN, 0);
        st = run(&other, v->dev, op, s, floats, false);
        simd_force(path, extras);
        judge(v, op, s, "the plain path", floats, &got, st, &other);
        outputs_free(&other);
        opinions++;
    }
    if (op->lower && !op->writes && floats == RY_F32) {
        st = run(&other, v->other ? v->other : v->dev, op, s, floats, true);
        judge(v, op, s, "its lowering", floats, &got, st, &other);
        outputs_free(&other);
        opinions++;
    }
    if (!opinions) tell(v, op, s, "ran; nothing to compare with on the plain path", 0, 0, 2);
    outputs_free(&got);
}

ry_status ry_doctor_run(ry_device *d, const char *filter, void (*row)(void *ud, const ry_doctor_row *r), void *ud, int64_t *wrong) {
    ry_device_info info;
    int64_t unused;
    bool agrees, found = false;
    ry_status st = RY_OK;
    visit v = {.dev = d, .row = row, .ud = ud, .wrong = wrong ? wrong : &unused, .agrees = &agrees};
    if (!d) RY_FAIL(RY_EARG, "doctor needs a device");
    *v.wrong = 0;
    ry_device_describe(d, &info);
    if (!strcmp(info.backend, "null"))
        RY_FAIL(RY_EUNSUPPORTED, "doctor: the null device plans and computes nothing; choose another");
    if (strcmp(info.backend, "cpu")) RY_TRY(ry_device_open(&v.other, "cpu", NULL));
    const ry_op *op;
    for (size_t i = 0; (op = ry_op_at(i)) != NULL && st == RY_OK; i++) {
        int64_t before = *v.wrong;
        if (filter && strncmp(op->name, filter, strlen(filter)) != 0) continue;
        found = true;
        agrees = false;
        for (const ry_sample *s = op->samples; s && s->name; s++) {
            if (s->flags & RY_SAMPLE_BENCH) continue;
            visit_sample(&v, op, s, RY_F32);
            if (ry_sample_has_floats(op, s) && !(s->flags & RY_SAMPLE_F32_ONLY)) visit_sample(&v, op, s, RY_BF16);
        }
        st = tune_trust(d->tuning, op, agrees && *v.wrong == before);
    }
    ry_device_close(v.other);
    if (st == RY_OK && !found) RY_FAIL(RY_EARG, "doctor: no operator has a name that begins with '%s'", filter ? filter : "");
    return st;
}
