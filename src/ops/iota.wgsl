// iota.wgsl - start + step k, k the index along one axis: floats in two parts each, integers in 64 bits.
#if KIND > 0
#include philox
fn product(a: vec2<u32>, b: u32) -> vec2<u32> { return vec2<u32>(a.x * b, high_half(a.x, b) + a.y * b); } // low, high word
fn whole(k: u32) -> vec2<u32> {
    let p = product(vec2<u32>(u.step_low, u.step_high), k);
    let low = p.x + u.start_low;
    return vec2<u32>(low, p.y + u.start_high + select(0u, 1u, low < p.x));
}
fn held(v: vec2<u32>, least: i32, most: i32) -> i32 {
    let low = bitcast<i32>(v.x);
    if (v.y != bitcast<u32>(low >> 31u)) { return select(most, least, bitcast<i32>(v.y) < 0); }
    return clamp(low, least, most);
}
#end

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * ${WG}u + t);
    if (i >= u.total) { return; }
    let n = u.total - i;
    let k = vec4<u32>(i, i + 1u, i + 2u, i + 3u) / u.inner % u.len;
#if KIND == 0
    let f = vec4<f32>(k);
    st4_o0(i, n, fma(f, vec4<f32>(u.step_f), vec4<f32>(u.start_f)) + (f * u.step_rest + u.start_rest));
#else
    let a = whole(k.x);
    let b = whole(k.y);
    let c = whole(k.z);
    let d = whole(k.w);
#if KIND == 1
    st4_o0(i, n, vec4<i32>(bitcast<i32>(a.x), bitcast<i32>(b.x), bitcast<i32>(c.x), bitcast<i32>(d.x)));
#else
#if KIND == 2
    st4_o0(2u * i, 2u * n, vec4<u32>(a, b));
    if (n > 2u) { st4_o0(2u * i + 4u, 2u * n - 4u, vec4<u32>(c, d)); }
#else
    let least = bitcast<i32>(u.least);
    let most = bitcast<i32>(u.most);
    st4_o0(i, n, vec4<i32>(held(a, least, most), held(b, least, most), held(c, least, most), held(d, least, most)));
#end
#end
#end
}
