/* onnx_nn.c - builders of ONNX's neural operators: normalisation, products, windows, attention, losses, optimisers. */
#include "core/op.h"
#include "onnx.h"
#include <math.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

/* ---------------------------------------------------------------- rows */

static void soft(vec *v, const char *p) { /* before opset 13: over all axes from `axis` on */
    ry_tensor x = o_in(v, 0);
    ry_spec s = *ry_spec_of(G, x);
    int axis = o_axis(v, x, a_int(v, "axis", v->opset < 13 ? 1 : -1));
    if (v->opset < 13) {
        int64_t a = 1, b = 1;
        for (int i = 0; i < s.rank; i++) *(i < axis ? &a : &b) *= s.dim[i];
        x = ry_reshape(G, x, 2, (int64_t[]){a, b});
        axis = 1;
    }
    ry_tensor y = RY_NULL;
    if (*p == 'h') { /* hardmax: one at the first largest */
        ry_tensor at = ry_argmax(G, x, axis, true);
        int64_t n = vec_dim(v, x, axis), dim[R];
        for (int i = 0; i < vec_rank(v, x); i++) dim[i] = i == axis ? n : 1;
        y = vec_cast(v, ry_eq(G, at, ry_reshape(G, vec_iota(v, n, 0, 1), vec_rank(v, x), dim)), s.dtype);
    } else
        y = *p == 'l' ? ry_log_softmax(G, x, axis) : ry_softmax(G, x, axis);
    vec_out(v, ry_reshape(G, y, s.rank, s.dim));
}
static void layer_norm(vec *v, const char *p) { /* over all axes from `axis` on */
    ry_tensor x = o_in(v, 0), w = vec_flat(v, o_in(v, 1)), b = o_has(v, 2) ? vec_flat(v, o_in(v, 2)) : RY_NULL;
    ry_spec s = *ry_spec_of(G, x);
    int axis = o_axis(v, x, a_int(v, "axis", -1));
    double eps = a_real(v, "epsilon", 1e-5);
    int64_t rows = 1, n = 1;
    for (int i = 0; i < s.rank; i++) *(i < axis ? &rows : &n) *= s.dim[i];
    ry_tensor flat = ry_reshape(G, x, 2, (int64_t[]){rows, n});
    if (vec_numel(v, w) != n) w = ry_expand(G, w, 1, &n);
    if (*p == 'r') {
        vec_out(v, ry_reshape(G, ry_rms_norm(G, flat, w, eps), s.rank, s.dim));
        return;
    }
    vec_out(v, ry_reshape(G, ry_layer_norm(G, flat, w, b, eps), s.rank, s.dim));
    ry_tensor mean = ry_mean(G, flat, RY_AXIS(1), true),
              var = ry_mean(G, ry_square(G, ry_sub(G, flat, mean)), RY_AXIS(1), true);
    for (int i = axis; i < s.rank; i++) s.dim[i] = 1;
    vec_out(v, ry_reshape(G, mean, s.rank, s.dim));
    vec_out(v, ry_reshape(G, ry_rsqrt(G, ry_add(G, var, o_num(v, eps))), s.rank, s.dim));
}
static ry_tensor channels(vec *v, ry_tensor w, int rank) {
    for (int i = 2; i < rank; i++) w = vec_unsqueeze(v, w, -1);
    return w;
}
static ry_tensor normalised(vec *v, ry_tensor x, ry_tensor mean, ry_tensor var, double eps) {
    return ry_mul(G, ry_sub(G, x, mean), ry_rsqrt(G, ry_add(G, var, o_num(v, eps))));
}
static ry_tensor moments(vec *v, ry_tensor x, ry_axes axes, ry_tensor *var) {
    ry_tensor mean = ry_mean(G, x, axes, true);
    *var = ry_mean(G, ry_square(G, ry_sub(G, x, mean)), axes, true);
    return mean;
}
static void batch_norm(vec *v, const char *p) { /* "i": over each instance */
    ry_tensor x = o_in(v, 0), mean, var;
    int r = vec_rank(v, x);
    double eps = a_real(v, "epsilon", 1e-5), momentum = a_real(v, "momentum", 0.9);
    bool training = *p == 'i' || a_int(v, "training_mode", 0);
    ry_axes axes = *p == 'i' ? 0 : RY_AXIS(0);
    for (int i = 2; i < r; i++) axes |= RY_AXIS(i);
    if (training)
        mean = moments(v, x, axes, &var);
    else
        mean = channels(v, o_in(v, 3), r), var = channels(v, o_in(v, 4), r);
    ry_tensor y =
        ry_add(G, ry_mul(G, normalised(v, x, mean, var, eps), channels(v, o_in(v, 1), r)), channels(v, o_in(v, 2), r));
    vec_out(v, vec_cast(v, y, vec_dtype(v, x)));
    if (*p == 'i' || !training) return;
    for (int i = 0; i < 2; i++) { /* running statistics */
        ry_tensor old = ry_mul(G, o_in(v, 3 + i), o_num(v, momentum));
        vec_out(v, ry_add(G, old, ry_mul(G, vec_flat(v, i ? var : mean), o_num(v, 1 - momentum))));
    }
}
static void group_norm(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), var;
    ry_spec s = *ry_spec_of(G, x);
    int64_t groups = a_int(v, "num_groups", 1), n = s.dim[0] * groups;
    (void)p;
    ry_tensor flat = ry_reshape(G, x, 2, (int64_t[]){n, ry_numel(&s) / n}), mean = moments(v, flat, RY_AXIS(1), &var);
    ry_tensor y = ry_reshape(G, normalised(v, flat, mean, var, a_real(v, "epsilon", 1e-5)), s.rank, s.dim),
              w = o_in(v, 1), b = o_in(v, 2);
    if (vec_numel(v, w) == groups && groups != s.dim[1]) { /* before opset 21: a weight a group */
        int64_t each = s.dim[1] / groups;
        w = vec_flat(v, vec_expand_axis(v, vec_unsqueeze(v, w, 1), 1, each)),
        b = vec_flat(v, vec_expand_axis(v, vec_unsqueeze(v, b, 1), 1, each));
    }
    vec_out(v, ry_add(G, ry_mul(G, y, channels(v, w, s.rank)), channels(v, b, s.rank)));
}
static void mean_variance(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), var;
    int64_t d[R] = {0, 2, 3};
    int n = a_ints(v, "axes", d, R);
    ry_axes axes = 0;
    (void)p;
    for (int i = 0; i < (n < 0 ? 3 : n); i++) axes |= RY_AXIS((int)d[i]);
    ry_tensor mean = moments(v, x, axes, &var);
    vec_out(v, ry_div(G, ry_sub(G, x, mean), ry_add(G, ry_sqrt(G, var), o_num(v, 1e-9))));
}
static void lp_norm(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), n = vec_p_norm(v, x, a_real(v, "p", 2), RY_AXIS((int)a_int(v, "axis", -1)), true);
    (void)p;
    vec_out(v, ry_select(G, ry_eq(G, n, o_num(v, 0)), o_num(v, 0), ry_div(G, x, n)));
}
static void lrn(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t n = a_int(v, "size", 1);
    (void)p;
    ry_tensor sq = vec_pad_axis(v, ry_square(G, x), 1, (n - 1) / 2, n - 1 - (n - 1) / 2, 0);
    ry_tensor s = ry_sum(G, vec_windows(v, sq, 1, n, 1, 1), RY_AXIS(2), false);
    ry_tensor base =
        ry_add(G, ry_mul(G, s, o_num(v, a_real(v, "alpha", 1e-4) / (double)n)), o_num(v, a_real(v, "bias", 1)));
    vec_out(v, ry_div(G, x, ry_pow(G, base, o_num(v, a_real(v, "beta", 0.75)))));
}

