/* test_rng.c - Philox against published words, uniforms and normals against their definition and distribution.
 *
 * Words of Philox4x32-10: the known answers that come with Random123 (Salmon et al. 2011).  NumPy's Philox is the same text at
 * 64 bits (Philox4x64-10, counter from 1, key from SeedSequence), so of the reference data vectors/numpy_random the two files
 * philox-testset-*.csv apply, to that instance; mt19937, pcg64, pcg64dxsm and sfc64 are other generators. */
#include "base/rng.h"
#include "test_data.h"
#include "unit/cm.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

static void known_answers(void **state) {
    (void)state;
    static const uint32_t rows[3][10] = {{0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                         {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
                                          0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
                                          0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        ry_philox(rows[i], rows[i] + 4, out);
        assert_memory_equal(out, rows[i] + 6, sizeof out);
    }
}

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 wide;
RY_PHILOX(philox64, uint64_t, wide, 64, 0xD2E7470EE14C6C93u, 0xCA5A826395121157u, 0x9E3779B97F4A7C15u,
          0xBB67AE8584CAA73Bu)

static uint32_t hash_mix(uint32_t v, uint32_t *h) {
    v ^= *h;
    *h *= 0x931e8875u;
    v *= *h;
    return v ^ v >> 16;
}

/* NumPy's SeedSequence (after O'Neill's seed_seq_fe): four words of pool, mixed all with all, then the key. */
static void numpy_key(uint32_t seed, uint64_t key[2]) {
    uint32_t pool[4], h = 0x43b0d7e5u;
    for (int i = 0; i < 4; i++) pool[i] = hash_mix(i == 0 ? seed : 0, &h);
    for (int s = 0; s < 4; s++)
        for (int d = 0; d < 4; d++)
            if (s != d) {
                uint32_t m = 0xca01f9ddu * pool[d] - 0x4973f715u * hash_mix(pool[s], &h);
                pool[d] = m ^ m >> 16;
            }
    h = 0x8b51f9ddu;
    key[0] = key[1] = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t v = pool[i] ^ h;
        h *= 0x58f38dedu;
        v *= h;
        key[i / 2] |= (uint64_t)(v ^ v >> 16) << (32 * (i % 2));
    }
}

static void numpy_streams(void **state) {
    (void)state;
    char path[1024], line[128];
    for (int set = 1; set <= 2; set++) {
        char name[64];
        snprintf(name, sizeof name, "vectors/numpy_random/philox-testset-%d.csv", set);
        if (test_data(path, sizeof path, name) == NULL) skip();
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        unsigned long long seed = 0, i = 0, word = 0;
        assert_int_equal(fscanf(f, "seed, %llx\n", &seed), 1);
        uint64_t key[2], out[4] = {0};
        numpy_key((uint32_t)seed, key);
        uint64_t rows = 0;
        while (fgets(line, sizeof line, f)) {
            assert_int_equal(sscanf(line, "%llu, %llx", &i, &word), 2);
            if (i % 4 == 0) {
                const uint64_t ctr[4] = {i / 4 + 1, 0, 0, 0};
                philox64(ctr, key, out);
            }
            assert_true(out[i % 4] == word);
            rows++;
        }
        assert_true(rows >= 1000);
        fclose(f);
    }
}
#else
static void numpy_streams(void **state) {
    (void)state;
    skip(); /* needs a product of 128 bits */
}
#endif

static void words_and_uniforms(void **state) {
    (void)state;
    const uint64_t seed = 0x123456789abcdefu, starts[] = {0, 1, 2, 3, 5, 127, 128, (1ull << 34) - 6, (1ull << 40) + 3};
    const uint32_t key[2] = {0x89abcdefu, 0x01234567u};
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        for (uint64_t i = starts[s]; i < starts[s] + 9; i++) {
            const uint32_t ctr[4] = {(uint32_t)(i / 4), (uint32_t)(i / 4 >> 32), 77, 0};
            uint32_t out[4];
            ry_philox(ctr, key, out);
            assert_int_equal(ry_rng_word(seed, 77, i), out[i % 4]);
        }
        float y[301];
        for (int64_t n = 0; n <= 300; n += n < 10 ? 1 : 29) {
            y[n] = -1;
            ry_rng_uniform(y, n, seed, 77, starts[s]);
            for (int64_t k = 0; k < n; k++)
                assert_true(y[k] == ry_rng_unit(ry_rng_word(seed, 77, starts[s] + (uint64_t)k)) && y[k] >= 0 &&
                            y[k] < 1);
            assert_true(y[n] == -1); /* nothing past the end */
        }
    }
}

