/* webgpu.c - any GPU through WebGPU: memory, programs, submissions.
 *
 * A program is built once: kernels compiled side by side, bindings and uniforms made. A run writes the uniforms that changed, encodes
 * the dispatches in order and submits. What the library is, and how it differs from others, is _wgpu.c; what a kernel's text is, _wgsl.c.
 * Knows the vendor's interface, no formula. */
#include "_wgpu.h"
#include "core/program.h"
#include "core/tune.h"

#if !defined(RUSTY_HAVE_WGPU)
#include <string.h>

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
#include "_wgsl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MODULE_ENTRIES = 24, WHOLE = 16 /* bytes: what kernels may store at once */, PIECE_UNIT = 4096, QUERIES = 4096, MAX_PASSES = 64,
       UNIFORM_TAIL = 256 /* bindings of uniforms are rounded up */ };

typedef struct layout { /* of bindings: bit b of the mask is binding b + 1; 0 is the uniforms */
    uint32_t mask, read_only;
    WGPUBindGroupLayout bind;
    WGPUPipelineLayout pipe;
    struct layout *next;
} layout;

typedef struct pipeline { char entry[32]; const layout *lay; WGPUComputePipeline at; } pipeline;
typedef struct module { /* one text, compiled once */
    char *text;
    size_t bytes;
    uint64_t hash;
    bool trusted;
    WGPUShaderModule at;
    pipeline pipe[MAX_MODULE_ENTRIES];
    int n_pipe, n_made;
    int n_before;               /* n_made before the present compilation */
    bool queued;                /* to be compiled */
    struct module *next;
} module;
enum { BUCKETS = 1024 };

typedef struct gpu {
    WGPUDevice dev;
    WGPUQueue queue;
    WGPULimits lim;
    wgpu_features has;
    wgpu_trouble trouble;
    bool safe;                  /* RUSTY_WEBGPU_SAFE=1: bounds checks in all kernels */
    bool software;
    os_mutex *lock;             /* of what follows: programs are built outside the device's lock */
    layout *layouts;
    module *modules[BUCKETS];
    size_t held;                /* bytes of buffers */
    WGPUBuffer map;             /* for reading back */
    size_t map_bytes;
    double budget_s, scale;     /* longest submission; measured over estimated time */
    ry_program *timed;          /* its last run's times have not been read */
    int fault;                  /* RUSTY_FAULT=device:N: runs until the device is destroyed; 0 never */
} gpu;

/* A buffer of ours: pieces that the driver gives at once, all full but the last. */
typedef struct memory {
    size_t piece;
    int n;
    WGPUBuffer at[];
} memory;

typedef struct bound {          /* a bind group: one for each distinct set of operands, and each part of them */
    const layout *lay;
    uint32_t part;
    int64_t from, to;
    WGPUBindGroup at;
} bound;

typedef struct gpu_step {       /* a step of the plan, or a piece of one that was cut */
    ry_node *node;
    int plan_step;
    int64_t cut_from, cut_length;
    wgsl_kernel k;              /* bindings and words */
    uint32_t in_parts;          /* bindings that no dispatch sees whole */
    size_t window[RY_OPERANDS]; /* by binding: bytes from the storage's begin to the binding's */
    size_t window_bytes[RY_OPERANDS]; /* 0: the whole storage */
    const ry_variant *variant;
    int n_dispatch, n_group;
    int64_t rounds;
    ry_dispatch *dispatch;
    module *mod;
    int *pipe;                  /* by dispatch: index in mod->pipe */
    int *group_of;              /* by dispatch */
    bound *group;
    size_t uniform_at, slot;    /* slot: bytes from one dispatch to the next */
    double estimate_s;
} gpu_step;

typedef struct gpu_program {
    RY_VEC(gpu_step) step;
    WGPUBuffer uniform;
    char *host;
    size_t host_bytes, uniform_bytes, dirty_from, dirty_to;
    uint64_t slab_version;
    WGPUQuerySet queries;
    WGPUBuffer resolved, times;
    int n_pass;                 /* of the last run that was timed */
    uint8_t pass_phase[MAX_PASSES];
    bool mapping;               /* times are on their way */
    atomic_int mapped;
    double estimate_s;
} gpu_program;

static size_t round_up(size_t x, size_t a) { return (x + a - 1) / a * a; }

static size_t piece_bytes(const gpu *g) {
    return (size_t)(g->lim.maxBufferSize < SIZE_MAX / 2 ? g->lim.maxBufferSize : SIZE_MAX / 2) / PIECE_UNIT * PIECE_UNIT;
}

/* ---- devices ---- */

static size_t count(void) { return wgpu_adapters(); }
static ry_status describe(size_t i, ry_device_info *out) { return wgpu_describe(i, out); }

