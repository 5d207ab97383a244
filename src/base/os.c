/* os.c - the part of os.h that is the same on every system: files written beside their place, paths, the environment.
 *
 * Owns temporary names and the buffer in front of a file being written.  Never calls the system itself. */
#include "base/os.h"
#include "base/mem.h"
#include "base/os_out.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 256 << 10 };

struct os_out {
    intptr_t file;
    ry_status st;      /* after a failure nothing more is written */
    bool faults;       /* RUSTY_FAULT was set when this was opened */
    size_t n;          /* bytes waiting in the buffer */
    uint64_t bytes;    /* taken so far */
    char *path, *temp; /* temp NULL: appends to path itself */
    char buffer[BUFFER];
};

/* ---------------------------------------------------------------- faults for tests */

static struct {
    atomic_long writes, syncs;         /* how many have been counted */
    atomic_long fail_write, fail_sync; /* which one fails; 0 = none */
} fault;

static bool faults_read(void) {
    const char *text = os_env("RUSTY_FAULT");
    long n = text && strchr(text, ':') ? strtol(strchr(text, ':') + 1, NULL, 10) : 0;
    bool write = n > 0 && strncmp(text, "write:", 6) == 0, sync = n > 0 && strncmp(text, "sync:", 5) == 0;
    atomic_store(&fault.fail_write, write ? n : 0);
    atomic_store(&fault.fail_sync, sync ? n : 0);
    if (!write) atomic_store(&fault.writes, 0);
    if (!sync) atomic_store(&fault.syncs, 0);
    return write || sync;
}

/* ---------------------------------------------------------------- files */

static ry_status out_new(os_out **out, const char *path) {
    os_out *o = ry_mem_alloc(sizeof *o);
    size_t n = strlen(path) + 1;
    char *copy = ry_mem_alloc(n);
    if (o == NULL || copy == NULL) {
        ry_mem_free(o);
        ry_mem_free(copy);
        return RY_ENOMEM;
    }
    memcpy(copy, path, n);
    o->file = -1;
    o->st = RY_OK;
    o->faults = false;
    o->n = 0;
    o->bytes = 0;
    o->path = copy;
    o->temp = NULL;
    *out = o;
    return RY_OK;
}

static void out_free(os_out *o) {
    ry_mem_free(o->path);
    ry_mem_free(o->temp);
    ry_mem_free(o);
}

ry_status os_out_open(os_out **out, const char *path) {
    static atomic_ulong count;
    os_out *o = NULL;
    RY_TRY(out_new(&o, path));
    ry_status st = RY_OK;
    size_t n = ry_mem_size(strlen(path), 1, 64);
    o->temp = ry_mem_alloc(n);
    if (o->temp == NULL) {
        st = RY_ENOMEM;
    } else {
        snprintf(o->temp, n, "%s.%ld-%lu.tmp", path, os_raw_process(), atomic_fetch_add(&count, 1));
        st = os_raw_create(&o->file, o->temp, path);
    }
    if (st != RY_OK) {
        out_free(o);
        return st;
    }
    o->faults = faults_read();
    *out = o;
    return RY_OK;
}

static ry_status flush(os_out *o) {
    if (o->st == RY_OK && o->n > 0) o->st = os_raw_write(o->file, o->buffer, o->n, o->path);
    o->n = 0;
    return o->st;
}

ry_status os_out_write(os_out *o, const void *data, size_t bytes) {
    if (o->st != RY_OK) return o->st;
    if (o->faults && atomic_fetch_add(&fault.writes, 1) + 1 == atomic_load(&fault.fail_write))
        return o->st = ry_fail(RY_EIO, "cannot write %s: No space left on device (RUSTY_FAULT)", o->path);
    o->bytes += bytes;
    if (bytes > BUFFER - o->n && flush(o) != RY_OK) return o->st;
    if (bytes > BUFFER) return o->st = os_raw_write(o->file, data, bytes, o->path);
    if (bytes > 0) memcpy(o->buffer + o->n, data, bytes);
    o->n += bytes;
    return RY_OK;
}

void os_out_abort(os_out *o) {
    if (o == NULL) return;
    os_raw_close(o->file, o->path);
    os_raw_remove(o->temp);
    out_free(o);
}

ry_status os_out_commit(os_out *o) {
    ry_status st = flush(o);
    if (st == RY_OK && o->faults && atomic_fetch_add(&fault.syncs, 1) + 1 == atomic_load(&fault.fail_sync))
        st = ry_fail(RY_EIO, "cannot write %s: Input/output error (RUSTY_FAULT)", o->path);
    if (st == RY_OK) st = os_raw_sync(o->file, o->path);
    if (st != RY_OK) {
        os_out_abort(o);
        return st;
    }
    st = os_raw_close(o->file, o->path);
    if (st == RY_OK) st = os_rename(o->temp, o->path);
    if (st != RY_OK) os_raw_remove(o->temp);
    out_free(o);
    return st;
}

ry_status os_file_write(const char *path, const void *data, size_t bytes) {
    os_out *o = NULL;
    RY_TRY(os_out_open(&o, path));
    ry_status st = os_out_write(o, data, bytes);
    if (st == RY_OK) return os_out_commit(o);
    os_out_abort(o);
    return st;
}

ry_status os_append_open(os_out **out, const char *path, int64_t keep_bytes) {
    os_out *o = NULL;
    RY_TRY(out_new(&o, path));
    ry_status st = os_raw_append(&o->file, path, keep_bytes);
    if (st != RY_OK) {
        out_free(o);
        return st;
    }
    *out = o;
    return RY_OK;
}

ry_status os_append_flush(os_out *o) { return flush(o); }

void os_append_close(os_out *o) {
    if (o == NULL) return;
    flush(o);
    os_raw_close(o->file, o->path);
    out_free(o);
}

/* ---------------------------------------------------------------- paths and the environment */

char *os_join(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    bool slash = n > 0 && a[n - 1] != '/';
    char *p = ry_mem_alloc(ry_mem_size(n, 1, m + 2));
    if (p) snprintf(p, n + m + 2, "%s%s%s", a, slash ? "/" : "", b);
    return p;
}

const char *os_env(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}
