// matmul.wgsl - C [M,N] = A [M,K] B [K,N] + bias [N], batches of them.
//
// KERNEL 0: by tiles (_gemm.wgsl).
// Few vectors X [m, K] times a matrix W [n, K] whose every byte moves through memory once. X is A and W the columns of B; with SWAP
// it is the other way round, and C is written turned. MR: m, rounded up.
// KERNEL 1: K is contiguous in W: a group makes NR rows of W, its threads stand along K.
// KERNEL 2: rows lie side by side in W: a thread makes 4 of them, LANES threads stand along the rows, WG / LANES along K.
// KERNEL 3: a thread makes 4 entries of C, all from memory: small matrices, and where nothing else fits.
// SPLIT: groups share K; their partial sums [batch, splits, m, n] lie in tmp until `finish` adds them, in order.
#if TAIL != 2
#include bf16
#end
fn store_c(i: u32, n: u32, v: vec4<f32>) {
#if TAIL
    tail(i, n, v);
#else
    st4_o0(i, n, v);
#end
}
#if KERNEL == 0
#include gemm_plain
#if BATCH
#let A_AT batch_a(z)
#let B_AT batch_b(z)
#else
#let A_AT 0u
#let B_AT 0u
#end
#let C_AT z * u.c_z
#let PARTS_AT 0u
#include gemm
#else
fn load_x(i: u32, n: u32) -> vec4<f32> { // a quad along K
#if X_KIND == 0 && !BF16
    return ld4_s${X}(i, n);
#else
#if X_KIND == 0
    let v = ld4_s${X}(i, n);
#else
    var v = vec4<f32>(ld_s${X}(i), 0.0, 0.0, 0.0);
    if (n > 1u) { v.y = ld_s${X}(i + u.x_k); }
    if (n > 2u) { v.z = ld_s${X}(i + 2u * u.x_k); }
    if (n > 3u) { v.w = ld_s${X}(i + 3u * u.x_k); }
#end
#if BF16
    return round_bf16(v);
#else
    return v;
#end
#end
}
fn load_w(i: u32, n: u32) -> vec4<f32> { // along K, or rows (W_KIND 1)
#if W_KIND != 2 && !BF16
    return ld4_s${W}(i, n);
#else
#if W_KIND == 2
    var v = vec4<f32>(ld_s${W}(i), 0.0, 0.0, 0.0);
    if (n > 1u) { v.y = ld_s${W}(i + u.w_k); }
    if (n > 2u) { v.z = ld_s${W}(i + 2u * u.w_k); }
    if (n > 3u) { v.w = ld_s${W}(i + 3u * u.w_k); }
#else
    let v = ld4_s${W}(i, n);
#end
#if BF16
    return round_bf16(v);
#else
    return v;
#end
#end
}
#end
// Entries [i, row .. row + 3] of X W^T, of which n are there.
fn put(c_at: u32, i: u32, row: u32, n: u32, sum: vec4<f32>) {
#if SWAP
    var v = sum; // never with a tail
#if BIAS
    v += vec4<f32>(ld_s2(i));
#end
    let at = c_at + row * u.c_r + i;
    st_o0(at, v.x);
    if (n > 1u) { st_o0(at + u.c_r, v.y); }
    if (n > 2u) { st_o0(at + 2u * u.c_r, v.z); }
    if (n > 3u) { st_o0(at + 3u * u.c_r, v.w); }
#else
#if BIAS
    store_c(c_at + i * u.c_r + row, n, sum + ld4_s2(row, n));
#else
    store_c(c_at + i * u.c_r + row, n, sum);
#end
#end
}

#if KERNEL == 1
#if SUBGROUPS
const PARTS = 64u; // no subgroup is smaller than 4
var<workgroup> part_sums: array<vec4<f32>, ${MR * 64}>;
#else
var<workgroup> part_sums: array<vec4<f32>, ${WG}>;
#end
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let z = group / u.tiles;
    let row = group % u.tiles * ${NR}u;
    let c_at = z * u.c_z;
#for j 0 NR
    let w_at${j} = batch_w(z) + min(row + ${j}u, u.n - 1u) * u.w_r;
#end
#for i 0 MR
    let x_at${i} = batch_x(z) + min(${i}u, u.m - 1u) * u.x_r;
    var sum${i} = vec4<f32>();
#end
    for (var k = 4u * t; k < u.k; k += ${4 * WG}u) {
        let n = u.k - k;
#for j 0 NR
        let wq${j} = load_w(w_at${j} + k, n);
#end
#for i 0 MR
        {
#if X_KIND == 0
            let q = load_x(x_at${i} + k, n);
#else
            let q = load_x(x_at${i} + k * u.x_k, n);
#end
#for j 0 NR
            sum${i}[${j}] += dot(wq${j}, q);
#end
        }
#end
    }
    let n = min(u.n - row, ${NR}u);
#if SUBGROUPS
#for i 0 MR
    let all${i} = subgroupAdd(sum${i});
    if (sg_lane == 0u) { part_sums[${i}u * PARTS + t / sg_size] = all${i}; }
