/* launch.c - a row's kernel for a node: the functions that rows' launch() calls, and what is added to it by itself. */
#include "core/launch.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

const ry_value *launch_operand(const ry_node *n, int operand) {
    if (operand < RY_OPERAND_OUT) return operand < n->n_src ? n->src[operand] : NULL;
    return operand - RY_OPERAND_OUT < n->n_out ? &n->out[operand - RY_OPERAND_OUT] : NULL;
}

void launch_operand_name(char name[8], int operand) {
    unsigned i = (unsigned)(operand < RY_OPERAND_OUT ? operand : operand - RY_OPERAND_OUT) % 100;
    if (operand == RY_OPERAND_SCRATCH) memcpy(name, "tmp", 4);
    else snprintf(name, 8, "%c%u", operand < RY_OPERAND_OUT ? 's' : 'o', i);
}

const ry_variant *launch_variant_at(const ry_node *n, const ry_caps *caps, int i) {
    for (const ry_variant *v = n->op->variants; v && v->name; v++)
        if ((!v->when || v->when(n, caps)) && i-- == 0) return v;
    return NULL;
}

const ry_variant *launch_variant(const ry_node *n, const ry_caps *caps, int *count) {
    int k = 0;
    for (const ry_variant *v = n->op->variants; v && v->name; v++) k += !v->when || v->when(n, caps);
    if (count) *count = k;
    return launch_variant_at(n, caps, 0);
}

/* ---- what rows call ---- */

void ry_launch_run(ry_launch *l, const char *entry, int64_t groups, uint32_t uses) {
    assert(l->n_dispatch < RY_MAX_DISPATCH);
    l->dispatch[l->n_dispatch++] = (ry_dispatch){.entry = entry, .groups = groups, .uses = uses};
}

void ry_launch_run_part(ry_launch *l, const char *entry, int64_t groups, uint32_t uses, uint32_t part, int64_t from, int64_t to) {
    ry_launch_run(l, entry, groups, uses);
    ry_dispatch *x = &l->dispatch[l->n_dispatch - 1];
    x->part = part, x->from = from, x->to = to;
}

static ry_launch_value *uniform(ry_launch *l, const char *name) {
    assert(strlen(name) < sizeof l->uniform->name);
    for (int i = 0; i < l->n_uniform; i++) /* said by the row: stands for the argument field of that name */
        if (!strcmp(l->uniform[i].name, name)) return &l->uniform[i];
    assert(l->n_uniform < RY_MAX_UNIFORM);
    ry_launch_value *u = &l->uniform[l->n_uniform++];
    *u = (ry_launch_value){.real = false};
    memcpy(u->name, name, strlen(name) + 1);
    return u;
}
void ry_launch_u32(ry_launch *l, const char *name, int64_t value) {
    ry_launch_value *u = uniform(l, name);
    u->real = false, u->value = (double)value;
}
void ry_launch_f32(ry_launch *l, const char *name, double value) {
    ry_launch_value *u = uniform(l, name);
    u->real = true, u->value = value;
}

void ry_launch_knob_set(ry_launch *l, const char *name, int value) {
    assert(strlen(name) < sizeof l->knob->name);
    int i = 0;
    while (i < l->n_knob && strcmp(l->knob[i].name, name)) i++;
    assert(i < RY_MAX_KNOB);
    if (i == l->n_knob) l->n_knob++;
    l->knob[i].value = value;
    memcpy(l->knob[i].name, name, strlen(name) + 1);
}

void ry_launch_walk_strides(ry_launch *l, const char *name, int rank, const int64_t *dim, const int64_t *stride) {
    int64_t d[RY_MAX_RANK], s[RY_MAX_RANK];
    int r = 0;
    char field[20];
    for (int i = 0; i < rank; i++) {
        if (dim[i] == 1) continue;
        if (r && s[r - 1] == stride[i] * dim[i]) d[r - 1] *= dim[i], s[r - 1] = stride[i];
        else d[r] = dim[i], s[r++] = stride[i];
    }
    if (r == 1 && s[0] == 1) {
        ry_text_printf(l->text, "fn %s(i: u32) -> u32 { return i; }\n", name);
        return;
    }
    ry_text_printf(l->text, "fn %s(i: u32) -> u32 { var k = i; var at = 0u;", name);
    for (int k = r - 1; k >= 0; k--) {
        snprintf(field, sizeof field, "%s_s%d", name, k);
        ry_launch_u32(l, field, s[k]);
        if (!k) {
            ry_text_printf(l->text, " at += k * u.%s_s0;", name);
            break;
        }
        snprintf(field, sizeof field, "%s_d%d", name, k);
        ry_launch_u32(l, field, d[k]);
        ry_text_printf(l->text, " at += (k %% u.%s_d%d) * u.%s_s%d; k /= u.%s_d%d;", name, k, name, k, name, k);
    }
    ry_text_puts(l->text, " return at; }\n");
}

