/* vec_ops.c - compositions of operators that several builders of operator vectors need.  Computes nothing itself. */
#include "core/op.h"
#include "simd/map.h"
#include "vec.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

static const ry_spec *spec(vec *v, ry_tensor t) {
    static const ry_spec none = {.dtype = RY_F32};
    const ry_spec *s = ry_spec_of(v->g, t);
    return s ? s : &none;
}
int vec_rank(vec *v, ry_tensor t) { return spec(v, t)->rank; }
int64_t vec_dim(vec *v, ry_tensor t, int axis) {
    const ry_spec *s = spec(v, t);
    int i = axis < 0 ? axis + s->rank : axis;
    return i >= 0 && i < s->rank ? s->dim[i] : 1;
}
int64_t vec_numel(vec *v, ry_tensor t) { return ry_numel(spec(v, t)); }
ry_dtype vec_dtype(vec *v, ry_tensor t) { return spec(v, t)->dtype; }
ry_tensor vec_cast(vec *v, ry_tensor t, ry_dtype to) { return spec(v, t)->dtype == to ? t : ry_cast(v->g, t, to); }
static int place(vec *v, ry_tensor t, int axis) { return axis < 0 ? axis + vec_rank(v, t) : axis; }

ry_tensor vec_map(vec *v, const char *row, int n, const ry_tensor *src) {
    const ry_op *op = ry_op_find(row);
    if (!op || !(op->flags & RY_OP_MAP)) return vec_refuse(v, "no elementwise operator %s", row);
    char cls = map_table[op->map].cls[0];
    ry_tensor x[3];
    const ry_spec *s[3];
    for (int i = 0; i < n; i++) s[i] = spec(v, src[i]);
    ry_dtype t = ry_promote(s, n);
    for (int i = 0; i < n; i++) {
        bool f = ry_is_float(s[i]->dtype);
        ry_dtype to = cls == 'L'                 ? RY_BOOL
                      : cls == 'F' || cls == 'P' ? (f ? s[i]->dtype : RY_F32)
                      : f                        ? s[i]->dtype
                                                 : t;
        x[i] = vec_cast(v, src[i], to);
    }
    return ry_apply(v->g, op, (size_t)n, x, NULL);
}

ry_tensor vec_flat(vec *v, ry_tensor t) { return ry_reshape(v->g, t, 1, (int64_t[]){vec_numel(v, t)}); }

ry_tensor vec_unsqueeze(vec *v, ry_tensor t, int axis) {
    ry_spec s = *spec(v, t);
    int at = axis < 0 ? axis + s.rank + 1 : axis;
    if (at < 0 || at > s.rank || s.rank == RY_MAX_RANK) return vec_refuse(v, "rank above %d", RY_MAX_RANK);
    memmove(s.dim + at + 1, s.dim + at, (size_t)(s.rank - at) * sizeof *s.dim);
    s.dim[at] = 1;
    return ry_reshape(v->g, t, s.rank + 1, s.dim);
}

ry_tensor vec_squeeze(vec *v, ry_tensor t, int axis) {
    ry_spec s = *spec(v, t);
    int at = place(v, t, axis);
    if (at < 0 || at >= s.rank) return t;
    memmove(s.dim + at, s.dim + at + 1, (size_t)(s.rank - at - 1) * sizeof *s.dim);
    return ry_reshape(v->g, t, s.rank - 1, s.dim);
}

ry_tensor vec_flip(vec *v, ry_tensor t, int axis) {
    return vec_rank(v, t) ? ry_slice(v->g, t, axis, INT64_MAX, -vec_dim(v, t, axis) - 1, -1) : t;
}

ry_tensor vec_move(vec *v, ry_tensor t, int from, int to) {
    int r = vec_rank(v, t), perm[RY_MAX_RANK], n = 0;
    from = place(v, t, from), to = place(v, t, to);
    for (int i = 0, k = 0; i < r; i++) {
        if (i == to)
            perm[i] = from, n++;
        else {
            if (k == from) k++;
            perm[i] = k++;
        }
    }
    return r ? ry_permute(v->g, t, perm) : t;
}

ry_tensor vec_part(vec *v, ry_tensor t, int axis, int64_t start, int64_t len) {
    return ry_slice(v->g, t, axis, start, start + len, 1);
}

ry_tensor vec_pick(vec *v, ry_tensor t, int axis, int64_t i) {
    int64_t n = vec_dim(v, t, axis), at = i < 0 ? i + n : i;
    return vec_squeeze(v, vec_part(v, t, axis, at, 1), axis);
}

