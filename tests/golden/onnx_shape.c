/* onnx_shape.c - builders of ONNX's operators that move or look up elements. */
#include "core/op.h"
#include "onnx.h"
#include <math.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static void reshape(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t d[R];
    int n = o_whole(v, 1, d, R);
    (void)p;
    for (int i = 0; i < n; i++)
        if (d[i] == 0 && !a_int(v, "allowzero", 0)) d[i] = vec_dim(v, x, i);
    vec_out(v, ry_reshape(G, x, n, d));
}
static void transpose(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t d[R];
    int perm[R], r = vec_rank(v, x), n = a_ints(v, "perm", d, R);
    (void)p;
    for (int i = 0; i < r; i++) perm[i] = n < 0 ? r - 1 - i : (int)d[i];
    vec_out(v, r ? ry_permute(G, x, perm) : x);
}
static void flatten(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int axis = (int)a_int(v, "axis", 1), r = vec_rank(v, x);
    int64_t a = 1, b = 1;
    (void)p;
    if (axis < 0) axis += r;
    for (int i = 0; i < r; i++) *(i < axis ? &a : &b) *= vec_dim(v, x, i);
    vec_out(v, ry_reshape(G, x, 2, (int64_t[]){a, b}));
}
static void squeeze(vec *v, const char *p) { /* p: "s" or "u" */
    ry_tensor x = o_in(v, 0);
    int64_t d[R], dim[2 * R];
    int n = o_whole(v, 1, d, R), r = vec_rank(v, x), k = 0, from = 0;
    if (n < 0) n = a_ints(v, "axes", d, R);
    int total = *p == 'u' ? r + n : r;
    bool hit[2 * R] = {false};
    for (int i = 0; i < n; i++) hit[d[i] < 0 ? d[i] + total : d[i]] = true;
    for (int i = 0; i < total; i++) {
        if (*p == 'u')
            dim[k++] = hit[i] ? 1 : vec_dim(v, x, from++);
        else if (!(n < 0 ? vec_dim(v, x, i) == 1 : hit[i]))
            dim[k++] = vec_dim(v, x, i);
    }
    vec_out(v, ry_reshape(G, x, k, dim));
}
static void expand(vec *v, const char *p) { /* both ways */
    ry_tensor x = o_in(v, 0);
    int64_t d[R], dim[R];
    int n = o_whole(v, 1, d, R), r = vec_rank(v, x), most = n > r ? n : r;
    (void)p;
    for (int i = 0; i < most; i++) {
        int64_t a = i < most - n ? 1 : d[i - (most - n)], b = i < most - r ? 1 : vec_dim(v, x, i - (most - r));
        dim[i] = b == 1 ? a : b;
    }
    vec_out(v, ry_expand(G, x, most, dim));
}
static void tile(vec *v, const char *p) {
    int64_t d[R];
    (void)p;
    o_whole(v, 1, d, R);
    vec_out(v, ry_repeat(G, o_in(v, 0), d));
}
static void concat(vec *v, const char *p) {
    ry_tensor x[24];
    (void)p;
    for (int i = 0; i < v->n_src; i++) x[i] = o_in(v, i);
    vec_out(v, ry_concat(G, (size_t)v->n_src, x, (int)a_int(v, "axis", 0)));
}
static void split(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t d[32], at = 0;
    int axis = (int)a_int(v, "axis", 0), n = o_whole(v, 1, d, 32);
    (void)p;
    if (n < 0) n = a_ints(v, "split", d, 32);
    if (n < 0) {
        n = (int)a_int(v, "num_outputs", v->want);
        int64_t size = vec_dim(v, x, axis), each = (size + n - 1) / n;
        for (int i = 0; i < n; i++) d[i] = size - i * each < each ? size - i * each : each;
    }
    for (int i = 0; i < n; i++) vec_out(v, vec_part(v, x, axis, at, d[i])), at += d[i];
}
static void slice(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t a[R], b[R], axes[R], steps[R];
    int n = o_whole(v, 1, a, R), m = o_whole(v, 3, axes, R), s = o_whole(v, 4, steps, R);
    (void)p;
    o_whole(v, 2, b, R);
    for (int i = 0; i < n; i++) {
        int axis = o_axis(v, x, m < 0 ? i : axes[i]);
        int64_t step = s < 0 ? 1 : steps[i], size = vec_dim(v, x, axis), stop = b[i];
        if (step < 0 && stop < -size) stop = -size - 1; /* before the first */
        x = ry_slice(G, x, axis, a[i], stop, step);
    }
    vec_out(v, x);
}
static void pad(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t d[2 * R], axes[R];
    double value = 0;
    int n = o_whole(v, 1, d, 2 * R) / 2, m = o_whole(v, 3, axes, R);
    const char *mode = a_text(v, "mode", "constant");
    (void)p;
    o_values(v, 2, &value, 1);
    for (int i = 0; i < n; i++) {
        int axis = o_axis(v, x, m < 0 ? i : axes[i]);
        int64_t b = d[i], a = d[n + i];
        if (b < 0) x = vec_part(v, x, axis, -b, vec_dim(v, x, axis) + b), b = 0;
        if (a < 0) x = vec_part(v, x, axis, 0, vec_dim(v, x, axis) + a), a = 0;
        if (!strcmp(mode, "constant"))
            x = vec_pad_axis(v, x, axis, b, a, value);
        else if (a || b)
            x = vec_index_pad(v, x, axis, b, a, !strcmp(mode, "edge") ? "replicate" : mode);
    }
    vec_out(v, x);
}
static void trilu(vec *v, const char *p) {
    int64_t k = 0;
    (void)p;
    o_whole(v, 1, &k, 1);
    vec_out(v, vec_tri(v, o_in(v, 0), k, a_int(v, "upper", 1) != 0));
}
static void eye(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t to = a_int(v, "dtype", 0);
    ry_dtype t = to ? o_dtype(to) : vec_dtype(v, x);
    (void)p;
    if (t == RY_NONE) t = RY_I64;
    ry_tensor r = vec_unsqueeze(v, vec_iota(v, vec_dim(v, x, 0), (double)a_int(v, "k", 0), 1), 1),
              c = vec_iota(v, vec_dim(v, x, 1), 0, 1);
    vec_out(v, ry_cast(G, ry_eq(G, r, c), t));
}
static void shape(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    int64_t r = vec_rank(v, x), a = a_int(v, "start", 0), b = a_int(v, "end", r), d[R];
    (void)p;
    a = a < 0 ? a + r : a, b = b < 0 ? b + r : b;
    a = a < 0 ? 0 : a, b = b > r ? r : b;
    int64_t n = b > a ? b - a : 0;
    for (int64_t i = 0; i < n; i++) d[i] = vec_dim(v, x, (int)(a + i));
    vec_out(v, vec_ints(v, 1, &n, d));
}
static void size(vec *v, const char *p) {
    int64_t n = vec_numel(v, o_in(v, 0));
    (void)p;
    vec_out(v, vec_ints(v, 0, NULL, &n));
}
static void constant(vec *v, const char *p) { /* Constant, ConstantOfShape: the value is an attribute */
    const ry_json *j = ry_json_find(ry_json_find(v->kwargs, "value"), "tensor"), *first = j;
    int64_t d[R];
    double x = 0;
    int n = o_whole(v, 0, d, R);
    while (ry_json_kind_of(first) == RY_JSON_ARRAY) first = ry_json_at(first, 0);
    (void)ry_json_as_real(first, &x);
    if (*p == 'c')
        vec_refuse(v, "nothing is computed");
    else
        vec_out(v, ry_expand(G, ry_fill(G, &(ry_spec){.dtype = RY_F32}, x), n < 0 ? 0 : n, d));
}
static void range(vec *v, const char *p) {
    double a[3];
    (void)p;
    for (int i = 0; i < 3; i++) o_values(v, i, &a[i], 1);
    int64_t n = (int64_t)ceil((a[1] - a[0]) / a[2]);
    vec_out(v, ry_cast(G, ry_iota(G, &RY_SHAPE(RY_F32, n < 0 ? 0 : n), 0, a[0], a[2]), vec_dtype(v, o_in(v, 0))));
}
static void one_hot(vec *v, const char *p) {
    double depth = 0;
    ry_tensor idx = vec_cast(v, o_in(v, 0), RY_I32), values = o_in(v, 2);
    (void)p;
    o_values(v, 1, &depth, 1);
    int axis = (int)a_int(v, "axis", -1), r = vec_rank(v, idx);
    idx = vec_wrap(v, idx, (int64_t)depth);
    ry_tensor hit = ry_eq(G, vec_unsqueeze(v, idx, -1), vec_iota(v, (int64_t)depth, 0, 1));
    ry_tensor y = ry_select(G, hit, vec_pick(v, values, 0, 1), vec_pick(v, values, 0, 0));
    vec_out(v, vec_move(v, y, -1, axis < 0 ? axis + r + 1 : axis));
}
static void gather(vec *v, const char *p) { /* p: "e" elements */
    ry_tensor x = o_in(v, 0), idx = o_in(v, 1);
    int axis = o_axis(v, x, a_int(v, "axis", 0));
    idx = vec_wrap(v, idx, vec_dim(v, x, axis));
    vec_out(v, *p == 'e' ? ry_gather(G, x, idx, axis) : ry_take(G, x, idx, axis));
}
/* idx [.., k] names places in the leading k axes (behind `batch` shared ones): as one index into them flattened. */
static ry_tensor place(vec *v, ry_tensor x, ry_tensor idx, int batch) {
    int k = (int)vec_dim(v, idx, -1);
    ry_tensor at = RY_NULL;
    for (int i = 0; i < k; i++) {
        int64_t n = vec_dim(v, x, batch + i);
        ry_tensor one = vec_wrap(v, vec_cast(v, vec_pick(v, idx, -1, i), RY_I32), n);
        at = i ? ry_add(G, ry_mul(G, at, vec_cast(v, vec_number(v, (double)n, true), RY_I32)), one) : one;
    }
    return at;
}
static void gather_nd(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), idx = o_in(v, 1), at;
    int b = (int)a_int(v, "batch_dims", 0), k = (int)vec_dim(v, idx, -1), r = vec_rank(v, x);
    int64_t dim[R], lead = 1, shared = 1, rows = 1, out[2 * R];
    int n = 0;
    (void)p;
    at = place(v, x, idx, b);
    for (int i = 0; i < b; i++) shared *= vec_dim(v, x, i);
    for (int i = 0; i < k; i++) lead *= vec_dim(v, x, b + i);
    for (int i = 0; i < vec_rank(v, at); i++) out[n++] = vec_dim(v, at, i), rows *= i >= b ? vec_dim(v, at, i) : 1;
    int64_t tail = 1;
    for (int i = b + k; i < r; i++) out[n++] = vec_dim(v, x, i), tail *= vec_dim(v, x, i);
    dim[0] = shared * lead, dim[1] = tail;
    if (b) { /* each of the shared ones has a table of its own */
        ry_tensor first = ry_iota(G, &RY_SHAPE(RY_I32, shared, 1), 0, 0, (double)lead);
        at = ry_add(G, ry_reshape(G, at, 2, (int64_t[]){shared, rows}), first);
    }
    vec_out(v, ry_reshape(G, ry_take(G, ry_reshape(G, x, 2, dim), vec_flat(v, at), 0), n, out));
}
static void scatter_elements(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), idx = o_in(v, 1), src = o_in(v, 2);
    const char *how = a_text(v, "reduction", "none");
    int axis = o_axis(v, x, a_int(v, "axis", 0));
    (void)p;
    idx = vec_wrap(v, idx, vec_dim(v, x, axis));
    if (!strcmp(how, "none") || !strcmp(how, "add"))
        vec_out(v, ry_scatter(G, x, idx, src, axis, *how == 'a'));
    else
        vec_out(v, vec_scatter_reduce(v, x, axis, idx, src, how, true));
}
static void scatter_nd(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), idx = o_in(v, 1), src = o_in(v, 2);
    const char *how = a_text(v, "reduction", "none");
    int k = (int)vec_dim(v, idx, -1), r = vec_rank(v, x);
    int64_t lead = 1, tail = 1;
    ry_spec s = *ry_spec_of(G, x);
    (void)p;
    for (int i = 0; i < r; i++) *(i < k ? &lead : &tail) *= s.dim[i];
    ry_tensor at = vec_flat(v, place(v, x, idx, 0));
    int64_t rows = vec_numel(v, at);
    x = ry_reshape(G, x, 2, (int64_t[]){lead, tail}), src = ry_reshape(G, src, 2, (int64_t[]){rows, tail});
    ry_tensor wide = ry_expand(G, vec_unsqueeze(v, at, 1), 2, (int64_t[]){rows, tail});
    ry_tensor y = !strcmp(how, "none") || !strcmp(how, "add") ? ry_scatter(G, x, wide, src, 0, *how == 'a')
                                                              : vec_scatter_reduce(v, x, 0, wide, src, how, true);
    vec_out(v, ry_reshape(G, y, r, s.dim));
}
static void space(vec *v, const char *p) { /* "s" SpaceToDepth, "d" DepthToSpace */
    ry_tensor x = o_in(v, 0);
    int64_t b = a_int(v, "blocksize", 1), n = vec_dim(v, x, 0), c = vec_dim(v, x, 1), h = vec_dim(v, x, 2),
            w = vec_dim(v, x, 3);
    if (*p == 's') {
        x = ry_permute(G, ry_reshape(G, x, 6, (int64_t[]){n, c, h / b, b, w / b, b}), (int[]){0, 3, 5, 1, 2, 4});
        vec_out(v, ry_reshape(G, x, 4, (int64_t[]){n, c * b * b, h / b, w / b}));
    } else {
        bool crd = !strcmp(a_text(v, "mode", "DCR"), "CRD");
        x = crd ? ry_permute(G, ry_reshape(G, x, 6, (int64_t[]){n, c / (b * b), b, b, h, w}), (int[]){0, 1, 4, 2, 5, 3})
                : ry_permute(G, ry_reshape(G, x, 6, (int64_t[]){n, b, b, c / (b * b), h, w}),
                             (int[]){0, 3, 4, 1, 5, 2});
        vec_out(v, ry_reshape(G, x, 4, (int64_t[]){n, c / (b * b), h * b, w * b}));
    }
}
static void reverse_sequence(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0);
    double len[64];
    int b = (int)a_int(v, "batch_axis", 1), t = (int)a_int(v, "time_axis", 0), n = o_values(v, 1, len, 64);
    ry_tensor rows[64];
    (void)p;
    for (int i = 0; i < n; i++) {
        ry_tensor one = vec_part(v, x, b, i, 1);
        int64_t k = (int64_t)len[i], all = vec_dim(v, x, t);
        rows[i] = ry_concat(
            G, 2, (ry_tensor[]){vec_flip(v, vec_part(v, one, t, 0, k), t), vec_part(v, one, t, k, all - k)}, t);
    }
    vec_out(v, n > 0 && n <= RY_MAX_SRC ? ry_concat(G, (size_t)n, rows, b) : vec_refuse(v, "%d sequences", n));
}
/* update [..,n,..] into past_cache along axis from write_indices[batch] on */
static void tensor_scatter(vec *v, const char *p) {
    ry_tensor x = o_in(v, 0), u = o_in(v, 1);
    int axis = o_axis(v, x, a_int(v, "axis", -2));
    int64_t n = vec_dim(v, u, axis), size_ = vec_dim(v, x, axis);
    (void)p;
    ry_tensor at = vec_iota(v, n, 0, 1),
              first = o_has(v, 2) ? vec_cast(v, o_in(v, 2), RY_I32) : ry_cast(G, o_num(v, 0), RY_I32);
    at = ry_add(G, vec_rank(v, first) ? vec_unsqueeze(v, first, 1) : first, at); /* [B, n] */
    if (!strcmp(a_text(v, "mode", "linear"), "circular"))
        at = ry_mod(G, at, vec_cast(v, vec_number(v, (double)size_, true), RY_I32));
    ry_spec s = *ry_spec_of(G, u);
    int64_t dim[R];
    for (int i = 0; i < s.rank; i++) dim[i] = i == 0 ? vec_dim(v, at, 0) : i == axis ? n : 1;
    vec_out(v, ry_scatter(G, x, ry_expand(G, ry_reshape(G, at, s.rank, dim), s.rank, s.dim), u, axis, false));
}
static void refuse(vec *v, const char *p) { vec_refuse(v, "%s", p); }

