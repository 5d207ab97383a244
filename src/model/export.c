/* export.c - a model written anew: as a GGUF file, or as a folder of safetensors.  One tensor is in memory at a time.  Owns nothing after it
 * returns; a file that reads back as another model is not left behind.
 *
 * Types: vectors, norms, routers, positions, sinks and short convolutions stay f32. With a block type, the matrix behind the logits becomes
 * q6_K (q8_0 stays q8_0), and of a model with experts only they become mxfp4, the others q8_0, as llama.cpp's quantiser does; rows that are no multiple of the block take a smaller block, or f16. */
#include "base/os.h"
#include "base/pool.h"
#include "core/op.h"
#include "io/gguf_write.h"
#include "io/tokenizer/gguf_vocab.h"
#include "model/gguf_model.h"
#include "simd/rows.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One tensor of the file: a variable, or one of the two that gpt-oss's gate and up are. */
typedef struct export_tensor {
    size_t var;
    gguf_layout layout;
    int which;         /* of gate and up */
    bool by_rows;      /* experts_by_rows: of LAYOUT_ALTERNATE rows alternate, not columns */
    const float *data; /* frequencies: given */
} export_tensor;

typedef struct exporter {
    const ry_model *m;
    const gguf_arch *arch;
    ry_dtype to;       /* RY_NONE: each as it is */
    ry_arena arena;
    RY_VEC(ry_named_data) out;
    RY_VEC(export_tensor) tensor;
    ry_pool *pool;
    void *raw, *made;
    size_t fallbacks;
    const char *first_fallback;
    char no_tokenizer[512]; /* why there is none; told when all is written */
    /* of the tensor that is being made */
    const export_tensor *now;
    const ry_named_data *now_out;
    int64_t row, rows, wide; /* length of a row, how many, and of the checkpoint's matrix */
} exporter;

/* ---- which type ---- */

static bool stays_f32(model_role r, bool bias, const ry_spec *s) {
    return bias || s->rank < 2 || r == ROLE_NORM || r == ROLE_ATTN_NORM || r == ROLE_ATTN_POST_NORM || r == ROLE_MLP_NORM || r == ROLE_MLP_POST_NORM ||
           r == ROLE_Q_NORM || r == ROLE_K_NORM || r == ROLE_POSITIONS || r == ROLE_ROUTER || r == ROLE_CONV || r == ROLE_SINKS;
}

static ry_dtype type_for(exporter *x, const char *name, model_role r, bool bias, const ry_spec *s) {
    static const struct { ry_dtype from, to; } smaller[] = {{RY_Q2_K, RY_Q4_0}, {RY_Q3_K, RY_Q4_0}, {RY_Q4_K, RY_Q5_0}, {RY_Q5_K, RY_Q5_1}, {RY_Q6_K, RY_Q8_0}};
    ry_dtype t = x->to;
    int64_t row = s->rank ? s->dim[s->rank - 1] : 1;
    if (stays_f32(r, bias, s)) return RY_F32;
    if (!t) return s->dtype;
    if (ry_dtype_row(t)->kind != RY_KIND_BLOCK) return t;
    if (t == RY_MXFP4 && x->m->cfg.experts && (r < ROLE_EXPERT_GATE || r > ROLE_EXPERT_DOWN)) t = RY_Q8_0;
    if (t != RY_Q8_0 && (r == ROLE_HEAD || (r == ROLE_EMBED && x->m->cfg.tie_word_embeddings))) t = RY_Q6_K;
    ry_dtype fits = t;
    for (size_t i = 0; i < sizeof smaller / sizeof *smaller; i++)
        if (row % ry_dtype_row(t)->block && smaller[i].from == t) fits = smaller[i].to;
    if (row % ry_dtype_row(fits)->block) fits = RY_F16;
    if (fits != t && !x->fallbacks++) x->first_fallback = ry_arena_strdup(&x->arena, name);
    return fits;
}

/* ---- the list ---- */

static ry_status add(exporter *x, const char *name, const ry_spec *s, const export_tensor *t) {
    ry_named_data *d = RY_PUSH(&x->out);
    export_tensor *e = d ? RY_PUSH(&x->tensor) : NULL;
    if (!e || !(name = ry_arena_strdup(&x->arena, name))) return RY_ENOMEM;
    *d = (ry_named_data){.name = name, .spec = *s};
    *e = *t;
    return RY_OK;
}