ry_tensor vec_expand_axis(vec *v, ry_tensor t, int axis, int64_t n) {
    ry_spec s = *spec(v, t);
    int at = place(v, t, axis);
    if (at < 0 || at >= s.rank) return t;
    s.dim[at] = n;
    return ry_expand(v->g, t, s.rank, s.dim);
}

ry_tensor vec_iota(vec *v, int64_t n, double start, double step) {
    return ry_iota(v->g, &RY_SHAPE(RY_I32, n), 0, start, step);
}

ry_tensor vec_pad_axis(vec *v, ry_tensor t, int axis, int64_t before, int64_t after, double value) {
    int64_t b[RY_MAX_RANK] = {0}, a[RY_MAX_RANK] = {0};
    int at = place(v, t, axis);
    b[at] = before, a[at] = after;
    return before || after ? ry_pad(v->g, t, b, a, value) : t;
}

/* Pairs are multiplied until one is left. */
ry_tensor vec_prod(vec *v, ry_tensor t, int axis, bool keepdim) {
    if (!vec_rank(v, t)) return t;
    int64_t n = vec_dim(v, t, axis);
    if (n == 0) {
        ry_spec s = *spec(v, t);
        s.dim[place(v, t, axis)] = 1;
        t = ry_fill(v->g, &s, 1);
    }
    while (n > 1) {
        if (n % 2) t = vec_pad_axis(v, t, axis, 0, 1, 1), n++;
        t = ry_mul(v->g, vec_part(v, t, axis, 0, n / 2), vec_part(v, t, axis, n / 2, n / 2));
        n /= 2;
    }
    return keepdim ? t : vec_squeeze(v, t, axis);
}

ry_tensor vec_scan(vec *v, ry_tensor t, int axis, const char *row, double unit) {
    if (!vec_rank(v, t)) return t;
    int64_t n = vec_dim(v, t, axis);
    for (int64_t s = 1; s < n; s *= 2) {
        ry_tensor before = vec_pad_axis(v, vec_part(v, t, axis, 0, n - s), axis, s, 0, unit);
        t = vec_map(v, row, 2, (ry_tensor[]){t, before});
    }
    return t;
}

ry_tensor vec_windows(vec *v, ry_tensor t, int axis, int64_t size, int64_t step, int64_t dilation) {
    int64_t n = vec_dim(v, t, axis), reach = (size - 1) * dilation + 1, out = n >= reach ? (n - reach) / step + 1 : 0;
    ry_tensor first = vec_unsqueeze(v, vec_iota(v, out, 0, (double)step), 1),
              inner = vec_iota(v, size, 0, (double)dilation);
    return ry_take(v->g, t, ry_add(v->g, first, inner), axis);
}

ry_tensor vec_index_pad(vec *v, ry_tensor t, int axis, int64_t before, int64_t after, const char *mode) {
    int64_t n = vec_dim(v, t, axis), idx[4096], total = n + before + after;
    if (total > 4096 || n < 1) return vec_refuse(v, "padding of %lld elements", (long long)n);
    for (int64_t i = 0; i < total; i++) {
        int64_t k = i - before;
        if (!strcmp(mode, "circular") || !strcmp(mode, "wrap"))
            k = ((k % n) + n) % n;
        else if (!strcmp(mode, "reflect")) {
            while (n > 1 && (k < 0 || k >= n)) k = k < 0 ? -k : 2 * (n - 1) - k;
        } else
            k = k < 0 ? 0 : k >= n ? n - 1 : k;
        idx[i] = k;
    }
    return ry_take(v->g, t, vec_ints(v, 1, &total, idx), axis);
}

ry_tensor vec_p_norm(vec *v, ry_tensor t, double p, ry_axes axes, bool keepdim) {
    ry_tensor a = ry_abs(v->g, t);
    if (isinf(p)) return p > 0 ? ry_amax(v->g, a, axes, keepdim) : ry_amin(v->g, a, axes, keepdim);
    if (p == 0) return ry_sum(v->g, vec_cast(v, ry_ne(v->g, t, vec_number(v, 0, false)), RY_F32), axes, keepdim);
    if (p == 1) return ry_sum(v->g, a, axes, keepdim);
    if (p == 2) return ry_norm(v->g, t, axes, keepdim);
    return ry_pow(v->g, ry_sum(v->g, ry_pow(v->g, a, vec_number(v, p, false)), axes, keepdim),
                  vec_number(v, 1 / p, false));
}

