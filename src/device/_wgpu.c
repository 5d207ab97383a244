/* _wgpu.c - loads wgpu-native, checks that it is the one we know, and opens its adapters and devices.
 *
 * Owns the library, its instance and the adapters for the life of the process, and every fact that is wgpu-native's alone.
 * Never prints, never links the library: a program without it is whole but for this device. */
#include "device/_wgpu.h"
#include "base/mem.h"
#include "base/text.h"
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOW_TO_GET_IT                                                                                                  \
    "`tools/setup.sh wgpu` in Rusty's source folder fetches it, `make demo` and `make check` do so too; or set RUSTY_WGPU_LIB to "  \
    "the file of wgpu-native 29.0.1"

#if !defined(RUSTY_HAVE_WGPU)

ry_status wgpu_open(void) {
    RY_FAIL(RY_EUNSUPPORTED, "this program was built without WebGPU, for its headers were not there; "
                             "`tools/setup.sh wgpu` in Rusty's source folder fetches them, then build again");
}
size_t wgpu_adapters(void) { return 0; }
ry_status wgpu_describe(size_t i, ry_device_info *out) {
    (void)i, (void)out;
    return wgpu_open();
}

#else

#if defined(_WIN32)
#define LIBRARY_NAME "wgpu_native.dll"
#elif defined(__APPLE__)
#define LIBRARY_NAME "libwgpu_native.dylib"
#else
#define LIBRARY_NAME "libwgpu_native.so"
#endif
/* From cmake/wgpu.cmake: RUSTY_WGPU_INSTALLED, where it is installed with us, seen from the program's folder; RUSTY_WGPU_PATH,
 * where the build found it, "" if nowhere. */
#define KNOWN_VERSION 0x1d000100u /* 29.0.1.x: the structs of its header are ours */
#define MAX_ADAPTERS 64
#define MAX_DEVICES  64 /* open at a time */

struct wgpu_table wgpu;

/* All of it lives as long as the process: drivers do not like to be unloaded. */
static struct {
    WGPUInstance instance;
    wgpu_adapter adapter[MAX_ADAPTERS];
    size_t adapters;
} all;
static atomic_bool opened;

/* A lock that exists only while somebody is inside, so that nothing of it outlives the last device. */
static struct {
    os_mutex *lock;
    int users;
} gate;

static ry_status gate_enter(void) {
    ry_status st = RY_OK;
    os_static_lock();
    if (!gate.users) st = os_mutex_open(&gate.lock);
    if (st == RY_OK) gate.users++;
    os_static_unlock();
    if (st == RY_OK) os_mutex_lock(gate.lock);
    return st;
}

static void gate_leave(void) {
    os_mutex_unlock(gate.lock);
    os_static_lock();
    if (--gate.users == 0) os_mutex_close(gate.lock);
    os_static_unlock();
}

/* ---------------------------------------------------------------- texts */

/* Copies a view on one line, cut to n - 1 bytes. */
static void copy_text(char *to, size_t n, WGPUStringView s) {
    size_t len = s.data ? s.length == WGPU_STRLEN ? strlen(s.data) : s.length : 0, k = 0;
    for (size_t i = 0; i < len && k + 1 < n; i++) {
        char c = (unsigned char)s.data[i] < ' ' ? ' ' : s.data[i];
        if (c != ' ' || (k && to[k - 1] != ' ')) to[k++] = c;
    }
    while (k && to[k - 1] == ' ') k--;
    to[k] = 0;
}

static void on_log(WGPULogLevel level, WGPUStringView message, void *ud) {
    char line[1024];
    (void)ud, (void)level; /* what matters comes back as an error, too */
    copy_text(line, sizeof line, message);
    ry_log_line(RY_LOG_DEBUG, "wgpu: %s", line);
}

/* ---------------------------------------------------------------- the library */

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
#define WGPU_ROW(name) {"wgpu" #name, offsetof(struct wgpu_table, name)},
    WGPU_STANDARD(WGPU_ROW)
#undef WGPU_ROW
#define WGPU_ROW(type, name, args) {"wgpu" #name, offsetof(struct wgpu_table, name)},
    WGPU_NATIVE(WGPU_ROW)
#undef WGPU_ROW
};

