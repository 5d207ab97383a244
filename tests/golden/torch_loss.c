/* torch_loss.c - builders of torch.nn.functional's losses, composed so that the library's own cross-entropy serves where it can. */
#include "core/op.h"
#include "torch.h"
#include <math.h>
#include <string.h>
#define G v->g
#define R RY_MAX_RANK

static const char *reduction(vec *v) { return t_text(v, -1, "reduction", "mean"); }
static void done(vec *v, ry_tensor loss) { vec_out(v, t_reduce_loss(v, loss, reduction(v))); }
static ry_tensor target(vec *v) { return t_tensor(v, 0, "target"); }

static void mse(vec *v, const char *p) {
    ry_tensor d = ry_sub(G, t_self(v), target(v));
    done(v, *p == '2' ? ry_square(G, d) : ry_abs(G, d));
}
static void huber(vec *v, const char *p) { /* huber: delta; smooth_l1: beta, divided by it */
    bool smooth = *p == 's';
    double b = t_real(v, -1, smooth ? "beta" : "delta", 1);
    ry_tensor d = ry_abs(G, ry_sub(G, t_self(v), target(v)));
    if (b == 0) {
        done(v, d);
        return;
    }
    ry_tensor near = ry_mul(G, ry_square(G, d), t_num(v, smooth ? 0.5 / b : 0.5));
    ry_tensor far = smooth ? ry_sub(G, d, t_num(v, 0.5 * b)) : ry_mul(G, ry_sub(G, d, t_num(v, 0.5 * b)), t_num(v, b));
    done(v, ry_select(G, smooth ? ry_lt(G, d, t_num(v, b)) : ry_le(G, d, t_num(v, b)), near, far));
}
static void kl_div(vec *v, const char *p) {
    ry_tensor x = t_self(v), t = target(v);
    (void)p;
    bool logs = t_bool(v, -1, "log_target", false);
    ry_tensor l = logs ? ry_mul(G, ry_exp(G, t), ry_sub(G, t, x)) : ry_sub(G, ry_xlogy(G, t, t), ry_mul(G, t, x));
    if (!strcmp(reduction(v), "batchmean"))
        vec_out(v, ry_div(G, ry_sum(G, l, 0, false), t_num(v, vec_rank(v, x) ? (double)vec_dim(v, x, 0) : 1)));
    else
        done(v, l);
}
static ry_tensor weighted(vec *v, ry_tensor l, int pos) {
    return t_arg(v, pos, "weight") ? ry_mul(G, l, t_tensor(v, pos, "weight")) : l;
}
static void bce(vec *v, const char *p) {
    ry_tensor x = t_self(v), t = target(v), l;
    if (*p == 'l') { /* with logits: (1 - t) x + w softplus(-x), w = 1 + (pos_weight - 1) t */
        ry_tensor w = t_num(v, 1);
        if (t_arg(v, -1, "pos_weight"))
            w = ry_add(G, w, ry_mul(G, ry_sub(G, t_tensor(v, -1, "pos_weight"), t_num(v, 1)), t));
        l = ry_add(G, ry_mul(G, ry_sub(G, t_num(v, 1), t), x), ry_mul(G, w, ry_softplus(G, ry_neg(G, x))));
    } else { /* logarithms not below -100 */
        ry_tensor low = t_num(v, -100), one = t_num(v, 1);
        ry_tensor a = ry_clamp_min(G, ry_log(G, x), low), b = ry_clamp_min(G, ry_log1p(G, ry_neg(G, x)), low);
        l = ry_neg(G, ry_add(G, ry_mul(G, t, a), ry_mul(G, ry_sub(G, one, t), b)));
    }
    done(v, weighted(v, l, 1));
}

