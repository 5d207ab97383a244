/* map.c - the elementwise operators: a row, a builder and a row for each derivative of every line of src/map.def.
 *
 *  * A row's sources are the letters its formula names, in the order a b c y g: row `mul` has (a, b), row `mul_da`
 * (b, g). Rows are strict about dtypes; builders insert the casts that make mixed ones fit. The loops are
 * simd/map.h's, run by fused.c. Knows no formula by itself: it reads the texts of the table. */
#include "core/rows.h"
#include "ops/_expr.h"
#include "ops/fused.h"
#include "simd/map.h"
#include "map_uses.h"
#include <assert.h>
#include <rusty/ops.h>

enum { LETTER_A = 1, LETTER_Y = 8, LETTER_G = 16 };
static const char letters[] = "abcyg";

static const unsigned uses_of[MAP_COUNT][MAP_FORMS] = {
#define RY_MAP(name, ...) \
    [MAP_##name] = {MAP_USES_##name##_value, MAP_USES_##name##_da, MAP_USES_##name##_db, MAP_USES_##name##_dc},
#include "map.def"
#undef RY_MAP
};

unsigned map_letters(const ry_op *op) { return uses_of[op->map][op->form]; }
static char class_of(const ry_op *op) { return map_table[op->map].cls[0]; }

/* ---------------------------------------------------------------- shapes and dtypes */

static ry_status check_kind(const ry_node *n, int i, int letter, bool ok, const char *wants) {
    if (ok) return RY_OK;
    return ry_fail_node(n, RY_EDTYPE, "%c is %s, but %s", letters[letter], ry_show(&n->src[i]->spec).s, wants);
}

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    unsigned uses = map_letters(n->op);
    char cls = class_of(n->op);
    bool select = cls == 'S', value = n->op->form == MAP_VALUE;
    const ry_spec *number[RY_MAX_SRC]; /* sources that decide the result's dtype: all but select's condition */
    int n_number = 0, i = 0;
    ry_spec shape = {.rank = 0};
    for (int k = 0; k < MAP_LETTERS; k++) {
        if (!(uses >> k & 1u)) continue;
        const ry_spec *s = &n->src[i]->spec;
        ry_kind kind = ry_dtype_row(s->dtype)->kind;
        if (select && k == 0)
            RY_TRY(check_kind(n, i, k, kind == RY_KIND_BOOL, "the condition of a choice is bool"));
        else {
            number[n_number++] = s;
            if (cls == 'L')
                RY_TRY(check_kind(n, i, k, kind == RY_KIND_BOOL, "logic takes bool: compare it with 0 first"));
            else if (cls == 'I')
                RY_TRY(check_kind(n, i, k, kind == RY_KIND_INT || kind == RY_KIND_BOOL, "bits are those of integers"));
            else if (cls == 'F' || cls == 'P' || !value)
                RY_TRY(check_kind(n, i, k, kind == RY_KIND_FLOAT, "this row computes with floats: cast it"));
            else
                RY_TRY(check_kind(n, i, k, kind != RY_KIND_BLOCK, "block dtypes are cast before arithmetic"));
            if (number[0]->dtype != s->dtype && !(ry_is_float(number[0]->dtype) && ry_is_float(s->dtype)))
                return ry_fail_node(n, RY_EDTYPE, "%c is %s beside %s: cast one of them", letters[k], ry_show(s).s,
                                    ry_show(number[0]).s);
        }
        if (ry_broadcast(&shape, &shape, s) != RY_OK)
            return ry_fail_node(n, RY_ESHAPE, "%c is %s, which does not broadcast with %s", letters[k], ry_show(s).s,
                                i == 1 ? ry_show(&n->src[0]->spec).s : ry_show(&shape).s);
        i++;
    }
    *out = shape;
    out->dtype = value && (cls == 'C' || cls == 'L' || cls == 'P') ? RY_BOOL : ry_promote(number, n_number);
    return RY_OK;
}

static ry_work work(const ry_node *n) {
    ry_chain ch;
    fused_single(&ch, n, n->args);
    return fused_work(n, &ch);
}

