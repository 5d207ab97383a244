/* map_neon.c - the elementwise loops for AArch64.  All of it is map.inc. */
#define MAP_PATH map_neon
#include "simd/map.inc"
