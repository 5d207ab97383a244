// linears.wgsl - y_j = r x W_j^T + b_j for NW weights W_j [n_j, k] and the few rows of x [m, k]; NORM: x times s1, and r = 1 / sqrt(mean(x^2) + eps).
//
// A group makes 4 RQ rows of one weight (TOGETHER: four of each of them), for all m rows of x. Its threads stand along k, a unit of sixteen elements
// each: four quads, NEAR and FAR apart as the weight's dtype has them (ry_dtype_text), so that a block's words are read whole.
#for J 0 NW
const NEAR${J} = ${(J == 0) * NEAR0 + (J == 1) * NEAR1 + (J == 2) * NEAR2}u;
const FAR${J} = ${(J == 0) * FAR0 + (J == 1) * FAR1 + (J == 2) * FAR2}u;
const STEP${J} = select(4u, 8u, NEAR${J} == 4u);
#end
#if SUBGROUPS
const PARTS = 64u; // no subgroup is smaller than 4, no group larger than 256
#else
const PARTS = ${WG}u;
#end
var<workgroup> sums: array<vec4<f32>, ${MR * NT * (64 * SUBGROUPS + WG * (1 - SUBGROUPS))}>;
#if NORM
var<workgroup> squares: array<f32, ${MR * (64 * SUBGROUPS + WG * (1 - SUBGROUPS))}>;
#end

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
#if TOGETHER || NW == 1
    let which = 0u;
    let row = ${4 * RQ}u * group;
#end
#if !TOGETHER && NW == 2
    let which = u32(group >= u.g1);
    let row = ${4 * RQ}u * (group - select(0u, u.g1, which == 1u));
#end
#if !TOGETHER && NW == 3
    let which = u32(group >= u.g1) + u32(group >= u.g2);
    let row = ${4 * RQ}u * (group - select(select(0u, u.g1, which == 1u), u.g2, which == 2u));
#end
#for I 0 MR
    let x${I} = min(${I}u, u.m - 1u) * u.k;
#if NORM
    var square${I} = 0.0;
#end
#for T 0 NT
    var sum${I}_${T} = vec4<f32>();
#end
#end
#for J 0 NW * (1 - TOGETHER) + TOGETHER
#if TOGETHER || NW == 1
    {
#else
    if (which == ${J}u) {
#end
#for T 0 NT
#for R 0 4
        let at${T}_${R} = min(row + ${4 * T * (1 - TOGETHER) + R}u, u.n${J + T * TOGETHER} - 1u) * u.k;
#end
#end
        for (var unit = t; unit < u.k / 16u; unit += ${WG}u) {
            let k = unit / (FAR${J} / 8u) * (2u * FAR${J}) + unit % (FAR${J} / 8u) * STEP${J};
#for T 0 NT
#for R 0 4
            let q${T}_${R} = ld16_s${2 + J + T * TOGETHER}(at${T}_${R} + k, FAR${J});
#end
#end
#if NORM && HAS_S1
            let scale0 = ld4_s1(k, 4u);
            let scale1 = ld4_s1(k + NEAR${J}, 4u);
            let scale2 = ld4_s1(k + FAR${J}, 4u);
            let scale3 = ld4_s1(k + NEAR${J} + FAR${J}, 4u);
#end
#for I 0 MR
            {
                var v0 = ld4_s0(x${I} + k, 4u);
                var v1 = ld4_s0(x${I} + k + NEAR${J}, 4u);
                var v2 = ld4_s0(x${I} + k + FAR${J}, 4u);
                var v3 = ld4_s0(x${I} + k + NEAR${J} + FAR${J}, 4u);
#if NORM
                square${I} += (dot(v0, v0) + dot(v1, v1)) + (dot(v2, v2) + dot(v3, v3));
#if HAS_S1
                v0 *= scale0;
                v1 *= scale1;
                v2 *= scale2;
                v3 *= scale3;
#end
#end
#for T 0 NT
#for R 0 4
                sum${I}_${T}[${R}] += (dot(q${T}_${R}[0], v0) + dot(q${T}_${R}[1], v1)) + (dot(q${T}_${R}[2], v2) + dot(q${T}_${R}[3], v3));
#end
#end
            }
#end
        }
    }
#end
    // Over the group's threads, in a fixed order.
#if SUBGROUPS
    let parts = ${WG}u / sg_size;
#for I 0 MR
#for T 0 NT
    let all${I}_${T} = subgroupAdd(sum${I}_${T});
#end
#if NORM
    let square_all${I} = subgroupAdd(square${I});
#end
#end
    if (sg_lane == 0u) {
        let part = t / sg_size;
#for I 0 MR
#for T 0 NT
        sums[${I * NT + T}u * PARTS + part] = all${I}_${T};
#end
#if NORM
        squares[${I}u * PARTS + part] = square_all${I};
#end
#end
    }
    workgroupBarrier();
#else
    let parts = 1u;
#for I 0 MR
#for T 0 NT
    sums[${I * NT + T}u * PARTS + t] = sum${I}_${T};
#end
#if NORM
    squares[${I}u * PARTS + t] = square${I};
#end
#end
    workgroupBarrier();
    for (var s = ${WG / 2}u; s > 0u; s >>= 1u) {
        if (t < s) {
#for I 0 MR
#for T 0 NT
            sums[${I * NT + T}u * PARTS + t] += sums[${I * NT + T}u * PARTS + t + s];
#end
#if NORM
            squares[${I}u * PARTS + t] += squares[${I}u * PARTS + t + s];
#end
#end
        }
        workgroupBarrier();
    }
#end
    let i = t / ${RQ}u;
    let h = t % ${RQ}u;
    if (i >= min(u.m, ${MR}u)) { return; }
    var r = 1.0;
#if NORM
    var square = squares[i * PARTS];
    for (var p = 1u; p < parts; p++) { square += squares[i * PARTS + p]; }
    r = inverseSqrt(square / f32(u.k) + u.eps);
#end
#for T 0 NT / RQ
    var y${T} = sums[(i * ${NT}u + ${T}u + h) * PARTS];
    for (var p = 1u; p < parts; p++) { y${T} += sums[(i * ${NT}u + ${T}u + h) * PARTS + p]; }
    y${T} *= r;
#end
    let row_at = row + 4u * h;
#for J 0 NW
#if TOGETHER || NW == 1
    {
#else
    if (which == ${J}u) {
#end
        if (row_at >= u.n${J}) { return; }
        let n = min(u.n${J} - row_at, 4u);
#if (J == 0 && HAS_S5) || (J == 1 && HAS_S6) || (J == 2 && HAS_S7)
        y${J * TOGETHER} += ld4_s${5 + J}(row_at, n);
#end
#if !TAIL
        st4_o${J}(i * u.n${J} + row_at, n, y${J * TOGETHER});
#end
    }
#end
#if TAIL
#if NT / RQ == 1
    tail(i * u.n0 + row_at, 4u, y0);
#end
#if NT / RQ == 2
    tail(i * u.n0 + row_at, 4u, y0, y1);
#end
#if NT / RQ == 3
    tail(i * u.n0 + row_at, 4u, y0, y1, y2);
#end
#end
}
