/* torch_reduce.c - builders of PyTorch's reductions, running folds and products. */
#include "torch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static bool keep(vec *v) { return t_bool(v, 1, "keepdim", false); }

static ry_tensor fold(vec *v, const char *row, ry_tensor x, ry_axes axes, bool keepdim) {
    static const struct {
        const char *name;
        ry_tensor (*fn)(ry_graph *, ry_tensor, ry_axes, bool);
    } rows[] = {{"sum", ry_sum}, {"mean", ry_mean}, {"amax", ry_amax},          {"amin", ry_amin},
                {"any", ry_any}, {"all", ry_all},   {"logsumexp", ry_logsumexp}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, row)) return rows[i].fn(G, x, axes, keepdim);
    return vec_refuse(v, "no reduction %s", row);
}
static void reduce(vec *v, const char *p) {
    ry_axes axes = t_axes(v, 0, "dim", NULL);
    ry_tensor x = t_self(v);
    if (!strcmp(p, "mean") && vec_dtype(v, x) != RY_F32) x = vec_cast(v, x, RY_F32);
    vec_out(v, fold(v, p, x, axes, keep(v)));
}
static void without_nan(vec *v, const char *p) { /* nansum, nanmean */
    ry_tensor x = t_self(v), nan = ry_isnan(G, x);
    ry_axes axes = t_axes(v, 0, "dim", NULL);
    ry_tensor s = ry_sum(G, ry_select(G, nan, t_num(v, 0), x), axes, keep(v));
    vec_out(v, *p == 's' ? s : ry_div(G, s, ry_sum(G, vec_cast(v, ry_not(G, nan), RY_F32), axes, keep(v))));
}
static void count_nonzero(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    vec_out(v, ry_sum(G, vec_cast(v, vec_dtype(v, x) == RY_BOOL ? x : ry_ne(G, x, vec_number(v, 0, true)), RY_I32),
                      t_axes(v, 0, "dim", NULL), false));
}
static void aminmax(vec *v, const char *p) {
    ry_axes axes = t_axes(v, -1, "dim", NULL);
    (void)p;
    bool k = t_bool(v, -1, "keepdim", false);
    ry_tensor x = t_self(v);
    if (k && !vec_rank(v, x)) x = vec_unsqueeze(v, x, 0); /* PyTorch gives [1] here */
    vec_out(v, ry_amin(G, x, axes, k));
    vec_out(v, ry_amax(G, x, axes, k));
}
static void argext(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    bool all = !t_arg(v, 0, "dim");
    int axis = all ? 0 : (int)t_int(v, 0, "dim", 0), r = vec_rank(v, x);
    if (all) x = vec_flat(v, x);
    if (!r) axis = 0;
    bool k = keep(v);
    ry_tensor y = *p == 'x' ? ry_argmax(G, x, axis, k && !all) : ry_argmin(G, x, axis, k && !all);
    int64_t one[R];
    for (int i = 0; i < R; i++) one[i] = 1;
    if (!r || all) y = ry_reshape(G, y, all && k ? r : 0, one);
    vec_out(v, y);
}
/* max and min: of everything, of an axis with places, or of two tensors. */
static void extreme(vec *v, const char *p) {
    const ry_json *j = t_arg(v, 0, "dim");
    ry_tensor x = t_self(v);
    bool big = *p == 'x';
    if (t_is_tensor(j)) {
        vec_out(v, big ? ry_max(G, x, t_value(v, j)) : ry_min(G, x, t_value(v, j)));
    } else if (!j) {
        vec_out(v, big ? ry_amax(G, x, 0, false) : ry_amin(G, x, 0, false));
    } else { /* the gradient goes to the place that is reported */
        int r = vec_rank(v, x), axis = (int)t_int(v, 0, "dim", 0);
        bool k = keep(v);
        if (!r) x = vec_unsqueeze(v, x, 0), axis = 0;
        ry_tensor at = big ? ry_argmax(G, x, axis, true) : ry_argmin(G, x, axis, true), y = ry_gather(G, x, at, axis);
        if (!k || !r) y = vec_squeeze(v, y, axis), at = vec_squeeze(v, at, axis);
        vec_out(v, y);
        vec_out(v, at);
    }
}
static void prod(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    if (!t_arg(v, 0, "dim"))
        vec_out(v, vec_prod(v, vec_flat(v, x), 0, false));
    else
        vec_out(v, vec_prod(v, x, (int)t_int(v, 0, "dim", 0), keep(v)));
}
/* Variance with its correction; p: "v" "s" and "vm", "sm" for those that give the mean too. */
static void variance(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    const ry_json *first = ry_json_at(v->args, 0);
    bool flag;
    bool by_flag = first && ry_json_as_bool(first, &flag); /* var(unbiased) */
    ry_axes axes = by_flag ? 0 : t_axes(v, 0, "dim", NULL);
    bool unbiased = by_flag ? flag : t_bool(v, 1, "unbiased", true), k = t_bool(v, 2, "keepdim", false);
    double correction = t_real(v, -1, "correction", unbiased ? 1 : 0);
    ry_tensor mean = ry_mean(G, x, axes, true), n = RY_NULL;
    ry_tensor ss = ry_sum(G, ry_square(G, ry_sub(G, x, mean)), axes, k);
    double count = (double)vec_numel(v, x) / (double)(vec_numel(v, mean) ? vec_numel(v, mean) : 1) - correction;
    n = t_num(v, count > 0 ? count : 0);
    ry_tensor y = ry_div(G, ss, n);
    vec_out(v, *p == 's' ? ry_sqrt(G, y) : y);
    if (p[1]) vec_out(v, ry_mean(G, x, axes, k));
}
static void norm(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    bool vector = *p == 'v';
    double ord = t_real(v, 0, vector ? "ord" : "p", 2);
    const char *text = t_text(v, 0, vector ? "ord" : "p", "fro");
    if (!strcmp(text, "nuc")) {
        vec_refuse(v, "singular values");
        return;
    }
    int64_t d[R];
    int n = t_ints(v, 1, "dim", d, R);
    if (*p == 'm' && n == 2 && t_arg(v, 0, "ord") && ry_json_kind_of(t_arg(v, 0, "ord")) != RY_JSON_STRING) {
        vec_refuse(v, "a matrix norm");
        return;
    }
    vec_out(v, vec_p_norm(v, x, ord, t_axes(v, 1, "dim", NULL), t_bool(v, 2, "keepdim", false)));
}
static void dist(vec *v, const char *p) {
    (void)p;
    vec_out(v, vec_p_norm(v, ry_sub(G, t_self(v), t_tensor(v, 0, "other")), t_real(v, 1, "p", 2), 0, false));
}
static void cdist(vec *v, const char *p) {
    ry_tensor a = vec_unsqueeze(v, t_self(v), -2), b = vec_unsqueeze(v, t_tensor(v, 0, "x2"), -3);
    (void)p;
    vec_out(v, vec_p_norm(v, ry_sub(G, a, b), t_real(v, 1, "p", 2), RY_AXIS(-1), false));
}
static void pairwise(vec *v, const char *p) {
    ry_tensor d = ry_add(G, ry_sub(G, t_self(v), t_tensor(v, 0, "x2")), t_num(v, t_real(v, 2, "eps", 1e-6)));
    (void)p;
    vec_out(v, vec_p_norm(v, d, t_real(v, 1, "p", 2), RY_AXIS(-1), t_bool(v, 3, "keepdim", false)));
}
static void cumsum(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    vec_out(v, ry_cumsum(G, x, vec_rank(v, x) ? (int)t_int(v, 0, "dim", 0) : 0, false, false));
}
static void scan(vec *v, const char *p) {
    vec_out(v, vec_scan(v, t_self(v), (int)t_int(v, 0, "dim", 0), p, !strcmp(p, "mul") ? 1 : -(double)INFINITY));
}
static void diff(vec *v, const char *p) {
    ry_tensor x = t_self(v), parts[3];
    int axis = (int)t_int(v, 1, "dim", -1), k = 0;
    (void)p;
    if (t_int(v, 0, "n", 1) == 0) {
        vec_out(v, x);
        return;
    }
    if (t_arg(v, 2, "prepend")) parts[k++] = t_tensor(v, 2, "prepend");
    parts[k++] = x;
    if (t_arg(v, 3, "append")) parts[k++] = t_tensor(v, 3, "append");
    if (k > 1) {
        for (int i = 0; i < k; i++)
            if (!vec_rank(v, parts[i])) parts[i] = vec_unsqueeze(v, parts[i], 0);
        x = ry_concat(G, (size_t)k, parts, axis);
    }
    for (int64_t i = t_int(v, 0, "n", 1); i > 0 && vec_dim(v, x, axis) > 0; i--) {
        int64_t n = vec_dim(v, x, axis);
        x = ry_sub(G, vec_part(v, x, axis, 1, n - 1), vec_part(v, x, axis, 0, n - 1));
    }
    vec_out(v, x);
}
static void trapezoid(vec *v, const char *p) {
    ry_tensor y = t_self(v), w = RY_NULL;
    int axis = (int)t_int(v, -1, "dim", -1);
    int64_t n = vec_dim(v, y, axis);
    ry_tensor pairs =
        ry_mul(G, ry_add(G, vec_part(v, y, axis, 1, n - 1), vec_part(v, y, axis, 0, n - 1)), t_num(v, 0.5));
    if (t_is_tensor(t_arg(v, 0, "x"))) {
        ry_tensor x = t_tensor(v, 0, "x");
        int at = vec_rank(v, x) == 1 ? 0 : axis;
        w = ry_sub(G, vec_part(v, x, at, 1, vec_dim(v, x, at) - 1), vec_part(v, x, at, 0, vec_dim(v, x, at) - 1));
        int behind = axis < 0 ? -axis - 1 : vec_rank(v, y) - 1 - axis;
        if (vec_rank(v, x) == 1)
            for (int i = 0; i < behind; i++) w = vec_unsqueeze(v, w, -1);
    } else
        w = t_num(v, t_real(v, -1, "dx", 1));
    pairs = ry_mul(G, pairs, w);
    vec_out(v, *p == 'c' ? ry_cumsum(G, pairs, axis, false, false) : ry_sum(G, pairs, RY_AXIS(axis), false));
}
static void logsumexp(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_logsumexp(G, t_self(v), t_axes(v, 0, "dim", NULL), keep(v)));
}

