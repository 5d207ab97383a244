/* rows_avx512.c - the row loops for AVX-512 F, BW, DQ, VL, FMA and F16C.  All of it is rows.inc. */
#define ROWS_TABLE rows_avx512
#include "simd/rows.inc"
