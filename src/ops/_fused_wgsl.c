/* _fused_wgsl.c - a chain of elementwise nodes printed as WGSL, and how the chain's sources are walked.
 *
 * A thread computes four neighbouring elements: every register is a vec4 of f32, i32, i64 or bool. Sources that are dense in the
 * outputs' shape are read by fours, single elements are spread, and the others are walked over the outputs' dims, merged as far as all
 * sources allow: where the last of these is a multiple of four, one walk serves the four elements. Formulas come from the trees of
 * _expr.h; rounding between links is that of fused.c. The text depends on the chain, on dtypes and on the kinds of sources: sizes,
 * strides and immediates are uniforms, so that chains that differ in them share a kernel. Functions stand in _math.wgsl (floats) and
 * _chain.wgsl (integers, rounding, casts). Without 64-bit integers i64 can only be cast; values beyond 32 bits then read as -1. */
#include "base/mem.h"
#include "base/text.h"
#include "core/rows.h"
#include "ops/_expr.h"
#include "ops/fused.h"
#include "simd/map.h"
#include <stdio.h>
#include <string.h>

enum { MAX_REGS = RY_MAX_SRC + RY_MAX_LINKS, FOUR = 4, GROUP = 256, MANY = 1 << 21 };

typedef enum reg { F, I, L, B } reg; /* f32, i32, i64, bool */
static const char *const vec_of[] = {"vec4<f32>", "vec4<i32>", "vec4<i64>", "vec4<bool>"};

static reg reg_of(ry_dtype t, bool wide) {
    return t == RY_BOOL ? B : ry_is_float(t) || ry_dtype_row(t)->kind == RY_KIND_BLOCK ? F : t == RY_I64 && wide ? L : I;
}

/* ---------------------------------------------------------------- formulas */

/* How the primitive rows are written: $1 $2 $3 are their sources, @ is i32 or i64. NULL: not of this type. */
static const struct primitive { const char *row, *f, *i, *b; } primitives[] = {
    {"add", "$1 + $2", "$1 + $2", NULL}, {"sub", "$1 - $2", "$1 - $2", NULL}, {"mul", "$1 * $2", "$1 * $2", NULL},
    {"div", "$1 / $2", "@_div($1, $2)", NULL}, {"floordiv", "v_floordiv($1, $2)", "@_floordiv($1, $2)", NULL},
    {"mod", "v_mod($1, $2)", "@_mod($1, $2)", NULL}, {"fmod", "v_fmod($1, $2)", "@_fmod($1, $2)", NULL},
    {"pow", "v_pow($1, $2)", "@_pow($1, $2)", NULL}, {"neg", "-$1", "-$1", NULL}, {"abs", "abs($1)", "@_abs($1)", NULL},
    {"sign", "v_sign($1)", "@_sign($1)", NULL}, {"max", "v_max($1, $2)", "@_max($1, $2)", NULL}, {"min", "v_min($1, $2)", "@_min($1, $2)", NULL},
    {"floor", "floor($1)", "$1", NULL}, {"ceil", "ceil($1)", "$1", NULL}, {"round", "round($1)", "$1", NULL}, {"trunc", "trunc($1)", "$1", NULL},
    {"sqrt", "sqrt($1)", NULL, NULL}, {"rsqrt", "inverseSqrt($1)", NULL, NULL},
    {"eq", "v_eq($1, $2)", "$1 == $2", "$1 == $2"}, {"ne", "!v_eq($1, $2)", "$1 != $2", "$1 != $2"}, {"lt", "v_lt($1, $2)", "$1 < $2", NULL},
    {"le", "v_le($1, $2)", "$1 <= $2", NULL}, {"gt", "v_lt($2, $1)", "$1 > $2", NULL}, {"ge", "v_le($2, $1)", "$1 >= $2", NULL},
    {"and", NULL, NULL, "$1 & $2"}, {"or", NULL, NULL, "$1 | $2"}, {"not", NULL, NULL, "!$1"},
    {"bit_and", NULL, "$1 & $2", NULL}, {"bit_or", NULL, "$1 | $2", NULL}, {"bit_xor", NULL, "$1 ^ $2", NULL}, {"bit_not", NULL, "~$1", NULL},
    {"shl", NULL, "@_shl($1, $2)", NULL}, {"shr", NULL, "@_shr($1, $2)", NULL}, {"isnan", "v_nan($1)", NULL, NULL},
    {"select", "select($3, $2, $1)", "select($3, $2, $1)", "select($3, $2, $1)"}};

