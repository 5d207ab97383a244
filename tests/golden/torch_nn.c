/* torch_nn.c - builders of torch.nn.functional: activations, normalisation, convolution, pooling, attention. */
#include "torch.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static void one(vec *v, const char *p) { vec_out(v, vec_map(v, p, 1, (ry_tensor[]){t_self(v)})); }
static void gelu(vec *v, const char *p) {
    (void)p;
    vec_out(v,
            !strcmp(t_text(v, -1, "approximate", "none"), "tanh") ? ry_gelu_tanh(G, t_self(v)) : ry_gelu(G, t_self(v)));
}
/* a row with a slope or alpha, whose default p gives as text "row value argument" */
static void slope(vec *v, const char *p) {
    char row[24], name[24];
    double value = 1;
    if (sscanf(p, "%23s %lf %23s", row, &value, name) == 3)
        vec_out(v, vec_map(v, row, 2, (ry_tensor[]){t_self(v), t_num(v, t_real(v, 0, name, value))}));
}
static void elu(vec *v, const char *p) { /* scale (max(x, 0) + min(0, alpha (exp(k x) - 1))) */
    double alpha = t_real(v, 0, "alpha", 1), scale = t_real(v, -1, "scale", 1), k = t_real(v, -1, "input_scale", 1);
    ry_tensor x = t_self(v);
    (void)p;
    ry_tensor low = ry_mul(G, ry_expm1(G, ry_mul(G, ry_min(G, x, t_num(v, 0)), t_num(v, k))), t_num(v, alpha));
    ry_tensor y = scale == 1 && k == 1 ? ry_elu(G, x, t_num(v, alpha))
                                       : ry_mul(G, ry_select(G, ry_gt(G, x, t_num(v, 0)), x, low), t_num(v, scale));
    vec_out(v, y);
}
static ry_tensor channels(vec *v, ry_tensor w, int rank) { /* [C] beside [N,C,..] */
    for (int i = 2; i < rank; i++) w = vec_unsqueeze(v, w, -1);
    return w;
}
static void prelu(vec *v, const char *p) { /* one slope a channel: axis 1 */
    ry_tensor x = t_self(v), w = t_tensor(v, 0, "weight");
    (void)p;
    if (vec_numel(v, w) == 1)
        w = ry_reshape(G, w, 0, NULL);
    else
        w = channels(v, w, vec_rank(v, x));
    vec_out(v, ry_leaky_relu(G, x, w));
}
static void rrelu(vec *v, const char *p) {
    (void)p;
    if (t_bool(v, 2, "training", false))
        vec_refuse(v, "another random stream");
    else
        vec_out(v, ry_leaky_relu(G, t_self(v),
                                 t_num(v, (t_real(v, 0, "lower", 1.0 / 8) + t_real(v, 1, "upper", 1.0 / 3)) / 2)));
}
static void hardtanh(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_clamp(G, t_self(v), t_num(v, t_real(v, 0, "min_val", -1)), t_num(v, t_real(v, 1, "max_val", 1))));
}
static void shrink(vec *v, const char *p) {
    ry_tensor x = t_self(v), l = t_num(v, t_real(v, 0, "lambd", 0.5)), zero = t_num(v, 0),
              inside = ry_le(G, ry_abs(G, x), l);
    ry_tensor y = *p == 'h' ? x : ry_sub(G, x, ry_mul(G, ry_sign(G, x), l));
    if (*p == 't') y = ry_sub(G, x, ry_tanh(G, x));
    vec_out(v, *p == 't' ? y : ry_select(G, inside, zero, y));
}
static void softplus(vec *v, const char *p) {
    double beta = t_real(v, 0, "beta", 1), limit = t_real(v, 1, "threshold", 20);
    ry_tensor x = t_self(v), bx = ry_mul(G, x, t_num(v, beta));
    (void)p;
    ry_tensor y = ry_div(G, ry_softplus(G, bx), t_num(v, beta));
    vec_out(v, ry_select(G, ry_gt(G, bx, t_num(v, limit)), x, y));
}
static void threshold(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    vec_out(v,
            ry_select(G, ry_gt(G, x, t_num(v, t_real(v, 0, "threshold", 0))), x, t_num(v, t_real(v, 1, "value", 0))));
}
static void glu(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int axis = (int)t_int(v, 0, "dim", -1);
    int64_t n = vec_dim(v, x, axis) / 2;
    (void)p;
    vec_out(v, ry_mul(G, vec_part(v, x, axis, 0, n), ry_sigmoid(G, vec_part(v, x, axis, n, n))));
}
static void soft(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int r = vec_rank(v, x), axis = t_arg(v, 0, "dim")           ? (int)t_int(v, 0, "dim", -1)
                                   : r == 0 || r == 1 || r == 3 ? 0
                                                                : 1;
    bool scalar = r == 0;
    if (vec_dtype(v, x) != RY_F32) x = vec_cast(v, x, RY_F32);
    if (scalar) x = vec_unsqueeze(v, x, 0);
    ry_tensor y = *p == 'l' ? ry_log_softmax(G, x, axis) : ry_softmax(G, *p == 'n' ? ry_neg(G, x) : x, axis);
    vec_out(v, scalar ? vec_squeeze(v, y, 0) : y);
}
static void dropout(vec *v, const char *p) {
    double rate = t_real(v, 0, "p", 0.5);
    (void)p;
    if (t_bool(v, 1, "training", true) && rate > 0 && rate < 1)
        vec_refuse(v, "another random stream");
    else
        vec_out(v, rate >= 1 && t_bool(v, 1, "training", true) ? ry_dropout(G, t_self(v), 1, 0, 0) : t_self(v));
}

