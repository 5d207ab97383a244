// move.wgsl - outputs put together from sources, as units of bits (_move.c prints `moved`): four neighbouring units a thread, or TIMES
// fours that lie a group apart.
#if TILES
// A transposed source: tiles of 32 x 32 through shared memory, so that reads and writes are both along rows.
var<workgroup> tile: array<u32, 1056>;
@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
    let block = group / (u.across * u.down);
    let rest = group - block * u.across * u.down;
    let near = rest % u.across * 32u;
    let far = rest / u.across * 32u;
    let row = t >> 3u;
    let four = (t & 7u) << 2u;
    if (near + row < u.near && far + four < u.far) {
        let v = ld4_s0(tile_from(block) + (near + row) * u.from_near + far + four, u.far - far - four);
        for (var k = 0u; k < 4u; k++) { tile[(four + k) * 33u + row] = v[k]; }
    }
    workgroupBarrier();
    if (far + row < u.far && near + four < u.near) {
        let at = row * 33u + four;
        st4_o0(tile_to(block) + (far + row) * u.to_far + near + four, u.near - near - four, vec4<u32>(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]));
    }
}
#else
#if PARTS
#for P 0 PARTS
@compute @workgroup_size(256) fn part${P}(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * 256u + t);
    for (var k = i; k < min(i + 4u, u.total); k++) { put${P}(k); }
}
#end
#else
@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * ${256 * TIMES}u + t);
#for K 0 TIMES
    let i${K} = i + ${1024 * K}u;
    var v${K} = vec4<u32>();
    if (i${K} < u.total) { v${K} = moved(i${K}, u.total - i${K}); }
#end
#for K 0 TIMES
    if (i${K} < u.total) { st4_o0(i${K}, u.total - i${K}, v${K}); }
#end
}
#end
#end
