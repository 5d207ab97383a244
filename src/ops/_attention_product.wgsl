// _attention_product.wgsl - `#include attention_product`: a tile of BM x BN entries of a product, for kernels that make it a part of what
// they do; included once a product. (_gemm.wgsl is a whole kernel.)
//   P       its name
//   LAYOUT  0: A B^T, 1: A B, 2: A^T B
//   OLD     1: what is stored depends on what old_P(row, column) reads
// The file that includes it says how factors are read and results stored: a_P(row, k) or, of layout 2, a_P(k, row); b_P(column, k) or, but
// in layout 0, b_P(k, column); four numbers along the last. store_P(row, column, v) or store_P(row, column, v, old). Rows are those of
// the whole tile, whether they exist or not; columns in layouts 1 and 2 only those before n; k runs to the next multiple of BK.
// TT = (BM / TM) (BN / TN) threads make TM x TN numbers each, in quads that lie apart so that neighbours read neighbours in shared memory:
// a_tile_ [BK][BM / 4 + 1], b_tile_ [BK][BN / 4 + 1]. While one step of BK is multiplied the next comes from memory into registers.
fn product_${P}(at: vec2<u32>, n: u32, count: u32, t: u32) {
    let steps = (count + ${BK - 1}u) / ${BK}u;
    let tx = t % ${BN / TN}u;
    let ty = t / ${BN / TN}u;
#if LAYOUT == 2
    let ar = at.x + t % ${BM / 4}u * 4u;
    let ak = t / ${BM / 4}u;
    let a_to = ak * ${BM / 4 + 1}u + t % ${BM / 4}u;
#else
    let ar = at.x + t / ${BK / 4}u;
    let ak = t % ${BK / 4}u * 4u;
    let ac = t / ${BK / 4}u % 4u;
    let a_to = ak * ${BM / 4 + 1}u + t / ${BK}u;
#end
#if LAYOUT == 0
    let br = at.y + t / ${BK / 4}u;
    let bk = t % ${BK / 4}u * 4u;
    let bc = t / ${BK / 4}u % 4u;
    let b_to = bk * ${BN / 4 + 1}u + t / ${BK}u;
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
        let k = 0u;
#else
    for (var step = 1u; step <= steps; step++) {
        let k = min(step, steps - 1u) * ${BK}u;
#end
#for l 0 BM * BK / 4 / TT
#if LAYOUT == 2
        let a_next${l} = a_${P}(k + ak + ${l * TT / (BM / 4)}u, ar);
#else
        let a_next${l} = a_${P}(ar + ${l * TT / (BK / 4)}u, k + ak);
#end
#end
#for l 0 BN * BK / 4 / TT
#if LAYOUT == 0
        let b_next${l} = b_${P}(br + ${l * TT / (BK / 4)}u, k + bk);
#else
        let b_next${l} = b_${P}(k + bk + ${l * TT / (BN / 4)}u, br);
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
        a_tile_[a_to + ${l * (TT / (BM / 4)) * (BM / 4 + 1)}u] = a_next${l};
#else
#for c 0 4
        a_tile_[a_to + ${c * (BM / 4 + 1) + l * (TT / BK)}u][ac] = a_next${l}[${c}];
#end
#end
#end
#for l 0 BN * BK / 4 / TT
#if LAYOUT == 0
#for c 0 4
        b_tile_[b_to + ${c * (BN / 4 + 1) + l * (TT / BK)}u][bc] = b_next${l}[${c}];
#end
#else
        b_tile_[b_to + ${l * (TT / (BN / 4)) * (BN / 4 + 1)}u] = b_next${l};
#end
#end
        workgroupBarrier();
    }
#end
#for i 0 TM
    {
        let row = at.x + 4u * ty + ${i / 4 * (4 * BM / TM) + i % 4}u;
#for j 0 TN / 4
        let column${j} = at.y + 4u * tx + ${j * (4 * BN / TN)}u;
#if OLD
        let old${j} = old_${P}(row, column${j});
#end
#end
#for j 0 TN / 4
#if OLD
        store_${P}(row, column${j}, c${i}_${j}, old${j});
#else
#if LAYOUT == 0
        store_${P}(row, column${j}, c${i}_${j});
#else
        if (column${j} < n) { store_${P}(row, column${j}, c${i}_${j}); }
#end
#end
#end
    }
#end
}
