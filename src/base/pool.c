/* pool.c - worker threads that share out the parts of one run after another.
 *
 * Owns the workers and their scratch.  Never decides how work is cut: parts come from shapes, so results do not depend on
 * the number of threads.
 *
 * How a run works.  One word holds the run's number and how many of its parts nobody has taken.  Whoever takes a part lowers
 * the word by compare-and-swap, which succeeds only while the run is alive; the taker then owns a part of a run that cannot
 * end without it, so the run's description stands still while it is read.  A worker that sleeps or was put aside by the system
 * holds nobody up: nobody waits for workers, only for parts. */
#include "base/pool.h"
#include "base/mem.h"
#include "base/os.h"
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_THREADS = 4096, LINE = 64 };
static const double SPIN_SECONDS = 50e-6;
static const int64_t MAX_PARTS = UINT32_MAX;

typedef struct pool_worker {
    ry_pool *pool;
    os_thread *thread;
    int index;
} pool_worker;

struct ry_pool {
    int threads;
    pool_worker *workers; /* threads - 1 of them: index 1 and up */
    void **scratch;       /* one a thread */
    size_t scratch_bytes;

    os_mutex *lock; /* of what follows */
    os_cond *wake, *turn;
    uint64_t next_turn, now_serving;

    /* The present run; written only while no part is left. */
    ry_pool_fn fn;
    void *ud;
    int64_t first, parts;

    /* Cache lines are fetched in pairs, so what many write stands two lines apart. */
    _Alignas(LINE) atomic_uint_fast64_t word; /* run << 32 | parts not taken */
    char apart1[LINE];
    _Alignas(LINE) atomic_int_fast64_t done; /* parts finished */
    char apart2[LINE];
    _Alignas(LINE) atomic_int sleepers;
    atomic_bool quit;
};

/* Takes and runs parts of the present run until none is left. */
static bool work(ry_pool *p, int index) {
    int64_t mine = 0;
    uint_fast64_t w = atomic_load_explicit(&p->word, memory_order_acquire);
    while ((uint32_t)w != 0) {
        if (!atomic_compare_exchange_weak_explicit(&p->word, &w, w - 1, memory_order_acquire, memory_order_acquire))
            continue;
        p->fn(p->ud, p->first + p->parts - (int64_t)(uint32_t)w, index);
        mine++;
        w = atomic_load_explicit(&p->word, memory_order_acquire);
    }
    /* The run cannot end before this line, so every part above was of one run. */
    if (mine > 0) atomic_fetch_add_explicit(&p->done, mine, memory_order_release);
    return mine > 0;
}

static bool nothing_left(ry_pool *p) { return (uint32_t)atomic_load(&p->word) == 0; }

static void worker_main(void *arg) {
    pool_worker *me = arg;
    ry_pool *p = me->pool;
    double idle_since = os_now();
    while (!atomic_load_explicit(&p->quit, memory_order_relaxed)) {
        if (work(p, me->index)) idle_since = os_now();
        for (int i = 0; i < 32 && (uint32_t)atomic_load_explicit(&p->word, memory_order_relaxed) == 0; i++)
            os_cpu_relax();
        if (!nothing_left(p) || os_now() - idle_since < SPIN_SECONDS) continue;
        os_mutex_lock(p->lock);
        /* Sequentially consistent with ry_pool_run: it publishes and then looks for sleepers, we announce and then look for work. */
        atomic_fetch_add(&p->sleepers, 1);
        while (nothing_left(p) && !atomic_load(&p->quit)) os_cond_wait(p->wake, p->lock);
        atomic_fetch_sub(&p->sleepers, 1);
        os_mutex_unlock(p->lock);
        idle_since = os_now();
    }
}

static void run(ry_pool *p, int64_t first, int64_t parts) {
    p->first = first;
    p->parts = parts;
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    uint_fast64_t number = (atomic_load_explicit(&p->word, memory_order_relaxed) >> 32) + 1;
    atomic_store(&p->word, number << 32 | (uint_fast64_t)parts);
    if (atomic_load(&p->sleepers) > 0) {
        os_mutex_lock(p->lock);
        os_cond_wake_all(p->wake);
        os_mutex_unlock(p->lock);
    }
    work(p, 0);
    /* Others finish what they took. One that lost its CPU gets it back sooner if we do not hold ours. */
    for (int i = 0; atomic_load_explicit(&p->done, memory_order_acquire) != parts; i++) {
        if (i < 2000) {
            os_cpu_relax();
        } else {
            os_cpu_yield();
        }
    }
}

