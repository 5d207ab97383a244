/* graph.c - one step's nodes.  Builders append; nothing is computed here.  Owns the step arena and the sticky error. */
#include "core/graph.h"
#include "core/plan.h"
#include "core/rows.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_uint next_gen = 1;

static uint32_t new_gen(void) {
    uint32_t gen = atomic_fetch_add(&next_gen, 1);
    return gen ? gen : atomic_fetch_add(&next_gen, 1); /* 0 is the null tensor */
}

ry_status ry_graph_open(ry_graph **out, ry_device *d) {
    if (!d) RY_FAIL(RY_EARG, "a graph needs a device");
    ry_graph *g = ry_mem_zalloc(sizeof *g);
    if (!g) return RY_ENOMEM;
    g->dev = d;
    g->gen = new_gen();
    g->product = RY_F32;
    *out = g;
    return RY_OK;
}

void ry_graph_reset(ry_graph *g) {
    g->nodes.n = g->vars.n = g->inputs.n = g->last_want.n = 0;
    ry_arena_reset(&g->arena);
    g->status = RY_OK;
    g->message[0] = 0;
    g->scope = g->scopes = 0;
    g->backward = false;
    g->gen = new_gen();
}

void ry_graph_close(ry_graph *g) {
    if (!g) return;
    ry_program_close(g->last);
    RY_VEC_FREE(&g->nodes);
    RY_VEC_FREE(&g->vars);
    RY_VEC_FREE(&g->inputs);
    RY_VEC_FREE(&g->last_want);
    ry_arena_free(&g->arena);
    ry_mem_free(g);
}

ry_status ry_graph_status(const ry_graph *g) {
    return g->status == RY_OK ? RY_OK : ry_fail(g->status, "%s", g->message);
}
ry_device *ry_graph_device(const ry_graph *g) { return g->dev; }
bool ry_graph_ok(const ry_graph *g) { return g->status == RY_OK; }
void ry_graph_precision(ry_graph *g, ry_dtype t) { g->product = t ? t : RY_F32; }
ry_dtype ry_graph_product(const ry_graph *g) { return g->product; }
void ry_graph_numerics(ry_graph *g, ry_numerics n) { g->numerics = n; }
ry_numerics ry_graph_numerics_of(const ry_graph *g) { return g->numerics; }

/* Keeps the first error, from the thread's message. */
ry_tensor graph_sticky(ry_graph *g, ry_status st) {
    if (g->status == RY_OK) {
        g->status = st;
        snprintf(g->message, sizeof g->message, "%s", ry_message());
    }
    return RY_NULL;
}

ry_tensor ry_graph_fail(ry_graph *g, ry_status st, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    ry_failv(st, fmt, ap);
    va_end(ap);
    return graph_sticky(g, st);
}

ry_tensor graph_handle(const ry_graph *g, const ry_value *v) {
    return (ry_tensor){(v->node->id << 2) | (uint32_t)v->index, g->gen};
}

const ry_value *graph_real(const ry_value *v) {
    while (v->node->low && v->node->low[v->index]) v = v->node->low[v->index];
    return v;
}

ry_node *graph_node(ry_graph *g, uint32_t id) { return g->nodes.at[id]; }

static ry_value *value_of(ry_graph *g, ry_tensor t) {
    if (t.gen != g->gen || (t.id >> 2) >= g->nodes.n) return NULL;
    ry_node *n = g->nodes.at[t.id >> 2];
    return (int)(t.id & 3u) < n->n_out ? &n->out[t.id & 3u] : NULL;
}

const ry_value *ry_value_of(ry_graph *g, ry_tensor t) { return value_of(g, t); }
const ry_node *ry_node_of(ry_graph *g, ry_tensor t) {
    ry_value *v = value_of(g, t);
    return v ? v->node : NULL;
}
const ry_spec *ry_spec_of(const ry_graph *g, ry_tensor t) {
    ry_value *v = value_of((ry_graph *)(uintptr_t)g, t);
    return v ? &v->spec : NULL;
}
ry_tensor ry_src(ry_graph *g, const ry_node *n, int i) {
    return i < n->n_src && n->src[i] ? graph_handle(g, n->src[i]) : RY_NULL;
}
ry_tensor ry_res(ry_graph *g, const ry_node *n, int i) { return graph_handle(g, &n->out[i]); }
ry_tensor ry_out(ry_graph *g, ry_tensor t, int i) {
    ry_value *v = value_of(g, t);
    if (!v) return g->status == RY_OK ? ry_graph_fail(g, RY_ESTALE, "ry_out: the tensor is null or of an earlier step") : RY_NULL;
    if (i < 0 || i >= v->node->n_out)
        return ry_graph_fail(g, RY_EARG, "ry_out: %s has %d outputs, no output %d", v->node->op->name, v->node->n_out, i);
    return graph_handle(g, &v->node->out[i]);
}

