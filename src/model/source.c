/* source.c - opening a model's weights, whatever they are in; and the source that is safetensors (gguf_model.c is the other).  Owns the mapping and the names. */
#include "model/source.h"
#include <stdlib.h>
#include <string.h>
#include "base/os.h"
#include "core/op.h"
#include "io/safetensors.h"
#include "io/yaml.h"
#include "model/gguf_model.h"
#include "simd/blocks.h"

static int by_name(const void *a, const void *b) { return strcmp((*(model_stored *const *)a)->name, (*(model_stored *const *)b)->name); }
static int name_is(const void *name, const void *t) { return strcmp(name, (*(model_stored *const *)t)->name); }

static ry_status index_names(model_source *s) {
    s->by_name = RY_NEW(&s->arena, model_stored *, s->at.n ? s->at.n : 1);
    if (!s->by_name) return RY_ENOMEM;
    for (size_t i = 0; i < s->at.n; i++) s->by_name[i] = &s->at.at[i];
    if (s->at.n) qsort(s->by_name, s->at.n, sizeof *s->by_name, by_name);
    return RY_OK;
}

model_stored *source_find(const model_source *s, const char *name) {
    model_stored **t = s->at.n ? bsearch(name, s->by_name, s->at.n, sizeof *s->by_name, name_is) : NULL;
    return t ? *t : NULL;
}

/* ---- safetensors ---- */

/* MXFP4 as transformers keeps it (integrations/mxfp4.py): X_blocks [E,N,K/32,16] and X_scales [E,N,K/32], bytes both, are X [E,K,N] by rows. */
typedef struct mxfp4_how {
    const uint8_t *codes, *scales;
} mxfp4_how;

static ry_status add_mxfp4(model_source *s, size_t at) {
    static const char tail[] = "_blocks";
    const model_stored b = s->at.at[at];
    const int64_t *d = b.spec.dim;
    size_t n = strlen(b.name), keep = n < sizeof tail ? 0 : n - (sizeof tail - 1);
    if (!keep || strcmp(b.name + keep, tail) != 0 || b.spec.dtype != RY_U8 || b.spec.rank != 4 || d[3] != 16 || d[2] > INT32_MAX) return RY_OK;
    const ry_spec beside = RY_SHAPE(RY_U8, d[0], d[1], d[2]);
    model_stored made = {.type = "MXFP4", .file = b.file, .spec = RY_SHAPE(RY_MXFP4, d[0], d[1], d[2] * BLOCK_PART), .turned = true};
    model_stored *scales = NULL;
    for (size_t i = 0; i < s->at.n; i++)
        if (!strncmp(s->at.at[i].name, b.name, keep) && !strcmp(s->at.at[i].name + keep, "_scales")) scales = &s->at.at[i];
    if (!scales || scales->spec.dtype != RY_U8 || !ry_same_shape(&scales->spec, &beside))
        RY_FAIL(RY_EFORMAT, "%s: tensor %s has no %.*s_scales beside it, %s", b.file, b.name, (int)keep, b.name, ry_show(&beside).s);
    RY_TRY(ry_spec_bytes(&made.bytes, &made.spec));
    mxfp4_how *how = RY_NEW(&s->arena, mxfp4_how, 1);
    char *name = how ? ry_arena_strdup(&s->arena, b.name) : NULL;
    if (!name) return RY_ENOMEM;
    name[keep] = 0;
    *how = (mxfp4_how){b.data, scales->data};
    made.name = name, made.how = how;
    scales->used = s->at.at[at].used = true;
    model_stored *t = RY_PUSH(&s->at);
    if (!t) return RY_ENOMEM;
    *t = made;
    return RY_OK;
}

