/* webgpu.c - any GPU through WebGPU: opens and describes it, runs programs on it, takes their times.
 *
 * A program is built once (_gpu_build.c): kernels compiled side by side (_gpu_kernels.c), bindings and uniforms made. A run writes the
 * uniforms that changed, encodes the dispatches in order and submits. Memory is _gpu_memory.c; what the library is, and how it differs
 * from others, _wgpu.c; what a kernel's text is, _wgsl.c.
 * Owns ry_device.impl (gpu). Knows the vendor's interface, no formula. */
#include "_gpu.h"

#if !defined(RUSTY_HAVE_WGPU)

static size_t count(void) { return 0; }
static ry_status describe(size_t i, ry_device_info *out) { return wgpu_describe(i, out); }
static ry_status open_gpu(ry_device *d, size_t i, const ry_device_options *o) {
    (void)d, (void)i, (void)o;
    return wgpu_open();
}
static void close_gpu(ry_device *d) { (void)d; }
extern const ry_device_api ry_device_webgpu;
const ry_device_api ry_device_webgpu = {.backend = "webgpu", .count = count, .describe = describe, .open = open_gpu, .close = close_gpu};

#else
#include <stdlib.h>
#include <string.h>

/* ---- devices ---- */

static size_t count(void) { return wgpu_adapters(); }
static ry_status describe(size_t i, ry_device_info *out) { return wgpu_describe(i, out); }

static void close_gpu(ry_device *d) {
    gpu *g = d->impl;
    if (!g) return;
    if (g->dev) wgpu_wait(g->dev, NULL);
    gpu_kernels_free(g);
    if (g->map) wgpu.BufferRelease(g->map);
    wgpu_device_close(g->dev, g->queue);
    wgpu_trouble_close(&g->trouble);
    os_mutex_close(g->lock);
    ry_mem_free(g);
    d->impl = NULL;
}

static ry_status open_gpu(ry_device *d, size_t i, const ry_device_options *o) {
    (void)o;
    RY_TRY(wgpu_open());
    const wgpu_adapter *a = wgpu_adapter_at(i);
    if (!a) RY_FAIL(RY_ENOENT, "there is no WebGPU adapter %zu", i);
    gpu *g = ry_mem_zalloc(sizeof *g);
    if (!g) return RY_ENOMEM;
    d->impl = g;
    wgpu_device_wish wish = {.trouble = &g->trouble};
    ry_status st = wgpu_trouble_open(&g->trouble);
    if (st != RY_OK) {
        ry_mem_free(g);
        d->impl = NULL;
        return st;
    }
    RY_GO(st, fail, os_mutex_open(&g->lock));
    RY_GO(st, fail, wgpu_describe(i, &d->info));
    RY_GO(st, fail, wgpu_device_open(a, &wish, &g->dev, &g->queue));
    g->lim = wish.limits, g->has = wish.features;
    const char *safe = os_env("RUSTY_WEBGPU_SAFE"), *fault = os_env("RUSTY_FAULT");
    g->safe = safe && strcmp(safe, "0") != 0;
    if (fault && !strncmp(fault, "device:", 7)) g->fault = atoi(fault + 7);
    bool software = a->kind == WGPUAdapterType_CPU;
    g->budget_s = a->kind == WGPUAdapterType_DiscreteGPU ? 0.5 : software ? 60 : 0.1;
    g->scale = 1;
    d->caps = (ry_caps){
        .features = (g->has.subgroups ? RY_FEATURE_SUBGROUPS : 0u) | (g->has.i64 ? RY_FEATURE_I64 : 0u) | (software ? RY_FEATURE_SOFTWARE : 0u) |
                    (a->kind == WGPUAdapterType_IntegratedGPU ? RY_FEATURE_INTEGRATED : 0u),
        .align = g->lim.minStorageBufferOffsetAlignment,
        .max_bindings = g->lim.maxStorageBuffersPerShaderStage,
        .shared_bytes = g->lim.maxComputeWorkgroupStorageSize,
        .max_invocations = g->lim.maxComputeInvocationsPerWorkgroup,
        .max_binding = (size_t)(g->lim.maxStorageBufferBindingSize < SIZE_MAX / 2 ? g->lim.maxStorageBufferBindingSize : SIZE_MAX / 2) / GPU_WHOLE * GPU_WHOLE,
        .max_buffer = gpu_piece_bytes(g)};
    if (d->caps.max_bindings > RY_OPERANDS) d->caps.max_bindings = RY_OPERANDS;
    if (d->caps.max_invocations < 256 || d->caps.shared_bytes < 16384)
        RY_GO(st, fail, ry_fail(RY_EUNSUPPORTED, "webgpu: this device gives a workgroup %u invocations and %u bytes of shared memory; kernels count on what WebGPU promises, 256 and 16384",
                                d->caps.max_invocations, d->caps.shared_bytes));
    return RY_OK;
fail:
    close_gpu(d);
    return st;
}

