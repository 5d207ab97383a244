/* test_gpu_ids.c - rows that go by number, and orders, on a GPU against the CPU at sizes of several tiles; numbers out of range, which
 * are the CPU's error where the host feeds them and none where they come from the device; the same bits at every run. */
#include "base/rng.h"
#include "core/op.h"
#include "unit/cm.h"
#include "unit/gpu_pair.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdlib.h>
#include <string.h>

enum { LEN = 3001, COUNT = 10007, WIDTH = 20, LONG = 70001, LINES = 2, KEEP = 50 };
static int32_t ids[COUNT], columns[LINES * 5003], whole[LONG];
static float rows[COUNT * WIDTH], table[LEN * WIDTH], wide[LINES * LONG], some[LINES * 5003];

static void fill(void) {
    for (uint32_t i = 0; i < COUNT; i++) { /* one number holds a third of all, the others are met a few times each */
        uint64_t r = ry_rng_word(1, i, 0);
        ids[i] = r % 3 ? (int32_t)(r / 3 % LEN) : 77;
    }
    for (uint32_t i = 0; i < LINES * 5003; i++) columns[i] = (int32_t)(ry_rng_word(2, i, 0) % 300);
    for (uint32_t i = 0; i < LONG; i++) whole[i] = (int32_t)(ry_rng_word(3, i, 0) % 9) - 4;
    float *const all[] = {rows, table, wide, some};
    const size_t n[] = {COUNT * WIDTH, LEN * WIDTH, LINES * LONG, LINES * 5003};
    for (uint32_t k = 0; k < 4; k++)
        for (size_t i = 0; i < n[k]; i++) all[k][i] = 2 * ry_rng_unit(ry_rng_word(4 + k, 0, i)) - 1;
    for (int i = 0; i < LINES * LONG; i += 97) wide[i] = 0.25f; /* equal ones, both zeros, what is no number */
    wide[5] = -0.0f, wide[9] = 0.0f, wide[11] = NAN, wide[LONG + 3] = NAN, wide[LONG + 60000] = NAN,
    wide[17] = INFINITY;
}

enum { WANTED = 9 };
static void compute(ry_device *d, void *out[WANTED], size_t bytes[WANTED]) {
    ry_graph *g;
    assert_ok(ry_graph_open(&g, d));
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, LEN, WIDTH), "table"),
              at = ry_input(g, &RY_SHAPE(RY_I32, COUNT), "ids"),
              gy = ry_input(g, &RY_SHAPE(RY_F32, COUNT, WIDTH), "gy"),
              w = ry_input(g, &RY_SHAPE(RY_F32, LINES, LONG), "wide"),
              i = ry_input(g, &RY_SHAPE(RY_I32, LONG), "whole"),
              c = ry_input(g, &RY_SHAPE(RY_I32, LINES, 5003), "columns"),
              v = ry_input(g, &RY_SHAPE(RY_F32, LINES, 5003), "some");
    ry_tensor want[WANTED], up = ry_sort(g, w, 1, false), down = ry_sort(g, i, 0, true), most = ry_top_k(g, w, KEEP, 1);
    ry_tensor base = ry_slice(g, w, 1, 0, 300, 1);
    want[0] = ry_embedding(g, x, at);
    assert_ok(ry_grad(g, want[0], gy, 1, &x, &want[1]));
    want[2] = up, want[3] = ry_out(g, up, 1), want[4] = down, want[5] = ry_out(g, down, 1),
    want[6] = ry_out(g, most, 1);
    want[7] = ry_scatter(g, ry_add(g, base, base), c, v, 1, true);
    want[8] = ry_scatter(g, ry_add(g, base, base), c, v, 1, false);
    const ry_feed given[] = {{x, table, sizeof table}, {at, ids, sizeof ids},    {gy, rows, sizeof rows},
                             {w, wide, sizeof wide},   {i, whole, sizeof whole}, {c, columns, sizeof columns},
                             {v, some, sizeof some}};
    assert_ok(ry_eval(g, WANTED, want, sizeof given / sizeof *given, given));
    for (int k = 0; k < WANTED; k++) {
        assert_ok(ry_spec_bytes(&bytes[k], ry_spec_of(g, want[k])));
        assert_non_null(out[k] = malloc(bytes[k]));
        assert_ok(ry_read(g, want[k], out[k], bytes[k]));
    }
    ry_graph_close(g);
}

