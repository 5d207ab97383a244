/* test_mem.c - blocks, counters, the allocator hook, arenas and growing arrays, with every allocation failing once. */
#include "base/mem.h"
#include "base/text.h"
#include "unit/cm.h"
#include <stdlib.h>
#include <string.h>

/* A hook that checks what it is told and refuses the n-th allocation. */
static struct {
    long calls, refuse; /* refuse: which call fails; 0 = none */
    size_t held;
    long blocks;
} hook;

static void *counting(void *ud, void *ptr, size_t old_size, size_t new_size) {
    assert_ptr_equal(ud, &hook);
    if (new_size == 0) {
        hook.held -= old_size;
        hook.blocks--;
        free(ptr);
        return NULL;
    }
    if (++hook.calls == hook.refuse) return NULL;
    void *p = realloc(ptr, new_size);
    assert_non_null(p);
    hook.held += new_size - (ptr ? old_size : 0);
    hook.blocks += ptr == NULL;
    return p;
}

static int use_hook(void **state) {
    (void)state;
    memset(&hook, 0, sizeof hook);
    ry_alloc_set(counting, &hook);
    return 0;
}

static int drop_hook(void **state) {
    (void)state;
    ry_alloc_set(NULL, NULL);
    return hook.held == 0 && hook.blocks == 0 && ry_mem_live() == 0 ? 0 : 1;
}

static void blocks(void **state) {
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = ry_mem_alloc(n), *q = ry_mem_zalloc(n);
        assert_non_null(p);
        assert_non_null(q);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_int_equal((uintptr_t)q % 64, 0);
        assert_int_equal(ry_mem_live(), 2 * n);
        memset(p, 1, n);
        for (size_t i = 0; i < n; i++) assert_int_equal(q[i], 0);
        ry_mem_free(p);
        ry_mem_free(q);
    }
    ry_mem_free(NULL);
    assert_null(ry_mem_alloc(SIZE_MAX));
    assert_null(ry_mem_alloc(SIZE_MAX - 64));
    assert_null(ry_mem_zalloc(SIZE_MAX));
    assert_non_null(strstr(ry_message(), "out of memory"));
}

static void growing(void **state) {
    (void)state;
    unsigned char *p = NULL;
    size_t before = 0;
    for (size_t n = 1; n < 100000; n = n * 3 / 2 + 1) {
        p = ry_mem_grow(p, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < before; i++) assert_int_equal(p[i], (unsigned char)(i * 7));
        for (size_t i = 0; i < n; i++) p[i] = (unsigned char)(i * 7);
        assert_int_equal(ry_mem_live(), n);
        before = n;
    }
    size_t live = ry_mem_live();
    assert_null(ry_mem_grow(p, SIZE_MAX));
    assert_int_equal(ry_mem_live(), live);
    hook.refuse = hook.calls + 1;
    assert_null(ry_mem_grow(p, live * 2));
    for (size_t i = 0; i < live; i++) assert_int_equal(p[i], (unsigned char)(i * 7)); /* p stays */
    p = ry_mem_grow(p, 10);
    assert_non_null(p);
    for (size_t i = 0; i < 10; i++) assert_int_equal(p[i], i * 7);
    assert_int_equal(ry_mem_live(), 10);
    ry_free(p);
}

static void peak(void **state) {
    (void)state;
    ry_mem_peak_reset();
    void *p = ry_mem_alloc(1000), *q = ry_mem_alloc(500);
    ry_mem_free(p);
    assert_int_equal(ry_mem_live(), 500);
    assert_int_equal(ry_mem_peak(), 1500);
    ry_mem_peak_reset();
    assert_int_equal(ry_mem_peak(), 500);
    ry_mem_free(q);
}

static void sizes(void **state) {
    (void)state;
    assert_int_equal(ry_mem_size(3, 4, 5), 17);
    assert_int_equal(ry_mem_size(0, 0, 9), 9);
    assert_true(ry_mem_size(SIZE_MAX / 2, 3, 0) == SIZE_MAX);
    assert_true(ry_mem_size(SIZE_MAX / 4, 4, 8) == SIZE_MAX);
    assert_true(ry_mem_size(1, SIZE_MAX - 8, 9) == SIZE_MAX);
}

