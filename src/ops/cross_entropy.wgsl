// cross_entropy.wgsl - loss = log(sum(exp(x))) - x[target], 0 where the target is ignored. LANES threads a row (row_launch.h), read once:
// the greatest so far and the sum of exp(x - it) go along.
#include reduce
#include online

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let at = group * ${WG / LANES}u + t / ${LANES}u;
    let row = min(at, u.rows - 1u);
    let x = x_row(row);
    var part = vec2<f32>(LOWEST, 0.0);
    for (var i = t % ${LANES}u * 4u; i < u.len; i += ${4 * LANES}u) {
        part = online_take(part, select(vec4<f32>(LOWEST), ld4_s0(x + i, u.len - i), mask4(u.len - i)));
    }
    let all = online_row(part, t);
    if (t % ${LANES}u == 0u && at < u.rows) {
        let target_ = ld_s1(row);
        var loss = 0.0;
        if (target_ != bitcast<i32>(u.ignore)) {
            loss = bitcast<f32>(u.nan_bits);
            if (u32(target_) < u.len) { loss = log(all.y) + (all.x - ld_s0(x + u32(target_))); }
        }
        st_o0(row, loss);
    }
}
