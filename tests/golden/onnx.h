/* onnx.h - inputs and attributes of an ONNX node, and the tables of builders. */
#ifndef GOLDEN_ONNX_H
#define GOLDEN_ONNX_H
#include "vec.h"

bool o_has(vec *v, int i);
ry_tensor o_in(vec *v, int i);                     /* null and refused if left out */
int o_values(vec *v, int i, double *out, int cap); /* numbers of an input that is known beforehand; -1: left out */
int o_whole(vec *v, int i, int64_t *out, int cap);
int64_t a_int(vec *v, const char *name, int64_t otherwise);
double a_real(vec *v, const char *name, double otherwise);
const char *a_text(vec *v, const char *name, const char *otherwise);
int a_ints(vec *v, const char *name, int64_t *out, int cap); /* -1: absent */
ry_tensor o_num(vec *v, double x);
ry_dtype o_dtype(int64_t onnx); /* TensorProto.DataType; RY_NONE: not ours */
int o_axis(vec *v, ry_tensor x, int64_t axis);

extern const vec_row onnx_math[], onnx_shape[], onnx_nn[];
#endif
