// attention.wgsl - attention by tiles: scores never exist whole (online softmax).
// q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv] -> o [B,T,H,Dv], log-sum-exp [B,H,T].
#include attention

#if ONE
#include attention_one
#end
#if SPLIT
// Few queries, many keys. A group takes ROWS rows (a row: a query of one of the heads that share their keys) and one of `splits` parts of
// the keys: its result lies in tmp, [row][split][Dv], with greatest score and sum of weights behind all of them; `join` adds them up.
// WG keys at a time: their scores, 64 keys at once and four threads a key; weights; then weights times v, each thread four columns.
var<workgroup> queries: array<vec4<f32>, ${64 * ROWS}>; // [ROWS][D / 4]
var<workgroup> part: array<vec4<f32>, ${64 * ROWS * (64 * ROWS > RP * WG) + RP * WG * (64 * ROWS <= RP * WG)}>; // or of RP rows, what the threads have
var<workgroup> weights: array<f32, ${ROWS * WG}>; // [ROWS][WG]; before, scores
var<workgroup> each: array<f32, ${WG}>;
var<workgroup> len_: i32;

@compute @workgroup_size(${WG}) fn split(${ARGS}) {
    ${BEGIN}
    let row0 = group / u.splits % u.chunks * ${ROWS}u;
    let kv_head = group / u.splits / u.chunks % u.kv_heads;
    let b = group / u.splits / u.chunks / u.kv_heads;
    let n_rows = u.rows * u.share;
    let keys_here = keys_of(b); // on its way while the queries come
    let fours = (u.depth + 3u) / 4u;
    for (var i = t; i < ${ROWS}u * fours; i += ${WG}u) {
        let row = row0 + i / fours;
        let d = 4u * (i % fours);
        var q = vec4<f32>();
        if (row < n_rows) { q = u.q_factor * ld4_s0(b * u.b0 + row / u.share * u.t0 + (kv_head * u.share + row % u.share) * u.h0 + d, u.depth - d); }
        queries[i] = q;
    }
    if (t == 0u) { len_ = keys_here; }
    let len = workgroupUniformLoad(&len_);
    let first = first_key(i32(row0 / u.share), len);
    let used = max(end_key(i32((min(row0 + ${ROWS}u, n_rows) - 1u) / u.share), len) - first, 0);
    let own = (u32(used) + 64u * u.splits - 1u) / (64u * u.splits) * 64u;
    let begin = min(group % u.splits * own, u32(used)) + u32(first);
    let end = min(begin + own, u32(used + first));
    let k_at = b * u.b1 + kv_head * u.h1;
    let v_at = b * u.b2 + kv_head * u.h2;
    let columns = (u.width + 3u) / 4u;
    let streams = ${WG}u / columns;
    let stream = t / columns;
    let column = 4u * (t % columns);
    let my_row = t / ${WG / ROWS}u;
    let my_place = t % ${WG / ROWS}u;
    var my_top = HIDDEN;
    var my_sum = 0.0;
#for R 0 ROWS
    var top${R} = HIDDEN;
    var acc${R} = vec4<f32>();
#end
    for (var s0 = begin; s0 < end; s0 += ${WG}u) {
        let n = min(end - s0, ${WG}u);
        // The first values of this thread, on their way while the scores are made.
        let v_row = v_at + s0 * u.t2 + min(column, u.width - 1u) / 4u * 4u;
#for I 0 4
        let early${I} = ld4_s2(v_row + min(stream + ${I}u * streams, n - 1u) * u.t2, u.width - column);
#end
        for (var p = 0u; p < n; p += 64u) {
            let row = k_at + min(s0 + p + t / 4u, u.keys - 1u) * u.t1;
#for R 0 ROWS
            var x${R} = 0.0;
#end
#if UNROLLED
            for (var c = t % 4u; c < fours; c += 16u) {
#for I 0 4
                let k${I} = ld4_s1(row + 4u * c + ${16 * I}u, 4u);
#end
#for R 0 ROWS
                x${R} += (dot(queries[${R}u * fours + c], k0) + dot(queries[${R}u * fours + c + 4u], k1)) +
                         (dot(queries[${R}u * fours + c + 8u], k2) + dot(queries[${R}u * fours + c + 12u], k3));
#end
            }
#else
            for (var c = t % 4u; c < fours; c += 4u) {
                let k = ld4_s1(row + 4u * c, u.depth - 4u * c);
#for R 0 ROWS
                x${R} += dot(queries[${R}u * fours + c], k);
#end
            }
#end
            workgroupBarrier();
#for R 0 ROWS
            part[${64 * R}u + t / 4u][t % 4u] = x${R};
#end
            workgroupBarrier();
            for (var i = t; i < ${64 * ROWS}u; i += ${WG}u) {
                let key = p + i % 64u;
                var x = (part[i].x + part[i].y) + (part[i].z + part[i].w);
#if CAP
                x = u.cap * tanh(x);
#end
                let r = row0 + i / 64u;
                x = masked(vec4<f32>(x), b, kv_head * u.share + r % u.share, vec4<i32>(i32(r / u.share)), vec4<i32>(i32(s0 + key)), len).x;
                weights[i / 64u * ${WG}u + key] = select(x, HIDDEN, key >= n);
            }
        }
        workgroupBarrier();
        // Greatest score of each row.
        var most = HIDDEN;
        for (var k = my_place; k < n; k += ${WG / ROWS}u) { most = max(most, weights[my_row * ${WG}u + k]); }
        each[t] = most;
        workgroupBarrier();
        for (var s = ${WG / ROWS / 2}u; s > 0u; s >>= 1u) {
            if (my_place < s) { each[t] = max(each[t], each[t + s]); }
            workgroupBarrier();
        }
#for R 0 ROWS
        {
            let now = max(top${R}, each[${R * (WG / ROWS)}]);
            acc${R} *= exp2(top${R} - now);
            top${R} = now;
        }
#end
        let now = max(my_top, each[my_row * ${WG / ROWS}u]);
        my_sum *= exp2(my_top - now);
        my_top = now;
        for (var k = my_place; k < n; k += ${WG / ROWS}u) {
            let x = weights[my_row * ${WG}u + k];
            let w = select(exp2(x - now), 0.0, x <= HIDDEN);
            my_sum += w;
            weights[my_row * ${WG}u + k] = w;
        }
        workgroupBarrier();
        if (stream < streams) {
            let row = v_row;
            var k = stream;
            if (k + 3u * streams < n) {
#for R 0 ROWS
                acc${R} += (weights[${R * WG}u + k] * early0 + weights[${R * WG}u + k + streams] * early1) +
                           (weights[${R * WG}u + k + 2u * streams] * early2 + weights[${R * WG}u + k + 3u * streams] * early3);
#end
                k += 4u * streams;
            }
            for (; k + 3u * streams < n; k += 4u * streams) {
#for I 0 4
                let v${I} = ld4_s2(row + (k + ${I}u * streams) * u.t2, u.width - column);
#end
#for R 0 ROWS
                acc${R} += (weights[${R * WG}u + k] * v0 + weights[${R * WG}u + k + streams] * v1) +
                           (weights[${R * WG}u + k + 2u * streams] * v2 + weights[${R * WG}u + k + 3u * streams] * v3);
#end
            }
            for (; k < n; k += streams) {
                let v = ld4_s2(row + k * u.t2, u.width - column);
#for R 0 ROWS
                acc${R} += weights[${R * WG}u + k] * v;
#end
            }
        }
    }
    workgroupBarrier();
    each[t] = my_sum;
    workgroupBarrier();
    for (var s = ${WG / ROWS / 2}u; s > 0u; s >>= 1u) {
        if (my_place < s) { each[t] += each[t + s]; }
        workgroupBarrier();
    }
    if (my_place == 0u && row0 + my_row < n_rows) {
        st_tmp(u.statistics_at + 2u * place_of(b, kv_head, row0 + my_row, group), my_top);
        st_tmp(u.statistics_at + 2u * place_of(b, kv_head, row0 + my_row, group) + 1u, each[t]);
    }
#for P 0 ROWS / RP
    workgroupBarrier();
#for R 0 RP
    part[${R * WG}u + t] = acc${P * RP + R};
#end
    workgroupBarrier();
    {
        let r = row0 + ${P * RP}u + t / ${WG / RP}u;
        let at = t / ${WG / RP}u * ${WG}u;
        if (r < n_rows) {
            for (var c = t % ${WG / RP}u; c < columns; c += ${WG / RP}u) {
                var sum = part[at + c];
                for (var i = 1u; i < streams; i++) { sum += part[at + c + i * columns]; }
                st4_tmp(place_of(b, kv_head, r, group) * u.width + 4u * c, u.width - 4u * c, sum);
            }
        }
    }
#end
}
// Where a row's result of this group's part of the keys lies.
fn place_of(b: u32, kv_head: u32, row: u32, group: u32) -> u32 {
    return (((b * u.heads + kv_head * u.share + row % u.share) * u.rows + row / u.share) * u.splits) + group % u.splits;
}

