/* seeds.h - seeds of a fuzz target as a table of strings.  Header of tests only. */
#ifndef FUZZ_SEEDS_H
#define FUZZ_SEEDS_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seeds(int i, unsigned char *buf, size_t cap); /* the bytes of seed i; 0 behind the last */

static inline size_t seed_of(const char *const *table, size_t n, int i, unsigned char *buf, size_t cap) {
    if (i < 0 || (size_t)i >= n) return 0;
    size_t len = strlen(table[i]);
    if (len > cap) len = cap;
    memcpy(buf, table[i], len);
    return len;
}

/* A broken promise: fuzzers see it as a crash. */
#define must(expr)            \
    do {                      \
        if (!(expr)) abort(); \
    } while (0)
#endif
