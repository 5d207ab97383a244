/* models.c - the kinds of models: a row each.  Owns the list. */
#include "io/tokenizer/foreign.h"

/* the first of a name that takes the settings */
const tok_model_kind *const tok_model_kinds[] = {&tok_spm, &tok_bpe, &tok_unigram, &tok_wordpiece, &tok_wordlevel, NULL};