ry_tensor vec_diagonal(vec *v, ry_tensor t, int64_t offset, int a, int b) {
    int r = vec_rank(v, t), perm[RY_MAX_RANK], n = 0;
    a = place(v, t, a), b = place(v, t, b);
    for (int i = 0; i < r; i++)
        if (i != a && i != b) perm[n++] = i;
    perm[n++] = a, perm[n] = b;
    ry_tensor x = ry_permute(v->g, t, perm);
    int64_t rows = vec_dim(v, x, -2), cols = vec_dim(v, x, -1), first = offset < 0 ? -offset * cols : offset;
    int64_t len_r = rows + (offset < 0 ? offset : 0), len_c = cols - (offset > 0 ? offset : 0),
            len = len_r < len_c ? len_r : len_c;
    ry_spec s = *spec(v, x);
    s.dim[r - 2] = rows * cols;
    return ry_take(v->g, ry_reshape(v->g, x, r - 1, s.dim),
                   vec_iota(v, len > 0 ? len : 0, (double)first, (double)(cols + 1)), -1);
}

ry_tensor vec_tri(vec *v, ry_tensor t, int64_t k, bool upper) {
    int64_t rows = vec_dim(v, t, -2), cols = vec_dim(v, t, -1);
    ry_tensor r = vec_unsqueeze(v, vec_iota(v, rows, (double)k, 1), 1), c = vec_iota(v, cols, 0, 1);
    ry_tensor keep = upper ? ry_ge(v->g, c, r) : ry_le(v->g, c, r);
    return ry_select(v->g, keep, t, ry_cast(v->g, vec_number(v, 0, false), vec_dtype(v, t)));
}

/* ---------------------------------------------------------------- products */

ry_tensor vec_conv2d(vec *v, ry_tensor x, ry_tensor w, ry_tensor b, const ry_conv2d_options *o) {
    return ry_conv2d(v->g, x, w, b, o);
}

/* Zeros between the elements, the kernel turned around: a convolution with stride 1. w [C, O/groups, h, w] */
ry_tensor vec_conv_transpose2d(vec *v, ry_tensor x, ry_tensor w, ry_tensor b, const ry_conv2d_options *o,
                               const int64_t out_pad[2]) {
    int64_t groups = o->groups ? o->groups : 1, before[4] = {0}, after[4] = {0};
    for (int i = 0; i < 2; i++) {
        int axis = 2 + i;
        int64_t stride = o->stride[i] ? o->stride[i] : 1, n = vec_dim(v, x, axis),
                dil = o->dilation[i] ? o->dilation[i] : 1;
        if (stride > 1) {
            x = vec_pad_axis(v, vec_unsqueeze(v, x, axis + 1), axis + 1, 0, stride - 1, 0);
            ry_spec s = *spec(v, x);
            s.dim[axis] *= stride;
            for (int d = axis + 1; d < s.rank - 1; d++) s.dim[d] = s.dim[d + 1];
            x = vec_part(v, ry_reshape(v->g, x, s.rank - 1, s.dim), axis, 0, n ? (n - 1) * stride + 1 : 0);
        }
        int64_t reach = (vec_dim(v, w, axis) - 1) * dil;
        before[axis] = reach - o->pad[i], after[axis] = reach - o->pad[i] + out_pad[i];
        w = vec_flip(v, w, axis);
    }
    for (int i = 2; i < 4; i++) { /* pads below zero cut */
        if (before[i] < 0) x = vec_part(v, x, i, -before[i], vec_dim(v, x, i) + before[i]), before[i] = 0;
        if (after[i] < 0) x = vec_part(v, x, i, 0, vec_dim(v, x, i) + after[i]), after[i] = 0;
    }
    x = ry_pad(v->g, x, before, after, 0);
    int64_t C = vec_dim(v, w, 0), O = vec_dim(v, w, 1), h = vec_dim(v, w, 2), k = vec_dim(v, w, 3);
    w = ry_reshape(v->g, w, 5, (int64_t[]){groups, C / groups, O, h, k});
    w = ry_reshape(v->g, ry_transpose(v->g, w, 1, 2), 4, (int64_t[]){groups * O, C / groups, h, k});
    return ry_conv2d(v->g, x, w, b,
                     &(ry_conv2d_options){.dilation = {o->dilation[0], o->dilation[1]}, .groups = groups});
}

