/* test_products.c - products, attention, head loss, convolutions: what the row samples (tests/ops) cannot say.
 *
 * Forms of the builders, messages, one cache fed step by step against the whole, precision of bf16 factors, parts of long keys. */
#include "base/rng.h"
#include "core/op.h"
#include "unit/cm.h"
#include <math.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    ry_device *dev;
    ry_graph *g;
    ry_feed feed[12];
    size_t n_feed;
    float *own[12];
} bench;

static void again(bench *b) {
    ry_graph_reset(b->g);
    for (size_t i = 0; i < b->n_feed; i++) free(b->own[i]);
    b->n_feed = 0;
}
static int setup(void **state) {
    static bench b;
    b = (bench){0};
    assert_ok(ry_device_open(&b.dev, "cpu", &(ry_device_options){.threads = 2}));
    assert_ok(ry_graph_open(&b.g, b.dev));
    *state = &b;
    return 0;
}
static int teardown(void **state) {
    bench *b = *state;
    again(b);
    ry_graph_close(b->g);
    ry_device_close(b->dev);
    return 0;
}

static ry_tensor put(bench *b, ry_spec s, const void *data) {
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, &s));
    ry_tensor t = ry_input(b->g, &s, NULL);
    b->own[b->n_feed] = NULL;
    b->feed[b->n_feed++] = (ry_feed){t, data, bytes};
    return t;
}
/* Uniform in [-1, 1), the same for the same stream. */
static ry_tensor noise(bench *b, ry_spec s, uint32_t stream) {
    int64_t n = ry_numel(&s);
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    ry_rng_uniform(x, n, 11, stream, 0);
    for (int64_t i = 0; i < n; i++) x[i] = 2 * x[i] - 1;
    ry_tensor t = put(b, s, x);
    b->own[b->n_feed - 1] = x;
    return t;
}
static float *get(bench *b, ry_tensor t) {
    assert_ok(ry_graph_status(b->g));
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, ry_spec_of(b->g, t)));
    float *y = malloc(bytes + 1);
    assert_non_null(y);
    assert_ok(ry_eval(b->g, 1, &t, b->n_feed, b->feed));
    assert_ok(ry_read(b->g, t, y, bytes));
    return y;
}
static void fails(bench *b, ry_status want, ry_tensor t, const char *text) {
    ry_status st = ry_graph_status(b->g);
    if (st == RY_OK) st = ry_eval(b->g, 1, &t, b->n_feed, b->feed);
    assert_int_equal(st, want);
    if (!strstr(ry_message(), text)) print_error("message: %s\n", ry_message());
    assert_non_null(strstr(ry_message(), text));
    again(b);
}
static void shaped(bench *b, ry_tensor t, ry_spec want) {
    assert_ok(ry_graph_status(b->g));
    if (!ry_same_spec(ry_spec_of(b->g, t), &want))
        print_error("%s, not %s\n", ry_show(ry_spec_of(b->g, t)).s, ry_show(&want).s);
    assert_true(ry_same_spec(ry_spec_of(b->g, t), &want));
}
/* Both of f32; greatest difference against the greatest magnitude. */
static void same(bench *b, ry_tensor got, ry_tensor want, double tol) {
    ry_spec s = *ry_spec_of(b->g, got);
    assert_true(ry_same_spec(&s, ry_spec_of(b->g, want)));
    float *x = get(b, got), *y = get(b, want);
    double worst = 0, most = 0;
    for (int64_t i = 0, n = ry_numel(&s); i < n; i++) {
        double d = x[i] == y[i] ? 0 : fabs((double)x[i] - (double)y[i]);
        if (!(d <= worst)) worst = d;
        if (fabs((double)y[i]) > most && isfinite(y[i])) most = fabs((double)y[i]);
    }
    if (!(worst <= tol * most)) print_error("differs by %.3g of %.3g\n", worst, most);
    assert_true(worst <= tol * most);
    free(x), free(y);
}
static ry_spec f32(int rank, const int64_t *dim) { return ry_shape(RY_F32, rank, dim); }
#define F32(...) f32((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* ---- products ---- */

