/* map_avx2.c - the elementwise loops for AVX2, FMA and F16C.  All of it is map.inc. */
#define MAP_PATH map_avx2
#include "simd/map.inc"