static ry_status add_var(exporter *x, size_t i) {
    const model_tensor *t = &x->m->tensors.at[i];
    export_tensor e = {.var = i, .layout = gguf_layout_of(x->arch, &x->m->cfg, t->role, t->bias)};
    ry_spec s = *ry_var_spec(x->m->vars.at[i]);
    int64_t last = s.rank ? s.dim[s.rank - 1] : 1;
    e.by_rows = experts_by_rows(&x->m->cfg, t->role, t->bias, s.dtype);
    if (e.by_rows && e.layout == LAYOUT_TRANSPOSED) e.layout = LAYOUT_SAME;
    char name[128];
    if (t->role == ROLE_CONV && s.rank == 3) s.rank = 2, s.dim[1] = s.dim[2];
    if (t->role == ROLE_SHARED_ROUTER && s.rank == 2) s.rank = 1, s.dim[0] = s.dim[1];
    if (e.layout == LAYOUT_TRANSPOSED) s.dim[s.rank - 1] = s.dim[s.rank - 2], s.dim[s.rank - 2] = last;
    if (e.layout == LAYOUT_ALTERNATE) {
        if (t->bias || e.by_rows) s.dim[1] /= 2;
        else s.dim[2] = s.dim[1], s.dim[1] = last / 2;
        for (; e.which < 2; e.which++) {
            gguf_tensor_name(name, sizeof name, x->m->family, e.which ? ROLE_EXPERT_UP : ROLE_EXPERT_GATE, t->layer, t->bias);
            s.dtype = type_for(x, name, t->role, t->bias, &s);
            RY_TRY(add(x, name, &s, &e));
        }
        return RY_OK;
    }
    gguf_tensor_name(name, sizeof name, x->m->family, t->role, t->layer, t->bias);
    s.dtype = type_for(x, name, t->role, t->bias, &s);
    return add(x, name, &s, &e);
}

/* Divisors of the frequencies: Llama 3's, or LongRoPE's two sets. */
static ry_status add_frequencies(exporter *x) {
    const model_config *c = &x->m->cfg;
    const rope_config *r = &c->rope[0];
    int64_t n = rope_rotary(c, 0) / 2;
    if (c->rope_layers == ROPE_NEVER || (r->kind != ROPE_LLAMA3 && r->kind != ROPE_LONGROPE)) return RY_OK;
    float *v = RY_NEW(&x->arena, float, 2 * n);
    double scale;
    ry_spec s = RY_SHAPE(RY_F32, n);
    if (!v) return RY_ENOMEM;
    if (r->kind == ROPE_LLAMA3) {
        rope_frequencies(c, 0, 1, v, &scale);
        for (int64_t i = 0; i < n; i++) v[i] = (float)(pow(r->theta, -(double)i / (double)n) / (double)v[i]);
        return add(x, "rope_freqs.weight", &s, &(export_tensor){.data = v});
    }
    for (int64_t i = 0; i < n; i++) v[i] = (float)r->long_factor[i], v[n + i] = (float)r->short_factor[i];
    if (!memcmp(v, v + n, (size_t)n * sizeof *v) && r->attention_factor == 1) return add(x, "rope_freqs.weight", &s, &(export_tensor){.data = v});
    RY_TRY(add(x, "rope_factors_long.weight", &s, &(export_tensor){.data = v}));
    return add(x, "rope_factors_short.weight", &s, &(export_tensor){.data = v + n});
}

/* ---- making one ---- */

