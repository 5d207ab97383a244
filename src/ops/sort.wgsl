// sort.wgsl - values in order along an axis, stable, and their places; and the few largest of long lines. x is [outer, len, inner]; a
// line is (outer, inner). Values are seen as unsigned numbers in the same order: NaN last, -0 equal to 0. WIDE: x is i64, seen as words,
// and a key is two of them, the higher one first.
#if WIDE
alias Key = vec2<u32>;
fn order(i: u32) -> Key { return vec2<u32>(ld_s0(2u * i + 1u) ^ 0x80000000u, ld_s0(2u * i)); }
fn below(a: Key, b: Key) -> bool { return a.x < b.x || (a.x == b.x && a.y < b.y); }
#else
alias Key = u32;
fn order(i: u32) -> Key {
    let v = ld_s0(i);
#if FLOATS
    let b = bitcast<u32>(v);
    if ((b & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
    return select(select(b, 0u, b == 0x80000000u) | 0x80000000u, ~b, b > 0x80000000u);
#else
    return u32(v) ^ 0x80000000u;
#end
}
fn below(a: Key, b: Key) -> bool { return a < b; }
#end
fn x_at(line: u32, i: u32) -> u32 { return (line / u.inner * u.len + i) * u.inner + line % u.inner; }
// The i-th of a line's results is the element at `place`.
fn emit(line: u32, i: u32, place: u32) {
    let to = (line / u.inner * u.keep + i) * u.inner + line % u.inner;
    let x = x_at(line, place);
#if WIDE
    st_o0(2u * to, ld_s0(2u * x));
    st_o0(2u * to + 1u, ld_s0(2u * x + 1u));
#else
    st_o0(to, ld_s0(x));
#end
    st_o1(to, i32(place));
}

#if !FEW
// tiles: a group sorts a tile of a line by (key, place) with a bitonic network in shared memory. Round 0.
// merge: runs of 2 by 2 tiles, then of the runs so made, a round each: an element's place is its place in its own run plus the number
//        of elements of the other run that come before it. Pairs (key, place) go from one half of tmp to the other.
var<workgroup> keys: array<Key, ${TILE}>;
var<workgroup> places: array<u32, ${TILE}>;

fn key_of(i: u32) -> Key {
#if DOWN
    return ~order(i);
#else
    return order(i);
#end
}
#if MERGES
fn save(e: u32, key: Key, place: u32) {
#if WIDE
    st_tmp(3u * e, place);
    st_tmp(3u * e + 1u, key.x);
    st_tmp(3u * e + 2u, key.y);
#else
    st_tmp(2u * e, place);
    st_tmp(2u * e + 1u, key);
#end
}
fn saved_place(e: u32) -> u32 { return ld_tmp(${2 + WIDE}u * e); }
fn saved_key(e: u32) -> Key {
#if WIDE
    return vec2<u32>(ld_tmp(3u * e + 1u), ld_tmp(3u * e + 2u));
#else
    return ld_tmp(2u * e + 1u);
#end
}
#end

@compute @workgroup_size(${WG}) fn tiles(${ARGS}) {
    ${BEGIN}
#if MERGES
    if (u.round > 0u) { return; }
#end
    let line = group / u.tiles;
    let first = group % u.tiles * ${TILE}u;
    let n = min(${TILE}u, u.len - first);
    for (var i = t; i < u.size; i += ${WG}u) {
        keys[i] = Key(0xffffffffu);
        places[i] = 0xffffffffu;
        if (i < n) {
            keys[i] = key_of(x_at(line, first + i));
            places[i] = first + i;
        }
    }
    for (var k = 2u; k <= u.size; k <<= 1u) {
        for (var j = k >> 1u; j > 0u; j >>= 1u) {
            workgroupBarrier();
            for (var p = t; p < u.size / 2u; p += ${WG}u) {
                let a = ((p & ~(j - 1u)) << 1u) | (p & (j - 1u));
                let b = a + j;
                let ka = keys[a];
                let kb = keys[b];
                let pa = places[a];
                let pb = places[b];
                let after = below(kb, ka) || (!below(ka, kb) && pa > pb);
                if (after == ((a & k) == 0u)) {
                    keys[a] = kb;
                    keys[b] = ka;
                    places[a] = pb;
                    places[b] = pa;
                }
            }
        }
    }
    workgroupBarrier();
    for (var i = t; i < n; i += ${WG}u) {
#if MERGES
        save(line * u.len + first + i, keys[i], places[i]);
#else
        if (i < u.keep) { emit(line, i, places[i]); }
#end
    }
}

#if MERGES
@compute @workgroup_size(256) fn merge(${ARGS}) {
    ${BEGIN}
    let e = group * 256u + t;
    if (e >= u.total) { return; }
    let line = e / u.len;
    let i = e - line * u.len;
    let here = (u.round & 1u) * u.total + line * u.len;
    let run = ${TILE}u << u.round;
    let first = i / run / 2u * 2u * run;
    let middle = min(first + run, u.len);
    let key = saved_key(here + i);
    let place = saved_place(here + i);
    let left = i < middle;
    var lo = select(first, middle, left); // the other run: below lo come before, from hi on come after
    var hi = select(middle, min(middle + run, u.len), left);
    let other = lo;
    while (lo < hi) {
        let m = (lo + hi) / 2u;
        let k = saved_key(here + m);
        if (below(k, key) || (!left && !below(key, k))) { lo = m + 1u; } else { hi = m; }
    }
    let to = select(first + i - middle, i, left) + lo - other;
    if (u.round + 1u == u.rounds) {
        if (to < u.keep) { emit(line, to, place); }
    } else {
        save((1u - (u.round & 1u)) * u.total + line * u.len + to, key, place);
    }
}
#end
#else
// The few largest of long lines, largest first, of equals the first: the smallest pairs (turned key, place).
//
// chunks: a group finds the k smallest pairs of a chunk of a line, digit by digit: pairs are counted by eight bits at a time among those
//         that begin as the k-th does, until all that begin so are taken.
// last:   the same from the chunks' k each.
const KEEP = 512u; // most that are kept
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> sums: array<u32, 512>;
var<workgroup> keys: array<u32, 512>;
var<workgroup> places: array<u32, 512>;
var<workgroup> taken: atomic<u32>;
var<workgroup> found: vec3<u32>; // digit, wanted among those that share it, 1: all of them

struct Items { line: u32, first: u32, n: u32, chosen: bool }
fn item(list: Items, i: u32) -> vec2<u32> {
#if CHUNKED
    if (list.chosen) { return vec2<u32>(ld_tmp(2u * (list.first + i)), ld_tmp(2u * (list.first + i) + 1u)); }
#end
    return vec2<u32>(~order(x_at(list.line, list.first + i)), list.first + i);
}
// The first `digits` digits of a pair: of the key, then of the place.
fn head(e: vec2<u32>, digits: u32) -> vec2<u32> {
    if (digits == 0u) { return vec2<u32>(); }
    if (digits <= 4u) { return vec2<u32>(e.x >> (32u - 8u * digits), 0u); }
    return vec2<u32>(e.x, e.y >> (64u - 8u * digits));
}

// Leaves the min(keep, n) smallest pairs in keys and places, in any order.
fn choose(list: Items, t: u32) {
    var prefix = vec2<u32>();
    var want = min(u.keep, list.n);
    var digits = 0u;
    for (; digits < 8u;) {
        atomicStore(&bins[t], 0u);
        workgroupBarrier();
        for (var i = t; i < list.n; i += 256u) {
            let e = item(list, i);
            if (all(head(e, digits) == prefix)) {
                let next = head(e, digits + 1u);
                atomicAdd(&bins[select(next.x, next.y, digits >= 4u) & 255u], 1u);
            }
        }
        workgroupBarrier();
        let own = atomicLoad(&bins[t]);
        var half = 0u; // sums of the bins up to t, in one half of sums after the other
        sums[t] = own;
        for (var s = 1u; s < 256u; s <<= 1u) {
            workgroupBarrier();
            var v = sums[half + t];
            if (t >= s) { v += sums[half + t - s]; }
            half = 256u - half;
            sums[half + t] = v;
        }
        let upto = sums[half + t];
        if (upto - own < want && want <= upto) { found = vec3<u32>(t, want - (upto - own), u32(want == upto)); }
        workgroupBarrier();
        let f = found;
        if (digits < 4u) { prefix.x = prefix.x << 8u | f.x; } else { prefix.y = prefix.y << 8u | f.x; }
        want = f.y;
        digits++;
        if (workgroupUniformLoad(&found).z == 1u) { break; }
    }
    if (t == 0u) { atomicStore(&taken, 0u); }
    workgroupBarrier();
    for (var i = t; i < list.n; i += 256u) {
        let e = item(list, i);
        let h = head(e, digits);
        if (h.x < prefix.x || (h.x == prefix.x && h.y <= prefix.y)) {
            let slot = atomicAdd(&taken, 1u);
            if (slot < KEEP) {
                keys[slot] = e.x;
                places[slot] = e.y;
            }
        }
    }
    workgroupBarrier();
}

// What was chosen, in order.
fn finish(line: u32, t: u32) {
    for (var i = t; i < u.keep; i += 256u) {
        let key = keys[i];
        let place = places[i];
        var to = 0u;
        for (var j = 0u; j < u.keep; j++) { to += u32(keys[j] < key || (keys[j] == key && places[j] < place)); }
        emit(line, to, place);
    }
}

@compute @workgroup_size(256) fn chunks(${ARGS}) {
    ${BEGIN}
    let line = group / u.chunks;
    let first = group % u.chunks * u.chunk;
    let list = Items(line, first, min(u.chunk, u.len - first), false);
    choose(list, t);
#if CHUNKED
    for (var i = t; i < u.keep; i += 256u) {
        let some = i < list.n;
        st_tmp(2u * (group * u.keep + i), select(0xffffffffu, keys[i], some));
        st_tmp(2u * (group * u.keep + i) + 1u, select(0xffffffffu, places[i], some));
    }
#else
    finish(line, t);
#end
}

#if CHUNKED
@compute @workgroup_size(256) fn last(${ARGS}) {
    ${BEGIN}
    choose(Items(group, group * u.chunks * u.keep, u.chunks * u.keep, true), t);
    finish(group, t);
}
#end
#end
