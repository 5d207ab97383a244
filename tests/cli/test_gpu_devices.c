/* test_gpu_devices.c - `rusty devices`: what is here, what is missing and how to get it, and which one `auto` takes. */
#include "cli/cli.h"

static void test_missing(void **state) {
    (void)state;
    enter("gpu_missing");
    assert_run(0, "RUSTY_WGPU_LIB=/nonexistent.so $R devices");
    assert_in("err.txt", "auto takes: cpu");
    assert_in("out.txt", "cpu ");
    assert_in("out.txt", "webgpu    not here");
    assert_in("out.txt", "tools/setup.sh wgpu");
    assert_run(0, "RUSTY_WGPU_LIB=/nonexistent.so $R devices --json");
    assert_in("out.txt", "{\"device\":\"webgpu\",\"missing\":");
    assert_in("out.txt", "\"auto\":true");
    assert_run(1, "RUSTY_WGPU_LIB=/nonexistent.so $R bench matmul --sizes 64 --device webgpu");
    assert_in("err.txt", "tools/setup.sh wgpu");
#if defined(RUSTY_HAVE_WGPU)
    assert_run(0, "RUSTY_WGPU_LIB=none $R devices");
    assert_in("out.txt", "RUSTY_WGPU_LIB=none");
#endif
    assert_run(1, "$R bench matmul --sizes 64 --device cpu:3");
    assert_in("err.txt", "cpu has 1");
}

static void test_listed(void **state) {
    (void)state;
    if (!gpu_is_here("gpu_listed")) skip();
    assert_run(0, "$R devices --json");
    char *all = slurp("out.txt");
    bool hardware = strstr(all, "DiscreteGpu") || strstr(all, "IntegratedGpu") || strstr(all, "OtherGpu");
    ry_mem_free(all);
    assert_in("out.txt", "\"max_binding\":");
    assert_run(0, "$R devices");
    assert_in("out.txt", "driver ");
    assert_in("out.txt", "a binding");
    assert_in("err.txt", hardware ? "auto takes: webgpu" : "auto takes: cpu (a GPU driver in software");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_missing), cmocka_unit_test(test_listed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
