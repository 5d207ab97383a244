// _tile.wgsl - `#include tile`: products by tiles of BM x BN in registers: product_0 (A B^T), product_1 (A B), product_2 (A^T B); the first LAYOUTS of them.
//
// The file that includes it says how the factors are read and the result stored, for each of the three: a_0(row, k), a_1(row, k),
// a_2(k, row), b_0(column, k), b_1(k, column), b_2(k, column), four numbers along the last; store_0(row, column, v, part), ...
// Rows and columns are at most the last ones that exist (the last multiple of 4 where four lie along them); k may be up to the next
// multiple of BK, where one of the factors must be 0.
// TT = (BM / TM) (BN / TN) threads make TM x TN numbers each, in quads that lie apart so that neighbours read neighbours in shared memory.
// While one step of BK is multiplied the next comes from memory into registers.
var<workgroup> a_tile_: array<vec4<f32>, ${BK * (BM / 4 + 1)}>;
var<workgroup> b_tile_: array<vec4<f32>, ${BK * (BN / 4 + 1)}>;

// Which tile: groups of 8 tile rows go through all columns together, so that their tiles of both factors stay in the cache.
fn tile_of(group: u32, rows: u32, columns: u32) -> vec2<u32> {
    let first = group / (8u * columns) * 8u;
    let tall = min(rows - first, 8u);
    let at = group % (8u * columns);
    return vec2<u32>((first + at % tall) * ${BM}u, at / tall * ${BN}u);
}
#for LAYOUT 0 LAYOUTS
// The tile whose first entry is `at`, of C [m, n]; k from begin to end.
fn product_${LAYOUT}(at: vec2<u32>, m: u32, n: u32, begin: u32, end: u32, part: u32, t: u32) {
    let steps = (end - begin + ${BK - 1}u) / ${BK}u;
    let tx = t % ${BN / TN}u;
    let ty = t / ${BN / TN}u;
#if LAYOUT == 2
    let ar = min(at.x + t % ${BM / 4}u * 4u, (m - 1u) / 4u * 4u);
    let ak = t / ${BM / 4}u;
    let a_to = ak * ${BM / 4 + 1}u + t % ${BM / 4}u;
#else
    let ak = t % ${BK / 4}u * 4u;
    let ac = t / ${BK / 4}u % 4u;
    let a_to = ak * ${BM / 4 + 1}u + t / ${BK}u;
#for l 0 BM * BK / 4 / TT
    let ar${l} = min(at.x + t / ${BK / 4}u + ${l * TT / (BK / 4)}u, m - 1u);
#end
#end
#if LAYOUT == 0
    let bk = t % ${BK / 4}u * 4u;
    let bc = t / ${BK / 4}u % 4u;
    let b_to = bk * ${BN / 4 + 1}u + t / ${BK}u;
#for l 0 BN * BK / 4 / TT
    let br${l} = min(at.y + t / ${BK / 4}u + ${l * TT / (BK / 4)}u, n - 1u);
#end
#else
    let br = min(at.y + t % ${BN / 4}u * 4u, (n - 1u) / 4u * 4u);
    let bk = t / ${BN / 4}u;
    let b_to = bk * ${BN / 4 + 1}u + t % ${BN / 4}u;
#end
#for i 0 TM
#for j 0 TN / 4
    var c${i}_${j} = vec4<f32>();
#end
#end
#for PHASE 0 2
#if PHASE == 0
    if (steps > 0u) {
        let k = begin;
#else
    for (var step = 1u; step <= steps; step++) {
        let k = begin + min(step, steps - 1u) * ${BK}u;
#end
#for l 0 BM * BK / 4 / TT
#if LAYOUT == 2
        let a${l} = a_2(k + ak + ${l * TT / (BM / 4)}u, ar);
#else
        let a${l} = a_${LAYOUT}(ar${l}, k + ak);
#end
#end
#for l 0 BN * BK / 4 / TT
#if LAYOUT == 0
        let b${l} = b_0(br${l}, k + bk);
#else
        let b${l} = b_${LAYOUT}(k + bk + ${l * TT / (BN / 4)}u, br);
#end
#end
#if PHASE == 1
#for kk 0 BK
            {
#for h 0 TM / 4
                let x${h} = a_tile_[${kk * (BM / 4 + 1) + h * (BM / TM)}u + ty];
#end
#for j 0 TN / 4
                let y${j} = b_tile_[${kk * (BN / 4 + 1) + j * (BN / TN)}u + tx];
#end
#for i 0 TM
#for j 0 TN / 4
                c${i}_${j} = fma(vec4<f32>(x${i / 4}[${i % 4}]), y${j}, c${i}_${j});
#end
#end
            }
#end
#end
        workgroupBarrier();
#for l 0 BM * BK / 4 / TT
#if LAYOUT == 2
        a_tile_[a_to + ${l * (TT / (BM / 4)) * (BM / 4 + 1)}u] = a${l};
#else
#for c 0 4
        a_tile_[a_to + ${c * (BM / 4 + 1) + l * (TT / BK)}u][ac] = a${l}[${c}];
#end
#end
#end
#for l 0 BN * BK / 4 / TT
#if LAYOUT == 0
#for c 0 4
        b_tile_[b_to + ${c * (BN / 4 + 1) + l * (TT / BK)}u][bc] = b${l}[${c}];
#end
#else
        b_tile_[b_to + ${l * (TT / (BN / 4)) * (BN / 4 + 1)}u] = b${l};
#end
#end
        workgroupBarrier();
    }
#end
#for i 0 TM
    {
        let row = at.x + 4u * ty + ${i / 4 * (4 * BM / TM) + i % 4}u;
#for j 0 TN / 4
        if (row < m && at.y + 4u * tx + ${j * (4 * BN / TN)}u < n) { store_${LAYOUT}(row, at.y + 4u * tx + ${j * (4 * BN / TN)}u, c${i}_${j}, part); }
#end
    }
#end
}
#end