static ry_status cpu(const ry_cpu *c) {
    ry_chain ch; /* only its one link is set and read */
    fused_single(&ch, c->n, c->args);
    fused_run(&ch, c);
    return RY_OK;
}

static ry_status launch(const ry_node *n, const ry_variant *v, ry_launch *l) {
    (void)v;
    ry_chain ch;
    fused_single(&ch, n, n->args);
    return fused_launch(&ch, n, l);
}

/* ---------------------------------------------------------------- derivatives */

static const ry_op *grad_row(int map, int form);

/* The derivative row of source k, applied to the letters its formula names. */
static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) {
    for (int k = 0; k < n->n_src; k++) {
        const ry_op *row = grad_row(n->op->map, MAP_DA + k);
        if (!row || !ry_is_float(n->src[k]->spec.dtype)) continue;
        unsigned uses = map_letters(row);
        const char *text = map_table[n->op->map].d[k];
        if (uses == LETTER_G && text[0] == 'g' && !text[1]) { /* the gradient itself */
            gx[k] = gy[0];
            continue;
        }
        ry_tensor src[MAP_LETTERS];
        size_t n_src = 0;
        for (int i = 0; i < MAP_LETTERS; i++)
            if (uses >> i & 1u)
                src[n_src++] = 1u << i == LETTER_G ? gy[0] : 1u << i == LETTER_Y ? ry_res(g, n, 0) : ry_src(g, n, i);
        gx[k] = ry_apply_row(g, row, n_src, src, NULL);
    }
    return RY_OK;
}

/* A derivative row composed of value rows, for second derivatives. */
static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) {
    unsigned uses = map_letters(n->op);
    ry_tensor in[EXPR_LETTERS] = {{0, 0}};
    for (int k = 0, i = 0; k < MAP_LETTERS; k++)
        if (uses >> k & 1u) in[k] = ry_src(g, n, i++);
    expr e;
    RY_TRY(expr_parse(&e, map_table[n->op->map].d[n->op->form - MAP_DA]));
    out[0] = expr_build(g, &e, in);
    const ry_spec *s = ry_spec_of(g, out[0]);
    if (s && s->dtype != n->out[0].spec.dtype) out[0] = ry_cast(g, out[0], n->out[0].spec.dtype);
    return ry_graph_status(g);
}

/* ---------------------------------------------------------------- builders */

static ry_tensor as(ry_graph *g, ry_tensor x, ry_dtype t) {
    const ry_spec *s = ry_spec_of(g, x);
    return s && s->dtype != t ? ry_cast(g, x, t) : x;
}

/* Casts what the row would refuse. Mixed floats stay: they are read as f32 anyway. */
static ry_tensor build(ry_graph *g, const ry_op *op, size_t n, ry_tensor *src) {
    const ry_spec *spec[3];
    char cls = class_of(op);
    size_t from = cls == 'S' ? 1 : 0;
    for (size_t i = 0; i < n; i++)
        if (!(spec[i] = ry_spec_of(g, src[i]))) return ry_apply_row(g, op, n, src, NULL); /* it says what is wrong */
    ry_dtype t = ry_promote(spec + from, (int)(n - from));
    bool floats = ry_is_float(t);
    if (cls == 'S') src[0] = as(g, src[0], RY_BOOL);
    for (size_t i = from; i < n; i++) {
        if (ry_dtype_row(spec[i]->dtype)->kind == RY_KIND_BLOCK) continue;
        bool is_float = ry_is_float(spec[i]->dtype);
        if (cls == 'L')
            src[i] = as(g, src[i], RY_BOOL);
        else if (cls == 'P')
            src[i] = is_float ? src[i] : as(g, src[i], RY_F32);
        else if (floats)
            src[i] = is_float ? src[i] : as(g, src[i], t);
        else
            src[i] = as(g, src[i], cls == 'F' ? RY_F32 : t);
    }
    return ry_apply_row(g, op, n, src, NULL);
}

/* ---------------------------------------------------------------- rows and samples */
/* clang-format off */

#define BITS(m) ((m & 1u) + (m >> 1 & 1u) + (m >> 2 & 1u) + (m >> 3 & 1u) + (m >> 4 & 1u))
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define IF_0(x)
#define IF_1(x) x
#define COMMA_0(x)
#define COMMA_1(x) &x,