static void close_gpu(ry_device *d) {
    gpu *g = d->impl;
    if (!g) return;
    if (g->dev) wgpu_wait(g->dev, NULL);
    for (int i = 0; i < BUCKETS; i++)
        for (module *m = g->modules[i], *next; m; m = next) {
            next = m->next;
            for (int k = 0; k < m->n_made; k++) wgpu.ComputePipelineRelease(m->pipe[k].at);
            if (m->at) wgpu.ShaderModuleRelease(m->at);
            ry_mem_free(m->text);
            ry_mem_free(m);
        }
    for (layout *l = g->layouts, *next; l; l = next) {
        next = l->next;
        wgpu.PipelineLayoutRelease(l->pipe);
        wgpu.BindGroupLayoutRelease(l->bind);
        ry_mem_free(l);
    }
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
    g->software = a->kind == WGPUAdapterType_CPU;
    g->budget_s = a->kind == WGPUAdapterType_DiscreteGPU ? 0.5 : g->software ? 60 : 0.1;
    g->scale = 1;
    d->caps = (ry_caps){
        .features = (g->has.subgroups ? RY_FEATURE_SUBGROUPS : 0u) | (g->has.f16 ? RY_FEATURE_F16 : 0u) | (g->has.i64 ? RY_FEATURE_I64 : 0u) |
                    (g->software ? RY_FEATURE_SOFTWARE : 0u),
        .align = g->lim.minStorageBufferOffsetAlignment,
        .max_bindings = g->lim.maxStorageBuffersPerShaderStage,
        .max_groups = g->lim.maxComputeWorkgroupsPerDimension,
        .shared_bytes = g->lim.maxComputeWorkgroupStorageSize,
        .max_invocations = g->lim.maxComputeInvocationsPerWorkgroup,
        .max_binding = (size_t)(g->lim.maxStorageBufferBindingSize < SIZE_MAX / 2 ? g->lim.maxStorageBufferBindingSize : SIZE_MAX / 2) / WHOLE * WHOLE,
        .max_buffer = piece_bytes(g)};
    if (d->caps.max_bindings > RY_OPERANDS) d->caps.max_bindings = RY_OPERANDS;
    return RY_OK;
fail:
    close_gpu(d);
    return st;
}

/* ---- memory ---- */

static WGPUBuffer buffer_new(gpu *g, size_t bytes, WGPUBufferUsage use) {
    return wgpu.DeviceCreateBuffer(g->dev, &(WGPUBufferDescriptor){.usage = use, .size = bytes});
}

static void memory_free(memory *m) {
    for (int i = 0; m && i < m->n; i++)
        if (m->at[i]) wgpu.BufferRelease(m->at[i]);
    ry_mem_free(m);
}

/* Bytes of the buffers that a tensor gets: where they end, so do the pieces that kernels see of it, if that can be. */
static size_t memory_piece(const ry_device *d, size_t whole, size_t row) {
    size_t most = piece_bytes(d->impl);
    if (whole <= most || !row) return most;
    size_t part = (size_t)launch_piece(&d->caps, (double)row, (int64_t)(whole / row)) * row;
    return !part || part > most || part % d->caps.align ? most : most / part * part;
}

static ry_status alloc(ry_device *d, ry_buffer *b, size_t bytes) {
    gpu *g = d->impl;
    size_t whole = round_up(bytes ? bytes : 1, WHOLE), piece = memory_piece(d, whole, b->row), n = (whole + piece - 1) / piece;
    memory *m = ry_mem_zalloc(sizeof *m + n * sizeof *m->at);
    *b = (ry_buffer){.bytes = bytes, .row = b->row};
    if (!m) return RY_ENOMEM;
    m->piece = piece;
    ry_status st = wgpu_check(&g->trouble);
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        size_t part = whole - i * piece < piece ? whole - i * piece : piece;
        m->at[m->n++] = buffer_new(g, part, WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc);
        st = wgpu_check(&g->trouble);
        if (st == RY_OK && !m->at[i]) st = RY_ENOMEM;
    }
    if (st == RY_ENOMEM)
        st = ry_fail(RY_ENOMEM, "%s is out of memory: %.1f MB were asked, %.1f MB are held by this program", d->info.name, (double)whole / 1e6, (double)g->held / 1e6);
    if (st != RY_OK) {
        memory_free(m);
        return st;
    }
    b->at = m;
    os_mutex_lock(g->lock);
    g->held += whole;
    os_mutex_unlock(g->lock);
    return RY_OK;
}

static void free_gpu(ry_device *d, ry_buffer *b) {
    gpu *g = d->impl;
    if (b->at) {
        memory_free(b->at);
        os_mutex_lock(g->lock);
        g->held -= round_up(b->bytes ? b->bytes : 1, WHOLE);
        os_mutex_unlock(g->lock);
    }
    b->at = NULL, b->bytes = 0;
}

/* The buffer of byte `at`, where it is in there, and how many bytes follow in it. */
static WGPUBuffer memory_at(const ry_buffer *b, size_t at, size_t *offset, size_t *follow) {
    const memory *m = b->at;
    size_t whole = round_up(b->bytes ? b->bytes : 1, WHOLE);
    *offset = at % m->piece;
    *follow = at / m->piece + 1 == (size_t)m->n ? whole - at : m->piece - *offset;
    return m->at[at / m->piece];
}

