/* ref_product.c - references of products, convolutions, pooling, attention, rope and losses, as their definitions say. */
#include "ref.h"
#include <math.h>
#include <stdlib.h>

/* a [..,T,K], b [..,K,N] (b_rows: [..,N,K]), bias [N] */
static void matmul(ref_io *io) {
    const ry_spec *a = &io->src_spec[0], *b = &io->src_spec[1], *y = &io->out_spec[0];
    bool rows = ref_int(io, "b_rows", 0);
    ry_dtype factor = ref_int(io, "product", 0) == RY_BF16 ? RY_BF16 : RY_F32;
    int64_t T = a->dim[a->rank - 2], K = a->dim[a->rank - 1], N = y->dim[y->rank - 1], idx[RY_MAX_RANK];
    ry_spec batch = *y;
    batch.rank -= 2;
    int64_t n = ref_numel(&batch);
    for (int64_t q = 0; q < n; q++) {
        int64_t at_a = 0, at_b = 0;
        ref_unravel(&batch, q, idx);
        for (int d = 0; d < a->rank - 2; d++)
            at_a = at_a * a->dim[d] + (a->dim[d] == 1 ? 0 : idx[batch.rank - (a->rank - 2) + d]);
        for (int d = 0; d < b->rank - 2; d++)
            at_b = at_b * b->dim[d] + (b->dim[d] == 1 ? 0 : idx[batch.rank - (b->rank - 2) + d]);
        const double *x = io->src[0] + at_a * T * K, *w = io->src[1] + at_b * K * N;
        for (int64_t i = 0; i < T; i++)
            for (int64_t j = 0; j < N; j++) {
                double s = io->n_src > 2 && io->src[2] ? io->src[2][j] : 0;
                for (int64_t k = 0; k < K; k++)
                    s +=
                        ref_round(io, factor, x[i * K + k]) * ref_round(io, factor, rows ? w[j * K + k] : w[k * N + j]);
                io->out[0][(q * T + i) * N + j] = s;
            }
    }
}

static void grouped_matmul(ref_io *io) {
    bool rows = ref_int(io, "w_rows", 0);
    ry_dtype factor = ref_int(io, "product", 0) == RY_BF16 ? RY_BF16 : RY_F32;
    int64_t E = io->src_spec[1].dim[0], K = io->src_spec[0].dim[1], N = io->out_spec[0].dim[1];
    for (int64_t e = 0; e < E; e++)
        for (int64_t r = (int64_t)io->src[2][e]; r < (int64_t)io->src[2][e + 1]; r++)
            for (int64_t j = 0; j < N; j++) {
                double s = 0;
                for (int64_t k = 0; k < K; k++)
                    s += ref_round(io, factor, io->src[0][r * K + k]) *
                         ref_round(io, factor, io->src[1][e * N * K + (rows ? j * K + k : k * N + j)]);
                io->out[0][r * N + j] = s;
            }
}

/* a [R,N], b [R,K] -> [E,N,K]: a^T b over each expert's rows */
static void grouped_matmul_dw(ref_io *io) {
    int64_t E = io->out_spec[0].dim[0], N = io->src_spec[0].dim[1], K = io->src_spec[1].dim[1];
    for (int64_t e = 0; e < E; e++)
        for (int64_t r = (int64_t)io->src[2][e]; r < (int64_t)io->src[2][e + 1]; r++)
            for (int64_t j = 0; j < N; j++)
                for (int64_t k = 0; k < K; k++)
                    io->out[0][(e * N + j) * K + k] += io->src[0][r * N + j] * io->src[1][r * K + k];
}

/* ---------------------------------------------------------------- windows */

static int64_t or_one(int64_t v) { return v ? v : 1; }

static void conv2d(ref_io *io) {
    const int64_t *x = io->src_spec[0].dim, *w = io->src_spec[1].dim, *y = io->out_spec[0].dim;
    int64_t sh = or_one(ref_int(io, "stride", 0)), sw = or_one(ref_int(io, "stride", 1)), ph = ref_int(io, "pad", 0),
            pw = ref_int(io, "pad", 1);
    int64_t dh = or_one(ref_int(io, "dilation", 0)), dw = or_one(ref_int(io, "dilation", 1)),
            groups = or_one(ref_int(io, "groups", 0));
    for (int64_t n = 0; n < y[0]; n++)
        for (int64_t o = 0; o < y[1]; o++)
            for (int64_t i = 0; i < y[2]; i++)
                for (int64_t j = 0; j < y[3]; j++) {
                    double s = io->n_src > 2 && io->src[2] ? io->src[2][o] : 0;
                    int64_t first = o / (y[1] / groups) * w[1]; /* first input channel of this output's group */
                    for (int64_t c = 0; c < w[1]; c++)
                        for (int64_t u = 0; u < w[2]; u++)
                            for (int64_t v = 0; v < w[3]; v++) {
                                int64_t r = i * sh - ph + u * dh, q = j * sw - pw + v * dw;
                                if (r < 0 || q < 0 || r >= x[2] || q >= x[3]) continue;
                                s += io->src[0][((n * x[1] + first + c) * x[2] + r) * x[3] + q] *
                                     io->src[1][((o * w[1] + c) * w[2] + u) * w[3] + v];
                            }
                    io->out[0][((n * y[1] + o) * y[2] + i) * y[3] + j] = s;
                }
}

