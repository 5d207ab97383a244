/* test_wgpu.c - the WebGPU library behind its table: absent, wrong, adapters in order, devices with few limits and features, errors
 * and losses as statuses.  Skips where there is no library or no adapter. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "base/mem.h"
#include "device/_wgpu.h"
#include "unit/cm.h"
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#define setenv(name, value, replace) _putenv_s(name, value)
#define unsetenv(name)               _putenv_s(name, "")
#endif

#if !defined(RUSTY_HAVE_WGPU)

static void tells_how_to_get_it(void **state) {
    (void)state;
    ry_device_info info;
    assert_is(RY_EUNSUPPORTED, wgpu_open());
    assert_non_null(strstr(ry_message(), "tools/setup.sh wgpu"));
    assert_int_equal(wgpu_adapters(), 0);
    assert_is(RY_EUNSUPPORTED, wgpu_describe(0, &info));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells_how_to_get_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* Before the library was opened for good: these two run first. */
static void missing_library(void **state) {
    (void)state;
    setenv("RUSTY_WGPU_LIB", "/nonexistent/libwgpu_native.so", 1);
    assert_is(RY_ENOENT, wgpu_open());
    assert_non_null(strstr(ry_message(), "/nonexistent/libwgpu_native.so"));
    assert_non_null(strstr(ry_message(), "tools/setup.sh wgpu"));
    assert_int_equal(wgpu_adapters(), 0);
    assert_null(wgpu_adapter_at(0));
    ry_device_info info;
    assert_is(RY_ENOENT, wgpu_describe(0, &info));
    unsetenv("RUSTY_WGPU_LIB");
}

static void wrong_library(void **state) {
    (void)state;
#if defined(_WIN32)
    const char *other = "kernel32.dll";
#elif defined(__APPLE__)
    const char *other = "libSystem.B.dylib";
#else
    const char *other = "libm.so.6";
#endif
    setenv("RUSTY_WGPU_LIB", other, 1);
    assert_is(RY_EUNSUPPORTED, wgpu_open());
    assert_non_null(strstr(ry_message(), other));
    assert_non_null(strstr(ry_message(), "29.0.1"));
    assert_int_equal(wgpu_adapters(), 0);
    unsetenv("RUSTY_WGPU_LIB");
}

static void need_adapter(void) {
    if (wgpu_open() == RY_OK && wgpu_adapters()) return;
    print_message("skipped: %s\n", wgpu_open() == RY_OK ? "no adapter is here" : ry_message());
    skip();
}

static int rank(const wgpu_adapter *a) {
    return !strcmp(a->type, "DiscreteGpu") ? 0 : !strcmp(a->type, "IntegratedGpu") ? 1 : !strcmp(a->type, "SoftwareGpu") ? 3 : 2;
}

static void open_from_thread(void *count) { *(size_t *)count = wgpu_adapters(); }

static void adapters(void **state) {
    (void)state;
    size_t n[2] = {0};
    os_thread *t[2];
    for (int i = 0; i < 2; i++) assert_ok(os_thread_start(&t[i], open_from_thread, &n[i]));
    for (int i = 0; i < 2; i++) os_thread_join(t[i]);
    assert_int_equal(n[0], n[1]);
    need_adapter();
    assert_int_equal(wgpu.GetVersion() >> 8, 0x1d0001);
    for (size_t i = 0; i < wgpu_adapters(); i++) {
        const wgpu_adapter *a = wgpu_adapter_at(i);
        ry_device_info info;
        print_message("%s | %s | %s | %s | %s | binding %llu, %u buffers, shared %u\n", a->name, a->vendor, a->driver, a->backend, a->type,
                      (unsigned long long)a->limits.maxStorageBufferBindingSize, a->limits.maxStorageBuffersPerShaderStage,
                      a->limits.maxComputeWorkgroupStorageSize);
        assert_true(a->name[0] && a->driver[0]);
        assert_string_not_equal(a->backend, "other");
        assert_true(i == 0 || rank(wgpu_adapter_at(i - 1)) <= rank(a));
        assert_true(a->limits.maxStorageBufferBindingSize >= 128u << 20);
        assert_ok(wgpu_describe(i, &info));
        assert_string_equal(info.name, a->name);
        assert_string_equal(info.type, a->type);
    }
    assert_null(wgpu_adapter_at(wgpu_adapters()));
}

/* ---- devices ---- */

typedef struct gpu {
    wgpu_trouble trouble;
    wgpu_device_wish wish;
    WGPUDevice dev;
    WGPUQueue queue;
} gpu;

