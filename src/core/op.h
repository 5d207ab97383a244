/* op.h - the op row as the library's own files see it: <rusty/op.h>, which is installed, and what only rows of src/ops need.
 *
 * Rows live in src/ops, one stem a file: `const ry_op_module ry_ops_<stem>`, collected by the build. */
#ifndef RY_CORE_OP_H
#define RY_CORE_OP_H
#include "base/status.h"
#include "base/text.h"
#include <rusty/op.h>

typedef struct ry_op_module { const ry_op *const *rows; size_t n; } ry_op_module;
#define RY_OP_MODULE(stem, ...)                                            \
    static const ry_op *const stem##_rows[] = {__VA_ARGS__};               \
    extern const ry_op_module ry_ops_##stem;                               \
    const ry_op_module ry_ops_##stem = {stem##_rows, sizeof stem##_rows / sizeof *stem##_rows}

const ry_op *ry_row(const char *name);                /* ry_op_find that asserts */
bool op_is_ours(const ry_op *op);                       /* of src/ops; false: an application's */
ry_dtype ry_dtype_from_safetensors(const char *name); /* RY_NONE: unknown */
#endif