ry_status ry_fail_node(const ry_node *n, ry_status st, const char *fmt, ...) {
    char text[400];
    const char *name = n->name;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (int i = n->n_src - 1; i >= 0 && !n->name; i--) /* a weight's name says more than an activation's: the last named source */
        if (n->src[i] && n->src[i]->name && *n->src[i]->name && (!name || n->src[i]->base->node->op == &graph_var_row || n->src[i]->var)) name = n->src[i]->name;
    return name ? ry_fail(st, "%s: %s (%s)", n->op->name, text, name) : ry_fail(st, "%s: %s", n->op->name, text);
}

ry_status ry_fail_number(const ry_node *n, int64_t i, int64_t number) {
    ry_numbers x = n->op->numbers(n);
    ry_spec at = n->src[x.src]->spec; /* "[2,5]": where element i stands */
    char place[sizeof(ry_shape_str)], or_none[48] = "";
    for (int d = at.rank - 1; d >= 0; d--) {
        int64_t dim = at.dim[d];
        at.dim[d] = i % dim, i /= dim;
    }
    snprintf(place, sizeof place, "%s", ry_show(&at).s);
    place[strcspn(place, "]") + 1] = 0;
    if (x.ignore) snprintf(or_none, sizeof or_none, ", or %lld for no loss", (long long)*x.ignore);
    return ry_fail_node(n, RY_EARG, "%s%s is %lld; it must be 0 to %lld%s", x.name, place, (long long)number, (long long)x.count - 1, or_none);
}

/* ---- arguments ---- */

size_t graph_arg_size(ry_arg_type t) {
    switch (t) {
    case RY_ARG_F64:
    case RY_ARG_I64:
    case RY_ARG_U64: return 8;
    case RY_ARG_I32:
    case RY_ARG_U32: return 4;
    default: return sizeof(bool);
    }
}

bool graph_has_dynamic(const ry_op *op) {
    for (const ry_arg *a = op->args; a && a->name; a++)
        if (a->dynamic) return true;
    return false;
}

size_t graph_args_key(const ry_op *op, const void *args, unsigned char *out) {
    size_t n = 0;
    for (const ry_arg *a = op->args; a && a->name; a++) {
        if (a->dynamic) continue;
        size_t bytes = graph_arg_size(a->type) * (size_t)(a->count ? a->count : 1);
        if (out) memcpy(out + n, (const char *)args + a->offset, bytes);
        n += bytes;
    }
    return n;
}

/* ---- appending ---- */

static void dense_strides(ry_value *v) {
    int64_t step = 1;
    for (int i = v->spec.rank - 1; i >= 0; i--) {
        v->stride[i] = step;
        step *= v->spec.dim[i] ? v->spec.dim[i] : 1;
    }
}

static ry_node *new_node(ry_graph *g, const ry_op *op, int n_out) {
    if (g->nodes.n >= (UINT32_MAX >> 2)) {
        ry_graph_fail(g, RY_EARG, "a graph holds at most %u nodes", UINT32_MAX >> 2);
        return NULL;
    }
    ry_node *n = RY_NEW(&g->arena, ry_node, 1);
    ry_value *out = RY_NEW(&g->arena, ry_value, n_out);
    ry_node **slot = n && out ? RY_PUSH(&g->nodes) : NULL;
    if (!slot) {
        graph_sticky(g, RY_ENOMEM);
        return NULL;
    }
    *slot = n;
    n->op = op;
    n->id = (uint32_t)(g->nodes.n - 1);
    n->n_out = n_out;
    n->out = out;
    n->backward = g->backward;
    for (int i = 0; i < n_out; i++) out[i] = (ry_value){.node = n, .index = i, .base = &out[i]};
    return n;
}