static void make_row(const exporter *x, int64_t r, float *buf) {
    const export_tensor *e = x->now;
    ry_dtype from = ry_var_spec(x->m->vars.at[e->var])->dtype, to = x->now_out->spec.dtype;
    const ry_spec *s = &x->now_out->spec;
    int64_t L = x->row, at = gguf_row(e->layout, &x->m->cfg, r);
    const float *row = buf;
    if (e->layout == LAYOUT_ALTERNATE && e->by_rows) row = ry_load_row(x->raw, from, (2 * r + e->which) * L, L, buf);
    else if (e->layout == LAYOUT_TRANSPOSED || (e->layout == LAYOUT_ALTERNATE && s->rank == 3)) { /* a column of the checkpoint's matrix, [L,wide] */
        int64_t n = s->dim[s->rank - 2], column = e->layout == LAYOUT_TRANSPOSED ? r % n : 2 * (r % n) + e->which, first = r / n * L * x->wide;
        for (int64_t j = 0; j < L; j++) {
            float one;
            buf[j] = *ry_load_row(x->raw, from, first + j * x->wide + column, 1, &one);
        }
    } else if (e->layout == LAYOUT_ALTERNATE) {
        for (int64_t j = 0; j < L; j++) {
            float one;
            buf[j] = *ry_load_row(x->raw, from, r * x->wide + 2 * j + e->which, 1, &one);
        }
    } else {
        row = ry_load_row(x->raw, from, r * L, L, buf);
        if (e->layout == LAYOUT_PLUS_ONE) {
            for (int64_t j = 0; j < L; j++) buf[j] = row[j] + 1;
            row = buf;
        }
    }
    ry_store_row(x->made, to, at * L, L, row);
}

enum { ROWS_A_PART = 16 };
static void make_part(void *ud, int64_t part, int worker) {
    const exporter *x = ud;
    float *buf = ry_pool_scratch(x->pool, worker);
    for (int64_t r = part * ROWS_A_PART; r < (part + 1) * ROWS_A_PART && r < x->rows; r++) make_row(x, r, buf);
}

static ry_status make(void *ud, size_t i, const void **data) {
    exporter *x = ud;
    const export_tensor *e = x->now = &x->tensor.at[i];
    const ry_named_data *d = x->now_out = &x->out.at[i];
    *data = e->data;
    if (e->data) return RY_OK;
    const ry_spec *held = ry_var_spec(x->m->vars.at[e->var]);
    size_t raw, bytes;
    ry_mem_free(x->raw);
    ry_mem_free(x->made);
    x->raw = x->made = NULL;
    RY_TRY(ry_spec_bytes(&raw, held));
    RY_TRY(ry_spec_bytes(&bytes, &d->spec));
    if (!(x->raw = ry_mem_alloc(raw))) return RY_ENOMEM;
    RY_TRY(ry_var_read(x->m->vars.at[e->var], x->raw, raw));
    *data = x->raw;
    if (held->dtype == d->spec.dtype && e->layout == LAYOUT_SAME) return RY_OK;
    if (!(*data = x->made = ry_mem_alloc(bytes))) return RY_ENOMEM;
    bool two = e->layout == LAYOUT_ALTERNATE && e->by_rows, rows_move = e->layout == LAYOUT_PAIRS || e->layout == LAYOUT_BY_HEAD;
    x->wide = held->rank ? held->dim[held->rank - 1] : 1;
    x->row = rows_move && d->spec.rank == 1 ? 1 : d->spec.rank ? d->spec.dim[d->spec.rank - 1] : 1;
    x->rows = x->row ? ry_count(&d->spec) / x->row : 0;
    if ((rows_move || two) && held->dtype == d->spec.dtype) { /* blocks too move as they are */
        size_t each = ry_bytes_of(held->dtype, x->row);
        for (int64_t r = 0; r < x->rows && two; r++) memcpy((char *)x->made + (size_t)r * each, (const char *)x->raw + (size_t)(2 * r + e->which) * each, each);
        for (int64_t r = 0; r < x->rows && !two; r++) memcpy((char *)x->made + (size_t)gguf_row(e->layout, &x->m->cfg, r) * each, (const char *)x->raw + (size_t)r * each, each);
        return RY_OK;
    }
    ry_pool_begin(x->pool);
    ry_status st = ry_pool_reserve(x->pool, (size_t)x->row * sizeof(float));
    if (st == RY_OK) ry_pool_run(x->pool, (x->rows + ROWS_A_PART - 1) / ROWS_A_PART, make_part, x);
    ry_pool_end(x->pool);
    return st;
}

/* ---- does it read back as the same model? ---- */

static bool near(double a, double b) { return a == b || fabs(a - b) <= 1e-5 * fmax(fabs(a), fabs(b)); }

