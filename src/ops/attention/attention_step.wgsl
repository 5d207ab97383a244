// attention_step.wgsl - a token's rope, the writes of its key and value into their caches, and attention over them: see the files below.
#include attention
// As the cache keeps it.
fn rounded(x: f32) -> f32 {
#if HALVES == 1
    return unpack2x16float(f16_bits(x)).x;
#end
#if HALVES == 2
    return bitcast<f32>(bf16_bits(x) << 16u);
#end
#if HALVES == 0
    return x;
#end
}
#include attention_one