/* ---------------------------------------------------------------- normalisation */

static ry_tensor affine(vec *v, ry_tensor y, ry_tensor w, bool has_w, ry_tensor b, bool has_b) {
    if (has_w) y = ry_mul(G, y, w);
    return has_b ? ry_add(G, y, b) : y;
}
static ry_tensor normalised(vec *v, ry_tensor x, ry_tensor mean, ry_tensor var, double eps) {
    return ry_mul(G, ry_sub(G, x, mean), ry_rsqrt(G, ry_add(G, var, t_num(v, eps))));
}
static ry_tensor over(vec *v, ry_tensor x, ry_axes axes, double eps) {
    ry_tensor mean = ry_mean(G, x, axes, true);
    return normalised(v, x, mean, ry_mean(G, ry_square(G, ry_sub(G, x, mean)), axes, true), eps);
}
static ry_tensor weight_of(vec *v, int pos, const char *name, int rank, bool *has) {
    *has = t_arg(v, pos, name) != NULL;
    return *has ? channels(v, t_tensor(v, pos, name), rank) : RY_NULL;
}
static void batch_norm(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int r = vec_rank(v, x);
    bool has_w, has_b, instance = *p == 'i',
                       batch = instance ? t_bool(v, -1, "use_input_stats", true) : t_bool(v, 4, "training", false);
    double eps = t_real(v, instance ? 6 : 6, "eps", 1e-5);
    ry_tensor w = weight_of(v, 2, "weight", r, &has_w), b = weight_of(v, 3, "bias", r, &has_b);
    ry_axes axes = instance ? 0 : RY_AXIS(0);
    for (int i = 2; i < r; i++) axes |= RY_AXIS(i);
    ry_tensor y = batch ? over(v, x, axes, eps)
                        : normalised(v, x, channels(v, t_tensor(v, 0, "running_mean"), r),
                                     channels(v, t_tensor(v, 1, "running_var"), r), eps);
    vec_out(v, affine(v, y, w, has_w, b, has_b));
}
static void group_norm(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    ry_spec s = *ry_spec_of(G, x);
    int64_t groups = t_int(v, 0, "num_groups", 1);
    bool has_w, has_b;
    ry_tensor w = weight_of(v, 1, "weight", s.rank, &has_w), b = weight_of(v, 2, "bias", s.rank, &has_b);
    (void)p;
    int64_t n = s.dim[0] * groups, each = n ? ry_numel(&s) / n : 1;
    if (n == 0 || ry_numel(&s) == 0) each = 1, n = ry_numel(&s);
    ry_tensor y = ry_reshape(
        G, over(v, ry_reshape(G, x, 2, (int64_t[]){n, each}), RY_AXIS(1), t_real(v, 3, "eps", 1e-5)), s.rank, s.dim);
    vec_out(v, affine(v, y, w, has_w, b, has_b));
}
/* layer_norm and native_layer_norm over the last axes: as one row each */
static void layer_norm(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    ry_spec s = *ry_spec_of(G, x);
    int64_t d[R], n = 1;
    int k = t_ints(v, 0, "normalized_shape", d, R);
    for (int i = 0; i < k; i++) n *= d[i];
    ry_tensor w = t_arg(v, 1, "weight") ? vec_flat(v, t_tensor(v, 1, "weight")) : RY_NULL,
              b = t_arg(v, 2, "bias") ? vec_flat(v, t_tensor(v, 2, "bias")) : RY_NULL;
    double eps = t_real(v, 3, "eps", 1e-5);
    int64_t rows = n ? ry_numel(&s) / n : 0;
    if (*p == 'r') { /* rms_norm: without eps, that of the type */
        vec_out(v,
                ry_reshape(
                    G, ry_rms_norm(G, ry_reshape(G, x, 2, (int64_t[]){rows, n}), w, t_real(v, 2, "eps", 1.1920929e-7)),
                    s.rank, s.dim));
        return;
    }
    if (ry_is_null(w) && !ry_is_null(b)) w = ry_fill(G, &RY_SHAPE(RY_F32, n), 1);
    ry_tensor flat = ry_reshape(G, x, 2, (int64_t[]){rows, n});
    vec_out(v, ry_reshape(G, ry_layer_norm(G, flat, w, b, eps), s.rank, s.dim));
    if (*p != 'n') return;
    ry_tensor mean = ry_mean(G, flat, RY_AXIS(1), true),
              var = ry_mean(G, ry_square(G, ry_sub(G, flat, mean)), RY_AXIS(1), true);
    for (int i = s.rank - k; i < s.rank; i++) s.dim[i] = 1;
    vec_out(v, ry_reshape(G, mean, s.rank, s.dim));
    vec_out(v, ry_reshape(G, ry_rsqrt(G, ry_add(G, var, t_num(v, eps))), s.rank, s.dim));
}
static void local_response(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int64_t n = t_int(v, 0, "size", 1);
    (void)p;
    ry_tensor sq = vec_pad_axis(v, ry_square(G, x), 1, n / 2, (n - 1) / 2, 0);
    ry_tensor mean = ry_mean(G, vec_windows(v, sq, 1, n, 1, 1), RY_AXIS(2), false);
    ry_tensor base = ry_add(G, ry_mul(G, mean, t_num(v, t_real(v, 1, "alpha", 1e-4))), t_num(v, t_real(v, 3, "k", 1)));
    vec_out(v, ry_div(G, x, ry_pow(G, base, t_num(v, t_real(v, 2, "beta", 0.75)))));
}
static void normalize(vec *v, const char *p) {
    ry_tensor x = t_self(v), n = vec_p_norm(v, x, t_real(v, 0, "p", 2), RY_AXIS((int)t_int(v, 1, "dim", 1)), true);
    (void)p;
    vec_out(v, ry_div(G, x, ry_clamp_min(G, n, t_num(v, t_real(v, 2, "eps", 1e-12)))));
}
static void cosine_similarity(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "x2"), eps = t_num(v, t_real(v, 2, "eps", 1e-8));
    (void)p;
    ry_axes axis = vec_rank(v, a) > 1 ? RY_AXIS((int)t_int(v, 1, "dim", 1)) : 0;
    int64_t full[R];
    for (int i = 0; i < vec_rank(v, a); i++) full[i] = vec_dim(v, a, i) == 1 ? vec_dim(v, b, i) : vec_dim(v, a, i);
    if (vec_rank(v, a) == vec_rank(v, b))
        a = ry_expand(G, a, vec_rank(v, a), full), b = ry_expand(G, b, vec_rank(v, b), full);
    ry_tensor na = ry_clamp_min(G, ry_norm(G, a, axis, true), eps),
              nb = ry_clamp_min(G, ry_norm(G, b, axis, true), eps);
    ry_tensor y = ry_sum(G, ry_mul(G, ry_div(G, a, na), ry_div(G, b, nb)), axis, false);
    vec_out(v, y);
}

