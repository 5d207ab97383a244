// _turn.wgsl - `#include turn`: sine and cosine of the angles of rotary embeddings.
// Sine and cosine of 4 angles, up to 2^17 quarter turns. pi / 2 in parts of 7 bits, whose products with the number of turns are exact.

struct Turn { s: vec4<f32>, c: vec4<f32> }
fn turn(angle: vec4<f32>) -> Turn {
    let n = round(angle * 0.6366197723675814);
    let r = ((((angle - n * 1.5625) - n * 0.0081787109375) - n * 1.1730194091796875e-4) - n * 3.129243850708008e-7) - n * 9.920935796805404e-10;
    let z = r * r;
    let s = r + r * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
    let c = 1.0 - z * (0.5 - z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0))));
    let k = vec4<i32>(n);
    let odd = (k & vec4<i32>(1)) != vec4<i32>();
    let a = select(s, c, odd);
    let b = select(c, s, odd);
    return Turn(select(a, -a, (k & vec4<i32>(2)) != vec4<i32>()), select(b, -b, ((k + 1) & vec4<i32>(2)) != vec4<i32>()));
}
// Of pos times four frequencies. Through an integer, so that the product is rounded, as on other devices, and not fused into the reduction.
fn turn_by(pos: i32, freq: vec4<f32>) -> Turn {
    var by = turn(bitcast<vec4<f32>>(bitcast<vec4<u32>>(f32(pos) * freq) ^ vec4<u32>(u.zero)));
    by.s *= u.sine;
    by.c *= u.cosine;
    return by;
}
