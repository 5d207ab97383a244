/* cli.c - running the program from a test, as a shell would. */
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

int sh(const char *fmt, ...) {
    char command[2048], all[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    snprintf(all, sizeof all, "R='%s'; { %s ; } > out.txt 2> err.txt", RUSTY_PROGRAM, command);
    int st = system(all);
    return WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st);
}

char *slurp(const char *path) {
    char *s;
    size_t n;
    assert_ok(os_file_read(path, &s, &n));
    return s;
}

double number_in(const char *path, const char *key) {
    char *s = slurp(path);
    double v = 0;
    bool found = s && strstr(s, key);
    if (found) v = strtod(strstr(s, key) + strlen(key), NULL);
    ry_mem_free(s);
    if (!found) fail_msg("%s holds no %s", path, key);
    return v;
}

void same_files(const char *a, const char *b) {
    char *x, *y;
    size_t n, m;
    assert_ok(os_file_read(a, &x, &n));
    assert_ok(os_file_read(b, &y, &m));
    if (n != m || memcmp(x, y, n)) fail_msg("%s and %s differ", a, b);
    ry_mem_free(x);
    ry_mem_free(y);
}

void enter(const char *name) {
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

bool gpu_is_here(const char *folder) {
    enter(folder);
    bool here = sh("$R devices --json") == 0;
    char *all = slurp("out.txt");
    here = here && strstr(all, "\"device\":\"webgpu") && !strstr(all, "\"missing\"");
    ry_mem_free(all);
    if (!here) printf("skipped: no GPU, nor a driver in software, is here\n");
    return here;
}
