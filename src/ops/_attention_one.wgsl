// _attention_one.wgsl - `#include attention_one`: a query over keys that one group reads alone; for attention and attention_step.
//
// LANES threads share a key and a value: KQ quads of the one, VQ of the other each, the j-th at element 4 (lane + j LANES). The group takes
// SLOTS keys at a time; every slot has its own online softmax (greatest score, sum of weights, weighted values), and all become one at the
// end, in a fixed order. One loop, not written out.
// STEP: q and the new key turn by pos * freq first, and new key and value are written to row `at` of their caches by the first head that
// reads them; everybody takes them from workgroup memory: nobody reads what another group writes.
const SLOTS = ${WG / LANES}u;
var<workgroup> tops: array<vec2<f32>, ${WG}>; // greatest score, sum of weights
var<workgroup> parts: array<vec4<f32>, ${WG * VQ}>; // weighted values, [VQ][WG]
#if !SUBGROUPS || LANES > 4
var<workgroup> dots: array<f32, ${WG}>;
#end
var<workgroup> group_wide: vec2<u32>; // keys in use; threads of a subgroup
#if STEP
#include turn
var<workgroup> fresh: array<vec4<f32>, ${(2 * KQ + VQ) * LANES}>; // q, the new key, the new value
#end

// i / n, by = 1 / n; i below 2^20.
fn quotient(i: u32, by: f32) -> u32 { return u32((f32(i) + 0.5) * by); }

