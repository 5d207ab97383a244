/* _move.c - see _move.h. A thread makes four neighbouring units of the output and stores them at once: it looks up in which box they
 * lie. Sizes are uniforms; the text depends on the rank after merging, and on which dims a box is narrower than the output. */
#include "ops/_move.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum { RANK = RY_MAX_RANK + 1, FOUR = 4, GROUP = 256, TILE = 32, MANY = 1 << 21 }; /* a dim more: units of an element */

typedef struct box { /* in units */
    int src;
    int64_t offset, begin[RANK], len[RANK], step[RANK], stride[RANK];
} box;
typedef struct move {
    int rank, n_box;
    int64_t dim[RANK];
    box box[RY_MAX_SRC];
    bool fours; /* four neighbours lie in one row and one box */
} move;

void move_whole(move_box *b, const ry_node *n, int src) {
    const ry_value *v = n->src[src];
    *b = (move_box){.src = src};
    for (int d = 0; d < v->spec.rank; d++)
        b->len[d] = v->spec.dim[d], b->step[d] = 1, b->stride[d] = v->spec.dim[d] == 1 ? 0 : v->stride[d];
}

static bool spans(const box *b, int d, int64_t dim) { return b->begin[d] == 0 && b->len[d] == dim && b->step[d] == 1; }

static void make_move(move *m, const ry_node *n, int n_box, const move_box *from) {
    const ry_spec *o = &n->out[0].spec;
    int64_t units = ry_raw_units(o->dtype), block = ry_dtype_row(o->dtype)->block;
    int rank = o->rank + (units > 1);
    *m = (move){.rank = 0};
    for (int k = 0; k < n_box; k++) {
        box *b = &m->box[m->n_box];
        bool empty = false;
        *b = (box){.src = from[k].src, .offset = from[k].offset * units / block};
        for (int d = 0; d < o->rank; d++) {
            bool last = d == o->rank - 1;
            b->begin[d] = from[k].begin[d], b->step[d] = from[k].step[d];
            b->len[d] = last ? from[k].len[d] / block : from[k].len[d];
            b->stride[d] = last ? from[k].stride[d] * units : from[k].stride[d] * units / block;
            empty |= b->len[d] == 0;
        }
        if (units > 1) b->len[o->rank] = units, b->step[o->rank] = b->stride[o->rank] = 1;
        m->n_box += !empty;
    }
    for (int d = 0; d < rank; d++) {
        int64_t dim = d == o->rank ? units : d == o->rank - 1 ? o->dim[d] / block : o->dim[d];
        if (dim == 1) continue;
        bool merge = m->rank > 0;
        for (int k = 0; k < m->n_box && merge; k++) {
            const box *b = &m->box[k];
            merge = spans(b, d, dim) && b->step[m->rank - 1] == 1 && b->stride[m->rank - 1] == b->stride[d] * dim;
        }
        int r = merge ? m->rank - 1 : m->rank++;
        m->dim[r] = merge ? m->dim[r] * dim : dim;
        for (int k = 0; k < m->n_box; k++) {
            box *b = &m->box[k];
            b->begin[r] = merge ? b->begin[r] * dim : b->begin[d];
            b->len[r] = merge ? b->len[r] * dim : b->len[d];
            b->step[r] = merge ? 1 : b->step[d];
            b->stride[r] = b->stride[d];
        }
    }
    if (!m->rank) {
        m->dim[m->rank++] = 1;
        for (int k = 0; k < m->n_box; k++) m->box[k].len[0] = m->box[k].step[0] = m->box[k].stride[0] = 1, m->box[k].begin[0] = 0;
    }
    int in = m->rank - 1;
    m->fours = m->dim[in] % FOUR == 0;
    for (int k = 0; k < m->n_box; k++) {
        const box *b = &m->box[k];
        m->fours &= b->begin[in] % FOUR == 0 && b->len[in] % FOUR == 0 && b->step[in] == 1;
        if (m->rank == 1 && m->n_box == 1 && spans(b, 0, m->dim[0]) && b->stride[0] == 1) m->fours = true; /* all in a row */
    }
}

static void value(ry_launch *l, char name[20], const char *what, int k, int d, int64_t v) {
    snprintf(name, 20, "%s%d_%d", what, k, d);
    ry_launch_u32(l, name, v);
}

/* "c0", "c1", .. : the index of unit i by dims. */
static void print_index(ry_launch *l, const move *m) {
    char field[20];
    ry_text_puts(l->text, "    var k = i;\n");
    for (int d = m->rank - 1; d > 0; d--) {
        snprintf(field, sizeof field, "d%d", d);
        ry_launch_u32(l, field, m->dim[d]);
        ry_text_printf(l->text, "    let c%d = k %% u.d%d;\n    k /= u.d%d;\n", d, d, d);
    }
    ry_text_puts(l->text, "    let c0 = k;\n");
}

