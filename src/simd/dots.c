/* dots.c - products with weights of blocks in whole numbers: which path computes one, how it is cut into parts and panels.  Owns those
 * choices; the arithmetic is in dots.inc, once per instruction set. */
#include "simd/dots.h"
#include "simd/gemm_path.h"
#include "simd/simd.h"

#include <assert.h>

enum {
    FEW = 4,             /* so many rows of x make it worth while to lay weights out in panels: fewer read them where they lie */
    FEW_VALUES = 1 << 17, /* weights of a part then, about */
    MOST_PARTS = 64,
    LEAST_PARTS = 8, /* rows of x are cut too where there are fewer panels */
    LEAST_ROWS = 32,
    MOST_ROWS = 512,  /* of x in a part: its sums stay in L2 */
    DEPTH = 512,      /* values of K in a panel: it stays in L1 */
    ROUND_VALUES = 1 << 16
};

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static size_t aligned(size_t n) { return (n + 63) & ~(size_t)63; }

static const dots_path *path_now(void) {
    switch (simd_now()) {
#if defined(__x86_64__)
    case SIMD_AVX512: return simd_extras() & SIMD_AVX512_VNNI ? &dots_avx512_vnni : &dots_avx2;
    case SIMD_AVX2: return simd_extras() & SIMD_AVX_VNNI ? &dots_avx_vnni : &dots_avx2;
#elif defined(__aarch64__)
    case SIMD_NEON: return &dots_neon;
#endif
    default: return &dots_plain;
    }
}

static int group_of(ry_dtype t) {
    switch (t) {
#define GROUP_CASE(NAME, name, block, group, has_min, less) \
    case RY_##NAME: return group;
        BLOCK_FORMATS(GROUP_CASE)
    default: return BLOCK_PART;
    }
}
/* Bytes of n values of blocks. */
static size_t bytes_of(ry_dtype t, int64_t n) {
    switch (t) {
#define BYTES_CASE(NAME, name, block, group, has_min, less) \
    case RY_##NAME: return (size_t)(n / (block)) * sizeof(name##_block);
        BLOCK_FORMATS(BYTES_CASE)
    default: return 0;
    }
}

bool simd_gemm_q8(simd_gemm *g) {
    return g->q8 = gemm_blocks(g->b.dtype) && g->b.rs == 1 && g->a.cs == 1 && !g->accumulate && g->k > 0;
}

/* ---- x ---- */

typedef struct rounded {
    size_t scale, sum, off, stride; /* where they begin in a row; from row to row */
} rounded;
static rounded rounded_of(const simd_gemm *g) {
    const size_t k = (size_t)g->k, parts = k / BLOCK_PART, groups = k / (size_t)group_of(g->b.dtype);
    rounded r = {.scale = k, .sum = k + 4 * parts, .off = k + 4 * parts + 4 * groups};
    r.stride = aligned(r.off + 4 * groups);
    if (r.stride % 4096 == 0) r.stride += 64; /* rows of a tile are read side by side */
    return r;
}
size_t dots_bytes(const simd_gemm *g) { return (size_t)g->m * rounded_of(g).stride; }

static dots_row row_at(const rounded *r, const void *base, int64_t i) {
    const char *at = (const char *)base + (size_t)i * r->stride;
    return (dots_row){(const int8_t *)at, (const float *)(const void *)(at + r->scale), (const float *)(const void *)(at + r->sum),
                      (const int32_t *)(const void *)(at + r->off)};
}

static int64_t rows_of_part(const simd_gemm *g) { return at_least(1, ROUND_VALUES / g->k); }
int64_t dots_round_parts(const simd_gemm *g) { return div_up(g->m, rows_of_part(g)); }

