/* gguf_model.c - the tensors of a GGUF model under the names, in the shapes and in the order of rows that Hugging Face's checkpoint has.
 * Owns the mapping.  Blocks stay blocks: rows move as they are; only a matrix that the checkpoint holds transposed is widened (but for packed
 * experts, which the model then holds by rows).
 *
 * What lies otherwise, and why, say llama.cpp's converters. */
#include "model/gguf_model.h"
#include "base/os.h"
#include "core/op.h"
#include "simd/rows.h"
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 256, PARTS_MAX = 1024 };

struct gguf_model {
    RY_VEC(gguf_file *) files; /* one, or the parts of a split model */
    const gguf_arch *arch;
    const model_family *family;
    model_config cfg;
};

/* ---- what both directions share ---- */

static bool is_norm(model_role r) {
    return r == ROLE_NORM || r == ROLE_ATTN_NORM || r == ROLE_ATTN_POST_NORM || r == ROLE_MLP_NORM || r == ROLE_MLP_POST_NORM || r == ROLE_Q_NORM || r == ROLE_K_NORM;
}

gguf_layout gguf_layout_of(const gguf_arch *a, const model_config *c, model_role r, bool bias) {
    if (a->pairs && (r == ROLE_Q || r == ROLE_K)) return LAYOUT_PAIRS;
    if (r == ROLE_QKV && c->qkv == QKV_BY_HEAD) return LAYOUT_BY_HEAD;
    if (c->norm_plus_one && is_norm(r) && !bias) return LAYOUT_PLUS_ONE;
    if (r == ROLE_EXPERT_GATE_UP) return LAYOUT_ALTERNATE;
    if (r == ROLE_EXPERT_DOWN && c->packed_experts && !bias) return LAYOUT_TRANSPOSED;
    if (c->transposed && !bias && (r == ROLE_QKV || r == ROLE_O || r == ROLE_UP || r == ROLE_DOWN)) return LAYOUT_TRANSPOSED;
    return LAYOUT_SAME;
}

int64_t gguf_row(gguf_layout l, const model_config *c, int64_t r) {
    int64_t D = c->head_dim, half = D / 2, head = r / D, d = r % D;
    if (l == LAYOUT_PAIRS) return head * D + (d < half ? 2 * d : 2 * (d - half) + 1);
    if (l == LAYOUT_BY_HEAD) return (head % 3) * c->num_attention_heads * D + head / 3 * D + d;
    return r;
}

static const char *pattern_of(const model_family *f, model_role r) { return f->gguf_names[r] ? f->gguf_names[r] : model_roles[r].gguf; }

void gguf_tensor_name(char *out, size_t size, const model_family *f, model_role role, int64_t layer, bool bias) {
    const char *from = pattern_of(f, role), *dot = strrchr(from, '.');
    size_t at = 0;
    for (; *from && at + 1 < size && !(bias && from == dot); from++) {
        if (*from == '#') at += (size_t)snprintf(out + at, size - at, "%lld", (long long)layer);
        else out[at++] = *from;
    }
    if (at < size) snprintf(out + at, size - at, "%s", bias ? ".bias" : "");
}

/* Is `name` what the pattern stands for, or its bias? */
static bool is_named(const char *pattern, const char *name, int64_t *layer, bool *bias) {
    static const char weight[] = ".weight";
    *layer = -1;
    *bias = false;
    for (; *pattern; pattern++) {
        if (*pattern == '#') {
            int64_t n = 0;
            int digits = 0;
            for (; *name >= '0' && *name <= '9' && digits < 9; name++, digits++) n = 10 * n + (*name - '0');
            if (!digits) return false;
            *layer = n;
        } else if (!strcmp(pattern, weight) && !strcmp(name, ".bias")) return *bias = true;
        else if (*pattern != *name++) return false;
    }
    return !*name;
}

/* ---- names ---- */

