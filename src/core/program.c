/* program.c - binding a plan to variables, inputs and outputs; running it; reading results and profiles. */
#include "core/program.h"
#include "core/graph.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 4096 }; /* most programs are small, and there may be many */

static void program_free(ry_program *p) {
    if (!p) return;
    if (p->impl) { /* another thread's run may look at it */
        ry_device_lock(p->dev);
        p->dev->api->unbuild(p->dev, p);
        ry_device_unlock(p->dev);
    }
    for (int i = 0; p->plan && p->inputs && i < p->plan->n_inputs; i++) p->dev->api->free(p->dev, &p->inputs[i]);
    for (int i = 0; p->plan && p->outputs && i < p->plan->n_outputs; i++) p->dev->api->free(p->dev, &p->outputs[i]);
    plan_release(p->dev, p->plan);
    ry_arena_free(&p->arena);
    ry_mem_free(p);
}

void ry_program_close(ry_program *p) { program_free(p); }

/* Dynamic arguments as the graph's nodes have them now. */
static void take_args(ry_program *p, const plan_live *l) {
    for (int i = 0; i < p->plan->n_steps; i++) {
        const plan_step *s = &p->plan->steps[i];
        if (s->dynamic) memcpy(p->args[i], l->nodes[s->origin]->args, s->node->op->arg_size);
    }
}

static ry_status program_new(ry_program **out, ry_device *d, ry_plan *plan, const plan_live *l, const ry_compile_options *opt) {
    ry_program *p = ry_mem_zalloc(sizeof *p);
    ry_status st = RY_ENOMEM;
    if (!p) {
        plan_release(d, plan);
        return st;
    }
    p->dev = d, p->plan = plan, p->opt = *opt;
    p->arena.chunk_bytes = FIRST_CHUNK;
    p->vars = RY_NEW(&p->arena, ry_var *, plan->n_vars + 1);
    p->var_ids = RY_NEW(&p->arena, uint64_t, plan->n_vars + 1);
    p->args = RY_NEW(&p->arena, void *, plan->n_steps + 1);
    p->inputs = RY_NEW(&p->arena, ry_buffer, plan->n_inputs + 1);
    p->outputs = RY_NEW(&p->arena, ry_buffer, plan->n_outputs + 1);
    if (!p->vars || !p->var_ids || !p->args || !p->inputs || !p->outputs) goto fail;
    for (int i = 0; i < plan->n_vars; i++) p->vars[i] = l->vars[i], p->var_ids[i] = l->vars[i]->id;
    for (int i = 0; i < plan->n_steps; i++) {
        const plan_step *s = &plan->steps[i];
        p->args[i] = s->node->args;
        if (s->dynamic && !(p->args[i] = ry_arena_alloc(&p->arena, s->node->op->arg_size))) goto fail;
    }
    take_args(p, l);
    if (opt->profile) {
        p->step_s = RY_NEW(&p->arena, double, plan->n_steps + 1);
        p->step_at = RY_NEW(&p->arena, double, plan->n_steps + 1);
        p->step_sum = RY_NEW(&p->arena, double, plan->n_steps + 1);
        if (!p->step_s || !p->step_at || !p->step_sum) goto fail;
    }
    for (int i = 0; i < plan->n_inputs; i++) RY_GO(st, fail, d->api->alloc(d, &p->inputs[i], plan->input_bytes[i]));
    for (int i = 0; i < plan->n_outputs; i++) RY_GO(st, fail, d->api->alloc(d, &p->outputs[i], plan->output_bytes[i]));
    RY_GO(st, fail, d->api->build(d, p));
    *out = p;
    return RY_OK;
fail:
    program_free(p);
    return st;
}

static bool same_binding(const ry_program *p, const ry_plan *plan, const plan_live *l, const ry_compile_options *opt) {
    if (!p || p->plan != plan || memcmp(&p->opt, opt, sizeof *opt)) return false;
    for (int i = 0; i < plan->n_vars; i++)
        if (p->vars[i] != l->vars[i] || p->var_ids[i] != l->vars[i]->id) return false;
    return true;
}

