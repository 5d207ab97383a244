/* model.c - opening, making and using a model, whatever its family. */
#include "model/model.h"
#include "base/os.h"
#include "core/op.h"
#include "io/yaml.h"
#include <string.h>

extern const model_family model_family_llama;
static const model_family *const families[] = {&model_family_llama};

const model_family *model_family_find(const char *model_type) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i]->model_type, model_type)) return families[i];
    return NULL;
}

void ry_model_close(ry_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->vars.n; i++) ry_var_close(m->vars.at[i]);
    for (size_t i = 0; i < m->ropes.n; i++) ry_var_close(m->ropes.at[i].freq);
    RY_VEC_FREE(&m->vars);
    RY_VEC_FREE(&m->ropes);
    ry_json_free(m->json);
    source_close(m->source);
    ry_arena_free(&m->arena);
    ry_mem_free(m);
}

/* Takes json over. */
static ry_status model_new(ry_model **out, ry_device *d, ry_json *json, const char *what, int64_t vocab_size, const ry_model_options *o) {
    ry_model *m = ry_mem_zalloc(sizeof *m);
    const char *type = "llama";
    ry_status st = RY_ENOMEM;
    if (!m) {
        ry_json_free(json);
        return st;
    }
    m->dev = d;
    m->json = json;
    if (o) m->opt = *o;
    if (!m->opt.precision) m->opt.precision = RY_F32;
    RY_GO(st, fail, ry_json_need_object(json, what));
    RY_GO(st, fail, ry_json_text(&type, json, what, "model_type", false));
    m->family = model_family_find(type);
    if (!m->family) RY_GO(st, fail, ry_fail(RY_EUNSUPPORTED, "%s: model_type '%s' is not known (llama)", what, type));
    RY_GO(st, fail, config_read(&m->cfg, json, what, &m->arena, vocab_size));
    *out = m;
    return RY_OK;
fail:
    ry_model_close(m);
    return st;
}

/* Tensors that checkpoints carry and a model does not need. */
static bool harmless(const ry_model *m, const char *name) {
    size_t n = strlen(name);
    static const char tail[] = ".rotary_emb.inv_freq";
    if (m->cfg.tie_word_embeddings && !strcmp(name, "lm_head.weight")) return true;
    return n >= sizeof tail - 1 && !strcmp(name + n - (sizeof tail - 1), tail);
}

static ry_status end_tokens_of(ry_model *m, const char *folder) {
    char *path = os_join(folder, "generation_config.json");
    ry_json *j = NULL;
    ry_status st = path ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && os_kind(path) == OS_FILE) {
        st = ry_json_read(&j, path, 0);
        if (st == RY_OK) st = ry_json_need_object(j, "generation_config.json");
        if (st == RY_OK) st = config_end_tokens(&m->cfg, j, "generation_config.json");
    }
    ry_json_free(j);
    ry_mem_free(path);
    return st;
}

ry_status ry_model_open(ry_model **out, ry_device *d, const char *folder, const ry_model_options *o) {
    ry_model *m = NULL;
    model_source *source = NULL;
    if (!folder || os_kind(folder) != OS_FOLDER)
        RY_FAIL(RY_ENOENT, "%s: a model is a folder with config.json and model.safetensors", folder ? folder : "model");
    RY_TRY(source_open(&source, folder));
    ry_json *json = source->config;
    source->config = NULL;
    char *config = os_join(folder, "config.json");
    if (!config) ry_json_free(json);
    ry_status st = config ? model_new(&m, d, json, config, 0, o) : RY_ENOMEM;
    ry_mem_free(config);
    if (st != RY_OK) {
        source_close(source);
        return st;
    }
    m->source = source;
    st = end_tokens_of(m, folder);
    if (st == RY_OK) st = m->family->declare(m);
    for (size_t i = 0; st == RY_OK && i < source->at.n; i++) {
        const model_stored *t = &source->at.at[i];
        if (!t->used && !harmless(m, t->name))
            st = ry_fail(RY_EFORMAT, "%s: tensor %s is not part of a %s model of this config", t->file, t->name, m->family->model_type);
    }
    if (st != RY_OK) {
        ry_model_close(m);
        return st;
    }
    if (m->opt.master_f32) { /* all was copied */
        source_close(source);
        m->source = NULL;
    }
    *out = m;
    return RY_OK;
}

static ry_status init_from(ry_model **out, ry_device *d, ry_json *json, const char *what, int64_t vocab_size, uint64_t seed, const ry_model_options *o) {
    ry_model *m = NULL;
    RY_TRY(model_new(&m, d, json, what, vocab_size, o));
    m->seed = seed;
    ry_status st = config_complete(m->json, &m->cfg, m->family);
    if (st == RY_OK) st = m->family->declare(m);
    if (st != RY_OK) ry_model_close(m);
    else *out = m;
    return st;
}