static void arenas(void **state) {
    (void)state;
    ry_arena a = {0};
    unsigned char *first = ry_arena_alloc(&a, 5);
    unsigned char *empty = ry_arena_alloc(&a, 0), *after = ry_arena_alloc(&a, 1);
    assert_true(first != empty && empty != after);
    for (size_t n = 1; n < 200000; n = n * 2 + 3) { /* also larger than a chunk */
        unsigned char *p = ry_arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xEE, n);
    }
    assert_int_equal(first[4], 0);
    assert_string_equal(ry_arena_strdup(&a, "text"), "text");
    assert_string_equal(ry_arena_printf(&a, "%d-%s", 12, "x"), "12-x");
    assert_null(ry_arena_alloc(&a, SIZE_MAX));
    assert_null(RY_NEW(&a, int64_t, SIZE_MAX / 2));

    ry_arena_mark m = ry_arena_here(&a);
    unsigned char *p = ry_arena_alloc(&a, 100);
    memset(p, 1, 100);
    ry_arena_alloc(&a, 1 << 20);
    ry_arena_release(&a, m);
    unsigned char *q = ry_arena_alloc(&a, 100); /* the same place, zeroed again */
    assert_ptr_equal(p, q);
    for (int i = 0; i < 100; i++) assert_int_equal(q[i], 0);

    /* Marks at the end of a chunk do not allocate each time. */
    ry_arena_alloc(&a, 1 << 20);
    ry_arena_release(&a, m);
    long calls = hook.calls;
    for (int i = 0; i < 100; i++) {
        ry_arena_alloc(&a, 1 << 20);
        ry_arena_release(&a, m);
    }
    assert_int_equal(hook.calls, calls);

    /* Soon a repeated step allocates nothing. */
    for (int step = 0; step < 6; step++) {
        if (step == 4) calls = hook.calls;
        ry_arena_reset(&a);
        for (int i = 0; i < 300; i++) assert_non_null(ry_arena_alloc(&a, 10000));
    }
    assert_int_equal(hook.calls, calls);
    ry_arena_free(&a);
    assert_int_equal(ry_mem_live(), 0);
    ry_arena_free(&a);
}

static void mark_of_an_empty_arena(void **state) {
    (void)state;
    ry_arena a = {0};
    ry_arena_mark m = ry_arena_here(&a);
    void *p = ry_arena_alloc(&a, 10);
    ry_arena_alloc(&a, 100000);
    ry_arena_release(&a, m);
    assert_non_null(ry_arena_alloc(&a, 10));
    assert_non_null(p);
    ry_arena_reset(&a);
    ry_arena_free(&a);
}

static void vectors(void **state) {
    (void)state;
    RY_VEC(uint32_t) v = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t *slot = RY_PUSH(&v);
        assert_non_null(slot);
        assert_int_equal(*slot, 0);
        *slot = i;
    }
    for (uint32_t i = 0; i < 1000; i++) assert_int_equal(v.at[i], i);
    hook.refuse = hook.calls + 1;
    size_t n = v.n;
    while (RY_PUSH(&v)) n++; /* until it must grow */
    assert_int_equal(v.n, n);
    assert_int_equal(v.at[999], 999);
    RY_VEC_FREE(&v);
}

/* Under AddressSanitizer what nobody asked for, and what was given back, cannot be touched. */
#if defined(__SANITIZE_ADDRESS__) || defined(__has_feature)
#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#ifdef POISONING
#include <sanitizer/asan_interface.h>
static void poisoned(void **state) {
    (void)state;
    unsigned char *p = ry_mem_alloc(10);
    assert_false(__asan_address_is_poisoned(p + 9));
    assert_true(__asan_address_is_poisoned(p + 10));
    p = ry_mem_grow(p, 13);
    assert_false(__asan_address_is_poisoned(p + 12));
    assert_true(__asan_address_is_poisoned(p + 13));
    ry_mem_free(p);
    ry_arena a = {0};
    unsigned char *kept = ry_arena_alloc(&a, 20), *next = ry_arena_alloc(&a, 8);
    assert_true(__asan_address_is_poisoned(kept + 20));
    assert_true(__asan_address_is_poisoned(next - 1)); /* a gap between neighbours */
    ry_arena_mark m = ry_arena_here(&a);
    unsigned char *gone = ry_arena_alloc(&a, 8);
    assert_false(__asan_address_is_poisoned(gone));
    ry_arena_release(&a, m);
    assert_true(__asan_address_is_poisoned(gone));
    assert_false(__asan_address_is_poisoned(next));
    ry_arena_reset(&a);
    assert_true(__asan_address_is_poisoned(kept));
    ry_arena_free(&a);
}
#endif

/* What is tried with each of its allocations failing. */
static bool script(void) {
    bool ok = true;
    ry_arena a = {0};
    RY_VEC(int64_t) v = {0};
    ry_text t = {0};
    for (int i = 0; i < 40; i++) {
        int64_t *slot = RY_PUSH(&v);
        char *s = ry_arena_printf(&a, "number %d", i);
        void *big = ry_arena_alloc(&a, 30000);
        ry_text_printf(&t, "%d ", i);
        ok = ok && slot && s && big;
    }
    ok = ok && ry_text_status(&t) == RY_OK;
    ry_text_free(&t);
    RY_VEC_FREE(&v);
    ry_arena_free(&a);
    return ok;
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    long n = 0;
    do {
        hook.calls = 0;
        hook.refuse = ++n;
        bool ok = script();
        assert_int_equal(ry_mem_live(), 0);
        assert_int_equal(hook.blocks, 0);
        if (hook.calls < n) {
            assert_true(ok);
            break;
        }
        assert_false(ok);
        assert_non_null(strstr(ry_message(), "out of memory"));
    } while (n < 1000);
    assert_true(n > 10 && n < 1000);
}

int main(void) {
#define with_hook(f) cmocka_unit_test_setup_teardown(f, use_hook, drop_hook)
    const struct CMUnitTest tests[] = {
#ifdef POISONING
        with_hook(poisoned),
#endif
        with_hook(blocks),   with_hook(growing),
        with_hook(peak),     with_hook(sizes),
        with_hook(arenas),   with_hook(mark_of_an_empty_arena),
        with_hook(vectors),  with_hook(every_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
