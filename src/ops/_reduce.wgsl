// _reduce.wgsl - `#include reduce`: sums and greatest values over a group of WG threads, in a fixed order. Every thread gets the result;
// all threads of the group must call.
var<workgroup> reduce_: array<f32, ${WG}>;
fn group_sum(x: f32, t: u32) -> f32 {
    workgroupBarrier();
    reduce_[t] = x;
    workgroupBarrier();
    for (var s = ${WG / 2}u; s > 0u; s >>= 1u) {
        if (t < s) { reduce_[t] += reduce_[t + s]; }
        workgroupBarrier();
    }
    return reduce_[0];
}
fn group_max(x: f32, t: u32) -> f32 {
    workgroupBarrier();
    reduce_[t] = x;
    workgroupBarrier();
    for (var s = ${WG / 2}u; s > 0u; s >>= 1u) {
        if (t < s) { reduce_[t] = max(reduce_[t], reduce_[t + s]); }
        workgroupBarrier();
    }
    return reduce_[0];
}
const LOWEST = -3.0e38; // stands for minus infinity, which WGSL may assume away
fn mask4(n: u32) -> vec4<bool> { return vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n); }
fn sum4(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn max4(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
