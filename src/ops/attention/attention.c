/* attention.c - attention computed tile by tile (online softmax: Milakov and Gimelshein 2018; Dao et al. 2022): scores never exist
 * whole.  Owns the forward row and ry_attention; the backward row is attention_grad.c. */
#include "ops/attention/attention.h"
#include "simd/map.h"
#include "simd/rows.h"
#include <math.h>
#include <rusty/ops.h>
#include <string.h>

enum { OPTIONS = ATT_V + 1 };

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    RY_TRY(attention_check(n, OPTIONS));
    const ry_spec *q = &n->src[ATT_Q]->spec, *v = &n->src[ATT_V]->spec;
    out[0] = *q;
    out[0].dim[3] = v->dim[3];
    out[1] = (ry_spec){.dtype = RY_F32, .rank = 3, .dim = {q->dim[0], q->dim[2], q->dim[1]}};
    return RY_OK;
}

/* A tile of scores, and its row step: no power of two (cache sets), and room to end every row with a whole vector. 42 rows: few enough
 * that gemm reads V where it lies, and three of its tiles of 14. */
enum { ROWS = 42, KEYS = 256, PAD = 16, LD = KEYS + PAD };
static int64_t padded(int64_t n) { return (n + PAD - 1) / PAD * PAD; }

/* How the work is cut, from shapes alone: tiles of equally many rows; and where those are few and keys many, each tile's keys into splits whose
 * results a second phase joins in order. */
typedef struct cut {
    bool heads;
    int64_t rows, row_tiles, outer, tiles, splits;
} cut;
enum { ENOUGH_PARTS = 32, SPLIT_KEYS = 512, SPLIT_UNIT = 64 };

static cut cut_of(const attention_job *j) {
    cut c = {.heads = j->T == 1, .splits = 1};
    c.rows = c.heads ? (j->G ? j->H / j->G : 0) : j->T;
    c.row_tiles = (c.rows + ROWS - 1) / ROWS;
    c.outer = j->B * (c.heads ? j->G : j->H);
    c.tiles = c.row_tiles * c.outer;
    if (c.tiles > 0 && c.tiles < ENOUGH_PARTS && j->S >= 2 * SPLIT_KEYS) {
        int64_t want = (ENOUGH_PARTS + c.tiles - 1) / c.tiles, fit = j->S / SPLIT_KEYS;
        c.splits = want < fit ? want : fit;
    }
    return c;
}

static attention_tile tile_of(const attention_job *j, const cut *c, int64_t i) {
    int64_t outer = i / c->row_tiles, at = i % c->row_tiles, first = c->rows * at / c->row_tiles;
    attention_tile a = {.heads = c->heads, .rows = (int)(c->rows * (at + 1) / c->row_tiles - first)};
    int64_t across = c->heads ? j->G : j->H;
    a.b = outer / across;
    a.h = c->heads ? outer % across * c->rows + first : outer % across;
    a.t = c->heads ? 0 : first;
    return a;
}

/* One split's result in scratch: acc [rows,Dv], m [rows], l [rows]. */
static int64_t partial_floats(const attention_job *j) { return ROWS * (j->Dv + 2); }

typedef struct buffers { /* of a part, in local */
    float *s, *acc, *m, *l;
    void *gemm;
} buffers;

static size_t local_floats(const attention_job *j) { return (size_t)(ROWS * (LD + j->Dv + 2)); }

static buffers buffers_of(const attention_job *j, void *local) {
    buffers b = {.s = local};
    b.acc = b.s + ROWS * LD;
    b.m = b.acc + ROWS * j->Dv;
    b.l = b.m + ROWS;
    b.gemm = (char *)local + product_align(local_floats(j) * sizeof(float));
    return b;
}

static ry_work work(const ry_node *n) {
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    cut c = cut_of(&j);
    if (c.tiles == 0) return (ry_work){0};
    int64_t keys = j.S < KEYS ? j.S : KEYS, rows = c.rows < ROWS ? c.rows : ROWS;
    simd_mat q = {NULL, j.q.dtype, c.heads ? j.q.h : j.q.t, 1}, k = {NULL, j.k.dtype, 1, j.k.t},
             v = {NULL, j.v.dtype, j.v.t, 1};
    size_t one = attention_local(&j, rows, keys, j.D, q, k);
    size_t two = attention_local(&j, rows, j.Dv, keys, (simd_mat){NULL, RY_F32, LD, 1}, v);
    ry_work w = {.parts = {c.tiles * c.splits},
                 .local = product_align(local_floats(&j) * sizeof(float)) + (one > two ? one : two)};
    if (c.splits > 1) {
        w.phases = 2;
        w.parts[1] = c.tiles;
        w.scratch = (size_t)(c.tiles * c.splits * partial_floats(&j)) * sizeof(float);
    }
    return w;
}

