/* rows_plain.c - the row loops for no instruction set beyond the compiler's default.  All of it is rows.inc. */
#define ROWS_TABLE rows_plain
#include "simd/rows.inc"