/* In parts: the library stages each in memory of its own, and gives it back when the device has taken it. */
static ry_status write(ry_device *d, ry_buffer *b, size_t at, const void *data, size_t bytes) {
    gpu *g = d->impl;
    enum { PART = 32 << 20, KEEP = 4 };
    size_t whole = bytes / 4 * 4, offset, follow, parts = 0;
    for (size_t from = 0, part; from < whole; from += part) {
        WGPUBuffer to = memory_at(b, at + from, &offset, &follow);
        part = whole - from < PART ? whole - from : PART;
        if (part > follow) part = follow;
        wgpu.QueueWriteBuffer(g->queue, to, offset, (const char *)data + from, part);
        if (part == PART && ++parts % KEEP == 0) {
            wgpu_submit(g->queue, NULL);
            wgpu_wait(g->dev, NULL);
        }
    }
    if (bytes > whole) {
        char tail[4] = {0};
        memcpy(tail, (const char *)data + whole, bytes - whole);
        WGPUBuffer to = memory_at(b, at + whole, &offset, &follow);
        wgpu.QueueWriteBuffer(g->queue, to, offset, tail, 4);
    }
    return wgpu_check(&g->trouble);
}

static ry_status wrap(ry_device *d, ry_buffer *b, void *data, size_t bytes) {
    RY_TRY(alloc(d, b, bytes));
    ry_device_lock(d);
    ry_status st = write(d, b, 0, data, bytes);
    ry_device_unlock(d);
    if (st != RY_OK) free_gpu(d, b);
    return st;
}

/* Ends and releases the encoder. Never submits after an error: the library would end the process. */
static ry_status submit_encoder(gpu *g, WGPUCommandEncoder *e, WGPUSubmissionIndex *index) {
    if (!*e) return RY_OK;
    WGPUCommandBuffer c = wgpu.CommandEncoderFinish(*e, NULL);
    wgpu.CommandEncoderRelease(*e);
    *e = NULL;
    ry_status st = wgpu_check(&g->trouble);
    if (st != RY_OK) {
        if (c) wgpu.CommandBufferRelease(c);
        return st;
    }
    WGPUSubmissionIndex k = wgpu_submit(g->queue, c);
    if (index) *index = k;
    return RY_OK;
}

static void on_mapped(WGPUMapAsyncStatus st, WGPUStringView message, void *done, void *unused) {
    (void)message, (void)unused;
    atomic_store((atomic_int *)done, st == WGPUMapAsyncStatus_Success ? 1 : -1);
}

static void take_times(gpu *g, ry_program *p);

static ry_status read_piece(gpu *g, WGPUBuffer from, size_t at, void *data, size_t bytes) {
    size_t lo = at / 4 * 4, size = round_up(at + bytes, 4) - lo;
    atomic_int done = 0;
    if (g->map_bytes < size) {
        if (g->map) wgpu.BufferRelease(g->map);
        g->map_bytes = round_up(size, 65536);
        g->map = buffer_new(g, g->map_bytes, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
        if (!g->map) g->map_bytes = 0;
        RY_TRY(wgpu_check(&g->trouble));
    }
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    wgpu.CommandEncoderCopyBufferToBuffer(e, from, lo, g->map, 0, size);
    WGPUSubmissionIndex k;
    RY_TRY(submit_encoder(g, &e, &k));
    wgpu.BufferMapAsync(g->map, WGPUMapMode_Read, 0, size, (WGPUBufferMapCallbackInfo){.callback = on_mapped, .userdata1 = &done});
    wgpu_wait(g->dev, &k);
    RY_TRY(wgpu_check(&g->trouble));
    if (atomic_load(&done) != 1) RY_FAIL(RY_EDEVICE, "webgpu: the driver did not hand back what was read");
    const char *seen = wgpu_mapped(g->dev, g->map, 0, size);
    if (seen) memcpy(data, seen + (at - lo), bytes);
    wgpu.BufferUnmap(g->map);
    return seen ? RY_OK : ry_fail(RY_EDEVICE, "webgpu: the driver did not map what was read");
}

static ry_status read(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes) {
    gpu *g = d->impl;
    enum { PART = 64 << 20 };
    for (size_t from = 0, part, offset, follow; from < bytes; from += part) {
        WGPUBuffer buffer = memory_at(b, at + from, &offset, &follow);
        part = bytes - from < PART ? bytes - from : PART;
        if (part > follow) part = follow;
        RY_TRY(read_piece(g, buffer, offset, (char *)data + from, part));
    }
    if (g->timed) take_times(g, g->timed);
    return RY_OK;
}

static ry_status copy(ry_device *d, ry_buffer *to, const ry_buffer *from, size_t bytes) {
    gpu *g = d->impl;
    if (!bytes) return RY_OK;
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    for (size_t at = 0, part, a, b, n; at < bytes; at += part) {
        WGPUBuffer source = memory_at(from, at, &a, &part), target = memory_at(to, at, &b, &n);
        if (n < part) part = n;
        if (bytes - at < part) part = round_up(bytes - at, 4);
        wgpu.CommandEncoderCopyBufferToBuffer(e, source, a, target, b, part);
    }
    return submit_encoder(g, &e, NULL);
}

static size_t held(ry_device *d) {
    gpu *g = d->impl;
    os_mutex_lock(g->lock);
    size_t bytes = g->held;
    os_mutex_unlock(g->lock);
    return bytes;
}

static ry_status sync_gpu(ry_device *d) {
    gpu *g = d->impl;
    wgpu_wait(g->dev, NULL);
    if (g->timed) take_times(g, g->timed);
    return wgpu_check(&g->trouble);
}

/* ---- kernels ---- */

static const ry_variant *choose(ry_device *d, const ry_node *n) { return tune_choose(d->tuning, n, &d->caps); }

static ry_status layout_get(gpu *g, const layout **out, uint32_t mask, uint32_t read_only) { /* under g->lock */
    read_only &= mask;
    for (*out = g->layouts; *out; *out = (*out)->next)
        if ((*out)->mask == mask && (*out)->read_only == read_only) return RY_OK;
    WGPUBindGroupLayoutEntry e[RY_OPERANDS + 1];
    size_t n = 0;
    memset(e, 0, sizeof e);
    for (uint32_t i = 0; i <= RY_OPERANDS; i++) {
        if (i && !(mask >> (i - 1) & 1u)) continue;
        e[n++] = (WGPUBindGroupLayoutEntry){.binding = i, .visibility = WGPUShaderStage_Compute,
                                            .buffer = {.hasDynamicOffset = !i, .type = !i ? WGPUBufferBindingType_Uniform
                                                                               : read_only >> (i - 1) & 1u ? WGPUBufferBindingType_ReadOnlyStorage
                                                                                                           : WGPUBufferBindingType_Storage}};
    }
    layout *l = ry_mem_zalloc(sizeof *l);
    if (!l) return RY_ENOMEM;
    l->mask = mask, l->read_only = read_only;
    l->bind = wgpu.DeviceCreateBindGroupLayout(g->dev, &(WGPUBindGroupLayoutDescriptor){.entryCount = n, .entries = e});
    l->pipe = wgpu.DeviceCreatePipelineLayout(g->dev, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1, .bindGroupLayouts = &l->bind});
    l->next = g->layouts;
    g->layouts = l;
    *out = l;
    return wgpu_check(&g->trouble);
}