static const char *difference(const model_config *a, const model_config *b, const model_family *f) {
    /* what these decide is compared by layer */
    static const size_t by_layer[] = {offsetof(model_config, window_pattern), offsetof(model_config, window_first), offsetof(model_config, use_sliding_window),
                                      offsetof(model_config, sliding_window), offsetof(model_config, no_rope_interval), offsetof(model_config, sparse_step),
                                      offsetof(model_config, dense_first), offsetof(model_config, initializer_range)};
    for (size_t i = 0; i < 2; i++)
        for (const model_key *k = i ? f->keys : model_common_keys; k && k->name; k++) {
            const void *x = (const char *)a + k->at, *y = (const char *)b + k->at;
            bool skip = k->kind == KEY_REFUSE;
            for (size_t s = 0; s < sizeof by_layer / sizeof *by_layer; s++) skip |= by_layer[s] == k->at;
            if (skip) continue;
            if (k->kind == KEY_INT && *(const int64_t *)x != *(const int64_t *)y) return k->name;
            if (k->kind == KEY_REAL && !near(*(const double *)x, *(const double *)y)) return k->name;
            if (k->kind == KEY_BOOL && *(const bool *)x != *(const bool *)y) return k->name;
            if (k->kind == KEY_ACT && *(const nn_act *)x != *(const nn_act *)y) return k->name;
        }
    if (!near(a->attention_scale, b->attention_scale)) return "the scale of attention";
    if (!near(a->embedding_multiplier, b->embedding_multiplier) || !near(a->residual_multiplier, b->residual_multiplier) || !near(a->logits_multiplier, b->logits_multiplier))
        return "a multiplier";
    if (a->block != b->block || a->qk_norm != b->qk_norm) return "the order of norms";
    for (int64_t i = 0; i < a->num_hidden_layers; i++) {
        const model_layer *x = &a->layer[i], *y = &b->layer[i];
        if (x->window != y->window || (x->window && a->sliding_window != b->sliding_window)) return "which layers have a window";
        if (x->rope != y->rope) return "which layers turn";
        if (x->experts != y->experts || x->conv != y->conv) return "what the layers are";
    }
    return NULL;
}

static ry_status same_frequencies(const char **differs, const model_config *a, const model_config *b) {
    for (int which = 0; which < MODEL_ROPES && a->rope_layers != ROPE_NEVER; which++)
        for (int longer = 0; longer < 2 && a->rope[which].theta > 0; longer++) {
            int64_t n = rope_rotary(a, which) / 2, length = longer ? a->max_position_embeddings : 1;
            if (n != rope_rotary(b, which) / 2) return *differs = "the part of a head that turns", RY_OK;
            float *x = ry_mem_alloc((size_t)n * 2 * sizeof *x);
            double sx, sy;
            if (!x) return RY_ENOMEM;
            rope_frequencies(a, which, length, x, &sx);
            rope_frequencies(b, which, length, x + n, &sy);
            bool same = near(sx, sy);
            for (int64_t i = 0; i < n; i++) same &= near((double)x[i], (double)x[n + i]);
            ry_mem_free(x);
            if (!same) return *differs = "the frequencies of rotary embeddings", RY_OK;
        }
    return RY_OK;
}

static ry_status check(const exporter *x, const char *path) {
    model_source *s;
    RY_TRY(source_open(&s, path));
    const model_config *c = gguf_source_config(s);
    const char *differs = difference(&x->m->cfg, c, x->m->family);
    ry_status st = differs ? RY_OK : same_frequencies(&differs, &x->m->cfg, c);
    source_close(s);
    if (differs) RY_FAIL(RY_EUNSUPPORTED, "GGUF's %s cannot express this model: %s would be another", x->arch->name, differs);
    return st;
}

/* ---- GGUF ---- */

static uint32_t file_type(ry_dtype t) { /* what llama.cpp calls them */
    static const struct { ry_dtype t; uint32_t number; } types[] = {{RY_F32, 0}, {RY_F16, 1}, {RY_Q4_0, 2}, {RY_Q4_1, 3}, {RY_Q8_0, 7}, {RY_Q5_0, 8}, {RY_Q5_1, 9},
        {RY_Q2_K, 10}, {RY_Q3_K, 11}, {RY_Q4_K, 14}, {RY_Q5_K, 16}, {RY_Q6_K, 18}, {RY_IQ4_NL, 25}, {RY_BF16, 32}, {RY_MXFP4, 38}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].t == t) return types[i].number;
    return 0;
}

