// attention_grad.wgsl - attention's backward pass as five products by tiles; weights are computed again from q, k and the log-sum-exp.
// q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv], o, its gradient [B,T,H,Dv], lse, its gradient or none [B,H,T] -> dq, dk, dv in f32.
//   w = exp(score - lse)   dw = do v^T   ds = w (dw - delta), delta = sum(o do) - dlse   dq = ds k   dk = ds^T q   dv = w^T do
// `prepare` writes lse (in powers of two) and delta of all rows to tmp. Then come rounds, each for u.units key heads (with the queries'
// heads that share them) and u.strips strips of BM queries: `scores` makes their w and ds, whole, in tmp; `gradients` makes dq, and adds to
// dk and dv what these queries give. So every sum has one owner and one order.
//   tmp: lse, delta [B,H,T], segments and lengths, w and ds [units * share][u.cells]
// w and ds of a head: a strip after the other, BM rows of as many blocks of BM keys as the strip can see.
#include attention
#include attention_tile

var<workgroup> a_tile_: array<vec4<f32>, ${BK * (BM / 4 + 1)}>; // of a product
var<workgroup> b_tile_: array<vec4<f32>, ${BK * (BN / 4 + 1)}>;
var<workgroup> part: array<f32, ${WG}>;
var<workgroup> len_: i32;

// Eight threads a row.
@compute @workgroup_size(${WG}) fn prepare(${ARGS}) {
    ${BEGIN}
    let i = group * ${WG / 8}u + t / 8u;
    let row = i % u.rows;
    let h = i / u.rows % u.heads;
    let b = i / u.rows / u.heads;
    let used = i < u.all_rows && u.round == 0u;
    var sum = 0.0;
    if (used) {
        let o = b * u.b3 + row * u.t3 + h * u.h3;
        let g = b * u.b5 + row * u.t5 + h * u.h5;
        for (var c = 4u * (t % 8u); c < u.width; c += 32u) { sum += dot(ld4_s3(o + c, u.width - c), ld4_s5(g + c, u.width - c)); }
    }
    part[t] = sum;
    workgroupBarrier();
    if (t % 8u == 0u && used) {
        for (var k = 1u; k < 8u; k++) { sum += part[t + k]; }
#if HAS_S6
        sum -= ld_s6(i);
#end
        let lse = ld_s4(i);
        st_tmp(i, select(LOG2E * lse, -HIDDEN, bitcast<u32>(lse) == u.minus_inf)); // a row that sees nothing: weights 0
        st_tmp(u.all_rows + i, sum);
    }
}

// Queries [first, end) that may see key `key`, or one of the keys from `key` to `last`.
fn first_row(key: i32, len: i32) -> i32 {
#if causal
    return clamp(key - (len - i32(u.rows)), 0, i32(u.rows));
#else
    return 0;
#end
}
fn end_row(key: i32, last: i32, len: i32) -> i32 {
    if (key >= len) { return 0; }
#if WINDOW
    return clamp(last + i32(u.window) - (len - i32(u.rows)), 0, i32(u.rows));
#else
    return i32(u.rows);
#end
}

// Of a round: its first unit (key head of a batch, b * kv_heads + g) and its first strip; what of tmp a strip's rows have.
fn first_unit() -> u32 { return u.round / u.turns * u.units; }
fn first_strip() -> u32 { return u.round % u.turns * u.strips; }
fn blocks_of(strip: u32) -> u32 { return u.blocks + u.more * strip; } // blocks of keys of its rows
fn block_at(strip: u32) -> u32 { return strip * u.blocks + u.more * (strip * (strip - 1u) / 2u); }
fn strip_at(strip: u32) -> u32 { return ${BM * BM}u * (block_at(strip) - block_at(first_strip())); }
fn row_at(query: u32) -> u32 { return strip_at(query / ${BM}u) + query % ${BM}u * ${BM}u * blocks_of(query / ${BM}u); }

// What a group works for: heads, where their operands begin, and the head's w and ds.
var<private> b_: u32;
var<private> h_: u32;
var<private> row0_: u32; // its tile's first row
var<private> q_: u32;
var<private> k_: u32;
var<private> v_: u32;
var<private> do_: u32;
var<private> w_: u32;
var<private> step_: u32; // from row to row of ds, where a tile has one strip
var<private> first_: u32; // query, or key, where a sum begins
var<private> each_: u32; // steps of a head
var<private> last_: u32; // key
var<private> see_all_: bool;
var<workgroup> row_: array<vec2<f32>, ${BM}>; // lse and delta