void ry_pool_run(ry_pool *p, int64_t parts, ry_pool_fn fn, void *ud) {
    if (parts == 1 || p->threads == 1) {
        for (int64_t i = 0; i < parts; i++) fn(ud, i, 0);
        return;
    }
    assert(nothing_left(p)); /* a part must not start a run */
    p->fn = fn;
    p->ud = ud;
    for (int64_t first = 0; first < parts; first += MAX_PARTS)
        run(p, first, parts - first < MAX_PARTS ? parts - first : MAX_PARTS);
}

void ry_pool_begin(ry_pool *p) {
    os_mutex_lock(p->lock);
    uint64_t mine = p->next_turn++;
    while (p->now_serving != mine) os_cond_wait(p->turn, p->lock);
    os_mutex_unlock(p->lock);
}

void ry_pool_end(ry_pool *p) {
    os_mutex_lock(p->lock);
    bool waiting = ++p->now_serving != p->next_turn;
    if (waiting) os_cond_wake_all(p->turn);
    os_mutex_unlock(p->lock);
}

ry_status ry_pool_open(ry_pool **out, int threads) {
    if (threads < 0 || threads > MAX_THREADS)
        return ry_fail(RY_EARG, "threads: %d is not between 0 (all) and %d", threads, MAX_THREADS);
    if (threads == 0) threads = os_cpu_count();
    ry_pool *p = ry_mem_zalloc(sizeof *p);
    if (p == NULL) return RY_ENOMEM;
    ry_status st = RY_ENOMEM;
    p->threads = 1; /* of those that run */
    p->workers = ry_mem_zalloc(ry_mem_size((size_t)threads, sizeof *p->workers, 0));
    p->scratch = ry_mem_zalloc(ry_mem_size((size_t)threads, sizeof *p->scratch, 0));
    if (p->workers == NULL || p->scratch == NULL) goto failed;
    RY_GO(st, failed, os_mutex_open(&p->lock));
    RY_GO(st, failed, os_cond_open(&p->wake));
    RY_GO(st, failed, os_cond_open(&p->turn));
    for (int i = 1; i < threads; i++) {
        pool_worker *w = &p->workers[i];
        *w = (pool_worker){.pool = p, .index = i};
        RY_GO(st, failed, os_thread_start(&w->thread, worker_main, w));
        p->threads = i + 1;
    }
    *out = p;
    return RY_OK;
failed:
    ry_pool_close(p);
    return st;
}

void ry_pool_close(ry_pool *p) {
    if (p == NULL) return;
    if (p->threads > 1) {
        os_mutex_lock(p->lock);
        atomic_store(&p->quit, true);
        os_cond_wake_all(p->wake);
        os_mutex_unlock(p->lock);
    }
    for (int i = 1; i < p->threads; i++) os_thread_join(p->workers[i].thread);
    for (int i = 0; p->scratch && i < p->threads; i++) ry_mem_free(p->scratch[i]);
    ry_mem_free(p->scratch);
    ry_mem_free(p->workers);
    os_cond_close(p->turn);
    os_cond_close(p->wake);
    os_mutex_close(p->lock);
    ry_mem_free(p);
}

int ry_pool_threads(const ry_pool *p) { return p->threads; }

ry_status ry_pool_reserve(ry_pool *p, size_t bytes) {
    if (bytes <= p->scratch_bytes) return RY_OK;
    for (int i = 0; i < p->threads; i++) {
        void *block = ry_mem_alloc(bytes); /* what was in it need not be kept: nothing is copied */
        if (block == NULL) return RY_ENOMEM;
        ry_mem_free(p->scratch[i]);
        p->scratch[i] = block;
    }
    p->scratch_bytes = bytes;
    return RY_OK;
}

void *ry_pool_scratch(ry_pool *p, int worker) { return p->scratch[worker]; }
