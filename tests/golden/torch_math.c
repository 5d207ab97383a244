/* torch_math.c - builders of PyTorch's elementwise operators: most are one row, the others short compositions. */
#include "torch.h"
#include <math.h>
#include <string.h>
#define G v->g

static ry_tensor other(vec *v) { return t_tensor(v, 0, "other"); }

/* p: rows applied one after the other to the input (and, for the first, to the argument tensors). */
static void map(vec *v, const char *p) {
    ry_tensor x[3] = {t_self(v), RY_NULL, RY_NULL};
    int n = 1;
    for (int i = 0; n < 3 && t_arg(v, i, i ? "" : "other"); i++) x[n++] = t_tensor(v, i, "other");
    vec_out(v, vec_map(v, p, n, x));
}
static void map1(vec *v, const char *p) { vec_out(v, vec_map(v, p, 1, (ry_tensor[]){t_self(v)})); }
static void rounded(vec *v, const char *p) { /* to decimals */
    ry_tensor k = t_num(v, pow(10, (double)t_int(v, -1, "decimals", 0)));
    (void)p;
    vec_out(v, t_arg(v, -1, "decimals") ? ry_div(G, ry_round(G, ry_mul(G, t_self(v), k)), k) : ry_round(G, t_self(v)));
}
static void swapped(vec *v, const char *p) { vec_out(v, vec_map(v, p, 2, (ry_tensor[]){other(v), t_self(v)})); }
static void power(vec *v, const char *p) {
    ry_tensor x = t_self(v), y = other(v);
    if (strcmp(p, "float_power") == 0) x = vec_cast(v, x, RY_F32);
    vec_out(v, vec_map(v, "pow", 2, (ry_tensor[]){x, y}));
}
static ry_tensor scaled(vec *v, ry_tensor x, const char *name) {
    double a = t_real(v, -1, name, 1);
    return a == 1 ? x : ry_mul(G, x, t_num(v, a));
}
static void add(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_add(G, t_self(v), scaled(v, other(v), "alpha")));
}
static void sub(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_sub(G, t_self(v), scaled(v, other(v), "alpha")));
}
static void rsub(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_sub(G, other(v), scaled(v, t_self(v), "alpha")));
}
static void division(vec *v, const char *p) {
    const char *mode = t_text(v, -1, "rounding_mode", p);
    ry_tensor a = t_self(v), b = other(v);
    bool ints = vec_dtype(v, a) != RY_F32 && vec_dtype(v, b) != RY_F32;
    if (!strcmp(mode, "floor"))
        vec_out(v, ry_floordiv(G, a, b));
    else if (!strcmp(mode, "trunc"))
        vec_out(v, ints ? ry_div(G, a, b) : ry_trunc(G, ry_div(G, a, b)));
    else
        vec_out(v, ry_div(G, ints ? vec_cast(v, a, RY_F32) : a, b));
}
static void logic(vec *v, const char *p) {
    ry_tensor x[2] = {t_self(v), other(v)};
    int n = t_arg(v, 0, "other") ? 2 : 1;
    vec_out(v, vec_map(v, p, n, x));
}
static void clamp(vec *v, const char *p) {
    ry_tensor x = t_self(v), lo = t_tensor(v, 0, "min"), hi = t_tensor(v, 1, "max");
    (void)p;
    bool has_lo = t_arg(v, 0, "min") != NULL, has_hi = t_arg(v, 1, "max") != NULL;
    vec_out(v, has_lo && has_hi ? ry_clamp(G, x, lo, hi)
               : has_lo         ? ry_clamp_min(G, x, lo)
               : has_hi         ? ry_clamp_max(G, x, hi)
                                : x);
}
static void clamp_one(vec *v, const char *p) {
    vec_out(v, vec_map(v, p, 2, (ry_tensor[]){t_self(v), t_tensor(v, 0, strchr(p, 'x') ? "max" : "min")}));
}
static void addc(vec *v, const char *p) {
    ry_tensor a = t_tensor(v, 0, "tensor1"), b = t_tensor(v, 1, "tensor2");
    ry_tensor y = *p == '*' ? ry_mul(G, a, b) : ry_div(G, a, b);
    vec_out(v, ry_add(G, t_self(v), scaled(v, y, "value")));
}
static void lerp(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_lerp(G, t_self(v), t_tensor(v, 0, "end"), t_tensor(v, 1, "weight")));
}
static void frac(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_sub(G, t_self(v), ry_trunc(G, t_self(v))));
}
static void times(vec *v, const char *p) {
    double k = *p == 'd' ? 3.14159265358979323846 / 180 : 180 / 3.14159265358979323846;
    vec_out(v, ry_mul(G, t_self(v), t_num(v, k)));
}
static void logaddexp2(vec *v, const char *p) {
    ry_tensor k = t_num(v, 0.69314718055994531);
    (void)p;
    vec_out(v, ry_div(G, ry_logaddexp(G, ry_mul(G, t_self(v), k), ry_mul(G, other(v), k)), k));
}
static void copysign_(vec *v, const char *p) { /* the sign of zero is read from its reciprocal */
    ry_tensor b = vec_cast(v, other(v), RY_F32), zero = t_num(v, 0), a = ry_abs(G, t_self(v));
    (void)p;
    ry_tensor negative = ry_or(G, ry_lt(G, b, zero), ry_and(G, ry_eq(G, b, zero), ry_lt(G, ry_recip(G, b), zero)));
    /* the derivative is that of |a| up to the sign, also where a is 0: there it is 0 */
    vec_out(v, ry_select(G, negative, ry_neg(G, a), a));
}
static void signbit_(vec *v, const char *p) {
    ry_tensor x = t_self(v), zero = t_num(v, 0);
    (void)p;
    vec_out(v, ry_or(G, ry_lt(G, x, zero), ry_and(G, ry_eq(G, x, zero), ry_lt(G, ry_recip(G, x), zero))));
}
static void infinite(vec *v, const char *p) {
    vec_out(v, ry_eq(G, vec_cast(v, t_self(v), RY_F32), t_num(v, *p == '+' ? (double)INFINITY : -(double)INFINITY)));
}
static void ignoring_nan(vec *v, const char *p) { /* fmax, fmin */
    ry_tensor a = t_self(v), b = other(v), y = vec_map(v, p, 2, (ry_tensor[]){a, b});
    vec_out(v, ry_select(G, ry_isnan(G, a), b, ry_select(G, ry_isnan(G, b), a, y)));
}
static void nan_to_num(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    double big = 3.4028234663852886e38;
    ry_tensor inf = ry_isinf(G, x), up = ry_gt(G, x, t_num(v, 0));
    ry_tensor limit = ry_select(G, up, t_num(v, t_real(v, 1, "posinf", big)), t_num(v, t_real(v, 2, "neginf", -big)));
    vec_out(v, ry_select(G, ry_isnan(G, x), t_num(v, t_real(v, 0, "nan", 0)), ry_select(G, inf, limit, x)));
}
static void logit(vec *v, const char *p) {
    double eps = t_real(v, 0, "eps", -1);
    ry_tensor x = t_self(v);
    (void)p;
    if (eps >= 0) { /* the lower bound first, also where it is above the upper one */
        ry_tensor lo = t_num(v, eps), hi = t_num(v, 1 - eps);
        x = ry_select(G, ry_lt(G, x, lo), lo, ry_select(G, ry_gt(G, x, hi), hi, x));
    }
    vec_out(v, ry_log(G, ry_div(G, x, ry_sub(G, t_num(v, 1), x))));
}
static void heaviside(vec *v, const char *p) {
    ry_tensor x = t_self(v), zero = t_num(v, 0);
    (void)p;
    vec_out(v, ry_select(G, ry_eq(G, x, zero), t_tensor(v, 0, "values"), vec_cast(v, ry_gt(G, x, zero), RY_F32)));
}
static void isclose(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = other(v);
    (void)p;
    ry_tensor limit =
        ry_add(G, t_num(v, t_real(v, 2, "atol", 1e-8)), ry_mul(G, ry_abs(G, b), t_num(v, t_real(v, 1, "rtol", 1e-5))));
    ry_tensor near = ry_and(G, ry_le(G, ry_abs(G, ry_sub(G, a, b)), limit), ry_isfinite(G, b)), same = ry_eq(G, a, b);
    near = ry_or(G, near, same);
    if (t_bool(v, 3, "equal_nan", false)) near = ry_or(G, near, ry_and(G, ry_isnan(G, a), ry_isnan(G, b)));
    vec_out(v, near);
}
static void sinc(vec *v, const char *p) {
    ry_tensor x = ry_mul(G, t_self(v), t_num(v, 3.14159265358979323846)), zero = ry_eq(G, x, t_num(v, 0));
    (void)p;
    ry_tensor safe = ry_select(G, zero, t_num(v, 1), x);
    vec_out(v, ry_select(G, zero, t_num(v, 1), ry_div(G, ry_sin(G, safe), safe)));
}
static void where(vec *v, const char *p) { /* OpInfo writes x.where(condition, y) */
    (void)p;
    vec_out(v, ry_select(G, t_tensor(v, 0, "condition"), t_self(v), t_tensor(v, 1, "other")));
}
static void masked_fill(vec *v, const char *p) {
    (void)p;
    ry_tensor x = t_self(v);
    vec_out(v, ry_select(G, t_tensor(v, 0, "mask"), ry_cast(G, t_tensor(v, 1, "value"), vec_dtype(v, x)), x));
}
static void ndtr(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_mul(G, t_num(v, 0.5), ry_erfc(G, ry_mul(G, t_self(v), t_num(v, -0.70710678118654752)))));
}
static void xlog1py(vec *v, const char *p) {
    (void)p;
    ry_tensor a = t_self(v), b = other(v), zero = ry_eq(G, a, t_num(v, 0));
    vec_out(v, ry_select(G, ry_and(G, zero, ry_not(G, ry_isnan(G, b))), t_num(v, 0), ry_mul(G, a, ry_log1p(G, b))));
}
static void ldexp_(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_mul(G, t_self(v), ry_exp2(G, vec_cast(v, other(v), RY_F32))));
}
static void entr(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_neg(G, ry_xlogy(G, t_self(v), t_self(v))));
}
static void same(vec *v, const char *p) {
    (void)p;
    vec_out(v, t_self(v));
}
static void fill(vec *v, const char *p) {
    ry_spec s = *ry_spec_of(G, t_self(v));
    vec_out(v, ry_fill(G, &s, *p == '?' ? t_real(v, 0, "fill_value", t_real(v, 0, "value", 0)) : *p - '0'));
}
static void to(vec *v, const char *p) {
    static const struct {
        const char *name;
        ry_dtype t;
    } types[] = {{"float", RY_F32}, {"bfloat16", RY_BF16}, {"half", RY_F16}, {"double", RY_F64}, {"int", RY_I32},
                 {"long", RY_I64},  {"char", RY_I8},       {"byte", RY_U8},  {"bool", RY_BOOL}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, p)) vec_out(v, vec_cast(v, t_self(v), types[i].t));
}