const vec_row onnx_shape[] = {{"Reshape", reshape, NULL},
                              {"Transpose", transpose, NULL},
                              {"Flatten", flatten, NULL},
                              {"Squeeze", squeeze, "s"},
                              {"Unsqueeze", squeeze, "u"},
                              {"Expand", expand, NULL},
                              {"Tile", tile, NULL},
                              {"Concat", concat, NULL},
                              {"Split", split, NULL},
                              {"Slice", slice, NULL},
                              {"Pad", pad, NULL},
                              {"Trilu", trilu, NULL},
                              {"EyeLike", eye, NULL},
                              {"Shape", shape, NULL},
                              {"Size", size, NULL},
                              {"Constant", constant, "c"},
                              {"ConstantOfShape", constant, "s"},
                              {"Range", range, NULL},
                              {"OneHot", one_hot, NULL},
                              {"Gather", gather, "g"},
                              {"GatherElements", gather, "e"},
                              {"GatherND", gather_nd, NULL},
                              {"ScatterElements", scatter_elements, NULL},
                              {"Scatter", scatter_elements, NULL},
                              {"ScatterND", scatter_nd, NULL},
                              {"SpaceToDepth", space, "s"},
                              {"DepthToSpace", space, "d"},
                              {"ReverseSequence", reverse_sequence, NULL},
                              {"TensorScatter", tensor_scatter, NULL},
                              {"NonZero", refuse, "the shape depends on values"},
                              {"Compress", refuse, "the shape depends on values"},
                              {"Unique", refuse, "the shape depends on values"},
                              {NULL, NULL, NULL}};
