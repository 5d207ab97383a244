/* gemm.c - matrix products: which path computes one, and how it is cut into parts.  Owns both choices; the arithmetic is in
 * gemm.inc and gemm_thin.inc, once per instruction set. */
#include "simd/dots.h"
#include "simd/gemm_path.h"
#include "simd/simd.h"
#include "base/os.h"

#include <assert.h>
#include <string.h>

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t a, int64_t to) { return (a + to - 1) / to * to; }

static const gemm_path *path_f32(void) {
    switch (simd_now()) {
#if defined(__x86_64__)
    case SIMD_AVX2: return &gemm_avx2;
    case SIMD_AVX512: return &gemm_avx512;
#elif defined(__aarch64__)
    case SIMD_NEON: return &gemm_neon;
#endif
    default: return &gemm_plain;
    }
}

/* The path that has the product's instructions, else the f32 path. */
static const gemm_path *path_of(ry_dtype product) {
#if defined(__x86_64__)
    if (product == RY_BF16) {
        if (simd_extras() & SIMD_AMX_BF16) return &gemm_amx;
        if (simd_extras() & SIMD_AVX512_BF16) return &gemm_avx512_bf16;
    }
#endif
    return product == RY_F32 || product == RY_BF16 ? path_f32() : NULL;
}

/* ---------------------------------------------------------------- parts ---- */

enum {
    THIN = 8, /* this many rows or columns of C are a matrix-vector product: bound by memory, nothing packed */
    THIN_PART = 1 << 17, /* values of the large matrix in a part, about */
    THIN_COLUMNS = 256,  /* fewer contiguous columns a part would waste memory bandwidth */
    THIN_CHUNK = 512,    /* columns at a time: their sums stay in L1 */
    THIN_WIDE = 12,      /* the same of blocks, which are widened so many columns at a time */
    PARTS = 64,          /* most parts of a product that must not be larger */
    PART_MACS = 1 << 19, /* fewer multiply-adds are not worth another part */
    SIDE =
        256, /* parts beyond FEW are not cut below SIDE x SIDE, beyond MANY not below twice that: packing would be felt */
    FEW = 8,
    MANY = 32,
    SHARE_ROWS = 640, /* fewer rows read a packed B too rarely: one more phase costs more than it saves (512 cubed: 3 %) */
    SHARE_COLUMNS = 64,
    SHARED_ROWS = 70, /* of a part that finds B packed; TALL where that leaves FEW parts */
    SHARED_TALL = 128,
    SHARED_COLUMNS = 1024 /* most: their sums stay in L2 */
};

typedef struct plan {
    const gemm_path *path;
    bool round;
    bool thin, swap; /* swap: C' = B' A', few columns */
    int64_t gm, gn;  /* grid of parts */
} plan;

/* [lo, hi) of piece p of `of`, at multiples of `unit`. */
static void piece(int64_t total, int64_t unit, int64_t p, int64_t of, int64_t *lo, int64_t *hi) {
    const int64_t units = (total + unit - 1) / unit;
    *lo = at_most(total, units * p / of * unit);
    *hi = at_most(total, units * (p + 1) / of * unit);
}

static bool unit_stride(const simd_mat *x) { return x->rs == 1 || x->cs == 1; }

