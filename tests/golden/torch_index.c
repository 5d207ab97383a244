/* torch_index.c - builders of PyTorch's operators that look elements up, write them by index, order or search them. */
#include "core/op.h"
#include "torch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static int axis_at(vec *v, ry_tensor x, int pos, int64_t otherwise) {
    int64_t a = t_int(v, pos, "dim", otherwise);
    int r = vec_rank(v, x);
    return (int)(a < 0 ? a + (r ? r : 1) : a);
}
/* index [R] as the axis of src */
static ry_tensor spread(vec *v, ry_tensor index, ry_tensor src, int axis) {
    ry_spec s = *ry_spec_of(G, src);
    index = vec_flat(v, index);
    for (int i = axis + 1; i < s.rank; i++) index = vec_unsqueeze(v, index, -1);
    return ry_expand(G, index, s.rank, s.dim);
}

static void gather(vec *v, const char *p) {
    ry_tensor x = t_self(v), idx = vec_cast(v, t_tensor(v, 1, "index"), RY_I64);
    (void)p;
    vec_out(v, ry_gather(G, x, idx, axis_at(v, x, 0, 0)));
}
static void take_along_dim(vec *v, const char *p) {
    ry_tensor x = t_self(v), idx = t_tensor(v, 0, "indices");
    (void)p;
    if (!t_arg(v, 1, "dim")) {
        vec_out(v, ry_gather(G, vec_flat(v, x), vec_flat(v, idx), 0));
        return;
    }
    int axis = axis_at(v, x, 1, 0), r = vec_rank(v, x);
    int64_t xd[R], id[R];
    for (int i = 0; i < r; i++) { /* all but the axis broadcast */
        int64_t a = vec_dim(v, x, i), b = vec_dim(v, idx, i), most = a == 1 ? b : a;
        xd[i] = i == axis ? a : most, id[i] = i == axis ? b : most;
    }
    vec_out(v, ry_gather(G, ry_expand(G, x, r, xd), vec_wrap(v, ry_expand(G, idx, r, id), xd[axis]), axis));
}
static void take(vec *v, const char *p) {
    ry_tensor x = vec_flat(v, t_self(v)), idx = t_tensor(v, 0, "index");
    (void)p;
    vec_out(v, ry_take(G, x, vec_wrap(v, idx, vec_numel(v, x)), 0));
}
static void index_select(vec *v, const char *p) {
    ry_tensor x = t_self(v), idx = vec_flat(v, t_tensor(v, 1, "index"));
    (void)p;
    if (!vec_rank(v, x))
        vec_out(v, vec_squeeze(v, ry_take(G, vec_unsqueeze(v, x, 0), idx, 0), 0));
    else
        vec_out(v, ry_take(G, x, idx, axis_at(v, x, 0, 0)));
}
static void scatter(vec *v, const char *p) {
    ry_tensor x = t_self(v), idx = t_tensor(v, 1, "index");
    const char *reduce = t_text(v, -1, "reduce", p);
    int axis = axis_at(v, x, 0, 0);
    ry_spec s = *ry_spec_of(G, idx);
    const ry_json *j = t_arg(v, 2, "src");
    ry_tensor src = t_value(v, j ? j : t_arg(v, 2, "value"));
    if (!t_is_tensor(j)) src = ry_expand(G, vec_cast(v, src, vec_dtype(v, x)), s.rank, s.dim);
    if (!strcmp(reduce, "multiply"))
        vec_out(v, vec_scatter_reduce(v, x, axis, idx, src, "prod", true));
    else
        vec_out(v, ry_scatter(G, x, idx, src, axis, !strcmp(reduce, "add")));
}
static void scatter_reduce(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    (void)p;
    vec_out(v, vec_scatter_reduce(v, x, axis_at(v, x, 0, 0), t_tensor(v, 1, "index"), t_tensor(v, 2, "src"),
                                  t_text(v, 3, "reduce", "sum"), t_bool(v, -1, "include_self", true)));
}
static void index_write(vec *v, const char *p) { /* index_add, index_copy, index_fill */
    ry_tensor x = t_self(v), idx = t_tensor(v, 1, "index"), src = RY_NULL;
    int axis = axis_at(v, x, 0, 0);
    bool scalar = !vec_rank(v, x);
    if (scalar) x = vec_unsqueeze(v, x, 0);
    if (*p == 'f') { /* a place named twice is filled, and counts, once */
        ry_tensor wrapped = vec_wrap(v, vec_cast(v, vec_flat(v, idx), RY_I32), vec_dim(v, x, axis));
        ry_tensor hit = ry_any(G, ry_eq(G, vec_unsqueeze(v, wrapped, 1), vec_iota(v, vec_dim(v, x, axis), 0, 1)),
                               RY_AXIS(0), false);
        for (int i = axis + 1; i < vec_rank(v, x); i++) hit = vec_unsqueeze(v, hit, -1);
        ry_tensor filled = ry_select(G, hit, vec_cast(v, t_tensor(v, 2, "value"), vec_dtype(v, x)), x);
        vec_out(v, scalar ? vec_squeeze(v, filled, 0) : filled);
        return;
    }
    src = t_tensor(v, 2, "source");
    if (!vec_rank(v, src)) src = vec_unsqueeze(v, src, 0);
    double alpha = t_real(v, -1, "alpha", 1);
    if (alpha != 1) src = ry_mul(G, src, t_num(v, alpha));
    ry_tensor y = ry_scatter(G, x, spread(v, idx, src, axis), src, axis, *p == 'a');
    vec_out(v, scalar ? vec_squeeze(v, y, 0) : y);
}
static void masked_select(vec *v, const char *p) {
    (void)p;
    vec_refuse(v, "the shape depends on values");
}
static void masked_scatter(vec *v, const char *p) {
    ry_tensor x = t_self(v), mask = t_tensor(v, 0, "mask"), src = vec_flat(v, t_tensor(v, 1, "source"));
    (void)p;
    x = ry_add(G, x, vec_cast(v, ry_and(G, mask, ry_not(G, mask)), vec_dtype(v, x))); /* in the shape of both */
    ry_spec s = *ry_spec_of(G, x);
    mask = ry_expand(G, mask, s.rank, s.dim);
    ry_tensor nth = ry_cumsum(G, vec_cast(v, vec_flat(v, mask), RY_I32), 0, true, false); /* how many before me */
    nth = ry_min(G, vec_cast(v, nth, RY_I32), vec_cast(v, vec_number(v, (double)vec_numel(v, src) - 1, true), RY_I32));
    vec_out(v, ry_select(G, mask, ry_reshape(G, ry_take(G, src, nth, 0), s.rank, s.dim), x));
}

