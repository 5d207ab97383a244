/* cpu.c - the CPU as a device: memory is the host's, a program runs its steps one after another on the pool.
 * Knows threads and addresses, no formula. */
#include "base/pool.h"
#include "core/program.h"
#include "simd/simd.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct cpu_step {
    ry_cpu call;              /* phase, part and local are set at run time */
    void *src[RY_MAX_SRC], *out[RY_MAX_OUT];
} cpu_step;

typedef struct cpu_program {
    cpu_step *steps;
    uint64_t slab_version;    /* addresses are of this slab */
} cpu_program;

static size_t count(void) { return 1; }

static ry_status describe(size_t i, ry_device_info *out) {
    (void)i;
    memset(out, 0, sizeof *out);
    os_cpu_name(out->name, sizeof out->name);
    strcpy(out->backend, "cpu");
    strcpy(out->type, "Cpu");
    out->threads = os_cpu_count();
    simd_describe(out->features, sizeof out->features);
    out->memory = os_memory_total();
    out->preference = 100;
    return RY_OK;
}

static ry_status open_cpu(ry_device *d, size_t i, const ry_device_options *o) {
    ry_pool *pool;
    if (o->threads < 0 || o->threads > 4096) RY_FAIL(RY_EARG, "threads must be 0 (all) to 4096, not %d", o->threads);
    RY_TRY(describe(i, &d->info));
    RY_TRY(ry_pool_open(&pool, o->threads));
    d->impl = pool;
    d->info.threads = ry_pool_threads(pool);
    return RY_OK;
}

static void close_cpu(ry_device *d) { ry_pool_close(d->impl); }

static ry_status alloc(ry_device *d, ry_buffer *b, size_t bytes) {
    (void)d;
    *b = (ry_buffer){.at = ry_mem_zalloc(bytes ? bytes : 1), .bytes = bytes};
    return b->at ? RY_OK : RY_ENOMEM;
}

static ry_status wrap(ry_device *d, ry_buffer *b, void *data, size_t bytes) {
    if (bytes && (uintptr_t)data % 4) { /* what f32 needs; legal files may lie anywhere */
        RY_TRY(alloc(d, b, bytes));
        memcpy(b->at, data, bytes);
        return RY_OK;
    }
    *b = (ry_buffer){.at = data, .bytes = bytes, .borrowed = true};
    return RY_OK;
}

static void free_cpu(ry_device *d, ry_buffer *b) {
    (void)d;
    if (!b->borrowed) ry_mem_free(b->at);
    b->at = NULL, b->bytes = 0;
}

static ry_status write(ry_device *d, ry_buffer *b, size_t at, const void *data, size_t bytes) {
    (void)d;
    if (bytes) memcpy((char *)b->at + at, data, bytes);
    return RY_OK;
}

static ry_status read(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes) {
    (void)d;
    if (bytes) memcpy(data, (const char *)b->at + at, bytes);
    return RY_OK;
}

static ry_status copy(ry_device *d, ry_buffer *to, const ry_buffer *from, size_t bytes) {
    (void)d;
    if (bytes) memmove(to->at, from->at, bytes);
    return RY_OK;
}

/* ---- programs ---- */

static _Alignas(64) char nothing[64]; /* where empty tensors and scratch are: kernels may add 0 to the address */

static void *address(const ry_program *p, const ry_value *v) {
    const ry_buffer *b;
    size_t at;
    if (!v) return NULL;
    program_operand(p, v, &b, &at);
    return b->at ? (char *)b->at + at : nothing;
}

static void bind(ry_program *p) {
    cpu_program *x = p->impl;
    for (int i = 0; i < p->plan->n_steps; i++) {
        const plan_step *s = &p->plan->steps[i];
        cpu_step *c = &x->steps[i];
        for (int k = 0; k < s->node->n_src; k++) c->src[k] = address(p, s->node->src[k]);
        for (int k = 0; k < s->node->n_out; k++) c->out[k] = address(p, &s->node->out[k]);
        c->call = (ry_cpu){.n = s->node, .args = p->args[i], .src = c->src, .out = c->out};
        c->call.scratch = s->work.scratch ? (char *)p->dev->slab.at + s->scratch_at : nothing;
    }
    x->slab_version = p->dev->slab_version;
}