/* If unit i lies in box k: `action`, in which `at` is for the place in the source. Returns whether that is always so. */
static bool print_box(ry_launch *l, const move *m, int k, const char *before, const char *after) {
    const box *b = &m->box[k];
    char field[20];
    bool always = true;
    ry_text_puts(l->text, "    {\n");
    for (int d = 0; d < m->rank; d++) {
        if (b->step[d] != 1 || b->begin[d]) {
            value(l, field, "b", k, d, b->begin[d]);
            ry_text_printf(l->text, "        let y%d = c%d - u.%s;\n", d, d, field);
        } else {
            ry_text_printf(l->text, "        let y%d = c%d;\n", d, d);
        }
        if (b->step[d] != 1) {
            value(l, field, "q", k, d, b->step[d]);
            ry_text_printf(l->text, "        let x%d = y%d / u.%s;\n", d, d, field);
        } else {
            ry_text_printf(l->text, "        let x%d = y%d;\n", d, d);
        }
    }
    ry_text_puts(l->text, "        ");
    for (int d = 0; d < m->rank; d++) {
        if (spans(b, d, m->dim[d])) continue;
        value(l, field, "n", k, d, b->len[d]);
        ry_text_printf(l->text, "%sx%d < u.%s", always ? "if (" : " && ", d, field);
        if (b->step[d] != 1) {
            value(l, field, "q", k, d, b->step[d]);
            ry_text_printf(l->text, " && y%d %% u.%s == 0u", d, field);
        }
        always = false;
    }
    if (!always) ry_text_puts(l->text, ") ");
    ry_text_printf(l->text, "{ let at = ");
    if (b->offset) {
        snprintf(field, sizeof field, "f%d", k);
        ry_launch_u32(l, field, b->offset);
        ry_text_printf(l->text, "u.%s + ", field);
    }
    for (int d = 0; d < m->rank; d++) {
        if (d == m->rank - 1 && b->stride[d] == 1) {
            ry_text_printf(l->text, "%sx%d", d ? " + " : "", d);
            continue;
        }
        value(l, field, "s", k, d, b->stride[d]);
        ry_text_printf(l->text, "%sx%d * u.%s", d ? " + " : "", d, field);
    }
    ry_text_printf(l->text, "; %s%d%s }\n    }\n", before, b->src, after);
    return always;
}

/* fn moved(i, n): units i .. i + 3 of the output, of which n >= 1 are there. blocks: views may begin at any half word. */
static void print_moved(ry_launch *l, const move *m, bool fill, bool blocks) {
    bool always = false;
    int in = m->rank - 1;
    char field[20], after[160];
    ry_text_puts(l->text, m->fours ? "fn moved(i: u32, n: u32) -> vec4<u32> {\n" : "fn unit(i: u32) -> u32 {\n");
    if (m->n_box) print_index(l, m);
    for (int k = 0; k < m->n_box && !always; k++) {
        const box *b = &m->box[k];
        if (!m->fours) {
            always = print_box(l, m, k, "return ld_s", "(at);");
        } else if (b->stride[in] == 1) {
            bool vec = b->offset % FOUR == 0 && !blocks;
            for (int d = 0; d < in; d++) vec &= b->stride[d] % FOUR == 0;
            if (vec) l->vec |= RY_USES_SRC(b->src);
            always = print_box(l, m, k, "return ld4_s", "(at, n);");
        } else if (b->stride[in] == 0) {
            always = print_box(l, m, k, "return vec4<u32>(ld_s", "(at));");
        } else {
            value(l, field, "s", k, in, b->stride[in]);
            snprintf(after, sizeof after, "(at), ld_s%d(at + u.%s), ld_s%d(at + 2u * u.%s), ld_s%d(at + 3u * u.%s));", b->src, field, b->src, field,
                     b->src, field);
            always = print_box(l, m, k, "return vec4<u32>(ld_s", after);
        }
    }
    if (fill || !always) ry_text_puts(l->text, m->fours ? "    return vec4<u32>(u.fill, u.fill_odd, u.fill, u.fill_odd);\n" : "    return select(u.fill, u.fill_odd, (i & 1u) == 1u);\n");
    ry_text_puts(l->text, "}\n");
    if (!m->fours)
        ry_text_puts(l->text, "fn moved(i: u32, n: u32) -> vec4<u32> {\n    let m = n - 1u;\n"
                              "    return vec4<u32>(unit(i), unit(i + min(1u, m)), unit(i + min(2u, m)), unit(i + min(3u, m)));\n}\n");
}

