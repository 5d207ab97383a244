/* fused.c - the row `fused`: a chain of elementwise nodes in one pass, and the executor of every elementwise row.
 *
 * A part is a range of the output's elements. It is walked in blocks that fit L1; each register of the chain is a
 * block of f32, i32 or i64 values. Sources that already look like their register (dense, same type) are read in place
 * and a result whose storage type is its register type is written straight to the output, so that a plain add makes
 * one pass over memory. Results are rounded to their storage dtype between links: fused and unfused give the same
 * bits. Owns no memory: registers live in the worker's scratch. Knows no formula: those are simd/map.h's. */
#include "ops/fused.h"
#include "core/rows.h"
#include "ops/_copy.h"
#include "simd/map.h"
#include "simd/rows.h"
#include "simd/stream.h"
#include <assert.h>
#include <string.h>

enum {
    BLOCK = 1024, /* elements of a register */
    LONG_ROW =
        256, /* strided sources: rows from this length on are walked one by one, shorter ones gathered into blocks */
    MAX_REGS = RY_MAX_SRC + RY_MAX_LINKS
};

typedef enum source_kind {
    FLAT,
    SPLAT,
    STRIDED
} source_kind; /* dense in the output's shape; one element; anything else */
typedef struct source {
    const char *data;
    ry_dtype dtype;
    map_reg reg;
    source_kind kind;
    bool in_place; /* no copy: a block of it is a register */
    size_t bytes;  /* of an element */
    char *slot;
    int64_t at;                  /* STRIDED: element where the present row begins */
    int64_t stride[RY_MAX_RANK]; /* of the output's dims; after collapse() of the walk's */
} source;

typedef enum step_kind { STEP_MAP, STEP_CAST, STEP_NONE } step_kind;
typedef struct step {
    map_fn fn;
    char *slot; /* NULL: written straight to output `direct` */
    step_kind kind;
    map_reg reg;
    ry_dtype dtype;
    unsigned load, store; /* bits: sources to load before, outputs to store after */
    int direct;
    bool settle;             /* round or wrap to dtype */
    int16_t in[MAP_LETTERS]; /* registers of a b c y g; -1 unused */
} step;

typedef struct walk { /* where we are: the collapsed dims, the last of which is the row */
    int rank;
    int64_t dim[RY_MAX_RANK], coord[RY_MAX_RANK];
    bool rows; /* blocks end at row ends */
} walk;

/* ---------------------------------------------------------------- registers and storage */

static map_reg reg_of(ry_dtype t) {
    return t == RY_F32 || t == RY_F16 || t == RY_BF16 || t == RY_F64 ? MAP_F32 : t == RY_I64 ? MAP_I64 : MAP_I32;
}
static size_t reg_bytes(map_reg r) { return r == MAP_I64 ? 8 : 4; }
static bool is_reg(ry_dtype t) { return t == RY_F32 || t == RY_I32 || t == RY_I64; }

/* Loops of a fixed length inside, so that compilers vectorise them. */
#define EACH(n, body)                                          \
    do {                                                       \
        int64_t each_ = 0;                                     \
        for (; each_ + 16 <= (n); each_ += 16)                 \
            for (int64_t i = each_; i < each_ + 16; i++) body; \
        for (int64_t i = each_; i < (n); i++) body;            \
    } while (0)

/* Contiguous storage to a register, and back. */
static void load(void *y, const char *x, ry_dtype t, int64_t n) {
    if (is_reg(t))
        memcpy(y, x, (size_t)n * (t == RY_I64 ? 8 : 4));
    else if (reg_of(t) == MAP_F32)
        simd_rows()->to_f32(y, x, t, n);
    else
        simd_rows()->widen(y, x, t, n);
}

static void store(char *y, const void *x, ry_dtype t, int64_t n) {
    if (is_reg(t))
        memcpy(y, x, (size_t)n * (t == RY_I64 ? 8 : 4));
    else if (reg_of(t) == MAP_F32)
        simd_rows()->from_f32(y, x, t, n);
    else
        simd_rows()->narrow(y, x, t, n);
}

static void store_large(char *y, const void *x, ry_dtype t, int64_t n, void *tmp) {
    if (!is_reg(t)) store(tmp, x, t, n);
    simd_stream(y, is_reg(t) ? x : tmp, ry_bytes_of(t, n));
}