static ry_status library_read(void *lib, const char *path) {
    struct wgpu_table t;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *f = os_dl_sym(lib, symbols[i].name);
        memcpy((char *)&t + symbols[i].at, &f, sizeof f); /* C has no conversion between the two kinds of pointer */
    }
    if (!t.GetVersion) RY_FAIL(RY_EUNSUPPORTED, "webgpu: %s is no wgpu-native: it has no wgpuGetVersion. " HOW_TO_GET_IT, path);
    uint32_t v = t.GetVersion();
    if ((v & ~0xffu) != KNOWN_VERSION)
        RY_FAIL(RY_EUNSUPPORTED, "webgpu: %s is wgpu-native %u.%u.%u.%u, and only 29.0.1 is known to work. " HOW_TO_GET_IT, path, v >> 24,
                v >> 16 & 255, v >> 8 & 255, v & 255);
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *f;
        memcpy(&f, (char *)&t + symbols[i].at, sizeof f);
        if (!f) RY_FAIL(RY_EUNSUPPORTED, "webgpu: %s has no %s. " HOW_TO_GET_IT, path, symbols[i].name);
    }
    wgpu = t;
    return RY_OK;
}

/* Opens one place; ENOENT if nothing can be loaded from there. */
static ry_status library_try(const char *path, bool named) {
    void *lib = os_dl_open(path);
    if (!lib) {
        char why[512], *reason = why;
        size_t n = strlen(path);
        os_dl_why(why, sizeof why);
        if (!strncmp(why, path, n) && !strncmp(why + n, ": ", 2)) reason += n + 2;
        RY_FAIL(RY_ENOENT, "webgpu: %s%s cannot be loaded: %s. " HOW_TO_GET_IT, named ? "RUSTY_WGPU_LIB: " : "", path, reason);
    }
    ry_status st = library_read(lib, path);
    if (st != RY_OK) os_dl_close(lib);
    return st;
}

static ry_status library_open(void) {
    const char *named = os_env("RUSTY_WGPU_LIB");
    char program[1024], beside[1100] = "", installed[1200] = "";
    if (named && !strcmp(named, "none")) RY_FAIL(RY_ENOENT, "webgpu: switched off by RUSTY_WGPU_LIB=none");
    if (named) return library_try(named, true);
    if (os_program_path(program, sizeof program) == RY_OK) {
        size_t n = strlen(program);
        while (n && program[n - 1] != '/' && program[n - 1] != '\\') n--;
        snprintf(beside, sizeof beside, "%.*s%s", (int)n, program, LIBRARY_NAME);
        snprintf(installed, sizeof installed, "%.*s%s", (int)n, program, RUSTY_WGPU_INSTALLED);
    }
    const char *const places[] = {beside, installed, RUSTY_WGPU_PATH};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (*places[i] && os_kind(places[i]) == OS_FILE) return library_try(places[i], false);
    ry_status st = library_try(LIBRARY_NAME, false);
    if (st == RY_ENOENT)
        RY_FAIL(st, "webgpu: the library wgpu-native is not here: no %s beside the program%s%s or where the system looks. " HOW_TO_GET_IT,
                LIBRARY_NAME, *RUSTY_WGPU_PATH ? ", in " : "", RUSTY_WGPU_PATH);
    return st;
}

/* ---------------------------------------------------------------- adapters */

/* wgpu-native 29 knows subgroups by its own number only; webgpu.h has another: all numbers that the adapter has are asked for.
 * USED: by kernels or programs; the others are listed, and no device is asked for them. */
