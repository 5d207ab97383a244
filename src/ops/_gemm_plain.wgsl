// _gemm_plain.wgsl - `#include gemm_plain`: the names of _gemm.wgsl for the product of s0 and s1 as gemm_tile says how they lie.
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
#let C_R u.c_r
#let STORE store_c
