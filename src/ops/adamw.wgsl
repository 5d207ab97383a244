// adamw.wgsl - one step of AdamW (Loshchilov and Hutter, 2019): w, m and v in one pass, 4 elements a thread.
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = (group * ${WG}u + t) * 4u;
    if (i >= u.n) { return; }
    let left = u.n - i;
    var g = ld4_s1(i, left);
#if HAS_S4
    g *= ld_s4(0u);
#end
    let m = u.keep_m * ld4_s2(i, left) + u.take_m * g;
    let v = u.keep_v * ld4_s3(i, left) + u.take_v * g * g;
    st4_o1(i, left, m);
    st4_o2(i, left, v);
    st4_o0(i, left, u.keep_w * ld4_s0(i, left) - u.rate * m / (sqrt(v * u.scale_v) + u.eps));
}