/* reuse: a program of this graph from before, taken if it is bound alike (then *out == reuse). */
static ry_status compile(ry_program **out, ry_graph *g, size_t n, const ry_tensor *want, const ry_compile_options *opt, ry_program *reuse) {
    static const ry_compile_options none;
    plan_live l = {0};
    ry_plan *plan = NULL;
    ry_status st = ry_graph_status(g);
    ry_compile_options full = opt ? *opt : none;
    if (full.debug_nan) full.no_fusion = true; /* the first operator that made it is to be named, not a chain */
    opt = &full;
    if (st != RY_OK) return st;
    RY_GO(st, done, plan_find_live(&l, g, n, want, opt));
    if (!opt->no_cache) plan = plan_cache_find(g->dev, &l);
    if (!plan) {
        RY_GO(st, done, plan_make(&plan, g, &l, n, want, opt));
        plan->held = sizeof *plan + ry_arena_bytes(&plan->arena);
        if (opt->no_cache) plan->refs = 1;
        else plan = plan_cache_put(g->dev, plan);
    }
    if (same_binding(reuse, plan, &l, opt)) {
        plan_release(g->dev, plan);
        take_args(reuse, &l);
        *out = reuse;
    } else st = program_new(out, g->dev, plan, &l, opt);
done:
    ry_arena_free(&l.arena);
    return st;
}

ry_status ry_compile(ry_program **out, ry_graph *g, size_t n, const ry_tensor *want, const ry_compile_options *opt) {
    return compile(out, g, n, want, opt, NULL);
}

int program_storage(const ry_program *p, const ry_value *v, const ry_buffer **buf, size_t *at, size_t *bytes) {
    int id = plan_storage_of(p->plan, v);
    const plan_storage *s = &p->plan->storages[id];
    *at = 0;
    *bytes = s->bytes;
    switch (s->where) {
    case PLAN_SLAB:
        *buf = &p->dev->slab;
        *at = s->at;
        break;
    case PLAN_INPUT: *buf = &p->inputs[s->slot]; break;
    case PLAN_VAR: *buf = &p->vars[s->slot]->buf; break;
    case PLAN_OUTPUT: *buf = &p->outputs[s->slot]; break;
    }
    return id;
}

void program_operand(const ry_program *p, const ry_value *v, const ry_buffer **buf, size_t *at) {
    size_t bytes;
    program_storage(p, v, buf, at, &bytes);
    *at += ry_bytes_of(v->spec.dtype, v->offset);
}

/* The nearest number that the field can hold; 0 for NaN. */
static void set_number(void *at, ry_arg_type t, double v) {
    if (t == RY_ARG_F64) {
        *(double *)at = v;
        return;
    }
    if (isnan(v)) v = 0;
    switch (t) {
    case RY_ARG_F64: break;
    case RY_ARG_I64: *(int64_t *)at = v <= -0x1p63 ? INT64_MIN : v >= 0x1p63 ? INT64_MAX : (int64_t)v; break;
    case RY_ARG_U64: *(uint64_t *)at = v <= 0 ? 0 : v >= 0x1p64 ? UINT64_MAX : (uint64_t)v; break;
    case RY_ARG_I32: *(int32_t *)at = v <= INT32_MIN ? INT32_MIN : v >= INT32_MAX ? INT32_MAX : (int32_t)v; break;
    case RY_ARG_U32: *(uint32_t *)at = v <= 0 ? 0 : v >= UINT32_MAX ? UINT32_MAX : (uint32_t)v; break;
    case RY_ARG_BOOL: *(bool *)at = v != 0; break;
    }
}

ry_status ry_program_set(ry_program *p, const char *field, double value) {
    bool found = false;
    for (int i = 0; i < p->plan->n_steps; i++) {
        const plan_step *s = &p->plan->steps[i];
        for (const ry_arg *a = s->dynamic ? s->node->op->args : NULL; a && a->name; a++) {
            if (!a->dynamic || strcmp(a->name, field)) continue;
            set_number((char *)p->args[i] + a->offset, a->type, value);
            found = true;
        }
    }
    return found ? RY_OK : ry_fail(RY_EARG, "no node of the program has a dynamic argument '%s'", field);
}

/* Numbers in data, which f->input is to be. */
static ry_status check_fed(const plan_fed *f, const void *data) {
    const ry_value *v = f->numbers;
    ry_numbers x = f->node->op->numbers(f->node);
    int64_t n = ry_count(&v->spec);
    bool dense = ry_is_dense(v);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = v->offset + (dense ? i : 0), rest = i;
        for (int d = v->spec.rank - 1; d >= 0 && !dense; rest /= v->spec.dim[d], d--) at += rest % v->spec.dim[d] * v->stride[d];
        int64_t number = ry_load_index(data, v->spec.dtype, at);
        if ((number < 0 || number >= x.count) && !(x.ignore && number == *x.ignore)) return ry_fail_number(f->node, i, number);
    }
    return RY_OK;
}

