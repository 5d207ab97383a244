/* dtype_blocks.h - how WGSL reads GGUF's block formats: texts for the rows of dtype.c, made in dtype_blocks.c. */
#ifndef RY_CORE_DTYPE_BLOCKS_H
#define RY_CORE_DTYPE_BLOCKS_H
#include "core/op.h"

extern const ry_dtype_text dtype_wgsl_q4_0, dtype_wgsl_q4_1, dtype_wgsl_q5_0, dtype_wgsl_q5_1, dtype_wgsl_q8_0, dtype_wgsl_iq4_nl, dtype_wgsl_mxfp4,
    dtype_wgsl_q2_k, dtype_wgsl_q3_k, dtype_wgsl_q4_k, dtype_wgsl_q5_k, dtype_wgsl_q6_k;
#endif
