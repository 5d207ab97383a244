// attention.wgsl - attention by tiles: scores never exist whole (online softmax).
// q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv] -> o [B,T,H,Dv], log-sum-exp [B,H,T].
#include attention

// A group takes BM queries of one head and OC columns of v. Its threads lie TY x TX; a thread has 4 R rows (R fours, 4 TY rows apart) of
// the tile's scores and of its output, 4 NS keys of each block of BN, 4 NO columns. Both products are sums of outer products of what
// lies in shared memory, KD deep at a time; the next KD are read from memory meanwhile.
var<workgroup> qs: array<vec4<f32>, ${KD * (BM / 4 + 1)}>; // [KD][BM] of q, by rows of four
var<workgroup> ks: array<vec4<f32>, ${KD * (BN / 4 + 1) * (BN >= OC) + KD * OC / 4 * (BN < OC)}>; // [KD][BN] of k, or [KD][OC] of v
var<workgroup> ps: array<vec4<f32>, ${BN * (BM / 4 + 1)}>; // weights, [BN][BM]; between, what rows exchange
var<workgroup> len_: i32;

@compute @workgroup_size(${WG}) fn flash(${ARGS}) {
    ${BEGIN}
    let column = group / u.tiles % u.columns * ${OC}u;
    let h = group / u.tiles / u.columns % u.heads;
    let b = group / u.tiles / u.columns / u.heads;
    let row0 = (u.tiles - 1u - group % u.tiles) * ${BM}u; // later rows have more to do: they come first
    let tx = t % ${TX}u;
    let ty = t / ${TX}u;
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
            sum${H} *= shrink;
#for C 0 4 * NO
            o${C}_${H} *= shrink;
#end
#for C 0 4 * NS
            let w${C} = select(exp2(a${C}_${H} - top${H}), vec4<f32>(), a${C}_${H} <= vec4<f32>(HIDDEN));
            sum${H} += w${C};
            ps[(${C * TX}u + tx) * ${BM / 4 + 1}u + ty + ${H * TY}u] = w${C};
#end
        }
#end
        // o += weights v.
#for I 0 (OC * KD / 4 + WG - 1) / WG
        let v_place${I} = (t + ${I * WG}u) / ${OC / 4}u;
        let v_column${I} = column + 4u * ((t + ${I * WG}u) % ${OC / 4}u);
        var v_next${I} = value(v0, key_at(s0, v_place${I}), v_column${I}, end);
#end
        for (var p = 0u; p < ${BN}u; p += ${KD}u) {
            workgroupBarrier();
#for I 0 (OC * KD / 4 + WG - 1) / WG
            if (t < ${OC * KD / 4 - I * WG}u) { ks[t + ${I * WG}u] = v_next${I}; }
#end
            workgroupBarrier();
            if (p + ${KD}u < ${BN}u) {
#for I 0 (OC * KD / 4 + WG - 1) / WG
                v_next${I} = value(v0, key_at(s0, p + ${KD}u + v_place${I}), v_column${I}, end);
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

// Four elements of a row of q, k, v; beyond the last 0.
#for N 0 3
fn four${N}(row: u32, d: u32) -> vec4<f32> {
#if N < 2
    let depth = u.depth;
#else
    let depth = u.width;
#end
#if ENDS
    if (d >= depth) { return vec4<f32>(); }
#end
    return ld4_s${N}(row + d, depth - d);
}
#end
// The key whose weights lie at place p.
fn key_at(s0: u32, p: u32) -> u32 { return s0 + p / ${4 * TX}u * ${4 * TX}u + 4u * (p % ${TX}u) + p / ${TX}u % 4u; }
// 0 behind the keys that the tile sees.
fn value(v0: u32, key: u32, column: u32, end: u32) -> vec4<f32> {
    if (key >= end) { return vec4<f32>(); }
    return four2(v0 + key * u.t2, column);
}
