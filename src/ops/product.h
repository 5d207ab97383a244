/* product.h - what the rows that multiply matrices share: which dtypes they take and give, and operands as gemm's matrices.
 * Private to src/ops.  Computes nothing. */
#ifndef RY_OPS_PRODUCT_H
#define RY_OPS_PRODUCT_H
#include "core/op.h"
#include "simd/gemm.h"

static inline bool product_takes(ry_dtype t) { return t == RY_F32 || t == RY_F16 || t == RY_BF16; }

static inline bool product_blocks(ry_dtype t) { return ry_dtype_row(t)->kind == RY_KIND_BLOCK; }

/* f32 if either is f32 (or they differ, or one is quantised), else their common type. */
static inline ry_dtype product_result(ry_dtype a, ry_dtype b) {
    if (a == b || product_blocks(b)) return a;
    return RY_F32;
}

/* The `product` argument: 0 (a sample without arguments) means f32. */
static inline ry_dtype product_of(int32_t arg) { return arg == RY_BF16 ? RY_BF16 : RY_F32; }

/* Check of that argument, the same words everywhere. */
static inline ry_status product_check(const ry_node *n, int32_t arg) {
    if (arg == RY_NONE || arg == RY_F32 || arg == RY_BF16) return RY_OK;
    return ry_fail_node(n, RY_EDTYPE, "products are computed in f32 or bf16, not %s", ry_dtype_name((ry_dtype)arg));
}

/* Check of an operand's dtype. */
static inline ry_status product_operand(const ry_node *n, int src, const char *what) {
    if (product_takes(n->src[src]->spec.dtype)) return RY_OK;
    return ry_fail_node(n, RY_EDTYPE, "%s is %s; it must be f32, f16 or bf16", what, ry_show(&n->src[src]->spec).s);
}

/* And of the weight's, which may be of blocks. */
static inline ry_status product_weight(const ry_node *n, int src, const char *what) {
    return product_blocks(n->src[src]->spec.dtype) ? RY_OK : product_operand(n, src, what);
}

/* Elements -> a pointer to element i. */
static inline const void *product_at(const void *data, ry_dtype t, int64_t i) {
    if (!data) return NULL;
    const ry_dtype_info *d = ry_dtype_row(t);
    return (const char *)data + i / d->block * d->bytes;
}

/* Is the matmul node x w^T in f32, w by rows, perhaps with a bias (matmul.c)? */
bool product_is_linear(const ry_node *n);

static inline size_t product_align(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
/* How far apart a kernel reads a weight's units of sixteen (ry_dtype_text.load16). Floats: neighbours read neighbours, as far as K lets units be cut. */
static inline int product_far(const ry_dtype_text *t, int64_t k) {
    int far = t->far ? t->far : 8;
    while (!t->far && far < 256 && k % (4 * far) == 0) far *= 2;
    return far;
}
#endif
