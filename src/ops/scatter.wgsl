// scatter.wgsl - y = x, then y[i, idx[i,j]] = (or +=) src[i,j] along an axis: elements that meet come in the order of j.
//
// copy:  y = x, four elements a thread.
// short: a thread a line of idx: neighbours' lines lie side by side, or lines are short.
// long:  a group a line. It passes through shared memory; a thread owns the places of y that leave its number as rest.
// Numbers out of range are left out. WIDE: x, src and y are i64, seen as words.
#if WIDE
alias Value = vec2<u32>;
fn value(i: u32) -> Value { return vec2<u32>(ld_s2(2u * i), ld_s2(2u * i + 1u)); }
fn put(at: u32, v: Value) {
    var y = v;
#if add
    y.x += ld_o0(2u * at);
    y.y += ld_o0(2u * at + 1u) + select(0u, 1u, y.x < v.x);
#end
    st_o0(2u * at, y.x);
    st_o0(2u * at + 1u, y.y);
}
#else
alias Value = ${T_S2};
fn value(i: u32) -> Value { return ld_s2(i); }
fn put(at: u32, v: Value) {
#if add
    st_o0(at, ld_o0(at) + v);
#else
    st_o0(at, v);
#end
}
#end
const TILE = 1024u;
var<workgroup> ids: array<u32, 1024>;
var<workgroup> values: array<Value, 1024>;

@compute @workgroup_size(256) fn copy(${ARGS}) {
    ${BEGIN}
    let i = 4u * (group * 256u + t);
    if (i < u.total) { st4_o0(i, u.total - i, ld4_s0(i, u.total - i)); }
}

@compute @workgroup_size(256) fn short(${ARGS}) {
    ${BEGIN}
    let row = group * 256u + t;
    if (row >= u.lines) { return; }
    let i = i_line(row);
    let y = y_line(row);
    let v = v_line(row);
    for (var j = 0u; j < u.length; j++) {
        let id = u32(ld_s1(i + j * u.i_step));
        if (id < u.len) { put(y + id * u.y_step, value(v + j * u.v_step)); }
    }
}

@compute @workgroup_size(256) fn long(${ARGS}) {
    ${BEGIN}
    let i = i_line(group);
    let y = y_line(group);
    let v = v_line(group);
    for (var begin = 0u; begin < u.length; begin += TILE) {
        let rest = min(TILE, u.length - begin);
        workgroupBarrier();
        for (var j = t; j < rest; j += 256u) {
            ids[j] = u32(ld_s1(i + (begin + j) * u.i_step));
            values[j] = value(v + (begin + j) * u.v_step);
        }
        workgroupBarrier();
        for (var j = 0u; j < rest; j++) {
            let id = ids[j];
            if ((id & 255u) == t && id < u.len) { put(y + id * u.y_step, values[j]); }
        }
    }
}
