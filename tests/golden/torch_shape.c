/* torch_shape.c - builders of PyTorch's operators that move elements without looking at values. */
#include "torch.h"
#include <stdlib.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static int rank(vec *v) { return vec_rank(v, t_self(v)); }
static int axis_of(vec *v, int64_t axis, int r) { return (void)v, (int)(axis < 0 ? axis + (r ? r : 1) : axis); }

static void reshape(vec *v, const char *p) {
    int64_t d[R];
    int n = t_ints(v, 0, p, d, R);
    if (n < 0 && t_is_tensor(t_arg(v, 0, "other"))) { /* view_as */
        ry_tensor o = t_tensor(v, 0, "other");
        n = vec_rank(v, o);
        for (int i = 0; i < n; i++) d[i] = vec_dim(v, o, i);
    }
    if (n < 0)
        vec_refuse(v, "no shape");
    else
        vec_out(v, ry_reshape(G, t_self(v), n, d));
}
static void permute(vec *v, const char *p) {
    int64_t d[R];
    int perm[R], n = t_ints(v, 0, "dims", d, R);
    (void)p;
    for (int i = 0; i < n; i++) perm[i] = axis_of(v, d[i], rank(v));
    vec_out(v, n > 0 ? ry_permute(G, t_self(v), perm) : t_self(v));
}
static void transpose(vec *v, const char *p) {
    (void)p;
    vec_out(v,
            rank(v) ? ry_transpose(G, t_self(v), (int)t_int(v, 0, "dim0", 0), (int)t_int(v, 1, "dim1", 1)) : t_self(v));
}
static void t_(vec *v, const char *p) {
    int r = rank(v);
    vec_out(v, r < 2                    ? t_self(v)
               : *p == 'h' || *p == '2' ? ry_transpose(G, t_self(v), -2, -1)
                                        : ry_transpose(G, t_self(v), 0, 1));
}
static void movedim(vec *v, const char *p) {
    int64_t from[R], to[R];
    int n = t_ints(v, 0, "source", from, R), r = rank(v), perm[R], left = 0;
    bool taken[R] = {false}, placed[R] = {false};
    (void)p;
    t_ints(v, 1, "destination", to, R);
    for (int i = 0; i < n; i++) {
        int f = axis_of(v, from[i], r), t = axis_of(v, to[i], r);
        perm[t] = f, taken[f] = placed[t] = true;
    }
    for (int i = 0; i < r; i++) {
        if (placed[i]) continue;
        while (taken[left]) left++;
        perm[i] = left++;
    }
    vec_out(v, r ? ry_permute(G, t_self(v), perm) : t_self(v));
}
static void flatten(vec *v, const char *p) {
    ry_spec s = *ry_spec_of(G, t_self(v));
    int a = axis_of(v, t_int(v, 0, "start_dim", 0), s.rank), b = axis_of(v, t_int(v, 1, "end_dim", -1), s.rank);
    (void)p;
    if (!strcmp(p, "ravel")) a = 0, b = s.rank - 1;
    if (s.rank == 0) {
        vec_out(v, vec_flat(v, t_self(v)));
        return;
    }
    for (int i = a + 1; i <= b; i++) s.dim[a] *= s.dim[i];
    for (int i = b + 1; i < s.rank; i++) s.dim[a + 1 + i - b - 1] = s.dim[i];
    vec_out(v, ry_reshape(G, t_self(v), s.rank - (b - a), s.dim));
}
static void unflatten(vec *v, const char *p) {
    ry_spec s = *ry_spec_of(G, t_self(v));
    int64_t d[R], dim[2 * R];
    int at = axis_of(v, t_int(v, 0, "dim", 0), s.rank), n = t_ints(v, 1, "sizes", d, R), k = 0;
    (void)p;
    for (int i = 0; i < s.rank; i++)
        if (i != at)
            dim[k++] = s.dim[i];
        else
            for (int j = 0; j < n; j++) dim[k++] = d[j];
    vec_out(v, ry_reshape(G, t_self(v), k, dim));
}
static void squeeze(vec *v, const char *p) {
    ry_spec s = *ry_spec_of(G, t_self(v));
    int64_t d[R], dim[R];
    int n = t_ints(v, 0, "dim", d, R), k = 0;
    (void)p;
    for (int i = 0; i < s.rank; i++) {
        bool asked = n < 0;
        for (int j = 0; j < n; j++) asked |= axis_of(v, d[j], s.rank) == i;
        if (!(asked && s.dim[i] == 1)) dim[k++] = s.dim[i];
    }
    vec_out(v, ry_reshape(G, t_self(v), k, dim));
}
static void unsqueeze(vec *v, const char *p) {
    (void)p;
    vec_out(v, vec_unsqueeze(v, t_self(v), (int)t_int(v, 0, "dim", 0)));
}
static void expand(vec *v, const char *p) {
    ry_spec s = *ry_spec_of(G, t_self(v));
    int64_t d[R];
    int n = t_ints(v, 0, p, d, R);
    if (n < 0) {
        ry_tensor o = t_tensor(v, 0, "other");
        n = vec_rank(v, o);
        for (int i = 0; i < n; i++) d[i] = vec_dim(v, o, i);
    }
    for (int i = 0; i < n; i++)
        if (d[i] == -1) d[i] = s.dim[i - (n - s.rank)];
    vec_out(v, ry_expand(G, t_self(v), n, d));
}
static void repeat(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int64_t d[R], times[R], dim[R];
    int n = t_ints(v, 0, p, d, R), r = rank(v), most = n > r ? n : r;
    for (int i = 0; i < most; i++) {
        times[i] = i < most - n ? 1 : d[i - (most - n)];
        dim[i] = i < most - r ? 1 : vec_dim(v, x, i - (most - r));
    }
    vec_out(v, ry_repeat(G, ry_reshape(G, x, most, dim), times));
}
static void repeat_interleave(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    if (t_is_tensor(t_arg(v, 0, "repeats"))) {
        vec_refuse(v, "the shape depends on values");
        return;
    }
    int64_t n = t_int(v, 0, "repeats", 1);
    if (!t_arg(v, 1, "dim")) x = vec_flat(v, x);
    int axis = axis_of(v, t_int(v, 1, "dim", 0), vec_rank(v, x));
    ry_spec s = *ry_spec_of(G, x);
    x = vec_expand_axis(v, vec_unsqueeze(v, x, axis + 1), axis + 1, n);
    s.dim[axis] *= n;
    vec_out(v, ry_reshape(G, x, s.rank, s.dim));
}