/* ---------------------------------------------------------------- products and convolutions */

static void linear(vec *v, const char *p) {
    ry_tensor x = t_self(v), w = t_tensor(v, 0, "weight"), b = t_arg(v, 1, "bias") ? t_tensor(v, 1, "bias") : RY_NULL;
    (void)p;
    bool row = vec_rank(v, x) == 1, thin = vec_rank(v, w) == 1;
    if (row) x = vec_unsqueeze(v, x, 0);
    if (thin) w = vec_unsqueeze(v, w, 0);
    ry_tensor y = thin && !ry_is_null(b) ? ry_add(G, ry_linear(G, x, w, RY_NULL), b) : ry_linear(G, x, w, b);
    if (thin) y = vec_squeeze(v, y, -1);
    vec_out(v, row ? vec_squeeze(v, y, 0) : y);
}
static void bilinear(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "input2"), w = t_tensor(v, 1, "weight");
    (void)p;
    bool row = vec_rank(v, a) == 1;
    ry_tensor y = vec_einsum(v, row ? "i,oij,j->o" : "...i,oij,...j->...o", 3, (ry_tensor[]){a, w, b});
    vec_out(v, t_arg(v, 2, "bias") ? ry_add(G, y, t_tensor(v, 2, "bias")) : y);
}
static void two(vec *v, int pos, const char *name, int k, int64_t otherwise,
                int64_t out[2]) { /* the last of k; [0] unused for k = 1 */
    int64_t d[3];
    int n = t_ints(v, pos, name, d, 3);
    for (int i = 0; i < k; i++) out[2 - k + i] = n < 0 ? otherwise : d[n == 1 ? 0 : i];
}
static void conv(vec *v, const char *p) { /* p: "1", "2" dims; "t": transposed */
    ry_tensor x = t_self(v), w = t_tensor(v, 0, "weight"), b = t_arg(v, 1, "bias") ? t_tensor(v, 1, "bias") : RY_NULL;
    int k = p[0] - '0';
    bool turned = p[1] == 't', lone = vec_rank(v, x) == k + 1;
    ry_conv2d_options o = {.stride = {1, 1}, .dilation = {1, 1}};
    int64_t more[2] = {0, 0};
    const char *mode = t_text(v, 3, "padding", "");
    two(v, 2, "stride", k, 1, o.stride);
    two(v, turned ? 6 : 4, "dilation", k, 1, o.dilation);
    if (!*mode) two(v, 3, "padding", k, 0, o.pad);
    if (turned) two(v, 4, "output_padding", k, 0, more);
    o.groups = t_int(v, 5, "groups", 1);
    if (lone) x = vec_unsqueeze(v, x, 0);
    if (k == 1) x = vec_unsqueeze(v, x, 2), w = vec_unsqueeze(v, w, 2);
    if (!strcmp(mode, "same"))
        for (int i = 2 - k; i < 2; i++) {
            int64_t all = o.dilation[i] * (vec_dim(v, w, 2 + i) - 1);
            x = vec_pad_axis(v, x, 2 + i, all / 2, all - all / 2, 0);
        }
    ry_tensor y = turned ? vec_conv_transpose2d(v, x, w, b, &o, more) : vec_conv2d(v, x, w, b, &o);
    if (k == 1) y = vec_squeeze(v, y, 2);
    vec_out(v, lone ? vec_squeeze(v, y, 0) : y);
}
static bool read_pool(vec *v, vec_pool *q, int k, bool max) {
    int64_t size[3] = {0}, stride[3], pad[3], dil[3];
    *q = (vec_pool){.k = k};
    int n = t_ints(v, 0, "kernel_size", size, 3), m = t_ints(v, 1, "stride", stride, 3),
        a = t_ints(v, 2, "padding", pad, 3);
    int b = max ? t_ints(v, 3, "dilation", dil, 3) : -1;
    if (n < 1) return false;
    for (int i = 0; i < k; i++) {
        q->size[i] = size[n == 1 ? 0 : i];
        q->stride[i] = m < 1 ? q->size[i] : stride[m == 1 ? 0 : i];
        q->before[i] = q->after[i] = a < 1 ? 0 : pad[a == 1 ? 0 : i];
        q->dilation[i] = b < 1 ? 1 : dil[b == 1 ? 0 : i];
    }
    q->ceil_mode = t_bool(v, max ? 4 : 3, "ceil_mode", false);
    q->count_pad = t_bool(v, 4, "count_include_pad", true);
    q->divisor = t_real(v, 5, "divisor_override", 0);
    return true;
}
/* The row where it says what PyTorch says, else windows. */
static void pool(vec *v, const char *p) { /* p: 'm' or 'a', then dims */
    vec_pool q;
    int k = p[1] - '0';
    bool max = p[0] == 'm', places = max && t_bool(v, -1, "return_indices", false), plain = k == 2 && q.divisor == 0;
    ry_tensor x = t_self(v), at = RY_NULL;
    if (!read_pool(v, &q, k, max)) {
        vec_refuse(v, "no kernel size");
        return;
    }
    plain = k == 2 && q.divisor == 0 && !places && vec_rank(v, x) == 4;
    for (int i = 0; i < k; i++) plain = plain && q.dilation[i] == 1;
    if (plain) {
        ry_pool2d_options o = {.size = {q.size[0], q.size[1]},
                               .stride = {q.stride[0], q.stride[1]},
                               .pad = {q.before[0], q.before[1]},
                               .ceil_mode = q.ceil_mode,
                               .count_pad = q.count_pad};
        vec_out(v, max ? ry_max_pool2d(G, x, &o) : ry_avg_pool2d(G, x, &o));
        return;
    }
    vec_out(v, max ? vec_pool_max(v, x, &q, places ? &at : NULL) : vec_pool_avg(v, x, &q));
    if (places) vec_out(v, at);
}
static void adaptive(vec *v, const char *p) { /* windows from floor(i n / out) to ceil((i + 1) n / out) */
    int k = p[1] - '0';
    int64_t d[3];
    int n = t_ints(v, 0, "output_size", d, 3);
    ry_tensor x = t_self(v);
    int r = vec_rank(v, x);
    if (p[0] == 'm' && t_bool(v, 1, "return_indices", false)) {
        vec_refuse(v, "places of adaptive windows");
        return;
    }
    for (int i = 0; i < k; i++) {
        int axis = r - k + i;
        int64_t in = vec_dim(v, x, axis), out = d[n == 1 ? 0 : i];
        ry_tensor part[64];
        if (out == INT64_MIN || out == in) continue;
        if (out > 64 || out < 1 || in < 1) {
            vec_refuse(v, "%lld windows", (long long)out);
            return;
        }
        for (int64_t j = 0; j < out; j++) {
            int64_t a = j * in / out, b = ((j + 1) * in + out - 1) / out;
            ry_tensor w = vec_part(v, x, axis, a, b - a);
            part[j] = p[0] == 'm' ? ry_amax(G, w, RY_AXIS(axis), true) : ry_mean(G, w, RY_AXIS(axis), true);
        }
        while (out > RY_MAX_SRC) {
            part[0] = ry_concat(G, RY_MAX_SRC, part, axis);
            memmove(part + 1, part + RY_MAX_SRC, (size_t)(out - RY_MAX_SRC) * sizeof *part);
            out -= RY_MAX_SRC - 1;
        }
        x = ry_concat(G, (size_t)out, part, axis);
    }
    vec_out(v, x);
}
static void unfold(vec *v, const char *p) { /* im2col: [N,C,H,W] -> [N, C kh kw, L] */
    ry_tensor x = t_self(v);
    int64_t size[2], dil[2], pad[2], stride[2];
    (void)p;
    two(v, 0, "kernel_size", 2, 1, size), two(v, 1, "dilation", 2, 1, dil), two(v, 2, "padding", 2, 0, pad),
        two(v, 3, "stride", 2, 1, stride);
    bool lone = vec_rank(v, x) == 3;
    if (lone) x = vec_unsqueeze(v, x, 0);
    for (int i = 0; i < 2; i++) x = vec_pad_axis(v, x, 2 + i, pad[i], pad[i], 0);
    x = vec_windows(v, vec_windows(v, x, 3, size[1], stride[1], dil[1]), 2, size[0], stride[0],
                    dil[0]); /* [N,C,oh,kh,ow,kw] */
    ry_spec s = *ry_spec_of(G, x);
    x = ry_reshape(G, ry_permute(G, x, (int[]){0, 1, 3, 5, 2, 4}), 3,
                   (int64_t[]){s.dim[0], s.dim[1] * size[0] * size[1], s.dim[2] * s.dim[4]});
    vec_out(v, lone ? vec_squeeze(v, x, 0) : x);
}
static void nearest(vec *v, const char *p) { /* upsample_nearest, interpolate(mode nearest) */
    ry_tensor x = t_self(v);
    int64_t d[3];
    int n = t_ints(v, 0, "size", d, 3), r = vec_rank(v, x);
    (void)p;
    if (n < 0 || strcmp(t_text(v, -1, "mode", "nearest"), "nearest")) {
        vec_refuse(v, "interpolation other than nearest to a size");
        return;
    }
    for (int axis = 2; axis < r; axis++) {
        int64_t in = vec_dim(v, x, axis), out = d[n == 1 ? 0 : axis - 2], idx[4096];
        if (out > 4096) out = 4096;
        for (int64_t i = 0; i < out; i++) idx[i] = i * in / out;
        x = ry_take(G, x, vec_ints(v, 1, &out, idx), axis);
    }
    vec_out(v, x);
}
/* q, k, v as [.., T, D] and the weights beside the result, as PyTorch 1.13's private function gives them. */
static void attention(vec *v, const char *p) {
    ry_tensor q = t_self(v), k = t_tensor(v, 0, "key"), w = t_tensor(v, 1, "value");
    double drop = t_real(v, -1, "dropout_p", t_real(v, 3, "dropout_p", 0)), scale = t_real(v, -1, "scale", 0);
    bool causal = t_bool(v, -1, "is_causal", false), private_form = *p == '_';
    ry_spec s = *ry_spec_of(G, q), ks = *ry_spec_of(G, k), ws = *ry_spec_of(G, w);
    if (drop > 0) {
        vec_refuse(v, "another random stream");
        return;
    }
    int64_t lead = 1, T = s.dim[s.rank - 2], S = ks.dim[ks.rank - 2];
    for (int i = 0; i < s.rank - 2; i++) lead *= s.dim[i];
    /* PyTorch's causal mask counts from the first key, ours from the last: the same where T = S */
    ry_attention_options o = {.scale = scale, .causal = causal && T == S};
    if (causal && T != S) {
        ry_tensor r = vec_unsqueeze(v, vec_iota(v, T, 0, 1), 1), c = vec_iota(v, S, 0, 1);
        o.mask = vec_unsqueeze(
            v, vec_unsqueeze(v, ry_select(G, ry_le(G, c, r), t_num(v, 0), t_num(v, -(double)INFINITY)), 0), 0);
    }
    if (t_arg(v, 2, "attn_mask")) {
        ry_tensor m = t_tensor(v, 2, "attn_mask");
        if (vec_dtype(v, m) == RY_BOOL) m = ry_select(G, m, t_num(v, 0), t_num(v, -(double)INFINITY));
        int64_t full[R];
        for (int i = 0; i < s.rank; i++) full[i] = i < s.rank - 2 ? s.dim[i] : i == s.rank - 2 ? T : S;
        o.mask = ry_reshape(G, ry_expand(G, m, s.rank, full), 4, (int64_t[]){lead, 1, T, S});
    }
    ry_tensor y = ry_attention(G, ry_reshape(G, q, 4, (int64_t[]){lead, T, 1, s.dim[s.rank - 1]}),
                               ry_reshape(G, k, 4, (int64_t[]){lead, S, 1, ks.dim[ks.rank - 1]}),
                               ry_reshape(G, w, 4, (int64_t[]){lead, S, 1, ws.dim[ws.rank - 1]}), &o);
    int64_t dim[R];
    memcpy(dim, s.dim, sizeof dim);
    dim[s.rank - 1] = ws.dim[ws.rank - 1];
    vec_out(v, ry_reshape(G, y, s.rank, dim));
    if (!private_form) return;
    /* the weights, composed */
    ry_tensor scores =
        ry_mul(G, ry_matmul(G, q, ry_transpose(G, k, -2, -1)), t_num(v, 1 / sqrt((double)s.dim[s.rank - 1])));
    if (causal) {
        ry_tensor r = vec_unsqueeze(v, vec_iota(v, T, 0, 1), 1), c = vec_iota(v, S, 0, 1);
        scores = ry_select(G, ry_le(G, c, r), scores, t_num(v, -(double)INFINITY));
    }
    vec_out(
        v, ry_softmax(G, scores, -1)); /* also where need_attn_weights is false: that version gives them all the same */
}

