/* op.h - the op row: everything about one operator, and what its functions see.
 *
 * Who adds an op reads this file and no other: to the library (src/ops, one stem a file; docs/add-an-op.md) or to an application of
 * its own (ry_op_add; examples/own_op.c).  The builder ry_<name>, declared in rusty.h or rusty/ops.h or wherever the application
 * likes, stands beside its row and ends in ry_apply or ry_apply_row.
 * core knows no formula; a row knows no vendor.
 *
 * Rows and what they point to live as long as the process. Functions of a row may be called from several threads at once. */
#ifndef RUSTY_OP_H
#define RUSTY_OP_H
#include <rusty.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef RY_PRINTF /* the compiler checks format strings */
#if defined(__MINGW32__)
#define RY_PRINTF(a, b) __attribute__((format(gnu_printf, a, b)))
#elif defined(__GNUC__)
#define RY_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define RY_PRINTF(a, b)
#endif
#endif

typedef struct ry_text ry_text; /* a growing string of the library's */
typedef struct ry_joiner ry_joiner; /* a plan being made: src/core/join.h */
typedef struct ry_node ry_node;

/* One output of a node. Node outputs are dense row-major; views (and leaves seen through views) carry strides. */
typedef struct ry_value {
    ry_spec spec;
    int64_t stride[RY_MAX_RANK]; /* elements; 0 = broadcast; may be negative in views. Block dtypes: last stride 1, others multiples of the block */
    int64_t offset;              /* elements from the start of the storage */
    ry_node *node;
    int index;                   /* which output of node */
    struct ry_value *base;       /* the value whose storage this is; itself if its own */
    ry_var *var;                 /* lasting storage, or NULL */
    uint32_t version;            /* of var */
    const char *name;            /* may be NULL */
} ry_value;

struct ry_node {
    const ry_op *op;
    uint32_t id;                 /* position in its graph or program */
    int n_src, n_out;
    ry_value *src[RY_MAX_SRC];   /* NULL: an optional source left out */
    ry_value *out;               /* [n_out] */
    void *args;                  /* op->arg_size bytes */
    const char *name;            /* of the first output, or NULL */
    ry_value **low;              /* [n_out] on a device without a kernel for op: the outputs as simpler rows compute them, NULL where op->lower
                                  * leaves one out. Plans see these, gradients see op. NULL: op runs itself */
    const struct ry_chain *tail; /* in plans: elementwise operators that the row's kernel does on what it is about to store (src/core/join.h); NULL: none */
    uint32_t scope;              /* recomputation scope, 0 = none */
    bool backward;               /* appended by ry_grad */
};

/* One field of an argument struct. All fields are listed: the program's key is made of the static ones. */
typedef enum { RY_ARG_F64, RY_ARG_I64, RY_ARG_U64, RY_ARG_I32, RY_ARG_U32, RY_ARG_BOOL } ry_arg_type;
typedef struct ry_arg {
    const char *name;
    size_t offset;
    ry_arg_type type;            /* double, int64_t, uint64_t, int32_t / enum, uint32_t, bool */
    int count;                   /* array length; 0 = 1 */
    bool dynamic;                /* a uniform: not part of the structure (lr, step, seed) */
} ry_arg;
#define RY_ARG(struct_, field, type_) {#field, offsetof(struct_, field), type_, 0, false}
#define RY_ARG_ARRAY(struct_, field, type_, n) {#field, offsetof(struct_, field), type_, n, false}
#define RY_ARG_DYN(struct_, field, type_) {#field, offsetof(struct_, field), type_, 0, true}

/* CPU work, from shapes and static arguments alone - never from the number of threads: so results do not depend on it. */
enum { RY_MAX_PHASES = 4 };
typedef struct ry_work {
    int phases;                     /* 0 = 1; a barrier stands between phases */
    int64_t parts[RY_MAX_PHASES];   /* independent pieces of a phase; 0 = 1 */
    int64_t rounds;                 /* the list of phases runs this many times, a barrier between rounds too; 0 = 1 */
    size_t scratch;                 /* bytes seen by all parts and phases of one run; uninitialised; 64-byte aligned; planned in the slab */
    size_t local;                   /* bytes of a worker's own, uninitialised, valid within one part */
} ry_work;