ry_status ry_program_feed(ry_program *p, size_t input, const void *data, size_t bytes) {
    if (input >= (size_t)p->plan->n_inputs) RY_FAIL(RY_EARG, "the program has %d inputs, no input %zu", p->plan->n_inputs, input);
    if (bytes != p->plan->input_bytes[input])
        RY_FAIL(RY_EARG, "input %zu takes %zu bytes; %zu were given", input, p->plan->input_bytes[input], bytes);
    for (int i = 0; i < p->plan->n_fed; i++)
        if (p->plan->fed[i].input == (int)input) RY_TRY(check_fed(&p->plan->fed[i], data));
    ry_device_lock(p->dev);
    ry_status st = p->dev->api->write(p->dev, &p->inputs[input], 0, data, bytes);
    ry_device_unlock(p->dev);
    return st;
}

ry_status ry_run(ry_program *p) {
    ry_device *d = p->dev;
    ry_device_lock(d);
    ry_status st = d->failed ? ry_fail(RY_ELOST, "an earlier run on this device ended half-way: the variables that it wrote are void; open the device and them anew")
                             : ry_device_slab(d, p->plan->slab);
    if (st == RY_OK) st = d->api->run(d, p);
    if (st == RY_OK) {
        p->runs++;
        for (int i = 0; p->step_sum && i < p->plan->n_steps; i++) p->step_sum[i] += p->step_s[i];
    }
    ry_device_unlock(d);
    return st;
}

const ry_spec *ry_program_spec(const ry_program *p, size_t want) {
    return want < (size_t)p->plan->n_want ? &p->plan->want[want].value->spec : NULL;
}

ry_status ry_fetch(ry_program *p, size_t want, void *data, size_t bytes) {
    const ry_spec *s = ry_program_spec(p, want);
    const ry_buffer *buf;
    size_t at, have;
    if (!s) RY_FAIL(RY_EARG, "the program has %d wanted tensors, no %zu", p->plan->n_want, want);
    RY_TRY(ry_spec_bytes(&have, s));
    if (have != bytes) RY_FAIL(RY_EARG, "wanted tensor %zu is %s, %zu bytes; room for %zu was given", want, ry_show(s).s, have, bytes);
    ry_device_lock(p->dev);
    program_operand(p, p->plan->want[want].value, &buf, &at);
    ry_status st = p->dev->api->read(p->dev, buf, at, data, bytes);
    ry_device_unlock(p->dev);
    return st;
}

ry_status program_ask(ry_program *p, size_t want, void **ticket) {
    const ry_value *v = p->plan->want[want].value;
    const ry_buffer *buf;
    size_t at;
    ry_device_lock(p->dev);
    program_operand(p, v, &buf, &at);
    ry_status st = p->dev->api->ask(p->dev, buf, at, ry_bytes_of(v->spec.dtype, ry_count(&v->spec)), ticket);
    ry_device_unlock(p->dev);
    return st;
}

ry_status program_take(ry_device *d, void *ticket, void *data) {
    ry_device_lock(d);
    ry_status st = d->api->take(d, ticket, data);
    ry_device_unlock(d);
    return st;
}

/* ---- eval ---- */

static int64_t input_index(ry_graph *g, ry_tensor t) {
    const ry_value *v = ry_value_of(g, t);
    for (size_t i = 0; v && i < g->inputs.n; i++)
        if (g->inputs.at[i] == v) return (int64_t)i;
    return -1;
}

ry_status ry_eval(ry_graph *g, size_t n, const ry_tensor *want, size_t n_feed, const ry_feed *feed) {
    ry_program *p = NULL;
    RY_TRY(compile(&p, g, n, want, NULL, g->last));
    if (p != g->last) ry_program_close(g->last);
    g->last = p;
    g->last_want.n = 0;
    for (size_t i = 0; i < n; i++) {
        ry_tensor *slot = RY_PUSH(&g->last_want);
        if (!slot) return RY_ENOMEM;
        *slot = want[i];
    }
    for (size_t i = 0; i < n_feed; i++) {
        int64_t k = input_index(g, feed[i].input);
        if (k < 0) RY_FAIL(RY_EARG, "feed %zu is not an input of this graph", i);
        RY_TRY(ry_program_feed(p, (size_t)k, feed[i].data, feed[i].bytes));
    }
    return ry_run(p);
}

