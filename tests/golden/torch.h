/* torch.h - arguments of a PyTorch call as the vectors write them, and the tables of builders. `pos` counts behind the input; -1: keyword only. */
#ifndef GOLDEN_TORCH_H
#define GOLDEN_TORCH_H
#include "vec.h"

const ry_json *t_arg(vec *v, int pos, const char *name); /* NULL: absent or None */
bool t_is_tensor(const ry_json *j);
ry_tensor t_value(vec *v,
                  const ry_json *j); /* a tensor; numbers as rank 0 (i64 or f32), lists of integers as i32 [n] */
ry_tensor t_self(vec *v);
ry_tensor t_tensor(vec *v, int pos, const char *name);            /* null tensor if absent */
int t_tensors(vec *v, const ry_json *j, ry_tensor *out, int cap); /* of a list or tuple, or one tensor */
double t_real(vec *v, int pos, const char *name, double otherwise);
int64_t t_int(vec *v, int pos, const char *name, int64_t otherwise);
bool t_bool(vec *v, int pos, const char *name, bool otherwise);
const char *t_text(vec *v, int pos, const char *name, const char *otherwise);
int t_ints(vec *v, int pos, const char *name, int64_t *out,
           int cap);                      /* one or many; -1: absent. null within: INT64_MIN */
const ry_json *t_items(const ry_json *j); /* the array of {"tuple": [..]} or {"list": [..]}, else NULL */
ry_axes t_axes(vec *v, int pos, const char *name,
               bool *none);        /* axes of `dim`; 0 = all. none: an empty tuple was given */
ry_tensor t_num(vec *v, double x); /* f32 [] */
ry_tensor t_reduce_loss(vec *v, ry_tensor loss, const char *reduction);

extern const vec_row torch_math[], torch_shape[], torch_index[], torch_reduce[], torch_nn[],
    torch_loss[]; /* each ends with name NULL */
#endif
