/* lines.h - walking a tensor line by line, for rows that work along one axis (reductions, sort, softmax, indexing ...).
 *
 * A line is what lies along one axis. Owns nothing: inline helpers on offsets and short
 * spellings for samples; knows no formula. */
#ifndef RY_OPS_LINES_H
#define RY_OPS_LINES_H
#include "core/op.h"
#include "simd/rows.h"
#include <string.h>

enum { LINE_CHUNK = 2048 }; /* elements that are converted or gathered at a time: well inside the first-level cache */

static inline int64_t line_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t line_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t line_div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Range of part `part` where `n` things are dealt out `per` at a time. */
static inline void line_range(int64_t n, int64_t per, int64_t part, int64_t *begin, int64_t *end) {
    *begin = part * per;
    *end = line_min(*begin + per, n);
}

static inline size_t line_size(ry_dtype t) { return (size_t)ry_dtype_row(t)->bytes; }
static inline const void *line_at(const void *data, size_t size, int64_t i) {
    return (const char *)data + i * (int64_t)size;
}
static inline void *line_put(void *data, size_t size, int64_t i) { return (char *)data + i * (int64_t)size; }

/* dst[i] = src[i * stride], and dst[i * stride] = src[i]: n elements of `size` bytes (1, 2, 4 or 8). */
static inline void line_gather(void *dst, const void *src, size_t size, int64_t stride, int64_t n) {
    if (stride == 1)
        memcpy(dst, src, (size_t)n * size);
    else if (size == 4)
        for (int64_t i = 0; i < n; i++) ((uint32_t *)dst)[i] = ((const uint32_t *)src)[i * stride];
    else if (size == 2)
        for (int64_t i = 0; i < n; i++) ((uint16_t *)dst)[i] = ((const uint16_t *)src)[i * stride];
    else if (size == 8)
        for (int64_t i = 0; i < n; i++) ((uint64_t *)dst)[i] = ((const uint64_t *)src)[i * stride];
    else
        for (int64_t i = 0; i < n; i++) ((uint8_t *)dst)[i] = ((const uint8_t *)src)[i * stride];
}
static inline void line_scatter(void *dst, const void *src, size_t size, int64_t stride, int64_t n) {
    if (stride == 1)
        memcpy(dst, src, (size_t)n * size);
    else if (size == 4)
        for (int64_t i = 0; i < n; i++) ((uint32_t *)dst)[i * stride] = ((const uint32_t *)src)[i];
    else if (size == 2)
        for (int64_t i = 0; i < n; i++) ((uint16_t *)dst)[i * stride] = ((const uint16_t *)src)[i];
    else if (size == 8)
        for (int64_t i = 0; i < n; i++) ((uint64_t *)dst)[i * stride] = ((const uint64_t *)src)[i];
    else
        for (int64_t i = 0; i < n; i++) ((uint8_t *)dst)[i * stride] = ((const uint8_t *)src)[i];
}

/* n <= LINE_CHUNK floats from element `at`, `stride` elements apart, of any float dtype; the storage itself if it can be. */
static inline const float *line_load(const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n, float *buf) {
    if (stride == 1) return ry_load_row(data, t, at, n, buf);
    size_t size = line_size(t);
    if (t == RY_F32) {
        line_gather(buf, line_at(data, size, at), size, stride, n);
        return buf;
    }
    uint64_t raw[LINE_CHUNK];
    line_gather(raw, line_at(data, size, at), size, stride, n);
    return ry_load_row(raw, t, 0, n, buf);
}
static inline void line_store(void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n, const float *x) {
    if (stride == 1) {
        ry_store_row(data, t, at, n, x);
        return;
    }
    size_t size = line_size(t);
    if (t == RY_F32) {
        line_scatter(line_put(data, size, at), x, size, stride, n);
        return;
    }
    uint64_t raw[LINE_CHUNK];
    ry_store_row(raw, t, 0, n, x);
    line_scatter(line_put(data, size, at), raw, size, stride, n);
}

