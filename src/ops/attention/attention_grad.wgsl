// attention_grad.wgsl - attention's backward pass by tiles: weights are computed again from q, k and the log-sum-exp.
// q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv], o, its gradient [B,T,H,Dv], lse, its gradient or none [B,H,T] -> dq, dk, dv in f32.
//   w = exp(score - lse)   dw = do v^T   ds = w (dw - delta), delta = sum(o do) - dlse   dq = ds k   dk = ds^T q   dv = w^T do
// `prepare` writes lse (in powers of two) and delta to tmp. `grad0` owns queries and walks over keys: dq. `grad1` owns keys and walks
// over the queries of all heads that share them: dk and dv. KEEP: there is room for all ds, so grad1 keeps them in tmp and `grad_q`
// makes dq of them instead of grad0: five products instead of seven. So every sum has one owner and one order.
#include attention
#include attention_tile

var<workgroup> part: array<f32, ${WG}>;

// Eight threads a row.
@compute @workgroup_size(${WG}) fn prepare(${ARGS}) {
    ${BEGIN}
    let i = group * ${WG / 8}u + t / 8u;
    let row = i % u.rows;
    let h = i / u.rows % u.heads;
    let b = i / u.rows / u.heads;
    var sum = 0.0;
    if (i < u.all_rows) {
        let o = b * u.b3 + row * u.t3 + h * u.h3;
        let g = b * u.b5 + row * u.t5 + h * u.h5;
        for (var c = 4u * (t % 8u); c < u.width; c += 32u) { sum += dot(ld4_s3(o + c, u.width - c), ld4_s5(g + c, u.width - c)); }
    }
    part[t] = sum;
    workgroupBarrier();
    if (t % 8u == 0u && i < u.all_rows) {
        for (var k = 1u; k < 8u; k++) { sum += part[t + k]; }
#if HAS_S6
        sum -= ld_s6(i);
#end
        let lse = ld_s4(i);
        st_tmp(i, select(LOG2E * lse, -HIDDEN, bitcast<u32>(lse) == u.minus_inf)); // a row that sees nothing: weights 0
        st_tmp(u.all_rows + i, sum);
    }
}

// As attention.wgsl: a group has BM rows (queries in grad0, keys in grad1) and walks over blocks of BN columns (the other); a thread has
// 4 R rows, 4 NS columns of a block, and 4 NO dims of the gradients.
var<workgroup> xs: array<vec4<f32>, ${KD * (BM / 4 + 1)}>; // rows' side of a product, [KD][BM]
var<workgroup> ys: array<vec4<f32>, ${KD * (BN / 4 + 1) * (BN >= OC) + KD * OC / 4 * (BN < OC)}>; // the other side: [KD][BN], [KD][OC]
var<workgroup> ps: array<vec4<f32>, ${BN * (BM / 4 + 1)}>; // weights or their gradients, [BN][BM]
var<workgroup> len_: i32;