/* ---------------------------------------------------------------- x[...] */

typedef struct lookup {
    ry_tensor idx[R];
    int axis[R];
    int n;
} lookup; /* advanced indices, by the axis they stand at */

/* Advanced indices at once: their axes go to the front, become one, and are looked up; the result comes where the first stood if
 * they are neighbours, else to the front. */
static ry_tensor look_up(vec *v, ry_tensor x, lookup *l) {
    int r = vec_rank(v, x), perm[R], k = 0, ir = 0;
    int64_t lead = 1, dim[R];
    bool together = true;
    for (int i = 0; i < l->n; i++) {
        perm[k++] = l->axis[i];
        together = together && l->axis[i] == l->axis[0] + i;
    }
    for (int d = 0; d < r; d++) {
        bool taken = false;
        for (int i = 0; i < l->n; i++) taken |= l->axis[i] == d;
        if (!taken) perm[k++] = d;
    }
    ry_tensor y = r ? ry_permute(G, x, perm) : x, at = RY_NULL;
    for (int i = 0; i < l->n; i++) {
        int64_t n = vec_dim(v, y, i);
        ry_tensor one = vec_wrap(v, vec_cast(v, l->idx[i], RY_I32), n);
        at = i ? ry_add(G, ry_mul(G, at, vec_cast(v, vec_number(v, (double)n, true), RY_I32)), one) : one;
        lead *= n;
    }
    dim[0] = lead;
    for (int i = l->n; i < r; i++) dim[1 + i - l->n] = vec_dim(v, y, i);
    ir = vec_rank(v, at);
    ry_spec is = *ry_spec_of(G, at);
    y = ry_take(G, ry_reshape(G, y, r - l->n + 1, dim), vec_flat(v, at), 0); /* [I, rest..] */
    int64_t full[2 * R];
    for (int i = 0; i < ir; i++) full[i] = is.dim[i];
    for (int i = 1; i < r - l->n + 1; i++) full[ir + i - 1] = dim[i];
    y = ry_reshape(G, y, ir + r - l->n, full);
    for (int i = 0; together && i < ir && l->axis[0] > 0; i++) y = vec_move(v, y, 0, l->axis[0] + ir - 1);
    return y;
}
static void getitem(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    const ry_json *j = t_arg(v, 0, "index"), *a = t_items(j);
    lookup l = {.n = 0};
    int axis = 0;
    bool plain = true; /* a list of integers alone is one index of axis 0 */
    int64_t i64;
    (void)p;
    for (size_t i = 0; i < ry_json_count(a); i++) plain = plain && ry_json_as_int(ry_json_at(a, i), &i64);
    size_t n = a && !(plain && ry_json_find(j, "list")) ? ry_json_count(a) : 1;
    for (size_t i = 0; i < n; i++) {
        const ry_json *e = a && !(plain && ry_json_find(j, "list")) ? ry_json_at(a, i) : j,
                      *s = ry_json_find(e, "slice");
        if (s) {
            int64_t b[3] = {0, INT32_MAX, 1};
            for (size_t k = 0; k < 3; k++) (void)ry_json_as_int(ry_json_at(s, k), &b[k]);
            x = ry_slice(G, x, axis++, b[0], b[1], b[2]);
        } else if (ry_json_kind_of(e) == RY_JSON_NULL) {
            x = vec_unsqueeze(v, x, axis++);
        } else if (ry_json_as_int(e, &i64)) {
            x = vec_pick(v, x, axis, i64);
        } else if (ry_json_kind_of(e) == RY_JSON_OBJECT && ry_json_find(e, "ellipsis")) {
            axis = vec_rank(v, x) - (int)(n - i - 1);
        } else {
            l.idx[l.n] = t_value(v, e);
            if (vec_dtype(v, l.idx[l.n]) == RY_BOOL) {
                vec_refuse(v, "the shape depends on values");
                return;
            }
            l.axis[l.n++] = axis++;
        }
    }
    vec_out(v, l.n ? look_up(v, x, &l) : x);
}
static void index_put(vec *v, const char *p) { /* indices on the leading axes */
    ry_tensor x = t_self(v), idx[R], at = RY_NULL, src = t_tensor(v, 1, "values");
    int n = t_tensors(v, t_arg(v, 0, "indices"), idx, R), r = vec_rank(v, x);
    int64_t lead = 1, dim[R], full[2 * R];
    (void)p;
    for (int i = 0; i < n; i++) {
        if (vec_dtype(v, idx[i]) == RY_BOOL) {
            vec_refuse(v, "a mask as index: the number of elements depends on values");
            return;
        }
        int64_t d = vec_dim(v, x, i);
        ry_tensor one = vec_wrap(v, vec_cast(v, idx[i], RY_I32), d);
        at = i ? ry_add(G, ry_mul(G, at, vec_cast(v, vec_number(v, (double)d, true), RY_I32)), one) : one;
        lead *= d;
    }
    ry_spec is = *ry_spec_of(G, at), xs = *ry_spec_of(G, x);
    for (int i = 0; i < is.rank; i++) full[i] = is.dim[i];
    dim[0] = lead;
    for (int i = n; i < r; i++) full[is.rank + i - n] = dim[1 + i - n] = xs.dim[i];
    src = ry_expand(G, src, is.rank + r - n, full);
    int64_t rows[R];
    memcpy(rows, dim, sizeof rows);
    rows[0] = vec_numel(v, at);
    src = ry_reshape(G, src, r - n + 1, rows);
    ry_tensor y = ry_scatter(G, ry_reshape(G, x, r - n + 1, dim), spread(v, at, src, 0), src, 0,
                             t_bool(v, 2, "accumulate", false));
    vec_out(v, ry_reshape(G, y, r, xs.dim));
}