typedef struct source_how {
    gguf_layout layout;
    const gguf_tensor *a, *b; /* b: up beside gate; the values' half of latent attention */
    size_t skip;              /* rows of a before the first */
    bool latent;              /* a and b: k_b and v_b of latent attention */
} source_how;

typedef struct namer {
    model_source *s;
    struct gguf_model *g;
    const gguf_tensor *t;
    const char *file;
} namer;

static ry_status add(const namer *n, const model_tensor *role, int64_t part, const ry_spec *spec, const void *data, const source_how *how) {
    char name[NAME_MAX_BYTES];
    model_stored *t = RY_PUSH(&n->s->at);
    if (!t) return RY_ENOMEM;
    *t = (model_stored){.type = gguf_tensor_type_name(n->t->type_number), .file = n->file, .spec = *spec, .data = how ? NULL : data};
    t->turned = role && experts_by_rows(&n->g->cfg, role->role, role->bias, spec->dtype);
    if (role) model_name(name, sizeof name, n->g->family, n->g->family->prefix ? n->g->family->prefix : "model.", role, part);
    if (!(t->name = ry_arena_strdup(&n->s->arena, role ? name : n->t->name))) return RY_ENOMEM;
    if (spec->dtype) RY_TRY(ry_spec_bytes(&t->bytes, spec));
    if (!how) return RY_OK;
    source_how *kept = RY_NEW(&n->s->arena, source_how, 1);
    if (!kept) return RY_ENOMEM;
    *kept = *how;
    t->how = kept;
    return RY_OK;
}

static void insert_one(ry_spec *s, int at) { /* a dim of size 1 */
    for (int i = s->rank++; i > at; i--) s->dim[i] = s->dim[i - 1];
    s->dim[at] = 1;
}

/* A dtype whose elements may stand anywhere. */
static ry_dtype loose(ry_dtype t) { return ry_dtype_row(t)->kind == RY_KIND_BLOCK ? RY_F32 : t; }

/* Rows [from, from + count) of t, of all that lies before its last dim. */
static const void *rows_at(const gguf_tensor *t, int64_t from) {
    return (const char *)t->data + (t->spec.rank ? ry_bytes_of(t->type, from * t->spec.dim[t->spec.rank - 1]) : 0);
}

/* One tensor that holds the same thing of many experts (or heads): each by itself. first: rows of each before what is meant. */
static ry_status add_parts(const namer *n, const model_tensor *role, int64_t first, int64_t rows) {
    const ry_spec *s = &n->t->spec;
    ry_spec one = {.dtype = s->dtype, .rank = s->rank - 1};
    int64_t each = s->rank > 2 ? s->dim[1] : 1;
    for (int i = 0; i < one.rank; i++) one.dim[i] = s->dim[i + 1];
    if (rows) one.dim[0] = rows;
    for (int64_t i = 0; i < s->dim[0]; i++)
        RY_TRY(add(n, role, i, &one, rows_at(n->t, i * each + first), NULL));
    return RY_OK;
}

/* q, k and v in one matrix, where the checkpoint has three. */
static ry_status add_split(const namer *n, int64_t layer, bool bias) {
    static const model_role roles[] = {ROLE_Q, ROLE_K, ROLE_V};
    const model_config *c = &n->g->cfg;
    int64_t at = 0;
    bool vector = n->t->spec.rank == 1;
    for (int i = 0; i < 3; i++) {
        int64_t rows = (i ? c->num_key_value_heads : c->num_attention_heads) * c->head_dim;
        ry_spec s = n->t->spec;
        s.dim[0] = rows;
        if (at + rows > n->t->spec.dim[0]) RY_FAIL(RY_ESHAPE, "%s: tensor %s has %lld rows, q, k and v need more", n->file, n->t->name, (long long)n->t->spec.dim[0]);
        gguf_layout l = gguf_layout_of(n->g->arch, c, roles[i], bias);
        const void *data = vector ? (const char *)n->t->data + ry_bytes_of(n->t->type, at) : rows_at(n->t, at);
        RY_TRY(add(n, &(model_tensor){.role = roles[i], .bias = bias, .layer = layer}, 0, &s, data,
                   l == LAYOUT_SAME ? NULL : &(source_how){.layout = l, .a = n->t, .skip = (size_t)at}));
        at += rows;
    }
    return RY_OK;
}

