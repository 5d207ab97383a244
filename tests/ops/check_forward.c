/* check_forward.c - a row's results: against the oracle, the same on any number of threads and at every run, with and without
 * fusion, merging and in-place reuse, with one tensor as two sources, and with empty dimensions. */
#include "base/mem.h"
#include "check.h"
#include <rusty/ops.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int feeds_of(const ry_sample_set *s, feed f[RY_MAX_SRC]) {
    int n = 0;
    for (int i = 0; i < s->n_src; i++)
        if (s->spec[i].dtype != RY_NONE && !s->var[i]) f[n++] = (feed){s->data[i], s->bytes[i]};
    return n;
}

static int wants_of(ry_graph *g, ry_tensor y, ry_tensor want[RY_MAX_OUT]) {
    const ry_node *n = ry_node_of(g, y);
    for (int j = 0; j < n->n_out; j++) want[j] = ry_res(g, n, j);
    return n->n_out;
}

static void bind_set(oracle *o, const ry_sample_set *s, const ry_tensor src[]) {
    for (int i = 0; i < s->n_src; i++) {
        if (ry_is_null(src[i])) continue;
        int64_t n = ry_count(&s->spec[i]);
        double *x = malloc(((size_t)n + 1) * sizeof *x);
        if (!x) abort();
        oracle_load(x, s->data[i], s->spec[i].dtype, n);
        oracle_bind(o, src[i], x);
        free(x);
    }
}

/* All outputs of node y against the oracle. */
static void against_oracle(check *c, const char *how, bool lower, ry_graph *g, ry_tensor y, const ry_sample_set *s,
                           const ry_tensor src[], const result *r) {
    oracle *o = oracle_open(g);
    bind_set(o, s, src);
    ry_tensor want[RY_MAX_OUT];
    int n = wants_of(g, y, want);
    for (int j = 0; j < n; j++) {
        const double *x = oracle_value(o, want[j]);
        if (!x) {
            check_fail(c, how, "%s", oracle_why(o));
            break;
        }
        check_close(c, how, j, r, x, check_tol(c, r->spec[j].dtype));
    }
    bool both = lower && c->op->lower &&
                !(c->op->flags & RY_OP_MAP); /* the lowering too, where a hand-written loop came first */
    for (int j = 0; j < n && both; j++) {
        const double *x = oracle_lowered(o, want[j]);
        if (x)
            check_close(c, "lower", j, r, x, check_tol(c, r->spec[j].dtype));
        else if (ry_graph_status(g) != RY_OK)
            check_fail(c, "lower", "%s", oracle_why(o));
    }
    oracle_close(o);
}

/* The row on device d. false: not accepted (only for other dtypes than f32) or failed. */
static bool run_on(check *c, ry_device *d, ry_sample_set *s, result *r, int runs, bool compare, const char *how) {
    ry_graph *g = NULL;
    ry_tensor src[RY_MAX_SRC], want[RY_MAX_OUT];
    feed f[RY_MAX_SRC];
    bool ok = false;
    if (ry_graph_open(&g, d) != RY_OK) return check_fail(c, how, "%s", ry_message());
    ry_tensor y = ry_sample_build(g, s, false, src);
    if (ry_is_null(y)) {
        ry_status st = ry_graph_status(g);
        if (c->floats == RY_F32 || (st != RY_EDTYPE && st != RY_EUNSUPPORTED))
            check_fail(c, how, "not built: %s", ry_message());
        goto done;
    }
    int n = wants_of(g, y, want), n_feed = feeds_of(s, f);
    if (run_graph(r, g, n, want, n_feed, f, &(ry_compile_options){.no_cache = true}, runs) != RY_OK) {
        check_fail(c, how, "%s", ry_message());
        goto done;
    }
    ok = true;
    for (int j = 0; j < n; j++)
        if (!ry_same_spec(&r->spec[j], ry_spec_of(g, want[j])))
            ok = check_fail(c, how, "output %d is %s, infer said %s", j, ry_show(&r->spec[j]).s,
                            ry_show(ry_spec_of(g, want[j])).s);
    if (ok && compare) against_oracle(c, how, true, g, y, s, src, r);
done:
    ry_graph_close(g);
    return ok;
}

