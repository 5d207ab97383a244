// layer_norm_grad.wgsl - with h = (x - mean) r and t = gy w:  gx = r (t - mean(t) - h mean(t h)),  gw = sum over rows of gy h,  gb = of gy.
// LANES threads walk over every u.walkers-th row (row_launch.h) with the sums for gw and gb in registers, which go to tmp [walkers, SUMS,
// wide]; `columns` adds them up. Rows too long for registers (PER 0) are read again, and leave mean and r in tmp for `columns`.
#include reduce
#if SUMS
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
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let walker = group * ${WG / LANES}u + t / ${LANES}u;
#for k 0 PER
    let i${k} = 4u * lane + ${4 * LANES * k}u;
    var gw${k} = vec4<f32>();
    var gb${k} = vec4<f32>();
#end
    for (var first = 0u; first < u.rows; first += u.walkers) {
        let mine = first + walker < u.rows;
        let row = min(first + walker, u.rows - 1u);
        let gat = g_row(row);
        let xat = x_row(row);
        var sum = 0.0;
#for k 0 PER
        var g${k} = vec4<f32>();
        var h${k} = vec4<f32>();
        if (i${k} < u.len) {
            g${k} = ld4_s0(gat + i${k}, u.len - i${k});
            h${k} = ld4_s1(xat + i${k}, u.len - i${k});
        }
        sum += sum4(h${k});
#end
        let mean = row_sum(sum, t) / f32(u.len);
        sum = 0.0;
#for k 0 PER
        h${k} = select(vec4<f32>(), h${k} - vec4<f32>(mean), mask4(max(u.len, i${k}) - i${k}));
        sum += dot(h${k}, h${k});
#end
        let r = inverseSqrt(row_sum(sum, t) / f32(u.len) + u.eps);
        var s = vec2<f32>();
#for k 0 PER
        h${k} *= r;
        var t${k} = vec4<f32>();
        if (i${k} < u.len) { t${k} = weighted(g${k}, i${k}); }
        s += vec2<f32>(sum4(t${k}), dot(t${k}, h${k}));
#end
        s = row_sum2(s, t) / f32(u.len);
        if (mine) {
#for k 0 PER
            if (i${k} < u.len) { st4_o0(row * u.len + i${k}, u.len - i${k}, r * (t${k} - vec4<f32>(s.x) - s.y * h${k})); }
            gw${k} += g${k} * h${k};
            gb${k} += g${k};
#end
        }
    }
#if SUMS
    let to = walker * u.wide * ${SUMS}u;
#for k 0 PER
    if (i${k} < u.wide) {
#if HAS_S2
        st4_tmp(to + i${k}, 4u, gw${k});
#end
#if bias
        st4_tmp(to + ${SUMS - 1}u * u.wide + i${k}, 4u, gb${k});
#end
    }
#end
#end
}
#else
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let gat = g_row(group);
    let xat = x_row(group);
    var sum = 0.0;
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) { sum += sum4(ld4_s1(xat + i, u.len - i)); }
    let mean = row_sum(sum, t) / f32(u.len);
    sum = 0.0;
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        let d = select(vec4<f32>(), ld4_s1(xat + i, u.len - i) - vec4<f32>(mean), mask4(u.len - i));
        sum += dot(d, d);
    }
    let r = inverseSqrt(row_sum(sum, t) / f32(u.len) + u.eps);
    var s = vec2<f32>();
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        let v = weighted(ld4_s0(gat + i, u.len - i), i); // 0 beyond the row
        s += vec2<f32>(sum4(v), dot(v, r * (ld4_s1(xat + i, u.len - i) - vec4<f32>(mean))));
    }
    s = row_sum2(s, t) / f32(u.len);
    for (var i = 4u * t; i < u.len; i += ${4 * WG}u) {
        let h = r * (ld4_s1(xat + i, u.len - i) - vec4<f32>(mean));
        let v = weighted(ld4_s0(gat + i, u.len - i), i);
        st4_o0(group * u.len + i, u.len - i, r * (v - vec4<f32>(s.x) - s.y * h));
    }
#if SUMS
    if (t == 0u) {
        st_tmp(2u * group, mean);
        st_tmp(2u * group + 1u, r);
    }
#end
}
#end
#if SUMS
@compute @workgroup_size(${CG}) fn columns(${ARGS}) {
    ${BEGIN}
    let block = group % u.blocks;
    let which = group / u.blocks; // of the sums
    let i = 4u * min(8u * block + t % 8u, (u.len - 1u) / 4u);
#if PER
    let sum = column_sum(which * u.wide + i, u.wide * ${SUMS}u, u.walkers, t);
#else
    var part = vec4<f32>();
    for (var row = t / 8u; row < u.rows; row += ${CG / 8}u) {
        let g = ld4_s0(g_row(row) + i, u.len - i);
        if (${HAS_S2} == 0 || which == 1u) {
            part += g;
        } else {
            part += g * ld_tmp(2u * row + 1u) * (ld4_s1(x_row(row) + i, u.len - i) - vec4<f32>(ld_tmp(2u * row)));
        }
    }
    let sum = column_join(part, t);
#end
    if (t >= 8u || 32u * block + 4u * t >= u.len) { return; }
#if SUMS == 2
    if (which == 1u) {
        st4_o2(i, u.len - i, sum);
        return;
    }
#end
    st4_o1(i, u.len - i, sum);
}
#end