static void add_mask(const attention_job *j, const attention_tile *a, int i, int64_t k0, int64_t lo, int64_t hi,
                     float *s) {
    const simd_rows_table *r = simd_rows();
    float buf[KEYS];
    int64_t at =
        a->b * j->mask_step[0] + attention_head(a, i) * j->mask_step[1] + attention_time(a, i) * j->mask_step[2];
    if (j->mask_step[3]) {
        const float *m = ry_load_row(j->mask, j->mask_dtype, at + k0 + lo, hi - lo, buf);
        r->add(s + lo, s + lo, m, hi - lo);
    } else {
        float one = *ry_load_row(j->mask, j->mask_dtype, at, 1, buf);
        for (int64_t x = lo; x < hi; x++) s[x] += one;
    }
}

/* s[rows][LD] = scores of the tile's rows with keys [k0, k0 + n): scaled, capped, masked. lo and hi: what each row sees of them, relative to
 * k0; the PAD values from hi on are -inf, what lies elsewhere is not meaningful. */
static void scores(const attention_job *j, const attention_tile *a, int64_t k0, int64_t n, float *s, int64_t lo[ROWS],
                   int64_t hi[ROWS], void *local) {
    const simd_rows_table *r = simd_rows();
    const attention_operand *q = &j->q, *k = &j->k;
    int64_t group = j->H / j->G;
    simd_mat qm = {product_at(q->data, q->dtype, a->b * q->b + a->t * q->t + a->h * q->h), q->dtype,
                   a->heads ? q->h : q->t, 1};
    simd_mat km = {product_at(k->data, k->dtype, a->b * k->b + k0 * k->t + a->h / group * k->h), k->dtype, 1, k->t};
    attention_product(j, a->rows, n, j->D, qm, km, s, LD, j->cap > 0 ? j->scale / j->cap : j->scale, false, local);
    map_fn tanh_of = j->cap > 0 ? simd_map(MAP_tanh, MAP_VALUE, MAP_F32) : NULL;
    for (int i = 0; i < a->rows; i++, s += LD) {
        attention_row_range(j, a->b, attention_time(a, i), &lo[i], &hi[i]);
        lo[i] = lo[i] > k0 ? lo[i] - k0 : 0;
        hi[i] = hi[i] < k0 + n ? hi[i] - k0 : n;
        if (lo[i] > n) lo[i] = n;
        if (hi[i] < lo[i]) hi[i] = lo[i];
        float *x = s + lo[i];
        int64_t seen = hi[i] - lo[i];
        if (tanh_of && seen) {
            tanh_of(x, (const void *[]){x, NULL, NULL, NULL, NULL}, seen);
            r->scale(x, x, j->cap, seen);
        }
        r->fill(x + seen, -INFINITY, PAD);
        if (j->mask && seen) add_mask(j, a, i, k0, lo[i], hi[i], s);
        if (j->seg_q) {
            int32_t own = j->seg_q[a->b * j->T + attention_time(a, i)];
            const int32_t *seg = j->seg_k + a->b * j->S + k0 + lo[i];
            for (int64_t y = 0; y < seen; y++)
                if (seg[y] != own) x[y] = -INFINITY;
        }
    }
}

/* A row of scores becomes exp(s - m), zero outside [lo, hi); returns the sum. The loop takes whole vectors: a ragged end would cost as
 * much as the rest. What is added there is of no weight, but no zero either: exp is slow where its result is no normal number. */
static float weights(const simd_rows_table *r, float *s, float m, int64_t lo, int64_t hi, int64_t n) {
    r->fill(s + hi, m - 80, PAD);
    float sum = r->exp_sub(s + lo, s + lo, m, padded(hi - lo));
    if (lo) r->fill(s, 0, lo);
    r->fill(s + hi, 0, padded(n - hi));
    return sum;
}

