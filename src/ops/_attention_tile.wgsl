// _attention_tile.wgsl - `#include attention_tile`: what the tiles of attention and of its gradient read.
// Four elements of a row of q, k, v, do; beyond the last 0.
#for N 0 OPTIONS
#if N < 3 || N == 5
fn four${N}(row: u32, d: u32) -> vec4<f32> {
#if N < 2
#if ENDS
    if (d >= u.depth) { return vec4<f32>(); }
#end
    return ld4_s${N}(row + d, u.depth - d);
#else
#if ENDS
    if (d >= u.width) { return vec4<f32>(); }
#end
    return ld4_s${N}(row + d, u.width - d);
#end
}
#end
#end
