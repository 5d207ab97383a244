// reduce.wgsl - reductions over any axes, always in the same order; _reduce.c says which road a shape takes.
// KIND: 0 sum, 1 mean, 2 norm, 3 amax, 4 amin, 5 logsumexp, 6 any, 7 all, 8 argmax, 9 argmin.
//
// Output o reduces x[kept(o) + reduced(i)], i < u.len, in u.pieces; several pieces leave their states in tmp [outputs, pieces], for `merge`.
//   rows     the elements of an output lie together: u.lanes threads share a piece
//   columns  the outputs lie together: a group takes u.across of them (quads of them) and WG / u.across elements of each at a time
// QUADS: four that lie together are read at once. FORM: the source is 0 floats, 1 integers, 2 bools, 3 i64 as pairs of words.
// A state is kept as
//   STATE 0  f32, a sum
//   STATE 1  i32 in the order of the values: NaN beyond all
//   STATE 2  u64 as two words: a sum, or an i64
//   STATE 3  logsumexp: the greatest and the sum of exp(x - it)
//   STATE 4  u32, 0 or 1
//   STATE 5  as 1, and the place of the first that has it
//   STATE 6  as 2, and the place
#if FORM == 0
alias Element = f32;
#else
#if FORM == 1
alias Element = i32;
#else
#if FORM == 2
alias Element = bool;
#else
alias Element = vec2<u32>;
#end
#end
#end
#if FORM == 3
fn one(i: u32) -> Element { return vec2<u32>(ld_s0(2u * i), ld_s0(2u * i + 1u)); }
#else
fn one(i: u32) -> Element { return ld_s0(i); }
#end

// Floats as integers of the same order: 0 and -0 alike, NaN beyond all in the direction that is looked for.
#if FORM == 0
fn order(x: f32) -> i32 {
    let b = bitcast<i32>(x);
    let k = b ^ ((b >> 31u) & 0x7fffffff);
    if ((b & 0x7fffffff) > 0x7f800000) { return NEVER_BEATEN; }
    return select(k, 0, k == -1);
}
#else
#if FORM != 3
fn order(x: Element) -> i32 { return i32(x); }
#end
#end
#if LARGEST
const NEVER_BEATEN = 0x7fffffff;
const ALWAYS_BEATEN = -0x7fffffff - 1;
const ALWAYS_BEATEN_64 = vec2<u32>(0u, 0x80000000u);
#else
const NEVER_BEATEN = -0x7fffffff - 1;
const ALWAYS_BEATEN = 0x7fffffff;
const ALWAYS_BEATEN_64 = vec2<u32>(0xffffffffu, 0x7fffffffu);
#end
#if FORM == 3
fn less(a: vec2<u32>, b: vec2<u32>) -> bool { return select(bitcast<i32>(a.y) < bitcast<i32>(b.y), a.x < b.x, a.y == b.y); }
fn beats(a: vec2<u32>, b: vec2<u32>) -> bool {
#if LARGEST
    return less(b, a);
#else
    return less(a, b);
#end
}
#end

#if STATE == 0
alias State = f32;
fn start() -> State { return 0.0; }
fn join(a: State, b: State) -> State { return a + b; }
#if KIND == 2
fn lift(x: Element, i: u32) -> State { return x * x; }
#else
fn lift(x: Element, i: u32) -> State { return x; }
#end
#end
#if STATE == 1
alias State = i32;
fn start() -> State { return ALWAYS_BEATEN; }
fn lift(x: Element, i: u32) -> State { return order(x); }
#if LARGEST
fn join(a: State, b: State) -> State { return max(a, b); }
#else
fn join(a: State, b: State) -> State { return min(a, b); }
#end
#end
#if STATE == 2
alias State = vec2<u32>;
#if FORM == 3
fn lift(x: Element, i: u32) -> State { return x; }
#else
fn lift(x: Element, i: u32) -> State { let v = i32(x); return vec2<u32>(bitcast<u32>(v), bitcast<u32>(v >> 31u)); }
#end
#if KIND == 0
fn start() -> State { return vec2<u32>(); }
fn join(a: State, b: State) -> State { let lo = a.x + b.x; return vec2<u32>(lo, a.y + b.y + select(0u, 1u, lo < a.x)); }
#else
fn start() -> State { return ALWAYS_BEATEN_64; }
fn join(a: State, b: State) -> State { return select(a, b, beats(b, a)); }
#end
#end
#if STATE == 3
alias State = vec2<f32>;
fn start() -> State { return vec2<f32>(-3.0e38, 0.0); }
fn lift(x: Element, i: u32) -> State { return vec2<f32>(x, 1.0); }
fn weight(x: f32, top: f32) -> f32 { return select(exp(x - top), 1.0, x == top); } // infinity less infinity is 0 here
fn join(a: State, b: State) -> State {
    let top = max(a.x, b.x);
    return vec2<f32>(top, a.y * weight(a.x, top) + b.y * weight(b.x, top));
}
#end
#if STATE == 4
alias State = u32;
#if FORM == 3
fn lift(x: Element, i: u32) -> State { return select(0u, 1u, (x.x | x.y) != 0u); }
#else
#if FORM == 2
fn lift(x: Element, i: u32) -> State { return select(0u, 1u, x); }
#else
fn lift(x: Element, i: u32) -> State { return select(0u, 1u, x != ${T_S0}()); }
#end
#end
#if KIND == 6
fn start() -> State { return 0u; }
fn join(a: State, b: State) -> State { return a | b; }
#else
fn start() -> State { return 1u; }
fn join(a: State, b: State) -> State { return a & b; }
#end
#end

