/* _gpu.h - what the files of the WebGPU device share: its structs, and the functions between _gpu_memory.c, _gpu_kernels.c, _gpu_build.c
 * and webgpu.c, each of which calls those before it only.
 *
 * Without the library's headers at build time (RUSTY_HAVE_WGPU undefined) nothing is here but what it includes. Knows no formula. */
#ifndef RY_DEVICE_GPU_H
#define RY_DEVICE_GPU_H
#include "_wgpu.h"
#include "core/program.h"

#if defined(RUSTY_HAVE_WGPU)
#include "_wgsl.h"

enum {
    GPU_WHOLE = 16,             /* bytes: what kernels may store at once */
    GPU_MODULE_ENTRIES = 24,
    GPU_BUCKETS = 1024,         /* of modules */
    GPU_QUERIES = 4096,
    GPU_MAX_PASSES = 64         /* of a run, that are timed */
};

static inline size_t gpu_round_up(size_t x, size_t a) { return (x + a - 1) / a * a; }

typedef struct gpu_layout { /* of bindings: bit b of the mask is binding b + 1; 0 is the uniforms */
    uint32_t mask, read_only;
    WGPUBindGroupLayout bind;
    WGPUPipelineLayout pipe;
    struct gpu_layout *next;
} gpu_layout;

typedef struct gpu_pipeline { char entry[32]; const gpu_layout *lay; WGPUComputePipeline at; } gpu_pipeline;
typedef struct gpu_module { /* one text, compiled once */
    char *text;
    size_t bytes;
    uint64_t hash;
    bool trusted;
    WGPUShaderModule at;
    gpu_pipeline pipe[GPU_MODULE_ENTRIES];
    int n_pipe, n_made;
    int n_before;               /* n_made before the present compilation */
    bool queued;                /* to be compiled */
    struct gpu_module *next;
} gpu_module;

typedef struct gpu {
    WGPUDevice dev;
    WGPUQueue queue;
    WGPULimits lim;
    wgpu_features has;
    wgpu_trouble trouble;
    bool safe;                  /* RUSTY_WEBGPU_SAFE=1: bounds checks in all kernels, not only in those that nobody has verified */
    os_mutex *lock;             /* of what follows: programs are built outside the device's lock */
    gpu_layout *layouts;
    gpu_module *modules[GPU_BUCKETS];
    size_t held;                /* bytes of buffers */
    WGPUBuffer map;             /* for reading back */
    size_t map_bytes;
    double budget_s, scale;     /* longest submission; measured over estimated time */
    struct gpu_reading *asked;  /* what the next run hands over, a list */
    int awaited;                /* tickets that were not taken: the host is ahead of the device */
    ry_program *timed;          /* its last run's times have not been read */
    int fault;                  /* RUSTY_FAULT=device:N: runs until the device is destroyed; 0 never */
} gpu;

/* A buffer of ours: pieces that the driver gives at once, all full but the last. */
typedef struct gpu_memory {
    size_t piece;
    int n;
    WGPUBuffer at[];
} gpu_memory;

typedef struct gpu_bound {          /* a bind group: one for each distinct set of operands, and each part of them */
    const gpu_layout *lay;
    uint32_t part;
    int64_t from, to;
    WGPUBindGroup at;
} gpu_bound;

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
    gpu_module *mod;
    int *pipe;                  /* by dispatch: index in mod->pipe */
    int *group_of;              /* by dispatch */
    gpu_bound *group;
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
    uint8_t pass_phase[GPU_MAX_PASSES];
    bool mapping;               /* times are on their way */
    atomic_int mapped;
    double estimate_s;
} gpu_program;

/* ---- memory ---- */

size_t gpu_piece_bytes(const gpu *g); /* the most that one buffer holds */
WGPUBuffer gpu_buffer_new(gpu *g, size_t bytes, WGPUBufferUsage use);
/* The buffer of byte `at`, where it is in there, and how many bytes follow in it. */
WGPUBuffer gpu_memory_at(const ry_buffer *b, size_t at, size_t *offset, size_t *follow);
/* Ends and releases the encoder, if there is one. Never submits after an error: the library would end the process. index may be NULL. */
ry_status gpu_submit(gpu *g, WGPUCommandEncoder *e, WGPUSubmissionIndex *index);
/* What BufferMapAsync calls: `done` is an atomic_int, 1 where it went well, else -1. */
void gpu_on_mapped(WGPUMapAsyncStatus st, WGPUStringView message, void *done, void *unused);
ry_status gpu_read_piece(gpu *g, WGPUBuffer from, size_t at, void *data, size_t bytes);
/* As in ry_device_api. */
ry_status gpu_alloc(ry_device *d, ry_buffer *b, size_t bytes);
void gpu_free(ry_device *d, ry_buffer *b);
ry_status gpu_wrap(ry_device *d, ry_buffer *b, void *data, size_t bytes);
ry_status gpu_write(ry_device *d, ry_buffer *b, size_t at, const void *data, size_t bytes);
ry_status gpu_read(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes);
ry_status gpu_ask(ry_device *d, const ry_buffer *b, size_t at, size_t bytes, void **ticket);
ry_status gpu_take(ry_device *d, void *ticket, void *data);
void gpu_answer(gpu *g, WGPUCommandEncoder e);                    /* encodes what was asked for */
void gpu_answered(gpu *g, const WGPUSubmissionIndex *index);      /* and that was submitted; NULL: it failed */
ry_status gpu_copy(ry_device *d, ry_buffer *to, const ry_buffer *from, size_t bytes);
size_t gpu_held(ry_device *d);

/* ---- kernels; under gpu.lock ---- */

ry_status gpu_layout_get(gpu *g, const gpu_layout **out, uint32_t mask, uint32_t read_only);
ry_status gpu_module_get(gpu *g, gpu_module **out, ry_text *text, bool trusted); /* the module of this text; takes the text */
ry_status gpu_pipeline_get(gpu_module *m, int *out, const char *entry, const gpu_layout *lay); /* index in m->pipe, made by gpu_compile */
ry_status gpu_compile(gpu *g, gpu_module **at, size_t n); /* what is not made yet of n modules, side by side */
void gpu_kernels_free(gpu *g); /* all of them, at the device's end: no lock */

/* ---- programs ---- */

/* Groups in a row of the grid: as few rows as there can be, equally long, so that hardly any group is idle. */
int64_t gpu_grid_row(const gpu *g, int64_t groups);
/* Uniforms of a step: all of them, or those that the launch's values make. */
void gpu_fill_slot(gpu *g, gpu_program *x, const gpu_step *s, const ry_launch *l, bool all);
void gpu_bind_step(ry_device *d, const ry_program *p, gpu_step *s); /* bind groups over the slab as it lies now */
/* As in ry_device_api. */
ry_status gpu_work(ry_device *d, const ry_node *n, ry_work *w);
ry_status gpu_build(ry_device *d, ry_program *p);
void gpu_unbuild(ry_device *d, ry_program *p);
#endif
#endif