static ry_status build(ry_device *d, ry_program *p) {
    cpu_program *x = RY_NEW(&p->arena, cpu_program, 1);
    if (!x || !(x->steps = RY_NEW(&p->arena, cpu_step, p->plan->n_steps + 1))) return RY_ENOMEM;
    x->slab_version = d->slab_version - 1; /* bound at the first run */
    p->impl = x;
    return RY_OK;
}

static void unbuild(ry_device *d, ry_program *p) {
    (void)d;
    p->impl = NULL; /* lies in the program's arena */
}

typedef struct run_state { /* one phase on the pool */
    const ry_cpu *call;
    ry_pool *pool;
    ry_status (*fn)(const ry_cpu *c);
    int64_t failed_part;       /* the lowest that failed: the message does not depend on timing */
    ry_status status;
    char message[512];
    atomic_bool failed;
} run_state;

static void run_part(void *ud, int64_t part, int worker) {
    run_state *r = ud;
    ry_cpu c = *r->call;
    c.part = part;
    c.local = ry_pool_scratch(r->pool, worker);
    ry_status st = r->fn(&c);
    if (st == RY_OK) return;
    os_static_lock();
    if (!atomic_load(&r->failed) || part < r->failed_part) {
        r->failed_part = part;
        r->status = st;
        snprintf(r->message, sizeof r->message, "%s", ry_message());
        atomic_store(&r->failed, true);
    }
    os_static_unlock();
}

static ry_status run_step(ry_pool *pool, const plan_step *s, ry_cpu *call) {
    int64_t rounds = s->work.rounds > 1 ? s->work.rounds : 1;
    for (int64_t at = 0; at < rounds * s->work.phases; at++) {
        int phase = (int)(at % s->work.phases);
        call->round = at / s->work.phases;
        call->phase = phase;
        if (s->work.parts[phase] == 1) {
            call->part = 0;
            call->local = ry_pool_scratch(pool, 0);
            RY_TRY(s->node->op->cpu(call));
            continue;
        }
        run_state r = {.call = call, .pool = pool, .fn = s->node->op->cpu};
        ry_pool_run(pool, s->work.parts[phase], run_part, &r);
        if (atomic_load(&r.failed)) return ry_fail(r.status, "%s", r.message);
    }
    return RY_OK;
}

static ry_status run(ry_device *d, ry_program *p) {
    ry_pool *pool = d->impl;
    cpu_program *x = p->impl;
    const ry_plan *plan = p->plan;
    ry_status st = RY_OK;
    bool wrote = false;
    if (x->slab_version != d->slab_version) bind(p);
    ry_pool_begin(pool);
    st = ry_pool_reserve(pool, plan->local ? plan->local : 64);
    memset(p->ms, 0, sizeof p->ms);
    double then = os_now(), began = then;
    for (int i = 0; i < plan->n_steps && st == RY_OK; i++) {
        const plan_step *s = &plan->steps[i];
        if (p->step_s) began = os_now();
        st = run_step(pool, s, &x->steps[i].call);
        wrote |= s->node->op->writes != 0;
        if (st == RY_OK && p->opt.debug_nan) st = program_check_finite(s, x->steps[i].out);
        if (p->step_s) {
            p->step_at[i] = began;
            p->step_s[i] = os_now() - began;
        }
        if (i + 1 == plan->n_steps || plan->steps[i + 1].phase != s->phase) {
            double now = os_now();
            p->ms[s->phase] += (now - then) * 1e3;
            then = now;
        }
    }
    ry_pool_end(pool);
    if (st != RY_OK && wrote) d->failed = true;
    return st;
}

static ry_status sync_cpu(ry_device *d) {
    (void)d;
    return RY_OK;
}

extern const ry_device_api ry_device_cpu;
const ry_device_api ry_device_cpu = {
    .backend = "cpu", .count = count, .describe = describe, .open = open_cpu, .close = close_cpu, .alloc = alloc, .wrap = wrap,
    .free = free_cpu, .write = write, .read = read, .copy = copy, .build = build, .unbuild = unbuild, .run = run, .sync = sync_cpu,
};
