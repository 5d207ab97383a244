// linears.wgsl - y_j = r x W_j^T + b_j for NW weights W_j [n_j, k] and the few rows of x [m, k]; NORM: x times s1, and r = 1 / sqrt(mean(x^2) + eps).
//
// A group makes four rows of one weight (TOGETHER: of each of them), for all m rows of x. Its threads stand along k, a unit of sixteen elements
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
#if TOGETHER
    let which = 0u;
    let row = 4u * group;
#else
#if NW == 1
    let which = 0u;
    let row = 4u * group;
#end
#if NW == 2
    let which = u32(group >= u.g1);
    let row = 4u * (group - select(0u, u.g1, which == 1u));
#end
#if NW == 3
    let which = u32(group >= u.g1) + u32(group >= u.g2);
    let row = 4u * (group - select(select(0u, u.g1, which == 1u), u.g2, which == 2u));
#end
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
#for J 0 NW
#if TOGETHER || NW == 1
    {
#else
    if (which == ${J}u) {
#end
#for R 0 4
        let at${R} = min(row + ${R}u, u.n${J} - 1u) * u.k;
#end
        for (var unit = t; unit < u.k / 16u; unit += ${WG}u) {
            let k = unit / (FAR${J} / 8u) * (2u * FAR${J}) + unit % (FAR${J} / 8u) * STEP${J};
#for R 0 4
            let q${R} = ld16_s${2 + J}(at${R} + k);
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
#if !TOGETHER || J == 0
                square${I} += (dot(v0, v0) + dot(v1, v1)) + (dot(v2, v2) + dot(v3, v3));
#end
#if HAS_S1
                v0 *= scale0;
                v1 *= scale1;
                v2 *= scale2;
                v3 *= scale3;
#end
#end
#for R 0 4
                sum${I}_${J * TOGETHER}[${R}] += (dot(q${R}[0], v0) + dot(q${R}[1], v1)) + (dot(q${R}[2], v2) + dot(q${R}[3], v3));
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
    if (t >= min(u.m, ${MR}u)) { return; }
    var r = 1.0;
#if NORM
    var square = squares[t * PARTS];
    for (var p = 1u; p < parts; p++) { square += squares[t * PARTS + p]; }
    r = inverseSqrt(square / f32(u.k) + u.eps);
#end
#for T 0 NT
    var y${T} = sums[(t * ${NT}u + ${T}u) * PARTS];
    for (var p = 1u; p < parts; p++) { y${T} += sums[(t * ${NT}u + ${T}u) * PARTS + p]; }
    y${T} *= r;
#end
#for J 0 NW
#if TOGETHER || NW == 1
    {
#else
    if (which == ${J}u) {
#end
        let n = min(u.n${J} - row, 4u);
#if (J == 0 && HAS_S5) || (J == 1 && HAS_S6) || (J == 2 && HAS_S7)
        y${J * TOGETHER} += ld4_s${5 + J}(row, n);
#end
#if !TAIL
        st4_o${J}(t * u.n${J} + row, n, y${J * TOGETHER});
#end
    }
#end
#if TAIL
#if NT == 1
    tail(t * u.n0 + row, 4u, y0);
#end
#if NT == 2
    tail(t * u.n0 + row, 4u, y0, y1);
#end
#if NT == 3
    tail(t * u.n0 + row, 4u, y0, y1, y2);
#end
#end
}
