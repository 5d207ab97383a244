// _gemm.wgsl - `#include gemm`: C = A B by tiles, C [M,N], A [M,K], B [K,N].
//
// A group makes BM x BN entries of C, a thread TM x TN of them in registers: quads of rows and columns that lie BM / TM and BN / TN
// quads apart, so that neighbours in a group read neighbours in shared memory. K goes by in steps of BK: while one step is multiplied,
// the next is on its way from memory to registers, and from there to shared memory (DB 1: one buffer there; 2: two).
// The first step is the short one, K mod BK long: what comes after it needs no test. Rows and columns beyond C read the last ones
// that exist and are not stored (EDGE).
//   A_KIND, B_KIND   0: K is contiguous, 1: M or N is, 2: neither
// In shared memory a k has a quad more than the tile (A_KIND != 1) where quads along K are turned on the way: no bank conflicts.
//   SAFE             K may be shorter than BK
//   SPLIT            groups share K: partial sums go to tmp, entry `finish` adds them in order
// What is stored goes through store_c(i, n, v) of the file that includes this: elements i .. i + 3 of C.
//   GROUPED          1: rows of A by expert, an expert's B; 2: K is the rows of an expert, C its own. Offsets are s2.
var<workgroup> a_tile: array<vec4<f32>, ${(1 + (DB == 2)) * BK * (BM / 4 + (A_KIND != 1))}>;
var<workgroup> b_tile: array<vec4<f32>, ${(1 + (DB == 2)) * BK * (BN / 4 + (B_KIND != 1))}>;

fn load_a(i: u32, n: u32) -> vec4<f32> {
#if A_KIND != 2 && !BF16
    return ld4_s0(i, n);
#else
#if A_KIND == 2
    var v = vec4<f32>(ld_s0(i), 0.0, 0.0, 0.0);
    if (n > 1u) { v.y = ld_s0(i + u.a_k); }
    if (n > 2u) { v.z = ld_s0(i + 2u * u.a_k); }
    if (n > 3u) { v.w = ld_s0(i + 3u * u.a_k); }
#else
    let v = ld4_s0(i, n);
#end
#if BF16
    return round_bf16(v);
#else
    return v;
#end
#end
}
fn load_b(i: u32, n: u32) -> vec4<f32> {
#if B_KIND != 2 && !BF16
    return ld4_s1(i, n);
#else
#if B_KIND == 2
    var v = vec4<f32>(ld_s1(i), 0.0, 0.0, 0.0);
    if (n > 1u) { v.y = ld_s1(i + u.b_k); }
    if (n > 2u) { v.z = ld_s1(i + 2u * u.b_k); }
    if (n > 3u) { v.w = ld_s1(i + 3u * u.b_k); }
#else
    let v = ld4_s1(i, n);
#end
#if BF16
    return round_bf16(v);
#else
    return v;
#end
#end
}

