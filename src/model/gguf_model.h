/* gguf_model.h - how a model's tensors lie in GGUF files: names by role, order of rows, what is stored otherwise.  For the source that reads
 * them and the export that writes them. */
#ifndef RY_MODEL_GGUF_MODEL_H
#define RY_MODEL_GGUF_MODEL_H
#include "model/gguf_config.h"
#include "model/model.h"

typedef enum gguf_layout {
    LAYOUT_SAME,       /* bytes are the same; sizes of 1 may be left out */
    LAYOUT_PAIRS,      /* rows of each head: halves become neighbours */
    LAYOUT_BY_HEAD,    /* rows: q, k and v of each head become all q, all k, all v */
    LAYOUT_PLUS_ONE,   /* a norm's weights, stored minus one in the checkpoint */
    LAYOUT_TRANSPOSED, /* the last two dims of the checkpoint change places */
    LAYOUT_ALTERNATE,  /* gpt-oss: gate and up alternate along the checkpoint's last dim; here they are two tensors, transposed */
} gguf_layout;

gguf_layout gguf_layout_of(const gguf_arch *a, const model_config *c, model_role role, bool bias);
/* The row here of the checkpoint's row r; for PAIRS and BY_HEAD. */
int64_t gguf_row(gguf_layout l, const model_config *c, int64_t r);
/* "blk.3.attn_q.weight" */
void gguf_tensor_name(char *out, size_t size, const model_family *f, model_role role, int64_t layer, bool bias);

struct model_source;
ry_status gguf_source_open(struct model_source *s, const char *path); /* fills s */
const model_config *gguf_source_config(const struct model_source *s); /* of a source that is GGUF */
ry_status gguf_source_read(const struct model_source *s, const model_stored *t, void *out);
void gguf_source_close(struct gguf_model *g);
#endif