static void test_against_the_cpu(void **state) {
    (void)state;
    if (!cpu) skip();
    void *a[WANTED], *b[WANTED], *again[WANTED];
    size_t bytes[WANTED];
    fill();
    compute(cpu, a, bytes);
    compute(gpu, b, bytes);
    compute(gpu, again, bytes);
    for (int k = 0; k < WANTED; k++) {
        assert_memory_equal(b[k], again[k], bytes[k]);
        if (k == 1) { /* sums in another order */
            for (int i = 0; i < LEN * WIDTH; i++) assert_true(fabsf(((float *)a[k])[i] - ((float *)b[k])[i]) <= 2e-4f);
        } else if (k == 2) { /* no bits of what is no number are promised */
            for (int i = 0; i < LINES * LONG; i++) {
                float x = ((float *)a[k])[i], y = ((float *)b[k])[i];
                assert_true(x == y || (isnan(x) && isnan(y)));
            }
        } else {
            if (memcmp(a[k], b[k], bytes[k])) print_error("output %d\n", k);
            assert_memory_equal(a[k], b[k], bytes[k]);
        }
        free(a[k]), free(b[k]), free(again[k]);
    }
}

static void test_out_of_range(void **state) {
    (void)state;
    if (!cpu) skip();
    ry_graph *g;
    int32_t far[5] = {1, -1, 3, 0, INT32_MAX}, inverse[5];
    float x[6] = {1, 2, 3, 4, 5, 6}, y[10], gx[6], gathered[5], added[3];
    int32_t z[10];
    assert_ok(ry_graph_open(&g, gpu));
    ry_tensor t = ry_input(g, &RY_SHAPE(RY_F32, 3, 2), "x"), given = ry_input(g, &RY_SHAPE(RY_I32, 5), "ids"), at = ry_bit_not(g, given), want[5];
    ry_tensor column = ry_reshape_like(g, ry_slice(g, t, 1, 0, 1, 1), &RY_SHAPE(RY_F32, 3)),
              one = ry_fill(g, &RY_SHAPE(RY_F32, 5), 1);
    want[0] = ry_embedding(g, t, at);
    want[1] = ry_take(g, ry_cast(g, t, RY_I32), at, 0);
    assert_ok(ry_grad(g, want[0], RY_NULL, 1, &t, &want[2]));
    want[3] = ry_gather(g, column, at, 0);
    want[4] = ry_scatter(g, ry_neg(g, column), at, one, 0, true);
    for (int i = 0; i < 5; i++) inverse[i] = ~far[i];
    assert_ok(ry_eval(g, 5, want, 2, (const ry_feed[]){{t, x, sizeof x}, {given, inverse, sizeof inverse}}));
    assert_ok(ry_read(g, want[0], y, sizeof y));
    assert_ok(ry_read(g, want[1], z, sizeof z));
    assert_ok(ry_read(g, want[2], gx, sizeof gx));
    assert_ok(ry_read(g, want[3], gathered, sizeof gathered));
    assert_ok(ry_read(g, want[4], added, sizeof added));
    for (int i = 0; i < 5; i++) {
        bool there = far[i] >= 0 && far[i] < 3;
        for (int k = 0; k < 2; k++) {
            assert_true(there ? y[2 * i + k] == x[2 * far[i] + k] : isnan(y[2 * i + k]));
            assert_int_equal(z[2 * i + k], there ? (int32_t)x[2 * far[i] + k] : 0);
        }
        assert_true(there ? gathered[i] == x[2 * far[i]] : isnan(gathered[i]));
    }
    for (int i = 0; i < 3; i++) {
        assert_true(gx[2 * i] == (i < 2 ? 1 : 0) && gx[2 * i + 1] == gx[2 * i]);
        assert_true(added[i] == -x[2 * i] + (i < 2 ? 1 : 0));
    }
    ry_graph_close(g);
}

