/* rope_cache.c - the row `rope_cache`: q and k of one position turn, and k and v go into their caches: four short kernels as one.
 *
 * Only plans make such nodes, of a token's rope and set_rows nodes (set_rows' join). On the CPU the node is those rows' own code. */
#include "ops/rope_cache.h"
#include "ops/rope.h"
#include <rusty/ops.h>
#include <string.h>

enum { CACHE_K, CACHE_V, Q, K, V, POS, FREQ, AT, OPERANDS };
enum { OUT_K, OUT_V, OUT_Q };
enum { FOUR = 4, ROWS_AXIS = 1 };
static const ry_op rope_cache_row;

static int64_t rotary_of(const ry_node *n) {
    const rope_args *a = n->args;
    return a && a->rotary ? a->rotary : n->src[Q]->spec.dim[3];
}

static bool fits_shapes(const ry_node *n) {
    const ry_spec *q = &n->src[Q]->spec, *k = &n->src[K]->spec, *v = &n->src[V]->spec, *ck = &n->src[CACHE_K]->spec, *cv = &n->src[CACHE_V]->spec;
    bool fits = q->rank == 4 && k->rank == 4 && v->rank == 4 && ck->rank == 4 && cv->rank == 4 && q->dim[0] == 1 && q->dim[1] == 1 &&
                q->dim[3] == k->dim[3] && ry_count(&n->src[AT]->spec) == 1 && ry_count(&n->src[POS]->spec) == 1;
    for (int i = 0; i < 4 && fits; i++)
        fits = i == ROWS_AXIS ? k->dim[i] == 1 && v->dim[i] == 1 : k->dim[i] == ck->dim[i] && v->dim[i] == cv->dim[i];
    return fits && k->dim[0] == 1 && ck->dim[1] == cv->dim[1] && q->dim[3] % FOUR == 0 && v->dim[3] % FOUR == 0 && rotary_of(n) % 8 == 0 &&
           rotary_of(n) <= q->dim[3] && ry_count(&n->src[FREQ]->spec) == rotary_of(n) / 2;
}

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *q = &n->src[Q]->spec, *k = &n->src[K]->spec, *v = &n->src[V]->spec, *ck = &n->src[CACHE_K]->spec, *cv = &n->src[CACHE_V]->spec;
    if (!fits_shapes(n))
        return ry_fail_node(n, RY_ESHAPE, "q %s, k %s, v %s and caches %s, %s: one position of heads of a multiple of four, of which a multiple of eight turns",
                            ry_show(q).s, ry_show(k).s, ry_show(v).s, ry_show(ck).s, ry_show(cv).s);
    out[OUT_K] = *ck;
    out[OUT_V] = *cv;
    out[OUT_Q] = *q;
    return RY_OK;
}

/* ---- on the CPU: the rows it stands for ---- */

static ry_node turn_of(const ry_node *n, int which, ry_value *out) {
    ry_node x = {.op = ry_row("rope"), .n_src = 3, .n_out = 1, .src = {n->src[which], n->src[POS], n->src[FREQ]}, .out = out, .args = n->args};
    *out = (ry_value){.spec = n->src[which]->spec, .node = NULL};
    int64_t step = 1;
    for (int d = out->spec.rank - 1; d >= 0; step *= out->spec.dim[d--]) out->stride[d] = step;
    return x;
}
static size_t k_bytes(const ry_node *n) { return (ry_bytes_of(n->src[K]->spec.dtype, ry_count(&n->src[K]->spec)) + 63) / 64 * 64; }

static ry_status run_row(const ry_cpu *c, const ry_node *x, void *const *src, void *out) {
    ry_work w = x->op->work ? x->op->work(x) : (ry_work){0};
    ry_cpu one = {.n = x, .args = x->args, .src = src, .out = (void *[]){out}, .local = c->local};
    for (; one.part < (w.parts[0] > 1 ? w.parts[0] : 1); one.part++) RY_TRY(x->op->cpu(&one));
    return RY_OK;
}

static ry_work work(const ry_node *n) {
    ry_value out;
    ry_node q = turn_of(n, Q, &out);
    size_t local = q.op->work(&q).local;
    ry_node k = turn_of(n, K, &out);
    if (k.op->work(&k).local > local) local = k.op->work(&k).local;
    return (ry_work){.scratch = k_bytes(n), .local = local};
}

