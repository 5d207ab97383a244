/* test_blocks.c - GGUF's block formats on every path of this machine: ggml's own blocks widened to ggml's bits, windows of rows,
 * quantisers against ggml's bits or its error, and inputs that are no numbers. */
#include "core/op.h"
#include "simd/blocks.h"
#include "simd/halves.h"
#include "simd/rows.h"
#include "simd/simd.h"
#include "test_data.h"
#include "unit/cm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EACH_PATH(t)                              \
    for (int path = 0; path < SIMD_PATHS; path++) \
        for (const simd_rows_table *t = simd_rows_of(path); t; t = NULL)
#define EACH_FORMAT(t)                                                        \
    for (ry_dtype t = (ry_dtype)(RY_NONE + 1); t < RY_DTYPE_COUNT; t = (ry_dtype)(t + 1)) \
        if (ry_dtype_row(t)->kind == RY_KIND_BLOCK)

/* A file of the folder, or NULL. */
static void *slurp(const char *folder, const char *name, const char *end, size_t *bytes) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, end);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *bytes = (size_t)ftell(f);
    rewind(f);
    void *p = malloc(*bytes + 1);
    assert_true(p && fread(p, 1, *bytes, f) == *bytes);
    fclose(f);
    return p;
}

static double rms_error(const float *x, const float *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sqrt(sum / (double)n);
}

/* Floats, what ggml makes of them, and what it reads back. */
static void ggml_vectors(void **state) {
    (void)state;
    size_t bytes, q_bytes, dq_bytes;
    char buf[4096];
    const char *folder = test_data(buf, sizeof buf, "vectors/ggml_quant");
    if (!folder) skip();
    float *in = slurp(folder, "input_f32", ".bin", &bytes);
    assert_non_null(in);
    const int64_t n = (int64_t)(bytes / 4);
    int found = 0;
    for (ry_dtype k = (ry_dtype)(RY_NONE + 1); k < RY_DTYPE_COUNT; k = (ry_dtype)(k + 1)) {
        unsigned char *q = slurp(folder, ry_dtype_name(k), ".q.bin", &q_bytes);
        float *dq = slurp(folder, ry_dtype_name(k), ".dq_f32.bin", &dq_bytes);
        if (q && dq) {
            const bool bits = k < RY_Q2_K && k != RY_IQ4_NL;
            unsigned char *mine = malloc(q_bytes);
            float *back = malloc(bytes);
            assert_true(mine && back && q_bytes == ry_bytes_of(k, n) && dq_bytes == bytes);
            EACH_PATH(t) {
                t->to_f32(back, q, k, n);
                assert_memory_equal(back, dq, bytes);
                t->from_f32(mine, in, k, n);
                for (size_t i = 0; bits && i < q_bytes; i++)
                    if (mine[i] != q[i]) fail_msg("%s: byte %zu is %d, not %d", ry_dtype_name(k), i, mine[i], q[i]);
                t->to_f32(back, mine, k, n);
                const double theirs = rms_error(in, dq, n), ours = rms_error(in, back, n);
                if (!(ours <= 1.02 * theirs)) fail_msg("%s: error %g, ggml's is %g", ry_dtype_name(k), ours, theirs);
            }
            free(mine);
            free(back);
            found++;
        }
        free(q);
        free(dq);
    }
    free(in);
    assert_true(found > 0);
}

static uint32_t seed = 12345;
static uint32_t next(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}
static float uniform(void) { return (float)next() * 0x1p-23f - 1.0f; } /* [-1, 1) */

enum { BLOCKS = 3, MOST = BLOCKS * SUPER_BLOCK };
static unsigned char blocks[MOST * 2], again[MOST * 2];
static float x[MOST], y[MOST + 1], want[MOST];

