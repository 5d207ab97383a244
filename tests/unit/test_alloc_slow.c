/* test_alloc_slow.c - memory that runs out at every single allocation of what test_alloc.c samples; at a thousand of those of a whole
 * run, which waits for the disk many times. */
#include "unit/alloc_fault.h"

static void test_all(void **state) {
    static const struct {
        const char *name;
        ry_status (*fn)(void *ud);
    } scenarios[] = {{"device", fault_device},      {"graph", fault_graph},     {"training step", fault_step},
                     {"model folder", fault_model}, {"session", fault_session}, {"chat", fault_chat}, {"families", fault_families}, {"tokenizers", fault_tokenizers}};
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        fault_sweep(scenarios[i].name, scenarios[i].fn, 1000000, 0);
    fault_sweep("run and resume", fault_train, 200, 800);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, fault_setup, fault_teardown);
}
