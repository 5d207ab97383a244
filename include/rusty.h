/* rusty.h - the whole public interface of librusty.
 *
 * Rusty trains and runs language models on the hardware a person has. This header is the manual: read it once, top to
 * bottom. Elementwise operators (ry_add, ry_exp, ry_silu, ...) are in <rusty/ops.h>, which the build writes from src/map.def.
 *
 * Conventions
 *   - Functions that can fail return ry_status; the out-parameter comes first and is left NULL or untouched on failure.
 *     ry_message() is the thread's last error in one line: what, where, what to do.
 *   - Options are structs in which zero means "default". Pass NULL for all defaults.
 *   - Things that last are made by _open and ended by _close; _close(NULL) is allowed. Each has one owner.
 *   - Graph builders never fail visibly: given a null tensor, or after a first error, they return a null tensor, and the
 *     first error waits in the graph until ry_compile, ry_eval or ry_graph_status returns it.
 *   - The library never exits, aborts or prints. Messages go to the log callback.
 *
 * Letters in shape comments: B batch, T query length, S key length, C channels (hidden size), H heads, G key/value heads,
 * D head size, V vocabulary, R rows, N columns, K inner length of a product, E experts.
 */
#ifndef RUSTY_H
#define RUSTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(RY_SHARED)
#define RY_API __declspec(dllexport)
#elif defined(__GNUC__)
#define RY_API __attribute__((visibility("default")))
#else
#define RY_API
#endif

#define RY_VERSION_MAJOR 0
#define RY_VERSION_MINOR 1
#define RY_VERSION_PATCH 0
RY_API const char *ry_version(void); /* "0.1.0" */

/* ---------------------------------------------------------------- status, log, memory ---- */

#define RY_STATUS_MAP(X)                                 \
    X(OK, "ok")                                          \
    X(EARG, "bad argument")                              \
    X(ESHAPE, "shapes do not fit")                       \
    X(EDTYPE, "dtype not supported")                     \
    X(ENOMEM, "out of memory")                           \
    X(EIO, "cannot read or write")                       \
    X(ENOENT, "not found")                               \
    X(EFORMAT, "malformed file")                         \
    X(EUNSUPPORTED, "not supported")                     \
    X(EDEVICE, "device failure")                         \
    X(ELOST, "device lost")                              \
    X(EBUSY, "in use by another process")                \
    X(ESTALE, "handle from an earlier step")             \
    X(ENAN, "not a finite number")                       \
    X(ESTOPPED, "stopped on request")                    \
    X(EINTERNAL, "internal error")

typedef enum ry_status {
#define RY_X(name, text) RY_##name,
    RY_STATUS_MAP(RY_X)
#undef RY_X
    RY_STATUS_COUNT
} ry_status;

RY_API const char *ry_status_name(ry_status st); /* "ESHAPE" */
RY_API const char *ry_status_text(ry_status st); /* "shapes do not fit" */
RY_API const char *ry_message(void);             /* this thread's last error; "" if none; valid until its next error */

typedef enum ry_log_level { RY_LOG_DEBUG, RY_LOG_INFO, RY_LOG_WARN, RY_LOG_ERROR } ry_log_level;
typedef void (*ry_log_fn)(void *ud, ry_log_level level, const char *line);
RY_API void ry_log_set(ry_log_fn fn, void *ud); /* NULL: silence (the default). May be called from any thread. */

/* All memory of the library passes here. new_size 0 frees (and cannot fail); ptr NULL allocates; NULL result = no memory.
 * Set it before any other call. */
typedef void *(*ry_alloc_fn)(void *ud, void *ptr, size_t old_size, size_t new_size);
RY_API void ry_alloc_set(ry_alloc_fn fn, void *ud); /* NULL: the C library's */

/* ---------------------------------------------------------------- dtypes and shapes ---- */

enum { RY_MAX_RANK = 8, RY_MAX_SRC = 12, RY_MAX_OUT = 4 };

typedef enum ry_dtype {
    RY_NONE, /* zero: "not given" */
    RY_F32,
    RY_F16,
    RY_BF16,
    RY_F64, /* files and CPU only; arithmetic is f32 */
    RY_I8,
    RY_U8,
    RY_I32,
    RY_I64,
    RY_BOOL, /* one byte, 0 or 1 */
    /* GGUF's block formats: read-only weights along the last axis. Blocks of 32, then super-blocks of 256. */
    RY_Q4_0,
    RY_Q4_1,
    RY_Q5_0,
    RY_Q5_1,
    RY_Q8_0,
    RY_IQ4_NL,
    RY_MXFP4, /* of OCP's Microscaling formats, in ggml's order */
    RY_Q2_K,
    RY_Q3_K,
    RY_Q4_K,
    RY_Q5_K,
    RY_Q6_K,
    RY_DTYPE_COUNT
} ry_dtype;

typedef struct ry_spec {
    ry_dtype dtype;
    int rank; /* 0: a scalar */
    int64_t dim[RY_MAX_RANK];
} ry_spec;

RY_API const char *ry_dtype_name(ry_dtype t);                        /* "f32" */
RY_API ry_spec ry_shape(ry_dtype t, int rank, const int64_t *dims);
#define RY_SHAPE(t, ...) /* an lvalue: &RY_SHAPE(RY_F32, 2, 3) is a ry_spec pointer */ \
    ((ry_spec){.dtype = (t), .rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})
RY_API int64_t ry_numel(const ry_spec *s);                           /* -1 if the product overflows or a dim is negative */
RY_API ry_status ry_spec_bytes(size_t *out, const ry_spec *s);       /* dense bytes; EARG on overflow or a partial block */

/* ---------------------------------------------------------------- devices ---- */

typedef struct ry_device ry_device;
typedef struct ry_device_options {
    int threads;        /* CPU: 0 = all cores this process may use */
    size_t cache_bytes; /* kept programs; 0 = 256 MiB */
    const struct ry_device *like; /* "null": plans as this device would; it is closed after that one. NULL: as the CPU */
} ry_device_options;
typedef struct ry_device_info {
    char device[24];   /* what ry_device_open and --device take: "cpu", "webgpu:1" */
    char name[128];    /* "Intel(R) Xeon(R) Processor" */
    char backend[16];  /* cpu, null, vulkan, metal, dx12, cuda */
    char type[24];     /* Cpu, DiscreteGpu, IntegratedGpu, SoftwareGpu, OtherGpu, None */
    char features[256];/* "avx512f avx512_bf16, 2 threads" */
    char driver[160];  /* GPUs: "NVIDIA 580.95.05" */
    size_t memory;     /* bytes; 0 = unknown */
    int threads;
    int preference;    /* "auto" takes the highest above 0, of equals the first */
    size_t max_buffer, max_binding;         /* GPUs: bytes of one buffer, and of what a kernel sees of it */
    int max_bindings;                       /* storage buffers of a kernel */
    int shared_bytes, max_invocations;      /* of a workgroup */
} ry_device_info;

