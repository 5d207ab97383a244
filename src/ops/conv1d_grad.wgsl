// conv1d_grad.wgsl - gradients of conv1d.wgsl's y and next state, to x and state (rows of one input), w and b.
//
// input:   d input[i] = sum over k of w[k] gy[i - k], and the next state's gradient from row T on; a thread four channels of a row.
// weights: dw[k] = sum over rows of gy[t] input[t + k]; db is as tap K with an input of one. A thread a channel and tap of a chunk of
//          rows; its sum goes to tmp.
// total:   adds the chunks in order.
fn rest(c: u32) -> u32 { return u.C - c; }

@compute @workgroup_size(256) fn input(${ARGS}) {
    ${BEGIN}
    let i = group * 256u + t;
    if (i >= u.total) { return; }
    let c = i % u.columns * 4u;
    let rows = u.T + u.before;
    let b = i / u.columns / rows;
    let row = i / u.columns % rows;
    var d = vec4<f32>();
    for (var k = 0u; k < u.K; k++) {
        if (row - k < u.T) { // wraps below 0
            var w = vec4<f32>();
            for (var e = 0u; e < min(4u, rest(c)); e++) { w[e] = ld_s1((c + e) * u.K + k); }
            d += w * ld4_s3(b * u.up_b + (row - k) * u.up_t + c, rest(c));
        }
    }
#if HAS_S4
    if (row >= u.T) { d += ld4_s4(b * u.next_b + (row - u.T) * u.next_t + c, rest(c)); }
#end
    if (row >= u.before) { st4_o0((b * u.T + row - u.before) * u.C + c, rest(c), d); }
    else { st4_o3((b * u.before + row) * u.C + c, rest(c), d); }
}

@compute @workgroup_size(256) fn weights(${ARGS}) {
    ${BEGIN}
    let i = group * 256u + t;
    let c = i % u.C;
    let k = i / u.C % (u.K + 1u);
    let chunk = i / u.C / (u.K + 1u);
    if (chunk >= u.chunks) { return; }
    var sum = 0.0;
    for (var r = chunk * u.chunk; r < min((chunk + 1u) * u.chunk, u.rows); r++) {
        let b = r / u.T;
        let time = r % u.T;
        let row = time + k;
        var x = 1.0;
        if (k < u.K) {
            if (row >= u.before) { x = ld_s0(b * u.x_b + (row - u.before) * u.x_t + c); }
#if HAS_S2
            else { x = ld_s2(b * u.state_b + row * u.state_t + c); }
#else
            else { x = 0.0; }
#end
        }
        sum += x * ld_s3(b * u.up_b + time * u.up_t + c);
    }
    st_tmp(i, sum);
}

@compute @workgroup_size(256) fn total(${ARGS}) {
    ${BEGIN}
    let i = group * 256u + t;
    let n = u.C * (u.K + 1u);
    if (i >= n) { return; }
    var sum = 0.0;
    for (var s = 0u; s < u.chunks; s++) { sum += ld_tmp(s * n + i); }
    if (i < u.C * u.K) { st_o1(i % u.C * u.K + i / u.C, sum); } else { st_o2(i - u.C * u.K, sum); }
}