static ry_status cpu(const ry_cpu *c) {
    const ry_node *n = c->n;
    static const struct { int32_t axis; } along = {ROWS_AXIS};
    ry_value turned;
    ry_node q = turn_of(n, Q, &turned);
    RY_TRY(run_row(c, &q, (void *[]){c->src[Q], c->src[POS], c->src[FREQ]}, c->out[OUT_Q]));
    ry_node k = turn_of(n, K, &turned);
    RY_TRY(run_row(c, &k, (void *[]){c->src[K], c->src[POS], c->src[FREQ]}, c->scratch));
    for (int i = 0; i < 2; i++) {
        ry_node set = {.op = ry_row("set_rows"), .n_src = 3, .n_out = 1, .out = &n->out[i], .args = (void *)(uintptr_t)&along,
                       .src = {n->src[i ? CACHE_V : CACHE_K], i ? n->src[V] : &turned, n->src[AT]}};
        RY_TRY(run_row(c, &set, (void *[]){c->src[i ? CACHE_V : CACHE_K], i ? c->src[V] : c->scratch, c->src[AT]}, c->out[i]));
    }
    return RY_OK;
}

static ry_tensor with_row(ry_graph *g, const ry_node *n, int cache, ry_tensor row) {
    const ry_spec *s = ry_spec_of(g, row);
    if (!s) return RY_NULL;
    ry_spec shape = *s;
    ry_tensor at = ry_expand(g, RY_RESHAPE(g, ry_src(g, n, AT), 1, 1, 1, 1), 4, shape.dim);
    return ry_scatter(g, ry_src(g, n, cache), at, ry_cast(g, row, n->src[cache]->spec.dtype), ROWS_AXIS, false);
}
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const rope_args *a = n->args;
    ry_rope_options o = {.rotary = a->rotary, .scale = a->scale, .interleaved = a->interleaved, .inverse = a->inverse};
    ry_tensor pos = RY_RESHAPE(g, ry_src(g, n, POS), 1), freq = ry_src(g, n, FREQ);
    out[OUT_K] = with_row(g, n, CACHE_K, ry_rope(g, ry_src(g, n, K), pos, freq, &o));
    out[OUT_V] = with_row(g, n, CACHE_V, ry_src(g, n, V));
    out[OUT_Q] = ry_rope(g, ry_src(g, n, Q), pos, freq, &o);
    return ry_graph_ok(g) ? RY_OK : ry_graph_status(g);
}

/* ---- kernels ---- */

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    enum { THREADS = 64 };
    const rope_args *a = n->args;
    const ry_spec *q = &n->src[Q]->spec, *k = &n->src[K]->spec, *value = &n->src[V]->spec;
    int64_t D = q->dim[3], rotary = rotary_of(n), pair_units = rotary / 8, units = pair_units + (D - rotary) / FOUR,
            turned = (q->dim[2] + k->dim[2]) * units, copied = value->dim[2] * value->dim[3] / FOUR;
    l->vec |= RY_USES_SRC(Q) | RY_USES_SRC(K) | RY_USES_SRC(V) | RY_USES_SRC(FREQ) | RY_USES_OUT(OUT_K) | RY_USES_OUT(OUT_V) | RY_USES_OUT(OUT_Q);
    ry_launch_knob_set(l, "WG", THREADS);
    ry_launch_u32(l, "turned", turned);
    ry_launch_u32(l, "threads", turned + copied);
    ry_launch_u32(l, "units", units);
    ry_launch_u32(l, "pair_units", pair_units);
    ry_launch_u32(l, "heads", q->dim[2]);
    ry_launch_u32(l, "len", D);
    ry_launch_u32(l, "k_len", k->dim[2] * D);
    ry_launch_u32(l, "v_len", value->dim[2] * value->dim[3]);
    ry_launch_u32(l, "rotary", rotary);
    ry_launch_u32(l, "rows", n->src[CACHE_K]->spec.dim[ROWS_AXIS]);
    ry_launch_u32(l, "zero", 0);
    ry_launch_f32(l, "cosine", rope_scale_of(a));
    ry_launch_f32(l, "sine", a->inverse ? -rope_scale_of(a) : rope_scale_of(a));
    ry_launch_run(l, "main", (turned + copied + THREADS - 1) / THREADS, 0);
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    double elements = (double)(2 * ry_count(&n->src[Q]->spec) + 2 * ry_count(&n->src[K]->spec) + 2 * ry_count(&n->src[V]->spec));
    return (ry_cost){.flops = 3 * elements / 2, .bytes = elements * (double)ry_bytes_of(n->src[Q]->spec.dtype, 1)};
}

/* ---- how plans come to it ---- */

static bool plain(const ry_value *v) { return ry_is_dense(v) && v->offset % FOUR == 0; }
/* Whose output v is, itself or seen in another shape: a rope node, or NULL. */
static ry_node *turned_by(const ry_value *v) {
    ry_node *n = v->base->node;
    return n && n->op == ry_row("rope") && v->base == &n->out[0] && !v->offset && ry_is_dense(v) ? n : NULL;
}