static plan plan_of(const simd_gemm *g) {
    plan p = {.path = path_of(g->product ? g->product : RY_F32), .gm = 1, .gn = 1};
    const gemm_path *f32 = path_f32();
    p.round = g->product == RY_BF16 && p.path == f32;
    p.thin = !g->shared && g->m <= THIN && (gemm_blocks(g->b.dtype) ? g->b.rs == 1 : unit_stride(&g->b));
    if (!p.thin && !g->shared && g->n <= THIN && unit_stride(&g->a) && !gemm_blocks(g->b.dtype)) p.thin = p.swap = true;
    if (p.thin) {
        p.path = f32;
        p.round = g->product == RY_BF16;
        const int64_t wide = p.swap ? g->m : g->n, along_k = p.swap ? g->a.cs == 1 : g->b.rs == 1;
        int64_t columns = round_up(at_most(THIN_PART / (g->k ? g->k : 1) + 1, wide), 16);
        if (!along_k && columns < THIN_COLUMNS) columns = THIN_COLUMNS;
        if ((wide + columns - 1) / columns > 2 * PARTS) columns = round_up((wide + 2 * PARTS - 1) / (2 * PARTS), 16);
        p.gn = (wide + columns - 1) / columns;
        return p;
    }
    if (g->shared) {
        /* Few rows and many columns: a part packs its rows of A once for all of them. Taller where A's columns are contiguous: a part
         * reads runs of its height. */
        const bool tall = g->m >= FEW * SHARED_TALL * (g->a.rs == 1 ? 1 : 2);
        const int64_t height = tall ? SHARED_TALL : SHARED_ROWS;
        p.gm = round_up((g->m + height - 1) / height, 2);
        p.gn = (g->n + SHARED_COLUMNS - 1) / SHARED_COLUMNS;
        while (p.gm * p.gn < FEW && g->n / p.gn >= SIDE) p.gn *= 2;
        return p;
    }
    /* Halve the longer side again and again: parts of equal size, and a number of them that threads divide well. */
    const double macs = (double)g->m * (double)g->n * (double)(g->k ? g->k : 1);
    for (int64_t parts = 1; parts < PARTS; parts *= 2) {
        const int64_t m = g->m / p.gm, n = g->n / p.gn;
        if (macs / (double)parts < 2 * PART_MACS ||
            (parts >= FEW && m * n <= (parts >= MANY ? 2 : 1) * p.path->tall * SIDE * SIDE))
            break;
        if (2 * m > p.path->tall * n && m >= 2 * p.path->row_unit)
            p.gm *= 2;
        else if (n >= 2 * p.path->col_unit)
            p.gn *= 2;
        else
            break;
    }
    return p;
}

static int64_t largest_piece(int64_t total, int64_t unit, int64_t of) {
    return at_most(total, ((total + unit - 1) / unit + of - 1) / of * unit);
}

bool simd_gemm_share(simd_gemm *g) {
    g->shared = false;
    const plan p = plan_of(g);
    return g->shared = !p.thin && p.path->nr && g->m >= SHARE_ROWS && g->n >= SHARE_COLUMNS;
}

static gemm_panels panels_of(const simd_gemm *g) {
    return g->shared ? path_of(g->product ? g->product : RY_F32)->panels(g) : (gemm_panels){0};
}

size_t simd_gemm_panels(const simd_gemm *g) { return g->q8 ? dots_bytes(g) : panels_of(g).bytes; }
int64_t simd_gemm_pack_parts(const simd_gemm *g) { return g->q8 ? dots_round_parts(g) : panels_of(g).parts; }

void simd_gemm_pack(const simd_gemm *g, int64_t part) {
    if (g->q8) {
        dots_round(g, part, g->panels);
        return;
    }
    const plan p = plan_of(g);
    p.path->pack(g, p.round, part, g->panels);
}

int64_t simd_gemm_parts(const simd_gemm *g) {
    if (g->m <= 0 || g->n <= 0) return 0;
    if (g->q8) return dots_parts(g);
    const plan p = plan_of(g);
    return p.gm * p.gn;
}

static size_t thin_local(const simd_gemm *g) {
    const int64_t rows = THIN + (gemm_blocks(g->b.dtype) ? THIN_WIDE : 0);
    return sizeof(float) * (size_t)(THIN * THIN_CHUNK + rows * round_up(g->k, 16));
}

size_t simd_gemm_local(const simd_gemm *g) {
    if (g->m <= 0 || g->n <= 0) return 0;
    if (g->q8) return dots_local(g);
    const plan p = plan_of(g);
    const int64_t unit = g->shared ? p.path->nr : p.path->col_unit;
    if (p.thin) return thin_local(g);
    return p.path->local(g, largest_piece(g->m, p.path->row_unit, p.gm), largest_piece(g->n, unit, p.gn));
}

/* ---------------------------------------------------------------- a part ---- */

