/* device.c - opening devices by name, and the variables that live on them.  Knows no vendor. */
#include "core/device.h"
#include "core/op.h"
#include "core/plan.h"
#include "core/tune.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

size_t ry_device_count(void) {
    size_t n = 0;
    for (size_t i = 0; i < ry_device_api_count; i++) n += ry_device_apis[i]->count();
    return n;
}

static ry_status describe(const ry_device_api *x, size_t i, ry_device_info *out) {
    RY_TRY(x->describe(i, out));
    snprintf(out->device, sizeof out->device, x->count() > 1 ? "%s:%zu" : "%s", x->backend, i);
    return RY_OK;
}

ry_status ry_device_list(size_t i, ry_device_info *out) {
    for (size_t a = 0; a < ry_device_api_count; a++) {
        size_t n = ry_device_apis[a]->count();
        if (i < n) return describe(ry_device_apis[a], i, out);
        i -= n;
    }
    RY_FAIL(RY_ENOENT, "there is no device %zu", i);
}

const char *ry_backend_name(size_t i) { return i < ry_device_api_count ? ry_device_apis[i]->backend : NULL; }

ry_status ry_backend_check(size_t i) {
    ry_device_info info;
    if (i >= ry_device_api_count) RY_FAIL(RY_EARG, "there is no backend %zu", i);
    return ry_device_apis[i]->count() ? RY_OK : ry_device_apis[i]->describe(0, &info);
}

/* The most preferred device that is here. */
static ry_status find_auto(const ry_device_api **api, size_t *index) {
    int best = 0;
    for (size_t a = 0; a < ry_device_api_count; a++) {
        const ry_device_api *x = ry_device_apis[a];
        if (!x->count() && ry_backend_check(a) == RY_ENOMEM) return RY_ENOMEM; /* not absence */
        for (size_t i = 0; i < x->count(); i++) {
            ry_device_info info;
            RY_TRY(x->describe(i, &info));
            if (info.preference > best) best = info.preference, *api = x, *index = i;
        }
    }
    return *api ? RY_OK : ry_fail(RY_ENOENT, "no device is usable here");
}

/* "name[:N]" -> api and index. */
static ry_status find(const char *name, const ry_device_api **api, size_t *index) {
    *api = NULL, *index = 0;
    if (!name || !*name || !strcmp(name, "auto")) return find_auto(api, index);
    size_t len = strcspn(name, ":");
    for (const char *p = name + len; *p; p++) {
        if (p == name + len) continue;
        if (*p < '0' || *p > '9' || *index > 1000) RY_FAIL(RY_EARG, "device '%s': a number must follow the colon", name);
        *index = *index * 10 + (size_t)(*p - '0');
    }
    ry_text list = {0};
    ry_status st = RY_OK;
    for (size_t a = 0; a < ry_device_api_count && st == RY_OK; a++) {
        const ry_device_api *x = ry_device_apis[a];
        ry_text_printf(&list, "%s%s", a ? ", " : "", x->backend);
        if (strlen(x->backend) != len || strncmp(x->backend, name, len) != 0) continue;
        st = ry_backend_check(a);
        if (st == RY_OK && *index >= x->count()) st = ry_fail(RY_ENOENT, "device '%s' is not here; %s has %zu, numbered from 0", name, x->backend, x->count());
        if (st == RY_OK) *api = x;
    }
    if (st == RY_OK && !*api) st = ry_fail(RY_ENOENT, "device '%s' is not here; this build has: auto, %s", name, list.at ? list.at : "");
    ry_text_free(&list);
    return st;
}

ry_status ry_device_open(ry_device **out, const char *name, const ry_device_options *opt) {
    static const ry_device_options none;
    const ry_device_api *api;
    size_t index;
    ry_status st;
    RY_TRY(find(name, &api, &index));
    ry_device *d = ry_mem_zalloc(sizeof *d);
    if (!d) return RY_ENOMEM;
    d->api = api;
    RY_GO(st, fail, os_mutex_open(&d->lock));
    RY_GO(st, fail, os_cond_open(&d->turn));
    RY_GO(st, fail, os_mutex_open(&d->cache_lock));
    RY_GO(st, fail, plan_cache_open(&d->cache, opt && opt->cache_bytes ? opt->cache_bytes : (size_t)256 << 20));
    RY_GO(st, fail, api->open(d, index, opt ? opt : &none));
    if (api->work && (st = tune_open(&d->tuning, d)) != RY_OK) {
        api->close(d);
        goto fail;
    }
    snprintf(d->info.device, sizeof d->info.device, api->count() > 1 ? "%s:%zu" : "%s", api->backend, index);
    *out = d;
    return RY_OK;
fail:
    plan_cache_close(d->cache);
    os_mutex_close(d->cache_lock);
    os_cond_close(d->turn);
    os_mutex_close(d->lock);
    ry_mem_free(d);
    return st;
}

void ry_device_close(ry_device *d) {
    if (!d) return;
    plan_cache_close(d->cache);
    d->api->free(d, &d->slab);
    d->api->close(d);
    tune_close(d->tuning);
    os_mutex_close(d->cache_lock);
    os_cond_close(d->turn);
    os_mutex_close(d->lock);
    ry_mem_free(d);
}

