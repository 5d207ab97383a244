/* plan_place.c - where every intermediate and scratch lies in the slab: offsets by lifetime, in place where allowed. */
#include "core/plan.h"
#include <stdlib.h>
#include <string.h>

enum { LEAST_ALIGN = 64 }; /* a cache line */

typedef struct place { size_t bytes, at; int first, last; int storage, step; } place; /* step >= 0: its scratch */

static int compare_size(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->first != y->first ? (x->first < y->first ? -1 : 1) : x->storage - y->storage + (x->step - y->step);
}

static size_t within_piece(size_t at, size_t bytes, size_t piece) {
    return piece && at / piece != (at + bytes - 1) / piece ? (at / piece + 1) * piece : at;
}

/* Largest first, each at the lowest offset that is free during its whole life ("greedy by size": Pisarchyk and Lee 2020,
 * "Efficient Memory Management for Deep Neural Net Inference"). */
static ry_status assign(ry_plan *p, place *x, int n, size_t piece) {
    typedef struct taken { size_t at, end; int first, last; } taken;
    taken *by_offset = ry_mem_alloc(ry_mem_size((size_t)n, sizeof *by_offset, 1)); /* the placed ones, lowest first */
    if (!by_offset) return RY_ENOMEM;
    if (n) qsort(x, (size_t)n, sizeof *x, compare_size);
    for (int i = 0; i < n; i++) {
        size_t at = 0;
        if (piece && x[i].bytes > piece) {
            int step = x[i].step >= 0 ? x[i].step : x[i].first;
            ry_mem_free(by_offset);
            return ry_fail_node(p->steps[step].node, RY_EUNSUPPORTED, "needs %.1f MB in one piece; this device gives %.1f MB", (double)x[i].bytes / 1e6, (double)piece / 1e6);
        }
        int k = 0;
        for (; k < i && by_offset[k].at < at + x[i].bytes; k++)
            if (by_offset[k].end > at && by_offset[k].first <= x[i].last && x[i].first <= by_offset[k].last)
                at = within_piece(by_offset[k].end, x[i].bytes, piece);
        x[i].at = at;
        if (at > SIZE_MAX - x[i].bytes) {
            ry_mem_free(by_offset);
            return ry_nomem(SIZE_MAX);
        }
        if (at + x[i].bytes > p->slab) p->slab = at + x[i].bytes;
        while (k > 0 && by_offset[k - 1].at > at) k--;
        memmove(by_offset + k + 1, by_offset + k, (size_t)(i - k) * sizeof *by_offset);
        by_offset[k] = (taken){at, at + x[i].bytes, x[i].first, x[i].last};
    }
    ry_mem_free(by_offset);
    return RY_OK;
}

/* May output `out` of n take the storage of one of its sources? The source must die here, fill the same bytes in the same order, and
 * be read element by element only: no other source may see these bytes, in an elementwise row none in another order. */
static int reusable(const ry_plan *p, const ry_node *n, int step, int out) {
    bool any = n->op->flags & (RY_OP_MAP | RY_OP_INPLACE);
    if (!any && (!(n->op->flags & RY_OP_INPLACE0) || out > 0)) return -1;
    for (int i = 0; i < (any ? n->n_src : 1); i++) {
        const ry_value *v = n->src[i];
        if (!v) continue;
        int s = plan_storage_of(p, v);
        const plan_storage *st = &p->storages[s];
        if (st->where != PLAN_SLAB || st->last != step || v->offset || !ry_is_dense(v)) continue;
        if (!ry_same_shape(&v->spec, &n->out[out].spec) || ry_dtype_row(v->spec.dtype)->bytes != ry_dtype_row(n->out[out].spec.dtype)->bytes ||
            st->bytes != p->storages[plan_storage_of(p, &n->out[out])].bytes)
            continue;
        bool alone = true;
        for (int k = 0; k < n->n_src; k++)
            if (k != i && n->src[k] && plan_storage_of(p, n->src[k]) == s && (!any || n->src[k] != v)) alone = false;
        for (int k = 0; k < out; k++)
            if (plan_storage_of(p, &n->out[k]) == s) alone = false; /* taken by an earlier output */
        if (alone) return s;
    }
    return -1;
}

