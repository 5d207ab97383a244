/* test_gemm_deal.c - how tiles and K go to groups: every tile and every step of K once, and never slower than whole tiles by the model. */
#include "ops/_gemm.h"
#include "unit/cm.h"

static const gemm_speed tiles[] = {{128, 128, 8, 2, 46.5}, {128, 96, 16, 2, 47.5}, {64, 128, 16, 1, 40}, {32, 64, 16, 8, 30}};
enum { N = sizeof tiles / sizeof *tiles };
static const ry_caps large, small = {.features = RY_FEATURE_INTEGRATED};

static void check(const gemm_speed *t, const gemm_deal *d, int64_t n, int64_t depth) {
    int64_t steps = (depth + t->bk - 1) / t->bk;
    assert_int_equal(d->whole + d->shared, n);
    assert_true(d->whole >= 0 && d->shared >= 0 && d->parts >= 1);
    if (d->parts == 1) {
        assert_int_equal(gemm_deal_groups(d), n);
        return;
    }
    assert_true(d->lead >= 1 && d->per >= 1 && d->lead < steps);
    assert_true(d->lead + (d->parts - 1) * d->per >= steps);
    assert_true(d->lead + (d->parts - 2) * d->per < steps); /* no part is empty */
    assert_int_equal(gemm_deal_bytes(t, d), (size_t)(d->shared * d->parts * t->bm * t->bn) * 4);
}

static void all_once(void **state) {
    (void)state;
    int shared = 0, mixed = 0, led = 0;
    for (int i = 0; i < 2 * N; i++)
        for (int64_t n = 0; n < 1200; n += 7)
            for (int64_t depth = 0; depth < 6000; depth += 487) {
                const gemm_speed *tile = &tiles[i / 2];
                const ry_caps *chip = i % 2 ? &small : &large;
                gemm_deal plain = gemm_deal_of(tile, chip, n, depth, false), d = gemm_deal_of(tile, chip, n, depth, true);
                assert_int_equal(plain.parts, 1);
                check(tile, &plain, n, depth);
                check(tile, &d, n, depth);
                assert_true(d.seconds <= plain.seconds);
                shared += d.parts > 1;
                mixed += d.parts > 1 && d.whole > 0;
                led += d.parts > 1 && d.lead > d.per;
                if (depth > 300 && n) {
                    d = gemm_deal_even(tile, n, depth, 5);
                    check(tile, &d, n, depth);
                    assert_int_equal(d.whole, 0);
                }
            }
    assert_true(shared > 100 && mixed > 10 && led > 10);
}

static void fills_the_chip(void **state) {
    (void)state;
    gemm_deal d = gemm_deal_of(&tiles[3], &large, 4, 1 << 16, true); /* few tiles, long sums: many parts */
    assert_true(gemm_deal_groups(&d) >= 256);
    /* 176 tiles on 264 places: two thirds of K each, and the last thirds two in a row on what is left. */
    d = gemm_deal_of(&tiles[0], &large, 176, 2048, true);
    assert_true(d.whole == 0 && d.parts == 2 && d.lead == 2 * d.per);
    d = gemm_deal_of(&tiles[1], &large, 256, 2048, true); /* they fill it */
    assert_int_equal(d.parts, 1);
    d = gemm_deal_of(&tiles[0], &large, 36, 100, true); /* nothing to share */
    assert_int_equal(d.parts, 1);
    d = gemm_deal_of(&tiles[0], &small, 176, 2048, true); /* five waves and a half there: most tiles are whole */
    assert_true(d.whole >= 128);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_once), cmocka_unit_test(fills_the_chip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