/* What the host feeds is refused with the CPU's words, whichever way it comes to the row. */
static void test_fed_out_of_range(void **state) {
    (void)state;
    if (!cpu) skip();
    enum { EMBEDDING, TAKE, GATHER, SCATTER, LOSS, HEAD, SLICED, CAST, CASES };
    const char *says[CASES] = {"embedding: ids[1,2] is 50257; it must be 0 to 2", "take: ids[1,2] is 50257; it must be 0 to 2",
                               "gather: idx[1,2] is 50257; it must be 0 to 2", "scatter: idx[1,2] is 50257; it must be 0 to 2",
                               "cross_entropy: targets[5] is 50257; it must be 0 to 2, or -100 for no loss",
                               "linear_cross_entropy: targets[5] is 50257; it must be 0 to 2, or -100 for no loss",
                               "embedding: ids[1,0] is 50257; it must be 0 to 2", "embedding: ids[1,2] is 4294967297; it must be 0 to 2"};
    int32_t good[6] = {0, 1, 2, 2, 1, 0}, bad[6] = {0, 1, 2, 2, 1, 50257};
    int64_t wide_good[6] = {0, 1, 2, 2, 1, 0}, wide_bad[6] = {0, 1, 2, 2, 1, (INT64_C(1) << 32) + 1};
    float y[64];
    for (int k = 0; k < CASES; k++)
        for (int where = 0; where < 2; where++) {
            ry_graph *g;
            assert_ok(ry_graph_open(&g, where ? gpu : cpu));
            ry_tensor in = ry_input(g, &RY_SHAPE(k == CAST ? RY_I64 : RY_I32, 2, 3), "ids"), flat = RY_RESHAPE(g, in, 6),
                      ones = ry_fill(g, &RY_SHAPE(RY_F32, 3, 4), 1), square = ry_fill(g, &RY_SHAPE(RY_F32, 2, 3), 1),
                      logits = ry_fill(g, &RY_SHAPE(RY_F32, 6, 3), 1), out = RY_NULL;
            switch (k) {
            case EMBEDDING: out = ry_embedding(g, ones, in); break;
            case TAKE: out = ry_take(g, ry_transpose(g, ones, 0, 1), in, 1); break;
            case GATHER: out = ry_gather(g, square, in, 1); break;
            case SCATTER: out = ry_scatter(g, square, in, square, 1, true); break;
            case LOSS: out = ry_cross_entropy(g, logits, flat, -100); break;
            case HEAD: out = ry_linear_cross_entropy(g, ry_fill(g, &RY_SHAPE(RY_F32, 6, 4), 1), ones, flat, NULL); break;
            case SLICED: out = ry_embedding(g, ones, ry_slice(g, in, 1, 2, 3, 1)); break;
            default: out = ry_embedding(g, ones, where ? ry_cast(g, in, RY_I32) : in); break;
            }
            ry_feed f = {in, k == CAST ? (const void *)wide_good : good, k == CAST ? sizeof wide_good : sizeof good};
            size_t bytes;
            assert_ok(ry_graph_status(g));
            assert_ok(ry_eval(g, 1, &out, 1, &f));
            f.data = k == CAST ? (const void *)wide_bad : bad;
            assert_int_equal(ry_eval(g, 1, &out, 1, &f), RY_EARG);
            if (!strstr(ry_message(), says[k])) fail_msg("%s, not %s", ry_message(), says[k]);
            f.data = k == CAST ? (const void *)wide_good : good; /* nothing is broken */
            assert_ok(ry_eval(g, 1, &out, 1, &f));
            assert_ok(ry_spec_bytes(&bytes, ry_spec_of(g, out)));
            assert_ok(ry_read(g, out, y, bytes));
            ry_graph_close(g);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_the_cpu), cmocka_unit_test(test_out_of_range), cmocka_unit_test(test_fed_out_of_range)};
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
