/* mem.c - blocks from the allocator hook, counted; arenas made of blocks; growing arrays.
 *
 * Owns the hook and the counters.  Never keeps a freed block.  Under AddressSanitizer the unused part of every block and
 * arena chunk is poisoned, so a read past what was asked for is caught. */
#include "base/mem.h"
#include "base/os.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(POISONING)
#define POISONING 1
#endif
#ifdef POISONING
#include <sanitizer/asan_interface.h>
#define poison(p, n)   ASAN_POISON_MEMORY_REGION((p), (n))
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
enum { ARENA_GAP = 16 }; /* poisoned bytes between neighbours */
#else
#define poison(p, n)   ((void)(p), (void)(n))
#define unpoison(p, n) ((void)(p), (void)(n))
enum { ARENA_GAP = 0 };
#endif

/* ---------------------------------------------------------------- blocks */

enum { ALIGN = 64 };
typedef struct head { /* sits right before the block */
    size_t bytes;     /* what the caller asked for */
    size_t lead;      /* from the start of the hook's memory to the block */
} head;
enum { OVERHEAD = (int)sizeof(head) + ALIGN, LARGE = 4 << 20 };

static void *c_library(void *ud, void *ptr, size_t old_size, size_t new_size) {
    (void)ud;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    void *p = realloc(ptr, new_size);
    if (p && new_size >= LARGE) os_memory_huge(p, new_size);
    return p;
}

static struct {
    ry_alloc_fn fn;
    void *ud;
} hook = {c_library, NULL};
static atomic_size_t live, peak;

void ry_alloc_set(ry_alloc_fn fn, void *ud) {
    hook.fn = fn ? fn : c_library;
    hook.ud = fn ? ud : NULL;
}

size_t ry_mem_size(size_t n, size_t size, size_t extra) {
    if (size != 0 && n > (SIZE_MAX - extra) / size) return SIZE_MAX;
    return n * size + extra;
}

static head *head_of(void *p) { return (head *)(void *)((char *)p - sizeof(head)); }

