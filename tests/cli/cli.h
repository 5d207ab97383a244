/* cli.h - running the program from a test, as a shell would.  Header of tests only. */
#ifndef TEST_CLI_H
#define TEST_CLI_H
#include "unit/cm.h"

#include "base/mem.h"
#include "base/os.h"
#include "base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs a shell command with $R the program; its exit status, or -signal. stdout and stderr go where the command says, else to out.txt and err.txt. */
int sh(const char *fmt, ...);

char *slurp(const char *path); /* the whole file; ry_mem_free */

#define assert_in(path, text)                                                              \
    do {                                                                                   \
        char *in_ = slurp(path);                                                           \
        if (!strstr(in_, (text))) fail_msg("%s holds no '%s', but:\n%s", path, text, in_); \
        ry_mem_free(in_);                                                                  \
    } while (0)
#define assert_run(want, ...)                                                                    \
    do {                                                                                         \
        int got_ = sh(__VA_ARGS__);                                                              \
        if (got_ != (want)) {                                                                    \
            char *err_ = slurp("err.txt");                                                       \
            fail_msg("exit status %d, expected %d\n%s", got_, (int)(want), err_);                \
        }                                                                                        \
    } while (0)

/* The number after the first `key` of a file. */
double number_in(const char *path, const char *key);

void same_files(const char *a, const char *b);

/* Is there a GPU, or a driver in software? A word, if not. Enters a folder of this name, no other test's. */
bool gpu_is_here(const char *folder);

/* A folder of the test's own, made anew, with a small text and shape; the test runs in it. */
void enter(const char *name);
#endif
