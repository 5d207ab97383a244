/* kernel_text.h - the .wgsl, .cu and .tune files of src/ops as the build embedded them (cmake/embed_texts.cmake).  Read only. */
#ifndef RY_BASE_KERNEL_TEXT_H
#define RY_BASE_KERNEL_TEXT_H
#include <stddef.h>

struct ry_kernel_text {
    const char *name; /* path below src/ops: "rms_norm.wgsl", "matmul/tile.cu", "tuned/NAME.tune" */
    const char *text; /* 0-terminated */
    size_t n;         /* bytes, without the 0 */
};
extern const struct ry_kernel_text ry_kernel_texts[]; /* closed by a row of NULLs */
extern const size_t ry_kernel_text_count;
#endif