static void round_rows(const simd_gemm *g, int64_t from, int64_t to, void *out) {
    enum { AT_ONCE = 1024 };
    const rounded r = rounded_of(g);
    const dots_path *p = path_now();
    const int group = group_of(g->b.dtype);
    float wide[AT_ONCE];
    for (int64_t i = from; i < to; i++) {
        char *at = (char *)out + (size_t)i * r.stride;
        for (int64_t k = 0; k < g->k; k += AT_ONCE) {
            const int64_t n = at_most(AT_ONCE, g->k - k), e = i * g->a.rs + k;
            const float *x = (const float *)g->a.data + e;
            if (g->a.dtype != RY_F32) {
                simd_rows()->to_f32(wide, (const uint16_t *)g->a.data + e, g->a.dtype, n);
                x = wide;
            }
            p->round(x, n, group, (int8_t *)at + k, (float *)(void *)(at + r.scale) + k / BLOCK_PART, (float *)(void *)(at + r.sum) + k / group,
                     (int32_t *)(void *)(at + r.off) + k / group);
        }
    }
}
void dots_round(const simd_gemm *g, int64_t part, void *to) {
    const int64_t rows = rows_of_part(g);
    round_rows(g, part * rows, at_most(g->m, (part + 1) * rows), to);
}

/* ---- parts ---- */

typedef struct grid {
    int64_t gm, gn, unit; /* pieces of rows of x, and of units of rows of weights */
} grid;
static grid grid_of(const simd_gemm *g, bool whole) {
    const dots_path *p = path_now();
    grid c = {1, 1, p->rows};
    if (g->m < FEW) {
        c.unit = at_least(8, at_most(div_up(FEW_VALUES, g->k), div_up(g->n, 2 * MOST_PARTS) * 2));
        c.gn = whole ? 1 : div_up(g->n, c.unit);
        return c;
    }
    c.gm = div_up(g->m, MOST_ROWS);
    if (whole) return c;
    c.gn = at_most(div_up(g->n, c.unit), MOST_PARTS);
    if (c.gm * c.gn < LEAST_PARTS) c.gm = at_least(c.gm, at_most(div_up(LEAST_PARTS, c.gn), g->m / LEAST_ROWS));
    return c;
}
/* [lo, hi) of piece p of `of` */
static void piece(int64_t total, int64_t unit, int64_t p, int64_t of, int64_t *lo, int64_t *hi) {
    const int64_t units = div_up(total, unit);
    *lo = at_most(total, units * p / of * unit);
    *hi = at_most(total, units * (p + 1) / of * unit);
}

typedef struct space {
    size_t row, code, scale, min, sums, bytes;
} space;
static space space_of(const simd_gemm *g, int64_t rows) {
    const int64_t panel = path_now()->rows, depth = at_most(DEPTH, g->k);
    const size_t scales = aligned((size_t)(depth / group_of(g->b.dtype) * panel) * sizeof(float));
    space s = {.row = 0};
    if (g->m < FEW) return s;
    s.code = aligned((size_t)rows * sizeof(dots_row));
    s.scale = s.code + aligned((size_t)(depth * panel));
    s.min = s.scale + scales;
    s.sums = s.min + scales;
    s.bytes = s.sums + (size_t)(rows * panel) * sizeof(float);
    return s;
}
static int64_t most_rows(const simd_gemm *g, const grid *c) { return div_up(g->m, c->gm); }

int64_t dots_parts(const simd_gemm *g) {
    const grid c = grid_of(g, false);
    return c.gm * c.gn;
}
size_t dots_local(const simd_gemm *g) {
    const grid c = grid_of(g, false);
    return space_of(g, most_rows(g, &c)).bytes;
}