typedef struct name { char s[24]; } name;
typedef struct printer {
    ry_text *t;
    bool math, chain; /* which files of functions are named */
} printer;

static void print_number(ry_text *t, double value, reg r) {
    char s[40];
    snprintf(s, sizeof s, r == F ? "%.9g" : "%.0f", r == F ? (double)(float)value : value);
    for (char *p = s; *p; p++)
        if (*p == ',') *p = '.'; /* the locale's point */
    ry_text_printf(t, "%s(%s%s)", vec_of[r], s, r == L ? "li" : "");
}

/* The text of one call; its type. Other rows of floats are functions of their own name in _math.wgsl. */
static ry_status print_call(printer *p, const expr_node *n, const name *arg, const reg *type, reg *result) {
    reg by = !strcmp(n->row, "select") ? type[1] : type[0];
    const char *f = NULL;
    char own[64];
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives && !f; i++)
        if (!strcmp(primitives[i].row, n->row)) f = by == F ? primitives[i].f : by == B ? primitives[i].b : primitives[i].i;
    if (!f && by == F) {
        snprintf(own, sizeof own, n->n_kid == 1 ? "v_%s($1)" : "v_%s($1, $2)", n->row);
        f = own;
    }
    if (!f) RY_FAIL(RY_EINTERNAL, "%s has no WGSL for this type", n->row);
    p->math |= !strncmp(f, "v_", 2) || !strncmp(f, "!v_", 3);
    p->chain |= *f == '@';
    for (; *f; f++) {
        if (*f == '$') ry_text_puts(p->t, arg[*++f - '1'].s);
        else if (*f == '@') ry_text_puts(p->t, by == L ? "i64" : "i32");
        else ry_text_add(p->t, f, 1);
    }
    static const char *const to_bool[] = {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "isfinite", "isnan", "isinf"};
    *result = by;
    for (size_t i = 0; i < sizeof to_bool / sizeof *to_bool; i++)
        if (!strcmp(to_bool[i], n->row)) *result = B;
    return RY_OK;
}

static bool same_node(const expr_node *a, const expr_node *b) {
    if (a->kind != b->kind || a->n_kid != b->n_kid) return false;
    if (a->kind == EXPR_LETTER) return a->letter == b->letter;
    if (a->kind == EXPR_NUMBER) return a->value == b->value;
    return !strcmp(a->row, b->row) && !memcmp(a->kid, b->kid, (size_t)a->n_kid * sizeof *a->kid);
}

/* Prints a let for each distinct call of the formula; *out is the root's name. letter[k]: what stands for letter k. */
static ry_status print_formula(printer *p, const char *formula, int link, reg number, const name *letter, const reg *type_of_letter, name *out, reg *result) {
    expr *e = ry_mem_zalloc(sizeof *e);
    if (!e) return RY_ENOMEM;
    ry_status st;
    name at[EXPR_MAX];
    reg type[EXPR_MAX];
    int16_t same[EXPR_MAX]; /* the first node that computes this */
    RY_GO(st, done, expr_parse(e, formula));
    for (int i = 0; i < e->n; i++) {
        expr_node *n = &e->at[i];
        for (int k = 0; k < n->n_kid; k++) n->kid[k] = same[n->kid[k]];
        int j = 0;
        while (j < i && !same_node(n, &e->at[j])) j++;
        same[i] = (int16_t)j;
        if (j < i) continue;
        if (n->kind == EXPR_LETTER) {
            at[i] = letter[n->letter], type[i] = type_of_letter[n->letter];
            continue;
        }
        snprintf(at[i].s, sizeof at[i].s, "e%d_%d", link, i);
        ry_text_printf(p->t, "    let %s = ", at[i].s);
        if (n->kind == EXPR_NUMBER) {
            print_number(p->t, n->value, number), type[i] = number;
        } else {
            name arg[EXPR_KIDS];
            reg arg_type[EXPR_KIDS];
            for (int k = 0; k < n->n_kid; k++) arg[k] = at[n->kid[k]], arg_type[k] = type[n->kid[k]];
            RY_GO(st, done, print_call(p, n, arg, arg_type, &type[i]));
        }
        ry_text_puts(p->t, ";\n");
    }
    *out = at[same[e->n - 1]], *result = type[same[e->n - 1]];
done:
    ry_mem_free(e);
    return st;
}

