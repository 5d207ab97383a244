/* _gpu_memory.c - memory of a WebGPU device: buffers in pieces, writing, reading, copying, and the submission of what was encoded.
 *
 * Owns ry_buffer.at (gpu_memory), the count of bytes held and the buffer that readings go through. Knows no program and no kernel. */
#include "_gpu.h"

#if defined(RUSTY_HAVE_WGPU)
#include <string.h>

enum { PIECE_UNIT = 4096 }; /* bytes */

size_t gpu_piece_bytes(const gpu *g) {
    return (size_t)(g->lim.maxBufferSize < SIZE_MAX / 2 ? g->lim.maxBufferSize : SIZE_MAX / 2) / PIECE_UNIT * PIECE_UNIT;
}

WGPUBuffer gpu_buffer_new(gpu *g, size_t bytes, WGPUBufferUsage use) {
    return wgpu.DeviceCreateBuffer(g->dev, &(WGPUBufferDescriptor){.usage = use, .size = bytes});
}

static void memory_free(gpu_memory *m) {
    for (int i = 0; m && i < m->n; i++)
        if (m->at[i]) wgpu.BufferRelease(m->at[i]);
    ry_mem_free(m);
}

/* Bytes of the buffers that a tensor gets: where they end, so do the pieces that kernels see of it, if that can be. */
static size_t memory_piece(const ry_device *d, size_t whole, size_t row) {
    size_t most = gpu_piece_bytes(d->impl);
    if (whole <= most || !row) return most;
    size_t part = (size_t)launch_piece(&d->caps, (double)row, (int64_t)(whole / row)) * row;
    return !part || part > most || part % d->caps.align ? most : most / part * part;
}

