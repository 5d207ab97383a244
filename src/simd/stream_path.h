/* stream_path.h - what stream_<path>.c files define; stream.c picks.  Private to stream*. */
#ifndef RY_SIMD_STREAM_PATH_H
#define RY_SIMD_STREAM_PATH_H
#include <stddef.h>

void stream_lines_avx512(char *y, const char *x, size_t lines); /* lines of 64 bytes; y begins at one */
#endif