/* ---------------------------------------------------------------- links */

/* `x`, a register of type `from`, as dtype `to`: the cast row. */
static void print_cast(printer *p, const char *x, reg from, ry_dtype to, bool wide) {
    reg r = reg_of(to, wide);
    p->chain = true;
    if (r == B) ry_text_printf(p->t, from == B ? "%s" : from == F ? "f32_bool(%s)" : from == L ? "%s != vec4<i64>()" : "%s != vec4<i32>()", x);
    else if (from == F && r != F) ry_text_printf(p->t, "f32_%s(%s)", r == I && to == RY_I64 ? "i32" : ry_dtype_name(to), x);
    else if (to == RY_F16 || to == RY_BF16) ry_text_printf(p->t, "round_%s(vec4<f32>(%s))", ry_dtype_name(to), x);
    else if (to == RY_I8 || to == RY_U8) ry_text_printf(p->t, "wrap_%s(vec4<i32>(%s))", ry_dtype_name(to), x);
    else if (from == r) ry_text_puts(p->t, x);
    else ry_text_printf(p->t, "%s(%s)", vec_of[r], x);
}

static ry_status print_link(printer *p, const ry_chain *ch, int l, const reg *type, bool wide, bool read_again) {
    const ry_link *k = &ch->link[l];
    int me = ch->n_src + l;
    reg r = reg_of(k->dtype, wide), result;
    if (k->op == &ry_op_fill_row) {
        ry_text_printf(p->t, "    let r%d = ", me);
        if (r == F) ry_text_printf(p->t, "vec4<f32>(u.k%d);\n", l);
        else if (r == B) ry_text_printf(p->t, "vec4<bool>(u.k%d != 0u);\n", l);
        else if (r == I) ry_text_printf(p->t, "vec4<i32>(i32(u.k%d));\n", l);
        else ry_text_printf(p->t, "vec4<i64>((i64(u.k%d) & 4294967295li) | (i64(u.k%d_hi) << 32u));\n", l, l);
        return RY_OK;
    }
    name value;
    if (k->op == &ry_op_cast_row) {
        ry_text_printf(p->t, "    let r%d = ", me);
        snprintf(value.s, sizeof value.s, "r%d", k->in[0]);
        print_cast(p, value.s, type[k->in[0]], k->dtype, wide);
        ry_text_puts(p->t, ";\n");
        return RY_OK;
    }
    const map_info *info = &map_table[k->op->map];
    char cls = info->cls[0];
    name letter[MAP_LETTERS];
    reg letter_type[MAP_LETTERS] = {F, F, F, F, F}, number = I;
    unsigned uses = map_letters(k->op);
    for (int q = 0, i = 0; q < MAP_LETTERS; q++) {
        if (!(uses >> q & 1u)) continue;
        int from = k->in[i++];
        snprintf(letter[q].s, sizeof letter[q].s, "r%d", from);
        letter_type[q] = type[from];
        if (type[from] == B && (cls == 'N' || cls == 'C' || cls == 'I')) { /* bool counts as 0 or 1 */
            snprintf(letter[q].s, sizeof letter[q].s, "vec4<i32>(r%d)", from);
            letter_type[q] = I;
        }
        if (!(cls == 'S' && q == 0) && letter_type[q] != B) number = letter_type[q];
    }
    const char *formula = k->op->form == MAP_VALUE ? info->formula : info->d[k->op->form - MAP_DA];
    RY_TRY(print_formula(p, formula, l, number, letter, letter_type, &value, &result));
    ry_text_printf(p->t, "    let r%d = ", me);
    bool whole = k->dtype == RY_F32 || k->dtype == RY_I32 || k->dtype == RY_I64;
    if (whole || (result == B && r == B) || (r == F && !read_again)) ry_text_puts(p->t, value.s);
    else print_cast(p, value.s, result, k->dtype, wide);
    ry_text_puts(p->t, ";\n");
    return RY_OK;
}