/* ---------------------------------------------------------------- products */

static void matmul(vec *v, const char *p) {
    (void)p;
    vec_out(v, vec_matmul(v, o_in(v, 0), o_in(v, 1)));
}
static void gemm(vec *v, const char *p) {
    ry_tensor a = o_in(v, 0), b = o_in(v, 1);
    double alpha = a_real(v, "alpha", 1), beta = a_real(v, "beta", 1);
    (void)p;
    if (a_int(v, "transA", 0)) a = ry_transpose(G, a, 0, 1);
    if (a_int(v, "transB", 0)) b = ry_transpose(G, b, 0, 1);
    ry_tensor y = ry_mul(G, ry_matmul(G, a, b), o_num(v, alpha));
    vec_out(v, o_has(v, 2) ? ry_add(G, y, ry_mul(G, o_in(v, 2), o_num(v, beta))) : y);
}
static ry_tensor centred(vec *v, int x, int zero, bool rows) { /* whole numbers up to 2^24 are exact in f32 */
    ry_tensor t = vec_cast(v, o_in(v, x), RY_F32);
    if (!o_has(v, zero)) return t;
    ry_tensor z = vec_cast(v, o_in(v, zero), RY_F32);
    return ry_sub(G, t, rows && vec_rank(v, z) == 1 && vec_numel(v, z) > 1 ? vec_unsqueeze(v, z, 1) : z);
}
static void matmul_integer(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_cast(G, vec_matmul(v, centred(v, 0, 2, true), centred(v, 1, 3, false)), RY_I32));
}
static void qlinear_matmul(vec *v, const char *p) {
    const st_entry *e = vec_entry(v->file, v->src[7]);
    bool is_signed = e && e->dtype[0] == 'I';
    (void)p;
    ry_tensor y = ry_matmul(G, centred(v, 0, 2, true), centred(v, 3, 5, false));
    y = ry_mul(G, y,
               ry_div(G, ry_mul(G, vec_cast(v, o_in(v, 1), RY_F32), vec_cast(v, o_in(v, 4), RY_F32)),
                      vec_cast(v, o_in(v, 6), RY_F32)));
    y = ry_add(G, ry_round(G, y), vec_cast(v, o_in(v, 7), RY_F32));
    vec_out(v, ry_cast(G, ry_clamp(G, y, o_num(v, is_signed ? -128 : 0), o_num(v, is_signed ? 127 : 255)), RY_I32));
}
static void einsum(vec *v, const char *p) {
    ry_tensor x[8];
    char text[128];
    int k = 0;
    (void)p;
    for (const char *q = a_text(v, "equation", ""); *q && k < 127; q++)
        if (*q != ' ') text[k++] = *q;
    text[k] = 0;
    for (int i = 0; i < v->n_src && i < 8; i++) x[i] = o_in(v, i);
    vec_out(v, vec_einsum(v, text, v->n_src, x));
}

