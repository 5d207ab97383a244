// _gemm_thread.wgsl - `#include gemm_thread`: the quads of a tile that thread t makes, from tx and ty on: 32 threads stand 8 wide and 4 tall,
// row by row or (PAIRS) in columns of two.
    let lane = t % 32u;
    let warp = t / 32u;
#if PAIRS
    let tx = warp % ${(BN / TN) / 8}u * 8u + lane / 2u % 8u;
    let ty = warp / ${(BN / TN) / 8}u * 4u + lane % 2u + lane / 16u * 2u;
#else
    let tx = warp % ${(BN / TN) / 8}u * 8u + lane % 8u;
    let ty = warp / ${(BN / TN) / 8}u * 4u + lane / 8u;
#end
