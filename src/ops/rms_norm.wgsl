// rms_norm.wgsl - y = x / sqrt(mean(x^2) + eps) w, a group a row.
#include reduce

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let x = x_row(group);
    let y = group * u.len;
    var sum = 0.0;
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        let v = ld4_s0(x + i, u.len - i);
        sum += dot(v, v);
    }
    let r = inverseSqrt(group_sum(sum, t) / f32(u.len) + u.eps);
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        var v = r * ld4_s0(x + i, u.len - i);
#if HAS_S1
        v *= ld4_s1(i, u.len - i);
#end
        st4_o0(y + i, u.len - i, v);
    }
}
