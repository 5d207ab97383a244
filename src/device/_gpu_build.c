/* _gpu_build.c - from a plan to what a WebGPU device runs: bindings and their windows, pieces of what no binding holds, kernels, uniforms,
 * bind groups.
 *
 * Owns ry_program.impl (gpu_program) and everything in it. Never submits, and knows no formula: rows say what they launch and how they
 * may be cut. */
#include "_gpu.h"

#if defined(RUSTY_HAVE_WGPU)
#include "core/tune.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { UNIFORM_TAIL = 256 }; /* bytes: bindings of uniforms are rounded up */

static const ry_variant *choose(ry_device *d, const ry_node *n) { return tune_choose(d->tuning, n, &d->caps); }

/* ---- bindings: which, and the windows of storages in them ---- */

/* The elements that a view reaches, from its storage's begin: [lo, hi). */
static void reach(const ry_value *v, int64_t *lo, int64_t *hi) {
    *lo = *hi = v->offset;
    for (int i = 0; i < v->spec.rank; i++) {
        int64_t span = (v->spec.dim[i] - 1) * v->stride[i];
        if (v->spec.dim[i] <= 0) return;
        if (span < 0) *lo += span;
        else *hi += span;
    }
    *hi += 1;
}

/* The bytes of v's storage that a binding must hold, begin and length; the whole where it fits. p NULL: the storage is not known yet. */
static void window_of(const ry_device *d, const ry_program *p, const ry_value *v, size_t *from, size_t *bytes) {
    size_t whole = p ? p->plan->storages[plan_storage_of(p->plan, v)].bytes : 0, align = d->caps.align > GPU_WHOLE ? d->caps.align : GPU_WHOLE;
    int64_t lo, hi, block = ry_dtype_row(v->spec.dtype)->block;
    *from = 0, *bytes = whole;
    if (p && whole <= d->caps.max_binding) return;
    reach(v, &lo, &hi);
    *from = ry_bytes_of(v->spec.dtype, lo) / align * align;
    *bytes = ry_bytes_of(v->spec.dtype, (hi + block - 1) / block * block) - *from;
}

/* Bindings that every dispatch sees in parts: their operand is alone in them. */
static ry_status check_parts(const ry_node *n, const ry_launch *l, gpu_step *s) {
    uint32_t whole = 0, parts = 0, many = 0, seen = 0;
    for (int i = 0; i < RY_OPERANDS; i++) {
        if (s->k.binding[i] < 0) continue;
        uint32_t b = 1u << s->k.binding[i];
        many |= seen & b, seen |= b;
        for (int k = 0; k < l->n_dispatch; k++) {
            if (l->dispatch[k].part >> i & 1u) parts |= b;
            else if (!l->dispatch[k].uses || l->dispatch[k].uses >> i & 1u) whole |= b;
        }
    }
    if (parts & many) return ry_fail_node(n, RY_EUNSUPPORTED, "two of its tensors share the memory of one that runs in parts");
    s->in_parts = parts & ~whole;
    return RY_OK;
}