#if STATE == 5
alias State = vec2<i32>; // ordered value, place
fn start() -> State { return vec2<i32>(ALWAYS_BEATEN, 0x7fffffff); }
fn lift(x: Element, i: u32) -> State { return vec2<i32>(order(x), i32(i)); }
fn join(a: State, b: State) -> State {
#if LARGEST
    let beaten = b.x > a.x;
#else
    let beaten = b.x < a.x;
#end
    return select(a, b, beaten || (a.x == b.x && b.y < a.y));
}
#end
#if STATE == 6
alias State = vec3<u32>; // value, place
fn start() -> State { return vec3<u32>(ALWAYS_BEATEN_64, 0x7fffffffu); }
fn lift(x: Element, i: u32) -> State { return vec3<u32>(x, i); }
fn join(a: State, b: State) -> State { return select(a, b, beats(b.xy, a.xy) || (all(a.xy == b.xy) && b.z < a.z)); }
#end

#if SPLIT
// States in tmp, whose cells are words here.
#if STATE == 6
fn keep(i: u32, s: State) { st_tmp(3u * i, s.x); st_tmp(3u * i + 1u, s.y); st_tmp(3u * i + 2u, s.z); }
fn part_of(i: u32) -> State { return vec3<u32>(ld_tmp(3u * i), ld_tmp(3u * i + 1u), ld_tmp(3u * i + 2u)); }
#else
#if STATE == 2 || STATE == 3 || STATE == 5
fn keep(i: u32, s: State) { let w = bitcast<vec2<u32>>(s); st_tmp(2u * i, w.x); st_tmp(2u * i + 1u, w.y); }
fn part_of(i: u32) -> State { return bitcast<State>(vec2<u32>(ld_tmp(2u * i), ld_tmp(2u * i + 1u))); }
#else
fn keep(i: u32, s: State) { st_tmp(i, bitcast<u32>(s)); }
fn part_of(i: u32) -> State { return bitcast<State>(ld_tmp(i)); }
#end
#end
#end

#if STATE == 2
#if KIND == 0 || FORM == 3
fn finish(i: u32, s: State) { st_o0(2u * i, s.x); st_o0(2u * i + 1u, s.y); }
#end
#else
fn result(s: State) -> ${T_O0} {
#if STATE == 0
#if KIND == 0
    return s;
#end
#if KIND == 1
    return s / u.count;
#end
#if KIND == 2
    return sqrt(s);
#end
#end
#if STATE == 1
#if FORM == 0
    return bitcast<f32>(s ^ ((s >> 31u) & 0x7fffffff));
#else
    return ${T_O0}(s);
#end
#end
#if STATE == 3
    if (s.y == 0.0) { return bitcast<f32>(u.minus_infinity); }
    return s.x + log(s.y);
#end
#if STATE == 4
    return s != 0u;
#end
#if STATE == 5
    return s.y;
#end
#if STATE == 6
    return i32(s.z);
#end
}
fn finish(i: u32, s: State) { st_o0(i, result(s)); }
#end

var<workgroup> state_: array<State, ${4 * WG}>;
// Joins the states of `lanes` neighbouring threads, a power of two; every thread gets the result.
fn lanes_join(x: State, lanes: u32, t: u32) -> State {
    let first = t - t % lanes;
    var y = x;
    var near = 1u;
#if SUBGROUPS
    near = min(subgroupAdd(1u), lanes);
    for (var s = 1u; s < near; s <<= 1u) { y = join(y, subgroupShuffleXor(y, s)); }
#end
    workgroupBarrier();
    state_[t] = y;
    workgroupBarrier();
#if SUBGROUPS
    y = state_[first];
    for (var k = near; k < lanes; k += near) { y = join(y, state_[first + k]); }
    return y;
#else
    for (var s = lanes / 2u; s > 0u; s >>= 1u) {
        if (t - first < s) { state_[t] = join(state_[t], state_[t + s]); }
        workgroupBarrier();
    }
    return state_[first];
#end
}