static const struct {
    const char *name;
    uint32_t number[3];
    size_t at;
    bool used;
} feature_rows[] = {
#define USED(name, ...)   {#name, {__VA_ARGS__}, offsetof(wgpu_features, name), true}
#define LISTED(name, ...) {#name, {__VA_ARGS__}, offsetof(wgpu_features, name), false}
    USED(subgroups, WGPUNativeFeature_Subgroup, WGPUFeatureName_Subgroups, WGPUNativeFeature_SubgroupBarrier),
    LISTED(f16, WGPUFeatureName_ShaderF16),
    USED(timestamps, WGPUFeatureName_TimestampQuery),
    LISTED(timestamps_in_encoder, WGPUNativeFeature_TimestampQueryInsideEncoders),
    LISTED(timestamps_in_pass, WGPUNativeFeature_TimestampQueryInsidePasses),
    LISTED(immediates, WGPUNativeFeature_Immediates),
    LISTED(mappable, WGPUNativeFeature_MappablePrimaryBuffers),
    USED(i64, WGPUNativeFeature_ShaderInt64),
    LISTED(i16, WGPUNativeFeature_ShaderI16),
    LISTED(f32_atomics, WGPUNativeFeature_ShaderFloat32Atomic),
    LISTED(coop_matrix, WGPUNativeFeature_CooperativeMatrix),
#undef USED
#undef LISTED
};
enum { FEATURES = sizeof feature_rows / sizeof *feature_rows };

static bool *feature(wgpu_features *f, int i) { return (bool *)((char *)f + feature_rows[i].at); }
static WGPUFeatureName feature_number(int i, int k) { return (WGPUFeatureName)feature_rows[i].number[k]; }

static const char *backend_text(WGPUBackendType t) {
    return t == WGPUBackendType_Vulkan ? "vulkan" : t == WGPUBackendType_Metal ? "metal" : t == WGPUBackendType_D3D12 ? "dx12" : "other";
}
static const char *type_text(WGPUAdapterType t) {
    return t == WGPUAdapterType_DiscreteGPU ? "DiscreteGpu" : t == WGPUAdapterType_IntegratedGPU ? "IntegratedGpu"
         : t == WGPUAdapterType_CPU ? "SoftwareGpu" : "OtherGpu"; /* virtual ones have no name in webgpu.h */
}
static int rank(const wgpu_adapter *a) {
    return a->kind == WGPUAdapterType_DiscreteGPU ? 0 : a->kind == WGPUAdapterType_IntegratedGPU ? 1 : a->kind == WGPUAdapterType_CPU ? 3 : 2;
}

static const char *vendor_text(uint32_t id) {
    static const struct {
        uint32_t id;
        const char *name;
    } known[] = {{0x10de, "NVIDIA"}, {0x1002, "AMD"}, {0x1022, "AMD"}, {0x8086, "Intel"}, {0x106b, "Apple"}, {0x13b5, "Arm"}, {0x5143, "Qualcomm"},
                 {0x10005, "Mesa"}, {0x1414, "Microsoft"}, {0x1010, "Imagination"}, {0x14e4, "Broadcom"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].id == id) return known[i].name;
    return "unknown vendor";
}

static bool adapter_read(wgpu_adapter *a, WGPUAdapter handle) {
    WGPUAdapterInfo info = {0};
    *a = (wgpu_adapter){.handle = handle};
    if (wgpu.AdapterGetInfo(handle, &info) != WGPUStatus_Success) return false;
    copy_text(a->name, sizeof a->name, info.device);
    copy_text(a->driver, sizeof a->driver, info.description);
    if (!*a->driver) copy_text(a->driver, sizeof a->driver, info.vendor);
    snprintf(a->vendor, sizeof a->vendor, "%s", vendor_text(info.vendorID));
    a->kind = info.adapterType, a->vendor_id = info.vendorID, a->device_id = info.deviceID;
    a->backend = backend_text(info.backendType), a->type = type_text(info.adapterType);
    wgpu.AdapterInfoFreeMembers(info);
    if (wgpu.AdapterGetLimits(handle, &a->limits) != WGPUStatus_Success) return false;
    a->limits.nextInChain = NULL;
    for (int i = 0; i < FEATURES; i++)
        for (int k = 0; k < 3 && feature_rows[i].number[k]; k++)
            if (wgpu.AdapterHasFeature(handle, feature_number(i, k))) *feature(&a->features, i) = true;
    return true;
}

/* One chip through two interfaces (Windows) or two drivers (AMD's and Mesa's): the first stays. Two equal chips stay two. */
static bool seen_elsewhere(const wgpu_adapter *a) {
    for (size_t i = 0; i < all.adapters; i++) {
        const wgpu_adapter *b = &all.adapter[i];
        bool other = strcmp(a->backend, b->backend) != 0 || strcmp(a->driver, b->driver) != 0;
        if (other && a->vendor_id == b->vendor_id && a->device_id == b->device_id && a->kind == b->kind) return true;
    }
    return false;
}

