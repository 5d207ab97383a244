/* onnx_math.c - builders of ONNX's elementwise operators and reductions. */
#include "core/op.h"
#include "onnx.h"
#include <math.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static void map(vec *v, const char *p) {
    ry_tensor x[3];
    for (int i = 0; i < v->n_src && i < 3; i++) x[i] = o_in(v, i);
    if (!strcmp(p, "bit_not") && vec_entry(v->file, v->src[0])->type == RY_NONE)
        vec_refuse(v, "a dtype that Rusty does not store");
    vec_out(v, vec_map(v, p, v->n_src, x));
}
static void many(vec *v, const char *p) { /* Max, Min, Sum, Mean of any number */
    ry_tensor y = o_in(v, 0);
    for (int i = 1; i < v->n_src; i++) y = vec_map(v, *p == '/' ? "add" : p, 2, (ry_tensor[]){y, o_in(v, i)});
    vec_out(v, *p == '/' ? ry_div(G, y, o_num(v, v->n_src)) : y);
}
static void same(vec *v, const char *p) {
    (void)p;
    vec_out(v, o_in(v, 0));
}
static void mod(vec *v, const char *p) {
    (void)p;
    vec_out(v, vec_map(v, a_int(v, "fmod", 0) ? "fmod" : "mod", 2, (ry_tensor[]){o_in(v, 0), o_in(v, 1)}));
}
static void power(vec *v, const char *p) { /* the result has the base's dtype */
    ry_tensor a = o_in(v, 0), b = o_in(v, 1);
    (void)p;
    ry_dtype t = vec_dtype(v, a);
    vec_out(v, vec_cast(v, vec_map(v, "pow", 2, (ry_tensor[]){a, b}), t));
}
static void clip(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    (void)p;
    if (v->opset < 11) x = ry_clamp(G, x, o_num(v, a_real(v, "min", -3.4e38)), o_num(v, a_real(v, "max", 3.4e38)));
    if (o_has(v, 1)) x = ry_clamp_min(G, x, o_in(v, 1));
    if (o_has(v, 2)) x = ry_clamp_max(G, x, o_in(v, 2));
    vec_out(v, x);
}
static void gelu(vec *v, const char *p) {
    (void)p;
    vec_out(v,
            !strcmp(a_text(v, "approximate", "none"), "tanh") ? ry_gelu_tanh(G, o_in(v, 0)) : ry_gelu(G, o_in(v, 0)));
}
static void slope(vec *v, const char *p) { /* p: row, with its attribute alpha */
    double otherwise = !strcmp(p, "leaky_relu") ? 0.01 : 1;
    vec_out(v, vec_map(v, p, 2, (ry_tensor[]){o_in(v, 0), o_num(v, a_real(v, "alpha", otherwise))}));
}
static void selu(vec *v, const char *p) {
    ry_tensor y = ry_elu(G, o_in(v, 0), o_num(v, a_real(v, "alpha", 1.67326319217681884765625)));
    (void)p;
    vec_out(v, ry_mul(G, y, o_num(v, a_real(v, "gamma", 1.05070102214813232421875))));
}
static void hard_sigmoid(vec *v, const char *p) {
    ry_tensor y = ry_add(G, ry_mul(G, o_in(v, 0), o_num(v, a_real(v, "alpha", 0.2))), o_num(v, a_real(v, "beta", 0.5)));
    (void)p;
    vec_out(v, ry_clamp(G, y, o_num(v, 0), o_num(v, 1)));
}
static void swish(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    (void)p;
    vec_out(v, ry_mul(G, x, ry_sigmoid(G, ry_mul(G, x, o_num(v, a_real(v, "alpha", 1))))));
}
static void threshold(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    (void)p;
    vec_out(v, ry_select(G, ry_gt(G, x, o_num(v, a_real(v, "alpha", 1))), x, o_num(v, 0)));
}
static void shrink(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), l = o_num(v, a_real(v, "lambd", 0.5)), b = o_num(v, a_real(v, "bias", 0)),
              zero = o_num(v, 0);
    (void)p;
    vec_out(v, ry_select(G, ry_lt(G, x, ry_neg(G, l)), ry_add(G, x, b),
                         ry_select(G, ry_gt(G, x, l), ry_sub(G, x, b), zero)));
}
static void isinf_(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), y = ry_isinf(G, x), zero = o_num(v, 0);
    (void)p;
    if (!a_int(v, "detect_negative", 1)) y = ry_and(G, y, ry_gt(G, x, zero));
    if (!a_int(v, "detect_positive", 1)) y = ry_and(G, y, ry_lt(G, x, zero));
    vec_out(v, y);
}
static void shift(vec *v, const char *p) {
    (void)p;
    vec_out(v, vec_map(v, !strcmp(a_text(v, "direction", "LEFT"), "RIGHT") ? "shr" : "shl", 2,
                       (ry_tensor[]){o_in(v, 0), o_in(v, 1)}));
}
static void where(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_select(G, o_in(v, 0), o_in(v, 1), o_in(v, 2)));
}
static void cast(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    ry_dtype t = *p == 'l' ? vec_dtype(v, o_in(v, 1)) : o_dtype(a_int(v, "to", 1));
    const st_entry *like = *p == 'l' ? vec_entry(v->file, v->src[1]) : NULL;
    if (t == RY_NONE || (like && like->type == RY_NONE))
        vec_refuse(v, "a dtype that Rusty does not store");
    else
        vec_out(v, ry_cast(G, x, t));
}
static void prelu(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_leaky_relu(G, o_in(v, 0), o_in(v, 1)));
}

