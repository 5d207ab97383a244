/* attention.h - what attention's forward and backward rows share: operands, which keys a query sees, tiles of scores, and the
 * composed form.  Private to this folder. */
#ifndef RY_OPS_ATTENTION_H
#define RY_OPS_ATTENTION_H
#include "ops/product.h"
#include "simd/rows.h"

typedef struct attention_args {
    double scale, softcap; /* rusty.h */
    int64_t window;
    int32_t product; /* dtype of the factors */
    bool causal;
} attention_args;
extern const ry_arg attention_args_of[];

enum { ATT_Q, ATT_K, ATT_V };
enum { ATT_MASK, ATT_SEG_Q, ATT_SEG_K, ATT_LENGTH, ATT_OPTIONS }; /* in this order, after the row's other sources */
/* A tile of scores, and its row step: no power of two (cache sets), and room to end every row with a whole
 * vector. 42 rows: few enough that gemm reads V where it lies, and three of its tiles of 14. */
enum { ATT_ROWS = 42, ATT_KEYS = 256, ATT_PAD = 16, ATT_LD = ATT_KEYS + ATT_PAD };
static inline int64_t attention_padded(int64_t n) { return (n + ATT_PAD - 1) / ATT_PAD * ATT_PAD; }

typedef struct attention_operand {
    const void *data;
    ry_dtype dtype;
    int64_t b, t, h; /* strides; the last is 1 */
} attention_operand;

/* One run of a node (or, from work, its shapes). */
typedef struct attention_job {
    int64_t B, T, S, H, G, D, Dv;
    attention_operand q, k, v;
    const void *mask;
    ry_dtype mask_dtype;
    int64_t mask_step[4]; /* b, h, t, s; 0 where broadcast */
    const int32_t *seg_q, *seg_k, *length;
    float scale, cap; /* cap 0: none */
    int64_t window;
    bool causal;
    ry_dtype product;
} attention_job;

/* Rows of one tile: consecutive queries of one head; or, for T = 1, consecutive heads that share their keys. */
typedef struct attention_tile {
    int64_t b, h, t;
    int rows;
    bool heads;
} attention_tile;
static inline int64_t attention_head(const attention_tile *a, int i) { return a->heads ? a->h + i : a->h; }
static inline int64_t attention_time(const attention_tile *a, int i) { return a->heads ? a->t : a->t + i; }

/* Shapes and options of q, k, v and the optional sources from `options` on; common to both rows. */
ry_status attention_check(const ry_node *n, int options);
void attention_open(attention_job *j, const ry_node *n, void *const *src, int options); /* src NULL: shapes only */
attention_operand attention_of(const ry_value *v, void *const *src, int i);

/* A row of scores becomes exp(s - m), zero outside [lo, hi); returns the sum. The loop takes whole vectors: a ragged end would cost as
 * much as the rest. What is added there is of no weight, but no zero either: exp is slow where its result is no normal number. */
static inline float attention_weights(const simd_rows_table *r, float *s, float m, int64_t lo, int64_t hi, int64_t n) {
    r->fill(s + hi, m - 80, ATT_PAD);
    float sum = r->exp_sub(s + lo, s + lo, m, attention_padded(hi - lo));
    if (lo) r->fill(s, 0, lo);
    r->fill(s + hi, 0, attention_padded(n - hi));
    return sum;
}

/* Keys [lo, hi) that rows of the tile may see. */
void attention_range(const attention_job *j, const attention_tile *a, int64_t *lo, int64_t *hi);

/* c[m,n] = alpha a b (+ c); strides as simd_mat. */
void attention_product(const attention_job *j, int64_t m, int64_t n, int64_t k, simd_mat a, simd_mat b, float *c,
                       int64_t ldc, float alpha, bool accumulate, void *local);
size_t attention_local(const attention_job *j, int64_t m, int64_t n, int64_t k, simd_mat a,
                       simd_mat b); /* for any smaller one too */

/* s[rows][ATT_LD] = scores of the tile's rows with keys [k0, k0 + n): scaled, capped, masked. lo and hi: what each row sees of
 * them, relative to k0; the ATT_PAD values from hi on are -inf, what lies elsewhere is not meaningful. slope (or NULL): d score / d (scaled product), where there is a cap. */
void attention_scores(const attention_job *j, const attention_tile *a, int64_t k0, int64_t n, float *s, float *slope,
                      int64_t lo[ATT_ROWS], int64_t hi[ATT_ROWS], void *local);

/* The same from simple rows, for the lowered forms. All [B,H,T,S] f32. */
typedef struct attention_composed {
    ry_tensor q, k, v; /* [B,G,H/G,T,D], [B,G,1,S,D], [B,G,1,S,Dv], f32 */
    ry_tensor scores;  /* hidden keys: -inf */
    ry_tensor slope;   /* null without a cap */
} attention_composed;
attention_composed attention_compose(ry_graph *g, const ry_node *n, int options);
ry_tensor attention_heads_first(ry_graph *g, ry_tensor x, int64_t groups); /* [B,T,H,D] -> [B,G,H/G,T,D] f32 */
ry_tensor attention_heads_last(ry_graph *g, ry_tensor x);                  /* and back */
/* d scores of the loss, [B,H,T,S], before the scale: for the lowered gradient and for the mask's. Sources as attention_grad's. */
ry_tensor attention_compose_ds(ry_graph *g, const attention_composed *c, ry_tensor o, ry_tensor lse, ry_tensor go,
                               ry_tensor glse, ry_tensor *p);

extern const ry_op attention_grad_row;
#endif
