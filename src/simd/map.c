/* map.c - src/map.def as a table of texts, and the choice of a path's loops.  Owns map_table; computes nothing. */
#include "simd/map_path.h"
#include "simd/simd.h"

/* A form that is NONE or ZERO brings a comma, so that what stands behind it moves: (~, 0) against (formula, 1). */
#define MAP_PROBE_NONE                       ~, 0, 0
#define MAP_PROBE_ZERO                       ~, 0, 1
#define MAP_SECOND(...)                      MAP_SECOND_(__VA_ARGS__, 1, 0, 0)
#define MAP_SECOND_(first, exists, ...)      exists
#define MAP_THIRD(...)                       MAP_THIRD_(__VA_ARGS__, 1, 0, 0)
#define MAP_THIRD_(first, second, zero, ...) zero

#define NONE MAP_PROBE_NONE
#define ZERO MAP_PROBE_ZERO

const map_info map_table[MAP_COUNT] = {
#define RY_MAP(name, cls, lo, hi, formula, da, db, dc, doc)                                   \
    {#name,                                                                                   \
     #cls,                                                                                    \
     (float)(lo),                                                                             \
     (float)(hi),                                                                             \
     #formula,                                                                                \
     {MAP_SECOND(da) ? #da : NULL, MAP_SECOND(db) ? #db : NULL, MAP_SECOND(dc) ? #dc : NULL}, \
     MAP_THIRD(da) | MAP_THIRD(db) << 1 | MAP_THIRD(dc) << 2,                                 \
     doc},
#include "map.def"
#undef RY_MAP
};
#undef NONE
#undef ZERO

static map_fn map_pick(int path, int op, int form, map_reg t) {
    switch (path) {
    case SIMD_PLAIN: return map_plain[op][form][t];
#if defined(__x86_64__)
    case SIMD_AVX2: return map_avx2[op][form][t];
    case SIMD_AVX512: return map_avx512[op][form][t];
#elif defined(__aarch64__)
    case SIMD_NEON: return map_neon[op][form][t];
#endif
    default: return NULL;
    }
}

map_fn simd_map(int op, int form, map_reg t) { return map_pick((int)simd_now(), op, form, t); }
map_fn simd_map_of(int path, int op, int form, map_reg t) {
    return simd_has((simd_path)path) ? map_pick(path, op, form, t) : NULL;
}
