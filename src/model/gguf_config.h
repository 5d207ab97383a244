/* gguf_config.h - the metadata of a GGUF model as the config.json that Hugging Face's checkpoint of it would have, and back. */
#ifndef RY_MODEL_GGUF_CONFIG_H
#define RY_MODEL_GGUF_CONFIG_H
#include "io/gguf_write.h"
#include "model/model.h"

/* Metadata that fills a field of model_config; ends with a row without a name. */
typedef struct gguf_field {
    const char *name; /* without the architecture's */
    size_t at;
    bool always;      /* written also where the family has no key for it */
} gguf_field;
extern const gguf_field gguf_fields[];

/* What is no field of model_config: metadata by its own name, or a tensor whose presence says yes (or no); ends as above. */
typedef enum { OWN_NUMBER, OWN_BOOL, OWN_WITH, OWN_WITHOUT } own_kind;
typedef struct gguf_own {
    own_kind kind;
    const char *name, *key;
} gguf_own;

/* One architecture of GGUF and the family that it is here. Some name several families: the first whose `only_with` is there. */
typedef struct gguf_arch {
    const char *name, *model_type;
    const char *only_with;        /* metadata that must be there (without the architecture's name), above 0 */
    bool windows;                 /* llama.cpp looks at sliding_window */
    bool pairs;                   /* rows of q and k lie so that neighbours turn, where the checkpoint's halves do */
    const gguf_own *own;
    const char *fixed;            /* JSON: what the architecture implies and its files do not say */
} gguf_arch;
ry_status gguf_arch_of(const gguf_arch **out, const gguf_file *f); /* EUNSUPPORTED with the list of what is known */
const gguf_arch *gguf_arch_for(const model_family *f);             /* NULL: GGUF has none that is known here */

ry_status gguf_config_read(ry_json **out, const gguf_file *f);
/* Everything but the tokenizer and the factors of the frequencies, which are tensors. EUNSUPPORTED for what GGUF cannot express. */
ry_status gguf_config_write(gguf_meta *m, const gguf_arch *a, const model_family *f, const model_config *c, const ry_json *config);
#endif
