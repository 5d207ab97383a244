// grouped_matmul.wgsl - products of experts by tiles: GROUPED 1: rows of x by their expert's w; 2: a^T b over each expert's rows.
#include bf16
#include gemm