/* Two storages never share a unit of align: so bindings of different storages, rounded to it, do not overlap. */
ry_status plan_place(ry_plan *p, bool inplace, size_t align, size_t piece) {
    if (align < LEAST_ALIGN) align = LEAST_ALIGN;
    /* A storage for each computed value; a writer's output shares its variable's. */
    for (int i = 0; i < p->n_steps; i++) {
        const ry_node *n = p->steps[i].node;
        for (int o = 0; o < n->n_out; o++) {
            const ry_value *v = &n->out[o];
            if (v->base != v) continue;
            plan_storage *s = &p->storages[p->n_storages];
            p->storage_of[(size_t)n->id * RY_MAX_OUT + (size_t)o] = p->n_storages++;
            s->bytes = ry_bytes_of(v->spec.dtype, ry_count(&v->spec));
            s->first = s->last = i;
        }
        for (int k = 0; k < n->n_src; k++)
            if (n->src[k]) p->storages[plan_storage_of(p, n->src[k])].last = i;
    }
    for (int i = 0; i < p->n_want; i++) {
        plan_storage *s = &p->storages[p->want[i].storage = plan_storage_of(p, p->want[i].value)];
        if (s->where == PLAN_SLAB) s->where = PLAN_OUTPUT, s->slot = p->n_outputs++;
    }
    p->output_bytes = RY_NEW(&p->arena, size_t, p->n_outputs + 1);
    if (!p->output_bytes) return RY_ENOMEM;
    for (int i = 0; i < p->n_storages; i++)
        if (p->storages[i].where == PLAN_OUTPUT) {
            p->output_bytes[p->storages[i].slot] = p->storages[i].bytes;
            p->info.outputs += p->storages[i].bytes;
        }
    for (int i = 0; i < p->n_steps && inplace; i++) {
        const ry_node *n = p->steps[i].node;
        for (int o = 0; o < n->n_out; o++) {
            int own = plan_storage_of(p, &n->out[o]), s;
            if (p->storages[own].where != PLAN_SLAB || n->out[o].base != &n->out[o] || (s = reusable(p, n, i, o)) < 0) continue;
            p->storages[s].last = p->storages[own].last;
            p->storages[own].first = -1; /* void */
            p->storage_of[(size_t)n->id * RY_MAX_OUT + (size_t)o] = s;
        }
    }
    place *x = ry_mem_zalloc(ry_mem_size((size_t)(p->n_storages + p->n_steps), sizeof *x, 1));
    if (!x) return RY_ENOMEM;
    int n = 0;
    for (int i = 0; i < p->n_storages; i++) {
        const plan_storage *s = &p->storages[i];
        if (s->where != PLAN_SLAB || s->first < 0 || !s->bytes) continue;
        x[n++] = (place){.bytes = (s->bytes + align - 1) / align * align, .first = s->first, .last = s->last, .storage = i, .step = -1};
    }
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].work.scratch)
            x[n++] = (place){.bytes = (p->steps[i].work.scratch + align - 1) / align * align, .first = i, .last = i, .storage = -1, .step = i};
    ry_status st = assign(p, x, n, piece / align * align);
    size_t scratch = 0;
    for (int i = 0; i < n; i++) {
        if (x[i].step >= 0) p->steps[x[i].step].scratch_at = x[i].at;
        else p->storages[x[i].storage].at = x[i].at;
        if (x[i].step >= 0 && x[i].bytes > scratch) scratch = x[i].bytes;
    }
    p->info.scratch = scratch;
    p->info.activations = p->slab > scratch ? p->slab - scratch : 0;
    ry_mem_free(x);
    return st;
}