static uint64_t hash_text(const char *s, size_t n) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h;
}

/* The module of this text; takes the text. Under g->lock. */
static ry_status module_get(gpu *g, module **out, ry_text *text, bool trusted) {
    uint64_t hash = hash_text(text->at, text->n);
    module **slot = &g->modules[hash % BUCKETS];
    for (*out = *slot; *out; *out = (*out)->next)
        if ((*out)->hash == hash && (*out)->bytes == text->n && (*out)->trusted == trusted && !memcmp((*out)->text, text->at, text->n)) return RY_OK;
    module *m = ry_mem_zalloc(sizeof *m);
    if (!m) return RY_ENOMEM;
    *m = (module){.text = text->at, .bytes = text->n, .hash = hash, .trusted = trusted, .next = *slot};
    *text = (ry_text){0};
    *out = *slot = m;
    return RY_OK;
}

static ry_status pipeline_get(module *m, int *out, const char *entry, const layout *lay) {
    for (*out = 0; *out < m->n_pipe; ++*out)
        if (m->pipe[*out].lay == lay && !strcmp(m->pipe[*out].entry, entry)) return RY_OK;
    if (m->n_pipe == MAX_MODULE_ENTRIES || strlen(entry) >= sizeof m->pipe->entry) RY_FAIL(RY_EINTERNAL, "webgpu: too many entries in one kernel text (%s)", entry);
    pipeline *p = &m->pipe[m->n_pipe++];
    p->lay = lay;
    memcpy(p->entry, entry, strlen(entry) + 1);
    return RY_OK;
}

/* ---- compiling, side by side ---- */

typedef struct compile_jobs {
    gpu *g;
    module **at;
    size_t n;
    atomic_size_t next;
} compile_jobs;

/* Forgets the pipelines from the first-th on, and the module with them, which may be what failed. */
static void module_drop(module *m, int first) {
    while (m->n_made > first) wgpu.ComputePipelineRelease(m->pipe[--m->n_made].at);
    if (m->at) wgpu.ShaderModuleRelease(m->at);
    m->at = NULL;
}

static void compile_some(void *ud) {
    compile_jobs *j = ud;
    for (size_t i; (i = atomic_fetch_add(&j->next, 1)) < j->n;) {
        module *m = j->at[i];
        if (!m->at) m->at = wgpu_module(j->g->dev, m->text, m->bytes, m->trusted);
        for (; m->at && m->n_made < m->n_pipe; m->n_made++) {
            pipeline *p = &m->pipe[m->n_made];
            p->at = wgpu.DeviceCreateComputePipeline(
                j->g->dev, &(WGPUComputePipelineDescriptor){.layout = p->lay->pipe, .compute = {.module = m->at, .entryPoint = wgpu_text(p->entry)}});
            if (!p->at) return;
        }
    }
}

/* The library hands out pipelines that failed like others and dies when one is submitted: after an error, all are made again, one by
 * one, to know which it was. */
