/* _reduce.c - how reductions go on a GPU (reduce.wgsl): which dims lie inside, four at a time or not, and into how many pieces an
 * output's elements are cut, from shapes alone, so that results do not depend on the device. */
#include "_reduce.h"
#include "base/mem.h"
#include "lines.h"

enum {
    GPU_GROUP = 256,
    GPU_THREADS = 262144, /* that keep a large GPU busy */
    GPU_OWN = 16,         /* least elements of a thread of several that share an output */
    GPU_FEW = 64          /* outputs whose pieces are merged by a group each */
};

typedef struct loop {
    int64_t len, in; /* step in the source */
} loop;

static bool wider(const loop *a, const loop *b) { /* a belongs outside of b; broadcasts (step 0) outermost */
    int64_t x = a->in < 0 ? -a->in : a->in, y = b->in < 0 ? -b->in : b->in;
    return (x == 0 && y != 0) || (y != 0 && x > y);
}
static bool by_fours(const loop *l, int n) { /* but the last: its own four lie together */
    for (int i = 0; i < n; i++)
        if (i < n - 1 ? l[i].in % 4 != 0 : l[i].in != 1 || l[i].len % 4 != 0) return false;
    return n > 0;
}
static bool all_fours(const loop *l, int n) {
    for (int i = 0; i < n; i++)
        if (l[i].in % 4 != 0) return false;
    return true;
}
static void launch_loops(ry_launch *l, const char *name, const loop *at, int n) {
    int64_t dim[RY_MAX_RANK], stride[RY_MAX_RANK];
    for (int i = 0; i < n; i++) dim[i] = at[i].len, stride[i] = at[i].in;
    ry_launch_walk_strides(l, name, n, dim, stride);
}
static int64_t power_below(int64_t x) { /* greatest power of two up to x, at least 1 */
    int64_t p = 1;
    while (2 * p <= x) p *= 2;
    return p;
}

/* STATE of reduce.wgsl. */
static int state_of(reduce_kind kind, ry_dtype t) {
    switch (kind) {
    case REDUCE_ARGMAX:
    case REDUCE_ARGMIN: return t == RY_I64 ? 6 : 5;
    case REDUCE_ANY:
    case REDUCE_ALL: return 4;
    case REDUCE_LOGSUMEXP: return 3;
    case REDUCE_AMAX:
    case REDUCE_AMIN: return t == RY_I64 ? 2 : 1;
    default: return ry_is_float(t) ? 0 : 2;
    }
}

ry_status reduce_launch(const ry_node *n, ry_launch *l, reduce_kind kind, unsigned bits) {
    const ry_value *x = n->src[0];
    const ry_dtype t = x->spec.dtype;
    loop kept[RY_MAX_RANK], red[RY_MAX_RANK];
    int n_kept = 0, n_red = 0;
    for (int i = 0; i < x->spec.rank; i++) { /* kept dims in the output's order, reduced ones by their steps */
        loop one = {x->spec.dim[i], x->stride[i]};
        if (one.len == 1) continue;
        if (!(bits >> i & 1u)) {
            kept[n_kept++] = one;
            continue;
        }
        int at = n_red++;
        for (; at > 0 && wider(&one, &red[at - 1]); at--) red[at] = red[at - 1];
        red[at] = one;
    }
    int64_t len = 1;
    for (int i = 0; i < x->spec.rank; i++)
        if (bits >> i & 1u) len *= x->spec.dim[i];
    const int64_t outputs = ry_count(&n->out[0].spec), group = line_min(GPU_GROUP, l->caps->max_invocations);
    const bool columns = n_kept && len && kept[n_kept - 1].in == 1 && !(n_red && red[n_red - 1].in == 1);
    const bool wide = t == RY_I64;
    const bool quads = !wide && (columns ? by_fours(kept, n_kept) && all_fours(red, n_red)
                                         : by_fours(red, n_red) && all_fours(kept, n_kept));
    const int state = state_of(kind, t);
    const size_t words = state == 6 ? 3 : state == 2 || state == 3 || state == 5 ? 2 : 1;
    int64_t pieces, per, groups;
    if (columns) {
        int64_t count = quads ? outputs / 4 : outputs, run = quads ? kept[n_kept - 1].len / 4 : kept[n_kept - 1].len;
        int64_t across = power_below(2 * line_min(run, 32) - 1), down = line_min(group / across, power_below(len / 8));
        while (2 * across <= group / line_max(1, down) && across < count) across *= 2;
        down = group / across;
        int64_t blocks = line_div_up(count, across);
        pieces = line_max(1, line_min(line_div_up(GPU_THREADS, line_max(1, blocks) * group), len / (down * 8)));
        per = line_div_up(len, pieces);
        pieces = line_max(1, line_div_up(len, line_max(1, per)));
        groups = blocks * pieces;
        ry_launch_u32(l, "columns", count);
        ry_launch_u32(l, "blocks", blocks);
        ry_launch_u32(l, "across", across);
    } else {
        int64_t lanes = line_min(group, power_below(len / GPU_OWN));
        while (2 * lanes <= line_min(group, len / 4) && outputs * lanes < GPU_THREADS) lanes *= 2;
        pieces = line_max(1, line_min(line_div_up(GPU_THREADS, line_max(1, outputs) * lanes), len / (lanes * GPU_OWN)));
        per = line_div_up(line_div_up(len, pieces), 4) * 4;
        pieces = line_max(1, line_div_up(len, line_max(1, per)));
        groups = line_div_up(outputs * pieces, group / lanes);
        ry_launch_u32(l, "lanes", lanes);
    }
    launch_loops(l, "kept", kept, n_kept);
    launch_loops(l, "reduced", red, n_red);
    ry_launch_knob_set(l, "KIND", (int)kind);
    ry_launch_knob_set(l, "FORM", ry_is_float(t) ? 0 : wide ? 3 : t == RY_BOOL ? 2 : 1);
    ry_launch_knob_set(l, "STATE", state);
    ry_launch_knob_set(l, "LARGEST", kind == REDUCE_AMAX || kind == REDUCE_ARGMAX);
    ry_launch_knob_set(l, "QUADS", quads);
    ry_launch_knob_set(l, "COLUMNS", columns);
    ry_launch_knob_set(l, "SPLIT", pieces > 1);
    ry_launch_knob_set(l, "WG", (int)group);
    ry_launch_u32(l, "outputs", outputs);
    ry_launch_u32(l, "len", len);
    ry_launch_u32(l, "pieces", pieces);
    ry_launch_u32(l, "per", per);
    ry_launch_f32(l, "count", (double)len);
    ry_launch_u32(l, "minus_infinity", 0xff800000u);
    if (quads) l->vec |= RY_USES_SRC(0) | (columns ? RY_USES_OUT(0) : 0);
    l->raw |= RY_USES_SCRATCH | (wide ? RY_USES_SRC(0) : 0) | (n->out[0].spec.dtype == RY_I64 ? RY_USES_OUT(0) : 0);
    ry_launch_run(l, columns ? "columns" : "rows", outputs ? groups : 0, 0);
    if (pieces > 1) {
        int64_t lanes = outputs <= GPU_FEW ? group : line_min(group, 32);
        l->scratch = ry_mem_size((size_t)(outputs * pieces), words * sizeof(uint32_t), 0);
        ry_launch_u32(l, "merge_lanes", lanes);
        ry_launch_run(l, "merge", line_div_up(outputs, group / lanes), RY_USES_SCRATCH | RY_USES_OUT(0));
    }
    return RY_OK;
}
