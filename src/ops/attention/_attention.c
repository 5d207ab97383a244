/* _attention.c - shared by attention's forward and backward: checks, visible keys, and the composed form. */
#include "ops/attention/attention.h"
#include "simd/simd.h"
#include <math.h>
#include <rusty/ops.h>
#include <string.h>

#define LOG2E 1.4426950408889634

const ry_arg attention_args_of[] = {
    RY_ARG(attention_args, scale, RY_ARG_F64),   RY_ARG(attention_args, softcap, RY_ARG_F64),
    RY_ARG(attention_args, window, RY_ARG_I64),  RY_ARG(attention_args, product, RY_ARG_I32),
    RY_ARG(attention_args, causal, RY_ARG_BOOL), {0}};

/* ---- shapes ---- */

static const ry_value *option(const ry_node *n, int options, int which) {
    return options + which < n->n_src ? n->src[options + which] : NULL;
}

static ry_status check_ids(const ry_node *n, const ry_value *v, const char *what, int rank, int64_t d0, int64_t d1) {
    if (v->spec.dtype == RY_I32 && v->spec.rank == rank && v->spec.dim[0] == d0 && (rank < 2 || v->spec.dim[1] == d1))
        return RY_OK;
    ry_spec want = {.dtype = RY_I32, .rank = rank, .dim = {d0, d1}};
    return ry_fail_node(n, RY_ESHAPE, "%s is %s, it must be %s", what, ry_show(&v->spec).s, ry_show(&want).s);
}

ry_status attention_check(const ry_node *n, int options) {
    static const char *const what[] = {"q", "k", "v"};
    const attention_args *a = n->args;
    for (int i = ATT_Q; i <= ATT_V; i++) {
        bool blocks = i != ATT_Q && options == ATT_V + 1 && n->src[i]->spec.dtype == RY_Q8_0; /* a cache; it has no gradient */
        if (!blocks) RY_TRY(product_operand(n, i, what[i]));
        if (n->src[i]->spec.rank != 4)
            return ry_fail_node(n, RY_ESHAPE, "%s is %s, it must be [%s]", what[i], ry_show(&n->src[i]->spec).s,
                                i ? "B,S,G,D" : "B,T,H,D");
    }
    const ry_spec *q = &n->src[ATT_Q]->spec, *k = &n->src[ATT_K]->spec, *v = &n->src[ATT_V]->spec;
    if (k->dim[0] != q->dim[0] || k->dim[3] != q->dim[3])
        return ry_fail_node(n, RY_ESHAPE, "k is %s, with q %s it must be [%lld,S,G,%lld]", ry_show(k).s, ry_show(q).s,
                            (long long)q->dim[0], (long long)q->dim[3]);
    if (v->dim[0] != k->dim[0] || v->dim[1] != k->dim[1] || v->dim[2] != k->dim[2])
        return ry_fail_node(n, RY_ESHAPE, "v is %s, with k %s it must be [%lld,%lld,%lld,Dv]", ry_show(v).s,
                            ry_show(k).s, (long long)k->dim[0], (long long)k->dim[1], (long long)k->dim[2]);
    if (k->dim[2] == 0 ? q->dim[2] != 0 : q->dim[2] % k->dim[2] != 0)
        return ry_fail_node(n, RY_ESHAPE, "%lld query heads are no multiple of %lld key heads", (long long)q->dim[2],
                            (long long)k->dim[2]);
    const ry_value *mask = option(n, options, ATT_MASK), *sq = option(n, options, ATT_SEG_Q),
                   *sk = option(n, options, ATT_SEG_K);
    const ry_value *length = option(n, options, ATT_LENGTH);
    ry_spec scores = {.dtype = RY_F32, .rank = 4, .dim = {q->dim[0], q->dim[2], q->dim[1], k->dim[1]}};
    if (ry_numel(&scores) < 0) return ry_fail_node(n, RY_ESHAPE, "%s with %s is too large", ry_show(q).s, ry_show(k).s);
    if (mask) {
        ry_spec both = scores;
        if (!ry_is_float(mask->spec.dtype))
            return ry_fail_node(n, RY_EDTYPE, "the mask is %s; it is added to the scores, so it must be of floats",
                                ry_show(&mask->spec).s);
        if (ry_broadcast(&both, &scores, &mask->spec) != RY_OK || !ry_same_shape(&both, &scores))
            return ry_fail_node(n, RY_ESHAPE, "the mask is %s, it must broadcast to %s", ry_show(&mask->spec).s,
                                ry_show(&scores).s);
    }
    if (!sq != !sk) return ry_fail_node(n, RY_EARG, "segments are given for both queries and keys, or for neither");
    if (sq) RY_TRY(check_ids(n, sq, "segment_q", 2, q->dim[0], q->dim[1]));
    if (sk) RY_TRY(check_ids(n, sk, "segment_k", 2, k->dim[0], k->dim[1]));
    if (length) RY_TRY(check_ids(n, length, "length", 1, q->dim[0], 0));
    if (!a) return RY_OK;
    if (!(a->softcap >= 0) || !isfinite(a->softcap) || !isfinite(a->scale) || a->window < 0)
        return ry_fail_node(n, RY_EARG, "scale %g, softcap %g and window %lld: finite, softcap and window not negative",
                            a->scale, a->softcap, (long long)a->window);
    return product_check(n, a->product);
}