static void test_matmul_forms(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    shaped(b, ry_matmul(g, noise(b, F32(3), 1), noise(b, F32(3), 2)), f32(0, NULL));
    shaped(b, ry_matmul(g, noise(b, F32(3), 1), noise(b, F32(2, 3, 4), 2)), F32(2, 4));
    shaped(b, ry_matmul(g, noise(b, F32(2, 5, 3), 1), noise(b, F32(3), 2)), F32(2, 5));
    shaped(b, ry_linear(g, noise(b, F32(3), 1), noise(b, F32(6, 3), 2), noise(b, F32(6), 3)), F32(6));
    shaped(b, ry_matmul(g, ry_cast(g, noise(b, F32(2, 3), 1), RY_F64), noise(b, F32(3, 4), 2)),
           ry_shape(RY_F64, 2, (int64_t[]){2, 4}));
    again(b);
    shaped(b, ry_matmul(g, ry_cast(g, noise(b, F32(2, 3), 1), RY_BF16), ry_cast(g, noise(b, F32(3, 4), 2), RY_F16)),
           F32(2, 4));
    shaped(b, ry_matmul(g, ry_cast(g, noise(b, F32(2, 3), 1), RY_BF16), ry_cast(g, noise(b, F32(3, 4), 2), RY_BF16)),
           ry_shape(RY_BF16, 2, (int64_t[]){2, 4}));
    again(b);
    fails(b, RY_ESHAPE, ry_matmul(g, noise(b, F32(2, 3), 1), noise(b, F32(4, 5), 2)),
          "inner lengths differ: [2,3] f32 times [4,5] f32 has 3 and 4");
    fails(b, RY_ESHAPE, ry_matmul(g, noise(b, F32(2, 2, 3), 1), noise(b, F32(3, 3, 5), 2)), "do not broadcast");
    fails(b, RY_ESHAPE, ry_linear(g, noise(b, F32(2, 3), 1), noise(b, F32(1, 4, 3), 2), RY_NULL), "it must be [N,K]");
    fails(b, RY_ESHAPE, ry_linear(g, noise(b, F32(2, 3), 1), noise(b, F32(4, 3), 2), noise(b, F32(3), 3)),
          "bias is [3] f32, it must be [4]");
    fails(b, RY_EDTYPE, ry_matmul(g, ry_cast(g, noise(b, F32(2, 3), 1), RY_I32), noise(b, F32(3, 4), 2)),
          "the left side is [2,3] i32");
    ry_graph_precision(g, RY_F16);
    fails(b, RY_EDTYPE, ry_matmul(g, noise(b, F32(2, 3), 1), noise(b, F32(3, 4), 2)), "in f32 or bf16, not f16");
    ry_graph_precision(g, RY_NONE);
}

/* Rows that a permuted view leaves far apart, batches that are views of one another, columns backwards. */
static void test_matmul_views(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    ry_tensor x = noise(b, F32(4, 3, 5, 6), 1), w = noise(b, F32(7, 6), 2);
    ry_tensor t = ry_permute(g, x, (int[]){2, 0, 1, 3});
    same(b, ry_linear(g, t, w, RY_NULL), ry_linear(g, ry_contiguous(g, t), w, RY_NULL), 1e-6);
    t = ry_slice(g, x, 3, -1, INT64_MIN, -2);
    same(b, ry_matmul(g, t, ry_transpose(g, t, 2, 3)),
         ry_matmul(g, ry_contiguous(g, t), ry_contiguous(g, ry_transpose(g, t, 2, 3))), 1e-6);
    t = ry_expand(g, ry_slice(g, x, 1, 1, 2, 1), 4, (int64_t[]){4, 3, 5, 6});
    same(b, ry_linear(g, t, w, RY_NULL), ry_linear(g, ry_contiguous(g, t), w, RY_NULL), 1e-6);
}

static void test_bf16_factors(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    ry_tensor x = noise(b, F32(50, 90), 1), w = noise(b, F32(40, 90), 2), exact = ry_linear(g, x, w, RY_NULL);
    ry_tensor q = noise(b, F32(2, 50, 4, 16), 3), k = noise(b, F32(2, 50, 2, 16), 4),
              v = noise(b, F32(2, 50, 2, 16), 5), gx[3], gb[3];
    ry_attention_options o = {.causal = true};
    ry_tensor y = ry_attention(g, q, k, v, &o);
    ry_graph_precision(g, RY_BF16);
    ry_tensor rounded = ry_linear(g, x, w, RY_NULL), z = ry_attention(g, q, k, v, &o);
    ry_graph_precision(g, RY_F32);
    same(b, rounded, exact, 1e-2);
    same(b, rounded,
         ry_linear(g, ry_cast(g, ry_cast(g, x, RY_BF16), RY_F32), ry_cast(g, ry_cast(g, w, RY_BF16), RY_F32), RY_NULL),
         1e-5);
    same(b, z, y, 1e-2);
    assert_ok(ry_grad(g, ry_sum(g, ry_square(g, y), 0, false), RY_NULL, 3, (ry_tensor[]){q, k, v}, gx));
    assert_ok(ry_grad(g, ry_sum(g, ry_square(g, z), 0, false), RY_NULL, 3, (ry_tensor[]){q, k, v}, gb));
    for (int i = 0; i < 3; i++) same(b, gb[i], gx[i], 3e-2);
}

