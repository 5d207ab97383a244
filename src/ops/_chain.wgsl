// _chain.wgsl - `#include chain`, after bf16: integers of elementwise chains as the CPU has them (they wrap; division by zero
// gives 0), rounding to storage types, casts. WIDE: i64 is a type of registers.
fn round_f16(v: vec4<f32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(pack2x16float(v.xy)), unpack2x16float(pack2x16float(v.zw))); }
fn wrap_i8(v: vec4<i32>) -> vec4<i32> { return (v << vec4<u32>(24u)) >> vec4<u32>(24u); }
fn wrap_u8(v: vec4<i32>) -> vec4<i32> { return v & vec4<i32>(255); }

// Floats to integers truncate and saturate; NaN is 0. As bool: is it not 0?
fn number_of(v: vec4<f32>) -> vec4<f32> { return select(v, vec4<f32>(), (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u)); }
fn f32_bool(v: vec4<f32>) -> vec4<bool> { return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) != vec4<u32>(); }
fn f32_i8(v: vec4<f32>) -> vec4<i32> { return vec4<i32>(clamp(number_of(v), vec4<f32>(-128.0), vec4<f32>(127.0))); }
fn f32_u8(v: vec4<f32>) -> vec4<i32> { return vec4<i32>(clamp(number_of(v), vec4<f32>(), vec4<f32>(255.0))); }
fn f32_i32(v: vec4<f32>) -> vec4<i32> {
    let x = number_of(v);
    return select(vec4<i32>(clamp(x, vec4<f32>(-2147483648.0), vec4<f32>(2147483520.0))), vec4<i32>(2147483647), x >= vec4<f32>(2147483648.0));
}
#if WIDE
fn f32_i64(v: vec4<f32>) -> vec4<i64> {
    let x = number_of(v);
    let y = vec4<i64>(clamp(x, vec4<f32>(-9223372036854775808.0), vec4<f32>(9223371487098961920.0)));
    return select(y, vec4<i64>(9223372036854775807li), x >= vec4<f32>(9223372036854775808.0));
}
#end

#for K 0 1 + WIDE
fn i${32 + 32 * K}_abs(a: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> { return select(a, -a, a < vec4<i${32 + 32 * K}>()); }
fn i${32 + 32 * K}_max(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> { return select(b, a, a > b); }
fn i${32 + 32 * K}_min(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> { return select(b, a, a < b); }
fn i${32 + 32 * K}_sign(a: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let zero = vec4<i${32 + 32 * K}>();
    let one = vec4<i${32 + 32 * K}>(i${32 + 32 * K}(1));
    return select(select(zero, one, a > zero), -one, a < zero);
}
// Divisors that the hardware refuses become 1.
fn i${32 + 32 * K}_divisor(b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let one = vec4<i${32 + 32 * K}>(i${32 + 32 * K}(1));
    return select(b, one, (b == vec4<i${32 + 32 * K}>()) | (b == -one));
}
fn i${32 + 32 * K}_div(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let zero = vec4<i${32 + 32 * K}>();
    let q = a / i${32 + 32 * K}_divisor(b);
    return select(select(q, -a, b == vec4<i${32 + 32 * K}>(i${32 + 32 * K}(-1))), zero, b == zero);
}
fn i${32 + 32 * K}_fmod(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let d = i${32 + 32 * K}_divisor(b);
    return select(a - a / d * d, a, b == vec4<i${32 + 32 * K}>());
}
fn i${32 + 32 * K}_turns(m: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<bool> {
    let zero = vec4<i${32 + 32 * K}>();
    return (b != zero) & (m != zero) & ((m < zero) != (b < zero));
}
fn i${32 + 32 * K}_mod(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let m = i${32 + 32 * K}_fmod(a, b);
    return select(m, m + b, i${32 + 32 * K}_turns(m, b));
}
fn i${32 + 32 * K}_floordiv(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let q = i${32 + 32 * K}_div(a, b);
    return select(q, q - vec4<i${32 + 32 * K}>(i${32 + 32 * K}(1)), i${32 + 32 * K}_turns(i${32 + 32 * K}_fmod(a, b), b));
}
// Negative powers: 1 / a^-b truncated, 0 for a = 0.
fn i${32 + 32 * K}_pow(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let zero = vec4<i${32 + 32 * K}>();
    let one = vec4<i${32 + 32 * K}>(i${32 + 32 * K}(1));
    var y = one;
    var x = a;
    var n = max(b, zero);
    for (var bit = 0u; bit < ${31 + 32 * K}u; bit++) {
        if (all(n == zero)) { break; }
        y = select(y, y * x, (n & one) == one);
        x *= x;
        n >>= vec4<u32>(1u);
    }
    let inverse = select(select(zero, select(one, -one, (b & one) == one), a == -one), one, a == one);
    return select(y, inverse, b < zero);
}
fn i${32 + 32 * K}_shl(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let bits = vec4<i${32 + 32 * K}>(i${32 + 32 * K}(${32 + 32 * K}));
    let zero = vec4<i${32 + 32 * K}>();
    let fits = (b >= zero) & (b < bits);
    return select(zero, a << vec4<u32>(select(zero, b, fits)), fits);
}
fn i${32 + 32 * K}_shr(a: vec4<i${32 + 32 * K}>, b: vec4<i${32 + 32 * K}>) -> vec4<i${32 + 32 * K}> {
    let n = clamp(b, vec4<i${32 + 32 * K}>(), vec4<i${32 + 32 * K}>(i${32 + 32 * K}(${31 + 32 * K})));
    return a >> vec4<u32>(n);
}
#end
