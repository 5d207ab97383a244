/* cmocka.h - stands in for cmocka where a test is built for a machine whose cmocka nobody has installed (tests/cross/run.cmake).
 *
 * Owns just the part of cmocka's interface that our tests use; needs the four headers that cmocka wants before it. A test that
 * fails or skips leaves by longjmp, as cmocka's do. */
#ifndef CROSS_CMOCKA_H
#define CROSS_CMOCKA_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);
struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    CMFixtureFunction setup_func, teardown_func;
    void *initial_state;
};
#define cmocka_unit_test_setup_teardown(f, setup, teardown) {#f, f, setup, teardown, NULL}
#define cmocka_unit_test(f)                                 cmocka_unit_test_setup_teardown(f, NULL, NULL)

static jmp_buf cross_out;
enum { CROSS_FAILED = 1, CROSS_SKIPPED };

#define print_error(...)   fprintf(stderr, __VA_ARGS__)
#define print_message(...) printf(__VA_ARGS__)

static inline void cross_fail(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    longjmp(cross_out, CROSS_FAILED);
}
#define _fail(file, line) cross_fail("failure", file, line)
#define fail()            cross_fail("failure", __FILE__, __LINE__)
#define fail_msg(...)     (fprintf(stderr, __VA_ARGS__), cross_fail(" ", __FILE__, __LINE__))
#define skip()            longjmp(cross_out, CROSS_SKIPPED)

#define cross_assert(c, text)           ((c) ? (void)0 : cross_fail(text, __FILE__, __LINE__))
#define assert_true(c)                  cross_assert((c), #c)
#define assert_false(c)                 cross_assert(!(c), "not " #c)
#define assert_null(p)                  cross_assert((p) == NULL, #p " == NULL")
#define assert_non_null(p)              cross_assert((p) != NULL, #p " != NULL")
#define assert_ptr_equal(a, b)          cross_assert((const void *)(a) == (const void *)(b), #a " == " #b)
#define cross_int(v)                    ((uintmax_t)(v))
#define assert_int_equal(a, b)          cross_assert(cross_int(a) == cross_int(b), #a " == " #b)
#define assert_int_not_equal(a, b)      cross_assert(cross_int(a) != cross_int(b), #a " != " #b)
#define assert_in_range(v, lo, hi)      cross_assert(cross_int(v) >= cross_int(lo) && cross_int(v) <= cross_int(hi), #v " in range")
#define assert_string_equal(a, b)       cross_assert(strcmp((a), (b)) == 0, #a " == " #b)
#define assert_string_not_equal(a, b)   cross_assert(strcmp((a), (b)) != 0, #a " != " #b)
#define assert_memory_equal(a, b, n)    cross_assert(memcmp((a), (b), (n)) == 0, #a " == " #b)
#define cross_near(a, b, e)             ((double)(a) - (double)(b) <= (double)(e) && (double)(b) - (double)(a) <= (double)(e))
#define assert_float_equal(a, b, e)     cross_assert(cross_near(a, b, e), #a " == " #b)
#define assert_double_equal(a, b, e)    cross_assert(cross_near(a, b, e), #a " == " #b)

/* 0, CROSS_FAILED or CROSS_SKIPPED. */
static inline int cross_one(CMUnitTestFunction test, void **state) {
    int how = setjmp(cross_out);
    if (how == 0) test(state);
    return how;
}

static inline int cross_run(const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup, CMFixtureFunction teardown) {
    int failed = 0;
    void *group = NULL;
    if (setup && setup(&group) != 0) return 1;
    for (size_t i = 0; i < n; i++) {
        void *state = tests[i].initial_state ? tests[i].initial_state : group;
        int bad = tests[i].setup_func && tests[i].setup_func(&state) != 0 ? CROSS_FAILED : cross_one(tests[i].test_func, &state);
        if (tests[i].teardown_func && tests[i].teardown_func(&state) != 0) bad = CROSS_FAILED;
        printf("%s %s\n", bad == CROSS_FAILED ? "FAILED " : bad ? "skipped" : "ok     ", tests[i].name);
        failed += bad == CROSS_FAILED;
    }
    if (teardown && teardown(&group) != 0) failed++;
    return failed;
}
#define cmocka_run_group_tests(tests, setup, teardown) cross_run(tests, sizeof(tests) / sizeof *(tests), setup, teardown)
#endif