static ry_status adapters_find(WGPUInstanceBackend backend) {
    WGPUInstanceEnumerateAdapterOptions options = {.backends = backend};
    size_t n = wgpu.InstanceEnumerateAdapters(all.instance, &options, NULL);
    if (!n) return RY_OK;
    WGPUAdapter *found = ry_mem_zalloc(ry_mem_size(n + 16, sizeof *found, 0)); /* a chip may arrive between the two calls */
    if (!found) return RY_ENOMEM;
    n = wgpu.InstanceEnumerateAdapters(all.instance, &options, found);
    for (size_t i = 0; i < n; i++) {
        wgpu_adapter a;
        if (all.adapters == MAX_ADAPTERS || !adapter_read(&a, found[i]) || seen_elsewhere(&a)) {
            wgpu.AdapterRelease(found[i]);
            continue;
        }
        size_t at = all.adapters++; /* sorted as they come; equal ones keep the driver's order */
        for (; at && rank(&all.adapter[at - 1]) > rank(&a); at--) all.adapter[at] = all.adapter[at - 1];
        all.adapter[at] = a;
    }
    ry_mem_free(found);
    return RY_OK;
}

static void instance_drop(void) {
    for (size_t i = 0; i < all.adapters; i++) wgpu.AdapterRelease(all.adapter[i].handle);
    all.adapters = 0;
    wgpu.InstanceRelease(all.instance);
    all.instance = NULL;
}

static ry_status instance_open(void) {
    /* Never OpenGL: it lists chips a second time and writes to stderr. Drivers that call themselves incomplete are taken, for on
     * some systems there is no other; `rusty doctor` shows what they get wrong. */
    const WGPUInstanceBackend backends[] = {WGPUInstanceBackend_Metal, WGPUInstanceBackend_Vulkan, WGPUInstanceBackend_DX12};
    WGPUInstanceExtras extras = {.chain = {.sType = (WGPUSType)WGPUSType_InstanceExtras},
                                 .backends = backends[0] | backends[1] | backends[2],
                                 .flags = WGPUInstanceFlag_AllowUnderlyingNoncompliantAdapter};
    WGPUInstanceDescriptor desc = {.nextInChain = &extras.chain};
    wgpu.SetLogCallback(on_log, NULL);
    wgpu.SetLogLevel(WGPULogLevel_Warn);
    all.instance = wgpu.CreateInstance(&desc);
    if (!all.instance) RY_FAIL(RY_EDEVICE, "webgpu: wgpu-native gave no instance");
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        ry_status st = adapters_find(backends[i]);
        if (st != RY_OK) {
            instance_drop();
            return st;
        }
    }
    return RY_OK;
}

ry_status wgpu_open(void) {
    if (atomic_load_explicit(&opened, memory_order_acquire)) return RY_OK;
    RY_TRY(gate_enter());
    ry_status st = RY_OK;
    if (!atomic_load_explicit(&opened, memory_order_relaxed)) {
        st = library_open();
        if (st == RY_OK) st = instance_open();
        if (st == RY_OK) atomic_store_explicit(&opened, true, memory_order_release);
    }
    gate_leave();
    return st;
}

size_t wgpu_adapters(void) { return wgpu_open() == RY_OK ? all.adapters : 0; }

const wgpu_adapter *wgpu_adapter_at(size_t i) { return i < wgpu_adapters() ? &all.adapter[i] : NULL; }

