/* models.c - the kinds of models: a row each.  Owns the list. */
#include "io/tokenizer/tok.h"

extern const tok_model_kind tok_bpe;

const tok_model_kind *const tok_model_kinds[] = {&tok_bpe, NULL};
