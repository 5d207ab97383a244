// conv1d.wgsl - causal depthwise convolution: y[t] = b + sum over k of w[k] input[t - (K-1) + k]; before time 0 stands the state, or zero.
// A thread has four channels of a row of time; u.columns such fours make a row.
fn rest(c: u32) -> u32 { return u.C - c; }
fn input4(b: u32, row: u32, c: u32) -> vec4<f32> { // row of the input: state, then x
    if (row >= u.before) { return ld4_s0(b * u.x_b + (row - u.before) * u.x_t + c, rest(c)); }
#if HAS_S3
    return ld4_s3(b * u.state_b + row * u.state_t + c, rest(c));
#else
    return vec4<f32>();
#end
}
fn tap4(c: u32, k: u32) -> vec4<f32> {
    var v = vec4<f32>();
    for (var e = 0u; e < min(4u, rest(c)); e++) { v[e] = ld_s1((c + e) * u.K + k); }
    return v;
}

@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
    let i = group * 256u + t;
    if (i >= u.total) { return; }
    let c = i % u.columns * 4u;
    let row = i / u.columns;
    let b = row / u.T;
    var y = vec4<f32>();
    for (var k = 0u; k < u.K; k++) { y += tap4(c, k) * input4(b, row % u.T + k, c); }
#if HAS_S2
    y += ld4_s2(c, rest(c));
#end
    st4_o0(row * u.C + c, rest(c), y);
}

// The last rows of the input are the next state.
@compute @workgroup_size(256) fn next(${ARGS}) {
    ${BEGIN}
    let i = group * 256u + t;
    if (i >= u.states) { return; }
    let c = i % u.columns * 4u;
    let row = i / u.columns;
    st4_o1(row * u.C + c, rest(c), input4(row / u.before, u.T + row % u.before, c));
}