attention_operand attention_of(const ry_value *v, void *const *src, int i) {
    return (attention_operand){src ? src[i] : NULL, v->spec.dtype, v->stride[0], v->stride[1], v->stride[2]};
}

/* bf16 where the machine multiplies it; to imitate it by rounding would take time and give nothing. */
static ry_dtype factors_of(int32_t product) {
    bool here = (simd_extras() & (SIMD_AVX512_BF16 | SIMD_AMX_BF16)) != 0;
    return here ? product_of(product) : RY_F32;
}

void attention_open(attention_job *j, const ry_node *n, void *const *src, int options) {
    const attention_args *a = n->args;
    const ry_spec *q = &n->src[ATT_Q]->spec, *k = &n->src[ATT_K]->spec, *v = &n->src[ATT_V]->spec;
    *j = (attention_job){.B = q->dim[0],
                         .T = q->dim[1],
                         .H = q->dim[2],
                         .D = q->dim[3],
                         .S = k->dim[1],
                         .G = k->dim[2],
                         .Dv = v->dim[3],
                         .q = attention_of(n->src[ATT_Q], src, ATT_Q),
                         .k = attention_of(n->src[ATT_K], src, ATT_K),
                         .v = attention_of(n->src[ATT_V], src, ATT_V),
                         .cap = (float)a->softcap,
                         .window = a->window,
                         .causal = a->causal,
                         .product = factors_of(a->product)};
    j->scale = a->scale != 0 ? (float)a->scale : j->D ? (float)(1 / sqrt((double)j->D)) : 1.0f;
    const ry_value *mask = option(n, options, ATT_MASK);
    if (mask) {
        j->mask_dtype = mask->spec.dtype;
        for (int i = 0; i < mask->spec.rank; i++)
            if (mask->spec.dim[i] != 1) j->mask_step[4 - mask->spec.rank + i] = mask->stride[i];
    }
    if (!src) return;
    if (mask) j->mask = src[options + ATT_MASK];
    if (option(n, options, ATT_SEG_Q)) j->seg_q = src[options + ATT_SEG_Q], j->seg_k = src[options + ATT_SEG_K];
    if (option(n, options, ATT_LENGTH)) j->length = src[options + ATT_LENGTH];
}

/* ---- which keys ---- */

static int64_t keys_of(const attention_job *j, int64_t b) {
    if (!j->length) return j->S;
    int64_t len = j->length[b];
    return len < 0 ? 0 : len > j->S ? j->S : len;
}

void attention_row_range(const attention_job *j, int64_t b, int64_t t, int64_t *lo, int64_t *hi) {
    int64_t len = keys_of(j, b), at = t + len - j->T; /* the query's own key */
    *lo = j->window && at - j->window + 1 > 0 ? at - j->window + 1 : 0;
    *hi = j->causal && at + 1 < len ? at + 1 : len;
    if (*hi < *lo) *hi = *lo;
}

