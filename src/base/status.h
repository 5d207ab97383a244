/* status.h - where errors are born.  Owns the thread's message; knows no tensor; never prints. */
#ifndef RY_BASE_STATUS_H
#define RY_BASE_STATUS_H
#include <rusty.h>
#include <stdarg.h>

#if defined(__MINGW32__)
#define RY_PRINTF(a, b) __attribute__((format(gnu_printf, a, b)))
#elif defined(__GNUC__)
#define RY_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define RY_PRINTF(a, b)
#endif

/* Records the thread's message and returns st, so that `return ry_fail(RY_ESHAPE, "...")` reads well. */
ry_status ry_fail(ry_status st, const char *fmt, ...) RY_PRINTF(2, 3);
ry_status ry_failv(ry_status st, const char *fmt, va_list ap) RY_PRINTF(2, 0);
/* Puts "context: " before the present message and returns st. */
ry_status ry_fail_in(ry_status st, const char *fmt, ...) RY_PRINTF(2, 3);
ry_status ry_nomem(size_t bytes); /* ENOMEM, with the size */

#define RY_FAIL(...) return ry_fail(__VA_ARGS__)
#define RY_TRY(expr)                       \
    do {                                   \
        ry_status ry_try_ = (expr);        \
        if (ry_try_ != RY_OK) return ry_try_; \
    } while (0)
/* For functions that free what they own on one exit: sets st and jumps. */
#define RY_GO(st, label, expr)             \
    do {                                   \
        if (((st) = (expr)) != RY_OK) goto label; \
    } while (0)

void ry_log_line(ry_log_level level, const char *fmt, ...) RY_PRINTF(2, 3);
#endif