static void splat(void *y, map_reg r, const char *element, ry_dtype t, int64_t n) {
    union {
        float f;
        int32_t i;
        int64_t l;
    } v;
    load(&v, element, t, 1);
    if (r == MAP_F32)
        simd_rows()->fill(y, v.f, n);
    else if (r == MAP_I32) {
        int32_t *d = y, k = v.i;
        EACH(n, d[i] = k);
    } else {
        int64_t *d = y, k = v.l;
        EACH(n, d[i] = k);
    }
}

/* n elements that lie `stride` apart. */
static void load_strided(void *y, const char *x, ry_dtype t, int64_t stride, int64_t n) {
    float *f = y;
    int32_t *w = y;
    int64_t *l = y;
    uint16_t half[64];
    switch (t) {
    case RY_F32:
    case RY_I32:
        for (int64_t i = 0; i < n; i++) w[i] = ((const int32_t *)(const void *)x)[i * stride];
        break;
    case RY_I64:
        for (int64_t i = 0; i < n; i++) l[i] = ((const int64_t *)(const void *)x)[i * stride];
        break;
    case RY_F64:
        for (int64_t i = 0; i < n; i++) f[i] = (float)((const double *)(const void *)x)[i * stride];
        break;
    case RY_F16:
    case RY_BF16:
        for (int64_t b = 0; b < n; b += 64) {
            int64_t m = n - b < 64 ? n - b : 64;
            for (int64_t i = 0; i < m; i++) half[i] = ((const uint16_t *)(const void *)x)[(b + i) * stride];
            simd_rows()->to_f32(f + b, half, t, m);
        }
        break;
    case RY_I8:
        for (int64_t i = 0; i < n; i++) w[i] = ((const int8_t *)x)[i * stride];
        break;
    default:
        for (int64_t i = 0; i < n; i++) w[i] = ((const uint8_t *)x)[i * stride];
    }
}

static void load_run(void *y, const source *s, const char *x, int64_t stride, int64_t n) {
    if (stride == 1 || n == 1)
        load(y, x, s->dtype, n);
    else if (stride == 0)
        splat(y, s->reg, x, s->dtype, n);
    else
        load_strided(y, x, s->dtype, stride, n);
}

/* Rounds or wraps a register to what its storage dtype can hold. */
static void settle(void *y, ry_dtype t, int64_t n, void *tmp) {
    int32_t *w = y;
    if (t == RY_F16 || t == RY_BF16) {
        simd_rows()->from_f32(tmp, y, t, n);
        simd_rows()->to_f32(y, tmp, t, n);
    } else if (t == RY_I8)
        EACH(n, w[i] = (int32_t)((uint32_t)w[i] << 24) >> 24);
    else if (t == RY_U8)
        EACH(n, w[i] = w[i] & 255);
    else if (t == RY_BOOL)
        EACH(n, w[i] = w[i] != 0);
}

/* The cast row between registers; the result is settled. */
static void convert(void *y, ry_dtype to, const void *x, map_reg from, int64_t n, void *tmp) {
    map_reg r = reg_of(to);
    const int32_t *w = x;
    const int64_t *l = x;
    if (from == MAP_F32 && r == MAP_F32) {
        if (y != x) memcpy(y, x, (size_t)n * 4); /* in place of its source */
        settle(y, to, n, tmp);
    } else if (from == MAP_F32) {
        if (is_reg(to)) {
            simd_rows()->from_f32(y, x, to, n);
        } else {
            simd_rows()->from_f32(tmp, x, to, n);
            load(y, tmp, to, n);
        }
    } else if (r == MAP_F32) {
        simd_rows()->to_f32(y, x, from == MAP_I32 ? RY_I32 : RY_I64, n);
        settle(y, to, n, tmp);
    } else if (from == r && r == MAP_I64) {
        if (y != x) memcpy(y, x, (size_t)n * 8);
    } else if (r == MAP_I64) {
        int64_t *d = y;
        for (int64_t i = 0; i < n; i++) d[i] = w[i];
    } else {
        int32_t *d = y;
        if (from == MAP_I32 && y != x)
            memcpy(y, x, (size_t)n * 4);
        else if (from == MAP_I32)
            (void)w;
        else if (to == RY_BOOL)
            EACH(n, d[i] = l[i] != 0);
        else
            EACH(n, d[i] = (int32_t)(uint32_t)(uint64_t)l[i]);
        settle(y, to, n, tmp);
    }
}