/* ---------------------------------------------------------------- joining and parting */

static int list(vec *v, ry_tensor *x, int cap) {
    int n = t_tensors(v, v->self, x, cap);
    ry_tensor more[16];
    int m = ry_json_count(v->args) && t_is_tensor(ry_json_at(v->args, 0)) ? 1 : 0;
    for (int i = 0; m && i < (int)ry_json_count(v->args) && n < cap; i++) {
        more[0] = t_value(v, ry_json_at(v->args, (size_t)i));
        x[n++] = more[0];
    }
    return n;
}
static ry_tensor join(vec *v, int n, ry_tensor *x, int axis) {
    while (n > RY_MAX_SRC) { /* the row takes so many at once */
        x[0] = ry_concat(G, RY_MAX_SRC, x, axis);
        memmove(x + 1, x + RY_MAX_SRC, (size_t)(n - RY_MAX_SRC) * sizeof *x);
        n -= RY_MAX_SRC - 1;
    }
    return ry_concat(G, (size_t)n, x, axis);
}
static void cat(vec *v, const char *p) {
    ry_tensor x[VEC_MAX_IN];
    int n = t_tensors(v, v->self, x, VEC_MAX_IN), k = 0;
    (void)p;
    for (int i = 0; i < n; i++) /* PyTorch skips the legacy empty tensor [0] */
        if (!(vec_rank(v, x[i]) == 1 && vec_dim(v, x[i], 0) == 0 && n > 1)) x[k++] = x[i];
    vec_out(v, k ? join(v, k, x, (int)t_int(v, 0, "dim", 0)) : x[0]);
}
static ry_tensor at_least(vec *v, ry_tensor x, int r) {
    int have = vec_rank(v, x);
    if (r >= 1 && have < 1) x = vec_unsqueeze(v, x, 0), have = 1;
    if (r >= 2 && have < 2) x = vec_unsqueeze(v, x, 0), have = 2;
    if (r >= 3 && have < 3) x = vec_unsqueeze(v, x, 2);
    return x;
}
static void stack(vec *v, const char *p) {
    ry_tensor x[VEC_MAX_IN];
    int n = t_tensors(v, v->self, x, VEC_MAX_IN), axis = 0;
    if (*p == 's') {
        axis = (int)t_int(v, 0, "dim", 0);
        for (int i = 0; i < n; i++) x[i] = vec_unsqueeze(v, x[i], axis);
    } else if (*p == 'c') { /* column_stack */
        axis = 1;
        for (int i = 0; i < n; i++)
            x[i] = vec_rank(v, x[i]) < 2 ? ry_reshape(G, x[i], 2, (int64_t[]){vec_numel(v, x[i]), 1}) : x[i];
    } else {
        int r = *p == 'h' ? 1 : *p == 'v' ? 2 : 3;
        for (int i = 0; i < n; i++) x[i] = at_least(v, x[i], r);
        axis = *p == 'h' ? (vec_rank(v, x[0]) == 1 ? 0 : 1) : *p == 'v' ? 0 : 2;
    }
    vec_out(v, join(v, n, x, axis));
}
static void atleast(vec *v, const char *p) {
    ry_tensor x[VEC_MAX_IN];
    int n = list(v, x, VEC_MAX_IN);
    for (int i = 0; i < n; i++) vec_out(v, at_least(v, x[i], *p - '0'));
}
static void pieces(vec *v, int axis, int n, const int64_t *len) {
    int64_t at = 0;
    for (int i = 0; i < n; i++) vec_out(v, vec_part(v, t_self(v), axis, at, len[i])), at += len[i];
}
static void split(vec *v, const char *p) { /* p: "chunk" counts pieces, else sizes */
    int64_t d[64], len[64];
    int n = t_ints(v, 0, *p == 'c' ? "chunks" : "split_size_or_sections", d, 64),
        axis = axis_of(v, t_int(v, 1, "dim", 0), rank(v));
    int64_t size = vec_dim(v, t_self(v), axis);
    bool many = t_items(t_arg(v, 0, "split_size_or_sections")) != NULL || t_items(t_arg(v, 0, "split_sizes")) != NULL;
    if (n < 0) n = t_ints(v, 0, "split_sizes", d, 64);
    if (many) {
        pieces(v, axis, n, d);
        return;
    }
    int64_t each = *p == 'c' ? (size + d[0] - 1) / d[0] : d[0];
    n = 0;
    for (int64_t left = size; (left > 0 || !n) && n < 64; left -= each) len[n++] = left < each ? left : each;
    pieces(v, axis, n, len);
}
static void cut_at(vec *v, int axis, int n, const int64_t *at) {
    int64_t size = vec_dim(v, t_self(v), axis), from = 0;
    for (int i = 0; i <= n; i++) {
        int64_t to = i < n ? at[i] < 0 ? at[i] + size : at[i] : size;
        if (to > size) to = size;
        if (to < 0) to = 0;
        vec_out(v, ry_slice(G, t_self(v), axis, from, to < from ? from : to, 1));
        from = to;
    }
}
static void tensor_split(vec *v, const char *p) {
    int64_t d[64];
    int axis = *p == 'h'   ? (rank(v) == 1 ? 0 : 1)
               : *p == 'v' ? 0
               : *p == 'd' ? 2
                           : axis_of(v, t_int(v, 1, "dim", 0), rank(v));
    const ry_json *j = t_arg(v, 0, "indices_or_sections");
    const st_entry *e = t_is_tensor(j) ? vec_entry(v->file, ry_json_as_text(ry_json_find(j, "tensor"), NULL)) : NULL;
    int64_t size = vec_dim(v, t_self(v), axis), from = 0;
    int n = e ? 0 : t_ints(v, 0, "indices_or_sections", d, 64);
    bool many = t_items(j) != NULL;
    if (e) { /* a tensor that is an argument: its values are known beforehand */
        double *x = vec_doubles(e);
        many = e->rank > 0;
        n = (int)vec_count(e);
        for (int i = 0; x && i < n && i < 64; i++) d[i] = (int64_t)x[i];
        free(x);
    }
    if (many) {
        cut_at(v, axis, n, d);
        return;
    }
    for (int64_t i = 0; i < d[0]; i++) {
        int64_t len = size / d[0] + (i < size % d[0]);
        vec_out(v, vec_part(v, t_self(v), axis, from, len)), from += len;
    }
}
static void unbind(vec *v, const char *p) {
    int axis = (int)t_int(v, 0, "dim", 0);
    (void)p;
    for (int64_t i = 0; i < vec_dim(v, t_self(v), axis); i++) vec_out(v, vec_pick(v, t_self(v), axis, i));
}
static void narrow(vec *v, const char *p) {
    int axis = (int)t_int(v, 0, "dim", 0);
    int64_t start = t_int(v, 1, "start", 0), n = vec_dim(v, t_self(v), axis);
    (void)p;
    if (t_is_tensor(t_arg(v, 1, "start"))) {
        double *x =
            vec_doubles(vec_entry(v->file, ry_json_as_text(ry_json_find(t_arg(v, 1, "start"), "tensor"), NULL)));
        start = x ? (int64_t)x[0] : 0;
        free(x);
    }
    vec_out(v, vec_part(v, t_self(v), axis, start < 0 ? start + n : start, t_int(v, 2, "length", 0)));
}
static void slice(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_slice(G, t_self(v), (int)t_int(v, 0, "dim", 0), t_int(v, 1, "start", 0),
                        t_int(v, 2, "end", INT32_MAX), t_int(v, 3, "step", 1)));
}
static void select(vec *v, const char *p) {
    (void)p;
    vec_out(v, vec_pick(v, t_self(v), (int)t_int(v, 0, "dim", 0), t_int(v, 1, "index", 0)));
}
static void select_scatter(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int axis = axis_of(v, t_int(v, 1, "dim", 0), rank(v));
    int64_t n = vec_dim(v, x, axis), at = t_int(v, 2, "index", 0);
    (void)p;
    if (at < 0) at += n;
    ry_tensor parts[] = {vec_part(v, x, axis, 0, at), vec_unsqueeze(v, t_tensor(v, 0, "src"), axis),
                         vec_part(v, x, axis, at + 1, n - at - 1)};
    vec_out(v, ry_concat(G, 3, parts, axis));
}
static void slice_scatter(vec *v, const char *p) { /* copied where the index says so */
    ry_tensor x = t_self(v), src = t_tensor(v, 0, "src");
    int axis = axis_of(v, t_int(v, 1, "dim", 0), rank(v));
    int64_t step = t_int(v, 4, "step", 1), start = t_int(v, 2, "start", 0);
    (void)p;
    ry_spec s = *ry_spec_of(G, src);
    ry_tensor idx = vec_iota(v, s.dim[axis], (double)(start < 0 ? start + vec_dim(v, x, axis) : start), (double)step);
    for (int i = axis + 1; i < s.rank; i++) idx = vec_unsqueeze(v, idx, -1);
    vec_out(v, ry_scatter(G, x, ry_expand(G, idx, s.rank, s.dim), src, axis, false));
}