typedef struct pool {
    int64_t kh, kw, sh, sw, ph, pw;
} pool;
static pool pool_of(ref_io *io) {
    pool p = {ref_int(io, "size", 0),   ref_int(io, "size", 1), ref_int(io, "stride", 0),
              ref_int(io, "stride", 1), ref_int(io, "pad", 0),  ref_int(io, "pad", 1)};
    if (!p.sh) p.sh = p.kh;
    if (!p.sw) p.sw = p.kw;
    return p;
}
static void pool2d(ref_io *io, bool max) {
    const int64_t *x = io->src_spec[0].dim, *y = io->out_spec[0].dim;
    pool p = pool_of(io);
    bool count_pad = ref_int(io, "count_pad", 0);
    for (int64_t n = 0; n < y[0] * y[1]; n++)
        for (int64_t i = 0; i < y[2]; i++)
            for (int64_t j = 0; j < y[3]; j++) {
                int64_t r0 = i * p.sh - p.ph, c0 = j * p.sw - p.pw, r1 = r0 + p.kh, c1 = c0 + p.kw;
                /* windows reach into the padding, but not past it */
                int64_t padded =
                            ((r1 < x[2] + p.ph ? r1 : x[2] + p.ph) - r0) * ((c1 < x[3] + p.pw ? c1 : x[3] + p.pw) - c0),
                        inside = 0;
                double best = -(double)INFINITY, s = 0;
                for (int64_t r = r0; r < r1; r++)
                    for (int64_t c = c0; c < c1; c++) {
                        if (r < 0 || c < 0 || r >= x[2] || c >= x[3]) continue;
                        double v = io->src[0][(n * x[2] + r) * x[3] + c];
                        inside++;
                        s += v;
                        best = isnan(v) || v > best ? v : best;
                    }
                io->out[0][(n * y[2] + i) * y[3] + j] = max ? best : s / (double)(count_pad ? padded : inside);
            }
}
static void max_pool2d(ref_io *io) { pool2d(io, true); }
static void avg_pool2d(ref_io *io) { pool2d(io, false); }

static void conv1d(ref_io *io) {
    int64_t B = io->src_spec[0].dim[0], T = io->src_spec[0].dim[1], C = io->src_spec[0].dim[2],
            K = io->src_spec[1].dim[1];
    const double *bias = io->n_src > 2 ? io->src[2] : NULL, *state = io->n_src > 3 ? io->src[3] : NULL;
    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t t = 0; t < T + K - 1; t++) { /* past T: the rows of the next state */
                int64_t from = t < T ? t - (K - 1) : 0;
                double s = bias ? bias[c] : 0;
                for (int64_t k = 0; k < K && t < T; k++) {
                    int64_t at = from + k;
                    double v = at >= 0 ? io->src[0][(b * T + at) * C + c]
                               : state ? state[(b * (K - 1) + at + K - 1) * C + c]
                                       : 0;
                    s += v * io->src[1][c * K + k];
                }
                if (t < T) {
                    io->out[0][(b * T + t) * C + c] = s;
                } else {
                    int64_t at = t - (K - 1); /* the last K - 1 of state and x */
                    io->out[1][(b * (K - 1) + t - T) * C + c] = at >= 0 ? io->src[0][(b * T + at) * C + c]
                                                                : state ? state[(b * (K - 1) + at + K - 1) * C + c]
                                                                        : 0;
                }
            }
}

/* ---------------------------------------------------------------- attention */

static void rope(ref_io *io) {
    const int64_t *x = io->src_spec[0].dim;
    int64_t rotary = ref_int(io, "rotary", 0) ? ref_int(io, "rotary", 0) : x[3], half = rotary / 2;
    double scale = ref_num(io, "scale", 0) != 0 ? ref_num(io, "scale", 0) : 1,
           turn = ref_int(io, "inverse", 0) ? -1 : 1;
    bool pairs = ref_int(io, "interleaved", 0), own = io->src_spec[1].rank == 2;
    for (int64_t b = 0; b < x[0]; b++)
        for (int64_t t = 0; t < x[1]; t++)
            for (int64_t h = 0; h < x[2]; h++) {
                int64_t base = ((b * x[1] + t) * x[2] + h) * x[3];
                double pos = io->src[1][own ? b * x[1] + t : t];
                for (int64_t d = rotary; d < x[3]; d++) io->out[0][base + d] = io->src[0][base + d];
                for (int64_t i = 0; i < half; i++) {
                    int64_t p = base + (pairs ? 2 * i : i), q = base + (pairs ? 2 * i + 1 : i + half);
                    double a = pos * io->src[2][i], c = scale * cos(a), s = scale * turn * sin(a), u = io->src[0][p],
                           v = io->src[0][q];
                    io->out[0][p] = u * c - v * s;
                    io->out[0][q] = v * c + u * s;
                }
            }
}

