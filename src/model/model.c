/* model.c - opening, making and using a model, whatever its family. */
#include "model/model.h"
#include "base/os.h"
#include "base/text.h"
#include "core/op.h"
#include "io/hub.h"
#include "io/yaml.h"
#include <stdio.h>
#include <string.h>

extern const model_family *const model_family_rows[]; /* written by the build: every file of src/model/families */

const model_family *model_family_find(const char *model_type) {
    for (const model_family *const *f = model_family_rows; *f; f++)
        if (!strcmp((*f)->model_type, model_type)) return *f;
    return NULL;
}

static ry_status unknown(const char *what, const char *type) {
    ry_text list = {0};
    for (const model_family *const *f = model_family_rows; *f; f++) ry_text_printf(&list, "%s%s", f == model_family_rows ? "" : ", ", (*f)->model_type);
    ry_status st = ry_fail(RY_EUNSUPPORTED, "%s: model_type '%s' is not known (%s)", what, type, list.at ? list.at : "");
    ry_text_free(&list);
    return st;
}

void ry_model_close(ry_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->vars.n; i++) ry_var_close(m->vars.at[i]);
    for (size_t i = 0; i < m->ropes.n; i++) ry_var_close(m->ropes.at[i].freq);
    RY_VEC_FREE(&m->vars);
    RY_VEC_FREE(&m->tensors);
    RY_VEC_FREE(&m->ropes);
    ry_json_free(m->json);
    source_close(m->source);
    ry_arena_free(&m->arena);
    ry_mem_free(m);
}

/* The part of the configuration that is the language model's becomes the configuration. */
static ry_status unwrap(ry_model *m, const char *what) {
    const char *inner = m->family->inner;
    const ry_json *part;
    ry_json *own;
    ry_text t = {0};
    RY_TRY(config_end_tokens(&m->cfg, m->json, what));
    RY_TRY(config_quantization(m->json, what));
    RY_TRY(ry_json_object(&part, m->json, what, m->family->wrapped, true));
    RY_TRY(ry_json_text(&inner, part, what, "model_type", false));
    ry_json_write(&t, part, 0);
    m->family = model_family_find(inner);
    ry_status st = m->family ? ry_text_status(&t) : unknown(what, inner);
    if (st == RY_OK) st = ry_json_parse(&own, t.at, t.n, what, 0);
    if (st == RY_OK) {
        ry_json_free(m->json);
        m->json = own;
        if (!ry_json_find(own, "model_type")) st = ry_json_put(own, "model_type", ry_json_new_text(inner));
    }
    ry_text_free(&t);
    return st;
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
    if (!m->family) RY_GO(st, fail, unknown(what, type));
    if (m->family->wrapped) RY_GO(st, fail, unwrap(m, what));
    RY_GO(st, fail, config_read(&m->cfg, m->family, m->json, what, &m->arena, vocab_size));
    *out = m;
    return RY_OK;
fail:
    ry_model_close(m);
    return st;
}

/* "*" stands for any text, "#" for the number. */
static bool matches(const char *pattern, const char *s, int64_t number) {
    char digits[24];
    for (; *pattern && *pattern != '*'; pattern++) {
        snprintf(digits, sizeof digits, "%lld", (long long)number);
        size_t n = *pattern == '#' ? strlen(digits) : 1;
        if (strncmp(*pattern == '#' ? digits : pattern, s, n) != 0) return false;
        s += n;
    }
    if (!*pattern) return !*s;
    for (;; s++) {
        if (matches(pattern + 1, s, number)) return true;
        if (!*s) return false;
    }
}

/* Tensors that checkpoints carry and a model does not need. */
static bool harmless(const ry_model *m, const char *name) {
    char head[256];
    model_name(head, sizeof head, m->family, m->prefix, &(model_tensor){.role = ROLE_HEAD, .layer = -1}, 0);
    if (m->cfg.tie_word_embeddings && (!strcmp(name, head) || matches("*lm_head.weight", name, 0))) return true;
    for (const char *const *p = m->family->ignore; p && *p; p++)
        if (matches(*p, name, m->cfg.num_hidden_layers)) return true;
    return matches("*.rotary_emb.inv_freq", name, 0);
}