static void gpu_open(gpu *g, const char *limits, const char *features) {
    need_adapter();
    limits ? setenv("RUSTY_WEBGPU_LIMITS", limits, 1) : unsetenv("RUSTY_WEBGPU_LIMITS");
    features ? setenv("RUSTY_WEBGPU_FEATURES", features, 1) : unsetenv("RUSTY_WEBGPU_FEATURES");
    *g = (gpu){0};
    assert_ok(wgpu_trouble_open(&g->trouble));
    g->wish.trouble = &g->trouble;
    assert_ok(wgpu_device_open(wgpu_adapter_at(0), &g->wish, &g->dev, &g->queue));
    assert_ok(wgpu_check(&g->trouble));
    assert_non_null(g->queue);
}

static void gpu_close(gpu *g) {
    wgpu_device_close(g->dev, g->queue);
    wgpu_trouble_close(&g->trouble);
    unsetenv("RUSTY_WEBGPU_LIMITS");
    unsetenv("RUSTY_WEBGPU_FEATURES");
}

static WGPUBuffer buffer(gpu *g, uint64_t bytes, WGPUBufferUsage use) {
    return wgpu.DeviceCreateBuffer(g->dev, &(WGPUBufferDescriptor){.usage = use, .size = bytes});
}

static void full_device(void **state) {
    (void)state;
    gpu g;
    gpu_open(&g, NULL, NULL);
    const wgpu_adapter *a = wgpu_adapter_at(0);
    assert_int_equal(g.wish.limits.maxStorageBufferBindingSize, a->limits.maxStorageBufferBindingSize);
    assert_int_equal(g.wish.limits.maxComputeWorkgroupStorageSize, a->limits.maxComputeWorkgroupStorageSize);
    assert_true(g.wish.features.subgroups == a->features.subgroups && g.wish.features.timestamps == a->features.timestamps &&
                g.wish.features.i64 == a->features.i64);
    assert_false(g.wish.features.f16 || g.wish.features.immediates || g.wish.features.coop_matrix); /* listed, and used by nothing */
    gpu_close(&g);
}

static void poor_device(void **state) {
    (void)state;
    gpu g;
    wgpu_features none = {0};
    gpu_open(&g, "default, binding=1048576,buffer=4194304,shared=8192,groups=1000", "none");
    assert_int_equal(g.wish.limits.maxStorageBufferBindingSize, 1048576);
    assert_int_equal(g.wish.limits.maxBufferSize, 4194304);
    assert_int_equal(g.wish.limits.maxComputeWorkgroupStorageSize, 8192);
    assert_int_equal(g.wish.limits.maxStorageBuffersPerShaderStage, 8);
    assert_int_equal(g.wish.limits.maxComputeInvocationsPerWorkgroup, 256);
    assert_int_equal(g.wish.limits.maxComputeWorkgroupsPerDimension, 1000);
    assert_int_equal(g.wish.limits.minStorageBufferOffsetAlignment, 256);
    assert_int_equal(g.wish.limits.maxImmediateSize, 0);
    assert_memory_equal(&g.wish.features, &none, sizeof none);
    /* And the device keeps them: one byte too much is an error of that call, told once. */
    WGPUBuffer b = buffer(&g, 4194304 + 4, WGPUBufferUsage_Storage);
    assert_is(RY_EDEVICE, wgpu_check(&g.trouble));
    assert_ok(wgpu_check(&g.trouble));
    if (b) wgpu.BufferRelease(b);
    gpu_close(&g);
    gpu_open(&g, "binding=18446744073709551615,align=1", "subgroups,i64"); /* never above the adapter's, alignments never below */
    assert_int_equal(g.wish.limits.maxStorageBufferBindingSize, wgpu_adapter_at(0)->limits.maxStorageBufferBindingSize);
    assert_int_equal(g.wish.limits.minStorageBufferOffsetAlignment, wgpu_adapter_at(0)->limits.minStorageBufferOffsetAlignment);
    assert_false(g.wish.features.timestamps);
    gpu_close(&g);
}

static void senseless_settings(void **state) {
    (void)state;
    need_adapter();
    static const char *const limits[] = {"tiny", "bindings=5", "binding=", "binding=5k", "=5", "buffers=-1"};
    wgpu_trouble t;
    assert_ok(wgpu_trouble_open(&t));
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        wgpu_device_wish w = {.trouble = &t};
        WGPUDevice dev;
        WGPUQueue queue;
        setenv("RUSTY_WEBGPU_LIMITS", limits[i], 1);
        assert_is(RY_EARG, wgpu_device_open(wgpu_adapter_at(0), &w, &dev, &queue));
        assert_non_null(strstr(ry_message(), limits[i]));
        assert_true(!dev && !queue);
    }
    unsetenv("RUSTY_WEBGPU_LIMITS");
    setenv("RUSTY_WEBGPU_FEATURES", "subgroups,tensor_cores", 1);
    wgpu_device_wish w = {.trouble = &t};
    WGPUDevice dev;
    WGPUQueue queue;
    assert_is(RY_EARG, wgpu_device_open(wgpu_adapter_at(0), &w, &dev, &queue));
    assert_non_null(strstr(ry_message(), "tensor_cores"));
    unsetenv("RUSTY_WEBGPU_FEATURES");
    wgpu_trouble_close(&t);
}

