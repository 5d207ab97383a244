/* gguf_config.h - the metadata of a GGUF model as the config.json that Hugging Face's checkpoint of it would have, and back. */
#ifndef RY_MODEL_GGUF_CONFIG_H
#define RY_MODEL_GGUF_CONFIG_H
#include "io/gguf_write.h"
#include "model/model.h"

/* One architecture of GGUF and the family that it is here. Some name several families: the first whose `only_with` is there. */
typedef struct gguf_arch {
    const char *name, *model_type;
    const char *only_with;        /* metadata that must be there (without the architecture's name), above 0 */
    bool pairs;                   /* rows of q and k lie so that neighbours turn, where the checkpoint's halves do */
    const struct gguf_own *own;   /* keys that are no field of model_config */
    const char *fixed;            /* JSON: what the architecture implies and its files do not say */
} gguf_arch;
ry_status gguf_arch_of(const gguf_arch **out, const gguf_file *f); /* EUNSUPPORTED with the list of what is known */
const gguf_arch *gguf_arch_for(const model_family *f);             /* NULL: GGUF has none that is known here */

ry_status gguf_config_read(ry_json **out, const gguf_file *f);
/* Everything but the tokenizer and the factors of the frequencies, which are tensors. EUNSUPPORTED for what GGUF cannot express. */
ry_status gguf_config_write(gguf_meta *m, const gguf_arch *a, const model_family *f, const model_config *c, const ry_json *config);
#endif
