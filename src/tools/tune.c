/* tune.c - the search for the fastest variant of every kernel of a graph: the graph runs with each in turn, by the device's own clock,
 * and what it computes is compared with the defaults' before a time counts.  Owns nothing; never prints. */
#include "base/mem.h"
#include "core/graph.h"
#include "core/launch.h"
#include "core/program.h"
#include "core/tune.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RUNS = 4, MAX_ROUNDS = 32 };
static const double WORTH = 0.98; /* of the default's time: less of a gain is noise */

typedef struct found { /* by step of the plan */
    ry_text key;          /* empty: nothing to choose */
    double s[MAX_ROUNDS]; /* by variant; 0: not measured, or not right */
} found;

typedef struct search {
    ry_graph *g;
    size_t n;
    const ry_tensor *want;
    size_t n_feed;
    const ry_feed *feed;
    float **right; /* what the defaults computed, by want */
} search;

/* Largest difference of a wanted tensor from the defaults', relative to its largest entry; the first round's are kept. */
static ry_status compare(double *worst, search *s, ry_program *p) {
    *worst = 0;
    for (size_t i = 0; i < s->n; i++) {
        const ry_spec *spec = ry_program_spec(p, i);
        size_t bytes;
        RY_TRY(ry_spec_bytes(&bytes, spec));
        if (!ry_is_float(spec->dtype)) continue;
        int64_t n = ry_count(spec);
        char *data = ry_mem_alloc(bytes + 1);
        float *x = ry_mem_alloc(ry_mem_size((size_t)n + 1, sizeof *x, 0));
        ry_status st = data && x ? ry_fetch(p, i, data, bytes) : RY_ENOMEM;
        if (st == RY_OK) {
            const float *got = ry_load_row(data, spec->dtype, 0, n, x);
            double scale = 0, err = 0;
            for (int64_t k = 0; k < n && s->right[i]; k++) {
                double a = (double)got[k], b = (double)s->right[i][k];
                scale = fmax(scale, fabs(b));
                err = isfinite(a - b) ? fmax(err, fabs(a - b)) : (double)INFINITY;
            }
            if (scale > 0) err /= scale;
            double round = ldexp(4, -ry_dtype_row(spec->dtype)->bits);
            *worst = fmax(*worst, err <= round ? 0 : err);
            if (!s->right[i]) {
                if (got != x) memcpy(x, got, (size_t)n * sizeof *x);
                s->right[i] = x, x = NULL;
            }
        }
        ry_mem_free(data);
        ry_mem_free(x);
        RY_TRY(st);
    }
    return RY_OK;
}

/* Seconds by step, the least of a few runs. */
static ry_status measure(double *seconds, search *s, ry_program *p) {
    for (size_t i = 0; i < s->n_feed; i++) {
        size_t k = 0;
        const ry_value *v = ry_value_of(s->g, s->feed[i].input);
        while (k < s->g->inputs.n && s->g->inputs.at[k] != v) k++;
        RY_TRY(ry_program_feed(p, k, s->feed[i].data, s->feed[i].bytes));
    }
    for (int r = 0; r < RUNS; r++) {
        RY_TRY(ry_run(p));
        for (int i = 0; i < p->plan->n_steps; i++)
            if (r == 1 || (r > 1 && p->step_s[i] < seconds[i])) seconds[i] = p->step_s[i];
    }
    return RY_OK;
}

/* The variant of step i that is fastest over all steps of its key, which it takes out of the list; the default where none is worth it. */
static int sum_up(double *gain, found *f, int i, int steps) {
    double s[MAX_ROUNDS];
    int best = 0;
    memcpy(s, f[i].s, sizeof s);
    for (int j = i + 1; j < steps; j++) {
        if (!f[j].key.n || strcmp(f[j].key.at, f[i].key.at) != 0) continue;
        for (int r = 0; r < MAX_ROUNDS; r++) s[r] = s[r] > 0 && f[j].s[r] > 0 ? s[r] + f[j].s[r] : 0;
        f[j].key.n = 0;
    }
    for (int r = 1; r < MAX_ROUNDS; r++)
        if (s[r] > 0 && s[r] < s[best] && s[r] < WORTH * s[0]) best = r;
    *gain = s[0] / s[best];
    return best;
}

/* Whether the table says otherwise, by what was tried here too: a search that ended early does not outvote what it did not see. */
static bool is_news(ry_tuning *t, const ry_node *n, const ry_caps *caps, const ry_variant *best, int tried) {
    int i = 0;
    const ry_variant *now = tune_choose(t, n, caps);
    while (launch_variant_at(n, caps, i) != now) i++;
    return now != best && i < tried;
}