/* The storages of a step's operands become its bindings: operands of one storage share one. */
static ry_status find_bindings(const ry_device *d, const ry_program *p, const ry_launch *l, gpu_step *s) {
    int storage[RY_OPERANDS];
    const ry_node *n = s->node;
    uint32_t uses = 0;
    for (int i = 0; i < l->n_dispatch; i++) uses |= l->dispatch[i].uses ? l->dispatch[i].uses : UINT32_MAX;
    for (int i = 0; i < RY_OPERANDS; i++) {
        const ry_value *v = launch_operand(n, i);
        s->k.binding[i] = -1;
        if (i == RY_OPERAND_SCRATCH ? !l->scratch : !v) continue;
        if (!(uses >> i & 1u)) continue;
        int id = v ? plan_storage_of(p->plan, v) : -2, b = 0;
        size_t from = 0, bytes = l->scratch;
        if (v) window_of(d, p, v, &from, &bytes);
        while (b < s->k.n_binding && storage[b] != id) b++;
        if (b == s->k.n_binding) {
            storage[s->k.n_binding++] = id;
            s->window[b] = from, s->window_bytes[b] = bytes;
        } else { /* both */
            size_t end = s->window[b] + s->window_bytes[b];
            if (from + bytes > end) end = from + bytes;
            if (from < s->window[b]) s->window[b] = from;
            s->window_bytes[b] = end - s->window[b];
        }
        s->k.binding[i] = b;
    }
    /* What nothing writes is bound for reading, which lets a driver keep it in faster caches, and steps that only read the same need not
     * wait for each other (AdamW's). In the slab only where the step writes nothing there: usage counts by whole buffers. */
    bool slab = s->k.binding[RY_OPERAND_SCRATCH] >= 0;
    for (int i = RY_OPERAND_OUT; i < RY_OPERAND_SCRATCH; i++)
        slab |= s->k.binding[i] >= 0 && p->plan->storages[storage[s->k.binding[i]]].where == PLAN_SLAB;
    for (int i = 0; i < RY_OPERAND_OUT; i++)
        if (s->k.binding[i] >= 0 && (!slab || p->plan->storages[storage[s->k.binding[i]]].where != PLAN_SLAB)) s->k.read_only |= 1u << s->k.binding[i];
    for (int i = RY_OPERAND_OUT; i < RY_OPERANDS; i++)
        if (s->k.binding[i] >= 0) s->k.read_only &= ~(1u << s->k.binding[i]);
    RY_TRY(check_parts(n, l, s));
    for (int b = 0; b < s->k.n_binding; b++)
        if (s->window_bytes[b] > d->caps.max_binding && !(s->in_parts >> b & 1u))
            return ry_fail_node(n, RY_EUNSUPPORTED, "one of its tensors has %.1f MB, a kernel of this device sees %.1f MB at most", (double)s->window_bytes[b] / 1e6,
                                (double)d->caps.max_binding / 1e6);
    for (int i = 0; i < RY_OPERANDS; i++) {
        const ry_value *v = launch_operand(n, i);
        int b = s->k.binding[i];
        if (b >= 0 && (!v || ry_dtype_row(v->spec.dtype)->block > 1 || (v->offset - (int64_t)(s->window[b] / (size_t)ry_dtype_row(v->spec.dtype)->bytes)) % 4 == 0))
            s->k.aligned |= 1u << i;
    }
    return RY_OK;
}

/* ---- cutting: a node whose operands no binding can hold runs in pieces ---- */

static bool too_large(const ry_device *d, const ry_program *p, const ry_value *v) {
    size_t from, bytes;
    if (!v) return false;
    window_of(d, p, v, &from, &bytes);
    return bytes > d->caps.max_binding;
}

/* Elements of the cut's length that a piece may have; 0: it need not be cut. */
static ry_status cut_piece(const ry_device *d, const ry_program *p, const ry_node *n, ry_cut *c, int64_t *piece) {
    bool any = false;
    *piece = 0;
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) any |= too_large(d, p, launch_operand(n, i));
    if (!any) return RY_OK;
    memset(c->axis, -1, sizeof c->axis);
    if (n->op->cut && n->op->cut(n, c) && !c->length) return RY_OK; /* its dispatches see to it */
    if (!n->op->cut || c->length < 1)
        return ry_fail_node(n, RY_EUNSUPPORTED, "one of its tensors is larger than the %.1f MB that a kernel of this device sees, and it does not run in pieces",
                            (double)d->caps.max_binding / 1e6);
    *piece = c->length;
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) {
        const ry_value *v = launch_operand(n, i);
        if (!v || !too_large(d, p, v)) continue;
        if (c->axis[i] < 0) return ry_fail_node(n, RY_EUNSUPPORTED, "%s is larger than the %.1f MB that a kernel of this device sees, and is needed whole", ry_show(&v->spec).s, (double)d->caps.max_binding / 1e6);
        int64_t lo, hi, fits;
        reach(v, &lo, &hi);
        fits = launch_piece(&d->caps, (double)ry_bytes_of(v->spec.dtype, hi - lo) / (double)c->length, c->length);
        if (fits < *piece) *piece = fits;
    }
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) { /* stores by fours may reach beyond a piece's end: into what is read next, where they work in place */
        const ry_value *v = launch_operand(n, i);
        if (v && c->axis[i] >= 0 && *piece % 4 && *piece * v->stride[c->axis[i]] % 4) *piece = 0;
    }
    return *piece > 0 ? RY_OK : ry_fail_node(n, RY_EUNSUPPORTED, "one row of its tensors is larger than a kernel of this device sees");
}

