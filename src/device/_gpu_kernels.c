/* _gpu_kernels.c - layouts of bindings, modules and pipelines: each different one made once for the life of its device, new ones side by
 * side.
 *
 * Owns gpu.layouts and gpu.modules; its callers hold gpu.lock. Knows texts and entries, no node and no program. */
#include "_gpu.h"

#if defined(RUSTY_HAVE_WGPU)
#include <string.h>

ry_status gpu_layout_get(gpu *g, const gpu_layout **out, uint32_t mask, uint32_t read_only) {
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
    gpu_layout *l = ry_mem_zalloc(sizeof *l);
    if (!l) return RY_ENOMEM;
    l->mask = mask, l->read_only = read_only;
    l->bind = wgpu.DeviceCreateBindGroupLayout(g->dev, &(WGPUBindGroupLayoutDescriptor){.entryCount = n, .entries = e});
    l->pipe = wgpu.DeviceCreatePipelineLayout(g->dev, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1, .bindGroupLayouts = &l->bind});
    l->next = g->layouts;
    g->layouts = l;
    *out = l;
    return wgpu_check(&g->trouble);
}

ry_status gpu_module_get(gpu *g, gpu_module **out, ry_text *text, bool trusted) {
    uint64_t hash = ry_text_hash(RY_TEXT_HASH, text->at, text->n);
    gpu_module **slot = &g->modules[hash % GPU_BUCKETS];
    for (*out = *slot; *out; *out = (*out)->next)
        if ((*out)->hash == hash && (*out)->bytes == text->n && (*out)->trusted == trusted && !memcmp((*out)->text, text->at, text->n)) return RY_OK;
    gpu_module *m = ry_mem_zalloc(sizeof *m);
    if (!m) return RY_ENOMEM;
    *m = (gpu_module){.text = text->at, .bytes = text->n, .hash = hash, .trusted = trusted, .next = *slot};
    *text = (ry_text){0};
    *out = *slot = m;
    return RY_OK;
}

ry_status gpu_pipeline_get(gpu_module *m, int *out, const char *entry, const gpu_layout *lay) {
    for (*out = 0; *out < m->n_pipe; ++*out)
        if (m->pipe[*out].lay == lay && !strcmp(m->pipe[*out].entry, entry)) return RY_OK;
    if (m->n_pipe == GPU_MODULE_ENTRIES || strlen(entry) >= sizeof m->pipe->entry) RY_FAIL(RY_EINTERNAL, "webgpu: too many entries in one kernel text (%s)", entry);
    gpu_pipeline *p = &m->pipe[m->n_pipe++];
    p->lay = lay;
    memcpy(p->entry, entry, strlen(entry) + 1);
    return RY_OK;
}

/* ---- compiling, side by side ---- */

typedef struct compile_jobs {
    gpu *g;
    gpu_module **at;
    size_t n;
    atomic_size_t next;
} compile_jobs;

/* Forgets the pipelines from the first-th on, and the module with them, which may be what failed. */
static void module_drop(gpu_module *m, int first) {
    while (m->n_made > first) wgpu.ComputePipelineRelease(m->pipe[--m->n_made].at);
    if (m->at) wgpu.ShaderModuleRelease(m->at);
    m->at = NULL;
}

static void compile_some(void *ud) {
    compile_jobs *j = ud;
    for (size_t i; (i = atomic_fetch_add(&j->next, 1)) < j->n;) {
        gpu_module *m = j->at[i];
        if (!m->at) m->at = wgpu_module(j->g->dev, m->text, m->bytes, m->trusted);
        for (; m->at && m->n_made < m->n_pipe; m->n_made++) {
            gpu_pipeline *p = &m->pipe[m->n_made];
            p->at = wgpu.DeviceCreateComputePipeline(
                j->g->dev, &(WGPUComputePipelineDescriptor){.layout = p->lay->pipe, .compute = {.module = m->at, .entryPoint = wgpu_text(p->entry)}});
            if (!p->at) return;
        }
    }
}

/* The library hands out pipelines that failed like others and dies when one is submitted: after an error, all are made again, one by
 * one, to know which it was. */
ry_status gpu_compile(gpu *g, gpu_module **at, size_t n) {
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
        gpu_module *m = at[i];
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

/* ---- the end ---- */

void gpu_kernels_free(gpu *g) {
    for (int i = 0; i < GPU_BUCKETS; i++)
        for (gpu_module *m = g->modules[i], *next; m; m = next) {
            next = m->next;
            module_drop(m, 0);
            ry_mem_free(m->text);
            ry_mem_free(m);
        }
    for (gpu_layout *l = g->layouts, *next; l; l = next) {
        next = l->next;
        wgpu.PipelineLayoutRelease(l->pipe);
        wgpu.BindGroupLayoutRelease(l->bind);
        ry_mem_free(l);
    }
}
#endif