/* More sources than one dispatch may bind: each dispatch stores, one by one, the units that its own sources hold. */
static ry_status launch_parts(const ry_node *n, const move *m, int64_t groups, ry_launch *l) {
    static const char *const entry[] = {"part0", "part1", "part2", "part3", "part4", "part5"};
    enum { MOST = sizeof entry / sizeof *entry };
    int per = (int)l->caps->max_bindings - 1, parts = (m->n_box + per - 1) / per;
    if (per < 1 || parts > MOST) return ry_fail_node(n, RY_EUNSUPPORTED, "%d sources; this device binds %u storages at once", n->n_src, l->caps->max_bindings);
    for (int p = 0; p < parts; p++) {
        uint32_t uses = RY_USES_OUT(0);
        ry_text_printf(l->text, "fn put%d(i: u32) {\n", p);
        print_index(l, m);
        for (int k = p * per; k < m->n_box && k < (p + 1) * per; k++) {
            print_box(l, m, k, "st_o0(i, ld_s", "(at)); return;");
            uses |= RY_USES_SRC(m->box[k].src);
        }
        ry_text_puts(l->text, "}\n");
        ry_launch_run(l, entry[p], groups, uses);
    }
    ry_launch_knob_set(l, "PARTS", parts);
    return RY_OK;
}

/* ---- transposed sources ---- */

/* The dim along which a lone source lies close together, where that is not the last one: -1 if it needs no tiles. */
static int far_dim(const move *m) {
    const box *b = &m->box[0];
    int in = m->rank - 1;
    if (m->n_box != 1 || b->offset || b->stride[in] == 0 || b->stride[in] == 1 || m->dim[in] < 8) return -1;
    for (int d = 0; d <= in; d++)
        if (!spans(b, d, m->dim[d])) return -1;
    for (int d = 0; d < in; d++)
        if (b->stride[d] == 1 && m->dim[d] >= 8) return d;
    return -1;
}

static void launch_tiles(const move *m, int far, ry_launch *l) {
    const box *b = &m->box[0];
    int in = m->rank - 1, rank = 0;
    int64_t dim[RANK], from[RANK], to[RANK], along[RANK], tiles = 1;
    bool from_fours = m->dim[far] % FOUR == 0 && b->stride[in] % FOUR == 0;
    along[in] = 1;
    for (int d = in - 1; d >= 0; d--) along[d] = along[d + 1] * m->dim[d + 1];
    for (int d = 0; d < in; d++) {
        if (d == far) continue;
        dim[rank] = m->dim[d], from[rank] = b->stride[d], to[rank] = along[d];
        from_fours &= from[rank] % FOUR == 0;
        tiles *= dim[rank++];
    }
    int64_t across = (m->dim[in] + TILE - 1) / TILE, down = (m->dim[far] + TILE - 1) / TILE;
    ry_launch_walk_strides(l, "tile_from", rank, dim, from);
    ry_launch_walk_strides(l, "tile_to", rank, dim, to);
    if (from_fours) l->vec |= RY_USES_SRC(b->src);
    if (m->dim[in] % FOUR == 0) l->vec |= RY_USES_OUT(0);
    ry_launch_u32(l, "near", m->dim[in]);
    ry_launch_u32(l, "far", m->dim[far]);
    ry_launch_u32(l, "across", across);
    ry_launch_u32(l, "down", down);
    ry_launch_u32(l, "from_near", b->stride[in]);
    ry_launch_u32(l, "to_far", along[far]);
    ry_launch_knob_set(l, "TILES", 1);
    ry_launch_run(l, "main", tiles * across * down, 0);
}

ry_status move_launch(const ry_node *n, int n_box, const move_box *boxes, const void *fill, ry_launch *l) {
    const ry_dtype_info *t = ry_dtype_row(n->out[0].spec.dtype);
    move m;
    make_move(&m, n, n_box, boxes);
    int64_t total = ry_count(&n->out[0].spec) / t->block * ry_raw_units(n->out[0].spec.dtype);
    int64_t groups = (total + FOUR * GROUP - 1) / (FOUR * GROUP);
    if (total > UINT32_MAX) return ry_fail_node(n, RY_EUNSUPPORTED, "%s has more words than kernels count (2^32 - 1)", ry_show(&n->out[0].spec).s);
    l->raw = ~0u;
    ry_launch_knob_set(l, "PARTS", 0);
    ry_launch_knob_set(l, "TILES", 0);
    ry_launch_u32(l, "total", total);
    if (fill) { /* units of 64-bit elements take turns */
        uint32_t word[2] = {0, 0};
        memcpy(word, fill, (size_t)t->bytes);
        ry_launch_u32(l, "fill", word[0]);
        ry_launch_u32(l, "fill_odd", t->bytes == 8 ? word[1] : word[0]);
    } else {
        ry_launch_u32(l, "fill", 0);
        ry_launch_u32(l, "fill_odd", 0);
    }
    if (total && !fill && (uint32_t)m.n_box + 1 > l->caps->max_bindings) return launch_parts(n, &m, groups, l);
    int far = total ? far_dim(&m) : -1;
    if (far >= 0) {
        launch_tiles(&m, far, l);
        return RY_OK;
    }
    l->vec |= RY_USES_OUT(0);
    print_moved(l, &m, fill != NULL, t->block > 1);
    int times = t->bytes % 4 && total >= MANY && total <= INT32_MAX ? 2 : 1; /* fours of a thread: enough bytes must be on their way */
    ry_launch_knob_set(l, "TIMES", times);
    ry_launch_run(l, "main", (groups + times - 1) / times, 0);
    return RY_OK;
}
