/* test_plan_slow.c - what test_plan.c does with thousands of random graphs, with hundreds of thousands. */
#include "unit/plan_fuzz.h"

static void test_many(void **state) {
    (void)state;
    fuzz_bench b;
    fuzz_open(&b);
    for (uint64_t seed = 100000; seed < 300000; seed++) fuzz_seed(&b, seed, 8);
    fuzz_report(&b);
    fuzz_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