/* acc, m, l of the tile's rows over keys [k0, k1): acc is not yet divided by l. A row that saw nothing has m = -inf, l = 0. */
static void attend(const attention_job *j, const attention_tile *a, int64_t k0, int64_t k1, const buffers *buf) {
    const simd_rows_table *r = simd_rows();
    const attention_operand *v = &j->v;
    int64_t lo[ROWS], hi[ROWS], group = j->H / j->G;
    for (int i = 0; i < a->rows; i++) buf->m[i] = -INFINITY, buf->l[i] = 0;
    r->fill(buf->acc, 0, a->rows * j->Dv);
    for (bool first = true; k0 < k1; k0 += KEYS, first = false) {
        int64_t n = k1 - k0 < KEYS ? k1 - k0 : KEYS;
        scores(j, a, k0, n, buf->s, lo, hi, buf->gemm);
        for (int i = 0; i < a->rows; i++) {
            float *s = buf->s + i * LD, *acc = buf->acc + i * j->Dv, top = r->max(s + lo[i], padded(hi[i] - lo[i]));
            float m = top <= buf->m[i] ? buf->m[i] : top; /* NaN stays */
            if (m == -INFINITY) {
                r->fill(s, 0, n);
                continue;
            }
            float sum = weights(r, s, m, lo[i], hi[i], n);
            if (m != buf->m[i]) {
                float shrink = expf(buf->m[i] - m);
                if (!first) r->scale(acc, acc, shrink, j->Dv);
                buf->l[i] *= shrink;
                buf->m[i] = m;
            }
            buf->l[i] += sum;
        }
        simd_mat p = {buf->s, RY_F32, LD, 1};
        simd_mat vm = {product_at(v->data, v->dtype, a->b * v->b + k0 * v->t + a->h / group * v->h), v->dtype, v->t, 1};
        attention_product(j, a->rows, j->Dv, n, p, vm, buf->acc, j->Dv, 1, !first, buf->gemm);
    }
}

static void finish(const attention_job *j, const attention_tile *a, const ry_cpu *c, const buffers *buf) {
    const simd_rows_table *r = simd_rows();
    ry_dtype t = c->n->out[0].spec.dtype;
    float *lse = c->out[1];
    for (int i = 0; i < a->rows; i++) {
        int64_t h = attention_head(a, i), time = attention_time(a, i), at = ((a->b * j->T + time) * j->H + h) * j->Dv;
        float *acc = buf->acc + i * j->Dv, *y = ry_row_out(c->out[0], t, at, acc);
        bool saw = buf->m[i] != -INFINITY;
        if (saw)
            r->scale(y, acc, 1.0f / buf->l[i], j->Dv);
        else
            r->fill(y, 0, j->Dv);
        ry_store_row(c->out[0], t, at, j->Dv, y);
        lse[(a->b * j->H + h) * j->T + time] = saw ? buf->m[i] + logf(buf->l[i]) : -INFINITY;
    }
}

static void join(const attention_job *j, const attention_tile *a, const float *partial, int64_t splits,
                 const buffers *buf) {
    const simd_rows_table *r = simd_rows();
    int64_t step = partial_floats(j);
    r->fill(buf->acc, 0, a->rows * j->Dv);
    for (int i = 0; i < a->rows; i++) {
        const float *m = partial + ROWS * j->Dv + i, *l = m + ROWS;
        float top = -INFINITY, sum = 0;
        for (int64_t s = 0; s < splits; s++) top = m[s * step] <= top ? top : m[s * step];
        for (int64_t s = 0; s < splits && top != -INFINITY; s++) {
            if (m[s * step] == -INFINITY) continue;
            float w = expf(m[s * step] - top);
            sum += w * l[s * step];
            r->axpy(buf->acc + i * j->Dv, w, partial + s * step + i * j->Dv, j->Dv);
        }
        buf->m[i] = top, buf->l[i] = sum;
    }
}