ry_status ry_read(ry_graph *g, ry_tensor t, void *data, size_t bytes) {
    RY_TRY(ry_graph_status(g));
    if (!ry_value_of(g, t)) RY_FAIL(RY_ESTALE, "ry_read: the tensor is null or of an earlier step");
    for (size_t i = 0; g->last && i < g->last_want.n; i++)
        if (g->last_want.at[i].id == t.id) return ry_fetch(g->last, i, data, bytes);
    RY_FAIL(RY_EARG, "ry_read: the tensor was not among those the last ry_eval wanted");
}

ry_status ry_keep(ry_var **out, ry_graph *g, ry_tensor t, const char *name) {
    RY_TRY(ry_graph_status(g));
    const ry_spec *s = ry_spec_of(g, t);
    bool have = false;
    size_t bytes;
    if (!s) RY_FAIL(RY_ESTALE, "ry_keep: the tensor is null or of an earlier step");
    RY_TRY(ry_spec_bytes(&bytes, s));
    for (size_t i = 0; g->last && i < g->last_want.n; i++) have |= g->last_want.at[i].id == t.id;
    if (!have) {
        if (g->inputs.n) RY_FAIL(RY_EARG, "ry_keep: evaluate the tensor first: the graph has inputs");
        RY_TRY(ry_eval(g, 1, &t, 0, NULL));
    }
    char *data = ry_mem_alloc(bytes);
    ry_var *v = NULL;
    ry_status st = data ? ry_read(g, t, data, bytes) : RY_ENOMEM;
    if (st == RY_OK) st = ry_var_open(&v, g->dev, s, name);
    if (st == RY_OK) st = ry_var_write(v, data, bytes);
    ry_mem_free(data);
    if (st != RY_OK) ry_var_close(v);
    else *out = v;
    return st;
}

/* ---- reports ---- */

void ry_program_plan(const ry_program *p, ry_plan_info *out) { *out = p->plan->info; }

size_t ry_program_profile(const ry_program *p, ry_profile_row *rows, size_t cap) {
    if (!p->step_sum || !p->runs) return 0;
    for (int i = 0; i < p->plan->n_steps && (size_t)i < cap; i++) {
        const ry_node *n = p->plan->steps[i].node;
        double s = p->step_sum[i] / (double)p->runs;
        ry_cost c = plan_cost(n);
        rows[i] = (ry_profile_row){.op = n->op->name, .name = n->name ? n->name : "", .ms = s * 1e3, .calls = p->runs};
        if (s > 0) rows[i].gflops = c.flops / s * 1e-9, rows[i].gbps = c.bytes / s * 1e-9;
    }
    return (size_t)p->plan->n_steps;
}

ry_status ry_program_trace(const ry_program *p, const char *path) {
    if (!p->step_s || !p->runs) RY_FAIL(RY_EARG, "no profile: compile with .profile and run first");
    static const char *const phase[] = {"forward", "backward", "update"};
    ry_text t = {0};
    ry_text_puts(&t, "{\"traceEvents\":[\n");
    for (int i = 0; i < p->plan->n_steps; i++) {
        const plan_step *s = &p->plan->steps[i];
        ry_text_puts(&t, i ? ",\n{\"name\":" : "{\"name\":");
        ry_text_json(&t, s->node->op->name, strlen(s->node->op->name));
        ry_text_printf(&t, ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"name\":", phase[s->phase],
                       (p->step_at[i] - p->step_at[0]) * 1e6, p->step_s[i] * 1e6);
        const char *name = s->node->name ? s->node->name : "";
        ry_text_json(&t, name, strlen(name));
        ry_text_printf(&t, ",\"out\":\"%s\"}}", s->node->n_out ? ry_show(&s->node->out[0].spec).s : "");
    }
    ry_text_puts(&t, "\n]}\n");
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) st = os_file_write(path, t.at, t.n);
    ry_text_free(&t);
    return st;
}

ry_status program_check_finite(const plan_step *s, void *const *out) {
    for (int o = 0; o < s->node->n_out; o++) {
        const ry_spec *spec = &s->node->out[o].spec;
        if (!ry_is_float(spec->dtype)) continue;
        int64_t n = ry_count(spec);
        float buf[256];
        for (int64_t i = 0; i < n; i += 256) {
            int64_t m = n - i < 256 ? n - i : 256;
            const float *x = ry_load_row(out[o], spec->dtype, i, m, buf);
            for (int64_t k = 0; k < m; k++)
                if (!isfinite(x[k]))
                    return ry_fail_node(s->node, RY_ENAN, "element %lld of output %d %s is %g", (long long)(i + k), o, ry_show(spec).s, (double)x[k]);
        }
    }
    return RY_OK;
}
