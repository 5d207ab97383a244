/* _gemm.c - operands and knobs of the matrix products' kernels; see _gemm.h. */
#include "ops/_gemm.h"
#include <string.h>

gemm_side gemm_side_of(int64_t r, int64_t k, int64_t rows, int64_t depth) {
    bool along_k = k == 1 || (depth <= 1 && r != 1);
    gemm_side s = {.kind = along_k ? 0 : r == 1 || rows <= 1 ? 1 : 2, .r = r, .k = k};
    if (s.kind == 0) s.fours = depth % 4 == 0 && (rows <= 1 || r % 4 == 0);
    if (s.kind == 1) s.fours = rows % 4 == 0 && (depth <= 1 || k % 4 == 0);
    return s;
}

void gemm_batch(gemm_side *s, int rank, const int64_t *stride) {
    for (int i = 0; i < rank; i++) s->fours &= stride[i] % 4 == 0;
}

int gemm_knob(const ry_variant *v, const char *name) {
    for (int i = 0; i < 16 && v->knobs[i].name; i++)
        if (!strcmp(v->knobs[i].name, name)) return v->knobs[i].value;
    return 0;
}

bool gemm_fits(const ry_caps *caps, int bm, int bn, int bk, int tm, int tn, int buffers, int64_t depth) {
    enum { LONGEST = 65000 }; /* turns of a loop: a software driver ends it there */
    uint32_t threads = (uint32_t)(bm / tm * (bn / tn)), bytes = (uint32_t)(buffers * bk * (bm + 4 + bn + 4) * 4);
    return threads <= caps->max_invocations && bytes <= caps->shared_bytes && depth / bk < LONGEST;
}

/* ---- time ---- */

enum {
    CHIP = 132,       /* multiprocessors */
    SMALL_CHIP = 16,  /* of an integrated one */
    LEAST_K = 128,    /* of a part */
    MOST_PARTS = 256, /* of a tile */
    MOST_LEAD = 6     /* times the other part's K */
};
static const double WORTH = 0.98, /* of the time of whole tiles: less of a gain is none */
    IDLE = 0.2,                   /* one group alone on a multiprocessor is so much slower, as a part of its time */
    GROUP_S = 2.5e-6,             /* until a group multiplies, and after */
    SUM_S = 4e-6, BYTES_S = 4e12,
                    SMALL_BYTES_S = 1e11; /* of the dispatch that adds up parts: its own, and what it moves */

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Of `groups` that take `full` seconds where all multiprocessors are full of them. */
static double waves(const gemm_speed *t, int64_t chip, int64_t groups, double full) {
    const int64_t slots = chip * t->at_once, left = groups % slots, fullest = div_up(left, chip);
    double s = (double)(groups / slots) * (full + GROUP_S);
    return left ? s + full * ((double)fullest + IDLE) / (t->at_once + IDLE) + GROUP_S : s;
}

static gemm_deal deal(const gemm_speed *t, int64_t whole, int64_t shared, int64_t depth, int64_t lead, int64_t others) {
    const int64_t steps = div_up(depth, t->bk), unit = div_up(steps, lead + others);
    gemm_deal d = {whole, shared, 1, lead * unit, unit, 0};
    if (steps > d.lead) d.parts += div_up(steps - d.lead, unit);
    return d;
}
static void shorter(gemm_deal *best, gemm_deal d, double seconds) {
    d.seconds = seconds;
    if (seconds < best->seconds * (best->parts > 1 ? 1 : WORTH)) *best = d;
}

gemm_deal gemm_deal_of(const gemm_speed *t, const ry_caps *caps, int64_t tiles, int64_t depth, bool may_share) {
    const bool small = caps->features & RY_FEATURE_INTEGRATED;
    const int64_t chip = small ? SMALL_CHIP : CHIP, slots = chip * t->at_once;
    const double full = 2.0 * t->bm * t->bn * (double)depth * t->at_once / (t->tflops * 1e12 / CHIP);
    gemm_deal best = {tiles, 0, 1, 0, 0, waves(t, chip, tiles, full)};
    for (int back = 0; back < 2 && may_share; back++) { /* the last wave, or the last two */
        const int64_t whole = tiles / slots * slots - back * slots, rest = tiles - whole;
        if (whole < 0 || rest <= 0) break;
        const double before = waves(t, chip, whole, full) + SUM_S,
                     sum = 8.0 * t->bm * t->bn * (double)rest / (small ? SMALL_BYTES_S : BYTES_S);
        for (int64_t s = 2; s <= MOST_PARTS && depth / s >= LEAST_K; s = s < 16 ? s + 1 : 2 * s)
            shorter(&best, deal(t, whole, rest, depth, 1, s - 1),
                    before + waves(t, chip, rest * s, full / (double)s) + sum * (double)s);
        /* One long part each, and the short ones in a row on what is left. */
        for (int64_t lead = 2; lead <= MOST_LEAD && depth / (lead + 1) >= LEAST_K; lead++)
            if (rest + div_up(rest, lead) <= slots)
                shorter(&best, deal(t, whole, rest, depth, lead, 1),
                        before + waves(t, chip, rest + div_up(rest, lead), full * (double)lead / (double)(lead + 1)) +
                            GROUP_S + sum * 2);
    }
    return best;
}

gemm_deal gemm_deal_even(const gemm_speed *t, int64_t tiles, int64_t depth, int64_t parts) {
    return parts > 1 ? deal(t, 0, tiles, depth, 1, parts - 1) : (gemm_deal){tiles, 0, 1, 0, 0, 0};
}

size_t gemm_deal_bytes(const gemm_speed *t, const gemm_deal *d) {
    return (size_t)(d->shared * d->parts) * (size_t)(t->bm * t->bn) * sizeof(float);
}

void gemm_deal_set(ry_launch *l, const gemm_deal *d) {
    ry_launch_u32(l, "whole", d->whole);
    ry_launch_u32(l, "n_shared", d->shared);
    ry_launch_u32(l, "splits", d->parts);
    ry_launch_u32(l, "lead", d->lead);
    ry_launch_u32(l, "per_part", d->per);
}

void gemm_tile(ry_launch *l, const gemm_side *a, const gemm_side *b) {
    ry_launch_knob_set(l, "A_KIND", a->kind);
    ry_launch_knob_set(l, "B_KIND", b->kind);
    ry_launch_knob_set(l, "A_QUAD", a->fours ? 4 : 1);
    ry_launch_knob_set(l, "B_QUAD", b->fours ? 4 : 1);
    ry_launch_u32(l, "a_r", a->r);
    ry_launch_u32(l, "a_k", a->k);
    ry_launch_u32(l, "b_r", b->r);
    ry_launch_u32(l, "b_k", b->k);
    if (a->fours) l->vec |= RY_USES_SRC(0);
    if (b->fours) l->vec |= RY_USES_SRC(1);
}