ry_status wgpu_describe(size_t i, ry_device_info *out) {
    RY_TRY(wgpu_open());
    const wgpu_adapter *a = wgpu_adapter_at(i);
    if (!all.adapters)
        RY_FAIL(RY_ENOENT, "webgpu: wgpu-native is here, but no driver offers it a GPU: install the Vulkan driver of your chip (Linux: and the "
                           "loader, libvulkan1), or mesa-vulkan-drivers, which has a software driver too");
    if (!a) RY_FAIL(RY_ENOENT, "webgpu: there is no adapter %zu; %zu are here", i, all.adapters);
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", a->name);
    snprintf(out->backend, sizeof out->backend, "%s", a->backend);
    snprintf(out->type, sizeof out->type, "%s", a->type);
    snprintf(out->driver, sizeof out->driver, "%s", a->driver);
    /* A GPU before the CPU (100), a chip of its own before one that shares the CPU's memory; a driver in software never by itself. */
    static const int preference[] = {300, 200, 150, 0};
    out->preference = preference[rank(a)];
    out->max_buffer = (size_t)a->limits.maxBufferSize, out->max_binding = (size_t)a->limits.maxStorageBufferBindingSize;
    out->max_bindings = (int)a->limits.maxStorageBuffersPerShaderStage;
    out->shared_bytes = (int)a->limits.maxComputeWorkgroupStorageSize;
    out->max_invocations = (int)a->limits.maxComputeInvocationsPerWorkgroup;
    wgpu_features f = a->features;
    ry_text t = {0};
    for (int k = 0; k < FEATURES; k++)
        if (*feature(&f, k)) ry_text_printf(&t, "%s%s", t.n ? " " : "", feature_rows[k].name);
    ry_status st = ry_text_status(&t);
    if (st == RY_OK && t.n) snprintf(out->features, sizeof out->features, "%s", t.at);
    ry_text_free(&t);
    return st;
}

/* ---------------------------------------------------------------- trouble */

ry_status wgpu_trouble_open(wgpu_trouble *t) {
    memset(t, 0, sizeof *t);
    return os_mutex_open(&t->lock);
}

void wgpu_trouble_close(wgpu_trouble *t) {
    os_mutex_close(t->lock);
    t->lock = NULL;
}

static void note(wgpu_trouble *t, ry_status st, WGPUStringView message) {
    os_mutex_lock(t->lock);
    if (st == RY_ELOST || !atomic_load(&t->any)) {
        t->status = st;
        copy_text(t->message, sizeof t->message, message);
    }
    if (st == RY_ELOST) atomic_store(&t->lost, true);
    atomic_store(&t->any, true);
    os_mutex_unlock(t->lock);
}

/* wgpu-native 29 calls the callback of a loss late or never; every use of a lost device is an error that says so. */
static void on_error(WGPUDevice const *dev, WGPUErrorType type, WGPUStringView message, void *trouble, void *unused) {
    (void)dev, (void)unused;
    wgpu_trouble *t = trouble;
    char text[sizeof t->message];
    copy_text(text, sizeof text, message);
    ry_status st = type == WGPUErrorType_OutOfMemory || strstr(text, "Not enough memory left") ? RY_ENOMEM : strstr(text, "evice is lost") ? RY_ELOST : RY_EDEVICE;
    if (!atomic_load(&t->lost)) note(t, st, message);
}

static void on_lost(WGPUDevice const *dev, WGPUDeviceLostReason reason, WGPUStringView message, void *trouble, void *unused) {
    (void)dev, (void)reason, (void)unused;
    note(trouble, RY_ELOST, message);
}

ry_status wgpu_check(wgpu_trouble *t) {
    if (!atomic_load_explicit(&t->any, memory_order_relaxed)) return RY_OK;
    os_mutex_lock(t->lock);
    ry_status st = ry_fail(t->status, "webgpu: %s%s", atomic_load(&t->lost) ? "the device is lost: " : "", t->message);
    if (!atomic_load(&t->lost)) atomic_store(&t->any, false);
    os_mutex_unlock(t->lock);
    return st;
}

/* ---------------------------------------------------------------- devices that are open, and calls that may abort */

static struct {
    WGPUDevice dev;
    WGPUQueue queue;
    wgpu_trouble *trouble;
} open_devices[MAX_DEVICES];

static bool device_remember(WGPUDevice dev, WGPUQueue queue, wgpu_trouble *t) {
    int i = 0;
    os_static_lock();
    while (i < MAX_DEVICES && open_devices[i].dev) i++;
    if (i < MAX_DEVICES) open_devices[i].dev = dev, open_devices[i].queue = queue, open_devices[i].trouble = t;
    os_static_unlock();
    return i < MAX_DEVICES;
}

static void device_forget(WGPUDevice dev) {
    os_static_lock();
    for (int i = 0; i < MAX_DEVICES; i++)
        if (open_devices[i].dev == dev) memset(&open_devices[i], 0, sizeof open_devices[i]);
    os_static_unlock();
}

