// pool.wgsl - maximum (MAX) or average over windows of planes, and their gradients (GRAD); an element of the result a thread, four of
// them where elements share words. Planes lie one after the other; `in` is what windows lie on, `out` has an element a window.
struct Box { y0: i32, y1: i32, x0: i32, x1: i32 }
fn window_at(oy: i32, ox: i32) -> Box {
    let y = oy * i32(u.stride_y) - i32(u.pad_y);
    let x = ox * i32(u.stride_x) - i32(u.pad_x);
    return Box(y, min(y + i32(u.size_y), i32(u.in_y + u.pad_y)), x, min(x + i32(u.size_x), i32(u.in_x + u.pad_x)));
}
fn clipped(b: Box) -> Box { return Box(max(b.y0, 0), min(b.y1, i32(u.in_y)), max(b.x0, 0), min(b.x1, i32(u.in_x))); }

#if MAX
// Values as numbers in the same order; NaN is the greatest, -0 equal to 0.
fn order(v: f32) -> u32 {
    let b = bitcast<u32>(v);
    if ((b & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
    return select(select(b, 0u, b == 0x80000000u) | 0x80000000u, ~b, b > 0x80000000u);
}
// Where the first greatest element of a window is, in its plane.
fn first_max(plane: u32, oy: i32, ox: i32) -> u32 {
    let b = clipped(window_at(oy, ox));
    var best = u32(b.y0) * u.in_x + u32(b.x0);
    var most = order(ld_s0(plane * u.in_y * u.in_x + best));
    for (var y = b.y0; y < b.y1; y++) {
        for (var x = b.x0; x < b.x1; x++) {
            let at = u32(y) * u.in_x + u32(x);
            let v = order(ld_s0(plane * u.in_y * u.in_x + at));
            if (v > most) {
                most = v;
                best = at;
            }
        }
    }
    return best;
}
#else
fn share(oy: i32, ox: i32) -> f32 { // 1 / what a window counts
#if count_pad
    let b = window_at(oy, ox);
#else
    let b = clipped(window_at(oy, ox));
#end
    return 1.0 / f32((b.y1 - b.y0) * (b.x1 - b.x0));
}
#end

#if GRAD
// Windows [first, last] lie over this row or column of the plane.
fn first(at: u32, size: u32, stride: u32, pad: u32) -> i32 { return max(0, (i32(at + pad) - i32(size) + i32(stride)) / i32(stride)); }
fn last(at: u32, stride: u32, pad: u32, count: u32) -> i32 { return min(i32((at + pad) / stride), i32(count) - 1); }

fn element(i: u32) -> f32 {
    let x = i % u.in_x;
    let y = i / u.in_x % u.in_y;
    let plane = i / u.in_x / u.in_y;
    var sum = 0.0;
    for (var oy = first(y, u.size_y, u.stride_y, u.pad_y); oy <= last(y, u.stride_y, u.pad_y, u.out_y); oy++) {
        for (var ox = first(x, u.size_x, u.stride_x, u.pad_x); ox <= last(x, u.stride_x, u.pad_x, u.out_x); ox++) {
            let from_ = (plane * u.out_y + u32(oy)) * u.out_x + u32(ox);
#if MAX
            if (first_max(plane, oy, ox) == y * u.in_x + x) { sum += ld_s1(from_); }
#else
            sum += ld_s0(from_) * share(oy, ox);
#end
        }
    }
    return sum;
}
#else
fn element(i: u32) -> f32 {
    let ox = i32(i % u.out_x);
    let oy = i32(i / u.out_x % u.out_y);
    let plane = i / u.out_x / u.out_y;
#if MAX
    return ld_s0(plane * u.in_y * u.in_x + first_max(plane, oy, ox));
#else
    let b = clipped(window_at(oy, ox));
    var sum = 0.0;
    for (var y = b.y0; y < b.y1; y++) {
        for (var x = b.x0; x < b.x1; x++) { sum += ld_s0((plane * u.in_y + u32(y)) * u.in_x + u32(x)); }
    }
    return sum * share(oy, ox);
#end
}
#end

@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
#if FOURS
    let i = 4u * (group * 256u + t);
    if (i >= u.total) { return; }
    var v = vec4<f32>();
    for (var e = 0u; e < min(4u, u.total - i); e++) { v[e] = element(i + e); }
    st4_o0(i, u.total - i, v);
#else
    let i = group * 256u + t;
    if (i < u.total) { st_o0(i, element(i)); }
#end
}