ry_tensor vec_matmul(vec *v, ry_tensor a, ry_tensor b) {
    bool row = vec_rank(v, a) == 1, col = vec_rank(v, b) == 1;
    if (row) a = vec_unsqueeze(v, a, 0);
    if (col) b = vec_unsqueeze(v, b, 1);
    ry_tensor y = ry_matmul(v->g, a, b);
    if (col) y = vec_squeeze(v, y, -1);
    if (row) y = vec_squeeze(v, y, col ? -1 : -2);
    return y;
}

typedef struct labels {
    char at[RY_MAX_RANK + 1];
    int n;
} labels;
static int find_label(const labels *l, char c) {
    for (int i = 0; i < l->n; i++)
        if (l->at[i] == c) return i;
    return -1;
}
/* Labels of one operand; dots stand for `dots` axes, named '0', '1', .. counted so that the last is always the same. */
static bool read_labels(labels *l, const char **text, int rank, int most_dots) {
    int letters = 0;
    const char *p = *text;
    l->n = 0;
    for (const char *q = p; *q && *q != ',' && *q != '-'; q++) letters += isalpha((unsigned char)*q) != 0;
    int dots = rank < 0 ? most_dots : rank - letters;
    for (; *p && *p != ',' && *p != '-'; p++) {
        if (isalpha((unsigned char)*p)) {
            if (l->n == RY_MAX_RANK) return false;
            l->at[l->n++] = *p;
        } else if (*p == '.') {
            p += 2;
            for (int d = 0; d < dots; d++) {
                if (l->n == RY_MAX_RANK) return false;
                l->at[l->n++] = (char)('0' + most_dots - dots + d);
            }
        }
    }
    *text = p;
    return true;
}

ry_tensor vec_einsum(vec *v, const char *equation, int n, const ry_tensor *x) {
    labels in[8], all = {{0}, 0}, out = {{0}, 0};
    const char *p = equation;
    int most = 0;
    if (n > 8) return vec_refuse(v, "%d operands", n);
    for (int i = 0; i < n; i++) { /* how many axes dots stand for */
        int letters = 0;
        for (; *p && *p != ',' && *p != '-'; p++) letters += isalpha((unsigned char)*p) != 0;
        if (vec_rank(v, x[i]) - letters > most) most = vec_rank(v, x[i]) - letters;
        if (*p == ',') p++;
    }
    p = equation;
    for (int i = 0; i < n; i++) {
        if (!read_labels(&in[i], &p, vec_rank(v, x[i]), most)) return vec_refuse(v, "too many labels");
        if (*p == ',') p++;
    }
    if (*p == '-') {
        p += 2;
        if (!read_labels(&out, &p, -1, most)) return vec_refuse(v, "too many labels");
    } else { /* dots, then those that occur once, in order of the alphabet */
        for (int d = 0; d < most; d++) out.at[out.n++] = (char)('0' + d);
        for (char c = 'A'; c <= 'z'; c++) {
            int seen = 0;
            for (int i = 0; i < n; i++)
                for (int k = 0; k < in[i].n; k++) seen += in[i].at[k] == c;
            if (seen == 1 && out.n < RY_MAX_RANK) out.at[out.n++] = c;
        }
    }
    all = out;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < in[i].n; k++)
            if (find_label(&all, in[i].at[k]) < 0) {
                if (all.n == RY_MAX_RANK) return vec_refuse(v, "more than %d labels", RY_MAX_RANK);
                all.at[all.n++] = in[i].at[k];
            }
    ry_tensor y = RY_NULL;
    for (int i = 0; i < n; i++) {
        ry_tensor t = x[i];
        labels l = in[i];
        for (int a = 0; a < l.n; a++) /* a label twice: the diagonal */
            for (int b = a + 1; b < l.n; b++)
                if (l.at[a] == l.at[b]) {
                    char c = l.at[a];
                    t = vec_diagonal(v, t, 0, a, b);
                    memmove(l.at + b, l.at + b + 1, (size_t)(l.n - b - 1));
                    memmove(l.at + a, l.at + a + 1, (size_t)(l.n - a - 2));
                    l.n -= 2;
                    l.at[l.n++] = c;
                    a = -1;
                    break;
                }
        int perm[RY_MAX_RANK], k = 0;
        int64_t dim[RY_MAX_RANK];
        for (int a = 0; a < all.n; a++) {
            int at = find_label(&l, all.at[a]);
            dim[a] = at < 0 ? 1 : vec_dim(v, t, at);
            if (at >= 0) perm[k++] = at;
        }
        t = ry_reshape(v->g, k ? ry_permute(v->g, t, perm) : t, all.n, dim);
        y = i ? ry_mul(v->g, y, t) : t;
    }
    ry_axes sums = 0;
    for (int a = out.n; a < all.n; a++) sums |= RY_AXIS(a);
    return sums ? ry_sum(v->g, y, sums, false) : y;
}