/* Few rows (or with swap, columns): x is the small factor as f32 rows along K, b the large one. */
static void thin_part(const simd_gemm *g, const plan *p, int64_t part, float *local) {
    float *out = local, *own = out + THIN * THIN_CHUNK;
    const bool swap = p->swap;
    const int64_t wide = swap ? g->m : g->n;
    const simd_mat x = swap ? (simd_mat){g->b.data, g->b.dtype, g->b.cs, g->b.rs} : g->a;
    gemm_thin t = {.out = out, .ldo = THIN_CHUNK, .rows = (int)(swap ? g->n : g->m), .k = g->k, .round = p->round};
    t.b = swap ? (simd_mat){g->a.data, g->a.dtype, g->a.cs, g->a.rs} : g->b;
    if (x.dtype == RY_F32 && (x.cs == 1 || g->k == 1) && !p->round) {
        t.x = x.data;
        t.ldx = x.rs;
    } else {
        t.x = own;
        t.ldx = round_up(g->k, 16);
        for (int r = 0; r < t.rows; r++)
            for (int64_t k = 0; k < g->k; k++) {
                const float v = gemm_get(x.data, x.dtype, r * x.rs + k * x.cs);
                own[r * t.ldx + k] = p->round ? half_bf16_get(half_bf16_set(v)) : v;
            }
    }
    const float alpha = g->alpha == 0 ? 1.0f : g->alpha;
    int64_t lo, hi;
    piece(wide, 16, part, p->gn, &lo, &hi);
    const simd_mat b = t.b;
    const bool blocks = gemm_blocks(b.dtype);
    float *widened = own + THIN * round_up(g->k, 16);
    if (blocks) t.b = (simd_mat){widened, RY_F32, 1, g->k};
    for (int64_t at = lo; at < hi; at += t.n) {
        t.n = at_most(blocks ? THIN_WIDE : THIN_CHUNK, hi - at);
        t.j = blocks ? 0 : at;
        for (int64_t j = 0; blocks && j < t.n; j++)
            simd_rows()->widen_blocks(widened + j * g->k, b.data, b.dtype, (at + j) * b.cs, g->k);
        p->path->thin(&t);
        for (int r = 0; r < t.rows; r++)
            for (int64_t j = 0; j < t.n; j++) {
                const int64_t row = swap ? at + j : r, col = swap ? r : at + j, e = row * g->ldc + col;
                float v = alpha * out[r * THIN_CHUNK + j];
                if (g->accumulate) v += ((const float *)g->c)[e];
                if (g->bias) v += g->bias[col];
                gemm_put(g->c, g->c_dtype, e, v);
            }
    }
}

static void part_of(const simd_gemm *g, const plan *p, int64_t part, void *local) {
    if (p->thin) {
        thin_part(g, p, part, local);
        return;
    }
    gemm_rect r;
    int64_t end_m, end_n;
    piece(g->m, p->path->row_unit, part % p->gm, p->gm, &r.i, &end_m);
    piece(g->n, g->shared ? p->path->nr : p->path->col_unit, part / p->gm, p->gn, &r.j, &end_n);
    r.m = end_m - r.i;
    r.n = end_n - r.j;
    if (r.m > 0 && r.n > 0) p->path->block(g, &r, p->round, local);
}

void simd_gemm_part(const simd_gemm *g, int64_t part, void *local) {
    assert(!g->accumulate || g->c_dtype == RY_F32);
    if (g->q8) {
        dots_part(g, part, g->panels, local);
        return;
    }
    const plan p = plan_of(g);
    part_of(g, &p, part, local);
}

/* A tile is one part. */
static plan whole_of(const simd_gemm *g) {
    plan p = plan_of(g);
    p.gm = p.gn = 1;
    return p;
}

void simd_gemm_tile(const simd_gemm *g, void *local) {
    if (g->m <= 0 || g->n <= 0) return;
    if (g->q8) {
        dots_tile(g, local);
        return;
    }
    const plan p = whole_of(g);
    part_of(g, &p, 0, local);
}

size_t simd_gemm_tile_local(const simd_gemm *g) {
    enum { LONGEST = 1024, UNIT = 32 }; /* blocks of K are no longer than that; their lengths are multiples of a unit */
    const gemm_path *paths[] = {path_f32(), path_of(g->product ? g->product : RY_F32)};
    size_t need = thin_local(g);
    if (g->q8 && dots_tile_local(g) > need) need = dots_tile_local(g);
    simd_gemm t = *g;
    for (t.k = g->k;; t.k = t.k > LONGEST ? LONGEST : (t.k - 1) / UNIT * UNIT) {
        for (int i = 0; i < 2; i++) {
            const size_t one = paths[i]->local(&t, g->m, g->n);
            if (one > need) need = one;
        }
        if (t.k <= UNIT) break;
    }
    return (need + 63) & ~(size_t)63;
}

double simd_peak_gflops(ry_dtype product, double seconds) {
    const gemm_path *p = path_of(product);
    double best = 0;
    if (!p) return 0;
    for (const double end = os_now() + seconds;;) { /* short runs: the best one was not disturbed */
        const double from = os_now(), work = p->peak(100000), took = os_now() - from;
        if (took > 0 && work / took > best) best = work / took;
        if (os_now() >= end) return best * 1e-9;
    }
}
