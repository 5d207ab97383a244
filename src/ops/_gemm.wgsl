// _gemm.wgsl - `#include gemm`: C = A B by tiles, C [M,N], A [M,K], B [K,N]. May be included several times: what differs is said by #let.
//
// A group makes BM x BN entries of C, a thread TM x TN of them in registers: quads of rows and columns that lie BM / TM and BN / TN
// quads apart, so that neighbours in a group read neighbours in shared memory. K goes by in steps of BK: while one step is multiplied,
// the next is on its way from memory to registers, and from there to shared memory (DB 1: one buffer there; 2: two).
// The first step is the last one of K, which may be short: what comes after it needs no test, and begins at multiples of BK. The last
// tiles may reach beyond C. EDGE_M, EDGE_N: 0: none does. 1: rows (columns) beyond read the last ones that exist and are not stored. 2: the
// tile is moved back until it ends with C and stores what is its own, which costs the loads nothing; C is no smaller than a tile, N a
// multiple of 4.
// A thread loads whole quads of the tile; where they do not come out even, the threads too many load the last one once more.
//   P                the entry
//   M, N, K, M_END   sizes; there are groups for M rows, of which M_END exist
//   A, B             operands. A_AT, B_AT: where they begin; A_R, A_K, B_R, B_K: steps from row to row (B: column), and along K
//   A_KIND, B_KIND   0: K is contiguous, 1: M or N is, 2: neither
//   A_QUAD, B_QUAD   4: quads along the contiguous dim begin at multiples of 4; beyond its end lie numbers, in K zeros of one factor
// In shared memory a k has a quad more than the tile (A_KIND != 1) where quads along K are turned on the way: no bank conflicts.
//   SAFE             K may be shorter than BK
//   SPLIT            tiles from u.whole on, u.n_shared of them, are made by u.splits groups each: the first takes u.lead steps of K, the
//                    others u.per_part. Their sums lie in tmp from PARTS_AT on, by tile, part and quad of a thread; entry P_sum adds them
//   BATCH            z is the number of a matrix, else 0
//   C_AT, C_R, STORE what is stored goes through STORE(i, n, v): elements i .. i + 3 of C, n of which are there
//   BIAS             s2 is added
//   GROUPED          1: rows of A by expert, an expert's B; 2: K is the rows of an expert, C its own. Offsets are s2.
#let WG ${BM / TM * (BN / TN)}
#let PAIRS ${TN == 12}
#let A_LINE ${BM / 4 + (A_KIND != 1)}
#let B_LINE ${BN / 4 + (B_KIND != 1)}
#let A_LOADS ${(BM * BK / 4 + WG - 1) / WG}
#let B_LOADS ${(BN * BK / 4 + WG - 1) / WG}
#if BF16
#let FACTOR round_bf16
#else
#let FACTOR
#end
var<workgroup> a_tile_${P}: array<vec4<f32>, ${(1 + (DB == 2)) * BK * A_LINE}>;
var<workgroup> b_tile_${P}: array<vec4<f32>, ${(1 + (DB == 2)) * BK * B_LINE}>;

#for SIDE 0 2
#include gemm_side
fn load_${X}_${P}(i: u32, n: u32) -> vec4<f32> {
#if KIND == 2
    var v = vec4<f32>(ld_${S}(i), 0.0, 0.0, 0.0);
    if (n > 1u) { v.y = ld_${S}(i + ${STEP}); }
    if (n > 2u) { v.z = ld_${S}(i + 2u * ${STEP}); }
    if (n > 3u) { v.w = ld_${S}(i + 3u * ${STEP}); }
    return ${FACTOR}(v);
#else
    return ${FACTOR}(ld4_${S}(i, n));
#end
}
#end

#if GROUPED
var<workgroup> found: array<u32, 4>;
fn bound(i: u32, before: u32) -> u32 { return clamp(u32(max(ld_s2(i), 0)), before, u.rows); } // offsets that fall stand still
#end

#if GROUPED != 1
// The tile's column and row of tiles, and its matrix. Groups of 8 tile rows go through all columns together: their tiles of A and B stay
// in the cache.
fn place_${P}(tile: u32, gx: u32, gy: u32) -> vec3<u32> {
#if BATCH
    let z = tile / (gx * gy);
    let i = tile % (gx * gy);
#else
    let z = 0u;
    let i = tile;
#end
    let first = i / (8u * gx) * 8u;
    let tall = min(gy - first, 8u);
    return vec3<u32>(i % (8u * gx) / tall, first + i % (8u * gx) % tall, z);
}
#end

