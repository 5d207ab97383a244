// dropout.wgsl - y = x / (1 - p) where uniform i of the stream is at least p, else 0: four elements a thread.
#include philox

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let block = group * ${WG}u + t;
    let i = 4u * block;
    if (i >= u.total) { return; }
    let kept = units(philox(block, vec2<u32>(u.seed, u.seed_hi), u.stream)) >= vec4<f32>(u.p);
    st4_o0(i, u.total - i, ld4_s0(i, u.total - i) * select(vec4<f32>(), vec4<f32>(u.keep), kept));
}
