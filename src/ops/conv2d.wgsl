// conv2d.wgsl - convolution over planes and its gradients as products c[m,n] = sum over k of a[m,k] b[k,n], a product a group of
// channels; one factor is gathered from windows on its way into shared memory, so no columns are laid out. By FORM:
//
//      c                    m          n                   k
// 0    y  [N,G O,OH,OW]     output     image, position     channel, tap       a = w, b = x under the tap
// 1    dx [N,G C,H,W]       channel    image, pixel        output, tap        a = w, b = gradient of which the tap lies on the pixel
// 2    dw [G O,C,h,w]       output     channel, tap        image, position    a = gradient, b = x under the tap
//
// A group of 256 threads makes a tile of 64 x 64, four by four a thread, sixteen k at a time. Form 2 has few tiles and a long k: slabs
// of k go to groups of their own, whose sums lie in tmp and are added in order by `total`.
var<workgroup> a_tile: array<vec4<f32>, 256>; // [k][m]
var<workgroup> b_tile: array<vec4<f32>, 256>; // [k][n]

fn two(i: u32, width: u32) -> vec2<u32> { return vec2<u32>(i / width, i % width); }

#if FORM == 1
fn a_at(g: u32, m: u32, k: u32) -> f32 { return ld_s0(((g * u.O + k / u.taps) * u.C + m) * u.taps + k % u.taps); }
fn b_at(g: u32, k: u32, image: u32, pixel: vec2<u32>) -> f32 {
    let tap = two(k % u.taps, u.size_x);
    let y = pixel.x + u.pad_y - tap.x * u.dilation_y; // wraps below 0
    let x = pixel.y + u.pad_x - tap.y * u.dilation_x;
    let at = vec2<u32>(y / u.stride_y, x / u.stride_x);
    if (at.x >= u.out_y || at.y >= u.out_x || at.x * u.stride_y != y || at.y * u.stride_x != x) { return 0.0; }
    return ld_s1(((image * u.G + g) * u.O + k / u.taps) * u.positions + at.x * u.out_x + at.y);
}
#else
fn x_under(image: u32, channel: u32, tap: vec2<u32>, position: vec2<u32>) -> f32 {
    let y = position.x * u.stride_y + tap.x * u.dilation_y - u.pad_y; // wraps below 0
    let x = position.y * u.stride_x + tap.y * u.dilation_x - u.pad_x;
    if (y >= u.in_y || x >= u.in_x) { return 0.0; }
    return ld_s0(((image * u.G * u.C + channel) * u.in_y + y) * u.in_x + x);
}
#end

@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
    let tile = group % (u.tiles_m * u.tiles_n);
    let g = group / (u.tiles_m * u.tiles_n) % u.G;
    let slab = group / (u.tiles_m * u.tiles_n) / u.G;
    let m0 = tile % u.tiles_m * 64u;
    let n0 = tile / u.tiles_m * 64u;
    let begin = slab * u.slab;
    let end = min(begin + u.slab, u.K);
    // What this thread fetches: of b column n and k = t / 64 + 4 e, of a row m and the same.
    let lane = t & 63u;
    let n = n0 + lane;
#if FORM == 0
    let image = n / u.positions;
    let place = two(n % u.positions, u.out_x);
#else
#if FORM == 1
    let image = n / u.plane;
    let place = two(n % u.plane, u.in_x);
#else
    let channel = g * u.C + n / u.taps;
    let place = two(n % u.taps, u.size_x);
#end
#end
    let m = m0 + lane;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    let tm = t / 16u;
    let tn = t % 16u;
    for (var k0 = begin; k0 < end; k0 += 16u) {
        workgroupBarrier();
        for (var e = 0u; e < 4u; e++) {
            let row = t / 64u + 4u * e;
            let k = k0 + row;
            var a = 0.0;
            var b = 0.0;
            if (k < end && m < u.M) {
#if FORM == 0
                a = ld_s1((g * u.O + m) * u.K + k);
#else
#if FORM == 1
                a = a_at(g, m, k);
#else
                a = ld_s1((k / u.positions * u.G * u.O + g * u.O + m) * u.positions + k % u.positions);
#end
#end
            }
            if (k < end && n < u.N) {
#if FORM == 0
                b = x_under(image, g * u.C + k / u.taps, two(k % u.taps, u.size_x), place);
#else
#if FORM == 1
                b = b_at(g, k, image, place);
#else
                b = x_under(k / u.positions, channel, place, two(k % u.positions, u.out_x));
#end
#end
            }
            a_tile[row * 16u + lane / 4u][lane % 4u] = a;
            b_tile[row * 16u + lane / 4u][lane % 4u] = b;
        }
        workgroupBarrier();
#for K 0 16
        let a${K} = a_tile[${16 * K}u + tm];
        let b${K} = b_tile[${16 * K}u + tn];
        sum0 += a${K}.x * b${K};
        sum1 += a${K}.y * b${K};
        sum2 += a${K}.z * b${K};
        sum3 += a${K}.w * b${K};
#end
    }
    put(g, slab, m0 + 4u * tm, n0 + 4u * tn, sum0);
    put(g, slab, m0 + 4u * tm + 1u, n0 + 4u * tn, sum1);
    put(g, slab, m0 + 4u * tm + 2u, n0 + 4u * tn, sum2);
    put(g, slab, m0 + 4u * tm + 3u, n0 + 4u * tn, sum3);
}

fn put(g: u32, slab: u32, m: u32, n: u32, v: vec4<f32>) {
    if (m >= u.M) { return; }
    for (var e = 0u; e < 4u; e++) {
        if (n + e >= u.N) { return; }
        put1(g, slab, m, n + e, v[e]);
    }
}
fn put1(g: u32, slab: u32, m: u32, n: u32, v: f32) {
#if FORM == 0
    var y = v;
#if HAS_S2
    y += ld_s2(g * u.O + m);
#end
    st_o0(((n / u.positions * u.G + g) * u.O + m) * u.positions + n % u.positions, y);
#else
#if FORM == 1
    st_o0(((n / u.plane * u.G + g) * u.C + m) * u.plane + n % u.plane, v);
#else
#if SLABS
    st_tmp(((slab * u.G + g) * u.M + m) * u.N + n, v);
#else
    st_o0((g * u.M + m) * u.N + n, v);
#end
#end
#end
}

#if FORM == 2 && SLABS
@compute @workgroup_size(256) fn total(${ARGS}) {
    ${BEGIN}
    let i = group * 256u + t;
    let n = u.G * u.M * u.N;
    if (i >= n) { return; }
    var sum = 0.0;
    for (var s = 0u; s < u.slabs; s++) { sum += ld_tmp(s * n + i); }
    st_o0(i, sum);
}
#end
