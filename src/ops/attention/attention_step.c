/* attention_step.c - the row `attention_step`: a token's rope, the writes of its key and value into their caches, and attention over them, in
 * one kernel.
 *
 * Only plans make such nodes, of a rope_cache node and the attention that reads what it wrote (attention's join), where one group reads all
 * keys of a query. On the CPU the node is those rows' own code. */
#include "ops/attention/attention.h"
#include "ops/rope.h"
#include <rusty/ops.h>
#include <string.h>

enum { Q, CACHE_K, CACHE_V, K, V, POS, FREQ, AT, LENGTH, OPERANDS };
enum { OUT_K, OUT_V, OUT_O, OUT_LSE, OUTPUTS };
enum { ROWS_AXIS = 1, OPTIONS = ATT_V + 1 };

typedef struct step_args { /* of both rows */
    double scale, softcap;
    int64_t window;
    int32_t product;
    bool causal, interleaved, inverse;
    double rope_scale;
    int64_t rotary;
} step_args;
static const ry_arg args_of[] = {RY_ARG(step_args, scale, RY_ARG_F64),        RY_ARG(step_args, softcap, RY_ARG_F64),
                                 RY_ARG(step_args, window, RY_ARG_I64),       RY_ARG(step_args, product, RY_ARG_I32),
                                 RY_ARG(step_args, causal, RY_ARG_BOOL),      RY_ARG(step_args, interleaved, RY_ARG_BOOL),
                                 RY_ARG(step_args, inverse, RY_ARG_BOOL),     RY_ARG(step_args, rope_scale, RY_ARG_F64),
                                 RY_ARG(step_args, rotary, RY_ARG_I64),       {0}};

/* The nodes that n stands for: rope_cache, then attention over the caches as [B,S,G,D]. */
typedef struct pieces {
    attention_args attention_args;
    rope_args rope_args;
    ry_node rope, attention;
    ry_value turned, k, v, rope_out[3];
} pieces;

static void dense(ry_value *v) {
    int64_t step = 1;
    for (int d = v->spec.rank - 1; d >= 0; step *= v->spec.dim[d--]) v->stride[d] = step;
}
static ry_value by_sequence(const ry_value *cache, int64_t B) {
    ry_value v = {.spec = cache->spec};
    v.spec.dim[0] = B;
    v.spec.dim[ROWS_AXIS] = B ? cache->spec.dim[ROWS_AXIS] / B : 0;
    dense(&v);
    return v;
}
static void open_pieces(pieces *p, const ry_node *n) {
    const step_args *a = n->args;
    int64_t B = n->src[Q]->spec.dim[0];
    *p = (pieces){.attention_args = {.scale = a->scale, .softcap = a->softcap, .window = a->window, .product = a->product, .causal = a->causal},
                  .rope_args = {.scale = a->rope_scale, .rotary = a->rotary, .interleaved = a->interleaved, .inverse = a->inverse}};
    p->turned = (ry_value){.spec = n->src[Q]->spec};
    dense(&p->turned);
    p->k = by_sequence(n->src[CACHE_K], B), p->v = by_sequence(n->src[CACHE_V], B);
    p->rope_out[0] = n->out[OUT_K], p->rope_out[1] = n->out[OUT_V], p->rope_out[2] = p->turned;
    p->rope = (ry_node){.op = ry_row("rope_cache"), .n_src = 8, .n_out = 3, .out = p->rope_out, .args = &p->rope_args, .name = n->name,
                        .src = {n->src[CACHE_K], n->src[CACHE_V], n->src[Q], n->src[K], n->src[V], n->src[POS], n->src[FREQ], n->src[AT]}};
    p->attention = (ry_node){.op = ry_row("attention"), .n_src = OPTIONS + ATT_OPTIONS, .n_out = 2, .out = &n->out[OUT_O], .args = &p->attention_args, .name = n->name,
                             .src = {&p->turned, &p->k, &p->v}};
    p->attention.src[OPTIONS + ATT_LENGTH] = n->src[LENGTH];
}

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    pieces p;
    for (int i = Q; i <= V; i++)
        if (n->src[i]->spec.rank != 4) return ry_fail_node(n, RY_ESHAPE, "source %d is %s, it must have four dims", i, ry_show(&n->src[i]->spec).s);
    if (n->src[CACHE_K]->spec.dtype != n->src[CACHE_V]->spec.dtype)
        return ry_fail_node(n, RY_EDTYPE, "the caches are %s and %s: they must be of one dtype", ry_show(&n->src[CACHE_K]->spec).s, ry_show(&n->src[CACHE_V]->spec).s);
    ry_value none[OUTPUTS] = {{.index = 0}};
    ry_node probe = *n;
    probe.out = none;
    open_pieces(&p, &probe);
    ry_spec turned[RY_MAX_OUT], seen[RY_MAX_OUT];
    RY_TRY(p.rope.op->infer(&p.rope, turned));
    RY_TRY(p.attention.op->infer(&p.attention, seen));
    out[OUT_K] = turned[0], out[OUT_V] = turned[1], out[OUT_O] = seen[0], out[OUT_LSE] = seen[1];
    return RY_OK;
}

