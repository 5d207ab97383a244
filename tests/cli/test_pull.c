/* test_pull.c - rusty pull against a local server that behaves, and against one that does not: what is kept is whole, or nothing is. */
#define _POSIX_C_SOURCE 200809L
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/cli.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define REPO "models--some--model"
enum { WEIGHTS = 300000 };

typedef enum { GOOD, CUT_ONCE, CUT_NO_RANGE, DAMAGED, ENDLESS, TOO_SHORT, FAILS_TWICE, NEEDS_TOKEN, REDIRECTS, STALLS_ONCE, SLOW, NO_HASHES, WRONG_RANGE } manner;
static struct {
    int fd, port;
    volatile manner how;
    volatile int requests, ranged, weights_asked; /* of model.safetensors: all, with Range */
    const char *volatile list;  /* instead of the true list */
    char weights[WEIGHTS], config[32], sums[2][HASH_HEX];
} server;

static void out(int fd, const void *data, size_t n) {
    for (const char *p = data; n;) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        p += k, n -= (size_t)k;
    }
}

static void head(int fd, const char *status, long long length, const char *more) {
    char text[512];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nConnection: close\r\n%s", status, more);
    if (length >= 0) n += snprintf(text + n, sizeof text - (size_t)n, "Content-Length: %lld\r\n", length);
    n += snprintf(text + n, sizeof text - (size_t)n, "\r\n");
    out(fd, text, (size_t)n);
}

static void list(int fd) {
    char text[2048];
    const char *with = server.how == NO_HASHES ? "" : ",";
    if (server.list) {
        head(fd, "200 OK", (long long)strlen(server.list), "");
        out(fd, server.list, strlen(server.list));
        return;
    }
    char a[160] = "", b[200] = "";
    if (*with) {
        snprintf(a, sizeof a, ",\"size\":%zu,\"blobId\":\"%s\"", strlen(server.config), server.sums[0]);
        snprintf(b, sizeof b, ",\"size\":%d,\"lfs\":{\"sha256\":\"%s\",\"size\":%d}", WEIGHTS, server.sums[1], WEIGHTS);
    }
    int n = snprintf(text, sizeof text, "{\"id\":\"some/model\",\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\".gitattributes\"},{\"rfilename\":\"pytorch_model.bin\"},"
                     "{\"rfilename\":\"config.json\"%s},{\"rfilename\":\"extra/tools.jinja\"%s},{\"rfilename\":\"model.safetensors\"%s}]}", a, a, b);
    head(fd, "200 OK", n, "");
    out(fd, text, (size_t)n);
}

static void weights(int fd, long long from) {
    char more[128] = "";
    server.weights_asked++;
    server.ranged += from > 0;
    bool first = server.weights_asked == 1;
    if (server.how == FAILS_TWICE && server.weights_asked <= 2) {
        head(fd, "503 Service Unavailable", 0, "");
        return;
    }
    if (server.how == CUT_NO_RANGE) from = 0;
    if (from > 0) snprintf(more, sizeof more, "Content-Range: bytes %lld-%d/%d\r\n", server.how == WRONG_RANGE ? from - 1 : from, WEIGHTS - 1, WEIGHTS);
    if (server.how == ENDLESS || server.how == TOO_SHORT) {
        head(fd, "200 OK", server.how == ENDLESS ? -1 : WEIGHTS - 1000, "");
        for (int i = 0; i < 3; i++) out(fd, server.weights, server.how == ENDLESS ? WEIGHTS : (WEIGHTS - 1000) / 3);
        return;
    }
    head(fd, from > 0 ? "206 Partial Content" : "200 OK", WEIGHTS - from, more);
    size_t n = (size_t)(WEIGHTS - from);
    bool cut = first && (server.how == CUT_ONCE || server.how == CUT_NO_RANGE || server.how == STALLS_ONCE || server.how == WRONG_RANGE);
    if (server.how == DAMAGED) {
        out(fd, "not what was promised", 21);
        out(fd, server.weights + 21, n - 21);
    } else if (server.how == SLOW)
        for (size_t i = 0; i < n; i += 10000, os_sleep(0.02)) out(fd, server.weights + from + i, n - i < 10000 ? n - i : 10000);
    else out(fd, server.weights + from, cut ? 100000 : n);
    if (server.how == STALLS_ONCE && first) sleep(4);
}

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static void *serve(void *ud) {
    (void)ud;
    for (;;) {
        int fd = accept(server.fd, NULL, NULL);
        char ask[4096];
        size_t n = 0;
        while (n < sizeof ask - 1) {
            ssize_t k = recv(fd, ask + n, sizeof ask - 1 - n, 0);
            if (k <= 0) break;
            n += (size_t)k;
            ask[n] = 0;
            if (strstr(ask, "\r\n\r\n")) break;
        }
        ask[n] = 0;
        server.requests++;
        long long from = 0;
        const char *range = strstr(ask, "Range: bytes=");
        if (range) from = atoll(range + 13);
        bool model = begins(ask, "GET /some/model/resolve/" COMMIT "/model.safetensors ");
        if (server.how == NEEDS_TOKEN && !strstr(ask, "Authorization: Bearer secret\r\n")) head(fd, "401 Unauthorized", 0, "");
        else if (begins(ask, "GET /api/models/some/model/revision/main?blobs=true ")) list(fd);
        else if (model && server.how == REDIRECTS) head(fd, "302 Found", 0, "Location: /elsewhere\r\n");
        else if (model || begins(ask, "GET /elsewhere ")) weights(fd, from);
        else if (strstr(ask, "/config.json ") || strstr(ask, "/extra/tools.jinja ")) {
            head(fd, "200 OK", (long long)strlen(server.config), "");
            out(fd, server.config, strlen(server.config));
        } else head(fd, "404 Not Found", 0, "");
        close(fd);
    }
    return NULL;
}