ry_status ry_tune(ry_graph *g, size_t n, const ry_tensor *want, size_t n_feed, const ry_feed *feed, const ry_tune_options *opt) {
    static const ry_tune_options none;
    if (!opt) opt = &none;
    ry_tuning *t = g->dev->tuning;
    if (!t) return RY_OK;            /* a device without kernels has nothing to choose */
    if (tune_fixed(t)) return RY_OK; /* a resumed run has chosen */
    search s = {.g = g, .n = n, .want = want, .n_feed = n_feed, .feed = feed, .right = ry_mem_zalloc((n + 1) * sizeof *s.right)};
    found *f = NULL;
    double *seconds = NULL, start = os_now(), tolerance = opt->tolerance > 0 ? opt->tolerance : 1e-3;
    int rounds = 1, tried = 0, steps = 0, changed = 0;
    char text[160];
    ry_status st = s.right ? RY_OK : RY_ENOMEM;
    for (int r = 0; r < rounds && st == RY_OK; r++) {
        ry_program *p = NULL;
        double worst = 0;
        if (r > 0 && opt->seconds > 0 && os_now() - start > opt->seconds) break;
        tune_try(t, r);
        tried = r + 1;
        st = ry_compile(&p, g, n, want, &(ry_compile_options){.no_cache = true, .profile = true});
        if (st == RY_OK && !r) {
            steps = p->plan->n_steps;
            f = ry_mem_zalloc(((size_t)steps + 1) * sizeof *f);
            seconds = ry_mem_zalloc(((size_t)steps + 1) * sizeof *seconds);
            if (!f || !seconds) st = RY_ENOMEM;
            for (int i = 0, count; i < steps && st == RY_OK; i++) {
                (void)launch_variant(p->plan->steps[i].node, &g->dev->caps, &count);
                if (count > rounds) rounds = count < MAX_ROUNDS ? count : MAX_ROUNDS;
            }
        }
        if (st == RY_OK) st = measure(seconds, &s, p);
        if (st == RY_OK) st = compare(&worst, &s, p);
        for (int i = 0; i < steps && st == RY_OK && worst <= tolerance; i++) {
            int count;
            const ry_node *node = p->plan->steps[i].node;
            (void)launch_variant(node, &g->dev->caps, &count);
            if (count > 1 && r < count) f[i].s[r] = seconds[i];
        }
        if (st == RY_OK && worst > tolerance) ry_log_line(RY_LOG_WARN, "tune: variant %d differs from the defaults by %.2g and is not used", r, worst);
        if (st != RY_OK && r > 0 && st != RY_ELOST && st != RY_ENOMEM) {
            ry_log_line(RY_LOG_WARN, "tune: variant %d does not run and is not used: %s", r, ry_message());
            st = RY_OK;
        }
        if (opt->progress) {
            snprintf(text, sizeof text, "variant %d of %d", r + 1, rounds);
            opt->progress(opt->ud, text);
        }
        ry_program_close(p);
    }
    tune_try(t, -1);
    ry_program *p = NULL; /* once more, for the keys */
    if (st == RY_OK) st = ry_compile(&p, g, n, want, &(ry_compile_options){.no_cache = true});
    for (int i = 0; i < steps && st == RY_OK; i++)
        if (f[i].s[0] > 0) st = tune_key(&f[i].key, p->plan->steps[i].node);
    for (int i = 0; i < steps && st == RY_OK; i++) {
        const ry_node *node = p->plan->steps[i].node;
        double gain;
        if (!f[i].key.n) continue;
        int best = sum_up(&gain, f, i, steps);
        const ry_variant *v = launch_variant_at(node, &g->dev->caps, best);
        if (!is_news(t, node, &g->dev->caps, v, tried)) continue;
        st = tune_set(t, f[i].key.at, v->name);
        if (st == RY_OK && opt->progress) {
            snprintf(text, sizeof text, "%.100s: %s, %.2fx", f[i].key.at, v->name, gain);
            opt->progress(opt->ud, text);
        }
        changed++;
    }
    ry_program_close(p);
    if (st == RY_OK && changed) st = tune_save(t);
    for (size_t i = 0; i < n && s.right; i++) ry_mem_free(s.right[i]);
    ry_mem_free(s.right);
    for (int i = 0; i < steps && f; i++) ry_text_free(&f[i].key);
    ry_mem_free(f);
    ry_mem_free(seconds);
    return st;
}
