// sgd.wgsl - one step of gradient descent with momentum, as torch.optim.SGD, 4 elements a thread.
@compute @workgroup_size(${WG}) fn main(${ARGS}) {
    ${BEGIN}
    let i = (group * ${WG}u + t) * 4u;
    if (i >= u.n) { return; }
    let left = u.n - i;
    let w = ld4_s0(i, left);
    var g = ld4_s1(i, left);
#if HAS_S3
    g *= ld_s3(0u);
#end
    g += u.weight_decay * w;
#if HAS_S2
    let b = select(u.momentum * ld4_s2(i, left) + u.take * g, g, u.first != 0u);
    st4_o1(i, left, b);
#if nesterov
    g += u.momentum * b;
#else
    g = b;
#end
#end
    st4_o0(i, left, w - u.lr * g);
}
