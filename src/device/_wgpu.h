/* _wgpu.h - the WebGPU library (wgpu-native) behind one table of functions, and the adapters it finds.
 *
 * Owns what differs between providers of webgpu.h: loading, versions, extras, features that have two numbers, waiting.
 * Knows no kernel and no plan.  Without the headers at build time (RUSTY_HAVE_WGPU undefined) only the first part is here. */
#ifndef RY_DEVICE_WGPU_H
#define RY_DEVICE_WGPU_H
#include "base/os.h"
#include "base/status.h"

/* Loads the library, checks its version, finds the adapters; once a process, from any thread. A failure is not remembered:
 * the next call tries again. ENOENT: no library; EUNSUPPORTED: one that we do not know. The message says how to get it.
 * RUSTY_WGPU_LIB names the file to take; `none` switches GPUs off. */
ry_status wgpu_open(void);
/* Adapters here, best first: discrete, integrated, others, software; 0 where wgpu_open fails. */
size_t wgpu_adapters(void);
ry_status wgpu_describe(size_t i, ry_device_info *out);

#if defined(RUSTY_HAVE_WGPU)
#include <stdatomic.h>
#include <webgpu.h>
#include <wgpu.h>

/* ---- the functions: wgpuDeviceCreateBuffer is wgpu.DeviceCreateBuffer ---- */

#define WGPU_STANDARD(X)                                                                                               \
    X(AdapterGetInfo) X(AdapterGetLimits) X(AdapterHasFeature) X(AdapterInfoFreeMembers) X(AdapterRelease)             \
    X(AdapterRequestDevice) X(BindGroupLayoutRelease) X(BindGroupRelease) X(BufferGetConstMappedRange)                 \
    X(BufferMapAsync) X(BufferRelease) X(BufferUnmap) X(CommandBufferRelease) X(CommandEncoderBeginComputePass)        \
    X(CommandEncoderCopyBufferToBuffer) X(CommandEncoderFinish) X(CommandEncoderRelease)                               \
    X(CommandEncoderResolveQuerySet) X(ComputePassEncoderDispatchWorkgroups) X(ComputePassEncoderEnd)                  \
    X(ComputePassEncoderRelease) X(ComputePassEncoderSetBindGroup) X(ComputePassEncoderSetPipeline)                    \
    X(ComputePipelineRelease) X(CreateInstance) X(DeviceCreateBindGroup) X(DeviceCreateBindGroupLayout)                \
    X(DeviceCreateBuffer) X(DeviceCreateCommandEncoder) X(DeviceCreateComputePipeline) X(DeviceCreatePipelineLayout)   \
    X(DeviceCreateQuerySet) X(DeviceCreateShaderModule) X(DeviceDestroy) X(DeviceGetLimits) X(DeviceGetQueue)          \
    X(DeviceHasFeature) X(DeviceRelease) X(InstanceRelease) X(PipelineLayoutRelease) X(QuerySetRelease)                \
    X(QueueRelease) X(QueueWriteBuffer) X(ShaderModuleRelease)

/* wgpu-native's own, for which its header has no types. */
#define WGPU_NATIVE(X)                                                                                                 \
    X(WGPUShaderModule, DeviceCreateShaderModuleTrusted,                                                               \
      (WGPUDevice dev, WGPUShaderModuleDescriptor const *desc, WGPUShaderRuntimeChecks checks))                        \
    X(WGPUBool, DevicePoll, (WGPUDevice dev, WGPUBool wait, WGPUSubmissionIndex const *index))                         \
    X(uint32_t, GetVersion, (void))                                                                                    \
    X(size_t, InstanceEnumerateAdapters,                                                                               \
      (WGPUInstance inst, WGPUInstanceEnumerateAdapterOptions const *options, WGPUAdapter *adapters))                  \
    X(float, QueueGetTimestampPeriod, (WGPUQueue queue))                                                               \
    X(WGPUSubmissionIndex, QueueSubmitForIndex, (WGPUQueue queue, size_t n, WGPUCommandBuffer const *commands))        \
    X(void, SetLogCallback, (WGPULogCallback fn, void *ud))                                                            \
    X(void, SetLogLevel, (WGPULogLevel level))

struct wgpu_table {
#define WGPU_FIELD(name) WGPUProc##name name;
    WGPU_STANDARD(WGPU_FIELD)
#undef WGPU_FIELD
#define WGPU_FIELD(type, name, args) type(*name) args;
    WGPU_NATIVE(WGPU_FIELD)
#undef WGPU_FIELD
};
extern struct wgpu_table wgpu; /* filled by wgpu_open, constant afterwards */