static ry_status set_args(ry_graph *g, ry_node *n, const void *args) {
    if (!n->op->arg_size) return RY_OK;
    n->args = ry_arena_alloc(&g->arena, n->op->arg_size);
    if (!n->args) return RY_ENOMEM;
    if (args) memcpy(n->args, args, n->op->arg_size);
    return RY_OK;
}

/* The source as the row wants it: as it is, or made dense. */
static ry_value *shaped(ry_graph *g, const ry_op *op, int i, ry_value *v) {
    if (i < 32 && (op->strided >> i & 1u)) return v;
    int r = v->spec.rank;
    if (i < 32 && (op->rows >> i & 1u) && (r == 0 || v->stride[r - 1] == 1 || v->spec.dim[r - 1] == 1)) return v;
    if (ry_is_dense(v) || (op->flags & RY_OP_VIEW)) return v;
    return value_of(g, RY_APPLY(g, &ry_op_contiguous_row, NULL, graph_handle(g, v)));
}

static graph_var *find_var(ry_graph *g, const ry_var *var) {
    for (size_t i = g->vars.n; i-- > 0;)
        if (g->vars.at[i].var == var) return &g->vars.at[i];
    return NULL;
}

/* Written sources must be a variable's newest version; the node's output is the next one. */
static ry_status make_versions(ry_graph *g, ry_node *n) {
    int j = 0;
    for (int i = 0; i < n->n_src; i++) {
        if (!(n->op->writes >> i & 1u) || !n->src[i]) continue;
        ry_value *s = n->src[i], *o = &n->out[j++];
        graph_var *v = s->var ? find_var(g, s->var) : NULL;
        if (!v || v->now->base != s->base || !ry_is_dense(s) || !ry_same_spec(&s->spec, &s->var->spec))
            return ry_fail_node(n, RY_EARG, "source %d is written, so it must be a whole variable in its newest version", i);
        if (s->var->read_only) return ry_fail_node(n, RY_EARG, "the variable is mapped from its file and cannot be written: open the model with master_f32");
        o->var = s->var;
        o->version = s->version + 1;
        o->name = s->name;
        v->now = o;
    }
    return RY_OK;
}

/* A row that writes a variable must not read it through another source meanwhile: such a source is copied first. */
static ry_status separate(ry_graph *g, ry_node *n) {
    for (int i = 0; i < n->n_src; i++) {
        bool shared = false;
        for (int k = 0; k < n->n_src && n->src[i] && n->src[i]->var && !(n->op->writes >> i & 1u); k++)
            shared |= (n->op->writes >> k & 1u) && n->src[k] && n->src[k]->var == n->src[i]->var;
        if (shared && !(n->src[i] = value_of(g, RY_APPLY(g, &ry_op_copy_row, NULL, graph_handle(g, n->src[i]))))) return g->status;
    }
    return RY_OK;
}

/* A row that the device has no kernel for, but which simpler rows can stand for. */
static bool composed(const ry_graph *g, const ry_op *op) {
    return !(g->dev->api->work ? op->launch != NULL : op->cpu != NULL) && op->lower && !op->writes && !(op->flags & (RY_OP_VIEW | RY_OP_LEAF));
}

/* low[j]: output j of n, whose outputs have their specs, computed by simpler rows. n is not in the graph yet. */
static ry_status compose(ry_graph *g, ry_node *n, ry_value **low) {
    ry_tensor t[RY_MAX_OUT] = {{0, 0}};
    RY_TRY(n->op->lower(g, n, t));
    RY_TRY(ry_graph_status(g));
    for (int j = 0; j < n->n_out; j++) {
        low[j] = value_of(g, t[j]);
        if (low[j] && low[j]->spec.dtype != n->out[j].spec.dtype) low[j] = value_of(g, RY_APPLY(g, &ry_op_cast_row, &(ry_cast_args){(int32_t)n->out[j].spec.dtype}, t[j]));
        if (low[j] && !ry_same_spec(&low[j]->spec, &n->out[j].spec))
            return ry_fail_node(n, RY_EINTERNAL, "its lowering gives %s for %s", ry_show(&low[j]->spec).s, ry_show(&n->out[j].spec).s);
    }
    return low[0] ? RY_OK : ry_fail_node(n, RY_EINTERNAL, "its lowering gives nothing");
}