fn open(unit: u32, h: u32) {
    b_ = unit / u.kv_heads;
    h_ = unit % u.kv_heads * u.share + h;
    q_ = b_ * u.b0 + h_ * u.h0;
    k_ = b_ * u.b1 + unit % u.kv_heads * u.h1;
    v_ = b_ * u.b2 + unit % u.kv_heads * u.h2;
    do_ = b_ * u.b5 + h_ * u.h5;
    w_ = u.w_at + ((unit - first_unit()) * u.share + h) * u.cells;
}

// scores = q k^T. Rows and columns are queries and keys.
fn a_scores(row: u32, d: u32) -> vec4<f32> { return four0(q_ + min(row, u.rows - 1u) * u.t0, d); }
fn b_scores(key: u32, d: u32) -> vec4<f32> { return four1(k_ + min(key, u.keys - 1u) * u.t1, d); }
fn store_scores(row: u32, key: u32, v: vec4<f32>) {
    var score = u.q_factor * v;
    let at = w_ + (row - row0_) * step_ + key;
#if CAP
    score = tanh(score);
    let slope = 1.0 - score * score;
    score *= u.cap;
#end
    if (!see_all_) { score = masked(score, b_, h_, vec4<i32>(i32(row)), vec4<i32>(0, 1, 2, 3) + i32(key), len_); }
    let w = exp2(score - row_[row - row0_].x);
    st4_tmp(at, 4u, w);
#if CAP
    st4_tmp(at + u.ds_far, 4u, w * slope);
#end
}
#let P scores
#let LAYOUT 0
#let OLD 0
#include attention_product
// dw = do v^T.
fn a_dw(row: u32, d: u32) -> vec4<f32> { return four5(do_ + min(row, u.rows - 1u) * u.t5, d); }
fn b_dw(key: u32, d: u32) -> vec4<f32> { return four2(v_ + min(key, u.keys - 1u) * u.t2, d); }
#if CAP
fn old_dw(row: u32, key: u32) -> vec4<f32> { return ld4_tmp(w_ + u.ds_far + (row - row0_) * step_ + key, 4u); }
#else
fn old_dw(row: u32, key: u32) -> vec4<f32> { return ld4_tmp(w_ + (row - row0_) * step_ + key, 4u); }
#end
fn store_dw(row: u32, key: u32, v: vec4<f32>, w: vec4<f32>) {
    st4_tmp(w_ + u.ds_far + (row - row0_) * step_ + key, 4u, w * (v - row_[row - row0_].y));
}
#let P dw
#let LAYOUT 0
#let OLD 1
#include attention_product
// dq = ds k. Rows are those of the strip.
fn a_dq(row: u32, key: u32) -> vec4<f32> { return ld4_tmp(w_ + u.ds_far + row * step_ + first_ + key, 4u); }
fn b_dq(key: u32, d: u32) -> vec4<f32> { return four1(k_ + min(first_ + key, last_) * u.t1, d); }
fn store_dq(row: u32, d: u32, v: vec4<f32>) {
    if (row0_ + row < u.rows) { st4_o0(((b_ * u.rows + row0_ + row) * u.heads + h_) * u.depth + d, u.depth - d, u.scale * v); }
}
#let P dq
#let LAYOUT 1
#let OLD 0
#include attention_product
// dk = ds^T q, dv = w^T do. Rows are keys; what is added up: queries, each_ of a head.
#if SHARED
fn head_of(i: u32) -> u32 { return i / each_; }
fn query_of(i: u32) -> u32 { return first_ + i % each_; }
#else
fn head_of(i: u32) -> u32 { return 0u; }
fn query_of(i: u32) -> u32 { return first_ + i; }
#end
fn a_dk(i: u32, key: u32) -> vec4<f32> { return ld4_tmp(w_ + u.ds_far + head_of(i) * u.cells + row_at(query_of(i)) + key, 4u); }
fn b_dk(i: u32, d: u32) -> vec4<f32> { return four0(q_ + head_of(i) * u.h0 + min(query_of(i), u.rows - 1u) * u.t0, d); }
fn store_dk(key: u32, d: u32, v: vec4<f32>) {
    if (key >= u.keys) { return; }
    let at = ((b_ * u.keys + key) * u.kv_heads + h_ / u.share) * u.depth + d;
    if (first_strip() == 0u) { st4_o1(at, u.depth - d, u.scale * v); } else { st4_o1(at, u.depth - d, ld4_o1(at, u.depth - d) + u.scale * v); }
}
#let P dk
#let LAYOUT 2
#let OLD 0
#include attention_product
fn a_dv(i: u32, key: u32) -> vec4<f32> { return ld4_tmp(w_ + head_of(i) * u.cells + row_at(query_of(i)) + key, 4u); }
fn b_dv(i: u32, d: u32) -> vec4<f32> { return four5(do_ + head_of(i) * u.h5 + min(query_of(i), u.rows - 1u) * u.t5, d); }
fn store_dv(key: u32, d: u32, v: vec4<f32>) {
    if (key >= u.keys) { return; }
    let at = ((b_ * u.keys + key) * u.kv_heads + h_ / u.share) * u.width + d;
    if (first_strip() == 0u) { st4_o2(at, u.width - d, v); } else { st4_o2(at, u.width - d, ld4_o2(at, u.width - d) + v); }
}
#let P dv
#let LAYOUT 2
#let OLD 0
#include attention_product