static ry_status cpu(const ry_cpu *c) {
    attention_job j;
    attention_open(&j, c->n, c->src, OPTIONS);
    cut p = cut_of(&j);
    if (p.tiles == 0) return RY_OK;
    buffers buf = buffers_of(&j, c->local);
    int64_t tile = c->phase ? c->part : c->part / p.splits, split = c->part % p.splits, lo, hi,
            step = partial_floats(&j);
    attention_tile a = tile_of(&j, &p, tile);
    if (c->phase == 1) {
        join(&j, &a, (const float *)c->scratch + tile * p.splits * step, p.splits, &buf);
        finish(&j, &a, c, &buf);
        return RY_OK;
    }
    attention_range(&j, &a, &lo, &hi);
    if (p.splits > 1) { /* the keys in use, cut evenly: those of this split */
        int64_t each = ((hi - lo + p.splits - 1) / p.splits + SPLIT_UNIT - 1) / SPLIT_UNIT * SPLIT_UNIT;
        int64_t from = lo + split * each;
        hi = from + each < hi ? from + each : hi;
        lo = from < hi ? from : hi;
        buf.acc = (float *)c->scratch + c->part * step;
        buf.m = buf.acc + ROWS * j.Dv;
        buf.l = buf.m + ROWS;
    }
    attend(&j, &a, lo, hi, &buf);
    if (p.splits == 1) finish(&j, &a, c, &buf);
    return RY_OK;
}

/* ---- on GPUs ---- */

/* Few queries: the keys are cut into parts, so that there are groups enough for a large chip. */
enum { FEW_QUERIES = 4, SPLIT_THREADS = 256, SPLIT_KEYS_LEAST = 64, SPLIT_MOST_DEPTH = 256, SPLIT_GROUPS = 512, ENOUGH_GROUPS = 256 };

/* Variants by columns of v, and by workgroup memory: weights take most of it, 4 NS TX (4 R TY + 4) floats. */
static int64_t columns_of(const ry_node *n) { return n->src[ATT_V]->spec.dim[3]; }
static bool to_64(const ry_node *n, const ry_caps *caps) {
    return columns_of(n) <= 64 && attention_large(n, caps, 24000);
}
static bool to_96(const ry_node *n, const ry_caps *caps) {
    return columns_of(n) > 64 && columns_of(n) <= 96 && attention_large(n, caps, 42000);
}
static bool above_64(const ry_node *n, const ry_caps *caps) {
    return columns_of(n) > 64 && attention_large(n, caps, 24500);
}
static bool above_128(const ry_node *n, const ry_caps *caps) {
    return columns_of(n) > 128 && attention_large(n, caps, 28500);
}
static bool small_64(const ry_node *n, const ry_caps *caps) {
    (void)caps;
    return columns_of(n) <= 64 && n->src[ATT_Q]->spec.dim[1] > FEW_QUERIES;
}
static const ry_variant variants[] = {ATTENTION_SOFTWARE,
                                      {"64", to_64, ATTENTION_TILES(16, 8, 2, 1, 1, 8)},
                                      {"96", to_96, ATTENTION_TILES(8, 16, 2, 2, 3, 8)},
                                      {"256", above_128, ATTENTION_TILES(16, 8, 2, 1, 4, 8)},
                                      {"128", above_64, ATTENTION_TILES(16, 8, 2, 1, 2, 8)},
                                      {"small_64", small_64, ATTENTION_TILES(8, 16, 1, 1, 2, 8)},
                                      {"small", NULL, ATTENTION_TILES(8, 16, 1, 1, 4, 8)},
                                      {0}};

static bool is_split(const attention_job *j, const ry_caps *caps) {
    return j->T > 0 && j->T <= FEW_QUERIES && j->S && j->D && j->D <= SPLIT_MOST_DEPTH && j->Dv &&
           j->Dv <= 4 * SPLIT_THREADS && caps->max_invocations >= SPLIT_THREADS;
}

/* One group reads all keys of a query: what a second kernel costs is worth a megabyte that a multiprocessor reads (an H200). The more queries
 * there are, the better they fill the chip with the keys cut into parts that they share. */
enum { ONE_BYTES = 1 << 20, ONE_GROUPS = 128, ONE_THREADS = 1024, ONE_LANES = 4, ONE_MOST_LANES = 64, ONE_QUADS = 2 };