void fused_element(void *out, ry_dtype t, double value) {
    float f = (float)value;
    if (reg_of(t) == MAP_F32 && t != RY_F64)
        simd_rows()->from_f32(out, &f, t, 1);
    else if (t == RY_F64)
        memcpy(out, &value, sizeof value);
    else if (t == RY_BOOL)
        *(uint8_t *)out = value != 0;
    else {
        double lo = t == RY_I8 ? -128 : t == RY_U8 ? 0 : t == RY_I32 ? INT32_MIN : -0x1p63;
        double hi = t == RY_I8 ? 127 : t == RY_U8 ? 255 : t == RY_I32 ? INT32_MAX : 0x1p63;
        int64_t v = !(value == value) ? 0
                    : value <= lo     ? (int64_t)lo
                    : value < hi      ? (int64_t)value
                    : t == RY_I64     ? INT64_MAX
                                      : (int64_t)hi;
        if (t == RY_I64)
            memcpy(out, &v, 8);
        else if (t == RY_I32)
            memcpy(out, &(int32_t){(int32_t)v}, 4);
        else
            *(uint8_t *)out = (uint8_t)v;
    }
}

/* ---------------------------------------------------------------- the walk over strided sources */

/* Strides of v in the output's dims, and what kind of source that makes. */
static void classify(source *s, const ry_value *v, const ry_spec *o) {
    int64_t dense = 1, lead = o->rank - v->spec.rank;
    bool flat = true, splat_ = true;
    for (int d = o->rank - 1; d >= 0; d--) {
        int64_t k = d >= lead && v->spec.dim[d - lead] != 1 ? v->stride[d - lead] : 0;
        s->stride[d] = k;
        if (o->dim[d] == 1) continue;
        if (k != dense) flat = false;
        if (k != 0) splat_ = false;
        dense *= o->dim[d];
    }
    s->kind = splat_ ? SPLAT : flat ? FLAT : STRIDED;
}

/* Transposed sources: their neighbours in memory are not neighbours in a row. Read element by element each would cost a
 * cache line, so the whole part of them is first copied by tiles. */
static bool is_transposed(const source *s, const ry_spec *o) {
    int in = o->rank - 1;
    while (in > 0 && o->dim[in] == 1) in--;
    if (s->kind != STRIDED || s->stride[in] == 0 || s->stride[in] == 1 || ry_count(o) < BLOCK) return false;
    for (int d = 0; d < in; d++)
        if (s->stride[d] == 1 && o->dim[d] >= 4) return true;
    return false;
}

/* Elements [lo, hi) of the dims from `dim` on, in row-major order, to dense storage at `to`: as few boxes as there are. */
static void copy_range(char *to, const char *from, const source *s, const ry_spec *o, int dim, int64_t lo, int64_t hi) {
    int64_t inner = ry_count_range(o, dim + 1, o->rank), first = lo / inner, at = s->stride[dim] * (int64_t)s->bytes;
    if (lo % inner || hi - lo < inner) { /* part of one index */
        int64_t end = (first + 1) * inner < hi ? (first + 1) * inner : hi;
        copy_range(to, from + first * at, s, o, dim + 1, lo - first * inner, end - first * inner);
        to += (end - lo) * (int64_t)s->bytes;
        lo = end, first++;
    }
    if (hi - lo >= inner) { /* whole indices */
        int64_t box[RY_MAX_RANK], dense[RY_MAX_RANK], along = 1, n = (hi - lo) / inner;
        for (int d = o->rank - 1; d >= dim; d--) {
            box[d - dim] = d == dim ? n : o->dim[d];
            dense[d - dim] = along;
            along *= o->dim[d];
        }
        copy_job j;
        copy_plan(&j, s->dtype, o->rank - dim, box, dense, s->stride + dim);
        for (int64_t part = 0; part < j.parts; part++) copy_run(&j, to, from + first * at, part);
        to += n * inner * (int64_t)s->bytes;
        lo += n * inner, first += n;
    }
    if (lo < hi) copy_range(to, from + first * at, s, o, dim + 1, 0, hi - lo);
}

/* Merges neighbouring dims where every strided source allows it; strides of the others are not looked at. */
static void collapse(walk *w, source *s, int n, const ry_spec *o) {
    w->rank = 0;
    for (int d = 0; d < o->rank; d++) {
        if (o->dim[d] == 1) continue;
        bool merge = w->rank > 0;
        for (int r = 0; r < n && merge; r++)
            merge = s[r].kind != STRIDED || s[r].stride[w->rank - 1] == s[r].stride[d] * o->dim[d];
        int k = merge ? w->rank - 1 : w->rank++;
        w->dim[k] = merge ? w->dim[k] * o->dim[d] : o->dim[d];
        for (int r = 0; r < n; r++) s[r].stride[k] = s[r].stride[d];
    }
}

