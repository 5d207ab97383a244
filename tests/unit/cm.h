/* cm.h - cmocka and the headers it wants before it.  Header of tests only. */
#ifndef TEST_CM_H
#define TEST_CM_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define assert_ok(expr) assert_status((expr), RY_OK, #expr, __FILE__, __LINE__)
#define assert_is(expected, expr) assert_status((expr), (expected), #expr, __FILE__, __LINE__)
#define assert_status(got, want, text, file, line)                                                       \
    do {                                                                                                 \
        ry_status got_ = (got), want_ = (want);                                                          \
        if (got_ != want_) {                                                                             \
            print_error("%s: %s, expected %s: %s\n", text, ry_status_name(got_), ry_status_name(want_), ry_message()); \
            _fail(file, line);                                                                           \
        }                                                                                                \
    } while (0)
#endif
