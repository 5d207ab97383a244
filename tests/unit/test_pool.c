/* test_pool.c - the worker pool: every part once, barriers, turns of several threads, sleep and waking; run under TSan too. */
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"
#include "unit/cm.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 3000 };
typedef struct job {
    ry_pool *pool;
    int64_t parts;
    int seen[MOST];
    int bad_worker;
    const int *before; /* the run before this one: what it wrote is visible */
} job;

static void note(void *ud, int64_t part, int worker) {
    job *j = ud;
    j->seen[part]++;
    if (worker < 0 || worker >= ry_pool_threads(j->pool)) j->bad_worker = 1;
    if (j->before && j->before[part % 7] == 0) j->bad_worker = 1;
}

static void every_part_once(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1000, MOST};
    static job a, b;
    for (int threads = 1; threads <= 5; threads++) {
        ry_pool *p = NULL;
        assert_ok(ry_pool_open(&p, threads));
        assert_int_equal(ry_pool_threads(p), threads);
        ry_pool_begin(p);
        for (int repeat = 0; repeat < 30; repeat++)
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                memset(&a, 0, sizeof a);
                memset(&b, 0, sizeof b);
                a.pool = b.pool = p;
                ry_pool_run(p, 7, note, &a);
                b.before = a.seen;
                ry_pool_run(p, counts[i], note, &b);
                for (int64_t k = 0; k < MOST; k++) assert_int_equal(b.seen[k], k < counts[i]);
                assert_int_equal(a.bad_worker + b.bad_worker, 0);
            }
        ry_pool_end(p);
        ry_pool_close(p);
    }
    assert_int_equal(ry_mem_live(), 0);
}

static void nothing(void *ud, int64_t part, int worker) {
    (void)part;
    (void)worker;
    atomic_fetch_add((atomic_long *)ud, 1);
}

static void wakes_sleepers(void **state) {
    (void)state;
    ry_pool *p = NULL;
    atomic_long count = 0;
    assert_ok(ry_pool_open(&p, 4));
    for (int i = 0; i < 40; i++) {
        double until = os_now() + (i % 2 ? 1e-3 : 60e-6); /* asleep; about to sleep */
        while (os_now() < until) os_cpu_relax();
        ry_pool_begin(p);
        ry_pool_run(p, 8, nothing, &count);
        ry_pool_end(p);
    }
    assert_int_equal(atomic_load(&count), 40 * 8);
    ry_pool_close(p);
}

typedef struct client {
    ry_pool *pool;
    os_thread *thread;
    atomic_int *inside;
    int *shared; /* guarded by the turn alone */
    int bad;
} client;

static void add_one(void *ud, int64_t part, int worker) {
    (void)worker;
    ((int *)ud)[part]++;
}

static void take_turns(void *arg) {
    client *c = arg;
    for (int i = 0; i < 200; i++) {
        ry_pool_begin(c->pool);
        if (atomic_fetch_add(c->inside, 1) != 0) c->bad = 1;
        ry_pool_run(c->pool, 16, add_one, c->shared);
        ry_pool_run(c->pool, 1, add_one, c->shared);
        atomic_fetch_sub(c->inside, 1);
        ry_pool_end(c->pool);
    }
}

static void turns(void **state) {
    (void)state;
    ry_pool *p = NULL;
    atomic_int inside = 0;
    int shared[16] = {0};
    client clients[3];
    assert_ok(ry_pool_open(&p, 3));
    for (int i = 0; i < 3; i++) {
        clients[i] = (client){.pool = p, .inside = &inside, .shared = shared};
        assert_ok(os_thread_start(&clients[i].thread, take_turns, &clients[i]));
    }
    for (int i = 0; i < 3; i++) {
        os_thread_join(clients[i].thread);
        assert_int_equal(clients[i].bad, 0);
    }
    assert_int_equal(shared[0], 3 * 200 * 2);
    for (int i = 1; i < 16; i++) assert_int_equal(shared[i], 3 * 200);
    ry_pool_close(p);
}

static void scratch(void **state) {
    (void)state;
    ry_pool *p = NULL;
    assert_ok(ry_pool_open(&p, 3));
    ry_pool_begin(p);
    size_t sizes[] = {100, 10, 5000};
    for (int s = 0; s < 3; s++) {
        assert_ok(ry_pool_reserve(p, sizes[s]));
        for (int w = 0; w < 3; w++) {
            assert_int_equal((uintptr_t)ry_pool_scratch(p, w) % 64, 0);
            memset(ry_pool_scratch(p, w), w, sizes[s]);
        }
        for (int w = 0; w < 3; w++) assert_int_equal(((char *)ry_pool_scratch(p, w))[sizes[s] - 1], w);
    }
    assert_is(RY_ENOMEM, ry_pool_reserve(p, SIZE_MAX - 64));
    assert_non_null(ry_pool_scratch(p, 2));
    ry_pool_end(p);
    ry_pool_close(p);
    ry_pool_close(NULL);
    assert_is(RY_EARG, ry_pool_open(&p, -1));
    assert_is(RY_EARG, ry_pool_open(&p, 100000));
    assert_ok(ry_pool_open(&p, 0));
    assert_int_equal(ry_pool_threads(p), os_cpu_count());
    ry_pool_close(p);
}

static long calls, refuse;
static void *refusing(void *ud, void *ptr, size_t old_size, size_t new_size) {
    (void)ud;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return ++calls == refuse ? NULL : realloc(ptr, new_size);
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    ry_status st = RY_ENOMEM;
    assert_int_equal(ry_mem_live(), 0);
    ry_alloc_set(refusing, NULL);
    for (refuse = 1; st != RY_OK && refuse < 100; refuse++) {
        calls = 0;
        ry_pool *p = NULL;
        st = ry_pool_open(&p, 3);
        if (st == RY_OK) {
            st = ry_pool_reserve(p, 100);
            ry_pool_close(p);
        } else {
            assert_null(p);
        }
        assert_true(st == RY_OK || st == RY_ENOMEM);
        assert_int_equal(ry_mem_live(), 0);
    }
    ry_alloc_set(NULL, NULL);
    assert_true(refuse > 10 && refuse < 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_part_once), cmocka_unit_test(wakes_sleepers),
                                       cmocka_unit_test(turns), cmocka_unit_test(scratch),
                                       cmocka_unit_test(every_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