/* ---------------------------------------------------------------- sources */

typedef enum source_kind { FLAT, SPLAT, STRIDED } source_kind; /* dense in the outputs' shape; one element; anything else */
typedef struct source { source_kind kind; int64_t stride[RY_MAX_RANK]; } source;

static void classify(source *s, const ry_value *v, const ry_spec *o) {
    int64_t dense = 1, lead = o->rank - v->spec.rank;
    bool flat = true, splat = true;
    for (int d = o->rank - 1; d >= 0; d--) {
        s->stride[d] = d >= lead && v->spec.dim[d - lead] != 1 ? v->stride[d - lead] : 0;
        if (o->dim[d] == 1) continue;
        flat &= s->stride[d] == dense, splat &= s->stride[d] == 0;
        dense *= o->dim[d];
    }
    s->kind = splat ? SPLAT : flat ? FLAT : STRIDED;
}

/* Merges neighbouring dims where every strided source allows it. */
static int merge(int64_t *dim, source *s, int n, const ry_spec *o) {
    int rank = 0;
    for (int d = 0; d < o->rank; d++) {
        if (o->dim[d] == 1) continue;
        bool together = rank > 0;
        for (int r = 0; r < n && together; r++) together = s[r].kind != STRIDED || s[r].stride[rank - 1] == s[r].stride[d] * o->dim[d];
        int k = together ? rank - 1 : rank++;
        dim[k] = together ? dim[k] * o->dim[d] : o->dim[d];
        for (int r = 0; r < n; r++) s[r].stride[k] = s[r].stride[d];
    }
    return rank;
}

/* Lets for registers own .. n_src - 1: elements i .. i + 3 of the outputs' shape, of which n are there. Register r is operand r + shift. */
static void print_loads(ry_text *t, ry_launch *l, const ry_node *n, int own, int n_src, int shift, const reg *type, const int16_t *last_read) {
    const ry_spec *o = &n->out[0].spec;
    source s[RY_MAX_SRC] = {{.kind = SPLAT}};
    int64_t dim[RY_MAX_RANK] = {1};
    char field[24];
    bool strided = false;
    for (int r = own; r < n_src; r++) {
        classify(&s[r], n->src[r + shift], o);
        if (last_read[r] < 0) s[r].kind = SPLAT; /* nobody asks */
        strided |= s[r].kind == STRIDED;
    }
    int rank = strided ? merge(dim, s, n_src, o) : 0, last = rank - 1;
    bool fours = strided && dim[last] % FOUR == 0;
    if (strided) ry_text_puts(t, fours ? "    var k = i;\n" : "    var k = min(vec4<u32>(i, i + 1u, i + 2u, i + 3u), vec4<u32>(i + n - 1u));\n");
    for (int d = last; d >= 0; d--) {
        snprintf(field, sizeof field, "d%d", d);
        if (d) ry_launch_u32(l, field, dim[d]);
        if (!d) ry_text_puts(t, "    let c0 = k;\n");
        else ry_text_printf(t, "    let c%d = k %% u.d%d;\n    k /= u.d%d;\n", d, d, d);
    }
    for (int r = own; r < n_src; r++) {
        int in = r + shift; /* the operand */
        if (last_read[r] < 0) continue;
        if (s[r].kind == FLAT) {
            ry_text_printf(t, "    let r%d = ld4_s%d(i, n);\n", r, in);
            l->vec |= RY_USES_SRC(in);
            continue;
        }
        if (s[r].kind == SPLAT) {
            ry_text_printf(t, "    let r%d = %s(ld_s%d(0u));\n", r, vec_of[type[r]], in);
            continue;
        }
        int64_t inner = s[r].stride[last];
        bool vec = fours && inner == 1;
        ry_text_printf(t, "    let a%d = ", r);
        for (int d = 0; d <= last; d++) {
            if (d == last && fours && inner == 0 && d > 0) continue;
            if (d) ry_text_puts(t, " + ");
            if (d == last && vec) {
                ry_text_printf(t, "c%d", d);
                continue;
            }
            snprintf(field, sizeof field, "s%d_%d", r, d);
            ry_launch_u32(l, field, s[r].stride[d]);
            ry_text_printf(t, "c%d * u.%s", d, field);
            vec &= s[r].stride[d] % FOUR == 0;
        }
        ry_text_puts(t, ";\n");
        if (fours && inner == 1) {
            ry_text_printf(t, "    let r%d = ld4_s%d(a%d, 4u);\n", r, in, r);
            if (vec) l->vec |= RY_USES_SRC(in);
        } else if (fours && inner == 0) {
            ry_text_printf(t, "    let r%d = %s(ld_s%d(a%d));\n", r, vec_of[type[r]], in, r);
        } else if (fours) {
            snprintf(field, sizeof field, "s%d_%d", r, last);
            ry_text_printf(t, "    let r%d = %s(ld_s%d(a%d), ld_s%d(a%d + u.%s), ld_s%d(a%d + 2u * u.%s), ld_s%d(a%d + 3u * u.%s));\n", r, vec_of[type[r]], in,
                           r, in, r, field, in, r, field, in, r, field);
        } else {
            ry_text_printf(t, "    let r%d = %s(ld_s%d(a%d.x), ld_s%d(a%d.y), ld_s%d(a%d.z), ld_s%d(a%d.w));\n", r, vec_of[type[r]], in, r, in, r, in, r, in, r);
        }
    }
}