static void test_grouped_offsets(void **state) {
    bench *b = *state;
    static const int32_t falling[] = {0, 4, 3, 5}, beyond[] = {0, 2, 3, 6}, before[] = {-1, 2, 3, 5};
    static const int32_t *const bad[] = {falling, beyond, before};
    for (size_t i = 0; i < 3; i++)
        fails(b, RY_EARG,
              ry_grouped_matmul(b->g, noise(b, F32(5, 3), 1), noise(b, F32(3, 4, 3), 2),
                                put(b, RY_SHAPE(RY_I32, 4), bad[i])),
              "offsets must rise");
    fails(b, RY_ESHAPE,
          ry_grouped_matmul(b->g, noise(b, F32(5, 3), 1), noise(b, F32(2, 4, 3), 2),
                            put(b, RY_SHAPE(RY_I32, 4), falling)),
          "for 2 experts they must be [3] i32");
}

/* ---- attention ---- */

/* A cache filled and read step by step, some steps longer than one, against attention over all at once. */
static void test_attention_cache(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    enum { T = 37, CACHE = 1500, H = 6, G = 2, D = 16 }; /* a cache so long that keys are split */
    static const int64_t steps[] = {30, 1, 1, 4, 1};
    ry_tensor q = noise(b, F32(1, T, H, D), 1), k = noise(b, F32(1, T, G, D), 2), v = noise(b, F32(1, T, G, D), 3);
    int64_t none[4] = {0}, rest[4] = {0, CACHE - T, 0, 0};
    ry_tensor kc = ry_pad(g, k, none, rest, 7), vc = ry_pad(g, v, none, rest, 9), part[5];
    ry_attention_options o = {.causal = true, .window = 20};
    ry_tensor whole = ry_attention(g, q, k, v, &o);
    for (int64_t i = 0, t = 0; i < 5; t += steps[i++]) {
        ry_spec one = RY_SHAPE(RY_I32, 1);
        o.length = ry_fill(g, &one, (double)(t + steps[i]));
        part[i] = ry_attention(g, ry_slice(g, q, 1, t, t + steps[i], 1), kc, vc, &o);
    }
    same(b, ry_concat(g, 5, part, 1), whole, 1e-6);
}

/* Packed documents: each sees itself only, so it equals attention on its own. */
static void test_attention_packed(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    enum { T = 130 };
    static const int64_t ends[] = {0, 3, 60, 61, T};
    static int32_t seg[T];
    for (int64_t d = 0; d < 4; d++)
        for (int64_t t = ends[d]; t < ends[d + 1]; t++) seg[t] = (int32_t)(3 - d);
    ry_tensor q = noise(b, F32(1, T, 2, 8), 1), k = noise(b, F32(1, T, 1, 8), 2), v = noise(b, F32(1, T, 1, 8), 3),
              s = put(b, RY_SHAPE(RY_I32, 1, T), seg), part[4];
    ry_attention_options o = {.causal = true};
    for (int64_t d = 0; d < 4; d++)
        part[d] =
            ry_attention(g, ry_slice(g, q, 1, ends[d], ends[d + 1], 1), ry_slice(g, k, 1, ends[d], ends[d + 1], 1),
                         ry_slice(g, v, 1, ends[d], ends[d + 1], 1), &o);
    ry_tensor alone = ry_concat(g, 4, part, 1), ga[3], gb[3];
    o.segment_q = o.segment_k = s;
    ry_tensor packed = ry_attention(g, q, k, v, &o);
    same(b, packed, alone, 1e-6);
    assert_ok(ry_grad(g, ry_sum(g, ry_square(g, alone), 0, false), RY_NULL, 3, (ry_tensor[]){q, k, v}, ga));
    assert_ok(ry_grad(g, ry_sum(g, ry_square(g, packed), 0, false), RY_NULL, 3, (ry_tensor[]){q, k, v}, gb));
    for (int i = 0; i < 3; i++) same(b, gb[i], ga[i], 1e-5);
}