/* Any bytes are blocks; each path reads them as the plain one does, whole or in part, and no further. */
static void any_bytes(void **state) {
    (void)state;
    EACH_FORMAT(k) {
        for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (unsigned char)next();
        simd_rows_of(SIMD_PLAIN)->to_f32(want, blocks, k, MOST);
        EACH_PATH(t) {
            for (int64_t from = 0; from < MOST; from += 7 * BLOCK_PART)
                for (int64_t n = 0; n <= MOST - from; n += BLOCK_PART) {
                    y[n] = 12345.0f;
                    t->widen_blocks(y, blocks, k, from, n);
                    assert_true(y[n] == 12345.0f);
                    for (int64_t i = 0; i < n; i++)
                        if (!(y[i] == want[from + i]) && !(isnan(y[i]) && isnan(want[from + i])))
                            fail_msg("%s, %s: value %lld of a window of %lld is %g, not %g", simd_name((simd_path)path), ry_dtype_name(k), (long long)(from + i),
                                     (long long)n, (double)y[i], (double)want[from + i]);
                }
        }
    }
}

/* The error of one value of a block whose values reach from -1 to 1, at most: a step of the codes and what scales lose. */
static double step(ry_dtype k) {
    return k == RY_Q2_K ? 0.9 : k == RY_IQ4_NL ? 0.2 : k == RY_MXFP4 ? 0.25 : 2.4 / (1 << ry_dtype_row(k)->bits);
}

static void quantised(void **state) {
    (void)state;
    EACH_FORMAT(k)
    for (int form = 0; form < 6; form++) {
        for (int64_t i = 0; i < MOST; i++)
            x[i] = form == 0   ? uniform()
                   : form == 1 ? 0.0f                       /* zeros stay */
                   : form == 2 ? 0.75f                      /* equal values */
                   : form == 3 ? 1e-9f * uniform()          /* scales vanish */
                   : form == 4 ? (float[]){NAN, INFINITY, -INFINITY, 3e38f}[next() % 4]
                               : 0.25f + 0.5f * uniform(); /* not about 0 */
        EACH_PATH(t) {
            const size_t bytes = ry_bytes_of(k, MOST);
            memset(again, 0x5a, sizeof again);
            t->from_f32(again, x, k, MOST);
            for (size_t i = bytes; i < sizeof again; i++) assert_int_equal(again[i], 0x5a);
            if (path == SIMD_PLAIN) memcpy(blocks, again, sizeof blocks);
            assert_memory_equal(again, blocks, bytes);
            if (form == 4) continue;
            t->to_f32(y, again, k, MOST);
            for (int64_t i = 0; i < MOST; i++)
                if (!(fabs((double)y[i] - (double)x[i]) <= (form == 1 ? 0 : form == 3 ? 1e-6 : step(k))))
                    fail_msg("%s, form %d: %g became %g", ry_dtype_name(k), form, (double)x[i], (double)y[i]);
        }
    }
}

/* MXFP4 by the document's own words: every scale with every code; then what the nearest of them is. */
static void microscaling(void **state) {
    static const float value[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    (void)state;
    for (int e = 0; e < 255; e++) {
        blocks[0] = (unsigned char)e;
        for (int i = 0; i < 16; i++) blocks[1 + i] = (unsigned char)(i | (15 - i) << 4);
        for (int i = 0; i < 32; i++) {
            const int code = i < 16 ? i : 31 - i;
            want[i] = ldexpf(code < 8 ? value[code] : -value[code - 8], e - 127);
        }
        EACH_PATH(t) {
            t->to_f32(y, blocks, RY_MXFP4, 32);
            for (int i = 0; i < 32; i++)
                if (!(y[i] == want[i])) fail_msg("scale %d: value %d is %g, not %g", e, i, (double)y[i], (double)want[i]);
        }
    }
    for (int i = 0; i < 32; i++) x[i] = want[i] = 0;
    const float in[] = {6, -6, 5.01f, 5, 2.5f, -2.5f, 2.6f, 0.25f, -0.25f, 0.26f, NAN, 7.9f, -0.0f},
                near[] = {6, -6, 6, 4, 2, -2, 3, 0, 0, 0.5f, 0, 6, 0};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) x[2 * i] = in[i], want[2 * i] = near[i];
    EACH_PATH(t) {
        t->from_f32(blocks, x, RY_MXFP4, 32);
        assert_int_equal(blocks[0], 127);
        t->to_f32(y, blocks, RY_MXFP4, 32);
        for (int i = 0; i < 32; i++)
            if (!(y[i] == want[i])) fail_msg("%g became %g, not %g", (double)x[i], (double)y[i], (double)want[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ggml_vectors), cmocka_unit_test(any_bytes), cmocka_unit_test(quantised), cmocka_unit_test(microscaling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
