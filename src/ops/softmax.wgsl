// softmax.wgsl - along lines of u.len numbers. KIND 0: exp(x) / sum(exp(x)); 1: x - log(sum(exp(x))); gradients, from y = s0 and gy = s1,
// 2: y (gy - sum(y gy)); 3: gy - exp(y) sum(gy).
//   rows   a line's numbers lie together: LANES threads a line (row_launch.h), in registers where it fits
//   lines  they do not: u.across neighbouring lines, WG / u.across threads each
#include reduce
#include online

// A line makes two numbers of all of its own: where a thread begins, how two join, what four numbers add, what is made of the two at last;
// and the result for four of its numbers. Forward: the greatest and the sum of exp(x - it); gradients: 0 and the sum.
#if KIND < 2
fn start() -> vec2<f32> { return vec2<f32>(LOWEST, 0.0); }
fn join(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let top = max(a.x, b.x);
    return vec2<f32>(top, a.y * exp(a.x - top) + b.y * exp(b.x - top));
}
#else
fn start() -> vec2<f32> { return vec2<f32>(); }
fn join(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> { return a + b; }
#end
fn take(s: vec2<f32>, x: vec4<f32>, g: vec4<f32>) -> vec2<f32> {
#if KIND < 2
    return online_take(s, x);
#else
#if KIND == 2
    return s + vec2<f32>(0.0, dot(x, g));
#else
    return s + vec2<f32>(0.0, sum4(g));
#end
#end
}
fn settle(s: vec2<f32>) -> vec2<f32> {
#if KIND == 0
    return vec2<f32>(s.x, 1.0 / s.y);
#else
#if KIND == 1
    return vec2<f32>(s.x, log(s.y));
#else
    return s;
#end
#end
}
fn result(x: vec4<f32>, g: vec4<f32>, s: vec2<f32>) -> vec4<f32> {
#if KIND == 0
    return exp(x - vec4<f32>(s.x)) * s.y;
#end
#if KIND == 1
    return (x - vec4<f32>(s.x)) - vec4<f32>(s.y);
#end
#if KIND == 2
    return x * (g - vec4<f32>(s.y));
#end
#if KIND == 3
    return g - exp(x) * s.y;
#end
}

#if ROWS
fn xs(at: u32, i: u32) -> vec4<f32> {
#if KIND < 2
    return select(vec4<f32>(LOWEST), ld4_s0(at + i, u.len - i), mask4(u.len - i));
#else
    return ld4_s0(at + i, u.len - i);
#end
}
#if KIND < 2
fn g_line(line: u32) -> u32 { return 0u; }
fn gs(at: u32, i: u32) -> vec4<f32> { return vec4<f32>(); }
#else
fn gs(at: u32, i: u32) -> vec4<f32> { return ld4_s1(at + i, u.len - i); }
#end
@compute @workgroup_size(${WG}) fn rows(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let at = group * ${WG / LANES}u + t / ${LANES}u;
    let row = min(at, u.rows - 1u);
    let x = x_line(row);
    let g = g_line(row);
    let y = row * u.len;
    var s = start();
#if PER
#for k 0 PER
    let i${k} = 4u * lane + ${4 * LANES * k}u;
    var x${k} = vec4<f32>(start().x);
    var g${k} = vec4<f32>();
    if (i${k} < u.len) {
        x${k} = xs(x, i${k});
        g${k} = gs(g, i${k});
    }
#end
#if KIND < 2
#for k 0 PER
    s.x = max(s.x, max4(x${k}));
#end
    s.x = row_max(s.x, t);
#for k 0 PER
    s.y += sum4(exp(x${k} - vec4<f32>(s.x)));
#end
    s.y = row_sum(s.y, t);
#else
#for k 0 PER
    s = take(s, x${k}, g${k});
#end
    s.y = row_sum(s.y, t);
#end
    s = settle(s);
    if (at >= u.rows) { return; }
#for k 0 PER
    if (i${k} < u.len) { st4_o0(y + i${k}, u.len - i${k}, result(x${k}, g${k}, s)); }
#end
#else
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) { s = take(s, xs(x, i), gs(g, i)); }
#if KIND < 2
    s = settle(online_row(s, t));
#else
    s.y = row_sum(s.y, t);
#end
    if (at >= u.rows) { return; }
    for (var i = 4u * lane; i < u.len; i += ${4 * LANES}u) { st4_o0(y + i, u.len - i, result(xs(x, i), gs(g, i), s)); }
#end
}
#else
var<workgroup> line_: array<vec2<f32>, ${WG}>;
@compute @workgroup_size(${WG}) fn lines(${ARGS}) {
    ${BEGIN}
    let at = group * u.across + t % u.across;
    let line = min(at, u.rows - 1u);
    let x = x_line(line);
    let step = ${WG}u / u.across;
    var s = start();
    for (var i = t / u.across; i < u.len; i += step) {
#if KIND < 2
        s = take(s, vec4<f32>(ld_s0(x + i * u.x_step), LOWEST, LOWEST, LOWEST), vec4<f32>());
#else
        s = take(s, vec4<f32>(ld_s0(x + i * u.x_step), 0.0, 0.0, 0.0), vec4<f32>(ld_s1(g_line(line) + i * u.g_step), 0.0, 0.0, 0.0));
#end
    }
    line_[t] = s;
    workgroupBarrier();
    for (var k = ${WG / 2}u; k >= u.across; k >>= 1u) {
        if (t < k) { line_[t] = join(line_[t], line_[t + k]); }
        workgroupBarrier();
    }
    s = settle(line_[t % u.across]);
    if (at >= u.rows) { return; }
    let y = line / u.inner * u.inner * u.len + line % u.inner;
    for (var i = t / u.across; i < u.len; i += step) {
#if KIND < 2
        st_o0(y + i * u.inner, result(vec4<f32>(ld_s0(x + i * u.x_step)), vec4<f32>(), s).x);
#else
        st_o0(y + i * u.inner, result(vec4<f32>(ld_s0(x + i * u.x_step)), vec4<f32>(ld_s1(g_line(line) + i * u.g_step)), s).x);
#end
    }
}
#end
