/* vec.h - one case of a folder of operator vectors: its tensors as graph inputs, what a builder makes of them, and the comparison.
 *
 * Readers of such folders (test_opinfo.c, test_onnx.c) open a case, look its builder up by operator name and let it build; what no
 * builder can express is refused with a word and counted. */
#ifndef GOLDEN_VEC_H
#define GOLDEN_VEC_H
#include "io/json.h"
#include "io/safetensors.h"
#include <rusty.h>
#include <rusty/ops.h>

enum { VEC_MAX_IN = 96, VEC_MAX_OUT = 64 };

typedef struct vec_in {
    const char *name; /* in the file; NULL: a constant of the builder's */
    ry_tensor t;
    const void *data;
    size_t bytes;
    void *own; /* freed with the case */
} vec_in;

typedef struct vec {
    ry_graph *g;
    const ry_tensor_file *file;
    const ry_json *self, *args, *kwargs; /* torch; of ONNX attributes: kwargs */
    const char *src[24];                 /* ONNX: the node's inputs as tensors of the file; NULL: left out */
    int n_src, opset, want;              /* ONNX: want = number of the node's outputs */
    vec_in in[VEC_MAX_IN];
    int n_in;
    ry_tensor out[VEC_MAX_OUT]; /* null: this output is not made (and not compared) */
    int n_out;
    char refused[200]; /* set: not expressible, and why */
} vec;

void vec_open(vec *v, ry_graph *g, const ry_tensor_file *file); /* the graph is reset */
void vec_close(vec *v);
ry_tensor vec_refuse(vec *v, const char *fmt, ...); /* returns the null tensor */

const st_entry *vec_entry(const ry_tensor_file *f, const char *name); /* NULL: not in the file */
double *vec_doubles(const st_entry *e);                               /* any dtype of the format, or NULL; free */
int64_t vec_count(const st_entry *e);

/* A tensor of the file as an input; dtypes that Rusty does not compute with are widened (u16 to i32, u32 to i64, f8 to f32). */
ry_tensor vec_tensor(vec *v, const char *name);
ry_tensor vec_ints(vec *v, int rank, const int64_t *dim, const int64_t *values); /* an i32 constant */
ry_tensor vec_number(vec *v, double value, bool whole);                          /* rank 0: f32, or i64 */
void vec_out(vec *v, ry_tensor t);

typedef struct vec_score {
    int passed, refused, failed;
} vec_score;

/* Runs the graph and compares output j with entry expect[j] (NULL: not compared); gradients of sum_j out[j] gout[j] by every input
 * that has an entry in gin. tol relative to the largest entry. false: a failure was printed, or v->refused says what the device lacks. */
typedef struct vec_expect {
    const st_entry *out[VEC_MAX_OUT], *gout[VEC_MAX_OUT];
    int n;
    const st_entry *gin[VEC_MAX_IN]; /* by v->in */
    double tol, grad_tol;
} vec_expect;
bool vec_check(vec *v, const vec_expect *e, const char *where);

/* ---- small compositions that builders share (vec_ops.c) ---- */
int vec_rank(vec *v, ry_tensor t);
int64_t vec_dim(vec *v, ry_tensor t, int axis);
int64_t vec_numel(vec *v, ry_tensor t);
ry_dtype vec_dtype(vec *v, ry_tensor t);
ry_tensor vec_cast(vec *v, ry_tensor t, ry_dtype to);
ry_tensor vec_map(vec *v, const char *row, int n,
                  const ry_tensor *src); /* an elementwise row by name, sources cast as it wants them */
ry_tensor vec_flat(vec *v, ry_tensor t);
ry_tensor vec_unsqueeze(vec *v, ry_tensor t, int axis);
ry_tensor vec_squeeze(vec *v, ry_tensor t, int axis);
ry_tensor vec_flip(vec *v, ry_tensor t, int axis);
ry_tensor vec_move(vec *v, ry_tensor t, int from, int to); /* one axis to another place */
ry_tensor vec_part(vec *v, ry_tensor t, int axis, int64_t start, int64_t len);
ry_tensor vec_pick(vec *v, ry_tensor t, int axis, int64_t i);        /* select: the axis goes */
ry_tensor vec_expand_axis(vec *v, ry_tensor t, int axis, int64_t n); /* dim 1 -> n */
ry_tensor vec_iota(vec *v, int64_t n, double start, double step);    /* i32 [n] */
ry_tensor vec_pad_axis(vec *v, ry_tensor t, int axis, int64_t before, int64_t after, double value);
ry_tensor vec_prod(vec *v, ry_tensor t, int axis, bool keepdim);
ry_tensor vec_scan(vec *v, ry_tensor t, int axis, const char *row, double unit); /* inclusive, by doubling */
ry_tensor vec_windows(vec *v, ry_tensor t, int axis, int64_t size, int64_t step,
                      int64_t dilation); /* [..,n,..] -> [..,out,size,..] */
ry_tensor vec_index_pad(vec *v, ry_tensor t, int axis, int64_t before, int64_t after,
                        const char *mode); /* reflect, replicate, circular */
ry_tensor vec_p_norm(vec *v, ry_tensor t, double p, ry_axes axes, bool keepdim);
ry_tensor vec_diagonal(vec *v, ry_tensor t, int64_t offset, int a, int b); /* the diagonal becomes the last axis */
ry_tensor vec_tri(vec *v, ry_tensor t, int64_t k, bool upper);
ry_tensor vec_conv2d(vec *v, ry_tensor x, ry_tensor w, ry_tensor b, const ry_conv2d_options *o);
ry_tensor vec_conv_transpose2d(vec *v, ry_tensor x, ry_tensor w, ry_tensor b, const ry_conv2d_options *o,
                               const int64_t out_pad[2]);
ry_tensor vec_matmul(vec *v, ry_tensor a, ry_tensor b); /* as numpy.matmul, 1-D operands too */
ry_tensor vec_einsum(vec *v, const char *equation, int n, const ry_tensor *x);
ry_tensor vec_scatter_reduce(vec *v, ry_tensor x, int axis, ry_tensor idx, ry_tensor src, const char *reduce,
                             bool include_self);
ry_tensor vec_wrap(vec *v, ry_tensor idx, int64_t n); /* negative indices count from n */
/* Pooling over the last k axes; pads: before (first k) and after. value -inf: max, else average. idx: NULL or receives places in the
 * flattened, unpadded last k axes. */
typedef struct vec_pool {
    int k;
    int64_t size[3], stride[3], before[3], after[3], dilation[3];
    bool ceil_mode, count_pad;
    double divisor;
} vec_pool;
ry_tensor vec_pool_max(vec *v, ry_tensor x, const vec_pool *p, ry_tensor *idx);
ry_tensor vec_pool_avg(vec *v, ry_tensor x, const vec_pool *p);

typedef void (*vec_fn)(vec *v, const char *p);
typedef struct vec_row {
    const char *name;
    vec_fn fn;
    const char *p;
} vec_row;
#endif
