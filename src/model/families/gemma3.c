/* gemma3.c - Gemma 3 with pictures (Google 2025): read as its text part, gemma3_text.  Pictures are not read. */
#include "model/model.h"

const model_family model_family_gemma3 = {.model_type = "gemma3",
                                          .architecture = "Gemma3ForConditionalGeneration",
                                          .wrapped = "text_config",
                                          .inner = "gemma3_text"};