/* `load` reads register r of each source; `finish` will find them under the same names. */
static void print_sources(ry_text *t, ry_launch *l, const ry_node *n, const reg *type, const int16_t *last_read) {
    ry_text_puts(t, "struct sources { i: u32");
    for (int r = 0; r < n->n_src; r++)
        if (last_read[r] >= 0) ry_text_printf(t, ", r%d: %s", r, vec_of[type[r]]);
    ry_text_puts(t, " }\nfn load(i: u32, n: u32) -> sources {\n");
    print_loads(t, l, n, 0, n->n_src, 0, type, last_read);
    ry_text_puts(t, "    return sources(i");
    for (int r = 0; r < n->n_src; r++)
        if (last_read[r] >= 0) ry_text_printf(t, ", r%d", r);
    ry_text_puts(t, ");\n}\nfn finish(s: sources, n: u32) {\n    let i = s.i;\n");
    for (int r = 0; r < n->n_src; r++)
        if (last_read[r] >= 0) ry_text_printf(t, "    let r%d = s.r%d;\n", r, r);
}

/* ---------------------------------------------------------------- the whole */

static void immediate(ry_launch *l, int link, const ry_link *k) {
    union { int64_t wide; int32_t i; int8_t i8; uint8_t byte; } x = {0};
    char field[24];
    snprintf(field, sizeof field, "k%d", link);
    if (ry_is_float(k->dtype)) {
        float f = (float)k->value;
        uint16_t half;
        if (k->dtype != RY_F32) { /* as stored */
            ry_store_row(&half, k->dtype, 0, 1, &f);
            f = *ry_load_row(&half, k->dtype, 0, 1, &f);
        }
        ry_launch_f32(l, field, (double)f);
        return;
    }
    fused_element(&x, k->dtype, k->value);
    if (k->dtype == RY_I64) {
        ry_launch_u32(l, field, x.wide & UINT32_MAX);
        snprintf(field, sizeof field, "k%d_hi", link);
        ry_launch_u32(l, field, x.wide >> 32);
    } else {
        ry_launch_u32(l, field, k->dtype == RY_I32 ? x.i : k->dtype == RY_I8 ? x.i8 : x.byte);
    }
}

/* The chain's functions, into the launch's text: own: registers that are given and no source;
 * rounds: the file bf16 is included; math: functions that take as long as memory. */