static void seek(walk *w, source *s, int n, int64_t i) {
    for (int r = 0; r < n; r++) s[r].at = 0;
    for (int d = w->rank - 1; d >= 0; d--) {
        w->coord[d] = i % w->dim[d];
        i /= w->dim[d];
        if (d < w->rank - 1)
            for (int r = 0; r < n; r++)
                if (s[r].kind == STRIDED) s[r].at += w->coord[d] * s[r].stride[d];
    }
}

/* To the next row; returns the change in the element offset of source s with the coordinates in c. */
static int64_t next_row(const walk *w, int64_t *c, const source *s) {
    int64_t moved = 0;
    for (int d = w->rank - 2; d >= 0; d--) {
        moved += s->stride[d];
        if (++c[d] < w->dim[d]) break;
        moved -= c[d] * s->stride[d];
        c[d] = 0;
    }
    return moved;
}

/* m elements from where the walk is, across rows. */
static void gather(char *y, const source *s, const walk *w, int64_t m) {
    int64_t c[RY_MAX_RANK], at = s->at, len = w->dim[w->rank - 1], stride = s->stride[w->rank - 1];
    memcpy(c, w->coord, (size_t)w->rank * sizeof *c);
    for (int64_t inner = c[w->rank - 1], run; m > 0; m -= run, inner = 0) {
        run = len - inner < m ? len - inner : m;
        load_run(y, s, s->data + (at + inner * stride) * (int64_t)s->bytes, stride, run);
        y += (size_t)run * reg_bytes(s->reg);
        at += next_row(w, c, s);
    }
}

static void advance(walk *w, source *s, int n, int64_t i, int64_t m) {
    int last = w->rank - 1;
    if (!w->rows) {
        seek(w, s, n, i + m);
        return;
    }
    if ((w->coord[last] += m) < w->dim[last]) return;
    w->coord[last] = 0;
    int64_t c[RY_MAX_RANK];
    memcpy(c, w->coord, sizeof c);
    for (int r = 0; r < n; r++) {
        if (s[r].kind != STRIDED) continue;
        memcpy(c, w->coord, (size_t)w->rank * sizeof *c);
        s[r].at += next_row(w, c, &s[r]);
    }
    memcpy(w->coord, c, (size_t)w->rank * sizeof *c);
}

/* ---------------------------------------------------------------- the plan of a part */

typedef struct plan {
    source src[RY_MAX_SRC];
    step step[RY_MAX_LINKS];
    const char *at[MAX_REGS]; /* where each register is in this block */
    map_reg reg[MAX_REGS];
    bool strided, blocks; /* any strided source; any register in scratch */
    unsigned stream;      /* bits: outputs too large for caches that take no source's place */
    walk walk;
} plan;

static uint64_t take(uint64_t *free_) { /* lowest free slot */
    uint64_t bit = *free_ & (~*free_ + 1);
    *free_ &= ~bit;
    return bit;
}
static int index_of(uint64_t bit) {
    int i = 0;
    while (bit > 1) bit >>= 1, i++;
    return i;
}

/* Which letters (a b c y g) the link's sources are, in order. */
static void place_inputs(step *s, const ry_link *l) {
    unsigned uses = l->op == &ry_op_cast_row ? 1u : map_letters(l->op);
    for (int k = 0, i = 0; k < MAP_LETTERS; k++) s->in[k] = uses >> k & 1u ? l->in[i++] : (int16_t)-1;
}

/* The register type a formula computes in: that of its numbers (select's condition is none). */
static map_reg type_of(const plan *p, const step *s, bool select) {
    for (int k = select ? 1 : 0; k < MAP_LETTERS; k++)
        if (s->in[k] >= 0) return p->reg[s->in[k]];
    return p->reg[s->in[0]];
}

/* The longest part, in elements. */
static int64_t part_len(const ry_chain *ch) { return ch->n_link <= 2 ? 32768 : ch->n_link <= 8 ? 16384 : 8192; }
static int64_t part_count(const ry_chain *ch, int64_t total) {
    int64_t len = part_len(ch);
    return total > len ? (total + len - 1) / len : 1;
}
static bool is_wide(const ry_node *n, const ry_chain *ch) {
    bool wide = false;
    for (int r = 0; r < ch->n_src; r++) wide |= n->src[r]->spec.dtype == RY_I64;
    for (int l = 0; l < ch->n_link; l++) wide |= ch->link[l].dtype == RY_I64;
    return wide;
}
static size_t slots_bytes(const ry_node *n, const ry_chain *ch) { /* a slot for each register and one for conversions */
    return (size_t)(ch->n_src + ch->n_link + 1) * BLOCK * (is_wide(n, ch) ? 8 : 4);
}