/* o is where v is: a view, or what simpler rows computed. */
static void see(ry_value *o, const ry_value *v) {
    memcpy(o->stride, v->stride, sizeof o->stride);
    o->offset = v->offset;
    o->base = v->base, o->var = v->var, o->version = v->version, o->name = v->name;
}

ry_tensor ry_apply_row(ry_graph *g, const ry_op *op, size_t n_src, const ry_tensor *src, const void *args) {
    if (g->status != RY_OK) return RY_NULL;
    if ((int)n_src < op->min_src || (int)n_src > op->max_src)
        return ry_graph_fail(g, RY_EARG, "%s takes %d to %d sources, not %zu", op->name, op->min_src, op->max_src, n_src);
    static const union { char bytes[GRAPH_MAX_ARGS]; double d; int64_t i; } no_args; /* arguments left out are zeros */
    assert(args || op->arg_size <= sizeof no_args);
    if (!args) args = &no_args;
    ry_node probe = {.op = op, .n_src = (int)n_src, .args = (void *)(uintptr_t)args}; /* infer may look, not write */
    ry_spec spec[RY_MAX_OUT] = {{0}};
    ry_status st = RY_OK;
    for (size_t i = 0; i < n_src; i++) {
        if (ry_is_null(src[i])) {
            if (i < 32 && (op->optional >> i & 1u)) continue;
            return ry_graph_fail(g, RY_EARG, "%s: source %zu is null", op->name, i);
        }
        probe.src[i] = value_of(g, src[i]);
        if (!probe.src[i]) return ry_graph_fail(g, RY_ESTALE, "%s: source %zu is a tensor of an earlier step or another graph", op->name, i);
    }
    if ((st = op->infer(&probe, spec)) != RY_OK) return graph_sticky(g, st);
    for (size_t i = 0; i < n_src; i++)
        if (probe.src[i] && !(probe.src[i] = shaped(g, op, (int)i, probe.src[i]))) return RY_NULL;
    if (op->writes && separate(g, &probe) != RY_OK) return RY_NULL;
    int n_out = 0;
    while (n_out < RY_MAX_OUT && spec[n_out].dtype != RY_NONE) {
        size_t bytes;
        if ((st = ry_spec_bytes(&bytes, &spec[n_out])) != RY_OK) return graph_sticky(g, ry_fail_in(st, "%s", op->name));
        n_out++;
    }
    ry_value view = {.spec = spec[0]};
    if (op->flags & RY_OP_VIEW) {
        st = op->view(&probe, &view);
        if (st == RY_EUNSUPPORTED) {
            probe.src[0] = value_of(g, RY_APPLY(g, &ry_op_contiguous_row, NULL, graph_handle(g, probe.src[0])));
            if (!probe.src[0]) return RY_NULL;
            st = op->view(&probe, &view);
        }
        if (st != RY_OK) return graph_sticky(g, st);
    }
    ry_value **low = NULL;
    if (composed(g, op)) {
        ry_value out[RY_MAX_OUT] = {{.index = 0}};
        for (int i = 0; i < n_out; i++) {
            out[i] = (ry_value){.spec = spec[i], .node = &probe, .index = i, .base = &out[i]};
            dense_strides(&out[i]);
        }
        probe.out = out, probe.n_out = n_out;
        low = RY_NEW(&g->arena, ry_value *, RY_MAX_OUT);
        if ((st = low ? compose(g, &probe, low) : RY_ENOMEM) != RY_OK) return graph_sticky(g, st);
    }
    ry_node *n = new_node(g, op, n_out);
    if (!n) return RY_NULL;
    n->n_src = (int)n_src;
    n->low = low;
    memcpy(n->src, probe.src, sizeof n->src);
    n->scope = g->backward ? 0 : g->scope;
    if ((st = set_args(g, n, args)) != RY_OK) return graph_sticky(g, st);
    for (int i = 0; i < n_out; i++) {
        n->out[i].spec = spec[i];
        dense_strides(&n->out[i]);
        if (low && low[i]) see(&n->out[i], low[i]);
    }
    if (op->flags & RY_OP_VIEW) {
        see(&n->out[0], n->src[0]);
        memcpy(n->out[0].stride, view.stride, sizeof view.stride);
        n->out[0].offset = view.offset;
    }
    if (op->writes && (st = make_versions(g, n)) != RY_OK) return graph_sticky(g, st);
    return graph_handle(g, &n->out[0]);
}