/* ---- times ---- */

/* Times of the passes of the last run, once the device has written them. */
static void take_times(gpu *g, ry_program *p) {
    gpu_program *x = p->impl;
    if (!x->mapping || !atomic_load(&x->mapped)) return;
    x->mapping = false;
    g->timed = NULL;
    if (atomic_load(&x->mapped) != 1) return;
    const uint64_t *t = wgpu_mapped(g->dev, x->times, 0, (size_t)x->n_pass * 16);
    double period = wgpu.QueueGetTimestampPeriod(g->queue), total = 0;
    memset(p->ms, 0, sizeof p->ms);
    for (int i = 0; t && i < x->n_pass; i++) {
        double s = t[2 * i + 1] > t[2 * i] ? (double)(t[2 * i + 1] - t[2 * i]) * period * 1e-9 : 0;
        p->ms[x->pass_phase[i]] += s * 1e3;
        total += s;
    }
    wgpu.BufferUnmap(x->times);
    if (total > 0 && x->estimate_s > 0) g->scale = 0.5 * g->scale + 0.5 * total / x->estimate_s;
}

static ry_status read(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes) {
    gpu *g = d->impl;
    RY_TRY(gpu_read(d, b, at, data, bytes));
    if (g->timed) take_times(g, g->timed);
    return RY_OK;
}

static ry_status sync_gpu(ry_device *d) {
    gpu *g = d->impl;
    wgpu_wait(g->dev, NULL);
    if (g->timed) take_times(g, g->timed);
    return wgpu_check(&g->trouble);
}

/* ---- running ---- */

static ry_status prepare(ry_device *d, ry_program *p, ry_launch *l, ry_text *head) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    bool bind = x->slab_version != d->slab_version;
    for (size_t i = 0; i < x->step.n; i++) {
        gpu_step *s = &x->step.at[i];
        if (p->plan->steps[s->plan_step].dynamic) { /* the same launch, other uniforms */
            head->n = 0;
            RY_TRY(launch_node(l, s->node, p->args[s->plan_step], s->variant, &d->caps, head));
            gpu_fill_slot(g, x, s, l, false);
        }
        if (bind) gpu_bind_step(d, p, s);
    }
    x->slab_version = d->slab_version;
    RY_TRY(wgpu_check(&g->trouble));
    if (x->dirty_to > x->dirty_from) wgpu.QueueWriteBuffer(g->queue, x->uniform, x->dirty_from, x->host + x->dirty_from, gpu_round_up(x->dirty_to - x->dirty_from, 4));
    x->dirty_from = x->dirty_to = 0;
    return RY_OK;
}

static void encode_step(gpu *g, WGPUComputePassEncoder c, const gpu_step *s) {
    for (int64_t r = 0; r < s->rounds; r++)
        for (int k = 0; k < s->n_dispatch; k++) {
            int64_t n = s->dispatch[k].groups, gx = gpu_grid_row(g, n);
            uint32_t at = (uint32_t)(s->uniform_at + (size_t)(r * s->n_dispatch + k) * s->slot);
            if (n <= 0) continue;
            wgpu.ComputePassEncoderSetPipeline(c, s->mod->pipe[s->pipe[k]].at);
            wgpu.ComputePassEncoderSetBindGroup(c, 0, s->group[s->group_of[k]].at, 1, &at);
            wgpu.ComputePassEncoderDispatchWorkgroups(c, (uint32_t)gx, (uint32_t)((n + gx - 1) / gx), 1);
        }
}

/* Ends and releases the pass, if there is one. */
static void end_pass(WGPUComputePassEncoder *c) {
    if (!*c) return;
    wgpu.ComputePassEncoderEnd(*c);
    wgpu.ComputePassEncoderRelease(*c);
    *c = NULL;
}

static ry_status submit_step(gpu *g, const gpu_step *s) {
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    WGPUComputePassEncoder c = wgpu.CommandEncoderBeginComputePass(e, NULL);
    encode_step(g, c, s);
    end_pass(&c);
    return gpu_submit(g, &e, NULL);
}

