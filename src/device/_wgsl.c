/* _wgsl.c - from a node and its launch to the WGSL text of its kernels.
 *
 * A module is: the uniforms, the bindings, how each operand is read and written (the dtype row's texts), the prelude, what launch()
 * wrote, the row's file. Only what the row's text names is there: the head is written after it was read. */
#include "_wgsl.h"
#include "base/kernel_text.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

static const char *text_of(const char *name) {
    for (size_t i = 0; i < ry_kernel_text_count; i++)
        if (!strcmp(ry_kernel_texts[i].name, name)) return ry_kernel_texts[i].text;
    return NULL;
}

/* `#include math` is src/ops/_math.wgsl. */
static const char *include(void *ud, const char *name) {
    char file[64];
    (void)ud;
    return snprintf(file, sizeof file, "_%s.wgsl", name) < (int)sizeof file ? text_of(file) : NULL;
}

static const char *row_text(const ry_op *op) {
    char file[64];
    if (op->wgsl) return strchr(op->wgsl, '\n') ? op->wgsl : text_of(op->wgsl);
    return snprintf(file, sizeof file, "%s.wgsl", op->name) < (int)sizeof file ? text_of(file) : NULL;
}

uint32_t wgsl_word_bits(const ry_launch_value *u) {
    float f = (float)u->value;
    uint32_t bits;
    if (!u->real) return u->value < 0 ? (uint32_t)(int64_t)u->value : (uint32_t)(uint64_t)u->value;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Does `name` stand somewhere in text, no part of a longer name? */
static bool names(const char *text, const char *name) {
    size_t n = strlen(name);
    for (const char *p = text; (p = strstr(p, name)); p += n)
        if (!wgsl_name_part(p[n]) && (p == text || !wgsl_name_part(p[-1]))) return true;
    return false;
}
static bool calls(const char *text, const char *prefix, const char *operand) {
    char name[24];
    snprintf(name, sizeof name, "%s%s", prefix, operand);
    return names(text, name);
}

static const ry_dtype_text *text_of_dtype(const ry_launch *l, int operand, const ry_dtype_info *row) {
    if (l->raw >> operand & 1u) return row->raw;
    return row->wide && l->wide ? row->wide : row->wgsl;
}

/* ---- the row's text ---- */

typedef struct vars { ry_text_var at[96]; char value[96][12]; char name[96][24]; size_t n; } vars;
static void var_text(vars *x, const char *name, const char *value) {
    snprintf(x->name[x->n], sizeof *x->name, "%s", name);
    x->at[x->n] = (ry_text_var){x->name[x->n], value};
    x->n++;
}
static void var_int(vars *x, const char *name, int value) {
    snprintf(x->value[x->n], sizeof *x->value, "%d", value);
    var_text(x, name, x->value[x->n]);
}

/* ARGS and BEGIN open every entry: `t` is the thread in its group, `group` the number that launch counted. */
#define ENTRY_ARGS "@builtin(workgroup_id) wg_: vec3<u32>, @builtin(local_invocation_index) t: u32"
#define ENTRY_ARGS_SUBGROUPS ENTRY_ARGS ", @builtin(subgroup_size) sg_size: u32, @builtin(subgroup_invocation_id) sg_lane: u32"
#define ENTRY_BEGIN "let group = wg_.x + wg_.y * u.grid_; if (group >= u.groups_) { return; }"

static ry_status body_text(ry_text *out, const ry_node *n, const ry_variant *v, const ry_launch *l, const wgsl_kernel *k) {
    const char *file = row_text(n->op);
    if (!file && !n->op->text) return ry_fail_node(n, RY_EUNSUPPORTED, "has no WGSL text");
    vars *x = ry_mem_zalloc(sizeof *x);
    if (!x) return RY_ENOMEM;
    bool subgroups = l->caps->features & RY_FEATURE_SUBGROUPS;
    int wg = 0, lanes = 0;
    char name[24], operand[8];
    for (int i = 0; i < l->n_knob; i++) {
        var_int(x, l->knob[i].name, l->knob[i].value);
        if (!strcmp(l->knob[i].name, "WG")) wg = l->knob[i].value;
        if (!strcmp(l->knob[i].name, "LANES")) lanes = l->knob[i].value;
    }
    if (!wg) var_int(x, "WG", wg = 256);
    if (!lanes) var_int(x, "LANES", wg);
    var_int(x, "N_SRC", n->n_src);
    var_int(x, "N_OUT", n->n_out);
    var_int(x, "WIDE", l->wide);
    var_int(x, "SUBGROUPS", subgroups);
    var_text(x, "ARGS", subgroups ? ENTRY_ARGS_SUBGROUPS : ENTRY_ARGS);
    var_text(x, "BEGIN", ENTRY_BEGIN);
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) {
        const ry_value *o = launch_operand(n, i);
        launch_operand_name(operand, i);
        operand[0] = i < RY_OPERAND_OUT ? 'S' : 'O';
        snprintf(name, sizeof name, "HAS_%s", operand);
        var_int(x, name, k->binding[i] >= 0);
        if (!o) continue;
        snprintf(name, sizeof name, "T_%s", operand);
        var_text(x, name, text_of_dtype(l, i, ry_dtype_row(o->spec.dtype))->reg);
    }
    ry_status st = RY_OK;
    ry_text all = {0};
    ry_text_puts(&all, "#include prelude\n");
    ry_text_puts(&all, l->text && l->text->at ? l->text->at : "");
    ry_text_puts(&all, file ? file : "");
    if (n->op->text) st = n->op->text(n, v, &all);
    if (st == RY_OK) st = ry_text_status(&all);
    if (st == RY_OK) st = ry_text_expand(out, n->op->name, all.at, x->at, x->n, include, NULL);
    ry_text_free(&all);
    ry_mem_free(x);
    return st;
}