static ry_node *cut_node(ry_arena *a, const ry_node *n, const ry_cut *c, int64_t from, int64_t to) {
    ry_node *x = RY_NEW(a, ry_node, 1);
    ry_value *out = RY_NEW(a, ry_value, n->n_out + 1), *src = RY_NEW(a, ry_value, n->n_src + 1);
    if (!x || !out || !src) return NULL;
    *x = *n;
    x->out = out;
    for (int i = 0; i < n->n_out; i++) out[i] = n->out[i];
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i]) src[i] = *n->src[i], x->src[i] = &src[i];
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) {
        ry_value *v = i < RY_OPERAND_OUT ? (i < n->n_src && n->src[i] ? &src[i] : NULL) : i - RY_OPERAND_OUT < n->n_out ? &out[i - RY_OPERAND_OUT] : NULL;
        if (!v || c->axis[i] < 0) continue;
        v->offset += from * v->stride[c->axis[i]];
        v->spec.dim[c->axis[i]] = to - from;
    }
    return x;
}

/* Pieces of a node may take other variants than the whole. */
static ry_status work_of_pieces(ry_device *d, const ry_node *n, ry_launch *l, ry_text *text, ry_work *w) {
    ry_arena a = {0};
    ry_cut c = {0};
    int64_t piece, from[2] = {0, 0};
    ry_status st = RY_OK;
    if (cut_piece(d, NULL, n, &c, &piece) != RY_OK || !piece) return RY_OK; /* what cannot be is said when it is built */
    from[1] = (c.length - 1) / piece * piece;
    for (int i = 0; i < 2 && st == RY_OK; i++) {
        const ry_node *x = cut_node(&a, n, &c, from[i], from[i] + piece < c.length ? from[i] + piece : c.length);
        text->n = 0;
        st = x ? launch_node(l, x, n->args, choose(d, x), &d->caps, text) : RY_ENOMEM;
        if (st == RY_OK && l->scratch > w->scratch) w->scratch = l->scratch;
    }
    ry_arena_free(&a);
    return st;
}

ry_status gpu_work(ry_device *d, const ry_node *n, ry_work *w) {
    ry_launch *l = ry_mem_alloc(sizeof *l);
    ry_text text = {0};
    if (!l) return RY_ENOMEM;
    ry_status st = launch_node(l, n, n->args, choose(d, n), &d->caps, &text);
    w->scratch = l->scratch;
    if (st == RY_OK) st = work_of_pieces(d, n, l, &text, w);
    ry_text_free(&text);
    ry_mem_free(l);
    return st;
}

/* ---- steps: kernels, bindings, uniforms ---- */

static uint32_t dispatch_mask(const gpu_step *s, const ry_dispatch *x) {
    uint32_t mask = 0;
    for (int i = 0; i < RY_OPERANDS; i++)
        if (s->k.binding[i] >= 0 && (!x->uses || x->uses >> i & 1u)) mask |= 1u << s->k.binding[i];
    return mask;
}

int64_t gpu_grid_row(const gpu *g, int64_t groups) {
    int64_t most = g->lim.maxComputeWorkgroupsPerDimension, rows = (groups + most - 1) / most;
    return rows > 1 ? (groups + rows - 1) / rows : groups;
}

