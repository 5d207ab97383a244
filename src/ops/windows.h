/* windows.h - what convolution and pooling over planes share: the arithmetic of windows, and windows as slices for the lowered forms.
 * Private to src/ops.  Axes 2 and 3 are rows and columns of a plane. */
#ifndef RY_OPS_WINDOWS_H
#define RY_OPS_WINDOWS_H
#include "core/op.h"
#include <rusty/ops.h>

typedef struct windows {
    int64_t in[2], size[2], stride[2], pad[2], dilation[2], out[2];
} windows;

/* Reach of a window from its first to its last element. */
static inline int64_t windows_reach(const windows *w, int i) { return w->dilation[i] * (w->size[i] - 1) + 1; }

/* Fills out; ESHAPE where a window is larger than the padded plane. All fields are known to be sane: windows_check. */
static inline ry_status windows_count(windows *w, const ry_node *n, bool ceil_mode) {
    for (int i = 0; i < 2; i++) {
        int64_t room = w->in[i] + 2 * w->pad[i] - windows_reach(w, i);
        if (room < 0)
            return ry_fail_node(n, RY_ESHAPE,
                                "a window reaches over %lld elements, the plane with its padding has %lld",
                                (long long)windows_reach(w, i), (long long)(w->in[i] + 2 * w->pad[i]));
        w->out[i] = (room + (ceil_mode ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
        if (ceil_mode && (w->out[i] - 1) * w->stride[i] >= w->in[i] + w->pad[i])
            w->out[i]--; /* the last window must begin inside */
    }
    return RY_OK;
}

static inline ry_status windows_check(const windows *w, const ry_node *n) {
    enum { MOST = 1 << 24 };
    for (int i = 0; i < 2; i++)
        if (w->size[i] < 1 || w->stride[i] < 1 || w->pad[i] < 0 || w->dilation[i] < 1 || w->size[i] > MOST ||
            w->stride[i] > MOST || w->pad[i] > MOST || w->dilation[i] > MOST || w->in[i] > ((int64_t)1 << 56))
            return ry_fail_node(n, RY_EARG,
                                "window %lld, stride %lld, padding %lld, dilation %lld: they must be positive (padding "
                                "may be 0) and below %d",
                                (long long)w->size[i], (long long)w->stride[i], (long long)w->pad[i],
                                (long long)w->dilation[i], MOST);
    return RY_OK;
}

/* Last row or column that windows touch, plus one, counted from the first padding element; and the padded plane's length. */
static inline int64_t windows_span(const windows *w, int i) {
    int64_t used = w->out[i] ? (w->out[i] - 1) * w->stride[i] + windows_reach(w, i) : 0, have = w->in[i] + w->pad[i];
    return used > have ? used : have;
}

/* x [A,B,H,W] with `value` around it, as far as windows reach. */
static inline ry_tensor windows_pad(ry_graph *g, ry_tensor x, const windows *w, double value) {
    int64_t before[] = {0, 0, w->pad[0], w->pad[1]}, after[] = {0, 0, 0, 0};
    for (int i = 0; i < 2; i++) after[2 + i] = windows_span(w, i) - w->pad[i] - w->in[i];
    return ry_pad(g, x, before, after, value);
}

/* Element (i, j) of every window: [A,B,OH,OW] of a padded plane. */
static inline ry_tensor windows_tap(ry_graph *g, ry_tensor padded, const windows *w, int64_t i, int64_t j) {
    int64_t at[] = {i, j};
    for (int d = 0; d < 2; d++) {
        int64_t start = at[d] * w->dilation[d];
        padded = ry_slice(g, padded, 2 + d, start, w->out[d] ? start + (w->out[d] - 1) * w->stride[d] + 1 : start,
                          w->stride[d]);
    }
    return padded;
}

/* The transpose of pad and tap: y [A,B,OH,OW] put where element (i, j) of every window came from, zeros elsewhere: [A,B,H,W]. */
static inline ry_tensor windows_place(ry_graph *g, ry_tensor y, const windows *w, int64_t i, int64_t j) {
    const ry_spec *s = ry_spec_of(g, y);
    if (!s) return y;
    int64_t A = s->dim[0], B = s->dim[1], at[] = {i * w->dilation[0], j * w->dilation[1]};
    int64_t none[6] = {0}, gaps[6] = {0, 0, 0, w->stride[0] - 1, 0, w->stride[1] - 1}, before[4] = {0}, after[4] = {0};
    y = ry_pad(g, RY_RESHAPE(g, y, A, B, w->out[0], 1, w->out[1], 1), none, gaps, 0);
    y = RY_RESHAPE(g, y, A, B, w->out[0] * w->stride[0], w->out[1] * w->stride[1]);
    for (int d = 0; d < 2; d++) {
        int64_t length = w->out[d] ? (w->out[d] - 1) * w->stride[d] + 1 : 0;
        y = ry_slice(g, y, 2 + d, 0, length, 1);
        before[2 + d] = at[d];
        after[2 + d] = windows_span(w, d) - at[d] - length;
    }
    y = ry_pad(g, y, before, after, 0);
    for (int d = 0; d < 2; d++) y = ry_slice(g, y, 2 + d, w->pad[d], w->pad[d] + w->in[d], 1);
    return y;
}
#endif