/* One step, one submission, its outputs checked on the host. */
static ry_status run_checked(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    for (size_t i = 0; i < x->step.n; i++) {
        const plan_step *ps = &p->plan->steps[x->step.at[i].plan_step];
        void *out[RY_MAX_OUT] = {0};
        ry_status st = RY_OK;
        RY_TRY(submit_step(g, &x->step.at[i]));
        if (i + 1 < x->step.n && x->step.at[i + 1].plan_step == x->step.at[i].plan_step) continue; /* a piece: not the last */
        for (int o = 0; o < ps->node->n_out && st == RY_OK; o++) {
            const ry_value *v = &ps->node->out[o];
            const ry_buffer *buf;
            size_t at, bytes = ry_bytes_of(v->spec.dtype, ry_count(&v->spec));
            if (!ry_is_float(v->spec.dtype)) continue;
            program_operand(p, v, &buf, &at);
            out[o] = ry_mem_alloc(bytes ? bytes : 1);
            st = out[o] ? gpu_read(d, buf, at, out[o], bytes) : RY_ENOMEM;
        }
        if (st == RY_OK) st = program_check_finite(ps, out);
        for (int o = 0; o < RY_MAX_OUT; o++) ry_mem_free(out[o]);
        RY_TRY(st);
    }
    return RY_OK;
}

/* A pass a step, two timestamps each. */
static ry_status run_profiled(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    enum { CHUNK = GPU_QUERIES / 2 };
    double period = wgpu.QueueGetTimestampPeriod(g->queue), first = -1;
    int n_step = (int)x->step.n, repeat = p->repeat > 1 ? p->repeat : 1;
    memset(p->ms, 0, sizeof p->ms);
    memset(p->step_s, 0, (size_t)p->plan->n_steps * sizeof *p->step_s);
    uint64_t *t = ry_mem_alloc(GPU_QUERIES * 8);
    if (!t) return RY_ENOMEM;
    for (int from = 0; from < n_step; from += CHUNK) {
        int to = from + CHUNK < n_step ? from + CHUNK : n_step;
        WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        for (int i = from; i < to; i++) {
            WGPUPassTimestampWrites w = {.querySet = x->queries, .beginningOfPassWriteIndex = (uint32_t)(i - from) * 2, .endOfPassWriteIndex = (uint32_t)(i - from) * 2 + 1};
            WGPUComputePassEncoder c = wgpu.CommandEncoderBeginComputePass(e, &(WGPUComputePassDescriptor){.timestampWrites = &w});
            for (int r = 0; r < repeat; r++) encode_step(g, c, &x->step.at[i]);
            end_pass(&c);
        }
        wgpu.CommandEncoderResolveQuerySet(e, x->queries, 0, (uint32_t)(to - from) * 2, x->resolved, 0);
        ry_status st = gpu_submit(g, &e, NULL);
        if (st == RY_OK) st = gpu_read_piece(g, x->resolved, 0, t, (size_t)(to - from) * 16);
        if (st != RY_OK) {
            ry_mem_free(t);
            return st;
        }
        for (int i = from; i < to; i++) {
            double begin = (double)t[2 * (i - from)] * period * 1e-9, end = (double)t[2 * (i - from) + 1] * period * 1e-9, s = end > begin ? (end - begin) / repeat : 0;
            int at = x->step.at[i].plan_step;
            if (first < 0) first = begin;
            if (!i || x->step.at[i - 1].plan_step != at) p->step_at[at] = begin - first;
            p->step_s[at] += s;
            p->ms[p->plan->steps[at].phase] += s * 1e3;
        }
    }
    ry_mem_free(t);
    return RY_OK;
}

/* Without timestamps: the host's clock around each step. */
static ry_status run_clocked(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    double start = os_now();
    memset(p->ms, 0, sizeof p->ms);
    memset(p->step_s, 0, (size_t)p->plan->n_steps * sizeof *p->step_s);
    for (size_t i = 0; i < x->step.n; i++) {
        double t = os_now();
        int at = x->step.at[i].plan_step;
        RY_TRY(submit_step(g, &x->step.at[i]));
        wgpu_wait(g->dev, NULL);
        if (!i || x->step.at[i - 1].plan_step != at) p->step_at[at] = t - start;
        p->step_s[at] += os_now() - t;
        p->ms[p->plan->steps[at].phase] += (os_now() - t) * 1e3;
    }
    return wgpu_check(&g->trouble);
}

/* Dispatches of a submission: the device begins on the first few while the others are encoded. */
enum { FIRST_SHARE = 32, LATER_SHARE = 160 };

enum { TIMED = 16 }; /* first runs whose times are taken, then one of so many: it costs the device a little */