// A group a row; group counts rows as the log-sum-exp lies. No more splits than threads: each reads the statistics of one.
@compute @workgroup_size(${WG}) fn join(${ARGS}) {
    ${BEGIN}
    let columns = (u.width + 3u) / 4u;
    let streams = ${WG}u / columns;
    let stream = t / columns;
    let column = 4u * (t % columns);
    let place = group * u.splits;
    var my_top = HIDDEN;
    var my_sum = 0.0;
    if (t < u.splits) {
        my_top = ld_tmp(u.statistics_at + 2u * (place + t));
        my_sum = ld_tmp(u.statistics_at + 2u * (place + t) + 1u);
    }
    each[t] = my_top;
    workgroupBarrier();
    var top = HIDDEN;
    for (var i = 0u; i < u.splits; i++) { top = max(top, each[i]); }
    let weight = exp2(my_top - top);
    workgroupBarrier();
    each[t] = weight * my_sum;
    weights[t] = weight;
    workgroupBarrier();
    var all = 0.0;
    for (var i = 0u; i < u.splits; i++) { all += each[i]; }
    var sum = vec4<f32>();
    if (stream < streams) {
        for (var i = stream; i < u.splits; i += streams) { sum += weights[i] * ld4_tmp((place + i) * u.width + column, u.width - column); }
    }
    part[t] = sum;
    workgroupBarrier();
    if (stream == 0u) {
        for (var i = 1u; i < streams; i++) { sum += part[t + i * columns]; }
        let h = group / u.rows % u.heads;
        let row = group / u.rows / u.heads * u.rows + group % u.rows;
        st4_o0((row * u.heads + h) * u.width + column, u.width - column, select(sum / all, vec4<f32>(), all <= 0.0));
    }
    if (t == 0u) { st_o1(group, select(LN2 * top + log(all), bitcast<f32>(u.minus_inf), all <= 0.0)); }
}
#end
#if !ONE && !SPLIT
#include attention_tile
// The key, or query, whose weights lie at place p of a tile that begins at s0.
fn place_at(s0: u32, p: u32) -> u32 { return s0 + p / ${4 * TX}u * ${4 * TX}u + 4u * (p % ${TX}u) + p / ${TX}u % 4u; }
// Which of `lanes` (heads and their columns) a group works for, and which of its `tiles` it makes: the first tiles of many lanes come
// first, then their second ones. So what has most to do begins first, on all multiprocessors, and what has least fills the end.
fn turn_of(group: u32, tiles: u32, lanes: u32) -> vec2<u32> {
    let gang = max(768u / tiles, 1u);
    let first = group / (gang * tiles) * gang;
    let wide = min(gang, lanes - first);
    let at = group % (gang * tiles);
    return vec2<u32>(first + at % wide, at / wide);
}
// Behind the keys that the tile sees it is the last of them, which weighs nothing there.
fn value(v0: u32, key: u32, column: u32, end: u32) -> vec4<f32> { return four2(v0 + min(key, end - 1u) * u.t2, column); }

