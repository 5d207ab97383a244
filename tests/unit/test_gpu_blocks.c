/* test_gpu_blocks.c - every block dtype on a GPU against the CPU: read as numbers, by rows of an embedding, in products of one row, of few
 * and of many. Skips where there is no adapter. */
#include "unit/gpu_pair.h"
#include "core/sample.h"
#include <math.h>
#include <rusty/ops.h>

enum { WHOLE, ROWS, PRODUCT };

/* One tensor of the block dtype, seen in one way; the result is malloc's, n floats. */
static float *run_on(ry_device *d, ry_dtype t, int way, int64_t rows, int64_t n, int64_t k, size_t *count) {
    ry_graph *g;
    feeds f = {0};
    size_t bytes;
    ry_spec s = RY_SHAPE(t, n, k);
    assert_ok(ry_graph_open(&g, d));
    assert_ok(ry_spec_bytes(&bytes, &s));
    void *w = malloc(bytes);
    assert_non_null(w);
    assert_ok(ry_sample_fill(w, t, n * k, 0, 0, 5, (uint32_t)t));
    ry_tensor y, weight = feed(g, &f, s, w);
    if (way == WHOLE) {
        y = ry_cast(g, weight, RY_F32);
    } else if (way == ROWS) {
        int32_t *ids = malloc((size_t)rows * sizeof *ids);
        assert_non_null(ids);
        for (int64_t i = 0; i < rows; i++) ids[i] = (int32_t)((i * 7 + 3) % n);
        y = ry_embedding(g, weight, feed(g, &f, RY_SHAPE(RY_I32, rows), ids));
    } else {
        float *x = malloc((size_t)(rows * k) * sizeof *x);
        assert_non_null(x);
        assert_ok(ry_sample_fill(x, RY_F32, rows * k, -1, 1, 6, 1));
        y = ry_linear(g, feed(g, &f, RY_SHAPE(RY_F32, rows, k), x), weight, RY_NULL);
    }
    y = ry_cast(g, y, RY_F32);
    assert_ok(ry_eval(g, 1, &y, f.n, f.at));
    *count = (size_t)ry_count(ry_spec_of(g, y));
    float *out = malloc(*count * sizeof *out);
    assert_non_null(out);
    assert_ok(ry_read(g, y, out, *count * sizeof *out));
    ry_graph_close(g);
    for (size_t i = 0; i < f.n; i++) free((void *)(uintptr_t)f.at[i].data);
    return out;
}

static void compare(ry_dtype t, int way, int64_t rows, int64_t n, int64_t k) {
    size_t count, same;
    float *want = run_on(cpu, t, way, rows, n, k, &count), *got = run_on(gpu, t, way, rows, n, k, &same);
    double largest = 0, error = 0;
    assert_int_equal(count, same);
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        error = fmax(error, fabs((double)got[i] - (double)want[i]));
    }
    assert_true(largest > 0);
    if (!(error <= 3e-6 * largest)) fail_msg("%s, way %d, %lld rows of [%lld,%lld]: off by %g of %g", ry_dtype_name(t), way, (long long)rows, (long long)n, (long long)k, error, largest);
    free(want);
    free(got);
}

static void all_formats(void **state) {
    (void)state;
    if (!gpu) skip();
    for (int t = RY_NONE + 1; t < RY_DTYPE_COUNT; t++) {
        if (ry_dtype_row((ry_dtype)t)->kind != RY_KIND_BLOCK) continue;
        compare((ry_dtype)t, WHOLE, 0, 3, 512);
        compare((ry_dtype)t, ROWS, 5, 9, 768);
        compare((ry_dtype)t, PRODUCT, 1, 37, 512);
        compare((ry_dtype)t, PRODUCT, 1, 72, 2816);
        compare((ry_dtype)t, PRODUCT, 3, 20, 768);
        compare((ry_dtype)t, PRODUCT, 70, 65, 256);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_formats)};
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
