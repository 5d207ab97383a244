/* oracle_map.c - the formulas of map.def on doubles and on whole numbers, with libm's functions.  Owns no state. */
#include "oracle.h"
#include "simd/map.h"
#include <math.h>

static double d_max(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }
static double d_min(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double d_sign(double a) { return a > 0 ? 1 : a < 0 ? -1 : 0; }
static double d_sigmoid(double a) { return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a)); }
static double d_mod(double a, double b) {
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static double d_floordiv(double a, double b) { return b == 0 ? a / b : round((a - d_mod(a, b)) / b); }

static int64_t i_div(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b; }
static int64_t i_fmod(int64_t a, int64_t b) { return b == 0 ? a : b == -1 ? 0 : a % b; }
static int64_t i_mod(int64_t a, int64_t b) {
    int64_t r = i_fmod(a, b);
    return b != 0 && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static int64_t i_floordiv(int64_t a, int64_t b) { return b == 0 ? 0 : i_div(a - i_mod(a, b), b); }
static int64_t i_pow(int64_t a, int64_t b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    uint64_t y = 1, p = (uint64_t)a;
    for (uint64_t e = (uint64_t)b; e; e >>= 1, p *= p)
        if (e & 1) y *= p;
    return (int64_t)y;
}
static int64_t i_max(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t i_min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t i_sign(int64_t a) { return (a > 0) - (a < 0); }
static int64_t i_abs(int64_t a) { return a < 0 ? (int64_t)(0 - (uint64_t)a) : a; }
static int64_t i_shl(int64_t a, int64_t b) { return b < 0 || b > 63 ? 0 : (int64_t)((uint64_t)a << b); }
static int64_t i_shr(int64_t a, int64_t b) { return a >> (b < 0 ? 0 : b > 63 ? 63 : b); }

int64_t oracle_wrap(ry_dtype t, int64_t v) {
    switch (t) {
    case RY_I8: return (int8_t)(uint8_t)(uint64_t)v;
    case RY_U8: return (uint8_t)(uint64_t)v;
    case RY_I32: return (int32_t)(uint32_t)(uint64_t)v;
    case RY_BOOL: return v != 0;
    default: return v;
    }
}

/* In formulas the names mean what map.def says they mean. */
#define T(x)         ((double)(x))
#define sel(c, x, y) ((c) != 0 ? (x) : (y))
#define NONE         NAN
#define ZERO         0.0
#define abs          fabs
#define round        rint
#define rsqrt(x)     (1 / sqrt(x))
#define max          d_max
#define min          d_min
#define sign         d_sign
#define sigmoid      d_sigmoid
#define div(x, y)    ((x) / (y))
#define floordiv     d_floordiv
#define mod          d_mod

#define VALUE_F(x) (double)(x)
#define VALUE_N(x) (double)(x)
#define VALUE_C(x) (double)(x)
#define VALUE_L(x) NAN /* truths are whole numbers: below */
#define VALUE_S(x) (double)(x)
#define VALUE_P(x) (double)(x)
#define VALUE_I(x) NAN
#define RY_MAP(name, cls, lo, hi, formula, d0, d1, d2, doc)                                \
    static double map_##name(int form, double a, double b, double c, double y, double g) { \
        (void)a, (void)b, (void)c, (void)y, (void)g;                                       \
        return form == MAP_VALUE ? VALUE_##cls(formula)                                    \
               : form == MAP_DA  ? (double)(d0)                                            \
               : form == MAP_DB  ? (double)(d1)                                            \
                                 : (double)(d2);                                            \
    }
#include "map.def"
#undef RY_MAP

typedef double (*form_fn)(int form, double a, double b, double c, double y, double g);
static const form_fn forms[MAP_COUNT] = {
#define RY_MAP(name, ...) map_##name,
#include "map.def"
#undef RY_MAP
};

/* Whole numbers. Only the classes whose results are whole have a formula here. */
#undef T
#undef abs
#undef round
#undef rsqrt
#undef max
#undef min
#undef sign
#undef sigmoid
#undef div
#undef floordiv
#undef mod
#define T(x)     ((int64_t)(x))
#define abs      i_abs
#define round(x) (x)
#define floor(x) (x)
#define ceil(x)  (x)
#define trunc(x) (x)
#define max      i_max
#define min      i_min
#define sign     i_sign
#define div      i_div
#define fmod     i_fmod
#define floordiv i_floordiv
#define mod      i_mod
#define pow      i_pow
#define shl      i_shl
#define shr      i_shr
#define WHOLE(name, formula)                               \
    static int64_t name(int64_t a, int64_t b, int64_t c) { \
        (void)a, (void)b, (void)c;                         \
        return (int64_t)(formula);                         \
    }
#define WHOLE_N WHOLE
#define WHOLE_C WHOLE
#define WHOLE_L WHOLE
#define WHOLE_S WHOLE
#define WHOLE_I WHOLE
#define WHOLE_F(name, formula)
#define WHOLE_P(name, formula)
#define RY_MAP(name, cls, lo, hi, formula, da, db, dc, doc) WHOLE_##cls(whole_##name, formula)
#include "map.def"
#undef RY_MAP
#undef WHOLE_F
#undef WHOLE_P
#undef WHOLE_N
#undef WHOLE_C
#undef WHOLE_L
#undef WHOLE_S
#undef WHOLE_I
#define WHOLE_N(name) name
#define WHOLE_C(name) name
#define WHOLE_L(name) name
#define WHOLE_S(name) name
#define WHOLE_I(name) name
#define WHOLE_F(name) NULL
#define WHOLE_P(name) NULL

typedef int64_t (*whole_fn)(int64_t a, int64_t b, int64_t c);
static const whole_fn wholes[MAP_COUNT] = {
#define RY_MAP(name, cls, ...) WHOLE_##cls(whole_##name),
#include "map.def"
#undef RY_MAP
};

double oracle_map(int op, int form, bool integer, const double in[5]) {
    if (integer && form == MAP_VALUE && wholes[op])
        return (double)wholes[op]((int64_t)in[0], (int64_t)in[1], (int64_t)in[2]);
    return forms[op](form, in[0], in[1], in[2], in[3], in[4]);
}
