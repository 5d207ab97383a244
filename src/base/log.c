/* log.c - hands log lines to the application's callback.
 *
 * Owns the callback.  Never prints, never calls it under a lock. */
#include "base/os.h"
#include <stdatomic.h>
#include <stdio.h>

static struct {
    ry_log_fn fn;
    void *ud;
} sink;
static atomic_bool listening; /* so that a silent log costs one load */

void ry_log_set(ry_log_fn fn, void *ud) {
    os_static_lock();
    sink.fn = fn;
    sink.ud = ud;
    atomic_store(&listening, fn != NULL);
    os_static_unlock();
}

void ry_log_line(ry_log_level level, const char *fmt, ...) {
    if (!atomic_load_explicit(&listening, memory_order_relaxed)) return;
    os_static_lock();
    ry_log_fn fn = sink.fn;
    void *ud = sink.ud;
    os_static_unlock();
    if (fn == NULL) return;
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n >= 0) fn(ud, level, line);
}
