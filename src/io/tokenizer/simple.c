/* simple.c - the tokenizers whose ids are bytes, or the code points of a text in their order: each a tokenizer.json made here.  Owns
 * nothing. */
#include <string.h>
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/steps.h"

#define SIMPLE_HEAD "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], \"normalizer\": null, "
#define SIMPLE_MODEL                                                                                                       \
    "\"post_processor\": null, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "                     \
    "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, " \
    "\"ignore_merges\": false}}"
/* use_regex would cut words, which without merges changes nothing but time */
#define SIMPLE_BYTES "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": false}"
static const char bytes_tree[] = SIMPLE_HEAD "\"pre_tokenizer\": " SIMPLE_BYTES ", \"decoder\": " SIMPLE_BYTES ", " SIMPLE_MODEL;
static const char chars_tree[] = SIMPLE_HEAD "\"pre_tokenizer\": null, \"decoder\": {\"type\": \"Fuse\"}, " SIMPLE_MODEL;

static ry_status simple_open(ry_tokenizer **out, const char *text, tok_lists *lists) {
    ry_json *tree;
    lists->has_vocab = lists->has_merges = true;
    ry_status st = ry_json_parse(&tree, text, strlen(text), "tokenizer.json", 0);
    if (st == RY_OK) return tok_open_parts(out, tree, lists, "tokenizer.json");
    tok_lists_free(lists);
    return st;
}

ry_status ry_tokenizer_bytes(ry_tokenizer **out) {
    tok_lists lists = {0};
    for (int b = 0; b < 256; b++) {
        char name[4];
        ry_status st = tok_add_word(&lists, name, utf8_put(name, bytelevel_char(b)), b, 0);
        if (st == RY_OK) continue;
        tok_lists_free(&lists);
        return st;
    }
    return simple_open(out, bytes_tree, &lists);
}

/* Marks the code points of text. */
static ry_status chars_seen(unsigned char *seen, const char *text, size_t n) {
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = utf8_next(text + i, n - i, &cp);
        if (cp < 0) RY_FAIL(RY_EARG, "the text is not UTF-8 at byte %zu: it has no characters; use the bytes tokenizer", i);
        seen[cp / 8] = (unsigned char)(seen[cp / 8] | 1u << cp % 8);
        i += len;
    }
    return RY_OK;
}

ry_status ry_tokenizer_chars(ry_tokenizer **out, const char *text, size_t n) {
    if (!out || !text || !n) RY_FAIL(RY_EARG, "ry_tokenizer_chars: a text that is not empty must be given");
    unsigned char *seen = ry_mem_zalloc(0x110000 / 8);
    if (!seen) return RY_ENOMEM;
    tok_lists lists = {0};
    ry_status st = chars_seen(seen, text, n);
    for (int32_t cp = 0, id = 0; cp < 0x110000 && st == RY_OK; cp++) {
        char c[4];
        if (seen[cp / 8] >> cp % 8 & 1) st = tok_add_word(&lists, c, utf8_put(c, cp), id++, 0);
    }
    ry_mem_free(seen);
    if (st == RY_OK) st = simple_open(out, chars_tree, &lists);
    else tok_lists_free(&lists);
    if (st == RY_OK) (*out)->strict = true;
    return st;
}
