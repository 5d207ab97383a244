// gather.wgsl - y[i,j] = x[i, idx[i,j]] along an axis; x with any strides. Four elements of y a thread, or one of 64 bits.
// A number out of range gives NaN, or 0 where y is no float.
#if UNITS == 2
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = group * ${WG}u + t;
    if (i >= u.count) { return; }
    let id = u32(ld_s1(i));
    let at = 2u * (x_at(i) + id * u.step);
    for (var k = 0u; k < 2u; k++) {
        var v = 0u;
        if (id < u.len) { v = ld_s0(at + k); }
        st_o0(2u * i + k, v);
    }
}
#else
fn element(i: u32, id: i32) -> ${T_O0} {
    if (u32(id) < u.len) { return ld_s0(x_at(i) + u32(id) * u.step); }
#if FLOATS
    return bitcast<f32>(u.nan);
#else
    return ${T_O0}(0);
#end
}

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * ${WG}u + t);
    if (i >= u.count) { return; }
    let id = ld4_s1(i, u.count - i);
    var v = vec4<${T_O0}>(element(i, id.x));
    if (i + 1u < u.count) { v.y = element(i + 1u, id.y); }
    if (i + 2u < u.count) { v.z = element(i + 2u, id.z); }
    if (i + 3u < u.count) { v.w = element(i + 3u, id.w); }
    st4_o0(i, u.count - i, v);
}
#end