static void count(size_t added, size_t taken) {
    size_t now = atomic_fetch_add_explicit(&live, added - taken, memory_order_relaxed) + added - taken;
    size_t top = atomic_load_explicit(&peak, memory_order_relaxed);
    while (now > top &&
           !atomic_compare_exchange_weak_explicit(&peak, &top, now, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Places a block of `bytes` in the hook's memory `raw` of bytes + OVERHEAD. */
static void *place(char *raw, size_t bytes) {
    size_t lead = sizeof(head) + (ALIGN - ((uintptr_t)raw + sizeof(head)) % ALIGN) % ALIGN;
    char *p = raw + lead;
    *head_of(p) = (head){bytes, lead};
    poison(p + bytes, OVERHEAD - lead);
    return p;
}

void *ry_mem_alloc(size_t bytes) {
    char *raw = bytes > SIZE_MAX - OVERHEAD ? NULL : hook.fn(hook.ud, NULL, 0, bytes + OVERHEAD);
    if (raw == NULL) {
        ry_nomem(bytes);
        return NULL;
    }
    count(bytes, 0);
    return place(raw, bytes);
}

void *ry_mem_zalloc(size_t bytes) {
    void *p = ry_mem_alloc(bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void *ry_mem_grow(void *p, size_t bytes) {
    if (p == NULL) return ry_mem_alloc(bytes);
    head old = *head_of(p);
    char *raw = (char *)p - old.lead;
    unpoison((char *)p + old.bytes, OVERHEAD - old.lead);
    char *moved = bytes > SIZE_MAX - OVERHEAD ? NULL : hook.fn(hook.ud, raw, old.bytes + OVERHEAD, bytes + OVERHEAD);
    if (moved == NULL) {
        poison((char *)p + old.bytes, OVERHEAD - old.lead);
        ry_nomem(bytes);
        return NULL;
    }
    /* The new memory may be aligned otherwise: the contents follow the block. */
    size_t lead = sizeof(head) + (ALIGN - ((uintptr_t)moved + sizeof(head)) % ALIGN) % ALIGN;
    if (lead != old.lead) memmove(moved + lead, moved + old.lead, old.bytes < bytes ? old.bytes : bytes);
    count(bytes, old.bytes);
    return place(moved, bytes);
}

void ry_mem_free(void *p) {
    if (p == NULL) return;
    head h = *head_of(p);
    unpoison((char *)p + h.bytes, OVERHEAD - h.lead);
    count(0, h.bytes);
    hook.fn(hook.ud, (char *)p - h.lead, h.bytes + OVERHEAD, 0);
}

void ry_free(void *p) { ry_mem_free(p); }

size_t ry_mem_live(void) { return atomic_load_explicit(&live, memory_order_relaxed); }
size_t ry_mem_peak(void) { return atomic_load_explicit(&peak, memory_order_relaxed); }
void ry_mem_peak_reset(void) { atomic_store_explicit(&peak, ry_mem_live(), memory_order_relaxed); }

/* ---------------------------------------------------------------- arenas */

typedef struct ry_arena_chunk chunk;
struct ry_arena_chunk {
    chunk *prev;
    chunk *spare; /* an emptied chunk, kept so that mark and release at a chunk's end do not allocate each time */
    size_t size, used;
    _Alignas(16) char data[];
};
enum { FIRST_CHUNK = 64 << 10, LARGEST_STEP = 8 << 20 };

static void chunk_free(chunk *c) {
    if (c == NULL) return;
    unpoison(c->data, c->size);
    ry_mem_free(c);
}

static chunk *chunk_open(ry_arena *a, size_t room) {
    chunk *spare = a->chunk ? a->chunk->spare : NULL;
    if (spare) {
        a->chunk->spare = NULL;
        if (spare->size >= room) return spare;
        chunk_free(spare);
    }
    size_t size = a->chunk_bytes ? a->chunk_bytes : FIRST_CHUNK;
    a->chunk_bytes = size < LARGEST_STEP / 2 ? size * 2 : size > LARGEST_STEP ? size : LARGEST_STEP;
    if (size < room) size = room;
    chunk *c = ry_mem_alloc(ry_mem_size(1, size, sizeof(chunk)));
    if (c) {
        c->size = size;
        c->spare = NULL;
        poison(c->data, size);
    }
    return c;
}

void *ry_arena_alloc(ry_arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - 16 - ARENA_GAP) {
        ry_nomem(bytes);
        return NULL;
    }
    size_t room = ((bytes + 15) & ~(size_t)15) + ARENA_GAP;
    if (room == 0) room = 16; /* two empty allocations are still two */
    if (a->chunk == NULL || a->chunk->size - a->chunk->used < room) {
        chunk *c = chunk_open(a, room);
        if (c == NULL) return NULL;
        c->prev = a->chunk;
        c->used = 0;
        a->chunk = c;
    }
    char *p = a->chunk->data + a->chunk->used;
    a->chunk->used += room;
    unpoison(p, bytes);
    memset(p, 0, bytes);
    return p;
}

char *ry_arena_strdup(ry_arena *a, const char *s) {
    size_t n = strlen(s) + 1;
    char *p = ry_arena_alloc(a, n);
    if (p) memcpy(p, s, n);
    return p;
}

char *ry_arena_printf(ry_arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : ry_arena_alloc(a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

ry_arena_mark ry_arena_here(const ry_arena *a) { return (ry_arena_mark){a->chunk, a->chunk ? a->chunk->used : 0}; }

void ry_arena_release(ry_arena *a, ry_arena_mark m) {
    chunk *spare = NULL; /* the largest of the emptied */
    while (a->chunk != m.chunk) {
        chunk *c = a->chunk;
        a->chunk = c->prev;
        chunk_free(c->spare);
        c->spare = NULL;
        if (spare == NULL || c->size > spare->size) {
            chunk *smaller = spare;
            spare = c;
            c = smaller;
        }
        chunk_free(c);
    }
    if (spare) {
        poison(spare->data, spare->size);
        spare->prev = NULL;
        spare->used = 0;
        if (a->chunk == NULL) {
            a->chunk = spare;
            return;
        }
        chunk_free(a->chunk->spare);
        a->chunk->spare = spare;
    }
    if (a->chunk) {
        a->chunk->used = m.used;
        poison(a->chunk->data + m.used, a->chunk->size - m.used);
    }
}

void ry_arena_reset(ry_arena *a) {
    size_t total = 0;
    for (chunk *c = a->chunk; c; c = c->prev) total += c->size;
    /* A step that needed several chunks gets them in one next time, and soon none is allocated. */
    if (a->chunk && a->chunk->prev) a->chunk_bytes = total;
    ry_arena_release(a, (ry_arena_mark){NULL, 0});
}

void ry_arena_free(ry_arena *a) {
    while (a->chunk) {
        chunk *c = a->chunk;
        a->chunk = c->prev;
        chunk_free(c->spare);
        chunk_free(c);
    }
    a->chunk_bytes = 0;
}

size_t ry_arena_bytes(const ry_arena *a) {
    size_t total = 0;
    for (const chunk *c = a->chunk; c; c = c->prev) total += c->size + sizeof *c + (c->spare ? c->spare->size + sizeof *c : 0);
    return total;
}

/* ---------------------------------------------------------------- growing arrays */

void *ry_vec_push(void **at, size_t *n, size_t *cap, size_t size) {
    if (*n == *cap) {
        if (*cap > SIZE_MAX / 4) {
            ry_nomem(SIZE_MAX);
            return NULL;
        }
        size_t more = *cap ? *cap + *cap / 2 + 1 : 8;
        void *p = ry_mem_grow(*at, ry_mem_size(more, size, 0));
        if (p == NULL) return NULL;
        *at = p;
        *cap = more;
    }
    void *p = (char *)*at + *n * size;
    memset(p, 0, size);
    ++*n;
    return p;
}
