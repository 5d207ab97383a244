// cumsum.wgsl - running sums along lines of u.len numbers, in blocks of u.per where there are few lines: `sums` leaves each block's sum in
// tmp [lines, blocks], `offsets` makes of it what stands before the block, `scan` begins there.
//   ROWS  a line's numbers lie together: LANES threads a block, 4 numbers each at a time (row_launch.h)
//   else  a thread a block; neighbouring lines lie together
// INTS: sums of integers are i64, two words. WORDS: so is the source.
#if INTS
alias Num = vec2<u32>;
fn add(a: Num, b: Num) -> Num { let lo = a.x + b.x; return vec2<u32>(lo, a.y + b.y + select(0u, 1u, lo < a.x)); }
#if WORDS
fn one(i: u32) -> Num { return vec2<u32>(ld_s0(2u * i), ld_s0(2u * i + 1u)); }
#else
fn one(i: u32) -> Num { let v = i32(ld_s0(i)); return vec2<u32>(bitcast<u32>(v), bitcast<u32>(v >> 31u)); }
#end
fn put(i: u32, x: Num) { st_o0(2u * i, x.x); st_o0(2u * i + 1u, x.y); }
#if BLOCKS
fn ld_sum(i: u32) -> Num { return vec2<u32>(ld_tmp(2u * i), ld_tmp(2u * i + 1u)); }
fn st_sum(i: u32, x: Num) { st_tmp(2u * i, x.x); st_tmp(2u * i + 1u, x.y); }
#end
#else
alias Num = f32;
fn add(a: Num, b: Num) -> Num { return a + b; }
#if !QUADS
fn one(i: u32) -> Num { return ld_s0(i); }
fn put(i: u32, x: Num) { st_o0(i, x); }
#end
#if BLOCKS
fn ld_sum(i: u32) -> Num { return bitcast<f32>(ld_tmp(i)); }
fn st_sum(i: u32, x: Num) { st_tmp(i, bitcast<u32>(x)); }
#end
#end
// Where the p-th number of a line's way lies.
fn place(p: u32) -> u32 {
#if reverse
    return u.len - 1u - p;
#else
    return p;
#end
}