static ry_status from_safetensors(model_source *s, const char *path) {
    RY_TRY(ry_tensor_file_open(&s->tensors, path));
    size_t n = ry_tensor_file_count(s->tensors);
    for (size_t i = 0; i < n; i++) {
        const st_entry *e = st_entry_at(s->tensors, i);
        model_stored *t = RY_PUSH(&s->at);
        if (!t) return RY_ENOMEM;
        *t = (model_stored){.name = e->name, .type = e->dtype, .file = st_part_name(s->tensors, e->part), .bytes = e->bytes, .data = e->data};
        if (e->rank <= RY_MAX_RANK) t->spec = ry_shape(e->type, e->rank, e->dim);
    }
    for (size_t i = 0; i < n; i++) RY_TRY(add_mxfp4(s, i));
    return RY_OK;
}

static ry_status open_folder(model_source *s, const char *path) {
    char *config = os_join(path, "config.json");
    ry_status st = config ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && os_kind(config) == OS_NOTHING) st = ry_fail(RY_ENOENT, "%s: no model in this folder, neither a config.json nor a GGUF file", path);
    if (st == RY_OK) st = ry_json_read(&s->config, config, 0);
    ry_mem_free(config);
    return st == RY_OK ? from_safetensors(s, path) : st;
}

/* ---- GGUF ---- */

/* safetensors: an object behind the length of the header. */
static ry_status look_at(bool *gguf, bool *safetensors, const char *path) {
    os_map m;
    RY_TRY(os_map_open(&m, path));
    *gguf = m.bytes >= 4 && !memcmp(m.data, "GGUF", 4);
    *safetensors = m.bytes >= 9 && ((const char *)m.data)[8] == '{';
    os_map_close(&m);
    return RY_OK;
}

bool source_is_model(const char *path) {
    bool gguf = false, safetensors;
    return os_kind(path) == OS_FOLDER || (os_kind(path) == OS_FILE && look_at(&gguf, &safetensors, path) == RY_OK && gguf);
}

ry_status source_config(ry_json **out, const char *path) {
    gguf_file *f;
    if (!source_is_model(path)) return ry_config_read(out, path);
    RY_TRY(gguf_open(&f, path));
    ry_status st = gguf_config_read(out, f);
    gguf_close(f);
    return st;
}

static ry_status open_file(model_source *s, const char *path) {
    bool gguf, safetensors;
    RY_TRY(look_at(&gguf, &safetensors, path));
    if (gguf) return gguf_source_open(s, path);
    if (safetensors) return from_safetensors(s, path);
    RY_FAIL(RY_EFORMAT, "%s is no model: a model is a folder with config.json and its weights, a GGUF file, or ORG/NAME in the Hugging Face cache", path);
}

/* ---- any ---- */

ry_status source_open(model_source **out, const char *path) {
    int kind = os_kind(path);
    if (kind == OS_NOTHING) RY_FAIL(RY_ENOENT, "%s: there is no such file or folder", path);
    model_source *s = ry_mem_zalloc(sizeof *s);
    if (!s) return RY_ENOMEM;
    ry_status st = (s->what = ry_arena_strdup(&s->arena, path)) ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) st = kind == OS_FOLDER ? open_folder(s, path) : open_file(s, path);
    if (st == RY_OK) st = index_names(s);
    if (st != RY_OK) {
        source_close(s);
        return st;
    }
    *out = s;
    return RY_OK;
}

void source_close(model_source *s) {
    if (!s) return;
    ry_json_free(s->config);
    ry_tensor_file_close(s->tensors);
    gguf_source_close(s->gguf);
    RY_VEC_FREE(&s->at);
    ry_arena_free(&s->arena);
    ry_mem_free(s);
}

ry_status source_read(const model_source *s, const model_stored *t, void *out) {
    const mxfp4_how *h = t->how;
    if (!t->data && s->gguf) return gguf_source_read(s, t, out);
    if (!t->data && h) blocks_from_mxfp4(out, h->codes, h->scales, ry_count(&t->spec));
    else if (t->bytes) memcpy(out, t->data, t->bytes);
    return RY_OK;
}