/* ---------------------------------------------------------------- products */

static void matmul(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "other");
    vec_out(v, *p == 'r' ? vec_matmul(v, b, a) : vec_matmul(v, a, b));
}
static void dot(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_sum(G, ry_mul(G, t_self(v), t_tensor(v, 0, "other")), 0, false));
}
static void vecdot(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_sum(G, ry_mul(G, t_self(v), t_tensor(v, 0, "y")), RY_AXIS((int)t_int(v, -1, "dim", -1)), false));
}
static void outer(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_mul(G, vec_unsqueeze(v, t_self(v), 1), t_tensor(v, 0, "vec2")));
}
static void inner(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "other");
    (void)p;
    if (!vec_rank(v, a) || !vec_rank(v, b))
        vec_out(v, ry_mul(G, a, b));
    else { /* [.., K] x [.., K] */
        int ra = vec_rank(v, a), rb = vec_rank(v, b), k = 0;
        int64_t dim[2 * R], n = vec_dim(v, a, -1);
        for (int i = 0; i < ra - 1; i++) dim[k++] = vec_dim(v, a, i);
        for (int i = 0; i < rb - 1; i++) dim[k++] = vec_dim(v, b, i);
        int64_t rows = n ? vec_numel(v, a) / n : 0, cols = n ? vec_numel(v, b) / n : 0;
        ry_tensor y = ry_matmul(G, ry_reshape(G, a, 2, (int64_t[]){rows, n}),
                                ry_transpose(G, ry_reshape(G, b, 2, (int64_t[]){cols, n}), 0, 1));
        vec_out(v, ry_reshape(G, y, k, dim));
    }
}
/* input beta + alpha a b; p: what a b is */
static void addmm(vec *v, const char *p) {
    ry_tensor a = t_tensor(v, 0, "mat1"), b = t_tensor(v, 1, "mat2");
    ry_tensor y = *p == 'r' ? ry_mul(G, vec_unsqueeze(v, a, 1), b) : vec_matmul(v, a, b);
    if (*p == 's') y = ry_sum(G, y, RY_AXIS(0), false); /* addbmm */
    double alpha = t_real(v, -1, "alpha", 1), beta = t_real(v, -1, "beta", 1);
    if (alpha != 1) y = ry_mul(G, y, t_num(v, alpha));
    ry_tensor c = t_self(v);
    if (beta != 1) c = ry_mul(G, c, t_num(v, beta));
    vec_out(v, beta == 0 ? y : ry_add(G, c, y));
}
static void multi_dot(vec *v, const char *p) {
    ry_tensor x[32];
    int n = t_tensors(v, v->self, x, 32);
    (void)p;
    for (size_t i = 0; i < ry_json_count(v->args) && n < 32; i++)
        if (t_is_tensor(ry_json_at(v->args, i))) x[n++] = t_value(v, ry_json_at(v->args, i));
    ry_tensor y = x[0];
    for (int i = 1; i < n; i++) y = vec_matmul(v, y, x[i]);
    vec_out(v, y);
}
static void einsum(vec *v, const char *p) {
    ry_tensor x[8];
    int n = t_tensors(v, v->self, x, 8);
    (void)p;
    vec_out(v, vec_einsum(v, t_text(v, 0, "equation", ""), n, x));
}
static void tensordot(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "other");
    int ra = vec_rank(v, a), rb = vec_rank(v, b), perm_a[R], perm_b[R], na = 0, nb = 0, k = 0;
    int64_t da[R], db[R], dim[2 * R], rows = 1, cols = 1, mid = 1;
    const ry_json *j = t_arg(v, 1, "dims"), *lists = t_items(j);
    int n = 2;
    (void)p;
    if (lists && ry_json_count(lists) == 2 && t_items(ry_json_at(lists, 0))) {
        n = (int)ry_json_count(t_items(ry_json_at(lists, 0)));
        for (int i = 0; i < n; i++) {
            (void)ry_json_as_int(ry_json_at(t_items(ry_json_at(lists, 0)), (size_t)i), &da[i]);
            (void)ry_json_as_int(ry_json_at(t_items(ry_json_at(lists, 1)), (size_t)i), &db[i]);
        }
    } else {
        n = (int)t_int(v, 1, "dims", 2);
        for (int i = 0; i < n; i++) da[i] = ra - n + i, db[i] = i;
    }
    bool in_a[R] = {false}, in_b[R] = {false};
    for (int i = 0; i < n; i++) {
        da[i] += da[i] < 0 ? ra : 0, db[i] += db[i] < 0 ? rb : 0;
        in_a[da[i]] = in_b[db[i]] = true;
        if (vec_dim(v, a, (int)da[i]) == 1 && vec_dim(v, b, (int)db[i]) > 1)
            b = ry_sum(G, b, RY_AXIS((int)db[i]), true); /* broadcast */
        if (vec_dim(v, b, (int)db[i]) == 1 && vec_dim(v, a, (int)da[i]) > 1)
            a = ry_sum(G, a, RY_AXIS((int)da[i]), true);
        mid *= vec_dim(v, a, (int)da[i]);
    }
    for (int i = 0; i < ra; i++)
        if (!in_a[i]) perm_a[na++] = i, dim[k++] = vec_dim(v, a, i), rows *= vec_dim(v, a, i);
    for (int i = 0; i < n; i++) perm_a[na++] = (int)da[i], perm_b[nb++] = (int)db[i];
    for (int i = 0; i < rb; i++)
        if (!in_b[i]) perm_b[nb++] = i, dim[k++] = vec_dim(v, b, i), cols *= vec_dim(v, b, i);
    a = ry_reshape(G, ra ? ry_permute(G, a, perm_a) : a, 2, (int64_t[]){rows, mid});
    b = ry_reshape(G, rb ? ry_permute(G, b, perm_b) : b, 2, (int64_t[]){mid, cols});
    vec_out(v, ry_reshape(G, ry_matmul(G, a, b), k, dim));
}
static void kron(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "other");
    int r = vec_rank(v, a) > vec_rank(v, b) ? vec_rank(v, a) : vec_rank(v, b);
    int64_t da[R], db[R], dim[R];
    (void)p;
    if (2 * r > R) {
        vec_refuse(v, "rank above %d", R);
        return;
    }
    for (int i = 0; i < r; i++) {
        int ia = i - (r - vec_rank(v, a)), ib = i - (r - vec_rank(v, b));
        int64_t na = ia < 0 ? 1 : vec_dim(v, a, ia), nb = ib < 0 ? 1 : vec_dim(v, b, ib);
        da[2 * i] = na, da[2 * i + 1] = 1, db[2 * i] = 1, db[2 * i + 1] = nb, dim[i] = na * nb;
    }
    vec_out(v, ry_reshape(G, ry_mul(G, ry_reshape(G, a, 2 * r, da), ry_reshape(G, b, 2 * r, db)), r, dim));
}
static void cross(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "other");
    int axis = (int)t_int(v, 1, "dim", -1);
    (void)p;
    for (int i = 0; !t_arg(v, 1, "dim") && i < vec_rank(v, a); i++)
        if (vec_dim(v, a, i) == 3) {
            axis = *p == 'l' ? -1 : i;
            break;
        }
    ry_tensor c[3];
    for (int i = 0; i < 3; i++) {
        int j = (i + 1) % 3, k = (i + 2) % 3;
        c[i] = ry_sub(G, ry_mul(G, vec_part(v, a, axis, j, 1), vec_part(v, b, axis, k, 1)),
                      ry_mul(G, vec_part(v, a, axis, k, 1), vec_part(v, b, axis, j, 1)));
    }
    vec_out(v, ry_concat(G, 3, c, axis));
}

