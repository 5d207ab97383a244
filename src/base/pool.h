/* pool.h - one pool of worker threads for a CPU device.  Workers spin briefly after work, then sleep.  Programs take turns. */
#ifndef RY_BASE_POOL_H
#define RY_BASE_POOL_H
#include "base/status.h"

typedef struct ry_pool ry_pool;
ry_status ry_pool_open(ry_pool **out, int threads); /* 0 = all CPUs; 1 = no workers */
void ry_pool_close(ry_pool *p);
int ry_pool_threads(const ry_pool *p);

/* Takes the pool for a sequence of runs (one submission); others wait. */
void ry_pool_begin(ry_pool *p);
void ry_pool_end(ry_pool *p);
/* Between begin and end: calls fn(ud, part, worker) once for each part in [0, parts), in any order, on any worker
 * (0 = the caller); returns when all are done: a barrier. parts == 1 runs in the caller without waking anybody. */
typedef void (*ry_pool_fn)(void *ud, int64_t part, int worker);
void ry_pool_run(ry_pool *p, int64_t parts, ry_pool_fn fn, void *ud);
/* Scratch of one worker, 64-byte aligned, kept between runs; grown between begin and end, before a run; contents are lost then. */
ry_status ry_pool_reserve(ry_pool *p, size_t bytes);
void *ry_pool_scratch(ry_pool *p, int worker);
#endif
