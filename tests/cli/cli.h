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
#include <sys/wait.h>

/* Runs a shell command with $R the program; its exit status, or -signal. stdout and stderr go where the command says, else to out.txt and err.txt. */
static inline int sh(const char *fmt, ...) {
    char command[2048], all[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    snprintf(all, sizeof all, "R='%s'; { %s ; } > out.txt 2> err.txt", RUSTY_PROGRAM, command);
    int st = system(all);
    return WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st);
}

static inline char *slurp(const char *path) { /* ry_mem_free */
    char *s = NULL;
    size_t n;
    if (os_file_read(path, &s, &n) != RY_OK) fail_msg("cannot read %s", path);
    return s;
}

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
static inline double number_in(const char *path, const char *key) {
    char *s = slurp(path), *at = s ? strstr(s, key) : NULL;
    if (!at) fail_msg("%s holds no %s", path, key);
    double v = at ? strtod(at + strlen(key), NULL) : 0;
    ry_mem_free(s);
    return v;
}

static inline void same_files(const char *a, const char *b) {
    char *x, *y;
    size_t n, m;
    assert_ok(os_file_read(a, &x, &n));
    assert_ok(os_file_read(b, &y, &m));
    if (n != m || memcmp(x, y, n)) fail_msg("%s and %s differ", a, b);
    ry_mem_free(x);
    ry_mem_free(y);
}

/* A folder of the test's own, made anew, with a small text and shape; the test runs in it. */
static inline void enter(const char *name) {
    ry_text t = {0};
    if (chdir(RUSTY_TEST_FOLDER)) fail_msg("no folder %s", RUSTY_TEST_FOLDER);
    os_remove_tree(name);
    assert_ok(os_mkdirs(name));
    if (chdir(name)) fail_msg("cannot enter %s", name);
    for (int i = 0; i < 400; i++) ry_text_printf(&t, "line %d of %d: the quick brown fox jumps over %d lazy dogs.\n", i, 400, i * 7 % 13);
    assert_ok(os_file_write("text.txt", t.at, t.n));
    ry_text_free(&t);
    static const char shape[] = "hidden_size: 32\nintermediate_size: 64\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 2\n"
                                "max_position_embeddings: 128\ntie_word_embeddings: true\n";
    assert_ok(os_file_write("shape.yaml", shape, sizeof shape - 1));
}
#endif