/* ---- operands ---- */

static ry_dtype dtype_of(const ry_node *n, int operand) {
    const ry_value *o = launch_operand(n, operand);
    return o ? o->spec.dtype : RY_F32; /* scratch */
}

typedef struct binding { int words; bool atomic, read_only; } binding; /* words of an array element */

/* Reads (g) and writes (p; m: of masked bits) of 1, 2 and 4 words, whatever the array's element is. */
static void binding_text(ry_text *t, int b, binding x) {
    static const char *const type[] = {"", "u32", "vec2<u32>", "", "vec4<u32>"}, *const at[] = {"", "[i]", "[i >> 1u][i & 1u]", "", "[i >> 2u][i & 3u]"};
    const char *i = at[x.words];
    ry_text_printf(t, "@group(0) @binding(%d) var<storage, %s> b%d: array<%s>;\n", b + 1, x.read_only ? "read" : "read_write", b, x.atomic ? "atomic<u32>" : type[x.words]);
    if (x.atomic) ry_text_printf(t, "fn g%d(i: u32) -> u32 { return atomicLoad(&b%d[i]); }\n", b, b);
    else ry_text_printf(t, "fn g%d(i: u32) -> u32 { return b%d%s; }\n", b, b, i);
    /* At bytes: a word at an even one, which may lie across two; a half; a byte. */
    ry_text_printf(t, "fn g%du(b: u32) -> u32 { return select(g%d(b >> 2u), (g%d(b >> 2u) >> 16u) | (g%d((b + 2u) >> 2u) << 16u), (b & 2u) != 0u); }\n"
                      "fn g%dh(b: u32) -> f32 { return unpack2x16float(g%d(b >> 2u) >> ((b & 2u) << 3u)).x; }\n"
                      "fn g%db(b: u32) -> u32 { return (g%d(b >> 2u) >> ((b & 3u) << 3u)) & 0xffu; }\n", b, b, b, b, b, b, b, b);
    if (x.words == 4)
        ry_text_printf(t, "fn g%dx2(i: u32) -> vec2<u32> { let v = b%d[i >> 1u]; return select(v.xy, v.zw, (i & 1u) == 1u); }\n"
                          "fn g%dx4(i: u32) -> vec4<u32> { return b%d[i]; }\n", b, b, b, b);
    else if (x.words == 2)
        ry_text_printf(t, "fn g%dx2(i: u32) -> vec2<u32> { return b%d[i]; }\n"
                          "fn g%dx4(i: u32) -> vec4<u32> { return vec4<u32>(b%d[2u * i], b%d[2u * i + 1u]); }\n", b, b, b, b, b);
    else
        ry_text_printf(t, "fn g%dx2(i: u32) -> vec2<u32> { return vec2<u32>(g%d(2u * i), g%d(2u * i + 1u)); }\n"
                          "fn g%dx4(i: u32) -> vec4<u32> { return vec4<u32>(g%dx2(2u * i), g%dx2(2u * i + 1u)); }\n", b, b, b, b, b, b);
    if (x.read_only) return;
    if (x.atomic)
        ry_text_printf(t, "fn p%d(i: u32, v: u32) { atomicStore(&b%d[i], v); }\n"
                          "fn m%d(i: u32, mask: u32, v: u32) { atomicAnd(&b%d[i], ~mask); atomicOr(&b%d[i], v); }\n", b, b, b, b, b);
    else
        ry_text_printf(t, "fn p%d(i: u32, v: u32) { b%d%s = v; }\n"
                          "fn m%d(i: u32, mask: u32, v: u32) { b%d%s = (b%d%s & ~mask) | v; }\n", b, b, i, b, b, i, b, i);
    if (x.words == 4)
        ry_text_printf(t, "fn p%dx2(i: u32, v: vec2<u32>) { p%d(2u * i, v.x); p%d(2u * i + 1u, v.y); }\n"
                          "fn p%dx4(i: u32, v: vec4<u32>) { b%d[i] = v; }\n", b, b, b, b, b);
    else if (x.words == 2)
        ry_text_printf(t, "fn p%dx2(i: u32, v: vec2<u32>) { b%d[i] = v; }\n"
                          "fn p%dx4(i: u32, v: vec4<u32>) { b%d[2u * i] = v.xy; b%d[2u * i + 1u] = v.zw; }\n", b, b, b, b, b);
    else
        ry_text_printf(t, "fn p%dx2(i: u32, v: vec2<u32>) { p%d(2u * i, v.x); p%d(2u * i + 1u, v.y); }\n"
                          "fn p%dx4(i: u32, v: vec4<u32>) { p%dx2(2u * i, v.xy); p%dx2(2u * i + 1u, v.zw); }\n", b, b, b, b, b, b);
}

