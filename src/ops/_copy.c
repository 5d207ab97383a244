/* _copy.c - strided copies. Runs that are contiguous on both sides are moved whole; where the two sides run along
 * different dims, square tiles go through L1, so that both memories are touched in whole cache lines. Large
 * results bypass the caches. Owns no memory; how a box is divided depends on its shape alone. */
#include "ops/_copy.h"
#include "simd/stream.h"
#include <string.h>

enum {
    PART_ELEMENTS = 32768,
    TILE = 128, /* a side of any tile */
    STREAM_TILES = 4 << 20
}; /* transposed results stream from here on: their lines are far apart, and reading them first costs more */

void copy_plan(copy_job *j, ry_dtype t, int rank, const int64_t *dim, const int64_t *to, const int64_t *from) {
    const ry_dtype_info *info = ry_dtype_row(t);
    int64_t total = 1;
    j->bytes = (size_t)info->bytes;
    j->rank = 0;
    for (int d = 0; d < rank; d++) {
        /* Block dtypes: the last dim counts blocks, and so do all strides. */
        int64_t n = d == rank - 1 ? dim[d] / info->block : dim[d];
        int64_t a = to[d], b = from ? from[d] : 0;
        if (info->block > 1) {
            a = d == rank - 1 ? a : a / info->block;
            b = d == rank - 1 ? b : b / info->block;
        }
        total *= n;
        if (n == 1) continue;
        int k = j->rank - 1;
        if (k >= 0 && j->to[k] == a * n && j->from[k] == b * n)
            j->dim[k] *= n, j->to[k] = a, j->from[k] = b;
        else
            j->dim[j->rank] = n, j->to[j->rank] = a, j->from[j->rank] = b, j->rank++;
    }
    if (!j->rank) j->rank = 1, j->dim[0] = 1, j->to[0] = j->from[0] = 1;
    j->total = total;
    j->axis = 0;
    j->chunk = j->chunks = 1;
    j->parts = 0;
    if (!total) return;
    int64_t want = total > PART_ELEMENTS ? (total + PART_ELEMENTS - 1) / PART_ELEMENTS : 1, lead = 1;
    while (j->axis < j->rank - 1 && lead * j->dim[j->axis] < want) lead *= j->dim[j->axis++];
    int64_t n = j->dim[j->axis];
    j->chunks = (want + lead - 1) / lead;
    j->chunk = n / j->chunks + (n % j->chunks != 0);
    int64_t across = j->from[j->rank - 1];
    if (j->axis < j->rank - 1 && across != 0 && across != 1 && j->chunk < TILE)
        j->chunk = TILE; /* a tile's side stays whole */
    if (j->chunk > n) j->chunk = n;
    j->chunks = (n + j->chunk - 1) / j->chunk;
    j->parts = lead * j->chunks;
}

/* One dim: n elements. */
#define RUN(type)                                                                           \
    static void run_##type(type *to, int64_t ts, const type *from, int64_t fs, int64_t n) { \
        for (int64_t i = 0; i < n; i++) to[i * ts] = from[i * fs];                          \
    }
RUN(uint8_t)
RUN(uint16_t)
RUN(uint32_t)
RUN(uint64_t)

/* One element n times: the first few by hand, the rest as copies of them. */
static void repeat(char *to, const char *from, int64_t n, size_t bytes) {
    int64_t first = n < 64 ? n : 64;
    for (int64_t i = 0; i < first; i++) memcpy(to + (size_t)i * bytes, from, bytes);
    for (int64_t i = first, m; i < n; i += m) {
        m = i < 1024 ? i : 1024; /* doubling, then from L1 */
        if (m > n - i) m = n - i;
        memcpy(to + (size_t)i * bytes, to, (size_t)m * bytes);
    }
}

static void run(char *to, int64_t ts, const char *from, int64_t fs, int64_t n, size_t bytes, bool stream) {
    if (ts == 1 && fs == 1 && stream)
        simd_stream(to, from, (size_t)n * bytes);
    else if (ts == 1 && fs == 1)
        memcpy(to, from, (size_t)n * bytes);
    else if (ts == 1 && fs == 0)
        repeat(to, from, n, bytes);
    else if (bytes == 1)
        run_uint8_t((void *)to, ts, (const void *)from, fs, n);
    else if (bytes == 2)
        run_uint16_t((void *)to, ts, (const void *)from, fs, n);
    else if (bytes == 4)
        run_uint32_t((void *)to, ts, (const void *)from, fs, n);
    else if (bytes == 8)
        run_uint64_t((void *)to, ts, (const void *)from, fs, n);
    else
        for (int64_t i = 0; i < n; i++) memcpy(to + i * ts * (int64_t)bytes, from + i * fs * (int64_t)bytes, bytes);
}

void copy_run(const copy_job *j, void *to_, const void *from_, int64_t part) {
    char *to = to_;
    const char *from = from_;
    int64_t dim[RY_MAX_RANK], at[RY_MAX_RANK] = {0}, bytes = (int64_t)j->bytes;
    int in = j->rank - 1, along = -1;
    memcpy(dim, j->dim, sizeof dim);
    int64_t begin = part % j->chunks * j->chunk;
    dim[j->axis] = j->dim[j->axis] - begin < j->chunk ? j->dim[j->axis] - begin : j->chunk;
    to += begin * j->to[j->axis] * bytes;
    from += begin * j->from[j->axis] * bytes;
    part /= j->chunks;
    for (int d = j->axis - 1; d >= 0; d--) {
        int64_t c = part % dim[d];
        part /= dim[d];
        to += c * j->to[d] * bytes;
        from += c * j->from[d] * bytes;
        dim[d] = 1;
    }
    if (j->to[in] == 1 && j->from[in] != 1 && j->from[in] != 0 && bytes <= 8)
        for (int d = 0; d < in; d++)
            if (j->from[d] == 1 && dim[d] > 1) along = d;
    int64_t n_along = along >= 0 ? dim[along] : 0;
    char tile[SIMD_TILE];
    bool stream = j->total * bytes >= (along >= 0 ? (int64_t)STREAM_TILES : (int64_t)SIMD_STREAM_BYTES);
    if (along >= 0) dim[along] = 1;
    for (;;) {
        if (along >= 0)
            simd_transpose(to, j->to[along], from, j->from[in], n_along, dim[in], j->bytes, stream ? tile : NULL);
        else
            run(to, j->to[in], from, j->from[in], dim[in], j->bytes, stream);
        int d = in - 1;
        for (; d >= 0; d--) {
            to += j->to[d] * bytes;
            from += j->from[d] * bytes;
            if (++at[d] < dim[d]) break;
            to -= at[d] * j->to[d] * bytes;
            from -= at[d] * j->from[d] * bytes;
            at[d] = 0;
        }
        if (d < 0) break;
    }
    if (stream) simd_stream_end();
}