#if ROWS
struct Four { a: Num, b: Num, c: Num, d: Num }
fn load(at: u32, p: u32, end: u32) -> Four {
    var v = Four(Num(), Num(), Num(), Num());
#if QUADS
    if (p < end) {
#if reverse
        let x = ld4_s0(at + place(p + 3u), 4u).wzyx;
#else
        let x = ld4_s0(at + p, 4u);
#end
        v = Four(x.x, x.y, x.z, x.w);
    }
#else
    if (p < end) { v.a = one(at + place(p)); }
    if (p + 1u < end) { v.b = one(at + place(p + 1u)); }
    if (p + 2u < end) { v.c = one(at + place(p + 2u)); }
    if (p + 3u < end) { v.d = one(at + place(p + 3u)); }
#end
    return v;
}
fn store(at: u32, p: u32, end: u32, v: Four) {
#if QUADS
    if (p < end) {
#if reverse
        st4_o0(at + place(p + 3u), 4u, vec4<f32>(v.d, v.c, v.b, v.a));
#else
        st4_o0(at + p, 4u, vec4<f32>(v.a, v.b, v.c, v.d));
#end
    }
#else
    if (p < end) { put(at + place(p), v.a); }
    if (p + 1u < end) { put(at + place(p + 1u), v.b); }
    if (p + 2u < end) { put(at + place(p + 2u), v.c); }
    if (p + 3u < end) { put(at + place(p + 3u), v.d); }
#end
}
var<workgroup> scan_: array<Num, ${WG}>;
// Of LANES threads: what stands before this one, and all.
struct Before { own: Num, all: Num }
fn scan_lanes(x: Num, t: u32) -> Before {
    let lane = t % ${LANES}u;
    var y = x;
    workgroupBarrier();
    scan_[t] = y;
    workgroupBarrier();
    for (var s = 1u; s < ${LANES}u; s <<= 1u) {
        if (lane >= s) { y = add(scan_[t - s], y); }
        workgroupBarrier();
        scan_[t] = y;
        workgroupBarrier();
    }
    var own = Num();
    if (lane > 0u) { own = scan_[t - 1u]; }
    return Before(own, scan_[t - lane + ${LANES - 1}u]);
}
#if BLOCKS
@compute @workgroup_size(${WG}) fn sums(${ARGS}) {
    ${BEGIN}
    let unit = group * ${WG / LANES}u + t / ${LANES}u;
    let line = min(unit, u.rows - 1u) / u.blocks;
    let begin = min(unit, u.rows - 1u) % u.blocks * u.per;
    let end = min(begin + u.per, u.len);
    var sum = Num();
    for (var p = begin + t % ${LANES}u * 4u; p < end; p += ${4 * LANES}u) {
        let v = load(line * u.len, p, end);
        sum = add(sum, add(add(v.a, v.b), add(v.c, v.d)));
    }
    let all = scan_lanes(sum, t).all;
    if (t % ${LANES}u == 0u && unit < u.rows) { st_sum(unit, all); }
}
@compute @workgroup_size(${WG}) fn offsets(${ARGS}) {
    ${BEGIN}
    let line = group * ${WG / LANES}u + t / ${LANES}u;
    var carry = Num();
    for (var base = 0u; base < u.blocks; base += ${LANES}u) {
        let i = base + t % ${LANES}u;
        let mine = i < u.blocks && line < u.lines;
        var x = Num();
        if (mine) { x = ld_sum(line * u.blocks + i); }
        let before = scan_lanes(x, t);
        if (mine) { st_sum(line * u.blocks + i, add(carry, before.own)); }
        carry = add(carry, before.all);
    }
}
#end
@compute @workgroup_size(${WG}) fn scan(${ARGS}) {
    ${BEGIN}
    let unit = group * ${WG / LANES}u + t / ${LANES}u;
    let line = min(unit, u.rows - 1u) / u.blocks;
    let begin = min(unit, u.rows - 1u) % u.blocks * u.per;
    var end = min(begin + u.per, u.len);
    if (unit >= u.rows) { end = begin; }
    var carry = Num();
#if BLOCKS
    carry = ld_sum(min(unit, u.rows - 1u));
#end
    for (var step = 0u; step < u.per; step += ${4 * LANES}u) {
        let p = begin + step + t % ${LANES}u * 4u;
        let v = load(line * u.len, p, end);
        let b = add(v.a, v.b);
        let c = add(b, v.c);
        let before = scan_lanes(add(c, v.d), t);
        let own = add(carry, before.own);
#if exclusive
        store(line * u.len, p, end, Four(own, add(own, v.a), add(own, b), add(own, c)));
#else
        store(line * u.len, p, end, Four(add(own, v.a), add(own, b), add(own, c), add(own, add(c, v.d))));
#end
        carry = add(carry, before.all);
    }
}
#else
fn line_at(line: u32) -> u32 { return line / u.inner * u.inner * u.len + line % u.inner; }
#if BLOCKS
@compute @workgroup_size(${WG}) fn sums(${ARGS}) {
    ${BEGIN}
    let unit = group * ${WG}u + t;
    if (unit >= u.rows) { return; }
    let at = line_at(unit % u.lines);
    let block = unit / u.lines;
    var sum = Num();
    for (var p = block * u.per; p < min(block * u.per + u.per, u.len); p++) { sum = add(sum, one(at + place(p) * u.inner)); }
    st_sum(unit, sum);
}
@compute @workgroup_size(${WG}) fn offsets(${ARGS}) {
    ${BEGIN}
    let line = group * ${WG}u + t;
    if (line >= u.lines) { return; }
    var carry = Num();
    for (var i = line; i < u.rows; i += u.lines) {
        let x = ld_sum(i);
        st_sum(i, carry);
        carry = add(carry, x);
    }
}
#end
@compute @workgroup_size(${WG}) fn scan(${ARGS}) {
    ${BEGIN}
    let unit = group * ${WG}u + t;
    if (unit >= u.rows) { return; }
    let at = line_at(unit % u.lines);
    let block = unit / u.lines;
    var sum = Num();
#if BLOCKS
    sum = ld_sum(unit);
#end
    for (var p = block * u.per; p < min(block * u.per + u.per, u.len); p++) {
        let i = at + place(p) * u.inner;
        let next = add(sum, one(i));
#if exclusive
        put(i, sum);
#else
        put(i, next);
#end
        sum = next;
    }
}
#end
