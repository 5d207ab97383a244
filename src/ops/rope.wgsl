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
    // All heads are read before the first is written, which may be in place.
#for h 0 HEADS
    let row${h} = at * u.heads + min(first + ${h}u, u.heads - 1u);
    let x${h} = x_row(row${h});
#if interleaved
    let from${h} = ld4_s0(x${h} + 2u * p, 2u * n);
    var then${h} = vec4<f32>();
    if (n > 2u) { then${h} = ld4_s0(x${h} + 2u * p + 4u, 2u * n - 4u); }
    let low${h} = vec4<f32>(from${h}.xz, then${h}.xz);
    let high${h} = vec4<f32>(from${h}.yw, then${h}.yw);
#else
    let low${h} = ld4_s0(x${h} + p, n);
    let high${h} = ld4_s0(x${h} + u.half + p, n);
#end
#end
#for h 0 HEADS
    if (first + ${h}u < last) {
        let y = row${h} * u.len;
        let c = low${h} * by.c - high${h} * by.s;
        let d = high${h} * by.c + low${h} * by.s;
#if interleaved
        st4_o0(y + 2u * p, 2u * n, vec4<f32>(c.x, d.x, c.y, d.y));
        if (n > 2u) { st4_o0(y + 2u * p + 4u, 2u * n - 4u, vec4<f32>(c.z, d.z, c.w, d.w)); }
#else
        st4_o0(y + p, n, c);
        st4_o0(y + u.half + p, n, d);
#end
    }
#end
}
