// _columns.wgsl - `#include columns`: adds up rows of tmp, 8 vectors of 4 columns and WG / 8 rows at a time, in a fixed order.
var<workgroup> column_: array<vec4<f32>, ${WG}>;
// Of the columns 4 (group 8 + t % 8) ..: the sum over tmp[first + step row + column], valid in threads t < 8.
fn column_sum(first: u32, step: u32, rows: u32, t: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var r = t / 8u; r < rows; r += ${WG / 8}u) { sum += ld4_tmp(first + step * r, 4u); }
    return column_join(sum, t);
}
fn column_join(x: vec4<f32>, t: u32) -> vec4<f32> {
    workgroupBarrier();
    column_[t] = x;
    workgroupBarrier();
    for (var s = ${WG / 2}u; s >= 8u; s >>= 1u) {
        if (t < s) { column_[t] += column_[t + s]; }
        workgroupBarrier();
    }
    return column_[t % 8u];
}
