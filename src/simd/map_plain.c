/* map_plain.c - the elementwise loops for no instruction set beyond the compiler's default.  All of it is map.inc. */
#define MAP_PATH map_plain
#include "simd/map.inc"