/* ---- work ---- */

static const char doubled[] = "@group(0) @binding(0) var<storage, read_write> b: array<u32>;\n"
                              "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3<u32>) { b[i.x] = 2u * b[i.x]; }\n";

static void on_map(WGPUMapAsyncStatus st, WGPUStringView m, void *out, void *unused) {
    (void)m, (void)unused;
    *(int *)out = st == WGPUMapAsyncStatus_Success ? 1 : -1;
}

/* Doubles 0 .. 1023 on the device and reads them back. */
static void run_kernel(gpu *g, bool trusted) {
    enum { N = 1024 };
    uint32_t data[N];
    for (uint32_t i = 0; i < N; i++) data[i] = i;
    WGPUShaderModule m = wgpu_module(g->dev, doubled, sizeof doubled - 1, trusted);
    assert_ok(wgpu_check(&g->trouble));
    WGPUBuffer b = buffer(g, sizeof data, WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst);
    WGPUBuffer back = buffer(g, sizeof data, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
    WGPUBindGroupLayoutEntry entry = {.binding = 0, .visibility = WGPUShaderStage_Compute, .buffer = {.type = WGPUBufferBindingType_Storage}};
    WGPUBindGroupLayout layout = wgpu.DeviceCreateBindGroupLayout(g->dev, &(WGPUBindGroupLayoutDescriptor){.entryCount = 1, .entries = &entry});
    WGPUPipelineLayout whole =
        wgpu.DeviceCreatePipelineLayout(g->dev, &(WGPUPipelineLayoutDescriptor){.bindGroupLayoutCount = 1, .bindGroupLayouts = &layout});
    WGPUComputePipeline p = wgpu.DeviceCreateComputePipeline(
        g->dev, &(WGPUComputePipelineDescriptor){.layout = whole, .compute = {.module = m, .entryPoint = wgpu_text("main")}});
    WGPUBindGroupEntry bound = {.binding = 0, .buffer = b, .size = sizeof data};
    WGPUBindGroup group = wgpu.DeviceCreateBindGroup(g->dev, &(WGPUBindGroupDescriptor){.layout = layout, .entryCount = 1, .entries = &bound});
    assert_ok(wgpu_check(&g->trouble));
    wgpu.QueueWriteBuffer(g->queue, b, 0, data, sizeof data);
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    WGPUComputePassEncoder c = wgpu.CommandEncoderBeginComputePass(e, NULL);
    wgpu.ComputePassEncoderSetPipeline(c, p);
    wgpu.ComputePassEncoderSetBindGroup(c, 0, group, 0, NULL);
    wgpu.ComputePassEncoderDispatchWorkgroups(c, N / 64, 1, 1);
    wgpu.ComputePassEncoderEnd(c);
    wgpu.ComputePassEncoderRelease(c);
    wgpu.CommandEncoderCopyBufferToBuffer(e, b, 0, back, 0, sizeof data);
    WGPUSubmissionIndex at = wgpu_submit(g->queue, wgpu.CommandEncoderFinish(e, NULL));
    wgpu.CommandEncoderRelease(e);
    int mapped = 0;
    wgpu.BufferMapAsync(back, WGPUMapMode_Read, 0, sizeof data,
                        (WGPUBufferMapCallbackInfo){.mode = WGPUCallbackMode_AllowSpontaneous, .callback = on_map, .userdata1 = &mapped});
    wgpu_wait(g->dev, &at);
    assert_int_equal(mapped, 1);
    const uint32_t *got = wgpu_mapped(g->dev, back, 0, sizeof data);
    assert_non_null(got);
    for (uint32_t i = 0; i < N; i++) assert_int_equal(got[i], 2 * i);
    wgpu.BufferUnmap(back);
    wgpu.BindGroupRelease(group);
    wgpu.ComputePipelineRelease(p);
    wgpu.PipelineLayoutRelease(whole);
    wgpu.BindGroupLayoutRelease(layout);
    wgpu.BufferRelease(b);
    wgpu.BufferRelease(back);
    wgpu.ShaderModuleRelease(m);
    assert_ok(wgpu_check(&g->trouble));
}

static void kernels(void **state) {
    (void)state;
    gpu g;
    gpu_open(&g, NULL, NULL);
    run_kernel(&g, false);
    run_kernel(&g, true);
    gpu_close(&g);
    gpu_open(&g, "default", "none");
    run_kernel(&g, false);
    gpu_close(&g);
}

static void wrong_kernel(void **state) {
    (void)state;
    gpu g;
    gpu_open(&g, NULL, NULL);
    static const char text[] = "@compute @workgroup_size(64) fn main() { let x: u32 = 1.5f; }";
    WGPUShaderModule m = wgpu_module(g.dev, text, sizeof text - 1, false);
    assert_is(RY_EDEVICE, wgpu_check(&g.trouble));
    assert_ok(wgpu_check(&g.trouble));
    if (m) wgpu.ShaderModuleRelease(m);
    run_kernel(&g, false); /* the device is none the worse */
    gpu_close(&g);
}

/* What is not valid is never submitted: an error that stands noted holds the queue back until it is taken. */
static void wrong_submission(void **state) {
    (void)state;
    gpu g;
    gpu_open(&g, NULL, NULL);
    WGPUBuffer b = buffer(&g, 256, WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst);
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g.dev, NULL);
    wgpu.CommandEncoderCopyBufferToBuffer(e, b, 0, b, 128, 4096);
    WGPUSubmissionIndex at = wgpu_submit(g.queue, wgpu.CommandEncoderFinish(e, NULL));
    wgpu.CommandEncoderRelease(e);
    assert_int_equal(at, 0);
    wgpu_wait(g.dev, &at);
    assert_is(RY_EDEVICE, wgpu_check(&g.trouble));
    assert_ok(wgpu_check(&g.trouble));
    wgpu.BufferRelease(b);
    run_kernel(&g, false);
    gpu_close(&g);
}