/* C's rows [i, i + m), columns [j, j + n) from sums, `step` apart. */
static void store(const simd_gemm *g, const float *sums, int64_t step, int64_t i, int64_t m, int64_t j, int64_t n) {
    const float alpha = g->alpha == 0 ? 1.0f : g->alpha;
    const float *bias = g->bias ? g->bias + j : NULL;
    for (int64_t r = 0; r < m; r++, sums += step) {
        const int64_t e = (i + r) * g->ldc + j;
        if (g->c_dtype == RY_F32) {
            float *c = (float *)g->c + e;
            for (int64_t k = 0; k < n; k++) c[k] = alpha * sums[k];
            for (int64_t k = 0; bias && k < n; k++) c[k] += bias[k];
        } else
            for (int64_t k = 0; k < n; k++) gemm_put(g->c, g->c_dtype, e + k, alpha * sums[k] + (bias ? bias[k] : 0.0f));
    }
}

static void few(const simd_gemm *g, int64_t from, int64_t to, const void *x) {
    enum { AT_ONCE = 128, STREAMS = 4 };
    const dots_path *p = path_now();
    const rounded r = rounded_of(g);
    const size_t row = bytes_of(g->b.dtype, g->b.cs);
    float sums[FEW * AT_ONCE];
    dots_row rows[FEW];
    for (int64_t i = 0; i < g->m; i++) rows[i] = row_at(&r, x, i);
    for (int64_t j = from, n; j < to; j += n) {
        n = at_most(AT_ONCE, to - j);
        /* Several long streams through memory are faster than one. */
        const int64_t apart = div_up(n, STREAMS);
        for (int64_t at = 0; at < apart * STREAMS; at++) {
            const int64_t k = at % STREAMS * apart + at / STREAMS;
            for (int64_t i = 0; i < g->m && k < n; i++)
                sums[i * AT_ONCE + k] = p->dot(g->b.dtype, (const char *)g->b.data + (size_t)(j + k) * row, &rows[i], g->k);
        }
        store(g, sums, AT_ONCE, 0, g->m, j, n);
    }
}

static void part_of(const simd_gemm *g, const grid *c, int64_t part, const void *x, void *local) {
    const dots_path *p = path_now();
    const ry_dtype t = g->b.dtype;
    int64_t i0, i1, j0, j1;
    piece(g->m, 1, part % c->gm, c->gm, &i0, &i1);
    piece(g->n, c->unit, part / c->gm, c->gn, &j0, &j1);
    if (g->m < FEW) {
        few(g, j0, j1, x);
        return;
    }
    const rounded r = rounded_of(g);
    const space s = space_of(g, most_rows(g, c));
    const size_t row = bytes_of(t, g->b.cs);
    dots_row *rows = local;
    int8_t *code = (int8_t *)local + s.code;
    float *scale = (float *)(void *)((char *)local + s.scale), *min = (float *)(void *)((char *)local + s.min),
          *sums = (float *)(void *)((char *)local + s.sums);
    for (int64_t i = i0; i < i1; i++) rows[i - i0] = row_at(&r, x, i);
    for (int64_t j = j0; j < j1; j += p->rows) {
        const int64_t n = at_most(p->rows, j1 - j);
        for (int64_t k = 0; k < g->k; k += DEPTH) {
            const int64_t kn = at_most(DEPTH, g->k - k);
            p->pack(t, (const char *)g->b.data + (size_t)j * row, row, (int)n, k, kn, code, scale, min);
            p->tiles(t, rows, i1 - i0, k, kn, code, scale, min, sums, k > 0);
        }
        store(g, sums, p->rows, i0, i1 - i0, j, n);
    }
}

void dots_part(const simd_gemm *g, int64_t part, const void *x, void *local) {
    const grid c = grid_of(g, false);
    part_of(g, &c, part, x, local);
}

size_t dots_tile_local(const simd_gemm *g) {
    const grid c = grid_of(g, true);
    return aligned(dots_bytes(g)) + space_of(g, most_rows(g, &c)).bytes;
}
void dots_tile(const simd_gemm *g, void *local) {
    const grid c = grid_of(g, true);
    round_rows(g, 0, g->m, local);
    for (int64_t i = 0; i < c.gm; i++) part_of(g, &c, i, local, (char *)local + aligned(dots_bytes(g)));
}