static ry_status dtype_text(ry_text *t, const char *text, int b) {
    static const struct { const char *name, *width; char kind; } form[] = {{"W", "", 'g'}, {"W2", "x2", 'g'}, {"W4", "x4", 'g'}, {"P", "", 'p'},
                                                                         {"P2", "x2", 'p'}, {"P4", "x4", 'p'}, {"M", "", 'm'},
                                                                         {"U", "u", 'g'}, {"H", "h", 'g'}, {"B", "b", 'g'}};
    enum { FORMS = sizeof form / sizeof *form };
    char function[FORMS][12];
    ry_text_var v[FORMS];
    for (int i = 0; i < FORMS; i++) {
        snprintf(function[i], sizeof function[i], "%c%d%s", form[i].kind, b, form[i].width);
        v[i] = (ry_text_var){form[i].name, function[i]};
    }
    return ry_text_expand(t, "a dtype's text", text, v, FORMS, NULL, NULL);
}

/* A function that reads: where the dtype's text is one expression over e, one expression too (see _inline.c). */
static ry_status reader(ry_text *t, const char *text, const char *prefix, const char *params, const char *x, const char *type, const char *at, int b) {
    static const char let[] = "let e = ";
    bool one = !strncmp(text, "return ", 7) && !strncmp(at, let, sizeof let - 1);
    if (one) ry_text_printf(t, "fn %s_%s_at(e: u32) -> %s { ", prefix, x, type);
    else ry_text_printf(t, "fn %s_%s(%s) -> %s { %s; ", prefix, x, params, type, at);
    RY_TRY(dtype_text(t, text, b));
    ry_text_puts(t, " }\n");
    if (one) ry_text_printf(t, "fn %s_%s(%s) -> %s { return %s_%s_at(%s); }\n", prefix, x, params, type, prefix, x, at + sizeof let - 1);
    return RY_OK;
}