const vec_row torch_math[] = {{"abs", map1, "abs"},
                              {"absolute", map1, "abs"},
                              {"neg", map1, "neg"},
                              {"negative", map1, "neg"},
                              {"exp", map1, "exp"},
                              {"exp2", map1, "exp2"},
                              {"expm1", map1, "expm1"},
                              {"log", map1, "log"},
                              {"log2", map1, "log2"},
                              {"log10", map1, "log10"},
                              {"log1p", map1, "log1p"},
                              {"sqrt", map1, "sqrt"},
                              {"rsqrt", map1, "rsqrt"},
                              {"square", map1, "square"},
                              {"reciprocal", map1, "recip"},
                              {"sin", map1, "sin"},
                              {"cos", map1, "cos"},
                              {"tan", map1, "tan"},
                              {"sinh", map1, "sinh"},
                              {"cosh", map1, "cosh"},
                              {"tanh", map1, "tanh"},
                              {"asin", map1, "asin"},
                              {"acos", map1, "acos"},
                              {"atan", map1, "atan"},
                              {"asinh", map1, "asinh"},
                              {"acosh", map1, "acosh"},
                              {"atanh", map1, "atanh"},
                              {"arcsin", map1, "asin"},
                              {"arccos", map1, "acos"},
                              {"arctan", map1, "atan"},
                              {"arcsinh", map1, "asinh"},
                              {"arccosh", map1, "acosh"},
                              {"arctanh", map1, "atanh"},
                              {"sigmoid", map1, "sigmoid"},
                              {"special.expit", map1, "sigmoid"},
                              {"erf", map1, "erf"},
                              {"erfc", map1, "erfc"},
                              {"special.erf", map1, "erf"},
                              {"special.erfc", map1, "erfc"},
                              {"floor", map1, "floor"},
                              {"ceil", map1, "ceil"},
                              {"round", rounded, NULL},
                              {"trunc", map1, "trunc"},
                              {"fix", map1, "trunc"},
                              {"frac", frac, NULL},
                              {"sign", map1, "sign"},
                              {"sgn", map1, "sign"},
                              {"positive", same, NULL},
                              {"clone", same, NULL},
                              {"contiguous", same, NULL},
                              {"conj", same, NULL},
                              {"conj_physical", same, NULL},
                              {"real", same, NULL},
                              {"resolve_conj", same, NULL},
                              {"resolve_neg", same, NULL},
                              {"detach", same, NULL},
                              {"isnan", map1, "isnan"},
                              {"isinf", map1, "isinf"},
                              {"isfinite", map1, "isfinite"},
                              {"isposinf", infinite, "+"},
                              {"isneginf", infinite, "-"},
                              {"signbit", signbit_, NULL},
                              {"atan2", map, "atan2"},
                              {"arctan2", map, "atan2"},
                              {"hypot", map, "hypot"},
                              {"mul", map, "mul"},
                              {"multiply", map, "mul"},
                              {"pow", power, "pow"},
                              {"float_power", power, "float_power"},
                              {"fmod", map, "fmod"},
                              {"remainder", map, "mod"},
                              {"maximum", map, "max"},
                              {"minimum", map, "min"},
                              {"max.binary", map, "max"},
                              {"min.binary", map, "min"},
                              {"logaddexp", map, "logaddexp"},
                              {"logaddexp2", logaddexp2, NULL},
                              {"xlogy", map, "xlogy"},
                              {"special.xlogy", map, "xlogy"},
                              {"special.xlog1py", xlog1py, NULL},
                              {"special.log1p", map1, "log1p"},
                              {"special.exp2", map1, "exp2"},
                              {"special.expm1", map1, "expm1"},
                              {"special.round", rounded, NULL},
                              {"special.sinc", sinc, NULL},
                              {"special.entr", entr, NULL},
                              {"floor_divide", map, "floordiv"},
                              {"true_divide", division, ""},
                              {"div", division, ""},
                              {"divide", division, ""},
                              {"div.trunc_rounding", division, "trunc"},
                              {"div.floor_rounding", division, "floor"},
                              {"add", add, NULL},
                              {"sub", sub, NULL},
                              {"subtract", sub, NULL},
                              {"rsub", rsub, NULL},
                              {"__radd__", swapped, "add"},
                              {"__rmul__", swapped, "mul"},
                              {"__rsub__", swapped, "sub"},
                              {"__rdiv__", swapped, "div"},
                              {"__rpow__", swapped, "pow"},
                              {"__rmod__", swapped, "mod"},
                              {"__rand__", swapped, "bit_and"},
                              {"__ror__", swapped, "bit_or"},
                              {"__rxor__", swapped, "bit_xor"},
                              {"eq", map, "eq"},
                              {"ne", map, "ne"},
                              {"lt", map, "lt"},
                              {"le", map, "le"},
                              {"gt", map, "gt"},
                              {"ge", map, "ge"},
                              {"not_equal", map, "ne"},
                              {"less", map, "lt"},
                              {"less_equal", map, "le"},
                              {"greater", map, "gt"},
                              {"greater_equal", map, "ge"},
                              {"logical_and", logic, "and"},
                              {"logical_or", logic, "or"},
                              {"logical_xor", logic, "xor"},
                              {"logical_not", logic, "not"},
                              {"bitwise_and", map, "bit_and"},
                              {"bitwise_or", map, "bit_or"},
                              {"bitwise_xor", map, "bit_xor"},
                              {"bitwise_not", map1, "bit_not"},
                              {"bitwise_left_shift", map, "shl"},
                              {"bitwise_right_shift", map, "shr"},
                              {"clamp", clamp, NULL},
                              {"clip", clamp, NULL},
                              {"clamp_min", clamp_one, "clamp_min"},
                              {"clamp_max", clamp_one, "clamp_max"},
                              {"addcmul", addc, "*"},
                              {"addcdiv", addc, "/"},
                              {"lerp", lerp, NULL},
                              {"deg2rad", times, "d"},
                              {"rad2deg", times, "r"},
                              {"copysign", copysign_, NULL},
                              {"fmax", ignoring_nan, "max"},
                              {"fmin", ignoring_nan, "min"},
                              {"nan_to_num", nan_to_num, NULL},
                              {"logit", logit, NULL},
                              {"special.logit", logit, NULL},
                              {"heaviside", heaviside, NULL},
                              {"isclose", isclose, NULL},
                              {"sinc", sinc, NULL},
                              {"where", where, NULL},
                              {"masked_fill", masked_fill, NULL},
                              {"special.ndtr", ndtr, NULL},
                              {"ldexp", ldexp_, NULL},
                              {"zeros_like", fill, "0"},
                              {"ones_like", fill, "1"},
                              {"full_like", fill, "?"},
                              {"fill", fill, "?"},
                              {"float", to, "float"},
                              {"bfloat16", to, "bfloat16"},
                              {"half", to, "half"},
                              {"int", to, "int"},
                              {"long", to, "long"},
                              {"char", to, "char"},
                              {"byte", to, "byte"},
                              {"bool", to, "bool"},
                              {NULL, NULL, NULL}};