/* name: "auto", "cpu", "null", "webgpu", "webgpu:1"; NULL = auto. Unknown or absent devices are ENOENT with the list of what is here. */
RY_API ry_status ry_device_open(ry_device **out, const char *name, const ry_device_options *opt);
RY_API void ry_device_close(ry_device *d); /* after everything opened on it */
RY_API void ry_device_describe(const ry_device *d, ry_device_info *out);
RY_API size_t ry_device_count(void);                                 /* devices this build and machine offer */
RY_API ry_status ry_device_list(size_t i, ry_device_info *out);
/* The backends of this build, by number: "cpu", "null", "webgpu"; NULL after the last. */
RY_API const char *ry_backend_name(size_t i);
RY_API ry_status ry_backend_check(size_t i);                         /* OK if it has a device here; else the message says what is missing */

/* ---------------------------------------------------------------- lasting tensors ---- */

/* A variable outlives a step: weight, moment, KV cache. Dense, row-major, one owner. */
typedef struct ry_var ry_var;
RY_API ry_status ry_var_open(ry_var **out, ry_device *d, const ry_spec *s, const char *name); /* zeroed */
/* Wraps memory that somebody else owns (a mapped file): used in place where the device can, else copied. release may be NULL. */
RY_API ry_status ry_var_wrap(ry_var **out, ry_device *d, const ry_spec *s, const char *name, void *data,
                             void (*release)(void *ud), void *ud);
RY_API void ry_var_close(ry_var *v);
RY_API ry_status ry_var_write(ry_var *v, const void *data, size_t bytes); /* all of it */
RY_API ry_status ry_var_read(const ry_var *v, void *data, size_t bytes);
RY_API const ry_spec *ry_var_spec(const ry_var *v);
RY_API const char *ry_var_name(const ry_var *v);

/* ---------------------------------------------------------------- graphs ---- */

/* A graph collects one step's operators; it belongs to one thread. A tensor is a handle into it, valid until ry_graph_reset;
 * a handle from an earlier step or another graph is ESTALE. */
typedef struct ry_graph ry_graph;
typedef struct ry_tensor { uint32_t id, gen; } ry_tensor;
#define RY_NULL ((ry_tensor){0, 0})
static inline bool ry_is_null(ry_tensor t) { return t.gen == 0; }

RY_API ry_status ry_graph_open(ry_graph **out, ry_device *d);
RY_API void ry_graph_close(ry_graph *g);
RY_API void ry_graph_reset(ry_graph *g);            /* ends the step: nodes are freed, errors forgotten */
RY_API ry_status ry_graph_status(const ry_graph *g);/* first error of this step; its text becomes ry_message() */
RY_API ry_device *ry_graph_device(const ry_graph *g);

RY_API ry_tensor ry_input(ry_graph *g, const ry_spec *s, const char *name); /* fed at every run */
RY_API ry_tensor ry_use(ry_graph *g, ry_var *v);                            /* its newest version in this graph */
RY_API ry_tensor ry_name(ry_graph *g, ry_tensor t, const char *name);       /* for messages and profiles; returns t */
RY_API ry_tensor ry_out(ry_graph *g, ry_tensor t, int i);                   /* output i of the operator that made t */
RY_API const ry_spec *ry_spec_of(const ry_graph *g, ry_tensor t);           /* NULL for a null or stale handle */

/* Recomputation: operators built between begin and end keep only what leaves the scope; the backward pass computes the
 * rest again (activation checkpointing). Scopes do not nest. */
RY_API void ry_recompute_begin(ry_graph *g);
RY_API void ry_recompute_end(ry_graph *g);

/* gx[i] = d sum(y * gy) / d x[i], appended to the graph. gy null: ones. A tensor that y does not depend on gets zeros. */
RY_API ry_status ry_grad(ry_graph *g, ry_tensor y, ry_tensor gy, size_t n, const ry_tensor *x, ry_tensor *gx);

/* ---------------------------------------------------------------- programs ---- */

typedef struct ry_program ry_program;
typedef struct ry_feed { ry_tensor input; const void *data; size_t bytes; } ry_feed;
typedef struct ry_compile_options {
    bool no_fusion, no_cse, no_inplace; /* for tests and --debug: results agree within rounding */
    bool no_cache;                      /* a program of its own, never shared */
    bool profile;                       /* time every node */
    bool debug_nan;                     /* stop at the first node whose output is not finite */
} ry_compile_options;

/* Plans what `want` (and every write to a variable) needs. Equal structures share one program through the device's cache;
 * dynamic arguments (lr, step, seed, position) are data. The program outlives the graph's reset. */
RY_API ry_status ry_compile(ry_program **out, ry_graph *g, size_t n, const ry_tensor *want, const ry_compile_options *opt);
RY_API void ry_program_close(ry_program *p);
/* Dynamic argument `field` (say "lr") of every node that has one. EARG if no node has. */
RY_API ry_status ry_program_set(ry_program *p, const char *field, double value);
/* Feeds the inputs in the order of their creation in the graph (i-th ry_input), wanted outputs in the order of `want`. */
RY_API ry_status ry_program_feed(ry_program *p, size_t input, const void *data, size_t bytes);
RY_API ry_status ry_run(ry_program *p);
RY_API ry_status ry_fetch(ry_program *p, size_t want, void *data, size_t bytes); /* waits */
RY_API const ry_spec *ry_program_spec(const ry_program *p, size_t want);

/* Compile, feed, run. Then ry_read fetches any wanted tensor of this graph. */
RY_API ry_status ry_eval(ry_graph *g, size_t n, const ry_tensor *want, size_t n_feed, const ry_feed *feed);
RY_API ry_status ry_read(ry_graph *g, ry_tensor t, void *data, size_t bytes);
RY_API ry_status ry_keep(ry_var **out, ry_graph *g, ry_tensor t, const char *name); /* a copy that lasts */

typedef struct ry_plan_info { /* bytes; peak = lasting + slab + scratch */
    size_t weights, inputs, outputs, activations, scratch, slab, peak;
    size_t nodes, nodes_before, fused; /* planned nodes; nodes in the graph; elementwise nodes merged into others */
    double flops, bytes_moved;
} ry_plan_info;
RY_API void ry_program_plan(const ry_program *p, ry_plan_info *out);
typedef struct ry_profile_row { const char *op, *name; double ms, gflops, gbps; int64_t calls; } ry_profile_row;
RY_API size_t ry_program_profile(const ry_program *p, ry_profile_row *rows, size_t cap); /* returns the number of rows */
RY_API ry_status ry_program_trace(const ry_program *p, const char *path);               /* Chrome trace JSON */