ry_status ry_model_init(ry_model **out, ry_device *d, const char *config, int64_t vocab_size, uint64_t seed, const ry_model_options *o) {
    ry_json *json = NULL;
    char *inside = NULL;
    if (os_kind(config) == OS_FOLDER && !(inside = os_join(config, "config.json"))) return RY_ENOMEM;
    ry_status st = ry_config_read(&json, inside ? inside : config);
    if (st == RY_OK) st = init_from(out, d, json, inside ? inside : config, vocab_size, seed, o);
    ry_mem_free(inside);
    return st;
}

ry_status ry_model_init_text(ry_model **out, ry_device *d, const char *yaml, int64_t vocab_size, uint64_t seed, const ry_model_options *o) {
    ry_json *json = NULL;
    size_t n = strlen(yaml), i = strspn(yaml, " \t\r\n");
    RY_TRY(yaml[i] == '{' ? ry_json_parse(&json, yaml, n, "config", 0) : ry_yaml_parse(&json, yaml, n, "config"));
    return init_from(out, d, json, "config", vocab_size, seed, o);
}

int64_t ry_model_params(const ry_model *m) {
    int64_t n = 0;
    for (size_t i = 0; i < m->vars.n; i++) n += ry_count(ry_var_spec(m->vars.at[i]));
    return n;
}
int64_t ry_model_vocab(const ry_model *m) { return m->cfg.vocab_size; }
int64_t ry_model_context(const ry_model *m) { return m->cfg.max_position_embeddings; }
size_t ry_model_var_count(const ry_model *m) { return m->vars.n; }
ry_var *ry_model_var(const ry_model *m, size_t i) { return i < m->vars.n ? m->vars.at[i] : NULL; }
bool ry_model_is_end(const ry_model *m, int32_t id) {
    for (int i = 0; i < m->cfg.n_end; i++)
        if (m->cfg.end[i] == id) return true;
    return false;
}

/* ---- graphs ---- */

ry_status model_pass_plain(model_pass *p, ry_graph *g, ry_model *m, ry_tensor ids) {
    const ry_spec *s = ry_spec_of(g, ids);
    ry_var *freq;
    *p = (model_pass){.g = g, .m = m, .ids = ids};
    if (!s) return ry_graph_status(g) != RY_OK ? ry_graph_status(g) : ry_fail(RY_ESTALE, "model: ids is null or of an earlier step");
    if (s->rank != 2) RY_FAIL(RY_ESHAPE, "model: ids must be [B,T], it is %s", ry_show(s).s);
    RY_TRY(model_rope(m, s->dim[1], &freq, &p->rope_scale));
    ry_graph_precision(g, m->opt.precision);
    p->freq = ry_use(g, freq);
    p->pos = ry_iota(g, &RY_SHAPE(RY_I32, s->dim[1]), 0, 0, 1);
    return RY_OK;
}

ry_tensor model_append(const model_pass *p, ry_var *cache, ry_tensor x) {
    const ry_spec *s = ry_spec_of(p->g, x);
    if (!s) return RY_NULL;
    int64_t B = s->dim[0], T = s->dim[1], G = s->dim[2], D = s->dim[3], rows = ry_var_spec(cache)->dim[1] / p->sequences;
    ry_dtype t = ry_var_spec(cache)->dtype;
    if (ry_dtype_row(t)->kind == RY_KIND_BLOCK) x = ry_cast(p->g, x, t);
    x = ry_set_rows(p->g, cache, RY_RESHAPE(p->g, x, 1, B * T, G, D), p->cache_at, 1);
    if (p->sequences > 1 && p->sequence >= 0) return ry_slice(p->g, x, 1, p->sequence * rows, (p->sequence + 1) * rows, 1);
    return RY_RESHAPE(p->g, x, p->sequences, rows, G, D);
}

ry_tensor model_logits(ry_graph *g, ry_model *m, ry_tensor hidden) { return ry_linear(g, hidden, ry_use(g, m->family->head(m)), RY_NULL); }

ry_tensor ry_model_logits(ry_graph *g, ry_model *m, ry_tensor ids) {
    model_pass p;
    ry_status st = model_pass_plain(&p, g, m, ids);
    if (st != RY_OK) return ry_graph_fail(g, st, "%s", ry_message());
    return model_logits(g, m, m->family->hidden(&p));
}

ry_tensor model_loss(const model_pass *p, ry_tensor targets, ry_tensor scale, bool with_grad) {
    ry_graph *g = p->g;
    ry_tensor h = p->m->family->hidden(p);
    const ry_spec *s = ry_spec_of(g, h);
    if (!s) return RY_NULL;
    int64_t R = s->dim[0] * s->dim[1];
    return ry_linear_cross_entropy(g, RY_RESHAPE(g, h, R, s->dim[2]), ry_use(g, p->m->family->head(p->m)), RY_RESHAPE(g, targets, R),
                                   &(ry_linear_ce_options){.ignore = -100, .scale = scale, .with_grad = with_grad});
}

ry_tensor ry_model_loss(ry_graph *g, ry_model *m, ry_tensor ids, ry_tensor targets, ry_tensor scale, bool with_grad) {
    model_pass p;
    ry_status st = model_pass_plain(&p, g, m, ids);
    if (st != RY_OK) return ry_graph_fail(g, st, "%s", ry_message());
    return model_loss(&p, targets, scale, with_grad);
}