typedef struct ry_cpu {
    const ry_node *n;               /* shapes and strides */
    const void *args;               /* with the dynamic fields of this run: read these, not n->args */
    void *const *src;               /* src[i] points at element [0,..,0]; NULL where left out */
    void *const *out;
    void *scratch, *local;
    int phase;
    int64_t round, part;
} ry_cpu;

typedef struct ry_cost { double flops, bytes; } ry_cost; /* operations; bytes that must move at least once */

/* ---- kernels on GPUs: the row's side of the door ---- */
enum ry_feature {
    RY_FEATURE_SUBGROUPS = 1,
    RY_FEATURE_I64 = 2,
    RY_FEATURE_SOFTWARE = 4,  /* a driver that computes on the CPU */
    RY_FEATURE_INTEGRATED = 8 /* a smaller chip that shares the host's memory */
};
typedef struct ry_caps {
    unsigned features;              /* enum ry_feature */
    uint32_t align;                 /* of the byte where a binding begins, a power of two; the plan places storages by it */
    uint32_t max_bindings;          /* storage buffers of one kernel */
    uint32_t shared_bytes, max_invocations; /* of a workgroup */
    size_t max_binding;             /* bytes of a binding */
    size_t max_buffer;              /* bytes of a piece of the slab: no tensor lies across two; 0: no limit */
} ry_caps;
/* How a node may be run in pieces where an operand is larger than a binding: operand i, or RY_OPERAND_OUT + j, goes along with its
 * axis[..], the outermost in its storage; -1: every piece sees the whole. A kernel that must know where its piece begins finds
 * u.cut_from and u.cut_length (of all pieces; 0: it was not cut) in its text. */
typedef struct ry_cut {
    int64_t length;                 /* of that axis; 0: launch() makes dispatches that see parts (ry_dispatch.part) */
    int8_t axis[RY_MAX_SRC + RY_MAX_OUT];
} ry_cut;
typedef struct ry_variant {
    const char *name;               /* part of the cache key; NULL ends the list */
    bool (*when)(const ry_node *n, const ry_caps *caps); /* NULL: always. The first that holds is the default; the tuner tries the others */
    struct { const char *name; int value; } knobs[16];
} ry_variant;
/* One text serves a node's dispatches; each names an entry of it. They run in order, and each sees what those before it wrote. */
enum { RY_MAX_DISPATCH = 32, RY_MAX_UNIFORM = 192, RY_MAX_KNOB = 40 }; /* 12 sources walked over 8 dims */
enum { RY_OPERAND_OUT = RY_MAX_SRC, RY_OPERAND_SCRATCH = RY_MAX_SRC + RY_MAX_OUT, RY_OPERANDS };
#define RY_USES_SRC(i) (1u << (i))
#define RY_USES_OUT(j) (1u << (RY_OPERAND_OUT + (j)))
#define RY_USES_SCRATCH (1u << RY_OPERAND_SCRATCH)
typedef struct ry_dispatch {
    const char *entry;
    int64_t groups;                 /* any number; the device folds it into its grid. 0: nothing to do */
    uint32_t uses;                  /* operands that this entry names: RY_USES_*; 0 = all.
                                     * Said where all are many: a device may bind as few as 8 storages (caps->max_bindings) */
    uint32_t part;                  /* RY_USES_* of which this entry sees only [from, to) of axis 0, the outermost in their storage, because no
                                     * binding holds the whole; elements keep their numbers. The text finds u.part_from and u.part_to */
    int64_t from, to;
} ry_dispatch;
typedef struct ry_launch_value { char name[20]; bool real; double value; } ry_launch_value; /* f32 or u32 (negative ones wrap: strides) */
typedef struct ry_launch_knob { char name[20]; int value; } ry_launch_knob;
/* Filled by launch() through the functions below, zeroed before: for a plan (scratch), for a program, and again before each run where
 * the row has dynamic arguments: args then are that run's, and only values of uniforms may differ. What a kernel text finds without
 * asking stands in docs/add-an-op.md. */
