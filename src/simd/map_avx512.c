/* map_avx512.c - the elementwise loops for AVX-512 F, BW, DQ, VL, FMA and F16C.  All of it is map.inc. */
#define MAP_PATH map_avx512
#include "simd/map.inc"