/* q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv], mask, segment_q, segment_k, length -> [B,T,H,Dv], [B,H,T] */
static void attention(ref_io *io) {
    enum { Q, K, V, MASK, SEG_Q, SEG_K, LENGTH };
    const int64_t *q = io->src_spec[Q].dim, *k = io->src_spec[K].dim, *v = io->src_spec[V].dim;
    const double *src[7] = {NULL};
    for (int i = 0; i < io->n_src && i < 7; i++) src[i] = io->src[i];
    int64_t B = q[0], T = q[1], H = q[2], D = q[3], S = k[1], G = k[2], E = v[3], window = ref_int(io, "window", 0);
    double scale = ref_num(io, "scale", 0) != 0 ? ref_num(io, "scale", 0) : 1 / sqrt((double)D),
           cap = ref_num(io, "softcap", 0);
    bool causal = ref_int(io, "causal", 0);
    double *p = calloc((size_t)S + 1, sizeof *p);
    if (!p) abort();
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++) {
                int64_t used = src[LENGTH] ? (int64_t)src[LENGTH][b] : S, place = t + used - T, g = h / (H / G);
                double m = -(double)INFINITY, sum = 0;
                for (int64_t s = 0; s < S; s++) {
                    double x = 0;
                    for (int64_t d = 0; d < D; d++)
                        x += src[Q][((b * T + t) * H + h) * D + d] * src[K][((b * S + s) * G + g) * D + d];
                    x = D ? x * scale : 0;
                    if (cap != 0) x = cap * tanh(x / cap);
                    if (src[MASK]) {
                        const ry_spec *ms = &io->src_spec[MASK];
                        int64_t idx[4] = {b, h, t, s}, at = 0;
                        for (int d = 0; d < ms->rank; d++)
                            at = at * ms->dim[d] + (ms->dim[d] == 1 ? 0 : idx[4 - ms->rank + d]);
                        x += src[MASK][at];
                    }
                    bool sees = s < used && (!causal || s <= place) && (!window || s > place - window);
                    if (src[SEG_Q]) sees = sees && src[SEG_Q][b * T + t] == src[SEG_K][b * S + s];
                    p[s] = sees ? x : -(double)INFINITY;
                    if (p[s] > m) m = p[s];
                }
                for (int64_t s = 0; s < S; s++) {
                    p[s] = isinf(m) ? 0 : exp(p[s] - m);
                    sum += p[s];
                }
                for (int64_t e = 0; e < E; e++) {
                    double y = 0;
                    for (int64_t s = 0; s < S && sum > 0; s++) y += p[s] / sum * src[V][((b * S + s) * G + g) * E + e];
                    io->out[0][((b * T + t) * H + h) * E + e] = y;
                }
                if (io->n_out > 1) io->out[1][(b * H + h) * T + t] = sum > 0 ? m + log(sum) : -(double)INFINITY;
            }
    free(p);
}

/* ---------------------------------------------------------------- losses */

static double cross(const double *x, int64_t V, int64_t target) {
    double m = -(double)INFINITY, s = 0;
    for (int64_t i = 0; i < V; i++) m = x[i] > m ? x[i] : m;
    for (int64_t i = 0; i < V; i++) s += exp(x[i] - m);
    return m + log(s) - x[target];
}

static void cross_entropy(ref_io *io) {
    int64_t R = io->src_spec[0].dim[0], V = io->src_spec[0].dim[1], ignore = ref_int(io, "ignore", 0);
    for (int64_t r = 0; r < R; r++) {
        int64_t t = (int64_t)io->src[1][r];
        io->out[0][r] = t == ignore ? 0 : cross(io->src[0] + r * V, V, t);
    }
}

const ref_row ref_rows_product[] = {{"matmul", matmul},
                                    {"grouped_matmul", grouped_matmul},
                                    {"grouped_matmul_dw", grouped_matmul_dw},
                                    {"conv2d", conv2d},
                                    {"max_pool2d", max_pool2d},
                                    {"avg_pool2d", avg_pool2d},
                                    {"conv1d", conv1d},
                                    {"rope", rope},
                                    {"attention", attention},
                                    {"cross_entropy", cross_entropy},
                                    {NULL, NULL}};
