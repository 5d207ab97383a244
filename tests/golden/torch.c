/* torch.c - reads arguments of PyTorch calls from their JSON.  Owns nothing. */
#include "torch.h"
#include "core/op.h"
#include <math.h>
#include <string.h>

const ry_json *t_arg(vec *v, int pos, const char *name) {
    const ry_json *j = pos >= 0 && (size_t)pos < ry_json_count(v->args) ? ry_json_at(v->args, (size_t)pos)
                                                                        : ry_json_find(v->kwargs, name);
    return j && ry_json_kind_of(j) != RY_JSON_NULL ? j : NULL;
}

const ry_json *t_items(const ry_json *j) {
    if (ry_json_kind_of(j) == RY_JSON_ARRAY) return j;
    const ry_json *a = ry_json_find(j, "tuple");
    return a ? a : ry_json_find(j, "list");
}

bool t_is_tensor(const ry_json *j) { return ry_json_kind_of(j) == RY_JSON_OBJECT && ry_json_find(j, "tensor") != NULL; }

static bool number(const ry_json *j, double *out, bool *whole) {
    bool b;
    const char *text = ry_json_as_text(ry_json_kind_of(j) == RY_JSON_OBJECT ? ry_json_find(j, "float") : NULL, NULL);
    *whole = ry_json_kind_of(j) == RY_JSON_INT || ry_json_kind_of(j) == RY_JSON_BOOL;
    if (text) {
        *out = !strcmp(text, "inf") ? (double)INFINITY : !strcmp(text, "-inf") ? -(double)INFINITY : (double)NAN;
        return true;
    }
    if (ry_json_as_bool(j, &b)) {
        *out = b;
        return true;
    }
    return ry_json_as_real(j, out);
}

ry_tensor t_value(vec *v, const ry_json *j) {
    double x;
    bool whole;
    int64_t idx[64];
    if (!j) return RY_NULL;
    if (t_is_tensor(j)) return vec_tensor(v, ry_json_as_text(ry_json_find(j, "tensor"), NULL));
    if (number(j, &x, &whole)) return vec_number(v, x, whole);
    const ry_json *a = t_items(j);
    int64_t n = (int64_t)ry_json_count(a);
    for (int64_t i = 0; i < n && i < 64; i++)
        if (!ry_json_as_int(ry_json_at(a, (size_t)i), &idx[i]))
            return vec_refuse(v, "an argument that is no tensor, number or list of integers");
    return a && n <= 64 ? vec_ints(v, 1, &n, idx)
                        : vec_refuse(v, "an argument that is no tensor, number or list of integers");
}

ry_tensor t_self(vec *v) { return t_value(v, v->self); }
ry_tensor t_tensor(vec *v, int pos, const char *name) { return t_value(v, t_arg(v, pos, name)); }

int t_tensors(vec *v, const ry_json *j, ry_tensor *out, int cap) {
    if (t_is_tensor(j)) {
        out[0] = t_value(v, j);
        return 1;
    }
    const ry_json *a = t_items(j);
    int n = (int)ry_json_count(a);
    for (int i = 0; i < n && i < cap; i++) out[i] = t_value(v, ry_json_at(a, (size_t)i));
    if (n > cap) vec_refuse(v, "%d tensors", n);
    return n > cap ? cap : n;
}

double t_real(vec *v, int pos, const char *name, double otherwise) {
    double x;
    bool whole;
    const ry_json *j = t_arg(v, pos, name);
    return j && number(j, &x, &whole) ? x : otherwise;
}
int64_t t_int(vec *v, int pos, const char *name, int64_t otherwise) {
    double x = t_real(v, pos, name, (double)otherwise);
    return fabs(x) < 9e15 ? (int64_t)x : otherwise;
}
bool t_bool(vec *v, int pos, const char *name, bool otherwise) { return t_real(v, pos, name, otherwise) != 0; }
const char *t_text(vec *v, int pos, const char *name, const char *otherwise) {
    const char *s = ry_json_as_text(t_arg(v, pos, name), NULL);
    return s ? s : otherwise;
}

int t_ints(vec *v, int pos, const char *name, int64_t *out, int cap) {
    const ry_json *j = t_arg(v, pos, name), *a;
    if (!j) return -1;
    if (ry_json_as_int(j, &out[0])) return 1;
    a = t_items(j);
    if (!a) return -1;
    int n = (int)ry_json_count(a);
    for (int i = 0; i < n && i < cap; i++)
        if (!ry_json_as_int(ry_json_at(a, (size_t)i), &out[i])) out[i] = INT64_MIN;
    return n < cap ? n : cap;
}

ry_axes t_axes(vec *v, int pos, const char *name, bool *none) {
    int64_t d[RY_MAX_RANK];
    int n = t_ints(v, pos, name, d, RY_MAX_RANK);
    ry_axes axes = 0;
    if (none) *none = n == 0;
    for (int i = 0; i < n; i++) axes |= RY_AXIS((int)d[i]);
    return axes;
}

ry_tensor t_num(vec *v, double x) { return vec_number(v, x, false); }

ry_tensor t_reduce_loss(vec *v, ry_tensor loss, const char *reduction) {
    if (!strcmp(reduction, "mean")) return ry_mean(v->g, loss, 0, false);
    if (!strcmp(reduction, "sum")) return ry_sum(v->g, loss, 0, false);
    return loss;
}