// A group takes BM queries of one head and OC columns of v. Its threads lie TY x TX; a thread has 4 R rows (R fours, 4 TY rows apart) of
// the tile's scores and of its output, 4 NS keys of each block of BN, 4 NO columns. Both products are sums of outer products of what
// lies in shared memory, KD deep at a time; the next KD are read from memory meanwhile.
var<workgroup> qs: array<vec4<f32>, ${KD * (BM / 4 + 1)}>; // [KD][BM] of q, by rows of four
var<workgroup> ks: array<vec4<f32>, ${KD * (BN / 4 + 1) * (BN >= OC) + KD * OC / 4 * (BN < OC)}>; // [KD][BN] of k, or [KD][OC] of v
var<workgroup> ps: array<vec4<f32>, ${BN * (BM / 4 + 1)}>; // weights, [BN][BM]; between, what rows exchange
var<workgroup> len_: i32;

@compute @workgroup_size(${WG}) fn flash(${ARGS}) {
    ${BEGIN}
    let turn = turn_of(group, u.tiles, u.batches * u.heads * u.columns);
    let column = turn.x % u.columns * ${OC}u;
    let h = turn.x / u.columns % u.heads;
    let b = turn.x / u.columns / u.heads;
    let row0 = (u.tiles - 1u - turn.y) * ${BM}u; // later rows have more to do: they come first
    let tx = t / 32u % ${TX / 8}u * 8u + t % 8u; // 32 threads lie 4 x 8: they read the fewest banks
    let ty = t / ${4 * TX}u * 4u + t / 8u % 4u;
    if (t == 0u) { len_ = keys_of(b); }
    let len = workgroupUniformLoad(&len_);
    let last_row = i32(min(row0 + ${BM}u, u.rows)) - 1;
    let end = u32(end_key(last_row, len));
    let whole_from = first_key(last_row, len); // keys that all rows of the tile see
    let whole_to = end_key(i32(row0), len);
    let q0 = b * u.b0 + h * u.h0;
    let k0 = b * u.b1 + h / u.share * u.h1;
    let v0 = b * u.b2 + h / u.share * u.h2;
#for H 0 R
    var top${H} = vec4<f32>(HIDDEN);
    var sum${H} = vec4<f32>();
#for C 0 4 * NO
    var o${C}_${H} = vec4<f32>();
#end
#end
    for (var s0 = u32(first_key(i32(row0), len)); s0 < end; s0 += ${BN}u) {
        // Scores: a = q k^T.
#for H 0 R
#for C 0 4 * NS
        var a${C}_${H} = vec4<f32>();
#end
#end
#for I 0 (BM * KD / 4 + WG - 1) / WG
        let q_row${I} = q0 + min(row0 + (t + ${I * WG}u) / ${KD / 4}u, u.rows - 1u) * u.t0;
        var q_next${I} = four0(q_row${I}, 4u * (t % ${KD / 4}u));
#end
#for I 0 (BN * KD / 4 + WG - 1) / WG
        let k_row${I} = k0 + min(s0 + (t + ${I * WG}u) / ${KD / 4}u, u.keys - 1u) * u.t1;
        var k_next${I} = four1(k_row${I}, 4u * (t % ${KD / 4}u));
#end
        for (var d = 0u; d < u.depth; d += ${KD}u) {
            workgroupBarrier();
#for I 0 (BM * KD / 4 + WG - 1) / WG
            if (t < ${BM * KD / 4 - I * WG}u) {
                let x = u.q_factor * q_next${I};
                let row = (t + ${I * WG}u) / ${KD / 4}u;
                let at = 4u * (t % ${KD / 4}u) * ${BM / 4 + 1}u + row / 4u;
                qs[at][row % 4u] = x.x;
                qs[at + ${BM / 4 + 1}u][row % 4u] = x.y;
                qs[at + ${2 * (BM / 4 + 1)}u][row % 4u] = x.z;
                qs[at + ${3 * (BM / 4 + 1)}u][row % 4u] = x.w;
            }
#end
#for I 0 (BN * KD / 4 + WG - 1) / WG
            if (t < ${BN * KD / 4 - I * WG}u) {
                let x = k_next${I};
                let row = (t + ${I * WG}u) / ${KD / 4}u;
                let at = 4u * (t % ${KD / 4}u) * ${BN / 4 + 1}u + row / 4u;
                ks[at][row % 4u] = x.x;
                ks[at + ${BN / 4 + 1}u][row % 4u] = x.y;
                ks[at + ${2 * (BN / 4 + 1)}u][row % 4u] = x.z;
                ks[at + ${3 * (BN / 4 + 1)}u][row % 4u] = x.w;
            }
#end
            workgroupBarrier();
            if (d + ${KD}u < u.depth) {
#for I 0 (BM * KD / 4 + WG - 1) / WG
                q_next${I} = four0(q_row${I}, d + ${KD}u + 4u * (t % ${KD / 4}u));
#end
#for I 0 (BN * KD / 4 + WG - 1) / WG
                k_next${I} = four1(k_row${I}, d + ${KD}u + 4u * (t % ${KD / 4}u));
#end
            }
#for K 0 KD
            {
#for H 0 R
                let x${H} = qs[${K * (BM / 4 + 1) + H * TY}u + ty];
#end
#for J 0 NS
                let y${J} = ks[${K * (BN / 4 + 1) + J * TX}u + tx];
#for H 0 R
                a${4 * J}_${H} += x${H} * y${J}.x;
                a${4 * J + 1}_${H} += x${H} * y${J}.y;
                a${4 * J + 2}_${H} += x${H} * y${J}.z;
                a${4 * J + 3}_${H} += x${H} * y${J}.w;
#end
#end
            }
#end
        }
#if CAP
#for H 0 R
#for C 0 4 * NS
        a${C}_${H} = u.cap * tanh(a${C}_${H});
#end
#end
#end
#if MASK || SEGMENTS
        {
#else
        if (i32(s0) < whole_from || i32(s0 + ${BN}u) > whole_to) {
#end
#for H 0 R
            {
                let row = vec4<i32>(0, 1, 2, 3) + i32(row0 + 4u * (ty + ${H * TY}u));
#for J 0 NS
#for C 4 * J 4 * J + 4
                a${C}_${H} = masked(a${C}_${H}, b, h, row, vec4<i32>(i32(s0 + 4u * (tx + ${J * TX}u) + ${C % 4}u)), len);
#end
#end
            }
#end
        }
        // Greatest score of each row, over the threads that share it.
        workgroupBarrier();
#for H 0 R
        {
            var most = a0_${H};
#for C 1 4 * NS
            most = max(most, a${C}_${H});
#end
            ps[(ty + ${H * TY}u) * ${TX + 1}u + tx] = most;
        }
#end
        workgroupBarrier();
#for H 0 R
        let was${H} = top${H};
#for X 0 TX
        top${H} = max(top${H}, ps[(ty + ${H * TY}u) * ${TX + 1}u + ${X}u]);
#end
#end
        workgroupBarrier();
        // Weights. The key 4 (tx + J TX) + c lies at J 4 TX + c TX + tx: no two threads store into one bank.
#for H 0 R
        {
            let shrink = exp2(was${H} - top${H});
            let base = max(top${H}, vec4<f32>(0.5 * HIDDEN)); // so that what is hidden weighs 0 where nothing is seen, too
            sum${H} *= shrink;
#for C 0 4 * NO
            o${C}_${H} *= shrink;
#end
#for C 0 4 * NS
            let w${C} = exp2(a${C}_${H} - base);
            sum${H} += w${C};
            ps[(${C * TX}u + tx) * ${BM / 4 + 1}u + ty + ${H * TY}u] = w${C};
#end
        }
#end
        // o += weights v.
#for I 0 (OC * KD / 4 + WG - 1) / WG
        let v_place${I} = (t + ${I * WG}u) / ${OC / 4}u;
        let v_column${I} = column + 4u * ((t + ${I * WG}u) % ${OC / 4}u);
        var v_next${I} = value(v0, place_at(s0, v_place${I}), v_column${I}, end);
#end
        for (var p = 0u; p < ${BN}u; p += ${KD}u) {
            workgroupBarrier();
#for I 0 (OC * KD / 4 + WG - 1) / WG
            if (t < ${OC * KD / 4 - I * WG}u) { ks[t + ${I * WG}u] = v_next${I}; }
#end
            workgroupBarrier();
            if (p + ${KD}u < ${BN}u) {
#for I 0 (OC * KD / 4 + WG - 1) / WG
                v_next${I} = value(v0, place_at(s0, p + ${KD}u + v_place${I}), v_column${I}, end);
#end
            }
#for K 0 KD
            {
#for H 0 R
                let x${H} = ps[(p + ${K}u) * ${BM / 4 + 1}u + ty + ${H * TY}u];
#end
#for J 0 NO
                let y${J} = ks[${K * (OC / 4) + J * TX}u + tx];
#for H 0 R
                o${4 * J}_${H} += x${H} * y${J}.x;
                o${4 * J + 1}_${H} += x${H} * y${J}.y;
                o${4 * J + 2}_${H} += x${H} * y${J}.z;
                o${4 * J + 3}_${H} += x${H} * y${J}.w;
#end
#end
            }
#end
        }
    }
    // Sums of weights over the threads that share a row.
    workgroupBarrier();
#for H 0 R
    ps[(ty + ${H * TY}u) * ${TX + 1}u + tx] = sum${H};
#end
    workgroupBarrier();
#for H 0 R
    {
        var all = vec4<f32>();
#for X 0 TX
        all += ps[(ty + ${H * TY}u) * ${TX + 1}u + ${X}u];
#end
        let by = select(1.0 / all, vec4<f32>(), all <= vec4<f32>());
        let row = row0 + 4u * (ty + ${H * TY}u);
        if (tx == 0u && column == 0u) {
            let lse = select(LN2 * top${H} + log(all), vec4<f32>(bitcast<f32>(u.minus_inf)), all <= vec4<f32>());
#for I 0 4
            if (row + ${I}u < u.rows) { st_o1((b * u.heads + h) * u.rows + row + ${I}u, lse[${I}]); }
#end
        }
#for C 0 4 * NO
        o${C}_${H} *= by;
#end
#for I 0 4
        if (row + ${I}u < u.rows) {
            let at = ((b * u.rows + row + ${I}u) * u.heads + h) * u.width;
#for J 0 NO
            {
                let c = column + 4u * (tx + ${J * TX}u);
                if (c < u.width) {
                    st4_o0(at + c, u.width - c, vec4<f32>(o${4 * J}_${H}[${I}], o${4 * J + 1}_${H}[${I}], o${4 * J + 2}_${H}[${I}], o${4 * J + 3}_${H}[${I}]));
                }
            }
#end
        }
#end
    }
#end
}
#end
