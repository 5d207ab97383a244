/* simd.c - which instruction sets this machine has and which one runs.  Owns that choice; computes nothing. */
#include "simd/simd.h"
#include "base/os.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const path_names[SIMD_PATHS] = {"plain", "avx2", "avx512", "neon"};
static const struct {
    unsigned bit;
    const char *name;
} extra_names[] = {{SIMD_AVX512_BF16, "avx512_bf16"}, {SIMD_AMX_BF16, "amx_bf16"}, {SIMD_AVX512_VNNI, "avx512_vnni"}, {SIMD_AVX_VNNI, "avx_vnni"}};
enum { EXTRAS = sizeof extra_names / sizeof *extra_names };

/* A choice in one word: extras, then the path, then SET. Detection always finds the same, so threads may race through it. */
enum { PATH_SHIFT = 8, SET = 1 << 16 };
static unsigned choice(simd_path p, unsigned extras) { return SET | (unsigned)p << PATH_SHIFT | extras; }
static atomic_uint machine, best,
    now; /* what the chip has; after the environment; after simd_force. 0: not looked yet */

#if defined(__x86_64__)
static unsigned detect(void) {
    unsigned a, b, c, d, b7, c7, d7, a71 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return choice(SIMD_PLAIN, 0);
    const unsigned osxsave = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave || !fma || !f16c || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return choice(SIMD_PLAIN, 0);
    unsigned lo, hi; /* which registers the system saves */
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    const bool ymm = (lo & 0x6) == 0x6, zmm = (lo & 0xe6) == 0xe6, tiles = (lo & 0x60000) == 0x60000;
    if (!ymm || !(b7 >> 5 & 1)) return choice(SIMD_PLAIN, 0);
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if (a >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    unsigned extras = a71 >> 4 & 1 ? SIMD_AVX_VNNI : 0;
    if (!zmm || (b7 & avx512) != avx512) return choice(SIMD_AVX2, extras);
    if (c7 >> 11 & 1) extras |= SIMD_AVX512_VNNI;
    if (a71 >> 5 & 1) extras |= SIMD_AVX512_BF16;
    if ((extras & SIMD_AVX512_BF16) && (d7 >> 22 & 1) && (d7 >> 24 & 1) && tiles && os_cpu_tiles())
        extras |= SIMD_AMX_BF16;
    return choice(SIMD_AVX512, extras);
}
#elif defined(__aarch64__)
static unsigned detect(void) { return choice(SIMD_NEON, 0); } /* part of the base architecture */
#else
static unsigned detect(void) { return choice(SIMD_PLAIN, 0); }
#endif

static unsigned look(void) {
    unsigned m = atomic_load(&machine);
    if (!m) atomic_store(&machine, m = detect());
    return m;
}
static simd_path path_of(unsigned c) { return (simd_path)(c >> PATH_SHIFT & 0xff); }
static unsigned extras_of(unsigned c) { return c & 0xff; }

bool simd_has(simd_path p) {
    const simd_path top = path_of(look());
    return p == SIMD_PLAIN || p == top || (p == SIMD_AVX2 && top == SIMD_AVX512);
}

/* Whether the comma-separated list holds the word. */
static bool listed(const char *list, const char *word) {
    const size_t n = strlen(word);
    while (list && *list) {
        const size_t m = strcspn(list, ",");
        if (m == n && memcmp(list, word, n) == 0) return true;
        list += m + (list[m] == ',');
    }
    return false;
}

/* Extras that are here but slow. Intel's chips run AVX512_BF16's dot products at half the rate of fp32 multiply-adds (93 against 190
 * GFLOPS on Emerald Rapids), AMD's at twice: there rounding the factors and multiplying in fp32 is the faster way. */
static unsigned slow_extras(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (__get_cpuid(0, &a, &b, &c, &d) && b == 0x756e6547u) return SIMD_AVX512_BF16; /* "Genu" */
#endif
    return 0;
}

static unsigned extras_for(simd_path p, unsigned extras) {
    return p == SIMD_AVX512 ? extras & ~(unsigned)SIMD_AVX_VNNI : p == SIMD_AVX2 ? extras & SIMD_AVX_VNNI : 0;
}

static unsigned look_best(void) {
    unsigned c = atomic_load(&best);
    if (c) return c;
    c = look();
    const char *without = os_env("RUSTY_SIMD_NO"), *want = os_env("RUSTY_SIMD");
    unsigned extras = extras_of(c) & ~slow_extras();
    for (int i = 0; i < EXTRAS; i++)
        if (listed(without, extra_names[i].name)) extras &= ~extra_names[i].bit;
    if (listed(without, "amx")) /* the family's name does too */
        extras &= ~(unsigned)SIMD_AMX_BF16;
    simd_path p = path_of(c);
    if (p == SIMD_AVX512 && listed(without, "avx512")) p = SIMD_AVX2;
    if (p == SIMD_AVX2 && listed(without, "avx2")) p = SIMD_PLAIN;
    if (p == SIMD_NEON && listed(without, "neon")) p = SIMD_PLAIN;
    for (int i = 0; want && i < SIMD_PATHS; i++) /* a path that is not here is ignored; simd_describe shows what runs */
        if (strcmp(want, path_names[i]) == 0 && simd_has((simd_path)i) && i <= (int)p) p = (simd_path)i;
    c = choice(p, extras_for(p, extras));
    atomic_store(&best, c);
    return c;
}

static unsigned look_now(void) {
    const unsigned c = atomic_load_explicit(&now, memory_order_relaxed);
    return c ? c : look_best();
}

simd_path simd_best(void) { return path_of(look_best()); }
simd_path simd_now(void) { return path_of(look_now()); }
unsigned simd_extras(void) { return extras_of(look_now()); }

void simd_force(simd_path p, unsigned extras) {
    if (simd_has(p)) atomic_store(&now, choice(p, extras_for(p, extras & extras_of(look()))));
}

const char *simd_name(simd_path p) { return (unsigned)p < SIMD_PATHS ? path_names[p] : "unknown"; }

void simd_describe(char *buf, size_t n) {
    if (n == 0) return;
    size_t used = 0;
    const unsigned c = look_now();
    for (int i = -1; i < EXTRAS; i++) {
        const char *word =
            i < 0 ? (path_of(c) == SIMD_AVX512 ? "avx512f" : simd_name(path_of(c))) : extra_names[i].name;
        if (i >= 0 && !(extras_of(c) & extra_names[i].bit)) continue;
        const char *parts[] = {i < 0 ? "" : ", ", word};
        for (int k = 0; k < 2; k++)
            for (const char *s = parts[k]; *s && used + 1 < n; s++) buf[used++] = *s;
    }
    buf[used] = 0;
}