/* Samples are shared by all rows of a class and number of sources: ranges stand in the rows. `large` (bench) is
 * the last of a value row's and no derivative's. */
#define S_ALL(t, rank, ...) \
    {t, rank, {__VA_ARGS__}, 0, 0, NULL}, {t, rank, {__VA_ARGS__}, 0, 0, NULL}, {t, rank, {__VA_ARGS__}, 0, 0, NULL}
#define S_SOURCES(first, t) \
    {.name = "plain", .src = {{first, 2, {6, 35}, 0, 0, NULL}, S_ALL(t, 2, 6, 35), {t, 2, {6, 35}, 0, 0, NULL}}}, \
    {.name = "broadcast", \
     .src = {{first, 3, {2, 3, 300}, 0, 0, NULL}, {t, 1, {300}, 0, 0, NULL}, {t, 3, {2, 1, 1}, 0, 0, NULL}, \
             {t, 3, {2, 3, 300}, 0, 0, NULL}, {t, 3, {2, 3, 300}, 0, 0, NULL}}}, \
    {.name = "one", .src = {{first, 0, {0}, 0, 0, NULL}, S_ALL(t, 1, 1), {t, 0, {0}, 0, 0, NULL}}}, \
    {.name = "empty", .src = {{first, 2, {0, 3}, 0, 0, NULL}, S_ALL(t, 1, 3), {t, 2, {0, 1}, 0, 0, NULL}}}
#define S_LARGE(first, t) \
    {.name = "large", .src = {{first, 1, {16777216}, 0, 0, NULL}, S_ALL(t, 1, 16777216)}, .flags = RY_SAMPLE_BENCH}
#define S_INTS(t) \
    {.name = #t, \
     .src = {{t, 2, {4, 70}, 1, 9, NULL}, {t, 1, {70}, 1, 9, NULL}, {t, 0, {0}, 1, 9, NULL}}, \
     .flags = RY_SAMPLE_NO_GRAD}
static const ry_sample samples_grad[] = {S_SOURCES(RY_F32, RY_F32), {0}};
static const ry_sample samples_grad_choice[] = {S_SOURCES(RY_BOOL, RY_F32), {0}};
static const ry_sample samples_F[] = {S_SOURCES(RY_F32, RY_F32), S_LARGE(RY_F32, RY_F32), {0}};
static const ry_sample samples_N[] = {S_SOURCES(RY_F32, RY_F32),
                                      S_INTS(RY_I32), S_INTS(RY_I64), S_INTS(RY_U8), S_INTS(RY_I8),
                                      S_LARGE(RY_F32, RY_F32), {0}};
static const ry_sample samples_L[] = {S_SOURCES(RY_BOOL, RY_BOOL), S_LARGE(RY_BOOL, RY_BOOL), {0}};
static const ry_sample samples_I[] = {S_SOURCES(RY_I32, RY_I32),
                                      S_INTS(RY_I64), S_INTS(RY_U8), S_INTS(RY_I8), S_LARGE(RY_I32, RY_I32), {0}};
static const ry_sample samples_S[] = {
    S_SOURCES(RY_BOOL, RY_F32),
    {.name = "RY_I64",
     .src = {{RY_BOOL, 2, {9, 1}, 0, 0, NULL}, {RY_I64, 1, {70}, 0, 0, NULL}, {RY_I64, 0, {0}, 0, 0, NULL}},
     .flags = RY_SAMPLE_NO_GRAD},
    S_LARGE(RY_BOOL, RY_F32), {0}};
#define samples_C samples_N
#define samples_P samples_F
#define NO_GRAD_F 0
#define NO_GRAD_N 0
#define NO_GRAD_S 0
#define NO_GRAD_C RY_OP_NO_GRAD
#define NO_GRAD_L RY_OP_NO_GRAD
#define NO_GRAD_I RY_OP_NO_GRAD
#define NO_GRAD_P RY_OP_NO_GRAD
/* The first source of a derivative of class S is the condition, if it is there. */
#define GRAD_SAMPLES_F(uses) samples_grad
#define GRAD_SAMPLES_N(uses) samples_grad
#define GRAD_SAMPLES_S(uses) ((uses) & LETTER_A ? samples_grad_choice : samples_grad)

