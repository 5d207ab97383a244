/* spec.c - arithmetic on shapes.  No tensor data, no graph. */
#include "core/op.h"
#include <stdio.h>
#include <string.h>

ry_spec ry_shape(ry_dtype t, int rank, const int64_t *dims) {
    ry_spec s = {.dtype = t, .rank = rank};
    for (int i = 0; i < rank && i < RY_MAX_RANK; i++) s.dim[i] = dims[i];
    return s;
}

int64_t ry_numel(const ry_spec *s) {
    int64_t n = 1;
    bool empty = false;
    if (s->rank < 0 || s->rank > RY_MAX_RANK) return -1;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0) return -1;
        if (s->dim[i] == 0) empty = true;
        else if (n > INT64_MAX / s->dim[i]) return -1;
        else n *= s->dim[i];
    }
    return empty ? 0 : n;
}

int64_t ry_count(const ry_spec *s) { return ry_count_range(s, 0, s->rank); }

int64_t ry_count_range(const ry_spec *s, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= s->dim[i];
    return n;
}

ry_shape_str ry_show(const ry_spec *s) {
    ry_shape_str r;
    size_t n = 0, cap = sizeof r.s;
    r.s[n++] = '[';
    for (int i = 0; i < s->rank && i < RY_MAX_RANK && n + 24 < cap; i++)
        n += (size_t)snprintf(r.s + n, cap - n, i ? ",%lld" : "%lld", (long long)s->dim[i]);
    snprintf(r.s + n, cap - n, "] %s", ry_dtype_name(s->dtype));
    return r;
}

bool ry_same_shape(const ry_spec *a, const ry_spec *b) {
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

bool ry_same_spec(const ry_spec *a, const ry_spec *b) { return a->dtype == b->dtype && ry_same_shape(a, b); }

ry_status ry_broadcast(ry_spec *out, const ry_spec *a, const ry_spec *b) {
    ry_spec r = {.dtype = out->dtype, .rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 1; i <= r.rank; i++) {
        int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1, y = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (x != y && x != 1 && y != 1) return RY_ESHAPE;
        r.dim[r.rank - i] = x == 1 ? y : x;
    }
    *out = r;
    return RY_OK;
}

int ry_axis(const ry_spec *s, int axis) {
    int a = axis < 0 ? axis + s->rank : axis;
    return a >= 0 && a < s->rank ? a : -1;
}

unsigned ry_axes_bits(const ry_spec *s, ry_axes axes) {
    unsigned bits = 0, all = (1u << s->rank) - 1;
    if (!axes) return all;
    for (int i = 0; i < s->rank; i++)
        if (axes & (RY_AXIS(i) | RY_AXIS(i - s->rank))) bits |= 1u << i;
    return bits;
}

bool ry_is_dense(const ry_value *v) {
    int64_t step = 1;
    for (int i = v->spec.rank - 1; i >= 0; i--) {
        if (v->spec.dim[i] == 0) return true;
        if (v->spec.dim[i] != 1 && v->stride[i] != step) return false;
        step *= v->spec.dim[i];
    }
    return true;
}

enum { PART_ELEMENTS = 16384 };

static int64_t rows_in_part(int64_t n) {
    if (n < 1) return INT64_MAX;
    return n >= PART_ELEMENTS ? 1 : PART_ELEMENTS / n;
}

int64_t ry_row_parts(int64_t rows, int64_t n) {
    int64_t per = rows_in_part(n);
    return rows <= per ? 1 : (rows + per - 1) / per;
}

void ry_row_range(int64_t rows, int64_t n, int64_t part, int64_t *begin, int64_t *end) {
    int64_t per = rows_in_part(n);
    if (rows <= per) {
        *begin = 0, *end = rows;
        return;
    }
    *begin = part * per;
    *end = *begin + per < rows ? *begin + per : rows;
}

void ry_around(const ry_spec *s, int axis, int64_t *outer, int64_t *len, int64_t *inner) {
    *outer = ry_count_range(s, 0, axis);
    *len = s->dim[axis];
    *inner = ry_count_range(s, axis + 1, s->rank);
}
