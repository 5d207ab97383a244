// grouped_matmul.wgsl - products of experts by tiles: GROUPED 1: rows of x by their expert's w; 2: a^T b over each expert's rows.
// FEW: few rows of x, each by itself: LANES threads stand along k for two of its columns, a unit of sixteen elements each: four quads, NEAR and
// FAR apart as the dtype of w has them (ry_dtype_text), so that a block's words are read whole.
#if FEW
#include reduce
const NEAR = ${NEAR}u;
const FAR = ${FAR}u;
const STEP = select(4u, 8u, NEAR == 4u);
const EACH = ${WG / LANES * 2}u;
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let across = (u.n + EACH - 1u) / EACH;
    let row = group / across;
    let column = group % across * EACH + t / ${LANES}u * 2u;
    var expert = 0u; // the first whose rows end after this one
    var beyond = u.experts;
    while (expert < beyond) {
        let middle = (expert + beyond) / 2u;
        if (u32(ld_s2(middle + 1u)) > row) { beyond = middle; } else { expert = middle + 1u; }
    }
    var sum = vec2<f32>();
    if (expert < u.experts && u32(ld_s2(min(expert, u.experts))) <= row) {
        let x = row * u.x_row;
        let a = expert * u.w_expert + min(column, u.n - 1u) * u.k;
        let b = expert * u.w_expert + min(column + 1u, u.n - 1u) * u.k;
        for (var unit = t % ${LANES}u; unit < u.k / 16u; unit += ${LANES}u) {
            let k = unit / (FAR / 8u) * (2u * FAR) + unit % (FAR / 8u) * STEP;
            let wa = ld16_s1(a + k, FAR);
            let wb = ld16_s1(b + k, FAR);
            let v0 = ld4_s0(x + k, 4u);
            let v1 = ld4_s0(x + k + NEAR, 4u);
            let v2 = ld4_s0(x + k + FAR, 4u);
            let v3 = ld4_s0(x + k + NEAR + FAR, 4u);
            sum += vec2<f32>((dot(wa[0], v0) + dot(wa[1], v1)) + (dot(wa[2], v2) + dot(wa[3], v3)),
                             (dot(wb[0], v0) + dot(wb[1], v1)) + (dot(wb[2], v2) + dot(wb[3], v3)));
        }
    }
    let all = row_sum2(sum, t);
    if (t % ${LANES}u == 0u) {
        if (column < u.n) { st_o0(row * u.n + column, all.x); }
        if (column + 1u < u.n) { st_o0(row * u.n + column + 1u, all.y); }
    }
}
#else
#include bf16
fn store_c(i: u32, n: u32, v: vec4<f32>) { st4_o0(i, n, v); }
#include gemm_plain
#let A_AT 0u
#if GROUPED == 1
#let B_AT z * u.b_expert
#let C_AT 0u
#else
#let B_AT 0u
#let C_AT z * u.c_z
#end
#include gemm
#end
