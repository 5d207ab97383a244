/* row_sums.h - gradients of a norm's weights: sums over rows, in a fixed order, beside the gradient of the rows.
 *
 * Phase 0: part p walks its share of the rows with sums of its own; phase 1 adds the parts' sums, columns dealt out.
 * Shared by rms_norm.c and layer_norm.c; knows no formula. */
#ifndef RY_OPS_ROW_SUMS_H
#define RY_OPS_ROW_SUMS_H
#include "base/mem.h"
#include "lines.h"

enum { ROW_SUMS_PART = 32768, ROW_SUMS_MAX = 256, ROW_SUMS_COLS = 512 };

static inline int64_t row_sums_parts(int64_t rows, int64_t n) {
    double parts = (double)rows * (double)n / ROW_SUMS_PART;
    return line_max(1, line_min(parts < ROW_SUMS_MAX ? (int64_t)parts : ROW_SUMS_MAX, rows));
}
static inline void row_sums_range(int64_t rows, int64_t parts, int64_t part, int64_t *begin, int64_t *end) {
    int64_t per = rows / parts, more = rows % parts;
    *begin = part * per + line_min(part, more);
    *end = *begin + per + (part < more);
}
/* sums: how many weights of n entries get a gradient; 0 = rows only. */
static inline ry_work row_sums_work(int64_t rows, int64_t n, int sums, size_t local) {
    int64_t parts = row_sums_parts(rows, n);
    if (!sums) return (ry_work){.parts = {parts}, .local = local};
    return (ry_work){.phases = 2,
                     .parts = {parts, line_max(1, line_div_up(n, ROW_SUMS_COLS))},
                     .local = local,
                     .scratch = ry_mem_size((size_t)parts * (size_t)sums, (size_t)n * sizeof(float), 0)};
}
/* Phase 1: y[k] [n] for each of the sums; scratch is [parts][sums][n]. */
static inline void row_sums_finish(const ry_cpu *c, int64_t parts, int64_t n, int sums, float *const *y) {
    const float *scratch = c->scratch;
    int64_t from = c->part * ROW_SUMS_COLS, m = line_min(n - from, ROW_SUMS_COLS);
    for (int k = 0; k < sums && m > 0; k++) {
        memcpy(y[k] + from, scratch + k * n + from, (size_t)m * sizeof(float));
        for (int64_t p = 1; p < parts; p++)
            simd_rows()->add(y[k] + from, y[k] + from, scratch + (p * sums + k) * n + from, m);
    }
}
#endif
