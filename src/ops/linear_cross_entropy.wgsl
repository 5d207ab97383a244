// linear_cross_entropy.wgsl - the loss of logits z = x w^T against targets, and its gradients, without z whole.
//
// A round takes u.rows rows of x: `logits` makes their z [rows, ld] in tmp; `rows` turns each row into its loss and, in place, the
// gradient of its logits; `dx` and `dw` multiply that by w and x. dw adds up over the rounds, in their order. Where dx has few tiles, K (all
// classes) is cut into parts, which `dx_sum` adds. `total` adds the losses in the last round.
// Where no binding holds w or dw, all dispatches but `rows` see a window of the classes; dx then adds up over them.
// Columns of z beyond the classes, and rows up to a multiple of 8, are 0 once `rows` has run: products may read them.
//   tmp: losses [R], z [rows, ld], parts of dx [SPLITS, rows, wide]
#include reduce
#include online
#include tile
#if BF16
#include bf16
#end

#if WINDOWS
fn seen_from() -> u32 { return u.part_from; } // classes that this dispatch sees
fn seen_to() -> u32 { return u.part_to; }
#else
fn seen_from() -> u32 { return 0u; }
fn seen_to() -> u32 { return u.V; }
#end
fn first() -> u32 { return u.round * u.rows; }
fn count() -> u32 { return min(u.rows, u.R - min(u.R, first())); } // rows of this round
#if BF16
fn factor(v: vec4<f32>) -> vec4<f32> { return round_bf16(v); }
#else
fn factor(v: vec4<f32>) -> vec4<f32> { return v; }
#end
fn scale() -> f32 {
#if HAS_S3
    return ld_s3(0u);
#else
    return 1.0;
#end
}

// logits = x w^T
fn a_0(row: u32, k: u32) -> vec4<f32> {
#if TAIL
    if (k >= u.C) { return vec4<f32>(); }
#end
    return factor(ld4_s0((first() + row) * u.C + k, u.C - k));
}
fn b_0(column: u32, k: u32) -> vec4<f32> {
#if TAIL
    if (k >= u.C) { return vec4<f32>(); }
#end
    return factor(ld4_s1(column * u.C + k, u.C - k));
}
fn store_0(row: u32, column: u32, v: vec4<f32>, part: u32) {
#if CAP
    st4_tmp(u.z_at + row * u.ld + column, 4u, u.softcap * tanh(clamp(v / u.softcap, vec4<f32>(-15.0), vec4<f32>(15.0))));
#else
    st4_tmp(u.z_at + row * u.ld + column, 4u, v);
#end
}
@compute @workgroup_size(${TT}) fn logits(${ARGS}) {
    ${BEGIN}
    let at = tile_of(group, u.tall, (seen_to() - seen_from() + ${BN - 1}u) / ${BN}u) + vec2<u32>(0u, seen_from());
    if (at.x >= count()) { return; }
    product_0(at, count(), seen_to(), 0u, u.C, 0u, t);
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
    if (at >= u.rows) { return; }
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

// dx = dz w
fn a_1(row: u32, k: u32) -> vec4<f32> { return factor(ld4_tmp(u.z_at + row * u.ld + k, 4u)); }
fn b_1(k: u32, column: u32) -> vec4<f32> { return factor(ld4_s1(min(k, u.V - 1u) * u.C + column, u.C - column)); }
// dw = dz^T x
fn a_2(k: u32, row: u32) -> vec4<f32> { return factor(ld4_tmp(u.z_at + k * u.ld + row, 4u)); }
fn b_2(k: u32, column: u32) -> vec4<f32> { return factor(ld4_s0((first() + min(k, count() - 1u)) * u.C + column, u.C - column)); }
#if with_grad
fn store_1(row: u32, column: u32, v: vec4<f32>, part: u32) {
#if SPLIT
    st4_tmp(u.dx_at + (part * u.rows + row) * u.wide + column, 4u, v);
#else
    let at = (first() + row) * u.C + column;
#if WINDOWS
    if (seen_from() > 0u) {
        st4_o1(at, u.C - column, ld4_o1(at, u.C - column) + v);
        return;
    }
#end
    st4_o1(at, u.C - column, v);
#end
}
@compute @workgroup_size(${TT}) fn dx(${ARGS}) {
    ${BEGIN}
    let part = group / (u.tall * u.wide_c);
    let at = tile_of(group % (u.tall * u.wide_c), u.tall, u.wide_c);
    if (at.x >= count()) { return; }
#if WINDOWS
    product_1(at, count(), u.C, seen_from(), seen_to(), 0u, t);
#else
    product_1(at, count(), u.C, part * u.per_part, min((part + 1u) * u.per_part, u.ld), part, t);
#end
}
#if SPLIT
@compute @workgroup_size(${WG}) fn dx_sum(${ARGS}) {
    ${BEGIN}
    let i = (group * ${WG}u + t) * 4u; // of [rows, wide]
    let row = i / u.wide;
    let column = i % u.wide;
    if (row >= count()) { return; }
    var sum = vec4<f32>();
    for (var part = 0u; part < u.parts; part++) { sum += ld4_tmp(u.dx_at + part * u.rows * u.wide + i, 4u); }
    st4_o1((first() + row) * u.C + column, u.C - column, sum);
}
#end
#end
#if HAS_O2
fn store_2(row: u32, column: u32, v: vec4<f32>, part: u32) {
    let at = row * u.C + column;
    if (u.round > 0u) { st4_o2(at, u.C - column, ld4_o2(at, u.C - column) + v); } else { st4_o2(at, u.C - column, v); }
}
@compute @workgroup_size(${TT}) fn dw(${ARGS}) {
    ${BEGIN}
    product_2(tile_of(group, (seen_to() - seen_from() + ${BM - 1}u) / ${BM}u, u.wide_c) + vec2<u32>(seen_from(), 0u), seen_to(), u.C, 0u, count(), 0u, t);
}
#end

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
var<workgroup> total_: array<f32, ${WG}>;