#for SIDE KEEP 2
@compute @workgroup_size(${WG}) fn grad${SIDE}(${ARGS}) {
    ${BEGIN}
    let d0 = group / u.tiles${SIDE} % u.columns${SIDE} * ${OC}u;
    let tx = t / 32u % ${TX / 8}u * 8u + t % 8u; // 32 threads lie 4 x 8: they read the fewest banks
    let ty = t / ${4 * TX}u * 4u + t / 8u % 4u;
#if SIDE == 0
    let row0 = (u.tiles0 - 1u - group % u.tiles0) * ${BM}u; // what has most to do comes first
    let h = group / u.tiles0 / u.columns0 % u.heads;
    let b = group / u.tiles0 / u.columns0 / u.heads;
    let kv_head = h / u.share;
    let n_rows = u.rows;
    let n_columns = u.keys;
#else
    let row0 = group % u.tiles1 * ${BM}u;
    let kv_head = group / u.tiles1 / u.columns1 % u.kv_heads;
    let b = group / u.tiles1 / u.columns1 / u.kv_heads;
    let n_rows = u.keys;
    let n_columns = u.rows;
#end
    if (t == 0u) { len_ = keys_of(b); }
    let len = workgroupUniformLoad(&len_);
    let last_row = i32(min(row0 + ${BM}u, n_rows)) - 1;
#if SIDE == 0
    let begin = u32(first_key(i32(row0), len));
    let end = u32(end_key(last_row, len));
    let whole_from = first_key(last_row, len); // columns of which all is seen
    let whole_to = end_key(i32(row0), len);
#else
    let begin = u32(first_row(i32(row0), len));
    let end = u32(end_row(i32(row0), last_row, len));
    let whole_from = first_row(last_row, len);
    let whole_to = select(end_row(i32(row0), i32(row0), len), -1, last_row >= len);
#end
#for W 1 - SIDE 2
#for H 0 R
#for C 0 4 * NO
    var o${W}_${C}_${H} = vec4<f32>();
#end
#end
#end
#if SIDE == 1
    for (var h = kv_head * u.share; h < (kv_head + 1u) * u.share; h++) {
#end
    let stat = (b * u.heads + h) * u.rows;
#if SIDE == 0
    let x_at0 = b * u.b0 + h * u.h0;
    let x_at1 = b * u.b5 + h * u.h5;
    let y_at0 = b * u.b1 + kv_head * u.h1;
    let y_at1 = b * u.b2 + kv_head * u.h2;
#for H 0 R
    let lse${H} = statistics(stat, row0 + 4u * (ty + ${H * TY}u), -HIDDEN);
    let delta${H} = statistics(u.all_rows + stat, row0 + 4u * (ty + ${H * TY}u), 0.0);
#end
#else
    let x_at0 = b * u.b1 + kv_head * u.h1;
    let x_at1 = b * u.b2 + kv_head * u.h2;
    let y_at0 = b * u.b0 + h * u.h0;
    let y_at1 = b * u.b5 + h * u.h5;
#end
    for (var s0 = begin; s0 < end; s0 += ${BN}u) {
#if CAP
#for H 0 R
#for C 0 4 * NS
        var slope_${C}_${H} = vec4<f32>();
#end
#end
#end
#for W 0 2
        // W = 0: q k^T, then weights. W = 1: do v^T, then the scores' gradients.
#for H 0 R
#for C 0 4 * NS
        var a${W}_${C}_${H} = vec4<f32>();
#end
#end
        {
#for I 0 (BM * KD / 4 + WG - 1) / WG
            let x_row${I} = x_at${W} + min(row0 + (t + ${I * WG}u) / ${KD / 4}u, n_rows - 1u) * x_step${SIDE}_${W}();
            var x_next${I} = x${SIDE}_${W}(x_row${I}, 4u * (t % ${KD / 4}u));
#end
#for I 0 (BN * KD / 4 + WG - 1) / WG
            let y_row${I} = y_at${W} + min(s0 + (t + ${I * WG}u) / ${KD / 4}u, n_columns - 1u) * y_step${SIDE}_${W}();
            var y_next${I} = y${SIDE}_${W}(y_row${I}, 4u * (t % ${KD / 4}u));
#end
#if W == 0
            let depth = u.depth;
#else
            let depth = u.width;
#end
            for (var d = 0u; d < depth; d += ${KD}u) {
                workgroupBarrier();
#for I 0 (BM * KD / 4 + WG - 1) / WG
                if (t < ${BM * KD / 4 - I * WG}u) {
                    let row = (t + ${I * WG}u) / ${KD / 4}u;
                    let at = 4u * (t % ${KD / 4}u) * ${BM / 4 + 1}u + row / 4u;
#for K 0 4
                    xs[at + ${K * (BM / 4 + 1)}u][row % 4u] = x_next${I}[${K}];
#end
                }
#end
#for I 0 (BN * KD / 4 + WG - 1) / WG
                if (t < ${BN * KD / 4 - I * WG}u) {
                    let row = (t + ${I * WG}u) / ${KD / 4}u;
                    let at = 4u * (t % ${KD / 4}u) * ${BN / 4 + 1}u + row / 4u;
#for K 0 4
                    ys[at + ${K * (BN / 4 + 1)}u][row % 4u] = y_next${I}[${K}];
#end
                }
#end
                workgroupBarrier();
                if (d + ${KD}u < depth) {
#for I 0 (BM * KD / 4 + WG - 1) / WG
                    x_next${I} = x${SIDE}_${W}(x_row${I}, d + ${KD}u + 4u * (t % ${KD / 4}u));
#end
#for I 0 (BN * KD / 4 + WG - 1) / WG
                    y_next${I} = y${SIDE}_${W}(y_row${I}, d + ${KD}u + 4u * (t % ${KD / 4}u));
#end
                }
#for K 0 KD
                {
#for H 0 R
                    let x${H} = xs[${K * (BM / 4 + 1) + H * TY}u + ty];
#end
#for J 0 NS
                    let y${J} = ys[${K * (BN / 4 + 1) + J * TX}u + tx];
#for C 0 4
#for H 0 R
                    a${W}_${4 * J + C}_${H} += x${H} * y${J}[${C}];
#end
#end
#end
                }
#end
            }
        }
#if W == 0
#if MASK || SEGMENTS
        let all_seen = false;
#else
        let all_seen = i32(s0) >= whole_from && i32(s0 + ${BN}u) <= whole_to;
#end
#for H 0 R
#for C 0 4 * NS
        {
#if SIDE == 0
            let lse = lse${H};
#else
            let lse = statistic(stat, s0 + ${C / 4 * 4 * TX + C % 4}u + 4u * tx, -HIDDEN);
#end
            var score = u.q_factor * a0_${C}_${H};
#if CAP
            score = tanh(score);
            slope_${C}_${H} = 1.0 - score * score;
            score *= u.cap;
#end
            if (!all_seen) {
                let row = vec4<i32>(0, 1, 2, 3) + i32(row0 + 4u * (ty + ${H * TY}u));
                let column = vec4<i32>(i32(s0 + ${C / 4 * 4 * TX + C % 4}u + 4u * tx));
#if SIDE == 0
                score = masked(score, b, h, row, column, len);
#else
                score = masked(score, b, h, column, row, len);
#end
            }
            a0_${C}_${H} = exp2(score - lse);
        }
#end
#end
#else
#for H 0 R
#for C 0 4 * NS
        {
#if SIDE == 0
            let delta = delta${H};
#else
            let delta = statistic(u.all_rows + stat, s0 + ${C / 4 * 4 * TX + C % 4}u + 4u * tx, 0.0);
#end
            a1_${C}_${H} = a0_${C}_${H} * (a1_${C}_${H} - delta);
#if CAP
            a1_${C}_${H} *= slope_${C}_${H};
#end
#if KEEP
            let query = s0 + ${C / 4 * 4 * TX + C % 4}u + 4u * tx;
            let key = row0 + 4u * (ty + ${H * TY}u);
            if (d0 == 0u && query < u.rows && key < u.keys) { st4_tmp(u.kept_at + (stat + query) * u.kept_row + key, 4u, a1_${C}_${H}); }
#end
        }
#end
#end
#end
#if SIDE + W > 0
        // Column 4 (tx + J TX) + c lies at place J 4 TX + c TX + tx: no two threads store into one bank.
        workgroupBarrier();
#for H 0 R
#for C 0 4 * NS
        ps[(${C * TX}u + tx) * ${BM / 4 + 1}u + ty + ${H * TY}u] = a${W}_${C}_${H};
#end
#end
        {
#for I 0 (OC * KD / 4 + WG - 1) / WG
            let place${I} = (t + ${I * WG}u) / ${OC / 4}u;
            let z_d${I} = d0 + 4u * ((t + ${I * WG}u) % ${OC / 4}u);
            var z_next${I} = z${SIDE}_${W}(y_at${1 - W}, place_at(s0, place${I}), z_d${I}, end);
#end
            for (var p = 0u; p < ${BN}u; p += ${KD}u) {
                workgroupBarrier();
#for I 0 (OC * KD / 4 + WG - 1) / WG
                if (t < ${OC * KD / 4 - I * WG}u) { ys[t + ${I * WG}u] = z_next${I}; }
#end
                workgroupBarrier();
                if (p + ${KD}u < ${BN}u) {
#for I 0 (OC * KD / 4 + WG - 1) / WG
                    z_next${I} = z${SIDE}_${W}(y_at${1 - W}, place_at(s0, p + ${KD}u + place${I}), z_d${I}, end);
#end
                }
#for K 0 KD
                {
#for H 0 R
                    let x${H} = ps[(p + ${K}u) * ${BM / 4 + 1}u + ty + ${H * TY}u];
#end
#for J 0 NO
                    let y${J} = ys[${K * OC / 4 + J * TX}u + tx];
#for C 0 4
#for H 0 R
                    o${W}_${4 * J + C}_${H} += x${H} * y${J}[${C}];
#end
#end
#end
                }
#end
            }
        }
#end
#end
    }
#if SIDE == 1
    }
#end
#for W 1 - SIDE 2
#for H 0 R
#for I 0 4
    {
        let row = row0 + 4u * (ty + ${H * TY}u) + ${I}u;
#for J 0 NO
        {
            let d = d0 + 4u * (tx + ${J * TX}u);
            let x = vec4<f32>(o${W}_${4 * J}_${H}[${I}], o${W}_${4 * J + 1}_${H}[${I}], o${W}_${4 * J + 2}_${H}[${I}], o${W}_${4 * J + 3}_${H}[${I}]);
#if SIDE == 0
            if (row < u.rows && d < u.depth) { st4_o0(((b * u.rows + row) * u.heads + h) * u.depth + d, u.depth - d, u.scale * x); }
#else
#if W == 1
            if (row < u.keys && d < u.depth) { st4_o1(((b * u.keys + row) * u.kv_heads + kv_head) * u.depth + d, u.depth - d, u.scale * x); }
#else
            if (row < u.keys && d < u.width) { st4_o2(((b * u.keys + row) * u.kv_heads + kv_head) * u.width + d, u.width - d, x); }
#end
#end
        }
#end
    }
#end
#end
#end
}

