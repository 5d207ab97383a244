/* rows_path.h - the tables that the rows_<path>.c files define; rows.c picks among them.  Private to rows*. */
#ifndef RY_SIMD_ROWS_PATH_H
#define RY_SIMD_ROWS_PATH_H
#include "simd/rows.h"

extern const simd_rows_table rows_plain, rows_avx2, rows_avx512, rows_neon;
#endif