ry_status gpu_alloc(ry_device *d, ry_buffer *b, size_t bytes) {
    gpu *g = d->impl;
    size_t whole = gpu_round_up(bytes ? bytes : 1, GPU_WHOLE), piece = memory_piece(d, whole, b->row), n = (whole + piece - 1) / piece;
    gpu_memory *m = ry_mem_zalloc(sizeof *m + n * sizeof *m->at);
    *b = (ry_buffer){.bytes = bytes, .row = b->row};
    if (!m) return RY_ENOMEM;
    m->piece = piece;
    ry_status st = wgpu_check(&g->trouble);
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        size_t part = whole - i * piece < piece ? whole - i * piece : piece;
        m->at[m->n++] = gpu_buffer_new(g, part, WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc);
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

void gpu_free(ry_device *d, ry_buffer *b) {
    gpu *g = d->impl;
    if (b->at) {
        memory_free(b->at);
        os_mutex_lock(g->lock);
        g->held -= gpu_round_up(b->bytes ? b->bytes : 1, GPU_WHOLE);
        os_mutex_unlock(g->lock);
    }
    b->at = NULL, b->bytes = 0;
}

WGPUBuffer gpu_memory_at(const ry_buffer *b, size_t at, size_t *offset, size_t *follow) {
    const gpu_memory *m = b->at;
    size_t whole = gpu_round_up(b->bytes ? b->bytes : 1, GPU_WHOLE);
    *offset = at % m->piece;
    *follow = at / m->piece + 1 == (size_t)m->n ? whole - at : m->piece - *offset;
    return m->at[at / m->piece];
}

/* In parts: the library stages each in memory of its own, and gives it back when the device has taken it. */
ry_status gpu_write(ry_device *d, ry_buffer *b, size_t at, const void *data, size_t bytes) {
    gpu *g = d->impl;
    enum { PART = 32 << 20, KEEP = 4 };
    size_t whole = bytes / 4 * 4, offset, follow, parts = 0;
    for (size_t from = 0, part; from < whole; from += part) {
        WGPUBuffer to = gpu_memory_at(b, at + from, &offset, &follow);
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
        WGPUBuffer to = gpu_memory_at(b, at + whole, &offset, &follow);
        wgpu.QueueWriteBuffer(g->queue, to, offset, tail, 4);
    }
    return wgpu_check(&g->trouble);
}

ry_status gpu_wrap(ry_device *d, ry_buffer *b, void *data, size_t bytes) {
    RY_TRY(gpu_alloc(d, b, bytes));
    ry_device_lock(d);
    ry_status st = gpu_write(d, b, 0, data, bytes);
    ry_device_unlock(d);
    if (st != RY_OK) gpu_free(d, b);
    return st;
}

ry_status gpu_submit(gpu *g, WGPUCommandEncoder *e, WGPUSubmissionIndex *index) {
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

void gpu_on_mapped(WGPUMapAsyncStatus st, WGPUStringView message, void *done, void *unused) {
    (void)message, (void)unused;
    atomic_store((atomic_int *)done, st == WGPUMapAsyncStatus_Success ? 1 : -1);
}

ry_status gpu_read_piece(gpu *g, WGPUBuffer from, size_t at, void *data, size_t bytes) {
    size_t lo = at / 4 * 4, size = gpu_round_up(at + bytes, 4) - lo;
    atomic_int done = 0;
    if (g->map_bytes < size) {
        if (g->map) wgpu.BufferRelease(g->map);
        g->map_bytes = gpu_round_up(size, 65536);
        g->map = gpu_buffer_new(g, g->map_bytes, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
        if (!g->map) g->map_bytes = 0;
        RY_TRY(wgpu_check(&g->trouble));
    }
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    wgpu.CommandEncoderCopyBufferToBuffer(e, from, lo, g->map, 0, size);
    WGPUSubmissionIndex k;
    RY_TRY(gpu_submit(g, &e, &k));
    wgpu.BufferMapAsync(g->map, WGPUMapMode_Read, 0, size, (WGPUBufferMapCallbackInfo){.callback = gpu_on_mapped, .userdata1 = &done});
    wgpu_wait(g->dev, &k);
    RY_TRY(wgpu_check(&g->trouble));
    if (atomic_load(&done) != 1) RY_FAIL(RY_EDEVICE, "webgpu: the driver did not hand back what was read");
    const char *seen = wgpu_mapped(g->dev, g->map, 0, size);
    if (seen) memcpy(data, seen + (at - lo), bytes);
    wgpu.BufferUnmap(g->map);
    return seen ? RY_OK : ry_fail(RY_EDEVICE, "webgpu: the driver did not map what was read");
}

ry_status gpu_read(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes) {
    gpu *g = d->impl;
    enum { PART = 64 << 20 };
    for (size_t from = 0, part, offset, follow; from < bytes; from += part) {
        WGPUBuffer buffer = gpu_memory_at(b, at + from, &offset, &follow);
        part = bytes - from < PART ? bytes - from : PART;
        if (part > follow) part = follow;
        RY_TRY(gpu_read_piece(g, buffer, offset, (char *)data + from, part));
    }
    return RY_OK;
}

typedef struct gpu_reading { /* what a ticket is */
    WGPUBuffer from, map;
    WGPUSubmissionIndex index;
    size_t at, size, skip, bytes;
    atomic_int done;
    bool submitted;
    struct gpu_reading *next;
} gpu_reading;

ry_status gpu_ask(ry_device *d, const ry_buffer *b, size_t at, size_t bytes, void **ticket) {
    gpu *g = d->impl;
    size_t offset, follow;
    gpu_reading *r = ry_mem_zalloc(sizeof *r);
    if (!r) return RY_ENOMEM;
    r->from = gpu_memory_at(b, at, &offset, &follow);
    r->at = offset / 4 * 4, r->size = gpu_round_up(offset + bytes, 4) - r->at;
    r->skip = offset - r->at, r->bytes = bytes;
    r->map = gpu_buffer_new(g, r->size, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
    ry_status st = bytes > follow ? ry_fail(RY_EUNSUPPORTED, "webgpu: %zu bytes lie in several buffers: they cannot be asked for at once", bytes) : wgpu_check(&g->trouble);
    if (st != RY_OK) {
        if (r->map) wgpu.BufferRelease(r->map);
        ry_mem_free(r);
        return st;
    }
    r->next = g->asked;
    g->asked = r;
    g->awaited++;
    *ticket = r;
    return RY_OK;
}

void gpu_answer(gpu *g, WGPUCommandEncoder e) {
    for (gpu_reading *r = g->asked; r; r = r->next) wgpu.CommandEncoderCopyBufferToBuffer(e, r->from, r->at, r->map, 0, r->size);
}

void gpu_answered(gpu *g, const WGPUSubmissionIndex *index) {
    for (gpu_reading *r = g->asked; r && index; r = r->next) {
        r->index = *index, r->submitted = true;
        wgpu.BufferMapAsync(r->map, WGPUMapMode_Read, 0, r->size, (WGPUBufferMapCallbackInfo){.callback = gpu_on_mapped, .userdata1 = &r->done});
    }
    g->asked = NULL;
}

ry_status gpu_take(ry_device *d, void *ticket, void *data) {
    gpu *g = d->impl;
    gpu_reading *r = ticket;
    ry_status st = RY_OK;
    for (gpu_reading **p = &g->asked; *p; p = &(*p)->next) /* no run came */
        if (*p == r) {
            *p = r->next;
            break;
        }
    if (r->submitted) wgpu_wait(g->dev, &r->index);
    st = wgpu_check(&g->trouble);
    const char *seen = st == RY_OK && atomic_load(&r->done) == 1 ? wgpu_mapped(g->dev, r->map, 0, r->size) : NULL;
    if (st == RY_OK && !seen) st = ry_fail(RY_EDEVICE, "webgpu: the driver did not hand back what was asked for");
    if (seen && data) memcpy(data, seen + r->skip, r->bytes);
    if (seen) wgpu.BufferUnmap(r->map);
    g->awaited--;
    if (r->submitted && atomic_load(&r->done) == 0) return st; /* lost: a callback may yet come, so what it writes to stays */
    wgpu.BufferRelease(r->map);
    ry_mem_free(r);
    return st;
}

ry_status gpu_copy(ry_device *d, ry_buffer *to, const ry_buffer *from, size_t bytes) {
    gpu *g = d->impl;
    if (!bytes) return RY_OK;
    WGPUCommandEncoder e = wgpu.DeviceCreateCommandEncoder(g->dev, NULL);
    for (size_t at = 0, part, a, b, n; at < bytes; at += part) {
        WGPUBuffer source = gpu_memory_at(from, at, &a, &part), target = gpu_memory_at(to, at, &b, &n);
        if (n < part) part = n;
        if (bytes - at < part) part = gpu_round_up(bytes - at, 4);
        wgpu.CommandEncoderCopyBufferToBuffer(e, source, a, target, b, part);
    }
    return gpu_submit(g, &e, NULL);
}

size_t gpu_held(ry_device *d) {
    gpu *g = d->impl;
    os_mutex_lock(g->lock);
    size_t bytes = g->held;
    os_mutex_unlock(g->lock);
    return bytes;
}
#endif
