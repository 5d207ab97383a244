/* ref_update.c - references of rows that write variables: assignments and optimisers, as PyTorch's documentation defines them. */
#include "ref.h"
#include <math.h>
#include <string.h>

static int64_t numel(ref_io *io) { return ref_numel(&io->src_spec[0]); }
static double scale_of(ref_io *io, int at) { return at < io->n_src && io->src[at] ? io->src[at][0] : 1; }

static void assign(ref_io *io) { memcpy(io->out[0], io->src[1], (size_t)numel(io) * sizeof(double)); }
static void add_into(ref_io *io) {
    for (int64_t i = 0; i < numel(io); i++) io->out[0][i] = io->src[0][i] + io->src[1][i];
}

static void set_rows(ref_io *io) {
    int64_t outer, len, inner, n = io->src_spec[2].dim[0];
    ref_around(&io->src_spec[0], ref_axis(&io->src_spec[0], ref_int(io, "axis", 0)), &outer, &len, &inner);
    memcpy(io->out[0], io->src[0], (size_t)numel(io) * sizeof(double));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t r = 0; r < n; r++)
            memcpy(io->out[0] + (o * len + (int64_t)io->src[2][r]) * inner, io->src[1] + (o * n + r) * inner,
                   (size_t)inner * sizeof(double));
}

/* w, grad, momentum or none, scale or none -> w, momentum */
static void sgd(ref_io *io) {
    double lr = ref_num(io, "lr", 0), mu = ref_num(io, "momentum", 0), damp = ref_num(io, "dampening", 0),
           wd = ref_num(io, "weight_decay", 0);
    bool first = ref_int(io, "step", 0) <= 1, buffer = io->n_src > 2 && io->src[2];
    for (int64_t i = 0; i < numel(io); i++) {
        double g = io->src[1][i] * scale_of(io, 3) + wd * io->src[0][i], d = g;
        if (buffer) {
            double m = first ? g : mu * io->src[2][i] + (1 - damp) * g;
            io->out[1][i] = m;
            d = ref_int(io, "nesterov", 0) ? g + mu * m : m;
        }
        io->out[0][i] = io->src[0][i] - lr * d;
    }
}

/* w, grad, m, v, scale or none -> w, m, v */
static void adamw(ref_io *io) {
    double lr = ref_num(io, "lr", 0), b1 = ref_num(io, "beta1", 0), b2 = ref_num(io, "beta2", 0),
           eps = ref_num(io, "eps", 0);
    double wd = ref_num(io, "weight_decay", 0), t = (double)ref_int(io, "step", 0);
    for (int64_t i = 0; i < numel(io); i++) {
        double g = io->src[1][i] * scale_of(io, 4), m = b1 * io->src[2][i] + (1 - b1) * g,
               v = b2 * io->src[3][i] + (1 - b2) * g * g;
        double w = io->src[0][i] * (1 - lr * wd);
        io->out[0][i] = w - lr * (m / (1 - pow(b1, t))) / (sqrt(v / (1 - pow(b2, t))) + eps);
        io->out[1][i] = m;
        io->out[2][i] = v;
    }
}

static void global_norm(ref_io *io) {
    double s = 0;
    for (int k = 0; k < io->n_src; k++)
        for (int64_t i = 0; i < ref_numel(&io->src_spec[k]); i++) s += io->src[k][i] * io->src[k][i];
    io->out[0][0] = sqrt(s);
}

const ref_row ref_rows_update[] = {{"assign", assign}, {"add_into", add_into}, {"set_rows", set_rows},
                                   {"sgd", sgd},       {"adamw", adamw},       {"global_norm", global_norm},
                                   {NULL, NULL}};
