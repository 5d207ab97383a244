// rope_cache.wgsl - one position: q [heads, len] and k turn by pos * freq (rope.wgsl), k and v are written into row `at` of their caches; a row
// outside is not written. A thread takes 4 pairs, or 4 of the elements that are copied, of one head.
#include turn

fn put(head: u32, d: u32, row: u32, v: vec4<f32>) {
    if (head < u.heads) { st4_o2(head * u.len + d, 4u, v); }
    else if (row < u.rows) { st4_o0(row * u.k_len + (head - u.heads) * u.len + d, 4u, v); }
}
fn taken(head: u32, d: u32) -> vec4<f32> {
    if (head < u.heads) { return ld4_s2(head * u.len + d, 4u); }
    return ld4_s3((head - u.heads) * u.len + d, 4u);
}

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = group * ${WG}u + t;
    if (i >= u.threads) { return; }
    let row = bitcast<u32>(ld_s7(0u));
    if (i >= u.turned) {
        let d = 4u * (i - u.turned);
        if (row < u.rows) { st4_o1(row * u.v_len + d, 4u, ld4_s4(d, 4u)); }
        return;
    }
    let head = i / u.units;
    let unit = i % u.units;
    if (unit >= u.pair_units) {
        let d = u.rotary + 4u * (unit - u.pair_units);
        put(head, d, row, taken(head, d));
        return;
    }
    let p = 4u * unit;
    let by = turn_by(ld_s5(0u), ld4_s6(p, 4u));
#if interleaved
    let lo = taken(head, 2u * p);
    let hi = taken(head, 2u * p + 4u);
    let a = vec4<f32>(lo.xz, hi.xz);
    let b = vec4<f32>(lo.yw, hi.yw);
    let c = a * by.c - b * by.s;
    let d = b * by.c + a * by.s;
    put(head, 2u * p, row, vec4<f32>(c.x, d.x, c.y, d.y));
    put(head, 2u * p + 4u, row, vec4<f32>(c.z, d.z, c.w, d.w));
#else
    let a = taken(head, p);
    let b = taken(head, u.rotary / 2u + p);
    put(head, p, row, a * by.c - b * by.s);
    put(head, u.rotary / 2u + p, row, b * by.c + a * by.s);
#end
}