typedef struct ry_launch {
    const ry_caps *caps;
    int n_dispatch, n_uniform, n_knob;
    ry_dispatch dispatch[RY_MAX_DISPATCH];
    int64_t rounds;                 /* the dispatches run so many times, as in ry_work; 0 = 1 */
    ry_launch_value uniform[RY_MAX_UNIFORM];
    ry_launch_knob knob[RY_MAX_KNOB]; /* names of the text: never sizes, for each value is a compile */
    uint32_t vec;                   /* RY_USES_* whose ld4 and st4 begin at multiples of 4 elements, whatever i is: rows whose length is one */
    uint32_t raw;                   /* RY_USES_* whose functions read and write units of bits (ry_raw_units) */
    bool wide;                      /* i64 is a type of registers too; not without RY_FEATURE_I64 */
    size_t scratch;                 /* bytes, placed by the plan, uninitialised */
    ry_text *text;                  /* functions made from the node, for the head of the text: a walk over strides, a chain's formulas */
} ry_launch;
RY_API void ry_launch_run(ry_launch *l, const char *entry, int64_t groups, uint32_t uses);
RY_API void ry_launch_run_part(ry_launch *l, const char *entry, int64_t groups, uint32_t uses, uint32_t part, int64_t from, int64_t to);
RY_API void ry_launch_u32(ry_launch *l, const char *name, int64_t value);
RY_API void ry_launch_f32(ry_launch *l, const char *name, double value);
RY_API void ry_launch_knob_set(ry_launch *l, const char *name, int value);
/* Adds `fn NAME(i: u32) -> u32`: the storage element, from the operand's element [0,..,0], of the i-th index of a row-major walk over
 * dim[0..rank), to which v is broadcast from the right. Dims that lie together are merged. */
RY_API void ry_launch_walk(ry_launch *l, const char *name, const ry_value *v, int rank, const int64_t *dim);
/* As walk, over all dims of operand `of` but the last: where a row begins. Sets its bit of vec where every row begins at a multiple of 4
 * elements and has a multiple of 4, close together. */
RY_API void ry_launch_rows(ry_launch *l, const char *name, const ry_node *n, int of);
/* How much of axis 0 of v one binding may hold, for dispatches in parts: all of it, or a multiple of 64 (of 4, 1) below; 0: nothing. */
RY_API int64_t ry_launch_part(const ry_caps *caps, const ry_value *v);
/* The `cut` of elementwise rows: outputs and sources of their shape go together along the first dim longer than 1; what is broadcast
 * along it is seen whole. */
RY_API bool ry_cut_elements(const ry_node *n, ry_cut *c);
/* walk over given strides. */
RY_API void ry_launch_walk_strides(ry_launch *l, const char *name, int rank, const int64_t *dim, const int64_t *stride);

/* ---- samples: one list serves tests, doctor and bench ---- */
typedef struct ry_sample_src {
    ry_dtype dtype;                 /* RY_NONE: this source is left out */
    int rank;
    int64_t dim[6];
    float lo, hi;                   /* floats: uniform in [lo,hi); integers: uniform in [lo,hi); both 0: [-1,1) or [0,2) */
    const int32_t *values;          /* explicit integers instead (ids, offsets), numel of them */
} ry_sample_src;
enum { RY_SAMPLE_BENCH = 1,         /* large: for bench only */
       RY_SAMPLE_NO_GRAD = 2,       /* forward only */
       RY_SAMPLE_F32_ONLY = 4 };    /* not repeated in bf16 and f16 */
typedef struct ry_sample {
    const char *name;               /* NULL ends the list */
    ry_sample_src src[RY_MAX_SRC];  /* n_src = the row's, or up to the first rank -1 entry */
    int n_src;
    const void *args;
    unsigned flags;
    float tol;                      /* 0: the row's */
} ry_sample;

