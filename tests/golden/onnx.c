/* onnx.c - reads inputs and attributes of ONNX nodes.  Owns nothing. */
#include "onnx.h"
#include "torch.h"
#include <stdlib.h>
#include <string.h>

bool o_has(vec *v, int i) { return i < v->n_src && v->src[i]; }
ry_tensor o_in(vec *v, int i) {
    return o_has(v, i) ? vec_tensor(v, v->src[i]) : vec_refuse(v, "input %d is not there", i);
}

int o_values(vec *v, int i, double *out, int cap) {
    if (!o_has(v, i)) return -1;
    const st_entry *e = vec_entry(v->file, v->src[i]);
    double *x = e ? vec_doubles(e) : NULL;
    int n = x ? (int)vec_count(e) : 0;
    for (int k = 0; k < n && k < cap; k++) out[k] = x[k];
    free(x);
    return n < cap ? n : cap;
}
int o_whole(vec *v, int i, int64_t *out, int cap) {
    double x[64];
    int n = o_values(v, i, x, cap < 64 ? cap : 64);
    for (int k = 0; k < n; k++) out[k] = x[k] >= 9e18 ? INT64_MAX : x[k] <= -9e18 ? INT64_MIN : (int64_t)x[k];
    return n;
}

int64_t a_int(vec *v, const char *name, int64_t otherwise) { return t_int(v, -1, name, otherwise); }
double a_real(vec *v, const char *name, double otherwise) { return t_real(v, -1, name, otherwise); }
const char *a_text(vec *v, const char *name, const char *otherwise) { return t_text(v, -1, name, otherwise); }
int a_ints(vec *v, const char *name, int64_t *out, int cap) { return t_ints(v, -1, name, out, cap); }
ry_tensor o_num(vec *v, double x) { return vec_number(v, x, false); }

ry_dtype o_dtype(int64_t onnx) {
    static const ry_dtype types[] = {[1] = RY_F32,  [2] = RY_U8,   [3] = RY_I8,   [6] = RY_I32,  [7] = RY_I64,
                                     [9] = RY_BOOL, [10] = RY_F16, [11] = RY_F64, [16] = RY_BF16};
    return onnx >= 0 && onnx < (int64_t)(sizeof types / sizeof *types) ? types[onnx] : RY_NONE;
}
int o_axis(vec *v, ry_tensor x, int64_t axis) { return (int)(axis < 0 ? axis + vec_rank(v, x) : axis); }