/* The chat template that is a file of its own, or a GGUF file's; NULL where there is none. *text: ry_mem_free. */
static ry_status template_of(char **text, const char *model) {
    size_t n;
    *text = NULL;
    if (os_kind(model) == OS_FOLDER) {
        char *path = os_join(model, "chat_template.jinja");
        ry_status st = !path ? RY_ENOMEM : os_kind(path) == OS_FILE ? os_file_read(path, text, &n) : RY_OK;
        ry_mem_free(path);
        return st;
    }
    gguf_file *f;
    gguf_text t = {0};
    RY_TRY(gguf_open(&f, model));
    ry_status st = gguf_string(&t, f, "tokenizer.chat_template", false);
    if (st == RY_OK && t.at && !(*text = ry_mem_zalloc(t.n + 1))) st = RY_ENOMEM;
    if (*text) memcpy(*text, t.at, t.n);
    gguf_close(f);
    return st;
}

/* What a GGUF file says of its tokenizer and of itself. */
static ry_status put_from_gguf(gguf_meta *meta, const char *model) {
    static const char *const ours[] = {"general.architecture", "general.type", "general.file_type", "general.quantization_version", "general.alignment"};
    gguf_file *f;
    RY_TRY(gguf_open(&f, model));
    for (size_t i = 0; i < gguf_value_count(f); i++) {
        const gguf_value *v = gguf_value_at(f, i);
        bool keep = v->key.n > 10 && (!memcmp(v->key.at, "tokenizer.", 10) || !memcmp(v->key.at, "general.", 8));
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++) keep &= strlen(ours[k]) != v->key.n || memcmp(ours[k], v->key.at, v->key.n);
        if (keep) gguf_put_value(meta, v);
    }
    gguf_close(f);
    return RY_OK;
}

/* The tokenizer of the model; a model without one keeps its end tokens. */
static ry_status put_tokenizer(gguf_meta *meta, exporter *x, const char *model) {
    const ry_model *m = x->m;
    ry_tokenizer *t = NULL;
    char *template = NULL;
    if (os_kind(model) != OS_FOLDER) return put_from_gguf(meta, model);
    ry_status st = ry_tokenizer_open(&t, model);
    if (st == RY_OK) {
        st = template_of(&template, model);
        if (st == RY_OK) st = tok_put_gguf(meta, t, m->cfg.vocab_size, template);
        ry_mem_free(template);
        ry_tokenizer_close(t);
        return st;
    }
    if (st == RY_ENOMEM) return st;
    snprintf(x->no_tokenizer, sizeof x->no_tokenizer, "%s", ry_message());
    gguf_put_text(meta, "tokenizer.ggml.model", "none", 4);
    if (m->cfg.n_end) gguf_put_u32(meta, "tokenizer.ggml.eos_token_id", (uint32_t)m->cfg.end[0]);
    if (m->cfg.n_end > 1) gguf_put_u32(meta, "tokenizer.ggml.eot_token_id", (uint32_t)m->cfg.end[1]);
    return RY_OK;
}

static ry_status write_gguf(exporter *x, const char *model, const char *out) {
    gguf_meta meta = {0};
    const ry_model *m = x->m;
    char *temp = NULL;
    x->arch = gguf_arch_for(m->family);
    if (!x->arch) RY_FAIL(RY_EUNSUPPORTED, "GGUF has no architecture for %s", m->family->model_type);
    ry_status st = ry_pool_open(&x->pool, 0);
    if (st == RY_OK) st = gguf_config_write(&meta, x->arch, m->family, &m->cfg, m->json);
    gguf_put_u32(&meta, "general.file_type", file_type(x->to ? x->to : ry_var_spec(m->top.at[ROLE_EMBED].w)->dtype));
    gguf_put_u32(&meta, "general.quantization_version", 2);
    if (st == RY_OK) st = put_tokenizer(&meta, x, model);
    for (size_t i = 0; i < m->vars.n && st == RY_OK; i++) st = add_var(x, i);
    if (st == RY_OK) st = add_frequencies(x);
    if (st == RY_OK && !(temp = ry_mem_alloc(strlen(out) + 8))) st = RY_ENOMEM;
    if (st == RY_OK) {
        snprintf(temp, strlen(out) + 8, "%s.part", out);
        st = gguf_write(temp, &meta, x->out.n, x->out.at, make, x);
        if (st == RY_OK) {
            st = check(x, temp);
            if (st == RY_OK) st = os_rename(temp, out);
            else os_remove_tree(temp);
        }
    }
    if (st == RY_OK && *x->no_tokenizer) ry_log_line(RY_LOG_WARN, "%s; the GGUF file gets no tokenizer", x->no_tokenizer);
    bool window = false;
    for (int64_t i = 0; i < m->cfg.num_hidden_layers; i++) window |= m->cfg.layer[i].window;
    if (st == RY_OK && window && !x->arch->windows)
        ry_log_line(RY_LOG_WARN, "attention sees %lld positions back; the file says so, but llama.cpp does not look at it in %s", (long long)m->cfg.sliding_window, x->arch->name);
    if (st == RY_OK && x->fallbacks)
        ry_log_line(RY_LOG_WARN, "%zu tensors have rows that are no multiple of %s's blocks and took another type, the first: %s", x->fallbacks, ry_dtype_name(x->to), x->first_fallback ? x->first_fallback : "");
    ry_mem_free(temp);
    gguf_meta_free(&meta);
    return st;
}