/* ---- on the CPU: first phase rope_cache, then attention's ---- */

static size_t aligned(size_t n) { return (n + 63) / 64 * 64; }
static size_t turned_bytes(const pieces *p) { return aligned(ry_bytes_of(p->turned.spec.dtype, ry_count(&p->turned.spec))); }

static ry_work work(const ry_node *n) {
    pieces p;
    open_pieces(&p, n);
    ry_work first = p.rope.op->work(&p.rope), rest = p.attention.op->work(&p.attention),
            w = {.phases = 1 + (rest.phases ? rest.phases : 1), .parts = {1}, .scratch = turned_bytes(&p) + aligned(first.scratch) + rest.scratch};
    for (int i = 1; i < w.phases; i++) w.parts[i] = rest.parts[i - 1];
    w.local = first.local > rest.local ? first.local : rest.local;
    return w;
}

static ry_status cpu(const ry_cpu *c) {
    pieces p;
    open_pieces(&p, c->n);
    char *turned = c->scratch, *own = turned + turned_bytes(&p);
    ry_cpu one = *c;
    if (c->phase == 0) {
        one.n = &p.rope, one.args = &p.rope_args, one.scratch = own;
        one.src = (void *[]){c->src[CACHE_K], c->src[CACHE_V], c->src[Q], c->src[K], c->src[V], c->src[POS], c->src[FREQ], c->src[AT]};
        one.out = (void *[]){c->out[OUT_K], c->out[OUT_V], turned};
        return p.rope.op->cpu(&one);
    }
    one.n = &p.attention, one.args = &p.attention_args, one.scratch = own + aligned(p.rope.op->work(&p.rope).scratch), one.phase--;
    one.src = (void *[OPTIONS + ATT_OPTIONS]){turned, c->out[OUT_K], c->out[OUT_V], [OPTIONS + ATT_LENGTH] = c->src[LENGTH]};
    one.out = &c->out[OUT_O];
    return p.attention.op->cpu(&one);
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    const step_args *a = n->args;
    pieces p;
    open_pieces(&p, n);
    ry_tensor kept[3];
    RY_TRY(p.rope.op->lower(g, &p.rope, kept));
    ry_attention_options o = {.scale = a->scale, .causal = a->causal, .window = a->window, .softcap = a->softcap, .length = ry_src(g, n, LENGTH)};
    ry_dtype was = ry_graph_product(g);
    ry_graph_precision(g, product_of(a->product));
    out[OUT_O] = ry_attention(g, kept[2], ry_reshape(g, kept[0], 4, p.k.spec.dim), ry_reshape(g, kept[1], 4, p.v.spec.dim), &o);
    ry_graph_precision(g, was);
    out[OUT_K] = kept[0], out[OUT_V] = kept[1], out[OUT_LSE] = ry_out(g, out[OUT_O], 1);
    return ry_graph_ok(g) ? RY_OK : ry_graph_status(g);
}