/* The bytes of its storage that a dispatch, or bind group, that sees operand i in a part binds. */
static void part_window(const gpu *g, const ry_value *v, int64_t from, int64_t to, size_t *begin, size_t *bytes) {
    size_t align = g->lim.minStorageBufferOffsetAlignment > GPU_WHOLE ? g->lim.minStorageBufferOffsetAlignment : GPU_WHOLE;
    *begin = ry_bytes_of(v->spec.dtype, v->offset + from * v->stride[0]) / align * align;
    *bytes = ry_bytes_of(v->spec.dtype, v->offset + to * v->stride[0]) - *begin;
}

/* Where operand i begins in its binding: elements, bytes of block dtypes. Before it, modulo 2^32, where the binding holds a later part. */
static uint32_t place_of(const gpu *g, const gpu_step *s, const ry_dispatch *x, const ry_value *v, int i) {
    const ry_dtype_info *t = ry_dtype_row(v->spec.dtype);
    size_t window = s->window[s->k.binding[i]], bytes;
    if (x->part >> i & 1u) part_window(g, v, x->from, x->to, &window, &bytes);
    return t->kind == RY_KIND_BLOCK ? (uint32_t)(ry_bytes_of(v->spec.dtype, v->offset) - window) : (uint32_t)(v->offset - (int64_t)(window / (size_t)t->bytes));
}

void gpu_fill_slot(gpu *g, gpu_program *x, const gpu_step *s, const ry_launch *l, bool all) {
    const ry_node *n = s->node;
    for (int64_t r = 0; r < s->rounds; r++)
        for (int d = 0; d < s->n_dispatch; d++) {
            uint32_t *w = (uint32_t *)(void *)(x->host + s->uniform_at + (size_t)(r * s->n_dispatch + d) * s->slot);
            for (int k = 0; k < s->k.n_word; k++) {
                const wgsl_word *word = &s->k.word[k];
                const ry_value *v;
                int64_t groups = l->dispatch[d].groups;
                if (word->kind == WGSL_VALUE) w[k] = wgsl_word_bits(&l->uniform[word->of]);
                if (!all) continue;
                switch ((wgsl_word_kind)word->kind) {
                case WGSL_GROUPS: w[k] = (uint32_t)groups; break;
                case WGSL_GRID: w[k] = (uint32_t)gpu_grid_row(g, groups); break;
                case WGSL_ROUND: w[k] = (uint32_t)r; break;
                case WGSL_AT:
                    v = launch_operand(n, word->of);
                    w[k] = !v ? 0 : place_of(g, s, &s->dispatch[d], v, word->of);
                    break;
                case WGSL_CUT_FROM: w[k] = (uint32_t)s->cut_from; break;
                case WGSL_CUT_LENGTH: w[k] = (uint32_t)s->cut_length; break;
                case WGSL_PART_FROM: w[k] = (uint32_t)s->dispatch[d].from; break;
                case WGSL_PART_TO: w[k] = (uint32_t)s->dispatch[d].to; break;
                case WGSL_VALUE: break;
                }
            }
        }
    size_t from = s->uniform_at, to = from + (size_t)(s->rounds * s->n_dispatch) * s->slot;
    if (x->dirty_from == x->dirty_to) x->dirty_from = from, x->dirty_to = to;
    if (from < x->dirty_from) x->dirty_from = from;
    if (to > x->dirty_to) x->dirty_to = to;
}

static double estimate(const gpu *g, const ry_node *n) {
    ry_cost c = plan_cost(n);
    double flops = g->budget_s < 0.2 ? 0.3e12 : 2e12, bytes = g->budget_s < 0.2 ? 30e9 : 200e9;
    return fmax(c.flops / flops, c.bytes / bytes) + 2e-6;
}