static ry_status run_all(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    WGPUCommandEncoder e = NULL;
    WGPUComputePassEncoder c = NULL;
    bool timing = x->queries && !x->mapping && (p->runs < TIMED || p->runs % TIMED == 0);
    double load = 0;
    int64_t dispatches = 0, share = g->awaited > 1 ? INT64_MAX : FIRST_SHARE; /* a device that is behind needs no first few */
    WGPUSubmissionIndex last;
    int phase = -1, passes = 0;
    for (size_t i = 0; i < x->step.n; i++) {
        const gpu_step *s = &x->step.at[i];
        int now = p->plan->steps[s->plan_step].phase;
        bool full = (load > 0 && load + s->estimate_s * g->scale > g->budget_s) || dispatches >= share;
        if (c && (full || now != phase)) {
            end_pass(&c);
            if (full) {
                RY_TRY(gpu_submit(g, &e, NULL));
                load = 0, dispatches = 0, share = LATER_SHARE;
            }
        }
        if (!e) e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        if (!c) {
            WGPUPassTimestampWrites w = {.querySet = x->queries, .beginningOfPassWriteIndex = (uint32_t)passes * 2, .endOfPassWriteIndex = (uint32_t)passes * 2 + 1};
            bool timed = timing && passes < GPU_MAX_PASSES;
            if (timed) x->pass_phase[passes++] = (uint8_t)now;
            c = wgpu.CommandEncoderBeginComputePass(e, timed ? &(WGPUComputePassDescriptor){.timestampWrites = &w} : NULL);
        }
        phase = now;
        encode_step(g, c, s);
        dispatches += s->rounds * s->n_dispatch;
        load += s->estimate_s * g->scale;
    }
    end_pass(&c);
    if (passes) {
        wgpu.CommandEncoderResolveQuerySet(e, x->queries, 0, (uint32_t)passes * 2, x->resolved, 0);
        wgpu.CommandEncoderCopyBufferToBuffer(e, x->resolved, 0, x->times, 0, (uint64_t)passes * 16);
    }
    if (g->asked && !e) e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    if (g->asked) gpu_answer(g, e);
    RY_TRY(gpu_submit(g, &e, &last));
    gpu_answered(g, &last);
    if (passes) {
        x->n_pass = passes;
        x->mapping = true;
        atomic_store(&x->mapped, 0);
        wgpu.BufferMapAsync(x->times, WGPUMapMode_Read, 0, (size_t)passes * 16, (WGPUBufferMapCallbackInfo){.callback = gpu_on_mapped, .userdata1 = &x->mapped});
        g->timed = p;
    }
    return wgpu_check(&g->trouble);
}

static ry_status run(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    if (g->fault && --g->fault == 0) wgpu.DeviceDestroy(g->dev);
    RY_TRY(wgpu_check(&g->trouble));
    if (g->timed) { /* of another program, or of this one's run before */
        wgpu_poll(g->dev);
        take_times(g, g->timed);
        if (g->timed && g->timed != p) {
            wgpu_wait(g->dev, NULL);
            take_times(g, g->timed);
        }
    }
    ry_launch *l = ry_mem_alloc(sizeof *l);
    ry_text head = {0};
    ry_status st = l ? prepare(d, p, l, &head) : RY_ENOMEM;
    ry_mem_free(l);
    ry_text_free(&head);
    RY_TRY(st);
    if (p->opt.debug_nan) st = run_checked(d, p);
    else if (p->step_s && x->queries) st = run_profiled(d, p);
    else if (p->step_s) st = run_clocked(d, p);
    else st = run_all(d, p);
    if (g->asked && st == RY_OK) { /* the others submit by themselves */
        WGPUSubmissionIndex last;
        WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        gpu_answer(g, e);
        st = gpu_submit(g, &e, &last);
        if (st == RY_OK) gpu_answered(g, &last);
    }
    gpu_answered(g, NULL);
    for (int i = 0; i < p->plan->n_steps && st != RY_OK; i++) d->failed |= p->plan->steps[i].node->op->writes != 0;
    return st;
}

extern const ry_device_api ry_device_webgpu;
const ry_device_api ry_device_webgpu = {.backend = "webgpu", .count = count, .describe = describe, .open = open_gpu, .close = close_gpu, .alloc = gpu_alloc,
                                        .wrap = gpu_wrap, .free = gpu_free, .write = gpu_write, .read = read, .ask = gpu_ask, .take = gpu_take, .copy = gpu_copy, .work = gpu_work,
                                        .build = gpu_build, .unbuild = gpu_unbuild, .run = run, .sync = sync_gpu, .held = gpu_held};
#endif
