/* null.c - the device that accepts everything and computes nothing: it plans models of any size, for the CPU or with the kernels of
 * another device.  Reads give zeros. */
#include "core/program.h"
#include "core/tune.h"
#include <stdio.h>
#include <string.h>

static size_t count(void) { return 1; }

static ry_status describe(size_t i, ry_device_info *out) {
    (void)i;
    memset(out, 0, sizeof *out);
    strcpy(out->name, "null (plans, computes nothing)");
    strcpy(out->backend, "null");
    strcpy(out->type, "None");
    return RY_OK;
}

static ry_status open_null(ry_device *d, size_t i, const ry_device_options *o);
static void close_null(ry_device *d) {
    ry_mem_free(d->impl);
    d->impl = NULL;
}

static ry_status alloc(ry_device *d, ry_buffer *b, size_t bytes) {
    (void)d;
    *b = (ry_buffer){.bytes = bytes};
    return RY_OK;
}
static ry_status wrap(ry_device *d, ry_buffer *b, void *data, size_t bytes) {
    (void)data;
    return alloc(d, b, bytes);
}
static void free_null(ry_device *d, ry_buffer *b) {
    (void)d;
    b->bytes = 0;
}
static ry_status write(ry_device *d, ry_buffer *b, size_t at, const void *data, size_t bytes) {
    (void)d, (void)b, (void)at, (void)data, (void)bytes;
    return RY_OK;
}
static ry_status read(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes) {
    (void)d, (void)b, (void)at;
    if (bytes) memset(data, 0, bytes);
    return RY_OK;
}
static ry_status copy(ry_device *d, ry_buffer *to, const ry_buffer *from, size_t bytes) {
    (void)d, (void)to, (void)from, (void)bytes;
    return RY_OK;
}
static ry_status nothing(ry_device *d, ry_program *p) {
    (void)d, (void)p;
    return RY_OK;
}
static void unbuild(ry_device *d, ry_program *p) { (void)d, (void)p; }
static ry_status sync_null(ry_device *d) {
    (void)d;
    return RY_OK;
}

extern const ry_device_api ry_device_null;
const ry_device_api ry_device_null = {
    .backend = "null", .count = count, .describe = describe, .open = open_null, .close = close_null, .alloc = alloc, .wrap = wrap,
    .free = free_null, .write = write, .read = read, .copy = copy, .build = nothing, .unbuild = unbuild, .run = nothing, .sync = sync_null,
};

/* As `like`: what it may count on, the variants it takes, and the scratch that its kernels ask for. */
static ry_status open_null(ry_device *d, size_t i, const ry_device_options *o) {
    RY_TRY(describe(i, &d->info));
    if (!o->like || !o->like->api->work) return RY_OK;
    ry_device_api *api = ry_mem_alloc(sizeof *api);
    if (!api) return RY_ENOMEM;
    *api = ry_device_null;
    api->work = o->like->api->work;
    ry_status st = tune_open(&d->tuning, o->like);
    if (st != RY_OK) {
        ry_mem_free(api);
        return st;
    }
    d->impl = api;
    d->api = api;
    d->caps = o->like->caps;
    return RY_OK;
}
