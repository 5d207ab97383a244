// _math.wgsl - `#include math`: elementary functions of four floats, in the manner of src/simd/vmath.h, for the built-in ones of drivers
// are inaccurate or undefined at the edges. Launches that include it give a uniform `zero` = 0 (ry_launch_u32): infinity has no literal.
//
// No step counts on the order of additions that a compiler may change, nor on a fused multiply-add: exact parts are cut by bits.
// Denormal numbers may read as 0.
fn v_inf() -> f32 { return bitcast<f32>(0x7f800000u + u.zero); }
fn v_quiet() -> f32 { return bitcast<f32>(0x7fc00000u + u.zero); }
fn v_bits(x: vec4<f32>) -> vec4<u32> { return bitcast<vec4<u32>>(x); }
fn v_float(b: vec4<u32>) -> vec4<f32> { return bitcast<vec4<f32>>(b); }
fn v_magnitude(x: vec4<f32>) -> vec4<u32> { return v_bits(x) & vec4<u32>(0x7fffffffu); }
fn v_nan(x: vec4<f32>) -> vec4<bool> { return v_magnitude(x) > vec4<u32>(0x7f800000u); }
fn v_isinf(x: vec4<f32>) -> vec4<bool> { return v_magnitude(x) == vec4<u32>(0x7f800000u); }
fn v_isfinite(x: vec4<f32>) -> vec4<bool> { return v_magnitude(x) < vec4<u32>(0x7f800000u); }
fn v_negative(x: vec4<f32>) -> vec4<bool> { return (v_bits(x) >> vec4<u32>(31u)) == vec4<u32>(1u); }
fn v_eq(a: vec4<f32>, b: vec4<f32>) -> vec4<bool> { return (a == b) & !(v_nan(a) | v_nan(b)); }
fn v_lt(a: vec4<f32>, b: vec4<f32>) -> vec4<bool> { return (a < b) & !(v_nan(a) | v_nan(b)); }
fn v_le(a: vec4<f32>, b: vec4<f32>) -> vec4<bool> { return (a <= b) & !(v_nan(a) | v_nan(b)); }
fn v_max(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> { return select(select(max(a, b), b, v_nan(b)), a, v_nan(a)); }
fn v_min(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> { return select(select(min(a, b), b, v_nan(b)), a, v_nan(a)); }
fn v_sign(a: vec4<f32>) -> vec4<f32> {
    let one = select(vec4<f32>(1.0), vec4<f32>(-1.0), v_negative(a));
    return select(one, vec4<f32>(), (v_magnitude(a) == vec4<u32>()) | v_nan(a));
}
fn v_copysign(x: vec4<f32>, s: vec4<f32>) -> vec4<f32> { return v_float(v_magnitude(x) | (v_bits(s) & vec4<u32>(0x80000000u))); }
// x, in a way that keeps compilers from joining the steps before and after it: fma(n, a, fma(n, b, x)) becomes fma(n, a + b, x) on Mesa.
fn v_keep(x: vec4<f32>) -> vec4<f32> { return v_float(v_bits(x) + vec4<u32>(u.zero)); }
// The leading 12 bits of significand: products of two such are exact.
fn v_head(x: vec4<f32>) -> vec4<f32> { return v_float(v_bits(x) & vec4<u32>(0xfffff000u)); }

// ---- exponentials ----

// x 2^k, |k| <= 252, in two steps.
fn v_scale(x: vec4<f32>, k: vec4<i32>) -> vec4<f32> {
    let h = k >> vec4<u32>(1u);
    return x * v_float(vec4<u32>(h + vec4<i32>(127)) << vec4<u32>(23u)) * v_float(vec4<u32>(k - h + vec4<i32>(127)) << vec4<u32>(23u));
}
// x - n ln 2 for whole n, |n| < 2^10.
fn v_less_ln2(x: vec4<f32>, n: vec4<f32>) -> vec4<f32> { return fma(n, vec4<f32>(2.12194440e-4), v_keep(fma(n, vec4<f32>(-0.693359375), x))); }
// e^r - 1 for |r| <= ln 2 / 2.
fn v_expm1_core(r: vec4<f32>) -> vec4<f32> {
    var q = fma(r, vec4<f32>(0.001381447122), vec4<f32>(0.00836878069));
    q = fma(r, q, vec4<f32>(0.04166839415));
    q = fma(r, q, vec4<f32>(0.166665201));
    q = fma(r, q, vec4<f32>(0.4999999341));
    return fma(r * r, q, r);
}
// e^x 2^shift.
fn v_exp_shift(x: vec4<f32>, shift: i32) -> vec4<f32> {
    let v = clamp(x, vec4<f32>(-104.0), vec4<f32>(90.0));
    let n = round(v * 1.44269504);
    let y = v_scale(1.0 + v_expm1_core(v_less_ln2(v, n)), vec4<i32>(n) + vec4<i32>(shift));
    return select(y, x, v_nan(x));
}
fn v_exp(x: vec4<f32>) -> vec4<f32> { return v_exp_shift(x, 0); }
fn v_exp2(x: vec4<f32>) -> vec4<f32> {
    let v = clamp(x, vec4<f32>(-151.0), vec4<f32>(129.0));
    let n = round(v);
    let y = v_scale(1.0 + v_expm1_core((v - n) * 0.69314718), vec4<i32>(n));
    return select(y, x, v_nan(x));
}
fn v_expm1(x: vec4<f32>) -> vec4<f32> {
    let v = clamp(x, vec4<f32>(-30.0), vec4<f32>(89.0));
    let n = round(v * 1.44269504);
    let half = v_float(vec4<u32>(vec4<i32>(n) + vec4<i32>(126)) << vec4<u32>(23u)); // 2^n / 2: 2^128 is no float
    let y = 2.0 * fma(v_expm1_core(v_less_ln2(v, n)), half, half - vec4<f32>(0.5));
    return select(y, x, v_nan(x) | (v_magnitude(x) == vec4<u32>()));
}
fn v_sigmoid(x: vec4<f32>) -> vec4<f32> {
    let e = v_exp(-abs(x));
    let r = 1.0 / (1.0 + e);
    return select(r, fma(-e, e * r, e), x < vec4<f32>()); // e r, where the rounding of 1 + e weighs less
}
fn v_tanh(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let z = v * v;
    var p = fma(z, vec4<f32>(-0.006282475842), vec4<f32>(0.02107776067));
    p = fma(z, p, vec4<f32>(-0.05385385866));
    p = fma(z, p, vec4<f32>(0.1333260169));
    p = fma(z, p, vec4<f32>(-0.3333331805));
    let small = fma(v * z, p, v);
    let big = 1.0 - 2.0 / (1.0 + v_exp(2.0 * v));
    return v_copysign(select(big, small, v < vec4<f32>(0.55)), x);
}
fn v_sinh(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let m = v_expm1(min(v, vec4<f32>(20.0)));
    let y = select(0.5 * (m + m / (m + 1.0)), v_exp_shift(v, -1), v > vec4<f32>(9.0));
    return select(v_copysign(y, x), x, v_nan(x) | (v_magnitude(x) == vec4<u32>()));
}
fn v_cosh(x: vec4<f32>) -> vec4<f32> {
    let e = v_exp_shift(abs(x), -1);
    return e + 0.25 / e;
}

// ---- logarithms ----

// log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1].
fn v_log1p_core(f: vec4<f32>) -> vec4<f32> {
    var q = fma(f, vec4<f32>(0.06746637556), vec4<f32>(-0.116756507));
    q = fma(f, q, vec4<f32>(0.1188816289));
    q = fma(f, q, vec4<f32>(-0.124055896));
    q = fma(f, q, vec4<f32>(0.1421955254));
    q = fma(f, q, vec4<f32>(-0.1666799578));
    q = fma(f, q, vec4<f32>(0.2000211863));
    q = fma(f, q, vec4<f32>(-0.250000096));
    q = fma(f, q, vec4<f32>(0.3333331261));
    return f + f * f * fma(f, q, vec4<f32>(-0.5));
}
// x > 0 as 2^k (1 + f): k, f. Denormals are counted in units of 2^-149.
struct v_split { k: vec4<f32>, f: vec4<f32> }
fn v_split_of(x: vec4<f32>) -> v_split {
    let bits = v_bits(x);
    let tiny = bits < vec4<u32>(0x00800000u);
    let b = select(bits, v_bits(vec4<f32>(bits)), tiny) - vec4<u32>(0x3f3504f3u); // sqrt(1/2)
    let k = vec4<f32>(bitcast<vec4<i32>>(b) >> vec4<u32>(23u));
    return v_split(select(k, k - 149.0, tiny), v_float((b & vec4<u32>(0x7fffffu)) + vec4<u32>(0x3f3504f3u)) - 1.0);
}
fn v_log_edges(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    var r = select(y, x, v_magnitude(x) >= vec4<u32>(0x7f800000u)); // infinity, NaN
    r = select(r, vec4<f32>(v_quiet()), v_negative(x) & !v_nan(x));
    return select(r, vec4<f32>(-v_inf()), v_magnitude(x) == vec4<u32>());
}
fn v_log(x: vec4<f32>) -> vec4<f32> {
    let s = v_split_of(x);
    return v_log_edges(x, fma(s.k, vec4<f32>(0.693359375), v_keep(fma(s.k, vec4<f32>(-2.12194440e-4), v_log1p_core(s.f)))));
}
fn v_log2(x: vec4<f32>) -> vec4<f32> {
    let s = v_split_of(x);
    return v_log_edges(x, fma(v_log1p_core(s.f), vec4<f32>(1.44269504), s.k));
}
fn v_log10(x: vec4<f32>) -> vec4<f32> {
    let s = v_split_of(x);
    return v_log_edges(x, fma(s.k, vec4<f32>(0.301025390625), v_keep(fma(s.k, vec4<f32>(4.60503898e-6), v_log1p_core(s.f) * 0.434294482))));
}
// Near 0 twice the inverse hyperbolic tangent of x / (2 + x); elsewhere 1 + x is exact enough.
fn v_log1p(x: vec4<f32>) -> vec4<f32> {
    let s = x / (2.0 + x);
    let z = s * s;
    var p = fma(z, vec4<f32>(0.06666667), vec4<f32>(0.07692308));
    p = fma(z, p, vec4<f32>(0.09090909));
    p = fma(z, p, vec4<f32>(0.11111111));
    p = fma(z, p, vec4<f32>(0.14285714));
    p = fma(z, p, vec4<f32>(0.2));
    p = fma(z, p, vec4<f32>(0.33333333));
    let small = 2.0 * fma(s * z, p, s);
    let near = (x > vec4<f32>(-0.4)) & (x < vec4<f32>(0.7));
    return select(v_log(1.0 + x), select(small, x, v_magnitude(x) == vec4<u32>()), near & !v_nan(x));
}
fn v_asinh(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let d = min(v, vec4<f32>(1e9));
    let y = select(v_log1p(d + d * d / (1.0 + sqrt(fma(d, d, vec4<f32>(1.0))))), v_log(v) + 0.69314718, v > vec4<f32>(1e6));
    return select(v_copysign(y, x), x, v_nan(x));
}
fn v_acosh(x: vec4<f32>) -> vec4<f32> {
    let t = min(x, vec4<f32>(1e9)) - 1.0;
    let y = select(v_log1p(t + sqrt(t * (t + 2.0))), v_log(x) + 0.69314718, x > vec4<f32>(1e6));
    return select(select(y, vec4<f32>(v_quiet()), x < vec4<f32>(1.0)), x, v_nan(x));
}
fn v_atanh(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let y = 0.5 * v_log1p(2.0 * v / (1.0 - v));
    let edge = select(vec4<f32>(v_inf()), vec4<f32>(v_quiet()), v > vec4<f32>(1.0));
    return select(v_copysign(select(y, edge, v >= vec4<f32>(1.0)), x), x, v_nan(x));
}

// ---- error function ----

fn v_erf(x: vec4<f32>) -> vec4<f32> {
    let z = x * x;
    let v = min(abs(x), vec4<f32>(4.0));
    var p = fma(z, vec4<f32>(7.88913209e-5), vec4<f32>(-0.0008020845283));
    p = fma(z, p, vec4<f32>(0.005189535819));
    p = fma(z, p, vec4<f32>(-0.02685444486));
    p = fma(z, p, vec4<f32>(0.1128360018));
    p = fma(z, p, vec4<f32>(-0.3761262714));
    p = fma(z, p, vec4<f32>(0.1283791659));
    var q = fma(v, vec4<f32>(0.000185573223), vec4<f32>(-0.002939600097));
    q = fma(v, q, vec4<f32>(0.02180529133));
    q = fma(v, q, vec4<f32>(-0.1030373159));
    q = fma(v, q, vec4<f32>(-0.6382257343));
    q = fma(v, q, vec4<f32>(-1.127040004));
    q = fma(v, q, vec4<f32>(-0.0003537268421));
    let y = select(v_copysign(1.0 - v_exp(q), x), fma(x, p, x), abs(x) < vec4<f32>(1.0));
    return select(y, x, v_nan(x));
}
// exp(-x x) W(t) / (1 + 1.5 x) for x >= 0, t = x / (x + 2), in the manner of Shepherd and Laframboise (1981).
fn v_erfc(x: vec4<f32>) -> vec4<f32> {
    let v = min(abs(x), vec4<f32>(10.2));
    let h = v_head(v);
    let e = v_exp(-h * h) * v_exp((h - v) * (h + v));
    let d = fma(vec4<f32>(1.5), v, vec4<f32>(1.0));
    let w = v + 2.0;
    let r = 1.0 / (d * w);
    let t = v * (d * r);
    var p = fma(t, vec4<f32>(0.03266233931), vec4<f32>(-0.2814791448));
    p = fma(t, p, vec4<f32>(0.6597287682));
    p = fma(t, p, vec4<f32>(-0.5051978259));
    p = fma(t, p, vec4<f32>(0.07814356557));
    p = fma(t, p, vec4<f32>(-0.3778421505));
    p = fma(t, p, vec4<f32>(0.3411116928));
    p = fma(t, p, vec4<f32>(1.182797916));
    p = fma(t, p, vec4<f32>(-2.026927866));
    p = fma(t, p, vec4<f32>(0.7432393693));
    p = fma(t, p, vec4<f32>(1.0));
    let y = e * (p * (w * r));
    return select(select(y, 2.0 - y, v_negative(x)), x, v_nan(x));
}

// ---- roots, powers ----

fn v_cbrt(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    var t = v_float(v_magnitude(x) / vec4<u32>(3u) + vec4<u32>(0x2a51377fu));
    for (var k = 0; k < 4; k++) { t = t - (t - v / (t * t)) * 0.333333333; }
    return select(v_copysign(t, x), x, (v == vec4<f32>()) | !v_isfinite(x));
}
fn v_hypot(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let hi = max(abs(a), abs(b));
    let q = min(abs(a), abs(b)) / hi;
    let y = select(hi * sqrt(fma(q, q, vec4<f32>(1.0))), vec4<f32>(), hi == vec4<f32>());
    let nan = select(y, vec4<f32>(v_quiet()), v_nan(a) | v_nan(b));
    return select(nan, vec4<f32>(v_inf()), v_isinf(a) | v_isinf(b));
}
// b log2 |a| in a whole part and a rest: the logarithm as k + h + l, h of 12 bits.
fn v_pow(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let s = v_split_of(abs(a));
    let v = s.f / (2.0 + s.f);
    let h = v_head(v);
    let m = 2.0 + s.f;
    let mh = v_head(m);
    let l = (v_keep(s.f - h * mh) - h * (v_keep(2.0 - mh) + s.f)) / m; // v - h
    let z = v * v;
    var p = fma(z, vec4<f32>(0.22222222), vec4<f32>(0.28571429));
    p = fma(z, p, vec4<f32>(0.4));
    p = fma(z, p, vec4<f32>(0.66666667));
    let tail = fma(v * z, p, 2.0 * l); // log(1 + f) = 2 h + tail
    // log2 = (2 h + tail) (C + c), C of 12 bits
    let big = v_keep(2.0 * h * 1.4423828125);
    let low = fma(2.0 * h, vec4<f32>(0.00031222838), tail * 1.44269504);
    let lead = v_head(big + low);
    let rest = (big - lead) + low;
    let about = clamp(b * (s.k + lead), vec4<f32>(-200.0), vec4<f32>(200.0));
    let far = abs(about) == vec4<f32>(200.0); // 0 or infinity
    let exponent = select(b, vec4<f32>(), far);
    let bh = v_head(exponent);
    let bl = v_keep(exponent - bh);
    let whole = bh * s.k;
    let part = bh * lead;
    let n0 = round(whole);
    let n1 = round(part);
    let r = (v_keep(whole - n0) + v_keep(part - n1)) + (bl * (s.k + lead) + exponent * rest);
    var y = v_scale(v_exp2(r), vec4<i32>(clamp(n0 + n1, vec4<f32>(-252.0), vec4<f32>(252.0))));
    y = select(y, select(vec4<f32>(), vec4<f32>(v_inf()), about > vec4<f32>()), far);
    let zero = a == vec4<f32>();
    let wide = v_isinf(a);
    let bm = v_magnitude(b) == vec4<u32>();
    y = select(y, select(vec4<f32>(), vec4<f32>(v_inf()), v_negative(b) != wide), zero | wide);
    let ab = abs(a);
    y = select(y, select(vec4<f32>(), vec4<f32>(v_inf()), v_negative(b) != (ab > vec4<f32>(1.0))), v_isinf(b) & !zero & !wide);
    let is_whole = trunc(b) == b;
    let odd = is_whole & (trunc(0.5 * b) != 0.5 * b);
    y = select(y, -y, v_negative(a) & odd);
    y = select(y, vec4<f32>(v_quiet()), (a < vec4<f32>()) & !wide & !is_whole);
    y = select(y, vec4<f32>(v_quiet()), v_nan(a) | v_nan(b));
    return select(y, vec4<f32>(1.0), bm | (a == vec4<f32>(1.0)) | ((ab == vec4<f32>(1.0)) & v_isinf(b)));
}

// ---- trigonometry ----

// x - n pi/2 and the quadrant n (but for multiples of 4).
struct v_turn { r: vec4<f32>, n: vec4<i32> }
fn v_turn_of(x: vec4<f32>) -> v_turn {
    let n = round(x * 0.63661977);
    var r = v_keep(fma(n, vec4<f32>(-1.5703125), x));
    r = v_keep(fma(n, vec4<f32>(-4.8351287841796875e-4), r));
    r = v_keep(fma(n, vec4<f32>(-3.1385570764541626e-7), r));
    r = fma(n, vec4<f32>(-6.07710051e-11), r);
    var turn = v_turn(r, vec4<i32>(clamp(n, vec4<f32>(-1e6), vec4<f32>(1e6))));
    for (var k = 0u; k < 4u; k++) {
        if (abs(x[k]) > 1000.0) {
            let far = v_far_turn(x[k]);
            turn.r[k] = bitcast<f32>(far.x);
            turn.n[k] = bitcast<i32>(far.y);
        }
    }
    return turn;
}
fn v_high(a: u32, b: u32) -> u32 { // word of the product of 64 bits
    let m = (a >> 16u) * (b & 0xffffu) + ((a & 0xffffu) * (b & 0xffffu) >> 16u);
    return (a >> 16u) * (b >> 16u) + (m >> 16u) + (((m & 0xffffu) + (a & 0xffffu) * (b >> 16u)) >> 16u);
}
// The same for large x: the significand times those bits of 2 / pi that count (Payne and Hanek, 1983).
fn v_far_turn(x: f32) -> vec2<u32> {
    var bits = array<u32, 9>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u);
    let b = bitcast<u32>(x) & 0x7fffffffu;
    if (b >= 0x7f800000u) { return vec2<u32>(); }
    let m = (b & 0x7fffffu) | 0x800000u;
    let first = (b >> 23u) - 120u;
    let i = first >> 5u;
    let s = first & 31u;
    var w = vec3<u32>(bits[i], bits[i + 1u], bits[i + 2u]);
    if (s > 0u) { w = (w << vec3<u32>(s)) | (vec3<u32>(bits[i + 1u], bits[i + 2u], bits[i + 3u]) >> vec3<u32>(32u - s)); }
    let low = m * w.z;
    let mid = m * w.y + v_high(m, w.z);
    let high = m * w.x + v_high(m, w.y) + select(0u, 1u, mid < v_high(m, w.z));
    let f = (high << 2u) | (mid >> 30u); // of a quarter turn, signed
    let n = (high >> 30u) + (f >> 31u);
    let r = (f32(bitcast<i32>(f)) + f32((mid << 2u) | (low >> 30u)) * 2.3283064e-10) * 3.657295198e-10; // pi / 2 / 2^32
    return select(vec2<u32>(bitcast<u32>(r), n), vec2<u32>(bitcast<u32>(-r), 0u - n), x < 0.0);
}
fn v_sin_core(r: vec4<f32>) -> vec4<f32> {
    let z = r * r;
    let p = fma(z, fma(z, fma(z, vec4<f32>(2.7182745e-6), vec4<f32>(-1.9839331e-4)), vec4<f32>(0.0083333294)), vec4<f32>(-0.16666667));
    return fma(r * z, p, r);
}
fn v_cos_core(r: vec4<f32>) -> vec4<f32> {
    let z = r * r;
    let p = fma(z, fma(z, fma(z, vec4<f32>(-2.720989e-7), vec4<f32>(2.4799516e-5)), vec4<f32>(-0.0013888884)), vec4<f32>(0.041666666));
    return fma(z * z, p, fma(z, vec4<f32>(-0.5), vec4<f32>(1.0)));
}
fn v_quadrant(t: v_turn, shift: i32) -> vec4<f32> {
    let q = t.n + vec4<i32>(shift);
    let y = select(v_sin_core(t.r), v_cos_core(t.r), (q & vec4<i32>(1)) == vec4<i32>(1));
    return select(y, -y, (q & vec4<i32>(2)) == vec4<i32>(2));
}
fn v_sin(x: vec4<f32>) -> vec4<f32> {
    return select(select(v_quadrant(v_turn_of(x), 0), vec4<f32>(v_quiet()), !v_isfinite(x)), x, v_magnitude(x) == vec4<u32>());
}
fn v_cos(x: vec4<f32>) -> vec4<f32> { return select(v_quadrant(v_turn_of(x), 1), vec4<f32>(v_quiet()), !v_isfinite(x)); }
fn v_tan(x: vec4<f32>) -> vec4<f32> {
    let t = v_turn_of(x);
    return select(select(v_quadrant(t, 0) / v_quadrant(t, 1), vec4<f32>(v_quiet()), !v_isfinite(x)), x, v_magnitude(x) == vec4<u32>());
}
// asin of s in [0, 1/2], z = s s.
fn v_asin_core(s: vec4<f32>, z: vec4<f32>) -> vec4<f32> {
    var p = fma(z, vec4<f32>(0.032941921522743309), vec4<f32>(0.0019482941312863353));
    p = fma(z, p, vec4<f32>(0.020659100732904688));
    p = fma(z, p, vec4<f32>(0.021862995906639311));
    p = fma(z, p, vec4<f32>(0.030426843277410736));
    p = fma(z, p, vec4<f32>(0.044640687673922805));
    p = fma(z, p, vec4<f32>(0.075000050421811088));
    p = fma(z, p, vec4<f32>(0.16666666626723011));
    return fma(s * z, p, s);
}
fn v_asin(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let far = v > vec4<f32>(0.5);
    let z = select(v * v, 0.5 - 0.5 * v, far);
    let p = v_asin_core(select(v, sqrt(max(z, vec4<f32>())), far), z);
    let y = v_copysign(select(p, 1.57079633 - 2.0 * p, far), x);
    return select(select(y, vec4<f32>(v_quiet()), v > vec4<f32>(1.0)), x, v_nan(x));
}
fn v_acos(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let far = v > vec4<f32>(0.5);
    let z = select(v * v, 0.5 - 0.5 * v, far);
    let p = v_asin_core(select(v, sqrt(max(z, vec4<f32>())), far), z);
    let y = select(1.57079633 - select(p, -p, x < vec4<f32>()), select(2.0 * p, 3.14159265 - 2.0 * p, x < vec4<f32>()), far);
    return select(select(y, vec4<f32>(v_quiet()), v > vec4<f32>(1.0)), x, v_nan(x));
}
// atan of t in [0, 1].
fn v_atan_core(t: vec4<f32>) -> vec4<f32> {
    let z = t * t;
    var p = fma(z, vec4<f32>(-0.00071132165394065252), vec4<f32>(0.0049994078202491066));
    p = fma(z, p, vec4<f32>(-0.016471668048111048));
    p = fma(z, p, vec4<f32>(0.034704933136427405));
    p = fma(z, p, vec4<f32>(-0.054704708417916316));
    p = fma(z, p, vec4<f32>(0.072693956202144442));
    p = fma(z, p, vec4<f32>(-0.089887957823544588));
    p = fma(z, p, vec4<f32>(0.11095203196820487));
    p = fma(z, p, vec4<f32>(-0.14284250951081571));
    p = fma(z, p, vec4<f32>(0.19999932202251827));
    p = fma(z, p, vec4<f32>(-0.33333332235411967));
    return fma(t * z, p, t);
}
fn v_atan(x: vec4<f32>) -> vec4<f32> {
    let v = abs(x);
    let far = v > vec4<f32>(1.0);
    let p = v_atan_core(select(v, 1.0 / v, far));
    return select(v_copysign(select(p, 1.57079633 - p, far), x), x, v_nan(x));
}
fn v_atan2(y: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    let ay = abs(y);
    let ax = abs(x);
    let lo = min(ay, ax);
    let hi = max(ay, ax);
    var t = lo / hi;
    t = select(t, vec4<f32>(), hi == vec4<f32>());
    t = select(t, vec4<f32>(1.0), v_isinf(lo));
    var p = v_atan_core(t);
    p = select(p, 1.57079633 - p, ay > ax);
    p = select(p, 3.14159265 - p, v_negative(x));
    return select(v_copysign(p, y), vec4<f32>(v_quiet()), v_nan(x) | v_nan(y));
}

// ---- division with remainder ----

// The remainder of whole significands, eight bits at a time: exact.
fn v_fmod1(a: f32, b: f32) -> f32 {
    let x = bitcast<u32>(a) & 0x7fffffffu;
    let y = bitcast<u32>(b) & 0x7fffffffu;
    if (x >= 0x7f800000u || y > 0x7f800000u || y == 0u) { return v_quiet(); }
    if (x < y) { return a; }
    let ex = max(x >> 23u, 1u);
    let ey = max(y >> 23u, 1u);
    let m = select(y, (y & 0x7fffffu) | 0x800000u, y >= 0x800000u);
    var r = select(x, (x & 0x7fffffu) | 0x800000u, x >= 0x800000u) % m;
    for (var n = ex - ey; n > 0u;) {
        let s = min(n, 8u);
        r = (r << s) % m;
        n -= s;
    }
    // r 2^(ey - 150)
    let lift = min(countLeadingZeros(r) - 8u, ey - 1u);
    r <<= lift;
    let bits = select(r, r - 0x800000u + ((ey - lift) << 23u), r >= 0x800000u);
    return bitcast<f32>(bits | (bitcast<u32>(a) & 0x80000000u));
}
fn v_fmod(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> { return vec4<f32>(v_fmod1(a.x, b.x), v_fmod1(a.y, b.y), v_fmod1(a.z, b.z), v_fmod1(a.w, b.w)); }
fn v_turns(m: vec4<f32>, b: vec4<f32>) -> vec4<bool> { return (v_magnitude(m) != vec4<u32>()) & (v_negative(m) != v_negative(b)) & !v_nan(m); }
fn v_mod(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let m = v_fmod(a, b);
    let y = select(m, m + b, v_turns(m, b));
    return select(y, v_copysign(y, b), v_magnitude(y) == vec4<u32>());
}
fn v_floordiv(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let m = v_fmod(a, b);
    let q = round((a - m) / b);
    let y = select(q, q - 1.0, v_turns(m, b));
    let exact = a / b;
    return select(select(select(y, v_copysign(y, exact), v_magnitude(y) == vec4<u32>()), vec4<f32>(v_quiet()), v_nan(m)), exact, v_magnitude(b) == vec4<u32>());
}