/* ---------------------------------------------------------------- order of elements */

static void flip(vec *v, const char *p) {
    int64_t d[R];
    int n = t_ints(v, 0, "dims", d, R);
    ry_tensor x = t_self(v);
    if (*p == 'l') n = 1, d[0] = 1;
    if (*p == 'u') n = 1, d[0] = 0;
    for (int i = 0; i < n; i++) x = vec_flip(v, x, (int)d[i]);
    vec_out(v, x);
}
static ry_tensor rolled(vec *v, ry_tensor x, int axis, int64_t by) {
    int64_t n = vec_dim(v, x, axis);
    if (!vec_rank(v, x) || n == 0) return x;
    by = ((by % n) + n) % n;
    return by ? ry_concat(G, 2, (ry_tensor[]){vec_part(v, x, axis, n - by, by), vec_part(v, x, axis, 0, n - by)}, axis)
              : x;
}
static void roll(vec *v, const char *p) {
    int64_t by[R], d[R];
    int n = t_ints(v, 0, "shifts", by, R), m = t_ints(v, 1, "dims", d, R);
    ry_tensor x = t_self(v);
    (void)p;
    if (m <= 0) x = ry_reshape(G, rolled(v, vec_flat(v, x), 0, by[0]), rank(v), ry_spec_of(G, x)->dim);
    for (int i = 0; i < n && m > 0; i++) x = rolled(v, x, (int)d[i], by[i]);
    vec_out(v, x);
}
static void rot90(vec *v, const char *p) {
    int64_t d[2] = {0, 1};
    int k = (int)(((t_int(v, 0, "k", 1) % 4) + 4) % 4);
    ry_tensor x = t_self(v);
    (void)p;
    t_ints(v, 1, "dims", d, 2);
    int a = (int)d[0], b = (int)d[1];
    if (k == 1) x = ry_transpose(G, vec_flip(v, x, b), a, b);
    if (k == 2) x = vec_flip(v, vec_flip(v, x, a), b);
    if (k == 3) x = vec_flip(v, ry_transpose(G, x, a, b), b);
    vec_out(v, x);
}
static void tri(vec *v, const char *p) { vec_out(v, vec_tri(v, t_self(v), t_int(v, 0, "diagonal", 0), *p == 'u')); }
static ry_tensor embedded(vec *v, ry_tensor x, int64_t off) { /* x [..,n] on a diagonal of [..,m,m] */
    int64_t n = vec_dim(v, x, -1), m = n + (off < 0 ? -off : off);
    ry_tensor wide = vec_pad_axis(v, x, -1, 0, m - n, 0);
    ry_tensor r = vec_unsqueeze(v, vec_iota(v, m, 0, 1), 1), c = vec_iota(v, m, (double)-off, 1);
    ry_tensor placed = off >= 0 ? vec_unsqueeze(v, wide, -1) : vec_unsqueeze(v, wide, -2);
    return ry_select(G, ry_eq(G, r, c), placed, ry_cast(G, vec_number(v, 0, false), vec_dtype(v, x)));
}
static void diag_embed(vec *v, const char *p) {
    int64_t off = t_int(v, 0, "offset", 0);
    ry_tensor y = embedded(v, t_self(v), off);
    int r = vec_rank(v, y), a = axis_of(v, t_int(v, 1, "dim1", -2), r), b = axis_of(v, t_int(v, 2, "dim2", -1), r),
        perm[R], k = 0;
    (void)p;
    for (int i = 0; i < r; i++) perm[i] = i == a ? r - 2 : i == b ? r - 1 : k++;
    vec_out(v, ry_permute(G, y, perm));
}
static void diagonal(vec *v, const char *p) {
    bool matrix = *p == 'm';
    vec_out(v, vec_diagonal(v, t_self(v), t_int(v, 0, "offset", 0), (int)t_int(v, 1, "dim1", matrix ? -2 : 0),
                            (int)t_int(v, 2, "dim2", matrix ? -1 : 1)));
}
static void diag(vec *v, const char *p) {
    int64_t off = t_int(v, 0, "diagonal", t_int(v, -1, "offset", 0));
    if (*p == 'f')
        vec_out(v, embedded(v, vec_flat(v, t_self(v)), off));
    else
        vec_out(v, rank(v) == 1 ? embedded(v, t_self(v), off) : vec_diagonal(v, t_self(v), off, 0, 1));
}
static void trace(vec *v, const char *p) {
    (void)p;
    vec_out(v, ry_sum(G, vec_diagonal(v, t_self(v), 0, 0, 1), 0, false));
}
static void unfold(vec *v, const char *p) { /* x.unfold(dim, size, step) */
    ry_tensor x = t_self(v);
    int axis = axis_of(v, t_int(v, 0, "dimension", 0), rank(v));
    (void)p;
    if (!rank(v)) x = vec_unsqueeze(v, x, 0);
    ry_tensor y = vec_windows(v, x, axis, t_int(v, 1, "size", 1), t_int(v, 2, "step", 1), 1);
    y = vec_move(v, y, axis + 1, -1);
    vec_out(v, rank(v) ? y : vec_squeeze(v, y, 0));
}
static void meshgrid(vec *v, const char *p) {
    ry_tensor x[R];
    int n = list(v, x, R);
    (void)p;
    bool xy = !strcmp(t_text(v, -1, "indexing", "ij"), "xy") && n > 1;
    int64_t dim[R];
    for (int i = 0; i < n; i++) dim[xy && i < 2 ? 1 - i : i] = vec_numel(v, x[i]);
    for (int i = 0; i < n; i++) {
        int64_t one[R];
        for (int k = 0; k < n; k++) one[k] = 1;
        one[xy && i < 2 ? 1 - i : i] = vec_numel(v, x[i]);
        vec_out(v, ry_expand(G, ry_reshape(G, x[i], n, one), n, dim));
    }
}
static void broadcast_tensors(vec *v, const char *p) {
    ry_tensor x[R];
    int n = list(v, x, R), most = 0;
    int64_t dim[R];
    (void)p;
    for (int i = 0; i < n; i++) most = vec_rank(v, x[i]) > most ? vec_rank(v, x[i]) : most;
    for (int k = 0; k < most; k++) {
        dim[k] = 1;
        for (int i = 0; i < n; i++) {
            int at = k - (most - vec_rank(v, x[i]));
            if (at >= 0 && vec_dim(v, x[i], at) != 1) dim[k] = vec_dim(v, x[i], at);
        }
    }
    for (int i = 0; i < n; i++) vec_out(v, ry_expand(G, x[i], most, dim));
}
static void pixel(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    int64_t s = t_int(v, 0, *p == 's' ? "upscale_factor" : "downscale_factor", 1);
    ry_spec d = *ry_spec_of(G, x);
    int64_t c = d.dim[d.rank - 3], h = d.dim[d.rank - 2], w = d.dim[d.rank - 1], lead = 1;
    for (int i = 0; i < d.rank - 3; i++) lead *= d.dim[i];
    if (*p == 's') {
        x = ry_permute(G, ry_reshape(G, x, 6, (int64_t[]){lead, c / (s * s), s, s, h, w}), (int[]){0, 1, 4, 2, 5, 3});
        d.dim[d.rank - 3] = c / (s * s), d.dim[d.rank - 2] = h * s, d.dim[d.rank - 1] = w * s;
    } else {
        x = ry_permute(G, ry_reshape(G, x, 6, (int64_t[]){lead, c, h / s, s, w / s, s}), (int[]){0, 1, 3, 5, 2, 4});
        d.dim[d.rank - 3] = c * s * s, d.dim[d.rank - 2] = h / s, d.dim[d.rank - 1] = w / s;
    }
    vec_out(v, ry_reshape(G, x, d.rank, d.dim));
}
static void pad(vec *v, const char *p) {
    int64_t d[2 * R];
    int n = t_ints(v, 0, "pad", d, 2 * R), r = rank(v);
    const char *mode = t_text(v, 1, "mode", "constant");
    ry_tensor x = t_self(v);
    (void)p;
    for (int i = 0; i < n / 2; i++) {
        int axis = r - 1 - i;
        int64_t b = d[2 * i], a = d[2 * i + 1], size = vec_dim(v, x, axis);
        if (b < 0) x = vec_part(v, x, axis, -b, size + b), size += b, b = 0;
        if (a < 0) x = vec_part(v, x, axis, 0, size + a), a = 0;
        if (!strcmp(mode, "constant"))
            x = vec_pad_axis(v, x, axis, b, a, t_real(v, 2, "value", 0));
        else if (b || a)
            x = vec_index_pad(v, x, axis, b, a, mode);
    }
    vec_out(v, x);
}

