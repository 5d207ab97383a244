// fused.wgsl - elementwise chains: four neighbouring elements a thread, or TIMES fours that lie a group apart. `load` and `finish` are
// printed from the node (_fused_wgsl.c): all is read before anything is written.
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * ${TIMES * WG}u + t);
#for K 0 TIMES
    let i${K} = i + ${4 * K * WG}u;
    var s${K}: sources;
    if (i${K} < u.total) { s${K} = load(i${K}, u.total - i${K}); }
#end
#for K 0 TIMES
    if (i${K} < u.total) { finish(s${K}, u.total - i${K}); }
#end
}