/* The kernel of a step, or of a piece of it: text, bindings, uniforms. */
static ry_status build_step(ry_device *d, ry_program *p, gpu_step *s, ry_launch *l, ry_text *head) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    const ry_node *n = s->node;
    ry_text text = {0};
    head->n = 0;
    if (head->at) head->at[0] = 0;
    s->variant = choose(d, n);
    RY_TRY(launch_node(l, n, p->args[s->plan_step], s->variant, &d->caps, head));
    if (l->scratch > p->plan->steps[s->plan_step].work.scratch) return ry_fail_node(n, RY_EINTERNAL, "asks for more scratch than was planned");
    RY_TRY(find_bindings(d, p, l, s));
    int some = 0;
    for (int k = 0; k < l->n_dispatch; k++)
        if (l->dispatch[k].groups > 0) l->dispatch[some++] = l->dispatch[k];
    if (!(l->n_dispatch = some)) return RY_OK; /* empty tensors: nothing to compile */
    s->rounds = l->rounds > 1 ? l->rounds : 1;
    s->n_dispatch = l->n_dispatch;
    if (!(s->dispatch = RY_NEW(&p->arena, ry_dispatch, l->n_dispatch + 1)) || !(s->pipe = RY_NEW(&p->arena, int, l->n_dispatch + 1)) ||
        !(s->group_of = RY_NEW(&p->arena, int, l->n_dispatch + 1)) || !(s->group = RY_NEW(&p->arena, gpu_bound, l->n_dispatch + 1)))
        return RY_ENOMEM;
    memcpy(s->dispatch, l->dispatch, (size_t)l->n_dispatch * sizeof *l->dispatch);
    s->estimate_s = estimate(g, n) + 1e-6 * (double)(s->rounds * s->n_dispatch);
    x->estimate_s += s->estimate_s;
    ry_status st = wgsl_module(&text, &s->k, n, s->variant, l);
    os_mutex_lock(g->lock);
    if (st == RY_OK) st = gpu_module_get(g, &s->mod, &text, !g->safe && tune_trusts(d->tuning, n->op));
    for (int k = 0; k < s->n_dispatch && st == RY_OK; k++) {
        uint32_t mask = dispatch_mask(s, &s->dispatch[k]), bindings = 0;
        const gpu_layout *lay;
        for (int b = 0; b < 32; b++) bindings += mask >> b & 1u;
        if (bindings > d->caps.max_bindings) {
            st = ry_fail_node(n, RY_EUNSUPPORTED, "needs %u storage buffers; the device binds %u", bindings, d->caps.max_bindings);
            break;
        }
        int64_t most = g->lim.maxComputeWorkgroupsPerDimension;
        if (s->dispatch[k].groups > most * most) {
            st = ry_fail_node(n, RY_EUNSUPPORTED, "needs %lld workgroups; the device runs %lld by %lld", (long long)s->dispatch[k].groups, (long long)most, (long long)most);
            break;
        }
        st = gpu_layout_get(g, &lay, mask, s->k.read_only);
        if (st == RY_OK) st = gpu_pipeline_get(s->mod, &s->pipe[k], s->dispatch[k].entry, lay);
        if (st != RY_OK) break;
        int q = 0;
        const ry_dispatch *run = &s->dispatch[k];
        while (q < s->n_group && (s->group[q].lay != lay || s->group[q].part != run->part || s->group[q].from != run->from || s->group[q].to != run->to)) q++;
        if (q == s->n_group) s->group[s->n_group++] = (gpu_bound){.lay = lay, .part = run->part, .from = run->from, .to = run->to};
        s->group_of[k] = q;
    }
    os_mutex_unlock(g->lock);
    ry_text_free(&text);
    RY_TRY(st);
    s->slot = gpu_round_up((size_t)s->k.n_word * 4, g->lim.minUniformBufferOffsetAlignment);
    s->uniform_at = x->uniform_bytes;
    size_t slots = (size_t)(s->rounds * s->n_dispatch), need = x->uniform_bytes + s->slot * slots + UNIFORM_TAIL;
    if (need > x->host_bytes) {
        char *grown = ry_mem_grow(x->host, need + need / 2);
        if (!grown) return RY_ENOMEM;
        memset(grown + x->host_bytes, 0, need + need / 2 - x->host_bytes);
        x->host = grown, x->host_bytes = need + need / 2;
    }
    x->uniform_bytes += s->slot * slots;
    gpu_fill_slot(g, x, s, l, true);
    return RY_OK;
}