/* The definition in double precision, from the same words. */
static double exact_normal(uint64_t seed, uint32_t stream, uint64_t i) {
    double u = (double)(ry_rng_word(seed, stream, i & ~1ull) >> 1) * 0x1p-31 + 0x1p-32;
    double a = (double)ry_rng_word(seed, stream, i | 1) * 0x1p-32 * 2 * acos(-1.0),
           r = sqrt(-2 * log((double)(float)u));
    return r * (i & 1 ? sin(a) : cos(a));
}

static void normals(void **state) {
    (void)state;
    enum { N = 100000 };
    static float y[N], z[N];
    double worst = 0, sum[4] = {0};
    ry_rng_normal(y, N, 5, 9, 0);
    for (int i = 0; i < N; i++) {
        double e = fabs((double)y[i] - exact_normal(5, 9, (uint64_t)i));
        if (e > worst) worst = e;
        double p = 1;
        for (int k = 0; k < 4; k++) sum[k] += p *= (double)y[i];
    }
    assert_true(worst < 1e-6);                                            /* two roundings of values up to 6.7 */
    assert_true(fabs(sum[0] / N) < 0.015 && fabs(sum[1] / N - 1) < 0.02); /* five standard errors */
    assert_true(fabs(sum[2] / N) < 0.05 && fabs(sum[3] / N - 3) < 0.2);
    for (int64_t from = 0; from < 700; from += 134) { /* any even start gives the same numbers */
        ry_rng_normal(z, 333, 5, 9, (uint64_t)from);
        assert_memory_equal(z, y + from, 333 * sizeof *z);
    }
    ry_rng_normal(z, 100, 6, 9, 0);
    assert_true(memcmp(z, y, 100 * sizeof *z) != 0);
    ry_rng_normal(z, 100, 5, 10, 0);
    assert_true(memcmp(z, y, 100 * sizeof *z) != 0);
}

/* Bits that must not change with compiler, flags or machine: a run resumed elsewhere goes on alike. */
static void fixed_bits(void **state) {
    (void)state;
    float y[1000];
    uint64_t h = 0;
    ry_rng_normal(y, 1000, 42, 1, 0);
    for (int i = 0; i < 1000; i++) {
        uint32_t b;
        memcpy(&b, &y[i], sizeof b);
        h = h * 0x100000001b3u + b;
    }
    if (h != 0x1f580bd268ca3285u) print_error("hash of 1000 normals: 0x%llx\n", (unsigned long long)h);
    assert_true(h == 0x1f580bd268ca3285u);
}

static void permutations(void **state) {
    (void)state;
    int64_t p[500], q[500];
    bool seen[500] = {false};
    ry_rng_permute(p, 500, 1, 2);
    ry_rng_permute(q, 500, 1, 2);
    assert_memory_equal(p, q, sizeof p);
    for (int i = 0; i < 500; i++) {
        assert_true(p[i] >= 0 && p[i] < 500 && !seen[p[i]]);
        seen[p[i]] = true;
    }
    ry_rng_permute(q, 500, 1, 3);
    assert_true(memcmp(p, q, sizeof p) != 0);
    int counts[24] = {0}; /* all orders of four, equally often */
    for (uint32_t s = 0; s < 24000; s++) {
        ry_rng_permute(q, 4, 9, s);
        int64_t a = q[0], b = q[1] - (q[1] > a), c = q[2] - (q[2] > a) - (q[2] > q[1]);
        counts[a * 6 + b * 2 + c]++;
    }
    for (int i = 0; i < 24; i++) assert_in_range(counts[i], 845, 1155); /* five standard deviations */
    ry_rng_permute(q, 1, 0, 0);
    assert_int_equal(q[0], 0);
    ry_rng_permute(q, 0, 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers),      cmocka_unit_test(numpy_streams),
                                       cmocka_unit_test(words_and_uniforms), cmocka_unit_test(normals),
                                       cmocka_unit_test(fixed_bits),         cmocka_unit_test(permutations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