/* ---------------------------------------------------------------- windows */

/* Attributes of convolutions and pools over k axes; sizes of x's last k axes in n. */
typedef struct frame {
    int k;
    int64_t size[3], stride[3], dil[3], before[3], after[3];
} frame;
static void read_frame(vec *v, frame *f, int k, const int64_t *n) {
    int64_t pads[6] = {0};
    const char *mode = a_text(v, "auto_pad", "NOTSET");
    *f = (frame){.k = k};
    for (int i = 0; i < k; i++) f->stride[i] = f->dil[i] = 1;
    a_ints(v, "kernel_shape", f->size, 3);
    a_ints(v, "strides", f->stride, 3);
    a_ints(v, "dilations", f->dil, 3);
    a_ints(v, "pads", pads, 6);
    for (int i = 0; i < k; i++) {
        f->before[i] = pads[i], f->after[i] = pads[k + i];
        if (strncmp(mode, "SAME", 4)) continue;
        int64_t out = (n[i] + f->stride[i] - 1) / f->stride[i],
                all = (out - 1) * f->stride[i] + (f->size[i] - 1) * f->dil[i] + 1 - n[i];
        if (all < 0) all = 0;
        f->before[i] = !strcmp(mode, "SAME_LOWER") ? all - all / 2 : all / 2;
        f->after[i] = all - f->before[i];
    }
}
static void conv_of(vec *v, ry_tensor x, ry_tensor w, ry_tensor b) {
    int k = vec_rank(v, x) - 2;
    int64_t n[3] = {0};
    frame f;
    if (k < 1 || k > 2) {
        vec_refuse(v, "convolution over %d axes", k);
        return;
    }
    for (int i = 0; i < k; i++) n[i] = vec_dim(v, x, 2 + i);
    read_frame(v, &f, k, n);
    for (int i = 0; i < k; i++) f.size[i] = vec_dim(v, w, 2 + i);
    if (!strncmp(a_text(v, "auto_pad", "NOTSET"), "SAME", 4))
        for (int i = 0; i < k; i++) {
            int64_t out = (n[i] + f.stride[i] - 1) / f.stride[i],
                    all = (out - 1) * f.stride[i] + (f.size[i] - 1) * f.dil[i] + 1 - n[i];
            all = all < 0 ? 0 : all;
            f.before[i] = !strcmp(a_text(v, "auto_pad", ""), "SAME_LOWER") ? all - all / 2 : all / 2,
            f.after[i] = all - f.before[i];
        }
    for (int i = 0; i < k; i++) x = vec_pad_axis(v, x, 2 + i, f.before[i], f.after[i], 0);
    if (k == 1) x = vec_unsqueeze(v, x, 2), w = vec_unsqueeze(v, w, 2);
    ry_conv2d_options o = {.stride = {1, 1}, .dilation = {1, 1}, .groups = a_int(v, "group", 1)};
    for (int i = 0; i < k; i++) o.stride[2 - k + i] = f.stride[i], o.dilation[2 - k + i] = f.dil[i];
    ry_tensor y = ry_conv2d(G, x, w, b, &o);
    vec_out(v, k == 1 ? vec_squeeze(v, y, 2) : y);
}
static void conv(vec *v, const char *p) {
    (void)p;
    conv_of(v, o_in(v, 0), o_in(v, 1), o_has(v, 2) ? o_in(v, 2) : RY_NULL);
}
static void conv_integer(vec *v, const char *p) {
    ry_tensor w = vec_cast(v, o_in(v, 1), RY_F32);
    (void)p;
    if (o_has(v, 3)) {
        ry_tensor z = vec_cast(v, o_in(v, 3), RY_F32);
        for (int i = 0; vec_numel(v, z) > 1 && i < 3; i++) z = vec_unsqueeze(v, z, -1); /* one an output channel */
        if (vec_numel(v, z) == 1) z = ry_reshape(G, z, 0, NULL);
        w = ry_sub(G, w, z);
    }
    conv_of(v, centred(v, 0, 2, false), w, RY_NULL);
    if (v->n_out) v->out[0] = ry_cast(G, v->out[0], RY_I32);
}
static void conv_transpose(vec *v, const char *p) { /* all of it, then the padding cut off */
    ry_tensor x = o_in(v, 0), w = o_in(v, 1), b = o_has(v, 2) ? o_in(v, 2) : RY_NULL;
    int k = vec_rank(v, x) - 2;
    int64_t n[3] = {0}, more[3] = {0}, shape[3], m2[2] = {0, 0};
    frame f;
    (void)p;
    if (k < 1 || k > 2) {
        vec_refuse(v, "convolution over %d axes", k);
        return;
    }
    for (int i = 0; i < k; i++) n[i] = vec_dim(v, x, 2 + i);
    read_frame(v, &f, k, n);
    a_ints(v, "output_padding", more, 3);
    bool fixed = a_ints(v, "output_shape", shape, 3) > 0;
    const char *mode = a_text(v, "auto_pad", "NOTSET");
    for (int i = 0; i < k; i++) {
        f.size[i] = vec_dim(v, w, 2 + i);
        if (!strncmp(mode, "SAME", 4) && !fixed) shape[i] = n[i] * f.stride[i];
        if (!fixed && strncmp(mode, "SAME", 4)) continue;
        int64_t all = f.stride[i] * (n[i] - 1) + more[i] + (f.size[i] - 1) * f.dil[i] + 1 - shape[i];
        if (all < 0) more[i] -= all, all = 0; /* the wanted size is larger: zeros behind */
        f.before[i] = !strcmp(mode, "SAME_UPPER") ? all / 2 : all - all / 2;
        f.after[i] = all - f.before[i];
    }
    if (k == 1) x = vec_unsqueeze(v, x, 2), w = vec_unsqueeze(v, w, 2);
    ry_conv2d_options o = {.stride = {1, 1}, .dilation = {1, 1}, .groups = a_int(v, "group", 1)};
    for (int i = 0; i < k; i++)
        o.stride[2 - k + i] = f.stride[i], o.dilation[2 - k + i] = f.dil[i], m2[2 - k + i] = more[i];
    ry_tensor y = vec_conv_transpose2d(v, x, w, b, &o, m2);
    if (k == 1) y = vec_squeeze(v, y, 2);
    for (int i = 0; i < k; i++) y = vec_part(v, y, 2 + i, f.before[i], vec_dim(v, y, 2 + i) - f.before[i] - f.after[i]);
    vec_out(v, y);
}
static void pool(vec *v, const char *p) { /* m max, a average, l p-norm */
    ry_tensor x = o_in(v, 0), at = RY_NULL;
    int k = vec_rank(v, x) - 2;
    int64_t n[3] = {0};
    frame f;
    bool ints = !ry_is_float(vec_dtype(v, x));
    ry_dtype t = vec_dtype(v, x);
    if (ints) x = vec_cast(v, x, RY_F32);
    for (int i = 0; i < k && i < 3; i++) n[i] = vec_dim(v, x, 2 + i);
    if (k < 1 || k > 3) {
        vec_refuse(v, "pooling over %d axes", k);
        return;
    }
    read_frame(v, &f, k, n);
    vec_pool q = {
        .k = k, .ceil_mode = a_int(v, "ceil_mode", 0) != 0, .count_pad = a_int(v, "count_include_pad", 0) != 0};
    for (int i = 0; i < k; i++)
        q.size[i] = f.size[i], q.stride[i] = f.stride[i], q.dilation[i] = f.dil[i], q.before[i] = f.before[i],
        q.after[i] = f.after[i];
    if (*p == 'l') {
        double power = (double)a_int(v, "p", 2);
        q.divisor = 1;
        vec_out(v, ry_pow(G, vec_pool_avg(v, ry_pow(G, ry_abs(G, x), o_num(v, power)), &q), o_num(v, 1 / power)));
    } else if (*p == 'a') {
        vec_out(v, vec_pool_avg(v, x, &q));
    } else {
        ry_tensor y = vec_pool_max(v, x, &q, v->want > 1 ? &at : NULL);
        vec_out(v, ints ? vec_cast(v, y, t) : y);
        if (v->want < 2) return;
        if (a_int(v, "storage_order", 0) && k == 2) { /* places count down the columns */
            ry_tensor w = vec_cast(v, vec_number(v, (double)n[1], true), RY_I32),
                      h = vec_cast(v, vec_number(v, (double)n[0], true), RY_I32);
            at = ry_add(G, ry_mul(G, ry_mod(G, at, w), h), ry_floordiv(G, at, w));
        }
        int64_t plane = 1, planes = vec_dim(v, x, 0) * vec_dim(v, x, 1), dim[R];
        for (int i = 0; i < k; i++) plane *= n[i];
        for (int i = 0; i < vec_rank(v, at); i++) dim[i] = i < 2 ? vec_dim(v, at, i) : 1;
        vec_out(v, ry_add(G, at,
                          ry_reshape(G, vec_iota(v, planes, 0, (double)plane), vec_rank(v, at),
                                     dim))); /* places in all of x */
    }
}
static void global_pool(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    ry_axes axes = 0;
    for (int i = 2; i < vec_rank(v, x); i++) axes |= RY_AXIS(i);
    vec_out(v, *p == 'm'   ? ry_amax(G, x, axes, true)
               : *p == 'l' ? vec_p_norm(v, x, (double)a_int(v, "p", 2), axes, true)
                           : ry_mean(G, x, axes, true));
}
static void dropout(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    double r = 0.5, training = 0;
    (void)p;
    if (v->opset < 12) r = a_real(v, "ratio", 0.5);
    o_values(v, 1, &r, 1);
    o_values(v, 2, &training, 1);
    if (training != 0 && r > 0) {
        vec_refuse(v, "another random stream");
        return;
    }
    ry_spec s = *ry_spec_of(G, x);
    s.dtype = RY_BOOL;
    vec_out(v, x);
    if (v->want > 1) vec_out(v, ry_fill(G, &s, 1));
}

