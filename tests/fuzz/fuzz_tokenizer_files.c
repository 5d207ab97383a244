/* fuzz_tokenizer_files.c - any bytes as a tokenizer's file (SentencePiece, tiktoken, tekken.json, GGUF): no crash, no leak; a tokenizer that
 * opens takes any text and any ids, and what it saves opens again and gives the same ids. */
#include "fuzz/seeds.h"
#include "io/tokenizer/foreign.h"
#include "unit/gguf_make.h"
#include "unit/spm_make.h"

static void use(const ry_tokenizer *t, const ry_tokenizer *again, const char *text, size_t n) {
    int32_t *ids = NULL, *ids2 = NULL, odd[] = {-1, 0, 1, 5, 255, 256, INT32_MAX, INT32_MIN};
    size_t n_ids, n_ids2, n_text;
    char *back;
    if (ry_encode(t, text, n, true, &ids, &n_ids) == RY_OK) {
        must(ry_decode(t, ids, n_ids, false, false, &back, &n_text) == RY_OK);
        ry_free(back);
        if (again) {
            must(ry_encode(again, text, n, true, &ids2, &n_ids2) == RY_OK);
            must(n_ids == n_ids2 && !memcmp(ids, ids2, n_ids * sizeof *ids));
            ry_free(ids2);
        }
        ry_free(ids);
    }
    must(ry_decode(t, odd, sizeof odd / sizeof *odd, true, false, &back, &n_text) == RY_OK);
    must(back[n_text] == 0);
    ry_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ry_tokenizer *t, *again = NULL;
    if (tok_open_any(&t, data, size, NULL, false, "fuzz") == RY_OK) {
        ry_text json = {0};
        must(tok_write_json(t, &json) == RY_OK);
        must(tok_open_json(&again, json.at, json.n, "written") == RY_OK);
        static const char text[] = "a  abc [X]bcd <s>\xC3\xA9 \xE2\x96\x81 aab";
        use(t, again, text, sizeof text - 1);
        use(t, again, "", 0);
        use(t, NULL, (const char *)data, size < 4096 ? size : 4096);
        ry_tokenizer_close(again);
        ry_tokenizer_close(t);
        ry_text_free(&json);
    }
    must(ry_mem_live() == 0);
    return 0;
}

static size_t seed_gguf(const char *model, const char *pre, unsigned char *buf, size_t cap) {
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a", "b", "c", "ab", "abc", "[X]", "<0x41>"};
    static const int types[] = {2, 3, 3, 1, 1, 1, 1, 1, 4, 6};
    make_gguf m;
    mk_head(&m, 3, 0, 6);
    mk_string(&m, "general.architecture", "llama");
    mk_string(&m, "tokenizer.ggml.model", model);
    mk_string(&m, "tokenizer.ggml.pre", pre);
    mk_key(&m, "tokenizer.ggml.tokens", GGUF_ARRAY);
    mk_int(&m, GGUF_TEXT, 4);
    mk_int(&m, 10, 8);
    for (int i = 0; i < 10; i++) mk_text(&m, tokens[i]);
    mk_key(&m, "tokenizer.ggml.token_type", GGUF_ARRAY);
    mk_int(&m, GGUF_I32, 4);
    mk_int(&m, 10, 8);
    for (int i = 0; i < 10; i++) mk_int(&m, (uint64_t)types[i], 4);
    mk_key(&m, "tokenizer.ggml.merges", GGUF_ARRAY);
    mk_int(&m, GGUF_TEXT, 4);
    mk_int(&m, 2, 8);
    mk_text(&m, "a b");
    mk_text(&m, "ab c");
    must(m.n <= cap);
    memcpy(buf, m.at, m.n);
    return m.n;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const texts[] = {
        ("{\"config\":{\"pattern\":\" ?\\\\p{L}+|\\\\s+\",\"default_vocab_size\":6,\"default_num_special_tokens\":3},\"vocab\":["
        "{\"rank\":0,\"token_bytes\":\"YQ==\"},{\"rank\":1,\"token_bytes\":\"Yg==\"},{\"rank\":2,\"token_bytes\":\"YWI=\"}]}"),
        "YQ== 0\nYg== 1\nYWI= 2\n",
        "IA== 0\n",
    };
    if (i < 4) {
        make_spm m;
        ms_small(&m, i);
        if (m.n > cap) return 1;
        memcpy(buf, m.at, m.n);
        return m.n;
    }
    if (i < 8) {
        static const char *const models[][2] = {{"gpt2", "gpt-2"}, {"gpt2", "deepseek-v3"}, {"bert", ""}, {"t5", ""}};
        return seed_gguf(models[i - 4][0], models[i - 4][1], buf, cap);
    }
    return seed_of(texts, sizeof texts / sizeof *texts, i - 8, buf, cap);
}