// A group a tile of BM queries and BN keys.
@compute @workgroup_size(${TT}) fn scores(${ARGS}) {
    ${BEGIN}
    let key0 = group % u.key_tiles * ${BN}u;
    let strip = first_strip() + group / u.key_tiles % u.strips;
    let head = group / u.key_tiles / u.strips;
    let unit = first_unit() + head / u.share;
    row0_ = strip * ${BM}u;
    if (unit >= u.all_units || row0_ >= u.rows) { return; }
    open(unit, head % u.share);
    if (t == 0u) { len_ = keys_of(b_); }
    for (var i = t; i < ${BM}u; i += ${TT}u) {
        let at = (b_ * u.heads + h_) * u.rows + row0_ + i;
        var both = vec2<f32>(-HIDDEN, 0.0); // rows beyond the last
        if (row0_ + i < u.rows) { both = vec2<f32>(ld_tmp(at), ld_tmp(u.all_rows + at)); }
        row_[i] = both;
    }
    let len = workgroupUniformLoad(&len_);
    let last_row = i32(min(row0_ + ${BM}u, u.rows)) - 1;
    let first = first_key(i32(row0_), len);
    let end = end_key(last_row, len);
    // Whole blocks of BM keys of which a key is seen: gradients reads all of them.
    if (i32(key0 / ${BM}u * ${BM}u) >= end || i32((key0 / ${BM}u + 1u) * ${BM}u) <= first) { return; }
    step_ = ${BM}u * blocks_of(strip);
    w_ += strip_at(strip);
#if MASK || SEGMENTS
    see_all_ = false;
#else
    see_all_ = i32(key0) >= first_key(last_row, len) && i32(key0 + ${BN}u) <= end_key(i32(row0_), len);
#end
    product_scores(vec2<u32>(row0_, key0), 0u, u.depth, t);
    product_dw(vec2<u32>(row0_, key0), 0u, u.width, t);
}

// A group a tile of dq, dk or dv. What has most to do comes first: late queries, early keys.
@compute @workgroup_size(${TT}) fn gradients(${ARGS}) {
    ${BEGIN}
    let of_q = u.share * u.columns_k;
    let lanes = of_q + u.columns_k + u.columns_v; // of a unit
    let level = group / (u.units * lanes);
    let unit = first_unit() + group % u.units;
    let lane = group / u.units % lanes;
    if (unit >= u.all_units) { return; }
    open(unit, 0u);
    if (t == 0u) { len_ = keys_of(b_); }
    let len = workgroupUniformLoad(&len_);
    if (lane >= u.columns_k + u.columns_v) {
        let column = (lane - u.columns_k - u.columns_v) % u.columns_k * ${BN}u;
        let strips = (u.rows + ${BM - 1}u) / ${BM}u - first_strip();
        if (level >= min(strips, u.strips)) { return; }
        let strip = first_strip() + min(strips, u.strips) - 1u - level;
        open(unit, (lane - u.columns_k - u.columns_v) / u.columns_k);
        row0_ = strip * ${BM}u;
        step_ = ${BM}u * blocks_of(strip);
        w_ += strip_at(strip);
        let first = u32(first_key(i32(row0_), len));
        let end = max(u32(end_key(i32(min(row0_ + ${BM}u, u.rows)) - 1, len)), first);
        first_ = first / ${BK}u * ${BK}u;
        last_ = max(end, 1u) - 1u;
        product_dq(vec2<u32>(0u, column), u.depth, select(0u, end - first_, end > first), t);
        return;
    }
    let key0 = level * ${BM}u;
    if (key0 >= u.keys) { return; }
    let last_key = i32(min(key0 + ${BM}u, u.keys)) - 1;
    let first = max(u32(first_row(i32(key0), len)), first_strip() * ${BM}u);
    let end = max(min(u32(end_row(i32(key0), last_key, len)), (first_strip() + u.strips) * ${BM}u), first);
    first_ = first / ${BK}u * ${BK}u;
    each_ = select(0u, (end - first_ + ${BK - 1}u) / ${BK}u * ${BK}u, end > first);
    if (lane < u.columns_k) {
        product_dk(vec2<u32>(key0, lane * ${BN}u), u.depth, each_ * u.share, t);
    } else {
        product_dv(vec2<u32>(key0, (lane - u.columns_k) * ${BN}u), u.width, each_ * u.share, t);
    }
}
