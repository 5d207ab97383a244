/* row_launch.h - how kernels deal rows of numbers to threads: for rows that work along the last axis on a GPU.
 *
 * LANES threads share a row, 4 elements at a time; WG / LANES rows lie in a group. PER vectors of 4 of a row stay in a thread's registers,
 * so that the row is read once; PER 0: the row is too long for that and is read again. Knows no formula. */
#ifndef RY_OPS_ROW_LAUNCH_H
#define RY_OPS_ROW_LAUNCH_H
#include "lines.h"

enum {
    ROW_COLUMNS = 32, /* of a group of _columns.wgsl */
    ROW_GROUP = 128,
    ROW_GROUP_MAX = 256,
    ROW_PER = 4,
    ROW_BUSY = 131072 /* threads that keep a large GPU busy */
};

typedef struct row_deal {
    int64_t lanes, group, together; /* threads of a row and of a group; rows of a group */
    int64_t per;                    /* PER */
} row_deal;

/* Says LANES, WG, PER and the uniforms rows and len; per: the most that PER may be. */
static inline row_deal row_launch(ry_launch *l, int64_t rows, int64_t len, int64_t per) {
    int64_t quads = line_max(1, line_div_up(len, 4)), most = line_min(ROW_GROUP_MAX, l->caps->max_invocations);
    row_deal d = {.lanes = 1};
    while (2 * d.lanes <= most && (quads > ROW_PER * d.lanes || (2 * d.lanes <= quads && rows * d.lanes < ROW_BUSY)))
        d.lanes *= 2;
    d.group = line_max(d.lanes, line_min(ROW_GROUP, most));
    d.together = d.group / d.lanes;
    d.per = line_div_up(quads, d.lanes) <= per ? line_div_up(quads, d.lanes) : 0;
    ry_launch_knob_set(l, "LANES", (int)d.lanes);
    ry_launch_knob_set(l, "WG", (int)d.group);
    ry_launch_knob_set(l, "PER", (int)d.per);
    ry_launch_u32(l, "rows", rows);
    ry_launch_u32(l, "len", len);
    return d;
}

/* Sums over rows beside the rows' own work (_columns.wgsl): so many sets of LANES threads, each over every walkers-th row with sums of its
 * own; whole groups of them. The more a thread reads at once, the fewer threads keep memory busy. Says CG, the threads of `columns`. */
static inline int64_t row_walkers(ry_launch *l, const row_deal *d, int64_t rows) {
    int64_t busy = line_max(1, 3 * ROW_BUSY / line_max(1, d->per * d->lanes)),
            turns = line_max(2, line_div_up(rows, busy));
    ry_launch_knob_set(l, "CG", (int)line_min(ROW_GROUP_MAX, l->caps->max_invocations));
    return line_div_up(line_div_up(rows, d->per ? turns : 1), d->together) * d->together;
}
#endif