/* ---- kernels ---- */

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    pieces p;
    attention_job j;
    open_pieces(&p, n);
    attention_open(&j, &p.attention, NULL, OPTIONS);
    attention_launch(l, &p.attention, &j, OPTIONS);
    attention_launch_one(l, &j);
    if (attention_knob(l, "WG") < 2 * j.D + j.Dv) return ry_fail_node(n, RY_EUNSUPPORTED, "heads of %lld are wider than a group of this device", (long long)j.D);
    ry_launch_knob_set(l, "STEP", 1);
    ry_launch_knob_set(l, "OUT_O", OUT_O);
    ry_launch_knob_set(l, "OPTIONS", LENGTH - ATT_LENGTH);
    ry_launch_knob_set(l, "NEW_K", K);
    ry_launch_knob_set(l, "NEW_V", V);
    ry_launch_knob_set(l, "POS", POS);
    ry_launch_knob_set(l, "FREQ", FREQ);
    ry_launch_knob_set(l, "AT", AT);
    ry_launch_knob_set(l, "HALVES", n->src[CACHE_K]->spec.dtype == RY_F16 ? 1 : n->src[CACHE_K]->spec.dtype == RY_BF16 ? 2 : 0);
    const rope_args *a = &p.rope_args;
    ry_launch_u32(l, "kv_heads", j.G);
    ry_launch_u32(l, "rotary", a->rotary ? a->rotary : j.D);
    ry_launch_u32(l, "zero", 0);
    ry_launch_f32(l, "cosine", rope_scale_of(a));
    ry_launch_f32(l, "sine", a->inverse ? -rope_scale_of(a) : rope_scale_of(a));
    l->vec |= RY_USES_OUT(OUT_K) | RY_USES_OUT(OUT_V) | RY_USES_OUT(OUT_O);
    ry_launch_run(l, "one", j.B * j.H, ~RY_USES_SCRATCH);
    return RY_OK;
}

static ry_cost cost(const ry_node *n) {
    pieces p;
    open_pieces(&p, n);
    ry_cost a = p.rope.op->cost(&p.rope), b = p.attention.op->cost(&p.attention);
    return (ry_cost){.flops = a.flops + b.flops, .bytes = a.bytes + b.bytes};
}

/* ---- how plans come to it ---- */

bool attention_step_join(ry_joiner *j, ry_node *n) {
    ry_node *r = n->src[ATT_Q]->base->node;
    if (!r || r->op != ry_row("rope_cache") || n->n_src != OPTIONS + ATT_OPTIONS || !n->src[OPTIONS + ATT_LENGTH]) return false;
    for (int i = 0; i < ATT_LENGTH; i++)
        if (n->src[OPTIONS + i]) return false;
    for (int i = ATT_K; i <= ATT_V; i++) { /* the whole cache, as it was just written */
        const ry_value *seen = n->src[i], *kept = &r->out[i - ATT_K];
        if (seen->base != kept->base || seen->version != kept->version || seen->offset != kept->offset || !ry_is_dense(seen) || ry_count(&seen->spec) != ry_count(&kept->spec)) return false;
    }
    attention_job job;
    attention_open(&job, n, NULL, OPTIONS);
    if (job.k.dtype != job.v.dtype) return false;
    if (n->src[ATT_Q]->base != &r->out[2] || n->src[ATT_Q]->offset || job.T != 1 || !attention_is_one(&job, j->caps, 2 * job.D + job.Dv) || n->src[OPTIONS + ATT_LENGTH]->offset % 4) return false;
    const attention_args *a = n->args;
    const rope_args *turn = r->args;
    step_args args = {.scale = a->scale, .softcap = a->softcap, .window = a->window, .product = a->product, .causal = a->causal,
                      .interleaved = turn->interleaved, .inverse = turn->inverse, .rope_scale = turn->scale, .rotary = turn->rotary};
    static const int8_t from[] = {[Q] = 2, [CACHE_K] = 0, [CACHE_V] = 1, [K] = 3, [V] = 4, [POS] = 5, [FREQ] = 6, [AT] = 7}; /* rope_cache's sources */
    ry_node *x = join_node(j, &attention_step_row, &args, OPERANDS, OUTPUTS);
    if (!x) return false;
    for (int i = Q; i <= AT; i++) x->src[i] = r->src[from[i]];
    x->src[LENGTH] = n->src[OPTIONS + ATT_LENGTH];
    ry_value *old[] = {[OUT_K] = &r->out[0], [OUT_V] = &r->out[1], [OUT_O] = &n->out[0], [OUT_LSE] = &n->out[1]};
    for (int i = 0; i < OUTPUTS; i++) x->out[i] = *old[i];
    x->out[OUT_O].base = &x->out[OUT_O], x->out[OUT_LSE].base = &x->out[OUT_LSE];
    return join_fits(j, x) && join_replace(j, x, 2, (ry_node *[]){r, n}, old);
}