static void lost_device(void **state) {
    (void)state;
    gpu g;
    gpu_open(&g, NULL, NULL);
    WGPUBuffer b = buffer(&g, 4096, WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst);
    wgpu.DeviceDestroy(g.dev);
    uint32_t word = 1;
    wgpu.QueueWriteBuffer(g.queue, b, 0, &word, sizeof word);
    wgpu_wait(g.dev, NULL);
    assert_is(RY_ELOST, wgpu_check(&g.trouble));
    assert_is(RY_ELOST, wgpu_check(&g.trouble)); /* for ever */
    assert_true(g.trouble.lost);
    wgpu.BufferRelease(b);
    gpu_close(&g);
    gpu_open(&g, NULL, NULL); /* a new one works */
    run_kernel(&g, false);
    gpu_close(&g);
}

/* Lost between recording and submission, before anything could note it: wgpu-native aborts, and thinks from then on that this thread is
 * ending. So in a thread of its own. */
static void lose_late(void *status) {
    gpu g;
    gpu_open(&g, NULL, NULL);
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g.dev, NULL);
    WGPUCommandBuffer cmd = wgpu.CommandEncoderFinish(e, NULL);
    wgpu.CommandEncoderRelease(e);
    if (wgpu_check(&g.trouble) == RY_OK) {
        wgpu.DeviceDestroy(g.dev);
        WGPUSubmissionIndex at = wgpu_submit(g.queue, cmd);
        wgpu_wait(g.dev, &at);
        wgpu_poll(g.dev);
        *(ry_status *)status = wgpu_check(&g.trouble);
    }
    gpu_close(&g);
}

static void lost_late(void **state) {
    (void)state;
    need_adapter();
    os_thread *t;
    ry_status st = RY_OK;
    assert_ok(os_thread_start(&t, lose_late, &st));
    os_thread_join(t);
    assert_int_equal(st, RY_ELOST);
    gpu g;
    gpu_open(&g, NULL, NULL); /* a new one works */
    run_kernel(&g, false);
    gpu_close(&g);
}

static int nothing_held(void **state) {
    (void)state;
    return ry_mem_live() != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(missing_library, nothing_held),    cmocka_unit_test_teardown(wrong_library, nothing_held),
        cmocka_unit_test_teardown(adapters, nothing_held),           cmocka_unit_test_teardown(full_device, nothing_held),
        cmocka_unit_test_teardown(poor_device, nothing_held),        cmocka_unit_test_teardown(senseless_settings, nothing_held),
        cmocka_unit_test_teardown(kernels, nothing_held),            cmocka_unit_test_teardown(wrong_kernel, nothing_held),
        cmocka_unit_test_teardown(wrong_submission, nothing_held),   cmocka_unit_test_teardown(lost_device, nothing_held),
        cmocka_unit_test_teardown(lost_late, nothing_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