enum ry_op_flags {
    RY_OP_NO_GRAD = 1,      /* not differentiable on purpose: its gradient is zero (comparisons, argmax, rounding has a vjp of zeros instead) */
    RY_OP_VIEW = 2,         /* out[0] is src[0]'s storage seen otherwise; `view` sets strides */
    RY_OP_MAP = 4,          /* elementwise, from src/map.def: may join a fused chain; map and form say which formula */
    RY_OP_INPLACE0 = 8,     /* out[0] may take src[0]'s storage if it dies here and has the same bytes: part p reads only what it writes. So must
                             * kernels: no thread reads of src[0] what another writes, but across a barrier of their group (rope: a thread a pair) */
    RY_OP_CHECKED = 16,     /* cpu() may return an error that depends on values (an index out of range) */
    RY_OP_LEAF = 32,        /* input or variable */
    RY_OP_INPLACE = 64,     /* as INPLACE0, for any output and any dense source of its shape; MAP rows are so too */
};

/* Source src holds numbers of something: 0 to count - 1, or *ignore where that is not NULL; `name` in messages. */
typedef struct ry_numbers { int src; int64_t count; const int64_t *ignore; const char *name; } ry_numbers;

struct ry_op {
    const char *name, *doc;             /* doc carries shapes: "x [R,N], w [N] -> [R,N]" */
    size_t arg_size;
    const ry_arg *args;                 /* ends with name NULL; NULL if no arguments */
    int min_src, max_src;               /* number of sources, left-out optional ones counted */
    unsigned flags;
    unsigned strided;                   /* bit i: source i may have any strides. Others are made dense before the row sees them */
    unsigned rows;                      /* bit i: source i may have any strides except in its last dim, which is 1 */
    unsigned writes;                    /* bit i: source i is a variable, written in place; the j-th such source's next version is output j */
    unsigned optional;                  /* bit i: source i may be left out */
    /* Shapes and dtypes. out[] is zeroed; the number of leading entries with a dtype is the number of outputs.
     * Failures: ry_fail_node(n, RY_ESHAPE, "w is %s, x needs [%lld]", ...) */
    ry_status (*infer)(const ry_node *n, ry_spec out[RY_MAX_OUT]);
    ry_status (*view)(const ry_node *n, ry_value *out); /* RY_OP_VIEW: strides and offset from src[0]; EUNSUPPORTED: make src[0] dense first */
    ry_work (*work)(const ry_node *n);  /* NULL: one part, one phase, no scratch */
    ry_status (*cpu)(const ry_cpu *c);
    /* The same value composed of simpler rows: for devices without a kernel, as the reference of fused kernels, and for second derivatives. */
    ry_status (*lower)(ry_graph *g, const ry_node *n, ry_tensor out[]);
    /* Appends nodes that compute gx[i] = sum_j gy[j] d out[j] / d src[i]; computes nothing. gy[j] is null where unused; leave gx[i] null for
     * no gradient. gx may be in a broadcast shape or in f32: core reduces (sum_to) and casts. */
    ry_status (*vjp)(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]);
    /* CHECKED rows that go by number. A kernel cannot fail: on devices with kernels, what the host feeds is checked when it comes
     * (ry_program_feed), and said as cpu() says it, by ry_fail_number. NULL: none. */
    ry_numbers (*numbers)(const ry_node *n);
    const char *wgsl, *cuda;            /* the file with the kernels ("softmax.wgsl"; NULL: the row's own name), or, with a newline in it, the text */
    ry_status (*text)(const ry_node *n, const ry_variant *v, ry_text *out); /* appended to the file's text: what a file cannot say */
    const ry_variant *variants;
    ry_status (*launch)(const ry_node *n, const ry_variant *v, ry_launch *l);
    /* Devices with kernels: may put one node in the place of n and of nodes around it, which then run as one. Did it? NULL: never. */
    bool (*join)(ry_joiner *j, ry_node *n);
    bool (*cut)(const ry_node *n, ry_cut *c); /* c->axis is all -1 before. NULL or false: it cannot be */
    ry_cost (*cost)(const ry_node *n);  /* NULL: bytes of sources and outputs, one operation an output element */
    float tol;                          /* relative to the largest entry, f32 against double; 0 = 1e-5 */
    const ry_sample *samples;
    int map, form;                      /* RY_OP_MAP, which only the rows of src/map.def carry: which formula, and which of its derivatives */
    float lo, hi;                       /* range of number sources of samples that give none; both 0: [-1,1), integers [0,2) */
};