/* ---------------------------------------------------------------- attention */

static ry_tensor by_heads(vec *v, ry_tensor x, int64_t heads) { /* [B,T,H D] or [B,H,T,D] -> [B,T,H,D] */
    if (vec_rank(v, x) == 4) return ry_transpose(G, x, 1, 2);
    return ry_reshape(G, x, 4,
                      (int64_t[]){vec_dim(v, x, 0), vec_dim(v, x, 1), heads, heads ? vec_dim(v, x, 2) / heads : 0});
}
static ry_tensor repeated(vec *v, ry_tensor x, int64_t times) { /* [B,G,S,D] -> [B,G times,S,D] */
    ry_spec s = *ry_spec_of(G, x);
    x = vec_expand_axis(v, vec_unsqueeze(v, x, 2), 2, times);
    return ry_reshape(G, x, 4, (int64_t[]){s.dim[0], s.dim[1] * times, s.dim[2], s.dim[3]});
}
static void attention(vec *v, const char *p) {
    int64_t qh = a_int(v, "q_num_heads", 0), kh = a_int(v, "kv_num_heads", 0);
    ry_tensor q0 = o_in(v, 0), q = by_heads(v, q0, qh), k = by_heads(v, o_in(v, 1), kh),
              w = by_heads(v, o_in(v, 2), kh);
    bool causal = a_int(v, "is_causal", 0) != 0, flat = vec_rank(v, q0) == 3, has_past = o_has(v, 4);
    (void)p;
    if (has_past) {
        k = ry_concat(G, 2, (ry_tensor[]){ry_transpose(G, o_in(v, 4), 1, 2), k}, 1);
        w = ry_concat(G, 2, (ry_tensor[]){ry_transpose(G, o_in(v, 5), 1, 2), w}, 1);
    }
    int64_t B = vec_dim(v, q, 0), T = vec_dim(v, q, 1), H = vec_dim(v, q, 2), D = vec_dim(v, q, 3),
            S = vec_dim(v, k, 1), E = vec_dim(v, w, 3);
    int64_t past = has_past ? vec_dim(v, o_in(v, 4), 2) : 0;
    ry_attention_options o = {.scale = a_real(v, "scale", 0), .softcap = a_real(v, "softcap", 0)};
    ry_tensor mask = RY_NULL, inf = o_num(v, -(double)INFINITY);
    if (o_has(v, 3)) {
        mask = o_in(v, 3);
        mask = vec_dtype(v, mask) == RY_BOOL ? ry_select(G, mask, o_num(v, 0), inf) : mask;
        mask = vec_pad_axis(v, vec_cast(v, mask, RY_F32), -1, 0, S - vec_dim(v, mask, -1), -(double)INFINITY);
    }
    if (o_has(v, 6)) {
        o.length = vec_cast(v, o_in(v, 6), RY_I32);
        o.causal = causal;
    } else if (causal) { /* query t sees the past and the keys up to its own place */
        ry_tensor r = vec_unsqueeze(v, vec_iota(v, T, (double)past, 1), 1), c = vec_iota(v, S, 0, 1);
        ry_tensor lower = ry_select(G, ry_le(G, c, r), o_num(v, 0), inf);
        mask = ry_is_null(mask) ? lower : ry_add(G, mask, lower);
    }
    if (!ry_is_null(mask)) {
        while (vec_rank(v, mask) < 4) mask = vec_unsqueeze(v, mask, 0);
        o.mask = mask;
    }
    ry_tensor y = ry_attention(G, q, k, w, &o);
    vec_out(v, flat ? ry_reshape(G, y, 3, (int64_t[]){B, T, H * E}) : ry_transpose(G, y, 1, 2));
    if (v->want < 2) return;
    vec_out(v, ry_transpose(G, k, 1, 2));
    vec_out(v, ry_transpose(G, w, 1, 2));
    if (v->want < 4) return;
    /* scores at the asked stage, composed: scaled, capped, masked, as probabilities */
    int64_t mode = a_int(v, "qk_matmul_output_mode", 0);
    ry_tensor s = ry_matmul(G, ry_transpose(G, q, 1, 2),
                            ry_transpose(G, repeated(v, ry_transpose(G, k, 1, 2), H / vec_dim(v, k, 2)), -2, -1));
    s = ry_mul(G, s, o_num(v, o.scale != 0 ? o.scale : 1 / sqrt((double)D)));
    if (mode > 0 && o.softcap != 0) s = ry_mul(G, ry_tanh(G, ry_div(G, s, o_num(v, o.softcap))), o_num(v, o.softcap));
    if (mode > 1 && !ry_is_null(mask)) s = ry_add(G, s, mask);
    if (mode > 2) {
        ry_tensor none = ry_eq(G, ry_amax(G, s, RY_AXIS(-1), true), inf);
        s = ry_select(G, none, o_num(v, 0), ry_softmax(G, ry_select(G, none, o_num(v, 0), s), -1));
    }
    vec_out(v, s);
}
static void rotary(vec *v, const char *p) { /* tables of cosines and sines are given: composed */
    ry_tensor x = o_in(v, 0), c = o_in(v, 1), s = o_in(v, 2);
    bool flat = vec_rank(v, x) == 3, pairs = a_int(v, "interleaved", 0) != 0;
    int64_t heads = a_int(v, "num_heads", 0), n = a_int(v, "rotary_embedding_dim", 0);
    ry_spec in = *ry_spec_of(G, x);
    (void)p;
    x = by_heads(v, x, heads); /* [B,T,H,D] */
    int64_t D = vec_dim(v, x, 3);
    if (!n) n = D;
    if (o_has(v, 3)) c = ry_take(G, c, o_in(v, 3), 0), s = ry_take(G, s, o_in(v, 3), 0);
    c = vec_unsqueeze(v, c, 2), s = vec_unsqueeze(v, s, 2); /* [B,T,1,n/2] */
    ry_tensor turned = vec_part(v, x, 3, 0, n), rest = vec_part(v, x, 3, n, D - n), a, b;
    if (pairs)
        a = ry_slice(G, turned, 3, 0, n, 2), b = ry_slice(G, turned, 3, 1, n, 2);
    else
        a = vec_part(v, turned, 3, 0, n / 2), b = vec_part(v, turned, 3, n / 2, n / 2);
    ry_tensor re = ry_sub(G, ry_mul(G, a, c), ry_mul(G, b, s)), im = ry_add(G, ry_mul(G, b, c), ry_mul(G, a, s)), y;
    if (pairs) {
        ry_spec t = *ry_spec_of(G, turned);
        y = ry_reshape(G, ry_concat(G, 2, (ry_tensor[]){vec_unsqueeze(v, re, 4), vec_unsqueeze(v, im, 4)}, 4), 4,
                       t.dim);
    } else
        y = ry_concat(G, 2, (ry_tensor[]){re, im}, 3);
    if (n < D) y = ry_concat(G, 2, (ry_tensor[]){y, rest}, 3);
    vec_out(v, flat ? ry_reshape(G, y, 3, in.dim) : ry_transpose(G, y, 1, 2));
}