/* The partner of a tensor, by what stands in the place of a word of its name. */
static const gguf_tensor *partner(const namer *n, const char *word, const char *other) {
    char name[NAME_MAX_BYTES];
    const char *at = strstr(n->t->name, word);
    if (!at) return NULL;
    snprintf(name, sizeof name, "%.*s%s%s", (int)(at - n->t->name), n->t->name, other, at + strlen(word));
    for (size_t i = 0; i < n->g->files.n; i++) {
        const gguf_tensor *t = gguf_tensor_find(n->g->files.at[i], name);
        if (t) return t;
    }
    return NULL;
}

/* gpt-oss: gate [E,F,C] and up are one tensor of the checkpoint, [E,C,2F] (of blocks: [E,2F,C]); their biases [E,F] one of [E,2F]. */
static ry_status add_alternate(const namer *n, int64_t layer, bool bias) {
    const gguf_tensor *up = partner(n, "ffn_gate_exps", "ffn_up_exps");
    ry_spec s = n->t->spec;
    if (!up || up->spec.rank != s.rank || up->type != n->t->type || memcmp(up->spec.dim, s.dim, sizeof s.dim) || s.rank != (bias ? 2 : 3))
        RY_FAIL(RY_EFORMAT, "%s: tensor %s has no ffn_up_exps of its shape and type beside it", n->file, n->t->name);
    if (bias) s.dtype = loose(s.dtype);
    if (bias || s.dtype != loose(s.dtype)) s.dim[1] *= 2;
    else s.dim[1] = n->t->spec.dim[2], s.dim[2] = 2 * n->t->spec.dim[1];
    return add(n, &(model_tensor){.role = ROLE_EXPERT_GATE_UP, .bias = bias, .layer = layer}, 0, &s, NULL, &(source_how){.layout = LAYOUT_ALTERNATE, .a = n->t, .b = up});
}

/* Latent attention: k_b [H,rank,nope] and v_b [H,value,rank] are one matrix of the checkpoint, [H(nope+value),rank]. */
static ry_status add_latent(const namer *n, int64_t layer) {
    const gguf_tensor *v = partner(n, "attn_k_b", "attn_v_b");
    const model_config *c = &n->g->cfg;
    const ry_spec *k = &n->t->spec;
    if (!v || k->rank != 3 || v->spec.rank != 3 || k->dim[0] != v->spec.dim[0] || k->dim[1] != v->spec.dim[2] || k->dim[2] != c->nope_dim || v->spec.dim[1] != c->value_dim || !v->type)
        RY_FAIL(RY_EFORMAT, "%s: tensor %s has no attn_v_b beside it that fits", n->file, n->t->name);
    ry_spec s = RY_SHAPE(loose(k->dtype), k->dim[0] * (c->nope_dim + c->value_dim), k->dim[1]);
    if (s.dtype != v->type) s.dtype = RY_F32;
    return add(n, &(model_tensor){.role = ROLE_KV_B, .layer = layer}, 0, &s, NULL, &(source_how){.a = n->t, .b = v, .latent = true});
}