/* ---- for builders, infer, vjp and lower ---- */
RY_API const ry_node *ry_node_of(ry_graph *g, ry_tensor t);           /* NULL: null or stale */
RY_API const ry_value *ry_value_of(ry_graph *g, ry_tensor t);
RY_API ry_tensor ry_src(ry_graph *g, const ry_node *n, int i);        /* handle of source i (null if left out) */
RY_API ry_tensor ry_res(ry_graph *g, const ry_node *n, int i);        /* handle of output i */
RY_API ry_tensor ry_apply_row(ry_graph *g, const ry_op *op, size_t n, const ry_tensor *src, const void *args);
#define RY_APPLY(g, op, args, ...) \
    ry_apply_row(g, op, sizeof((ry_tensor[]){__VA_ARGS__}) / sizeof(ry_tensor), (ry_tensor[]){__VA_ARGS__}, args)
RY_API ry_tensor ry_graph_fail(ry_graph *g, ry_status st, const char *fmt, ...) RY_PRINTF(3, 4); /* records the first error; returns null */
RY_API bool ry_graph_ok(const ry_graph *g);
RY_API ry_numerics ry_graph_numerics_of(const ry_graph *g);           /* what ry_graph_numerics set */
RY_API ry_dtype ry_graph_product(const ry_graph *g);                  /* what ry_graph_precision set; RY_F32 if nothing */
/* "rms_norm: <text> (name of the node or of its first named source)"; returns st. */
RY_API ry_status ry_fail_node(const ry_node *n, ry_status st, const char *fmt, ...) RY_PRINTF(3, 4);
RY_API ry_status ry_fail_number(const ry_node *n, int64_t i, int64_t number); /* EARG: element i of what op->numbers names is `number` */
RY_API bool ry_is_fill(ry_graph *g, ry_tensor t, double *value);      /* a constant, seen through views: mul by 1 need not be built */
RY_API ry_tensor ry_reshape_like(ry_graph *g, ry_tensor x, const ry_spec *s);
RY_API const ry_op *ry_op_at(size_t i);                               /* i-th row, the application's own ones last; NULL past the end */

/* ---- specs ---- */
typedef struct ry_shape_str { char s[112]; } ry_shape_str;
RY_API ry_shape_str ry_show(const ry_spec *s);                        /* "[2,3,64] f32"; use as ry_show(&spec).s */
RY_API bool ry_same_shape(const ry_spec *a, const ry_spec *b);        /* dims only */
RY_API bool ry_same_spec(const ry_spec *a, const ry_spec *b);
RY_API ry_status ry_broadcast(ry_spec *out, const ry_spec *a, const ry_spec *b); /* dims; ESHAPE if they do not fit (no message) */
RY_API int ry_axis(const ry_spec *s, int axis);                       /* -1 -> rank - 1; result < 0: out of range */
RY_API unsigned ry_axes_bits(const ry_spec *s, ry_axes axes);         /* bit i = axis i is in the set; 0 axes = all */
RY_API bool ry_is_dense(const ry_value *v);                           /* row-major without gaps; dims of 1 do not count */
RY_API int64_t ry_count(const ry_spec *s);                            /* numel, of a spec known to be valid */
RY_API int64_t ry_count_range(const ry_spec *s, int from, int to);    /* product of dims [from,to) */