/* ---- safetensors ---- */

static ry_status copy_file(const char *from, const char *to, const char *name) {
    char *a = os_join(from, name), *b = os_join(to, name), *data = NULL;
    size_t n = 0;
    ry_status st = a && b ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && os_kind(a) == OS_FILE && !(st = os_file_read(a, &data, &n))) st = os_file_write(b, data, n);
    ry_mem_free(data);
    ry_mem_free(a);
    ry_mem_free(b);
    return st;
}

/* The tokenizer and what else lies beside the weights. */
static ry_status copy_beside(const char *model, const char *out) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json",
                                        "special_tokens_map.json", "chat_template.jinja", "generation_config.json"};
    ry_status st = RY_OK;
    if (os_kind(model) == OS_FOLDER) {
        for (size_t i = 0; i < sizeof names / sizeof *names && st == RY_OK; i++) st = copy_file(model, out, names[i]);
        return st;
    }
    ry_tokenizer *t = NULL;
    char *template = NULL, *path = NULL;
    st = ry_tokenizer_open(&t, model);
    if (st == RY_OK) st = ry_tokenizer_save(t, out);
    else if (st != RY_ENOMEM) {
        ry_log_line(RY_LOG_WARN, "%s; the folder gets no tokenizer", ry_message());
        st = RY_OK;
    }
    ry_tokenizer_close(t);
    if (st == RY_OK) st = template_of(&template, model);
    if (st == RY_OK && template && !(path = os_join(out, "chat_template.jinja"))) st = RY_ENOMEM;
    if (st == RY_OK && template) st = os_file_write(path, template, strlen(template));
    ry_mem_free(path);
    ry_mem_free(template);
    return st;
}

ry_status ry_export(const char *from, const char *out, bool gguf, ry_dtype t) {
    ry_device *d = NULL;
    ry_model *m = NULL;
    char *model = NULL;
    if (!from || !out) RY_FAIL(RY_EARG, "ry_export: model and out must be given");
    if (t && (unsigned)t < RY_DTYPE_COUNT && t != RY_F32 && t != RY_F16 && t != RY_BF16 && !(gguf && ry_dtype_row(t)->kind == RY_KIND_BLOCK))
        RY_FAIL(RY_EDTYPE, "weights cannot be exported as %s", ry_dtype_name(t));
    RY_TRY(ry_model_path(&model, from));
    ry_status st = ry_device_open(&d, "cpu", NULL);
    if (st == RY_OK) st = ry_model_open(&m, d, model, NULL);
    if (st == RY_OK && !gguf && !t) {
        t = ry_var_spec(m->top.at[ROLE_EMBED].w)->dtype;
        if (ry_dtype_row(t)->kind == RY_KIND_BLOCK) t = RY_F16;
    }
    if (st == RY_OK && gguf) {
        exporter x = {.m = m, .to = t};
        st = write_gguf(&x, model, out);
        ry_pool_close(x.pool);
        ry_mem_free(x.raw);
        ry_mem_free(x.made);
        RY_VEC_FREE(&x.out);
        RY_VEC_FREE(&x.tensor);
        ry_arena_free(&x.arena);
    } else if (st == RY_OK && (st = ry_model_save(m, out, t)) == RY_OK) st = copy_beside(model, out);
    ry_model_close(m);
    ry_device_close(d);
    ry_free(model);
    return st;
}
