/* blocks.h - block formats of GGUF as they lie in files.  Layouts only; their loops are in rows.inc. */
#ifndef RY_SIMD_BLOCKS_H
#define RY_SIMD_BLOCKS_H
#include <stdint.h>

enum { Q8_0_BLOCK = 32 };
/* 32 values: value i = scale * q[i]; scale is an f16 */
typedef struct q8_0_block {
    uint16_t scale;
    int8_t q[Q8_0_BLOCK];
} q8_0_block;
_Static_assert(sizeof(q8_0_block) == 34, "as in the file");
#endif