static ry_status add_role(const namer *n, const model_tensor *role) {
    const model_config *c = &n->g->cfg;
    gguf_layout l = gguf_layout_of(n->g->arch, c, role->role, role->bias);
    ry_spec s = n->t->spec;
    source_how how = {.layout = l, .a = n->t};
    if (role->role == ROLE_CONV && s.rank == 2) insert_one(&s, 1);
    if (role->role == ROLE_SHARED_ROUTER && s.rank == 1) insert_one(&s, 0);
    if (model_has_parts(n->g->family, role->role) && s.rank > 1) return add_parts(n, role, 0, 0);
    if (l == LAYOUT_PLUS_ONE) s.dtype = RY_F32;
    if (l == LAYOUT_TRANSPOSED && experts_by_rows(c, role->role, role->bias, s.dtype)) l = LAYOUT_SAME;
    if (l == LAYOUT_TRANSPOSED && s.rank > 1) {
        int64_t last = s.dim[s.rank - 1];
        s.dim[s.rank - 1] = s.dim[s.rank - 2];
        s.dim[s.rank - 2] = last;
        s.dtype = loose(s.dtype);
    }
    int64_t unit = l == LAYOUT_PAIRS ? c->head_dim : l == LAYOUT_BY_HEAD ? 3 * c->head_dim * c->num_attention_heads : 1;
    if (s.rank < 1 || (l != LAYOUT_SAME && s.dim[0] % unit))
        RY_FAIL(RY_ESHAPE, "%s: tensor %s is %s, which the config does not allow", n->file, n->t->name, ry_show(&n->t->spec).s);
    return add(n, role, 0, &s, n->t->data, l == LAYOUT_SAME ? NULL : &how);
}

/* Divisors of frequencies are the configuration's. */
static bool is_config(const char *name) { return !strncmp(name, "rope_f", 6); }

static ry_status name_tensor(const namer *n) {
    const model_config *c = &n->g->cfg;
    model_tensor t = {0};
    if (is_config(n->t->name)) return RY_OK;
    if (!n->t->type)
        RY_FAIL(RY_EUNSUPPORTED, "%s: tensor %s is %s, which Rusty does not compute with; take a file of Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL, MXFP4, F16, BF16 or F32", n->file, n->t->name,
                gguf_tensor_type_name(n->t->type_number));
    if (c->kv_rank && is_named("blk.#.attn_k_b.weight", n->t->name, &t.layer, &t.bias) && !t.bias) return add_latent(n, t.layer);
    if (c->kv_rank && is_named("blk.#.attn_v_b.weight", n->t->name, &t.layer, &t.bias) && !t.bias) return RY_OK; /* with k_b */
    if (c->qkv == QKV_SEPARATE && is_named("blk.#.attn_qkv.weight", n->t->name, &t.layer, &t.bias) && n->t->spec.rank) return add_split(n, t.layer, t.bias);
    if (c->packed_experts && is_named("blk.#.ffn_gate_exps.weight", n->t->name, &t.layer, &t.bias)) return add_alternate(n, t.layer, t.bias);
    if (c->packed_experts && is_named("blk.#.ffn_up_exps.weight", n->t->name, &t.layer, &t.bias)) return RY_OK; /* with gate */
    if (is_named("blk.#.ffn_gate_up_exps.weight", n->t->name, &t.layer, &t.bias) && !t.bias && !c->packed_experts && n->t->spec.rank == 3) {
        int64_t half = n->t->spec.dim[1] / 2;
        t.role = ROLE_EXPERT_GATE;
        RY_TRY(add_parts(n, &t, 0, half));
        t.role = ROLE_EXPERT_UP;
        return add_parts(n, &t, half, half);
    }
    for (int r = 0; r < ROLES; r++) {
        t.role = (model_role)r;
        if (r == (c->fused_gate_up ? ROLE_UP : ROLE_GATE_UP) || r == ROLE_EXPERT_GATE_UP) continue;
        if (!is_named(pattern_of(n->g->family, t.role), n->t->name, &t.layer, &t.bias)) continue;
        if (t.layer >= c->num_hidden_layers) return RY_OK; /* of layers that predict further tokens */
        return add_role(n, &t);
    }
    return add(n, NULL, 0, &n->t->spec, n->t->data, NULL); /* the loader says that nobody needs it */
}