/* ---------------------------------------------------------------- operators ---- */
/* Elementwise ones: <rusty/ops.h>. They broadcast as NumPy does. Axes count from the end where negative. */

typedef uint32_t ry_axes; /* a set of axes: RY_AXIS(0) | RY_AXIS(-1); 0 = all */
#define RY_AXIS(i) ((ry_axes)1 << ((unsigned)(i) & 31u))

/* Shape. Views cost nothing until somebody needs the bytes dense. */
RY_API ry_tensor ry_reshape(ry_graph *g, ry_tensor x, int rank, const int64_t *dim); /* one dim may be -1 */
#define RY_RESHAPE(g, x, ...) \
    ry_reshape(g, x, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
RY_API ry_tensor ry_permute(ry_graph *g, ry_tensor x, const int *perm);   /* rank entries */
RY_API ry_tensor ry_transpose(ry_graph *g, ry_tensor x, int axis0, int axis1);
RY_API ry_tensor ry_slice(ry_graph *g, ry_tensor x, int axis, int64_t start, int64_t stop, int64_t step); /* step may be < 0 */
RY_API ry_tensor ry_expand(ry_graph *g, ry_tensor x, int rank, const int64_t *dim);  /* broadcast to */
RY_API ry_tensor ry_contiguous(ry_graph *g, ry_tensor x);
RY_API ry_tensor ry_cast(ry_graph *g, ry_tensor x, ry_dtype t);
RY_API ry_tensor ry_concat(ry_graph *g, size_t n, const ry_tensor *x, int axis);
RY_API ry_tensor ry_pad(ry_graph *g, ry_tensor x, const int64_t *before, const int64_t *after, double value);
RY_API ry_tensor ry_repeat(ry_graph *g, ry_tensor x, const int64_t *times); /* rank entries; tiles */

/* Makers. */
RY_API ry_tensor ry_fill(ry_graph *g, const ry_spec *s, double value);
RY_API ry_tensor ry_scalar(ry_graph *g, double value);                    /* f32 [] */
RY_API ry_tensor ry_iota(ry_graph *g, const ry_spec *s, int axis, double start, double step);
RY_API ry_tensor ry_uniform(ry_graph *g, const ry_spec *s, uint64_t seed, uint32_t stream); /* Philox4x32-10, [0,1) */
RY_API ry_tensor ry_normal(ry_graph *g, const ry_spec *s, uint64_t seed, uint32_t stream);

/* Reductions over `axes` (0 = all), f32 accumulation in a fixed order. */
RY_API ry_tensor ry_sum(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);
RY_API ry_tensor ry_mean(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);
RY_API ry_tensor ry_amax(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);
RY_API ry_tensor ry_amin(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);
RY_API ry_tensor ry_any(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);  /* -> bool */
RY_API ry_tensor ry_all(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);
RY_API ry_tensor ry_logsumexp(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim);
RY_API ry_tensor ry_norm(ry_graph *g, ry_tensor x, ry_axes axes, bool keepdim); /* Euclidean */
RY_API ry_tensor ry_argmax(ry_graph *g, ry_tensor x, int axis, bool keepdim);   /* -> i32, first of equals */
RY_API ry_tensor ry_argmin(ry_graph *g, ry_tensor x, int axis, bool keepdim);

/* Order. Outputs: 0 values, 1 indices (i32). Stable; NaN sorts last ascending. */
RY_API ry_tensor ry_sort(ry_graph *g, ry_tensor x, int axis, bool descending);
RY_API ry_tensor ry_top_k(ry_graph *g, ry_tensor x, int64_t k, int axis);       /* largest first */
RY_API ry_tensor ry_cumsum(ry_graph *g, ry_tensor x, int axis, bool exclusive, bool reverse);

/* Indexing: idx is i32 or i64; negative or too large indices are an error. Those that a GPU computed itself give NaN (0 where
 * the result is no float), and scatter leaves them out. */
RY_API ry_tensor ry_embedding(ry_graph *g, ry_tensor w, ry_tensor ids);          /* w [V,C], ids [...] -> [...,C] */
RY_API ry_tensor ry_take(ry_graph *g, ry_tensor x, ry_tensor ids, int axis);     /* whole slices; ids [R] */
RY_API ry_tensor ry_gather(ry_graph *g, ry_tensor x, ry_tensor idx, int axis);   /* torch.gather */
RY_API ry_tensor ry_scatter(ry_graph *g, ry_tensor x, ry_tensor idx, ry_tensor src, int axis, bool add); /* copy of x */

/* Rows. */
RY_API ry_tensor ry_softmax(ry_graph *g, ry_tensor x, int axis);
RY_API ry_tensor ry_log_softmax(ry_graph *g, ry_tensor x, int axis);
RY_API ry_tensor ry_rms_norm(ry_graph *g, ry_tensor x, ry_tensor w, double eps);              /* last axis; w [N] or null */
RY_API ry_tensor ry_layer_norm(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b, double eps);

/* Products. precision: dtype in which factors are multiplied (RY_F32, RY_BF16); accumulation is f32. RY_NONE = the graph's. */
RY_API void ry_graph_precision(ry_graph *g, ry_dtype t);
/* How products with weights of blocks are computed: exactly, as if the blocks were f32; or with the other side rounded to 8 bits (a
 * scale for each 32 values of a row), in whole numbers, which is faster on CPUs (other devices stay exact). Gradients are exact. */
typedef enum ry_numerics { RY_EXACT, RY_Q8 } ry_numerics;
RY_API void ry_graph_numerics(ry_graph *g, ry_numerics n);
RY_API ry_tensor ry_matmul(ry_graph *g, ry_tensor a, ry_tensor b);               /* [..,T,K] x [..,K,N] -> [..,T,N] */
RY_API ry_tensor ry_linear(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b);  /* x [..,K], w [N,K], b [N] or null -> [..,N] */
/* Experts: rows of x are sorted by expert; offsets [E+1] i32 says where each begins. w [E,N,K] -> [R,N]. */
RY_API ry_tensor ry_grouped_matmul(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor offsets);
/* x [B,T,C], w [C,K], b [C] or null, state [B,K-1,C] or null (zeros). Outputs: 0 y [B,T,C], 1 the next state. */
RY_API ry_tensor ry_conv1d(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b, ry_tensor state);
typedef struct ry_conv2d_options { int64_t stride[2], pad[2], dilation[2], groups; } ry_conv2d_options;
RY_API ry_tensor ry_conv2d(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor b, const ry_conv2d_options *o); /* NCHW, w [O,C/groups,h,w] */
typedef struct ry_pool2d_options { int64_t size[2], stride[2], pad[2]; bool ceil_mode, count_pad; } ry_pool2d_options;
RY_API ry_tensor ry_max_pool2d(ry_graph *g, ry_tensor x, const ry_pool2d_options *o);
RY_API ry_tensor ry_avg_pool2d(ry_graph *g, ry_tensor x, const ry_pool2d_options *o);

/* Attention. */
typedef struct ry_rope_options {
    bool interleaved; /* pairs (2i, 2i+1) instead of (i, i + rotary/2) */
    int64_t rotary;   /* leading dims that turn; 0 = all of D */
    double scale;     /* multiplies cos and sin (YaRN's attention factor); 0 = 1 */
    bool inverse;     /* turn back */
} ry_rope_options;
/* x [B,T,H,D], pos [B,T] or [T] i32, freq [rotary/2] f32 (radians per position) */
RY_API ry_tensor ry_rope(ry_graph *g, ry_tensor x, ry_tensor pos, ry_tensor freq, const ry_rope_options *o);
typedef struct ry_attention_options {
    double scale;              /* 0 = 1/sqrt(D) */
    bool causal;               /* query t sees keys up to t + (length - T) */
    int64_t window;            /* 0 = all; else a query sees the last `window` keys, itself included */
    double softcap;            /* 0 = none; s = cap * tanh(s / cap) */
    ry_tensor mask;            /* null, or added to the scores: broadcasts to [B,H,T,S] */
    ry_tensor segment_q, segment_k; /* null, or [B,T] and [B,S] i32: only equal segments see each other (packing) */
    ry_tensor length;          /* null, or [B] i32: keys in use of S; the cache may be longer */
} ry_attention_options;
/* q [B,T,H,D], k [B,S,G,D], v [B,S,G,Dv] -> 0: [B,T,H,Dv], 1: log-sum-exp [B,H,T]. H is a multiple of G. Rows that see no key are 0. */
RY_API ry_tensor ry_attention(ry_graph *g, ry_tensor q, ry_tensor k, ry_tensor v, const ry_attention_options *o);

/* Loss. targets i32 or i64; rows with target == ignore (use -100) lose nothing. */
RY_API ry_tensor ry_cross_entropy(ry_graph *g, ry_tensor logits, ry_tensor targets, int64_t ignore); /* [R,V],[R] -> [R] */
typedef struct ry_linear_ce_options {
    int64_t ignore;   /* use -100 */
    ry_tensor scale;  /* null, or f32 []: multiplies the loss */
    double softcap;   /* on the logits; 0 = none */
    bool with_grad;   /* the gradients will be asked for: compute them in the same pass */
} ry_linear_ce_options;
/* sum over rows of cross_entropy(x w^T): x [R,C], w [V,C] -> []. Logits exist only a chunk at a time. */
RY_API ry_tensor ry_linear_cross_entropy(ry_graph *g, ry_tensor x, ry_tensor w, ry_tensor targets, const ry_linear_ce_options *o);
RY_API ry_tensor ry_dropout(ry_graph *g, ry_tensor x, double p, uint64_t seed, uint32_t stream); /* seed is dynamic */

/* Updates: write variables; the result is the next version. */
RY_API ry_tensor ry_assign(ry_graph *g, ry_var *v, ry_tensor x);
RY_API ry_tensor ry_add_into(ry_graph *g, ry_var *v, ry_tensor x);
/* v[.., idx[r], ..] = rows[.., r, ..] along axis; idx [R] i32 */
RY_API ry_tensor ry_set_rows(ry_graph *g, ry_var *v, ry_tensor rows, ry_tensor idx, int axis);
/* As torch.optim.SGD; lr, step dynamic. step 1 is the first: the momentum becomes the gradient, undamped. Only dampening needs it. */
typedef struct ry_sgd_options { double lr, momentum, dampening, weight_decay; bool nesterov; int64_t step; } ry_sgd_options;
RY_API ry_tensor ry_sgd(ry_graph *g, ry_var *w, ry_tensor grad, ry_var *momentum, ry_tensor scale, const ry_sgd_options *o);
typedef struct ry_adamw_options { double lr, beta1, beta2, eps, weight_decay; int64_t step; } ry_adamw_options; /* lr, step dynamic; step from 1 */
/* Decoupled decay, bias-corrected, as torch.optim.AdamW. scale: null or f32 [], multiplies the gradient (clipping). */
RY_API ry_tensor ry_adamw(ry_graph *g, ry_var *w, ry_tensor grad, ry_var *m, ry_var *v, ry_tensor scale, const ry_adamw_options *o);
RY_API ry_tensor ry_global_norm(ry_graph *g, size_t n, const ry_tensor *x);                 /* f32 [] */
RY_API ry_tensor ry_clip_scale(ry_graph *g, ry_tensor norm, double clip);                   /* min(1, clip / (norm + 1e-6)) */

/* By name, for tools and bindings: any row, own rows included. args is the row's argument struct or NULL. */
typedef struct ry_op ry_op;
RY_API ry_tensor ry_apply(ry_graph *g, const ry_op *op, size_t n, const ry_tensor *src, const void *args);
RY_API const ry_op *ry_op_find(const char *name);
RY_API ry_status ry_op_add(const ry_op *row); /* registers an application's own row (struct ry_op: <rusty/op.h>) */

/* ---------------------------------------------------------------- tokenizers and data ---- */

/* Ids and texts are Hugging Face's (the tokenizers library), for every text. Text is UTF-8; what is not becomes U+FFFD first, except
 * where the tokenizer takes bytes as they are. A tokenizer may be used by several threads at once. The fields truncation and padding
 * of a tokenizer.json are kept, not applied. */
typedef struct ry_tokenizer ry_tokenizer;
/* path: a folder, a tokenizer.json, a SentencePiece or tiktoken .model, a GGUF. */
RY_API ry_status ry_tokenizer_open(ry_tokenizer **out, const char *path);
RY_API ry_status ry_tokenizer_bytes(ry_tokenizer **out); /* id = byte; 256 ids */
/* The code points of text, in order. Other characters are an error; when it was saved and opened again they are left out. */
RY_API ry_status ry_tokenizer_chars(ry_tokenizer **out, const char *text, size_t n);
typedef struct ry_tokenizer_train_options {
    int64_t vocab;              /* entries, special tokens and the 256 bytes included; 0 = 4096 */
    const char *pattern;        /* regular expression of the parts that no merge leaves; NULL: GPT-2's */
    const char *const *special; /* special tokens, which get the first ids; the last one is NULL */
    int64_t min_count;          /* no merge of a pair that is rarer; 0 = 1 */
    void (*progress)(void *ud, const char *what, double share);
    void *ud;
    const volatile int *stop;   /* non-zero: ESTOPPED */
} ry_tokenizer_train_options;
/* A byte-level BPE of n texts (UTF-8), with the merges of Hugging Face's BpeTrainer for files of these texts. */
RY_API ry_status ry_tokenizer_train(ry_tokenizer **out, size_t n, const char *const *texts, const size_t *bytes, const ry_tokenizer_train_options *o);
RY_API void ry_tokenizer_close(ry_tokenizer *t);
RY_API int64_t ry_tokenizer_size(const ry_tokenizer *t); /* number of ids: the largest + 1 */
/* tokenizer.json and tokenizer_config.json in a folder; a path that ends in .json: the first alone, as that file. */
RY_API ry_status ry_tokenizer_save(const ry_tokenizer *t, const char *path);
/* *ids is the caller's: ry_free. add_special: as the tokenizer's post-processor says; special tokens spelt in the text count either way. */
RY_API ry_status ry_encode(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t **ids, size_t *n_ids);
typedef struct ry_span { size_t begin, end; } ry_span; /* bytes of a text: [begin, end) */
/* The same, with the bytes of the text that each id stands for ({0, 0}: an id that was added); both are the caller's. */
RY_API ry_status ry_encode_spans(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t **ids, ry_span **spans, size_t *n_ids);
/* Two texts as one sequence; *types [n_ids]: which text (0, 1) an id belongs to, as the post-processor says. */
RY_API ry_status ry_encode_pair(const ry_tokenizer *t, const char *a, size_t n_a, const char *b, size_t n_b, bool add_special,
                                int32_t **ids, int32_t **types, size_t *n_ids);
/* *text is the caller's: ry_free; 0-terminated. Invalid UTF-8 becomes U+FFFD unless raw. Ids without a meaning give nothing. */
RY_API ry_status ry_decode(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, bool raw, char **text, size_t *n_text);
RY_API int32_t ry_token_id(const ry_tokenizer *t, const char *token);             /* of an entry of the vocabulary; -1: none */
RY_API const char *ry_token_text(const ry_tokenizer *t, int32_t id, size_t *n);   /* the entry, not what it decodes to; NULL: none; n may be NULL */
typedef enum { RY_BOS, RY_EOS, RY_PAD, RY_UNK } ry_special;
RY_API int32_t ry_token_special(const ry_tokenizer *t, ry_special which);         /* tokenizer_config.json, special_tokens_map.json; -1: none */

/* Text while ids come one by one: whole characters only, and all pieces together are what ry_decode gives for all ids. */
typedef struct ry_decoder ry_decoder;
RY_API ry_status ry_decoder_open(ry_decoder **out, const ry_tokenizer *t, bool skip_special);
RY_API ry_status ry_decoder_next(ry_decoder *d, int32_t id, const char **text, size_t *n); /* lives until the next call; may be empty */
RY_API ry_status ry_decoder_end(ry_decoder *d, const char **text, size_t *n);              /* what was held back; then it may begin anew */
RY_API void ry_decoder_close(ry_decoder *d);
RY_API void ry_free(void *p);

typedef struct ry_data ry_data; /* rows of token ids with labels */
typedef struct ry_data_options {
    int64_t seq_len;    /* 0: text 256; safetensors: rows whole */
    int64_t stride;     /* windows of text; 0 = seq_len */
    double hold_out;    /* text: this last part is left out (or, with held_part, is all there is) */
    bool held_part;
} ry_data_options;
/* path: text (needs a tokenizer) or safetensors with input_ids [N,T] and maybe labels [N,T] (-100: no loss). */
RY_API ry_status ry_data_open(ry_data **out, const char *path, const ry_tokenizer *t, const ry_data_options *o);
RY_API ry_status ry_data_text(ry_data **out, const char *text, size_t n, const ry_tokenizer *t, const ry_data_options *o);
RY_API void ry_data_close(ry_data *d);
RY_API int64_t ry_data_rows(const ry_data *d);
RY_API int64_t ry_data_len(const ry_data *d); /* T of its rows */
/* Row i: ids [T], and targets [T], already shifted: target[t] is what position t must predict, -100 where nothing. */
RY_API ry_status ry_data_row(const ry_data *d, int64_t i, int32_t *ids, int32_t *targets);

/* ---------------------------------------------------------------- chat templates ---- */

/* A model's chat template (Jinja2, as transformers sets it up), its variants and special tokens. Rendering reads no file and no
 * network; steps, bytes and depth are bounded, and the errors that say so begin with "limit:". May be shared by threads. */
typedef struct ry_template ry_template;
typedef struct ry_template_args {
    const char *messages;       /* a JSON list */
    const char *tools;          /* a JSON list; NULL: none. Where they are given, a variant "tool_use" is taken if there is one */
    const char *documents;      /* the same */
    const char *variables;      /* a JSON object of further variables; NULL: none */
    bool add_generation_prompt;
    const char *now;            /* "2025-03-14 09:26:53", what strftime_now sees; NULL: the clock */
} ry_template_args;
/* path: a folder (chat_template.jinja and additional_chat_templates/, or tokenizer_config.json's chat_template), a GGUF, a
 * tokenizer_config.json, or a file that is the template itself. ENOENT: it has none. */
RY_API ry_status ry_template_open(ry_template **out, const char *path);
RY_API ry_status ry_template_text(ry_template **out, const char *text, size_t n);
RY_API void ry_template_close(ry_template *t);
RY_API ry_status ry_template_token(ry_template *t, const char *name, const char *value); /* sets a special token: "bos_token" */
/* *text is the caller's (ry_free; 0-terminated), and so is *spans (NULL allowed: not wanted): the {% generation %} blocks. */
RY_API ry_status ry_template_render(const ry_template *t, const ry_template_args *a, char **text, size_t *n, ry_span **spans, size_t *n_spans);
/* The same with the spans of what the assistant says: the generation blocks, or without such, what each of its messages adds to the
 * rendering up to it. EUNSUPPORTED where the template renders a conversation's beginning in another way than the conversation. */
RY_API ry_status ry_template_assistant(const ry_template *t, const ry_template_args *a, char **text, size_t *n, ry_span **spans, size_t *n_spans);

/* ---------------------------------------------------------------- models ---- */

typedef struct ry_model ry_model;
typedef struct ry_model_options {
    bool master_f32;    /* weights held in f32 whatever the file says (training) */
    ry_dtype precision; /* dtype of products; 0 = f32 */
    bool profile;       /* sessions time every operator: ry_session_profile */
    ry_dtype weights;   /* of a new model with random weights, unless master_f32; 0 = f32 */
    const struct ry_tune_options *tune; /* programs look for their fastest kernels when they are made (GPUs) */
    ry_numerics numerics; /* of products with weights of blocks */
} ry_model_options;
/* folder: config.json with model.safetensors or its shards; missing, extra or ill-shaped tensors are errors by name. */
RY_API ry_status ry_model_open(ry_model **out, ry_device *d, const char *folder, const ry_model_options *o);
/* A new model with random weights. config: path of a config.json or YAML with its keys; vocab_size is used where it gives none. */
RY_API ry_status ry_model_init(ry_model **out, ry_device *d, const char *config, int64_t vocab_size, uint64_t seed, const ry_model_options *o);
RY_API ry_status ry_model_init_text(ry_model **out, ry_device *d, const char *yaml, int64_t vocab_size, uint64_t seed, const ry_model_options *o);
RY_API void ry_model_close(ry_model *m);
/* Writes a model anew: as a GGUF file, or as a folder of safetensors, tokenizer and template with it. t: f32, f16, bf16, for GGUF the block
 * formats too (norms and vectors stay f32); 0 = as they are. What the format cannot express is EUNSUPPORTED. */
RY_API ry_status ry_export(const char *model, const char *out, bool gguf, ry_dtype t);
RY_API ry_status ry_model_save(const ry_model *m, const char *folder, ry_dtype t); /* config.json + model.safetensors; t 0 = f32 */
RY_API int64_t ry_model_params(const ry_model *m); /* number of weights */
RY_API int64_t ry_model_vocab(const ry_model *m);
RY_API int64_t ry_model_context(const ry_model *m); /* max_position_embeddings */
RY_API size_t ry_model_var_count(const ry_model *m);
RY_API ry_var *ry_model_var(const ry_model *m, size_t i); /* named as in the checkpoint */
RY_API ry_tensor ry_model_logits(ry_graph *g, ry_model *m, ry_tensor ids); /* ids [B,T] -> [B,T,V] */
/* Sum of the target tokens' losses times scale ([] or null); targets [B,T] as ry_data_row gives them. */
RY_API ry_tensor ry_model_loss(ry_graph *g, ry_model *m, ry_tensor ids, ry_tensor targets, ry_tensor scale, bool with_grad);

/* ---------------------------------------------------------------- training ---- */

typedef struct ry_train_step { /* one line of log.jsonl */
    int64_t step, steps, tokens;   /* tokens: target tokens of this step */
    double loss, grad_norm, lr, tok_per_s, eta_s;
    double ms_data, ms_forward, ms_backward, ms_optimizer; /* forward: the whole program where it cannot be told apart */
    size_t peak_bytes;            /* GPUs: of all buffers on the chip; else the most memory that this process held */
    bool is_eval;                  /* then only step, eval_loss, eval_tokens hold */
    double eval_loss;
    int64_t eval_tokens;
    const char *sample;            /* sample text, or NULL */
} ry_train_step;

typedef struct ry_train_options {
    const char *out;              /* folder; NULL: nothing is written */
    int64_t batch_size, grad_accum, iters, epochs; /* 0: 1, 1, by epochs, 1 */
    double lr;                    /* 0: 1e-3 */
    const char *schedule;         /* cosine (default), linear, constant */
    int64_t warmup;
    double clip;                  /* 0: 1.0; negative: none */
    const char *optimizer;        /* adamw (default), sgd */
    double beta1, beta2, eps, weight_decay; /* 0: 0.9, 0.999, 1e-8, 0.01; negative decay: none */
    double momentum;              /* sgd */
    bool decay_all;               /* also norms and biases */
    bool loss_norm_micro_batch;   /* mean of micro-batch means instead of the mean over all target tokens */
    bool recompute;               /* gradient checkpointing by block */
    bool no_shuffle, overwrite;
    const char *resume;           /* NULL, "auto" or a checkpoint folder */
    uint64_t seed;
    int64_t eval_every, sample_every, save_every, keep; /* 0: never; keep 0 = 2 */
    int64_t sample_tokens;        /* 0: 80 */
    const char *sample_prompt;
    const char *grads_out;        /* safetensors file of the first step's gradients */
    const char *run_yaml;         /* text of OUT/train.yaml */
    const ry_tokenizer *tokenizer;/* saved beside the model; needed for samples */
    ry_dtype save_dtype;
    bool debug_nan;
    bool profile;                 /* times every operator: on_profile at the end, and OUT/trace.json for a trace viewer */
    void (*on_profile)(void *ud, size_t n, const ry_profile_row *rows); /* rows of one step, in their order */
    void (*on_step)(void *ud, const ry_train_step *s);
    void *ud;
    const volatile int *stop;     /* non-zero: finish the step, write a checkpoint, return ESTOPPED */
} ry_train_options;
/* Trains m in place; then m holds the result. ESTOPPED after a clean stop; ENAN names the step. */
RY_API ry_status ry_train(ry_model *m, const ry_data *train, const ry_data *eval, const ry_train_options *o);

typedef struct ry_eval_result { double loss, perplexity; int64_t tokens, samples; } ry_eval_result;
typedef void (*ry_eval_sample_fn)(void *ud, int64_t row, double loss_sum, int64_t tokens);
RY_API ry_status ry_evaluate(ry_eval_result *out, ry_model *m, const ry_data *d, int64_t batch_size, ry_eval_sample_fn fn, void *ud);
/* What training would take, without training: the same graph planned on the null device, with the kernels of `like` (NULL: the CPU). */
RY_API ry_status ry_train_plan(ry_plan_info *out, const char *config_or_folder, int64_t vocab_size, int64_t seq_len,
                               const ry_train_options *o, ry_dtype precision, const ry_device *like);

/* ---------------------------------------------------------------- generation ---- */

typedef struct ry_token_bias { int32_t id; float bias; } ry_token_bias; /* added to the logit; -INFINITY: never */
/* How the next token is chosen. Biases, penalties and bans hold for greedy choice too; then temperature, top-k, top-p, min-p, typical,
 * epsilon, eta: transformers' processors in its order. Zero: a processor that does nothing. */
typedef struct ry_sampling {
    double temp;                 /* 0: greedy */
    int64_t top_k;
    double top_p, min_p;
    uint64_t seed;
    double typical_p, epsilon_cutoff, eta_cutoff;
    double repetition_penalty;   /* logits of ids that came: divided by it where positive, else multiplied */
    double presence_penalty, frequency_penalty; /* subtracted from ids that came: once, and as often as they came */
    int64_t penalty_window;      /* the three look at so many last ids, prompt included; 0: at all */
    int64_t no_repeat_ngram;     /* no so many ids in a row twice */
    int64_t min_tokens;          /* the model's end tokens not before so many sampled ones */
    const ry_token_bias *bias;
    size_t n_bias;
} ry_sampling;
/* What the model's generation_config.json says, as transformers reads it; false: it says nothing of sampling (then a temperature of 0.8,
 * top-k 40, top-p 0.95). */
RY_API bool ry_model_sampling(const ry_model *m, ry_sampling *out);
/* Sequences with their KV caches, which grow as they do. A session belongs to one thread. */
typedef struct ry_session ry_session;
typedef struct ry_session_options {
    int64_t context; /* positions of a sequence at most; 0: the model's */
    int64_t batch;   /* sequences, each of its own length; 0: one */
    ry_dtype cache;  /* f32 (0), f16, bf16, q8_0 */
} ry_session_options;
RY_API ry_status ry_session_open(ry_session **out, ry_model *m, const ry_session_options *o);
RY_API void ry_session_close(ry_session *s);
RY_API ry_status ry_session_select(ry_session *s, int64_t sequence); /* the one that the calls below speak of; at first 0 */
RY_API void ry_session_reset(ry_session *s);
RY_API ry_status ry_session_rewind(ry_session *s, int64_t n);        /* keeps the first n positions */
RY_API const int32_t *ry_session_ids(const ry_session *s, size_t *n);/* at the filled positions; valid until the next call */
/* Appends ids; logits (or NULL) receives [n,V] if all, else the last row [V]. A token sampled before goes in first. */
RY_API ry_status ry_session_feed(ry_session *s, const int32_t *ids, size_t n, float *logits, bool all);
/* The sequence becomes ids [n]: what it begins with already is kept (*kept; may be NULL), only the rest is computed. */
RY_API ry_status ry_session_prompt(ry_session *s, const int32_t *ids, size_t n, size_t *kept);
RY_API ry_status ry_session_next(ry_session *s, const ry_sampling *o, int32_t *id); /* samples from the last logits, appends */
/* The same for all sequences at once: how [batch], a NULL leaves its sequence alone; ids [batch], -1 there. */
RY_API ry_status ry_session_next_each(ry_session *s, const ry_sampling *const *how, int32_t *ids);
/* Speculation: ry_session_next of sequence 0 lets a small model propose `ahead` tokens and verifies them in one run. What comes
 * follows the large model alone: greedily the same ids, else the same distribution (Leviathan et al. 2023). NULL ends it.
 * The draft must know the same ids; it is the caller's, and lives as long as the session. */
RY_API ry_status ry_session_draft(ry_session *s, ry_model *draft, int64_t ahead);
typedef struct ry_draft_info { int64_t proposed, accepted, runs; } ry_draft_info;
RY_API void ry_session_draft_info(const ry_session *s, ry_draft_info *out);
/* Speaking as text: tokens of the selected sequence until one of the ends below. */
typedef enum { RY_ENDED_BY_TOKEN, RY_ENDED_BY_TEXT, RY_ENDED_BY_LENGTH, RY_ENDED_ON_REQUEST } ry_ending; /* length: of the answer or the context */
typedef struct ry_speak_options {
    int64_t max_tokens;          /* 0: to the end of the context */
    const char *const *stop;     /* texts that end it; they are left out of the text */
    size_t n_stop;
    const int32_t *end;          /* tokens that end it beside the model's */
    size_t n_end;
    bool ignore_end;             /* goes on after end tokens */
    bool keep_special;           /* special tokens are shown */
    void (*on_text)(void *ud, const char *text, size_t n); /* whole characters, and nothing that a stop text may begin with */
    void *ud;
    const volatile int *cancel;  /* non-zero: stops before the next token; the sequence stays usable (a chat's prompt ends in ESTOPPED) */
} ry_speak_options;
typedef struct ry_speech {       /* freed by ry_speech_free; text is 0-terminated, NULL without a tokenizer */
    char *text;
    size_t n_text;
    int32_t *ids;                /* without the end token */
    size_t n_ids;
    ry_ending ending;
    double seconds;
} ry_speech;
/* t NULL: ids only. On failure *out holds what had been said. */
RY_API ry_status ry_speak(ry_session *s, const ry_tokenizer *t, const ry_sampling *how, const ry_speak_options *o, ry_speech *out);
RY_API void ry_speech_free(ry_speech *s);
/* A conversation in the selected sequence of a session. What the sequence holds of a rendering already is not computed again. */
typedef struct ry_chat ry_chat;
RY_API ry_status ry_chat_open(ry_chat **out, ry_session *s, const ry_tokenizer *t, const ry_template *template_);
RY_API void ry_chat_close(ry_chat *c);
RY_API ry_status ry_chat_add(ry_chat *c, const char *role, const char *text, size_t n);
RY_API ry_status ry_chat_add_json(ry_chat *c, const char *message, size_t n); /* an object with role and whatever the template knows */
RY_API ry_status ry_chat_system(ry_chat *c, const char *text);    /* the first message; NULL: none */
RY_API ry_status ry_chat_variables(ry_chat *c, const char *json); /* an object of the template's variables; NULL: none */
RY_API size_t ry_chat_count(const ry_chat *c);                    /* messages */
RY_API size_t ry_chat_last(const ry_chat *c, const char *role);   /* number of the last one of a role; the count if there is none */
RY_API ry_status ry_chat_cut(ry_chat *c, size_t n);               /* keeps the first n messages */
RY_API ry_status ry_chat_messages(ry_chat *c, const char **json); /* a list; lives until the next call */
RY_API ry_status ry_chat_set_messages(ry_chat *c, const char *json, size_t n);
/* Renders, speaks, and appends what was said as the assistant's message. n_prompt, kept (NULL: not wanted): tokens of the rendering, and
 * how many of them the sequence held. o->end is the chat's own: the token that the template puts behind answers. */
RY_API ry_status ry_chat_answer(ry_chat *c, const ry_sampling *how, const ry_speak_options *o, ry_speech *out, size_t *n_prompt, size_t *kept);
RY_API ry_status ry_chat_save(ry_chat *c, const char *path);      /* as ry_session_save, with the messages */
RY_API ry_status ry_chat_load(ry_chat *c, const char *path);
/* The sequence's ids and cache in a safetensors file. Loading replaces the sequence; EARG where the file is of another model or dtype. */
RY_API ry_status ry_session_save(ry_session *s, const char *path);
RY_API ry_status ry_session_load(ry_session *s, const char *path);
/* One choice from logits [n]; history: the ids before (for penalties), position: which number of the seed's stream is drawn. */
RY_API ry_status ry_sample_logits(const float *logits, int64_t n, const ry_sampling *o, const int32_t *history, size_t n_history, uint64_t position, int32_t *id);
/* The program of one token (or, before any, of prompts), as ry_program_profile and ry_program_trace. */
RY_API size_t ry_session_profile(const ry_session *s, ry_profile_row *rows, size_t cap);
RY_API ry_status ry_session_trace(const ry_session *s, const char *path);
RY_API bool ry_model_is_end(const ry_model *m, int32_t id);

/* ---------------------------------------------------------------- the Hugging Face Hub ---- */

typedef struct ry_pull_options {
    const char *revision;         /* branch, tag or commit; NULL: main */
    const char *const *include;   /* shell patterns of file names, NULL at the end; NULL: what Rusty reads */
    double patience;              /* seconds without a byte until a connection is given up; 0: 30 */
    void (*progress)(void *ud, const char *file, int64_t done, int64_t all); /* bytes of all files; all 0: not known */
    void *ud;
    const volatile int *stop;     /* non-zero: ESTOPPED; what has come is kept and the next call goes on there */
} ry_pull_options;
/* Fetches repo ("org/name") into the local Hugging Face cache, shared with Python's huggingface_hub, resuming what an earlier call left
 * and checking sizes and hashes. *out: its folder, the caller's (ry_free). HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT
 * are honoured. EIO, ENOENT, EFORMAT where the server sends something else than it promised. */
RY_API ry_status ry_pull(char **out, const char *repo, const ry_pull_options *o);
/* What a user calls a model as a path: a file or folder as it is, else "org/name" in the local cache. Models, tokenizers and templates are
 * opened by such names too. *out is the caller's (ry_free). */
RY_API ry_status ry_model_path(char **out, const char *model);

/* ---------------------------------------------------------------- files and tools ---- */

RY_API ry_status ry_inspect(const char *path, bool json, void (*line)(void *ud, const char *text), void *ud);

typedef struct ry_tensor_file ry_tensor_file; /* safetensors, single or by index.json */
RY_API ry_status ry_tensor_file_open(ry_tensor_file **out, const char *path);
RY_API void ry_tensor_file_close(ry_tensor_file *f);
RY_API size_t ry_tensor_file_count(const ry_tensor_file *f);
RY_API ry_status ry_tensor_file_get(const ry_tensor_file *f, size_t i, const char **name, ry_spec *s, const void **data);
RY_API ry_status ry_tensor_file_find(const ry_tensor_file *f, const char *name, ry_spec *s, const void **data); /* ENOENT */
RY_API const char *ry_tensor_file_meta(const ry_tensor_file *f, const char *key); /* NULL if absent */
typedef struct ry_named_data { const char *name; ry_spec spec; const void *data; } ry_named_data;
/* meta: key, value, key, value, ..., NULL; or NULL. Written beside its place and renamed. */
RY_API ry_status ry_tensor_file_write(const char *path, size_t n, const ry_named_data *t, const char *const *meta);

/* A flat settings file (YAML or JSON): each key with its value as text; lists are joined by commas. */
RY_API ry_status ry_settings_read(const char *path, ry_status (*each)(void *ud, const char *key, const char *value), void *ud);

/* Finds the fastest variant of every kernel of the graph on its device, and keeps the choices for that device and driver (a file in
 * RUSTY_CACHE, or the user's cache folder). Each variant's results are compared with the defaults' before its time counts. The graph
 * runs several times: variables that it writes are changed. Nothing to do where the device has no kernels (the CPU), nor within a
 * resumed training, which computes with its checkpoint's choices. */
typedef struct ry_tune_options {
    double seconds;   /* no new variant is begun after so long; 0 = no limit */
    double tolerance; /* of results, relative to their largest entry; 0 = 1e-3 */
    void (*progress)(void *ud, const char *text);
    void *ud;
} ry_tune_options;
RY_API ry_status ry_tune(ry_graph *g, size_t n, const ry_tensor *want, size_t n_feed, const ry_feed *feed, const ry_tune_options *opt);

typedef struct ry_bench_matmul { int64_t m, n, k; double ms, gflops, peak_gflops, max_rel_err; } ry_bench_matmul;
/* layout "NN", "NT", "TN". EINTERNAL if the checked outputs are wrong: then no speed is reported. */
RY_API ry_status ry_bench_matmul_run(ry_bench_matmul *out, ry_device *d, int64_t m, int64_t n, int64_t k, ry_dtype t, const char *layout,
                                     const ry_tune_options *tune); /* tune: NULL: with the variants known */
typedef struct ry_bench_op { char name[48]; double ms, gbps, gflops, share; } ry_bench_op; /* share of measured copy speed */
/* filter: only operators whose name begins so; NULL: all. rows: so many times the rows of each sample (0 = 1): for memories that are fast. */
RY_API ry_status ry_bench_ops_run(ry_device *d, const char *filter, int64_t rows, void (*row)(void *ud, const ry_bench_op *r), void *ud);
typedef struct ry_bench_options {
    const ry_tune_options *tune; /* NULL: with the kernels that are known */
    ry_numerics numerics;        /* lm */
    void (*on_profile)(void *ud, size_t n, const ry_profile_row *rows); /* time by operator of a step, or of a token; then all runs are slower */
    void *ud;
} ry_bench_options;
typedef struct ry_bench_train {
    int64_t params, batch, len, steps;
    double tok_per_s, ms_step, ms_first;   /* median step; the first one, with all that is made at start */
    double ms_forward, ms_backward, ms_update; /* by the device's clock, of the last step; 0: unknown */
    double gflops, peak_gflops;            /* operations of the plan over the median step; what the device can do (measured) */
    size_t plan_bytes, device_bytes;       /* what the plan says; what buffers took (0: unknown) */
    double loss_first, loss_last;
} ry_bench_train;
/* Trains a new model on random tokens, each batch anew: config as in ry_model_init. precision 0 = f32. */
RY_API ry_status ry_bench_train_run(ry_bench_train *out, ry_device *d, const char *config, int64_t batch, int64_t len, int64_t steps, ry_dtype precision,
                                    const ry_bench_options *o);
typedef struct ry_bench_lm {
    int64_t params, prompt, generated;
    double prompt_tok_per_s, tok_per_s, ms_token, ms_first; /* medians of whole prompts and of tokens; first token after opening */
    double ms_device;                      /* of a token, by the device's clock; 0: unknown */
    double weight_bytes, gbps, copy_gbps;  /* read a token; what that comes to; the device's own copy */
    size_t device_bytes;
} ry_bench_lm;
/* path: a model's folder, or a config as in ry_model_init, which gets random weights of dtype weights (0 = f32). */
RY_API ry_status ry_bench_lm_run(ry_bench_lm *out, ry_device *d, const char *path, ry_dtype weights, int64_t prompt, int64_t generate,
                                 const ry_bench_options *o);
typedef struct ry_doctor_row { const char *op, *sample, *message; double err, tol; int result; } ry_doctor_row; /* 0 ok, 1 wrong, 2 skipped */
/* Every row's samples: the device against the CPU (on the CPU: against the row's lowering, or the plain path).
 * filter: only operators whose name begins so; NULL: all. */
RY_API ry_status ry_doctor_run(ry_device *d, const char *filter, void (*row)(void *ud, const ry_doctor_row *r), void *ud, int64_t *wrong);

#ifdef __cplusplus
}
#endif
#endif
