// rope.wgsl - pairs of dims turn by pos * freq: y = (p cos - q sin, q cos + p sin); what lies behind `rotary` is copied.
// A thread takes 4 pairs (or 4 of the dims that are copied) of one position, in HEADS heads: the angles are computed once.

// Sine and cosine of 4 angles, up to 2^17 quarter turns. pi / 2 in parts of 7 bits, whose products with the number of turns are exact.
struct Turn { s: vec4<f32>, c: vec4<f32> }
fn turn(angle: vec4<f32>) -> Turn {
    let n = round(angle * 0.6366197723675814);
    let r = ((((angle - n * 1.5625) - n * 0.0081787109375) - n * 1.1730194091796875e-4) - n * 3.129243850708008e-7) - n * 9.920935796805404e-10;
    let z = r * r;
    let s = r + r * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
    let c = 1.0 - z * (0.5 - z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0))));
    let k = vec4<i32>(n);
    let odd = (k & vec4<i32>(1)) != vec4<i32>();
    let a = select(s, c, odd);
    let b = select(c, s, odd);
    return Turn(select(a, -a, (k & vec4<i32>(2)) != vec4<i32>()), select(b, -b, ((k + 1) & vec4<i32>(2)) != vec4<i32>()));
}

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = group * ${WG}u + t;
    if (i >= u.threads) { return; }
    let unit = i % u.units; // 4 pairs, or 4 dims behind them
    let at = i / u.units / u.chunks; // b T + t
    let first = i / u.units % u.chunks * ${HEADS}u;
    let last = min(first + ${HEADS}u, u.heads);
    if (unit >= u.pair_units) {
        let d = u.rotary + 4u * (unit - u.pair_units);
        for (var h = first; h < last; h++) {
            let row = at * u.heads + h;
            st4_o0(row * u.len + d, u.len - d, ld4_s0(x_row(row) + d, u.len - d));
        }
        return;
    }
    let p = 4u * unit;
    let n = u.half - p;
    // Through an integer, so that the product is rounded, as on other devices, and not fused into the reduction of the angle.
    let angle = bitcast<vec4<f32>>(bitcast<vec4<u32>>(f32(ld_s1(at % u.positions)) * ld4_s2(p, n)) ^ vec4<u32>(u.zero));
    var by = turn(angle);
    by.s *= u.sine;
    by.c *= u.cosine;
    for (var h = first; h < last; h++) {
        let row = at * u.heads + h;
        let x = x_row(row);
        let y = row * u.len;
#if interleaved
        let lo = ld4_s0(x + 2u * p, 2u * n);
        var hi = vec4<f32>();
        if (n > 2u) { hi = ld4_s0(x + 2u * p + 4u, 2u * n - 4u); }
        let a = vec4<f32>(lo.xz, hi.xz);
        let b = vec4<f32>(lo.yw, hi.yw);
        let c = a * by.c - b * by.s;
        let d = b * by.c + a * by.s;
        st4_o0(y + 2u * p, 2u * n, vec4<f32>(c.x, d.x, c.y, d.y));
        if (n > 2u) { st4_o0(y + 2u * p + 4u, 2u * n - 4u, vec4<f32>(c.z, d.z, c.w, d.w)); }
#else
        let a = ld4_s0(x + p, n);
        let b = ld4_s0(x + u.half + p, n);
        st4_o0(y + p, n, a * by.c - b * by.s);
        st4_o0(y + u.half + p, n, b * by.c + a * by.s);
#end
    }
}
