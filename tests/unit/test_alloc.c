/* test_alloc.c - memory that runs out: the first allocations of each scenario and a sample of the later ones (test_alloc_slow.c: all). */
#include "unit/alloc_fault.h"

enum { FIRST = 300 };
static void test_device(void **state) { (void)state, fault_sweep("device", fault_device, FIRST, 100); }
static void test_graph(void **state) { (void)state, fault_sweep("graph", fault_graph, FIRST, 100); }
static void test_step(void **state) { (void)state, fault_sweep("training step", fault_step, FIRST, 100); }
static void test_model(void **state) { (void)state, fault_sweep("model folder", fault_model, 120, 60); }
static void test_session(void **state) { (void)state, fault_sweep("session", fault_session, FIRST, 100); }
static void test_families(void **state) { (void)state, fault_sweep("families", fault_families, 120, 60); }
static void test_chat(void **state) { (void)state, fault_sweep("chat", fault_chat, 60, 60); }
static void test_tokenizers(void **state) { (void)state, fault_sweep("tokenizers", fault_tokenizers, 120, 60); }
static void test_train(void **state) { (void)state, fault_sweep("run and resume", fault_train, 30, 40); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_device),  cmocka_unit_test(test_graph),
                                       cmocka_unit_test(test_step),    cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_session), cmocka_unit_test(test_families), cmocka_unit_test(test_chat),
                                       cmocka_unit_test(test_tokenizers), cmocka_unit_test(test_train)};
    return cmocka_run_group_tests(tests, fault_setup, fault_teardown);
}
