// global_norm.wgsl - the square root of the sum of all sources' squares. A dispatch of `parts` sums BATCH sources: as many as may be bound
// beside tmp; a group makes one number of tmp. Source k begins at group start_k. `finish` adds the numbers up.
#include reduce

#for b 0 BATCHES
@compute @workgroup_size(${WG}) fn parts${b}(${ARGS}) {
    ${BEGIN}
    let at = group + u.start_${b * BATCH};
    var s = vec4<f32>();
#for k 0 N_SRC
#if k / BATCH == b
    if (at >= u.start_${k} && at < u.start_${k + 1}) {
        let step = (u.start_${k + 1} - u.start_${k}) * ${4 * WG}u;
        for (var i = ((at - u.start_${k}) * ${WG}u + t) * 4u; i < u.n_${k}; i += step) {
            let x = select(vec4<f32>(), ld4_s${k}(i, u.n_${k} - i), mask4(u.n_${k} - i)); // what lies behind the last is anything
            s += x * x;
        }
    }
#end
#end
    let sum = row_sum(sum4(s), t);
    if (t == 0u) { st_tmp(at, sum); }
}
#end
@compute @workgroup_size(${WG}) fn finish(${ARGS}) {
    ${BEGIN}
    var s = 0.0;
    for (var i = t; i < u.parts; i += ${WG}u) { s += ld_tmp(i); }
    s = row_sum(s, t);
    if (t == 0u) { st_o0(0u, sqrt(s)); }
}
