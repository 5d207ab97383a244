// set_rows.wgsl - v[o, idx[r], c] = rows[o, r, c]. A group writes 1024 elements of the row r, unless a later row has the same number: the
// last one stays, as on the CPU. Numbers outside the axis write nothing. RAW: both are of one type, and are moved as bits.
var<workgroup> later: atomic<u32>;
#if RAW
fn index(r: u32) -> u32 { // 0xffffffff: none
#if WORDS == 2
    return select(0xffffffffu, ld_s2(2u * r), ld_s2(2u * r + 1u) == 0u);
#else
    return ld_s2(r);
#end
}
#else
fn index(r: u32) -> u32 { return bitcast<u32>(ld_s2(r)); }
#end

@compute @workgroup_size(256) fn main(${ARGS}) {
    ${BEGIN}
    let r = group / u.blocks;
    let id = index(r);
    if (t == 0u) { atomicStore(&later, 0u); }
    workgroupBarrier();
    for (var k = r + 1u + t; k < u.count; k += 256u) {
        if (index(k) == id) { atomicStore(&later, 1u); }
    }
    workgroupBarrier();
    if (atomicLoad(&later) != 0u || id >= u.len) { return; }
    let i = 4u * (group % u.blocks * 256u + t); // of the elements of all outer lines, `inner` each
    if (i >= u.total) { return; }
#if FOURS
    let o = i / u.inner;
    let c = i - o * u.inner;
    st4_o0((o * u.len + id) * u.inner + c, 4u, ld4_s1((o * u.count + r) * u.inner + c, 4u));
#else
    for (var k = i; k < min(i + 4u, u.total); k++) {
        let o = k / u.inner;
        let c = k - o * u.inner;
        st_o0((o * u.len + id) * u.inner + c, ld_s1((o * u.count + r) * u.inner + c));
    }
#end
}
