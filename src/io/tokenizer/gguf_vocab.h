/* gguf_vocab.h - the tokenizer in the metadata of a GGUF file. */
#ifndef RY_IO_TOKENIZER_GGUF_VOCAB_H
#define RY_IO_TOKENIZER_GGUF_VOCAB_H
#include "io/gguf.h"
#include "io/gguf_write.h"

/* EFORMAT where there is none; EUNSUPPORTED by the name of its kind or of its way to cut texts. f may be closed afterwards. */
ry_status tok_open_gguf(ry_tokenizer **out, const gguf_file *f);
/* Puts tokenizer.ggml.* for a model of n_vocab ids (0: as many as the tokenizer has; further ones get unused entries), and
 * tokenizer.chat_template: the text given, or that of the tokenizer's tokenizer_config.json. EUNSUPPORTED where GGUF has no name for
 * what this tokenizer does. */
ry_status tok_put_gguf(gguf_meta *m, const ry_tokenizer *t, int64_t n_vocab, const char *chat_template);
#endif
