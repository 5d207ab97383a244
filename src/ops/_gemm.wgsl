// _gemm.wgsl - `#include gemm`: C = A B by tiles, C [M,N], A [M,K], B [K,N]. May be included several times: what differs is said by #let.
//
// A group makes BM x BN entries of C, a thread TM x TN of them in registers: quads of rows and columns that lie BM / TM and BN / TN
// quads apart, so that neighbours in a group read neighbours in shared memory. K goes by in steps of BK: while one step is multiplied,
// the next is on its way from memory to registers, and from there to shared memory (DB 1: one buffer there; 2: two).
// The first step is the last one of K, which may be short: what comes after it needs no test, and begins at multiples of BK. Rows and
// columns beyond C read the last ones that exist and are not stored (EDGE_M, EDGE_N: there are such).
//   P                the entry
//   M, N, K, M_END   sizes; there are groups for M rows, of which M_END exist
//   A, B             operands. A_AT, B_AT: where they begin; A_R, A_K, B_R, B_K: steps from row to row (B: column), and along K
//   A_KIND, B_KIND   0: K is contiguous, 1: M or N is, 2: neither
//   A_QUAD, B_QUAD   4: quads along the contiguous dim begin at multiples of 4; beyond its end lie numbers, in K zeros of one factor
// In shared memory a k has a quad more than the tile (A_KIND != 1) where quads along K are turned on the way: no bank conflicts.
//   SAFE             K may be shorter than BK
//   SPLIT            groups share K: u.splits parts of u.per_split steps
//   BATCH            z is the number of a matrix, else 0
//   C_AT, C_R, STORE what is stored goes through STORE(i, n, v): elements i .. i + 3 of C, n of which are there
//   BIAS             s2 is added
//   GROUPED          1: rows of A by expert, an expert's B; 2: K is the rows of an expert, C its own. Offsets are s2.
#let WG ${BM / TM * (BN / TN)}
#let A_LINE ${BM / 4 + (A_KIND != 1)}
#let B_LINE ${BN / 4 + (B_KIND != 1)}
#if BF16
#let FACTOR round_bf16
#else
#let FACTOR
#end
var<workgroup> a_tile_${P}: array<vec4<f32>, ${(1 + (DB == 2)) * BK * A_LINE}>;
var<workgroup> b_tile_${P}: array<vec4<f32>, ${(1 + (DB == 2)) * BK * B_LINE}>;

#for SIDE 0 2
#if SIDE == 0
#let X a
#let S ${A}
#let KIND ${A_KIND}
#let STEP ${A_K}
#else
#let X b
#let S ${B}
#let KIND ${B_KIND}
#let STEP ${B_K}
#end
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
    let z = group / (gx * gy) / u.splits;
    let part = group / (gx * gy) % u.splits;
    let pid = group % (gx * gy);
#else
#if BATCH
    let z = group / (gx * gy);
    let pid = group % (gx * gy);
#else
    let z = 0u;
    let pid = group;
#end
#end
    // Groups of 8 tile rows go through all columns together: their tiles of A and B stay in the cache.
    let first = pid / (8u * gx) * 8u;
    let tall = min(gy - first, 8u);
    let tm = first + pid % (8u * gx) % tall;
    let tn = pid % (8u * gx) / tall;
    let row_at = tm * ${BM}u;
    let m_end = ${M_END};
    if (row_at >= m_end) { return; }
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
    let k_at = part * u.per_split * ${BK}u;
    let k_end = min(${K}, k_at + u.per_split * ${BK}u);
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
    let col_at = tn * ${BN}u;

    // which quads of the tile this thread loads: from ag + a_far0, ag + a_far1, .. on (where it can be, the same numbers for all threads,
    // which take no registers of theirs)
#if A_KIND == 1
    let as_r = 1u;
    let as_k = ${A_K};
    let ar = t % ${BM / 4}u;
    let ak = t / ${BM / 4}u;
    let a_sh = ak * ${A_LINE}u + ar;
#if EDGE_M
    let a_row = min(row_at + 4u * ar, (m_end - 1u) / ${A_QUAD}u * ${A_QUAD}u);
    let a_n = m_end - a_row;
#else
    let a_row = row_at + 4u * ar;
    let a_n = 4u;
#end
    let ag = a_at + a_row + ak * as_k;
#for l 0 BM * BK / 4 / WG
    let a_far${l} = ${l * (WG / (BM / 4))}u * as_k;
#end
#else
    let as_r = ${A_R};
#if A_KIND == 0
    let as_k = 1u;
#else
    let as_k = ${A_K};
#end
    let ar = t / ${BK / 4}u;
    let ak = t % ${BK / 4}u * 4u;
    let a_sh = ak * ${A_LINE}u + ar / 4u;
    let ac = ar % 4u;
#if EDGE_M
    let ag = a_at + ak * as_k;
#else
    let ag = a_at + (row_at + ar) * as_r + ak * as_k;
#end
#for l 0 BM * BK / 4 / WG
#if EDGE_M
    let a_far${l} = min(row_at + ar + ${l * (WG / (BK / 4))}u, m_end - 1u) * as_r;
#else
    let a_far${l} = ${l * (WG / (BK / 4))}u * as_r;
#end
#end
#end
#if B_KIND == 1
    let bs_r = 1u;
    let bs_k = ${B_K};
    let br = t % ${BN / 4}u;
    let bk = t / ${BN / 4}u;
    let b_sh = bk * ${B_LINE}u + br;
#if EDGE_N
    let b_col = min(col_at + 4u * br, (${N} - 1u) / ${B_QUAD}u * ${B_QUAD}u);
    let b_n = ${N} - b_col;