#end
    workgroupBarrier();
    if (t < min(u.m, ${MR}u)) {
        var sum = part_sums[t * PARTS];
        for (var p = 1u; p * sg_size < ${WG}u; p++) { sum += part_sums[t * PARTS + p]; }
        put(c_at, t, row, n, sum);
    }
#else
#for i 0 MR
    part_sums[t] = sum${i};
    workgroupBarrier();
    for (var s = ${WG / 2}u; s > 0u; s >>= 1u) {
        if (t < s) { part_sums[t] += part_sums[t + s]; }
        workgroupBarrier();
    }
    if (t == 0u && ${i}u < u.m) { put(c_at, ${i}u, row, n, part_sums[0]); }
    workgroupBarrier();
#end
#end
}
#end

#if KERNEL == 2
var<workgroup> part_sums: array<vec4<f32>, ${WG}>;
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let z = group / u.tiles / u.splits;
    let part = group / u.tiles % u.splits;
    let row = (group % u.tiles * ${LANES}u + t % ${LANES}u) * 4u;
    let r = min(row, max(u.n, ${W_QUAD}u) - ${W_QUAD}u);
    let left = u.n - r;
    let w = batch_w(z) + r;
    let k_end = min(u.k, (part + 1u) * u.per_split);
#for i 0 MR
    let x_at${i} = batch_x(z) + min(${i}u, u.m - 1u) * u.x_r;
    var sum${i} = vec4<f32>();
#end
    for (var k = part * u.per_split + t / ${LANES}u * 4u; k < k_end; k += ${WG / LANES * 4}u) {
        let n = k_end - k;
        let w0 = load_w(w + k * u.w_k, left);
        let w1 = load_w(w + min(k + 1u, u.k - 1u) * u.w_k, left);
        let w2 = load_w(w + min(k + 2u, u.k - 1u) * u.w_k, left);
        let w3 = load_w(w + min(k + 3u, u.k - 1u) * u.w_k, left);
#for i 0 MR
        {
#if X_KIND == 0
            let q = load_x(x_at${i} + k, n);
#else
            let q = load_x(x_at${i} + k * u.x_k, n);
#end
            sum${i} += q.x * w0 + q.y * w1 + q.z * w2 + q.w * w3;
        }
#end
    }
#for i 0 MR
    part_sums[t] = sum${i};
    workgroupBarrier();
    for (var s = ${WG / 2}u; s >= ${LANES}u; s >>= 1u) {
        if (t < s) { part_sums[t] += part_sums[t + s]; }
        workgroupBarrier();
    }
    if (t < ${LANES}u && row < u.n && ${i}u < u.m) {
#if SPLIT
        st4_tmp(((z * u.splits + part) * u.m + ${i}u) * u.n + row, u.n - row, part_sums[t]);
#else
        put(z * u.c_z, ${i}u, row, u.n - row, part_sums[t]);
#end
    }
    workgroupBarrier();
#end
}
#end

#if KERNEL == 3
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let id = group * ${WG}u + t;
    if (id >= u.quads) { return; }
    let across = (u.n + 3u) / 4u;
    let row = id % across * 4u;
    let i = id / across % u.m;
    let z = id / across / u.m;
    let left = u.n - row;
    let x = batch_x(z) + i * u.x_r;
    let w = batch_w(z) + row * u.w_r;
    var sum = vec4<f32>();
    for (var k_far = 0u; k_far < u.k; k_far += 0x10000u) { // no loop of more than 65,535 turns: a software driver ends it
        let k_end = min(u.k, k_far + 0x10000u);
        for (var k = k_far; k < k_end; k += 4u) {
            let n = k_end - k;
            let q = load_x(x + k * u.x_k, n);
#if W_KIND == 1
            sum += q.x * load_w(w + k * u.w_k, left);
            if (n > 1u) { sum += q.y * load_w(w + (k + 1u) * u.w_k, left); }
            if (n > 2u) { sum += q.z * load_w(w + (k + 2u) * u.w_k, left); }
            if (n > 3u) { sum += q.w * load_w(w + (k + 3u) * u.w_k, left); }
#else
            sum.x += dot(q, load_w(w + k * u.w_k, n));
            if (left > 1u) { sum.y += dot(q, load_w(w + u.w_r + k * u.w_k, n)); }
            if (left > 2u) { sum.z += dot(q, load_w(w + 2u * u.w_r + k * u.w_k, n)); }
            if (left > 3u) { sum.w += dot(q, load_w(w + 3u * u.w_r + k * u.w_k, n)); }
#end
        }
    }
    put(z * u.c_z, i, row, left, sum);
}
#end

#if KERNEL == 2 && SPLIT
@compute @workgroup_size(${WG}) fn finish(${ARGS}) {
    ${BEGIN}
    let id = group * ${WG}u + t;
    if (id >= u.quads) { return; }
    let across = (u.n + 3u) / 4u;
    let row = id % across * 4u;
    let i = id / across % u.m;
    let z = id / across / u.m;
    let left = u.n - row;
    var at = (z * u.splits * u.m + i) * u.n + row;
    var sum = ld4_tmp(at, left);
    for (var p = 1u; p < u.splits; p++) {
        at += u.m * u.n;
        sum += ld4_tmp(at, left);
    }
    put(z * u.c_z, i, row, left, sum);
}
#end
