// grouped_matmul.wgsl - products of experts by tiles: GROUPED 1: rows of x by their expert's w; 2: a^T b over each expert's rows.
#include bf16
fn store_c(i: u32, n: u32, v: vec4<f32>) { st4_o0(i, n, v); }
#include gemm
