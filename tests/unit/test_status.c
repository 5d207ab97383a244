/* test_status.c - status names, the thread's message, the log. */
#include "base/os.h"
#include "base/status.h"
#include "unit/cm.h"
#include <stdio.h>
#include <string.h>

static void names(void **state) {
    (void)state;
    assert_string_equal(ry_status_name(RY_ESHAPE), "ESHAPE");
    assert_string_equal(ry_status_text(RY_ESHAPE), "shapes do not fit");
    assert_int_equal(RY_OK, 0);
    for (int i = 0; i < RY_STATUS_COUNT; i++) {
        assert_true(strlen(ry_status_name((ry_status)i)) > 0);
        assert_true(strlen(ry_status_text((ry_status)i)) > 0);
    }
    assert_string_equal(ry_status_name((ry_status)1000), "unknown status");
    assert_string_equal(ry_status_text((ry_status)-1), "unknown status");
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", RY_VERSION_MAJOR, RY_VERSION_MINOR, RY_VERSION_PATCH);
    assert_string_equal(ry_version(), version);
}

static ry_status tried(bool bad, int *reached) {
    RY_TRY(bad ? ry_fail(RY_EIO, "born here") : RY_OK);
    ++*reached;
    return RY_OK;
}

static void messages(void **state) {
    (void)state;
    int reached = 0;
    assert_is(RY_EIO, tried(true, &reached));
    assert_int_equal(reached, 0);
    assert_string_equal(ry_message(), "born here");
    assert_ok(tried(false, &reached));
    assert_int_equal(reached, 1);
    assert_int_equal(ry_fail_in(RY_EIO, "file %d", 7), RY_EIO);
    assert_string_equal(ry_message(), "file 7: born here");
    ry_fail(RY_EARG, "again: %s", ry_message()); /* an argument that is the buffer itself */
    assert_string_equal(ry_message(), "again: file 7: born here");
    ry_nomem(12345);
    assert_non_null(strstr(ry_message(), "12345"));
    assert_is(RY_ENOMEM, ry_nomem(SIZE_MAX));
}

static void long_messages(void **state) {
    (void)state;
    char text[5000];
    for (size_t odd = 0; odd < 2; odd++) { /* a cut never leaves half a character, wherever it falls */
        memset(text, 'x', sizeof text);
        for (size_t i = odd; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA9", 2);
        text[sizeof text - 1] = 0;
        ry_fail(RY_EARG, "%s", text);
        const char *m = ry_message();
        size_t n = strlen(m);
        assert_true(n > 1000 && n < 4096);
        assert_string_equal(m + n - 3, "...");
        assert_int_equal((unsigned char)m[n - 4], 0xA9);
    }
}

static void other_thread(void *arg) {
    ry_fail(RY_ENOENT, "of the other thread");
    snprintf(arg, 64, "%s", ry_message());
}

static void one_message_a_thread(void **state) {
    (void)state;
    char theirs[64] = "";
    os_thread *t = NULL;
    ry_fail(RY_EARG, "mine");
    assert_ok(os_thread_start(&t, other_thread, theirs));
    os_thread_join(t);
    assert_string_equal(theirs, "of the other thread");
    assert_string_equal(ry_message(), "mine");
}

static void keep_line(void *ud, ry_log_level level, const char *line) { snprintf(ud, 64, "%d %s", (int)level, line); }

static void logging(void **state) {
    (void)state;
    char last[64] = "";
    ry_log_line(RY_LOG_WARN, "nobody hears this");
    ry_log_set(keep_line, last);
    ry_log_line(RY_LOG_WARN, "step %d", 3);
    assert_string_equal(last, "2 step 3");
    ry_log_set(NULL, NULL);
    ry_log_line(RY_LOG_ERROR, "nor this");
    assert_string_equal(last, "2 step 3");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(messages),
                                       cmocka_unit_test(long_messages), cmocka_unit_test(one_message_a_thread),
                                       cmocka_unit_test(logging)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