static void make_plan(plan *p, const ry_chain *ch, const ry_cpu *c, int64_t begin, int64_t end) {
    const ry_spec *o = &c->n->out[0].spec;
    int64_t count = end - begin;
    char *copies = (char *)c->local + slots_bytes(c->n, ch); /* of transposed sources */
    int n_src = ch->n_src, n_reg = n_src + ch->n_link;
    int16_t last[MAX_REGS]; /* link after which a register is not needed */
    memset(last, -1, (size_t)n_reg * sizeof *last);
    p->strided = p->blocks = false;
    p->walk.rows = true;
    for (int r = 0; r < n_src; r++) {
        source *s = &p->src[r];
        const ry_value *v = c->n->src[r];
        s->data = c->src[r];
        s->dtype = v->spec.dtype;
        s->bytes = (size_t)ry_dtype_row(s->dtype)->bytes;
        p->reg[r] = s->reg = reg_of(s->dtype);
        classify(s, v, o);
        if (is_transposed(s, o)) { /* from here on it is as if dense */
            copy_range(copies, s->data, s, o, 0, begin, end);
            s->data = copies - begin * (int64_t)s->bytes;
            s->kind = FLAT;
            copies += (size_t)part_len(ch) * s->bytes;
        }
        p->strided |= s->kind == STRIDED;
        s->in_place = s->kind == FLAT && is_reg(s->dtype);
    }
    if (p->strided) {
        walk *w = &p->walk;
        collapse(w, p->src, n_src, o);
        w->rows = w->dim[w->rank - 1] >= LONG_ROW;
        for (int r = 0; r < n_src; r++)
            if (p->src[r].kind == STRIDED)
                p->src[r].in_place = w->rows && p->src[r].stride[w->rank - 1] == 1 && is_reg(p->src[r].dtype);
    }
    for (int l = 0; l < ch->n_link; l++) {
        const ry_link *k = &ch->link[l];
        p->reg[n_src + l] = reg_of(k->dtype);
        for (int i = 0; i < MAP_LETTERS && k->in[i] >= 0; i++) last[k->in[i]] = (int16_t)l;
    }
    size_t slot_bytes = BLOCK * (is_wide(c->n, ch) ? (size_t)8 : (size_t)4);
    char *slots = (char *)c->local + slot_bytes; /* the first is `tmp` of settle and convert */
    uint64_t free_ = ~(uint64_t)0, slot_of[MAX_REGS];
    unsigned loaded = 0;
    /* Constants are written once for all blocks, so their slots are nobody else's. */
    for (int r = 0; r < n_reg; r++) {
        const ry_link *k = r < n_src ? NULL : &ch->link[r - n_src];
        char element[8];
        slot_of[r] = 0;
        if (k ? k->op != &ry_op_fill_row : p->src[r].kind != SPLAT) continue;
        char *slot = slots + (size_t)index_of(take(&free_)) * slot_bytes;
        if (k) fused_element(element, k->dtype, k->value);
        splat(slot, p->reg[r], k ? element : p->src[r].data, k ? k->dtype : p->src[r].dtype,
              count < BLOCK ? count : BLOCK);
        p->at[r] = slot;
        p->blocks = true;
    }
    /* An output in place of a source that is still read later waits until the block's end: its register stays. */
    unsigned late = 0;
    p->stream = 0;
    for (int j = 0; j < ch->n_out; j++) {
        int r = ch->out[j];
        assert(r >= n_src);
        if (ry_bytes_of(c->n->out[j].spec.dtype, ry_count(o)) >= SIMD_STREAM_BYTES) p->stream |= 1u << j;
        for (int s = 0; s < n_src; s++)
            if (c->src[s] == c->out[j]) {
                p->stream &= ~(1u << j); /* its lines are in the cache already */
                if (last[s] > r - n_src) late |= 1u << j;
            }
        if (late >> j & 1u) last[r] = (int16_t)ch->n_link;
    }
    for (int l = 0; l < ch->n_link; l++) {
        const ry_link *k = &ch->link[l];
        step *s = &p->step[l];
        int me = n_src + l;
        s->reg = p->reg[me];
        s->dtype = k->dtype;
        s->load = s->store = 0;
        s->direct = -1;
        s->slot = NULL;
        if (k->op == &ry_op_fill_row) {
            s->kind = STEP_NONE;
        } else {
            bool cast = k->op == &ry_op_cast_row;
            char cls = cast ? 'N' : map_table[k->op->map].cls[0];
            place_inputs(s, k);
            s->kind = cast ? STEP_CAST : STEP_MAP;
            map_reg t = type_of(p, s, cls == 'S' && s->in[0] >= 0);
            s->fn = cast ? NULL : simd_map(k->op->map, k->op->form, t);
            assert(cast || s->fn);
            s->settle =
                !cast && !is_reg(k->dtype) && k->dtype != RY_F64 && !(k->dtype == RY_BOOL && cls != 'N' && cls != 'I');
            bool same = !cast; /* the result may take a dying input's slot if all registers are of one size */
            for (int i = 0; i < MAP_LETTERS; i++) {
                int r = s->in[i];
                if (r < 0) continue;
                if (reg_bytes(p->reg[r]) != reg_bytes(s->reg)) same = false;
                if (r >= n_src || loaded >> r & 1u) continue;
                loaded |= 1u << r;
                source *q = &p->src[r];
                if (q->kind == SPLAT) continue;
                s->load |= 1u << r;
                if (q->in_place) continue;
                slot_of[r] = take(&free_);
                q->slot = slots + (size_t)index_of(slot_of[r]) * slot_bytes;
                p->blocks = true;
            }
            uint64_t dying = 0;
            for (int i = 0; i < MAP_LETTERS; i++)
                if (s->in[i] >= 0 && last[s->in[i]] == l) dying |= slot_of[s->in[i]];
            if (same) free_ |= dying;
            for (int j = 0; j < ch->n_out && s->direct < 0; j++)
                if (ch->out[j] == me && is_reg(k->dtype) && !((late | p->stream) >> j & 1u)) s->direct = j;
            if (s->direct < 0) {
                slot_of[me] = take(&free_);
                s->slot = slots + (size_t)index_of(slot_of[me]) * slot_bytes;
                p->blocks = true;
            }
            if (!same) free_ |= dying;
        }
        for (int j = 0; j < ch->n_out; j++)
            if (ch->out[j] == me && j != s->direct && !(late >> j & 1u)) s->store |= 1u << j;
        if (last[me] < 0) free_ |= slot_of[me]; /* nobody reads it again */
    }
    if (late) p->step[ch->n_link - 1].store |= late;
}