/* ---------------------------------------------------------------- losses, optimisers */

static void loss(vec *v, const char *p) { /* "s" takes logits, "n" log-probabilities; classes on axis 1 */
    ry_tensor x = o_in(v, 0), t = o_in(v, 1);
    ry_spec xs = *ry_spec_of(G, x), ts = *ry_spec_of(G, t);
    int64_t V = xs.dim[1], rows = ry_numel(&ts), ignore = a_int(v, "ignore_index", -1000000);
    const char *how = a_text(v, "reduction", "mean");
    ry_tensor flat = ry_reshape(G, vec_move(v, x, 1, xs.rank - 1), 2, (int64_t[]){rows, V}), l;
    t = vec_flat(v, t);
    ry_tensor counts = ry_ne(G, t, vec_cast(v, vec_number(v, (double)ignore, true), ts.dtype)), zero = o_num(v, 0);
    ry_tensor safe = ry_select(G, counts, t, vec_cast(v, vec_number(v, 0, true), ts.dtype)),
              total = vec_cast(v, counts, RY_F32);
    if (*p == 's')
        l = ry_cross_entropy(G, flat, t, ignore);
    else
        l = ry_select(G, counts, ry_neg(G, vec_squeeze(v, ry_gather(G, flat, vec_unsqueeze(v, safe, 1), 1), 1)), zero);
    if (o_has(v, 2)) {
        total = ry_mul(G, ry_take(G, o_in(v, 2), safe, 0), total);
        l = ry_mul(G, l, total);
    }
    if (!strcmp(how, "none"))
        l = ry_reshape(G, l, ts.rank, ts.dim);
    else
        l = ry_sum(G, l, 0, false);
    if (!strcmp(how, "mean")) l = ry_div(G, l, ry_sum(G, total, 0, false));
    vec_out(v, l);
    if (v->want > 1) vec_out(v, ry_log_softmax(G, x, 1));
}
static void momentum(vec *v, const char *p) { /* R, T, X.., G.., V.. */
    int n = (v->n_src - 2) / 3;
    double lr = 0, step = 0, alpha = a_real(v, "alpha", 0), beta = a_real(v, "beta", 0),
           reg = a_real(v, "norm_coefficient", 0);
    bool nesterov = !strcmp(a_text(v, "mode", "standard"), "nesterov");
    ry_tensor moved[8];
    (void)p;
    o_values(v, 0, &lr, 1), o_values(v, 1, &step, 1);
    if (n > 8) n = 8;
    for (int i = 0; i < n; i++) {
        ry_tensor x = o_in(v, 2 + i), g = ry_add(G, o_in(v, 2 + n + i), ry_mul(G, x, o_num(v, reg)));
        moved[i] =
            ry_add(G, ry_mul(G, o_in(v, 2 + 2 * n + i), o_num(v, alpha)), ry_mul(G, g, o_num(v, step > 0 ? beta : 1)));
        ry_tensor d = nesterov ? ry_add(G, g, ry_mul(G, moved[i], o_num(v, alpha))) : moved[i];
        vec_out(v, ry_sub(G, x, ry_mul(G, d, o_num(v, lr))));
    }
    for (int i = 0; i < n; i++) vec_out(v, moved[i]);
}
static void adam(vec *v, const char *p) { /* R, T, X.., G.., V.., H.. */
    int n = (v->n_src - 2) / 4;
    double lr = 0, step = 0, a = a_real(v, "alpha", 0.9), b = a_real(v, "beta", 0.999), eps = a_real(v, "epsilon", 0),
           reg = a_real(v, "norm_coefficient", 0);
    ry_tensor first[8], second[8];
    (void)p;
    o_values(v, 0, &lr, 1), o_values(v, 1, &step, 1);
    if (step > 0) lr *= sqrt(1 - pow(b, step)) / (1 - pow(a, step));
    if (n > 8) n = 8;
    for (int i = 0; i < n; i++) {
        ry_tensor x = o_in(v, 2 + i), g = ry_add(G, o_in(v, 2 + n + i), ry_mul(G, x, o_num(v, reg)));
        first[i] = ry_add(G, ry_mul(G, o_in(v, 2 + 2 * n + i), o_num(v, a)), ry_mul(G, g, o_num(v, 1 - a)));
        second[i] =
            ry_add(G, ry_mul(G, o_in(v, 2 + 3 * n + i), o_num(v, b)), ry_mul(G, ry_square(G, g), o_num(v, 1 - b)));
        ry_tensor d = ry_div(G, first[i], ry_add(G, ry_sqrt(G, second[i]), o_num(v, eps)));
        ry_tensor y = ry_sub(G, x, ry_mul(G, d, o_num(v, lr)));
        vec_out(v, ry_mul(G, y, o_num(v, 1 - a_real(v, "norm_coefficient_post", 0))));
    }
    for (int i = 0; i < n; i++) vec_out(v, first[i]);
    for (int i = 0; i < n; i++) vec_out(v, second[i]);
}
static void refuse(vec *v, const char *p) { vec_refuse(v, "%s", p); }