// The sides of product W: x of rows, y of columns, four elements of a row; z: as y of the other product, 0 behind the last column.
#for W 0 2
#for X SIDE * (1 + W) + (1 - SIDE) * 5 * W SIDE * (1 + W) + (1 - SIDE) * 5 * W + 1
fn x_step${SIDE}_${W}() -> u32 { return u.t${X}; }
fn x${SIDE}_${W}(row: u32, d: u32) -> vec4<f32> { return four${X}(row, d); }
#end
#for Y (1 - SIDE) * (1 + W) + SIDE * 5 * W (1 - SIDE) * (1 + W) + SIDE * 5 * W + 1
fn y_step${SIDE}_${W}() -> u32 { return u.t${Y}; }
fn y${SIDE}_${W}(row: u32, d: u32) -> vec4<f32> { return four${Y}(row, d); }
fn z${SIDE}_${1 - W}(at: u32, column: u32, d: u32, end: u32) -> vec4<f32> {
    if (column >= end) { return vec4<f32>(); }
    return four${Y}(at + column * u.t${Y}, d);
}
#end
#end
#end

#if KEEP
// Four ds of a query; 0 where grad1 had no tile.
fn kept(at: u32, query: u32, key: u32, len: i32) -> vec4<f32> {
    let first = key / ${BM}u * ${BM}u;
    let last = i32(min(first + ${BM}u, u.keys)) - 1;
    if (i32(query) < first_row(i32(first), len) || i32(query) >= end_row(i32(first), last, len)) { return vec4<f32>(); }
    return ld4_tmp(at + query * u.kept_row + key, 4u);
}