/* ---- opening ---- */

/* The other parts of a split model: NAME-00001-of-00003.gguf. */
static ry_status open_parts(struct gguf_model *g, const char *path) {
    int64_t count = 1, at = 0;
    static const char tail[] = "-00001-of-00001.gguf";
    size_t n = strlen(path), k = sizeof tail - 1;
    RY_TRY(gguf_int(&count, g->files.at[0], "split.count", 0, PARTS_MAX, false));
    RY_TRY(gguf_int(&at, g->files.at[0], "split.no", 0, PARTS_MAX, false));
    if (count < 2) return RY_OK;
    if (at != 0 || n < k || strncmp(path + n - k, "-00001-of-", 10)) RY_FAIL(RY_EFORMAT, "%s: part %lld of %lld; give the first, NAME-00001-of-%05lld.gguf", path, (long long)at + 1, (long long)count, (long long)count);
    ry_text name = {0};
    ry_status st = RY_OK;
    for (int64_t i = 2; i <= count && st == RY_OK; i++) {
        ry_text_add(&name, path, n - k);
        ry_text_printf(&name, "-%05lld-of-%05lld.gguf", (long long)i, (long long)count);
        st = ry_text_status(&name);
        gguf_file **slot = st == RY_OK ? RY_PUSH(&g->files) : NULL;
        if (st == RY_OK) st = slot ? gguf_open(slot, name.at) : RY_ENOMEM;
        ry_text_free(&name);
    }
    return st;
}

ry_status gguf_source_open(model_source *s, const char *path) {
    struct gguf_model *g = s->gguf = ry_mem_zalloc(sizeof *g);
    if (!g) return RY_ENOMEM;
    gguf_file **slot = RY_PUSH(&g->files);
    if (!slot) return RY_ENOMEM;
    RY_TRY(gguf_open(slot, path));
    RY_TRY(open_parts(g, path));
    RY_TRY(gguf_arch_of(&g->arch, *slot));
    RY_TRY(gguf_config_read(&s->config, *slot));
    g->family = model_family_find(g->arch->model_type);
    RY_TRY(config_read(&g->cfg, g->family, s->config, path, &s->arena, 0));
    RY_TRY(config_complete(s->config, &g->cfg, g->family));
    for (size_t k = 0; k < g->files.n; k++)
        for (size_t i = 0; i < gguf_tensor_count(g->files.at[k]); i++)
            RY_TRY(name_tensor(&(namer){s, g, gguf_tensor_at(g->files.at[k], i), gguf_name(g->files.at[k])}));
    return RY_OK;
}

const model_config *gguf_source_config(const model_source *s) { return &s->gguf->cfg; }

void gguf_source_close(struct gguf_model *g) {
    if (!g) return;
    for (size_t i = 0; i < g->files.n; i++) gguf_close(g->files.at[i]);
    RY_VEC_FREE(&g->files);
    ry_mem_free(g);
}

/* ---- reading what is made ---- */

/* Rows, or the elements of a vector, in the checkpoint's order. */
static void read_rows(char *out, const model_stored *t, const source_how *h, const model_config *c) {
    int64_t rows = t->spec.dim[0];
    size_t bytes = rows ? t->bytes / (size_t)rows : 0;
    const char *in = (const char *)h->a->data + h->skip * bytes;
    for (int64_t r = 0; r < rows; r++) memcpy(out + (size_t)r * bytes, in + (size_t)gguf_row(h->layout, c, r) * bytes, bytes);
}

/* in [n,k] -> out, element (j, i * step + at) of rows of `width`: a transposed matrix, or every other column of one. */
static void read_turned(void *out, ry_dtype to, int64_t width, int64_t step, int64_t at, const void *in, ry_dtype from, int64_t n, int64_t k, float *buf) {
    for (int64_t i = 0; i < n; i++) {
        const float *row = ry_load_row(in, from, i * k, k, buf);
        for (int64_t j = 0; j < k; j++) ry_store_row(out, to, j * width + i * step + at, 1, &row[j]);
    }
}