static int64_t quads_of(int64_t n, int64_t lanes) { return (n + 4 * lanes - 1) / (4 * lanes); }
/* Threads of the group and those that share a key, so that all fits; 0: nothing does. */
static int64_t one_threads(const attention_job *j, const ry_caps *caps, int64_t *lanes) {
    int64_t wide = j->D > j->Dv ? j->D : j->Dv;
    for (int64_t threads = ONE_THREADS; threads >= 64; threads /= 2)
        for (*lanes = ONE_LANES; *lanes <= ONE_MOST_LANES && threads <= caps->max_invocations; *lanes *= 2) {
            int64_t quads = quads_of(j->Dv, *lanes), cells = threads * quads + (2 * quads_of(j->D, *lanes) + quads) * *lanes;
            if (quads_of(wide, *lanes) <= ONE_QUADS && 16 * (cells + 1) + 12 * threads <= caps->shared_bytes) return threads;
        }
    return 0;
}
bool attention_is_one(const attention_job *j, const ry_caps *caps, int64_t least) {
    double groups = (double)(j->B * j->H * j->T), bytes = (double)j->S * (double)(ry_bytes_of(j->k.dtype, j->D) + ry_bytes_of(j->v.dtype, j->Dv));
    int64_t lanes;
    if (groups > ONE_GROUPS) bytes *= groups / ONE_GROUPS;
    return bytes <= ONE_BYTES && groups < 1 << 20 && j->T <= FEW_QUERIES && j->D && j->Dv && j->D % 4 == 0 && j->Dv % 4 == 0 && one_threads(j, caps, &lanes) >= least;
}
void attention_launch_one(ry_launch *l, const attention_job *j) {
    int64_t lanes, threads = one_threads(j, l->caps, &lanes);
    ry_launch_knob_set(l, "WG", (int)threads);
    ry_launch_knob_set(l, "LANES", (int)lanes);
    ry_launch_knob_set(l, "KQ", (int)quads_of(j->D, lanes));
    ry_launch_knob_set(l, "VQ", (int)quads_of(j->Dv, lanes));
    ry_launch_knob_set(l, "ENDS", j->D % (4 * lanes) || j->Dv % (4 * lanes));
    ry_launch_knob_set(l, "ONE_ROW", j->T == 1);
    ry_launch_knob_set(l, "ONE_BATCH", j->B == 1);
    ry_launch_knob_set(l, "STEP", 0);
    ry_launch_knob_set(l, "OUT_O", 0);
    ry_launch_f32(l, "by_rows", 1 / (double)j->T);
    ry_launch_f32(l, "by_heads", 1 / (double)j->H);
    ry_launch_f32(l, "by_share", (double)j->G / (double)j->H);
}