/* ---- adapters ---- */

/* What an adapter has, or a device was granted: of those only that are in use (the table in _wgpu.c). */
typedef struct wgpu_features {
    bool subgroups;             /* and subgroupBarrier */
    bool f16;                   /* `enable f16;` */
    bool timestamps;            /* query sets; at the beginning and end of a pass */
    bool timestamps_in_encoder; /* between passes */
    bool timestamps_in_pass;    /* between dispatches */
    bool immediates;            /* var<immediate>, limits.maxImmediateSize bytes */
    bool mappable;              /* storage buffers may be mapped: chips that share the host's memory */
    bool i64, i16;              /* in kernels */
    bool f32_atomics;
    bool coop_matrix;           /* today's library lists it and refuses devices that ask for it */
} wgpu_features;

typedef struct wgpu_adapter {
    WGPUAdapter handle;      /* lives as long as the process */
    char name[128], vendor[32], driver[160];
    const char *backend;     /* "vulkan", "metal", "dx12" */
    const char *type;        /* "DiscreteGpu", "IntegratedGpu", "SoftwareGpu", "OtherGpu" */
    WGPUAdapterType kind;
    uint32_t vendor_id, device_id;
    WGPULimits limits;
    wgpu_features features;
} wgpu_adapter;
const wgpu_adapter *wgpu_adapter_at(size_t i); /* NULL where there is none */

/* ---- devices ---- */

/* Where a device's errors are noted, by its callbacks, from any thread. The first one stays until it is taken. */
typedef struct wgpu_trouble {
    os_mutex *lock;
    atomic_bool any, lost;
    ry_status status; /* ENOMEM: out of device memory; EDEVICE: the rest */
    char message[1024];
} wgpu_trouble;
ry_status wgpu_trouble_open(wgpu_trouble *t);
void wgpu_trouble_close(wgpu_trouble *t); /* after the device */
/* OK, or the noted error, which is taken; ELOST, for ever, once the device is lost. One load where all is well. */
ry_status wgpu_check(wgpu_trouble *t);

typedef struct wgpu_device_wish {
    wgpu_trouble *trouble;  /* given; lives longer than the device */
    wgpu_features features; /* granted: what the adapter has of those in use, less what RUSTY_WEBGPU_FEATURES leaves out */
    WGPULimits limits;      /* granted: the adapter's own, lowered by RUSTY_WEBGPU_LIMITS */
} wgpu_device_wish;
/* RUSTY_WEBGPU_LIMITS: `default` (WebGPU's own) and NAME=NUMBER, joined by commas, never above the adapter's:
 *   binding, buffer, uniform, shared (bytes); buffers, invocations, groups; align (bytes, never below the adapter's).
 * RUSTY_WEBGPU_FEATURES: `none`, or the names of wgpu_features that may be asked for. EARG for words that mean nothing here. */
ry_status wgpu_device_open(const wgpu_adapter *a, wgpu_device_wish *w, WGPUDevice *dev, WGPUQueue *queue);
void wgpu_device_close(WGPUDevice dev, WGPUQueue queue); /* both may be NULL */
/* A module from WGSL; trusted: without bounds checks and loop bounds, for kernels that were verified. Errors go to the trouble.
 * RUSTY_WEBGPU_DUMP=FOLDER keeps every text there, as HASH.wgsl. */
WGPUShaderModule wgpu_module(WGPUDevice dev, const char *text, size_t n, bool trusted);
/* wgpu-native 29 aborts the process where these three fail: on a lost device, and on submissions that were not valid. Here that
 * becomes trouble: nothing is submitted while an error stands noted, and what still aborts is caught (but on Windows) and noted as a
 * loss, after the library's words on stderr. It takes a thread where that happened for one that ends, and frees little there later. */
WGPUSubmissionIndex wgpu_submit(WGPUQueue queue, WGPUCommandBuffer cmd); /* and releases cmd (NULL: only what was written before goes); 0 where nothing was submitted */
/* Until that submission (NULL: everything) is done; runs the callbacks of mappings meanwhile. */
void wgpu_wait(WGPUDevice dev, const WGPUSubmissionIndex *at);
const void *wgpu_mapped(WGPUDevice dev, WGPUBuffer b, size_t at, size_t bytes); /* of a buffer mapped for reading; NULL on failure */
void wgpu_poll(WGPUDevice dev); /* runs the callbacks of what is done by now; never waits */
/* A view of a C string, for labels and entry points. */
static inline WGPUStringView wgpu_text(const char *s) { return (WGPUStringView){s, WGPU_STRLEN}; }
#endif
#endif