void attention_seen_by(const attention_job *j, const attention_tile *a, int64_t s, int64_t *first, int64_t *last) {
    int64_t own = s - (keys_of(j, a->b) - j->T) - a->t; /* the row whose own key this is */
    *first = j->causal && own > 0 ? own : 0;
    *last = j->window && own + j->window < a->rows ? own + j->window : a->rows;
    if (*first > a->rows) *first = a->rows;
    if (*last < *first) *last = *first;
}

void attention_range(const attention_job *j, const attention_tile *a, int64_t *lo, int64_t *hi) {
    int64_t last_lo, first_hi;
    attention_row_range(j, a->b, a->t, lo, &first_hi);
    attention_row_range(j, a->b, attention_time(a, a->rows - 1), &last_lo, hi);
    if (!j->seg_q) return;
    /* Keys at both ends that belong to none of the rows' segments. */
    const int32_t *sq = j->seg_q + a->b * j->T, *sk = j->seg_k + a->b * j->S;
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (int i = 0; i < a->rows; i++) {
        int32_t s = sq[attention_time(a, i)];
        if (s < least) least = s;
        if (s > most) most = s;
    }
    while (*lo < *hi && (sk[*lo] < least || sk[*lo] > most)) ++*lo;
    while (*lo < *hi && (sk[*hi - 1] < least || sk[*hi - 1] > most)) --*hi;
}

/* ---- products ---- */

void attention_product(const attention_job *j, int64_t m, int64_t n, int64_t k, simd_mat a, simd_mat b, float *c,
                       int64_t ldc, float alpha, bool accumulate, void *local) {
    if (m == 0 || n == 0) return;
    simd_gemm g = {.m = m,
                   .n = n,
                   .k = k,
                   .a = a,
                   .b = b,
                   .c = c,
                   .c_dtype = RY_F32,
                   .ldc = ldc,
                   .product = j->product,
                   .accumulate = accumulate,
                   .alpha = alpha};
    simd_gemm_tile(&g, local);
}

size_t attention_local(const attention_job *j, int64_t m, int64_t n, int64_t k, simd_mat a, simd_mat b) {
    simd_gemm g = {.m = m, .n = n, .k = k, .a = a, .b = b, .c_dtype = RY_F32, .ldc = n, .product = j->product};
    return simd_gemm_tile_local(&g);
}

/* ---- kernels ---- */

int attention_knob(const ry_launch *l, const char *name) {
    for (int i = 0; i < l->n_knob; i++)
        if (!strcmp(l->knob[i].name, name)) return l->knob[i].value;
    return 0;
}

bool attention_large(const ry_node *n, const ry_caps *caps, uint32_t shared_bytes) {
    enum { ROWS = 64 };
    return n->src[ATT_Q]->spec.dim[1] > ROWS && caps->shared_bytes >= shared_bytes;
}

bool attention_software(const ry_node *n, const ry_caps *caps) {
    (void)n;
    return (caps->features & RY_FEATURE_SOFTWARE) != 0;
}

void attention_launch_operand(ry_launch *l, const ry_node *n, int i) {
    static const char *const axis = "bth";
    const ry_value *v = n->src[i];
    bool fours = v->spec.dim[3] % 4 == 0;
    for (int k = 0; k < 3; k++) {
        ry_launch_u32(l, (char[]){axis[k], (char)('0' + i), 0}, v->stride[k]);
        fours &= v->spec.dim[k] == 1 || v->stride[k] % 4 == 0;
    }
    if (fours) l->vec |= RY_USES_SRC(i);
}

