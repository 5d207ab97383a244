/* gemm_amx.c - bf16 products on AMX tiles.
 *
 * Eight tile registers of 16 rows of 64 bytes: C takes four (32 x 32 sums), A two (16 rows of 32 values of K each), B two (16 pairs of K
 * of 16 columns each). Four multiplications for four loads: 64 cycles of multiplying, 32 of loading. A panel of A is rows of 32
 * values, 16 rows by 16; one of B is gemm_pack.inc's. KC: a panel of B is 64 KiB, a block of 256 rows of A 512 KiB of the 2 MiB of L2
 * that every machine with AMX has.
 *
 * The test defines AMX_EMULATED and the amx_ functions itself, to check the packing on machines without AMX. */
#include "simd/gemm_units_bf16.h"

enum { KC = 256, SIDE = 32, TILE_ROWS = 16, TILE_UNITS = 16, TILE_SIZE = TILE_ROWS * TILE_UNITS, STRIDE = 64 };

#ifndef AMX_EMULATED
typedef struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_config;
_Static_assert(sizeof(amx_config) == 64, "as the instruction reads it");

/* Constant, not built on the stack: gcc 12's _tile_loadconfig tells the compiler of eight of these bytes only, and stores to the rest go. */
static const amx_config eight_tiles = {
    .palette = 1,
    .row_bytes = {STRIDE, STRIDE, STRIDE, STRIDE, STRIDE, STRIDE, STRIDE, STRIDE},
    .rows = {TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS}};
GEMM_FN void amx_begin(void) { _tile_loadconfig(&eight_tiles); }
GEMM_FN void amx_end(void) { _tile_release(); }
#define amx_zero(t)             _tile_zero(t)
#define amx_load(t, p, stride)  _tile_loadd(t, p, (size_t)(stride))
#define amx_store(t, p, stride) _tile_stored(t, p, (size_t)(stride))
#define amx_dot(c, a, b)        _tile_dpbf16ps(c, a, b)
#endif

#include "simd/gemm_pack.inc"

/* A's rows [i, i + m) of K's [k0, k0 + kn): dst[tile of rows][32 of K][row][32 values]; missing rows repeat the last, missing K is zero. */
GEMM_FN void pack_a_as(float *dst, const simd_mat *a, const ry_dtype t, int64_t i0, int64_t m, int64_t k0, int64_t kn) {
    const int64_t steps = (kn + 2 * TILE_UNITS - 1) / (2 * TILE_UNITS);
    for (int64_t i = 0; i < m; i += TILE_ROWS)
        for (int64_t s = 0; s < steps; s++, dst += TILE_SIZE) {
            const int64_t last = m - i - 1, left = kn - s * 2 * TILE_UNITS,
                          e = (i0 + i) * a->rs + (k0 + s * 2 * TILE_UNITS) * a->cs;
            if (a->cs == 1) {
                const int n = (int)at_most(left, 2 * TILE_UNITS);
                for (int r = 0; r < TILE_ROWS; r++)
                    v_store(dst + r * TILE_UNITS, u_along_k(a->data, t, false, e + at_most(r, last) * a->rs, n));
                continue;
            }
            vec r[TILE_UNITS];
            for (int u = 0; u < TILE_UNITS; u++) {
                const int64_t rest = left - 2 * u, at = e + 2 * u * a->cs;
                if (rest <= 0)
                    r[u] = v_zero();
                else if (a->rs == 1)
                    r[u] = u_across(a->data, t, false, at, a->cs, (int)at_most(last + 1, TILE_ROWS), rest);
                else {
                    float both[2 * TILE_ROWS] = {0};
                    for (int64_t x = 0; x < at_most(rest, 2); x++)
                        for (int64_t y = 0; y < at_most(last + 1, TILE_ROWS); y++)
                            both[x * TILE_ROWS + y] = gemm_get(a->data, t, at + x * a->cs + y * a->rs);
                    r[u] = u_across(both, RY_F32, false, 0, TILE_ROWS, TILE_ROWS, 2);
                }
            }
            v_transpose(r);
            for (int u = 0; u < TILE_ROWS; u++) v_store(dst + u * TILE_UNITS, r[u]);
        }
}