static wgpu_trouble *trouble_of(WGPUDevice dev, WGPUQueue queue) {
    wgpu_trouble *t = NULL;
    os_static_lock();
    for (int i = 0; i < MAX_DEVICES && !t; i++)
        if (open_devices[i].dev && (open_devices[i].dev == dev || open_devices[i].queue == queue)) t = open_devices[i].trouble;
    os_static_unlock();
    assert(t);
    return t;
}

typedef struct device_call {
    enum { SUBMIT, POLL, MAPPED, RELEASE } what;
    WGPUDevice dev;
    WGPUQueue queue;
    WGPUCommandBuffer cmd;
    WGPUBuffer buffer;
    size_t at, bytes;
    bool wait;
    const WGPUSubmissionIndex *until;
    WGPUSubmissionIndex index; /* out */
    const void *mapped;
} device_call;

static void call(void *arg) {
    device_call *c = arg;
    switch (c->what) {
    case SUBMIT: c->index = wgpu.QueueSubmitForIndex(c->queue, c->cmd != NULL, &c->cmd); break;
    case POLL: wgpu.DevicePoll(c->dev, c->wait, c->until); break;
    case MAPPED: c->mapped = wgpu.BufferGetConstMappedRange(c->buffer, c->at, c->bytes); break;
    case RELEASE: wgpu.DeviceRelease(c->dev); break;
    }
}

static void guarded(device_call *c, wgpu_trouble *t) {
    if (!os_guarded(call, c) && !atomic_load(&t->lost)) note(t, RY_ELOST, wgpu_text("wgpu-native gave up; its own words are on the error output"));
}

/* ---------------------------------------------------------------- devices */

/* What RUSTY_WEBGPU_LIMITS may set. `least`: an alignment, where the adapter's value is the smallest allowed. */
static const struct {
    const char *name;
    size_t at, bytes;
    uint64_t normal; /* WebGPU's default */
    bool least;
} limit_rows[] = {
#define LIMIT(name, field, normal, least) {name, offsetof(WGPULimits, field), sizeof(((WGPULimits *)0)->field), normal, least}
    LIMIT("binding", maxStorageBufferBindingSize, 128u << 20, false),
    LIMIT("buffer", maxBufferSize, 256u << 20, false),
    LIMIT("uniform", maxUniformBufferBindingSize, 64u << 10, false),
    LIMIT("shared", maxComputeWorkgroupStorageSize, 16u << 10, false),
    LIMIT("buffers", maxStorageBuffersPerShaderStage, 8, false),
    LIMIT("invocations", maxComputeInvocationsPerWorkgroup, 256, false),
    LIMIT("x", maxComputeWorkgroupSizeX, 256, false),
    LIMIT("y", maxComputeWorkgroupSizeY, 256, false),
    LIMIT("z", maxComputeWorkgroupSizeZ, 64, false),
    LIMIT("groups", maxComputeWorkgroupsPerDimension, 65535, false),
    LIMIT("align", minStorageBufferOffsetAlignment, 256, true),
    LIMIT("uniform_align", minUniformBufferOffsetAlignment, 256, true),
#undef LIMIT
};
enum { LIMITS = sizeof limit_rows / sizeof *limit_rows };

static uint64_t limit_get(const WGPULimits *l, int i) {
    uint32_t small;
    uint64_t large;
    if (limit_rows[i].bytes == 8) return memcpy(&large, (const char *)l + limit_rows[i].at, 8), large;
    return memcpy(&small, (const char *)l + limit_rows[i].at, 4), small;
}

/* Towards the poorer side only. */
static void limit_lower(WGPULimits *l, int i, uint64_t v) {
    uint64_t has = limit_get(l, i);
    if (limit_rows[i].least ? v < has : v > has) v = has;
    uint32_t small = (uint32_t)v;
    if (limit_rows[i].bytes == 8) memcpy((char *)l + limit_rows[i].at, &v, 8);
    else memcpy((char *)l + limit_rows[i].at, &small, 4);
}

/* The next word of a list joined by commas or spaces; 0 at the end. */
static size_t next_word(const char **s) {
    *s += strspn(*s, ", ");
    return strcspn(*s, ", ");
}