@compute @workgroup_size(${WG}) fn ${P}(${ARGS}) {
    ${BEGIN}
    // which tile, of what
    let gx = (${N} + ${BN - 1}u) / ${BN}u;
#if GROUPED == 1
    // Blocks of BM rows, counted by segments: rows before the first expert, of each expert, after the last.
    if (t == 0u) {
        var left = group / gx;
        var begin = 0u;
        var e = 0u;
        found[0] = u.rows;
        found[1] = u.rows;
        found[2] = 0u;
        for (; e < u.experts + 2u; e++) {
            var stop = u.rows;
            if (e <= u.experts) { stop = bound(e, begin); }
            let blocks = (stop - begin + ${BM - 1}u) / ${BM}u;
            if (left < blocks) {
                found[0] = begin + left * ${BM}u;
                found[1] = stop;
                found[2] = e; // expert e - 1; 0 and experts + 1: none
                break;
            }
            left -= blocks;
            begin = stop;
        }
    }
    let tn = group % gx;
    let row_at = workgroupUniformLoad(&found[0]);
    let m_end = workgroupUniformLoad(&found[1]);
    let segment = workgroupUniformLoad(&found[2]);
    if (row_at >= m_end) { return; }
    let own = segment >= 1u && segment <= u.experts;
    let z = select(0u, segment - 1u, own);
    let k_at = 0u;
    let k_end = select(0u, ${K}, own);
#else
    let gy = (${M} + ${BM - 1}u) / ${BM}u;
#if SPLIT
    let is_shared = group >= u.whole;
    let tile = select(group, u.whole + (group - u.whole) % u.n_shared, is_shared);
    let part = select(0u, (group - u.whole) / u.n_shared, is_shared);
#else
    let tile = group;
#end
    let place = place_${P}(tile, gx, gy);
    let z = place.z;
    let m_end = ${M_END};
    if (place.y * ${BM}u >= m_end) { return; }
#if EDGE_M == 2
    let row_at = min(place.y * ${BM}u, m_end - ${BM}u);
#else
    let row_at = place.y * ${BM}u;
#end
#if GROUPED == 2
    if (t == 0u) {
        var begin = 0u;
        for (var e = 0u; e <= z; e++) { begin = bound(e, begin); }
        found[0] = begin;
        found[1] = bound(z + 1u, begin);
    }
    let k_at = workgroupUniformLoad(&found[0]);
    let k_end = workgroupUniformLoad(&found[1]);
#else
#if SPLIT
    let k_at = select(0u, u.lead + (part - 1u) * u.per_part, part > 0u) * ${BK}u;
    let k_end = select(${K}, min(${K}, k_at + select(u.per_part, u.lead, part == 0u) * ${BK}u), is_shared);
#else
    let k_at = 0u;
    let k_end = ${K};
#end
#end
#end
    let k_steps = (k_end - k_at + ${BK - 1}u) / ${BK}u;
    let k_last = k_at + (max(k_steps, 1u) - 1u) * ${BK}u;
    let k_first = k_end - k_last; // length of the first step, which is the last one of K
    let a_at = ${A_AT};
    let b_at = ${B_AT};
    let c_at = ${C_AT};
#if GROUPED == 1
    let col_at = tn * ${BN}u;
#else
#if EDGE_N == 2
    let col_at = min(place.x * ${BN}u, ${N} - ${BN}u);
#else
    let col_at = place.x * ${BN}u;
#end
#end

    // which quads of the tile this thread loads: from ag + a_far0, ag + a_far1, .. on (where it can be, the same numbers for all threads,
    // which take no registers of theirs)
#for SIDE 0 2
#include gemm_side
#if KIND == 1
#let ACROSS ${TILE / 4}
#else
#let ACROSS ${BK / 4}
#end
#let EVEN ${TILE * BK / 4 % WG == 0 && WG % ACROSS == 0}
#if KIND == 0
    let ${X}s_k = 1u;
#else
    let ${X}s_k = ${STEP};
#end
#for l 0 LOADS
#if EVEN && l > 0
#if KIND == 1
    let ${X}k${l} = ${X}k0 + ${l * (WG / ACROSS)}u;
    let ${X}_sh${l} = ${X}_sh0 + ${l * (WG / ACROSS) * LINE}u;
    let ${X}_far${l} = ${l * (WG / ACROSS)}u * ${X}s_k;
    let ${X}_n${l} = ${X}_n0;
#else
    let ${X}k${l} = ${X}k0;
    let ${X}_sh${l} = ${X}_sh0 + ${l * (WG / ACROSS / 4)}u;
    let ${X}c${l} = ${X}c0;
#if EDGE == 1
    let ${X}_far${l} = min(${FROM} + ${X}r0 + ${l * (WG / ACROSS)}u, ${END} - 1u) * ${STRIDE};
#else
    let ${X}_far${l} = ${l * (WG / ACROSS)}u * ${STRIDE};
#end
#end
#else
#if EVEN
    let ${X}q${l} = t;
#else
    let ${X}q${l} = min(t + ${l * WG}u, ${TILE * BK / 4 - 1}u); // threads too many all load the last one
#end
#if KIND == 1
    let ${X}k${l} = ${X}q${l} / ${ACROSS}u;
    let ${X}r${l} = ${X}q${l} % ${ACROSS}u * 4u;
    let ${X}_sh${l} = ${X}k${l} * ${LINE}u + ${X}r${l} / 4u;
#if EDGE == 1
    let ${X}_row${l} = min(${FROM} + ${X}r${l}, (${END} - 1u) / ${QUAD}u * ${QUAD}u);
    let ${X}_n${l} = ${END} - ${X}_row${l};
#else
    let ${X}_row${l} = ${FROM} + ${X}r${l};
    let ${X}_n${l} = 4u;
#end
    let ${X}_own${l} = ${X}_row${l} + ${X}k${l} * ${X}s_k;
#else
    let ${X}k${l} = ${X}q${l} % ${ACROSS}u * 4u;
    let ${X}r${l} = ${X}q${l} / ${ACROSS}u;
    let ${X}_sh${l} = ${X}k${l} * ${LINE}u + ${X}r${l} / 4u;
    let ${X}c${l} = ${X}r${l} % 4u;
#if EDGE == 1
    let ${X}_own${l} = min(${FROM} + ${X}r${l}, ${END} - 1u) * ${STRIDE} + ${X}k${l} * ${X}s_k;
#else
    let ${X}_own${l} = (${FROM} + ${X}r${l}) * ${STRIDE} + ${X}k${l} * ${X}s_k;
#end
#end
#if EVEN && !(EDGE == 1 && KIND != 1)
    let ${X}g = ${X}_at + ${X}_own${l};
    let ${X}_far${l} = 0u;
#else
#if EVEN
    let ${X}g = ${X}_at + ${X}k${l} * ${X}s_k;
    let ${X}_far${l} = min(${FROM} + ${X}r0, ${END} - 1u) * ${STRIDE};
#else
#if l == 0
    let ${X}g = ${X}_at;
#end
    let ${X}_far${l} = ${X}_own${l};
#end
#end
#end
#end
#end

    // which entries it makes
#include gemm_thread
#for i 0 TM
#for j 0 TN / 4
    var c${i}_${j} = vec4<f32>();
#end
#end

    // the first step
    {
        let a_next = k_last * as_k;
        let b_next = k_last * bs_k;
#for SIDE 0 2
#include gemm_side
#for l 0 LOADS
        var r${X}${l} = vec4<f32>();
#if KIND == 1
        if (${X}k${l} < k_first) { r${X}${l} = load_${X}_${P}(${X}g + ${X}_next + ${X}_far${l}, ${X}_n${l}); }
#else
        if (${X}k${l} < k_first) { r${X}${l} = load_${X}_${P}(${X}g + ${X}_next + ${X}_far${l}, k_first - ${X}k${l}); }
#end
#end
#end
#for SIDE 0 2
#include gemm_side
#for l 0 LOADS
#if KIND == 1
        ${X}_tile_${P}[${X}_sh${l}] = r${X}${l};
#else
#for i 0 4
        ${X}_tile_${P}[${X}_sh${l} + ${i * LINE}u][${X}c${l}] = r${X}${l}[${i}];
#end
#end
#end
#end
    }
    workgroupBarrier();
#if DB == 2
    var buffer = 0u;
#end
    let k_back = max(k_end, ${BK}u) - ${BK}u;
    for (var turn = 0u; turn < k_steps; turn++) {
        // the next step (after the last: any), into registers
        let next = min(k_at + turn * ${BK}u, k_back);
        let a_next = next * as_k;
        let b_next = next * bs_k;
#if SAFE
#for l 0 A_LOADS
        var ra${l} = vec4<f32>();
#end
#for l 0 B_LOADS
        var rb${l} = vec4<f32>();
#end
        if (turn + 1u < k_steps) {
#for SIDE 0 2
#include gemm_side
#for l 0 LOADS
#if KIND == 1
            r${X}${l} = load_${X}_${P}(${X}g + ${X}_next + ${X}_far${l}, ${X}_n${l});
#else
            r${X}${l} = load_${X}_${P}(${X}g + ${X}_next + ${X}_far${l}, 4u);
#end
#end
#end
        }
#else
#for SIDE 0 2
#include gemm_side
#for l 0 LOADS
#if KIND == 1
        let r${X}${l} = load_${X}_${P}(${X}g + ${X}_next + ${X}_far${l}, ${X}_n${l});
#else
        let r${X}${l} = load_${X}_${P}(${X}g + ${X}_next + ${X}_far${l}, 4u);
#end
#end
#end
#end
#if DB == 2
        let ao = ty + buffer * ${BK * A_LINE}u;
        let bo = tx + buffer * ${BK * B_LINE}u;
#else
        let ao = ty;
        let bo = tx;
#end
#for k 0 BK
        {
#for g 0 TM / 4
            let a${g} = a_tile_${P}[ao + ${k * A_LINE + g * (BM / TM)}u];
#end
#for g 0 TN / 4
            let b${g} = b_tile_${P}[bo + ${k * B_LINE + g * (BN / TN)}u];
#end
#for i 0 TM
#for j 0 TN / 4
            c${i}_${j} = fma(vec4<f32>(a${i / 4}[${i % 4}]), b${j}, c${i}_${j});
#end
#end
        }
#end
#if DB == 2
        buffer = 1u - buffer;
        let ap = buffer * ${BK * A_LINE}u;
        let bp = buffer * ${BK * B_LINE}u;
#else
        workgroupBarrier();
        let ap = 0u;
        let bp = 0u;
#end
#for SIDE 0 2
#include gemm_side
#for l 0 LOADS
#if KIND == 1
        ${X}_tile_${P}[${X}p + ${X}_sh${l}] = r${X}${l};
#else
#for i 0 4
        ${X}_tile_${P}[${X}p + ${X}_sh${l} + ${i * LINE}u][${X}c${l}] = r${X}${l}[${i}];
#end
#end
#end
#end
        workgroupBarrier();
    }

#if SPLIT
    if (is_shared) {
        let part_at = ${PARTS_AT} + ((group - u.whole) % u.n_shared * u.splits + part) * ${BM * BN}u + 4u * t;
#for i 0 TM
#for j 0 TN / 4
        st4_tmp(part_at + ${(i * (TN / 4) + j) * WG * 4}u, 4u, c${i}_${j});
#end
#end
        return;
    }
#end
    let row = row_at + 4u * ty;
    let c_r = ${C_R};
    let c_row = c_at + row * c_r;
#for j 0 TN / 4
    {
        let col = col_at + 4u * tx + ${4 * j * (BN / TN)}u;
#if EDGE_N == 1
        if (col < ${N}) {
            let n = ${N} - col;
#else
#if EDGE_N == 2
        if (col >= place.x * ${BN}u) {
#else
        {
#end
            let n = 4u;
#end
#if BIAS
            let bias = ld4_s2(col, n);
#end
#for i 0 TM
#if EDGE_M == 1
            if (row + ${i / 4 * (BM / TM) * 4 + i % 4}u < m_end)
#end
#if EDGE_M == 2
            if (row + ${i / 4 * (BM / TM) * 4 + i % 4}u >= place.y * ${BM}u)
#end
#if BIAS
            { ${STORE}(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j} + bias); }
#else
            { ${STORE}(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j}); }
#end
#end
        }
    }
#end
}

