/* tokenizer.c - bench of tokenizers: opening, and a text to ids and back, whole and line by line; the best of five, by processor time of
 * one thread. Its peer is bench/peers/hf_tokenizers.py.
 *
 *   tokenizer MODEL TEXT
 *
 * cc -O2 -Iinclude -Isrc bench/tokenizer.c build/release/librusty.a (and what librusty needs). */
#include "base/os.h"
#include <rusty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }
static void check(ry_status st) {
    if (st == RY_OK) return;
    fprintf(stderr, "%s\n", ry_message());
    exit(1);
}

int main(int argc, char **argv) {
    double open = 1e9, whole = 1e9, lines = 1e9, back = 1e9;
    ry_tokenizer *t = NULL;
    os_map text;
    size_t n_ids = 0, n_lines = 0;
    if (argc != 3) return 2;
    check(os_map_open(&text, argv[2]));
    for (int run = 0; run < 5; run++) {
        ry_tokenizer_close(t);
        double begin = seconds(), now;
        check(ry_tokenizer_open(&t, argv[1]));
        now = seconds();
        if (now - begin < open) open = now - begin;
        int32_t *ids;
        char *again;
        size_t n;
        begin = seconds();
        check(ry_encode(t, text.data, text.bytes, false, &ids, &n_ids));
        now = seconds();
        if (now - begin < whole) whole = now - begin;
        begin = now;
        check(ry_decode(t, ids, n_ids, false, false, &again, &n));
        now = seconds();
        if (now - begin < back) back = now - begin;
        ry_free(ids);
        ry_free(again);
        const char *at = text.data, *end = at + text.bytes;
        begin = seconds();
        for (n_lines = 0; at < end; n_lines++) {
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            size_t len = stop ? (size_t)(stop - at) + 1 : (size_t)(end - at);
            check(ry_encode(t, at, len, false, &ids, &n));
            ry_free(ids);
            at += len;
        }
        now = seconds();
        if (now - begin < lines) lines = now - begin;
    }
    double mb = (double)text.bytes / 1e6;
    printf("open %.0f ms; %.1f MB, %zu ids: whole %.1f MB/s; %zu lines %.1f MB/s; decode %.1f MB/s\n", open * 1e3, mb, n_ids, mb / whole, n_lines,
           mb / lines, mb / back);
    ry_tokenizer_close(t);
    os_map_close(&text);
    return 0;
}