const vec_row onnx_nn[] = {{"Softmax", soft, "s"},
                           {"LogSoftmax", soft, "l"},
                           {"Hardmax", soft, "h"},
                           {"LayerNormalization", layer_norm, "l"},
                           {"RMSNormalization", layer_norm, "r"},
                           {"BatchNormalization", batch_norm, "b"},
                           {"InstanceNormalization", batch_norm, "i"},
                           {"GroupNormalization", group_norm, NULL},
                           {"MeanVarianceNormalization", mean_variance, NULL},
                           {"LpNormalization", lp_norm, NULL},
                           {"LRN", lrn, NULL},
                           {"MatMul", matmul, NULL},
                           {"Gemm", gemm, NULL},
                           {"MatMulInteger", matmul_integer, NULL},
                           {"QLinearMatMul", qlinear_matmul, NULL},
                           {"Einsum", einsum, NULL},
                           {"Conv", conv, NULL},
                           {"ConvInteger", conv_integer, NULL},
                           {"ConvTranspose", conv_transpose, NULL},
                           {"MaxPool", pool, "m"},
                           {"AveragePool", pool, "a"},
                           {"LpPool", pool, "l"},
                           {"GlobalMaxPool", global_pool, "m"},
                           {"GlobalAveragePool", global_pool, "a"},
                           {"GlobalLpPool", global_pool, "l"},
                           {"Dropout", dropout, NULL},
                           {"Attention", attention, NULL},
                           {"RotaryEmbedding", rotary, NULL},
                           {"SoftmaxCrossEntropyLoss", loss, "s"},
                           {"NegativeLogLikelihoodLoss", loss, "n"},
                           {"Momentum", momentum, NULL},
                           {"Adam", adam, NULL},
                           {"GRU", refuse, "recurrent networks are loops of the caller's"},
                           {"LSTM", refuse, "recurrent networks are loops of the caller's"},
                           {"RNN", refuse, "recurrent networks are loops of the caller's"},
                           {"LinearAttention", refuse, "no such row yet"},
                           {"FlexAttention", refuse, "a graph as an attribute"},
                           {NULL, NULL, NULL}};
