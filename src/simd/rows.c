/* rows.c - the choice of a path's row loops.  Computes nothing. */
#include "simd/rows_path.h"
#include "simd/simd.h"

static const simd_rows_table *rows_pick(int path) {
    switch (path) {
    case SIMD_PLAIN: return &rows_plain;
#if defined(__x86_64__)
    case SIMD_AVX2: return &rows_avx2;
    case SIMD_AVX512: return &rows_avx512;
#elif defined(__aarch64__)
    case SIMD_NEON: return &rows_neon;
#endif
    default: return NULL;
    }
}

const simd_rows_table *simd_rows(void) { return rows_pick((int)simd_now()); }
const simd_rows_table *simd_rows_of(int path) { return simd_has((simd_path)path) ? rows_pick(path) : NULL; }