/* ---------------------------------------------------------------- indexing, pooling */

ry_tensor vec_wrap(vec *v, ry_tensor idx, int64_t n) {
    ry_dtype t = vec_dtype(v, idx);
    ry_tensor zero = ry_cast(v->g, vec_number(v, 0, true), t), len = ry_cast(v->g, vec_number(v, (double)n, true), t);
    return ry_select(v->g, ry_lt(v->g, idx, zero), ry_add(v->g, idx, len), idx);
}

/* Small tables only: every source against every place. */
ry_tensor vec_scatter_reduce(vec *v, ry_tensor x, int axis, ry_tensor idx, ry_tensor src, const char *reduce,
                             bool include_self) {
    if (!vec_rank(v, x)) {
        ry_tensor y =
            vec_scatter_reduce(v, vec_unsqueeze(v, x, 0), 0, vec_flat(v, idx), vec_flat(v, src), reduce, include_self);
        return vec_squeeze(v, y, 0);
    }
    bool mul = !strcmp(reduce, "prod") || !strcmp(reduce, "mul") || !strcmp(reduce, "multiply"),
         max = strstr(reduce, "max") != NULL, min = strstr(reduce, "min") != NULL, mean = !strcmp(reduce, "mean");
    double unit = mul ? 1 : max ? -(double)INFINITY : min ? (double)INFINITY : 0;
    x = vec_move(v, x, axis, -1), idx = vec_move(v, vec_cast(v, idx, RY_I32), axis, -1),
    src = vec_move(v, src, axis, -1);
    int r = vec_rank(v, x);
    int64_t n = vec_dim(v, x, -1);
    for (int d = 0; d < r; d++) src = vec_part(v, src, d, 0, vec_dim(v, idx, d));
    for (int d = 0; d < r - 1; d++) {
        int64_t more = vec_dim(v, x, d) - vec_dim(v, idx, d);
        idx = vec_pad_axis(v, idx, d, 0, more, -1), src = vec_pad_axis(v, src, d, 0, more, 0);
    }
    ry_tensor hit = ry_eq(v->g, vec_unsqueeze(v, idx, -1), vec_iota(v, n, 0, 1)); /* [.., K, N] */
    ry_tensor each = ry_select(v->g, hit, vec_unsqueeze(v, src, -1), vec_number(v, unit, false));
    ry_tensor self = vec_unsqueeze(v, x, -2), counts = ry_sum(v->g, vec_cast(v, hit, RY_F32), RY_AXIS(-2), false);
    ry_tensor none = ry_eq(v->g, counts, vec_number(v, 0, false));
    ry_tensor start =
        include_self ? self : ry_select(v->g, vec_unsqueeze(v, none, -2), self, vec_number(v, unit, false));
    each = ry_concat(v->g, 2, (ry_tensor[]){start, each}, -2);
    ry_tensor y = mul   ? vec_prod(v, each, -2, false)
                  : max ? ry_amax(v->g, each, RY_AXIS(-2), false)
                  : min ? ry_amin(v->g, each, RY_AXIS(-2), false)
                        : ry_sum(v->g, each, RY_AXIS(-2), false);
    if (mean) {
        ry_tensor all = ry_add(v->g, counts, vec_number(v, include_self ? 1 : 0, false));
        y = ry_div(v->g, y, ry_max(v->g, all, vec_number(v, 1, false)));
    }
    return vec_move(v, y, -1, axis);
}

