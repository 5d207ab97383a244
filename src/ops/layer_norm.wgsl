// layer_norm.wgsl - y = (x - mean) / sqrt(variance + eps) w + b. LANES threads a row (row_launch.h), which stays in registers where it fits.
#include reduce

fn affine(h: vec4<f32>, i: u32) -> vec4<f32> {
    var y = h;
#if HAS_S1
    y *= ld4_s1(i, u.len - i);
#end
#if HAS_S2
    y += ld4_s2(i, u.len - i);
#end
    return y;
}
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let at = group * ${WG / LANES}u + t / ${LANES}u;
    let row = min(at, u.rows - 1u);
    let x = x_row(row);
    let y = row * u.len;
    var sum = 0.0;
    var squares = 0.0;
#if PER
#for k 0 PER
    let i${k} = 4u * lane + ${4 * LANES * k}u;
    var x${k} = vec4<f32>();
    if (i${k} < u.len) { x${k} = ld4_s0(x + i${k}, u.len - i${k}); }
    sum += sum4(x${k});
#end
    let mean = row_sum(sum, t) / f32(u.len);
#for k 0 PER
    x${k} = select(vec4<f32>(), x${k} - vec4<f32>(mean), mask4(max(u.len, i${k}) - i${k}));
    squares += dot(x${k}, x${k});
#end
    let r = inverseSqrt(row_sum(squares, t) / f32(u.len) + u.eps);
    if (at >= u.rows) { return; }
#for k 0 PER
    if (i${k} < u.len) { st4_o0(y + i${k}, u.len - i${k}, affine(r * x${k}, i${k})); }
#end
#else
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) { sum += sum4(ld4_s0(x + i, u.len - i)); }
    let mean = row_sum(sum, t) / f32(u.len);
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) {
        let d = select(vec4<f32>(), ld4_s0(x + i, u.len - i) - vec4<f32>(mean), mask4(u.len - i));
        squares += dot(d, d);
    }
    let r = inverseSqrt(row_sum(squares, t) / f32(u.len) + u.eps);
    if (at >= u.rows) { return; }
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) {
        st4_o0(y + i, u.len - i, affine(r * (ld4_s0(x + i, u.len - i) - vec4<f32>(mean)), i));
    }
#end
}