/* ---------------------------------------------------------------- order and search */

static void sort(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    bool scalar = !vec_rank(v, x), arg = *p == 'a', first = *p == 'm';
    ry_tensor y = ry_sort(G, scalar ? vec_unsqueeze(v, x, 0) : x,
                          first    ? 0
                          : scalar ? 0
                                   : (int)t_int(v, 0, "dim", -1),
                          t_bool(v, 1, "descending", false));
    for (int i = arg ? 1 : 0; i < (first ? 1 : 2); i++)
        vec_out(v, scalar ? vec_squeeze(v, ry_out(G, y, i), 0) : ry_out(G, y, i));
}
static void topk(vec *v, const char *p) {
    ry_tensor x = t_self(v);
    bool scalar = !vec_rank(v, x), largest = t_bool(v, 2, "largest", true);
    int64_t k = t_int(v, 0, "k", 1);
    int axis = scalar ? 0 : (int)t_int(v, 1, "dim", -1);
    (void)p;
    if (scalar) x = vec_unsqueeze(v, x, 0);
    ry_tensor y = largest ? ry_top_k(G, x, k, axis) : ry_sort(G, x, axis, false);
    for (int i = 0; i < 2; i++) {
        ry_tensor o = largest ? ry_out(G, y, i) : vec_part(v, ry_out(G, y, i), axis, 0, k);
        vec_out(v, scalar ? vec_squeeze(v, o, 0) : o);
    }
}
static void kthvalue(vec *v, const char *p) { /* of median: the lower of the middle ones */
    ry_tensor x = t_self(v);
    bool median = *p == 'm', all = median && !t_arg(v, 0, "dim"), keep = t_bool(v, median ? 1 : 2, "keepdim", false);
    if (all) x = vec_flat(v, x);
    bool scalar = !vec_rank(v, x);
    int axis = scalar || all ? 0 : (int)t_int(v, median ? 0 : 1, "dim", -1);
    if (scalar) x = vec_unsqueeze(v, x, 0);
    int64_t k = median ? (vec_dim(v, x, axis) + 1) / 2 : t_int(v, 0, "k", 1);
    ry_tensor y = ry_sort(G, x, axis, false);
    for (int i = 0; i < (all ? 1 : 2); i++) {
        ry_tensor o = vec_part(v, ry_out(G, y, i), axis, k - 1, 1);
        vec_out(v, (keep && !scalar) ? o : vec_squeeze(v, o, axis));
    }
}
/* How many of the sorted boundaries [.., N] are below each value. */
static ry_tensor below(vec *v, ry_tensor bounds, ry_tensor values, bool right) {
    ry_tensor b = vec_unsqueeze(v, bounds, -2), x = vec_unsqueeze(v, values, -1);
    return ry_sum(G, vec_cast(v, right ? ry_le(G, b, x) : ry_lt(G, b, x), RY_I32), RY_AXIS(-1), false);
}
static void bucketize(vec *v, const char *p) {
    ry_tensor x = t_self(v), b = t_tensor(v, 0, "boundaries");
    (void)p;
    ry_tensor y = below(v, b, vec_flat(v, x), t_bool(v, -1, "right", false));
    vec_out(v, ry_reshape(G, y, vec_rank(v, x), ry_spec_of(G, x)->dim));
}
static void searchsorted(vec *v, const char *p) {
    ry_tensor s = t_self(v), x = t_tensor(v, 0, "self"), sorter = t_tensor(v, -1, "sorter");
    bool right = t_bool(v, -1, "right", false) || !strcmp(t_text(v, -1, "side", "left"), "right");
    (void)p;
    if (t_arg(v, -1, "sorter")) s = ry_gather(G, s, sorter, -1);
    if (vec_rank(v, s) == 1) {
        ry_tensor y = below(v, s, vec_flat(v, x), right);
        vec_out(v, ry_reshape(G, y, vec_rank(v, x), ry_spec_of(G, x)->dim));
    } else
        vec_out(v, below(v, s, x, right));
}
static void cummax(vec *v, const char *p) { /* the place of the latest largest so far, then what stands there */
    ry_tensor x = t_self(v), value = x;
    bool scalar = !vec_rank(v, x);
    if (scalar) value = x = vec_unsqueeze(v, x, 0);
    int axis = axis_at(v, x, 0, 0);
    int64_t n = vec_dim(v, x, axis);
    ry_spec s = *ry_spec_of(G, x);
    s.dtype = RY_I32;
    ry_tensor at = ry_iota(G, &s, axis, 0, 1);
    for (int64_t k = 1; k < n; k *= 2) {
        double worst = *p == 'x' ? -(double)INFINITY : (double)INFINITY;
        ry_tensor v0 = vec_pad_axis(v, vec_part(v, value, axis, 0, n - k), axis, k, 0, worst),
                  a0 = vec_pad_axis(v, vec_part(v, at, axis, 0, n - k), axis, k, 0, 0);
        ry_tensor stay = *p == 'x' ? ry_ge(G, value, v0) : ry_le(G, value, v0);
        at = ry_select(G, stay, at, a0), value = ry_select(G, stay, value, v0);
    }
    ry_tensor y = ry_gather(G, x, at, axis);
    vec_out(v, scalar ? vec_squeeze(v, y, 0) : y);
    vec_out(v, scalar ? vec_squeeze(v, at, 0) : at);
}
static void one_hot(vec *v, const char *p) {
    int64_t n = t_int(v, 0, "num_classes", -1);
    ry_tensor x = t_self(v);
    (void)p;
    if (n < 0)
        vec_refuse(v, "the shape depends on values");
    else
        vec_out(v, vec_cast(v, ry_eq(G, vec_unsqueeze(v, x, -1), vec_cast(v, vec_iota(v, n, 0, 1), vec_dtype(v, x))),
                            RY_I64));
}
/* Row r of a matrix argument as numbers, not as part of the input. */
static ry_tensor frozen_row(vec *v, const ry_json *j, int64_t r) {
    const st_entry *e = vec_entry(v->file, ry_json_as_text(ry_json_find(j, "tensor"), NULL));
    double *x = e ? vec_doubles(e) : NULL;
    int64_t n = e ? e->dim[1] : 0;
    ry_tensor part[RY_MAX_SRC], y = RY_NULL;
    if (!x || n < 1 || n > RY_MAX_SRC) {
        free(x);
        return vec_refuse(v, "padding_idx: a row of more than %d numbers", RY_MAX_SRC);
    }
    for (int64_t i = 0; i < n; i++) part[i] = ry_fill(G, &RY_SHAPE(RY_F32, 1), x[r * n + i]);
    y = ry_concat(G, (size_t)n, part, 0);
    free(x);
    return y;
}
static void embedding(vec *v, const char *p) { /* OpInfo's lambda takes the weight first, the function the ids */
    bool swapped = ry_is_float(vec_dtype(v, t_self(v)));
    const ry_json *weight = swapped ? v->self : t_arg(v, 0, "weight");
    ry_tensor ids = swapped ? t_tensor(v, 0, "input") : t_self(v), w = t_value(v, weight);
    int64_t pad = t_int(v, 1, "padding_idx", INT32_MIN);
    (void)p;
    if (t_arg(v, 2, "max_norm")) {
        vec_refuse(v, "max_norm changes the weight");
        return;
    }
    ry_tensor y = ry_embedding(G, w, ids);
    if (pad != INT32_MIN) { /* that row is read but gets no gradient: what is looked up there is made of a constant */
        if (pad < 0) pad += vec_dim(v, w, 0);
        ry_tensor row = vec_unsqueeze(v, ry_eq(G, ids, vec_number(v, (double)pad, true)), -1);
        y = ry_select(G, row, frozen_row(v, weight, pad), y);
    }
    if (t_bool(v, 4, "scale_grad_by_freq", false)) vec_refuse(v, "scale_grad_by_freq");
    vec_out(v, y);
}
static void refuse(vec *v, const char *p) { vec_refuse(v, "%s", p); }