/* ---------------------------------------------------------------- running */

static void load_source(plan *p, int r, int64_t i, int64_t m) {
    source *s = &p->src[r];
    if (s->kind == FLAT) {
        const char *x = s->data + (size_t)i * s->bytes;
        if (!s->in_place) load(s->slot, x, s->dtype, m);
        p->at[r] = s->in_place ? x : s->slot;
        return;
    }
    const walk *w = &p->walk;
    if (s->in_place)
        p->at[r] = s->data + (s->at + w->coord[w->rank - 1]) * (int64_t)s->bytes;
    else
        gather(s->slot, s, w, m), p->at[r] = s->slot;
}

void fused_run(const ry_chain *ch, const ry_cpu *c) {
    const ry_spec *o = &c->n->out[0].spec;
    int64_t total = ry_count(o), begin = 0, end = total, m;
    int64_t parts = part_count(ch, total);
    if (parts > 1) {
        int64_t len = ((total + parts - 1) / parts + BLOCK - 1) / BLOCK * BLOCK;
        begin = c->part * len < total ? c->part * len : total;
        end = begin + len < total ? begin + len : total;
    }
    if (begin >= end) return;
    plan p;
    make_plan(&p, ch, c, begin, end);
    void *tmp = c->local;
    size_t out_bytes[RY_MAX_OUT];
    for (int j = 0; j < ch->n_out; j++) out_bytes[j] = (size_t)ry_dtype_row(c->n->out[j].spec.dtype)->bytes;
    if (p.strided) seek(&p.walk, p.src, ch->n_src, begin);
    for (int64_t i = begin; i < end; i += m) {
        m = !p.blocks || end - i < BLOCK ? end - i : BLOCK;
        if (p.strided && p.walk.rows) {
            int64_t row = p.walk.dim[p.walk.rank - 1] - p.walk.coord[p.walk.rank - 1];
            if (m > row) m = row;
        }
        for (int l = 0; l < ch->n_link; l++) {
            const step *s = &p.step[l];
            if (s->kind != STEP_NONE) {
                for (int r = 0; s->load >> r; r++)
                    if (s->load >> r & 1u) load_source(&p, r, i, m);
                char *y = s->direct < 0 ? s->slot : (char *)c->out[s->direct] + (size_t)i * out_bytes[s->direct];
                if (s->kind == STEP_CAST) {
                    convert(y, s->dtype, p.at[s->in[0]], p.reg[s->in[0]], m, tmp);
                } else {
                    const void *in[MAP_LETTERS];
                    for (int k = 0; k < MAP_LETTERS; k++) in[k] = s->in[k] < 0 ? NULL : p.at[s->in[k]];
                    s->fn(y, in, m);
                }
                if (s->settle) settle(y, s->dtype, m, tmp);
                p.at[ch->n_src + l] = y;
            }
            for (int j = 0; s->store >> j; j++) {
                if (!(s->store >> j & 1u)) continue;
                char *y = (char *)c->out[j] + (size_t)i * out_bytes[j];
                if (p.stream >> j & 1u)
                    store_large(y, p.at[ch->out[j]], c->n->out[j].spec.dtype, m, tmp);
                else
                    store(y, p.at[ch->out[j]], c->n->out[j].spec.dtype, m);
            }
        }
        if (p.strided && i + m < end) advance(&p.walk, p.src, ch->n_src, i, m);
    }
    if (p.stream) simd_stream_end();
}

