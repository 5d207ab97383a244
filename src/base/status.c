/* status.c - status names and texts, and the thread's last message.
 *
 * Owns one message buffer a thread.  Never prints, never ends the process. */
#include "base/status.h"
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048 };
static _Thread_local char message[MESSAGE_BYTES];

static const struct {
    const char *name, *text;
} rows[RY_STATUS_COUNT] = {
#define RY_X(name, text) {#name, text},
    RY_STATUS_MAP(RY_X)
#undef RY_X
};

#define STRING_(x) #x
#define STRING(x)  STRING_(x)
const char *ry_version(void) {
    return STRING(RY_VERSION_MAJOR) "." STRING(RY_VERSION_MINOR) "." STRING(RY_VERSION_PATCH);
}

const char *ry_status_name(ry_status st) { return (unsigned)st < RY_STATUS_COUNT ? rows[st].name : "unknown status"; }

const char *ry_status_text(ry_status st) { return (unsigned)st < RY_STATUS_COUNT ? rows[st].text : "unknown status"; }

const char *ry_message(void) { return message; }

/* A message that was cut ends in "...", and never inside a UTF-8 character. */
static void mark_cut(char *s, size_t cap) {
    size_t n = cap - 4;
    while (n > 0 && ((unsigned char)s[n] & 0xC0u) == 0x80u) n--;
    memcpy(s + n, "...", 4);
}

ry_status ry_failv(ry_status st, const char *fmt, va_list ap) {
    char text[MESSAGE_BYTES]; /* the arguments may point into the present message */
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n < 0) {
        snprintf(text, sizeof text, "%s", ry_status_text(st));
    } else if ((size_t)n >= sizeof text) {
        mark_cut(text, sizeof text);
    }
    memcpy(message, text, strlen(text) + 1);
    return st;
}

ry_status ry_fail(ry_status st, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    ry_failv(st, fmt, ap);
    va_end(ap);
    return st;
}

ry_status ry_fail_in(ry_status st, const char *fmt, ...) {
    char context[MESSAGE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    return n < 0 ? st : ry_fail(st, "%s: %s", context, message);
}

ry_status ry_nomem(size_t bytes) {
    if (bytes == SIZE_MAX)
        return ry_fail(RY_ENOMEM, "out of memory: a size does not fit in %zu bits", sizeof bytes * 8);
    return ry_fail(RY_ENOMEM, "out of memory: %zu bytes were refused", bytes);
}