static ry_status launch_split(const attention_job *j, ry_launch *l) {
    int64_t share = j->H / j->G, rows = j->T * share, most = l->caps->shared_bytes >= 28672 ? 8 : 4;
    int64_t each = rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 || most == 4 ? 4 : 8, chunks = (rows + each - 1) / each;
    int64_t fit = (j->S + SPLIT_KEYS_LEAST - 1) / SPLIT_KEYS_LEAST;
    while (each > 2 && j->B * j->G * chunks * fit < ENOUGH_GROUPS) each /= 2, chunks = (rows + each - 1) / each; /* keys few: read again rather than wait */
    int64_t splits = SPLIT_GROUPS / (j->B * j->G * chunks),
            all = j->B * j->H * j->T;
    if (splits > fit) splits = fit;
    if (splits > SPLIT_THREADS) splits = SPLIT_THREADS;
    if (splits < 1) splits = 1;
    ry_launch_knob_set(l, "WG", SPLIT_THREADS);
    ry_launch_knob_set(l, "ROWS", (int)each);
    ry_launch_knob_set(l, "RP", each == 8 ? (l->caps->shared_bytes >= 40000 ? 4 : 2) : l->caps->shared_bytes >= 28672 ? (int)each : 1); /* rows that are added up at once */
    ry_launch_knob_set(l, "UNROLLED", j->D % 64 == 0);
    ry_launch_u32(l, "splits", splits);
    ry_launch_u32(l, "chunks", chunks);
    ry_launch_u32(l, "kv_heads", j->G);
    ry_launch_u32(l, "statistics_at", all * splits * j->Dv);
    if (j->Dv % 4 == 0) l->vec |= RY_USES_SCRATCH;
    l->scratch = (size_t)(all * splits * (j->Dv + 2)) * sizeof(float);
    ry_launch_run(l, "split", j->B * j->G * chunks * splits, ~(RY_USES_OUT(0) | RY_USES_OUT(1)));
    ry_launch_run(l, "join", all, RY_USES_OUT(0) | RY_USES_OUT(1) | RY_USES_SCRATCH);
    return RY_OK;
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    attention_launch(l, n, &j, OPTIONS);
    int tx = attention_knob(l, "TX"), ty = attention_knob(l, "TY"), wide = 4 * tx * attention_knob(l, "NO"),
        deep = attention_knob(l, "KD");
    ry_launch_knob_set(l, "WG", tx * ty);
    ry_launch_knob_set(l, "BM", 4 * ty * attention_knob(l, "R"));
    ry_launch_knob_set(l, "BN", 4 * tx * attention_knob(l, "NS"));
    ry_launch_knob_set(l, "OC", wide);
    ry_launch_knob_set(l, "ENDS", j.D == 0 || j.D % deep || j.D % wide || j.Dv % deep || j.Dv % wide);
    bool split = j.B > 0 && j.H > 0 && is_split(&j, l->caps);
    bool nine = n->n_src == OPTIONS + ATT_OPTIONS && n->src[OPTIONS + ATT_MASK] && n->src[OPTIONS + ATT_SEG_Q]; /* storages, with the length */
    bool one = split && !nine && attention_is_one(&j, l->caps, 1);
    ry_launch_knob_set(l, "ONE", one);
    ry_launch_knob_set(l, "SPLIT", split && !one);
    if (one) {
        attention_launch_one(l, &j);
        l->vec |= RY_USES_OUT(0);
        ry_launch_run(l, "one", j.B * j.H * j.T, ~RY_USES_SCRATCH);
        return RY_OK;
    }
    if (split) {
        if (j.Dv % 4 == 0) l->vec |= RY_USES_OUT(0);
        return launch_split(&j, l);
    }
    int64_t rows = attention_knob(l, "BM"), width = attention_knob(l, "OC");
    int64_t tiles = (j.T + rows - 1) / rows, columns = j.Dv ? (j.Dv + width - 1) / width : 1; /* log-sum-exps are there without columns too */
    ry_launch_u32(l, "tiles", tiles);
    ry_launch_u32(l, "columns", columns);
    if (j.Dv % 4 == 0) l->vec |= RY_USES_OUT(0);
    uint32_t uses = ~RY_USES_SCRATCH;
    if (nine) {
        attention_launch_pack(l, n, &j, OPTIONS, 0);
        uses =
            ~(RY_USES_SRC(OPTIONS + ATT_SEG_Q) | RY_USES_SRC(OPTIONS + ATT_SEG_K) | RY_USES_SRC(OPTIONS + ATT_LENGTH));
    }
    ry_launch_run(l, "flash", tiles * columns * j.H * j.B, uses);
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    attention_job j;
    attention_open(&j, n, NULL, OPTIONS);
    double keys = (double)j.S, bytes = 4.0 * (double)(j.B * j.H * j.T);
    if (j.causal && j.S >= j.T) keys -= ((double)j.T - 1) / 2;
    if (j.window && keys > (double)j.window) keys = (double)j.window;
    for (int i = 0; i <= ATT_V; i++) bytes += (double)ry_bytes_of(n->src[i]->spec.dtype, ry_count(&n->src[i]->spec));
    bytes += (double)ry_bytes_of(n->out[0].spec.dtype, ry_count(&n->out[0].spec));
    return (ry_cost){.flops = 2 * (double)(j.B * j.H * j.T) * keys * (double)(j.D + j.Dv), .bytes = bytes};
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    attention_composed c = attention_compose(g, n, OPTIONS);
    const ry_spec *s = ry_spec_of(g, c.scores), *k = ry_spec_of(g, c.k);
    if (!s || !k) return ry_graph_status(g);
    int64_t B = s->dim[0], H = s->dim[1], T = s->dim[2], S = s->dim[3], G = k->dim[1];
    ry_tensor none = ry_scalar(g, -INFINITY), seen = ry_ne(g, ry_amax(g, c.scores, RY_AXIS(-1), true), none);
    ry_tensor safe = ry_select(g, seen, c.scores, ry_scalar(g, 0));
    ry_tensor p = ry_select(g, seen, ry_softmax(g, safe, -1), ry_scalar(g, 0));
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, product_of(((const attention_args *)n->args)->product));
    ry_tensor o = ry_matmul(g, RY_RESHAPE(g, p, B, G, G ? H / G : 1, T, S), c.v);
    ry_graph_precision(g, was);
    out[0] = ry_cast(g, attention_heads_last(g, o), n->out[0].spec.dtype);
    out[1] = RY_RESHAPE(g, ry_select(g, seen, ry_logsumexp(g, safe, RY_AXIS(-1), true), none), B, H, T);
    return RY_OK;
}

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    const attention_args *args = n->args;
    ry_tensor go = gy[0], src[RY_MAX_SRC] = {ry_src(g, n, ATT_Q), ry_src(g, n, ATT_K), ry_src(g, n, ATT_V),
                                             ry_res(g, n, 0), ry_res(g, n, 1)};
    if (ry_is_null(go)) go = ry_fill(g, &n->out[0].spec, 0);
    size_t m = 5;
    src[m++] = go;
    src[m++] = gy[1];
    for (int i = 0; i < ATT_OPTIONS; i++) src[m++] = ry_src(g, n, OPTIONS + i);
    ry_tensor back = ry_apply_row(g, &attention_grad_row, m, src, args);
    gx[ATT_Q] = back;
    gx[ATT_K] = ry_out(g, back, 1);
    gx[ATT_V] = ry_out(g, back, 2);
    if (!ry_is_null(
            ry_src(g, n, OPTIONS + ATT_MASK))) { /* whole scores, but only where somebody asks for this gradient */
        attention_composed c = attention_compose(g, n, OPTIONS);
        ry_tensor p;
        gx[OPTIONS + ATT_MASK] = attention_compose_ds(g, &c, src[3], src[4], go, gy[1], &p);
    }
    return RY_OK;
}