#define F4(a, b, c, d) {.dtype = RY_F32, .rank = 4, .dim = {a, b, c, d}}
#define IDS(n, most) {.dtype = RY_I32, .rank = 1, .dim = {n}, .lo = 0, .hi = most}
#define LIST(values_, n) {.dtype = RY_I32, .rank = 1, .dim = {n}, .values = values_}
#define FREQS(n) {.dtype = RY_F32, .rank = 1, .dim = {n}}
static const step_args plain = {.causal = true}, pairs = {.causal = true, .interleaved = true, .rotary = 8, .rope_scale = 1.5, .softcap = 3, .window = 40};
static const int32_t last[] = {99}, length[] = {100}, early[] = {2};
static const ry_sample samples[] = {
    {.name = "halves", .src = {F4(1, 1, 4, 16), F4(1, 120, 2, 16), F4(1, 120, 2, 12), F4(1, 1, 2, 16), F4(1, 1, 2, 12), IDS(1, 50), FREQS(8), LIST(last, 1), LIST(length, 1)},
     .n_src = OPERANDS, .args = &plain, .flags = RY_SAMPLE_NO_GRAD | RY_SAMPLE_F32_ONLY},
    {.name = "pairs, window, cap", .src = {F4(1, 1, 3, 20), F4(1, 120, 1, 20), F4(1, 120, 1, 4), F4(1, 1, 1, 20), F4(1, 1, 1, 4), IDS(1, 50), FREQS(4), LIST(last, 1), LIST(length, 1)},
     .n_src = OPERANDS, .args = &pairs, .flags = RY_SAMPLE_NO_GRAD | RY_SAMPLE_F32_ONLY},
    {.name = "an early row", .src = {F4(1, 1, 2, 64), F4(1, 120, 2, 64), F4(1, 120, 2, 64), F4(1, 1, 2, 64), F4(1, 1, 2, 64), IDS(1, 50), FREQS(32), LIST(early, 1), LIST(length, 1)},
     .n_src = OPERANDS, .args = &plain, .flags = RY_SAMPLE_NO_GRAD | RY_SAMPLE_F32_ONLY},
    {0}};

const ry_op attention_step_row = {
    .name = "attention_step",
    .doc = "q [1,1,H,D], caches k [1,S,G,D], v [1,S,G,Dv]; new k [1,1,G,D], v [1,1,G,Dv], pos [1], freq [rotary/2], at [1], length [1] -> the caches with row at, "
           "o [1,1,H,Dv], log-sum-exp [1,H,1]",
    .arg_size = sizeof(step_args),
    .args = args_of,
    .min_src = OPERANDS,
    .max_src = OPERANDS,
    .writes = 1u << CACHE_K | 1u << CACHE_V,
    .flags = RY_OP_CHECKED | RY_OP_NO_GRAD,
    .infer = infer,
    .work = work,
    .cpu = cpu,
    .lower = lower,
    .wgsl = "attention/attention_step.wgsl",
    .launch = launch,
    .cost = cost,
    .tol = 1e-5f,
    .samples = samples};
RY_OP_MODULE(attention_step, &attention_step_row);