ry_work fused_work(const ry_node *n, const ry_chain *ch) {
    ry_work w = {.parts = {part_count(ch, ry_count(&n->out[0].spec))}, .local = slots_bytes(n, ch)};
    for (int r = 0; r < ch->n_src; r++) {
        source s;
        classify(&s, n->src[r], &n->out[0].spec);
        if (is_transposed(&s, &n->out[0].spec))
            w.local += (size_t)part_len(ch) * (size_t)ry_dtype_row(n->src[r]->spec.dtype)->bytes;
    }
    return w;
}

void fused_single(ry_chain *ch, const ry_node *n, const void *args) {
    ry_link *l = &ch->link[0];
    ch->n_src = n->n_src;
    ch->n_link = ch->n_out = 1;
    ch->out[0] = (int16_t)n->n_src;
    l->op = n->op;
    l->dtype = n->out[0].spec.dtype;
    l->value = n->op == &ry_op_fill_row ? ((const ry_fill_args *)args)->value : 0;
    for (int i = 0; i < MAP_LETTERS; i++) l->in[i] = (int16_t)(i < n->n_src ? i : -1);
}

/* ---------------------------------------------------------------- the row */

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_chain *ch = n->args;
    if (!ch || ch->n_src != n->n_src)
        return ry_fail_node(n, RY_EARG, "a chain of %d sources is given %d", ch ? ch->n_src : 0, n->n_src);
    ry_spec shape = {.rank = 0};
    for (int r = 0; r < n->n_src; r++)
        if (ry_broadcast(&shape, &shape, &n->src[r]->spec) != RY_OK)
            return ry_fail_node(n, RY_ESHAPE, "source %d is %s, those before it %s: they do not broadcast", r,
                                ry_show(&n->src[r]->spec).s, ry_show(&shape).s);
    for (int j = 0; j < ch->n_out; j++) {
        if (ch->out[j] < ch->n_src || ch->out[j] >= ch->n_src + ch->n_link)
            return ry_fail_node(n, RY_EARG, "output %d is no link's result", j);
        out[j] = shape;
        out[j].dtype = ch->link[ch->out[j] - ch->n_src].dtype;
    }
    return RY_OK;
}

static ry_work work(const ry_node *n) { return fused_work(n, n->args); }
static ry_status cpu(const ry_cpu *c) {
    fused_run(c->args, c);
    return RY_OK;
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    return fused_launch(n->args, n, l);
}

