// _attention.wgsl - `#include attention`: which keys a query sees, for attention's forward and backward kernels.
// Scores are counted in powers of two: scale and log2(e) are in the factor of q, so that a weight is exp2(score - greatest).
// OPTIONS is the number of the source where the optional ones begin: mask, segments of queries and keys, length. PACKED: `pack` has
// copied the last three into tmp, for there are devices that bind no more than eight storages.
const HIDDEN = -1.0e38; // score of a key that is not seen; an added mask of minus infinity becomes it
const LOG2E = 1.4426950408889634;
const LN2 = 0.6931471805599453;

#if LENGTH
fn length_word(b: u32) -> i32 {
#if PACKED
    return bitcast<i32>(ld_tmp(u.length_at + b));
#else
    return ld_s${OPTIONS + 3}(b);
#end
}
#end
// Keys in use of batch b.
fn keys_of(b: u32) -> i32 {
#if LENGTH
    return clamp(length_word(b), 0, i32(u.keys));
#else
    return i32(u.keys);
#end
}
// Keys [first, end) that query `row` may see, segments apart; len = keys_of(b).
fn first_key(row: i32, len: i32) -> i32 {
#if WINDOW
    return max(row + len - i32(u.rows) - i32(u.window) + 1, 0);
#else
    return 0;
#end
}
fn end_key(row: i32, len: i32) -> i32 {
#if causal
    return clamp(row + len - i32(u.rows) + 1, 0, len);
#else
    return len;
#end
}
#if SEGMENTS
#if PACKED
fn segment_q(i: u32) -> i32 { return bitcast<i32>(ld_tmp(u.segment_q_at + i)); }
fn segment_k(i: u32) -> i32 { return bitcast<i32>(ld_tmp(u.segment_k_at + i)); }
#else
fn segment_q(i: u32) -> i32 { return ld_s${OPTIONS + 1}(i); }
fn segment_k(i: u32) -> i32 { return ld_s${OPTIONS + 2}(i); }
#end
#end
// Scores x of four pairs of a query and a key, with all masks. Rows and keys beyond the end are hidden or of no account.
fn masked(x: vec4<f32>, b: u32, h: u32, row: vec4<i32>, key: vec4<i32>, len: i32) -> vec4<f32> {
    let own = row + (len - i32(u.rows));
    var see = key < vec4<i32>(len);
#if causal
    see = see & (key <= own);
#end
#if WINDOW
    see = see & (key > own - i32(u.window));
#end
#if SEGMENTS || MASK
    let q = vec4<u32>(min(row, vec4<i32>(i32(u.rows) - 1)));
    let k = vec4<u32>(min(key, vec4<i32>(i32(u.keys) - 1)));
#end
#if SEGMENTS
    let sq = b * u.rows + q;
    let sk = b * u.keys + k;
    see = see & (vec4<i32>(segment_q(sq.x), segment_q(sq.y), segment_q(sq.z), segment_q(sq.w)) ==
                 vec4<i32>(segment_k(sk.x), segment_k(sk.y), segment_k(sk.z), segment_k(sk.w)));
#end
    var y = x;
#if MASK
    let m = b * u.mask_b + h * u.mask_h + q * u.mask_t + k * u.mask_s;
    y = max(y + LOG2E * vec4<f32>(ld_s${OPTIONS}(m.x), ld_s${OPTIONS}(m.y), ld_s${OPTIONS}(m.z), ld_s${OPTIONS}(m.w)), vec4<f32>(HIDDEN));
#end
    return select(vec4<f32>(HIDDEN), y, see);
}

#if PACKED && (SEGMENTS || LENGTH)
@compute @workgroup_size(${WG}) fn pack(${ARGS}) {
    ${BEGIN}
    let i = group * ${WG}u + t;
#if SEGMENTS
    if (i < u.batches * u.rows) { st_tmp(u.segment_q_at + i, bitcast<f32>(ld_s${OPTIONS + 1}(i))); }
    if (i < u.batches * u.keys) { st_tmp(u.segment_k_at + i, bitcast<f32>(ld_s${OPTIONS + 2}(i))); }
#end
#if LENGTH
    if (i < u.batches) { st_tmp(u.length_at + i, bitcast<f32>(ld_s${OPTIONS + 3}(i))); }
#end
}
#end