#define ROW(title, text, lo_, hi_, no_grad, op_, form_, uses, vjp_, lower_, samples_) \
    {.name = title, .doc = text, .min_src = BITS(uses), .max_src = BITS(uses), \
     .flags = RY_OP_MAP | RY_OP_INPLACE0 | (no_grad), .strided = 31, .infer = infer, .work = work, .cpu = cpu, \
     .lower = lower_, .wgsl = "fused.wgsl", .launch = launch, .cut = ry_cut_elements, .vjp = vjp_, .samples = samples_, .map = op_, .form = form_, .lo = (float)(lo_), \
     .hi = (float)(hi_), .tol = 2e-6f}
#define GRAD(name, cls, lo, hi, form, FORM, text) \
    static const ry_op row_##name##_##form = ROW(#name "_" #form, text, lo, hi, 0, MAP_##name, FORM, \
                                                 MAP_USES_##name##_##form, \
                                                 NULL, lower, GRAD_SAMPLES_##cls(MAP_USES_##name##_##form));
#define RY_MAP(name, cls, lo, hi, f, d0, d1, d2, doc) \
    extern const ry_op ry_op_##name##_row; /* core names add by its symbol, tests others */ \
    const ry_op ry_op_##name##_row = \
        ROW(#name, doc, lo, hi, NO_GRAD_##cls, MAP_##name, MAP_VALUE, MAP_USES_##name##_value, vjp, NULL, \
            samples_##cls); \
    CAT(IF_, MAP_HAS_##name##_da)(GRAD(name, cls, lo, hi, da, MAP_DA, "d " #name " / d a, times g")) \
    CAT(IF_, MAP_HAS_##name##_db)(GRAD(name, cls, lo, hi, db, MAP_DB, "d " #name " / d b, times g")) \
    CAT(IF_, MAP_HAS_##name##_dc)(GRAD(name, cls, lo, hi, dc, MAP_DC, "d " #name " / d c, times g"))
#include "map.def"
#undef RY_MAP

#define IF_NULL_0(x) NULL
#define IF_NULL_1(x) &x
static const ry_op *grad_row(int map, int form) {
    static const ry_op *const rows[MAP_COUNT][3] = {
#define RY_MAP(name, ...) \
    [MAP_##name] = {CAT(IF_NULL_, MAP_HAS_##name##_da)(row_##name##_da), \
                    CAT(IF_NULL_, MAP_HAS_##name##_db)(row_##name##_db), \
                    CAT(IF_NULL_, MAP_HAS_##name##_dc)(row_##name##_dc)},
#include "map.def"
#undef RY_MAP
    };
    return rows[map][form - MAP_DA];
}

#define BUILD_1(name) \
    ry_tensor ry_##name(ry_graph *g, ry_tensor a) { return build(g, &ry_op_##name##_row, 1, (ry_tensor[]){a}); }
#define BUILD_2(name) \
    ry_tensor ry_##name(ry_graph *g, ry_tensor a, ry_tensor b) { \
        return build(g, &ry_op_##name##_row, 2, (ry_tensor[]){a, b}); \
    }
#define BUILD_3(name) \
    ry_tensor ry_##name(ry_graph *g, ry_tensor a, ry_tensor b, ry_tensor c) { \
        return build(g, &ry_op_##name##_row, 3, (ry_tensor[]){a, b, c}); \
    }
#define RY_MAP(name, ...) CAT(BUILD_, MAP_SOURCES_##name)(name)
#include "map.def"
#undef RY_MAP

static const ry_op *const map_rows[] = {
#define RY_MAP(name, ...) \
    &ry_op_##name##_row, CAT(COMMA_, MAP_HAS_##name##_da)(row_##name##_da) \
    CAT(COMMA_, MAP_HAS_##name##_db)(row_##name##_db) \
        CAT(COMMA_, MAP_HAS_##name##_dc)(row_##name##_dc)
#include "map.def"
#undef RY_MAP
};
extern const ry_op_module ry_ops_map;
const ry_op_module ry_ops_map = {map_rows, sizeof map_rows / sizeof *map_rows};
