// rms_norm.wgsl - y = x / sqrt(mean(x^2) + eps) w. LANES threads a row (row_launch.h), which stays in registers where it fits.
#include reduce

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let at = group * ${WG / LANES}u + t / ${LANES}u;
    let row = min(at, u.rows - 1u);
    let x = x_row(row);
    let y = row * u.len;
    var sum = 0.0;
#if PER
#for k 0 PER
    let i${k} = 4u * lane + ${4 * LANES * k}u;
    var x${k} = vec4<f32>();
    if (i${k} < u.len) { x${k} = ld4_s0(x + i${k}, u.len - i${k}); }
    sum += dot(x${k}, x${k});
#end
    let r = inverseSqrt(row_sum(sum, t) / f32(u.len) + u.eps);
    if (at >= u.rows) { return; }
#for k 0 PER
    if (i${k} < u.len) { st4_o0(y + i${k}, u.len - i${k}, r * x${k} * weight(i${k})); }
#end
#else
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) {
        let v = ld4_s0(x + i, u.len - i);
        sum += dot(v, v);
    }
    let r = inverseSqrt(row_sum(sum, t) / f32(u.len) + u.eps);
    if (at >= u.rows) { return; }
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) {
        st4_o0(y + i, u.len - i, r * ld4_s0(x + i, u.len - i) * weight(i));
    }
#end
}
fn weight(i: u32) -> vec4<f32> {
#if HAS_S1
    return ld4_s1(i, u.len - i);
#else
    return vec4<f32>(1.0);
#end
}
