// sum_to.wgsl - sums over the dims that a broadcast repeated, in a fixed order.
//
// An item is what threads sum: one output whose terms lie side by side (INNER: the last dim is summed), or four neighbouring outputs
// whose terms are rows apart. LANES threads share an item; where items are few their terms are cut into chunks (CHUNKED) whose sums a
// second dispatch adds.
var<workgroup> part: array<vec4<f32>, 256>;
fn total4(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
    let chunk = group % u.chunks;
    let block = group / u.chunks * ${256 / LANES}u;
    let begin = chunk * u.chunk;
    let end = min(begin + u.chunk, u.terms);
    var s = vec4<f32>();
#if INNER
    let lane = t % ${LANES}u;
    let item = block + t / ${LANES}u;
    if (item < u.items) {
        let at = keep(item);
#if FOURS
        for (var j = begin + 4u * lane; j < end; j += ${4 * LANES}u) { s += ld4_s0(at + term(j), end - j); }
#else
        for (var j = begin + lane; j < end; j += ${LANES}u) { s.x += ld_s0(at + term(j)); }
#end
    }
    const apart = 1u;
#else
    let lane = t / ${256 / LANES}u;
    let item = block + t % ${256 / LANES}u;
    let slot = item / u.quads;
    let col = 4u * (item - slot * u.quads);
    if (item < u.items) {
        let at = keep(slot) + col;
        for (var j = begin + lane; j < end; j += ${LANES}u) { s += ld4_s0(at + term(j), u.cols - col); }
    }
    const apart = ${256 / LANES}u;
#end
    part[t] = s;
    workgroupBarrier();
    for (var k = ${LANES / 2}u; k > 0u; k >>= 1u) {
        if (lane < k) { part[t] += part[t + k * apart]; }
        workgroupBarrier();
    }
    if (lane != 0u || item >= u.items) { return; }
    s = part[t];
#if INNER
#if CHUNKED
    st_tmp(item * u.chunks + chunk, total4(s));
#else
    st_o0(item, total4(s));
#end
#else
#if CHUNKED
    st4_tmp(4u * (chunk * u.items + item), 4u, s);
#else
    st4_o0(slot * u.cols + col, u.cols - col, s);
#end
#end
}

#if CHUNKED
#if INNER
@compute @workgroup_size(64) fn finish(${ARGS}) {
    ${BEGIN}
    var s = 0.0;
    for (var c = t; c < u.chunks; c += 64u) { s += ld_tmp(group * u.chunks + c); }
    part[t].x = s;
    workgroupBarrier();
    for (var k = 32u; k > 0u; k >>= 1u) {
        if (t < k) { part[t].x += part[t + k].x; }
        workgroupBarrier();
    }
    if (t == 0u) { st_o0(group, part[0].x); }
}
#else
@compute @workgroup_size(64) fn finish(${ARGS}) {
    ${BEGIN}
    let item = group * 64u + t;
    if (item >= u.items) { return; }
    var s = vec4<f32>();
    for (var c = 0u; c < u.chunks; c++) { s += ld4_tmp(4u * (c * u.items + item), 4u); }
    let slot = item / u.quads;
    let col = 4u * (item - slot * u.quads);
    st4_o0(slot * u.cols + col, u.cols - col, s);
}
#end
#end