/* Where a step's binding of operand i lies: storage, first byte, bytes. */
static void place_binding(const ry_device *d, const ry_program *p, const gpu_step *s, const gpu_bound *q, int i, const ry_buffer **buf, size_t *at, size_t *bytes) {
    int b = s->k.binding[i];
    const ry_value *v = launch_operand(s->node, i);
    size_t from = s->window[b], unused;
    *bytes = s->window_bytes[b];
    *buf = &d->slab, *at = p->plan->steps[s->plan_step].scratch_at;
    if (v) program_storage(p, v, buf, at, &unused);
    if (q && q->part >> i & 1u) part_window(d->impl, v, q->from, q->to, &from, bytes);
    *bytes = gpu_round_up(*bytes ? *bytes : 1, GPU_WHOLE);
    *at += from;
}

/* No binding reaches from one buffer into the next: plans see to that in the slab, cuts elsewhere if they can. */
static ry_status check_buffers(const ry_device *d, const ry_program *p, const gpu_step *s) {
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++)
        for (int q = 0; q < s->n_group && s->k.binding[i] >= 0; q++) {
            const ry_buffer *buf;
            size_t at, bytes, offset, follow;
            if (!(s->group[q].lay->mask >> s->k.binding[i] & 1u)) continue;
            place_binding(d, p, s, &s->group[q], i, &buf, &at, &bytes);
            if (buf == &d->slab || ((const gpu_memory *)buf->at)->n == 1 || at >= buf->bytes) continue;
            (void)gpu_memory_at(buf, at, &offset, &follow);
            if (bytes > follow)
                return ry_fail_node(s->node, RY_EUNSUPPORTED, "one of its tensors lies in several buffers of this device, %.1f MB each, and a kernel needs more than one at once",
                                    (double)((const gpu_memory *)buf->at)->piece / 1e6);
        }
    return RY_OK;
}

void gpu_bind_step(ry_device *d, const ry_program *p, gpu_step *s) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    WGPUBindGroupEntry all[RY_OPERANDS + 1], e[RY_OPERANDS + 1];
    for (int q = 0; q < s->n_group; q++) {
        memset(all, 0, sizeof all);
        all[0] = (WGPUBindGroupEntry){.binding = 0, .buffer = x->uniform, .size = gpu_round_up((size_t)s->k.n_word * 4, GPU_WHOLE)};
        for (int i = 0; i < RY_OPERANDS; i++) {
            int b = s->k.binding[i];
            if (b < 0) continue;
            const ry_buffer *buf;
            size_t at, offset, follow, size;
            place_binding(d, p, s, &s->group[q], i, &buf, &at, &size);
            if (at >= gpu_round_up(buf->bytes ? buf->bytes : 1, GPU_WHOLE)) at = 0; /* empty tensors at the slab's end: something to bind */
            WGPUBuffer buffer = gpu_memory_at(buf, at, &offset, &follow);
            all[b + 1] = (WGPUBindGroupEntry){.binding = (uint32_t)b + 1, .buffer = buffer, .offset = offset, .size = size < follow ? size : follow};
        }
        size_t n = 0;
        for (int b = 0; b <= s->k.n_binding; b++)
            if (!b || s->group[q].lay->mask >> (b - 1) & 1u) e[n++] = all[b];
        if (s->group[q].at) wgpu.BindGroupRelease(s->group[q].at);
        s->group[q].at = wgpu.DeviceCreateBindGroup(g->dev, &(WGPUBindGroupDescriptor){.layout = s->group[q].lay->bind, .entryCount = n, .entries = e});
    }
}

/* A step of the plan becomes one of ours, or several. */
static ry_status build_plan_step(ry_device *d, ry_program *p, int i, ry_launch *l, ry_text *head) {
    gpu_program *x = p->impl;
    ry_node *n = p->plan->steps[i].node;
    ry_cut c = {0};
    int64_t piece;
    RY_TRY(cut_piece(d, p, n, &c, &piece));
    for (int64_t from = 0; from == 0 || from < c.length; from += piece) {
        gpu_step *s = RY_PUSH(&x->step);
        if (!s) return RY_ENOMEM;
        *s = (gpu_step){.node = n, .plan_step = i};
        if (piece) {
            s->cut_from = from, s->cut_length = c.length;
            s->node = cut_node(&p->arena, n, &c, from, from + piece < c.length ? from + piece : c.length);
            if (!s->node) return RY_ENOMEM;
        }
        RY_TRY(build_step(d, p, s, l, head));
        RY_TRY(check_buffers(d, p, s));
        if (!piece) break;
    }
    return RY_OK;
}