@compute @workgroup_size(${WG}) fn one(${ARGS}) {
    ${BEGIN}
#if ONE_ROW
    let row = 0u;
    let head = group;
#else
    let head = quotient(group, u.by_rows);
    let row = group - head * u.rows;
#end
#if ONE_BATCH
    let b = 0u;
    let h = head;
#else
    let b = quotient(head, u.by_heads);
    let h = head - b * u.heads;
#end
    let kv_head = quotient(h, u.by_share);
    let lane = t % ${LANES}u;
    let slot = t / ${LANES}u;
    let q_at = b * u.b0 + row * u.t0 + h * u.h0;
#if STEP
    let new_k = (b * u.kv_heads + kv_head) * u.depth;
    let new_v = (b * u.kv_heads + kv_head) * u.width;
    let at = bitcast<u32>(ld_s${AT}(b)) - b * u.keys; // of this sequence's rows
    {
        if (t >= 2u * u.depth) {
            let d = t - 2u * u.depth;
            if (d < u.width) { fresh[${2 * KQ * LANES}u + d / 4u][d % 4u] = rounded(ld_s${NEW_V}(new_v + d)); }
        } else {
            let is_k = t >= u.depth;
            let d = t - select(0u, u.depth, is_k);
#if interleaved
            let first_of_two = d % 2u == 0u;
            let pair = d ^ 1u;
            let angle = d / 2u;
#else
            let half = u.rotary / 2u;
            let first_of_two = d < half;
            let pair = select(d - half, d + half, first_of_two);
            let angle = min(d, pair);
#end
            let turns = d < u.rotary;
            let other = select(d, pair, turns);
            var x: f32;
            var y: f32;
            if (is_k) {
                x = ld_s${NEW_K}(new_k + d);
                y = ld_s${NEW_K}(new_k + other);
            } else {
                x = ld_s0(q_at + d);
                y = ld_s0(q_at + other);
            }
            if (turns) {
                let by = turn_by(ld_s${POS}(b), vec4<f32>(ld_s${FREQ}(angle)));
                x = x * by.c.x + select(y, -y, first_of_two) * by.s.x;
            }
            if (is_k) { x = rounded(x); } else { x *= u.q_factor; }
            fresh[select(0u, ${KQ * LANES}u, is_k) + d / 4u][d % 4u] = x;
        }
    }
#end
#if SUBGROUPS
    if (t == 0u) { group_wide = vec2<u32>(u32(keys_of(b)), sg_size); }
#else
    if (t == 0u) { group_wide = vec2<u32>(u32(keys_of(b)), 1u); }
#end
    let all = workgroupUniformLoad(&group_wide);
    let len = i32(all.x);
#for J 0 KQ
#if ENDS
    let k_quad${J} = min(lane + ${J * LANES}u, u.depth / 4u - 1u);
#else
    let k_quad${J} = lane + ${J * LANES}u;
#end
#if STEP
    var q${J} = fresh[k_quad${J}];
#else
    var q${J} = u.q_factor * ld4_s0(q_at + 4u * k_quad${J}, 4u);
#end
#if ENDS
    if (lane + ${J * LANES}u > k_quad${J}) { q${J} = vec4<f32>(); }
#end
#end
#for J 0 VQ
#if ENDS
    let v_quad${J} = min(lane + ${J * LANES}u, u.width / 4u - 1u);
#else
    let v_quad${J} = lane + ${J * LANES}u;
#end
    var acc${J} = vec4<f32>();
#end
    let k_at = b * u.b1 + kv_head * u.h1;
    let v_at = b * u.b2 + kv_head * u.h2;
    let end = u32(end_key(i32(row), len));
    var top = 0.5 * HIDDEN; // greater than a hidden score, so that this weighs 0
    var sum = 0.0;
    for (var s0 = u32(first_key(i32(row), len)); s0 < end; s0 += SLOTS) {
        let key = min(s0 + slot, end - 1u);
#if STEP
#for J 0 KQ
        var k${J} = fresh[${KQ * LANES}u + k_quad${J}];
#end
#for J 0 VQ
        var v${J} = fresh[${2 * KQ * LANES}u + v_quad${J}];
#end
        if (key != at) {
#for J 0 KQ
            k${J} = ld4_s1(k_at + key * u.t1 + 4u * k_quad${J}, 4u);
#end
#for J 0 VQ
            v${J} = ld4_s2(v_at + key * u.t2 + 4u * v_quad${J}, 4u);
#end
        }
#else
#for J 0 KQ
        let k${J} = ld4_s1(k_at + key * u.t1 + 4u * k_quad${J}, 4u);
#end
#for J 0 VQ
        let v${J} = ld4_s2(v_at + key * u.t2 + 4u * v_quad${J}, 4u);
#end
#end
        var x = 0.0;
#for J 0 KQ
        x += dot(q${J}, k${J});
#end
#if !SUBGROUPS || LANES > 4
        if (all.y < ${LANES}u) {
            dots[t] = x;
            workgroupBarrier();
            x = 0.0;
            for (var s = 0u; s < ${LANES}u; s++) { x += dots[t - lane + s]; }
            workgroupBarrier();
        } else
#end
        {
#if SUBGROUPS
            for (var s = 1u; s < ${LANES}u; s <<= 1u) { x += subgroupShuffleXor(x, s); } // no subgroup is smaller than 4
#end
        }
#if CAP
        x = u.cap * tanh(x);
#end
#if MASK || SEGMENTS
        x = masked(vec4<f32>(x), b, h, vec4<i32>(i32(row)), vec4<i32>(i32(s0 + slot)), len).x;
#end
        x = select(HIDDEN, x, s0 + slot < end);
        let now = max(top, x);
        let shrink = exp2(top - now);
        let weight = exp2(x - now);
        top = now;
        sum = sum * shrink + weight;
#for J 0 VQ
        acc${J} = acc${J} * shrink + weight * v${J};
#end
    }
    // Half of the slots give what they have to the other half, until one has all.
    for (var s = SLOTS / 2u; s > 0u; s >>= 1u) {
        if (slot - s < s) {
            tops[t] = vec2<f32>(top, sum);
#for J 0 VQ
            parts[t + ${J * WG}u] = acc${J};
#end
        }
        workgroupBarrier();
        if (slot < s) {
            let giver = t + s * ${LANES}u;
            let other = tops[giver];
            let now = max(top, other.x);
            let mine = exp2(top - now);
            let its = exp2(other.x - now);
            top = now;
            sum = sum * mine + other.y * its;
#for J 0 VQ
            acc${J} = acc${J} * mine + parts[giver + ${J * WG}u] * its;
#end
        }
    }
    if (slot == 0u) {
        let at_o = ((b * u.rows + row) * u.heads + h) * u.width;
        let by = select(1.0 / sum, 0.0, sum <= 0.0);
#for J 0 VQ
#if ENDS
        if (lane + ${J * LANES}u == v_quad${J})
#end
        { st4_o${OUT_O}(at_o + 4u * v_quad${J}, 4u, by * acc${J}); }
#end
        if (lane == 0u) { st_o${OUT_O + 1}((b * u.heads + h) * u.rows + row, select(LN2 * top + log(sum), bitcast<f32>(u.minus_inf), sum <= 0.0)); }
    }
#if STEP
    if (h == kv_head * u.share && at < u.keys) {
        let cell = (b * u.keys + at) * u.kv_heads;
        if (4u * t < u.depth) { st4_o0(cell * u.depth + kv_head * u.depth + 4u * t, 4u, fresh[${KQ * LANES}u + t]); }
        if (4u * t < u.width) { st4_o1(cell * u.width + kv_head * u.width + 4u * t, 4u, fresh[${2 * KQ * LANES}u + t]); }
    }
#end
}