/* ---------------------------------------------------------------- reductions */

static bool axes_of(vec *v, ry_axes *axes) { /* false: nothing is to be done */
    int64_t d[R];
    int n = o_whole(v, 1, d, R);
    if (n < 0) n = a_ints(v, "axes", d, R);
    *axes = 0;
    for (int i = 0; i < n; i++) *axes |= RY_AXIS((int)d[i]);
    return n > 0 || !a_int(v, "noop_with_empty_axes", 0);
}
static void reduce(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), y = RY_NULL;
    ry_axes axes;
    bool keep = a_int(v, "keepdims", 1) != 0, some = axes_of(v, &axes);
    ry_dtype t = vec_dtype(v, x);
    if (t == RY_BOOL) x = vec_cast(v, x, RY_I32);
    if (strstr("l2 lsum lse l1 sq", p) && *p != 's' && !ry_is_float(t)) x = vec_cast(v, x, RY_F32);
    if (!strcmp(p, "l1")) x = ry_abs(G, x);
    if (!strcmp(p, "sq")) x = ry_square(G, x);
    if (!some)
        y = !strcmp(p, "l2") ? ry_abs(G, x) : !strcmp(p, "lsum") ? ry_log(G, x) : x;
    else if (!strcmp(p, "max"))
        y = ry_amax(G, x, axes, keep);
    else if (!strcmp(p, "min"))
        y = ry_amin(G, x, axes, keep);
    else if (!strcmp(p, "mean"))
        y = ry_mean(G, ry_is_float(vec_dtype(v, x)) ? x : vec_cast(v, x, RY_F32), axes, keep);
    else if (!strcmp(p, "l2"))
        y = ry_norm(G, x, axes, keep);
    else if (!strcmp(p, "lse"))
        y = ry_logsumexp(G, x, axes, keep);
    else
        y = ry_sum(G, x, axes, keep);
    if (some && !strcmp(p, "lsum")) y = ry_log(G, y);
    vec_out(v, vec_cast(v, y, t));
}
static void empty(vec *v, const char *p,
                  bool *done) { /* of no elements: max and min give the least and largest number */
    ry_tensor x = o_in(v, 0);
    int64_t d[R];
    int n = o_whole(v, 1, d, R);
    ry_spec s = *ry_spec_of(G, x);
    *done = false;
    if (ry_numel(&s) != 0) return;
    if (n < 0) n = a_ints(v, "axes", d, R);
    bool gone[R] = {false}, nothing = n <= 0;
    for (int i = 0; i < n; i++) gone[o_axis(v, x, d[i])] = true;
    ry_spec y = {.dtype = s.dtype};
    for (int i = 0; i < s.rank; i++) {
        if (nothing || gone[i]) {
            if (a_int(v, "keepdims", 1)) y.dim[y.rank++] = 1;
        } else
            y.dim[y.rank++] = s.dim[i];
    }
    *done = true;
    vec_out(v, ry_fill(G, &y, *p == 'a' ? -(double)INFINITY : (double)INFINITY));
}
static void extreme(vec *v, const char *p) {
    bool done;
    empty(v, p + 1, &done);
    if (!done) reduce(v, p);
}
static void prod(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t d[R];
    int n = o_whole(v, 1, d, R), r = vec_rank(v, x);
    bool keep = a_int(v, "keepdims", 1) != 0;
    (void)p;
    if (n < 0) n = a_ints(v, "axes", d, R);
    if (n <= 0 && a_int(v, "noop_with_empty_axes", 0)) {
        vec_out(v, x);
        return;
    }
    if (n <= 0)
        for (n = 0; n < r; n++) d[n] = n;
    for (int a = r - 1; a >= 0; a--)
        for (int i = 0; i < n; i++)
            if ((d[i] < 0 ? d[i] + r : d[i]) == a) {
                x = vec_prod(v, x, a, keep);
                break;
            }
    vec_out(v, x);
}
static void arg(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int axis = (int)a_int(v, "axis", 0);
    bool keep = a_int(v, "keepdims", 1) != 0, last = a_int(v, "select_last_index", 0) != 0;
    if (last) x = vec_flip(v, x, axis);
    ry_tensor y = *p == 'x' ? ry_argmax(G, x, axis, keep) : ry_argmin(G, x, axis, keep);
    if (last) y = ry_sub(G, vec_cast(v, vec_number(v, (double)vec_dim(v, x, axis) - 1, true), RY_I32), y);
    vec_out(v, y);
}
static void cumulate(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t axis = 0;
    bool exclusive = a_int(v, "exclusive", 0) != 0, reverse = a_int(v, "reverse", 0) != 0;
    o_whole(v, 1, &axis, 1);
    int a = o_axis(v, x, axis);
    if (*p == 's') {
        vec_out(v, vec_cast(v, ry_cumsum(G, x, a, exclusive, reverse), vec_dtype(v, x)));
        return;
    }
    if (reverse) x = vec_flip(v, x, a);
    ry_tensor y = vec_scan(v, x, a, "mul", 1);
    if (exclusive) y = vec_pad_axis(v, vec_part(v, y, a, 0, vec_dim(v, y, a) - 1), a, 1, 0, 1);
    vec_out(v, reverse ? vec_flip(v, y, a) : y);
}
static void topk(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t k = 1;
    int axis = (int)a_int(v, "axis", -1);
    (void)p;
    if (o_whole(v, 1, &k, 1) < 0) k = a_int(v, "k", 1);
    bool largest = a_int(v, "largest", 1) != 0;
    ry_tensor y = largest ? ry_top_k(G, x, k, axis) : ry_sort(G, x, axis, false);
    for (int i = 0; i < 2; i++) vec_out(v, largest ? ry_out(G, y, i) : vec_part(v, ry_out(G, y, i), axis, 0, k));
}
/* y = saturate(round(x / scale) + zero point), per tensor or along an axis; p: "q" quantises, "d" goes back */
static ry_tensor along(vec *v, ry_tensor s, ry_tensor x, int axis) {
    int64_t block = a_int(v, "block_size", 0);
    if (vec_rank(v, s) == vec_rank(v, x) && block) {
        ry_spec t = *ry_spec_of(G, s);
        s = vec_expand_axis(v, vec_unsqueeze(v, s, axis + 1), axis + 1, block);
        t.dim[axis] *= block;
        return vec_part(v, ry_reshape(G, s, t.rank, t.dim), axis, 0, vec_dim(v, x, axis));
    }
    if (vec_numel(v, s) == 1) return ry_reshape(G, s, 0, NULL);
    for (int i = axis + 1; i < vec_rank(v, x); i++) s = vec_unsqueeze(v, s, -1);
    return s;
}
static void quantize(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), s = o_in(v, 1);
    int axis = o_axis(v, x, a_int(v, "axis", 1));
    bool has_z = o_has(v, 2);
    const st_entry *z = has_z ? vec_entry(v->file, v->src[2]) : NULL, *xe = vec_entry(v->file, v->src[0]);
    if ((z && z->dtype[0] == 'F') || (xe->dtype[1] == '8' && xe->dtype[0] == 'F')) {
        vec_refuse(v, "8-bit floats");
        return;
    }
    ry_tensor scale = along(v, vec_cast(v, s, RY_F32), x, axis),
              zero = has_z ? along(v, vec_cast(v, o_in(v, 2), RY_F32), x, axis) : o_num(v, 0);
    if (*p == 'd') {
        vec_out(v, ry_mul(G, ry_sub(G, vec_cast(v, x, RY_F32), zero), scale));
        return;
    }
    int64_t to = a_int(v, "output_dtype", 0);
    const char *name = z ? z->dtype : to == 3 ? "I8" : to == 4 ? "U16" : to == 5 ? "I16" : "U8";
    double lo = name[0] == 'U'   ? 0
                : name[1] == '8' ? -128
                                 : -32768,
           hi = !strcmp(name, "U8")   ? 255
                : !strcmp(name, "I8") ? 127
                : name[0] == 'U'      ? 65535
                                      : 32767;
    ry_tensor y = ry_add(G, ry_round(G, ry_div(G, vec_cast(v, x, RY_F32), scale)), zero);
    vec_out(v, ry_cast(G, ry_clamp(G, y, o_num(v, lo), o_num(v, hi)), RY_I32));
}