#else
    let b_col = col_at + 4u * br;
    let b_n = 4u;
#end
    let bg = b_at + b_col + bk * bs_k;
#for l 0 BN * BK / 4 / WG
    let b_far${l} = ${l * (WG / (BN / 4))}u * bs_k;
#end
#else
    let bs_r = ${B_R};
#if B_KIND == 0
    let bs_k = 1u;
#else
    let bs_k = ${B_K};
#end
    let br = t / ${BK / 4}u;
    let bk = t % ${BK / 4}u * 4u;
    let b_sh = bk * ${B_LINE}u + br / 4u;
    let bc = br % 4u;
#if EDGE_N
    let bg = b_at + bk * bs_k;
#else
    let bg = b_at + (col_at + br) * bs_r + bk * bs_k;
#end
#for l 0 BN * BK / 4 / WG
#if EDGE_N
    let b_far${l} = min(col_at + br + ${l * (WG / (BK / 4))}u, ${N} - 1u) * bs_r;
#else
    let b_far${l} = ${l * (WG / (BK / 4))}u * bs_r;
#end
#end
#end

    // which entries it makes: 32 threads stand 8 wide
    let lane = t % 32u;
    let warp = t / 32u;
    let tx = warp % ${(BN / TN) / 8}u * 8u + lane % 8u;
    let ty = warp / ${(BN / TN) / 8}u * 4u + lane / 8u;
#for i 0 TM
#for j 0 TN / 4
    var c${i}_${j} = vec4<f32>();
#end
#end

    // the first step
    {
        let a_next = k_last * as_k;
        let b_next = k_last * bs_k;
#for l 0 BM * BK / 4 / WG
        var ra${l} = vec4<f32>();
#if A_KIND == 1
        if (ak + ${l * (WG / (BM / 4))}u < k_first) { ra${l} = load_a_${P}(ag + a_next + a_far${l}, a_n); }
#else
        if (ak < k_first) { ra${l} = load_a_${P}(ag + a_next + a_far${l}, k_first - ak); }
#end
#end
#for l 0 BN * BK / 4 / WG
        var rb${l} = vec4<f32>();
#if B_KIND == 1
        if (bk + ${l * (WG / (BN / 4))}u < k_first) { rb${l} = load_b_${P}(bg + b_next + b_far${l}, b_n); }
#else
        if (bk < k_first) { rb${l} = load_b_${P}(bg + b_next + b_far${l}, k_first - bk); }
#end
#end
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
        a_tile_${P}[a_sh + ${l * (WG / (BM / 4)) * A_LINE}u] = ra${l};
#else
#for i 0 4
        a_tile_${P}[a_sh + ${i * A_LINE + l * (WG / BK)}u][ac] = ra${l}[${i}];
#end
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
        b_tile_${P}[b_sh + ${l * (WG / (BN / 4)) * B_LINE}u] = rb${l};
#else
#for i 0 4
        b_tile_${P}[b_sh + ${i * B_LINE + l * (WG / BK)}u][bc] = rb${l}[${i}];
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
#for l 0 BM * BK / 4 / WG
        var ra${l} = vec4<f32>();
#end
#for l 0 BN * BK / 4 / WG
        var rb${l} = vec4<f32>();
#end
        if (turn + 1u < k_steps) {
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
            ra${l} = load_a_${P}(ag + a_next + a_far${l}, a_n);
#else
            ra${l} = load_a_${P}(ag + a_next + a_far${l}, 4u);
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
            rb${l} = load_b_${P}(bg + b_next + b_far${l}, b_n);
#else
            rb${l} = load_b_${P}(bg + b_next + b_far${l}, 4u);
#end
#end
        }
#else
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
        let ra${l} = load_a_${P}(ag + a_next + a_far${l}, a_n);
#else
        let ra${l} = load_a_${P}(ag + a_next + a_far${l}, 4u);
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
        let rb${l} = load_b_${P}(bg + b_next + b_far${l}, b_n);
#else
        let rb${l} = load_b_${P}(bg + b_next + b_far${l}, 4u);
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
        let ap = a_sh + buffer * ${BK * A_LINE}u;
        let bp = b_sh + buffer * ${BK * B_LINE}u;
#else
        workgroupBarrier();
        let ap = a_sh;
        let bp = b_sh;
#end
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
        a_tile_${P}[ap + ${l * (WG / (BM / 4)) * A_LINE}u] = ra${l};
#else
#for i 0 4
        a_tile_${P}[ap + ${i * A_LINE + l * (WG / BK)}u][ac] = ra${l}[${i}];
#end
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
        b_tile_${P}[bp + ${l * (WG / (BN / 4)) * B_LINE}u] = rb${l};
#else
#for i 0 4
        b_tile_${P}[bp + ${i * B_LINE + l * (WG / BK)}u][bc] = rb${l}[${i}];
#end
#end
#end
        workgroupBarrier();
    }

    let row = row_at + 4u * ty;
    let c_r = ${C_R};
    let c_row = c_at + row * c_r;
#for j 0 TN / 4
    {
        let col = col_at + 4u * tx + ${4 * j * (BN / TN)}u;
#if EDGE_N
        if (col < ${N}) {
            let n = ${N} - col;
#else
        {
            let n = 4u;
#end
#if BIAS && !SPLIT
            let bias = ld4_s2(col, n);
#end
#for i 0 TM
#if EDGE_M
            if (row + ${i / 4 * (BM / TM) * 4 + i % 4}u < m_end)
#end
#if BIAS && !SPLIT
            { ${STORE}(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j} + bias); }
#else
            { ${STORE}(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j}); }
#end
#end
        }
    }
#end
}