static ry_status compile_all(gpu *g, module **at, size_t n) {
    enum { MOST = 16 };
    compile_jobs j = {.g = g, .at = at, .n = n};
    os_thread *thread[MOST];
    int n_thread = 0, cpus = os_cpu_count();
    for (size_t i = 0; i < n; i++) at[i]->n_before = at[i]->n_made;
    for (int i = 0; i + 1 < cpus && i < MOST && (size_t)i + 1 < n; i++)
        if (os_thread_start(&thread[n_thread], compile_some, &j) == RY_OK) n_thread++;
    compile_some(&j);
    for (int i = 0; i < n_thread; i++) os_thread_join(thread[i]);
    ry_status st = wgpu_check(&g->trouble), first = RY_OK;
    if (st == RY_OK || st == RY_ELOST) return st;
    for (size_t i = 0; i < n; i++) {
        module *m = at[i];
        module_drop(m, m->n_before);
        atomic_store(&j.next, i);
        j.n = i + 1;
        compile_some(&j);
        if ((st = wgpu_check(&g->trouble)) == RY_OK) continue;
        module_drop(m, m->n_before);
        first = st; /* the message is the last one's */
    }
    return first;
}

/* ---- programs ---- */

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
    size_t whole = p ? p->plan->storages[plan_storage_of(p->plan, v)].bytes : 0, align = d->caps.align > WHOLE ? d->caps.align : WHOLE;
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
    /* What nothing writes is bound for reading, which lets a driver keep it in faster caches; not in the slab, whose buffer others of
     * the same dispatch write: usage counts by whole buffers. */
    for (int i = 0; i < RY_OPERAND_OUT; i++)
        if (s->k.binding[i] >= 0 && p->plan->storages[storage[s->k.binding[i]]].where != PLAN_SLAB) s->k.read_only |= 1u << s->k.binding[i];
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