void ry_device_lock(ry_device *d) {
    os_mutex_lock(d->lock);
    uint64_t mine = d->next_turn++;
    while (d->now_serving != mine) os_cond_wait(d->turn, d->lock);
    os_mutex_unlock(d->lock);
}

void ry_device_unlock(ry_device *d) {
    os_mutex_lock(d->lock);
    bool waiting = ++d->now_serving != d->next_turn;
    if (waiting) os_cond_wake_all(d->turn);
    os_mutex_unlock(d->lock);
}

void ry_device_describe(const ry_device *d, ry_device_info *out) { *out = d->info; }

ry_status ry_device_slab(ry_device *d, size_t bytes) {
    if (!bytes) bytes = 1; /* empty tensors lie somewhere too: devices bind them */
    if (bytes <= d->slab.bytes) return RY_OK;
    ry_buffer b = {0};
    d->api->free(d, &d->slab); /* first: old and new together might not fit */
    d->slab = b;
    d->slab_version++;
    RY_TRY(d->api->alloc(d, &b, bytes));
    d->slab = b;
    return RY_OK;
}

size_t device_held(ry_device *d) { return d->api->held ? d->api->held(d) : ry_mem_peak(); }

static atomic_uint_fast64_t next_var = 1;

static ry_status var_new(ry_var **out, ry_device *d, const ry_spec *s, const char *name) {
    size_t bytes;
    if (!d || !s) RY_FAIL(RY_EARG, "a variable needs a device and a shape");
    RY_TRY(ry_spec_bytes(&bytes, s));
    ry_var *v = ry_mem_zalloc(sizeof *v);
    if (!v) return RY_ENOMEM;
    size_t len = name ? strlen(name) : 0;
    v->name = ry_mem_zalloc(len + 1);
    if (!v->name) {
        ry_mem_free(v);
        return RY_ENOMEM;
    }
    if (len) memcpy(v->name, name, len);
    v->dev = d, v->spec = *s, v->bytes = bytes, v->id = atomic_fetch_add(&next_var, 1);
    v->buf.row = s->rank && s->dim[0] > 0 ? bytes / (size_t)s->dim[0] : 0;
    *out = v;
    return RY_OK;
}

static ry_status var_done(ry_var **out, ry_var *v, ry_status st) {
    if (st != RY_OK) {
        st = ry_fail_in(st, "%s", *v->name ? v->name : "variable");
        ry_mem_free(v->name);
        ry_mem_free(v);
        return st;
    }
    ry_device_lock(v->dev);
    v->dev->lasting += v->bytes;
    ry_device_unlock(v->dev);
    *out = v;
    return RY_OK;
}

ry_status ry_var_open(ry_var **out, ry_device *d, const ry_spec *s, const char *name) {
    ry_var *v = NULL;
    RY_TRY(var_new(&v, d, s, name));
    return var_done(out, v, d->api->alloc(d, &v->buf, v->bytes));
}

ry_status ry_var_wrap(ry_var **out, ry_device *d, const ry_spec *s, const char *name, void *data, void (*release)(void *ud), void *ud) {
    ry_var *v = NULL;
    RY_TRY(var_new(&v, d, s, name));
    ry_status st = d->api->wrap(d, &v->buf, data, v->bytes);
    if (st == RY_OK) v->buf.release = release, v->buf.release_ud = ud;
    return var_done(out, v, st);
}

void ry_var_close(ry_var *v) {
    if (!v) return;
    ry_device_lock(v->dev);
    v->dev->lasting -= v->bytes;
    ry_device_unlock(v->dev);
    v->dev->api->free(v->dev, &v->buf);
    if (v->buf.release) v->buf.release(v->buf.release_ud);
    ry_mem_free(v->name);
    ry_mem_free(v);
}

static ry_status var_check(const ry_var *v, size_t bytes) {
    if (!v) RY_FAIL(RY_EARG, "no variable given");
    if (bytes != v->bytes) RY_FAIL(RY_EARG, "%s is %s, %zu bytes; %zu were given", v->name, ry_show(&v->spec).s, v->bytes, bytes);
    return RY_OK;
}

ry_status ry_var_write(ry_var *v, const void *data, size_t bytes) {
    RY_TRY(var_check(v, bytes));
    if (v->read_only) RY_FAIL(RY_EARG, "%s is mapped from its file and cannot be written: open the model with master_f32", v->name);
    ry_device_lock(v->dev);
    ry_status st = v->dev->api->write(v->dev, &v->buf, 0, data, bytes);
    ry_device_unlock(v->dev);
    return st;
}

ry_status ry_var_read(const ry_var *v, void *data, size_t bytes) {
    RY_TRY(var_check(v, bytes));
    ry_device_lock(v->dev);
    ry_status st = v->dev->api->read(v->dev, &v->buf, 0, data, bytes);
    ry_device_unlock(v->dev);
    return st;
}

const ry_spec *ry_var_spec(const ry_var *v) { return &v->spec; }
const char *ry_var_name(const ry_var *v) { return v->name; }