const vec_row torch_shape[] = {{"reshape", reshape, "shape"},
                               {"view", reshape, "size"},
                               {"reshape_as", reshape, "shape"},
                               {"view_as", reshape, "size"},
                               {"permute", permute, NULL},
                               {"transpose", transpose, NULL},
                               {"swapaxes", transpose, NULL},
                               {"swapdims", transpose, NULL},
                               {"t", t_, "t"},
                               {"T", t_, "t"},
                               {"H", t_, "h"},
                               {"mT", t_, "2"},
                               {"mH", t_, "2"},
                               {"adjoint", t_, "2"},
                               {"movedim", movedim, NULL},
                               {"moveaxis", movedim, NULL},
                               {"flatten", flatten, ""},
                               {"ravel", flatten, "ravel"},
                               {"unflatten", unflatten, NULL},
                               {"squeeze", squeeze, NULL},
                               {"unsqueeze", unsqueeze, NULL},
                               {"expand", expand, "size"},
                               {"expand_as", expand, "size"},
                               {"broadcast_to", expand, "size"},
                               {"broadcast_tensors", broadcast_tensors, NULL},
                               {"repeat", repeat, "repeats"},
                               {"tile", repeat, "dims"},
                               {"repeat_interleave", repeat_interleave, NULL},
                               {"cat", cat, NULL},
                               {"concat", cat, NULL},
                               {"concatenate", cat, NULL},
                               {"stack", stack, "s"},
                               {"hstack", stack, "h"},
                               {"vstack", stack, "v"},
                               {"row_stack", stack, "v"},
                               {"dstack", stack, "d"},
                               {"column_stack", stack, "c"},
                               {"atleast_1d", atleast, "1"},
                               {"atleast_2d", atleast, "2"},
                               {"atleast_3d", atleast, "3"},
                               {"split", split, "s"},
                               {"split_with_sizes", split, "s"},
                               {"chunk", split, "c"},
                               {"unsafe_split", split, "s"},
                               {"unsafe_chunk", split, "c"},
                               {"tensor_split", tensor_split, "t"},
                               {"hsplit", tensor_split, "h"},
                               {"vsplit", tensor_split, "v"},
                               {"dsplit", tensor_split, "d"},
                               {"unbind", unbind, NULL},
                               {"narrow", narrow, NULL},
                               {"narrow_copy", narrow, NULL},
                               {"slice", slice, NULL},
                               {"select", select, NULL},
                               {"select_scatter", select_scatter, NULL},
                               {"slice_scatter", slice_scatter, NULL},
                               {"flip", flip, "f"},
                               {"fliplr", flip, "l"},
                               {"flipud", flip, "u"},
                               {"roll", roll, NULL},
                               {"rot90", rot90, NULL},
                               {"tril", tri, "l"},
                               {"triu", tri, "u"},
                               {"diag_embed", diag_embed, NULL},
                               {"diagonal", diagonal, "d"},
                               {"diagonal_copy", diagonal, "d"},
                               {"linalg.diagonal", diagonal, "m"},
                               {"diag", diag, "d"},
                               {"diagflat", diag, "f"},
                               {"trace", trace, NULL},
                               {"unfold", unfold, NULL},
                               {"unfold_copy", unfold, NULL},
                               {"meshgrid", meshgrid, NULL},
                               {"pixel_shuffle", pixel, "s"},
                               {"pixel_unshuffle", pixel, "u"},
                               {"pad", pad, NULL},
                               {NULL, NULL, NULL}};
