// _philox.wgsl - `#include philox`: Philox4x32-10 (Salmon et al. 2011), the words of src/base/rng.h.
fn high_half(a: u32, b: u32) -> u32 { // of the product of 64 bits
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let mid = ah * bl + (al * bl >> 16u);
    return ah * bh + (mid >> 16u) + (((mid & 0xffffu) + al * bh) >> 16u);
}
// Words 4 block .. 4 block + 3 of the stream.
fn philox(block: u32, seed: vec2<u32>, stream: u32) -> vec4<u32> {
    var c = vec4<u32>(block, 0u, stream, 0u);
    var key = seed;
    for (var k = 0; k < 10; k++) {
        c = vec4<u32>(high_half(0xcd9e8d57u, c.z) ^ c.y ^ key.x, 0xcd9e8d57u * c.z, high_half(0xd2511f53u, c.x) ^ c.w ^ key.y, 0xd2511f53u * c.x);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}
fn units(w: vec4<u32>) -> vec4<f32> { return vec4<f32>(w >> vec4<u32>(8u)) * 5.9604644775390625e-8; } // [0, 1), 24 bits
