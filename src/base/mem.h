/* mem.h - all memory passes here: the allocator hook, arenas, growing arrays.  Knows no tensor. */
#ifndef RY_BASE_MEM_H
#define RY_BASE_MEM_H
#include "base/status.h"

/* Blocks are 64-byte aligned and remember their size. NULL and a recorded ENOMEM message on failure. */
void *ry_mem_alloc(size_t bytes);  /* uninitialised; alloc(0) gives a valid block */
void *ry_mem_zalloc(size_t bytes); /* zeroed */
void *ry_mem_grow(void *p, size_t bytes); /* as realloc: on failure p stays */
void ry_mem_free(void *p);         /* NULL allowed */
size_t ry_mem_live(void);          /* bytes held now, by all threads */
size_t ry_mem_peak(void);
void ry_mem_peak_reset(void);
/* n * size + extra, or SIZE_MAX if that overflows (an allocation of SIZE_MAX fails cleanly). */
size_t ry_mem_size(size_t n, size_t size, size_t extra);

/* An arena grows by chunks; everything in it is freed together. Marks release the newest part. Poisoned under ASan. */
typedef struct ry_arena {
    struct ry_arena_chunk *chunk; /* newest */
    size_t chunk_bytes;           /* size of the next chunk; 0 = 64 KiB */
} ry_arena;
typedef struct ry_arena_mark { struct ry_arena_chunk *chunk; size_t used; } ry_arena_mark;
void *ry_arena_alloc(ry_arena *a, size_t bytes);  /* 16-byte aligned, zeroed; NULL = ENOMEM */
char *ry_arena_strdup(ry_arena *a, const char *s);
char *ry_arena_printf(ry_arena *a, const char *fmt, ...) RY_PRINTF(2, 3);
ry_arena_mark ry_arena_here(const ry_arena *a);
void ry_arena_release(ry_arena *a, ry_arena_mark m);
void ry_arena_reset(ry_arena *a); /* keeps one chunk */
void ry_arena_free(ry_arena *a);
size_t ry_arena_bytes(const ry_arena *a); /* held, used or not */
#define RY_NEW(arena, type, n) ((type *)ry_arena_alloc((arena), ry_mem_size((size_t)(n), sizeof(type), 0)))

/* Growing array of any element type: struct { T *at; size_t n, cap; } x; RY_PUSH(&x) is a zeroed new element or NULL. */
void *ry_vec_push(void **at, size_t *n, size_t *cap, size_t size);
#define RY_VEC(T) struct { T *at; size_t n, cap; }
#define RY_PUSH(v) ry_vec_push((void **)&(v)->at, &(v)->n, &(v)->cap, sizeof *(v)->at)
#define RY_VEC_FREE(v) (ry_mem_free((v)->at), (v)->at = NULL, (v)->n = (v)->cap = 0)
#endif