const vec_row torch_nn[] = {{"relu", one, "relu"},
                            {"relu6", one, "relu6"},
                            {"silu", one, "silu"},
                            {"mish", one, "mish"},
                            {"hardsigmoid", one, "hardsigmoid"},
                            {"hardswish", one, "hardswish"},
                            {"logsigmoid", one, "log_sigmoid"},
                            {"softsign", one, "softsign"},
                            {"selu", one, "selu"},
                            {"sigmoid", one, "sigmoid"},
                            {"tanh", one, "tanh"},
                            {"tanhshrink", shrink, "t"},
                            {"softshrink", shrink, "s"},
                            {"hardshrink", shrink, "h"},
                            {"gelu", gelu, NULL},
                            {"leaky_relu", slope, "leaky_relu 0.01 negative_slope"},
                            {"celu", slope, "celu 1 alpha"},
                            {"elu", elu, NULL},
                            {"prelu", prelu, NULL},
                            {"rrelu", rrelu, NULL},
                            {"hardtanh", hardtanh, NULL},
                            {"softplus", softplus, NULL},
                            {"threshold", threshold, NULL},
                            {"glu", glu, NULL},
                            {"softmax", soft, "s"},
                            {"log_softmax", soft, "l"},
                            {"softmin", soft, "n"},
                            {"dropout", dropout, NULL},
                            {"dropout2d", dropout, NULL},
                            {"dropout3d", dropout, NULL},
                            {"feature_alpha_dropout", dropout, NULL},
                            {"batch_norm", batch_norm, "b"},
                            {"instance_norm", batch_norm, "i"},
                            {"group_norm", group_norm, NULL},
                            {"layer_norm", layer_norm, "l"},
                            {"native_layer_norm", layer_norm, "n"},
                            {"rms_norm", layer_norm, "r"},
                            {"local_response_norm", local_response, NULL},
                            {"normalize", normalize, NULL},
                            {"cosine_similarity", cosine_similarity, NULL},
                            {"linear", linear, NULL},
                            {"bilinear", bilinear, NULL},
                            {"conv1d", conv, "1"},
                            {"conv2d", conv, "2"},
                            {"conv_transpose1d", conv, "1t"},
                            {"conv_transpose2d", conv, "2t"},
                            {"max_pool1d", pool, "m1"},
                            {"max_pool2d", pool, "m2"},
                            {"max_pool3d", pool, "m3"},
                            {"avg_pool1d", pool, "a1"},
                            {"avg_pool2d", pool, "a2"},
                            {"avg_pool3d", pool, "a3"},
                            {"adaptive_avg_pool1d", adaptive, "a1"},
                            {"adaptive_avg_pool2d", adaptive, "a2"},
                            {"adaptive_avg_pool3d", adaptive, "a3"},
                            {"adaptive_max_pool1d", adaptive, "m1"},
                            {"adaptive_max_pool2d", adaptive, "m2"},
                            {"nn.unfold", unfold, NULL},
                            {"upsample_nearest", nearest, NULL},
                            {"interpolate.nearest", nearest, NULL},
                            {"_scaled_dot_product_attention", attention, "_"},
                            {"scaled_dot_product_attention", attention, ""},
                            {NULL, NULL, NULL}};