const vec_row torch_reduce[] = {{"sum", reduce, "sum"},
                                {"mean", reduce, "mean"},
                                {"amax", reduce, "amax"},
                                {"amin", reduce, "amin"},
                                {"any", reduce, "any"},
                                {"all", reduce, "all"},
                                {"nansum", without_nan, "s"},
                                {"nanmean", without_nan, "m"},
                                {"count_nonzero", count_nonzero, NULL},
                                {"aminmax", aminmax, NULL},
                                {"argmax", argext, "x"},
                                {"argmin", argext, "n"},
                                {"max", extreme, "x"},
                                {"min", extreme, "n"},
                                {"prod", prod, NULL},
                                {"var", variance, "v"},
                                {"std", variance, "s"},
                                {"var_mean", variance, "vm"},
                                {"std_mean", variance, "sm"},
                                {"norm", norm, "p"},
                                {"norm.nuc", NULL, "singular values"},
                                {"linalg.norm.subgradients_at_zero", NULL, "the subgradient at zero is another"},
                                {"linalg.vector_norm", norm, "v"},
                                {"linalg.norm", norm, "m"},
                                {"dist", dist, NULL},
                                {"cdist", cdist, NULL},
                                {"pairwise_distance", pairwise, NULL},
                                {"cumsum", cumsum, NULL},
                                {"cumprod", scan, "mul"},
                                {"logcumsumexp", scan, "logaddexp"},
                                {"diff", diff, NULL},
                                {"trapezoid", trapezoid, "t"},
                                {"trapz", trapezoid, "t"},
                                {"cumulative_trapezoid", trapezoid, "c"},
                                {"logsumexp", logsumexp, NULL},
                                {"matmul", matmul, ""},
                                {"__rmatmul__", matmul, "r"},
                                {"mm", matmul, ""},
                                {"bmm", matmul, ""},
                                {"mv", matmul, ""},
                                {"dot", dot, NULL},
                                {"vdot", dot, NULL},
                                {"linalg.vecdot", vecdot, NULL},
                                {"outer", outer, NULL},
                                {"ger", outer, NULL},
                                {"inner", inner, NULL},
                                {"addmm", addmm, "m"},
                                {"addmv", addmm, "m"},
                                {"addbmm", addmm, "s"},
                                {"baddbmm", addmm, "m"},
                                {"addr", addmm, "r"},
                                {"linalg.multi_dot", multi_dot, NULL},
                                {"chain_matmul", multi_dot, NULL},
                                {"einsum", einsum, NULL},
                                {"tensordot", tensordot, NULL},
                                {"kron", kron, NULL},
                                {"cross", cross, ""},
                                {"linalg.cross", cross, "l"},
                                {NULL, NULL, NULL}};