/* Sources pass through -(-x), so that they die here and may be merged, fused with, or overwritten. */
static void with_options(check *c, ry_sample_set *s, const result *plain) {
    static const ry_compile_options options[] = {
        {.no_cache = true},
        {.no_cache = true, .no_fusion = true, .no_cse = true, .no_inplace = true},
        {.no_cache = true, .no_inplace = true}};
    static const char *const how[] = {"sources made here", "without fusion, merging, reuse", "without reuse"};
    for (size_t k = 0; k < (c->brief    ? 0
                            : c->device ? 1
                                        : sizeof options / sizeof *options);
         k++) { /* the plan is the same on all devices */
        ry_graph *g = NULL;
        ry_tensor src[RY_MAX_SRC], want[RY_MAX_OUT];
        feed f[RY_MAX_SRC];
        result r = {0};
        if (ry_graph_open(&g, c->dev[1]) != RY_OK) return;
        ry_sample_sources_build(g, s, false, src);
        for (int i = 0; i < s->n_src; i++)
            if (!ry_is_null(src[i]) && ry_is_float(s->spec[i].dtype) && !(c->op->writes >> i & 1u))
                src[i] = ry_neg(g, ry_neg(g, src[i]));
        ry_tensor y = ry_apply_row(g, c->op, (size_t)s->n_src, src, c->sample->args);
        if (ry_is_null(y))
            check_fail(c, how[k], "not built: %s", ry_message());
        else if (run_graph(&r, g, wants_of(g, y, want), want, feeds_of(s, f), f, &options[k], 1) != RY_OK)
            check_fail(c, how[k], "%s", ry_message());
        for (int j = 0; j < r.n; j++) {
            double *x = result_doubles(plain, j);
            check_close(c, how[k], j, &r, x, check_tol(c, r.spec[j].dtype));
            free(x);
        }
        result_free(&r);
        ry_graph_close(g);
    }
}

/* Changed sources may hold numbers that the row refuses, and the device would not say so. */
static bool may_refuse(const check *c) { return c->device && (c->op->flags & RY_OP_CHECKED); }

/* Each pair of equal sources as one and the same tensor. */
static void with_aliases(check *c, ry_sample_set *s) {
    if (may_refuse(c) || c->brief) return;
    for (int i = 0; i < s->n_src; i++)
        for (int k = i + 1; k < s->n_src && !c->stale; k++) {
            if (s->spec[i].dtype == RY_NONE || !ry_same_spec(&s->spec[i], &s->spec[k]) ||
                ((c->op->writes >> i | c->op->writes >> k) & 1u))
                continue;
            ry_graph *g = NULL;
            ry_tensor src[RY_MAX_SRC], want[RY_MAX_OUT];
            feed f[RY_MAX_SRC];
            result r = {0};
            if (ry_graph_open(&g, c->dev[1]) != RY_OK) return;
            ry_sample_sources_build(g, s, false, src);
            ry_tensor alias[RY_MAX_SRC];
            memcpy(alias, src, sizeof alias);
            alias[k] = src[i];
            ry_tensor y = ry_apply_row(g, c->op, (size_t)s->n_src, alias, c->sample->args);
            ry_status st = ry_is_null(y) ? ry_graph_status(g)
                                         : run_graph(&r, g, wants_of(g, y, want), want, feeds_of(s, f), f,
                                                     &(ry_compile_options){.no_cache = true}, 1);
            if (st == RY_OK)
                against_oracle(c, "one tensor as two sources", true, g, y, s, src, &r);
            else if (c->op->flags & RY_OP_CHECKED)
                c->stale = true;
            else
                check_fail(c, "one tensor as two sources", "%s", ry_message());
            result_free(&r);
            ry_graph_close(g);
        }
}