void ry_launch_walk(ry_launch *l, const char *name, const ry_value *v, int rank, const int64_t *dim) {
    int64_t stride[RY_MAX_RANK] = {0};
    int lead = rank - v->spec.rank;
    for (int i = lead; i < rank; i++)
        if (v->spec.dim[i - lead] != 1) stride[i] = v->stride[i - lead];
    ry_launch_walk_strides(l, name, rank, dim, stride);
}

void ry_launch_rows(ry_launch *l, const char *name, const ry_node *n, int of) {
    const ry_value *v = launch_operand(n, of);
    int rank = v->spec.rank - 1;
    bool fours = v->spec.dim[rank] % 4 == 0 && (v->stride[rank] == 1 || v->spec.dim[rank] <= 1);
    for (int i = 0; i < rank; i++) fours &= v->spec.dim[i] == 1 || v->stride[i] % 4 == 0;
    if (fours) l->vec |= 1u << of;
    ry_launch_walk_strides(l, name, rank, v->spec.dim, v->stride);
}

int64_t launch_piece(const ry_caps *caps, double row_bytes, int64_t length) {
    double room = (double)caps->max_binding - (double)caps->align;
    if (!caps->max_binding || row_bytes * (double)length <= room) return length;
    int64_t n = (int64_t)(room / row_bytes);
    return n >= 64 ? n / 64 * 64 : n >= 4 ? n / 4 * 4 : n; /* so that pieces begin where fast loads may */
}

int64_t ry_launch_part(const ry_caps *caps, const ry_value *v) {
    int64_t rows = v->spec.rank ? v->spec.dim[0] : 1;
    return launch_piece(caps, rows ? (double)ry_bytes_of(v->spec.dtype, ry_count(&v->spec)) / (double)rows : 0, rows);
}

bool ry_cut_elements(const ry_node *n, ry_cut *c) {
    const ry_spec *o = &n->out[0].spec;
    int a = 0;
    while (a < o->rank && o->dim[a] == 1) a++;
    if (a == o->rank) return false;
    c->length = o->dim[a];
    for (int i = 0; i < RY_OPERAND_SCRATCH; i++) {
        const ry_value *v = launch_operand(n, i);
        int own = v ? a - (o->rank - v->spec.rank) : -1;
        if (own < 0 || v->spec.dim[own] == 1) continue;
        if (v->spec.dim[own] != c->length) return false;
        c->axis[i] = (int8_t)own;
    }
    return true;
}

/* ---- what devices call ---- */

static void add_argument(ry_launch *l, const ry_arg *a, const void *args) {
    const char *p = (const char *)args + a->offset;
    char high[24];
    switch (a->type) {
    case RY_ARG_F64: ry_launch_f32(l, a->name, *(const double *)(const void *)p); break;
    case RY_ARG_I64: ry_launch_u32(l, a->name, *(const int64_t *)(const void *)p); break;
    case RY_ARG_U64: {
        uint64_t x = *(const uint64_t *)(const void *)p;
        snprintf(high, sizeof high, "%s_hi", a->name);
        ry_launch_u32(l, a->name, (int64_t)(x & UINT32_MAX));
        ry_launch_u32(l, high, (int64_t)(x >> 32));
        break;
    }
    case RY_ARG_I32: ry_launch_u32(l, a->name, *(const int32_t *)(const void *)p); break;
    case RY_ARG_U32: ry_launch_u32(l, a->name, *(const uint32_t *)(const void *)p); break;
    case RY_ARG_BOOL:
        ry_launch_u32(l, a->name, *(const bool *)p);
        if (!a->dynamic) ry_launch_knob_set(l, a->name, *(const bool *)p);
        break;
    }
}

ry_status launch_node(ry_launch *l, const ry_node *n, const void *args, const ry_variant *v, const ry_caps *caps, ry_text *text) {
    if (!n->op->launch) return ry_fail_node(n, RY_EUNSUPPORTED, "has no kernel on this device");
    for (int i = 0; i < RY_OPERANDS; i++) {
        const ry_value *o = launch_operand(n, i);
        if (o && !ry_dtype_row(o->spec.dtype)->wgsl) return ry_fail_node(n, RY_EUNSUPPORTED, "%s does not exist on this device", ry_dtype_name(o->spec.dtype));
        if (o && o->spec.rank && ry_count(&o->spec) > UINT32_MAX)
            return ry_fail_node(n, RY_EUNSUPPORTED, "%s has more elements than kernels count (2^32 - 1)", ry_show(&o->spec).s);
    }
    ry_node run = *n;
    run.args = (void *)(uintptr_t)args; /* read only */
    memset(l, 0, sizeof *l);
    l->caps = caps, l->text = text;
    for (const ry_arg *a = n->op->args; a && a->name && args; a++)
        if (!a->count) add_argument(l, a, args);
    for (int k = 0; v && k < 16 && v->knobs[k].name; k++) ry_launch_knob_set(l, v->knobs[k].name, v->knobs[k].value);
    RY_TRY(n->op->launch(&run, v, l));
    return text->failed ? ry_text_status(text) : RY_OK;
}
