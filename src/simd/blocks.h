/* blocks.h - block formats of GGUF as they lie in files (ggml's block_*), and what they have in common: value i of a block is
 * code[i] * scale + min, codes are small whole numbers, and scale and min belong to groups of 16 or 32 values.
 * Layouts and the quantisers' prototype; how blocks are read stands in blocks.inc. */
#ifndef RY_SIMD_BLOCKS_H
#define RY_SIMD_BLOCKS_H
#include <rusty.h>

/* dtype, name, values a block, values a group, has mins (0: the min is 0 and not added), minus the least code */
#define BLOCK_FORMATS(X)              \
    X(Q4_0, q4_0, 32, 32, 0, 8)       \
    X(Q4_1, q4_1, 32, 32, 1, 0)       \
    X(Q5_0, q5_0, 32, 32, 0, 16)      \
    X(Q5_1, q5_1, 32, 32, 1, 0)       \
    X(Q8_0, q8_0, 32, 32, 0, 128)     \
    X(IQ4_NL, iq4_nl, 32, 32, 0, 128) \
    X(MXFP4, mxfp4, 32, 32, 0, 12)    \
    X(Q2_K, q2_K, 256, 16, 1, 0)      \
    X(Q3_K, q3_K, 256, 16, 0, 4)      \
    X(Q4_K, q4_K, 256, 32, 1, 0)      \
    X(Q5_K, q5_K, 256, 32, 1, 0)      \
    X(Q6_K, q6_K, 256, 16, 0, 32)

enum { BLOCK_PART = 32, Q8_0_BLOCK = 32, SUPER_BLOCK = 256 }; /* blocks are read and widened in parts of 32 values */

/* Blocks of 32. Nibbles: value i is in the low half of byte i, value 16 + i in the high one. */
typedef struct q4_0_block { /* scale (q - 8) */
    uint16_t scale;         /* here and below: f16 */
    uint8_t q[16];
} q4_0_block;
typedef struct q4_1_block { /* scale q + min */
    uint16_t scale, min;
    uint8_t q[16];
} q4_1_block;
typedef struct q5_0_block { /* scale (q - 16); bit i of `high` is the fifth of value i */
    uint16_t scale;
    uint8_t high[4], q[16];
} q5_0_block;
typedef struct q5_1_block { /* scale q + min */
    uint16_t scale, min;
    uint8_t high[4], q[16];
} q5_1_block;
typedef struct q8_0_block { /* scale q */
    uint16_t scale;
    int8_t q[Q8_0_BLOCK];
} q8_0_block;
typedef struct iq4_nl_block { /* scale iq4_nl_code[q] */
    uint16_t scale;
    uint8_t q[16];
} iq4_nl_block;
#define IQ4_NL_CODES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
typedef struct mxfp4_block { /* scale mxfp4_code[q] / 2 (OCP Microscaling formats 1.0: e8m0 and e2m1) */
    uint8_t scale;           /* 2^(scale - 127) */
    uint8_t q[16];
} mxfp4_block;
#define MXFP4_CODES 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

/* Super-blocks of 256: scales of groups are small whole numbers times a scale of the block. */
typedef struct q2_K_block { /* scale (s & 15) q - min (s >> 4), groups of 16 */
    uint8_t s[16], q[64];
    uint16_t scale, min;
} q2_K_block;
typedef struct q3_K_block { /* scale (s - 32) (q - 4), groups of 16, six bits a scale */
    uint8_t high[32], q[64], s[12];
    uint16_t scale;
} q3_K_block;
typedef struct q4_K_block { /* scale s q - min m, groups of 32, six bits for s and for m */
    uint16_t scale, min;
    uint8_t s[12], q[128];
} q4_K_block;
typedef struct q5_K_block { /* the same */
    uint16_t scale, min;
    uint8_t s[12], high[32], q[128];
} q5_K_block;
typedef struct q6_K_block { /* scale s (q - 32), groups of 16 */
    uint8_t q[128], high[64];
    int8_t s[16];
    uint16_t scale;
} q6_K_block;
_Static_assert(sizeof(q4_0_block) == 18 && sizeof(q4_1_block) == 20 && sizeof(q5_0_block) == 22 && sizeof(q5_1_block) == 24 &&
                   sizeof(q8_0_block) == 34 && sizeof(iq4_nl_block) == 18 && sizeof(mxfp4_block) == 17,
               "as in the file");
_Static_assert(sizeof(q2_K_block) == 84 && sizeof(q3_K_block) == 110 && sizeof(q4_K_block) == 144 && sizeof(q5_K_block) == 176 &&
                   sizeof(q6_K_block) == 210,
               "as in the file");

/* Quantises n values, a multiple of the block. Formats of one rounding (Q4_0 ... Q8_0, MXFP4) give ggml's bits, the others are searched for a
 * small error. Every input gives some block: NaN and infinity too. */
void blocks_from_f32(void *y, const float *x, ry_dtype t, int64_t n);
/* MXFP4 whose codes and scales lie apart, byte i of a block with values 2i (low half) and 2i + 1, as blocks. */
void blocks_from_mxfp4(void *y, const uint8_t *codes, const uint8_t *scales, int64_t n);
#endif