bool rope_cache_join(ry_joiner *j, ry_node *n) {
    enum { ROW, NEW, INDEX }; /* set_rows' sources */
    const ry_op *set_rows = ry_row("set_rows");
    ry_node *attention, *reader, *k = turned_by(n->src[NEW]);
    if (!k || ry_count(&n->src[INDEX]->spec) != 1 || join_readers(j, &n->out[0], &attention, 1) != 1 || attention->op != ry_row("attention")) return false;
    const ry_value *value = attention->src[2];
    ry_node *q = turned_by(attention->src[0]), *set = NULL;
    if (!q || q == k || attention->src[1]->base != n->out[0].base || join_readers(j, &k->out[0], &reader, 1) != 1 || reader != n) return false;
    for (size_t i = 0; i < j->l->n && !set; i++) {
        ry_node *x = j->l->at[i];
        if (x && x->op == set_rows && x != n && x->src[INDEX]->base == n->src[INDEX]->base && x->src[INDEX]->offset == n->src[INDEX]->offset && x->out[0].base == value->base &&
            x->out[0].version == value->version)
            set = x;
    }
    if (!set || memcmp(q->args, k->args, sizeof(rope_args)) != 0 || q->src[1]->base != k->src[1]->base || q->src[1]->offset != k->src[1]->offset || q->src[2] != k->src[2]) return false;
    ry_node *x = join_node(j, &rope_cache_row, k->args, OPERANDS, 3);
    if (!x) return false;
    x->src[CACHE_K] = n->src[ROW], x->src[CACHE_V] = set->src[ROW];
    x->src[Q] = q->src[0], x->src[K] = k->src[0], x->src[V] = set->src[NEW];
    x->src[POS] = q->src[1], x->src[FREQ] = q->src[2], x->src[AT] = n->src[INDEX];
    for (int i = 0; i < OPERANDS; i++)
        if (!plain(x->src[i]) || (i >= Q && i <= V && x->src[i]->spec.dtype != RY_F32)) return false; /* it is not rounded between */
    ry_value *old[] = {[OUT_K] = &n->out[0], [OUT_V] = &set->out[0], [OUT_Q] = &q->out[0]};
    for (int i = 0; i < 3; i++) x->out[i] = *old[i];
    x->out[OUT_Q].base = &x->out[OUT_Q];
    return fits_shapes(x) && join_fits(j, x) && join_replace(j, x, 4, (ry_node *[]){q, k, n, set}, old);
}

#define F4(a, b, c, d) {.dtype = RY_F32, .rank = 4, .dim = {a, b, c, d}}
#define IDS(n, most) {.dtype = RY_I32, .rank = 1, .dim = {n}, .lo = 0, .hi = most}
static const rope_args pairs = {.interleaved = true, .rotary = 8, .scale = 1.5}, halves = {0};
static const ry_sample samples[] = {
    {.name = "halves", .src = {F4(1, 6, 2, 16), F4(1, 6, 2, 12), F4(1, 1, 4, 16), F4(1, 1, 2, 16), F4(1, 1, 2, 12), IDS(1, 50), {.dtype = RY_F32, .rank = 1, .dim = {8}}, IDS(1, 6)},
     .n_src = 8, .args = &halves, .flags = RY_SAMPLE_NO_GRAD | RY_SAMPLE_F32_ONLY},
    {.name = "pairs, partial", .src = {F4(1, 6, 1, 12), F4(1, 6, 1, 4), F4(1, 1, 3, 12), F4(1, 1, 1, 12), F4(1, 1, 1, 4), IDS(1, 50), {.dtype = RY_F32, .rank = 1, .dim = {4}}, IDS(1, 6)},
     .n_src = 8, .args = &pairs, .flags = RY_SAMPLE_NO_GRAD | RY_SAMPLE_F32_ONLY},
    {0}};

static const ry_op rope_cache_row = {
    .name = "rope_cache",
    .doc = "caches k [1,S,G,D], v [1,S,G,Dv]; q [1,1,H,D], k [1,1,G,D], v [1,1,G,Dv], pos [1], freq [rotary/2], at [1] -> the caches with row at, q turned",
    .arg_size = sizeof(rope_args),
    .args = rope_args_of,
    .min_src = OPERANDS,
    .max_src = OPERANDS,
    .writes = 1u << CACHE_K | 1u << CACHE_V,
    .flags = RY_OP_CHECKED | RY_OP_NO_GRAD,
    .infer = infer,
    .work = work,
    .cpu = cpu,
    .lower = lower,
    .launch = launch,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};
RY_OP_MODULE(rope_cache, &rope_cache_row);
