/* fuzz_tokenizer.c - any bytes as a tokenizer.json: no crash, no leak; a tokenizer that opens takes any text and any ids, and what it
 * saves opens again as the same one. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "io/tokenizer.h"

static void use(const ry_tokenizer *t, const char *text, size_t n) {
    int32_t *ids = NULL, odd[] = {-1, 0, 1, 255, 256, INT32_MAX, INT32_MIN};
    size_t n_ids, n_text;
    char *back;
    if (ry_encode(t, text, n, true, &ids, &n_ids) == RY_OK) {
        must(ry_decode(t, ids, n_ids, false, true, &back, &n_text) == RY_OK);
        must(n_text == n && (!n || !memcmp(back, text, n)));
        ry_free(back);
        ry_free(ids);
    }
    must(ry_decode(t, odd, sizeof odd / sizeof *odd, true, false, &back, &n_text) == RY_OK);
    must(back[n_text] == 0);
    ry_free(back);
}

/* What tokenizer.c puts around the kind's own fields does not matter here. */
static void save_again(const ry_tokenizer *t) {
    ry_json *root = ry_json_new_object();
    ry_text text = {0};
    ry_tokenizer *back;
    must(root && t->kind->write(t, root) == RY_OK);
    ry_json_write(&text, root, 0);
    must(ry_text_status(&text) == RY_OK);
    must(tok_open_json(&back, text.at, text.n, "written") == RY_OK);
    must(back->kind == t->kind && back->size == t->size);
    ry_tokenizer_close(back);
    ry_text_free(&text);
    ry_json_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ry_tokenizer *t;
    if (tok_open_json(&t, (const char *)data, size, "fuzz.json") == RY_OK) {
        use(t, (const char *)data, size);
        use(t, "a b", 3);
        save_again(t);
        ry_tokenizer_close(t);
    }
    must(ry_mem_live() == 0);
    return 0;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const seeds[] = {
        "{\"added_tokens\":[],\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\" "
        "\":2,\"b\":1,\"\\u00e9\":3},\"merges\":[]}}",
        "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":1,\"b\":0},\"merges\":[]}}",
        "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1.5]],\"unk_id\":0}}",
        "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"model\":{\"vocab\":{\"a\":97},\"merges\":[]}}",
    };
    if (i != 4) return seed_of(seeds, sizeof seeds / sizeof *seeds, i, buf, cap);
    ry_tokenizer *t; /* the real one of bytes, as it is saved */
    ry_json *root = ry_json_new_object();
    ry_text text = {0};
    must(root && ry_tokenizer_bytes(&t) == RY_OK && t->kind->write(t, root) == RY_OK);
    ry_json_write(&text, root, 0);
    must(ry_text_status(&text) == RY_OK && text.n <= cap);
    size_t n = text.n;
    memcpy(buf, text.at, n);
    ry_text_free(&text);
    ry_json_free(root);
    ry_tokenizer_close(t);
    return n;
}
