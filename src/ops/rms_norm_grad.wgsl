// rms_norm_grad.wgsl - with t = gy w:  gx = r t - r^3 mean(t x) x,  gw = sum over rows of r gy x.
// LANES threads walk over every u.walkers-th row (row_launch.h) with sums for gw in registers; a group's add up and go to tmp
// [groups, wide]; `columns` adds them up. Rows too long for registers (PER 0) are read again, and leave r in tmp for `columns`.
#include reduce
#if HAS_S2
#include columns
#end

fn weighted(v: vec4<f32>, i: u32) -> vec4<f32> {
#if HAS_S2
    return v * ld4_s2(i, u.len - i);
#else
    return v;
#end
}
#if PER
#if HAS_S2 && WG > LANES
var<workgroup> ours_: array<vec4<f32>, ${WG}>;
#end
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let walker = group * ${WG / LANES}u + t / ${LANES}u;
#for k 0 PER
    let i${k} = 4u * lane + ${4 * LANES * k}u;
    var sum${k} = vec4<f32>();
#end
    for (var first = 0u; first < u.rows; first += u.walkers) {
        let mine = first + walker < u.rows;
        let row = min(first + walker, u.rows - 1u);
        let gat = g_row(row);
        let xat = x_row(row);
        var s = vec2<f32>();
#for k 0 PER
        var g${k} = vec4<f32>();
        var x${k} = vec4<f32>();
        var t${k} = vec4<f32>();
        if (i${k} < u.len) {
            g${k} = ld4_s0(gat + i${k}, u.len - i${k});
            x${k} = ld4_s1(xat + i${k}, u.len - i${k});
            t${k} = weighted(g${k}, i${k});
        }
        s += vec2<f32>(dot(x${k}, x${k}), dot(t${k}, x${k}));
#end
        s = row_sum2(s, t) / f32(u.len);
        let r = inverseSqrt(s.x + u.eps);
        if (mine) {
#for k 0 PER
            if (i${k} < u.len) { st4_o0(row * u.len + i${k}, u.len - i${k}, r * (t${k} - r * r * s.y * x${k})); }
            sum${k} += r * g${k} * x${k};
#end
        }
    }
#if HAS_S2
#for k 0 PER
#if WG > LANES
    workgroupBarrier();
    ours_[t] = sum${k};
    workgroupBarrier();
    for (var other = t + ${LANES}u; t < ${LANES}u && other < ${WG}u; other += ${LANES}u) { sum${k} += ours_[other]; }
#end
    if (t < ${LANES}u && i${k} < u.wide) { st4_tmp(group * u.wide + i${k}, 4u, sum${k}); }
#end
#end
}
#else
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let gat = g_row(group);
    let xat = x_row(group);
    var s = vec2<f32>();
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        let x = ld4_s1(xat + i, u.len - i);
        s += vec2<f32>(dot(x, x), dot(weighted(ld4_s0(gat + i, u.len - i), i), x));
    }
    s = row_sum2(s, t) / f32(u.len);
    let r = inverseSqrt(s.x + u.eps);
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        let v = weighted(ld4_s0(gat + i, u.len - i), i) - r * r * s.y * ld4_s1(xat + i, u.len - i);
        st4_o0(group * u.len + i, u.len - i, r * v);
    }
#if HAS_S2
    if (t == 0u) { st_tmp(group, r); }
#end
}
#end
#if HAS_S2
@compute @workgroup_size(${CG}) fn columns(${ARGS}) {
    ${BEGIN}
    let i = 4u * min(8u * group + t % 8u, (u.len - 1u) / 4u);
#if PER
    let sum = column_sum(i, u.wide, u.walkers / ${WG / LANES}u, t);
#else
    var part = vec4<f32>();
    for (var row = t / 8u; row < u.rows; row += ${CG / 8}u) {
        part += ld_tmp(row) * ld4_s0(g_row(row) + i, u.len - i) * ld4_s1(x_row(row) + i, u.len - i);
    }
    let sum = column_join(part, t);
#end
    if (t < 8u && 32u * group + 4u * t < u.len) { st4_o1(i, u.len - i, sum); }
}
#end
