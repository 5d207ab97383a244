// embedding.wgsl - y[o, r, c] = x[o, ids[r], c]: whole slices by number, x as [outer, len, inner]. Four elements of y a thread.
// A number out of range gives NaN, or 0 where y is no float. Where x runs in pieces, each writes its own slices, the first one also those.
fn missing() -> ${T_O0} {
#if FLOATS
    return bitcast<f32>(u.nan);
#else
    return ${T_O0}(0);
#end
}

fn element(i: u32) -> ${T_O0} {
    let row = i / u.inner;
    let id = u32(ld_s1(row % u.count));
    if (id >= u.len) { return missing(); }
    return ld_s0((row / u.count * u.len + id) * u.inner + (i - row * u.inner));
}

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * ${WG}u + t);
    if (i >= u.total) { return; }
#if FOURS
    let row = i / u.inner;
    let id = u32(ld_s1(row % u.count));
    let own = id - u.cut_from;
    if (own < u.len) {
        st4_o0(i, 4u, ld4_s0((row / u.count * u.len + own) * u.inner + (i - row * u.inner), 4u));
    } else if (u.cut_from == 0u && id >= u.cut_length) {
        st4_o0(i, 4u, vec4<${T_O0}>(missing()));
    }
#else
    var v = vec4<${T_O0}>(element(i));
    if (i + 1u < u.total) { v.y = element(i + 1u); }
    if (i + 2u < u.total) { v.z = element(i + 2u); }
    if (i + 3u < u.total) { v.w = element(i + 3u); }
    st4_o0(i, u.total - i, v);
#end
}