/* Link by link, through the rows' own lowering to dtype: what the chain was made from. */
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const ry_chain *ch = n->args;
    ry_tensor reg[MAX_REGS];
    for (int r = 0; r < ch->n_src; r++) reg[r] = ry_src(g, n, r);
    for (int l = 0; l < ch->n_link; l++) {
        const ry_link *k = &ch->link[l];
        ry_tensor in[MAP_LETTERS];
        size_t n_in = 0;
        while (n_in < MAP_LETTERS && k->in[n_in] >= 0) in[n_in] = reg[k->in[n_in]], n_in++;
        if (k->op == &ry_op_fill_row)
            reg[ch->n_src + l] = ry_fill(g, &(ry_spec){.dtype = k->dtype}, k->value);
        else if (k->op == &ry_op_cast_row)
            reg[ch->n_src + l] = ry_cast(g, in[0], k->dtype);
        else {
            reg[ch->n_src + l] = ry_apply_row(g, k->op, n_in, in, NULL);
            const ry_spec *s = ry_spec_of(g, reg[ch->n_src + l]);
            if (s && s->dtype != k->dtype) reg[ch->n_src + l] = ry_cast(g, reg[ch->n_src + l], k->dtype);
        }
    }
    for (int j = 0; j < ch->n_out; j++) out[j] = reg[ch->out[j]];
    return ry_graph_ok(g) ? RY_OK : ry_graph_status(g);
}

static ry_cost cost(const ry_node *n) {
    const ry_chain *ch = n->args;
    double bytes = 0, total = (double)ry_count(&n->out[0].spec);
    for (int r = 0; r < n->n_src; r++) bytes += (double)ry_bytes_of(n->src[r]->spec.dtype, ry_count(&n->src[r]->spec));
    for (int j = 0; j < n->n_out; j++) bytes += (double)ry_bytes_of(n->out[j].spec.dtype, ry_count(&n->out[j].spec));
    return (ry_cost){.flops = total * ch->n_link, .bytes = bytes};
}

/* (a + b) + 0.5 and that plus a: broadcast sources, an immediate, two outputs. */
static const ry_chain sample_chain = {.n_src = 2,
                                      .n_link = 4,
                                      .n_out = 2,
                                      .link = {{&ry_op_add_row, {0, 1, -1, -1, -1}, RY_F32, 0},
                                               {&ry_op_fill_row, {-1, -1, -1, -1, -1}, RY_F32, 0.5},
                                               {&ry_op_add_row, {2, 3, -1, -1, -1}, RY_F32, 0},
                                               {&ry_op_add_row, {4, 0, -1, -1, -1}, RY_F32, 0}},
                                      .out = {4, 5}};
static const ry_sample samples[] = {{.name = "plain",
                                     .src = {{RY_F32, 2, {7, 33}, 0, 0, NULL}, {RY_F32, 2, {7, 33}, 0, 0, NULL}},
                                     .n_src = 2,
                                     .args = &sample_chain,
                                     .flags = RY_SAMPLE_F32_ONLY},
                                    {.name = "row",
                                     .src = {{RY_F32, 3, {3, 5, 400}, 0, 0, NULL}, {RY_F32, 1, {400}, 0, 0, NULL}},
                                     .n_src = 2,
                                     .args = &sample_chain,
                                     .flags = RY_SAMPLE_F32_ONLY},
                                    {.name = "column",
                                     .src = {{RY_F32, 2, {1, 17}, 0, 0, NULL}, {RY_F32, 2, {9, 1}, 0, 0, NULL}},
                                     .n_src = 2,
                                     .args = &sample_chain,
                                     .flags = RY_SAMPLE_F32_ONLY},
                                    {.name = "scalar",
                                     .src = {{RY_F32, 0, {0}, 0, 0, NULL}, {RY_F32, 1, {1}, 0, 0, NULL}},
                                     .n_src = 2,
                                     .args = &sample_chain,
                                     .flags = RY_SAMPLE_F32_ONLY},
                                    {.name = "empty",
                                     .src = {{RY_F32, 2, {0, 4}, 0, 0, NULL}, {RY_F32, 1, {4}, 0, 0, NULL}},
                                     .n_src = 2,
                                     .args = &sample_chain,
                                     .flags = RY_SAMPLE_F32_ONLY},
                                    {0}};

static const ry_op row_fused = {.name = "fused",
                                .doc = "a chain of elementwise operators: sources broadcast to the outputs' shape",
                                .arg_size = sizeof(ry_chain),
                                .min_src = 0,
                                .max_src = RY_MAX_SRC,
                                .flags = RY_OP_INPLACE,
                                .strided = (1u << RY_MAX_SRC) - 1,
                                .infer = infer,
                                .work = work,
                                .cpu = cpu,
                                .lower = lower,
                                .launch = launch,
                                .cut = ry_cut_elements,
                                .cost = cost,
                                .samples = samples};
RY_OP_MODULE(fused, &row_fused);