static ry_status end_tokens_of(ry_model *m, const char *folder) {
    char *path = os_join(folder, "generation_config.json");
    ry_json *j = NULL;
    ry_status st = path ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && os_kind(path) == OS_FILE) {
        st = ry_json_read(&j, path, 0);
        if (st == RY_OK) st = ry_json_need_object(j, "generation_config.json");
        if (st == RY_OK) st = config_end_tokens(&m->cfg, j, "generation_config.json");
        if (st == RY_OK) st = model_generation(m, j, "generation_config.json");
    }
    ry_json_free(j);
    ry_mem_free(path);
    return st;
}

static ry_status open_at(ry_model **out, ry_device *d, const char *path, const ry_model_options *o) {
    ry_model *m = NULL;
    model_source *source = NULL;
    RY_TRY(source_open(&source, path));
    ry_json *json = source->config;
    bool folder = os_kind(path) == OS_FOLDER;
    char *config = folder ? os_join(path, "config.json") : NULL;
    ry_status st = folder && !config ? RY_ENOMEM : RY_OK;
    if (!json) st = ry_fail(RY_ENOENT, "%s: weights without a config.json; give their folder, or a GGUF file", path);
    if (st == RY_OK && !ry_json_find(json, "model_type")) st = ry_fail(RY_EFORMAT, "%s: model_type is missing: it says what family of models this is", config ? config : path);
    if (st == RY_OK) {
        source->config = NULL;
        st = model_new(&m, d, json, config ? config : path, 0, o);
    }
    ry_mem_free(config);
    if (st != RY_OK) {
        source_close(source);
        return st;
    }
    m->source = source;
    st = folder ? end_tokens_of(m, path) : RY_OK;
    m->prefix = weights_prefix(m);
    if (st == RY_OK) st = model_declare(m);
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

ry_status ry_model_open(ry_model **out, ry_device *d, const char *path, const ry_model_options *o) {
    char *at;
    if (!path) RY_FAIL(RY_EARG, "a model is a folder with config.json and model.safetensors, a GGUF file, or ORG/NAME in the Hugging Face cache");
    RY_TRY(ry_model_path(&at, path));
    ry_status st = open_at(out, d, at, o);
    ry_mem_free(at);
    return st;
}

static ry_status init_from(ry_model **out, ry_device *d, ry_json *json, const char *what, int64_t vocab_size, uint64_t seed, const ry_model_options *o) {
    ry_model *m = NULL;
    RY_TRY(model_new(&m, d, json, what, vocab_size, o));
    m->seed = seed;
    ry_status st = config_complete(m->json, &m->cfg, m->family);
    if (st == RY_OK) st = model_declare(m);
    if (st != RY_OK) ry_model_close(m);
    else *out = m;
    return st;
}

ry_status ry_model_init(ry_model **out, ry_device *d, const char *config, int64_t vocab_size, uint64_t seed, const ry_model_options *o) {
    ry_json *json = NULL;
    char *inside = NULL;
    if (os_kind(config) == OS_NOTHING && strchr(config, '/') && hub_is_repo(config)) {
        char *at;
        RY_TRY(ry_model_path(&at, config));
        ry_status st = ry_model_init(out, d, at, vocab_size, seed, o);
        ry_mem_free(at);
        return st;
    }
    if (os_kind(config) == OS_FOLDER && !(inside = os_join(config, "config.json"))) return RY_ENOMEM;
    ry_status st = source_config(&json, inside ? inside : config);
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

ry_tensor ry_model_logits(ry_graph *g, ry_model *m, ry_tensor ids) {
    model_pass p;
    ry_status st = model_pass_plain(&p, g, m, ids);
    if (st != RY_OK) return ry_graph_fail(g, st, "%s", ry_message());
    return model_logits(g, m, model_hidden(&p));
}

ry_tensor ry_model_loss(ry_graph *g, ry_model *m, ry_tensor ids, ry_tensor targets, ry_tensor scale, bool with_grad) {
    model_pass p;
    ry_status st = model_pass_plain(&p, g, m, ids);
    if (st != RY_OK) return ry_graph_fail(g, st, "%s", ry_message());
    return model_loss(&p, targets, scale, with_grad);
}
