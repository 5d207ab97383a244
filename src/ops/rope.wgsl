// rope.wgsl - pairs of dims turn by pos * freq: y = (p cos - q sin, q cos + p sin); what lies behind `rotary` is copied.
// A thread takes 4 pairs (or 4 of the dims that are copied) of one position, in HEADS heads: the angles are computed once.

#include turn

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
    let by = turn_by(ld_s1(at % u.positions), ld4_s2(p, n));
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