/* ---- dtype rows ---- */
typedef enum { RY_KIND_BOOL, RY_KIND_INT, RY_KIND_FLOAT, RY_KIND_BLOCK } ry_kind;
typedef struct ry_dtype_info {
    const char *name, *safetensors; /* "f32", "F32"; NULL where the format has none */
    int gguf;                       /* ggml type number, -1 = none */
    ry_kind kind;
    int block, bytes;               /* elements and bytes of a block */
    int bits;                       /* of significand: how far rounding goes; tolerances come from here */
    const struct ry_dtype_text *wgsl; /* how WGSL reads and writes it; NULL: not there */
    const struct ry_dtype_text *wide; /* the same where ry_launch.wide: i64 as 64 bits, with RY_FEATURE_I64; NULL: as ever */
    const struct ry_dtype_text *raw;  /* the same where ry_launch.raw, for kernels that only move bits: u32 holds a unit, see ry_raw_units */
} ry_dtype_info;
/* Bodies of a kernel's functions, over an element number e that counts from the binding's start. ${W}(k), ${W2}(k), ${W4}(k) read the
 * k-th word, pair or quadruple of words; ${P}, ${P2}, ${P4}(k, words) write them, ${M}(k, mask, word) writes the bits of mask. ${U}(b) is
 * the word at byte b, an even one, ${H}(b) the f16 there as f32, ${B}(b) the byte b. */
typedef struct ry_dtype_text {
    const char *reg;                /* type in registers: f32, i32, bool */
    const char *load, *load4;       /* return element e; elements e .. e + 3, e a multiple of 4. Block dtypes: i is the element, a the
                                     * byte where the operand begins */
    const char *store, *store4;     /* v -> element e; v (4 elements) -> e .. e + 3. NULL: block dtypes are not written */
    int words;                      /* words that load4 takes at once: 4, 2, 1 */
    /* Floats and block dtypes: sixteen elements as four quads that begin at e, e + near, e + far, e + near + far, a mat4x4. e begins a unit:
     * 2 far elements are far / 8 of them, 4 (near > 4) or 8 elements apart. far 0: any multiple of 8, a parameter. words16: as words. */
    const char *load16;
    int words16, near, far;
    const char *helpers;            /* functions that the bodies call; NULL: none. Block dtypes have no load: it is one of load4's */
} ry_dtype_text;
RY_API const ry_dtype_info *ry_dtype_row(ry_dtype t);
/* A raw operand is counted in units of 4, 2 or 1 bytes (the largest that divides an element): how many make an element, or a
 * block. Only i64 (2) and block dtypes (Q8_0: 17) have more than one. */
RY_API int ry_raw_units(ry_dtype t);
static inline bool ry_is_float(ry_dtype t) { return ry_dtype_row(t)->kind == RY_KIND_FLOAT; }
static inline bool ry_is_int(ry_dtype t) { return ry_dtype_row(t)->kind == RY_KIND_INT; }
RY_API size_t ry_bytes_of(ry_dtype t, int64_t n);                     /* n elements, n a multiple of the block */
/* Type of an elementwise result: bool < int < float, then the wider (f16 with bf16: f32); a rank-0 operand counts only by its kind. */
RY_API ry_dtype ry_promote(const ry_spec *const *s, int n);

/* ---- for cpu(): rows of any storage type seen as f32 ---- */
/* n floats from element i of an operand: the storage itself if f32, else converted into buf (n floats). */
RY_API const float *ry_load_row(const void *data, ry_dtype t, int64_t i, int64_t n, float *buf);
RY_API void ry_store_row(void *data, ry_dtype t, int64_t i, int64_t n, const float *x); /* no-op where x already is the storage */
static inline float *ry_row_out(void *data, ry_dtype t, int64_t i, float *buf) { /* where to write before ry_store_row */
    return t == RY_F32 ? (float *)data + i : buf;
}
RY_API int64_t ry_load_index(const void *data, ry_dtype t, int64_t i); /* element i of an i8/u8/i32/i64/bool operand */
/* Splits `rows` rows of `n` elements into parts of about 16 K elements (at least one row): the usual work() and its range. */
RY_API int64_t ry_row_parts(int64_t rows, int64_t n);
RY_API void ry_row_range(int64_t rows, int64_t n, int64_t part, int64_t *begin, int64_t *end);
/* Outer x axis x inner view of a dense shape around `axis`. */
RY_API void ry_around(const ry_spec *s, int axis, int64_t *outer, int64_t *len, int64_t *inner);

#ifdef __cplusplus
}
#endif
#endif
