/* stream.h - moving blocks of memory: stores that bypass the caches, and transposed tiles.  Knows no tensor.
 *
 *  * A plain store of a line that is in no cache reads it first; a streaming store does not. It is worth it for
 * results too large to be found in a cache by whoever reads them next. */
#ifndef RY_SIMD_STREAM_H
#define RY_SIMD_STREAM_H
#include <rusty.h>

enum { SIMD_STREAM_BYTES = 32 << 20 };                  /* results of at least so many bytes are streamed */
void simd_stream(void *y, const void *x, size_t bytes); /* y = x, no overlap, any alignment */
void simd_stream_end(void); /* streamed bytes are visible to other threads after it: once at the end of a part */

enum { SIMD_TILE = 32 * 512 }; /* bytes of `tile` below */
/* y[k * ys + i] = x[i * xs + k] for k < nk, i < ni; elements of 1, 2, 4 or 8 bytes, strides in elements. With
 * `tile` (scratch of SIMD_TILE bytes) the result is streamed; NULL: plain stores. */
void simd_transpose(void *y, int64_t ys, const void *x, int64_t xs, int64_t nk, int64_t ni, size_t bytes, void *tile);
#endif