void attention_launch(ry_launch *l, const ry_node *n, const attention_job *j, int options) {
    static const char *const mask[] = {"mask_b", "mask_h", "mask_t", "mask_s"};
    for (int i = ATT_Q; i <= ATT_V; i++) attention_launch_operand(l, n, i);
    for (int i = 0; i < 4; i++) ry_launch_u32(l, mask[i], j->mask_step[i]);
    ry_launch_u32(l, "batches", j->B);
    ry_launch_u32(l, "rows", j->T);
    ry_launch_u32(l, "keys", j->S);
    ry_launch_u32(l, "heads", j->H);
    ry_launch_u32(l, "share", j->G ? j->H / j->G : 1);
    ry_launch_u32(l, "depth", j->D);
    ry_launch_u32(l, "width", j->Dv);
    ry_launch_u32(l, "window", j->window < INT32_MAX / 2 ? j->window : INT32_MAX / 2);
    ry_launch_u32(l, "minus_inf", 0xff800000);
    ry_launch_f32(l, "scale", j->scale);
    ry_launch_f32(l, "q_factor", j->cap > 0 ? j->scale / j->cap : j->scale * LOG2E);
    ry_launch_f32(l, "cap", j->cap * LOG2E);
    ry_launch_knob_set(l, "OPTIONS", options);
    ry_launch_knob_set(l, "MASK", option(n, options, ATT_MASK) != NULL);
    ry_launch_knob_set(l, "SEGMENTS", option(n, options, ATT_SEG_Q) != NULL);
    ry_launch_knob_set(l, "LENGTH", option(n, options, ATT_LENGTH) != NULL);
    ry_launch_knob_set(l, "PACKED", 0);
    ry_launch_knob_set(l, "WINDOW", j->window != 0);
    ry_launch_knob_set(l, "CAP", j->cap > 0);
}

void attention_launch_pack(ry_launch *l, const ry_node *n, const attention_job *j, int options, int64_t at) {
    uint32_t uses = RY_USES_SCRATCH;
    int threads = attention_knob(l, "WG");
    int64_t most = j->B * (j->T > j->S ? j->T : j->S);
    for (int i = options + ATT_SEG_Q; i < n->n_src; i++)
        if (n->src[i]) uses |= RY_USES_SRC(i);
    ry_launch_knob_set(l, "PACKED", 1);
    ry_launch_u32(l, "segment_q_at", at);
    ry_launch_u32(l, "segment_k_at", at + j->B * j->T);
    ry_launch_u32(l, "length_at", at + j->B * (j->T + j->S));
    l->scratch = (size_t)(at + j->B * (j->T + j->S + 1)) * sizeof(float);
    if (uses != RY_USES_SCRATCH) ry_launch_run(l, "pack", ((most > j->B ? most : j->B) + threads - 1) / threads, uses);
}

/* ---- composed ---- */

ry_tensor attention_heads_first(ry_graph *g, ry_tensor x, int64_t groups) {
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return x;
    ry_spec d = *s;
    x = ry_permute(g, ry_cast(g, x, RY_F32), (int[]){0, 2, 1, 3});
    return RY_RESHAPE(g, x, d.dim[0], groups, groups ? d.dim[2] / groups : 1, d.dim[1], d.dim[3]);
}

ry_tensor attention_heads_last(ry_graph *g, ry_tensor x) {
    const ry_spec *s = ry_spec_of(g, x);
    if (!s) return x;
    ry_spec d = *s;
    return ry_permute(g, RY_RESHAPE(g, x, d.dim[0], d.dim[1] * d.dim[2], d.dim[3], d.dim[4]), (int[]){0, 2, 1, 3});
}

static ry_tensor whole(ry_graph *g, int64_t value) { /* i32 [1] */
    ry_spec s = {.dtype = RY_I32, .rank = 1, .dim = {1}};
    return ry_fill(g, &s, (double)value);
}

static ry_tensor count_from(ry_graph *g, int64_t n, int64_t start) { /* i32 [n] */
    ry_spec s = {.dtype = RY_I32, .rank = 1, .dim = {n}};
    return ry_iota(g, &s, 0, (double)start, 1);
}