#if SPLIT
// A group adds up the parts of one quad of every thread of a tile.
@compute @workgroup_size(${WG}) fn ${P}_sum(${ARGS}) {
    ${BEGIN}
    let shared_tile = group / ${TM * TN / 4}u;
    let quad = group % ${TM * TN / 4}u;
    var at = ${PARTS_AT} + shared_tile * u.splits * ${BM * BN}u + (quad * ${WG}u + t) * 4u;
    var sum = ld4_tmp(at, 4u);
    for (var part = 1u; part < u.splits; part++) {
        at += ${BM * BN}u;
        sum += ld4_tmp(at, 4u);
    }
    let place = place_${P}(u.whole + shared_tile, (${N} + ${BN - 1}u) / ${BN}u, (${M} + ${BM - 1}u) / ${BM}u);
    let z = place.z;
    let m_end = ${M_END};
    let i = quad / ${TN / 4}u;
#include gemm_thread
#if EDGE_M == 2
    let row_at = min(place.y * ${BM}u, m_end - ${BM}u);
#else
    let row_at = place.y * ${BM}u;
#end
#if EDGE_N == 2
    let col_at = min(place.x * ${BN}u, ${N} - ${BN}u);
#else
    let col_at = place.x * ${BN}u;
#end
    let row = row_at + i / 4u * ${BM / TM * 4}u + 4u * ty + i % 4u;
    let col = col_at + quad % ${TN / 4}u * ${4 * (BN / TN)}u + 4u * tx;
    if (row < place.y * ${BM}u || row >= m_end || col < place.x * ${BN}u || col >= ${N}) { return; }
    let n = ${N} - col;
#if BIAS
    sum += ld4_s2(col, n);
#end
    ${STORE}(${C_AT} + row * ${C_R} + col, n, sum);
}
#end