static void pack_a(float *dst, const simd_mat *a, int64_t i, int64_t m, int64_t k, int64_t kn) {
    if (a->dtype == RY_F32)
        pack_a_as(dst, a, RY_F32, i, m, k, kn);
    else if (a->dtype == RY_F16)
        pack_a_as(dst, a, RY_F16, i, m, k, kn);
    else
        pack_a_as(dst, a, RY_BF16, i, m, k, kn);
}

/* Sums of up to 2 x 2 tiles over `steps` times 32 of K, added to `sums` (rows of SIDE floats) unless first, and left there. Rows of A are
 * row_bytes apart, its tiles along K a_step bytes and its two tiles of rows a_tile bytes. */
GEMM_FN void tiles(const bool rows2, const bool cols2, float *sums, bool first, const char *a, int64_t row_bytes,
                   int64_t a_step, int64_t a_tile, const float *b, int64_t steps) {
    enum { HALF = SIDE / 2, C_STRIDE = SIDE * 4, B_STEP = TILE_UNITS * SIDE };
    if (first) {
        amx_zero(0);
        if (cols2) amx_zero(1);
        if (rows2) amx_zero(2);
        if (rows2 && cols2) amx_zero(3);
    } else {
        amx_load(0, sums, C_STRIDE);
        if (cols2) amx_load(1, sums + HALF, C_STRIDE);
        if (rows2) amx_load(2, sums + HALF * SIDE, C_STRIDE);
        if (rows2 && cols2) amx_load(3, sums + HALF * SIDE + HALF, C_STRIDE);
    }
    for (int64_t s = 0; s < steps; s++, a += a_step, b += B_STEP) {
        amx_load(4, a, row_bytes);
        amx_load(6, b, C_STRIDE);
        amx_dot(0, 4, 6);
        if (cols2) {
            amx_load(7, b + HALF, C_STRIDE);
            amx_dot(1, 4, 7);
        }
        if (rows2) {
            amx_load(5, a + a_tile, row_bytes);
            amx_dot(2, 5, 6);
            if (cols2) amx_dot(3, 5, 7);
        }
    }
    amx_store(0, sums, C_STRIDE);
    if (cols2) amx_store(1, sums + HALF, C_STRIDE);
    if (rows2) amx_store(2, sums + HALF * SIDE, C_STRIDE);
    if (rows2 && cols2) amx_store(3, sums + HALF * SIDE + HALF, C_STRIDE);
}

typedef struct block_space {
    int64_t a, b, sums;
} block_space;
static bool a_in_place(const simd_gemm *g) {
    return g->a.dtype == RY_BF16 && g->a.cs == 1 && g->k % 32 == 0 && g->m % TILE_ROWS == 0;
}

static block_space spaces(const simd_gemm *g, int64_t m, int64_t n) {
    const int64_t kc = round_up(k_block(g->k), 32), mt = (m + SIDE - 1) / SIDE, nt = (n + SIDE - 1) / SIDE;
    return (block_space){round_up(m, TILE_ROWS) * (kc / 2), SIDE * (kc / 2), (kc < g->k ? mt * nt : 1) * SIDE * SIDE};
}
static size_t local_bytes(const simd_gemm *g, int64_t m, int64_t n) {
    const block_space s = spaces(g, m, n);
    return sizeof(float) * (size_t)(s.a + s.b + s.sums);
}