/* ld_, ld4_, st_ and st4_ of an operand. fast: ld4 and st4 begin at multiples of 4 elements of the binding. */
static ry_status operand_text(ry_text *t, const char *body, const char *x, const ry_dtype_text *d, const char *at, int b, bool fast) {
    const char *r = d->reg;
    bool ld = calls(body, "ld_", x), ld4 = calls(body, "ld4_", x), st4 = d->store && calls(body, "st4_", x);
    if (!d->load && (ld || (ld4 && !fast))) { /* block dtypes: one of four */
        RY_TRY(reader(t, d->load4, "four", "i: u32", x, "vec4<f32>", at, b));
        ry_text_printf(t, "fn ld_%s(i: u32) -> f32 { return four_%s(i & 0xfffffffcu)[i & 3u]; }\n", x, x);
    } else if (ld || (ld4 && !fast)) {
        RY_TRY(reader(t, d->load, "ld", "i: u32", x, r, at, b));
    }
    if (calls(body, "ld16_", x)) RY_TRY(reader(t, d->load16, "ld16", "i: u32, far: u32", x, "mat4x4<f32>", at, b));
    if (ld4 && fast) {
        char vec[16];
        snprintf(vec, sizeof vec, "vec4<%s>", r);
        RY_TRY(reader(t, d->load4, "ld4", "i: u32, n: u32", x, vec, at, b));
    } else if (ld4) {
        ry_text_printf(t, "fn ld4_%s(i: u32, n: u32) -> vec4<%s> { var v = vec4<%s>(); v.x = ld_%s(i); if (n > 1u) { v.y = ld_%s(i + 1u); } "
                          "if (n > 2u) { v.z = ld_%s(i + 2u); } if (n > 3u) { v.w = ld_%s(i + 3u); } return v; }\n", x, r, r, x, x, x, x);
    }
    if (d->store && (calls(body, "st_", x) || (st4 && !fast))) {
        ry_text_printf(t, "fn st_%s(i: u32, v: %s) { %s; ", x, r, at);
        RY_TRY(dtype_text(t, d->store, b));
        ry_text_puts(t, " }\n");
    }
    if (st4 && fast) {
        ry_text_printf(t, "fn st4_%s(i: u32, n: u32, v: vec4<%s>) { %s; ", x, r, at);
        RY_TRY(dtype_text(t, d->store4, b));
        ry_text_puts(t, " }\n");
    } else if (st4) {
        ry_text_printf(t, "fn st4_%s(i: u32, n: u32, v: vec4<%s>) { st_%s(i, v.x); if (n > 1u) { st_%s(i + 1u, v.y); } "
                          "if (n > 2u) { st_%s(i + 2u, v.z); } if (n > 3u) { st_%s(i + 3u, v.w); } }\n", x, r, x, x, x, x);
    }
    return RY_OK;
}

static void word(wgsl_kernel *k, ry_text *t, wgsl_word_kind kind, int of, const char *name, const char *type) {
    k->word[k->n_word++] = (wgsl_word){(uint8_t)kind, (uint8_t)of};
    ry_text_printf(t, "    %s: %s,\n", name, type);
}