/* bool, broadcastable to [B,H,T,S]; null if every query sees every key. */
static ry_tensor visible(ry_graph *g, const ry_node *n, int options) {
    const attention_args *a = n->args;
    const ry_spec *q = &n->src[ATT_Q]->spec, *k = &n->src[ATT_K]->spec;
    const ry_value *length = option(n, options, ATT_LENGTH);
    int64_t B = q->dim[0], T = q->dim[1], S = k->dim[1];
    ry_tensor all = RY_NULL, key = count_from(g, S, 0), len = whole(g, S), see;
    if (length) {
        len = RY_RESHAPE(g, ry_clamp(g, ry_src(g, n, options + ATT_LENGTH), whole(g, 0), len), B, 1, 1, 1);
        all = ry_lt(g, key, len);
    }
    ry_tensor own = ry_add(g, RY_RESHAPE(g, count_from(g, T, -T), 1, 1, T, 1), len);
    if (a->causal) {
        see = ry_le(g, key, own);
        all = ry_is_null(all) ? see : ry_and(g, all, see);
    }
    if (a->window) {
        see = ry_gt(g, key, ry_sub(g, own, whole(g, a->window)));
        all = ry_is_null(all) ? see : ry_and(g, all, see);
    }
    if (option(n, options, ATT_SEG_Q)) {
        see = ry_eq(g, RY_RESHAPE(g, ry_src(g, n, options + ATT_SEG_Q), B, 1, T, 1),
                    RY_RESHAPE(g, ry_src(g, n, options + ATT_SEG_K), B, 1, 1, S));
        all = ry_is_null(all) ? see : ry_and(g, all, see);
    }
    return all;
}

attention_composed attention_compose(ry_graph *g, const ry_node *n, int options) {
    const attention_args *a = n->args;
    attention_job j;
    attention_open(&j, n, NULL, options);
    ry_dtype was = ry_graph_product(g);
    attention_composed c = {.q = attention_heads_first(g, ry_src(g, n, ATT_Q), j.G),
                            .k = attention_heads_first(g, ry_src(g, n, ATT_K), j.G),
                            .v = attention_heads_first(g, ry_src(g, n, ATT_V), j.G)};
    ry_graph_precision(g, product_of(a->product));
    ry_tensor s = ry_matmul(g, c.q, ry_transpose(g, c.k, -1, -2));
    ry_graph_precision(g, was);
    s = RY_RESHAPE(g, ry_mul(g, s, ry_scalar(g, (double)j.scale)), j.B, j.H, j.T, j.S);
    if (a->softcap > 0) {
        ry_tensor cap = ry_scalar(g, a->softcap), t = ry_tanh(g, ry_div(g, s, cap));
        c.slope = ry_sub(g, ry_scalar(g, 1), ry_square(g, t));
        s = ry_mul(g, t, cap);
    }
    if (option(n, options, ATT_MASK)) s = ry_add(g, s, ry_cast(g, ry_src(g, n, options + ATT_MASK), RY_F32));
    ry_tensor see = visible(g, n, options);
    c.scores = ry_is_null(see) ? s : ry_select(g, see, s, ry_scalar(g, -INFINITY));
    return c;
}

ry_tensor attention_compose_ds(ry_graph *g, const attention_composed *c, ry_tensor o, ry_tensor lse, ry_tensor go,
                               ry_tensor glse, ry_tensor *p) {
    const ry_spec *s = ry_spec_of(g, c->scores);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], H = s->dim[1], T = s->dim[2], S = s->dim[3];
    ry_tensor row = RY_RESHAPE(g, ry_cast(g, lse, RY_F32), B, H, T, 1), none = ry_scalar(g, -INFINITY),
              zero = ry_scalar(g, 0);
    ry_tensor seen = ry_ne(g, row, none); /* rows that see no key have no gradient */
    row = ry_select(g, seen, row, zero);
    *p = ry_exp(g, ry_sub(g, ry_select(g, seen, c->scores, none), row));
    const ry_spec *k = ry_spec_of(g, c->k);
    if (!k) return RY_NULL;
    ry_tensor up = attention_heads_first(g, go, k->dim[1]), out = attention_heads_first(g, o, k->dim[1]);
    ry_tensor dp = RY_RESHAPE(g, ry_matmul(g, up, ry_transpose(g, c->v, -1, -2)), B, H, T, S);
    ry_tensor d = RY_RESHAPE(g, ry_sum(g, ry_mul(g, up, out), RY_AXIS(-1), true), B, H, T, 1);
    if (!ry_is_null(glse)) d = ry_sub(g, d, RY_RESHAPE(g, ry_cast(g, glse, RY_F32), B, H, T, 1));
    return ry_mul(g, *p, ry_sub(g, dp, d));
}