static void read_latent(void *out, const model_stored *t, const source_how *h, const model_config *c, float *buf) {
    int64_t N = c->nope_dim, V = c->value_dim, K = h->a->spec.dim[1], H = h->a->spec.dim[0];
    for (int64_t i = 0; i < H; i++) {
        char *head = (char *)out + ry_bytes_of(t->spec.dtype, i * (N + V) * K);
        read_turned(head, t->spec.dtype, K, 1, 0, rows_at(h->a, i * K), h->a->type, K, N, buf);
        for (int64_t r = 0; r < V; r++) ry_store_row(head, t->spec.dtype, (N + r) * K, K, ry_load_row(h->b->data, h->b->type, (i * V + r) * K, K, buf));
    }
}

ry_status gguf_source_read(const model_source *s, const model_stored *t, void *out) {
    const model_config *c = &s->gguf->cfg;
    const source_how *h = t->how;
    const ry_spec *in = &h->a->spec;
    int64_t longest = 1;
    for (int i = 0; i < in->rank; i++)
        if (in->dim[i] > longest) longest = in->dim[i];
    if (h->layout == LAYOUT_PAIRS || h->layout == LAYOUT_BY_HEAD) {
        read_rows(out, t, h, c);
        return RY_OK;
    }
    if (h->layout == LAYOUT_ALTERNATE && t->turned) {
        size_t row = ry_bytes_of(t->spec.dtype, t->spec.dim[2]);
        for (int64_t r = 0; r < t->spec.dim[0] * t->spec.dim[1]; r++)
            memcpy((char *)out + (size_t)r * row, (const char *)(r % 2 ? h->b : h->a)->data + (size_t)(r / 2) * row, row);
        return RY_OK;
    }
    if (h->layout == LAYOUT_PLUS_ONE) longest = ry_count(in);
    float *buf = ry_mem_alloc(ry_mem_size((size_t)longest, sizeof *buf, 0));
    if (!buf) return RY_ENOMEM;
    int64_t E = in->rank > 2 ? in->dim[0] : 1, n = in->rank > 1 ? in->dim[in->rank - 2] : 1, k = in->dim[in->rank - 1];
    if (h->latent) read_latent(out, t, h, c, buf);
    else if (h->layout == LAYOUT_PLUS_ONE) {
        const float *x = ry_load_row(h->a->data, h->a->type, 0, ry_count(in), buf);
        for (int64_t i = 0; i < ry_count(in); i++) ((float *)out)[i] = x[i] - 1;
    } else if (h->layout == LAYOUT_TRANSPOSED) {
        for (int64_t e = 0; e < E; e++) read_turned((char *)out + ry_bytes_of(t->spec.dtype, e * n * k), t->spec.dtype, n, 1, 0, rows_at(h->a, e * n), h->a->type, n, k, buf);
    } else if (in->rank == 2) { /* biases, [E,F] each */
        for (int w = 0; w < 2; w++)
            for (int64_t e = 0; e < n; e++) {
                const float *row = ry_load_row((w ? h->b : h->a)->data, h->a->type, e * k, k, buf);
                for (int64_t i = 0; i < k; i++) ry_store_row(out, t->spec.dtype, (e * k + i) * 2 + w, 1, &row[i]);
            }
    } else
        for (int w = 0; w < 2; w++)
            for (int64_t e = 0; e < E; e++)
                read_turned((char *)out + ry_bytes_of(t->spec.dtype, e * 2 * n * k), t->spec.dtype, 2 * n, 2, w, rows_at(w ? h->b : h->a, e * n), h->a->type, n, k, buf);
    ry_mem_free(buf);
    return RY_OK;
}