static void begin(const char *name, manner how) {
    enter(name);
    setenv("HF_HUB_CACHE", "cache", 1);
    unsetenv("HF_TOKEN");
    unsetenv("HF_HUB_OFFLINE");
    server.how = how;
    server.list = NULL;
    server.requests = server.ranged = server.weights_asked = 0;
}

static void whole(void) {
    assert_run(0, "[ \"$(cat cache/" REPO "/refs/main)\" = " COMMIT " ]");
    char *got = slurp("cache/" REPO "/snapshots/" COMMIT "/model.safetensors");
    assert_memory_equal(got, server.weights, WEIGHTS);
    ry_mem_free(got);
    assert_run(0, "cmp cache/" REPO "/snapshots/" COMMIT "/config.json cache/" REPO "/snapshots/" COMMIT "/extra/tools.jinja");
    assert_run(0, "[ -L cache/" REPO "/snapshots/" COMMIT "/extra/tools.jinja ] && [ -z \"$(find cache -name '*.incomplete')\" ]");
    assert_run(0, "[ ! -e cache/" REPO "/snapshots/" COMMIT "/pytorch_model.bin ]");
}

static void nothing(void) { assert_run(0, "[ ! -e cache/" REPO "/refs/main ] && [ -z \"$(find cache -name '*.incomplete' 2> /dev/null)\" ]"); }

static void test_good(void **state) {
    (void)state;
    begin("pull", GOOD);
    assert_run(0, "$R pull some/model");
    assert_in("out.txt", "cache/" REPO "/snapshots/" COMMIT);
    whole();
    int asked = server.weights_asked;
    assert_run(0, "$R pull some/model"); /* all is here: only the list is asked for */
    assert_int_equal(server.weights_asked, asked);
    assert_run(0, "HF_HUB_OFFLINE=1 $R pull some/model --json");
    assert_in("out.txt", "{\"path\":");
    assert_run(1, "HF_HUB_OFFLINE=1 $R pull some/other");
    assert_in("err.txt", "HF_HUB_OFFLINE");
    /* what damage a crash may leave between two pulls */
    assert_run(0, "rm -rf cache/" REPO "/refs cache/" REPO "/snapshots cache/" REPO "/blobs/%s; head -c 70000 /dev/zero > cache/" REPO "/blobs/%s.incomplete", server.sums[1], server.sums[1]);
    assert_run(0, "$R pull some/model");
    whole();
}

static void good_with(const char *name, manner how, const char *options) {
    begin(name, how);
    assert_run(0, "$R pull some/model %s", options);
    whole();
}

static void test_mended(void **state) {
    (void)state;
    good_with("cut", CUT_ONCE, "");
    assert_int_equal(server.ranged, 1);
    good_with("cut_no_range", CUT_NO_RANGE, "");
    good_with("wrong_range", WRONG_RANGE, ""); /* begins anew */
    good_with("fails_twice", FAILS_TWICE, "");
    assert_int_equal(server.weights_asked, 3);
    good_with("redirects", REDIRECTS, "");
    good_with("stalls", STALLS_ONCE, "--patience 1");
    assert_int_equal(server.ranged, 1);
    good_with("no_hashes", NO_HASHES, "");
    begin("token", NEEDS_TOKEN);
    assert_run(1, "$R pull some/model");
    assert_in("err.txt", "HF_TOKEN");
    assert_run(0, "HF_TOKEN=secret $R pull some/model");
    whole();
}

