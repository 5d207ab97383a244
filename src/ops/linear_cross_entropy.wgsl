// linear_cross_entropy.wgsl - the loss of logits z = x w^T against targets, and its gradients, without z whole.
//
// A round takes u.rows rows of x: `logits` makes their z [rows, ld] in tmp; `rows` turns each row into its loss and, in place, the
// gradient of its logits; `dx` and `dw` multiply that by w and x. dw adds up over the rounds, in their order. Where dx has few tiles, K (all
// classes) is cut into parts, which `dx_sum` adds. `total` adds the losses in the last round. The products are _gemm.wgsl.
// Where no binding holds w or dw, all dispatches but `rows` see a window of the classes; dx then adds up over them.
// Columns of z beyond the classes are 0 once `rows` has run: products read them.
//   tmp: losses [R], z [rows, ld], parts of dx
#include reduce
#include online
#if BF16
#include bf16
#end

#if WINDOWS
fn seen_from() -> u32 { return u.part_from; } // classes that this dispatch sees
fn seen() -> u32 { return u.part_to - u.part_from; }
#else
fn seen_from() -> u32 { return 0u; }
fn seen() -> u32 { return u.V; }
#end
fn first() -> u32 { return u.round * u.rows; }
fn count() -> u32 { return min(u.rows, u.R - min(u.R, first())); } // rows of this round
fn scale() -> f32 {
#if HAS_S3
    return ld_s3(0u);
#else
    return 1.0;
#end
}

@compute @workgroup_size(${WG}) fn rows(${ARGS}) {
    ${BEGIN}
    let lane = t % ${LANES}u;
    let at = group * ${WG / LANES}u + t / ${LANES}u;
    let row = min(at, u.rows - 1u);
    let z = u.z_at + row * u.ld;
    var part = vec2<f32>(LOWEST, 0.0);
    for (var i = 4u * lane; i < u.V; i += ${4 * LANES}u) {
        part = online_take(part, select(vec4<f32>(LOWEST), ld4_tmp(z + i, 4u), mask4(u.V - i)));
    }
    let all = online_row(part, t);
    var used = at < count();
    var target_ = 0u;
    if (used) {
        let id = ld_s2(first() + row);
        target_ = u32(id);
        used = id != bitcast<i32>(u.ignore);
        if (lane == 0u) {
            var loss = 0.0;
            if (used) {
                loss = bitcast<f32>(u.nan_bits);
                if (target_ < u.V) { loss = log(all.y) + (all.x - ld_tmp(z + target_)); }
            }
            st_tmp(first() + row, loss);
        }
        used = used && target_ < u.V;
    }
#if with_grad
    workgroupBarrier(); // the target's logit has been read
    if (at >= count()) { return; }
    for (var i = 4u * lane; i < u.ld; i += ${4 * LANES}u) {
        var d = vec4<f32>();
        if (used) {
            let v = ld4_tmp(z + i, 4u);
            let hit = vec4<u32>(i, i + 1u, i + 2u, i + 3u) == vec4<u32>(target_);
            d = exp(v - vec4<f32>(all.x)) / all.y - select(vec4<f32>(), vec4<f32>(1.0), hit);
#if CAP
            d *= 1.0 - v * v / (u.softcap * u.softcap);
#end
            d = select(vec4<f32>(), d * scale(), mask4(max(u.V, i) - i));
        }
        st4_tmp(z + i, 4u, d);
    }
#end
}

var<workgroup> total_: array<f32, ${WG}>;
@compute @workgroup_size(${WG}) fn total(${ARGS}) {
    ${BEGIN}
    var sum = 0.0;
    if (u.round + 1u == u.rounds) {
        for (var i = t; i < u.R; i += ${WG}u) { sum += ld_tmp(i); }
    }
    total_[t] = sum;
    workgroupBarrier();
    for (var s = ${WG / 2}u; s > 0u; s >>= 1u) {
        if (t < s) { total_[t] += total_[t + s]; }
        workgroupBarrier();
    }
    if (t == 0u && u.round + 1u == u.rounds) { st_o0(0u, total_[0] * scale()); }
}

// ---- the products ----
#let GROUPED 0
#let BATCH 0
#let BIAS 0
#let SPLIT 0

fn store_logits(i: u32, n: u32, v: vec4<f32>) {
#if CAP
    st4_tmp(i, n, u.softcap * tanh(clamp(v / u.softcap, vec4<f32>(-15.0), vec4<f32>(15.0))));
#else
    st4_tmp(i, n, v);
#end
}
#let P logits
#let EDGE_M ${EDGE_R}
#let EDGE_N ${EDGE_V}
#let M u.rows
#let M_END count()
#let N seen()
#let K u.C
#let A s0
#let A_KIND 0
#let A_AT first() * u.C
#let A_R u.C
#let A_K 1u
#let A_QUAD 1
#let B s1
#let B_KIND 0
#let B_AT seen_from() * u.C
#let B_R u.C
#let B_K 1u
#let B_QUAD 1
#let C_AT u.z_at + seen_from()
#let C_R u.ld
#let STORE store_logits
#include gemm

#if with_grad
fn store_dx(i: u32, n: u32, v: vec4<f32>) {
#if WINDOWS
    if (seen_from() > 0u) {
        st4_o1(i, n, ld4_o1(i, n) + v);
        return;
    }
#end
    st4_o1(i, n, v);
}
#let P dx
#let EDGE_N ${EDGE_C}
#let N u.C
#let K seen()
#let A tmp
#let A_AT u.z_at + seen_from()
#let A_R u.ld
#let B_KIND 1
#let B_K u.C
#let B_QUAD ${QUAD}
#let SPLIT ${DX_SPLIT}
#let PARTS_AT u.dx_at
#let C_AT first() * u.C
#let C_R u.C
#let STORE store_dx
#include gemm
#end

#if HAS_O2
fn store_dw(i: u32, n: u32, v: vec4<f32>) {
    if (u.round > 0u) { st4_o2(i, n, ld4_o2(i, n) + v); } else { st4_o2(i, n, v); }
}
#let P dw
#let EDGE_M ${EDGE_V}
#let M seen()
#let M_END seen()
#let K count()
#let A_KIND 1
#let A_K u.ld
#let A_QUAD 4
#let B s0
#let B_AT first() * u.C
#let SPLIT 0
#let C_AT seen_from() * u.C
#let C_R u.C
#let STORE store_dw
#include gemm
#end