#if COLUMNS
@compute @workgroup_size(${WG}) fn columns(${ARGS}) {
    ${BEGIN}
    let column = group % u.blocks * u.across + t % u.across;
    let piece = group / u.blocks;
    let begin = piece * u.per;
    let end = min(begin + u.per, u.len);
    let step = ${WG}u / u.across;
    let x = kept(min(column, u.columns - 1u) * ${QUADS * 3 + 1}u);
    var i = begin + t / u.across;
#if QUADS
    var s0 = start();
    var s1 = start();
    var s2 = start();
    var s3 = start();
    for (; i + 3u * step < end; i += 4u * step) { // four reads are on their way at once
#for k 0 4
        let v${k} = ld4_s0(x + reduced(i + ${k}u * step), 4u);
#end
#for c 0 4
        s${c} = join(join(join(s${c}, lift(v0[${c}], i)), lift(v1[${c}], i + step)), join(lift(v2[${c}], i + 2u * step), lift(v3[${c}], i + 3u * step)));
#end
    }
    for (; i < end; i += step) {
        let v = ld4_s0(x + reduced(i), 4u);
#for c 0 4
        s${c} = join(s${c}, lift(v[${c}], i));
#end
    }
    workgroupBarrier();
#for c 0 4
    state_[t + ${c * WG}u] = s${c};
#end
#else
    var s = start();
    for (; i + 3u * step < end; i += 4u * step) {
#for k 0 4
        let v${k} = lift(one(x + reduced(i + ${k}u * step)), i + ${k}u * step);
#end
        s = join(join(join(s, v0), v1), join(v2, v3));
    }
    for (; i < end; i += step) { s = join(s, lift(one(x + reduced(i)), i)); }
    workgroupBarrier();
    state_[t] = s;
#end
    workgroupBarrier();
    for (var k = ${WG / 2}u; k >= u.across; k >>= 1u) {
        if (t < k) {
#for c 0 QUADS * 3 + 1
            state_[t + ${c * WG}u] = join(state_[t + ${c * WG}u], state_[t + k + ${c * WG}u]);
#end
        }
        workgroupBarrier();
    }
    if (t >= u.across || column >= u.columns) { return; }
#if SPLIT
#for c 0 QUADS * 3 + 1
    keep((column * ${QUADS * 3 + 1}u + ${c}u) * u.pieces + piece, state_[t + ${c * WG}u]);
#end
#else
#if QUADS && STATE != 2
    st4_o0(column * 4u, 4u, vec4<${T_O0}>(result(state_[t]), result(state_[t + ${WG}u]), result(state_[t + ${2 * WG}u]), result(state_[t + ${3 * WG}u])));
#else
#for c 0 QUADS * 3 + 1
    finish(column * ${QUADS * 3 + 1}u + ${c}u, state_[t + ${c * WG}u]);
#end
#end
#end
}
#else
#if QUADS
fn four(v: vec4<Element>, i: u32) -> State {
    return join(join(lift(v.x, i), lift(v.y, i + 1u)), join(lift(v.z, i + 2u), lift(v.w, i + 3u)));
}
#end
@compute @workgroup_size(${WG}) fn rows(${ARGS}) {
    ${BEGIN}
    let unit = group * (${WG}u / u.lanes) + t / u.lanes;
    let output = unit / u.pieces;
    let begin = unit % u.pieces * u.per;
    var end = min(begin + u.per, u.len);
    if (output >= u.outputs) { end = 0u; }
    let x = kept(min(output, u.outputs - 1u));
    var s = start();
#if QUADS
    var i = begin + t % u.lanes * 4u;
    for (; i + 12u * u.lanes < end; i += 16u * u.lanes) {
#for k 0 4
        let v${k} = ld4_s0(x + reduced(i + ${4 * k}u * u.lanes), 4u);
        let r${k} = four(v${k}, i + ${4 * k}u * u.lanes);
#end
        s = join(s, join(join(r0, r1), join(r2, r3)));
    }
    for (; i < end; i += 4u * u.lanes) {
        s = join(s, four(ld4_s0(x + reduced(i), 4u), i));
    }
#else
    var i = begin + t % u.lanes;
    for (; i + 3u * u.lanes < end; i += 4u * u.lanes) {
#for k 0 4
        let v${k} = lift(one(x + reduced(i + ${k}u * u.lanes)), i + ${k}u * u.lanes);
#end
        s = join(s, join(join(v0, v1), join(v2, v3)));
    }
    for (; i < end; i += u.lanes) { s = join(s, lift(one(x + reduced(i)), i)); }
#end
    s = lanes_join(s, u.lanes, t);
    if (t % u.lanes == 0u && output < u.outputs) {
#if SPLIT
        keep(unit, s);
#else
        finish(output, s);
#end
    }
}
#end

#if SPLIT
@compute @workgroup_size(${WG}) fn merge(${ARGS}) {
    ${BEGIN}
    let output = group * (${WG}u / u.merge_lanes) + t / u.merge_lanes;
    var s = start();
    if (output < u.outputs) {
        for (var i = t % u.merge_lanes; i < u.pieces; i += u.merge_lanes) { s = join(s, part_of(output * u.pieces + i)); }
    }
    s = lanes_join(s, u.merge_lanes, t);
    if (t % u.merge_lanes == 0u && output < u.outputs) { finish(output, s); }
}
#end