/* C = alpha sums + bias + (accumulate ? C : 0) for m x n of the tile at element e. */
static void finish(const simd_gemm *g, const float *sums, int64_t e, const float *bias, int64_t m, int64_t n) {
    const vec alpha = v_set(g->alpha == 0 ? 1.0f : g->alpha);
    for (int64_t j = 0; j < n; j += LANES) {
        const int w = (int)at_most(n - j, LANES);
        const vec add = bias ? v_load_n(bias + j, w) : v_zero();
        for (int64_t i = 0; i < m; i++) {
            const int64_t at = e + i * g->ldc + j;
            const vec old = g->accumulate ? v_add(add, v_load_n((const float *)g->c + at, w)) : add;
            v_to(g->c, g->c_dtype, at, v_fma(alpha, v_load(sums + i * SIDE + j), old), w);
        }
    }
}

static void block(const simd_gemm *g, const gemm_rect *r, bool round, void *local) {
    const int64_t kc = round_up(k_block(g->k), 32), panels = (r->n + SIDE - 1) / SIDE;
    const bool here = a_in_place(g);
    const block_space space = spaces(g, r->m, r->n);
    float *pa = local, *pb = pa + space.a, *sums = pb + space.b;
    (void)round;
    amx_begin();
    int64_t k0 = 0;
    do { /* once also for K = 0 */
        const int64_t kn = at_most(kc, g->k - k0), steps = (kn + 31) / 32;
        const bool first = k0 == 0, last = k0 + kn >= g->k;
        if (!here) pack_a(pa, &g->a, r->i, r->m, k0, kn);
        for (int64_t q = 0; q < panels; q++) {
            const int64_t j = q * SIDE, n = at_most(SIDE, r->n - j);
            const cut line = {n, 1, n, 0};
            const pack_job jb = {pb,      SIDE,    0,    g->b.data, false, k0 * g->b.rs + (r->j + j) * g->b.cs,
                                 g->b.cs, g->b.rs, line, kn};
            pack(&jb, g->b.dtype);
            for (int64_t u = (kn + 1) / 2; u < steps * TILE_UNITS; u++) { /* a tile's rows beyond K */
                v_store(pb + u * SIDE, v_zero());
                v_store(pb + u * SIDE + LANES, v_zero());
            }
            for (int64_t i = 0; i < r->m; i += SIDE) {
                const int64_t m = at_most(SIDE, r->m - i);
                float *own = kc < g->k ? sums + (i / SIDE * panels + q) * SIDE * SIDE : sums;
                const char *a = here ? (const char *)g->a.data + ((r->i + i) * g->a.rs + k0) * 2
                                     : (const char *)(pa + i * steps * TILE_UNITS);
                const int64_t row = here ? g->a.rs * 2 : STRIDE, step = here ? STRIDE : TILE_SIZE * 4,
                              tile = here ? TILE_ROWS * row : steps * TILE_SIZE * 4;
                if (m > TILE_ROWS && n > LANES)
                    tiles(true, true, own, first, a, row, step, tile, pb, steps);
                else if (m > TILE_ROWS)
                    tiles(true, false, own, first, a, row, step, tile, pb, steps);
                else if (n > LANES)
                    tiles(false, true, own, first, a, row, step, tile, pb, steps);
                else
                    tiles(false, false, own, first, a, row, step, tile, pb, steps);
                if (last) finish(g, own, (r->i + i) * g->ldc + r->j + j, g->bias ? g->bias + r->j + j : NULL, m, n);
            }
        }
        k0 += kc;
    } while (k0 < g->k);
    amx_end();
}

static double peak(int64_t loops) {
    amx_begin();
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    amx_zero(4);
    amx_zero(5);
    amx_zero(6);
    amx_zero(7);
    for (int64_t k = 0; k < loops; k++) {
        amx_dot(0, 4, 6);
        amx_dot(1, 4, 7);
        amx_dot(2, 5, 6);
        amx_dot(3, 5, 7);
    }
    amx_end();
    return 2.0 * (double)loops * 4 * TILE_ROWS * LANES * 32;
}

const gemm_path gemm_amx = {TILE_ROWS, LANES, 8, block, local_bytes, NULL, peak, 0, NULL, NULL};
