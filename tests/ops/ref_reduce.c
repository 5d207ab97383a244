/* ref_reduce.c - references of rows that fold or order: reductions, running sums, sorting, and the row-wise normalisers. */
#include "ref.h"
#include <math.h>
#include <stdlib.h>

/* Set of axes as rusty.h writes it: bit 31 is axis -1; 0 is all. */
static bool reduced(ref_io *io, int axis) {
    uint32_t axes = (uint32_t)ref_int(io, "axes", 0);
    int rank = io->src_spec[0].rank;
    return axes == 0 || (axes >> axis & 1u) || (axes >> (32 - rank + axis) & 1u);
}

/* Calls fold(acc, x) for every element with the accumulator of its output. */
static void reduce(ref_io *io, double start, double (*fold)(double acc, double x)) {
    const ry_spec *x = &io->src_spec[0];
    int64_t idx[RY_MAX_RANK], n = ref_numel(x), n_out = ref_numel(&io->out_spec[0]);
    for (int64_t i = 0; i < n_out; i++) io->out[0][i] = start;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        ref_unravel(x, i, idx);
        for (int d = 0; d < x->rank; d++)
            if (!reduced(io, d)) at = at * x->dim[d] + idx[d];
        io->out[0][at] = fold(io->out[0][at], io->src[0][i]);
    }
}
static int64_t count(ref_io *io) {
    int64_t n = 1;
    for (int d = 0; d < io->src_spec[0].rank; d++)
        if (reduced(io, d)) n *= io->src_spec[0].dim[d];
    return n;
}
static double plus(double a, double x) { return a + x; }
static double plus_square(double a, double x) { return a + x * x; }
static double larger(double a, double x) { return isnan(a) || isnan(x) ? NAN : a > x ? a : x; }
static double smaller(double a, double x) { return isnan(a) || isnan(x) ? NAN : a < x ? a : x; }
static double either(double a, double x) { return a != 0 || x != 0; }
static double both(double a, double x) { return a != 0 && x != 0; }

static void each(ref_io *io, double (*f)(double y, double n)) {
    int64_t n = ref_numel(&io->out_spec[0]);
    for (int64_t i = 0; i < n; i++) io->out[0][i] = f(io->out[0][i], (double)count(io));
}
static double divide(double y, double n) { return y / n; }
static double root(double y, double n) { return (void)n, sqrt(y); }

static void sum(ref_io *io) { reduce(io, 0, plus); }
static void mean(ref_io *io) { sum(io), each(io, divide); }
static void norm(ref_io *io) { reduce(io, 0, plus_square), each(io, root); }
static void amax(ref_io *io) { reduce(io, -(double)INFINITY, larger); }
static void amin(ref_io *io) { reduce(io, (double)INFINITY, smaller); }
static void any(ref_io *io) { reduce(io, 0, either); }
static void all(ref_io *io) { reduce(io, 1, both); }

static void logsumexp(ref_io *io) {
    const ry_spec *x = &io->src_spec[0];
    int64_t idx[RY_MAX_RANK], n = ref_numel(x), n_out = ref_numel(&io->out_spec[0]);
    double *s = calloc((size_t)n_out + 1, sizeof *s);
    if (!s) abort();
    amax(io);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        ref_unravel(x, i, idx);
        for (int d = 0; d < x->rank; d++)
            if (!reduced(io, d)) at = at * x->dim[d] + idx[d];
        s[at] += exp(io->src[0][i] - (isinf(io->out[0][at]) ? 0 : io->out[0][at]));
    }
    for (int64_t i = 0; i < n_out; i++) io->out[0][i] = log(s[i]) + (isinf(io->out[0][i]) ? 0 : io->out[0][i]);
    free(s);
}

/* ---------------------------------------------------------------- along one axis */

#define EACH_LINE(io, axis_)                                                                      \
    int64_t outer_, len_, inner_;                                                                 \
    ref_around(&(io)->src_spec[0], ref_axis(&(io)->src_spec[0], axis_), &outer_, &len_, &inner_); \
    for (int64_t o_ = 0; o_ < outer_; o_++)                                                       \
        for (int64_t in_ = 0; in_ < inner_; in_++)
#define X_AT(io, i) (io)->src[0][(o_ * len_ + (i)) * inner_ + in_]