fn key_row(at: u32, key: u32, d: u32, end: u32) -> vec4<f32> {
    if (key >= end) { return vec4<f32>(); }
    return four1(at + key * u.t1, d);
}

@compute @workgroup_size(${WG}) fn grad_q(${ARGS}) {
    ${BEGIN}
    let d0 = group / u.tiles0 % u.columns0 * ${OC}u;
    let tx = t / 32u % ${TX / 8}u * 8u + t % 8u;
    let ty = t / ${4 * TX}u * 4u + t / 8u % 4u;
    let row0 = (u.tiles0 - 1u - group % u.tiles0) * ${BM}u;
    let h = group / u.tiles0 / u.columns0 % u.heads;
    let b = group / u.tiles0 / u.columns0 / u.heads;
    if (t == 0u) { len_ = keys_of(b); }
    let len = workgroupUniformLoad(&len_);
    let begin = u32(first_key(i32(row0), len)) / 4u * 4u;
    let end = u32(end_key(i32(min(row0 + ${BM}u, u.rows)) - 1, len));
    let x_at = u.kept_at + (b * u.heads + h) * u.rows * u.kept_row;
    let y_at = b * u.b1 + h / u.share * u.h1;
#for H 0 R
#for C 0 4 * NO
    var o${C}_${H} = vec4<f32>();
#end
#end
#for I 0 (BM * KD / 4 + WG - 1) / WG
    let x_row${I} = min(row0 + (t + ${I * WG}u) / ${KD / 4}u, u.rows - 1u);
    var x_next${I} = kept(x_at, x_row${I}, begin + 4u * (t % ${KD / 4}u), len);
#end
#for I 0 (OC * KD / 4 + WG - 1) / WG
    let place${I} = (t + ${I * WG}u) / ${OC / 4}u;
    let y_d${I} = d0 + 4u * ((t + ${I * WG}u) % ${OC / 4}u);
    var y_next${I} = key_row(y_at, begin + place${I}, y_d${I}, end);
#end
    for (var s0 = begin; s0 < end; s0 += ${KD}u) {
        workgroupBarrier();
#for I 0 (BM * KD / 4 + WG - 1) / WG
        if (t < ${BM * KD / 4 - I * WG}u) {
            let row = (t + ${I * WG}u) / ${KD / 4}u;
            let at = 4u * (t % ${KD / 4}u) * ${BM / 4 + 1}u + row / 4u;
#for K 0 4
            xs[at + ${K * (BM / 4 + 1)}u][row % 4u] = x_next${I}[${K}];
#end
        }
#end
#for I 0 (OC * KD / 4 + WG - 1) / WG
        if (t < ${OC * KD / 4 - I * WG}u) { ys[t + ${I * WG}u] = y_next${I}; }
#end
        workgroupBarrier();
        if (s0 + ${KD}u < end) {
#for I 0 (BM * KD / 4 + WG - 1) / WG
            x_next${I} = kept(x_at, x_row${I}, min(s0 + ${KD}u + 4u * (t % ${KD / 4}u), u.kept_row - 4u), len);
#end
#for I 0 (OC * KD / 4 + WG - 1) / WG
            y_next${I} = key_row(y_at, s0 + ${KD}u + place${I}, y_d${I}, end);
#end
        }
#for K 0 KD
        {
#for H 0 R
            let x${H} = xs[${K * (BM / 4 + 1) + H * TY}u + ty];
#end
#for J 0 NO
            let y${J} = ys[${K * OC / 4 + J * TX}u + tx];
#for C 0 4
#for H 0 R
            o${4 * J + C}_${H} += x${H} * y${J}[${C}];
#end
#end
#end
        }
#end
    }
#for H 0 R
#for I 0 4
    {
        let row = row0 + 4u * (ty + ${H * TY}u) + ${I}u;
#for J 0 NO
        {
            let d = d0 + 4u * (tx + ${J * TX}u);
            let x = vec4<f32>(o${4 * J}_${H}[${I}], o${4 * J + 1}_${H}[${I}], o${4 * J + 2}_${H}[${I}], o${4 * J + 3}_${H}[${I}]);
            if (row < u.rows && d < u.depth) { st4_o0(((b * u.rows + row) * u.heads + h) * u.depth + d, u.depth - d, u.scale * x); }
        }
#end
    }
#end
#end
}
#end

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
// lse or delta of a row, of four rows.
fn statistic(at: u32, row: u32, beyond: f32) -> f32 {
    if (row >= u.rows) { return beyond; }
    return ld_tmp(at + row);
}
fn statistics(at: u32, row: u32, beyond: f32) -> vec4<f32> {
    return vec4<f32>(statistic(at, row, beyond), statistic(at, row + 1u, beyond), statistic(at, row + 2u, beyond), statistic(at, row + 3u, beyond));
}