/* Rows that see nothing: zero, -inf, and no gradient; large scores stay finite. */
static void test_attention_edges(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    static const int32_t len[] = {0, 2};
    ry_tensor q = noise(b, F32(2, 3, 1, 4), 1), k = noise(b, F32(2, 4, 1, 4), 2), v = noise(b, F32(2, 4, 1, 4), 3),
              gx[3];
    ry_attention_options o = {.causal = true, .length = put(b, RY_SHAPE(RY_I32, 2), len)};
    ry_tensor y = ry_attention(g, q, k, v, &o);
    float *x = get(b, y), *l = get(b, ry_out(g, y, 1));
    for (int i = 0; i < 16; i++) assert_true(x[i] == 0); /* all of batch 0, the first query of batch 1 */
    for (int i = 0; i < 4; i++) assert_true(l[i] == -INFINITY);
    for (int i = 4; i < 6; i++) assert_true(isfinite(l[i]));
    free(x), free(l);
    assert_ok(ry_grad(g, ry_sum(g, ry_square(g, y), 0, false), RY_NULL, 3, (ry_tensor[]){q, k, v}, gx));
    for (int i = 0; i < 3; i++) {
        float *d = get(b, gx[i]);
        for (int64_t n = 0; n < ry_numel(ry_spec_of(g, gx[i])); n++) assert_true(isfinite(d[n]));
        for (int64_t n = 0; n < 12; n++) assert_true(d[n] == 0);
        free(d);
    }
    again(b);
    q = ry_mul(g, noise(b, F32(1, 5, 1, 4), 1), ry_scalar(g, 1e4)), k = noise(b, F32(1, 5, 1, 4), 2),
    v = noise(b, F32(1, 5, 1, 4), 3);
    y = ry_attention(g, q, k, v, NULL);
    x = get(b, y);
    for (int i = 0; i < 20; i++) assert_true(fabs((double)x[i]) <= 1);
    free(x);
    again(b);
    fails(
        b, RY_ESHAPE,
        ry_attention(g, noise(b, F32(1, 5, 3, 4), 1), noise(b, F32(1, 5, 2, 4), 2), noise(b, F32(1, 5, 2, 4), 3), NULL),
        "3 query heads are no multiple of 2 key heads");
    fails(
        b, RY_ESHAPE,
        ry_attention(g, noise(b, F32(1, 5, 2, 4), 1), noise(b, F32(1, 5, 2, 4), 2), noise(b, F32(1, 6, 2, 4), 3), NULL),
        "v is [1,6,2,4] f32");
    o = (ry_attention_options){.mask = noise(b, F32(5, 6), 4)};
    fails(b, RY_ESHAPE,
          ry_attention(g, noise(b, F32(1, 5, 2, 4), 1), noise(b, F32(1, 5, 2, 4), 2), noise(b, F32(1, 5, 2, 4), 3), &o),
          "the mask is [5,6] f32, it must broadcast to [1,2,5,5]");
}

/* ---- the head's loss ---- */

/* Against linear and cross_entropy, whichever way the gradients are asked for. */
static void test_head_loss(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    enum { R = 300, V = 700, C = 24 };
    static int32_t ids[R];
    for (int i = 0; i < R; i++) ids[i] = i % 5 == 2 ? -100 : (int32_t)(ry_rng_word(3, 0, (uint64_t)i) % V);
    for (int cap = 0; cap < 2; cap++) {
        again(b);
        ry_tensor x = noise(b, F32(R, C), 1), w = noise(b, F32(V, C), 2), t = put(b, RY_SHAPE(RY_I32, R), ids),
                  scale = ry_scalar(g, 0.25), d[3][2];
        ry_tensor z = ry_linear(g, x, w, RY_NULL), c = ry_scalar(g, 3), loss[3];
        if (cap) z = ry_mul(g, ry_tanh(g, ry_div(g, z, c)), c);
        loss[0] = ry_mul(g, ry_sum(g, ry_cross_entropy(g, z, t, -100), 0, false), scale);
        for (int i = 1; i < 3; i++) {
            ry_linear_ce_options o = {.ignore = -100, .scale = scale, .softcap = cap ? 3 : 0, .with_grad = i == 2};
            loss[i] = ry_linear_cross_entropy(g, x, w, t, &o);
        }
        for (int i = 0; i < 3; i++) assert_ok(ry_grad(g, loss[i], RY_NULL, 2, (ry_tensor[]){x, w}, d[i]));
        for (int i = 1; i < 3; i++) {
            same(b, loss[i], loss[0], 1e-6);
            for (int k = 0; k < 2; k++) same(b, d[i][k], d[0][k], 1e-5);
        }
    }
    again(b);
    static const int32_t wrong[] = {0, V};
    fails(b, RY_EARG,
          ry_linear_cross_entropy(g, noise(b, F32(2, C), 1), noise(b, F32(V, C), 2), put(b, RY_SHAPE(RY_I32, 2), wrong),
                                  NULL),
          "targets[1] is 700; it must be 0 to 699");
}

