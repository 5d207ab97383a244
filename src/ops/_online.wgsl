// _online.wgsl - `#include online`, after reduce: softmax's two numbers in one pass: the greatest x so far, and the sum of exp(x - it).
fn online_take(a: vec2<f32>, x: vec4<f32>) -> vec2<f32> {
    let top = max(a.x, max4(x));
    return vec2<f32>(top, a.y * exp(a.x - top) + sum4(exp(x - vec4<f32>(top))));
}
// Of the LANES threads of a row, each with its part.
fn online_row(a: vec2<f32>, t: u32) -> vec2<f32> {
    let top = row_max(a.x, t);
    return vec2<f32>(top, row_sum(a.y * exp(a.x - top), t));
}
