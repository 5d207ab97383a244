/* map.h - the elementwise loops: src/map.def compiled once per instruction set.  Knows no tensor.
 *
 * A register holds a block of values in one of three types; storage types exist only at load and store (rows.h). */
#ifndef RY_SIMD_MAP_H
#define RY_SIMD_MAP_H
#include <rusty.h>

enum {
#define RY_MAP(name, ...) MAP_##name,
#include "map.def"
#undef RY_MAP
    MAP_COUNT
};
typedef enum map_reg { MAP_F32, MAP_I32, MAP_I64, MAP_REGS } map_reg; /* bool travels as i32 0 or 1 */
enum { MAP_VALUE, MAP_DA, MAP_DB, MAP_DC, MAP_FORMS };               /* the formula, its derivatives */
/* y[i] = formula(a[i], b[i], c[i], y[i], g[i]); in = {a, b, c, y, g}, unused ones NULL. y may equal any of in (no other overlap). Reads and
 * writes whole registers of the type given (C: inputs of type t, output i32; P: f32 to i32; L: i32; S: a is i32). NULL where the form does
 * not exist: F and P have f32 only, derivatives f32 only. Element i's bits depend on element i alone, not on n or place. */
typedef void (*map_fn)(void *y, const void *const in[5], int64_t n);
map_fn simd_map(int op, int form, map_reg t);        /* on simd_now() */
map_fn simd_map_of(int path, int op, int form, map_reg t); /* NULL too where this machine lacks the path */

typedef struct map_info {
    const char *name, *cls;    /* cls: "F" float, "N" any number, "C" compare, "L" logic, "I" integers, "S" select, "P" float predicate */
    float lo, hi;              /* range of samples */
    const char *formula, *d[3];/* texts; d[i] == NULL: no gradient */
    unsigned zero;             /* bit i: source i's gradient is zero everywhere (d[i] is NULL) */
    const char *doc;
} map_info;
extern const map_info map_table[MAP_COUNT];
#endif