/* [N,C,..] -> [N,C,o1,..,ok,s1,..,sk]; the last axes padded with value. */
static ry_tensor pool_windows(vec *v, ry_tensor x, const vec_pool *p, double value, int64_t out[3]) {
    int lead = vec_rank(v, x) - p->k;
    for (int i = 0; i < p->k; i++) {
        int axis = lead + i;
        int64_t dil = p->dilation[i] ? p->dilation[i] : 1, n = vec_dim(v, x, axis), reach = (p->size[i] - 1) * dil + 1;
        int64_t room = n + p->before[i] + p->after[i] - reach, more = 0;
        out[i] = (p->ceil_mode ? room + p->stride[i] - 1 : room) / p->stride[i] + 1;
        if (p->ceil_mode && (out[i] - 1) * p->stride[i] >= n + p->before[i])
            out[i]--; /* windows begin inside or in the front padding */
        if ((out[i] - 1) * p->stride[i] + reach > n + p->before[i] + p->after[i])
            more = (out[i] - 1) * p->stride[i] + reach - (n + p->before[i] + p->after[i]);
        x = vec_pad_axis(v, x, axis, p->before[i], p->after[i] + more, value);
    }
    for (int i = p->k - 1; i >= 0; i--) {
        x = vec_windows(v, x, lead + i, p->size[i], p->stride[i], p->dilation[i] ? p->dilation[i] : 1);
        x = vec_part(v, x, lead + i, 0, out[i]);
        x = vec_move(v, x, lead + i + 1, lead + p->k); /* behind all outputs, before the windows made so far */
    }
    return x;
}

static ry_axes window_axes(int k) {
    ry_axes a = 0;
    for (int i = 0; i < k; i++) a |= RY_AXIS(-1 - i);
    return a;
}

ry_tensor vec_pool_max(vec *v, ry_tensor x, const vec_pool *p, ry_tensor *idx) {
    int64_t out[3], n = 1, dim[RY_MAX_RANK];
    int lead = vec_rank(v, x) - p->k;
    ry_tensor w = pool_windows(v, x, p, -(double)INFINITY, out);
    if (idx) {
        ry_spec s = *spec(v, w);
        memcpy(dim, s.dim, sizeof dim);
        for (int i = 0; i < p->k; i++) n *= p->size[i];
        dim[lead + p->k] = n;
        ry_tensor best = ry_argmax(v->g, ry_reshape(v->g, w, lead + p->k + 1, dim), -1, false),
                  at = RY_NULL; /* [.., o1, .., ok] */
        int64_t inner = n;
        for (int i = 0; i < p->k; i++) {
            inner /= p->size[i];
            ry_tensor k = ry_mod(v->g, ry_floordiv(v->g, best, vec_cast(v, vec_number(v, (double)inner, true), RY_I32)),
                                 vec_cast(v, vec_number(v, (double)p->size[i], true), RY_I32));
            int64_t shape[3] = {1, 1, 1}, dil = p->dilation[i] ? p->dilation[i] : 1;
            shape[i] = out[i];
            ry_tensor first =
                ry_reshape(v->g, vec_iota(v, out[i], (double)-p->before[i], (double)p->stride[i]), p->k, shape);
            k = ry_add(v->g, first, ry_mul(v->g, k, vec_cast(v, vec_number(v, (double)dil, true), RY_I32)));
            at = i ? ry_add(v->g,
                            ry_mul(v->g, at, vec_cast(v, vec_number(v, (double)vec_dim(v, x, lead + i), true), RY_I32)),
                            k)
                   : k;
        }
        *idx = at;
    }
    return ry_amax(v->g, w, window_axes(p->k), false);
}

ry_tensor vec_pool_avg(vec *v, ry_tensor x, const vec_pool *p) {
    int64_t out[3];
    int lead = vec_rank(v, x) - p->k;
    ry_tensor s = ry_sum(v->g, pool_windows(v, x, p, 0, out), window_axes(p->k), false);
    if (p->divisor != 0) return ry_div(v->g, s, vec_number(v, p->divisor, false));
    /* how many elements count: the same windows over ones, the padding's own among them if asked for */
    ry_spec one = {.dtype = RY_F32, .rank = p->k};
    for (int i = 0; i < p->k; i++) one.dim[i] = vec_dim(v, x, lead + i);
    vec_pool q = *p;
    ry_tensor ones = ry_fill(v->g, &one, 1);
    for (int i = 0; i < p->k && p->count_pad; i++)
        ones = vec_pad_axis(v, ones, i, p->before[i], p->after[i], 1), q.before[i] = q.after[i] = 0;
    ry_tensor w = pool_windows(v, ones, &q, 0, out);
    for (int i = 0; i < p->k; i++) w = vec_part(v, w, i, 0, vec_dim(v, s, lead + i));
    return ry_div(v->g, s, ry_sum(v->g, w, window_axes(p->k), false));
}
