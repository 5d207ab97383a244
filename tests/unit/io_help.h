/* io_help.h - for the readers' tests: every allocation failing once, folders to write into, messages.  Header of tests only. */
#ifndef TEST_IO_HELP_H
#define TEST_IO_HELP_H
#include "base/mem.h"
#include "base/os.h"
#include "base/text.h"
#include "unit/cm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct failing {
    long calls, refuse;
    bool later_too, refused;
} failing;

static inline void *failing_alloc(void *ud, void *ptr, size_t old_size, size_t new_size) {
    failing *f = ud;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    f->calls++;
    if (f->calls == f->refuse || (f->later_too && f->calls > f->refuse)) {
        f->refused = true;
        return NULL;
    }
    return realloc(ptr, new_size);
}

/* Runs fn with its n-th allocation refused (and once more with all later ones too), for n = 1, 2, ... until none is. Each time it
 * must return ENOMEM and hold nothing; at the end it must succeed. */
static inline void sweep_allocations(ry_status (*fn)(void *ud), void *ud) {
    for (int all = 0; all < 2; all++) {
        for (long n = 1;; n++) {
            failing f = {.refuse = n, .later_too = all};
            size_t held = ry_mem_live();
            ry_alloc_set(failing_alloc, &f);
            ry_status st = fn(ud);
            ry_alloc_set(NULL, NULL);
            if (ry_mem_live() != held) print_error("allocation %ld of %ld refused: a leak\n", n, f.calls);
            assert_int_equal(ry_mem_live(), held);
            if (!f.refused) {
                assert_ok(st);
                break;
            }
            if (st != RY_ENOMEM) print_error("allocation %ld of %ld refused\n", n, f.calls);
            assert_is(RY_ENOMEM, st);
        }
    }
}

/* The last message must hold each of these words. */
#define assert_says(...) check_says(__FILE__, __LINE__, (const char *[]){__VA_ARGS__, NULL})
static inline void check_says(const char *file, int line, const char **words) {
    for (; *words; words++) {
        if (strstr(ry_message(), *words)) continue;
        print_error("\"%s\" does not say \"%s\"\n", ry_message(), *words);
        _fail(file, line);
    }
}

static inline void write_file(const char *path, const void *data, size_t n) { assert_ok(os_file_write(path, data, n)); }
static inline void write_text(const char *path, const char *text) { write_file(path, text, strlen(text)); }

/* A new empty folder below the one the test runs in. */
static inline void fresh_folder(const char *name) {
    if (os_kind(name) != OS_NOTHING) assert_ok(os_remove_tree(name));
    assert_ok(os_mkdirs(name));
}
#endif
