// _columns.wgsl - `#include columns`: adds up rows of tmp, 8 vectors of 4 columns and CG / 8 rows at a time, in a fixed order. Entries that
// call have CG threads.
var<workgroup> column_: array<vec4<f32>, ${CG}>;
// Of the columns 4 (group 8 + t % 8) ..: the sum over tmp[first + step row + column], valid in threads t < 8.
fn column_sum(first: u32, step: u32, rows: u32, t: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    var r = t / 8u;
    for (; r + ${7 * (CG / 8)}u < rows; r += ${CG}u) { // eight reads are on their way at once
#for k 0 8
        let v${k} = ld4_tmp(first + step * (r + ${k * (CG / 8)}u), 4u);
#end
        sum += ((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7));
    }
    for (; r < rows; r += ${CG / 8}u) { sum += ld4_tmp(first + step * r, 4u); }
    return column_join(sum, t);
}
fn column_join(x: vec4<f32>, t: u32) -> vec4<f32> {
    workgroupBarrier();
    column_[t] = x;
    workgroupBarrier();
    for (var s = ${CG / 2}u; s >= 8u; s >>= 1u) {
        if (t < s) { column_[t] += column_[t + s]; }
        workgroupBarrier();
    }
    return column_[t % 8u];
}