const vec_row torch_index[] = {{"gather", gather, NULL},
                               {"take_along_dim", take_along_dim, NULL},
                               {"take", take, NULL},
                               {"index_select", index_select, NULL},
                               {"scatter", scatter, ""},
                               {"scatter_add", scatter, "add"},
                               {"scatter_reduce", scatter_reduce, NULL},
                               {"index_add", index_write, "add"},
                               {"index_copy", index_write, "copy"},
                               {"index_fill", index_write, "fill"},
                               {"index_put", index_put, NULL},
                               {"masked_select", masked_select, NULL},
                               {"masked_scatter", masked_scatter, NULL},
                               {"__getitem__", getitem, NULL},
                               {"sort", sort, "s"},
                               {"argsort", sort, "a"},
                               {"msort", sort, "m"},
                               {"topk", topk, NULL},
                               {"kthvalue", kthvalue, "k"},
                               {"median", kthvalue, "m"},
                               {"bucketize", bucketize, NULL},
                               {"searchsorted", searchsorted, NULL},
                               {"cummax", cummax, "x"},
                               {"cummin", cummax, "n"},
                               {"one_hot", one_hot, NULL},
                               {"embedding", embedding, NULL},
                               {"unique", refuse, "the shape depends on values"},
                               {"unique_consecutive", refuse, "the shape depends on values"},
                               {"nonzero", refuse, "the shape depends on values"},
                               {"argwhere", refuse, "the shape depends on values"},
                               {"bincount", refuse, "the shape depends on values"},
                               {NULL, NULL, NULL}};
