// linears.wgsl - y_j = r x W_j^T + b_j for NW weights W_j [n_j, k] and the few rows of x [m, k]; NORM: x times s1, and r = 1 / sqrt(mean(x^2) + eps).
//
// A group makes ROWS rows of one weight (TOGETHER: of each of them) for all m rows of x: LANES threads stand along k for R of the rows, a unit of
// sixteen elements each: four quads, NEAR and FAR apart as the weight's dtype has them (ry_dtype_text), so that a block's words are read whole.
// Few rows a thread: written out in larger numbers they were no faster, nor were shorter texts that go through rows in a loop (H200).
#for J 0 NW
const NEAR${J} = ${(J == 0) * NEAR0 + (J == 1) * NEAR1 + (J == 2) * NEAR2}u;
const FAR${J} = ${(J == 0) * FAR0 + (J == 1) * FAR1 + (J == 2) * FAR2}u;
const STEP${J} = select(4u, 8u, NEAR${J} == 4u);
#end
const PARTS = ${SUBGROUPS * LANES / 4 + (1 - SUBGROUPS) * LANES}u; // no subgroup is smaller than 4
var<workgroup> sums: array<f32, ${MR * NT * ROWS * (SUBGROUPS * LANES / 4 + (1 - SUBGROUPS) * LANES)}>; // [MR][NT][ROWS][PARTS]
#if NORM
var<workgroup> squares: array<f32, ${MR * (SUBGROUPS * LANES / 4 + (1 - SUBGROUPS) * LANES)}>;
#end
#if SUBGROUPS
// Over the threads of a subgroup that stand for the same rows.
fn add_up(v: f32, second: bool, sg_size: u32) -> f32 {
#if LANES < 64
    if (sg_size > ${LANES}u) {
        let a = subgroupAdd(select(v, 0.0, second));
        let b = subgroupAdd(select(0.0, v, second));
        return select(a, b, second);
    }
#end
    return subgroupAdd(v);
}
#end

@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
#if TOGETHER || NW == 1
    let which = 0u;
    let row = ${ROWS}u * group;
#end
#if !TOGETHER && NW == 2
    let which = u32(group >= u.g1);
    let row = ${ROWS}u * (group - select(0u, u.g1, which == 1u));
#end
#if !TOGETHER && NW == 3
    let which = u32(group >= u.g1) + u32(group >= u.g2);
    let row = ${ROWS}u * (group - select(select(0u, u.g1, which == 1u), u.g2, which == 2u));
#end
    let lane = t % ${LANES}u;
    let mine = t / ${LANES}u * ${R}u; // of the group's rows, the first that this thread works on
#for I 0 MR
    let x${I} = min(${I}u, u.m - 1u) * u.k;
#if NORM
    var square${I} = 0.0;
#end
#for T 0 NT
#for Q 0 R
    var sum${I}_${T}_${Q} = 0.0;
#end
#end
#end
#for J 0 NW * (1 - TOGETHER) + TOGETHER
#if TOGETHER || NW == 1
    {
#else
    if (which == ${J}u) {
#end
#for T 0 NT
#for Q 0 R
        let at${T}_${Q} = min(row + mine + ${Q}u, u.n${J + T} - 1u) * u.k;
#end
#end
        for (var unit = lane; unit < u.k / 16u; unit += ${LANES}u) {
            let k = unit / (FAR${J} / 8u) * (2u * FAR${J}) + unit % (FAR${J} / 8u) * STEP${J};
#for T 0 NT
#for Q 0 R
            let w${T}_${Q} = ld16_s${2 + J + T}(at${T}_${Q} + k, FAR${J});
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
#for Q 0 R
                sum${I}_${T}_${Q} += (dot(w${T}_${Q}[0], v0) + dot(w${T}_${Q}[1], v1)) + (dot(w${T}_${Q}[2], v2) + dot(w${T}_${Q}[3], v3));
#end
#end
            }
#end
        }
    }
#end
    // Over the threads of a row, in a fixed order.
#if SUBGROUPS
    let parts = max(${LANES}u / sg_size, 1u);
    let part = lane / sg_size;
    let puts = lane % sg_size == 0u;
    let second = t / ${LANES}u % 2u == 1u;
#for I 0 MR
#for T 0 NT
#for Q 0 R
    let all${I}_${T}_${Q} = add_up(sum${I}_${T}_${Q}, second, sg_size);
#end
#end
#if NORM
    let square_all${I} = add_up(square${I}, second, sg_size);
#end
#end
#else
    let parts = ${LANES}u;
    let part = lane;
    let puts = true;
#for I 0 MR
#for T 0 NT
#for Q 0 R
    let all${I}_${T}_${Q} = sum${I}_${T}_${Q};
#end
#end
#if NORM
    let square_all${I} = square${I};
#end
#end
#end
    if (puts) {
#for I 0 MR
#for T 0 NT
#for Q 0 R
        sums[(${(I * NT + T) * ROWS + Q}u + mine) * PARTS + part] = all${I}_${T}_${Q};
#end
#end
#if NORM
        if (mine == 0u) { squares[${I}u * PARTS + part] = square_all${I}; }
#end
#end
    }
    workgroupBarrier();
    let i = t / ${ROWS / 4}u;
    let h = t % ${ROWS / 4}u * 4u;
    if (i >= min(u.m, ${MR}u)) { return; }
    var r = 1.0;
#if NORM
    var square = 0.0;
    for (var p = 0u; p < parts; p++) { square += squares[i * PARTS + p]; }
    r = inverseSqrt(square / f32(u.k) + u.eps);
#end
#for T 0 NT
    var y${T} = vec4<f32>();
    for (var p = 0u; p < parts; p++) {
        let first = ((i * ${NT}u + ${T}u) * ${ROWS}u + h) * PARTS + p;
        y${T} += vec4<f32>(sums[first], sums[first + PARTS], sums[first + 2u * PARTS], sums[first + 3u * PARTS]);
    }
    y${T} *= r;
#end
    let row_at = row + h;
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
#if NT == 1
    tail(i * u.n0 + row_at, 4u, y0);
#end
#if NT == 2
    tail(i * u.n0 + row_at, 4u, y0, y1);
#end
#if NT == 3
    tail(i * u.n0 + row_at, 4u, y0, y1, y2);
#end
#end
}