static void test_refused(void **state) {
    (void)state;
    begin("damaged", DAMAGED);
    assert_run(1, "$R pull some/model");
    assert_in("err.txt", "damaged");
    nothing();
    begin("endless", ENDLESS);
    assert_run(1, "$R pull some/model");
    assert_in("err.txt", "more than");
    nothing();
    begin("too_short", TOO_SHORT);
    assert_run(1, "$R pull some/model");
    assert_in("err.txt", "promised");
    nothing();
    static const char *const lists[][2] = {
        {"<html>busy</html>", "some/model"},
        {"[]", "object"},
        {"{\"siblings\":[]}", "sha"},
        {"{\"sha\":\"" COMMIT "\",\"siblings\":[]}", "no file"},
        {"{\"sha\":\"../../../../etc\",\"siblings\":[]}", "commit"},
        {"{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"../../../evil.json\"}]}", "rfilename"},
        {"{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"/etc/evil.json\"}]}", "rfilename"},
        {"{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":7}]}", "rfilename"},
        {"{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a.gguf\"},{\"rfilename\":\"b.gguf\"}]}", "--include"},
        {"{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"gone.json\"}]}", "404"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        begin("lists", GOOD);
        server.list = lists[i][0];
        assert_run(1, "$R pull some/model");
        assert_in("err.txt", lists[i][1]);
        nothing();
    }
    begin("words", GOOD);
    assert_run(1, "$R pull ../some");
    assert_in("err.txt", "ORG/NAME");
    assert_run(1, "$R pull some/nothing");
    assert_in("err.txt", "404");
    assert_run(2, "$R pull");
    assert_run(1, "HF_ENDPOINT=http://127.0.0.1:1 $R pull some/model");
    assert_in("err.txt", "127.0.0.1:1");
}

static void test_stopped(void **state) {
    (void)state;
    begin("stopped", SLOW);
    assert_run(130, "$R pull some/model & P=$!; while kill -0 $P && [ ! -s cache/" REPO "/blobs/%s.incomplete ]; do sleep 0.01; done; kill -INT $P; wait $P", server.sums[1]);
    assert_in("err.txt", "run it again");
    server.how = GOOD;
    server.ranged = 0;
    assert_run(0, "$R pull some/model");
    assert_int_equal(server.ranged, 1);
    whole();
}

/* A model that is called by its name, as it lies in the cache. */
static void test_by_name(void **state) {
    (void)state;
    begin("by_name", GOOD);
    assert_run(0, "$R train --config shape.yaml --data text.txt --tokenizer chars --seq-len 32 -b 2 --iters 1 -o cache/models--a--b/snapshots/" COMMIT);
    assert_run(0, "mkdir -p cache/models--a--b/refs && printf " COMMIT " > cache/models--a--b/refs/main");
    assert_run(0, "$R run -m a/b -p line -n 2");
    assert_run(0, "$R eval -m a/b --data text.txt --seq-len 32");
    assert_run(1, "$R run -m a/c -p line -n 2");
    assert_in("err.txt", "rusty pull a/c");
    assert_run(1, "$R run -m ../b -p line -n 2");
    assert_in("err.txt", "no such file");
}

static int open_server(void **state) {
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    pthread_t thread;
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&at, n) || listen(server.fd, 16) || getsockname(server.fd, (struct sockaddr *)&at, &n)) return -1;
    uint32_t x = 1;
    for (int i = 0; i < WEIGHTS; i++) server.weights[i] = (char)((x = x * 1664525u + 1013904223u) >> 24);
    strcpy(server.config, "{\"model_type\":\"llama\"}\n");
    hash_git_blob(server.sums[0], server.config, strlen(server.config));
    hash_sha256(server.sums[1], server.weights, WEIGHTS);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    setenv("HF_ENDPOINT", url, 1);
    setenv("no_proxy", "*", 1);
    setenv("HF_HOME", "home", 1);
    return pthread_create(&thread, NULL, serve, NULL);
}

int main(void) {
#ifndef RUSTY_HAVE_CURL
    puts("built without libcurl: nothing to test");
    return 77;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_mended), cmocka_unit_test(test_refused), cmocka_unit_test(test_stopped), cmocka_unit_test(test_by_name)};
    return cmocka_run_group_tests(tests, open_server, NULL);
}
