/* attention.h - what attention's forward and backward rows share: operands, which keys a query sees, tiles of scores, and the
 * composed form.  Private to this folder. */
#ifndef RY_OPS_ATTENTION_H
#define RY_OPS_ATTENTION_H
#include "core/join.h"
#include "ops/product.h"

typedef struct attention_args {
    double scale, softcap; /* rusty.h */
    int64_t window;
    int32_t product; /* dtype of the factors */
    bool causal;
} attention_args;
extern const ry_arg attention_args_of[];

enum { ATT_Q, ATT_K, ATT_V };
enum { ATT_MASK, ATT_SEG_Q, ATT_SEG_K, ATT_LENGTH, ATT_OPTIONS }; /* in this order, after the row's other sources */

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

/* Keys [lo, hi) that query t may see, and that rows of a tile may see; only the second looks at segments. */
void attention_row_range(const attention_job *j, int64_t b, int64_t t, int64_t *lo, int64_t *hi);
void attention_range(const attention_job *j, const attention_tile *a, int64_t *lo, int64_t *hi);

/* Rows [first, last) of the tile, which is one head's, that see key s; segments are not looked at. */
void attention_seen_by(const attention_job *j, const attention_tile *a, int64_t s, int64_t *first, int64_t *last);

/* c[m,n] = alpha a b (+ c); strides as simd_mat. */
void attention_product(const attention_job *j, int64_t m, int64_t n, int64_t k, simd_mat a, simd_mat b, float *c,
                       int64_t ldc, float alpha, bool accumulate, void *local);
size_t attention_local(const attention_job *j, int64_t m, int64_t n, int64_t k, simd_mat a,
                       simd_mat b); /* for any smaller one too */

/* Attention from simple rows, for the lowered forms. All [B,H,T,S] f32. */
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

/* What kernels of both rows count on: shapes, strides, sizes of tiles from the variant's knobs, which keys a query sees. */
void attention_launch(ry_launch *l, const ry_node *n, const attention_job *j, int options);
void attention_launch_operand(ry_launch *l, const ry_node *n,
                              int i); /* strides of source i [B,T,H,D]; its bit of vec */
int attention_knob(const ry_launch *l, const char *name);
/* Segments and lengths copied to tmp, from cell `at` on, which is behind all other uses. */
void attention_launch_pack(ry_launch *l, const ry_node *n, const attention_job *j, int options, int64_t at);
/* Large tiles pay: there are rows for them, and this much workgroup memory. */
bool attention_large(const ry_node *n, const ry_caps *caps, uint32_t shared_bytes);
bool attention_software(const ry_node *n, const ry_caps *caps);
/* TX x TY threads, TX a multiple of 8, TY of 4; 4 R rows, 4 NS columns of scores and 4 NO columns of the result each; KD deep. */
#define ATTENTION_TILES(tx, ty, r, ns, no, kd)                                 \
    {                                                                          \
        {"TX", tx}, {"TY", ty}, {"R", r}, {"NS", ns}, {"NO", no}, { "KD", kd } \
    }
#define ATTENTION_SOFTWARE                                                \
    {                                                                     \
        "software", attention_software, ATTENTION_TILES(8, 8, 1, 1, 2, 4) \
    } /* short texts: compiling takes longest there */

/* One group, of `least` threads at least, reads all keys of a query (_attention_one.wgsl): does that pay, and the knobs of it. */
bool attention_is_one(const attention_job *j, const ry_caps *caps, int64_t least);
void attention_launch_one(ry_launch *l, const attention_job *j);
bool attention_step_join(ry_joiner *j, ry_node *n); /* n: an attention node; did it? */

extern const ry_op attention_grad_row, attention_step_row;
#endif
