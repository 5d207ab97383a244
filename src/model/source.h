/* source.h - where a model's weights come from: tensors under the names that Hugging Face's checkpoints of the family use, in their shapes,
 * whatever the file calls them and however it lays them out.  A folder or file of safetensors, or a GGUF file.
 *
 * For the loader: open; read `config` as config.json; for each parameter source_find (NULL: missing) and either use t->data in place or
 * source_read into memory of its own; what no parameter marked as used is extra. Parts of one variable (experts) are tensors of their own
 * here; where they lie one behind the other (source_next_to) the variable may use them in place too. */
#ifndef RY_MODEL_SOURCE_H
#define RY_MODEL_SOURCE_H
#include "base/mem.h"
#include "io/json.h"

typedef struct model_stored {
    const char *name; /* "model.layers.0.self_attn.q_proj.weight" */
    const char *type; /* as its file says: "BF16", "q4_K" */
    const char *file; /* for messages */
    ry_spec spec;     /* dtype RY_NONE: not one that Rusty computes with */
    size_t bytes;
    const void *data; /* in the mapping, perhaps unaligned; NULL: only source_read gives it (rows in another order, a transposed matrix, codes and scales apart) */
    bool used;        /* the loader's mark; the source's, where another is made of it */
    bool turned;      /* the last two axes are swapped against the checkpoint's: rows of blocks (experts_by_rows) */
    const void *how;  /* the source's own: how it is made */
} model_stored;

typedef struct model_source {
    const char *what;  /* path, for messages */
    ry_json *config;   /* config.json as a tree; whoever takes it sets NULL. NULL: the path is a file of safetensors */
    ry_arena arena;    /* names */
    RY_VEC(model_stored) at;
    model_stored **by_name;
    ry_tensor_file *tensors; /* one of these two */
    struct gguf_model *gguf;
} model_source;

bool source_is_model(const char *path); /* a folder or a GGUF file; else a configuration, perhaps */
/* A configuration without weights. path: a config.json, YAML with its keys, or a GGUF file, whose metadata are read as one. */
ry_status source_config(ry_json **out, const char *path);
/* path: a folder with config.json and its weights, a file of safetensors, or a GGUF file (the first where it is split). */
ry_status source_open(model_source **out, const char *path);
void source_close(model_source *s);
model_stored *source_find(const model_source *s, const char *name); /* NULL if absent */
/* t->bytes into out, as t->spec says; also where t->data is given. */
ry_status source_read(const model_source *s, const model_stored *t, void *out);
static inline bool source_next_to(const model_stored *a, const model_stored *b) { /* b lies right behind a, in the same dtype */
    return a->data && b->data && a->spec.dtype == b->spec.dtype && (const char *)a->data + a->bytes == b->data;
}
#endif
