/* replay_main.c - runs a fuzz target without libFuzzer: files named on the command line, or seeds and mutations of them.
 *
 * A target gives seeds by exporting `size_t fuzz_seeds(int i, unsigned char *buf, size_t cap)`: the bytes of seed i, 0 behind the
 * last. Mutations come from a fixed generator: the same program tries the same inputs each time (RUSTY_FUZZ_RUNS of them, default
 * 4,000), and a crash names the number of its input; RUSTY_FUZZ_ONLY=N runs input N alone. Owns no judgement: the target crashes. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#if defined(__GNUC__)
__attribute__((weak)) size_t fuzz_seeds(int i, unsigned char *buf, size_t cap);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*fn)(void));
#else
size_t fuzz_seeds(int i, unsigned char *buf, size_t cap);
#endif

enum { CAP = 1 << 16, MAX_SEEDS = 256 };
static unsigned char seeds[MAX_SEEDS][CAP];
static size_t seed_bytes[MAX_SEEDS];
static volatile long now; /* number of the input that runs */

static void say_where(void) {
    fprintf(stderr, "replay: input %ld (run it alone with RUSTY_FUZZ_ONLY=%ld)\n", now, now);
}
static void on_signal(int s) {
    say_where(); /* not safe in a handler in general; the process ends here anyway */
    signal(s, SIG_DFL);
    raise(s);
}

static uint64_t state;
static uint32_t below(uint32_t n) { /* splitmix64 */
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

/* One change of the n bytes at p; returns the new size. */
static size_t mutate(unsigned char *p, size_t n, int n_seeds) {
    static const unsigned char odd[] = {0,   1,   0x7F, 0x80, 0xFF, '"',  '{',  '}', '[',
                                        ']', ',', ':',  '-',  '9',  '\\', '\n', ' '};
    static const uint64_t odd_words[] = {
        0, 1, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000u, UINT64_MAX};
    size_t at = n ? below((uint32_t)n) : 0, room = CAP - n;
    switch (below(9)) {
    case 0:
        if (n) p[at] ^= (unsigned char)(1u << below(8));
        return n;
    case 1:
        if (n) p[at] = odd[below(sizeof odd)];
        return n;
    case 2:
        if (n) p[at] = (unsigned char)below(256);
        return n;
    case 3: { /* a number of 4 or 8 bytes */
        uint64_t v = odd_words[below(8)] + (below(2) ? below(16) : 0);
        size_t bytes = below(2) ? 4 : 8;
        if (n - at < bytes) return n;
        for (size_t i = 0; i < bytes; i++) p[at + i] = (unsigned char)(v >> 8 * i);
        return n;
    }
    case 4: return at; /* cut off */
    case 5: {          /* take out */
        size_t len = 1 + below(16);
        if (len > n - at) len = n - at;
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    }
    case 6: { /* put in */
        size_t len = 1 + below(8);
        if (len > room) return n;
        memmove(p + at + len, p + at, n - at);
        for (size_t i = 0; i < len; i++) p[at + i] = odd[below(sizeof odd)];
        return n + len;
    }
    case 7: { /* repeat a piece */
        size_t len = 1 + below(64);
        if (len > n - at) len = n - at;
        if (len > room) return n;
        memmove(p + at + len, p + at, n - at);
        return n + len;
    }
    default: { /* the end of another seed */
        if (n_seeds == 0) return n;
        int other = (int)below((uint32_t)n_seeds);
        if (at >= seed_bytes[other]) return n;
        memcpy(p + at, seeds[other] + at, seed_bytes[other] - at);
        return seed_bytes[other];
    }
    }
}

/* Runs a copy that ends where its block ends, so that a read past the end is caught. */
static void run(const unsigned char *p, size_t n) {
    unsigned char *copy = malloc(n ? n : 1);
    if (copy == NULL) exit(2);
    if (n) memcpy(copy, p, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static int run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "replay: cannot open %s\n", path);
        return 1;
    }
    size_t n = 0, cap = CAP, got = 0;
    unsigned char *p = malloc(cap);
    while (p && (got = fread(p + n, 1, cap - n, f)) > 0)
        if ((n += got) == cap) {
            unsigned char *q = realloc(p, cap *= 2);
            if (q == NULL) free(p);
            p = q;
        }
    fclose(f);
    if (p == NULL) return 2;
    run(p, n);
    free(p);
    return 0;
}

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && text[0] ? strtol(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (run_file(argv[i]) != 0) return 1;
    if (argc > 1) return 0;

    int n_seeds = 0;
#if defined(__GNUC__)
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(say_where);
    if (fuzz_seeds)
#endif
        while (n_seeds < MAX_SEEDS && (seed_bytes[n_seeds] = fuzz_seeds(n_seeds, seeds[n_seeds], CAP)) > 0) n_seeds++;
    for (int i = 0; i < n_seeds; i++) {
        if (seed_bytes[i] <= CAP) continue;
        fprintf(stderr, "replay: seed %d is larger than %d bytes\n", i, CAP);
        return 1;
    }
    static const int fatal[] = {SIGSEGV, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], on_signal);

    long runs = number("RUSTY_FUZZ_RUNS", 4000), only = number("RUSTY_FUZZ_ONLY", -1);
    static unsigned char buf[CAP];
    for (now = 0; now < runs + n_seeds; now++) {
        if (only >= 0 && now != only) continue;
        if (now < n_seeds) {
            run(seeds[now], seed_bytes[now]);
            continue;
        }
        state = (uint64_t)now * 0xD1342543DE82EF95u;
        size_t n = 0;
        if (n_seeds > 0) {
            int s = (int)below((uint32_t)n_seeds);
            n = seed_bytes[s];
            memcpy(buf, seeds[s], n);
        }
        for (uint32_t k = 1 + below(6); k > 0; k--) n = mutate(buf, n, n_seeds);
        run(buf, n);
    }
    fprintf(stderr, "replay: %d seeds and %ld mutations\n", n_seeds, runs);
    return 0;
}
