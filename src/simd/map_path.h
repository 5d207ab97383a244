/* map_path.h - the tables that the map_<path>.c files define; map.c picks among them.  Private to map*. */
#ifndef RY_SIMD_MAP_PATH_H
#define RY_SIMD_MAP_PATH_H
#include "simd/map.h"

typedef const map_fn map_fns[MAP_FORMS][MAP_REGS];
extern map_fns map_plain[MAP_COUNT], map_avx2[MAP_COUNT], map_avx512[MAP_COUNT], map_neon[MAP_COUNT];
#endif