static const attention_args causal = {.causal = true}, capped = {.causal = true, .softcap = 2, .scale = 0.7},
                            window = {.causal = true, .window = 5};
static const int32_t lengths[] = {9, 3}, segs[] = {0, 0, 0, 1, 1, 1, 2, 0, 0, 1, 1, 1, 1, 3}, long_length[] = {1300};
#define Q4(b, t, h, d)                                    \
    {                                                     \
        .dtype = RY_F32, .rank = 4, .dim = { b, t, h, d } \
    }
#define I1(values_, n) \
    { .dtype = RY_I32, .rank = 1, .dim = {n}, .values = values_ }
#define SEG(b, t) \
    { .dtype = RY_I32, .rank = 2, .dim = {b, t}, .values = segs }
#define NO \
    { .dtype = RY_NONE }
static const ry_sample samples[] = {
    {.name = "plain", .src = {Q4(2, 5, 2, 8), Q4(2, 7, 2, 8), Q4(2, 7, 2, 6)}, .n_src = 3},
    {.name = "causal, grouped heads",
     .src = {Q4(2, 9, 4, 8), Q4(2, 9, 2, 8), Q4(2, 9, 2, 8)},
     .n_src = 3,
     .args = &causal},
    {.name = "several tiles",
     .src = {Q4(1, 70, 2, 4), Q4(1, 300, 1, 4), Q4(1, 300, 1, 5)},
     .n_src = 3,
     .args = &causal,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "window", .src = {Q4(1, 12, 2, 4), Q4(1, 14, 2, 4), Q4(1, 14, 2, 4)}, .n_src = 3, .args = &window},
    {.name = "softcap", .src = {Q4(1, 6, 2, 4), Q4(1, 6, 2, 4), Q4(1, 6, 2, 4)}, .n_src = 3, .args = &capped},
    {.name = "mask", .src = {Q4(2, 4, 2, 4), Q4(2, 6, 2, 4), Q4(2, 6, 2, 4), Q4(2, 1, 4, 6)}, .n_src = 4},
    {.name = "segments",
     .src = {Q4(2, 7, 2, 4), Q4(2, 7, 1, 4), Q4(2, 7, 1, 4), NO, SEG(2, 7), SEG(2, 7)},
     .n_src = 6,
     .args = &causal},
    {.name = "length",
     .src = {Q4(2, 3, 2, 4), Q4(2, 12, 2, 4), Q4(2, 12, 2, 4), NO, NO, NO, I1(lengths, 2)},
     .n_src = 7,
     .args = &causal},
    {.name = "decode", .src = {Q4(1, 1, 6, 8), Q4(1, 40, 2, 8), Q4(1, 40, 2, 8)}, .n_src = 3, .args = &causal},
    {.name = "decode, long cache",
     .src = {Q4(1, 1, 4, 8), Q4(1, 2048, 2, 8), Q4(1, 2048, 2, 8), NO, NO, NO, I1(long_length, 1)},
     .n_src = 7,
     .args = &causal,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "q8_0 cache",
     .src = {Q4(1, 3, 4, 64),
             {.dtype = RY_Q8_0, .rank = 4, .dim = {1, 300, 2, 64}},
             {.dtype = RY_Q8_0, .rank = 4, .dim = {1, 300, 2, 32}}},
     .n_src = 3,
     .args = &causal,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "decode, q8_0 cache",
     .src = {Q4(2, 1, 4, 32),
             {.dtype = RY_Q8_0, .rank = 4, .dim = {2, 12, 2, 32}},
             {.dtype = RY_Q8_0, .rank = 4, .dim = {2, 12, 2, 32}},
             NO,
             NO,
             NO,
             I1(lengths, 2)},
     .n_src = 7,
     .args = &causal,
     .flags = RY_SAMPLE_NO_GRAD},
    {.name = "rows that see nothing",
     .src = {Q4(1, 5, 1, 4), Q4(1, 3, 1, 4), Q4(1, 3, 1, 4)},
     .n_src = 3,
     .args = &causal},
    {.name = "no rows", .src = {Q4(2, 0, 2, 4), Q4(2, 3, 2, 4), Q4(2, 3, 2, 4)}, .n_src = 3},
    {.name = "train 256",
     .src = {Q4(4, 256, 6, 48), Q4(4, 256, 6, 48), Q4(4, 256, 6, 48)},
     .n_src = 3,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {.name = "train 1024",
     .src = {Q4(1, 1024, 12, 64), Q4(1, 1024, 12, 64), Q4(1, 1024, 12, 64)},
     .n_src = 3,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {.name = "4096, heads of 128",
     .src = {Q4(1, 4096, 16, 128), Q4(1, 4096, 16, 128), Q4(1, 4096, 16, 128)},
     .n_src = 3,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {.name = "decode 8192",
     .src = {Q4(1, 1, 32, 128), Q4(1, 8192, 8, 128), Q4(1, 8192, 8, 128)},
     .n_src = 3,
     .args = &causal,
     .flags = RY_SAMPLE_BENCH},
    {0}};

static const ry_op attention_row = {
    .name = "attention",
    .doc = "q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv], mask broadcast to [B,H,T,S], segment_q [B,T], segment_k [B,S], "
           "length [B] -> [B,T,H,Dv], log-sum-exp [B,H,T]",
    .arg_size = sizeof(attention_args),
    .args = attention_args_of,
    .min_src = 3,
    .max_src = OPTIONS + ATT_OPTIONS,
    .rows = 1u << ATT_Q | 1u << ATT_K | 1u << ATT_V | 1u << (OPTIONS + ATT_MASK),
    .optional = ((1u << ATT_OPTIONS) - 1) << OPTIONS,
    .infer = infer,
    .work = work,
    .cpu = cpu,
    .lower = lower,
    .vjp = vjp,
    .wgsl = "attention/attention.wgsl",
    .variants = variants,
    .launch = launch,
    .join = attention_step_join,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};

ry_tensor ry_attention(ry_graph *g, ry_tensor q, ry_tensor k, ry_tensor v, const ry_attention_options *o) {
    static const ry_attention_options none;
    if (!o) o = &none;
    attention_args args = {.scale = o->scale,
                           .softcap = o->softcap,
                           .window = o->window,
                           .product = (int32_t)ry_graph_product(g),
                           .causal = o->causal};
    ry_tensor src[] = {q, k, v, o->mask, o->segment_q, o->segment_k, o->length};
    size_t n = sizeof src / sizeof *src;
    while (n > 3 && ry_is_null(src[n - 1])) n--;
    return ry_apply_row(g, &attention_row, n, src, &args);
}

RY_OP_MODULE(attention, &attention_row);