const vec_row onnx_math[] = {{"Abs", map, "abs"},
                             {"Neg", map, "neg"},
                             {"Exp", map, "exp"},
                             {"Log", map, "log"},
                             {"Sqrt", map, "sqrt"},
                             {"Reciprocal", map, "recip"},
                             {"Sin", map, "sin"},
                             {"Cos", map, "cos"},
                             {"Tan", map, "tan"},
                             {"Asin", map, "asin"},
                             {"Acos", map, "acos"},
                             {"Atan", map, "atan"},
                             {"Sinh", map, "sinh"},
                             {"Cosh", map, "cosh"},
                             {"Tanh", map, "tanh"},
                             {"Asinh", map, "asinh"},
                             {"Acosh", map, "acosh"},
                             {"Atanh", map, "atanh"},
                             {"Erf", map, "erf"},
                             {"Floor", map, "floor"},
                             {"Ceil", map, "ceil"},
                             {"Round", map, "round"},
                             {"Sign", map, "sign"},
                             {"Sigmoid", map, "sigmoid"},
                             {"Relu", map, "relu"},
                             {"Softplus", map, "softplus"},
                             {"Softsign", map, "softsign"},
                             {"Mish", map, "mish"},
                             {"HardSwish", map, "hardswish"},
                             {"IsNaN", map, "isnan"},
                             {"Not", map, "not"},
                             {"Add", map, "add"},
                             {"Sub", map, "sub"},
                             {"Mul", map, "mul"},
                             {"Div", map, "div"},
                             {"Equal", map, "eq"},
                             {"Less", map, "lt"},
                             {"LessOrEqual", map, "le"},
                             {"Greater", map, "gt"},
                             {"GreaterOrEqual", map, "ge"},
                             {"And", map, "and"},
                             {"Or", map, "or"},
                             {"Xor", map, "xor"},
                             {"BitwiseAnd", map, "bit_and"},
                             {"BitwiseOr", map, "bit_or"},
                             {"BitwiseXor", map, "bit_xor"},
                             {"BitwiseNot", map, "bit_not"},
                             {"SwiGLU", map, "swiglu"},
                             {"Max", many, "max"},
                             {"Min", many, "min"},
                             {"Sum", many, "add"},
                             {"Mean", many, "/"},
                             {"Identity", same, NULL},
                             {"Mod", mod, NULL},
                             {"Pow", power, NULL},
                             {"Clip", clip, NULL},
                             {"Gelu", gelu, NULL},
                             {"LeakyRelu", slope, "leaky_relu"},
                             {"Elu", slope, "elu"},
                             {"Celu", slope, "celu"},
                             {"Selu", selu, NULL},
                             {"HardSigmoid", hard_sigmoid, NULL},
                             {"Swish", swish, NULL},
                             {"ThresholdedRelu", threshold, NULL},
                             {"Shrink", shrink, NULL},
                             {"IsInf", isinf_, NULL},
                             {"BitShift", shift, NULL},
                             {"Where", where, NULL},
                             {"Cast", cast, "c"},
                             {"CastLike", cast, "l"},
                             {"PRelu", prelu, NULL},
                             {"ReduceSum", reduce, "sum"},
                             {"ReduceMean", reduce, "mean"},
                             {"ReduceMax", extreme, "max"},
                             {"ReduceMin", extreme, "min"},
                             {"ReduceL1", reduce, "l1"},
                             {"ReduceL2", reduce, "l2"},
                             {"ReduceLogSum", reduce, "lsum"},
                             {"ReduceLogSumExp", reduce, "lse"},
                             {"ReduceSumSquare", reduce, "sq"},
                             {"ReduceProd", prod, NULL},
                             {"ArgMax", arg, "x"},
                             {"ArgMin", arg, "n"},
                             {"CumSum", cumulate, "s"},
                             {"CumProd", cumulate, "p"},
                             {"TopK", topk, NULL},
                             {"QuantizeLinear", quantize, "q"},
                             {"DequantizeLinear", quantize, "d"},
                             {NULL, NULL, NULL}};