static ry_status print_chain(const ry_chain *ch, const ry_node *n, ry_launch *l, int own, int16_t last[MAX_REGS], bool *rounds, bool *math) {
    bool wide = false, arithmetic = false;
    int shift = own ? n->op->max_src - own : 0;
    for (int r = own; r < ch->n_src; r++) wide |= n->src[r + shift]->spec.dtype == RY_I64;
    for (int k = 0; k < ch->n_link; k++) {
        const ry_link *q = &ch->link[k];
        if (!ry_dtype_row(q->dtype)->wgsl) return ry_fail_node(n, RY_EUNSUPPORTED, "%s does not exist on this device", ry_dtype_name(q->dtype));
        wide |= q->dtype == RY_I64;
        arithmetic |= q->op != &ry_op_cast_row && q->op != &ry_op_fill_row;
    }
    if (wide && !(l->caps->features & RY_FEATURE_I64)) {
        if (arithmetic) return ry_fail_node(n, RY_EUNSUPPORTED, "this device has no 64-bit integers: cast to i32");
        wide = false;
    }
    reg type[MAX_REGS];
    memset(last, -1, MAX_REGS * sizeof *last); /* link that reads a register last */
    for (int r = 0; r < ch->n_src; r++) type[r] = r < own ? F : reg_of(n->src[r + shift]->spec.dtype, wide);
    for (int k = 0; k < ch->n_link; k++) {
        const ry_link *q = &ch->link[k];
        type[ch->n_src + k] = reg_of(q->dtype, wide);
        for (int i = 0; i < MAP_LETTERS && q->in[i] >= 0; i++) last[q->in[i]] = (int16_t)k;
        if (q->op == &ry_op_fill_row) immediate(l, k, q);
    }
    ry_text body = {0};
    printer p = {.t = &body};
    ry_status st = RY_OK;
    if (own) {
        ry_text_puts(&body, "fn tail(i: u32, n: u32");
        for (int r = 0; r < own; r++) ry_text_printf(&body, ", r%d: vec4<f32>", r);
        ry_text_puts(&body, ") {\n");
        print_loads(&body, l, n, own, ch->n_src, shift, type, last);
    } else print_sources(&body, l, n, type, last);
    for (int k = 0; k < ch->n_link; k++) RY_GO(st, done, print_link(&p, ch, k, type, wide, last[ch->n_src + k] >= 0));
    for (int j = 0; j < ch->n_out; j++) {
        ry_text_printf(&body, "    st4_o%d(i, n, r%d);\n", j, ch->out[j]);
        l->vec |= RY_USES_OUT(j);
    }
    ry_text_puts(&body, "}\n");
    RY_GO(st, done, ry_text_status(&body));
    if (p.math) ry_text_puts(l->text, "#include math\n");
    if (p.chain) ry_text_puts(l->text, "#include bf16\n#include chain\n");
    ry_text_puts(l->text, body.at);
    *rounds = p.chain, *math = p.math;
    l->wide = wide;
    ry_launch_u32(l, "zero", 0);
done:
    ry_text_free(&body);
    return st;
}

ry_status fused_tail(const ry_node *n, ry_launch *l, int own) {
    int16_t last[MAX_REGS];
    bool rounds = false, math;
    if (n->tail) RY_TRY(print_chain(n->tail, n, l, own, last, &rounds, &math));
    ry_launch_knob_set(l, "TAIL", rounds ? 2 : n->tail ? 1 : 0);
    return RY_OK;
}

ry_status fused_launch(const ry_chain *ch, const ry_node *n, ry_launch *l) {
    int16_t last[MAX_REGS];
    bool rounds = false, math = false;
    RY_TRY(print_chain(ch, n, l, 0, last, &rounds, &math));
    int64_t total = ry_count(&n->out[0].spec);
    int bytes = 1, times; /* of the widest operand; fours of a thread: enough bytes must be on their way, also while it computes */
    for (int r = 0; r < ch->n_src; r++)
        if (last[r] >= 0 && ry_dtype_row(n->src[r]->spec.dtype)->bytes > bytes) bytes = ry_dtype_row(n->src[r]->spec.dtype)->bytes;
    for (int j = 0; j < ch->n_out; j++)
        if (ry_dtype_row(n->out[j].spec.dtype)->bytes > bytes) bytes = ry_dtype_row(n->out[j].spec.dtype)->bytes;
    times = (bytes < 4 || math) && total >= MANY && total <= INT32_MAX ? 2 : 1;
    ry_launch_knob_set(l, "TIMES", times);
    ry_launch_u32(l, "total", total);
    ry_launch_run(l, "main", (total + times * FOUR * GROUP - 1) / (times * FOUR * GROUP), 0);
    return RY_OK;
}