static ry_status limits_from_env(WGPULimits *l) {
    const char *s = os_env("RUSTY_WEBGPU_LIMITS");
    for (size_t n; s && (n = next_word(&s)); s += n) {
        if (n == 7 && !strncmp(s, "default", n)) {
            for (int i = 0; i < LIMITS; i++) limit_lower(l, i, limit_rows[i].normal);
            continue;
        }
        const char *eq = memchr(s, '=', n);
        int i = 0;
        for (; i < LIMITS && eq; i++)
            if (strlen(limit_rows[i].name) == (size_t)(eq - s) && !strncmp(limit_rows[i].name, s, (size_t)(eq - s))) break;
        char *end = NULL;
        unsigned long long v = eq && eq[1] >= '0' && eq[1] <= '9' ? strtoull(eq + 1, &end, 10) : 0;
        if (!eq || i == LIMITS || end != s + n) {
            ry_text names = {0};
            for (int k = 0; k < LIMITS; k++) ry_text_printf(&names, "%s%s", k ? ", " : "", limit_rows[k].name);
            ry_status st = ry_fail(RY_EARG, "RUSTY_WEBGPU_LIMITS: '%.*s' is neither `default` nor NAME=NUMBER with a name of %s", (int)n, s,
                                   names.at ? names.at : "");
            ry_text_free(&names);
            return st;
        }
        limit_lower(l, i, v);
    }
    return RY_OK;
}

static ry_status features_from_env(wgpu_features *f) {
    const char *s = os_env("RUSTY_WEBGPU_FEATURES");
    if (!s) return RY_OK;
    wgpu_features allowed = {0};
    for (size_t n; (n = next_word(&s)); s += n) {
        int i = 0;
        if (n == 4 && !strncmp(s, "none", n)) continue;
        while (i < FEATURES && (strlen(feature_rows[i].name) != n || strncmp(feature_rows[i].name, s, n))) i++;
        if (i == FEATURES) RY_FAIL(RY_EARG, "RUSTY_WEBGPU_FEATURES: '%.*s' is neither `none` nor a feature that `rusty devices` names", (int)n, s);
        *feature(&allowed, i) = true;
    }
    for (int i = 0; i < FEATURES; i++) *feature(f, i) &= *feature(&allowed, i);
    return RY_OK;
}

typedef struct request {
    WGPUDevice dev;
    char message[512];
} request;

static void on_device(WGPURequestDeviceStatus st, WGPUDevice dev, WGPUStringView message, void *ud, void *unused) {
    (void)unused;
    request *r = ud;
    if (st == WGPURequestDeviceStatus_Success) r->dev = dev;
    else copy_text(r->message, sizeof r->message, message);
}

static void device_request(request *r, const wgpu_adapter *a, wgpu_device_wish *w) {
    WGPUFeatureName names[FEATURES * 3];
    size_t n = 0;
    for (int i = 0; i < FEATURES; i++)
        for (int k = 0; k < 3 && feature_rows[i].number[k] && *feature(&w->features, i); k++)
            if (wgpu.AdapterHasFeature(a->handle, feature_number(i, k))) names[n++] = feature_number(i, k);
    WGPUDeviceDescriptor desc = {
        .requiredFeatureCount = n,
        .requiredFeatures = names,
        .requiredLimits = &w->limits,
        .deviceLostCallbackInfo = {.mode = WGPUCallbackMode_AllowSpontaneous, .callback = on_lost, .userdata1 = w->trouble},
        .uncapturedErrorCallbackInfo = {.callback = on_error, .userdata1 = w->trouble},
    };
    *r = (request){0};
    wgpu.AdapterRequestDevice(a->handle, &desc,
                              (WGPURequestDeviceCallbackInfo){.mode = WGPUCallbackMode_AllowSpontaneous, .callback = on_device, .userdata1 = r});
}