/* A whole line of any length: the storage itself, or buf (n floats). */
static inline const float *line_whole(const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n, float *buf) {
    if (stride == 1) return ry_load_row(data, t, at, n, buf);
    for (int64_t i = 0; i < n; i += LINE_CHUNK)
        (void)line_load(data, t, at + i * stride, stride, line_min(n - i, LINE_CHUNK), buf + i);
    return buf;
}
static inline void line_store_whole(void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n, const float *x) {
    if (stride == 1) {
        ry_store_row(data, t, at, n, x);
        return;
    }
    for (int64_t i = 0; i < n; i += LINE_CHUNK)
        line_store(data, t, at + i * stride, stride, line_min(n - i, LINE_CHUNK), x + i);
}
/* Where to write a line before line_store_whole. */
static inline float *line_out(void *data, ry_dtype t, int64_t at, int64_t stride, float *buf) {
    return stride == 1 ? ry_row_out(data, t, at, buf) : buf;
}

/* The lines of a strided value along `axis`, in row-major order of the other dims. A scalar is one line. */
typedef struct line_walk {
    int64_t at; /* offset of the present line's first element */
    int n;
    int64_t len[RY_MAX_RANK], stride[RY_MAX_RANK], pos[RY_MAX_RANK];
} line_walk;
static inline void line_walk_next(line_walk *w) {
    for (int i = w->n - 1; i >= 0; i--) {
        w->at += w->stride[i];
        if (++w->pos[i] < w->len[i]) return;
        w->at -= w->stride[i] * w->len[i];
        w->pos[i] = 0;
    }
}
static inline void line_walk_begin(line_walk *w, const ry_value *v, int axis, int64_t line) {
    w->n = 0, w->at = 0;
    for (int i = 0; i < v->spec.rank; i++)
        if (i != axis) w->len[w->n] = v->spec.dim[i], w->stride[w->n++] = v->stride[i];
    for (int i = w->n - 1; i >= 0; i--) {
        w->pos[i] = w->len[i] ? line % w->len[i] : 0;
        w->at += w->pos[i] * w->stride[i];
        if (w->len[i]) line /= w->len[i];
    }
}

/* n <= LINE_CHUNK integers of any integer dtype. */
static inline void line_integers(int64_t *y, const void *data, ry_dtype t, int64_t at, int64_t stride, int64_t n) {
    switch (t) {
    case RY_I64:
        for (int64_t i = 0; i < n; i++) y[i] = ((const int64_t *)data)[at + i * stride];
        break;
    case RY_I32:
        for (int64_t i = 0; i < n; i++) y[i] = ((const int32_t *)data)[at + i * stride];
        break;
    case RY_I8:
        for (int64_t i = 0; i < n; i++) y[i] = ((const int8_t *)data)[at + i * stride];
        break;
    default:
        for (int64_t i = 0; i < n; i++) y[i] = ((const uint8_t *)data)[at + i * stride];
        break;
    }
}

/* Entries of ry_sample.src: floats, integers in [a,b), listed integers, a scalar, one left out. */
#define SRC_DIMS(...) .dim = {__VA_ARGS__}, .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)
#define SRC_F(...) \
    { .dtype = RY_F32, SRC_DIMS(__VA_ARGS__) }
#define SRC_RANGE(a, b, ...) \
    { .dtype = RY_F32, .lo = a, .hi = b, SRC_DIMS(__VA_ARGS__) }
#define SRC_I(t, a, b, ...) \
    { .dtype = t, .lo = a, .hi = b, SRC_DIMS(__VA_ARGS__) }
#define SRC_LIST(t, list, ...) \
    { .dtype = t, .values = list, SRC_DIMS(__VA_ARGS__) }
#define SRC_SCALAR \
    { .dtype = RY_F32 }
#define SRC_NONE \
    { .dtype = RY_NONE }

/* Asks for the bytes of a row that comes next, while the present one is in work: rows are too short for the hardware's guess. */
static inline void line_ahead(const void *data, ry_dtype t, int64_t at, int64_t n) {
#if defined(__GNUC__)
    const char *p = (const char *)data + at * (int64_t)line_size(t);
    for (int64_t i = 0, bytes = line_min(n * (int64_t)line_size(t), 16384); i < bytes; i += 64)
        __builtin_prefetch(p + i);
#else
    (void)data, (void)t, (void)at, (void)n;
#endif
}

/* Sum in a fixed order, exact enough for any length: chunks by lanes of the instruction set, their sums in double. */
static inline double line_sum(const float *x, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i += LINE_CHUNK) s += (double)simd_rows()->sum(x + i, line_min(n - i, LINE_CHUNK));
    return s;
}
static inline double line_dot(const float *x, const float *y, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i += LINE_CHUNK)
        s += (double)simd_rows()->dot(x + i, y + i, line_min(n - i, LINE_CHUNK));
    return s;
}
#endif
