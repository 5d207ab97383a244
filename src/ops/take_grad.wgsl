// take_grad.wgsl - y[o, ids[r], c] += gy[o, r, c] without float atomics: rows with one id are added in the order of their positions.
//
// zero:  y = 0.
// rank:  sorts positions by (id, position): the place of a position is the number of smaller pairs. Sixteen positions a group, against
//        all ids, which pass through shared memory. tmp[2 place] = id, tmp[2 place + 1] = position; ids out of range are last and add nothing.
// sums:  a thread adds four columns of CHUNK sorted positions and writes y where an id ends. What belongs to an id that began in an
//        earlier chunk goes to that chunk's line in tmp.
// joins: a chunk whose last id goes on adds the lines of the chunks that follow.
const TILE = 2048u;
var<workgroup> tile: array<vec4<u32>, ${2048 / 4}>;
var<workgroup> part: array<u32, 256>;

fn key(i: u32) -> u32 { return min(u32(ld_s1(i)) - u.cut_from, u.len); } // of a piece of the table: its own rows
fn sorted(place: u32) -> u32 { return bitcast<u32>(ld_tmp(2u * place)); }
fn position(place: u32) -> u32 { return bitcast<u32>(ld_tmp(2u * place + 1u)); }
fn line(outer: u32, chunk: u32, column: u32) -> u32 { return u.lines + 4u * ((outer * u.chunks + chunk) * u.columns + column); }
fn place(outer: u32, id: u32, column: u32) -> u32 { return (outer * u.len + id) * u.inner + 4u * column; }

@compute @workgroup_size(256) fn zero(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * 256u + t);
    if (i < u.total) { st4_o0(i, u.total - i, vec4<f32>()); }
}

@compute @workgroup_size(256) fn rank(${ARGS}) {
    ${BEGIN}
    let mine = group * 16u + (t & 15u);
    var k = 0u;
    if (mine < u.count) { k = key(mine); }
    var smaller = vec4<u32>();
    for (var base = 0u; base < u.count; base += TILE) {
        workgroupBarrier();
        for (var j = t; j < TILE / 4u; j += 256u) {
            var four = vec4<u32>(0xffffffffu);
            for (var e = 0u; e < 4u; e++) {
                if (base + 4u * j + e < u.count) { four[e] = key(base + 4u * j + e); }
            }
            tile[j] = four;
        }
        workgroupBarrier();
        let rest = min(TILE, u.count - base);
        if (base == group * 16u / TILE * TILE) { // the tile that this group's positions lie in: of equal ids the earlier come first
            for (var j = t >> 4u; 4u * j < rest; j += 16u) {
                let before = vec4<u32>(base + 4u * j) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(mine);
                smaller += vec4<u32>(tile[j] < vec4<u32>(k) + vec4<u32>(before));
            }
        } else {
            let below = vec4<u32>(k + u32(base < group * 16u));
            for (var j = t >> 4u; 4u * j < rest; j += 16u) { smaller += vec4<u32>(tile[j] < below); }
        }
    }
    part[t] = smaller.x + smaller.y + smaller.z + smaller.w;
    workgroupBarrier();
    if (t < 16u && mine < u.count) {
        var at = 0u;
        for (var j = t; j < 256u; j += 16u) { at += part[j]; }
        st_tmp(2u * at, bitcast<f32>(k));
        st_tmp(2u * at + 1u, bitcast<f32>(mine));
    }
}

// Which columns of which chunk a thread has: outer, chunk, column.
fn job(i: u32) -> vec3<u32> {
    let c = i / u.columns;
    return vec3<u32>(c / u.chunks, c % u.chunks, i % u.columns);
}
fn row4(at: vec3<u32>, place: u32) -> vec4<f32> {
    return ld4_s0((at.x * u.count + position(place)) * u.inner + 4u * at.z, u.inner - 4u * at.z);
}

@compute @workgroup_size(256) fn sums(${ARGS}) {
    ${BEGIN}
    let at = job(group * 256u + t);
    if (at.x >= u.outer) { return; }
    let first = at.y * u.chunk;
    let end = min(first + u.chunk, u.count);
    let rest = u.inner - 4u * at.z;
    var id = sorted(first);
    var begun = first > 0u; // in an earlier chunk?
    if (begun) { begun = sorted(first - 1u) == id; }
    var sum = vec4<f32>();
    for (var j = first; j < end; j += 4u) {
#for K 0 4
        let j${K} = min(j + ${K}u, end - 1u);
        let id${K} = sorted(j${K});
        let v${K} = row4(at, j${K});
#end
#for K 0 4
        if (j + ${K}u < end) {
            if (id${K} != id) {
                if (begun) { st4_tmp(line(at.x, at.y, at.z), 4u, sum); }
                else { st4_o0(place(at.x, id, at.z), rest, sum); }
                begun = false;
                id = id${K};
                sum = vec4<f32>();
            }
            sum += v${K};
        }
#end
    }
    if (begun) { st4_tmp(line(at.x, at.y, at.z), 4u, sum); }
    else if (id < u.len) { st4_o0(place(at.x, id, at.z), rest, sum); }
}

@compute @workgroup_size(256) fn joins(${ARGS}) {
    ${BEGIN}
    let at = job(group * 256u + t);
    if (at.x >= u.outer) { return; }
    let first = at.y * u.chunk;
    let end = first + u.chunk;
    if (end >= u.count) { return; }
    let id = sorted(end - 1u);
    if (id >= u.len || sorted(end) != id) { return; }
    if (first > 0u) {
        if (sorted(first - 1u) == id) { return; } // it began earlier
    }
    var sum = ld4_o0(place(at.x, id, at.z), u.inner - 4u * at.z);
    for (var c = at.y + 1u; c < u.chunks; c++) {
        if (sorted(c * u.chunk) != id) { break; }
        sum += ld4_tmp(line(at.x, c, at.z), 4u);
    }
    st4_o0(place(at.x, id, at.z), u.inner - 4u * at.z, sum);
}
