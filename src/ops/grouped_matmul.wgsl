// grouped_matmul.wgsl - products of experts by tiles: GROUPED 1: rows of x by their expert's w; 2: a^T b over each expert's rows.
#include bf16
fn store_c(i: u32, n: u32, v: vec4<f32>) { st4_o0(i, n, v); }
#let P main
#let A s0
#let B s1
#let M u.m
#let M_END u.m
#let N u.n
#let K u.k
#let A_R u.a_r
#let A_K u.a_k
#let B_R u.b_r
#let B_K u.b_k
#let A_AT 0u
#if GROUPED == 1
#let B_AT z * u.b_expert
#let C_AT 0u
#else
#let B_AT 0u
#let C_AT z * u.c_z
#end
#let C_R u.c_r
#let STORE store_c
#include gemm
