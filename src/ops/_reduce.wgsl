// _reduce.wgsl - `#include reduce`: sums and greatest values over the LANES threads that share a row (row_launch.h; a power of two; the
// whole group where the launch names no LANES), in a fixed order. Every thread gets its row's result; all threads of the group must call.
var<workgroup> row_: array<vec2<f32>, ${WG}>;
fn row_sum2(x: vec2<f32>, t: u32) -> vec2<f32> {
    let first = t - t % ${LANES}u;
#if SUBGROUPS
    let near = min(subgroupAdd(1u), ${LANES}u); // threads whose numbers differ in low bits only are of one subgroup
    var y = x;
    for (var s = 1u; s < near; s <<= 1u) { y += subgroupShuffleXor(y, s); }
    workgroupBarrier();
    row_[t] = y;
    workgroupBarrier();
    y = row_[first];
    for (var k = near; k < ${LANES}u; k += near) { y += row_[first + k]; }
    return y;
#else
    workgroupBarrier();
    row_[t] = x;
    workgroupBarrier();
    for (var s = ${LANES / 2}u; s > 0u; s >>= 1u) {
        if (t - first < s) { row_[t] += row_[t + s]; }
        workgroupBarrier();
    }
    return row_[first];
#end
}
fn row_sum(x: f32, t: u32) -> f32 { return row_sum2(vec2<f32>(x, 0.0), t).x; }
fn row_max(x: f32, t: u32) -> f32 {
    let first = t - t % ${LANES}u;
#if SUBGROUPS
    let near = min(subgroupAdd(1u), ${LANES}u);
    var y = x;
    for (var s = 1u; s < near; s <<= 1u) { y = max(y, subgroupShuffleXor(y, s)); }
    workgroupBarrier();
    row_[t].x = y;
    workgroupBarrier();
    y = row_[first].x;
    for (var k = near; k < ${LANES}u; k += near) { y = max(y, row_[first + k].x); }
    return y;
#else
    workgroupBarrier();
    row_[t].x = x;
    workgroupBarrier();
    for (var s = ${LANES / 2}u; s > 0u; s >>= 1u) {
        if (t - first < s) { row_[t].x = max(row_[t].x, row_[t + s].x); }
        workgroupBarrier();
    }
    return row_[first].x;
#end
}
const LOWEST = -3.0e38; // stands for minus infinity, which WGSL may assume away
fn mask4(n: u32) -> vec4<bool> { return vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n); }
fn sum4(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn max4(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