/* ---- windows ---- */

static void test_windows(void **state) {
    bench *b = *state;
    ry_graph *g = b->g;
    shaped(b, ry_conv2d(g, noise(b, F32(2, 3, 9, 8), 1), noise(b, F32(4, 3, 2, 3), 2), RY_NULL, NULL), F32(2, 4, 8, 6));
    ry_pool2d_options p = {.size = {3, 2}};
    shaped(b, ry_max_pool2d(g, noise(b, F32(2, 3, 10, 8), 1), &p), F32(2, 3, 3, 4));
    p.ceil_mode = true;
    shaped(b, ry_avg_pool2d(g, noise(b, F32(2, 3, 10, 8), 1), &p), F32(2, 3, 4, 4));
    again(b);
    fails(b, RY_ESHAPE, ry_conv2d(g, noise(b, F32(1, 3, 2, 8), 1), noise(b, F32(4, 3, 3, 3), 2), RY_NULL, NULL),
          "a window reaches over 3 elements");
    fails(b, RY_ESHAPE, ry_conv2d(g, noise(b, F32(1, 3, 9, 8), 1), noise(b, F32(4, 2, 3, 3), 2), RY_NULL, NULL),
          "3 channels in 1 groups do not fit weights [4,2");
    fails(b, RY_EARG, ry_max_pool2d(g, noise(b, F32(1, 3, 9, 8), 1), NULL), "size of the window is missing");
    p = (ry_pool2d_options){.size = {2, 2}, .pad = {2, 0}};
    fails(b, RY_EARG, ry_max_pool2d(g, noise(b, F32(1, 3, 9, 8), 1), &p), "more than half of the window");
    /* Of equal values the first takes the gradient; a NaN is the maximum. */
    static const float plane[] = {1, 5, 5, NAN, 2, 5, 0, 3};
    ry_tensor x = put(b, F32(1, 1, 2, 4), plane), d;
    p = (ry_pool2d_options){.size = {2, 2}};
    ry_tensor y = ry_max_pool2d(g, x, &p);
    assert_ok(ry_grad(g, y, RY_NULL, 1, &x, &d));
    float *top = get(b, y), *grad = get(b, d);
    assert_true(top[0] == 5 && isnan(top[1]));
    for (int i = 0; i < 8; i++) assert_true(grad[i] == (float)(i == 1 || i == 3));
    free(top), free(grad);
}

/* Many rows: the right side is packed once, in rounds of columns where it is large; fewer rows give the same bits without. */
static void test_matmul_rounds(void **state) {
    bench *b = *state;
    enum { M = 640, N = 70, K = 70000 };
    ry_tensor x = noise(b, F32(M, K), 1), w = noise(b, F32(N, K), 2), bias = noise(b, F32(N), 3);
    ry_tensor few = ry_slice(b->g, x, 0, 0, 40, 1);
    for (int layout = 0; layout < 2; layout++) {
        ry_tensor half = ry_cast(b->g, bias, RY_BF16), wt = ry_contiguous(b->g, ry_transpose(b->g, w, 0, 1));
        ry_tensor all = layout ? ry_matmul(b->g, x, wt) : ry_linear(b->g, x, w, half);
        ry_tensor some = layout ? ry_matmul(b->g, few, wt) : ry_linear(b->g, few, w, half);
        float *y = get(b, all), *z = get(b, some);
        assert_memory_equal(y, z, 40 * N * sizeof *y);
        free(y), free(z);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_matmul_rounds),   TEST(test_matmul_forms),    TEST(test_matmul_views),     TEST(test_bf16_factors),
        TEST(test_grouped_offsets), TEST(test_attention_cache), TEST(test_attention_packed), TEST(test_attention_edges),
        TEST(test_head_loss),       TEST(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
