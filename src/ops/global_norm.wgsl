// global_norm.wgsl - the square root of the sum of all sources' squares. A dispatch of `parts` sums BATCH sources: as many as may be bound
// beside tmp; a group makes one number of tmp. Source k begins at group start_k. `finish` adds the numbers up.
// WINDOWS: a dispatch sums the rows that it sees of one source, at most piece_k, with per_k groups.
#include reduce

#for b 0 BATCHES
@compute @workgroup_size(${WG}) fn parts${b}(${ARGS}) {
    ${BEGIN}
    var s = vec4<f32>();
#if WINDOWS
    let at = u.start_${b} + u.part_from / u.piece_${b} * u.per_${b} + group;
    let end = u.part_to * u.row_${b};
    for (var i = u.part_from * u.row_${b} + (group * ${WG}u + t) * 4u; i < end; i += u.per_${b} * ${4 * WG}u) {
        let x = select(vec4<f32>(), ld4_s${b}(i, end - i), mask4(end - i));
        s += x * x;
    }
#else
    let at = group + u.start_${b * BATCH};
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
