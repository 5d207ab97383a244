// fused.wgsl - elementwise chains: four neighbouring elements a thread. `chain` is printed from the node (_fused_wgsl.c).
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * ${WG}u + t);
    if (i < u.total) { chain(i, u.total - i); }
}