static ry_status work(ry_device *d, const ry_node *n, ry_work *w) {
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

static uint32_t dispatch_mask(const gpu_step *s, const ry_dispatch *x) {
    uint32_t mask = 0;
    for (int i = 0; i < RY_OPERANDS; i++)
        if (s->k.binding[i] >= 0 && (!x->uses || x->uses >> i & 1u)) mask |= 1u << s->k.binding[i];
    return mask;
}

/* Groups in a row of the grid: as few rows as there can be, equally long, so that hardly any group is idle. */
static int64_t grid_row(const gpu *g, int64_t groups) {
    int64_t most = g->lim.maxComputeWorkgroupsPerDimension, rows = (groups + most - 1) / most;
    return rows > 1 ? (groups + rows - 1) / rows : groups;
}

/* The bytes of its storage that a dispatch, or bind group, that sees operand i in a part binds. */
static void part_window(const gpu *g, const ry_value *v, int64_t from, int64_t to, size_t *begin, size_t *bytes) {
    size_t align = g->lim.minStorageBufferOffsetAlignment > WHOLE ? g->lim.minStorageBufferOffsetAlignment : WHOLE;
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

static void fill_slot(gpu *g, gpu_program *x, const gpu_step *s, const ry_launch *l, bool all) {
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
                case WGSL_GRID: w[k] = (uint32_t)grid_row(g, groups); break;
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
        !(s->group_of = RY_NEW(&p->arena, int, l->n_dispatch + 1)) || !(s->group = RY_NEW(&p->arena, bound, l->n_dispatch + 1)))
        return RY_ENOMEM;
    memcpy(s->dispatch, l->dispatch, (size_t)l->n_dispatch * sizeof *l->dispatch);
    s->estimate_s = estimate(g, n) + 1e-6 * (double)(s->rounds * s->n_dispatch);
    x->estimate_s += s->estimate_s;
    ry_status st = wgsl_module(&text, &s->k, n, s->variant, l);
    os_mutex_lock(g->lock);
    if (st == RY_OK) st = module_get(g, &s->mod, &text, !g->safe);
    for (int k = 0; k < s->n_dispatch && st == RY_OK; k++) {
        uint32_t mask = dispatch_mask(s, &s->dispatch[k]), bindings = 0;
        const layout *lay;
        for (int b = 0; b < 32; b++) bindings += mask >> b & 1u;
        if (bindings > d->caps.max_bindings) {
            st = ry_fail_node(n, RY_EUNSUPPORTED, "needs %u storage buffers; the device binds %u", bindings, d->caps.max_bindings);
            break;
        }
        st = layout_get(g, &lay, mask, s->k.read_only);
        if (st == RY_OK) st = pipeline_get(s->mod, &s->pipe[k], s->dispatch[k].entry, lay);
        if (st != RY_OK) break;
        int q = 0;
        const ry_dispatch *run = &s->dispatch[k];
        while (q < s->n_group && (s->group[q].lay != lay || s->group[q].part != run->part || s->group[q].from != run->from || s->group[q].to != run->to)) q++;
        if (q == s->n_group) s->group[s->n_group++] = (bound){.lay = lay, .part = run->part, .from = run->from, .to = run->to};
        s->group_of[k] = q;
    }
    os_mutex_unlock(g->lock);
    ry_text_free(&text);
    RY_TRY(st);
    s->slot = round_up((size_t)s->k.n_word * 4, g->lim.minUniformBufferOffsetAlignment);
    s->uniform_at = x->uniform_bytes;
    size_t slots = (size_t)(s->rounds * s->n_dispatch), need = x->uniform_bytes + s->slot * slots + UNIFORM_TAIL;
    if (need > x->host_bytes) {
        char *grown = ry_mem_grow(x->host, need + need / 2);
        if (!grown) return RY_ENOMEM;
        memset(grown + x->host_bytes, 0, need + need / 2 - x->host_bytes);
        x->host = grown, x->host_bytes = need + need / 2;
    }
    x->uniform_bytes += s->slot * slots;
    fill_slot(g, x, s, l, true);
    return RY_OK;
}

/* Where a step's binding of operand i lies: storage, first byte, bytes. */
static void place_binding(const ry_device *d, const ry_program *p, const gpu_step *s, const bound *q, int i, const ry_buffer **buf, size_t *at, size_t *bytes) {
    int b = s->k.binding[i];
    const ry_value *v = launch_operand(s->node, i);
    size_t from = s->window[b], unused;
    *bytes = s->window_bytes[b];
    *buf = &d->slab, *at = p->plan->steps[s->plan_step].scratch_at;
    if (v) program_storage(p, v, buf, at, &unused);
    if (q && q->part >> i & 1u) part_window(d->impl, v, q->from, q->to, &from, bytes);
    *bytes = round_up(*bytes ? *bytes : 1, WHOLE);
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
            if (buf == &d->slab || ((const memory *)buf->at)->n == 1 || at >= buf->bytes) continue;
            (void)memory_at(buf, at, &offset, &follow);
            if (bytes > follow)
                return ry_fail_node(s->node, RY_EUNSUPPORTED, "one of its tensors lies in several buffers of this device, %.1f MB each, and a kernel needs more than one at once",
                                    (double)((const memory *)buf->at)->piece / 1e6);
        }
    return RY_OK;
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

static void unbuild(ry_device *d, ry_program *p) {
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

static ry_status build(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = RY_NEW(&p->arena, gpu_program, 1);
    if (!x) return RY_ENOMEM;
    p->impl = x;
    x->slab_version = d->slab_version - 1; /* bound at the first run */
    ry_launch *l = ry_mem_alloc(sizeof *l);
    RY_VEC(module *) fresh = {0};
    ry_text head = {0};
    ry_status st = l ? RY_OK : RY_ENOMEM;
    for (int i = 0; i < p->plan->n_steps && st == RY_OK; i++) st = build_plan_step(d, p, i, l, &head);
    os_mutex_lock(g->lock); /* while these compile, others wait: they are likely to want the same ones */
    for (size_t i = 0; i < x->step.n && st == RY_OK; i++) {
        module *m = x->step.at[i].mod, **slot;
        if (!m || m->n_made == m->n_pipe || m->queued) continue;
        if ((slot = RY_PUSH(&fresh))) *slot = m, m->queued = true;
        else st = RY_ENOMEM;
    }
    if (st == RY_OK && fresh.n) st = compile_all(g, fresh.at, fresh.n);
    for (size_t k = 0; k < fresh.n; k++) {
        module *m = fresh.at[k];
        m->queued = false;
        if (m->n_made == m->n_pipe) continue;
        for (size_t i = 0; i < x->step.n && st != RY_OK; i++)
            if (x->step.at[i].mod == m) {
                char message[1024];
                snprintf(message, sizeof message, "%s", ry_message());
                st = ry_fail_node(x->step.at[i].node, st, "its kernel does not compile: %s", message);
                break;
            }
        m->n_pipe = m->n_made; /* tried again by the next program */
    }
    os_mutex_unlock(g->lock);
    if (st == RY_OK && x->uniform_bytes) {
        x->uniform = buffer_new(g, round_up(x->uniform_bytes + UNIFORM_TAIL, WHOLE), WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst);
        st = wgpu_check(&g->trouble);
    }
    if (st == RY_OK && g->has.timestamps) {
        x->queries = wgpu.DeviceCreateQuerySet(g->dev, &(WGPUQuerySetDescriptor){.type = WGPUQueryType_Timestamp, .count = QUERIES});
        x->resolved = buffer_new(g, QUERIES * 8, WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc);
        x->times = buffer_new(g, QUERIES * 8, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
        st = wgpu_check(&g->trouble);
    }
    ry_text_free(&head);
    ry_mem_free(l);
    RY_VEC_FREE(&fresh);
    return st;
}

/* ---- running ---- */

/* Bind groups over the slab as it lies now. */
static void bind_step(ry_device *d, const ry_program *p, gpu_step *s) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    WGPUBindGroupEntry all[RY_OPERANDS + 1], e[RY_OPERANDS + 1];
    for (int q = 0; q < s->n_group; q++) {
        memset(all, 0, sizeof all);
        all[0] = (WGPUBindGroupEntry){.binding = 0, .buffer = x->uniform, .size = round_up((size_t)s->k.n_word * 4, WHOLE)};
        for (int i = 0; i < RY_OPERANDS; i++) {
            int b = s->k.binding[i];
            if (b < 0) continue;
            const ry_buffer *buf;
            size_t at, offset, follow, size;
            place_binding(d, p, s, &s->group[q], i, &buf, &at, &size);
            if (at >= round_up(buf->bytes ? buf->bytes : 1, WHOLE)) at = 0; /* empty tensors at the slab's end: something to bind */
            WGPUBuffer buffer = memory_at(buf, at, &offset, &follow);
            all[b + 1] = (WGPUBindGroupEntry){.binding = (uint32_t)b + 1, .buffer = buffer, .offset = offset, .size = size < follow ? size : follow};
        }
        size_t n = 0;
        for (int b = 0; b <= s->k.n_binding; b++)
            if (!b || s->group[q].lay->mask >> (b - 1) & 1u) e[n++] = all[b];
        if (s->group[q].at) wgpu.BindGroupRelease(s->group[q].at);
        s->group[q].at = wgpu.DeviceCreateBindGroup(g->dev, &(WGPUBindGroupDescriptor){.layout = s->group[q].lay->bind, .entryCount = n, .entries = e});
    }
}

static ry_status prepare(ry_device *d, ry_program *p, ry_launch *l, ry_text *head) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    bool bind = x->slab_version != d->slab_version;
    for (size_t i = 0; i < x->step.n; i++) {
        gpu_step *s = &x->step.at[i];
        if (p->plan->steps[s->plan_step].dynamic) { /* the same launch, other uniforms */
            head->n = 0;
            RY_TRY(launch_node(l, s->node, p->args[s->plan_step], s->variant, &d->caps, head));
            fill_slot(g, x, s, l, false);
        }
        if (bind) bind_step(d, p, s);
    }
    x->slab_version = d->slab_version;
    RY_TRY(wgpu_check(&g->trouble));
    if (x->dirty_to > x->dirty_from) wgpu.QueueWriteBuffer(g->queue, x->uniform, x->dirty_from, x->host + x->dirty_from, round_up(x->dirty_to - x->dirty_from, 4));
    x->dirty_from = x->dirty_to = 0;
    return RY_OK;
}

static void encode_step(gpu *g, WGPUComputePassEncoder c, const gpu_step *s) {
    for (int64_t r = 0; r < s->rounds; r++)
        for (int k = 0; k < s->n_dispatch; k++) {
            int64_t n = s->dispatch[k].groups, gx = grid_row(g, n);
            uint32_t at = (uint32_t)(s->uniform_at + (size_t)(r * s->n_dispatch + k) * s->slot);
            if (n <= 0) continue;
            wgpu.ComputePassEncoderSetPipeline(c, s->mod->pipe[s->pipe[k]].at);
            wgpu.ComputePassEncoderSetBindGroup(c, 0, s->group[s->group_of[k]].at, 1, &at);
            wgpu.ComputePassEncoderDispatchWorkgroups(c, (uint32_t)gx, (uint32_t)((n + gx - 1) / gx), 1);
        }
}

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

/* One step, one submission, its outputs checked on the host. */
static ry_status run_checked(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    for (size_t i = 0; i < x->step.n; i++) {
        const plan_step *ps = &p->plan->steps[x->step.at[i].plan_step];
        void *out[RY_MAX_OUT] = {0};
        ry_status st = RY_OK;
        WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        WGPUComputePassEncoder c = wgpu.CommandEncoderBeginComputePass(e, NULL);
        encode_step(g, c, &x->step.at[i]);
        wgpu.ComputePassEncoderEnd(c);
        wgpu.ComputePassEncoderRelease(c);
        RY_TRY(submit_encoder(g, &e, NULL));
        if (i + 1 < x->step.n && x->step.at[i + 1].plan_step == x->step.at[i].plan_step) continue; /* a piece: not the last */
        for (int o = 0; o < ps->node->n_out && st == RY_OK; o++) {
            const ry_value *v = &ps->node->out[o];
            const ry_buffer *buf;
            size_t at, bytes = ry_bytes_of(v->spec.dtype, ry_count(&v->spec));
            if (!ry_is_float(v->spec.dtype)) continue;
            program_operand(p, v, &buf, &at);
            out[o] = ry_mem_alloc(bytes ? bytes : 1);
            st = out[o] ? read(d, buf, at, out[o], bytes) : RY_ENOMEM;
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
    enum { CHUNK = QUERIES / 2 };
    double period = wgpu.QueueGetTimestampPeriod(g->queue), first = -1;
    int n_step = (int)x->step.n, repeat = p->repeat > 1 ? p->repeat : 1;
    memset(p->ms, 0, sizeof p->ms);
    memset(p->step_s, 0, (size_t)p->plan->n_steps * sizeof *p->step_s);
    uint64_t *t = ry_mem_alloc(QUERIES * 8);
    if (!t) return RY_ENOMEM;
    for (int from = 0; from < n_step; from += CHUNK) {
        int to = from + CHUNK < n_step ? from + CHUNK : n_step;
        WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        for (int i = from; i < to; i++) {
            WGPUPassTimestampWrites w = {.querySet = x->queries, .beginningOfPassWriteIndex = (uint32_t)(i - from) * 2, .endOfPassWriteIndex = (uint32_t)(i - from) * 2 + 1};
            WGPUComputePassEncoder c = wgpu.CommandEncoderBeginComputePass(e, &(WGPUComputePassDescriptor){.timestampWrites = &w});
            for (int r = 0; r < repeat; r++) encode_step(g, c, &x->step.at[i]);
            wgpu.ComputePassEncoderEnd(c);
            wgpu.ComputePassEncoderRelease(c);
        }
        wgpu.CommandEncoderResolveQuerySet(e, x->queries, 0, (uint32_t)(to - from) * 2, x->resolved, 0);
        ry_status st = submit_encoder(g, &e, NULL);
        if (st == RY_OK) st = read_piece(g, x->resolved, 0, t, (size_t)(to - from) * 16);
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
        WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        WGPUComputePassEncoder c = wgpu.CommandEncoderBeginComputePass(e, NULL);
        encode_step(g, c, &x->step.at[i]);
        wgpu.ComputePassEncoderEnd(c);
        wgpu.ComputePassEncoderRelease(c);
        RY_TRY(submit_encoder(g, &e, NULL));
        wgpu_wait(g->dev, NULL);
        if (!i || x->step.at[i - 1].plan_step != at) p->step_at[at] = t - start;
        p->step_s[at] += os_now() - t;
        p->ms[p->plan->steps[at].phase] += (os_now() - t) * 1e3;
    }
    return wgpu_check(&g->trouble);
}

/* Dispatches of a submission: the device begins on the first few while the others are encoded. */
enum { FIRST_SHARE = 32, LATER_SHARE = 160 };

static ry_status run_all(ry_device *d, ry_program *p) {
    gpu *g = d->impl;
    gpu_program *x = p->impl;
    WGPUCommandEncoder e = NULL;
    WGPUComputePassEncoder c = NULL;
    bool timing = x->queries && !x->mapping;
    double load = 0;
    int64_t dispatches = 0, share = FIRST_SHARE;
    int phase = -1, passes = 0;
    for (size_t i = 0; i < x->step.n; i++) {
        const gpu_step *s = &x->step.at[i];
        int now = p->plan->steps[s->plan_step].phase;
        bool full = (load > 0 && load + s->estimate_s * g->scale > g->budget_s) || dispatches >= share;
        if (c && (full || now != phase)) {
            wgpu.ComputePassEncoderEnd(c);
            wgpu.ComputePassEncoderRelease(c);
            c = NULL;
            if (full) {
                RY_TRY(submit_encoder(g, &e, NULL));
                load = 0, dispatches = 0, share = LATER_SHARE;
            }
        }
        if (!e) e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
        if (!c) {
            WGPUPassTimestampWrites w = {.querySet = x->queries, .beginningOfPassWriteIndex = (uint32_t)passes * 2, .endOfPassWriteIndex = (uint32_t)passes * 2 + 1};
            bool timed = timing && passes < MAX_PASSES;
            if (timed) x->pass_phase[passes++] = (uint8_t)now;
            c = wgpu.CommandEncoderBeginComputePass(e, timed ? &(WGPUComputePassDescriptor){.timestampWrites = &w} : NULL);
        }
        phase = now;
        encode_step(g, c, s);
        dispatches += s->rounds * s->n_dispatch;
        load += s->estimate_s * g->scale;
    }
    if (c) {
        wgpu.ComputePassEncoderEnd(c);
        wgpu.ComputePassEncoderRelease(c);
    }
    if (passes) {
        wgpu.CommandEncoderResolveQuerySet(e, x->queries, 0, (uint32_t)passes * 2, x->resolved, 0);
        wgpu.CommandEncoderCopyBufferToBuffer(e, x->resolved, 0, x->times, 0, (uint64_t)passes * 16);
    }
    RY_TRY(submit_encoder(g, &e, NULL));
    if (passes) {
        x->n_pass = passes;
        x->mapping = true;
        atomic_store(&x->mapped, 0);
        wgpu.BufferMapAsync(x->times, WGPUMapMode_Read, 0, (size_t)passes * 16, (WGPUBufferMapCallbackInfo){.callback = on_mapped, .userdata1 = &x->mapped});
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
        atomic_bool asked_once = true;
        wgpu_done(g->dev, &asked_once);
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
    for (int i = 0; i < p->plan->n_steps && st != RY_OK; i++) d->failed |= p->plan->steps[i].node->op->writes != 0;
    return st;
}

extern const ry_device_api ry_device_webgpu;
const ry_device_api ry_device_webgpu = {.backend = "webgpu", .count = count, .describe = describe, .open = open_gpu, .close = close_gpu, .alloc = alloc, .wrap = wrap,
                                        .free = free_gpu, .write = write, .read = read, .copy = copy, .work = work, .build = build, .unbuild = unbuild, .run = run, .sync = sync_gpu, .held = held};
#endif