void check_forward(check *c) {
    ry_sample_set s;
    result r[CHECK_DEVICES] = {{0}}, again = {0};
    memset(c->usual, 0, sizeof c->usual);
    if (!check_devices(c)) return;
    if (ry_sample_open(&s, c->op, c->sample, c->floats, 42) != RY_OK) {
        check_fail(c, "sample", "%s", ry_message());
        return;
    }
    if (run_on(c, c->dev[0], &s, &r[0], 1, true, "1 thread")) {
        static const char *const how[] = {"1 thread", "2 threads", "3 threads"};
        for (int j = 0; j < r[0].n && j < RY_MAX_OUT; j++) {
            double *x = result_doubles(&r[0], j);
            for (int64_t i = 0; i < ry_count(&r[0].spec[j]); i++)
                if (isfinite(x[i]) && fabs(x[i]) > c->usual[j]) c->usual[j] = fabs(x[i]);
            free(x);
        }
        for (int t = 1; t < CHECK_DEVICES && !c->device; t++) {
            ry_sample_set fresh; /* variables belong to a device */
            if (ry_sample_open(&fresh, c->op, c->sample, c->floats, 42) != RY_OK) continue;
            if (run_on(c, c->dev[t], &fresh, &r[t], 1, false, how[t]) && !result_equal(&r[0], &r[t]))
                check_fail(c, how[t], "other bits than with 1 thread");
            ry_sample_close(&fresh);
        }
        if (!c->op->writes && run_on(c, c->dev[0], &s, &again, 2, false, "second run") && !result_equal(&r[0], &again))
            check_fail(c, "second run", "other bits than the first");
        ry_sample_set other;
        if (ry_sample_open(&other, c->op, c->sample, c->floats, 42) == RY_OK) {
            with_options(c, &other, &r[0]);
            with_aliases(c, &other);
            ry_sample_close(&other);
        }
    }
    for (int t = 0; t < CHECK_DEVICES; t++) result_free(&r[t]);
    result_free(&again);
    ry_sample_close(&s);
}

/* Every size that occurs, replaced by 0 wherever it occurs: what infer still accepts must run. */
void check_empty(check *c) {
    if (may_refuse(c)) return;
    memset(c->usual, 0, sizeof c->usual);
    int64_t seen[64];
    int n_seen = 0, n_src = ry_sample_sources(c->op, c->sample);
    const ry_sample *original = c->sample;
    for (int i = 0; i < n_src; i++)
        for (int k = 0; k < original->src[i].rank && original->src[i].dtype != RY_NONE; k++) {
            int64_t d = original->src[i].dim[k];
            bool known = d == 0;
            for (int j = 0; j < n_seen; j++) known |= seen[j] == d;
            if (!known && n_seen < 64) seen[n_seen++] = d;
        }
    for (int q = 0; q < n_seen && check_devices(c); q++) {
        ry_sample e = *original;
        for (int i = 0; i < n_src; i++)
            for (int k = 0; k < e.src[i].rank; k++)
                if (e.src[i].dim[k] == seen[q]) e.src[i].dim[k] = 0;
        ry_sample_set s;
        result r = {0};
        ry_graph *g = NULL;
        ry_tensor src[RY_MAX_SRC], want[RY_MAX_OUT];
        feed f[RY_MAX_SRC];
        if (ry_sample_open(&s, c->op, &e, RY_F32, 42) != RY_OK) continue; /* a partial block */
        if (ry_graph_open(&g, c->dev[1]) == RY_OK) {
            ry_tensor y = ry_sample_build(g, &s, false, src);
            if (!ry_is_null(y)) {
                ry_status st = run_graph(&r, g, wants_of(g, y, want), want, feeds_of(&s, f), f,
                                         &(ry_compile_options){.no_cache = true}, 1);
                if (st == RY_OK)
                    against_oracle(c, "empty", false, g, y, &s, src, &r);
                else if (c->op->flags & RY_OP_CHECKED)
                    c->stale = true;
                else
                    check_fail(c, "empty", "size %lld as 0: %s", (long long)seen[q], ry_message());
                result_free(&r);
            }
        }
        ry_graph_close(g);
        ry_sample_close(&s);
    }
}

