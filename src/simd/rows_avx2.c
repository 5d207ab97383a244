/* rows_avx2.c - the row loops for AVX2, FMA and F16C.  All of it is rows.inc. */
#define ROWS_TABLE rows_avx2
#include "simd/rows.inc"