#if GROUPED
var<workgroup> found: array<u32, 4>;
fn bound(i: u32, before: u32) -> u32 { return clamp(u32(max(ld_s2(i), 0)), before, u.rows); } // offsets that fall stand still
#end

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    // which tile, of what
#if GROUPED == 1
    // Blocks of BM rows, counted by segments: rows before the first expert, of each expert, after the last.
    if (t == 0u) {
        var left = group / u.gx;
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
    let tn = group % u.gx;
    let row_at = workgroupUniformLoad(&found[0]);
    let m_end = workgroupUniformLoad(&found[1]);
    let segment = workgroupUniformLoad(&found[2]);
    if (row_at >= m_end) { return; }
    let own = segment >= 1u && segment <= u.experts;
    let a_at = 0u;
    let b_at = select(0u, segment - 1u, own) * u.b_expert;
    let c_at = 0u;
    let k_at = 0u;
    let k_first = select(0u, u.k_first, own);
    let k_tiles = select(0u, u.k_tiles, own);
#else
#if SPLIT
    let z = group / u.tiles / u.splits;
    let part = group / u.tiles % u.splits;
    let pid = group % u.tiles;
#else
#if BATCH
    let z = group / u.tiles;
    let pid = group % u.tiles;
#else
    let z = 0u;
    let pid = group;
#end
#end
    // Groups of 8 tile rows go through all columns together: their tiles of A and B stay in the cache.
    let first = pid / (8u * u.gx) * 8u;
    let tall = min(u.gy - first, 8u);
    let tm = first + pid % (8u * u.gx) % tall;
    let tn = pid % (8u * u.gx) / tall;
    let row_at = tm * ${BM}u;
    let m_end = u.m;
#if GROUPED == 2
    if (t == 0u) {
        var begin = 0u;
        for (var e = 0u; e <= z; e++) { begin = bound(e, begin); }
        found[0] = begin;
        found[1] = bound(z + 1u, begin);
    }
    let k_at = workgroupUniformLoad(&found[0]);
    let k_count = workgroupUniformLoad(&found[1]) - k_at;
    let k_tiles = (k_count + ${BK - 1}u) / ${BK}u;
    let k_first = k_count - (max(k_tiles, 1u) - 1u) * ${BK}u;
    let a_at = 0u;
    let b_at = 0u;
#else
#if BATCH
    let a_at = batch_a(z);
    let b_at = batch_b(z);
#else
    let a_at = 0u;
    let b_at = 0u;
#end
#if SPLIT
    let begin = part * u.per_split;
    let k_tiles = min(u.k_tiles - begin, u.per_split);
    let k_first = select(${BK}u, u.k_first, begin == 0u);
    let k_at = select(u.k_first + begin * ${BK}u - ${BK}u, 0u, begin == 0u);
#else
    let k_tiles = u.k_tiles;
    let k_first = u.k_first;
    let k_at = 0u;
#end
#end
#if SPLIT
    let c_at = (z * u.splits + part) * u.m * u.n;
#else
    let c_at = z * u.c_z;
#end
#end
    let col_at = tn * ${BN}u;

    // which quads of the tile this thread loads: from ag + a_far0, ag + a_far1, .. on (where it can be, the same numbers for all threads,
    // which take no registers of theirs)
#if A_KIND == 1
    let as_r = 1u;
    let as_k = u.a_k;
    let ar = t % ${BM / 4}u;
    let ak = t / ${BM / 4}u;
    let a_sh = ak * ${BM / 4 + (A_KIND != 1)}u + ar;
#if EDGE
    let a_row = min(row_at + 4u * ar, max(m_end, ${A_QUAD}u) - ${A_QUAD}u);
    let a_n = m_end - a_row;
#else
    let a_row = row_at + 4u * ar;
    let a_n = 4u;
#end
    let ag = a_at + a_row + (k_at + ak) * as_k;
#for l 0 BM * BK / 4 / WG
    let a_far${l} = ${l * (WG / (BM / 4))}u * as_k;
#end
#else
    let as_r = u.a_r;
#if A_KIND == 0
    let as_k = 1u;
#else
    let as_k = u.a_k;
#end
    let ar = t / ${BK / 4}u;
    let ak = t % ${BK / 4}u * 4u;
    let a_sh = ak * ${BM / 4 + (A_KIND != 1)}u + ar / 4u;
    let ac = ar % 4u;
#if EDGE
    let ag = a_at + (k_at + ak) * as_k;
#else
    let ag = a_at + (row_at + ar) * as_r + (k_at + ak) * as_k;
#end
#for l 0 BM * BK / 4 / WG
#if EDGE
    let a_far${l} = min(row_at + ar + ${l * (WG / (BK / 4))}u, m_end - 1u) * as_r;
#else
    let a_far${l} = ${l * (WG / (BK / 4))}u * as_r;
#end
#end
#end
#if B_KIND == 1
    let bs_r = 1u;
    let bs_k = u.b_k;
    let br = t % ${BN / 4}u;
    let bk = t / ${BN / 4}u;
    let b_sh = bk * ${BN / 4 + (B_KIND != 1)}u + br;
#if EDGE
    let b_col = min(col_at + 4u * br, max(u.n, ${B_QUAD}u) - ${B_QUAD}u);
    let b_n = u.n - b_col;
#else
    let b_col = col_at + 4u * br;
    let b_n = 4u;
#end
    let bg = b_at + b_col + (k_at + bk) * bs_k;
#for l 0 BN * BK / 4 / WG
    let b_far${l} = ${l * (WG / (BN / 4))}u * bs_k;
#end
#else
    let bs_r = u.b_r;
#if B_KIND == 0
    let bs_k = 1u;
#else
    let bs_k = u.b_k;
#end
    let br = t / ${BK / 4}u;
    let bk = t % ${BK / 4}u * 4u;
    let b_sh = bk * ${BN / 4 + (B_KIND != 1)}u + br / 4u;
    let bc = br % 4u;
#if EDGE
    let bg = b_at + (k_at + bk) * bs_k;
#else
    let bg = b_at + (col_at + br) * bs_r + (k_at + bk) * bs_k;
#end
#for l 0 BN * BK / 4 / WG
#if EDGE
    let b_far${l} = min(col_at + br + ${l * (WG / (BK / 4))}u, u.n - 1u) * bs_r;
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

    // the first, short step
    {
#for l 0 BM * BK / 4 / WG
        var ra${l} = vec4<f32>();
#if A_KIND == 1
        if (ak + ${l * (WG / (BM / 4))}u < k_first) { ra${l} = load_a(ag + a_far${l}, a_n); }
#else
        if (ak < k_first) { ra${l} = load_a(ag + a_far${l}, k_first - ak); }
#end
#end
#for l 0 BN * BK / 4 / WG
        var rb${l} = vec4<f32>();
#if B_KIND == 1
        if (bk + ${l * (WG / (BN / 4))}u < k_first) { rb${l} = load_b(bg + b_far${l}, b_n); }
#else
        if (bk < k_first) { rb${l} = load_b(bg + b_far${l}, k_first - bk); }
#end
#end
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
        a_tile[a_sh + ${l * (WG / (BM / 4)) * (BM / 4 + (A_KIND != 1))}u] = ra${l};
#else
#for i 0 4
        a_tile[a_sh + ${i * (BM / 4 + (A_KIND != 1)) + l * (WG / BK)}u][ac] = ra${l}[${i}];
#end
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
        b_tile[b_sh + ${l * (WG / (BN / 4)) * (BN / 4 + (B_KIND != 1))}u] = rb${l};
#else
#for i 0 4
        b_tile[b_sh + ${i * (BN / 4 + (B_KIND != 1)) + l * (WG / BK)}u][bc] = rb${l}[${i}];
#end
#end
#end
    }
    workgroupBarrier();
#if DB == 2
    var buffer = 0u;
#end
    for (var turn = 0u; turn < k_tiles; turn++) {
        // the next step (after the last: that again), into registers
        let next = max(k_first + min(turn + 1u, k_tiles - 1u) * ${BK}u, ${BK}u) - ${BK}u;
        let a_next = next * as_k;
        let b_next = next * bs_k;
#if SAFE
#for l 0 BM * BK / 4 / WG
        var ra${l} = vec4<f32>();
#end
#for l 0 BN * BK / 4 / WG
        var rb${l} = vec4<f32>();
#end
        if (turn + 1u < k_tiles) {
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
            ra${l} = load_a(ag + a_next + a_far${l}, a_n);
#else
            ra${l} = load_a(ag + a_next + a_far${l}, 4u);
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
            rb${l} = load_b(bg + b_next + b_far${l}, b_n);
#else
            rb${l} = load_b(bg + b_next + b_far${l}, 4u);
#end
#end
        }
#else
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
        let ra${l} = load_a(ag + a_next + a_far${l}, a_n);
#else
        let ra${l} = load_a(ag + a_next + a_far${l}, 4u);
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
        let rb${l} = load_b(bg + b_next + b_far${l}, b_n);
#else
        let rb${l} = load_b(bg + b_next + b_far${l}, 4u);
#end
#end
#end
#if DB == 2
        let ao = ty + buffer * ${BK * (BM / 4 + (A_KIND != 1))}u;
        let bo = tx + buffer * ${BK * (BN / 4 + (B_KIND != 1))}u;
#else
        let ao = ty;
        let bo = tx;
#end
#for k 0 BK
        {
#for g 0 TM / 4
            let a${g} = a_tile[ao + ${k * (BM / 4 + (A_KIND != 1)) + g * (BM / TM)}u];
#end
#for g 0 TN / 4
            let b${g} = b_tile[bo + ${k * (BN / 4 + (B_KIND != 1)) + g * (BN / TN)}u];
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
        let ap = a_sh + buffer * ${BK * (BM / 4 + (A_KIND != 1))}u;
        let bp = b_sh + buffer * ${BK * (BN / 4 + (B_KIND != 1))}u;
#else
        workgroupBarrier();
        let ap = a_sh;
        let bp = b_sh;
#end
#for l 0 BM * BK / 4 / WG
#if A_KIND == 1
        a_tile[ap + ${l * (WG / (BM / 4)) * (BM / 4 + (A_KIND != 1))}u] = ra${l};
#else
#for i 0 4
        a_tile[ap + ${i * (BM / 4 + (A_KIND != 1)) + l * (WG / BK)}u][ac] = ra${l}[${i}];
#end
#end
#end
#for l 0 BN * BK / 4 / WG
#if B_KIND == 1
        b_tile[bp + ${l * (WG / (BN / 4)) * (BN / 4 + (B_KIND != 1))}u] = rb${l};
#else
#for i 0 4
        b_tile[bp + ${i * (BN / 4 + (B_KIND != 1)) + l * (WG / BK)}u][bc] = rb${l}[${i}];
#end
#end
#end
        workgroupBarrier();
    }

    let row = row_at + 4u * ty;
#if SPLIT
    let c_r = u.n;
#else
    let c_r = u.c_r;
#end
    let c_row = c_at + row * c_r;
#for j 0 TN / 4
    {
        let col = col_at + 4u * tx + ${4 * j * (BN / TN)}u;
#if EDGE
        if (col < u.n) {
            let n = u.n - col;
#else
        {
            let n = 4u;
#end
#if BIAS && !SPLIT
            let bias = ld4_s2(col, n);
#end
#for i 0 TM
#if EDGE
            if (row + ${i / 4 * (BM / TM) * 4 + i % 4}u < m_end)
#end
#if SPLIT
            { st4_tmp(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j}); }
#else
#if BIAS
            { store_c(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j} + bias); }
#else
            { store_c(c_row + ${i / 4 * (BM / TM) * 4 + i % 4}u * c_r + col, n, c${i}_${j}); }
#end
#end
#end
        }
    }
#end
}
