/* rows_neon.c - the row loops for AArch64.  All of it is rows.inc. */
#define ROWS_TABLE rows_neon
#include "simd/rows.inc"
