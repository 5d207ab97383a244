// _prelude.wgsl - at the head of every kernel: what storing narrow types needs.
fn f16_bits(x: f32) -> u32 { return pack2x16float(vec2<f32>(x, 0.0)) & 0xffffu; }
fn bf16_bits(x: f32) -> u32 {
    let b = bitcast<u32>(x);
    return select((b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u, (b >> 16u) | 64u, (b & 0x7fffffffu) > 0x7f800000u);
}
