/* plan_cache.c - plans kept by structure, least recently used first to go, under a byte cap.  One per device, shared by its threads. */
#include "core/plan.h"
#include <string.h>

struct ry_plan_cache {
    size_t cap, held;
    uint64_t clock;
    RY_VEC(ry_plan *) plans;
};

ry_status plan_cache_open(ry_plan_cache **out, size_t cap) {
    *out = ry_mem_zalloc(sizeof **out);
    if (!*out) return RY_ENOMEM;
    (*out)->cap = cap;
    return RY_OK;
}

void plan_cache_close(ry_plan_cache *c) {
    if (!c) return;
    for (size_t i = 0; i < c->plans.n; i++) plan_free(c->plans.at[i]);
    RY_VEC_FREE(&c->plans);
    ry_mem_free(c);
}

static ry_plan *find(ry_plan_cache *c, const unsigned char *key, size_t bytes, uint64_t hash) {
    for (size_t i = 0; i < c->plans.n; i++) {
        ry_plan *p = c->plans.at[i];
        if (p->hash == hash && p->key_bytes == bytes && !memcmp(p->key, key, bytes)) {
            p->refs++;
            p->used = ++c->clock;
            return p;
        }
    }
    return NULL;
}

ry_plan *plan_cache_find(ry_device *d, const plan_live *l) {
    os_mutex_lock(d->cache_lock);
    ry_plan *p = find(d->cache, l->key, l->key_bytes, l->hash);
    os_mutex_unlock(d->cache_lock);
    return p;
}

static void evict(ry_plan_cache *c) {
    while (c->held > c->cap) {
        size_t old = SIZE_MAX;
        for (size_t i = 0; i < c->plans.n; i++)
            if (!c->plans.at[i]->refs && (old == SIZE_MAX || c->plans.at[i]->used < c->plans.at[old]->used)) old = i;
        if (old == SIZE_MAX) return; /* all are in use */
        c->held -= c->plans.at[old]->held;
        plan_free(c->plans.at[old]);
        c->plans.at[old] = c->plans.at[--c->plans.n];
    }
}

ry_plan *plan_cache_put(ry_device *d, ry_plan *p) {
    ry_plan_cache *c = d->cache;
    os_mutex_lock(d->cache_lock);
    ry_plan *other = find(c, p->key, p->key_bytes, p->hash);
    ry_plan **slot = other ? NULL : RY_PUSH(&c->plans);
    if (slot) {
        *slot = p;
        p->cached = true;
        p->used = ++c->clock;
        c->held += p->held;
    }
    if (!other) p->refs = 1; /* no memory for the slot: a plan of its own */
    evict(c);
    os_mutex_unlock(d->cache_lock);
    if (other) plan_free(p);
    return other ? other : p;
}

void plan_release(ry_device *d, ry_plan *p) {
    if (!p) return;
    os_mutex_lock(d->cache_lock);
    bool gone = --p->refs == 0 && !p->cached;
    if (!gone) evict(d->cache);
    os_mutex_unlock(d->cache_lock);
    if (gone) plan_free(p);
}
