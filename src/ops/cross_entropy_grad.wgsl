// cross_entropy_grad.wgsl - gx = gy (softmax(x) - onehot(target)), 0 where the target is ignored or no class. LANES threads a row
// (row_launch.h), which stays in registers where it fits and else is read twice.
#include reduce
#include online

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let at = group * ${WG / LANES}u + t / ${LANES}u;
    let row = min(at, u.rows - 1u);
    let x = x_row(row);
    let y = row * u.len;
    let target_ = ld_s2(row);
#if PER
    var top = LOWEST;
#for k 0 PER
    let i${k} = 4u * lane + ${4 * LANES * k}u;
    var x${k} = vec4<f32>(LOWEST);
    if (i${k} < u.len) { x${k} = select(x${k}, ld4_s1(x + i${k}, u.len - i${k}), mask4(u.len - i${k})); }
    top = max(top, max4(x${k}));
#end
    top = row_max(top, t);
    var sum = 0.0;
#for k 0 PER
    x${k} = exp(x${k} - vec4<f32>(top));
    sum += sum4(x${k});
#end
    sum = row_sum(sum, t);
#else
    var part = vec2<f32>(LOWEST, 0.0);
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) {
        part = online_take(part, select(vec4<f32>(LOWEST), ld4_s1(x + i, u.len - i), mask4(u.len - i)));
    }
    let all = online_row(part, t);
    let top = all.x;
    let sum = all.y;
#end
    if (at >= u.rows) { return; }
    var g = ld_s0(g_at(row));
    if (target_ == bitcast<i32>(u.ignore) || u32(target_) >= u.len) { g = 0.0; }
#if PER
#for k 0 PER
    if (i${k} < u.len) { st4_o0(y + i${k}, u.len - i${k}, grad(x${k}, sum, i${k}, u32(target_), g)); }
#end
#else
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) {
        st4_o0(y + i, u.len - i, grad(exp(ld4_s1(x + i, u.len - i) - vec4<f32>(top)), sum, i, u32(target_), g));
    }
#end
}
fn grad(e: vec4<f32>, sum: f32, i: u32, target_: u32, g: f32) -> vec4<f32> {
    if (g == 0.0) { return vec4<f32>(); } // whatever the row holds
    return e * (g / sum) - select(vec4<f32>(), vec4<f32>(g), vec4<u32>(i, i + 1u, i + 2u, i + 3u) == vec4<u32>(target_));
}