static void arg(ref_io *io, bool largest) {
    EACH_LINE(io, ref_int(io, "axis", 0)) {
        int64_t best = 0;
        for (int64_t i = 1; i < len_; i++) {
            double x = X_AT(io, i), b = X_AT(io, best);
            if (!isnan(b) && (isnan(x) || (largest ? x > b : x < b))) best = i;
        }
        io->out[0][o_ * inner_ + in_] = (double)best;
    }
}
static void argmax(ref_io *io) { arg(io, true); }
static void argmin(ref_io *io) { arg(io, false); }

static void cumsum(ref_io *io) {
    bool exclusive = ref_int(io, "exclusive", 0), reverse = ref_int(io, "reverse", 0);
    EACH_LINE(io, ref_int(io, "axis", 0)) {
        double s = 0;
        for (int64_t k = 0; k < len_; k++) {
            int64_t i = reverse ? len_ - 1 - k : k;
            double before = s;
            s += X_AT(io, i);
            io->out[0][(o_ * len_ + i) * inner_ + in_] = exclusive ? before : s;
        }
    }
}

/* Insertion sort of places: stable; NaN last ascending, first descending. */
static bool goes_before(double a, double b, bool descending) {
    if (isnan(a) || isnan(b)) return descending ? isnan(a) && !isnan(b) : isnan(b) && !isnan(a);
    return descending ? a > b : a < b;
}
static void order(ref_io *io, bool descending, int64_t k) {
    EACH_LINE(io, ref_int(io, "axis", 0)) {
        int64_t *place = calloc((size_t)len_ + 1, sizeof *place);
        if (!place) abort();
        for (int64_t i = 0; i < len_; i++) {
            int64_t at = i;
            for (; at > 0 && goes_before(X_AT(io, i), X_AT(io, place[at - 1]), descending); at--)
                place[at] = place[at - 1];
            place[at] = i;
        }
        int64_t n = k < 0 ? len_ : k;
        for (int64_t i = 0; i < n; i++) {
            int64_t to = (o_ * n + i) * inner_ + in_;
            io->out[0][to] = X_AT(io, place[i]);
            if (io->n_out > 1) io->out[1][to] = (double)place[i];
        }
        free(place);
    }
}
static void sort(ref_io *io) { order(io, ref_int(io, "descending", 0), -1); }
static void top_k(ref_io *io) { order(io, true, ref_int(io, "k", 0)); }

static void soft(ref_io *io, bool logarithm) {
    EACH_LINE(io, ref_int(io, "axis", 0)) {
        double m = -(double)INFINITY, s = 0;
        for (int64_t i = 0; i < len_; i++) m = larger(m, X_AT(io, i));
        for (int64_t i = 0; i < len_; i++) s += exp(X_AT(io, i) - m);
        for (int64_t i = 0; i < len_; i++)
            io->out[0][(o_ * len_ + i) * inner_ + in_] =
                logarithm ? X_AT(io, i) - m - log(s) : exp(X_AT(io, i) - m) / s;
    }
}
static void softmax(ref_io *io) { soft(io, false); }
static void log_softmax(ref_io *io) { soft(io, true); }

static void normalise(ref_io *io, bool centre) {
    EACH_LINE(io, -1) {
        double mu = 0, s = 0, eps = ref_num(io, "eps", 0);
        for (int64_t i = 0; i < len_ && centre; i++) mu += X_AT(io, i) / (double)len_;
        for (int64_t i = 0; i < len_; i++) s += (X_AT(io, i) - mu) * (X_AT(io, i) - mu) / (double)len_;
        for (int64_t i = 0; i < len_; i++) {
            double y = (X_AT(io, i) - mu) / sqrt(s + eps);
            if (io->n_src > 1 && io->src[1]) y *= io->src[1][i];
            if (io->n_src > 2 && io->src[2]) y += io->src[2][i];
            io->out[0][o_ * len_ + i] = y;
        }
    }
}
static void rms_norm(ref_io *io) { normalise(io, false); }
static void layer_norm(ref_io *io) { normalise(io, true); }

const ref_row ref_rows_reduce[] = {{"sum", sum},
                                   {"mean", mean},
                                   {"norm", norm},
                                   {"amax", amax},
                                   {"amin", amin},
                                   {"any", any},
                                   {"all", all},
                                   {"logsumexp", logsumexp},
                                   {"argmax", argmax},
                                   {"argmin", argmin},
                                   {"cumsum", cumsum},
                                   {"sort", sort},
                                   {"top_k", top_k},
                                   {"softmax", softmax},
                                   {"log_softmax", log_softmax},
                                   {"rms_norm", rms_norm},
                                   {"layer_norm", layer_norm},
                                   {NULL, NULL}};