ry_status wgpu_device_open(const wgpu_adapter *a, wgpu_device_wish *w, WGPUDevice *dev, WGPUQueue *queue) {
    request r;
    *dev = NULL, *queue = NULL;
    w->features = a->features;
    for (int i = 0; i < FEATURES; i++) *feature(&w->features, i) &= feature_rows[i].used;
    w->limits = a->limits;
    w->limits.maxImmediateSize = 0;
    RY_TRY(features_from_env(&w->features));
    RY_TRY(limits_from_env(&w->limits));
    device_request(&r, a, w);
    if (!r.dev) RY_FAIL(RY_EDEVICE, "webgpu: %s (%s) gives no device: %s", a->name, a->backend, *r.message ? r.message : "no reason was given");
    for (int i = 0; i < FEATURES; i++) {
        bool granted = false;
        for (int k = 0; k < 3 && feature_rows[i].number[k]; k++) granted |= wgpu.DeviceHasFeature(r.dev, feature_number(i, k)) != 0;
        *feature(&w->features, i) = granted;
    }
    w->limits = (WGPULimits){0};
    wgpu.DeviceGetLimits(r.dev, &w->limits);
    *dev = r.dev;
    *queue = wgpu.DeviceGetQueue(r.dev);
    if (device_remember(*dev, *queue, w->trouble)) return RY_OK;
    wgpu.QueueRelease(*queue), wgpu.DeviceRelease(*dev);
    *dev = NULL, *queue = NULL;
    RY_FAIL(RY_EUNSUPPORTED, "webgpu: %d devices are open, and no more can be", MAX_DEVICES);
}

void wgpu_device_close(WGPUDevice dev, WGPUQueue queue) {
    if (dev) wgpu_wait(dev, NULL);
    if (queue) wgpu.QueueRelease(queue);
    if (dev) {
        device_call c = {.what = RELEASE, .dev = dev};
        guarded(&c, trouble_of(dev, NULL));
        device_forget(dev);
    }
}

/* For people who look at kernels, and for tests that hand them to other compilers. A text that cannot be written is only missed. */
static void dump(const char *folder, const char *text, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    char name[32];
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    snprintf(name, sizeof name, "%016llx.wgsl", (unsigned long long)h);
    char *path = os_join(folder, name);
    if (!path || os_mkdirs(folder) != RY_OK || os_file_write(path, text, n) != RY_OK) ry_log_line(RY_LOG_WARN, "%s", ry_message());
    ry_mem_free(path);
}

WGPUShaderModule wgpu_module(WGPUDevice dev, const char *text, size_t n, bool trusted) {
    const char *folder = os_env("RUSTY_WEBGPU_DUMP");
    if (folder) dump(folder, text, n);
    WGPUShaderSourceWGSL source = {.chain = {.sType = WGPUSType_ShaderSourceWGSL}, .code = {text, n}};
    WGPUShaderModuleDescriptor desc = {.nextInChain = &source.chain};
    return trusted ? wgpu.DeviceCreateShaderModuleTrusted(dev, &desc, WGPUShaderRuntimeChecks_None) : wgpu.DeviceCreateShaderModule(dev, &desc);
}

WGPUSubmissionIndex wgpu_submit(WGPUQueue queue, WGPUCommandBuffer cmd) {
    wgpu_trouble *t = trouble_of(NULL, queue);
    device_call c = {.what = SUBMIT, .queue = queue, .cmd = cmd};
    if (!atomic_load(&t->any)) guarded(&c, t);
    if (cmd) wgpu.CommandBufferRelease(cmd);
    return c.index;
}

static void poll_device(WGPUDevice dev, bool wait, const WGPUSubmissionIndex *until) {
    wgpu_trouble *t = trouble_of(dev, NULL);
    device_call c = {.what = POLL, .dev = dev, .wait = wait, .until = until};
    if (!atomic_load(&t->lost)) guarded(&c, t);
}

void wgpu_wait(WGPUDevice dev, const WGPUSubmissionIndex *at) {
    if (!at || *at) poll_device(dev, true, at);
}

const void *wgpu_mapped(WGPUDevice dev, WGPUBuffer b, size_t at, size_t bytes) {
    wgpu_trouble *t = trouble_of(dev, NULL);
    device_call c = {.what = MAPPED, .buffer = b, .at = at, .bytes = bytes};
    if (!atomic_load(&t->lost)) guarded(&c, t);
    return c.mapped;
}

void wgpu_poll(WGPUDevice dev) { poll_device(dev, false, NULL); }
#endif