/* ---- programs ---- */

void gpu_unbuild(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    if (!x) return;
    if (g->timed == p) {
        wgpu_wait(g->dev, NULL);
        g->timed = NULL;
    }
    for (size_t i = 0; i < x->step.n; i++)
        for (int k = 0; x->step.at[i].group && k < x->step.at[i].n_group; k++)
            if (x->step.at[i].group[k].at) wgpu.BindGroupRelease(x->step.at[i].group[k].at);
    RY_VEC_FREE(&x->step);
    if (x->uniform) wgpu.BufferRelease(x->uniform);
    if (x->queries) wgpu.QuerySetRelease(x->queries);
    if (x->resolved) wgpu.BufferRelease(x->resolved);
    if (x->times) wgpu.BufferRelease(x->times);
    ry_mem_free(x->host);
    p->impl = NULL; /* lies in the program's arena */
}

ry_status gpu_build(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = RY_NEW(&p->arena, gpu_program, 1);
    if (!x) return RY_ENOMEM;
    p->impl = x;
    x->slab_version = d->slab_version - 1; /* bound at the first run */
    ry_launch *l = ry_mem_alloc(sizeof *l);
    RY_VEC(gpu_module *) fresh = {0};
    ry_text head = {0};
    ry_status st = l ? RY_OK : RY_ENOMEM;
    for (int i = 0; i < p->plan->n_steps && st == RY_OK; i++) st = build_plan_step(d, p, i, l, &head);
    os_mutex_lock(g->lock); /* while these compile, others wait: they are likely to want the same ones */
    for (size_t i = 0; i < x->step.n && st == RY_OK; i++) {
        gpu_module *m = x->step.at[i].mod, **slot;
        if (!m || m->n_made == m->n_pipe || m->queued) continue;
        if ((slot = RY_PUSH(&fresh))) *slot = m, m->queued = true;
        else st = RY_ENOMEM;
    }
    if (st == RY_OK && fresh.n) st = gpu_compile(g, fresh.at, fresh.n);
    const gpu_module *bad = NULL; /* the last that failed: the message is of it */
    for (size_t k = 0; k < fresh.n; k++) {
        gpu_module *m = fresh.at[k];
        m->queued = false;
        if (m->n_made == m->n_pipe) continue;
        bad = m;
        m->n_pipe = m->n_made; /* tried again by the next program */
    }
    for (size_t i = 0; i < x->step.n && st != RY_OK && bad; i++)
        if (x->step.at[i].mod == bad) {
            char message[1024];
            snprintf(message, sizeof message, "%s", ry_message());
            st = ry_fail_node(x->step.at[i].node, st, "its kernel does not compile: %s", message);
            break;
        }
    os_mutex_unlock(g->lock);
    if (st == RY_OK && x->uniform_bytes) {
        x->uniform = gpu_buffer_new(g, gpu_round_up(x->uniform_bytes + UNIFORM_TAIL, GPU_WHOLE), WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst);
        st = wgpu_check(&g->trouble);
    }
    if (st == RY_OK && g->has.timestamps) {
        x->queries = wgpu.DeviceCreateQuerySet(g->dev, &(WGPUQuerySetDescriptor){.type = WGPUQueryType_Timestamp, .count = GPU_QUERIES});
        x->resolved = gpu_buffer_new(g, GPU_QUERIES * 8, WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc);
        x->times = gpu_buffer_new(g, GPU_QUERIES * 8, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
        st = wgpu_check(&g->trouble);
    }
    ry_text_free(&head);
    ry_mem_free(l);
    RY_VEC_FREE(&fresh);
    return st;
}
#endif