/* ---------------------------------------------------------------- views */

typedef enum layout { TRANSPOSED, SLICED, EXPANDED, LAYOUTS } layout;
static const char *const layout_name[] = {"transposed sources", "sliced sources", "expanded sources"};

/* Whether a source of this shape can be shown so. */
static bool fits(layout l, const ry_spec *s) {
    if (ry_dtype_row(s->dtype)->block > 1) return false;
    if (l == TRANSPOSED) return s->rank >= 2;
    if (l == EXPANDED) return s->rank >= 2 && s->dim[0] > 1;
    return s->rank >= 1;
}

/* The bigger or permuted buffer behind the view; storage bytes of element [idx] lie at ry_count-order of the buffer's shape. */
static ry_spec storage_spec(layout l, const ry_spec *s) {
    ry_spec b = *s;
    int last = s->rank - 1;
    if (l == TRANSPOSED) {
        b.dim[last] = s->dim[last - 1], b.dim[last - 1] = s->dim[last];
    } else if (l == EXPANDED) {
        b.dim[0] = 1;
    } else {
        for (int i = 0; i < s->rank; i++) b.dim[i] = i == last ? 2 * s->dim[i] + 1 : s->dim[i] + 2;
    }
    return b;
}

static int64_t storage_index(layout l, const ry_spec *s, const ry_spec *b, int64_t flat) {
    int64_t idx[RY_MAX_RANK], at = 0;
    int last = s->rank - 1;
    for (int i = last; i >= 0; i--) {
        idx[i] = flat % s->dim[i];
        flat /= s->dim[i];
    }
    if (l == TRANSPOSED) {
        int64_t t = idx[last];
        idx[last] = idx[last - 1], idx[last - 1] = t;
    } else if (l == EXPANDED) {
        idx[0] = 0;
    } else {
        for (int i = 0; i < s->rank; i++) idx[i] = i == last ? 2 * idx[i] + 1 : idx[i] + 1;
    }
    for (int i = 0; i < b->rank; i++) at = at * b->dim[i] + idx[i];
    return at;
}

static ry_tensor view_of(ry_graph *g, layout l, const ry_spec *s, ry_tensor t) {
    if (l == TRANSPOSED) return ry_transpose(g, t, -2, -1);
    if (l == EXPANDED) return ry_expand(g, t, s->rank, s->dim);
    for (int i = 0; i < s->rank; i++)
        t = i == s->rank - 1 ? ry_slice(g, t, i, 1, 2 * s->dim[i], 2) : ry_slice(g, t, i, 1, s->dim[i] + 1, 1);
    return t;
}