ry_tensor ry_apply(ry_graph *g, const ry_op *op, size_t n, const ry_tensor *src, const void *args) {
    return op ? ry_apply_row(g, op, n, src, args) : ry_graph_fail(g, RY_EARG, "ry_apply: no such operator");
}

/* ---- leaves ---- */

static ry_status infer_leaf(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    (void)out;
    return ry_fail(RY_EARG, "%s is made by ry_input and ry_use only", n->op->name);
}
static const ry_arg input_args[] = {RY_ARG(graph_input_args, index, RY_ARG_I64), {0}};
const ry_op graph_input_row = {.name = "input", .doc = "fed at every run", .arg_size = sizeof(graph_input_args), .args = input_args, .flags = RY_OP_LEAF, .infer = infer_leaf};
const ry_op graph_var_row = {.name = "variable", .doc = "lasting storage", .flags = RY_OP_LEAF, .infer = infer_leaf};

static ry_node *leaf(ry_graph *g, const ry_op *op, const ry_spec *s, const char *name) {
    size_t bytes;
    ry_status st = ry_spec_bytes(&bytes, s);
    if (st != RY_OK) {
        graph_sticky(g, ry_fail_in(st, "%s", name ? name : op->name));
        return NULL;
    }
    ry_node *n = new_node(g, op, 1);
    if (!n) return NULL;
    n->out[0].spec = *s;
    dense_strides(&n->out[0]);
    if (name && !(n->name = n->out[0].name = ry_arena_strdup(&g->arena, name))) {
        graph_sticky(g, RY_ENOMEM);
        return NULL;
    }
    n->backward = false;
    return n;
}

ry_tensor ry_input(ry_graph *g, const ry_spec *s, const char *name) {
    if (g->status != RY_OK) return RY_NULL;
    ry_node *n = leaf(g, &graph_input_row, s, name);
    if (!n) return RY_NULL;
    ry_status st = set_args(g, n, &(graph_input_args){(int64_t)g->inputs.n});
    ry_value **slot = st == RY_OK ? RY_PUSH(&g->inputs) : NULL;
    if (!slot) return graph_sticky(g, RY_ENOMEM);
    *slot = &n->out[0];
    return graph_handle(g, &n->out[0]);
}

ry_tensor ry_use(ry_graph *g, ry_var *v) {
    if (g->status != RY_OK) return RY_NULL;
    if (!v) return ry_graph_fail(g, RY_EARG, "ry_use: no variable given");
    if (v->dev != g->dev) return ry_graph_fail(g, RY_EARG, "ry_use: %s lives on another device than the graph", v->name);
    graph_var *known = find_var(g, v);
    if (known) return graph_handle(g, known->now);
    ry_node *n = leaf(g, &graph_var_row, &v->spec, v->name);
    graph_var *slot = n ? RY_PUSH(&g->vars) : NULL;
    if (!slot) return graph_sticky(g, RY_ENOMEM);
    n->out[0].var = v;
    *slot = (graph_var){v, &n->out[0]};
    return graph_handle(g, &n->out[0]);
}

ry_tensor ry_name(ry_graph *g, ry_tensor t, const char *name) {
    ry_value *v = value_of(g, t);
    if (!v || !name) return t;
    char *copy = ry_arena_strdup(&g->arena, name);
    if (!copy) return graph_sticky(g, RY_ENOMEM);
    v->name = copy;
    if (v->index == 0) v->node->name = copy;
    return t;
}

void ry_recompute_begin(ry_graph *g) { g->scope = ++g->scopes; }
void ry_recompute_end(ry_graph *g) { g->scope = 0; }

bool ry_is_fill(ry_graph *g, ry_tensor t, double *value) {
    const ry_value *v = ry_value_of(g, t);
    if (!v || v->base->node->op != &ry_op_fill_row) return false;
    *value = ((const ry_fill_args *)v->base->node->args)->value;
    return true;
}
