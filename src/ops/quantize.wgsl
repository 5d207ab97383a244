// quantize.wgsl - floats to q8_0: a thread a block of 32. The scale d is the greatest magnitude / 127 (f16), then 32 signed bytes of
// x / d, halves away from zero. Halves of words go out one by one: blocks of 34 bytes share words.
fn byte4(v: vec4<f32>) -> vec4<u32> {
    let ok = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) <= vec4<u32>(0x7f800000u); // not NaN
    let x = clamp(select(vec4<f32>(), v, ok), vec4<f32>(-127.0), vec4<f32>(127.0));
    return bitcast<vec4<u32>>(vec4<i32>(x + select(vec4<f32>(0.5), vec4<f32>(-0.5), x < vec4<f32>()))) & vec4<u32>(0xffu);
}

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let block = group * ${WG}u + t;
    if (block >= u.blocks) { return; }
    var most = vec4<f32>();
    for (var k = 0u; k < 32u; k += 4u) { most = max(most, abs(ld4_s0(32u * block + k, 4u))); }
    let scale = max(max(most.x, most.y), max(most.z, most.w)) / 127.0;
    let inverse = select(0.0, 1.0 / scale, scale > 0.0);
    let at = 17u * block;
    st_o0(at, f16_bits(scale));
    for (var k = 0u; k < 32u; k += 4u) {
        let q = byte4(ld4_s0(32u * block + k, 4u) * inverse);
        st_o0(at + 1u + k / 2u, q.x | q.y << 8u);
        st_o0(at + 2u + k / 2u, q.z | q.w << 8u);
    }
}