static void check_layout(check *c, layout l, ry_sample_set *s) {
    ry_graph *g = NULL;
    ry_tensor src[RY_MAX_SRC], leaf[RY_MAX_SRC], want[RY_MAX_OUT];
    feed f[RY_MAX_SRC];
    unsigned char *buffer[RY_MAX_SRC] = {NULL};
    ry_spec store[RY_MAX_SRC];
    result r = {0};
    int n_feed = 0, shown = 0;
    if (ry_graph_open(&g, c->dev[1]) != RY_OK) return;
    for (int i = 0; i < s->n_src; i++) {
        src[i] = leaf[i] = RY_NULL;
        if (s->spec[i].dtype == RY_NONE) continue;
        if (c->op->writes >> i & 1u) {
            if (!s->var[i] && ry_var_open(&s->var[i], c->dev[1], &s->spec[i], NULL) != RY_OK) goto done;
            if (ry_var_write(s->var[i], s->data[i], s->bytes[i]) != RY_OK) goto done;
            src[i] = leaf[i] = ry_use(g, s->var[i]);
            store[i] = s->spec[i];
            continue;
        }
        bool view = fits(l, &s->spec[i]);
        store[i] = view ? storage_spec(l, &s->spec[i]) : s->spec[i];
        size_t bytes, item = (size_t)ry_dtype_row(s->spec[i].dtype)->bytes;
        if (ry_spec_bytes(&bytes, &store[i]) != RY_OK) goto done;
        buffer[i] = malloc(bytes + 1);
        if (!buffer[i]) abort();
        if (view) {
            memset(buffer[i], ry_is_float(s->spec[i].dtype) ? 0xFF : 1, bytes); /* NaN where nobody should look */
            int64_t n = ry_count(&s->spec[i]);
            unsigned char *data = s->data[i];
            for (int64_t k = 0; k < n; k++) {
                int64_t at = storage_index(l, &s->spec[i], &store[i], k);
                if (l == EXPANDED && k >= n / s->spec[i].dim[0])
                    memcpy(data + (size_t)k * item, buffer[i] + (size_t)at * item, item);
                else
                    memcpy(buffer[i] + (size_t)at * item, data + (size_t)k * item, item);
            }
            shown++;
        } else {
            memcpy(buffer[i], s->data[i], bytes);
        }
        leaf[i] = ry_input(g, &store[i], NULL);
        src[i] = view ? view_of(g, l, &s->spec[i], leaf[i]) : leaf[i];
        f[n_feed++] = (feed){buffer[i], bytes};
    }
    if (!shown) goto done;
    ry_tensor y = ry_apply_row(g, c->op, (size_t)s->n_src, src, c->sample->args);
    if (ry_is_null(y)) {
        ry_status st = ry_graph_status(g);
        if (c->floats == RY_F32 || (st != RY_EDTYPE && st != RY_EUNSUPPORTED))
            check_fail(c, layout_name[l], "not built: %s", ry_message());
        goto done;
    }
    ry_status st = run_graph(&r, g, wants_of(g, y, want), want, n_feed, f, &(ry_compile_options){.no_cache = true}, 1);
    if (st != RY_OK) {
        /* expanding may repeat an index that the row must refuse */
        c->stale = true;
        if (!(l == EXPANDED && (c->op->flags & RY_OP_CHECKED))) check_fail(c, layout_name[l], "%s", ry_message());
        goto done;
    }
    oracle *o = oracle_open(g);
    for (int i = 0; i < s->n_src; i++) {
        if (ry_is_null(leaf[i])) continue;
        int64_t n = ry_count(&store[i]);
        double *x = malloc(((size_t)n + 1) * sizeof *x);
        if (!x) abort();
        oracle_load(x, buffer[i] ? (const void *)buffer[i] : s->data[i], store[i].dtype, n);
        oracle_bind(o, leaf[i], x);
        free(x);
    }
    for (int j = 0; j < r.n; j++) {
        const double *x = oracle_value(o, want[j]);
        double tol =
            check_tol(c, r.spec[j].dtype) * (l == EXPANDED ? 10 : 1); /* equal terms round alike: errors add up */
        if (x)
            check_close(c, layout_name[l], j, &r, x, tol);
        else
            check_fail(c, layout_name[l], "%s", oracle_why(o));
    }
    oracle_close(o);
done:
    result_free(&r);
    for (int i = 0; i < s->n_src; i++) free(buffer[i]);
    ry_graph_close(g);
}

void check_views(check *c) {
    for (int l = 0; l < LAYOUTS && check_devices(c); l++) {
        ry_sample_set s;
        if (l == EXPANDED && may_refuse(c)) continue;
        if (ry_sample_open(&s, c->op, c->sample, c->floats, 43) != RY_OK) continue;
        check_layout(c, (layout)l, &s);
        ry_sample_close(&s);
    }
}
