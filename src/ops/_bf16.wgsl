// _bf16.wgsl - `#include bf16`: the nearest bf16, ties to even, as f32. NaN stays one.
fn round_bf16(v: vec4<f32>) -> vec4<f32> {
    let b = bitcast<vec4<u32>>(v);
    let near = (b + vec4<u32>(0x7fffu) + ((b >> vec4<u32>(16u)) & vec4<u32>(1u))) & vec4<u32>(0xffff0000u);
    return bitcast<vec4<f32>>(select(near, b | vec4<u32>(0x400000u), (b & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u)));
}