/* Classes on axis 1 (0 of one row) to [rows, V]; targets to [rows]. */
static ry_tensor class_rows(vec *v, ry_tensor x, int64_t *rows, int64_t *V) {
    int r = vec_rank(v, x), axis = r == 1 ? 0 : 1;
    *V = vec_dim(v, x, axis);
    *rows = *V ? vec_numel(v, x) / *V : 0;
    if (r > 2) x = vec_move(v, x, axis, r - 1);
    return ry_reshape(G, x, 2, (int64_t[]){*rows, *V});
}
/* p: 'c' takes logits, 'n' log-probabilities */
static void nll(vec *v, const char *p) {
    ry_tensor x = t_self(v), t = target(v);
    int64_t rows, V, ignore = t_int(v, -1, "ignore_index", -100);
    double smooth = t_real(v, -1, "label_smoothing", 0);
    const char *how = reduction(v);
    ry_spec xs = *ry_spec_of(G, x), ts = *ry_spec_of(G, t);
    ry_tensor logits = class_rows(v, x, &rows, &V), w = t_arg(v, 1, "weight") ? t_tensor(v, 1, "weight") : RY_NULL,
              loss, total = RY_NULL;
    ry_dtype tt = vec_dtype(v, t);
    bool has_w = t_arg(v, 1, "weight") != NULL;
    if (ry_is_float(tt)) { /* probabilities as targets */
        ry_tensor q = class_rows(v, t, &rows, &V), lp = ry_log_softmax(G, logits, -1);
        if (smooth > 0) q = ry_add(G, ry_mul(G, q, t_num(v, 1 - smooth)), t_num(v, smooth / (double)V));
        if (has_w) lp = ry_mul(G, lp, w);
        loss = ry_neg(G, ry_sum(G, ry_mul(G, lp, q), RY_AXIS(-1), false));
        if (!strcmp(how, "mean"))
            vec_out(v, ry_div(G, ry_sum(G, loss, 0, false), t_num(v, (double)rows)));
        else if (!strcmp(how, "sum"))
            vec_out(v, ry_sum(G, loss, 0, false));
        else {
            int64_t dim[R];
            int k = 0;
            for (int i = 0; i < xs.rank; i++)
                if (i != (xs.rank == 1 ? 0 : 1)) dim[k++] = xs.dim[i];
            vec_out(v, ry_reshape(G, loss, k, dim));
        }
        return;
    }
    t = vec_flat(v, t);
    ry_tensor counts = ry_ne(G, t, vec_number(v, (double)ignore, true)), zero = t_num(v, 0);
    ry_tensor safe = ry_select(G, counts, t, vec_cast(v, vec_number(v, 0, true), tt)); /* a class that exists */
    if (*p == 'c')
        loss = ry_cross_entropy(G, logits, t, ignore);
    else
        loss = ry_select(G, counts, ry_neg(G, vec_squeeze(v, ry_gather(G, logits, vec_unsqueeze(v, safe, 1), 1), 1)),
                         zero);
    total = vec_cast(v, counts, RY_F32);
    if (has_w) {
        ry_tensor each = ry_mul(G, ry_take(G, w, safe, 0), total);
        loss = ry_mul(G, loss, each);
        total = each;
    }
    if (smooth > 0) {
        ry_tensor lp = ry_log_softmax(G, logits, -1);
        if (has_w) lp = ry_mul(G, lp, w);
        ry_tensor all = ry_select(G, counts, ry_neg(G, ry_sum(G, lp, RY_AXIS(-1), false)), zero);
        loss = ry_add(G, ry_mul(G, loss, t_num(v, 1 - smooth)), ry_mul(G, all, t_num(v, smooth / (double)V)));
    }
    if (!strcmp(how, "none"))
        vec_out(v, ry_reshape(G, loss, ts.rank, ts.dim));
    else if (!strcmp(how, "sum"))
        vec_out(v, ry_sum(G, loss, 0, false));
    else
        vec_out(v, ry_div(G, ry_sum(G, loss, 0, false), ry_sum(G, total, 0, false)));
}

