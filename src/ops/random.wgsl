// random.wgsl - number i of a Philox stream: uniform, or normal by Box and Muller from a pair of words, as src/base/rng.c has them.
#include philox
#if NORMAL
// ln x for x in (0, 1].
fn log_unit(x: vec2<f32>) -> vec2<f32> {
    let bits = bitcast<vec2<u32>>(x) - vec2<u32>(0x3f3504f3u);
    let e = vec2<f32>(bitcast<vec2<i32>>(bits) >> vec2<u32>(23u));
    let t = bitcast<vec2<f32>>((bits & vec2<u32>(0x007fffffu)) + vec2<u32>(0x3f3504f3u)) - 1.0;
    var p = vec2<f32>(-0x1.38b576p-4);
    p = p * t + 0x1.055b68p-3;
    p = p * t - 0x1.0d8542p-3;
    p = p * t + 0x1.22da1ep-3;
    p = p * t - 0x1.547244p-3;
    p = p * t + 0x1.99a008p-3;
    p = p * t - 0x1.000226p-2;
    p = p * t + 0x1.555554p-2;
    let square = t * t;
    return (square * t * p - 0.5 * square + t) + e * 0x1.62e430p-1;
}
// Radius from the first word of a pair, angle from the second: a quarter turn q and the rest in [-pi/4, pi/4].
fn numbers(w: vec4<u32>) -> vec4<f32> {
    let r = sqrt(-2.0 * log_unit(vec2<f32>(w.xz >> vec2<u32>(1u)) * 0x1p-31 + 0x1p-32));
    let q = (w.yw + vec2<u32>(0x20000000u)) >> vec2<u32>(30u);
    let x = vec2<f32>(bitcast<vec2<i32>>(w.yw - (q << vec2<u32>(30u)))) * 0x1.921fb6p-30;
    let z = x * x;
    let s = x + x * z * (-0x1.555546p-3 + z * (0x1.110760p-7 + z * -0x1.994eb4p-13));
    let c = 1.0 - 0.5 * z + z * z * (0x1.55554ap-5 + z * (-0x1.6c0c8cp-10 + z * 0x1.9a025ap-16));
    let odd = (q & vec2<u32>(1u)) == vec2<u32>(1u);
    let top = vec2<u32>(0x80000000u);
    let cosine = r * bitcast<vec2<f32>>(bitcast<vec2<u32>>(select(c, s, odd)) ^ (((q + vec2<u32>(1u)) << vec2<u32>(30u)) & top));
    let sine = r * bitcast<vec2<f32>>(bitcast<vec2<u32>>(select(s, c, odd)) ^ ((q << vec2<u32>(30u)) & top));
    return vec4<f32>(cosine.x, sine.x, cosine.y, sine.y);
}
#else
fn numbers(w: vec4<u32>) -> vec4<f32> { return units(w); }
#end

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let block = group * ${WG}u + t;
    if (4u * block < u.total) { st4_o0(4u * block, u.total - 4u * block, numbers(philox(block, vec2<u32>(u.seed, u.seed_hi), u.stream))); }
}
