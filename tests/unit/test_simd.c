/* test_simd.c - the choice of instruction sets: what is forced runs, what is absent does not, the description says so; the
 * environment in child processes. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "simd/simd.h"
#include "unit/cm.h"

#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

static void test_force(void **s) {
    (void)s;
    const simd_path best = simd_best();
    simd_force(best, ~0u);
    const unsigned all = simd_extras();
    simd_force(SIMD_AVX2, ~0u); /* ignored where it is not there */
    const unsigned of_avx2 = simd_has(SIMD_AVX2) ? simd_extras() : 0u;
    assert_int_equal(of_avx2 & ~(unsigned)SIMD_AVX_VNNI, 0u);
    assert_true(simd_has(SIMD_PLAIN) && simd_has(best));
    for (int p = 0; p < SIMD_PATHS; p++) {
        simd_force((simd_path)p, ~0u);
        if (!simd_has((simd_path)p)) continue; /* ignored */
        assert_int_equal(simd_now(), p);
        assert_int_equal(simd_extras(), (simd_path)p == best ? all : p == SIMD_AVX2 ? of_avx2 : 0u);
        assert_int_equal(simd_best(), best);
        char text[64];
        simd_describe(text, sizeof text);
        const char *name = p == SIMD_AVX512 ? "avx512f" : simd_name((simd_path)p);
        assert_memory_equal(text, name, strlen(name));
        char tiny[4];
        simd_describe(tiny, sizeof tiny);
        assert_true(strlen(tiny) < sizeof tiny);
        assert_memory_equal(tiny, text, strlen(tiny));
    }
    simd_force(best, 0);
    assert_int_equal(simd_extras(), 0);
    simd_force(best, all);
}

static void test_names(void **s) {
    (void)s;
    assert_string_equal(simd_name(SIMD_PLAIN), "plain");
    assert_string_equal(simd_name(SIMD_NEON), "neon");
    assert_string_equal(simd_name(SIMD_PATHS), "unknown");
}

#if !defined(_WIN32)
/* Exit status of a child that sees the variable and returns what `ask` says. A program asks for its environment once. */
static int child(const char *name, const char *value, int (*ask)(void)) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv(name, value, 1);
        _exit(ask());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
static int ask_now(void) { return (int)simd_now(); }
static int ask_extras(void) { return (int)simd_extras(); }

/* First of all tests: nothing has looked yet in this process. */
static void test_environment(void **s) {
    (void)s;
    unsetenv("RUSTY_SIMD");
    unsetenv("RUSTY_SIMD_NO");
    const int best = child("RUSTY_UNUSED", "1", ask_now), extras = child("RUSTY_UNUSED", "1", ask_extras);
    assert_int_equal(child("RUSTY_SIMD", "plain", ask_now), SIMD_PLAIN);
    assert_int_equal(child("RUSTY_SIMD", "plain", ask_extras), 0);
    assert_int_equal(child("RUSTY_SIMD", "no such path", ask_now), best);
    assert_int_equal(child("RUSTY_SIMD_NO", "plain", ask_now), best);
    assert_int_equal(child("RUSTY_SIMD_NO", "avx512_bf16,amx,avx512_vnni", ask_extras), 0);
    assert_int_equal(child("RUSTY_SIMD_NO", "avx512_vnni", ask_extras), extras & ~SIMD_AVX512_VNNI);
    if (best == SIMD_AVX512) {
        assert_int_equal(child("RUSTY_SIMD", "avx2", ask_now), SIMD_AVX2);
        assert_int_equal(child("RUSTY_SIMD", "avx2", ask_extras) & ~SIMD_AVX_VNNI, 0);
        assert_int_equal(child("RUSTY_SIMD_NO", "avx512", ask_now), SIMD_AVX2);
        assert_int_equal(child("RUSTY_SIMD_NO", "amx,avx512,avx2", ask_now), SIMD_PLAIN);
    }
}
#else
static void test_environment(void **s) {
    (void)s;
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_environment), cmocka_unit_test(test_force),
                                       cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