static void soft_margin(vec *v, const char *p) {
    (void)p;
    done(v, ry_softplus(G, ry_neg(G, ry_mul(G, t_self(v), target(v)))));
}
static void hinge_embedding(vec *v, const char *p) {
    ry_tensor x = t_self(v), t = target(v), m = t_num(v, t_real(v, 1, "margin", 1));
    (void)p;
    ry_tensor zero = t_num(v, 0),
              near = ry_select(G, ry_ne(G, t, t_num(v, 1)), ry_clamp_min(G, ry_sub(G, m, x), zero), zero);
    done(v, ry_add(G, near, ry_select(G, ry_ne(G, t, t_num(v, -1)), x, zero)));
}
static void margin_ranking(vec *v, const char *p) {
    ry_tensor y = t_tensor(v, 1, "target"), d = ry_sub(G, t_self(v), t_tensor(v, 0, "input2"));
    (void)p;
    done(v, ry_clamp_min(G, ry_add(G, ry_mul(G, ry_neg(G, y), d), t_num(v, t_real(v, 2, "margin", 0))), t_num(v, 0)));
}
static void poisson(vec *v, const char *p) {
    ry_tensor x = t_self(v), t = target(v);
    bool logs = t_bool(v, 1, "log_input", true);
    (void)p;
    ry_tensor l = logs ? ry_sub(G, ry_exp(G, x), ry_mul(G, t, x))
                       : ry_sub(G, x, ry_mul(G, t, ry_log(G, ry_add(G, x, t_num(v, t_real(v, -1, "eps", 1e-8))))));
    if (t_bool(v, 2, "full", false)) {
        ry_tensor stirling = ry_add(G, ry_sub(G, ry_mul(G, t, ry_log(G, t)), t),
                                    ry_mul(G, t_num(v, 0.5), ry_log(G, ry_mul(G, t, t_num(v, 6.283185307179586)))));
        l = ry_add(G, l, ry_select(G, ry_gt(G, t, t_num(v, 1)), stirling, t_num(v, 0)));
    }
    done(v, l);
}
static void gaussian(vec *v, const char *p) {
    ry_tensor x = t_self(v), t = target(v), var = t_tensor(v, 1, "var");
    (void)p;
    if (vec_rank(v, var) == vec_rank(v, x) - 1) var = vec_unsqueeze(v, var, -1);
    ry_tensor s = ry_clamp_min(G, var, t_num(v, t_real(v, -1, "eps", 1e-6)));
    ry_tensor l = ry_mul(G, t_num(v, 0.5), ry_add(G, ry_log(G, s), ry_div(G, ry_square(G, ry_sub(G, x, t)), s)));
    if (t_bool(v, 2, "full", false)) l = ry_add(G, l, t_num(v, 0.91893853320467274));
    done(v, l);
}
static void cosine_embedding(vec *v, const char *p) {
    ry_tensor a = t_self(v), b = t_tensor(v, 0, "input2"), t = t_tensor(v, 1, "target"), eps = t_num(v, 1e-12);
    ry_axes axis = RY_AXIS(-1);
    (void)p;
    ry_tensor dot = ry_sum(G, ry_mul(G, a, b), axis, false);
    ry_tensor na = ry_add(G, ry_sum(G, ry_square(G, a), axis, false), eps),
              nb = ry_add(G, ry_sum(G, ry_square(G, b), axis, false), eps);
    ry_tensor c = ry_div(G, dot, ry_sqrt(G, ry_mul(G, na, nb))), zero = t_num(v, 0);
    ry_tensor apart = ry_clamp_min(G, ry_sub(G, c, t_num(v, t_real(v, 2, "margin", 0))), zero);
    done(v, ry_select(G, ry_eq(G, t, t_num(v, 1)), ry_sub(G, t_num(v, 1), c),
                      ry_select(G, ry_eq(G, t, t_num(v, -1)), apart, zero)));
}
static void triplet(vec *v, const char *p) {
    ry_tensor a = t_self(v), q = t_tensor(v, 0, "positive"), n = t_tensor(v, 1, "negative"),
              eps = t_num(v, t_real(v, -1, "eps", 1e-6));
    double power = t_real(v, -1, "p", 2);
    (void)p;
    ry_tensor near = vec_p_norm(v, ry_add(G, ry_sub(G, a, q), eps), power, RY_AXIS(-1), false),
              far = vec_p_norm(v, ry_add(G, ry_sub(G, a, n), eps), power, RY_AXIS(-1), false);
    if (t_bool(v, -1, "swap", false))
        far = ry_min(G, far, vec_p_norm(v, ry_add(G, ry_sub(G, q, n), eps), power, RY_AXIS(-1), false));
    done(v, ry_clamp_min(G, ry_add(G, ry_sub(G, near, far), t_num(v, t_real(v, -1, "margin", 1))), t_num(v, 0)));
}

const vec_row torch_loss[] = {{"mse_loss", mse, "2"},
                              {"l1_loss", mse, "1"},
                              {"huber_loss", huber, "h"},
                              {"smooth_l1_loss", huber, "s"},
                              {"kl_div", kl_div, NULL},
                              {"binary_cross_entropy", bce, "p"},
                              {"binary_cross_entropy_with_logits", bce, "l"},
                              {"cross_entropy", nll, "c"},
                              {"nll_loss", nll, "n"},
                              {"soft_margin_loss", soft_margin, NULL},
                              {"hinge_embedding_loss", hinge_embedding, NULL},
                              {"margin_ranking_loss", margin_ranking, NULL},
                              {"poisson_nll_loss", poisson, NULL},
                              {"gaussian_nll_loss", gaussian, NULL},
                              {"cosine_embedding_loss", cosine_embedding, NULL},
                              {"triplet_margin_loss", triplet, NULL},
                              {NULL, NULL, NULL}};