ry_status wgsl_module(ry_text *out, wgsl_kernel *k, const ry_node *n, const ry_variant *v, const ry_launch *l) {
    ry_text body = {0}, access = {0}, plain = {0};
    binding form[RY_OPERANDS];
    char x[8], name[32];
    ry_status st;
    RY_GO(st, done, body_text(&body, n, v, l, k));
    for (int b = 0; b < k->n_binding; b++) form[b] = (binding){4, false, k->read_only >> b & 1u};
    for (int i = 0; i < RY_OPERANDS; i++) {
        int b = k->binding[i];
        if (b < 0) continue;
        const ry_dtype_info *row = ry_dtype_row(dtype_of(n, i));
        launch_operand_name(x, i);
        bool fast = (l->vec & k->aligned) >> i & 1u;
        const ry_dtype_text *d = text_of_dtype(l, i, row);
        char at[48]; /* how the binding's element number is made */
        int units = ry_raw_units(dtype_of(n, i));
        if (row->kind == RY_KIND_BLOCK && d == row->raw) snprintf(at, sizeof at, "let e = i + u.at_%s / %du", x, row->bytes / units);
        else if (row->kind == RY_KIND_BLOCK) snprintf(at, sizeof at, "let a = u.at_%s", x);
        else if (d == row->raw && units > 1) snprintf(at, sizeof at, "let e = i + %du * u.at_%s", units, x);
        else snprintf(at, sizeof at, "let e = i + u.at_%s", x);
        bool sixteen = calls(body.at, "ld16_", x);
        if ((sixteen ? d->words16 : d->words) < form[b].words) form[b].words = sixteen ? d->words16 : d->words;
        if (d->helpers && !strstr(access.at ? access.at : "", d->helpers)) ry_text_puts(&access, d->helpers);
        /* Single stores into words that other threads write too go by bits. */
        if (row->bytes % 4 && (calls(body.at, "st_", x) || (!fast && calls(body.at, "st4_", x)))) form[b].atomic = true;
        RY_GO(st, done, operand_text(&access, body.at, x, d, at, b, fast));
    }
    RY_GO(st, done, ry_text_status(&access));
    k->n_word = 0;
    ry_text_puts(out, "struct Uniforms {\n");
    word(k, out, WGSL_GROUPS, 0, "groups_", "u32");
    word(k, out, WGSL_GRID, 0, "grid_", "u32");
    if (names(body.at, "u.round")) word(k, out, WGSL_ROUND, 0, "round", "u32");
    for (int i = 0; i < RY_OPERANDS; i++) {
        if (k->binding[i] < 0) continue;
        launch_operand_name(x, i);
        snprintf(name, sizeof name, "u.at_%s", x);
        if (names(body.at, name) || (access.at && names(access.at, name))) word(k, out, WGSL_AT, i, name + 2, "u32");
    }
    for (int i = 0; i < l->n_uniform; i++) {
        snprintf(name, sizeof name, "u.%s", l->uniform[i].name);
        if (names(body.at, name)) word(k, out, WGSL_VALUE, i, l->uniform[i].name, l->uniform[i].real ? "f32" : "u32");
    }
    if (names(body.at, "u.cut_from")) word(k, out, WGSL_CUT_FROM, 0, "cut_from", "u32");
    if (names(body.at, "u.cut_length")) word(k, out, WGSL_CUT_LENGTH, 0, "cut_length", "u32");
    if (names(body.at, "u.part_from")) word(k, out, WGSL_PART_FROM, 0, "part_from", "u32");
    if (names(body.at, "u.part_to")) word(k, out, WGSL_PART_TO, 0, "part_to", "u32");
    ry_text_puts(out, "}\n@group(0) @binding(0) var<uniform> u: Uniforms;\n");
    for (int b = 0; b < k->n_binding; b++) {
        if (form[b].atomic) form[b].words = 1;
        binding_text(&plain, b, form[b]);
    }
    ry_text_puts(&plain, access.at ? access.at : "");
    ry_text_puts(&plain, body.at);
    st = ry_text_status(&plain);
    if (st == RY_OK) st = wgsl_inline(out, plain.at);
done:
    ry_text_free(&plain);
    ry_text_free(&body);
    ry_text_free(&access);
    return st;
}
